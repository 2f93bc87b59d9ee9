"""Where a slice stands: the note of a process that is gone is not believed, and each way to end has its exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ora2sf import errors
from ora2sf.claim import Holder, this_process
from ora2sf.errors import VERDICTS, Exit, Ora2sfError, exit_of, worst
from ora2sf.ledger import Ledger
from ora2sf.slice_report import note_verdict
from ora2sf.standing import Standing, standing, standings


def note(folder: Path, **values: Any) -> Standing:
    folder.mkdir(parents=True, exist_ok=True)
    noted = {"step": "02_upload", "state": "started", "at": "2026-01-01T00:00:00.000Z", **values}
    (folder / "status.json").write_text(json.dumps(noted))
    return standing(folder)


def ended_process() -> dict[str, Any]:
    code = "import json; from ora2sf.claim import this_process; print(json.dumps(vars(this_process())))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_a_living_process_began_is_at_work(tmp_path: Path) -> None:
    found = note(tmp_path, process=vars(this_process()))
    assert (found.state, found.exit) == ("at work", Exit.AT_WORK)
    assert f"process {this_process().pid} on " in found.detail


def test_what_a_process_that_is_gone_began_is_interrupted(tmp_path: Path) -> None:
    found = note(tmp_path, process=ended_process())
    assert (found.state, found.exit) == ("interrupted, can be resumed", Exit.INTERRUPTED)


@pytest.mark.parametrize("state", ["started", "extracted", "uploaded"])
def test_a_verdict_stands_when_a_notebook_was_opened_again_and_changed_nothing(
    tmp_path: Path, state: str
) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        note_verdict(ledger, "proven")
    again = {"step": "04_retry", "state": state, "process": ended_process()}
    assert note(tmp_path, **again).state == "proven"
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.start_extraction("another table file")
    assert note(tmp_path, **again).exit == Exit.INTERRUPTED


def test_of_another_machine_it_is_said_that_nothing_can_be_seen(tmp_path: Path) -> None:
    found = note(tmp_path, process=vars(Holder("worker-7", "worker-7 x", 4, "9", "")))
    assert (found.state, found.exit) == ("started", Exit.INTERRUPTED)
    assert "process 4 on worker-7" in found.detail


def test_a_claim_that_a_process_on_another_machine_left_behind_is_not_taken_for_work(tmp_path: Path) -> None:
    elsewhere = Holder("worker-7", "worker-7 x", 4, "9", "")
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger._db.execute(
            "UPDATE claim SET host = ?, place = ?, pid = ?, begun = ?, since = ?",
            tuple(vars(elsewhere).values()),
        )
    found = note(tmp_path, process=vars(elsewhere))
    assert (found.state, found.exit) == ("started", Exit.INTERRUPTED)
    assert "cannot be seen from here" in found.detail


def test_a_slice_that_a_process_holds_is_at_work_whoever_wrote_its_status_last(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger, ledger.claimed():
        assert note(tmp_path, state="failed", exit=1, process=ended_process()).state == "at work"
    assert note(tmp_path, state="failed", exit=1, process=ended_process()).state == "failed"


@pytest.mark.parametrize(
    ("state", "code", "detail"),
    [
        ("extracted", Exit.INTERRUPTED, "02_upload is next"),
        ("uploaded", Exit.INTERRUPTED, "03_reconcile is next"),
        ("complete", Exit.COMPLETE, ""),
        ("proven", Exit.COMPLETE, ""),
        ("nothing to do", Exit.COMPLETE, ""),
        ("complete with exceptions", Exit.ROWS_FAILED, ""),
        ("all rejected", Exit.ROWS_FAILED, ""),
        ("incomplete", Exit.INTERRUPTED, ""),
        ("does not balance", Exit.NOT_RECONCILED, ""),
        ("stopped, can be resumed", Exit.INTERRUPTED, ""),
        ("paused by budget", Exit.PAUSED, ""),
        ("never heard of", Exit.FAILED, ""),
    ],
)
def test_each_state_has_its_exit_code(tmp_path: Path, state: str, code: Exit, detail: str) -> None:
    found = note(tmp_path, state=state, process=vars(this_process()))
    assert (found.state, found.exit, found.detail) == (state, code, detail)


def test_the_code_that_an_error_was_noted_with_counts(tmp_path: Path) -> None:
    found = note(tmp_path, state="failed", exit=6, error="No.")
    assert (found.exit, found.detail) == (Exit.CONFIGURATION, "No.")


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_status_that_cannot_be_read_is_no_good_news(tmp_path: Path, text: str) -> None:
    (tmp_path / "status.json").write_text(text)
    found = standing(tmp_path)
    assert (found.state, found.exit) == ("nothing noted", Exit.INTERRUPTED)


def test_tables_and_windows_of_a_run_are_slices_and_the_worst_of_them_counts(tmp_path: Path) -> None:
    note(tmp_path / "r1/a", state="complete")
    note(tmp_path / "r1/b/2025", state="complete with exceptions")
    note(tmp_path / "r1/b/2026", state="does not balance")
    (tmp_path / "r1/campaign").mkdir()
    found = standings(tmp_path / "r1")
    assert [one.slice for one in found] == ["a", "b/2025", "b/2026"]
    assert worst([one.exit for one in found]) == Exit.NOT_RECONCILED
    assert worst([one.exit for one in found[:2]]) == Exit.ROWS_FAILED
    assert worst([]) == Exit.COMPLETE


def test_every_code_can_be_compared_with_every_other() -> None:
    assert {worst([code]) for code in Exit} == set(Exit)


def test_every_verdict_of_the_books_has_an_exit_code() -> None:
    from typing import get_args

    from ora2sf.reconcile import Verdict

    assert set(get_args(Verdict)) <= set(VERDICTS)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ParameterError", Exit.CONFIGURATION),
        ("TableFileError", Exit.CONFIGURATION),
        ("ConnectionFieldError", Exit.CONFIGURATION),
        ("BalanceError", Exit.NOT_RECONCILED),
        ("TargetUnavailable", Exit.INTERRUPTED),
        ("KeyboardInterrupt", Exit.INTERRUPTED),
        ("DeadKernelError", Exit.INTERRUPTED),
        ("NotFoundError", Exit.FAILED),
        ("ZeroDivisionError", Exit.FAILED),
        ("Exit", Exit.FAILED),
    ],
)
def test_the_name_of_an_error_tells_the_exit_code(name: str, code: Exit) -> None:
    assert exit_of(name) == code


def test_no_error_ends_a_command_as_if_all_were_well() -> None:
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, Ora2sfError)]
    assert len(kinds) > 15
    assert all(one.exit not in {Exit.COMPLETE, Exit.ROWS_FAILED} for one in kinds)


def test_the_documentation_lists_every_exit_code_with_its_verdicts() -> None:
    text = (Path(__file__).parents[2] / "docs/report.md").read_text(encoding="utf-8")
    for code in Exit:
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {code.value} |")]
        assert all(f"`{verdict}`" in line for verdict, ends in VERDICTS.items() if ends == code)
