"""Rows on their way to a client, encoded for the wire."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .errors import unsupported
from .ttc import BIT_VECTOR, ROW, Described, row_header
from .types import BINARY_DOUBLE, ROWID, ZONED
from .values import (
    Framed,
    binary_numbers_from_arrow,
    datetimes_from_arrow,
    datetimes_from_nanos,
    framed_longs,
    framed_rowids,
    numbers_from_decimals,
    raw_buffer,
    rows_from_columns,
    utf16_from_text,
    valid_mask,
)
from .wire import ub

_BATCH, _LOB_BATCH = 20_000, 64
_ALWAYS_SENT = (8, 11, 24, 112, 113)  # LONG, ROWID, LONG RAW, CLOB, BLOB
EncodedBatch = tuple[list[Any], int]
Guard = Callable[[], contextlib.AbstractContextManager[object]]


class ResultSet:
    """The rows of a query, taken from the front.

    `batches` gives them as they are asked for: encoded columns, one `binary` array for each column that is sent, and the
    number of rows. `release` is called once, when no more rows are wanted. With `compress` a value that is as in the row
    before is left out where that makes the message shorter. `check` raises an OracleError if no more rows may be had.
    """

    def __init__(
        self,
        columns: list[Described],
        batches: Iterable[EncodedBatch],
        release: Callable[[], None] = lambda: None,
    ) -> None:
        self.columns = columns
        self.compress = False
        self._batches = batches
        self._joined = self._join()
        self._release: Callable[[], None] | None = release
        self._rows: pa.Array[Any] = pa.array([], pa.binary())
        self._at = 0
        self.check: Callable[[], None] = lambda: None

    @classmethod
    def of_rows(cls, columns: list[Described], rows: Iterable[pa.Array[Any]]) -> ResultSet:
        """Return a result whose rows are encoded already, one a value."""
        result = cls(columns, ())
        result._joined = iter(rows)
        return result

    def take(self, count: int) -> tuple[bytes, int]:
        """Return a row header with up to `count` encoded rows, and how many they are.

        Fewer than asked for means there are no more.
        """
        parts: list[bytes | memoryview[int]] = []
        taken = 0
        if self._release:
            self.check()
        while taken < count:
            if self._at >= len(self._rows) and not self._load():
                break
            piece = self._rows.slice(self._at, count - taken)
            parts.append(_flat_bytes(piece))
            self._at += len(piece)
            taken += len(piece)
        if taken:
            header, parts[0] = _with_header(parts[0], len(self.columns))
        else:
            header = row_header()
        return b"".join((header, *parts)), taken

    def values(self) -> Iterator[list[bytes | None]]:
        """Return the rest of the rows as encoded values, and close; for the server's own questions."""
        for values, count in self._batches:
            for row in range(count):
                yield [column[row].as_py() for column in values]
        self.close()

    def _load(self) -> bool:
        for rows in self._joined:
            if len(rows):
                self._rows, self._at = rows, 0
                return True
        return False

    def _join(self) -> Iterator[pa.Array[Any]]:
        compressor = Compressor(self.columns) if self.compress else None
        for values, count in self._batches:
            rows = compressor.rows(values, count) if compressor else rows_from_columns(values, count, ROW)
            if len(rows) != count:
                raise unsupported(f"{count} rows came out as {len(rows)}")
            yield rows

    def watch(self, watcher: Callable[[Iterator[pa.Array[Any]]], Iterator[pa.Array[Any]]]) -> None:
        """Put `watcher` between the encoded rows and whoever takes them."""
        self._joined = watcher(self._joined)

    def keep(self) -> None:
        """Take the rest into memory, because the connection it comes from is needed for another query."""
        self._joined = iter(list(self._joined))

    def close(self) -> None:
        """Give up the rest."""
        self._rows, self._at = pa.array([], pa.binary()), 0
        self._batches, self._joined = (), iter(())
        if self._release:
            self._release()
            self._release = None


class Compressor:
    """Leaves out values that are as in the row before, and says so in a BIT VECTOR message in front of the row.

    Real servers do it in sorted and repetitive data. LOBs and LONGs are always sent.
    """

    def __init__(self, columns: list[Described]) -> None:
        self._width = (len(columns) + 7) // 8
        self._count = len(columns)
        sent = [(place, column.type) for place, column in enumerate(columns) if column.type]
        self._places = [
            (i, place) for i, (place, kind) in enumerate(sent) if kind.wire_code not in _ALWAYS_SENT
        ]
        self._last: dict[int, bytes | None] | None = None

    def rows(self, values: list[pa.Array[Any]], count: int) -> pa.Array[Any]:
        """Return `count` rows, one `binary` value each; the row before the first is the last of the call before."""
        if not count:
            return rows_from_columns(values, count, ROW)
        same = np.zeros((count, self._count), dtype=np.bool_)
        saved = np.zeros(count, dtype=np.int64)
        for i, place in self._places:
            repeated = _repeats(values[i], self._last[i] if self._last else None, first=self._last is None)
            if repeated.any():
                same[:, place] = repeated
                saved += np.where(repeated, _lengths(values[i]) + 1, 0)
        self._last = {i: values[i][-1].as_py() for i, _ in self._places}
        same[saved <= self._width + 3] = False
        if not same.any():
            return rows_from_columns(values, count, ROW)
        kept = list(values)
        gone: list[npt.NDArray[np.bool_] | None] = [None] * len(values)
        for i, place in self._places:
            if same[:, place].any():
                gone[i] = same[:, place]
        return rows_from_columns(kept, count, self._leads(same), gone)

    def _leads(self, same: npt.NDArray[np.bool_]) -> pa.Array[Any]:
        """Return what each row begins with: a vector of the columns that are sent, where one is left out."""
        bits = np.packbits(~same, axis=1, bitorder="little")
        bits &= np.frombuffer(((1 << self._count) - 1).to_bytes(self._width, "little"), dtype=np.uint8)
        keys = np.zeros((len(same), -(-self._width // 8) * 8), dtype=np.uint8)
        keys[:, : self._width] = bits
        words = keys.view(np.uint64)
        if words.shape[1] == 1:
            _, first, kind = np.unique(words[:, 0], return_index=True, return_inverse=True)
        else:
            _, first, kind = np.unique(words, axis=0, return_index=True, return_inverse=True)
        leads = [self._lead(bits[row].tobytes(), int(same[row].sum())) for row in first]
        return pa.array(leads, pa.binary()).take(kind.reshape(-1))

    def _lead(self, vector: bytes, left_out: int) -> bytes:
        if not left_out:
            return bytes((ROW,))
        return bytes((BIT_VECTOR,)) + ub(self._count - left_out) + vector + bytes((ROW,))


def _repeats(column: pa.Array[Any], before: bytes | None, *, first: bool) -> npt.NDArray[np.bool_]:
    """Tell which values are the same as the one before them; NULL is the same as NULL."""
    out = np.zeros(len(column), dtype=np.bool_)
    earlier, later = column.slice(0, len(column) - 1), column.slice(1)
    equal: Any = pc.equal(later, earlier)
    out[1:] = pc.fill_null(equal, False).to_numpy(zero_copy_only=False)
    if column.null_count:
        missing = ~valid_mask(column)
        out[1:] |= missing[1:] & missing[:-1]
    out[0] = not first and column[0].as_py() == before
    return out


def _lengths(column: pa.Array[Any]) -> npt.NDArray[np.int64]:
    values: Any = column
    lengths = pc.fill_null(pc.binary_length(values), 0)
    return np.asarray(lengths.to_numpy(zero_copy_only=False), dtype=np.int64)


def _with_header(rows: bytes | memoryview[int], columns: int) -> tuple[bytes, memoryview[int]]:
    """Return the row header for `rows`, and the rows after it: the vector of a fetch's first row is in the header."""
    view = memoryview(rows)
    if view[0] != BIT_VECTOR:
        return row_header(), view
    start = 2 + view[1]
    end = start + (columns + 7) // 8
    return row_header(bytes(view[start:end])), view[end:]


def batch_rows(columns: list[Described]) -> int:
    """Return how many rows DuckDB hands over, and are encoded, at a time: few where values may be huge."""
    return _LOB_BATCH if any(column.type and column.type.is_lob for column in columns) else _BATCH


def encoded_batches(
    reader: pa.RecordBatchReader, columns: list[Described], guard: Guard
) -> Iterator[EncodedBatch]:
    """Return the columns of a DuckDB result, encoded; `guard` is entered while DuckDB works."""
    while True:
        try:
            with guard():
                batch = reader.read_next_batch()
        except StopIteration:
            return
        values = [encoded(c, out) for c, out in zip(batch.columns, columns, strict=True) if out.type]
        yield values, batch.num_rows


def _flat_bytes(rows: pa.Array[Any]) -> memoryview[int]:
    offsets = np.frombuffer(raw_buffer(rows, 1), dtype=np.int32)
    start, end = int(offsets[rows.offset]), int(offsets[rows.offset + len(rows)])
    return raw_buffer(rows, 2)[start:end]


def encoded(column: pa.Array[Any], out: Described) -> pa.Array[Any] | Framed:
    """Encode one column of a result for the wire."""
    kind, arrow = out.type, column.type
    assert kind is not None
    if kind.is_number:
        if pa.types.is_decimal(arrow) or pa.types.is_integer(arrow):
            return numbers_from_decimals(column)
        if pa.types.is_binary(arrow):
            return column
    elif kind.is_text and pa.types.is_string(arrow):
        return utf16_from_text(column) if kind.is_national else column.cast(pa.binary())
    elif kind.in_nanoseconds and pa.types.is_decimal(arrow):
        return datetimes_from_nanos(column, zoned=kind.name == ZONED)
    elif kind.is_datetime and pa.types.is_timestamp(arrow):
        return datetimes_from_arrow(column, fraction=kind.name == "TIMESTAMP")
    elif kind.is_binary_number and pa.types.is_floating(arrow):
        return binary_numbers_from_arrow(column, double=kind == BINARY_DOUBLE)
    elif kind.name == "RAW" and pa.types.is_binary(arrow):
        return column
    elif kind.is_lob and (pa.types.is_binary(arrow) or pa.types.is_string(arrow)):
        return Framed(framed_longs(column, utf16=kind.is_national))
    elif kind == ROWID and pa.types.is_integer(arrow):
        return Framed(framed_rowids(column))
    raise unsupported(f"column {out.name}: {kind.name} came out as {arrow}")
