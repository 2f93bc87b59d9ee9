"""Date format models: what TO_CHAR writes and TO_DATE reads (SQL Language Reference, "Datetime Format Models").

Names are AMERICAN English and weeks those of the territory AMERICA. What depends on other settings is refused.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from .errors import OracleError, unsupported

GREGORIAN = datetime.datetime(1582, 10, 15)  # noqa: DTZ001 - before it Oracle counts days by the Julian calendar
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_LONGEST_NAME = 9
_JULIAN_DAY_OF_ORDINAL = 1721425
_MOST_PICOS = 9

_ELEMENTS = (
    "RRRR", "IYYY", "YYYY", "SSSSS", "MONTH", "HH24", "HH12", "A.M.", "P.M.", "YYY", "IYY", "MON", "DDD", "DAY", "FF1",
    "FF2", "FF3", "FF4", "FF5", "FF6", "FF7", "FF8", "FF9", "TZH", "TZM", "TZR", "YY", "RR", "IY", "MM", "DD", "DY", "HH", "MI", "SS", "FF",
    "AM", "PM", "WW", "IW", "CC", "FM", "FX", "Y", "I", "D", "Q", "W", "J",
)  # fmt: skip
_KNOWN_ELSEWHERE = (
    "SYYYY", "SYEAR", "YEAR", "Y,YYY", "SCC", "B.C.", "A.D.", "BC", "AD", "TZD", "TS", "DS", "DL", "EE",
    "RM", "E", "X",
)  # fmt: skip
_SUFFIX = re.compile(r"(SPTH|THSP|SP|TH)", re.IGNORECASE)
_QUOTED = re.compile(r'"([^"]*)"')
_PUNCTUATION = frozenset(" -/,.;:!#$%&'()*+<=>?@[\\]^_`{|}~\t\n")
_GROUPS = {  # what may be given once only, and Oracle's complaint if it is given twice
    "YYYY": "year", "YYY": "year", "YY": "year", "Y": "year", "RRRR": "year", "RR": "year",
    "MM": "month", "MON": "month", "MONTH": "month", "HH": "hour", "HH12": "hour", "HH24": "hour",
    "DAY": "weekday", "DY": "weekday", "DD": "day", "DDD": "yearday", "MI": "minute", "SS": "second",
    "SSSSS": "daysecond", "J": "julian", "AM": "meridian", "PM": "meridian", "A.M.": "meridian", "P.M.": "meridian",
}  # fmt: skip
_TWICE = {
    "year": (1812, "year may only be specified once"),
    "month": (1816, "month may only be specified once"),
    "hour": (1813, "hour may only be specified once"),
    "weekday": (1817, "day of week may only be specified once"),
    "meridian": (1810, "format code appears twice"),
}
_NOT_FOR_INPUT = ("Q", "W", "WW", "IW", "IYYY", "IYY", "IY", "I", "CC")
_ZONES = ("TZH", "TZM", "TZR")
_TIMES = frozenset(["HH", "HH12", "HH24", "MI", "SS", "SSSSS", "AM", "PM", "A.M.", "P.M."])


class ConversionError(OracleError):
    """A text that its format cannot read: what DEFAULT ... ON CONVERSION ERROR catches."""


@dataclass(frozen=True)
class Element:
    """One part of a model: the name of an element as it is looked up, or '' and plain text.

    `spelling` is how the model writes the element; `bare` whether FM rules here; `exact` whether FX does; `quoted`
    tells text in quotes from punctuation.
    """

    name: str
    spelling: str
    bare: bool = False
    exact: bool = False
    quoted: bool = False

    @property
    def is_fraction(self) -> bool:
        """FF or FF1 to FF9."""
        return self.name.startswith("FF")

    @property
    def is_time(self) -> bool:
        """Whether it is about the time of day."""
        return self.name in _TIMES or self.is_fraction


@lru_cache(maxsize=500)
def elements(model: str) -> tuple[Element, ...]:
    """Take a model apart; ORA-01821 for what is none, ORA-03001 for what is known to Oracle only."""
    found = []
    at, bare, exact = 0, False, False
    while at < len(model):
        quoted = _QUOTED.match(model, at)
        if quoted:
            found.append(Element("", quoted[1], bare, exact, quoted=True))
            at = quoted.end()
            continue
        name = _named(model, at)
        if not name:
            found.append(Element("", model[at], bare, exact))
            at += 1
            continue
        spelling = model[at : at + len(name)]
        at += len(name)
        bare, exact = bare ^ (name == "FM"), exact ^ (name == "FX")
        if name not in ("FM", "FX"):
            found.append(Element(name, spelling, bare, exact))
            _refuse_suffix(model, at)
    return tuple(found)


def _named(model: str, at: int) -> str:
    """Return the name of the element that begins at `at`; '' for punctuation."""
    rest = model[at : at + 6].upper()
    other = next((name for name in _KNOWN_ELSEWHERE if rest.startswith(name)), "")
    name = next((name for name in _ELEMENTS if rest.startswith(name)), "")
    if len(other) > len(name):
        raise unsupported(f"the date format element {other}")
    if name or model[at] in _PUNCTUATION:
        return name
    if not model[at].isascii():
        raise unsupported("a date format with unquoted letters outside ASCII")
    raise OracleError(1821, "date format not recognized")


def _refuse_suffix(model: str, at: int) -> None:
    if _SUFFIX.match(model, at):
        raise unsupported("the date format suffixes TH and SP")


# --- writing ---------------------------------------------------------------------------------------------------------


def written(moment: datetime.datetime, model: str, nanos: int = 0, offset: int = 0) -> str:
    """Return what TO_CHAR gives; `nanos` is what a microsecond is too coarse for, `offset` that of the time zone in minutes."""
    return "".join(_write(element, moment, nanos, offset) for element in elements(model))


def longest(model: str) -> int:
    """Return the most characters TO_CHAR can give."""
    widest = datetime.datetime(2023, 9, 27, 23, 59, 59)  # noqa: DTZ001 - a Wednesday in September
    return sum(
        len(_write(element, widest)) for element in elements(model.replace("FM", "").replace("fm", ""))
    )


def check_for_output(model: str, *, fractions: bool, zone: bool = False) -> None:
    """Refuse a model TO_CHAR cannot use: a DATE has no fractions of a second (ORA-01821), nor has it a time zone."""
    for element in elements(model):
        if (element.is_fraction and not fractions) or (element.name in _ZONES and not zone):
            raise OracleError(1821, "date format not recognized")


def _write(element: Element, moment: datetime.datetime, nanos: int = 0, offset: int = 0) -> str:
    if not element.name:
        return element.spelling
    if element.is_fraction:
        digits = int(element.name[2:] or 6)
        return f"{moment.microsecond:06d}{nanos:03d}"[:digits]
    if element.name in _ZONES:
        if element.bare:
            raise unsupported(f"the date format element {element.name} after FM")
        hours, minutes = divmod(abs(offset), 60)
        hour = f"{'-' if offset < 0 else '+'}{hours:02d}"
        return {"TZH": hour, "TZM": f"{minutes:02d}", "TZR": f"{hour}:{minutes:02d}"}[element.name]
    if element.name in _NUMBERS:
        width, number = _NUMBERS[element.name]
        value = number(moment)
        return str(value) if element.bare else f"{value:0{width}d}"
    return _write_name(element, moment)


def _write_name(element: Element, moment: datetime.datetime) -> str:
    name = element.name
    if name in ("MONTH", "MON"):
        word = MONTHS[moment.month - 1]
    elif name in ("DAY", "DY"):
        word = DAYS[_dated(moment).weekday()]
    else:
        word = "AM" if moment.hour < 12 else "PM"
        word = word if "." not in name else f"{word[0]}.M."
        return word.lower() if element.spelling[0].islower() else word
    if name in ("MON", "DY"):
        word = word[:3]
    elif not element.bare:
        word = word.ljust(_LONGEST_NAME)
    if element.spelling[0].islower():
        return word.lower()
    return word.upper() if element.spelling[1].isupper() else word


def _dated(moment: datetime.datetime) -> datetime.datetime:
    """Return the moment if days are counted as in Python's calendar."""
    if moment < GREGORIAN:
        raise unsupported("counting days before 1582-10-15 (the Julian calendar)")
    return moment


def _day_of_year(moment: datetime.datetime) -> int:
    return _dated(moment).timetuple().tm_yday


_NUMBERS: dict[str, tuple[int, Callable[[datetime.datetime], int]]] = {
    "YYYY": (4, lambda m: m.year), "YYY": (3, lambda m: m.year % 1000), "YY": (2, lambda m: m.year % 100),
    "Y": (1, lambda m: m.year % 10), "RRRR": (4, lambda m: m.year), "RR": (2, lambda m: m.year % 100),
    "IYYY": (4, lambda m: _dated(m).isocalendar()[0]), "IYY": (3, lambda m: _dated(m).isocalendar()[0] % 1000),
    "IY": (2, lambda m: _dated(m).isocalendar()[0] % 100), "I": (1, lambda m: _dated(m).isocalendar()[0] % 10),
    "IW": (2, lambda m: _dated(m).isocalendar()[1]), "MM": (2, lambda m: m.month), "DD": (2, lambda m: m.day),
    "DDD": (3, _day_of_year), "D": (1, lambda m: _dated(m).isoweekday() % 7 + 1),
    "HH": (2, lambda m: (m.hour + 11) % 12 + 1), "HH12": (2, lambda m: (m.hour + 11) % 12 + 1),
    "HH24": (2, lambda m: m.hour), "MI": (2, lambda m: m.minute), "SS": (2, lambda m: m.second),
    "SSSSS": (5, lambda m: m.hour * 3600 + m.minute * 60 + m.second), "Q": (1, lambda m: (m.month + 2) // 3),
    "W": (1, lambda m: (m.day + 6) // 7), "WW": (2, lambda m: (_day_of_year(m) + 6) // 7),
    "CC": (2, lambda m: (m.year + 99) // 100), "J": (7, lambda m: _dated(m).toordinal() + _JULIAN_DAY_OF_ORDINAL),
}  # fmt: skip


# --- reading ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=500)
def input_elements(model: str, *, fractions: bool) -> tuple[Element, ...]:
    """Return a model's elements if TO_DATE (with `fractions`: TO_TIMESTAMP) can use it."""
    found = elements(model)
    seen: set[str] = set()
    groups: set[str] = set()
    for element in found:
        name, group = element.name, _GROUPS.get(element.name, element.name)
        if name in _NOT_FOR_INPUT:
            raise OracleError(1820, "format code cannot appear in date input format")
        if name in _ZONES:
            raise unsupported(f"reading the date format element {name}")
        if name == "D" or (element.exact and name in ("MON", "MONTH", "DAY", "DY")):
            raise unsupported(f"reading the date format element {name}" + (" with FX" if name != "D" else ""))
        if element.is_fraction and not fractions:
            raise OracleError(1821, "date format not recognized")
        if name and name in seen:
            raise OracleError(1810, "format code appears twice")
        if name and group in groups:
            raise OracleError(*_TWICE.get(group, (1810, "format code appears twice")))
        seen.add(name)
        groups.add(group)
    _check_together(groups, seen)
    return found


def _check_together(groups: set[str], seen: set[str]) -> None:
    if "meridian" in groups and "HH24" in seen:
        raise OracleError(1818, "'HH24' precludes use of meridian indicator")
    if "meridian" in groups and "hour" not in groups:
        raise unsupported("a meridian indicator without an hour in a date input format")
    for strong, weak in (("daysecond", {"hour", "minute", "second"}), ("julian", {"year", "month", "day", "yearday"}),
                         ("yearday", {"month", "day"})):  # fmt: skip
        if strong in groups and groups & weak:
            raise unsupported(f"{strong} together with {min(groups & weak)} in a date input format")


def read(text: str, model: str, today: datetime.date, *, fractions: bool = False) -> datetime.datetime:
    """Return what TO_DATE gives; `today` gives the month that a model without year or month means.

    Raises ConversionError with Oracle's number for a text that the model cannot read.
    """
    return _Reader(text, today).read(input_elements(model, fractions=fractions))


@dataclass
class _Reader:
    text: str
    today: datetime.date
    at: int = 0
    fixed: bool = False
    values: dict[str, int] = field(default_factory=dict)

    def read(self, parts: tuple[Element, ...]) -> datetime.datetime:
        pieces = list(_pieces(parts))
        for place, (separators, element, adjacent) in enumerate(pieces):
            self.fixed = self._separate(separators)
            if element is None:
                break
            if self.at >= len(self.text):
                if all(piece[1] is None or piece[1].is_time for piece in pieces[place:]):
                    return self._moment()
                raise ConversionError(1840, "input value not long enough for date format")
            self._element(element, adjacent=adjacent)
        if not (pieces and any(p[1] and p[1].exact for p in pieces)):
            self._blanks()
        if self.at < len(self.text):
            raise ConversionError(1830, "date format picture ends before converting entire input string")
        return self._moment()

    def _blanks(self) -> int:
        start = self.at
        while self.text[self.at : self.at + 1] in (" ", "\t", "\n") and self.at < len(self.text):
            self.at += 1
        return self.at - start

    def _separate(self, separators: list[Element]) -> bool:
        """Step over what stands between two elements; return whether the text leaves the punctuation out."""
        if any(separator.exact for separator in separators):
            for separator in separators:
                self._exactly(separator)
            return False
        if any(separator.quoted for separator in separators):
            for separator in separators:
                self._literally(separator)
            return False
        found = self._blanks()
        for _ in separators:
            mark = self.text[self.at : self.at + 1]
            if not mark or mark.isalnum():
                break
            if mark not in (" ", "\t", "\n"):
                self.at += 1
                found += 1
            found += self._blanks()
        return bool(separators) and not found

    def _exactly(self, separator: Element) -> None:
        wanted = separator.spelling
        if self.text[self.at : self.at + len(wanted)].upper() != wanted.upper():
            if self.at >= len(self.text):
                return
            raise ConversionError(1861, "literal does not match format string")
        self.at += len(wanted)

    def _literally(self, separator: Element) -> None:
        """Step over quoted text, and the punctuation around it, where text and model agree."""
        wanted = separator.spelling
        if self.at < len(self.text) and self.text[self.at : self.at + len(wanted)] != wanted:
            raise unsupported("reading a date whose text differs from the quoted text of its format")
        self.at += len(wanted)

    def _element(self, element: Element, *, adjacent: bool) -> None:
        name = element.name
        if name in ("MON", "MONTH", "DAY", "DY"):
            self._name(name)
        elif name in ("AM", "PM", "A.M.", "P.M."):
            self._meridian(name)
        elif element.is_fraction:
            self._fraction(element)
        elif name == "MM" and not element.exact and self.text[self.at].isalpha():
            self._name("MM")
        else:
            self._number(element, adjacent=adjacent)

    def _digits(self, most: int) -> str:
        found = re.compile(r"[0-9]*").match(self.text, self.at, self.at + most)
        assert found is not None
        return found[0]

    def _number(self, element: Element, *, adjacent: bool) -> None:
        name = element.name
        width = _NUMBERS[name][0]
        most = 4 if name in ("YY", "RR") and not adjacent and not element.exact else width
        digits = self._digits(most)
        if not digits:
            if name.startswith(("Y", "R")):
                raise ConversionError(1841, "(full) year must be between -4713 and +9999, and not be 0")
            raise ConversionError(1858, "a non-numeric character was found where a numeric was expected")
        short = len(digits) < width
        if short and self.fixed and name != "RRRR":
            raise ConversionError(1861, "literal does not match format string")
        if short and element.exact and not element.bare:
            raise ConversionError(1862, "the numeric value does not match the length of the format item")
        self.at += len(digits)
        if name[0] in "YR":
            self._year(name, digits)
            return
        self._set(name, int(digits))

    def _year(self, name: str, digits: str) -> None:
        year, length = int(digits), len(digits)
        if name in ("YY", "RR", "RRRR") and length == 3:
            raise unsupported(f"reading a year of three digits as {name}")
        if name in ("RR", "RRRR") and length <= 2:
            century = self.today.year // 100 + (self.today.year % 100 >= 50) - (year >= 50)
            year += 100 * century
        elif name in ("YYY", "YY", "Y") and length < 4:
            unit = 10 ** {"YYY": 3, "YY": 2, "Y": 1}[name]
            year += self.today.year // unit * unit
        if not 1 <= year <= 9999:
            raise ConversionError(1841, "(full) year must be between -4713 and +9999, and not be 0")
        self.values["year"] = year

    def _set(self, name: str, value: int) -> None:
        low, high, number, message = _RANGES[name]
        if not low <= value <= high:
            raise ConversionError(number, message)
        self.values[_GROUPS[name]] = value

    def _name(self, name: str) -> None:
        words, key = (MONTHS, "month") if name.startswith("M") else (DAYS, "weekday")
        rest = self.text[self.at :].upper()
        for number, word in enumerate(words, 1):
            for form in (word.upper(), word[:3].upper()):
                if rest.startswith(form):
                    self.at += len(form)
                    self.values[key] = number
                    return
        if self.fixed:
            raise ConversionError(1861, "literal does not match format string")
        if name == "MM":
            raise ConversionError(1858, "a non-numeric character was found where a numeric was expected")
        if key == "month":
            raise ConversionError(1843, "not a valid month")
        raise ConversionError(1846, "not a valid day of the week")

    def _meridian(self, name: str) -> None:
        wanted = {"AM": 0, "PM": 12} if "." not in name else {"A.M.": 0, "P.M.": 12}
        for form, hours in wanted.items():
            if self.text[self.at :].upper().startswith(form):
                self.at += len(form)
                self.values["meridian"] = hours
                return
        raise ConversionError(1855, "AM/A.M. or PM/P.M. required")

    def _fraction(self, element: Element) -> None:
        digits = self._digits(_MOST_PICOS + 1)
        if not digits:
            raise ConversionError(1858, "a non-numeric character was found where a numeric was expected")
        if len(digits) > int(element.name[2:] or _MOST_PICOS):
            raise unsupported("reading more digits of a second than the format has")
        if int(digits.ljust(9, "0")[6:]):
            raise unsupported("reading fractions of a microsecond")
        self.at += len(digits)
        self.values["fraction"] = int(digits.ljust(6, "0")[:6])

    def _moment(self) -> datetime.datetime:
        values = self.values
        if "julian" in values:
            day = _from_ordinal(values["julian"] - _JULIAN_DAY_OF_ORDINAL)
        elif "yearday" in values:
            day = self._of_year(values["yearday"])
        else:
            day = _day(
                values.get("year", self.today.year),
                values.get("month", self.today.month),
                values.get("day", 1),
            )
        if "weekday" in values and _dated(day).isoweekday() != values["weekday"]:
            raise ConversionError(1835, "day of week conflicts with Julian date")
        hour = values.get("hour", 0)
        if "meridian" in values:
            hour = hour % 12 + values["meridian"]
        seconds = values.get(
            "daysecond", hour * 3600 + values.get("minute", 0) * 60 + values.get("second", 0)
        )
        return day + datetime.timedelta(seconds=seconds, microseconds=values.get("fraction", 0))

    def _of_year(self, number: int) -> datetime.datetime:
        first = _dated(_day(self.values.get("year", self.today.year), 1, 1))
        day = first + datetime.timedelta(days=number - 1)
        if day.year != first.year:
            raise ConversionError(1848, "day of year must be between 1 and 365 (366 for leap year)")
        return day


def _pieces(parts: tuple[Element, ...]) -> Iterator[tuple[list[Element], Element | None, bool]]:
    """Yield (what stands before, element, whether the next element follows at once); the last may be no element."""
    before: list[Element] = []
    for place, part in enumerate(parts):
        if not part.name:
            before.append(part)
            continue
        adjacent = place + 1 < len(parts) and bool(parts[place + 1].name)
        yield before, part, adjacent
        before = []
    if before:
        yield before, None, False


def _from_ordinal(ordinal: int) -> datetime.datetime:
    if ordinal < GREGORIAN.toordinal():
        raise unsupported("reading a Julian day before 1582-10-15")
    return datetime.datetime.fromordinal(ordinal)


def _day(year: int, month: int, day: int) -> datetime.datetime:
    """Return midnight of a day; ORA-01839 if the month is shorter."""
    if (1582, 10, 5) <= (year, month, day) < (1582, 10, 15) or (
        (month, day) == (2, 29) and year < 1582 and not year % 100 and year % 400
    ):
        raise unsupported("a day that only one of the Julian and Gregorian calendars has")
    try:
        return datetime.datetime(year, month, day)  # noqa: DTZ001 - DATE has no time zone
    except ValueError:
        raise ConversionError(1839, "date not valid for month specified") from None


_RANGES = {
    "MM": (1, 12, 1843, "not a valid month"),
    "DD": (1, 31, 1847, "day of month must be between 1 and last day of month"),
    "DDD": (1, 366, 1848, "day of year must be between 1 and 365 (366 for leap year)"),
    "HH": (1, 12, 1849, "hour must be between 1 and 12"),
    "HH12": (1, 12, 1849, "hour must be between 1 and 12"),
    "HH24": (0, 23, 1850, "hour must be between 0 and 23"),
    "MI": (0, 59, 1851, "minutes must be between 0 and 59"),
    "SS": (0, 59, 1852, "seconds must be between 0 and 59"),
    "SSSSS": (0, 86399, 1853, "seconds in day must be between 0 and 86399"),
    "J": (1, 5373484, 1854, "julian date must be between 1 and 5373484"),
}

_PLAIN = {
    "YYYY": "%Y",
    "MM": "%m",
    "DD": "%d",
    "HH24": "%H",
    "MI": "%M",
    "SS": "%S",
    "FF3": "%g",
    "FF6": "%f",
}


def plain_strftime(model: str) -> str | None:
    """Return DuckDB's own form of a model that means the same there; None if it has none."""
    out = []
    for element in elements(model):
        if element.bare or (element.name and element.name not in _PLAIN):
            return None
        out.append(_PLAIN[element.name] if element.name else element.spelling.replace("%", "%%"))
    return "".join(out)
