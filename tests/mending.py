"""A small slice with rows that fail and rows that are rejected, for tests of ``04_retry`` and ``90_rollback``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import oracledb
import pytest

from fakeforce import serve as serve_org
from ora2sf import Run, open_run
from ora2sf.run_retry import RetryRun
from ora2sf.run_rollback import RollbackRun
from ora2sf.salesforce import SalesforceClient
from world import PASSWORD, SECRET, connections

TABLE = """
table = "item"
object = "Item__c"
external_id_field = "Ext__c"
duplicates = "last"
source_time_zone = "Asia/Bangkok"
batch_size = 10

[source]
table = "ITEM"
order_by = ["K", "AMOUNT"]

[status]
file_name_field = "TMS_Name__c"

[[fields]]
field = "Ext__c"
type = "key"
columns = ["K"]

[[fields]]
field = "Name__c"
column = "NAME"
type = "text"
length = 20

[[fields]]
field = "Unit__c"
column = "UNIT"
type = "picklist"

[[fields]]
field = "Amount__c"
column = "AMOUNT"
type = "decimal"

[[fields]]
field = "Day__c"
column = "DAY"
type = "date"
formats = ["DD/MM/YYYY"]
latest = 2199-12-31

[[fields]]
field = "Code__c"
column = "CODE"
type = "code"
"""
ORG = {
    "Item__c": """
[[fields]]
name = "Ext__c"
type = "string"
length = 255
external_id = true
unique = true

[[fields]]
name = "Name__c"
type = "string"
length = 20

[[fields]]
name = "Unit__c"
type = "picklist"
values = ["Piece", "Box"]
restricted = true

[[fields]]
name = "Amount__c"
type = "currency"

[[fields]]
name = "Day__c"
type = "date"

[[fields]]
name = "Code__c"
type = "string"

[[fields]]
name = "Box__c"
type = "reference"
reference_to = ["Box__c"]
""",
    "Box__c": """
[[fields]]
name = "Ext__c"
type = "string"
external_id = true
unique = true
""",
    "Part__c": """
[[fields]]
name = "Item__c"
type = "reference"
reference_to = ["Item__c"]
nillable = false
""",
    "TMS_Daily_Sales_File__c": """
[[fields]]
name = "TMS_External_File_Ref__c"
type = "string"
length = 80
external_id = true
unique = true

[[fields]]
name = "TMS_Status__c"
type = "string"

[[fields]]
name = "TMS_Errors__c"
type = "string"

[[fields]]
name = "TMS_Name__c"
type = "string"
""",
}
LONG = "a name of thirty characters!!!"
GOOD = [(f"k{n:02}", f"Tea {n}", "Piece", n + 0.5, "01/02/2025", f"00{n}") for n in range(1, 16)]
#: Two that Salesforce refuses, two that are rejected: a changed rule helps all of them.
BAD = [
    ("m01", "Old one", "Old", 1, "01/02/2025", "007"),
    ("m02", "Old, \u201cquoted\u201d", "Old", 2, "02/02/2025", "0042"),
    ("m03", LONG, "Box", 3, "03/02/2025", "1"),
    ("m04", LONG, "Old", 4, "04/02/2025", "2"),
]
#: A later row counts; the earlier one of d02 is at fault as well, and yet must never be sent.
TWICE = [
    ("d01", "earlier", "Box", 1, "01/02/2025", "1"),
    ("d01", "later", "Box", 2, "01/02/2025", "1"),
    ("d02", LONG, "Box", 1, "01/02/2025", "1"),
    ("d02", "later", "Box", 2, "01/02/2025", "1"),
]
#: Of which no rule helps.
WRONG_DAY = [("w01", "Wrong day", "Box", 1, "31/12/2568", "1"), (None, "No key", "Box", 1, "01/02/2025", "1")]
#: A rule for each of the two faults.
MENDED = TABLE.replace(
    'type = "picklist"', 'type = "picklist"\nvalues = { Old = "Piece", Piece = "Piece", Box = "Box" }'
).replace("length = 20", 'length = 20\non_misfit = "truncate"')


#: Rows belong to a box.
BOXED = (
    TABLE.replace('["K", "AMOUNT"]', '["CODE", "K"]\n')
    .replace("batch_size = 10", 'batch_size = 4\nparent = "Box__c"')
    .replace(
        'field = "Code__c"\ncolumn = "CODE"\ntype = "code"',
        'field = "Box__c"\ncolumns = ["CODE"]\ntype = "lookup"\nobject = "Box__c"\nexternal_id_field = "Ext__c"',
    )
)


class Mending:
    """A home with the table file, a source and an org; and the notebooks' objects on them."""

    def __init__(self, home: Path, org: Any, environment: dict[str, str]) -> None:
        self.home, self.org, self.environment = home, org, environment
        self.folder = home / "outputs" / "r" / "item"
        self.logs = self.folder / "salesforce" / "logs"
        self.export = self.logs / "item_retry.csv"

    def table(self, text: str) -> None:
        (self.home / "tables" / "item.toml").write_text(text, encoding="utf-8")

    def open(self, step: Any, **parameters: Any) -> Any:
        return open_run(step, {"run_id": "r", "table": "item", "outputs": "outputs", **parameters})

    def load(self, **parameters: Any) -> Mending:
        run: Run = self.open("01_extract", **parameters)
        run.check_table()
        run.extract()
        run.announce()
        self.open("02_upload", **({"run_id": run.parameters.run_id})).upload()
        return self

    def retry(self, fix: str = "list", **parameters: Any) -> tuple[RetryRun, str]:
        """What the notebook does; its object, and what its cells show."""
        run: RetryRun = self.open("04_retry", fix=fix, **parameters)
        cells = (run.triage, run.fix, run.resubmit, run.history, run.balance)
        return run, "\n".join(repr(cell()) for cell in cells)

    def books(self) -> dict[str, Any]:
        run: Run = self.open("03_reconcile")
        run.fetch_missing()
        run.verdict()
        books = run._books()
        return {name: getattr(books, name) for name in vars(books)} | {"verdict": books.verdict}

    def rolled_back(self, confirm: str = "r", **parameters: Any) -> str:
        run: RollbackRun = self.open("90_rollback", confirm=confirm, **parameters)
        return "\n".join(repr(cell()) for cell in (run.survey, run.roll_back, run.verdict))

    def held(self, *fields: str) -> dict[str, Any]:
        rows = {row["Ext__c"]: tuple(row[name] for name in fields) for row in self.org.rows("Item__c")}
        return {key: row[0] if len(fields) == 1 else row for key, row in rows.items()}

    def exported(self) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.export.read_text(encoding="utf-8-sig"))))

    def edit(self, rows: list[dict[str, str]]) -> None:
        stream = io.StringIO()
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        self.export.write_text(stream.getvalue(), encoding="utf-8")


def fill(oracle: Any, rows: list[tuple[Any, ...]]) -> None:
    with oracledb.connect(user="TMS", password=PASSWORD, dsn=oracle.dsn) as database, database.cursor() as c:
        c.execute("SELECT COUNT(*) FROM USER_TABLES WHERE TABLE_NAME = 'ITEM'")
        (there,) = c.fetchone() or (0,)
        if there:
            c.execute("DELETE FROM ITEM")
        else:
            text = ", ".join(f"{name} VARCHAR2(200)" for name in ("NAME", "UNIT", "DAY", "CODE"))
            c.execute(f"CREATE TABLE ITEM (K VARCHAR2(20), AMOUNT NUMBER(10,3), {text})")
        c.executemany(
            "INSERT INTO ITEM (K, NAME, UNIT, AMOUNT, DAY, CODE) VALUES (:1, :2, :3, :4, :5, :6)", rows
        )
        database.commit()


@contextmanager
def mending(oracle: Any, home: Path, rows: list[tuple[Any, ...]]) -> Iterator[Mending]:
    """A fresh org and a home, and the source with these rows."""
    for folder in ("tables", "org"):
        (home / folder).mkdir(exist_ok=True)
    for name, text in ORG.items():
        (home / "org" / f"{name}.toml").write_text(f'name = "{name}"\n{text}', encoding="utf-8")
    (home / "tables" / "item.toml").write_text(TABLE, encoding="utf-8")
    fill(oracle, rows)
    with (
        serve_org(schema=str(home / "org"), client_id="demo-client", client_secret=SECRET) as org,
        pytest.MonkeyPatch.context() as patch,
    ):
        # a slice this small still goes through jobs
        environment = connections(oracle, org) | {"ORA2SF_HOME": str(home), "ORA2SF_SMALL_SET": "0"}
        for name, value in environment.items():
            patch.setenv(name, value)
        yield Mending(home, org, environment)


def client() -> SalesforceClient:
    return SalesforceClient(first_wait=0.01)
