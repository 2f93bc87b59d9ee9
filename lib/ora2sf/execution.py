"""Carrying a campaign's plan out: slices side by side in processes, which run the notebooks by papermill."""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import queue
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ora2sf import events, planfile
from ora2sf.campaign import Act, Ended, Scheduler, Stage, Start, carry_out
from ora2sf.claim import this_process
from ora2sf.errors import Exit, LedgerError, PlanError, RunFolderError
from ora2sf.ledger import looked_at
from ora2sf.notebooks import GOOD, can_be_resumed, noted, settled
from ora2sf.overview import used_by
from ora2sf.plan import Need, Plan
from ora2sf.salesforce import SalesforceClient
from ora2sf.signals import sigterm_interrupts

_STEPS: dict[Act, tuple[str, ...]] = {"read": ("01_extract",), "send": ("02_upload", "03_reconcile")}
_DRY: dict[Act, tuple[str, ...]] = {"read": ("01_extract",), "send": ("02_upload",)}
_MOST_TRIES = 5
#: When to look again at a slice that somebody else works on.
_BUSY = dt.timedelta(seconds=5)
_GRACE_SECONDS = 60  # for notebooks to take their open jobs as far as they went


def stages(plan: Plan, run: Path, *, dry: bool = False) -> dict[str, Stage]:
    """How far each slice is, by what is on disk; what ended badly may be tried again.

    Args:
        dry: of a dry run, which is done when that is said what would be sent.
    """
    return {one.name: _stage(run / one.name, dry=dry) for one in plan.slices()}


def _stage(folder: Path, *, dry: bool) -> Stage:
    if (found := settled(folder)) and found["state"] in GOOD:
        return "done"
    if dry and noted(folder).get("state") == "dry run":
        return "done"
    try:
        with looked_at(folder / "ledger.sqlite") as ledger:
            passed = ledger.extraction() is not None and ledger.setting("data_check") == "passed"
            announced = dry or ledger.setting("dry_run") is None
    except RunFolderError:  # not there, or not whole; what is wrong with it is for a notebook to say
        return "new"
    return "staged" if passed and announced else "new"


@dataclass
class Processes:
    """Hands that run the notebooks of each slice in a process of its own.

    Args:
        parameters: of every notebook beside run, table and window.
        said: told of every begin and end.
        known_by: asks the org for its limits; None asks nobody.
        dry: whether it is a dry run.
        looked: called every so many seconds while processes run.
    """

    plan: Plan
    run: Path
    parameters: dict[str, str]
    said: Callable[[str], object]
    known_by: SalesforceClient | None = None
    dry: bool = False
    looked: Callable[[], object] = lambda: None
    every: float = 5.0
    module: ClassVar[str] = "ora2sf.notebooks"
    _ended: queue.Queue[tuple[Start, int]] = field(default_factory=queue.Queue)
    _running: dict[str, tuple[subprocess.Popen[bytes], Need]] = field(default_factory=dict)
    _tries: Counter[str] = field(default_factory=Counter)

    def now(self) -> dt.datetime:
        """The time of this machine."""
        return dt.datetime.now(dt.UTC)

    def known(self) -> Need | None:
        """What ``/limits`` leaves, less the reserve and all that running slices need: some of it may be counted twice."""
        if self.known_by is None:
            return None
        limits, allowance = self.known_by.limits(), self.plan.allowance
        running = sum((need for _, need in self._running.values()), Need())
        room = allowance.usable().model_dump()
        for limit, name in (("DailyBulkApiBatches", "batches"), ("DailyApiRequests", "calls")):
            if one := limits.get(limit):
                kept = one["Max"] * allowance.reserve // 100
                room[name] = max(0, one["Remaining"] - kept - getattr(running, name))
        return Need.model_validate(room)

    def start(self, start: Start) -> None:
        """Starts the process of a slice."""
        one = start.slice
        folder = self.run / one.name
        folder.mkdir(parents=True, exist_ok=True)
        given = self.parameters | {"run_id": self.plan.run_id, "table": one.table}
        steps = (_DRY if self.dry else _STEPS)[start.act]
        if self.dry:
            given["dry_run"] = "yes"
        if one.window:
            given["window"] = one.window.name
        with (folder / "process.log").open("ab") as log:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    self.module,
                    "--end-with-parent",
                    str(folder),
                    json.dumps(given),
                    *steps,
                ],
                stdin=subprocess.PIPE,  # whose other end is closed when this process ends, however it does
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the one that holds them all
            )
        self._running[one.name] = process, one.need if start.act == "send" else Need()
        self._note(start, "begun")
        threading.Thread(target=self._watch, args=(start, process), daemon=True).start()

    def _watch(self, start: Start, process: subprocess.Popen[bytes]) -> None:
        self._ended.put((start, process.wait()))

    def wait(self, until: dt.datetime | None) -> Sequence[Ended]:
        """The next process that ends."""
        while True:
            seconds = self.every if until is None else (until - self.now()).total_seconds()
            try:
                start, code = self._ended.get(timeout=max(0.0, min(seconds, self.every)))
                break
            except queue.Empty:
                if seconds <= self.every and until is not None:
                    return []
                self.looked()
        process, _ = self._running.pop(start.slice.name)
        _let_go(process)
        ended = self._judged(start, code)
        self._note(start, ended.outcome)
        return [ended]

    def _judged(self, start: Start, code: int) -> Ended:
        """A process that says it went well is believed only if the slice's own notes say so, too."""
        one, folder = start.slice, self.run / start.slice.name
        if code == 0 and _stage(folder, dry=self.dry) == ("staged" if start.act == "read" else "done"):
            return Ended(one, start.act)
        if code == Exit.AT_WORK:
            return Ended(one, start.act, "paused", self.now() + _BUSY)
        self._tries[one.name] += 1
        again = can_be_resumed(folder) and self._tries[one.name] < _MOST_TRIES
        return Ended(one, start.act, "paused", _until(folder)) if again else Ended(one, start.act, "bad")

    def _note(self, start: Start, what: str) -> None:
        detail = f": {_why(self.run / start.slice.name)}" if what in {"bad", "paused"} else ""
        self.said(f"{self.now():%H:%M:%S}  {start.act} {start.slice.name}: {what}{detail}")
        line = {"at": self.now().isoformat(timespec="seconds"), "slice": start.slice.name, "act": start.act, "event": what}  # fmt: skip
        events.append(self.run / planfile.FOLDER / events.LOG, json.dumps(line))

    def park(self) -> None:
        """Asks every process to end where it can go on later, and waits for it."""
        for process, _ in self._running.values():
            process.send_signal(signal.SIGTERM)
        for process, _ in self._running.values():
            try:
                process.wait(timeout=_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            _let_go(process)


def _let_go(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        process.stdin.close()


def _until(folder: Path) -> dt.datetime | None:
    """When a slice said that it may go on, if it did."""
    until = noted(folder).get("until")
    return dt.datetime.fromisoformat(str(until)) if until else None


def _why(folder: Path) -> str:
    """What the slice noted of its end, or the last that its process said."""
    found = noted(folder)
    if text := found.get("error") or found.get("state"):
        return str(text)
    lines = (folder / "process.log").read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1] if lines else "it said nothing"


def run_campaign(
    run: Path,
    hands_of: Callable[[Plan], Processes],
    tables: Collection[str] | None = None,
    *,
    resume: bool = False,
) -> dict[str, Stage]:
    """Carries the frozen plan of a run out, from wherever it is; how far each slice is in the end.

    Args:
        tables: those that are to run; None for all.
        resume: refuse a campaign that has not begun.

    Raises:
        PlanError: there is no frozen plan; what has to be done before a chosen table is neither done nor chosen; or it has
            not begun.
        LedgerError: another process carries this campaign out.
    """
    plan = planfile.read(run)
    if plan is None:
        raise PlanError(f"Run {run.name} has no plan.", f"Make one: ora2sf plan {run.name}.")
    if resume and not (run / planfile.FOLDER / events.LOG).exists():
        raise PlanError(f"Run {run.name} has not begun.", "Leave --resume out, or correct the run_id.")
    chosen = {one.table for one in plan.tables} if tables is None else set(tables)
    with _alone(run):
        hands = hands_of(plan)
        at = stages(plan, run, dry=hands.dry)
        _refuse_without_parents(plan, at, chosen)
        try:
            with sigterm_interrupts():
                return carry_out(
                    plan, hands, at, only=lambda one: one.table in chosen, used=used_by(run, plan)
                )
        except BaseException:
            hands.park()
            raise


def _refuse_without_parents(plan: Plan, at: Mapping[str, Stage], chosen: Collection[str]) -> None:
    scheduler = Scheduler(plan)
    for table in plan.tables:
        if table.table not in chosen or all(at[one.name] == "done" for one in table.slices):
            continue
        missing = [
            other.table
            for other in scheduler.before(table)
            if other.table not in chosen and any(at[one.name] != "done" for one in other.slices)
        ]
        if missing:
            raise PlanError(
                f"{table.table} (phase {table.phase}) comes after {', '.join(missing)}, and that is not done.",
                f"Run it, too: ora2sf run {' '.join([*missing, *sorted(chosen)])} --run-id {plan.run_id}.",
            )


@contextmanager
def _alone(run: Path) -> Iterator[None]:
    with (run / planfile.FOLDER / planfile.LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LedgerError(
                f"Another process carries run {run.name} out.", "Wait for it or end it; then run again."
            ) from None
        lock.truncate(0)
        lock.write(json.dumps(vars(this_process())))  # for those who look at the campaign meanwhile
        lock.flush()
        try:
            yield
        finally:
            lock.truncate(0)
