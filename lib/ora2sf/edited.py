"""A CSV file that somebody edited, by hand or with a spreadsheet, read without guessing: what is not clear is an error with its line."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ora2sf.errors import EditedFileError

_SEPARATORS = (",", ";", "\t")
_MOST_SHOWN = 20
_SHORTENED = re.compile(r"-?[0-9][.,][0-9]+E[+]?[0-9]+", re.IGNORECASE)
#: A spreadsheet cuts a cell at so many characters without a word (Excel specifications and limits).
_CELL = 32_767


@dataclass(frozen=True)
class Line:
    """One row of the file: the line that it begins in, and its cells by column."""

    number: int
    cells: dict[str, str]


def read(path: Path, key: str, columns: Sequence[str]) -> list[Line]:
    """The rows of the file.

    Separator (comma, semicolon, tabulator), byte order mark, line ends and the order of columns are free; further columns are
    left alone.

    Args:
        key: the column of the external id; columns: the others that have to be there.

    Raises:
        EditedFileError: the file is missing or cannot be read, a column is missing or there twice, a row has too few or too many
            cells, a key is empty or there twice; every such line is listed.
    """
    text = _text(path)
    head, rows = _parsed(path, text)
    wanted = (key, *columns)
    twice = sorted({name for name in wanted if head.count(name) > 1})
    if missing := [name for name in wanted if name not in head]:
        raise _error(path, [f"line 1: no column {', '.join(missing)}; columns may move, but not get lost"])
    if twice:
        raise _error(path, [f"line 1: there are two columns {', '.join(twice)}"])
    problems: list[str] = []
    lines: dict[str, Line] = {}
    for number, cells in rows:
        if len(cells) != len(head):
            problems.append(
                f"line {number}: {len(cells)} cells, but the header has {len(head)}; look for a missing quote or separator"
            )
            continue
        line = Line(number, dict(zip(head, cells, strict=True)))
        name = line.cells[key]
        if not name:
            problems.append(f"line {number}: {key} is empty; take the row out, or give its key back")
        elif name in lines:
            problems.append(
                f"line {number}: {key} {name} stands in line {lines[name].number} as well; keep one"
            )
        else:
            lines[name] = line
    if problems:
        raise _error(path, problems)
    return list(lines.values())


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise EditedFileError(
            f"There is no {path}.", 'Run 04_retry with fix = "list" first: it writes the file to edit.'
        ) from None
    except UnicodeDecodeError as error:
        raise EditedFileError(
            f"{path} is not UTF-8 (byte {error.start:,}).", 'Save it as "CSV UTF-8", then run again.'
        ) from None
    except OSError as error:
        raise EditedFileError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from None


def _parsed(path: Path, text: str) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    first = text.split("\n", 1)[0]
    separator = max(_SEPARATORS, key=first.count)
    reader = csv.reader(_lines(text), delimiter=separator, strict=True)

    def rows() -> Iterator[tuple[int, list[str]]]:
        begun = 1
        try:
            for cells in reader:
                if cells:  # an empty line, such as the last one
                    yield begun, [_line_ends(cell) for cell in cells]
                begun = reader.line_num + 1
        except csv.Error as error:
            raise _error(
                path, [f"line {begun}: {error}; look for a quote that is not closed or not doubled"]
            ) from None

    every = rows()
    head = next(every, None)
    if head is None:
        raise _error(path, ["line 1: the file is empty"])
    return head[1], every


def _line_ends(cell: str) -> str:
    return cell.replace("\r\n", "\n").replace("\r", "\n")


def _lines(text: str) -> Iterator[str]:
    """The lines, ended by LF only: a cell may hold other characters that Python takes for line ends."""
    return (f"{line}\n" for line in text.removesuffix("\n").split("\n"))


def damage(before: str, after: str) -> str | None:
    """What a spreadsheet did to a cell, if it looks like that; None if it does not."""
    if before == after:
        return None
    if re.fullmatch(r"0+[0-9]+", before) and after == before.lstrip("0"):
        return f"{after!r} was {before!r}: a spreadsheet takes leading zeros away; format the column as text"
    if _SHORTENED.fullmatch(after):
        return f"{after!r} was {before!r}: a spreadsheet shortened the number; format the column as text"
    if len(after) == _CELL < len(before):
        return f"a spreadsheet cut the text at {_CELL:,} characters"
    return None


def check(path: Path, problems: Mapping[int, str]) -> None:
    """Raises when any line is at fault.

    Raises:
        EditedFileError: line → what is wrong with it.
    """
    if problems:
        raise _error(path, [f"line {number}: {what}" for number, what in sorted(problems.items())])


def _error(path: Path, problems: Sequence[str]) -> EditedFileError:
    more = f"\n  … and {len(problems) - _MOST_SHOWN:,} more" if len(problems) > _MOST_SHOWN else ""
    return EditedFileError(
        f"{path} cannot be taken, and nothing was sent: {len(problems):,} line(s) at fault.\n  "
        + "\n  ".join(problems[:_MOST_SHOWN])
        + more,
        'Correct these lines and run again; to begin anew delete the file and run 04_retry with fix = "list".',
    )
