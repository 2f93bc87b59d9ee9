"""Scalar functions by name: to add one is to add an entry with its number of arguments, and a short function.

A function that is not here is refused by name. All rules are from the SQL Language Reference, "Functions".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from sqlglot import exp

from . import conversions, formats, moments, number_formats
from . import expressions as ex
from .dictionary import literal
from .errors import OracleError, unsupported
from .expressions import Expr
from .scopes import CALL, Expressions, Scope
from .ttc import CLIENT_CONTEXT
from .types import DATE, LONGEST_BIND, NUMBER, TIMESTAMP, moment_type, text_type

_INTEGER = (19, 0)
_BIGINT_DIGITS = 18
_TIMESTAMP_9 = moment_type("TIMESTAMP", 9)
_OPEN_FORMAT = 255  # bytes that a TO_CHAR whose format is not written in the SQL is described with


@dataclass(frozen=True)
class Call:
    """One call: its name and arguments, and where they are translated."""

    name: str
    nodes: list[Any]
    within: Expressions
    scope: Scope

    def __len__(self) -> int:
        return len(self.nodes)

    def value(self, place: int) -> Expr:
        """Translate an argument."""
        return self.within.expression(self.nodes[place], self.scope)

    def text(self, place: int) -> Expr:
        """Translate an argument as text."""
        return ex.as_text(self.value(place))

    def number(self, place: int) -> Expr:
        """Translate an argument as NUMBER bytes."""
        return ex.as_blob(self.decimal(place))

    def decimal(self, place: int) -> Expr:
        """Translate an argument as a NUMBER; BINARY_FLOAT and BINARY_DOUBLE, which would stay what they are, are refused."""
        value = self.value(place)
        if value.is_binary_number:
            raise unsupported(f"{self.name} of BINARY_FLOAT and BINARY_DOUBLE")
        return ex.as_number(value)

    def date(self, place: int) -> Expr:
        """Translate an argument that has to be a DATE.

        A TIMESTAMP is taken as its own clock shows it and without its fraction, as Oracle does.
        """
        value = self.value(place)
        if value.type is None:
            return Expr("CAST(NULL AS TIMESTAMP)", DATE)
        if not value.is_datetime:
            raise unsupported(f"{self.name} of {value.kind} (it depends on NLS settings)")
        sql = value.sql if value.type == DATE else f"date_trunc('second', {moments.clock(value).sql})"
        return replace(value, sql=sql, type=DATE, bind=None)

    def whole(self, place: int, default: int | None = None) -> Expr:
        """Translate an argument as a whole number (a BIGINT); its fraction is dropped."""
        if place >= len(self.nodes):
            return Expr(f"CAST({default} AS BIGINT)", NUMBER, constant=Decimal(default or 0))
        value = ex.as_number(self.value(place))
        if isinstance(value.constant, Decimal) and abs(value.constant) < 10**9:
            return replace(value, sql=f"CAST({int(value.constant)} AS BIGINT)")
        return replace(value, sql=f"number_whole({ex.as_blob(value).sql})", constant=None)

    def constant(self, place: int) -> Decimal | str | None:
        """Return an argument that is written in the SQL; None if it is not."""
        return self.value(place).constant if place < len(self.nodes) else None


Handler = Callable[[Call], Expr]


@dataclass(frozen=True)
class _Function:
    handler: Handler
    least: int
    most: int


FUNCTIONS: dict[str, _Function] = {}


def _function(*names: str, least: int, most: int) -> Callable[[Handler], Handler]:
    def enter(handler: Handler) -> Handler:
        for name in names:
            FUNCTIONS[name] = _Function(handler, least, most)
        return handler

    return enter


def called(node: exp.Anonymous, within: Expressions, scope: Scope) -> Expr:
    """Translate a call; ORA-00909, 00938 or 00939 for a wrong number of arguments."""
    return call_named(str(node.this).upper().removeprefix(CALL.upper()), node.expressions, within, scope)


def call_named(name: str, nodes: list[Any], within: Expressions, scope: Scope) -> Expr:
    """Translate a call of the function `name`, the name of its package before it if it has one."""
    function = FUNCTIONS.get(name)
    if function is None:
        raise unsupported(f"function {name}")
    given = len(nodes)
    if not function.least <= given <= function.most:
        if function.least == function.most:
            raise OracleError(909, "invalid number of arguments")
        if given < function.least:
            raise OracleError(938, "not enough arguments for function")
        raise OracleError(939, "too many arguments for function")
    return function.handler(Call(name, nodes, within, scope))


def _converted(call: Call) -> Expr:
    """A function of `conversions`, which works on translated values."""
    function, _, _ = conversions.FUNCTIONS[call.name]
    return function(*(call.value(place) for place in range(len(call))))


FUNCTIONS.update(
    {name: _Function(_converted, least, most) for name, (_, least, most) in conversions.FUNCTIONS.items()}
)


def _text(sql: str, size: int, *, nullable: bool = True) -> Expr:
    return Expr(sql, text_type(size), nullable=nullable)


def _size(value: Expr) -> int:
    return value.type.size if value.type else 1


def _length_of(text: Expr) -> int:
    """Return the longest a text can be, as its type counts: bytes, or UTF-16 units of a national one."""
    assert text.type is not None
    return text.type.length if text.is_national else text.type.size


def _like(text: Expr, sql: str, most: int) -> Expr:
    """Return a text made of another: national if that is, a LOB if that is; `most` as its type counts."""
    return Expr(sql, text.type if text.is_lob else ex.text_like(text, most))


def choice(tests: list[str], results: list[Expr]) -> Expr:
    """Return CASE WHEN tests THEN results; the last result is the one for ELSE."""
    common = ex.unified(results)
    branches = [f"WHEN {test} THEN {result.sql}" for test, result in zip(tests, common, strict=False)]
    sql = f"CASE {' '.join(branches)} ELSE {common[-1].sql} END"
    nullable = any(result.nullable for result in results)
    return replace(common[0], sql=sql, nullable=nullable, constant=None, bind=None)


def _like_first(values: list[Expr]) -> list[Expr]:
    """Convert text to number or number to text, whichever the first value is."""
    first = next((value for value in values if value.type), None)
    if first is None:
        return values
    if first.is_text:
        return [v if v.type is None else ex.as_characters(v) for v in values]
    if first.is_number or first.is_binary_number:
        return [ex.as_number(v) if v.is_text else v for v in values]
    return values


# --- choosing --------------------------------------------------------------------------------------------------------


def _first_there(values: list[Expr]) -> Expr:
    common = ex.unified(values)
    kind = common[0].type
    if kind is not None and kind.is_text:
        kind = ex.text_like(common[0], kind.length)
    sql = f"coalesce({', '.join(value.sql for value in common)})"
    nullable = all(value.nullable for value in values)
    return replace(common[0], sql=sql, type=kind, nullable=nullable, constant=None, bind=None)


@_function("NVL", least=2, most=2)
def _nvl(call: Call) -> Expr:
    values = [call.value(0), call.value(1)]
    return _first_there(_like_first(values) if values[0].type else values)


@_function("COALESCE", least=2, most=65535)
def _coalesce(call: Call) -> Expr:
    return _first_there([call.value(place) for place in range(len(call))])


@_function("NVL2", least=3, most=3)
def _nvl2(call: Call) -> Expr:
    subject, there, missing = (call.value(place) for place in range(3))
    return choice([f"({subject.sql} IS NOT NULL)"], _like_first([there, missing]))


@_function("NULLIF", least=2, most=2)
def _nullif(call: Call) -> Expr:
    left, right = call.value(0), call.value(1)
    if left.type is None:
        raise OracleError(932, "inconsistent datatypes: expected - got CHAR")
    kinds = {left.kind, right.kind} - {"null"}
    if len(kinds) > 1 and kinds != {"number", "binary"}:
        raise OracleError(932, "inconsistent datatypes")
    sql = f"CASE WHEN {ex.compare('=', left, right)} THEN NULL ELSE {left.sql} END"
    return replace(left, sql=sql, nullable=True, constant=None, bind=None)


def _unpadded(value: Expr) -> Expr:
    """Return a value as text that is compared as it is, a CHAR with its blanks."""
    text = ex.as_text(value)
    return replace(text, type=ex.text_like(text, _length_of(text)))


@_function("DECODE", least=3, most=255)
def _decode(call: Call) -> Expr:
    subject, *rest = [call.value(place) for place in range(len(call))]
    pairs, default = rest[: len(rest) // 2 * 2], (rest[-1] if len(rest) % 2 else ex.NULL)
    tests = []
    for value in (subject, *pairs[0::2]):
        ex.sort_key(value)  # a LOB cannot be compared
    as_text = pairs[0].is_text  # everything is converted to the type of the first search value
    for search in pairs[0::2]:  # DECODE takes two NULLs for equal, and compares texts without padding
        texts = as_text or (subject.is_text and search.is_text)
        both = (_unpadded(subject), _unpadded(search)) if texts else (subject, search)
        left, right = ex.comparable("=", *both)
        tests.append(f"({left.sql} IS NOT DISTINCT FROM {right.sql})")
    results = [*pairs[1::2], default]
    if results[0].type is None or results[0].is_text:
        results = [value if value.type is None else ex.as_characters(value) for value in results]
        if any(value.type for value in results):
            found = choice(tests, results)
            return found if found.is_lob else replace(found, type=ex.text_like(found, _length_of(found)))
    return choice(tests, results if results[0].type is None else _like_first(results))


@_function("GREATEST", "LEAST", least=1, most=65535)
def _extreme(call: Call) -> Expr:
    """NULL if any value is; texts are compared without padding."""
    values = ex.unified(_like_first([call.value(place) for place in range(len(call))]))
    kind = values[0].type
    if kind and kind.is_text:
        if kind.is_national:
            raise unsupported(f"{call.name} of national texts")
        kind = text_type(kind.size)
    for value in values:
        ex.sort_key(value)
    if kind and kind.storage == "BLOB" and values[0].decimal is None:
        operator = ">=" if call.name == "GREATEST" else "<="
        best = values[0].sql
        for value in values[1:]:
            best = f"(CASE WHEN {best} {operator} {value.sql} THEN {best} ELSE {value.sql} END)"
    else:
        best = f"{call.name.lower()}({', '.join(value.sql for value in values)})"
    missing = " OR ".join(f"{value.sql} IS NULL" for value in values)
    sql = f"CASE WHEN {missing} THEN NULL ELSE {best} END"
    return replace(values[0], sql=sql, type=kind, nullable=True, constant=None, bind=None)


# --- conversions -----------------------------------------------------------------------------------------------------


def _model(call: Call, place: int, check: Callable[[str], object]) -> Expr:
    """Translate a format; one that is written in the SQL is checked at once."""
    model = call.value(place)
    if isinstance(model.constant, str):
        check(model.constant)
    return ex.as_text(model)


@_function("TO_CHAR", least=1, most=3)
def _to_char(call: Call) -> Expr:
    value = call.value(0)
    if len(call) == 3:
        raise unsupported("TO_CHAR with NLS parameters")
    if len(call) == 1 or value.type is None:
        return conversions.to_char(value)
    if value.is_datetime:
        return _date_text(call, value)
    if value.is_text and isinstance(value.constant, str):
        value = ex.as_number(value)
    if not value.is_number:
        raise unsupported(f"TO_CHAR of {value.kind} with a format")
    model = _model(call, 1, number_formats.number_model)
    size = (
        number_formats.number_model(model.constant).width if isinstance(model.constant, str) else _OPEN_FORMAT
    )
    return _text(f"number_written({ex.as_blob(value).sql}, {model.sql})", size)


def _date_text(call: Call, value: Expr) -> Expr:
    assert value.type is not None
    fractions, zone = value.type != DATE, value.type.is_instant
    model = _model(call, 1, lambda text: formats.check_for_output(text, fractions=fractions, zone=zone))
    pattern = model.constant
    if not isinstance(pattern, str):
        if fractions:
            raise unsupported("TO_CHAR of a TIMESTAMP with a format that is not a literal")
        return _text(f"date_text({value.sql}, {model.sql})", _OPEN_FORMAT)
    if any(element.name == "FF" for element in formats.elements(pattern)):
        raise unsupported("the date format element FF without a number of digits in TO_CHAR")
    size = formats.longest(pattern)
    plain = formats.plain_strftime(pattern)
    clock = moments.clock(value).sql
    if plain is not None:
        return _text(f"strftime({clock}, {literal(plain)})", size, nullable=value.nullable)
    if value.type.in_nanoseconds:
        rest = f"CAST({moments.wall_nanos(value)} % 1000 AS BIGINT)"
        offset = f"CAST({moments.offset_minutes(value)} AS BIGINT)"
        sql = f"timestamp_text_zoned({clock}, {rest}, {offset}, {literal(pattern)})"
        return _text(sql, size, nullable=value.nullable)
    name = "timestamp_text" if fractions else "date_text"
    return _text(f"{name}({clock}, {literal(pattern)})", size, nullable=value.nullable)


@_function("TO_DATE", "TO_TIMESTAMP", least=1, most=3)
def _to_date(call: Call) -> Expr:
    text, model, prefix = _reading(call, 0, 1)
    return _moment_read(f"{prefix}_read({text.sql}, {model.sql})", prefix, nullable=text.nullable)


def _moment_read(sql: str, prefix: str, *, nullable: bool = True) -> Expr:
    """Return what was read as a DATE, or as a TIMESTAMP(9)."""
    if prefix == "date":
        return Expr(sql, DATE, nullable=nullable)
    return moments.converted(Expr(sql, TIMESTAMP, nullable=nullable), _TIMESTAMP_9)


def _reading(call: Call, place: int, at: int) -> tuple[Expr, Expr, str]:
    """Return the text, the format and the kind (`date` or `timestamp`) of a conversion."""
    value = call.value(place)
    if value.is_datetime:
        raise unsupported(f"{call.name} of a date (it depends on NLS settings)")
    if len(call) <= at:
        raise unsupported(f"{call.name} without a format (it depends on NLS settings)")
    if len(call) > at + 1:
        raise unsupported(f"{call.name} with NLS parameters")
    fractions = "TIMESTAMP" in call.name
    model = _model(call, at, lambda text: formats.input_elements(text, fractions=fractions))
    return ex.as_text(value), model, "timestamp" if fractions else "date"


@_function("TO_DATE$DEFAULT", "TO_TIMESTAMP$DEFAULT", least=2, most=4)
def _to_date_or_default(call: Call) -> Expr:
    """TO_DATE(x DEFAULT v ON CONVERSION ERROR, format): v is converted in the same way."""
    text, model, prefix = _reading(replace(call, name=call.name.removesuffix("$DEFAULT")), 0, 2)
    default = call.text(1)
    readable = f"({text.sql} IS NULL OR {prefix}_readable({text.sql}, {model.sql}) = 1)"
    sql = f"{prefix}_read(CASE WHEN {readable} THEN {text.sql} ELSE {default.sql} END, {model.sql})"
    return _moment_read(sql, prefix)


def _number_reading(call: Call, place: int, at: int) -> tuple[Expr, str, str]:
    """Return the text of a TO_NUMBER, and DuckDB's text before and after it."""
    text = call.text(place)
    if len(call) > at + 1:
        raise unsupported(f"{call.name} with NLS parameters")
    if len(call) <= at:
        return text, "parse", ""
    model = _model(call, at, number_formats.number_model)
    return text, "read", f", {model.sql}"


@_function("TO_NUMBER", least=1, most=3)
def _to_number(call: Call) -> Expr:
    value = call.value(0)
    if len(call) == 1:
        return ex.as_number(value)
    text, name, model = _number_reading(call, 0, 1)
    return Expr(f"number_{name}({text.sql}{model})", NUMBER, nullable=text.nullable)


@_function("TO_NUMBER$DEFAULT", least=2, most=4)
def _to_number_or_default(call: Call) -> Expr:
    text, name, model = _number_reading(replace(call, name="TO_NUMBER"), 0, 2)
    default = call.text(1)
    readable = f"number_readable{'_as' if model else ''}({text.sql}{model}) = 1"
    sql = f"number_{name}(CASE WHEN {text.sql} IS NULL OR {readable} THEN {text.sql} ELSE {default.sql} END{model})"
    return Expr(sql, NUMBER)


@_function("VALIDATE_CONVERSION", least=2, most=4)
def _validate(call: Call) -> Expr:
    """VALIDATE_CONVERSION(x AS type, format): 1 if the conversion works, and for NULL."""
    kind = str(call.nodes[1].this).upper()
    if kind in ("DATE", "TIMESTAMP"):
        text, model, prefix = _reading(replace(call, name=f"TO_{kind}"), 0, 2)
        test = f"{prefix}_readable({text.sql}, {model.sql})"
    elif kind == "NUMBER":
        text, _, model_sql = _number_reading(call, 0, 2)
        test = f"number_readable{'_as' if model_sql else ''}({text.sql}{model_sql})"
    else:
        raise unsupported(f"VALIDATE_CONVERSION to {kind}")
    return Expr(f"CAST(coalesce({test}, 1) AS DECIMAL(1, 0))", NUMBER, (1, 0), nullable=False)


# --- dates -----------------------------------------------------------------------------------------------------------


def _dated(name: str, call: Call, *arguments: Expr) -> Expr:
    listed = [call.date(0), *arguments]
    return Expr(f"{name}({', '.join(a.sql for a in listed)})", DATE, nullable=any(a.nullable for a in listed))


@_function("ADD_MONTHS", least=2, most=2)
def _add_months(call: Call) -> Expr:
    return _dated("date_add_months", call, call.whole(1))


@_function("LAST_DAY", least=1, most=1)
def _last_day(call: Call) -> Expr:
    return _dated("date_last_day", call)


@_function("NEXT_DAY", least=2, most=2)
def _next_day(call: Call) -> Expr:
    return _dated("date_next_day", call, call.text(1))


@_function("MONTHS_BETWEEN", least=2, most=2)
def _months_between(call: Call) -> Expr:
    later, earlier = call.date(0), call.date(1)
    sql = f"date_months_between({later.sql}, {earlier.sql})"
    return Expr(sql, NUMBER, nullable=later.nullable or earlier.nullable)


@_function("TRUNC", "ROUND", least=1, most=2)
def _shorten(call: Call) -> Expr:
    """TRUNC and ROUND, of a date to a unit and of a number to a digit."""
    value = call.value(0)
    if not value.is_datetime:
        return _at_digit(call.name.lower(), call.decimal(0), call.whole(1, 0))
    unit = call.constant(1) if len(call) > 1 else "DD"
    fast = {"DD": "day", "MM": "month", "MONTH": "month", "YYYY": "year", "YEAR": "year"}.get(
        str(unit).upper()
    )
    if call.name == "TRUNC" and fast:
        sql = f"CAST(date_trunc('{fast}', {call.date(0).sql}) AS TIMESTAMP)"
        return Expr(sql, DATE, nullable=value.nullable)
    given = call.text(1) if len(call) > 1 else ex.text_literal("DD")
    return _dated(f"date_{call.name.lower()}_to", call, given)


def _at_digit(name: str, value: Expr, digits: Expr) -> Expr:
    number = ex.as_blob(value)
    at = (
        ex.as_blob(ex.number_literal(digits.constant.to_integral_value("ROUND_DOWN"))).sql
        if isinstance(digits.constant, Decimal)
        else f"number_from_0(CAST({digits.sql} AS DECIMAL(38, 0)))"
    )
    return Expr(f"number_{name}({number.sql}, {at})", NUMBER, nullable=value.nullable or digits.nullable)


# --- numbers ---------------------------------------------------------------------------------------------------------

_OF_NUMBERS = {
    "REMAINDER": ("number_remainder", 2), "POWER": ("number_power", 2),
    "CEIL": ("number_ceil", 1), "FLOOR": ("number_floor", 1), "SQRT": ("number_sqrt", 1),
}  # fmt: skip


def _of_numbers(call: Call) -> Expr:
    name, count = _OF_NUMBERS[call.name]
    numbers = [call.number(place) for place in range(count)]
    return Expr(
        f"{name}({', '.join(n.sql for n in numbers)})", NUMBER, nullable=any(n.nullable for n in numbers)
    )


for _name, (_, _count) in _OF_NUMBERS.items():
    FUNCTIONS[_name] = _Function(_of_numbers, _count, _count)


@_function("MOD", least=2, most=2)
def _mod(call: Call) -> Expr:
    """MOD has the sign of the dividend, and is the dividend for a divisor of zero."""
    left, right = call.decimal(0), call.decimal(1)
    nullable = left.nullable or right.nullable
    if all(
        side.decimal and side.decimal[1] == 0 and side.decimal[0] <= _BIGINT_DIGITS for side in (left, right)
    ):
        first, second = f"CAST({left.sql} AS BIGINT)", f"CAST({right.sql} AS BIGINT)"
        sql = f"CASE WHEN {second} = 0 THEN {first} ELSE {first} % {second} END"
        return Expr(f"CAST({sql} AS DECIMAL(18, 0))", NUMBER, (18, 0), nullable=nullable)
    return Expr(f"number_mod({ex.as_blob(left).sql}, {ex.as_blob(right).sql})", NUMBER, nullable=nullable)


@_function("ABS", least=1, most=1)
def _absolute(call: Call) -> Expr:
    value = call.value(0)
    if value.is_binary_number:
        return replace(value, sql=f"abs({value.sql})", constant=None, bind=None)
    value = ex.as_number(value)
    less = ex.compare("<", value, ex.number_literal(Decimal(0)))
    return choice([less], [ex.negated(value), value])


@_function("SIGN", least=1, most=1)
def _sign(call: Call) -> Expr:
    value, zero = call.decimal(0), ex.number_literal(Decimal(0))
    tests = [ex.compare("<", value, zero), ex.compare("=", value, zero), ex.compare(">", value, zero)]
    return choice(tests, [ex.number_literal(Decimal(sign)) for sign in (-1, 0, 1)] + [ex.as_number(ex.NULL)])


# --- texts -----------------------------------------------------------------------------------------------------------


@_function("UPPER", "LOWER", least=1, most=1)
def _letters(call: Call) -> Expr:
    """UPPER leaves the sharp s alone (SQL Language Reference, "NLS_UPPER")."""
    text = call.text(0)
    sql = f"replace(upper({text.sql}), 'ẞ', 'ß')" if call.name == "UPPER" else f"lower({text.sql})"
    return replace(text, sql=sql, constant=None, bind=None)


@_function("INITCAP", least=1, most=1)
def _initcap(call: Call) -> Expr:
    text = call.text(0)
    return replace(text, sql=f"text_initcap({text.sql})", constant=None, bind=None)


@_function("LTRIM", "RTRIM", least=1, most=2)
def _trim(call: Call) -> Expr:
    text = call.text(0)
    marks = call.text(1) if len(call) > 1 else ex.text_literal(" ")
    return _like(text, f"nullif({call.name.lower()}({text.sql}, {marks.sql}), '')", _length_of(text))


@_function("SUBSTR", least=2, most=3)
def _substr(call: Call) -> Expr:
    text, start = ex.as_characters(call.value(0)), call.whole(1)
    length = call.whole(2) if len(call) > 2 else None
    if isinstance(start.constant, Decimal) and (length is None or isinstance(length.constant, Decimal)):
        return _cut(text, int(start.constant), None if length is None else int(length.constant or 0))
    if length is None:
        cut = f"text_from({text.sql}, {start.sql})"
    else:
        cut = f"text_part({text.sql}, {start.sql}, {length.sql})"
    return _like(text, conversions.counted(text, cut), _length_of(text))


def _cut(text: Expr, start: int, length: int | None) -> Expr:
    """SUBSTR where the place and the length are written in the SQL: DuckDB's own, except where a text is too short."""
    if length is not None and length < 1:
        return _like(text, "CAST(NULL AS VARCHAR)", 1)
    tail = "" if length is None else f", {length}"
    most = _length_of(text)
    if length is not None:
        most = min(most, length if text.is_national else 4 * length)
    cut = f"substring({text.sql}, {max(start, 1)}{tail})"
    if start < 0:
        cut = f"substring({text.sql}, length({text.sql}) - {-start - 1}{tail})"
        cut = f"CASE WHEN length({text.sql}) >= {-start} THEN {cut} END"
    return _like(text, f"nullif({conversions.counted(text, cut)}, '')", most)


def _database_text(call: Call) -> Expr:
    """Return the first argument of a function that works on bytes, which are others in a national text."""
    text = call.text(0)
    if text.is_national:
        raise unsupported(f"{call.name} of national texts")
    return text


@_function("SUBSTRB", least=2, most=3)
def _substrb(call: Call) -> Expr:
    text, start = _database_text(call), call.whole(1)
    if len(call) == 2:
        return _text(f"text_from_byte({text.sql}, {start.sql})", _size(text))
    return _text(f"text_part_bytes({text.sql}, {start.sql}, {call.whole(2).sql})", _size(text))


@_function("INSTR", least=2, most=4)
def _instr(call: Call) -> Expr:
    text, wanted = ex.as_characters(call.value(0)), call.text(1)
    if len(call) == 2:
        sql = f"strpos({text.sql}, {wanted.sql})"
    else:
        sql = f"text_position({text.sql}, {wanted.sql}, {call.whole(2).sql}, {call.whole(3, 1).sql})"
    return Expr(f"CAST({conversions.counted(text, sql)} AS DECIMAL(19, 0))", NUMBER, _INTEGER)


@_function("LENGTH", least=1, most=1)
def _length(call: Call) -> Expr:
    return conversions.length(call.value(0))


@_function("LENGTHB", least=1, most=1)
def _lengthb(call: Call) -> Expr:
    text = call.text(0)
    sql = f"octet_length(utf16({text.sql}))" if text.is_national else f"strlen({text.sql})"
    return Expr(f"CAST({sql} AS DECIMAL(19, 0))", NUMBER, _INTEGER, nullable=text.nullable)


@_function("LPAD", "RPAD", least=2, most=3)
def _pad(call: Call) -> Expr:
    text, width = call.text(0), call.whole(1)
    fill = call.text(2) if len(call) > 2 else ex.text_literal(" ")
    most = max(int(width.constant), 1) if isinstance(width.constant, Decimal) else LONGEST_BIND
    sql = f"text_{call.name.lower()}({text.sql}, {width.sql}, {fill.sql})"
    return _like(text, conversions.counted(text, sql), most if text.is_national else 4 * most)


@_function("REPLACE", least=2, most=3)
def _replace(call: Call) -> Expr:
    text, old = call.text(0), call.text(1)
    new = call.text(2) if len(call) > 2 else ex.text_literal("")
    longer = (
        len(new.constant.encode()) if isinstance(new.constant, str) else (1 if new.type is None else 4000)
    )
    sql = f"nullif(replace({text.sql}, coalesce({old.sql}, ''), coalesce({new.sql}, '')), '')"
    size = _size(text) * max(longer, 1)
    return _like(text, f"text_short({sql})" if size > LONGEST_BIND else sql, size)


@_function("TRANSLATE", least=3, most=3)
def _translate(call: Call) -> Expr:
    text, old, new = call.text(0), call.text(1), call.text(2)
    sql = f"text_translate({text.sql}, {old.sql}, {new.sql})"
    return _like(
        text, conversions.counted(text, sql), _length_of(text) if text.is_national else 4 * _size(text)
    )


@_function("CHR", least=1, most=1)
def _chr(call: Call) -> Expr:
    return _text(f"text_character({call.whole(0).sql})", 4)


@_function("ASCII", least=1, most=1)
def _ascii(call: Call) -> Expr:
    return Expr(f"CAST(text_code({_database_text(call).sql}) AS DECIMAL(19, 0))", NUMBER, _INTEGER)


@_function("CONCAT", least=2, most=2)
def _concat(call: Call) -> Expr:
    return ex.concatenated(call.value(0), call.value(1))


# --- regular expressions ---------------------------------------------------------------------------------------------


def _pattern(call: Call, flags: int) -> str:
    """Return the pattern and the options of a call as DuckDB text; both have to be written in the SQL."""
    pattern = call.constant(1)
    options = call.constant(flags) if len(call) > flags else "c"
    if not isinstance(pattern, str) or not isinstance(options, str):
        raise unsupported(f"{call.name} with a pattern or options that are not literals")
    return f"{literal(pattern)}, {literal(options)}"


def regexp_like(nodes: list[Any], within: Expressions, scope: Scope) -> str:
    """Translate the condition REGEXP_LIKE."""
    if not 2 <= len(nodes) <= 3:
        raise OracleError(938 if len(nodes) < 2 else 939, "wrong number of arguments for function")
    call = Call("REGEXP_LIKE", nodes, within, scope)
    text = call.text(0)
    return conversions.counted(text, f"text_matches({text.sql}, {_pattern(call, 2)})")


@_function("REGEXP_SUBSTR", least=2, most=5)
def _regexp_substr(call: Call) -> Expr:
    text = call.text(0)
    sql = f"text_match({text.sql}, {_pattern(call, 4)}, {call.whole(2, 1).sql}, {call.whole(3, 1).sql})"
    return _like(text, conversions.counted(text, sql), _length_of(text))


@_function("REGEXP_INSTR", least=2, most=4)
def _regexp_instr(call: Call) -> Expr:
    text = call.text(0)
    sql = f"text_match_place({text.sql}, {_pattern(call, 4)}, {call.whole(2, 1).sql}, {call.whole(3, 1).sql})"
    return Expr(f"CAST({conversions.counted(text, sql)} AS DECIMAL(19, 0))", NUMBER, _INTEGER)


@_function("REGEXP_COUNT", least=2, most=4)
def _regexp_count(call: Call) -> Expr:
    text = call.text(0)
    sql = f"text_match_count({text.sql}, {_pattern(call, 3)}, {call.whole(2, 1).sql})"
    return Expr(f"CAST({conversions.counted(text, sql)} AS DECIMAL(19, 0))", NUMBER, _INTEGER)


@_function("REGEXP_REPLACE", least=2, most=3)
def _regexp_replace(call: Call) -> Expr:
    new = call.text(2) if len(call) > 2 else ex.text_literal("")
    text = call.text(0)
    sql = f"text_match_replace({text.sql}, {_pattern(call, 5)}, coalesce({new.sql}, ''))"
    return _like(text, conversions.counted(text, sql), LONGEST_BIND)


# --- the session -----------------------------------------------------------------------------------------------------


@_function("SYS_CONTEXT", least=2, most=3)
def _sys_context(call: Call) -> Expr:
    space, key = call.constant(0), call.constant(1)
    within = call.within
    known = {
        "CURRENT_SCHEMA": within.schema,
        "CURRENT_USER": within.user,
        "SESSION_USER": within.user,
        "SERVICE_NAME": within.service,
        "DB_NAME": within.service,
        "CON_NAME": within.service,
        "INSTANCE_NAME": "fakeoracle",
        "SERVER_HOST": "localhost",
        "NLS_TERRITORY": "AMERICA",
        **{told: within.client.get(told, "") for told in CLIENT_CONTEXT},
    }
    if str(space).upper() != "USERENV" or str(key).upper() not in known:
        raise unsupported(f"SYS_CONTEXT('{space}', '{key}')")
    value = known[str(key).upper()]  # what the client has not told is NULL
    return Expr(f"CAST({literal(value) if value else 'NULL'} AS VARCHAR)", text_type(256))


def user_id(users: Any, name: str) -> int:
    """Return the number of a user, as UID and ALL_USERS show it."""
    return 100 + sorted(users).index(name)
