"""A table file: what is read from Oracle, where it goes, how each column becomes a field.

One TOML file per source table, checked before anything else happens. A value that the operator may
override is taken from the parameter, then the environment (``ORA2SF_<NAME>``), then the table file, then
the default; :mod:`ora2sf.run` applies that order.
"""

from __future__ import annotations

import datetime as dt
import difflib
import hashlib
import re
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ora2sf.errors import TableFileError

#: Rows in a batch: at most what one Bulk API 2.0 job may hold in 15,000 internal batches a day is far
#: above; the bound keeps one file under the 100 MB that Salesforce advises for a job.
MAX_BATCH_SIZE = 1_000_000
DEFAULT_BATCH_SIZE = 40_000
DEFAULT_JOB_TIMEOUT = 7_200

#: Oracle format masks accepted for dates kept as text: mask → (what the text must look like, strptime form).
DATE_MASKS: dict[str, tuple[str, str]] = {
    "DD/MM/YYYY": (r"^\d{2}/\d{2}/\d{4}$", "%d/%m/%Y"),
    "DD/MM/YYYY HH24:MI:SS": (r"^\d{2}/\d{2}/\d{4} \d{2}:\d{2}:\d{2}$", "%d/%m/%Y %H:%M:%S"),
    "YYYY-MM-DD": (r"^\d{4}-\d{2}-\d{2}$", "%Y-%m-%d"),
    "YYYY-MM-DD HH24:MI:SS": (r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}$", "%Y-%m-%d %H:%M:%S"),
    "YYYYMMDD": (r"^\d{8}$", "%Y%m%d"),
}

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class _Field(_Strict):
    """What every field has.

    Attributes:
        field: API name of the Salesforce field, in its exact case.
        column: name of the column in the source's result.
        null: what an empty value becomes: ``leave`` (an empty cell, which leaves the field as it is on
            update) or ``#N/A`` (sets the field to null).
        required: an empty value is refused.
        on_misfit: what happens to a value that does not fit.
        default: the value used by ``on_misfit = "default"``.
        assumed: the column stands in no published dictionary.
    """

    field: str
    column: str
    null: Literal["leave", "#N/A"] = "leave"
    required: bool = False
    on_misfit: Literal["reject", "truncate", "null", "default"] = "reject"
    default: str | None = None
    assumed: bool = False

    @field_validator("field")
    @classmethod
    def _api_name(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError("must be the API name of a field: letters, digits and _")
        return value

    @field_validator("column")
    @classmethod
    def _upper(cls, value: str) -> str:
        return value.upper()

    @model_validator(mode="after")
    def _default_goes_with_policy(self) -> Self:
        if (self.on_misfit == "default") != (self.default is not None):
            raise ValueError('on_misfit = "default" and default = "…" go together')
        if self.on_misfit == "null" and self.required:
            raise ValueError('on_misfit = "null" contradicts required = true')
        return self


class TextField(_Field):
    """Text; ``length`` counts characters, as Salesforce does. CHAR columns lose their blank padding."""

    type: Literal["text"] = "text"
    length: int = Field(gt=0, le=131_072)


class IntegerField(_Field):
    """A whole number of at most ``digits`` digits."""

    type: Literal["integer"]
    digits: int = Field(default=18, gt=0, le=18)


class DecimalField(_Field):
    """A number with ``scale`` decimals and at most ``precision`` digits in all.

    Attributes:
        rounding: how more decimals than ``scale`` are rounded: ``half_up`` (away from zero) or
            ``half_even``; ``none`` refuses the value instead.
        source_scale: most decimals that a NUMBER column without a declared scale may carry; a value with
            more stops the extraction with an error, it is never cut.
    """

    type: Literal["decimal"]
    precision: int = Field(default=18, gt=0, le=38)
    scale: int = Field(default=2, ge=0, le=18)
    rounding: Literal["half_up", "half_even", "none"] = "half_up"
    source_scale: int = Field(default=10, ge=0, le=30)


class BooleanField(_Field):
    """``true`` or ``false`` from 1/0, Y/N, T/F, YES/NO, TRUE/FALSE, without regard to case."""

    type: Literal["boolean"]


class _Temporal(_Field):
    """A date or a date with time, from a DATE, a TIMESTAMP, or text in one of the ``formats``.

    Attributes:
        formats: Oracle masks, tried in this order, for columns that keep dates as text.
        earliest, latest: a value outside is refused; by default what Salesforce can store.
    """

    formats: tuple[str, ...] = ()
    earliest: dt.date = dt.date(1700, 1, 1)
    latest: dt.date = dt.date(4000, 12, 31)

    @field_validator("formats")
    @classmethod
    def _known_masks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [mask for mask in value if mask not in DATE_MASKS]:
            raise ValueError(f"unknown format {unknown[0]!r}; allowed: {', '.join(DATE_MASKS)}")
        return value


class DateField(_Temporal):
    """A calendar date, taken as it stands in the source: no time zone moves it."""

    type: Literal["date"]


class DateTimeField(_Temporal):
    """An instant: read in the table's ``source_time_zone``, written in UTC."""

    type: Literal["datetime"]


class PicklistField(_Field):
    """A value of a picklist; ``values`` maps source text to picklist value and refuses what it lacks."""

    type: Literal["picklist"]
    values: dict[str, str] | None = None
    length: int = Field(default=255, gt=0)


class KeyField(_Strict):
    """The external id: the text of one or several columns, joined by ``separator``; never empty, never twice."""

    field: str
    type: Literal["key"]
    columns: tuple[str, ...] = Field(min_length=1)
    separator: str = "_"
    length: int = Field(default=255, gt=0, le=255)
    assumed: bool = False

    @field_validator("columns")
    @classmethod
    def _upper(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name.upper() for name in value)


class ConstantField(_Strict):
    """The same text in every row."""

    field: str
    type: Literal["constant"]
    value: str
    assumed: bool = False


AnyField = Annotated[
    KeyField
    | TextField
    | IntegerField
    | DecimalField
    | BooleanField
    | DateField
    | DateTimeField
    | PicklistField
    | ConstantField,
    Field(discriminator="type"),
]


class Source(_Strict):
    """What is read: a table's name, or a SELECT for a join, and the order it is read in."""

    table: str = ""
    sql: str = ""
    order_by: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if bool(self.table) == bool(self.sql):
            raise ValueError('give either table = "OWNER.NAME" or sql = "SELECT …"')
        return self


class StatusRecord(_Strict):
    """The record in Salesforce that shows where a file stands.

    Attributes:
        object, external_id_field, status_field, errors_field: where it is kept.
        file_name_field: filled with the reference; None leaves it out.
        fields: further fields and their text.
    """

    object: str = "TMS_Daily_Sales_File__c"
    external_id_field: str = "TMS_External_File_Ref__c"
    status_field: str = "TMS_Status__c"
    errors_field: str = "TMS_Errors__c"
    file_name_field: str | None = "TMS_File_Name__c"
    fields: dict[str, str] = Field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        """Every field that is written or asked for."""
        named = (
            self.external_id_field,
            self.status_field,
            self.errors_field,
            self.file_name_field,
            *self.fields,
        )
        return tuple(name for name in named if name)


class TableConfig(_Strict):
    """One table file, checked. Read it with :meth:`load`.

    Attributes:
        duplicates: which of several rows with one key counts, by ``source.order_by``; the others are rejected,
            also when the one that counts is rejected itself: an older value must not pass for the newest.
        shared_target: others write to the object too, so its COUNT is shown and not enforced.
        status: where the status record is kept; without it none is written.
    """

    table: str
    description: str = ""
    object: str
    external_id_field: str
    operation: Literal["upsert"] = "upsert"
    phase: int = Field(default=1, ge=1, le=99)
    source_time_zone: str = "UTC"
    duplicates: Literal["first", "last", "reject_all"] = "reject_all"
    batch_size: int = Field(default=DEFAULT_BATCH_SIZE, ge=1, le=MAX_BATCH_SIZE)
    job_timeout: int = Field(default=DEFAULT_JOB_TIMEOUT, ge=1)
    source: Source
    shared_target: bool = False
    status: StatusRecord | None = None
    fields: tuple[AnyField, ...] = Field(min_length=1)

    @classmethod
    def load(cls, table: str, folder: Path) -> TableConfig:
        """Reads ``<folder>/<table>.toml``.

        Raises:
            TableFileError: no such file, not TOML (with line), or not valid (with every key at fault).
        """
        path = folder / f"{table}.toml"
        text = _read_text(path, folder)
        try:
            entries = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise TableFileError(f"{path} is not valid TOML: {error}.", "Correct that line.") from None
        try:
            config = cls.model_validate(entries)
        except ValidationError as error:
            problems = "\n".join(f"  {_key_of(e['loc'], entries, text)}: {e['msg']}" for e in error.errors())
            raise TableFileError(f"{path} is not valid:\n{problems}", "Correct these keys.") from None
        if config.table != table:
            raise TableFileError(
                f'{path} says table = "{config.table}".', f'Write table = "{table}", the name of the file.'
            )
        return config

    @model_validator(mode="after")
    def _names_are_consistent(self) -> Self:
        names = [field.field for field in self.fields]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"fields mapped twice: {', '.join(repeated)}")
        keys = [field.field for field in self.fields if isinstance(field, KeyField)]
        if keys != [self.external_id_field]:
            raise ValueError(
                f'exactly one entry in fields has type = "key", and its field is {self.external_id_field!r}; '
                f"found: {', '.join(keys) or 'none'}"
            )
        if self.duplicates != "reject_all" and not self.source.order_by:
            raise ValueError(
                f'duplicates = "{self.duplicates}" needs source.order_by: it decides which row wins'
            )
        return self

    @field_validator("source_time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"unknown time zone {value!r}; write it like Asia/Bangkok") from None
        return value

    @cached_property
    def header(self) -> tuple[str, ...]:
        """The fields of a staged file, in order."""
        return tuple(field.field for field in self.fields)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The source columns that are needed, each once, in order of first use."""
        needed = (name for field in self.fields for name in source_columns(field))
        return tuple(dict.fromkeys(needed))

    @cached_property
    def key(self) -> KeyField:
        """The field that holds the external id."""
        return next(field for field in self.fields if isinstance(field, KeyField))

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of everything in this file that decides the staged bytes; resuming checks it."""
        deciding = self.model_dump_json(
            exclude={"description", "phase", "job_timeout", "status", "batch_size"}
        )
        return hashlib.sha256(deciding.encode()).hexdigest()

    def inner_select(self) -> str:
        """The source as a SELECT, without order."""
        return self.source.sql.strip().rstrip(";") or f"SELECT * FROM {self.source.table}"

    def select(self) -> str:
        """The SELECT that extraction runs: the needed columns in the stated order."""
        columns = ", ".join(self.columns)
        order = f" ORDER BY {', '.join(self.source.order_by)}" if self.source.order_by else ""
        return f"SELECT {columns} FROM ({self.inner_select()}){order}"

    def count(self) -> str:
        """The SELECT that counts the source rows."""
        return f"SELECT COUNT(*) FROM ({self.inner_select()})"


def source_columns(field: AnyField) -> tuple[str, ...]:
    """The source columns that a field is made of; none for a constant."""
    if isinstance(field, ConstantField):
        return ()
    return field.columns if isinstance(field, KeyField) else (field.column,)


def _read_text(path: Path, folder: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        known = sorted(p.stem for p in folder.glob("*.toml"))
        near = difflib.get_close_matches(path.stem, known, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise TableFileError(
            f"There is no table '{path.stem}': {path} does not exist.",
            f"{hint}Known tables: {', '.join(known) or 'none'}.",
        ) from None
    except UnicodeDecodeError:
        raise TableFileError(f"{path} is not UTF-8.", "Save it as UTF-8 without a byte order mark.") from None
    except OSError as error:
        raise TableFileError(
            f"{path} cannot be read: {error.strerror}.", "Check the file's permissions."
        ) from None


def _key_of(location: tuple[int | str, ...], entries: Any, text: str) -> str:
    """Where a problem stands, as a person would say it: ``fields[3] 'TMS_Unit__c' .length (line 41)``."""
    tags = {"text", "integer", "decimal", "boolean", "date", "datetime", "picklist", "constant", "key"}
    parts = [
        part for i, part in enumerate(location) if not (part in tags and i == 2 and location[0] == "fields")
    ]
    shown = ""
    for part in parts:
        shown += f"[{part + 1}]" if isinstance(part, int) else (f".{part}" if shown else str(part))
    if len(parts) > 1 and parts[0] == "fields" and isinstance(parts[1], int):
        entry = entries["fields"][parts[1]]
        named = entry.get("field", "?") if isinstance(entry, dict) else "?"
        shown += f" ({named}{_line_of_field(text, parts[1])})"
    elif parts:
        shown += _line_of_key(text, str(parts[-1]))
    return shown or "file"


def _line_of_field(text: str, index: int) -> str:
    starts = [n for n, line in enumerate(text.splitlines(), 1) if line.strip() == "[[fields]]"]
    return f", line {starts[index]}" if index < len(starts) else ""


def _line_of_key(text: str, key: str) -> str:
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(rf"\s*\[?{re.escape(key)}\s*[=\]]", line):
            return f" (line {number})"
    return ""
