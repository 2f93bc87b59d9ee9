"""Where a whole campaign stands, by what is on disk alone: it asks neither side, and changes nothing in any slice."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ora2sf import events, planfile
from ora2sf.budget import RECORDS, read_uses
from ora2sf.campaign import Scheduler, Stage, Used, outlook
from ora2sf.campaign_model import (
    CampaignReport,
    Counts,
    Exceptions,
    Failure,
    Group,
    Limit,
    SliceLine,
    Verdict,
)
from ora2sf.claim import Holder, now, written
from ora2sf.errors import VERDICTS, Exit, PlanError, RunFolderError, worst
from ora2sf.evidence import HTML, JSON
from ora2sf.ledger import Ledger, looked_at
from ora2sf.plan import Need, Plan, PlannedTable, Slice, internal_batches
from ora2sf.standing import Standing, slices, standing

NOTEBOOKS = ("01_extract", "02_upload", "03_reconcile", "04_retry", "90_rollback")
_DAY = dt.timedelta(hours=24)
#: Rows from which on a rate of this run says more than the plan's.
_ENOUGH = 10_000
_MOST_REASONS = 200
_PARKED = frozenset({"interrupted, can be resumed", "stopped, can be resumed", "paused by budget", "incomplete"})  # fmt: skip
_BEFORE = frozenset({"extracted", "uploaded", "nothing noted"})
_AT_WORK = frozenset({"at work", "started"})
#: Names of the org's limits → of what a plan reckons with.
_LIMITS = {"DailyBulkApiBatches": "batches", RECORDS: "records", "DailyApiRequests": "calls"}


def look(run: Path) -> CampaignReport:
    """The whole campaign, or the slices of a run without a plan.

    Args:
        run: the run's folder.

    Raises:
        RunFolderError: there is neither a plan nor a slice.
    """
    plan, frozen = _plan(run)
    at_work = carried_out_by(run)
    begun = _begun(run, at_work.since) if at_work else {}
    found = [_look(run, *one, begun) for one in _named(run, plan)]
    uses = _uses(run)
    lines, end, rates = _expected([one.line for one in found], plan, uses, running=at_work is not None)
    return CampaignReport(
        made=now(),
        run_id=run.resolve().name,
        plan=frozen,
        running=str(at_work) if at_work else None,
        verdict=_verdict(lines),
        end=end,
        rates=rates,
        totals=_totals([one.counts for one in lines]),
        slices=lines,
        budget=_budget(run, plan, lines, uses),
        failures=[_failure(one) for one in lines if one.group in {"failed", "parked"}],
        exceptions=_exceptions(found),
    )


def carried_out_by(run: Path) -> Holder | None:
    """The process on this machine that carries the campaign out; None if none is known to live."""
    with suppress(OSError, ValueError, TypeError):
        holder = Holder(**json.loads((run / planfile.FOLDER / planfile.LOCK).read_text(encoding="utf-8")))
        return holder if holder.life == "alive" else None
    return None


def _begun(run: Path, since: str) -> dict[str, str]:
    """Slice → notebook of what the process that carries the campaign out has begun and not seen the end of.

    Args:
        since: when that process took the campaign; what an earlier one began is not at work any more.
    """
    found: dict[str, str] = {}
    with suppress(OSError, ValueError, KeyError):
        for line in (run / planfile.FOLDER / events.LOG).read_text(encoding="utf-8").splitlines():
            one = json.loads(line)
            found.pop(one["slice"], None)
            if one["event"] == "begun" and one["at"][:19] >= since[:19]:
                found[one["slice"]] = "01_extract" if one["act"] == "read" else "02_upload"
    return found


def _plan(run: Path) -> tuple[Plan | None, str | None]:
    """The plan, frozen or not, and its hash if it is; a plan that cannot be used is for the notebooks to refuse."""
    try:
        return planfile.draft(run), planfile.frozen_hash(run) if planfile.is_frozen(run) else None
    except (PlanError, OSError):
        return None, None


def _named(run: Path, plan: Plan | None) -> Iterator[tuple[str, PlannedTable | None, Slice | None]]:
    """Every slice that is planned or on disk, in the plan's order."""
    planned = {one.name: (table, one) for table in plan.tables for one in table.slices} if plan else {}
    try:
        there = slices(run)
    except RunFolderError:
        if not planned:
            raise
        there = {}
    for name, (table, one) in planned.items():
        yield name, table, one
    for name in there:
        if name not in planned:
            yield name, None, None


# one slice


@dataclass(frozen=True)
class _Found:
    """One slice, and what its report says of rows that did not arrive."""

    line: SliceLine
    reasons: Mapping[tuple[str, str], int] = field(default_factory=dict)


def _look(
    run: Path, name: str, table: PlannedTable | None, planned: Slice | None, begun: Mapping[str, str]
) -> _Found:
    folder = run / name
    noted, report = _read(folder / "status.json"), _read(folder / JSON)
    stands = _standing(folder, name)
    if name in begun and stands.state != "at work":  # between two notebooks nobody holds it
        stands = replace(stands, state="at work", step=stands.step or begun[name], exit=Exit.AT_WORK, detail="a notebook starts")  # fmt: skip
    books = _Books(planned=planned.rows if planned else None)
    with suppress(RunFolderError), looked_at(folder / "ledger.sqlite") as ledger:
        books.read(ledger, now() if stands.exit == Exit.AT_WORK else None)
    if stands.state in VERDICTS:
        books.settle(noted if "success" in noted else report.get("balance", {}))
    group = _group(stands)
    line = SliceLine(
        slice=name,
        table=name.partition("/")[0],
        window=name.partition("/")[2] or None,
        object=table.object if table else books.object,
        phase=table.phase if table else None,
        group=group,
        state=stands.state,
        step=stands.step,
        since=stands.at,
        exit=int(stands.exit),
        detail=stands.detail,
        next_step=str(noted.get("next_step", "")) if group in {"failed", "parked"} else "",
        counts=books.counts,
        read_per_second=books.read_rate or noted.get("rows_per_second"),
        sent_per_second=books.sent_rate,
        left=books.left(group, int(noted.get("rows") or 0)),
        end=None,
        consistency=books.consistency,
        report=f"{name}/{HTML}" if (folder / HTML).is_file() else None,
        digest=report.get("digest"),
        notebooks=[f"{name}/{one}.html" for one in NOTEBOOKS if (folder / f"{one}.html").is_file()],
    )
    return _Found(line, _reasons(report) if stands.state in VERDICTS else {})


def _read(path: Path) -> dict[str, Any]:
    """A JSON file; nothing if it is not there or not whole."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _standing(folder: Path, name: str) -> Standing:
    if not any((folder / one).is_file() for one in ("status.json", "ledger.sqlite")):
        return Standing(name, "", "not begun", "", Exit.INTERRUPTED, _last_words(folder))
    return standing(folder, name)


def _last_words(folder: Path) -> str:
    """What a process that did not even come to open a notebook said last."""
    try:
        lines = (folder / "process.log").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""


def _group(stands: Standing) -> Group:
    if stands.state in _AT_WORK:
        return "at work"
    if stands.state in _BEFORE or stands.state == "not begun":
        return "waiting"
    if stands.state in _PARKED or stands.exit == Exit.PAUSED:
        return "parked"
    if stands.exit == Exit.TRIAL:
        return "tried"
    if stands.state == "complete with exceptions":
        return "exceptions"
    return "done" if stands.exit == Exit.COMPLETE else "failed"


@dataclass
class _Books:
    """What a ledger tells of a slice, whether it has come to a verdict or not."""

    planned: int | None = None
    source: int | None = None
    staged: int | None = None
    rejected: int | None = None
    success: int | None = None
    failed: int | None = None
    target: int | None = None
    settled: int = 0
    read_rate: float | None = None
    sent_rate: float | None = None
    object: str = ""
    consistency: str | None = None

    def read(self, ledger: Ledger, until: str | None) -> None:
        """Takes the numbers of a ledger; ``until``: the moment up to which a slice at work has come."""
        self.object = ledger.setting("object") or ""
        done = ledger.extraction()
        if done is None:
            return
        recovered = sum(fix.rejected for fix in ledger.fixes() if fix.way != "exclude")
        self.source, self.staged = done.source_count, done.rows_staged + recovered
        self.rejected, self.consistency = done.rows_rejected - recovered, done.consistency
        self.read_rate = _rate(done.rows_read, [done.started, done.ended])
        self._sent(ledger, until)
        if after := ledger.setting("target_after"):
            self.target = int(after)

    def _sent(self, ledger: Ledger, until: str | None) -> None:
        batches = {one.number: one for one in ledger.all_batches()}
        attempts = {one.id: one for one in ledger.attempts() if one.batch in batches}
        if not attempts:
            return
        kinds, again = Counter[str](), ledger.sent_again()
        for one in ledger.results():
            if one.attempt in attempts and (one.kind == "success" or one.attempt not in again):
                kinds[one.kind] += one.rows
        self.success, self.failed = kinds["success"], kinds["failed"]
        fetched = {one for one, states in ledger.times().items() if "fetched" in states and one in attempts}
        self.settled = sum(batches[attempts[one].batch].rows for one in fetched)
        moments = [moment for one, states in ledger.times().items() if one in attempts
                   for state, moment in states.items() if state in {"created", "fetched"}]  # fmt: skip
        self.sent_rate = _rate(self.settled, [*moments, *([until] if until else [])])

    def settle(self, numbers: Mapping[str, Any]) -> None:
        """Takes the numbers of a verdict."""
        for name in ("source", "staged", "rejected", "success", "failed"):
            if isinstance(number := numbers.get(name), int):
                setattr(self, name, number)
        if isinstance(after := numbers.get("target_after"), int):
            self.target = after

    @property
    def counts(self) -> Counts:
        """The numbers for people."""
        return Counts(**{name: getattr(self, name) for name in Counts.model_fields})

    def left(self, group: Group, read: int) -> int | None:
        """Rows still to be read, or sent; ``read``: as far as an extraction has come."""
        if group in {"done", "exceptions", "failed", "tried"}:
            return 0
        if self.staged is None:
            return None if self.planned is None else max(0, self.planned - read)
        return max(0, self.staged - self.settled)


def _rate(rows: int, moments: Sequence[str]) -> float | None:
    times = [dt.datetime.fromisoformat(moment) for moment in moments]
    seconds = (max(times) - min(times)).total_seconds() if times else 0
    return round(rows / seconds, 1) if rows and seconds else None


def _reasons(report: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = defaultdict(int)
    with suppress(KeyError, TypeError, ValueError):
        for one in report.get("rejected", ()):
            found["rejected", f"{one['field']}: {one['rule']}"] += int(one["number"])
        for one in report.get("errors", ()):
            where = f" in {one['fields']}" if one["fields"] else ""
            found["failed", f"{one['code']}{where}: {one['meaning']}"] += int(one["rows"])
    return found


# when it ends


def _expected(
    lines: list[SliceLine], plan: Plan | None, uses: Sequence[tuple[dt.datetime, Need]], *, running: bool
) -> tuple[list[SliceLine], str | None, str]:
    """The lines with what they wait for and when they are expected to end; when all are; whose rates that rests on."""
    if plan is None:
        ends = {one.slice: end for one in lines if (end := _by_its_rate(one))}
        last = max(ends.values()) if ends and not _open(lines) - set(ends) else None
        return [_with_end(one, ends) for one in lines], _text(last), "each slice's own" if ends else ""
    moment = dt.datetime.now(dt.UTC)
    remaining, rates = _remaining(plan, lines)
    stages = {one.slice: _stage(one) for one in lines}
    used = Used(plan.allowance, plan.made, uses)
    waits = {one.slice.name: one.why for one in Scheduler(plan).decide(moment, stages, used).waits}
    ends = outlook(remaining, stages, Used(plan.allowance, plan.made, uses), moment)
    last = max(ends.values()) if ends and not _open(lines) - set(ends) else None
    exit_now = Exit.AT_WORK if running else Exit.INTERRUPTED
    told = [
        one.model_copy(update={"detail": waits.get(one.slice, one.detail), "exit": int(exit_now)})
        if one.group == "waiting"
        else one
        for one in lines
    ]
    return [_with_end(one, ends) for one in told], _text(last), rates


def _open(lines: Sequence[SliceLine]) -> set[str]:
    return {one.slice for one in lines if one.group in {"at work", "waiting", "parked"}}


def _by_its_rate(one: SliceLine) -> dt.datetime | None:
    if one.group != "at work" or not one.left or not one.sent_per_second:
        return None
    return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=one.left / one.sent_per_second)


def _with_end(one: SliceLine, ends: Mapping[str, dt.datetime]) -> SliceLine:
    shown = one.slice in _open([one])
    return one.model_copy(update={"end": _text(ends.get(one.slice))}) if shown else one


def _text(moment: dt.datetime | None) -> str | None:
    return written(moment) if moment else None


def _stage(one: SliceLine) -> Stage:
    if one.group in {"done", "exceptions", "tried"} and one.state != "dry run":
        return "done"
    if one.group == "failed":
        return "failed"
    if one.group == "at work":
        return "reading" if one.step == "01_extract" else "sending"
    return "new" if one.counts.staged is None else "staged"


def _remaining(plan: Plan, lines: Sequence[SliceLine]) -> tuple[Plan, str]:
    """The plan with the rows that are left, at the rates that were measured in this run, else at the plan's."""
    left = {one.slice: one.left for one in lines}
    measured: dict[str, float] = {}
    for name, rate, rows in (
        ("extract", "read_per_second", "source"),
        ("load", "sent_per_second", "success"),
    ):
        known = [(getattr(one.counts, rows) or 0, getattr(one, rate)) for one in lines if getattr(one, rate)]
        if (total := sum(number for number, _ in known)) >= _ENOUGH:
            measured[name] = total / sum(number / speed for number, speed in known)
    tables = tuple(
        table.model_copy(update={"slices": tuple(_part(one, left.get(one.name)) for one in table.slices)})
        for table in plan.tables
    )
    rates = plan.rates.model_copy(update=measured)
    said = "measured in this run" if len(measured) == 2 else "in part those of the plan" if measured else "those of the plan"  # fmt: skip
    return plan.model_copy(update={"tables": tables, "rates": rates}), said


def _part(one: Slice, left: int | None) -> Slice:
    """A slice of which only so many rows are left."""
    if left is None or left >= one.rows:
        return one
    share = left / one.rows
    need = Need(
        batches=min(one.need.batches, internal_batches(left) + 1 if left else 0),
        records=left,
        calls=int(one.need.calls * share),
    )
    return one.model_copy(update={"rows": left, "need": need})


# the org's limits


def used_by(run: Path, plan: Plan) -> Used:
    """What is used of the org's limits, as far as the plan and the files of this run tell."""
    return Used(plan.allowance, plan.made, _uses(run))


def _uses(run: Path) -> list[tuple[dt.datetime, Need]]:
    """What this run has used in 24 hours, by the hour."""
    since, hours = written(dt.datetime.now(dt.UTC) - _DAY), defaultdict[str, Need](Need)
    for path in sorted((run / planfile.FOLDER / "budget").glob("*.json")):
        for use in read_uses(path)[1]:
            if use.at > since:
                hours[use.at[:13]] += Need(batches=use.batches, records=use.records, calls=use.calls)
    whole = dt.timedelta(hours=1)  # counted from the hour's end: never too early
    return [
        (dt.datetime.fromisoformat(f"{hour}:00:00+00:00") + whole, need)
        for hour, need in sorted(hours.items())
    ]


def _budget(
    run: Path, plan: Plan | None, lines: Sequence[SliceLine], uses: Sequence[tuple[dt.datetime, Need]]
) -> list[Limit]:
    """The limits as the org said last, with what runs of this folder of runs have begun since."""
    known = _last_check(run, lines)
    ours = sum((need for _, need in uses), Need())
    needed = _needed(plan, lines)
    found = []
    for name, part in _LIMITS.items():
        checked, one = known.get(name) or _planned_limit(name, part, plan)
        if one is None:
            continue
        own = getattr(ours, part)
        used = max(own, int(one["used"]) + _begun_since(run, checked, part))
        found.append(_limit(name, one, used, own, getattr(needed, part) if needed else None, checked))
    checked, one = known.get("DataStorageMB", ("", None))
    if one:
        still = _open(lines)
        storage = sum(each.storage_mb for each in plan.slices() if each.name in still) if plan else None
        found.append(_limit("DataStorageMB", one, int(one["used"]), None, storage, checked))
    return found


def _limit(
    name: str, one: Mapping[str, Any], used: int, ours: int | None, needed: int | None, checked: str
) -> Limit:
    allowed, reserve = int(one["allowed"]), int(one["reserve"])
    return Limit(
        limit=name, allowed=allowed, reserve=reserve, used=used, ours=ours,
        left=allowed - reserve - used, needed=needed, checked=checked,
    )  # fmt: skip


def _last_check(run: Path, lines: Sequence[SliceLine]) -> dict[str, tuple[str, Mapping[str, Any] | None]]:
    """Limit → when the org was asked last by any slice, and what it said."""
    found: dict[str, tuple[str, Mapping[str, Any] | None]] = {}
    for line in lines:
        with suppress(KeyError, TypeError):
            limits = _read(run / line.slice / "preflight.json")["limits"]
            for one in limits["needs"]:
                if str(limits["checked"]) >= found.get(one["limit"], ("", None))[0]:
                    found[one["limit"]] = str(limits["checked"]), one
    return found


def _planned_limit(name: str, part: str, plan: Plan | None) -> tuple[str, Mapping[str, Any] | None]:
    """A limit as it was when the plan was made; nobody has asked since."""
    if plan is None:
        return "", None
    allowed = getattr(plan.allowance, part)
    used = getattr(plan.allowance, f"{part}_used", 0)
    reserve = allowed - getattr(plan.allowance.usable(), part)
    return written(plan.made), {"limit": name, "allowed": allowed, "reserve": reserve, "used": used}


def _begun_since(run: Path, checked: str, part: str) -> int:
    """What slices of all runs beside this one, too, began after the org was asked."""
    begun = 0
    for path in sorted(run.parent.glob(f"*/{planfile.FOLDER}/budget/*.json")):
        begun += sum(getattr(use, part) for use in read_uses(path)[1] if use.at > checked)
    return begun


def _needed(plan: Plan | None, lines: Sequence[SliceLine]) -> Need | None:
    if plan is None:
        return None
    remaining, _ = _remaining(plan, lines)
    still = _open(lines)
    return sum((one.need for one in remaining.slices() if one.name in still), Need())


# what is said of all


def _totals(counts: Sequence[Counts]) -> Counts:
    def total(name: str) -> int | None:
        numbers = [getattr(one, name) for one in counts]
        return None if None in numbers else sum(numbers)

    return Counts(**{name: total(name) for name in Counts.model_fields if name != "target"}, target=None)


def _failure(one: SliceLine) -> Failure:
    return Failure(slice=one.slice, state=one.state, reason=one.detail, next_step=one.next_step)


def _exceptions(found: Sequence[_Found]) -> list[Exceptions]:
    total: Counter[tuple[str, str, str]] = Counter()
    for one in found:
        for (kind, reason), rows in one.reasons.items():
            total[one.line.table, kind, reason] += rows
    return [
        Exceptions.model_validate({"table": table, "kind": kind, "reason": reason, "rows": rows})
        for (table, kind, reason), rows in total.most_common(_MOST_REASONS)
    ]


def _verdict(lines: Sequence[SliceLine]) -> Verdict:
    groups, states = Counter(one.group for one in lines), Counter(one.state for one in lines)
    code = worst([Exit(one.exit) for one in lines])
    return Verdict(verdict=_word(groups, states), exit=int(code), sentence=_sentence(lines, groups, states))


def _word(groups: Mapping[Group, int], states: Mapping[str, int]) -> str:
    for group, word in (
        ("failed", "failed"), ("at work", "running"), ("parked", "parked"), ("waiting", "waiting"),
        ("tried", "tried"), ("exceptions", "complete with exceptions"),
    ):  # fmt: skip
        if groups.get(group):  # type: ignore[call-overload]
            return word
    if set(states) == {"nothing to do"}:
        return "nothing to do"
    return "complete" if states.get("complete") else "proven"


def _sentence(lines: Sequence[SliceLine], groups: Mapping[Group, int], states: Mapping[str, int]) -> str:
    parts = [
        f"{number} {state}"
        for state, number in states.items()
        if state in VERDICTS and any(one.state == state and one.group != "parked" for one in lines)
    ]
    failed = groups.get("failed", 0) - sum(1 for one in lines if one.group == "failed" and one.state in VERDICTS)  # fmt: skip
    for number, word in (
        (failed, "failed"),
        (groups.get("at work", 0), "at work"),
        (groups.get("parked", 0), "parked"),
        (groups.get("waiting", 0), "waiting"),
    ):
        if number:
            parts.append(f"{number} {word}")
    return f"{len(lines)} slice{'' if len(lines) == 1 else 's'}: {', '.join(parts)}."
