"""What a query block knows while it is translated, and what a translated query is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from sqlglot import exp

from .errors import unsupported
from .expressions import Expr
from .ttc import Described
from .types import OracleType
from .undo import Moment

CALL = "f$"  # what the names of scalar functions begin with once a statement is rewritten for sqlglot


@dataclass(frozen=True)
class OutColumn:
    """A column of a query's result."""

    name: str
    expr: Expr

    @property
    def type(self) -> OracleType | None:
        """Its type; None if it is always NULL."""
        return self.expr.type

    @property
    def nullable(self) -> bool:
        """Whether it may be NULL."""
        return self.expr.nullable


@dataclass(frozen=True)
class Query:
    """A translated query: DuckDB text whose columns are c1, c2, ...

    Of a whole statement it is also known what moments its tables are read AS OF, and whether any is read as it is `now`.
    """

    sql: str
    columns: list[OutColumn]
    moments: tuple[Moment, ...] = ()
    now: bool = True

    @property
    def described(self) -> list[Described]:
        """Its columns as a client is told of them."""
        return [Described(column.name, column.type, column.nullable) for column in self.columns]


@dataclass
class Relation:
    """Something in a FROM clause: its Oracle name, its columns, and the owner of a table that has no alias.

    `merged` names columns that a join has taken over (USING): they are found without the relation's name only there.
    `rowid` is the pseudocolumn ROWID of a table.
    """

    name: str
    columns: list[tuple[str, Expr]]
    owner: str = ""
    merged: frozenset[str] = frozenset()
    rowid: Expr | None = None

    def find(self, name: str) -> list[Expr]:
        """Return the columns of that name, or the pseudocolumn ROWID."""
        if name == "ROWID" and self.rowid:
            return [self.rowid]
        return [expr for column, expr in self.columns if column == name]

    def make_optional(self) -> None:
        """Let every column be NULL, as an outer join does."""
        self.columns = [(name, replace(expr, nullable=True)) for name, expr in self.columns]
        self.rowid = self.rowid and replace(self.rowid, nullable=True)


@dataclass
class Scope:
    """Where a column name is looked up: the relations of one query block, then those around it.

    `pseudo` holds ROWNUM and LEVEL where the block has them.
    """

    relations: list[Relation] = field(default_factory=list)
    parent: Scope | None = None
    queries: dict[str, Query] = field(default_factory=dict)
    pseudo: dict[str, str] = field(default_factory=dict)

    def query_named(self, name: str) -> Query | None:
        """Return a WITH query."""
        found = self.queries.get(name)
        return found if found or not self.parent else self.parent.query_named(name)


class Expressions(Protocol):
    """What translating a function needs of the translator around it."""

    schema: str
    user: str
    service: str
    users: list[str]
    client: Mapping[str, str]

    def expression(self, node: Any, scope: Scope) -> Expr:
        """Translate an expression."""

    def condition(self, node: Any, scope: Scope) -> str:
        """Translate a condition."""

    def query(self, tree: exp.Expr, scope: Scope | None = None) -> Query:
        """Translate a query block inside `scope`."""

    def sort_key(self, node: exp.Ordered, scope: Scope) -> str:
        """Translate one key of ORDER BY inside an expression."""

    def new_alias(self) -> str:
        """Return a name for a derived table."""


def identifier(node: Any) -> str:
    """Return an identifier as Oracle stores it."""
    name = str(node.name)
    return name if node.args.get("quoted") else name.upper()


def only(node: exp.Expr, *allowed: str) -> None:
    """Refuse a node that carries anything but `allowed`."""
    for key, value in node.args.items():
        if value not in (None, False, []) and key not in allowed:
            what = "FOR UPDATE" if key == "locks" else key.strip("_").upper()
            raise unsupported(f"{what} in {node.key.upper()}")
