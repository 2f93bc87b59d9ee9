"""Python functions that DuckDB calls for columns of values: dates, formats and texts, row by row.

A NULL argument gives NULL, and so does an empty text as the result. Equal arguments are worked out once.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from functools import lru_cache
from typing import Any

import duckdb
import pyarrow as pa

from . import dates, formats, number_formats, texts
from .dates import today
from .errors import OracleError, unsupported
from .formats import ConversionError
from .values import decode_number, encode_number, parse_number

_REMEMBERED = 20_000
_LONGEST_TEXT = 4000
_FURTHEST = 10**9  # positions and lengths beyond this mean the same as this
_WIDE = Context(prec=120)
_ARROW: dict[str, pa.DataType] = {
    "VARCHAR": pa.string(), "BLOB": pa.binary(), "TIMESTAMP": pa.timestamp("us"), "BIGINT": pa.int64(),
    "INTEGER": pa.int32(), "BOOLEAN": pa.bool_(),
}  # fmt: skip
_T, _N, _D, _I = "VARCHAR", "BLOB", "TIMESTAMP", "BIGINT"


def _readable(read: Callable[[], object]) -> int:
    try:
        read()
    except ConversionError:
        return 0
    except OracleError as error:
        if error.code in (1722, 1426):
            return 0
        raise
    return 1


def _extent(value: Decimal) -> int:
    """Return a position or length: the fraction is dropped."""
    return int(max(min(value, Decimal(_FURTHEST)), Decimal(-_FURTHEST)))


def _power(base: Decimal, exponent: Decimal) -> Decimal:
    """POWER, where it is exact: whole exponents and at most 38 digits."""
    if exponent != int(exponent) or not 0 <= exponent <= 400:
        raise unsupported("POWER with a negative or broken exponent")
    result = Context(prec=2000).power(base, int(exponent))
    if len(result.normalize(Context(prec=2000)).as_tuple().digits) > 38:
        raise unsupported("POWER whose result has more than 38 digits")
    return result


def _root(value: Decimal) -> Decimal:
    """SQRT, where it is exact."""
    if value < 0:
        raise OracleError(1428, f"argument '{value:f}' is out of range")
    root = _WIDE.sqrt(value)
    if _WIDE.multiply(root, root) != value or len(root.as_tuple().digits) > 38:
        raise unsupported("SQRT of a number whose root is not exact")
    return root


def _remainder(left: Decimal, right: Decimal) -> Decimal:
    """REMAINDER: left - right * the whole number nearest their quotient."""
    if not right:
        raise OracleError(1476, "divisor is equal to zero")
    quotient = _WIDE.divide(left, right)
    if _WIDE.remainder(quotient, Decimal(1)).copy_abs() == Decimal("0.5"):
        raise unsupported("REMAINDER half way between two multiples")
    return _WIDE.subtract(left, _WIDE.multiply(right, quotient.to_integral_value(context=_WIDE)))


def _at(text: str, pattern: str, flags: str, start: int, occurrence: int) -> Any:
    """Return the match that REGEXP_SUBSTR and REGEXP_INSTR look for."""
    if start < 1 or occurrence < 1:
        raise OracleError(1428, "argument is out of range")
    found = texts.compiled(pattern, flags, searching=True)
    _no_anchor(pattern, start)
    matches = list(found.finditer(texts.checked(text, pattern), start - 1))
    return matches[occurrence - 1] if len(matches) >= occurrence else None


def _no_anchor(pattern: str, start: int) -> None:
    if start > 1 and "^" in pattern:
        raise unsupported("a regular expression with ^ and a place to begin")


def _regexp_substr(text: str, pattern: str, flags: str, start: int, occurrence: int) -> str | None:
    match = _at(text, pattern, flags, start, occurrence)
    return None if match is None else str(match[0])


def _regexp_instr(text: str, pattern: str, flags: str, start: int, occurrence: int) -> int:
    match = _at(text, pattern, flags, start, occurrence)
    return 0 if match is None else int(match.start()) + 1


def _regexp_count(text: str, pattern: str, flags: str, start: int) -> int:
    _no_anchor(pattern, start)
    found = texts.compiled(pattern, flags, searching=True)
    return len(list(found.finditer(texts.checked(text, pattern), start - 1)))


def _regexp_replace(text: str, pattern: str, flags: str, new: str) -> str:
    found = texts.compiled(pattern, flags, searching=True)
    return texts.short(found.sub(texts.replacement(new), texts.checked(text, pattern)))


def _regexp_like(text: str, pattern: str, flags: str) -> bool:
    return texts.compiled(pattern, flags, searching=False).search(texts.checked(text, pattern)) is not None


def _joined(text: str) -> str:
    """Return what LISTAGG or || gives; ORA-01489 if a VARCHAR2 cannot hold it."""
    if len(text.encode()) > _LONGEST_TEXT:
        raise OracleError(1489, "result of string concatenation is too long")
    return text


def _timestamp_text(moment: datetime.datetime, model: str) -> str:
    return formats.written(moment, model)


def _zoned_text(moment: datetime.datetime, nanos: int, offset: int, model: str) -> str:
    return formats.written(moment, model, nanos, offset)


def _date_text(moment: datetime.datetime, model: str) -> str:
    formats.check_for_output(model, fractions=False)
    return formats.written(moment, model)


_FUNCTIONS: tuple[tuple[str, Callable[..., Any], tuple[str, ...], str], ...] = (
    ("date_text", _date_text, (_D, _T), _T),
    ("timestamp_text", _timestamp_text, (_D, _T), _T),
    ("timestamp_text_zoned", _zoned_text, (_D, _I, _I, _T), _T),
    ("date_read", lambda t, m: formats.read(t, m, today()), (_T, _T), _D),
    ("timestamp_read", lambda t, m: formats.read(t, m, today(), fractions=True), (_T, _T), _D),
    ("date_readable", lambda t, m: _readable(lambda: formats.read(t, m, today())), (_T, _T), "INTEGER"),
    ("timestamp_readable", lambda t, m: _readable(lambda: formats.read(t, m, today(), fractions=True)), (_T, _T), "INTEGER"),
    ("number_readable", lambda t: _readable(lambda: parse_number(t)), (_T,), "INTEGER"),
    ("number_readable_as", lambda t, m: _readable(lambda: number_formats.read(t, m)), (_T, _T), "INTEGER"),
    ("number_written", number_formats.written, (_N, _T), _T),
    ("number_read", number_formats.read, (_T, _T), _N),
    ("number_whole", _extent, (_N,), _I),
    ("number_ceil", lambda v: v.to_integral_value(ROUND_CEILING, _WIDE), (_N,), _N),
    ("number_floor", lambda v: v.to_integral_value(ROUND_FLOOR, _WIDE), (_N,), _N),
    ("number_power", _power, (_N, _N), _N),
    ("number_sqrt", _root, (_N,), _N),
    ("number_remainder", _remainder, (_N, _N), _N),
    ("date_plus", dates.plus_days, (_D, _N), _D),
    ("date_plus_seconds", dates.plus_seconds, (_D, _I), _D),
    ("date_plus_months", dates.plus_months, (_D, _I), _D),
    ("date_minus", dates.days_between, (_D, _D), _N),
    ("date_add_months", dates.add_months, (_D, _I), _D),
    ("date_months_between", dates.months_between, (_D, _D), _N),
    ("date_last_day", dates.last_day, (_D,), _D),
    ("date_next_day", dates.next_day, (_D, _T), _D),
    ("date_trunc_to", dates.truncated, (_D, _T), _D),
    ("date_round_to", dates.rounded, (_D, _T), _D),
    ("text_from", lambda t, s: texts.substring(t, s, None), (_T, _I), _T),
    ("text_part", texts.substring, (_T, _I, _I), _T),
    ("text_from_byte", lambda t, s: texts.substring_bytes(t, s, None), (_T, _I), _T),
    ("text_part_bytes", texts.substring_bytes, (_T, _I, _I), _T),
    ("text_position", texts.position, (_T, _T, _I, _I), _I),
    ("text_lpad", lambda t, w, f: texts.padded(t, w, f, left=True), (_T, _I, _T), _T),
    ("text_rpad", lambda t, w, f: texts.padded(t, w, f, left=False), (_T, _I, _T), _T),
    ("text_joined", _joined, (_T,), _T),
    ("text_short", texts.short, (_T,), _T),
    ("text_initcap", texts.capitalised, (_T,), _T),
    ("text_translate", texts.translated, (_T, _T, _T), _T),
    ("text_code", texts.code_of, (_T,), _I),
    ("text_character", texts.character, (_I,), _T),
    ("text_matches", _regexp_like, (_T, _T, _T), "BOOLEAN"),
    ("text_match", _regexp_substr, (_T, _T, _T, _I, _I), _T),
    ("text_match_place", _regexp_instr, (_T, _T, _T, _I, _I), _I),
    ("text_match_count", _regexp_count, (_T, _T, _T, _I), _I),
    ("text_match_replace", _regexp_replace, (_T, _T, _T, _T), _T),
)  # fmt: skip


def register(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the functions known to every connection of the database."""
    for name, function, parameters, result in _FUNCTIONS:
        kind: Any = "arrow"  # the enumerations behind these names have moved between DuckDB versions
        nulls: Any = "special"  # a result may be NULL where no argument is
        types: list[Any] = [*parameters]
        vectorised = _vectorised(function, parameters, result)
        connection.create_function(name, vectorised, types, result, type=kind, null_handling=nulls)


def _vectorised(function: Callable[..., Any], parameters: tuple[str, ...], result: str) -> Any:
    def encoded(
        day: datetime.date, *values: Any
    ) -> Any:  # what a day without a year means changes with the day
        if None in values:
            return None
        given = [decode_number(v) if kind == _N else v for v, kind in zip(values, parameters, strict=True)]
        answer = function(*given)
        if result == _N:
            return None if answer is None else encode_number(answer)
        return answer if answer != "" else None

    remembered = lru_cache(maxsize=_REMEMBERED)(encoded)

    def apply(*columns: Any) -> pa.Array[Any]:
        rows = zip(*(column.to_pylist() for column in columns), strict=True)
        day = today()
        return pa.array([remembered(day, *row) for row in rows], _ARROW[result])

    return _WITH_PARAMETERS[len(parameters)](apply)


# DuckDB counts the parameters of what it is given
# ruff: noqa: PLW0108
_WITH_PARAMETERS: dict[int, Callable[[Any], Any]] = {
    1: lambda f: lambda a: f(a),
    2: lambda f: lambda a, b: f(a, b),
    3: lambda f: lambda a, b, c: f(a, b, c),
    4: lambda f: lambda a, b, c, d: f(a, b, c, d),
    5: lambda f: lambda a, b, c, d, e: f(a, b, c, d, e),
}
