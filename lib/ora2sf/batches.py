"""Rows → CSV files cut by rows and by bytes, hashed, atomic; result files → rows.

Files are gzip on disk and plain on the wire: UTF-8, LF, no byte order mark, one header line with the
API names in their exact case
(https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/datafiles_prepare_csv.htm).
The same rows give the same bytes.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, TextIO, cast

import polars as pl
from isal import igzip, isal_zlib

from ora2sf.convert import Rejected
from ora2sf.errors import RunFolderError
from ora2sf.fields import SET_NULL
from ora2sf.ledger import Batch

#: Salesforce advises at most 100 MB of CSV for a job, because 150 MB is the limit after base64
#: (Bulk API 2.0 guide: Upload Job Data).
MAX_BYTES = 100_000_000
_SMALL_BLOCK = 256
_BLOCK = 5_000  # rows that are made into text at a time
#: What reading a damaged gzip file raises; the stubs of isal take its error for an instance.
_DAMAGED: tuple[type[Exception], ...] = (
    EOFError,
    igzip.BadGzipFile,
    cast(type[Exception], isal_zlib.error),
    pl.exceptions.NoDataError,
)

#: The header of a gzip file (RFC 1952): deflate, no name, no time, the fastest compression, any system.
_GZIP = bytes.fromhex("1f8b08000000000004ff")
_LAST = b"\x03\x00"  # an empty last block (RFC 1951, 3.2.6)

_UNREADABLE: tuple[type[Exception], ...] = (OSError, *_DAMAGED)


class BatchWriter:
    """Writes staged rows to ``<folder>/<stem>_<number>.csv.gz``, in the order they come.

    Args:
        folder: where the files go.
        stem: the start of their names.
        header: the field names; also the columns that are written.
        key: the column of the external id.
        batch_size: rows in a file; every file but the last is full unless ``max_bytes`` cuts it.
        max_bytes: bytes in a file before compression.
        parent: the column of the parent, whose rows come one after the other and stay in one file; only a parent with
            more rows or bytes than a file may have is cut.
        first, round_number: the number of the first batch, and the round that they belong to.
    """

    def __init__(
        self,
        folder: Path,
        stem: str,
        header: tuple[str, ...],
        key: str,
        batch_size: int,
        max_bytes: int = MAX_BYTES,
        parent: str | None = None,
        first: int = 1,
        round_number: int = 0,
    ) -> None:
        self._folder, self._stem, self._header, self._key = folder, stem, header, key
        self._first, self._round = first, round_number
        self._batch_size, self._max_bytes = batch_size, max_bytes
        self._head = (",".join(header) + "\n").encode()
        self._parent = parent
        self._held: list[pl.DataFrame] = []
        self._open: _OpenFile | None = None
        self.batches: list[Batch] = []

    def lines(self, rows: pl.DataFrame) -> list[Lines]:
        """The lines of rows that will be added, for a thread that makes them ahead; none if they are cut otherwise anyway."""
        if self._parent is not None or self._batch_size < _BLOCK:
            return []
        rows = rows.select(self._header)
        return [Lines.of(rows.slice(at, _BLOCK)) for at in range(0, rows.height, _BLOCK)]

    def add(self, rows: pl.DataFrame, lines: Sequence[Lines] = ()) -> None:
        """Adds rows, and their :meth:`lines` if they are made; a file that is full is closed and the next one begun."""
        rows = rows.select(self._header)
        if self._parent is None:
            self._write(rows, lines)
        elif rows.height:
            self._add_parents(rows, self._parent)

    def _add_parents(self, rows: pl.DataFrame, parent: str) -> None:
        """Writes the parents that are complete; the last one may go on in the rows to come."""
        last = _starts(rows, parent)[-1]
        if last or (self._held and self._held[0][parent][0] != rows[parent][0]):
            self._write(pl.concat([*self._held, rows.head(last)]))
            self._held = []
        self._held.append(rows.slice(last))
        if (
            sum(part.height for part in self._held) >= self._batch_size
        ):  # it does not fit into one file anyway
            self._write(pl.concat(self._held))
            self._held = []

    def _write(self, rows: pl.DataFrame, lines: Sequence[Lines] = ()) -> None:
        left = _Unwritten(rows, lines)
        while left.rows.height:
            file = self._open = self._open or _OpenFile(self._path(self._next), self._head)
            room = _cut(left.rows, self._batch_size - file.rows, self._parent, whole=file.rows > 0).height
            taken = file.take(left, room, self._key, self._max_bytes, self._parent)
            if file.rows == self._batch_size or taken == 0:
                self._close(file)

    def finish(self) -> list[Batch]:
        """Closes the last file and returns all of them."""
        if self._held:
            self._write(pl.concat(self._held))
            self._held = []
        if self._open:
            self._close(self._open)
        return self.batches

    def abandon(self) -> None:
        """Lets go of the file that is being written; it never gets its name."""
        if self._open:
            self._open.abandon()
            self._open = None

    @property
    def _next(self) -> int:
        return self._first + len(self.batches)

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._stem}_{number:05d}.csv.gz"

    def _close(self, file: _OpenFile) -> None:
        self._open = None
        file.close()
        self.batches.append(
            Batch(
                number=self._next,
                file=file.path.name,
                rows=file.rows,
                bytes=file.bytes,
                sha256=file.hash.hexdigest(),
                first_key=file.first_key,
                last_key=file.last_key,
                round=self._round,
                first_parent=file.first_parent,
                last_parent=file.last_parent,
            )
        )


class Lines(NamedTuple):
    """Rows as CSV lines, and the same compressed: deflated apart from what stands before, so that any order makes a file."""

    text: bytes
    packed: bytes

    @classmethod
    def of(cls, rows: pl.DataFrame) -> Lines:
        """The lines of these rows."""
        return cls.packing(encode(rows))

    @classmethod
    def packing(cls, text: bytes) -> Lines:
        """This text, compressed."""
        deflate = isal_zlib.compressobj(1, isal_zlib.DEFLATED, -isal_zlib.MAX_WBITS)
        return cls(text, deflate.compress(text) + deflate.flush(isal_zlib.Z_FULL_FLUSH))


class _Unwritten:
    """Rows that wait to be written, and their lines in blocks of ``_BLOCK`` rows, where they were made ahead."""

    def __init__(self, rows: pl.DataFrame, lines: Sequence[Lines]) -> None:
        self.rows, self._lines, self._at = rows, lines, 0

    def block(self, room: int, parent: str | None) -> pl.DataFrame:
        """The next rows to make text of, ``room`` at most."""
        size = _BLOCK - self._at % _BLOCK if self._lines else _BLOCK
        return _whole_parents(self.rows.head(room), size, parent)

    def lines(self, rows: pl.DataFrame) -> Lines:
        """The lines of the next rows."""
        number, inside = divmod(self._at, _BLOCK)
        made = self._lines and not inside and rows.height == min(_BLOCK, self.rows.height)
        return self._lines[number] if made else Lines.of(rows)

    def drop(self, count: int) -> None:
        """The next rows are written."""
        self.rows, self._at = self.rows.slice(count), self._at + count


class _OpenFile:
    """One file being written, under a name that nobody takes for a whole one."""

    def __init__(self, path: Path, head: bytes) -> None:
        self.path, self._part = path, path.with_name(path.name + ".part")
        self._stream = self._part.open("wb")
        self.rows = self.bytes = self._crc = 0
        self.hash = hashlib.sha256()
        self.first_key = self.last_key = self.first_parent = self.last_parent = ""
        self._stream.write(_GZIP)
        self._write(Lines.packing(head))

    def take(self, left: _Unwritten, room: int, key: str, max_bytes: int, parent: str | None) -> int:
        """Writes as many of the next ``room`` rows as fit, block by block, and returns their number."""
        taken = 0
        while taken < room:
            block = left.block(room - taken, parent)
            fitted = self._take_block(block, left.lines(block), key, max_bytes, parent)
            left.drop(fitted)
            taken += fitted
            if fitted < block.height:
                break
        return taken

    def _take_block(
        self, rows: pl.DataFrame, lines: Lines, key: str, max_bytes: int, parent: str | None
    ) -> int:
        while self.bytes + len(lines.text) > max_bytes:
            if rows.height <= _SMALL_BLOCK and self.rows:
                return 0
            if rows.height == 1:
                raise RunFolderError(
                    f"The row with key {rows[key][0]} has {len(lines.text):,} bytes: more than a batch may have.",
                    "Leave a long text field out of the table file, or raise the limit of bytes.",
                )
            fewer = _whole_parents(rows, rows.height // 2, parent)
            if fewer.height == rows.height:  # one parent
                if self.rows:
                    return 0
                fewer = rows.head(rows.height // 2)
            rows, lines = fewer, Lines.of(fewer)
        self._write(lines)
        self.first_key = self.first_key if self.rows else rows[key][0]
        self.last_key = rows[key][-1]
        self.rows += rows.height
        if parent is not None:
            self._note_parents(rows[parent])
        return rows.height

    def _note_parents(self, parents: pl.Series) -> None:
        real = parents.filter(parents.is_not_null() & (parents != SET_NULL))
        if real.len():
            self.first_parent, self.last_parent = self.first_parent or real[0], real[-1]

    def _write(self, lines: Lines) -> None:
        self._stream.write(lines.packed)
        self.hash.update(lines.text)
        self._crc = isal_zlib.crc32(lines.text, self._crc)
        self.bytes += len(lines.text)

    def abandon(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.close()

    def close(self) -> None:
        with self._stream as stream:
            stream.write(_LAST + struct.pack("<LL", self._crc, self.bytes & 0xFFFFFFFF))
            stream.flush()
            os.fsync(stream.fileno())
        self._part.replace(self.path)


def _cut(rows: pl.DataFrame, count: int, parent: str | None, *, whole: bool) -> pl.DataFrame:
    """The first rows, ``count`` at most, and none of a parent whose rows go on behind them.

    A parent that alone has more rows is cut, unless ``whole`` says that it gets a file of its own; then there are none.
    """
    if parent is None or count >= rows.height:
        return rows.head(count)
    fitting = [start for start in _starts(rows.head(count + 1), parent) if start]
    return rows.head(fitting[-1] if fitting else 0 if whole else count)


def _whole_parents(rows: pl.DataFrame, count: int, parent: str | None) -> pl.DataFrame:
    """The first rows, ``count`` at most but not less than the first parent."""
    some = _cut(rows, count, parent, whole=True)
    if some.height or parent is None:
        return some
    starts = _starts(rows, parent)
    return rows.head(starts[1]) if len(starts) > 1 else rows


def _starts(rows: pl.DataFrame, parent: str) -> list[int]:
    """Where the rows of each parent start; every row without a parent stands alone."""
    differs = rows[parent] != rows[parent].shift(1)
    return [0, *(at for at in differs.fill_null(value=True).arg_true().to_list() if at)]


def encode(rows: pl.DataFrame) -> bytes:
    """Rows as CSV lines without a header; null is an empty cell."""
    buffer = io.BytesIO()
    rows.write_csv(buffer, include_header=False)
    return buffer.getvalue()


def read_batch(path: Path) -> pl.DataFrame:
    """A staged file as text columns; an empty cell is null.

    Raises:
        RunFolderError: the file is damaged.
    """
    try:
        with igzip.open(path, "rb") as stream:
            return pl.read_csv(stream.read(), infer_schema=False)
    except _DAMAGED as error:
        raise RunFolderError(
            f"{path} is damaged: {error}.", "Restore it from a backup, or extract again with a new run_id."
        ) from None


def read_staged(folder: Path, batch: Batch) -> pl.DataFrame:
    """A batch as it was staged.

    Raises:
        RunFolderError: its file was changed or damaged.
    """
    path = folder / batch.file
    try:
        with igzip.open(path, "rb") as stream:
            text = stream.read()
    except _UNREADABLE as error:
        raise RunFolderError(f"{path} cannot be read: {error}.", "Extract again with a new run_id.") from None
    if hashlib.sha256(text).hexdigest() != batch.sha256:
        raise RunFolderError(
            f"{path} is not what was staged: its text was changed.", "Extract again with a new run_id."
        )
    return pl.read_csv(text, infer_schema=False)


def without_rows(
    folder: Path, batches: list[Batch], drop: Iterator[int], keep: Callable[[pl.DataFrame], object]
) -> Iterator[pl.DataFrame]:
    """Reads the batches again and hands on all but some rows; yields the dropped rows.

    Args:
        folder: where the batches are; each old file is removed once it has been read.
        drop: ascending positions, 0 being the first row of the first batch.
        keep: gets the other rows, in their order.
    """
    following = next(drop, None)
    start = 0
    for batch in batches:
        rows = read_batch(folder / batch.file)
        here: list[int] = []
        while following is not None and following < start + batch.rows:
            here.append(following - start)
            following = next(drop, None)
        mask = pl.Series([False]).new_from_index(0, rows.height).scatter(here, values=True)
        yield rows.filter(mask)
        keep(rows.filter(~mask))
        (folder / batch.file).unlink()
        start += batch.rows


class PlainText:
    """The plain text of a staged file as a request body: read in blocks, length known, constant memory.

    Args:
        path: a ``.csv`` or ``.csv.gz`` file.
        size: bytes of plain text; by default taken from the file.

    Raises:
        RunFolderError: the file ends before ``size`` bytes: it is damaged.
    """

    def __init__(self, path: Path, size: int | None = None) -> None:
        self._path = path
        self._size = plain_size(path) if size is None else size
        self._left = self._size
        self._stream: BinaryIO = igzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        while block := self.read(1 << 20):
            yield block

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes."""
        try:
            block: bytes = self._stream.read(size)
        except _DAMAGED as error:
            raise self._damaged() from error
        self._left -= len(block)
        if self._left < 0 or (self._left and not block and size):
            raise self._damaged()
        return block

    def _damaged(self) -> RunFolderError:
        return RunFolderError(
            f"{self._path} does not hold the {self._size:,} bytes that were staged: it was changed or damaged.",
            "Extract again with a new run_id.",
        )

    def close(self) -> None:
        """Closes the file."""
        self._stream.close()


def plain_size(path: Path) -> int:
    """Bytes of plain text in a file; gzip keeps it in its last four bytes (RFC 1952, ISIZE)."""
    if path.suffix != ".gz":
        return path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(-4, os.SEEK_END)
        return int.from_bytes(stream.read(4), "little")


class RejectedFile:
    """``<table>_rejected.csv``: one line per rejected row, written under a temporary name until it is whole."""

    HEADER = ("row", "key", "field", "rule", "value", "also")

    def __init__(self, path: Path) -> None:
        self.path, self._part = path, path.with_name(path.name + ".part")
        self._stream: TextIO = self._part.open("w", encoding="utf-8", newline="")
        # everything quoted: csv leaves a lone CR unquoted otherwise
        self._csv = csv.writer(self._stream, quoting=csv.QUOTE_ALL, lineterminator="\n")
        self._csv.writerow(self.HEADER)
        self.rows = 0

    def add(self, rejected: Iterable[Rejected]) -> None:
        """Writes rejected rows."""
        for one in rejected:
            self._csv.writerow((one.row, one.key, one.field, one.rule, one.value, one.also))
            self.rows += 1

    def finish(self) -> None:
        """Gives the file its name."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        self._part.replace(self.path)

    def abandon(self) -> None:
        """Lets go of the file; it never gets its name."""
        with contextlib.suppress(OSError):
            self._stream.close()
            self._part.unlink(missing_ok=True)
