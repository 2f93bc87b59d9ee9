"""A table file: what is read from Oracle, where it goes, how each column becomes a field.

One TOML file per source table, checked before anything else happens. A value that the operator may
override is taken from the parameter, then the environment (``ORA2SF_<NAME>``), then the table file, then
the default; :mod:`ora2sf.parameters` applies that order.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from ora2sf.errors import TableFileError
from ora2sf.fields import DATE_MASKS, TYPES, AnyField, ApiName, KeyField, LookupField, Strict

#: Most rows in a batch; the bytes that a job may have (:data:`ora2sf.batches.MAX_BYTES`) usually cut earlier.
MAX_BATCH_SIZE = 1_000_000
DEFAULT_BATCH_SIZE = 40_000
DEFAULT_JOB_TIMEOUT = 7_200
#: How often rows that failed for a passing reason are sent again.
DEFAULT_ROUNDS = 3
#: Begins a comment that marks what a person still has to decide in a drafted table file.
DECIDE = "# decide:"
#: What a table may be called: it names a file, a folder of the run and a parameter.
TABLE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}")


class Source(Strict):
    """What is read: a table's name, or a SELECT for a join, and the order it is read in."""

    table: str = ""
    sql: str = ""
    order_by: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if bool(self.table) == bool(self.sql):
            raise ValueError('give either table = "OWNER.NAME" or sql = "SELECT …"')
        return self


class Window(Strict):
    """The column by whose ranges a large table is to be cut into slices.

    Attributes:
        type: what the column holds; ``text`` is a date kept as text in one ``format`` (an Oracle mask).
    """

    column: str
    type: Literal["date", "timestamp", "number", "text"]
    format: str | None = None

    @field_validator("column")
    @classmethod
    def _upper(cls, value: str) -> str:
        return value.upper()

    @model_validator(mode="after")
    def _format_goes_with_text(self) -> Self:
        if (self.type == "text") != (self.format is not None):
            raise ValueError('type = "text" and format = "…" go together')
        if self.format is not None and self.format not in DATE_MASKS:
            raise ValueError(f"unknown format {self.format!r}; allowed: {', '.join(DATE_MASKS)}")
        return self


class StatusRecord(Strict):
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


class TableConfig(Strict):
    """One table file, checked. Read it with :meth:`load`.

    Attributes:
        operation: what the jobs do. ``update`` and ``delete`` name records by Id (Bulk API 2.0 guide: Prepare CSV Files), which is
            asked for by key; a row without a record then fails, or has nothing left to delete.
        duplicates: which of several rows with one key counts, by ``source.order_by``; the others are rejected,
            also when the one that counts is rejected itself: an older value must not pass for the newest.
        parent: name of the lookup field whose record the rows belong to: its rows are read one after the other and
            stay in one batch, because two jobs that touch one parent lock each other out.
        depends_on: tables that have to be in Salesforce before this one.
        window: the column by whose ranges a large table is to be cut into slices; no step does that yet.
        max_rejected, max_rejected_share: the extraction stops when more rows than this number, or this share of the
            rows read, are rejected.
        shared_target: others write to the object too, so its COUNT is shown and not enforced.
        status: where the status record is kept; without it none is written.
    """

    table: str
    description: str = ""
    object: ApiName
    external_id_field: ApiName
    operation: Literal["upsert", "insert", "update", "delete"] = "upsert"
    phase: int = Field(default=1, ge=1, le=99)
    source_time_zone: str = "UTC"
    duplicates: Literal["first", "last", "reject_all"] = "reject_all"
    batch_size: int = Field(default=DEFAULT_BATCH_SIZE, ge=1, le=MAX_BATCH_SIZE)
    job_timeout: int = Field(default=DEFAULT_JOB_TIMEOUT, ge=1)
    source: Source
    parent: ApiName | None = None
    depends_on: tuple[str, ...] = ()
    window: Window | None = None
    max_rejected: int | None = Field(default=None, ge=0)
    max_rejected_share: float | None = Field(default=None, ge=0, lt=1)
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

    @model_validator(mode="after")
    def _parent_is_a_lookup(self) -> Self:
        if self.parent is None:
            return self
        lookups = [field.field for field in self.fields if isinstance(field, LookupField)]
        if self.parent not in lookups:
            raise ValueError(
                f'parent = {self.parent!r} is no field with type = "lookup"; there are: {", ".join(lookups) or "none"}'
            )
        assert self.parent_field is not None
        wanted = self.parent_field.columns
        read = tuple(term.split()[0].upper() for term in self.source.order_by[: len(wanted)] if term.split())
        if sorted(read) != sorted(wanted):
            raise ValueError(
                f"source.order_by must begin with the columns of parent = {self.parent!r} ({', '.join(wanted)}), "
                "so that the rows of one parent come one after the other"
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
        return tuple(field.header for field in self.fields)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The source columns that are needed, each once, in order of first use."""
        needed = (name for field in self.fields for name in field.source)
        return tuple(dict.fromkeys(needed))

    @cached_property
    def key(self) -> KeyField:
        """The field that holds the external id."""
        return next(field for field in self.fields if isinstance(field, KeyField))

    @cached_property
    def parent_field(self) -> LookupField | None:
        """The lookup that :attr:`parent` names."""
        named = (field for field in self.fields if isinstance(field, LookupField))
        return next((field for field in named if field.field == self.parent), None)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of everything in this file that decides the staged bytes; resuming checks it."""
        deciding = self.model_dump_json(
            exclude={"description", "phase", "depends_on", "job_timeout", "status", "batch_size"}
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
        part for i, part in enumerate(location) if not (part in TYPES and i == 2 and location[0] == "fields")
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
            return f"{named}; allowed: {', '.join(TYPES)}"
        case "missing":
            return "is missing and must be given"
        case "tuple_type":
            return "must be a list: [ … ]"
        case "model_type" | "model_attributes_type":
            return "must be a table: { key = value, … }"
    return error["msg"].removeprefix("Value error, ")


def _model_at(location: tuple[int | str, ...]) -> type[BaseModel]:
    match location:
        case ("fields", _, str(tag), *_):
            return TYPES[tag]
        case ("source", *_):
            return Source
        case ("window", *_):
            return Window
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
