"""One step: staged batches → jobs → result files, recorded act by act, so that a killed run goes on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ora2sf.errors import LedgerError, NotFoundError, ParameterError, Paused, TargetError
from ora2sf.identify import ID, sendable
from ora2sf.ledger import SETTLED, Attempt, Batch, Ledger, Purpose, Result
from ora2sf.results import errors
from ora2sf.rounds import Rounds, next_round, tries
from ora2sf.salesforce import JobEnd, Journal, SalesforceBulkLoader, reasons

Todo = Literal["send", "follow", "collect", "settled", "skipped"]
#: What is still to be done.
OPEN: frozenset[Todo] = frozenset({"send", "follow", "collect"})


@dataclass(frozen=True)
class Plan:
    """What is to be done with one batch.

    Attributes:
        todo: ``send`` it as a new job, also when all of it was refused for a reason that somebody has to remove;
            ``follow`` the job that has it; ``collect`` the results of an ended job; ``settled``: its results are here;
            ``skipped``: it stands before ``start_batch``. A batch of a later round is never skipped.
    """

    batch: Batch
    todo: Todo
    attempt: Attempt | None = None

    @property
    def in_flight(self) -> bool:
        """Salesforce has the batch, or may have it, since an earlier run."""
        return self.todo == "follow" and self.attempt is not None and self.attempt.closed_by_us


def plan(ledger: Ledger, start_batch: int = 1, purpose: Purpose = "load") -> list[Plan]:
    """What is to be done with each batch, from the ledger alone.

    Raises:
        ParameterError: ``start_batch`` lies beyond the last batch.
    """
    staged, last = len(ledger.batches()), ledger.last_attempts()
    if staged and start_batch > staged:
        raise ParameterError(
            f"start_batch {start_batch} lies beyond the last batch: there are {staged}.",
            f"Use a start_batch from 1 to {staged}.",
        )
    return [_plan_one(batch, last.get(batch.number), start_batch) for batch in ledger.all_batches(purpose)]


def _plan_one(batch: Batch, attempt: Attempt | None, start_batch: int) -> Plan:
    if attempt is None or attempt.state == "given_up":
        return Plan(batch, "skipped" if batch.number < start_batch else "send", attempt)
    if attempt.state in SETTLED:
        return Plan(batch, "send" if attempt.refused else "settled", attempt)
    return Plan(batch, "collect" if attempt.state == "ended" else "follow", attempt)


def upload(
    plans: list[Plan],
    ledger: Ledger,
    loader: SalesforceBulkLoader,
    data: Path,
    settled: Callable[[Plan, JobEnd], None] = lambda _plan, _end: None,
    *,
    rounds: Rounds | None = None,
    may_begin: Callable[[Batch], None] = lambda _batch: None,
) -> list[JobEnd]:
    """Carries a plan out, then sends again what may pass, round by round.

    Args:
        settled: is told of each batch whose results are on disk.
        rounds: how rows are sent again; ``most=0`` only looks up rows of unknown outcome. None: nothing is sent again
            and nothing looked up.
        may_begin: is asked before a batch gets a job; it raises :class:`~ora2sf.errors.Paused` to stop for now.

    Raises:
        Paused: see ``may_begin``, or a day's allocation is used up; jobs in flight were followed to their end.
        TargetError: among others, a job was refused for a reason that every job would meet.
        Ora2sfError: the first failure; every begun job has been taken as far as it went, the rest is resumable.
    """
    if loader.external_id_field != ID:  # a roll-back deletes by Id, whatever the load did
        _same_operation(ledger, loader)

    def task(one: Plan) -> JobEnd:
        end = _carry_out(one, ledger, loader, data, may_begin)
        settled(one, end)
        _stop_if_hopeless(one.batch, ledger.last_attempt(one.batch.number))
        return end

    ends = _pass(plans, ledger, loader, task)
    while rounds and (batches := next_round(ledger, loader, data, rounds)):
        loader.pause(rounds.pause_before(tries(ledger, batches[0].round)))
        ends += _pass([Plan(batch, "send") for batch in batches], ledger, loader, task)
    return ends


def _same_operation(ledger: Ledger, loader: SalesforceBulkLoader) -> None:
    begun = ledger.settle("operation", loader.operation)
    if begun != loader.operation:
        raise LedgerError(
            f"This slice was begun with operation = {begun}, now it is {loader.operation}.",
            "Put the table file back as it was, or use a new run_id.",
        )


def _pass(
    plans: list[Plan], ledger: Ledger, loader: SalesforceBulkLoader, task: Callable[[Plan], JobEnd]
) -> list[JobEnd]:
    """Carries out what is open, the earliest round first, and never two batches together that share a parent.

    Each round has half as many jobs at once as the one before: fewer jobs get less in each other's way.
    """
    todo = sorted((one for one in plans if one.todo in OPEN), key=lambda one: one.batch.round)
    if not todo:
        return []
    return loader.run_parallel(
        [functools.partial(task, one) for one in todo],
        most=max(1, loader.max_concurrent_jobs >> tries(ledger, todo[0].batch.round)),
        apart=lambda one, other: todo[one].batch.shares_parent(todo[other].batch),
        flying=[place for place, one in enumerate(todo) if one.in_flight],
    )


def _stop_if_hopeless(batch: Batch, attempt: Attempt) -> None:
    """Raises when the jobs to come would fail like this one."""
    message = attempt.message or ""
    failure = reasons.of_job(message) if attempt.job_state == "Failed" else "passing"
    if failure == "quota":
        raise Paused(
            f"Job {attempt.job_id} of batch {batch.number} used the day's allocation up: {message}.",
            "It comes back within 24 hours: run 02_upload then with the same run_id; it goes on where it stopped.",
        )
    if attempt.refused or failure == "final":
        why = attempt.refused or message
        code = why.partition(":")[0].strip()
        advice = reasons.HOPELESS.get(code, "Correct in the org what the message names")
        raise TargetError(
            f"Salesforce refuses every row of batch {batch.number} (job {attempt.job_id}), and would refuse the next ones: {why}",
            f"{advice}. Then run 02_upload again with the same run_id: refused batches are sent again. "
            "If the table file has to change, use a new run_id.",
            error_code=code,
        )


def _carry_out(
    one: Plan,
    ledger: Ledger,
    loader: SalesforceBulkLoader,
    data: Path,
    may_begin: Callable[[Batch], None],
) -> JobEnd:
    attempt = one.attempt
    if one.todo == "send" or attempt is None:
        return _send(one.batch, ledger, loader, data, may_begin)
    note = LedgerJournal(ledger, one.batch.number, attempt.id)
    try:
        if one.todo == "collect":
            return loader.collect(_as_known(attempt), note)
        if _take_up(attempt, note, loader):
            return loader.follow(attempt.job_id or "", note)
    except (
        NotFoundError
    ):  # its rows may or may not be there: they are looked up before anything is sent again
        note.gone()
        return JobEnd(attempt.job_id or "", "gone", 0, 0, "Salesforce no longer knows the job")
    return _send(one.batch, ledger, loader, data, may_begin)


def _as_known(attempt: Attempt) -> JobEnd:
    return JobEnd(
        attempt.job_id or "",
        attempt.job_state or "",
        attempt.processed or 0,
        attempt.failed or 0,
        attempt.message or "",
    )


def _send(
    batch: Batch,
    ledger: Ledger,
    loader: SalesforceBulkLoader,
    data: Path,
    may_begin: Callable[[Batch], None],
) -> JobEnd:
    may_begin(batch)
    file = sendable(batch, loader, data)
    note = LedgerJournal(ledger, batch.number, sent=file.rows)
    return loader.load_file(file.path, note, size=file.size, sha256=file.sha256)


def _take_up(attempt: Attempt, note: LedgerJournal, loader: SalesforceBulkLoader) -> bool:
    """Matches an attempt that a killed run left with the server's state; True if the job has the batch.

    A job that may have been closed is never sent again as it is: its results decide, or a look into the org. A job that
    this run never closed has committed nothing; it is aborted while it is Open.

    Raises:
        NotFoundError: the job may have been closed, and Salesforce no longer knows it.
    """
    if attempt.job_id is None:
        note.given_up("the run ended before the job's id was known; an empty Open job commits nothing")
        return False
    try:
        state = loader.job(attempt.job_id)["state"]
    except NotFoundError:
        if attempt.closed_by_us:
            raise
        note.given_up("the job was never closed and is gone")
        return False
    if state == "Open" and attempt.state == "closed":
        loader.close_job(attempt.job_id)  # the data is in; whatever the answer was, it is to be closed
        return True
    if state == "Open":
        return not _abort(attempt, note, loader)
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


def _abort(attempt: Attempt, note: LedgerJournal, loader: SalesforceBulkLoader) -> bool:
    """Aborts a job that is Open; False if it may have worked in spite of it.

    A close that a killed run had sent can still arrive, and aborting undoes no row (Bulk API 2.0 guide: Close or Abort a
    Job). Then the job's results tell; only an upsert, which may be repeated, is content with the job's counters.
    """
    job = attempt.job_id or ""
    loader.abort_job(job)
    if attempt.state == "closing" and (
        loader.operation != "upsert" or loader.job(job).get("numberRecordsProcessed")
    ):
        note.closed()
        return False
    note.given_up("the run ended before the job was closed; aborted")
    return True


class LedgerJournal(Journal):
    """Writes what a loader does with one batch into the ledger.

    Args:
        attempt: the attempt to go on with; by default each ``intended`` begins a new one.
        sent: rows in the job; by default those of the batch.
    """

    def __init__(
        self, ledger: Ledger, batch: int, attempt: int | None = None, *, sent: int | None = None
    ) -> None:
        self._ledger, self._batch, self._sent = ledger, batch, sent
        self._attempt, self._closed = attempt or 0, attempt is not None

    def intended(self) -> None:  # noqa: D102 - see Journal
        self.repeats = self._ledger.may_have_been_sent(self._batch)
        self._attempt, self._closed = self._ledger.intend(self._batch), False
        self.name = f"C{self._batch}-{self._attempt}"

    def created(self, job_id: str) -> None:  # noqa: D102
        self._ledger.move(self._attempt, "created", job_id=job_id)

    def uploaded(self) -> None:
        """Recorded with ``closing``, which follows at once: until then the job is Open and commits nothing."""

    def closing(self) -> None:  # noqa: D102
        self._ledger.move(self._attempt, "uploaded", "closing")

    def closed(self) -> None:  # noqa: D102
        self._ledger.move(self._attempt, "closed")
        self._closed = True

    def ended(self, end: JobEnd) -> None:  # noqa: D102
        self._ledger.move(
            self._attempt,
            *(() if self._closed else ("closed",)),
            "ended",
            job_state=end.state,
            processed=end.processed,
            failed=end.failed,
            message=end.message or None,
        )

    def fetched(self, end: JobEnd) -> None:  # noqa: D102
        results = [
            Result(self._attempt, file.kind, file.path.name, file.count.rows, file.count.created, file.sha256)
            for file in end.files
        ]
        rows = self._ledger.batch(self._batch).rows if self._sent is None else self._sent
        self._ledger.fetched(self._attempt, results, _refusal(end, results, rows))

    def gone(self) -> None:
        """Salesforce no longer knows the job, which had or may have had the batch."""
        self._ledger.move(self._attempt, "gone")

    def given_up(self, reason: str) -> None:  # noqa: D102
        self._ledger.move(self._attempt, "given_up", message=reason)


def _refusal(end: JobEnd, results: list[Result], rows: int) -> str | None:
    """Why the job committed nothing, if that reason meets every job; each of its rows is known to be refused."""
    counts = {result.kind: result.rows for result in results}
    if (
        rows
        and counts["unprocessed"] == rows
        and end.state == "Failed"
        and reasons.of_job(end.message) == "final"
    ):
        return end.message
    if rows and counts["failed"] == rows and not counts["success"]:
        said = errors(next(file.path for file in end.files if file.kind == "failed"))
        if all(code in reasons.HOPELESS for code, _ in said):
            return said[0][1]
    return None
