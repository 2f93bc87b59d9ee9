"""One bad row for each rule: what preflight names before the upload, and what Salesforce does with it when nobody looks.

The same rows go two ways. Through the library: each has to be rejected or named before anything is sent. And as a careless
loader would send them, in a CSV by hand: the org has to refuse exactly those rows whose case does not say why it takes them.
"""

# ruff: noqa: DTZ001 - the source keeps local times without a zone
from __future__ import annotations

import csv
import datetime as dt
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import oracledb
import polars as pl
import pytest

from fakeforce import serve as serve_org
from fakeoracle import serve as serve_oracle
from ora2sf import Run, SalesforceBulkLoader, open_run
from ora2sf.convert import Converter
from ora2sf.fields import TYPES, ConstantField
from ora2sf.salesforce import SalesforceClient
from ora2sf.tables import TableConfig
from world import PASSWORD, SECRET, connections

COLUMNS = {
    "CASE_NAME": "VARCHAR2(60)", "K": "VARCHAR2(60)", "NAME": "VARCHAR2(200)", "NOTE": "VARCHAR2(60)", "CODE": "VARCHAR2(60)",
    "EMAIL": "VARCHAR2(100)", "PHONE": "VARCHAR2(60)", "URL": "VARCHAR2(60)", "WHOLE": "NUMBER", "WHOLE_TEXT": "VARCHAR2(60)",
    "RATE": "NUMBER", "AMOUNT": "VARCHAR2(60)", "BIG": "VARCHAR2(60)", "FLAG": "VARCHAR2(10)", "DAY": "DATE",
    "DAY_TEXT": "VARCHAR2(20)", "MOMENT": "VARCHAR2(20)", "KIND": "VARCHAR2(10)", "LOOSE": "VARCHAR2(10)", "SIZE_CODE": "VARCHAR2(60)",
    "P1": "VARCHAR2(60)", "P2": "VARCHAR2(60)", "MUST": "VARCHAR2(60)",
}  # fmt: skip

TABLE = """
table = "catalogue"
object = "Item__c"
external_id_field = "Ext__c"
source_time_zone = "Europe/Berlin"
source = { table = "CATALOGUE", order_by = ["CASE_NAME"] }
fields = [
    { field = "Ext__c", type = "key", columns = ["K"], length = 20 },
    { field = "Case__c", column = "CASE_NAME", type = "text", length = 60 },
    { field = "Name", column = "NAME", type = "text", length = 20, required = true },
    { field = "Note__c", column = "NOTE", type = "text", length = 20 },
    { field = "Code__c", column = "CODE", type = "code", length = 5 },
    { field = "Email__c", column = "EMAIL", type = "email", length = 80 },
    { field = "Phone__c", column = "PHONE", type = "phone", length = 40 },
    { field = "Url__c", column = "URL", type = "url", length = 30 },
    { field = "Whole__c", column = "WHOLE", type = "integer", digits = 4 },
    { field = "Whole_Text__c", column = "WHOLE_TEXT", type = "integer", digits = 4 },
    { field = "Rate__c", column = "RATE", type = "decimal", precision = 5, scale = 2 },
    { field = "Amount__c", column = "AMOUNT", type = "decimal", precision = 5, scale = 2, rounding = "none" },
    { field = "Big__c", column = "BIG", type = "decimal", precision = 18, scale = 2, source_scale = 30 },
    { field = "Flag__c", column = "FLAG", type = "boolean" },
    { field = "Day__c", column = "DAY", type = "date" },
    { field = "Day_Text__c", column = "DAY_TEXT", type = "date", formats = ["DD/MM/YYYY"], latest = 2199-12-31 },
    { field = "Moment__c", column = "MOMENT", type = "datetime", formats = ["DD/MM/YYYY HH24:MI:SS"] },
    { field = "Kind__c", column = "KIND", type = "picklist", values = { "1" = "New", "2" = "Old" } },
    { field = "Loose__c", column = "LOOSE", type = "picklist", values = { "1" = "One" } },
    { field = "Size__c", column = "SIZE_CODE", type = "picklist", length = 10 },
    { field = "Parent__c", type = "lookup", columns = ["P1", "P2"], length = 20, object = "Parent__c", external_id_field = "Ext__c" },
    { field = "Must__c", type = "lookup", columns = ["MUST"], length = 20, object = "Parent__c", external_id_field = "Ext__c", required = true },
]
"""

EXT = '{ name = "Ext__c", type = "string", length = 20, external_id = true, unique = true }'
ORG = {
    "Parent__c": f"fields = [{EXT}]",
    "Item__c": f"""fields = [
        {EXT},
        {{ name = "Case__c", type = "string", length = 60 }},
        {{ name = "Name", type = "string", length = 20, nillable = false }},
        {{ name = "Note__c", type = "string", length = 20 }},
        {{ name = "Code__c", type = "string", length = 5 }},
        {{ name = "Email__c", type = "email" }},
        {{ name = "Phone__c", type = "phone" }},
        {{ name = "Url__c", type = "url", length = 30 }},
        {{ name = "Whole__c", type = "double", precision = 4, scale = 0 }},
        {{ name = "Whole_Text__c", type = "double", precision = 4, scale = 0 }},
        {{ name = "Rate__c", type = "currency", precision = 5, scale = 2 }},
        {{ name = "Amount__c", type = "currency", precision = 5, scale = 2 }},
        {{ name = "Big__c", type = "currency", precision = 18, scale = 2 }},
        {{ name = "Flag__c", type = "boolean" }},
        {{ name = "Day__c", type = "date" }},
        {{ name = "Day_Text__c", type = "date" }},
        {{ name = "Moment__c", type = "datetime" }},
        {{ name = "Kind__c", type = "picklist", values = ["New", "Old"], restricted = true }},
        {{ name = "Loose__c", type = "picklist", values = ["One"] }},
        {{ name = "Size__c", type = "picklist", values = ["S", "M", "L"], restricted = true }},
        {{ name = "Parent__c", type = "reference", reference_to = ["Parent__c"] }},
        {{ name = "Must__c", type = "reference", reference_to = ["Parent__c"], nillable = false }},
    ]""",
}

#: A good row as Oracle has it, and as a careful loader sends it.
ROW: dict[str, Any] = {
    "NAME": "Tea", "NOTE": "ชาเขียว", "CODE": "007", "EMAIL": "a@example.com", "PHONE": "+66 2 123", "URL": "https://example.com",
    "WHOLE": 12, "WHOLE_TEXT": "34", "RATE": 1.25, "AMOUNT": "9.99", "BIG": "5", "FLAG": "Y", "DAY": dt.datetime(2025, 12, 31),
    "DAY_TEXT": "31/12/2025", "MOMENT": "31/12/2025 12:00:00", "KIND": "1", "LOOSE": "1", "SIZE_CODE": "S",
    "P1": "A", "P2": "1", "MUST": "A_1",
}  # fmt: skip
SENT = {
    "Name": "Tea", "Note__c": "ชาเขียว", "Code__c": "007", "Email__c": "a@example.com", "Phone__c": "+66 2 123",
    "Url__c": "https://example.com", "Whole__c": "12", "Whole_Text__c": "34", "Rate__c": "1.25", "Amount__c": "9.99",
    "Big__c": "5.00", "Flag__c": "true", "Day__c": "2025-12-31", "Day_Text__c": "2025-12-31",
    "Moment__c": "2025-12-31T11:00:00.000Z", "Kind__c": "New", "Loose__c": "One", "Size__c": "S",
    "Parent__r.Ext__c": "A_1", "Must__r.Ext__c": "A_1",
}  # fmt: skip
GOOD = ("good 1", "good 2")


@dataclass(frozen=True)
class Case:
    """One bad row.

    Attributes:
        name: also its key, unless the case changes that.
        named: the field that preflight names; rule: how. A rule of the table file, or part of a finding.
        row: what differs from the good row in Oracle; sent: what differs in the careless file.
        taken: why Salesforce takes what preflight refuses; empty if it refuses it too.
        finding: it is staged, and named by the check of the staged rows.
    """

    name: str
    named: str
    rule: str
    row: dict[str, Any]
    sent: dict[str, str]
    taken: str = ""
    finding: bool = False


NULLED = "an empty Oracle value is told apart from this text; Salesforce would empty the field"
CONTROL = "Salesforce keeps it, and nobody sees why two codes that look alike differ"
ROUNDED = "Salesforce rounds without a word"


def case(named: str, rule: str, column: str, bad: Any, sent: str | None = None, taken: str = "") -> Case:
    """A bad value in one column; the careless loader sends it as it is, unless told otherwise."""
    header = f"{named.removesuffix('__c')}__r.Ext__c" if named in {"Parent__c", "Must__c"} else named
    return Case(f"{named} {rule}"[:58], named, rule, {column: bad}, {header: str(bad or "") if sent is None else sent}, taken)  # fmt: skip


def plain(named: str, column: str, length: int, long: str, *, control: str = CONTROL, nulled: str = NULLED) -> list[Case]:  # fmt: skip
    """The rules of every text in one line."""
    return [
        case(named, f"longer than {length} characters", column, long),
        case(named, "holds a control character", column, f"{ROW.get(column) or 'k'}\t1"[-5:], taken=control),
        case(named, "#N/A would be read as an order to empty the field", column, "#N/A", taken=nulled),
    ]


CASES = [
    case("Ext__c", "empty key", "K", None),
    *plain("Ext__c", "K", 20, "k" * 21, nulled=""),
    case("Name", "required, but empty", "NAME", None),
    case("Name", "longer than 20 characters", "NAME", "ช" * 21),
    case("Name", "holds a NUL character", "NAME", "a\0b", taken="the emulator keeps it; no real org was asked"),
    case("Name", "#N/A would be read as an order to empty the field", "NAME", "#N/A"),
    case("Note__c", "longer than 20 characters", "NOTE", "x" * 21),
    case("Note__c", "holds a NUL character", "NOTE", "a\0b", taken="the emulator keeps it; no real org was asked"),
    case("Note__c", "#N/A would be read as an order to empty the field", "NOTE", "#N/A", taken=NULLED),
    *plain("Code__c", "CODE", 5, "123456"),
    *plain("Email__c", "EMAIL", 80, f"{'a' * 70}@example.com", control=""),
    case("Email__c", "is not an e-mail address", "EMAIL", "nobody"),
    *plain("Phone__c", "PHONE", 40, "1" * 41),
    *plain("Url__c", "URL", 30, f"https://example.com/{'x' * 20}"),
    case("Whole__c", "has decimals", "WHOLE", 1.5, taken=ROUNDED),
    case("Whole__c", "more than 4 digits", "WHOLE", 12345),
    case("Whole_Text__c", "is not a whole number", "WHOLE_TEXT", "one"),
    case("Whole_Text__c", "more than 4 digits", "WHOLE_TEXT", "12345"),
    case("Rate__c", "more than 3 digits before the point", "RATE", 1000),
    case("Amount__c", "is not a number", "AMOUNT", "12,5"),
    case("Amount__c", "more than 3 digits before the point", "AMOUNT", "1000"),
    case("Amount__c", "more than 2 decimals", "AMOUNT", "1.005", taken=ROUNDED),
    case("Big__c", "is not a number", "BIG", "1 000"),
    case("Big__c", "too many digits to be rounded", "BIG", "99999999.999", taken="38 digits, 30 of them decimals, cannot hold it; Salesforce can"),
    case("Flag__c", "is not a yes or no", "FLAG", "maybe"),
    case("Day__c", "not between 1700-01-01 and 4000-12-31", "DAY", dt.datetime(1600, 1, 1), "1600-01-01"),
    case("Day_Text__c", "is not a date in DD/MM/YYYY", "DAY_TEXT", "31/02/2025"),
    case("Day_Text__c", "not between 1700-01-01 and 2199-12-31", "DAY_TEXT", "01/12/2568", "2568-12-01", taken="a year of the Buddhist era is a date in 542 years"),
    case("Moment__c", "is not a date in DD/MM/YYYY HH24:MI:SS", "MOMENT", "31/12/2025 24:00:00"),
    case("Moment__c", "not between 1700-01-01 and 4000-12-31", "MOMENT", "01/06/1699 12:00:00", "1699-06-01T11:06:32.000Z"),
    case("Moment__c", "not between 1700-01-01 and 4000-12-31 in UTC", "MOMENT", "01/01/1700 00:00:00", "1699-12-31T23:06:32.000Z"),
    case("Moment__c", "the daylight saving of Europe/Berlin is not known for this year", "MOMENT", "01/07/2100 12:00:00", "2100-07-01T10:00:00.000Z", taken="Salesforce stores whatever instant it is given; which one is meant is not known"),
    case("Moment__c", "the clocks of Europe/Berlin skip this time", "MOMENT", "30/03/2025 02:30:00", "2025-03-30T01:30:00.000Z", taken="Salesforce stores whatever instant it is given; the clocks never showed this one"),
    case("Kind__c", "not in the value map", "KIND", "9"),
    case("Loose__c", "not in the value map", "LOOSE", "9", taken="the picklist is not restricted, so that it takes any text"),
    *plain("Size__c", "SIZE_CODE", 10, "S" * 11, control=""),
    case("Parent__c", "longer than 20 characters", "P1", "P" * 20, "P" * 20 + "_1"),
    case("Parent__c", "holds a control character", "P1", "A\t1", "A\t1_1"),
    case("Parent__c", "some parts of the reference are empty", "P2", None, "A_"),
    *plain("Must__c", "MUST", 20, "M" * 21, control="", nulled=""),
    case("Must__c", "required, but empty", "MUST", None),
    Case("twice a", "Ext__c", "duplicate key: none of its rows counts", {"K": "twice"}, {"Ext__c": "twice"}),
    Case("twice b", "Ext__c", "duplicate key: none of its rows counts", {"K": "TWICE"}, {"Ext__c": "TWICE"}),
    Case("orphan", "Must__c", "neither in Salesforce nor staged", {"MUST": "Z_9"}, {"Must__r.Ext__c": "Z_9"}, finding=True),
    Case("unknown size", "Size__c", "restricted picklist lacks", {"SIZE_CODE": "XL"}, {"Size__c": "XL"}, finding=True),
]  # fmt: skip
#: What no value can bring about: text with a point is no whole number at all, and a reference of two parts has a "_" in it.
IMPOSSIBLE = {
    ("Whole_Text__c", "has decimals"),
    ("Parent__c", "#N/A would be read as an order to empty the field"),
}


@dataclass
class Place:
    """Both servers, the run after 01_extract, and what was sent by then."""

    org: Any
    run: Run
    shown: str
    jobs_before: int

    def rejected(self) -> dict[str, tuple[str, str]]:
        """Case → field and rule, from the file of the rejected rows; they are numbered as they are read."""
        names = sorted([*GOOD, *(one.name for one in CASES)])
        path = self.run.logs / "catalogue_rejected.csv"
        with path.open(encoding="utf-8", newline="") as file:
            return {
                names[int(line["row"]) - 1]: (line["field"], line["rule"]) for line in csv.DictReader(file)
            }

    def load(self, path: Path) -> set[str]:
        """Loads a CSV file and returns the cases that the org refused."""
        loader = SalesforceBulkLoader(
            self.run.client, "Item__c", "Ext__c", logs=path.parent, poll_interval=0.05
        )
        end = loader.load_file(path)
        assert end.state == "JobComplete", end.message
        (failed,) = (file.path for file in end.files if file.kind == "failed")
        with failed.open(encoding="utf-8", newline="") as file:
            return {line["Case__c"] for line in csv.DictReader(file)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("home")
    for name, text in {
        "tables/catalogue": TABLE,
        **{f"org/{name}": text for name, text in ORG.items()},
    }.items():
        path = home / f"{name}.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            text if name == "tables/catalogue" else f'name = "{path.stem}"\n{text}', encoding="utf-8"
        )
    with (
        serve_oracle(users={"TMS": PASSWORD}, service="FREEPDB1") as oracle,
        serve_org(schema=str(home / "org"), client_id="demo-client", client_secret=SECRET) as org,
        pytest.MonkeyPatch.context() as patch,
    ):
        fill(oracle)
        for name, value in (connections(oracle, org) | {"ORA2SF_HOME": str(home)}).items():
            patch.setenv(name, value)
        SalesforceClient().send("PATCH", "/sobjects/Parent__c/Ext__c/A_1", json={})
        run = open_run("01_extract", {"run_id": "r", "table": "catalogue", "outputs": "outputs"})
        run.check_table()
        run.extract()
        yield Place(org, run, repr(run.check_data()), len(org.jobs()))


def fill(oracle: Any) -> None:
    """Puts the good rows and the bad ones into Oracle."""
    rows = [ROW | {"CASE_NAME": name, "K": name} for name in GOOD]
    rows += [ROW | {"CASE_NAME": one.name, "K": f"k{n}"} | one.row for n, one in enumerate(CASES)]
    declared = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    marks = ", ".join(f":{n}" for n in range(1, len(COLUMNS) + 1))
    with (
        oracledb.connect(user="TMS", password=PASSWORD, dsn=oracle.dsn) as database,
        database.cursor() as cursor,
    ):
        cursor.execute(f"CREATE TABLE CATALOGUE ({declared})")
        for row in rows:
            cursor.execute(f"INSERT INTO CATALOGUE VALUES ({marks})", [row[name] for name in COLUMNS])
        database.commit()


def careless(path: Path, cases: list[Case]) -> Path:
    """The same rows as somebody writes them who looks at nothing."""
    rows = [{"Ext__c": name, "Case__c": name, **SENT} for name in GOOD]
    rows += [{"Ext__c": f"k{n}", "Case__c": one.name, **SENT} | one.sent for n, one in enumerate(cases)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_every_rule_that_a_value_can_break_has_a_bad_row_here() -> None:
    config = TableConfig.model_validate(tomllib.loads(TABLE))
    kinds: dict[str, pl.DataType] = {"NUMBER": pl.Decimal(38, 10), "DATE": pl.Datetime("us")}
    schema = {name: kinds.get(kind, pl.String()) for name, kind in COLUMNS.items()}
    made = Converter(config, schema, frozenset())._full
    rules = {(one.spec.field, rule) for one in made for rule in one.misfits if one.spec.field != "Case__c"}
    assert rules - IMPOSSIBLE <= {(one.named, one.rule) for one in CASES}
    assert {type(spec) for spec in config.fields} == set(TYPES.values()) - {ConstantField}


def test_every_bad_row_is_rejected_or_named_before_anything_is_sent(place: Place) -> None:
    assert place.rejected() == {one.name: (one.named, one.rule) for one in CASES if not one.finding}
    for one in (one for one in CASES if one.finding):
        (bad,) = one.row.values()
        (line,) = [
            line
            for line in place.shown.splitlines()
            if line.strip().startswith(one.named) and one.rule in line
        ]
        assert bad in line
    assert "2 rows would fail in Salesforce, for 2 reason(s)" in place.shown
    assert place.jobs_before == 0


def test_salesforce_refuses_the_same_rows_from_a_careless_loader_but_for_those_that_say_why(
    place: Place, tmp_path: Path
) -> None:
    ours = sorted(one.name for one in CASES)
    theirs = sorted(place.load(careless(tmp_path / "careless.csv", CASES)))
    assert theirs == [name for name in ours if name not in {one.name for one in CASES if one.taken}]
    assert place.org.count("Item__c") == len(GOOD) + sum(bool(one.taken) for one in CASES)


def test_of_what_was_staged_salesforce_refuses_what_the_check_had_named_and_nothing_else(
    place: Place,
) -> None:
    (batch,) = place.run.ledger.batches()
    assert place.load(place.run.data / batch.file) == {one.name for one in CASES if one.finding}


def test_one_line_break_of_windows_fails_the_whole_job_of_a_careless_loader_and_is_no_matter_here(
    place: Place, tmp_path: Path
) -> None:
    windows = Case("windows", "Note__c", "", {}, {"Note__c": "one\r\ntwo"})
    loader = SalesforceBulkLoader(place.run.client, "Item__c", "Ext__c", logs=tmp_path, poll_interval=0.05)
    end = loader.load_file(careless(tmp_path / "windows.csv", [windows]))
    assert (end.state, end.processed) == ("Failed", 0)
    assert "LineEnding is invalid" in end.message
    spec = {"field": "Note__c", "column": "NOTE", "type": "text", "length": 20}
    config = place.run.config.model_dump() | {"fields": [place.run.config.key.model_dump(), spec]}
    frame = pl.DataFrame({"K": ["k"], "NOTE": ["one\r\ntwo"]})
    made = Converter(TableConfig.model_validate(config), dict(frame.schema), frozenset())
    assert made.convert(frame, 1).staged["Note__c"].to_list() == ["one\ntwo"]
