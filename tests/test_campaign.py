"""A planned campaign on both servers: its plan, its windows, and its one moment."""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ora2sf import notebooks, open_plan, planfile
from ora2sf.cli import main
from ora2sf.errors import LedgerError, Ora2sfError, ParameterError, PlanError, PreflightError
from ora2sf.execution import Processes, run_campaign, stages
from ora2sf.ledger import Ledger
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
    assert notebooks.main() == 1
    assert ran == [(name, tmp_path, "t") for name in steps[:2]]
    assert "02_upload: OSError: [Errno 28] No space left" in capsys.readouterr().err


# carrying it out


#: Runs the cells of the notebooks without a kernel, which takes seconds to start.
CELLS = """
import json, os, pathlib, sys
names = json.loads(sys.argv[2])
for step in sys.argv[3:]:
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
    assert main(["run", "c"]) == 0
    told = capsys.readouterr().out
    assert "send shop: good" in told
    assert told.endswith("1 slice: 1 done.\n")
    assert place.org.count("Shop__c") == 3
    jobs = len(place.org.jobs())
    assert main(["run", "c"]) == 1
    assert "has begun already: shop is done" in capsys.readouterr().err
    assert main(["run", "c", "--resume"]) == 0
    assert len(place.org.jobs()) == jobs


#: Stands in for the notebooks: says what it was given, and goes on until it is told to end.
WAITS = """
import pathlib, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
folder = pathlib.Path(sys.argv[1])
(folder / "begun").write_text(" ".join(sys.argv[2:]))
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
(pathlib.Path(sys.argv[1]) / "status.json").write_text(json.dumps(status))
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
