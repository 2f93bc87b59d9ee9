"""A whole campaign is killed at random moments and run again: in the end every slice is proven and every record is there once.

`make test` runs the cells of the notebooks without kernels, which would take minutes; `make test-campaign` sets CRASH_POINTS=all
and kills real notebooks with their kernels, several times over. The seed is printed; CAMPAIGN_SEED=n repeats it.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ora2sf.errors import Exit
from ora2sf.ledger import Ledger
from ora2sf.overview import look
from place import SALES, SHOPS, Place, new_place
from test_campaign import CELLS
from world import ROOT

KERNELS = os.environ.get("CRASH_POINTS") == "all"
TURNS = 4 if KERNELS else 1
#: The command, with or without kernels.
COMMAND = """
import sys
from ora2sf.cli import main
from ora2sf.execution import Processes
Processes.module = sys.argv.pop(1)
sys.exit(main(["run", "--all", "--run-id", "c", "--slice-rows", "40"]))
"""
#: How it is ended: everything at once, the command alone, or as Ctrl-C and schedulers do.
ENDS = ("kill -9 of all", "kill -9 of the command", "SIGTERM", "SIGINT")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with new_place(tmp_path, monkeypatch) as made:
        (made.root / "notebooks").rmdir()
        (made.root / "notebooks").symlink_to(ROOT / "notebooks")
        (made.root / "cells.py").write_text(CELLS)
        monkeypatch.setenv("PYTHONPATH", f"{made.root}{os.pathsep}{ROOT / 'lib'}")
        monkeypatch.setenv("BOOKS", str(ROOT / "notebooks"))
        monkeypatch.setenv("ORA2SF_SMALL_SET", "0")  # with jobs, which outlive whoever made them
        yield made


@dataclass
class Campaign:
    """The command, run again and again."""

    place: Place
    said: Path
    ended: list[str] = field(default_factory=list)

    def begin(self) -> subprocess.Popen[bytes]:
        with self.said.open("ab") as out:
            module = "ora2sf.notebooks" if KERNELS else "cells"
            return subprocess.Popen(
                [sys.executable, "-c", COMMAND, module], stdout=out, stderr=out, start_new_session=True
            )

    def killed(self, how: str, calls: int) -> None:
        """Runs it until the org has seen so many calls more, and ends it; unless it has come to its end by then."""
        at, process = len(self.place.org.calls) + calls, self.begin()
        while len(self.place.org.calls) < at and process.poll() is None:
            threading.Event().wait(0.01)
        if process.poll() is not None:
            return
        self.ended.append(how)
        if how == "kill -9 of all":
            for pid in [process.pid, *descendants(process.pid)]:
                kill(pid)
        else:
            process.send_signal(getattr(signal, how, signal.SIGKILL))
        code = process.wait(timeout=120)
        assert code == (Exit.INTERRUPTED if how.startswith("SIG") else -signal.SIGKILL), self.said.read_text()

    def finish(self) -> int:
        """Runs it to its end."""
        with self.begin() as process:
            try:
                return process.wait(timeout=900 if KERNELS else 240)
            except subprocess.TimeoutExpired:
                process.kill()
                pytest.fail(f"it did not come to an end: {self.said.read_text()}")


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """Children and theirs, kernels too."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents.setdefault(int(path.read_text().rpartition(")")[2].split()[1]), []).append(
                int(path.parent.name)
            )
        except OSError:
            continue
    found, todo = [], [pid]
    while todo:
        todo += (below := parents.get(todo.pop(), []))
        found += below
    return found


@pytest.mark.timeout(1800 if KERNELS else 300)
@pytest.mark.parametrize("turn", range(TURNS))
def test_a_campaign_that_is_killed_three_times_ends_proven_with_every_record_once(
    place: Place, tmp_path: Path, turn: int
) -> None:
    seed = int(os.environ.get("CAMPAIGN_SEED") or random.SystemRandom().randrange(10**6))
    rng = random.Random(seed)
    campaign = Campaign(place, tmp_path / "said.txt")
    print(f"CAMPAIGN_SEED={seed}")
    for how in rng.sample(ENDS, 3):
        campaign.killed(how, rng.randint(1, 40))
        print(f"{how}, after {len(place.org.calls)} calls in all")
    assert campaign.finish() == Exit.COMPLETE, campaign.said.read_text()
    assert len(campaign.ended) == 3
    found = look(place.run())
    assert {one.slice: one.state for one in found.slices} == dict.fromkeys(
        ["shop", "sale/w001", "sale/w002_20250231", "sale/unreadable"], "proven"
    )
    rows = len(SALES) + len(SHOPS)
    counts = found.totals
    assert (counts.source, counts.staged, counts.success) == (rows, rows, rows)
    assert (counts.rejected, counts.failed) == (0, 0)
    keys = sorted(int(str(row["Code__c"])) for row in place.org.rows("Sale__c"))
    assert keys == [n for n, *_ in SALES]
    assert place.org.count("Shop__c") == len(SHOPS)
    assert created_and_updated(place) == (rows, 0)


def created_and_updated(place: Place) -> tuple[int, int]:
    """Rows of all result files that created a record, and that found it there."""
    created = success = 0
    for path in place.run().rglob("ledger.sqlite"):
        with Ledger(path, read_only=True) as ledger:
            created += sum(one.created for one in ledger.results())
            success += sum(one.rows for one in ledger.results() if one.kind == "success")
    return created, success - created
