"""The upload is killed at every kind of step and run again: every row is in the org once, and the books balance.

The points to kill at are found by recording an undisturbed run (crash_child.py). `make test` takes one of each kind of step and
operation; `make test-crash` sets CRASH_POINTS=all and takes every one, which lasts some minutes, and prints its progress.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from crash_child import KEY, OBJECT

from ora2sf.batches import RejectedFile
from ora2sf.ledger import Batch, Ledger
from ora2sf.reconcile import balance, outcomes

CHILD = Path(__file__).with_name("crash_child.py")
ALL = os.environ.get("CRASH_POINTS") == "all"
BATCHES, ROWS = 12, 4
AT_ONCE = 3
OPERATIONS = ("upsert", "insert")
SCHEMA = f"""
name = "{OBJECT}"
key_prefix = "a0X"

[[fields]]
name = "{KEY}"
type = "string"
external_id = true
nillable = false

[[fields]]
name = "Text__c"
type = "string"
"""  # the key is not unique: a row that is inserted twice is there twice


class CrashOrg:
    """fakeforce in a process of its own, shared by all slices; each slice has keys of its own."""

    def __init__(self, url):
        self.url, self.http = url, requests.Session()
        form = {
            "grant_type": "client_credentials",
            "client_id": "demo-client",
            "client_secret": "demo-secret",
        }
        token = self.http.post(f"{url}/services/oauth2/token", data=form, timeout=30).json()["access_token"]
        self.http.headers["Authorization"] = f"Bearer {token}"

    def rows(self, prefix):
        """(key, text) of every row of a slice, as often as it is there."""
        query = f"SELECT {KEY}, Text__c FROM {OBJECT} WHERE {KEY} LIKE '{prefix}%'"
        found = self.http.get(f"{self.url}/services/data/v66.0/query", params={"q": query}, timeout=60).json()
        assert found["done"]
        return sorted((record[KEY], record["Text__c"]) for record in found["records"])


@pytest.fixture(scope="module")
def crash_org(tmp_path_factory):
    schema = tmp_path_factory.mktemp("schema")
    (schema / f"{OBJECT}.toml").write_text(SCHEMA)
    command = [sys.executable, "-m", "fakeforce", "--schema", schema]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        org = CrashOrg(json.loads(process.stdout.readline())["url"])
        try:
            yield org
        finally:
            org.http.close()
            process.terminate()


@pytest.fixture(scope="module")
def environment(crash_org):
    fields = {"conn_type": "http", "host": crash_org.url, "login": "demo-client", "password": "demo-secret"}
    return {**os.environ, "AIRFLOW_CONN_SALESFORCE_API": json.dumps(fields)}


@pytest.fixture(scope="module")
def runs(environment):
    """A function that runs the child with arguments and returns its status; a few of them run at once."""
    free = queue.SimpleQueue()
    started = [
        subprocess.Popen(
            [sys.executable, CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(AT_ONCE)
    ]
    for one in started:
        free.put(one)

    def run(*given):
        process = free.get()
        try:
            process.stdin.write(json.dumps([str(given[0]), *given[1:]]) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())
        finally:
            free.put(process)

    yield run
    for one in started:
        one.stdin.close()
        one.wait(timeout=30)
        one.stdout.close()


class CrashSlice:
    """A staged slice of a dozen small batches."""

    numbers = itertools.count(1)

    def __init__(self, home):
        self.prefix = f"S{next(self.numbers):05d}-"
        self.home = home / self.prefix
        self.data, self.logs = self.home / "data", self.home / "logs"
        self.data.mkdir(parents=True)
        self.logs.mkdir()
        self.rows = [(f"{self.prefix}{n:03d}", f"ค่า {n}") for n in range(BATCHES * ROWS)]
        RejectedFile(self.logs / "thing_rejected.csv").finish()
        with Ledger(self.home / "ledger.sqlite") as ledger:
            extraction = ledger.start_extraction("fingerprint")
            total = len(self.rows)
            totals = {"source_count": total, "rows_read": total, "rows_staged": total, "rows_rejected": 0}
            batches = [self._staged(number) for number in range(1, BATCHES + 1)]
            ledger.finish_extraction(extraction, batches, {}, **totals, consistency="none")

    def _staged(self, number):
        rows = self.rows[(number - 1) * ROWS : number * ROWS]
        text = f"{KEY},Text__c\n" + "".join(f"{key},{value}\n" for key, value in rows)
        name = f"thing_{number:05d}.csv.gz"
        (self.data / name).write_bytes(gzip.compress(text.encode(), 1))
        digest = hashlib.sha256(text.encode()).hexdigest()
        return Batch(number, name, ROWS, len(text.encode()), digest, rows[0][0], rows[-1][0])

    def told(self, org):
        """What ledger and org say of each attempt, for a failure's message."""
        state = org.http.get(f"{org.url}/fakeforce/state", timeout=30).json()
        jobs = {job["id"]: job for job in state["jobs"]}
        with Ledger(self.home / "ledger.sqlite") as ledger:
            lines = [
                f"{one.batch} {one.state} {one.job_id} {one.job_state} {one.message}; in the org: "
                + " ".join(
                    str(jobs.get(one.job_id, {}).get(key))
                    for key in ("state", "processed", "failed", "error")
                )
                for one in ledger.attempts()
            ]
        return "\n".join(lines)

    def check(self, org):
        """The target equals the source, without a row twice, and the books say the same."""
        assert org.rows(self.prefix) == self.rows, self.told(org)
        with Ledger(self.home / "ledger.sqlite") as ledger:
            last = ledger.last_attempts()
            assert {last[number].state for number in range(1, BATCHES + 1)} == {"fetched"}
            books = balance(
                ledger.extraction(),
                outcomes(ledger, self.data, self.logs, KEY),
                self.logs / "thing_rejected.csv",
                target_before=None,
                target_after=None,
                shared_target=False,
            )
        assert [one.name for one in books.checks if not one.holds] == []
        assert (books.verdict, books.success, books.created) == ("complete", len(self.rows), len(self.rows))


@pytest.fixture(scope="module")
def recorded(runs, crash_org, tmp_path_factory):
    """A function: operation → the points of an undisturbed run, in their order."""

    def record(operation):
        one, file = (
            CrashSlice(tmp_path_factory.mktemp("recorded")),
            tmp_path_factory.mktemp("points") / "points",
        )
        assert runs(one.home, operation, {"record": str(file)}) == 0, said(one)
        one.check(crash_org)
        points = [tuple(json.loads(line)) for line in file.read_text().splitlines()]
        # how often a job is looked at differs from run to run, but it is at least once
        return [
            (name, count)
            for name, count in points
            if name.split(" ", 1)[1] != "GET /jobs/ingest/{job}" or count <= BATCHES
        ]

    return record


def said(one):
    found = one.home / "said.txt"
    return found.read_text() if found.exists() else "nothing said"


def one_of_each(points, turn):
    """One point of each step, in the middle of the run; before, inside and after by turns."""
    steps = {}
    for name, count in points:
        moment, step = name.split(" ", 1)
        steps.setdefault(step, {}).setdefault(moment, []).append(count)
    chosen = []
    for number, (step, moments) in enumerate(steps.items(), start=turn):
        moment = sorted(moments)[number % len(moments)]
        counts = moments[moment]
        chosen.append((f"{moment} {step}", counts[len(counts) // 2]))
    return chosen


def killed_and_resumed(point, operation, runs, org, home):
    """Kills a fresh slice there, resumes it by the same command, and looks; what went wrong, or nothing."""
    one = CrashSlice(home)
    ended = runs(one.home, operation, {"kill": point})
    assert ended == -signal.SIGKILL, f"not killed: {ended}\n{said(one)}"
    assert runs(one.home, operation) == 0, said(one)
    one.check(org)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_run_that_is_killed_anywhere_and_run_again_has_every_row_once(
    operation, recorded, runs, crash_org, tmp_path
):
    points = recorded(operation)
    chosen = points if ALL else one_of_each(points, turn=OPERATIONS.index(operation))
    wrong = []

    def look(point):
        try:
            killed_and_resumed(point, operation, runs, crash_org, tmp_path)
        except AssertionError as error:
            wrong.append(point)
            print(f"{point}: {error}")
            return "WRONG"
        return "every row once"

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for number, (point, end) in enumerate(zip(chosen, pool.map(look, chosen), strict=True), start=1):
            print(f"{operation} {number}/{len(chosen)} killed {point[0]} #{point[1]}: {end}", flush=True)
    assert wrong == []


def test_the_recorded_points_are_all_the_calls_and_moves_of_a_slice(recorded):
    counts = Counter(name for name, _ in recorded("upsert"))
    calls = (
        "POST /jobs/ingest",
        "PUT /jobs/ingest/{job}/batches",
        "PATCH /jobs/ingest/{job}",
        "GET /jobs/ingest/{job}",
    )
    moves = (
        "intend",
        *(f"move {state}" for state in ("created", "uploaded", "closing", "closed", "ended")),
        "fetched",
    )
    for moment in ("before", "after"):
        assert [counts[f"{moment} {call}"] for call in calls] == [BATCHES] * len(calls)
        assert [counts[f"{moment} ledger {move}"] for move in moves] == [BATCHES] * len(moves)
    assert counts["inside PUT /jobs/ingest/{job}/batches"] == BATCHES


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_command_itself_is_killed_and_resumed(operation, environment, crash_org, tmp_path):
    one = CrashSlice(tmp_path)
    command = [sys.executable, CHILD, one.home, operation]
    kill = json.dumps({"kill": ["before ledger move closed", 5]})
    assert subprocess.run([*command, kill], env=environment, check=False).returncode == -signal.SIGKILL
    assert subprocess.run(command, env=environment, check=False).returncode == 0
    one.check(crash_org)
