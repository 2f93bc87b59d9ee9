"""What helps to measure a client: rows that cost nothing, peaks, and the time from the first call to the last."""

import pytest

DATA = "ProductCode,Name\n" + "".join(f"P{i:05d},plain\n" for i in range(10_050)) + 'Q1,"two\nlines, ""q"""\n'


@pytest.fixture
def state(org, client):
    return lambda: client.http.get(f"{org.url}/fakeforce/state", timeout=10).json()


def test_rows_that_are_not_kept_count_as_written_and_come_back_as_they_were_sent(org, client):
    org.change(keep_rows=False)
    job, info = client.load(DATA)
    assert (info["state"], info["numberRecordsProcessed"], info["numberRecordsFailed"]) == (
        "JobComplete",
        10_051,
        0,
    )
    assert org.count("Product2") == 0
    lines = client.result(job, "successful").partition("\n")[2]
    sent = DATA.partition("\n")[2]
    assert sorted(lines.replace('"01tFf0000000001IAA","true",', "").splitlines()) == sorted(sent.splitlines())
    assert [row["sf__Created"] for row in client.table(job, "successful")] == ["true"] * 10_051
    assert client.table(job, "failed") == client.table(job, "unprocessed") == []


def test_the_most_jobs_that_had_not_ended_are_counted(org, client, state):
    first, _ = client.create(), client.create()
    client.patch(first, "Aborted")
    client.create()
    assert (org.most_jobs, state()["most_jobs"]) == (2, 2)


def test_the_most_uploads_at_once_are_counted(org, client, state):
    jobs = [client.create() for _ in range(3)]
    begun = [org._ingest.begin_upload(job) for job in jobs[:2]]
    for job, part in begun:
        org._ingest.end_upload(job, part, complete=False)
    client.upload(jobs[2], "ProductCode\nA\n")
    assert (org.most_uploads, state()["most_uploads"]) == (2, 2)


def test_the_time_from_the_first_data_call_to_the_last_answer_begins_anew_when_calls_are_forgotten(
    org, client, state
):
    org.faults.add("slow", path="limits", delay=0.2)
    client.call("GET", "/limits")
    assert state()["calls_seconds"] >= 0.2
    assert client.http.delete(f"{org.url}/fakeforce/calls", timeout=10).json() == []
    assert (org.calls, state()["calls_seconds"]) == ([], 0)
    client.call("GET", "/limits")
    assert 0 < state()["calls_seconds"] < 0.2
