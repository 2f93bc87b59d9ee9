"""The upload step: what the ledger says is carried out, and a run that ended anywhere is taken up."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time

import pytest
from staged import OBJECT, calls, keys_in

from ora2sf.errors import (
    JobTimeout,
    LedgerError,
    ParameterError,
    RunFolderError,
    TargetError,
    TargetUnavailable,
)
from ora2sf.salesforce import bulk
from ora2sf.upload import LedgerJournal, plan

ROWS = 30


def todos(slice_, start_batch=1):
    return [one.todo for one in plan(slice_.ledger, start_batch)]


def whole(slice_, org, keys):
    """Every staged row is in the org once, was processed once, and the books say so."""
    assert keys_in(org) == keys
    assert sum(job["processed"] for job in org.jobs()) == len(keys)
    books = slice_.books(after=org.count(OBJECT))
    assert [check.name for check in books.checks if not check.holds] == []
    assert (books.verdict, books.success, books.created) == ("complete", len(keys), len(keys))


def test_every_batch_becomes_one_job_and_the_ledger_ends_with_its_files(org, slice_):
    keys = slice_.stage(95, batch_size=10)
    assert todos(slice_) == ["send"] * 10
    ends = slice_.upload(max_concurrent_jobs=4)
    assert [end.processed for end in ends] == [10] * 9 + [5]
    assert slice_.states() == ["fetched"] * 10
    assert [(r.kind, r.rows) for r in slice_.ledger.results()][:3] == [
        ("failed", 0),
        ("success", 10),
        ("unprocessed", 0),
    ]
    whole(slice_, org, keys)


def test_the_limits_of_jobs_and_uploads_are_never_passed_in_a_run_of_many_batches(org, slice_, monkeypatch):
    keys, five = slice_.stage(45 * 10, batch_size=10), threading.Barrier(5)

    class InFives(bulk.PlainText):
        def read(self, size=-1):
            if self._left == len(self):
                five.wait(timeout=60)  # five are on the wire, or this breaks
            return super().read(16)

    monkeypatch.setattr(bulk, "PlainText", InFives)
    org.hold_jobs()
    seen = []
    original = LedgerJournal.closed

    def closed(self):
        original(self)
        seen.append((org.most_jobs, org.most_uploads))
        if len(seen) == 15:
            org.release_jobs()  # as many as may be are in the org

    monkeypatch.setattr(LedgerJournal, "closed", closed)
    slice_.upload(max_concurrent_jobs=15, max_concurrent_uploads=5)
    assert len(seen) >= 15  # a job that has ended when it is first looked at is not told as closed
    assert all(jobs <= 15 and uploads <= 5 for jobs, uploads in seen)
    assert org.most_jobs == 15
    assert 2 <= org.most_uploads <= 5
    whole(slice_, org, keys)


def test_a_second_upload_sends_nothing_again(org, slice_):
    slice_.stage(20, batch_size=10)
    slice_.upload()
    before = len(org.calls)
    assert todos(slice_) == ["settled"] * 2
    assert slice_.upload() == []
    assert len(org.calls) == before


def test_batches_before_start_batch_are_skipped_and_can_be_sent_later(org, slice_):
    keys = slice_.stage(30, batch_size=10)
    assert todos(slice_, 3) == ["skipped", "skipped", "send"]
    slice_.upload(start_batch=3)
    books = slice_.books(after=10)
    assert (books.verdict, books.not_sent, books.success) == ("incomplete", 20, 10)
    slice_.upload()
    whole(slice_, org, keys)


def test_a_start_batch_beyond_the_last_is_refused(slice_):
    slice_.stage(20, batch_size=10)
    with pytest.raises(ParameterError, match="there are 2"):
        plan(slice_.ledger, 3)


def test_no_batches_are_no_work(org, slice_):
    slice_.stage(0)
    assert plan(slice_.ledger, 7) == []
    assert slice_.upload() == []
    assert org.calls == []


def test_what_is_told_as_settled_is_on_disk(org, slice_):
    slice_.stage(20, batch_size=10)
    told = []
    plans = plan(slice_.ledger)
    from ora2sf.upload import upload

    def settled(one, end):
        told.append(
            (one.batch.number, [file.path.is_file() for file in end.files], len(slice_.ledger.results()) >= 3)
        )

    upload(plans, slice_.ledger, slice_.loader(), slice_.data, settled)
    assert sorted(told) == [(1, [True] * 3, True), (2, [True] * 3, True)]


def test_a_broken_upload_leaves_two_attempts_and_the_rows_once(org, slice_):
    keys = slice_.stage(ROWS)
    org.faults.add("reset-after", method="PUT", path="batches")
    slice_.upload()
    assert slice_.states() == ["given_up", "fetched"]
    assert [job["state"] for job in org.jobs()] == ["Aborted", "JobComplete"]
    whole(slice_, org, keys)


def test_an_org_that_is_away_leaves_the_batches_resumable(org, slice_):
    keys = slice_.stage(ROWS, batch_size=10)
    slice_.client.limits()
    org.faults.add("503", path="ingest", times=999)
    with pytest.raises(TargetUnavailable):
        slice_.upload()
    assert set(slice_.states()) == {"given_up"}
    org.faults.clear()
    slice_.upload()
    whole(slice_, org, keys)


def test_a_job_that_takes_too_long_is_followed_by_the_next_upload(org, slice_):
    keys = slice_.stage(ROWS)
    org.hold_jobs()
    with pytest.raises(JobTimeout, match="to follow it"):
        slice_.upload(job_timeout=0.05)
    assert slice_.states() == ["closed"]
    assert todos(slice_) == ["follow"]
    org.release_jobs()
    slice_.upload()
    assert len(org.jobs()) == 1
    whole(slice_, org, keys)


def test_a_job_that_fails_half_way_counts_what_it_did(org, slice_):
    slice_.stage(10_100, batch_size=20_000)
    org.faults.add("fail-job", object=OBJECT, skip=1)
    slice_.upload(rounds=None)
    books = slice_.books(after=org.count(OBJECT))
    assert books.success + books.unprocessed == 10_100
    assert 0 < books.success < 10_100
    assert books.verdict == "incomplete"


def test_refused_rows_are_failed_rows_in_the_books(org, slice_):
    slice_.stage(ROWS)
    org.faults.add("row-error", object=OBJECT, rows=4, error="FIELD_CUSTOM_VALIDATION_EXCEPTION:no")
    slice_.upload()
    books = slice_.books(after=org.count(OBJECT))
    assert (books.verdict, books.failed, books.success) == ("complete with exceptions", 4, ROWS - 4)


def test_rows_that_no_result_file_knows_do_not_balance_until_they_are_looked_up(org, slice_):
    slice_.stage(ROWS)
    org.faults.add("lose-batch", object=OBJECT)
    slice_.upload(rounds=None)
    books = slice_.books(after=org.count(OBJECT))
    assert (books.verdict, books.unknown) == ("does not balance", ROWS)


def test_a_staged_file_that_was_changed_is_refused_and_the_others_are_safe(org, slice_):
    slice_.stage(20, batch_size=10)
    one, other = (slice_.data / batch.file for batch in slice_.ledger.batches())
    one.write_bytes(other.read_bytes())  # the same size, other rows
    with pytest.raises(RunFolderError, match="not the one that was staged"):
        slice_.upload(max_concurrent_jobs=1)
    assert org.count(OBJECT) == 0
    assert slice_.states() == ["given_up"]


def test_an_interrupt_leaves_a_ledger_from_which_the_next_upload_goes_on(org, slice_, monkeypatch):
    keys = slice_.stage(90, batch_size=10)
    org.hold_jobs()
    closed = itertools.count(1)
    original = LedgerJournal.closed

    def interrupting(self):
        original(self)
        if next(closed) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(LedgerJournal, "closed", interrupting)
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        slice_.upload(max_concurrent_jobs=3, poll_interval=60.0)
    assert time.monotonic() - begun < 30  # far less than a poll
    assert set(slice_.states()) <= {"closed", "given_up"}
    assert slice_.states().count("closed") >= 2
    org.release_jobs()
    slice_.upload()
    whole(slice_, org, keys)


# resume: the state in the ledger against the state in the org


class Left:
    """What a killed run left: brings attempt and job to a state, act by act."""

    def __init__(self, slice_, org):
        self.slice, self.org, self.loader = slice_, org, slice_.loader()
        (self.batch,) = slice_.ledger.batches()
        self.note = LedgerJournal(slice_.ledger, 1)
        self.job = ""

    def intended(self):
        self.note.intended()

    def created(self):
        self.intended()
        self.job = self.loader.create_job()
        self.note.created(self.job)

    def filled(self):
        self.loader.upload_data(self.job, self.slice.data / self.batch.file, self.batch.bytes)

    def uploaded(self):
        self.created()
        self.filled()
        self.note.uploaded()

    def closing(self):
        self.uploaded()
        self.note.closing()

    def closed(self):
        self.closing()
        self.loader.close_job(self.job)
        self.note.closed()

    def ended(self):
        self.closed()
        self.note.ended(self.loader.wait_for_job(self.job))

    def gone(self):
        """The job has ended or is aborted, and then deleted."""
        if next(job for job in self.org.jobs() if job["id"] == self.job)["state"] not in bulk.ENDED:
            self.loader.abort_job(self.job)
        self.slice.client.send("DELETE", f"/jobs/ingest/{self.job}")

    def finished(self):
        self.loader.close_job(self.job)
        assert self.org.wait_idle()


def nothing(_left):
    """The server's side is as the ledger's."""


def orphan_job(left):
    left.loader.create_job()


def data_is_in(left):
    left.filled()


def aborted(left):
    left.loader.abort_job(left.job)


def close_arrived(left):
    left.loader.close_job(left.job)


def close_arrived_and_is_held(left):
    left.org.hold_jobs()
    left.loader.close_job(left.job)


def finished(left):
    left.finished()


def gone(left):
    left.gone()


def worked_on(left):
    assert left.org.wait_idle()


SAFE = [
    ("intended", nothing, 1),
    ("intended", orphan_job, 1),
    ("created", nothing, 1),
    ("created", data_is_in, 1),
    ("created", aborted, 1),
    ("created", gone, 1),
    ("uploaded", nothing, 1),
    ("uploaded", aborted, 1),
    ("uploaded", gone, 1),
    ("closing", nothing, 1),
    ("closing", close_arrived, 0),
    ("closing", close_arrived_and_is_held, 0),
    ("closing", finished, 0),
    ("closed", nothing, 0),
    ("closed", worked_on, 0),
    ("ended", nothing, 0),
]


@pytest.mark.parametrize(("state", "server", "new_jobs"), SAFE)
def test_a_run_that_ended_there_is_taken_up_with_every_row_once(org, slice_, state, server, new_jobs):
    keys = slice_.stage(ROWS)
    left = Left(slice_, org)
    getattr(left, state)()
    server(left)
    posted = len(calls(org, "POST", "/jobs/ingest"))
    org.release_jobs()
    slice_.upload()
    assert len(calls(org, "POST", "/jobs/ingest")) - posted == new_jobs
    assert slice_.states()[-1] == "fetched"
    assert slice_.states()[:-1] == ["given_up"] * new_jobs
    whole(slice_, org, keys)


@pytest.mark.parametrize(("state", "server"), [case[:2] for case in SAFE])
def test_an_insert_that_ended_there_is_taken_up_with_every_row_once(org, slice_, state, server):
    keys = slice_.stage(ROWS)
    slice_.operation = "insert"
    left = Left(slice_, org)
    getattr(left, state)()
    server(left)
    org.release_jobs()
    slice_.upload()
    whole(slice_, org, keys)


def test_a_given_up_attempt_is_followed_by_a_new_one(org, slice_):
    keys = slice_.stage(ROWS)
    left = Left(slice_, org)
    left.created()
    left.loader.abort_job(left.job)
    left.note.given_up("upload broken off")
    slice_.upload()
    assert slice_.states() == ["given_up", "fetched"]
    whole(slice_, org, keys)


def test_an_open_job_of_a_killed_run_is_aborted_and_others_are_left_alone(org, slice_):
    slice_.stage(ROWS)
    left = Left(slice_, org)
    foreign = left.loader.create_job()
    left.uploaded()
    slice_.upload()
    states = {job["id"]: job["state"] for job in org.jobs()}
    assert states[foreign] == "Open"
    assert states[left.job] == "Aborted"


@pytest.mark.parametrize("state", ["created", "uploaded"])
def test_a_job_that_somebody_else_closed_is_for_a_person(org, slice_, state):
    slice_.stage(ROWS)
    left = Left(slice_, org)
    getattr(left, state)()
    left.finished()
    with pytest.raises(LedgerError, match="this run never closed it"):
        slice_.upload()
    assert len(org.jobs()) == 1


@pytest.mark.parametrize("state", ["closing", "closed"])
def test_a_job_that_somebody_else_aborted_is_an_outcome_and_its_rows_are_sent_again(org, slice_, state):
    keys = slice_.stage(ROWS)
    org.hold_jobs()
    left = Left(slice_, org)
    getattr(left, state)()
    left.loader.abort_job(left.job)
    slice_.upload(rounds=None)
    books = slice_.books(after=0)
    assert (books.verdict, books.unprocessed) == ("incomplete", ROWS)
    org.release_jobs()
    slice_.upload()
    whole(slice_, org, keys)


def test_a_job_recorded_as_closed_is_never_aborted_even_if_it_looks_open(org, slice_):
    keys = slice_.stage(ROWS)
    left = Left(slice_, org)
    left.closing()
    left.note.closed()
    slice_.upload()
    assert [job["state"] for job in org.jobs()] == ["JobComplete"]
    whole(slice_, org, keys)


def test_results_that_could_not_be_fetched_are_collected_by_the_next_upload(org, slice_):
    keys = slice_.stage(ROWS)
    org.faults.add("503", path="failedResults", times=99)
    with pytest.raises(TargetUnavailable):
        slice_.upload()
    assert todos(slice_) == ["collect"]
    org.faults.clear()
    slice_.upload()
    assert len(org.jobs()) == 1
    whole(slice_, org, keys)


def test_an_unknown_object_begins_no_more_than_the_lanes_hold(org, slice_):
    slice_.stage(200, batch_size=10)
    with pytest.raises(TargetError, match="Nope__c"):
        slice_.upload(sobject="Nope__c", max_concurrent_jobs=2)
    assert 1 <= len(slice_.states()) <= 2
    assert set(slice_.states()) == {"given_up"}
