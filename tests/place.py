"""A project of two small tables with both servers, for tests of campaigns."""

# ruff: noqa: DTZ001 - a DATE of Oracle has no zone

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import oracledb
import pytest

from fakeforce import serve as serve_org
from fakeoracle import serve as serve_oracle
from ora2sf import Run, open_plan, open_run, planfile
from ora2sf.plan import Plan
from world import PASSWORD, SECRET, connections

SHOPS = [("S1", dt.datetime(2025, 1, 1)), ("S2", dt.datetime(2025, 3, 1)), ("S3", None)]
DAYS = ["01/01/2025", "2025-01-02", "02/01/2025", "31/02/2025", "TBA"]
SALES = [(n, SHOPS[n % 3][0], DAYS[n % 5], n * 10) for n in range(60)]

FIELD = """
[[fields]]
name = "{name}"
label = "{name}"
"""
SHOP_OBJECT = 'name = "Shop__c"\nlabel = "Shop"\n' + FIELD.format(name="Code__c") + (
    'type = "string"\nlength = 20\nexternal_id = true\nunique = true\nnillable = false\n'
)  # fmt: skip
SALE_OBJECT = (
    SHOP_OBJECT.replace("Shop", "Sale")
    + FIELD.format(name="Shop__c")
    + 'type = "reference"\nreference_to = ["Shop__c"]\nrelationship_name = "Shop__r"\n'
    + FIELD.format(name="Amount__c")
    + 'type = "double"\nprecision = 16\nscale = 2\n'
)
SHOP_TABLE = """
table = "shop"
object = "Shop__c"
external_id_field = "Code__c"
phase = 1
changed_column = "CHANGED"
[source]
table = "SHOP"
order_by = ["CODE"]
[[fields]]
field = "Code__c"
type = "key"
columns = ["CODE"]
length = 20
"""
SALE_TABLE = """
table = "sale"
object = "Sale__c"
external_id_field = "Code__c"
phase = 2
depends_on = ["shop"]
parent = "Shop__c"
batch_size = 7
window = { column = "DAY", type = "text", format = "DD/MM/YYYY", also = ["YYYY-MM-DD"] }
[source]
table = "SALE"
order_by = ["SHOP", "N"]
[[fields]]
field = "Code__c"
type = "key"
columns = ["N"]
length = 20
[[fields]]
field = "Shop__c"
type = "lookup"
columns = ["SHOP"]
object = "Shop__c"
external_id_field = "Code__c"
[[fields]]
field = "Amount__c"
column = "AMOUNT"
type = "decimal"
precision = 16
scale = 2
"""


@dataclass
class Place:
    """A project of two tables, with both servers."""

    root: Path
    oracle: Any
    org: Any
    change: Callable[..., None]

    def run(self, name: str = "c") -> Path:
        return self.root / "outputs" / name

    def plan(self, run_id: str = "c", **parameters: Any) -> Plan:
        """A plan, made and frozen."""
        planning = open_plan({"run_id": run_id, "slice_rows": 15, "sample_rows": 20} | parameters)
        planning.save()
        planfile.freeze(self.run(run_id))
        return planning.plan

    def open(self, step: Any, name: str, run_id: str = "c") -> Run:
        table, _, window = name.partition("/")
        return open_run(step, {"run_id": run_id, "table": table, "window": window or None})

    def extract(self, name: str, run_id: str = "c") -> Run:
        run = self.open("01_extract", name, run_id)
        run.check_table()
        run.extract()
        return run

    def load(self, name: str, run_id: str = "c") -> str:
        """Reads and sends a slice; its verdict."""
        self.extract(name, run_id).check_data()
        self.open("02_upload", name, run_id).upload()
        shown = self.open("03_reconcile", name, run_id)
        shown.fetch_missing()
        return shown.verdict().sentence


@contextmanager
def new_place(folder: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Iterator[Place]:
    for name, text in (("schema/Shop__c", SHOP_OBJECT), ("schema/Sale__c", SALE_OBJECT), ("tables/shop", SHOP_TABLE), ("tables/sale", SALE_TABLE)):  # fmt: skip
        path = folder / f"{name}.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (folder / "notebooks").mkdir()
    with (
        serve_oracle(users={"TMS": PASSWORD}, **options) as oracle,
        serve_org(schema=folder / "schema", client_id="demo-client", client_secret=SECRET) as org,
        oracledb.connect(user="TMS", password=PASSWORD, dsn=oracle.dsn) as session,
        session.cursor() as cursor,
    ):
        for name, value in (connections(oracle, org) | {"ORA2SF_HOME": str(folder)}).items():
            monkeypatch.setenv(name, value)

        def change(*statements: str) -> None:
            for statement in statements:
                cursor.execute(statement)
            session.commit()

        change(
            "create table SHOP (CODE varchar2(20), CHANGED date)",
            "create table SALE (N number(10), SHOP varchar2(20), DAY char(10), AMOUNT number)",
        )
        cursor.executemany("insert into SHOP values (:1, :2)", SHOPS)
        cursor.executemany("insert into SALE values (:1, :2, :3, :4)", SALES)
        session.commit()
        yield Place(folder, oracle, org, change)
