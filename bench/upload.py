"""The upload's wire path against a bare loop, and against what a user would pick instead.

    python bench/upload.py [--rows 1000000] [--batch-rows 10000] [--rounds 3] [--without-others] [--keep]

The rows are staged once. Then each contender, a process of its own (bench/upload_contenders.py, jsforce, `sf`), sends them
to a fakeforce of its own that keeps no rows: once with 50 ms before each call, once without. Seconds are those that fakeforce
counts from the first data call to the end of the last answer, medians of the rounds; peak memory is VmHWM, whole process.
The other clients get one plain file, and cut it as they do by themselves, at 50 ms only. jsforce and sf come from .clients/ (`make test-clients`).
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import requests
from measuring import kept, parser, peak_mb

from fakeforce import (
    FIELDS,
    row_text,
    server,
    write_schema,
)  # bench/fakeforce.py, which stands beside this file
from ora2sf.batches import BatchWriter
from ora2sf.ledger import Ledger

HERE = Path(__file__).parent
CLIENTS = HERE.parent / ".clients"
MODULES = CLIENTS / "node_modules"
LATENCY = 0.05
#: What was asked for: ours over the bare loop at 50 ms and without latency, megabytes, and growth from 10 batches to 100.
GOALS = {LATENCY: 1.15, 0.0: 1.3}
MOST_MB, MOST_GROWTH = 150, 1.10


class Failed(Exception):
    """A contender ended with an error; what it said."""


@dataclass(frozen=True)
class Measured:
    """One run: seconds from first to last call, the client's own processor time, calls, and peak memory in megabytes."""

    seconds: float
    processor: float
    calls: int
    peak: float


def main() -> int:
    """Stage, measure, print."""
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--batch-rows", type=int, default=10_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--without-others", action="store_true", help="ours and the bare loop only")
    given = arguments.parse_args()
    with kept("upload", keep=given.keep), tempfile.TemporaryDirectory(prefix="bench-upload-") as scratch:
        folder = Path(scratch)
        write_schema(folder / "schema")
        batches = stage(folder, given.rows, given.batch_rows)
        print(f"{given.rows:,} rows of {len(FIELDS)} columns in {batches} batches", flush=True)
        print(
            f"{'':<26}{'latency':>8}{'seconds':>9}{'ratio':>7}{'its cpu':>9}{'calls':>7}{'peak MB':>9}",
            flush=True,
        )
        for latency in (LATENCY, 0.0):
            bare = ours_and_bare(folder, latency, given.rounds)
            if latency and not given.without_others:
                others(folder, latency, bare)
        memory(folder, batches)
    return 0


def stage(folder: Path, rows: int, batch_rows: int) -> int:
    """The batches as an extraction leaves them, and the same rows as one plain file; returns the number of batches."""
    (folder / "data").mkdir()
    names = tuple(name for name, _, _ in FIELDS)
    head = ",".join(names) + "\n"
    writer = BatchWriter(folder / "data", "sales", names, names[0], batch_rows)
    with (folder / "all.csv").open("w", encoding="utf-8", newline="") as whole:
        whole.write(head)
        for start in range(0, rows, batch_rows):
            text = "".join(map(row_text, range(start, min(start + batch_rows, rows))))
            whole.write(text)
            writer.add(pl.read_csv((head + text).encode(), infer_schema=False))
    with Ledger(folder / "ledger.sqlite") as ledger:
        extraction = ledger.start_extraction("bench")
        totals = {"source_count": rows, "rows_read": rows, "rows_staged": rows, "rows_rejected": 0}
        ledger.finish_extraction(extraction, writer.finish(), {}, **totals, consistency="none")
    return len(writer.batches)


def ours_and_bare(folder: Path, latency: float, rounds: int) -> float:
    """In turn, so that a busy minute of the machine hits both; returns the seconds of the bare loop."""
    found: dict[str, list[Measured]] = {"bare loop": [], "ora2sf": []}
    for _ in range(rounds):
        for name, runs in found.items():
            runs.append(run(python(name), folder, latency))
    bare = show("bare loop", latency, found["bare loop"])
    ratio = show("ora2sf", latency, found["ora2sf"], bare) / bare
    print(f"  ora2sf / bare loop {ratio:.2f}: {goal(ratio, GOALS[latency])}", flush=True)
    zipped = [run([*python("ora2sf"), "gzip"], folder, latency)]
    show("ora2sf, gzip on the wire", latency, zipped, bare)
    return bare


def others(folder: Path, latency: float, bare: float) -> None:
    """The one plain file, with what each client does by itself."""
    for name, command in (
        ("simple-salesforce", python("simple-salesforce")),
        ("jsforce", node("upload_jsforce.cjs")),
        ("sf", node("upload_sf.cjs")),
    ):
        if not command:
            print(f"{name:<26}not installed: make test-clients installs it", flush=True)
            continue
        try:
            show(name, latency, [run(command, folder, latency)], bare)
        except Failed as error:
            why = re.search(r"^.*Error:.*$", str(error), re.MULTILINE)
            print(f"{name:<26}cannot load this file: {why.group().strip() if why else error}", flush=True)


def memory(folder: Path, batches: int) -> None:
    """Ours with all batches and with a tenth of them."""
    few = max(1, batches // 10)
    small = run([*python("ora2sf"), "plain", str(few)], folder, 0.0, few / batches).peak
    large = run([*python("ora2sf"), "plain", str(batches)], folder, 0.0).peak
    print(f"  peak memory with {batches} batches {large:.0f} MB: {goal(large, MOST_MB)}")
    print(f"  over that with {few} ({small:.0f} MB) {large / small:.2f}: {goal(large / small, MOST_GROWTH)}")


def goal(found: float, most: float) -> str:
    """Whether a figure is as small as it should be."""
    return f"at most {most:g}, {'met' if found <= most else 'missed'}"


def show(name: str, latency: float, runs: Sequence[Measured], bare: float | None = None) -> float:
    """One line; returns the median of the seconds."""
    seconds = statistics.median(one.seconds for one in runs)
    ratio = f"{seconds / bare:7.2f}" if bare else f"{'':7}"
    calls, peak = max(one.calls for one in runs), max(one.peak for one in runs)
    processor = statistics.median(one.processor for one in runs)
    spread = (
        f"  ({min(r.seconds for r in runs):.2f} to {max(r.seconds for r in runs):.2f})" if runs[1:] else ""
    )
    print(
        f"{name:<26}{latency * 1000:5.0f} ms{seconds:9.2f}{ratio}{processor:9.2f}{calls:7}{peak:9.0f}{spread}",
        flush=True,
    )
    return seconds


def python(contender: str) -> list[str]:
    """The command of a contender in Python."""
    return [sys.executable, str(HERE / "upload_contenders.py"), contender]


def node(script: str) -> list[str]:
    """The command of a contender in JavaScript; empty if it is not installed."""
    found = shutil.which("node")
    return [found, str(HERE / script)] if found and (CLIENTS / ".npm").exists() else []


def run(command: list[str], folder: Path, latency: float, share: float = 1.0) -> Measured:
    """One contender on a fresh server, in a folder of its own; ``share`` of the rows is what it sends."""
    with server(folder / "schema") as (url, _), work_folder(folder) as work:
        steer(url, "settings", {"keep_rows": False})
        if latency:
            steer(url, "faults", {"kind": "slow", "times": 0, "delay": latency})
        process = subprocess.Popen(
            command,
            cwd=work,
            env=environment(url, folder, work),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        peak = Peak(process.pid)
        before = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        said, _ = process.communicate()
        processor = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - before
        if process.returncode:
            raise Failed(said.decode(errors="replace"))
        state = requests.get(f"{url}/fakeforce/state", timeout=30).json()
        calls = requests.get(f"{url}/fakeforce/calls", timeout=30).json()
        check(state, work, round(share * (lines(folder / "all.csv") - 1)))
        return Measured(state["calls_seconds"], processor, len(calls), peak.megabytes())


@contextmanager
def work_folder(folder: Path) -> Iterator[Path]:
    """Where one run saves its results."""
    with tempfile.TemporaryDirectory(prefix="run-", dir=folder) as made:
        (Path(made) / "logs").mkdir()
        yield Path(made)


def environment(url: str, folder: Path, work: Path) -> dict[str, str]:
    """What a contender is told; the clients in JavaScript send no telemetry and look for no update."""
    quiet = (
        *("SF_DISABLE_TELEMETRY", "SF_DISABLE_AUTOUPDATE", "SF_AUTOUPDATE_DISABLE"),
        *("SF_SKIP_NEW_VERSION_CHECK", "SF_USE_GENERIC_UNIX_KEYCHAIN", "SF_HIDE_RELEASE_NOTES"),
    )
    paths = {"PATH": os.pathsep.join([str(MODULES / ".bin"), os.environ["PATH"]]), "NODE_PATH": str(MODULES)}
    return {
        **os.environ, **dict.fromkeys(quiet, "true"), **paths,
        "HOME": str(work), "ORG": url, "STAGED": str(folder), "TOKEN": token(url),
        "AIRFLOW_CONN_SALESFORCE_API": f'{{"host": "{url}", "login": "demo-client", "password": "demo-secret"}}',
    }  # fmt: skip


def token(url: str) -> str:
    """A token, for the clients that do not know this way to sign in."""
    form = {"grant_type": "client_credentials", "client_id": "demo-client", "client_secret": "demo-secret"}
    found: str = requests.post(f"{url}/services/oauth2/token", data=form, timeout=30).json()["access_token"]
    return found


def steer(url: str, what: str, body: dict[str, Any]) -> None:
    """Switches something of the server."""
    requests.post(f"{url}/fakeforce/{what}", json=body, timeout=30).raise_for_status()


def check(state: dict[str, Any], work: Path, rows: int) -> None:
    """A benchmark of a wrong result is worth nothing: every row sent was processed, and its result line is on disk."""
    sent = sum(job["processed"] for job in state["jobs"])
    saved = sum(lines(path) - 1 for path in work.rglob("*success*.csv"))
    if not sent == saved == rows:
        raise SystemExit(f"{sent} rows processed, {saved} result lines saved, {rows} to be sent")


def lines(path: Path) -> int:
    """Lines of a file."""
    with path.open("rb") as stream:
        return sum(block.count(b"\n") for block in iter(lambda: stream.read(1 << 20), b""))


class Peak:
    """The peak memory of a process, or of one that it started if that has more, read while they live.

    What wait() tells would include the parent's (fork, exec).
    """

    def __init__(self, pid: int) -> None:
        self._pid, self._most = pid, 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            self._look(self._pid)

    def _look(self, pid: int) -> None:
        with suppress(OSError, StopIteration):  # it has ended
            self._most = max(self._most, peak_mb(pid))
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                self._look(int(child))

    def megabytes(self) -> float:
        """Once the process has ended."""
        self._ended.set()
        self._thread.join()
        return self._most


if __name__ == "__main__":
    sys.exit(main())
