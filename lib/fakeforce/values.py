"""One cell: how a text becomes a stored value, and how a stored value becomes text again.

Stored values: text as str, date ``YYYY-MM-DD``, datetime ``YYYY-MM-DDTHH:MM:SS.mmmZ``, boolean 0/1, int as
int, time ``HH:MM:SS.mmmZ``, decimals as one integer scaled by 10**scale (exact: no float anywhere), null as None.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from math import isinf
from typing import Final

from .clock import stamp
from .errors import RowError
from .schema import MAX_DIGITS, Field

Value = str | int | None


class Absent:
    """The type of ABSENT: the cell says nothing about the field."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()
Cell = Value | Absent
NULL_CELL = "#N/A"  # Bulk API 2.0 guide: Prepare CSV Files
EXACT = 10**15  # a double holds every number of fifteen digits
BLANKS = " \t\r\n\f\v"

# ASCII digits only: a Thai digit is a digit to Python, and no number to Java.
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)\Z", re.ASCII)
_DATETIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(\d{1,3}))?(Z|[+-]\d\d:?\d\d)\Z", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\Z", re.ASCII)
_INT = re.compile(r"[+-]?\d{1,10}\Z", re.ASCII)
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+\Z")
_TIME = re.compile(r"((?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)(?:\.(\d{1,3}))?Z?\Z", re.ASCII)
_XSD = {
    **dict.fromkeys(("double", "currency", "percent"), "double"),
    **{"int": "int", "boolean": "boolean", "date": "date", "datetime": "dateTime", "time": "time"},
}


class Unreadable(Exception):
    """The text is no value of the field's type."""


def column_reader(field: Field, col: int, *, trim: bool = True) -> Callable[[Sequence[str]], ReadColumn]:
    """A reader for one CSV column; ``col`` is the position the error text names (0-based: assumed)."""
    if field.is_text and field.type not in ("picklist", "multipicklist", "email"):
        return lambda cells: _read_text(field, cells, trim)
    if field.is_number:
        return lambda cells: _read_numbers(field, cells, col, trim)
    return lambda cells: _read_distinct(field, cells, col, trim)


ReadColumn = tuple[list[Cell], dict[int, RowError]]


def _read_text(field: Field, cells: Sequence[str], trim: bool) -> ReadColumn:
    """Text is mostly distinct: no memo, one length check for the whole column."""
    values: list[Cell]
    if trim:
        # Blanks around text are not kept when it is stored (assumed: as the user interface does).
        values = [
            ABSENT if not cell else None if cell == NULL_CELL else cell.strip(BLANKS) or None
            for cell in cells
        ]
    else:
        values = [ABSENT if not cell else None if cell == NULL_CELL else cell for cell in cells]
    errors: dict[int, RowError] = {}
    if max(map(len, cells), default=0) > field.length:
        for at, value in enumerate(values):
            if isinstance(value, str) and len(value) > field.length:
                errors[at] = _too_long(field, value)
    return values, errors


def _read_numbers(field: Field, cells: Sequence[str], col: int, trim: bool) -> ReadColumn:
    """Amounts are mostly distinct and mostly plain digits: those are read here, the others one by one."""
    tens = [10 ** (field.scale - decimals) for decimals in range(field.scale + 1)]
    bound = 10**field.precision
    values: list[Cell] = []
    errors: dict[int, RowError] = {}
    for at, cell in enumerate(cells):
        whole, _, part = cell.partition(".")
        digits = whole + part
        if len(digits) <= MAX_DIGITS and digits.isdigit() and cell.isascii() and len(part) < len(tens):
            scaled = int(digits) * tens[len(part)]
            if scaled < bound:
                values.append(scaled)
                continue
        value, error = _read_distinct(field, [cell], col, trim)
        values += value
        if error:
            errors[at] = error[0]
    return values, errors


def _read_distinct(field: Field, cells: Sequence[str], col: int, trim: bool) -> ReadColumn:
    """Codes, dates and numbers repeat: each distinct text is read once."""
    memo: dict[str, tuple[Cell, RowError | None]] = {"": (ABSENT, None), NULL_CELL: (None, None)}
    values: list[Cell] = []
    errors: dict[int, RowError] = {}
    for at, cell in enumerate(cells):
        hit = memo.get(cell)
        if hit is None:
            try:
                hit = parse_value(field, cell, trim=trim)
            except Unreadable:
                hit = (ABSENT, _undeserializable(field, cell, col))
            memo[cell] = hit
        values.append(hit[0])
        if hit[1] is not None:
            errors[at] = hit[1]
    return values, errors


def _undeserializable(field: Field, text: str, col: int) -> RowError:
    """A cell that is no value of its type (seen)."""
    kind = _XSD.get(field.type, "string")
    reason = f"Due to, '{text}' is not a valid value for the type xsd:{kind}"
    return RowError("INVALID_FIELD", f"Failed to deserialize field at col {col}. {reason}", (field.name,))


def _too_long(field: Field, text: str) -> RowError:
    """Too long text is refused, never cut (SOAP guide: AllowFieldTruncationHeader; message seen)."""
    message = f"{field.label}: data value too large: {text} (max length={field.length})"
    return RowError("STRING_TOO_LONG", message, (field.name,))


def parse_value(field: Field, text: str, *, trim: bool = True) -> tuple[Value, RowError | None]:
    """One non-empty text to (stored value, why it is refused). Raises Unreadable for a wrong form."""
    if field.is_text:
        return _parse_text(field, text, trim)
    if field.is_number:
        return _parse_decimal(field, text)
    if field.type == "int":
        return _parse_int(text), None
    if field.type == "boolean":
        return _parse_boolean(text), None
    if field.type == "date":
        return _parse_date(field, text)
    if field.type == "datetime":
        return _parse_datetime(field, text)
    if field.type == "time":
        return _parse_time(text), None
    return text, None  # id and reference: judged where the records are


def _parse_text(field: Field, text: str, trim: bool) -> tuple[Value, RowError | None]:
    kept = (text.strip(BLANKS) or None) if trim else text
    if kept is None:
        return None, None
    if len(kept) > field.length:
        return None, _too_long(field, kept)
    if (bad := _not_in_list(field, kept)) is not None:
        # Seen; compared exactly, upper and lower case differ (assumed).
        message = f"{field.label}: bad value for restricted picklist field: {bad}"
        return None, RowError("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, (field.name,))
    if field.type == "email" and not _EMAIL.match(kept):
        message = f"{field.label}: invalid email address: {kept}"
        return None, RowError("INVALID_EMAIL_ADDRESS", message, (field.name,))
    return kept, None


def _not_in_list(field: Field, text: str) -> str | None:
    """The first value that a restricted picklist does not have; ``;`` parts those of a multipicklist."""
    if not field.restricted or field.type not in ("picklist", "multipicklist"):
        return None
    given = text.split(";") if field.type == "multipicklist" else [text]
    return next((value for value in given if value not in field.values), None)


def _parse_decimal(field: Field, text: str) -> tuple[Value, RowError | None]:
    """xsd:double text to a scaled integer; too many decimals are rounded half up (assumed)."""
    if not _DECIMAL.match(text):
        raise Unreadable(text)
    number = Decimal(text)
    # Judge the size first: 1E999 would be an integer of a thousand digits.
    if number and number.adjusted() >= field.precision - field.scale:
        return None, _out_of_range(field, text)
    scaled = int(number.scaleb(field.scale).quantize(Decimal(1), ROUND_HALF_UP))
    if abs(scaled) >= 10**field.precision:
        return None, _out_of_range(field, text)
    return scaled, None


def _out_of_range(field: Field, text: str) -> RowError:
    """Code documented (SOAP guide: core data types), wording assumed."""
    shown = java_double(text)
    message = f"{field.label}: value outside of valid range on numeric field: {shown}"
    return RowError("NUMBER_OUTSIDE_VALID_RANGE", message, (field.name,))


def _parse_int(text: str) -> int:
    if not _INT.match(text) or not -(2**31) <= int(text) < 2**31:
        raise Unreadable(text)
    return int(text)


def _parse_boolean(text: str) -> int:
    """true and false in any case; 1, 0, yes and no are refused (assumed; they are Data Loader's own)."""
    lowered = text.lower()
    if lowered not in ("true", "false"):
        raise Unreadable(text)
    return int(lowered == "true")


def _parse_date(field: Field, text: str) -> tuple[Value, RowError | None]:
    """yyyy-MM-dd (Bulk API 2.0 guide: Valid Date Format in Records)."""
    found = _DATE.match(text)
    try:
        if not found:
            raise Unreadable(text)
        date(*map(int, found.groups()))
    except ValueError:
        raise Unreadable(text) from None
    return _in_range(field, text)


def _parse_datetime(field: Field, text: str) -> tuple[Value, RowError | None]:
    """yyyy-MM-ddTHH:mm:ss[.SSS](Z|+hh:mm), a blank for T is refused (same page)."""
    found = _DATETIME.match(text)
    if not found:
        raise Unreadable(text)
    try:
        moment = datetime.fromisoformat(text)
        if found.group(2) == "Z":
            stored = f"{text[:19]}.{(found.group(1) or '').ljust(3, '0')}Z"
        else:
            stored = stamp(moment)
    except (ValueError, OverflowError):
        raise Unreadable(text) from None
    return _in_range(field, stored)


def _parse_time(text: str) -> str:
    """HH:mm:ss[.SSS][Z] (SOAP guide: primitive data types, time; without Z taken as UTC: assumed)."""
    found = _TIME.match(text)
    if not found:
        raise Unreadable(text)
    return f"{found.group(1)}.{(found.group(2) or '').ljust(3, '0')}Z"


def _in_range(field: Field, stored: str) -> tuple[Value, RowError | None]:
    """1700-01-01 to 4000-12-31, GMT (Data Loader guide: data types; the refusal's wording is assumed)."""
    if "1700" <= stored[:4] <= "4000":
        return stored, None
    return None, RowError(
        "FIELD_INTEGRITY_EXCEPTION", f"{field.label}: invalid date: {stored}", (field.name,)
    )


def fold(field: Field, value: Value) -> Value:
    """The form in which equal values of a key are the same text: ASCII letters in one case."""
    if isinstance(value, str) and field.is_text and not field.case_sensitive:
        return value.lower() if value.isascii() else value.translate(_ASCII_LOWER)
    return value


_ASCII_LOWER = {c: c + 32 for c in range(ord("A"), ord("Z") + 1)}


def decimal_text(scaled: int, scale: int) -> str:
    """A scaled integer as exact decimal text, always with ``scale`` decimals."""
    if scale == 0:
        return str(scaled)
    sign = "-" if scaled < 0 else ""
    digits = str(abs(scaled)).rjust(scale + 1, "0")
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}"


def text_of(field: Field, value: Value) -> str | None:
    """A stored value as exact text; None stays None."""
    if value is None:
        return None
    if field.is_number:
        return decimal_text(int(value), field.scale)
    if field.type == "boolean":
        return "true" if value else "false"
    return str(value)


def json_of(field: Field, value: Value) -> str:
    """A stored value as JSON text. Decimals go out the Java way where that is exact, else digit by digit."""
    if value is None:
        return "null"
    if field.is_number:
        return double_text(int(value), field.scale)
    if field.type == "boolean":
        return "true" if value else "false"
    if field.type == "int":
        return str(value)
    if field.type == "datetime":
        return f'"{str(value)[:-1]}+0000"'
    return json_text(str(value))


def double_text(scaled: int, scale: int) -> str:
    """A scaled integer as Java writes a double where that is exact, else digit by digit (assumed)."""
    if abs(scaled) < EXACT:
        return java_double(repr(scaled / 10**scale))
    exact = decimal_text(scaled, scale)
    shown = java_double(exact)
    return shown if Decimal(shown) == Decimal(exact) else exact


def csv_column(field: Field, values: Sequence[Value]) -> list[str]:
    """Stored values as the cells of a query's CSV; null is empty.

    A moment ends in Z; that numbers are written as in JSON is assumed.
    """
    if field.is_number:
        scale = field.scale
        return ["" if value is None else double_text(int(value), scale) for value in values]
    if field.type == "boolean":
        return ["" if value is None else "true" if value else "false" for value in values]
    return ["" if value is None else str(value) for value in values]


def json_text(text: str) -> str:
    """A JSON string."""
    return json.dumps(text, ensure_ascii=False)


def java_double(text: str) -> str:
    """A number as Java's Double.toString writes it.

    Result files show 912260031 as 9.12260031E8 (documented, Bulk API 2.0 guide: quick start); that the same
    rule holds for small numbers, 100 as 100.0, is assumed.
    """
    number = float(text)
    if 0.001 <= abs(number) < 1e7:
        return repr(number)  # Java and Python agree here
    if number == 0:
        return "-0.0" if text.startswith("-") else "0.0"
    if isinf(number):
        return "-Infinity" if number < 0 else "Infinity"
    digits = repr(abs(number))
    mantissa, _, power = digits.partition("e")
    whole, _, part = mantissa.partition(".")
    figures = (whole + part).lstrip("0") or "0"
    # Position of the decimal point, counted from the first figure that is not 0.
    point = len(whole) + int(power or 0) - (len(whole + part) - len((whole + part).lstrip("0")))
    figures = figures.rstrip("0") or "0"
    sign = "-" if number < 0 else ""
    return f"{sign}{figures[0]}.{figures[1:] or '0'}E{point - 1}"


def echo(field: Field, cell: str) -> str:
    """A sent cell as a result file shows it: numbers through Java's double, everything else as sent."""
    if field.is_number and cell and _DECIMAL.match(cell):
        try:
            return java_double(cell)
        except (ValueError, OverflowError):
            return cell
    return cell
