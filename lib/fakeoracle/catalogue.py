"""What tables there are, as Oracle would describe them; DuckDB forgets VARCHAR2(n BYTE), CHAR and NUMBER.

Kept in the schema `fakeoracle` of the same DuckDB file, in tables that the dictionary views read.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import duckdb

from . import dictionary
from .dictionary import View
from .profiles import DEFAULT_PROFILE, Profile
from .types import OracleType

_TABLES = """
CREATE SCHEMA IF NOT EXISTS fakeoracle;
CREATE SEQUENCE IF NOT EXISTS fakeoracle.row_numbers;
CREATE TABLE IF NOT EXISTS fakeoracle.all_tables (
    owner VARCHAR, table_name VARCHAR, comments VARCHAR, primary_key VARCHAR[], constraint_name VARCHAR);
CREATE TABLE IF NOT EXISTS fakeoracle.all_tab_columns (
    owner VARCHAR, table_name VARCHAR, column_name VARCHAR, column_id INTEGER, data_type VARCHAR,
    declared_length INTEGER, data_precision INTEGER, data_scale INTEGER, char_used VARCHAR, nullable BOOLEAN,
    data_default VARCHAR, data_length INTEGER, char_length INTEGER, shown_type VARCHAR);
CREATE TABLE IF NOT EXISTS fakeoracle.all_indexes (
    owner VARCHAR, index_name VARCHAR, table_name VARCHAR, column_names VARCHAR[], uniqueness VARCHAR);
CREATE TABLE IF NOT EXISTS fakeoracle.rules (
    owner VARCHAR, table_name VARCHAR, name VARCHAR, kind VARCHAR, column_names VARCHAR[], condition VARCHAR);
CREATE TABLE IF NOT EXISTS fakeoracle.comments (
    owner VARCHAR, table_name VARCHAR, column_name VARCHAR, text VARCHAR);
"""
PRIVILEGES = frozenset(["V$DATABASE", "DBMS_FLASHBACK", "FLASHBACK", "SELECT ANY TABLE"])
"""What can be revoked: a view, a package, AS OF on the tables of others, and these tables altogether."""


ROW_NUMBER = "#row"  # a column of every table that no client sees: what its ROWIDs are made of
ROW_NUMBER_DECLARATION = f"\"{ROW_NUMBER}\" BIGINT DEFAULT nextval('fakeoracle.row_numbers')"


@dataclass(frozen=True)
class Column:
    """A column of a table; `default` is the text of its DEFAULT expression."""

    name: str
    type: OracleType
    nullable: bool = True
    default: str | None = None


@dataclass(frozen=True)
class Rule:
    """A rule its rows must keep: kind U (unique constraint), I (unique index) or C (check, with its condition)."""

    name: str
    kind: str
    columns: tuple[str, ...]
    condition: str | None = None


@dataclass(frozen=True)
class Table:
    """A table; `primary_key` holds column names, `constraint` the name of that key."""

    owner: str
    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    constraint: str = ""
    rules: tuple[Rule, ...] = ()

    @property
    def physical(self) -> str:
        """The table's name in DuckDB, quoted."""
        return f"{quote(self.owner)}.{quote(self.name)}"

    @property
    def listed(self) -> str:
        """Its columns for a select list in DuckDB; `*` would also give those that no client sees."""
        return ", ".join(quote(column.name) for column in self.columns)

    @property
    def number(self) -> int:
        """What the table's ROWIDs begin with: 23 bits; rows are numbered across all tables, so that a clash does no harm."""
        return zlib.crc32(f"{self.owner}.{self.name}".encode()) & 0x7FFFFF

    def column(self, name: str) -> Column | None:
        """Return the column of that name."""
        return next((column for column in self.columns if column.name == name), None)

    def with_key(self, columns: tuple[str, ...], constraint: str) -> Table:
        """Return the table with a primary key: its columns become NOT NULL."""
        kept = tuple(
            replace(column, nullable=column.nullable and column.name not in columns)
            for column in self.columns
        )
        return replace(self, columns=kept, primary_key=columns, constraint=constraint)


def quote(name: str) -> str:
    """Return a DuckDB identifier."""
    return '"' + name.replace('"', '""') + '"'


@dataclass
class Catalogue:
    """All tables of all users. `version` changes with every DDL statement."""

    users: frozenset[str]
    service: str
    profile: Profile = DEFAULT_PROFILE
    version: int = 0
    _tables: dict[tuple[str, str], Table] = field(default_factory=dict)
    _revoked: dict[str, frozenset[str]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def load(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Create the side tables where they are missing, and read what they hold."""
        connection.execute(_TABLES)
        for user in self.users:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(user)}")
        rows = connection.execute(
            "SELECT owner, table_name, column_name, data_type, declared_length, data_precision, data_scale, char_used, "
            "nullable, data_default FROM fakeoracle.all_tab_columns ORDER BY owner, table_name, column_id"
        ).fetchall()
        columns: dict[tuple[str, str], list[Column]] = {}
        for owner, table, name, kind, length, precision, scale, used, nullable, default in rows:
            column_type = OracleType(kind, precision, scale, length, used == "C")
            columns.setdefault((owner, table), []).append(Column(name, column_type, nullable, default))
        rules: dict[tuple[str, str], list[Rule]] = {}
        found = connection.execute(
            "SELECT owner, table_name, name, kind, column_names, condition FROM fakeoracle.rules"
        )
        for owner, name, rule, kind, names, condition in found.fetchall():
            rules.setdefault((owner, name), []).append(Rule(rule, kind, tuple(names), condition))
        tables = connection.execute(
            "SELECT owner, table_name, primary_key, constraint_name FROM fakeoracle.all_tables"
        )
        for owner, name, key, constraint in tables.fetchall():
            table = Table(
                owner,
                name,
                tuple(columns[owner, name]),
                tuple(key),
                constraint,
                tuple(rules.get((owner, name), ())),
            )
            self._tables[owner, name] = table

    def revoke(self, revoked: Mapping[str, Collection[str]]) -> None:
        """Take privileges from users; ValueError for a user or privilege that does not exist."""
        for user, names in revoked.items():
            lost = frozenset(name.upper() for name in names)
            if user.upper() not in self.users:
                raise ValueError(f"nothing can be revoked from {user}, who is no user")
            if lost - PRIVILEGES:
                raise ValueError(
                    f"{', '.join(sorted(lost - PRIVILEGES))} cannot be revoked, only {', '.join(sorted(PRIVILEGES))}"
                )
            self._revoked[user.upper()] = lost

    def may(self, user: str, privilege: str) -> bool:
        """Tell whether a user has one of PRIVILEGES."""
        return privilege not in self._revoked.get(user, ())

    def table(self, owner: str, name: str) -> Table | None:
        """Return a table by its exact name."""
        return self._tables.get((owner, name))

    def tables(self, owner: str) -> list[Table]:
        """Return all tables of a user."""
        return [table for table in self._tables.values() if table.owner == owner]

    def clash(self, owner: str, name: str) -> Table | None:
        """Return a table whose name differs by case at most: DuckDB cannot keep both."""
        wanted = (owner, name.upper())
        return next((t for t in self._tables.values() if (t.owner, t.name.upper()) == wanted), None)

    def store(self, connection: duckdb.DuckDBPyConnection, table: Table) -> None:
        """Write a new or changed table into the side tables; the caller's transaction decides."""
        self.erase(connection, table)
        connection.execute(
            "INSERT INTO fakeoracle.all_tables VALUES (?, ?, NULL, ?, ?)",
            [table.owner, table.name, list(table.primary_key), table.constraint],
        )
        for rule in table.rules:
            row: list[object] = [
                table.owner,
                table.name,
                rule.name,
                rule.kind,
                list(rule.columns),
                rule.condition,
            ]
            connection.execute("INSERT INTO fakeoracle.rules VALUES (?, ?, ?, ?, ?, ?)", row)
        for number, column in enumerate(table.columns, 1):
            kind = column.type
            used = ("C" if kind.in_chars else "B") if kind.is_text else None
            row = [
                table.owner,
                table.name,
                column.name,
                number,
                kind.name,
                kind.length,
                kind.precision,
                kind.scale,
            ]
            row += [
                used,
                column.nullable,
                column.default,
                kind.data_length,
                kind.length if kind.is_text else 0,
                kind.shown,
            ]
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO fakeoracle.all_tab_columns VALUES ({marks})", row)

    def erase(self, connection: duckdb.DuckDBPyConnection, table: Table) -> None:
        """Remove a table from the side tables; the caller's transaction decides."""
        for side in ("all_tables", "all_tab_columns", "rules"):
            connection.execute(
                f"DELETE FROM fakeoracle.{side} WHERE owner = ? AND table_name = ?", [table.owner, table.name]
            )

    def changed(self, old: Table | None, new: Table | None) -> None:
        """Take over a change that is committed."""
        if old:
            self._tables.pop((old.owner, old.name), None)
        if new:
            self._tables[new.owner, new.name] = new
        self.version += 1

    def view(self, name: str, schema: str) -> View | None:
        """Return a dictionary view (or DUAL) by name, as the owner of `schema` sees it."""
        return dictionary.view(name, schema, sorted(self.users), self.service, self.profile)
