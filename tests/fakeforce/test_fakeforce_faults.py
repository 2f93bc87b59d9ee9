import pytest
import requests

DATA = "ProductCode,Name\n" + "".join(f"P{i:04d},x\n" for i in range(400))


@pytest.mark.parametrize(
    ("kind", "status"), [("503", 503), ("500", 500), ("502", 502), ("429", 429), ("403", 403), ("401", 401)]
)
def test_an_answer_fault_strikes_the_next_n_matching_calls(org, client, kind, status):
    org.faults.add(kind, method="GET", path="/limits$", times=2)
    assert client.call("GET", "/sobjects").status_code == 200
    assert [client.call("GET", "/limits").status_code for _ in range(3)] == [status, status, 200]


def test_a_429_says_when_to_come_back_and_a_500_is_html(org, client):
    org.faults.add("429", retry_after="7")
    assert client.call("GET", "/limits").headers["retry-after"] == "7"
    org.faults.add("500")
    assert client.call("GET", "/limits").headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(("kind", "created"), [("reset-before", 0), ("reset-during", 0), ("reset-after", 1)])
def test_a_reset_strikes_before_during_or_after_the_call_was_handled(org, client, kind, created):
    org.faults.add(kind, method="POST", path="jobs/ingest")
    with pytest.raises(requests.ConnectionError):
        client.call("POST", "/jobs/ingest", json={"object": "Product2", "operation": "insert"})
    assert len(org.jobs()) == created
    assert org.calls[-1] == ("POST", "/services/data/v66.0/jobs/ingest", 0)


def test_a_reset_during_an_upload_leaves_the_job_open_and_empty(org, client):
    job = client.create()
    org.faults.add("reset-during", method="PUT")
    with pytest.raises(requests.ConnectionError):
        client.upload(job, DATA)
    assert client.upload(job, DATA).status_code == 201


def test_locked_rows_fail_with_the_known_text_and_go_through_when_sent_again(org, client):
    org.faults.add("lock-rows", object="Product2", rows=3)
    job, info = client.load(DATA)
    failed = client.table(job, "failed")
    assert info["numberRecordsFailed"] == len(failed) == 3
    text = "UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record:--"
    assert {row["sf__Error"] for row in failed} == {text}
    assert client.load(DATA)[1]["numberRecordsFailed"] == 0


def test_a_job_can_fail_half_way_with_rows_written_and_rows_unprocessed(org, client):
    org.faults.add("fail-job", object="Product2", skip=1)
    data = "ProductCode,Name\n" + "".join(f"P{i:05d},x\n" for i in range(10_200))
    job, info = client.load(data)
    assert info["state"] == "Failed"
    assert info["errorMessage"].startswith("TooManyLockFailure : ")
    done, left = client.table(job, "successful"), client.table(job, "unprocessed")
    assert len(done) == org.count("Product2") == info["numberRecordsProcessed"] > 0
    assert len(done) + len(left) == 10_200


def test_a_lost_batch_leaves_its_rows_in_no_file(org, client):
    org.faults.add("lose-batch")
    job, info = client.load(DATA)
    assert info["state"] == "JobComplete"
    assert [client.table(job, kind) for kind in ("successful", "failed", "unprocessed")] == [[], [], []]


def test_faults_settings_clock_and_tokens_can_be_steered_over_http(org, client):
    def admin(path, /, **body):
        return client.http.post(f"{org.url}/fakeforce/{path}", json=body, timeout=10)

    assert admin("faults", kind="503", path="limits").json()[0]["kind"] == "503"
    assert client.call("GET", "/limits").status_code == 503
    assert admin("settings", hold_jobs=True).json()["hold_jobs"] is True
    admin("clock", push=8000)
    assert client.call("GET", "/limits").status_code == 401
    client.login()
    admin("tokens/expire")
    assert client.call("GET", "/limits").status_code == 401


@pytest.mark.parametrize(
    ("path", "body"),
    [("faults", {"kind": "nope"}), ("faults", {"kind": "503", "colour": 1}), ("settings", {"nope": 1})],
)
def test_an_unknown_fault_or_setting_is_refused_with_its_name(org, path, body):
    reply = requests.post(f"{org.url}/fakeforce/{path}", json=body, timeout=10)
    assert reply.status_code == 400
    assert "nope" in reply.text or "colour" in reply.text


def test_a_delayed_job_waits_for_the_clock(org, client):
    org.change(job_delay=3600.0)
    job = client.create()
    client.upload(job, DATA)
    assert client.patch(job, "UploadComplete").json()["state"] == "UploadComplete"
    assert client.info(job)["state"] == "UploadComplete"
    org.clock.push(3700)
    assert client.wait(job)["state"] == "JobComplete"
