"""INSERT, UPDATE and DELETE."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from . import expressions as ex
from .binds import BindColumn, bind_column, bind_parameter, bind_values
from .catalogue import Column, Table, quote
from .errors import OracleError, unsupported
from .expressions import Expr
from .rules import check_rows, condition_of
from .scopes import Scope, identifier, only
from .sql import Statement, statement
from .transaction import Transaction
from .translate import Translator
from .types import OracleType
from .undo import MADE, keep_old_rows


class Changes:
    """Changes rows in a transaction.

    `translator` gives the translator of a statement with its binds; `open_connection` a connection for working out values.
    """

    def __init__(
        self,
        transaction: Transaction,
        translator: Callable[[Statement, Sequence[Expr]], Translator],
        open_connection: Callable[[], duckdb.DuckDBPyConnection],
    ) -> None:
        self._transaction = transaction
        self._translator = translator
        self._open = open_connection
        self._condition = condition_of(translator)

    def run(self, stmt: Statement, tree: exp.Expr, binds: Sequence[BindColumn], executions: int) -> list[int]:
        """Do the change once for each execution; return the rows each affected."""
        if isinstance(tree, exp.Insert):
            return self._insert(stmt, tree, binds, executions)
        change = self._update if isinstance(tree, exp.Update) else self._delete
        return [change(stmt, tree, binds, row) for row in range(executions)]

    def default(self, column: Column) -> Expr:
        """Return the value a column takes where none is given."""
        if column.default is None:
            return ex.NULL
        stmt = statement(f"SELECT {column.default} FROM DUAL")
        tree = stmt.tree()
        return self._translator(stmt, []).expression(tree.expressions[0], Scope())

    def _insert(
        self, stmt: Statement, tree: exp.Insert, binds: Sequence[BindColumn], executions: int
    ) -> list[int]:
        only(tree, "this", "expression", "hint")
        target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
        values = isinstance(tree.expression, exp.Values)
        if values:
            translator = self._translator(stmt, [bind_column(n, c) for n, c in enumerate(binds)])
        else:
            translator = self._translator(stmt, _parameters(binds))
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
        query = tree.expression
        return [
            self._insert_query(translator, query, table, columns, binds, row) for row in range(executions)
        ]

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
        if translator.moments:
            raise unsupported("AS OF in INSERT ... VALUES")
        arrays = {f"b{number}": column.arrow() for number, column in enumerate(binds)}
        source = pa.table(arrays) if arrays else pa.table({"nothing": pa.nulls(executions, pa.int8())})
        scratch = self._open()
        try:
            with self._transaction.running(scratch, storing=True):
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
        row: int,
    ) -> int:
        query = translator.query(tree)
        given = [
            Expr(f"q.c{n}", c.type, c.expr.decimal, nullable=c.nullable)
            for n, c in enumerate(query.columns, 1)
        ]
        sql = f"SELECT {self._stored(translator, table, columns, given)} FROM ({query.sql}) AS q"
        past = self._transaction.past(translator.moments, binds, row)
        with self._transaction.changing(storing=True) as connection:
            values = bind_values(sql, binds, row) | self._transaction.parameters(sql, past)
            rows = connection.sql(sql, params=values).to_arrow_table()
            past.check()
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
                value = self.default(column)
            parts.append(f"{ex.stored(value, column.type, column.name)} AS c{number}")
        return ", ".join(parts)

    def _append(self, table: Table, rows: pa.Table) -> None:
        """Insert finished rows; ORA-00001 before anything is changed if a key is there already."""
        with self._transaction.changing() as connection, _as_relation(connection, "new_rows", rows):
            _check_keys(connection, table)
            listed = ", ".join(f"c{n} AS {quote(c.name)}" for n, c in enumerate(table.columns, 1))
            there = f"SELECT {table.listed} FROM {table.physical}"
            check_rows(connection, table, f"SELECT {listed} FROM new_rows", self._condition, others=there)
            number = self._transaction.number
            connection.execute(
                f"INSERT INTO {table.physical} ({table.listed}, {MADE}) SELECT *, {number} FROM new_rows"
            )
            self._transaction.changed(rows.num_rows)

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
        past = self._transaction.past(translator.moments, binds, row)
        with self._transaction.changing(storing=True) as connection:
            values = bind_values(sql, binds, row) | self._transaction.parameters(sql, past)
            rows = connection.sql(sql, params=values).to_arrow_table()
            past.check()
            _checked(table, columns, rows)
            with _as_relation(connection, "new_rows", rows):
                self._check_update(connection, table, columns)
                sets = ", ".join(
                    f"{quote(column.name)} = n.c{number}" for number, column in enumerate(columns, 1)
                )
                number = self._transaction.number
                keep_old_rows(connection, table, "SELECT place FROM new_rows", number)
                connection.execute(
                    f"UPDATE {table.physical} AS t SET {sets}, {MADE} = {number} FROM new_rows AS n WHERE t.rowid = n.place"
                )
        return self._transaction.changed(rows.num_rows)

    def _check_update(
        self, connection: duckdb.DuckDBPyConnection, table: Table, columns: list[Column]
    ) -> None:
        """Check the table's rules as `new_rows` would leave it."""
        if not table.rules:
            return
        places = {column.name: number for number, column in enumerate(columns, 1)}
        listed = ", ".join(
            (f"n.c{places[c.name]}" if c.name in places else f"t.{quote(c.name)}") + f" AS {quote(c.name)}"
            for c in table.columns
        )
        after = f"SELECT {listed} FROM {table.physical} AS t JOIN new_rows AS n ON t.rowid = n.place"
        others = (
            f"SELECT {table.listed} FROM {table.physical} WHERE rowid NOT IN (SELECT place FROM new_rows)"
        )
        check_rows(connection, table, after, self._condition, others=others, changed=columns)

    def _delete(self, stmt: Statement, tree: exp.Expr, binds: Sequence[BindColumn], row: int) -> int:
        only(tree, "this", "where", "hint")
        translator, table, _, where = self._target(stmt, tree, binds)
        sql = f"SELECT t.rowid AS place FROM {table.physical} AS t {where}"
        past = self._transaction.past(translator.moments, binds, row)
        with self._transaction.changing() as connection:
            values = bind_values(sql, binds, row) | self._transaction.parameters(sql, past)
            rows = connection.sql(sql, params=values).to_arrow_table()
            past.check()
            if rows.num_rows:
                with _as_relation(connection, "gone", rows):
                    keep_old_rows(connection, table, "SELECT place FROM gone", self._transaction.number)
                    connection.execute(
                        f"DELETE FROM {table.physical} WHERE rowid IN (SELECT place FROM gone)"
                    )
        return self._transaction.changed(rows.num_rows)

    def _target(
        self, stmt: Statement, tree: exp.Expr, binds: Sequence[BindColumn]
    ) -> tuple[Translator, Table, Scope, str]:
        """Return what UPDATE and DELETE share: the table under the alias `t`, and the WHERE clause."""
        translator = self._translator(stmt, _parameters(binds))
        only(tree.this, "this", "db", "alias")
        table = translator.find_table(tree.this)
        assert table is not None
        relation = translator.relation(table, "t")
        if tree.this.args.get("alias"):
            relation.name = identifier(tree.this.args["alias"].this)
        scope = Scope([relation])
        where = tree.args.get("where")
        return translator, table, scope, f"WHERE {translator.condition(where.this, scope)}" if where else ""


@contextlib.contextmanager
def _as_relation(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> Iterator[None]:
    """Let statements read `rows` under a name."""
    connection.register(name, rows)
    try:
        yield
    finally:
        with contextlib.suppress(duckdb.Error):
            connection.unregister(name)


def _parameters(binds: Sequence[BindColumn]) -> list[Expr]:
    return [bind_parameter(number, column.shape()) for number, column in enumerate(binds)]


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
        if column.type.is_text or column.type.name == "RAW":
            longest = _longest(column.type, values)
            if longest > column.type.length:
                raise OracleError(
                    12899,
                    f"value too large for column {place} (actual: {longest}, maximum: {column.type.length})",
                )
    return rows


def _longest(kind: OracleType, values: pa.ChunkedArray[Any]) -> int:
    """Return the longest value as the type counts: bytes, characters, or UTF-16 units for a national type."""
    if not kind.in_chars:
        return pc.max(pc.binary_length(values)).as_py() or 0
    lengths = pc.utf8_length(values)
    if kind.is_national:
        lengths = pc.add(lengths, pc.count_substring_regex(values, pattern=r"[\x{10000}-\x{10FFFF}]"))
    return pc.max(lengths).as_py() or 0


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
    # fetchall: a result not read to its end keeps the connection from its next statement
    if connection.execute(twice).fetchall() or connection.execute(there).fetchall():
        raise OracleError(1, f"unique constraint ({table.owner}.{table.constraint}) violated")
