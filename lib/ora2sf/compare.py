"""One step: is every row in the org, with every value? Staged rows against a read-back, out of core in DuckDB.

Both sides become a key and a hash of the row (:mod:`ora2sf.sides`), which are joined; values are looked at only where the
hashes differ. The rules of equality stand in :mod:`ora2sf.equality`, the files and the memory in docs/reconcile.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ora2sf import equality, totals
from ora2sf.batches import RejectedFile
from ora2sf.equality import DIFFERENT, Compared, How
from ora2sf.results import present
from ora2sf.salesforce import BulkQuery, ReadBack, SalesforceClient
from ora2sf.sides import THERE, Given, Sides, csv, value

__all__ = ["Found", "Given", "compare"]

_EXAMPLES = 5


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
        whole = self.how.mode == "full" and not self.skipped and 0 < self.expected == self.looked_at
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

    def details(self) -> dict[str, Any]:
        """What the report shows besides: the first differences in words, and the totals of both sides; with values of rows."""
        lines = [
            {
                "field": line.field,
                "staged": line.staged.as_json(),
                "target": line.target.as_json() if line.target else None,
                "differs": line.differs,
                "note": line.note,
            }
            for line in self.lines
        ]
        return {"examples": self.examples, "lines": lines}


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
    if given.config.operation == "delete":
        how = replace(how, mode="counts")  # it leaves nothing whose values could be compared
    with Sides(given, how) as sides:
        found = Found(how, skipped=sides.skipped, staged=sides.load_staged())
        if given.config.operation != "delete":
            found.expected = sum(found.staged[name] for name in ("created", "updated"))
        if not any(found.staged.values()):
            return found  # a source without a row says nothing of what earlier ones brought
        match how.mode:
            case "full":
                _in_full(sides, found, bulk or BulkQuery(client, given.work / "target"), fetched)
            case "sample":
                sides.keep_sample(how.size, how.seed)
                back = sides.load_target(lambda: sides.ask_for_staged(client))
                _Search(sides, found).find(back, extras=False)
            case "aggregates":
                found.in_target = client.count(given.config.object)
                found.lines = _Totals(sides).lines(found, client)
            case "counts":
                found.in_target = client.count(given.config.object)
    return found


def _in_full(sides: Sides, found: Found, bulk: BulkQuery, fetched: Callable[[int], object]) -> None:
    back = sides.load_target(lambda: sides.read_back(bulk, fetched), bulk)
    found.in_target, found.job_id, found.asked = back.rows, back.job_id, back.asked
    config = sides.given.config
    alone = sides.given.whole and not config.shared_target and config.operation != "update"
    _Search(sides, found).find(back, extras=alone)
    found.lines = _Totals(sides).lines(found)
    bulk.finished()


class _Search:
    """What does not match, looked at and listed.

    Args:
        sides: both sides, loaded; found: is filled.
    """

    def __init__(self, sides: Sides, found: Found) -> None:
        self._sides, self._found = sides, found
        self._run, self._one = sides.run, sides.one

    def find(self, back: ReadBack, *, extras: bool) -> None:
        """Joins both sides and looks at what does not match; the lists are written."""
        self._run(f"""
            CREATE TABLE odd AS
            SELECT staged.folded AS ours, target.folded AS theirs, staged.batch, staged.outcome, target.page,
                   staged.hash = target.hash AS same
            FROM staged FULL JOIN target ON staged.folded = target.folded
            WHERE staged.hash IS DISTINCT FROM target.hash OR staged.outcome NOT IN {THERE}""")
        self._count_unmatched()
        self._find_extras(extras=extras)
        self._compare_values(back)
        self._write_lists()
        self._choose_examples()

    def _count_unmatched(self) -> None:
        # by reference, because null <> null: a record without a key matches nothing
        missing = f"ours IS NOT NULL AND page IS NULL AND outcome IN {THERE}"
        self._found.missing = self._one(f"SELECT count(*) FROM odd WHERE {missing}")
        self._found.looked_at = self._one(f"SELECT count(*) FROM staged WHERE outcome IN {THERE}")
        self._found.there = {
            str(outcome): int(rows)
            for outcome, rows in self._run(f"""
                SELECT CAST(outcome AS VARCHAR), count(DISTINCT ours) FROM odd
                WHERE outcome NOT IN {THERE} AND page IS NOT NULL GROUP BY ALL""")
        }

    def _find_extras(self, *, extras: bool) -> None:
        """Records that no staged row explains: of rejected rows, of others, or one too many."""
        self._run("CREATE TABLE spare (key VARCHAR, id VARCHAR, why VARCHAR)")
        self._find_twice()
        self._run(
            f"""CREATE TABLE refused AS
            SELECT DISTINCT {equality.folded("key", exact=self._sides.key.exact)} AS folded
            FROM {csv(RejectedFile.HEADER)} WHERE key <> ''""",
            files=[str(present(self._sides.given.rejected))],
        )
        alone = """FROM target WHERE (folded IS NULL OR folded IN (SELECT theirs FROM odd WHERE ours IS NULL))
                   AND NOT EXISTS (FROM refused WHERE refused.folded = target.folded)"""
        unknown = self._one(f"SELECT count(*) {alone}")
        stranger = "SELECT count(*) FROM odd WHERE ours IS NULL AND page IS NOT NULL"
        self._found.rejected_there = self._one(stranger) - unknown
        if extras:
            self._run(f"INSERT INTO spare SELECT key, id, 'neither staged nor rejected' {alone}")
        else:
            self._found.others = unknown
        self._found.extra = self._one("SELECT count(*) FROM spare")

    def _find_twice(self) -> None:
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

    def _compare_values(self, back: ReadBack) -> None:
        self._run(
            "CREATE TABLE cells (key VARCHAR, field VARCHAR, staged VARCHAR, target VARCHAR, what VARCHAR)"
        )
        self._run(f"""
            CREATE TABLE unlike AS SELECT ours AS folded, batch, page, outcome FROM odd
            WHERE ours IS NOT NULL AND page IS NOT NULL AND outcome IN {THERE}""")
        if self._one("SELECT count(*) FROM unlike"):
            self._pair(back)
            for at, one in enumerate(self._sides.fields):
                said = equality.verdict(one, f"s{at}", f"t{at}", "created", self._sides.how.rules)
                self._run(f"""
                    INSERT INTO cells SELECT key, {equality.literal(one.field)}, s{at}, t{at}, what
                    FROM (SELECT *, {said} AS what FROM pairs WHERE {equality.written_otherwise(f"s{at}", f"t{at}")})
                    WHERE what IS NOT NULL""")
        self._found.different = self._one(f"SELECT count(DISTINCT key) FROM cells WHERE what = '{DIFFERENT}'")
        counted = self._run("SELECT what, field, count(*) FROM cells GROUP BY ALL ORDER BY ALL")
        for what, name, values in counted:
            if what == DIFFERENT:
                self._found.by_field[name] = values
            else:
                self._found.explained[what] = self._found.explained.get(what, 0) + values
        self._found.different_values = sum(self._found.by_field.values())

    def _pair(self, back: ReadBack) -> None:
        """The rows whose hashes differ, both sides beside each other; only the files that hold them are read again."""
        ours = ", ".join(
            f"nullif({equality.name(one.staged)}, '') AS s{at}" for at, one in enumerate(self._sides.fields)
        )
        theirs = ", ".join(
            f"{equality.target_value(one.target)} AS t{at}" for at, one in enumerate(self._sides.fields)
        )
        batches = self._run("SELECT path FROM files WHERE batch IN (SELECT batch FROM unlike) ORDER BY batch")
        pages = self._run("SELECT DISTINCT page FROM unlike ORDER BY page")
        exact, key = self._sides.key.exact, equality.name(self._sides.key.staged)
        self._run(
            f"""CREATE TABLE one_side AS
            SELECT {key} AS key, unlike.folded, unlike.outcome = 'created' AS created, {ours}
            FROM {csv(self._sides.given.config.header)} AS file JOIN files ON files.path = file.filename
            JOIN (SELECT DISTINCT folded, batch, outcome FROM unlike) AS unlike
              ON unlike.batch = files.batch AND unlike.folded = {equality.folded(f"file.{key}", exact=exact)}""",
            files=[path for (path,) in batches],
        )
        self._run(
            f"""CREATE TABLE other_side AS
            SELECT {equality.folded(f"file.{equality.name(self._sides.key.target)}", exact=exact)} AS folded, {theirs}
            FROM {csv(self._sides.columns)} AS file
            WHERE {equality.folded(f"file.{equality.name(self._sides.key.target)}", exact=exact)} IN (SELECT folded FROM unlike)""",
            files=[str(back.paths[page]) for (page,) in pages],
        )
        self._run("CREATE TABLE pairs AS SELECT * FROM one_side JOIN other_side USING (folded)")

    # lists

    def _write_lists(self) -> None:
        staged = "staged ON staged.folded = odd.ours AND staged.batch = odd.batch"
        lists = {
            "differences": f"SELECT key, field, staged, target FROM cells WHERE what = '{DIFFERENT}' ORDER BY key, field",
            "missing": f"""SELECT staged.key, staged.batch, job FROM odd JOIN {staged} JOIN files ON files.batch = staged.batch
                WHERE page IS NULL AND odd.outcome IN {THERE} ORDER BY staged.key""",
            "extra": 'SELECT key, id AS "Id", why FROM spare ORDER BY key, id',
            "not_compared": f"""SELECT staged.key, odd.outcome, CASE WHEN page IS NULL THEN 'no' WHEN same THEN 'yes'
                ELSE 'yes, with other values' END AS "in the org" FROM odd JOIN {staged}
                WHERE odd.outcome NOT IN {THERE} ORDER BY odd.outcome, staged.key""",
        }
        for kind, query in lists.items():
            path = self._sides.given.logs / f"{self._sides.given.config.table}_{kind}.csv"
            part = path.with_name(path.name + ".part")
            to = equality.literal(str(part))
            rows = self._one(f"COPY ({query}) TO {to} (FORMAT csv, HEADER, FORCE_QUOTE *)")
            part.replace(path)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            self._found.files[path.name] = {"rows": int(rows), "sha256": digest}

    def _choose_examples(self) -> None:
        staged = "staged ON staged.folded = odd.ours AND staged.batch = odd.batch"
        some = f"LIMIT {_EXAMPLES}"
        for (key,) in self._run(f"""SELECT staged.key FROM odd JOIN {staged}
                WHERE page IS NULL AND odd.outcome IN {THERE} ORDER BY ALL {some}"""):
            self._found.examples.append(f"{key} is missing")
        for key, record, why in self._run(f"SELECT key, id, why FROM spare ORDER BY key, id {some}"):
            self._found.examples.append(
                f"{key or 'a record without a key'} ({record}) is one too many: {why}"
            )
        differing = f"FROM cells WHERE what = '{DIFFERENT}' ORDER BY key, field {some}"
        for key, name, ours, theirs in self._run(f"SELECT key, field, staged, target {differing}"):
            self._found.examples.append(f"{key}: {name} is {_quoted(theirs)}, staged was {_quoted(ours)}")
        for key, page, same in self._run(f"""SELECT staged.key, page, same FROM odd JOIN {staged}
                WHERE odd.outcome = 'unknown' ORDER BY staged.key {some}"""):
            how = "not in the org" if page is None else "in the org" + ("" if same else ", with other values")
            self._found.examples.append(f"{key} is in no result file, and {how}")


class _Totals:
    """COUNT, SUM, MIN and MAX of both sides, over the rows that have to be in the org."""

    def __init__(self, sides: Sides) -> None:
        self._sides, self._run = sides, sides.run

    def _staged_totals(self) -> list[totals.Total]:
        asked = totals.columns(self._sides.measured, value)
        return totals.read(
            self._sides.measured, self._run(f"SELECT {asked} FROM staged WHERE outcome IN {THERE}")[0]
        )

    def lines(self, found: Found, client: SalesforceClient | None = None) -> list[totals.Line]:
        """Both sides of every field that has totals; the org's from the read-back, or asked for if there is a client."""
        if not self._sides.measured:
            return []
        known = self._asked_totals(client, found) if client else self._target_totals(found)
        made = []
        for one, ours in zip(self._sides.measured, self._staged_totals(), strict=True):
            theirs = known[one.field]
            if isinstance(theirs, str):
                made.append(totals.Line(one.field, one.kind, ours, None, theirs))
            else:
                line = totals.Line(one.field, one.kind, ours, theirs)
                made.append(totals.as_double(line) if client else line)
        return made

    def _target_totals(self, found: Found) -> dict[str, totals.Total | str]:
        """The org's totals over the records of the rows that have to be there; one field → what it has, or why not."""
        left = self._left_to_the_org()
        ours = f"SELECT folded FROM staged WHERE outcome IN {THERE}"
        alone = found.in_target == found.looked_at - found.missing
        rows = "FROM target" if alone else f"FROM target SEMI JOIN ({ours}) AS ours USING (folded)"
        known = self._totals([one for one in self._sides.measured if one.field not in left], rows)
        if others := [one for one in self._sides.measured if one.field in left]:
            cells = ", ".join(
                f"CASE WHEN staged.{value(one)} IS NOT NULL THEN target.{value(one)} END AS {value(one)}"
                for one in others
            )
            joined = f"SELECT {cells} FROM target JOIN staged USING (folded) WHERE staged.outcome IN {THERE}"
            known |= self._totals(others, f"FROM ({joined}) AS joined")
        return known

    def _totals(self, fields: Sequence[Compared], rows: str) -> dict[str, totals.Total | str]:
        if not fields:
            return {}
        made = totals.read(fields, self._run(f"SELECT {totals.columns(fields, value)} {rows}")[0])
        return {one.field: total for one, total in zip(fields, made, strict=True)}

    def _left_to_the_org(self) -> frozenset[str]:
        """Fields that some row leaves as they were, or to the org's default: what is there then is no part of the totals."""
        some = [one for one in self._sides.measured if one.leaves]
        if not some:
            return frozenset()
        asked = ", ".join(
            f"count(*) FILTER ({value(one)} IS NULL AND (outcome = 'updated' OR {_has_default(one)}))"
            for one in some
        )
        counted = self._run(f"SELECT {asked} FROM staged WHERE outcome IN {THERE}")[0]
        return frozenset(one.field for one, rows in zip(some, counted, strict=True) if rows)

    def _asked_totals(self, client: SalesforceClient, found: Found) -> dict[str, totals.Total | str]:
        """The org's totals by SOQL, where all of its records are this slice's."""
        if found.in_target != found.expected:
            why = f"the org's sums are of all {found.in_target:,} records, and {found.expected:,} are this slice's"
            return dict.fromkeys((one.field for one in self._sides.measured), why)
        left = self._left_to_the_org()
        why = "some rows leave it to the org: only compare = full can tell"
        known: dict[str, totals.Total | str] = dict.fromkeys(left, why)
        asked = [one for one in self._sides.measured if one.field not in left]
        for some, soql in totals.queries(self._sides.given.config.object, asked):
            (record,) = client.query(soql)
            known |= {
                one.field: total for one, total in zip(some, totals.answered(some, record), strict=True)
            }
        return known


def _has_default(one: Compared) -> str:
    return "true" if one.unknown_default or one.default is not None else "false"


def _quoted(value: str | None) -> str:
    return "empty" if value is None else repr(value if len(value) <= 60 else value[:59] + "…")
