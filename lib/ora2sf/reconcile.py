"""One step: do the books balance? Every staged key is looked for in the result files of its batch."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import polars as pl

from ora2sf.batches import RejectedFile
from ora2sf.ledger import SETTLED, Attempt, Batch, Extraction, Kind, Ledger, Lookup, Result
from ora2sf.results import (
    CODE,
    Fates,
    by_attempt,
    fates,
    ids_path,
    looked_up,
    present,
    round_after,
    sent_again,
    with_key,
)

Verdict = Literal[
    "proven",
    "complete",
    "complete with exceptions",
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
    """The books of one slice; each number counts rows, but for ``unsent``: the batches that were not sent."""

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
        return "complete with exceptions" if self.failed or self.rejected else "complete"


def outcomes(ledger: Ledger, data: Path, logs: Path, key: str) -> list[Outcome]:
    """What became of each batch; one batch is in memory at a time, beside the keys of rows that were sent again.

    A row counts in the last batch that it stands in, so each staged row counts once.

    Args:
        key: the column of the external id; result rows come unordered and are joined by it alone.
    """
    last, files, lookups = ledger.last_attempts(), by_attempt(ledger), ledger.lookups()
    resent = ledger.sent_again()
    again, deletes = sent_again(ledger, data, key), ledger.setting("operation") == "delete"
    found = []
    for batch in ledger.all_batches():
        attempt = last.get(batch.number)
        if attempt is None or attempt.state not in SETTLED:
            found.append(_unsettled(batch, attempt))
        else:
            later = again.filter(round_after(batch)) if attempt.id in resent else again.clear()
            rows = fates(batch, files.get(attempt.id, {}), data, logs, key)
            results = files.get(attempt.id, {})
            one = _outcome(batch, attempt, rows, results, lookups.get(attempt.id), later, logs)
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
    logs: Path,
) -> Outcome:
    rows = found.rows.join(later, on="key", how="anti")
    told = looked_up(rows, lookup, logs)
    rows = rows.join(told, on="key", how="left").with_columns(pl.coalesce("outcome", "kind").alias("kind"))
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
    )


def is_intact(logs: Path, result: Result | Lookup) -> bool:
    """The result file is on disk, as Salesforce returned it."""
    path = logs / result.file
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == result.sha256


def balance(
    extraction: Extraction,
    found: list[Outcome],
    rejected_path: Path,
    *,
    target_before: int | None,
    target_after: int | None,
    shared_target: bool,
) -> Balance:
    """Adds the outcomes up and compares both sides of every equation."""
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
            "surplus",
            "altered",
            "found",
        )
    }
    surplus, altered, maybe = total.pop("surplus"), total.pop("altered"), total.pop("found")
    read, staged, rejected = extraction.rows_read, extraction.rows_staged, extraction.rows_rejected
    accounted = sum(total[name] for name in ("success", "failed", "unprocessed", "unknown", "not_sent"))
    checks = [
        Check("source COUNT = rows read", extraction.source_count, read),
        Check("rows read = staged + rejected", read, staged + rejected),
        Check("lines in the rejected file = rejected", _lines(rejected_path), rejected),
        Check("staged = successful + failed + unprocessed + unknown + not sent", staged, accounted),
        Check("unknown = 0", total["unknown"], 0),
        Check("result rows that were never staged, or came twice = 0", surplus, 0),
        Check("result files changed since they were fetched = 0", altered, 0),
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
    last, files, again = ledger.last_attempts(), by_attempt(ledger), sent_again(ledger, data, key)
    refused = [
        _refused(batch, present(logs / failed.file), data, key, again)
        for batch in ledger.all_batches()
        if (attempt := last.get(batch.number)) and attempt.state == "fetched"
        if (failed := files[attempt.id]["failed"]).rows
    ]
    parts = refused + [_without_record(present(logs / one.file)) for one in ledger.lookups().values()]
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


def _refused(batch: Batch, path: Path, data: Path, key: str, again: pl.DataFrame) -> pl.LazyFrame:
    """The failed rows of a batch, without those that were sent again later."""
    error, later = pl.col("sf__Error"), again.lazy().filter(round_after(batch))
    lines = with_key(pl.scan_csv(path, infer_schema=False), key, ids_path(data, batch))
    return lines.join(later, left_on=key, right_on="key", how="anti").select(
        CODE.alias("code"),
        error.str.extract(r":([^:]*?) ?--\s*$").fill_null("").alias("fields"),
        # without a field at the end; else all lookups of a table would be one reason
        error.str.extract(r"not found for field (\S+ in entity \w+)").alias("reference"),
        error.alias("message"),
        pl.col(key).alias("key"),
    )


def _without_record(lookup: Path) -> pl.LazyFrame:
    """Rows of an update whose key no record has: their job never had them."""
    nothing = pl.lit(None, pl.String)
    return (
        pl.scan_csv(lookup, infer_schema=False)
        .filter(outcome="failed")
        .select(
            pl.lit("NOT_FOUND").alias("code"),
            pl.lit("").alias("fields"),
            nothing.alias("reference"),
            pl.lit("no record has this key").alias("message"),
            pl.nth(0).alias("key"),
        )
    )
