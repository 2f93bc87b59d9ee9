"""What became of each row of a batch, read from the result files of its job.

Result files come unordered and with values written anew, so rows are joined by external id only
(Bulk API 2.0 guide: Get Job Successful Record Results).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ora2sf.batches import read_batch
from ora2sf.errors import RunFolderError
from ora2sf.ledger import KINDS, Batch, Fix, Kind, Ledger, Lookup, Result, Way

_FATES = {"kind": pl.String, "code": pl.String, "created": pl.Boolean}


@dataclass(frozen=True)
class Fates:
    """One line for each row of a batch.

    Attributes:
        rows: ``key``; ``kind``: success, failed, unprocessed, or unknown when no result file has the key; ``code`` of
            a failed row; ``created``: a successful one made a new record.
        surplus: result rows whose key is not in the batch, or that came twice.
    """

    rows: pl.DataFrame
    surplus: int = 0


def fates(batch: Batch, results: dict[Kind, Result], data: Path, logs: Path, key: str) -> Fates:
    """What became of each row of a settled batch; without results every row is unknown."""
    staged = read_batch(present(data / batch.file)).select(pl.col(key).alias("key"))
    if not results:
        nothing = {"code": pl.lit(None, pl.String), "created": pl.lit(None, pl.Boolean)}
        return Fates(staged.with_columns(kind=pl.lit("unknown"), **nothing))
    found = pl.concat(
        [_lines(present(logs / results[kind].file), kind, key, ids_path(data, batch)) for kind in KINDS]
    )
    known = found.join(staged, on="key", how="semi").unique("key", keep="first", maintain_order=True)
    rows = staged.join(known, on="key", how="left", maintain_order="left")
    return Fates(rows.with_columns(pl.col("kind").fill_null("unknown")), found.height - known.height)


def _lines(path: Path, kind: Kind, key: str, ids: Path) -> pl.DataFrame:
    if path.stat().st_size == 0:
        return pl.DataFrame(schema={"key": pl.String, **_FATES})
    lines = with_key(pl.scan_csv(path, infer_schema=False), key, ids)
    names = lines.collect_schema().names()
    return lines.select(
        pl.col(key).fill_null("").alias("key"),
        pl.lit(kind).alias("kind"),
        (CODE if "sf__Error" in names else pl.lit(None, pl.String)).alias("code"),
        (pl.col("sf__Created") == "true" if "sf__Created" in names else pl.lit(value=False)).alias("created"),
    ).collect()


#: ``sf__Error`` reads ``CODE:message:Field1,Field2 --`` (Bulk API 2.0 guide: Get Job Failed Record Results).
CODE = pl.col("sf__Error").str.extract(r"^([A-Z_]+)").fill_null("UNKNOWN")


def with_key(lines: pl.LazyFrame, key: str, ids: Path) -> pl.LazyFrame:
    """Result rows with their key. Those of a delete have the Id alone, and ``ids`` the key of each.

    A job whose file Salesforce could not read gives headers without the sent columns: the key is empty then.
    """
    names = lines.collect_schema().names()
    if key in names:
        return lines
    if "Id" in names and ids.is_file():
        known = pl.scan_csv(ids, infer_schema=False).rename({"key": key})
        return lines.join(known, on="Id", how="left")
    return lines.with_columns(pl.lit("").alias(key))


def ids_path(data: Path, batch: Batch) -> Path:
    """Where the key of each Id stands that a delete names."""
    return data / f"{batch.file.removesuffix('.csv.gz')}.ids.csv"


def errors(path: Path) -> list[tuple[str, str]]:
    """(code, an example of its message) for each code of a file of failed rows."""
    lines = pl.scan_csv(path, infer_schema=False).select(CODE.alias("code"), "sf__Error")
    return lines.group_by("code").agg(pl.col("sf__Error").min()).sort("code").collect().rows()


def by_attempt(ledger: Ledger) -> dict[int, dict[Kind, Result]]:
    """Attempt → kind → result file."""
    files: dict[int, dict[Kind, Result]] = {}
    for result in ledger.results():
        files.setdefault(result.attempt, {})[result.kind] = result
    return files


def rows_by_attempt(ledger: Ledger) -> dict[int, dict[Kind, int]]:
    """Attempt → kind → rows, kinds in their usual order."""
    files = by_attempt(ledger)
    return {
        attempt: {kind: kinds[kind].rows for kind in KINDS if kind in kinds}
        for attempt, kinds in files.items()
    }


def looked_up(rows: pl.DataFrame, lookup: Lookup | None, logs: Path) -> pl.DataFrame:
    """``key`` and ``outcome`` of the unknown ones among a batch's rows that a lookup told of."""
    if lookup is None:
        return pl.DataFrame(schema={"key": pl.String, "outcome": pl.String})
    answers = pl.read_csv(present(logs / lookup.file), infer_schema=False)
    answers = answers.select(pl.nth(0).alias("key"), "outcome")
    return answers.join(rows.filter(kind="unknown"), on="key", how="semi")


def sent_again(ledger: Ledger, data: Path, key: str) -> pl.DataFrame:
    """``key`` and ``round`` of every row that stands in a batch of a later round; of several rounds the last counts."""
    again = [
        read_batch(present(data / batch.file)).select(
            pl.col(key).alias("key"), pl.lit(batch.round, pl.Int64).alias("round")
        )
        for batch in ledger.all_batches()
        if batch.round
    ]
    if not again:
        return pl.DataFrame(schema={"key": pl.String, "round": pl.Int64})
    return pl.concat(again).group_by("key").agg(pl.col("round").max())


def round_after(batch: Batch) -> pl.Expr:
    """Of :func:`sent_again`: the row stands in a later round than this batch, and counts there."""
    return pl.col("round") > batch.round


def failed_rows(ledger: Ledger, data: Path, logs: Path, key: str) -> list[tuple[Batch, pl.LazyFrame]]:
    """The rows whose last outcome is failed, and that nobody excluded, batch by batch: ``key``, ``code``, ``fields``, ``message``.

    ``reference`` is the object of a reference that is not found; else all lookups of a table would be one reason.
    """
    last, files, lookups = ledger.last_attempts(), by_attempt(ledger), ledger.lookups()
    later = later_fates(ledger, data, logs, key).lazy()
    found = []
    for batch in ledger.all_batches():
        attempt, since = last.get(batch.number), later.filter(round_after(batch))
        if attempt and attempt.state == "fetched" and (refused := files[attempt.id]["failed"]).rows:
            rows = _refused(present(logs / refused.file), key, ids_path(data, batch))
            found.append((batch, rows.join(since, on="key", how="anti", maintain_order="left")))
        if attempt and (lookup := lookups.get(attempt.id)):
            rows = _without_record(present(logs / lookup.file))
            found.append((batch, rows.join(since, on="key", how="anti", maintain_order="left")))
    return found


def _refused(path: Path, key: str, ids: Path) -> pl.LazyFrame:
    error = pl.col("sf__Error")
    return with_key(pl.scan_csv(path, infer_schema=False), key, ids).select(
        pl.col(key).fill_null("").alias("key"),
        CODE.alias("code"),
        error.str.extract(r":([^:]*?) ?--\s*$").fill_null("").alias("fields"),
        error.str.extract(r"not found for field (\S+ in entity \w+)").alias("reference"),
        error.alias("message"),
    )


def _without_record(lookup: Path) -> pl.LazyFrame:
    """Rows of an update whose key no record has: their job never had them."""
    rows = pl.scan_csv(lookup, infer_schema=False).filter(outcome="failed")
    texts = {"code": "NOT_FOUND", "fields": "", "reference": None, "message": "no record has this key"}
    return rows.select(
        pl.nth(0).alias("key"), **{name: pl.lit(text, pl.String) for name, text in texts.items()}
    )


def later_fates(ledger: Ledger, data: Path, logs: Path, key: str) -> pl.DataFrame:
    """``key`` and ``round`` of every row that was sent again, or excluded, after the rounds before that one."""
    again, out = sent_again(ledger, data, key), excluded(ledger, logs)
    past_all = max((batch.round for batch in ledger.all_batches()), default=0) + 1
    return pl.concat([again, out.select("key", round=pl.lit(past_all, pl.Int64))])


#: Columns of the list of fixed rows; ``was``: failed or rejected, ``row``: of a rejected row, in reading order.
FIXED = ("key", "row", "was", "code", "field", "message", "reason", "who", "at")


def fixed_rows(ledger: Ledger, logs: Path, was: str, *ways: Way) -> pl.DataFrame:
    """The rows that fixes of these ways chose, failed or rejected ones, with the columns :data:`FIXED`."""
    files = [present(logs / fix.file) for fix in ledger.fixes() if fix.way in ways]
    lists = [pl.scan_csv(file, infer_schema=False).filter(was=was).collect() for file in files]
    return pl.concat([pl.DataFrame(schema=dict.fromkeys(FIXED, pl.String)), *lists])


def excluded(ledger: Ledger, logs: Path) -> pl.DataFrame:
    """Staged rows that somebody excluded; see :func:`fixed_rows`."""
    return fixed_rows(ledger, logs, "failed", "exclude")


def rejected_rows(ledger: Ledger, logs: Path, rejected: Path) -> pl.LazyFrame:
    """The rejected rows that nobody has recovered or excluded, as the file of rejected rows has them."""
    done = fixed_rows(ledger, logs, "rejected", "table", "csv", "exclude").lazy().select("row")
    return pl.scan_csv(present(rejected), infer_schema=False).join(
        done, on="row", how="anti", maintain_order="left"
    )


def is_intact(logs: Path, result: Result | Lookup | Fix) -> bool:
    """The file is on disk, as Salesforce returned it, or as it was written here."""
    path = logs / result.file
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == result.sha256


def present(path: Path) -> Path:
    """The path, if there is such a file.

    Raises:
        RunFolderError: there is none.
    """
    if not path.is_file():
        raise RunFolderError(
            f"{path} is gone: without it the books of this run cannot be proven.",
            "Restore it from a backup; a result file that Salesforce still keeps (7 days) is fetched by 03_reconcile.",
        )
    return path
