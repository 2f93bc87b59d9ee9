"""A storm: calls fail in every way that fakeforce knows, rows are locked, tokens end, the clock jumps; no row is lost or twice."""

from __future__ import annotations

import itertools
import threading

import pytest
from staged import OBJECT, Slice, keys_in

from fakeforce.faults import CALL_FAULTS
from ora2sf.errors import Ora2sfError
from ora2sf.rounds import Rounds
from ora2sf.upload import plan, upload

ROWS, BATCH_SIZE = 600, 15
CALLS_THAT_FAIL, ROWS_LOCKED, JOBS_THAT_FAIL = 0.10, 0.20, 0.05
RESUMES = 15
HOUR = 3600


def storm(org, seed):
    """Of ten calls one fails, each kind as often as the others; of five chunks of rows one is locked."""
    seeds = itertools.count(seed)
    for kind in CALL_FAULTS:
        rate = CALLS_THAT_FAIL / len(CALL_FAULTS)
        org.faults.add(kind, times=0, rate=rate, seed=next(seeds), delay=0.4, retry_after="0")
    org.faults.add("lock-rows", object=OBJECT, rows=BATCH_SIZE, times=0, rate=ROWS_LOCKED, seed=next(seeds))
    for kind in ("fail-job", "retry-batch", "lose-batch", "drop-result"):
        org.faults.add(kind, object=OBJECT, times=0, rate=JOBS_THAT_FAIL, seed=next(seeds))
    org.faults.add("stick-job", object=OBJECT, times=2, skip=8, delay=HOUR / 2)


def weather(org):
    """A function that is told of each settled batch: two tokens end, and an hour passes."""
    count, lock = itertools.count(1), threading.Lock()
    turns = {
        10: org.expire_tokens,
        15: lambda: org.clock.push(HOUR),
        20: lambda: org.change(expiry_form="jwt"),
        25: org.expire_tokens,
    }

    def settled(_plan, _end):
        with lock:
            turns.get(next(count), lambda: None)()

    return settled


@pytest.mark.parametrize("operation", ["upsert", "insert"])
def test_after_a_storm_every_row_is_there_once_and_the_books_balance(org, make_client, tmp_path, operation):
    with (slice_ := Slice(tmp_path, make_client(timeout=(5.0, 0.3)))).ledger:
        keys = slice_.stage(ROWS, batch_size=BATCH_SIZE)
        settled, stopped = weather(org), []
        slice_.client.limits()  # signed in: from here on every failure may pass
        storm(org, seed=20)
        while True:
            loader = slice_.loader(operation=operation, max_concurrent_jobs=6, job_timeout=20)
            try:
                upload(
                    plan(slice_.ledger),
                    slice_.ledger,
                    loader,
                    slice_.data,
                    settled,
                    rounds=Rounds(most=10, pause=0),
                )
                break
            except Ora2sfError as error:  # the operator runs it again
                stopped.append(error.what)
                assert len(stopped) <= RESUMES, stopped
        org.faults.clear()
        assert keys_in(org) == keys
        books = slice_.books(after=org.count(OBJECT))
        assert [check.name for check in books.checks if not check.holds] == []
        assert (books.verdict, books.success, books.unknown, books.failed) == ("complete", ROWS, 0, 0)
        statuses = [seen.status for seen in org.calls]
        assert {0, 401, 403, 429, 500, 502, 503} <= set(statuses)
        assert sum(1 for status in statuses if not 200 <= status < 300) > len(statuses) * 0.05
