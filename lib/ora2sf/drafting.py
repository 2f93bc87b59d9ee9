"""What every draft of a table file is made of: its entries, what describe says of a field, and their text in TOML."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import ValidationError

from ora2sf.errors import MappingFileError
from ora2sf.tables import DECIDE, TableConfig

#: The name of a column that Oracle takes without quotation marks.
COLUMN = re.compile(r"[A-Za-z][A-Za-z0-9_$#]{0,127}")
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
class Draft:
    """The text of a table file, the number of its fields, and how often it says ``# decide:``."""

    text: str
    fields: int
    decisions: int


class Key(NamedTuple):
    """``name = value`` in a table file, with what is to decide about it, if anything."""

    name: str
    value: object
    decide: str = ""


@dataclass(frozen=True)
class Entry:
    """One ``[[fields]]`` entry, or a comment in its place when nothing can be written.

    Attributes:
        about: where it comes from, as a comment.
        values: the values of a restricted picklist.
        left_out: why there is only a comment.
    """

    about: str
    keys: tuple[Key, ...] = ()
    values: tuple[str, ...] = ()
    left_out: str = ""

    @property
    def field(self) -> str:
        """The field that it fills, if any."""
        return str(self.keys[0].value) if self.keys else ""


class Describe:
    """What an sObject describe says of an object's fields.

    Args:
        found: the answer of Salesforce.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is no describe.
    """

    def __init__(self, found: Mapping[str, Any]) -> None:
        self.name = str(found["name"])
        self.fields = {str(entry["name"]).casefold(): _described(entry) for entry in found["fields"]}

    @classmethod
    def saved(cls, path: Path, sobject: str) -> Self:
        """The describe in a file.

        Raises:
            MappingFileError: the file cannot be read, is no describe, or is one of another object.
        """
        try:
            made = cls(json.loads(path.read_text(encoding="utf-8-sig")))
        except OSError as error:
            raise MappingFileError(
                f"{path} cannot be read: {error.strerror}.", "Check path and rights."
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise MappingFileError(
                f"{path} is no describe of an object.",
                f"Save the answer of GET /services/data/vNN.N/sobjects/{sobject}/describe as it is.",
            ) from None
        if made.name.casefold() != sobject.casefold():
            raise MappingFileError(
                f"{path} describes {made.name}, not {sobject}.",
                f"Give --object {made.name}, or its describe.",
            )
        return made

    def field(self, name: str) -> dict[str, Any]:
        """The entry of a field, found without regard to case as Data Loader does; ValueError if there is none."""
        if found := self.fields.get(name.casefold()):
            return found
        raise ValueError(
            f"{self.name} has no field {name}{near(name, [e['name'] for e in self.fields.values()])}"
        )

    def reference(self, relationship: str) -> dict[str, Any]:
        """The entry of the reference field of a relationship; ValueError if there is none."""
        known = {e["relationshipName"]: e for e in self.fields.values() if e["relationshipName"]}
        for name, entry in known.items():
            if name.casefold() == relationship.casefold():
                return entry
        raise ValueError(f"{self.name} has no relationship {relationship}{near(relationship, list(known))}")

    def required(self) -> list[str]:
        """Fields that a new record must have."""
        return [e["name"] for e in self.fields.values() if is_required(e)]


def is_required(entry: Mapping[str, Any]) -> bool:
    """Whether a new record must have the field of a describe."""
    return bool(
        entry.get("createable") and not entry.get("nillable", True) and not entry.get("defaultedOnCreate")
    )


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


def told_relationship(field: str) -> str:
    """The relationship that a table file takes from the name of the field (LookupField.relationship_name)."""
    return f"{field[:-3]}__r" if field.endswith("__c") else field.removesuffix("Id")


def typed(found: dict[str, Any] | None, columns: int) -> list[Key]:
    """``type`` and the keys that belong to it; nothing for a type that a table file does not know."""
    if found is None:
        told = "type and length; the mapping tells neither, --describe does"
        return [Key("type", "text", told), Key("length", _UNKNOWN_LENGTH)]
    kind = str(found["type"])
    if columns > 1 and kind not in {"string", "textarea"}:
        raise ValueError(
            f"{found['name']} is of type {kind}, and Data Loader joins columns only for text: map one"
        )
    if kind in _TEXTS:
        written, most = _TEXTS[kind]
        shown = "the values in one text, with ; between them" if kind == "multipicklist" else ""
        needed = [Key("length", _UNKNOWN_LENGTH)] if written == "text" else []
        return [Key("type", written, shown), *(length_of(found, most) or needed)]
    if kind in _PLAIN:
        formats = "formats = [...] if the column is text" if kind != "boolean" else ""
        return [Key("type", _PLAIN[kind], formats)]
    if kind in {"double", "currency", "percent", "int", "long"}:
        return _number(found)
    if kind == "reference":
        told = f"Salesforce's own Ids; safer by external id: {found.get('relationshipName')}\\:Field"
        return [Key("type", "text", told), Key("length", 18)]
    return []


def _number(found: dict[str, Any]) -> list[Key]:
    digits, scale = found["precision"], found["scale"]
    if found["type"] in {"int", "long"} or (scale == 0 and 0 < digits <= 18):
        return [Key("type", "integer"), Key("digits", min(found["digits"] or digits or 18, 18))]
    return [
        Key("type", "decimal"),
        Key("precision", digits or 18),
        Key("scale", scale),
        Key("rounding", "half_up", '"none" refuses what has more decimals'),
    ]


def length_of(found: dict[str, Any], most: int) -> list[Key]:
    """``length``, if describe tells one."""
    return [Key("length", min(found["length"], most))] if found["length"] else []


def picklist_values(found: dict[str, Any] | None) -> tuple[str, ...]:
    """The active values of a restricted picklist."""
    if not found or not found.get("restrictedPicklist") or found["type"] not in {"picklist", "combobox"}:
        return ()
    return tuple(found["picklistValues"])


def near(name: str, known: list[str]) -> str:
    """`` (did you mean …?)``, or nothing."""
    folded = {other.casefold(): other for other in known}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.75)
    return f" (did you mean {folded[near[0]]}?)" if near else ""


# the text


def entry_text(entry: Entry) -> str:
    """An entry as a table file has it."""
    if entry.left_out:
        return f"{DECIDE} {f'{entry.about}: ' if entry.about else ''}{entry.left_out}"
    lines = ["[[fields]]" + (f"  # {entry.about}" if entry.about else ""), *map(key_text, entry.keys)]
    if entry.values:
        lines.append(f"{DECIDE} the picklist is restricted; left stands what the source says")
        lines.append("[fields.values]")
        lines += [f"{quoted(value)} = {quoted(value)}" for value in dict.fromkeys(entry.values)]
    return "\n".join(lines)


def key_text(key: Key) -> str:
    """One line of an entry."""
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
    return quoted(str(value))


def quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes, and DEL, which TOML wants escaped, too (https://toml.io/en/v1.0.0#string)."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def problems_of(text: str) -> list[str]:
    """What is wrong with a draft but for the source and the key, where these are still to decide."""
    entries = tomllib.loads(text)
    if not any(entries["source"].values()):
        entries["source"] = {"table": "T"}
    for field in entries["fields"]:
        if field.get("columns") == []:
            field["columns"] = ["K"]
    try:
        TableConfig.model_validate(entries)
    except ValidationError as error:
        return [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)]
    return []
