"""The scheduler: which slice may start, whatever happened before; and the calendar that follows from it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ora2sf.campaign import Ended, Scheduler, Start, Used, carry_out, days, forecast
from ora2sf.errors import PlanError
from ora2sf.plan import (
    Allowance,
    Choices,
    Moment,
    Need,
    Plan,
    PlannedTable,
    Rates,
    Sampled,
    planned,
    problems,
    slice_of,
)
from ora2sf.tables import TableConfig
from ora2sf.windows import cut

NOON = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


def config(name: str, phase: int = 1, after: Sequence[str] = (), parent: bool = False) -> TableConfig:
    key = {"field": "K__c", "type": "key", "columns": ["K"]}
    up = {
        "field": "Up__c",
        "type": "lookup",
        "columns": ["P"],
        "object": "Up__c",
        "external_id_field": "K__c",
    }
    return TableConfig.model_validate(
        {
            "table": name, "object": "T__c", "external_id_field": "K__c", "phase": phase, "batch_size": 10_000,
            "depends_on": after, "parent": "Up__c" if parent else None, "source": {"table": "T", "order_by": ["P"]},
            "window": {"column": "D", "type": "date"}, "fields": [key, up],
        }
    )  # fmt: skip


def table(
    name: str, rows: Sequence[int], phase: int = 1, after: Sequence[str] = (), parent: bool = False
) -> PlannedTable:
    """A table of one slice, or of windows of so many rows."""
    one = config(name, phase, after, parent)
    windows = []
    if len(rows) > 1:
        spans = cut({f"2025-01-{n:02d}": 1 for n in range(1, len(rows))}, 1)
        windows = list(zip(spans, rows, strict=True))
    sample = Sampled(rows=1, bytes=100)
    return planned(one, sum(rows), windows, sample, Choices(), Rates(), consistency="campaign")


def plan(*tables: PlannedTable, batches: int = 15_000, reserve: int = 0, **choices: int) -> Plan:
    return Plan(
        run_id="c",
        made=NOON,
        moment=Moment(taken=NOON, source_time=NOON.replace(tzinfo=None)),
        allowance=Allowance(batches=batches, reserve=reserve),
        rates=Rates(extract=10_000, load=100, overhead=0),
        choices=Choices(**choices),
        tables=tables,
    )


def starts(made: Plan, used: Used | None = None, now: dt.datetime = NOON, **stages: str) -> list[str]:
    """What may start: ``read a``, ``send b/w001``; stages are named with __ for the / of a window."""
    at = {name.replace("__", "/"): stage for name, stage in stages.items()}
    decision = Scheduler(made).decide(now, at, used or Used(made.allowance, made.made))  # type: ignore[arg-type]
    return [f"{one.act} {one.slice.name}" for one in decision.starts]


def waits(made: Plan, used: Used | None = None, now: dt.datetime = NOON, **stages: str) -> dict[str, str]:
    at = {name.replace("__", "/"): stage for name, stage in stages.items()}
    decision = Scheduler(made).decide(now, at, used or Used(made.allowance, made.made))  # type: ignore[arg-type]
    return {one.slice.name: one.why for one in decision.waits}


TWO_PHASES = (table("a", [10]), table("b", [10]), table("c", [10], phase=2))


def test_phases_run_in_order_and_the_tables_of_one_side_by_side():
    made = plan(*TWO_PHASES)
    assert starts(made) == ["read a", "read b"]
    assert starts(made, a="staged", b="staged") == ["read c", "send a", "send b"]
    assert starts(made, a="done", b="sending", c="staged") == []
    assert waits(made, a="done", b="sending", c="staged") == {"c": "b (phase 1) is not sent yet"}
    assert starts(made, a="done", b="done", c="staged") == ["send c"]


def test_reading_runs_ahead_of_sending_but_not_ahead_of_earlier_phases():
    made = plan(*TWO_PHASES)
    assert starts(made, a="sending", b="staged") == ["read c", "send b"]
    assert waits(made, a="reading", b="staged")["c"] == "a (phase 1) is not read yet"


def test_a_dependency_inside_a_phase_is_waited_for():
    made = plan(table("a", [10], after=["b"]), table("b", [10]))
    assert starts(made) == ["read b"]
    assert starts(made, b="staged") == ["read a", "send b"]
    assert starts(made, a="staged", b="done") == ["send a"]


def test_what_failed_holds_up_what_comes_after_it_and_nothing_else():
    made = plan(*TWO_PHASES)
    assert waits(made, a="failed", b="done") == {"c": "a failed"}
    assert starts(made, a="failed", b="staged") == ["send b"]


def test_windows_that_may_share_parents_are_sent_one_after_the_other():
    rows = [10, 10, 10]
    alone, apart = plan(table("a", rows, parent=True)), plan(table("a", rows))
    staged = {"a__w001": "staged", "a__w002_2025-01-02": "staged", "a__unreadable": "staged"}
    assert starts(apart, **staged) == ["send a/w001", "send a/w002_2025-01-02", "send a/unreadable"]
    assert starts(alone, **staged) == ["send a/w001"]
    assert "may share parents" in waits(alone, **staged)["a/unreadable"]
    assert starts(alone, **(staged | {"a__w001": "done"})) == ["send a/w002_2025-01-02"]


def test_no_more_slices_run_side_by_side_than_was_chosen():
    made = plan(*(table(name, [10]) for name in "abc"), extracts_at_once=1, loads_at_once=2)
    assert starts(made) == ["read a"]
    assert starts(made, a="staged", b="staged", c="staged") == ["send a", "send b"]
    assert starts(made, a="sending", b="staged", c="staged") == ["send b"]


def test_no_more_is_staged_than_was_chosen_but_always_one_slice():
    made = plan(table("a", [50_000]), table("b", [50_000]), staged_mb=6)
    assert starts(made) == ["read a"]
    assert waits(made, a="staged")["b"] == "5 MB are staged and not yet sent"
    assert starts(made, a="done") == ["read b"]


def test_a_slice_starts_only_when_all_of_it_fits_into_the_limits_of_a_day():
    made = plan(table("a", [60_000]), table("b", [50_000]), batches=10)
    used = Used(made.allowance, NOON)
    assert starts(made, used, a="staged", b="staged") == ["send a"]
    used.begin(made.slices()[0])
    used.end(made.slices()[0], NOON + HOUR)
    assert starts(made, used, a="done", b="staged", now=NOON + 24 * HOUR) == []
    assert starts(made, used, a="done", b="staged", now=NOON + 25 * HOUR) == ["send b"]
    decision = Scheduler(made).decide(NOON, {"a": "done", "b": "staged"}, used)
    assert decision.waits[0].until == NOON + 25 * HOUR
    assert decision.waits[0].why == "the org has no room left today: batches"


def test_a_small_slice_does_not_overtake_a_large_one_that_waits_for_room():
    made = plan(table("a", [60_000]), table("b", [60_000]), table("c", [10_000]), batches=10)
    assert starts(made, a="staged", b="staged", c="staged") == ["send a"]


def test_what_the_org_says_counts_if_it_is_less_and_is_asked_again():
    made = plan(table("a", [60_000]))
    decision = Scheduler(made).decide(
        NOON, {"a": "staged"}, Used(made.allowance, NOON), known=Need(batches=5, records=10**9, calls=10**6)
    )
    assert not decision.starts
    assert decision.waits[0].until == NOON + dt.timedelta(minutes=15)


def test_what_others_used_before_the_plan_is_gone_a_day_later():
    allowance = Allowance(batches=100, batches_used=95, reserve=0)
    used = Used(allowance, NOON)
    assert used.room(NOON).batches == 5
    assert used.room(NOON + 24 * HOUR).batches == 100
    assert used.when(Need(batches=50), NOON) == NOON + 24 * HOUR
    assert used.when(Need(batches=101), NOON) is None


def test_the_reserve_is_left_to_others():
    assert Allowance(batches=15_000, reserve=10).usable() == Need(
        batches=13_500, records=135_000_000, calls=90_000
    )


# the needs of a slice


@pytest.mark.parametrize(
    ("rows", "batch_size", "bytes_per_row", "jobs", "batches"),
    [
        (0, 40_000, 10.0, 0, 0),
        (1, 40_000, 10.0, 1, 1),
        (40_001, 40_000, 10.0, 2, 5),
        (100_000, 25_000, 10.0, 4, 12),  # 25,000 rows burn three batches for two and a half
        (100_000, 100_000, 2_000.0, 2, 10),  # 100 MB are 50,000 such rows
    ],
)
def test_a_slice_takes_jobs_by_rows_and_bytes_and_each_begun_batch_counts(
    rows, batch_size, bytes_per_row, jobs, batches
):
    one = config("a").model_copy(update={"batch_size": batch_size})
    found = slice_of(one, None, rows, bytes_per_row, Rates(calls_per_job=26))
    assert (found.jobs, found.need) == (jobs, Need(batches=batches, records=rows, calls=26 * jobs))


def test_a_plan_says_what_speaks_against_it():
    made = plan(table("a", [60_000]), batches=5)
    assert "a needs 6 batches of the org, more than the 5 of a day" in problems(made)[0]
    small = made.allowance.model_copy(update={"batches": 100, "storage_left_mb": 1})
    assert "118 MB of data storage" in problems(made.model_copy(update={"allowance": small}))[0]


# the calendar


def test_a_calendar_says_when_each_slice_is_read_and_sent():
    made = plan(table("a", [360_000]), table("b", [360_000], phase=2))
    first, second = forecast(made)
    assert (first.slice, first.read, first.staged, first.sent, first.done) == ("a", 0, 0.01, 0.01, 1.01)
    assert (second.slice, second.read, second.staged, second.sent, second.done) == (
        "b",
        0.01,
        0.02,
        1.01,
        2.01,
    )


def test_a_calendar_waits_for_the_limits_to_roll():
    made = plan(*(table(name, [360_000]) for name in "abc"), batches=72, loads_at_once=1)
    entries = forecast(made)
    assert [round(entry.sent, 1) for entry in entries] == [0.0, 1.0, 25.0]
    one, two = days(made, entries)
    assert (one.number, one.sent, one.rows, one.need.batches) == (1, 2, 720_000, 72)
    assert (two.number, two.sent, two.tables) == (2, 1, ("c",))
    assert max(one.busiest.batches, two.busiest.batches) == 72


def test_a_campaign_that_can_never_end_has_no_calendar():
    with pytest.raises(
        PlanError, match=r"1 slice.* could never start, first of all a: .* no room left today: batches"
    ):
        forecast(plan(table("a", [60_000]), batches=5))


class Steps:
    """Hands that end what was started one by one, an hour each, in ways that are said beforehand."""

    def __init__(self, outcomes: dict[str, list[str]] | None = None) -> None:
        self.at, self.running, self.log = NOON, list[Start](), list[tuple[dt.datetime, str]]()
        self.outcomes = outcomes or {}

    def now(self) -> dt.datetime:
        return self.at

    def known(self) -> None:
        return None

    def start(self, start: Start) -> None:
        self.log.append((self.at, f"{start.act} {start.slice.name}"))
        self.running.append(start)

    def wait(self, until: dt.datetime | None) -> list[Ended]:
        if not self.running:
            assert until is not None
            self.at = until
            return []
        self.at += HOUR
        one = self.running.pop(0)
        outcome = (self.outcomes.get(f"{one.act} {one.slice.name}") or ["good"]).pop(0)
        return [Ended(one.slice, one.act, outcome, self.at + 3 * HOUR if outcome == "paused" else None)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("paused", "acts", "at"),
    [("send a", ["read a", "send a", "send a"], 5), ("read a", ["read a", "read a", "send a"], 5)],
)
def test_a_slice_that_paused_goes_on_when_it_may(paused, acts, at):
    hands = Steps({paused: ["paused", "good"]})
    assert carry_out(plan(table("a", [10])), hands) == {"a": "done"}
    assert [what for _, what in hands.log] == acts
    assert hands.log[2][0] == NOON + at * HOUR


def test_only_what_was_chosen_starts_and_only_when_what_comes_before_it_is_done():
    made = plan(*TWO_PHASES)
    hands = Steps()
    assert carry_out(made, hands, only=lambda one: one.table == "c") == {"a": "new", "b": "new", "c": "new"}
    assert (
        carry_out(made, hands, {"a": "done", "b": "done"}, only=lambda one: one.table == "c")["c"] == "done"
    )
    assert [what for _, what in hands.log] == ["read c", "send c"]


def test_a_campaign_goes_on_from_wherever_it_is_and_ends_where_something_failed():
    made = plan(*TWO_PHASES)
    hands = Steps({"send b": ["bad"]})
    assert carry_out(made, hands, {"a": "done", "b": "staged"}) == {"a": "done", "b": "failed", "c": "staged"}
    assert [what for _, what in hands.log] == ["read c", "send b"]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_the_campaign_every_slice_is_sent_once_in_order_and_inside_the_limits(data):
    names = "abcdef"[: data.draw(st.integers(1, 6))]
    limit = data.draw(st.integers(8, 40))
    tables = [
        table(
            name,
            data.draw(
                st.lists(st.integers(0, 80_000), min_size=3, max_size=5) | st.tuples(st.integers(0, 80_000))
            ),
            phase=data.draw(st.integers(1, 3)),
            parent=data.draw(st.booleans()),
        )
        for name in names
    ]
    made = plan(*tables, batches=limit, loads_at_once=data.draw(st.integers(1, 4)))
    entries = forecast(made)
    slices = {one.name: one for one in made.slices()}
    assert sorted(entry.slice for entry in entries) == sorted(slices)
    for entry in entries:
        mine = made.table(slices[entry.slice].table)
        earlier = [e for e in entries if made.table(slices[e.slice].table).phase < mine.phase]
        assert entry.read <= entry.staged <= entry.sent <= entry.done
        assert all(other.done <= entry.sent for other in earlier)
    for day in days(made, entries):
        assert day.busiest.batches <= limit
