"""SOQL over one object: fields, parents' fields, aggregates, groups.

    SELECT COUNT() | field, Rel.Rel.field, FIELDS(ALL), ... | field, COUNT(f) a, SUM(f), ...
    FROM Object [alias] [WHERE conditions] [GROUP BY f, ... [HAVING conditions]]
    [ORDER BY f [ASC|DESC] [NULLS FIRST|LAST], ...] [LIMIT n] [OFFSET n]

A query is checked against the schema while it is read, and written as SQL. Whatever is not in this part is
refused with MALFORMED_QUERY and a text that names it: no answer is better than a wrong one. Rules are from the
SOQL guide (documented); texts that recorded replies show are marked seen, the others assumed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from math import floor

from .dates import date_range
from .errors import ApiError
from .ids import normal_id
from .schema import Field, Schema, SObject
from .store import bin_of
from .values import Unreadable, Value, parse_value

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^'\\]|\\.)*')"
    r"|(?P<moment>\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))?)"
    r"|(?P<time>\d\d:\d\d:\d\d(?:\.\d+)?Z?)"
    r"|(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?::\d+)?)"
    r"|(?P<mark><=|>=|!=|<>|[(),=<>]))",
    re.ASCII | re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\"}
_COMPARE = {"=", "!=", "<>", "<", "<=", ">", ">="}
_AGGREGATES = {"COUNT", "COUNT_DISTINCT", "SUM", "MIN", "MAX", "AVG"}
_FIELDS = {"ALL", "STANDARD", "CUSTOM"}
_CLAUSES = ("WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "OFFSET")
# Names of nothing (SOQL guide: Reserved Keywords); GROUP is an object's name all the same.
_RESERVED = {"AND", "FROM", "HAVING", "IN", "LIKE", "LIMIT", "NOT", "NULL", "OR", "SELECT", "WHERE"}
_NOT_YET = {"WITH", "FOR", "TYPEOF", "USING", "ALL", "UPDATE"}
_REFERENCE = "Please reference your WSDL or the describe call for the appropriate names."
MAX_TEXT = 100_000  # characters of a query (SOQL and SOSL limits)
MAX_OFFSET = 2_000  # SOQL guide: OFFSET
MAX_FIELDS_LIMIT = 200  # SOQL guide: FIELDS()
MAX_STEPS = 5  # SOQL guide: Understanding Relationship Query Limitations
MAX_BRACKETS = 50  # one inside the other; a bound of this server


@dataclass(frozen=True)
class Token:
    """One word of the query and where it starts."""

    kind: str
    text: str
    at: int


@dataclass(frozen=True)
class Path:
    """A field of the object, or of the record that its references lead to, one step after the other."""

    field: Field
    owner: SObject
    steps: tuple[tuple[Field, SObject], ...] = ()

    @property
    def name(self) -> str:
        """The path as results show it."""
        return ".".join([*(str(r.relationship_name) for r, _ in self.steps), self.field.name])

    def sql(self) -> str:
        """The value as an SQL expression."""
        if not self.steps:
            return f'"{self.owner.name}"."{self.field.name}"'
        found = f'"{self.owner.name}"."{self.steps[0][0].name}"'
        wanted = [reference.name for reference, _ in self.steps[1:]] + [self.field.name]
        for (_, target), name in zip(self.steps, wanted, strict=True):
            found = f'(SELECT p."{name}" FROM "{target.name}" AS p WHERE p.Id = {found})'
        # An expression does not keep its column's collation.
        return found + (" COLLATE NOCASE" if self.field.is_text and not self.field.case_sensitive else "")


@dataclass(frozen=True)
class Aggregate:
    """``COUNT(Id) n``, or a grouped field (``function`` is empty); ``alias`` is its key in the result."""

    function: str
    path: Path
    alias: str

    def sql(self) -> str:
        """As an SQL expression; sums are exact, because numbers are scaled integers."""
        inner = self.path.sql()
        if not self.function:
            return inner
        if self.function == "COUNT_DISTINCT":
            return f"COUNT(DISTINCT {inner})"
        text = (
            self.function in ("MIN", "MAX") and self.path.field.is_text and not self.path.field.case_sensitive
        )
        return f"{self.function}({inner})" + (" COLLATE NOCASE" if text else "")

    def selected_sql(self) -> str:
        """As it is fetched: an average as its exact sum and count, ``sum/count``."""
        if self.function != "AVG":
            return self.sql()
        inner = self.path.sql()
        return f"SUM({inner}) || '/' || COUNT({inner})"

    @property
    def counts(self) -> bool:
        """Whether the value is a count and not a value of the field."""
        return self.function.startswith("COUNT")


@dataclass(frozen=True)
class Query:
    """A checked query: ``paths`` or ``aggregates``, or neither for COUNT()."""

    obj: SObject
    paths: tuple[Path, ...]
    aggregates: tuple[Aggregate, ...]
    where: str
    given: tuple[Value, ...]
    order: str
    limit: int | None
    offset: int
    group: str = ""
    having: str = ""
    deleted: bool = False  # queryAll: deleted records too

    @property
    def only_count(self) -> bool:
        """Whether it is ``SELECT COUNT()``."""
        return not self.paths and not self.aggregates

    def source(self) -> str:
        """The object's table, with the deleted records if they are wanted, under the object's name."""
        name = self.obj.name
        if not self.deleted:
            return f'"{name}"'
        columns = ", ".join(["n", *(f'"{f.name}"' for f in self.obj.fields)])
        both = f'SELECT {columns} FROM "{name}" UNION ALL SELECT {columns} FROM "{bin_of(self.obj)}"'
        return f'({both}) AS "{name}"'

    def tail(self) -> str:
        """FROM to the end, with ? for ``given``."""
        sql = f" FROM {self.source()} WHERE {self.where}"
        if self.group:
            sql += f" GROUP BY {self.group}"
        if self.having:
            sql += f" HAVING {self.having}"
        if self.order:
            sql += f" ORDER BY {self.order}"
        if self.limit is not None or self.offset:
            sql += f" LIMIT {-1 if self.limit is None else self.limit} OFFSET {self.offset}"
        return sql


def parse(schema: Schema, text: str, *, now: datetime | None = None, deleted: bool = False) -> Query:
    """Read a query; date literals count from ``now``. Raises 400 MALFORMED_QUERY, INVALID_TYPE, INVALID_FIELD."""
    if len(text) > MAX_TEXT:
        raise _malformed(f"SOQL statements cannot be longer than {MAX_TEXT} characters.")
    parser = _Parser(schema, text, _split(text), (now or datetime.now(UTC)).astimezone(UTC).date())
    query = parser.query()
    if parser.peek().kind != "end":
        raise parser.unexpected()
    return replace(query, deleted=deleted)


def _malformed(text: str) -> ApiError:
    return ApiError(400, "MALFORMED_QUERY", text)


def _cannot(what: str) -> ApiError:
    return _malformed(f"fakeforce does not implement {what} in SOQL")


def _split(text: str) -> list[Token]:
    tokens: list[Token] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise _malformed(f"unexpected token: '{(text[at:].split() or [' '])[0]}'")
        tokens.append(Token(found.lastgroup, found.group(found.lastgroup), found.start(found.lastgroup)))
        at = found.end()
    return tokens


class _Parser:
    def __init__(self, schema: Schema, text: str, tokens: list[Token], today: date, at: int = 0) -> None:
        self.schema, self.text, self.tokens, self.today, self.at = schema, text, tokens, today, at
        self.inner = at > 0  # inside a semi-join
        self.obj: SObject
        self.alias = ""
        self.given: list[Value] = []
        self.groups: list[Path] | None = None
        self.depth = self.unnamed = self.semi_joins = 0
        self.fields_function = ""

    # -- words

    def peek(self) -> Token:
        """The token to come; kind ``end`` after the last."""
        return self.tokens[self.at] if self.at < len(self.tokens) else Token("end", "<EOF>", len(self.text))

    def _next(self) -> Token:
        token = self.peek()
        self.at += 1
        return token

    def _is(self, *words: str) -> bool:
        token = self.peek()
        return token.kind in ("name", "mark") and token.text.upper() in words

    def _follows(self, *texts: str) -> bool:
        """Whether the tokens after the coming one are these."""
        return [t.text.upper() for t in self.tokens[self.at + 1 : self.at + 1 + len(texts)]] == list(texts)

    def _accept(self, *words: str) -> bool:
        if self._is(*words):
            self.at += 1
            return True
        return False

    def _expect(self, word: str) -> Token:
        if not self._is(word):
            raise self.unexpected()
        return self._next()

    def unexpected(self) -> ApiError:
        """The refusal of the token to come (seen; the real text has the query's lines around it)."""
        token = self.peek()
        if token.kind == "name" and token.text.upper() in _NOT_YET:
            return _cannot(token.text.upper())
        if token.kind == "end":
            return _malformed("unexpected token: '<EOF>'")
        return _malformed(f"{self._place(token)}unexpected token: '{token.text}'")

    def _place(self, token: Token) -> str:
        """The lead of an error text: the query around the token, a caret, row and column (seen)."""
        row = self.text.count("\n", 0, token.at) + 1
        column = token.at - (self.text.rfind("\n", 0, token.at) + 1) + 1
        near = self.text[max(0, token.at - 30) : token.at + 30]
        caret = " " * min(30, token.at)
        return f"\n{near}\n{caret}^\nERROR at Row:{row}:Column:{column}\n"

    def _name(self) -> Token:
        token = self.peek()
        if token.kind != "name" or ":" in token.text or token.text.upper() in _RESERVED:
            raise self.unexpected()
        return self._next()

    def _listed(self, read: Callable[[], object]) -> None:
        """One or more, with commas between."""
        read()
        while self._accept(","):
            read()

    # -- the query

    def query(self) -> Query:
        """A whole statement, up to the end or the bracket that closes a semi-join."""
        self._expect("SELECT")
        start = self.at
        self._skip_to_from()
        self._object()
        after_from = self.at
        self.at = start
        paths, aggregates = self._select()
        self._expect("FROM")
        self.at = after_from
        where = self._either(self._condition) if self._accept("WHERE") else "1"
        groups = self._groups() if self._accept("GROUP") else []
        self.groups = groups
        having = self._either(self._having) if groups and self._accept("HAVING") else ""
        if groups:
            paths, aggregates = (), self._grouped(paths, aggregates, groups)
        order = self._order(groups, aggregates) if self._accept("ORDER") else ""
        limit = self._whole() if self._accept("LIMIT") else None
        offset = self._offset() if self._accept("OFFSET") else 0
        self._check_shape(paths, aggregates, groups, (order, limit, offset))
        return Query(
            self.obj, paths, aggregates, where, tuple(self.given), order, limit, offset,
            ", ".join(p.sql() for p in groups), having,
        )  # fmt: skip

    def _check_shape(
        self,
        paths: tuple[Path, ...],
        aggregates: tuple[Aggregate, ...],
        groups: list[Path],
        rest: tuple[str, int | None, int],
    ) -> None:
        order, limit, offset = rest
        if not groups and any(not a.function for a in aggregates):
            raise _malformed("only aggregate expressions use field aliasing")  # seen
        if paths and aggregates:
            raise _malformed(f"Field must be grouped or aggregated: {paths[0].name}")  # seen
        if aggregates and not groups:
            for word, given in (("ORDER BY", order), ("LIMIT", limit is not None), ("OFFSET", offset)):
                if given:  # seen for LIMIT
                    text = "Non-grouped query that uses overall aggregate functions cannot also use"
                    raise _malformed(f"{text} {word}")
        if self.fields_function in ("ALL", "CUSTOM") and (limit is None or limit > MAX_FIELDS_LIMIT):
            raise _malformed("The SOQL FIELDS function must have a LIMIT of at most 200")  # seen

    def _skip_to_from(self) -> None:
        depth = 0
        while not (depth == 0 and self._is("FROM")):
            if self.peek().kind == "end" or depth < 0:
                raise self.unexpected()
            depth += {"(": 1, ")": -1}.get(self._next().text, 0)
        self.at += 1

    def _object(self) -> None:
        token = self._name()
        found = self.schema.get(token.text)
        if found is None:
            text = (
                f"sObject type '{token.text}' is not supported. If you are attempting to use a custom "
                "object, be sure to append the '__c' after the entity name. " + _REFERENCE
            )
            raise ApiError(400, "INVALID_TYPE", self._place(token) + text)
        self.obj = found
        self._accept("AS")
        if self.peek().kind == "name" and not self._is(*_CLAUSES, *_NOT_YET):
            self.alias = self._name().text
        if self._is(","):
            raise _cannot("several objects in FROM")

    # -- what is selected

    def _select(self) -> tuple[tuple[Path, ...], tuple[Aggregate, ...]]:
        if self._is("COUNT") and self._follows("(", ")"):
            self.at += 3
            return (), ()
        paths: list[Path] = []
        aggregates: list[Aggregate] = []
        self._listed(lambda: self._selected(paths, aggregates))
        names = [p.name for p in paths] + [a.alias for a in aggregates]
        twice = next((n for n in names if names.count(n) > 1), None)
        if twice is not None:
            what = "duplicate alias" if twice in [a.alias for a in aggregates] else "duplicate field selected"
            raise _malformed(f"{what}: {twice}")  # first text seen, code of the second assumed
        return tuple(paths), tuple(aggregates)

    def _selected(self, paths: list[Path], aggregates: list[Aggregate]) -> None:
        if self._is("("):
            raise _cannot("a subquery")
        if self._is("TYPEOF"):
            raise self.unexpected()
        if self._is("FIELDS") and self._follows("("):
            paths.extend(self._all_fields())
        elif self._follows("("):
            aggregates.append(self._aggregate())
        else:
            paths.append(self._path())
            if self.peek().kind == "name" and not self._is("FROM"):
                aggregates.append(Aggregate("", paths.pop(), self._name().text))

    def _all_fields(self) -> list[Path]:
        """FIELDS(ALL), FIELDS(STANDARD), FIELDS(CUSTOM) (SOQL guide: FIELDS)."""
        self.at += 2
        token = self._name()
        word = token.text.upper()
        if word not in _FIELDS:
            raise _malformed(f"unexpected token: '{token.text}'")
        self._expect(")")
        self.fields_function = word
        return [Path(f, self.obj) for f in self.obj.fields if word == "ALL" or f.custom == (word == "CUSTOM")]

    def _aggregate(self) -> Aggregate:
        """Those without an alias are expr0, expr1, ... (SOQL guide: Using Aliases with GROUP BY)."""
        function, path = self._call()
        if self.peek().kind == "name" and not self._is("FROM"):
            return Aggregate(function, path, self._name().text)
        self.unnamed += 1
        return Aggregate(function, path, f"expr{self.unnamed - 1}")

    def _call(self) -> tuple[str, Path]:
        token = self._next()
        function = token.text.upper()
        if token.kind != "name" or function not in _AGGREGATES:
            raise _cannot(f"{token.text}()")
        self._expect("(")
        if self._is(")"):
            raise self.unexpected()
        if self._follows("("):
            raise _cannot(f"{self.peek().text}()")
        path = self._path()
        self._expect(")")
        if function not in path.field.aggregates:  # text seen
            raise _malformed(f"field {path.name} does not support aggregate operator {function}")
        return function, path

    def _groups(self) -> list[Path]:
        self._expect("BY")
        found: list[Path] = []

        def read() -> None:
            if self._follows("("):
                raise _cannot(f"GROUP BY {self.peek().text.upper()}()")
            path = self._path()
            if not path.field.groupable:
                raise ApiError(
                    400, "INVALID_FIELD", f"field '{path.name}' can not be grouped in a query call"
                )
            found.append(path)

        self._listed(read)
        return found

    def _grouped(
        self, paths: tuple[Path, ...], aggregates: tuple[Aggregate, ...], groups: list[Path]
    ) -> tuple[Aggregate, ...]:
        """The cells of a group: its fields, under their last name (SOQL guide: GROUP BY), and aggregates."""
        if not paths and not aggregates:
            raise _malformed("Grouped query cannot use COUNT() without a field")
        fields = [Aggregate("", p, p.field.name) for p in paths]
        for cell in [*fields, *(a for a in aggregates if not a.function)]:
            if cell.path not in groups:
                raise _malformed(f"Field must be grouped or aggregated: {cell.path.name}")  # seen
        names = [cell.alias for cell in [*fields, *aggregates]]
        twice = next((n for n in names if names.count(n) > 1), None)
        if twice is not None:
            raise _malformed(f"duplicate alias: {twice}")  # seen
        return (*fields, *aggregates)

    # -- paths

    def _path(self) -> Path:
        token = self.peek()
        if token.kind == "name" and self._follows("("):
            raise _cannot(f"{token.text}()")
        self._name()
        parts = token.text.split(".")
        if len(parts) > 1 and parts[0].lower() in (self.obj.name.lower(), self.alias.lower() or None):
            parts = parts[1:]
        if len(parts) - 1 > MAX_STEPS:
            text = f"no more than {MAX_STEPS} levels can be specified in a child-to-parent relationship"
            raise _malformed(text)  # assumed
        owner = self.obj
        steps: list[tuple[Field, SObject]] = []
        for relationship in parts[:-1]:
            steps.append(self._step(token, owner, relationship))
            owner = steps[-1][1]
        found = owner.field(parts[-1])
        if found is None:
            raise self._no_column(token, parts[-1], owner)
        return Path(found, self.obj, tuple(steps))

    def _step(self, token: Token, owner: SObject, relationship: str) -> tuple[Field, SObject]:
        reference = owner.reference(relationship)
        if reference is None:
            text = (
                f"Didn't understand relationship '{relationship}' in field path. If you are attempting to use a "
                "custom relationship, be sure to append the '__r' after the custom relationship name. "
            )  # seen
            raise ApiError(400, "INVALID_FIELD", self._place(token) + text + _REFERENCE)
        if len(reference.reference_to) > 1:
            raise _cannot("relationships with several targets")
        target = self.schema.get(reference.reference_to[0])
        if target is None:
            raise _cannot(f"the object {reference.reference_to[0]}, which has no schema file,")
        return reference, target

    def _no_column(self, token: Token, name: str, obj: SObject) -> ApiError:
        text = (
            f"No such column '{name}' on entity '{obj.name}'. If you are attempting to use a custom field, "
            "be sure to append the '__c' after the custom field name. " + _REFERENCE
        )
        return ApiError(400, "INVALID_FIELD", self._place(token) + text)

    # -- conditions: each one is 1 or 0, never NULL, as SOQL knows only true and false

    def _either(self, read: Callable[[], str]) -> str:
        """Conditions joined by AND or by OR; both without brackets is an error (SOQL guide: WHERE)."""
        before = self.semi_joins
        parts = [self._negated(read)]
        word = "OR" if self._is("OR") else "AND"
        while self._accept(word):
            parts.append(self._negated(read))
        if self._is("AND", "OR"):
            raise self.unexpected()
        if word == "OR" and self.semi_joins > before:
            raise _malformed("Semi join sub-selects are not allowed with the 'OR' operator")  # seen
        return _joined(parts, word)

    def _negated(self, read: Callable[[], str]) -> str:
        if self._accept("NOT"):
            return f"(NOT {self._deeper(lambda: self._negated(read))})"
        if self._accept("("):
            inner = self._deeper(lambda: self._either(read))
            self._expect(")")
            return inner
        return read()

    def _deeper(self, read: Callable[[], str]) -> str:
        if self.depth >= MAX_BRACKETS:
            raise _cannot(f"more than {MAX_BRACKETS} brackets one inside the other")
        self.depth += 1
        found = read()
        self.depth -= 1
        return found

    def _condition(self) -> str:
        path = self._path()
        if path.field.long_text:
            text = f"field '{path.name}' can not be filtered in a query call"
            raise ApiError(400, "INVALID_FIELD", text)
        if self.groups is not None and path not in self.groups:
            raise _malformed(f"Field must be grouped or aggregated: {path.name}")
        token = self._next()
        word = token.text.upper()
        if token.kind in ("name", "mark"):
            if word in _COMPARE:
                return self._comparison(path, path.sql(), "!=" if word == "<>" else word)
            if word == "LIKE":
                return self._like(path)
            if word == "IN":
                return self._in(path)
            if word == "NOT" and self._accept("IN"):
                return f"(NOT {self._in(path)})"
            if word in ("INCLUDES", "EXCLUDES"):
                return self._includes(path, word)
        self.at -= 1
        raise self.unexpected()

    def _having(self) -> str:
        """A condition on a group: an aggregate or a grouped field."""
        if not self._follows("("):
            return self._condition()
        function, path = self._call()
        token = self._next()
        if token.text not in _COMPARE:
            self.at -= 1
            raise self.unexpected()
        operator = "!=" if token.text == "<>" else token.text
        sql = Aggregate(function, path, "").sql()
        if function.startswith("COUNT"):
            path = Path(Field("", "", "int"), path.owner)
        elif function == "AVG":
            return self._average(path, sql, operator)
        return self._comparison(path, sql, operator)

    def _average(self, path: Path, sql: str, operator: str) -> str:
        """An average is a double here (assumed); the literal is scaled as the stored numbers are."""
        number = self._number(path, self._next()).scaleb(path.field.scale)
        if abs(number) >= 2**62:
            raise _cannot("numbers of that size")
        return f"ifnull({sql} {operator} {float(number)!r}, 0)"

    def _comparison(self, path: Path, sql: str, operator: str) -> str:
        token = self._next()
        word = token.text.upper() if token.kind == "name" else ""
        if path.field.type == "multipicklist" and operator not in ("=", "!="):
            raise self._bad_operator(path, operator)
        if word == "NULL":
            if operator not in ("=", "!="):
                raise _malformed(f"operator {operator} is not possible with null")
            return f"({sql} IS {'NOT ' if operator == '!=' else ''}NULL)"
        if path.field.is_number or path.field.type == "int":
            return self._number_comparison(path, sql, operator, token)
        if operator not in ("=", "!=") and path.field.type in ("boolean", "id", "reference"):
            raise self._bad_operator(path, operator)
        if word and path.field.type in ("date", "datetime"):
            return self._range_comparison(path, sql, operator, token)
        self.given.append(self._literal(path, token))
        if operator in ("=", "!="):
            return f"({sql} IS {'NOT ' if operator == '!=' else ''}?)"
        return f"ifnull({sql} {operator} ?, 0)"

    def _bad_operator(self, path: Path, operator: str) -> ApiError:
        kind = path.field.type
        return ApiError(400, "INVALID_FIELD", f"invalid operator {operator} on {kind} field {path.name}")

    def _number_comparison(self, path: Path, sql: str, operator: str, token: Token) -> str:
        """Exact also when the literal has more decimals than the field: 1.005 is between two values."""
        scaled = self._number(path, token).scaleb(path.field.scale)
        low = floor(scaled)
        if abs(low) >= 2**62:
            raise _cannot(f"the number {token.text[:40]}")
        whole = low == scaled
        if not whole and operator in ("=", "!="):
            return "1" if operator == "!=" else "0"
        if not whole:
            operator = "<=" if operator in ("<", "<=") else ">"
        self.given.append(low)
        if operator in ("=", "!="):
            return f"({sql} IS {'NOT ' if operator == '!=' else ''}?)"
        return f"ifnull({sql} {operator} ?, 0)"

    def _number(self, path: Path, token: Token) -> Decimal:
        if token.kind != "number" or len(token.text) > 400:
            raise self._wrong_literal(path, token)
        try:
            found = Decimal(token.text)
        except InvalidOperation:
            raise self._wrong_literal(path, token) from None
        if abs(found.adjusted()) > 400:  # 1E999999: neither floor() nor a column of ours takes it
            raise _cannot(f"the number {token.text[:40]}")
        return found

    def _range_comparison(self, path: Path, sql: str, operator: str, token: Token) -> str:
        """A date literal is a range of days: = is inside, < before its start, > after its end (documented)."""
        try:
            found = date_range(token.text, self.today)
        except OverflowError:
            raise _cannot(f"the date literal {token.text}") from None
        if found is None:
            if "FISCAL" in token.text.upper():
                raise _cannot(f"the date literal {token.text}")
            raise self._wrong_literal(path, token)
        start, end = (
            d.isoformat() + ("T00:00:00.000Z" if path.field.type == "datetime" else "") for d in found
        )
        if operator in ("=", "!="):
            self.given += [start, end]
            inside = f"ifnull({sql} >= ? AND {sql} < ?, 0)"
            return inside if operator == "=" else f"(NOT {inside})"
        self.given.append(start if operator in ("<", ">=") else end)
        return f"ifnull({sql} {'<' if operator in ('<', '<=') else '>='} ?, 0)"

    def _wrong_literal(self, path: Path, token: Token) -> ApiError:
        if token.kind == "end":
            return _malformed("unexpected token: '<EOF>'")
        quotes = " and should be enclosed in quotes" if path.field.is_text else ""
        if token.kind == "string":
            quotes = " and should not be enclosed in quotes"
        text = f"value of filter criterion for field '{path.name}' must be of type {path.field.type}{quotes}"
        return ApiError(400, "INVALID_FIELD", self._place(token) + text)

    def _literal(self, path: Path, token: Token) -> Value:
        """A literal as a stored value of the field."""
        kind = path.field.type
        if path.field.is_text and token.kind == "string":
            return _unescaped(token.text)
        if kind in ("id", "reference") and token.kind == "string":
            found = normal_id(_unescaped(token.text))
            if found is None:
                text = f"invalid ID field: {_unescaped(token.text)}"  # seen
                raise ApiError(400, "INVALID_QUERY_FILTER_OPERATOR", self._place(token) + text)
            return found
        if kind == "boolean" and token.text.upper() in ("TRUE", "FALSE"):
            return int(token.text.upper() == "TRUE")
        if (kind == "date" and token.kind == "moment" and len(token.text) == 10) or (
            kind == "datetime" and token.kind == "moment" and len(token.text) > 10
        ):
            return self._parsed(path, token)
        if kind == "time" and token.kind == "time":
            return self._parsed(path, token)
        raise self._wrong_literal(path, token)

    def _parsed(self, path: Path, token: Token) -> Value:
        try:
            value, error = parse_value(path.field, token.text)
        except Unreadable:
            raise self._wrong_literal(path, token) from None
        if error is not None:
            raise self._wrong_literal(path, token)
        return value

    def _like(self, path: Path) -> str:
        if not path.field.is_text or path.field.type == "multipicklist":
            raise self._bad_operator(path, "LIKE")
        token = self._next()
        if token.kind != "string":
            raise self._wrong_literal(path, token)
        self.given.append(_like_pattern(token.text))
        return rf"ifnull({path.sql()} LIKE ? ESCAPE '\', 0)"

    def _in(self, path: Path) -> str:
        self._expect("(")
        if self._is("SELECT"):
            return self._semi_join(path)
        parts: list[str] = []
        values: list[Value] = []

        def read() -> None:
            before = len(self.given)
            part = self._comparison(path, path.sql(), "=")
            if part.endswith("IS ?)"):
                values.append(self.given.pop())
            elif len(self.given) > before:
                raise _cannot("a date literal in IN")
            else:
                parts.append(part)

        self._listed(read)
        self._expect(")")
        if values:
            self.given += values
            parts.append(f"ifnull({path.sql()} IN ({', '.join('?' * len(values))}), 0)")
        return _joined(parts, "OR")

    def _semi_join(self, path: Path) -> str:
        """``Id IN (SELECT Parent__c FROM Child__c ...)`` (SOQL guide: Semi-Joins with IN and Anti-Joins)."""
        if self.inner:
            raise _malformed("Nesting of semi join sub-selects is not supported")  # assumed
        if self.depth:
            text = "Semi join sub-selects are only allowed at the top level WHERE expressions"
            raise _malformed(text + " and not in nested WHERE expressions.")  # beginning seen
        if path.steps or path.field.type not in ("id", "reference"):
            raise _cannot(f"a semi-join on {path.name}")
        start = self.peek()
        sub = _Parser(self.schema, self.text, self.tokens, self.today, self.at)
        found = sub.query()
        self.at = sub.at
        self._expect(")")
        if len(found.paths) != 1 or found.paths[0].field.type not in ("id", "reference"):
            raise _malformed(
                f"{self._place(start)}semi join sub-selects must select one id or reference field"
            )
        if found.order or found.limit is not None or found.offset:
            raise _cannot("ORDER BY, LIMIT or OFFSET in a semi-join")
        self.given += found.given
        self.semi_joins += 1
        inner = found.paths[0].sql()
        return f"ifnull({path.sql()} IN (SELECT {inner}{found.tail()} AND {inner} IS NOT NULL), 0)"

    def _includes(self, path: Path, word: str) -> str:
        """INCLUDES ('A;B', 'C'): both A and B, or C (SOQL guide: Querying Multi-Select Picklists)."""
        if path.field.type != "multipicklist":
            raise self._bad_operator(path, word)
        self._expect("(")
        parts: list[str] = []

        def read() -> None:
            wanted = str(self._literal(path, self._next())).split(";")
            self.given += [f";{value};" for value in wanted]
            parts.append(
                _joined([f"ifnull(instr(';' || {path.sql()} || ';', ?) > 0, 0)"] * len(wanted), "AND")
            )

        self._listed(read)
        self._expect(")")
        found = _joined(parts, "OR")
        return found if word == "INCLUDES" else f"(NOT {found})"

    # -- order and number

    def _order(self, groups: list[Path], aggregates: tuple[Aggregate, ...]) -> str:
        self._expect("BY")
        parts: list[str] = []
        self._listed(lambda: parts.append(self._order_field(groups, aggregates)))
        return ", ".join(parts)

    def _order_field(self, groups: list[Path], aggregates: tuple[Aggregate, ...]) -> str:
        sql = self._order_value(groups, aggregates)
        direction = "DESC" if self._accept("DESC") else "ASC"
        if direction == "ASC":
            self._accept("ASC")
        nulls = "FIRST"  # the default for both directions (SOQL guide: ORDER BY)
        if self._accept("NULLS"):
            nulls = "LAST" if self._accept("LAST") else "FIRST"
            if nulls == "FIRST":
                self._expect("FIRST")
        return f"{sql} {direction} NULLS {nulls}"

    def _order_value(self, groups: list[Path], aggregates: tuple[Aggregate, ...]) -> str:
        if self._follows("("):
            if not groups:
                raise self.unexpected()
            function, path = self._call()
            return Aggregate(function, path, "").sql()
        word = self.peek().text.lower()
        named = next((a for a in aggregates if a.function and a.alias.lower() == word), None)
        if groups and named is not None:
            raise _cannot(f"ORDER BY the alias {named.alias}")  # a real org knows no alias there either
        path = self._path()
        if path.field.long_text or path.field.type == "multipicklist":
            raise _malformed(f"field '{path.name}' can not be sorted in a query call")  # assumed
        if groups and path not in groups:
            raise _malformed(f"Ordered field must be grouped or aggregated: {path.name}")  # assumed
        return path.sql()

    def _whole(self) -> int:
        token = self.peek()
        if token.kind != "number" or not token.text.isdigit():
            raise self.unexpected()
        self.at += 1
        return min(int(token.text[:19]), 2**31 - 1)

    def _offset(self) -> int:
        found = self._whole()
        if found > MAX_OFFSET:
            text = f"Maximum SOQL offset allowed is {MAX_OFFSET}"  # seen
            raise ApiError(400, "NUMBER_OUTSIDE_VALID_RANGE", text)
        return found


def _joined(parts: list[str], word: str) -> str:
    """Conditions as one; halves of halves, as SQLite bounds the depth of an expression."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return f"({_joined(parts[:middle], word)} {word} {_joined(parts[middle:], word)})"


def _unescaped(literal: str) -> str:
    r"""A quoted literal's text: \' \\ \n and the like (SOQL guide: Quoted String Escape Sequences)."""
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m.group(1), "\\" + m.group(1)), literal[1:-1], flags=re.S)


def _like_pattern(literal: str) -> str:
    r"""A LIKE literal for SQL: % and _ are wild in both, \% and \_ are not."""
    text = ""
    for plain, escape in re.findall(r"([^\\])|\\(.)", literal[1:-1], flags=re.S):
        if plain:
            text += plain
        elif escape in "%_":
            text += "\\" + escape
        else:
            text += _ESCAPES.get(escape, escape).replace("\\", "\\\\")
    return text
