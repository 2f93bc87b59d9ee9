"""ROWNUM in WHERE: the number of rows that are let through before the conditions on it stop everything.

A row gets its ROWNUM before it is tested and keeps the number only if it passes, so what counts is the first number that
fails (SQL Language Reference, "ROWNUM Pseudocolumn").
"""

from __future__ import annotations

from typing import Any

from sqlglot import exp

from . import expressions as ex
from .conditions import COMPARISONS
from .errors import unsupported
from .scopes import Expressions, Scope, identifier

_ENDLESS = "9223372036854775807"
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_LIMITS = {  # the rows that pass ROWNUM <operator> {0}
    "<": "ceil({0}) - 1",
    "<=": "floor({0})",
    "=": "CASE WHEN {0} = 1 THEN 1 ELSE 0 END",
    "<>": "CASE WHEN {0} >= 1 AND {0} = floor({0}) THEN {0} - 1 ELSE " + _ENDLESS + " END",
    ">": "CASE WHEN {0} < 1 THEN " + _ENDLESS + " ELSE 0 END",
    ">=": "CASE WHEN {0} <= 1 THEN " + _ENDLESS + " ELSE 0 END",
}


def is_rownum(node: Any) -> bool:
    """Tell whether a node is the pseudocolumn."""
    return (
        isinstance(node, exp.Column)
        and not node.args.get("table")
        and not isinstance(node.this, exp.Star)
        and identifier(node.this) == "ROWNUM"
    )


def mentioned(*nodes: Any) -> bool:
    """Tell whether any of the nodes mentions ROWNUM, queries inside them aside."""
    return any(is_rownum(inner) for node in nodes if node for inner in _own(node))


def _own(node: exp.Expr) -> Any:
    yield node
    for child in node.iter_expressions():
        if not isinstance(child, (exp.Subquery, exp.Select, exp.SetOperation)):
            yield from _own(child)


def conjuncts(node: exp.Expr) -> list[exp.Expr]:
    """Return the conditions that a WHERE clause joins by AND."""
    out, todo = [], [node]
    while todo:
        part = todo.pop()
        if isinstance(part, exp.And):
            todo += [part.right, part.left]
        elif isinstance(part, exp.Paren) and isinstance(part.this, (exp.And, exp.Paren)):
            todo.append(part.this)
        else:
            out.append(part)
    return out


def limits(node: exp.Expr, within: Expressions, scope: Scope) -> list[str]:
    """Return the LIMITs that a condition stands for; none if it is not about ROWNUM."""
    if not mentioned(node):
        return []
    while isinstance(node, exp.Paren):
        node = node.this
    if isinstance(node, exp.Between) and is_rownum(node.this):
        low, high = node.args["low"], node.args["high"]
        return [_limit(">=", low, within, scope), _limit("<=", high, within, scope)]
    operator = COMPARISONS.get(type(node))
    if operator and isinstance(node, exp.Binary):
        left, right = node.left, node.right
        if is_rownum(right):
            left, right, operator = right, left, _MIRRORED.get(operator, operator)
        if is_rownum(left):
            return [_limit(operator, right, within, scope)]
    raise unsupported("ROWNUM in a condition of this form")


def _limit(operator: str, node: exp.Expr, within: Expressions, scope: Scope) -> str:
    if any(isinstance(inner, exp.Column) for inner in _own(node)):
        raise unsupported("ROWNUM compared with a column")
    bound = ex.as_number(within.expression(node, scope))
    if not bound.decimal:
        raise unsupported("ROWNUM compared with this kind of number")
    number = f"CAST({bound.sql} AS DECIMAL(38, {bound.decimal[1]}))"
    limit = _LIMITS[operator].format(number)
    return f"CAST(least(greatest(CASE WHEN {bound.sql} IS NULL THEN 0 ELSE {limit} END, 0), {_ENDLESS}) AS BIGINT)"


def smallest(found: list[str]) -> str | None:
    """Return the LIMIT that all conditions together set."""
    if not found:
        return None
    return found[0] if len(found) == 1 else f"least({', '.join(found)})"
