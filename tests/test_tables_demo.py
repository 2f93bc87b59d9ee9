"""Every table file on the demo's source: what Salesforce holds in the end is computed here a second time.

The expectation comes from the generator's values with decimal, datetime and zoneinfo, never with the library. The
names of fields follow from the names of columns, but for those that were agreed.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import oracledb
import polars as pl
import pytest

from fakeoracle import serve as serve_oracle
from ora2sf import notebooks, open_plan, planfile
from ora2sf.campaign import Ended, Stage, Start
from ora2sf.catalog import read_catalog
from ora2sf.errors import Exit
from ora2sf.execution import Processes, run_campaign
from ora2sf.overview import look
from ora2sf.plan import Plan as CampaignPlan
from ora2sf_demo import campaign, history, source, targets
from world import PASSWORD, ROOT, SECRET, World, fresh_world

LINES = 3_000
CONFIGS = read_catalog(ROOT / "tables").in_order()
SLICE_ROWS = 700
PERSONAL = ("PASSPORT_NO", "BIRTH_DATE", "MEMBER_ID", "MEMBER_NAME")
SALE = ("CON_CODE", "SHOP_CODE", "BRANCH_CODE", "POS_NO", "SALE_NO", "SALE_DATE")

Row = dict[str, Any]
#: Ways in which a row does not fit, by a word of the rule that says so.
WORDS = (
    "is not a date",
    "not between",
    "longer than",
    "is not an e-mail address",
    "is not a yes or no",
    "not in the value map",
    "empty key",
    "duplicate key",
)


class Misfit(Exception):
    """A value that must not reach Salesforce."""


def plain(value: Any) -> str | None:
    if value is None:
        return None
    return str(value).rstrip(" ") or None


def text(value: Any, length: int = 4_000) -> str | None:
    value = plain(value)
    if value is not None:
        value = value.replace("\r\n", "\n").replace("\r", "\n")
        if len(value) > length:
            raise Misfit("longer than")
    return value


def remark(value: Any) -> str | None:
    found = text(value, 100)
    return found.strip() if found else None


def phone(value: Any) -> str | None:
    return text(value, 40)


def number(scale: int) -> Callable[[Any], str | None]:
    def rounded(value: Any) -> str | None:
        unit = Decimal(1).scaleb(-scale)
        if value is None:
            return None
        return f"{Decimal(value).quantize(unit, ROUND_HALF_UP) + 0:f}"

    return rounded


def parsed(value: Any, forms: tuple[str, ...]) -> dt.datetime | None:
    value = plain(value)
    if value is None:
        return None
    for form in forms:
        try:
            found = dt.datetime.strptime(value, form)  # noqa: DTZ007
        except ValueError:
            continue
        if found.year > 2199:
            raise Misfit("not between")
        return found
    raise Misfit("is not a date")


def day(value: Any) -> str | None:
    found = parsed(value, ("%d/%m/%Y", "%Y-%m-%d"))
    return found.date().isoformat() if found else None


def in_utc(local: dt.datetime | None) -> str | None:
    if local is None:
        return None
    there = local.replace(tzinfo=ZoneInfo("Asia/Bangkok"))
    return there.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def instant(value: Any) -> str | None:
    return in_utc(parsed(value, ("%d/%m/%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S", "%d/%m/%Y")))


def email(value: str) -> str:
    value = value.strip()
    if len(value) > 80:
        raise Misfit("longer than")
    if not re.fullmatch(r"[\w.]+@[\w-]+(\.[\w-]+)+", value):
        raise Misfit("is not an e-mail address")
    return value


def yes_no(value: Any) -> str:
    if value is None:
        return "false"  # what a checkbox is when nothing is said
    if str(value) not in {"1", "0", "Y", "N"}:
        raise Misfit("is not a yes or no")
    return "true" if str(value) in {"1", "Y"} else "false"


def status(value: int) -> str:
    if value not in {0, 1, 2}:
        raise Misfit("not in the value map")
    return ("Pending", "Approved", "Rejected")[value]


KINDS: dict[str, Callable[[Any], str | None]] = {
    "SALE_DATE": day,
    "SALES_MONTH": day,
    "DOC_DATE": instant,
    "CREATE_DATE": instant,
    "TRANS_DATE": instant,
    "APPRV_DATE": instant,
    "EMAIL": email,
    "ACTIVE": yes_no,
    "TEL": phone,
    "FAX": phone,
    "REMARK": remark,
    "APPRV_STATUS": status,
    "PROD_SERV_QTY": number(3),
    "VAT_RATE": number(6),
    "DISC_AVG_PERCENTAGE": number(6),
    "UNIT_DISC_PERCENTAGE": number(6),
    "REV_PERCENTAGE": number(6),
    "EXCHANGE_RATE": number(6),
}
WHOLE = {"SEQ", "PREINV_SEQ", "SALE_TYPE", "SHIFT_NO", "VAT_TYPE", "SERVICE_CHARGE_TYPE"}
NAMES = {
    "EMAIL": "Email_Address__c",
    "ACTIVE": "Is_Active__c",
    "SALE_DATE": "Sales_Date__c",
    "CREATE_DATE": "Oracle_Created_Date__c",
    "CREATEDDATE": "Oracle_Created_Date__c",
    "CREATEDBY": "Oracle_Created_By__c",
    "UPDATEDDATE": "Oracle_Updated_Date__c",
    "UPDATEDBY": "Oracle_Updated_By__c",
}
AGREED = {
    "KPS_T_SALES_M": {"NET_INC_VAT": "Total_Amount__c", "SALE_DATE": "Sales_Month__c"},
    "KPS_T_SALES_MD": {
        "SHOP_CODE": "Store_Code__c",
        "TOTAL_AMT_EXC_VAT": "Sales_Amount__c",
        "TOTAL_AMT_VAT": "Tax_Amount__c",
        "TOTAL_DISC_AMT_EXC_VAT": "Discount_Amount__c",
        "TOTAL_NET_AMT_EXC_VAT": "Net_Amount__c",
        "SALE_TYPE": "Payment_Type__c",
    },
}


@dataclass
class Expected:
    """What should come of one table: records by key, keys that fail and why, rejected rows and why."""

    object: str
    records: dict[str, Row] = field(default_factory=dict)
    failed: dict[str, set[str]] = field(default_factory=dict)
    rejected: Counter[tuple[str, frozenset[tuple[str, str]]]] = field(default_factory=Counter)


@dataclass(frozen=True)
class Plan:
    """How one table's rows become records, said once more and not read from its table file."""

    object: str
    key: tuple[str, ...]
    separator: str = "_"
    key_field: str = "External_ID__c"
    #: lookup field → (object, columns, separator)
    lookups: dict[str, tuple[str, tuple[str, ...], str]] = field(default_factory=dict)
    newest_counts: bool = False


def of_preinvoice(name: str) -> Plan:
    return Plan(
        name,
        ("PREINV_NO", "PREINV_SEQ"),
        lookups={"KPS_Preinv__c": ("KPS_Preinv__c", ("PREINV_NO",), "_")},
    )


HEADER = {"KPS_SalesM__c": ("KPS_SalesM__c", SALE, "|")}
PLANS = {
    "KPS_R_POS_SUPPLIER": Plan("KPS_PosSupplier__c", ("POS_SUPPLIER_CODE",)),
    "KPS_R_EMAIL_SUPPLIER": Plan("KPS_EmailSupplier__c", ("POS_SUPPLIER_CODE", "SEQ")),
    "KPS_R_EMAIL_TENANT": Plan("KPS_EmailTenant__c", ("CON_CODE", "SHOP_CODE", "SEQ")),
    "KPS_T_PREINV": Plan("KPS_Preinv__c", ("PREINV_NO",)),
    "KPS_T_PREINV_MIN": Plan("KPS_PreinvMin__c", ("PREINV_NO", "PREINV_SEQ")),
    "KPS_T_PREINV_REVGUA": Plan("KPS_PreinvRevgua__c", ("PREINV_NO", "PREINV_SEQ")),
    "KPS_T_PREINV_DETAIL": of_preinvoice("KPS_PreinvDetail__c"),
    "KPS_T_PREINV_REVSALES_D": of_preinvoice("KPS_PreinvRevsalesD__c"),
    "KPS_T_PREINV_REVSALES_M": of_preinvoice("KPS_PreinvRevsalesM__c"),
    "KPS_T_SALES_M": Plan("KPS_SalesM__c", SALE, "|"),
    "KPS_T_SALES_MD": Plan(
        "KPS_Sales__c",
        (*SALE, "SEQ"),
        "|",
        lookups=HEADER
        | {
            "Store__c": ("Store__c", ("SHOP_CODE",), "_"),
            "Account__c": ("Account", ("CON_CODE",), "_"),
        },
    ),
    "KPS_T_SALESPAY_MD": Plan("KPS_SalesPay__c", (*SALE, "SEQ"), "|", lookups=HEADER),
    "KPS_T_SALES_APPRV": Plan("KPS_SalesApprv__c", ("APPRV_NO",), newest_counts=True),
    "KPS_T_SALES_APPRV_DETAIL": Plan(
        "KPS_SalesApprvDetail__c",
        ("APPRV_NO", "SEQ"),
        lookups={"KPS_SalesApprv__c": ("KPS_SalesApprv__c", ("APPRV_NO",), "_")},
    ),
    "KPS_T_SALESBANK_MD": Plan("KPS_SalesBank__c", (*SALE, "SEQ"), "|"),
    "KPS_WEB_SALES": Plan("KPS_WebSales__c", ("WEB_SALE_NO",)),
}


def joined(row: Row, columns: tuple[str, ...], separator: str) -> str | None:
    parts = [plain(row[name]) for name in columns]
    return None if None in parts else separator.join(part for part in parts if part)


def mapping(table: str, rows: pl.DataFrame) -> Iterator[tuple[str, str, Callable[[Any], str | None]]]:
    """Column, field and rule of every column but personal data."""
    for column, kind in rows.schema.items():
        if column in PERSONAL:
            continue
        made = "_".join(part.capitalize() for part in column.split("_")) + "__c"
        name = AGREED.get(table, {}).get(column) or NAMES.get(column) or made
        if kind == pl.Datetime:
            yield column, name, in_utc
        elif column in KINDS:
            yield column, name, KINDS[column]
        elif column in WHOLE:
            yield column, name, plain if name == "Payment_Type__c" else number(0)
        else:
            yield column, name, number(2) if kind.is_numeric() else text


def convert(
    row: Row, fields: list[tuple[str, str, Callable[[Any], str | None]]]
) -> tuple[Row, set[tuple[str, str]]]:
    record: Row = {}
    faults = set()
    for column, name, rule in fields:
        try:
            record[name] = rule(row[column])
        except Misfit as misfit:
            faults.add((name, str(misfit)))
    return record, faults


def expect(table: str, rows: pl.DataFrame, loaded: dict[str, set[str]]) -> Expected:
    """What should come of a table, when these keys of other objects are in Salesforce."""
    plan = PLANS[table]
    return settle(plan, rows.rows(named=True), list(mapping(table, rows)), loaded)


def settle(
    plan: Plan,
    rows: list[Row],
    fields: list[tuple[str, str, Callable[[Any], str | None]]],
    loaded: dict[str, set[str]],
) -> Expected:
    found = Expected(plan.object)
    keys = [joined(row, plan.key, plan.separator) for row in rows]
    twice = {key for key, times in Counter(keys).items() if times > 1}
    newest = {
        key: max(row["UPDATEDDATE"] for row, other in zip(rows, keys, strict=True) if other == key)
        for key in (twice if plan.newest_counts else ())
    }
    for row, key in zip(rows, keys, strict=True):
        record, faults = convert(row, fields)
        if key is None:
            faults.add((plan.key_field, "empty key"))
        elif key in twice and not faults and row.get("UPDATEDDATE") != newest.get(key, "none"):
            faults.add((plan.key_field, "duplicate key"))
        if faults:
            found.rejected[key or "", frozenset(faults)] += 1
            continue
        assert key
        references = {
            name: joined(row, columns, separator) for name, (_, columns, separator) in plan.lookups.items()
        }
        causes = {
            f"Foreign key external ID: {other} not found"
            for name, other in references.items()
            if other not in loaded[plan.lookups[name][0]]
        }
        if record.get("Payment_Type__c") == "9":
            causes.add("bad value for restricted picklist field: 9")
        if causes:
            found.failed[key] = causes
        else:
            found.records[key] = record | references | {plan.key_field: key}
    return found


def expect_daily_items(lines: pl.DataFrame) -> Expected:
    plan = Plan("TMS_Temp_Sales_Transaction_Item__c", (*SALE, "SEQ"), "|", "TMS_External_Sequence_Ref__c")
    rows = [r for r in lines.rows(named=True) if (r["SHOP_CODE"], r["SALE_DATE"]) == ("042", "27/11/2025")]
    fields = [
        ("SALE_DATE", "TMS_Sales_Date__c", day),
        ("SHOP_CODE", "TMS_Shop_Code__c", text),
        ("BRANCH_CODE", "TMS_Branch_Code__c", text),
        ("POS_NO", "TMS_POS_No__c", text),
        ("SALE_NO", "TMS_Sale_No__c", text),
        ("SEQ", "TMS_Sequence__c", number(0)),
        ("PROD_SERV_CODE", "TMS_Product_Code__c", text),
        ("PROD_SERV_QTY", "TMS_Quantity__c", number(3)),
        ("TOTAL_NET_AMT_EXC_VAT", "TMS_Net_Amount_EXC_VAT__c", number(2)),
        ("TOTAL_NET_AMT_VAT", "TMS_Net_VAT__c", number(2)),
        ("TOTAL_NET_AMT_INC_VAT", "TMS_Net_Amount_INC_VAT__c", number(2)),
    ]
    return settle(plan, rows, fields, {})


def expect_daily_summary(lines: pl.DataFrame) -> Expected:
    found = Expected("Temp_Shop_Unit_Summary_Sales_Trn__c")
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in lines.rows(named=True):
        if row["SALE_DATE"] == "27/11/2025":
            shop = (row["CON_CODE"], row["SHOP_CODE"], row["BRANCH_CODE"])
            groups.setdefault(shop, []).append(row)
    for (con, shop, branch), rows in groups.items():

        def total(column: str, scale: int, of: list[Row] = rows) -> str | None:
            return number(scale)(sum((row[column] for row in of), Decimal(0)))

        key = f"{con}|{shop}|{branch}|27/11/2025"
        found.records[key] = {
            "TMS_External_Sequence_Ref__c": key,
            "TMS_Sales_Date__c": "2025-11-27",
            "TMS_Shop_Code__c": shop,
            "TMS_Branch_Code__c": branch,
            "TMS_Lines__c": str(len(rows)),
            "TMS_Quantity__c": total("PROD_SERV_QTY", 3),
            "TMS_Net_Amount_EXC_VAT__c": total("TOTAL_NET_AMT_EXC_VAT", 2),
            "TMS_Net_VAT__c": total("TOTAL_NET_AMT_VAT", 2),
            "TMS_Net_Amount_INC_VAT__c": total("TOTAL_NET_AMT_INC_VAT", 2),
        }
    return found


@dataclass
class Done:
    """All tables as one campaign, large ones in windows."""

    world: World
    outputs: Path
    expected: dict[str, Expected]
    plan: CampaignPlan
    ends: dict[str, Stage]

    @property
    def run(self) -> Path:
        return self.outputs / "r"

    def slices(self, table: str) -> list[Path]:
        planned = self.plan.table(table)
        assert planned
        return [self.run / one.name for one in planned.slices]

    def statuses(self, table: str) -> list[dict[str, Any]]:
        return [json.loads((folder / "status.json").read_text()) for folder in self.slices(table)]

    def total(self, table: str, name: str) -> int:
        return sum(one[name] for one in self.statuses(table))

    def files(self, table: str, pattern: str) -> list[Path]:
        return sorted(path for folder in self.slices(table) for path in (folder / "salesforce").glob(pattern))


class Here(Processes):
    """Runs the notebooks of a slice in this process, one slice after the other."""

    def start(self, start: Start) -> None:
        one = start.slice
        (self.run / one.name).mkdir(parents=True, exist_ok=True)
        given = self.parameters | {"table": one.table} | ({"window": one.window.name} if one.window else {})
        for name in {"read": ["01_extract"], "send": ["02_upload", "03_reconcile"]}[start.act]:
            run_cells(name, given)
        self._ended.put((start, 0))

    def wait(self, _until: dt.datetime | None) -> list[Ended]:
        return [self._judged(*self._ended.get_nowait())]


def run_cells(name: str, parameters: dict[str, str]) -> None:
    """The cells of a notebook, one after the other, without the seconds that a kernel takes to start."""
    names: dict[str, Any] = {}
    cells = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
            if "parameters" in cell["metadata"].get("tags", ()):
                names |= parameters | ({"batch_size": 500} if name == "01_extract" else {})


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    """Every table, loaded in order, and what should have come of it."""
    outputs = tmp_path_factory.mktemp("outputs")
    tables, products = history.make(LINES, seed=3), source.make(50, seed=3)
    with serve_oracle(users={"TMS": PASSWORD}, service="FREEPDB1") as oracle:
        with oracledb.connect(user="TMS", password=PASSWORD, dsn=oracle.dsn) as database:
            source.fill(database, products)
            history.fill(database, [tables])
        with fresh_world(oracle, products) as world:
            targets.seed(world.org.url, "demo-client", SECRET)
            given = {"run_id": "r", "outputs": str(outputs)}
            planning = open_plan(given | {"slice_rows": SLICE_ROWS})
            planning.save()
            planfile.freeze(outputs / "r")
            ends = run_campaign(outputs / "r", lambda plan: Here(plan, outputs / "r", given, lambda _: None))
            yield Done(world, outputs, expect_all(tables), planning.plan, ends)


def expect_all(tables: dict[str, pl.DataFrame]) -> dict[str, Expected]:
    shops = {shop for _, shop, _ in targets.SHOPS} - {targets.CLOSED_SHOP}
    loaded = {"Store__c": shops, "Account": set(targets.TENANTS)}
    expected: dict[str, Expected] = {}
    for table in PLANS:
        expected[table.lower()] = made = expect(table, tables[table], loaded)
        loaded[made.object] = set(made.records)
    lines = tables["KPS_T_SALES_MD"]
    expected["daily_sales_item"] = expect_daily_items(lines)
    expected["daily_sales_summary"] = expect_daily_summary(lines)
    return expected


TABLES = [config.table for config in CONFIGS if config.table != "product_price"]


@pytest.fixture(params=TABLES)
def table(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_source_table_has_a_table_file_and_every_table_file_an_expectation(done: Done) -> None:
    assert set(TABLES) == set(done.expected)
    assert set(PLANS) == set(history.TABLES)


def test_every_field_of_every_record_equals_what_the_source_says(done: Done, table: str) -> None:
    expected, org = done.expected[table], done.world.org
    key = "TMS_External_Sequence_Ref__c" if table.startswith("daily") else "External_ID__c"
    plan = PLANS.get(table.upper())
    names_of = {
        name: {row["Id"]: row.get(EXTERNAL.get(target, "External_ID__c")) for row in org.rows(target)}
        for name, (target, _, _) in (plan.lookups if plan else {}).items()
    }
    held: dict[str, Row] = {}
    for row in org.rows(expected.object):
        kept = {name: value for name, value in row.items() if name.endswith("__c")}
        for name, known in names_of.items():
            kept[name] = known[kept[name]]
        assert kept[key] not in held
        held[kept[key]] = kept
    assert len(held) == len(expected.records) > 0
    assert held == expected.records


EXTERNAL = {"Store__c": "Store_Code__c", "Account": "Tenant_Code__c"}


def test_the_rejected_rows_are_those_that_do_not_fit_each_with_its_reasons(done: Done, table: str) -> None:
    found: Counter[tuple[str, frozenset[tuple[str, str]]]] = Counter()
    for line in (row for path in done.files(table, f"logs/{table}_rejected.csv") for row in read(path)):
        faults = [(line["field"], line["rule"])]
        faults += [tuple(part.split(": ", 1)) for part in line["also"].split("; ") if part]  # type: ignore[misc]
        found[line["key"], frozenset((name, word(rule)) for name, rule in faults)] += 1
    assert found == done.expected[table].rejected


def word(rule: str) -> str:
    (found,) = [one for one in WORDS if one in rule]
    return found


def test_the_failed_rows_are_those_that_the_org_cannot_take_each_with_its_error(
    done: Done, table: str
) -> None:
    expected = done.expected[table]
    key = "TMS_External_Sequence_Ref__c" if table.startswith("daily") else "External_ID__c"
    failed = {
        row[key]: row["sf__Error"]
        for path in done.files(table, f"logs/{expected.object}_*_failed.csv")
        for row in read(path)
    }
    assert set(failed) == set(expected.failed)
    for name, causes in expected.failed.items():
        assert any(cause in failed[name] for cause in causes), failed[name]


def test_the_books_balance(done: Done, table: str) -> None:
    expected = done.expected[table]
    for books in done.statuses(table):
        exceptions = bool(books["rejected"] or books["failed"])
        assert books["source"] == books["rejected"] + books["success"] + books["failed"]
        good = "complete with exceptions" if exceptions else "proven"
        assert books["state"] == (good if books["source"] else "nothing to do")
    assert done.total(table, "rejected") == expected.rejected.total()
    assert done.total(table, "success") == len(expected.records)
    assert done.total(table, "failed") == len(expected.failed)


@pytest.mark.parametrize("table", [config.table for config in CONFIGS if config.parent], indirect=True)
def test_the_rows_of_one_parent_are_in_one_batch(done: Done, table: str) -> None:
    (config,) = [one for one in CONFIGS if one.table == table]
    assert config.parent_field
    batches = done.files(table, "data/*.csv.gz")
    assert len(batches) > 1 or done.total(table, "staged") <= 500
    seen: Counter[str] = Counter()
    for batch in batches:
        rows = csv.DictReader(gzip.decompress(batch.read_bytes()).decode().splitlines(keepends=True))
        seen.update({row[config.parent_field.header] for row in rows})
    assert set(seen.values()) == {1}


def test_large_tables_are_loaded_in_windows_and_every_slice_is_done(done: Done) -> None:
    windows = {one.table: len(one.slices) for one in done.plan.tables if len(one.slices) > 1}
    assert windows == {"kps_t_sales_m": 3, "kps_t_sales_md": 6, "kps_t_salespay_md": 3}
    assert set(done.ends.values()) == {"done"}
    found = look(done.run)
    assert (found.verdict.verdict, found.verdict.exit) == ("complete with exceptions", Exit.ROWS_FAILED)
    assert found.totals.success == sum(len(one.records) for one in done.expected.values()) + len(
        list(done.world.org.rows("Product2"))
    )


def test_the_demo_prints_a_line_for_each_slice_as_the_report_says_and_sends_nothing_again(
    done: Done, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Processes, "start", lambda *_: pytest.fail("a slice that is done was run again"))
    monkeypatch.setattr(notebooks, "execute", lambda name, folder, given, **_: run_cells(name, given))
    assert campaign.run_all("r", str(done.outputs), SLICE_ROWS, "make demo-all RUN_ID=r") == Exit.ROWS_FAILED
    told = capsys.readouterr().out
    for config in CONFIGS:
        for folder, books in zip(done.slices(config.table), done.statuses(config.table), strict=True):
            numbers = " +".join(
                f"{books[n]:,}" for n in ("source", "staged", "rejected", "success", "failed")
            )
            name = folder.relative_to(done.run).as_posix()
            assert re.search(rf"{config.phase}  {name} +{numbers}  {books['state']}\n", told)
    assert told.endswith("Again     make demo-all RUN_ID=r\n")


@pytest.mark.parametrize("lines", [1, 2, 777])
def test_the_history_has_the_lines_it_was_asked_for_and_is_the_same_for_the_same_seed(lines: int) -> None:
    made = history.make(lines, seed=9)
    assert set(made) == set(history.TABLES)
    assert made["KPS_T_SALES_MD"].height == lines
    assert all(rows.equals(made[name]) for name, rows in history.make(lines, seed=9).items())


def test_a_history_in_parts_numbers_its_sales_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_LINES_AT_ONCE", 400)
    made = history.make(1_000)
    numbers = made["KPS_T_SALES_M"]["SALE_NO"]
    assert made["KPS_T_SALES_MD"].height == 1_000
    assert made["KPS_T_SALES_MD"]["SALE_NO"].is_in(numbers).mean() > 0.98
    assert numbers.n_unique() == 2 * (400 * 36_165 // 86_958) + 200 * 36_165 // 86_958


def test_tables_run_by_phase_and_behind_those_they_depend_on() -> None:
    names = [config.table for config in CONFIGS]
    assert [config.phase for config in CONFIGS] == sorted(config.phase for config in CONFIGS)
    for config in CONFIGS:
        assert all(names.index(needed) < names.index(config.table) for needed in config.depends_on)
        if config.parent_field:
            parents = [one.table for one in CONFIGS if one.object == config.parent_field.object]
            assert list(config.depends_on) == parents


def test_every_column_without_a_dictionary_is_marked_as_assumed_and_no_other() -> None:
    for table in PLANS:
        config = next(one for one in CONFIGS if one.table == table.lower())
        known = set(history.published_columns(table))
        for spec in config.fields:
            assert spec.assumed == (not set(spec.source) <= known) or spec.field == "Account__c", spec.field


def test_the_demo_is_dirty_in_every_way_that_is_expected_of_it(done: Done) -> None:
    reasons = {reason for one in done.expected.values() for _, faults in one.rejected for _, reason in faults}
    assert reasons == set(WORDS)
    errors = {error for one in done.expected.values() for causes in one.failed.values() for error in causes}
    assert any("Foreign key external ID: LOST" in error for error in errors)
    assert "Foreign key external ID: 041 not found" in errors
    assert any("restricted picklist" in error for error in errors)


def test_sales_that_only_the_separator_tells_apart_stay_two(done: Done) -> None:
    records = done.expected["kps_t_sales_m"].records
    alike = [key for key in records if key.replace("|", "_") == "1_042_02_K1_2_0000000000_27/11/2025"]
    assert sorted(alike) == [
        "1|042|02|K1_2|0000000000|27/11/2025",
        "1|042|02|K1|2_0000000000|27/11/2025",
    ]


def test_personal_data_of_buyers_leaves_the_source_nowhere(done: Done) -> None:
    for path in done.outputs.rglob("*"):
        if path.is_file():
            content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            assert not re.search(rb"ZZ[0-9]{7}|Private Person|MEMBER-[0-9]", content), path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_small_set_goes_without_a_job_and_a_large_one_with_jobs(done: Done) -> None:
    jobs = {job["object"] for job in done.world.org.jobs()}
    for config in CONFIGS:
        small = [0 < one["staged"] <= 200 for one in done.statuses(config.table)]
        large = [one["staged"] > 200 for one in done.statuses(config.table)]
        named = done.files(config.table, f"logs/{config.object}_C*_success.csv")
        assert (config.object in jobs, bool(named)) == (any(large), any(small)), config.table
    assert "Temp_Shop_Unit_Summary_Sales_Trn__c" not in jobs
    assert "KPS_Sales__c" in jobs
