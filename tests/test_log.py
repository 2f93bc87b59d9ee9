"""``log.jsonl`` tells what happened in a slice, and a webhook hears of verdict, pause and failure; no row is in either."""

from __future__ import annotations

import json
import os
import re
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mending import BAD, GOOD, Mending, mending
from ora2sf import claim, events
from ora2sf.errors import ClaimedError, Paused, RunFolderError, TargetError
from ora2sf.ledger import Ledger
from ora2sf.upload import Plan
from receiver import Receiver, receiver
from world import ROOT


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiver() as found:
        monkeypatch.setenv(
            "AIRFLOW_CONN_HOOK", json.dumps({"password": f"{found.url}/services/canary-hook-token"})
        )
        monkeypatch.setenv("ORA2SF_WEBHOOK", "hook")
        yield found


@pytest.fixture
def place(oracle_and_rows: Any, tmp_path: Path, hook: Receiver) -> Iterator[Mending]:
    with mending(oracle_and_rows[0], tmp_path, GOOD + BAD) as found:
        yield found


def log(place: Mending) -> list[dict[str, Any]]:
    return list(events.read(place.folder / events.LOG))


def names(place: Mending) -> list[str]:
    return [line["event"] for line in log(place)]


# the log


@pytest.fixture(scope="module")
def told(oracle_and_rows: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mending]:
    """A slice that went through all three steps."""
    umask = os.umask(0o022)
    try:
        with mending(oracle_and_rows[0], tmp_path_factory.mktemp("told"), GOOD + BAD) as found:
            found.load()
            run = found.open("03_reconcile")
            run.fetch_missing()
            run.balance()
            run.compare()
            run.verdict()
            yield found
    finally:
        os.umask(umask)


def test_the_log_tells_the_story_in_order(told: Mending) -> None:
    steps = [
        name for name in names(told) if name not in {"attempt_moved", "job_ended", "status_record_written"}
    ]
    assert steps == [
        "slice_opened", "table_checked", "extraction_started", "extraction_finished",
        "slice_opened", "data_checked", "upload_started", "upload_finished",
        "slice_opened", "results_fetched", "books_counted", "target_compared", "report_written", "verdict_reached",
    ]  # fmt: skip


def test_the_log_agrees_with_the_ledger_move_by_move(told: Mending) -> None:
    moves = [line for line in log(told) if line["event"] == "attempt_moved"]
    with Ledger(told.folder / "ledger.sqlite") as ledger:
        for attempt in ledger.attempts():
            mine = [line for line in moves if line["attempt"] == attempt.id]
            assert [line["state"] for line in mine] == list(ledger.times()[attempt.id])
            assert {line["batch"] for line in mine} == {attempt.batch}
            assert mine[-1]["job"] == attempt.job_id


def test_every_line_has_the_same_head_and_only_fields_of_the_table(told: Mending) -> None:
    for line in log(told):
        assert list(line)[: len(events.STANDING)] == list(events.STANDING)
        assert set(line) - set(events.STANDING) <= set(events.EVENTS[line["event"]].fields)
        assert (line["run_id"], line["table"], line["window"]) == ("r", "item", None)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert sorted(line["time"] for line in log(told)) == [line["time"] for line in log(told)]


def test_the_numbers_of_the_log_are_those_of_the_report(told: Mending) -> None:
    report = json.loads((told.folder / "report.json").read_text(encoding="utf-8"))
    found = {line["event"]: line for line in log(told)}
    verdict = found["verdict_reached"]
    assert (verdict["verdict"], verdict["exit"], verdict["level"]) == (
        "complete with exceptions",
        3,
        "warning",
    )
    for name in ("source", "staged", "rejected", "success", "failed", "target_after"):
        assert verdict[f"{name}_rows"] == report["balance"][name]
    assert found["report_written"]["digest"] == report["digest"]


def test_no_value_of_a_row_is_in_the_log(told: Mending) -> None:
    text = (told.folder / events.LOG).read_text(encoding="utf-8")
    rejected = (told.logs / "item_rejected.csv").read_text(encoding="utf-8")
    for value in ("Tea 1", "Old one", "thirty characters", '"0042"', "01/02/2025"):
        assert value not in text
    assert "thirty characters" in rejected  # it is there to be found


def test_every_file_of_a_finished_slice_is_for_its_owner_alone_whatever_the_umask(told: Mending) -> None:
    everything = [told.home / "outputs", *(told.home / "outputs").rglob("*")]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in everything}
    assert len(modes) > 20
    assert {
        path: oct(mode) for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)
    } == {}
    assert os.umask(0o022) == 0o022  # and it is as it was


def test_an_event_or_a_field_that_is_in_no_table_is_refused(tmp_path: Path) -> None:
    for event, fields in (("heard_of_nothing", {}), ("job_ended", {"row_value": "x"})):
        with pytest.raises(KeyError):
            events.Log(tmp_path, run_id="r").write(event, **fields)


def test_lines_of_several_processes_and_threads_stay_whole(tmp_path: Path) -> None:
    log = events.Log(tmp_path, run_id="r")
    children = [pid for _ in range(3) if (pid := os.fork()) or _write_and_end(tmp_path)]
    threads = [
        threading.Thread(target=log.write, args=("upload_finished",), kwargs={"rows": n}) for n in range(100)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
    lines = (tmp_path / events.LOG).read_text(encoding="utf-8").split("\n")
    # an empty line is left where one looked at a line that another had half written
    assert len([json.loads(line) for line in lines if line]) == 100 + 3 * 200


def _write_and_end(folder: Path) -> int:
    log = events.Log(folder, run_id="r")
    for number in range(200):
        log.write("upload_finished", rows=number)
    os._exit(0)


def test_a_line_that_a_kill_tore_is_left_out_and_the_next_one_is_whole(tmp_path: Path) -> None:
    log = events.Log(tmp_path, run_id="r")
    log.write("upload_finished", rows=1)
    whole = (tmp_path / events.LOG).read_bytes()
    (tmp_path / events.LOG).write_bytes(whole + whole[: len(whole) // 2])
    log.write("upload_finished", rows=2)
    assert [line["rows"] for line in events.read(tmp_path / events.LOG)] == [1, 2]
    assert list(events.read(tmp_path / "not there")) == []


def test_a_full_disk_is_said_in_words() -> None:
    with pytest.raises(
        RunFolderError,
        match=r"(?s)/dev/full cannot be written: .*Next step: Free some disk space",
    ) as full:
        events.append(Path("/dev/full"), "{}")
    assert full.value.__cause__ is None


def test_the_log_page_lists_every_event_and_field_with_its_meaning() -> None:
    page = (ROOT / "docs/log.md").read_text(encoding="utf-8")
    for name, meaning in (events.STANDING | events.FIELDS).items():
        assert f"| `{name}` | {meaning} |" in page
    for name, event in events.EVENTS.items():
        assert f"| `{name}` | {event.level} | {event.meaning} | {events.listed(event)} |" in page, name
    assert {field for event in events.EVENTS.values() for field in event.fields} == set(events.FIELDS)


# the webhook


def extracted(place: Mending) -> None:
    run = place.open("01_extract")
    run.extract()
    run.announce()


def test_the_verdict_is_told_once_with_its_numbers_and_where_the_report_is(
    place: Mending, hook: Receiver
) -> None:
    place.load()
    place.books()
    place.books()  # nothing has changed: nobody is told again
    (message,) = hook.messages
    assert {name: message[name] for name in ("version", "event", "run_id", "table", "window", "verdict", "exit")} == {
        "version": 1, "event": "verdict", "run_id": "r", "table": "item", "window": None,
        "verdict": "complete with exceptions", "exit": 3,
    }  # fmt: skip
    assert (place.home / "outputs" / message["report"]).is_file()
    assert message["counts"]["staged"] == message["counts"]["success"] + message["counts"]["failed"] == 17
    assert "books balance" in message["sentence"]
    assert names(place).count("webhook_sent") == 1
    assert "canary-hook-token" not in (place.folder / events.LOG).read_text()


def test_a_pause_is_told_with_the_time_when_it_can_go_on(
    place: Mending, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: Any) -> None:
        raise Paused("Paused by budget.", "Later.", until="2026-01-02T03:04:05.000Z")

    extracted(place)
    upload = place.open("02_upload")
    monkeypatch.setattr(upload._budget, "begin", no_room)
    with pytest.raises(Paused):
        upload.upload()
    (message,) = hook.messages
    assert (message["event"], message["until"], message["exit"]) == ("pause", "2026-01-02T03:04:05.000Z", 5)
    assert names(place)[-2:] == ["step_paused", "webhook_sent"]


def test_a_failure_is_told_by_its_class_and_code_and_never_by_a_text_that_may_hold_a_row(
    place: Mending, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_plan: list[Plan], *_: Any, **__: Any) -> None:
        raise TargetError("Salesforce says: bad value Tea 1", "Correct it.", error_code="INVALID_FIELD")

    extracted(place)
    monkeypatch.setattr("ora2sf.upload.upload", refused)
    for _ in range(2):  # a scheduler tries again, and nothing is new
        with pytest.raises(TargetError):
            place.open("02_upload").upload()
    (message,) = hook.messages
    assert (message["event"], message["error"], message["code"]) == (
        "failure",
        "TargetError",
        "INVALID_FIELD",
    )
    assert message["sentence"] == "02_upload: failed. Salesforce refuses a request."
    assert "Tea 1" not in json.dumps(hook.messages) + (place.folder / events.LOG).read_text()
    assert "Tea 1" in (place.folder / "status.json").read_text()


def test_ctrl_c_is_told_to_nobody(place: Mending, hook: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    extracted(place)
    monkeypatch.setattr("ora2sf.upload.upload", interrupted)
    with pytest.raises(KeyboardInterrupt):
        place.open("02_upload").upload()
    assert hook.messages == []
    assert names(place)[-1] == "step_stopped"


@pytest.mark.parametrize("connection", ["", json.dumps({"host": "http://127.0.0.1:9"})])
def test_a_webhook_that_does_not_work_is_warned_of_and_changes_no_verdict(
    place: Mending, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], connection: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_HOOK", connection)
    place.load()
    assert place.books()["verdict"] == "complete with exceptions"
    assert "Warning: the webhook 'hook' was not told of the verdict" in capsys.readouterr().err
    (failed,) = (
        line for line in log(place) if line["event"] == "webhook_failed" and line["about"] == "verdict"
    )
    assert failed["level"] == "warning"
    assert failed["reason"] in {"ConnectionFieldError", "ConnectionError"}


def test_who_only_looks_on_logs_and_tells_nothing(
    place: Mending, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "BEAT", 0.05)
    place.load()
    before = (place.folder / events.LOG).read_bytes()
    other = place.open("02_upload")
    after_opening = (place.folder / events.LOG).read_bytes()
    with other.ledger.claimed():
        looking = place.open("03_reconcile")
        looking.balance()
        with pytest.raises(ClaimedError):
            looking.verdict()
    assert after_opening != before
    assert (place.folder / events.LOG).read_bytes() == after_opening
    assert hook.messages == []
