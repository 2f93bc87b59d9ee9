"""Arrow batch → Salesforce text, column by column, with polars; what does not fit becomes a rejected row.

Every rule that turns a value into text stands in this file. No number passes through a float: numbers
arrive as Arrow decimals and leave as decimal text. One row that does not fit never stops the others: every
expression yields null where it has no answer, and a misfit says so. Rules of the receiving side:
https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/datafiles_prepare_csv.htm
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, localcontext
from functools import cache, reduce
from operator import or_
from typing import Literal
from zoneinfo import ZoneInfo

import polars as pl
from polars import selectors as cs

from ora2sf.errors import ConversionError, PreflightError
from ora2sf.fields import (
    DATE_MASKS,
    EARLIEST,
    EMAIL,
    LATEST,
    SET_NULL,
    AnyField,
    BooleanField,
    CodeField,
    ConstantField,
    DateField,
    DateTimeField,
    DecimalField,
    EmailField,
    IntegerField,
    KeyField,
    LookupField,
    PhoneField,
    PicklistField,
    TextField,
    UrlField,
    digits,
)
from ora2sf.tables import TableConfig

_TRUE = ("1", "Y", "T", "YES", "TRUE")
_FALSE = ("0", "N", "F", "NO", "FALSE")
_NUMBER_TEXT = re.compile(r"0|-?([1-9][0-9]*|(0|[1-9][0-9]*)\.[0-9]*[1-9])")
_CONTROL = r"[\x00-\x1f\x7f]"
_ROW = "__row"
_DAY = 86_400_000_000  # microseconds
_READS_AS_NULL = f"{SET_NULL} would be read as an order to empty the field"
#: The time zone tables that polars carries know no daylight saving from this year on.
_ZONES_END = dt.datetime(2100, 1, 1)  # noqa: DTZ001 - compared with local times
#: Clocks that were last changed before are taken as unchanged, until a batch with an older time comes.
_LONG_AGO = dt.datetime(1990, 1, 1)  # noqa: DTZ001 - compared with local times
#: The days whose text is looked up; others are written one by one.
_USUAL_DAYS = dt.date(1900, 1, 1), dt.date(2100, 12, 31)


@dataclass(frozen=True)
class Rejected:
    """One rejected row.

    Attributes:
        row: number of the row in reading order, from 1.
        key: its external id as far as it could be made.
        field: the first field at fault; rule: why; value: the source value as text.
        also: the other fields at fault, ``field: rule``.
    """

    row: int
    key: str
    field: str
    rule: str
    value: str
    also: str = ""

    def faults(self) -> list[tuple[str, str]]:
        """Every fault as (field, rule), the first one first."""
        others = (part.partition(": ") for part in self.also.split("; ") if part)
        return [(self.field, self.rule), *((name, rule) for name, _, rule in others)]


@dataclass
class Converted:
    """What came of one Arrow batch.

    Attributes:
        staged: one text column per field, named by it, plus ``__row`` (reading order, from 1).
        rejected: the rows that were refused, in reading order.
        changed: how many values a stated rule altered, by ``(field, rule)``.
    """

    staged: pl.DataFrame
    rejected: list[Rejected]
    changed: Counter[tuple[str, str]] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Quick:
    """Cheaper expressions for a batch whose values all fit, which is nearly every batch.

    Attributes:
        text, changes: as those of the rule, for such a batch.
        doubts: each is one truth value for the whole batch; if any is true the rule itself has to be applied.
    """

    text: pl.Expr
    doubts: tuple[pl.Expr, ...]
    changes: dict[str, pl.Expr] = field(default_factory=dict)


@dataclass(frozen=True)
class _Rule:
    """Polars expressions for one field: its text, each way in which it may not fit, each stated change."""

    text: pl.Expr
    misfits: dict[str, pl.Expr] = field(default_factory=dict)
    changes: dict[str, pl.Expr] = field(default_factory=dict)
    quick: _Quick | None = None


@dataclass(frozen=True)
class _Made:
    """The expressions of one field as columns of the outcome, either way.

    Attributes:
        columns: what is selected: the text under the field's header, and a column for each misfit and change.
        misfits: rule → its column; changes: rule → its column.
        doubt: whether the batch has to be looked at in full; None where that was done.
    """

    spec: AnyField
    columns: tuple[pl.Expr, ...]
    misfits: dict[str, str]
    changes: dict[str, str]
    doubt: pl.Expr | None = None

    @classmethod
    def in_full(cls, spec: AnyField, rule: _Rule) -> _Made:
        """Every value looked at on its own."""
        misfits = {name: f"!{spec.field}!{name}" for name in rule.misfits}
        changes = {name: f"{spec.field}~{name}" for name in rule.changes}
        flags = (expr.fill_null(value=False).alias(misfits[name]) for name, expr in rule.misfits.items())
        changed = (expr.alias(changes[name]) for name, expr in rule.changes.items())
        return cls(spec, (rule.text.alias(spec.header), *flags, *changed), misfits, changes)

    @classmethod
    def quickly(cls, spec: AnyField, quick: _Quick) -> _Made:
        """All values taken for good, and whether that may be wrong."""
        made = cls.in_full(spec, _Rule(quick.text, {}, quick.changes))
        doubt = reduce(or_, quick.doubts, pl.lit(value=False)).alias(f"?{spec.field}")
        return cls(spec, made.columns, {}, made.changes, doubt)


class _Shared:
    """Values that several expressions of a field use, made once: polars would parse a text date for each of them."""

    def __init__(self) -> None:
        self._kept: dict[str, pl.Expr] = {}

    def keep(self, name: str, value: pl.Expr) -> pl.Expr:
        """The value as a column of its own; it may use others that were kept before."""
        self._kept.setdefault(name, value.alias(name))
        return pl.col(name)

    def needed_by(self, wanted: Iterable[pl.Expr]) -> list[list[pl.Expr]]:
        """The columns that these expressions use, in steps: each one uses those of the steps before it."""
        uses: dict[str, set[str]] = {}
        names = {name for one in wanted for name in one.meta.root_names()}
        for name in reversed(self._kept):
            if name in names:
                uses[name] = set(self._kept[name].meta.root_names())
                names |= uses[name]
        steps = []
        while uses:
            ready = [name for name in self._kept if name in uses and not uses[name] & uses.keys()]
            steps.append([self._kept[name] for name in ready])
            uses = {name: roots for name, roots in uses.items() if name not in ready}
        return steps


def unusable(config: TableConfig, schema: dict[str, pl.DataType]) -> dict[str, str]:
    """Field → why its column cannot feed it; empty if every field can be made. Arguments as for :class:`Converter`."""
    return Converter.try_rules(config, schema, frozenset(), _Shared())[1]


class Converter:
    """The rules of one table file, built once for the column types that the source delivers.

    Args:
        config: the table file.
        schema: column name → polars type, as the source's Arrow batches have them.
        padded: names of the columns that Oracle pads with blanks (CHAR, NCHAR).

    Raises:
        PreflightError: a column is missing or its type cannot feed its field; all such fields are listed.
    """

    row_column = _ROW

    def __init__(self, config: TableConfig, schema: dict[str, pl.DataType], padded: frozenset[str]) -> None:
        self._config = config
        self._shared = _Shared()
        rules, problems = self.try_rules(config, schema, padded, self._shared)
        if problems:
            listed = "; ".join(f"{name}: {why}" for name, why in problems.items())
            raise PreflightError(
                f"The table file does not fit the source: {listed}.",
                f"Correct these fields in the table file of {config.table}.",
            )
        self._failing = {spec.field for spec in config.fields if spec.on_misfit == "fail"}
        self._full = [_Made.in_full(spec, rule) for spec, rule in rules]
        self._quick = [_Made.quickly(spec, rule.quick) for spec, rule in rules if rule.quick]
        self._columns = [expr for one in self._quick for expr in one.columns]
        self._columns += [one.doubt for one in self._quick if one.doubt is not None]
        self._doubts = [pl.col(f"?{one.spec.field}").first() for one in self._quick]
        self._steps = self._shared.needed_by(self._columns)

    @staticmethod
    def try_rules(
        config: TableConfig, schema: dict[str, pl.DataType], padded: frozenset[str], shared: _Shared
    ) -> tuple[list[tuple[AnyField, _Rule]], dict[str, str]]:
        """The rule of every field that can be made, and field → why it cannot."""
        columns = {name: _Column(name, kind, name in padded, shared) for name, kind in schema.items()}
        rules: list[tuple[AnyField, _Rule]] = []
        problems: dict[str, str] = {}
        for spec in config.fields:
            if missing := [name for name in spec.source if name not in columns]:
                problems[spec.field] = f"no column {', '.join(missing)}"
                continue
            try:
                rules.append((spec, _settle(spec, _rule(spec, columns, config.source_time_zone))))
            except _Unfit as error:
                problems[spec.field] = str(error)
        return rules, problems

    def convert(self, batch: pl.DataFrame, first_row: int) -> Converted:
        """Converts one batch; ``first_row`` is the number of its first row in reading order."""
        rows = pl.int_range(first_row, first_row + batch.height, dtype=pl.Int64, eager=True).alias(_ROW)
        made, out = self._made(batch, rows)
        rejected: list[Rejected] = []
        if flags := [flag for one in made for flag in one.misfits.values()]:
            bad = out.select(pl.any_horizontal(flags)).to_series()
            if bad.any():
                rejected = self._rejected(made, batch.filter(bad), out.filter(bad))
                self._stop_at(rejected)
                out = out.filter(~bad)
        changes = {name: (one.spec.field, rule) for one in made for rule, name in one.changes.items()}
        counts = out.select(pl.col(list(changes)).sum()).row(0) if changes else ()
        changed = Counter({rule: rows or 0 for rule, rows in zip(changes.values(), counts, strict=True)})
        return Converted(out.select(_ROW, *self._config.header), rejected, +changed)

    def attempted(self, batch: pl.DataFrame) -> pl.DataFrame:
        """What each field would be, for people who put a value right: the source's own text where it does not fit."""
        out = self._in_full(batch, [expr for one in self._full for expr in one.columns])
        source = batch.with_columns(cs.datetime().dt.strftime("%Y-%m-%d %H:%M:%S%.f"))
        before = list(source.iter_rows(named=True))
        cells = []
        for one in self._full:
            text = out[one.spec.header]
            flags = [out[name] for name in one.misfits.values()]
            if any(flag.any() for flag in flags):
                bad = pl.any_horizontal(flags)
                raw = pl.Series([shown(row, one.spec) for row in before], dtype=pl.String)
                text = pl.select(pl.when(bad).then(raw).otherwise(text)).to_series()
            cells.append(text.alias(one.spec.header))
        return pl.DataFrame(cells)

    def _made(self, batch: pl.DataFrame, rows: pl.Series) -> tuple[list[_Made], pl.DataFrame]:
        """The way each field was made, and the outcome: quickly where there is no doubt, else in full."""
        frame = batch
        for step in self._steps:
            frame = frame.with_columns(step)
        out = frame.select(rows, *self._columns)
        doubts = (
            out.select(self._doubts).row(0) if batch.height and self._doubts else [False] * len(self._quick)
        )
        sure = (one for one, doubt in zip(self._quick, doubts, strict=True) if not doubt)
        in_order = {one.spec.field: one for one in self._full}
        made = list((in_order | {one.spec.field: one for one in sure}).values())
        if full := [expr for one in made if one.doubt is None for expr in one.columns]:
            out = out.with_columns(self._in_full(batch, full))
        return made, out

    def _in_full(self, batch: pl.DataFrame, columns: list[pl.Expr]) -> pl.DataFrame:
        """Lazily, because many of these expressions have parts in common."""
        frame = batch.lazy()
        for step in self._shared.needed_by(columns):
            frame = frame.with_columns(step)
        return frame.select(columns).collect()

    def _stop_at(self, rejected: list[Rejected]) -> None:
        """Ends the extraction at the first row whose fault is of a field with ``on_misfit = "fail"``."""
        for one in rejected:
            if stopping := sorted({name for name, _ in one.faults()} & self._failing):
                raise ConversionError(
                    f"Row {one.row:,} (key {one.key or 'unknown'}): {stopping[0]} does not fit: {one.rule}; value {one.value!r}.",
                    f'Correct the source, or change on_misfit = "fail" of {stopping[0]} in the table file.',
                )

    def _rejected(self, made: list[_Made], source: pl.DataFrame, out: pl.DataFrame) -> list[Rejected]:
        # as text, because Python knows no year before 1
        source = source.with_columns(cs.datetime().dt.strftime("%Y-%m-%d %H:%M:%S%.f"))
        found = []
        for before, after in zip(source.iter_rows(named=True), out.iter_rows(named=True), strict=True):
            faults = [(one.spec, name) for one in made for name, flag in one.misfits.items() if after[flag]]
            spec, rule = faults[0]
            found.append(
                Rejected(
                    row=after[_ROW],
                    key=after[self._config.external_id_field] or "",
                    field=spec.field,
                    rule=rule,
                    value=shown(before, spec),
                    also="; ".join(f"{other.field}: {name}" for other, name in faults[1:]),
                )
            )
        return found


def _rule(spec: AnyField, columns: dict[str, _Column], zone: str) -> _Rule:
    match spec:
        case ConstantField():
            return _Rule(pl.lit(spec.value), quick=_Quick(pl.lit(spec.value), ()))
        case KeyField() | LookupField():
            return _key(spec, columns) if isinstance(spec, KeyField) else _lookup(spec, columns)
    column = columns[spec.column]
    match spec:
        case TextField():
            rule = _text(column, spec)
        case CodeField() | EmailField() | PhoneField() | UrlField():
            rule = _short_text(column, spec)
        case IntegerField():
            rule = _integer(column, spec)
        case DecimalField():
            rule = _decimal(column, spec)
        case BooleanField():
            rule = _boolean(column, spec)
        case DateField():
            rule = _date(column, spec)
        case DateTimeField():
            rule = _datetime(column, spec, zone)
        case PicklistField():
            rule = _picklist(column, spec)
    if spec.required:
        rule.misfits["required, but empty"] = rule.text.is_null() & ~_any(rule.misfits)
        if quick := rule.quick:
            rule = replace(rule, quick=replace(quick, doubts=(*quick.doubts, _some_null(quick.text))))
    return rule


def _key(spec: KeyField, columns: dict[str, _Column]) -> _Rule:
    parts = [columns[name].text() for name in spec.columns]
    text = pl.concat_str(parts, separator=spec.separator, ignore_nulls=False)
    misfits = {"empty key": text.is_null() | (text == "")} | _not_plain(text, spec.length)
    quick = _quick_joined(spec, columns)
    empty = quick and replace(quick, doubts=(*quick.doubts, _some_null(quick.text)))
    return _Rule(text, misfits, quick=empty)


def _lookup(spec: LookupField, columns: dict[str, _Column]) -> _Rule:
    """The external id of the record that is referred to, made as that record's own key is made."""
    parts = [columns[name].text() for name in spec.source]
    text = pl.concat_str(parts, separator=spec.separator, ignore_nulls=False)
    misfits = _not_plain(text, spec.length)
    if len(parts) > 1:
        some = pl.any_horizontal([part.is_not_null() for part in parts])
        misfits["some parts of the reference are empty"] = some & text.is_null()
    quick = _quick_joined(spec, columns)
    if spec.required:
        misfits["required, but empty"] = pl.all_horizontal([part.is_null() for part in parts])
    if quick and (spec.required or len(parts) > 1):
        quick = replace(quick, doubts=(*quick.doubts, _some_null(quick.text)))
    return _Rule(text, misfits, quick=quick)


def _quick_joined(spec: KeyField | LookupField, columns: dict[str, _Column]) -> _Quick | None:
    parts = [columns[name].quick() for name in spec.source]
    whole = [part for part in parts if part]
    if len(whole) < len(parts):
        return None
    text = whole[0].text
    if len(whole) > 1:
        joined = pl.concat_str([part.text for part in whole], separator=spec.separator, ignore_nulls=False)
        text = columns[spec.source[0]].shared.keep(f"{spec.field}@joined", joined)
    doubts = (doubt for part in whole for doubt in part.doubts)
    return _Quick(text, (*doubts, *_short_doubts(text, spec.length)))


def _short_doubts(text: pl.Expr, length: int) -> tuple[pl.Expr, ...]:
    """Whether any text of a batch may not be plain, in the sense of :func:`_not_plain`, or has blanks in it."""
    return (
        text.str.contains(r"[\s\x00-\x1f\x7f]").any(),
        _longest(text, length) > length,
        (text == SET_NULL).any(),
    )


def _longest(text: pl.Expr, length: int) -> pl.Expr:
    """The most characters of a text that has more bytes than ``length``; null if there is none."""
    return text.filter(text.str.len_bytes() > length).str.len_chars().max()


def _some_null(text: pl.Expr) -> pl.Expr:
    return text.null_count() > 0


def _not_plain(text: pl.Expr, length: int) -> dict[str, pl.Expr]:
    """How a short text of one line may not fit."""
    return {
        f"longer than {length} characters": _longer(text, length),
        "holds a control character": text.str.contains(_CONTROL),
        _READS_AS_NULL: text == SET_NULL,
    }


def _settle(spec: AnyField, rule: _Rule) -> _Rule:
    """Applies the field's policy for misfits, then its policy for empty values."""
    if isinstance(spec, ConstantField | KeyField):
        return rule
    text, misfits, changes = rule.text, rule.misfits, dict(rule.changes)
    if spec.on_misfit in {"null", "default"}:
        kept = {name: expr for name, expr in misfits.items() if name.startswith("required")}
        soft = {name: expr for name, expr in misfits.items() if name not in kept}
        if soft:
            text = pl.when(_any(soft)).then(pl.lit(spec.default, dtype=pl.String)).otherwise(text)
        changes |= {f"{spec.on_misfit}: {name}": expr for name, expr in soft.items()}
        misfits = kept
    quick = rule.quick
    if spec.null == SET_NULL:
        text = text.fill_null(SET_NULL)
        quick = quick and replace(quick, text=quick.text.fill_null(SET_NULL))
    return _Rule(text, misfits, changes, quick)


class _Unfit(Exception):
    """A column cannot feed a field."""


@dataclass(frozen=True)
class _Column:
    """One source column and the type in which it arrives."""

    name: str
    kind: pl.DataType
    padded: bool
    shared: _Shared

    @property
    def is_text(self) -> bool:
        return self.kind == pl.String

    @property
    def is_number(self) -> bool:
        return self.kind.is_decimal() or self.kind.is_integer()

    @property
    def is_time(self) -> bool:
        return self.kind == pl.Datetime

    def raw(self) -> pl.Expr:
        """The value; text without blank padding, and empty text as null (Oracle knows no empty text)."""
        value = pl.col(self.name)
        if not self.is_text:
            return value
        value = value.str.strip_chars_end(" ") if self.padded else value
        return self.shared.keep(f"{self.name}@text", pl.when(value != "").then(value))

    def text(self) -> pl.Expr:
        """The value as plain text: numbers without trailing zeros, times as ``YYYY-MM-DDTHH:MM:SS[.ffffff]``."""
        if self.is_text:
            return self.raw()
        if self.is_number:
            return _plain_number(self.raw().cast(pl.String))
        if self.is_time:
            moment = self.raw().cast(pl.Datetime("us"))
            return _plain_number(moment.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f"))
        raise self.unfit("text")

    def quick(self) -> _Quick | None:
        """The text of :meth:`text` for a batch without empty texts and without numbers that have decimals."""
        value = pl.col(self.name)
        if self.is_text:
            value = value.str.strip_chars_end(" ") if self.padded else value
            return _Quick(value, ((value == "").any(),))
        if not self.is_number:
            return None
        if not isinstance(self.kind, pl.Decimal) or not self.kind.scale:
            return _Quick(value.cast(pl.String), ())
        whole = value.cast(pl.Int64, strict=False)
        return _Quick(whole.cast(pl.String), (value.ne_missing(whole.cast(self.kind, strict=False)).any(),))

    def unfit(self, wanted: str) -> _Unfit:
        return _Unfit(f"column {self.name} arrives as {self.kind}, which cannot become {wanted}")


def _plain_number(text: pl.Expr) -> pl.Expr:
    """Without the zeros that end a fraction, and without the point if nothing follows it."""
    cut = text.str.strip_chars_end("0").str.strip_chars_end(".")
    return pl.when(text.str.contains(".", literal=True)).then(cut).otherwise(text)


def _text(column: _Column, spec: TextField) -> _Rule:
    """Text: CR LF and lone CR become LF, because a job declares one line ending for the whole file."""
    raw = column.text()
    text = raw.str.replace_all("\r\n", "\n", literal=True).str.replace_all("\r", "\n", literal=True)
    misfits, changes = {}, {"line breaks written as LF": raw.str.contains("\r", literal=True)}
    too_long = f"longer than {spec.length} characters"
    if spec.on_misfit == "truncate":
        changes[f"truncate: {too_long}"] = _longer(text, spec.length)
        text = text.str.slice(0, spec.length)
    else:
        misfits[too_long] = _longer(text, spec.length)
    misfits["holds a NUL character"] = text.str.contains("\0", literal=True)
    misfits[_READS_AS_NULL] = text == SET_NULL
    return _Rule(text, misfits, changes, _quick_text(column, spec, f"truncate: {too_long}"))


def _quick_text(column: _Column, spec: TextField, truncate: str) -> _Quick | None:
    quick = column.quick()
    if not quick:
        return None
    text, changes = quick.text, {}
    # one search in all of the text takes half as long as one in each value
    doubts = [*quick.doubts, text.str.join("").str.contains("[\r\0]")]
    if spec.on_misfit == "truncate":
        whole, text = text, column.shared.keep(f"{spec.field}@cut", text.str.slice(0, spec.length))
        changes[truncate] = text.str.len_bytes() < whole.str.len_bytes()
    else:
        doubts.append(_longest(text, spec.length) > spec.length)
    return _Quick(text, (*doubts, (text == SET_NULL).any()), changes)


def _short_text(column: _Column, spec: CodeField | EmailField | PhoneField | UrlField) -> _Rule:
    """Text of one line; blanks around it go, and are counted."""
    raw = column.text()
    text = raw.str.strip_chars()
    text = pl.when(text != "").then(text)
    changes = {"blanks around it left out": raw != text.fill_null("")}
    if isinstance(spec, CodeField) and spec.width:
        short = text.str.contains(r"^[0-9]+$") & (text.str.len_bytes() < spec.width)
        changes["leading zeros given back"] = short
        text = pl.when(short).then(text.str.zfill(spec.width)).otherwise(text)
    misfits = _not_plain(text, spec.length)
    if isinstance(spec, EmailField):
        misfits["is not an e-mail address"] = ~text.str.contains(f"^({EMAIL})$")
    quick = column.quick()
    if quick:
        doubts = _short_doubts(quick.text, spec.length)
        if isinstance(spec, EmailField):
            doubts = (*doubts, (~quick.text.str.contains(f"^({EMAIL})$")).any())
        if isinstance(spec, CodeField) and spec.width:
            doubts = (*doubts, quick.text.str.len_bytes().min() < spec.width)
        quick = replace(quick, doubts=(*quick.doubts, *doubts))
    return _Rule(text, misfits, changes, quick)


def _integer(column: _Column, spec: IntegerField) -> _Rule:
    number, _, misfits = _number(column, "a whole number", scale=0)
    text = _plain_number(number.cast(pl.String))
    misfits["has decimals"] = text.str.contains(".", literal=True)
    bound = Decimal(10) ** spec.digits
    misfits[f"more than {spec.digits} digits"] = number.abs() >= bound
    quick = column.quick() if column.is_number else None
    quick = quick and replace(quick, doubts=(*quick.doubts, number.min() <= -bound, number.max() >= bound))
    return _Rule(_unless(misfits, text), misfits, quick=quick)


def _decimal(column: _Column, spec: DecimalField) -> _Rule:
    number, held, misfits = _number(column, "a number", scale=spec.source_scale)
    whole = spec.precision - spec.scale
    # rounding raises an error for the whole batch when a value leaves the 38 digits of its type
    bound: Decimal | float
    if whole < 38 - held:
        too_many, bound = f"more than {whole} digits before the point", Decimal(10) ** whole
    else:
        too_many, bound = "too many digits to be rounded", _first_to_overflow(held, spec.scale)
    small = pl.when(number.abs() < bound).then(number)
    mode: Literal["half_to_even", "half_away_from_zero"]
    mode = "half_to_even" if spec.rounding == "half_even" else "half_away_from_zero"
    rounded = column.shared.keep(f"{spec.field}@rounded", small.round(spec.scale, mode=mode))
    misfits[too_many] = number.is_not_null() & (rounded.is_null() | (rounded.abs() >= bound))
    too_fine = number != rounded
    changes: dict[str, pl.Expr] = {}
    if spec.rounding == "none":
        misfits[f"more than {spec.scale} decimals"] = too_fine
    else:
        changes[f"rounded to {spec.scale} decimals ({spec.rounding})"] = too_fine
    # the scale of a polars decimal is a property of its type: casting to it writes exactly that many decimals
    text = rounded.cast(pl.Decimal(38, spec.scale), strict=False).cast(pl.String)
    quick = None
    if column.is_number:
        doubts = [
            rounded.null_count() != number.null_count(),
            rounded.min() <= -bound,
            rounded.max() >= bound,
        ]
        if spec.rounding == "none":
            doubts.append(too_fine.any())
        quick = _Quick(text, tuple(doubts), changes)
    return _Rule(_unless(misfits, text), misfits, changes, quick)


def _number(column: _Column, wanted: str, scale: int) -> tuple[pl.Expr, int, dict[str, pl.Expr]]:
    """The value as an exact decimal of 38 digits, its scale, and how text may fail to be one.

    Text is a number with an optional sign, at most ``38 - scale`` digits before and ``scale`` after the
    point; ``.5``, as Oracle writes a half, is one too.
    """
    if column.is_number:
        held = column.kind.scale if isinstance(column.kind, pl.Decimal) else 0
        return column.raw().cast(pl.Decimal(38, held)), held, {}
    if not column.is_text:
        raise column.unfit(wanted)
    text = column.raw()
    whole = rf"[0-9]{{1,{38 - scale}}}"
    looks = rf"^[+-]?({whole}(\.[0-9]{{0,{scale}}})?|\.[0-9]{{1,{scale}}})$" if scale else rf"^[+-]?{whole}$"
    number = pl.when(text.str.contains(looks)).then(text).cast(pl.Decimal(38, scale), strict=False)
    return number, scale, {f"is not {wanted}": text.is_not_null() & number.is_null()}


def _boolean(column: _Column, spec: BooleanField) -> _Rule:
    if column.is_time:
        raise column.unfit("a boolean")
    text = column.text().str.to_uppercase()
    value = pl.when(text.is_in(_TRUE)).then(pl.lit("true")).when(text.is_in(_FALSE)).then(pl.lit("false"))
    misfits = {"is not a yes or no": text.is_not_null() & value.is_null()}
    return _Rule(value, misfits, quick=_quick_boolean(column, spec))


def _quick_boolean(column: _Column, spec: BooleanField) -> _Quick:
    value = pl.col(column.name)
    numbers, texts = ((1,), (0,)), (_TRUE[:2], _FALSE[:2])
    yes, no = (
        reduce(or_, (value == one for one in some)) for some in (numbers if column.is_number else texts)
    )
    said = pl.when(yes).then(pl.lit("true")).when(no).then(pl.lit("false"))
    text = column.shared.keep(f"{spec.field}@said", said)
    return _Quick(text, (text.null_count() != value.null_count(),))


def _date(column: _Column, spec: DateField) -> _Rule:
    """The day as it stands; a time of day is left out, and counted."""
    moment, misfits = _moment(column, spec)
    misfits |= _outside(moment.dt.date(), spec.earliest, spec.latest)
    changes = {}
    if column.is_time or any("HH24" in mask for mask in spec.formats):
        changes["time of day left out"] = moment != moment.dt.truncate("1d")
    day = column.shared.keep(
        f"{spec.field}@day", _looked_up(_days(), moment.to_physical() // _DAY - _first_day())
    )
    text = _unless(misfits, moment.dt.strftime("%Y-%m-%d"))
    return _Rule(text, misfits, changes, _quick_time(column, spec, moment, _Quick(day, (), changes)))


def _datetime(column: _Column, spec: DateTimeField, zone: str) -> _Rule:
    """Local time → UTC, cut to milliseconds (finer digits are counted, never rounded up).

    An ambiguous time is the earlier instant; a time that the clocks skip is refused, and so is a time for
    which the rules of the zone are not known.
    """
    moment, misfits = _moment(column, spec)
    misfits |= _outside(moment.dt.date(), spec.earliest, spec.latest)
    known = pl.when(moment < _ZONES_END).then(moment) if _saves_daylight(zone) else moment
    local = known.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    utc = column.shared.keep(f"{spec.field}@utc", local.dt.convert_time_zone("UTC"))
    misfits |= {f"{name} in UTC": expr for name, expr in _outside(utc.dt.date(), EARLIEST, LATEST).items()}
    misfits[f"the daylight saving of {zone} is not known for this year"] = (
        moment.is_not_null() & known.is_null()
    )
    misfits[f"the clocks of {zone} skip this time"] = known.is_not_null() & utc.is_null()
    changes = {}
    if column.is_time:
        changes["cut to milliseconds"] = utc != utc.dt.truncate("1ms")
    text = _unless(misfits, utc.dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))
    quick = _quick_datetime(column, spec, zone, moment, utc)
    return _Rule(text, misfits, changes, _quick_time(column, spec, moment, quick))


def _quick_datetime(column: _Column, spec: DateTimeField, zone: str, moment: pl.Expr, utc: pl.Expr) -> _Quick:
    micros, doubts = utc.to_physical(), tuple[pl.Expr, ...]()
    if settled := _settled(zone):
        since, ahead = settled
        micros = column.shared.keep(f"{spec.field}@micros", moment.to_physical() - ahead)
        doubts = (moment.min() < since,)
    instant = column.shared.keep(f"{spec.field}@instant", _instant(micros))
    changes = {"cut to milliseconds": micros % 1_000 != 0} if column.is_time else {}
    return _Quick(instant, doubts, changes)


def _quick_time(column: _Column, spec: DateField | DateTimeField, moment: pl.Expr, quick: _Quick) -> _Quick:
    """In doubt if a moment outside the bounds, a moment without text, or a text that is no moment is there."""
    value = column.raw() if column.is_text else pl.col(column.name)
    start, end = (dt.datetime.combine(day, dt.time()) for day in (spec.earliest, spec.latest))
    doubts = (
        moment.min() < start,
        moment.max() >= end + dt.timedelta(days=1),
        quick.text.null_count() != value.null_count(),
    )
    return replace(quick, doubts=(*quick.doubts, *doubts))


def _instant(micros: pl.Expr) -> pl.Expr:
    """Microseconds since 1970 → ``YYYY-MM-DDTHH:MM:SS.fffZ``, many times faster than strftime; null for unusual days."""
    parts = (
        _looked_up(_days(), micros // _DAY - _first_day()),
        _looked_up(_seconds(), micros // 1_000_000 % 86_400),
        _looked_up(_millis(), micros // 1_000 % 1_000),
    )
    return pl.concat_str(parts, ignore_nulls=False)


def _looked_up(texts: pl.Series, at: pl.Expr) -> pl.Expr:
    """The texts at these positions; null for a position outside."""
    return pl.lit(texts).gather(at.cast(pl.UInt32, strict=False), null_on_oob=True)


def _first_day() -> int:
    return (_USUAL_DAYS[0] - dt.date(1970, 1, 1)).days


@cache
def _days() -> pl.Series:
    return pl.date_range(*_USUAL_DAYS, eager=True).cast(pl.String)


@cache
def _seconds() -> pl.Series:
    return (pl.int_range(86_400, eager=True) * 1_000_000_000).cast(pl.Time).dt.strftime("T%H:%M:%S")


@cache
def _millis() -> pl.Series:
    return pl.Series([f".{n:03}Z" for n in range(1_000)])


def _saves_daylight(zone: str) -> bool:
    """Whether the clocks of a zone are still changed in the year from which polars knows no rule."""
    rules = ZoneInfo(zone)
    return len({_ZONES_END.replace(month=month, tzinfo=rules).utcoffset() for month in range(1, 13)}) > 1


@cache
def _settled(zone: str) -> tuple[dt.datetime, int] | None:
    """Since when the clocks of a zone are not changed any more, and the microseconds by which they are ahead of UTC.

    None if that is not long ago. Of a conversion one subtraction is left, which takes a thirtieth of the time.
    """
    if _saves_daylight(zone):
        return None
    days = pl.datetime_range(*_USUAL_DAYS, "1d", time_unit="us", eager=True)
    instants = days.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    ahead = days.to_physical() - instants.to_physical()
    other = ahead.ne_missing(ahead[-1]).arg_true()
    # two days later, because the clocks may have been changed at any hour of the day between
    since = days[min(other[-1] + 2, len(days) - 1) if len(other) else 0]
    return (since, ahead[-1]) if since < _LONG_AGO else None


def _moment(column: _Column, spec: DateField | DateTimeField) -> tuple[pl.Expr, dict[str, pl.Expr]]:
    """The value as a date with time and without a zone, and how text may fail to be one."""
    if column.is_time:
        return column.raw().cast(pl.Datetime("us")), {}
    if not column.is_text or not spec.formats:
        raise column.unfit(f"a {spec.type}" + ("" if spec.formats else " without formats = […]"))
    text = column.raw()
    tries = []
    for mask in spec.formats:
        looks, form = DATE_MASKS[mask]
        parsed = pl.when(text.str.contains(looks)).then(text)
        with_time = form if "%H" in form else f"{form} %H:%M:%S"
        padded = parsed if "%H" in form else parsed + " 00:00:00"
        tries.append(padded.str.to_datetime(with_time, time_unit="us", strict=False))
    moment = column.shared.keep(f"{spec.field}@local", pl.coalesce(tries))
    return moment, {f"is not a date in {' or '.join(spec.formats)}": text.is_not_null() & moment.is_null()}


def _outside(day: pl.Expr, earliest: dt.date, latest: dt.date) -> dict[str, pl.Expr]:
    return {f"not between {earliest} and {latest}": (day < earliest) | (day > latest)}


def _picklist(column: _Column, spec: PicklistField) -> _Rule:
    if spec.values is None:
        text = column.text()
        return _Rule(text, _not_plain(text, spec.length))
    if column.is_number and (never := [name for name in spec.values if not _NUMBER_TEXT.fullmatch(name)]):
        raise _Unfit(
            f"column {column.name} arrives as {column.kind}, which is never written as {never[0]!r}: "
            "write the numbers in values without leading or trailing zeros"
        )
    source, values = column.text(), spec.values
    if isinstance(column.kind, pl.Decimal):  # many times faster than by the text of each number
        source, kind = column.raw(), column.kind
        values = {name: value for name, value in values.items() if _holds(kind, name)}
        known = pl.Series(list(values), dtype=pl.String).cast(kind)
    else:
        known = pl.Series(list(values), dtype=pl.String)
    mapped = source.replace_strict(known, list(values.values()), default=None, return_dtype=pl.String)
    value = column.shared.keep(f"{spec.field}@mapped", mapped)
    misfits = {"not in the value map": source.is_not_null() & value.is_null()}
    return _Rule(value, misfits, quick=_Quick(value, (value.null_count() != source.null_count(),)))


def _holds(kind: pl.Decimal, number: str) -> bool:
    """Whether a column can hold a number at all; polars stops at one that it cannot."""
    whole, _, fraction = number.lstrip("-0").partition(".")
    return len(whole) + kind.scale <= kind.precision and len(fraction) <= kind.scale


def _longer(text: pl.Expr, length: int) -> pl.Expr:
    """Characters are counted only where the cheap count of bytes says that they could be too many."""
    return (text.str.len_bytes() > length) & (text.str.len_chars() > length)


def _any(misfits: dict[str, pl.Expr]) -> pl.Expr:
    return (
        pl.any_horizontal(*[expr.fill_null(value=False) for expr in misfits.values()])
        if misfits
        else pl.lit(value=False)
    )


def _unless(misfits: dict[str, pl.Expr], text: pl.Expr) -> pl.Expr:
    return pl.when(~_any(misfits)).then(text)


def _first_to_overflow(held: int, scale: int) -> Decimal | float:
    """The smallest number that leaves 38 digits, ``held`` of them decimals, when it is rounded to ``scale``."""
    if scale >= held:
        return math.inf  # nothing is rounded
    with localcontext(prec=80):
        return Decimal(10) ** (38 - held) - Decimal(5).scaleb(-scale - 1)


def shown(row: Mapping[str, object], spec: AnyField) -> str:
    """The source values of a field as text for people, without the zeros that a number's type adds."""
    return " | ".join(_plain(row[name]) for name in spec.source)


def _plain(value: object) -> str:
    if value is None:
        return ""
    return digits(value) if isinstance(value, Decimal) else str(value)
