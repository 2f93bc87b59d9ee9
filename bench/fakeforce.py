"""How fast fakeforce takes and gives rows, and how much memory it needs.

    python bench/fakeforce.py [rows ...] [--keep]        (default: 100000 1000000)

Each size gets a server process of its own (``python -m fakeforce``): one ingest job is uploaded, processed and
its results read; then one query job reads the rows back. Twelve columns a row: text, codes, numbers, dates.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from measuring import check, kept, parser, peak_mb, processor_seconds

FIELDS = (
    ("External_ID__c", "string", "length = 60\nexternal_id = true\nunique = true\nnillable = false"),
    ("Store__c", "string", "length = 20"),
    ("Document_No__c", "string", "length = 40"),
    ("Description__c", "string", "length = 120"),
    ("Status__c", "picklist", 'values = ["New", "Sold", "Void"]\nrestricted = true'),
    ("Sold_At__c", "datetime", ""),
    ("Sales_Date__c", "date", ""),
    ("Quantity__c", "int", ""),
    ("Price__c", "currency", "precision = 18\nscale = 2"),
    ("Net_Amount__c", "currency", "precision = 18\nscale = 2"),
    ("Rate__c", "double", "precision = 9\nscale = 4"),
    ("Active__c", "boolean", ""),
)
STATUSES = ("New", "Sold", "Void")
WRITE_ROWS = 10_000
POLL_SECONDS = 0.2


def main() -> int:
    """Measure each size and print one line for each step."""
    arguments = parser(__doc__)
    arguments.add_argument("rows", nargs="*", type=int, default=[100_000, 1_000_000])
    given = arguments.parse_args()
    with kept("fakeforce", keep=given.keep):
        print(
            f"{'rows':>9}  {'step':<22}{'seconds':>8}{'rows/s':>11}   server's processor time and peak memory"
        )
        for rows in given.rows:
            with tempfile.TemporaryDirectory(prefix="bench-fakeforce-") as folder:
                measure(rows, Path(folder))
    return 0


def measure(rows: int, folder: Path) -> None:
    """One size: ingest, its results, a query job and its results."""
    write_schema(folder / "schema")
    data = folder / "rows.csv"
    write_rows(data, rows)
    with server(folder / "schema") as (url, process):
        caller = Caller(url)

        def show(step: str, began: float) -> None:
            spent = time.perf_counter() - began
            used = f"{processor_seconds(process.pid):6.1f} s  {peak_mb(process.pid):5.0f} MB"
            print(f"{rows:9,}  {step:<22}{spent:8.2f}{rows / spent:11,.0f}   {used}", flush=True)

        began = time.perf_counter()
        job = ingest(caller, data, rows)
        show("upload to JobComplete", began)
        reading = time.perf_counter()
        found, _ = lines(caller, f"/jobs/ingest/{job}/successfulResults")
        check("result rows", found - 1, rows)
        show("successful results", reading)
        show("the two together", began)
        began = time.perf_counter()
        job = query(caller)
        show("query to JobComplete", began)
        reading = time.perf_counter()
        check("queried rows", queried(caller, job), rows)
        show("query results", reading)


def write_schema(folder: Path) -> None:
    """One object with the twelve fields."""
    folder.mkdir()
    text = 'name = "Sales_Line__c"\nkey_prefix = "a0B"\n'
    for name, kind, more in FIELDS:
        text += f'\n[[fields]]\nname = "{name}"\ntype = "{kind}"\n{more}\n'
    (folder / "Sales_Line__c.toml").write_text(text, encoding="utf-8")


def write_rows(path: Path, rows: int) -> None:
    """The upload: distinct keys and numbers, codes that repeat."""
    with path.open("w", encoding="utf-8", newline="") as target:
        target.write(",".join(name for name, _, _ in FIELDS) + "\n")
        for start in range(0, rows, WRITE_ROWS):
            numbers = range(start, min(start + WRITE_ROWS, rows))
            target.write("".join(map(row_text, numbers)))


def row_text(n: int) -> str:
    """One line of the upload."""
    day = f"2025-{n % 12 + 1:02d}-{n % 28 + 1:02d}"
    second = f"{n // 3600 % 24:02d}:{n // 60 % 60:02d}:{n % 60:02d}"
    cells = (
        f"{n % 40:03d}-20251127-{n:09d}", f"{n % 400:05d}", f"T{n:010d}", f"Thing {n % 5000} of the shelf",
        STATUSES[n % 3], f"{day}T{second}.000Z", day, str(n % 97), f"{n % 100_000 / 100:.2f}",
        f"{n % 1_000_003 * 7 / 100:.2f}", f"{n % 70_000 / 10_000:.4f}", "true" if n % 5 else "false",
    )  # fmt: skip
    return ",".join(cells) + "\n"


@contextmanager
def server(schema: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """fakeforce in a process of its own; yields its address and the process."""
    command = [sys.executable, "-m", "fakeforce", "--schema", str(schema)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["url"], process
    finally:
        process.terminate()
        process.wait(timeout=60)


class Caller:
    """Calls with a token."""

    def __init__(self, url: str) -> None:
        self.base = f"{url}/services/data/v66.0"
        self.http = requests.Session()
        self.http.trust_env = False
        form = {
            "grant_type": "client_credentials",
            "client_id": "demo-client",
            "client_secret": "demo-secret",
        }
        reply = self.http.post(f"{url}/services/oauth2/token", data=form, timeout=30)
        self.http.headers["Authorization"] = f"Bearer {reply.json()['access_token']}"

    def call(self, method: str, path: str, **given: object) -> requests.Response:
        """One call that must succeed."""
        reply = self.http.request(method, self.base + path, timeout=600, **given)  # type: ignore[arg-type]
        reply.raise_for_status()
        return reply


def ingest(caller: Caller, data: Path, rows: int) -> str:
    """Upsert the file in one job; returns the job's id when it is done."""
    body = {"object": "Sales_Line__c", "operation": "upsert", "externalIdFieldName": "External_ID__c"}
    job: str = caller.call("POST", "/jobs/ingest", json=body).json()["id"]
    with data.open("rb") as source:
        caller.call("PUT", f"/jobs/ingest/{job}/batches", data=source, headers={"Content-Type": "text/csv"})
    caller.call("PATCH", f"/jobs/ingest/{job}", json={"state": "UploadComplete"})
    info = ended(caller, f"/jobs/ingest/{job}")
    check("processed rows", info["numberRecordsProcessed"] - info["numberRecordsFailed"], rows)
    return job


def query(caller: Caller) -> str:
    """Read all twelve fields back; returns the query job's id when it is done."""
    text = f"SELECT {', '.join(name for name, _, _ in FIELDS)} FROM Sales_Line__c"
    job: str = caller.call("POST", "/jobs/query", json={"operation": "query", "query": text}).json()["id"]
    ended(caller, f"/jobs/query/{job}")
    return job


def ended(caller: Caller, path: str) -> dict[str, int]:
    """Wait for JobComplete."""
    while True:
        info = caller.call("GET", path).json()
        if info["state"] == "JobComplete":
            return dict(info)
        check("state", info["state"] in ("UploadComplete", "InProgress"), True)
        time.sleep(POLL_SECONDS)


def queried(caller: Caller, job: str) -> int:
    """Rows on all pages of a query job."""
    found, locator = 0, ""
    while locator != "null":
        path = f"/jobs/query/{job}/results" + (f"?locator={locator}" if locator else "")
        count, locator = lines(caller, path)
        found += count - 1  # the header is on each page
    return found


def lines(caller: Caller, path: str) -> tuple[int, str]:
    """Lines of a download, read in pieces, and the locator of the next page."""
    found = 0
    with caller.call("GET", path, stream=True, headers={"Accept-Encoding": "identity"}) as reply:
        for piece in reply.iter_content(1 << 18):
            found += piece.count(b"\n")
        return found, reply.headers.get("Sforce-Locator", "")


if __name__ == "__main__":
    sys.exit(main())
