"""What ``04_retry`` holds: rows that failed or were rejected, what is done about them, and sending them again."""

from __future__ import annotations

from collections import Counter

from ora2sf import retry, rounds
from ora2sf import upload as upload_step
from ora2sf.errors import LedgerError
from ora2sf.progress import progress
from ora2sf.report import Shown
from ora2sf.retry import Choice, Done, Slice, Who
from ora2sf.run import Run
from ora2sf.tables import TableConfig

_WAYS = {
    "table": "converted again with the table file as it is now",
    "csv": "taken from the edited file",
    "exclude": "left out",
}


class RetryRun(Run):
    """One slice of one campaign whose failed and rejected rows are dealt with."""

    @property
    def _slice(self) -> Slice:
        return Slice(self._staged_with, self.ledger, self.data, self.logs, self._rejected_path)

    @property
    def _staged_with(self) -> TableConfig:
        """The table file that the rows were converted with last, which may have been changed since."""
        fixes = self.ledger.fixes()
        kept = fixes[-1].table_file if fixes else self.ledger.setting("table_file")
        if kept is None:
            raise LedgerError(
                f"Run {self.parameters.run_id} was extracted by a program that did not keep its table file.",
                "Use a new run_id.",
            )
        return TableConfig.model_validate_json(kept)

    @property
    def _choice(self) -> Choice:
        return Choice(self.parameters.error_code, self.parameters.error_field)

    def triage(self) -> Shown:
        """Failed and rejected rows by reason, with an example, what it means and what helps."""
        with self._guarded():
            with progress("read the failed and rejected rows"):
                found = retry.triage(self._slice, self._choice)
            total = int(found["rows"].sum() or 0)
            if not total:
                return Shown(f"No row waits that failed or was rejected ({self._choice}).", tone="good")
            rows = [
                {
                    "was": one["was"],
                    "error_code": one["code"],
                    "error_field": one["field"],
                    "rows": one["rows"],
                    "it means": one["meaning"],
                    "what helps": one["remedy"],
                    "example": one["key"],
                    "message": one["message"],
                }
                for one in found.iter_rows(named=True)
            ]
            said = (
                f"{total:,} rows wait, for {found.height} reason(s) ({self._choice}).{self._table_changed()}"
            )
            return Shown(said, rows, "warning", bars="rows")

    def _table_changed(self) -> str:
        if self.ledger.fingerprint == self.config.fingerprint:
            return ""
        try:
            changed = "; ".join(retry.changes(self._staged_with, self.config))
        except LedgerError as error:
            return f"\n{error.what} It cannot be taken over."
        return f'\nThe table file has changed; fix = "table" would take over: {changed}'

    def fix(self) -> Shown:
        """Does what ``fix`` says about the chosen rows: lists and exports them, or stages or excludes them; sends nothing yet.

        Raises:
            LedgerError: the upload is not at its end, or the table file differs in more than rules of fields.
            EditedFileError: the edited file cannot be taken.
            ParameterError: a reason or a choice is missing.
        """
        with self._guarded(), self._alone():
            way = self.parameters.fix
            if way == "list":
                return self._export()
            if unsent := self._unsent():
                return Shown(
                    f"An earlier fix is not at its end: its {len(unsent)} batch(es) are sent now, and nothing new is prepared. "
                    "Run this notebook again afterwards.",
                    tone="warning",
                )
            who = Who(self.parameters.reason, retry.user())
            with progress("prepare the rows"):
                if way == "table":
                    done = retry.by_table(self._slice, self.config, self._choice, who)
                elif way == "csv":
                    done = retry.by_csv(self._slice, who)
                else:
                    done = retry.exclude(self._slice, self._choice, who)
            return self._told_of(done)

    def _export(self) -> Shown:
        with progress("write the rows into a file"):
            count = retry.export(self._slice, self._choice)
        path = self._slice.export
        if count is None:
            return Shown(
                f'{path} holds edits and is left as it is: fix = "csv" takes it. Delete it to have it written anew.\nNothing was sent.',
                tone="warning",
            )
        others = int(retry.triage(self._slice, self._choice)["rows"].sum() or 0) - count
        without = (
            f"\n{others:,} rows are not in it: another row has their key, they have none, or the source was not kept."
            if others
            else ""
        )
        return Shown(
            f'{count:,} rows with all their cells are in {path}: edit them there, then fix = "csv".{without}\nNothing was sent.'
        )

    def _unsent(self) -> list[upload_step.Plan]:
        """Batches of an earlier fix that are not settled.

        Raises:
            LedgerError: batches of the extraction are not; their rows may still be sent as they are.
        """
        plans = [one for one in upload_step.plan(self.ledger) if one.todo in upload_step.OPEN]
        fixed = min((fix.round for fix in self.ledger.fixes() if fix.round), default=None)
        early = [one for one in plans if fixed is None or one.batch.round < fixed]
        if early or rounds.due(self.ledger, self._rounds):
            raise LedgerError(
                f"The upload of run {self.parameters.run_id}, table {self.parameters.table} is not at its end: "
                f"{len(early)} batch(es) are not settled, or rows may still be sent again as they are.",
                "Run 02_upload with the same run_id (start_batch = 1) until nothing is left to send; then this notebook again.",
            )
        return plans

    def _told_of(self, done: Done) -> Shown:
        rows = [
            {"what": f"left as it was: {why}", "number": number} for why, number in done.left.most_common()
        ]
        rows += [
            {"what": f"changed: {name}", "number": number} for name, number in done.changed.most_common()
        ]
        fix = done.fix
        if fix is None:
            return Shown(f"No row was {_WAYS[self.parameters.fix]} ({self._choice}).", rows, "warning")
        kinds = Counter(failed=fix.failed, rejected=fix.rejected)
        counted = " and ".join(
            f"{number:,} that {'failed' if was == 'failed' else 'were rejected'}"
            for was, number in kinds.items()
            if number
        )
        where = (
            f"in {len(done.batches)} batch(es)"
            if done.batches
            else f"with the reason {fix.reason!r}; all of them stand in {self._slice.excluded.name}"
        )
        took = f"\nTaken over from the table file: {fix.changes}" if fix.changes else ""
        self._log(
            "rows_fixed", fix=fix.number, way=fix.way, failed_rows=fix.failed, rejected_rows=fix.rejected
        )
        return Shown(f"Fix {fix.number}: {counted} {_WAYS[fix.way]}, {where}.{took}", rows, "good")

    def resubmit(self) -> Shown:
        """Sends what was fixed, and follows it to its end like any upload; in ``list`` and ``exclude`` there is nothing to send."""
        if self.parameters.fix == "list":
            return Shown("Nothing was sent: fix is list.")
        if not any(one.todo in upload_step.OPEN for one in upload_step.plan(self.ledger)):
            return Shown("Nothing was sent: no fixed row waits to be sent.")
        return self.upload()

    def history(self) -> Shown:
        """Every fix of this slice, oldest first."""
        rows = [
            {
                "fix": fix.number,
                "at": fix.at[:19],
                "who": fix.who,
                "way": fix.way,
                "failed": fix.failed,
                "rejected": fix.rejected,
                "chosen": str(Choice(fix.code, fix.field)),
                "reason": fix.reason,
                "table file": fix.changes,
            }
            for fix in self.ledger.fixes()
        ]
        return Shown(f"{len(rows)} fix(es)." if rows else "Nothing was fixed in this run.", rows)
