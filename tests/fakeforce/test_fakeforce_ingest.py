import gzip
import socket
import time
from urllib.parse import urlsplit

import pytest
import requests

from fakeforce.clock import stamp
from fakeforce.csvtext import DELIMITERS

HEADER = "ProductCode,Name,TMS_Price_EXC_VAT__c\n"


def _rows(count, start=0):
    return HEADER + "".join(f"P{i:05d},Thing {i},{i}.50\n" for i in range(start, start + count))


@pytest.mark.parametrize(
    "body",
    [
        {"object": "Product2", "operation": "INSERT"},
        {"object": "Product2", "operation": "insert", "lineEnding": "lf"},
        {"object": "Product2", "operation": "insert", "columnDelimiter": ","},
        {"object": "Product2", "operation": "insert", "contentType": "JSON"},
        {"object": "Product2", "operation": "upsert"},
        {"object": "Product2", "operation": "upsert", "externalIdFieldName": "Name"},
        {"object": "Nothing__c", "operation": "insert"},
        {"operation": "insert"},
        {"object": "Product2", "operation": "hardDelete"},
    ],
)
def test_a_wrong_job_is_refused_with_an_array(client, body):
    reply = client.call("POST", "/jobs/ingest", json=body)
    assert reply.status_code == 400
    assert set(reply.json()[0]) == {"message", "errorCode"}


def test_an_upsert_creates_rows_and_a_second_one_updates_them(org, client):
    job, info = client.load(_rows(450))
    assert info["state"] == "JobComplete"
    assert (info["numberRecordsProcessed"], info["numberRecordsFailed"]) == (450, 0)
    assert {row["sf__Created"] for row in client.table(job, "successful")} == {"true"}
    job, _ = client.load(_rows(450))
    assert {row["sf__Created"] for row in client.table(job, "successful")} == {"false"}
    assert org.count("Product2") == 450


def test_data_can_be_put_only_once(client):
    job = client.create()
    assert client.upload(job, _rows(1)).status_code == 201
    again = client.upload(job, _rows(1))
    assert again.status_code == 400
    assert again.json()[0]["message"].startswith("Found multiple contents for job")


def test_a_chunked_upload_without_a_length_is_accepted(org, client):
    job = client.create()
    reply = client.call(
        "PUT",
        f"/jobs/ingest/{job}/batches/",
        data=iter([HEADER.encode(), b"A,Thing,1\n"]),
        headers={"Content-Type": "text/csv; charset=UTF-8"},
    )
    assert reply.status_code == 201
    assert reply.content == b""
    client.patch(job, "UploadComplete")
    assert client.wait(job)["numberRecordsProcessed"] == 1


def test_too_much_data_is_refused_and_the_job_stays_open_and_empty(org, client):
    org.change(max_upload_bytes=100)
    job = client.create()
    assert client.upload(job, _rows(50)).status_code == 400
    assert client.info(job)["state"] == "Open"
    org.change(max_upload_bytes=100_000)
    assert client.upload(job, _rows(5)).status_code == 201


def test_an_upload_that_breaks_off_leaves_the_job_open_without_data(org, client):
    job = client.create()
    address = urlsplit(org.url)
    token = client.http.headers["Authorization"]
    head = (
        f"PUT /services/data/v66.0/jobs/ingest/{job}/batches HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n"
        "Content-Type: text/csv\r\nContent-Length: 100000\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port)) as line:
        line.sendall(head.encode() + _rows(10).encode())
    end = time.monotonic() + 10
    while (reply := client.upload(job, _rows(3))).status_code != 201:
        assert time.monotonic() < end, reply.text
    client.patch(job, "UploadComplete")
    assert client.wait(job)["numberRecordsProcessed"] == 3


@pytest.mark.parametrize(("delete", "status"), [(False, 400), (True, 404)])
def test_an_upload_to_a_job_that_ended_meanwhile_is_refused_and_leaves_no_file(org, client, delete, status):
    job = client.create()

    def data():
        yield HEADER.encode()
        end = time.monotonic() + 10
        while not list(org._store.uploads.iterdir()):  # until the upload has begun
            assert time.monotonic() < end
        assert client.patch(job, "Aborted").status_code == 200
        assert not delete or client.call("DELETE", f"/jobs/ingest/{job}").status_code == 204
        yield b"A,Thing,1\n"

    headers = {"Content-Type": "text/csv", "Authorization": client.http.headers["Authorization"]}
    address = f"{client.base}/jobs/ingest/{job}/batches"
    assert requests.put(address, data=data(), headers=headers, timeout=30).status_code == status
    assert list(org._store.uploads.iterdir()) == []


def test_a_gzip_upload_of_several_members_is_read_to_its_end(org, client):
    job = client.create()
    packed = gzip.compress(_rows(2).encode()) + gzip.compress(b"A,Thing,1\n")
    assert client.upload(job, packed, **{"Content-Encoding": "gzip"}).status_code == 201
    client.patch(job, "UploadComplete")
    assert client.wait(job)["numberRecordsProcessed"] == 3
    broken = client.upload(client.create(), packed + gzip.compress(b"x")[:9], **{"Content-Encoding": "gzip"})
    assert (broken.status_code, broken.json()[0]["errorCode"]) == (400, "CLIENTINPUTERROR")


def test_a_gzip_upload_is_read_or_refused_as_the_setting_says(org, client):
    job = client.create()
    packed = gzip.compress(_rows(2).encode())
    assert client.upload(job, packed, **{"Content-Encoding": "gzip"}).status_code == 201
    client.patch(job, "UploadComplete")
    assert client.wait(job)["numberRecordsProcessed"] == 2
    org.change(gzip_upload=False)
    assert client.upload(client.create(), packed, **{"Content-Encoding": "gzip"}).status_code == 415


def test_moves_that_the_life_cycle_does_not_know_are_refused(client):
    job, _ = client.load(_rows(1))
    aborted = client.patch(job, "Aborted")
    assert aborted.status_code == 400
    assert aborted.json() == [
        {"message": "Aborting already Completed Job not allowed", "errorCode": "INVALIDJOBSTATE"}
    ]
    assert client.patch(job, "UploadComplete").json()[0]["errorCode"] == "INVALIDJOBSTATE"
    assert client.upload(job, _rows(1)).json()[0]["errorCode"] == "INVALIDJOBSTATE"
    assert client.patch(client.create(), "JobComplete").status_code == 400


def test_an_open_job_can_be_aborted_but_not_deleted(client):
    job = client.create()
    refused = client.call("DELETE", f"/jobs/ingest/{job}")
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, "API_ERROR")
    assert client.patch(job, "Aborted").json()["state"] == "Aborted"
    deleted = client.call("DELETE", f"/jobs/ingest/{job}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    gone = client.call("GET", f"/jobs/ingest/{job}")
    assert (gone.status_code, gone.json()[0]["errorCode"]) == (404, "NOT_FOUND")


def test_a_finished_job_is_forgotten_after_seven_days(org, client):
    job, _ = client.load(_rows(1))
    org.clock.push(7 * 86400 + 60)
    client.login()
    assert client.call("GET", f"/jobs/ingest/{job}").status_code == 404


def test_a_held_job_shows_rising_counters_and_ends_when_released(org, client):
    org.hold_jobs(after_batches=1)
    job = client.create()
    client.upload(job, _rows(10_300))
    client.patch(job, "UploadComplete")
    assert org.wait_idle()
    held = client.info(job)
    assert held["state"] == "InProgress"
    assert held["numberRecordsProcessed"] in (300, 10_000)
    assert client.call("GET", f"/jobs/ingest/{job}/successfulResults").status_code == 400
    org.release_jobs()
    assert client.wait(job)["numberRecordsProcessed"] == 10_300


def test_an_aborted_job_keeps_what_it_wrote_and_names_the_rest_as_unprocessed(org, client):
    org.hold_jobs(after_batches=1)
    job = client.create()
    client.upload(job, _rows(10_300))
    client.patch(job, "UploadComplete")
    assert org.wait_idle()
    client.patch(job, "Aborted")
    done = client.table(job, "successful")
    left = client.table(job, "unprocessed")
    assert len(done) == org.count("Product2") == client.info(job)["numberRecordsProcessed"]
    assert {r["ProductCode"] for r in done} | {r["ProductCode"] for r in left} == {
        f"P{i:05d}" for i in range(10_300)
    }
    assert len(done) + len(left) == 10_300


def test_the_list_of_jobs_can_be_filtered_by_type_and_has_no_counters(client):
    job, _ = client.load(_rows(1))
    listed = client.call("GET", "/jobs/ingest", params={"jobType": "V2Ingest"}).json()
    assert [record["id"] for record in listed["records"]] == [job]
    assert listed["done"] is True
    assert "numberRecordsProcessed" not in listed["records"][0]
    assert client.call("GET", "/jobs/ingest", params={"jobType": "Classic"}).json()["records"] == []


def test_the_list_of_jobs_has_pages_of_a_thousand(org, client):
    now = stamp(org.clock.now())
    with org._store.transaction() as con:
        con.executemany(
            "INSERT INTO _job (id, api_version, object, operation, delimiter, line_ending, extra, state, created,"
            " modified) VALUES (?, '66.0', 'Product2', 'insert', 'COMMA', 'LF', '{}', 'Aborted', ?, ?)",
            [(f"750{i:015d}", now, now) for i in range(1200)],
        )
    first = client.call("GET", "/jobs/ingest").json()
    assert (len(first["records"]), first["done"]) == (1000, False)
    rest = client.http.get(client.url + first["nextRecordsUrl"], timeout=10).json()
    assert (len(rest["records"]), rest["done"]) == (200, True)


@pytest.mark.parametrize(
    ("data", "line_ending", "message"),
    [
        (
            "ProductCode,Name\r\nA,x\r\n",
            "LF",
            "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is LF",
        ),
        (
            "ProductCode,Name\nA,x\n",
            "CRLF",
            "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is CRLF",
        ),
        (
            "ProductCode,Name\r\nA,x\ry\r\n",  # a line end of neither kind
            "CRLF",
            "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is CRLF",
        ),
        ("ProductCode,Nam,Pric\nA,x,1\n", "LF", "InvalidBatch : Field name not found : Nam"),
        ("ProductCode;Name\nA;x\n", "LF", "InvalidBatch : Field name not found : ProductCode;Name"),
        ("Name\nx\n", "LF", "InvalidBatch : Field name not found : ProductCode"),
        ("\ufeffProductCode,Name\nA,x\n", "LF", "InvalidBatch : Field name not found : \ufeffProductCode"),
        (
            '\ufeff"ProductCode","Name"\nA,x\n',
            "LF",
            "InvalidBatch : Failed to parse CSV. Found unescaped quote. A value with quote should be within a quote",
        ),
        (
            'ProductCode,Name\nA,5" pipe\n',
            "LF",
            "InvalidBatch : Failed to parse CSV. Found unescaped quote. A value with quote should be within a quote",
        ),
        ("ProductCode,Nope__r.Code\nA,x\n", "LF", "InvalidBatch : Unable to find relationship: Nope__r"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole_fails_the_job_before_any_row(
    org, client, data, line_ending, message
):
    job, info = client.load(data, lineEnding=line_ending)
    assert info["state"] == "Failed"
    assert info["errorMessage"] == message
    assert (info["numberRecordsProcessed"], info["numberRecordsFailed"]) == (0, 0)
    assert org.count("Product2") == 0
    assert client.table(job, "successful") == []


def test_a_type_before_a_single_target_relation_fails_the_job(client):
    _, info = client.load(
        "External_ID__c,Product2:Product__r.ProductCode\nA,x\n", obj="KPS_Sales__c", key="External_ID__c"
    )
    text = "type is not needed for non polymorphic foreign key references: Product__r"
    assert info["errorMessage"] == f"InvalidBatch : {text}"


def test_a_line_break_inside_quotes_is_kept_in_a_value(org, client):
    client.load('ProductCode,Name\nA,"two\nlines, ""quoted"""\n')
    assert next(org.rows("Product2"))["Name"] == 'two\nlines, "quoted"'


@pytest.mark.parametrize("line_ending", ["LF", "CRLF"])
@pytest.mark.parametrize("delimiter", ["COMMA", "TAB", "PIPE", "SEMICOLON", "CARET", "BACKQUOTE"])
def test_files_are_read_and_results_written_with_the_jobs_delimiter_and_line_end(
    shared, delimiter, line_ending
):
    mark, end = DELIMITERS[delimiter], {"LF": "\n", "CRLF": "\r\n"}[line_ending]
    data = end.join([f"ProductCode{mark}Name", f'A{mark}"x{mark}y{end}z"', ""])
    job, info = shared.load(data, columnDelimiter=delimiter, lineEnding=line_ending)
    assert info["state"] == "JobComplete"
    head, *_ = shared.result(job, "successful").partition(end)
    assert head == f'"sf__Id"{mark}"sf__Created"{mark}ProductCode{mark}Name'
    assert shared.result(job, "successful").endswith(f'"A"{mark}"x{mark}y{end}z"{end}')


def test_a_job_closed_without_data_ends_with_no_rows(client):
    job = client.create()
    client.patch(job, "UploadComplete")
    assert client.wait(job)["numberRecordsProcessed"] == 0
    assert client.table(job, "unprocessed") == []


def test_internal_batches_are_counted_from_the_daily_allocation(client):
    client.load(_rows(10_001))
    assert client.call("GET", "/limits").json()["DailyBulkApiBatches"] == {"Max": 15000, "Remaining": 14998}


def test_rows_beyond_the_daily_allocation_are_in_no_result_file(org, client):
    org.change(max_batches=1)
    job, info = client.load(_rows(10_300))
    assert info["state"] == "Failed"
    found = sum(len(client.table(job, kind)) for kind in ("successful", "failed", "unprocessed"))
    assert found == info["numberRecordsProcessed"] == org.count("Product2") < 10_300


def test_insert_update_and_delete_jobs_do_what_they_say(org, client):
    client.load(_rows(3), operation="insert", key=None)
    ids = [row["Id"] for row in org.rows("Product2")]
    _, info = client.load(f"Id,Name\n{ids[0]},New name\n", operation="update", key=None)
    assert info["numberRecordsFailed"] == 0
    assert next(org.rows("Product2"))["Name"] == "New name"
    job, info = client.load(f"Id\n{ids[0]}\n{ids[1][:15]}\n", operation="delete", key=None)
    assert org.count("Product2") == 1
    job, _ = client.load(f"Id\n{ids[0]}\n", operation="delete", key=None)
    assert client.table(job, "failed")[0]["sf__Error"] == "ENTITY_IS_DELETED:entity is deleted:--"


def test_many_jobs_at_once_all_end_with_their_own_rows(org, client):
    jobs = []
    for n in range(8):
        job = client.create()
        client.upload(job, _rows(250, start=n * 250))
        client.patch(job, "UploadComplete")
        jobs.append(job)
    assert all(client.wait(job)["numberRecordsProcessed"] == 250 for job in jobs)
    assert org.count("Product2") == 2000
