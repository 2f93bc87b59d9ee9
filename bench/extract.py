"""The extraction, from the socket to staged files, against the driver alone and against what a user would write instead.

    python bench/extract.py [--rows 1000000] [--rounds 3] [--memory] [--without-others] [--recordings FOLDER] [--keep]

fakeoracle serves 1,000,000 rows of 20 columns once to each contender, and what it said is recorded. Then whole processes
run in turn, each against a server that only sends its recording, so that next to nothing of the two cores goes to the
server; what did is printed. The driver alone reads the same stream with the same types and throws it away: whatever
converts and stages in the same process needs the processor beside it. Ours writes what the run needs: hashed gzip files of
40,000 rows, rejected rows, keys, profile, ledger, and the source columns for a later change of the rules. The others write
one gzip file with the same library and level, of what the driver gives them, by no rules, numbers as floats.
"""

from __future__ import annotations

import argparse
import csv
import functools
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import convert
import pyarrow as pa
from measuring import Figures, check, child, in_turn, kept, medians, parser, processor_seconds, show, tell

import fakeoracle  # bench/fakeoracle.py, which stands beside this file

GOAL = 0.75
INSERTED = 20_000
#: What the columns are in Oracle: those of bench/convert.py, padded text and one number more.
ORACLE = {
    "DOC_NO": "varchar2(20) not null", "NAME": "varchar2(255 char)", "REMARK": "varchar2(400 char)", "REASON": "varchar2(400 char)",
    "SHOP": "varchar2(20)", "BARCODE": "varchar2(30)", "UNIT": "varchar2(50 char)", "KIND": "number(4)", "QTY": "number(10)",
    "LINE": "number(5)", "PRICE": "number(16,2)", "RATE": "number(9,3)", "AMOUNT": "number", "ACTIVE": "varchar2(1)",
    "PAID": "number(1)", "SOLD": "date", "CREATED": "date", "CHANGED": "timestamp(6)", "BRANCH": "char(8)", "WEIGHT": "number(12,4)",
}  # fmt: skip
FIELDS: list[dict[str, Any]] = [
    *({"column": name} | spec if spec["type"] != "key" else spec for name, _, spec in convert.COLUMNS),
    {"field": "Branch__c", "column": "BRANCH", "type": "code", "length": 10},
    {"field": "Weight__c", "column": "WEIGHT", "type": "decimal", "precision": 18, "scale": 4},
]
QUERY = f"SELECT {', '.join(ORACLE)} FROM T"
HEADER = [name.lower() for name in ORACLE]


# --- the contenders --------------------------------------------------------------------------------------------------


def ours(dsn: str, out: Path, *, in_full: bool = True, keep_source: bool = True) -> int:
    """01_extract's extraction: read-only transaction, COUNT, rows; profile in full, source columns kept (the defaults)."""
    from ora2sf import extract
    from ora2sf.ledger import Ledger
    from ora2sf.profile import Profiler

    config = table()
    with source(dsn) as database, Ledger(out / "ledger.sqlite") as ledger:
        columns = database.describe(QUERY)
        extract.extract(
            config, database, columns, ledger, out, out / "rejected.csv", batch_size=convert.FILE_ROWS,
            profiler=Profiler(config, in_full=in_full), keep_source=keep_source,
        )  # fmt: skip
        return sum(batch.rows for batch in ledger.batches())


def ours_lean(dsn: str, out: Path) -> int:
    """The same with profile = "lean" and keep_source = "no"."""
    return ours(dsn, out, in_full=False, keep_source=False)


def driver(dsn: str, _out: Path) -> int:
    """connection.fetch_df_batches(query, size=20_000, requested_schema=...): the stream that ours reads, thrown away."""
    from ora2sf import extract, oracle

    with source(dsn) as database:
        database.freeze()
        columns = database.describe(QUERY)
        wide = oracle._wide(extract.arrow_schema(table(), columns), columns)
        frames = database._db.fetch_df_batches(QUERY, size=oracle.FETCH_ROWS, requested_schema=wide)
        return sum(frame.num_rows() for frame in frames)


def cursor_rows(dsn: str, out: Path) -> int:
    """for row in cursor.execute(query): csv.writer(gzip file).writerow(row)"""
    from isal import igzip_threaded

    from ora2sf.oracle import FETCH_ROWS

    rows = 0
    with fakeoracle.connect(dsn) as database, database.cursor() as cursor, igzip_threaded.open(
        out / "rows.csv.gz", "wt", compresslevel=1, threads=1, encoding="utf-8", newline=""
    ) as file:  # fmt: skip
        cursor.arraysize = cursor.prefetchrows = FETCH_ROWS
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        for row in cursor.execute(QUERY):
            writer.writerow(row)
            rows += 1
    return rows


def pandas_read_sql(dsn: str, out: Path) -> int:
    """for part in pandas.read_sql(query, connection, chunksize=20_000): part.to_csv(gzip file)"""
    import warnings

    import pandas as pd
    from isal import igzip_threaded

    warnings.simplefilter(
        "ignore", UserWarning
    )  # pandas would rather have SQLAlchemy between it and the driver
    rows = 0
    with fakeoracle.connect(dsn) as database, igzip_threaded.open(
        out / "rows.csv.gz", "wt", compresslevel=1, threads=1, encoding="utf-8", newline=""
    ) as file:  # fmt: skip
        for part in pd.read_sql(QUERY, database, chunksize=convert.BATCH):
            part.to_csv(file, index=False, header=not rows, lineterminator="\n")
            rows += len(part)
    return rows


CONTENDERS: dict[str, Callable[[str, Path], int]] = {
    "ours": ours,
    "ours, lean": ours_lean,
    "driver alone": driver,
    "cursor rows, csv.writer": cursor_rows,
    "pandas read_sql, to_csv": pandas_read_sql,
}


def source(dsn: str) -> Any:
    """A session, as the run opens one."""
    from ora2sf.connections import Connection
    from ora2sf.oracle import OracleSource

    address, _, service = dsn.partition("/")
    host, _, port = address.partition(":")
    fields = {
        "host": host,
        "port": int(port),
        "schema": service,
        "login": fakeoracle.USER,
        "password": fakeoracle.PASSWORD,
    }
    return OracleSource(Connection.model_validate({"conn_id": "bench", "conn_type": "oracle"} | fields))


def table() -> Any:
    """The table file."""
    from ora2sf.tables import TableConfig

    return TableConfig.model_validate(
        {
            "table": "t", "object": "T__c", "external_id_field": "Key__c", "source_time_zone": "Asia/Bangkok",
            "source": {"table": "T"}, "fields": FIELDS,
        }
    )  # fmt: skip


# --- the servers -----------------------------------------------------------------------------------------------------


@contextmanager
def filled(folder: Path, rows: int) -> Iterator[tuple[int, str]]:
    """fakeoracle with the rows in it; yields its process id and its address."""
    command = ["-m", "fakeoracle", "--user", fakeoracle.USER, "--database", str(folder / "source.duckdb")]
    with fakeoracle.process(command) as (pid, dsn):
        with fakeoracle.connect(dsn) as database, database.cursor() as cursor:
            cursor.execute(f"create table t ({', '.join(f'{name} {kind}' for name, kind in ORACLE.items())})")
            marks = ", ".join(f":{place}" for place in range(1, len(ORACLE) + 1))
            for part in parts(folder / "rows.arrow", rows):
                cursor.executemany(f"insert into t values ({marks})", part, batch_size=INSERTED)
            database.commit()
        yield pid, dsn


def parts(path: Path, rows: int) -> Iterator[pa.Table]:
    """The rows of bench/convert.py, and the two more columns."""
    convert.write_rows(path, rows)
    for batch in convert.batches(path):
        made = pa.Table.from_batches([batch])
        branch = [f"B{n % 40:02d}" for n in range(batch.num_rows)]
        weight = made["QTY"].cast(pa.decimal128(12, 4))
        yield made.append_column("BRANCH", pa.array(branch, pa.large_string())).append_column(
            "WEIGHT", weight
        )
    path.unlink()


def recorded(path: Path, dsn: str, name: str, rows: int) -> None:
    """Records what the server says to a contender, which is also looked at for having read and staged every row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as out:

        def read(address: str) -> None:
            check(f"rows of {name}", CONTENDERS[name](address, Path(out)), rows)

        fakeoracle.record(dsn, read, path)


# --- measuring -------------------------------------------------------------------------------------------------------


def speed(folder: Path, kept_in: Path, names: list[str], rows: int, rounds: int) -> None:
    """Every contender in turn."""
    with ExitStack() as stack:
        recordings = {name: kept_in / f"{rows}" / f"{name}.replies" for name in names}
        if not all(path.with_suffix(".json").exists() for path in recordings.values()):
            with filled(folder, rows) as (_, dsn):
                for name, path in recordings.items():
                    recorded(path, dsn, name, rows)
        size = recordings["driver alone"].stat().st_size
        print(f"{rows:,} rows of {len(ORACLE)} columns, {size / 1e6:,.0f} MB on the wire; {rounds} rounds in turn, medians", flush=True)  # fmt: skip
        servers = {
            name: stack.enter_context(fakeoracle.process([fakeoracle.REPLAY, str(path)]))
            for name, path in recordings.items()
        }
        found = in_turn(names, rounds, lambda name: measured(folder, name, *servers[name]))
        show(found, rows, "ours")
        of_the_driver(found, rows)
        stages(measured(folder, "ours", *servers["ours"], "--stages"), rows)


def measured(folder: Path, name: str, server: int, dsn: str, how: str = "--one") -> Figures:
    """One contender as a process of its own, and what the server used meanwhile."""
    out = Path(tempfile.mkdtemp(prefix="out-", dir=folder))
    before = processor_seconds(server)
    try:
        return child(__file__, how, name, dsn, str(out)) | {"server": processor_seconds(server) - before}
    finally:
        shutil.rmtree(out)


def of_the_driver(found: dict[str, list[Figures]], rows: int) -> None:
    """How near ours comes to the driver alone; without the start of the process, which is no part of the stream."""
    middle = medians(found)
    alone = middle["driver alone"]
    print("\nFrom sign-in to the last file, without the start of Python and its imports:")
    for name in [one for one in ("driver alone", "ours", "ours, lean") if one in middle]:
        one = middle[name]
        said = f"{name:14}{one['work']:7.2f} s {rows / one['work']:11,.0f} rows/s, CPU {one['cpu_work']:6.2f} s, server's CPU {one['server']:5.2f} s"
        busy = (one["cpu_work"] + one["server"]) / one["work"]
        said += (
            f", {busy:.2f} of {os.cpu_count()} cores busy ({one['server'] / one['work']:.2f} with the server)"
        )
        if name != "driver alone":
            share = alone["work"] / one["work"]
            said += f"; {share:.2f} of the driver's speed ({'met' if share >= GOAL else 'missed'}: {GOAL})"
            said += f", CPU {one['cpu_work'] / alone['cpu_work']:.2f} times the driver's"
        print(said)


def stages(said: dict[str, Any], rows: int) -> None:
    """Where the processor time of ours goes, when one stage waits for the other."""
    spent: dict[str, float] = said["stages"]
    total = sum(spent.values())
    print(
        f"\nCPU seconds of each stage of ours (per million rows), one after the other in one process ({total:.2f} s in all):"
    )
    for name, seconds in spent.items():
        print(f"  {name:34}{seconds:7.2f} s ({seconds / rows * 1e6:6.2f}) {seconds / total:6.1%}")


def memory(folder: Path) -> None:
    """Peak memory of ours at 500,000 and at 5,000,000 rows."""
    peaks = {}
    for rows in (500_000, 5_000_000):
        with tempfile.TemporaryDirectory(dir=folder) as inner:
            with filled(Path(inner), rows) as (_, dsn):
                path = Path(inner, "ours.replies")
                recorded(path, dsn, "ours", rows)
            with fakeoracle.process([fakeoracle.REPLAY, str(path)]) as (pid, address):
                peaks[rows] = measured(Path(inner), "ours", pid, address)["peak"]
        print(f"{rows:>9,} rows: {peaks[rows]:.0f} MiB at the peak", flush=True)
    ratio = peaks[5_000_000] / peaks[500_000]
    print(f"ratio {ratio:.3f} ({'met' if ratio <= 1.15 else 'missed'}: at most 1.15)")


def one(name: str, dsn: str, out: str) -> dict[str, float]:
    """The process that is measured."""
    if name.startswith("ours") or name == "driver alone":
        import ora2sf.extract  # noqa: F401 - before the clock of the work starts
    began, cpu = time.perf_counter(), time.process_time()
    CONTENDERS[name](dsn, Path(out))
    return {"work": time.perf_counter() - began, "cpu_work": time.process_time() - cpu}


class Stages:
    """Processor seconds of stages; what a stage inside another one takes counts for the inner one alone."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._inside: list[str] = []
        self._since = time.process_time()

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """What happens here is of this stage."""
        self._turn()
        self._inside.append(stage)
        try:
            yield
        finally:
            self._turn()
            self._inside.pop()

    def _turn(self) -> None:
        now = time.process_time()
        if self._inside:
            self.spent[self._inside[-1]] = self.spent.get(self._inside[-1], 0.0) + now - self._since
        self._since = now

    def watch(self, owner: Any, name: str, stage: str) -> None:
        """From here on calls of a function are of this stage."""
        wrapped = getattr(owner, name)

        @functools.wraps(wrapped)
        def watched(*given: Any, **named: Any) -> Any:
            with self.of(stage):
                return wrapped(*given, **named)

        setattr(owner, name, watched)

    def each(self, owner: Any, name: str, stage: str) -> None:
        """The same for a generator: each of its steps is of this stage."""
        wrapped = getattr(owner, name)

        def watched(*given: Any, **named: Any) -> Iterator[Any]:
            steps = wrapped(*given, **named)
            nothing = object()
            while True:
                with self.of(stage):
                    step = next(steps, nothing)
                if step is nothing:
                    return
                yield step

        setattr(owner, name, watched)


class InLine:
    """Does what an executor is given at once."""

    def __init__(self, *_given: object, **_named: object) -> None: ...

    def __enter__(self) -> InLine:
        return self

    def __exit__(self, *_error: object) -> None: ...

    def submit(self, work: Callable[..., Any], *given: Any) -> Any:
        """Its result, as a future."""
        from concurrent.futures import Future

        done: Future[Any] = Future()
        done.set_result(work(*given))
        return done


def in_stages(name: str, dsn: str, out: str) -> dict[str, Any]:
    """Ours with every stage after the other one, so that the process's time is the stage's."""
    from ora2sf import batches, convert, extract, kept, keys, ledger, oracle, profile

    watch = Stages()
    extract.ThreadPoolExecutor = InLine  # type: ignore[misc,assignment]
    watch.each(oracle.OracleSource, "batches", "driver: decode")
    watch.watch(oracle, "_narrow", "driver's table, narrowed")
    watch.watch(convert.Converter, "convert", "conversion")
    watch.watch(profile.Profiler, "look", "profile")
    watch.watch(profile.Profiler, "add", "profile")
    watch.watch(batches.BatchWriter, "add", "cut into batches")
    watch.watch(batches, "encode", "encode as CSV")
    watch.watch(batches.Lines, "packing", "gzip")
    watch.watch(batches._OpenFile, "_write", "hash and write")
    watch.watch(batches._OpenFile, "close", "fsync of batches")
    watch.watch(batches.RejectedFile, "finish", "fsync of rejected rows")
    watch.watch(keys.KeyFile, "add", "keys")
    watch.watch(keys.KeyFile, "losers", "keys")
    watch.watch(keys.ReferenceFile, "add", "references")
    watch.watch(kept.SourceFile, "add", "source columns kept")
    watch.watch(kept.SourceFile, "finish", "source columns kept")
    for move in ("start_extraction", "finish_extraction"):
        watch.watch(ledger.Ledger, move, "ledger")
    with watch.of("everything else"):
        CONTENDERS[name](dsn, Path(out))
    return {"stages": watch.spent}


def main() -> int:
    """Prints a table of seconds, memory and ratios, and the stages of ours."""
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument(
        "--memory", action="store_true", help="peak memory of ours at 500,000 and 5,000,000 rows"
    )
    arguments.add_argument("--without-others", action="store_true", help="ours and the driver alone only")
    arguments.add_argument(
        "--recordings",
        type=Path,
        metavar="FOLDER",
        help="keep what the server said there, or use what is there",
    )
    for how in ("--one", "--stages"):
        arguments.add_argument(how, nargs=3, metavar=("NAME", "DSN", "OUT"), help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one or given.stages:
        tell(lambda: one(*given.one) if given.one else in_stages(*given.stages))
        return 0
    with tempfile.TemporaryDirectory(prefix="bench-extract-") as name, kept("extract", keep=given.keep):
        names = ["ours", "driver alone"] if given.without_others else list(CONTENDERS)
        for contender in names:
            print(f"{contender}: {' '.join((CONTENDERS[contender].__doc__ or '').split())}")
        if given.memory:
            memory(Path(name))
        else:
            speed(Path(name), given.recordings or Path(name), names, given.rows, given.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
