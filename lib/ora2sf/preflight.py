"""The table file against Oracle's columns and Salesforce's describe: every problem at once, before any row moves.

Rules for fields: sObject Describe
(https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_sobject_describe.htm).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import polars as pl
import pyarrow as pa

from ora2sf.convert import unusable
from ora2sf.fields import (
    SET_NULL,
    AnyField,
    CodeField,
    ConstantField,
    DecimalField,
    EmailField,
    IntegerField,
    KeyField,
    LookupField,
    PhoneField,
    PicklistField,
    TextField,
    UrlField,
)
from ora2sf.oracle import SourceColumn
from ora2sf.tables import StatusRecord, TableConfig

_TEXTUAL = frozenset({"string", "textarea", "email", "phone", "url", "picklist", "combobox", "multipicklist"})
_NUMERIC = frozenset({"double", "currency", "percent"})
#: Types whose length is a limit for the text.
_SIZED = frozenset({"string", "textarea", "email", "phone", "url"})
_NO_TARGETS: Mapping[str, Mapping[str, Any] | None] = MappingProxyType({})
_LENGTHS = (KeyField, TextField, CodeField, EmailField, PhoneField, UrlField, PicklistField)
_FITS = {
    "key": _TEXTUAL,
    "lookup": frozenset({"reference"}),
    "text": _TEXTUAL | {"reference", "id"},
    "code": _TEXTUAL,
    "email": frozenset({"email", "string", "textarea"}),
    "phone": frozenset({"phone", "string", "textarea"}),
    "url": frozenset({"url", "string", "textarea"}),
    "integer": _NUMERIC | {"int"} | _TEXTUAL,
    "decimal": _NUMERIC | _TEXTUAL,
    "boolean": frozenset({"boolean"}),
    "date": frozenset({"date"}),
    "datetime": frozenset({"datetime"}),
    "picklist": frozenset({"picklist", "combobox", "string"}),
    "constant": _TEXTUAL | _NUMERIC | {"int", "boolean", "date", "datetime"},
}


#: What the run-as user has to be allowed on the object.
_RIGHTS = {
    "upsert": ("createable", "updateable"),
    "insert": ("createable",),
    "update": ("updateable",),
    "delete": ("deletable",),
}


@dataclass(frozen=True)
class Line:
    """One mapped field: where it comes from, what it becomes, and what is wrong with it."""

    source: str
    source_type: str
    field: str
    field_type: str
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Preflight:
    """The outcome: a line per mapped field, and problems of the object as a whole."""

    lines: tuple[Line, ...]
    problems: tuple[str, ...]

    def all_problems(self) -> list[str]:
        """Every problem as one sentence."""
        return [
            *self.problems,
            *(f"{line.field}: {problem}" for line in self.lines for problem in line.problems),
        ]


def check(
    config: TableConfig,
    columns: Mapping[str, SourceColumn],
    describe: Mapping[str, Any],
    targets: Mapping[str, Mapping[str, Any] | None] = _NO_TARGETS,
) -> Preflight:
    """Compares a table file with what Oracle and Salesforce say.

    Args:
        columns: the source's columns by name.
        describe: Salesforce's describe of the object.
        targets: the describe of every object that a lookup refers to; None where there is no such object.
    """
    fields = {entry["name"]: entry for entry in describe.get("fields", ())}
    unfit = _unfit(config, columns)
    lines = tuple(
        _line(config, spec, columns, fields, unfit.get(spec.field), targets) for spec in config.fields
    )
    return Preflight(lines, tuple(_of_object(config, describe, fields)))


def check_status(record: StatusRecord, describe: Mapping[str, Any]) -> list[str]:
    """What the status record needs and its object lacks."""
    fields = {entry["name"]: entry for entry in describe.get("fields", ())}
    problems = [
        f"status: {record.object} has no field {n}{_near(n, fields)}"
        for n in record.names()
        if n not in fields
    ]
    key = fields.get(record.external_id_field)
    if key and not (key.get("externalId") or key.get("idLookup")):
        problems.append(f"status: {record.external_id_field} is not an External ID")
    return problems


def _line(
    config: TableConfig,
    spec: AnyField,
    columns: Mapping[str, SourceColumn],
    fields: Mapping[str, Any],
    unfit: str | None,
    targets: Mapping[str, Mapping[str, Any] | None],
) -> Line:
    names = spec.source
    found = fields.get(spec.field)
    problems = [
        *(_of_columns(names, columns) or filter(None, [unfit])),
        *_of_field(config, spec, found, fields),
        *(_of_lookup(spec, found, targets) if isinstance(spec, LookupField) and found else ()),
    ]
    return Line(
        source=" + ".join(names) or "(constant)",
        source_type=" + ".join(columns[name].kind if name in columns else "?" for name in names),
        field=spec.field,
        field_type=_shown(found),
        problems=tuple(problems),
    )


def _of_columns(names: tuple[str, ...], columns: Mapping[str, SourceColumn]) -> list[str]:
    problems = []
    for name in names:
        if name not in columns:
            problems.append(f"column {name} does not exist in Oracle{_near(name, columns)}")
        elif not _readable(columns[name]):
            problems.append(f"column {name} has the type {columns[name].kind}, which cannot be read")
    return problems


def _readable(column: SourceColumn) -> bool:
    return column.is_number or column.arrow is not None


def _unfit(config: TableConfig, columns: Mapping[str, SourceColumn]) -> dict[str, str]:
    """Field → why the type of its column cannot feed it; the scale of a NUMBER does not matter here."""
    types = [pa.field(name, column.arrow_type(0)) for name, column in columns.items() if _readable(column)]
    return unusable(config, dict(pl.DataFrame(pa.schema(types).empty_table()).schema))


def _of_field(
    config: TableConfig, spec: AnyField, found: Mapping[str, Any] | None, fields: Mapping[str, Any]
) -> Iterator[str]:
    if found is None:
        yield f"the field does not exist on {config.object}, or the run-as user may not see it{_near(spec.field, fields)}"
        return
    if found["type"] not in _FITS[spec.type]:
        yield f"a {spec.type} does not fit a field of type {found['type']}"
    if config.operation == "delete":
        return
    if not found["createable"] and config.operation != "update":
        yield "the run-as user may not write it (createable is false)"
    if not found["updateable"] and config.operation != "insert" and spec.field != config.external_id_field:
        yield "the run-as user may not change it (updateable is false)"
    yield from _of_size(spec, found)


def _of_lookup(
    spec: LookupField, found: Mapping[str, Any], targets: Mapping[str, Mapping[str, Any] | None]
) -> Iterator[str]:
    """Rules of relationship columns
    (https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/datafiles_csv_rel_field_header_row.htm).
    """
    refers = list(found.get("referenceTo") or ())
    if refers and spec.object not in refers:
        yield f"it refers to {', '.join(refers)}, not to {spec.object}"
    if (name := found.get("relationshipName")) and name != spec.relationship_name:
        yield f'its relationship is called {name}: write relationship = "{name}"'
    if refers and spec.polymorphic != (len(refers) > 1):
        yield f"it refers to {len(refers)} object(s): write polymorphic = {str(len(refers) > 1).lower()}"
    target = targets.get(spec.object)
    if target is None:
        if spec.object in targets:
            yield f"Salesforce has no object {spec.object}, or the run-as user may not see it"
        return
    known = {entry["name"]: entry for entry in target.get("fields", ())}
    key = known.get(spec.external_id_field)
    if key is None:
        yield f"{spec.object} has no field {spec.external_id_field}{_near(spec.external_id_field, known)}"
    elif not (key.get("externalId") or key.get("idLookup")):
        yield f"{spec.external_id_field} of {spec.object} is not an External ID, so rows cannot be referred to by it"


def _of_size(spec: AnyField, found: Mapping[str, Any]) -> Iterator[str]:
    kept = int(found.get("length") or 0) if found["type"] in _SIZED else 0
    if isinstance(spec, _LENGTHS) and 0 < kept < spec.length:
        yield f"length = {spec.length}, but Salesforce keeps {kept} characters"
    if isinstance(spec, ConstantField) and 0 < kept < len(spec.value):
        yield f"the value has {len(spec.value)} characters, but Salesforce keeps {kept}"
    if found["type"] in _NUMERIC and isinstance(spec, DecimalField | IntegerField):
        scale = spec.scale if isinstance(spec, DecimalField) else 0
        digits = spec.precision if isinstance(spec, DecimalField) else spec.digits
        whole = int(found["precision"]) - int(found["scale"])
        if scale > int(found["scale"]):
            yield f"scale = {scale}, but Salesforce keeps {found['scale']} decimals"
        if digits - scale > whole:
            yield f"{digits - scale} digits before the point, but Salesforce keeps {whole}"
    if found.get("restrictedPicklist"):
        allowed = {entry["value"] for entry in found["picklistValues"] if entry["active"]}
        if lacking := sorted(_written(spec) - allowed):
            yield f"the restricted picklist lacks {', '.join(lacking)}"


def _written(spec: AnyField) -> set[str]:
    """The texts that the table file itself writes into a field."""
    if isinstance(spec, ConstantField):
        return {spec.value} - {"", SET_NULL}
    mapped = set((spec.values or {}).values()) if isinstance(spec, PicklistField) else set()
    return mapped | ({spec.default} if spec.default else set())


def _of_object(config: TableConfig, describe: Mapping[str, Any], fields: Mapping[str, Any]) -> Iterator[str]:
    for right in _RIGHTS[config.operation]:
        if not describe.get(right):
            yield f"the run-as user may not write {config.object} ({right} is false)"
    key = fields.get(config.external_id_field)
    if key and not (key.get("externalId") or key.get("idLookup")):
        yield f"{config.external_id_field} is not an External ID, so rows cannot be upserted by it"
    if key and not key.get("unique") and not key.get("idLookup"):
        yield f"{config.external_id_field} is not unique, so one key could match several records"
    mapped = {
        spec.field for spec in config.fields if not (isinstance(spec, ConstantField) and not spec.value)
    }
    for name, entry in fields.items():
        needed = entry["createable"] and not entry["nillable"] and not entry["defaultedOnCreate"]
        if needed and name not in mapped and config.operation in {"upsert", "insert"}:
            yield f"{config.object} requires {name}, which no field of the table file fills"


def _shown(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "?"
    if found["type"] in _NUMERIC:
        return f"{found['type']}({found['precision']},{found['scale']})"
    return f"{found['type']}({found['length']})" if found.get("length") else str(found["type"])


def _near(name: str, known: Mapping[str, Any]) -> str:
    folded = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.75)
    return f" (did you mean {folded[near[0]]}?)" if near else ""
