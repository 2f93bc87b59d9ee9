"""The life of an ingest job (Bulk API 2.0 Developer Guide)."""

import gzip
import re

import pytest

MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000"


def test_a_new_job_is_open_and_says_where_its_data_goes(org):
    info = org.create().json()
    assert re.fullmatch(r"750\w{15}", info["id"])
    assert (info["state"], info["operation"], info["object"]) == ("Open", "upsert", org.connection.object)
    assert info["externalIdFieldName"] == org.connection.key
    assert (info["contentType"], info["lineEnding"], info["columnDelimiter"]) == ("CSV", "LF", "COMMA")
    assert (info["concurrencyMode"], info["apiVersion"]) == ("Parallel", 66.0)
    assert re.fullmatch(rf"services/data/v?66\.0/jobs/ingest/{info['id']}/batches", info["contentUrl"])
    assert re.fullmatch(MOMENT, info["createdDate"])
    assert re.fullmatch(MOMENT, info["systemModstamp"])
    org.state(info["id"], "Aborted")


@pytest.mark.parametrize(
    "wrong",
    [
        {"operation": "UPSERT"},
        {"lineEnding": "lf"},
        {"columnDelimiter": ","},
        {"contentType": "JSON"},
        {"object": "No_Such_Object__c"},
        {"externalIdFieldName": ""},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_wrong_job_is_refused_with_an_array(org, wrong):
    refused = org.create(**wrong)
    assert refused.status_code == 400
    assert {"errorCode", "message"} <= set(refused.json()[0])


def test_a_job_runs_from_open_to_complete_and_counts_its_rows(org, key):
    job = org.job()
    assert "numberRecordsProcessed" not in org.call("GET", f"/jobs/ingest/{job}").json()
    sent = org.upload(job, org.csv(f"{key},one"))
    assert (sent.status_code, sent.content) == (201, b"")
    closed = org.state(job, "UploadComplete").json()
    assert (closed["id"], closed["state"]) == (job, "UploadComplete")
    info = org.wait(job)
    assert (info["state"], info["jobType"]) == ("JobComplete", "V2Ingest")
    assert (info["numberRecordsProcessed"], info["numberRecordsFailed"]) == (1, 0)
    assert {"retries", "totalProcessingTime", "apiActiveProcessingTime", "apexProcessingTime"} <= set(info)


def test_paths_may_end_with_a_slash_and_an_upload_need_not_tell_its_length(org, key):
    job = org.job()
    pieces = iter([org.csv(f"{key},one")[:10].encode(), org.csv(f"{key},one")[10:].encode()])
    path = f"/jobs/ingest/{job}/batches/"
    assert org.call("PUT", path, data=pieces, headers={"Content-Type": "text/csv"}).status_code == 201
    org.state(job, "UploadComplete")
    assert org.wait(job)["numberRecordsProcessed"] == 1
    assert len(org.table(job, "successfulResults/")) == 1


def test_a_finished_job_cannot_be_aborted_and_can_be_deleted(org, key):
    job = org.load(org.csv(f"{key},one"))["id"]
    refused = org.state(job, "Aborted")
    assert refused.status_code == 400
    assert refused.json()[0]["errorCode"] == "INVALIDJOBSTATE"
    assert refused.json()[0]["message"] == "Aborting already Completed Job not allowed"
    assert org.call("DELETE", f"/jobs/ingest/{job}").status_code == 204
    gone = org.call("GET", f"/jobs/ingest/{job}")
    assert (gone.status_code, gone.json()[0]["errorCode"]) == (404, "NOT_FOUND")


def test_an_open_job_can_be_aborted(org):
    job = org.job()
    assert org.state(job, "Aborted").json()["state"] == "Aborted"
    assert org.call("DELETE", f"/jobs/ingest/{job}").status_code == 204


def test_a_job_is_in_the_list_of_its_type(org, key):
    job = org.job()
    page = org.call("GET", "/jobs/ingest", params={"jobType": "V2Ingest"}).json()
    found = [record["id"] for record in page["records"]]
    while not page["done"]:
        page = org.http.get(org.base.partition("/services/")[0] + page["nextRecordsUrl"], timeout=60).json()
        found += [record["id"] for record in page["records"]]
    assert job in found
    org.state(job, "Aborted")


@pytest.mark.parametrize(
    ("data", "line_ending", "text"),
    [
        ("{key},{text}\r\nK,x\r\n", "LF", r"ClientInputError : LineEnding is invalid on user data\. .* LF"),
        ("{key},{text}\nK,x\n", "CRLF", r"ClientInputError : LineEnding is invalid on user data\. .* CRLF"),
        ("{key},{text},Nope\nK,x,1\n", "LF", r"InvalidBatch : Field name not found : Nope"),
        (
            '\ufeff"{key}","{text}"\nK,x\n',
            "LF",
            r"InvalidBatch : Failed to parse CSV\. Found unescaped quote\..*",
        ),
        (
            "{key},{text},Nope__r.X\nK,x,1\n",
            "LF",
            r"InvalidBatch : (Unable to find relationship|Field name not found).*",
        ),
    ],
    ids=["CRLF in an LF job", "LF in a CRLF job", "unknown column", "byte order mark", "unknown relation"],
)
def test_a_file_that_is_wrong_as_a_whole_fails_its_job_before_any_row(org, data, line_ending, text):
    found = data.replace("{key}", org.connection.key).replace("{text}", org.connection.text)
    info = org.load(found, lineEnding=line_ending)
    assert info["state"] == "Failed"
    assert re.fullmatch(text, info["errorMessage"])
    assert (info["numberRecordsProcessed"], info["numberRecordsFailed"]) == (0, 0)


@pytest.mark.parametrize("delimiter", ["TAB", "PIPE", "SEMICOLON", "CARET", "BACKQUOTE"])
def test_a_declared_delimiter_is_read_and_used_in_the_results(org, key, delimiter):
    mark = {"TAB": "\t", "PIPE": "|", "SEMICOLON": ";", "CARET": "^", "BACKQUOTE": "`"}[delimiter]
    data = org.csv(f"{key},one").replace(",", mark).replace("\n", "\r\n")
    info = org.load(data, columnDelimiter=delimiter, lineEnding="CRLF")
    assert info["state"] == "JobComplete"
    head = org.result(info["id"], "successfulResults").splitlines()[0]
    assert head == mark.join(['"sf__Id"', '"sf__Created"', org.connection.key, org.connection.text])


def test_results_are_compressed_when_gzip_is_asked_for(org, key):
    job = org.load(org.csv(f"{key},ชิ้น"))["id"]
    path = f"/jobs/ingest/{job}/successfulResults"
    with org.call("GET", path, headers={"Accept-Encoding": "gzip"}, stream=True) as packed:
        body = packed.raw.read(decode_content=False)
    text = gzip.decompress(body) if packed.headers.get("Content-Encoding") == "gzip" else body
    assert "ชิ้น" in text.decode("utf-8")
    assert text == org.call("GET", path, headers={"Accept-Encoding": "identity"}).content
