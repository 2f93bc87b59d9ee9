"""What ``90_rollback`` holds: what a run created is deleted, after a dry run, and the target compared with what it was."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from ora2sf import rollback
from ora2sf import upload as upload_step
from ora2sf.claim import now
from ora2sf.connections import project_root
from ora2sf.errors import BalanceError, Paused, TableFileError, TargetError
from ora2sf.fields import LookupField
from ora2sf.identify import ID
from ora2sf.ledger import Batch, Ledger
from ora2sf.progress import progress
from ora2sf.reconcile import Check
from ora2sf.report import Shown, glue
from ora2sf.rollback import Slice, Survey
from ora2sf.run import Run
from ora2sf.salesforce import SalesforceBulkLoader
from ora2sf.signals import sigterm_interrupts
from ora2sf.tables import TableConfig

#: Times that deletions are tried again which failed for a passing reason, such as a locked parent.
_AGAIN = 3
#: Seconds before the first of them; each further one waits twice as long.
_PAUSE = 5.0


class RollbackRun(Run):
    """One slice of one campaign that is taken back."""

    @property
    def _slice(self) -> Slice:
        return Slice(self.config, self.ledger, self.data, self.logs)

    @property
    def _confirmed(self) -> bool:
        return self.parameters.confirm == self.parameters.run_id

    def survey(self) -> Shown:
        """What the roll-back would delete, file by file, and what it would leave; nothing is deleted."""
        with self._guarded(), self._alone():
            rollback.settled_load(self._slice)
            found = self._survey(stage=False)
            rows = [
                {
                    "success file": one.file,
                    "created": one.created,
                    "gone": one.gone,
                    "changed since": one.changed,
                    "to delete": one.there - (0 if self._include else one.changed),
                    "updated, listed": one.updated,
                }
                for one in found.files
            ]
            return Shown(self._said(found), rows, "warning" if found.total("there") else "plain")

    @property
    def _include(self) -> bool:
        return self.parameters.include_changed == "yes"

    def _survey(self, *, stage: bool) -> Survey:
        with progress("look at every created record", "records") as bar:
            return rollback.survey(
                self._slice, self.client, include_changed=self._include, stage=stage, told=bar.update
            )

    def _said(self, found: Survey) -> str:
        changed = found.total("changed")
        delete = found.total("there") - (0 if self._include else changed)
        said = (
            f"This run created {found.total('created'):,} records of {self.config.object}; {found.total('gone'):,} are gone, "
            f"{delete:,} would be deleted."
        )
        if changed:
            fate = (
                "deleted all the same" if self._include else 'left; include_changed = "yes" deletes them, too'
            )
            said += f"\n{changed:,} were changed after their job had ended and are {fate}: {self._slice.left.name}."
        if updated := found.total("updated"):
            done = "deleted" if self.config.operation == "delete" else "changed"
            said += f"\n{updated:,} records existed before and were {done}; their earlier values are not put back: {self._slice.updated.name}."
        if found.unproven:
            said += f"\n{found.unproven:,} rows are in no result file and in the org all the same: whether this run created them is not proven, so they are left."
        if children := self._children():
            said += f"\nChildren before parents: roll back {', '.join(children)} of this run first."
        return said

    def _children(self) -> list[str]:
        """Tables of this run that refer to this object, have jobs and are not rolled back."""
        found = []
        for path in sorted(self.folder.parent.glob("*/ledger.sqlite")):
            config = _config_of(path.parent.name, project_root() / "tables")
            refers = config and any(
                isinstance(one, LookupField) and one.object == self.config.object for one in config.fields
            )
            if config and refers and config.table != self.config.table:
                with Ledger(path) as ledger:
                    if ledger.attempts() and not ledger.setting("rolled_back"):
                        found.append(config.table)
        return found

    def roll_back(self) -> Shown:
        """Deletes what :meth:`survey` shows, if ``confirm`` is the run_id; else a dry run.

        Raises:
            LedgerError: a job of the load is not at its end, or a success file was changed.
            JobTimeout: a job is left running; the next roll-back follows it.
        """
        with self._guarded(), self._alone():
            if not self._confirmed:
                given = (
                    f" confirm is {self.parameters.confirm!r}, which is not the run_id."
                    if self.parameters.confirm
                    else ""
                )
                return Shown(
                    f"Dry run: nothing was deleted.{given} To delete, run this notebook with confirm = {self.parameters.run_id!r}.",
                    tone="warning",
                )
            rollback.settled_load(self._slice)
            self.ledger.settle("rollback_begun", now())
            self._log("rollback_started")
            self._upsert_status("In Progress", None)
            with sigterm_interrupts():
                return self._delete()

    def _delete(self) -> Shown:
        waves = self._finish_begun()
        for wave in range(_AGAIN + 1):
            found = self._survey(stage=True)
            if not found.batches:
                break
            self.ledger.add_rollback(found.batches)
            self._loader_by_id.pause(_PAUSE * 2 ** (wave - 1) if wave else 0)
            waves += self._send()
            if not rollback.may_pass(self._slice, found.batches):
                break
        refused = rollback.refusals(self._slice, self._last_wave())
        why = " Some records were not deleted:" if refused else ""
        return Shown(
            f"{waves:,} job(s) deleted what this run created.{why}", refused, "warning" if refused else "good"
        )

    def _last_wave(self) -> list[Batch]:
        batches = self.ledger.all_batches("rollback")
        return [one for one in batches if one.round == batches[-1].round]

    def _finish_begun(self) -> int:
        """Takes up the jobs of a roll-back that was killed; a batch that was not sent is staged anew, as the org is now."""
        plans = upload_step.plan(self.ledger, purpose="rollback")
        begun = [one for one in plans if one.todo in {"follow", "collect"}]
        ended = self._carry_out([one for one in begun if one.todo == "collect" or one.in_flight])
        with suppress(Paused):  # what was never closed is aborted
            self._carry_out(
                [one for one in begun if one.todo == "follow" and not one.in_flight], _nothing_is_sent
            )
        return ended

    def _send(self) -> int:
        batches = {one.number for one in self._last_wave()}
        plans = upload_step.plan(self.ledger, purpose="rollback")
        return self._carry_out([one for one in plans if one.batch.number in batches])

    def _carry_out(
        self, plans: list[upload_step.Plan], may_begin: Callable[[Batch], None] = lambda _batch: None
    ) -> int:
        todo = [one for one in plans if one.todo in upload_step.OPEN]
        with progress(f"roll back {self.config.table}", "rows", sum(one.batch.rows for one in todo)) as bar:

            def settled(one: upload_step.Plan, _end: object) -> None:
                bar.update(one.batch.rows)

            try:
                return len(
                    upload_step.upload(
                        todo, self.ledger, self._loader_by_id, self.data, settled, may_begin=may_begin
                    )
                )
            except (TargetError, Paused) as error:
                later = "When that is removed, run 90_rollback again with the same confirm: it goes on where it stopped."
                raise type(error)(error.what, later) from None

    @cached_property
    def _loader_by_id(self) -> SalesforceBulkLoader:
        p, parent = self.parameters, self.config.parent_field
        return SalesforceBulkLoader(
            self.client,
            self.config.object,
            ID,
            operation="delete",
            logs=self.logs,
            max_concurrent_jobs=1
            if parent
            else p.max_concurrent_jobs,  # result files know no order: parents are mixed
            max_concurrent_uploads=p.max_concurrent_uploads,
            job_timeout=p.job_timeout,
        )

    def verdict(self) -> Shown:
        """Whether the target is what it was: every created record is looked for, and the COUNT compared.

        Raises:
            BalanceError: records are there that should be gone, or the COUNT is another than before.
        """
        with self._guarded(), self._alone():
            if not self.ledger.setting("rollback_begun"):
                return Shown("Verdict: nothing was rolled back; this was a dry run.", tone="warning")
            found = self._survey(stage=False)
            checks = self._checks(found)
            rows = [
                {"equation": one.name, "left": one.left, "right": one.right, "": "✓" if one.holds else "✗"}
                for one in checks
            ]
            numbers = {name: found.total(name) for name in ("created", "updated", "gone", "changed", "there")}
            glue("rollback", numbers | {"holds": all(one.holds for one in checks if one.enforced)})
            if wrong := [one for one in checks if one.enforced and not one.holds]:
                said = "; ".join(f"{one.name}: {one.left:,} against {one.right:,}" for one in wrong)
                raise BalanceError(
                    f"Run {self.parameters.run_id}, table {self.config.table} is not rolled back: {said}.",
                    "Read why records were not deleted, and whether others write to the object; then run 90_rollback again with "
                    "the same confirm: it goes on where it stopped.",
                )
            return self._rolled_back(found, rows, numbers)

    def _checks(self, found: Survey) -> list[Check]:
        there, left = found.total("there"), 0 if self._include else found.total("changed")
        checks = [Check("created records that are there = changed since, and left", there, left)]
        if (before := self.ledger.setting("target_before")) is not None:
            # a load that deleted, or whose results were lost in part, leaves a COUNT that nobody can prove
            proven = not (self.config.shared_target or found.unproven or self.config.operation == "delete")
            now = self.client.count(self.config.object)
            checks.append(
                Check("target COUNT now = before the load + left", now, int(before) + there, proven)
            )
        return checks

    def _rolled_back(self, found: Survey, rows: list[dict[str, Any]], numbers: dict[str, int]) -> Shown:
        self.ledger.settle("rolled_back", now())
        self._upsert_status(
            "Failed", f"Rolled back: {numbers['gone']} of {numbers['created']} created records were deleted."
        )
        self._note("rolled back", **numbers)
        self._log("rollback_finished", **{f"{name}_rows": number for name, number in numbers.items()})
        self._tell(
            "verdict", "What the run created was deleted.", verdict="rolled back", exit=0, counts=numbers
        )
        clean = not (found.total("there") or found.total("updated") or found.unproven)
        verdict = "rolled back" if clean else "rolled back with exceptions"
        return Shown(f"Verdict: {verdict}.\n{self._said(found)}", rows, "good" if clean else "warning")


def _nothing_is_sent(batch: Batch) -> None:
    raise Paused(f"Batch {batch.number} is staged anew.", "Run 90_rollback again.")


def _config_of(table: str, folder: Path) -> TableConfig | None:
    with suppress(TableFileError):
        return TableConfig.load(table, folder)
    return None
