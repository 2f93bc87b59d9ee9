"""How many rows a result file has, and how many of them Salesforce created: counted while its bytes pass, in constant memory.

Exact for every text that CSV allows: a row goes on over line ends while a quote is open, and ``true`` counts in the cell
``sf__Created`` alone. numpy looks at a whole block at once, without the lock of all threads; rows that do not look like the
first one of their block are looked at one by one.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ora2sf.errors import RunFolderError

_Places = npt.NDArray[np.intp]
_BLOCK = 1 << 18
_QUOTE, _COMMA, _LINE_END = b'",\n'
_TRUE, _FALSE = (np.frombuffer(word, np.uint8)[:, None] for word in (b'"true",', b'"false",'))


@dataclass(frozen=True)
class ResultCount:
    """Rows of a result file, and how many of them Salesforce created."""

    rows: int
    created: int


def count_results(path: Path) -> ResultCount:
    """Counts the rows of a result file; an empty one (Salesforce may answer 204) has none.

    Raises:
        RunFolderError: the file ends within a row.
    """
    counter = ResultCounter()
    try:
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                counter.add(block)
        return counter.finish()
    except EOFError:
        raise RunFolderError(
            f"{path} ends within a row: it is damaged.", "Remove it and run again with the same run_id."
        ) from None


class ResultCounter:
    """Takes the text of a result file in blocks, cut anywhere."""

    def __init__(self) -> None:
        self._rows = self._created = 0
        self._held = b""  # from the begin of a row that has not ended yet
        self._cell: _CreatedCell | None = None  # known once the header is

    def add(self, block: bytes | memoryview) -> None:
        """The next part of the text."""
        text = b"".join((self._held, block))
        ends = _row_ends(text)
        self._held = text[ends[-1] :] if ends.size else text
        self._count(text, ends)

    def finish(self) -> ResultCount:
        """What the text holds.

        Raises:
            EOFError: it ends within a row.
        """
        if self._held.count(b'"') & 1:
            raise EOFError
        if self._held:
            self.add(b"\n")
        return ResultCount(self._rows, self._created)

    def _count(self, text: bytes, ends: _Places) -> None:
        begins = np.concatenate(([0], ends[:-1])) if ends.size else ends
        if self._cell is None and ends.size:
            self._cell = _CreatedCell(text[: ends[0]])
            begins, ends = begins[1:], ends[1:]
        short = np.flatnonzero(ends - begins <= 2)
        if blank := [place for place in short if not text[begins[place] : ends[place]].strip()]:
            begins, ends = np.delete(begins, blank), np.delete(ends, blank)
        self._rows += begins.size
        if self._cell and begins.size:
            self._created += self._cell.count(text, begins, ends)


def _row_ends(text: bytes) -> _Places:
    """Where each row ends, behind its line end; the text begins outside of quotes."""
    data = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(data == _LINE_END) + 1
    if not ends.size:
        return ends
    quotes = (data[: ends[-1]] == _QUOTE).view(np.uint8)
    odd = np.bitwise_xor.reduceat(quotes, np.concatenate(([0], ends[:-1])))
    return ends[np.bitwise_xor.accumulate(odd) == 0] if odd.any() else ends


class _CreatedCell:
    """Finds ``true`` in the cell ``sf__Created`` of rows; it finds nothing if there is no such column.

    An Id stands before this column: nothing with a quote in it.
    """

    def __init__(self, header: bytes) -> None:
        names = next(csv.reader([header.decode()]), [])
        self._there = "sf__Created" in names
        cells = rb'(?:"[^"]*"|[^",]*),' * (names.index("sf__Created") if self._there else 0)
        self._before = re.compile(cells)
        self._true = re.compile(cells + rb'"?true"?(?:,|\r?\n?\Z)')

    def count(self, text: bytes, begins: _Places, ends: _Places) -> int:
        """Rows that have it; there is at least one row."""
        if not self._there:
            return 0
        alike, created = self._alike(text, begins, ends)
        others = zip(begins[~alike].tolist(), ends[~alike].tolist(), strict=True)
        return created + self._one_by_one(text[begin:end] for begin, end in others)

    def _one_by_one(self, rows: Iterable[bytes]) -> int:
        return sum(self._true.match(row) is not None for row in rows)

    def _alike(self, text: bytes, begins: _Places, ends: _Places) -> tuple[npt.NDArray[np.bool_], int]:
        """Rows whose cell is quoted and begins at the same place as in the first row, and how many of them have ``true``.

        Quotes, commas and line ends stand at the same places before it, so the cells before it are as long.
        """
        found = self._before.match(text, begins[0], ends[0])
        width = found.end() - begins[0] if found else 0
        within = begins + width + _FALSE.size <= len(text)
        data = np.frombuffer(text, np.uint8)
        if not found or not within.any():
            return np.zeros(begins.size, np.bool_), 0
        windows = np.lib.stride_tricks.sliding_window_view(data, width + _FALSE.size)[begins[within]]
        # a row's characters one below the other: compared for all rows at once
        columns = np.ascontiguousarray(windows.T)
        same = _same_marks(columns[:width])
        true = same & (columns[width : width + _TRUE.size] == _TRUE).all(axis=0)
        false = same & (columns[width:] == _FALSE).all(axis=0)
        alike = np.zeros(begins.size, np.bool_)
        alike[within] = true | false
        return alike, int(true.sum())


def _same_marks(columns: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Which of the rows have quotes, commas and line ends where the first one has them; each row is a column here."""
    same = np.ones(columns.shape[1], np.bool_)
    for mark in (_QUOTE, _COMMA, _LINE_END):
        found = columns == mark
        same &= (found == found[:, :1]).all(axis=0)
    return same
