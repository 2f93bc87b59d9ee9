import pytest
import requests
from urllib3.exceptions import ProtocolError

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


def test_of_a_list_of_faults_with_a_wrong_one_none_is_added(org, client):
    for wrong in ({"kind": "nope"}, {"path": "x"}, "503"):
        rules = [{"kind": "503", "times": 0}, wrong]
        assert client.http.post(f"{org.url}/fakeforce/faults", json=rules, timeout=10).status_code == 400
    assert org.faults.shown() == []


@pytest.mark.parametrize("body", [{}, {"push": "soon"}, {"push": True}, {"push": 1e18}])
def test_a_push_of_the_clock_that_is_no_number_of_seconds_is_refused(org, client, body):
    reply = client.http.post(f"{org.url}/fakeforce/clock", json=body, timeout=10)
    assert (reply.status_code, set(reply.json())) == (400, {"error"})


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


def test_rows_can_be_reported_as_written_and_be_gone(org, client):
    org.faults.add("lose-rows", object="Product2", rows=2)
    job, info = client.load(DATA)
    told = {row["sf__Id"] for row in client.table(job, "successful")}
    assert (len(told), info["numberRecordsFailed"]) == (400, 0)
    assert len(told - {row["Id"] for row in org.rows("Product2")}) == 2


def test_rows_can_hold_another_value_than_the_one_that_was_sent(org, client):
    org.faults.add("alter-rows", object="Product2", column="Name", value="other")
    org.faults.add("alter-rows", object="Product2", column="nope", value="x")
    job, info = client.load(DATA)
    assert len(client.table(job, "successful")) == 200
    assert [row["Name"] for row in org.rows("Product2")].count("other") == 1
    assert (info["state"], "nope" in info["errorMessage"]) == ("Failed", True)


def test_a_page_of_a_query_can_lack_lines_that_its_header_counts(org, client):
    client.load(DATA)
    job, _ = client.bulk_query("SELECT ProductCode FROM Product2")
    org.faults.add("drop-result", path="query", rows=3)
    page = client.query_page(job)
    assert (page.headers["Sforce-NumberOfRecords"], page.text.count("\n")) == ("400", 398)
    assert client.query_page(job).text.count("\n") == 401


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


# ---- faults that are slow, random, or in the answer ----


def test_a_cut_answer_gives_the_head_and_a_part_of_the_body(org, client):
    job, _ = client.load(DATA)
    org.faults.add("cut-answer", method="GET", path="successfulResults")
    path, plain = f"/jobs/ingest/{job}/successfulResults", {"Accept-Encoding": "identity"}
    with client.call("GET", path, stream=True, headers=plain) as reply:
        assert reply.status_code == 200
        assert reply.raw.read(9) == b'"sf__Id",'
        with pytest.raises(ProtocolError):
            reply.raw.read()
    assert len(client.table(job, "successful")) == 400


def test_a_slow_call_is_answered_after_the_delay_that_was_set(org, client):
    org.faults.add("slow", method="PUT", delay=0.3)
    job = client.create()
    reply = client.upload(job, DATA)
    assert reply.status_code == 201
    assert reply.elapsed.total_seconds() >= 0.3


def test_a_stalled_upload_runs_into_the_clients_time_limit_and_leaves_the_job_open(org, client):
    org.faults.add("stall", method="PUT", delay=0.5)
    job = client.create()
    with pytest.raises(requests.exceptions.RequestException):
        client.http.put(f"{client.base}/jobs/ingest/{job}/batches", data=DATA, timeout=0.2)
    assert client.info(job)["state"] == "Open"
    assert client.upload(job, DATA).status_code == 201


def test_random_faults_strike_at_their_rate_and_the_same_seed_strikes_the_same_calls(org, client):
    def struck(seed):
        org.faults.clear()
        org.faults.add("503", path="/limits$", rate=0.3, seed=seed, times=0)
        return [client.call("GET", "/limits").status_code == 503 for _ in range(60)]

    first = struck(7)
    assert 5 < sum(first) < 35
    assert first == struck(7)
    assert first != struck(8)


def test_a_stuck_job_stays_inprogress_until_it_is_aborted_and_its_rows_are_unprocessed(org, client):
    org.faults.add("stick-job", object="Product2")
    job = client.create()
    client.upload(job, DATA)
    client.patch(job, "UploadComplete")
    assert org.wait_idle()
    org.clock.push(86_400)
    client.login()
    assert org.wait_idle()
    assert client.info(job)["state"] == "InProgress"
    assert client.patch(job, "Aborted").json()["state"] == "Aborted"
    assert len(client.table(job, "unprocessed")) == 400


def test_a_job_stuck_for_a_time_goes_on_when_the_clock_is_pushed(org, client):
    org.faults.add("stick-job", delay=3600)
    job = client.create()
    client.upload(job, DATA)
    client.patch(job, "UploadComplete")
    assert org.wait_idle()
    assert client.info(job)["state"] == "InProgress"
    org.clock.push(3700)
    assert client.wait(job)["state"] == "JobComplete"


def test_a_dropped_result_line_is_missing_from_one_download_only(org, client):
    job, _ = client.load(DATA)
    org.faults.add("drop-result", object="Product2", path="successful", rows=2)
    assert client.result(job, "failed").count("\n") == 1
    assert len(client.table(job, "successful")) == 398
    assert len(client.table(job, "successful")) == 400


def test_a_row_error_is_the_one_that_was_asked_for(org, client):
    org.faults.add(
        "row-error", object="Product2", rows=2, error="FIELD_CUSTOM_VALIDATION_EXCEPTION:No: never"
    )
    job, _ = client.load(DATA)
    text = "FIELD_CUSTOM_VALIDATION_EXCEPTION:No: never:--"
    assert [row["sf__Error"] for row in client.table(job, "failed")] == [text, text]


@pytest.mark.parametrize(
    ("kind", "message"),
    [("403", "TotalRequests Limit exceeded."), ("403-concurrent", "ConcurrentPerOrgLongTxn Limit exceeded")],
)
def test_both_texts_of_an_exhausted_limit_can_be_had(org, client, kind, message):
    org.faults.add(kind)
    reply = client.call("GET", "/limits")
    assert (reply.status_code, reply.json()) == (
        403,
        [{"message": message, "errorCode": "REQUEST_LIMIT_EXCEEDED"}],
    )


@pytest.mark.parametrize(
    "given", [{"rate": 0}, {"rate": 1.5}, {"times": -1}, {"delay": -1.0}, {"path": "("}, {"times": "2"}]
)
def test_a_fault_that_makes_no_sense_is_refused_with_its_key(org, given):
    reply = requests.post(f"{org.url}/fakeforce/faults", json={"kind": "503", **given}, timeout=10)
    assert reply.status_code == 400
    assert next(iter(given)) in reply.text
