"""The demo's sales history: 16 Oracle tables and their rows, as dirty as real ones, the same for the same seed.

Made column by column, so that a million rows take seconds, and part by part, so that any number fits into memory. Columns and types stand in ``history.sql``; the values are
made up. Amounts are exact decimals with up to 10 digits after the point; nothing passes through a float.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from ora2sf_demo.targets import SHOPS, TENANTS

DDL = (Path(__file__).parent / "history.sql").read_text(encoding="utf-8")
TABLES = tuple(re.findall(r"CREATE TABLE (\w+)", DDL))
#: The table that is filled last and tells how many lines the history was made for.
LINES = "KPS_T_SALES_MD"
#: The columns that name a sale, in its header, its lines and its payments.
SALE = ("CON_CODE", "SHOP_CODE", "BRANCH_CODE", "POS_NO", "SALE_NO", "SALE_DATE")
#: The shop and the day of the daily files.
DAILY_SHOP, DAILY_DAY = 39, 20_419  # place in SHOPS; 2025-11-27 in days since 1970

#: Decimals of amounts: they are made as whole numbers of this unit.
_SCALE = 10
_BAHT = 10**_SCALE
_FIRST_DAY = 19_358  # 2023-01-01, in days since 1970
_DAYS = 1_090
_BAD_DAYS = ("31/02/2026", "00/00/0000", "TBA", "01/12/2568", "2025-13-01")
_BAD_MOMENTS = ("31/02/2026 10:00:00", "00/00/0000", "TBA", "01/12/2568 08:30:00", "2025-12-04 24:00:00")
_REMARKS = (
    None,
    "ปรับยอดขาย",
    "Price corrected, see ticket",
    'He said "refund", twice',
    "line one\nline two",
    "บรรทัดหนึ่ง\r\nบรรทัดสอง",
    "remark that is too long เกิน " * 4,  # over 100 characters, under 200 bytes
)
_REMARK_WEIGHTS = (40, 15, 15, 10, 10, 8, 2)
_LINES_AT_ONCE = 250_000  # sales lines that are made at a time
_ROWS_AT_ONCE = 20_000  # rows that the driver sends at a time


@dataclass(frozen=True)
class _Sizes:
    """Rows of each table for a number of sales lines, in the proportions of a real year."""

    lines: int

    @property
    def headers(self) -> int:
        return max(2, self.lines * 36_165 // 86_958)

    @property
    def payments(self) -> int:
        return max(2, self.lines * 36_461 // 86_958)

    def small(self, share: float, year: int) -> int:
        """A table that does not grow beyond what a real year has."""
        return max(100, min(year, int(self.lines * share)))


def parts(lines: int, seed: int = 1) -> Iterator[dict[str, pl.DataFrame]]:
    """The rows of every table, for a number of sales lines, in parts that fit into memory.

    Args:
        lines: rows of KPS_T_SALES_MD.

    Yields:
        Table name → rows, with the columns in the order of the DDL: first the small tables, then the sales, whose
        headers, lines and payments come together.
    """
    rng, sizes = np.random.default_rng(seed), _Sizes(lines)
    small = _references(rng) | _preinvoices(rng, sizes) | _approvals(rng, sizes)
    yield _ordered(small | {"KPS_WEB_SALES": _web_sales(_Dice(rng, sizes.small(0.02, 13_882)))})
    first = 0
    for begin in range(0, lines, _LINES_AT_ONCE):
        part = _Sizes(min(_LINES_AT_ONCE, lines - begin))
        yield _ordered(_sales(rng, part, first))
        first += part.headers


def make(lines: int, seed: int = 1) -> dict[str, pl.DataFrame]:
    """The rows of every table as a whole: all that :func:`parts` yields."""
    made: dict[str, pl.DataFrame] = {}
    for part in parts(lines, seed):
        for name, rows in part.items():
            made[name] = pl.concat([made[name], rows]) if name in made else rows
    return made


def _ordered(tables: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    return {name: rows.select(columns(name)) for name, rows in tables.items()}


def _sales(rng: np.random.Generator, sizes: _Sizes, first: int) -> dict[str, pl.DataFrame]:
    """Sales numbered from ``first``, with what belongs to them."""
    headers = _headers(_Dice(rng, sizes.headers), first)
    return {
        "KPS_T_SALES_M": _with_twins(headers, rng),
        "KPS_T_SALESPAY_MD": _payments(_Dice(rng, sizes.payments), headers),
        "KPS_T_SALESBANK_MD": _slips(_Dice(rng, sizes.small(0.002, 164_120)), headers),
        LINES: _lines(_Dice(rng, sizes.lines), headers),
    }


def columns(table: str) -> list[str]:
    """The columns of a table, in the order of its DDL."""
    return [column.split()[0] for column in re.split(r",\s*(?![0-9])", _definition(table)[1])]


def published_columns(table: str) -> list[str]:
    """The columns that the published dictionary gives; the DDL says which it does not."""
    given = re.search(rf"CREATE TABLE {table} \((.*?)(--|\);)", DDL, re.S)
    assert given, table
    return re.findall(r"(\w+) (?:VARCHAR2|CHAR|NUMBER|DATE)", given[1])


def _definition(table: str) -> tuple[str, str]:
    """The CREATE TABLE statement, and what stands between its parentheses."""
    plain = re.sub(r"--.*", "", DDL)
    found = re.search(rf"CREATE TABLE {table} \((.*?)\);", plain, re.S)
    assert found, table
    return found[0].rstrip(";"), found[1].strip()


class _Dice:
    """Makes columns of one table, all of them with the same number of rows."""

    def __init__(self, rng: np.random.Generator, rows: int) -> None:
        self.rng, self.rows = rng, rows

    def whole(self, low: int, high: int) -> NDArray[np.int64]:
        """Whole numbers from ``low`` up to and without ``high``."""
        return self.rng.integers(low, high, self.rows)

    def pick(self, values: Sequence[Any], weights: Sequence[float] | None = None) -> pl.Series:
        """One of the values for each row."""
        share = None if weights is None else np.array(weights) / sum(weights)
        return pl.Series(values).gather(self.rng.choice(len(values), self.rows, p=share))

    def seldom(self, share: float) -> pl.Series:
        """Whether a row is one of a share of all rows."""
        return pl.Series(self.rng.random(self.rows) < share)

    def codes(self, form: str, high: int) -> pl.Series:
        """Numbers below ``high`` with leading zeros, in a form such as ``PI{:08d}``."""
        return _numbered(self.whole(0, high), form)

    def amount(self, highest: int = 100_000) -> NDArray[np.int64]:
        """Amounts as units of 10^-10 baht, with 0 to 10 decimals; one in fifty is negative: a return."""
        steps = np.array([10 ** (_SCALE - n) for n in (0, 2, 2, 2, 4, 9, 10)])[self.whole(0, 7)]
        units = self.whole(0, highest * _BAHT)
        units = (units - units % steps) * np.where(self.rng.random(self.rows) < 0.02, -1, 1)
        odd = (
            84_112_149_530,
            -50_000_000,
            50_000_000,
            1,
            26_750_000_000,
        )  # 8.411214953 -0.005 0.005 10^-10 2.675
        return np.where(self.rng.random(self.rows) < 0.02, np.array(odd)[self.whole(0, 5)], units)

    def money(self, highest: int = 100_000) -> pl.Series:
        """Amounts as decimals."""
        return decimals(self.amount(highest))

    def with_vat(self, name: str, forms: tuple[str, str, str]) -> dict[str, pl.Series]:
        """An amount, its VAT of 7 % and both together, as columns named after the three forms."""
        net = self.amount()
        vat = net * 7 // 100
        values = (decimals(net), decimals(vat), decimals(net + vat))
        return {form.format(name): value for form, value in zip(forms, values, strict=True)}

    def days(self) -> pl.Series:
        """Days of three years."""
        return pl.Series(_FIRST_DAY + self.whole(0, _DAYS), dtype=pl.Date)

    def moments(self) -> pl.Series:
        """Local times of three years, to the second; the first and the last second of a day come more often."""
        second = np.array([0, 86_399])[self.whole(0, 2)]
        second = np.where(self.rng.random(self.rows) < 0.1, second, self.whole(0, 86_400))
        return _times(self.days().to_physical().to_numpy(), second)

    def moment_texts(self) -> pl.Series:
        """Local times as text, in the three ways of the source, and a few that nobody can read."""
        moments, chance = self.moments(), self.rng.random(self.rows)
        texts = pl.select(
            pl.when(pl.lit(pl.Series(chance < 0.55)))
            .then(moments.dt.strftime("%d/%m/%Y %H:%M:%S"))
            .when(pl.lit(pl.Series(chance < 0.95)))
            .then(moments.dt.strftime("%Y-%m-%d %H:%M:%S"))
            .otherwise(moments.dt.strftime("%d/%m/%Y"))
        ).to_series()
        return self._spoiled(texts, _BAD_MOMENTS)

    def day_texts(self, days: pl.Series | None = None) -> pl.Series:
        """Days as text, nearly all of them day first, and a few that nobody can read."""
        days = self.days() if days is None else days
        texts = days.dt.strftime("%d/%m/%Y").zip_with(~self.seldom(0.03), days.dt.strftime("%Y-%m-%d"))
        return self._spoiled(texts, _BAD_DAYS)

    def _spoiled(self, texts: pl.Series, bad: Sequence[str]) -> pl.Series:
        """The texts, two in a thousand of them wrong, and in all but tiny tables in each way at least once."""
        way, wrong = self.whole(0, len(bad)), self.rng.random(self.rows) < 0.002
        if self.rows >= 50:
            at = self.rng.choice(self.rows, len(bad), replace=False)
            wrong[at], way[at] = True, np.arange(len(bad))
        return texts.zip_with(pl.Series(~wrong), pl.Series(bad).gather(way))

    def shops(self, chosen: NDArray[np.int64] | None = None) -> dict[str, pl.Series]:
        """The three columns that name a shop."""
        chosen = self.whole(0, len(SHOPS)) if chosen is None else chosen
        parts = zip(*SHOPS, strict=True)
        return {name: pl.Series(part).gather(chosen) for name, part in zip(SALE[:3], parts, strict=True)}

    def audit(self) -> dict[str, pl.Series]:
        """Who made and changed a row, and when."""
        people = ("SYSTEM", "POS.IMPORT", "สมชาย", 'O"Neil')
        return {
            "CREATEDBY": self.pick(people), "CREATEDDATE": self.moments(),
            "UPDATEDBY": self.pick(people), "UPDATEDDATE": self.moments(),
        }  # fmt: skip


def decimals(units: NDArray[np.int64]) -> pl.Series:
    """Whole numbers of 10^-10 as exact decimals: a 64-bit number is widened to the 128 bits that Arrow keeps."""
    wide = np.empty((len(units), 2), dtype=np.int64)
    wide[:, 0], wide[:, 1] = units, units >> 63
    buffers = [None, pa.py_buffer(wide.data)]
    array = pa.Array.from_buffers(pa.decimal128(38, _SCALE), len(units), buffers)
    return pl.Series(array)


def _times(days: NDArray[np.integer[Any]], seconds: NDArray[np.int64]) -> pl.Series:
    """Dates with time from days since 1970 and seconds of the day."""
    return pl.Series((days.astype(np.int64) * 86_400 + seconds) * 1_000_000).cast(pl.Datetime("us"))


def _numbered(numbers: NDArray[np.int64], form: str) -> pl.Series:
    """Numbers in a form with one ``{:0nd}``."""
    found = re.fullmatch(r"(.*)\{:0(\d+)d\}(.*)", form)
    assert found, form
    return pl.select(
        pl.lit(found[1])
        + pl.lit(pl.Series(numbers)).cast(pl.String).str.zfill(int(found[2]))
        + pl.lit(found[3])
    ).to_series()


def _references(rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    suppliers = pl.DataFrame(
        [
            ("Siam POS Co., Ltd.", "001", "Siam POS", 1, "02 123 4567", None, "99 ถนนสุขุมวิท", "Khlong Toei", "กรุงเทพฯ", "10110"),
            ('"Best" Tills', "02", "Best", 0, "+66 2 765 4321", "027654322", "line one\nline two", None, "Bangkok", "1011"),
            ("บริษัท ขายดี จำกัด", "ABC", None, 1, "ask the reception, first floor, extension 12 or 13", None, None, None, None, None),
            ("Comma, Dot & Sons", "X1", "C,D", None, None, None, "7/1", "ซอย 3", "Phuket", "83000"),
        ],
        schema=columns("KPS_R_POS_SUPPLIER"),
        orient="row",
    )  # fmt: skip
    addresses = pl.DataFrame(
        [
            ("001", 1, "Support", "support@siampos.example"),
            ("001", 2, "บัญชี", "accounts@siampos.example "),
            ("02", 1, "Nobody", "nobody at besttills"),
            ("ABC", 1, 'The "boss"', "boss@khaidee.example"),
        ],
        schema=columns("KPS_R_EMAIL_SUPPLIER"),
        orient="row",
    )
    return {
        "KPS_R_POS_SUPPLIER": suppliers,
        "KPS_R_EMAIL_SUPPLIER": addresses,
        "KPS_R_EMAIL_TENANT": _tenant_addresses(_Dice(rng, 436)),
    }


def _tenant_addresses(dice: _Dice) -> pl.DataFrame:
    number = np.arange(dice.rows)
    fine = _numbered(number, "tenant{:03d}@example.com")
    wrong = dice.pick(("not known", "a@b", "two@example.com; three@example.com", "x" * 81 + "@example.com"))
    return pl.DataFrame(
        {
            **dice.shops(number % len(SHOPS)),
            "SEQ": number // len(SHOPS) + 1,
            "NAMES": dice.pick((None, "Manager", "ผู้จัดการร้าน", "Accounts, night shift")),
            "EMAIL": fine.zip_with(~dice.seldom(0.03), wrong),
            "ACTIVE": dice.pick(("1", "0", "Y", "N", None, "?"), (40, 10, 30, 10, 9, 1)),
        }
    )


def _preinvoices(rng: np.random.Generator, sizes: _Sizes) -> dict[str, pl.DataFrame]:
    """Pre-invoices with their charges; the same number stands in several of them once in a while."""
    dice = _Dice(rng, sizes.small(0.01, 6_118))
    numbers = _numbered(np.arange(dice.rows), "PI_{:08d}")
    head = pl.DataFrame(
        {
            "PREINV_NO": numbers,
            "CON_CODE": dice.pick(TENANTS),
            "TERM_CODE": dice.pick(("T1", "042", "ตึก")),
        }
        | dice.audit()
    )
    tables = {"KPS_T_PREINV": _with_twins(head, rng)}
    for name, share, amount in (
        ("MIN", 2, "MIN_AMT"),
        ("REVGUA", 2, "REVGUA_AMT"),
        ("DETAIL", 1, "CHARGE_AMT"),
    ):
        part = _Dice(rng, dice.rows // share)
        tables[f"KPS_T_PREINV_{name}"] = _children(part, numbers, "PREINV_NO", "PREINV_SEQ").with_columns(
            part.pick(("R01", "007", "M1")).alias("CHARGE_CODE"),
            part.money(10_000).alias(amount),
            **part.audit(),
        )
    for name, share in (("D", 25), ("M", 1)):
        tables[f"KPS_T_PREINV_REVSALES_{name}"] = _shares(_Dice(rng, dice.rows * share), numbers)
    return tables


def _shares(dice: _Dice, numbers: pl.Series) -> pl.DataFrame:
    """Revenue shares by day or by month; a few belong to no pre-invoice."""
    rows = _children(dice, numbers, "PREINV_NO", "PREINV_SEQ")
    orphan = dice.seldom(0.01)
    return rows.with_columns(
        rows["PREINV_NO"].zip_with(~orphan, dice.codes("LOST_{:08d}", 99)).alias("PREINV_NO"),
        SHOP_CODE=dice.shops()["SHOP_CODE"],
        SALE_DATE=dice.day_texts(),
        SALES_MONTH=dice.day_texts(dice.days().dt.truncate("1mo")),
        SALES_AMT_EXC_VAT=dice.money(),
        REV_PERCENTAGE=dice.money(100),
        REV_AMT=dice.money(),
        **dice.audit(),
    )


def _children(dice: _Dice, parents: pl.Series, column: str, seq: str) -> pl.DataFrame:
    """Rows that belong to parents, numbered from 1 within each of them."""
    chosen = np.sort(dice.whole(0, len(parents)))
    first = np.searchsorted(chosen, chosen)
    return pl.DataFrame({column: parents.gather(chosen), seq: np.arange(dice.rows) - first + 1})


def _with_twins(rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """The rows, and one in a thousand of them once more, in another place and order."""
    twins = rows[rng.integers(2, rows.height, rows.height // 1_000 + 1)] if rows.height > 2 else rows.head(0)
    return pl.concat([twins, rows])


def _headers(dice: _Dice, begin: int) -> pl.DataFrame:
    shop, day = dice.whole(0, len(SHOPS)), dice.days()
    busy = dice.seldom(0.02)
    shop = np.where(busy, DAILY_SHOP, shop)
    shop[:2] = DAILY_SHOP
    day = pl.Series(np.where(busy, DAILY_DAY, day.to_physical().to_numpy()), dtype=pl.Date)
    number = _numbered(np.arange(begin, begin + dice.rows), "{:010d}")
    sales = pl.DataFrame(
        {
            **dice.shops(shop),
            "POS_NO": dice.pick(("01", "02", "K1", "เครื่อง 3")),
            "SALE_NO": number,
            "SALE_DATE": dice.day_texts(day),
        }
    )
    sales = sales if begin else _confusable(sales)
    return sales.with_columns(
        DOC_DATE=dice.moment_texts(),
        CREATE_DATE=dice.moment_texts(),
        TRANS_DATE=dice.moment_texts(),
        **{
            name: dice.whole(0, 4)
            for name in ("SALE_TYPE", "SHIFT_NO", "VAT_TYPE", "SERVICE_CHARGE_TYPE")
        },
        DISC_AVG_PERCENTAGE=dice.money(100),
        **dice.with_vat("AMT", ("{}_EXC_VAT", "VAT_{}", "{}_INC_VAT")),
        **dice.with_vat("EXTRA_DISC", ("{}_AMT_EXC_VAT", "{}_VAT_AMT", "{}_AMT_INC_VAT")),
        **dice.with_vat("SERVICE_CHARGE", ("{}_EXC_VAT", "{}_VAT", "{}_INC_VAT")),
        **dice.with_vat("NET", ("{}_EXC_VAT", "{}_VAT", "{}_INC_VAT")),
        PASSPORT_NO=dice.codes("ZZ{:07d}", 10**7),
        BIRTH_DATE=dice.pick(("29/02/1980", "1999-12-31", None)),
        MEMBER_ID=dice.codes("MEMBER-{:06d}", 10**6),
        MEMBER_NAME=dice.pick(("Private Person", "บุคคลทั่วไป")),
    )  # fmt: skip


def _confusable(sales: pl.DataFrame) -> pl.DataFrame:
    """Makes of the first two sales a pair that only the separator of a key tells apart."""
    first = sales.row(0, named=True) | {"POS_NO": "K1_2", "SALE_DATE": "27/11/2025"}
    second = first | {"POS_NO": "K1", "SALE_NO": f"2_{first['SALE_NO']}"}
    return pl.concat([pl.DataFrame([first, second], schema=sales.schema), sales[2:]])


def _of_sales(dice: _Dice, headers: pl.DataFrame) -> pl.DataFrame:
    """Rows that belong to sales, numbered within each; a few to a sale that is not there, a few without their number."""
    rows = _children(dice, pl.Series(np.arange(headers.height)), "sale", "SEQ")
    sales = headers.select(SALE)[rows["sale"]]
    lost = dice.seldom(0.003)
    return sales.with_columns(
        sales["SALE_NO"].zip_with(~lost, dice.codes("LOST{:06d}", 10**6)).alias("SALE_NO"),
        pl.when(pl.lit(dice.seldom(0.002)))
        .then(None)
        .when(pl.lit(dice.seldom(0.002)))
        .then(1)  # twice, unless it is the first
        .otherwise(rows["SEQ"])
        .alias("SEQ"),
    )


def _lines(dice: _Dice, headers: pl.DataFrame) -> pl.DataFrame:
    vat = ("{}_AMT_EXC_VAT", "{}_AMT_VAT", "{}_AMT_INC_VAT")
    return (
        _of_sales(dice, headers)
        .with_columns(
            PROD_SERV_CODE=dice.codes("{:07d}", 5_000),
            PROD_SERV_QTY=decimals(dice.whole(1, 20) * (_BAHT // 4)),
            VAT_RATE=dice.pick((7, 0), (95, 5)),
            SALE_TYPE=dice.pick((1, 2, 3, None, 9), (60, 20, 15, 5, 0.2)),
            UNIT_DISC_PERCENTAGE=dice.money(100),
            TOTAL_DISPLAY_AMT=dice.money(),
            **dice.with_vat("AMT", ("{}_EXC_VAT", "VAT_{}", "{}_INC_VAT")),
            AOT_PRICE_EXC_VAT=dice.money(),
            AOT_PRICE_INC_VAT=dice.money(),
            **dice.with_vat("UNIT", vat),
            **dice.with_vat("UNIT_DISC", ("{}_AMT_EXC_VAT", "{}_VAT_AMT", "{}_INC_VAT_AMT")),
            **dice.with_vat("UNIT_NET", vat),
            **dice.with_vat("TOTAL", vat),
            **dice.with_vat("TOTAL_DISC", ("{}_AMT_EXC_VAT", "{}_VAT_AMT", "{}_AMT_INC_VAT")),
            **dice.with_vat("TOTAL_NET", vat),
        )
        .sample(fraction=1, shuffle=True, seed=dice.rows)
    )


def _payments(dice: _Dice, headers: pl.DataFrame) -> pl.DataFrame:
    return _of_sales(dice, headers).with_columns(
        PAYMENT_CODE=dice.pick(("CASH", "01", "007", None)),
        PAYMENT_AMT=dice.money(),
        CURRENCY_CODE=dice.pick(("THB", "USD", "CNY")),
        EXCHANGE_RATE=dice.money(50),
        CREATE_DATE=dice.moment_texts(),
    )


def _slips(dice: _Dice, headers: pl.DataFrame) -> pl.DataFrame:
    return _of_sales(dice, headers).with_columns(
        BANK_CODE=dice.pick(("002", "KBANK", "ธกส")),
        BANK_AMT=dice.money(),
        CREATE_DATE=dice.moment_texts(),
    )


def _web_sales(dice: _Dice) -> pl.DataFrame:
    number = np.arange(dice.rows)
    rows = pl.DataFrame(
        {
            "WEB_SALE_NO": _numbered(number, "W{:09d}"),
            **{name: part for name, part in dice.shops().items() if name != "BRANCH_CODE"},
            "SALE_DATE": dice.day_texts(),
            "PROD_SERV_CODE": dice.codes("{:07d}", 5_000),
            "PROD_SERV_QTY": decimals(dice.whole(1, 9) * _BAHT),
            "NET_INC_VAT": dice.money(),
            "WEB_URL": _numbered(number, "https://shop.example.com/sale?id={:09d}&lang=ไทย"),
            "CREATE_DATE": dice.moment_texts(),
            "REMARK": dice.pick(_REMARKS, _REMARK_WEIGHTS),
        }
    )
    return _with_twins(rows, dice.rng)


def _approvals(rng: np.random.Generator, sizes: _Sizes) -> dict[str, pl.DataFrame]:
    """Approvals, some of them changed later and there again, and the sales that they cover."""
    dice = _Dice(rng, sizes.small(0.01, 44_560))
    numbers = _numbered(np.arange(dice.rows), "AP_{:07d}")
    again = _Dice(rng, dice.rows + dice.rows // 8)
    chosen = np.concatenate([np.arange(dice.rows), rng.integers(0, dice.rows, dice.rows // 8)])
    shop = {name: part for name, part in again.shops().items() if name != "BRANCH_CODE"}
    heads = pl.DataFrame(
        {
            "APPRV_NO": numbers.gather(chosen),
            **shop,
            "SALE_DATE": again.day_texts(),
            "APPRV_STATUS": again.pick((0, 1, 2, 8), (30, 58, 9, 3)),
            "APPRV_BY": again.pick(("SYSTEM", "ผู้จัดการ", None)),
            "APPRV_DATE": again.moment_texts(),
            "REMARK": again.pick(_REMARKS, _REMARK_WEIGHTS),
            # never the same time twice: which row is the newest must not hang on chance
            "UPDATEDDATE": _times(np.full(again.rows, _FIRST_DAY), rng.permutation(again.rows) * 60),
        }
    )
    part = _Dice(rng, dice.rows * 4)
    details = _children(part, numbers, "APPRV_NO", "SEQ").with_columns(
        BRANCH_CODE=part.shops()["BRANCH_CODE"],
        POS_NO=part.pick(("01", "02", "K1")),
        SALE_NO=part.codes("{:010d}", sizes.headers),
        AMT_INC_VAT=part.money(),
        REMARK=part.pick(_REMARKS, _REMARK_WEIGHTS),
    )
    return {"KPS_T_SALES_APPRV": heads, "KPS_T_SALES_APPRV_DETAIL": details}


def fill(database: Any, rows: Iterable[dict[str, pl.DataFrame]]) -> None:
    """Creates and fills the tables through the driver; what stood in them before is dropped.

    Args:
        database: an open ``oracledb`` connection.
        rows: as :func:`parts` yields them.
    """
    with database.cursor() as cursor:
        cursor.execute("SELECT TABLE_NAME FROM USER_TABLES")
        there = {name for (name,) in cursor.fetchall()}
        for table in TABLES:
            if table in there:
                cursor.execute(f"DROP TABLE {table} PURGE")
        for table in TABLES:
            cursor.execute(_definition(table)[0])
        for part in rows:
            for table, values in part.items():
                binds = ", ".join(f":{n}" for n in range(1, values.width + 1))
                sent = values.to_arrow(compat_level=pl.CompatLevel.oldest())
                cursor.executemany(f"INSERT INTO {table} VALUES ({binds})", sent, batch_size=_ROWS_AT_ONCE)
            database.commit()


def lines_in(database: Any) -> int:
    """The sales lines that the source was filled with; 0 if it has none."""
    with database.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM USER_TABLES WHERE TABLE_NAME = '{LINES}'")
        (tables,) = cursor.fetchone() or (0,)
        if not tables:
            return 0
        cursor.execute(f"SELECT COUNT(*) FROM {LINES}")
        (lines,) = cursor.fetchone() or (0,)
        return int(lines)
