"""The source columns of every row read, kept at extraction so that a changed rule can convert rows again without Oracle.

``<table>_source.parquet`` has the columns that the table file names, as the driver delivered them, in reading order: the row
with number 1 comes first. Only its owner may read it. A row group is one batch of the driver, so a few rows cost a few groups.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ora2sf.errors import RunFolderError

_PADDED = b"ora2sf.padded"


class SourceFile:
    """Writes ``<table>_source.parquet``; it gets its name when it is whole.

    Args:
        padded: the columns that Oracle pads with blanks.
    """

    def __init__(self, data: Path, table: str, schema: pa.Schema, padded: frozenset[str]) -> None:
        self._path = source_file(data, table)
        self._part = self._path.with_name(self._path.name + ".part")
        self._part.touch(mode=0o600)
        self._schema = schema.with_metadata({_PADDED: json.dumps(sorted(padded)).encode()})
        # without dictionaries and statistics: half the time, and smaller
        self._writer = pq.ParquetWriter(
            self._part,
            self._schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=False,
            write_statistics=False,
        )

    def add(self, rows: pa.Table) -> None:
        """Takes a batch, in reading order."""
        if rows.num_rows:
            self._writer.write_table(rows.cast(self._schema), row_group_size=rows.num_rows)

    def finish(self) -> None:
        """Gives the file its name."""
        self._writer.close()
        self._part.replace(self._path)

    def abandon(self) -> None:
        """Lets go of the file; it never gets its name."""
        self._writer.close()
        self._part.unlink(missing_ok=True)


def source_file(data: Path, table: str) -> Path:
    """Where a slice keeps its source columns."""
    return data / f"{table}_source.parquet"


class SourceRows:
    """The kept source columns of a slice.

    Attributes:
        schema: column → polars type; padded: the columns that Oracle pads with blanks.

    Raises:
        RunFolderError: they were not kept, or the file is gone or damaged.
    """

    def __init__(self, data: Path, table: str) -> None:
        path = source_file(data, table)
        try:
            self._file = pq.ParquetFile(path)
        except FileNotFoundError:
            raise RunFolderError(
                f"The source columns of this run were not kept: there is no {path.name}.",
                'Edit the rows as CSV (fix = "csv"), or use a new run_id; keep_source = "yes" in 01_extract keeps them.',
            ) from None
        except (OSError, pa.ArrowException) as error:
            raise RunFolderError(f"{path} cannot be read: {error}.", "Restore it from a backup.") from None
        empty = pl.DataFrame(pa.Table.from_batches([], schema=self._file.schema_arrow))
        self.schema: dict[str, pl.DataType] = dict(empty.schema)
        named = self._file.schema_arrow.metadata or {}
        self.padded = frozenset(json.loads(named.get(_PADDED, b"[]")))

    def take(self, rows: Sequence[int] | pl.Series) -> Iterator[tuple[pl.Series, pl.DataFrame]]:
        """The rows with these numbers (ascending, from 1), row group by row group: their numbers and their columns."""
        wanted = pl.Series("row", rows, dtype=pl.Int64)
        first, meta = 1, self._file.metadata
        for group in range(meta.num_row_groups):
            after = first + meta.row_group(group).num_rows
            here = wanted.filter((wanted >= first) & (wanted < after))
            if here.len():
                yield here, pl.DataFrame(self._file.read_row_group(group))[(here - first).to_list()]
            first = after
