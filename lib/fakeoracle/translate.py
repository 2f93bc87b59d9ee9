"""Oracle queries and conditions to DuckDB SQL, node by node.

Only node types that are known to mean the same, or are rewritten so that they do, are let through; everything else is
ORA-03001. Every output column is named c1, c2, ... so that no name of the client's meets DuckDB's own rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from sqlglot import exp

from . import conversions, moments
from . import expressions as ex
from .catalogue import ROW_NUMBER, Catalogue, Table, literal, quote
from .ddl import type_named
from .errors import OracleError, unsupported
from .expressions import Expr
from .sql import Statement
from .ttc import CLIENT_CONTEXT, Described
from .types import COUNT, DATE, NUMBER, ROWID, ZONED, OracleType, text_type
from .undo import Moment, as_of

_STRFTIME = {
    "YYYY": "%Y",
    "MM": "%m",
    "DD": "%d",
    "HH24": "%H",
    "MI": "%M",
    "SS": "%S",
    "FF3": "%g",
    "FF6": "%f",
}
_LENGTHS = {"YYYY": 4, "FF3": 3, "FF6": 6}
_FORMAT_PART = re.compile(r'YYYY|MM|DD|HH24|MI|SS|FF3|FF6|"[^"]*"|[^A-Za-z0-9"]', re.IGNORECASE)
_PARSE_PART = re.compile(r"%[YmdHMS]|[^%A-Za-z0-9]")
_COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
}  # fmt: skip
_ARGUMENTS: dict[
    type[exp.Expr], tuple[str, ...]
] = {  # what a node may carry, where it is not this and expression
    exp.Literal: ("this", "is_string"),
    exp.Column: ("this", "table", "db"),
    exp.DPipe: ("this", "expression", "safe"),
    exp.Round: ("this", "decimals"),
    exp.Trunc: ("this", "decimals"),
    exp.Nvl2: ("this", "true", "false"),
    exp.Replace: ("this", "expression", "replacement"),
    exp.StrPosition: ("this", "substr"),
    exp.Pad: ("this", "expression", "fill_pattern", "is_left"),
    exp.Greatest: ("this", "expressions", "ignore_nulls"),
    exp.Least: ("this", "expressions", "ignore_nulls"),
    exp.AtTimeZone: ("this", "zone"),
    exp.Case: ("this", "ifs", "default"),
    exp.DecodeCase: ("expressions",),
    exp.Coalesce: ("this", "expressions", "is_nvl"),
    exp.Count: ("this", "big_int"),
    exp.Window: ("this", "partition_by", "order", "over"),
    exp.Trim: ("this", "expression", "position"),
    exp.Substring: ("this", "start", "length"),
    exp.ToChar: ("this", "format"),
    exp.TimeToStr: ("this", "format"),
    exp.StrToDate: ("this", "format"),
    exp.StrToTime: ("this", "format"),
    exp.CurrentTimestamp: ("sysdate",),
    exp.Anonymous: ("this", "expressions"),
    exp.DateTrunc: ("this", "unit"),
    exp.TimestampTrunc: ("this", "unit"),
    exp.Between: ("this", "low", "high"),
    exp.In: ("this", "expressions", "query"),
    exp.Like: ("this", "expression", "negate"),
}
_WINDOW_FUNCTIONS: dict[type[exp.Expr], str] = {
    exp.RowNumber: "row_number", exp.Rank: "rank", exp.DenseRank: "dense_rank",
}  # fmt: skip


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
    """Something in a FROM clause: its Oracle name and its columns."""

    name: str
    columns: list[tuple[str, Expr]]
    rowid: Expr | None = None

    def find(self, name: str) -> list[Expr]:
        """Return the columns of that name, or the pseudocolumn ROWID."""
        if name == "ROWID" and self.rowid:
            return [self.rowid]
        return [expr for column, expr in self.columns if column == name]


@dataclass
class Scope:
    """Where a column name is looked up: the relations of one query block, then those around it."""

    relations: list[Relation] = field(default_factory=list)
    parent: Scope | None = None
    queries: dict[str, Query] = field(default_factory=dict)
    rownum: str | None = None

    def query_named(self, name: str) -> Query | None:
        """Return a WITH query."""
        found = self.queries.get(name)
        return found if found or not self.parent else self.parent.query_named(name)


def identifier(node: Any) -> str:
    """Return an identifier as Oracle stores it."""
    name = str(node.name)
    return name if node.args.get("quoted") else name.upper()


def only(node: exp.Expr, *allowed: str) -> None:
    """Refuse a node that carries anything but `allowed`."""
    for key, value in node.args.items():
        if value not in (None, False, []) and key not in allowed:
            raise unsupported(f"{key.strip('_').upper()} in {node.key.upper()}")


class Translator:
    """Translates the trees of one statement; `binds` are its bind variables in the order they occur."""

    def __init__(
        self,
        stmt: Statement,
        catalogue: Catalogue,
        schema: str,
        user: str,
        binds: Sequence[Expr],
        client: Mapping[str, str],
    ) -> None:
        self._stmt = stmt
        self._client = client
        self._catalogue = catalogue
        self._schema = schema
        self._user = user
        self._binds = binds
        self._aliases = 0
        self.moments: list[Moment] = []
        self._now = False
        self._functions: dict[type[exp.Expr], Callable[[Any, Scope], Expr]] = {
            exp.Literal: self._literal,
            exp.RawString: self._literal,
            exp.National: lambda node, scope: ex.national_literal(str(node.this)),
            exp.Extract: self._extract,
            exp.AtTimeZone: self._at_time_zone,
            exp.Nanvl: lambda node, scope: conversions.nanvl(*self._both(node, scope)),
            exp.Null: lambda node, scope: ex.NULL,
            exp.Placeholder: self._placeholder,
            exp.Column: self._column,
            exp.Dot: self._package,
            exp.Paren: lambda node, scope: self.expression(node.this, scope),
            exp.Neg: lambda node, scope: ex.negated(self.expression(node.this, scope)),
            exp.Add: self._add,
            exp.Sub: self._add,
            exp.Mul: lambda node, scope: ex.multiplied(*self._both(node, scope)),
            exp.Div: lambda node, scope: ex.divided(*self._both(node, scope)),
            exp.DPipe: lambda node, scope: ex.concatenated(*self._both(node, scope)),
            exp.Mod: lambda node, scope: self._numeric("number_mod", *self._both(node, scope)),
            exp.Round: lambda node, scope: self._at_digit(
                "number_round", node.this, node.args.get("decimals"), scope
            ),
            exp.Trunc: lambda node, scope: self._trunc(
                [node.this, *([node.args["decimals"]] if node.args.get("decimals") else [])], scope
            ),
            exp.Abs: self._absolute,
            exp.Nvl2: self._nvl2,
            exp.Replace: self._replace,
            exp.StrPosition: self._position,
            exp.Pad: self._pad,
            exp.Greatest: self._extreme,
            exp.Least: self._extreme,
            exp.TimeToStr: self._time_to_text,
            exp.Case: self._case,
            exp.DecodeCase: self._decode,
            exp.Coalesce: self._coalesce,
            exp.Nullif: self._nullif,
            exp.Count: self._count,
            exp.Sum: lambda node, scope: self._aggregate(node, scope, ""),
            exp.Avg: lambda node, scope: self._aggregate(node, scope, ""),
            exp.Min: lambda node, scope: self._aggregate(node, scope, ""),
            exp.Max: lambda node, scope: self._aggregate(node, scope, ""),
            exp.Window: self._window,
            exp.Upper: lambda node, scope: self._letters("upper", node, scope),
            exp.Lower: lambda node, scope: self._letters("lower", node, scope),
            exp.Trim: self._trim,
            exp.Substring: self._substring,
            exp.Length: self._length,
            exp.ToChar: self._to_char,
            exp.ToNumber: self._to_number,
            exp.StrToDate: self._to_date,
            exp.DateStrToDate: self._date_literal,
            exp.StrToTime: self._timestamp_literal,
            exp.CurrentTimestamp: self._sysdate,
            exp.CurrentUser: self._current_user,
            exp.Subquery: self._scalar,
            exp.Anonymous: self._anonymous,
            exp.DateTrunc: self._truncated_date,
            exp.TimestampTrunc: self._truncated_date,
        }

    # --- queries -----------------------------------------------------------------------------------------------------

    def query(self, tree: exp.Expr, scope: Scope | None = None) -> Query:
        """Translate a query block; `scope` is what surrounds it."""
        if isinstance(tree, exp.Subquery):
            only(tree, "this")
            return self.query(tree.this, scope)
        if isinstance(tree, exp.Select):
            return self._select(tree, scope)
        if isinstance(tree, exp.SetOperation):
            return self._set_operation(tree, scope)
        raise unsupported(tree.key.upper())

    def top(self, tree: exp.Expr) -> Query:
        """Translate the statement's own query; unnamed columns take the text of their expression."""
        query = replace(self.query(tree), moments=tuple(self.moments), now=self._now)
        first = tree
        while isinstance(first, (exp.SetOperation, exp.Subquery)):
            first = first.this
        items = first.expressions
        headings = self._stmt.headings()
        if len(items) != len(query.columns) or len(headings) != len(items):
            return query
        named = [
            column if isinstance(item, (exp.Alias, exp.Column)) else replace(column, name=heading)
            for column, item, heading in zip(query.columns, items, headings, strict=True)
        ]
        return replace(query, columns=named)

    def _select(self, tree: exp.Select, outer: Scope | None) -> Query:
        only(
            tree, "expressions", "from_", "joins", "where", "group", "having", "order", "limit", "offset",
            "distinct", "with_", "hint",
        )  # fmt: skip
        scope = Scope(parent=outer)
        if tree.args.get("with_"):
            self._with(tree.args["with_"], scope)
        source = self._from(tree, scope)
        where, limit = self._where(tree, scope)
        if limit is not None or self._mentions_rownum(tree):
            source = self._numbered(source, where, limit, scope)
            where = ""
        columns = self._select_list(tree, scope)
        listed = ", ".join(f"{column.expr.sql} AS c{number}" for number, column in enumerate(columns, 1))
        distinct = self._distinct(tree, columns)
        parts = [f"SELECT {distinct}{listed} FROM {source}", where, self._group(tree, scope)]
        if tree.args.get("having"):
            parts.append(f"HAVING {self.condition(tree.args['having'].this, scope)}")
        parts += [self._order(tree, scope, columns), self._limit(tree, scope)]
        out = [
            OutColumn(c.name, replace(c.expr, sql=f"c{number}", constant=None, bind=None))
            for number, c in enumerate(columns, 1)
        ]
        return Query(" ".join(part for part in parts if part), out)

    def _with(self, node: exp.With, scope: Scope) -> None:
        only(node, "expressions")
        for cte in node.expressions:
            only(cte, "this", "alias")
            query = self.query(cte.this, scope)
            scope.queries[identifier(cte.args["alias"].this)] = self._renamed(query, cte.args["alias"])

    def _renamed(self, query: Query, alias: exp.TableAlias | None) -> Query:
        names = alias.args.get("columns") if alias else None
        if not names:
            return query
        columns = [
            replace(column, name=identifier(name)) for column, name in zip(query.columns, names, strict=True)
        ]
        return Query(query.sql, columns)

    def _distinct(self, tree: exp.Select, columns: list[OutColumn]) -> str:
        distinct = tree.args.get("distinct")
        if not distinct:
            return ""
        only(distinct)
        for column in columns:
            ex.sort_key(column.expr)
        if not any(column.type and column.type.name == ZONED for column in columns):
            return "DISTINCT "
        return f"DISTINCT ON ({', '.join(moments.instant(column.expr) for column in columns)}) "

    def _set_operation(self, tree: exp.SetOperation, outer: Scope | None) -> Query:
        only(tree, "this", "expression", "distinct", "order", "limit", "offset", "with_")
        scope = Scope(parent=outer)
        if tree.args.get("with_"):
            self._with(tree.args["with_"], scope)
        name = {exp.Union: "UNION", exp.Intersect: "INTERSECT", exp.Except: "EXCEPT"}.get(type(tree))
        every = not tree.args.get("distinct")
        if name is None or (every and name != "UNION"):
            raise unsupported(tree.key.upper())
        left, right = self.query(tree.this, scope), self.query(tree.expression, scope)
        if len(left.columns) != len(right.columns):
            raise OracleError(1789, "query block has incorrect number of result columns")
        sides: list[list[str]] = [[], []]
        columns = []
        for number, (a, b) in enumerate(zip(left.columns, right.columns, strict=True), 1):
            common = ex.unified([a.expr, b.expr])
            if not every:
                ex.group_key(common[0], name)
            for side, expr in zip(sides, common, strict=True):
                side.append(f"{expr.sql} AS c{number}")
            columns.append(OutColumn(a.name, replace(common[0], sql=f"c{number}", nullable=True)))
        texts = [
            f"(SELECT {', '.join(side)} FROM ({query.sql}))"
            for side, query in zip(sides, (left, right), strict=True)
        ]
        sql = f" {name}{' ALL' if every else ''} ".join(texts)
        alias = self._alias()
        order = self._order(tree, Scope([Relation("", [])]), columns)
        return Query(f"SELECT * FROM ({sql}) AS {alias} {order} {self._limit(tree, scope)}", columns)

    def _alias(self) -> str:
        self._aliases += 1
        return f"r{self._aliases}"

    # --- FROM --------------------------------------------------------------------------------------------------------

    def _from(self, tree: exp.Select, scope: Scope) -> str:
        start = tree.args.get("from_")
        if start is None:
            raise OracleError(923, "FROM keyword not found where expected", len(self._stmt.text.encode()))
        only(start, "this")
        parts = [self._source(start.this, scope, optional=False)]
        parts += [self._join(join, scope) for join in tree.args.get("joins") or []]
        return " ".join(parts)

    def _join(self, join: exp.Join, scope: Scope) -> str:
        only(join, "this", "side", "kind", "on")
        side, kind = str(join.args.get("side") or "").upper(), str(join.args.get("kind") or "").upper()
        if side not in ("", "LEFT", "RIGHT", "FULL") or kind not in ("", "INNER", "OUTER", "CROSS"):
            raise unsupported(f"{side} {kind} JOIN")
        if side in ("RIGHT", "FULL"):
            for relation in scope.relations:
                _make_optional(relation)
        source = self._source(join.this, scope, optional=side in ("LEFT", "FULL"))
        if join.args.get("on") is None:
            if side or kind == "INNER":
                raise OracleError(905, "missing keyword")
            return f"CROSS JOIN {source}"
        return f"{side or 'INNER'} JOIN {source} ON {self.condition(join.args['on'], scope)}"

    def _source(self, node: exp.Expr, scope: Scope, *, optional: bool) -> str:
        """Add one table, view or inline view to the scope; return its DuckDB text."""
        alias = self._alias()
        if isinstance(node, exp.Subquery):
            only(node, "this", "alias")
            outer = Scope(
                parent=scope.parent, queries=scope.queries
            )  # an inline view does not see its neighbours
            query = self._renamed(self.query(node.this, outer), node.args.get("alias"))
            relation, sql = self._of_query("", query, alias), f"({query.sql}) AS {alias}"
        elif isinstance(node, exp.Table):
            relation, sql = self._table(node, scope, alias)
        else:
            raise unsupported(f"{node.key.upper()} in FROM")
        if node.args.get("alias"):
            relation.name = identifier(node.args["alias"].this)
        if optional:
            _make_optional(relation)
        scope.relations.append(relation)
        return sql

    def _of_query(self, name: str, query: Query, alias: str) -> Relation:
        return Relation(
            name, [(c.name, replace(c.expr, sql=f"{alias}.c{n}")) for n, c in enumerate(query.columns, 1)]
        )

    def _table(self, node: exp.Table, scope: Scope, alias: str) -> tuple[Relation, str]:
        only(node, "this", "db", "alias", "version")
        past = node.args.get("version")
        if not isinstance(node.this, exp.Identifier):
            raise unsupported(f"{node.this.key.upper()} in FROM")
        name = identifier(node.this)
        if not node.args.get("db"):
            query = scope.query_named(name)
            if query and past:
                raise unsupported("AS OF on a WITH query")
            if query:
                return self._of_query(name, query, alias), f"({query.sql}) AS {alias}"
        table = self.find_table(node, must=False)
        if table and past:
            return self.relation(table, alias), f"{self._as_of(table, past)} AS {alias}"
        if table:
            self._now = True
            return self.relation(table, alias), f"{table.physical} AS {alias}"
        owner = identifier(node.args["db"]) if node.args.get("db") else "SYS"
        view = self._catalogue.view(name, self._schema) if owner in ("SYS", "PUBLIC") else None
        if view is None or not self._catalogue.may(self._user, name):
            raise self._no_table(node)
        if past:
            raise unsupported(f"AS OF on {name}")
        columns, listed = [], []
        for number, (column, kind, sql) in enumerate(view.columns, 1):
            whole = kind.is_number
            listed.append(f"CAST({sql} AS {'DECIMAL(10, 0)' if whole else kind.storage}) AS c{number}")
            columns.append((column, Expr(f"{alias}.c{number}", kind, (10, 0) if whole else None)))
        return Relation(name, columns), f"(SELECT {', '.join(listed)} FROM {view.source} AS v) AS {alias}"

    def _as_of(self, table: Table, version: exp.Version) -> str:
        """Return the rows of a table as of an SCN, which neither a column nor a subquery may give (SQL Language Reference)."""
        if str(version.this).upper() != "SCN" or version.args.get("kind") != "AS OF":
            raise unsupported(f"{version.args.get('kind')} {version.this} (flashback query)")
        if table.owner != self._user and not self._catalogue.may(self._user, "FLASHBACK"):
            raise OracleError(1031, "insufficient privileges")
        if version.expression.find(exp.Query):
            raise unsupported("a subquery in AS OF SCN")
        parameter = f"scn{len(self.moments)}"
        self.moments.append(Moment(parameter, table, self.expression(version.expression, Scope())))
        return as_of(table, parameter)

    def relation(self, table: Table, alias: str) -> Relation:
        """Return a table as a relation, without adding it anywhere."""
        rowid = Expr(f"({table.number << 40} + {alias}.{quote(ROW_NUMBER)})", ROWID, nullable=False)
        return Relation(
            table.name,
            [
                (c.name, Expr(f"{alias}.{quote(c.name)}", c.type, c.type.decimal, nullable=c.nullable))
                for c in table.columns
            ],
            rowid,
        )

    def find_table(self, node: exp.Table, *, must: bool = True) -> Table | None:
        """Return the table a node names; ORA-00942 if it must exist and does not."""
        owner = identifier(node.args["db"]) if node.args.get("db") else self._schema
        table = self._catalogue.table(owner, identifier(node.this))
        if table and table.owner != self._user and not self._catalogue.may(self._user, "SELECT ANY TABLE"):
            table = None
        if table is None and must:
            raise self._no_table(node)
        return table

    def _no_table(self, node: exp.Table) -> OracleError:
        return OracleError(942, "table or view does not exist", self._stmt.place(node.this))

    # --- WHERE and ROWNUM --------------------------------------------------------------------------------------------

    def _where(self, tree: exp.Select, scope: Scope) -> tuple[str, str | None]:
        """Return the WHERE clause and, taken out of it, the limit that ROWNUM sets."""
        where = tree.args.get("where")
        if where is None:
            return "", None
        kept, limits = [], []
        for part in _conjuncts(where.this):
            limit = self._rownum_limit(part, scope)
            if limit is None:
                kept.append(self.condition(part, scope))
            else:
                limits.append(limit)
        if len(limits) > 1:
            raise unsupported("more than one condition on ROWNUM")
        return ("WHERE " + " AND ".join(kept) if kept else ""), (limits[0] if limits else None)

    def _rownum_limit(self, node: exp.Expr, scope: Scope) -> str | None:
        """Return the LIMIT a condition on ROWNUM stands for; None if it is about something else."""
        operator = _COMPARISONS.get(type(node))
        if (
            operator is None
            or not isinstance(node, exp.Binary)
            or not any(_is_rownum(side) for side in (node.left, node.right))
        ):
            return None
        left, right = node.left, node.right
        if _is_rownum(right):
            left, right = right, left
            operator = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(operator, operator)
        bound = ex.as_number(self.expression(right, scope))
        if not bound.decimal:
            raise unsupported("ROWNUM compared with this kind of number")
        if operator == "=" and bound.constant == Decimal(1):
            return "1"
        if operator not in ("<", "<="):
            raise unsupported(f"ROWNUM {operator}")
        count = f"floor({bound.sql})" if operator == "<=" else f"ceil({bound.sql}) - 1"
        return f"CAST(coalesce(greatest({count}, 0), 0) AS BIGINT)"

    def _mentions_rownum(self, tree: exp.Select) -> bool:
        listed = [*tree.expressions, tree.args.get("order")]
        return any(_is_rownum(node) for part in listed if part for node in part.find_all(exp.Column))

    def _numbered(self, source: str, where: str, limit: str | None, scope: Scope) -> str:
        """Put FROM and WHERE into an inline view of their own, since ROWNUM is counted before anything else happens."""
        alias = self._alias()
        listed = ["row_number() OVER () AS n"]
        for relation in scope.relations:
            for place, (name, expr) in enumerate(relation.columns):
                listed.append(f"{expr.sql} AS c{len(listed)}")
                relation.columns[place] = (name, replace(expr, sql=f"{alias}.c{len(listed) - 1}"))
            if relation.rowid:
                listed.append(f"{relation.rowid.sql} AS c{len(listed)}")
                relation.rowid = replace(relation.rowid, sql=f"{alias}.c{len(listed) - 1}")
        scope.rownum = f"{alias}.n"
        clause = "" if limit is None else f" LIMIT {limit}"
        return f"(SELECT {', '.join(listed)} FROM {source} {where}{clause}) AS {alias}"

    # --- the rest of a query block -----------------------------------------------------------------------------------

    def _select_list(self, tree: exp.Select, scope: Scope) -> list[OutColumn]:
        columns: list[OutColumn] = []
        for item in tree.expressions:
            if isinstance(item, exp.Star):
                only(item)
                columns += [OutColumn(n, e) for relation in scope.relations for n, e in relation.columns]
            elif isinstance(item, exp.Column) and isinstance(item.this, exp.Star):
                columns += self._all_of(item, scope)
            elif isinstance(item, exp.Alias):
                columns.append(OutColumn(identifier(item.args["alias"]), self.expression(item.this, scope)))
            else:
                name = identifier(item.this) if isinstance(item, exp.Column) else _unnamed(item)
                columns.append(OutColumn(name, self.expression(item, scope)))
        if not columns:
            raise OracleError(936, "missing expression")
        return columns

    def _all_of(self, item: exp.Column, scope: Scope) -> list[OutColumn]:
        wanted = identifier(item.args["table"])
        for relation in scope.relations:
            if relation.name == wanted:
                return [OutColumn(name, expr) for name, expr in relation.columns]
        raise OracleError(904, f'"{wanted}": invalid identifier', self._stmt.place(item.args["table"]))

    def _group(self, tree: exp.Select, scope: Scope) -> str:
        group = tree.args.get("group")
        if group is None:
            return ""
        only(group, "expressions")
        if any(isinstance(node, exp.Literal) for node in group.expressions):
            raise unsupported("GROUP BY a literal")
        return "GROUP BY " + ", ".join(
            ex.group_key(self.expression(node, scope), "GROUP BY") for node in group.expressions
        )

    def _order(self, tree: exp.Expr, scope: Scope, columns: list[OutColumn]) -> str:
        order = tree.args.get("order")
        if order is None:
            return ""
        only(order, "expressions")
        keys = [self._ordered(node, scope, columns) for node in order.expressions]
        if tree.args.get("distinct") and isinstance(tree, exp.Select):
            self._check_selected(keys, columns)
        return "ORDER BY " + ", ".join(keys)

    def _check_selected(self, keys: list[str], columns: list[OutColumn]) -> None:
        """SELECT DISTINCT is ordered by nothing but its own columns: ORA-01791."""
        selected = {self._place(number, columns) for number in range(1, len(columns) + 1)}
        if not all(key.rsplit(" ", 3)[0] in selected for key in keys):
            raise OracleError(1791, "not a SELECTed expression")

    def _ordered(self, node: exp.Ordered, scope: Scope, columns: list[OutColumn] | None) -> str:
        """Return one sort key; NULL is larger than everything unless the query says otherwise (sqlglot knows that)."""
        only(node, "this", "desc", "nulls_first")
        desc = bool(node.args.get("desc"))
        nulls = "FIRST" if node.args.get("nulls_first") else "LAST"
        return f"{self._key(node.this, scope, columns)} {'DESC' if desc else 'ASC'} NULLS {nulls}"

    def _key(self, key: exp.Expr, scope: Scope, columns: list[OutColumn] | None) -> str:
        if columns is None:
            return ex.sort_key(self.expression(key, scope))
        if isinstance(key, exp.Literal) and not key.is_string:
            number = int(key.this) if key.this.isdigit() else 0
            if not 1 <= number <= len(columns):
                raise OracleError(1785, "ORDER BY item must be the number of a SELECT-list expression")
            return self._place(number, columns)
        if isinstance(key, exp.Column) and not key.args.get("table"):
            places = [n for n, column in enumerate(columns, 1) if column.name == identifier(key.this)]
            if len(places) == 1:
                return self._place(places[0], columns)
        value = self.expression(key, scope)
        same = [n for n, column in enumerate(columns, 1) if column.expr.sql == value.sql]
        return self._place(same[0], columns) if same else ex.sort_key(value)

    def _place(self, number: int, columns: list[OutColumn]) -> str:
        """Return a sort key that is a column of the result."""
        value = columns[number - 1].expr
        key = ex.sort_key(value)
        return str(number) if key == value.sql else key

    def _limit(self, tree: exp.Expr, scope: Scope) -> str:
        parts = []
        limit, offset = tree.args.get("limit"), tree.args.get("offset")
        if limit is not None:
            if not isinstance(limit, exp.Fetch):
                raise OracleError(933, "SQL command not properly ended")
            options = limit.args.get("limit_options")
            if options and (options.args.get("percent") or options.args.get("with_ties")):
                raise unsupported("FETCH with PERCENT or WITH TIES")
            parts.append(f"LIMIT {self._row_count(limit.args.get('count'), scope)}")
        if offset is not None:
            parts.append(f"OFFSET {self._row_count(offset.expression, scope)}")
        return " ".join(parts)

    def _row_count(self, node: exp.Expr | None, scope: Scope) -> str:
        count = ex.number_literal(Decimal(1)) if node is None else ex.as_number(self.expression(node, scope))
        if not count.decimal:
            raise unsupported("this kind of number in FETCH or OFFSET")
        return f"CAST(coalesce(greatest(floor({count.sql}), 0), 0) AS BIGINT)"

    # --- conditions --------------------------------------------------------------------------------------------------

    def condition(self, node: exp.Expr, scope: Scope) -> str:
        """Translate a condition; DuckDB and Oracle share the three-valued logic."""
        only(node, *_ARGUMENTS.get(type(node), ("this", "expression")))
        if isinstance(node, exp.Paren):
            return f"({self.condition(node.this, scope)})"
        if isinstance(node, (exp.And, exp.Or)):
            word = "AND" if isinstance(node, exp.And) else "OR"
            return f"({self.condition(node.left, scope)} {word} {self.condition(node.right, scope)})"
        if isinstance(node, exp.Not):
            return f"(NOT {self.condition(node.this, scope)})"
        if type(node) in _COMPARISONS:
            left, right = self._both(node, scope)
            return ex.compare(_COMPARISONS[type(node)], left, right)
        if isinstance(node, exp.Between):
            value, low, high = (self.expression(node.args[key], scope) for key in ("this", "low", "high"))
            return f"({ex.compare('>=', value, low)} AND {ex.compare('<=', value, high)})"
        if isinstance(node, exp.In):
            return self._in(node, scope)
        if isinstance(node, exp.Is) and isinstance(node.expression, exp.Column):
            word = identifier(node.expression.this)
            if word in ("NAN", "INFINITE"):
                return conversions.is_special(self.expression(node.this, scope), word)
        if isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
            return f"({self.expression(node.this, scope).sql} IS NULL)"
        if isinstance(node, exp.Exists):
            return f"EXISTS ({self.query(node.this, scope).sql})"
        if isinstance(node, (exp.Like, exp.Escape)):
            return self._like(node, scope)
        raise unsupported(f"{node.key.upper()} as a condition")

    def _in(self, node: exp.In, scope: Scope) -> str:
        value = self.expression(node.this, scope)
        if node.args.get("query"):
            query = self.query(node.args["query"], scope)
            if len(query.columns) != 1:
                raise OracleError(913, "too many values")
            alias = self._alias()
            inner = replace(query.columns[0].expr, sql=f"{alias}.c1")
            left, right = ex.comparable("=", value, inner)
            return f"({left.sql} IN (SELECT {right.sql} FROM ({query.sql}) AS {alias}))"
        choices = [self.expression(item, scope) for item in node.expressions]
        return "(" + " OR ".join(ex.compare("=", value, choice) for choice in choices) + ")"

    def _like(self, node: exp.Expr, scope: Scope) -> str:
        escape = ""
        if isinstance(node, exp.Escape):
            mark = self.expression(node.expression, scope).constant
            if not isinstance(mark, str) or len(mark) != 1 or not isinstance(node.this, exp.Like):
                raise OracleError(1425, "escape character must be character string of length 1")
            escape, node = f" ESCAPE {literal(mark)}", node.this
            only(node, *_ARGUMENTS[exp.Like])
        left, right = (ex.as_characters(side) for side in self._both(node, scope))
        return f"({left.sql} {'NOT ' if node.args.get('negate') else ''}LIKE {right.sql}{escape})"

    # --- expressions -------------------------------------------------------------------------------------------------

    def expression(self, node: exp.Expr, scope: Scope) -> Expr:
        """Translate an expression."""
        function = self._functions.get(type(node))
        if function is None:
            raise unsupported(node.key.upper())
        only(node, *_ARGUMENTS.get(type(node), ("this", "expression")))
        return function(node, scope)

    def _both(self, node: Any, scope: Scope) -> tuple[Expr, Expr]:
        return self.expression(node.this, scope), self.expression(node.expression, scope)

    def _literal(self, node: exp.Expr, scope: Scope) -> Expr:
        if node.is_string or isinstance(node, exp.RawString):
            return ex.text_literal(str(node.this))
        return ex.number_literal(Decimal(node.this))

    def _placeholder(self, node: exp.Placeholder, scope: Scope) -> Expr:
        number = int(str(node.this)[1:])
        if number >= len(self._binds):
            raise OracleError(1008, "not all variables bound")
        return self._binds[number]

    def _column(self, node: exp.Column, scope: Scope) -> Expr:
        if _is_current_scn(node):
            return self._current_scn(node)
        if node.args.get("db"):
            raise unsupported("a column qualified by schema and table")
        name = identifier(node.this)
        qualifier = identifier(node.args["table"]) if node.args.get("table") else None
        at: Scope | None = scope
        while at is not None:
            found = [e for r in at.relations if qualifier in (None, r.name) for e in r.find(name)]
            if len(found) > 1:
                raise OracleError(918, "column ambiguously defined", self._stmt.place(node.this))
            if found:
                return found[0]
            if qualifier is None and name == "ROWNUM" and at.rownum:
                return Expr(f"CAST({at.rownum} AS DECIMAL(19, 0))", NUMBER, (19, 0), nullable=False)
            at = at.parent
        if name in ("ROWNUM", "ROWID", "LEVEL", "ORA_ROWSCN"):
            raise unsupported(name)
        known = conversions.constant(name) if qualifier is None else None
        if known:
            return known
        if qualifier is None and name == "USER":
            return self._current_user(node, scope)
        if qualifier is None and name == "DBTIMEZONE":  # node-oracledb asks for it at every login
            return replace(ex.text_literal("+00:00"), type=text_type(6))
        shown = f'"{qualifier}"."{name}"' if qualifier else f'"{name}"'
        first = node.args.get("table") or node.this
        raise OracleError(904, f"{shown}: invalid identifier", self._stmt.place(first))

    def _package(self, node: exp.Dot, scope: Scope) -> Expr:
        """A function of a package, written with brackets."""
        call = node.expression
        if isinstance(call, exp.Anonymous) and not call.expressions and isinstance(node.this, exp.Identifier):
            column = exp.Column(this=exp.to_identifier(str(call.this)), table=node.this)
            if _is_current_scn(column):
                return self._current_scn(column)
        return self._packaged(node, scope)

    def _current_scn(self, node: exp.Column) -> Expr:
        if not self._catalogue.may(self._user, "DBMS_FLASHBACK"):
            shown = '"DBMS_FLASHBACK"."GET_SYSTEM_CHANGE_NUMBER": invalid identifier'
            raise OracleError(904, shown, self._stmt.place(node.args["table"]))
        return Expr("CAST(current_scn() AS DECIMAL(19, 0))", NUMBER, (19, 0))

    def _add(self, node: exp.Expr, scope: Scope) -> Expr:
        left, right = self._both(node, scope)
        operator = "+" if isinstance(node, exp.Add) else "-"
        if left.is_datetime and right.is_datetime:
            raise unsupported("the difference of two dates")
        if operator == "+" and right.is_datetime:
            left, right = right, left
        if not left.is_datetime:
            if right.is_datetime:
                raise OracleError(932, "inconsistent datatypes: expected NUMBER got DATE")
            return ex.added(left, right, operator)
        days = ex.as_number(right)
        if right.is_datetime or not days.decimal or days.decimal[1]:
            raise unsupported("date arithmetic with anything but whole days")
        assert left.type is not None
        if left.type.name != "DATE":
            raise unsupported("arithmetic on TIMESTAMP")
        sql = f"({left.sql} {operator} to_days(CAST({days.sql} AS INTEGER)))"
        return Expr(sql, DATE, nullable=left.nullable or right.nullable)

    def _case(self, node: exp.Case, scope: Scope) -> Expr:
        subject = self.expression(node.this, scope) if node.this else None
        tests, results = [], []
        for branch in node.args["ifs"]:
            only(branch, "this", "true")
            if subject is None:
                tests.append(self.condition(branch.this, scope))
            else:
                tests.append(ex.compare("=", subject, self.expression(branch.this, scope)))
            results.append(self.expression(branch.args["true"], scope))
        default = node.args.get("default")
        results.append(self.expression(default, scope) if default else ex.NULL)
        return _choice(tests, results)

    def _decode(self, node: exp.DecodeCase, scope: Scope) -> Expr:
        subject, *rest = [self.expression(item, scope) for item in node.expressions]
        pairs, default = rest[: len(rest) // 2 * 2], (rest[-1] if len(rest) % 2 else ex.NULL)
        if len(pairs) < 2:
            raise OracleError(938, "not enough arguments for function")
        tests = []
        for choice in pairs[0::2]:  # DECODE takes two NULLs for equal
            left, right = ex.comparable("=", subject, choice)
            tests.append(f"({left.sql} IS NOT DISTINCT FROM {right.sql})")
        return _choice(tests, [*pairs[1::2], default])

    def _coalesce(self, node: exp.Coalesce, scope: Scope) -> Expr:
        if not node.expressions:
            raise OracleError(909, "invalid number of arguments")
        values = [self.expression(item, scope) for item in (node.this, *node.expressions)]
        common = ex.unified(values)
        sql = f"coalesce({', '.join(value.sql for value in common)})"
        kind = common[0].type
        if kind is not None and kind.is_text:
            kind = ex.text_like(common[0], kind.length)
        nullable = all(value.nullable for value in values)
        return replace(common[0], sql=sql, type=kind, nullable=nullable, constant=None, bind=None)

    def _nullif(self, node: exp.Nullif, scope: Scope) -> Expr:
        left, right = self._both(node, scope)
        test = ex.compare("=", left, right)
        return replace(
            left,
            sql=f"CASE WHEN {test} THEN NULL ELSE {left.sql} END",
            nullable=True,
            constant=None,
            bind=None,
        )

    def _count(self, node: exp.Count, scope: Scope, over: str = "") -> Expr:
        inner = node.this
        if isinstance(inner, exp.Star):
            sql = "count(*)"
        elif isinstance(inner, exp.Distinct):
            sql = f"count(DISTINCT {ex.sort_key(self._distinct_operand(inner, scope))})"
        else:
            sql = f"count({self.expression(inner, scope).sql})"
        return Expr(f"CAST({sql}{over} AS DECIMAL(19, 0))", COUNT, (19, 0))

    def _distinct_operand(self, node: exp.Distinct, scope: Scope) -> Expr:
        only(node, "expressions")
        if len(node.expressions) != 1:
            raise OracleError(909, "invalid number of arguments")
        return self.expression(node.expressions[0], scope)

    def _aggregate(self, node: exp.Expr, scope: Scope, over: str) -> Expr:
        """SUM, AVG, MIN or MAX; with `over` as a window function."""
        if isinstance(node.this, exp.Distinct):
            raise unsupported(f"{node.key.upper()}(DISTINCT ...)")
        value = self.expression(node.this, scope)
        if isinstance(node, (exp.Min, exp.Max)):
            key = ex.sort_key(value)
            best = f"arg_{node.key}({value.sql}, {key})" if value.is_national else f"{node.key}({value.sql})"
            return replace(value, sql=f"{best}{over}", nullable=True, constant=None, bind=None)
        if value.is_datetime:
            raise OracleError(932, "inconsistent datatypes: expected NUMBER got DATE")
        if value.type is not None and value.is_binary_number and isinstance(node, exp.Avg):
            sql = f"CAST(avg({value.sql}){over} AS {value.type.storage})"
            return replace(value, sql=sql, nullable=True, constant=None, bind=None)
        total = ex.summed(value, over)
        if isinstance(node, exp.Sum):
            return total
        count = Expr(f"nullif(count({value.sql}){over}, 0)", NUMBER, (19, 0))
        return ex.divided(total, count)

    def _window(self, node: exp.Window, scope: Scope) -> Expr:
        parts = []
        if node.args.get("partition_by"):
            parts.append(
                "PARTITION BY "
                + ", ".join(ex.sort_key(self.expression(k, scope)) for k in node.args["partition_by"])
            )
        order = node.args.get("order")
        if order:
            keys = [self._ordered(key, scope, None) for key in order.expressions]
            parts.append("ORDER BY " + ", ".join(keys))
        if str(node.args.get("over")) != "OVER":
            raise unsupported(str(node.args.get("over")))
        over = f" OVER ({' '.join(parts)})"
        function = node.this
        if type(function) in _WINDOW_FUNCTIONS:
            if not order:
                raise OracleError(30485, "missing ORDER BY expression in the window specification")
            sql = f"CAST({_WINDOW_FUNCTIONS[type(function)]}(){over} AS DECIMAL(19, 0))"
            return Expr(sql, NUMBER, (19, 0), nullable=False)
        if isinstance(function, exp.Count):
            return self._count(function, scope, over)
        if isinstance(function, (exp.Sum, exp.Avg, exp.Min, exp.Max)):
            return self._aggregate(function, scope, over)
        raise unsupported(f"{function.key.upper()} OVER")

    def _letters(self, name: str, node: exp.Expr, scope: Scope) -> Expr:
        """UPPER and LOWER; UPPER leaves the sharp s alone (SQL Language Reference, "NLS_UPPER")."""
        text = ex.as_text(self.expression(node.this, scope))
        sql = f"replace(upper({text.sql}), 'ẞ', 'ß')" if name == "upper" else f"lower({text.sql})"
        return replace(text, sql=sql, constant=None, bind=None)

    def _trim(self, node: exp.Trim, scope: Scope) -> Expr:
        text = ex.as_text(self.expression(node.this, scope))
        marks = (
            self.expression(node.expression, scope) if node.args.get("expression") else ex.text_literal(" ")
        )
        if not isinstance(marks.constant, str):
            raise unsupported("TRIM of characters that are not a literal")
        side = str(node.args.get("position") or "").upper()
        name = {"": "trim", "BOTH": "trim", "LEADING": "ltrim", "TRAILING": "rtrim"}[side]
        assert text.type is not None
        sql = f"nullif({name}({text.sql}, {literal(marks.constant)}), '')"
        return Expr(
            sql, ex.text_like(text, text.type.length if text.is_national else text.type.size), nullable=True
        )

    def _substring(self, node: exp.Substring, scope: Scope) -> Expr:
        text = ex.as_characters(self.expression(node.this, scope))
        start = self._whole(node.args.get("start"), scope)
        length = self._whole(node.args["length"], scope) if node.args.get("length") else None
        assert text.type is not None
        if length is not None and length < 1:
            return Expr("CAST(NULL AS VARCHAR)", text_type(1))
        tail = "" if length is None else f", {length}"
        if start >= 0:
            cut = f"substring({text.sql}, {max(start, 1)}{tail})"
        else:  # counted from the end; NULL if the text is shorter
            cut = (
                f"CASE WHEN length({text.sql}) >= {-start} "
                f"THEN substring({text.sql}, length({text.sql}) - {-start - 1}{tail}) END"
            )
        cut = f"nullif({conversions.counted(text, cut)}, '')"
        if text.is_lob:
            return Expr(cut, text.type)
        if text.is_national:
            return Expr(cut, ex.text_like(text, min(text.type.length, length or text.type.length)))
        size = text.type.size if length is None else min(text.type.size, 4 * length)
        return Expr(cut, text_type(size))

    def _whole(self, node: exp.Expr | None, scope: Scope) -> int:
        """Return a whole number that is written in the SQL."""
        constant = self.expression(node, scope).constant if node is not None else None
        if not isinstance(constant, Decimal) or constant != int(constant):
            raise unsupported("a position or length that is not a literal")
        return int(constant)

    def _length(self, node: exp.Length, scope: Scope) -> Expr:
        return conversions.length(self.expression(node.this, scope))

    def _to_char(self, node: exp.ToChar, scope: Scope) -> Expr:
        value = self.expression(node.this, scope)
        if node.args.get("format") is None:
            return conversions.to_char(value)
        if not value.is_datetime:
            raise unsupported("TO_CHAR of a number with a format")
        pattern = self.expression(node.args["format"], scope).constant
        if not isinstance(pattern, str):
            raise unsupported("TO_CHAR with a format that is not a literal")
        parts, length = _strftime(pattern)
        shown = moments.clock(value).sql
        return Expr(f"strftime({shown}, {literal(parts)})", text_type(length), nullable=value.nullable)

    def _to_number(self, node: exp.ToNumber, scope: Scope) -> Expr:
        return ex.as_number(self.expression(node.this, scope))

    def _to_date(self, node: exp.StrToDate, scope: Scope) -> Expr:
        text = self.expression(node.this, scope)
        pattern = node.args["format"].this if isinstance(node.args.get("format"), exp.Literal) else None
        if pattern is None or text.is_datetime:
            raise unsupported("TO_DATE without a literal format")
        text = ex.as_text(text)
        shape = _parse_shape(pattern)
        wrong = literal("ORA-01861: literal does not match format string")
        never = literal("ORA-01839: date not valid for month specified")
        sql = (
            f"CASE WHEN {text.sql} IS NULL THEN NULL "
            f"WHEN NOT regexp_full_match({text.sql}, {literal(shape)}) THEN CAST(error({wrong}) AS TIMESTAMP) "
            f"ELSE coalesce(try_strptime({text.sql}, {literal(pattern)}), CAST(error({never}) AS TIMESTAMP)) END"
        )
        return Expr(sql, DATE, nullable=text.nullable)

    def _date_literal(self, node: exp.DateStrToDate, scope: Scope) -> Expr:
        text = str(node.this.this) if isinstance(node.this, exp.Literal) else ""
        if text.startswith("-"):
            raise unsupported("a date before the year 1")
        if not re.fullmatch(r"\d{4}-\d{1,2}-\d{1,2}", text):
            raise OracleError(1861, "literal does not match format string")
        day = moments.moment(*(int(part) for part in text.split("-")))
        return Expr(f"CAST({literal(day.isoformat())} AS TIMESTAMP)", DATE, nullable=False)

    def _timestamp_literal(self, node: exp.StrToTime, scope: Scope) -> Expr:
        text = str(node.this.this) if isinstance(node.this, exp.Literal) else ""
        if node.args["format"].this != "%Y-%m-%d %H:%M:%S.%f":
            raise unsupported("TO_TIMESTAMP")
        return moments.timestamp_literal(text)

    def _sysdate(self, node: exp.CurrentTimestamp, scope: Scope) -> Expr:
        if not node.args.get("sysdate"):
            raise unsupported("CURRENT_TIMESTAMP")
        return Expr("date_trunc('second', CAST(now() AT TIME ZONE 'UTC' AS TIMESTAMP))", DATE, nullable=False)

    def _current_user(self, node: exp.Expr, scope: Scope) -> Expr:
        return replace(ex.text_literal(self._user), type=text_type(128))

    def _scalar(self, node: exp.Subquery, scope: Scope) -> Expr:
        query = self.query(node, scope)
        if len(query.columns) != 1:
            raise OracleError(913, "too many values")
        return replace(query.columns[0].expr, sql=f"({query.sql})", nullable=True)

    def _truncated_date(self, node: exp.Expr, scope: Scope) -> Expr:
        unit = node.args.get("unit")
        return self._trunc([node.this, *([unit] if unit is not None else [])], scope)

    def _anonymous(self, node: exp.Anonymous, scope: Scope) -> Expr:
        name = str(node.this).upper()
        if name == "TRUNC":
            return self._trunc(node.expressions, scope)
        if name == "SYS_CONTEXT":
            return self._sys_context(node, scope)
        if name == "FAKEORACLE_CAST":
            value, named = node.expressions
            return conversions.cast(self.expression(value, scope), type_named(str(named.this)))
        return self._called(name, node, scope)

    def _called(self, name: str, node: exp.Anonymous, scope: Scope) -> Expr:
        result = conversions.call(name, [self.expression(item, scope) for item in node.expressions])
        if result is None:
            raise unsupported(f"function {name}")
        return result

    def _packaged(self, node: exp.Dot, scope: Scope) -> Expr:
        """A function of one of Oracle's packages."""
        if not isinstance(node.this, exp.Identifier) or not isinstance(node.expression, exp.Anonymous):
            raise unsupported(node.sql(dialect="oracle"))
        name = f"{identifier(node.this)}.{str(node.expression.this).upper()}"
        return self._called(name, node.expression, scope)

    def _extract(self, node: exp.Extract, scope: Scope) -> Expr:
        return moments.extracted(str(node.this.name).upper(), self.expression(node.expression, scope))

    def _at_time_zone(self, node: exp.AtTimeZone, scope: Scope) -> Expr:
        zone = conversions.offset_of(self.expression(node.args["zone"], scope))
        return moments.at_zone(self.expression(node.this, scope), zone)

    def _trunc(self, arguments: list[exp.Expr], scope: Scope) -> Expr:
        value = self.expression(arguments[0], scope)
        if not value.is_datetime:
            return self._at_digit(
                "number_trunc", arguments[0], arguments[1] if len(arguments) > 1 else None, scope
            )
        value = moments.clock(value)
        unit = self.expression(arguments[1], scope).constant if len(arguments) > 1 else "DD"
        units = {"DD": "day", "DDD": "day", "MM": "month", "MONTH": "month", "YYYY": "year", "YEAR": "year"}
        if str(unit).upper() not in units:
            raise unsupported(f"TRUNC to {unit}")
        sql = f"CAST(date_trunc('{units[str(unit).upper()]}', {value.sql}) AS TIMESTAMP)"
        return Expr(sql, DATE, nullable=value.nullable)

    def _numeric(self, name: str, left: Expr, right: Expr) -> Expr:
        """Call a function of two numbers."""
        if left.is_binary_number or right.is_binary_number:
            raise unsupported(f"{name.removeprefix('number_').upper()} of BINARY_FLOAT and BINARY_DOUBLE")
        left, right = ex.as_blob(ex.as_number(left)), ex.as_blob(ex.as_number(right))
        return Expr(f"{name}({left.sql}, {right.sql})", NUMBER, nullable=left.nullable or right.nullable)

    def _at_digit(self, name: str, node: exp.Expr, digits: exp.Expr | None, scope: Scope) -> Expr:
        """ROUND and TRUNC of a number."""
        value = self.expression(node, scope)
        if value.is_datetime:
            raise unsupported("ROUND of a date")
        return self._numeric(
            name, value, ex.number_literal(Decimal(self._whole(digits, scope) if digits else 0))
        )

    def _absolute(self, node: exp.Abs, scope: Scope) -> Expr:
        value = self.expression(node.this, scope)
        if value.is_binary_number:
            return replace(value, sql=f"abs({value.sql})", constant=None, bind=None)
        value = ex.as_number(value)
        less = ex.compare("<", value, ex.number_literal(Decimal(0)))
        return _choice([less], [ex.negated(value), value])

    def _nvl2(self, node: exp.Nvl2, scope: Scope) -> Expr:
        subject, there, missing = (
            self.expression(node.args[key], scope) for key in ("this", "true", "false")
        )
        return _choice([f"({subject.sql} IS NOT NULL)"], [there, missing])

    def _replace(self, node: exp.Replace, scope: Scope) -> Expr:
        text = ex.as_text(self.expression(node.this, scope))
        old = self.expression(node.expression, scope).constant
        new = self.expression(node.args["replacement"], scope) if node.args.get("replacement") else ex.NULL
        replacement = "" if new.type is None else new.constant
        if not isinstance(old, str) or not isinstance(replacement, str):
            raise unsupported("REPLACE with anything but literals")
        sql = f"nullif(replace({text.sql}, {literal(old)}, {literal(replacement)}), '')"
        assert text.type is not None
        return Expr(sql, ex.text_like(text, text.type.size * max(len(replacement.encode()), 1)))

    def _position(self, node: exp.StrPosition, scope: Scope) -> Expr:
        text = ex.as_characters(self.expression(node.this, scope))
        wanted = ex.as_text(self.expression(node.args["substr"], scope))
        found = conversions.counted(text, f"strpos({text.sql}, {wanted.sql})")
        return Expr(f"CAST({found} AS DECIMAL(10, 0))", NUMBER, (10, 0))

    def _pad(self, node: exp.Pad, scope: Scope) -> Expr:
        text = ex.as_text(self.expression(node.this, scope))
        width = self._whole(node.expression, scope)
        fill = (
            self.expression(node.args["fill_pattern"], scope)
            if node.args.get("fill_pattern")
            else ex.text_literal(" ")
        )
        if not isinstance(fill.constant, str) or width < 1:
            raise unsupported("LPAD or RPAD with this filling or width")
        name = "lpad" if node.args.get("is_left") else "rpad"
        padded = conversions.counted(text, f"{name}({text.sql}, {width}, {literal(fill.constant)})")
        return Expr(padded, ex.text_like(text, width if text.is_national else 4 * width))

    def _extreme(self, node: exp.Expr, scope: Scope) -> Expr:
        """GREATEST and LEAST: NULL if any value is; texts are compared without padding (SQL Language Reference)."""
        values = ex.unified([self.expression(item, scope) for item in (node.this, *node.expressions)])
        kind = values[0].type
        if kind and kind.is_text:
            if kind.is_national:
                raise unsupported(f"{node.key.upper()} of national texts")
            kind = text_type(kind.size)
        for value in values:
            ex.sort_key(value)
        missing = " OR ".join(f"{value.sql} IS NULL" for value in values)
        sql = f"CASE WHEN {missing} THEN NULL ELSE {node.key}({', '.join(value.sql for value in values)}) END"
        return replace(values[0], sql=sql, type=kind, nullable=True, constant=None, bind=None)

    def _time_to_text(self, node: exp.TimeToStr, scope: Scope) -> Expr:
        """TO_CHAR of what the parser already knows to be a date; its format comes in strftime's form."""
        value = self.expression(node.this, scope)
        pattern = str(node.args["format"].this)
        if not value.is_datetime or "".join(_PARSE_PART.findall(pattern)) != pattern:
            raise unsupported("this format of TO_CHAR")
        length = len(re.sub("%[mdHMS]", "xx", pattern.replace("%Y", "xxxx")))
        shown = moments.clock(value).sql
        return Expr(f"strftime({shown}, {literal(pattern)})", text_type(length), nullable=value.nullable)

    def _sys_context(self, node: exp.Anonymous, scope: Scope) -> Expr:
        space, key = (self.expression(argument, scope).constant for argument in node.expressions[:2])
        known = {
            "CURRENT_SCHEMA": self._schema,
            "CURRENT_USER": self._user,
            "SESSION_USER": self._user,
            "SERVICE_NAME": self._catalogue.service,
            "DB_NAME": self._catalogue.service,
            "CON_NAME": self._catalogue.service,
            "INSTANCE_NAME": "fakeoracle",
            "SERVER_HOST": "localhost",
            "NLS_TERRITORY": "AMERICA",
            **{told: self._client.get(told, "") for told in CLIENT_CONTEXT},
        }
        if str(space).upper() != "USERENV" or str(key).upper() not in known:
            raise unsupported(f"SYS_CONTEXT('{space}', '{key}')")
        value = known[str(key).upper()]  # what the client has not told is NULL
        return Expr(f"CAST({literal(value) if value else 'NULL'} AS VARCHAR)", text_type(256))


def _make_optional(relation: Relation) -> None:
    relation.columns = [(name, replace(expr, nullable=True)) for name, expr in relation.columns]
    relation.rowid = relation.rowid and replace(relation.rowid, nullable=True)


def _is_current_scn(node: exp.Column) -> bool:
    if isinstance(node.this, exp.Star) or not node.args.get("table"):
        return False
    owner = identifier(node.args["db"]) if node.args.get("db") else "SYS"
    names = (owner, identifier(node.args["table"]), identifier(node.this))
    return names == ("SYS", "DBMS_FLASHBACK", "GET_SYSTEM_CHANGE_NUMBER")


def _is_rownum(node: exp.Expr) -> bool:
    return (
        isinstance(node, exp.Column)
        and not node.args.get("table")
        and not isinstance(node.this, exp.Star)
        and identifier(node.this) == "ROWNUM"
    )


def _conjuncts(node: exp.Expr) -> list[exp.Expr]:
    if isinstance(node, exp.And):
        return [*_conjuncts(node.left), *_conjuncts(node.right)]
    return [node]


def _unnamed(node: exp.Expr) -> str:
    return re.sub(r"\s", "", node.sql(dialect="oracle")).upper()


def _choice(tests: list[str], results: list[Expr]) -> Expr:
    """Return CASE WHEN tests THEN results; the last result is the one for ELSE."""
    common = ex.unified(results)
    branches = [f"WHEN {test} THEN {result.sql}" for test, result in zip(tests, common, strict=False)]
    sql = f"CASE {' '.join(branches)} ELSE {common[-1].sql} END"
    nullable = any(result.nullable for result in results)
    return replace(common[0], sql=sql, nullable=nullable, constant=None, bind=None)


def _strftime(pattern: str) -> tuple[str, int]:
    """Return DuckDB's form of a date format, and the length of what it gives."""
    at, out, length = 0, [], 0
    while at < len(pattern):
        match = _FORMAT_PART.match(pattern, at)
        if not match:
            raise unsupported(f"the date format {pattern}")
        part = match[0]
        if part.upper() in _STRFTIME:
            out.append(_STRFTIME[part.upper()])
            length += _LENGTHS.get(part.upper(), 2)
        else:
            plain = part.strip('"')
            out.append(plain.replace("%", "%%"))
            length += len(plain)
        at = match.end()
    return "".join(out), length


def _parse_shape(pattern: str) -> str:
    """Return the regular expression of texts that the format (in strftime's form) reads without any leniency."""
    parts = _PARSE_PART.findall(pattern)
    if "".join(parts) != pattern or "%Y" not in parts or "%m" not in parts:
        raise unsupported("this format of TO_DATE")
    out = []
    for part, following in zip(parts, [*parts[1:], ""], strict=True):
        if part == "%Y":
            out.append(r"\d{4}")
        elif part.startswith("%"):
            out.append(r"\d{2}" if following.startswith("%") else r"\d{1,2}")
        else:
            out.append(re.escape(part))
    return "".join(out)
