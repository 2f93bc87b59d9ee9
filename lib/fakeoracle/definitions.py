"""DDL, carried out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import duckdb
from sqlglot import exp

from . import expressions as ex
from .catalogue import ROW_NUMBER, ROW_NUMBER_DECLARATION, Catalogue, Column, Rule, Table, quote
from .ddl import (
    AddKey,
    AddRule,
    AlterColumns,
    Change,
    Comment,
    CreateAs,
    CreateIndex,
    CreateTable,
    OnTable,
    keyed,
    ruled,
)
from .errors import OracleError, unsupported
from .expressions import Expr
from .rules import Condition, check_rows
from .scopes import OutColumn, Query, identifier
from .transaction import Transaction
from .types import NUMBER, ROWID
from .undo import MADE, Undo


@dataclass(frozen=True)
class _Stamp:
    """What a change is committed as: the number of its transaction, and its SCN."""

    transaction: int
    scn: int


class Definitions:
    """Changes the catalogue, and DuckDB's tables with it.

    `default` gives the value of a column's DEFAULT, `condition` translates the condition of a CHECK, `query` parses and
    translates a query, and finds the table of one that reads nothing else.
    """

    def __init__(
        self,
        transaction: Transaction,
        catalogue: Catalogue,
        undo: Undo,
        default: Callable[[Column], Expr],
        condition: Condition,
        query: Callable[[str], tuple[exp.Expr, Query, Table | None]],
    ) -> None:
        self._transaction = transaction
        self._catalogue = catalogue
        self._undo = undo
        self._default = default
        self._condition = condition
        self._query = query

    def run(self, change: Change) -> None:
        """Do DDL: what was pending is committed first, then the change in a transaction of its own."""
        self._transaction.commit()
        with self._catalogue.lock, self._transaction.running(self._transaction.writer) as connection:
            connection.execute("BEGIN TRANSACTION")
            try:
                number = self._undo.new_transaction()
                with self._undo.committing(connection, number) as scn:
                    old, new = self._change(connection, change, _Stamp(number, scn))
            except BaseException:
                with contextlib.suppress(duckdb.Error):
                    connection.execute("ROLLBACK")
                raise
            self._catalogue.changed(old, new)

    def _change(
        self, connection: duckdb.DuckDBPyConnection, change: Change, stamp: _Stamp
    ) -> tuple[Table | None, Table | None]:
        if isinstance(change, CreateTable):
            return None, self._create(connection, ruled(change.table), stamp)
        if isinstance(change, CreateAs):
            return None, self._create_as(connection, change, stamp)
        if isinstance(change, CreateIndex):
            return self._create_index(connection, change, stamp)
        if isinstance(change, AddKey):
            return self._add_key(connection, change, stamp)
        if isinstance(change, AddRule):
            table = self._existing(change.owner, change.table)
            return self._add_rule(connection, table, change.rule, stamp)
        if isinstance(change, AlterColumns):
            return self._alter_columns(connection, change, stamp)
        if isinstance(change, Comment):
            return self._comment(connection, change)
        if change.verb == "DROP INDEX":
            return self._drop_index(connection, change)
        table = self._existing(change.owner, change.name, change.place)
        if change.verb == "DROP TABLE":
            connection.execute(f"DROP TABLE {table.physical}")
            self._undo.drop(connection, table)
            self._catalogue.erase(connection, table)
            for side in ("all_indexes", "comments"):
                connection.execute(
                    f"DELETE FROM fakeoracle.{side} WHERE owner = ? AND table_name = ?",
                    [table.owner, table.name],
                )
            return table, None
        if change.verb == "TRUNCATE TABLE":
            connection.execute(f"DELETE FROM {table.physical}")
            self._undo.redefine(connection, table, stamp.scn)
        return table, table

    def _drop_index(
        self, connection: duckdb.DuckDBPyConnection, change: OnTable
    ) -> tuple[Table | None, Table | None]:
        for table in self._catalogue.tables(change.owner):
            if any(rule.name == change.name and rule.kind == "U" for rule in table.rules) or (
                table.constraint == change.name and table.primary_key
            ):
                raise OracleError(2429, "cannot drop index used for enforcement of unique/primary key")
            if any(rule.name == change.name and rule.kind == "I" for rule in table.rules):
                new = replace(table, rules=tuple(rule for rule in table.rules if rule.name != change.name))
                self._catalogue.store(connection, new)
                return table, new
        gone = connection.execute(
            "DELETE FROM fakeoracle.all_indexes WHERE owner = ? AND index_name = ?",
            [change.owner, change.name],
        ).fetchone()
        if not gone or not gone[0]:
            raise OracleError(1418, "specified index does not exist")
        return None, None

    def _add_rule(
        self, connection: duckdb.DuckDBPyConnection, old: Table, rule: Rule, stamp: _Stamp
    ) -> tuple[Table, Table]:
        """Add a rule that the rows keep already; ORA-02299 or ORA-02293 if they do not."""
        new = ruled(replace(old, rules=(*old.rules, rule)))
        added = new.rules[-1]
        try:
            rows = f"SELECT {old.listed} FROM {old.physical}"
            check_rows(connection, replace(new, rules=(added,)), rows, self._condition)
        except OracleError as error:
            if error.code not in (1, 2290):
                raise
            if added.kind == "I":
                raise OracleError(1452, "cannot CREATE UNIQUE INDEX; duplicate keys found") from None
            code, words = (
                (2299, "duplicate keys found") if error.code == 1 else (2293, "check constraint violated")
            )
            raise OracleError(code, f"cannot validate ({new.owner}.{added.name}) - {words}") from None
        self._catalogue.store(connection, new)
        if added.kind != "I":
            self._undo.redefine(connection, new, stamp.scn)
        return old, new

    def _alter_columns(
        self, connection: duckdb.DuckDBPyConnection, change: AlterColumns, stamp: _Stamp
    ) -> tuple[Table, Table]:
        """Build the table anew with other columns; rows keep their ROWIDs.

        Rules, keys and indexes on a dropped or renamed column are refused.
        """
        old = self._existing(change.owner, change.table)
        self._refuse_used(connection, old, change)
        values = {column.name: quote(column.name) for column in old.columns}
        columns = [column for column in old.columns if column.name not in change.dropped]
        if change.renamed:
            before, after = change.renamed
            values[after] = quote(before)
            columns = [replace(column, name=after) if column.name == before else column for column in columns]
        for column in change.added:
            value = self._default(column)
            if not column.nullable and value.type is None and self._has_rows(connection, old):
                raise OracleError(1758, "table must be empty to add mandatory (NOT NULL) column")
            values[column.name] = ex.stored(value, column.type, column.name)
            columns.append(column)
        if len({column.name.upper() for column in columns}) != len(columns):
            raise OracleError(1430 if change.added else 957, "column being added already exists in table"
                              if change.added else "duplicate column name")  # fmt: skip
        new = replace(old, columns=tuple(columns))
        connection.execute(f"ALTER TABLE {old.physical} RENAME TO {quote('old ' + old.name)}")
        kept = f"{quote(old.owner)}.{quote('old ' + old.name)}"
        self._make(connection, new)
        hidden = f"{MADE}, {quote(ROW_NUMBER)}"
        listed = ", ".join(values[column.name] for column in columns)
        connection.execute(
            f"INSERT INTO {new.physical} ({new.listed}, {hidden}) SELECT {listed}, {hidden} FROM {kept}"
        )
        connection.execute(f"DROP TABLE {kept}")
        self._catalogue.store(connection, new)
        self._undo.define(connection, new, stamp.scn)
        return old, new

    def _has_rows(self, connection: duckdb.DuckDBPyConnection, table: Table) -> bool:
        return bool(connection.execute(f"SELECT 1 FROM {table.physical} LIMIT 1").fetchall())

    def _refuse_used(self, connection: duckdb.DuckDBPyConnection, table: Table, change: AlterColumns) -> None:
        gone = [*change.dropped, *([change.renamed[0]] if change.renamed else [])]
        used = {*table.primary_key, *(name for rule in table.rules for name in rule.columns)}
        indexed = connection.execute(
            "SELECT unnest(column_names) FROM fakeoracle.all_indexes WHERE owner = ? AND table_name = ?",
            [table.owner, table.name],
        ).fetchall()
        for name in gone:
            if table.column(name) is None:
                raise OracleError(904, f'"{name}": invalid identifier')
            if name in used or (name,) in indexed:
                raise unsupported("dropping or renaming a column of a key, constraint or index")
        if change.dropped and len(change.dropped) == len(table.columns):
            raise OracleError(12983, "cannot drop all columns in a table")

    def _comment(self, connection: duckdb.DuckDBPyConnection, change: Comment) -> tuple[Table, Table]:
        table = self._existing(change.owner, change.table)
        if change.column and table.column(change.column) is None:
            raise OracleError(904, f'"{change.column}": invalid identifier')
        place = [table.owner, table.name, change.column]
        connection.execute(
            "DELETE FROM fakeoracle.comments WHERE owner = ? AND table_name = ? AND column_name = ?", place
        )
        if change.text:
            connection.execute("INSERT INTO fakeoracle.comments VALUES (?, ?, ?, ?)", [*place, change.text])
        return table, table

    def _existing(self, owner: str, name: str, place: int = 0) -> Table:
        table = self._catalogue.table(owner, name)
        if table is None:
            raise OracleError(942, "table or view does not exist", place)
        return table

    def _create(self, connection: duckdb.DuckDBPyConnection, table: Table, stamp: _Stamp) -> Table:
        if table.owner not in self._catalogue.users:
            raise OracleError(1918, f"user '{table.owner}' does not exist")
        if self._catalogue.table(table.owner, table.name):
            raise OracleError(955, "name is already used by an existing object")
        if self._catalogue.clash(table.owner, table.name):
            raise unsupported("two tables whose names differ only by case")
        self._make(connection, table)
        rows = f"SELECT {table.listed} FROM {table.physical}"
        check_rows(connection, table, rows, self._condition)  # its conditions are sound
        for column in table.columns:
            if column.default is not None:
                ex.stored(self._default(column), column.type, column.name)
        self._catalogue.store(connection, table)
        self._undo.define(connection, table, stamp.scn)
        return table

    def _create_as(self, connection: duckdb.DuckDBPyConnection, change: CreateAs, stamp: _Stamp) -> Table:
        """CREATE TABLE ... AS: names, types and explicit NOT NULL of plain columns are taken over."""
        tree, query, source = self._query(change.query)
        items = tree.expressions
        plain = len(items) != len(query.columns)  # all columns by *
        columns = []
        for number, out in enumerate(query.columns):
            item = None if plain else items[number]
            inner = item.this if isinstance(item, exp.Alias) else item
            is_column = plain or isinstance(inner, (exp.Column, exp.Star))
            if not (is_column or isinstance(item, exp.Alias)):
                raise OracleError(998, "must name this expression with a column alias")
            name = identifier(inner.this) if isinstance(inner, exp.Column) and source else out.name
            columns.append(_taken_over(out, source, name if is_column else None))
        past = self._transaction.past(query.moments, [])
        table = self._create(connection, Table(change.owner, change.name, tuple(columns)), stamp)
        values = [
            ex.stored(Expr(f"q.c{n}", out.type, out.expr.decimal), column.type, column.name)
            for n, (out, column) in enumerate(zip(query.columns, columns, strict=True), 1)
        ]
        connection.execute(
            f"INSERT INTO {table.physical} ({table.listed}, {MADE}) "
            f"SELECT {', '.join(values)}, {stamp.transaction} FROM ({query.sql}) AS q",
            past.parameters(query.sql),
        )
        past.check()
        return table

    def _make(self, connection: duckdb.DuckDBPyConnection, table: Table) -> None:
        columns = [f"{quote(column.name)} {column.type.storage}" for column in table.columns]
        columns.append(f"{MADE} BIGINT NOT NULL")
        columns.append(ROW_NUMBER_DECLARATION)
        if table.primary_key:
            columns.append(f"PRIMARY KEY ({', '.join(map(quote, table.primary_key))})")
        connection.execute(f"CREATE TABLE {table.physical} ({', '.join(columns)})")

    def _create_index(
        self, connection: duckdb.DuckDBPyConnection, change: CreateIndex, stamp: _Stamp
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
        if change.unique:
            return self._add_rule(connection, table, Rule(change.name, "I", change.columns), stamp)
        connection.execute(
            "INSERT INTO fakeoracle.all_indexes VALUES (?, ?, ?, ?, 'NONUNIQUE')",
            [change.owner, change.name, table.name, list(change.columns)],
        )
        return table, table

    def _add_key(
        self, connection: duckdb.DuckDBPyConnection, change: AddKey, stamp: _Stamp
    ) -> tuple[Table, Table]:
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
        self._undo.redefine(connection, new, stamp.scn)
        return old, new


def _taken_over(out: OutColumn, source: Table | None, name: str | None) -> Column:
    """Return the column that CREATE TABLE ... AS makes; `name` is that of the plain column it is selected from."""
    if out.type is None:
        raise OracleError(1723, "zero-length columns are not allowed")
    if out.type == ROWID:
        if out.name == "ROWID":
            raise OracleError(998, "must name this expression with a column alias")
        return Column(out.name, ROWID)
    if name is None:
        if out.type.is_text or out.type.name == "RAW":
            what = "text" if out.type.is_text else "RAW"
            raise unsupported(f"CREATE TABLE AS SELECT of a {what} that is no plain column (its length)")
        if out.type.name == "TIMESTAMP":
            raise unsupported("CREATE TABLE AS SELECT of a TIMESTAMP that is no plain column (its digits)")
        return Column(out.name, NUMBER if out.type.is_number else out.type)
    origin = source.column(name) if source else None
    if origin is None and not out.nullable:
        raise unsupported("CREATE TABLE AS SELECT of a NOT NULL column from anything but one table")
    explicit = origin is not None and source is not None and name not in source.primary_key
    return Column(out.name, out.type, nullable=out.nullable or not explicit)
