"""sObject rows, collections and queries: JSON in, JSON out, no HTTP."""

from __future__ import annotations

import json
import secrets
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, NamedTuple

from .clock import Clock, stamp
from .errors import ApiError, JobFailure, RowError, not_found
from .records import Change, Column, Outcome, Writer, resolve_column
from .schema import Field, Schema, SObject
from .settings import Settings
from .soql import Aggregate, Path, Query, parse
from .store import Store
from .values import Cell, Unreadable, Value, decimal_text, json_of, json_text, parse_value

PAGE_ROWS = 2000  # REST guide: Query; batchSize 200..2000
MAX_RECORDS = 200  # REST guide: sObject Collections
MAX_CURSORS = 50
_JSON_KIND = {"str": "VALUE_STRING", "bool": "VALUE_TRUE", "dict": "START_OBJECT", "list": "START_ARRAY"}


class Number(str):
    """A JSON number kept as its digits, so that no float ever touches it."""


def read_json(body: bytes) -> Any:
    """A JSON body; numbers stay text. Raises 400 JSON_PARSER_ERROR."""
    try:
        return json.loads(body or b"", parse_float=Number, parse_int=Number)
    except (ValueError, UnicodeDecodeError) as error:
        raise ApiError(400, "JSON_PARSER_ERROR", f"The request body is not valid JSON: {error}") from None


class Collection(NamedTuple):
    """What to do with the records of one collection; object and key only for upsert."""

    operation: str
    object: str = ""
    key: str = ""


class _Cursor(NamedTuple):
    """A query's rows, fixed when it ran; a page reads their values when it is asked for."""

    query: Query
    numbers: array[int]
    name: str


class Rest:
    """Rows of one org, as a user writes and reads them."""

    def __init__(self, store: Store, clock: Clock, settings: Settings, user: str) -> None:
        self.store, self.clock, self.settings, self.user = store, clock, settings, user
        self.schema: Schema = store.schema
        self._cursors: OrderedDict[str, _Cursor] = OrderedDict()

    def object(self, name: str) -> SObject:
        """The object of that name. Raises 404 NOT_FOUND."""
        found = self.schema.get(name)
        if found is None:
            raise not_found()
        return found

    # ---- one row ----

    def upsert(
        self, obj_name: str, field_name: str, value: str, body: Any, *, update_only: bool
    ) -> tuple[int, Any]:
        """PATCH by external id (REST guide: Insert or Update (Upsert) a Record Using an External ID).

        201 created, 200 updated, 300 several records (their URLs), 404 not there with ``updateOnly``.
        """
        obj = self._writable(obj_name)
        key = self._key(obj, field_name, value)
        stored = self._key_value(key, value)
        matches = self._matches(obj, key, stored)
        if len(matches) > 1:
            return 300, matches
        if not matches and update_only:
            raise not_found()  # code documented, text assumed
        if not matches and key.type == "id":
            raise not_found()
        columns, cells = self._cells(obj, body)
        if any(c.field is key for c in columns):
            text = f"The {key.name} field should not be specified in the sobject data."  # assumed
            raise ApiError(400, "INVALID_FIELD", text, (key.name,))
        writer = Writer(obj, "upsert", key, (*columns, Column(key)))
        outcome = self._apply(writer, [[*cells, stored]])[0]
        self._raise_for(outcome)
        status = 201 if outcome.created else 200
        return status, {"id": outcome.id, "success": True, "errors": [], "created": outcome.created}

    def create(self, obj_name: str, body: Any) -> dict[str, Any]:
        """POST a row (REST guide: Create a Record)."""
        obj = self._writable(obj_name)
        columns, cells = self._cells(obj, body)
        outcome = self._apply(Writer(obj, "insert", None, columns), [cells])[0]
        self._raise_for(outcome)
        return {"id": outcome.id, "success": True, "errors": []}

    def delete(self, obj_name: str, field_name: str, value: str) -> None:
        """DELETE a row by id or external id."""
        obj = self._writable(obj_name)
        key = self._key(obj, field_name, value)
        matches = self._matches(obj, key, self._key_value(key, value))
        if len(matches) != 1:
            raise not_found()
        with self.store.transaction() as con:
            self.store.delete(con, obj, [matches[0].rpartition("/")[2]])

    def get(self, obj_name: str, field_name: str, value: str, base: str, only: str | None) -> tuple[int, str]:
        """GET a row by id or external id, as JSON text; ``only`` is the fields parameter."""
        obj = self.object(obj_name)
        key = self._key(obj, field_name, value)
        matches = self._matches(obj, key, self._key_value(key, value), base)
        if len(matches) > 1:
            return 300, json.dumps(matches)
        if not matches:
            raise not_found()
        fields = [self._field(obj, name.strip()) for name in only.split(",")] if only else list(obj.fields)
        with self.store.reading() as con:
            row = self.store.get(con, obj, matches[0].rpartition("/")[2])
        if row is None:
            raise not_found()
        return 200, _record_json(obj, base, row, [(f, row[f.name]) for f in fields])

    def _field(self, obj: SObject, name: str) -> Field:
        found = obj.field(name)
        if found is None:
            raise ApiError(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {obj.name}")
        return found

    def _writable(self, name: str) -> SObject:
        obj = self.object(name)
        if not obj.writable:
            raise ApiError(405, "METHOD_NOT_ALLOWED", f"{obj.name} cannot be changed")
        return obj

    def _key(self, obj: SObject, name: str, value: str) -> Field:
        found = obj.field(name)
        if found is None or not found.id_lookup:
            text = f"Provided external ID field does not exist or is not accessible: {name}"  # seen
            raise not_found(text)
        return found

    def _key_value(self, key: Field, text: str) -> Value:
        try:
            value, error = parse_value(key, text, trim=self.settings.trim_text)
        except Unreadable:
            raise not_found() from None
        if error is not None:
            raise ApiError(400, error.code, error.message, error.fields)
        return value

    def _matches(self, obj: SObject, key: Field, value: Value, base: str = "") -> list[str]:
        """URLs of the records that have the value (form of the list's elements: assumed)."""
        with self.store.reading() as con:
            found = self.store.find(con, obj, key, [value])
        return [f"{base}/sobjects/{obj.name}/{record}" for _, record in found]

    def _cells(self, obj: SObject, body: Any) -> tuple[tuple[Column, ...], list[Cell]]:
        """A JSON record to columns and values. Raises 400 for unknown fields and unreadable values."""
        if not isinstance(body, dict):
            raise ApiError(400, "JSON_PARSER_ERROR", "The request body must be one JSON object")
        columns: list[Column] = []
        cells: list[Cell] = []
        for name, value in body.items():
            if name == "attributes":
                continue
            column, cell = self._cell(obj, name, value)
            columns.append(column)
            cells.append(cell)
        return tuple(columns), cells

    def _cell(self, obj: SObject, name: str, value: Any) -> tuple[Column, Cell]:
        if isinstance(value, dict):  # {"Parent__r": {"Ext__c": "123"}}
            inner = [(k, v) for k, v in value.items() if k != "attributes"]
            if len(inner) != 1:
                raise ApiError(400, "INVALID_FIELD", f"{name}: exactly one external id field is needed")
            name, value = f"{name}.{inner[0][0]}", inner[0][1]
        try:
            column = resolve_column(self.schema, obj, name)
        except JobFailure:
            text = f"No such column '{name}' on sobject of type {obj.name}"  # seen
            raise ApiError(400, "INVALID_FIELD", text) from None
        return column, self._json_value(column.value_field, value)

    def _json_value(self, field: Field, value: Any) -> Cell:
        if value is None or value == "":
            return None
        fits = isinstance(value, bool) == (field.type == "boolean") or isinstance(value, str)
        if isinstance(value, (dict, list)) or not fits:
            raise _unparsable(field, value)
        text = str(value).lower() if isinstance(value, bool) else str(value)
        try:
            stored, error = parse_value(field, text, trim=self.settings.trim_text)
        except Unreadable:
            raise _unparsable(field, value) from None
        if error is not None:
            raise ApiError(400, error.code, error.message, error.fields)
        return stored

    def _apply(self, writer: Writer, rows: list[list[Cell]]) -> list[Outcome]:
        columns = [list(column) for column in zip(*rows, strict=True)] if rows[0] else []
        with self.store.transaction() as con:
            change = Change(self.store, con, writer, stamp(self.clock.now()), self.user)
            change.row_count = len(rows)
            return change.apply(columns, {})

    @staticmethod
    def _raise_for(outcome: Outcome) -> None:
        if outcome.error is not None:
            code, message, fields = outcome.error
            raise ApiError(400, code, message, fields)

    # ---- collections ----

    def collection(self, wanted: Collection, body: Any) -> list[dict[str, Any]]:
        """POST (insert), PATCH (update, upsert) of up to 200 records: 200 with one result a record, in order.

        REST guide: sObject Collections. ``allOrNone`` rolls everything back when one record is refused.
        """
        records = body.get("records") if isinstance(body, dict) else None
        if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
            raise ApiError(400, "JSON_PARSER_ERROR", "records must be a list of objects")
        if len(records) > MAX_RECORDS:
            text = "record limit reached. cannot submit more than 200 records into this call"  # seen
            raise ApiError(400, "LIMIT_EXCEEDED", text)
        results = [Outcome("", False, None)] * len(records)
        strict = body.get("allOrNone") in (True, "true")
        try:
            with self.store.transaction() as con:
                for writer, rows in self._collection_groups(wanted, records, results):
                    columns = [list(column) for column in zip(*(cells for _, cells in rows), strict=True)]
                    change = Change(self.store, con, writer, stamp(self.clock.now()), self.user)
                    change.row_count = len(rows)
                    for (at, _), outcome in zip(rows, change.apply(columns, {}), strict=True):
                        results[at] = outcome
                if strict and any(o.error for o in results):
                    raise _RolledBack
        except _RolledBack:
            results = [_rolled_back(o) for o in results]
        return [_collection_result(o, upsert=wanted.operation == "upsert") for o in results]

    def _collection_groups(
        self, wanted: Collection, records: list[Any], results: list[Outcome]
    ) -> list[tuple[Writer, list[tuple[int, list[Cell]]]]]:
        """Records of one object with the same fields go together; unreadable ones go to ``results``."""
        groups: dict[tuple[str, ...], tuple[Writer, list[tuple[int, list[Cell]]]]] = {}
        for at, record in enumerate(records):
            try:
                writer, cells = self._collection_row(wanted, record)
            except ApiError as error:
                results[at] = Outcome("", False, RowError(error.code, error.message, error.fields or ()))
                continue
            names = (f"{c.field.name}.{c.via.name if c.via else ''}" for c in writer.columns)
            groups.setdefault((writer.obj.name, *names), (writer, []))[1].append((at, cells))
        return list(groups.values())

    def _collection_row(self, wanted: Collection, record: dict[str, Any]) -> tuple[Writer, list[Cell]]:
        kind = str((record.get("attributes") or {}).get("type", wanted.object))
        obj = self.schema.get(kind)
        if obj is None or not obj.writable:
            raise ApiError(400, "INVALID_TYPE", f"sObject type '{kind}' is not supported.")
        columns, cells = self._cells(obj, record)
        if wanted.operation == "insert":
            return Writer(obj, "insert", None, columns), cells
        key = obj.field(wanted.key if wanted.operation == "upsert" else "Id")
        if key is None or not key.id_lookup:
            text = f"Provided external ID field does not exist or is not accessible: {wanted.key}"
            raise not_found(text)
        if all(c.field is not key for c in columns):
            columns, cells = (*columns, Column(key)), [*cells, None]
        return Writer(obj, wanted.operation, key, columns), cells

    # ---- queries ----

    def query(self, text: str, base: str, page_rows: int) -> str:
        """GET /query (REST guide: Query): one page as JSON text."""
        query = parse(self.schema, text)
        with self.store.reading() as con:
            if query.only_count:
                sql = f"SELECT COUNT(*) FROM (SELECT 1{query.tail()})"
                total = con.execute(sql, query.given).fetchone()[0]
                return f'{{"totalSize":{total},"done":true,"records":[]}}'
            if query.aggregates:
                columns = ", ".join(a.sql() for a in query.aggregates)
                row = con.execute(f"SELECT {columns}{query.tail()}", query.given).fetchone()
                return _aggregate_json(query, row)
            numbers = con.execute(f'SELECT "{query.obj.name}".n{query.tail()}', query.given)
            found = array("q", (row[0] for row in numbers))
        cursor = _Cursor(query, found, f"01gFf0{secrets.token_hex(6)}")
        if len(found) > page_rows:
            self._cursors[cursor.name] = cursor
            while len(self._cursors) > MAX_CURSORS:
                self._cursors.popitem(last=False)
        return self._page(cursor, 0, base, page_rows)

    def columns(self, text: str) -> dict[str, Any]:
        """GET /query?columns=true: what a query selects, no rows (in no guide; the Salesforce CLI asks for it)."""
        query = parse(self.schema, text)
        found = [_aggregate_column(a) for a in query.aggregates]
        parents: dict[str, dict[str, Any]] = {}
        for path in query.paths:
            column = _column(path.field.name, path.field)
            if path.reference is None:
                found.append(column)
                continue
            name = str(path.reference.relationship_name)
            if name not in parents:
                parents[name] = _column(name, path.reference)
                found.append(parents[name])
            parents[name]["joinColumns"].append(column)
        selected = any(p.reference is None and p.field.name == "Id" for p in query.paths)
        return {
            "columnMetadata": found,
            "entityName": query.obj.name,
            "groupBy": False,
            "idSelected": selected,
            "keyPrefix": query.obj.key_prefix,
        }

    def query_more(self, locator: str, base: str, page_rows: int) -> str:
        """GET a nextRecordsUrl."""
        cursor, _, start = locator.rpartition("-")
        if cursor not in self._cursors or not start.isdigit():
            raise ApiError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._page(self._cursors[cursor], int(start), base, page_rows)

    def _page(self, cursor: _Cursor, start: int, base: str, size: int) -> str:
        query, numbers = cursor.query, cursor.numbers[start : start + size].tolist()
        name = query.obj.name
        columns = ", ".join([f'"{name}".n', f'"{name}".Id', *(p.sql() for p in query.paths)])
        marks = ", ".join("?" * len(numbers))
        with self.store.reading() as con:
            found = con.execute(f'SELECT {columns} FROM "{name}" WHERE n IN ({marks})', numbers)
            rows = {row[0]: row for row in found}
        records = ",".join(_query_record(query, base, rows[n]) for n in numbers if n in rows)
        total = len(cursor.numbers)
        if start + size >= total:
            return f'{{"totalSize":{total},"done":true,"records":[{records}]}}'
        more = f"{base}/query/{cursor.name}-{start + size}"
        return f'{{"totalSize":{total},"done":false,"nextRecordsUrl":"{more}","records":[{records}]}}'

    def json_lines(self, obj_name: str) -> Iterator[str]:
        """All rows of an object as JSON lines of exact text (admin path)."""
        for row in self.store.rows(self.object(obj_name)):
            yield json.dumps(row, ensure_ascii=False) + "\n"


_APEX = {
    "id": "Id",
    "reference": "Id",
    "boolean": "Boolean",
    "int": "Integer",
    "date": "Date",
    "datetime": "Datetime",
}


def _column(name: str, field: Field) -> dict[str, Any]:
    """One entry of columnMetadata (keys seen in the tests of the CLI's query plug-in)."""
    return {
        "aggregate": False,
        "apexType": "Double" if field.is_number else _APEX.get(field.type, "String"),
        "booleanType": field.type == "boolean",
        "columnName": name,
        "custom": field.custom,
        "displayName": name,
        "foreignKeyName": field.name if field.type == "reference" and name != field.name else None,
        "insertable": field.createable,
        "joinColumns": [],
        "numberType": field.is_number or field.type == "int",
        "textType": field.is_text,
        "updatable": field.updateable,
    }


def _aggregate_column(aggregate: Aggregate) -> dict[str, Any]:
    column = _column(aggregate.alias, aggregate.path.field)
    column["displayName"] = f"{aggregate.function.lower()}({aggregate.path.name})"
    numeric = aggregate.counts or column["numberType"]
    plain = dict.fromkeys(("booleanType", "custom", "insertable", "textType", "updatable"), False)
    return (
        column | plain | {"aggregate": True, "apexType": None, "foreignKeyName": None, "numberType": numeric}
    )


class _RolledBack(Exception):
    """allOrNone and at least one refused record."""


def _rolled_back(outcome: Outcome) -> Outcome:
    if outcome.error is not None:
        return outcome
    text = "Record rolled back because not all records were valid and the request was using AllOrNone header"
    return Outcome("", False, RowError("ALL_OR_NONE_OPERATION_ROLLED_BACK", text))


def _collection_result(outcome: Outcome, *, upsert: bool) -> dict[str, Any]:
    """``statusCode`` here, not ``errorCode`` (documented); ``created`` only for upsert."""
    if outcome.error is not None:
        code, message, fields = outcome.error
        error = {"statusCode": code, "message": message, "fields": list(fields)}
        return {"success": False, "errors": [error]} | ({"created": False} if upsert else {})
    result: dict[str, Any] = {"id": outcome.id, "success": True, "errors": []}
    return result | ({"created": outcome.created} if upsert else {})


def _unparsable(field: Field, value: Any) -> ApiError:
    """A JSON value that is none of the field's type (seen; the position is not computed)."""
    kind = (
        "VALUE_NUMBER" if isinstance(value, Number) else _JSON_KIND.get(type(value).__name__, "VALUE_STRING")
    )
    text = (
        f"Cannot deserialize instance of {field.type} from {kind} value {value} or request may be missing a"
    )
    return ApiError(400, "JSON_PARSER_ERROR", f"{text} required field at [line:1, column:1]")


def _record_json(obj: SObject, base: str, row: dict[str, Value], fields: list[tuple[Field, Value]]) -> str:
    url = f"{base}/sobjects/{obj.name}/{row['Id']}"
    head = f'"attributes":{{"type":"{obj.name}","url":"{url}"}}'
    return "{" + ",".join([head, *(f'"{f.name}":{json_of(f, v)}' for f, v in fields)]) + "}"


def _query_record(query: Query, base: str, row: tuple[Any, ...]) -> str:
    url = f"{base}/sobjects/{query.obj.name}/{row[1]}"
    parts = [f'"attributes":{{"type":"{query.obj.name}","url":"{url}"}}']
    parents: dict[str, tuple[Path, list[str]]] = {}
    for path, value in zip(query.paths, row[2:], strict=True):
        cell = f'"{path.field.name}":{json_of(path.field, value)}'
        if path.reference is None:
            parts.append(cell)
        else:
            parents.setdefault(str(path.reference.relationship_name), (path, []))[1].append(cell)
    for name, (path, cells) in parents.items():
        kind = path.target.name if path.target else ""
        inner = ",".join([f'"attributes":{{"type":"{kind}"}}', *cells])
        empty = all(cell.endswith(":null") for cell in cells)
        parts.append(f'"{name}":' + ("null" if empty else "{" + inner + "}"))
    return "{" + ",".join(parts) + "}"


def _aggregate_json(query: Query, row: tuple[Any, ...]) -> str:
    cells = [
        f"{json_text(a.alias)}:{_aggregate_value(a, v)}" for a, v in zip(query.aggregates, row, strict=True)
    ]
    inner = ",".join(['"attributes":{"type":"AggregateResult"}', *cells])
    return f'{{"totalSize":1,"done":true,"records":[{{{inner}}}]}}'


def _aggregate_value(aggregate: Aggregate, value: Value) -> str:
    if aggregate.counts:
        return str(value)
    if aggregate.path.field.is_number and value is not None:
        return decimal_text(int(value), aggregate.path.field.scale)
    return json_of(aggregate.path.field, value)
