"""What is sent again: rows that failed for a passing reason, rows that were never looked at, rows of unknown outcome.

When all jobs of a round have settled, their results are looked through once. Rows that no result file knows are looked
up in the org. What is to be sent again is staged as the batches of the next round: smaller, the rows of one parent still
together. The ledger learns of lookups and batches in one transaction, before anything of them is sent; from then on they are
batches like others.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from ora2sf import results
from ora2sf.batches import BatchWriter, read_staged
from ora2sf.identify import ids
from ora2sf.ledger import Attempt, Batch, Ledger, Lookup, Sifted
from ora2sf.salesforce import SalesforceBulkLoader, reasons
from ora2sf.tables import DEFAULT_ROUNDS

#: Rows in a batch of the first, second, … round that sends again: one internal batch at most, then fewer and fewer.
_SIZES = (10_000, 2_000, 400)

Fate = Literal["success", "failed", "unprocessed", "unknown", "again"]


@dataclass(frozen=True)
class Rounds:
    """How rows are sent again.

    Attributes:
        most: rounds that follow the first sending at most.
        pause: seconds before the first of them; each further one waits twice as long.
        parent: the column of the parent, whose rows stay in one batch.
    """

    most: int = DEFAULT_ROUNDS
    pause: float = 5.0
    parent: str | None = None

    def pause_before(self, number: int) -> float:
        """Seconds to wait before that round begins."""
        return self.pause * 2.0 ** (number - 1)


def due(ledger: Ledger, rounds: Rounds) -> list[tuple[Batch, Attempt]]:
    """Settled batches whose results still have to be looked through: something of them may be sent again or looked up."""
    told, lookups = results.rows_by_attempt(ledger), ledger.lookups()
    found = []
    for batch, attempt in ledger.to_sift():
        rows = told.get(attempt.id, {})
        clean = rows.get("success") == batch.rows
        unknown = sum(rows.values()) < batch.rows and attempt.id not in lookups
        if not attempt.refused and not clean and (unknown or _may_go_again(ledger, batch, attempt, rounds)):
            found.append((batch, attempt))
    return found


def tries(ledger: Ledger, number: int) -> int:
    """How often the rows of a round were sent again, since the extraction staged them or somebody fixed them."""
    return number - max((fix.round for fix in ledger.fixes() if fix.round <= number), default=0)


def _may_go_again(ledger: Ledger, batch: Batch, attempt: Attempt, rounds: Rounds) -> bool:
    """A day's allocation that was used up costs a batch none of its rounds."""
    quota = attempt.job_state == "Failed" and reasons.of_job(attempt.message or "") == "quota"
    return tries(ledger, batch.round) < rounds.most or quota


def next_round(ledger: Ledger, loader: SalesforceBulkLoader, data: Path, rounds: Rounds) -> list[Batch]:
    """Looks through the results of the lowest round that has any left, and stages what is to be sent again."""
    todo = due(ledger, rounds)
    if not todo:
        return []
    lowest = min(batch.round for batch, _ in todo)
    # a round of its own where fixed rows have the next one
    highest = max(batch.round for batch in ledger.all_batches()) if ledger.fixes() else lowest
    sieve = _Sieve(ledger, loader, data, rounds, highest + 1)
    try:
        sifted = [sieve.take(batch, attempt) for batch, attempt in todo if batch.round == lowest]
        batches = sieve.finish()
    except BaseException:
        sieve.abandon()
        raise
    ledger.add_round(sifted, batches)
    return batches or next_round(ledger, loader, data, rounds)


class _Sieve:
    """Looks through the results of one batch after the other; one batch is in memory at a time."""

    def __init__(
        self, ledger: Ledger, loader: SalesforceBulkLoader, data: Path, rounds: Rounds, number: int
    ) -> None:
        self._ledger, self._loader, self._data, self._rounds = ledger, loader, data, rounds
        self._number, self._tries = number, tries(ledger, number)
        self._files, self._batches = results.by_attempt(ledger), ledger.all_batches()
        self._writer: BatchWriter | None = None
        key, fixed = loader.external_id_field, bool(ledger.fixes())
        self._later = results.later_fates(ledger, data, loader.logs, key) if fixed else None

    def take(self, batch: Batch, attempt: Attempt) -> Sifted:
        """Stages the rows of a batch that are to be sent again, after unknown ones were looked up."""
        key, again = self._loader.external_id_field, _may_go_again(self._ledger, batch, attempt, self._rounds)
        found = results.fates(batch, self._files.get(attempt.id, {}), self._data, self._loader.logs, key).rows
        if self._later is not None:  # what somebody fixed or excluded is not sent again as it was
            found = found.join(self._later.filter(results.round_after(batch)), on="key", how="anti")
        unknown = found.filter(kind="unknown").select("key")
        lookup, looked_up = None, unknown
        if unknown.height:
            lookup, looked_up = self._look_up(attempt, unknown, again=again)
        passing = (pl.col("kind") == "unprocessed") | pl.col("code").is_in(reasons.PASSING)
        keys = pl.concat([found.filter(passing, again).select("key"), looked_up])
        if keys.height:
            staged = read_staged(self._data, batch)
            self._write(staged.join(keys, left_on=key, right_on="key", how="semi", maintain_order="left"))
        return Sifted(attempt.id, keys.height if again else None, lookup)

    def _write(self, rows: pl.DataFrame) -> None:
        self._writer = self._writer or self._new_writer(tuple(rows.columns))
        self._writer.add(rows)

    def _new_writer(self, header: tuple[str, ...]) -> BatchWriter:
        first = self._batches[0]
        size = min(max(batch.rows for batch in self._batches), _SIZES[min(self._tries, len(_SIZES)) - 1])
        return BatchWriter(
            self._data,
            re.sub(r"_\d+\.csv\.gz$", f"_again{self._number}", first.file),
            header,
            self._loader.external_id_field,
            size,
            parent=self._rounds.parent,
            first=self._ledger.next_batch(),
            round_number=self._number,
        )

    def finish(self) -> list[Batch]:
        return self._writer.finish() if self._writer else []

    def abandon(self) -> None:
        if self._writer:
            self._writer.abandon()

    def _look_up(
        self, attempt: Attempt, unknown: pl.DataFrame, *, again: bool
    ) -> tuple[Lookup, pl.DataFrame]:
        """Asks the org for the keys, and keeps the answer beside the result files; also the keys to send again."""
        loader = self._loader
        there = ids(loader.client, loader.sobject, loader.external_id_field, unknown["key"]).is_not_null()
        asked = unknown.with_columns(found=there).with_columns(
            outcome=pl.when(pl.col("found"))
            .then(pl.lit(self._fate(found=True, again=again)))
            .otherwise(pl.lit(self._fate(found=False, again=again)))
        )
        path = loader.logs / f"{loader.sobject}_{attempt.job_id}_lookup.csv"
        sha256 = _save(asked.rename({"key": loader.external_id_field}), path)
        lookup = Lookup(attempt.id, path.name, asked.height, int(there.sum()), sha256)
        return lookup, asked.filter(outcome="again").select("key")

    def _fate(self, *, found: bool, again: bool) -> Fate:
        """What a lookup proves.

        A record that an insert made is there, and one that a delete took is not; that one is there proves no value of an
        upsert or update, and an update of none cannot pass.
        """
        operation = self._loader.operation
        if found == (operation == "insert") and operation in {"insert", "delete"}:
            return "success"
        if operation == "update" and not found:
            return "failed"
        if again:
            return "again"
        return "unknown" if found and operation != "delete" else "unprocessed"


def _save(rows: pl.DataFrame, path: Path) -> str:
    """Writes a CSV file whole or not at all; returns its sha256."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        rows.write_csv(file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()
