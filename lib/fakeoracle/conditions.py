"""Conditions: DuckDB and Oracle share the three-valued logic, not the comparisons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sqlglot import exp

from . import conversions
from . import expressions as ex
from .dictionary import literal
from .errors import OracleError, unsupported
from .expressions import Expr
from .scalars import regexp_like
from .scopes import CALL, Expressions, Scope, identifier, only

COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
}  # fmt: skip
_MOST_IN_LIST = 1000


def condition(node: Any, within: Expressions, scope: Scope) -> str:
    """Translate a condition to DuckDB text."""
    handler = _CONDITIONS.get(type(node))
    if handler is None:
        raise unsupported(f"{node.key.upper()} as a condition")
    return handler(node, within, scope)


def _paren(node: exp.Paren, within: Expressions, scope: Scope) -> str:
    return f"({within.condition(node.this, scope)})"


def _connected(node: Any, within: Expressions, scope: Scope) -> str:
    word = "AND" if isinstance(node, exp.And) else "OR"
    sides: list[str] = []
    todo = [node]
    while todo:  # a chain of ANDs or ORs is one list here, however long
        part = todo.pop()
        if type(part) is type(node):
            todo += [part.right, part.left]
        else:
            sides.append(within.condition(part, scope))
    return "(" + f" {word} ".join(sides) + ")"


def _not(node: exp.Not, within: Expressions, scope: Scope) -> str:
    return f"(NOT {within.condition(node.this, scope)})"


def _comparison(node: Any, within: Expressions, scope: Scope) -> str:
    only(node, "this", "expression")
    operator = COMPARISONS[type(node)]
    left, right = node.left, node.right
    quantified = _quantified(right)
    if quantified:
        return _any_or_all(operator, left, *quantified, within, scope)
    if isinstance(_bare(left), exp.Tuple):
        if operator not in ("=", "<>"):
            raise OracleError(1797, "this operator must be followed by ANY or ALL")
        test = _same_rows(_row(left, within, scope), _row(right, within, scope))
        return test if operator == "=" else f"(NOT {test})"
    return ex.compare(operator, within.expression(left, scope), within.expression(right, scope))


def _bare(node: Any) -> Any:
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def _row(node: Any, within: Expressions, scope: Scope) -> list[Expr]:
    node = _bare(node)
    if isinstance(node, exp.Subquery):
        raise unsupported("comparing several expressions with a subquery (IN can)")
    nodes = node.expressions if isinstance(node, exp.Tuple) else [node]
    return [within.expression(item, scope) for item in nodes]


def _same_rows(left: list[Expr], right: list[Expr]) -> str:
    if len(left) != len(right):
        raise OracleError(
            *((947, "not enough values") if len(right) < len(left) else (913, "too many values"))
        )
    return "(" + " AND ".join(ex.compare("=", a, b) for a, b in zip(left, right, strict=True)) + ")"


def _quantified(node: Any) -> tuple[str, Any] | None:
    """Return (ANY or ALL, what follows)."""
    if isinstance(node, (exp.Any, exp.All)):
        return ("ANY" if isinstance(node, exp.Any) else "ALL"), node.this
    if isinstance(node, exp.Anonymous) and str(node.this).upper() in ("ANY", "SOME", "ALL"):
        return ("ALL" if str(node.this).upper() == "ALL" else "ANY"), exp.Tuple(expressions=node.expressions)
    return None


def _any_or_all(operator: str, left: Any, word: str, right: Any, within: Expressions, scope: Scope) -> str:
    value = within.expression(left, scope)
    target = _bare(right)
    if isinstance(target, (exp.Subquery, exp.Select, exp.SetOperation)):
        return _with_rows([value], target, within, scope, operator, every=word == "ALL")
    items = target.expressions if isinstance(target, exp.Tuple) else [target]
    tests = [ex.compare(operator, value, within.expression(item, scope)) for item in items]
    return "(" + (" AND " if word == "ALL" else " OR ").join(tests) + ")"


def _with_rows(
    left: list[Expr], tree: Any, within: Expressions, scope: Scope, operator: str, *, every: bool
) -> str:
    """Compare with each row of a query: TRUE or FALSE if a row decides it, else unknown if any comparison is."""
    query = within.query(tree, scope)
    if len(query.columns) != len(left):
        raise OracleError(
            *((947, "not enough values") if len(query.columns) < len(left) else (913, "too many values"))
        )
    alias = within.new_alias()
    right = [replace(column.expr, sql=f"{alias}.c{n}") for n, column in enumerate(query.columns, 1)]
    test = " AND ".join(ex.compare(operator, a, b) for a, b in zip(left, right, strict=True))
    decided, other = ("bool_and", "TRUE") if every else ("bool_or", "FALSE")
    unknown = "count(*) FILTER (WHERE test IS NULL) > 0"
    deciding = f"NOT {decided}(test)" if every else f"{decided}(test)"
    return (
        f"(SELECT CASE WHEN {deciding} THEN {'FALSE' if every else 'TRUE'} WHEN {unknown} THEN NULL ELSE {other} END "
        f"FROM (SELECT ({test}) AS test FROM ({query.sql}) AS {alias}))"
    )


def _between(node: exp.Between, within: Expressions, scope: Scope) -> str:
    only(node, "this", "low", "high")
    value, low, high = (within.expression(node.args[key], scope) for key in ("this", "low", "high"))
    return f"({ex.compare('>=', value, low)} AND {ex.compare('<=', value, high)})"


def _in(node: exp.In, within: Expressions, scope: Scope) -> str:
    only(node, "this", "expressions", "query", "field")
    row = isinstance(_bare(node.this), exp.Tuple)
    if node.args.get("query"):
        if row:
            left = _row(node.this, within, scope)
            return _with_rows(left, node.args["query"], within, scope, "=", every=False)
        return _in_query(node, within, scope)
    items = node.expressions or [node.args["field"]]
    if row:
        left = _row(node.this, within, scope)
        return "(" + " OR ".join(_same_rows(left, _row(item, within, scope)) for item in items) + ")"
    if len(items) > _MOST_IN_LIST:
        raise OracleError(1795, "maximum number of expressions in a list is 1000")
    value = within.expression(node.this, scope)
    pairs = [ex.comparable("=", value, within.expression(item, scope)) for item in items]
    lefts = {left.sql for left, _ in pairs}
    if len(lefts) == 1 and all(right.decimal == pairs[0][1].decimal for _, right in pairs):
        return f"({lefts.pop()} IN ({', '.join(right.sql for _, right in pairs)}))"
    return "(" + " OR ".join(f"({left.sql} = {right.sql})" for left, right in pairs) + ")"


def _in_query(node: exp.In, within: Expressions, scope: Scope) -> str:
    value = within.expression(node.this, scope)
    query = within.query(node.args["query"], scope)
    if len(query.columns) != 1:
        raise OracleError(913, "too many values")
    alias = within.new_alias()
    left, right = ex.comparable("=", value, replace(query.columns[0].expr, sql=f"{alias}.c1"))
    return f"({left.sql} IN (SELECT {right.sql} FROM ({query.sql}) AS {alias}))"


def _is_null(node: exp.Is, within: Expressions, scope: Scope) -> str:
    if isinstance(node.expression, exp.Column):
        word = identifier(node.expression.this)
        if word in ("NAN", "INFINITE"):
            return conversions.is_special(within.expression(node.this, scope), word)
    if not isinstance(node.expression, exp.Null):
        raise unsupported(f"IS {node.expression.sql(dialect='oracle')}")
    return f"({within.expression(node.this, scope).sql} IS NULL)"


def _exists(node: exp.Exists, within: Expressions, scope: Scope) -> str:
    return f"EXISTS ({within.query(node.this, scope).sql})"


def _like(node: Any, within: Expressions, scope: Scope) -> str:
    escape, mark = "", ""
    if isinstance(node, exp.Escape):
        given = within.expression(node.expression, scope).constant
        if not isinstance(given, str) or len(given) != 1 or not isinstance(node.this, exp.Like):
            raise OracleError(1425, "escape character must be character string of length 1")
        mark, escape, node = given, f" ESCAPE {literal(given)}", node.this
    only(node, "this", "expression", "negate")
    left, right = (ex.as_characters(within.expression(side, scope)) for side in (node.this, node.expression))
    if mark:
        _check_escapes(right.constant, mark)
    return f"({left.sql} {'NOT ' if node.args.get('negate') else ''}LIKE {right.sql}{escape})"


def _check_escapes(pattern: Any, mark: str) -> None:
    """ORA-01424 for an escape before anything but %, _ or itself."""
    if not isinstance(pattern, str):
        return
    at = pattern.find(mark)
    while at >= 0:
        if pattern[at + 1 : at + 2] not in ("%", "_", mark):
            raise OracleError(1424, "missing or illegal character following the escape character")
        at = pattern.find(mark, at + 2)


def _named(node: exp.Anonymous, within: Expressions, scope: Scope) -> str:
    name = str(node.this).upper().removeprefix(CALL.upper())
    if name != "REGEXP_LIKE":
        raise unsupported(f"{name} as a condition")
    return regexp_like(node.expressions, within, scope)


_CONDITIONS: dict[type[exp.Expr], Callable[[Any, Expressions, Scope], str]] = {
    exp.Paren: _paren,
    exp.And: _connected,
    exp.Or: _connected,
    exp.Not: _not,
    exp.Between: _between,
    exp.In: _in,
    exp.Is: _is_null,
    exp.Exists: _exists,
    exp.Like: _like,
    exp.Escape: _like,
    exp.Anonymous: _named,
    **dict.fromkeys(COMPARISONS, _comparison),
}
