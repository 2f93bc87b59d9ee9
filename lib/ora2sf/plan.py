"""A campaign's plan: which slices there are, what each needs of the org's limits, and when each can run.

Pure: what was counted comes in, a plan comes out, so that a campaign can be simulated without a row. The plan is a file
that is reviewed and frozen (:mod:`ora2sf.planfile`); docs/campaign.md describes it key by key.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from ora2sf.errors import PlanError
from ora2sf.fields import Strict
from ora2sf.tables import TableConfig
from ora2sf.windows import Consistency, Portion, Span, cut, together_all

#: Bulk API 2.0 works through a job in pieces of so many rows, and each counts (Bulk API 2.0 guide: How Requests Are Processed).
_PIECE_ROWS = 10_000
#: A record takes 2 KB of data storage, whatever it holds (Salesforce Help: Data and File Storage Allocations).
_RECORD_KB = 2
#: Create, send, close, three results, and about twenty looks at a job of two minutes: every request counts.
CALLS_OF_A_JOB = 26


def internal_batches(rows: int) -> int:
    """Of one job with so many rows."""
    return math.ceil(rows / _PIECE_ROWS)


def megabytes(rows: int) -> int:
    """Data storage of so many records."""
    return math.ceil(rows * _RECORD_KB / 1024)


#: Most bytes of a job's data (:data:`ora2sf.batches.MAX_BYTES` cuts exactly; here a whole number of rows is estimated).
_MOST_BYTES = 100_000_000
HOUR = 3600.0


class Rates(Strict):
    """How fast things go, in rows a second, and what is assumed where nothing was measured.

    Attributes:
        extract, load: of one slice; a load includes waiting for its jobs and fetching their results.
        overhead: seconds that a slice takes beside its rows: three notebooks start, sign in and check.
        calls_per_job: API calls of one job: create, send, close, three results, and looks at how far it is.
        measured_in: the run whose ledgers the rates come from, or empty: they are assumptions then.
    """

    extract: float = Field(default=50_000, gt=0)
    load: float = Field(default=800, gt=0)
    overhead: float = Field(default=60, ge=0)
    calls_per_job: int = Field(default=CALLS_OF_A_JOB, ge=6)
    measured_in: str = ""


class Allowance(Strict):
    """What the org allows in any 24 hours, what of it was used by others when the plan was made, and its storage.

    Attributes:
        batches, records, calls: in 24 hours; ``*_used``: by anybody, when the plan was made.
        storage_mb, storage_left_mb: data storage; None where the org does not say.
        reserve: percent of the three that is left to others.
    """

    batches: int = Field(default=15_000, ge=1)
    records: int = Field(default=150_000_000, ge=1)
    calls: int = Field(default=100_000, ge=1)
    batches_used: int = Field(default=0, ge=0)
    calls_used: int = Field(default=0, ge=0)
    storage_mb: int | None = None
    storage_left_mb: int | None = None
    reserve: int = Field(default=10, ge=0, le=90)

    def usable(self) -> Need:
        """What of each limit the campaign may use in 24 hours."""
        share = (100 - self.reserve) / 100
        return Need(
            batches=int(self.batches * share),
            records=int(self.records * share),
            calls=int(self.calls * share),
        )


class Need(Strict):
    """What is taken of the limits of 24 hours: internal batches and records of Bulk API, and API calls."""

    batches: int = 0
    records: int = 0
    calls: int = 0

    def __add__(self, other: Need) -> Need:
        return Need(
            batches=self.batches + other.batches,
            records=self.records + other.records,
            calls=self.calls + other.calls,
        )

    def fits(self, room: Need) -> bool:
        """Whether there is room for all of it."""
        return self.batches <= room.batches and self.records <= room.records and self.calls <= room.calls

    def lacking(self, room: Need) -> list[str]:
        """The limits that have no room for it."""
        return [name for name in Need.model_fields if getattr(self, name) > getattr(room, name)]


class Choices(Strict):
    """What the operator decides.

    Attributes:
        slice_rows: most rows of a slice, where a single day allows that.
        extracts_at_once, loads_at_once: slices that are read, and slices that are sent, side by side.
        staged_mb: most that lies staged and not yet sent; None for no bound.
    """

    slice_rows: int = Field(default=5_000_000, ge=1)
    extracts_at_once: int = Field(default=2, ge=1, le=64)
    loads_at_once: int = Field(default=4, ge=1, le=64)
    staged_mb: int | None = Field(default=None, ge=1)


class Moment(Strict):
    """The campaign's moment.

    Attributes:
        scn: what every slice reads ``AS OF``, or None; why_not: why there is none.
        taken: when (UTC); source_time: the source's own clock then, without a zone.
    """

    scn: int | None = None
    why_not: str = ""
    taken: dt.datetime
    source_time: dt.datetime


class Since(Strict):
    """What an incremental campaign goes on from.

    Attributes:
        run_id: the campaign before; source_time: its moment, in the source's clock.
        overlap: seconds before that which are read once more: a row is written with its time and committed later.
    """

    run_id: str
    source_time: dt.datetime
    overlap: int = Field(default=3_600, ge=0)

    @property
    def start(self) -> dt.datetime:
        """From when on changes are read."""
        return self.source_time - dt.timedelta(seconds=self.overlap)


class Slice(Strict):
    """One slice.

    Attributes:
        window: what of the table it reads, or None for the whole of it.
        rows: counted; bytes: of its plain CSV files, estimated from a sample of the table.
        jobs: Bulk API jobs, one a batch; need: of the limits of 24 hours; storage_mb: if every row is a new record.
    """

    table: str
    window: Span | None = None
    rows: int = Field(ge=0)
    bytes: int = Field(ge=0)
    jobs: int = Field(ge=0)
    need: Need
    storage_mb: int = Field(ge=0)

    @property
    def name(self) -> str:
        """Its folder in the run's folder."""
        return f"{self.table}/{self.window.name}" if self.window else self.table


class PlannedTable(Strict):
    """One table.

    Attributes:
        after: tables that it refers to or depends on; they are loaded before it. Earlier phases are, anyway.
        counted: its rows by COUNT; of them in windows, and NULL or unreadable: both are 0 for a table that is not cut.
        sample_rows, bytes_per_row: what the bytes were estimated from.
        one_after_the_other: rows of one parent may lie in several of its windows, so no two of them load at once.
        consistency: ``campaign``, or ``slice`` where the campaign's SCN cannot be used for it.
        incremental: only what changed is read.
        notes: what a reviewer should know, in sentences.
    """

    table: str
    object: str
    phase: int
    after: tuple[str, ...] = ()
    counted: int = Field(ge=0)
    in_windows: int = Field(default=0, ge=0)
    unreadable: int = Field(default=0, ge=0)
    sample_rows: int = Field(default=0, ge=0)
    bytes_per_row: float = Field(default=0, ge=0)
    one_after_the_other: bool = False
    consistency: Consistency = "slice"
    incremental: bool = False
    notes: tuple[str, ...] = ()
    slices: tuple[Slice, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _slices_are_the_table(self) -> Self:
        """Also after an edit no row may be read twice, or by none."""
        spans = [one.window for one in self.slices if one.window]
        if any(one.table != self.table for one in self.slices) or len(spans) not in {0, len(self.slices)}:
            raise ValueError(f"the slices of {self.table} are either itself or windows of it")
        if not spans and len(self.slices) > 1:
            raise ValueError(f"{self.table} is planned as a whole, and more than once")
        if spans and not together_all(spans):
            raise ValueError(
                f"the windows of {self.table} leave something out or overlap: each begins where the one before ends, the "
                "first and the last are open, and one that is not readable stands at the end; each has a name of its own"
            )
        if spans and self.in_windows + self.unreadable != self.counted:
            raise ValueError(f"in_windows and unreadable of {self.table} do not add up to counted")
        return self


class Entry(Strict):
    """When a slice is expected to run, in hours from the campaign's begin."""

    slice: str
    read: float
    staged: float
    sent: float
    done: float


class Plan(Strict):
    """A campaign.

    Attributes:
        made: when (UTC); calendar: in the order in which slices are sent, from :func:`ora2sf.campaign.forecast`.
    """

    version: Literal[1] = 1
    run_id: str
    made: dt.datetime
    moment: Moment
    since: Since | None = None
    allowance: Allowance
    rates: Rates
    choices: Choices
    tables: tuple[PlannedTable, ...]
    calendar: tuple[Entry, ...] = ()

    def slices(self) -> list[Slice]:
        """All slices, in order of phase."""
        return [one for table in self.tables for one in table.slices]

    def table(self, name: str) -> PlannedTable | None:
        """A planned table, if it is planned."""
        return next((one for one in self.tables if one.table == name), None)

    def need(self) -> Need:
        """What the whole campaign takes."""
        return sum((one.need for one in self.slices()), Need())

    def portion(self, table: str, window: str | None) -> Portion:
        """What a slice reads.

        Raises:
            PlanError: the plan has no such slice.
        """
        planned = self.table(table)
        if planned is None:
            raise PlanError(
                f"The plan of run {self.run_id} leaves table {table} out.",
                "Plan it, or read it under a run_id of its own.",
            )
        names = [one.window.name for one in planned.slices if one.window]
        if window not in names and (names or window is not None):
            given = f"window {window!r}" if window else "no window"
            raise PlanError(
                f"Table {table} of run {self.run_id} is planned {_as_windows(names)}, and {given} was given.",
                f"Give one of them as window: {_some(names)}." if names else "Leave window out.",
            )
        span = next((one.window for one in planned.slices if one.window and one.window.name == window), None)
        scn = self.moment.scn if planned.consistency == "campaign" else None
        return Portion(span, scn, self.since.start if self.since and planned.incremental else None)


def _as_windows(names: Sequence[str]) -> str:
    return f"in {len(names)} windows" if names else "as a whole"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) < 8 else f"{', '.join(names[:3])}, …, {names[-2]}, {names[-1]}"


# making it


class Sampled(Strict):
    """What a sample of a table's rows came to as CSV."""

    rows: int = 0
    bytes: int = 0

    @property
    def per_row(self) -> float:
        """Bytes of a row."""
        return round(self.bytes / self.rows, 1) if self.rows else 0.0


def windows_of(config: TableConfig, spread: Mapping[str | None, int], choices: Choices) -> list[Span]:
    """The windows of a table that is larger than a slice may be; empty for one that stays whole."""
    if config.window is None or sum(spread.values()) <= choices.slice_rows:
        return []
    return cut(spread, choices.slice_rows)


def planned(
    config: TableConfig,
    counted: int,
    windows: Sequence[tuple[Span, int]],
    sample: Sampled,
    choices: Choices,
    rates: Rates,
    *,
    consistency: Consistency,
    incremental: bool = False,
    notes: Sequence[str] = (),
) -> PlannedTable:
    """A table with its slices.

    Args:
        counted: COUNT of what is read of the table.
        windows: each with its own COUNT, of the same moment.

    Raises:
        PlanError: the windows' counts do not add up to the table's.
    """
    inside = sum(rows for span, rows in windows if span.readable)
    unreadable = sum(rows for span, rows in windows if not span.readable)
    if windows and inside + unreadable != counted:
        raise PlanError(
            f"The windows of {config.table} do not add up: {inside:,} rows in windows and {unreadable:,} that are NULL or "
            f"unreadable are not the {counted:,} rows of the table.",
            "Nothing can be planned on such counts: check the window's column and type in the table file.",
        )
    pieces: Sequence[tuple[Span | None, int]] = windows or [(None, counted)]
    slices = tuple(slice_of(config, span, rows, sample.per_row, rates) for span, rows in pieces)
    return PlannedTable(
        table=config.table,
        object=config.object,
        phase=config.phase,
        after=config.depends_on,
        counted=counted,
        in_windows=inside,
        unreadable=unreadable,
        sample_rows=sample.rows,
        bytes_per_row=sample.per_row,
        one_after_the_other=bool(windows) and may_share_parents(config),
        consistency=consistency,
        incremental=incremental,
        notes=(*notes, *_remarks(config, windows, counted, choices)),
        slices=slices,
    )


def may_share_parents(config: TableConfig) -> bool:
    """Whether rows of one parent may lie in two windows: not if the window's column is part of the parent's key."""
    parent = config.parent_field
    return parent is not None and (config.window is None or config.window.column not in parent.columns)


def _remarks(
    config: TableConfig, windows: Sequence[tuple[Span, int]], counted: int, choices: Choices
) -> list[str]:
    found = []
    if not windows and counted > choices.slice_rows:
        found.append(
            f"{counted:,} rows in one slice: the table file names no window by which it could be cut."
            if config.window is None
            else f"{counted:,} rows in one slice."
        )
    for span, rows in windows:
        if rows > choices.slice_rows:
            why = (
                "they are of one day or range" if span.readable else "they cannot be told apart by the window"
            )
            found.append(f"Window {span.name} has {rows:,} rows, more than {choices.slice_rows:,}: {why}.")
    return found


def slice_of(config: TableConfig, span: Span | None, rows: int, bytes_per_row: float, rates: Rates) -> Slice:
    """What a slice of so many rows takes."""
    in_a_job = config.batch_size
    if bytes_per_row * in_a_job > _MOST_BYTES:
        in_a_job = max(1, int(_MOST_BYTES / bytes_per_row))
    jobs = math.ceil(rows / in_a_job)
    full, rest = divmod(rows, in_a_job)
    batches = full * internal_batches(in_a_job) + internal_batches(rest)
    return Slice(
        table=config.table,
        window=span,
        rows=rows,
        bytes=math.ceil(rows * bytes_per_row),
        jobs=jobs,
        need=Need(batches=batches, records=rows, calls=jobs * rates.calls_per_job),
        storage_mb=megabytes(rows),
    )


def problems(plan: Plan) -> list[str]:
    """What speaks against a plan, in sentences; the calendar says whether it can be carried out at all."""
    found = []
    usable, allowance = plan.allowance.usable(), plan.allowance
    for one in plan.slices():
        for name in one.need.lacking(usable):
            found.append(
                f"{one.name} needs {getattr(one.need, name):,} {name} of the org, more than the {getattr(usable, name):,} of a day: "
                "lower slice_rows (or the reserve)."
            )
    storage = sum(one.storage_mb for one in plan.slices())
    if allowance.storage_left_mb is not None and storage > allowance.storage_left_mb:
        found.append(
            f"The rows take about {storage:,} MB of data storage if every one is a new record; {allowance.storage_left_mb:,} MB are left."
        )
    return found
