"""``python -m ora2sf_demo.simulate``: a campaign of three years of history, carried out without a row.

Planner, scheduler and ledgers are the real ones, and so are the org's limits: every job is charged to a fakeforce whose clock
is pushed, which refuses what is too much, and ``/limits`` is asked over HTTP. Only reading and sending take no time.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import heapq
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fakeforce import Org
from fakeforce import serve as serve_org
from ora2sf.campaign import Ended, Start, carry_out, days, forecast, seconds
from ora2sf.catalog import read_catalog
from ora2sf.ledger import Batch, Ledger, Result
from ora2sf.plan import (
    Choices,
    Moment,
    Need,
    Plan,
    PlannedTable,
    Rates,
    Sampled,
    Slice,
    planned,
    problems,
    windows_of,
)
from ora2sf.planning import allowance
from ora2sf.salesforce import SalesforceClient
from ora2sf.tables import TableConfig
from ora2sf.windows import Span
from ora2sf_demo.notebooks import ROOT
from ora2sf_demo.servers import ORG

#: Rows of a year, as the demo assumes them.
ROWS_A_YEAR = {
    "kps_r_email_supplier": 4, "kps_r_email_tenant": 436, "kps_r_pos_supplier": 4, "kps_t_preinv": 6_118,
    "kps_t_preinv_min": 3_098, "kps_t_preinv_revgua": 3_020, "kps_t_preinv_detail": 6_118,
    "kps_t_preinv_revsales_d": 155_830, "kps_t_preinv_revsales_m": 3_093, "kps_t_sales_m": 36_164_974,
    "kps_t_sales_md": 86_957_568, "kps_t_salespay_md": 36_461_318, "kps_t_sales_apprv": 44_560,
    "kps_t_sales_apprv_detail": 178_716, "kps_t_salesbank_md": 164_120, "kps_web_sales": 13_882,
}  # fmt: skip
_FIRST_DAY = dt.date(2023, 1, 1)
_WEEK = (9, 8, 8, 9, 11, 13, 12)  # sales of the days of a week, Monday first
_UNREADABLE = 500  # one row in so many has no day that can be read
_BYTES_PER_ROW = 240
_CALLS_A_DAY = 150_000  # API calls of an Enterprise org with 50 licences
_LIMITS = ("batches", "records", "calls")


def plan_of(
    run_id: str, org: Org, client: SalesforceClient, years: int, scale: int, choices: Choices
) -> Plan:
    """A plan for made-up counts; a ``scale`` of 100 leaves a hundredth of the rows."""
    made, rates = org.clock.now(), Rates()
    tables = [
        _planned(config, ROWS_A_YEAR[config.table] * years // scale, years, choices, rates)
        for config in read_catalog(ROOT / "tables").in_order()
        if config.table in ROWS_A_YEAR
    ]
    allowed = allowance(client.limits(), reserve=10).model_copy(update={"records": org.settings.max_records})
    plan = Plan(
        run_id=run_id,
        made=made,
        moment=Moment(scn=2**32, taken=made, source_time=made.replace(tzinfo=None)),
        allowance=allowed,
        rates=rates,
        choices=choices,
        tables=tuple(tables),
    )
    return plan.model_copy(update={"calendar": forecast(plan)})


def _planned(config: TableConfig, rows: int, years: int, choices: Choices, rates: Rates) -> PlannedTable:
    spread = _spread(rows, years) if config.window else {}
    spans = windows_of(config, spread, choices)
    sample = Sampled(rows=1, bytes=_BYTES_PER_ROW)
    windows = [(span, _inside(spread, span)) for span in spans]
    return planned(config, rows, windows, sample, choices, rates, consistency="campaign")


def _inside(spread: dict[str | None, int], span: Span) -> int:
    """Rows of a window; days are texts that sort."""
    if not span.readable:
        return spread[None]
    low, high = span.low or "", span.high or "9"
    return sum(rows for day, rows in spread.items() if day is not None and low <= day < high)


def _spread(rows: int, years: int) -> dict[str | None, int]:
    """So many rows over the days of some years: weeks have a shape, and each year has more than the one before."""
    unreadable = rows // _UNREADABLE
    moments = [_FIRST_DAY + dt.timedelta(days=n) for n in range(365 * years)]
    weights = [_WEEK[day.weekday()] * (100 + 4 * (day.year - _FIRST_DAY.year)) for day in moments]
    ends = list(itertools.accumulate(weights))
    shares = [(rows - unreadable) * end // ends[-1] for end in ends]
    counts = [after - before for before, after in itertools.pairwise([0, *shares])]
    found: dict[str | None, int] = {
        f"{day:%Y%m%d}": count for day, count in zip(moments, counts, strict=True)
    }
    return found | {None: unreadable}


@dataclass
class Simulated:
    """Hands that read and send nothing: they write ledgers, charge the org, and push its clock."""

    plan: Plan
    org: Org
    client: SalesforceClient
    run: Path
    refused: list[str] = field(default_factory=list)
    #: When each job was charged, and what it took.
    charged: list[tuple[dt.datetime, Need]] = field(default_factory=list)
    _events: list[tuple[dt.datetime, int, Start, int]] = field(default_factory=list)
    _begun: dict[str, dt.datetime] = field(default_factory=dict)
    _due: dict[str, int] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def now(self) -> dt.datetime:
        """The org's time."""
        return self.org.clock.now()

    def known(self) -> Need:
        """What ``/limits`` says, less what is left to others and what the slices that are being sent still need."""
        left = self.client.limits()["DailyBulkApiBatches"]
        kept = left["Max"] * self.plan.allowance.reserve // 100
        usable = self.plan.allowance.usable()
        return usable.model_copy(
            update={"batches": max(0, left["Remaining"] - kept - sum(self._due.values()))}
        )

    def start(self, start: Start) -> None:
        """Notes when the slice, or its first job, will be at its end."""
        now, one = self.now(), start.slice
        self._begun[one.name] = now
        if start.act == "send":
            self._due[one.name] = one.need.batches
        self._next(start, 1 if start.act == "send" and one.jobs else 0)

    def _next(self, start: Start, job: int) -> None:
        """The moment at which a job, or the slice (0), is at its end."""
        whole = seconds(self.plan, start)
        share = job / start.slice.jobs if job else 1
        moment = self._begun[start.slice.name] + dt.timedelta(seconds=whole * share)
        heapq.heappush(self._events, (moment, next(self._numbers), start, job))

    def wait(self, until: dt.datetime | None) -> Sequence[Ended]:
        """Pushes the clock to the next end of a job or a slice."""
        while self._events:
            moment, _, start, job = self._events[0]
            if until is not None and until < moment:
                break
            heapq.heappop(self._events)
            self._push(moment)
            if start.act == "read":
                self._read(start.slice)
                return [Ended(start.slice, "read")]
            if job and not self._send(start.slice, job):
                self.refused.append(f"{start.slice.name}, job {job}, at {moment:%Y-%m-%d %H:%M}")
                return [Ended(start.slice, "send", "bad")]
            if job in {0, start.slice.jobs}:
                self._due.pop(start.slice.name, None)
                return [Ended(start.slice, "send")]
            self._next(start, job + 1)
        if until is not None:
            self._push(until)
        return []

    def _push(self, moment: dt.datetime) -> None:
        self.org.clock.push(max(0.0, (moment - self.now()).total_seconds()))

    def _ledger(self, one: Slice) -> Ledger:
        folder = self.run / one.name
        folder.mkdir(parents=True, exist_ok=True)
        return Ledger(folder / "ledger.sqlite")

    def _read(self, one: Slice) -> None:
        counts = {
            "source_count": one.rows,
            "rows_read": one.rows,
            "rows_staged": one.rows,
            "rows_rejected": 0,
        }
        with self._ledger(one) as ledger, ledger.claimed():
            extraction = ledger.start_extraction("simulated")
            ledger.finish_extraction(extraction, _batches(one), {}, **counts, consistency="campaign")

    def _send(self, one: Slice, job: int) -> bool:
        """One job, from its intent to its results; False if the org has no room for it."""
        with self._ledger(one) as ledger, ledger.claimed():
            batch = ledger.batches()[job - 1]
            attempt = ledger.intend(batch.number)
            ledger.move(attempt, "created", job_id=f"{one.name}#{job}")
            ledger.move(attempt, "uploaded")
            ledger.move(attempt, "closing")
            ledger.move(attempt, "closed")
            if not self.org.use_up(batch.rows):
                return False
            ledger.move(attempt, "ended", job_state="JobComplete", processed=batch.rows, failed=0)
            digest = hashlib.sha256(batch.file.encode()).hexdigest()
            ledger.fetched(attempt, [Result(attempt, "success", batch.file, batch.rows, batch.rows, digest)])
        need = Need(batches=-(-batch.rows // 10_000), records=batch.rows, calls=self.plan.rates.calls_per_job)
        self.charged.append((self.now(), need))
        self._due[one.name] -= need.batches
        return True


def _batches(one: Slice) -> Iterator[Batch]:
    """Batches of the size that the plan assumed."""
    if not one.jobs:
        return
    full = -(-one.rows // one.jobs)
    if one.jobs > 1:
        full = next(size for size in (100_000, 40_000, 10_000, full) if -(-one.rows // size) == one.jobs)
    for number, begin in enumerate(range(0, one.rows, full), 1):
        rows = min(full, one.rows - begin)
        name = f"{one.table}_{number:05d}.csv.gz"
        yield Batch(number, name, rows, rows * _BYTES_PER_ROW, "", str(begin), str(begin + rows - 1))


def busiest(charged: Sequence[tuple[dt.datetime, Need]], end: dt.datetime, begin: dt.datetime) -> Need:
    """The most of each limit that any 24 hours which end between two moments took, job by job."""
    most, held, first = Need(), dict.fromkeys(_LIMITS, 0), 0
    for moment, need in charged:
        if moment > end:
            break
        for name in _LIMITS:
            held[name] += getattr(need, name)
        while charged[first][0] <= moment - dt.timedelta(hours=24):
            for name in _LIMITS:
                held[name] -= getattr(charged[first][1], name)
            first += 1
        if moment > begin:
            most = Need(**{name: max(getattr(most, name), held[name]) for name in _LIMITS})
    return most


@contextmanager
def org_and_client(scale: int) -> Iterator[tuple[Org, SalesforceClient]]:
    """An empty org whose limits are as small as the rows are, and a client of it."""
    start = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
    with serve_org(schema=ORG, client_id="simulation", client_secret="none-needed", clock=start) as org:  # noqa: S106
        org.change(
            max_batches=15_000 // scale, max_records=150_000_000 // scale, max_api_requests=_CALLS_A_DAY
        )
        connection = {"conn_type": "http", "host": org.url, "login": "simulation", "password": "none-needed"}
        os.environ["AIRFLOW_CONN_SIMULATION"] = json.dumps(connection)
        client = SalesforceClient("simulation")
        try:
            yield org, client
        finally:
            client.close()
            del os.environ["AIRFLOW_CONN_SIMULATION"]


def simulate(run: Path, years: int = 3, scale: int = 1) -> int:
    """Plans and carries out; prints the calendar; 0 if every row was sent and no limit was passed on any day."""
    begun = time.monotonic()
    choices = Choices(slice_rows=Choices().slice_rows // scale)
    with org_and_client(scale) as (org, client):
        plan = plan_of(run.name, org, client, years, scale, choices)
        _print_plan(plan)
        hands = Simulated(plan, org, client, run)
        ends = carry_out(plan, hands)
        sent = _books(plan, run)
        wrong = [f"{name} ended as {stage}" for name, stage in ends.items() if stage != "done"]
        wrong += [f"the org refused {one}" for one in hands.refused]
        wrong += _print_days(plan, hands)
        if sent != sum(one.rows for one in plan.slices()):
            wrong.append(f"the ledgers hold {sent:,} rows that were sent, and that is not what was planned")
    print(
        f"\n{sent:,} rows in {len(plan.slices())} slices and {len(hands.charged):,} jobs, by their ledgers; "
        f"{(hands.charged[-1][0] - plan.made).total_seconds() / 86_400:.2f} days of the org in {time.monotonic() - begun:.0f} s."
    )
    print("\n".join(wrong) or "No limit was passed on any day, and every slice came to its end.")
    return 1 if wrong else 0


def _books(plan: Plan, run: Path) -> int:
    """Rows that were sent, by the ledgers of all slices."""
    sent = 0
    for one in plan.slices():
        with Ledger(run / one.name / "ledger.sqlite") as ledger:
            sent += sum(result.rows for result in ledger.results())
    return sent


def _print_plan(plan: Plan) -> None:
    need = plan.need()
    print(
        f"Planned: {sum(one.counted for one in plan.tables):,} rows of {len(plan.tables)} tables in {len(plan.slices())} slices, "
        f"{sum(one.jobs for one in plan.slices()):,} jobs, {need.batches:,} internal batches, {need.calls:,} API calls."
    )
    shared = {one.table: len(one.slices) for one in plan.tables if len(one.slices) > 1}
    print("Windows: " + ", ".join(f"{table} {number}" for table, number in shared.items()) + ".")
    for problem in problems(plan):
        print(f"Note: {problem}")


def _print_days(plan: Plan, hands: Simulated) -> list[str]:
    """The calendar as it came, beside the plan's; what passed a limit."""
    usable, wrong = plan.allowance.usable(), []
    expected = {day.number: day for day in days(plan, plan.calendar)}
    last = int((hands.charged[-1][0] - plan.made).total_seconds() // 86_400) + 1
    print(
        f"\n  {'day':<12}{'slices sent':>12}{'rows':>14}{'batches':>9}{'busiest 24 h: batches':>24}{'records':>14}{'calls':>9}  tables"
    )
    for number in range(1, last + 1):
        begin = plan.made + dt.timedelta(days=number - 1)
        end = begin + dt.timedelta(days=1)
        today = [need for moment, need in hands.charged if begin < moment <= end]
        most, day = busiest(hands.charged, end, begin), expected.get(number)
        total = sum(today, Need())
        print(
            f"  {begin:%Y-%m-%d}  {day.sent if day else 0:>12}{total.records:>14,}{total.batches:>9,}{most.batches:>24,}"
            f"{most.records:>14,}{most.calls:>9,}  {', '.join(day.tables) if day else ''}"
        )
        wrong += [f"day {number}: {most} is more than {usable}" for _ in most.lacking(usable)[:1]]
    print(
        f"  {'usable':<12}{'':>35}{usable.batches:>24,}{usable.records:>14,}{usable.calls:>9,}  in any 24 hours"
    )
    return wrong


def main() -> int:
    """Parses the command line and runs it."""
    parser = argparse.ArgumentParser(prog="python -m ora2sf_demo.simulate", description=__doc__)
    parser.add_argument("--years", type=int, default=3)
    parser.add_argument("--scale", type=int, default=1, help="divide rows and limits by this")
    parser.add_argument("--keep", type=Path, help="folder for the ledgers (default: a temporary one)")
    given = parser.parse_args()
    if given.keep:
        return simulate(given.keep, given.years, given.scale)
    with tempfile.TemporaryDirectory(prefix="simulated_") as folder:
        return simulate(Path(folder), given.years, given.scale)


if __name__ == "__main__":
    sys.exit(main())
