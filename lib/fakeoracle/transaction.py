"""Transactions on DuckDB, and DuckDB's errors as Oracle's."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from . import expressions as ex
from .binds import BindColumn, bind_values
from .errors import OracleError, unsupported
from .results import ResultSet, batch_rows, encoded_batches
from .ttc import Described
from .undo import Moment, Past, Undo, scn_of

_ORA = re.compile(r"ORA-(\d{5}): ([^\n]*)")


class Transaction:
    """One client's connections to DuckDB: the one that writes, a snapshot for a read-only transaction, one a query.

    `open_connection` gives a new connection to the database, `undo` numbers the commits. `number` is that of the open
    transaction.
    """

    def __init__(self, open_connection: Callable[[], duckdb.DuckDBPyConnection], undo: Undo) -> None:
        self._open = open_connection
        self._undo = undo
        self.writer = open_connection()
        self.open = False
        self.number = 0
        self._changed = False
        self._since = 0  # the SCN when the open or read-only transaction began
        self._snapshot: duckdb.DuckDBPyConnection | None = None
        self._snapshot_rows: ResultSet | None = None
        self._active: list[duckdb.DuckDBPyConnection] = []
        self._active_lock = threading.Lock()

    def commit(self) -> None:
        """End the transaction, keeping its changes."""
        self._end_snapshot()
        if self.open:
            self.open = False
            try:
                if self._changed:
                    with self._undo.committing(self.writer, self.number):
                        pass
                else:
                    self.writer.execute("COMMIT")
            except duckdb.Error as error:
                with contextlib.suppress(duckdb.Error):
                    self.writer.execute("ROLLBACK")
                raise oracle_error(error) from None

    def changed(self, rows: int) -> int:
        """Note that the open transaction changed so many rows, and return them; without any its commit has no SCN."""
        self._changed = self._changed or rows > 0
        return rows

    def rollback(self) -> None:
        """End the transaction, undoing its changes."""
        self._end_snapshot()
        if self.open:
            self.open = False
            with contextlib.suppress(duckdb.Error):
                self.writer.execute("ROLLBACK")

    def begin_read_only(self) -> None:
        """Let queries see one moment until the transaction ends."""
        if self.open or self._snapshot:
            raise OracleError(1453, "SET TRANSACTION must be first statement of transaction")
        self._since = self._undo.current
        self._snapshot = self._open()
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
        self.writer.close()

    def interrupt(self) -> None:
        """Stop what is running, from another thread."""
        with self._active_lock:
            for connection in self._active:
                connection.interrupt()

    @contextlib.contextmanager
    def running(
        self, connection: duckdb.DuckDBPyConnection, *, storing: bool = False
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Make `connection` interruptible, and turn DuckDB's errors into Oracle's."""
        with self._active_lock:
            self._active.append(connection)
        try:
            yield connection
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise oracle_error(error, storing=storing) from None
        finally:
            with self._active_lock:
                self._active.remove(connection)

    @contextlib.contextmanager
    def changing(self, *, storing: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """Run a change in the transaction, opening one if there is none.

        DuckDB has no savepoints: a change that fails takes the earlier ones of its transaction along, and the client is
        told so (ORA-02091). What usually fails is therefore checked before.
        """
        if self._snapshot:
            raise OracleError(
                1456, "may not perform insert, delete, update operation inside a READ ONLY transaction"
            )
        fresh = not self.open
        with self.running(self.writer, storing=storing) as connection:
            if fresh:
                self._since, self.number = self._undo.current, self._undo.new_transaction()
                self._changed = False
                connection.execute("BEGIN TRANSACTION")
                self.open = True
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
                cause = oracle_error(error, storing=storing)
                raise OracleError(2091, f"transaction rolled back\n{cause}") from None

    @staticmethod
    def _alive(connection: duckdb.DuckDBPyConnection) -> bool:
        """Tell whether the transaction outlived an error: it does if DuckDB had not begun to run the statement."""
        try:
            connection.execute("SELECT 1").fetchall()
        except duckdb.Error:
            return False
        return True

    def past(self, moments: Sequence[Moment], binds: Sequence[BindColumn], row: int = 0) -> Past:
        """Work out the moments a statement asks for; an OracleError if one cannot be read."""
        numbers: list[int] = []
        if moments:
            sql = "SELECT " + ", ".join(ex.as_blob(ex.as_number(moment.scn)).sql for moment in moments)
            connection = self._open()
            try:
                with self.running(connection):
                    found = connection.execute(sql, bind_values(sql, binds, row)).fetchone()
            finally:
                connection.close()
            numbers = [scn_of(encoded) for encoded in found or ()]
        past = Past(self._undo, tuple(zip(moments, numbers, strict=True)))
        past.check()
        return past

    def parameters(self, sql: str, past: Past) -> dict[str, int]:
        """Return the parameters for a statement that reads the past, run inside the open or read-only transaction.

        Oracle reads the past without regard to the transaction; DuckDB shows it only as far as the transaction sees.
        """
        if past.newest > self._since and (self.open or self._snapshot):
            raise unsupported(
                "AS OF a moment since the transaction began, in one statement with a table as it is now"
            )
        return past.parameters(sql, self.number) if self.open else past.parameters(sql)

    def query(
        self, sql: str, values: dict[str, Any], columns: list[Described], past: Past, *, now: bool
    ) -> ResultSet:
        """Run a query where it has to run: in the open transaction, in the snapshot, or on a connection of its own.

        A query of the past that does not also read tables as they are `now` never sees the transaction.
        """
        alone = bool(past.moments) and not now
        values = values | (past.parameters(sql) if alone else self.parameters(sql, past))
        result = self._query(sql, values, columns, alone=alone)
        result.check = past.check
        return result

    def _query(self, sql: str, values: dict[str, Any], columns: list[Described], *, alone: bool) -> ResultSet:
        if self.open and not alone:
            # only the writing connection sees its own changes; it has to be free again at once
            with self.changing() as connection:
                reader = connection.sql(sql, params=values).to_arrow_table().to_reader(batch_rows(columns))
            return ResultSet(columns, encoded_batches(reader, columns, contextlib.nullcontext))
        if self._snapshot and not alone:
            return self._snapshot_query(sql, values, columns)
        connection = self._open()
        try:
            with self.running(connection):
                reader = connection.sql(sql, params=values).to_arrow_reader(batch_rows(columns))
        except BaseException:
            connection.close()
            raise
        batches = encoded_batches(reader, columns, lambda: self.running(connection))
        return ResultSet(columns, batches, connection.close)

    def _snapshot_query(self, sql: str, values: dict[str, Any], columns: list[Described]) -> ResultSet:
        """A query in the read-only transaction; DuckDB streams one result at a time on a connection."""
        connection = self._snapshot
        assert connection is not None
        if self._snapshot_rows:
            self._snapshot_rows.keep()
        with self.running(connection):
            reader = connection.sql(sql, params=values).to_arrow_reader(batch_rows(columns))
        batches = encoded_batches(reader, columns, lambda: self.running(connection))
        self._snapshot_rows = ResultSet(columns, batches)
        return self._snapshot_rows


_ERRORS = {
    "INTERRUPT": (1013, "user requested cancel of current operation"),
    "Conversion Error": (1722, "invalid number"),
    "Constraint Error": (1, "unique constraint violated"),
    "TransactionContext Error": (8177, "can't serialize access for this transaction"),
    "More than one row returned by a subquery": (1427, "single-row subquery returns more than one row"),
    "must appear in the GROUP BY clause": (979, "not a GROUP BY expression"),
    "cannot contain aggregates": (934, "group function is not allowed here"),
}


def oracle_error(error: Exception, *, storing: bool = False) -> OracleError:
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
