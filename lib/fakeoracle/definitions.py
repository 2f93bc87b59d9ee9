"""DDL, carried out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import duckdb

from . import expressions as ex
from .catalogue import ROW_NUMBER_DECLARATION, Catalogue, Column, Table, quote
from .ddl import AddKey, Change, CreateIndex, CreateTable, keyed
from .errors import OracleError, unsupported
from .expressions import Expr
from .transaction import Transaction
from .undo import MADE, Undo


class Definitions:
    """Changes the catalogue, and DuckDB's tables with it; `default` gives the value of a column's DEFAULT."""

    def __init__(
        self,
        transaction: Transaction,
        catalogue: Catalogue,
        undo: Undo,
        default: Callable[[Column], Expr],
    ) -> None:
        self._transaction = transaction
        self._catalogue = catalogue
        self._undo = undo
        self._default = default

    def run(self, change: Change) -> None:
        """Do DDL: what was pending is committed first, then the change in a transaction of its own."""
        self._transaction.commit()
        with self._catalogue.lock, self._transaction.running(self._transaction.writer) as connection:
            connection.execute("BEGIN TRANSACTION")
            try:
                with self._undo.committing(connection, self._undo.new_transaction()) as scn:
                    old, new = self._change(connection, change, scn)
            except BaseException:
                with contextlib.suppress(duckdb.Error):
                    connection.execute("ROLLBACK")
                raise
            self._catalogue.changed(old, new)

    def _change(
        self, connection: duckdb.DuckDBPyConnection, change: Change, scn: int
    ) -> tuple[Table | None, Table | None]:
        if isinstance(change, CreateTable):
            return None, self._create(connection, change.table, scn)
        if isinstance(change, CreateIndex):
            return self._create_index(connection, change)
        if isinstance(change, AddKey):
            return self._add_key(connection, change, scn)
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
            self._undo.drop(connection, table)
            self._catalogue.erase(connection, table)
            connection.execute(
                "DELETE FROM fakeoracle.all_indexes WHERE owner = ? AND table_name = ?",
                [table.owner, table.name],
            )
            return table, None
        if change.verb == "TRUNCATE TABLE":
            connection.execute(f"DELETE FROM {table.physical}")
            self._undo.redefine(connection, table, scn)
        return table, table

    def _existing(self, owner: str, name: str, place: int = 0) -> Table:
        table = self._catalogue.table(owner, name)
        if table is None:
            raise OracleError(942, "table or view does not exist", place)
        return table

    def _create(self, connection: duckdb.DuckDBPyConnection, table: Table, scn: int) -> Table:
        if table.owner not in self._catalogue.users:
            raise OracleError(1918, f"user '{table.owner}' does not exist")
        if self._catalogue.table(table.owner, table.name):
            raise OracleError(955, "name is already used by an existing object")
        if self._catalogue.clash(table.owner, table.name):
            raise unsupported("two tables whose names differ only by case")
        columns = [f"{quote(column.name)} {column.type.storage}" for column in table.columns]
        columns.append(f"{MADE} BIGINT NOT NULL")
        columns.append(ROW_NUMBER_DECLARATION)
        if table.primary_key:
            columns.append(f"PRIMARY KEY ({', '.join(map(quote, table.primary_key))})")
        connection.execute(f"CREATE TABLE {table.physical} ({', '.join(columns)})")
        for column in table.columns:
            if column.default is not None:
                ex.stored(self._default(column), column.type, column.name)
        self._catalogue.store(connection, table)
        self._undo.define(connection, table, scn)
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

    def _add_key(
        self, connection: duckdb.DuckDBPyConnection, change: AddKey, scn: int
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
        self._undo.redefine(connection, new, scn)
        return old, new
