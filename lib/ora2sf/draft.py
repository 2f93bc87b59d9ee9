"""A table file drafted from a mapping of Data Loader, with what only a person can decide marked ``# decide:``.

A saved describe of the object (https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_sobject_describe.htm)
gives types, lengths and the exact case of names; without it every field is text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ora2sf.drafting import (
    COLUMN,
    Describe,
    Draft,
    Entry,
    Key,
    entry_text,
    key_text,
    length_of,
    picklist_values,
    problems_of,
    quoted,
    told_relationship,
    typed,
)
from ora2sf.sdl import Mapped, Mapping, refuse
from ora2sf.tables import DECIDE


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


def draft(mapping: Mapping, wanted: Wanted, describe: Describe | None) -> Draft:
    """The table file for a mapping.

    Raises:
        MappingFileError: lines that cannot be turned into fields; each is named.
    """
    entries, joined = _fields(mapping, wanted, describe)
    head = _head(wanted, mapping, describe, joined)
    blocks = [*head, *map(entry_text, entries), *_remarks(mapping, wanted, describe, entries)]
    text = "\n\n".join(blocks) + "\n"
    refuse(mapping.path, problems_of(text))
    fields = sum(bool(entry.keys) for entry in entries)
    return Draft(text, fields, text.count(DECIDE))


def _fields(
    mapping: Mapping, wanted: Wanted, describe: Describe | None
) -> tuple[list[Entry], dict[str, str]]:
    """The entries in order, the key first, and the joined columns that the SELECT has to make."""
    problems: list[str] = []
    joined: dict[str, str] = {}
    keys = [m for m in mapping.targets if m.field.casefold() == wanted.external_id.casefold()]
    others = [m for m in mapping.targets if m not in keys]
    entries: list[Entry] = []
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


def _line(number: int) -> str:
    return f"line {number}"


def _filled_twice(entries: list[Entry]) -> Iterator[str]:
    filled: dict[str, str] = {}
    for entry in entries:
        name = entry.field.casefold()
        if name and name in filled:
            both = f"is filled on {filled[name]}, too; take one of the two out"
            yield f"{entry.about}: {entry.field} {both}"
        filled.setdefault(name, entry.about)


def _key_entry(found: list[Mapped], wanted: Wanted, describe: Describe | None) -> Entry:
    if len(found) > 1:
        lines = " and ".join(str(one.line) for one in found)
        raise ValueError(
            f"lines {lines}: {wanted.external_id} is filled more than once; take all but one out"
        )
    mapped = found[0] if found else None
    if mapped and mapped.constant is not None:
        raise ValueError(f"line {mapped.line}: a constant cannot fill the external id {wanted.external_id}")
    name, decide = _described_key(wanted, describe)
    keys = [Key("field", name, decide), Key("type", "key")]
    if wanted.key:
        said = " + ".join(mapped.columns) if mapped and not _same(mapped.columns, wanted.key) else ""
        note = f"as --key says; the mapping fills it from {said}" if said else ""
        keys += [_columns(wanted.key, note), *_separator(wanted.key, "_")]
    elif mapped:
        keys += [_columns(mapped.columns), *_separator(mapped.columns, ", ")]
    else:
        keys.append(
            Key("columns", [], "the columns that make a row unique (--key); no line fills this field")
        )
    if describe:
        keys += length_of(describe.field(name), 255)
    return Entry(_line(mapped.line) if mapped else "", tuple(keys))


def _described_key(wanted: Wanted, describe: Describe | None) -> tuple[str, str]:
    if describe is None:
        return wanted.external_id, ""
    try:
        found = describe.field(wanted.external_id)
    except ValueError as error:
        raise ValueError(f"--external-id: {error}") from None
    usable = found.get("externalId") or found.get("idLookup")
    return found["name"], "" if usable else "the describe says that it is no External ID"


def _entry(mapped: Mapped, wanted: Wanted, describe: Describe | None, joined: dict[str, str]) -> Entry:
    if mapped.relationship:
        return Entry(_line(mapped.line), tuple(_lookup(mapped, describe)))
    found = describe.field(mapped.field) if describe else None
    name = found["name"] if found else mapped.field
    if name.casefold() == "id":
        return Entry(
            _line(mapped.line),
            left_out=f"rows are found by {wanted.external_id}, so Id is not loaded: left out",
        )
    if mapped.constant is not None:
        return Entry(_line(mapped.line), (_named(name, found), *_constant(mapped.constant)))
    kind = typed(found, len(mapped.columns))
    if not kind:
        assert found is not None
        return Entry(
            _line(mapped.line),
            left_out=f"{name} is of type {found['type']}, which a table file cannot fill: left out",
        )
    column = _column_of(mapped, wanted, joined)
    required = [Key("required", True)] if found and name in _required(describe) else []
    return Entry(_line(mapped.line), (_named(name, found), column, *kind, *required), picklist_values(found))


def _required(describe: Describe | None) -> list[str]:
    """Fields that a new record must have; none without a describe."""
    return describe.required() if describe else []


def _named(name: str, found: dict[str, Any] | None) -> Key:
    if found is None or (found.get("createable", True) and found.get("updateable", True)):
        return Key("field", name)
    return Key("field", name, "the describe says that the user may not create or change it")


def _constant(value: str) -> list[Key]:
    if "\r" in value or "\0" in value:
        raise ValueError("the constant holds CR or NUL, which a table file cannot write")
    decide = '"" leaves the field as it is; "#N/A" empties it' if not value.strip() else ""
    return [Key("type", "constant"), Key("value", value, decide)]


def _lookup(mapped: Mapped, describe: Describe | None) -> Iterator[Key]:
    if describe:
        found = describe.reference(mapped.relationship)
        name, relationship = found["name"], found["relationshipName"]
        refers = found["referenceTo"]
        sobject, decide = _referred(mapped, refers), ""
        polymorphic = [Key("polymorphic", True)] if len(refers) > 1 else []
    else:
        name, relationship = _reference_field(mapped.relationship), mapped.relationship
        sobject = mapped.object or re.sub("__r$", "__c", mapped.relationship, flags=re.IGNORECASE)
        decide = "" if mapped.object else "the object that it refers to; the mapping does not say"
        several = "true if the field may refer to several objects"
        polymorphic = [Key("polymorphic", False, several)] if mapped.object else []
    yield Key("field", name)
    yield Key("type", "lookup")
    yield _columns(mapped.columns)
    yield from _separator(mapped.columns, ", ")
    yield Key("object", sobject, decide)
    yield Key("external_id_field", mapped.key)
    if relationship != told_relationship(name):
        yield Key("relationship", relationship)
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


def _column_of(mapped: Mapped, wanted: Wanted, joined: dict[str, str]) -> Key:
    """The column, or the one that the SELECT makes of several."""
    if len(mapped.columns) == 1:
        name, decide = _oracle_name(mapped.columns[0])
        return Key("column", name, decide)
    if not wanted.source:
        raise ValueError("joins columns, which takes a SELECT: give --source OWNER.TABLE")
    if bad := [name for name in mapped.columns if not COLUMN.fullmatch(name)]:
        raise ValueError(f"joins {bad[0]!r}, which is no column that Oracle takes without quotation marks")
    expression = " || ', ' || ".join(f"t.{name.upper()}" for name in mapped.columns)
    made = next((name for name, known in joined.items() if known == expression), f"JOINED_{len(joined) + 1}")
    joined[made] = expression
    return Key(
        "column", made, "an empty column among those joined leaves its comma; change the SELECT if not so"
    )


def _columns(columns: tuple[str, ...], note: str = "") -> Key:
    names, notes = zip(*map(_oracle_name, columns), strict=True)
    return Key("columns", list(names), "; ".join(filter(None, (note, *notes))))


def _separator(columns: tuple[str, ...], separator: str) -> list[Key]:
    return (
        [Key("separator", separator, "a text that stands in none of the columns")] if len(columns) > 1 else []
    )


def _oracle_name(name: str) -> tuple[str, str]:
    if COLUMN.fullmatch(name):
        return name.upper(), ""
    cleaned = re.sub(r"[^A-Z0-9_$#]", "_", name.upper())[:127]
    made = cleaned if cleaned[0].isalpha() else f"C{cleaned}"
    return made, f"the mapping says {quoted(name)}, which is no name of a column in Oracle"


def _same(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return [name.casefold() for name in one] == [name.casefold() for name in other]


# the text


def _head(wanted: Wanted, mapping: Mapping, describe: Describe | None, joined: dict[str, str]) -> list[str]:
    about = [
        f"# Drafted by `ora2sf tables import-sdl` from {quoted(mapping.path.name)}.",
        f'# What only a person can decide is marked "{DECIDE.strip("# ")}"; take the mark out when it is decided.',
    ]
    order = "after the phases of the tables that it refers to"
    refers = any(mapped.relationship for mapped in mapping.targets)
    keys = [
        Key("table", wanted.table),
        Key("object", describe.name if describe else wanted.object),
        Key("external_id_field", _described_key(wanted, describe)[0]),
        Key("operation", "upsert"),
        Key("phase", 1, order if refers else ""),
        Key("source_time_zone", "UTC", 'zone of dates with time in the source, such as "Asia/Bangkok"'),
    ]
    return ["\n".join(about), "\n".join(map(key_text, keys)), _source(wanted, joined)]


def _source(wanted: Wanted, joined: dict[str, str]) -> str:
    if not joined:
        decide = "" if wanted.source else "OWNER.NAME of the table, or sql = a SELECT (--source)"
        return "[source]\n" + key_text(Key("table", wanted.source, decide))
    made = ",\n".join(f"       {expression} AS {name}" for name, expression in joined.items())
    return f'[source]\nsql = """\nSELECT t.*,\n{made}\nFROM {wanted.source} t\n"""'


def _remarks(
    mapping: Mapping, wanted: Wanted, describe: Describe | None, entries: list[Entry]
) -> Iterator[str]:
    if mapping.unmapped:
        names = ", ".join(map(quoted, mapping.unmapped))
        yield f"# Not mapped to a field: {names}."
    filled = {entry.field for entry in entries}
    for name in _required(describe):
        if name not in filled:
            yield f"{DECIDE} {wanted.object} requires {name}, which no line of the mapping fills"
