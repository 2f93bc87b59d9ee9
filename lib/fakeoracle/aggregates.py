"""Aggregate and window functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from sqlglot import exp

from . import expressions as ex
from .errors import OracleError, unsupported
from .expressions import Expr
from .scopes import Expressions, Scope, only
from .types import COUNT, NUMBER, text_type

_RANKS: dict[type[exp.Expr], str] = {
    exp.RowNumber: "row_number", exp.Rank: "rank", exp.DenseRank: "dense_rank",
}  # fmt: skip
_PLACED: dict[type[exp.Expr], str] = {
    exp.Lag: "lag", exp.Lead: "lead", exp.FirstValue: "first_value", exp.LastValue: "last_value",
}  # fmt: skip
_AGGREGATES = (exp.Count, exp.Sum, exp.Avg, exp.Min, exp.Max, exp.GroupConcat)
_LISTED = 4000


def count(node: exp.Count, within: Expressions, scope: Scope, over: str = "") -> Expr:
    """COUNT of rows, of values, or of different values."""
    only(node, "this", "big_int")
    inner = node.this
    if isinstance(inner, exp.Star):
        sql = "count(*)"
    elif isinstance(inner, exp.Distinct):
        sql = f"count(DISTINCT {ex.sort_key(_distinct_operand(inner, within, scope))})"
    else:
        sql = f"count({within.expression(inner, scope).sql})"
    return Expr(f"CAST({sql}{over} AS DECIMAL(19, 0))", COUNT, (19, 0))


def _distinct_operand(node: exp.Distinct, within: Expressions, scope: Scope) -> Expr:
    only(node, "expressions")
    if len(node.expressions) != 1:
        raise OracleError(909, "invalid number of arguments")
    return within.expression(node.expressions[0], scope)


def aggregate(node: exp.Expr, within: Expressions, scope: Scope, over: str = "") -> Expr:
    """SUM, AVG, MIN or MAX; with `over` as a window function."""
    only(node, "this")
    different = isinstance(node.this, exp.Distinct)
    value = _distinct_operand(node.this, within, scope) if different else within.expression(node.this, scope)
    if isinstance(node, (exp.Min, exp.Max)):
        key = ex.sort_key(value)
        best = f"arg_{node.key}({value.sql}, {key})" if value.is_national else f"{node.key}({value.sql})"
        return replace(value, sql=f"{best}{over}", nullable=True, constant=None, bind=None)
    if value.is_datetime:
        raise OracleError(932, "inconsistent datatypes: expected NUMBER got DATE")
    if value.type is not None and value.is_binary_number:
        return _of_binary(node, value, over, different=different)
    if different:
        if over:
            raise unsupported(f"{node.key.upper()}(DISTINCT ...) OVER")
        total, values = _sum_of_different(value)
    else:
        total, values = ex.summed(value, over), value.sql
    if isinstance(node, exp.Sum):
        return total
    counted = Expr(f"nullif(count({values}){over}, 0)", NUMBER, (19, 0))
    return ex.divided(total, counted)


def _of_binary(node: exp.Expr, value: Expr, over: str, *, different: bool) -> Expr:
    """SUM and AVG of BINARY_FLOAT and BINARY_DOUBLE, as IEEE 754 has them."""
    if different:
        raise unsupported(f"{node.key.upper()}(DISTINCT ...) of BINARY_FLOAT and BINARY_DOUBLE")
    if isinstance(node, exp.Sum):
        return ex.summed(value, over)
    assert value.type is not None
    sql = f"CAST(avg({value.sql}){over} AS {value.type.storage})"
    return replace(value, sql=sql, nullable=True, constant=None, bind=None)


def _sum_of_different(value: Expr) -> tuple[Expr, str]:
    number = ex.as_number(value)
    if not number.decimal:
        raise unsupported("SUM or AVG(DISTINCT ...) of a NUMBER without declared precision")
    scale = number.decimal[1]
    total = Expr(f"CAST(sum(DISTINCT {number.sql}) AS DECIMAL(38, {scale}))", NUMBER, (38, scale))
    return total, f"DISTINCT {number.sql}"


def listagg(node: exp.GroupConcat, within: Expressions, scope: Scope) -> Expr:
    """LISTAGG(text, separator) WITHIN GROUP (ORDER BY ...): NULL values are left out."""
    only(node, "this", "separator")
    if not isinstance(node.this, exp.Order) or isinstance(node.this.this, exp.Distinct):
        raise unsupported("LISTAGG without WITHIN GROUP, or of DISTINCT values")
    value = within.expression(node.this.this, scope)
    if value.is_national or value.kind == "raw":
        raise unsupported(f"LISTAGG of {value.shown}")
    value = ex.as_text(value)
    separator = within.expression(node.args["separator"], scope) if node.args.get("separator") else ex.NULL
    keys = ", ".join(within.sort_key(key, scope) for key in node.this.expressions)
    mark = "''" if separator.type is None else ex.as_text(separator).sql
    return Expr(f"text_joined(string_agg({value.sql}, {mark} ORDER BY {keys}))", text_type(_LISTED))


def window(node: exp.Window, within: Expressions, scope: Scope) -> Expr:
    """A function OVER a window."""
    if str(node.args.get("over")) != "OVER":
        raise unsupported(str(node.args.get("over")))
    only(node, "this", "partition_by", "order", "over", "spec")
    function, order = node.this, node.args.get("order")
    parts = []
    if node.args.get("partition_by"):
        keys = ", ".join(ex.sort_key(within.expression(key, scope)) for key in node.args["partition_by"])
        parts.append(f"PARTITION BY {keys}")
    if order:
        parts.append("ORDER BY " + ", ".join(within.sort_key(key, scope) for key in order.expressions))
    frame = _frame(node.args.get("spec"), within, scope)
    if frame and not order:
        raise OracleError(30485, "missing ORDER BY expression in the window specification")
    over = f" OVER ({' '.join([*parts, *frame])})"
    kind = type(function)
    if kind in _RANKS or kind in (exp.Lag, exp.Lead):
        if not order:
            raise OracleError(30485, "missing ORDER BY expression in the window specification")
        if frame:
            raise OracleError(907, "missing right parenthesis")
    if kind in _RANKS:
        return Expr(f"CAST({_RANKS[kind]}(){over} AS DECIMAL(19, 0))", NUMBER, (19, 0), nullable=False)
    if kind in _PLACED:
        return _placed(function, within, scope, over)
    if isinstance(function, exp.Count):
        return count(function, within, scope, over)
    if isinstance(function, (exp.Sum, exp.Avg, exp.Min, exp.Max)):
        return aggregate(function, within, scope, over)
    raise unsupported(f"{function.key.upper()} OVER")


def _placed(function: Any, within: Expressions, scope: Scope, over: str) -> Expr:
    """LAG, LEAD, FIRST_VALUE and LAST_VALUE."""
    only(function, "this", "offset", "default")
    value = within.expression(function.this, scope)
    if value.is_lob:
        raise unsupported(f"{function.key.upper()} of a {value.shown}")
    arguments = [value.sql]
    if isinstance(function, (exp.Lag, exp.Lead)) and function.args.get("offset"):
        offset = within.expression(function.args["offset"], scope).constant
        if not isinstance(offset, Decimal) or offset < 0 or offset != int(offset):
            raise unsupported(f"{function.key.upper()} with an offset that is not a whole number in the SQL")
        arguments.append(str(int(offset)))
        if function.args.get("default"):
            value, default = ex.unified([value, within.expression(function.args["default"], scope)])
            arguments = [value.sql, arguments[1], default.sql]
    sql = f"{_PLACED[type(function)]}({', '.join(arguments)}){over}"
    return replace(value, sql=sql, nullable=True, constant=None, bind=None)


def _frame(spec: Any, within: Expressions, scope: Scope) -> list[str]:
    """Return a frame: any of ROWS, and of RANGE those without a number."""
    if spec is None:
        return []
    only(spec, "kind", "start", "start_side", "end", "end_side")
    rows = str(spec.args["kind"]).upper() == "ROWS"
    bounds = [_bound(spec.args["start"], spec.args.get("start_side"), within, scope, numbers=rows)]
    if spec.args.get("end"):
        bounds.append(_bound(spec.args["end"], spec.args.get("end_side"), within, scope, numbers=rows))
    else:
        bounds.append("CURRENT ROW")
    return [f"{'ROWS' if rows else 'RANGE'} BETWEEN {bounds[0]} AND {bounds[1]}"]


def _bound(place: Any, side: Any, within: Expressions, scope: Scope, *, numbers: bool) -> str:
    if isinstance(place, str):
        return place.upper() if not side else f"{place.upper()} {str(side).upper()}"
    count = within.expression(place, scope).constant
    if not numbers or not isinstance(count, Decimal) or count < 0 or count != int(count):
        raise unsupported("a window frame with anything but ROWS and whole numbers")
    return f"{int(count)} {str(side).upper()}"


def outside(nodes: list[exp.Expr]) -> tuple[bool, list[exp.Column]]:
    """Return whether any of the nodes has an aggregate function, and the columns outside of these; queries inside are passed over."""
    found, columns, todo = False, [], list(nodes)
    while todo:
        node = todo.pop()
        if isinstance(node, _AGGREGATES) and not isinstance(node.parent, exp.Window):
            found = True
        elif isinstance(node, exp.Column):
            columns.append(node)
        elif not isinstance(node, exp.Query):
            todo += node.iter_expressions()
    return found, columns


Handler = Callable[[Any, Expressions, Scope], Expr]
FUNCTIONS: dict[type[exp.Expr], Handler] = {
    exp.Count: count,
    exp.Sum: aggregate,
    exp.Avg: aggregate,
    exp.Min: aggregate,
    exp.Max: aggregate,
    exp.GroupConcat: listagg,
    exp.Window: window,
}
