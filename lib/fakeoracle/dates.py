"""Oracle's arithmetic of DATE values."""

from __future__ import annotations

import calendar
import datetime
import re
from decimal import Context, Decimal

from .errors import OracleError, unsupported
from .formats import DAYS, GREGORIAN

_SECONDS_A_DAY = 86_400
_WIDE = Context(prec=60)
_UNITS = {
    "SCC": "CC", "CC": "CC", "SYYYY": "YYYY", "YYYY": "YYYY", "YEAR": "YYYY", "SYEAR": "YYYY", "YYY": "YYYY", "YY": "YYYY",
    "Y": "YYYY", "IYYY": "IYYY", "IYY": "IYYY", "IY": "IYYY", "I": "IYYY", "Q": "Q", "MONTH": "MM", "MON": "MM", "MM": "MM",
    "RM": "MM", "WW": "WW", "IW": "IW", "W": "W", "DDD": "DD", "DD": "DD", "J": "DD", "DAY": "D", "DY": "D", "D": "D",
    "HH": "HH", "HH12": "HH", "HH24": "HH", "MI": "MI",
}  # fmt: skip
_INTERVAL_UNITS = ("DAY", "HOUR", "MINUTE", "SECOND")
_INTERVAL_SECONDS = (_SECONDS_A_DAY, 3600, 60, 1)
_INTERVAL_MOST = (0, 23, 59, 59)


def _out_of_range() -> OracleError:
    return OracleError(1841, "(full) year must be between -4713 and +9999, and not be 0")


def _gregorian(moment: datetime.datetime) -> datetime.datetime:
    if moment < GREGORIAN:
        raise unsupported("date arithmetic before 1582-10-15 (the Julian calendar)")
    return moment


def plus_seconds(moment: datetime.datetime, seconds: int) -> datetime.datetime:
    """Return the moment so many seconds later; ORA-01841 outside the years of a DATE."""
    try:
        return _gregorian(_gregorian(moment) + datetime.timedelta(seconds=seconds))
    except OverflowError:
        raise _out_of_range() from None


def plus_days(moment: datetime.datetime, days: Decimal) -> datetime.datetime:
    """Return DATE + NUMBER: to the nearest second (a half, of which nothing is documented, is refused)."""
    seconds = _WIDE.multiply(days, Decimal(_SECONDS_A_DAY))
    if abs(seconds) > 10**12:
        raise _out_of_range()
    whole = seconds.to_integral_value(context=_WIDE)
    if abs(seconds - whole) == Decimal("0.5"):
        raise unsupported("date arithmetic that ends at half a second")
    return plus_seconds(moment, int(whole))


def days_between(later: datetime.datetime, earlier: datetime.datetime) -> Decimal:
    """Return DATE - DATE in days."""
    difference = _gregorian(later) - _gregorian(earlier)
    return _WIDE.divide(
        Decimal(difference.days * _SECONDS_A_DAY + difference.seconds), Decimal(_SECONDS_A_DAY)
    )


def _month_length(year: int, month: int) -> int:
    return calendar.monthrange(year, month)[1]


def _months_later(moment: datetime.datetime, months: int) -> tuple[int, int]:
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    if not 1 <= year <= 9999:
        raise _out_of_range()
    return year, month + 1


def add_months(moment: datetime.datetime, months: int) -> datetime.datetime:
    """ADD_MONTHS: the last day of a month stays the last day (SQL Language Reference, "ADD_MONTHS")."""
    year, month = _months_later(_gregorian(moment), months)
    last = _month_length(year, month)
    at_end = moment.day == _month_length(moment.year, moment.month)
    return _gregorian(moment.replace(year=year, month=month, day=last if at_end else min(moment.day, last)))


def plus_months(moment: datetime.datetime, months: int) -> datetime.datetime:
    """DATE + INTERVAL ... MONTH: ORA-01839 where the month has no such day (same reference, "Interval Arithmetic")."""
    year, month = _months_later(_gregorian(moment), months)
    if moment.day > _month_length(year, month):
        raise OracleError(1839, "date not valid for month specified")
    return _gregorian(moment.replace(year=year, month=month))


def months_between(later: datetime.datetime, earlier: datetime.datetime) -> Decimal:
    """MONTHS_BETWEEN: whole for equal days or two last days, else counted in months of 31 days (same reference)."""
    _gregorian(later), _gregorian(earlier)
    months = Decimal((later.year - earlier.year) * 12 + later.month - earlier.month)
    ends = all(day.day == _month_length(day.year, day.month) for day in (later, earlier))
    if later.day == earlier.day or ends:
        return months
    seconds = (later.day - earlier.day) * _SECONDS_A_DAY + _second_of_day(later) - _second_of_day(earlier)
    return _WIDE.add(months, _WIDE.divide(Decimal(seconds), Decimal(31 * _SECONDS_A_DAY)))


def _second_of_day(moment: datetime.datetime) -> int:
    return moment.hour * 3600 + moment.minute * 60 + moment.second


def last_day(moment: datetime.datetime) -> datetime.datetime:
    """LAST_DAY: the time of day stays."""
    return moment.replace(day=_month_length(_gregorian(moment).year, moment.month))


def next_day(moment: datetime.datetime, name: str) -> datetime.datetime:
    """NEXT_DAY: what follows a valid abbreviation is ignored (SQL Language Reference, "NEXT_DAY"); the time stays."""
    wanted = name.strip()[:3].upper()
    for number, day in enumerate(DAYS):
        if day[:3].upper() == wanted:
            ahead = (number - _gregorian(moment).weekday() - 1) % 7 + 1
            return plus_seconds(moment, ahead * _SECONDS_A_DAY)
    raise OracleError(1846, "not a valid day of the week")


def _unit(name: str) -> str:
    unit = _UNITS.get(name.upper())
    if unit is None:
        raise OracleError(1898, "too many precision specifiers")
    return unit


def truncated(moment: datetime.datetime, unit: str) -> datetime.datetime:
    """TRUNC(date, unit); weeks begin on Sunday (territory AMERICA), those of the year and month on their first day."""
    unit = _unit(unit)
    if unit == "MI":
        return moment.replace(second=0, microsecond=0)
    if unit == "HH":
        return moment.replace(minute=0, second=0, microsecond=0)
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if unit in ("DD", "MM", "YYYY"):
        return {"DD": day, "MM": day.replace(day=1), "YYYY": day.replace(month=1, day=1)}[unit]
    if unit == "Q":
        return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
    if unit == "CC":
        return day.replace(year=(day.year - 1) // 100 * 100 + 1, month=1, day=1)
    return _week(_gregorian(day), unit)


def _week(day: datetime.datetime, unit: str) -> datetime.datetime:
    if unit == "IYYY":
        return datetime.datetime.fromisocalendar(day.isocalendar()[0], 1, 1)
    past = {
        "IW": day.weekday(),
        "D": day.isoweekday() % 7,
        "W": (day.day - 1) % 7,
        "WW": (day.timetuple().tm_yday - 1) % 7,
    }[unit]
    return day - datetime.timedelta(days=past)


def rounded(moment: datetime.datetime, unit: str) -> datetime.datetime:
    """ROUND(date, unit): months round up on the 16th, quarters on the 16th of their second month, years on July 1."""
    unit = _unit(unit)
    start = truncated(moment, unit)
    if unit in ("DD", "HH", "MI"):
        length = {"DD": _SECONDS_A_DAY, "HH": 3600, "MI": 60}[unit]
        up = (moment - start).total_seconds() * 2 >= length
        return plus_seconds(start, length) if up else start
    months = {"MM": 1, "Q": 3, "YYYY": 12}.get(unit)
    if months is None:
        raise unsupported(f"ROUND of a date to {unit}")
    middle = {
        "MM": moment.day >= 16,
        "Q": (moment.month - start.month, moment.day) >= (1, 16),
        "YYYY": moment.month >= 7,
    }[unit]
    return add_months(start, months) if middle else start


def interval(text: str, unit: str, *, to: str | None = None, precision: int = 2) -> tuple[int, int]:
    """Return (months, seconds) of an interval literal; ORA-01867 for bad text, ORA-01873 for too large a field."""
    sign = -1 if text.strip().startswith("-") else 1
    body = text.strip().lstrip("+-")
    if unit in ("YEAR", "MONTH"):
        return sign * _interval_months(body, unit, to, precision), 0
    return 0, sign * _interval_seconds(body, unit, to or unit, precision)


def _interval_months(body: str, unit: str, to: str | None, precision: int) -> int:
    fields = re.fullmatch(r"(\d+)-(\d+)" if to else r"(\d+)()", body)
    if not fields or to not in (None, "MONTH"):
        raise OracleError(1867, "the interval is invalid")
    if len(fields[1].lstrip("0")) > precision:
        raise OracleError(1873, "the leading precision of the interval is too small")
    if int(fields[2] or 0) > 11:
        raise OracleError(1843, "not a valid month")
    return int(fields[1]) * (12 if unit == "YEAR" else 1) + int(fields[2] or 0)


def _interval_seconds(body: str, unit: str, to: str, precision: int) -> int:
    if unit not in _INTERVAL_UNITS or to not in _INTERVAL_UNITS:
        raise unsupported(f"INTERVAL ... {unit}")
    first, last = _INTERVAL_UNITS.index(unit), _INTERVAL_UNITS.index(to)
    if "." in body:
        raise unsupported("an INTERVAL with fractions of a second")
    fields = [part for part in re.split(r"[ :]+", body) if part]
    if len(fields) != last - first + 1 or not all(part.isdigit() for part in fields):
        raise OracleError(1867, "the interval is invalid")
    if len(fields[0].lstrip("0")) > precision:
        raise OracleError(1873, "the leading precision of the interval is too small")
    for place, part in enumerate(fields[1:], first + 1):
        if int(part) > _INTERVAL_MOST[place]:
            raise OracleError(1850 + place - 1, ("hour must be between 0 and 23", "minutes must be between 0 and 59",
                                                 "seconds must be between 0 and 59")[place - 1])  # fmt: skip
    return sum(int(part) * _INTERVAL_SECONDS[first + place] for place, part in enumerate(fields))


def today() -> datetime.date:
    """Return the server's day, which decides what TO_DATE makes of a text without a month or a century."""
    return datetime.datetime.now(datetime.UTC).date()
