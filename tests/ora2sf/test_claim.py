"""A slice has one process at work: a second one is refused, a dead one is replaced, a sleeper that wakes up changes nothing."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from staged import calls, keys_in

from ora2sf import claim
from ora2sf.claim import this_process
from ora2sf.errors import ClaimedError
from ora2sf.ledger import Ledger

HOLDS = """
import signal, sys
from pathlib import Path
from ora2sf import claim
from ora2sf.ledger import Ledger
claim.BEAT = 0.05
with Ledger(Path({path!r})) as ledger, ledger.claimed():
    print("held", flush=True)
    sys.stdin.readline()
"""

#: Sends one batch after another, and is stopped, as by ^Z, when the first is settled: outside a transaction, so that no lock is left behind.
SENDS = """
import signal, sys, threading
sys.path.insert(0, {tests!r})
from pathlib import Path
from ora2sf import claim
from ora2sf.errors import ClaimedError
from ora2sf.ledger import Ledger
from ora2sf.salesforce import SalesforceBulkLoader, SalesforceClient
from ora2sf.upload import plan, upload
claim.BEAT = 0.05
folder = Path({folder!r})

def settled(one, end):
    if one.batch.number == 1:
        with ledger._lock:
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # to itself: stopped before it goes on

with Ledger(folder / "ledger.sqlite") as ledger, ledger.claimed():
    loader = SalesforceBulkLoader(SalesforceClient(), "Product2", "ProductCode", logs=folder / "logs", max_concurrent_jobs=1)
    try:
        upload(plan(ledger), ledger, loader, folder / "data", settled)
    except ClaimedError as error:
        print(error)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with Ledger(path) as opened:
        yield opened


@contextmanager
def process(code: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs the code."""
    one = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield one
    finally:
        one.kill()
        one.communicate()


@contextmanager
def holding(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has taken the slice."""
    with process(HOLDS.format(path=str(path))) as one:
        assert one.stdout
        assert one.stdout.readline() == "held\n"
        yield one


def outcomes(path: Path) -> list[str | None]:
    with sqlite3.connect(path) as db:
        found = [row[0] for row in db.execute("SELECT outcome FROM step ORDER BY id")]
    db.close()
    return found


def test_a_second_process_is_refused_and_told_who_holds_the_slice_since_when_and_what_to_do(path, ledger):
    with holding(path) as other:
        with pytest.raises(ClaimedError) as caught, ledger.claimed():
            pass
        holder = ledger.holder()
        assert holder
        for word in (f"process {other.pid} on {holder.host}", holder.since[:19], "Next step: Wait", "end it"):
            assert word in str(caught.value)


def test_nobody_but_the_holder_writes_and_everybody_reads(path, ledger):
    with holding(path):
        with pytest.raises(ClaimedError, match="held by another process"):
            ledger.record("colour", "red")
        assert ledger.setting("colour") is None
        assert ledger.attempts() == []


def test_a_slice_is_free_again_when_its_holder_is_done(path, ledger):
    with holding(path) as other:
        other.communicate("go on\n")
    with ledger.claimed() as gone:
        assert gone is None
        ledger.record("colour", "red")
    assert ledger.holder() is None
    ledger.record("colour", "blue")


def test_what_raises_while_the_slice_is_held_gives_it_back(ledger):
    with pytest.raises(KeyError), ledger.claimed():
        raise KeyError
    assert ledger.holder() is None


@pytest.mark.parametrize("reaped", [True, False], ids=["gone", "a zombie"])
def test_a_killed_process_is_replaced_at_once(path, ledger, reaped):
    with holding(path) as other:
        os.kill(other.pid, signal.SIGKILL)
        if reaped:
            other.wait()
        else:
            os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        with ledger.claimed() as gone:
            assert gone
            assert gone.pid == other.pid
            ledger.record("colour", "red")


def test_a_process_id_that_is_used_again_is_another_process():
    me = this_process()
    assert me.life == "alive"
    assert replace(me, begun="1").life == "gone"
    assert replace(me, begun="1", place="another machine").life == "unknown"
    assert replace(me, begun="1", place="").life == "unknown"


def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this process takes slices as one of another machine, of which nobody here can say whether it lives."""
    there = replace(this_process(), host="elsewhere", place="elsewhere", pid=2**22 + 1)
    monkeypatch.setattr(claim, "this_process", lambda: there)


def test_a_process_on_another_machine_is_alive_as_long_as_its_heartbeat_moves(path, ledger, monkeypatch):
    with monkeypatch.context() as there:
        elsewhere(there)
        there.setattr(claim, "BEAT", 0.05)
        holds = ledger.claimed()
        holds.__enter__()
    with Ledger(path) as second, pytest.raises(ClaimedError, match="on elsewhere"), second.claimed():
        pass
    holds.__exit__(None, None, None)


def test_one_whose_heartbeat_stands_still_for_the_stated_time_is_replaced_and_can_write_nothing_more(
    path, ledger, monkeypatch
):
    monkeypatch.setattr(claim, "BEAT", 3600)
    monkeypatch.setattr(claim, "PATIENCE", 0.3)
    with monkeypatch.context() as there:
        elsewhere(there)
        holds = ledger.claimed()
        holds.__enter__()
    step = ledger.start_step("02_upload")
    with Ledger(path) as second:
        with second.claimed() as gone:
            assert gone
            assert gone.host == "elsewhere"
            with pytest.raises(ClaimedError, match=f"taken over from this process by process {os.getpid()} "):
                ledger.end_step(step, "ok")
        holds.__exit__(None, None, None)
        with pytest.raises(ClaimedError, match="taken over from this process"):
            ledger.end_step(step, "ok")
        assert outcomes(path) == [None]
    with ledger.claimed():  # a new claim is a new beginning
        ledger.end_step(step, "ok")
    assert outcomes(path) == ["ok"]


def test_of_two_that_replace_a_dead_process_one_is_first(path, ledger):
    with holding(path) as other:
        other.kill()
        other.wait()
        fence, beat, _ = ledger._claim()
        with Ledger(path) as second:
            assert second._take_from(fence, beat)
            assert not ledger._take_from(fence, beat)


def test_a_stopped_process_that_wakes_up_after_it_was_replaced_records_nothing_and_begins_no_job(
    org, slice_, tmp_path, monkeypatch
):
    keys = slice_.stage(40, batch_size=10)
    with process(SENDS.format(folder=str(tmp_path), tests=str(Path(__file__).parent))) as sleeper:
        os.waitid(os.P_PID, sleeper.pid, os.WSTOPPED | os.WNOWAIT)
        assert slice_.states() == ["fetched"]
        monkeypatch.setattr(claim, "PATIENCE", 0.3)
        with slice_.ledger.claimed() as gone:
            assert gone
            assert gone.pid == sleeper.pid
            slice_.upload()
        moves, jobs = slice_.ledger.times(), len(calls(org, "POST", "/jobs/ingest"))
        os.kill(sleeper.pid, signal.SIGCONT)
        said, _ = sleeper.communicate()
    assert "was taken over from this process" in said
    assert (slice_.ledger.times(), len(calls(org, "POST", "/jobs/ingest"))) == (moves, jobs)
    assert jobs == 4
    assert keys_in(org) == keys


def test_a_process_that_was_replaced_between_two_acts_closes_no_job(org, slice_, tmp_path, monkeypatch):
    """The job was filled before, and its closing is recorded before it is sent: so the record fails first."""
    slice_.stage(10)
    monkeypatch.setattr(claim, "BEAT", 3600)
    monkeypatch.setattr(claim, "PATIENCE", 0.1)
    loader, fill = slice_.loader(), type(slice_.loader())._fill
    second = Ledger(tmp_path / "ledger.sqlite")

    def replaced(*given: object) -> str:
        job = fill(*given)  # type: ignore[arg-type]
        assert second._take_from(*second._claim()[:2])
        return job

    monkeypatch.setattr(type(loader), "_fill", replaced)
    with second, pytest.raises(ClaimedError), slice_.ledger.claimed():
        slice_.upload()
    assert [job["state"] for job in org.jobs()] == ["Open"]
    assert slice_.states() == ["created"]  # that it was filled is recorded with the closing
