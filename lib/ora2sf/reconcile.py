"""One step: do the books balance? Every staged key is looked for in the result files of its batch."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from ora2sf.batches import RejectedFile, read_batch
from ora2sf.errors import RunFolderError
from ora2sf.ledger import KINDS, Attempt, Batch, Extraction, Kind, Ledger, Result

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
        unknown: staged keys that are in no result file.
        altered: result files that are not the bytes that Salesforce returned.
        surplus: result rows whose key was not staged in this batch, or that came twice.
    """

    batch: int
    job_id: str
    success: int = 0
    failed: int = 0
    unprocessed: int = 0
    unknown: int = 0
    not_sent: int = 0
    altered: int = 0
    surplus: int = 0
    created: int = 0


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
    """The books of one slice; each number counts rows."""

    source: int
    read: int
    rejected: int
    staged: int
    success: int
    created: int
    failed: int
    unprocessed: int
    unknown: int
    not_sent: int
    target_before: int | None
    target_after: int | None
    checks: tuple[Check, ...]

    @property
    def updated(self) -> int:
        """Successful rows that existed before."""
        return self.success - self.created

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
    """What became of each batch; one batch is in memory at a time.

    Args:
        key: the column of the external id; result rows come unordered and are joined by it alone.
    """
    last = ledger.last_attempts()
    files: dict[int, dict[Kind, Result]] = {}
    for result in ledger.results():
        files.setdefault(result.attempt, {})[result.kind] = result
    return [_outcome(batch, last.get(batch.number), files, data, logs, key) for batch in ledger.batches()]


def _outcome(
    batch: Batch,
    attempt: Attempt | None,
    files: dict[int, dict[Kind, Result]],
    data: Path,
    logs: Path,
    key: str,
) -> Outcome:
    if attempt is None or attempt.state == "given_up":
        return Outcome(batch.number, "", not_sent=batch.rows)
    if attempt.state != "fetched":
        return Outcome(batch.number, attempt.job_id or "", unknown=batch.rows)
    results = files[attempt.id]
    staged = read_batch(_present(data / batch.file)).select(key)
    found = pl.concat([_keys(_present(logs / results[kind].file), kind, key) for kind in KINDS])
    known = found.join(staged, on=key, how="semi").unique(key, keep="first", maintain_order=True)
    by_kind = Counter(known["kind"].to_list())
    return Outcome(
        batch.number,
        attempt.job_id or "",
        success=by_kind["success"],
        failed=by_kind["failed"],
        unprocessed=by_kind["unprocessed"],
        unknown=batch.rows - known.height,
        surplus=found.height - known.height,
        altered=sum(not is_intact(logs, result) for result in results.values()),
        created=results["success"].created,
    )


def _keys(path: Path, kind: Kind, key: str) -> pl.DataFrame:
    if path.stat().st_size == 0:
        return pl.DataFrame(schema={key: pl.String, "kind": pl.String})
    lines = _with_key(pl.scan_csv(path, infer_schema=False), key)
    return lines.select(pl.col(key).fill_null(""), pl.lit(kind).alias("kind")).collect()


def _with_key(lines: pl.LazyFrame, key: str) -> pl.LazyFrame:
    """A job whose file Salesforce could not read gives headers without the sent columns: the key is empty then."""
    return lines if key in lines.collect_schema().names() else lines.with_columns(pl.lit("").alias(key))


def is_intact(logs: Path, result: Result) -> bool:
    """The result file is on disk, as Salesforce returned it."""
    path = logs / result.file
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == result.sha256


def _present(path: Path) -> Path:
    if not path.is_file():
        raise RunFolderError(
            f"{path} is gone: without it the books of this run cannot be proven.",
            "Restore it from a backup; a result file that Salesforce still keeps (7 days) is fetched by 03_reconcile.",
        )
    return path


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
            "failed",
            "unprocessed",
            "unknown",
            "not_sent",
            "surplus",
            "altered",
        )
    }
    surplus, altered = total.pop("surplus"), total.pop("altered")
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
        grown = target_after - target_before
        checks.append(
            Check("target COUNT after - before = created", grown, total["created"], not shared_target)
        )
    return Balance(
        source=extraction.source_count,
        read=read,
        rejected=rejected,
        staged=staged,
        target_before=target_before,
        target_after=target_after,
        checks=tuple(checks),
        **total,
    )


def _lines(path: Path) -> int:
    """Rows in the rejected file."""
    count = pl.scan_csv(
        _present(path), infer_schema=False, schema=dict.fromkeys(RejectedFile.HEADER, pl.String)
    )
    return int(count.select(pl.len()).collect().item())


def failures(ledger: Ledger, logs: Path, key: str) -> pl.DataFrame:
    """Failed rows by error: ``code``, ``fields``, ``rows``, ``message`` and ``key`` of one example.

    References that are not found are told apart by the object that they refer to.

    ``sf__Error`` reads ``CODE:message:Field1,Field2 --`` (Bulk API 2.0 guide: Get Job Failed Record Results).
    """
    fetched = {attempt.id for attempt in ledger.last_attempts().values() if attempt.state == "fetched"}
    paths = [
        logs / r.file for r in ledger.results() if r.kind == "failed" and r.rows and r.attempt in fetched
    ]
    if not paths:
        texts = dict.fromkeys(("message", "key"), pl.String)
        return pl.DataFrame(schema={"code": pl.String, "fields": pl.String, "rows": pl.UInt32, **texts})
    error = pl.col("sf__Error")
    parts = [
        _with_key(pl.scan_csv(_present(path), infer_schema=False), key).select(
            error.str.extract(r"^([A-Z_]+)").fill_null("UNKNOWN").alias("code"),
            error.str.extract(r":([^:]*?) ?--\s*$").fill_null("").alias("fields"),
            # without a field at the end; else all lookups of a table would be one reason
            error.str.extract(r"not found for field (\S+ in entity \w+)").alias("reference"),
            error.alias("message"),
            pl.col(key).alias("key"),
        )
        for path in paths
    ]
    grouped = (
        pl.concat(parts)
        .group_by("code", "fields", "reference")
        .agg(pl.len().alias("rows"), pl.col("message").min(), pl.col("key").sort_by("message").first())
    )
    ordered = grouped.sort("rows", "code", "fields", "message", descending=[True, False, False, False])
    return ordered.drop("reference").collect()
