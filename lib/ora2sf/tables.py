"""A table file: what is read from Oracle, where it goes, how each column becomes a field.

One TOML file per source table, checked before anything else happens. A value that the operator may
override is taken from the parameter, then the environment (``ORA2SF_<NAME>``), then the table file, then
the default; :mod:`ora2sf.parameters` applies that order.
"""

from __future__ import annotations

import datetime as dt
import difflib
import hashlib
import re
import tomllib
from abc import abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from ora2sf.errors import TableFileError

#: Most rows in a batch; the bytes that a job may have (:data:`ora2sf.batches.MAX_BYTES`) usually cut earlier.
MAX_BATCH_SIZE = 1_000_000
DEFAULT_BATCH_SIZE = 40_000
DEFAULT_JOB_TIMEOUT = 7_200

#: A second of 60 would be read as the next minute.
_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"

#: Oracle format masks accepted for dates kept as text: mask → (what the text must look like, strptime form).
DATE_MASKS: dict[str, tuple[str, str]] = {
    "DD/MM/YYYY": (r"^[0-9]{2}/[0-9]{2}/[0-9]{4}$", "%d/%m/%Y"),
    "DD/MM/YYYY HH24:MI:SS": (rf"^[0-9]{{2}}/[0-9]{{2}}/[0-9]{{4}} {_TIME}$", "%d/%m/%Y %H:%M:%S"),
    "YYYY-MM-DD": (r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "%Y-%m-%d"),
    "YYYY-MM-DD HH24:MI:SS": (rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}} {_TIME}$", "%Y-%m-%d %H:%M:%S"),
    "YYYYMMDD": (r"^[0-9]{8}$", "%Y%m%d"),
}

#: Bulk API 2.0 reads this text in a cell as "set the field to null".
SET_NULL = "#N/A"
#: The days that Salesforce can store (Data Loader guide: Data Types Supported by Data Loader).
EARLIEST, LATEST = dt.date(1700, 1, 1), dt.date(4000, 12, 31)

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _api_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("must be an API name: letters, digits and _")
    return value


ApiName = Annotated[str, AfterValidator(_api_name)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), hide_input_in_errors=True)


class _Field(_Strict):
    """What every field has.

    Attributes:
        field: API name of the Salesforce field, in its exact case.
        column: name of the column in the source's result.
        null: what an empty value becomes: ``leave`` (an empty cell, which leaves the field as it is on
            update) or ``#N/A`` (sets the field to null).
        required: an empty value is refused.
        on_misfit: what happens to a value that does not fit; ``truncate`` is for text that is too long.
        default: the value used by ``on_misfit = "default"``, as Salesforce reads it; it must fit itself.
        assumed: the column stands in no published dictionary.
    """

    field: ApiName
    column: str
    null: Literal["leave", "#N/A"] = "leave"
    required: bool = False
    on_misfit: Literal["reject", "truncate", "null", "default"] = "reject"
    default: str | None = None
    assumed: bool = False

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
        if self.on_misfit == "truncate" and not isinstance(self, TextField):
            raise ValueError('on_misfit = "truncate" is for type = "text"; allowed: reject, null, default')
        if self.default is not None and (wanted := self._refuses(self.default)):
            raise ValueError(f"default = {self.default!r} does not fit: {wanted}")
        return self

    @abstractmethod
    def _refuses(self, text: str) -> str | None:
        """What a text for Salesforce must be and this one is not."""


class TextField(_Field):
    """Text; ``length`` counts characters, as Salesforce does. CHAR columns lose their blank padding."""

    type: Literal["text"] = "text"
    length: int = Field(gt=0, le=131_072)

    def _refuses(self, text: str) -> str | None:
        return _refuses_text(text, self.length)


class IntegerField(_Field):
    """A whole number of at most ``digits`` digits."""

    type: Literal["integer"]
    digits: int = Field(default=18, gt=0, le=18)

    def _refuses(self, text: str) -> str | None:
        fits = re.fullmatch(rf"-?[0-9]{{1,{self.digits}}}", text)
        return None if fits else f"write a whole number of at most {self.digits} digits"


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

    @model_validator(mode="after")
    def _scale_within_precision(self) -> Self:
        if self.scale > self.precision:
            raise ValueError(f"scale = {self.scale} is more than precision = {self.precision}")
        return self

    def _refuses(self, text: str) -> str | None:
        whole = self.precision - self.scale
        fraction = rf"([.][0-9]{{1,{self.scale}}})?" if self.scale else ""
        fits = re.fullmatch(rf"-?[0-9]{{1,{max(whole, 1)}}}{fraction}", text)
        return None if fits else f"write at most {whole} digits before and {self.scale} after the point"


class BooleanField(_Field):
    """``true`` or ``false`` from 1/0, Y/N, T/F, YES/NO, TRUE/FALSE, without regard to case."""

    type: Literal["boolean"]

    def _refuses(self, text: str) -> str | None:
        return None if text in {"true", "false"} else "write true or false"


class _Temporal(_Field):
    """A date or a date with time, from a DATE, a TIMESTAMP, or text in one of the ``formats``.

    Attributes:
        formats: Oracle masks, tried in this order, for columns that keep dates as text.
        earliest, latest: first and last day accepted, as the day stands in the source; by default what
            Salesforce can store.
    """

    formats: tuple[str, ...] = ()
    earliest: dt.date = Field(default=EARLIEST, ge=EARLIEST, le=LATEST)
    latest: dt.date = Field(default=LATEST, ge=EARLIEST, le=LATEST)

    @field_validator("formats")
    @classmethod
    def _known_masks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [mask for mask in value if mask not in DATE_MASKS]:
            raise ValueError(f"unknown format {unknown[0]!r}; allowed: {', '.join(DATE_MASKS)}")
        return value

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.earliest > self.latest:
            raise ValueError(f"earliest = {self.earliest} is after latest = {self.latest}")
        return self


class DateField(_Temporal):
    """A calendar date, taken as it stands in the source: no time zone moves it."""

    type: Literal["date"]

    def _refuses(self, text: str) -> str | None:
        return None if _is_time(text, "%Y-%m-%d", 10) else "write it like 2025-12-31"


class DateTimeField(_Temporal):
    """An instant: read in the table's ``source_time_zone``, written in UTC."""

    type: Literal["datetime"]

    def _refuses(self, text: str) -> str | None:
        fits = _is_time(text, "%Y-%m-%dT%H:%M:%S.%fZ", 24)
        return None if fits else "write it in UTC like 2025-12-31T23:59:59.000Z"


class PicklistField(_Field):
    """A value of a picklist; ``values`` maps source text to picklist value and refuses what it lacks."""

    type: Literal["picklist"]
    values: dict[str, str] | None = Field(default=None, min_length=1)
    length: int = Field(default=255, gt=0)

    @model_validator(mode="after")
    def _values_fit(self) -> Self:
        for name, value in (self.values or {}).items():
            if wanted := self._refuses(value):
                raise ValueError(f"values: {name!r} = {value!r} does not fit: {wanted}")
        return self

    def _refuses(self, text: str) -> str | None:
        return "no line break and no tabulator" if _CONTROL.search(text) else _refuses_text(text, self.length)


class KeyField(_Strict):
    """The external id: the text of one or several columns, joined by ``separator``; never empty, never twice.

    Choose a separator that stands in none of the columns: ``A_B`` + ``C`` and ``A`` + ``B_C`` become one key.
    """

    field: ApiName
    type: Literal["key"]
    columns: tuple[str, ...] = Field(min_length=1)
    separator: str = "_"
    length: int = Field(default=255, gt=0, le=255)
    assumed: bool = False

    @field_validator("columns")
    @classmethod
    def _upper(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name.upper() for name in value)

    @model_validator(mode="after")
    def _separator_parts(self) -> Self:
        if len(self.columns) > 1 and (not self.separator or _CONTROL.search(self.separator)):
            raise ValueError("separator must be visible text when a key has several columns")
        return self


class ConstantField(_Strict):
    """The same text in every row; ``#N/A`` empties the field."""

    field: ApiName
    type: Literal["constant"]
    value: str
    assumed: bool = False

    @field_validator("value")
    @classmethod
    def _no_other_line_ends(cls, value: str) -> str:
        if "\r" in value or "\0" in value:
            raise ValueError("must not hold CR or NUL")
        return value


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


#: The value of ``type`` → the kind of field.
_TYPES: dict[str, type[_Strict]] = {
    "key": KeyField,
    "text": TextField,
    "integer": IntegerField,
    "decimal": DecimalField,
    "boolean": BooleanField,
    "date": DateField,
    "datetime": DateTimeField,
    "picklist": PicklistField,
    "constant": ConstantField,
}


def _refuses_text(text: str, length: int) -> str | None:
    fits = 0 < len(text) <= length and text != SET_NULL and "\r" not in text and "\0" not in text
    return None if fits else f"write 1 to {length} characters without CR and NUL, and not {SET_NULL}"


def _is_time(text: str, form: str, length: int) -> bool:
    try:
        day = dt.datetime.strptime(text, form).date()  # noqa: DTZ007 - only looked at
    except ValueError:
        return False
    return len(text) == length and EARLIEST <= day <= LATEST


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

    object: ApiName = "TMS_Daily_Sales_File__c"
    external_id_field: ApiName = "TMS_External_File_Ref__c"
    status_field: ApiName = "TMS_Status__c"
    errors_field: ApiName = "TMS_Errors__c"
    file_name_field: ApiName | None = "TMS_File_Name__c"
    fields: dict[ApiName, str] = Field(default_factory=dict)

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
    object: ApiName
    external_id_field: ApiName
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
            problems = "\n".join(f"  {_key_of(e['loc'], entries, text)}: {_said(e)}" for e in error.errors())
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
        return self.source.sql.strip().rstrip(";") or f"SELECT * FROM {self.source.table.strip()}"

    def select(self) -> str:
        """The SELECT that extraction runs: the needed columns in the stated order."""
        columns = ", ".join(self.columns)
        order = f" ORDER BY {', '.join(self.source.order_by)}" if self.source.order_by else ""
        return f"SELECT {columns} FROM ({self.inner_select()}\n){order}"  # the line may end in a comment

    def every_column(self) -> str:
        """A SELECT of all columns of the source, for a describe."""
        return f"SELECT * FROM ({self.inner_select()}\n)"

    def count(self) -> str:
        """The SELECT that counts the source rows."""
        return f"SELECT COUNT(*) FROM ({self.inner_select()}\n)"


def source_columns(field: AnyField) -> tuple[str, ...]:
    """The source columns that a field is made of; none for a constant."""
    if isinstance(field, ConstantField):
        return ()
    return field.columns if isinstance(field, KeyField) else (field.column,)


def _read_text(path: Path, folder: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors write a byte order mark
    except FileNotFoundError:
        known = sorted(p.stem for p in folder.glob("*.toml"))
        near = difflib.get_close_matches(path.stem, known, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise TableFileError(
            f"There is no table '{path.stem}': {path} does not exist.",
            f"{hint}Known tables: {', '.join(known) or 'none'}.",
        ) from None
    except UnicodeDecodeError:
        raise TableFileError(f"{path} is not UTF-8.", "Save it as UTF-8.") from None
    except OSError as error:
        raise TableFileError(
            f"{path} cannot be read: {error.strerror}.", "Check the file's permissions."
        ) from None


def _key_of(location: tuple[int | str, ...], entries: Any, text: str) -> str:
    """Where a problem stands, as a person would say it: ``fields[3] 'TMS_Unit__c' .length (line 41)``."""
    parts = [
        part for i, part in enumerate(location) if not (part in _TYPES and i == 2 and location[0] == "fields")
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


def _said(error: ErrorDetails) -> str:
    """What is wrong, and what is allowed instead."""
    *_, last = error["loc"] or ("",)
    match error["type"]:
        case "extra_forbidden":
            model = _model_at(error["loc"][:-1])
            known = list(model.model_fields)
            near = difflib.get_close_matches(str(last), known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            return f"there is no such key; {hint}allowed: {', '.join(known)}"
        case "union_tag_invalid" | "union_tag_not_found":
            given = error["input"].get("type") if isinstance(error["input"], dict) else None
            named = "type is missing" if given is None else f"unknown type {given!r}"
            return f"{named}; allowed: {', '.join(_TYPES)}"
        case "missing":
            return "is missing and must be given"
    return error["msg"].removeprefix("Value error, ")


def _model_at(location: tuple[int | str, ...]) -> type[BaseModel]:
    match location:
        case ("fields", _, str(tag), *_):
            return _TYPES[tag]
        case ("source", *_):
            return Source
        case ("status", *_):
            return StatusRecord
    return TableConfig


def _line_of_field(text: str, index: int) -> str:
    starts = [n for n, line in enumerate(text.splitlines(), 1) if re.match(r"\s*\[\[\s*fields\s*]]", line)]
    return f", line {starts[index]}" if index < len(starts) else ""


def _line_of_key(text: str, key: str) -> str:
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(rf"\s*\[?{re.escape(key)}\s*[=\]]", line):
            return f" (line {number})"
    return ""
