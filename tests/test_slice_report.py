"""The report of a slice: it says what the files say, shows data as data, and any changed byte is found."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import nbformat
import pytest

from ora2sf import Run, cli, open_run
from ora2sf.errors import BalanceError, Exit
from ora2sf.evidence import verify
from ora2sf.ledger import Ledger
from ora2sf.report_model import Report
from ora2sf.report_page import render
from world import PASSWORD, ROOT, SECRET, World

SCHEMA = ROOT / "docs/report.schema.json"
SCRIPT = "<script>alert('x')</script>"


def opened(step: Any, outputs: Path, **parameters: Any) -> Run:
    given = {"run_id": "r1", "table": "product_price", "outputs": str(outputs)}
    return open_run(step, given | parameters)


def uploaded(outputs: Path, **parameters: Any) -> Run:
    extraction = opened("01_extract", outputs, batch_size=1000, **parameters)
    extraction.sign_in_oracle()
    extraction.extract()
    extraction.check_data()
    extraction.announce()
    upload = opened("02_upload", outputs, **parameters)
    upload.sign_in_salesforce()
    upload.upload()
    return upload


def reconciled(outputs: Path, **parameters: Any) -> Run:
    run = opened("03_reconcile", outputs, **parameters)
    run.fetch_missing()
    run.balance()
    run.verdict()
    return run


@pytest.fixture(scope="module")
def made(shared_world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a slice that went through all three steps; tests do not change it."""
    outputs = tmp_path_factory.mktemp("outputs")
    uploaded(outputs)
    return reconciled(outputs).folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "r1" / "product_price"))


def report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return found


def command(*arguments: object) -> int:
    return cli.main([str(one) for one in arguments])


def lines(folder: Path, pattern: str) -> list[dict[str, str]]:
    found = []
    for path in sorted((folder / "salesforce/logs").glob(pattern)):
        with path.open(encoding="utf-8", newline="") as file:
            found += list(csv.DictReader(file))
    return found


# what it says


def test_the_published_schema_is_that_of_the_report_and_a_report_keeps_it(made: Path) -> None:
    schema = Report.model_json_schema()
    published = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert published == schema, f"write this into docs/report.schema.json:\n{json.dumps(schema, indent=1)}"
    jsonschema.Draft202012Validator.check_schema(published)
    jsonschema.validate(report(made), published)


def test_the_report_says_what_the_files_and_the_org_say(shared_world: World, made: Path) -> None:
    found = report(made)
    failed, rejected = lines(made, "*_failed.csv"), lines(made, "*_rejected.csv")
    success = lines(made, "*_success.csv")
    books = found["balance"]
    assert found["verdict"]["verdict"] == "complete with exceptions"
    assert found["verdict"]["exit"] == Exit.ROWS_FAILED
    assert books["source"] == books["read"] == len(shared_world.rows.requests)
    assert (books["failed"], books["success"], books["rejected"]) == (
        len(failed),
        len(success),
        len(rejected),
    )
    assert books["target_after"] == shared_world.org.count("Product2")
    assert all(one["holds"] for one in books["equations"])
    assert sum(one["rows"] for one in found["errors"]) == len(failed)
    assert found["errors"][0]["code"] == "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
    assert found["errors"][0]["meaning"] == "The value is not among those of a restricted picklist."
    assert sum(one["number"] for one in found["rejected"]) == len(rejected)
    jobs = found["timings"]["jobs"]
    sent = [job["id"] for job in shared_world.org.jobs()][: len(jobs)]  # side by side, in either order
    assert sorted(job["job_id"] for job in jobs) == sorted(sent)
    assert sum(job["success"] for job in jobs) == len(success)
    assert found["budget"]["internal_batches"] == found["budget"]["jobs"] == len(jobs)
    assert found["comparison"] is None


def test_the_report_names_what_the_run_was_made_with(made: Path) -> None:
    found = report(made)
    assert found["servers"]["salesforce_api"] == "v66.0"
    assert found["servers"]["oracle_user"] == "TMS"
    assert re.fullmatch(r"\d+(\.\d+)+", found["servers"]["oracle_version"])
    assert [one["step"] for one in found["invocations"]] == ["01_extract", "02_upload", "03_reconcile"]
    first = found["invocations"][0]
    assert first["python"] == sys.version.split()[0]
    assert first["packages"]["oracledb"]
    assert first["parameters"]["batch_size"] == 1000
    assert re.fullmatch(r"[0-9a-f]{40}( with changes)?|unknown", first["commit"])


def test_without_a_repository_the_commit_is_unknown(tmp_path: Path) -> None:
    from ora2sf.provenance import commit

    assert commit(tmp_path) == "unknown"


def test_the_page_shows_the_numbers_and_loads_nothing_from_anywhere(made: Path) -> None:
    page, found = (made / "report.html").read_text(encoding="utf-8"), report(made)
    for number in ("source", "staged", "rejected", "success", "failed", "target_after"):
        assert f"{found['balance'][number]:,}" in page
    assert page.count("<svg") == 3
    assert not re.findall(r"<script|<link|<img|<iframe|@import|url\(|\ssrc=|\shref=", page)


def test_no_secret_stands_in_a_report_even_if_it_was_given_as_a_parameter_or_stood_in_an_error(
    folder: Path, world: World
) -> None:
    with Ledger(folder / "ledger.sqlite") as ledger:
        step = ledger.start_step("01_extract")
        ledger.end_step(step, f"OSError: {SECRET}")
    outputs = folder.parents[1]
    opened("03_reconcile", outputs, oracle_conn_id=PASSWORD)
    assert command("report", folder) == Exit.ROWS_FAILED
    text = (folder / "report.json").read_text() + (folder / "report.html").read_text()
    assert "OSError: [secret]" in text
    assert report(folder)["invocations"][-1]["parameters"]["oracle_conn_id"] == "[secret]"
    for secret in (PASSWORD, SECRET):
        assert secret not in text


def every_text(value: Any, text: str) -> Any:
    """The same report with every text in it replaced, but for what has a form of its own."""
    if isinstance(value, dict):
        kept = {
            "kind",
            "sha256",
            "created",
            "closed",
            "ended",
            "fetched",
            "started",
            "digest",
            "ledger_sha256",
        }
        return {name: one if name in kept else every_text(one, text) for name, one in value.items()}
    if isinstance(value, list):
        return [every_text(one, text) for one in value]
    return text if isinstance(value, str) else value


def test_a_value_from_the_data_is_never_taken_for_html(made: Path) -> None:
    compared = {
        "made": "", "mode": "full", "proven": False, "contradicted": True, "expected": 1, "looked_at": 1, "missing": 0,
        "extra": 0, "different": 1, "different_values": 1, "by_field": {SCRIPT: 1}, "explained": {SCRIPT: 1},
        "skipped": {SCRIPT: SCRIPT}, "examples": [SCRIPT], "files": [SCRIPT],
        "aggregates": [{"field": SCRIPT, "staged": {"count": 1, "sum": "1", "smallest": SCRIPT, "largest": SCRIPT},
                        "target": None, "equal": None, "note": SCRIPT}],
    }  # fmt: skip
    hostile = every_text(report(made) | {"comparison": compared}, SCRIPT)
    page = render(Report.model_validate(hostile))
    assert page.count("&lt;script&gt;") > 100
    assert "<script" not in page
    assert "alert('x')" not in page


# checksums


def test_files_that_nobody_touched_verify(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("verify", folder) == Exit.COMPLETE
    assert command("verify", folder.parent) == Exit.COMPLETE
    assert "Nothing has changed." in capsys.readouterr().out


def test_a_changed_byte_in_any_listed_file_is_found(folder: Path) -> None:
    entries = report(folder)["files"]["entries"]
    assert {one["kind"] for one in entries} == {"staged", "result", "rejected", "other", "check", "report"}
    for entry in entries:
        path = folder / entry["path"]
        before = path.read_bytes()
        at = len(before) // 2
        path.write_bytes(before[:at] + bytes([before[at] ^ 1]) + before[at + 1 :])
        assert verify(folder).problems == {entry["path"]: "changed"}
        path.write_bytes(before)
    assert verify(folder).problems == {}


def test_a_changed_byte_in_the_report_itself_is_found(folder: Path) -> None:
    path = folder / "report.json"
    before = path.read_bytes()
    for at in range(0, len(before), 499):
        path.write_bytes(before[:at] + bytes([before[at] ^ 1]) + before[at + 1 :])
        assert verify(folder).problems == {"report.json": "changed"}, before[at - 20 : at + 20]


def test_missing_and_extra_files_and_a_changed_ledger_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "salesforce/logs/product_price_rejected.csv").unlink()
    (folder / "salesforce/data/product_price_00099.csv.gz").write_bytes(b"x")
    with Ledger(folder / "ledger.sqlite") as ledger:
        ledger._db.execute("UPDATE batch SET rows = rows + 1 WHERE number = 1")
    assert command("verify", folder.parent) == Exit.FAILED
    told = capsys.readouterr().out
    assert re.search(r"product_price +\d+ +0 +1 +1 +1\n", told)
    assert "missing  product_price/salesforce/logs/product_price_rejected.csv\n" in told
    assert "extra    product_price/salesforce/data/product_price_00099.csv.gz\n" in told
    assert "changed  product_price/ledger.sqlite\n" in told
    assert "1 slice of 1 differ" in told


def test_looking_at_a_slice_again_changes_nothing_that_was_reported(folder: Path, world: World) -> None:
    opened("02_upload", folder.parents[1]).jobs()
    assert verify(folder).problems == {}


def test_a_slice_without_a_report_does_not_verify(folder: Path) -> None:
    (folder / "report.json").unlink()
    assert verify(folder).problems == {"report.json": "missing"}


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("status", "report", "verify"):
        assert command(name, tmp_path) == Exit.FAILED
        assert "is not the folder of a slice or of a run" in capsys.readouterr().err


# making it anew


def test_a_report_made_anew_says_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = report(folder)
    (folder / "report.json").unlink()
    (folder / "report.html").unlink()
    assert command("report", folder) == Exit.ROWS_FAILED
    assert "report.html  complete with exceptions\n" in capsys.readouterr().out
    after = report(folder)
    same = set(before) - {"made", "digest", "files", "invocations"}  # 03 had not come to its end
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert after["invocations"][:2] == before["invocations"][:2]
    assert after["invocations"][2]["outcome"] == "ok"
    assert verify(folder).problems == {}


def test_a_report_made_anew_of_a_changed_result_file_does_not_call_the_load_complete(folder: Path) -> None:
    path = next((folder / "salesforce/logs").glob("*_success.csv"))
    path.write_bytes(path.read_bytes().replace(b'"true"', b'"tRue"', 1))
    assert command("report", folder) == Exit.NOT_RECONCILED
    assert report(folder)["verdict"]["verdict"] == "does not balance"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: gzip.compress(text.replace(b"Thai", b"thai", 1)),
        lambda text: gzip.compress(text + text.splitlines(keepends=True)[-1]),
        lambda text: gzip.compress(text)[:-20],
    ],
    ids=["a letter", "a line more", "cut off"],
)
def test_no_report_is_made_anew_of_a_changed_staged_file(
    folder: Path, change: Callable[[bytes], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    path = next((folder / "salesforce/data").glob("*_00002.csv.gz"))
    before = (folder / "report.json").read_bytes()
    path.write_bytes(change(gzip.decompress(path.read_bytes())))
    assert command("report", folder) == Exit.NOT_RECONCILED
    assert f"1 staged file(s) do not hold what was staged: {path.name}." in capsys.readouterr().err
    assert (folder / "report.json").read_bytes() == before


def test_before_03_and_after_another_job_no_verdict_stands(
    folder: Path, world: World, tmp_path: Path
) -> None:
    fresh = uploaded(tmp_path / "fresh").folder
    assert command("report", fresh) == Exit.INTERRUPTED
    assert report(fresh)["verdict"]["verdict"] == "not reconciled"
    with Ledger(folder / "ledger.sqlite") as ledger:
        ledger.move(ledger.intend(1), "given_up", message="as a retry would")
    assert command("report", folder) == Exit.INTERRUPTED
    assert report(folder)["verdict"]["verdict"] == "not reconciled"


def test_a_slice_that_has_nothing_to_report_does_not_keep_the_others_from_it(
    folder: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    with Ledger(shutil.copytree(folder, folder.with_name("another")) / "ledger.sqlite") as ledger:
        ledger._db.execute("DELETE FROM extraction")
    assert command("report", folder.parent) == Exit.FAILED
    told = capsys.readouterr()
    assert "another: nothing is extracted yet." in told.err
    assert f"{folder}/report.html  complete with exceptions\n" in told.out


def test_books_that_do_not_balance_raise_and_the_report_tells_it(world: World, tmp_path: Path) -> None:
    world.org.faults.add("drop-result", path="successful", rows=3)
    folder = uploaded(tmp_path, max_rounds=0).folder
    with pytest.raises(BalanceError, match="do not balance"):
        reconciled(tmp_path)
    found = report(folder)
    assert found["verdict"]["verdict"] == "does not balance"
    assert found["balance"]["unknown"] == 3
    assert "Do not trust this load" in (folder / "report.html").read_text(encoding="utf-8")
    assert command("status", folder) == command("report", folder) == Exit.NOT_RECONCILED
    assert verify(folder).problems == {}


def test_a_comparison_is_part_of_the_report(folder: Path) -> None:
    total = {"count": 5, "sum": "1.50", "smallest": "0.10", "largest": "1.40"}
    noted = {
        "compared": "2026-01-02T03:04:05.678Z", "mode": "full", "proven": False, "contradicted": True, "expected": 5,
        "looked_at": 5, "missing": 1, "extra": 0, "different": 1, "different_values": 2, "by_field": {"Price__c": 2},
        "explained": {"trimming": 4}, "skipped": {}, "files": {"Product2_missing.csv": {"rows": 1}, "Product2_extra.csv": {"rows": 0}}, "job_id": "750x",
        "lines": [{"field": "Price__c", "staged": total, "target": total | {"sum": "1.40"}, "differs": True}],
    }  # fmt: skip
    (folder / "comparison.json").write_text(json.dumps(noted))
    command("report", folder)
    assert report(folder)["comparison"]["aggregates"][0]["equal"] is False
    assert report(folder)["comparison"]["files"] == ["Product2_missing.csv"]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Salesforce does not hold what was sent." in page
    assert "1.50" in page
    assert "1.40" in page
    (folder / "comparison.json").write_text("{}")
    assert command("report", folder) == Exit.FAILED


# pictures


@pytest.mark.parametrize("jobs", [1, 2, 60, 61, 7_000])
def test_pictures_stay_small_and_inside_their_frame_however_many_jobs_there_are(
    made: Path, jobs: int
) -> None:
    found = report(made)
    one = found["timings"]["jobs"][0]
    found["timings"]["jobs"] = [
        one | {"batch": n, "created": stamp(n), "closed": stamp(n + 1), "ended": stamp(n + 9), "fetched": stamp(n + 10),
               "rows_per_second": 40_000 / (n + 1)}
        for n in range(1, jobs + 1)
    ]  # fmt: skip
    page = render(Report.model_validate(found))
    assert len(page) < 120_000
    pictures = re.findall(r'<svg[^>]*viewBox="0 0 (\d+) (\d+)"[^>]*>(.*?)</svg>', page, re.S)
    assert len(pictures) == 3
    for width, height, body in pictures:
        numbers = re.findall(
            r'<(?:rect|text) x="([-\d.]+)" y="([-\d.]+)"(?: width="([\d.]+)" height="([\d.]+)")?', body
        )
        assert numbers
        for x, y, wide, tall in numbers:
            assert 0 <= float(x) <= float(x) + float(wide or 0) <= float(width)
            assert 0 <= float(y) <= float(y) + float(tall or 0) <= float(height)


def test_hundreds_of_millions_of_rows_are_not_cut_by_the_next_bar(made: Path) -> None:
    found = report(made)
    many = dict.fromkeys(
        ("source", "read", "rejected", "staged", "success", "failed", "unknown"), 261_123_456
    )
    found["balance"] |= many
    page = render(Report.model_validate(found))
    flow = page[page.index('<svg class="flow"') : page.index("</svg>")]
    bars = [*sorted({float(x) for x in re.findall(r'<rect x="(\d+)"', flow)}), 440.0]
    labels = re.findall(r'<text x="([\d.]+)"[^>]* font-size="([\d.]+)"[^>]*>([\d,]+)<', flow)
    assert len(labels) == 7
    for x, size, text in labels:
        end = float(x) + sum(0.35 if letter == "," else 0.7 for letter in text) * float(size)
        assert end < next(bar for bar in bars if bar > float(x))


def stamp(second: int) -> str:
    return f"2026-01-01T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}.000Z"


# where a slice stands


def killed(outputs: Path, wait: Callable[[Any], None]) -> None:
    """A papermill run that opens a slice, killed with its kernel at work; returns when both are gone."""
    cells = (
        "outputs: str = ''\nrun_id: str = 'r1'\ntable: str = 'product_price'",
        "from ora2sf import open_run\nrun = open_run('02_upload', globals())",
        "import threading, pathlib\n"
        "pipe = pathlib.Path(outputs, 'pipe').open('w')\nprint('begun', file=pipe, flush=True)\nthreading.Event().wait(60)",
    )
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nb.cells[0].metadata["tags"] = ["parameters"]
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nb, str(outputs / "in.ipynb"))
    os.mkfifo(outputs / "pipe")
    line = [
        sys.executable,
        "-m",
        "papermill",
        "--engine",
        "ora2sf",
        "--no-progress-bar",
        "-r",
        "outputs",
        str(outputs),
    ]
    papermill = subprocess.Popen(
        [*line, str(outputs / "in.ipynb"), str(outputs / "out.ipynb")], stderr=subprocess.DEVNULL
    )
    with (outputs / "pipe").open() as pipe:
        assert pipe.readline() == "begun\n"
        wait(papermill)
        papermill.send_signal(signal.SIGKILL)
        papermill.wait()
        assert pipe.read() == ""  # comes when the kernel, which holds the other end, is gone


def test_after_kill_9_of_papermill_the_slice_is_interrupted_and_not_at_work(
    folder: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    with Ledger(folder / "ledger.sqlite") as ledger:
        ledger.forget("verdict")  # else that stands, as nothing changes here

    def at_work(_papermill: Any) -> None:
        assert command("status", folder.parent) == Exit.AT_WORK
        assert re.search(r"product_price +02_upload +at work ", capsys.readouterr().out)

    killed(folder.parents[1], at_work)
    assert json.loads((folder / "status.json").read_text())["state"] == "started"
    assert command("status", folder.parent) == Exit.INTERRUPTED
    assert re.search(r"product_price +02_upload +interrupted, can be resumed ", capsys.readouterr().out)
