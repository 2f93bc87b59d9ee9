"""A table file drafted from Oracle's dictionary and an object's describe, with what only a person can decide marked ``# decide:``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ora2sf import preflight
from ora2sf.dictionary import LARGE, SAMPLE_ROWS, Column, Table
from ora2sf.drafting import (
    Describe,
    Draft,
    Entry,
    Key,
    entry_text,
    is_required,
    key_text,
    length_of,
    near,
    picklist_values,
    problems_of,
    told_relationship,
    typed,
)
from ora2sf.errors import PreflightError, TableFileError
from ora2sf.fields import KeyField
from ora2sf.matching import Match, match, nearest
from ora2sf.oracle import SourceColumn
from ora2sf.tables import DECIDE, TableConfig

#: Fields that Salesforce fills itself, or that a table file does not load.
_OWN = {"Id", "OwnerId", "RecordTypeId", "CurrencyIsoCode"}
_TIMES = {"date", "datetime"}
_CHANGED = re.compile(r"UPDAT|MODIF|CHANGE|LAST_?UPD|ALTERED")


@dataclass(frozen=True)
class Wished:
    """What is given on the command line.

    Attributes:
        table: name of the table file.
        external_id: the field that names a record; empty takes the object's only External ID.
        key: columns of the external id; empty takes the table's primary key.
        time_zone: of dates with time in the source; empty leaves it to decide.
    """

    table: str
    external_id: str = ""
    key: tuple[str, ...] = ()
    time_zone: str = ""


def draft_new(
    table: Table,
    found: Mapping[str, Any],
    wished: Wished,
    known: Sequence[TableConfig] = (),
    targets: Mapping[str, Mapping[str, Any] | None] | None = None,
) -> Draft:
    """The table file for a table and an object.

    Args:
        found: Salesforce's describe of the object.
        known: the table files that are there: a lookup to an object that one of them fills is made as its key is.
        targets: the describe of objects that references point to, where they are known.

    Raises:
        TableFileError: a column or field on the command line does not exist, or the object has no External ID.
        PreflightError: nobody may write to the object.
    """
    return _Drafting(table, Describe(found), found, wished, known, targets or {}).made()


class _Drafting:
    """One draft in the making."""

    def __init__(
        self,
        table: Table,
        describe: Describe,
        found: Mapping[str, Any],
        wished: Wished,
        known: Sequence[TableConfig],
        targets: Mapping[str, Mapping[str, Any] | None],
    ) -> None:
        self._table, self._describe, self._found, self._wished = table, describe, found, wished
        self._known, self._targets = known, targets
        self._before: dict[
            str, TableConfig
        ] = {}  # lookup field → the table file that has to be loaded before

    def made(self) -> Draft:
        _writable(self._found)
        external_id, other_ids = self._external_id()
        key = self._key(external_id, other_ids)
        lookups = list(self._lookups())
        entries = [key, *lookups, *self._plain({external_id["name"], *(one.field for one in lookups)})]
        entries = self._checked(entries)
        text = self._text(external_id, entries)
        if problems := problems_of(text):
            raise AssertionError(f"a draft that is no table file: {problems}")
        return Draft(text, sum(bool(one.keys) for one in entries), text.count(DECIDE))

    # the key

    def _external_id(self) -> tuple[dict[str, Any], list[str]]:
        """The field that names a record, and others that could."""
        fields = self._describe.fields.values()
        if named := self._wished.external_id:
            if named.casefold() not in self._describe.fields:
                raise TableFileError(
                    f"--external-id: {self._describe.name} has no field {named}{near(named, [one['name'] for one in fields])}.",
                    "Give the API name of an External ID field that the run-as user sees.",
                )
            return self._describe.fields[named.casefold()], []
        possible = [one for one in fields if one.get("externalId")]
        unique = [one for one in possible if one.get("unique")] or possible
        if not unique:
            raise TableFileError(
                f"{self._describe.name} has no External ID field that this user sees.",
                "Make a text field (External ID, Unique) in the org, or name another one with --external-id.",
            )
        return unique[0], [one["name"] for one in unique[1:]]

    def _key(self, external_id: dict[str, Any], others: list[str]) -> Entry:
        unsure = f"or {', '.join(others)} (--external-id)" if others else ""
        if not external_id.get("externalId") and not external_id.get("idLookup"):
            unsure = "describe says that it is no External ID"
        columns, note = self._key_columns()
        keys = [
            Key("field", external_id["name"], unsure),
            Key("type", "key"),
            Key("columns", [one.alias for one in columns], note),
        ]
        keys += self._separator(columns, external_id["name"])
        length = length_of(external_id, 255)
        longest = sum(one.length or 40 for one in columns) + len(columns) - 1
        if length and columns and all(one.is_text for one in columns) and longest > int(str(length[0].value)):
            length = [
                length[0]._replace(
                    decide=f"the columns may have {longest} characters; longer keys are rejected rows"
                )
            ]
        return Entry(" + ".join(one.kind for one in columns), (*keys, *length))

    def _key_columns(self) -> tuple[list[Column], str]:
        """The columns of the key, and what to decide about them."""
        if self._wished.key:
            return [self._named(name) for name in self._wished.key], ""
        keys = [[self._named(name) for name in names] for names in self._table.keys]
        readable = [columns for columns in keys if all(one.read for one in columns)]
        for columns in sorted(readable, key=lambda one: any(column.nullable for column in one)):
            empty = [one.name for one in columns if one.nullable]
            return columns, f"unique, but may be empty: {', '.join(empty)}" if empty else ""
        return [], "no primary key and no unique index: the columns that make a row unique (--key)"

    def _named(self, name: str) -> Column:
        found = self._table.column(name) or self._table.column(name.upper())
        if found is None:
            raise TableFileError(
                f"--key: {self._table.sql} has no column {name}{near(name, [one.name for one in self._table.columns])}.",
                "Name columns of the table.",
            )
        return found

    def _separator(self, columns: Sequence[Column], external_id: str) -> list[Key]:
        """That of a table file that fills the same object; else one that keeps keys apart: any, if all columns but one are numbers."""
        if len(columns) < 2:
            return []
        for other in self._known:
            fills = (
                other.object.casefold() == self._describe.name.casefold()
                and other.table != self._wished.table
            )
            if fills and other.external_id_field == external_id and len(other.key.columns) == len(columns):
                note = f"as in {other.table}, which fills the same object"
                return [Key("separator", other.key.separator, note)]
        texts = [one.name for one in columns if not one.is_number]
        if len(texts) < 2:
            return [Key("separator", "_")]
        return [Key("separator", "|", f"a text that stands in none of {', '.join(texts)}")]

    # lookups

    def _lookups(self) -> Iterator[Entry]:
        """References to objects that another table file fills, made as its key is; and by name, where an external id is alike."""
        for field in self._describe.fields.values():
            if field["type"] != "reference" or field["name"] in _OWN or not field.get("createable"):
                continue
            entry = self._by_known(field) or self._by_name(field)
            if entry:
                yield entry

    def _by_known(self, field: dict[str, Any]) -> Entry | None:
        for config in self._known:
            if config.object not in field["referenceTo"] or config.table == self._wished.table:
                continue
            columns, note = self._columns_like(config)
            if columns:
                self._before[field["name"]] = config
                about = f"as {config.table}.toml makes the key of {config.object}"
                return Entry(about, tuple(self._lookup(field, columns, config.object, config.key, note)))
        return None

    def _columns_like(self, config: TableConfig) -> tuple[list[Column], str]:
        """This table's columns that refer to another table's key: by a foreign key, else by their names."""
        of_source = config.source.table.rpartition(".")[2].strip('"').upper()
        for one in self._table.references:
            pairs = dict(zip((name.upper() for name in one.parents), one.columns, strict=True))
            if one.table.upper() == of_source and set(config.key.columns) <= set(pairs):
                return [self._named(pairs[name]) for name in config.key.columns], ""
        columns = [self._table.column(name) for name in config.key.columns]
        if None in columns:
            return [], ""
        return [one for one in columns if one], "no foreign key says so: they have the names of its key"

    def _by_name(self, field: dict[str, Any]) -> Entry | None:
        """A single column whose name is like the reference or like an External ID of the object that it refers to."""
        for sobject in field["referenceTo"]:
            target = self._targets.get(sobject)
            ids = [one for one in (target or {}).get("fields", ()) if one.get("externalId")]
            names = {one["name"]: str(one.get("label") or "") for one in ids} | {
                field["name"]: field["label"]
            }
            readable = [one.alias for one in self._table.columns if one.read]
            found = next((one for one in match(readable, names) if ids), None)
            if found:
                key = next((one for one in ids if one["name"] == found.field), ids[0])
                made = KeyField(
                    field=key["name"],
                    type="key",
                    columns=(found.column,),
                    length=min(int(key["length"] or 255), 255),
                )
                note = f"that it holds {key['name']} of {sobject}"
                return Entry(
                    "by its name",
                    tuple(self._lookup(field, [self._named(found.column)], sobject, made, note)),
                )
        return None

    def _lookup(
        self, field: dict[str, Any], columns: Sequence[Column], sobject: str, key: KeyField, note: str
    ) -> Iterator[Key]:
        yield Key("field", field["name"])
        yield Key("type", "lookup")
        yield Key("columns", [one.alias for one in columns], note)
        if len(columns) > 1:
            yield Key("separator", key.separator)
        yield Key("length", key.length)
        yield Key("object", sobject)
        yield Key("external_id_field", key.field)
        if field["relationshipName"] and field["relationshipName"] != told_relationship(field["name"]):
            yield Key("relationship", field["relationshipName"])
        if len(field["referenceTo"]) > 1:
            yield Key("polymorphic", True)
        if is_required(field):
            yield Key("required", True)

    # the other fields

    def _plain(self, taken: set[str]) -> Iterator[Entry]:
        """An entry for each column that a field is found for, in the order of the columns."""
        fields = {
            one["name"]: str(one.get("label") or "")
            for one in self._describe.fields.values()
            if one["name"] not in taken | _OWN and one.get("createable") and one["type"] != "reference"
        }
        by_column = {one.column: one for one in match([one.alias for one in self._table.columns], fields)}
        for column in self._table.columns:
            if found := by_column.get(column.alias):
                yield self._entry(column, found)

    def _entry(self, column: Column, found: Match) -> Entry:
        field = self._describe.field(found.field)
        about = f"{column.kind}{f': {column.comment}' if column.comment else ''}"
        kinds = typed(field, 1)
        if column.read is None or not kinds:
            why = f"column {column.name} is of type {column.kind}, which cannot be read"
            if kinds:
                return Entry("", left_out=f"{why}: left out ({found.field})")
            return Entry(
                "",
                left_out=f"{found.field} is of type {field['type']}, which a table file cannot fill: left out ({column.name})",
            )
        keys = [
            Key("field", found.field),
            Key("column", column.alias, found.decide),
            *self._fitting(column, field, kinds),
        ]
        if is_required(field):
            keys.append(
                Key(
                    "required",
                    True,
                    "Salesforce requires it; empty values are rejected rows" if column.nullable else "",
                )
            )
        return Entry(about, tuple(keys), picklist_values(field))

    def _fitting(self, column: Column, field: dict[str, Any], kinds: Sequence[Key]) -> Iterator[Key]:
        """Type and size of the field, with what does not fit the column."""
        for key in kinds:
            if key.name == "type" and key.value in _TIMES:
                yield key._replace(decide="")
                yield from self._formats(column)
            elif key == Key("type", "text"):
                yield key._replace(decide=_of_text(column))
            elif key.name == "length" and column.length > int(str(key.value)):
                yield key._replace(
                    decide=f'{column.length} in Oracle: longer values are rejected, or cut with on_misfit = "truncate"'
                    if any(one == Key("type", "text") for one in kinds)
                    else f"{column.length} in Oracle: longer values are rejected"
                )
            elif key.name == "rounding":
                yield key._replace(decide="")
            else:
                yield key

    def _formats(self, column: Column) -> Iterator[Key]:
        if not column.is_text:
            return
        more = f"; {column.others} of them are no date" if column.others else ""
        said = f"seen in the first {SAMPLE_ROWS:,} rows{more}: does the day come first?"
        if column.masks:
            yield Key("formats", list(column.masks), said)

    # what does not fit is left out, and said

    def _checked(self, entries: list[Entry]) -> list[Entry]:
        """The entries that a run would take; the others as a comment that says why."""
        config = self._config(entries)
        columns = {one.alias: _delivered(one) for one in self._table.columns}
        lines = preflight.check(config, columns, self._found, self._targets).lines
        wrong = {line.field: "; ".join(line.problems) for line in lines if line.problems}
        key, *others = entries
        if key.field in wrong and self._key_columns()[0]:
            keys = (
                one._replace(decide=wrong[key.field]) if one.name == "columns" else one for one in key.keys
            )
            key = replace(key, keys=tuple(keys))
        return [
            key,
            *(
                Entry("", left_out=f"{_said(one)}: {wrong[one.field]}: left out")
                if one.field in wrong
                else one
                for one in others
            ),
        ]

    def _config(self, entries: Sequence[Entry]) -> TableConfig:
        """The draft as a table file; a key that is still to decide is any column."""
        fields = [{key.name: key.value for key in one.keys} for one in entries if one.keys]
        fields[0]["columns"] = fields[0]["columns"] or [self._table.columns[0].alias]
        return TableConfig.model_validate(
            {
                "table": self._wished.table,
                "object": self._describe.name,
                "external_id_field": fields[0]["field"],
                "source": {"table": self._table.sql},
                "fields": fields,
            }
        )

    # the text

    def _text(self, external_id: dict[str, Any], entries: Sequence[Entry]) -> str:
        blocks = [
            "\n".join(self._about()),
            "\n".join(self._head(external_id, entries)),
            self._source(entries),
            *map(entry_text, entries),
            *self._left(entries),
        ]
        return "\n\n".join(filter(None, blocks)) + "\n"

    def _about(self) -> Iterator[str]:
        yield f"# Drafted by `ora2sf tables new` from {self._table.sql} and {self._describe.name}."
        yield f'# What only a person can decide is marked "{DECIDE.strip("# ")}"; take the mark out when it is decided.'
        if self._table.rows is not None:
            more = " or more" if self._table.rows == LARGE else ""
            yield f"# About {self._table.rows:,} rows{more}."

    def _head(self, external_id: dict[str, Any], entries: Sequence[Entry]) -> Iterator[str]:
        yield key_text(Key("table", self._wished.table))
        if comment := " ".join(self._table.comment.split()):
            yield key_text(Key("description", comment))
        yield key_text(Key("object", self._describe.name))
        yield key_text(Key("external_id_field", external_id["name"]))
        yield key_text(Key("operation", "upsert"))
        before = [self._before[one.field] for one in entries if one.field in self._before]
        yield key_text(Key("phase", max((config.phase for config in before), default=1)))
        if before:
            yield key_text(Key("depends_on", sorted({config.table for config in before})))
        moved = any(Key("type", "datetime") in one.keys for one in entries)
        asked = (
            'zone of dates with time in the source, such as "Asia/Bangkok"'
            if moved and not self._wished.time_zone
            else ""
        )
        yield key_text(Key("source_time_zone", self._wished.time_zone or "UTC", asked))
        if self._table.rows is not None and self._table.rows >= LARGE:
            yield from self._of_large()

    def _of_large(self) -> Iterator[str]:
        """What a campaign could cut a large table by, and what tells its changes."""
        windows = [text for one in self._table.columns if (text := _window(one))]
        if windows:
            yield f"{DECIDE} a campaign cuts a large table into windows of one column; take one of these:"
            yield from (f"# window = {text}" for text in windows)
        changed = [one for one in self._table.columns if one.is_time and _CHANGED.search(one.name.upper())]
        if changed:
            yield f"{DECIDE} a later campaign reads only what changed, if this column is set at every change:"
            yield from (f'# changed_column = "{one.alias}"' for one in changed)

    def _source(self, entries: Sequence[Entry]) -> str:
        """The table; or a SELECT that gives other names to columns that need quotation marks."""
        used = {str(name) for one in entries for key in one.keys for name in _columns_in(key)}
        odd = [one for one in self._table.columns if one.alias in used and one.alias != one.sql]
        if not odd:
            return "[source]\n" + key_text(Key("table", self._table.sql))
        listed = [one for one in self._table.columns if one.alias in used]
        shown = ",\n".join(
            f"       t.{one.sql}" + (f" AS {one.alias}" if one.alias != one.sql else "") for one in listed
        )
        return f"[source]\nsql = '''\nSELECT\n{shown}\nFROM {self._table.sql} /* as of */ t\n'''"

    def _rounded(self, entries: Sequence[Entry]) -> Iterator[str]:
        """Fields whose column may have more decimals than they keep."""
        for one in entries:
            values = {key.name: key.value for key in one.keys}
            column = self._table.column(str(values.get("column", "")))
            if "rounding" in values and column and _rounds(column, int(str(values["scale"]))):
                yield one.field

    def _left(self, entries: Sequence[Entry]) -> Iterator[str]:
        """What is rounded; columns without a field, and fields without a column."""
        if rounded := list(self._rounded(entries)):
            said = (
                'is rounded where a value has more decimals, and counted; rounding = "none" rejects its row'
            )
            yield f"{DECIDE} {', '.join(rounded)} {said}"
        filled = {one.field for one in entries if one.keys}
        used = {str(name) for one in entries for key in one.keys for name in _columns_in(key)}
        text = " ".join(one.left_out for one in entries)
        fields = [
            one["name"]
            for one in self._describe.fields.values()
            if one.get("createable") and one["name"] not in filled | _OWN
        ]
        required = [name for name in self._describe.required() if name not in filled | _OWN]
        for name in required:
            yield f"{DECIDE} {self._describe.name} requires {name}, which no column fills: map one, or use a constant"
        alone = [one for one in self._table.columns if one.alias not in used and f"{one.name}" not in text]
        if alone:
            lines = [f"{DECIDE} these columns go to no field; leave them out, or map them:"]
            yield "\n".join([*lines, *(_alone(one, fields) for one in alone)])
        if rest := [name for name in fields if name not in required]:
            yield f"# Fields that no column fills: {', '.join(rest)}."


def _writable(found: Mapping[str, Any]) -> None:
    if not found.get("createable") or not found.get("updateable"):
        raise PreflightError(
            f"The run-as user may not create or change records of {found['name']}.",
            "Give it Create and Edit on the object, and Edit on its fields, by a permission set.",
        )


def _delivered(column: Column) -> SourceColumn:
    """The column under the name that the table file has for it."""
    if column.read:
        return replace(column.read, name=column.alias)
    return SourceColumn(column.alias, column.kind, padded=False, is_number=False, scale=None, arrow=None)


def _said(entry: Entry) -> str:
    columns = [str(name) for key in entry.keys for name in _columns_in(key)]
    return f"{' + '.join(columns)} to {entry.field}"


def _of_text(column: Column) -> str:
    """What to look at where a column goes to a text."""
    if column.masks:
        return f"its texts look like dates, {' or '.join(column.masks)}: a field of type date would know them"
    return (
        'a number in Oracle; if it is a code, type = "code" and width = … give leading zeros back'
        if column.is_number
        else ""
    )


def _columns_in(key: Key) -> list[object]:
    if key.name == "column":
        return [key.value]
    return list(key.value) if key.name == "columns" and isinstance(key.value, list) else []


def _rounds(column: Column, scale: int) -> bool:
    """Whether a NUMBER may have more decimals than the field keeps."""
    declared = column.read.scale if column.read else None
    return not column.is_number or declared is None or declared > scale


def _window(column: Column) -> str:
    """``window`` for a column, if one can be made of it."""
    if column.read is None:
        return ""
    if column.is_time:
        kind = "date" if column.type == "DATE" else "timestamp"
        return f'{{ column = "{column.alias}", type = "{kind}" }}'
    if column.masks:
        first, *others = column.masks
        listed = ", ".join(f'"{mask}"' for mask in others)
        also = f", also = [{listed}]" if others else ""
        return f'{{ column = "{column.alias}", type = "text", format = "{first}"{also} }}'
    return ""


def _alone(column: Column, fields: Sequence[str]) -> str:
    like = nearest(column.name, fields)
    notes = (
        f"nearest: {like}" if like else "",
        f"looks like dates, {' or '.join(column.masks)}" if column.masks else "",
        "cannot be read" if column.read is None else "",
        column.comment,
    )
    said = "; ".join(filter(None, notes))
    return f"#   {column.name} {column.kind}{f'  {said}' if said else ''}"
