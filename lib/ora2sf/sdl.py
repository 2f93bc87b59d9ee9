r"""Data Loader's mapping files (``.sdl``): which source column fills which field.

The file is a Java properties file in ISO-8859-1 (java.util.Properties, load(InputStream):
https://docs.oracle.com/javase/8/docs/api/java/util/Properties.html). What its entries mean stands in the Data Loader
guide, "Map Columns" (https://developer.salesforce.com/docs/atlas.en-us.dataLoader.meta/dataLoader/loader_columns.htm):
source on the left, one or more fields on the right, a constant in double quotes. Data Loader itself adds
``a, b = Field`` (columns joined by comma and blank) and references by the other record's external id,
``Relationship\:Field`` and ``Relationship\:Object-Field``
(https://github.com/forcedotcom/dataloader, LoadMapper and ParentIdLookupFieldFormatter).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ora2sf.errors import MappingFileError

_WHITE = " \t\f"
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_N = r"[A-Za-z][A-Za-z0-9_]*"
#: The ways to write a target; ``Object:Relationship.Field`` is how Bulk API writes it in a CSV header.
_TARGETS = (
    re.compile(rf"(?P<field>{_N})"),
    re.compile(rf"(?P<relationship>{_N})[:.](?P<key>{_N})"),
    re.compile(rf"(?P<relationship>{_N}):(?P<object>{_N})-(?P<key>{_N})"),
    re.compile(rf"(?P<object>{_N}):(?P<relationship>{_N})\.(?P<key>{_N})"),
)


@dataclass(frozen=True)
class Entry:
    """One entry of a properties file, with the number of its first line."""

    line: int
    key: str
    value: str


@dataclass(frozen=True)
class Mapped:
    """One target of a mapping and what fills it: columns (several are joined), or a constant.

    Attributes:
        field: the field; empty for a reference by external id.
        relationship, object, key: of such a reference; ``object`` may be empty, then the mapping does not say it.
    """

    line: int
    columns: tuple[str, ...]
    constant: str | None
    field: str
    relationship: str
    object: str
    key: str


@dataclass(frozen=True)
class Mapping:
    """A mapping file that was read.

    Attributes:
        unmapped: columns and constants that no field is given for.
    """

    path: Path
    targets: tuple[Mapped, ...]
    unmapped: tuple[str, ...]


def read_mapping(path: Path) -> Mapping:
    """Reads a mapping for insert, update or upsert.

    Raises:
        MappingFileError: the file cannot be read, or lines of it have no clear meaning; each is named.
    """
    try:
        text = path.read_bytes().decode("latin-1")
    except OSError as error:
        raise MappingFileError(
            f"{path} cannot be read: {error.strerror}.", "Check path and rights."
        ) from None
    problems, targets, unmapped = [], [], []
    seen: dict[str, int] = {}
    for entry in _entries(text, path):
        if problem := _unclear(entry, seen):
            problems.append(f"line {entry.line}: {problem}")
            continue
        seen[entry.key.casefold()] = entry.line
        try:
            found = list(_mapped(entry))
        except ValueError as error:
            problems.append(f"line {entry.line}: {error}")
            continue
        targets += found
        unmapped += [] if found else [entry.key]
    if not problems and not targets:
        problems = ["no line maps a column to a field"]
    refuse(path, problems)
    return Mapping(path, tuple(targets), tuple(unmapped))


def refuse(path: Path, problems: list[str]) -> None:
    """Raises one error that lists every problem of a mapping file; nothing if there is none."""
    if problems:
        shown = "\n".join(f"  {problem}" for problem in problems)
        raise MappingFileError(f"{path} cannot be used:\n{shown}", "Correct these lines.")


def properties(text: str) -> list[Entry]:
    """The entries of a Java properties file, in order; a key may come more than once.

    Raises:
        ValueError: a ``\\u`` without four hexadecimal digits, or half a surrogate pair; the message begins with
            the line.
    """
    entries = []
    for number, line in _logical_lines(text):
        key, value = _split(line)
        try:
            entries.append(Entry(number, _unescaped(key), _unescaped(value)))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    return entries


def _entries(text: str, path: Path) -> list[Entry]:
    try:
        return properties(text)
    except ValueError as error:
        refuse(path, [str(error)])
        raise


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments and blank ones; a line that ends in an odd number of backslashes goes on in the next."""
    line, begun = "", 0
    for number, natural in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        piece = natural.lstrip(_WHITE)
        if not line and piece.startswith(("#", "!")):
            continue
        begun = begun if line else number
        line += piece
        if _goes_on(line):
            line = line[:-1]
            continue
        if line:
            yield begun, line
        line = ""
    if line:
        yield begun, line


def _goes_on(line: str) -> bool:
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _split(line: str) -> tuple[str, str]:
    """The key ends at the first ``=``, ``:`` or blank without a backslash; one ``=`` or ``:`` may follow blanks."""
    at = 0
    while at < len(line) and line[at] not in "=:" + _WHITE:
        at += 2 if line[at] == "\\" else 1
    key, rest = line[:at], line[at:].lstrip(_WHITE)
    return key, (rest[1:].lstrip(_WHITE) if rest[:1] in {"=", ":"} else rest)


def _unescaped(text: str) -> str:
    def plain(match: re.Match[str]) -> str:
        digits, char = match.groups()
        if digits is not None:
            return chr(int(digits, 16))
        if char == "u":
            raise ValueError("\\u needs four hexadecimal digits")
        return _ESCAPES.get(char, char)

    units = re.sub(r"\\(?:u([0-9A-Fa-f]{4})|(.))", plain, text, flags=re.DOTALL)
    try:
        return units.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise ValueError("half of a surrogate pair (\\uD800 to \\uDFFF) stands alone") from None


def _unclear(entry: Entry, seen: dict[str, int]) -> str:
    """What hinders from taking an entry as Data Loader does, or as its author meant it."""
    key, value = entry.key, entry.value
    if _is_utf8(key) or _is_utf8(value):
        return "holds UTF-8 (or a byte order mark), and Data Loader reads ISO-8859-1: write such letters as \\uXXXX"
    if not key.strip():
        return f"no column stands before {value!r}: take the line out"
    if key.startswith('"') and not _is_constant(key):
        return f"the constant {key!r} does not end: a blank, = or : in it needs a backslash before it"
    if earlier := seen.get(key.casefold()):
        return f"{key!r} stands on line {earlier}, too, and Data Loader would take one of the two: join their fields by a comma"
    return ""


def _is_utf8(text: str) -> bool:
    if text.isascii():
        return False
    try:
        text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return False
    return True


def _is_constant(key: str) -> bool:
    return len(key) > 1 and key[0] == key[-1] == '"'


def _mapped(entry: Entry) -> Iterator[Mapped]:
    constant = entry.key[1:-1] if _is_constant(entry.key) else None
    columns = () if constant is not None else _parts(entry.key)
    if constant is None and not columns:
        raise ValueError(f"{entry.key!r} names no column")
    for target in _parts(entry.value):
        match = next(filter(None, (form.fullmatch(target) for form in _TARGETS)), None)
        if match is None:
            raise ValueError(_no_target(entry, target))
        named = match.groupdict()
        if constant is not None and "field" not in named:
            raise ValueError(
                f"{target!r} is a reference, and a constant cannot fill it here: map a column to it"
            )
        words = (named.get(name, "") for name in ("field", "relationship", "object", "key"))
        yield Mapped(entry.line, columns, constant, *words)


def _no_target(entry: Entry, target: str) -> str:
    hint = (
        f"; a blank ends what is left of =: write {entry.key}\\ {entry.value}"
        if "=" in target
        else "; write Field, Relationship\\:Field or Relationship\\:Object-Field"
    )
    return f"{target!r} is no field{hint}"


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
