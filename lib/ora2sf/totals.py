"""COUNT, SUM, MIN and MAX of numbers, dates and datetimes, on both sides, without a float between them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from typing import Any

from ora2sf.equality import MEASURED, Compared, Kind

#: Digits of a whole or decimal number that a double always holds (IEEE 754); SOQL answers sums as doubles.
DOUBLE_DIGITS = 15
_AT_ONCE = 10
_EPOCH = dt.date(1970, 1, 1)


@dataclass(frozen=True)
class Total:
    """What one side holds of one field.

    Attributes:
        count: values that are not empty.
        sum: of numbers; of the days since 1970-01-01 of dates; of the milliseconds since then of datetimes;
            None where nobody adds up.
        smallest, largest: as text; None without values.
    """

    count: int
    sum: Decimal | None
    smallest: str | None
    largest: str | None

    def as_json(self) -> dict[str, Any]:
        """The same, the sum as exact text."""
        return vars(self) | {"sum": None if self.sum is None else f"{self.sum:f}"}


@dataclass(frozen=True)
class Line:
    """One field on both sides.

    Attributes:
        note: why the two cannot be compared, or how exactly they were.
        rough: the sums have more digits than the org's double, and are equal as far as that goes.
    """

    field: str
    kind: Kind
    staged: Total
    target: Total | None
    note: str = ""
    rough: bool = False

    @property
    def differs(self) -> bool:
        """Both sides are known, and are not the same."""
        if self.target is None:
            return False
        ours, theirs = self.staged, self.target
        added = ours.sum is not None and theirs.sum is not None and not self.rough
        ends = (ours.count, ours.smallest, ours.largest) != (theirs.count, theirs.smallest, theirs.largest)
        return ends or (added and ours.sum != theirs.sum)


def measured(fields: Sequence[Compared]) -> list[Compared]:
    """The fields that have totals."""
    return [field for field in fields if field.kind in MEASURED]


# DuckDB


def columns(fields: Sequence[Compared], value: Callable[[Compared], str]) -> str:
    """The aggregates of all fields as SQL, five a field; ``value`` names a field's typed column."""
    return ", ".join(part for field in fields for part in _aggregates(field.kind, value(field)))


def _aggregates(kind: Kind, value: str) -> tuple[str, ...]:
    if kind == "number":  # whole and broken parts apart: together their sum could leave 38 digits
        sums = (f"sum(trunc({value}))", f"sum({value} - trunc({value}))")
    elif kind == "date":
        sums = (f"sum(CAST(datediff('day', DATE '1970-01-01', {value}) AS HUGEINT))", "0")
    else:
        sums = (f"sum(CAST(epoch_ms({value}) AS HUGEINT))", "0")
    return (f"count({value})", *sums, f"min({value})", f"max({value})")


def read(fields: Sequence[Compared], row: Sequence[Any]) -> list[Total]:
    """One row of :func:`columns` as totals."""
    return [_total(field.kind, *row[5 * at : 5 * at + 5]) for at, field in enumerate(fields)]


def _total(kind: Kind, count: int, whole: Any, broken: Any, smallest: Any, largest: Any) -> Total:
    with localcontext(prec=80):
        total = None if whole is None else plain(Decimal(whole) + Decimal(broken))
    return Total(count, total, _shown(kind, smallest), _shown(kind, largest))


def plain(number: Decimal) -> Decimal:
    """The same number without zeros at its end; exact, which ``normalize`` of more than 28 digits is not."""
    digits = f"{number:f}"
    cut = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return Decimal("0") if cut in {"-0", ""} else Decimal(cut)


def _shown(kind: Kind, value: Any) -> str | None:
    if value is None:
        return None
    if kind == "number":
        return f"{plain(Decimal(value)):f}"
    if kind == "date":
        return value if isinstance(value, str) else value.isoformat()
    moment = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
    if moment.tzinfo is not None:
        moment = moment.astimezone(dt.UTC).replace(tzinfo=None)
    return str(moment.isoformat(timespec="milliseconds")) + "Z"


# SOQL


def queries(sobject: str, fields: Sequence[Compared]) -> Iterator[tuple[list[Compared], str]]:
    """SOQL for the totals of a few fields at a time; it adds up no dates (SOQL guide: Aggregate Functions)."""
    for start in range(0, len(fields), _AT_ONCE):
        some = list(fields[start : start + _AT_ONCE])
        asked = ", ".join(part for at, field in enumerate(some) for part in _asked(at, field))
        yield some, f"SELECT {asked} FROM {sobject}"


def _asked(at: int, field: Compared) -> Iterator[str]:
    names = {"COUNT": "c", "SUM": "s", "MIN": "n", "MAX": "x"}
    for function, alias in names.items():
        if function != "SUM" or field.kind == "number":
            yield f"{function}({field.field}) {alias}{at}"


def answered(fields: Sequence[Compared], record: Mapping[str, Any]) -> list[Total]:
    """The answer to one of :func:`queries`; its numbers must have been read as exact decimals."""
    return [_answer(at, field, record) for at, field in enumerate(fields)]


def _answer(at: int, field: Compared, record: Mapping[str, Any]) -> Total:
    total = record.get(f"s{at}")
    return Total(
        count=int(record[f"c{at}"]),
        sum=None if total is None else plain(Decimal(total)),
        smallest=_shown(field.kind, record.get(f"n{at}")),
        largest=_shown(field.kind, record.get(f"x{at}")),
    )


def as_double(line: Line) -> Line:
    """The line with a note if the org's sum, a double, cannot say more than that the two may be equal."""
    ours, theirs = line.staged.sum, line.target.sum if line.target else None
    if ours is None or theirs is None or ours == theirs or len(ours.as_tuple().digits) <= DOUBLE_DIGITS:
        return line
    if float(ours) != float(theirs):
        return line
    note = f"the sums are equal as doubles, which is what the org adds in: {DOUBLE_DIGITS} digits for certain"
    return replace(line, note=note, rough=True)
