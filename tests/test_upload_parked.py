"""An upload that ends early: what the status record, the run's folder and the next notebook say of it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from ora2sf import open_run
from ora2sf.errors import JobTimeout, TargetError
from ora2sf.salesforce import SalesforceBulkLoader
from ora2sf.upload import LedgerJournal
from world import World


def opened(step: Any, outputs: Path, **parameters: Any) -> Any:
    return open_run(step, {"run_id": "r", "table": "product_price", "outputs": str(outputs), **parameters})


@pytest.fixture
def staged(world: World, tmp_path: Path) -> Path:
    run = opened("01_extract", tmp_path, batch_size=1000)
    run.extract()
    run.announce()
    return tmp_path


def record(world: World) -> str | None:
    (found,) = world.org.rows("TMS_Daily_Sales_File__c")
    status: str | None = found["TMS_Status__c"]
    return status


def state(outputs: Path) -> str:
    return str(json.loads((outputs / "r/product_price/status.json").read_text())["state"])


def test_sigterm_parks_the_upload_and_the_next_one_goes_on(
    world: World, staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.org.hold_jobs()
    closed = LedgerJournal.closed

    def ended_by_the_scheduler(self: LedgerJournal) -> None:
        closed(self)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(LedgerJournal, "closed", ended_by_the_scheduler)
    before = signal.getsignal(signal.SIGTERM)
    run = opened("02_upload", staged, max_concurrent_jobs=1)
    with pytest.raises(KeyboardInterrupt):
        run.upload()
    assert signal.getsignal(signal.SIGTERM) is before
    assert [attempt.state for attempt in run.ledger.attempts()] == ["closed"]
    assert (record(world), state(staged)) == ("In Progress", "stopped, can be resumed")
    monkeypatch.undo()
    world.org.release_jobs()
    again = opened("02_upload", staged)
    assert "resumes" in repr(again.plan_upload())
    again.upload()
    assert record(world) == "Uploading"
    assert len(world.org.jobs()) == len(again.ledger.batches())
    assert "complete with exceptions" in repr(opened("03_reconcile", staged).verdict())


def test_a_job_that_takes_too_long_leaves_the_run_resumable_and_03_follows_it(
    world: World, staged: Path
) -> None:
    world.org.hold_jobs()
    with pytest.raises(JobTimeout, match="after 1 seconds"):
        opened("02_upload", staged, job_timeout=1).upload()
    assert (record(world), state(staged)) == ("In Progress", "stopped, can be resumed")
    world.org.release_jobs()
    last = opened("03_reconcile", staged)
    assert "3 job(s) followed" in repr(last.fetch_missing())
    assert "complete with exceptions" in repr(last.verdict())


def test_a_reason_that_meets_every_job_ends_in_progress_with_its_next_step(
    world: World, staged: Path
) -> None:
    world.org.faults.add(
        "row-error",
        object="Product2",
        rows=200,
        times=0,
        error="STORAGE_LIMIT_EXCEEDED:storage limit exceeded",
    )
    with pytest.raises(TargetError, match="Delete records that nobody needs"):
        opened("02_upload", staged, max_concurrent_jobs=1).upload()
    assert (record(world), state(staged)) == ("In Progress", "failed")
    assert len(world.org.jobs()) == 1
    last = opened("03_reconcile", staged)
    assert "Not sent: batch 2-3" in repr(last.balance())
    world.org.faults.clear()
    opened("02_upload", staged).upload()
    assert "complete with exceptions" in repr(opened("03_reconcile", staged).verdict())


def test_other_jobs_are_shown_as_possibly_ours_and_03_sends_nothing(world: World, staged: Path) -> None:
    run = opened("02_upload", staged)
    foreign = run._loader().create_job()
    shown = repr(run.plan_upload())
    assert f"possibly ours: job {foreign}" in shown
    assert "left alone" in shown
    run.ledger.intend(1)  # what a killed run leaves
    opened("03_reconcile", staged).fetch_missing()
    assert [job["state"] for job in world.org.jobs()] == ["Open"]
    assert [attempt.state for attempt in run.ledger.attempts()] == ["given_up"]


def test_rows_that_were_sent_again_are_told(
    world: World, staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.org.faults.add("fail-job", object="Product2")
    run = opened("02_upload", staged)
    monkeypatch.setattr(SalesforceBulkLoader, "pause", lambda _self, _seconds: None)
    assert "in round 1" in repr(run.upload())
    assert "round" in repr(run.jobs())
    assert "complete with exceptions" in repr(opened("03_reconcile", staged).verdict())
