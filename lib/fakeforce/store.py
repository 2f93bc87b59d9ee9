"""The org's data in one SQLite file: one table per object, plus what jobs and tokens need.

One writer at a time (``transaction``), any number of readers (``reading``). A transaction is all or nothing,
also when the process is killed.
"""

from __future__ import annotations

import fcntl
import os
import queue
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import FakeforceError
from .ids import normal_id, record_id
from .schema import Field, Schema, SObject
from .values import Value, text_of

_TABLES = """
CREATE TABLE IF NOT EXISTS _meta (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS _token (value TEXT PRIMARY KEY, expires TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS _query_start (started TEXT);
CREATE INDEX IF NOT EXISTS _query_started ON _query_start (started);
CREATE TABLE IF NOT EXISTS _job (
    n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, api_version TEXT, object TEXT, operation TEXT,
    external_id_field TEXT, delimiter TEXT, line_ending TEXT, extra TEXT, state TEXT, created TEXT,
    modified TEXT, uploaded INTEGER DEFAULT 0, header TEXT, processed INTEGER DEFAULT 0,
    failed INTEGER DEFAULT 0, retries INTEGER DEFAULT 0, total_ms INTEGER DEFAULT 0,
    active_ms INTEGER DEFAULT 0, apex_ms INTEGER DEFAULT 0, error TEXT, not_before TEXT,
    kind TEXT DEFAULT 'ingest', query TEXT);
CREATE TABLE IF NOT EXISTS _batch (
    job INTEGER, seq INTEGER, offset INTEGER, size INTEGER, rows INTEGER, lost INTEGER DEFAULT 0,
    started TEXT, retries INTEGER DEFAULT 0, PRIMARY KEY (job, seq)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS _batch_started ON _batch (started, rows);
CREATE TABLE IF NOT EXISTS _chunk (
    job INTEGER, batch INTEGER, chunk INTEGER, outcomes TEXT, PRIMARY KEY (job, batch, chunk)) WITHOUT ROWID;
"""

# Columns that a state file of an earlier version does not have.
_ADDED = (
    ("_job", "kind TEXT DEFAULT 'ingest'"),
    ("_job", "query TEXT"),
    ("_batch", "retries INTEGER DEFAULT 0"),
)


class Store:
    """Rows of every object. Names given to its methods must come from the schema."""

    def __init__(self, schema: Schema, state: str | Path | None) -> None:
        self.schema = schema
        self._scratch = None if state else tempfile.mkdtemp(prefix="fakeforce-")
        self.path = Path(state) if state else Path(str(self._scratch)) / "org.sqlite"
        self.uploads = self.path.with_name(self.path.name + ".uploads")
        self.uploads.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._readers: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        self._open: list[sqlite3.Connection] = []
        self._numbers: dict[str, int] = {}
        self._held = _alone(self.uploads, self.path)
        try:
            self._writer = self._connect()
            self._prepare()
        except sqlite3.DatabaseError as error:
            self.close()
            text = (
                f"the state file {self.path} cannot be used: {error}; name another file, or remove this one"
            )
            raise FakeforceError(text) from error

    def _connect(self) -> sqlite3.Connection:
        con = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=30)
        self._open.append(con)
        con.execute("PRAGMA journal_mode = WAL")
        # Without a state file nothing outlives the process; a killed process loses nothing either way.
        con.execute(f"PRAGMA synchronous = {'OFF' if self._scratch else 'NORMAL'}")
        # The writer walks an index in random order; readers read once.
        con.execute(f"PRAGMA cache_size = {-8192 if len(self._open) > 1 else -65536}")
        return con

    def _prepare(self) -> None:
        self._writer.executescript(_TABLES)
        with self.transaction() as con:
            for obj in self.schema.tables():
                _create_table(con, obj)
            for table, column in _ADDED:
                _add_column(con, table, column)
            rows = con.execute("SELECT name, seq FROM sqlite_sequence").fetchall()
        self._numbers = {name: seq for name, seq in rows if name in self.schema.objects}

    def close(self) -> None:
        """Close every connection; a store without a state file is removed."""
        with self._lock:
            for con in self._open:
                con.close()
            self._open.clear()
        if self._held is not None:
            os.close(self._held)
            self._held = None
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """The one writing connection, inside a transaction; not to be nested."""
        with self._lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
            self._writer.execute("COMMIT")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A reading connection: what was committed when its statement began."""
        try:
            con = self._readers.get_nowait()
        except queue.Empty:
            with self._lock:
                con = self._connect()
        try:
            yield con
        finally:
            self._readers.put(con)

    # Rows: ``con`` is the connection of the surrounding transaction or reading block.

    def new_ids(self, obj: SObject, count: int) -> list[tuple[int, str]]:
        """Row number and record id of ``count`` new records; a rolled back chunk's are not used again."""
        with self._lock:
            first = self._numbers.get(obj.name, 0) + 1
            self._numbers[obj.name] = first + count - 1
        return [(n, record_id(obj.key_prefix, n)) for n in range(first, first + count)]

    def insert(
        self, con: sqlite3.Connection, obj: SObject, names: Sequence[str], rows: Iterable[Sequence[Any]]
    ) -> None:
        """Insert rows; the first two columns are the row number and ``Id``."""
        columns = ", ".join(f'"{name}"' for name in ("n", "Id", *names))
        marks = ", ".join("?" * (len(names) + 2))
        con.executemany(f'INSERT INTO "{obj.name}" ({columns}) VALUES ({marks})', rows)

    def update(
        self, con: sqlite3.Connection, obj: SObject, names: Sequence[str], rows: Iterable[Sequence[Any]]
    ) -> None:
        """Update rows; each row is the new values and then the record id."""
        columns = ", ".join(f'"{name}" = ?' for name in names)
        con.executemany(f'UPDATE "{obj.name}" SET {columns} WHERE Id = ?', rows)

    def delete(
        self, con: sqlite3.Connection, obj: SObject, ids: Sequence[str], *, hard: bool = False
    ) -> None:
        """Delete rows. They go to the recycle bin, from where ``queryAll`` still shows them; ``hard``: nowhere.

        A later use of an id in the bin can so be told from that of an unknown id.
        """
        names = ", ".join(f'"{f.name}"' for f in obj.fields)
        shown = ", ".join("1" if f.name == "IsDeleted" else f'"{f.name}"' for f in obj.fields)
        move = f'INSERT INTO "{bin_of(obj)}" (n, {names}) SELECT n, {shown} FROM "{obj.name}" WHERE Id = ?'
        if not hard:
            con.executemany(move, ((i,) for i in ids))
        con.executemany(f'DELETE FROM "{obj.name}" WHERE Id = ?', ((i,) for i in ids))

    def clear(self, con: sqlite3.Connection, obj: SObject, reference: Field, ids: Sequence[str]) -> None:
        """Empty the reference in the rows that have one of the ids."""
        self._index(con, obj, reference)
        sql = f'UPDATE "{obj.name}" SET "{reference.name}" = NULL WHERE "{reference.name}" = ?'
        con.executemany(sql, ((i,) for i in ids))

    def _index(self, con: sqlite3.Connection, obj: SObject, field: Field) -> None:
        """Most references are never looked up by their value: only the first time makes the index."""
        con.execute(f'CREATE INDEX IF NOT EXISTS "{obj.name}.{field.name}" ON "{obj.name}" ("{field.name}")')

    def find(
        self, con: sqlite3.Connection, obj: SObject, field: Field, values: Iterable[Value]
    ) -> list[tuple[Value, str]]:
        """(field value, record id) of the rows whose field is one of the values, in row order."""
        wanted = [v for v in dict.fromkeys(values) if v is not None]
        if not wanted:
            return []
        marks = ", ".join("?" * len(wanted))
        sql = f'SELECT "{field.name}", Id FROM "{obj.name}" WHERE "{field.name}" IN ({marks}) ORDER BY n'
        return con.execute(sql, wanted).fetchall()

    def recycled(self, con: sqlite3.Connection, obj: SObject, ids: Sequence[str]) -> set[str]:
        """Which of the ids belong to records in the recycle bin."""
        marks = ", ".join("?" * len(ids))
        sql = f'SELECT Id FROM "{bin_of(obj)}" WHERE Id IN ({marks})'
        return {row[0] for row in con.execute(sql, ids)}

    def get(self, con: sqlite3.Connection, obj: SObject, record: str) -> dict[str, Value] | None:
        """One record's stored values by field name, or None."""
        found = normal_id(record)
        names = [f.name for f in obj.fields]
        columns = ", ".join(f'"{name}"' for name in names)
        row = con.execute(f'SELECT {columns} FROM "{obj.name}" WHERE Id = ?', (found,)).fetchone()
        return dict(zip(names, row, strict=True)) if row else None

    def count(self, obj: SObject) -> int:
        """Number of records."""
        with self.reading() as con:
            return int(con.execute(f'SELECT COUNT(*) FROM "{obj.name}"').fetchone()[0])

    def rows(self, obj: SObject) -> Iterator[dict[str, str | None]]:
        """Every record as exact text by field name, in the order of creation."""
        columns = ", ".join(f'"{f.name}"' for f in obj.fields)
        with self.reading() as con:
            for row in con.execute(f'SELECT {columns} FROM "{obj.name}" ORDER BY n'):
                yield {f.name: text_of(f, value) for f, value in zip(obj.fields, row, strict=True)}

    def meta(self, key: str, default: str) -> str:
        """A remembered text; the first caller's ``default`` is what is remembered."""
        with self.transaction() as con:
            con.execute("INSERT OR IGNORE INTO _meta VALUES (?, ?)", (key, default))
            return str(con.execute("SELECT value FROM _meta WHERE key = ?", (key,)).fetchone()[0])


def _alone(folder: Path, state: Path) -> int | None:
    """Hold the folder for this process; the lock ends with it, however it ends. Raises FakeforceError."""
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        raise FakeforceError(f"the state file {state} is in use by another org; end it first") from None
    return held


def bin_of(obj: SObject) -> str:
    """The table with the deleted rows of an object; no API name has a ``~``."""
    return f"{obj.name}~bin"


def _create_table(con: sqlite3.Connection, obj: SObject) -> None:
    """Create the tables, or add the fields an older state file does not have yet."""
    columns = ", ".join(_column(f) for f in obj.fields)
    con.execute(f'CREATE TABLE IF NOT EXISTS "{obj.name}" (n INTEGER PRIMARY KEY AUTOINCREMENT, {columns})')
    con.execute(f'CREATE TABLE IF NOT EXISTS "{bin_of(obj)}" (n INTEGER PRIMARY KEY, {columns})')
    con.execute(f'CREATE INDEX IF NOT EXISTS "{bin_of(obj)}.Id" ON "{bin_of(obj)}" (Id)')
    for field in obj.fields:
        for table in (obj.name, bin_of(obj)):
            _add_column(con, table, _column(field))
        if field.type == "id" or field.unique or field.external_id:
            unique = "UNIQUE" if field.unique or field.type == "id" else ""
            index = f'"{obj.name}.{field.name}" ON "{obj.name}" ("{field.name}")'
            con.execute(f"CREATE {unique} INDEX IF NOT EXISTS {index}")


def _add_column(con: sqlite3.Connection, table: str, column: str) -> None:
    present = {row[1].lower() for row in con.execute(f'PRAGMA table_info("{table}")')}
    if column.split(maxsplit=1)[0].strip('"').lower() not in present:
        con.execute(f'ALTER TABLE "{table}" ADD COLUMN {column}')


def _column(field: Field) -> str:
    if field.is_number or field.type in ("int", "boolean"):
        return f'"{field.name}" INTEGER'
    collate = " COLLATE NOCASE" if field.is_text and not field.case_sensitive else ""
    return f'"{field.name}" TEXT{collate}'
