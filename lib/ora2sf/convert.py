"""Arrow batch → Salesforce text, column by column, with polars; what does not fit becomes a rejected row.

Every rule that turns a value into text stands in this file. No number passes through a float: numbers
arrive as Arrow decimals and leave as decimal text. Rules of the receiving side:
https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/datafiles_prepare_csv.htm
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal

import polars as pl

from ora2sf.errors import PreflightError
from ora2sf.tables import (
    DATE_MASKS,
    AnyField,
    BooleanField,
    ConstantField,
    DateField,
    DateTimeField,
    DecimalField,
    IntegerField,
    KeyField,
    PicklistField,
    TableConfig,
    TextField,
)

#: Bulk API 2.0 reads this text in a cell as "set the field to null".
SET_NULL = "#N/A"
_TRUE = ("1", "Y", "T", "YES", "TRUE")
_FALSE = ("0", "N", "F", "NO", "FALSE")
_ROW = "__row"


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
class _Rule:
    """Polars expressions for one field: its text, each way in which it may not fit, each stated change."""

    text: pl.Expr
    misfits: dict[str, pl.Expr] = field(default_factory=dict)
    changes: dict[str, pl.Expr] = field(default_factory=dict)


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
        self._columns = {name: _Column(name, kind, name in padded) for name, kind in schema.items()}
        rules = self._rules()
        self._select = [rule.text.alias(spec.field) for spec, rule in rules]
        self._misfits = [
            (spec, name, expr.fill_null(value=False).alias(f"!{spec.field}!{name}"))
            for spec, rule in rules
            for name, expr in rule.misfits.items()
        ]
        self._changes = [
            ((spec.field, name), expr.fill_null(value=False).sum().alias(f"~{spec.field}~{name}"))
            for spec, rule in rules
            for name, expr in rule.changes.items()
        ]

    def _rules(self) -> list[tuple[AnyField, _Rule]]:
        rules, problems = [], []
        for spec in self._config.fields:
            try:
                rules.append((spec, self._settle(spec, self._rule(spec))))
            except (TypeError, KeyError) as error:
                problems.append(
                    f"{spec.field}: {error}"
                    if isinstance(error, TypeError)
                    else f"{spec.field}: no column {error}"
                )
        if problems:
            raise PreflightError(
                "The table file does not fit the source: " + "; ".join(problems) + ".",
                f"Correct these fields in the table file of {self._config.table}.",
            )
        return rules

    def convert(self, batch: pl.DataFrame, first_row: int) -> Converted:
        """Converts one batch; ``first_row`` is the number of its first row in reading order."""
        rows = pl.int_range(first_row, first_row + batch.height, dtype=pl.Int64, eager=True).alias(_ROW)
        flags = [expr for _, _, expr in self._misfits]
        out = batch.lazy().select(*self._select, *flags).collect().with_columns(rows)
        bad = out.select(pl.any_horizontal(pl.col(expr.meta.output_name()) for expr in flags)).to_series()
        staged = out.select(_ROW, *self._config.header)
        good = ~bad
        changed = (
            batch.filter(good).select(expr for _, expr in self._changes) if self._changes else pl.DataFrame()
        )
        counts = Counter({key: int(changed[expr.meta.output_name()][0]) for key, expr in self._changes})
        rejected = self._rejected(batch.filter(bad), out.filter(bad)) if bad.any() else []
        return Converted(staged.filter(good) if rejected else staged, rejected, +counts)

    def _rejected(self, source: pl.DataFrame, out: pl.DataFrame) -> list[Rejected]:
        found = []
        for before, after in zip(source.iter_rows(named=True), out.iter_rows(named=True), strict=True):
            faults = [(spec, name) for spec, name, expr in self._misfits if after[expr.meta.output_name()]]
            spec, rule = faults[0]
            found.append(
                Rejected(
                    row=after[_ROW],
                    key=after[self._config.external_id_field] or "",
                    field=spec.field,
                    rule=rule,
                    value=_shown(before, spec),
                    also="; ".join(f"{other.field}: {name}" for other, name in faults[1:]),
                )
            )
        return found

    def _rule(self, spec: AnyField) -> _Rule:
        match spec:
            case ConstantField():
                return _Rule(pl.lit(spec.value))
            case KeyField():
                return self._key(spec)
        column = self._columns[spec.column]
        match spec:
            case TextField():
                rule = _text(column, spec)
            case IntegerField():
                rule = _integer(column, spec)
            case DecimalField():
                rule = _decimal(column, spec)
            case BooleanField():
                rule = _boolean(column, spec)
            case DateField():
                rule = _date(column, spec)
            case DateTimeField():
                rule = _datetime(column, spec, self._config.source_time_zone)
            case PicklistField():
                rule = _picklist(column, spec)
        if spec.required:
            rule.misfits["required, but empty"] = rule.text.is_null() & ~_any(rule.misfits)
        return rule

    def _key(self, spec: KeyField) -> _Rule:
        parts = [self._columns[name].text() for name in spec.columns]
        text = pl.concat_str(parts, separator=spec.separator, ignore_nulls=False)
        misfits = {
            "empty key": text.is_null() | (text == ""),
            f"longer than {spec.length} characters": _longer(text, spec.length),
            "a key must not hold control characters": text.str.contains(r"[\x00-\x1f\x7f]"),
        }
        return _Rule(text, misfits)

    @staticmethod
    def _settle(spec: AnyField, rule: _Rule) -> _Rule:
        """Applies the field's policy for misfits, then its policy for empty values."""
        if isinstance(spec, ConstantField | KeyField):
            return rule
        text, misfits, changes = rule.text, rule.misfits, dict(rule.changes)
        if spec.on_misfit != "reject" and misfits:
            kept = {name: expr for name, expr in misfits.items() if name.startswith("required")}
            soft = {name: expr for name, expr in misfits.items() if name not in kept}
            text, left = _replace(spec, text, soft)
            changes |= {f"{spec.on_misfit}: {name}": expr for name, expr in soft.items() if name not in left}
            misfits = kept | left
        if spec.null == SET_NULL:
            text = text.fill_null(SET_NULL)
        return _Rule(text, misfits, changes)


@dataclass(frozen=True)
class _Column:
    """One source column and the type in which it arrives."""

    name: str
    kind: pl.DataType
    padded: bool

    @property
    def is_text(self) -> bool:
        return self.kind == pl.String

    @property
    def is_number(self) -> bool:
        return self.kind.is_decimal() or self.kind.is_integer()

    @property
    def is_time(self) -> bool:
        return self.kind in (pl.Datetime, pl.Date)

    def raw(self) -> pl.Expr:
        """The value; text without blank padding, and empty text as null (Oracle knows no empty text)."""
        value = pl.col(self.name)
        if not self.is_text:
            return value
        value = value.str.strip_chars_end(" ") if self.padded else value
        return pl.when(value != "").then(value)

    def text(self) -> pl.Expr:
        """The value as plain text: numbers without trailing zeros, times as ``YYYY-MM-DDTHH:MM:SS``."""
        if self.is_text:
            return self.raw()
        if self.is_number:
            digits = self.raw().cast(pl.String)
            return (
                pl.when(digits.str.contains(".", literal=True))
                .then(digits.str.strip_chars_end("0").str.strip_chars_end("."))
                .otherwise(digits)
            )
        if self.is_time:
            return self.raw().dt.strftime("%Y-%m-%dT%H:%M:%S")
        raise self.unfit("text")

    def unfit(self, wanted: str) -> TypeError:
        return TypeError(f"column {self.name} arrives as {self.kind}, which cannot become {wanted}")


def _text(column: _Column, spec: TextField) -> _Rule:
    """Text: CR LF and lone CR become LF, because a job declares one line ending for the whole file."""
    raw = column.text()
    text = raw.str.replace_all("\r\n", "\n", literal=True).str.replace_all("\r", "\n", literal=True)
    return _Rule(
        text,
        {
            f"longer than {spec.length} characters": _longer(text, spec.length),
            "holds a NUL character": text.str.contains("\0", literal=True),
            f"{SET_NULL} would be read as an order to empty the field": text == SET_NULL,
        },
        {"line breaks written as LF": raw.str.contains("\r", literal=True)},
    )


def _integer(column: _Column, spec: IntegerField) -> _Rule:
    number, misfits = _number(column, "a whole number", scale=0)
    whole = number.round(0, mode="half_away_from_zero")
    misfits["has decimals"] = number != whole
    misfits[f"more than {spec.digits} digits"] = number.abs() >= Decimal(10) ** spec.digits
    text = whole.cast(pl.String).str.replace(r"\.0*$", "")
    return _Rule(_unless(misfits, text), misfits)


def _decimal(column: _Column, spec: DecimalField) -> _Rule:
    number, misfits = _number(column, "a number", scale=spec.source_scale)
    rounded = number.round(
        spec.scale, mode="half_to_even" if spec.rounding == "half_even" else "half_away_from_zero"
    )
    too_fine = number != rounded
    bound = Decimal(10) ** (spec.precision - spec.scale)
    misfits[f"more than {spec.precision - spec.scale} digits before the point"] = rounded.abs() >= bound
    if spec.rounding == "none":
        misfits[f"more than {spec.scale} decimals"] = too_fine
        changes: dict[str, pl.Expr] = {}
    else:
        changes = {f"rounded to {spec.scale} decimals ({spec.rounding})": too_fine}
    # the scale of a polars decimal is a property of its type: casting to it writes exactly that many decimals
    text = rounded.cast(pl.Decimal(38, spec.scale), strict=False).cast(pl.String)
    misfits["more than 38 digits"] = rounded.is_not_null() & text.is_null()
    return _Rule(_unless(misfits, text), misfits, changes)


def _number(column: _Column, wanted: str, scale: int) -> tuple[pl.Expr, dict[str, pl.Expr]]:
    """The value as an exact decimal, and how it may fail to be one."""
    if column.is_number:
        return column.raw().cast(
            pl.Decimal(38, column.kind.scale if isinstance(column.kind, pl.Decimal) else 0)
        ), {}
    if not column.is_text:
        raise column.unfit(wanted)
    text = column.raw()
    looks = text.str.contains(
        rf"^[+-]?\d{{1,{38 - scale}}}(\.\d{{0,{scale}}})?$" if scale else r"^[+-]?\d{1,38}$"
    )
    number = pl.when(looks).then(text).cast(pl.Decimal(38, scale), strict=False)
    return number, {f"is not {wanted}": text.is_not_null() & number.is_null()}


def _boolean(column: _Column, _: BooleanField) -> _Rule:
    text = column.text().str.to_uppercase()
    value = pl.when(text.is_in(_TRUE)).then(pl.lit("true")).when(text.is_in(_FALSE)).then(pl.lit("false"))
    return _Rule(value, {"is not a yes or no": text.is_not_null() & value.is_null()})


def _date(column: _Column, spec: DateField) -> _Rule:
    moment, misfits = _moment(column, spec)
    misfits |= _outside(moment.dt.date(), spec.earliest, spec.latest)
    return _Rule(_unless(misfits, moment.dt.strftime("%Y-%m-%d")), misfits)


def _datetime(column: _Column, spec: DateTimeField, zone: str) -> _Rule:
    """Local time → UTC. An ambiguous time is the earlier instant; a time that the clocks skip is refused."""
    moment, misfits = _moment(column, spec)
    utc = moment.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone(
        "UTC"
    )
    misfits |= _outside(utc.dt.date(), spec.earliest, spec.latest)
    misfits[f"the clocks of {zone} skip this time"] = moment.is_not_null() & utc.is_null()
    return _Rule(_unless(misfits, utc.dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")), misfits)


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
    moment = pl.coalesce(tries)
    return moment, {f"is not a date in {' or '.join(spec.formats)}": text.is_not_null() & moment.is_null()}


def _outside(day: pl.Expr, earliest: dt.date, latest: dt.date) -> dict[str, pl.Expr]:
    return {f"not between {earliest} and {latest}": (day < earliest) | (day > latest)}


def _picklist(column: _Column, spec: PicklistField) -> _Rule:
    text = column.text()
    value = (
        text
        if spec.values is None
        else text.replace_strict(spec.values, default=None, return_dtype=pl.String)
    )
    return _Rule(
        value,
        {
            "not in the value map": text.is_not_null() & value.is_null(),
            f"longer than {spec.length} characters": _longer(value, spec.length),
        },
    )


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


def _replace(
    spec: AnyField, text: pl.Expr, misfits: dict[str, pl.Expr]
) -> tuple[pl.Expr, dict[str, pl.Expr]]:
    """What stands in place of a value that does not fit, and the misfits that the policy cannot cure."""
    assert not isinstance(spec, ConstantField | KeyField)
    if spec.on_misfit == "truncate":
        if not isinstance(spec, TextField):
            return text, misfits
        cured = {name: expr for name, expr in misfits.items() if name.startswith("longer")}
        return text.str.slice(0, spec.length), {n: e for n, e in misfits.items() if n not in cured}
    replacement = pl.lit(spec.default, dtype=pl.String)
    return pl.when(_any(misfits)).then(replacement).otherwise(text), {}


def _shown(row: dict[str, object], spec: AnyField) -> str:
    if isinstance(spec, ConstantField):
        return ""
    names = spec.columns if isinstance(spec, KeyField) else (spec.column,)
    return " | ".join(_plain(row[name]) for name in names)


def _plain(value: object) -> str:
    if value is None:
        return ""
    return format(value.normalize(), "f") if isinstance(value, Decimal) else str(value)
