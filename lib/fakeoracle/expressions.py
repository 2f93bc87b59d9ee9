"""Typed pieces of DuckDB SQL, and Oracle's rules for putting them together.

A NUMBER is either a DuckDB DECIMAL whose width and scale are known, or NUMBER bytes (a BLOB); never a DOUBLE. Where a
DECIMAL result might not hold every digit the bytes are used, so that arithmetic is exact or rounded as Oracle rounds.
BINARY_FLOAT and BINARY_DOUBLE are FLOAT and DOUBLE. Which type wins where two meet is told in Oracle's SQL Language
Reference, "Data Type Comparison Rules"; what would depend on NLS settings is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from . import moments
from .dictionary import literal
from .errors import OracleError, unsupported
from .expr import NULL as NULL  # noqa: PLC0414 - expressions are found here
from .expr import Expr as Expr  # noqa: PLC0414
from .functions import parse_double, parse_raw
from .types import (
    BINARY_DOUBLE,
    BINARY_FLOAT,
    BLOB,
    CLOB,
    LONGEST_BIND,
    MOST_PRECISION,
    NCLOB,
    NUMBER,
    ROWID,
    ZONED,
    OracleType,
    raw_type,
    text_type,
)
from .values import encode_number, number_text, parse_number

_COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")


def decimal_shape(value: Decimal) -> tuple[int, int] | None:
    """Return width and scale of the smallest DECIMAL that holds `value`; None if none does."""
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    scale = max(-exponent, 0)
    width = max(len(digits) + max(exponent, 0), scale, 1)
    return (width, scale) if width <= MOST_PRECISION else None


def number_literal(value: Decimal) -> Expr:
    """Return a number that is written in the SQL."""
    shape = decimal_shape(value)
    if shape is None:
        return Expr(blob_literal(value), NUMBER, nullable=False, constant=value)
    sql = f"CAST('{value:f}' AS DECIMAL({shape[0]}, {shape[1]}))"
    return Expr(sql, NUMBER, shape, nullable=False, constant=value)


def blob_literal(value: Decimal) -> str:
    """Return the NUMBER bytes of `value` as DuckDB text."""
    return "'" + "".join(f"\\x{byte:02X}" for byte in encode_number(value)) + "'::BLOB"


def text_literal(text: str) -> Expr:
    """Return a string that is written in the SQL: CHAR, and NULL if it is empty (SQL Language Reference, "Literals")."""
    if not text:
        return NULL
    return Expr(literal(text), text_type(len(text.encode()), fixed=True), nullable=False, constant=text)


def national_literal(text: str) -> Expr:
    """Return N'text': NCHAR, and NULL if it is empty."""
    if not text:
        return NULL
    kind = text_type(len(text.encode("utf-16-be")) // 2, fixed=True, national=True)
    return Expr(literal(text), kind, nullable=False, constant=text)


def as_blob(number: Expr) -> Expr:
    """Return the number as NUMBER bytes."""
    if number.type is None:
        return Expr("CAST(NULL AS BLOB)", NUMBER)
    if number.decimal is None:
        return number
    if isinstance(number.constant, Decimal):
        return replace(number, sql=blob_literal(number.constant), decimal=None)
    scale = number.decimal[1]
    return replace(
        number,
        sql=f"number_from_{scale}(CAST({number.sql} AS DECIMAL(38, {scale})))",
        decimal=None,
        bind=None,
    )


def as_number(value: Expr) -> Expr:
    """Return a number, converting text as TO_NUMBER does."""
    if value.is_number:
        return value
    if value.type is None:
        return Expr("CAST(NULL AS DECIMAL(1, 0))", NUMBER, (1, 0))
    if value.is_text and isinstance(value.constant, str):
        return number_literal(parse_number(value.constant))
    if value.is_text:
        return Expr(f"number_parse({value.sql})", NUMBER, nullable=value.nullable)
    if value.is_binary_number:
        return Expr(f"number_from_double(CAST({value.sql} AS DOUBLE))", NUMBER, nullable=value.nullable)
    raise OracleError(932, f"inconsistent datatypes: expected NUMBER got {value.shown}")


def as_text(value: Expr) -> Expr:
    """Return text: a number as TO_CHAR without a format gives it, RAW in hexadecimal digits, a ROWID in its 18 characters."""
    if value.is_text:
        return value
    if value.type is None:
        return Expr("CAST(NULL AS VARCHAR)", text_type(1))
    if isinstance(value.constant, Decimal) and value.is_number:
        return replace(text_literal(number_text(value.constant)), type=text_type(40))
    if value.is_number:
        return Expr(f"number_text({as_blob(value).sql})", text_type(40), nullable=value.nullable)
    if value.kind == "raw":
        return Expr(f"hex({value.sql})", text_type(2 * value.type.length), nullable=value.nullable)
    if value.kind == "rowid":
        return Expr(f"rowid_text({value.sql})", text_type(18), nullable=value.nullable)
    if value.is_datetime:
        raise unsupported("text of a DATE or TIMESTAMP without a format (it depends on NLS settings)")
    raise unsupported(f"text of a {value.shown} without TO_CHAR or DBMS_LOB.SUBSTR")


def as_characters(value: Expr) -> Expr:
    """Return text or a CLOB, for functions that take both."""
    return value if value.kind == "clob" else as_text(value)


def as_raw(value: Expr) -> Expr:
    """Return RAW; text is read as hexadecimal digits, ORA-01465 if it is none."""
    if value.kind == "raw":
        return value
    if value.type is None:
        return Expr("CAST(NULL AS BLOB)", raw_type(1))
    if value.is_text:
        if isinstance(value.constant, str):
            raw = parse_raw(value.constant.rstrip(" ") if value.is_padded else value.constant)
            return replace(value, sql=_bytes_literal(raw), type=raw_type(len(raw)), constant=None)
        return Expr(f"raw_parse({value.sql})", raw_type(value.type.size), nullable=value.nullable)
    raise OracleError(932, f"inconsistent datatypes: expected BINARY got {value.shown}")


def _bytes_literal(raw: bytes) -> str:
    return "'" + "".join(f"\\x{byte:02X}" for byte in raw) + "'::BLOB"


def as_rowid(value: Expr) -> Expr:
    """Return a ROWID; text as CHARTOROWID reads it."""
    if value.kind == "rowid":
        return value
    if value.type is None:
        return Expr("CAST(NULL AS BIGINT)", ROWID)
    if value.is_text:
        return Expr(f"rowid_parse({value.sql})", ROWID, nullable=value.nullable)
    raise OracleError(932, f"inconsistent datatypes: expected ROWID got {value.shown}")


def as_binary_number(value: Expr, target: OracleType) -> Expr:
    """Return BINARY_FLOAT or BINARY_DOUBLE, as TO_BINARY_FLOAT and TO_BINARY_DOUBLE do."""
    name = "FLOAT" if target == BINARY_FLOAT else "DOUBLE"
    if value.type is None:
        return Expr(f"CAST(NULL AS {name})", target)
    if value.is_text and isinstance(value.constant, str):
        number = parse_double(value.constant)
        return Expr(_cast_binary(f"'{number!r}'::DOUBLE", target), target, nullable=False)
    if value.is_binary_number:
        sql = value.sql if value.type == target else _cast_binary(value.sql, target)
    elif value.is_number:
        sql = _double_of(value)
        sql = sql if target == BINARY_DOUBLE else _cast_binary(sql, target)
    elif value.is_text:
        sql = f"double_parse({value.sql})"
        sql = sql if target == BINARY_DOUBLE else _cast_binary(sql, target)
    else:
        raise OracleError(932, f"inconsistent datatypes: expected {target.name} got {value.shown}")
    return Expr(sql, target, nullable=value.nullable)


def _cast_binary(sql: str, target: OracleType) -> str:
    """Convert between FLOAT and DOUBLE; what FLOAT cannot hold is infinite, as IEEE 754 rounds."""
    if target == BINARY_DOUBLE:
        return f"CAST({sql} AS DOUBLE)"
    limit = "3.4028235677973366e38::DOUBLE"  # halfway to the number after the largest FLOAT
    return (
        f"CASE WHEN isnan({sql}) THEN 'nan'::FLOAT WHEN {sql} >= {limit} THEN 'inf'::FLOAT "
        f"WHEN {sql} <= -{limit} THEN '-inf'::FLOAT "
        f"ELSE CAST(greatest(least({sql}, 3.4028234663852886e38::DOUBLE), -3.4028234663852886e38::DOUBLE) AS FLOAT) END"
    )


_EXACT_DOUBLE_DIGITS = 15  # a DECIMAL of so many digits becomes the nearest DOUBLE by one exact division


def _double_of(number: Expr) -> str:
    if number.decimal and number.decimal[0] <= _EXACT_DOUBLE_DIGITS:
        return f"CAST({number.sql} AS DOUBLE)"
    return f"number_to_double({as_blob(number).sql})"


def common_binary(values: Sequence[Expr]) -> OracleType | None:
    """Return what numbers are computed in if one of them is a BINARY_FLOAT or BINARY_DOUBLE: the widest of them."""
    types = [value.type for value in values if value.is_binary_number]
    return None if not types else BINARY_DOUBLE if BINARY_DOUBLE in types else BINARY_FLOAT


def unified(values: Sequence[Expr]) -> list[Expr]:
    """Return the values in one common form, for the branches of CASE, COALESCE, DECODE, UNION; ORA-00932 if there is none.

    The first value that is not NULL gives the kind.
    """
    kinds = {value.kind for value in values if value.type is not None}
    if kinds == {"number", "binary"}:
        kinds = {"binary"}
    if kinds == {"text", "clob"}:
        values, kinds = [_as_clob(value) for value in values], {"clob"}
    if len(kinds) > 1:
        raise OracleError(932, "inconsistent datatypes")
    kind = kinds.pop() if kinds else "null"
    if kind == "number":
        return unified_numbers(values)
    if kind == "text":
        return _unified_texts(values)
    if kind == "datetime":
        return _unified_datetimes(values)
    if kind == "binary":
        common = common_binary(values)
        assert common is not None
        return [as_binary_number(value, common) for value in values]
    if kind == "null":
        return list(values)
    return _unified_plain(values)


def _as_clob(value: Expr) -> Expr:
    if not value.is_text:
        return value
    return replace(value, type=NCLOB if value.is_national else CLOB, constant=None, bind=None)


def _unified_datetimes(values: Sequence[Expr]) -> list[Expr]:
    common = moments.common_type([value.type for value in values if value.type])
    null = Expr(f"CAST(NULL AS {common.storage})", common)
    return [
        null if value.type is None else replace(moments.converted(value, common), constant=None, bind=None)
        for value in values
    ]


def _unified_plain(values: Sequence[Expr]) -> list[Expr]:
    """Return RAWs, ROWIDs or LOBs as one type: the longest RAW, NCLOB if any is."""
    types = [value.type for value in values if value.type]
    common = NCLOB if NCLOB in types else max(types, key=lambda kind: kind.length)
    return [
        replace(value, sql=f"CAST({value.sql} AS {common.storage})", type=common, constant=None, bind=None)
        for value in values
    ]


def unified_numbers(values: Sequence[Expr]) -> list[Expr]:
    """Return the numbers all as one DECIMAL type, or all as bytes if no DECIMAL holds them."""
    numbers = [as_number(value) for value in values]
    shapes = [number.decimal for number in numbers]
    known = [shape for shape in shapes if shape]
    if len(known) == len(shapes):
        scale = max(shape[1] for shape in known)
        width = max(shape[0] - shape[1] for shape in known) + scale
        if width <= MOST_PRECISION:
            width = max(width, 1)
            return [
                replace(
                    n,
                    sql=f"CAST({n.sql} AS DECIMAL({width}, {scale}))",
                    type=NUMBER,
                    decimal=(width, scale),
                    bind=None,
                )
                for n in numbers
            ]
    return [replace(as_blob(number), type=NUMBER) for number in numbers]


def _unified_texts(values: Sequence[Expr]) -> list[Expr]:
    texts = [as_text(value) for value in values]
    kinds = [text.type for text, value in zip(texts, values, strict=True) if value.type and text.type]
    national = any(kind.is_national for kind in kinds)
    lengths = {kind.length if national else kind.size for kind in kinds}
    fixed = all(kind.is_fixed and kind.is_national == national for kind in kinds) and len(lengths) == 1
    common = text_type(max(lengths), fixed=fixed, national=national)
    return [replace(text, type=common, constant=None, bind=None) for text in texts]


def text_like(text: Expr, length: int) -> OracleType:
    """Return VARCHAR2 or NVARCHAR2, whichever `text` is, of so many bytes (UTF-16 units)."""
    return text_type(length, national=text.is_national)


def compare(operator: str, left: Expr, right: Expr) -> str:
    """Return a DuckDB condition; NULL compares as unknown in both systems."""
    assert operator in _COMPARISONS
    left, right = comparable(operator, left, right)
    return f"({left.sql} {operator} {right.sql})"


def comparable(operator: str, left: Expr, right: Expr) -> tuple[Expr, Expr]:
    """Return both sides in forms that DuckDB compares as Oracle would.

    A number and a text are compared as numbers (SQL Language Reference, "Implicit Data Conversion").
    """
    kinds = {left.kind, right.kind} - {"null"}
    for side in (left, right):
        if side.is_lob:
            raise OracleError(932, f"inconsistent datatypes: expected - got {side.shown}")
    if "datetime" in kinds:
        if "text" in kinds:
            raise unsupported("comparing a date with a text (it depends on NLS settings)")
        if len(kinds) > 1:
            raise OracleError(932, "inconsistent datatypes: expected DATE got NUMBER")
        return moments.comparable(left, right)
    if "binary" in kinds and kinds <= {"binary", "number", "text"}:
        common = common_binary([left, right])
        assert common is not None
        return as_binary_number(left, common), as_binary_number(right, common)
    if "number" in kinds:
        return _comparable_numbers(as_number(left), as_number(right))
    if "rowid" in kinds:
        return as_rowid(left), as_rowid(right)
    if "raw" in kinds:
        return _comparable_raws(left, right)
    if left.is_padded and right.is_padded:
        return _in_order(operator, _padded(operator, left), _padded(operator, right))
    return _in_order(operator, left, right)


def _comparable_raws(left: Expr, right: Expr) -> tuple[Expr, Expr]:
    for side in (left, right):
        if side.is_text and side.constant is None and side.bind is None:
            raise unsupported("comparing RAW with a text that is neither a literal nor a bind")
    return as_raw(left), as_raw(right)


def _in_order(operator: str, left: Expr, right: Expr) -> tuple[Expr, Expr]:
    """National texts are ordered by their UTF-16 units, not by code points."""
    if operator in ("=", "<>") or not (left.is_national or right.is_national):
        return left, right
    left, right = (replace(side, sql=f"utf16({as_text(side).sql})") for side in (left, right))
    return left, right


def sort_key(value: Expr) -> str:
    """Return what ORDER BY, MIN and MAX go by; ORA-00932 for a LOB."""
    _refuse_lob(value)
    return f"utf16({value.sql})" if value.is_national else moments.instant(value)


def group_key(value: Expr, what: str) -> str:
    """Return what GROUP BY and its like go by; ORA-00932 for a LOB."""
    _refuse_lob(value)
    if value.type is not None and value.type.name == ZONED:
        raise unsupported(f"{what} of TIMESTAMP WITH TIME ZONE (take SYS_EXTRACT_UTC of it)")
    return value.sql


def _refuse_lob(value: Expr) -> None:
    if value.is_lob:
        raise OracleError(932, f"inconsistent datatypes: expected - got {value.shown}")


def _comparable_numbers(left: Expr, right: Expr) -> tuple[Expr, Expr]:
    if left.decimal and right.decimal:
        whole = max(left.decimal[0] - left.decimal[1], right.decimal[0] - right.decimal[1])
        if whole + max(left.decimal[1], right.decimal[1]) <= MOST_PRECISION:
            return left, right
    return as_blob(left), as_blob(right)


def _padded(operator: str, text: Expr) -> Expr:
    """Return CHAR text so that comparing it plainly is comparing it padded with blanks."""
    if operator in ("=", "<>"):
        if isinstance(text.constant, str):
            return replace(text, sql=literal(text.constant.rstrip(" ")))
        return replace(text, sql=f"rtrim({text.sql}, ' ')")
    return replace(text, sql=f"rpad({text.sql}, 2000, ' ')")


def concatenated(left: Expr, right: Expr) -> Expr:
    """Return left || right: NULL counts as nothing, and nothing is NULL; with a CLOB it is a CLOB."""
    left, right = as_characters(left), as_characters(right)
    assert left.type is not None
    assert right.type is not None
    nullable = left.nullable and right.nullable
    if left.is_lob or right.is_lob:
        kind = NCLOB if left.is_national or right.is_national else CLOB
        both = f"({left.sql} IS NULL AND {right.sql} IS NULL)"
        return Expr(f"CASE WHEN NOT {both} THEN concat({left.sql}, {right.sql}) END", kind, nullable=nullable)
    national = left.is_national or right.is_national
    fixed = left.is_padded and right.is_padded and left.is_national == right.is_national
    sizes = [kind.length if national else kind.size for kind in (left.type, right.type)]
    kind = text_type(sum(sizes), fixed=fixed, national=national)
    sql = f"nullif(concat({left.sql}, {right.sql}), '')"
    if sum(sizes) > LONGEST_BIND and not national:
        sql = f"text_joined({sql})"
    return Expr(sql, kind, nullable=nullable)


def _binary_arithmetic(left: Expr, right: Expr, operator: str) -> Expr | None:
    """Return the IEEE 754 result if one side is a BINARY_FLOAT or BINARY_DOUBLE."""
    common = common_binary([left, right])
    if common is None:
        return None
    left, right = as_binary_number(left, common), as_binary_number(right, common)
    sql = f"CAST(({left.sql} {operator} {right.sql}) AS {common.storage})"
    return Expr(sql, common, nullable=left.nullable or right.nullable)


def added(left: Expr, right: Expr, operator: str) -> Expr:
    """Return left + right or left - right of numbers."""
    binary = _binary_arithmetic(left, right, operator)
    if binary:
        return binary
    left, right = as_number(left), as_number(right)
    nullable = left.nullable or right.nullable
    if left.decimal and right.decimal:
        scale = max(left.decimal[1], right.decimal[1])
        width = max(left.decimal[0] - left.decimal[1], right.decimal[0] - right.decimal[1]) + scale + 1
        if width <= MOST_PRECISION:
            return _decimal(f"({left.sql} {operator} {right.sql})", (width, scale), nullable)
    name = "number_add" if operator == "+" else "number_subtract"
    return Expr(f"{name}({as_blob(left).sql}, {as_blob(right).sql})", NUMBER, nullable=nullable)


def multiplied(left: Expr, right: Expr) -> Expr:
    """Return left * right."""
    binary = _binary_arithmetic(left, right, "*")
    if binary:
        return binary
    left, right = as_number(left), as_number(right)
    nullable = left.nullable or right.nullable
    if left.decimal and right.decimal:
        width, scale = left.decimal[0] + right.decimal[0], left.decimal[1] + right.decimal[1]
        if width <= MOST_PRECISION:
            return _decimal(f"({left.sql} * {right.sql})", (width, scale), nullable)
    return Expr(f"number_multiply({as_blob(left).sql}, {as_blob(right).sql})", NUMBER, nullable=nullable)


def divided(left: Expr, right: Expr) -> Expr:
    """Return left / right to as many digits as NUMBER holds; ORA-01476 for a zero divisor."""
    binary = _binary_arithmetic(left, right, "/")
    if binary:
        return binary
    left, right = as_blob(as_number(left)), as_blob(as_number(right))
    return Expr(f"number_divide({left.sql}, {right.sql})", NUMBER, nullable=left.nullable or right.nullable)


def negated(value: Expr) -> Expr:
    """Return -value."""
    if value.is_binary_number:
        return replace(value, sql=f"(-{value.sql})", constant=None, bind=None)
    number = as_number(value)
    if isinstance(number.constant, Decimal):
        return number_literal(number.constant.copy_negate())  # unary minus would round
    if number.decimal:
        return _decimal(f"(-{number.sql})", number.decimal, number.nullable)
    return added(number_literal(Decimal(0)), number, "-")


def _decimal(sql: str, shape: tuple[int, int], nullable: bool) -> Expr:
    return Expr(f"CAST({sql} AS DECIMAL({shape[0]}, {shape[1]}))", NUMBER, shape, nullable=nullable)


def summed(value: Expr, over: str = "") -> Expr:
    """Return SUM(value), exactly; numbers kept as bytes are added in two halves, so that both halves fit."""
    if value.type is not None and value.is_binary_number:
        return replace(value, sql=f"CAST(sum({value.sql}){over} AS {value.type.storage})", nullable=True)
    number = as_number(value)
    if number.decimal:
        scale = number.decimal[1]
        return Expr(f"CAST(sum({number.sql}){over} AS DECIMAL(38, {scale}))", NUMBER, (38, scale))
    upper = f"number_from_6(CAST(sum(number_upper({number.sql})){over} AS DECIMAL(38, 6)))"
    lower = f"number_from_36(CAST(sum(number_lower({number.sql})){over} AS DECIMAL(38, 36)))"
    return Expr(f"number_add({upper}, {lower})", NUMBER)


def stored(value: Expr, target: OracleType, column: str) -> str:
    """Return the DuckDB text that puts `value` into a column of type `target`.

    Numbers are rounded to the column's scale (half away from zero); one that does not fit ends in a conversion error.
    Lengths of texts and RAWs are not checked here.
    """
    if target.is_number:
        return _stored_number(value, target)
    if target.is_binary_number:
        return as_binary_number(value, target).sql
    if target.is_text:
        return _stored_text(value, target)
    if target.is_lob:
        return _stored_lob(value, target)
    if target.name == "RAW":
        return value.sql if value.type == BLOB else as_raw(value).sql
    if target == ROWID:
        return as_rowid(value).sql
    if value.type is None:
        return f"CAST(NULL AS {target.storage})"
    if not value.is_datetime:
        raise unsupported(f"storing {value.kind} in the {target.name} column {column} without a conversion")
    return moments.converted(value, target).sql


def _stored_text(value: Expr, target: OracleType) -> str:
    text = (value if value.kind == "clob" else as_text(value)).sql
    if value.kind == "clob":
        text = f"nullif({text}, '')"
    if not target.is_fixed:
        return f"CAST({text} AS VARCHAR)"
    used = f"length({text})" if target.in_chars else f"strlen({text})"
    if target.is_national:
        used = f"octet_length(utf16({text})) // 2"
    return f"({text} || repeat(' ', greatest({target.length} - {used}, 0)))"


def _stored_lob(value: Expr, target: OracleType) -> str:
    if target == BLOB:
        return value.sql if value.type == BLOB else as_raw(value).sql
    return f"CAST({as_characters(value).sql} AS VARCHAR)"


def _stored_number(value: Expr, target: OracleType) -> str:
    number = as_number(value)
    if target.name == "FLOAT":
        return _stored_float(number, target)
    if target.declared_digits is None:
        return as_blob(number).sql
    precision, declared_scale = target.declared_digits
    if target.decimal and 0 <= declared_scale <= precision:
        width, scale = target.decimal
        if number.decimal:
            return f"CAST({number.sql} AS DECIMAL({width}, {scale}))"
        return f"CAST(number_to_{scale}({number.sql}) AS DECIMAL({width}, {scale}))"
    fitting = f"number_fit({as_blob(number).sql}, '{precision},{declared_scale}')"
    if target.decimal:
        width, scale = target.decimal
        return f"CAST(number_to_{scale}({fitting}) AS DECIMAL({width}, {scale}))"
    return fitting


def _stored_float(number: Expr, target: OracleType) -> str:
    """FLOAT(b) keeps b * 0.30103 decimal digits, rounded up (SQL Language Reference, "FLOAT Data Type")."""
    assert target.precision is not None
    digits = -(-target.precision * 30103 // 100000)
    if number.decimal and number.decimal[0] <= digits:
        return as_blob(number).sql
    return f"number_significant({as_blob(number).sql}, {blob_literal(Decimal(digits))})"


def limited(lob: Expr, sql: str, most: int = LONGEST_BIND) -> str:
    """Return `sql`, text or bytes of a LOB; ORA-22835 if it is longer than a text or RAW may be."""
    words = "ORA-22835: Buffer too small for CLOB to CHAR or BLOB to RAW conversion (actual: "
    size = f"octet_length({sql})" if lob.type == BLOB else f"strlen({sql})"
    message = f"{literal(words)} || {size} || ', maximum: {most})'"
    return f"CASE WHEN {size} > {most} THEN error({message}) ELSE {sql} END"
