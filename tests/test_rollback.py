"""``90_rollback``: what a run created is deleted, by the Ids of its own success files, and the target is what it was."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import papermill
import pytest

from fakeoracle import serve as serve_oracle
from mending import BAD, GOOD, MENDED, Mending, client, mending
from ora2sf.errors import BalanceError, JobTimeout, LedgerError
from ora2sf.ledger import Ledger
from ora2sf.upload import LedgerJournal
from world import PASSWORD, ROOT


@pytest.fixture(scope="module")
def oracle() -> Iterator[Any]:
    with serve_oracle(users={"TMS": PASSWORD}, service="FREEPDB1") as found:
        yield found


@pytest.fixture
def place(oracle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mending]:
    monkeypatch.setattr("ora2sf.run_rollback._PAUSE", 0.0)
    with mending(oracle, tmp_path, GOOD + BAD) as made:
        yield made


def before_us(place: Mending, *keys: str) -> dict[str, Any]:
    """Records that were there before the run; everything that they hold."""
    for key in keys:
        client().send("PATCH", f"/sobjects/Item__c/Ext__c/{key}", json={"Name__c": "earlier"})
    place.org.clock.push(60)
    return snapshot(place)


def snapshot(place: Mending) -> dict[str, Any]:
    return {row["Id"]: row for row in place.org.rows("Item__c")}


def deletes(place: Mending) -> list[Any]:
    return [job for job in place.org.jobs() if job["operation"] == "delete"]


def listed(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row["Ext__c"] for row in csv.DictReader(file)]


def test_without_the_run_id_typed_once_more_nothing_is_deleted(place: Mending) -> None:
    place.load()
    there = snapshot(place)
    for confirm in ("", "R", "r2"):
        shown = place.rolled_back(confirm)
        assert "This run created 15 records of Item__c; 0 are gone, 15 would be deleted" in shown
        assert "Dry run: nothing was deleted" in shown
        assert "nothing was rolled back" in shown
    assert snapshot(place) == there
    assert deletes(place) == []
    assert "Nothing to send" in repr(
        place.open("02_upload").upload()
    )  # the run goes on as if nothing had been


def test_what_the_run_created_is_deleted_and_the_target_is_what_it_was(place: Mending) -> None:
    place.table(MENDED)
    place.org.clock.push(5)
    foreign = before_us(place, "x1", "x2")
    place.load()
    assert len(snapshot(place)) == 21
    shown = place.rolled_back()
    assert "Verdict: rolled back." in shown
    assert "This run created 19 records of Item__c; 19 are gone, 0 would be deleted" in shown
    assert snapshot(place) == foreign
    (record,) = place.org.rows("TMS_Daily_Sales_File__c")
    assert record["TMS_Status__c"] == "Failed"
    assert record["TMS_Errors__c"] == "Rolled back: 19 of 19 created records were deleted."
    for step in ("02_upload", "04_retry"):
        with pytest.raises(LedgerError, match="was rolled back"):
            place.open(step)
    assert "This run was rolled back" in repr(place.open("03_reconcile").verdict())
    (record,) = place.org.rows("TMS_Daily_Sales_File__c")
    assert record["TMS_Status__c"] == "Failed"
    jobs = len(place.org.jobs())
    assert "Verdict: rolled back." in place.rolled_back()  # a second time there is nothing to do
    assert len(place.org.jobs()) == jobs


def test_rows_that_a_fix_created_are_rolled_back_as_well(place: Mending) -> None:
    place.load()
    place.table(MENDED)
    place.retry("table")
    assert place.org.count("Item__c") == 19
    assert "19 are gone" in place.rolled_back()
    assert place.org.count("Item__c") == 0


def test_what_was_there_before_is_left_and_what_the_run_changed_is_listed(place: Mending) -> None:
    before_us(place, "k01", "k02", "x1")
    place.load()
    place.table(MENDED)  # no rule of it matters here
    shown = place.rolled_back()
    assert "2 records existed before and were changed" in shown
    assert "Verdict: rolled back with exceptions." in shown
    assert sorted(place.held("Ext__c")) == ["k01", "k02", "x1"]
    assert sorted(listed(place.logs / "item_rollback_updated.csv")) == ["k01", "k02"]


def test_rows_of_another_run_are_never_touched(place: Mending) -> None:
    place.load()
    place.org.clock.push(60)
    place.load(run_id="r2")  # changes all that the first created
    there = snapshot(place)
    shown = place.rolled_back("r2", run_id="r2")
    assert "This run created 0 records" in shown
    assert snapshot(place) == there
    shown = place.rolled_back("r")  # each was changed since, by the second run
    assert "15 were changed after their job had ended and are left" in shown
    assert "with exceptions" in shown
    assert snapshot(place) == there


def test_records_that_were_changed_since_are_left_until_that_is_said(place: Mending) -> None:
    place.load()
    place.org.clock.push(60)
    client().send("PATCH", "/sobjects/Item__c/Ext__c/k05", json={"Name__c": "by hand"})
    client().send("DELETE", "/sobjects/Item__c/Ext__c/k06")
    shown = place.rolled_back()
    assert "1 were changed after their job had ended and are left" in shown
    assert place.held("Name__c") == {"k05": "by hand"}
    assert listed(place.logs / "item_rollback_changed.csv") == ["k05"]
    shown = place.rolled_back(include_changed="yes")
    assert "15 are gone" in shown
    assert place.org.count("Item__c") == 0


def test_of_a_job_that_salesforce_has_forgotten_every_change_since_the_creation_counts(
    place: Mending,
) -> None:
    place.load()
    place.org.clock.push(60)
    client().send("PATCH", "/sobjects/Item__c/Ext__c/k05", json={"Name__c": "by hand"})
    place.org.clock.push(8 * 86_400)
    assert "1 were changed after their job had ended and are left" in place.rolled_back()
    assert place.held("Name__c") == {"k05": "by hand"}


def test_a_row_whose_results_were_lost_is_not_taken_for_one_that_the_run_created(
    place: Mending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ora2sf.rounds.Rounds.pause_before", lambda *_: 0.0)
    place.org.faults.add("drop-result", path="successful", rows=4)
    place.load()
    shown = place.rolled_back()
    assert "This run created 11 records" in shown
    assert "4 rows are in no result file and in the org all the same" in shown
    assert "Verdict: rolled back with exceptions." in shown
    assert len(listed(place.logs / "item_rollback_updated.csv")) == place.org.count("Item__c") == 4


def test_a_success_file_that_was_changed_proves_nothing(place: Mending) -> None:
    foreign = before_us(place, "x1")
    (other,) = foreign
    place.load()
    path = max(place.logs.glob("Item__c_*_success.csv"))
    path.write_text(path.read_text(encoding="utf-8") + f'"{other}","true","x1"\n', encoding="utf-8")
    there = snapshot(place)
    with pytest.raises(LedgerError, match="is not the file that Salesforce returned"):
        place.rolled_back()
    assert snapshot(place) == there


def test_a_roll_back_that_was_ended_half_way_is_followed_and_sends_nothing_twice(place: Mending) -> None:
    place.load()
    place.org.hold_jobs()
    with pytest.raises(JobTimeout, match="to follow it"):
        place.rolled_back(job_timeout=1)
    begun = len(deletes(place))
    assert begun >= 1
    place.org.release_jobs()
    assert "Verdict: rolled back." in place.rolled_back()
    assert sum(job["processed"] for job in deletes(place)) == 15
    assert place.org.count("Item__c") == 0


def test_a_roll_back_that_is_killed_after_any_act_is_taken_up(
    place: Mending, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.load()
    for act in ("intended", "created", "uploaded", "closing", "closed", "ended", "fetched"):
        done = getattr(LedgerJournal, act)

        def killed(self: LedgerJournal, *given: Any, done: Any = done) -> None:
            done(self, *given)
            raise KeyboardInterrupt

        run = place.open("90_rollback", confirm="r", max_concurrent_jobs=1)
        with monkeypatch.context() as patch:
            patch.setattr(LedgerJournal, act, killed)
            with pytest.raises(KeyboardInterrupt):
                run.roll_back()
    assert "Verdict: rolled back." in place.rolled_back()
    assert place.org.count("Item__c") == 0
    assert not [job for job in deletes(place) if job["failed"]]  # nothing was asked for twice


def test_a_load_that_is_still_running_is_not_rolled_back(place: Mending) -> None:
    run = place.open("01_extract")
    run.extract()
    run.announce()
    place.org.hold_jobs()
    with pytest.raises(JobTimeout):
        place.open("02_upload", job_timeout=1).upload()
    with pytest.raises(LedgerError, match="not at their end"):
        place.rolled_back()
    place.org.release_jobs()


def test_a_lock_costs_another_try_and_no_record(place: Mending) -> None:
    place.load()
    place.org.faults.add("lock-rows", error="UNABLE_TO_LOCK_ROW:locked", rows=3, object="Item__c", times=1)
    assert "Verdict: rolled back." in place.rolled_back()
    assert sum(job["processed"] for job in deletes(place)) == 15 + 3


def test_what_refers_to_a_record_has_to_go_first(place: Mending) -> None:
    place.load()
    kept = place.held("Id")["k03"]
    part = client().send("POST", "/sobjects/Part__c", json={"Item__c": kept}).json()["id"]
    run = place.open("90_rollback", confirm="r")
    shown = repr(run.roll_back())
    assert "DELETE_FAILED" in shown
    assert "Roll back first what refers to these records" in shown
    with pytest.raises(
        BalanceError, match=r"created records that are there = changed since, and left: 1 against 0"
    ):
        run.verdict()
    assert place.held("Id") == {"k03": kept}
    client().send("DELETE", f"/sobjects/Part__c/{part}")
    assert "Verdict: rolled back." in place.rolled_back()


def test_a_target_that_others_write_to_is_told(place: Mending) -> None:
    place.load()
    before_us(place, "x1")
    with pytest.raises(BalanceError, match=r"target COUNT now = before the load \+ left: 1 against 0"):
        place.rolled_back()
    assert sorted(place.held("Id")) == ["x1"]


def test_the_notebook_itself_rolls_a_run_back(place: Mending) -> None:
    foreign = before_us(place, "x1")
    place.load()
    target = place.folder / "90_rollback.ipynb"
    papermill.execute_notebook(
        str(ROOT / "notebooks" / "90_rollback.ipynb"),
        str(target),
        {"run_id": "r", "table": "item", "outputs": "outputs", "confirm": "r"},
        engine_name="ora2sf",
        progress_bar=False,
    )
    assert "Verdict: rolled back." in target.read_text(encoding="utf-8")
    assert snapshot(place) == foreign
    with Ledger(place.folder / "ledger.sqlite") as ledger:
        assert {one.purpose for one in ledger.all_batches("rollback")} == {"rollback"}
        assert ledger.setting("rolled_back")
