"""One step: staged batches → jobs → result files, recorded act by act, so that a killed run goes on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ora2sf.batches import count_results
from ora2sf.errors import LedgerError, NotFoundError, ParameterError
from ora2sf.ledger import Attempt, Batch, Ledger, Result
from ora2sf.salesforce import JobEnd, Journal, SalesforceBulkLoader

Todo = Literal["send", "follow", "collect", "settled", "skipped"]


@dataclass(frozen=True)
class Plan:
    """What is to be done with one batch.

    Attributes:
        todo: ``send`` it as a new job; ``follow`` the job that has it; ``collect`` the results of an ended
            job; ``settled``: its results are here; ``skipped``: it stands before ``start_batch``.
    """

    batch: Batch
    todo: Todo
    attempt: Attempt | None = None


def plan(ledger: Ledger, start_batch: int = 1) -> list[Plan]:
    """What is to be done with each batch, from the ledger alone.

    Raises:
        ParameterError: ``start_batch`` lies beyond the last batch.
    """
    batches, last = ledger.batches(), ledger.last_attempts()
    if batches and start_batch > len(batches):
        raise ParameterError(
            f"start_batch {start_batch} lies beyond the last batch: there are {len(batches)}.",
            f"Use a start_batch from 1 to {len(batches)}.",
        )
    return [_plan_one(batch, last.get(batch.number), start_batch) for batch in batches]


def _plan_one(batch: Batch, attempt: Attempt | None, start_batch: int) -> Plan:
    if attempt is None or attempt.state == "given_up":
        return Plan(batch, "skipped" if batch.number < start_batch else "send", attempt)
    if attempt.state == "fetched":
        return Plan(batch, "settled", attempt)
    return Plan(batch, "collect" if attempt.state == "ended" else "follow", attempt)


def upload(
    plans: list[Plan],
    ledger: Ledger,
    loader: SalesforceBulkLoader,
    data: Path,
    settled: Callable[[Plan, JobEnd], None] = lambda _plan, _end: None,
    may_begin: Callable[[Batch], None] = lambda _batch: None,
) -> list[JobEnd]:
    """Carries a plan out; ``settled`` is told of each batch whose results are on disk.

    Raises:
        Ora2sfError: the first failure; every begun job has been taken as far as it went, the rest is resumable.
    """

    def task(one: Plan) -> JobEnd:
        end = _carry_out(one, ledger, loader, data, may_begin)
        settled(one, end)
        return end

    open_ones = [one for one in plans if one.todo in {"send", "follow", "collect"}]
    return loader.run_parallel([functools.partial(task, one) for one in open_ones])


def _carry_out(
    one: Plan, ledger: Ledger, loader: SalesforceBulkLoader, data: Path, may_begin: Callable[[Batch], None]
) -> JobEnd:
    if one.todo == "send" or one.attempt is None:
        may_begin(one.batch)
        return _send(one.batch, ledger, loader, data)
    attempt = one.attempt
    note = LedgerJournal(ledger, one.batch.number, attempt.id)
    if one.todo == "collect":
        end = JobEnd(
            attempt.job_id or "",
            attempt.job_state or "",
            attempt.processed or 0,
            attempt.failed or 0,
            attempt.message or "",
        )
        with _not_forgotten(attempt):
            return loader.collect(end, note)
    if _take_up(attempt, note, loader):
        with _not_forgotten(attempt):
            return loader.follow(attempt.job_id or "", note)
    may_begin(one.batch)
    return _send(one.batch, ledger, loader, data)


def _send(batch: Batch, ledger: Ledger, loader: SalesforceBulkLoader, data: Path) -> JobEnd:
    note = LedgerJournal(ledger, batch.number)
    return loader.load_file(data / batch.file, note, size=batch.bytes, sha256=batch.sha256)


def _take_up(attempt: Attempt, note: Journal, loader: SalesforceBulkLoader) -> bool:
    """Matches an attempt that a killed run left with the server's state; True if the job has the batch.

    A job that may have been closed is never sent again: if it is gone, its rows are unknown, and that is an
    error for a person. A job that is still Open has committed nothing and is aborted.
    """
    if attempt.job_id is None:
        note.given_up("the run ended before the job's id was known; an empty Open job commits nothing")
        return False
    try:
        state = loader.job(attempt.job_id)["state"]
    except NotFoundError:
        if attempt.state in {"created", "uploaded"}:
            note.given_up("the job was never closed and is gone")
            return False
        raise _forgotten(attempt) from None
    if state == "Open" and attempt.state == "closed":
        loader.close_job(attempt.job_id)  # the data is in; whatever the answer was, it is to be closed
        return True
    if state == "Open":
        loader.abort_job(attempt.job_id)
        note.given_up("the run ended before the job was closed; aborted")
        return False
    if attempt.state == "closing":
        note.closed()
    elif attempt.state != "closed":
        if state == "Aborted":
            note.given_up("the job was aborted before it was closed")
            return False
        raise LedgerError(
            f"Job {attempt.job_id} of batch {attempt.batch} is {state}, but this run never closed it.",
            "Somebody else closed it: look at the job in Setup › Bulk Data Load Jobs, then use a new run_id.",
        )
    return True


@contextmanager
def _not_forgotten(attempt: Attempt) -> Iterator[None]:
    try:
        yield
    except NotFoundError:
        raise _forgotten(attempt) from None


def _forgotten(attempt: Attempt) -> LedgerError:
    """Salesforce keeps jobs and their results for seven days (Bulk API 2.0 guide: limits)."""
    return LedgerError(
        f"Job {attempt.job_id} of batch {attempt.batch} was closed and Salesforce no longer knows it: "
        "its rows may or may not be there.",
        "Look up the batch's keys in Salesforce; then load it again with a new run_id (an upsert is safe to repeat).",
    )


class LedgerJournal(Journal):
    """Writes what a loader does with one batch into the ledger.

    Args:
        attempt: the attempt to go on with; by default each ``intended`` begins a new one.
    """

    def __init__(self, ledger: Ledger, batch: int, attempt: int | None = None) -> None:
        self._ledger, self._batch = ledger, batch
        self._attempt = attempt or 0

    def intended(self) -> None:  # noqa: D102 - see Journal
        times, last = self._ledger.times(), self._ledger.attempts()
        self.repeats = any(one.batch == self._batch and "closing" in times[one.id] for one in last)
        self._attempt = self._ledger.intend(self._batch)
        self.name = f"C{self._batch}-{self._attempt}"

    def created(self, job_id: str) -> None:  # noqa: D102
        self._ledger.move(self._attempt, "created", job_id=job_id)

    def uploaded(self) -> None:  # noqa: D102
        self._ledger.move(self._attempt, "uploaded")

    def closing(self) -> None:  # noqa: D102
        self._ledger.move(self._attempt, "closing")

    def closed(self) -> None:  # noqa: D102
        self._ledger.move(self._attempt, "closed")

    def ended(self, end: JobEnd) -> None:  # noqa: D102
        self._ledger.move(
            self._attempt,
            "ended",
            job_state=end.state,
            processed=end.processed,
            failed=end.failed,
            message=end.message or None,
        )

    def fetched(self, end: JobEnd) -> None:  # noqa: D102
        results = []
        for file in end.files:
            count = count_results(file.path)
            results.append(
                Result(self._attempt, file.kind, file.path.name, count.rows, count.created, file.sha256)
            )
        self._ledger.fetched(self._attempt, results)

    def given_up(self, reason: str) -> None:  # noqa: D102
        self._ledger.move(self._attempt, "given_up", message=reason)
