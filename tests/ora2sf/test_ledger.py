"""The ledger: intent before, result after, only allowed moves, and nothing half recorded."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import get_args

import pytest

from ora2sf.errors import LedgerError, RunFolderError
from ora2sf.ledger import MOVES, Batch, Ledger, Result, State

BATCH = Batch(1, "t_00001.csv.gz", 2, 30, "aa", "k1", "k2")
TOTALS = {"source_count": 3, "rows_read": 3, "rows_staged": 2, "rows_rejected": 1, "consistency": "slice"}
#: The shortest way to each state.
WAYS: dict[State, list[State]] = {
    "intended": [],
    "created": ["created"],
    "uploaded": ["created", "uploaded"],
    "closing": ["created", "uploaded", "closing"],
    "closed": ["created", "uploaded", "closing", "closed"],
    "ended": ["created", "uploaded", "closing", "closed", "ended"],
    "fetched": ["created", "uploaded", "closing", "closed", "ended", "fetched"],
    "gone": ["created", "uploaded", "closing", "closed", "gone"],
    "given_up": ["given_up"],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def test_any_number_that_create_a_ledger_at_one_moment_have_the_same(path):
    for _ in range(10):
        path.unlink(missing_ok=True)
        together = threading.Barrier(8)

        def create(number: int, together=together) -> None:
            together.wait()
            with Ledger(path) as ledger:
                ledger.record(f"of_{number}", number)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(create, range(8)))
        with Ledger(path, read_only=True) as ledger:
            assert [ledger.setting(f"of_{number}") for number in range(8)] == [str(n) for n in range(8)]


@pytest.fixture
def ledger(path: Path):
    with Ledger(path) as opened:
        yield opened


def extracted(ledger: Ledger, *batches: Batch) -> None:
    number = ledger.start_extraction("f")
    counts = {"rejected": {("A", "x"): 1}, "changed": {("A", "y"): 2, ("B", "y"): 7}}
    ledger.finish_extraction(number, batches or (BATCH,), counts, **TOTALS)


def attempt_in(ledger: Ledger, state: State) -> int:
    attempt = ledger.intend(1)
    for step in WAYS[state]:
        ledger.move(attempt, step)
    return attempt


@pytest.mark.parametrize(("before", "after"), list(product(WAYS, get_args(State))))
def test_an_attempt_makes_the_allowed_moves_and_no_other(ledger, before, after):
    extracted(ledger)
    attempt = attempt_in(ledger, before)
    if after in MOVES[before]:
        ledger.move(attempt, after)
        assert ledger.last_attempts()[1].state == after
    else:
        with pytest.raises(LedgerError, match=f"Attempt {attempt} cannot move from {before} to {after}"):
            ledger.move(attempt, after)
        assert ledger.last_attempts()[1].state == before


def test_a_closed_job_is_never_given_up():
    reachable, todo = set(), ["closed"]
    while todo:
        reachable.add(state := todo.pop())
        todo += [s for s in MOVES[state] if s not in reachable]
    assert reachable == {"closed", "ended", "fetched", "gone"}


def test_an_attempt_that_was_never_intended_cannot_move(ledger):
    with pytest.raises(LedgerError, match="Attempt 99 cannot move from None to created"):
        ledger.move(99, "created")


def test_what_is_known_at_a_move_is_kept_with_its_time(ledger):
    extracted(ledger)
    attempt = ledger.intend(1)
    ledger.move(attempt, "created", job_id="750A")
    ledger.move(attempt, "uploaded")
    (found,) = ledger.attempts()
    assert (found.job_id, found.state, found.processed) == ("750A", "uploaded", None)
    times = ledger.times()[attempt]
    assert list(times) == ["intended", "created", "uploaded"]
    assert sorted(times.values()) == list(times.values())
    assert all(time.endswith("Z") for time in times.values())


def test_one_job_belongs_to_one_attempt(ledger):
    extracted(ledger)
    first, second = ledger.intend(1), ledger.intend(2)
    ledger.move(first, "created", job_id="750A")
    with pytest.raises(sqlite3.IntegrityError):
        ledger.move(second, "created", job_id="750A")
    assert [a.state for a in ledger.attempts()] == ["created", "intended"]


def test_a_batch_has_one_open_attempt_at_a_time(ledger):
    extracted(ledger)
    first = ledger.intend(1)
    with pytest.raises(LedgerError, match="already being loaded"):
        ledger.intend(1)
    ledger.move(first, "given_up")
    assert ledger.intend(1) > first


def test_the_last_attempt_of_a_batch_counts(ledger):
    extracted(ledger)
    attempt_in(ledger, "given_up")
    second = attempt_in(ledger, "created")
    assert ledger.last_attempts()[1].id == second
    assert len(ledger.attempts()) == 2


def test_results_are_recorded_with_the_move_or_not_at_all(ledger):
    extracted(ledger)
    attempt = attempt_in(ledger, "closed")
    results = [
        Result(attempt, "success", "s.csv", 2, 1, "aa"),
        Result(attempt, "failed", "f.csv", 0, 0, "bb"),
    ]
    with pytest.raises(LedgerError):
        ledger.fetched(attempt, results)
    assert ledger.results() == []
    ledger.move(attempt, "ended", job_state="JobComplete", processed=2, failed=0)
    ledger.fetched(attempt, results)
    assert ledger.results() == sorted(results, key=lambda r: r.kind)
    assert ledger.last_attempts()[1].state == "fetched"


def test_an_extraction_is_recorded_whole(ledger):
    assert ledger.extraction() is None
    extracted(ledger)
    found = ledger.extraction()
    assert {name: getattr(found, name) for name in TOTALS} == TOTALS
    assert ledger.batches() == [BATCH]
    assert ledger.counts("changed") == [("B", "y", 7), ("A", "y", 2)]
    assert ledger.counts("rejected") == [("A", "x", 1)]


def test_an_extraction_that_fails_to_be_recorded_leaves_nothing(ledger):
    number = ledger.start_extraction("f")
    with pytest.raises(sqlite3.IntegrityError):
        ledger.finish_extraction(number, [BATCH, BATCH], {"rejected": {("A", "x"): 1}}, **TOTALS)
    assert (ledger.extraction(), ledger.batches(), ledger.counts("rejected")) == (None, [], [])


def test_an_unfinished_extraction_may_be_begun_again_and_a_finished_one_not(path):
    with Ledger(path) as ledger:
        ledger.start_extraction("f")
    with Ledger(path) as ledger:
        extracted(ledger)
        with pytest.raises(LedgerError, match="already extracted"):
            ledger.start_extraction("f")


def test_the_first_value_of_a_setting_stands_unless_it_is_replaced(path):
    with Ledger(path) as ledger:
        assert ledger.setting("batch_size") is None
        assert ledger.settle("batch_size", 40_000) == "40000"
    with Ledger(path) as ledger:
        assert ledger.settle("batch_size", 10) == "40000"
        ledger.record("batch_size", 10)
        assert ledger.setting("batch_size") == "10"


def test_every_invocation_of_a_step_is_kept(ledger, path):
    first, second = ledger.start_step("extract"), ledger.start_step("extract")
    ledger.end_step(second, "done")
    with sqlite3.connect(path) as db:
        rows = db.execute("SELECT id, name, outcome, ended IS NULL FROM step ORDER BY id").fetchall()
    db.close()
    assert rows == [(first, "extract", None, 1), (second, "extract", "done", 0)]


def test_a_ledger_keeps_no_write_ahead_log(ledger, path):
    extracted(ledger)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    db.close()
    assert [p.name for p in path.parent.iterdir()] == ["ledger.sqlite"]


@pytest.mark.parametrize(
    "content", [b"this is no database, but it is long enough to look like one" * 20, "folder"]
)
def test_a_file_that_is_no_ledger_is_refused(path, content):
    if isinstance(content, str):
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(RunFolderError, match="cannot be opened"):
        Ledger(path)


@pytest.mark.parametrize("version", [1, 99])
def test_a_ledger_of_another_version_is_refused(path, version):
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {version}")
        db.execute("CREATE TABLE setting (name)")
    db.close()
    with pytest.raises(RunFolderError, match=f"version {version}"):
        Ledger(path)


def test_threads_share_a_ledger_without_losing_a_move(ledger):
    extracted(ledger, *(Batch(n, f"{n}", 1, 1, "a", "k", "k") for n in range(1, 9)))

    def work(batch: int) -> None:
        for _ in range(10):
            ledger.move(ledger.intend(batch), "given_up")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [a.state for a in ledger.attempts()] == ["given_up"] * 80


def together(number, act):
    """Runs an act in so many threads that begin at once; returns what each one returned or raised."""
    gate = threading.Barrier(number)

    def run(index):
        gate.wait()
        try:
            return act(index)
        except (LedgerError, RunFolderError) as error:
            return error

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(run, range(number)))


def test_changes_of_many_threads_share_commits_and_each_is_on_the_disk_when_it_returns(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        commits = []
        ledger._db.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)

        def settle(index):
            for turn in range(4):
                ledger.settle(f"{index}.{turn}", turn)
                with sqlite3.connect(path) as other:  # another process would see it
                    found = other.execute("SELECT value FROM setting WHERE name = ?", (f"{index}.{turn}",))
                    assert found.fetchone() == (str(turn),)
                other.close()

        assert together(8, settle) == [None] * 8
        assert 4 <= len(commits) <= 32


def test_a_change_that_is_refused_takes_none_of_those_that_share_its_commit_with_it(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        extraction = ledger.start_extraction("f")
        batches = [Batch(n, f"{n}.csv.gz", 1, 1, "0", "a", "b") for n in range(1, 31)]
        ledger.finish_extraction(extraction, batches, {}, **TOTALS)
        ends = together(30, lambda index: ledger.intend(index // 2 + 1))
        assert sum(isinstance(end, LedgerError) for end in ends) == 15
        assert sorted(attempt.batch for attempt in ledger.attempts()) == list(range(1, 16))


def test_a_disk_that_is_full_is_told_to_every_thread_whose_change_is_lost(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
        ledger._db.execute(f"PRAGMA max_page_count = {pages}")
        ends = together(6, lambda index: ledger.settle(f"n{index}", "x" * 20_000))
        assert all(isinstance(end, RunFolderError) for end in ends)
        ledger._db.execute("PRAGMA max_page_count = 100000")
        ledger.settle("small", "value")
        assert ledger.setting("small") == "value"
        assert [ledger.setting(f"n{index}") for index in range(6)] == [None] * 6
