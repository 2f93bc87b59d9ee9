"""Bind values: how they come from the wire, and how a statement in DuckDB sees them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from . import expressions as ex
from .errors import unsupported
from .expressions import Expr
from .incoming import as_utf8, check_datetimes
from .types import (
    BINARY_DOUBLE,
    BINARY_FLOAT,
    BLOB,
    CLOB,
    DATE,
    LOCAL,
    LONGEST_BIND,
    NCLOB,
    NUMBER,
    TIMESTAMP,
    ZONED,
    OracleType,
    moment_type,
    raw_type,
    text_type,
)
from .values import (
    arrow_from_binary_numbers,
    arrow_from_datetimes,
    decode_datetime,
    decode_number,
    moment_number,
    nanos_from_datetimes,
)

_TEXT_CODES, _RAW_CODES, _LOB_CODES = (1, 96, 8), (23, 24), (112, 113)
_KINDS = {
    2: "number",
    3: "number",
    12: "date",
    100: "float",
    101: "double",
    180: "timestamp",
    181: "zoned",
    231: "local",
}
_NANOSECONDS = ("nanos", "zoned", "local")
_NATIONAL_FORM = 2
_MOMENTS = {
    "date": DATE, "timestamp": TIMESTAMP, "nanos": moment_type("TIMESTAMP", 9), "zoned": moment_type(ZONED, 9),
    "local": moment_type(LOCAL, 9),
}  # fmt: skip
_TYPES: dict[str, OracleType] = {
    **_MOMENTS, "number": NUMBER, "text": text_type(LONGEST_BIND), "float": BINARY_FLOAT, "double": BINARY_DOUBLE,
    "national": text_type(LONGEST_BIND, national=True), "raw": raw_type(2000), "clob": CLOB, "nclob": NCLOB, "blob": BLOB,
}  # fmt: skip


def refuse_bind(code: int) -> None:
    """ORA-03001 for a data type that cannot be bound; known before its values are read."""
    if code not in _TEXT_CODES and code not in _RAW_CODES and code not in _LOB_CODES and code not in _KINDS:
        raise unsupported(f"binds of data type {code}")


@dataclass(frozen=True)
class BindColumn:
    """The values of one bind, one for each execution: bytes as Oracle encodes them, or UTF-8 text.

    `kind` is text, national, raw, number, float, double, date, timestamp, nanos (a timestamp with more than six digits),
    zoned, local, or, for texts and RAWs that only a LOB can hold, clob, nclob and blob.
    """

    kind: str
    values: list[bytes | None]

    @classmethod
    def of(cls, code: int, form: int, values: list[bytes | None]) -> BindColumn:
        """Take over bind values from the wire; `code` is the data type, `form` 2 means UTF-16."""
        refuse_bind(code)
        if code in _LOB_CODES:
            if any(value is not None for value in values):
                raise unsupported("LOB locators as binds (bind str or bytes, without setinputsizes)")
            return cls("text", values)
        if code in _TEXT_CODES:
            kind = _sized(values, *(("national", "nclob") if form == _NATIONAL_FORM else ("text", "clob")))
            return cls(kind, as_utf8(values, national=form == _NATIONAL_FORM))
        if code in _RAW_CODES:
            return cls(_sized(values, "raw", "blob"), values)
        kind = _KINDS[code]
        if kind in _MOMENTS:
            check_datetimes(values)
        if kind == "timestamp" and any(
            v is not None and int.from_bytes(v[7:11], "big") % 1000 for v in values
        ):
            kind = "nanos"
        return cls(kind, values)

    @property
    def is_null(self) -> bool:
        """Whether every value is NULL; the driver binds those as text whatever they are meant for."""
        return not any(value is not None for value in self.values)

    def shape(self) -> tuple[str, int, int]:
        """Return what a plan depends on: the kind and, of numbers, the digits before and after the point."""
        if self.kind in _BOUND_AS_NULL and self.is_null:
            return ("null", 0, 0)
        if self.kind != "number":
            return (self.kind, 0, 0)
        shapes = [ex.decimal_shape(decode_number(v)) for v in self.values if v is not None]
        if any(shape is None for shape in shapes):
            return ("number", -1, -1)
        whole = max((shape[0] - shape[1] for shape in shapes if shape), default=1)
        scale = max((shape[1] for shape in shapes if shape), default=0)
        return ("number", whole, scale) if whole + scale <= 38 else ("number", -1, -1)

    def one(self, row: int) -> BindColumn:
        """Return the bind of a single execution."""
        return replace(self, values=[self.values[row]])

    def parameter(self, row: int, *, as_bytes: bool) -> Any:
        """Return one value as DuckDB takes it."""
        value = self.values[row]
        if value is None:
            return None
        if self.kind in _TEXT_KINDS:
            return value.decode()
        if self.kind == "number":
            # as text: DuckDB turns a Decimal with more than 37 digits behind the point into a DOUBLE
            return value if as_bytes else f"{decode_number(value):f}"
        if self.kind in _RAW_KINDS:
            return value
        if self.kind in ("float", "double"):
            return arrow_from_binary_numbers([value], double=self.kind == "double")[0].as_py()
        if self.kind in _NANOSECONDS:
            return moment_number(value, zoned=self.kind == "zoned")
        return decode_datetime(value)

    def arrow(self) -> pa.Array[Any]:
        """Return all values as an Arrow column; numbers stay bytes."""
        if self.kind == "number" or self.kind in _RAW_KINDS:
            return pa.array(self.values, pa.binary())
        if self.kind in _TEXT_KINDS:
            return pa.array(self.values, pa.binary()).cast(pa.string())
        if self.kind in ("float", "double"):
            return arrow_from_binary_numbers(self.values, double=self.kind == "double")
        if self.kind in _NANOSECONDS:
            return nanos_from_datetimes(self.values, zoned=self.kind == "zoned")
        return arrow_from_datetimes(self.values)


_TEXT_KINDS, _RAW_KINDS = ("text", "national", "clob", "nclob"), ("raw", "blob")
_BOUND_AS_NULL = ("text", "national", "raw")


def _sized(values: list[bytes | None], short: str, long: str) -> str:
    """Return what kind of bind values are: LOBs if one is longer than a text or RAW may be."""
    longest = max((len(value) for value in values if value is not None), default=0)
    return long if longest > LONGEST_BIND else short


def bind_parameter(number: int, shape: tuple[str, int, int]) -> Expr:
    """Return a bind as a query sees it: a named parameter with a type."""
    kind, whole, scale = shape
    name = f"$b{number}"
    if kind == "null":
        return ex.NULL
    if kind == "number":
        if whole < 0:
            return Expr(f"CAST({name} AS BLOB)", NUMBER, bind=number)
        width = max(whole + scale, 1)
        return Expr(f"CAST({name} AS DECIMAL({width}, {scale}))", NUMBER, (width, scale), bind=number)
    return Expr(f"CAST({name} AS {_TYPES[kind].storage})", _TYPES[kind], bind=number)


def bind_column(number: int, column: BindColumn) -> Expr:
    """Return a bind as a bulk INSERT sees it: a column of the relation `binds`."""
    if column.kind in _BOUND_AS_NULL and column.is_null:
        return ex.NULL
    sql = f"binds.b{number}"
    if column.kind in _NANOSECONDS:
        sql = f"CAST({sql} AS HUGEINT)"
    return Expr(sql, _TYPES[column.kind], bind=number)


def bind_values(sql: str, binds: Sequence[BindColumn], row: int) -> dict[str, Any]:
    """Return the parameters that `sql` mentions."""
    out = {}
    for number, column in enumerate(binds):
        used = re.search(rf"\$b{number} AS (\w+)", sql)
        if used:
            out[f"b{number}"] = column.parameter(row, as_bytes=used[1] == "BLOB")
    return out
