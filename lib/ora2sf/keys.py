"""Keys and references of staged rows, in small Parquet files that DuckDB looks through out of core.

``<table>_keys.parquet`` has a line for each row with a key, rejected rows too: ``row`` (reading order), ``key`` as
Salesforce compares it, ``position`` among the staged rows, null for a row that is not staged. Its metadata names table,
object and external id field. ``<table>_references.parquet`` has the values of the lookup fields, counted batch by batch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow.parquet as pq

from ora2sf.convert import Converter, Rejected
from ora2sf.errors import RunFolderError
from ora2sf.fields import SET_NULL, LookupField
from ora2sf.tables import TableConfig

if TYPE_CHECKING:
    import duckdb

_MEMORY_LIMIT = "64MB"
_AT_ONCE = 10_000
_EXAMPLES = 5
_KEYS: dict[str, pl.DataType] = {"row": pl.Int64(), "key": pl.String(), "position": pl.Int64()}
_REFERENCES: dict[str, pl.DataType] = {
    "field": pl.String(),
    "value": pl.String(),
    "folded": pl.String(),
    "rows": pl.Int64(),
    "key": pl.String(),
}
_NAMED = b"ora2sf"
#: Rows (by reading order) that lose against another row with their key.
_LOSERS = {
    "first": "row <> first",
    "last": "row <> last",
    "reject_all": "true",
}
#: Keys that stand in the files more than once; hashes first, because they need less memory than the keys.
_TWICE = """
    WITH keys AS (FROM read_parquet($files, filename = true)),
         alike AS MATERIALIZED (SELECT hash(key) AS hash FROM keys {where} GROUP BY ALL HAVING count(*) > 1),
         twice AS (SELECT key, min(row) AS first, max(row) AS last, list(filename) AS files FROM keys
                   {where} {also} hash(key) IN (FROM alike) GROUP BY key HAVING count(*) > 1)
    """


def folded(text: pl.Expr, *, case_sensitive: bool) -> pl.Expr:
    """A key as Salesforce compares it: without blanks around it, and without regard to case unless the field is case-sensitive."""
    text = text.str.strip_chars()
    return text if case_sensitive else text.str.to_lowercase()


class KeyFile:
    """Writes ``<table>_keys.parquet``; it gets its name when it is whole."""

    def __init__(self, config: TableConfig, data: Path, *, case_sensitive: bool = False) -> None:
        self._config, self._case_sensitive = config, case_sensitive
        self.path = key_file(data, config.table)
        self._part = self.path.with_name(self.path.name + ".part")
        self._named = {"table": config.table, "object": config.object, "field": config.external_id_field}
        self._file = _ParquetFile(self._part, _KEYS, self._named)
        self._staged = 0
        self._largest: str | None = ""  # None once a key was not larger than the one before it

    def add(self, staged: pl.DataFrame, rejected: list[Rejected]) -> None:
        """Notes the keys of all rows: a rejected row still decides that the others with its key do not count."""
        position = pl.int_range(self._staged, self._staged + staged.height, dtype=pl.Int64)
        self._staged += staged.height
        key = folded(pl.col(self._config.external_id_field), case_sensitive=self._case_sensitive)
        good = staged.select(pl.col(Converter.row_column).alias("row"), key.alias("key"), position=position)
        self._file.write(good)
        self._compare(good["key"])
        bad = pl.DataFrame([(r.row, r.key, None) for r in rejected if r.key], schema=_KEYS, orient="row")
        self._file.write(bad.with_columns(folded(pl.col("key"), case_sensitive=self._case_sensitive)))
        if bad.height:
            self._largest = None

    def _compare(self, keys: pl.Series) -> None:
        if self._largest is not None and len(keys):
            grows = self._largest < keys[0] and bool((keys[1:] > keys[:-1]).all())
            self._largest = keys[-1] if grows else None

    def losers(self) -> Iterator[tuple[int, int]]:
        """The staged rows that lose against another row with their key; see :func:`duplicates`.

        Keys of which each is larger than the one before, as document numbers often come, need no search.
        """
        self._file.close()
        return duplicates(self._part, self._config.duplicates) if self._largest is None else iter(())

    def finish(self, *, lost: bool) -> None:
        """Gives the file its name; rows that ``lost`` against another one are not staged any more."""
        if lost:
            self._write_losers()
        self._part.replace(self.path)

    def _write_losers(self) -> None:
        query = f"""
            COPY ({_TWICE.format(where="", also="WHERE")}
                SELECT row, keys.key, CASE WHEN twice.key IS NULL OR NOT ({_LOSERS[self._config.duplicates]})
                                           THEN position END AS position
                FROM keys LEFT JOIN twice ON keys.key = twice.key)
            TO $target (FORMAT parquet, KV_METADATA {{{_NAMED.decode()}: $named}})
            """
        kept = self._part.with_name(f"{self.path.name}.kept")
        given = {"files": [str(self._part)], "target": str(kept), "named": json.dumps(self._named)}
        with searching(self._part.parent) as db:
            db.execute(query, given)
        kept.replace(self._part)

    def abandon(self) -> None:
        """Lets go of the file; it never gets its name."""
        self._file.close()


class ReferenceFile:
    """Writes ``<table>_references.parquet``: parents that the rows of a batch refer to, how often, and one such row's key.

    Args:
        exact: the lookup fields whose parents' external id is case-sensitive.
    """

    def __init__(self, config: TableConfig, data: Path, exact: frozenset[str] = frozenset()) -> None:
        self._config, self._exact = config, exact
        self.path = reference_file(data, config.table)
        self._lookups = [spec for spec in config.fields if isinstance(spec, LookupField)]
        self._file = self._begun()

    def _begun(self) -> _ParquetFile:
        return _ParquetFile(self.path.with_name(self.path.name + ".part"), _REFERENCES, {})

    def begin_again(self) -> None:
        """Forgets everything: the rows are staged anew."""
        self._file.close()
        self._file = self._begun()

    def add(self, rows: pl.DataFrame) -> None:
        """Notes the references of staged rows."""
        for spec in self._lookups:
            value = pl.col(spec.header)
            counted = (
                rows.lazy()
                .filter(value.is_not_null() & (value != SET_NULL))
                .group_by(value.alias("value"), maintain_order=True)
                .agg(pl.len().cast(pl.Int64).alias("rows"), pl.col(self._config.external_id_field).first().alias("key"))
                .with_columns(
                    field=pl.lit(spec.field),
                    folded=folded(pl.col("value"), case_sensitive=spec.field in self._exact),
                )
                .select(*_REFERENCES)
                .collect()
            )  # fmt: skip
            self._file.write(counted)

    def finish(self) -> None:
        """Gives the file its name."""
        self._file.close()
        self._file.path.replace(self.path)

    def abandon(self) -> None:
        """Lets go of the file; it never gets its name."""
        self._file.close()


class _ParquetFile:
    """A Parquet file being written."""

    def __init__(self, path: Path, columns: dict[str, pl.DataType], named: dict[str, str]) -> None:
        self.path = path
        schema = pl.DataFrame(schema=columns).to_arrow().schema
        self._schema = schema.with_metadata({_NAMED: json.dumps(named).encode()})
        # nearly every value stands once in a block, so that a dictionary is twice the work for nothing
        self._writer = pq.ParquetWriter(path, self._schema, use_dictionary=False, write_statistics=False)

    def write(self, rows: pl.DataFrame) -> None:
        if rows.height:
            self._writer.write_table(rows.to_arrow().cast(self._schema))

    def close(self) -> None:
        self._writer.close()


def key_file(data: Path, table: str) -> Path:
    """Where a slice keeps its keys."""
    return data / f"{table}_keys.parquet"


def reference_file(data: Path, table: str) -> Path:
    """Where a slice keeps its references."""
    return data / f"{table}_references.parquet"


def key_files(run: Path, **wanted: str) -> list[Path]:
    """The key files of a run's folder whose ``table``, ``object`` and ``field`` are as wanted, however deep its slices are."""
    return [path for path in sorted(run.rglob(key_file(Path(), "*").name)) if wanted.items() <= _names(path).items()]  # fmt: skip


def _names(path: Path) -> dict[str, str]:
    named: dict[str, str] = json.loads((pq.read_schema(path).metadata or {}).get(_NAMED, b"{}"))
    return named


def duplicates(keys: Path, policy: str) -> Iterator[tuple[int, int]]:
    """Staged rows that lose against another row with their key.

    Args:
        keys: a key file.
        policy: ``first``, ``last`` or ``reject_all``.

    Yields:
        Row and position, ascending by position.

    Raises:
        RunFolderError: the disk has no room for the search.
    """
    query = f"""
        {_TWICE.format(where="", also="WHERE")}
        SELECT row, position FROM keys JOIN twice USING (key)
        WHERE position IS NOT NULL AND {_LOSERS[policy]} ORDER BY position
        """
    with searching(keys.parent) as db:
        for batch in db.sql(query, params={"files": [str(keys)]}).to_arrow_reader(_AT_ONCE):
            yield from zip(batch["row"].to_pylist(), batch["position"].to_pylist(), strict=True)


@dataclass(frozen=True)
class Repeated:
    """Keys that are staged in several files: how many, and a few of them with their files."""

    keys: int
    examples: list[tuple[str, list[Path]]]


def duplicates_across(files: Sequence[Path]) -> Repeated:
    """Keys that are staged in more than one of these key files; inside one file each is staged once at most.

    Raises:
        RunFolderError: the disk has no room for the search.
    """
    if len(files) < 2:
        return Repeated(0, [])
    where = "WHERE position IS NOT NULL"
    query = f"""
        {_TWICE.format(where=where, also="AND")}
        SELECT key, files, count(*) OVER () AS found FROM twice ORDER BY key LIMIT {_EXAMPLES}
        """
    with searching(files[0].parent) as db:
        rows = db.execute(query, {"files": [str(path) for path in files]}).fetchall()
    examples = [(key, sorted(Path(name) for name in names)) for key, names, _ in rows]
    return Repeated(rows[0][2] if rows else 0, examples)


@dataclass(frozen=True)
class Parent:
    """A record that rows refer to: the value as it is sent, as Salesforce compares it, how often, and one such row's key."""

    value: str
    folded: str
    rows: int
    key: str


@dataclass(frozen=True)
class Parents:
    """What the rows of one lookup field refer to.

    Attributes:
        distinct, rows: records that are referred to, and rows that do.
        elsewhere, elsewhere_rows: of these, what the given key files do not hold.
        listed: the first of the latter, by their value.
    """

    distinct: int
    rows: int
    elsewhere: int
    elsewhere_rows: int
    listed: list[Parent]


def parents(references: Path, field: str, staged: Sequence[Path], most: int) -> Parents:
    """What a lookup field refers to, and what of it is staged nowhere.

    Args:
        references: the reference file of the slice.
        staged: key files of the parents.
        most: how many parents that are staged nowhere are listed.

    Raises:
        RunFolderError: the disk has no room for the search, or the reference file is gone.
    """
    if not references.is_file():
        raise RunFolderError(
            f"{references} is gone: without it nobody knows what the staged rows refer to.",
            "Restore it from a backup, or extract again with a new run_id.",
        )
    known = (
        "SELECT key FROM read_parquet($staged) WHERE position IS NOT NULL"
        if staged
        else "SELECT NULL WHERE false"
    )
    given: dict[str, Any] = {"references": str(references), "field": field}
    names = {"staged": [str(path) for path in staged]} if staged else {}
    here = "(SELECT * FROM read_parquet($references) WHERE field = $field)"
    with searching(references.parent) as db:
        # hashes need less memory than the texts that they stand for
        total = f"SELECT count(DISTINCT hash(folded)), coalesce(sum(rows), 0)::BIGINT FROM {here}"
        distinct, rows = db.execute(total, given).fetchall()[0]
        db.execute(
            f"""CREATE TEMP TABLE elsewhere AS
            SELECT folded, any_value(value) AS value, sum(rows)::BIGINT AS rows, min(key) AS key
            FROM {here} AS here ANTI JOIN ({known}) AS known(name) ON folded = name GROUP BY folded""",
            given | names,
        )
        counted = "SELECT count(*), coalesce(sum(rows), 0)::BIGINT FROM elsewhere"
        elsewhere, elsewhere_rows = db.execute(counted).fetchall()[0]
        first = f"SELECT value, folded, rows, key FROM elsewhere ORDER BY folded LIMIT {most:d}"
        listed = db.execute(first).fetchall()
    return Parents(distinct, rows, elsewhere, elsewhere_rows, [Parent(*row) for row in listed])


@contextmanager
def searching(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB with a memory limit that spills to the folder."""
    import duckdb  # takes a tenth of a second, and most extractions search for nothing

    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": _MEMORY_LIMIT,
        "temp_directory": str(folder / "tmp"),
        "threads": 1,
    }
    try:
        with duckdb.connect(config=config) as db:
            yield db
    except duckdb.Error as error:
        raise RunFolderError(
            f"Looking through the keys in {folder} failed: {error}.",
            "Free some disk space, then run again.",
        ) from None
