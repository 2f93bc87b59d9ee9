"""Oracle's functions that turn values of one type into another, or take them apart, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from . import expressions as ex
from . import moments
from .dictionary import literal
from .errors import OracleError, unsupported
from .expressions import Expr
from .types import (
    BINARY_DOUBLE,
    BINARY_FLOAT,
    BLOB,
    CLOB,
    LONGEST_BIND,
    NCLOB,
    NUMBER,
    OracleType,
    raw_type,
    text_type,
)

_LONGEST_RAW = 2000
_LONGEST_NATIONAL = 2000


def constant(name: str) -> Expr | None:
    """Return a value that is written without brackets; None if there is none of that name."""
    if name == "SESSIONTIMEZONE":
        zone = moments.zone_text(moments.session_zone.get())
        return replace(ex.text_literal(zone), type=text_type(75), constant=zone)
    if name == "DBTIMEZONE":
        return replace(ex.text_literal("+00:00"), type=text_type(6), constant="+00:00")
    for kind in (BINARY_FLOAT, BINARY_DOUBLE):
        for word, value in (("NAN", "nan"), ("INFINITY", "inf")):
            if name == f"{kind.name}_{word}":
                return Expr(f"CAST('{value}' AS {kind.storage})", kind, nullable=False)
    return None


def cast(value: Expr, target: OracleType) -> Expr:
    """Return CAST(value AS target); a text that is longer than its target is cut (SQL Language Reference, "CAST")."""
    if target.is_text:
        return _cast_text(value, target)
    if target.name == "RAW":
        raw = ex.as_raw(value)
        sql = f"unhex(substring(hex({raw.sql}), 1, {2 * target.length}))"
        return Expr(sql, target, nullable=value.nullable)
    if target.is_lob:
        raise unsupported(f"CAST to {target.name} (there is TO_{target.name})")
    if target.is_datetime and value.type is not None and not value.is_datetime:
        raise unsupported(f"CAST of a {value.shown} to {target.shown} (it depends on NLS settings)")
    if target.declared_digits:
        value = _in_range(ex.as_number(value), *target.declared_digits)
    return Expr(ex.stored(value, target, "CAST"), target, target.decimal, nullable=value.nullable)


def _in_range(number: Expr, precision: int, scale: int) -> Expr:
    """Return the number rounded as NUMBER(precision,scale) is, ORA-01438 if it is too large for that."""
    if number.decimal and number.decimal[0] - number.decimal[1] < precision - scale:
        return number
    sql = f"number_fit({ex.as_blob(number).sql}, '{precision},{scale}')"
    return Expr(sql, NUMBER, nullable=number.nullable)


def _cast_text(value: Expr, target: OracleType) -> Expr:
    if value.kind == "clob":
        text = to_char(value)
    elif value.is_number and target.length < 40:
        text = _fitting(ex.as_text(value), target)
    else:
        text = ex.as_text(value)
    sql = f"substring({text.sql}, 1, {target.length})"
    if not target.in_chars:
        fits = f"strlen({text.sql}) <= {target.length}"
        problem = literal(str(unsupported("CAST that cuts a text of several bytes a character")))
        plain = f"strlen({text.sql}) = length({text.sql})"
        sql = f"CASE WHEN {fits} THEN {text.sql} WHEN {plain} THEN {sql} WHEN {text.sql} IS NOT NULL THEN error({problem}) END"
    elif target.is_national:
        sql = counted(text, sql)
    if target.is_fixed:
        sql = ex.stored(replace(text, sql=sql, constant=None, bind=None), target, "CAST")
    return Expr(sql, target, nullable=value.nullable)


def _fitting(text: Expr, target: OracleType) -> Expr:
    """The text of a number is not cut: ORA-01401 would follow."""
    problem = literal(str(unsupported("CAST of a number to a text that is too short for it")))
    sql = f"CASE WHEN length({text.sql}) > {target.length} THEN error({problem}) ELSE {text.sql} END"
    return replace(text, sql=sql, constant=None)


def counted(text: Expr, sql: str) -> str:
    """Return `sql`, which counts characters of `text`, refusing those beyond U+FFFF where they count as two.

    National texts and LOBs are counted in UTF-16 units (python-oracledb documentation, "Using CLOB and BLOB Data").
    """
    if not text.is_national and not text.is_lob:
        return sql
    problem = literal(str(unsupported("positions in a national text or LOB with characters beyond U+FFFF")))
    return f"CASE WHEN regexp_matches({text.sql}, '[\\x{{10000}}-\\x{{10FFFF}}]') THEN error({problem}) ELSE {sql} END"


def length(value: Expr) -> Expr:
    """Return LENGTH: characters, of a national text UTF-16 units, of a BLOB bytes."""
    if value.type == BLOB:
        sql = f"octet_length({value.sql})"
    else:
        value = ex.as_characters(value)
        units = f"octet_length(utf16({value.sql})) // 2"
        sql = units if value.is_national else counted(value, f"length({value.sql})")
    return Expr(f"CAST({sql} AS DECIMAL(10, 0))", NUMBER, (10, 0), nullable=value.nullable)


def to_char(value: Expr) -> Expr:
    """Return TO_CHAR without a format; of a CLOB ORA-22835 if it is longer than 4000 bytes."""
    if value.kind == "clob":
        sql = f"nullif({ex.limited(value, value.sql)}, '')"
        return Expr(sql, text_type(LONGEST_BIND))
    text = ex.as_text(value)
    if text.type is not None and text.is_national:
        kind = text_type(3 * text.type.length)
        return replace(text, type=kind, bind=None)
    return replace(text, bind=None)


def _to_nchar(value: Expr) -> Expr:
    if value.kind == "clob":
        text = to_char(value)
        return replace(text, type=text_type(_LONGEST_NATIONAL, national=True))
    text = ex.as_text(value)
    assert text.type is not None
    return replace(text, type=text_type(text.type.length, national=True), constant=None, bind=None)


def _to_lob(kind: OracleType) -> Callable[[Expr], Expr]:
    def convert(value: Expr) -> Expr:
        if kind == BLOB:
            sql = value.sql if value.type == BLOB else ex.as_raw(value).sql
        else:
            sql = f"CAST({ex.as_characters(value).sql} AS VARCHAR)"
        return Expr(sql, kind, nullable=value.nullable)

    return convert


def _whole(value: Expr, what: str) -> int:
    if not isinstance(value.constant, Decimal) or value.constant != int(value.constant):
        raise unsupported(f"{what} with a position or length that is not a literal")
    return int(value.constant)


def _lob_substr(lob: Expr, amount: Expr | None = None, offset: Expr | None = None) -> Expr:
    """DBMS_LOB.SUBSTR(lob, amount, offset): NULL outside the limits (PL/SQL Packages Reference)."""
    count = 32767 if amount is None else _whole(amount, "DBMS_LOB.SUBSTR")
    start = 1 if offset is None else _whole(offset, "DBMS_LOB.SUBSTR")
    if not lob.is_lob:
        lob = _to_lob(BLOB)(lob) if lob.kind == "raw" else _to_lob(CLOB)(lob)
    if count < 1 or start < 1:
        return ex.NULL
    if lob.type == BLOB:
        piece = f"unhex(substring(hex({lob.sql}), {2 * start - 1}, {2 * count}))"
        sql = f"nullif({ex.limited(lob, piece, _LONGEST_RAW)}, ''::BLOB)"
        return Expr(sql, raw_type(count))
    piece = counted(lob, f"substring({lob.sql}, {start}, {count})")
    return Expr(f"nullif({ex.limited(lob, piece)}, '')", ex.text_like(lob, LONGEST_BIND))


def _raw_to_hex(value: Expr) -> Expr:
    if value.kind != "raw":
        raise unsupported(f"RAWTOHEX of a {value.shown}")
    return ex.as_text(value)


def _hex_to_raw(value: Expr) -> Expr:
    return ex.as_raw(ex.as_text(value))


def _raw_length(value: Expr) -> Expr:
    raw = ex.as_raw(value)
    return Expr(f"CAST(octet_length({raw.sql}) AS DECIMAL(10, 0))", NUMBER, (10, 0), nullable=value.nullable)


def _text_to_raw(value: Expr) -> Expr:
    text = ex.as_text(value)
    assert text.type is not None
    name = "utf16" if text.is_national else "encode"
    return Expr(f"{name}({text.sql})", raw_type(text.type.size), nullable=value.nullable)


def _row_id_text(value: Expr) -> Expr:
    return ex.as_text(ex.as_rowid(value))


def _to_binary(kind: OracleType) -> Callable[[Expr], Expr]:
    return lambda value: ex.as_binary_number(value, kind)


def _nanvl(value: Expr, other: Expr) -> Expr:
    """Return NANVL: the other value in place of not-a-number."""
    kind = ex.common_binary([value, other])
    if kind is None:
        return ex.as_number(value)
    left, right = ex.as_binary_number(value, kind), ex.as_binary_number(other, kind)
    sql = f"CASE WHEN isnan({left.sql}) THEN {right.sql} ELSE {left.sql} END"
    return Expr(sql, kind, nullable=value.nullable or other.nullable)


def is_special(value: Expr, word: str) -> str:
    """Return the condition value IS NAN or IS INFINITE."""
    name = {"NAN": "isnan", "INFINITE": "isinf"}[word]
    number = value if value.is_binary_number else ex.as_number(value)
    if number.is_binary_number:
        return f"{name}({number.sql})"
    return f"CASE WHEN {number.sql} IS NOT NULL THEN false END"


def offset_of(zone: Expr) -> int:
    """Return the minutes of a time zone that is written in the statement."""
    if not isinstance(zone.constant, str):
        raise unsupported("a time zone that is not a literal")
    return moments.zone_offset(zone.constant)


def _now(what: str) -> Callable[..., Expr]:
    def take(digits: Expr | None = None) -> Expr:
        count = 6 if digits is None else _whole(digits, what)
        if not 0 <= count <= 9:
            raise OracleError(30088, "datetime/interval precision is out of range")
        return moments.now(what, count)

    return take


def _empty(kind: OracleType, text: str) -> Callable[[], Expr]:
    return lambda: Expr(text, kind, nullable=False)


FUNCTIONS: dict[str, tuple[Callable[..., Expr], int, int]] = {
    "HEXTORAW": (_hex_to_raw, 1, 1),
    "RAWTOHEX": (_raw_to_hex, 1, 1),
    "UTL_RAW.LENGTH": (_raw_length, 1, 1),
    "UTL_RAW.CAST_TO_RAW": (_text_to_raw, 1, 1),
    "CHARTOROWID": (ex.as_rowid, 1, 1),
    "ROWIDTOCHAR": (_row_id_text, 1, 1),
    "TO_BINARY_FLOAT": (_to_binary(BINARY_FLOAT), 1, 1),
    "TO_BINARY_DOUBLE": (_to_binary(BINARY_DOUBLE), 1, 1),
    "TO_NCHAR": (_to_nchar, 1, 1),
    "NANVL": (_nanvl, 2, 2),
    "TO_CLOB": (_to_lob(CLOB), 1, 1),
    "TO_NCLOB": (_to_lob(NCLOB), 1, 1),
    "TO_BLOB": (_to_lob(BLOB), 1, 1),
    "EMPTY_CLOB": (_empty(CLOB, "''"), 0, 0),
    "EMPTY_BLOB": (_empty(BLOB, "''::BLOB"), 0, 0),
    "DBMS_LOB.GETLENGTH": (length, 1, 1),
    "DBMS_LOB.SUBSTR": (_lob_substr, 1, 3),
    "FROM_TZ": (lambda value, zone: moments.from_zone(value, offset_of(zone)), 2, 2),
    "SYS_EXTRACT_UTC": (moments.extract_utc, 1, 1),
    **{
        f"FAKEORACLE_{what}": (_now(what), 0, 1)
        for what in ("SYSTIMESTAMP", "CURRENT_TIMESTAMP", "LOCALTIMESTAMP", "CURRENT_DATE")
    },
}
