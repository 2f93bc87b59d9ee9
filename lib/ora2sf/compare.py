"""One step: is every row in the org, with every value? Staged rows against a read-back, out of core in DuckDB.

Both sides become a key and a hash of the row, which are joined; values are looked at only where the hashes differ. The
rules of equality stand in :mod:`ora2sf.equality`, the files and the memory in docs/reconcile.md.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from ora2sf import equality, totals
from ora2sf.batches import RejectedFile, read_batch, read_result
from ora2sf.equality import DIFFERENT, Compared, How
from ora2sf.errors import RunFolderError, TargetError
from ora2sf.ledger import KINDS, Attempt, Ledger, Result
from ora2sf.salesforce import BulkQuery, Page, ReadBack, SalesforceClient, read_some
from ora2sf.tables import TableConfig

_THREADS = 2
_EXAMPLES = 5
#: A record has 400,000 characters at most (limits: Bulk API), four bytes each, and quotes are doubled.
_LONGEST_LINE = 4_000_000
_BUFFER = 4 * _LONGEST_LINE
#: What became of a staged row by its last result; the first two have to be in the org.
_OUTCOMES = ("created", "updated", "failed", "unprocessed", "unknown", "not sent")
_THERE = "('created', 'updated')"
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


@dataclass
class Found:
    """What a comparison found; numbers are rows unless their name says otherwise.

    Attributes:
        staged: by their last outcome; expected: those that have to be in the org; looked_at: those compared.
        there: outcome → rows that are not compared and are in the org all the same.
        different, different_values: rows, and values in them; by_field: field → different values.
        explained: why values are equal though not the same text → values.
        extra: records that this slice should know and does not; others: records of which it says nothing.
        rejected_there: records whose key stands in the rejected file only.
        examples: the first rows of each list, in words.
        files: name → rows and sha256; skipped: field → why it is not compared.
    """

    how: How
    staged: dict[str, int] = field(default_factory=dict)
    expected: int = 0
    looked_at: int = 0
    in_target: int | None = None
    missing: int = 0
    extra: int = 0
    others: int = 0
    rejected_there: int = 0
    different: int = 0
    different_values: int = 0
    there: dict[str, int] = field(default_factory=dict)
    by_field: dict[str, int] = field(default_factory=dict)
    explained: dict[str, int] = field(default_factory=dict)
    lines: list[totals.Line] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    job_id: str = ""
    asked: str = ""

    @property
    def contradicted(self) -> bool:
        """The org does not hold what Salesforce said it took."""
        return bool(self.missing or self.extra or self.different or any(line.differs for line in self.lines))

    @property
    def proven(self) -> bool:
        """Every row that has to be there was compared, in every field, and is the same."""
        whole = self.how.mode == "full" and not self.skipped and self.looked_at == self.expected
        return whole and not self.contradicted

    def as_json(self) -> dict[str, Any]:
        """For ledger and report: counts and hashes, no row data."""
        told = {name: value for name, value in vars(self).items() if name not in {"how", "examples", "lines"}}
        how = {
            "mode": self.how.mode,
            "size": self.how.size,
            "seed": self.how.seed,
            "rules": sorted(self.how.rules),
        }
        unequal = [line.field for line in self.lines if line.differs]
        return {**how, **told, "totals": len(self.lines), "unequal_totals": unequal,
                "proven": self.proven, "contradicted": self.contradicted}  # fmt: skip


def compare(
    given: Given,
    client: SalesforceClient,
    how: How,
    bulk: BulkQuery | None = None,
    fetched: Callable[[int], object] = lambda rows: None,
) -> Found:
    """Compares one slice with the org.

    Args:
        bulk: reads the object back in mode ``full``; by default one with default settings.
        fetched: told how many records have come, page by page.

    Raises:
        RunFolderError: a staged file or a result file is gone or damaged, or disk or memory do not suffice.
        TargetError, TargetUnavailable, JobTimeout: see :class:`ora2sf.salesforce.BulkQuery`.
    """
    with _Tables(given, how) as tables:
        found = Found(how, skipped=tables.skipped, staged=tables.load_staged())
        found.expected = sum(found.staged[name] for name in ("created", "updated"))
        match how.mode:
            case "full":
                _in_full(tables, found, bulk or BulkQuery(client, given.work / "target"), fetched)
            case "sample":
                tables.keep_sample(how.size, how.seed)
                back = tables.load_target(lambda: tables.ask_for_staged(client))
                found.in_target = None
                tables.find(found, back, extras=False)
            case "aggregates":
                found.in_target = client.count(given.config.object)
                found.lines = tables.lines(tables.asked_totals(client, found), found)
            case "counts":
                found.in_target = client.count(given.config.object)
    return found


def _in_full(tables: _Tables, found: Found, bulk: BulkQuery, fetched: Callable[[int], object]) -> None:
    back = tables.load_target(lambda: tables.read_back(bulk, fetched), bulk)
    found.in_target, found.job_id, found.asked = back.rows, back.job_id, back.asked
    tables.find(found, back, extras=tables.given.whole and not tables.given.config.shared_target)
    found.lines = tables.lines(tables.target_totals(found), found)
    bulk.finished()


def _has_default(one: Compared) -> str:
    return "true" if one.unknown_default or one.default is not None else "false"


def _value(one: Compared) -> str:
    """The column of a field's typed value."""
    return equality.name(f"{one.field}@")


class _Tables:
    """The two sides as tables of a database on disk that ends with the comparison."""

    def __init__(self, given: Given, how: How) -> None:
        self.given, self.how = given, how
        self.fields, self.skipped = equality.compared_fields(
            given.config, given.describe, given.exact_lookups
        )
        self._key = next(one for one in self.fields if one.kind == "key")
        self._measured = totals.measured(self.fields)
        self._folder = given.work / "compare"

    def __enter__(self) -> _Tables:
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

    def _run(self, sql: str, **values: object) -> list[tuple[Any, ...]]:
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

    def _one(self, sql: str, **values: object) -> Any:
        return self._run(sql, **values)[0][0]

    # the staged side

    def load_staged(self) -> dict[str, int]:
        """Every staged row by its last outcome: how many."""
        self._run(f"CREATE TYPE outcome AS ENUM {_OUTCOMES}")
        self._run("CREATE TABLE files (path VARCHAR, batch INTEGER, job VARCHAR, usual outcome, rows BIGINT)")
        self._run("CREATE TABLE unusual (batch INTEGER, key VARCHAR, outcome outcome)")
        for row in _batch_outcomes(self.given, self._key.staged):
            self._note_outcomes(*row)
        self._run("CREATE TABLE staged (key VARCHAR, folded VARCHAR, batch INTEGER, outcome outcome, hash UBIGINT"
                  f"{self._measure_columns()})")  # fmt: skip
        paths = [str(self.given.data / batch.file) for batch in self.given.ledger.batches()]
        if paths:
            self._run(self._staged_rows(), files=paths)
            self._check_batches()
            self._keep_last_outcomes()
        counted = dict(self._run("SELECT CAST(outcome AS VARCHAR), count(*) FROM staged GROUP BY ALL"))
        return {name: int(counted.get(name, 0)) for name in _OUTCOMES}

    def _note_outcomes(self, file: tuple[Any, ...], unusual: pl.DataFrame) -> None:
        self._db.execute("INSERT INTO files VALUES (?, ?, ?, ?, ?)", file)
        if unusual.height:
            self._db.register("exceptions", unusual)
            self._run(
                "INSERT INTO unusual SELECT ?, key, outcome FROM exceptions".replace("?", str(int(file[1])))
            )
            self._db.unregister("exceptions")

    def _measure_columns(self) -> str:
        kinds = {"number": "DECIMAL(38, 18)", "date": "DATE", "datetime": "TIMESTAMP"}
        return "".join(f", {_value(one)} {kinds[one.kind]}" for one in self._measured)

    def _staged_rows(self) -> str:
        header = self.given.config.header
        return f"""
            INSERT INTO staged
            SELECT text AS key, {equality.folded("text", exact=self._key.exact)}, rows.batch,
                   coalesce(unusual.outcome, usual), {self._hash(staged=True)} {self._measures()}
            FROM (SELECT *, {equality.name(self._key.staged)} AS text {self._typed(staged=True)}
                  FROM {_csv(header)} AS file JOIN files ON files.path = file.filename) AS rows
            LEFT JOIN unusual ON unusual.batch = rows.batch AND unusual.key = text
            """

    def _cell(self, one: Compared, *, staged: bool) -> str:
        return equality.staged_value(one.staged) if staged else equality.target_value(one.target)

    def _typed(self, *, staged: bool) -> str:
        made = ((one, equality.typed(one.kind, self._cell(one, staged=staged))) for one in self._measured)
        return "".join(f", {sql} AS {_value(one)}" for one, sql in made)

    def _measures(self) -> str:
        return "".join(f", {_value(one)}" for one in self._measured)

    def _hash(self, *, staged: bool) -> str:
        cells = (
            equality.hashed(one.kind, self._cell(one, staged=staged), _value(one)) for one in self.fields
        )
        return f"hash({', '.join(cells)})"

    def _check_batches(self) -> None:
        read = self._run("""
            SELECT path, any_value(rows), count(staged.batch) FROM files LEFT JOIN staged USING (batch)
            GROUP BY ALL HAVING any_value(rows) <> count(staged.batch) ORDER BY path LIMIT 1""")
        for path, rows, here in read:
            raise RunFolderError(
                f"{path} holds {here:,} rows where {rows:,} were staged: it was changed or damaged.",
                "Restore it from a backup: without it nothing can be proven.",
            )

    def _keep_last_outcomes(self) -> None:
        """A row that was sent again stands in a later file, too: only the last one counts."""
        extracted = self.given.ledger.extraction()
        originals, left = [], extracted.rows_staged if extracted else 0
        for batch in self.given.ledger.batches():
            if left > 0:
                originals.append(batch.number)
            left -= batch.rows
        if left < 0:
            self._run(
                """DELETE FROM staged AS old USING staged AS again
                WHERE again.batch > $last AND again.key = old.key AND again.batch > old.batch""",
                last=max(originals, default=0),
            )

    def keep_sample(self, size: int, seed: int) -> None:
        """Forgets all rows but some of those that have to be in the org."""
        self._run(
            f"""CREATE TABLE sampled AS SELECT * FROM staged WHERE outcome IN {_THERE}
            ORDER BY md5(folded || $seed), folded LIMIT $size""",
            seed=f"|{seed}", size=size,
        )  # fmt: skip
        self._run("DROP TABLE staged; ALTER TABLE sampled RENAME TO staged")

    # the org's side

    @cached_property
    def _columns(self) -> list[str]:
        return ["Id", *(one.target for one in self.fields)]

    def soql(self) -> str:
        """Every record of the object: no ORDER BY, which would keep Salesforce from reading in parallel (PK chunking)."""
        return f"SELECT {', '.join(self._columns)} FROM {self.given.config.object}"

    def read_back(self, bulk: BulkQuery, fetched: Callable[[int], object]) -> ReadBack:
        """All records, as pages on disk."""
        occasion = _occasion(self.given.ledger)
        return bulk.read(self.soql(), self._columns, occasion=occasion, fetched=fetched)

    def ask_for_staged(self, client: SalesforceClient) -> ReadBack:
        """The records of the rows that are staged here."""
        keys = (row[0] for row in self._run("SELECT key FROM staged ORDER BY key"))
        work = self.given.work / "target"
        return read_some(client, work, self.given.config.object, self._key.target, self._columns, keys)

    def load_target(self, read: Callable[[], ReadBack], bulk: BulkQuery | None = None) -> ReadBack:
        """The read-back as a table; a page that lacks rows is fetched once more."""
        for last in [False] * (_PAGE_TRIES - 1) + [True]:
            back = read()
            self._run("DROP TABLE IF EXISTS target")
            self._run("CREATE TABLE target (id VARCHAR, key VARCHAR, folded VARCHAR, page INTEGER, hash UBIGINT"
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
        self._run(
            f"""INSERT INTO target
            SELECT "Id", text, {equality.folded("text", exact=self._key.exact)}, page, {self._hash(staged=False)}
                   {self._measures()}
            FROM (SELECT *, {equality.target_value(self._key.target)} AS text {self._typed(staged=False)}
                  FROM {_csv(self._columns)} AS file JOIN pages ON pages.path = file.filename)""",
            files=[str(path) for path in back.paths],
        )
        self._db.unregister("pages")

    def _short_pages(self, back: ReadBack) -> list[tuple[Page, int]]:
        here = dict(self._run("SELECT page, count(*) FROM target GROUP BY ALL"))
        return [(page, here.get(at, 0)) for at, page in enumerate(back.pages) if here.get(at, 0) != page.rows]

    # both sides

    def find(self, found: Found, back: ReadBack, *, extras: bool) -> None:
        """Joins both sides and looks at what does not match; the lists are written."""
        self._run(f"""
            CREATE TABLE odd AS
            SELECT staged.folded AS ours, target.folded AS theirs, staged.batch, staged.outcome, target.page,
                   staged.hash = target.hash AS same
            FROM staged FULL JOIN target ON staged.folded = target.folded
            WHERE staged.hash IS DISTINCT FROM target.hash OR staged.outcome NOT IN {_THERE}""")
        self._count_unmatched(found)
        self._find_extras(found, extras=extras)
        self._compare_values(found, back)
        self._write_lists(found)
        self._choose_examples(found)

    def _count_unmatched(self, found: Found) -> None:
        # by reference, because null <> null: a record without a key matches nothing
        missing = f"ours IS NOT NULL AND page IS NULL AND outcome IN {_THERE}"
        found.missing = self._one(f"SELECT count(*) FROM odd WHERE {missing}")
        found.looked_at = self._one(f"SELECT count(*) FROM staged WHERE outcome IN {_THERE}")
        found.there = {
            str(outcome): int(rows)
            for outcome, rows in self._run(f"""
                SELECT CAST(outcome AS VARCHAR), count(DISTINCT ours) FROM odd
                WHERE outcome NOT IN {_THERE} AND page IS NOT NULL GROUP BY ALL""")
        }

    def _find_extras(self, found: Found, *, extras: bool) -> None:
        """Records that no staged row explains: of rejected rows, of others, or one too many."""
        self._run("CREATE TABLE spare (key VARCHAR, id VARCHAR, why VARCHAR)")
        self._find_twice(found)
        self._run(
            f"""CREATE TABLE refused AS
            SELECT DISTINCT {equality.folded("key", exact=self._key.exact)} AS folded
            FROM {_csv(RejectedFile.HEADER)} WHERE key <> ''""",
            files=[str(_present(self.given.rejected))],
        )
        alone = """FROM target WHERE (folded IS NULL OR folded IN (SELECT theirs FROM odd WHERE ours IS NULL))
                   AND NOT EXISTS (FROM refused WHERE refused.folded = target.folded)"""
        unknown = self._one(f"SELECT count(*) {alone}")
        stranger = "SELECT count(*) FROM odd WHERE ours IS NULL AND page IS NOT NULL"
        found.rejected_there = self._one(stranger) - unknown
        if extras:
            self._run(f"INSERT INTO spare SELECT key, id, 'neither staged nor rejected' {alone}")
        else:
            found.others = unknown
        found.extra = self._one("SELECT count(*) FROM spare")

    def _find_twice(self, found: Found) -> None:
        """A key that several records have; only then are fewer staged rows matched than records."""
        ours = self._one("SELECT count(*) FROM staged") - self._one(
            "SELECT count(*) FROM odd WHERE ours IS NOT NULL AND page IS NULL"
        )
        theirs = self._one("SELECT count(*) FROM target") - self._one(
            "SELECT count(*) FROM odd WHERE ours IS NULL AND page IS NOT NULL"
        )
        if ours != theirs:
            self._run("""
                INSERT INTO spare SELECT key, id, 'a second record with this key' FROM target
                WHERE folded IN (SELECT folded FROM staged)
                QUALIFY row_number() OVER (PARTITION BY folded ORDER BY id) > 1""")

    def _compare_values(self, found: Found, back: ReadBack) -> None:
        self._run(
            "CREATE TABLE cells (key VARCHAR, field VARCHAR, staged VARCHAR, target VARCHAR, what VARCHAR)"
        )
        self._run(f"""
            CREATE TABLE unlike AS SELECT ours AS folded, batch, page, outcome FROM odd
            WHERE ours IS NOT NULL AND page IS NOT NULL AND outcome IN {_THERE}""")
        if self._one("SELECT count(*) FROM unlike"):
            self._pair(back)
            for at, one in enumerate(self.fields):
                said = equality.verdict(one, f"s{at}", f"t{at}", "created", self.how.rules)
                self._run(f"""
                    INSERT INTO cells SELECT key, {equality.literal(one.field)}, s{at}, t{at}, what
                    FROM (SELECT *, {said} AS what FROM pairs) WHERE what IS NOT NULL""")
        found.different = self._one(f"SELECT count(DISTINCT key) FROM cells WHERE what = '{DIFFERENT}'")
        counted = self._run("SELECT what, field, count(*) FROM cells GROUP BY ALL ORDER BY ALL")
        for what, name, values in counted:
            if what == DIFFERENT:
                found.by_field[name] = values
            else:
                found.explained[what] = found.explained.get(what, 0) + values
        found.different_values = sum(found.by_field.values())

    def _pair(self, back: ReadBack) -> None:
        """The rows whose hashes differ, both sides beside each other; only the files that hold them are read again."""
        ours = ", ".join(
            f"nullif({equality.name(one.staged)}, '') AS s{at}" for at, one in enumerate(self.fields)
        )
        theirs = ", ".join(
            f"{equality.target_value(one.target)} AS t{at}" for at, one in enumerate(self.fields)
        )
        batches = self._run("SELECT path FROM files WHERE batch IN (SELECT batch FROM unlike) ORDER BY batch")
        pages = self._run("SELECT DISTINCT page FROM unlike ORDER BY page")
        exact, key = self._key.exact, equality.name(self._key.staged)
        self._run(
            f"""CREATE TABLE one_side AS
            SELECT {key} AS key, unlike.folded, unlike.outcome = 'created' AS created, {ours}
            FROM {_csv(self.given.config.header)} AS file JOIN files ON files.path = file.filename
            JOIN (SELECT DISTINCT folded, batch, outcome FROM unlike) AS unlike
              ON unlike.batch = files.batch AND unlike.folded = {equality.folded(f"file.{key}", exact=exact)}""",
            files=[path for (path,) in batches],
        )
        self._run(
            f"""CREATE TABLE other_side AS
            SELECT {equality.folded(f"file.{equality.name(self._key.target)}", exact=exact)} AS folded, {theirs}
            FROM {_csv(self._columns)} AS file
            WHERE {equality.folded(f"file.{equality.name(self._key.target)}", exact=exact)} IN (SELECT folded FROM unlike)""",
            files=[str(back.paths[page]) for (page,) in pages],
        )
        self._run("CREATE TABLE pairs AS SELECT * FROM one_side JOIN other_side USING (folded)")

    # lists

    def _write_lists(self, found: Found) -> None:
        staged = "staged ON staged.folded = odd.ours AND staged.batch = odd.batch"
        lists = {
            "differences": f"SELECT key, field, staged, target FROM cells WHERE what = '{DIFFERENT}' ORDER BY key, field",
            "missing": f"""SELECT staged.key, staged.batch, job FROM odd JOIN {staged} JOIN files ON files.batch = staged.batch
                WHERE page IS NULL AND odd.outcome IN {_THERE} ORDER BY staged.key""",
            "extra": 'SELECT key, id AS "Id", why FROM spare ORDER BY key, id',
            "not_compared": f"""SELECT staged.key, odd.outcome, CASE WHEN page IS NULL THEN 'no' WHEN same THEN 'yes'
                ELSE 'yes, with other values' END AS "in the org" FROM odd JOIN {staged}
                WHERE odd.outcome NOT IN {_THERE} ORDER BY odd.outcome, staged.key""",
        }
        for kind, query in lists.items():
            path = self.given.logs / f"{self.given.config.table}_{kind}.csv"
            part = path.with_name(path.name + ".part")
            to = equality.literal(str(part))
            rows = self._one(f"COPY ({query}) TO {to} (FORMAT csv, HEADER, FORCE_QUOTE *)")
            part.replace(path)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found.files[path.name] = {"rows": int(rows), "sha256": digest}

    def _choose_examples(self, found: Found) -> None:
        staged = "staged ON staged.folded = odd.ours AND staged.batch = odd.batch"
        some = f"LIMIT {_EXAMPLES}"
        for (key,) in self._run(f"""SELECT staged.key FROM odd JOIN {staged}
                WHERE page IS NULL AND odd.outcome IN {_THERE} ORDER BY ALL {some}"""):
            found.examples.append(f"{key} is missing")
        for key, record, why in self._run(f"SELECT key, id, why FROM spare ORDER BY key, id {some}"):
            found.examples.append(f"{key or 'a record without a key'} ({record}) is one too many: {why}")
        differing = f"FROM cells WHERE what = '{DIFFERENT}' ORDER BY key, field {some}"
        for key, name, ours, theirs in self._run(f"SELECT key, field, staged, target {differing}"):
            found.examples.append(f"{key}: {name} is {_quoted(theirs)}, staged was {_quoted(ours)}")
        for key, page, same in self._run(f"""SELECT staged.key, page, same FROM odd JOIN {staged}
                WHERE odd.outcome = 'unknown' ORDER BY staged.key {some}"""):
            how = "not in the org" if page is None else "in the org" + ("" if same else ", with other values")
            found.examples.append(f"{key} is in no result file, and {how}")

    # totals

    def _staged_totals(self) -> list[totals.Total]:
        asked = totals.columns(self._measured, _value)
        return totals.read(
            self._measured, self._run(f"SELECT {asked} FROM staged WHERE outcome IN {_THERE}")[0]
        )

    def lines(self, target: Mapping[str, totals.Total | str], found: Found) -> list[totals.Line]:
        """Both sides of every field that has totals; ``target`` says what the org has, or why it cannot be told."""
        if not self._measured:
            return []
        both = zip(self._measured, self._staged_totals(), strict=True)
        made = []
        for one, ours in both:
            theirs = target[one.field]
            if isinstance(theirs, str):
                made.append(totals.Line(one.field, one.kind, ours, None, theirs))
            else:
                line = totals.Line(one.field, one.kind, ours, theirs)
                made.append(totals.as_double(line) if found.how.mode == "aggregates" else line)
        return made

    def target_totals(self, found: Found) -> dict[str, totals.Total | str]:
        """The org's totals over the records of the rows that have to be there, from the read-back."""
        if not self._measured:
            return {}
        left = self._left_to_the_org()
        ours = f"SELECT folded FROM staged WHERE outcome IN {_THERE}"
        alone = found.in_target == found.looked_at - found.missing
        rows = "FROM target" if alone else f"FROM target SEMI JOIN ({ours}) AS ours USING (folded)"
        known = self._totals([one for one in self._measured if one.field not in left], rows)
        if others := [one for one in self._measured if one.field in left]:
            cells = ", ".join(
                f"CASE WHEN staged.{_value(one)} IS NOT NULL THEN target.{_value(one)} END AS {_value(one)}"
                for one in others
            )
            joined = f"SELECT {cells} FROM target JOIN staged USING (folded) WHERE staged.outcome IN {_THERE}"
            known |= self._totals(others, f"FROM ({joined}) AS joined")
        return known

    def _totals(self, fields: Sequence[Compared], rows: str) -> dict[str, totals.Total | str]:
        if not fields:
            return {}
        made = totals.read(fields, self._run(f"SELECT {totals.columns(fields, _value)} {rows}")[0])
        return {one.field: total for one, total in zip(fields, made, strict=True)}

    def _left_to_the_org(self) -> frozenset[str]:
        """Fields that some row leaves as they were, or to the org's default: what is there then is no part of the totals."""
        some = [one for one in self._measured if one.leaves]
        if not some:
            return frozenset()
        asked = ", ".join(
            f"count(*) FILTER ({_value(one)} IS NULL AND (outcome = 'updated' OR {_has_default(one)}))"
            for one in some
        )
        counted = self._run(f"SELECT {asked} FROM staged WHERE outcome IN {_THERE}")[0]
        return frozenset(one.field for one, rows in zip(some, counted, strict=True) if rows)

    def asked_totals(self, client: SalesforceClient, found: Found) -> dict[str, totals.Total | str]:
        """The org's totals by SOQL, where all of its records are this slice's."""
        if found.in_target != found.expected:
            why = f"the org's sums are of all {found.in_target:,} records, and {found.expected:,} are this slice's"
            return dict.fromkeys((one.field for one in self._measured), why)
        left = self._left_to_the_org()
        why = "some rows leave it to the org: only compare = full can tell"
        known: dict[str, totals.Total | str] = dict.fromkeys(left, why)
        asked = [one for one in self._measured if one.field not in left]
        for some, soql in totals.queries(self.given.config.object, asked):
            (record,) = client.query(soql)
            known |= {
                one.field: total for one, total in zip(some, totals.answered(some, record), strict=True)
            }
        return known


def _csv(columns: Sequence[str]) -> str:
    """The files in ``$files`` as text columns, as SQL; the dialect is given, nothing is guessed."""
    names = ", ".join(f"{equality.literal(one)}: 'VARCHAR'" for one in columns)
    return f"""read_csv($files, columns = {{{names}}}, auto_detect = false, header = true, delim = ',', quote = '"',
        escape = '"', new_line = '\\n', strict_mode = true, filename = true, compression = 'auto_detect',
        max_line_size = {_LONGEST_LINE}, buffer_size = {_BUFFER})"""


def _batch_outcomes(given: Given, key: str) -> Iterator[tuple[tuple[Any, ...], pl.DataFrame]]:
    """Of each batch: its file, job and most frequent outcome, and the rows with another one. One batch is in memory at a time."""
    last = given.ledger.last_attempts()
    results: dict[int, list[Result]] = {}
    for result in given.ledger.results():
        results.setdefault(result.attempt, []).append(result)
    for batch in given.ledger.batches():
        attempt = last.get(batch.number)
        path = _present(given.data / batch.file)
        unusual, usual = pl.DataFrame(), _without_results(attempt)
        if attempt is not None and attempt.state == "fetched":
            rows = _outcomes(
                read_batch(path).select(pl.col(key).alias("key")), results[attempt.id], given.logs, key
            )
            usual = rows["outcome"].mode().sort()[0] if rows.height else usual
            unusual = rows.filter(pl.col("outcome") != usual)
        job = attempt.job_id if attempt else None
        yield (str(path), batch.number, job or "", usual, batch.rows), unusual


def _without_results(attempt: Attempt | None) -> str:
    return "not sent" if attempt is None or attempt.state == "given_up" else "unknown"


def _outcomes(staged: pl.DataFrame, results: Sequence[Result], logs: Path, key: str) -> pl.DataFrame:
    """``key`` and ``outcome`` of every staged row; result files are joined by key alone, because they come unordered."""
    parts = []
    for kind in KINDS:
        (result,) = (one for one in results if one.kind == kind)
        made = pl.when("created").then(pl.lit("created")).otherwise(pl.lit("updated"))
        outcome = made if kind == "success" else pl.lit(kind)
        parts.append(read_result(_present(logs / result.file), key).select("key", outcome.alias("outcome")))
    known = pl.concat(parts).unique("key", keep="first", maintain_order=True)
    return staged.join(known, on="key", how="left").with_columns(pl.col("outcome").fill_null("unknown"))


def _occasion(ledger: Ledger) -> str:
    """What the ledger says of the upload: a read-back from before a further upload proves nothing."""
    states = [(attempt.id, attempt.state) for attempt in ledger.attempts()]
    return hashlib.sha256(json.dumps(states).encode()).hexdigest()[:16]


def _present(path: Path) -> Path:
    if not path.is_file():
        raise RunFolderError(
            f"{path} is gone: without it nothing can be compared.",
            "Restore it from a backup; a result file that Salesforce still keeps (7 days) is fetched by 03_reconcile.",
        )
    return path


def _quoted(value: str | None) -> str:
    return "empty" if value is None else repr(value if len(value) <= 60 else value[:59] + "…")
