"""Bind values: how they come from the wire, and how a statement in DuckDB sees them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from . import expressions as ex
from .errors import unsupported
from .expressions import Expr
from .incoming import as_utf8, check_datetimes
from .types import DATE, NUMBER, TIMESTAMP, text_type
from .values import arrow_from_datetimes, decode_datetime, decode_number

_TEXT_CODES, _NUMBER_CODE, _DATE_CODE, _TIMESTAMP_CODE = (1, 96, 8), 2, 12, 180


@dataclass(frozen=True)
class BindColumn:
    """The values of one bind, one for each execution: NUMBER or datetime bytes, or UTF-8 text."""

    kind: str
    values: list[bytes | None]

    @classmethod
    def of(cls, code: int, form: int, values: list[bytes | None]) -> BindColumn:
        """Take over bind values from the wire; `code` is the data type, `form` 2 means UTF-16."""
        if code in _TEXT_CODES:
            return cls("text", as_utf8(values, national=form == 2))
        kind = {_NUMBER_CODE: "number", _DATE_CODE: "date", _TIMESTAMP_CODE: "timestamp"}.get(code)
        if kind is None:
            raise unsupported(f"binds of data type {code}")
        if kind != "number":
            check_datetimes(values)
        return cls(kind, values)

    @property
    def is_null(self) -> bool:
        """Whether every value is NULL; the driver binds those as text whatever they are meant for."""
        return not any(value is not None for value in self.values)

    def shape(self) -> tuple[str, int, int]:
        """Return what a plan depends on: the kind and, of numbers, the digits before and after the point."""
        if self.kind == "text" and self.is_null:
            return ("null", 0, 0)
        if self.kind != "number":
            return (self.kind, 0, 0)
        shapes = [ex.decimal_shape(decode_number(v)) for v in self.values if v is not None]
        if any(shape is None for shape in shapes):
            return ("number", -1, -1)
        whole = max((shape[0] - shape[1] for shape in shapes if shape), default=1)
        scale = max((shape[1] for shape in shapes if shape), default=0)
        return ("number", whole, scale) if whole + scale <= 38 else ("number", -1, -1)

    def parameter(self, row: int, *, as_bytes: bool) -> Any:
        """Return one value as DuckDB takes it."""
        value = self.values[row]
        if value is None:
            return None
        if self.kind == "text":
            return value.decode()
        if self.kind == "number":
            # as text: DuckDB turns a Decimal with more than 37 digits behind the point into a DOUBLE
            return value if as_bytes else f"{decode_number(value):f}"
        return decode_datetime(value)

    def arrow(self) -> pa.Array[Any]:
        """Return all values as an Arrow column; numbers stay bytes."""
        if self.kind == "number":
            return pa.array(self.values, pa.binary())
        if self.kind == "text":
            return pa.array(self.values, pa.binary()).cast(pa.string())
        return arrow_from_datetimes(self.values)


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
    if kind == "text":
        return Expr(f"CAST({name} AS VARCHAR)", text_type(4000), bind=number)
    return Expr(f"CAST({name} AS TIMESTAMP)", DATE if kind == "date" else TIMESTAMP, bind=number)


def bind_column(number: int, column: BindColumn) -> Expr:
    """Return a bind as a bulk INSERT sees it: a column of the relation `binds`."""
    if column.kind == "text" and column.is_null:
        return ex.NULL
    kinds = {"number": NUMBER, "text": text_type(4000), "date": DATE, "timestamp": TIMESTAMP}
    return Expr(f"binds.b{number}", kinds[column.kind], bind=number)


def bind_values(sql: str, binds: Sequence[BindColumn], row: int) -> dict[str, Any]:
    """Return the parameters that `sql` mentions."""
    out = {}
    for number, column in enumerate(binds):
        used = re.search(rf"\$b{number} AS (\w+)", sql)
        if used:
            out[f"b{number}"] = column.parameter(row, as_bytes=used[1] == "BLOB")
    return out
