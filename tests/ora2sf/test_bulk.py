"""One staged file, one job: filling, closing, following, fetching; and many of them side by side."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import os
import signal
import threading
import time

import pytest
import requests
import responses
from staged import FIELD, OBJECT, SECRET, answering, calls, keys_in, reply

from fakeforce.ingest import Ingest
from ora2sf.batches import PlainText
from ora2sf.errors import JobTimeout, NotFoundError, RunFolderError, TargetError, TargetUnavailable
from ora2sf.ledger import KINDS
from ora2sf.salesforce import Journal, SalesforceBulkLoader, bulk

JOBS = "/jobs/ingest"
TEXT = "ProductCode,Name\n" + "".join(f"P{number:03d},ชื่อ {number}\n" for number in range(300))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "logs").mkdir()
    return tmp_path


@pytest.fixture
def make_loader(folder, client):
    def make(**changes):
        settings = {"logs": folder / "logs", "poll_interval": 0.02} | changes
        return SalesforceBulkLoader(client, OBJECT, FIELD, **settings)

    return make


@pytest.fixture
def loader(make_loader):
    return make_loader()


@pytest.fixture
def make_file(folder):
    def make(text=TEXT, name="product_00001.csv.gz"):
        path = folder / name
        data = text.encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return make


@pytest.fixture
def make_files(make_file):
    def make(number):
        return [
            make_file(f"ProductCode,Name\nF{n:02d},name\n", f"product_{n:05d}.csv.gz") for n in range(number)
        ]

    return make


def job_states(org):
    return [job["state"] for job in org.jobs()]


def test_a_file_becomes_one_job_with_its_rows_and_three_result_files(org, loader, make_file):
    end = loader.load_file(make_file())
    assert (end.state, end.processed, end.failed, end.message) == ("JobComplete", 300, 0, "")
    assert [file.kind for file in end.files] == list(KINDS)
    assert org.count(OBJECT) == 300
    assert job_states(org) == ["JobComplete"]


@pytest.mark.parametrize("name", ["plain.csv", "packed.csv.gz"])
def test_a_file_may_be_packed_or_plain(org, loader, make_file, name):
    loader.load_file(make_file(name=name))
    assert org.count(OBJECT) == 300


def test_the_journal_hears_of_each_act_in_order(org, loader, make_file):
    heard = []

    class Heard(Journal):
        def __getattribute__(self, name):
            return lambda *_given: heard.append(name)

    org.change(job_delay=0.3)  # so that the job is not at its end when it is first looked at
    loader.load_file(make_file(), Heard())
    assert heard == ["intended", "created", "uploaded", "closing", "closed", "ended", "fetched"]


def test_result_files_are_named_by_object_and_job_and_are_what_the_server_returned(
    org, client, loader, make_file, folder
):
    org.faults.add("row-error", object=OBJECT, rows=7)
    end = loader.load_file(make_file())
    assert end.failed == 7
    paths = {"success": "successfulResults", "failed": "failedResults", "unprocessed": "unprocessedrecords"}
    token = client._tokens.current()["access_token"]
    for file in end.files:
        assert file.path == folder / "logs" / f"Product2_{end.job_id}_{file.kind}.csv"
        address = f"{org.url}/services/data/v66.0{JOBS}/{end.job_id}/{paths[file.kind]}"
        served = requests.get(address, headers={"Authorization": f"Bearer {token}"}, timeout=10).content
        assert file.path.read_bytes() == served
        assert file.sha256 == hashlib.sha256(served).hexdigest()
    assert sorted(path.name for path in (folder / "logs").iterdir()) == sorted(
        file.path.name for file in end.files
    )


def test_an_answer_204_is_an_empty_result_file(connect, loader):
    host = "https://example.my.salesforce.com"
    connect(host)
    with responses.RequestsMock() as mock:
        mock.post(
            f"{host}/services/oauth2/token",
            json={"access_token": "t", "instance_url": host, "token_type": "Bearer"},
        )
        for name in ("successfulResults", "failedResults", "unprocessedrecords"):
            mock.get(f"{host}/services/data/v66.0{JOBS}/750x/{name}", status=204)
        files = loader.fetch_results("750x")
    assert [file.path.read_bytes() for file in files] == [b"", b"", b""]


def test_the_body_is_streamed_with_the_length_of_the_plain_text(connect, client, loader, make_file):
    seen = {}

    def answer(request, body):
        if request.path.endswith("token"):
            reply(
                request, 200, json.dumps({"access_token": "t", "instance_url": url, "token_type": "Bearer"})
            )
            return
        seen.update(headers=dict(request.headers), body=body)
        reply(request, 201)

    with answering(answer) as url:
        connect(url)
        loader.upload_data("750x", make_file())
        client.close()
    assert seen["body"] == TEXT.encode()
    assert seen["headers"]["Content-Length"] == str(len(TEXT.encode()))
    assert seen["headers"]["Content-Type"] == "text/csv; charset=UTF-8"
    assert "Transfer-Encoding" not in seen["headers"]
    assert "Content-Encoding" not in seen["headers"]


@pytest.mark.parametrize(
    "fault",
    [
        *("reset-before", "reset-during", "reset-after"),
        *("503", "500", "502", "429", "403", "403-concurrent"),
    ],
)
def test_a_broken_upload_costs_its_job_and_a_new_job_takes_the_file(org, loader, make_file, fault):
    org.faults.add(fault, method="PUT", path="batches", retry_after="0")
    end = loader.load_file(make_file())
    assert job_states(org) == ["Aborted", "JobComplete"]
    assert end.job_id == org.jobs()[1]["id"]
    assert len(keys_in(org)) == 300
    assert sum(job["processed"] for job in org.jobs()) == 300


def test_an_upload_that_breaks_every_time_is_given_up_and_commits_nothing(org, loader, make_file):
    org.faults.add("reset-during", method="PUT", path="batches", times=9)
    given_up = []

    class Notes(Journal):
        def given_up(self, reason):
            given_up.append(reason)

    with pytest.raises(TargetUnavailable, match="No answer from"):
        loader.load_file(make_file(), Notes())
    assert job_states(org) == ["Aborted"] * 3
    assert len(given_up) == 3
    assert org.count(OBJECT) == 0


def test_a_pause_that_the_server_asks_for_is_kept_between_two_uploads(
    org, client, loader, make_file, monkeypatch
):
    pauses = []
    monkeypatch.setattr(client.stop, "wait", lambda seconds: pauses.append(seconds) and None)
    org.faults.add("429", method="PUT", path="batches", retry_after="33")
    loader.load_file(make_file())
    assert 33 in pauses


def test_an_expired_token_in_the_middle_of_an_upload_sends_the_whole_file_again(org, loader, make_file):
    job_id = loader.create_job()
    org.expire_tokens()
    loader.upload_data(job_id, make_file())
    assert calls(org, "PUT", "/batches") == [401, 201]
    loader.close_job(job_id)
    assert loader.wait_for_job(job_id).processed == 300


def test_an_upload_that_hangs_runs_into_the_time_limit_and_a_new_job_takes_the_file(
    org, make_client, folder, make_file
):
    client = make_client(timeout=(5.0, 0.3))
    loader = SalesforceBulkLoader(client, OBJECT, FIELD, logs=folder / "logs", poll_interval=0.02)
    org.faults.add("stall", method="PUT", delay=0.9)
    loader.load_file(make_file())
    assert job_states(org) == ["Aborted", "JobComplete"]
    assert len(keys_in(org)) == 300


@pytest.mark.parametrize("fault", ["reset-after", "cut-answer"])
def test_a_job_whose_creation_was_not_answered_stays_empty_and_open_and_commits_nothing(
    org, loader, make_file, fault
):
    org.faults.add(fault, method="POST", path="ingest")
    end = loader.load_file(make_file())
    lost, ours = org.jobs()
    assert (lost["state"], lost["uploaded"]) == ("Open", 0)
    assert (ours["id"], ours["state"]) == (end.job_id, "JobComplete")
    assert len(keys_in(org)) == 300
    org.clock.push(24 * 3600 + 1)
    assert job_states(org) == ["Aborted", "JobComplete"]  # the org ends what stays Open for a day


@pytest.mark.parametrize("fault", ["reset-before", "reset-after", "cut-answer", "503"])
def test_an_abort_whose_outcome_is_not_known_is_looked_up(org, loader, fault):
    job_id = loader.create_job()
    org.faults.add(fault, method="PATCH")
    loader.abort_job(job_id)
    assert job_states(org) == ["Aborted"]
    assert calls(org, "PATCH", job_id)[1:] == ([200] if fault in {"reset-before", "503"} else [])


@pytest.mark.parametrize("fault", ["reset-after", "cut-answer", "503", "403", "429", "401"])
def test_a_look_at_a_job_that_fails_is_taken_again(org, loader, make_file, fault):
    org.faults.add(fault, method="GET", path="/ingest/750", times=1, retry_after="0")
    assert loader.load_file(make_file()).processed == 300
    assert len(org.jobs()) == 1


@pytest.mark.parametrize("repeat", [1, 2])
def test_a_close_whose_answer_is_lost_is_looked_up_and_not_repeated(org, loader, make_file, repeat):
    for _ in range(repeat - 1):
        org.faults.add("reset-before", method="PATCH")
    org.faults.add("reset-after", method="PATCH")
    end = loader.load_file(make_file())
    assert end.state == "JobComplete"
    (job_id,) = [job["id"] for job in org.jobs()]
    assert calls(org, "PATCH", job_id) == [0] * repeat


def test_a_close_that_never_arrives_leaves_the_job_open(org, loader, make_file):
    org.faults.add("503", method="PATCH", times=9)
    with pytest.raises(TargetUnavailable):
        loader.load_file(make_file())
    assert job_states(org) == ["Open"]
    assert org.count(OBJECT) == 0


def test_closing_an_aborted_job_is_an_error(org, loader):
    job_id = loader.create_job()
    loader.abort_job(job_id)
    with pytest.raises(TargetError, match="Closing already Aborted"):
        loader.close_job(job_id)


def test_aborting_twice_is_no_error_and_aborting_an_unknown_job_neither(org, loader):
    job_id = loader.create_job()
    loader.abort_job(job_id)
    loader.abort_job(job_id)
    loader.abort_job("750000000000999AAA")
    assert job_states(org) == ["Aborted"]


def test_aborting_a_finished_job_is_an_error(org, loader, make_file):
    end = loader.load_file(make_file())
    with pytest.raises(TargetError, match="Completed"):
        loader.abort_job(end.job_id)


def test_a_job_that_takes_too_long_is_left_running(org, make_loader, make_file):
    org.hold_jobs()
    with pytest.raises(JobTimeout, match=r"after 0\.05 seconds") as caught:
        make_loader(job_timeout=0.05).load_file(make_file())
    assert "to follow it" in caught.value.next_step
    assert job_states(org)[0] in {"UploadComplete", "InProgress"}
    org.release_jobs()
    assert make_loader().follow(org.jobs()[0]["id"]).processed == 300


def test_results_in_gzip_that_break_off_are_fetched_again(org, connect, client, loader, folder):
    text = ('"sf__Id","sf__Created",P\n' + '"a","true","x"\n' * 5000).encode()
    packed, asked = gzip.compress(text), itertools.count(1)

    def answer(request, _body):
        if request.path.endswith("token"):
            token = {"access_token": "t", "instance_url": url, "token_type": "Bearer"}
            reply(request, 200, json.dumps(token))
            return
        whole = next(asked) > 1
        reply(request, 200, packed if whole else packed[:-20], "text/csv", Content_Encoding="gzip")

    with answering(answer) as url:
        connect(url)
        files = loader.fetch_results("750x")
        client.close()
    assert [file.path.read_bytes() for file in files] == [text] * 3
    assert next(asked) == 5


def test_a_job_in_a_state_that_nobody_knows_is_an_error(loader, monkeypatch):
    monkeypatch.setattr(loader, "job", lambda _job: {"id": "750x", "state": "Paused"})
    with pytest.raises(TargetError, match="not known: Paused"):
        loader.wait_for_job("750x")


@pytest.mark.parametrize("operation", ["insert", "upsert"])
def test_only_an_upsert_names_the_external_id(org, make_loader, make_file, operation):
    make_loader(operation=operation).load_file(make_file())
    (job,) = org.jobs()
    assert job["operation"] == operation
    assert job["external_id_field"] == (FIELD if operation == "upsert" else None)


def test_a_failed_job_is_an_outcome_with_its_message_and_its_files(org, loader, make_file):
    end = loader.load_file(make_file("ProductCode,Nope__c\nP1,x\n"))
    assert end.state == "Failed"
    assert "Field name not found : Nope__c" in end.message
    assert [file.path.is_file() for file in end.files] == [True] * 3


def test_a_job_that_is_aborted_elsewhere_is_an_outcome_too(org, loader, make_file):
    org.hold_jobs()

    class AbortedMeanwhile(Journal):
        def closed(self):
            loader.abort_job(org.jobs()[0]["id"])

    end = loader.load_file(make_file(), AbortedMeanwhile())
    assert (end.state, end.processed) == ("Aborted", 0)
    assert end.files[2].path.read_text().count("\n") == 301


@pytest.mark.parametrize("fault", ["reset-before", "reset-after", "cut-answer", "503"])
def test_results_that_break_off_are_fetched_again(org, loader, make_file, fault):
    org.faults.add(fault, method="GET", path="successfulResults", times=2)
    end = loader.load_file(make_file())
    assert end.files[0].path.read_text().count("\n") == 301


@pytest.mark.parametrize(
    ("text", "length"),
    [('"sf__Id","sf__Created",P\n', "9999"), ('"sf__Id","sf__Created",P\n"a","true","be\n', None)],
    ids=["shorter than announced", "within a row"],
)
def test_results_that_break_off_every_time_leave_no_file_under_their_name(
    org, connect, client, loader, folder, text, length
):
    def answer(request, _body):
        if request.path.endswith("token"):
            reply(
                request, 200, json.dumps({"access_token": "t", "instance_url": url, "token_type": "Bearer"})
            )
            return
        reply(request, 200, text, "text/csv", **({"Content_Length": length} if length else {}))
        request.close_connection = True

    with answering(answer) as url:
        connect(url)
        with pytest.raises(TargetUnavailable, match="broke off"):
            loader.fetch_results("750x")
        client.close()
    assert [path.suffix for path in (folder / "logs").iterdir()] == [".part"]


def test_results_that_cannot_be_saved_name_the_folder(org, loader, make_file, folder):
    (folder / "logs").rmdir()
    with pytest.raises(RunFolderError, match="logs: No such file or directory"):
        loader.load_file(make_file())


def test_results_of_a_job_that_is_gone_are_not_found(org, loader):
    with pytest.raises(NotFoundError):
        loader.fetch_results("750000000000999AAA")


# damaged files


def truncated(path, _text):
    path.write_bytes(path.read_bytes()[:-30])


def bit_flipped(path, _text):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(bytes(data))


def other_text_of_the_same_size(path, text):
    path.write_bytes(gzip.compress(text.replace("P299", "P298").encode()))


def longer(path, text):
    path.write_bytes(gzip.compress((text + "P999,x\n").encode()))


def shorter(path, text):
    path.write_bytes(gzip.compress(text[:-40].encode()))


def empty(path, _text):
    path.write_bytes(b"")


def no_gzip(path, text):
    path.write_bytes(text.encode())


def missing(path, _text):
    path.unlink()


@pytest.mark.parametrize(
    "damage", [truncated, bit_flipped, other_text_of_the_same_size, longer, shorter, empty, no_gzip, missing]
)
def test_a_file_that_is_not_what_was_staged_is_refused_before_the_server_takes_it_for_whole(
    org, loader, make_file, damage
):
    path, data = make_file(), TEXT.encode()
    damage(path, TEXT)
    with pytest.raises(RunFolderError) as caught:
        loader.load_file(path, size=len(data), sha256=hashlib.sha256(data).hexdigest())
    assert path.name in caught.value.what
    assert "Extract again" in caught.value.next_step
    assert job_states(org) == ["Aborted"]
    assert 201 not in calls(org, "PUT", "/batches")
    assert org.count(OBJECT) == 0


def test_a_file_as_it_was_staged_is_sent_whole(org, loader, make_file):
    data = TEXT.encode()
    loader.load_file(make_file(), size=len(data), sha256=hashlib.sha256(data).hexdigest())
    assert org.count(OBJECT) == 300


# packed on the wire


@pytest.fixture
def sent_packed(connect, make_loader):
    """Sends a file with ``gzip_upload`` to a server that keeps the request; returns it."""

    def send(path, **known):
        seen = {}

        def answer(request, body):
            if request.path.endswith("token"):
                token = {"access_token": "t", "instance_url": url, "token_type": "Bearer"}
                reply(request, 200, json.dumps(token))
                return
            seen.update(headers=dict(request.headers), body=body)
            reply(request, 201)

        with answering(answer) as url:
            connect(url)
            loader = make_loader(gzip_upload=True)
            loader.upload_data("750x", path, **known)
            loader._client.close()
        return seen

    return send


def test_with_gzip_upload_a_staged_file_travels_as_it_is(sent_packed, make_file):
    path, text = make_file(), TEXT.encode()
    seen = sent_packed(path, size=len(text), sha256=hashlib.sha256(text).hexdigest())
    assert seen["body"] == path.read_bytes()
    assert seen["headers"]["Content-Encoding"] == "gzip"
    assert seen["headers"]["Content-Length"] == str(path.stat().st_size)


def test_with_gzip_upload_a_plain_file_travels_plain(sent_packed, make_file):
    seen = sent_packed(make_file(name="plain.csv"))
    assert seen["body"] == TEXT.encode()
    assert "Content-Encoding" not in seen["headers"]


def test_a_packed_upload_loads_the_same_rows(org, make_loader, make_file):
    assert make_loader(gzip_upload=True).load_file(make_file()).processed == 300
    assert org.count(OBJECT) == 300


def test_an_org_that_takes_no_packed_upload_says_so(org, make_loader, make_file):
    org.change(gzip_upload=False)
    with pytest.raises(TargetError, match="Content-Encoding gzip is not supported"):
        make_loader(gzip_upload=True).load_file(make_file())
    assert job_states(org) == ["Aborted"]


# when to look at a job


def looks(pace, ends_after):
    """The moments at which a job that takes so long is looked at."""
    now, found = 0.0, [0.0]
    while now < ends_after:
        now += pace.pause(now)
        found.append(now)
    pace.ended(now)
    return found


def test_a_long_job_costs_few_looks_and_its_end_is_known_soon_after_it_came():
    pace = bulk._Pace(longest=30.0)
    first, second = looks(pace, 600.0), looks(pace, 600.0)
    assert len(first) < 90
    assert len(second) < 25
    assert 600 <= first[-1] <= 630
    assert 600 <= second[-1] <= 630


def test_a_short_job_is_looked_at_again_soon():
    pace = bulk._Pace(longest=30.0)
    looks(pace, 600.0)
    assert looks(pace, 2.0)[-1] <= 30.0  # it is taken for one like the last, until it tells otherwise
    assert looks(pace, 2.0)[:2] == [0.0, 30.0]
    for _ in range(5):
        pace.ended(1.0)
    assert looks(pace, 2.0)[-1] < 2.3


def test_no_pause_is_longer_than_the_poll_interval():
    pace = bulk._Pace(longest=0.02)
    pace.ended(100.0)
    assert {round(pace.pause(took), 9) for took in (0.0, 5.0, 5000.0)} == {0.02}


# side by side


def test_results_come_in_the_order_of_the_files(org, make_loader, make_files):
    ends = make_loader(max_concurrent_jobs=4).load_files_parallel(make_files(9))
    texts = [end.files[0].path.read_text() for end in ends]
    assert [f"F{number:02d}" in text for number, text in enumerate(texts)] == [True] * 9


def test_at_most_so_many_jobs_run_at_once(org, make_loader, make_files):
    alive = []
    org.hold_jobs()

    class Counting(Journal):
        def created(self, job_id):
            alive.append(sum(state in {"Open", "UploadComplete", "InProgress"} for state in job_states(org)))
            if len(alive) == 3:
                org.release_jobs()

    files = make_files(8)
    make_loader(max_concurrent_jobs=3).load_files_parallel(files, [Counting() for _ in files])
    assert max(alive) == 3
    assert len(keys_in(org)) == 8


def test_at_most_so_many_uploads_are_on_the_wire_at_once(org, make_loader, make_files, monkeypatch):
    now, most, lock = 0, 0, threading.Lock()
    pair = threading.Barrier(2)
    begin, end = Ingest.begin_upload, Ingest.end_upload

    def begin_upload(self, job_id):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        return begin(self, job_id)

    def end_upload(self, job, part, *, complete):
        nonlocal now
        with lock:
            now -= 1
        end(self, job, part, complete=complete)

    class InPairs(PlainText):
        def read(self, size=-1):
            if self._left == len(self):
                pair.wait(timeout=20)  # two are on the wire, or this breaks
            return super().read(size)

    monkeypatch.setattr(Ingest, "begin_upload", begin_upload)
    monkeypatch.setattr(Ingest, "end_upload", end_upload)
    monkeypatch.setattr(bulk, "PlainText", InPairs)
    make_loader(max_concurrent_jobs=8, max_concurrent_uploads=2).load_files_parallel(make_files(8))
    assert most <= 2
    assert len(keys_in(org)) == 8


def test_a_final_error_stops_before_every_file_meets_it(org, client, folder, make_files):
    loader = SalesforceBulkLoader(client, "Nope__c", FIELD, logs=folder / "logs", max_concurrent_jobs=3)
    with pytest.raises(TargetError, match="Nope__c"):
        loader.load_files_parallel(make_files(40))
    assert 1 <= len(calls(org, "POST", JOBS)) <= 3


def test_a_wrong_external_id_field_stops_before_every_file_meets_it(org, client, folder, make_files):
    loader = SalesforceBulkLoader(client, OBJECT, "Nope__c", logs=folder / "logs", max_concurrent_jobs=3)
    with pytest.raises(TargetError, match="not an external ID"):
        loader.load_files_parallel(make_files(40))
    assert len(calls(org, "POST", JOBS)) <= 3


def test_a_failed_job_stops_nothing(org, make_loader, make_files):
    org.faults.add("fail-job", object=OBJECT)
    ends = make_loader(max_concurrent_jobs=2).load_files_parallel(make_files(6))
    assert sorted(end.state for end in ends) == ["Failed"] + ["JobComplete"] * 5


def test_one_upload_that_breaks_every_time_does_not_keep_the_others_from_their_jobs(
    org, make_loader, make_files
):
    files = make_files(6)
    files[0].write_bytes(gzip.compress(b"ProductCode,Name\n" + b"X,long\n" * 1000))
    lost = "/batches"

    class BreaksTheFirst(Journal):
        def created(self, job_id):
            org.faults.add("reset-during", method="PUT", path=job_id + lost)

    with pytest.raises(TargetUnavailable):
        make_loader(max_concurrent_jobs=2).load_files_parallel(
            files, [BreaksTheFirst(), *[Journal() for _ in files[1:]]]
        )
    assert len(keys_in(org)) == 5


def test_an_org_that_stays_away_is_not_asked_for_every_file(org, make_client, folder, make_files):
    client = make_client(attempts=2)
    loader = SalesforceBulkLoader(client, OBJECT, FIELD, logs=folder / "logs", max_concurrent_jobs=2)
    org.faults.add("503", method="POST", path="ingest", times=999)
    with pytest.raises(TargetUnavailable, match="SERVER_UNAVAILABLE"):
        loader.load_files_parallel(make_files(40))
    assert len(calls(org, "POST", JOBS)) <= 2 * 3


def test_a_final_error_is_raised_before_a_transient_one(org, make_loader):
    def late():
        raise JobTimeout("late")

    def refused():
        raise TargetError("refused")

    with pytest.raises(TargetError, match="refused"):
        make_loader(max_concurrent_jobs=1).run_parallel([late, refused])


def test_an_error_that_nobody_foresaw_stops_like_a_final_one(org, make_loader):
    begun = []

    def broken():
        begun.append(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        make_loader(max_concurrent_jobs=1).run_parallel([broken] * 5)
    assert begun == [1]


def test_wrong_credentials_are_reported_once_and_begin_nothing(org, connect, make_loader, make_files):
    connect(org.url, password="wrong-one")
    intended = []

    class Notes(Journal):
        def intended(self):
            intended.append(1)

    files = make_files(20)
    with pytest.raises(Exception, match="the consumer secret is wrong") as caught:
        make_loader().load_files_parallel(files, [Notes() for _ in files])
    assert SECRET not in str(caught.value)
    assert calls(org, "POST", "/token") == [400]
    assert intended == []


def test_no_files_are_no_work_and_no_sign_in(org, loader):
    assert loader.load_files_parallel([]) == []
    assert org.calls == []


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def parked(run):
    """Runs until the interrupt; it must not wait for the next poll."""
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run()
    assert time.monotonic() - begun < 30
    for thread in threading.enumerate():
        if thread.name.startswith("job"):  # its work is done, its last line may not be
            thread.join(1)
            assert not thread.is_alive()


def test_an_interrupt_parks_the_threads_that_follow_a_job(org, make_loader, make_files):
    org.hold_jobs()
    closed = itertools.count(1)  # one thread alone counts to three: a second interrupt would hit later tests

    class Closed(Journal):
        def closed(self):
            if next(closed) == 3:
                interrupt()

    files = make_files(9)
    loader = make_loader(max_concurrent_jobs=3, poll_interval=30.0)
    parked(lambda: loader.load_files_parallel(files, [Closed() for _ in files]))
    assert len(org.jobs()) == 3
    org.release_jobs()
    assert loader.follow(org.jobs()[0]["id"]).state == "JobComplete"


def test_an_interrupt_parks_the_threads_that_wait_for_an_org_to_come_back(
    org, make_client, folder, make_files
):
    client = make_client(first_wait=60.0)
    loader = SalesforceBulkLoader(client, OBJECT, FIELD, logs=folder / "logs", max_concurrent_jobs=3)
    org.faults.add("503", method="PUT", path="batches", times=99)

    first = itertools.count(1)

    class Notes(Journal):
        def given_up(self, reason):
            if next(first) == 1:
                interrupt()

    files = make_files(3)
    parked(lambda: loader.load_files_parallel(files, [Notes() for _ in files]))
    org.faults.clear()
    assert client.limits()


def test_an_interrupt_breaks_uploads_off_and_aborts_their_jobs(org, make_loader, make_file, monkeypatch):
    stopped = threading.Event()

    class Slow(PlainText):
        def read(self, size=-1):
            if self._left == len(self):
                interrupt()
                assert stopped.wait(10)
            return super().read(64)

    loader = make_loader(max_concurrent_jobs=1)
    setting = loader._stop.set

    def stop():
        setting()
        stopped.set()

    monkeypatch.setattr(loader._stop, "set", stop)
    monkeypatch.setattr(bulk, "PlainText", Slow)
    parked(lambda: loader.load_files_parallel([make_file()]))
    assert job_states(org) == ["Aborted"]
    assert org.count(OBJECT) == 0
