"""Whether a comparison names exactly what was planted, how long it takes, and how much memory.

    python bench/reconcile.py [--through-fakeforce ROWS] [--files ROWS] [--pandas ROWS] [--keep]     (default: 1 M, 10 M, 1 M)

Through fakeforce: a slice is uploaded to a fakeforce process, five records are meddled with over REST, and the steps of
03_reconcile run in a process of their own. Files: staged files, result files and the pages of a read-back are written by
a generator, shuffled and with numbers written anew; only the comparison runs. pandas: the same files, merged.
In each case one record is missing, one is too many, one amount, one character and one hour are changed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import measuring
import polars as pl
from isal import igzip
from measuring import check, kept, parser, peak_mb

import fakeforce  # bench/fakeforce.py, which stands beside this file
from ora2sf import Run, compare, open_run
from ora2sf.batches import BatchWriter, RejectedFile
from ora2sf.connections import project_root
from ora2sf.equality import How
from ora2sf.errors import BalanceError
from ora2sf.ledger import Result
from ora2sf.salesforce import Page, ReadBack, SalesforceBulkLoader, SalesforceClient
from ora2sf.upload import plan, upload

KEY, OBJECT, TABLE = "External_ID__c", "Sales_Line__c", "sales_line"
BATCH, PAGE = 40_000, 250_000
STEP = 7_919  # a prime: the org gives the rows in another order
FIELDS = (
    ("Store__c", "code", "string", "length = 20"),
    ("Document_No__c", "text", "string", "length = 40"),
    ("Description__c", "text", "string", "length = 120"),
    ("Remark__c", "text", "string", "length = 120"),
    ("Status__c", "picklist", "picklist", 'values = ["New", "Sold", "Void"]'),
    ("Sold_At__c", "datetime", "datetime", ""),
    ("Sales_Date__c", "date", "date", ""),
    ("Quantity__c", "integer", "double", "precision = 18\nscale = 0"),
    ("Price__c", "decimal", "currency", "precision = 18\nscale = 2"),
    ("Net_Amount__c", "decimal", "currency", "precision = 18\nscale = 2"),
    ("Rate__c", "decimal", "double", "precision = 9\nscale = 4"),
    ("Active__c", "boolean", "boolean", ""),
)
HEADER = (KEY, *(name for name, *_ in FIELDS))
MISSING, AMOUNT, LETTER, HOUR = 77_001, 123_456, 300_007, 999_983


def main() -> int:
    """Run what was asked for; each part in a process of its own, because memory is that of a process."""
    arguments = parser(__doc__)
    arguments.add_argument("--through-fakeforce", type=int, default=1_000_000)
    arguments.add_argument("--files", type=int, default=10_000_000)
    arguments.add_argument("--pandas", type=int, default=1_000_000)
    arguments.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.child:
        print(json.dumps(CHILDREN[given.child[0]](json.loads(given.child[1]))))
        return 0
    with kept("reconcile", keep=given.keep), tempfile.TemporaryDirectory(prefix="bench-reconcile-") as folder:
        home = Path(folder)
        write_project(home)
        os.environ["ORA2SF_HOME"] = str(home)
        print(f"{'rows':>11}  {'what':<34}{'seconds':>8}{'rows/s':>11}{'peak memory':>13}", flush=True)
        with server(home):
            if given.through_fakeforce:
                through_fakeforce(home, given.through_fakeforce)
            if given.files:
                from_files(home, given.files)
            if given.pandas:
                beside_pandas(home, given.pandas)
    return 0


# ---- the three measurements ----


def through_fakeforce(home: Path, rows: int) -> None:
    """Upload, meddle, reconcile."""
    run = begun(home, "fakeforce")
    began = time.perf_counter()
    stage(run, rows)
    show(rows, "staged", time.perf_counter() - began)
    began = time.perf_counter()
    loader = SalesforceBulkLoader(run.client, OBJECT, KEY, logs=run.logs)
    run.ledger.settle("target_before", 0)
    upload(plan(run.ledger), run.ledger, loader, run.data)
    run.ledger.record("target_after", run.client.count(OBJECT))
    show(rows, "uploaded to fakeforce", time.perf_counter() - began)
    meddle(run.client)
    said = child("reconcile", {"run_id": "fakeforce"})
    check_five(said)
    show(rows, "03_reconcile, all its steps", said["seconds"], said["peak_mb"])
    print(f"{'':13}{said['message']}", flush=True)


def from_files(home: Path, rows: int) -> None:
    """The comparison alone, on files that a generator wrote."""
    files = written(home, rows)
    said = child("compare", files)
    check_five(said)
    show(rows, "comparison of files", said["seconds"], said["peak_mb"])
    if said["peak_mb"] > 1024:
        raise SystemExit(f"The comparison took {said['peak_mb']:.0f} MB, more than 1 GB.")


def beside_pandas(home: Path, rows: int) -> None:
    """The same files through the comparison and through a merge of pandas."""
    files = written(home, rows)
    ours, theirs = child("compare", files), child("pandas", files)
    check_five(ours)
    check("what pandas finds", theirs["found"], {"missing": 1, "extra": 1, "different": 3})
    show(rows, "comparison of files", ours["seconds"], ours["peak_mb"])
    show(rows, "pandas: read, merge, compare", theirs["seconds"], theirs["peak_mb"])
    faster, smaller = theirs["seconds"] / ours["seconds"], theirs["peak_mb"] / ours["peak_mb"]
    print(f"{'':13}pandas takes {faster:.1f} times as long and {smaller:.1f} times the memory", flush=True)


# ---- in a process of their own ----


def child(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Runs one of CHILDREN and returns what it says."""
    return measuring.child(__file__, "--child", name, json.dumps(given))


def reconcile(given: dict[str, Any]) -> dict[str, Any]:
    """What the cells of 03_reconcile call, in their order."""
    began = time.perf_counter()
    run = open_run("03_reconcile", {"run_id": given["run_id"], "table": TABLE})
    run.fetch_missing()
    run.balance()
    run.failures()
    run.compare()
    run.totals()
    try:
        message = repr(run.verdict())
    except BalanceError as error:
        message = error.what
    found = run._compared
    assert found is not None
    return measured(began, found) | {"message": message}


def compare_files(given: dict[str, Any]) -> dict[str, Any]:
    """The comparison of staged files with prepared pages."""
    began = time.perf_counter()
    run = open_run("03_reconcile", {"run_id": given["run_id"], "table": TABLE})
    work = run.folder / "salesforce"
    slice_ = compare.Given(
        run.config, run.ledger, run.data, run.logs, work, run._rejected_path, run.client.describe(OBJECT)
    )
    found = compare.compare(slice_, run.client, How(), Prepared(given))  # type: ignore[arg-type]
    return measured(began, found)


class Prepared:
    """Pages on disk in the place of a query job."""

    def __init__(self, given: dict[str, Any]) -> None:
        pages = (Page("", name, rows, 0, "", 0) for name, rows in given["pages"])
        self.back = ReadBack("prepared", "", tuple(pages), Path(given["folder"]))

    def read(self, *_given: object, **_named: object) -> ReadBack:
        """The pages."""
        return self.back

    def finished(self) -> None:
        """Nothing to note."""


def measured(began: float, found: compare.Found) -> dict[str, Any]:
    """Time, memory and what was found."""
    unequal = [line.field for line in found.lines if line.differs]
    return {
        "seconds": time.perf_counter() - began,
        "peak_mb": peak_mb(),
        "found": [found.missing, found.extra, found.different, found.different_values],
        "unequal": unequal,
        "examples": found.examples,
    }


def pandas_merge(given: dict[str, Any]) -> dict[str, Any]:
    """What a user would write: read both sides, merge by key, compare column by column."""
    import pandas as pd

    began = time.perf_counter()
    texts = {"dtype": str, "keep_default_na": False}
    staged = pd.concat([pd.read_csv(path, **texts) for path in given["staged"]])  # type: ignore[call-overload]
    folder = Path(given["folder"])
    target = pd.concat([pd.read_csv(folder / name, **texts) for name, _ in given["pages"]])  # type: ignore[call-overload]
    for name, kind, *_ in FIELDS:
        for side in (staged, target):
            if kind in {"decimal", "integer"}:
                side[name] = pd.to_numeric(side[name])
            elif kind == "datetime":
                side[name] = pd.to_datetime(side[name], utc=True)
    both = staged.merge(target, on=KEY, how="outer", suffixes=("", "@"), indicator=True)
    matched = both[both["_merge"] == "both"]
    differs = sum(matched[name].ne(matched[f"{name}@"]) for name, *_ in FIELDS).gt(0).sum()
    sides = both["_merge"].value_counts()
    found = {"missing": int(sides["left_only"]), "extra": int(sides["right_only"]), "different": int(differs)}
    return {"seconds": time.perf_counter() - began, "peak_mb": peak_mb(), "found": found}


CHILDREN: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "reconcile": reconcile,
    "compare": compare_files,
    "pandas": pandas_merge,
}


def check_five(said: dict[str, Any]) -> None:
    """Exactly what was planted, by name, and nothing else."""
    check("missing, too many, different rows and values", said["found"], [1, 1, 3, 3])
    named = [text.split(":")[0].split(" ")[0] for text in said["examples"]]
    check(
        "the keys that are named",
        sorted(named),
        sorted([*map(key, (MISSING, AMOUNT, LETTER, HOUR)), "STRANGER"]),
    )
    check("totals that differ", {"Sold_At__c", "Net_Amount__c"} <= set(said["unequal"]), True)


# ---- the slice ----


def write_project(home: Path) -> None:
    """A table file, and the object as the org has it."""
    fields = [f'[[fields]]\nfield = "{KEY}"\ntype = "key"\ncolumns = ["ID"]\nlength = 60\n']
    sobject = [f'name = "{OBJECT}"\nkey_prefix = "a0B"\n']
    length = {"text": "length = 120", "code": "length = 20"}
    sobject.append(
        f'[[fields]]\nname = "{KEY}"\ntype = "string"\nlength = 60\nexternal_id = true\nunique = true\nnillable = false\n'
    )
    for name, kind, sf_type, more in FIELDS:
        rule = "scale = 4" if name == "Rate__c" else length.get(kind, "")
        fields.append(f'[[fields]]\nfield = "{name}"\ncolumn = "{name}"\ntype = "{kind}"\n{rule}\n')
        sobject.append(f'[[fields]]\nname = "{name}"\ntype = "{sf_type}"\n{more}\n')
    for folder in ("tables", "schema"):
        (home / folder).mkdir()
    head = f'table = "{TABLE}"\nobject = "{OBJECT}"\nexternal_id_field = "{KEY}"\n[source]\ntable = "X"\n'
    (home / f"tables/{TABLE}.toml").write_text(head + "\n".join(fields), encoding="utf-8")
    (home / f"schema/{OBJECT}.toml").write_text("\n".join(sobject), encoding="utf-8")


def begun(home: Path, run_id: str) -> Run:
    """A run whose table is about to be staged."""
    assert project_root() == home
    return open_run("01_extract", {"run_id": run_id, "table": TABLE})


def key(n: int) -> str:
    """The key of row n."""
    return f"{n % 40:03d}|20251127|{n:09d}"


def rows_of(number: pl.Expr | pl.Series, *, org: bool = False) -> list[Any]:
    """The columns of rows by their number, as they are staged or as the org writes them."""
    n = number
    text = pl.String

    def padded(value: Any, width: int) -> Any:
        return value.cast(text).str.zfill(width)

    def decimal(value: Any, scale: int) -> Any:
        exact = (value.cast(pl.Decimal(18, scale)) / 10**scale).cast(pl.Decimal(18, scale)).cast(text)
        return exact.str.strip_chars_end("0").str.replace(r"\.$", ".0") if org else exact

    day = pl.concat_str(pl.lit("2025-"), padded(n % 12 + 1, 2), pl.lit("-"), padded(n % 28 + 1, 2))
    clock = pl.concat_str(
        padded(n // 3600 % 24, 2), pl.lit(":"), padded(n // 60 % 60, 2), pl.lit(":"), padded(n % 60, 2)
    )
    whole = (n % 97).cast(text)
    return [
        pl.concat_str(padded(n % 40, 3), pl.lit("|20251127|"), padded(n, 9)).alias(KEY),
        padded(n % 400, 5).alias("Store__c"),
        pl.concat_str(pl.lit("T"), padded(n, 10)).alias("Document_No__c"),
        pl.concat_str(pl.lit("สินค้า "), (n % 5000).cast(text), pl.lit(" of the shelf")).alias("Description__c"),
        pl.when(n % 10 == 0).then(pl.concat_str(pl.lit('said "yes",\nthen '), (n % 7).cast(text))).alias("Remark__c"),
        pl.when(n % 3 == 0).then(pl.lit("New")).when(n % 3 == 1).then(pl.lit("Sold")).otherwise(pl.lit("Void")).alias("Status__c"),
        pl.concat_str(day, pl.lit("T"), clock, pl.lit(".000Z")).alias("Sold_At__c"),
        day.alias("Sales_Date__c"),
        (pl.concat_str(whole, pl.lit(".0")) if org else whole).alias("Quantity__c"),
        decimal(n % 100_000, 2).alias("Price__c"),
        decimal(n % 1_000_003 * 7, 2).alias("Net_Amount__c"),
        decimal(n % 70_000, 4).alias("Rate__c"),
        pl.when(n % 5 == 0).then(pl.lit("false")).otherwise(pl.lit("true")).alias("Active__c"),
    ]  # fmt: skip


def numbers(start: int, end: int) -> pl.DataFrame:
    """The numbers of some rows."""
    return pl.DataFrame({"n": pl.int_range(start, end, dtype=pl.Int64, eager=True)})


def stage(run: Run, rows: int) -> None:
    """What 01_extract leaves behind."""
    writer = BatchWriter(run.data, TABLE, HEADER, KEY, BATCH)
    number = run.ledger.start_extraction(run.config.fingerprint)
    for start in range(0, rows, BATCH):
        writer.add(numbers(start, min(start + BATCH, rows)).select(rows_of(pl.col("n"))))
    RejectedFile(run._rejected_path).finish()
    totals = {"source_count": rows, "rows_read": rows, "rows_staged": rows, "rows_rejected": 0}
    done = {"fingerprint": run.config.fingerprint, "consistency": "none"}
    run.ledger.finish_extraction(number, writer.finish(), {}, **totals, **done)


def meddle(client: SalesforceClient) -> None:
    """Five changes over REST that no result file tells of."""
    (gone,) = client.records(OBJECT, ["Id"], KEY, [key(MISSING)])
    client.send("DELETE", f"/sobjects/{OBJECT}/{gone['Id']}")

    def change(name: str, **values: object) -> None:
        client.send("PATCH", f"/sobjects/{OBJECT}/{KEY}/{name.replace('|', '%7C')}", json=values)

    change("STRANGER")
    (amount,) = client.records(OBJECT, ["Net_Amount__c"], KEY, [key(AMOUNT)])
    change(key(AMOUNT), Net_Amount__c=float(amount["Net_Amount__c"]) + 0.01)
    change(key(LETTER), Document_No__c=f"T{LETTER:010d}".replace("T", "t"))
    (hour,) = client.records(OBJECT, ["Sold_At__c"], KEY, [key(HOUR)])
    change(key(HOUR), Sold_At__c=hour["Sold_At__c"].replace("+0000", "+0100"))


def written(home: Path, rows: int) -> dict[str, Any]:
    """Staged files, result files and pages of so many rows; where they are."""
    run = begun(home, f"files{rows}")
    if run.ledger.extraction() is None:
        stage(run, rows)
        for batch in run.ledger.batches():
            settle(run, batch.number, (batch.number - 1) * BATCH, batch.rows)
    folder = run.folder / "pages"
    folder.mkdir(exist_ok=True)
    pages = [page(folder, rows, start) for start in range(0, rows, PAGE)]
    staged = [str(run.data / batch.file) for batch in run.ledger.batches()]
    return {"run_id": f"files{rows}", "folder": str(folder), "pages": pages, "staged": staged}


def settle(run: Run, batch: int, start: int, rows: int) -> None:
    """A job that took every row, and its result files."""
    attempt = run.ledger.intend(batch)
    run.ledger.move(attempt, "created", job_id=f"750{batch}")
    for state in ("uploaded", "closing", "closed", "ended"):
        run.ledger.move(attempt, state)  # type: ignore[arg-type]
    good = numbers(start, start + rows).select(
        pl.concat_str(pl.lit("a0B"), pl.col("n").cast(pl.String).str.zfill(15)).alias("sf__Id"),
        pl.lit("true").alias("sf__Created"),
        *rows_of(pl.col("n")),
    )
    parts = {"success": good, "failed": good.clear(), "unprocessed": good.clear()}
    results = []
    for kind, frame in parts.items():
        path = run.logs / f"{OBJECT}_750{batch}_{kind}.csv"
        frame.write_csv(path, quote_style="always")
        results.append(Result(attempt, kind, path.name, frame.height, frame.height, ""))  # type: ignore[arg-type]
    run.ledger.fetched(attempt, results)


def page(folder: Path, rows: int, start: int) -> tuple[str, int]:
    """One page of a read-back, in the org's order and hand, meddled with."""
    path = folder / f"page_{start // PAGE:05d}.csv.gz"
    n = numbers(start, min(start + PAGE, rows)).select(pl.col("n") * STEP % rows)
    made = n.select(pl.lit("a0B000000000000AAA").alias("Id"), *rows_of(pl.col("n"), org=True), "n")
    made = made.filter(pl.col("n") != MISSING).with_columns(
        pl.when(pl.col("n") == AMOUNT).then(pl.lit("0.01")).otherwise("Net_Amount__c").alias("Net_Amount__c"),
        pl.when(pl.col("n") == LETTER).then(pl.lit("t0000300007")).otherwise("Document_No__c").alias("Document_No__c"),
        pl.when(pl.col("n") == HOUR)
        .then(pl.col("Sold_At__c").str.replace("Z", "+0100", literal=True))
        .otherwise("Sold_At__c").alias("Sold_At__c"),
    )  # fmt: skip
    if start == 0:
        made = pl.concat([made, stranger(made)])
    if not path.exists():
        path.write_bytes(igzip.compress(made.drop("n").write_csv(quote_style="always").encode(), 1))
    return path.name, made.height


def stranger(like: pl.DataFrame) -> pl.DataFrame:
    """A record that nobody sent."""
    given = {"Id": "a0B999", KEY: "STRANGER", "n": -1}
    return pl.DataFrame([given], schema=like.schema)


# ---- around it ----


@contextmanager
def server(home: Path) -> Iterator[None]:
    """fakeforce in a process of its own, and the connection to it."""
    with fakeforce.server(home / "schema") as (url, _):
        fields = {"conn_type": "http", "host": url, "login": "demo-client", "password": "demo-secret"}
        os.environ["AIRFLOW_CONN_SALESFORCE_API"] = json.dumps(fields)
        yield


def show(rows: int, what: str, seconds: float, peak: float | None = None) -> None:
    """One line of the table."""
    memory = "" if peak is None else f"{peak:10,.0f} MB"
    print(f"{rows:11,}  {what:<34}{seconds:8.1f}{rows / seconds:11,.0f}{memory:>13}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
