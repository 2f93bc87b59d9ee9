"""Nothing lost, nothing twice: what is sent again, what is looked up, what is kept apart, and what stops early."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import itertools
import random
import sqlite3

import polars as pl
import pytest
from staged import FIELD, OBJECT, keys_in

from ora2sf.batches import BatchWriter, RejectedFile
from ora2sf.errors import JobTimeout, LedgerError, Paused, RunFolderError, TargetError, TransientError
from ora2sf.ledger import Batch, Ledger
from ora2sf.reconcile import failures, outcomes
from ora2sf.rounds import Rounds, due
from ora2sf.salesforce import reasons
from ora2sf.upload import LedgerJournal, plan

ROWS = 30


def balanced(slice_, org, keys, *, before=0):
    """Every staged row is in the org once, and the books say so."""
    assert keys_in(org) == keys
    books = slice_.books(before=before, after=org.count(OBJECT))
    assert [check.name for check in books.checks if not check.holds] == []
    assert (books.verdict, books.success) == ("complete", len(keys))
    return books


def rounds_of(slice_):
    return [(batch.round, batch.rows) for batch in slice_.ledger.all_batches()]


# rounds


def test_rows_that_could_not_lock_are_sent_again_until_they_pass(org, slice_):
    keys = slice_.stage(ROWS)
    org.faults.add("lock-rows", object=OBJECT, rows=9)
    org.faults.add("lock-rows", object=OBJECT, rows=4)
    slice_.upload()
    assert rounds_of(slice_) == [(0, ROWS), (1, 9), (2, 4)]
    books = balanced(slice_, org, keys)
    assert books.created == ROWS
    assert failures(slice_.ledger, slice_.data, slice_.logs, FIELD).height == 0


@pytest.mark.parametrize("code", sorted(reasons.PASSING))
def test_every_passing_reason_is_tried_again(org, slice_, code):
    keys = slice_.stage(ROWS)
    org.faults.add("row-error", object=OBJECT, rows=5, error=f"{code}:later")
    slice_.upload()
    balanced(slice_, org, keys)


def test_rows_that_fail_for_their_data_are_not_sent_again(org, slice_):
    slice_.stage(ROWS)
    org.faults.add("row-error", object=OBJECT, rows=5, error="STRING_TOO_LONG:no")
    slice_.upload()
    assert rounds_of(slice_) == [(0, ROWS)]


def test_rows_that_never_pass_are_failed_after_the_last_round(org, slice_):
    keys = slice_.stage(ROWS)
    org.faults.add("lock-rows", object=OBJECT, rows=6, times=0)
    slice_.upload(rounds=Rounds(most=2, pause=0))
    assert rounds_of(slice_) == [(0, ROWS), (1, 6), (2, 6)]
    books = slice_.books(after=org.count(OBJECT))
    assert (books.verdict, books.failed, books.success) == ("complete with exceptions", 6, ROWS - 6)
    (line,) = failures(slice_.ledger, slice_.data, slice_.logs, FIELD).rows(named=True)
    assert (line["code"], line["rows"]) == ("UNABLE_TO_LOCK_ROW", 6)
    org.faults.clear()
    slice_.upload()  # and one more round, once somebody allows it
    assert rounds_of(slice_)[3:] == [(3, 6)]
    balanced(slice_, org, keys)


def test_rows_of_a_failed_job_that_were_never_looked_at_are_sent_again(org, slice_):
    keys = slice_.stage(10_100, batch_size=20_000)
    org.faults.add("fail-job", object=OBJECT, skip=1)
    slice_.upload()
    assert [number for number, _ in rounds_of(slice_)] == [0, 1]
    balanced(slice_, org, keys)


def test_a_round_has_smaller_jobs_and_waits_longer_each_time(org, slice_, monkeypatch):
    keys = slice_.stage(2_500, batch_size=2_500)
    waited = []
    loader = slice_.loader()
    monkeypatch.setattr(type(loader), "pause", lambda _self, seconds: waited.append(seconds))
    org.faults.add("fail-job", object=OBJECT, times=0)
    slice_.upload(rounds=Rounds(pause=5.0))
    sizes = [max(rows for number, rows in rounds_of(slice_) if number == n) for n in range(4)]
    assert sizes == [2_500, 2_500, 2_000, 400]
    assert waited == [5.0, 10.0, 20.0]
    books = slice_.books(after=0)
    assert (books.verdict, books.unprocessed) == ("incomplete", len(keys))


def test_every_try_of_a_row_and_every_file_is_kept(org, slice_):
    slice_.stage(ROWS)
    org.faults.add("lock-rows", object=OBJECT, rows=9)
    slice_.upload()
    assert sorted(path.name for path in slice_.data.glob("*.gz")) == [
        "product_00001.csv.gz",
        "product_again1_00002.csv.gz",
    ]
    assert len(slice_.ledger.results()) == 6
    assert all((slice_.logs / result.file).is_file() for result in slice_.ledger.results())


def test_a_round_is_recorded_whole_before_anything_of_it_is_sent(org, slice_, monkeypatch):
    keys = slice_.stage(ROWS)
    org.faults.add("lock-rows", object=OBJECT, rows=9)
    monkeypatch.setattr(Ledger, "add_round", killed)
    with pytest.raises(Killed):
        slice_.upload()
    assert rounds_of(slice_) == [(0, ROWS)]
    assert len(org.jobs()) == 1
    monkeypatch.undo()
    slice_.upload()
    assert rounds_of(slice_) == [(0, ROWS), (1, 9)]
    balanced(slice_, org, keys)


@pytest.mark.parametrize("operation", ["upsert", "update"])
def test_rows_are_never_sent_again_from_a_file_that_was_changed(org, slice_, operation):
    slice_.stage(20, batch_size=10)
    one, other = (slice_.data / batch.file for batch in slice_.ledger.batches())
    if operation == "upsert":
        org.faults.add("lock-rows", object=OBJECT, rows=9)
        slice_.upload(rounds=None)
    one.write_bytes(other.read_bytes())
    other.write_bytes(b"")
    jobs = len(org.jobs())
    with pytest.raises(RunFolderError, match=r"not what was staged|cannot be read|is damaged"):
        slice_.upload(operation=operation)
    assert len(org.jobs()) == jobs


def test_batches_that_were_skipped_first_have_their_rounds_later(org, slice_):
    keys = slice_.stage(ROWS, batch_size=10)
    org.faults.add("lock-rows", object=OBJECT, rows=3)
    slice_.upload(start_batch=3)
    assert slice_.books(after=10).unsent == (1, 2)
    org.faults.add("lock-rows", object=OBJECT, rows=2)
    slice_.upload(max_concurrent_jobs=1)
    assert rounds_of(slice_) == [(0, 10), (0, 10), (0, 10), (1, 3), (1, 2)]
    balanced(slice_, org, keys)


class Killed(BaseException):
    """The process ends here."""


def killed(*_given, **_named):
    raise Killed


# unknown rows


def looked_up(slice_):
    (path,) = slice_.logs.glob("*_lookup.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return path, list(csv.DictReader(file))


@pytest.mark.parametrize("fault", ["lose-batch", "drop-result"])
@pytest.mark.parametrize("operation", ["upsert", "insert"])
def test_rows_in_no_result_file_are_looked_up_and_end_in_the_org_once(org, slice_, fault, operation):
    keys = slice_.stage(ROWS)
    given = {"path": "successful", "rows": 7} if fault == "drop-result" else {}
    org.faults.add(fault, object=OBJECT, **given)
    slice_.upload(operation=operation)
    balanced(slice_, org, keys)
    path, lines = looked_up(slice_)
    (lookup,) = slice_.ledger.lookups().values()
    there = fault == "drop-result"
    assert (lookup.rows, lookup.found) == ((7, 7) if there else (ROWS, 0))
    assert lookup.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    proven = "success" if there and operation == "insert" else "again"
    assert [(line["found"], line["outcome"]) for line in lines] == [
        (str(there).lower(), proven)
    ] * lookup.rows
    assert len(org.jobs()) == (1 if proven == "success" else 2)


def test_a_row_that_is_there_proves_no_value_of_an_upsert(org, slice_):
    slice_.stage(ROWS)
    org.faults.add("drop-result", object=OBJECT, path="successful", rows=7)
    slice_.upload(rounds=Rounds(most=0))
    books = slice_.books(after=org.count(OBJECT))
    assert (books.unknown, books.verdict) == (7, "does not balance")


def test_a_row_that_is_not_there_after_the_last_round_is_unprocessed(org, slice_):
    slice_.stage(ROWS)
    org.faults.add("lose-batch", object=OBJECT)
    slice_.upload(rounds=Rounds(most=0))
    books = slice_.books(after=org.count(OBJECT))
    assert (books.unprocessed, books.unknown, books.verdict) == (ROWS, 0, "incomplete")


@pytest.mark.parametrize("operation", ["upsert", "insert"])
def test_what_was_left_without_a_round_is_sent_again_once_there_are_more(org, slice_, operation):
    keys, slice_.operation = slice_.stage(ROWS), operation
    org.faults.add("lock-rows", object=OBJECT, rows=5)
    org.faults.add("drop-result", path="successful")
    slice_.upload(rounds=Rounds(most=0))
    books = slice_.books(after=org.count(OBJECT))
    left = {"upsert": ("does not balance", 5, 1), "insert": ("complete with exceptions", 5, 0)}
    assert (books.verdict, books.failed, books.unknown) == left[operation]
    assert due(slice_.ledger, Rounds(most=0)) == []
    slice_.upload()
    assert rounds_of(slice_) == [(0, ROWS), (1, 6 if operation == "upsert" else 5)]
    balanced(slice_, org, keys)


def test_a_lookup_that_was_changed_does_not_balance(org, slice_):
    slice_.stage(ROWS)
    org.faults.add("drop-result", object=OBJECT, path="successful", rows=7)
    slice_.upload(operation="insert")
    path, _ = looked_up(slice_)
    path.write_text(path.read_text() + "P99999,true,success\n")
    assert slice_.books(after=org.count(OBJECT)).verdict == "does not balance"
    path.unlink()
    with pytest.raises(RunFolderError, match="cannot be proven"):
        slice_.books()


@pytest.mark.parametrize("state", ["closing", "closed", "ended"])
@pytest.mark.parametrize("operation", ["upsert", "insert"])
@pytest.mark.parametrize("worked", [True, False])
def test_a_closed_job_that_is_gone_is_looked_up_before_its_rows_are_sent_again(
    org, slice_, state, operation, worked
):
    keys = slice_.stage(ROWS)
    loader, job = slice_.loader(operation=operation), ""
    note = LedgerJournal(slice_.ledger, 1)
    (batch,) = slice_.ledger.batches()
    note.intended()
    note.created(job := loader.create_job())
    loader.upload_data(job, slice_.data / batch.file, batch.bytes)
    note.uploaded()
    note.closing()
    if not worked:
        org.hold_jobs()
    loader.close_job(job)
    if state != "closing":
        note.closed()
    if worked:
        end = loader.wait_for_job(job)
    else:
        loader.abort_job(job)
        end = loader.wait_for_job(job)
    if state == "ended":
        note.ended(end)
    slice_.client.send("DELETE", f"/jobs/ingest/{job}")
    org.release_jobs()
    slice_.upload(operation=operation)
    assert slice_.states()[0] == "gone"
    balanced(slice_, org, keys)
    assert len(slice_.states()) == (1 if worked and operation == "insert" else 2)


def test_an_insert_whose_close_may_still_arrive_is_judged_by_the_results_of_its_job(org, slice_, monkeypatch):
    keys = slice_.stage(ROWS)
    loader = slice_.loader(operation="insert")
    monkeypatch.setattr(type(loader), "close_job", killed)
    with pytest.raises(Killed):
        slice_.upload(operation="insert")
    monkeypatch.undo()
    assert slice_.states() == ["closing"]
    abort = type(loader).abort_job

    def close_arrives_first(self, job_id):
        self.close_job(job_id)
        assert org.wait_idle()
        with pytest.raises(TargetError):
            abort(self, job_id)

    monkeypatch.setattr(type(loader), "abort_job", close_arrives_first)
    slice_.upload(operation="insert")
    assert len(org.jobs()) == 1
    balanced(slice_, org, keys)


# parents

LINES = "KPS_PreinvDetail__c"


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        (("a", "b"), ("b", "c"), True),
        (("a", "b"), ("B ", "c"), True),
        (("a", "b"), ("c", "d"), False),
        (("", ""), ("", ""), False),
        (("a", "a"), ("", ""), False),
    ],
)
def test_two_batches_share_a_parent_if_one_goes_on_in_the_other(one, other, share):
    made = [Batch(n, "f", 1, 1, "", "", "", 0, *parents) for n, parents in enumerate((one, other), 1)]
    assert made[0].shares_parent(made[1]) is made[1].shares_parent(made[0]) is share


def test_batches_of_two_rounds_count_as_sharing():
    first = Batch(1, "f", 1, 1, "", "", "", 0, "a", "b")
    assert first.shares_parent(Batch(2, "g", 1, 1, "", "", "", 1, "x", "z"))
    assert not first.shares_parent(Batch(2, "g", 1, 1, "", "", "", 1, "", ""))


def test_the_ledger_knows_jobs_that_met_at_a_parent(slice_):
    slice_.stage(1)
    parents = [("a", "b"), ("b", "b"), ("c", "d")]
    again = [Batch(n, f"{n}", 1, 1, "", "", "", 0, *given) for n, given in enumerate(parents, 2)]
    slice_.ledger.add_round([], again)
    attempts = [slice_.ledger.intend(batch.number) for batch in again]
    for attempt, job in zip(attempts, "xyz", strict=True):
        slice_.ledger.move(attempt, "created", job_id=job)
        slice_.ledger.move(attempt, "uploaded")
        slice_.ledger.move(attempt, "closing")
    assert slice_.ledger.parents_met() == [("x", "y")]
    with sqlite3.connect(slice_.ledger.path) as db:
        db.execute("DELETE FROM move")  # every other ledger of these tests has to be without such a pair
    db.close()


@pytest.fixture
def lines(slice_):
    """A slice of detail lines: 12 parents of 10 to 60 rows, so that some are cut by batches of 25 rows."""

    def stage(batch_size=25):
        dice = random.Random(5)
        keys, parents = [], []
        for number in range(12):
            for row in range(dice.choice((10, 20, 60))):
                keys.append(f"P{number:02d}-{row:03d}")
                parents.append(f"PARENT{number:02d}")
        header = (FIELD, "Name")
        writer = BatchWriter(slice_.data, "product", header, FIELD, batch_size, parent="Name")
        writer.add(pl.DataFrame({FIELD: keys, "Name": parents}))
        RejectedFile(slice_.rejected).finish()
        totals = {"source_count": len(keys), "rows_read": len(keys), "rows_staged": len(keys)}
        slice_.ledger.finish_extraction(
            slice_.ledger.start_extraction("f"),
            writer.finish(),
            {},
            **totals,
            rows_rejected=0,
            consistency="none",
        )
        return keys

    return stage


PARENTS = Rounds(pause=0, parent="Name")


@pytest.mark.parametrize("seed", range(2))
def test_batches_that_share_a_parent_are_never_in_flight_together(org, slice_, lines, seed):
    keys = lines()
    assert any(a.shares_parent(b) for a, b in itertools.pairwise(slice_.ledger.batches()))
    org.faults.add("lock-rows", object=OBJECT, rows=9, times=12, rate=0.7, seed=seed)
    slice_.upload(rounds=PARENTS, max_concurrent_jobs=8)
    assert slice_.ledger.parents_met() == []
    balanced(slice_, org, keys)


def test_jobs_without_a_parent_in_common_run_side_by_side(org, slice_):
    slice_.stage(40, batch_size=10)
    org.hold_jobs()
    with pytest.raises(JobTimeout):
        slice_.upload(max_concurrent_jobs=4, job_timeout=0.3)
    assert slice_.states() == ["closed"] * 4


def test_a_batch_waits_for_the_job_that_an_earlier_run_left_with_its_parent(org, slice_, lines):
    keys = lines()
    org.hold_jobs()
    with pytest.raises(JobTimeout):
        slice_.upload(rounds=PARENTS, max_concurrent_jobs=20, job_timeout=0.3)
    left = slice_.states()
    assert set(left) == {"closed"}
    assert len(left) < len(slice_.ledger.batches())
    with pytest.raises(JobTimeout):
        slice_.upload(rounds=PARENTS, max_concurrent_jobs=20, job_timeout=0.3)
    assert slice_.states() == left
    org.release_jobs()
    slice_.upload(rounds=PARENTS, max_concurrent_jobs=20)
    balanced(slice_, org, keys)


def test_rows_of_one_parent_stay_together_when_they_are_sent_again(org, slice_, lines):
    lines(batch_size=100)
    org.faults.add("fail-job", object=OBJECT, times=0)
    slice_.upload(rounds=Rounds(most=1, pause=0, parent="Name"))
    again = [batch for batch in slice_.ledger.all_batches() if batch.round]
    assert len(again) > 2
    assert not any(one.shares_parent(other) for one, other in itertools.combinations(again, 2))


# what stops early


def test_an_unknown_column_stops_early_and_the_run_goes_on_once_it_is_there(org, slice_):
    slice_.stage(100, batch_size=10, header=("ProductCode", "Name", "Nope__c"))
    for _ in range(2):
        with pytest.raises(TargetError, match="Field name not found : Nope__c") as caught:
            slice_.upload(max_concurrent_jobs=1)
        assert "run 02_upload again with the same run_id" in caught.value.next_step
    assert len(org.jobs()) == 2
    books = slice_.books(after=0)
    assert (books.verdict, books.unprocessed, books.not_sent) == ("incomplete", 10, 90)
    assert [one.todo for one in plan(slice_.ledger)] == ["send"] * 10


@pytest.mark.parametrize("code", sorted(reasons.HOPELESS))
def test_a_reason_that_meets_every_row_stops_early_and_all_is_sent_once_it_is_removed(org, slice_, code):
    keys = slice_.stage(60, batch_size=10)
    org.faults.add("row-error", object=OBJECT, rows=10, times=0, error=f"{code}:said so")
    with pytest.raises(TargetError, match="said so") as caught:
        slice_.upload(max_concurrent_jobs=2)
    assert caught.value.error_code == code
    assert caught.value.next_step.startswith(reasons.HOPELESS[code])
    assert len(org.jobs()) <= 3
    org.faults.clear()
    slice_.upload()
    balanced(slice_, org, keys)


def test_one_batch_whose_rows_all_fail_for_their_data_stops_nothing(org, slice_):
    slice_.stage(30, batch_size=10)
    org.faults.add("row-error", object=OBJECT, rows=10, error="STRING_TOO_LONG:no")
    slice_.upload()
    assert slice_.books(after=20).failed == 10
    assert slice_.upload() == []


def test_an_allocation_that_is_used_up_pauses_the_run_and_costs_no_round(org, slice_):
    keys = slice_.stage(60, batch_size=10)
    org.change(max_batches=3)
    for _ in range(4):
        with pytest.raises(Paused, match="Daily batch allocation") as caught:
            slice_.upload(max_concurrent_jobs=1)
        assert "within 24 hours" in caught.value.next_step
    org.change(max_batches=1000)
    slice_.upload()
    balanced(slice_, org, keys)


@pytest.mark.parametrize(
    ("message", "failure"),
    [
        ("InvalidBatch : Field name not found : X", "final"),
        ("null:InvalidBatch : InvalidBatch : Field name not found : X", "final"),
        ("InvalidBatch : Batch retried more than 20 times", "passing"),
        ("ClientInputError : LineEnding is invalid on user data", "final"),
        ("TooManyLockFailure : Too many lock failure 200", "passing"),
        ("ExceededQuota : Daily record limit exceeded", "quota"),
        ("Something : else", "passing"),
        ("", "passing"),
    ],
)
def test_the_message_of_a_job_says_whether_it_would_fail_again(message, failure):
    assert reasons.of_job(message) == failure


# hooks


def test_who_may_not_begin_pauses_and_what_runs_is_followed_to_its_end(org, slice_):
    keys = slice_.stage(60, batch_size=10)
    asked = []

    def may_begin(batch):
        asked.append(batch.number)
        if len(asked) > 2:
            raise Paused("The reserve is reached.", "Run again later.")

    with pytest.raises(Paused, match="reserve"):
        slice_.upload(may_begin=may_begin, max_concurrent_jobs=1)
    assert asked == [1, 2, 3]
    assert slice_.states() == ["fetched"] * 2
    slice_.upload()
    balanced(slice_, org, keys)


def test_jobs_of_the_same_user_and_object_are_listed_and_never_touched(org, slice_):
    slice_.stage(ROWS)
    loader = slice_.loader()
    foreign, other = loader.create_job(), slice_.loader(sobject="Account", operation="insert").create_job()
    slice_.upload()
    known = [attempt.job_id for attempt in slice_.ledger.attempts()]
    assert [job["id"] for job in loader.others(known)] == [foreign]
    states = {job["id"]: job["state"] for job in org.jobs()}
    assert (states[foreign], states[other]) == ("Open", "Open")


# operations


def there(org, slice_, keys):
    """Records that stood in the org before, one more than the slice names among them."""
    for key in (*keys, "OTHER"):
        slice_.client.send("PATCH", f"/sobjects/{OBJECT}/{FIELD}/{key}", json={"Name": "before"})


def names_in(org):
    return {row[FIELD]: row["Name"] for row in org.rows(OBJECT)}


def test_an_update_changes_records_by_id_and_a_row_without_a_record_fails(org, slice_):
    keys = slice_.stage(25, batch_size=10)
    there(org, slice_, keys[:20])
    org.faults.add("lock-rows", object=OBJECT, rows=4)
    org.faults.add("drop-result", object=OBJECT, path="successful", rows=2)
    slice_.upload(operation="update", max_concurrent_jobs=1)
    assert names_in(org) == {"OTHER": "before"} | {key: f"สินค้า {key}" for key in keys[:20]}
    books = slice_.books(before=21, after=org.count(OBJECT))
    assert [check.name for check in books.checks if not check.holds] == []
    assert (books.success, books.updated, books.failed) == (20, 20, 5)
    assert books.verdict == "complete with exceptions"
    (line,) = failures(slice_.ledger, slice_.data, slice_.logs, FIELD).rows(named=True)
    assert (line["code"], line["rows"], line["key"]) == ("NOT_FOUND", 5, "P00020")


def test_a_delete_takes_its_records_and_no_other_and_what_is_not_there_is_done(org, slice_):
    keys = slice_.stage(25, batch_size=10)
    there(org, slice_, keys[:20])
    org.faults.add("drop-result", object=OBJECT, path="successful", rows=2)
    slice_.upload(operation="delete", max_concurrent_jobs=1)
    assert keys_in(org) == ["OTHER"]
    books = slice_.books(before=21, after=org.count(OBJECT))
    assert [check.name for check in books.checks if not check.holds] == []
    assert (books.success, books.removed, books.created, books.verdict) == (25, 18, 0, "complete")


def test_a_delete_that_is_refused_is_a_failed_row_with_its_key(org, slice_, monkeypatch):
    keys = slice_.stage(3)
    there(org, slice_, keys)
    loader = slice_.loader(operation="delete")
    monkeypatch.setattr(type(loader), "close_job", vanishing(org, slice_, keys[0], type(loader).close_job))
    slice_.upload(operation="delete")
    (line,) = failures(slice_.ledger, slice_.data, slice_.logs, FIELD).rows(named=True)
    assert (line["code"], line["key"]) == ("ENTITY_IS_DELETED", keys[0])
    assert slice_.books().failed == 1


def vanishing(org, slice_, key, close):
    """Closes a job after somebody else has deleted one of its records."""
    (record,) = [row["Id"] for row in org.rows(OBJECT) if row[FIELD] == key]

    def close_later(self, job_id):
        slice_.client.send("DELETE", f"/sobjects/{OBJECT}/{record}")
        close(self, job_id)

    return close_later


def test_an_insert_of_a_key_that_is_there_fails_and_changes_nothing(org, slice_):
    keys = slice_.stage(5)
    there(org, slice_, keys[:1])
    slice_.upload(operation="insert")
    assert names_in(org)[keys[0]] == "before"
    books = slice_.books(before=2, after=org.count(OBJECT))
    assert (books.created, books.failed, books.verdict) == (4, 1, "complete with exceptions")


def test_a_slice_is_not_continued_with_another_operation(org, slice_):
    slice_.stage(5)
    slice_.upload(operation="insert")
    with pytest.raises(LedgerError, match="operation = insert"):
        slice_.upload(operation="upsert")


# killed at any write


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", range(2, 18, 3))
def test_an_insert_that_is_killed_at_any_write_of_the_ledger_is_in_the_org_once(org, slice_, number, moment):
    keys = slice_.stage(ROWS, batch_size=15)
    slice_.operation = "insert"
    org.faults.add("lock-rows", object=OBJECT, rows=4)
    org.faults.add("drop-result", object=OBJECT, path="successful", rows=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "_transaction", killing(number, moment))
        with pytest.raises(Killed):
            slice_.upload(max_concurrent_jobs=1)
    slice_.upload()
    balanced(slice_, org, keys)


def killing(number, moment):
    """A transaction that is the last act of its process, when it is the one of that number."""
    original, seen = Ledger._transaction, itertools.count(1)

    @contextlib.contextmanager
    def transaction(self):
        last = next(seen) == number
        if last and moment == "before":
            raise Killed
        with original(self) as db:
            yield db
        if last:
            raise Killed

    return transaction


# everything at once


@pytest.mark.parametrize(("operation", "seed"), [("upsert", 0), ("insert", 1), ("insert", 2)])
def test_after_any_mix_of_faults_the_target_equals_the_source_and_the_books_balance(
    org, slice_, lines, seed, operation
):
    keys = lines(batch_size=40)
    dice = random.Random(seed)
    for kind, rate, given in (
        ("lock-rows", 0.3, {"rows": 7, "object": OBJECT}),
        ("fail-job", 0.1, {"object": OBJECT}),
        ("lose-batch", 0.1, {"object": OBJECT}),
        ("drop-result", 0.2, {"path": "successful", "rows": 3}),
        ("503", 0.05, {"path": "jobs/ingest"}),
        ("reset-after", 0.05, {"path": "jobs/ingest"}),
        ("reset-during", 0.1, {"method": "PUT", "path": "batches"}),
    ):
        org.faults.add(kind, times=6, rate=rate, seed=dice.randrange(1000), **given)
    rounds = Rounds(most=10, pause=0, parent="Name")
    for _ in range(20):
        try:
            slice_.upload(rounds=rounds, operation=operation, max_concurrent_jobs=4)
        except TransientError:
            continue  # the next run goes on
        break
    assert not due(slice_.ledger, rounds)
    balanced(slice_, org, keys)
    assert sum(one.success for one in outcomes(slice_.ledger, slice_.data, slice_.logs, FIELD)) == len(keys)
