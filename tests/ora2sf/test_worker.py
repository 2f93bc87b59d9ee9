"""A notebook as a process for a scheduler from outside: what it waits for, and what it tells of its end."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_scheduler import plan, table

from ora2sf import planfile, worker
from ora2sf.errors import Exit
from ora2sf.plan import Plan
from ora2sf.worker import Ended


class Raised(Exception):
    """What papermill makes of an error in a cell."""

    def __init__(self, ename: str, evalue: str) -> None:
        super().__init__(evalue)
        self.ename, self.evalue = ename, evalue


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of run c, in a project of its own."""
    monkeypatch.setenv("ORA2SF_HOME", str(tmp_path))
    return tmp_path / "outputs" / "c"


def freeze(run: Path, made: Plan) -> None:
    planfile.write(run, made)
    planfile.freeze(run)


def note(run: Path, name: str, **noted: Any) -> None:
    (run / name).mkdir(parents=True)
    (run / name / "status.json").write_text(json.dumps(noted))


def runs(monkeypatch: pytest.MonkeyPatch, what: Callable[..., object] = lambda *_, **__: None) -> list[str]:
    """Puts something in the place of papermill; the notebooks that ran."""
    ran: list[str] = []

    def execute(name: str, folder: Path, parameters: dict[str, Any], **_: Any) -> None:
        ran.append(name)
        folder.mkdir(parents=True, exist_ok=True)
        scrap = {worker.SCRAP: {"name": "extraction", "data": {"rows_staged": 7}}}
        cells = [{"outputs": [{"data": scrap}, {"text": "7 rows"}]}, {}]
        (folder / f"{name}.ipynb").write_text(json.dumps({"cells": cells}))
        what(folder, parameters)

    monkeypatch.setattr(worker, "execute", execute)
    return ran


def ended(notebook: str, **given: Any) -> Ended:
    return worker._done(notebook, {"run_id": "c"} | given)


TWO = (table("a", [10]), table("b", [10], after=["a"]), table("c", [10], phase=2))


def test_the_slices_of_a_campaign_are_told_with_what_their_notebooks_are_given(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = runs(monkeypatch, lambda *_: planfile.write(run, plan(*TWO, table("d", [4, 6], phase=2))))
    told = ended("00_plan", batch_size=300).value
    assert ran == ["00_plan"]
    assert [(one["name"], one["phase"]) for one in told["slices"]] == [
        ("a", 1), ("b", 1), ("c", 2), ("d/w001", 2), ("d/unreadable", 2)
    ]  # fmt: skip
    assert told["slices"][3]["parameters"] == {
        "run_id": "c", "outputs": "outputs", "batch_size": 300, "table": "d", "window": "w001"
    }  # fmt: skip
    assert planfile.is_frozen(run)
    assert ended("00_plan").value["rows"] == 40
    assert ran == ["00_plan"]  # a frozen plan is taken as it is


def test_a_plan_to_be_reviewed_is_not_frozen(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(monkeypatch, lambda *_: planfile.write(run, plan(*TWO)))
    told = ended("00_plan", freeze=False)
    assert (told.again, told.until) == (False, "")
    assert "Review it, freeze it (ora2sf plan c --freeze)" in told.why
    planfile.freeze(run)
    assert ended("00_plan", freeze=False).exit == Exit.COMPLETE


def test_a_table_whose_parents_nobody_sends_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    freeze(run, plan(*TWO))
    assert (
        "a (phase 1) is not sent yet, and it is not among the tables to run"
        in ended("00_plan", table="b").why
    )
    assert ended("00_plan", tables="a b").exit == Exit.COMPLETE
    assert "leaves x out" in ended("00_plan", table="x").why


def test_inside_a_phase_a_slice_waits_for_the_tables_before_it_without_a_failure(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze(run, plan(*TWO))
    ran = runs(monkeypatch)
    told = ended("02_upload", table="b")
    assert (told.exit, told.again, ran) == (Exit.PAUSED, True, [])
    left = dt.datetime.fromisoformat(told.until) - dt.datetime.now(dt.UTC)
    assert dt.timedelta(0) < left < dt.timedelta(minutes=1)
    note(run, "a", step="02_upload", state="failed", exit=1)
    told = ended("02_upload", table="b")
    assert (told.exit, told.again, told.until) == (Exit.FAILED, False, "")
    assert "b is not begun: a failed." in told.why


def test_windows_that_may_share_parents_are_sent_one_after_the_other(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze(run, plan(table("a", [4, 6], parent=True)))
    ran = runs(monkeypatch)
    assert ended("02_upload", table="a", window="w001").exit == Exit.COMPLETE
    assert "a/w001 may share parents with it" in ended("02_upload", table="a", window="unreadable").why
    assert ran == ["02_upload"]
    (run / "a" / "w001" / "status.json").write_text(
        '{"step": "03_reconcile", "state": "proven", "staged": 4}'
    )
    assert ended("02_upload", table="a", window="unreadable").exit == Exit.COMPLETE


def test_what_a_notebook_recorded_is_told(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    freeze(run, plan(*TWO))
    runs(monkeypatch)
    assert ended("01_extract", table="a").value == {"slice": "a", "extraction": {"rows_staged": 7}}


@pytest.mark.parametrize(
    ("state", "good"),
    [("proven", True), ("complete with exceptions", True), ("incomplete", False), ("all rejected", False)],
)
def test_a_slice_is_reconciled_only_with_a_good_verdict(
    run: Path, monkeypatch: pytest.MonkeyPatch, state: str, good: bool
) -> None:
    freeze(run, plan(*TWO))
    noted = json.dumps({"step": "03_reconcile", "state": state, "staged": 1})
    runs(monkeypatch, lambda folder, _: (folder / "status.json").write_text(noted))
    told = ended("03_reconcile", table="a")
    assert (told.exit == Exit.COMPLETE) == good
    assert not told.again
    assert good or f"a came to no good verdict: {state}" in told.why


@pytest.mark.parametrize(
    ("error", "code", "again", "waits"),
    [
        (Raised("ConnectionFieldError", "no login"), Exit.CONFIGURATION, False, False),
        (Raised("BalanceError", "lost"), Exit.NOT_RECONCILED, False, False),
        (Raised("SourceError", "ORA-00942"), Exit.FAILED, False, False),
        (Raised("TargetUnavailable", "503"), Exit.INTERRUPTED, True, False),
        (Raised("Paused", "no room"), Exit.PAUSED, True, True),
        (Raised("ClaimedError", "held"), Exit.AT_WORK, True, True),
        (OSError(28, "No space left"), Exit.FAILED, True, False),
        (KeyboardInterrupt(), Exit.INTERRUPTED, True, False),
    ],
    ids=lambda value: (
        getattr(value, "ename", type(value).__name__) if isinstance(value, BaseException) else ""
    ),
)
def test_a_scheduler_is_told_whether_to_try_again(
    run: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: Exit, again: bool, waits: bool
) -> None:
    def fail(*_: Any) -> None:
        raise error

    freeze(run, plan(*TWO))
    runs(monkeypatch, fail)
    note(run, "a", state="paused by budget", until="2026-01-06T00:00:00.000Z")
    told = ended("01_extract", table="a")
    assert (told.exit, told.again, bool(told.until)) == (code, again, waits)
    assert told.why
    if code == Exit.PAUSED:
        assert told.until == "2026-01-06T00:00:00.000Z"  # as the notebook noted it


def test_the_report_of_a_campaign_fails_while_a_slice_is_not_done(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze(run, plan(*TWO))
    ran = runs(monkeypatch)
    note(run, "a", step="03_reconcile", state="proven", staged=1)
    assert "2 of 3 slices are not done: b, c." in ended("05_campaign").why
    assert ended("05_campaign", table="a").value["slices"] == 1
    assert ran == ["05_campaign", "05_campaign"]


def started(home: Path, parameters: dict[str, Any], code: str = "") -> subprocess.Popen[str]:
    """The process as a scheduler starts it; ``code`` runs before it."""
    program = f"{code}\nimport sys; from ora2sf import worker; sys.exit(worker.main())"
    return subprocess.Popen(
        [sys.executable, "-c", program, "01_extract", json.dumps(parameters)], text=True, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"ORA2SF_HOME": str(home)},
    )  # fmt: skip


#: A notebook that goes on until it is told to end.
WAITS = """
import signal
from ora2sf import worker
def wait(*_):
    print("begun", file=__import__("sys").stderr, flush=True)
    signal.pause()
worker.KNOWN["01_extract"] = wait
"""


@pytest.mark.parametrize("how", ["SIGTERM", "the scheduler is gone"])
def test_the_process_ends_where_it_can_go_on(tmp_path: Path, how: str) -> None:
    with started(tmp_path, {"run_id": "c"}, WAITS) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        assert process.stderr.readline() == "begun\n"
        if how == "SIGTERM":
            process.send_signal(signal.SIGTERM)
        else:
            process.stdin.close()
        told = json.loads(process.stdout.read())
    assert (told["exit"], told["again"], told["until"]) == (Exit.INTERRUPTED, True, "")
    assert process.returncode == Exit.INTERRUPTED
