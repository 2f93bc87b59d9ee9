"""One step: Oracle → staged batches and rejected rows, in flat memory.

An extraction counts only once it is whole: an unfinished one is begun again, which is cheap beside an upload.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import polars as pl
import pyarrow as pa

from ora2sf.batches import BatchWriter, Lines, RejectedFile, without_rows
from ora2sf.convert import Converted, Converter, Rejected
from ora2sf.errors import ConversionError, RunFolderError
from ora2sf.fields import DecimalField
from ora2sf.kept import SourceFile
from ora2sf.keys import KeyFile, ReferenceFile
from ora2sf.ledger import Batch, Ledger
from ora2sf.profile import Look, Profiler
from ora2sf.tables import TableConfig
from ora2sf.windows import Portion

if TYPE_CHECKING:
    from ora2sf.oracle import OracleSource, SourceColumn

_MAKERS = 2  # threads that convert
_AHEAD = 2  # batches that are held beside the one that the driver decodes
_Made = TypeVar("_Made")
_WHOLE = Portion()
_SAMPLE = 3
_ENOUGH_TO_JUDGE = 100_000  # rows after which a share of rejected rows says something
_DUPLICATE = {
    "first": "duplicate key: an earlier row counts",
    "last": "duplicate key: a later row counts",
    "reject_all": "duplicate key: none of its rows counts",
}


@dataclass
class Sample:
    """The first staged rows as Oracle gave them and as they are staged; same rows, same order."""

    before: pl.DataFrame = field(default_factory=pl.DataFrame)
    after: pl.DataFrame = field(default_factory=pl.DataFrame)

    def take(self, source: pl.DataFrame, staged: pl.DataFrame) -> None:
        """Keeps three staged rows of the first batch."""
        self.after = staged.head(_SAMPLE)
        self.before = source[(self.after[Converter.row_column] - 1).to_list()]


def arrow_schema(config: TableConfig, columns: dict[str, SourceColumn]) -> pa.Schema:
    """The Arrow types to ask the driver for, in the order of ``config.columns``."""
    scales = {spec.column: spec.source_scale for spec in config.fields if isinstance(spec, DecimalField)}
    default = DecimalField.model_fields["source_scale"].default
    return pa.schema(
        [pa.field(name, columns[name].arrow_type(scales.get(name, default))) for name in config.columns]
    )


def converter(config: TableConfig, columns: dict[str, SourceColumn]) -> Converter:
    """The conversion for these columns."""
    none = pa.Table.from_batches([], schema=arrow_schema(config, columns))
    schema = pl.DataFrame(none).schema
    return Converter(config, dict(schema), frozenset(name for name, c in columns.items() if c.padded))


def extract(
    config: TableConfig,
    source: OracleSource,
    columns: dict[str, SourceColumn],
    ledger: Ledger,
    data: Path,
    rejected_path: Path,
    *,
    batch_size: int,
    portion: Portion = _WHOLE,
    case_sensitive: bool = False,
    exact: frozenset[str] = frozenset(),
    profiler: Profiler | None = None,
    keep_source: bool = True,
    counted: Callable[[int], object] = lambda _: None,
    read: Callable[[int], object] = lambda _: None,
) -> Sample:
    """Reads the source once, in one consistent view, and stages it.

    Args:
        data: folder of the staged batches; what an unfinished extraction left there is removed.
        rejected_path: where the rejected rows go.
        portion: what of the table is read, and as of when.
        case_sensitive: whether Salesforce tells keys apart by case alone (``caseSensitive`` of the describe).
        exact: the lookup fields whose parents' keys Salesforce tells apart by case alone.
        profiler: told of every staged row.
        keep_source: whether the source columns are kept, for rules that are changed later.
        counted: told the source's COUNT; read: told each number of rows read.

    Raises:
        SourceError, SourceUnavailable: reading failed; nothing is taken for whole.
        PastError: the portion's moment cannot be read (any more).
    """
    extraction = ledger.start_extraction(config.fingerprint)
    for left in data.glob(f"{config.table}_*"):
        left.unlink()
    convert = converter(config, columns)
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own pool keeps what it was given
    if portion.scn is None:
        source.freeze()
    whole = source.count(*portion.count(config))
    total = whole if portion.most is None else min(whole, portion.most)
    ledger.record("whole_count", whole)
    counted(total)
    schema = arrow_schema(config, columns)
    padded = frozenset(name for name, column in columns.items() if column.padded) & set(schema.names)
    stage = _Stage(
        config, data, rejected_path, batch_size, case_sensitive=case_sensitive, exact=exact, profiler=profiler,
        kept=SourceFile(data, config.table, schema, padded) if keep_source else None,
    )  # fmt: skip
    sql, binds = portion.select(config)
    with ThreadPoolExecutor(1, thread_name_prefix="stage") as stager, stage.abandoned_on_failure():
        tables = source.batches(sql, schema, binds=binds)
        sample = _stage_all(convert, stage, stager, tables, read)
        batches = stage.finish()
    ledger.finish_extraction(
        extraction,
        batches,
        {"rejected": dict(stage.reasons), "changed": dict(stage.changed), "misfit": dict(stage.misfits)},
        source_count=total,
        rows_read=stage.rows_read,
        rows_staged=sum(batch.rows for batch in batches),
        rows_rejected=stage.rejected.rows,
        consistency=portion.consistency,
    )
    return sample


def _stage_all(
    convert: Converter,
    stage: _Stage,
    stager: ThreadPoolExecutor,
    tables: Iterator[pa.Table],
    read: Callable[[int], object],
) -> Sample:
    """Converts and stages everything, and keeps the first rows to show them."""
    sample = Sample()

    def made(table: pa.Table, first_row: int) -> tuple[Converted, _Ahead]:
        done = convert.convert(pl.DataFrame(table), first_row)
        return done, stage.ahead(done.staged)

    def staged(table: pa.Table, work: tuple[Converted, _Ahead]) -> None:
        done, ahead = work
        if not stage.rows_read:
            sample.take(pl.DataFrame(table), done.staged)
        stage.add(done, ahead)
        stage.keep(table)

    in_order(tables, made, staged, stager, read)
    return sample


def in_order(
    tables: Iterator[pa.Table],
    make: Callable[[pa.Table, int], _Made],
    take: Callable[[pa.Table, _Made], object],
    taker: ThreadPoolExecutor,
    read: Callable[[int], object] = lambda _: None,
) -> None:
    """Works on some batches side by side while the driver decodes the next one; only these are held.

    Args:
        make: gets a batch and the number of its first row; runs in several threads.
        take: gets each batch and what was made of it, in their order; runs in the one thread of ``taker``.
        read: told each number of rows read.
    """
    first_row = 1

    def taken(table: pa.Table, work: Future[_Made]) -> None:
        take(table, work.result())

    with ThreadPoolExecutor(_MAKERS, thread_name_prefix="convert") as makers:
        pending: deque[Future[None]] = deque()
        try:
            for table in tables:
                pending.append(taker.submit(taken, table, makers.submit(make, table, first_row)))
                first_row += table.num_rows
                read(table.num_rows)
                if len(pending) > _AHEAD:
                    pending.popleft().result()
        finally:
            wait(pending)  # also after a failure: nothing is staged into files that are let go of
        for one in pending:
            one.result()


class _Ahead(NamedTuple):
    """What can be made of converted rows before their turn to be staged comes."""

    look: Look
    lines: list[Lines]


class _Stage:
    """Where converted rows go: batches, rejected rows, their profile, their references and keys."""

    def __init__(
        self,
        config: TableConfig,
        data: Path,
        rejected_path: Path,
        batch_size: int,
        *,
        case_sensitive: bool = False,
        exact: frozenset[str] = frozenset(),
        profiler: Profiler | None = None,
        kept: SourceFile | None = None,
    ) -> None:
        self._kept = kept
        self._config, self._data, self._batch_size = config, data, batch_size
        self._writer = self._new_writer(f"{config.table}")
        self._keys = KeyFile(config, data, case_sensitive=case_sensitive)
        self._references = ReferenceFile(config, data, exact)
        self.profiler = profiler or Profiler(config)
        self.rejected = RejectedFile(rejected_path)
        self.reasons: Counter[tuple[str, str]] = Counter()
        self.changed: Counter[tuple[str, str]] = Counter()
        self.misfits: Counter[tuple[str, str]] = Counter()
        self.rows_read = 0

    def _new_writer(self, stem: str) -> BatchWriter:
        config = self._config
        parent = config.parent_field.header if config.parent_field else None
        return BatchWriter(
            self._data, stem, config.header, config.external_id_field, self._batch_size, parent=parent
        )

    def ahead(self, rows: pl.DataFrame) -> _Ahead:
        """What staging these rows takes most of its time for; threads may do it for several batches side by side."""
        return _Ahead(self.profiler.look(rows), self._writer.lines(rows))

    def add(self, done: Converted, ahead: _Ahead | None = None) -> None:
        """Takes one converted batch, in reading order, and what was made ahead of it."""
        self.rows_read += done.staged.height + len(done.rejected)
        self._reject(done.rejected)
        self.changed.update(done.changed)
        self._check_limits()
        self._stage(done.staged, ahead)
        self._keys.add(done.staged, done.rejected)

    def keep(self, source: pa.Table) -> None:
        """Takes the source columns of a batch, in reading order."""
        if self._kept:
            self._kept.add(source)

    def _stage(self, rows: pl.DataFrame, ahead: _Ahead | None = None) -> None:
        look, lines = ahead or self.ahead(rows)
        self._writer.add(rows, lines)
        self._references.add(rows)
        self.profiler.add(look)

    def _check_limits(self, *, ended: bool = False) -> None:
        """Stops the extraction when more rows are rejected than the table file allows."""
        rejected, limit, share = (
            self.rejected.rows,
            self._config.max_rejected,
            self._config.max_rejected_share,
        )
        judged = ended or self.rows_read >= _ENOUGH_TO_JUDGE
        allowed = None if limit is None else f"max_rejected = {limit:,}"
        if limit is not None and rejected <= limit:
            allowed = None
        if allowed is None and share is not None and judged and rejected > share * self.rows_read:
            allowed = f"max_rejected_share = {share:g}"
        if allowed:
            (name, rule), most = self.reasons.most_common(1)[0]
            self.rejected.finish()
            raise ConversionError(
                f"{rejected:,} of {self.rows_read:,} rows are rejected, more than {allowed} allows; "
                f"most often {name}: {rule} ({most:,} rows).",
                f"Read them in {self.rejected.path}, correct the source or the table file, or raise the limit there.",
            )

    def finish(self) -> list[Batch]:
        """Closes everything, after the rows that lose against another row with their key are taken out."""
        batches = self._writer.finish()
        losers = self._keys.losers()
        first = next(losers, None)
        if first is not None:
            batches = self._recut(batches, itertools.chain([first], losers))
        self._check_limits(ended=True)
        self._keys.finish(lost=first is not None)
        self._references.finish()
        self.rejected.finish()
        if self._kept:
            self._kept.finish()
        return batches

    @contextmanager
    def abandoned_on_failure(self) -> Iterator[None]:
        """Lets go of every file after a failure; nothing of it counts."""
        try:
            yield
        except OSError as error:
            self._abandon()
            raise RunFolderError(
                f"Staging to {self._data} failed: {error.strerror or error}.",
                "Free some disk space, then run again.",
            ) from None
        except BaseException:
            self._abandon()
            raise

    def _abandon(self) -> None:
        self._writer.abandon()
        self._keys.abandon()
        self._references.abandon()
        self.rejected.abandon()
        if self._kept:
            self._kept.abandon()

    def _recut(self, batches: list[Batch], losers: Iterator[tuple[int, int]]) -> list[Batch]:
        """Writes the batches again without the losers, so that they are full again."""
        old = [_renamed(self._data, batch) for batch in batches]
        self._writer = self._new_writer(self._config.table)
        self._references.begin_again()
        self.profiler.begin_again()
        key, rule = self._config.external_id_field, _DUPLICATE[self._config.duplicates]
        rows, positions = itertools.tee(losers)  # one runs ahead of the other by one batch at most
        for dropped in without_rows(self._data, old, (position for _, position in positions), self._stage):
            numbered = zip(dropped[key], rows, strict=False)
            self._reject([Rejected(row, name, key, rule, name) for name, (row, _) in numbered])
        return self._writer.finish()

    def _reject(self, rejected: list[Rejected]) -> None:
        self.rejected.add(rejected)
        self.reasons.update((one.field, one.rule) for one in rejected)
        self.misfits.update(fault for one in rejected for fault in one.faults())


def _renamed(data: Path, batch: Batch) -> Batch:
    """Moves a batch out of the way of its successor."""
    name = f"{batch.file}.uncut.gz"
    (data / batch.file).replace(data / name)
    return Batch(batch.number, name, batch.rows, batch.bytes, batch.sha256, batch.first_key, batch.last_key)
