"""sObject rows, collections and queries: JSON in, JSON out, no HTTP."""

from __future__ import annotations

import json
import re
import secrets
import sqlite3
from array import array
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple

from .clock import Clock, stamp
from .errors import ApiError, JobFailure, RowError, not_found
from .ids import normal_id
from .records import Change, Column, Outcome, Writer, given_twice, resolve_column
from .schema import Field, Schema, SObject
from .settings import Settings
from .soql import Aggregate, Path, Query, parse
from .store import Store
from .values import Cell, Unreadable, Value, decimal_text, fold, java_double, json_of, json_text, parse_value

PAGE_ROWS = 2000  # REST guide: Query; batchSize 200..2000
MAX_RECORDS = 200  # REST guide: sObject Collections
MAX_RETRIEVED = 2000  # REST guide: Get Records With a Request Body Using sObject Collections
MAX_CHUNKS = 10  # REST guide: Create Records Using sObject Collections: runs of records of one type
MAX_CURSORS = 50
CURSOR_LIFE = timedelta(days=2)  # limits: query cursors
# An external id that ends like a file of this kind cannot be in a path (REST guide: Upsert Records Using sObject
# Rows by External ID; documented for .inc, other endings are not named there).
RISKY_ENDING = re.compile(r"\.inc\Z", re.I)
_JSON_KIND = {"str": "VALUE_STRING", "bool": "VALUE_TRUE", "dict": "START_OBJECT", "list": "START_ARRAY"}


class Number(str):
    """A JSON number kept as its digits, so that no float ever touches it."""


def read_json(body: bytes) -> Any:
    """A JSON body; numbers stay text. Raises 400 JSON_PARSER_ERROR."""
    try:
        found = json.loads(body or b"", parse_float=Number, parse_int=Number)
        json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair is no text
        return found
    except (ValueError, RecursionError) as error:
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
    until: datetime


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
        obj = self.object(obj_name)
        key = self._key(obj, field_name, value)
        stored = self._key_value(key, value)
        matches = self._matches(obj, key, stored)
        if len(matches) > 1:
            return 300, matches
        if not matches and (update_only or key.type == "id"):
            raise self._missing(obj, key, value)  # of updateOnly: code documented, text assumed
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
        obj = self.object(obj_name)
        columns, cells = self._cells(obj, body)
        outcome = self._apply(Writer(obj, "insert", None, columns), [cells])[0]
        self._raise_for(outcome)
        return {"id": outcome.id, "success": True, "errors": []}

    def delete(self, obj_name: str, field_name: str, value: str) -> list[str]:
        """DELETE a row by id or external id; URLs of the records when there are several (300)."""
        obj = self.object(obj_name)
        key = self._key(obj, field_name, value)
        matches = self._matches(obj, key, self._key_value(key, value))
        if len(matches) > 1:
            return matches
        if not matches:
            raise self._missing(obj, key, value)
        self._raise_for(self._delete(obj, [_id_of(matches[0])])[0])
        return []

    def _delete(self, obj: SObject, ids: list[str]) -> list[Outcome]:
        with self.store.transaction() as con:
            return self._change(con, _deleter(obj)).apply([ids], {})

    def get(
        self, obj_name: str, field_name: str, value: str, base: str, only: str | None, since: datetime | None
    ) -> tuple[int, str]:
        """GET a row by id or external id, as JSON text; ``only`` is the fields parameter.

        300 with the URLs of several records, 304 when it was not changed after ``since``.
        """
        obj = self.object(obj_name)
        key = self._key(obj, field_name, value)
        matches = self._matches(obj, key, self._key_value(key, value), base)
        if len(matches) > 1:
            return 300, json.dumps(matches)
        fields = self._fields(obj, only.split(",")) if only else list(obj.fields)
        with self.store.reading() as con:
            row = self.store.get(con, obj, _id_of(matches[0])) if matches else None
        if row is None:
            raise self._missing(obj, key, value)
        changed = datetime.fromisoformat(str(row["LastModifiedDate"]))
        if since is not None and changed.replace(microsecond=0) <= since:
            return 304, ""
        return 200, _record_json(obj, base, row, [(f, row[f.name]) for f in fields])

    def _missing(self, obj: SObject, key: Field, value: str) -> ApiError:
        """404; a deleted record says so (code documented, status assumed)."""
        record = normal_id(value) if key.type == "id" else None
        if record is not None:
            with self.store.reading() as con:
                if self.store.recycled(con, obj, [record]):
                    return ApiError(404, "ENTITY_IS_DELETED", "entity is deleted")
        return not_found()

    def _fields(self, obj: SObject, names: list[str]) -> list[Field]:
        return list(dict.fromkeys(self._field(obj, name.strip()) for name in names))

    def _field(self, obj: SObject, name: str) -> Field:
        found = obj.field(name)
        if found is None:
            raise ApiError(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {obj.name}")
        return found

    def _key(self, obj: SObject, name: str, value: str) -> Field:
        found = obj.field(name)
        if found is None or not found.id_lookup:
            text = f"Provided external ID field does not exist or is not accessible: {name}"  # seen
            raise not_found(text)
        return found

    def _key_value(self, key: Field, text: str) -> Value:
        if RISKY_ENDING.search(text):
            raise not_found()
        if key.type == "id":
            return normal_id(text) or text
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
        twice = given_twice(columns)
        if twice is not None:
            name = columns[twice].field.name
            raise ApiError(400, "INVALID_FIELD", f"Field {name} is given twice", (name,))  # assumed
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
            change = self._change(con, writer)
            change.row_count = len(rows)
            return change.apply(columns, {})

    def _change(self, con: sqlite3.Connection, writer: Writer) -> Change:
        return Change(self.store, con, writer, stamp(self.clock.now()), self.user)

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
            raise _too_many()
        _check_chunks(records)
        results = [Outcome("", False, None)] * len(records)
        strict = body.get("allOrNone") in (True, "true")
        try:
            with self.store.transaction() as con:
                for writer, rows in self._collection_groups(wanted, records, results):
                    columns = [list(column) for column in zip(*(cells for _, cells in rows), strict=True)]
                    change = self._change(con, writer)
                    change.row_count = len(rows)
                    for (at, _), outcome in zip(rows, change.apply(columns, {}), strict=True):
                        results[at] = outcome
                if strict and any(o.error for o in results):
                    raise _RolledBack
        except _RolledBack:
            results = [_rolled_back(o) for o in results]
        return [_collection_result(o, upsert=wanted.operation == "upsert") for o in results]

    def delete_many(self, ids: list[str], *, strict: bool) -> list[dict[str, Any]]:
        """DELETE of up to 200 ids of any objects (REST guide: Delete Records Using sObject Collections)."""
        if not ids:
            raise ApiError(400, "MISSING_ARGUMENT", "The ids parameter is missing")  # assumed
        if len(ids) > MAX_RECORDS:
            raise _too_many()
        results = [_malformed_id(sent) for sent in ids]
        try:
            with self.store.transaction() as con:
                for obj, places in self._objects_of(ids):
                    outcomes = self._change(con, _deleter(obj)).apply([[ids[at] for at in places]], {})
                    for at, outcome in zip(places, outcomes, strict=True):
                        results[at] = outcome
                if strict and any(o.error for o in results):
                    raise _RolledBack
        except _RolledBack:
            # A record that could have been deleted keeps its id in the answer (documented).
            results = [_rolled_back(o, o.id) for o in results]
        return [_collection_result(o, upsert=False) for o in results]

    def _objects_of(self, ids: list[str]) -> list[tuple[SObject, list[int]]]:
        """Where the ids of each object stand in the list; ids of no object are left out."""
        places: dict[str, list[int]] = {}
        for at, sent in enumerate(ids):
            record = normal_id(sent)
            obj = self.schema.by_prefix(record) if record else None
            if obj is not None:
                places.setdefault(obj.name, []).append(at)
        return [(self.schema.objects[name], found) for name, found in places.items()]

    def retrieve(self, obj_name: str, ids: list[str], names: list[str], base: str) -> str:
        """Records of one object by id, in that order; null for an id that is none (REST guide: Get Records)."""
        obj = self.object(obj_name)
        if not ids or not names:
            raise ApiError(400, "MISSING_ARGUMENT", "ids and fields must be given")  # assumed
        if len(ids) > MAX_RETRIEVED:
            raise _too_many(MAX_RETRIEVED)
        fields = self._fields(obj, names)
        found: list[str] = []
        with self.store.reading() as con:
            for sent in ids:
                row = self.store.get(con, obj, sent)
                shown = _record_json(obj, base, row, [(f, row[f.name]) for f in fields]) if row else "null"
                found.append(shown)
        return f"[{','.join(found)}]"

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
        _refuse_repeated_keys(list(groups.values()), results)
        return [group for group in groups.values() if group[1]]

    def _collection_row(self, wanted: Collection, record: dict[str, Any]) -> tuple[Writer, list[Cell]]:
        kind = _type_of(record) or wanted.object
        obj = self.schema.get(kind)
        if obj is None or (wanted.object and obj is not self.schema.get(wanted.object)):
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

    def query(
        self, text: str, base: str, page_rows: int, *, deleted: bool = False, tooling: bool = False
    ) -> str:
        """GET /query, /queryAll (``deleted``), /tooling/query (REST guide: Query): one page as JSON text."""
        schema = (self.schema.tooling or self.schema) if tooling else self.schema
        query = parse(schema, text, now=self.clock.now(), deleted=deleted)
        with self.store.reading() as con, _bounds_of_sqlite():
            if query.only_count:
                sql = f"SELECT COUNT(*) FROM (SELECT 1{query.tail()})"
                total = con.execute(sql, query.given).fetchone()[0]
                return f'{{"totalSize":{total},"done":true,"records":[]}}'
            if query.aggregates:
                columns = ", ".join(a.selected_sql() for a in query.aggregates)
                rows = con.execute(f"SELECT {columns}{query.tail()}", query.given).fetchmany(PAGE_ROWS + 1)
                return _aggregate_json(query, rows)
            numbers = con.execute(f'SELECT "{query.obj.name}".n{query.tail()}', query.given)
            found = array("q", (row[0] for row in numbers))
        cursor = _Cursor(query, found, f"01gFf0{secrets.token_hex(6)}", self.clock.now() + CURSOR_LIFE)
        if len(found) > page_rows:
            self._cursors[cursor.name] = cursor
            while len(self._cursors) > MAX_CURSORS:
                self._cursors.popitem(last=False)
        return self._page(cursor, 0, base, page_rows)

    def columns(self, text: str) -> dict[str, Any]:
        """GET /query?columns=true: what a query selects, no rows (in no guide; the Salesforce CLI asks for it)."""
        query = parse(self.schema, text, now=self.clock.now())
        found = [_aggregate_column(a) for a in query.aggregates]
        for path in query.paths:
            columns = found
            for reference, _ in path.steps:
                columns = _joined(columns, str(reference.relationship_name), reference)
            columns.append(_column(path.field.name, path.field))
        selected = any(not p.steps and p.field.name == "Id" for p in query.paths)
        return {
            "columnMetadata": found,
            "entityName": query.obj.name,
            "groupBy": bool(query.group),
            "idSelected": selected,
            "keyPrefix": query.obj.key_prefix,
        }

    def query_more(self, locator: str, base: str, page_rows: int) -> str:
        """GET a nextRecordsUrl; a cursor lives two days (limits)."""
        name, _, start = locator.rpartition("-")
        cursor = self._cursors.get(name)
        if cursor is None or not re.fullmatch(r"[0-9]{1,12}", start) or self.clock.now() > cursor.until:
            raise ApiError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._page(cursor, int(start), base, page_rows)

    def _page(self, cursor: _Cursor, start: int, base: str, size: int) -> str:
        query, numbers = cursor.query, cursor.numbers[start : start + size].tolist()
        shape, columns = _shape(query)
        marks = ", ".join("?" * len(numbers))
        with self.store.reading() as con, _bounds_of_sqlite():
            sql = f"SELECT {', '.join(columns)} FROM {query.source()} WHERE n IN ({marks})"
            rows = {row[0]: row for row in con.execute(sql, numbers)}
        records = ",".join(shape.text(base, rows[n]) for n in numbers if n in rows)
        total = len(cursor.numbers)
        if start + size >= total:
            return f'{{"totalSize":{total},"done":true,"records":[{records}]}}'
        more = f"{base}/query/{cursor.name}-{start + size}"
        return f'{{"totalSize":{total},"done":false,"nextRecordsUrl":"{more}","records":[{records}]}}'

    def json_lines(self, obj_name: str) -> Iterator[str]:
        """All rows of an object as JSON lines of exact text (admin path). Raises 404 at once, not later."""
        rows = self.store.rows(self.object(obj_name))
        return (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


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


def _joined(columns: list[dict[str, Any]], name: str, reference: Field) -> list[dict[str, Any]]:
    """The columns below a parent, whose own entry is made when it is met for the first time."""
    entry = next((one for one in columns if one["columnName"] == name), None)
    if entry is None:
        entry = _column(name, reference)
        columns.append(entry)
    below: list[dict[str, Any]] = entry["joinColumns"]
    return below


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


def _rolled_back(outcome: Outcome, record: str = "") -> Outcome:
    if outcome.error is not None:
        return outcome
    text = "Record rolled back because not all records were valid and the request was using AllOrNone header"
    return Outcome(record, False, RowError("ALL_OR_NONE_OPERATION_ROLLED_BACK", text))


def _malformed_id(sent: str) -> Outcome:
    return Outcome("", False, RowError("MALFORMED_ID", f"malformed id {sent}"))  # documented


def _too_many(limit: int = MAX_RECORDS) -> ApiError:
    text = f"record limit reached. cannot submit more than {limit} records into this call"  # seen for 200
    return ApiError(400, "LIMIT_EXCEEDED", text)


def _type_of(record: dict[str, Any]) -> str:
    attributes = record.get("attributes")
    return str(attributes.get("type") or "") if isinstance(attributes, dict) else ""


def _check_chunks(records: list[dict[str, Any]]) -> None:
    """Records of one type after the other are a chunk; more than ten are refused (code and text assumed)."""
    types = [_type_of(record).lower() for record in records]
    chunks = sum(1 for at, kind in enumerate(types) if at == 0 or kind != types[at - 1])
    if chunks > MAX_CHUNKS:
        text = f"the records make {chunks} chunks of one type; no more than {MAX_CHUNKS} are possible"
        raise ApiError(400, "LIMIT_EXCEEDED", text)


def _refuse_repeated_keys(
    groups: list[tuple[Writer, list[tuple[int, list[Cell]]]]], results: list[Outcome]
) -> None:
    """A key twice in one call refuses every record that has it, also when their fields differ (seen)."""
    keyed: list[tuple[int, str, Cell, Field]] = []
    for writer, rows in groups:
        at_column = writer.key_at()
        if writer.key is None or at_column is None:
            continue
        for at, cells in rows:
            value = cells[at_column]
            if isinstance(value, (str, int)):
                kept = normal_id(str(value)) if writer.key.type == "id" else fold(writer.key, value)
                keyed.append((at, writer.obj.name, kept, writer.key))
    times = Counter((name, value) for _, name, value, _ in keyed)
    for at, name, value, key in keyed:
        if times[name, value] > 1:
            text = "Duplicate id in list" if key.type == "id" else "Duplicate external id specified"
            results[at] = Outcome("", False, RowError("DUPLICATE_VALUE", f"{text}: {value}", (key.name,)))
    for _, rows in groups:
        rows[:] = [row for row in rows if results[row[0]].error is None]


def _deleter(obj: SObject) -> Writer:
    key = obj.field("Id")
    return Writer(obj, "delete", key, (Column(key),) if key else ())


def _id_of(url: str) -> str:
    return url.rpartition("/")[2]


@contextmanager
def _bounds_of_sqlite() -> Iterator[None]:
    """What SQLite cannot compute is refused: no number wraps around, no condition is left out."""
    try:
        yield
    except sqlite3.OperationalError as error:
        said = str(error)
        if "integer overflow" in said:
            text = "fakeforce does not implement sums of more than 18 digits in SOQL"
            raise ApiError(400, "NUMBER_OUTSIDE_VALID_RANGE", text) from None
        if not re.search("too (large|complex|many|deep|big)|stack overflow", said):
            raise
        text = (
            "Query is either selecting too many fields or the filter conditions are too complicated."  # seen
        )
        raise ApiError(400, "QUERY_TOO_COMPLICATED", text) from None


def _collection_result(outcome: Outcome, *, upsert: bool) -> dict[str, Any]:
    """``statusCode`` here, not ``errorCode`` (documented); ``created`` only for upsert."""
    if outcome.error is not None:
        code, message, fields = outcome.error
        error = {"statusCode": code, "message": message, "fields": list(fields)}
        shown = {"id": outcome.id} if outcome.id else {}
        return shown | {"success": False, "errors": [error]} | ({"created": False} if upsert else {})
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
    head = _attributes(base, obj, row["Id"])
    return "{" + ",".join([head, *(f'"{f.name}":{json_of(f, v)}' for f, v in fields)]) + "}"


@dataclass
class _Node:
    """A record in a query's answer: where its Id stands in the SQL row, and its fields and parents in order."""

    name: str
    obj: SObject
    id_at: int
    parts: list[_Node | tuple[Field, int]] = field(default_factory=list)

    def text(self, base: str, row: tuple[Any, ...]) -> str:
        """The record as JSON; a parent that is not there is null."""
        record = row[self.id_at]
        if record is None:
            return "null"
        cells = [_attributes(base, self.obj, record)]
        for part in self.parts:
            if isinstance(part, _Node):
                cells.append(f'"{part.name}":{part.text(base, row)}')
            else:
                cells.append(f'"{part[0].name}":{json_of(part[0], row[part[1]])}')
        return "{" + ",".join(cells) + "}"

    def parent(self, path: Path, depth: int, columns: list[str]) -> _Node:
        """The node of the path's parent at that depth, made when it is new."""
        reference, target = path.steps[depth]
        name = str(reference.relationship_name)
        known = next((p for p in self.parts if isinstance(p, _Node) and p.name == name), None)
        if known is not None:
            return known
        id_field = next(f for f in target.fields if f.type == "id")
        columns.append(Path(id_field, path.owner, path.steps[: depth + 1]).sql())
        made = _Node(name, target, len(columns) - 1)
        self.parts.append(made)
        return made


def _shape(query: Query) -> tuple[_Node, list[str]]:
    """The form of the query's records, and the SQL columns it needs (the first is n)."""
    columns = [f'"{query.obj.name}".n', f'"{query.obj.name}".Id']
    root = _Node("", query.obj, 1)
    for path in query.paths:
        node = root
        for depth in range(len(path.steps)):
            node = node.parent(path, depth, columns)
        columns.append(path.sql())
        node.parts.append((path.field, len(columns) - 1))
    return root, columns


def _attributes(base: str, obj: SObject, record: Value) -> str:
    return f'"attributes":{{"type":"{obj.name}","url":"{base}/sobjects/{obj.name}/{record}"}}'


def _aggregate_json(query: Query, rows: list[tuple[Any, ...]]) -> str:
    if len(rows) > PAGE_ROWS:  # seen
        text = "Aggregate query does not support queryMore(), use LIMIT to restrict the results to a single batch"
        raise ApiError(400, "EXCEEDED_ID_LIMIT", text)
    records = ",".join(_aggregate_record(query, row) for row in rows)
    return f'{{"totalSize":{len(rows)},"done":true,"records":[{records}]}}'


def _aggregate_record(query: Query, row: tuple[Any, ...]) -> str:
    cells = [
        f"{json_text(a.alias)}:{_aggregate_value(a, v)}" for a, v in zip(query.aggregates, row, strict=True)
    ]
    return "{" + ",".join(['"attributes":{"type":"AggregateResult"}', *cells]) + "}"


def _aggregate_value(aggregate: Aggregate, value: Value) -> str:
    field = aggregate.path.field
    if aggregate.counts or value is None:
        return "null" if value is None else str(value)
    if aggregate.function == "AVG":
        total, _, count = str(value).partition("/")
        return java_double(repr(float(Fraction(int(total), int(count) * 10**field.scale))))
    if aggregate.function and field.is_number:
        return decimal_text(int(value), field.scale)
    return json_of(field, value)
