"""One step: what a run created, by the Ids in its own success files, and whether it may be deleted.

Only an untouched success file proves that this run created a record, so nothing else is ever deleted. One file is in memory at a time.
"""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

import polars as pl

from ora2sf import results
from ora2sf.batches import BatchWriter
from ora2sf.errors import LedgerError, TargetError
from ora2sf.identify import ID
from ora2sf.ledger import SETTLED, Attempt, Batch, Ledger, Result
from ora2sf.remedies import explained, remedy
from ora2sf.results import CODE
from ora2sf.salesforce import SalesforceClient, reasons
from ora2sf.tables import TableConfig

#: What a record tells of who made it and who touched it last.
_STAMPS = ("Id", "CreatedById", "CreatedDate", "LastModifiedById", "LastModifiedDate", "SystemModstamp")
_TOLD = ("LastModifiedById", "LastModifiedDate", "SystemModstamp")


@dataclass(frozen=True)
class Slice:
    """What this step works on."""

    config: TableConfig
    ledger: Ledger
    data: Path
    logs: Path

    @property
    def updated(self) -> Path:
        """The list of records that this run changed and did not create."""
        return self.logs / f"{self.config.table}_rollback_updated.csv"

    @property
    def left(self) -> Path:
        """The list of records that this run created and that were changed since."""
        return self.logs / f"{self.config.table}_rollback_changed.csv"


@dataclass(frozen=True)
class OfFile:
    """One success file: what became of the records that it names.

    Attributes:
        created, updated: what the job did; there: created ones that exist; changed: of these, changed since by somebody.
    """

    file: str
    created: int = 0
    updated: int = 0
    there: int = 0
    changed: int = 0

    @property
    def gone(self) -> int:
        """Created records that exist no more."""
        return self.created - self.there


@dataclass
class Survey:
    """All success files of a run against the org.

    Attributes:
        batches: what would be deleted, staged; empty when only looked at.
        unproven: rows that no result file knew and that were in the org all the same: this run may have created them.
    """

    files: list[OfFile] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    unproven: int = 0

    def total(self, name: str) -> int:
        """Over all files."""
        return sum(getattr(one, name) for one in self.files)


def settled_load(slice_: Slice) -> None:
    """Nothing of the load may still be at work.

    Raises:
        LedgerError: a job is not at its end, or a success file is not as Salesforce returned it.
    """
    last = slice_.ledger.last_attempts()
    loads = {batch.number for batch in slice_.ledger.all_batches()}
    busy = [one for one in last.values() if one.batch in loads and one.state not in SETTLED | {"given_up"}]
    if busy:
        raise LedgerError(
            f"{len(busy)} job(s) of the load are not at their end, such as {busy[0].job_id or 'one without a known id'}.",
            "Run 03_reconcile with the same run_id: it follows them; then roll back.",
        )
    for _, _, result in _success_files(slice_):
        if not results.is_intact(slice_.logs, result):
            raise LedgerError(
                f"{slice_.logs / result.file} is not the file that Salesforce returned: what this run created cannot be told from it.",
                "Run 03_reconcile: it fetches the file again while Salesforce keeps it (7 days); or restore it from a backup.",
            )


def _success_files(slice_: Slice) -> Iterator[tuple[Batch, Attempt, Result]]:
    ledger = slice_.ledger
    files, batches = results.by_attempt(ledger), {one.number: one for one in ledger.all_batches()}
    for attempt in ledger.attempts():
        if attempt.batch in batches and "success" in files.get(attempt.id, {}):
            yield batches[attempt.batch], attempt, files[attempt.id]["success"]


def survey(
    slice_: Slice,
    client: SalesforceClient,
    *,
    include_changed: bool,
    stage: bool,
    told: Callable[[int], object] = lambda _: None,
) -> Survey:
    """Looks at every record that this run created, writes the lists, and stages what is to be deleted.

    Args:
        include_changed: records that were changed since are deleted as well.
        stage: whether batches are staged; the ledger learns of them from the caller.
        told: how many more records were looked at.
    """
    found = Survey(unproven=sum(one.found for one in slice_.ledger.lookups().values()))
    writer = _writer(slice_)
    known = {one["name"] for one in client.describe(slice_.config.object)["fields"]}
    names = [name for name in _STAMPS if name in known]
    with ExitStack() as files:
        updated = _list(files, slice_.updated, ("sf__Id", slice_.config.external_id_field, "file"))
        left = _list(files, slice_.left, ("sf__Id", slice_.config.external_id_field, "file", *_TOLD))
        try:
            for batch, attempt, result in _success_files(slice_):
                one, go = _look(slice_, client, (batch, attempt, result), names, updated, left)
                found.files.append(one)
                told(one.created)
                chosen = go.filter(~pl.col("changed") | include_changed)
                if stage and chosen.height:
                    writer.add(chosen.select(ID))
        except BaseException:
            writer.abandon()
            raise
    found.batches = [replace(one, purpose="rollback") for one in writer.finish()]
    return found


def _writer(slice_: Slice) -> BatchWriter:
    ledger = slice_.ledger
    wave = 1 + max((one.round for one in ledger.all_batches("rollback")), default=0)
    size = int(ledger.setting("batch_size") or slice_.config.batch_size)
    stem = f"{slice_.config.table}_rollback{wave}"
    return BatchWriter(slice_.data, stem, (ID,), ID, size, first=ledger.next_batch(), round_number=wave)


def _look(
    slice_: Slice,
    client: SalesforceClient,
    of: tuple[Batch, Attempt, Result],
    names: list[str],
    updated: TextIO,
    left: TextIO,
) -> tuple[OfFile, pl.DataFrame]:
    """One file against the org: its numbers, and ``Id`` and ``changed`` of each created record that exists."""
    batch, attempt, result = of
    nothing = pl.DataFrame(schema={ID: pl.String, "changed": pl.Boolean})
    if not result.rows:
        return OfFile(result.file), nothing
    rows = _records(slice_, batch, result)
    created, others = rows.filter("created"), rows.filter(~pl.col("created"))
    others.select(ID, "key", file=pl.lit(result.file)).write_csv(updated, include_header=False)
    if not created.height:
        return OfFile(result.file, 0, others.height), nothing
    there = _there(slice_, client, attempt, created, names)
    changed = there.filter("changed")
    changed.select(ID, "key", pl.lit(result.file).alias("file"), *_TOLD).write_csv(left, include_header=False)
    numbers = OfFile(result.file, created.height, others.height, there.height, changed.height)
    return numbers, there.select(ID, "changed")


def _there(
    slice_: Slice, client: SalesforceClient, attempt: Attempt, created: pl.DataFrame, names: list[str]
) -> pl.DataFrame:
    """The created records that exist, with what each tells of itself, and whether it was ``changed`` since."""
    ended = _ended(client, attempt)
    found = client.retrieve(slice_.config.object, created[ID].to_list(), names)
    lines = [[*(record.get(name) for name in _STAMPS), _changed(record, ended)] for record in found if record]
    schema = {**dict.fromkeys(_STAMPS, pl.String), "changed": pl.Boolean}
    there = pl.DataFrame(lines, schema=schema, orient="row")
    return there.join(created.select(ID, "key"), on=ID, how="inner")


def _records(slice_: Slice, batch: Batch, result: Result) -> pl.DataFrame:
    """``Id``, ``key`` and ``created`` of the rows of a success file."""
    lines = pl.scan_csv(slice_.logs / result.file, infer_schema=False)
    key = slice_.config.external_id_field
    keyed = results.with_key(lines, key, results.ids_path(slice_.data, batch))
    return keyed.select(
        pl.col("sf__Id").alias(ID),
        pl.col(key).alias("key"),
        (pl.col("sf__Created") == "true").alias("created"),
    ).collect()


def _ended(client: SalesforceClient, attempt: Attempt) -> dt.datetime | None:
    """When the job ended, by the org's clock; None when Salesforce no longer knows the job."""
    try:
        info = client.read(f"/jobs/ingest/{attempt.job_id}")
        return dt.datetime.fromisoformat(str(info["systemModstamp"]))
    except TargetError:  # after 7 days, or what was sent was no job
        return None


def _changed(record: dict[str, object], ended: dt.datetime | None) -> bool:
    """Somebody else changed the record, or this user did after its job had ended, such as another run.

    Of a job whose end nobody knows any more, every change since the record was created counts. Salesforce keeps these times in whole seconds. A later SystemModstamp alone is work of the system itself.
    """
    if record.get("LastModifiedById") != record.get("CreatedById"):
        return True
    at = record.get("LastModifiedDate") or record.get("SystemModstamp")
    if at is None:
        return False
    since = ended or dt.datetime.fromisoformat(str(record["CreatedDate"]))
    return dt.datetime.fromisoformat(str(at)) > since


def _list(files: ExitStack, path: Path, header: tuple[str, ...]) -> TextIO:
    """A CSV file that is complete when the block has ended; before that it has another name."""
    part = path.with_name(path.name + ".part")
    stream = part.open("w", encoding="utf-8", newline="")

    def close(kind: type[BaseException] | None, *_: object) -> None:
        stream.close()
        if kind is None:
            part.replace(path)

    files.push(close)
    csv.writer(stream, lineterminator="\n").writerow(header)
    stream.flush()
    return stream


def may_pass(slice_: Slice, wave: list[Batch]) -> bool:
    """Whether anything of these batches may be deleted when it is tried again."""
    ledger, files = slice_.ledger, results.by_attempt(slice_.ledger)
    last = ledger.last_attempts()
    for batch in wave:
        attempt = last.get(batch.number)
        of = files.get(attempt.id, {}) if attempt else {}
        if sum(one.rows for one in of.values()) < batch.rows or of["unprocessed"].rows:
            return True
        if of["failed"].rows:
            said = {code for code, _ in results.errors(slice_.logs / of["failed"].file)}
            if said & reasons.PASSING:
                return True
    return False


def refusals(slice_: Slice, wave: list[Batch]) -> list[dict[str, object]]:
    """Why records were not deleted, by code, with an example, meaning and remedy."""
    last, files = slice_.ledger.last_attempts(), results.by_attempt(slice_.ledger)
    paths = [
        slice_.logs / files[attempt.id]["failed"].file
        for batch in wave
        if (attempt := last.get(batch.number)) and attempt.id in files and files[attempt.id]["failed"].rows
    ]
    if not paths:
        return []
    grouped = (
        pl.scan_csv(paths, infer_schema=False)
        .group_by(CODE.alias("code"))
        .agg(pl.len().alias("rows"), pl.col("sf__Error").min().alias("message"), pl.col(ID).min())
        .sort("rows", descending=True)
        .collect()
    )
    return [
        row | {"it means": explained(row["code"]), "what helps": remedy(row["code"])}
        for row in grouped.to_dicts()
    ]
