"""The CSV of a job: checked and cut into internal batches in one pass, then read batch by batch.

Nothing here holds more than one internal batch.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from .errors import JobFailure

DELIMITERS = {"COMMA": ",", "TAB": "\t", "PIPE": "|", "SEMICOLON": ";", "CARET": "^", "BACKQUOTE": "`"}
LINE_ENDS = {"LF": "\n", "CRLF": "\r\n"}
BATCH_ROWS = 10_000  # Bulk API 2.0 guide: How Requests Are Processed
MAX_RECORD_CHARACTERS = 400_000  # limits
MAX_HEADER_CHARACTERS = 32_000  # Bulk API 2.0 guide: Prepare CSV Files
MAX_FIELDS = 5_000  # limits
MAX_RECORD_BYTES = 4 * MAX_RECORD_CHARACTERS
BOM = b"\xef\xbb\xbf"
_QUOTED = re.compile(rb'"[^"]*"')
UNESCAPED_QUOTE = "Failed to parse CSV. Found unescaped quote. A value with quote should be within a quote"
TOO_LARGE = f"A record is larger than {MAX_RECORD_CHARACTERS} characters"

csv.field_size_limit(MAX_RECORD_BYTES)


@dataclass
class Piece:
    """One internal batch inside the uploaded file."""

    offset: int
    size: int
    rows: int


class StrayBlank(list[str]):
    """The cells of a row with a blank next to a quote, which refuses the row."""


@dataclass
class Layout:
    """What one pass over the upload found. ``failure``: why the job fails; pieces may be readable still."""

    header: str = ""
    pieces: list[Piece] = field(default_factory=list)
    failure: JobFailure | None = None


def survey(source: BinaryIO, delimiter: str, line_ending: str) -> Layout:
    """Check a job's data as a whole and find its internal batches.

    Checks: byte order mark, line ends that differ from the job's ``lineEnding``, stray quotes, UTF-8 (all
    seen, except that any CR in an LF job's data counts as a wrong line end, also inside quotes: assumed).
    """
    layout = Layout()
    shape = _record_shape(delimiter)  # of the header; a row may have blanks at its quotes
    offset = 0
    piece: Piece | None = None
    for record in _records(source):
        problem = _record_problem(record, shape, line_ending)
        if problem is not None:
            layout.failure = layout.failure or problem
            if UNESCAPED_QUOTE in str(problem) or TOO_LARGE in str(problem):
                layout.pieces.clear()  # the rows cannot be told apart, or not be read
                return layout
        if not layout.header:
            shape = _record_shape(delimiter, blanks=b" *")
            _read_header(layout, record, delimiter)
        elif record.strip(b"\r\n"):  # a blank line is no row (assumed)
            if piece is None or piece.rows == BATCH_ROWS:
                piece = Piece(offset, 0, 0)
                layout.pieces.append(piece)
            piece.rows += 1
            piece.size = offset + len(record) - piece.offset
        offset += len(record)
    return layout


def _records(source: BinaryIO) -> Iterator[bytes]:
    """CSV records with their line ends: a record goes on while a quote is open."""
    pending: list[bytes] = []
    quotes = size = 0
    for line in source:
        if not pending and b'"' not in line:
            yield line
            continue
        pending.append(line)
        quotes += line.count(b'"')
        size += len(line)
        if quotes % 2 == 0 or size > MAX_RECORD_BYTES:
            yield b"".join(pending)
            pending, quotes, size = [], 0, 0
    if pending:
        yield b"".join(pending)


def _record_shape(delimiter: str, blanks: bytes = b"") -> re.Pattern[bytes]:
    """A whole record; ``blanks`` matches what may stand between a quote and the cell's end."""
    mark = re.escape(delimiter.encode())
    cell = rb"(?:" + blanks + rb'"(?:[^"]|"")*"' + blanks + rb'|[^"\n' + mark + rb"]*)"
    return re.compile(cell + rb"(?:" + mark + cell + rb")*\r?\n?\Z")


def _record_problem(record: bytes, shape: re.Pattern[bytes], line_ending: str) -> JobFailure | None:
    if len(record) > MAX_RECORD_CHARACTERS and len(record.decode("utf-8", "replace")) > MAX_RECORD_CHARACTERS:
        # That the job fails and not the row is assumed, so is the text.
        return JobFailure("InvalidBatch", TOO_LARGE)
    if b'"' in record and not shape.match(record):
        return JobFailure("InvalidBatch", UNESCAPED_QUOTE)
    if not _line_end_fits(record, line_ending):
        text = f"LineEnding is invalid on user data. Current LineEnding setting is {line_ending}"
        return JobFailure("ClientInputError", text)
    if not record.isascii():
        try:
            record.decode("utf-8")
        except UnicodeDecodeError:
            # UTF-8 is required (Bulk API 2.0 guide: Prepare CSV Files); the wording is assumed.
            return JobFailure("InvalidBatch", "Failed to parse CSV. The data is not valid UTF-8")
    return None


def _line_end_fits(record: bytes, line_ending: str) -> bool:
    if line_ending == "LF":
        return b"\r" not in record
    if record.endswith(b"\n") and not record.endswith(b"\r\n"):
        return False
    # A CR by itself may be inside quotes only: outside it is a line end of neither kind (assumed).
    if record.count(b"\r") == record.endswith(b"\r\n"):
        return True
    return b"\r" not in _QUOTED.sub(b"", record).removesuffix(b"\r\n")


def _read_header(layout: Layout, record: bytes, delimiter: str) -> None:
    # A byte order mark before a quote makes the quote a stray one (seen); before a bare name it joins it.
    text = record.decode("utf-8", errors="replace").rstrip("\r\n")
    if record.startswith(BOM + b'"'):
        layout.failure = JobFailure("InvalidBatch", UNESCAPED_QUOTE)
    layout.header = text
    names = next(csv.reader([text], delimiter=delimiter), [])
    if len(text) > MAX_HEADER_CHARACTERS or len(names) > MAX_FIELDS:  # text assumed
        most = f"{MAX_HEADER_CHARACTERS} characters and {MAX_FIELDS} fields"
        layout.failure = layout.failure or JobFailure("InvalidBatch", f"A header has at most {most}")


def read_piece(source: BinaryIO, piece: Piece, delimiter: str) -> list[list[str]]:
    """The rows of one internal batch."""
    source.seek(piece.offset)
    data = source.read(piece.size)
    mark = re.escape(delimiter.encode())
    if re.search(rb"(?:\A|[\n" + mark + rb']) +"|" +(?:[\r\n' + mark + rb"]|\Z)", data):  # perhaps
        return list(_rows_with_blanks(data, delimiter))
    return [row for row in _reader(data, delimiter) if row]


def records(source: BinaryIO, piece: Piece) -> Iterator[bytes]:
    """The records of one internal batch as they were sent."""
    source.seek(piece.offset)
    return _records(io.BytesIO(source.read(piece.size)))


def _reader(data: bytes, delimiter: str, *, blanks: bool = False) -> Iterator[list[str]]:
    text = data.decode("utf-8", errors="replace")
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=blanks)


def _rows_with_blanks(data: bytes, delimiter: str) -> Iterator[list[str]]:
    """Record by record. A blank next to a quote is an error of its row (guide: Prepare CSV Files)."""
    shape = _record_shape(delimiter)
    for record in _records(io.BytesIO(data)):
        if b'"' not in record or shape.match(record):
            yield from (row for row in _reader(record, delimiter) if row)
        else:
            yield from (StrayBlank(row) for row in _reader(record, delimiter, blanks=True))


def quoted(cells: Sequence[str], delimiter: str, line_end: str) -> str:
    """One result line: every data cell quoted (documented)."""
    middle = f'"{delimiter}"'
    line = middle.join(cells)
    if line.count('"') != 2 * (len(cells) - 1):
        line = middle.join([cell.replace('"', '""') for cell in cells])
    return f'"{line}"{line_end}'
