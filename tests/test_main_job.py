"""The main job: three notebooks through papermill, on the real driver and real HTTP."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import json
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import papermill
import pytest
import scrapbook

from world import PASSWORD, ROOT, SECRET, World

NOTEBOOKS = ("01_extract", "02_upload", "03_reconcile")


def execute(name: str, outputs: Path, **parameters: Any) -> Path:
    values = {"run_id": "r1", "table": "product_price", "outputs": str(outputs), **parameters}
    target = outputs / values["run_id"] / "product_price" / f"{name}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    papermill.execute_notebook(
        str(ROOT / "notebooks" / f"{name}.ipynb"),
        str(target),
        values,
        engine_name="ora2sf",
        progress_bar=False,
    )
    return target


def balance(notebook: Path) -> dict[str, Any]:
    found: dict[str, Any] = scrapbook.read_notebook(str(notebook)).scraps["balance"].data
    return found


def expected(world: World) -> tuple[dict[str, dict[str, str | None]], set[str], set[str]]:
    """What the org should hold, which keys it should refuse, and which keys should never be sent.

    Computed from the generator's own values with decimal and zoneinfo, without the library.
    """
    approvals = {row[9]: row for row in world.rows.approvals}
    units = dict(world.rows.units)
    newest: dict[str, tuple[Any, ...]] = {}
    for row in sorted(world.rows.requests, key=order):
        newest[row[3]] = row
    records: dict[str, dict[str, str | None]] = {}
    refused, rejected = set(), set()
    for key, request in newest.items():
        approval = approvals[key]
        start, end = moment(approval[3]), moment(approval[4])
        too_long = request[10] is not None and len(request[10]) > 100
        if too_long or start == "bad" or end == "bad" or request[5] == 9:
            rejected.add(key)
            continue
        unit = units[approval[10]]
        if unit == "Old unit":
            refused.add(key)
            continue
        records[key] = {
            "ProductCode": key,
            "Name": request[4].replace("\r\n", "\n"),
            "TMS_Bar_Code__c": request[1],
            "TMS_Unit__c": unit,
            "TMS_Start_Date__c": start,
            "TMS_End_Date__c": end,
            "TMS_Product_Category_Code__c": request[0],
            "TMS_Price_EXC_VAT__c": money(request[6]),
            "TMS_Price_INC_VAT__c": money(request[7]),
            "TMS_Document_No_Ticket_No__c": request[10],
            "TMS_Product_Type__c": {1: "New", 2: "Update", 3: "Cancel"}[int(request[5])],
            "TMS_Ref_Source__c": request[8],
            "TMS_Ref_Price__c": money(request[9]),
            "TMS_Contract_Code__c": request[11],
            "TMS_Shop_Code__c": request[12],
            "TMS_Request_Date__c": dt.datetime.strptime(request[2], "%d/%m/%Y").date().isoformat(),  # noqa: DTZ007
        }
    return records, refused, rejected


def order(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Oldest first, rows without a date before all; then as tables/product_price.toml says."""
    last = (row[1] is None, row[1] or "", row[6] is None, row[6] or 0)
    return (row[13] or dt.datetime.min, row[3], row[11], row[12], row[0], *last)  # noqa: DTZ901


def moment(text: str | None) -> str | None:
    if text is None:
        return None
    for form in ("%d/%m/%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S", "%d/%m/%Y"):
        try:
            local = dt.datetime.strptime(text, form).replace(tzinfo=ZoneInfo("Asia/Bangkok"))
        except ValueError:
            continue
        if local.year > 2199:
            return "bad"
        return local.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return "bad"


def money(number: Decimal | None) -> str | None:
    return None if number is None else str(number.quantize(Decimal("0.01"), ROUND_HALF_UP))


def held(world: World, fields: Iterator[str] | list[str]) -> dict[str, dict[str, str | None]]:
    names = list(fields)
    return {row["ProductCode"]: {name: row[name] for name in names} for row in world.org.rows("Product2")}


@pytest.fixture(scope="module")
def done(shared_world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three notebooks, run once for all tests here; the folder of the slice."""
    outputs = tmp_path_factory.mktemp("outputs")
    for name in NOTEBOOKS:
        last = execute(name, outputs, **({"batch_size": 1000} if name == "01_extract" else {}))
    return last.parent


def test_every_value_in_salesforce_equals_the_value_computed_from_the_source(
    shared_world: World, done: Path
) -> None:
    records, refused, rejected = expected(shared_world)
    fields = list(next(iter(records.values())))
    assert refused
    assert rejected
    assert held(shared_world, fields) == records
    with (done / "salesforce/logs/product_price_rejected.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert {line["key"] for line in lines} >= rejected
    failed = [row for path in (done / "salesforce/logs").glob("Product2_*_failed.csv") for row in read(path)]
    assert {row["ProductCode"] for row in failed} == refused


def test_the_books_balance_and_say_what_happened(shared_world: World, done: Path) -> None:
    records, refused, _rejected = expected(shared_world)
    books = balance(done / "03_reconcile.ipynb")
    assert books["verdict"] == "complete with exceptions"
    assert books["source"] == books["read"] == len(shared_world.rows.requests)
    assert books["staged"] == len(records) + len(refused)
    assert books["rejected"] == books["read"] - books["staged"]
    assert (books["success"], books["created"], books["failed"]) == (len(records), len(records), len(refused))
    assert books["unknown"] == books["unprocessed"] == books["not_sent"] == books["target_before"] == 0
    assert books["target_after"] == len(records) == shared_world.org.count("Product2")
    assert json.loads((done / "status.json").read_text())["state"] == "complete with exceptions"


def test_the_status_record_ends_in_progress_when_rows_failed(shared_world: World, done: Path) -> None:
    (record,) = shared_world.org.rows("TMS_Daily_Sales_File__c")
    assert record["TMS_External_File_Ref__c"] == "product_price_r1"
    assert record["TMS_Status__c"] == "In Progress"
    states = [
        call
        for call in shared_world.org.calls
        if "TMS_Daily_Sales_File__c" in call.path and call.method == "PATCH"
    ]
    assert [call.status for call in states] == [201, 200, 200]


def test_no_secret_stands_in_any_file_of_the_run(done: Path) -> None:
    tokens = ("Bearer 00D", "!AQ")
    for path in done.parents[1].rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            content = gzip.decompress(content) if path.suffix == ".gz" else content
            for secret in (PASSWORD, SECRET, *tokens):
                assert secret.encode() not in content, path


def test_every_execution_is_kept_with_its_html(done: Path) -> None:
    for name in NOTEBOOKS:
        assert (done / f"{name}.ipynb").is_file()
        assert (done / f"{name}.html").is_file()
        (kept,) = done.glob(f"{name}.2*.ipynb")
        assert kept.with_suffix(".html").is_file()


def test_the_same_run_id_resumes_reads_nothing_again_and_sends_nothing_again(
    shared_world: World, done: Path
) -> None:
    outputs = done.parents[1]
    before = {path.name: path.read_bytes() for path in (done / "salesforce/data").iterdir()}
    jobs = len(shared_world.org.jobs())
    for name in NOTEBOOKS:
        text = execute(name, outputs, **({"batch_size": "1000"} if name == "01_extract" else {})).read_text()
        if name == "01_extract":
            assert "already extracted" in text
        if name == "02_upload":
            assert "every batch is settled" in text
    assert {path.name: path.read_bytes() for path in (done / "salesforce/data").iterdir()} == before
    assert len(shared_world.org.jobs()) == jobs
    assert balance(done / "03_reconcile.ipynb")["verdict"] == "complete with exceptions"


def test_a_second_run_updates_what_the_first_created_and_stages_the_same_bytes(
    shared_world: World, done: Path
) -> None:
    outputs = done.parents[1]
    for name in NOTEBOOKS:
        last = execute(name, outputs, run_id="r2", **({"batch_size": 1000} if name == "01_extract" else {}))
    books, first = balance(last), balance(done / "03_reconcile.ipynb")
    assert books["created"] == 0
    assert books["updated"] == first["created"]
    assert books["target_before"] == books["target_after"] == first["target_after"]
    assert staged(last.parent) == staged(done)


def staged(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "salesforce/data").glob("*.csv.gz")}


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
