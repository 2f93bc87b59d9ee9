"""The DuckDB back end: one database, and the statements of each client's session."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
from sqlglot import exp

from . import functions
from .binds import BindColumn, bind_parameter, bind_values
from .catalogue import Catalogue, Table
from .changes import Changes
from .ddl import DdlParser
from .definitions import Definitions
from .errors import OracleError, unsupported
from .expressions import Expr
from .moments import session_zone, zone_offset
from .profiles import DEFAULT_PROFILE, Profile
from .results import ResultSet
from .rules import condition_of
from .scopes import Query
from .sql import Statement, statement
from .transaction import Transaction
from .translate import Translator
from .ttc import Described
from .undo import Undo

_DDL = ("CREATE", "DROP", "TRUNCATE", "ALTER", "COMMENT")
_PLANS_KEPT = 200


class Database:
    """One DuckDB database with its catalogue; `path` None keeps it in memory.

    `revoked` maps users to the privileges they lack (of `catalogue.PRIVILEGES`).
    """

    def __init__(
        self,
        path: str | Path | None,
        *,
        service: str,
        users: Mapping[str, str],
        profile: Profile = DEFAULT_PROFILE,
        revoked: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        try:
            self._root = duckdb.connect(":memory:" if path is None else str(path))
        except duckdb.Error as error:
            raise ValueError(f"cannot open the database file {path}: {error}") from None
        self.catalogue = Catalogue(frozenset(name.upper() for name in users), service, profile)
        self.undo = Undo(self.connection)
        try:
            self.catalogue.revoke(revoked or {})
            self.catalogue.load(self._root)
            self.undo.load(self._root)
        except ValueError:
            self._root.close()
            raise
        functions.register(self._root)

    def connection(self) -> duckdb.DuckDBPyConnection:
        """Return a new DuckDB connection."""
        return self._root.cursor()

    def open_session(self, user: str) -> DatabaseSession:
        """Return a session of `user`, whose schema has the same name."""
        return DatabaseSession(self, user)

    def forget_undo(self) -> None:
        """Make every SCN before now too old: ORA-01555, also at the next fetch of a query that reads one."""
        self.undo.forget()

    def close(self) -> None:
        """Write everything to disk and let go of it."""
        with contextlib.suppress(duckdb.Error):
            self._root.execute("CHECKPOINT")
        self._root.close()


class DatabaseSession:
    """The statements of one client: its schema, its transaction, its plans."""

    def __init__(self, database: Database, user: str) -> None:
        self._catalogue = database.catalogue
        self._user = user
        self._zone, self._time_zone = 0, "+00:00"
        self.schema = user
        self.client: dict[str, str] = {}
        self._transaction = Transaction(database.connection, database.undo)
        self._changes = Changes(self._transaction, self._translator, database.connection)
        self._definitions = Definitions(
            self._transaction,
            database.catalogue,
            database.undo,
            self._changes.default,
            condition_of(self._translator),
            self._parsed,
        )
        self._plans: dict[Any, Query] = {}

    @property
    def time_zone(self) -> str:
        """The offset in which times without a zone are meant."""
        return self._time_zone

    @time_zone.setter
    def time_zone(self, offset: str) -> None:
        self._zone, self._time_zone = zone_offset(offset), offset

    @property
    def in_transaction(self) -> bool:
        """Whether there are changes that are neither committed nor rolled back."""
        return self._transaction.open

    def commit(self) -> None:
        """End the transaction, keeping its changes."""
        self._transaction.commit()

    def rollback(self) -> None:
        """End the transaction, undoing its changes."""
        self._transaction.rollback()

    def close(self) -> None:
        """Roll back and let go."""
        self._transaction.close()

    def interrupt(self) -> None:
        """Stop what is running, from another thread."""
        self._transaction.interrupt()

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
                self._definitions.run(DdlParser(stmt, self.schema).parse())
            else:
                self._alter_session(stmt)
            return [0]
        if stmt.verb == "SET":
            self._set_transaction(stmt)
            return [0]
        tree = stmt.tree()
        if isinstance(tree, (exp.Insert, exp.Update, exp.Delete)):
            return self._changes.run(stmt, tree, binds, len(binds[0].values) if binds else 1)
        if isinstance(tree, exp.Commit):
            self.commit()
            return [0]
        if isinstance(tree, exp.Rollback):
            self.rollback()
            return [0]
        raise unsupported(f"the statement {stmt.verb}")

    def describe(self, sql: str) -> list[Described]:
        """Return the columns of a query without running it; nothing for other statements."""
        stmt = statement(sql)
        if stmt.verb != "SELECT":
            if stmt.verb not in _DDL:
                stmt.tree()  # what is no SQL is ORA-00900, parsed or run
            return []
        binds = [BindColumn("text", [None]) for _ in stmt.binds]
        return self._plan(stmt, binds).described

    def _set_transaction(self, stmt: Statement) -> None:
        """SET TRANSACTION READ ONLY: until it ends, queries see one moment (Oracle SQL Language Reference)."""
        if [token.upper for token in stmt.tokens] != ["SET", "TRANSACTION", "READ", "ONLY"]:
            raise unsupported("SET of anything but TRANSACTION READ ONLY")
        self._transaction.begin_read_only()

    def _alter_session(self, stmt: Statement) -> None:
        words = [token.upper for token in stmt.tokens]
        if words[2:4] == ["SET", "CURRENT_SCHEMA"] and len(words) == 6:
            self.schema = stmt.tokens[5].name
        elif words[2:5] == ["SET", "TIME_ZONE", "="] and len(words) == 6 and stmt.tokens[5].kind == "string":
            self.time_zone = stmt.tokens[5].text.strip("'")
        elif words[2:5] == ["SET", "TIME_ZONE", "="] and words[5:] == ["DBTIMEZONE"]:
            self.time_zone = "+00:00"
        else:
            raise unsupported("ALTER SESSION of anything but CURRENT_SCHEMA and TIME_ZONE")

    def _translator(self, stmt: Statement, binds: Sequence[Expr]) -> Translator:
        session_zone.set(self._zone)
        return Translator(stmt, self._catalogue, self.schema, self._user, binds, self.client)

    def _parsed(self, text: str) -> tuple[exp.Expr, Query, Table | None]:
        """Parse and translate a query without binds; the table is that of a query that reads nothing else."""
        stmt = statement(text)
        if stmt.verb != "SELECT":
            raise OracleError(928, "missing SELECT keyword")
        tree = stmt.tree()
        translator = self._translator(stmt, [])
        query = translator.top(tree)
        start = None if tree.args.get("joins") or tree.args.get("with_") else tree.args.get("from_")
        alone = start is not None and isinstance(start.this, exp.Table)
        return tree, query, translator.find_table(start.this, must=False) if alone and start else None

    def _plan(self, stmt: Statement, binds: Sequence[BindColumn]) -> Query:
        shapes = tuple(column.shape() for column in binds)
        client = tuple(sorted(self.client.items()))  # SYS_CONTEXT puts it into the plan
        key = (stmt.text, shapes, self.schema, self._zone, self._catalogue.version, client)
        plan = self._plans.get(key)
        if plan is None:
            parameters = [bind_parameter(number, shape) for number, shape in enumerate(shapes)]
            plan = self._translator(stmt, parameters).top(stmt.tree())
            if len(self._plans) >= _PLANS_KEPT:
                self._plans.clear()
            self._plans[key] = plan
        return plan

    def _query(self, stmt: Statement, binds: Sequence[BindColumn]) -> ResultSet:
        plan = self._plan(stmt, binds)
        past = self._transaction.past(plan.moments, binds)
        values = bind_values(plan.sql, binds, 0)
        return self._transaction.query(plan.sql, values, plan.described, past, now=plan.now)
