"""Conversion and staging against what a user would write instead: the same rows, the same files, whole processes in turn.

    python bench/convert.py [--rows 1000000] [--rounds 3] [--memory] [--keep]

Every contender reads the same Arrow batches (20,000 rows each, from a file, as a driver hands them over), converts them by
the same rules and writes gzip files of 40,000 rows with the same library at the same level (isal, 1). What they write is
compared cell by cell first, on fewer rows. Time counts from the start of a process, imports included, until its last file
is whole; what an interpreter does on its way out is left out for everybody.

"ours" is what the others do, and what it cannot leave out: each value checked, a file of rejected rows, SHA-256 of every file,
fsync, and names that are given when a file is whole. "ours, whole step" is the extraction step with all its by-products: a
profile of every field, a file of keys looked through for duplicates, and the ledger. Nobody else does anything like it.

`--memory` compares the peak memory of the whole step at 500,000 and at 5,000,000 rows.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow as pa
from isal import igzip, igzip_threaded
from measuring import Figures, child, in_turn, kept, parser, show, tell

BATCH, FILE_ROWS = 20_000, 40_000
ZONE = ZoneInfo("Asia/Bangkok")
CENT = Decimal("0.01")
TYPES = {"1": "New", "2": "Update", "3": "Cancel"}
YES = {"1", "Y"}

#: column, Arrow type as the driver is asked for it, and its field in the table file
COLUMNS: list[tuple[str, pa.DataType, dict[str, Any]]] = [
    ("DOC_NO", pa.large_string(), {"field": "Key__c", "type": "key", "columns": ["DOC_NO"]}),
    ("NAME", pa.large_string(), {"field": "Name", "type": "text", "length": 255}),
    ("REMARK", pa.large_string(), {"field": "Remark__c", "type": "text", "length": 60, "on_misfit": "truncate"}),
    ("REASON", pa.large_string(), {"field": "Reason__c", "type": "text", "length": 80, "on_misfit": "truncate"}),
    ("SHOP", pa.large_string(), {"field": "Shop__c", "type": "code", "length": 20}),
    ("BARCODE", pa.large_string(), {"field": "Barcode__c", "type": "code", "length": 30}),
    ("UNIT", pa.large_string(), {"field": "Unit__c", "type": "text", "length": 20}),
    ("KIND", pa.decimal128(38, 0), {"field": "Kind__c", "type": "picklist", "values": TYPES}),
    ("QTY", pa.decimal128(38, 0), {"field": "Quantity__c", "type": "integer"}),
    ("LINE", pa.decimal128(38, 0), {"field": "Line__c", "type": "integer"}),
    ("PRICE", pa.decimal128(38, 2), {"field": "Price__c", "type": "decimal", "precision": 18, "scale": 2}),
    ("RATE", pa.decimal128(38, 3), {"field": "Rate__c", "type": "decimal", "precision": 18, "scale": 2}),
    ("AMOUNT", pa.decimal128(38, 10), {"field": "Amount__c", "type": "decimal", "precision": 18, "scale": 2}),
    ("ACTIVE", pa.large_string(), {"field": "Active__c", "type": "boolean"}),
    ("PAID", pa.decimal128(38, 0), {"field": "Paid__c", "type": "boolean"}),
    ("SOLD", pa.timestamp("s"), {"field": "Sold__c", "type": "date"}),
    ("CREATED", pa.timestamp("s"), {"field": "Created__c", "type": "datetime"}),
    ("CHANGED", pa.timestamp("us"), {"field": "Changed__c", "type": "datetime"}),
]  # fmt: skip
NAMES = [name for name, _, _ in COLUMNS]
HEADER = [spec["field"] for _, _, spec in COLUMNS]
WORDS = (
    "Thai silk", "ผ้าไหมไทย", "Dried mango, 200 g", 'size 12"', "มะม่วงอบแห้ง", "100% cotton", "line one\nline two",
    "Café latte", "ชาเขียว, เย็น", "พัดลม 😀", "plain",
)  # fmt: skip


# --- the rows --------------------------------------------------------------------------------------------------------


def write_rows(path: Path, rows: int) -> None:
    """Writes the rows as an Arrow stream of batches; the same for the same number of rows."""
    rng = np.random.default_rng(1)
    schema = pa.schema([(name, kind) for name, kind, _ in COLUMNS])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as stream:
        for start in range(0, rows, BATCH):
            stream.write_batch(_batch(rng, start, min(BATCH, rows - start), schema))


def _batch(rng: np.random.Generator, start: int, count: int, schema: pa.Schema) -> pa.RecordBatch:
    def number(high: int, scale: int, low: int = 0) -> pa.Array[Any]:
        values = [Decimal(int(v)).scaleb(-scale) for v in rng.integers(low, high, count)]
        return pa.array(values, pa.decimal128(38, scale))

    def words(times: int) -> list[str]:
        picked = rng.integers(0, len(WORDS), (count, times))
        return [" ".join(WORDS[i] for i in row) for row in picked]

    def missing(values: list[Any], share: float) -> list[Any]:
        return [None if gone else v for v, gone in zip(values, rng.random(count) < share, strict=True)]

    moments = rng.integers(1_600_000_000, 1_750_000_000, count)
    micros = rng.integers(1_600_000_000_000_000, 1_750_000_000_000_000, count)
    columns: dict[str, Any] = {
        "DOC_NO": [f"D{n:09d}" for n in range(start, start + count)],
        "NAME": words(2),
        "REMARK": missing(words(5), 0.3),
        "REASON": missing(words(4), 0.5),
        "SHOP": [f"{n:03d}" for n in rng.integers(0, 300, count)],
        "BARCODE": missing([f"{n:013d}" for n in rng.integers(0, 10**13, count)], 0.1),
        "UNIT": missing(words(1), 0.1),
        "KIND": number(4, 0, low=1),
        "QTY": number(1000, 0),
        "LINE": number(99, 0),
        "PRICE": number(10**9, 2),
        "RATE": number(10**8, 3, low=-(10**8)),
        "AMOUNT": number(10**17, 10, low=-(10**17)),
        "ACTIVE": [("Y", "N")[n] for n in rng.integers(0, 2, count)],
        "PAID": number(2, 0),
        "SOLD": pa.array(moments // 86400 * 86400, pa.int64()).cast(pa.timestamp("s")),
        "CREATED": pa.array(moments, pa.int64()).cast(pa.timestamp("s")),
        "CHANGED": pa.array(micros, pa.int64()).cast(pa.timestamp("us")),
    }
    return pa.record_batch([pa.array(columns[f.name], f.type) for f in schema], schema=schema)


def batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The batches, read into memory one by one, as from a driver."""
    with pa.OSFile(str(path), "rb") as source, pa.ipc.open_stream(source) as stream:
        yield from stream


# --- the contenders --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """What extraction asks of a source column; nobody here loads the driver."""

    arrow: pa.DataType
    padded: bool = False

    def arrow_type(self, _scale: int) -> pa.DataType:
        """The type that the batches have."""
        return self.arrow


def table() -> Any:
    """The table file, and its columns as extraction wants them."""
    from ora2sf.tables import TableConfig

    config = TableConfig.model_validate(
        {
            "table": "t", "object": "T__c", "external_id_field": "Key__c", "source_time_zone": "Asia/Bangkok",
            "source": {"table": "T"},
            "fields": [{"column": name} | spec if spec["type"] != "key" else spec for name, _, spec in COLUMNS],
        }
    )  # fmt: skip
    return config, {name: Column(kind) for name, kind, _ in COLUMNS}


def tables(path: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    """The batches, checked to be of the types that were asked for."""
    for batch in batches(path):
        yield pa.Table.from_batches([batch], schema)


def extraction(path: Path, out: Path) -> None:
    """This project's whole extraction step: as :func:`ours`, and also a profile of every field, keys looked through, ledger."""
    from ora2sf import extract
    from ora2sf.ledger import Ledger

    class Rows:
        """What extraction asks of a source."""

        def freeze(self) -> None: ...

        def count(self, _sql: str, _binds: object) -> int:
            return 0

        def batches(self, _sql: str, schema: pa.Schema, *, binds: object) -> Iterator[pa.Table]:
            return tables(path, schema)

    config, columns = table()
    # the others keep no source columns for a later change of the rules either
    extract.extract(
        config, Rows(), columns, Ledger(out / "ledger.sqlite"), out, out / "rejected.csv", batch_size=FILE_ROWS, keep_source=False  # type: ignore[arg-type]
    )  # fmt: skip


def ours(path: Path, out: Path) -> None:
    """This project's conversion and staging alone: rules, rejected rows, hashed files that get their names when they are whole."""
    from concurrent.futures import ThreadPoolExecutor

    from ora2sf import extract
    from ora2sf.batches import BatchWriter, Lines, RejectedFile
    from ora2sf.convert import Converted

    config, columns = table()
    convert = extract.converter(config, columns)
    writer = BatchWriter(out, "t", config.header, config.external_id_field, FILE_ROWS)
    rejected = RejectedFile(out / "rejected.csv")

    def make(table: pa.Table, first_row: int) -> tuple[Converted, list[Lines]]:
        done = convert.convert(pl.DataFrame(table), first_row)
        return done, writer.lines(done.staged)

    def take(_table: pa.Table, made: tuple[Converted, list[Lines]]) -> None:
        done, lines = made
        rejected.add(done.rejected)
        writer.add(done.staged, lines)

    pa.set_memory_pool(pa.system_memory_pool())  # as the extraction does
    with ThreadPoolExecutor(1, thread_name_prefix="stage") as taker:  # lives until its files are closed
        extract.in_order(tables(path, extract.arrow_schema(config, columns)), make, take, taker)
        writer.finish()
    rejected.finish()


def _text(value: Any, limit: int | None = None) -> str:
    if value is None:
        return ""
    text = value.replace("\r\n", "\n").replace("\r", "\n")
    return text[:limit] if limit else text


def _decimal(value: Any) -> str:
    return "" if value is None else str(value.quantize(CENT, ROUND_HALF_UP))


def _instant(value: Any) -> str:
    if value is None:
        return ""
    utc = value.replace(tzinfo=ZONE).astimezone(dt.UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z"


VALUE: dict[str, Callable[[Any], str]] = {
    "DOC_NO": str, "NAME": _text, "REMARK": lambda v: _text(v, 60), "REASON": lambda v: _text(v, 80),
    "SHOP": lambda v: v.strip(), "BARCODE": lambda v: "" if v is None else v.strip(), "UNIT": _text,
    "KIND": lambda v: TYPES[str(v)], "QTY": str, "LINE": str, "PRICE": _decimal, "RATE": _decimal, "AMOUNT": _decimal,
    "ACTIVE": lambda v: "true" if v in YES else "false", "PAID": lambda v: "true" if str(v) in YES else "false",
    "SOLD": lambda v: f"{v:%Y-%m-%d}", "CREATED": _instant, "CHANGED": _instant,
}  # fmt: skip


def _stamp(value: Any) -> str:
    """What pandas makes of a time: a Timestamp, with pandas' own time zones."""
    utc = value.tz_localize(ZONE).tz_convert("UTC")
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z"


def pandas_values(path: Path, out: Path) -> None:
    """pandas, a Python function for each value: row tuples into a DataFrame, apply on each column, every cell quoted."""
    import pandas as pd

    apply = VALUE | {"CREATED": _stamp, "CHANGED": _stamp}
    for number, batch in enumerate(_files(path), 1):
        rows = pd.DataFrame.from_records(_tuples(batch), columns=NAMES)
        done = {
            spec["field"]: rows[name].apply(lambda value, of=apply[name]: "" if pd.isna(value) else of(value))
            for name, _, spec in COLUMNS
        }
        with igzip_threaded.open(out / f"t_{number:05d}.csv.gz", "wt", compresslevel=1, threads=1, encoding="utf-8", newline="") as file:  # fmt: skip
            pd.DataFrame(done).to_csv(file, index=False, lineterminator="\n", quoting=csv.QUOTE_ALL)


def csv_writer(path: Path, out: Path) -> None:
    """Row tuples, as a cursor gives them, through csv.writer."""
    functions = [VALUE[name] for name in NAMES]
    for number, batch in enumerate(_files(path), 1):
        with igzip_threaded.open(out / f"t_{number:05d}.csv.gz", "wt", compresslevel=1, threads=1, encoding="utf-8", newline="") as file:  # fmt: skip
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(HEADER)
            for row in _tuples(batch):
                writer.writerow([function(value) for function, value in zip(functions, row, strict=True)])


def pandas_vectorised(path: Path, out: Path) -> None:
    """pandas without a loop where it can do without one; exact decimals need one even so."""
    import pandas as pd

    for number, batch in enumerate(_files(path), 1):
        rows = batch.to_pandas(types_mapper=None)
        done = {}
        for name, _, spec in COLUMNS:
            value = rows[name]
            match spec["type"]:
                case "text":
                    text = value.str.replace("\r\n", "\n", regex=False).str.replace("\r", "\n", regex=False)
                    done[spec["field"]] = text.str.slice(0, spec["length"])
                case "code":
                    done[spec["field"]] = value.str.strip()
                case "picklist":
                    done[spec["field"]] = value.map({Decimal(k): v for k, v in TYPES.items()})
                case "integer":
                    done[spec["field"]] = value.astype("int64")
                case "decimal":
                    done[spec["field"]] = [v.quantize(CENT, ROUND_HALF_UP) for v in value]
                case "boolean":
                    yes = value == ("Y" if name == "ACTIVE" else Decimal(1))
                    done[spec["field"]] = np.where(yes, "true", "false")
                case "date":
                    done[spec["field"]] = value.dt.strftime("%Y-%m-%d")
                case "datetime":
                    utc = value.dt.tz_localize(ZONE).dt.tz_convert("UTC")
                    done[spec["field"]] = utc.dt.strftime("%Y-%m-%dT%H:%M:%S.%f").str.slice(0, 23) + "Z"
                case _:
                    done[spec["field"]] = value
        with igzip_threaded.open(out / f"t_{number:05d}.csv.gz", "wt", compresslevel=1, threads=1, encoding="utf-8", newline="") as file:  # fmt: skip
            pd.DataFrame(done).to_csv(file, index=False, lineterminator="\n")


def _tuples(batch: pa.Table) -> Iterator[tuple[Any, ...]]:
    """The rows as a cursor gives them."""
    return zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _files(path: Path) -> Iterator[pa.Table]:
    """The rows of one file at a time."""
    held: list[pa.RecordBatch] = []
    for batch in batches(path):
        held.append(batch)
        if sum(b.num_rows for b in held) >= FILE_ROWS:
            yield pa.Table.from_batches(held)
            held = []
    if held:
        yield pa.Table.from_batches(held)


OURS = ("ours", "ours, whole step")
CONTENDERS: dict[str, Callable[[Path, Path], None]] = {
    "ours": ours,
    "ours, whole step": extraction,
    "pandas value by value": pandas_values,
    "csv.writer": csv_writer,
    "pandas vectorised": pandas_vectorised,
}


# --- measuring -------------------------------------------------------------------------------------------------------


def run(name: str, path: Path) -> Figures:
    """One contender as a process of its own."""
    out = tempfile.mkdtemp(prefix="bench-", dir=path.parent)
    try:
        return child(__file__, "--one", name, str(path), out)
    finally:
        shutil.rmtree(out)


def cells(folder: Path) -> list[list[str]]:
    """Everything that was staged, without the headers."""
    found = []
    for file in sorted(folder.glob("*.csv.gz")):
        with igzip.open(file, "rt", encoding="utf-8", newline="") as text:
            found += list(csv.reader(text))[1:]
    return found


def compare(folder: Path, rows: int = 20_000) -> None:
    """All contenders write the same cells."""
    path = folder / "few.arrow"
    write_rows(path, rows)
    wanted: list[list[str]] | None = None
    for name, contender in CONTENDERS.items():
        out = Path(tempfile.mkdtemp(dir=folder))
        contender(path, out)
        found = cells(out)
        if wanted is not None and found != wanted:
            at = next(n for n, pair in enumerate(zip(found, wanted, strict=True)) if pair[0] != pair[1])
            raise SystemExit(f"{name} differs from ours in row {at + 1}:\n{found[at]}\n{wanted[at]}")
        wanted = wanted or found
    print(f"All of them write the same {rows:,} rows, cell by cell.")


def main() -> None:
    """Prints a table of seconds, memory and ratios."""
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument(
        "--memory", action="store_true", help="peak memory of ours at 500,000 and 5,000,000 rows"
    )
    arguments.add_argument("--one", nargs=3, metavar=("NAME", "ROWS", "OUT"), help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one:
        name, *paths = given.one
        tell(lambda: CONTENDERS[name](*map(Path, paths)))
    with kept("convert", keep=given.keep), tempfile.TemporaryDirectory(prefix="bench-convert-") as name:
        folder = Path(name)
        compare(folder)
        if given.memory:
            _memory(folder)
        else:
            _speed(folder, given.rows, given.rounds)


def _speed(folder: Path, rows: int, rounds: int) -> None:
    path = folder / "rows.arrow"
    write_rows(path, rows)
    print(
        f"{rows:,} rows of {len(COLUMNS)} columns, {path.stat().st_size / 1e6:,.0f} MB as Arrow; {rounds} rounds in turn, medians"
    )
    found = in_turn(list(CONTENDERS), rounds, lambda name: run(name, path))
    for mine, other in (OURS, OURS[::-1]):
        print()
        show({name: runs for name, runs in found.items() if name != other}, rows, mine)


def _memory(folder: Path) -> None:
    peaks = {}
    for rows in (500_000, 5_000_000):
        path = folder / f"{rows}.arrow"
        write_rows(path, rows)
        peaks[rows] = run(OURS[1], path)["peak"]
        path.unlink()
        print(f"{rows:>9,} rows: {peaks[rows]:.0f} MiB at the peak")
    print(f"ratio {peaks[5_000_000] / peaks[500_000]:.3f}")


if __name__ == "__main__":
    main()
