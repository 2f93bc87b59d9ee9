"""Which slice may start now, and when the last one will be done.

A slice is read (``01_extract``) and then sent (``02_upload``, ``03_reconcile``). Reading needs nothing of the org, so it runs
ahead while undo still holds the campaign's moment; sending waits for its phase and for room in the limits of the org.
:class:`Scheduler` only decides; :func:`carry_out` does what it says through :class:`Hands`, which a forecast, a simulation
and a real campaign have each of their own.
"""

from __future__ import annotations

import datetime as dt
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ora2sf.errors import PlanError
from ora2sf.plan import Allowance, Entry, Need, Plan, PlannedTable, Slice

#: ``new`` → ``reading`` → ``staged`` → ``sending`` → ``done``; ``failed`` is the end of what came to no good verdict.
Stage = Literal["new", "reading", "staged", "sending", "done", "failed"]
Act = Literal["read", "send"]
_DAY = dt.timedelta(hours=24)
_LOOK_AGAIN = dt.timedelta(minutes=15)
_BEING: dict[Act, Stage] = {"read": "reading", "send": "sending"}
_AFTER: dict[Act, Stage] = {"read": "staged", "send": "done"}
_READ: frozenset[Stage] = frozenset({"staged", "sending", "done"})


@dataclass(frozen=True)
class Start:
    """A slice that may be read or sent now."""

    slice: Slice
    act: Act


@dataclass(frozen=True)
class Wait:
    """A slice that may not start yet: why, and until when if only time is in its way."""

    slice: Slice
    why: str
    until: dt.datetime | None = None


@dataclass(frozen=True)
class Decision:
    """What may start now, and what has to wait."""

    starts: list[Start]
    waits: list[Wait]


@dataclass(frozen=True)
class Ended:
    """A slice that was read or sent.

    Attributes:
        outcome: ``good``; ``bad``: somebody has to look at it; ``paused``: it goes on from ``until``.
    """

    slice: Slice
    act: Act
    outcome: Literal["good", "bad", "paused"] = "good"
    until: dt.datetime | None = None


class Used:
    """What a campaign uses of the limits of 24 hours; a slice counts as a whole from its begin to a day after its end.

    So no 24 hours can have more than the sum of what is counted in them, whenever in between a slice's jobs ran.

    Args:
        at: when the plan was made.
        earlier: what the campaign itself has used already, and when.
    """

    def __init__(
        self, allowance: Allowance, at: dt.datetime, earlier: Iterable[tuple[dt.datetime, Need]] = ()
    ) -> None:
        self._usable = allowance.usable()
        #: What others had used when the plan was made: all of it may be as young as that.
        others = Need(batches=allowance.batches_used, calls=allowance.calls_used)
        self._uses: dict[str, tuple[Need, dt.datetime | None]] = {"": (others, at)}
        self._uses |= {f"{n}": (need, moment) for n, (moment, need) in enumerate(earlier)}

    def begin(self, one: Slice) -> None:
        """A slice is being sent from now on."""
        self._uses[one.name] = (one.need, None)

    def end(self, one: Slice, at: dt.datetime) -> None:
        """A slice's jobs have ended."""
        self._uses[one.name] = (one.need, at)

    def room(self, at: dt.datetime) -> Need:
        """What is left."""
        held = sum((need for need, end in self._uses.values() if end is None or end + _DAY > at), Need())
        return Need(**{n: max(0, getattr(self._usable, n) - getattr(held, n)) for n in Need.model_fields})

    def when(self, need: Need, at: dt.datetime) -> dt.datetime | None:
        """The first moment at which there is room, as far as what has ended tells; None if that is never."""
        ends = sorted(end + _DAY for _, end in self._uses.values() if end is not None and end + _DAY > at)
        return next((moment for moment in ends if need.fits(self.room(moment))), None)


class Scheduler:
    """Decides which slices may start; it does nothing itself and remembers nothing.

    Args:
        only: slices that are to start at all; what comes before them has to be done all the same.
    """

    def __init__(self, plan: Plan, only: Callable[[Slice], bool] = lambda _: True) -> None:
        self._plan, self._only = plan, only
        self._tables = {one.table: one for one in plan.tables}
        self._slices = sorted(plan.slices(), key=lambda one: self._tables[one.table].phase)

    def decide(
        self,
        now: dt.datetime,
        stages: Mapping[str, Stage],
        used: Used,
        *,
        known: Need | None = None,
        not_before: Mapping[str, dt.datetime] | None = None,
    ) -> Decision:
        """What may start.

        Args:
            stages: name of a slice → how far it is; ``new`` if it is not there.
            known: what the org itself says is left, where that was asked.
            not_before: slices that were paused, and until when.
        """
        at = {one.name: stages.get(one.name, "new") for one in self._slices}
        paused = {name: until for name, until in (not_before or {}).items() if until > now}
        reads = self._reads(at, paused)
        sends = self._sends(now, at, used, known, paused)
        return Decision([*reads.starts, *sends.starts], [*reads.waits, *sends.waits])

    def in_the_way(self, one: Slice, stages: Mapping[str, Stage], act: Act) -> str:
        """What another slice has to come to first, before this one may be read or sent; empty if nothing."""
        at = {other.name: stages.get(other.name, "new") for other in self._slices}
        if act == "read":
            return self._not_yet(one, at, _READ, "read")
        table = self._tables[one.table]
        before = table.slices[: table.slices.index(one)] if table.one_after_the_other else ()
        windows = [other.name for other in before if at[other.name] not in {"done", "failed"}]
        why = f"{windows[0]} may share parents with it and is not sent yet" if windows else ""
        return self._not_yet(one, at, frozenset({"done"}), "sent") or why

    def _reads(self, at: dict[str, Stage], paused: Mapping[str, dt.datetime]) -> Decision:
        choices = self._plan.choices
        free = choices.extracts_at_once - sum(stage == "reading" for stage in at.values())
        lying = sum(one.bytes for one in self._slices if at[one.name] in {"reading", "staged", "sending"})
        starts: list[Start] = []
        waits: list[Wait] = []
        for one in self._slices:
            if at[one.name] != "new" or not self._only(one):
                continue
            if why := self._not_yet(one, at, _READ, "read"):
                waits.append(Wait(one, why))
            elif until := paused.get(one.name):
                waits.append(Wait(one, "it was paused", until))
            elif len(starts) >= free:
                waits.append(Wait(one, f"{choices.extracts_at_once} slices are being read"))
            elif choices.staged_mb and lying and lying + one.bytes > choices.staged_mb * 1_000_000:
                waits.append(Wait(one, f"{lying / 1e6:,.0f} MB are staged and not yet sent"))
            else:
                starts.append(Start(one, "read"))
                lying += one.bytes
        return Decision(starts, waits)

    def _sends(
        self,
        now: dt.datetime,
        at: dict[str, Stage],
        used: Used,
        known: Need | None,
        paused: Mapping[str, dt.datetime],
    ) -> Decision:
        free = self._plan.choices.loads_at_once - sum(stage == "sending" for stage in at.values())
        busy = {one.table for one in self._slices if at[one.name] == "sending"}
        room, starts, waits = _least(used.room(now), known), list[Start](), list[Wait]()
        full = ""
        for one in self._slices:
            if at[one.name] != "staged" or not self._only(one):
                continue
            table = self._tables[one.table]
            if why := self._not_yet(one, at, frozenset({"done"}), "sent"):
                waits.append(Wait(one, why))
            elif until := paused.get(one.name):
                waits.append(Wait(one, "it was paused", until))
            elif len(starts) >= free:
                waits.append(Wait(one, f"{self._plan.choices.loads_at_once} slices are being sent"))
            elif table.one_after_the_other and one.table in busy:
                waits.append(
                    Wait(one, "another window of its table, which may share parents with it, is being sent")
                )
            elif full or not one.need.fits(room):
                full = full or ", ".join(
                    one.need.lacking(room)
                )  # what comes later must not overtake for ever
                waits.append(Wait(one, f"the org has no room left today: {full}", _room_from(one, used, now)))
            else:
                starts.append(Start(one, "send"))
                busy.add(one.table)
                room = _minus(room, one.need)
        return Decision(starts, waits)

    def _not_yet(self, one: Slice, at: Mapping[str, Stage], good: frozenset[Stage], word: str) -> str:
        """Why a slice may not start: a table before it is not as far."""
        for table in self.before(self._tables[one.table]):
            behind = [other.name for other in table.slices if at[other.name] not in good]
            if failed := [name for name in behind if at[name] == "failed"]:
                return f"{failed[0]} failed"
            if behind:
                return f"{table.table} (phase {table.phase}) is not {word} yet"
        return ""

    def before(self, table: PlannedTable) -> Iterable[PlannedTable]:
        """The tables that have to be done before one: of earlier phases, and those that it depends on."""
        for other in self._tables.values():
            if other.phase < table.phase or other.table in table.after:
                yield other


def _room_from(one: Slice, used: Used, now: dt.datetime) -> dt.datetime | None:
    """When to look again: others who use up the org do not say when they stop."""
    return now + _LOOK_AGAIN if one.need.fits(used.room(now)) else used.when(one.need, now)


def _least(one: Need, other: Need | None) -> Need:
    if other is None:
        return one
    return Need(**{name: min(getattr(one, name), getattr(other, name)) for name in Need.model_fields})


def _minus(room: Need, need: Need) -> Need:
    return Need(**{name: getattr(room, name) - getattr(need, name) for name in Need.model_fields})


# doing it


class Hands(Protocol):
    """What carries a decision out."""

    def now(self) -> dt.datetime:
        """The time (UTC)."""

    def known(self) -> Need | None:
        """What the org says is left; None if it is not asked."""

    def start(self, start: Start) -> None:
        """Begins to read or to send a slice."""

    def wait(self, until: dt.datetime | None) -> Sequence[Ended]:
        """Waits for what was begun, no longer than ``until``; what ended, in order."""


def carry_out(
    plan: Plan,
    hands: Hands,
    stages: Mapping[str, Stage] | None = None,
    decided: Callable[[Decision], object] = lambda _: None,
    only: Callable[[Slice], bool] = lambda _: True,
    used: Used | None = None,
) -> dict[str, Stage]:
    """Carries a campaign out from wherever it is, until nothing more can start.

    Args:
        stages: how far each slice is already.
        decided: told of each decision.
        only: slices that are to start at all.
        used: what is used of the org's limits already; by default what the plan knows.

    Returns:
        How far each slice is in the end; all ``done`` if all went well.
    """
    scheduler, used = Scheduler(plan, only), used or Used(plan.allowance, plan.made)
    at: dict[str, Stage] = {one.name: (stages or {}).get(one.name, "new") for one in plan.slices()}
    not_before: dict[str, dt.datetime] = {}
    while True:
        decision = scheduler.decide(hands.now(), at, used, known=hands.known(), not_before=not_before)
        decided(decision)
        for start in decision.starts:
            at[start.slice.name] = _BEING[start.act]
            if start.act == "send":
                used.begin(start.slice)
            hands.start(start)
        until = min((wait.until for wait in decision.waits if wait.until), default=None)
        if until is None and not any(stage in {"reading", "sending"} for stage in at.values()):
            return at
        for ended in hands.wait(until):
            _note(ended, at, used, not_before, hands.now())


def _note(
    ended: Ended, at: dict[str, Stage], used: Used, not_before: dict[str, dt.datetime], now: dt.datetime
) -> None:
    name = ended.slice.name
    if ended.act == "send":
        used.end(ended.slice, now)
    if ended.outcome == "paused":
        at[name] = "new" if ended.act == "read" else "staged"
        not_before[name] = ended.until or now + _LOOK_AGAIN
    else:
        at[name] = _AFTER[ended.act] if ended.outcome == "good" else "failed"


# the calendar


@dataclass
class _Imagined:
    """Hands that take the time that the plan's rates say, and nothing else."""

    plan: Plan
    at: dt.datetime
    entries: dict[str, dict[str, dt.datetime]] = field(default_factory=dict)
    _running: list[tuple[dt.datetime, str, Start]] = field(default_factory=list)

    def now(self) -> dt.datetime:
        return self.at

    def known(self) -> None:
        return None

    def start(self, start: Start) -> None:
        self.entries.setdefault(start.slice.name, {})[start.act] = self.at
        end = self.at + dt.timedelta(seconds=seconds(self.plan, start))
        heapq.heappush(self._running, (end, start.slice.name, start))

    def wait(self, until: dt.datetime | None) -> list[Ended]:
        if not self._running or (until is not None and until < self._running[0][0]):
            assert until is not None  # carry_out waits for something
            self.at = until
            return []
        self.at, name, start = heapq.heappop(self._running)
        self.entries[name][f"{start.act} done"] = self.at
        return [Ended(start.slice, start.act)]


def seconds(plan: Plan, start: Start) -> float:
    """How long a slice is expected to be read, or sent."""
    rates = plan.rates
    if start.act == "read":
        return rates.overhead / 3 + start.slice.rows / rates.extract
    return rates.overhead * 2 / 3 + start.slice.rows / rates.load


def forecast(plan: Plan) -> tuple[Entry, ...]:
    """When each slice is expected to run, in hours from the plan's making; in the order in which they are sent.

    Raises:
        PlanError: some slices could never start.
    """
    hands = _Imagined(plan, plan.made)
    waiting: list[Wait] = []

    def keep(decision: Decision) -> None:
        waiting[:] = decision.waits

    ends = carry_out(plan, hands, decided=keep)
    if stuck := [name for name, stage in ends.items() if stage != "done"]:
        why = next((wait.why for wait in waiting if wait.slice.name in stuck), "")
        raise PlanError(
            f"{len(stuck)} slice(s) could never start, first of all {stuck[0]}: {why}.",
            "Correct depends_on, or lower slice_rows or the reserve.",
        )
    found = [
        Entry(
            slice=name,
            read=_hours(times["read"] - plan.made),
            staged=_hours(times["read done"] - plan.made),
            sent=_hours(times["send"] - plan.made),
            done=_hours(times["send done"] - plan.made),
        )
        for name, times in hands.entries.items()
    ]
    return tuple(sorted(found, key=lambda entry: (entry.sent, entry.done)))


def outlook(plan: Plan, stages: Mapping[str, Stage], used: Used, now: dt.datetime) -> dict[str, dt.datetime]:
    """When each slice that is not done is expected to be, from now on; what can never start is left out.

    Args:
        plan: with the rows that are still to be read or sent; what is being read or sent begins with these.
    """
    again: dict[Stage, Stage] = {"reading": "new", "sending": "staged"}
    hands = _Imagined(plan, now)
    carry_out(plan, hands, {name: again.get(stage, stage) for name, stage in stages.items()}, used=used)
    return {name: times["send done"] for name, times in hands.entries.items() if "send done" in times}


def _hours(time: dt.timedelta) -> float:
    return round(time.total_seconds() / 3600, 3)


@dataclass(frozen=True)
class Day:
    """One day of the calendar: slices that are read to the end and sent to the end, and what these take.

    ``busiest`` is the most that any 24 hours which end on this day may take, slices counted as a whole.
    """

    number: int
    read: int
    sent: int
    rows: int
    need: Need
    busiest: Need
    storage_mb: int
    tables: tuple[str, ...]


def days(plan: Plan, calendar: Sequence[Entry]) -> list[Day]:
    """A calendar day by day, from day 1; a slice belongs to the day on which it ends."""
    slices = {one.name: one for one in plan.slices()}
    ends = {entry.slice: int(entry.done // 24) + 1 for entry in calendar}
    reads = Counter(int(entry.staged // 24) + 1 for entry in calendar)
    found, stored = [], 0
    for number in range(1, max([*ends.values(), *reads], default=0) + 1):
        sent = [slices[name] for name, day in ends.items() if day == number]
        stored += sum(one.storage_mb for one in sent)
        found.append(
            Day(
                number,
                reads[number],
                len(sent),
                sum(one.rows for one in sent),
                sum((one.need for one in sent), Need()),
                _busiest(slices, calendar, number),
                stored,
                tuple(dict.fromkeys(one.table for one in sent)),
            )
        )
    return found


def _busiest(slices: Mapping[str, Slice], calendar: Sequence[Entry], day: int) -> Need:
    """The most of each limit that slices which were sent at some time in the same 24 hours take."""
    begin, end = (day - 1) * 24.0, day * 24.0
    most = Need()
    for moment in sorted({end, *(e.done for e in calendar if begin <= e.done < end)}):
        inside = [slices[e.slice].need for e in calendar if e.sent < moment and e.done > moment - 24]
        held = sum(inside, Need())
        most = Need(**{n: max(getattr(most, n), getattr(held, n)) for n in Need.model_fields})
    return most
