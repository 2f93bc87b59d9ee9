"""Oracle SQL text: its tokens, its binds, the headings of its columns, and its tree (sqlglot)."""

from __future__ import annotations

import itertools
import logging
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from .errors import OracleError, unsupported
from .scalars import FUNCTIONS
from .scopes import CALL

logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it warns of what is refused here anyway

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<comment>--[^\n]*|/\*.*?\*/)
    |(?P<string>[nN]?[qQ]'(?:\[.*?\]'|\{.*?\}'|\(.*?\)'|<.*?>'|(?P<mark>[^\s\[\{\(<]).*?(?P=mark)')|[nN]?'(?:[^']|'')*')
    |(?P<quoted>"[^"]*")
    |(?P<bind>:\s*(?:\w+|"[^"]+"))
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?:[fFdD](?![\w$\#]))?)
    |(?P<word>[^\W\d][\w$\#]*)
    |(?P<symbol><>|<=|>=|!=|\^=|\|\||=>|:=|\*\*|.)""",
    re.VERBOSE | re.DOTALL,
)
_OPENING, _CLOSING = "(", ")"
_CALLED = frozenset(name for name in FUNCTIONS if name.isidentifier()) | {"REGEXP_LIKE"}
_WITH_DEFAULT = frozenset(name.removesuffix("$DEFAULT") for name in FUNCTIONS if name.endswith("$DEFAULT"))
_REFUSED = frozenset(
    [
        "MERGE",
        "BEGIN",
        "DECLARE",
        "CALL",
        "LOCK",
        "GRANT",
        "REVOKE",
        "EXPLAIN",
        "SAVEPOINT",
        "SET",
        "ANALYZE",
        "RENAME",
        "PURGE",
        "FLASHBACK",
        "AUDIT",
    ]
)


@dataclass(frozen=True)
class Token:
    """One token: its kind (`string`, `quoted`, `bind`, `number`, `word`, `symbol`), text and place in the SQL."""

    kind: str
    text: str
    start: int

    @property
    def upper(self) -> str:
        """The text as keywords are compared."""
        return self.text.upper()

    @property
    def name(self) -> str:
        """The text as an identifier: quoted as it is, else upper case."""
        return self.text[1:-1] if self.kind == "quoted" else self.text.upper()


def tokens(text: str) -> list[Token]:
    """Return the tokens of `text` without spaces and comments; ORA-01756 if a string does not end."""
    found = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind == "mark":
            kind = "string"
        if kind in ("space", "comment"):
            continue
        if kind == "symbol" and match[0] in "'\"":
            raise OracleError(
                1756 if match[0] == "'" else 1740, "quoted string not properly terminated", match.start()
            )
        found.append(Token(kind, match[0], match.start()))
    return found


@dataclass(frozen=True)
class Statement:
    """A statement taken apart as far as it can be without knowing any table."""

    text: str
    tokens: list[Token]
    binds: list[str]

    @property
    def verb(self) -> str:
        """The first keyword; SELECT also stands for WITH and a bracketed query."""
        words = [token.upper for token in self.tokens if token.text != _OPENING]
        first = words[0] if words else ""
        return "SELECT" if first == "WITH" else first

    def headings(self) -> list[str]:
        """Return the text of each item of the outermost select list, as a describe names unnamed expressions."""
        items: list[list[Token]] = [[]]
        depth, inside = 0, False
        for token in self.tokens:
            depth += (token.text == _OPENING) - (token.text == _CLOSING)
            if depth == 0 and token.kind == "word":
                if token.upper == "FROM":
                    break
                if token.upper == "SELECT":
                    inside = True
                    continue
                if inside and token.upper in ("DISTINCT", "UNIQUE", "ALL") and items == [[]]:
                    continue
            if not inside:
                continue
            if depth == 0 and token.text == ",":
                items.append([])
            else:
                items[-1].append(token)
        return ["".join(_heading(token) for token in item) for item in items]

    def tree(self) -> exp.Expr:
        """Parse the statement; ORA-00900 and its family if it cannot be."""
        return _parse(self)

    def place(self, node: exp.Expr | None, rewritten: int | None = None) -> int:
        """Return where `node` stands in the original text, in bytes; 0 if that is not known."""
        start = node.meta.get("start") if node is not None else rewritten
        if start is None:
            return 0
        _, moves = _rewritten(self)
        at = bisect_right(moves, (start, 1 << 30)) - 1
        original = start + (moves[at][1] if at >= 0 else 0)
        return len(self.text[:original].encode())


def _heading(token: Token) -> str:
    if token.kind == "quoted":
        return token.text
    return re.sub(r"\s", "", token.text).upper()


def statement(text: str) -> Statement:
    """Take `text` apart; ORA-00900 if there is nothing in it."""
    found = tokens(text)
    if not found:
        raise OracleError(900, "invalid SQL statement")
    binds = [re.sub(r"^:\s*", "", token.text).strip('"').upper() for token in found if token.kind == "bind"]
    return Statement(text, found, binds)


def _rewritten(stmt: Statement) -> tuple[str, list[tuple[int, int]]]:
    """Return the text sqlglot can read, and (place in it, what to add for the place in the original) pairs.

    Each occurrence of a bind gets a name of its own, since Oracle's binds are positional; comments and hints go; the
    scalar functions of this package get names that sqlglot does not know, so that it leaves their arguments alone; what
    it does not know at all is spelled otherwise.
    """
    parts: list[str] = []
    moves: list[tuple[int, int]] = []
    length = number = 0
    replaced = _calls(stmt.tokens) | _spelled(stmt.tokens)
    for place, token in enumerate(stmt.tokens):
        if parts:
            parts.append(" ")
            length += 1
        moves.append((length, token.start - length))
        text = replaced.get(place, token.text)
        if token.kind == "bind":
            text = f":b{number}"
            number += 1
        elif token.text == "^=":
            text = "<>"
        parts.append(text)
        length += len(text)
    return "".join(parts), moves


# the function that stands for CAST, and what the names of those for clocks begin with
CAST, CLOCK = "FAKEORACLE_CAST", "FAKEORACLE_"
_CLOCKS = ("SYSTIMESTAMP", "CURRENT_TIMESTAMP", "LOCALTIMESTAMP", "CURRENT_DATE")
_BINARY = {"F": "TO_BINARY_FLOAT", "D": "TO_BINARY_DOUBLE"}


def _spelled(found: list[Token]) -> dict[int, str]:
    """Return the new texts of tokens, by place, where Oracle has a spelling that sqlglot does not know.

    That is binary literals, AT LOCAL, the clocks (as functions) and CAST with its type (as a function of value and 'type').
    """
    replaced: dict[int, str] = {}
    for at, token in enumerate(found):
        before, after = found[at - 1].upper if at else "", found[at + 1].text if at + 1 < len(found) else ""
        text = token.text
        if token.kind == "number" and text[-1].upper() in _BINARY:
            replaced[at] = f"{_BINARY[text[-1].upper()]}('{text[:-1]}')"
        elif token.kind == "word" and token.upper in _CLOCKS and before != ".":
            replaced[at] = f"{CLOCK}{token.upper}" + ("" if after == _OPENING else "()")
        elif token.upper == "LOCAL" and before == "AT":
            replaced[at] = "TIME ZONE SESSIONTIMEZONE"
    for name, at, end in _casts(found):
        named = " ".join(part.text for part in found[at + 1 : end]).replace("'", "''")
        replaced.update(dict.fromkeys(range(at + 1, end), "") | {name: CAST, at: f", '{named}'"})
    return replaced


def _casts(found: list[Token]) -> Iterator[tuple[int, int, int]]:
    """Return, for each CAST(value AS type), the places of its name, of AS and of the closing bracket."""
    opened: list[tuple[int, int]] = []  # the places of what stands before the bracket, and of its AS
    for at, token in enumerate(found):
        if token.text == _OPENING:
            opened.append((at - 1, 0))
        elif token.upper == "AS" and opened:
            opened[-1] = (opened[-1][0], at)
        elif token.text == _CLOSING and opened:
            name, place = opened.pop()
            if place and name >= 0 and found[name].upper == "CAST":
                yield name, place, at


def _calls(found: list[Token]) -> dict[int, str]:
    """Return the new texts of tokens, by place: of the names of scalar functions, and of the clauses inside their brackets."""
    replaced: dict[int, str] = {}
    for place in range(len(found) - 2):
        if [token.text for token in found[place : place + 3]] == ["(", "+", ")"]:
            replaced.update({place: "(+)", place + 1: "", place + 2: ""})
    for place, (token, following) in enumerate(itertools.pairwise(found)):
        before = found[place - 1].text.upper() if place else ""
        if token.kind != "word" or following.text != _OPENING or before in (".", "INTO", "TABLE"):
            continue
        if token.upper in _CALLED:
            replaced[place] = CALL + token.text
            if token.upper in _WITH_DEFAULT:
                _default_clause(found, place, replaced)
            elif token.upper == "VALIDATE_CONVERSION":
                _as_type(found, place, replaced)
    return replaced


def _inside(found: list[Token], place: int) -> list[int]:
    """Return the places of the tokens directly inside the brackets of a call."""
    depth, places = 0, []
    for at in range(place + 1, len(found)):
        depth += found[at].text == _OPENING
        if depth == 1 and found[at].text not in (_OPENING, _CLOSING):
            places.append(at)
        depth -= found[at].text == _CLOSING
        if not depth:
            break
    return places


def _default_clause(found: list[Token], place: int, replaced: dict[int, str]) -> None:
    """Turn `x DEFAULT v ON CONVERSION ERROR` into two arguments of a function of its own."""
    places = _inside(found, place)
    words = [found[at].upper for at in places]
    for first, at in enumerate(places):
        if words[first : first + 3] == ["ON", "CONVERSION", "ERROR"] and "DEFAULT" in words[:first]:
            replaced[place] = f"{CALL}{found[place].text}$default"
            replaced[places[words.index("DEFAULT")]] = ","
            replaced.update(dict.fromkeys((at, *places[first + 1 : first + 3]), ""))


def _as_type(found: list[Token], place: int, replaced: dict[int, str]) -> None:
    """Turn `x AS type` into two arguments."""
    places = _inside(found, place)
    words = [found[at].upper for at in places]
    if "AS" in words and words.index("AS") + 1 < len(places):
        at = words.index("AS")
        replaced[places[at]] = ","
        replaced[places[at + 1]] = f"'{words[at + 1]}'"


def _parse(stmt: Statement) -> exp.Expr:
    if stmt.verb in _REFUSED:
        raise unsupported(f"the statement {stmt.verb}")
    if stmt.tokens[-1].text == ";":
        raise OracleError(
            933, "SQL command not properly ended", len(stmt.text[: stmt.tokens[-1].start].encode())
        )
    text, moves = _rewritten(stmt)
    for before, after in zip(stmt.tokens, stmt.tokens[1:], strict=False):
        if before.text == "," and after.upper in ("FROM", ")", ","):  # sqlglot forgives these
            raise OracleError(936, "missing expression", len(stmt.text[: after.start].encode()))
    try:
        trees = sqlglot.parse(text, read="oracle")
    except SqlglotError as error:
        raise _syntax_error(stmt, error, text, moves) from None
    except RecursionError:
        raise unsupported("a statement nested this deeply") from None
    if len(trees) != 1 or trees[0] is None or isinstance(trees[0], exp.Command):
        raise unsupported(f"the statement {stmt.verb}")
    return trees[0]


def _syntax_error(
    stmt: Statement, error: SqlglotError, text: str, moves: list[tuple[int, int]]
) -> OracleError:
    first = (getattr(error, "errors", None) or [{}])[0]
    column, highlight = first.get("col") or 0, first.get("highlight") or ""
    start = max(column - len(highlight), 0)
    at = bisect_right(moves, (start, 1 << 30)) - 1
    place = len(stmt.text[: start + (moves[at][1] if at >= 0 else 0)].encode())
    if stmt.verb not in ("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE"):
        return OracleError(900, "invalid SQL statement")
    if any(pair == ("VERSIONS", "BETWEEN") for pair in itertools.pairwise(t.upper for t in stmt.tokens)):
        return unsupported("VERSIONS BETWEEN (flashback version query)")
    if stmt.verb == "SELECT" and not any(token.upper == "FROM" for token in stmt.tokens):
        return OracleError(923, "FROM keyword not found where expected", place)
    if column >= len(text):
        return OracleError(936, "missing expression", len(stmt.text.encode()))
    return OracleError(933, "SQL command not properly ended", place)
