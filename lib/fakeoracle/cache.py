"""Results kept in memory, so that serving them again costs nothing but sending: for benchmarks of a driver or a client."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from .backend import Backend, BackendSession
from .binds import BindColumn
from .dates import today
from .results import ResultSet
from .sql import Statement, statement
from .ttc import Described

_CHANGES = ("INSERT", "UPDATE", "DELETE", "MERGE")
# what gives another answer at another time or to another session, in any statement that mentions it
_VOLATILE = frozenset(
    ["SYSDATE", "SYSTIMESTAMP", "CURRENT_DATE", "CURRENT_TIMESTAMP", "LOCALTIMESTAMP", "SYS_CONTEXT", "USERENV",
     "SYS_GUID", "NEXTVAL", "CURRVAL", "DBMS_RANDOM", "OF", "FOR", "UID", "SESSIONTIMEZONE", "ORA_ROWSCN", "DBMS_FLASHBACK"]
)  # fmt: skip
_LOB_CODES = (112, 113)
_HARMLESS = ("CURRENT_SCHEMA", "TIME_ZONE")  # both are part of what a result is kept under

Rows = list["pa.Array[Any]"]


@dataclass
class Cache:
    """Encoded rows of queries. What would make them more than `most_bytes` together is not kept.

    `changes` counts commits of changes and definitions; only results of the present count are served.
    """

    most_bytes: int
    changes: int = 0
    size: int = 0
    hits: int = 0
    _kept: dict[Any, tuple[list[Described], Rows]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def changed(self) -> None:
        """Forget everything: the data may be other now."""
        with self._lock:
            self.changes += 1
            self._kept.clear()
            self.size = 0

    def find(self, key: Any) -> ResultSet | None:
        """Return the result kept under `key`."""
        with self._lock:
            found = self._kept.get((self.changes, key))
            if found is None:
                return None
            self.hits += 1
        return ResultSet.of_rows(*found)

    def recorder(
        self, key: Any, changes: int, columns: list[Described]
    ) -> Callable[[Iterator[Any]], Iterator[Any]]:
        """Return what watches rows go by and keeps them when the last has gone by; `changes` is the count they began with."""

        def watch(rows: Iterator[pa.Array[Any]]) -> Iterator[pa.Array[Any]]:
            seen: Rows | None = []
            size = 0
            for batch in rows:
                size += batch.nbytes
                if seen is not None:
                    seen = [*seen, batch] if size <= self.most_bytes - self.size else None
                yield batch
            if seen is not None:
                self._keep((changes, key), columns, seen, size)

        return watch

    def _keep(self, key: tuple[int, Any], columns: list[Described], rows: Rows, size: int) -> None:
        with self._lock:
            if key[0] == self.changes and key not in self._kept and self.size + size <= self.most_bytes:
                self._kept[key] = (columns, rows)
                self.size += size


class CachingBackend:
    """A back end whose queries are answered from a cache where they can be."""

    def __init__(self, backend: Backend, most_bytes: int) -> None:
        self._backend = backend
        self.cache = Cache(most_bytes)

    def open_session(self, user: str) -> BackendSession:
        """Return a session of `user`."""
        return CachingSession(self._backend.open_session(user), user, self.cache)

    def close(self) -> None:
        """Close the back end."""
        self._backend.close()


class CachingSession:
    """A session that looks into the cache before it asks the back end.

    Not cached: what a transaction with changes or a snapshot sees, statements that name the time, the session or a
    sequence, results with LOBs, and anything of a session with settings of its own.
    """

    def __init__(self, session: BackendSession, user: str, cache: Cache) -> None:
        self._session = session
        self._user = user
        self._cache = cache
        self._settings = False  # since ALTER SESSION of what may change results
        self._aside = False  # since SET TRANSACTION, until the transaction ends

    @property
    def schema(self) -> str:
        """Where unqualified names belong."""
        return self._session.schema

    @schema.setter
    def schema(self, name: str) -> None:
        self._session.schema = name

    @property
    def time_zone(self) -> str:
        """The offset of the session."""
        return self._session.time_zone

    @time_zone.setter
    def time_zone(self, offset: str) -> None:
        self._session.time_zone = offset

    @property
    def client(self) -> dict[str, str]:
        """What the client has told of itself."""
        return self._session.client

    @client.setter
    def client(self, told: dict[str, str]) -> None:
        self._session.client = told

    @property
    def in_transaction(self) -> bool:
        """Whether there are changes that are neither committed nor rolled back."""
        return self._session.in_transaction

    def run(self, sql: str, binds: Sequence[BindColumn]) -> ResultSet | list[int]:
        """Run a statement, or find what it gave before."""
        stmt = statement(sql)
        if stmt.verb != "SELECT":
            return self._change(stmt, binds)
        if self._aside or self._settings or self._session.in_transaction or _volatile(stmt):
            return self._session.run(sql, binds)
        key = (
            sql,
            tuple((bind.kind, tuple(bind.values)) for bind in binds),
            self._user,
            self.schema,
            self.time_zone,
            today(),
        )
        found = self._cache.find(key)
        if found:
            return found
        changes = self._cache.changes
        outcome = self._session.run(sql, binds)
        if isinstance(outcome, ResultSet) and not _has_lobs(outcome.columns):
            outcome.watch(self._cache.recorder(key, changes, outcome.columns))
        return outcome

    def _change(self, stmt: Statement, binds: Sequence[BindColumn]) -> ResultSet | list[int]:
        """Run anything but a query; whatever is no plain change may have committed."""
        self._aside = self._aside or stmt.verb == "SET"
        words = [token.upper for token in stmt.tokens[:4]]
        if words[:2] == ["ALTER", "SESSION"]:
            self._settings = self._settings or words[2:] not in (["SET", name] for name in _HARMLESS)
            return self._session.run(stmt.text, binds)
        try:
            return self._session.run(stmt.text, binds)
        finally:
            if stmt.verb not in _CHANGES and stmt.verb != "SET":
                self._cache.changed()
                self._aside = False

    def describe(self, sql: str) -> list[Described]:
        """Return the columns of a query without running it."""
        return self._session.describe(sql)

    def commit(self) -> None:
        """End the transaction, keeping its changes."""
        changes = self._session.in_transaction
        self._aside = False
        try:
            self._session.commit()
        finally:
            if changes:
                self._cache.changed()

    def rollback(self) -> None:
        """End the transaction, undoing its changes."""
        self._aside = False
        self._session.rollback()

    def interrupt(self) -> None:
        """Stop what is running, from another thread."""
        self._session.interrupt()

    def close(self) -> None:
        """Roll back and let go."""
        self._session.close()


def _volatile(stmt: Statement) -> bool:
    words = (token.upper for token in stmt.tokens if token.kind in ("word", "quoted"))
    return any(word.strip('"') in _VOLATILE or word.strip('"').startswith(("V$", "GV$")) for word in words)


def _has_lobs(columns: list[Described]) -> bool:
    return any(column.type is not None and column.type.wire_code in _LOB_CODES for column in columns)
