"""The reference of table files (docs/tables.md): kinds, bounds and defaults as the models have them, each with its meaning.

``ora2sf tables reference --write docs/tables.md`` writes it between its two marks; a test holds the page to it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ora2sf.errors import TableFileError
from ora2sf.fields import DATE_MASKS, TYPES
from ora2sf.tables import Source, StatusRecord, TableConfig, Window

BEGIN, END = "<!-- written by `ora2sf tables reference`: begin -->", "<!-- end -->"
Meanings = Mapping[str, str]

OF_FILE: Meanings = {
    "table": "the file's own name",
    "description": "for people",
    "object": "API name of the object",
    "external_id_field": 'the field that names a record; exactly one entry of `fields` with `type = "key"` fills it',
    "operation": "what the jobs do. `insert` creates only: a record that has the key already is an error of the row. `update` and `delete` name records by Id, which is asked for by key before each job; a row whose key no record has fails in an `update`, and counts as done in a `delete`",
    "phase": "order among tables; inside a phase a table waits for those in `depends_on`",
    "source_time_zone": "zone of dates with time in the source, such as `Asia/Bangkok`",
    "duplicates": "which of several rows with one key counts: `first` or `last` in `source.order_by`, or none. The others are rejected rows, also when the one that counts is rejected itself: an older value must not pass for the newest. Keys are compared as Salesforce does: without blanks around them, and without regard to case unless the field is case-sensitive",
    "batch_size": "rows in a batch; Salesforce works in pieces of 10,000, so a multiple of that uses the daily allowance best",
    "job_timeout": "seconds",
    "source": "what is read, below",
    "parent": "the `lookup` field whose record the rows belong to. Its rows stay in one batch, because two jobs that touch one parent lock each other out; `source.order_by` begins with its columns. Only a parent with more rows than `batch_size`, or more bytes than a job may have (100 MB), is cut",
    "depends_on": "tables that have to be in Salesforce before this one",
    "window": "the column by whose ranges a campaign's plan cuts a large table into slices ([campaign.md](campaign.md)), below",
    "changed_column": "a DATE or TIMESTAMP of a row's last change, in the source's clock: a later campaign reads only what changed since an earlier one",
    "max_rejected": "the extraction stops when more rows than this are rejected; `<table>_rejected.csv` then holds those found so far",
    "max_rejected_share": "the same for a share of the rows read, such as 0.01",
    "shared_target": "others write to the object, too: its COUNT is shown and not enforced, and records that this table did not bring are no fault",
    "status": "where the file status record is kept, below; without it no record is written",
    "fields": "one entry per field, below",
}
OF_SOURCE: Meanings = {
    "table": "a table or view, `OWNER.NAME`; either this or `sql`",
    "sql": "a SELECT, for a join. `/* as of */` behind each of its tables, before the alias, lets a campaign read it as of its SCN; it is a comment otherwise",
    "order_by": 'order of reading; needed for `duplicates = "first"` and `"last"`, and for `parent`',
}
OF_WINDOW: Meanings = {
    "column": "by whose ranges the table is cut",
    "type": "what it holds; `text` is a date kept as text",
    "format": "the Oracle mask of such text",
    "also": "further masks in which some rows write it",
}
OF_STATUS: Meanings = {
    "object": "where the record is kept",
    "external_id_field": "the field that names it",
    "status_field": "New, Uploading, In Progress, Uploaded or Failed",
    "errors_field": "what went wrong",
    "file_name_field": "filled with the reference; left out if there is none",
    "fields": "further fields and their text",
}
#: Keys that several types have.
OF_FIELDS: Meanings = {
    "field": "API name in its exact case",
    "type": "what it becomes, below",
    "column": "name of the column, in any case; `source.sql` renames one that SQL writes in quotation marks",
    "null": "an empty value: `leave` writes an empty cell, which leaves the field alone on update; `#N/A` empties it. Oracle's empty text is NULL",
    "required": "an empty value is a misfit",
    "on_misfit": "a value that does not fit: `reject` the row, `fail` (stop the extraction), `truncate` the text (`text` only), make it `null`, or use `default`. Each is counted. A `lookup` knows `reject`, `fail` and `null`",
    "default": 'the value of `on_misfit = "default"`, as Salesforce reads it',
    "assumed": "for people: the column stands in no published dictionary",
}
#: Type → what it becomes, with the keys of its own that need a word.
OF_TYPES: Meanings = {
    "key": "the text of the columns, joined; empty, too long or with control characters is rejected. Without `column`, `null`, `required` and `on_misfit`",
    "lookup": "a reference by the other record's external id, made as that record's own key is; the header cell is `Relationship.ExternalIdField` (`relationship` is told from the name of the field if it is not given, `polymorphic` says that the field may refer to several objects). All columns empty: no reference; only some of them: a misfit",
    "text": "text, from CLOB columns too; `length` counts characters. CHAR loses its blank padding; CR LF and CR become LF, counted. NUL and a literal `#N/A` are misfits",
    "code": "a code in one line, blanks around it left out; leading zeros stay, and with `width` come back for digits that the source keeps as NUMBER",
    "email": "an address with a local part, `@` and a domain with a dot; anything else is a misfit",
    "phone": "text in one line, blanks around it left out",
    "url": "the same",
    "integer": "a whole number; decimals are a misfit",
    "decimal": "exact decimal text; rounded values are counted, `none` rejects their rows. `source_scale` is the most decimals that a NUMBER without a declared scale may carry: more of them stop the extraction, nothing is cut",
    "boolean": "`true`/`false` from 1/0, Y/N, T/F, YES/NO, TRUE/FALSE",
    "date": "the calendar date as it stands in the source; no zone moves it, and a time of day is left out and counted. `earliest` and `latest` are days of the source (what Salesforce can store); `formats`: below",
    "datetime": "the instant in UTC, to the millisecond (finer digits are cut and counted); an ambiguous local time is the earlier one. Misfits: a time that the clocks skip, and one from 2100 on in a zone with daylight saving, whose rules are not known",
    "picklist": "the text, through the map `values` if there is one; what the map lacks is a misfit",
    "constant": "the same text in every row; without `column`",
}
_PARTS: tuple[tuple[str, type[BaseModel], Meanings], ...] = (
    ("### `[source]`", Source, OF_SOURCE),
    ("### `window = { … }`", Window, OF_WINDOW),
    ("### `[status]`", StatusRecord, OF_STATUS),
)


def reference() -> str:
    """The reference in Markdown."""
    return "\n".join(_lines())


def write_reference(page: Path) -> None:
    """Writes the reference into a page, between its two marks.

    Raises:
        TableFileError: the page cannot be read or written, or lacks the marks.
    """
    try:
        text = page.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        _, found, after = rest.partition(END)
        if not found:
            raise TableFileError(
                f"{page} has no place for the reference.", f"Put {BEGIN} and {END} where it belongs."
            )
        page.write_text(f"{before}{BEGIN}\n\n{reference()}\n\n{END}{after}", encoding="utf-8")
    except OSError as error:
        raise TableFileError(
            f"{page} cannot be written: {error.strerror}.", "Check path and rights."
        ) from None


def _lines() -> Iterator[str]:
    yield from ("## The file", "")
    yield from _table(TableConfig, OF_FILE)
    for title, model, meanings in _PARTS:
        yield from ("", title, "")
        yield from _table(model, meanings)
    yield from ("", "## Fields", "")
    yield "Keys of every entry, but for what its type says; `key` and `lookup` have `columns` in place of `column`."
    yield ""
    yield from ("| Key | Value | Default | Meaning |", "|---|---|---|---|")
    for name, meaning in OF_FIELDS.items():
        value, default = _common(name)
        yield f"| `{name}` | {value} | {default} | {meaning} |"
    yield from ("", "| `type` | Keys of its own: value; default | Becomes |", "|---|---|---|")
    for name, model in TYPES.items():
        own = [
            f"`{key}`: {_kind(info)}; {_default(info)}"
            for key, info in model.model_fields.items()
            if key not in OF_FIELDS
        ]
        yield f"| `{name}` | {'<br>'.join(own)} | {OF_TYPES[name]} |"
    yield ""
    masks = ", ".join(f"`{mask}`" for mask in DATE_MASKS)
    yield f"`formats` lists Oracle masks for columns that keep dates as text, tried in the order given: {masks}. The text has to match a mask exactly."


def _table(model: type[BaseModel], meanings: Meanings) -> Iterator[str]:
    yield from ("| Key | Value | Default | Meaning |", "|---|---|---|---|")
    for name, info in model.model_fields.items():
        yield _row(name, info, meanings[name])


def _row(name: str, info: FieldInfo, meaning: str) -> str:
    return f"| `{name}` | {_kind(info)} | {_default(info)} | {meaning} |"


def _common(name: str) -> tuple[str, str]:
    """Value and default of a key as the type for texts has it, which has all that several types have."""
    if name == "type":
        return ", ".join(f"`{one}`" for one in TYPES), "required"
    info = TYPES["text"].model_fields[name]
    return _kind(info), _default(info)


def _kind(info: FieldInfo) -> str:
    """What may stand there."""
    return _of_annotation(info.annotation, info.metadata)


def _of_annotation(annotation: Any, metadata: list[Any]) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in {Union, UnionType}:
        (kind,) = [one for one in inner if one is not NoneType]
        return _of_annotation(kind, metadata)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin is tuple:
        return "list of texts" if inner[0] is str else "list of tables"
    if origin is dict:
        return "table of texts"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    names: dict[Any, str] = {bool: "`true` or `false`", int: "whole number", float: "number", dt.date: "day"}
    return f"{names.get(annotation, 'text')}{_bounds(annotation, metadata)}"


def _bounds(annotation: Any, metadata: list[Any]) -> str:
    """``, 1 to 99``; for a number that may reach neither bound, the bounds themselves."""
    if annotation not in {int, float, dt.date}:
        return ""
    found = {
        name: getattr(one, name)
        for one in metadata
        for name in ("ge", "gt", "le", "lt")
        if hasattr(one, name)
    }
    low = found.get("ge", found["gt"] + 1 if "gt" in found else None)
    high, below = found.get("le"), found.get("lt")
    if below is not None:
        return f", {low} to less than {below}"
    if low is None:
        return ""
    return f", {_shown(low)} to {_shown(high)}" if high is not None else f", from {_shown(low)}"


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _default(info: FieldInfo) -> str:
    if info.default is PydanticUndefined and info.default_factory is None:
        return "required"
    value = info.get_default(call_default_factory=True, validated_data={})
    if value in (None, "", (), {}):
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
