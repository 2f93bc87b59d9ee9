"""DuckDB behind Oracle's face: sessions, transactions, result sets, DML and DDL."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from . import expressions as ex
from . import functions
from .catalogue import Catalogue, Column, Table, quote
from .ddl import AddKey, Change, CreateIndex, CreateTable, DdlParser, keyed
from .errors import OracleError, unsupported
from .expressions import Expr
from .sql import Statement, statement
from .translate import OutColumn, Query, Scope, Translator, identifier, only
from .ttc import ROW
from .types import DATE, NUMBER, TIMESTAMP, text_type
from .values import (
    arrow_from_datetimes,
    datetimes_from_arrow,
    decode_datetime,
    decode_number,
    numbers_from_decimals,
    raw_buffer,
    rows_from_columns,
)

_DDL = ("CREATE", "DROP", "TRUNCATE", "ALTER", "COMMENT")
_BATCH = 20_000  # rows that DuckDB hands over, and that are encoded, at a time
_PLANS_KEPT = 200
_ORA = re.compile(r"ORA-(\d{5}): ([^\n]*)")
_TEXT_CODES, _NUMBER_CODE, _DATE_CODE, _TIMESTAMP_CODE = (1, 96, 8), 2, 12, 180


@dataclass(frozen=True)
class BindColumn:
    """The values of one bind, one for each execution: NUMBER or datetime bytes, or UTF-8 text."""

    kind: str
    values: list[bytes | None]

    @classmethod
    def of(cls, code: int, form: int, values: list[bytes | None]) -> BindColumn:
        """Take over bind values from the wire; `code` is the data type, `form` 2 means UTF-16."""
        if code in _TEXT_CODES:
            if form == 2:
                values = [None if v is None else v.decode("utf-16-be").encode() for v in values]
            return cls("text", values)
        kind = {_NUMBER_CODE: "number", _DATE_CODE: "date", _TIMESTAMP_CODE: "timestamp"}.get(code)
        if kind is None:
            raise unsupported(f"binds of data type {code}")
        return cls(kind, values)

    @property
    def is_null(self) -> bool:
        """Whether every value is NULL; the driver binds those as text whatever they are meant for."""
        return not any(value is not None for value in self.values)

    def shape(self) -> tuple[str, int, int]:
        """Return what a plan depends on: the kind and, of numbers, the digits before and after the point."""
        if self.kind == "text" and self.is_null:
            return ("null", 0, 0)
        if self.kind != "number":
            return (self.kind, 0, 0)
        shapes = [ex.decimal_shape(decode_number(v)) for v in self.values if v is not None]
        if any(shape is None for shape in shapes):
            return ("number", -1, -1)
        whole = max((shape[0] - shape[1] for shape in shapes if shape), default=1)
        scale = max((shape[1] for shape in shapes if shape), default=0)
        return ("number", whole, scale) if whole + scale <= 38 else ("number", -1, -1)

    def parameter(self, row: int, *, as_bytes: bool) -> Any:
        """Return one value as DuckDB takes it."""
        value = self.values[row]
        if value is None:
            return None
        if self.kind == "text":
            return value.decode()
        if self.kind == "number":
            return value if as_bytes else decode_number(value)
        return decode_datetime(value)

    def arrow(self) -> pa.Array[Any]:
        """Return all values as an Arrow column; numbers stay bytes."""
        if self.kind == "number":
            return pa.array(self.values, pa.binary())
        if self.kind == "text":
            return pa.array(self.values, pa.binary()).cast(pa.string())
        return arrow_from_datetimes(self.values)


def _bind_parameter(number: int, shape: tuple[str, int, int]) -> Expr:
    """Return a bind as a query sees it: a named parameter with a type."""
    kind, whole, scale = shape
    name = f"$b{number}"
    if kind == "null":
        return ex.NULL
    if kind == "number":
        if whole < 0:
            return Expr(f"CAST({name} AS BLOB)", NUMBER, bind=number)
        width = max(whole + scale, 1)
        return Expr(f"CAST({name} AS DECIMAL({width}, {scale}))", NUMBER, (width, scale), bind=number)
    if kind == "text":
        return Expr(f"CAST({name} AS VARCHAR)", text_type(4000), bind=number)
    return Expr(f"CAST({name} AS TIMESTAMP)", DATE if kind == "date" else TIMESTAMP, bind=number)


def _bind_column(number: int, column: BindColumn) -> Expr:
    """Return a bind as a bulk INSERT sees it: a column of the relation `binds`."""
    if column.kind == "text" and column.is_null:
        return ex.NULL
    kinds = {"number": NUMBER, "text": text_type(4000), "date": DATE, "timestamp": TIMESTAMP}
    return Expr(f"binds.b{number}", kinds[column.kind], bind=number)


class ResultSet:
    """Rows on their way to a client; DuckDB produces them as they are asked for."""

    def __init__(
        self,
        columns: list[OutColumn],
        reader: pa.RecordBatchReader,
        connection: duckdb.DuckDBPyConnection | None = None,
        guard: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
    ) -> None:
        self.columns = columns
        self._reader: pa.RecordBatchReader | None = reader
        self._connection = connection
        self._guard = guard
        self._rows: pa.Array[Any] = pa.array([], pa.binary())
        self._at = 0

    def take(self, count: int) -> tuple[bytes, int]:
        """Return up to `count` encoded rows and how many they are; fewer than asked for means there are no more."""
        parts, taken = [], 0
        while taken < count:
            if self._at >= len(self._rows) and not self._load():
                break
            piece = self._rows.slice(self._at, count - taken)
            parts.append(_flat_bytes(piece))
            self._at += len(piece)
            taken += len(piece)
        return b"".join(parts), taken

    def _load(self) -> bool:
        while self._reader is not None:
            try:
                with self._guard():
                    batch = self._reader.read_next_batch()
            except StopIteration:
                break
            if batch.num_rows:
                self._rows, self._at = self._encoded(batch), 0
                return True
        return False

    def _encoded(self, batch: pa.RecordBatch) -> pa.Array[Any]:
        encoded = [_encoded(c, out) for c, out in zip(batch.columns, self.columns, strict=True) if out.type]
        return rows_from_columns(encoded, batch.num_rows, ROW)

    def keep(self) -> None:
        """Take the rest into memory, because the connection it comes from is needed for another query."""
        if self._reader is not None:
            with self._guard():
                self._reader = self._reader.read_all().to_reader(_BATCH)

    def close(self) -> None:
        """Give up the rest."""
        self._rows = pa.array([], pa.binary())
        self._at = 0
        self._reader = None
        if self._connection:
            self._connection.close()
            self._connection = None


def _flat_bytes(rows: pa.Array[Any]) -> bytes:
    if not len(rows):
        return b""
    offsets = np.frombuffer(raw_buffer(rows, 1), dtype=np.int32)
    start, end = int(offsets[rows.offset]), int(offsets[rows.offset + len(rows)])
    return bytes(raw_buffer(rows, 2)[start:end])


def _encoded(column: pa.Array[Any], out: OutColumn) -> pa.Array[Any]:
    """Encode one column of a result for the wire."""
    kind, arrow = out.type, column.type
    assert kind is not None
    if kind.is_number:
        if pa.types.is_decimal(arrow) or pa.types.is_integer(arrow):
            return numbers_from_decimals(column)
        if pa.types.is_binary(arrow):
            return column
    elif kind.is_text and pa.types.is_string(arrow):
        return column.cast(pa.binary())
    elif kind.is_datetime and pa.types.is_timestamp(arrow):
        return datetimes_from_arrow(column, fraction=kind.name == "TIMESTAMP")
    raise unsupported(f"column {out.name}: {kind.name} came out as {arrow}")


class Database:
    """One DuckDB database with its catalogue; `path` None keeps it in memory."""

    def __init__(self, path: str | Path | None, *, service: str, users: Mapping[str, str]) -> None:
        self._root = duckdb.connect(":memory:" if path is None else str(path))
        self.catalogue = Catalogue(frozenset(name.upper() for name in users), service)
        self.catalogue.load(self._root)
        functions.register(self._root)

    def connection(self) -> duckdb.DuckDBPyConnection:
        """Return a new DuckDB connection."""
        return self._root.cursor()

    def open_session(self, user: str) -> DatabaseSession:
        """Return a session of `user`, whose schema has the same name."""
        return DatabaseSession(self, user)

    def close(self) -> None:
        """Write everything to disk and let go of it."""
        with contextlib.suppress(duckdb.Error):
            self._root.execute("CHECKPOINT")
        self._root.close()


class DatabaseSession:
    """The statements of one client: its schema, its transaction, its plans."""

    def __init__(self, database: Database, user: str) -> None:
        self._database = database
        self._catalogue = database.catalogue
        self._user = user
        self.schema = user
        self._writer = database.connection()
        self.in_transaction = False
        self._snapshot: duckdb.DuckDBPyConnection | None = None
        self._snapshot_rows: ResultSet | None = None
        self._plans: dict[Any, Query] = {}
        self._active: list[duckdb.DuckDBPyConnection] = []
        self._active_lock = threading.Lock()

    # --- transactions ------------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """End the transaction, keeping its changes."""
        self._end_snapshot()
        if self.in_transaction:
            self.in_transaction = False
            try:
                self._writer.execute("COMMIT")
            except duckdb.Error as error:
                raise _oracle_error(error) from None

    def rollback(self) -> None:
        """End the transaction, undoing its changes."""
        self._end_snapshot()
        if self.in_transaction:
            self.in_transaction = False
            with contextlib.suppress(duckdb.Error):
                self._writer.execute("ROLLBACK")

    def _set_transaction(self, stmt: Statement) -> None:
        """SET TRANSACTION READ ONLY: until it ends, queries see one moment (Oracle SQL Language Reference)."""
        if [token.upper for token in stmt.tokens] != ["SET", "TRANSACTION", "READ", "ONLY"]:
            raise unsupported("SET of anything but TRANSACTION READ ONLY")
        if self.in_transaction or self._snapshot:
            raise OracleError(1453, "SET TRANSACTION must be first statement of transaction")
        self._snapshot = self._database.connection()
        self._snapshot.execute("BEGIN TRANSACTION READ ONLY")
        self._snapshot.execute(
            "SELECT count(*) FROM duckdb_tables()"
        ).fetchall()  # DuckDB fixes the moment at first use

    def _end_snapshot(self) -> None:
        if self._snapshot:
            if self._snapshot_rows:
                self._snapshot_rows.keep()
            self._snapshot.close()
            self._snapshot = self._snapshot_rows = None

    def close(self) -> None:
        """Roll back and let go."""
        self.rollback()
        self._writer.close()

    def interrupt(self) -> None:
        """Stop what is running, from another thread."""
        with self._active_lock:
            for connection in self._active:
                connection.interrupt()

    @contextlib.contextmanager
    def _running(
        self, connection: duckdb.DuckDBPyConnection, *, storing: bool = False
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Make `connection` interruptible, and turn DuckDB's errors into Oracle's."""
        with self._active_lock:
            self._active.append(connection)
        try:
            yield connection
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise _oracle_error(error, storing=storing) from None
        finally:
            with self._active_lock:
                self._active.remove(connection)

    @contextlib.contextmanager
    def _changing(self, *, storing: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """Run a change in the transaction, opening one if there is none.

        DuckDB has no savepoints: a change that fails takes the earlier ones of its transaction along, and the client is
        told so (ORA-02091). What usually fails is therefore checked before.
        """
        if self._snapshot:
            raise OracleError(
                1456, "may not perform insert, delete, update operation inside a READ ONLY transaction"
            )
        fresh = not self.in_transaction
        with self._running(self._writer, storing=storing) as connection:
            if fresh:
                connection.execute("BEGIN TRANSACTION")
                self.in_transaction = True
            try:
                yield connection
            except OracleError:
                if fresh:
                    self.rollback()
                raise
            except duckdb.Error as error:
                if not fresh and self._alive(connection):
                    raise
                self.rollback()
                if fresh:
                    raise
                cause = _oracle_error(error, storing=storing)
                raise OracleError(2091, f"transaction rolled back\n{cause}") from None

    @staticmethod
    def _alive(connection: duckdb.DuckDBPyConnection) -> bool:
        """Tell whether the transaction outlived an error: it does if DuckDB had not begun to run the statement."""
        try:
            connection.execute("SELECT 1").fetchall()
        except duckdb.Error:
            return False
        return True

    # --- statements --------------------------------------------------------------------------------------------------

    def run(self, sql: str, binds: Sequence[BindColumn]) -> ResultSet | list[int]:
        """Run a statement: a query gives its result set, anything else the rows it affected, one number an execution."""
        stmt = statement(sql)
        if len(binds) < len(stmt.binds):
            raise OracleError(1008, "not all variables bound")
        if len(binds) > len(stmt.binds):
            raise OracleError(1036, "illegal variable name/number")
        if stmt.verb == "SELECT":
            return self._query(stmt, binds)
        if stmt.verb in _DDL:
            if not (stmt.verb == "ALTER" and stmt.tokens[1].upper == "SESSION"):
                self._define(DdlParser(stmt, self.schema).parse())
            else:
                self._alter_session(stmt)
            return [0]
        if stmt.verb == "SET":
            self._set_transaction(stmt)
            return [0]
        executions = len(binds[0].values) if binds else 1
        tree = stmt.tree()
        if isinstance(tree, exp.Insert):
            return self._insert(stmt, tree, binds, executions)
        if isinstance(tree, (exp.Update, exp.Delete)):
            change = self._update if isinstance(tree, exp.Update) else self._delete
            return [change(stmt, tree, binds, row) for row in range(executions)]
        if isinstance(tree, exp.Commit):
            self.commit()
            return [0]
        if isinstance(tree, exp.Rollback):
            self.rollback()
            return [0]
        raise unsupported(f"the statement {stmt.verb}")

    def describe(self, sql: str) -> list[OutColumn]:
        """Return the columns of a query without running it; nothing for other statements."""
        stmt = statement(sql)
        if stmt.verb != "SELECT":
            return []
        binds = [BindColumn("text", [None]) for _ in stmt.binds]
        return self._plan(stmt, binds).columns

    def _alter_session(self, stmt: Statement) -> None:
        words = [token.upper for token in stmt.tokens]
        if words[2:4] == ["SET", "CURRENT_SCHEMA"] and len(words) == 6:
            self.schema = stmt.tokens[5].name
        elif words[2:4] != ["SET", "TIME_ZONE"]:
            raise unsupported("ALTER SESSION of anything but CURRENT_SCHEMA and TIME_ZONE")

    def _translator(self, stmt: Statement, binds: Sequence[Expr]) -> Translator:
        return Translator(stmt, self._catalogue, self.schema, self._user, binds)

    def _parameters(self, stmt: Statement, binds: Sequence[BindColumn]) -> list[Expr]:
        return [_bind_parameter(number, column.shape()) for number, column in enumerate(binds)]

    def _plan(self, stmt: Statement, binds: Sequence[BindColumn]) -> Query:
        shapes = tuple(column.shape() for column in binds)
        key = (stmt.text, shapes, self.schema, self._catalogue.version)
        plan = self._plans.get(key)
        if plan is None:
            parameters = [_bind_parameter(number, shape) for number, shape in enumerate(shapes)]
            plan = self._translator(stmt, parameters).top(stmt.tree())
            if len(self._plans) >= _PLANS_KEPT:
                self._plans.clear()
            self._plans[key] = plan
        return plan

    def _query(self, stmt: Statement, binds: Sequence[BindColumn]) -> ResultSet:
        plan = self._plan(stmt, binds)
        values = _values(plan.sql, binds, 0)
        if (
            self.in_transaction
        ):  # only the writing connection sees its own changes; it has to be free again at once
            with self._changing() as connection:
                table = connection.sql(plan.sql, params=values).to_arrow_table()
            return ResultSet(plan.columns, table.to_reader(_BATCH))
        if self._snapshot:
            return self._snapshot_query(plan, values)
        connection = self._database.connection()
        try:
            with self._running(connection):
                reader = connection.sql(plan.sql, params=values).to_arrow_reader(_BATCH)
        except BaseException:
            connection.close()
            raise
        return ResultSet(plan.columns, reader, connection, lambda: self._running(connection))

    # --- INSERT, UPDATE, DELETE --------------------------------------------------------------------------------------

    def _snapshot_query(self, plan: Query, values: dict[str, Any]) -> ResultSet:
        """A query in the read-only transaction; DuckDB streams one result at a time on a connection."""
        connection = self._snapshot
        assert connection is not None
        if self._snapshot_rows:
            self._snapshot_rows.keep()
        with self._running(connection):
            reader = connection.sql(plan.sql, params=values).to_arrow_reader(_BATCH)
        self._snapshot_rows = ResultSet(plan.columns, reader, None, lambda: self._running(connection))
        return self._snapshot_rows

    def _insert(
        self, stmt: Statement, tree: exp.Insert, binds: Sequence[BindColumn], executions: int
    ) -> list[int]:
        only(tree, "this", "expression", "hint")
        target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
        values = isinstance(tree.expression, exp.Values)
        if values:
            translator = self._translator(stmt, [_bind_column(n, c) for n, c in enumerate(binds)])
        else:
            translator = self._translator(stmt, self._parameters(stmt, binds))
        table = translator.find_table(target)
        assert table is not None
        names = (
            [identifier(name) for name in tree.this.expressions] if isinstance(tree.this, exp.Schema) else []
        )
        columns = _columns(stmt, table, names, tree.this)
        if values:
            rows = self._new_rows(translator, tree.expression, table, columns, binds, executions)
            self._append(table, rows)
            return [rows.num_rows // executions] * executions
        return [self._insert_query(translator, tree.expression, table, columns, binds)] * executions

    def _new_rows(
        self,
        translator: Translator,
        values: exp.Values,
        table: Table,
        columns: list[Column],
        binds: Sequence[BindColumn],
        executions: int,
    ) -> pa.Table:
        """Work out the rows of INSERT ... VALUES for all executions at once."""
        if len(values.expressions) != 1:
            raise OracleError(933, "SQL command not properly ended")
        given = [translator.expression(node, Scope()) for node in values.expressions[0].expressions]
        stored = self._stored(translator, table, columns, given)
        arrays = {f"b{number}": column.arrow() for number, column in enumerate(binds)}
        source = pa.table(arrays) if arrays else pa.table({"nothing": pa.nulls(executions, pa.int8())})
        scratch = self._database.connection()
        try:
            with self._running(scratch, storing=True):
                scratch.register("binds", source)
                rows = scratch.sql(f"SELECT {stored} FROM binds").to_arrow_table()
        finally:
            scratch.close()
        return _checked(table, table.columns, rows)

    def _insert_query(
        self,
        translator: Translator,
        tree: exp.Expr,
        table: Table,
        columns: list[Column],
        binds: Sequence[BindColumn],
    ) -> int:
        query = translator.query(tree)
        given = [
            Expr(f"q.c{n}", c.type, c.expr.decimal, nullable=c.nullable)
            for n, c in enumerate(query.columns, 1)
        ]
        sql = f"SELECT {self._stored(translator, table, columns, given)} FROM ({query.sql}) AS q"
        with self._changing(storing=True) as connection:
            rows = connection.sql(sql, params=_values(sql, binds, 0)).to_arrow_table()
            rows = _checked(table, table.columns, rows)
        self._append(table, rows)
        return int(rows.num_rows)

    def _stored(self, translator: Translator, table: Table, columns: list[Column], given: list[Expr]) -> str:
        """Return the select list that turns the given expressions into a whole row of the table."""
        if len(given) != len(columns):
            raise OracleError(
                *((947, "not enough values") if len(given) < len(columns) else (913, "too many values"))
            )
        by_name = {column.name: expr for column, expr in zip(columns, given, strict=True)}
        parts = []
        for number, column in enumerate(table.columns, 1):
            value = by_name.get(column.name)
            if value is None:
                value = self._default(column)
            parts.append(f"{ex.stored(value, column.type, column.name)} AS c{number}")
        return ", ".join(parts)

    def _default(self, column: Column) -> Expr:
        if column.default is None:
            return ex.NULL
        stmt = statement(f"SELECT {column.default} FROM DUAL")
        tree = stmt.tree()
        return self._translator(stmt, []).expression(tree.expressions[0], Scope())

    def _append(self, table: Table, rows: pa.Table) -> None:
        """Insert finished rows; ORA-00001 before anything is changed if a key is there already."""
        with self._changing() as connection:
            connection.register("new_rows", rows)
            try:
                _check_keys(connection, table)
                connection.execute(f"INSERT INTO {table.physical} SELECT * FROM new_rows")
            finally:
                with contextlib.suppress(duckdb.Error):
                    connection.unregister("new_rows")

    def _update(self, stmt: Statement, tree: exp.Expr, binds: Sequence[BindColumn], row: int) -> int:
        only(tree, "this", "expressions", "where", "hint")
        translator, table, scope, where = self._target(stmt, tree, binds)
        columns, parts = [], []
        for number, assignment in enumerate(tree.expressions, 1):
            if not isinstance(assignment, exp.EQ) or not isinstance(assignment.left, exp.Column):
                raise unsupported("this form of SET")
            name = identifier(assignment.left.this)
            column = table.column(name)
            if column is None:
                raise OracleError(904, f'"{name}": invalid identifier', stmt.place(assignment.left.this))
            value = translator.expression(assignment.right, scope)
            columns.append(column)
            parts.append(f"{ex.stored(value, column.type, name)} AS c{number}")
        sql = f"SELECT {', '.join(parts)}, t.rowid AS place FROM {table.physical} AS t {where}"
        with self._changing(storing=True) as connection:
            rows = connection.sql(sql, params=_values(sql, binds, row)).to_arrow_table()
            _checked(table, columns, rows)
            connection.register("new_rows", rows)
            try:
                sets = ", ".join(
                    f"{quote(column.name)} = n.c{number}" for number, column in enumerate(columns, 1)
                )
                connection.execute(
                    f"UPDATE {table.physical} AS t SET {sets} FROM new_rows AS n WHERE t.rowid = n.place"
                )
            finally:
                with contextlib.suppress(duckdb.Error):
                    connection.unregister("new_rows")
        return int(rows.num_rows)

    def _delete(self, stmt: Statement, tree: exp.Expr, binds: Sequence[BindColumn], row: int) -> int:
        only(tree, "this", "where", "hint")
        _, table, _, where = self._target(stmt, tree, binds)
        sql = (
            f"DELETE FROM {table.physical} WHERE rowid IN (SELECT t.rowid FROM {table.physical} AS t {where})"
        )
        with self._changing() as connection:
            answer = connection.execute(sql, _values(sql, binds, row) or None).fetchone()
        return int(answer[0]) if answer else 0

    def _target(
        self, stmt: Statement, tree: exp.Expr, binds: Sequence[BindColumn]
    ) -> tuple[Translator, Table, Scope, str]:
        """Return what UPDATE and DELETE share: the table under the alias `t`, and the WHERE clause."""
        translator = self._translator(stmt, self._parameters(stmt, binds))
        only(tree.this, "this", "db", "alias")
        table = translator.find_table(tree.this)
        assert table is not None
        relation = translator.relation(table, "t")
        if tree.this.args.get("alias"):
            relation.name = identifier(tree.this.args["alias"].this)
        scope = Scope([relation])
        where = tree.args.get("where")
        return translator, table, scope, f"WHERE {translator.condition(where.this, scope)}" if where else ""

    # --- DDL ---------------------------------------------------------------------------------------------------------

    def _define(self, change: Change) -> None:
        """Do DDL: what was pending is committed first, then the change in a transaction of its own."""
        self.commit()
        with self._catalogue.lock, self._running(self._writer) as connection:
            connection.execute("BEGIN TRANSACTION")
            try:
                old, new = self._change(connection, change)
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(duckdb.Error):
                    connection.execute("ROLLBACK")
                raise
            self._catalogue.changed(old, new)

    def _change(
        self, connection: duckdb.DuckDBPyConnection, change: Change
    ) -> tuple[Table | None, Table | None]:
        if isinstance(change, CreateTable):
            return None, self._create(connection, change.table)
        if isinstance(change, CreateIndex):
            return self._create_index(connection, change)
        if isinstance(change, AddKey):
            return self._add_key(connection, change)
        if change.verb == "DROP INDEX":
            gone = connection.execute(
                "DELETE FROM fakeoracle.all_indexes WHERE owner = ? AND index_name = ?",
                [change.owner, change.name],
            ).fetchone()
            if not gone or not gone[0]:
                raise OracleError(1418, "specified index does not exist")
            return None, None
        table = self._existing(change.owner, change.name, change.place)
        if change.verb == "DROP TABLE":
            connection.execute(f"DROP TABLE {table.physical}")
            self._catalogue.erase(connection, table)
            connection.execute(
                "DELETE FROM fakeoracle.all_indexes WHERE owner = ? AND table_name = ?",
                [table.owner, table.name],
            )
            return table, None
        if change.verb == "TRUNCATE TABLE":
            connection.execute(f"DELETE FROM {table.physical}")
        return table, table

    def _existing(self, owner: str, name: str, place: int = 0) -> Table:
        table = self._catalogue.table(owner, name)
        if table is None:
            raise OracleError(942, "table or view does not exist", place)
        return table

    def _create(self, connection: duckdb.DuckDBPyConnection, table: Table) -> Table:
        if table.owner not in self._catalogue.users:
            raise OracleError(1918, f"user '{table.owner}' does not exist")
        if self._catalogue.table(table.owner, table.name):
            raise OracleError(955, "name is already used by an existing object")
        if self._catalogue.clash(table.owner, table.name):
            raise unsupported("two tables whose names differ only by case")
        columns = [f"{quote(column.name)} {column.type.storage}" for column in table.columns]
        if table.primary_key:
            columns.append(f"PRIMARY KEY ({', '.join(map(quote, table.primary_key))})")
        connection.execute(f"CREATE TABLE {table.physical} ({', '.join(columns)})")
        for column in table.columns:
            if column.default is not None:
                ex.stored(self._default(column), column.type, column.name)
        self._catalogue.store(connection, table)
        return table

    def _create_index(
        self, connection: duckdb.DuckDBPyConnection, change: CreateIndex
    ) -> tuple[Table | None, Table | None]:
        table = self._existing(change.table_owner, change.table)
        for name in change.columns:
            if table.column(name) is None:
                raise OracleError(904, f'"{name}": invalid identifier')
        there = connection.execute(
            "SELECT count(*) FROM fakeoracle.all_indexes WHERE owner = ? AND index_name = ?",
            [change.owner, change.name],
        ).fetchone()
        if there and there[0]:
            raise OracleError(955, "name is already used by an existing object")
        connection.execute(
            "INSERT INTO fakeoracle.all_indexes VALUES (?, ?, ?, ?, 'NONUNIQUE')",
            [change.owner, change.name, table.name, list(change.columns)],
        )
        return table, table

    def _add_key(self, connection: duckdb.DuckDBPyConnection, change: AddKey) -> tuple[Table, Table]:
        old = self._existing(change.owner, change.table)
        new = keyed(old, change.columns, change.constraint)
        key = ", ".join(map(quote, change.columns))
        twice = connection.execute(
            f"SELECT 1 FROM {old.physical} GROUP BY {key} HAVING count(*) > 1 LIMIT 1"
        ).fetchone()
        if twice:
            raise OracleError(2437, f"cannot validate ({new.owner}.{new.constraint}) - primary key violated")
        missing = " OR ".join(f"{quote(name)} IS NULL" for name in change.columns)
        if connection.execute(f"SELECT 1 FROM {old.physical} WHERE {missing} LIMIT 1").fetchone():
            raise OracleError(1449, "column contains NULL values; cannot alter to NOT NULL")
        connection.execute(f"ALTER TABLE {old.physical} ADD PRIMARY KEY ({key})")
        self._catalogue.store(connection, new)
        return old, new


def _values(sql: str, binds: Sequence[BindColumn], row: int) -> dict[str, Any]:
    """Return the parameters that `sql` mentions."""
    out = {}
    for number, column in enumerate(binds):
        used = re.search(rf"\$b{number} AS (\w+)", sql)
        if used:
            out[f"b{number}"] = column.parameter(row, as_bytes=used[1] == "BLOB")
    return out


def _columns(stmt: Statement, table: Table, names: list[str], schema: exp.Expr) -> list[Column]:
    if not names:
        return list(table.columns)
    columns = []
    for name, node in zip(names, schema.expressions, strict=True):
        column = table.column(name)
        if column is None:
            raise OracleError(904, f'"{name}": invalid identifier', stmt.place(node))
        columns.append(column)
    if len(set(names)) != len(names):
        raise OracleError(957, "duplicate column name")
    return columns


def _checked(table: Table, columns: Sequence[Column], rows: pa.Table) -> pa.Table:
    """Check finished values against the declarations: ORA-01400 or 01407 for NULL, ORA-12899 for length."""
    for number, column in enumerate(columns, 1):
        values = rows.column(f"c{number}")
        place = f'"{table.owner}"."{table.name}"."{column.name}"'
        if not column.nullable and values.null_count:
            if len(columns) < len(rows.column_names):
                raise OracleError(1407, f"cannot update ({place}) to NULL")
            raise OracleError(1400, f"cannot insert NULL into ({place})")
        if column.type.is_text:
            in_chars = column.type.in_chars
            longest = pc.max(pc.utf8_length(values) if in_chars else pc.binary_length(values)).as_py() or 0
            if longest > column.type.length:
                raise OracleError(
                    12899,
                    f"value too large for column {place} (actual: {longest}, maximum: {column.type.length})",
                )
    return rows


def _check_keys(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Look for primary keys of `new_rows` that occur twice or are in the table."""
    if not table.primary_key:
        return
    places = {column.name: f"c{number}" for number, column in enumerate(table.columns, 1)}
    new = ", ".join(places[name] for name in table.primary_key)
    same = " AND ".join(f"t.{quote(name)} = n.{places[name]}" for name in table.primary_key)
    twice = f"SELECT 1 FROM new_rows GROUP BY {new} HAVING count(*) > 1 LIMIT 1"
    there = (
        f"SELECT 1 FROM new_rows AS n WHERE EXISTS (SELECT 1 FROM {table.physical} AS t WHERE {same}) LIMIT 1"
    )
    if connection.execute(twice).fetchone() or connection.execute(there).fetchone():
        raise OracleError(1, f"unique constraint ({table.owner}.{table.constraint}) violated")


_ERRORS = {
    "INTERRUPT": (1013, "user requested cancel of current operation"),
    "Conversion Error": (1722, "invalid number"),
    "Constraint Error": (1, "unique constraint violated"),
    "TransactionContext Error": (8177, "can't serialize access for this transaction"),
    "More than one row returned by a subquery": (1427, "single-row subquery returns more than one row"),
    "must appear in the GROUP BY clause": (979, "not a GROUP BY expression"),
    "cannot contain aggregates": (934, "group function is not allowed here"),
}


def _oracle_error(error: Exception, *, storing: bool = False) -> OracleError:
    """Return the Oracle error for one of DuckDB's; what has no counterpart is ORA-03001 with DuckDB's own words.

    `storing`: values were on their way into columns, so a DECIMAL that does not fit is ORA-01438.
    """
    text = str(error)
    own = _ORA.search(text)
    if own and not (storing and own[1] == "01426"):
        return OracleError(int(own[1]), own[2])
    if storing and (own or ("Conversion Error" in text and "DECIMAL" in text)):
        return OracleError(1438, "value larger than specified precision allowed for this column")
    for words, (code, message) in _ERRORS.items():
        if words in text:
            return OracleError(code, message)
    return unsupported(f"DuckDB: {text.splitlines()[0] if text else type(error).__name__}")
