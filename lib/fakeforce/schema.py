"""Objects and fields, read from a folder of TOML files, one object per file (format: README.md)."""

from __future__ import annotations

import re
import tomllib
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .errors import SchemaError

TEXT_TYPES = {"string", "textarea", "picklist", "email", "phone", "url"}
NUMBER_TYPES = {"double", "currency", "percent"}
TYPES = TEXT_TYPES | NUMBER_TYPES | {"int", "boolean", "date", "datetime", "reference", "id"}
DEFAULT_LENGTH = {"string": 255, "textarea": 255, "picklist": 255, "email": 80, "phone": 40, "url": 255}
DEFAULT_SCALE = {"currency": 2, "percent": 2, "double": 0}
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

    @property
    def is_number(self) -> bool:
        """Whether values are decimals with a scale."""
        return self.type in NUMBER_TYPES

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
    writable: bool = True
    _by_name: dict[str, Field] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        self._by_name.update({f.name.lower(): f for f in self.fields})

    def field(self, name: str) -> Field | None:
        """The field of that API name, in any case."""
        return self._by_name.get(name.lower())

    def reference(self, relationship: str) -> Field | None:
        """The reference field behind a relationship name (``Parent__r``, ``Account``)."""
        wanted = relationship.lower()
        found = (f for f in self.fields if (f.relationship_name or "").lower() == wanted)
        return next(found, None)


class Schema:
    """All objects of the org."""

    def __init__(self, objects: list[SObject]) -> None:
        self.objects = {o.name: o for o in sorted(objects, key=lambda o: o.name)}
        self._by_name = {o.name.lower(): o for o in objects}

    def get(self, name: str) -> SObject | None:
        """The object of that API name, in any case."""
        return self._by_name.get(name.lower())

    def by_prefix(self, record_id: str) -> SObject | None:
        """The object a record id belongs to."""
        return next((o for o in self.objects.values() if o.key_prefix == record_id[:3]), None)


OBJECT_KEYS = {"name", "label", "label_plural", "key_prefix", "owner", "fields"}
FIELD_KEYS = {
    *("name", "label", "type", "length", "precision", "scale", "nillable", "unique", "external_id"),
    *("case_sensitive", "createable", "updateable", "default", "values", "restricted"),
    *("reference_to", "relationship_name"),
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
    return Schema(objects)


def _read_object(path: Path) -> SObject:
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SchemaError(f"{path}: not readable as TOML: {error}") from error
    _only(raw, OBJECT_KEYS, str(path))
    name = _text(raw, "name", str(path))
    if not re.fullmatch(r"[A-Za-z]\w*", name):
        raise SchemaError(f"{path}: key 'name': {name!r} is no API name")
    label = raw.get("label", name)
    prefix = raw.get("key_prefix") or _prefix_of(name)
    if not re.fullmatch(r"[0-9A-Za-z]{3}", prefix):
        raise SchemaError(f"{path}: key 'key_prefix': {prefix!r} is not 3 letters or digits")
    given = [_read_field(item, f"{path}: field {i + 1}") for i, item in enumerate(raw.get("fields", []))]
    if not given:
        raise SchemaError(f"{path}: key 'fields': at least one [[fields]] table is needed")
    fields = _with_standard_fields(given, raw.get("owner", name.endswith("__c")))
    names = [f.name.lower() for f in fields]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice:
        raise SchemaError(f"{path}: key 'fields': {twice!r} is given twice")
    return SObject(name, label, raw.get("label_plural", label + "s"), prefix, tuple(fields))


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


def _read_field(raw: dict[str, Any], where: str) -> Field:
    name = _text(raw, "name", where)
    where = f"{where} ({name})"
    _only(raw, FIELD_KEYS, where)
    kind = _text(raw, "type", where)
    if kind not in TYPES - {"id"}:
        raise SchemaError(f"{where}: key 'type': {kind!r} is not one of {', '.join(sorted(TYPES - {'id'}))}")
    found = Field(
        name=name,
        label=raw.get("label", name),
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
        values=tuple(_checked(raw, "values", list, [], where)),
        restricted=_checked(raw, "restricted", bool, False, where),
        reference_to=tuple(_checked(raw, "reference_to", list, [], where)),
        relationship_name=raw.get("relationship_name"),
        is_name=name == "Name",
    )
    _check_field(found, where)
    return _with_default(_with_relationship(found), raw, where)


def _check_field(found: Field, where: str) -> None:
    if found.is_text and not 1 <= found.length <= 131_072:
        raise SchemaError(f"{where}: key 'length': {found.length} is outside 1..131072")
    if found.is_number and not 1 <= found.precision <= MAX_DIGITS:
        raise SchemaError(f"{where}: key 'precision': {found.precision} is outside 1..{MAX_DIGITS}")
    if found.is_number and not 0 <= found.scale <= found.precision:
        raise SchemaError(f"{where}: key 'scale': {found.scale} is outside 0..{found.precision}")
    if found.type == "picklist" and not found.values:
        raise SchemaError(f"{where}: key 'values': a picklist needs at least one value")
    if found.type == "reference" and not found.reference_to:
        raise SchemaError(f"{where}: key 'reference_to': a reference needs at least one object name")
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
    """User and Organization, one record each: clients look at both when they log in."""
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
    ]


def _builtin(name: str, prefix: str, fields: list[Field]) -> SObject:
    every = tuple(_with_standard_fields(fields, owner=False))
    return SObject(name, name, name + "s", prefix, every, writable=False)
