"""Functions on Oracle's own forms (NUMBER bytes, ROWIDs, UTF-16) that DuckDB calls for whole columns at a time."""

from __future__ import annotations

import math
import string
from collections.abc import Callable
from decimal import ROUND_DOWN, ROUND_HALF_UP, Context, Decimal
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from . import rowwise
from .errors import OracleError, unsupported
from .types import MOST_PRECISION
from .values import (
    decimals_from_numbers,
    decode_number,
    encode_number,
    number_text,
    numbers_from_decimals,
    parse_number,
    parse_rowid,
    rowid_text,
    split_number,
    utf16_from_text,
)

_WIDE = Context(prec=120)
_UPPER_SCALE, _LOWER_SCALE = 6, 36
_SURE_DIGITS = 15
_SPECIAL = {"INF": math.inf, "+INF": math.inf, "-INF": -math.inf, "NAN": math.nan}


def register(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the functions known to every connection of the database."""
    for scale in range(MOST_PRECISION + 1):
        decimal = f"DECIMAL(38, {scale})"
        _add(connection, f"number_from_{scale}", numbers_from_decimals, [decimal], "BLOB")
        _add(connection, f"number_to_{scale}", _to(scale), ["BLOB"], decimal)
    two = ["BLOB", "BLOB"]
    _add(connection, "number_add", _pairwise(_WIDE.add), two, "BLOB")
    _add(connection, "number_subtract", _pairwise(_WIDE.subtract), two, "BLOB")
    _add(connection, "number_multiply", _pairwise(_WIDE.multiply), two, "BLOB")
    _add(connection, "number_divide", _pairwise(_divide), two, "BLOB")
    _add(connection, "number_mod", _pairwise(_mod), two, "BLOB")
    _add(connection, "number_round", _pairwise(_round), two, "BLOB")
    _add(connection, "number_trunc", _pairwise(_trunc), two, "BLOB")
    _add(connection, "number_upper", _upper, ["BLOB"], f"DECIMAL(38, {_UPPER_SCALE})")
    _add(connection, "number_lower", _lower, ["BLOB"], f"DECIMAL(38, {_LOWER_SCALE})")
    _add(connection, "number_text", _text, ["BLOB"], "VARCHAR")
    _add(connection, "number_parse", _parse, ["VARCHAR"], "BLOB")
    _add(connection, "number_fit", _fit, ["BLOB", "VARCHAR"], "BLOB")
    _add(connection, "number_significant", _pairwise(_significant), two, "BLOB")
    _add(connection, "number_to_double", _to_double, ["BLOB"], "DOUBLE")
    _add(connection, "number_from_double", _from_double, ["DOUBLE"], "BLOB")
    _add(connection, "double_parse", _each(parse_double, pa.float64()), ["VARCHAR"], "DOUBLE")
    _add(connection, "rowid_text", _each(rowid_text, pa.string()), ["BIGINT"], "VARCHAR")
    _add(connection, "rowid_parse", _each(parse_rowid, pa.int64()), ["VARCHAR"], "BIGINT")
    _add(connection, "raw_parse", _each(parse_raw, pa.binary()), ["VARCHAR"], "BLOB")
    _add(connection, "utf16", utf16_from_text, ["VARCHAR"], "BLOB")
    rowwise.register(connection)


def _add(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    function: Callable[..., pa.Array[Any]],
    parameters: list[str],
    result: str,
) -> None:
    # DuckDB counts the parameters of what it is given, and would evaluate annotations
    vectorised: Any = (
        (lambda column: function(_flat(column)))
        if len(parameters) == 1
        else (lambda left, right: function(_flat(left), _flat(right)))
    )
    types: list[Any] = [*parameters]
    kind: Any = "arrow"  # the enumeration behind this name has moved between DuckDB versions
    connection.create_function(name, vectorised, types, result, type=kind)


def _flat(column: pa.Array[Any] | pa.ChunkedArray[Any]) -> pa.Array[Any]:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _each(function: Callable[[Any], Any], result: pa.DataType) -> Callable[[pa.Array[Any]], pa.Array[Any]]:
    def apply(array: pa.Array[Any]) -> pa.Array[Any]:
        return pa.array([None if value is None else function(value) for value in array.to_pylist()], result)

    return apply


def _to(scale: int) -> Callable[[pa.Array[Any]], pa.Array[Any]]:
    return lambda array: decimals_from_numbers(array, scale)


def _pairwise(
    operation: Callable[[Decimal, Decimal], Decimal],
) -> Callable[[pa.Array[Any], pa.Array[Any]], pa.Array[Any]]:
    def apply(left: pa.Array[Any], right: pa.Array[Any]) -> pa.Array[Any]:
        pairs = zip(left.to_pylist(), right.to_pylist(), strict=True)
        return pa.array(
            [
                None
                if a is None or b is None
                else encode_number(operation(decode_number(a), decode_number(b)))
                for a, b in pairs
            ],
            pa.binary(),
        )

    return apply


def _divide(left: Decimal, right: Decimal) -> Decimal:
    if not right:
        raise OracleError(1476, "divisor is equal to zero")
    return _WIDE.divide(left, right)


def _mod(left: Decimal, right: Decimal) -> Decimal:
    """MOD: the sign of the dividend, and the dividend itself for a zero divisor (SQL Language Reference, "MOD")."""
    return _WIDE.remainder(left, right) if right else left


def _round(value: Decimal, digits: Decimal) -> Decimal:
    return _at_digit(value, digits, ROUND_HALF_UP)


def _trunc(value: Decimal, digits: Decimal) -> Decimal:
    return _at_digit(value, digits, ROUND_DOWN)


def _at_digit(value: Decimal, digits: Decimal, rounding: str) -> Decimal:
    exponent = -int(digits)
    _, _, lowest = value.as_tuple()
    if isinstance(lowest, int) and lowest >= exponent:
        return value
    return value.quantize(Decimal(1).scaleb(exponent), rounding, _WIDE)


def _upper(array: pa.Array[Any]) -> pa.Array[Any]:
    try:
        return split_number(array, _UPPER_SCALE)
    except OracleError:
        raise unsupported("SUM of a number with more than 32 digits before the point") from None


def _lower(array: pa.Array[Any]) -> pa.Array[Any]:
    """Return what `_upper` left out; almost always nothing."""
    if _no_small_digits(array):
        zeros = np.zeros(16 * len(array), dtype=np.uint8)
        return pa.Array.from_buffers(
            pa.decimal128(38, _LOWER_SCALE), len(array), [None, pa.py_buffer(zeros.data)]
        )
    out = []
    for encoded in array.to_pylist():
        value = Decimal(0) if encoded is None else decode_number(encoded)
        rest = _WIDE.subtract(value, value.quantize(Decimal(1).scaleb(-_UPPER_SCALE), ROUND_DOWN, _WIDE))
        if rest != rest.quantize(Decimal(1).scaleb(-_LOWER_SCALE), context=_WIDE):
            raise unsupported(f"SUM of a number with more than {_LOWER_SCALE} decimals")
        out.append(rest)
    return pa.array(out, pa.decimal128(38, _LOWER_SCALE))


def _no_small_digits(array: pa.Array[Any]) -> bool:
    """Tell (quickly) whether every value ends at or before the sixth decimal."""
    whole = split_number(array, _UPPER_SCALE)
    return bool(numbers_from_decimals(whole).equals(array))


def _fit(array: pa.Array[Any], declared: pa.Array[Any]) -> pa.Array[Any]:
    """Round numbers to what NUMBER(precision,scale) keeps; ORA-01438 for more digits before the point."""
    out: list[bytes | None] = []
    for encoded, shape in zip(array.to_pylist(), declared.to_pylist(), strict=True):
        if encoded is None or shape is None:
            out.append(None)
            continue
        precision, scale = (int(part) for part in shape.split(","))
        value = _at_digit(decode_number(encoded), Decimal(scale), ROUND_HALF_UP)
        if value.copy_abs() >= Decimal(1).scaleb(precision - scale, _WIDE):
            raise OracleError(1438, "value larger than specified precision allowed for this column")
        out.append(encode_number(value))
    return pa.array(out, pa.binary())


def _significant(value: Decimal, digits: Decimal) -> Decimal:
    """Round to so many significant decimal digits, as FLOAT does."""
    return _at_digit(value, digits - 1 - value.adjusted(), ROUND_HALF_UP) if value else value


def _to_double(array: pa.Array[Any]) -> pa.Array[Any]:
    return pa.array(
        [None if encoded is None else float(decode_number(encoded)) for encoded in array.to_pylist()],
        pa.float64(),
    )


def _from_double(array: pa.Array[Any]) -> pa.Array[Any]:
    """Return the NUMBER of a BINARY_DOUBLE where there is no doubt about it: where few digits give it exactly."""
    out: list[bytes | None] = []
    for value in array.to_pylist():
        if value is None:
            out.append(None)
            continue
        if not math.isfinite(value):
            raise OracleError(1426, "numeric overflow")
        short = Decimal(repr(value))
        if short != Decimal(value) or len(short.normalize().as_tuple().digits) > _SURE_DIGITS:
            raise unsupported("a BINARY_FLOAT or BINARY_DOUBLE as a NUMBER where it must be rounded")
        out.append(encode_number(short))
    return pa.array(out, pa.binary())


def parse_double(text: str) -> float:
    """Return TO_BINARY_DOUBLE of a text: a number, or INF and NaN in any case (SQL Language Reference)."""
    special = _SPECIAL.get(text.strip(" ").upper())
    return float(parse_number(text)) if special is None else special


def parse_raw(text: str) -> bytes:
    """Return the bytes that hexadecimal digits stand for, as HEXTORAW does; ORA-01465 if they are none."""
    if any(letter not in string.hexdigits for letter in text):
        raise OracleError(1465, "invalid hex number")
    return bytes.fromhex(text if len(text) % 2 == 0 else "0" + text)


def _text(array: pa.Array[Any]) -> pa.Array[Any]:
    return pa.array(
        [None if encoded is None else number_text(decode_number(encoded)) for encoded in array.to_pylist()],
        pa.string(),
    )


def _parse(array: pa.Array[Any]) -> pa.Array[Any]:
    return pa.array(
        [None if text is None else encode_number(parse_number(text)) for text in array.to_pylist()],
        pa.binary(),
    )
