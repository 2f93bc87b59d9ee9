"""SOQL's date literals as ranges of days (SOQL guide: Date Formats and Date Literals in WHERE; documented).

A literal is the days from ``start`` up to, but without, ``end``. Days and weeks are those of the user, who lives
in GMT with the en_US locale: a week begins on Sunday. Fiscal literals are not here; they are refused by name.
"""

from __future__ import annotations

import re
from datetime import date, timedelta

_UNITS = {"DAYS": "DAY", "WEEKS": "WEEK", "MONTHS": "MONTH", "QUARTERS": "QUARTER", "YEARS": "YEAR"}
_NAMED = {
    "YESTERDAY": ("DAY", -1, 0),
    "TODAY": ("DAY", 0, 1),
    "TOMORROW": ("DAY", 1, 2),
    # Today and 90 days before: 91 days; the coming ones begin tomorrow.
    "LAST_90_DAYS": ("DAY", -90, 1),
    "NEXT_90_DAYS": ("DAY", 1, 91),
}
_PLAIN = re.compile(r"(LAST|THIS|NEXT)_(WEEK|MONTH|QUARTER|YEAR)\Z")
_COUNTED = re.compile(r"(?:(LAST|NEXT)_N_([A-Z]+)|N_([A-Z]+)_AGO):(\d{1,9})\Z", re.ASCII)


def date_range(literal: str, today: date) -> tuple[date, date] | None:
    """(start, end) of a literal such as ``LAST_N_DAYS:3``; None when it is none.

    Raises OverflowError for days outside the years 1 to 9999.
    """
    found = _span(literal.upper())
    if found is None:
        return None
    unit, first, after = found
    try:
        return _start(today, unit, first), _start(today, unit, after)
    except ValueError as error:
        raise OverflowError(str(error)) from None


def _span(literal: str) -> tuple[str, int, int] | None:
    """(unit, first, after): which units from the current one belong to the literal."""
    if literal in _NAMED:
        return _NAMED[literal]
    if plain := _PLAIN.match(literal):
        first = {"LAST": -1, "THIS": 0, "NEXT": 1}[plain.group(1)]
        return plain.group(2), first, first + 1
    counted = _COUNTED.match(literal)
    unit = _UNITS.get(counted.group(2) or counted.group(3)) if counted else None
    if counted is None or unit is None:
        return None
    count = int(counted.group(4))
    if counted.group(3):
        return unit, -count, -count + 1
    if counted.group(1) == "NEXT":
        return unit, 1, count + 1
    # The past days include today; weeks and longer end before the current one.
    return unit, -count, 1 if unit == "DAY" else 0


def _start(today: date, unit: str, shift: int) -> date:
    """First day of the unit that lies ``shift`` units from the one with today in it."""
    if unit == "DAY":
        return today + timedelta(days=shift)
    if unit == "WEEK":
        return today + timedelta(days=7 * shift - today.isoweekday() % 7)
    months = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}[unit]
    number = (today.year * 12 + today.month - 1) // months * months + shift * months
    return date(number // 12, number % 12 + 1, 1)
