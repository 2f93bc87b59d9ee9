"""Windows: half-open ranges of a typed expression of one column, and one for NULL or what cannot be read.

The expression of a date kept as text puts its digits into the order ``YYYYMMDD``. It knows a text by its shape alone, so that
no row raises an error, whatever stands in it (ORA-01843, ORA-01861), on any release of Oracle and under any NLS setting:
``31/02/2026`` lies between two days, ``TBA`` cannot be read. TRANSLATE, SUBSTR and TRIM are deterministic, so an index
on the expression is possible; REGEXP_LIKE and ``TO_DATE ... DEFAULT NULL ON CONVERSION ERROR`` (12.2) are not used for that.
The first window has no lower bound and the last one no upper one: a row that comes later is in one of them, too.
"""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal

from pydantic import Field

from ora2sf.fields import Strict
from ora2sf.tables import TableConfig, Window

#: What one slice's rows have in common: the campaign's SCN, or a read-only transaction of its own.
Consistency = Literal["campaign", "slice"]
UNREADABLE = "unreadable"
#: Most ranges that a column of numbers is counted in.
_STEPS = 1_000
_DIGITS = (("YYYY", "0000"), ("MM", "00"), ("DD", "00"), ("HH24", "00"), ("MI", "00"), ("SS", "00"))
#: What Oracle calls the types that a window can be of.
_KINDS = {"text": ("CHAR(", "VARCHAR2("), "date": ("DATE",), "timestamp": ("TIMESTAMP(",), "number": ("NUMBER",)}  # fmt: skip


class Span(Strict):
    """One window.

    Attributes:
        name: names its folder.
        low, high: from ``low`` on and before ``high``, None where it is open: ``20250131`` for dates kept as text,
            ``2025-01-31`` for dates and timestamps, digits for numbers.
        readable: false for the window of NULL and of what cannot be read, which has no bounds.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,79}$")
    low: str | None = None
    high: str | None = None
    readable: bool = True


@dataclass(frozen=True)
class Portion:
    """What one slice reads of its table, and as of when; the whole of it now by default.

    Attributes:
        scn: the system change number that is read as of; without it the slice has a moment of its own.
        since: rows whose ``changed_column`` is not before this local time of the source, or is NULL.
        most: so many rows at most, the first in the order of the table file: a trial.
    """

    span: Span | None = None
    scn: int | None = None
    since: dt.datetime | None = None
    most: int | None = None

    @property
    def consistency(self) -> Consistency:
        """Whose moment the rows are of."""
        return "slice" if self.scn is None else "campaign"

    def now(self) -> Portion:
        """The same rows without the campaign's moment."""
        return replace(self, scn=None)

    def count(self, config: TableConfig) -> tuple[str, dict[str, Any]]:
        """The SELECT that counts the slice, also of a trial the whole of it, and its binds."""
        where, binds = self.condition(config)
        return config.count(where, as_of=self.scn is not None), binds | self._moment()

    def select(self, config: TableConfig) -> tuple[str, dict[str, Any]]:
        """The SELECT that reads the slice, and its binds."""
        where, binds = self.condition(config)
        sql, binds = config.select(where, as_of=self.scn is not None), binds | self._moment()
        if self.most is None:
            return sql, binds
        return f"SELECT {', '.join(config.columns)} FROM ({sql}\n) WHERE ROWNUM <= :most", binds | {"most": self.most}  # fmt: skip

    def _moment(self) -> dict[str, Any]:
        return {} if self.scn is None else {"scn": self.scn}

    def condition(self, config: TableConfig) -> tuple[str, dict[str, Any]]:
        """The condition of the slice's rows, empty for all of them, and its binds."""
        parts: list[str] = []
        binds: dict[str, Any] = {}
        if self.span is not None:
            assert config.window is not None  # only such a table is cut
            inside, binds = inside_of(self.span, config.window)
            parts.append(inside)
        if self.since is not None:
            parts.append(f"({config.changed_column} >= :since OR {config.changed_column} IS NULL)")
            binds = binds | {"since": self.since}
        return " AND ".join(parts), binds


def expression(window: Window) -> str:
    """What a window's ranges are ranges of."""
    if window.type != "text":
        return window.column
    column = f"TRIM({window.column})"
    cases = (_case(column, mask) for mask in (window.format or "", *window.also))
    return f"CASE {' '.join(cases)} END"


def _case(column: str, mask: str) -> str:
    shape = mask
    for letters, digits in _DIGITS:
        shape = shape.replace(letters, digits)
    parts = (f"SUBSTR({column}, {mask.index(part) + 1}, {len(part)})" for part in ("YYYY", "MM", "DD"))
    return f"WHEN TRANSLATE({column}, '123456789', '000000000') = '{shape}' THEN {' || '.join(parts)}"


def inside_of(span: Span, window: Window, tag: str = "") -> tuple[str, dict[str, Any]]:
    """The condition that a row is in a window, and its binds, whose names end in ``tag``."""
    what = expression(window)
    if not span.readable:
        return f"{what} IS NULL", {}
    bounds = [(f"low{tag}", ">=", span.low), (f"high{tag}", "<", span.high)]
    given = [(name, sign, bound) for name, sign, bound in bounds if bound is not None]
    if not given:
        return f"{what} IS NOT NULL", {}
    condition = " AND ".join(f"{what} {sign} :{name}" for name, sign, _ in given)
    return condition, {name: _bound(bound, window) for name, _, bound in given}


def _bound(text: str, window: Window) -> str | Decimal | dt.datetime:
    match window.type:
        case "text":
            return text
        case "number":
            return Decimal(text)
        case _:
            return dt.datetime.fromisoformat(text)


def fits(window: Window, kind: str) -> bool:
    """Whether a column of an Oracle type, such as ``CHAR(10)``, can be cut as the window says."""
    return kind.startswith(_KINDS[window.type]) and "ZONE" not in kind


# how the rows are spread


def extent(window: Window, source: str) -> str:
    """The SELECT of the smallest and the largest number, whole; for a window of numbers."""
    return (
        f"SELECT TO_CHAR(FLOOR(MIN({window.column}))), TO_CHAR(FLOOR(MAX({window.column}))) FROM ({source}\n)"
    )


def spread(window: Window, source: str, lowest: int = 0, highest: int = 0) -> str:
    """The SELECT that counts the rows by day, or by one of a thousand ranges of numbers; NULL counts what cannot be read."""
    match window.type:
        case "text":
            key = expression(window)
        case "number":
            key = f"TO_CHAR(FLOOR(({window.column} - ({lowest})) / {_step(lowest, highest)}))"
        case _:  # no date before the year 1 can be a bind
            key = f"TO_CHAR(TRUNC(GREATEST({window.column}, DATE '0001-01-01')), 'YYYY-MM-DD')"
    return f"SELECT K, COUNT(*) FROM (SELECT {key} AS K FROM ({source}\n)) GROUP BY K"


def bounds_of(
    window: Window, counted: Iterable[tuple[str | None, int]], lowest: int = 0, highest: int = 0
) -> dict[str | None, int]:
    """What :func:`spread` counted: lower bound of each range → rows, ascending; None for what cannot be read."""
    found = dict(counted)
    unreadable = found.pop(None, None)
    if window.type == "number":
        step = _step(lowest, highest)
        low_of: dict[str | None, int] = {key: int(key or 0) for key in found}
        spread_: dict[str | None, int] = {
            str(lowest + low_of[key] * step): found[key] for key in sorted(found, key=lambda key: low_of[key])
        }
    else:
        spread_ = {key: found[key] for key in sorted(found, key=str)}
    return spread_ if unreadable is None else spread_ | {None: unreadable}


def _step(lowest: int, highest: int) -> int:
    return max(1, -(-(highest - lowest + 1) // _STEPS))


def cut(spread_: Mapping[str | None, int], most: int) -> list[Span]:
    """Windows of at most ``most`` rows where a single day (or range of numbers) allows that; together they are the table.

    Args:
        spread_: from :func:`bounds_of`.
    """
    lows: list[str] = []
    held = 0
    for low, rows in spread_.items():
        if low is None:
            continue
        if not lows or held + rows > most:
            lows.append(low)
            held = 0
        held += rows
    opened: Sequence[str | None] = [None, *lows[1:]] if lows else []
    ends: Sequence[str | None] = [*lows[1:], None]
    spans = [
        Span(name=f"w{n:03d}" if low is None else f"w{n:03d}_{low}", low=low, high=high)
        for n, (low, high) in enumerate(zip(opened, ends, strict=False), 1)
    ]
    return [*spans, Span(name=UNREADABLE, readable=False)]


def together_all(spans: Sequence[Span]) -> bool:
    """Whether windows are together the table, each row in exactly one of them."""
    *ranges, last = spans
    lows, highs = [one.low for one in ranges], [one.high for one in ranges]
    return (
        all(one.readable for one in ranges)
        and not last.readable
        and len({one.name for one in spans}) == len(spans)
        and (not ranges or (lows[0] is None and highs[-1] is None))
        and lows[1:] == highs[:-1]
        and _ascending(lows[1:])
    )


def _ascending(bounds: Sequence[str | None]) -> bool:
    """Numbers by value, days as text; none of them open."""
    given = [bound for bound in bounds if bound is not None]
    if len(given) != len(bounds):
        return False
    numbers = all(re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", bound) for bound in given)
    order: list[Any] = [Decimal(bound) for bound in given] if numbers else given
    return all(one < following for one, following in itertools.pairwise(order))


def count_each(config: TableConfig, spans: Sequence[Span], portion: Portion) -> tuple[str, dict[str, Any]]:
    """One SELECT, so of one moment: the COUNT of the whole, then of each window by its own condition."""
    assert config.window is not None  # only such a table is cut
    counts, binds = ["COUNT(*)"], portion._moment()
    where, given = replace(portion, span=None).condition(config)
    for number, span in enumerate(spans, 1):
        inside, bound = inside_of(span, config.window, str(number))
        counts.append(f"COUNT(CASE WHEN {inside} THEN 1 END)")
        binds |= bound
    source = config.inner_select(as_of=portion.scn is not None)
    condition = f" WHERE {where}" if where else ""
    return f"SELECT {', '.join(counts)} FROM ({source}\n){condition}", binds | given
