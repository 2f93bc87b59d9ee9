"""Oracle's functions of texts where DuckDB has none that means the same."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from .errors import OracleError, unsupported
from .types import LONGEST_BIND

_PLAIN = re.compile(r"[A-Za-z0-9 _\-/,:;@#%&~\"'!=<>]|[^\x00-\x7f]")
_CLASSES = {
    "digit": "0-9",
    "alpha": "A-Za-z",
    "alnum": "A-Za-z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "space": r" \t\n\r\f\v",
}
_BRACKET = re.compile(
    r"\[(\^?)((?:\[:[a-z]+:\]|[A-Za-z0-9 _/,:;@#%&~\"'!=<>.*+?(){}|$]|-|[^\x00-\x7f\]])+)\]"
)
_QUANTIFIER = re.compile(r"[*+?]|\{\d+(?:,\d*)?\}")


def substring(text: str, start: int, length: int | None) -> str:
    """SUBSTR: position 0 is 1, negative positions count from the end."""
    begin = start - 1 if start > 0 else 0 if start == 0 else len(text) + start
    if begin < 0 or (length is not None and length < 1):
        return ""
    return text[begin:] if length is None else text[begin : begin + length]


def substring_bytes(text: str, start: int, length: int | None) -> str:
    """SUBSTRB; a cut through a character is refused."""
    data = text.encode().decode("latin-1")
    piece = substring(data, start, length).encode("latin-1")
    try:
        return piece.decode()
    except UnicodeDecodeError:
        raise unsupported("SUBSTRB that cuts a character in two") from None


def position(text: str, wanted: str, start: int, occurrence: int) -> int:
    """INSTR with a place to begin (from the end if negative) and an occurrence; ORA-01428 for an occurrence below 1."""
    if occurrence < 1:
        raise OracleError(1428, f"argument '{occurrence}' is out of range")
    if start == 0:
        return 0
    places = [at for at in range(len(text) - len(wanted) + 1) if text.startswith(wanted, at)]
    if start > 0:
        places = [at for at in places if at >= start - 1]
    else:
        places = [at for at in reversed(places) if at <= len(text) + start]
    return places[occurrence - 1] + 1 if len(places) >= occurrence else 0


def padded(text: str, width: int, fill: str, *, left: bool) -> str:
    """LPAD and RPAD count columns on a screen: characters that take none or two of them are refused."""
    for char in text + fill:
        if not char.isascii() and (
            unicodedata.east_asian_width(char) in "WF" or unicodedata.category(char).startswith("M")
        ):
            raise unsupported("LPAD or RPAD of characters that are not one column wide")
    missing = width - len(text)
    if missing <= 0:
        return text[: max(width, 0)]
    filling = (fill * min(missing, LONGEST_BIND + 1))[:missing]
    return short(filling + text if left else text + filling)


def short(text: str) -> str:
    """Return a text that a VARCHAR2 can hold; functions differ in what they do with a longer one."""
    if len(text.encode()) > LONGEST_BIND:
        raise unsupported(f"a function whose text would be longer than {LONGEST_BIND} bytes")
    return text


def capitalised(text: str) -> str:
    """INITCAP: words are what stands between characters that are not letters or digits."""
    out, inside = [], False
    for char in text:
        if unicodedata.category(char).startswith("M"):
            raise unsupported("INITCAP of combining characters")
        changed = char.lower() if inside else char.upper()
        out.append(changed if len(changed) == 1 else char)
        inside = char.isalnum()
    return "".join(out)


def translated(text: str, old: str, new: str) -> str:
    """TRANSLATE: characters of `old` without a counterpart go."""
    table: dict[int, str | None] = {}
    for place, char in enumerate(old):
        table.setdefault(ord(char), new[place] if place < len(new) else None)
    return short(text.translate(table))


def code_of(text: str) -> int:
    """ASCII: the bytes of the first character in the database character set (AL32UTF8) as one number."""
    return int.from_bytes(text[0].encode())


def character(code: int) -> str:
    """CHR: the character whose bytes in the database character set make up the number."""
    if code < 0 or code >= 1 << 32:
        raise OracleError(1428, f"argument '{code}' is out of range")
    try:
        return code.to_bytes(max((code.bit_length() + 7) // 8, 1)).decode()
    except UnicodeDecodeError:
        raise unsupported(f"CHR({code}), which is no character of AL32UTF8") from None


# --- regular expressions ---------------------------------------------------------------------------------------------


@lru_cache(maxsize=200)
def compiled(pattern: str, flags: str, *, searching: bool) -> re.Pattern[str]:
    """Return a pattern in Python's form if it means the same there; ORA-03001 if that is not sure.

    `searching`: the place and length of a match matter, so that alternatives and empty matches are refused.
    """
    options = re.ASCII
    for flag in flags:
        if flag not in "ic":
            raise unsupported(f"the regular expression option {flag}")
        options = re.ASCII | re.IGNORECASE if flag == "i" else re.ASCII
    if options & re.IGNORECASE and not pattern.isascii():
        raise unsupported("regular expressions that ignore the case of letters outside ASCII")
    translated_pattern = "".join(_regular(pattern, searching=searching))
    try:
        found = re.compile(translated_pattern, options)
    except re.error:
        raise unsupported(f"the regular expression {pattern}") from None
    if searching and found.match(""):
        raise unsupported("a regular expression that matches nothing at all")
    return found


def _regular(pattern: str, *, searching: bool) -> list[str]:
    out, at, repeatable = [], 0, False
    while at < len(pattern):
        char, rest = pattern[at], pattern[at:]
        bracket, quantifier = _BRACKET.match(rest), _QUANTIFIER.match(rest)
        if _PLAIN.match(char) or char in ".)":
            piece, repeats = char, True
        elif char in "^$(":
            piece, repeats = {"$": r"\Z", "^": r"\A", "(": "("}[char], False
        elif char == "|" and not searching:
            piece, repeats = char, False
        elif char == "\\" and len(rest) > 1 and (not rest[1].isalnum() or rest[1] == "d"):
            piece, repeats = "[0-9]" if rest[1] == "d" else re.escape(rest[1]), True
            at += 1
        elif bracket:
            piece, repeats = _class(bracket), True
            at += len(bracket[0]) - 1
        elif quantifier and repeatable:
            piece, repeats = quantifier[0], False
            at += len(piece) - 1
        else:
            raise unsupported(f"the regular expression {pattern}")
        out.append(piece)
        at, repeatable = at + 1, repeats
    return out


def _class(bracket: re.Match[str]) -> str:
    body = re.sub(r"\[:([a-z]+):\]", lambda m: _named_class(m[1]), bracket[2])
    return f"[{bracket[1]}{body}]"


def _named_class(name: str) -> str:
    if name not in _CLASSES:
        raise unsupported(f"the character class [:{name}:]")
    return _CLASSES[name]


def checked(text: str, pattern: str) -> str:
    """Return the text if classes of letters can be trusted with it: outside ASCII they follow the database's settings."""
    if not text.isascii() and re.search(r"\[:(?!digit)", pattern):
        raise unsupported("character classes on text outside ASCII")
    return text


def replacement(text: str) -> str:
    """Return the replacement of REGEXP_REPLACE in Python's form."""
    if re.search(r"\\(?![1-9])", text):
        raise unsupported("a backslash in the replacement of REGEXP_REPLACE")
    return text
