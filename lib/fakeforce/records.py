"""Writing records: one chunk of up to 200 rows through Salesforce's rules. Bulk jobs, single rows and
collections all come through here, so that they judge a row alike.

The order of the rules: what cannot be read, then fields that may not be written, then keys, lookups, required
fields, unique values (the order among them is assumed).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .csvtext import StrayBlank
from .errors import JobFailure, RowError
from .ids import normal_id
from .schema import Field, Schema, SObject
from .store import Store
from .values import ABSENT, Absent, Cell, Value, column_reader, fold

CHUNK_ROWS = 200  # rows of one transaction (limits: same as Bulk API)
_NO_DELETE = RowError("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id")


class Outcome(NamedTuple):
    """What became of one row; ``id`` is empty when the row was refused."""

    id: str
    created: bool
    error: RowError | None


@dataclass(frozen=True)
class Column:
    """One column sent by a client. ``via``: the field of the other object that a lookup names."""

    field: Field
    exact: bool = True  # the header has the API name's own case
    via: Field | None = None
    targets: tuple[SObject, ...] = ()

    @property
    def value_field(self) -> Field:
        """The field whose type the cells have."""
        return self.via or self.field


@dataclass(frozen=True)
class Writer:
    """A compiled write: the object, what to do, and the columns in the order of the cells."""

    obj: SObject
    operation: str  # insert, update, upsert, delete, hardDelete
    key: Field | None  # upsert: the external id field; update, delete, hardDelete: Id
    columns: tuple[Column, ...]

    def key_at(self) -> int | None:
        """Position of the key column, None when it was not sent."""
        found = (i for i, c in enumerate(self.columns) if c.field is self.key and c.via is None)
        return next(found, None)


def resolve_column(schema: Schema, obj: SObject, name: str) -> Column:
    """A header cell to a column. Raises JobFailure (texts seen) for an unknown field or relationship."""
    if "." in name:
        return _resolve_lookup(schema, obj, name)
    found = obj.field(name)
    if found is None:
        raise JobFailure("InvalidBatch", f"Field name not found : {name}")
    return Column(found, exact=found.name == name)


def _resolve_lookup(schema: Schema, obj: SObject, name: str) -> Column:
    """``Parent__r.Ext__c``; ``Type:Rel.Field`` when the relation has several targets."""
    path, _, target_field = name.partition(".")
    wanted_type, _, relationship = path.rpartition(":")
    reference = obj.reference(relationship)
    if reference is None:
        raise JobFailure("InvalidBatch", f"Unable to find relationship: {relationship}")
    if wanted_type and len(reference.reference_to) == 1:
        text = f"type is not needed for non polymorphic foreign key references: {relationship}"
        raise JobFailure("InvalidBatch", text)
    if wanted_type and wanted_type.lower() not in (name.lower() for name in reference.reference_to):
        raise JobFailure("InvalidBatch", f"Unable to find relationship: {path}")  # text assumed
    names = [wanted_type] if wanted_type else list(reference.reference_to)
    targets = tuple(t for t in map(schema.get, names) if t is not None)
    via = next((f for t in targets if (f := t.field(target_field)) is not None), None)
    if via is None or not (via.id_lookup or via.is_name):
        raise JobFailure("InvalidBatch", f"Field name not found : {name}")
    return Column(reference, exact=name == f"{path}.{via.name}", via=via, targets=targets)


def given_twice(columns: Sequence[Column]) -> int | None:
    """The first column whose field another one gives already, as a lookup by id and by external id do."""
    fields = [column.field.name for column in columns]
    return next((at for at, name in enumerate(fields) if name in fields[:at]), None)


def compile_writer(
    schema: Schema, obj: SObject, operation: str, key: Field | None, names: Sequence[str]
) -> Writer:
    """Header names to a Writer. Raises JobFailure naming the first bad column."""
    columns = tuple(resolve_column(schema, obj, name) for name in names)
    twice = given_twice(columns)
    if twice is not None:  # what a real org says is not known; it must not pass silently
        raise JobFailure("InvalidBatch", f"Field name given twice : {names[twice]}")
    writer = Writer(obj, operation, key, columns)
    if key is not None and operation == "upsert" and writer.key_at() is None:
        raise JobFailure("InvalidBatch", f"Field name not found : {key.name}")
    return writer


@dataclass
class Rows:
    """Cells of one or many rows, column by column, with the rows that could not be read."""

    columns: list[list[Cell]]
    errors: dict[int, RowError] = field(default_factory=dict)


def read_csv_rows(writer: Writer, rows: list[list[str]], *, trim: bool) -> Rows:
    """CSV cells of one internal batch to stored values, a column at a time."""
    width = len(writer.columns)
    found = Rows([])
    if any(len(row) != width or isinstance(row, StrayBlank) for row in rows):
        rows = _refuse_misshapen(rows, width, found)
    for at, (column, cells) in enumerate(zip(writer.columns, _transposed(rows, width), strict=True)):
        values, errors = column_reader(column.value_field, at, trim=trim)(cells)
        found.columns.append(values)
        for row, error in errors.items():
            found.errors.setdefault(row, error)
    return found


def _refuse_misshapen(rows: list[list[str]], width: int, found: Rows) -> list[list[str]]:
    """A row with a wrong number of cells (seen), or with a blank next to a quote, is refused by itself."""
    empty = [""] * width
    for at, row in enumerate(rows):
        if isinstance(row, StrayBlank):  # documented (guide: Prepare CSV Files), code and text assumed
            text = "Failed to parse CSV. Found a blank next to a quote"
            found.errors[at] = RowError("INVALID_FIELD", text)
        elif len(row) != width:
            message = (
                f"Number of fields in header is different from the row. header = {width} row = {len(row)}"
            )
            found.errors[at] = RowError("INVALID_FIELD", message)
    return [empty if at in found.errors else row for at, row in enumerate(rows)]


def _transposed(rows: list[list[str]], width: int) -> Sequence[Sequence[str]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width


class Change:
    """One chunk being judged and written, inside the caller's transaction."""

    def __init__(self, store: Store, con: sqlite3.Connection, writer: Writer, now: str, user: str) -> None:
        self.store, self.con, self.writer, self.obj = store, con, writer, writer.obj
        self.now, self.user = now, user
        self.row_count = 0  # only for rows without any cell
        self.locked: frozenset[str] = frozenset()  # records that somebody else is writing to
        self.rows: list[list[Cell]] = []
        self.errors: dict[int, RowError] = {}
        self.target: dict[int, str] = {}  # row -> id of the existing record
        self.created: dict[int, str] = {}
        self._missing: dict[int, list[str]] = {}
        self._claimed: set[tuple[str, Value]] = set()

    def apply(self, columns: Sequence[Sequence[Cell]], errors: dict[int, RowError]) -> list[Outcome]:
        """Judge and write the rows; refused rows write nothing. One Outcome a row, in order."""
        self.errors = dict(errors)
        self.rows = (
            [list(row) for row in zip(*columns, strict=True)]
            if columns
            else [[] for _ in range(self.row_count)]
        )
        if self.writer.operation in ("delete", "hardDelete"):
            self._find_by_id()
            self._refuse_forbidden()
            self._leave_children()
            hard = self.writer.operation == "hardDelete"
            self.store.delete(self.con, self.obj, list(dict.fromkeys(self.target.values())), hard=hard)
        else:
            self._refuse_readonly_columns()
            self._resolve_lookups()
            self._find_targets()
            self._refuse_forbidden()
            self._check_references()
            self._refuse_locked()
            self._check_required()
            self._check_unique()
            self._write_updates()
            self._write_inserts()
        return [self._outcome(at) for at in range(len(self.rows))]

    def _outcome(self, at: int) -> Outcome:
        error = self.errors.get(at)
        if error is not None:
            return Outcome("", False, error)
        if at in self.created:
            return Outcome(self.created[at], True, None)
        return Outcome(self.target[at], False, None)

    def _good(self) -> list[int]:
        return [at for at in range(len(self.rows)) if at not in self.errors]

    def _refuse_readonly_columns(self) -> None:
        """A column that the user may not write refuses each row that gives it (code documented)."""
        for at_column, column in enumerate(self.writer.columns):
            if column.field is self.writer.key or (column.field.createable and column.field.updateable):
                continue
            error = _readonly(column.field)
            if column.field.type == "id":
                text = "cannot specify Id in an insert call"
                error = RowError("INVALID_FIELD_FOR_INSERT_UPDATE", text)
            for at in self._good():
                if self.rows[at][at_column] is not ABSENT:
                    self.errors[at] = error

    def _refuse_forbidden(self) -> None:
        """Object permissions of the user (first text seen, the others assumed)."""
        obj = self.obj
        if obj.createable and obj.updateable and obj.deletable:
            return
        for at in self._good():
            if self.writer.operation in ("delete", "hardDelete"):
                allowed, error = obj.deletable, _NO_DELETE
            else:
                known = at in self.target
                allowed = obj.updateable if known else obj.createable
                text = f"entity type cannot be {'updated' if known else 'inserted'}: {obj.label}"
                error = RowError("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", text)
            if not allowed:
                self.errors[at] = error
                self.target.pop(at, None)

    def _leave_children(self) -> None:
        """Lookups of others to a deleted record become empty; a required one keeps the record (help: Lookup
        Relationship; text assumed)."""
        for child, reference in self.store.schema.references_to(self.obj):
            if not self.target or reference.server_set:
                continue
            if reference.nillable:
                self.store.clear(self.con, child, reference, list(self.target.values()))
                continue
            going = set(self.target.values())
            kept = {v for v, i in self.store.find(self.con, child, reference, going) if i not in going}
            for at in [at for at, record in self.target.items() if record in kept]:
                text = (
                    f"Your attempt to delete this record failed: it is associated with {child.label_plural}"
                )
                self.errors[at] = RowError("DELETE_FAILED", text)
                del self.target[at]

    def _resolve_lookups(self) -> None:
        """External ids of parents to record ids; one that is not there refuses the whole row (seen)."""
        for at_column, column in enumerate(self.writer.columns):
            if column.via is None:
                continue
            wanted = {at: self.rows[at][at_column] for at in self._good()}
            wanted = {at: value for at, value in wanted.items() if not isinstance(value, Absent)}
            found = self._ids_by_key(column, [v for v in wanted.values() if not isinstance(v, Absent)])
            for at, value in wanted.items():
                if value is None or isinstance(value, Absent):
                    continue
                ids = found.get(fold(column.via, value), [])
                if len(ids) == 1:
                    self.rows[at][at_column] = ids[0]
                else:
                    self.errors[at] = self._lookup_error(column, value, ids)

    def _ids_by_key(self, column: Column, values: list[Value]) -> dict[Value, list[str]]:
        found: dict[Value, list[str]] = {}
        for target in column.targets:
            via = target.field(column.value_field.name)
            if via is not None:
                for value, record in self.store.find(self.con, target, via, values):
                    found.setdefault(fold(via, value), []).append(record)
        return found

    def _lookup_error(self, column: Column, value: Value, ids: list[str]) -> RowError:
        via = column.value_field
        if ids:
            return _ambiguous(via, ids)
        place = f"field {via.name} in entity {column.targets[0].name}"
        return RowError("INVALID_FIELD", f"Foreign key external ID: {value} not found for {place}")

    def _find_targets(self) -> None:
        """Which existing record each row means."""
        if self.writer.operation == "update":
            self._find_by_id()
        elif self.writer.operation == "upsert" and self.writer.key is not None:
            if self.writer.key.type == "id":
                self._find_by_id(required=False)
            else:
                self._find_by_key(self.writer.key)

    def _find_by_id(self, *, required: bool = True) -> None:
        at_column = self.writer.key_at()
        id_field = self.obj.field("Id")
        wanted: dict[int, str] = {}
        for at in self._good():
            value = ABSENT if at_column is None else self.rows[at][at_column]
            if not isinstance(value, str):
                if required:
                    text = f"Id not specified in {_article(self.writer.operation)} call"
                    self.errors[at] = RowError("MISSING_ARGUMENT", text)
                continue
            record = normal_id(value)
            if record is None or not record.startswith(self.obj.key_prefix):
                text = f"{self.obj.label} ID: id value of incorrect type: {value}"
                self.errors[at] = RowError("MALFORMED_ID", text, ("Id",))
            else:
                wanted[at] = record
        if wanted and id_field is not None:
            self._match_ids(wanted, id_field)

    def _match_ids(self, wanted: dict[int, str], id_field: Field) -> None:
        ids = list(wanted.values())
        present = {i for _, i in self.store.find(self.con, self.obj, id_field, ids)}
        gone = self.store.recycled(self.con, self.obj, ids)
        taken: set[str] = set()
        for at, record in wanted.items():
            if record in gone:
                self.errors[at] = RowError("ENTITY_IS_DELETED", "entity is deleted")
            elif record not in present:
                self.errors[at] = RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
            elif record in taken:
                text = f"Duplicate id in list: {record}"
                self.errors[at] = RowError("DUPLICATE_VALUE", text, ("Id",))
            else:
                taken.add(record)
                self.target[at] = record

    def _find_by_key(self, key: Field) -> None:
        """The upsert key: empty is refused, twice in one chunk refuses every row that has it (seen)."""
        at_column = self.writer.key_at()
        if at_column is None:
            return
        rows_of: dict[Value, list[int]] = {}
        for at in self._good():
            value = self.rows[at][at_column]
            if value is None or isinstance(value, Absent):
                self.errors[at] = RowError("MISSING_ARGUMENT", f"{key.name} not specified")
            else:
                rows_of.setdefault(fold(key, value), []).append(at)
        for rows in [rows for rows in rows_of.values() if len(rows) > 1]:
            for at in rows:
                text = f"Duplicate external id specified: {self.rows[at][at_column]}"
                self.errors[at] = RowError("DUPLICATE_VALUE", text, (key.name,))
        self._match_keys(key, {value: rows[0] for value, rows in rows_of.items() if len(rows) == 1})

    def _match_keys(self, key: Field, row_of: dict[Value, int]) -> None:
        ids_of: dict[Value, list[str]] = {}
        for value, record in self.store.find(self.con, self.obj, key, row_of):
            ids_of.setdefault(fold(key, value), []).append(record)
        for value, ids in ids_of.items():
            at = row_of[value]
            if len(ids) > 1:
                self.errors[at] = _ambiguous(key, ids)
            else:
                self.target[at] = ids[0]

    def _check_references(self) -> None:
        """A record id in a lookup must be well-formed and there (codes documented)."""
        for at_column, column in enumerate(self.writer.columns):
            if column.field.type != "reference" or column.via is not None:
                continue
            wanted: dict[int, str] = {}
            for at in self._good():
                value = self.rows[at][at_column]
                record = normal_id(value) if isinstance(value, str) else None
                if isinstance(value, str) and record is None:
                    text = f"{column.field.label}: id value of incorrect type: {value}"
                    self.errors[at] = RowError("MALFORMED_ID", text, (column.field.name,))
                elif record is not None:
                    wanted[at] = self.rows[at][at_column] = record
            self._check_present(column.field, wanted)

    def _check_present(self, reference: Field, wanted: dict[int, str]) -> None:
        present: set[str] = set()
        for name in reference.reference_to:
            target = self.store.schema.get(name)
            id_field = target.field("Id") if target else None
            if target is None or id_field is None:
                return  # an object this org does not know cannot be checked
            present.update(i for _, i in self.store.find(self.con, target, id_field, wanted.values()))
        for at, record in wanted.items():
            if record not in present:
                self.errors[at] = RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")

    def _refuse_locked(self) -> None:
        """A row whose parent is locked (form of the text seen)."""
        if not self.locked:
            return
        for at in self._good():
            for record in self._parents_of(at) & self.locked:
                text = f"unable to obtain exclusive access to this record or 1 records: {record}"
                self.errors[at] = RowError("UNABLE_TO_LOCK_ROW", text)

    def parents(self) -> set[str]:
        """The records that the written rows name in their lookups."""
        return set().union(*(self._parents_of(at) for at in self._good()))

    def _parents_of(self, at: int) -> set[str]:
        cells = zip(self.writer.columns, self.rows[at], strict=True)
        return {cell for column, cell in cells if column.field.type == "reference" and isinstance(cell, str)}

    def _check_required(self) -> None:
        """Required fields: missing on insert, set to null on update; one error names them all (seen)."""
        position = {c.field.name: i for i, c in enumerate(self.writer.columns)}
        for given in (f for f in self.obj.fields if not f.nillable and f.createable):
            at_column = position.get(given.name)
            if at_column is None and not given.required:
                continue
            for at in self._good():
                value = ABSENT if at_column is None else self.rows[at][at_column]
                if value is None and given.defaulted and at_column is not None:
                    self.rows[at][at_column] = given.default  # a checkbox set to null is false (assumed)
                elif value is None or (value is ABSENT and given.required and at not in self.target):
                    self._missing.setdefault(at, []).append(given.name)
        for at, names in self._missing.items():
            message = f"Required fields are missing: [{', '.join(names)}]"
            self.errors[at] = RowError("REQUIRED_FIELD_MISSING", message, tuple(names))

    def _check_unique(self) -> None:
        """A value that another record has refuses the row; in one chunk the first row wins (assumed)."""
        for at_column, column in enumerate(self.writer.columns):
            unique = column.field
            if not unique.unique or (self.writer.operation == "upsert" and unique is self.writer.key):
                continue
            wanted = {at: self.rows[at][at_column] for at in self._good()}
            values = {at: v for at, v in wanted.items() if v is not None and not isinstance(v, Absent)}
            owner = {
                fold(unique, v): i for v, i in self.store.find(self.con, self.obj, unique, values.values())
            }
            for at, value in values.items():
                holder = owner.setdefault(fold(unique, value), self.target.get(at, "<unknown>"))
                if holder == "<unknown>" and (unique.name, fold(unique, value)) not in self._claimed:
                    self._claimed.add((unique.name, fold(unique, value)))
                elif holder != self.target.get(at):
                    # Both forms seen; that a record of the same chunk has neither name nor id is assumed.
                    name = "<unknown>" if holder == "<unknown>" else unique.name
                    text = f"duplicate value found: {name} duplicates value on record with id: {holder}"
                    self.errors[at] = RowError("DUPLICATE_VALUE", text)

    def _write_updates(self) -> None:
        """Update the given cells only: rows that give the same fields share one statement."""
        groups: dict[tuple[int, ...], list[list[Cell]]] = {}
        for at, record in self.target.items():
            if at in self.errors:
                continue
            row = self.rows[at]
            given = tuple(i for i, v in enumerate(row) if v is not ABSENT and self._writable(i))
            stamped: list[Cell] = [self.now, self.user, self.now, record]
            groups.setdefault(given, []).append([row[i] for i in given] + stamped)
        for given, rows in groups.items():
            names = [self.writer.columns[i].field.name for i in given]
            names += ["LastModifiedDate", "LastModifiedById", "SystemModstamp"]
            self.store.update(self.con, self.obj, names, rows)

    def _writable(self, at_column: int) -> bool:
        column = self.writer.columns[at_column]
        return column.field.type != "id" and not (column.field is self.writer.key and column.via is None)

    def _write_inserts(self) -> None:
        """Insert what has no record yet, with defaults for what was not given."""
        fresh = [at for at in self._good() if at not in self.target]
        if not fresh or (self.writer.operation == "update"):
            return
        given = [(i, c.field) for i, c in enumerate(self.writer.columns) if c.field.type != "id"]
        names = {f.name for _, f in given}
        filled = self._server_values(names)
        defaults = [(i, f.default if f.default is not None else None) for i, f in given]
        owner_at = next((k for k, (_, f) in enumerate(given) if f.name == "OwnerId"), None)
        name_at = next((k for k, (_, f) in enumerate(given) if f.is_name and f.defaulted), None)
        ids = self.store.new_ids(self.obj, len(fresh))
        auto_name = self._auto_name() if "Name" not in names else None
        numbered = [f for f in self.obj.fields if f.auto_number]
        rows: list[list[object]] = []
        for at, (number, record) in zip(fresh, ids, strict=True):
            row = self.rows[at]
            cells: list[object] = [d if (v := row[i]) is ABSENT else v for i, d in defaults]
            if owner_at is not None and cells[owner_at] is None:
                cells[owner_at] = self.user
            if name_at is not None and cells[name_at] is None:
                cells[name_at] = record
            if auto_name is not None:
                cells.append(record)
            self.created[at] = record
            rows.append([number, record, *cells, *(f.numbered(number) for f in numbered), *filled.values()])
        columns = [f.name for _, f in given] + ([auto_name] if auto_name else [])
        columns += [*(f.name for f in numbered), *filled]
        self.store.insert(self.con, self.obj, columns, rows)

    def _auto_name(self) -> str | None:
        """A Name that nobody gives is the record id (assumed: as for a custom object's text name)."""
        found = self.obj.field("Name")
        fits = found is not None and found.defaulted and found.default is None and not found.auto_number
        return "Name" if fits else None

    def _server_values(self, given: set[str]) -> dict[str, Value]:
        """Values of the fields that the client did not send and the server fills."""
        filled: dict[str, Value] = {}
        for target in self.obj.fields:
            if target.name in given or target.type == "id":
                continue
            if target.server_set and target.type == "datetime":
                filled[target.name] = self.now
            elif target.type == "reference" and target.defaulted:
                filled[target.name] = self.user
            elif target.default is not None:
                filled[target.name] = target.default
        return filled


def _article(operation: str) -> str:
    return f"an {operation}" if operation[0] in "aeiou" else f"a {operation}"


def _readonly(found: Field) -> RowError:
    text = (
        f"Unable to create/update fields: {found.name}. Please check the security settings of this field "
        "and verify that it is read/write for your profile or permission set."
    )
    return RowError("INVALID_FIELD_FOR_INSERT_UPDATE", text, (found.name,))


def _ambiguous(key: Field, ids: Sequence[str]) -> RowError:
    """A key that several records have (seen)."""
    text = f"{key.label}: more than one record found for external id field: [{', '.join(ids)}]"
    return RowError("DUPLICATE_EXTERNAL_ID", text, (key.name,))
