"""The demo's source: three Oracle tables and their rows, as dirty as real ones, the same for the same seed.

Columns and types are those of the published dictionary; the values are made up.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import Any

DDL = (
    "CREATE TABLE KPS_R_UNIT (UNIT_CODE VARCHAR2(10) NOT NULL, UNIT_DESC VARCHAR2(50))",
    """
    CREATE TABLE KPS_T_APPRV_M (
        PRO_CODE VARCHAR2(10), KPS_PRICE_EXC_VAT NUMBER(16,2), KPS_PRICE_INC_VAT NUMBER(16,2),
        KPS_EFF_SDATE VARCHAR2(19), KPS_EFF_EDATE VARCHAR2(19), KPS_REASON VARCHAR2(200), KPS_APPROVE_DATE CHAR(10),
        CON_CODE CHAR(2) NOT NULL, SHOP_CODE VARCHAR2(20) NOT NULL, PROD_SERV_CODE VARCHAR2(100) NOT NULL,
        UNIT_CODE VARCHAR2(10) NOT NULL, SHPBND_CODE VARCHAR2(4) NOT NULL
    )
    """,
    """
    CREATE TABLE KPS_T_REQPROD_MD (
        STD_CATE_CODE VARCHAR2(4) NOT NULL, BARCODE VARCHAR2(30), REQUEST_DATE CHAR(10) NOT NULL,
        PROD_SERV_CODE VARCHAR2(100) NOT NULL, PROD_SERV_NAME VARCHAR2(200) NOT NULL, TRANS_TYPE NUMBER NOT NULL,
        KPS_PRICE_EXC_VAT NUMBER, KPS_PRICE_INC_VAT NUMBER, REF_SOURCE VARCHAR2(100), REF_PRICE NUMBER,
        KPS_REASON VARCHAR2(200), CON_CODE CHAR(2) NOT NULL, SHOP_CODE VARCHAR2(20) NOT NULL, CREATEDDATE DATE
    )
    """,
)

TABLES = {"KPS_R_UNIT", "KPS_T_APPRV_M", "KPS_T_REQPROD_MD"}

UNITS = (
    ("PC", "Piece"),
    ("BX", "Box"),
    ("CH", "ชิ้น"),
    ("KL", "กล่อง"),
    ("PK", "Pack"),
    ("KG", "Kg"),
    ("OL", "Old unit"),  # the org's restricted picklist does not have this one: Salesforce refuses its rows
    ("NN", None),
)
_WEIGHTS = (30, 20, 15, 10, 10, 8, 1, 3)

_FIRST = (
    "Thai silk",
    "ผ้าไหมไทย",
    "Dried mango",
    "มะม่วงอบแห้ง",
    "Café latte",
    "ชาเขียว",
    "Travel pillow",
    "หมอนรองคอ",
)
_SECOND = ("large", "ขนาดใหญ่", "gift set", "ชุดของขวัญ", 'size 12"', "red, blue", "100% cotton", "สีแดง, สีน้ำเงิน")
_REASONS = (
    None,
    None,
    None,
    "DOC-{0:07d}",
    "Ticket {0}, see e-mail",
    "ปรับราคาตามประกาศ {0}",
    "line one {0}\nline two",
)
_SOURCES = (None, "King street market", "ตลาดกลาง", "Supplier's list, 2025", "N/A")


@dataclass
class Rows:
    """Rows of the three tables, each a tuple in the order of its columns in :data:`DDL`."""

    units: list[tuple[Any, ...]] = field(default_factory=lambda: list(UNITS))
    approvals: list[tuple[Any, ...]] = field(default_factory=list)
    requests: list[tuple[Any, ...]] = field(default_factory=list)


def make(products: int, seed: int = 1) -> Rows:
    """Rows for a number of products, about one in eight of them requested more than once."""
    rng = random.Random(seed)  # noqa: S311 - demo data
    rows = Rows()
    for number in range(products):
        code = f"{number:07d}" if number % 3 else f"P{number:06d}-{number % 7}"
        con, shop = rng.choice(("1 ", "07", "12")).strip(), f"{rng.randrange(1, 60):03d}"
        rows.approvals.append(_approval(rng, code, con, shop))
        for _ in range(rng.choices((1, 2, 3), (88, 9, 3))[0]):
            rows.requests.append(_request(rng, number, code, con, shop))
    return rows


def _approval(rng: random.Random, code: str, con: str, shop: str) -> tuple[Any, ...]:
    start = dt.datetime(2024, 1, 1) + dt.timedelta(days=rng.randrange(800))  # noqa: DTZ001 - local, as in the source
    end = start + dt.timedelta(days=rng.randrange(30, 1500), hours=23, minutes=59, seconds=59)
    price = Decimal(rng.randrange(100, 9_000_000)) / 100
    unit = rng.choices(UNITS, _WEIGHTS)[0][0]
    first, last = _date_text(rng, start), None if rng.random() < 0.15 else _date_text(rng, end)
    return (
        f"PR{rng.randrange(10_000):05d}", price, (price * 107 / 100).quantize(Decimal("0.01")), first, last,
        None, f"{start:%d/%m/%Y}", con, shop, code, unit, "0001",
    )  # fmt: skip


def _date_text(rng: random.Random, moment: dt.datetime) -> str:
    """The ways in which the source writes a date, and the ways in which it gets one wrong."""
    chance = rng.random()
    if chance < 0.002:
        return rng.choice(
            ("31/02/2026 00:00:00", "00/00/0000", "TBA", "2025-13-01 00:00:00", "01/12/2568 00:00:00")
        )
    if chance < 0.55:
        return f"{moment:%d/%m/%Y %H:%M:%S}"
    return f"{moment:%Y-%m-%d %H:%M:%S}" if chance < 0.9 else f"{moment:%d/%m/%Y}"


def _request(rng: random.Random, number: int, code: str, con: str, shop: str) -> tuple[Any, ...]:
    price = (
        Decimal(rng.randrange(1, 10**12)) / 10 ** rng.choice((0, 2, 2, 4, 9, 10))
        if rng.random() < 0.97
        else None
    )
    asked = dt.datetime(2025, 1, 1) + dt.timedelta(seconds=rng.randrange(30_000_000))  # noqa: DTZ001
    reason = rng.choice(_REASONS)
    text = reason.format(rng.randrange(10**6)) if reason else None
    if rng.random() < 0.004:
        text = "remark that is too long เกิน " * rng.randrange(4, 6)  # over 100 characters, under 200 bytes
    barcode = rng.choice((None, f"{rng.randrange(10**13):013d}", f"00{rng.randrange(10**6):06d}"))
    return (
        f"{rng.randrange(1, 9999):04d}",
        barcode,
        f"{asked:%d/%m/%Y}",
        code,
        _name(rng, number),
        Decimal(9) if rng.random() < 0.001 else Decimal(rng.choice((1, 1, 2, 3))),
        price,
        None if price is None else round(price * 107 / 100, 10),
        rng.choice(_SOURCES),
        rng.choice(
            (None, Decimal("8.411214953"), Decimal("-0.005"), Decimal("0.0000000001"), Decimal("2.675"))
        ),
        text,
        con,
        shop,
        None if rng.random() < 0.02 else asked,
    )


def _name(rng: random.Random, number: int) -> str:
    name = f"{rng.choice(_FIRST)} {rng.choice(_SECOND)} {number}"
    chance = rng.random()
    if chance < 0.02:
        return name.replace(" ", "\r\n", 1)
    return name.replace(" ", "\n", 1) if chance < 0.05 else (f'"{name}"' if chance < 0.08 else name)


def fill(database: Any, rows: Rows) -> None:
    """Creates and fills the tables through the driver; what stood in them before is dropped.

    Args:
        database: an open ``oracledb`` connection.
    """
    with database.cursor() as cursor:
        cursor.execute("SELECT TABLE_NAME FROM USER_TABLES")
        for table in TABLES & {name for (name,) in cursor.fetchall()}:
            cursor.execute(f"DROP TABLE {table} PURGE")
        for statement in DDL:
            cursor.execute(statement)
        for table, values in (
            ("KPS_R_UNIT", rows.units),
            ("KPS_T_APPRV_M", rows.approvals),
            ("KPS_T_REQPROD_MD", rows.requests),
        ):
            binds = ", ".join(f":{n}" for n in range(1, len(values[0]) + 1))
            for part in _parts(values, 20_000):
                cursor.executemany(f"INSERT INTO {table} VALUES ({binds})", part)
    database.commit()


def _parts(values: Iterable[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    iterator = iter(values)
    while part := list(islice(iterator, size)):
        yield part
