"""Typed pieces of DuckDB SQL, and Oracle's rules for putting them together.

A number is either a DuckDB DECIMAL whose width and scale are known, or NUMBER bytes (a BLOB); never a DOUBLE. Where a
DECIMAL result might not hold every digit the bytes are used, so that arithmetic is exact or rounded as Oracle rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from .dictionary import literal
from .errors import OracleError, unsupported
from .types import DATE, MOST_PRECISION, NUMBER, OracleType, text_type
from .values import encode_number, number_text, parse_number

_COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")


@dataclass(frozen=True)
class Expr:
    """One expression: DuckDB text and Oracle type (None: the literal NULL).

    `decimal` is (width, scale) of a number held as DECIMAL, None for one held as NUMBER bytes; `constant` is the value
    of a literal; `bind` the place of a bind that stands alone.
    """

    sql: str
    type: OracleType | None
    decimal: tuple[int, int] | None = None
    nullable: bool = True
    constant: Decimal | str | None = None
    bind: int | None = None

    @property
    def is_number(self) -> bool:
        """Whether it is a NUMBER."""
        return self.type is not None and self.type.is_number

    @property
    def is_text(self) -> bool:
        """Whether it is VARCHAR2 or CHAR."""
        return self.type is not None and self.type.is_text

    @property
    def is_datetime(self) -> bool:
        """Whether it is DATE or TIMESTAMP."""
        return self.type is not None and self.type.is_datetime

    @property
    def is_padded(self) -> bool:
        """Whether it is CHAR: compared as if padded with blanks to the same length."""
        return self.type is not None and self.type.name == "CHAR"

    @property
    def kind(self) -> str:
        """What it can be put together with."""
        if self.type is None:
            return "null"
        return "number" if self.is_number else "text" if self.is_text else "datetime"


NULL = Expr("NULL", None)


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
    if isinstance(value.constant, str):
        return number_literal(parse_number(value.constant))
    if value.is_text:
        return Expr(f"number_parse({value.sql})", NUMBER, nullable=value.nullable)
    raise OracleError(932, "inconsistent datatypes: expected NUMBER got DATE")


def as_text(value: Expr) -> Expr:
    """Return text, converting a number as TO_CHAR without a format does."""
    if value.is_text:
        return value
    if value.type is None:
        return Expr("CAST(NULL AS VARCHAR)", text_type(1))
    if isinstance(value.constant, Decimal):
        return replace(text_literal(number_text(value.constant)), type=text_type(40))
    if value.is_number:
        return Expr(f"number_text({as_blob(value).sql})", text_type(40), nullable=value.nullable)
    raise unsupported("text of a DATE or TIMESTAMP without a format (it depends on NLS settings)")


def unified(values: Sequence[Expr]) -> list[Expr]:
    """Return the values in one common form, for the branches of CASE, COALESCE, DECODE, UNION; ORA-00932 if there is none.

    The first value that is not NULL gives the kind.
    """
    kinds = {value.kind for value in values if value.type is not None}
    if len(kinds) > 1:
        raise OracleError(932, "inconsistent datatypes")
    kind = kinds.pop() if kinds else "null"
    if kind == "number":
        return unified_numbers(values)
    if kind == "text":
        return _unified_texts(values)
    if kind == "datetime":
        names = {value.type.name for value in values if value.type}
        common = DATE if names == {"DATE"} else OracleType("TIMESTAMP", scale=6)
        return [
            replace(v, sql=f"CAST({v.sql} AS TIMESTAMP)", type=common, constant=None, bind=None)
            for v in values
        ]
    return list(values)


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
    lengths = {kind.size for kind in kinds}
    fixed = all(kind.name == "CHAR" for kind in kinds) and len(lengths) == 1
    common = text_type(max(lengths), fixed=fixed)
    return [replace(text, type=common, constant=None, bind=None) for text in texts]


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
    if "datetime" in kinds and len(kinds) > 1:
        if "text" in kinds:
            raise unsupported("comparing a date with a text (it depends on NLS settings)")
        raise OracleError(932, "inconsistent datatypes: expected DATE got NUMBER")
    if "number" in kinds:
        return _comparable_numbers(as_number(left), as_number(right))
    if left.is_padded and right.is_padded:
        return _padded(operator, left), _padded(operator, right)
    return left, right


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
    """Return left || right: NULL counts as nothing, and nothing is NULL."""
    left, right = as_text(left), as_text(right)
    assert left.type is not None
    assert right.type is not None
    fixed = left.is_padded and right.is_padded
    kind = text_type(left.type.size + right.type.size, fixed=fixed)
    return Expr(
        f"nullif(concat({left.sql}, {right.sql}), '')", kind, nullable=left.nullable and right.nullable
    )


def added(left: Expr, right: Expr, operator: str) -> Expr:
    """Return left + right or left - right of numbers."""
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
    left, right = as_number(left), as_number(right)
    nullable = left.nullable or right.nullable
    if left.decimal and right.decimal:
        width, scale = left.decimal[0] + right.decimal[0], left.decimal[1] + right.decimal[1]
        if width <= MOST_PRECISION:
            return _decimal(f"({left.sql} * {right.sql})", (width, scale), nullable)
    return Expr(f"number_multiply({as_blob(left).sql}, {as_blob(right).sql})", NUMBER, nullable=nullable)


def divided(left: Expr, right: Expr) -> Expr:
    """Return left / right to as many digits as NUMBER holds; ORA-01476 for a zero divisor."""
    left, right = as_blob(as_number(left)), as_blob(as_number(right))
    return Expr(f"number_divide({left.sql}, {right.sql})", NUMBER, nullable=left.nullable or right.nullable)


def negated(value: Expr) -> Expr:
    """Return -value."""
    number = as_number(value)
    if isinstance(number.constant, Decimal):
        return number_literal(-number.constant)
    if number.decimal:
        return _decimal(f"(-{number.sql})", number.decimal, number.nullable)
    return added(number_literal(Decimal(0)), number, "-")


def _decimal(sql: str, shape: tuple[int, int], nullable: bool) -> Expr:
    return Expr(f"CAST({sql} AS DECIMAL({shape[0]}, {shape[1]}))", NUMBER, shape, nullable=nullable)


def summed(value: Expr, over: str = "") -> Expr:
    """Return SUM(value), exactly; numbers kept as bytes are added in two halves, so that both halves fit."""
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
    Lengths of texts are not checked here.
    """
    if target.is_number:
        return _stored_number(value, target)
    if target.is_text:
        text = as_text(value).sql
        if target.name == "CHAR":
            used = f"length({text})" if target.in_chars else f"strlen({text})"
            return f"({text} || repeat(' ', greatest({target.length} - {used}, 0)))"
        return f"CAST({text} AS VARCHAR)"
    if value.type is None:
        return "CAST(NULL AS TIMESTAMP)"
    if not value.is_datetime:
        raise unsupported(f"storing {value.kind} in the {target.name} column {column} without a conversion")
    if target.name == "DATE":
        if value.type.name == "DATE":
            return value.sql
        return _whole_seconds(value.sql)
    digits = target.scale if target.scale is not None else 6
    return value.sql if digits >= 6 else _rounded_seconds(value.sql, 10 ** (6 - digits))


def _stored_number(value: Expr, target: OracleType) -> str:
    number = as_number(value)
    if target.precision is None or target.scale is None:
        return as_blob(number).sql
    width, scale = target.decimal or (0, 0)
    if not width or target.scale < 0 or target.precision < target.scale:
        raise unsupported(f"storing a number as {target.declaration()}")
    if number.decimal:
        return f"CAST({number.sql} AS DECIMAL({width}, {scale}))"
    return f"CAST(number_to_{scale}({number.sql}) AS DECIMAL({width}, {scale}))"


def _whole_seconds(sql: str) -> str:
    problem = literal(
        "ORA-03001: unimplemented feature (fakeoracle): storing fractions of a second in a DATE column"
    )
    return f"CASE WHEN {sql} = date_trunc('second', {sql}) THEN {sql} WHEN {sql} IS NOT NULL THEN error({problem}) END"


def _rounded_seconds(sql: str, unit: int) -> str:
    shift = 10**18  # keeps the sum positive, so that // rounds down
    return f"make_timestamp((epoch_us({sql}) + {shift} + {unit // 2}) // {unit} * {unit} - {shift})"
