"""Where a campaign stands: every slice with its numbers, while it runs and afterwards, by what is on disk alone."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from ora2sf import cli, notebooks, open_campaign, overview, planfile
from ora2sf.campaign_model import CampaignReport, SliceLine
from ora2sf.claim import now, this_process, written
from ora2sf.errors import Exit, RunFolderError
from ora2sf.ledger import Ledger, looked_at
from place import Place, new_place
from world import ROOT

SCHEMA = ROOT / "docs/campaign_report.schema.json"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A campaign in the middle: two slices are done, one is staged, one was refused, one was not begun."""
    with pytest.MonkeyPatch.context() as patch, new_place(tmp_path_factory.mktemp("place"), patch) as made:
        made.plan(rates_from=None)
        made.load("shop")
        made.load("sale/w001")
        staged = made.extract("sale/unreadable")
        staged.check_data()
        staged.check_limits()
        made.open("01_extract", "sale/w003_20250231")._note(
            "failed", error="No.", next_step="Do it.", exit=int(Exit.CONFIGURATION)
        )
        yield made


@pytest.fixture
def run(place: Place, tmp_path: Path) -> Path:
    """A copy of its folder that a test may change."""
    return Path(shutil.copytree(place.run(), tmp_path / "c"))


def lines(run: Path) -> dict[str, SliceLine]:
    return {one.slice: one for one in overview.look(run).slices}


def test_every_slice_of_the_plan_has_a_line_with_its_state_and_numbers(place: Place) -> None:
    found = overview.look(place.run())
    assert [(one.slice, one.state, one.group) for one in found.slices] == [
        ("shop", "complete", "done"),
        ("sale/w001", "complete", "done"),
        ("sale/w002_20250102", "not begun", "waiting"),
        ("sale/w003_20250231", "failed", "failed"),
        ("sale/unreadable", "extracted", "waiting"),
    ]
    shop, first, second, _, last = (one.counts for one in found.slices)
    assert (shop.planned, shop.source, shop.staged, shop.rejected, shop.success, shop.failed) == (3, 3, 3, 0, 3, 0)  # fmt: skip
    assert (first.success, first.target, second.planned, second.source) == (12, 12, 24, None)
    assert (last.source, last.staged, last.success) == (12, 12, None)
    assert found.verdict.sentence == "5 slices: 2 complete, 1 failed, 2 waiting."
    assert (found.verdict.verdict, found.verdict.exit) == ("failed", Exit.CONFIGURATION)
    assert found.plan == planfile.frozen_hash(place.run())
    assert found.totals.planned == 63
    assert found.totals.success is None  # of some slices nobody knows yet
    assert [one.digest for one in found.slices[:2]] == [
        json.loads((place.run() / name / "report.json").read_text())["digest"]
        for name in ("shop", "sale/w001")
    ]


def test_a_failure_names_its_reason_and_the_next_step(place: Place) -> None:
    (found,) = overview.look(place.run()).failures
    assert (found.slice, found.reason, found.next_step) == ("sale/w003_20250231", "No.", "Do it.")


def test_the_budget_is_read_from_files(place: Place) -> None:
    calls = len(place.org.calls)
    batches, records, api, storage = overview.look(place.run()).budget
    assert (batches.limit, batches.allowed, batches.reserve) == ("DailyBulkApiBatches", 15_000, 1_500)
    assert batches.left == 13_500 - batches.used
    assert (records.ours, records.needed) == (0, 36)  # what is done went without jobs: too few rows for one
    assert api.ours
    assert api.used >= api.ours
    assert storage.needed == 2  # a begun megabyte for each slice that waits
    assert len(place.org.calls) == calls


def test_what_begins_after_the_org_was_asked_counts_as_used(run: Path) -> None:
    before = overview.look(run).budget[0]
    use = {"at": written(dt.datetime.now(dt.UTC)), "batches": 7, "records": 70_000, "calls": 26}
    old = use | {"at": written(dt.datetime.now(dt.UTC) - dt.timedelta(hours=25)), "batches": 1_000}
    (run / "campaign/budget/sale_w002.json").write_text(json.dumps({"version": 1, "org": "o", "uses": [old, use]}))  # fmt: skip
    (run / "campaign/budget/half.json").write_text('{"version": 1, "org"')
    after = overview.look(run).budget[0]
    assert (after.used - before.used, after.ours) == (7, (before.ours or 0) + 7)


def test_a_slice_that_waits_says_for_what_and_what_can_end_says_when(run: Path) -> None:
    (run / "sale/w003_20250231/status.json").unlink()
    found = overview.look(run)
    by_name = {one.slice: one for one in found.slices}
    assert by_name["sale/w002_20250102"].end
    assert found.end == max(one.end for one in found.slices if one.end)
    assert dt.datetime.fromisoformat(found.end) > dt.datetime.now(dt.UTC)
    assert found.rates == "those of the plan"
    shutil.rmtree(run / "shop")
    assert lines(run)["sale/unreadable"].detail == "shop (phase 1) is not sent yet"


def test_while_a_process_carries_the_campaign_out_waiting_is_being_at_work(run: Path) -> None:
    (run / "sale/w003_20250231/status.json").unlink()
    assert overview.look(run).verdict.exit == Exit.INTERRUPTED
    (run / "campaign/lock").write_text(json.dumps(vars(this_process())))
    found = overview.look(run)
    assert found.verdict.exit == Exit.AT_WORK
    assert str(this_process().pid) in str(found.running)
    (run / "campaign/lock").write_text(json.dumps(vars(this_process()) | {"begun": "earlier"}))
    assert overview.look(run).running is None


def test_between_two_notebooks_a_slice_is_at_work_too(run: Path) -> None:
    at, names = now(), ("slice", "act", "event", "at")
    said = [("shop", "send", "begun", at), ("shop", "send", "good", at), ("sale/unreadable", "send", "begun", at), ("sale/w002_20250102", "read", "begun", "2026-01-01T00:00:00+00:00")]  # fmt: skip
    log = [json.dumps(dict(zip(names, one, strict=True))) for one in said]
    (run / "campaign/log.jsonl").write_text("\n".join(log))
    assert lines(run)["sale/unreadable"].group == "waiting"  # whoever began it is gone
    (run / "campaign/lock").write_text(json.dumps(vars(this_process()) | {"since": at}))
    found = lines(run)
    assert (found["shop"].state, found["sale/unreadable"].state) == ("complete", "at work")
    assert found["sale/w002_20250102"].group == "waiting"  # an earlier process began it


def test_a_slice_that_is_being_sent_shows_how_far_it_is(run: Path) -> None:
    folder = run / "sale/unreadable"
    with Ledger(folder / "ledger.sqlite") as ledger, ledger.claimed():
        first, second = (ledger.intend(batch.number) for batch in ledger.batches()[:2])
        ledger.move(first, "created", "uploaded", "closing", "closed", "ended", job_state="JobComplete")
        ledger.fetched(first, [])
        ledger.move(second, "created")
        found = lines(run)["sale/unreadable"]
        done = ledger.batches()[0].rows
    assert (found.group, found.left, found.counts.success) == ("at work", 12 - done, 0)
    assert found.sent_per_second
    assert found.end


def test_nothing_is_written_to_a_slice_and_what_is_half_written_is_no_hindrance(run: Path) -> None:
    (run / "sale/w002_20250102").mkdir()
    (run / "sale/w002_20250102/ledger.sqlite").touch()  # its process has not come further
    (run / "sale/w001/status.json").write_text('{"step": "03_rec')
    (run / "sale/w001/report.json").write_text("{")
    held = sqlite3.connect(run / "shop/ledger.sqlite", isolation_level=None)
    held.execute("BEGIN IMMEDIATE")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    found = lines(run)
    held.close()
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert found["shop"].counts.success == 3
    assert (found["sale/w001"].state, found["sale/w001"].counts.success) == ("nothing noted", 12)
    assert found["sale/w002_20250102"].group == "waiting"


#: Changes so much that SQLite writes into the file before the change is whole.
HALF = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA cache_size = 1")
db.execute("BEGIN IMMEDIATE")
db.execute("UPDATE batch SET rows = 999")
db.executemany("INSERT INTO setting VALUES (?, ?)", ((f"n{n}", "x" * 500) for n in range(500)))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_change_that_a_killed_process_left_half_made_is_not_seen_and_not_touched(run: Path) -> None:
    path = run / "sale/unreadable/ledger.sqlite"
    done = subprocess.run([sys.executable, "-c", HALF, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    journal = path.with_name("ledger.sqlite-journal")
    assert journal.stat().st_size
    before = path.read_bytes(), journal.read_bytes()
    with looked_at(path) as ledger:
        assert sum(batch.rows for batch in ledger.batches()) == 12
    assert lines(run)["sale/unreadable"].counts.staged == 12
    assert (path.read_bytes(), journal.read_bytes()) == before


def test_a_ledger_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="cannot be opened"), looked_at(tmp_path / "ledger.sqlite"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_run_without_a_plan_shows_the_slices_that_it_has(run: Path) -> None:
    for name in ("plan.json", "plan.json.sha256"):
        (run / "campaign" / name).unlink()
    found = overview.look(run)
    assert [one.slice for one in found.slices] == ["sale/unreadable", "sale/w001", "sale/w003_20250231", "shop"]  # fmt: skip
    assert {one.object for one in found.slices if one.counts.source} == {"Sale__c", "Shop__c"}
    assert (found.plan, found.end) == (None, None)
    with pytest.raises(RunFolderError, match="is not the folder of a slice or of a run"):
        overview.look(run / "campaign")


def test_the_notebook_shows_all_of_it_and_writes_the_report_with_links_that_lead_somewhere(
    place: Place,
) -> None:
    (place.root / "notebooks").rmdir()
    (place.root / "notebooks").symlink_to(ROOT / "notebooks")
    folder = place.run() / "campaign"
    notebooks.execute("05_campaign", folder, {"run_id": "c"}, progress_bar=False)
    page, shown = (folder / "report.html").read_text(), (folder / "05_campaign.html").read_text()
    assert "5 slices: 2 complete, 1 failed, 2 waiting." in page
    assert "5 slices: 2 complete, 1 failed, 2 waiting." in shown
    for text in (page, shown):
        links = set(re.findall(r'href="(\.\./[^"]+)"', text))
        assert {"../shop/report.html", "../sale/w001/report.html"} <= links
        assert all((folder / one).is_file() for one in links)
    assert not re.search(r'(src|href)="https?:', page)
    found = json.loads((folder / "report.json").read_text())
    jsonschema.validate(found, json.loads(SCHEMA.read_text()))
    assert {path.name for path in folder.iterdir()} >= {
        "report.html",
        "report.json",
        "05_campaign.ipynb",
        "plan.json",
    }


def test_in_jupyterlab_links_lead_from_where_the_notebook_was_opened(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = ROOT / "notebooks/05_campaign.ipynb"
    monkeypatch.setenv("JPY_SESSION_NAME", str(opened))
    shown = open_campaign({"run_id": "c"}).slices()._repr_html_()
    (link,) = re.findall(r'href="([^"]+shop/report.html)"', shown)
    assert (opened.parent / link).resolve() == (place.run() / "shop/report.html").resolve()


def test_the_published_schema_is_that_of_the_report() -> None:
    schema = CampaignReport.model_json_schema()
    published = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert published == schema, f"write this into {SCHEMA.name}:\n{json.dumps(schema, indent=1)}"


def test_every_key_of_the_report_is_described(place: Place) -> None:
    text = (ROOT / "docs/campaign.md").read_text(encoding="utf-8")
    assert not [name for name in CampaignReport.model_fields if f"`{name}`" not in text]


# the command


def test_the_command_shows_the_same_and_takes_a_run_id_or_a_folder(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["status", "c"]) == Exit.CONFIGURATION
    told = capsys.readouterr().out
    rows = [line.split() for line in told.splitlines()]
    assert rows[1][:8] == ["shop", "03_reconcile", "complete", "3", "3", "0", "3", "0"]
    assert "sale/w003_20250231: failed. No.\nNext step: Do it.\n" in told
    assert re.search(r"DailyBulkApiBatches +15,000 +1,500 ", told)
    assert "\n5 slices: 2 complete, 1 failed, 2 waiting. Expected to end 2" in told
    assert cli.main(["status", str(place.run())]) == Exit.CONFIGURATION
    assert capsys.readouterr().out.splitlines()[:6] == told.splitlines()[:6]
    assert cli.main(["status", str(place.run() / "shop")]) == Exit.COMPLETE
    assert cli.main(["status", "no_such_run"]) == Exit.FAILED
    assert "no_such_run is not the folder of a slice or of a run" in capsys.readouterr().err


def test_the_command_watches_until_nobody_is_at_work(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "campaign/lock").write_text(json.dumps(vars(this_process())))
    monkeypatch.setattr("time.sleep", lambda _: (run / "campaign/lock").write_text(""))
    assert cli.main(["status", str(run), "--watch", "5"]) == Exit.CONFIGURATION
    told = capsys.readouterr().out
    assert told.count("5 slices:") == 2
    assert told.count("Carried out by process") == 1
