"""``Run``: the noun that the notebooks hold; each step is called from here, and how it ended is recorded."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import polars as pl

from ora2sf import compare as comparison
from ora2sf import (
    comparison_report,
    data_check,
    evidence,
    planfile,
    preflight,
    reconcile,
    rounds,
    slice_report,
    webhook,
)
from ora2sf import extract as extraction_step
from ora2sf import upload as upload_step
from ora2sf.batches import read_batch
from ora2sf.budget import Budget, Standing, of_calls, of_job
from ora2sf.claim import now, this_process
from ora2sf.connections import get_connection, project_root
from ora2sf.convert import shown
from ora2sf.errors import (
    BalanceError,
    ClaimedError,
    ConnectionFieldError,
    LedgerError,
    NotFoundError,
    Ora2sfError,
    ParameterError,
    PastError,
    Paused,
    PlanError,
    PreflightError,
    RunFolderError,
    SourceError,
    TargetError,
    TransientError,
    exit_of,
)
from ora2sf.events import Level, Log, fault
from ora2sf.fields import AnyField, LookupField
from ora2sf.keys import duplicates_across, key_files
from ora2sf.ledger import SETTLED, Attempt, Batch, Extraction, Ledger
from ora2sf.oracle import OracleSource, SourceColumn
from ora2sf.parameters import Parameters, read_parameters
from ora2sf.private import private_files
from ora2sf.profile import ERROR_PERCENT, Profiler
from ora2sf.progress import progress
from ora2sf.redaction import clean_error, redactor
from ora2sf.report import Shown, Tone, glue
from ora2sf.report_model import Report
from ora2sf.report_plots import Picture, flow, jobs_over_time, rates
from ora2sf.results import is_intact, rows_by_attempt
from ora2sf.salesforce import (
    BulkQuery,
    JobEnd,
    SalesforceBulkLoader,
    SalesforceClient,
    SalesforceCollectionsLoader,
    SalesforceStatusTracker,
)
from ora2sf.salesforce.status import MOST_REFERENCE, Status, check_reference
from ora2sf.signals import sigterm_interrupts
from ora2sf.tables import TableConfig
from ora2sf.windows import Portion

_MOST_EXAMPLES = 20
#: Seconds between two notes of how far the extraction is.
_TELL = 2.0
Kind = TypeVar("Kind", bound="Run")
Way = Literal["collections", "jobs"]
Step = Literal["01_extract", "02_upload", "03_reconcile", "04_retry", "90_rollback"]
_TONES: dict[reconcile.Verdict, Tone] = {
    "proven": "good",
    "complete": "good",
    "complete with exceptions": "warning",
    "trial": "warning",
    "trial with exceptions": "warning",
    "nothing to do": "warning",
    "incomplete": "warning",
    "all rejected": "bad",
    "does not reconcile": "bad",
    "does not balance": "bad",
}
#: A good verdict of the rows that were read → that of a slice of which these are only some.
_OF_A_TRIAL: dict[reconcile.Verdict, reconcile.Verdict] = {
    "proven": "trial",
    "complete": "trial",
    "complete with exceptions": "trial with exceptions",
}
#: What stands where an earlier program recorded nothing.
_UNSAID = {"max_rows": "all"}
_LEVELS: dict[Tone, Level] = {"plain": "info", "good": "info", "warning": "warning", "bad": "error"}
#: How a step ends early: what status.json says → the event in the log.
_ENDINGS = {
    "paused by budget": "step_paused",
    "stopped, can be resumed": "step_stopped",
    "failed": "step_failed",
}


def open_as(kind: type[Kind], step: Step, names: Mapping[str, Any], dry: type[Kind] | None = None) -> Kind:
    """Opens the run that a notebook's parameters name; see :func:`ora2sf.opening.open_run`.

    Args:
        kind: what the notebook holds.
        step: the notebook's name.
        names: its ``globals()``: the parameters, and whatever was injected beside them.
        dry: what it holds in a dry run; None where there is none.

    Raises:
        ParameterError: a value is of the wrong kind or out of bounds, or a name is unknown.
        TableFileError: the table file is missing or not valid.
        RunFolderError: the run's folder cannot be written.
        LedgerError: the run_id was begun with other settings.
        PlanError: the run's plan is not frozen, or has no such slice.
    """
    root = project_root()
    parameters, config, shown = read_parameters(names, root / "tables")
    if parameters.dry_run and dry is None:
        raise ParameterError(
            f"{step} knows no dry_run.", "Leave dry_run out, in the environment (ORA2SF_DRY_RUN), too."
        )
    chosen = dry if parameters.dry_run and dry else kind
    return chosen(step, parameters, config, root, shown)


class Run:
    """One slice of one campaign, as one notebook works on it."""

    def __init__(
        self, step: Step, parameters: Parameters, config: TableConfig, root: Path, shown: set[str]
    ) -> None:
        self._parameters_shown, self._root = shown, root
        self.step, self.parameters, self.config = step, parameters, config
        self.run_folder = root / parameters.outputs / parameters.run_id
        self.portion = replace(self._planned(), most=parameters.max_rows)
        self.folder = self.run_folder / parameters.table / (parameters.window or "")
        self.data, self.logs = self.folder / "salesforce" / "data", self.folder / "salesforce" / "logs"
        with private_files():
            self._open()

    def _open(self) -> None:
        p = self.parameters
        _make_folders(self.data, self.logs)
        self.ledger = Ledger(self.folder / "ledger.sqlite")
        self._log: Callable[..., None] = Log(
            self.folder, run_id=p.run_id, table=p.table, window=p.window, step=self.step
        ).write
        self.ledger.told = self._log_move
        self._balance: reconcile.Balance | None = None
        self._compared: comparison.Found | None = None
        self._looked_at: dict[str, str] = {}  # what was looked at → the state of the books then
        self._sample: extraction_step.Sample | None = None
        self._invocation: int | None = None
        try:
            with self._alone():
                self._begin()
        except ClaimedError:
            if self.step != "03_reconcile":
                raise
            self._log = _not_logged
            self._settle()  # books can be looked at while another process is at work; nothing is recorded
            self.external_ref = self._reference()

    def _begin(self) -> None:
        self._settle()
        self.external_ref = self._reference()
        self.ledger.record("external_ref", self.external_ref)
        self.ledger.record("shared_target", self._shared_target)
        self._invocation = self.ledger.start_step(self.step)
        slice_report.note_invocation(self.ledger, self._invocation, self._in_force(), self._root)
        self._note("started")
        self._log("slice_opened", invocation=self._invocation)
        self._check_webhook()

    def _planned(self) -> Portion:
        """What of the table this slice reads: as the run's plan says, or all of it."""
        p, plan = self.parameters, planfile.read(self.run_folder)
        if plan is not None:
            return plan.portion(p.table, p.window)
        if p.window is not None:
            raise PlanError(
                f"Run {p.run_id} has no plan, so nobody knows what window {p.window!r} is.",
                f"Make one: ora2sf plan {p.run_id}. Or leave window out.",
            )
        return Portion()

    def _settle(self) -> None:
        """What the first notebook of a run was opened with stands; a contradiction is refused."""
        p, extracted = self.parameters, self.ledger.extraction()
        wanted: dict[str, object] = {
            "run_id": p.run_id,
            "table": p.table,
            "object": self.config.object,
            "external_id_field": self.config.external_id_field,
        }
        if span := self.portion.span:
            wanted["window"] = span.model_dump_json()
        if since := self.portion.since:
            wanted["since"] = since.isoformat()
        if self.step == "01_extract" or p.max_rows:
            wanted["max_rows"] = p.max_rows or "all"
        if self.step == "01_extract":
            wanted |= {"batch_size": p.batch_size}
            if extracted is None and (frozen := planfile.frozen_hash(self.run_folder)):
                self.ledger.record("plan", frozen)
        elif extracted is None:
            raise LedgerError(
                f"Nothing is extracted yet for run {p.run_id}, table {p.table}.",
                "Run 01_extract with the same run_id, table and outputs first.",
            )
        for name, value in wanted.items():
            stands = self.ledger.setting(name) or _UNSAID.get(name)
            if extracted is None:
                self.ledger.record(name, value)
            elif stands != str(value):
                raise LedgerError(
                    f"Run {p.run_id} was begun with {name} = {stands}, now it is {value}.",
                    f"Use {name} = {stands} to go on, or a new run_id.",
                )
        self._refuse_what_was_rolled_back()
        self._refuse_what_was_removed()
        if (
            extracted is not None
            and not self._takes_changes
            and self.ledger.fingerprint != self.config.fingerprint
        ):
            raise LedgerError(
                f"The table file of {p.table} has changed since run {p.run_id} was extracted.",
                "Use a new run_id for the changed file, or put the file back as it was. For rows that failed or were rejected "
                '04_retry takes changed rules of fields over with fix = "table".',
            )

    @property
    def _takes_changes(self) -> bool:
        """A changed table file is looked at, and taken over where that is asked for; a roll-back needs none of its rules."""
        retried = self.step == "04_retry" and self.parameters.fix in {"list", "table"}
        return retried or self.step == "90_rollback"

    def _refuse_what_was_rolled_back(self) -> None:
        begun = self.ledger.setting("rollback_begun")
        if begun and self.step in {"02_upload", "04_retry"}:
            raise LedgerError(
                f"Run {self.parameters.run_id}, table {self.parameters.table} was rolled back ({begun[:19]} UTC): nothing of it is sent again.",
                "Load the table again with a new run_id.",
            )

    def _refuse_what_was_removed(self) -> None:
        """Without its staged data a slice can only be rolled back, which needs the result files alone."""
        gone = json.loads(self.ledger.setting(evidence.REMOVED) or "{}")
        if gone and self.step != "90_rollback":
            p = self.parameters
            raise LedgerError(
                f"The staged data of run {p.run_id}, table {p.table} was removed on {gone['at'][:10]}, after the verdict {gone['verdict']}.",
                "No row can be sent again from here: salesforce/logs names those that failed or were rejected; load them with a new run_id."
                if self.step == "04_retry"
                else "Nothing is left to do: report.html has the verdict, and `ora2sf verify` checks what stayed. To load again use a new run_id.",
            )

    def _reference(self) -> str:
        """The reference of the status record: as given, else as settled by an earlier notebook, else made."""
        p = self.parameters
        reference = (
            p.external_ref
            or self.ledger.setting("external_ref")
            or _made_reference(f"{p.table}_{p.window}" if p.window else p.table, p.run_id)
        )
        check_reference(reference)
        return reference

    def __repr__(self) -> str:
        return repr(self._shown())

    def _repr_html_(self) -> str:
        return self._shown()._repr_html_()

    def _shown(self) -> Shown:
        extracted = self.ledger.extraction()
        resumes = "It resumes: e" if self.step == "01_extract" else "E"
        begun = f" {resumes}xtracted {extracted.ended[:19]} UTC." if extracted else ""
        if self._invocation is None:
            begun += (
                f" Another one is at work, so nothing is recorded: {self.ledger.holder() or 'just ended'}."
            )
        chosen = self._in_force()
        rows = [
            {"parameter": name, "value": "–" if chosen[name] in {None, ""} else chosen[name]}
            for name in chosen
            if name in self._parameters_shown
        ]
        part = f", window {chosen['window']}" if chosen["window"] else ""
        return Shown(
            f"Run {chosen['run_id']}, table {chosen['table']}{part} → {self.config.object}.{begun}", rows
        )

    def _in_force(self) -> dict[str, Any]:
        """Every parameter with the value that counts."""
        settled = {
            "external_ref": self.external_ref,
            "sf_object": self.config.object,
            "external_id_field": self.config.external_id_field,
        }
        return dict(self.parameters) | settled

    # the servers

    @cached_property
    def client(self) -> SalesforceClient:
        """The org; signing in happens at the first call."""
        return SalesforceClient(self.parameters.sf_conn_id)

    @cached_property
    def source(self) -> OracleSource:
        """The source database."""
        return OracleSource(get_connection(self.parameters.oracle_conn_id))

    def sign_in_salesforce(self) -> Shown:
        """Signs in before the long read, and shows org, user and API limits."""
        with self._guarded():
            begun = time.monotonic()
            user, limits = self.client.user(), self.client.limits()
            self._log("salesforce_signed_in", version=self.client.api_version, seconds=_since(begun))
            slice_report.note_server(
                self.ledger,
                salesforce_url=self.client.instance_url,
                salesforce_org=str(user.get("organization_id", "")),
                salesforce_user=str(user.get("preferred_username", "")),
                salesforce_api=self.client.api_version,
            )
            names = ("DailyApiRequests", "DailyBulkApiBatches", "DataStorageMB")
            rows = [
                {"limit": n, "allowed": limits[n]["Max"], "left": limits[n]["Remaining"]}
                for n in names
                if n in limits
            ]
            who = f"{user.get('preferred_username', '?')} in org {user.get('organization_id', '?')}"
            return Shown(f"Signed in to {self.client.instance_url} as {who}.", rows)

    def sign_in_oracle(self) -> Shown:
        """Signs in to the source and shows where."""
        with self._guarded():
            begun = time.monotonic()
            info = self.source.info()
            self._log("oracle_signed_in", version=info.version, seconds=_since(begun))
            slice_report.note_server(
                self.ledger, oracle_version=info.version, oracle_service=info.service, oracle_user=info.user
            )
            return Shown(f"Signed in to Oracle {info.version} at {info.service} as {info.user}.")

    # 01

    def check_table(self) -> Shown:
        """Compares the table file with Oracle and Salesforce; all problems are listed at once.

        Raises:
            PreflightError: there are problems; the status record says Failed.
        """
        with self._guarded(), self._alone():
            found = preflight.check(self.config, self._columns, self._target, self._lookup_targets)
            problems = found.all_problems()
            if self.config.status:
                problems += preflight.check_status(
                    self.config.status, self._describe(self.config.status.object, "[status] object")
                )
            lines = [vars(line) for line in found.lines]
            self._keep("structure", {"checked": now(), "problems": problems, "fields": lines})
            self._log("table_checked", fields=len(self.config.fields), problems=len(problems))
            if not problems:
                sql, _ = self.portion.now().select(self.config)
                self._described(sql)  # finds what is wrong in order_by and window, too
            else:
                raise self._refused(
                    PreflightError(
                        f"The table file {self.config.table}.toml does not fit: {len(problems)} problem(s).\n  "
                        + "\n  ".join(problems),
                        "Correct the table file (or the org's fields and rights), then run again with the same run_id.",
                    )
                )
        rows = [
            {
                "source": line.source,
                "Oracle type": line.source_type,
                "field": line.field,
                "Salesforce type": line.field_type,
            }
            for line in found.lines
        ]
        return Shown(
            f"The table file fits: {len(rows)} fields from Oracle to {self.config.object}.", rows, "good"
        )

    @cached_property
    def _lookup_targets(self) -> dict[str, dict[str, Any] | None]:
        """The describe of every object that a lookup refers to; None where there is none."""
        targets: dict[str, dict[str, Any] | None] = {}
        for spec in self.config.fields:
            if isinstance(spec, LookupField) and spec.object not in targets:
                try:
                    targets[spec.object] = self.client.describe(spec.object)
                except NotFoundError:
                    targets[spec.object] = None
        return targets

    @cached_property
    def _columns(self) -> dict[str, SourceColumn]:
        return self._described(self.config.every_column())

    def _described(self, sql: str) -> dict[str, SourceColumn]:
        try:
            return self.source.describe(sql)
        except SourceError as error:
            raise self._refused(error) from None

    @cached_property
    def _target(self) -> dict[str, Any]:
        return self._describe(self.config.object)

    def _describe(self, sobject: str, named: str = "object (or sf_object)") -> dict[str, Any]:
        try:
            return self.client.describe(sobject)
        except NotFoundError:
            raise self._refused(
                PreflightError(
                    f"Salesforce has no object {sobject}, or the run-as user may not see it.",
                    f"Correct {named} in the table file, or give the user access to it.",
                )
            ) from None

    def _refused(self, error: Ora2sfError) -> Ora2sfError:
        """Writes Failed into the status record; if that fails too, the first error is the one to show.

        Once the upload has begun, the record tells of the upload and is left alone.
        """
        if self.ledger.attempts():
            return error
        try:
            self._upsert_status("Failed", error.what)
        except Ora2sfError as second:
            self._log("status_record_failed", record=self.external_ref, status="Failed", **fault(second))
        return error

    def extract(self) -> Shown:
        """Reads the source once and stages it; a finished extraction is taken as it is."""
        with self._guarded(), self._alone():
            done = self.ledger.extraction()
            if done is None:
                self._refuse_foreign_results()
                self._extract()
                done = self._extraction()
                how = ""
            else:
                how = " Nothing was read again: this run was already extracted."
                self._note("extracted")
                self._log_extraction(done)
            batches = self.ledger.batches()
            numbers = ("source_count", "rows_read", "rows_staged", "rows_rejected", "consistency")
            glue("extraction", {n: getattr(done, n) for n in numbers} | {"batches": len(batches)})
            rows = [
                {"rows": "in the source (COUNT)", "number": done.source_count},
                {"rows": "read", "number": done.rows_read},
                {"rows": "staged", "number": done.rows_staged},
                {"rows": "rejected", "number": done.rows_rejected},
            ]
            sentence = (
                f"{done.rows_staged:,} rows staged in {len(batches)} batch(es), {done.rows_rejected:,} rejected."
                f"{how}{self._whose_moment(done)}{self._trial_said()}"
            )
            return Shown(sentence, rows, "good" if done.rows_staged else "warning")

    def _whose_moment(self, done: Extraction) -> str:
        """A sentence for a slice of a planned campaign."""
        if self.portion.scn is None:
            return ""
        if done.consistency == "campaign":
            return f" Read as of the campaign's SCN {self.portion.scn}."
        return f" Not of the campaign's moment: {self.ledger.setting('own_moment')}"

    @property
    def _whole(self) -> int | None:
        """Rows of the slice by COUNT if only some of them were read; None if all were."""
        whole = int(self.ledger.setting("whole_count") or 0)
        return whole if whole > self._extraction().source_count else None

    def _trial_said(self) -> str:
        if self._whole is None:
            return ""
        return f" A trial: only {self._extraction().source_count:,} of {self._whole:,} rows were read, as max_rows says."

    def _refuse_foreign_results(self) -> None:
        """Result files without a ledger are of a run whose books are lost: a second set would be counted twice."""
        if next(self.logs.glob("*_success.csv"), None):
            raise LedgerError(
                f"{self.logs} holds result files, but the ledger of this run is gone.",
                "Put ledger.sqlite back, or use a new run_id and keep this folder as it is.",
            )

    def _extract(self) -> None:
        begun = time.monotonic()
        self._log("extraction_started", batch_size_rows=self.parameters.batch_size)
        key: dict[str, Any] = next(
            (f for f in self._target["fields"] if f["name"] == self.config.external_id_field), {}
        )
        self._keep("data", {})
        self.ledger.forget("data_check")
        self.ledger.record("table_file", self.config.model_dump_json())
        try:
            profiler = self._stage(self.portion, key)
        except PastError as error:
            if self.portion.scn is None:
                raise
            self._log("own_moment_taken", scn=self.portion.scn, code=fault(error)["code"])
            self.ledger.record("own_moment", error.what)
            profiler = self._stage(self.portion.now(), key)
        self._keep("data", self._profiled(profiler))
        self._note("extracted", seconds=_since(begun))
        self._log_extraction(self._extraction(), _since(begun))

    def _log_extraction(self, done: Extraction, seconds: float | None = None) -> None:
        pace = {} if seconds is None else _pace(done.rows_read, seconds)
        self._log(
            "extraction_finished", source_rows=done.source_count, read_rows=done.rows_read, staged_rows=done.rows_staged,
            rejected_rows=done.rows_rejected, batches=len(self.ledger.batches()), consistency=done.consistency, **pace,
        )  # fmt: skip

    def _stage(self, portion: Portion, key: Mapping[str, Any]) -> Profiler:
        """Reads and stages a portion; returns what was seen of its rows."""
        profiler = self._profiler()
        begun = told = time.monotonic()
        with progress(f"extract {self.config.table}", "rows") as bar, self._fresh_source():

            def read(rows: int) -> None:
                nonlocal told
                self.ledger.check_claim()  # a process that was taken over must not write over the other one's files
                bar.update(rows)
                if (moment := time.monotonic()) - told > _TELL:
                    told = moment
                    self._note(
                        "started", rows=bar.done, rows_per_second=round(bar.done / (moment - begun), 1)
                    )

            self._sample = extraction_step.extract(
                self.config,
                self.source,
                self._columns,
                self.ledger,
                self.data,
                self._rejected_path,
                batch_size=self.parameters.batch_size,
                portion=portion,
                case_sensitive=bool(key.get("caseSensitive")),
                exact=self._exact_lookups,
                profiler=profiler,
                keep_source=self.parameters.keep_source == "yes",
                counted=bar.reset,
                read=read,
            )
        return profiler

    def _profiler(self) -> Profiler:
        return data_check.profiler(self.config, self._target, in_full=self.parameters.profile == "full")

    @property
    def _exact_lookups(self) -> frozenset[str]:
        return data_check.case_sensitive(self.config, self._lookup_targets)

    def _profiled(self, profiler: Profiler) -> dict[str, Any]:
        """The profile of each field, with what the rules of the table file did to it."""
        rules: dict[str, dict[str, dict[str, int]]] = {}
        for name, counts in (
            ("changed", self.ledger.counts("changed")),
            ("rejected", self.ledger.counts("misfit")),
        ):
            for field, rule, number in counts:
                rules.setdefault(field, {}).setdefault(name, {})[rule] = number
        empty: dict[str, dict[str, int]] = {"changed": {}, "rejected": {}}
        fields = [one.as_json() | empty | rules.get(one.spec.field, {}) for one in profiler.fields]
        return {"rows": self._extraction().rows_staged, "fields": fields}

    @contextmanager
    def _fresh_source(self) -> Iterator[None]:
        """Ends the session after the read, good or bad: a lost one must not meet the next try."""
        try:
            yield
        finally:
            self.__dict__.pop("source").close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keeps every other process from working on the same slice at the same time."""
        with self.ledger.claimed() as gone:
            if gone:
                self._log("slice_taken_over", from_host=gone.host, from_pid=gone.pid)
            yield

    @property
    def _rejected_path(self) -> Path:
        return self.logs / f"{self.config.table}_rejected.csv"

    def _extraction(self) -> Extraction:
        done = self.ledger.extraction()
        if done is None:
            raise LedgerError("Nothing is extracted yet in this run.", "Call extract first.")
        return done

    def rejected(self) -> Shown:
        """Rejected rows by reason, and values that a stated rule changed."""
        self._extraction()
        rejected, changed = self.ledger.counts("rejected"), self.ledger.counts("changed")
        rows = [{"what": "rejected row", "field": f, "rule": r, "rows": n} for f, r, n in rejected]
        rows += [{"what": "changed value", "field": f, "rule": r, "values": n} for f, r, n in changed]
        total = sum(n for _, _, n in rejected)
        where = f" Each stands in {self._rejected_path.relative_to(self.folder)}." if total else ""
        return Shown(
            f"{total:,} rows rejected for {len(rejected)} reason(s).{where}",
            rows,
            "warning" if total else "good",
            bars="rows",
        )

    def profile(self) -> Shown:
        """What the staged rows hold, field by field."""
        with self._guarded(), self._alone():
            done, fields = self._extraction(), self._data()["fields"]
            rows = [
                {
                    "field": one["field"],
                    "empty": one["nulls"],
                    "distinct": _distinct(one),
                    "min": one["min"],
                    "max": one["max"],
                    "longest": one["longest"] or "",
                    "changed": sum(one["changed"].values()),
                    "rejected": sum(one["rejected"].values()),
                }
                for one in fields
            ]
            estimated = any("about" in str(row["distinct"]) for row in rows)
            about = (
                f" “About” is an estimate with a standard error of {ERROR_PERCENT} %." if estimated else ""
            )
            return Shown(f"{done.rows_staged:,} staged rows, {len(rows)} fields.{about}", rows)

    def _data(self) -> dict[str, Any]:
        """What ``preflight.json`` keeps of the data; made anew from the staged files if it is not there."""
        self._extraction()
        data: dict[str, Any] = self._kept().get("data", {})
        if "fields" not in data:
            profiler = self._profiler()
            batches = self.ledger.batches()
            with progress("profile the staged rows", "rows", sum(batch.rows for batch in batches)) as bar:
                for batch in batches:
                    profiler.add(profiler.look(read_batch(self.data / batch.file)))
                    bar.update(batch.rows)
            data = self._profiled(profiler)
            self._keep("data", data)
        return data

    def check_data(self) -> Shown:
        """The staged rows against the org: what would fail is counted; what would fail every row stops the run.

        Raises:
            PreflightError: nothing that is staged could be loaded; the status record says Failed.
        """
        with self._guarded(), self._alone():
            found, lookups = self._check_data()
            rows = [line for one in found for line in _lines_of(one)]
            rows += [{"field": one.field, "what": str(one)} for one in lookups if not one.orphans]
            failing = min(sum(one.rows for one in found), self._extraction().rows_staged)
            return Shown(
                f"At most {failing:,} rows would fail in Salesforce, for {len(found)} reason(s); everything else can be sent."
                if found
                else "Nothing is known that Salesforce would refuse.",
                rows,
                "warning" if found or not all(one.asked for one in lookups) else "good",
                bars="rows",
            )

    def _check_data(self) -> tuple[list[data_check.Finding], list[data_check.Lookup]]:
        done, data = self._extraction(), self._data()
        with progress("look up the parents of the staged rows", "parents") as bar:
            lookups = data_check.lookups(
                self.config,
                self.client,
                self.data,
                self.run_folder,
                self._exact_lookups,
                self.parameters.max_parents_asked,
                bar.update,
            )
        found = [
            *(
                ()
                if self._rejected_by_window
                else data_check.of_rejected(done.rows_read, done.rows_staged, self.ledger.counts("rejected"))
            ),
            *data_check.of_values(data["fields"], self._target),
            *data_check.of_lookups(lookups, done.rows_staged),
        ]
        stops = [str(one) for one in found if one.stops] + self._repeated()
        self._keep("data", data | {"checked": now(), "stops": stops, "findings": [vars(one) for one in found],
                                   "lookups": [vars(one) for one in lookups]})  # fmt: skip
        self.ledger.record("data_check", "stopped" if stops else "passed")
        self._log("data_checked", findings=len(found), stops=len(stops))
        if stops:
            raise self._refused(
                PreflightError(
                    "Nothing was sent, because the staged rows cannot be loaded as they are:\n  "
                    + "\n  ".join(stops),
                    "Correct the org and run again with the same run_id; for a corrected source or table file use a new run_id.",
                )
            )
        return found, lookups

    @property
    def _rejected_by_window(self) -> bool:
        """Whether no row fits for the column by which the window was cut: so it is with days that cannot be read.

        That is found in the source and says nothing against the table file, so the slice ends with its books.
        """
        done, window = self._extraction(), self.config.window
        if self.portion.span is None or window is None or done.rows_staged or not done.rows_read:
            return False
        names = {spec.field for spec in self.config.fields if window.column in spec.source}
        misfits = Counter[str]()
        for field, _, rows in self.ledger.counts("misfit"):
            misfits[field] += rows
        return any(misfits[name] >= done.rows_read for name in names)

    def _repeated(self) -> list[str]:
        """Keys that stand in several slices of this table: which of their rows counted would be left to chance."""
        with progress("look for keys that stand in several slices"):
            found = duplicates_across(key_files(self.run_folder, table=self.config.table))
        if not found.keys:
            return []
        key, files = found.examples[0]
        where = " and ".join(str(path.relative_to(self.run_folder)) for path in files)
        return [
            f"{found.keys:,} key(s) stand in several slices of {self.config.table}, such as {key} in {where}"
        ]

    def check_limits(self) -> Shown:
        """What is used of the org's limits, what runs leave to others, and what this upload still needs."""
        with self._guarded(), self._alone():
            needs = self._needs()
            self._keep("limits", {"checked": now(), "needs": [vars(one) for one in needs]})
            self._log("limits_checked", problems=sum(bool(one.problem) for one in needs))
            rows = [
                {
                    "limit": one.limit,
                    "allowed": one.allowed,
                    "used": one.used,
                    "of it by runs here": one.ours,
                    "reserve": one.reserve,
                    "left": one.left,
                    "needed": one.needed,
                    "problem": one.problem,
                }
                for one in needs
            ]
            if not any(one.needed for one in needs):
                return Shown("Nothing is to be sent.", rows)
            problems = any(one.problem for one in needs)
            return Shown(
                "The org's limits do not suffice for this upload."
                if problems
                else "The org's limits suffice for this upload.",
                rows,
                "warning" if problems else "good",
            )

    def _needs(self) -> list[Standing]:
        plans = upload_step.plan(self.ledger, self.parameters.start_batch)
        to_send = [one.batch for one in plans if one.todo == "send"]
        return self._budget.needs(to_send, lambda: self.client.count(self.config.object))

    @cached_property
    def _budget(self) -> Budget:
        outputs, name = self.run_folder.parent, "_".join(self.folder.relative_to(self.run_folder).parts)
        own = self.run_folder / "campaign" / "budget" / f"{name}.json"
        cost = of_calls if self._way == "collections" else of_job
        return Budget(self.client, self.ledger, outputs, own, self.parameters.reserve, cost)

    def samples(self) -> Shown:
        """The first staged rows before and after conversion, field by field; after only, if they were staged earlier."""
        self._extraction()
        sample = self._sample or extraction_step.Sample(after=self._first_staged())
        rows = [_side_by_side(spec, sample) for spec in self.config.fields]
        sides = "before and after" if sample.before.height else "as they will be sent"
        return Shown(f"The first {sample.after.height} staged row(s), {sides}.", rows)

    def _first_staged(self) -> pl.DataFrame:
        batches = self.ledger.batches()
        return read_batch(self.data / batches[0].file).head(3) if batches else pl.DataFrame()

    def announce(self) -> Shown:
        """Upserts the status record as New once there is something to upload; Failed if every row was rejected."""
        with self._guarded(), self._alone():
            done = self._extraction()
            self.ledger.forget("dry_run")
            if self.config.status is None:
                return Shown("The table file keeps no status record.")
            if done.rows_staged:
                if self.ledger.attempts():
                    return Shown(f"Status record {self.external_ref}: left as it is, the upload has begun.")
                self._upsert_status("New", None)  # and no error of an earlier try
                return Shown(f"Status record {self.external_ref}: New.", tone="good")
            if done.rows_rejected and not self._rejected_by_window:
                self._upsert_status("Failed", f"All {done.rows_rejected} rows were rejected before upload.")
                return Shown(
                    f"Status record {self.external_ref}: Failed, because every row was rejected.", tone="bad"
                )
            return Shown("Zero rows: the status record is left as it was.", tone="warning")

    # 02

    def plan_upload(self) -> Shown:
        """What will happen to each batch, before anything is sent."""
        with self._guarded():
            self._plans = upload_step.plan(self.ledger, self.parameters.start_batch)
            if not self._plans:
                return Shown("Zero rows are staged: there is nothing to upload.", tone="warning")
            counts = [
                {"batches": meaning, "number": len(chosen), "rows": sum(one.batch.rows for one in chosen)}
                for todo, meaning in (
                    ("send", "to send"),
                    ("follow", "already in a job, to follow"),
                    ("collect", "ended, results to fetch"),
                    ("settled", "settled earlier, not touched"),
                    ("skipped", f"skipped by start_batch = {self.parameters.start_batch}"),
                )
                if (chosen := [one for one in self._plans if one.todo == todo])
            ]
            if due := rounds.due(self.ledger, self._rounds):
                counts.append(
                    {"batches": "results to look through: rows may be sent again", "number": len(due)}
                )
            resumes = any(one.attempt for one in self._plans)
            begun = "This run resumes." if resumes else "Nothing of this run was uploaded before."
            others = self._possibly_ours()
            return Shown(f"{begun}{others[0]}", counts + others[1], "warning" if others[1] else "plain")

    def _possibly_ours(self) -> tuple[str, list[dict[str, Any]]]:
        """Jobs of this user and object that this slice's ledger does not know: told, and never touched."""
        known = [attempt.job_id for attempt in self.ledger.attempts() if attempt.job_id]
        rows = [
            {"batches": f"possibly ours: job {job['id']} of {job['createdDate']}", "state": job["state"]}
            for job in self._loader().others(known)
        ]
        if not rows:
            return "", []
        return (
            f" {len(rows)} other job(s) of this user on {self.config.object} are not at their end; they may be of "
            "another run and are left alone.",
            rows,
        )

    def _glue_results(self) -> None:
        """Records rows by result, over all attempts."""
        rows: Counter[str] = Counter()
        for result in self.ledger.results():
            rows[result.kind] += result.rows
            rows["created"] += result.created
        glue("upload", {"jobs": sum(bool(one.job_id) for one in self.ledger.attempts()), **rows})

    def upload(self) -> Shown:
        """Sends, follows and collects what :meth:`plan_upload` shows, and sends again what may pass.

        Raises:
            Paused: nothing more may be sent for now; the status record says In Progress, as after every failure here.
            JobTimeout: a job is left running; the next run follows it.
        """
        with self._guarded(), self._alone():
            plans = upload_step.plan(self.ledger, self.parameters.start_batch)
            todo = [one for one in plans if one.todo in upload_step.OPEN]
            if not todo and not rounds.due(self.ledger, self._rounds):
                self._note("uploaded", rows=0)
                self._log("upload_finished", jobs=0, rows=0)
                self._glue_results()
                return Shown(self._nothing_to_send(bool(plans)), tone="warning")
            self._refuse_what_cannot_work()
            if self.ledger.setting("target_before") is None:
                before = self.client.count(self.config.object)
                self.ledger.record("target_counted", self.client.now().isoformat(timespec="seconds"))
                self.ledger.settle("target_before", before)
            begun, sent = time.monotonic(), sum(one.batch.rows for one in todo)
            self._log("upload_started", way=self._way, batches=len(todo), rows=sent)
            with self._told():
                ends = self._upload(todo, self._rounds, self._budget.begin)
            seconds = time.monotonic() - begun
            rows = sum(one.batch.rows for one in todo)
            self._note("uploaded", rows=rows, seconds=round(seconds, 3))
            self._log("upload_finished", jobs=len(ends), **_pace(rows, seconds), rows=rows)
            self._glue_results()
            return Shown(
                f"{rows:,} rows in {len(ends)} job(s) settled in {seconds:.1f} s ({rows / seconds:,.0f} rows/s)."
                + self._rounds_said(),
                tone="good",
            )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """The status record says Uploading, and In Progress when the upload ends early: somebody has to run it again.

        Why it pauses stands there, too, until it goes on. SIGTERM is taken as Ctrl-C: nothing new is begun, and what runs
        is left so that the next run follows it.
        """
        self._update_status("Uploading", None)
        try:
            with sigterm_interrupts():
                yield
        except BaseException as error:
            why = f"{error.what} {error.next_step}" if isinstance(error, Paused) else ""
            with suppress(Ora2sfError):  # the first error is the one to show
                self._update_status("In Progress", why)
            raise

    @property
    def _rounds(self) -> rounds.Rounds:
        parent = self.config.parent_field
        return rounds.Rounds(self.parameters.max_rounds, parent=parent.header if parent else None)

    def _rounds_said(self) -> str:
        again = Counter[int]()
        for batch in self.ledger.all_batches():
            again[batch.round] += batch.rows
        said = [f"{again[number]:,} in round {number}" for number in sorted(again) if number]
        return f" Rows that were sent again: {', '.join(said)}." if said else ""

    def _refuse_what_cannot_work(self) -> None:
        """Before the first job: the data has to have passed its check, which 01 makes, and the org must have room for it."""
        if self.ledger.attempts() or self.ledger.fixes():  # a fix may be all that there is to send
            return
        if self.ledger.setting("data_check") != "passed" or self._repeated():
            self._check_data()
        if stops := [f"{one.limit}: {one.problem}" for one in self._needs() if one.stops]:
            raise PreflightError(
                f"Nothing was sent, because a limit of the org leaves no room:\n  {'; '.join(stops)}",
                "When that is done, run 02_upload again with the same run_id.",
            )

    @staticmethod
    def _nothing_to_send(staged: bool) -> str:
        if staged:
            return "Nothing to send: every batch is settled or skipped."
        return "Warning: zero rows are staged. The upload is skipped and the status record left as it was."

    def _loader(self) -> SalesforceBulkLoader:
        p = self.parameters
        settings: dict[str, Any] = {
            "operation": self.config.operation,
            "logs": self.logs,
            "max_concurrent_jobs": p.max_concurrent_jobs,
            "max_concurrent_uploads": p.max_concurrent_uploads,
            "job_timeout": p.job_timeout,
        }
        target = self.client, self.config.object, self.config.external_id_field
        if self._way != "collections":
            return SalesforceBulkLoader(*target, gzip_upload=p.gzip_upload, **settings)
        counted = self.ledger.setting("target_counted")  # before that nothing was sent
        since = dt.datetime.fromisoformat(counted) if counted else self.client.now()
        return SalesforceCollectionsLoader(*target, since=since, **settings)

    @property
    def _way(self) -> Way:
        """How the slice is sent: as its first upload settled it, else as it would be now (docs/small-sets.md)."""
        settled = self.ledger.setting("way")
        if settled is None:
            small = self._extraction().rows_staged <= self.parameters.small_set
            return "collections" if small and self.config.operation == "upsert" else "jobs"
        return "collections" if settled == "collections" else "jobs"

    def _upload(
        self,
        todo: list[upload_step.Plan],
        again: rounds.Rounds | None = None,
        may_begin: Callable[[Batch], None] = lambda _batch: None,
    ) -> list[JobEnd]:
        self.ledger.forget("target_after")  # an interrupt must not leave the count of an earlier upload
        self.ledger.settle("way", self._way)
        with progress(f"upload {self.config.table}", "rows", sum(one.batch.rows for one in todo)) as bar:

            def settled(one: upload_step.Plan, end: JobEnd) -> None:
                bar.update(one.batch.rows)
                self._log(
                    "job_ended",
                    batch=one.batch.number,
                    round=one.batch.round,
                    job=end.job_id,
                    job_state=end.state,
                    failed_rows=end.failed,
                )

            bar.note = self._in_flight
            try:
                ends = upload_step.upload(
                    todo, self.ledger, self._loader(), self.data, settled, rounds=again, may_begin=may_begin
                )
            finally:
                with suppress(Ora2sfError):  # these last calls alone; what stopped the upload is what is told
                    self._budget.finish()
        self.ledger.record("target_after", self.client.count(self.config.object))
        return ends

    def _in_flight(self) -> str:
        with suppress(Ora2sfError):  # what cannot be read is told by who works with it
            return f"{self.ledger.in_flight():,} job(s) in flight"
        return ""

    def jobs(self) -> Shown:
        """One line per batch: its last job, how it ended, its rows; batches of a later round hold rows that were sent again."""
        times, results, last = self.ledger.times(), rows_by_attempt(self.ledger), self.ledger.last_attempts()
        rows = [
            {
                "batch": batch.number,
                "round": batch.round,
                "rows": batch.rows,
                "job": attempt.job_id if attempt else "",
                "state": (attempt.job_state or attempt.state) if attempt else "not sent",
                **(results.get(attempt.id, {}) if attempt else {}),
                "seconds": _seconds(times.get(attempt.id, {})) if attempt else "",
                "message": (attempt.message if attempt else "") or "",
            }
            for batch in self.ledger.all_batches()
            for attempt in (last.get(batch.number),)
        ]
        bad = any(row["state"] in {"Failed", "Aborted"} for row in rows)
        said = f"{len(rows)} batch(es).{self._rounds_said()}" if rows else "No batch is staged."
        jobs = slice_report.jobs_of(self.ledger)
        pictures = [one for one in (rates(jobs), jobs_over_time(jobs)) if one]
        return Shown(said, rows, "warning" if bad else "plain", pictures=pictures)

    # 03

    def fetch_missing(self) -> Shown:
        """Follows jobs that 02 left running and fetches result files that are not here yet; sends nothing."""
        with self._guarded(), self._alone():
            with progress("check the result files"):
                lost, followed = self._lost_files(), 0
            while open_ones := self._unfinished():
                # one that has to be sent is left out, and the others are followed again
                with suppress(Paused):
                    self._upload(open_ones, may_begin=_nothing_is_sent)
                followed += len(open_ones) - len(self._unfinished())
            if self.ledger.setting("target_before") and not self.ledger.setting("target_after"):
                self.ledger.record("target_after", self.client.count(self.config.object))
            with progress("fetch lost result files", "jobs", len(lost)) as bar:
                for attempt in lost:
                    self._fetch_again(self._loader(), attempt)
                    bar.update()
            self._log("results_fetched", jobs=followed, fetched_again=len(lost))
            if not followed and not lost:
                return Shown("Every result file is here.", tone="good")
            return Shown(f"{followed} job(s) followed, {len(lost)} set(s) of result files fetched again.")

    def _unfinished(self) -> list[upload_step.Plan]:
        """What was begun and is not settled."""
        plans = upload_step.plan(self.ledger)
        return [one for one in plans if one.todo in {"follow", "collect"}]

    def _lost_files(self) -> list[Attempt]:
        """Settled attempts of which a result file is no longer on disk, or not as Salesforce returned it."""
        gone = {r.attempt for r in self.ledger.results() if not is_intact(self.logs, r)}
        return [attempt for attempt in self.ledger.attempts() if attempt.id in gone]

    def _fetch_again(self, loader: SalesforceBulkLoader, attempt: Attempt) -> None:
        try:
            files = loader.fetch_again(attempt.job_id or "")
            self.ledger.fetched_again(attempt.id, {file.kind: file.sha256 for file in files})
        except NotFoundError:
            raise LedgerError(
                f"A result file of job {attempt.job_id} is gone or changed in {self.logs}, and Salesforce does not keep it "
                "(that of a job for 7 days).",
                "Restore salesforce/logs from a backup: without it the books of this run cannot be proven.",
            ) from None

    def balance(self) -> Shown:
        """The books: both sides of every equation."""
        with self._guarded():
            self._looked_at["counted"] = self.ledger.digest()
            with progress("count the rows of every result file"):
                books = self._balance = self._books()
            self._log("books_counted", verdict=books.verdict, **_in_rows(_numbers(books)))
            rows = [
                {"equation": c.name, "left": c.left, "right": c.right, "": _mark(c)} for c in books.checks
            ]
            said = _summary(books, self.config.operation) + self._left_out(books)
            drawn = flow(slice_report.balance_of(books))
            picture = Picture("Every row that Oracle counted, and what became of it", drawn)
            return Shown(said, rows, _TONES[books.verdict], pictures=[picture])

    def _left_out(self, books: reconcile.Balance) -> str:
        """Which batches were not sent, and what to do about rows that may still be sent again."""
        begun = self.ledger.setting("rollback_begun")
        said = (
            f"\nThis run was rolled back ({begun[:19]} UTC); the books are those of its load."
            if begun
            else ""
        )
        if self._whole is not None:
            said += f"\n{self._trial_said().strip()}"
        if books.unsent:
            said += f"\nNot sent: batch {_ranges(books.unsent)} ({books.not_sent:,} rows); 02_upload with start_batch = 1 sends them."
        if due := rounds.due(self.ledger, self._rounds):
            said += f"\n02_upload has to look through the results of {len(due)} batch(es): it looks unknown rows up, and sends again what may pass."
        return said

    def _books(self) -> reconcile.Balance:
        key = self.config.external_id_field
        before, after = self.ledger.setting("target_before"), self.ledger.setting("target_after")
        return reconcile.balance(
            self._extraction(),
            reconcile.outcomes(self.ledger, self.data, self.logs, key),
            self._rejected_path,
            target_before=int(before) if before else None,
            target_after=int(after) if after else None,
            shared_target=self._shared_target,
            since=reconcile.fixed(self.ledger, self.logs, self._rejected_path),
        )

    @property
    def _shared_target(self) -> bool:
        """Others may load the object, too, such as other windows of the table."""
        return self.config.shared_target or self.portion.span is not None

    def failures(self) -> Shown:
        """Failed rows by error, with one example each."""
        with self._guarded():
            found = self._failures()
            total = int(found["rows"].sum() or 0)
            if not total:
                return Shown("Salesforce refused no row.", tone="good")
            return Shown(
                f"Salesforce refused {total:,} rows for {found.height} reason(s).",
                found.to_dicts(),
                "warning",
                bars="rows",
            )

    def _failures(self) -> pl.DataFrame:
        with progress("read the failed rows"):
            return reconcile.failures(self.ledger, self.data, self.logs, self.config.external_id_field)

    def compare(self) -> Shown:
        """Every row that has to be in the org, with every value, as the parameter ``compare`` says."""
        with self._guarded(), self._alone():
            p = self.parameters
            given = comparison.Given(
                self.config, self.ledger, self.data, self.logs, self.folder / "salesforce", self._rejected_path,
                self._target, self._exact_lookups, whole=self._whole is None and self.portion.span is None and self.portion.since is None,
            )  # fmt: skip
            uploads, patience = p.max_concurrent_uploads, p.job_timeout
            bulk = BulkQuery(self.client, given.work / "target", max_downloads=uploads, job_timeout=patience)
            self._looked_at["compared"], begun = self.ledger.digest(), time.monotonic()
            known = self.ledger.setting("target_after") if given.whole and p.how.mode == "full" else None
            total = int(known) if known else None
            with progress(f"read back {self.config.object}", "rows", total) as bar, _or_less():
                found = self._compared = comparison.compare(given, self.client, p.how, bulk, bar.update)
            told = found.as_json()
            self.ledger.record("comparison", json.dumps(told))
            self._keep_contradiction(found)
            state = {"compared": now(), "books": self._looked_at["compared"]}
            self._write("comparison.json", {**state, **told, **found.details()})
            self._log(
                "target_compared", mode=told["mode"], expected_rows=found.expected, compared_rows=found.looked_at,
                missing_rows=found.missing, extra_rows=found.extra, different_rows=found.different,
                different_values=found.different_values, proven=found.proven, seconds=_since(begun),
            )  # fmt: skip
            return comparison_report.shown(found)

    def _keep_contradiction(self, found: comparison.Found) -> None:
        """What a comparison found wrong stands until one that sees as much finds nothing."""
        reach, earlier = list(found.how.reach), self._contradiction()
        refutes = not earlier or reach >= earlier["reach"]
        if found.contradicted and refutes:
            kept = {"mode": found.how.mode, "reach": reach, "made": now()}
            self.ledger.record("contradiction", json.dumps(kept))
        elif earlier and refutes:
            self.ledger.forget("contradiction")

    def _contradiction(self) -> dict[str, Any] | None:
        noted = self.ledger.setting("contradiction")
        return dict(json.loads(noted)) if noted else None

    def totals(self) -> Shown:
        """COUNT, SUM, MIN and MAX of every number, date and datetime, on both sides."""
        return comparison_report.totals(self._compared)

    def verdict(self) -> Shown:
        """The verdict; also in the report, in the status record, in ``status.json`` and recorded in the notebook.

        Raises:
            BalanceError: the books do not balance, or the org does not hold what they say.
            LedgerError: something was sent or fetched since the rows were counted or compared.
        """
        with self._guarded(), self._alone():
            self._refuse_older_looks()
            books, found = self._balance or self._books(), self._compared
            verdict = _verdict(books, found, self._contradiction())
            if verdict == "all rejected" and self._rejected_by_window:
                verdict = "complete with exceptions"
            if self._whole is not None:
                verdict = _OF_A_TRIAL.get(verdict, verdict)
            glue("balance", _numbers(books) | {"verdict": verdict, "whole": self._whole})
            if found:
                glue("comparison", found.as_json())
            slice_report.note_verdict(self.ledger, verdict)
            result = slice_report.Result(books, self._failures(), verdict)
            with progress("write the report, with the checksum of every file"):
                report = slice_report.write(self.folder, self.ledger, result)
            self._tell_verdict(report, verdict, books)
            if verdict in {"does not balance", "does not reconcile"}:
                if self.ledger.attempts():
                    self._update_status("In Progress")
                wrong = _wrong(books, found, self._contradiction())
                raise BalanceError(
                    f"The {'books' if verdict == 'does not balance' else 'rows'} of run {self.parameters.run_id}, "
                    f"table {self.config.table} do not {verdict.split()[-1]}: {'; '.join(wrong)}.",
                    "Run 02_upload again with the same run_id, then 03_reconcile: rows of unknown outcome are looked up."
                    if books.unknown and rounds.due(self.ledger, self._rounds)
                    else f"Do not trust this load. Look into {self.logs}, and keep the folder as it is for the investigation.",
                )
            self._close_status(books)
            self._note(verdict, **_numbers(books), whole=self._whole)
            where = (
                f"Report: {self.folder / evidence.HTML}, with the checksums of {len(report.files.entries):,} files\n"
                f"Result files and rejected rows: {self.logs}"
            )
            said = f" {comparison_report.sentence(found)}" if found else ""
            return Shown(
                f"Verdict: {verdict}. {_summary(books, self.config.operation)}{self._left_out(books)}{said}\n{where}",
                tone=_TONES[verdict],
            )

    def _tell_verdict(self, report: Report, verdict: reconcile.Verdict, books: reconcile.Balance) -> None:
        self._log("report_written", files=len(report.files.entries), digest=report.digest)
        told = {"verdict": verdict, "exit": report.verdict.exit, **_in_rows(_numbers(books))}
        self._log("verdict_reached", _LEVELS[_TONES[verdict]], **told)
        self._tell(
            "verdict", report.verdict.sentence, verdict=verdict, exit=report.verdict.exit, counts=_numbers(books),
            report=(self.folder / evidence.HTML).relative_to(self.run_folder.parent).as_posix(),
        )  # fmt: skip

    def _refuse_older_looks(self) -> None:
        """A notebook can stay open while an upload goes on in another one."""
        books = self.ledger.digest()
        for what, then in self._looked_at.items():
            if then != books:
                raise LedgerError(
                    f"The state of run {self.parameters.run_id} has changed since the rows were {what}.",
                    "Run 03_reconcile again from its first cell.",
                )

    def _close_status(self, books: reconcile.Balance) -> None:
        if self.ledger.setting("rollback_begun"):
            return  # the record tells of the roll-back
        if books.staged == 0 or not any(a.state in SETTLED for a in self.ledger.attempts()):
            return
        whole = not (books.failed or books.unprocessed or books.unknown or books.not_sent)
        self._update_status("Uploaded" if whole else "In Progress")

    # records

    @cached_property
    def _tracker(self) -> SalesforceStatusTracker | None:
        record = self.config.status
        if record is None:
            return None
        return SalesforceStatusTracker(
            self.client,
            sobject=record.object,
            external_id_field=record.external_id_field,
            status_field=record.status_field,
            errors_field=record.errors_field,
        )

    def _upsert_status(self, status: Status, errors: str | None) -> None:
        self.ledger.check_claim()
        if self._tracker and self.config.status:
            named = self.config.status.file_name_field
            fields = ({named: self.external_ref} if named else {}) | self.config.status.fields
            self._tracker.upsert_status(self.external_ref, status, errors=redactor().clean(errors), **fields)
            self._log("status_record_written", record=self.external_ref, status=status)

    def _update_status(self, status: Status, errors: str | None = "") -> None:
        self.ledger.check_claim()
        if self._tracker:
            self._tracker.update_status(self.external_ref, status, errors=redactor().clean(errors))
            self._log("status_record_written", record=self.external_ref, status=status)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Records how a call ended when it fails; what it writes is for its owner alone."""
        try:
            with private_files():
                yield
        except BaseException as error:
            clean_error(error)
            with suppress(OSError, Ora2sfError), private_files():  # a full disk must not hide what happened
                self._note_end(error)
            raise
        with suppress(ClaimedError):  # who only looked on leaves no trace
            self._end_step("ok")

    def _note_end(self, error: BaseException) -> None:
        what = error.what if isinstance(error, Ora2sfError) else type(error).__name__
        self._end_step(f"{type(error).__name__}: {what}")
        state, code = _ending(error), exit_of(type(error).__name__)
        until = {"until": error.until} if isinstance(error, Paused) else {}
        step = error.next_step if isinstance(error, Ora2sfError) else ""
        self._note(state, error=what, next_step=step, exit=code, **until)
        why = fault(error)
        self._log(_ENDINGS[state], **until, **why, exit=code)
        # a bad verdict was told as such; who stopped the step knows it
        if not isinstance(error, KeyboardInterrupt | BalanceError):
            about = "pause" if until else "failure"
            self._tell(
                about,
                f"{self.step}: {state}. {why['meaning']}",
                exit=code,
                error=why["error"],
                code=why["code"],
                **until,
            )

    def _end_step(self, outcome: str) -> None:
        """Records how a call ended; nothing is recorded where another process has the slice.

        Raises:
            ClaimedError: another process has it.
        """
        self.ledger.check_claim()
        if self._invocation is not None:
            self.ledger.end_step(self._invocation, outcome)

    def _note(self, state: str, **details: object) -> None:
        """``status.json`` says where the slice stands; ``log.jsonl`` keeps what happened (:mod:`ora2sf.events`)."""
        self._write("status.json", {"run_id": self.parameters.run_id, "table": self.parameters.table, "window": self.parameters.window,
                                    "step": self.step, "state": state, "at": now(), "process": vars(this_process()), **details})  # fmt: skip

    # the webhook

    def _check_webhook(self) -> None:
        """Says at once that nobody would be told, and not only when there is something to tell."""
        if self.parameters.webhook:
            try:
                webhook.address(get_connection(self.parameters.webhook))
            except ConnectionFieldError as error:
                self._not_told("opening", webhook.Sent(0, 0.0, type(error).__name__), str(error))

    def _tell(self, about: str, sentence: str, **facts: object) -> None:
        """Sends a message once for each event; that it does not come through is said and logged, and changes nothing else."""
        p = self.parameters
        if p.webhook is None or self._invocation is None:
            return
        with suppress(Ora2sfError):
            known = {
                "run_id": p.run_id,
                "table": p.table,
                "window": p.window,
                "step": self.step,
                "object": self.config.object,
            }
            told = webhook.message(about, {**known, "sentence": sentence, **facts}, self.ledger.digest())
            if self.ledger.setting(f"webhook {about}") == told["key"]:
                return
            sent = webhook.send(p.webhook, told)
            if sent.reason:
                self._not_told(about, sent, sent.reason)
            else:
                self.ledger.record(f"webhook {about}", told["key"])
                self._log("webhook_sent", about=about, tries=sent.tries, seconds=sent.seconds)

    def _not_told(self, about: str, sent: webhook.Sent, why: str) -> None:
        print(
            f"Warning: the webhook '{self.parameters.webhook}' was not told of the {about}: {why}",
            file=sys.stderr,
        )
        self._log("webhook_failed", about=about, tries=sent.tries, seconds=sent.seconds, reason=sent.reason)

    def _log_move(self, batch: int, attempt: int, state: str, job: str | None) -> None:
        self._log("attempt_moved", batch=batch, attempt=attempt, state=state, job=job)

    def _kept(self) -> dict[str, Any]:
        """``preflight.json``, its parts by name; nothing if it is not there or not whole."""
        with suppress(OSError, ValueError):
            kept: dict[str, Any] = json.loads((self.folder / "preflight.json").read_text(encoding="utf-8"))
            return kept
        return {}

    def _keep(self, part: str, value: Mapping[str, object]) -> None:
        """Puts one part of ``preflight.json`` in the place of an earlier one (docs/preflight.md)."""
        self._write("preflight.json", self._kept() | {"version": 1, part: value})

    def _write(self, name: str, value: Mapping[str, object]) -> None:
        self.ledger.check_claim()
        part = self.folder / f"{name}.part"
        part.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        part.replace(self.folder / name)


def _not_logged(_event: str, **_: object) -> None:
    """Who only looks on leaves no trace."""


def _since(begun: float) -> float:
    """Seconds since a moment of the monotonic clock."""
    return round(time.monotonic() - begun, 3)


def _pace(rows: int, seconds: float) -> dict[str, float]:
    return {"seconds": round(seconds, 3)} | ({"rows_per_second": round(rows / seconds, 1)} if seconds else {})


def _in_rows(numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{name}_rows": number for name, number in numbers.items()}


def _ending(error: BaseException) -> str:
    if isinstance(error, Paused):
        return "paused by budget"
    return "stopped, can be resumed" if isinstance(error, TransientError | KeyboardInterrupt) else "failed"


def _make_folders(*folders: Path) -> None:
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / ".probe"
            probe.touch()
            probe.unlink()
    except OSError as error:
        raise RunFolderError(
            f"The run's folder {folders[0]} cannot be written: {error.strerror}.",
            "Correct outputs, or the permissions of that folder.",
        ) from None


def _distinct(profile: Mapping[str, Any]) -> int | str:
    if profile["distinct"] is None or profile["distinct_is_exact"]:
        return profile["distinct"] if profile["distinct"] is not None else ""
    return f"about {profile['distinct']:,}"


def _lines_of(finding: data_check.Finding) -> Iterator[dict[str, Any]]:
    """A line for a finding, and one for each further example."""
    first, *others = finding.examples[:_MOST_EXAMPLES] or ("",)
    yield {"field": finding.field, "what": finding.what, "rows": finding.rows, "such as": first}
    yield from ({"such as": example} for example in others)


@contextmanager
def _or_less() -> Iterator[None]:
    """An org that refuses to be read back does not keep the books from their verdict."""
    try:
        yield
    except NotFoundError:
        raise
    except TargetError as error:
        step = (
            f"{error.next_step} With compare = counts, 03_reconcile comes to the verdict of the books alone."
        )
        raise TargetError(error.what, step, status=error.status, error_code=error.error_code) from None


def _verdict(
    books: reconcile.Balance, found: comparison.Found | None, contradiction: Mapping[str, Any] | None
) -> reconcile.Verdict:
    """What the books say, and what the org itself says where it was asked, now or earlier."""
    if books.verdict == "does not balance":
        return books.verdict
    if contradiction:
        return "does not reconcile"
    return "proven" if books.verdict == "complete" and found and found.proven else books.verdict


def _wrong(
    books: reconcile.Balance, found: comparison.Found | None, contradiction: Mapping[str, Any] | None
) -> list[str]:
    wrong = [f"{c.name}: {c.left:,} against {c.right:,}" for c in books.checks if not c.holds and c.enforced]
    if contradiction and not (found and found.contradicted):
        earlier = f"what compare = {contradiction['mode']} found wrong at {contradiction['made'][:19]} UTC"
        wrong.append(f"{earlier} still stands, and only the same or more can refute it")
    if found is None:
        return wrong
    unequal = [f"{line.field}: the totals differ" for line in found.lines if line.differs]
    return wrong + (found.examples or unequal)  # one missing row makes every total differ


def _numbers(books: reconcile.Balance) -> dict[str, Any]:
    names = ("source", "read", "rejected", "staged", "success", "created", "updated", "removed", "failed", "unprocessed", "unknown", "not_sent", "recovered", "excluded", "excluded_rejected", "target_before", "target_after")  # fmt: skip
    return {name: getattr(books, name) for name in names}


def _summary(books: reconcile.Balance, operation: str) -> str:
    how = f"{books.created:,} created, {books.updated:,} updated"
    if operation == "delete":
        how = f"{books.removed:,} deleted, {books.updated:,} were not there"
    parts = [f"{books.source:,} in the source", f"{books.staged:,} staged", f"{books.rejected:,} rejected",
             f"{books.success:,} successful ({how})",
             f"{books.failed:,} failed"]  # fmt: skip
    for number, word in (
        (books.unprocessed, "unprocessed"),
        (books.unknown, "unknown"),
        (books.not_sent, "not sent"),
        (books.excluded + books.excluded_rejected, "excluded"),
        (books.recovered, "of the staged rows rejected at first"),
    ):
        if number:
            parts.append(f"{number:,} {word}")
    if books.target_after is not None:
        parts.append(f"{books.target_after:,} in the target")
    return ", ".join(parts) + "."


def _ranges(numbers: tuple[int, ...]) -> str:
    """1-3, 7"""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _nothing_is_sent(batch: Batch) -> None:
    raise Paused(
        f"Batch {batch.number} has to be sent, which is not done here.", "Run 02_upload with the same run_id."
    )


def _mark(check: reconcile.Check) -> str:
    return "✓" if check.holds else ("✗" if check.enforced else "differs, others write too")


def _side_by_side(spec: AnyField, sample: extraction_step.Sample) -> dict[str, Any]:
    names = spec.source
    line: dict[str, Any] = {"field": spec.field, "source": " + ".join(names)}
    for i in range(sample.after.height):
        if sample.before.height:
            row = sample.before.row(i, named=True)
            line[f"before {i + 1}"] = row[names[0]] if len(names) == 1 else shown(row, spec)
        line[f"after {i + 1}"] = sample.after[spec.header][i]
    return line


def _made_reference(table: str, run_id: str) -> str:
    """Table and run_id in letters, digits and ``_``; what had to be changed for it gets a hash, so that no two meet."""
    name = f"{table}_{run_id}"
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    if plain == name and len(name) <= MOST_REFERENCE:
        return name
    return f"{plain[: MOST_REFERENCE - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _seconds(times: Mapping[str, str]) -> float | str:
    if "created" not in times or "fetched" not in times:
        return ""
    begun, ended = (dt.datetime.fromisoformat(times[name]) for name in ("created", "fetched"))
    return round((ended - begun).total_seconds(), 1)
