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
from polars import selectors as cs

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
_SEED = 7
_NO_HASHES = pl.Series(dtype=pl.UInt64)
_NO_VALUE = pl.Series([None], dtype=pl.String).hash(_SEED)[0]
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
    _smallest: pl.Series = field(default_factory=lambda: _NO_HASHES)
    _fresh: list[pl.Series] = field(default_factory=list)

    @property
    def hashes(self) -> pl.Series:
        """The smallest hashes of its values, ascending."""
        if self._fresh:
            self._smallest = pl.concat([self._smallest, *self._fresh]).unique().sort().head(KEPT_HASHES)
            self._fresh = []
        return self._smallest

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
        """A hash from which on none counts, or None while all do; never too low, whoever adds at the same time."""
        smallest = self._smallest
        return None if len(smallest) < KEPT_HASHES else int(smallest[-1])

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
        if len(seen.hashes):
            self._fresh.append(seen.hashes)
            if sum(map(len, self._fresh)) >= KEPT_HASHES:
                _ = self.hashes

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
        """What a batch holds; threads may look at several side by side.

        In few calls of polars: each of them waits for the interpreter's lock, which the driver holds while it decodes.
        """
        if not rows.height:
            return []
        bounds = {one.spec.field: one.bound for one in self.fields} if self._in_full else {}
        few = [name for name, bound in bounds.items() if bound is None]
        many = [one.spec.field for one in self.fields if one.spec.field not in few]
        numbers = (self._numbers[name] for name in many if name in self._numbers)
        values = rows.select(*self._values, *numbers)
        out = values.select(
            *self._nulls,
            *(pl.col(name).unique().implode() for name in few),
            *(one for name in many for one in self._of_many[name]),
        )
        out = out.with_columns(one for name in few for one in self._of_few[name])
        if small := [name for name in many if name in bounds]:
            hashes = values.select(pl.col(name).hash(_SEED) for name in small)
            out = out.hstack(hashes.select(_small(name, bounds[name]) for name in small))
        found = out.select(~cs.list(), cs.list().list.len()).row(0, named=True)
        return [self._seen(profile, values, out, found) for profile in self.fields]

    def add(self, look: Look) -> None:
        """Adds what :meth:`look` found."""
        for profile, seen in zip(self.fields, look, strict=False):
            profile.add(seen)

    @cached_property
    def _values(self) -> list[pl.Expr]:
        return [_value(spec).alias(spec.field) for spec in self._config.fields]

    @cached_property
    def _nulls(self) -> list[pl.Expr]:
        return [pl.col(spec.field).null_count().alias(f"{spec.field}.nulls") for spec in self._config.fields]

    @cached_property
    def _numbers(self) -> dict[str, pl.Expr]:
        """Field → its values as numbers; everything else is in order as text, even dates: their years have four digits."""
        specs = [spec for spec in self._config.fields if isinstance(spec, IntegerField | DecimalField)]
        return {spec.field: _number(spec, _value(spec)).alias(f"{spec.field}.number") for spec in specs}

    @cached_property
    def _of_few(self) -> dict[str, list[pl.Expr]]:
        """Field → what is looked for in its distinct values."""
        found = {}
        for spec in self._config.fields:
            value = pl.col(spec.field).explode()
            hashes = value.hash(_SEED).implode().alias(f"{spec.field}.hashes")
            found[spec.field] = [*self._wanted(spec, value, _number(spec, value)), hashes]
        return found

    @cached_property
    def _of_many(self) -> dict[str, list[pl.Expr]]:
        """Field → what is looked for in all of its values, beside the smallest hashes."""
        found = {}
        for spec in self._config.fields:
            typed = pl.col(f"{spec.field}.number" if spec.field in self._numbers else spec.field)
            found[spec.field] = self._wanted(spec, pl.col(spec.field), typed)
        return found

    def _wanted(self, spec: AnyField, value: pl.Expr, typed: pl.Expr) -> list[pl.Expr]:
        wanted = {}
        if self._in_full:
            wanted = {"least": typed.min(), "most": typed.max()}
        if not isinstance(spec, _PLAIN):
            wanted["longest"] = value.str.len_chars().max()
        return [found.alias(f"{spec.field}.{name}") for name, found in wanted.items()]

    def _seen(
        self, profile: FieldProfile, values: pl.DataFrame, out: pl.DataFrame, found: dict[str, Any]
    ) -> _Seen:
        name = profile.spec.field
        longest, nulls = int(found.get(f"{name}.longest") or 0), int(found[f"{name}.nulls"])
        kept = self._kept.get(name, longest)
        hashes = _NO_HASHES
        if found.get(f"{name}.hashes"):
            hashes = out[f"{name}.hashes"][0]
            hashes = hashes.filter(hashes != _NO_VALUE) if nulls else hashes
        return _Seen(
            rows=values.height,
            nulls=nulls,
            least=found.get(f"{name}.least"),
            most=found.get(f"{name}.most"),
            longest=longest,
            too_long=int((values[name].str.len_chars() > kept).sum()) if longest > kept else 0,
            counted=_counts(values[name]) if name in self._counted else [],
            hashes=hashes if self._in_full else None,
        )


def _small(name: str, bound: int | None) -> pl.Expr:
    """The hashes that may still be among the smallest: nearly none of a field with many values."""
    return pl.col(name).filter(pl.col(name) < bound).implode().alias(f"{name}.hashes")


def _value(spec: AnyField) -> pl.Expr:
    """The staged text, null where the field is empty or emptied."""
    text = pl.col(spec.header)
    if isinstance(spec, ConstantField):
        return pl.when(~text.is_in(["", SET_NULL])).then(text)
    return pl.when(text != SET_NULL).then(text) if getattr(spec, "null", "") == SET_NULL else text


def _number(spec: AnyField, text: pl.Expr) -> pl.Expr:
    """The value in the order of its own type; dates and times of four-digit years are in order as text."""
    if isinstance(spec, IntegerField):
        return text.cast(pl.Int64)
    return text.cast(pl.Decimal(38, spec.scale)) if isinstance(spec, DecimalField) else text


def _counts(values: pl.Series) -> list[tuple[str, int]]:
    return [(value, rows) for value, rows in values.drop_nulls().value_counts().rows()]


def _shown(value: Value | None) -> str | int | None:
    if isinstance(value, Decimal):
        return format(value, "f")
    return value[:_SHOWN] if isinstance(value, str) else value
