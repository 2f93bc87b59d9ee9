"""``DryRun``: the noun of the three notebooks in a dry run: everything but what writes to Salesforce."""

from __future__ import annotations

from ora2sf import upload as upload_step
from ora2sf.budget import of_calls, of_job
from ora2sf.errors import LedgerError
from ora2sf.report import Shown
from ora2sf.run import Run
from ora2sf.salesforce.status import Status

_STATE = "dry run"


class DryRun(Run):
    """One slice that is read, staged and checked, and of which is said what would be sent.

    The same run_id without ``dry_run`` goes on from there: what is staged is not read again.
    """

    def _settle(self) -> None:
        super()._settle()
        if self.ledger.attempts():
            raise LedgerError(
                f"Run {self.parameters.run_id}, table {self.parameters.table} has begun to send: there is no dry run of that.",
                "Leave dry_run out to go on, or use a new run_id.",
            )
        if self.step == "01_extract":
            self.ledger.record("dry_run", "yes")  # until 01 is run for good, which makes the status record

    def _upsert_status(self, status: Status, errors: str | None) -> None:
        self._log("status_record_spared", record=self.external_ref, status=status)

    def _update_status(self, status: Status, errors: str | None = "") -> None:
        self._log("status_record_spared", record=self.external_ref, status=status)

    def announce(self) -> Shown:
        """Says that no status record is written."""
        return Shown("Dry run: no status record is written.")

    def upload(self) -> Shown:
        """What would be sent, after all checks that come before the first job; no job is made.

        Raises:
            PreflightError: nothing could be loaded, or a limit of the org leaves no room.
        """
        with self._guarded(), self._alone():
            plans = upload_step.plan(self.ledger, self.parameters.start_batch)
            todo = [one.batch for one in plans if one.todo == "send"]
            self._refuse_what_cannot_work()
            cost = of_calls if self._way == "collections" else of_job
            costs = [cost(batch) for batch in todo]
            numbers = {
                "rows": sum(batch.rows for batch in todo),
                "jobs": len(todo) if self._way == "jobs" else 0,
                "internal_batches": sum(one.batches for one in costs),
                "calls": sum(one.calls for one in costs),
                "bytes": sum(batch.bytes for batch in todo),
            }
            self._note(_STATE, would_send=numbers)
            self._log("dry_run_counted", **numbers)
            rows = [
                {"would be sent": name.replace("_", " "), "number": number}
                for name, number in numbers.items()
            ]
            rows += [{"would be sent": f"of {one.limit}", "number": one.needed, "left": one.left, "problem": one.problem}
                     for one in self._needs() if one.needed]  # fmt: skip
            how = f"in {len(todo)} job(s)" if self._way == "jobs" else "in composite calls, without a job"
            return Shown(
                f"Dry run: nothing was sent. {numbers['rows']:,} rows would be, {how}.{self._trial_said()}",
                rows,
                "warning",
            )

    def _nothing(self) -> Shown:
        """Says that nothing was sent."""
        with self._guarded(), self._alone():
            self._note(_STATE)
            return Shown("Dry run: nothing was sent, so there is nothing to reconcile.", tone="warning")

    fetch_missing = balance = failures = compare = totals = verdict = _nothing
