"""System change numbers, and rows as they were at one of them (Database Development Guide, "Oracle Flashback Query").

Every row carries the number of the transaction that made it, in a column that no client sees. A row that is changed or
deleted goes to a table of old rows, with the number of the transaction that ended it. A commit that changed something
notes its system change number (SCN) in the same DuckDB transaction: rows and numbers are never apart, whatever is killed
when. A row was there at an SCN if its maker had committed by then and its ender had not.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

import duckdb

from .catalogue import ROW_NUMBER, Table, quote
from .errors import OracleError, unsupported
from .expressions import Expr
from .values import decode_number

MADE, ENDED = '"fakeoracle#made"', '"fakeoracle#ended"'
OWN = "own"  # the parameter that holds the number of the transaction a query runs in
_NO_TRANSACTION = -1
_FIRST_SCN = 5_000_000_000  # beyond 32 bits, so that nobody gets by with them
_SCHEMA = "fakeoracle_undo"
_TABLES = f"""
CREATE SCHEMA IF NOT EXISTS {_SCHEMA};
CREATE TABLE IF NOT EXISTS fakeoracle.commits (transaction BIGINT, scn BIGINT);
CREATE TABLE IF NOT EXISTS fakeoracle.defined (owner VARCHAR, table_name VARCHAR, scn BIGINT);
"""


@dataclass(frozen=True)
class Moment:
    """AS OF SCN of one table in a query; the query has a parameter called `parameter` for the number `scn` comes to."""

    parameter: str
    table: Table
    scn: Expr


@dataclass(frozen=True)
class Past:
    """The moments of one execution of a statement, with their numbers."""

    undo: Undo
    moments: tuple[tuple[Moment, int], ...]

    def check(self) -> None:
        """Raise an OracleError if one of the moments cannot be read, or not any more."""
        for moment, scn in self.moments:
            self.undo.check(moment.table, scn)

    def parameters(self, sql: str, transaction: int = _NO_TRANSACTION) -> dict[str, int]:
        """Return the parameters that `sql` mentions, run inside `transaction`."""
        values = {moment.parameter: scn for moment, scn in self.moments} | {OWN: transaction}
        mentioned = set(re.findall(r"\$(\w+)", sql)) if self.moments else ()
        return {name: value for name, value in values.items() if name in mentioned}

    @property
    def newest(self) -> int:
        """The latest of the numbers; 0 if there is none."""
        return max((scn for _, scn in self.moments), default=0)


class Undo:
    """The numbers of one database and its old rows; `open_connection` gives a new connection to it.

    `retention` is how many numbers back can be read; None: all since the undo was last forgotten.
    """

    def __init__(self, open_connection: Callable[[], duckdb.DuckDBPyConnection]) -> None:
        self.retention: int | None = None
        self._open = open_connection
        self._lock = threading.Lock()  # of whoever commits: numbers follow the commits
        self._last = self._forgotten = 0
        self._numbers = itertools.count(1)
        self._defined: dict[tuple[str, str], int] = {}

    def load(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Create the side tables where they are missing, and read what they hold.

        ValueError if the tables of the file were made without them.
        """
        if not _has(connection, "commits") and connection.execute("FROM fakeoracle.all_tables").fetchone():
            raise ValueError(
                "the database file was written before fakeoracle kept system change numbers; begin with a new file"
            )
        connection.execute(_TABLES)
        summary = "SELECT min(scn), max(scn), max(transaction) FROM fakeoracle.commits"
        first, last, transaction = connection.execute(summary).fetchone() or (None, None, None)
        if last is None:
            first = last = _FIRST_SCN
            transaction = 0
            connection.execute("INSERT INTO fakeoracle.commits VALUES (0, ?)", [last])
        self._forgotten, self._last, self._numbers = first, last, itertools.count(transaction + 1)
        rows = connection.execute("SELECT owner, table_name, scn FROM fakeoracle.defined").fetchall()
        self._defined = {(owner, name): scn for owner, name, scn in rows}
        connection.create_function("current_scn", lambda: self.current, [], "BIGINT", side_effects=True)

    # --- numbers -----------------------------------------------------------------------------------------------------

    @property
    def current(self) -> int:
        """The SCN of the last commit."""
        return self._last

    @property
    def oldest(self) -> int:
        """The oldest SCN that can be read."""
        return max(self._forgotten, 0 if self.retention is None else self._last - self.retention)

    def new_transaction(self) -> int:
        """Return a number for a transaction that begins; it is never used again."""
        return next(self._numbers)

    @contextlib.contextmanager
    def committing(self, connection: duckdb.DuckDBPyConnection, transaction: int) -> Iterator[int]:
        """Commit at the end of a `with` block, under the SCN it is given; others wait meanwhile with their commits.

        A duckdb.Error means that nothing was committed; the caller has to roll back.
        """
        with self._lock:
            scn, defined = self._last + 1, dict(self._defined)
            try:
                yield scn
                connection.execute("INSERT INTO fakeoracle.commits VALUES (?, ?)", [transaction, scn])
                connection.execute("COMMIT")
            except BaseException:
                self._defined = defined
                raise
            self._last = scn

    def check(self, table: Table, scn: int) -> None:
        """Raise the OracleError that says why `table` cannot be read as of `scn`, if it cannot."""
        if not 0 < scn <= self._last:
            raise OracleError(8181, "specified number is not a valid system change number")
        if scn < self._defined.get((table.owner, table.name), 0):
            raise OracleError(1466, "unable to read data - table definition has changed")
        if scn < self.oldest:
            name = "_SYSSMU9_1650507775$"
            raise OracleError(
                1555, f'snapshot too old: rollback segment number 9 with name "{name}" too small'
            )

    def forget(self) -> None:
        """Make every moment before now too old to be read, and free what was kept for it; the SCN grows by one."""
        connection = self._open()
        try:
            with self.committing(connection, self.new_transaction()) as scn:
                self._forgotten = scn  # before anything is gone
                connection.execute("BEGIN TRANSACTION")
                for owner, name in self._defined:
                    connection.execute(f"DELETE FROM {_old(owner, name)}")
                connection.execute("DELETE FROM fakeoracle.commits")
        finally:
            connection.close()

    # --- tables ------------------------------------------------------------------------------------------------------

    def define(self, connection: duckdb.DuckDBPyConnection, table: Table, scn: int) -> None:
        """Begin to keep the old rows of a table that is new, or has other columns, from `scn` on."""
        kept = {**_kept(table), MADE: "BIGINT", ENDED: "BIGINT"}
        columns = ", ".join(f"{name} {storage}" for name, storage in kept.items())
        connection.execute(f"CREATE OR REPLACE TABLE {_old(table.owner, table.name)} ({columns})")
        self.redefine(connection, table, scn)

    def redefine(self, connection: duckdb.DuckDBPyConnection, table: Table, scn: int) -> None:
        """Let nobody look back beyond `scn`: DDL changed the table, but not its columns.

        Truncating and adding a constraint count, an index does not (Development Guide, "Flashback Technology").
        """
        self._erase(connection, table)
        connection.execute("INSERT INTO fakeoracle.defined VALUES (?, ?, ?)", [table.owner, table.name, scn])
        self._defined[table.owner, table.name] = scn

    def drop(self, connection: duckdb.DuckDBPyConnection, table: Table) -> None:
        """Give up the old rows of a table that is dropped."""
        connection.execute(f"DROP TABLE {_old(table.owner, table.name)}")
        self._erase(connection, table)

    def _erase(self, connection: duckdb.DuckDBPyConnection, table: Table) -> None:
        connection.execute(
            "DELETE FROM fakeoracle.defined WHERE owner = ? AND table_name = ?", [table.owner, table.name]
        )
        self._defined.pop((table.owner, table.name), None)


def keep_old_rows(connection: duckdb.DuckDBPyConnection, table: Table, places: str, transaction: int) -> None:
    """Keep the rows that `transaction` is about to change or delete; `places` is a query for their rowids.

    What the transaction made itself was never there for anybody else, and is not kept.
    """
    columns = ", ".join([*_kept(table), MADE])
    connection.execute(
        f"INSERT INTO {_old(table.owner, table.name)} ({columns}, {ENDED}) SELECT {columns}, {transaction} "
        f"FROM {table.physical} WHERE {MADE} <> {transaction} AND rowid IN ({places})"
    )


def as_of(table: Table, parameter: str) -> str:
    """Return the DuckDB relation of the table's rows at the SCN that `parameter` will hold."""
    columns, old = ", ".join(_kept(table)), _old(table.owner, table.name)
    later = (
        f"(SELECT transaction AS number FROM fakeoracle.commits WHERE scn > CAST(${parameter} AS BIGINT) "
        f"UNION ALL SELECT CAST(${OWN} AS BIGINT))"
    )
    return (
        f"(SELECT {columns} FROM (SELECT {columns}, {MADE} FROM {table.physical} UNION ALL "
        f"SELECT {columns}, {MADE} FROM {old} AS o SEMI JOIN {later} AS ender ON o.{ENDED} = ender.number) AS v "
        f"ANTI JOIN {later} AS maker ON v.{MADE} = maker.number)"
    )


def scn_of(encoded: bytes | None) -> int:
    """Return the SCN that an AS OF expression came to, given as NUMBER bytes."""
    if encoded is None:
        raise OracleError(8181, "specified number is not a valid system change number")
    value = decode_number(encoded)
    if value != value.to_integral_value():
        raise unsupported("AS OF SCN with a fraction")
    return int(max(min(value, Decimal(2**63)), Decimal(-1)))


def _kept(table: Table) -> dict[str, str]:
    """Return the DuckDB columns whose past values are kept, with their types."""
    columns = {quote(column.name): column.type.storage for column in table.columns}
    return {**columns, quote(ROW_NUMBER): "BIGINT"}  # a row keeps its ROWID


def _old(owner: str, name: str) -> str:
    """Return the name of the table that keeps a table's old rows."""
    return f"{_SCHEMA}.{quote(f'{owner}.{name}')}"


def _has(connection: duckdb.DuckDBPyConnection, name: str) -> bool:
    found = "SELECT 1 FROM duckdb_tables() WHERE schema_name = 'fakeoracle' AND table_name = ?"
    return connection.execute(found, [name]).fetchone() is not None
