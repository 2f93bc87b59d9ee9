"""One step: do the books balance? Every staged key is looked for in the result files of its batch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import polars as pl

from ora2sf.batches import RejectedFile
from ora2sf.ledger import SETTLED, Attempt, Batch, Extraction, Kind, Ledger, Lookup, Result
from ora2sf.results import (
    Fates,
    by_attempt,
    excluded,
    failed_rows,
    fates,
    is_intact,
    looked_up,
    present,
    rejected_rows,
    round_after,
    sent_again,
)

Verdict = Literal[
    "proven",
    "complete",
    "complete with exceptions",
    "trial",
    "trial with exceptions",
    "incomplete",
    "all rejected",
    "nothing to do",
    "does not reconcile",
    "does not balance",
]


@dataclass(frozen=True)
class Outcome:
    """What became of one batch, by key.

    Attributes:
        unknown: staged keys that are in no result file, and of which a look into the org could not tell either.
        again: rows that were sent again: they count in the batch of the later round.
        excluded: failed rows that somebody excluded, with a reason.
        altered: result files that are not the bytes that Salesforce returned.
        surplus: result rows whose key was not staged in this batch, or that came twice.
        removed: records that a delete took.
        found: rows that no result file knew and that were in the org all the same: this job may have created them. Of
            a delete, below zero: rows that were not there, which it may have deleted.
    """

    batch: int
    job_id: str
    round: int = 0
    success: int = 0
    failed: int = 0
    unprocessed: int = 0
    unknown: int = 0
    not_sent: int = 0
    again: int = 0
    altered: int = 0
    surplus: int = 0
    created: int = 0
    removed: int = 0
    found: int = 0
    excluded: int = 0


@dataclass(frozen=True)
class Fixed:
    """What was done about rejected rows since the extraction.

    Attributes:
        recovered: rejected rows that were converted or edited since, and staged.
        excluded: rejected rows that somebody excluded; waiting: those left, counted in the file.
        altered: lists of fixed rows that are not what was recorded.
    """

    recovered: int
    excluded: int
    waiting: int
    altered: int


@dataclass(frozen=True)
class Check:
    """One line of the balance; ``enforced`` ones decide the verdict."""

    name: str
    left: int
    right: int
    enforced: bool = True

    @property
    def holds(self) -> bool:
        """Both sides are equal."""
        return self.left == self.right


@dataclass(frozen=True)
class Balance:
    """The books of one slice; each number counts rows, but for ``unsent``: the batches that were not sent.

    ``staged`` includes ``recovered`` rows, which the extraction had rejected. ``excluded`` are staged rows, and
    ``excluded_rejected`` rejected ones, that somebody left out with a reason.
    """

    source: int
    read: int
    rejected: int
    staged: int
    success: int
    created: int
    removed: int
    failed: int
    unprocessed: int
    unknown: int
    not_sent: int
    unsent: tuple[int, ...]
    target_before: int | None
    target_after: int | None
    checks: tuple[Check, ...]
    recovered: int = 0
    excluded: int = 0
    excluded_rejected: int = 0

    @property
    def updated(self) -> int:
        """Successful rows that existed before."""
        return self.success - self.created - self.removed

    @property
    def verdict(self) -> Verdict:
        """What the books say."""
        if any(check.enforced and not check.holds for check in self.checks):
            return "does not balance"
        if self.not_sent or self.unprocessed:
            return "incomplete"
        if self.staged == 0:
            return "all rejected" if self.rejected else "nothing to do"
        left_out = self.failed or self.rejected or self.excluded or self.excluded_rejected
        return "complete with exceptions" if left_out else "complete"


def outcomes(ledger: Ledger, data: Path, logs: Path, key: str) -> list[Outcome]:
    """What became of each batch; one batch is in memory at a time, beside the keys of rows that were sent again.

    A row counts in the last batch that it stands in, so each staged row counts once.

    Args:
        key: the column of the external id; result rows come unordered and are joined by it alone.
    """
    last, files, lookups = ledger.last_attempts(), by_attempt(ledger), ledger.lookups()
    resent, fixes = ledger.sent_again(), ledger.fixes()
    again, deletes = sent_again(ledger, data, key), ledger.setting("operation") == "delete"
    out = excluded(ledger, logs).select("key")
    found = []
    for batch in ledger.all_batches():
        attempt = last.get(batch.number)
        if attempt is None or attempt.state not in SETTLED:
            found.append(_unsettled(batch, attempt))
        else:
            moved = fixes or attempt.id in resent
            later = again.filter(round_after(batch)) if moved else again.clear()
            rows = fates(batch, files.get(attempt.id, {}), data, logs, key)
            results = files.get(attempt.id, {})
            one = _outcome(batch, attempt, rows, results, lookups.get(attempt.id), later, out, logs)
            found.append(_deleting(one, results, lookups.get(attempt.id)) if deletes else one)
    return found


def _deleting(one: Outcome, results: dict[Kind, Result], lookup: Lookup | None) -> Outcome:
    """A row that a look did not find may have been deleted by this job, or never have been there."""
    removed = results["success"].rows if results else 0
    return replace(one, created=0, removed=removed, found=lookup.found - lookup.rows if lookup else 0)


def _unsettled(batch: Batch, attempt: Attempt | None) -> Outcome:
    if attempt is None or attempt.state == "given_up":
        return Outcome(batch.number, "", round=batch.round, not_sent=batch.rows)
    return Outcome(batch.number, attempt.job_id or "", round=batch.round, unknown=batch.rows)


def _outcome(
    batch: Batch,
    attempt: Attempt,
    found: Fates,
    results: dict[Kind, Result],
    lookup: Lookup | None,
    later: pl.DataFrame,
    out: pl.DataFrame,
    logs: Path,
) -> Outcome:
    rows = found.rows.join(later, on="key", how="anti")
    told = looked_up(rows, lookup, logs)
    rows = rows.join(told, on="key", how="left").with_columns(pl.coalesce("outcome", "kind").alias("kind"))
    left_out = (pl.col("kind") == "failed") & pl.col("key").is_in(out["key"].implode())
    rows = rows.with_columns(kind=pl.when(left_out).then(pl.lit("excluded")).otherwise("kind"))
    by_kind = Counter(rows["kind"].to_list())
    made = told.filter(outcome="success").height
    return Outcome(
        batch.number,
        attempt.job_id or "",
        round=batch.round,
        success=by_kind["success"],
        failed=by_kind["failed"],
        unprocessed=by_kind["unprocessed"],
        unknown=by_kind["unknown"],
        again=batch.rows - rows.height,
        surplus=found.surplus,
        altered=sum(not is_intact(logs, one) for one in results.values())
        + (lookup is not None and not is_intact(logs, lookup)),
        created=made + (results["success"].created if results else 0),
        found=lookup.found - made if lookup else 0,
        excluded=by_kind["excluded"],
    )


def fixed(ledger: Ledger, logs: Path, rejected: Path) -> Fixed | None:
    """What was done about rejected rows since the extraction; None if nobody fixed anything."""
    fixes = ledger.fixes()
    if not fixes:
        return None
    return Fixed(
        recovered=sum(fix.rejected for fix in fixes if fix.way != "exclude"),
        excluded=sum(fix.rejected for fix in fixes if fix.way == "exclude"),
        waiting=int(rejected_rows(ledger, logs, rejected).select(pl.len()).collect().item()),
        altered=sum(not is_intact(logs, fix) for fix in fixes),
    )


def balance(
    extraction: Extraction,
    found: list[Outcome],
    rejected_path: Path,
    *,
    target_before: int | None,
    target_after: int | None,
    shared_target: bool,
    since: Fixed | None = None,
) -> Balance:
    """Adds the outcomes up and compares both sides of every equation; ``since``: what was done about rejected rows."""
    total = {
        name: sum(getattr(one, name) for one in found)
        for name in (
            "success",
            "created",
            "removed",
            "failed",
            "unprocessed",
            "unknown",
            "not_sent",
            "excluded",
            "surplus",
            "altered",
            "found",
        )
    }
    surplus, altered, maybe = total.pop("surplus"), total.pop("altered"), total.pop("found")
    since = since or Fixed(0, 0, extraction.rows_rejected, 0)
    read, staged, rejected = extraction.rows_read, extraction.rows_staged + since.recovered, since.waiting
    counted = ("success", "failed", "unprocessed", "unknown", "not_sent", "excluded")
    accounted, left_out = sum(total[name] for name in counted), total["excluded"] or since.excluded
    also = " + excluded" if left_out else ""
    checks = [
        Check("source COUNT = rows read", extraction.source_count, read),
        Check(f"rows read = staged + rejected{also}", read, staged + rejected + since.excluded),
        Check("lines in the rejected file = rejected", _lines(rejected_path), extraction.rows_rejected),
        Check(f"staged = successful + failed + unprocessed + unknown + not sent{also}", staged, accounted),
        Check("unknown = 0", total["unknown"], 0),
        Check("result rows that were never staged, or came twice = 0", surplus, 0),
        Check("result files changed since they were fetched = 0", altered + since.altered, 0),
    ]
    if target_before is not None and target_after is not None:
        grown, told = target_after - target_before, total["created"] - total["removed"]
        lost = max(min(maybe, 0), min(max(maybe, 0), grown - told))  # done by a job whose result was lost
        name = "target COUNT after - before = created" + (" - deleted" if total["removed"] else "")
        checks.append(Check(name, grown, told + lost, not shared_target))
    return Balance(
        source=extraction.source_count,
        read=read,
        rejected=rejected,
        staged=staged,
        unsent=tuple(one.batch for one in found if one.not_sent),
        target_before=target_before,
        target_after=target_after,
        checks=tuple(checks),
        recovered=since.recovered,
        excluded_rejected=since.excluded,
        **total,
    )


def _lines(path: Path) -> int:
    """Rows in the rejected file."""
    count = pl.scan_csv(
        present(path), infer_schema=False, schema=dict.fromkeys(RejectedFile.HEADER, pl.String)
    )
    return int(count.select(pl.len()).collect().item())


def failures(ledger: Ledger, data: Path, logs: Path, key: str) -> pl.DataFrame:
    """Rows whose last outcome is failed, by error: ``code``, ``fields``, ``rows``, ``message`` and ``key`` of one example.

    References that are not found are told apart by the object that they refer to.

    ``sf__Error`` reads ``CODE:message:Field1,Field2 --`` (Bulk API 2.0 guide: Get Job Failed Record Results).
    """
    parts = [rows for _, rows in failed_rows(ledger, data, logs, key)]
    if not parts:
        texts = dict.fromkeys(("message", "key"), pl.String)
        return pl.DataFrame(schema={"code": pl.String, "fields": pl.String, "rows": pl.UInt32, **texts})
    grouped = (
        pl.concat(parts)
        .group_by("code", "fields", "reference")
        .agg(pl.len().alias("rows"), pl.col("message").min(), pl.col("key").sort_by("message", "key").first())
    )
    ordered = grouped.sort("rows", "code", "fields", "message", descending=[True, False, False, False])
    return ordered.drop("reference").collect()
