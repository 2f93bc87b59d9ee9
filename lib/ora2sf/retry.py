"""One step: rows that failed or were rejected, by reason; and what is done about them: new rules, edited cells, or left out.

Rows that are sent again become the batches of a further round, so upload, resume and books know them like others. The ledger
learns of a fix and its batches in one transaction; the list of its rows is on disk before that. A fix begun and not recorded is none.
"""

from __future__ import annotations

import datetime as dt
import getpass
import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from ora2sf import edited, results
from ora2sf.batches import BatchWriter, read_staged
from ora2sf.convert import Converter
from ora2sf.errors import LedgerError, ParameterError
from ora2sf.fields import KeyField, refuses
from ora2sf.kept import SourceRows, source_file
from ora2sf.keys import key_file, searching
from ora2sf.ledger import Batch, Fix, Ledger, Way
from ora2sf.remedies import REJECTED, explained, remedy
from ora2sf.tables import TableConfig

#: Rows in a batch that is sent again: one internal batch of Salesforce.
_BATCH = 10_000
_TWICE = "duplicate key"
#: What the exported file tells of each row, behind its cells.
NOTES = ("retry_was", "retry_code", "retry_field", "retry_message", "retry_meaning")
_WAITING = {name: pl.String() for name in ("key", "row", "was", "code", "field", "message")}
#: Keys of a table file that a fix may change beside its fields: they decide no staged byte of other rows.
_FREE = {"description", "phase", "depends_on", "job_timeout", "status", "batch_size", "max_rejected", "max_rejected_share"}  # fmt: skip
#: Of the rejected rows asked for, those that win among all rows with their key, none of which is staged.
_WINNERS = """
    WITH keys AS (FROM read_parquet($keys)), mine AS (SELECT key, row FROM keys SEMI JOIN wanted USING (row)),
         groups AS (SELECT key, min(row) AS first, max(row) AS last, count(*) AS rows, count(position) AS staged
                    FROM keys SEMI JOIN mine USING (key) GROUP BY key)
    SELECT row FROM mine JOIN groups USING (key)
    WHERE staged = 0 AND (rows = 1 OR CASE $policy WHEN 'first' THEN row = first WHEN 'last' THEN row = last ELSE false END)
    ORDER BY row
    """


@dataclass(frozen=True)
class Slice:
    """What this step works on; ``config`` is the table file that the staged rows were made with last."""

    config: TableConfig
    ledger: Ledger
    data: Path
    logs: Path
    rejected: Path

    @property
    def key(self) -> str:
        """The column of the external id."""
        return self.config.external_id_field

    @property
    def export(self) -> Path:
        """The file to edit."""
        return self.logs / f"{self.config.table}_retry.csv"

    @property
    def excluded(self) -> Path:
        """The list of everything that was excluded."""
        return self.logs / f"{self.config.table}_excluded.csv"


@dataclass(frozen=True)
class Choice:
    """Which rows: those with an error code (``REJECTED`` for rejected rows) and those at fault in a field; empty for all."""

    code: str = ""
    field: str = ""

    def of(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """These of the rows."""
        if self.code:
            rows = rows.filter(pl.col("code") == self.code)
        if self.field:
            rows = rows.filter(pl.col("field").str.split(",").list.contains(self.field))
        return rows

    def __str__(self) -> str:
        said = [
            f"error_code = {self.code}" if self.code else "",
            f"error_field = {self.field}" if self.field else "",
        ]
        return " and ".join(filter(None, said)) or "all"


@dataclass(frozen=True)
class Who:
    """Who does it, and why."""

    reason: str = ""
    name: str = ""


@dataclass(frozen=True)
class Done:
    """What a fix came to: how many rows are sent again or left out, and why others are not."""

    fix: Fix | None
    batches: list[Batch]
    left: Counter[str]
    changed: Counter[str] = field(default_factory=Counter)


def user() -> str:
    """The operating system's name of who works here."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        return f"user {os.getuid()}"


# what waits


def waiting(slice_: Slice, choice: Choice) -> list[tuple[Batch | None, pl.LazyFrame]]:
    """Rows that failed, batch by batch, and last those that were rejected: ``key``, ``row``, ``was``, ``code``, ``field``, ``message``.

    ``row`` is empty for a failed row. ``field`` lists all fields at fault, with commas; ``cause`` tells reasons of one code apart.
    """
    found: list[tuple[Batch | None, pl.LazyFrame]] = []
    for batch, rows in results.failed_rows(slice_.ledger, slice_.data, slice_.logs, slice_.key):
        named = (
            pl.when(pl.col("fields") != "")
            .then("fields")
            .otherwise(pl.col("reference").str.extract(r"^(\S+)"))
        )
        failed = rows.filter(pl.col("key") != "").select(
            "key",
            row=pl.lit("", pl.String),
            was=pl.lit("failed"),
            code="code",
            field=named.fill_null("").str.replace_all(", ", ","),
            message="message",
            cause=pl.col("reference").fill_null(""),
        )
        found.append((batch, choice.of(failed)))
    others = pl.col("also").fill_null("").str.replace_all(r": [^;]*", "").str.replace_all("; ", ",")
    rejected = results.rejected_rows(slice_.ledger, slice_.logs, slice_.rejected).select(
        pl.col("key").fill_null(""),
        row="row",
        was=pl.lit("rejected"),
        code=pl.lit(REJECTED),
        field=pl.concat_str("field", others, separator=",").str.strip_chars_end(","),
        message=pl.concat_str("rule", pl.lit("; value "), pl.col("value").fill_null("")),
        cause="rule",
    )
    return [*found, (None, choice.of(rejected))]


def triage(slice_: Slice, choice: Choice) -> pl.DataFrame:
    """The rows that wait, by reason: ``was``, ``code``, ``field``, ``rows``, an example's ``message`` and ``key``, meaning and remedy."""
    grouped = (
        pl.concat([rows for _, rows in waiting(slice_, choice)])
        .group_by("was", "code", "field", "cause")
        .agg(pl.len().alias("rows"), pl.col("message").min(), pl.col("key").sort_by("message", "key").first())
        .sort("was", "rows", "code", "field", "cause", descending=[False, True, False, False, False])
        .collect(engine="streaming")
    )
    texts = [
        (explained(code), remedy(code, cause)) for code, cause in grouped.select("code", "cause").iter_rows()
    ]
    said = pl.DataFrame(texts, schema={"meaning": pl.String, "remedy": pl.String}, orient="row")
    return pl.concat([grouped.drop("cause"), said], how="horizontal")


def export(slice_: Slice, choice: Choice) -> int | None:
    """Writes the rows that wait to the file to edit, with all their cells; how many.

    A rejected row has the source's text where a value does not fit. Duplicates and rows without a key are not in the
    file, and no rejected row is when the source columns were not kept.
    A file that somebody has edited is left as it is: None.
    """
    path, ledger = slice_.export, slice_.ledger
    if path.exists() and _digest(path) != ledger.setting("retry_export"):
        return None
    part, count = path.with_name(path.name + ".part"), 0
    part.touch(mode=0o600)
    with part.open("wb") as file:
        file.write("\ufeff".encode())  # without it a spreadsheet takes the text for another encoding
        file.write((",".join((*slice_.config.header, *NOTES)) + "\n").encode())
        for rows in _editable(slice_, choice):
            rows.select(*slice_.config.header, *NOTES).write_csv(file, include_header=False)
            count += rows.height
        file.flush()
        os.fsync(file.fileno())
    ledger.record("retry_export", _digest(part))
    part.replace(path)
    return count


def _editable(slice_: Slice, choice: Choice) -> Iterator[pl.DataFrame]:
    """The rows that wait with their cells, batch by batch, and the columns :data:`NOTES` beside ``key`` and ``row``."""
    for batch, lazy in waiting(slice_, choice):
        rows = lazy.drop("cause").collect()
        if batch is not None and rows.height:
            cells = read_staged(slice_.data, batch).select(slice_.config.header)
            cells = cells.with_columns(pl.col(slice_.key).alias("key"))
            yield _with_notes(cells.join(rows, on="key", how="inner", maintain_order="left"))
        elif batch is None:
            yield from _rejected_cells(slice_, rows)


def _with_notes(rows: pl.DataFrame) -> pl.DataFrame:
    meaning = pl.col("code").map_elements(explained, return_dtype=pl.String)
    return rows.with_columns(
        retry_was="was",
        retry_code="code",
        retry_field="field",
        retry_message="message",
        retry_meaning=meaning,
    )


def _rejected_cells(slice_: Slice, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    rows = rows.filter(pl.col("key") != "").with_columns(number=pl.col("row").cast(pl.Int64)).sort("number")
    if not rows.height or not source_file(slice_.data, slice_.config.table).exists():
        return
    rows = rows.filter(pl.col("number").is_in(winners(slice_, rows["number"]).implode()))
    source = SourceRows(slice_.data, slice_.config.table)
    convert = Converter(slice_.config, source.schema, source.padded)
    for numbers, columns in source.take(rows["number"]):
        cells = convert.attempted(columns).with_columns(number=numbers)
        yield _with_notes(cells.join(rows, on="number", how="inner", maintain_order="left"))


def winners(slice_: Slice, rows: pl.Series) -> pl.Series:
    """Of rejected rows, those that count among the rows with their key (``duplicates`` of the table file)."""
    wanted = pl.DataFrame({"row": rows.cast(pl.Int64)})
    given = {
        "keys": str(results.present(key_file(slice_.data, slice_.config.table))),
        "policy": slice_.config.duplicates,
    }
    with searching(slice_.data) as db:
        db.register("wanted", wanted.to_arrow())
        found = db.execute(_WINNERS, given).fetchall()
    return pl.Series("row", [row for (row,) in found], dtype=pl.Int64)


def _rows_of(slice_: Slice, keys: pl.DataFrame) -> pl.DataFrame:
    """``key`` and ``number`` of the source row from which each staged key was made.

    The key file has keys as Salesforce compares them: as they are where their case counts, else in small letters.
    """
    key = pl.col("key").str.strip_chars()
    exact = keys.select("key", probe=key, rank=pl.lit(0))
    wanted = pl.concat([exact, keys.select("key", probe=key.str.to_lowercase(), rank=pl.lit(1))])
    query = """
        WITH keys AS (SELECT key AS probe, row, position FROM read_parquet($keys))
        SELECT key, arg_min(row, rank) AS number FROM wanted JOIN keys USING (probe)
        WHERE position IS NOT NULL OR row IN (SELECT row FROM recovered) GROUP BY key"""
    recovered = results.fixed_rows(slice_.ledger, slice_.logs, "rejected", "table", "csv")
    with searching(slice_.data) as db:
        db.register("wanted", wanted.to_arrow())
        db.register("recovered", recovered.select(pl.col("row").cast(pl.Int64)).to_arrow())
        path = results.present(key_file(slice_.data, slice_.config.table))
        found = db.execute(query, {"keys": str(path)}).fetchall()
    return pl.DataFrame(found, schema={"key": pl.String, "number": pl.Int64}, orient="row")


# the three ways


def changes(before: TableConfig, after: TableConfig) -> list[str]:
    """What differs in two table files, for people: a fix may change the rules of fields and nothing that decides what a row is.

    Raises:
        LedgerError: key, object, external id, order, source or the set of fields differ as well.
    """
    one, other = (config.model_dump(mode="json", exclude=_FREE | {"fields"}) for config in (before, after))
    wrong = [name for name in one if one[name] != other[name]]
    if before.header != after.header:
        wrong.append("the fields and their order")
    wrong += [
        f"the rule of {old.field}"
        for old, new in zip(before.fields, after.fields, strict=False)
        if old != new and (isinstance(old, KeyField) or old.field == before.parent)
    ]
    if wrong:
        raise LedgerError(
            f"The table file of {after.table} differs in {', '.join(wrong)}: rows of this run would be others than before.",
            "Put that back as it was, and change the rules of single fields only; for more use a new run_id.",
        )
    pairs = [
        (old.model_dump(mode="json"), new.model_dump(mode="json"))
        for old, new in zip(before.fields, after.fields, strict=True)
    ]
    return [
        f"{new['field']}.{name}: {old.get(name)!r} → {new.get(name)!r}"
        for old, new in pairs
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name)
    ]


def by_table(slice_: Slice, after: TableConfig, choice: Choice, who: Who) -> Done:
    """Converts the chosen rows again, with the table file as it is now, from the source columns that were kept.

    Rows that failed are sent as the rules make them now, changed or not: perhaps the org was corrected. Rows that do not fit are left
    where they are.

    Raises:
        LedgerError: the table file differs in more than rules of fields.
        RunFolderError: the source columns were not kept.
    """
    changed = changes(slice_.config, after)
    todo, left = _convertible(slice_, choice)
    stage = _Stage(slice_, who, "table", choice, after, "; ".join(changed))
    source = SourceRows(slice_.data, slice_.config.table) if todo.height else None
    convert = Converter(after, source.schema, source.padded) if source else None
    with stage:
        for numbers, columns in source.take(todo["number"]) if source else ():
            assert convert
            made = convert.convert(columns, 1)
            left.update(f"{one.field}: {one.rule}" for one in made.rejected)
            stage.changed.update({f"{name}: {rule}": number for (name, rule), number in made.changed.items()})
            places = made.staged[Converter.row_column] - 1
            stage.add(made.staged.with_columns(number=numbers[places.to_list()]), todo)
        return stage.finish(+left)


def _convertible(slice_: Slice, choice: Choice) -> tuple[pl.DataFrame, Counter[str]]:
    """The chosen rows with the ``number`` of their source row, and how many have none or do not count.

    They come in reading order, in which rows of one parent stay together.
    """
    rows = pl.concat([lazy.drop("cause").collect() for _, lazy in waiting(slice_, choice)])
    failed, rejected = rows.filter(was="failed"), rows.filter(was="rejected")
    sources = failed.join(_rows_of(slice_, failed), on="key", how="inner")
    numbered = rejected.with_columns(number=pl.col("row").cast(pl.Int64))
    if numbered.height:
        numbered = numbered.filter(pl.col("number").is_in(winners(slice_, numbered["number"]).implode()))
    left = Counter({"another row has this key, or there is none": rejected.height - numbered.height})
    return pl.concat([sources, numbered]).sort("number"), left


def by_csv(slice_: Slice, who: Who) -> Done:
    """Takes the edited file: its rows are sent again as they stand there; rows that wait and are not in it go on waiting.

    Raises:
        EditedFileError: the file cannot be taken; every line at fault is listed and nothing is staged.
    """
    config, path = slice_.config, slice_.export
    lines = edited.read(path, slice_.key, [name for name in config.header if name != slice_.key])
    columns = [*_WAITING, *config.header]
    nothing = pl.DataFrame(schema=dict.fromkeys(columns, pl.String()))
    before = pl.concat([nothing, *(rows.select(columns) for rows in _editable(slice_, Choice()))])
    changed = _checked(slice_, lines, before)
    cells = [[line.cells[name] or None for name in config.header] for line in lines]
    rows = pl.DataFrame(cells, schema=dict.fromkeys(config.header, pl.String), orient="row")
    if config.parent_field:
        rows = rows.sort(config.parent_field.header, maintain_order=True)
    stage = _Stage(slice_, who, "csv", Choice(), config, "")
    stage.changed = changed
    with stage:
        stage.add(rows.with_columns(pl.col(slice_.key).alias("key")), before.select(*_WAITING), on="key")
        done = stage.finish(+Counter({"not in the file": before.height - len(lines)}))
    if done.fix:
        path.replace(path.with_name(f"{config.table}_fix_{done.fix.number}_edited.csv"))
    return done


def _checked(slice_: Slice, lines: list[edited.Line], before: pl.DataFrame) -> Counter[str]:
    """Holds each line against the row that it was; how many cells of each field were changed.

    Raises:
        EditedFileError: lines are at fault.
    """
    known = {row["key"]: row for row in before.iter_rows(named=True)}
    problems, changed = {}, Counter[str]()
    for line in lines:
        key = line.cells[slice_.key]
        if key not in known:
            problems[line.number] = f"{slice_.key} {key!r} is no row that failed or was rejected; take it out"
        elif wrong := _wrong(slice_.config, known[key], line.cells, changed):
            problems[line.number] = f"{slice_.key} {key}: {'; '.join(wrong)}"
    edited.check(slice_.export, problems)
    return changed


def _wrong(
    config: TableConfig, old: dict[str, str | None], new: dict[str, str], changed: Counter[str]
) -> list[str]:
    """What is wrong with an edited row; counts the cells that were changed.

    A cell that nobody touched was accepted before, unless the row was rejected for it.
    """
    found = []
    at_fault = (old["field"] or "").split(",") if old["was"] == "rejected" else []
    for spec in config.fields:
        before, after = old[spec.header] or "", new[spec.header]
        changed[spec.field] += before != after
        if before == after and spec.field not in at_fault:
            continue
        if why := refuses(spec, after) or edited.damage(before, after):
            found.append(f"{spec.field} = {after[:60]!r}: {why}")
        elif before == after:
            found.append(f"{spec.field} = {after[:60]!r} is what the row was rejected for: {old['message']}")
    return found


def exclude(slice_: Slice, choice: Choice, who: Who) -> Done:
    """Leaves the chosen rows out for good, with a reason: they count as excluded.

    Raises:
        ParameterError: no reason is given, or all rows are meant.
    """
    if not who.reason.strip():
        raise ParameterError(
            "No reason is given for leaving rows out.", "Give reason: it stands in the list of excluded rows."
        )
    if choice == Choice():
        raise ParameterError(
            "Which rows are to be left out is not said.", "Give error_code, error_field or both."
        )
    rows = pl.concat([lazy.drop("cause").collect() for _, lazy in waiting(slice_, choice)])
    stage = _Stage(slice_, who, "exclude", choice, slice_.config, "")
    stage.rows.append(rows.select(*_WAITING))
    done = stage.finish(Counter())
    write_excluded(slice_)
    return done


def write_excluded(slice_: Slice) -> None:
    """Writes ``<table>_excluded.csv`` anew from the lists of all exclusions; they are the record, this is for readers."""
    lists = [results.fixed_rows(slice_.ledger, slice_.logs, was, "exclude") for was in ("failed", "rejected")]
    rows = pl.concat(lists).sort("at", maintain_order=True)
    if rows.height:
        _save(rows, slice_.excluded)


class _Stage:
    """Where a fix puts its rows: batches of a round of their own, and the list of the rows."""

    def __init__(
        self, slice_: Slice, who: Who, way: Way, choice: Choice, after: TableConfig, changes: str
    ) -> None:
        self._slice, self._who, self._way, self._choice = slice_, who, way, choice
        self._after, self._changes = after, changes
        ledger, config = slice_.ledger, slice_.config
        self.number = len(ledger.fixes()) + 1
        batches = ledger.all_batches()
        self._round = max((batch.round for batch in batches), default=0) + 1
        self._writer = BatchWriter(
            slice_.data,
            f"{config.table}_fix{self.number}",
            config.header,
            slice_.key,
            min(_BATCH, int(ledger.setting("batch_size") or _BATCH)),
            parent=config.parent_field.header if config.parent_field else None,
            first=ledger.next_batch(),
            round_number=self._round,
        )
        self.rows: list[pl.DataFrame] = []
        self.changed: Counter[str] = Counter()

    def __enter__(self) -> None:
        """A file that is being written is let go of when something fails."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind:
            self._writer.abandon()

    def add(self, cells: pl.DataFrame, known: pl.DataFrame, on: str = "number") -> None:
        """Stages rows, and notes what is known of them."""
        self._writer.add(cells)
        mine = cells.select(on, made=pl.col(self._slice.key))
        noted = mine.join(known, on=on, how="inner", maintain_order="left")
        if not noted.select((pl.col("made") == pl.col("key")).all()).item() or noted.height != cells.height:
            raise LedgerError("A row would be sent again under another key.", "Report this as a defect.")
        self.rows.append(noted.select(*_WAITING))

    def finish(self, left: Counter[str]) -> Done:
        """Writes the list of the rows, then tells the ledger; without a row nothing is recorded."""
        batches = self._writer.finish()
        rows = pl.concat(self.rows) if self.rows else pl.DataFrame(schema=_WAITING)
        if not rows.height:
            return Done(None, [], left, +self.changed)
        fix = self._fix(rows, self._round if batches else 0)
        self._slice.ledger.add_fix(fix, batches)
        return Done(fix, batches, left, +self.changed)

    def _fix(self, rows: pl.DataFrame, number: int) -> Fix:
        """What the ledger will know, once the list of the rows is on disk."""
        slice_, who = self._slice, self._who
        at = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        path = slice_.logs / f"{slice_.config.table}_fix_{self.number}.csv"
        noted = rows.with_columns(reason=pl.lit(who.reason), who=pl.lit(who.name), at=pl.lit(at))
        by_kind = Counter(rows["was"].to_list())
        return Fix(
            number=self.number,
            at=at,
            way=self._way,
            who=who.name,
            reason=who.reason,
            code=self._choice.code,
            field=self._choice.field,
            round=number,
            failed=by_kind["failed"],
            rejected=by_kind["rejected"],
            file=path.name,
            sha256=_save(noted.select(results.FIXED), path),
            old_fingerprint=slice_.ledger.fingerprint or "",
            fingerprint=self._after.fingerprint,
            changes=self._changes,
            table_file=self._after.model_dump_json(),
        )


def _save(rows: pl.DataFrame, path: Path) -> str:
    """Writes a CSV file whole or not at all; returns its sha256."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        rows.write_csv(file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return _digest(path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
