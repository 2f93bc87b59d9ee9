"""Objects and fields, read from a folder of TOML files, one object per file (format: README.md)."""

from __future__ import annotations

import re
import tomllib
import zlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .errors import SchemaError

TEXT_TYPES = {"string", "textarea", "picklist", "multipicklist", "email", "phone", "url"}
NUMBER_TYPES = {"double", "currency", "percent"}
TYPES = TEXT_TYPES | NUMBER_TYPES | {"int", "boolean", "date", "datetime", "time", "reference", "id"}
FILE_TYPES = (TYPES - {"id"}) | {"autonumber"}  # what a schema file may say
DEFAULT_LENGTH = {
    **{"string": 255, "textarea": 255, "picklist": 255, "email": 80, "phone": 40, "url": 255},
    **{"multipicklist": 4099, "autonumber": 30},
}
DEFAULT_SCALE = {"currency": 2, "percent": 2, "double": 0}
_OWN_NAMES = {"id", "isdeleted", "n"}  # n numbers the rows of a table
_NEVER = datetime(2000, 1, 1, tzinfo=UTC)
MAX_DIGITS = 18  # Salesforce's own bound on a number field; lets a value be stored as one scaled integer


@dataclass(frozen=True)
class Field:
    """One field. ``default`` is the stored value given to an insert that leaves the field out."""

    name: str
    label: str
    type: str
    length: int = 0
    precision: int = 0
    scale: int = 0
    nillable: bool = True
    unique: bool = False
    external_id: bool = False
    case_sensitive: bool = False
    createable: bool = True
    updateable: bool = True
    default: str | int | None = None
    defaulted: bool = False  # the server gives a value on insert
    values: tuple[str, ...] = ()
    restricted: bool = False
    reference_to: tuple[str, ...] = ()
    relationship_name: str | None = None
    is_name: bool = False
    server_set: bool = False
    auto_number: str = ""  # display format: the server numbers the rows
    formula: str = ""  # shown by describe, never computed; the field is read-only

    @property
    def custom(self) -> bool:
        """Whether the API name says custom."""
        return self.name.endswith("__c")

    @property
    def required(self) -> bool:
        """Whether an insert must give it: createable, not nillable, no default (REST guide: Describe)."""
        return self.createable and not self.nillable and not self.defaulted

    @property
    def is_text(self) -> bool:
        """Whether values are text cut by ``length``."""
        return self.type in TEXT_TYPES

    def numbered(self, number: int) -> str:
        """The auto-number of the ``number``-th record: ``A-{0000}`` makes ``A-0001``."""
        return re.sub(r"\{(0+)\}", lambda m: str(number).rjust(len(m.group(1)), "0"), self.auto_number)

    @property
    def is_number(self) -> bool:
        """Whether values are decimals with a scale."""
        return self.type in NUMBER_TYPES

    @property
    def long_text(self) -> bool:
        """A long text area: not filtered, grouped, sorted or aggregated (SOQL guide: textarea; documented)."""
        return self.type == "textarea" and self.length > 255

    @property
    def groupable(self) -> bool:
        """Whether GROUP BY takes it (object reference: field properties; seen in recorded replies)."""
        return not (self.is_number or self.long_text or self.type in ("datetime", "time", "multipicklist"))

    @property
    def aggregates(self) -> set[str]:
        """The aggregate functions it takes (SOQL guide: Support for Field Types in Aggregate Functions)."""
        if self.long_text or self.type in ("boolean", "multipicklist", "time"):
            return set()
        sums = {"SUM", "AVG"} if self.is_number or self.type == "int" else set()
        return sums | {"COUNT", "COUNT_DISTINCT", "MIN", "MAX"}

    @property
    def id_lookup(self) -> bool:
        """Whether an upsert or a lookup may name it."""
        return self.external_id or self.type == "id"


@dataclass(frozen=True)
class SObject:
    """One object and its fields, in order; names are looked up without regard to case."""

    name: str
    label: str
    label_plural: str
    key_prefix: str
    fields: tuple[Field, ...]
    createable: bool = True
    updateable: bool = True
    deletable: bool = True
    _by_name: dict[str, Field] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        self._by_name.update({f.name.lower(): f for f in self.fields})

    @property
    def writable(self) -> bool:
        """Whether the user may change its records in any way."""
        return self.createable or self.updateable or self.deletable

    def field(self, name: str) -> Field | None:
        """The field of that API name, in any case."""
        return self._by_name.get(name.lower())

    def reference(self, relationship: str) -> Field | None:
        """The reference field behind a relationship name (``Parent__r``, ``Account``)."""
        wanted = relationship.lower()
        found = (f for f in self.fields if (f.relationship_name or "").lower() == wanted)
        return next(found, None)


class Schema:
    """All objects of the org; ``tooling`` are those that only the Tooling API knows."""

    def __init__(
        self, objects: list[SObject], modified: datetime = _NEVER, tooling: Schema | None = None
    ) -> None:
        self.modified = modified  # when the newest of the files was written
        self.tooling = tooling
        self.objects = {o.name: o for o in sorted(objects, key=lambda o: o.name)}
        self._by_name = {o.name.lower(): o for o in objects}

    def get(self, name: str) -> SObject | None:
        """The object of that API name, in any case."""
        return self._by_name.get(name.lower())

    def references_to(self, obj: SObject) -> list[tuple[SObject, Field]]:
        """The fields of all objects that may hold a record of this one; required ones first."""
        found = [(o, f) for o in self.objects.values() for f in o.fields if obj.name in f.reference_to]
        return sorted(found, key=lambda pair: pair[1].nillable)

    def tables(self) -> list[SObject]:
        """Every object that has records, the tooling ones too."""
        return [*self.objects.values(), *(self.tooling.objects.values() if self.tooling else ())]

    def by_prefix(self, record_id: str) -> SObject | None:
        """The object a record id belongs to."""
        return next((o for o in self.objects.values() if o.key_prefix == record_id[:3]), None)


OBJECT_KEYS = {
    *("name", "label", "label_plural", "key_prefix", "owner", "fields"),
    *("createable", "updateable", "deletable"),
}
FIELD_KEYS = {
    *("name", "label", "type", "length", "precision", "scale", "nillable", "unique", "external_id"),
    *("case_sensitive", "createable", "updateable", "default", "values", "restricted"),
    *("reference_to", "relationship_name", "display_format", "formula", "visible"),
}


def load(folder: str | Path) -> Schema:
    """Read ``*.toml`` of a folder. Raises SchemaError naming the file and the key."""
    root = Path(folder)
    if not root.is_dir():
        raise SchemaError(f"schema folder {root} does not exist")
    files = sorted(root.glob("*.toml"))
    if not files:
        raise SchemaError(f"schema folder {root} holds no .toml file")
    objects = [_read_object(path) for path in files] + builtin_objects()
    for what in ("name", "key_prefix"):
        seen: dict[str, str] = {}
        for obj in objects:
            value = getattr(obj, what).lower() if what == "name" else obj.key_prefix
            if value in seen:
                raise SchemaError(f"{root}: {what} {value!r} is used by both {seen[value]} and {obj.name}")
            seen[value] = obj.name
    modified = max(path.stat().st_mtime for path in files)
    return Schema(objects, datetime.fromtimestamp(modified, UTC), Schema(tooling_objects()))


def _read_object(path: Path) -> SObject:
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SchemaError(f"{path}: not readable as TOML: {error}") from error
    _only(raw, OBJECT_KEYS, str(path))
    name = _text(raw, "name", str(path))
    if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) or name.lower().startswith("sqlite_"):
        raise SchemaError(f"{path}: key 'name': {name!r} is no API name")
    label = _checked(raw, "label", str, name, str(path))
    prefix = raw.get("key_prefix") or _prefix_of(name)
    if not isinstance(prefix, str) or not re.fullmatch(r"[0-9A-Za-z]{3}", prefix):
        raise SchemaError(f"{path}: key 'key_prefix': {prefix!r} is not 3 letters or digits")
    tables = _checked(raw, "fields", list, [], str(path))
    if not tables or not all(isinstance(item, dict) for item in tables):
        raise SchemaError(f"{path}: key 'fields': at least one [[fields]] table is needed")
    given = [_read_field(item, f"{path}: field {i + 1}") for i, item in enumerate(tables)]
    fields = _with_standard_fields(
        [f for f in given if f is not None], _checked(raw, "owner", bool, name.endswith("__c"), str(path))
    )
    names = [f.name.lower() for f in fields]
    names += [f.relationship_name.lower() for f in fields if f.relationship_name]  # both make columns
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice:
        raise SchemaError(f"{path}: key 'fields': {twice!r} is given twice")
    rights = {r: _checked(raw, r, bool, True, str(path)) for r in ("createable", "updateable", "deletable")}
    plural = _checked(raw, "label_plural", str, label + "s", str(path))
    return SObject(name, label, plural, prefix, tuple(fields), **rights)


def _prefix_of(name: str) -> str:
    """A stable key prefix for an object that names none: ``a`` and two characters made from the name."""
    alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    number = zlib.crc32(name.lower().encode())
    return "a" + alphabet[number % 62] + alphabet[number // 62 % 62]


def _only(table: dict[str, Any], allowed: set[str], where: str) -> None:
    unknown = sorted(set(table) - allowed)
    if unknown:
        raise SchemaError(f"{where}: unknown key {unknown[0]!r} (known: {', '.join(sorted(allowed))})")


def _text(table: dict[str, Any], key: str, where: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value:
        raise SchemaError(f"{where}: key {key!r} must be a text and is {value!r}")
    return value


def _checked(table: dict[str, Any], key: str, kind: type, default: Any, where: str) -> Any:
    value = table.get(key, default)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise SchemaError(f"{where}: key {key!r} must be of type {kind.__name__} and is {value!r}")
    return value


def _texts(table: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    found = _checked(table, key, list, [], where)
    if not all(isinstance(item, str) and item for item in found):
        raise SchemaError(f"{where}: key {key!r} must be a list of texts and is {found!r}")
    return tuple(found)


def _read_field(raw: dict[str, Any], where: str) -> Field | None:
    """One field; None when the user may not see it (``visible = false``: field-level security)."""
    name = _text(raw, "name", where)
    where = f"{where} ({name})"
    if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) or name.lower() in _OWN_NAMES:
        raise SchemaError(f"{where}: key 'name': {name!r} is no API name, or one that the server gives")
    _only(raw, FIELD_KEYS, where)
    kind = _text(raw, "type", where)
    if kind not in FILE_TYPES:
        raise SchemaError(f"{where}: key 'type': {kind!r} is not one of {', '.join(sorted(FILE_TYPES))}")
    found = Field(
        name=name,
        label=_checked(raw, "label", str, name, where),
        type=kind,
        length=_checked(raw, "length", int, DEFAULT_LENGTH.get(kind, 0), where),
        precision=_checked(raw, "precision", int, MAX_DIGITS if kind in NUMBER_TYPES else 0, where),
        scale=_checked(raw, "scale", int, DEFAULT_SCALE.get(kind, 0), where),
        nillable=_checked(raw, "nillable", bool, kind != "boolean", where),
        unique=_checked(raw, "unique", bool, False, where),
        external_id=_checked(raw, "external_id", bool, False, where),
        case_sensitive=_checked(raw, "case_sensitive", bool, False, where),
        createable=_checked(raw, "createable", bool, True, where),
        updateable=_checked(raw, "updateable", bool, True, where),
        values=_texts(raw, "values", where),
        restricted=_checked(raw, "restricted", bool, False, where),
        reference_to=_texts(raw, "reference_to", where),
        relationship_name=_checked(raw, "relationship_name", str, "", where) or None,
        is_name=name == "Name",
        formula=_checked(raw, "formula", str, "", where),
    )
    found = _server_set(found, raw, where)
    _check_field(found, where)
    found = _with_default(_with_relationship(found), raw, where)
    if _checked(raw, "visible", bool, True, where):
        return found
    if found.required:
        raise SchemaError(f"{where}: key 'visible': a required field cannot be hidden from the user")
    return None


def _server_set(found: Field, raw: dict[str, Any], where: str) -> Field:
    """Auto-number and formula fields: read-only (object reference: Auto-Number, Formula fields)."""
    if found.type != "autonumber" and "display_format" in raw:
        raise SchemaError(f"{where}: key 'display_format' is for type 'autonumber' only")
    if found.formula:
        return replace(found, createable=False, updateable=False, nillable=True)
    if found.type != "autonumber":
        return found
    shown = _checked(raw, "display_format", str, "{0}", where)
    if not re.fullmatch(r"[^{}]*\{0+\}[^{}]*", shown):
        raise SchemaError(
            f"{where}: key 'display_format': {shown!r} must hold zeros in braces, as A-{{0000}}"
        )
    return replace(
        found, type="string", auto_number=shown, createable=False, updateable=False,
        nillable=False, defaulted=True, server_set=True,
    )  # fmt: skip


def _check_field(found: Field, where: str) -> None:
    if found.is_text and not 1 <= found.length <= 131_072:
        raise SchemaError(f"{where}: key 'length': {found.length} is outside 1..131072")
    if found.is_number and not 1 <= found.precision <= MAX_DIGITS:
        raise SchemaError(f"{where}: key 'precision': {found.precision} is outside 1..{MAX_DIGITS}")
    if found.is_number and not 0 <= found.scale <= found.precision:
        raise SchemaError(f"{where}: key 'scale': {found.scale} is outside 0..{found.precision}")
    if found.type in ("picklist", "multipicklist") and not found.values:
        raise SchemaError(f"{where}: key 'values': a picklist needs at least one value")
    if found.type == "reference" and not found.reference_to:
        raise SchemaError(f"{where}: key 'reference_to': a reference needs at least one object name")
    if found.type == "multipicklist" and any(";" in value for value in found.values):
        raise SchemaError(f"{where}: key 'values': a value of a multipicklist cannot hold ';'")
    if found.formula and (
        found.auto_number or found.type == "reference" or found.external_id or found.unique
    ):
        raise SchemaError(f"{where}: key 'formula': not possible for this field")
    if (found.external_id or found.unique) and not (found.is_text or found.is_number or found.type == "int"):
        raise SchemaError(f"{where}: key 'external_id'/'unique': not possible for type {found.type!r}")


def _with_relationship(found: Field) -> Field:
    if found.type != "reference":
        return found
    name = found.relationship_name
    if name is None and found.custom:
        name = found.name[:-1] + "r"
    elif name is None:
        name = found.name.removesuffix("Id") or found.name
    return replace(found, relationship_name=name, length=18)


def _with_default(found: Field, raw: dict[str, Any], where: str) -> Field:
    from .values import Unreadable, parse_value  # values needs Field; the default is the only way back

    given = raw.get("default")
    if given is None:
        # A checkbox always has a value (SOAP guide: core data types).
        return replace(found, default=0, defaulted=True) if found.type == "boolean" else found
    if found.unique:
        raise SchemaError(f"{where}: key 'default': two records of a unique field cannot share a value")
    text = str(given).lower() if isinstance(given, bool) else str(given)
    try:
        value, error = parse_value(found, text)
    except Unreadable:
        value, error = None, None
    if error is not None or not isinstance(value, (str, int)):
        raise SchemaError(f"{where}: key 'default': {given!r} does not fit the field")
    return replace(found, default=value, defaulted=True)


def _server_field(name: str, label: str, kind: str, **more: Any) -> Field:
    given: dict[str, Any] = {
        "nillable": False, "createable": False, "updateable": False, "defaulted": True, "server_set": True,
    }  # fmt: skip
    return Field(name, label, kind, **(given | more))


def _user_reference(name: str, label: str, **more: Any) -> Field:
    return _server_field(
        name, label, "reference", length=18, reference_to=("User",), relationship_name=name[:-2], **more
    )


def _with_standard_fields(given: list[Field], owner: bool) -> list[Field]:
    """Add what every object has (SOAP guide: System Fields), unless the file gives it itself."""
    before = [_server_field("Id", "Record ID", "id", length=18)]
    if owner:
        before.append(
            _user_reference("OwnerId", "Owner ID", createable=True, updateable=True, server_set=False)
        )
    before.append(_server_field("IsDeleted", "Deleted", "boolean", default=0))
    before.append(Field("Name", "Name", "string", length=80, defaulted=True, is_name=True))
    after = [
        _server_field("CreatedDate", "Created Date", "datetime"),
        _user_reference("CreatedById", "Created By ID"),
        _server_field("LastModifiedDate", "Last Modified Date", "datetime"),
        _user_reference("LastModifiedById", "Last Modified By ID"),
        _server_field("SystemModstamp", "System Modstamp", "datetime"),
    ]
    names = {f.name for f in given}
    return [f for f in before if f.name not in names] + given + [f for f in after if f.name not in names]


def builtin_objects() -> list[SObject]:
    """User and Organization, one record each: clients look at both when they log in; FieldDefinition."""
    text = {"length": 255, "nillable": True}
    user = [
        *(
            _server_field(n, n, "string", **text)
            for n in ("Username", "Name", "Email", "FirstName", "LastName")
        ),
        _server_field("IsActive", "Active", "boolean"),
    ]
    organization = [
        *(
            _server_field(n, n, "string", **text)
            for n in ("Name", "InstanceName", "OrganizationType", "NamespacePrefix")
        ),
        _server_field("IsSandbox", "Is Sandbox", "boolean"),
        _server_field("TrialExpirationDate", "Trial Expiration Date", "datetime", nillable=True),
    ]
    return [
        _builtin("User", "005", user),
        _builtin("Organization", "00D", organization),
        _field_definition(),
    ]


def tooling_objects() -> list[SObject]:
    """What clients ask the Tooling API for: SandboxProcess (this org is no sandbox), FieldDefinition."""
    names = ("SandboxName", "Status", "LicenseType")
    process = [_server_field(n, n, "string", length=255, nillable=True) for n in names]
    return [_builtin("SandboxProcess", "0GR", process), _field_definition()]


def _field_definition() -> SObject:
    """One record a field; ``EntityDefinitionId`` is the object's name (Tooling API: FieldDefinition)."""
    text = {"length": 255, "nillable": True}
    names = ("DurableId", "QualifiedApiName", "DeveloperName", "EntityDefinitionId", "Label", "DataType")
    flags = ("IsPolymorphicForeignKey", "IsNillable", "IsIndexed", "IsCalculated")
    fields = [_server_field(n, n, "string", **text) for n in names]
    return _builtin(
        "FieldDefinition", "4fe", fields + [_server_field(n, n, "boolean", default=0) for n in flags]
    )


def _builtin(name: str, prefix: str, fields: list[Field]) -> SObject:
    every = tuple(_with_standard_fields(fields, owner=False))
    return SObject(name, name, name + "s", prefix, every, createable=False, updateable=False, deletable=False)
