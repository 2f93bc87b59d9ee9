"""UNIQUE and CHECK, looked at before rows are changed: DuckDB has no savepoints, so nothing may fail afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import duckdb

from .catalogue import Column, Rule, Table, quote
from .errors import OracleError
from .expressions import Expr
from .scopes import Relation, Scope
from .sql import statement
from .translate import Translator

Condition = Callable[[Rule, Relation], str]


def condition_of(translator: Callable[..., Translator]) -> Condition:
    """Return what translates the condition of a CHECK for a relation that holds the rows."""

    def translate(rule: Rule, relation: Relation) -> str:
        stmt = statement(f"SELECT 1 FROM DUAL WHERE {rule.condition}")
        return translator(stmt, []).condition(stmt.tree().args["where"].this, Scope([relation]))

    return translate


def check_rows(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    rows: str,
    condition: Condition,
    *,
    others: str = "",
    changed: Sequence[Column] | None = None,
) -> None:
    """Check the rows of the query `rows` (a whole row each, columns named as in the table) against the table's rules.

    `others` is a query for the rows they must differ from; `changed` are the columns that an UPDATE sets (None: all).
    Raises ORA-00001 or ORA-02290.
    """
    names = {column.name for column in table.columns if changed is None or column in changed}
    for rule in table.rules:
        if rule.columns and not names & set(rule.columns):
            continue
        if rule.kind == "C":
            _check(connection, table, rows, rule, condition)
        elif _twice(connection, rows, rule.columns) or (
            others and _there(connection, rows, others, rule.columns)
        ):
            raise OracleError(1, f"unique constraint ({table.owner}.{rule.name}) violated")


def _check(
    connection: duckdb.DuckDBPyConnection, table: Table, rows: str, rule: Rule, condition: Condition
) -> None:
    columns = [
        (c.name, Expr(f"n.{quote(c.name)}", c.type, c.type.decimal, nullable=c.nullable))
        for c in table.columns
    ]
    test = condition(rule, Relation(table.name, columns))
    if connection.execute(f"SELECT 1 FROM ({rows}) AS n WHERE NOT ({test}) LIMIT 1").fetchall():
        raise OracleError(2290, f"check constraint ({table.owner}.{rule.name}) violated")


def _given(columns: Sequence[str], alias: str) -> str:
    """Rows whose key is NULL throughout break no UNIQUE (SQL Language Reference, "constraint")."""
    return "(" + " OR ".join(f"{alias}.{quote(name)} IS NOT NULL" for name in columns) + ")"


def _twice(connection: duckdb.DuckDBPyConnection, rows: str, columns: Sequence[str]) -> bool:
    key = ", ".join(quote(name) for name in columns)
    sql = (
        f"SELECT 1 FROM ({rows}) AS n WHERE {_given(columns, 'n')} GROUP BY {key} HAVING count(*) > 1 LIMIT 1"
    )
    return bool(connection.execute(sql).fetchall())


def _there(connection: duckdb.DuckDBPyConnection, rows: str, others: str, columns: Sequence[str]) -> bool:
    same = " AND ".join(f"n.{quote(name)} IS NOT DISTINCT FROM o.{quote(name)}" for name in columns)
    sql = f"SELECT 1 FROM ({rows}) AS n JOIN ({others}) AS o ON {same} WHERE {_given(columns, 'n')} LIMIT 1"
    return bool(connection.execute(sql).fetchall())
