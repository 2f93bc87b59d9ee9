"""A table file drafted from a mapping of Data Loader, with what only a person can decide marked ``# decide:``.

A saved describe of the object (https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_sobject_describe.htm)
gives types, lengths and the exact case of names; without it every field is text.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from ora2sf.errors import MappingFileError
from ora2sf.sdl import Mapped, Mapping, refuse
from ora2sf.tables import DECIDE, TableConfig

#: The name of a column that Oracle takes without quotation marks.
_COLUMN = re.compile(r"[A-Za-z][A-Za-z0-9_$#]{0,127}")
#: Describe's type → the type of a table file's field, for those that differ only in their length.
_TEXTS = {
    "string": ("text", 131_072),
    "textarea": ("text", 131_072),
    "multipicklist": ("text", 131_072),
    "combobox": ("picklist", 255),
    "picklist": ("picklist", 255),
    "email": ("email", 80),
    "phone": ("phone", 40),
    "url": ("url", 255),
}
_PLAIN = {"boolean": "boolean", "date": "date", "datetime": "datetime"}
_UNKNOWN_LENGTH = 255


@dataclass(frozen=True)
class Wanted:
    """What the mapping does not say.

    Attributes:
        table: name of the table file.
        source: ``OWNER.NAME`` of the source table; empty if it is still to decide.
        key: columns of the external id; empty takes the one that the mapping gives.
    """

    table: str
    object: str
    external_id: str
    source: str = ""
    key: tuple[str, ...] = ()


@dataclass(frozen=True)
class Draft:
    """The text of a table file, the number of its fields, and how often it says ``# decide:``."""

    text: str
    fields: int
    decisions: int


class _Key(NamedTuple):
    """``name = value`` in a table file, with what is to decide about it, if anything."""

    name: str
    value: object
    decide: str = ""


@dataclass(frozen=True)
class _Entry:
    """One ``[[fields]]`` entry, or a comment in its place when nothing can be written."""

    line: int
    keys: tuple[_Key, ...] = ()
    values: tuple[str, ...] = ()
    left_out: str = ""

    @property
    def field(self) -> str:
        return str(self.keys[0].value) if self.keys else ""


class Describe:
    """A saved sObject describe.

    Raises:
        MappingFileError: the file cannot be read, is no describe, or is one of another object.
    """

    def __init__(self, path: Path, sobject: str) -> None:
        self.path = path
        try:
            found = json.loads(path.read_text(encoding="utf-8-sig"))
            self.name = str(found["name"])
            self._fields = {str(entry["name"]).casefold(): _described(entry) for entry in found["fields"]}
        except OSError as error:
            raise MappingFileError(
                f"{path} cannot be read: {error.strerror}.", "Check path and rights."
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise MappingFileError(
                f"{path} is no describe of an object.",
                f"Save the answer of GET /services/data/vNN.N/sobjects/{sobject}/describe as it is.",
            ) from None
        if self.name.casefold() != sobject.casefold():
            raise MappingFileError(
                f"{path} describes {self.name}, not {sobject}.",
                f"Give --object {self.name}, or its describe.",
            )

    def field(self, name: str) -> dict[str, Any]:
        """The entry of a field, found without regard to case as Data Loader does; ValueError if there is none."""
        if found := self._fields.get(name.casefold()):
            return found
        raise ValueError(
            f"{self.name} has no field {name}{_near(name, [e['name'] for e in self._fields.values()])}"
        )

    def reference(self, relationship: str) -> dict[str, Any]:
        """The entry of the reference field of a relationship; ValueError if there is none."""
        known = {e["relationshipName"]: e for e in self._fields.values() if e["relationshipName"]}
        for name, entry in known.items():
            if name.casefold() == relationship.casefold():
                return entry
        raise ValueError(f"{self.name} has no relationship {relationship}{_near(relationship, list(known))}")

    def required(self) -> list[str]:
        """Fields that a new record must have."""
        return [
            e["name"]
            for e in self._fields.values()
            if e.get("createable") and not e.get("nillable", True) and not e.get("defaultedOnCreate")
        ]


def _described(entry: dict[str, Any]) -> dict[str, Any]:
    """A field of a describe with numbers, names and active picklist values as such, whatever the file holds."""
    values = entry.get("picklistValues") or ()
    return (
        dict(entry)
        | {name: str(entry[name]) for name in ("name", "type")}
        | {name: int(entry.get(name) or 0) for name in ("length", "precision", "scale", "digits")}
        | {
            "relationshipName": str(entry.get("relationshipName") or ""),
            "referenceTo": [str(one) for one in entry.get("referenceTo") or ()],
            "picklistValues": [str(value["value"]) for value in values if value.get("active")],
        }
    )


def draft(mapping: Mapping, wanted: Wanted, describe: Describe | None) -> Draft:
    """The table file for a mapping.

    Raises:
        MappingFileError: lines that cannot be turned into fields; each is named.
    """
    entries, joined = _fields(mapping, wanted, describe)
    head = _head(wanted, mapping, describe, joined)
    blocks = [*head, *map(_entry_text, entries), *_remarks(mapping, wanted, describe, entries)]
    text = "\n\n".join(blocks) + "\n"
    _check(text, mapping.path)
    fields = sum(bool(entry.keys) for entry in entries)
    return Draft(text, fields, text.count(DECIDE))


def _fields(
    mapping: Mapping, wanted: Wanted, describe: Describe | None
) -> tuple[list[_Entry], dict[str, str]]:
    """The entries in order, the key first, and the joined columns that the SELECT has to make."""
    problems: list[str] = []
    joined: dict[str, str] = {}
    keys = [m for m in mapping.targets if m.field.casefold() == wanted.external_id.casefold()]
    others = [m for m in mapping.targets if m not in keys]
    entries: list[_Entry] = []
    try:
        entries.append(_key_entry(keys, wanted, describe))
    except ValueError as error:
        problems.append(str(error))
    for mapped in others:
        try:
            entries.append(_entry(mapped, wanted, describe, joined))
        except ValueError as error:
            problems.append(f"line {mapped.line}: {error}")
    refuse(mapping.path, [*problems, *_filled_twice(entries)])
    return entries, joined


def _filled_twice(entries: list[_Entry]) -> Iterator[str]:
    filled: dict[str, int] = {}
    for entry in entries:
        name = entry.field.casefold()
        if name and name in filled:
            both = f"is filled on line {filled[name]}, too; take one of the two out"
            yield f"line {entry.line}: {entry.field} {both}"
        filled.setdefault(name, entry.line)


def _key_entry(found: list[Mapped], wanted: Wanted, describe: Describe | None) -> _Entry:
    if len(found) > 1:
        lines = " and ".join(str(one.line) for one in found)
        raise ValueError(
            f"lines {lines}: {wanted.external_id} is filled more than once; take all but one out"
        )
    mapped = found[0] if found else None
    if mapped and mapped.constant is not None:
        raise ValueError(f"line {mapped.line}: a constant cannot fill the external id {wanted.external_id}")
    name, decide = _described_key(wanted, describe)
    keys = [_Key("field", name, decide), _Key("type", "key")]
    if wanted.key:
        said = " + ".join(mapped.columns) if mapped and not _same(mapped.columns, wanted.key) else ""
        note = f"as --key says; the mapping fills it from {said}" if said else ""
        keys += [_columns(wanted.key, note), *_separator(wanted.key, "_")]
    elif mapped:
        keys += [_columns(mapped.columns), *_separator(mapped.columns, ", ")]
    else:
        keys.append(
            _Key("columns", [], "the columns that make a row unique (--key); no line fills this field")
        )
    if describe:
        keys += _length(describe.field(name), 255)
    return _Entry(mapped.line if mapped else 0, tuple(keys))


def _described_key(wanted: Wanted, describe: Describe | None) -> tuple[str, str]:
    if describe is None:
        return wanted.external_id, ""
    try:
        found = describe.field(wanted.external_id)
    except ValueError as error:
        raise ValueError(f"--external-id: {error}") from None
    usable = found.get("externalId") or found.get("idLookup")
    return found["name"], "" if usable else "the describe says that it is no External ID"


def _entry(mapped: Mapped, wanted: Wanted, describe: Describe | None, joined: dict[str, str]) -> _Entry:
    if mapped.relationship:
        return _Entry(mapped.line, tuple(_lookup(mapped, describe)))
    found = describe.field(mapped.field) if describe else None
    name = found["name"] if found else mapped.field
    if name.casefold() == "id":
        return _Entry(
            mapped.line, left_out=f"rows are found by {wanted.external_id}, so Id is not loaded: left out"
        )
    if mapped.constant is not None:
        return _Entry(mapped.line, (_named(name, found), *_constant(mapped.constant)))
    typed = _typed(found, len(mapped.columns))
    if not typed:
        assert found is not None
        return _Entry(
            mapped.line,
            left_out=f"{name} is of type {found['type']}, which a table file cannot fill: left out",
        )
    column = _column_of(mapped, wanted, joined)
    required = [_Key("required", True)] if found and name in _required(describe) else []
    return _Entry(mapped.line, (_named(name, found), column, *typed, *required), _picklist(found))


def _required(describe: Describe | None) -> list[str]:
    """Fields that a new record must have; none without a describe."""
    return describe.required() if describe else []


def _named(name: str, found: dict[str, Any] | None) -> _Key:
    if found is None or (found.get("createable", True) and found.get("updateable", True)):
        return _Key("field", name)
    return _Key("field", name, "the describe says that the user may not create or change it")


def _constant(value: str) -> list[_Key]:
    if "\r" in value or "\0" in value:
        raise ValueError("the constant holds CR or NUL, which a table file cannot write")
    decide = '"" leaves the field as it is; "#N/A" empties it' if not value.strip() else ""
    return [_Key("type", "constant"), _Key("value", value, decide)]


def _lookup(mapped: Mapped, describe: Describe | None) -> Iterator[_Key]:
    if describe:
        found = describe.reference(mapped.relationship)
        name, relationship = found["name"], found["relationshipName"]
        refers = found["referenceTo"]
        sobject, decide = _referred(mapped, refers), ""
        polymorphic = [_Key("polymorphic", True)] if len(refers) > 1 else []
    else:
        name, relationship = _reference_field(mapped.relationship), mapped.relationship
        sobject = mapped.object or re.sub("__r$", "__c", mapped.relationship, flags=re.IGNORECASE)
        decide = "" if mapped.object else "the object that it refers to; the mapping does not say"
        several = "true if the field may refer to several objects"
        polymorphic = [_Key("polymorphic", False, several)] if mapped.object else []
    yield _Key("field", name)
    yield _Key("type", "lookup")
    yield _columns(mapped.columns)
    yield from _separator(mapped.columns, ", ")
    yield _Key("object", sobject, decide)
    yield _Key("external_id_field", mapped.key)
    if relationship != _told(name):
        yield _Key("relationship", relationship)
    yield from polymorphic


def _referred(mapped: Mapped, refers: list[str]) -> str:
    if mapped.object:
        same = [one for one in refers if one.casefold() == mapped.object.casefold()]
        if not same:
            raise ValueError(
                f"{mapped.relationship} refers to {', '.join(refers) or 'no object'}, not to {mapped.object}"
            )
        return same[0]
    if len(refers) != 1:
        raise ValueError(
            f"{mapped.relationship} refers to {', '.join(refers) or 'no object'}: "
            f"say which, {mapped.relationship}\\:Object-{mapped.key}"
        )
    return refers[0]


def _reference_field(relationship: str) -> str:
    if relationship.casefold().endswith("__c"):
        raise ValueError(f"{relationship} is a field: write its relationship, {relationship[:-3]}__r")
    custom = relationship.casefold().endswith("__r")
    return f"{relationship[:-3]}__c" if custom else f"{relationship}Id"


def _told(field: str) -> str:
    """The relationship that a table file takes from the name of the field (LookupField.relationship_name)."""
    return f"{field[:-3]}__r" if field.endswith("__c") else field.removesuffix("Id")


def _typed(found: dict[str, Any] | None, columns: int) -> list[_Key]:
    """``type`` and the keys that belong to it; nothing for a type that a table file does not know."""
    if found is None:
        told = "type and length; the mapping tells neither, --describe does"
        return [_Key("type", "text", told), _Key("length", _UNKNOWN_LENGTH)]
    kind = str(found["type"])
    if columns > 1 and kind not in {"string", "textarea"}:
        raise ValueError(
            f"{found['name']} is of type {kind}, and Data Loader joins columns only for text: map one"
        )
    if kind in _TEXTS:
        written, most = _TEXTS[kind]
        shown = "the values in one text, with ; between them" if kind == "multipicklist" else ""
        needed = [_Key("length", _UNKNOWN_LENGTH)] if written == "text" else []
        return [_Key("type", written, shown), *(_length(found, most) or needed)]
    if kind in _PLAIN:
        formats = "formats = [...] if the column is text" if kind != "boolean" else ""
        return [_Key("type", _PLAIN[kind], formats)]
    if kind in {"double", "currency", "percent", "int", "long"}:
        return _number(found)
    if kind == "reference":
        told = f"Salesforce's own Ids; safer by external id: {found.get('relationshipName')}\\:Field"
        return [_Key("type", "text", told), _Key("length", 18)]
    return []


def _number(found: dict[str, Any]) -> list[_Key]:
    digits, scale = found["precision"], found["scale"]
    if found["type"] in {"int", "long"} or (scale == 0 and 0 < digits <= 18):
        return [_Key("type", "integer"), _Key("digits", min(found["digits"] or digits or 18, 18))]
    return [
        _Key("type", "decimal"),
        _Key("precision", digits or 18),
        _Key("scale", scale),
        _Key("rounding", "half_up", '"none" refuses what has more decimals'),
    ]


def _length(found: dict[str, Any], most: int) -> list[_Key]:
    return [_Key("length", min(found["length"], most))] if found["length"] else []


def _picklist(found: dict[str, Any] | None) -> tuple[str, ...]:
    if not found or not found.get("restrictedPicklist") or found["type"] not in {"picklist", "combobox"}:
        return ()
    return tuple(found["picklistValues"])


def _column_of(mapped: Mapped, wanted: Wanted, joined: dict[str, str]) -> _Key:
    """The column, or the one that the SELECT makes of several."""
    if len(mapped.columns) == 1:
        name, decide = _oracle_name(mapped.columns[0])
        return _Key("column", name, decide)
    if not wanted.source:
        raise ValueError("joins columns, which takes a SELECT: give --source OWNER.TABLE")
    if bad := [name for name in mapped.columns if not _COLUMN.fullmatch(name)]:
        raise ValueError(f"joins {bad[0]!r}, which is no column that Oracle takes without quotation marks")
    expression = " || ', ' || ".join(f"t.{name.upper()}" for name in mapped.columns)
    made = next((name for name, known in joined.items() if known == expression), f"JOINED_{len(joined) + 1}")
    joined[made] = expression
    return _Key(
        "column", made, "an empty column among those joined leaves its comma; change the SELECT if not so"
    )


def _columns(columns: tuple[str, ...], note: str = "") -> _Key:
    names, notes = zip(*map(_oracle_name, columns), strict=True)
    return _Key("columns", list(names), "; ".join(filter(None, (note, *notes))))


def _separator(columns: tuple[str, ...], separator: str) -> list[_Key]:
    return (
        [_Key("separator", separator, "a text that stands in none of the columns")]
        if len(columns) > 1
        else []
    )


def _oracle_name(name: str) -> tuple[str, str]:
    if _COLUMN.fullmatch(name):
        return name.upper(), ""
    cleaned = re.sub(r"[^A-Z0-9_$#]", "_", name.upper())[:127]
    made = cleaned if cleaned[0].isalpha() else f"C{cleaned}"
    return made, f"the mapping says {_quoted(name)}, which is no name of a column in Oracle"


def _same(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return [name.casefold() for name in one] == [name.casefold() for name in other]


def _near(name: str, known: list[str]) -> str:
    folded = {other.casefold(): other for other in known}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.75)
    return f" (did you mean {folded[near[0]]}?)" if near else ""


# the text


def _head(wanted: Wanted, mapping: Mapping, describe: Describe | None, joined: dict[str, str]) -> list[str]:
    about = [
        f"# Drafted by `ora2sf tables import-sdl` from {_quoted(mapping.path.name)}.",
        f'# What only a person can decide is marked "{DECIDE.strip("# ")}"; take the mark out when it is decided.',
    ]
    order = "after the phases of the tables that it refers to"
    refers = any(mapped.relationship for mapped in mapping.targets)
    keys = [
        _Key("table", wanted.table),
        _Key("object", describe.name if describe else wanted.object),
        _Key("external_id_field", _described_key(wanted, describe)[0]),
        _Key("operation", "upsert"),
        _Key("phase", 1, order if refers else ""),
        _Key("source_time_zone", "UTC", 'zone of dates with time in the source, such as "Asia/Bangkok"'),
    ]
    return ["\n".join(about), "\n".join(map(_key_text, keys)), _source(wanted, joined)]


def _source(wanted: Wanted, joined: dict[str, str]) -> str:
    if not joined:
        decide = "" if wanted.source else "OWNER.NAME of the table, or sql = a SELECT (--source)"
        return "[source]\n" + _key_text(_Key("table", wanted.source, decide))
    made = ",\n".join(f"       {expression} AS {name}" for name, expression in joined.items())
    return f'[source]\nsql = """\nSELECT t.*,\n{made}\nFROM {wanted.source} t\n"""'


def _entry_text(entry: _Entry) -> str:
    if entry.left_out:
        return f"{DECIDE} line {entry.line}: {entry.left_out}"
    begin = "[[fields]]" + (f"  # line {entry.line}" if entry.line else "")
    lines = [begin, *map(_key_text, entry.keys)]
    if entry.values:
        lines.append(f"{DECIDE} the picklist is restricted; left stands what the source says")
        lines.append("[fields.values]")
        lines += [f"{_quoted(value)} = {_quoted(value)}" for value in dict.fromkeys(entry.values)]
    return "\n".join(lines)


def _remarks(
    mapping: Mapping, wanted: Wanted, describe: Describe | None, entries: list[_Entry]
) -> Iterator[str]:
    if mapping.unmapped:
        names = ", ".join(map(_quoted, mapping.unmapped))
        yield f"# Not mapped to a field: {names}."
    filled = {entry.field for entry in entries}
    for name in _required(describe):
        if name not in filled:
            yield f"{DECIDE} {wanted.object} requires {name}, which no line of the mapping fills"


def _key_text(key: _Key) -> str:
    statement = f"{key.name} = {_toml(key.value)}"
    return f"{statement:<30} {DECIDE} {key.decide}" if key.decide else statement


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case list():
            return f"[{', '.join(map(_toml, value))}]"
    return _quoted(str(value))


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes, and DEL, which TOML wants escaped, too (https://toml.io/en/v1.0.0#string)."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _check(text: str, path: Path) -> None:
    """A draft is a sound table file but for the source and the key, where these are still to decide."""
    entries = tomllib.loads(text)
    if not any(entries["source"].values()):
        entries["source"] = {"table": "T"}
    for field in entries["fields"]:
        if field.get("columns") == []:
            field["columns"] = ["K"]
    try:
        TableConfig.model_validate(entries)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)]
        refuse(path, problems)
