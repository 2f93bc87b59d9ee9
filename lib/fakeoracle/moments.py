"""Datetimes in DuckDB SQL: how each type is kept, and Oracle's conversions between them.

DATE and TIMESTAMP(0-6) are DuckDB's TIMESTAMP. The others are a HUGEINT of nanoseconds since the year 0, so that nine digits
and the years 1 to 9999 fit and comparing the numbers compares the moments:

    TIMESTAMP(7-9)                   nanoseconds of the clock on the wall
    TIMESTAMP WITH LOCAL TIME ZONE   nanoseconds in UTC
    TIMESTAMP WITH TIME ZONE         nanoseconds in UTC * 4096, plus the offset in minutes + 2048

Oracle compares instants and not offsets, so `instant` drops the latter. The database's time zone is UTC. Only offsets are
known; named regions are refused, because their rules change with Oracle's time zone files.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace

from .errors import OracleError, unsupported
from .expr import Expr
from .types import (
    DATE,
    EPOCH_SECONDS,
    LOCAL,
    NANOS,
    NUMBER,
    TIMESTAMP,
    ZONE_MIDDLE,
    ZONE_STEP,
    ZONED,
    OracleType,
    moment_type,
)

session_zone: ContextVar[int] = ContextVar("session_zone", default=0)
"""The session's time zone, in minutes east of UTC, while a statement of it is translated."""

_EPOCH_MICROS = EPOCH_SECONDS * 10**6
_MINUTE = 60 * NANOS
_OFFSET = re.compile(r"([+-]?)(\d{1,2}):(\d{1,2})")  # node-oracledb writes -00:0
_LITERAL = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2}) (\d{1,2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?\s*([+-]\d{1,2}:\d{2})?"
)


def zone_offset(text: str) -> int:
    """Return the minutes of an offset such as '+07:00'; ORA-01882 outside -12:00 to +14:00, names are refused."""
    if text.strip().upper() in ("UTC", "GMT"):
        return 0
    match = _OFFSET.fullmatch(text.strip())
    if not match:
        raise unsupported(f"the time zone '{text}' (only offsets such as +07:00)")
    minutes = int(match[2]) * 60 + int(match[3])
    minutes = -minutes if match[1] == "-" else minutes
    if not -12 * 60 <= minutes <= 14 * 60 or int(match[3]) > 59:
        raise OracleError(1874, "time zone hour must be between -15 and 15")
    return minutes


def zone_text(minutes: int) -> str:
    """Return an offset as SESSIONTIMEZONE shows it."""
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def wall_nanos(value: Expr) -> str:
    """Return the nanoseconds of the clock on the wall where `value` is."""
    assert value.type is not None
    if value.type.name == ZONED:
        return f"({value.sql} // {ZONE_STEP} + ({value.sql} % {ZONE_STEP} - {ZONE_MIDDLE}) * {_MINUTE})"
    if value.type.name == LOCAL:
        return f"({value.sql} + {session_zone.get() * _MINUTE})"
    if value.type.in_nanoseconds:
        return value.sql
    return f"((CAST(epoch_us({value.sql}) AS HUGEINT) + {_EPOCH_MICROS}) * 1000)"


def utc_nanos(value: Expr) -> str:
    """Return the nanoseconds in UTC; a datetime without a time zone is of the session's (SQL Language Reference)."""
    assert value.type is not None
    if value.type.name == ZONED:
        return f"({value.sql} // {ZONE_STEP})"
    if value.type.name == LOCAL:
        return value.sql
    return f"({wall_nanos(value)} - {session_zone.get() * _MINUTE})"


def offset_minutes(value: Expr) -> str:
    """Return the offset from UTC."""
    assert value.type is not None
    if value.type.name == ZONED:
        return f"({value.sql} % {ZONE_STEP} - {ZONE_MIDDLE})"
    return str(session_zone.get())


def instant(value: Expr) -> str:
    """Return what decides whether two values of one type are equal."""
    if value.type is not None and value.type.name == ZONED:
        return utc_nanos(value)
    return value.sql


def zoned(utc: str, offset: str, digits: int, *, nullable: bool) -> Expr:
    """Return a TIMESTAMP WITH TIME ZONE of nanoseconds in UTC and an offset in minutes."""
    sql = f"({utc} * {ZONE_STEP} + {offset} + {ZONE_MIDDLE})"
    return Expr(sql, moment_type(ZONED, digits), nullable=nullable)


def micros(nanos: str) -> str:
    """Return DuckDB's TIMESTAMP of nanoseconds, cutting off what is smaller than a microsecond."""
    return f"make_timestamp(CAST({nanos} // 1000 - {_EPOCH_MICROS} AS BIGINT))"


def clock(value: Expr) -> Expr:
    """Return what the clock on the wall shows as a DuckDB TIMESTAMP, for functions that work on that."""
    if value.type is None or not value.type.in_nanoseconds:
        return value
    return replace(value, sql=micros(wall_nanos(value)), type=TIMESTAMP, constant=None, bind=None)


def moved(value: Expr, change: Callable[[str], str]) -> Expr:
    """Return a datetime whose clock is changed by something that keeps fractions of a second, in its own type and offset."""
    kind = value.type
    assert kind is not None
    if not kind.in_nanoseconds:
        return Expr(change(value.sql), kind, nullable=value.nullable)
    changed = replace(value, sql=change(clock(value).sql), type=TIMESTAMP)
    nanos = f"({wall_nanos(changed)} + {wall_nanos(value)} % 1000)"
    if kind.name == ZONED:
        offset = offset_minutes(value)
        return zoned(f"({nanos} - {offset} * {_MINUTE})", offset, digits_of(kind), nullable=value.nullable)
    return Expr(
        f"({nanos} - {session_zone.get() * _MINUTE})" if kind.name == LOCAL else nanos,
        kind,
        nullable=value.nullable,
    )


def digits_of(kind: OracleType) -> int:
    """Return the digits of a second a datetime type keeps."""
    return 0 if kind.name == "DATE" else 6 if kind.scale is None else kind.scale


def _rounded(nanos: str, digits: int, source: OracleType) -> str:
    if digits >= digits_of(source):
        return nanos
    unit = 10 ** (9 - digits)
    return f"(({nanos} + {unit // 2}) // {unit} * {unit})"


def converted(value: Expr, target: OracleType) -> Expr:
    """Return the datetime as `target`, rounded to its digits; fractions of a second do not become a DATE."""
    source = value.type
    assert source is not None
    if source == target:
        return value
    plain = replace(value, type=target, constant=None, bind=None)
    if not source.in_nanoseconds and not target.in_nanoseconds:
        if digits_of(target) >= digits_of(source):
            return plain
        if target == DATE:
            return replace(plain, sql=_whole_seconds(wall_nanos(value), value.sql))
        return replace(plain, sql=micros(_rounded(wall_nanos(value), digits_of(target), source)))
    if target.name == ZONED:
        utc = _rounded(utc_nanos(value), digits_of(target), source)
        return zoned(utc, offset_minutes(value), digits_of(target), nullable=value.nullable)
    if target.name == LOCAL:
        return replace(plain, sql=_rounded(utc_nanos(value), digits_of(target), source))
    if target == DATE:
        return replace(plain, sql=_whole_seconds(wall_nanos(value), micros(wall_nanos(value))))
    nanos = _rounded(wall_nanos(value), digits_of(target), source)
    return replace(plain, sql=nanos if target.in_nanoseconds else micros(nanos))


def _whole_seconds(nanos: str, sql: str) -> str:
    problem = (
        "'ORA-03001: unimplemented feature (fakeoracle): storing fractions of a second in a DATE column'"
    )
    return f"CASE WHEN {nanos} % {NANOS} = 0 THEN {sql} WHEN {nanos} IS NOT NULL THEN error({problem}) END"


def common_type(types: list[OracleType]) -> OracleType:
    """Return the type that datetimes are converted to where they meet: the one that says most."""
    names = {kind.name for kind in types}
    name = next(name for name in (ZONED, LOCAL, "TIMESTAMP", "DATE") if name in names)
    return DATE if name == "DATE" else moment_type(name, max(digits_of(kind) for kind in types))


def comparable(left: Expr, right: Expr) -> tuple[Expr, Expr]:
    """Return both sides so that DuckDB compares what Oracle does: instants if one of them has a time zone."""
    kinds = [side.type for side in (left, right) if side.type]
    if not any(kind.in_nanoseconds for kind in kinds):
        return left, right
    nanos = utc_nanos if any(kind.is_instant for kind in kinds) else wall_nanos
    left, right = (
        s if s.type is None else replace(s, sql=nanos(s), constant=None, bind=None) for s in (left, right)
    )
    return left, right


def timestamp_literal(text: str) -> Expr:
    """Return TIMESTAMP 'text'; with an offset it is TIMESTAMP WITH TIME ZONE (SQL Language Reference, "Literals")."""
    match = _LITERAL.fullmatch(text.strip())
    if not match:
        raise unsupported("a TIMESTAMP literal of this form")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    whole = moment(year, month, day, hour, minute, second)
    fraction, offset = match[7] or "", match[8]
    if offset is None and len(fraction) <= 6:
        shown = f"{whole.isoformat(sep=' ')}.{fraction or '0'}"
        return Expr(f"CAST('{shown}' AS TIMESTAMP)", TIMESTAMP, nullable=False)
    seconds = (whole - datetime.datetime(1970, 1, 1)) // datetime.timedelta(seconds=1) + EPOCH_SECONDS  # noqa: DTZ001
    nanos = seconds * NANOS + int(fraction.ljust(9, "0"))
    digits = 6 if len(fraction) <= 6 else 9
    if offset is None:
        return Expr(f"CAST({nanos} AS HUGEINT)", moment_type("TIMESTAMP", digits), nullable=False)
    minutes = zone_offset(offset)
    utc = nanos - minutes * _MINUTE
    return zoned(f"CAST({utc} AS HUGEINT)", str(minutes), digits, nullable=False)


def moment(
    year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0
) -> datetime.datetime:
    """Return the moment of a literal; ORA-01839 and its family if there is none."""
    if not 1 <= month <= 12:
        raise OracleError(1843, "not a valid month")
    if not 1 <= year <= 9999:
        raise OracleError(1841, "(full) year must be between -4713 and +9999, and not be 0")
    for value, most, error in (
        (hour, 23, (1850, "hour must be between 0 and 23")),
        (minute, 59, (1851, "minutes must be between 0 and 59")),
        (second, 59, (1852, "seconds must be between 0 and 59")),
    ):
        if value > most:
            raise OracleError(*error)
    try:
        return datetime.datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - DATE has no time zone
    except ValueError:
        raise OracleError(1839, "date not valid for month specified") from None


def now(what: str, digits: int) -> Expr:
    """Return SYSTIMESTAMP, CURRENT_TIMESTAMP, LOCALTIMESTAMP or CURRENT_DATE; the server's own time zone is UTC."""
    utc = f"((CAST(epoch_us(now()) AS HUGEINT) + {_EPOCH_MICROS}) * 1000)"
    zone = 0 if what == "SYSTIMESTAMP" else session_zone.get()
    here = zoned(utc, str(zone), 6, nullable=False)
    if what == "CURRENT_DATE":
        return replace(here, sql=f"date_trunc('second', {micros(wall_nanos(here))})", type=DATE)
    if what == "LOCALTIMESTAMP":
        return converted(here, moment_type("TIMESTAMP", digits))
    return converted(here, moment_type(ZONED, digits))


def at_zone(value: Expr, minutes: int) -> Expr:
    """Return value AT TIME ZONE offset: the same instant seen elsewhere; ORA-30084 for a DATE."""
    if value.type is None or not value.is_datetime or value.type == DATE:
        raise OracleError(30084, "invalid data type for datetime primary with time zone modifier")
    return zoned(utc_nanos(value), str(minutes), digits_of(value.type), nullable=value.nullable)


def from_zone(value: Expr, minutes: int) -> Expr:
    """Return FROM_TZ(value, offset): the same clock time, there."""
    if value.type is None or value.type.name != "TIMESTAMP":
        raise OracleError(932, f"inconsistent datatypes: expected TIMESTAMP got {value.shown}")
    utc = f"({wall_nanos(value)} - {minutes * _MINUTE})"
    return zoned(utc, str(minutes), digits_of(value.type), nullable=value.nullable)


def extract_utc(value: Expr) -> Expr:
    """Return SYS_EXTRACT_UTC(value)."""
    if value.type is None or not value.is_datetime or value.type == DATE:
        raise OracleError(30175, "invalid type given for an argument")
    kind = moment_type("TIMESTAMP", digits_of(value.type))
    nanos = utc_nanos(value)
    sql = nanos if kind.in_nanoseconds else micros(nanos)
    return Expr(sql, kind, nullable=value.nullable)


_PARTS = {"YEAR": "year", "MONTH": "month", "DAY": "day", "HOUR": "hour", "MINUTE": "minute"}


def extracted(part: str, value: Expr) -> Expr:
    """Return EXTRACT(part FROM value); of a value with a time zone the parts are those in UTC (SQL Language Reference)."""
    if (
        value.type is None
        or not value.is_datetime
        or (value.type == DATE and part not in ("YEAR", "MONTH", "DAY"))
    ):
        raise OracleError(30076, "invalid extract field for extract source")
    if part in ("TIMEZONE_HOUR", "TIMEZONE_MINUTE"):
        if not value.type.is_instant:
            raise OracleError(30076, "invalid extract field for extract source")
        unit = "//" if part == "TIMEZONE_HOUR" else "%"
        minutes = f"CAST({offset_minutes(value)} AS BIGINT)"
        return _whole(f"(sign({minutes}) * (abs({minutes}) {unit} 60))", value)
    if value.type.name == LOCAL and session_zone.get():
        raise unsupported("EXTRACT from a TIMESTAMP WITH LOCAL TIME ZONE where the session is not in UTC")
    nanos = utc_nanos(value) if value.type.is_instant else wall_nanos(value)
    if part == "SECOND":
        sql = f"CAST(({nanos} % {_MINUTE}) AS DECIMAL(11, 0))"
        return Expr(f"CAST({sql} * 0.000000001 AS DECIMAL(11, 9))", NUMBER, (11, 9), nullable=value.nullable)
    if part not in _PARTS:
        raise unsupported(f"EXTRACT({part})")
    moment_sql = micros(nanos) if value.type.in_nanoseconds else value.sql
    return _whole(f"{_PARTS[part]}({moment_sql})", value)


def _whole(sql: str, value: Expr) -> Expr:
    return Expr(f"CAST({sql} AS DECIMAL(10, 0))", NUMBER, (10, 0), nullable=value.nullable)
