"""A planned campaign on both servers: its plan, its windows, and its one moment."""

from __future__ import annotations

import datetime as dt
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ora2sf import notebooks, open_plan, planfile
from ora2sf.campaign import Start
from ora2sf.claim import this_process
from ora2sf.cli import main
from ora2sf.errors import Exit, LedgerError, Ora2sfError, ParameterError, PlanError, PreflightError
from ora2sf.execution import Processes, run_campaign, stages
from ora2sf.extract import _Stage
from ora2sf.ledger import Ledger
from ora2sf.live import Live
from ora2sf.plan import Plan
from ora2sf.planning import measured
from place import SALES, Place, new_place
from world import ROOT


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with new_place(tmp_path, monkeypatch) as made:
        yield made


def test_windows_of_a_table_are_loaded_as_of_one_moment_and_are_together_the_table(place: Place) -> None:
    plan = place.plan()
    place.change("delete from SALE where N < 30", "insert into SALE values (99, 'S1', '01/01/2025', 1)")
    names = [one.name for one in plan.slices()]
    assert names == ["shop", "sale/w001", "sale/w002_20250102", "sale/w003_20250231", "sale/unreadable"]
    verdicts = [place.load(name) for name in names]
    assert all("Verdict: complete." in verdict for verdict in verdicts)
    assert {row["Code__c"] for row in place.org.rows("Sale__c")} == {str(n) for n in range(60)}
    for name in names:
        with Ledger(place.run() / name / "ledger.sqlite") as ledger:
            done = ledger.extraction()
            assert done
            assert done.consistency == "campaign"
            assert done.rows_read == next(one.rows for one in plan.slices() if one.name == name)
            assert ledger.setting("plan") == planfile.frozen_hash(place.run())
    rates = measured(place.run())
    assert rates.measured_in == ""  # so few rows say nothing


def test_a_plan_counts_cuts_and_says_what_each_slice_takes(place: Place) -> None:
    plan = place.plan()
    sale = plan.table("sale")
    assert sale
    assert (sale.counted, sale.in_windows, sale.unreadable) == (60, 48, 12)
    assert [one.rows for one in sale.slices] == [12, 24, 12, 12]
    assert [one.jobs for one in sale.slices] == [2, 4, 2, 2]
    assert sale.one_after_the_other  # the shop of a sale does not name the day
    assert "Window w002_20250102 has 24 rows, more than 15: they are of one day or range." in sale.notes
    lengths = [
        len(f"{n},{shop},{amount}.00\n".replace(",0.00", ",0.00")) for n, shop, _, amount in SALES[:20]
    ]
    assert sale.bytes_per_row == pytest.approx(sum(lengths) / 20, abs=1)
    assert plan.moment.scn
    assert plan.calendar[0].slice == "shop"
    assert plan.allowance.batches == 15_000
    assert Plan.model_validate_json(planfile.path_of(place.run()).read_bytes()) == plan


def test_a_slice_whose_moment_is_lost_takes_one_of_its_own_and_says_so(place: Place) -> None:
    place.plan()
    place.change("update SALE set AMOUNT = 1 where N = 0")
    place.oracle.backend.forget_undo()
    run = place.extract("sale/w001")
    done = run.ledger.extraction()
    assert done
    assert (done.consistency, done.rows_staged) == ("slice", 12)
    assert "ORA-01555" in str(run.ledger.setting("own_moment"))
    assert "Not of the campaign's moment" in run.extract().sentence


def test_a_moment_lost_in_the_middle_of_reading_leaves_nothing_half_read(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ora2sf.oracle.OracleSource.batches.__defaults__", (5,))
    place.plan()
    place.oracle.faults.add("ORA-1555", at="fetch", call=2)
    run = place.extract("sale/w002_20250102")
    done = run.ledger.extraction()
    assert not place.oracle.faults.pending
    assert done
    assert (done.consistency, done.rows_read, done.rows_staged, done.source_count) == ("slice", 24, 24, 24)
    assert sum(batch.rows for batch in run.ledger.batches()) == 24
    assert len(list(run.data.glob("*.csv.gz"))) == len(run.ledger.batches())


@pytest.mark.parametrize("revoked", [{"V$DATABASE", "DBMS_FLASHBACK"}])
def test_without_the_privilege_every_slice_has_a_moment_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, revoked: set[str]
) -> None:
    with new_place(tmp_path, monkeypatch, revoked={"TMS": revoked}) as place:
        plan = place.plan()
        assert plan.moment.scn is None
        assert "GRANT" not in plan.moment.why_not
        assert "ORA-00942" in plan.moment.why_not
        assert {one.consistency for one in plan.tables} == {"slice"}
        done = place.extract("sale/w001").ledger.extraction()
        assert done
        assert done.consistency == "slice"


def test_a_key_in_two_windows_stops_the_upload(place: Place) -> None:
    place.change("insert into SALE values (0, 'S1', 'TBA', 1)")
    place.plan()
    for name in ("shop", "sale/w001"):
        place.extract(name)
    with pytest.raises(
        PreflightError, match=r"1 key\(s\) stand in several slices of sale, such as 0 in sale/"
    ):
        place.extract("sale/unreadable").check_data()


def test_an_extraction_whose_last_rows_come_late_does_not_wait_for_ever(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that compresses ends some time after the one that opened its file."""
    finish = _Stage.finish

    def late(stage: _Stage) -> Any:
        threading.Event().wait(0.3)
        return finish(stage)

    monkeypatch.setattr(_Stage, "finish", late)
    done = place.extract("sale", "late").ledger.extraction()
    assert done
    assert done.rows_staged == 60


def refused(place: Place, name: str, run_id: str = "c") -> Ora2sfError:
    with pytest.raises(Ora2sfError) as caught:
        place.open("01_extract", name, run_id)
    assert caught.value.next_step
    return caught.value


def test_a_plan_counts_only_as_it_was_frozen(place: Place) -> None:
    open_plan({"run_id": "c", "slice_rows": 15}).save()
    assert "is not frozen" in refused(place, "shop").what
    planfile.freeze(place.run())
    place.open("01_extract", "shop")
    path = planfile.path_of(place.run())
    path.write_text(path.read_text().replace('"name": "unreadable"', '"name": "later"'))
    assert "was edited after it was frozen" in refused(place, "shop").what
    planfile.freeze(place.run())
    place.open("01_extract", "sale/later")
    with pytest.raises(PlanError, match="has a frozen plan already"):
        open_plan({"run_id": "c"}).save()
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(PlanError, match=r"plan.json is not a plan: version: Input should be 1"):
        planfile.freeze(place.run())
    path.unlink()
    assert "is gone" in refused(place, "shop").what


def test_a_slice_that_the_plan_does_not_have_is_refused(place: Place) -> None:
    place.plan(tables="sale")
    assert "is planned in 4 windows, and no window was given" in refused(place, "sale").what
    assert "window 'w9' was given" in refused(place, "sale/w9").what
    assert "leaves table shop out" in refused(place, "shop").what
    assert "has no plan, so nobody knows what window 'w001' is" in refused(place, "sale/w001", "other").what


def test_a_window_that_was_read_keeps_its_bounds(place: Place) -> None:
    place.plan()
    place.extract("sale/w001")
    path = planfile.path_of(place.run())
    path.write_text(path.read_text().replace('"20250102"', '"20250103"'))
    planfile.freeze(place.run())
    assert "was begun with window" in refused(place, "sale/w001").what


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"high": "20250102"', '"high": "20250103"'),
        ('"readable": false', '"readable": true'),
        ('"name": "unreadable"', '"name": "w001"'),
        ('"name": "unreadable"', '"name": "../w001"'),
        ('"counted": 60', '"counted": 61'),
    ],
)
def test_an_edit_that_loses_rows_or_reads_them_twice_is_not_frozen(place: Place, old: str, new: str) -> None:
    open_plan({"run_id": "c", "slice_rows": 15}).save()
    path = planfile.path_of(place.run())
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(PlanError, match="is not a plan"):
        planfile.freeze(place.run())


def test_a_later_campaign_reads_what_changed_since_the_one_before(place: Place) -> None:
    place.plan(tables="shop")
    frozen = json.loads(planfile.path_of(place.run()).read_text())
    assert dt.datetime.fromisoformat(frozen["moment"]["source_time"]).year >= 2026
    place.change("insert into SHOP values ('S4', SYSDATE)")
    plan = place.plan("d", since="c", slice_rows=100)
    shop, sale = plan.tables
    assert (shop.counted, shop.incremental) == (
        2,
        True,
    )  # the new one, and S3, of which nobody knows when it changed
    assert sale.counted == 60
    assert any("names no changed_column" in note for note in sale.notes)
    assert place.load("shop", "d").startswith("Verdict: complete.")
    assert {row["Code__c"] for row in place.org.rows("Shop__c")} == {"S3", "S4"}


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"tables": "sale nosuch"}, ParameterError, "There is no table nosuch"),
        ({"since": "never"}, PlanError, "Run never has no plan"),
        ({"slice_rows": 0}, ParameterError, "slice_rows = 0"),
        ({"windows": 3}, ParameterError, "no parameter named windows"),
        ({"run_id": "../x"}, ParameterError, "cannot name a folder"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_a_sentence(
    place: Place, given: dict[str, Any], error: type[Ora2sfError], words: str
) -> None:
    with pytest.raises(error, match=words):
        open_plan({"run_id": "c"} | given).save()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"DAY", type', '"NO_DAY", type', "the source has no column NO_DAY"),
        ('"DAY", type', '"AMOUNT", type', 'AMOUNT is NUMBER, which does not go with type = "text"'),
        (
            "phase = 2",
            'phase = 2\nchanged_column = "DAY"',
            "DAY is CHAR.*, and a DATE or TIMESTAMP is needed",
        ),
    ],
)
def test_a_window_or_time_of_change_of_another_type_is_refused(
    place: Place, old: str, new: str, words: str
) -> None:
    path = place.root / "tables" / "sale.toml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(PlanError, match=words):
        place.plan()


def test_the_command_plans_shows_and_freezes(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "c", "--slice-rows", "15", "--tables", "shop", "sale"]) == 0
    out = capsys.readouterr().out
    assert "63 rows in 5 slices" in out
    assert "assumed, nothing was measured" in out
    assert main(["plan", "c", "--show"]) == 0
    assert "Not frozen" in capsys.readouterr().out
    assert main(["plan", "c", "--freeze"]) == 0
    assert planfile.frozen_hash(place.run()) in capsys.readouterr().out  # type: ignore[operator]
    assert main(["plan", "c", "--show"]) == 0
    assert "\nFrozen." in capsys.readouterr().out


def test_the_notebook_plans_a_campaign(place: Place) -> None:
    (place.root / "notebooks").rmdir()
    (place.root / "notebooks").symlink_to(ROOT / "notebooks")
    folder = place.run() / "campaign"
    notebooks.execute("00_plan", folder, {"run_id": "c", "tables": "sale"}, progress_bar=False)
    assert planfile.draft(place.run()).table("sale")
    assert "Review it, then freeze it" in (folder / "00_plan.ipynb").read_text()


def test_the_process_of_a_slice_says_why_a_notebook_failed_and_ends_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = []

    def execute(name: str, folder: Path, parameters: dict[str, str], **_: Any) -> None:
        ran.append((name, folder, parameters["table"]))
        if name == "02_upload":
            raise OSError(28, "No space left")

    monkeypatch.setattr(notebooks, "execute", execute)
    steps = ["01_extract", "02_upload", "03_reconcile"]
    monkeypatch.setattr("sys.argv", ["notebooks", str(tmp_path), '{"table": "t"}', *steps])
    assert notebooks.main() == Exit.FAILED
    assert ran == [(name, tmp_path, "t") for name in steps[:2]]
    assert "02_upload: OSError: [Errno 28] No space left" in capsys.readouterr().err


#: A notebook that goes on until it is stopped.
GOES_ON = """
import signal, sys
from ora2sf import notebooks
def execute(*_, **__):
    print("begun", flush=True)
    signal.pause()
notebooks.execute = execute
sys.exit(notebooks.main())
"""


def test_the_process_of_a_slice_ends_as_by_ctrl_c_when_whoever_started_it_is_gone(tmp_path: Path) -> None:
    command = [sys.executable, "-c", GOES_ON, "--end-with-parent", str(tmp_path), "{}", "01_extract"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        process.stdin.close()
        assert process.wait(timeout=60) == Exit.INTERRUPTED


# carrying it out


#: Runs the cells of the notebooks without a kernel, which takes seconds to start.
CELLS = """
import faulthandler, json, os, pathlib, sys, threading
faulthandler.dump_traceback_later(120)
threading.Thread(target=lambda: sys.stdin.read() or os._exit(130), daemon=True).start()
names = json.loads(sys.argv[3])
for step in sys.argv[4:]:
    book = json.loads((pathlib.Path(os.environ["BOOKS"]) / f"{step}.ipynb").read_text())
    for cell in book["cells"]:
        if cell["cell_type"] == "code" and not cell["metadata"]:
            exec("".join(cell["source"]), names)
        names.pop("__builtins__", None)
"""


def test_a_campaign_is_carried_out_by_processes_that_run_the_notebooks(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place.root / "cells.py").write_text(CELLS)
    monkeypatch.setenv("PYTHONPATH", f"{place.root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("BOOKS", str(ROOT / "notebooks"))
    monkeypatch.setattr(Processes, "module", "cells")
    place.plan(tables="shop")
    assert main(["run", "shop", "--run-id", "c", "--resume"]) == 1
    assert "Run c has not begun.\nNext step: Leave --resume out" in capsys.readouterr().err
    assert main(["run", "shop", "--run-id", "c"]) == 0
    told = capsys.readouterr().out
    assert "send shop: good" in told
    assert told.endswith("1 slice: 1 proven.\n")
    assert place.org.count("Shop__c") == 3
    calls = len([call for call in place.org.calls if call.method in {"PATCH", "PUT"}])
    assert main(["run", "--run-id", "c", "--resume"]) == 0
    assert main(["status", "c"]) == 0
    assert len([call for call in place.org.calls if call.method in {"PATCH", "PUT"}]) == calls


#: Stands in for the notebooks: says what it was given, and goes on until it is told to end.
WAITS = """
import pathlib, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
folder = pathlib.Path(sys.argv[2])
(folder / "begun").write_text(" ".join(sys.argv[3:]))
signal.pause()
"""


def test_an_interrupt_parks_every_process_and_the_campaign_can_go_on(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = place.plan(tables="sale")
    (place.root / "waits.py").write_text(WAITS)
    monkeypatch.setenv("PYTHONPATH", f"{place.root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    hands = Processes(plan, place.run(), {"outputs": "outputs"}, said=lambda _: None)
    monkeypatch.setattr(Processes, "module", "waits")
    begun = [place.run() / "sale" / name / "begun" for name in ("w001", "w002_20250102")]

    def interrupt() -> None:
        while not all(path.exists() for path in begun):
            threading.Event().wait(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run_campaign(place.run(), lambda _: hands)
    thread.join()
    assert not [process for process, _ in hands._running.values() if process.poll() is None]
    assert [path.read_text().split()[-1] for path in begun] == ["01_extract"] * 2
    assert '"window": "w001"' in begun[0].read_text()
    assert set(stages(plan, place.run()).values()) == {"new"}


def test_a_slice_whose_process_fails_fails_alone_and_is_said(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, said = place.plan(), list[str]()
    monkeypatch.setattr(Processes, "module", "no_such_module")
    hands = Processes(plan, place.run(), {}, said.append)
    ends = run_campaign(place.run(), lambda _: hands)
    assert ends["shop"] == "failed"
    assert {stage for name, stage in ends.items() if name != "shop"} == {"new"}
    assert "read shop: bad: " in said[-1]
    assert "No module named no_such_module" in said[-1]


def test_two_processes_do_not_carry_one_campaign_out(place: Place) -> None:
    place.plan()
    with (place.run() / "campaign" / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(LedgerError, match="Another process carries run c out"):
            run_campaign(place.run(), lambda _: pytest.fail("nothing may start"))


def test_how_far_a_slice_is_stands_on_disk(place: Place) -> None:
    plan = place.plan()
    place.load("shop")
    place.extract("sale/w001")
    place.extract("sale/unreadable").check_data()
    assert stages(plan, place.run()) == {
        "shop": "done", "sale/w001": "new", "sale/w002_20250102": "new", "sale/w003_20250231": "new",
        "sale/unreadable": "staged",
    }  # fmt: skip


#: Stands in for notebooks that find no room in the org's limits.
PAUSES = """
import json, pathlib, sys
status = {"state": "paused by budget", "until": "2026-01-01T00:00:00.000Z", "error": "no room"}
(pathlib.Path(sys.argv[2]) / "status.json").write_text(json.dumps(status))
sys.exit(1)
"""


def test_a_slice_that_paused_is_tried_five_times(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, said = place.plan(tables="shop"), list[str]()
    (place.root / "pauses.py").write_text(PAUSES)
    monkeypatch.setenv("PYTHONPATH", f"{place.root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(Processes, "module", "pauses")
    ends = run_campaign(place.run(), lambda _: Processes(plan, place.run(), {}, said.append))
    assert ends == {"shop": "failed"}
    log = (place.run() / "campaign" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in log] == ["begun", "paused"] * 4 + ["begun", "bad"]
    assert said[1].endswith("read shop: paused: no room")


# what the command runs


def ran(*arguments: str) -> int:
    return main(["run", *arguments])


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """Slices, parameters and steps of processes that are not started."""
    started: list[tuple[str, str, str]] = []

    class Nobody:
        stdin = None

        def wait(self, timeout: float | None = None) -> int:
            return 0

    def start(command: list[str], **_: Any) -> Nobody:
        _, _, _, _, folder, given, *steps = command
        started.append((Path(folder).name, given, " ".join(steps)))
        return Nobody()

    monkeypatch.setattr("ora2sf.execution.subprocess.Popen", start)
    return started


def test_without_a_plan_the_command_makes_one_freezes_it_and_goes_on(
    place: Place, nothing_runs: list[tuple[str, str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran("shop", "--run-id", "n", "--max-rows", "2", "--outputs", "out") == Exit.FAILED
    told = capsys.readouterr().out
    assert "Run n has no plan: it is made now, from live counts." in told
    assert "3 rows in 1 slices" in told
    assert "The whole takes about" in told
    assert "Frozen: " in told
    ((name, given, steps),) = nothing_runs
    assert (name, steps) == ("shop", "01_extract")
    assert json.loads(given) == {
        "run_id": "n", "table": "shop", "outputs": "out", "oracle_conn_id": "oracle_tms", "sf_conn_id": "salesforce_api", "max_rows": "2",
    }  # fmt: skip
    plan = planfile.read(place.root / "out" / "n")
    assert plan
    assert [one.table for one in plan.tables] == ["shop"]


def test_a_command_that_was_killed_while_it_froze_its_plan_makes_it_anew(
    place: Place, nothing_runs: list[tuple[str, str, str]]
) -> None:
    (place.run("k") / "campaign").mkdir(parents=True)
    (place.run("k") / "campaign/plan.json.sha256").write_text("0  plan.json\n")
    assert ran("shop", "--run-id", "k") == Exit.FAILED
    assert planfile.is_frozen(place.run("k"))
    assert len(nothing_runs) == 1


def test_a_phase_is_planned_with_the_whole_and_slices_are_as_large_as_was_said(
    place: Place, nothing_runs: list[tuple[str, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORA2SF_RUN_ID", "p")
    assert ran("--phase", "1", "--slice-rows", "15", "--dry-run") == Exit.FAILED
    plan = planfile.read(place.run("p"))
    assert plan
    assert len(plan.slices()) == 5
    assert [name for name, _, _ in nothing_runs] == ["shop"]
    assert json.loads(nothing_runs[0][1])["dry_run"] == "yes"


def test_a_plan_file_names_the_run_and_is_put_into_its_folder(
    place: Place, nothing_runs: list[tuple[str, str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place.plan(tables="shop")
    file = tmp_path / "reviewed.json"
    planfile.path_of(place.run()).rename(file)
    for left in (place.run() / "campaign").iterdir():
        left.unlink()
    assert ran("--plan", str(file)) == Exit.FAILED
    assert "reviewed.json is not frozen, or was edited since" in capsys.readouterr().err
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    file.with_name("reviewed.json.sha256").write_text(f"{digest}  reviewed.json\n")
    assert ran("--plan", str(file)) == ran("--plan", str(file)) == Exit.FAILED
    assert [name for name, _, _ in nothing_runs] == ["shop", "shop"]
    assert planfile.is_frozen(place.run())
    assert ran("--plan", str(file), "--run-id", "d") == Exit.CONFIGURATION
    assert "is the plan of run c, not of d" in capsys.readouterr().err
    place.run("d").mkdir()
    assert ran("--plan", str(place.run("d"))) == Exit.FAILED
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--all"], Exit.CONFIGURATION, "No run_id was given: it names the campaign and its folder.\nNext step: Such as: ora2sf run --all --run-id nightly."),
        (["--run-id", "x"], Exit.CONFIGURATION, "such as: ora2sf run --all --run-id x."),
        (["--all", "shop", "--run-id", "x"], Exit.CONFIGURATION, "--all leaves no choice"),
        (["nosuch", "--run-id", "x"], Exit.CONFIGURATION, "There is no table nosuch.\nNext step: Known tables: sale, shop."),
        (["--run-id", "x", "--resume"], Exit.FAILED, "Run x has not begun."),
        (["--all", "--run-id", "x", "--max-rows", "0"], Exit.CONFIGURATION, "max_rows = 0"),
        (["sale", "--run-id", "c"], Exit.FAILED, "sale (phase 2) comes after shop, and that is not done.\nNext step: Run it, too: ora2sf run shop sale --run-id c."),
        (["--phase", "7", "--run-id", "c"], Exit.FAILED, "is of phase 7.\nNext step: Its phases are 1, 2."),
        (["shop", "--run-id", "only_sale"], Exit.FAILED, "The plan of run only_sale leaves shop out; it has sale.\nNext step: Run it under a run_id of its own"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_with_the_next_step(
    refusing: Place, arguments: list[str], code: Exit, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(*arguments) == code
    assert said in capsys.readouterr().err


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with pytest.MonkeyPatch.context() as patch, new_place(tmp_path_factory.mktemp("refusing"), patch) as made:
        made.plan()
        made.plan("only_sale", tables="sale")
        made.extract("shop", "by_hand")
        yield made


def test_a_run_that_was_begun_by_hand_is_not_planned_afterwards(
    refusing: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    (refusing.run("by_hand") / "campaign").mkdir(exist_ok=True)
    (refusing.run("hand")).mkdir()
    (refusing.run("hand") / "shop").symlink_to(refusing.run("by_hand") / "shop")
    assert ran("shop", "--run-id", "hand") == Exit.FAILED
    assert "Run hand was begun without a plan: shop." in capsys.readouterr().err


def test_a_slice_that_somebody_else_works_on_is_waited_for(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, said = place.plan(tables="shop"), list[str]()
    hands = Processes(plan, place.run(), {}, said.append)
    start = Start(plan.slices()[0], "read")
    ended = hands._judged(start, Exit.AT_WORK)
    assert ended.outcome == "paused"
    assert ended.until
    assert ended.until - hands.now() < dt.timedelta(seconds=6)
    assert not hands._tries


def test_progress_is_one_line_a_look_where_it_is_kept_and_written_anew_on_a_terminal(
    refusing: Place, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(refusing.run(), tmp_path / "c"))
    folder = run / "shop"
    folder.mkdir()
    status = {"step": "01_extract", "state": "started", "at": "2026-01-01T00:00:00.000Z", "rows": 1, "rows_per_second": 0.5, "process": vars(this_process())}  # fmt: skip
    (folder / "status.json").write_text(json.dumps(status))
    kept, shown = io.StringIO(), Terminal()
    for out in (kept, shown):
        live = Live(run, out)
        live.look()
        live.say("read shop: begun")
        live.end()
    assert re.match(
        r"\d\d:\d\d:\d\d  5 slices: 1 at work, 4 waiting. Now: shop  01_extract  1 of 3 rows", kept.getvalue()
    )
    assert "\033" not in kept.getvalue()
    first, second = shown.getvalue().split("\033[2F\033[J")[:2]
    assert first.startswith("  shop  01_extract  1 of 3 rows")
    assert second.startswith("read shop: begun\n  shop  01_extract")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True
