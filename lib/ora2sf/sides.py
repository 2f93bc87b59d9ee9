"""Both sides of a comparison as tables of a DuckDB database on disk: staged rows with what became of them, and a read-back.

Both become a key, a hash of the row, and the values of numbers, dates and datetimes. Memory is DuckDB's limit; what does
not fit is spilled to the slice's folder.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from ora2sf import equality, totals
from ora2sf.equality import Compared, How
from ora2sf.errors import RunFolderError, TargetError
from ora2sf.ledger import SETTLED, Attempt, Ledger
from ora2sf.results import by_attempt, fates, looked_up, present
from ora2sf.salesforce import BulkQuery, Page, ReadBack, SalesforceClient, read_some
from ora2sf.tables import TableConfig

#: What became of a staged row by its last result.
OUTCOMES = ("created", "updated", "failed", "unprocessed", "unknown", "not sent")
#: Of these, what has to be in the org, as SQL.
THERE = "('created', 'updated')"
_THREADS = 2
#: A record has 400,000 characters at most (limits: Bulk API), four bytes each, and quotes are doubled.
_LONGEST_LINE = 4_000_000
_BUFFER = 4 * _LONGEST_LINE
_PAGE_TRIES = 2


@dataclass(frozen=True)
class Given:
    """What is compared: one slice, and how the org describes its object.

    Attributes:
        logs: where result files are and the lists go; work: a folder of this step's own.
        exact_lookups: lookup fields whose parents' external id is case-sensitive.
        whole: the slice is the whole table, so that a record with a key it does not know is one too many.
    """

    config: TableConfig
    ledger: Ledger
    data: Path
    logs: Path
    work: Path
    rejected: Path
    describe: Mapping[str, Any]
    exact_lookups: frozenset[str] = frozenset()
    whole: bool = True


def value(one: Compared) -> str:
    """The column of a field's typed value."""
    return equality.name(f"{one.field}@")


class Sides:
    """The two sides as tables of a database on disk that ends with the comparison."""

    def __init__(self, given: Given, how: How) -> None:
        self.given, self.how = given, how
        self.fields, self.skipped = equality.compared_fields(
            given.config, given.describe, given.exact_lookups
        )
        self.key = next(one for one in self.fields if one.kind == "key")
        self.measured = totals.measured(self.fields)
        self._folder = given.work / "compare"

    def __enter__(self) -> Sides:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        config: dict[str, Any] = {
            "memory_limit": f"{self.how.memory_mb}MB",
            "temp_directory": str(self._folder / "tmp"),
            "threads": _THREADS,
            "preserve_insertion_order": False,
        }
        self._db = duckdb.connect(str(self._folder / "compare.duckdb"), config=config)
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, sql: str, **values: object) -> list[tuple[Any, ...]]:
        """The rows of a statement.

        Raises:
            RunFolderError: a file cannot be read as what it is, or disk or memory do not suffice.
        """
        try:
            return self._db.execute(sql, values or None).fetchall()
        except duckdb.Error as error:
            if isinstance(error, duckdb.InvalidInputException | duckdb.ConversionException):
                raise RunFolderError(
                    f"A file of this run cannot be read: {str(error).splitlines()[0]}",
                    "Restore it from a backup, or extract again with a new run_id.",
                ) from None
            raise RunFolderError(
                f"Comparing in {self._folder} failed: {str(error).splitlines()[0]}",
                "Free some disk space, or raise compare_memory_mb; then run 03_reconcile again.",
            ) from None

    def one(self, sql: str, **values: object) -> Any:
        """The only value of a statement."""
        return self.run(sql, **values)[0][0]

    # the staged side

    def load_staged(self) -> dict[str, int]:
        """Every staged row by its last outcome: how many."""
        self.run(f"CREATE TYPE outcome AS ENUM {OUTCOMES}")
        self.run("CREATE TABLE files (path VARCHAR, batch INTEGER, job VARCHAR, usual outcome, rows BIGINT)")
        self.run("CREATE TABLE unusual (batch INTEGER, key VARCHAR, outcome outcome)")
        for row in _batch_outcomes(self.given, self.key.staged):
            self._note_outcomes(*row)
        self.run("CREATE TABLE staged (key VARCHAR, folded VARCHAR, batch INTEGER, outcome outcome, hash UBIGINT"
                  f"{self._measure_columns()})")  # fmt: skip
        paths = [str(self.given.data / batch.file) for batch in self.given.ledger.all_batches()]
        if paths:
            self.run(self._staged_rows(), files=paths)
            self._check_batches()
            self._keep_last_outcomes()
        counted = dict(self.run("SELECT CAST(outcome AS VARCHAR), count(*) FROM staged GROUP BY ALL"))
        return {name: int(counted.get(name, 0)) for name in OUTCOMES}

    def _note_outcomes(self, file: tuple[Any, ...], unusual: pl.DataFrame) -> None:
        self._db.execute("INSERT INTO files VALUES (?, ?, ?, ?, ?)", file)
        if unusual.height:
            self._db.register("exceptions", unusual)
            self.run(f"INSERT INTO unusual SELECT {int(file[1])}, key, outcome FROM exceptions")
            self._db.unregister("exceptions")

    def _measure_columns(self) -> str:
        kinds = {"number": "DECIMAL(38, 18)", "date": "DATE", "datetime": "TIMESTAMP"}
        return "".join(f", {value(one)} {kinds[one.kind]}" for one in self.measured)

    def _staged_rows(self) -> str:
        header = self.given.config.header
        return f"""
            INSERT INTO staged
            SELECT text AS key, {equality.folded("text", exact=self.key.exact)}, rows.batch,
                   coalesce(unusual.outcome, usual), {self._hash(staged=True)} {self._measures()}
            FROM (SELECT *, {equality.name(self.key.staged)} AS text {self._typed(staged=True)}
                  FROM {csv(header)} AS file JOIN files ON files.path = file.filename) AS rows
            LEFT JOIN unusual ON unusual.batch = rows.batch AND unusual.key = text
            """

    def _cell(self, one: Compared, *, staged: bool) -> str:
        return equality.staged_value(one.staged) if staged else equality.target_value(one.target)

    def _typed(self, *, staged: bool) -> str:
        made = ((one, equality.typed(one.kind, self._cell(one, staged=staged))) for one in self.measured)
        return "".join(f", {sql} AS {value(one)}" for one, sql in made)

    def _measures(self) -> str:
        return "".join(f", {value(one)}" for one in self.measured)

    def _hash(self, *, staged: bool) -> str:
        cells = (equality.hashed(one.kind, self._cell(one, staged=staged), value(one)) for one in self.fields)
        return f"hash({', '.join(cells)})"

    def _check_batches(self) -> None:
        read = self.run("""
            SELECT path, any_value(rows), count(staged.batch) FROM files LEFT JOIN staged USING (batch)
            GROUP BY ALL HAVING any_value(rows) <> count(staged.batch) ORDER BY path LIMIT 1""")
        for path, rows, here in read:
            raise RunFolderError(
                f"{path} holds {here:,} rows where {rows:,} were staged: it was changed or damaged.",
                "Restore it from a backup: without it nothing can be proven.",
            )

    def _keep_last_outcomes(self) -> None:
        """A row that was sent again stands in a later file, too: only the last one counts."""
        self.run(
            """DELETE FROM staged AS old USING staged AS again
            WHERE again.batch > $last AND again.key = old.key AND again.batch > old.batch""",
            last=max((batch.number for batch in self.given.ledger.batches()), default=0),
        )

    def keep_sample(self, size: int, seed: int) -> None:
        """Forgets all rows but some of those that have to be in the org."""
        self.run(
            f"""CREATE TABLE sampled AS SELECT * FROM staged WHERE outcome IN {THERE}
            ORDER BY md5(folded || $seed), folded LIMIT $size""",
            seed=f"|{seed}", size=size,
        )  # fmt: skip
        self.run("DROP TABLE staged; ALTER TABLE sampled RENAME TO staged")

    # the org's side

    @cached_property
    def columns(self) -> list[str]:
        """The columns of the read-back, in the order of the query."""
        return ["Id", *(one.target for one in self.fields)]

    def soql(self) -> str:
        """Every record of the object: no ORDER BY, which would keep Salesforce from reading in parallel (PK chunking)."""
        return f"SELECT {', '.join(self.columns)} FROM {self.given.config.object}"

    def read_back(self, bulk: BulkQuery, fetched: Callable[[int], object]) -> ReadBack:
        """All records, as pages on disk."""
        occasion = _occasion(self.given.ledger)
        return bulk.read(self.soql(), self.columns, occasion=occasion, fetched=fetched)

    def ask_for_staged(self, client: SalesforceClient) -> ReadBack:
        """The records of the rows that are staged here."""
        keys = (row[0] for row in self.run("SELECT key FROM staged ORDER BY key"))
        work = self.given.work / "target"
        return read_some(client, work, self.given.config.object, self.key.target, self.columns, keys)

    def load_target(self, read: Callable[[], ReadBack], bulk: BulkQuery | None = None) -> ReadBack:
        """The read-back as a table; a page that lacks rows is fetched once more."""
        for last in [False] * (_PAGE_TRIES - 1) + [True]:
            back = read()
            self.run("DROP TABLE IF EXISTS target")
            self.run("CREATE TABLE target (id VARCHAR, key VARCHAR, folded VARCHAR, page INTEGER, hash UBIGINT"
                      f"{self._measure_columns()})")  # fmt: skip
            if back.pages:
                self._load_pages(back)
            short = self._short_pages(back)
            if not short:
                return back
            if last or bulk is None:
                break
            for page, _ in short:
                bulk.again(page)
        page, here = short[0]
        raise TargetError(
            f"{page.file} of query job {back.job_id} holds {here:,} records where Salesforce announced {page.rows:,}.",
            "Run 03_reconcile again: the page is fetched once more. If that does not help, ask Salesforce.",
        )

    def _load_pages(self, back: ReadBack) -> None:
        pages = pl.DataFrame({"path": [str(path) for path in back.paths], "page": range(len(back.pages))})
        self._db.register("pages", pages)
        self.run(
            f"""INSERT INTO target
            SELECT "Id", text, {equality.folded("text", exact=self.key.exact)}, page, {self._hash(staged=False)}
                   {self._measures()}
            FROM (SELECT *, {equality.target_value(self.key.target)} AS text {self._typed(staged=False)}
                  FROM {csv(self.columns)} AS file JOIN pages ON pages.path = file.filename)""",
            files=[str(path) for path in back.paths],
        )
        self._db.unregister("pages")

    def _short_pages(self, back: ReadBack) -> list[tuple[Page, int]]:
        here = dict(self.run("SELECT page, count(*) FROM target GROUP BY ALL"))
        return [(page, here.get(at, 0)) for at, page in enumerate(back.pages) if here.get(at, 0) != page.rows]


def csv(columns: Sequence[str]) -> str:
    """The files in ``$files`` as text columns, as SQL; the dialect is given, nothing is guessed."""
    names = ", ".join(f"{equality.literal(one)}: 'VARCHAR'" for one in columns)
    return f"""read_csv($files, columns = {{{names}}}, auto_detect = false, header = true, delim = ',', quote = '"',
        escape = '"', new_line = '\\n', strict_mode = true, filename = true, compression = 'auto_detect',
        max_line_size = {_LONGEST_LINE}, buffer_size = {_BUFFER})"""


def _batch_outcomes(given: Given, key: str) -> Iterator[tuple[tuple[Any, ...], pl.DataFrame]]:
    """Of each batch: its file, job and most frequent outcome, and the rows with another one. One batch is in memory at a time."""
    last, files, lookups = given.ledger.last_attempts(), by_attempt(given.ledger), given.ledger.lookups()
    for batch in given.ledger.all_batches():
        attempt = last.get(batch.number)
        path = present(given.data / batch.file)
        unusual, usual = pl.DataFrame(), _without_results(attempt)
        if attempt is not None and attempt.state in SETTLED:
            rows = fates(batch, files.get(attempt.id, {}), given.data, given.logs, key).rows
            told = looked_up(rows, lookups.get(attempt.id), given.logs)
            rows = rows.join(told, on="key", how="left").select("key", _OUTCOME)
            usual = rows["outcome"].mode().sort()[0] if rows.height else usual
            unusual = rows.filter(pl.col("outcome") != usual)
        job = attempt.job_id if attempt else None
        yield (str(path), batch.number, job or "", usual, batch.rows), unusual


#: One of :data:`OUTCOMES`: what a lookup told of an unknown row counts, as in the books. One that was found to have passed
#: is one that was inserted; one that is sent again stands in a later batch.
_OUTCOME = (
    pl.when((pl.col("outcome") == "success") | ((pl.col("kind") == "success") & pl.col("created")))
    .then(pl.lit("created"))
    .when(kind="success")
    .then(pl.lit("updated"))
    .otherwise(pl.coalesce(pl.col("outcome").replace("again", None), "kind"))
    .alias("outcome")
)


def _without_results(attempt: Attempt | None) -> str:
    return "not sent" if attempt is None or attempt.state == "given_up" else "unknown"


def _occasion(ledger: Ledger) -> str:
    """What the ledger says of the upload: a read-back from before a further upload proves nothing."""
    states = [(attempt.id, attempt.state) for attempt in ledger.attempts()]
    return hashlib.sha256(json.dumps(states).encode()).hexdigest()[:16]
