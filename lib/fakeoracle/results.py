"""Rows on their way to a client, encoded for the wire."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from .errors import unsupported
from .ttc import ROW, Described
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
)

_BATCH, _LOB_BATCH = 20_000, 64
Guard = Callable[[], contextlib.AbstractContextManager[object]]


class ResultSet:
    """The rows of a query, taken from the front.

    `batches` gives them as `binary` arrays, one encoded row a value, as they are asked for; `release` is called once,
    when no more rows are wanted.
    """

    def __init__(
        self,
        columns: list[Described],
        batches: Iterable[pa.Array[Any]],
        release: Callable[[], None] = lambda: None,
    ) -> None:
        self.columns = columns
        self._batches = iter(batches)
        self._release: Callable[[], None] | None = release
        self._rows: pa.Array[Any] = pa.array([], pa.binary())
        self._at = 0

    def take(self, count: int) -> tuple[bytes, int]:
        """Return up to `count` encoded rows and how many they are; fewer than asked for means there are no more."""
        parts, taken = [], 0
        while taken < count:
            if self._at >= len(self._rows) and not self._load():
                break
            piece = self._rows.slice(self._at, count - taken)
            parts.append(_flat_bytes(piece))
            self._at += len(piece)
            taken += len(piece)
        return b"".join(parts), taken

    def _load(self) -> bool:
        for rows in self._batches:
            if len(rows):
                self._rows, self._at = rows, 0
                return True
        return False

    def keep(self) -> None:
        """Take the rest into memory, because the connection it comes from is needed for another query."""
        self._batches = iter(list(self._batches))

    def close(self) -> None:
        """Give up the rest."""
        self._rows, self._at = pa.array([], pa.binary()), 0
        self._batches = iter(())
        if self._release:
            self._release()
            self._release = None


def batch_rows(columns: list[Described]) -> int:
    """Return how many rows DuckDB hands over, and are encoded, at a time: few where values may be huge."""
    return _LOB_BATCH if any(column.type and column.type.is_lob for column in columns) else _BATCH


def encoded_batches(
    reader: pa.RecordBatchReader, columns: list[Described], guard: Guard
) -> Iterator[pa.Array[Any]]:
    """Return the rows of a DuckDB result, encoded; `guard` is entered while DuckDB works."""
    while True:
        try:
            with guard():
                batch = reader.read_next_batch()
        except StopIteration:
            return
        values = [_encoded(c, out) for c, out in zip(batch.columns, columns, strict=True) if out.type]
        yield rows_from_columns(values, batch.num_rows, ROW)


def _flat_bytes(rows: pa.Array[Any]) -> bytes:
    if not len(rows):
        return b""
    offsets = np.frombuffer(raw_buffer(rows, 1), dtype=np.int32)
    start, end = int(offsets[rows.offset]), int(offsets[rows.offset + len(rows)])
    return bytes(raw_buffer(rows, 2)[start:end])


def _encoded(column: pa.Array[Any], out: Described) -> pa.Array[Any] | Framed:
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
