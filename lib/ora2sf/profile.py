"""What the staged rows hold, field by field; made batch by batch while they are staged, in flat memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from types import MappingProxyType
from typing import Any

import polars as pl

from ora2sf.fields import (
    SET_NULL,
    AnyField,
    BooleanField,
    ConstantField,
    DateField,
    DateTimeField,
    DecimalField,
    IntegerField,
)
from ora2sf.tables import TableConfig

#: So many of the smallest hashes are kept of each field (Bar-Yossef et al., Counting Distinct Elements in a Data Stream):
#: fewer distinct values are counted exactly, more with a standard error of 1 / sqrt(4,094) = 1.6 %.
KEPT_HASHES = 4_096
ERROR_PERCENT = 1.6
_HASHES = 2.0**64
#: Most values of one field that are counted one by one.
MOST_COUNTED = 2_000
_SHOWN = 100
_PLAIN = (BooleanField, DateField, DateTimeField, IntegerField, DecimalField)
_NO_LIMITS: Mapping[str, int] = MappingProxyType({})

Value = str | int | Decimal


@dataclass
class FieldProfile:
    """One field in the staged rows.

    Attributes:
        nulls: rows in which it is empty, or emptied by ``#N/A``.
        least, most: its smallest and largest value, numbers as numbers, everything else as the text that is sent.
        longest: characters of its longest text; 0 for fields that are no text.
        too_long: rows whose text has more characters than Salesforce keeps.
        counted: value → rows, for a field whose values are counted one by one.
        uncounted: rows with further values, once there were too many.
        in_full: distinct values and the smallest and largest one are known.
    """

    spec: AnyField
    rows: int = 0
    nulls: int = 0
    least: Value | None = None
    most: Value | None = None
    longest: int = 0
    too_long: int = 0
    counted: Counter[str] = field(default_factory=Counter)
    uncounted: int = 0
    in_full: bool = True
    hashes: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.UInt64))

    @property
    def distinct_is_exact(self) -> bool:
        """Whether every distinct value was counted."""
        return len(self.hashes) < KEPT_HASHES

    @property
    def distinct(self) -> int:
        """Distinct values; an estimate unless :attr:`distinct_is_exact`."""
        if self.distinct_is_exact:
            return len(self.hashes)
        return min(round((KEPT_HASHES - 1) * _HASHES / float(self.hashes[-1])), self.rows - self.nulls)

    @property
    def bound(self) -> int | None:
        """The largest hash that still counts, or None while all do."""
        return None if self.distinct_is_exact else int(self.hashes[-1])

    def add(self, seen: _Seen) -> None:
        """Adds what one batch holds."""
        self.rows += seen.rows
        self.nulls += seen.nulls
        self.least = min((v for v in (self.least, seen.least) if v is not None), default=None)
        self.most = max((v for v in (self.most, seen.most) if v is not None), default=None)
        self.longest = max(self.longest, seen.longest)
        self.too_long += seen.too_long
        for value, rows in seen.counted:
            if value in self.counted or len(self.counted) < MOST_COUNTED:
                self.counted[value] += rows
            else:
                self.uncounted += rows
        if seen.hashes is None:
            self.in_full = False
            return
        bound = self.bound
        fresh = seen.hashes if bound is None else seen.hashes.filter(seen.hashes < bound)
        if len(fresh):
            self.hashes = pl.concat([self.hashes, fresh]).unique().sort().head(KEPT_HASHES)

    def as_json(self) -> dict[str, Any]:
        """What ``preflight.json`` keeps (docs/preflight.md)."""
        return {
            "field": self.spec.field,
            "type": self.spec.type,
            "rows": self.rows,
            "nulls": self.nulls,
            "distinct": self.distinct if self.in_full else None,
            "distinct_is_exact": self.distinct_is_exact and self.in_full,
            "min": _shown(self.least),
            "max": _shown(self.most),
            "longest": self.longest,
            "too_long": self.too_long,
            "values": dict(self.counted.most_common()),
            "uncounted": self.uncounted,
        }


@dataclass(frozen=True)
class _Seen:
    """What one batch holds of one field; the names are those of :class:`FieldProfile`."""

    rows: int
    nulls: int
    least: Value | None
    most: Value | None
    longest: int
    too_long: int
    counted: list[tuple[str, int]]
    hashes: pl.Series | None


Look = list[_Seen]


class Profiler:
    """Profiles the staged rows of one table.

    Args:
        kept: field → characters that Salesforce keeps of it; longer texts are counted.
        counted: fields whose values are counted one by one.
        in_full: also distinct values, the smallest and the largest one: four fifths of the work.
    """

    def __init__(
        self,
        config: TableConfig,
        kept: Mapping[str, int] = _NO_LIMITS,
        counted: frozenset[str] = frozenset(),
        *,
        in_full: bool = True,
    ) -> None:
        self._config, self._kept, self._counted, self._in_full = config, kept, counted, in_full
        self.fields = [FieldProfile(spec) for spec in config.fields]

    def begin_again(self) -> None:
        """Forgets everything: the rows are staged anew."""
        self.fields = [FieldProfile(spec) for spec in self._config.fields]

    def look(self, rows: pl.DataFrame) -> Look:
        """What a batch holds; threads may look at several side by side."""
        out = rows.select(self._expressions)
        return [self._seen(out, profile, rows) for profile in self.fields] if rows.height else []

    def add(self, look: Look) -> None:
        """Adds what :meth:`look` found."""
        for profile, seen in zip(self.fields, look, strict=False):
            profile.add(seen)

    @cached_property
    def _expressions(self) -> list[pl.Expr]:
        expressions = []
        for spec in self._config.fields:
            value, name = _value(spec), spec.field
            expressions.append(value.null_count().alias(f"{name}.nulls"))
            if self._in_full:
                typed = _typed(spec, value)
                expressions += [
                    typed.min().alias(f"{name}.least"),
                    typed.max().alias(f"{name}.most"),
                    value.hash(7).alias(f"{name}.hash"),
                ]
            if not isinstance(spec, _PLAIN):
                expressions.append(value.str.len_chars().max().alias(f"{name}.longest"))
        return expressions

    def _seen(self, out: pl.DataFrame, profile: FieldProfile, rows: pl.DataFrame) -> _Seen:
        spec, name = profile.spec, profile.spec.field
        nulls = int(out[f"{name}.nulls"][0])
        longest = 0 if isinstance(spec, _PLAIN) else int(out[f"{name}.longest"][0] or 0)
        kept = self._kept.get(name, longest)
        value = rows.select(_value(spec)).to_series() if name in self._counted or longest > kept else None
        return _Seen(
            rows=rows.height,
            nulls=nulls,
            least=out[f"{name}.least"][0] if self._in_full else None,
            most=out[f"{name}.most"][0] if self._in_full else None,
            longest=longest,
            too_long=0 if value is None or longest <= kept else int((value.str.len_chars() > kept).sum()),
            counted=_counts(value) if value is not None and name in self._counted else [],
            hashes=self._hashes(out, profile, rows, nulls) if self._in_full else None,
        )

    @staticmethod
    def _hashes(out: pl.DataFrame, profile: FieldProfile, rows: pl.DataFrame, nulls: int) -> pl.Series:
        """The distinct hashes of a batch that may still be among the smallest."""
        hashes = out[f"{profile.spec.field}.hash"]
        if nulls:
            hashes = hashes.filter(rows.select(_value(profile.spec).is_not_null()).to_series())
        if bound := profile.bound:  # nearly nothing is left of a field with many values
            hashes = hashes.filter(hashes < bound)
        return hashes.unique()


def _value(spec: AnyField) -> pl.Expr:
    """The staged text, null where the field is empty or emptied."""
    text = pl.col(spec.header)
    if isinstance(spec, ConstantField):
        return pl.when(~text.is_in(["", SET_NULL])).then(text)
    return pl.when(text != SET_NULL).then(text) if getattr(spec, "null", "") == SET_NULL else text


def _typed(spec: AnyField, value: pl.Expr) -> pl.Expr:
    """The value in the order of its own type; dates and times of four-digit years are in order as text."""
    if isinstance(spec, IntegerField):
        return value.cast(pl.Int64)
    return value.cast(pl.Decimal(38, spec.scale)) if isinstance(spec, DecimalField) else value


def _counts(values: pl.Series) -> list[tuple[str, int]]:
    return [(value, rows) for value, rows in values.drop_nulls().value_counts().rows()]


def _shown(value: Value | None) -> str | int | None:
    if isinstance(value, Decimal):
        return format(value, "f")
    return value[:_SHOWN] if isinstance(value, str) else value
