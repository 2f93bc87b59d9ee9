"""A part of SOQL: one object, its fields and those of its parents one step up, aggregates without groups.

    SELECT COUNT() | field, Rel.field, ... | COUNT(f) a, COUNT_DISTINCT(f), SUM(f), MIN(f), MAX(f)
    FROM Object [WHERE conditions] [ORDER BY f [ASC|DESC] [NULLS FIRST|LAST], ...] [LIMIT n] [OFFSET n]

A query is checked against the schema while it is read, and written as SQL. Whatever is not in this part is
refused with MALFORMED_QUERY and a text that says so: no answer is better than a wrong one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from math import floor

from .errors import ApiError
from .ids import normal_id
from .schema import Field, Schema, SObject
from .values import Unreadable, Value, parse_value

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^'\\]|\\.)*')"
    r"|(?P<moment>\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))?)"
    r"|(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)"
    r"|(?P<mark><=|>=|!=|<>|[(),=<>]))"
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\"}
_COMPARE = {"=", "!=", "<>", "<", "<=", ">", ">="}
_AGGREGATES = {"COUNT", "COUNT_DISTINCT", "SUM", "MIN", "MAX", "AVG"}
_REFERENCE = "Please reference your WSDL or the describe call for the appropriate names."
_NOT_YET = {"GROUP", "HAVING", "WITH", "FOR", "TYPEOF", "USING", "ALL", "UPDATE"}


@dataclass(frozen=True)
class Token:
    """One word of the query and where it starts."""

    kind: str
    text: str
    at: int


@dataclass(frozen=True)
class Path:
    """A field of the object, or of the record one of its references names."""

    field: Field
    reference: Field | None = None
    target: SObject | None = None
    owner: SObject | None = None

    @property
    def name(self) -> str:
        """The path as results show it."""
        return f"{self.reference.relationship_name}.{self.field.name}" if self.reference else self.field.name

    def sql(self) -> str:
        """The value as an SQL expression."""
        if self.reference is None or self.target is None or self.owner is None:
            return f'"{self.owner.name if self.owner else ""}"."{self.field.name}"'
        inner = f'"{self.target.name}" AS p WHERE p.Id = "{self.owner.name}"."{self.reference.name}"'
        # An expression does not keep its column's collation.
        collate = " COLLATE NOCASE" if self.field.is_text and not self.field.case_sensitive else ""
        return f'(SELECT p."{self.field.name}" FROM {inner}){collate}'


@dataclass(frozen=True)
class Aggregate:
    """``COUNT(Id) n``; ``alias`` is ``expr0`` ... when none is given."""

    function: str
    path: Path
    alias: str

    def sql(self) -> str:
        """The aggregate as an SQL expression; exact, because numbers are scaled integers."""
        inner = self.path.sql()
        if self.function == "COUNT_DISTINCT":
            return f"COUNT(DISTINCT {inner})"
        return f"{self.function}({inner})"

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

    @property
    def only_count(self) -> bool:
        """Whether it is ``SELECT COUNT()``."""
        return not self.paths and not self.aggregates

    def tail(self) -> str:
        """FROM to the end, with ? for ``given``."""
        sql = f' FROM "{self.obj.name}" WHERE {self.where}'
        if self.order:
            sql += f" ORDER BY {self.order}"
        if self.limit is not None or self.offset:
            sql += f" LIMIT {-1 if self.limit is None else self.limit} OFFSET {self.offset}"
        return sql


def parse(schema: Schema, text: str) -> Query:
    """Read a query. Raises 400 MALFORMED_QUERY, INVALID_TYPE or INVALID_FIELD (REST guide: Query)."""
    return _Parser(schema, text).query()


class _Parser:
    def __init__(self, schema: Schema, text: str) -> None:
        self.schema, self.text = schema, text
        self.tokens = self._split()
        self.at = 0
        self.obj: SObject
        self.given: list[Value] = []

    def _split(self) -> list[Token]:
        tokens: list[Token] = []
        at, end = 0, len(self.text.rstrip())
        while at < end:
            found = _TOKEN.match(self.text, at)
            if found is None or found.lastgroup is None:
                raise ApiError(400, "MALFORMED_QUERY", f"unexpected token: '{self.text[at:].split()[0]}'")
            tokens.append(Token(found.lastgroup, found.group(found.lastgroup), found.start(found.lastgroup)))
            at = found.end()
        return tokens

    # -- words

    def _peek(self) -> Token:
        return self.tokens[self.at] if self.at < len(self.tokens) else Token("end", "<EOF>", len(self.text))

    def _next(self) -> Token:
        token = self._peek()
        self.at += 1
        return token

    def _is(self, *words: str) -> bool:
        token = self._peek()
        return token.kind in ("name", "mark") and token.text.upper() in words

    def _accept(self, *words: str) -> bool:
        if self._is(*words):
            self.at += 1
            return True
        return False

    def _expect(self, word: str) -> Token:
        if not self._is(word):
            raise self._unexpected()
        return self._next()

    def _unexpected(self) -> ApiError:
        token = self._peek()
        if token.text.upper() in _NOT_YET:
            return self._cannot(token.text.upper())
        return ApiError(400, "MALFORMED_QUERY", f"unexpected token: '{token.text}'")

    @staticmethod
    def _cannot(what: str) -> ApiError:
        return ApiError(400, "MALFORMED_QUERY", f"fakeforce does not implement {what} in SOQL")

    def _place(self, token: Token) -> str:
        """The lead of INVALID_TYPE and INVALID_FIELD texts: the query, a caret, row and column (seen)."""
        row = self.text.count("\n", 0, token.at) + 1
        column = token.at - (self.text.rfind("\n", 0, token.at) + 1) + 1
        near = self.text[max(0, token.at - 30) : token.at + 30]
        caret = " " * min(30, token.at)
        return f"\n{near}\n{caret}^\nERROR at Row:{row}:Column:{column}\n"

    # -- the query

    def query(self) -> Query:
        self._expect("SELECT")
        start = self.at
        self._skip_to_from()
        self._object()
        after_from = self.at
        self.at = start
        paths, aggregates = self._select()
        self._expect("FROM")
        self.at = after_from
        where = self._either() if self._accept("WHERE") else "1"
        order = self._order() if self._accept("ORDER") else ""
        limit = self._whole() if self._accept("LIMIT") else None
        offset = self._whole() if self._accept("OFFSET") else 0
        if self._peek().kind != "end":
            raise self._unexpected()
        if (paths or aggregates) and aggregates and (order or limit is not None):
            raise self._cannot("ORDER BY or LIMIT with an aggregate")
        return Query(self.obj, paths, aggregates, where, tuple(self.given), order, limit, offset)

    def _skip_to_from(self) -> None:
        depth = 0
        while not (depth == 0 and self._is("FROM")):
            token = self._next()
            if token.kind == "end":
                raise ApiError(400, "MALFORMED_QUERY", "unexpected token: '<EOF>'")
            depth += {"(": 1, ")": -1}.get(token.text, 0)
        self.at += 1

    def _object(self) -> None:
        token = self._next()
        if token.kind != "name":
            raise ApiError(400, "MALFORMED_QUERY", f"unexpected token: '{token.text}'")
        found = self.schema.get(token.text)
        if found is None:
            text = (
                f"sObject type '{token.text}' is not supported. If you are attempting to use a custom "
                "object, be sure to append the '__c' after the entity name. " + _REFERENCE
            )
            raise ApiError(400, "INVALID_TYPE", self._place(token) + text)
        self.obj = found
        if self._is(","):
            raise self._cannot("several objects or aliases in FROM")
        if self._peek().kind == "name" and not self._is("WHERE", "ORDER", "LIMIT", "OFFSET", *_NOT_YET):
            raise self._cannot("an alias in FROM")

    def _select(self) -> tuple[tuple[Path, ...], tuple[Aggregate, ...]]:
        if self._is("COUNT") and [t.text for t in self.tokens[self.at + 1 : self.at + 3]] == ["(", ")"]:
            self.at += 3
            return (), ()
        paths: list[Path] = []
        aggregates: list[Aggregate] = []
        while True:
            if self._is("("):
                raise self._cannot("a subquery")
            follows = self.tokens[self.at + 1].text if self.at + 1 < len(self.tokens) else ""
            if follows == "(":
                aggregates.append(self._aggregate(len(aggregates)))
            else:
                paths.append(self._path())
            if not self._accept(","):
                break
        if paths and aggregates:
            raise self._cannot("fields beside aggregates (GROUP BY)")
        return tuple(paths), tuple(aggregates)

    def _aggregate(self, index: int) -> Aggregate:
        name = self._next().text.upper()
        if name not in _AGGREGATES - {"AVG"}:
            raise self._cannot(f"{name}()")
        self._expect("(")
        path = self._path()
        self._expect(")")
        if name == "SUM" and not (path.field.is_number or path.field.type == "int"):
            raise ApiError(
                400, "MALFORMED_QUERY", f"field {path.name} does not support aggregate operator SUM"
            )
        alias = f"expr{index}"
        if self._peek().kind == "name" and not self._is("FROM"):
            alias = self._next().text
        return Aggregate(name, path, alias)

    def _path(self) -> Path:
        token = self._next()
        if token.kind != "name":
            self.at -= 1
            raise self._unexpected()
        parts = token.text.split(".")
        if len(parts) > 1 and parts[0].lower() == self.obj.name.lower():
            parts = parts[1:]
        if len(parts) == 1:
            found = self.obj.field(parts[0])
            if found is None:
                raise self._no_column(token, parts[0], self.obj)
            return Path(found, owner=self.obj)
        return self._parent_path(token, parts)

    def _parent_path(self, token: Token, parts: list[str]) -> Path:
        if len(parts) > 2:
            raise self._cannot("relationships of more than one step")
        reference = self.obj.reference(parts[0])
        if reference is None:
            text = f"Didn't understand relationship '{parts[0]}' in field path."
            raise ApiError(400, "INVALID_FIELD", self._place(token) + text)
        if len(reference.reference_to) > 1:
            raise self._cannot("relationships with several targets")
        target = self.schema.get(reference.reference_to[0])
        if target is None:
            raise self._cannot(f"the object {reference.reference_to[0]}, which has no schema file")
        found = target.field(parts[1])
        if found is None:
            raise self._no_column(token, parts[1], target)
        return Path(found, reference, target, self.obj)

    def _no_column(self, token: Token, name: str, obj: SObject) -> ApiError:
        text = (
            f"No such column '{name}' on entity '{obj.name}'. If you are attempting to use a custom field, "
            "be sure to append the '__c' after the custom field name. " + _REFERENCE
        )
        return ApiError(400, "INVALID_FIELD", self._place(token) + text)

    # -- conditions: each one is 1 or 0, never NULL, as SOQL knows only true and false

    def _either(self) -> str:
        """Conditions joined by AND or by OR; both without brackets is an error (SOQL guide: WHERE)."""
        parts = [self._condition()]
        word = "OR" if self._is("OR") else "AND"
        while self._accept(word):
            parts.append(self._condition())
        if self._is("AND", "OR"):
            raise self._unexpected()
        return f"({f' {word} '.join(parts)})" if len(parts) > 1 else parts[0]

    def _condition(self) -> str:
        if self._accept("NOT"):
            return f"(NOT {self._condition()})"
        if self._accept("("):
            inner = self._either()
            self._expect(")")
            return inner
        path = self._path()
        if path.field.type == "textarea" and path.field.length > 255:
            text = f"field '{path.name}' can not be filtered in a query call"
            raise ApiError(400, "INVALID_FIELD", text)
        token = self._next()
        word = token.text.upper()
        if word in _COMPARE:
            return self._comparison(path, "!=" if word == "<>" else word)
        if word == "LIKE":
            return self._like(path)
        if word == "IN":
            return self._in(path, "IN")
        if word == "NOT" and self._accept("IN"):
            return self._in(path, "NOT IN")
        self.at -= 1
        if word in ("INCLUDES", "EXCLUDES"):
            raise self._cannot(word)
        raise self._unexpected()

    def _comparison(self, path: Path, operator: str) -> str:
        token = self._next()
        if token.kind == "name" and token.text.upper() == "NULL":
            if operator not in ("=", "!="):
                raise ApiError(400, "MALFORMED_QUERY", f"operator {operator} is not possible with null")
            return f"({path.sql()} IS {'NOT ' if operator == '!=' else ''}NULL)"
        if path.field.is_number or path.field.type == "int":
            return self._number_comparison(path, operator, token)
        if operator not in ("=", "!=") and path.field.type in ("boolean", "id", "reference"):
            raise self._bad_operator(path, operator)
        self.given.append(self._literal(path, token))
        if operator in ("=", "!="):
            return f"({path.sql()} IS {'NOT ' if operator == '!=' else ''}?)"
        return f"ifnull({path.sql()} {operator} ?, 0)"

    def _bad_operator(self, path: Path, operator: str) -> ApiError:
        return ApiError(
            400, "INVALID_FIELD", f"invalid operator {operator} on {path.field.type} field {path.name}"
        )

    def _number_comparison(self, path: Path, operator: str, token: Token) -> str:
        """Exact also when the literal has more decimals than the field: 1.005 is between two values."""
        number = self._number(path, token)
        scaled = number.scaleb(path.field.scale)
        low = floor(scaled)
        if abs(low) >= 2**62:
            raise self._cannot(f"the number {token.text}")
        whole = low == scaled
        if not whole and operator in ("=", "!="):
            return "1" if operator == "!=" else "0"
        if not whole:
            operator = "<=" if operator in ("<", "<=") else ">"
        self.given.append(low)
        if operator in ("=", "!="):
            return f"({path.sql()} IS {'NOT ' if operator == '!=' else ''}?)"
        return f"ifnull({path.sql()} {operator} ?, 0)"

    def _number(self, path: Path, token: Token) -> Decimal:
        if token.kind != "number":
            raise self._wrong_literal(path, token)
        try:
            return Decimal(token.text)
        except InvalidOperation:
            raise self._wrong_literal(path, token) from None

    def _wrong_literal(self, path: Path, token: Token) -> ApiError:
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
                text = f"invalid ID field: {_unescaped(token.text)}"
                raise ApiError(400, "INVALID_QUERY_FILTER_OPERATOR", self._place(token) + text)
            return found
        if kind == "boolean" and token.text.upper() in ("TRUE", "FALSE"):
            return int(token.text.upper() == "TRUE")
        if kind in ("date", "datetime") and token.kind == "name":
            raise self._cannot(f"the date literal {token.text}")
        if (kind == "date" and token.kind == "moment" and len(token.text) == 10) or (
            kind == "datetime" and token.kind == "moment" and len(token.text) > 10
        ):
            return self._moment(path, token)
        raise self._wrong_literal(path, token)

    def _moment(self, path: Path, token: Token) -> Value:
        try:
            value, error = parse_value(path.field, token.text)
        except Unreadable:
            raise self._wrong_literal(path, token) from None
        if error is not None:
            raise self._wrong_literal(path, token)
        return value

    def _like(self, path: Path) -> str:
        if not path.field.is_text:
            raise self._bad_operator(path, "LIKE")
        token = self._next()
        if token.kind != "string":
            raise self._wrong_literal(path, token)
        self.given.append(_like_pattern(token.text))
        return rf"ifnull({path.sql()} LIKE ? ESCAPE '\', 0)"

    def _in(self, path: Path, operator: str) -> str:
        self._expect("(")
        if self._is("SELECT"):
            raise self._cannot("a semi-join")
        conditions = [self._comparison(path, "=")]
        while self._accept(","):
            conditions.append(self._comparison(path, "="))
        self._expect(")")
        found = f"({' OR '.join(conditions)})"
        return found if operator == "IN" else f"(NOT {found})"

    def _order(self) -> str:
        self._expect("BY")
        parts = [self._order_field()]
        while self._accept(","):
            parts.append(self._order_field())
        return ", ".join(parts)

    def _order_field(self) -> str:
        path = self._path()
        direction = "DESC" if self._accept("DESC") else "ASC"
        if direction == "ASC":
            self._accept("ASC")
        nulls = "FIRST"  # the default for both directions (SOQL guide: ORDER BY)
        if self._accept("NULLS"):
            nulls = "LAST" if self._accept("LAST") else "FIRST"
            if nulls == "FIRST":
                self._expect("FIRST")
        return f"{path.sql()} {direction} NULLS {nulls}"

    def _whole(self) -> int:
        token = self._next()
        if token.kind != "number" or not token.text.isdigit():
            raise ApiError(400, "MALFORMED_QUERY", f"unexpected token: '{token.text}'")
        return int(token.text)


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
