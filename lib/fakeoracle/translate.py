"""Oracle queries to DuckDB SQL, node by node.

Only node types that are known to mean the same, or are rewritten so that they do, are let through; everything else is
ORA-03001. Every output column is named c1, c2, ... so that no name of the client's meets DuckDB's own rules. Conditions,
aggregates and scalar functions have modules of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from sqlglot import exp

from . import aggregates, conditions, conversions, dates, moments, rownum
from . import expressions as ex
from .catalogue import ROW_NUMBER, Catalogue, Table, quote
from .ddl import type_named
from .dictionary import literal
from .errors import OracleError, unsupported
from .expressions import Expr
from .scalars import call_named, called, choice, user_id
from .scopes import CALL, OutColumn, Query, Relation, Scope, identifier, only
from .sql import CAST, CLOCK, Statement
from .types import DATE, NUMBER, ROWID, ZONED, text_type
from .undo import Moment, as_of

_ARGUMENTS: dict[
    type[exp.Expr], tuple[str, ...]
] = {  # what a node may carry, where it is not this and expression
    exp.Literal: ("this", "is_string"),
    exp.Column: ("this", "table", "db"),
    exp.DPipe: ("this", "expression", "safe"),
    exp.AtTimeZone: ("this", "zone"),
    exp.Case: ("this", "ifs", "default"),
    exp.Trim: ("this", "expression", "position"),
    exp.StrToTime: ("this", "format"),
    exp.CurrentTimestamp: ("sysdate",),
    exp.Anonymous: ("this", "expressions"),
}
_PSEUDO_COLUMNS = ("ROWNUM", "ROWID", "LEVEL", "ORA_ROWSCN")


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
        self._catalogue = catalogue
        self.schema = schema
        self.user = user
        self.service = catalogue.service
        self.users = sorted(catalogue.users)
        self.client = client
        self.moments: list[Moment] = []
        self._now = False
        self._binds = binds
        self._aliases = 0
        self._nodes: dict[type[exp.Expr], Callable[[Any, Scope], Expr]] = {
            exp.Literal: self._literal,
            exp.RawString: self._literal,
            exp.National: lambda node, scope: ex.national_literal(str(node.this)),
            exp.Extract: self._extract,
            exp.AtTimeZone: self._at_time_zone,
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
            exp.Case: self._case,
            exp.Trim: self._trim,
            exp.DateStrToDate: self._date_literal,
            exp.StrToTime: self._timestamp_literal,
            exp.CurrentTimestamp: self._sysdate,
            exp.CurrentUser: self._current_user,
            exp.Subquery: self._scalar,
            exp.Anonymous: self._call,
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
            column if isinstance(item, (exp.Alias, exp.Column, exp.Star)) else replace(column, name=heading)
            for column, item, heading in zip(query.columns, items, headings, strict=True)
        ]
        return replace(query, columns=named)

    def _select(self, tree: exp.Select, outer: Scope | None) -> Query:
        only(
            tree, "expressions", "from_", "joins", "where", "group", "having", "order", "limit", "offset",
            "distinct", "with_", "hint", "connect",
        )  # fmt: skip
        scope = Scope(parent=outer)
        if tree.args.get("with_"):
            self._with(tree.args["with_"], scope)
        source, kept = self._from(tree, scope)
        where, limit = self._where(kept, scope)
        counted = (*tree.expressions, *(tree.args.get(part) for part in ("order", "group", "having")))
        if limit is not None or rownum.mentioned(*counted):
            source = self._numbered(source, where, limit, scope)
            where = ""
        columns = self._select_list(tree, scope)
        listed = [f"{column.expr.sql} AS c{number}" for number, column in enumerate(columns, 1)]
        out = [
            OutColumn(c.name, replace(c.expr, sql=f"c{number}", constant=None, bind=None))
            for number, c in enumerate(columns, 1)
        ]
        parts = [f"FROM {source}", where, self._group(tree, scope)]
        if tree.args.get("having"):
            parts.append(f"HAVING {self.condition(tree.args['having'].this, scope)}")
        keys = self._order(tree, scope, columns)
        return Query(self._limited(tree, scope, self._distinct(tree, columns), listed, parts, keys), out)

    def _with(self, node: exp.With, scope: Scope) -> None:
        only(node, "expressions")
        for cte in node.expressions:
            only(cte, "this", "alias")
            name = identifier(cte.args["alias"].this)
            if any(_is_named(table, name) for table in cte.this.find_all(exp.Table)):
                if not cte.args["alias"].args.get("columns"):
                    raise OracleError(32039, "recursive WITH clause must have column alias list")
                raise unsupported("recursive WITH")
            scope.queries[name] = self._renamed(self.query(cte.this, scope), cte.args["alias"])

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
            raise unsupported(f"{'MINUS' if isinstance(tree, exp.Except) else tree.key.upper()} ALL")
        left, right = self.query(tree.this, scope), self.query(tree.expression, scope)
        if len(left.columns) != len(right.columns):
            raise OracleError(1789, "query block has incorrect number of result columns")
        sides: list[list[str]] = [[], []]
        columns = []
        for number, (a, b) in enumerate(zip(left.columns, right.columns, strict=True), 1):
            if a.type and b.type and not _same_group(a.expr.kind, b.expr.kind):
                raise OracleError(1790, "expression must have same datatype as corresponding expression")
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
        together = f" {name}{' ALL' if every else ''} ".join(texts)
        source = f"FROM ({together}) AS {self.new_alias()}"
        keys = self._order(tree, Scope([Relation("", [])]), columns)
        listed = [f"c{number}" for number in range(1, len(columns) + 1)]
        return Query(self._limited(tree, scope, "", listed, [source], keys), columns)

    def new_alias(self) -> str:
        """Return a name for a derived table."""
        self._aliases += 1
        return f"r{self._aliases}"

    # --- FROM --------------------------------------------------------------------------------------------------------

    def _from(self, tree: exp.Select, scope: Scope) -> tuple[str, list[exp.Expr]]:
        """Return the FROM clause and the conditions of WHERE that are left; (+) makes joins of some."""
        start, where = tree.args.get("from_"), tree.args.get("where")
        kept = rownum.conjuncts(where.this) if where else []
        if start is None:
            raise OracleError(923, "FROM keyword not found where expected", len(self._stmt.text.encode()))
        only(start, "this")
        joins = tree.args.get("joins") or []
        if tree.args.get("connect"):
            return self._levels(tree, scope), kept
        if any(_marked(part) for part in kept):
            return self._marked_joins([start.this, *joins], kept, scope)
        parts = [self._source(start.this, scope, optional=False)]
        parts += [self._join(join, scope) for join in joins]
        return " ".join(parts), kept

    def _levels(self, tree: exp.Select, scope: Scope) -> str:
        """SELECT ... FROM DUAL CONNECT BY LEVEL <= n: rows numbered from 1; the first is always there."""
        connect, start = tree.args["connect"], tree.args["from_"].this
        test = connect.args.get("connect")
        operator = conditions.COMPARISONS.get(type(test))
        left = test.left if operator in ("<", "<=") else None
        of_dual = (
            isinstance(start, exp.Table) and identifier(start.this) == "DUAL" and not tree.args.get("joins")
        )
        if not (of_dual and isinstance(left, exp.Column) and identifier(left.this) in ("LEVEL", "ROWNUM")):
            raise unsupported("CONNECT BY of anything but LEVEL <= n on DUAL")
        only(connect, "connect")
        bound = ex.as_number(self.expression(test.right, scope))
        if operator == "<=":
            count = f"floor({bound.sql})" if bound.decimal else f"number_whole(number_floor({bound.sql}))"
        else:
            count = (
                f"ceil({bound.sql})" if bound.decimal else f"number_whole(number_ceil({bound.sql}))"
            ) + " - 1"
        dual = self._source(start, scope, optional=False)
        alias = self.new_alias()
        scope.pseudo["LEVEL"] = f"{alias}.n"
        rows = f"range(1, CAST(greatest(coalesce({count}, 0), 1) AS BIGINT) + 1)"
        return f"{dual} CROSS JOIN (SELECT range AS n FROM {rows}) AS {alias}"

    def _marked_joins(
        self, nodes: list[exp.Expr], kept: list[exp.Expr], scope: Scope
    ) -> tuple[str, list[exp.Expr]]:
        """Outer joins by (+): each marked table is joined to the one table its conditions name."""
        sources: dict[str, str] = {}
        for node in nodes:
            if isinstance(node, exp.Join) and [k for k, v in node.args.items() if v and k != "this"]:
                raise OracleError(25156, "old style outer join (+) cannot be used with ANSI joins")
            sql = self._source(node.this if isinstance(node, exp.Join) else node, scope, optional=False)
            sources[scope.relations[-1].name] = sql
        if len(sources) != len(nodes):
            raise unsupported("(+) where two tables of the FROM clause have one name")
        rest = [part for part in kept if not _marked(part)]
        joins: dict[str, list[exp.Expr]] = {}
        partners: dict[str, set[str]] = {}
        for part in [part for part in kept if _marked(part)]:
            optional, others = self._marked_sides(part, scope)
            joins.setdefault(optional, []).append(part)
            partners.setdefault(optional, set()).update(others)
        if any(len(found) != 1 for found in partners.values()):
            raise unsupported("(+) with conditions on any but one pair of tables")
        placed = [name for name in sources if name not in joins]
        text = " CROSS JOIN ".join(sources[name] for name in placed)
        while len(placed) < len(sources):
            ready = [name for name in joins if name not in placed and next(iter(partners[name])) in placed]
            if not ready:
                raise OracleError(1416, "two tables cannot be outer-joined to each other")
            for name in ready:
                on = " AND ".join(self.condition(_unmarked(part), scope) for part in joins[name])
                text += f" LEFT JOIN {sources[name]} ON {on}"
                next(relation for relation in scope.relations if relation.name == name).make_optional()
                placed.append(name)
        return text, rest

    def _marked_sides(self, part: exp.Expr, scope: Scope) -> tuple[str, set[str]]:
        """Return the table that a condition marks with (+), and the other tables it names."""
        if part.find(exp.Or, exp.In):
            raise OracleError(1719, "outer join operator (+) not allowed in operand of OR or IN")
        if part.find(exp.Select):
            raise OracleError(1799, "a column may not be outer-joined to a subquery")
        optional: set[str] = set()
        others: set[str] = set()
        for column in part.find_all(exp.Column):
            owner = self._relation_of(column, scope)
            if owner is not None:
                (optional if column.args.get("join_mark") else others).add(owner.name)
        if len(optional) != 1:
            raise OracleError(1468, "a predicate may reference only one outer-joined table")
        name = optional.pop()
        if name in others:
            raise unsupported("(+) on some columns of a table only")
        return name, others

    def _relation_of(self, column: exp.Column, scope: Scope) -> Relation | None:
        """Return the table of this query block that a column belongs to."""
        name = identifier(column.this)
        qualifier = identifier(column.args["table"]) if column.args.get("table") else None
        found = [r for r in scope.relations if qualifier in (None, r.name) and r.find(name)]
        return found[0] if len(found) == 1 else None

    def _join(self, join: exp.Join, scope: Scope) -> str:
        only(join, "this", "side", "kind", "on", "using", "method")
        side, kind = str(join.args.get("side") or "").upper(), str(join.args.get("kind") or "").upper()
        method = str(join.args.get("method") or "").upper()
        if side not in ("", "LEFT", "RIGHT", "FULL") or kind not in ("", "INNER", "OUTER", "CROSS"):
            raise unsupported(f"{side} {kind} JOIN")
        if method not in ("", "NATURAL"):
            raise unsupported(f"{method} JOIN")
        if side in ("RIGHT", "FULL"):
            for relation in scope.relations:
                relation.make_optional()
        before = len(scope.relations)
        source = self._source(join.this, scope, optional=side in ("LEFT", "FULL"))
        names = [identifier(name) for name in join.args.get("using") or []]
        if method:
            there = {name for relation in scope.relations[before:] for name, _ in relation.columns}
            names = [n for relation in scope.relations[:before] for n, _ in relation.columns if n in there]
        if names:
            return f"{side or 'INNER'} JOIN {source} ON {self._merged(names, side, scope, before)}"
        if join.args.get("on") is None:
            if (side or kind == "INNER") and not method:
                raise OracleError(905, "missing keyword")
            return f"{side} JOIN {source} ON TRUE" if side else f"CROSS JOIN {source}"
        return f"{side or 'INNER'} JOIN {source} ON {self.condition(join.args['on'], scope)}"

    def _merged(self, names: list[str], side: str, scope: Scope, before: int) -> str:
        """Let the columns that a join has in common become one each; return the condition of the join."""
        left, right = scope.relations[:before], scope.relations[before:]
        columns, tests = [], []
        for name in names:
            found = [[e for relation in part for e in relation.find(name)] for part in (left, right)]
            if not all(found):
                raise OracleError(904, f'"{name}": invalid identifier')
            if len(found[0]) > 1 or len(found[1]) > 1:
                raise OracleError(918, "column ambiguously defined")
            first, second = found[0][0], found[1][0]
            tests.append(ex.compare("=", first, second))
            kept = second if side == "RIGHT" else first
            if side == "FULL":
                common = ex.unified([first, second])
                kept = replace(common[0], sql=f"coalesce({common[0].sql}, {common[1].sql})")
            columns.append((name, replace(kept, nullable=first.nullable or second.nullable)))
        for relation in scope.relations:
            gone = {name for name, _ in relation.columns} & set(names)
            relation.columns = [(name, expr) for name, expr in relation.columns if name not in gone]
            relation.merged |= gone
        scope.relations.insert(0, Relation("", columns))
        return "(" + " AND ".join(tests) + ")"

    def _source(self, node: exp.Expr, scope: Scope, *, optional: bool) -> str:
        """Add one table, view, inline view or bracketed join to the scope; return its DuckDB text."""
        if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Table):
            return self._bracketed(node, scope, optional=optional)
        alias = self.new_alias()
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
            relation.name, relation.owner = identifier(node.args["alias"].this), ""
        if optional:
            relation.make_optional()
        scope.relations.append(relation)
        return sql

    def _bracketed(self, node: exp.Subquery, scope: Scope, *, optional: bool) -> str:
        only(node, "this")
        inner = Scope(parent=scope.parent, queries=scope.queries)
        table = node.this.copy()
        joins = table.args.pop("joins", None) or []
        parts = [self._source(table, inner, optional=False), *[self._join(join, inner) for join in joins]]
        for relation in inner.relations:
            if optional:
                relation.make_optional()
        scope.relations += inner.relations
        return f"({' '.join(parts)})"

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
        view = self._catalogue.view(name, self.schema) if owner in ("SYS", "PUBLIC") else None
        if view is None or not self._catalogue.may(self.user, name):
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
        if table.owner != self.user and not self._catalogue.may(self.user, "FLASHBACK"):
            raise OracleError(1031, "insufficient privileges")
        if version.expression.find(exp.Query):
            raise unsupported("a subquery in AS OF SCN")
        parameter = f"scn{len(self.moments)}"
        self.moments.append(Moment(parameter, table, self.expression(version.expression, Scope())))
        return as_of(table, parameter)

    def relation(self, table: Table, alias: str) -> Relation:
        """Return a table as a relation, without adding it anywhere."""
        rowid = Expr(f"({table.number << 40} + {alias}.{quote(ROW_NUMBER)})", ROWID, nullable=False)
        columns = [
            (c.name, Expr(f"{alias}.{quote(c.name)}", c.type, c.type.decimal, nullable=c.nullable))
            for c in table.columns
        ]
        return Relation(table.name, columns, table.owner, rowid=rowid)

    def find_table(self, node: exp.Table, *, must: bool = True) -> Table | None:
        """Return the table a node names; ORA-00942 if it must exist and does not."""
        owner = identifier(node.args["db"]) if node.args.get("db") else self.schema
        table = self._catalogue.table(owner, identifier(node.this))
        if table and table.owner != self.user and not self._catalogue.may(self.user, "SELECT ANY TABLE"):
            table = None
        if table is None and must:
            raise self._no_table(node)
        return table

    def _no_table(self, node: exp.Table) -> OracleError:
        return OracleError(942, "table or view does not exist", self._stmt.place(node.this))

    # --- WHERE and ROWNUM --------------------------------------------------------------------------------------------

    def _where(self, kept: list[exp.Expr], scope: Scope) -> tuple[str, str | None]:
        """Return the WHERE clause and, taken out of it, the limit that ROWNUM sets."""
        texts, limits = [], []
        for part in kept:
            found = rownum.limits(part, self, scope)
            limits += found
            if not found:
                texts.append(self.condition(part, scope))
        return ("WHERE " + " AND ".join(texts) if texts else ""), rownum.smallest(limits)

    def _numbered(self, source: str, where: str, limit: str | None, scope: Scope) -> str:
        """Put FROM and WHERE into an inline view of their own, since ROWNUM is counted before anything else happens."""
        alias = self.new_alias()
        listed = ["row_number() OVER () AS n"]
        for relation in scope.relations:
            for place, (name, expr) in enumerate(relation.columns):
                listed.append(f"{expr.sql} AS c{len(listed)}")
                relation.columns[place] = (name, replace(expr, sql=f"{alias}.c{len(listed) - 1}"))
            if relation.rowid:
                listed.append(f"{relation.rowid.sql} AS c{len(listed)}")
                relation.rowid = replace(relation.rowid, sql=f"{alias}.c{len(listed) - 1}")
        if "LEVEL" in scope.pseudo:
            listed.append(f"{scope.pseudo['LEVEL']} AS level")
            scope.pseudo["LEVEL"] = f"{alias}.level"
        scope.pseudo["ROWNUM"] = f"{alias}.n"
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
        owner = identifier(item.args["db"]) if item.args.get("db") else None
        for relation in scope.relations:
            if relation.name == wanted and owner in (None, relation.owner):
                if relation.merged:
                    raise unsupported("all columns of a table that is joined by USING or NATURAL")
                return [OutColumn(name, expr) for name, expr in relation.columns]
        raise OracleError(904, f'"{wanted}": invalid identifier', self._stmt.place(item.args["table"]))

    def _group(self, tree: exp.Select, scope: Scope) -> str:
        group = tree.args.get("group")
        if group is None:
            aggregated, columns = aggregates.outside(tree.expressions)
            if aggregated and any(
                isinstance(column.this, exp.Star) or self._relation_of(column, scope) for column in columns
            ):
                raise OracleError(937, "not a single-group group function")
            return ""
        only(group, "expressions")
        if any(isinstance(node, exp.Literal) for node in group.expressions):
            raise unsupported("GROUP BY a literal")
        return "GROUP BY " + ", ".join(
            ex.group_key(self.expression(node, scope), "GROUP BY") for node in group.expressions
        )

    def _order(self, tree: exp.Expr, scope: Scope, columns: list[OutColumn]) -> list[tuple[str, str]]:
        """Return the sort keys as (number of a column or expression, direction)."""
        order = tree.args.get("order")
        if order is None:
            return []
        only(order, "expressions")
        keys = [(self._key(node.this, scope, columns), _direction(node)) for node in order.expressions]
        if tree.args.get("distinct") and isinstance(tree, exp.Select):
            selected = {_place(number, columns) for number in range(1, len(columns) + 1)}
            if not all(key in selected for key, _ in keys):
                raise OracleError(1791, "not a SELECTed expression")
        return keys

    def sort_key(self, node: exp.Ordered, scope: Scope) -> str:
        """Translate one key of ORDER BY inside an expression."""
        return f"{ex.sort_key(self.expression(node.this, scope))} {_direction(node)}"

    def _key(self, key: exp.Expr, scope: Scope, columns: list[OutColumn]) -> str:
        if isinstance(key, exp.Literal) and not key.is_string:
            number = int(key.this) if key.this.isdigit() else 0
            if not 1 <= number <= len(columns):
                raise OracleError(1785, "ORDER BY item must be the number of a SELECT-list expression")
            return _place(number, columns)
        if isinstance(key, exp.Column) and not key.args.get("table"):
            places = [n for n, column in enumerate(columns, 1) if column.name == identifier(key.this)]
            if len(places) == 1:
                return _place(places[0], columns)
        value = self.expression(key, scope)
        same = [n for n, column in enumerate(columns, 1) if column.expr.sql == value.sql]
        return _place(same[0], columns) if same else ex.sort_key(value)

    def _limited(
        self,
        tree: exp.Expr,
        scope: Scope,
        distinct: str,
        listed: list[str],
        parts: list[str],
        keys: list[tuple[str, str]],
    ) -> str:
        """Put a query block together: its select list, the rest of it, its order and its row limits."""
        limit, offset = tree.args.get("limit"), tree.args.get("offset")
        if limit is not None and not isinstance(limit, exp.Fetch):
            raise OracleError(933, "SQL command not properly ended")
        options = limit.args.get("limit_options") if limit is not None else None
        skipped = self._row_count(offset.expression, scope) if offset is not None else "0"
        if options and (options.args.get("percent") or options.args.get("with_ties")):
            assert limit is not None
            return self._shared(
                limit, scope, skipped, [f"{distinct}{', '.join(listed)}", *parts], keys, len(listed)
            )
        rest = [part for part in parts if part]
        if keys:
            rest.append("ORDER BY " + ", ".join(f"{key} {direction}" for key, direction in keys))
        if limit is not None:
            rest.append(f"LIMIT {self._row_count(limit.args.get('count'), scope)}")
        if offset is not None:
            rest.append(f"OFFSET {skipped}")
        return f"SELECT {distinct}{', '.join(listed)} {' '.join(rest)}"

    def _shared(
        self,
        limit: exp.Fetch,
        scope: Scope,
        skipped: str,
        parts: list[str],
        keys: list[tuple[str, str]],
        width: int,
    ) -> str:
        """FETCH FIRST with PERCENT (of all rows, rounded up) or WITH TIES (rows that sort as the last one)."""
        options = limit.args["limit_options"]
        listed, names = parts[0], []
        for number, (key, direction) in enumerate(keys, 1):
            if key.isdigit():
                names.append(f"c{key} {direction}")
            else:
                listed += f", {key} AS k{number}"
                names.append(f"k{number} {direction}")
        order = f"ORDER BY {', '.join(names)}" if names else ""
        if options.args.get("percent"):
            share = ex.as_number(self.expression(limit.args["count"], scope))
            if not share.decimal:
                raise unsupported("this kind of number in FETCH")
            last = f"{skipped} + CAST(ceil(total * greatest(coalesce({share.sql}, 0), 0) / 100) AS BIGINT)"
        else:
            last = f"{skipped} + {self._row_count(limit.args.get('count'), scope)}"
        place = "rank" if options.args.get("with_ties") and names else "number"
        inner = f"SELECT {listed} {' '.join(part for part in parts[1:] if part)}"
        ranks = f", rank() OVER ({order}) AS rank" if names else ""
        columns = ", ".join(f"c{number}" for number in range(1, width + 1))
        return (
            f"SELECT {columns} FROM (SELECT *, row_number() OVER ({order}) AS number{ranks}, count(*) OVER () AS total "
            f"FROM ({inner})) WHERE number > {skipped} AND {place} <= {last} ORDER BY number"
        )

    def _row_count(self, node: exp.Expr | None, scope: Scope) -> str:
        count = ex.number_literal(Decimal(1)) if node is None else ex.as_number(self.expression(node, scope))
        if not count.decimal:
            raise unsupported("this kind of number in FETCH or OFFSET")
        return f"CAST(coalesce(greatest(floor({count.sql}), 0), 0) AS BIGINT)"

    # --- expressions -------------------------------------------------------------------------------------------------

    def condition(self, node: Any, scope: Scope) -> str:
        """Translate a condition."""
        return conditions.condition(node, self, scope)

    def expression(self, node: Any, scope: Scope) -> Expr:
        """Translate an expression."""
        aggregate = aggregates.FUNCTIONS.get(type(node))
        if aggregate:
            return aggregate(node, self, scope)
        function = self._nodes.get(type(node))
        if function is None:
            raise unsupported(node.sql_name() if isinstance(node, exp.Func) else node.key.upper())
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
        name = identifier(node.this)
        qualifier = identifier(node.args["table"]) if node.args.get("table") else None
        owner = identifier(node.args["db"]) if node.args.get("db") else None
        if qualifier is None and name in scope.pseudo:
            return Expr(f"CAST({scope.pseudo[name]} AS DECIMAL(19, 0))", NUMBER, (19, 0), nullable=False)
        at: Scope | None = scope
        while at is not None:
            near = [r for r in at.relations if qualifier in (None, r.name) and owner in (None, r.owner)]
            found = [e for relation in near for e in relation.find(name)]
            if len(found) > 1:
                raise OracleError(918, "column ambiguously defined", self._stmt.place(node.this))
            if found:
                return found[0]
            if qualifier and any(name in relation.merged for relation in near):
                raise OracleError(25154, "column part of USING clause cannot have qualifier")
            at = at.parent
        return self._no_column(node, name, qualifier, owner)

    def _no_column(self, node: exp.Column, name: str, qualifier: str | None, owner: str | None) -> Expr:
        """Return what a name stands for that is no column, if it is anything."""
        if name in _PSEUDO_COLUMNS:
            raise unsupported(name)
        known = conversions.constant(name) if qualifier is None else None
        if known:
            return known
        if qualifier and name in ("NEXTVAL", "CURRVAL"):
            raise unsupported(f"sequences ({name})")
        if qualifier is None and name == "USER":
            return self._current_user(node, Scope())
        if qualifier is None and name == "UID":
            return ex.number_literal(Decimal(user_id(self.users, self.user)))
        shown = ".".join(f'"{part}"' for part in (owner, qualifier, name) if part)
        first = node.args.get("db") or node.args.get("table") or node.this
        raise OracleError(904, f"{shown}: invalid identifier", self._stmt.place(first))

    def _call(self, node: exp.Anonymous, scope: Scope) -> Expr:
        if str(node.this).upper() == CAST:
            value, named = node.expressions
            return conversions.cast(self.expression(value, scope), type_named(str(named.this)))
        return called(node, self, scope)

    def _package(self, node: exp.Dot, scope: Scope) -> Expr:
        """A function of a package, written with brackets."""
        call = node.expression
        if not isinstance(node.this, exp.Identifier) or not isinstance(call, exp.Anonymous):
            raise unsupported(node.sql(dialect="oracle"))
        if not call.expressions:
            column = exp.Column(this=exp.to_identifier(str(call.this)), table=node.this)
            if _is_current_scn(column):
                return self._current_scn(column)
        name = f"{identifier(node.this)}.{str(call.this).upper()}"
        return call_named(name, call.expressions, self, scope)

    def _current_scn(self, node: exp.Column) -> Expr:
        if not self._catalogue.may(self.user, "DBMS_FLASHBACK"):
            shown = '"DBMS_FLASHBACK"."GET_SYSTEM_CHANGE_NUMBER": invalid identifier'
            raise OracleError(904, shown, self._stmt.place(node.args["table"]))
        return Expr("CAST(current_scn() AS DECIMAL(19, 0))", NUMBER, (19, 0))

    def _extract(self, node: exp.Extract, scope: Scope) -> Expr:
        return moments.extracted(str(node.this.name).upper(), self.expression(node.expression, scope))

    def _at_time_zone(self, node: exp.AtTimeZone, scope: Scope) -> Expr:
        zone = conversions.offset_of(self.expression(node.args["zone"], scope))
        return moments.at_zone(self.expression(node.this, scope), zone)

    def _add(self, node: exp.Add | exp.Sub, scope: Scope) -> Expr:
        operator = "+" if isinstance(node, exp.Add) else "-"
        if isinstance(node.right, exp.Interval):
            return self._moved(self.expression(node.left, scope), node.right, operator)
        if isinstance(node.left, exp.Interval) and operator == "+":
            return self._moved(self.expression(node.right, scope), node.left, operator)
        left, right = self._both(node, scope)
        if operator == "+" and right.is_datetime and not left.is_datetime:
            left, right = right, left
        if not left.is_datetime:
            if right.is_datetime:
                raise OracleError(932, "inconsistent datatypes: expected NUMBER got DATE")
            return ex.added(left, right, operator)
        if right.is_datetime and operator == "+":
            raise OracleError(975, "date + date not allowed")
        assert left.type is not None
        if left.type != DATE or not (
            right.type in (None, DATE) or right.is_number or right.is_text or right.is_binary_number
        ):
            raise unsupported(
                "arithmetic on TIMESTAMP (its results are INTERVALs, or DATEs that depend on it)"
            )
        nullable = left.nullable or right.nullable
        if right.is_datetime:
            return Expr(f"date_minus({left.sql}, {right.sql})", NUMBER, nullable=nullable)
        days = ex.as_blob(ex.as_number(right if operator == "+" else ex.negated(right)))
        return Expr(f"date_plus({left.sql}, {days.sql})", DATE, nullable=nullable)

    def _moved(self, moment: Expr, node: exp.Interval, operator: str) -> Expr:
        """Return a date or timestamp plus or minus an interval literal."""
        if not isinstance(node.this, exp.Literal) or not node.this.is_string:
            raise unsupported("INTERVAL of anything but a literal")
        if moment.type is None or not moment.is_datetime:
            raise OracleError(30081, "invalid data type for datetime/interval arithmetic")
        unit, to, precision = _interval_unit(node.args.get("unit"))
        months, seconds = dates.interval(str(node.this.this), unit, to=to, precision=precision)
        name, count = (
            ("date_plus_months", months) if unit in ("YEAR", "MONTH") else ("date_plus_seconds", seconds)
        )
        sign = 1 if operator == "+" else -1
        return moments.moved(moment, lambda clock: f"{name}({clock}, {sign * count})")

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
        return choice(tests, results)

    def _trim(self, node: exp.Trim, scope: Scope) -> Expr:
        text = ex.as_text(self.expression(node.this, scope))
        marks = (
            ex.as_text(self.expression(node.expression, scope))
            if node.args.get("expression")
            else ex.text_literal(" ")
        )
        if isinstance(marks.constant, str) and len(marks.constant) != 1:
            raise OracleError(30001, "trim set should have only one character")
        if not isinstance(marks.constant, str) and marks.type is not None and node.args.get("expression"):
            raise unsupported("TRIM of a character that is not a literal")
        side = str(node.args.get("position") or "").upper()
        name = {"": "trim", "BOTH": "trim", "LEADING": "ltrim", "TRAILING": "rtrim"}[side]
        assert text.type is not None
        sql = f"nullif({name}({text.sql}, {marks.sql}), '')"
        return Expr(sql, ex.text_like(text, text.type.length if text.is_national else text.type.size))

    def _date_literal(self, node: exp.DateStrToDate, scope: Scope) -> Expr:
        text = str(node.this.this) if isinstance(node.this, exp.Literal) else ""
        if text.startswith("-"):
            raise unsupported("a date before the year 1")
        if not re.fullmatch(r"\d{4}-\d{1,2}-\d{1,2}", text):
            raise OracleError(1861, "literal does not match format string")
        day = moments.moment(*(int(part) for part in text.split("-")))
        return Expr(f"CAST({literal(day.isoformat())} AS TIMESTAMP)", DATE, nullable=False)

    def _timestamp_literal(self, node: exp.StrToTime, scope: Scope) -> Expr:
        return moments.timestamp_literal(str(node.this.this) if isinstance(node.this, exp.Literal) else "")

    def _sysdate(self, node: exp.CurrentTimestamp, scope: Scope) -> Expr:
        if not node.args.get("sysdate"):
            raise unsupported("CURRENT_TIMESTAMP")
        return Expr("date_trunc('second', CAST(now() AT TIME ZONE 'UTC' AS TIMESTAMP))", DATE, nullable=False)

    def _current_user(self, node: exp.Expr, scope: Scope) -> Expr:
        return replace(ex.text_literal(self.user), type=text_type(128))

    def _scalar(self, node: exp.Subquery, scope: Scope) -> Expr:
        query = self.query(node, scope)
        if len(query.columns) != 1:
            raise OracleError(913, "too many values")
        return replace(query.columns[0].expr, sql=f"({query.sql})", nullable=True)


def _same_group(left: str, right: str) -> bool:
    """Tell whether UNION and its like put values of two kinds together: of one group only (SQL Language Reference)."""
    return left == right or {left, right} == {"number", "binary"}


def _place(number: int, columns: list[OutColumn]) -> str:
    """Return a sort key that is a column of the result."""
    value = columns[number - 1].expr
    key = ex.sort_key(value)
    return str(number) if key == value.sql else key


def _is_current_scn(node: exp.Column) -> bool:
    if isinstance(node.this, exp.Star) or not node.args.get("table"):
        return False
    owner = identifier(node.args["db"]) if node.args.get("db") else "SYS"
    names = (owner, identifier(node.args["table"]), identifier(node.this))
    return names == ("SYS", "DBMS_FLASHBACK", "GET_SYSTEM_CHANGE_NUMBER")


def _unnamed(node: exp.Expr) -> str:
    """Return the name of a column that is an expression: its text, without what was rewritten for the parser."""
    written = node.transform(_as_written).sql(dialect="oracle")
    text = re.sub(r"\s", "", written).upper().replace(CALL.upper(), "")
    return re.sub(rf"{CLOCK}(\w+?)(\(\)|(?=\())", r"\1", text)


def _as_written(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Anonymous) and str(node.this).upper() == CAST:
        value, named = node.expressions
        typed = exp.Alias(this=value.transform(_as_written), alias=exp.Var(this=named.this))
        return exp.Anonymous(this="CAST", expressions=[typed])
    return node


def _direction(node: exp.Ordered) -> str:
    """Return the direction of a sort key; NULL is larger than everything unless the query says otherwise (sqlglot knows)."""
    only(node, "this", "desc", "nulls_first")
    nulls = "FIRST" if node.args.get("nulls_first") else "LAST"
    return f"{'DESC' if node.args.get('desc') else 'ASC'} NULLS {nulls}"


def _marked(node: exp.Expr) -> bool:
    """Tell whether a condition has the (+) of an old outer join."""
    return any(column.args.get("join_mark") for column in node.find_all(exp.Column))


def _is_named(table: exp.Table, name: str) -> bool:
    """Tell whether a node names a table or a query of WITH by this name alone."""
    return (
        isinstance(table.this, exp.Identifier) and not table.args.get("db") and identifier(table.this) == name
    )


def _unmarked(node: exp.Expr) -> exp.Expr:
    for column in node.find_all(exp.Column):
        column.set("join_mark", None)
    return node


def _interval_unit(node: Any) -> tuple[str, str | None, int]:
    """Return the leading field of an interval literal, its last field and the precision of the leading one."""
    if isinstance(node, exp.IntervalSpan):
        unit, _, precision = _interval_unit(node.this)
        to = _interval_unit(node.expression)[0]
        if (unit in ("YEAR", "MONTH")) != (to in ("YEAR", "MONTH")):
            raise OracleError(30089, "missing or invalid <datetime field>")
        return unit, to, precision
    if isinstance(node, exp.Var):
        return str(node.this).upper(), None, 2
    digits = getattr(node, "this", None)
    if isinstance(digits, exp.Literal):
        return str(node.key).upper(), None, int(digits.this)
    raise unsupported("an INTERVAL of this form")
