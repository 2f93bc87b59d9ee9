"""Bulk API 2.0 query: POST /jobs/query and what follows."""

import csv
import io

import pytest

from conftest import SCHEMA, Client
from fakeforce import serve

ROWS = 25
SELECT = "SELECT ProductCode, Name FROM Product2 ORDER BY ProductCode"


def _rows(count):
    return "ProductCode,Name\n" + "".join(f"Q{i:03d},Thing {i}\n" for i in range(count))


@pytest.fixture(scope="module")
def world():
    """One org with a few products and lines, for the tests that only read."""
    with serve(schema=SCHEMA) as org:
        client = Client(org.url)
        client.load(_rows(ROWS))
        client.load(
            "External_ID__c,Product__r.ProductCode\nL1,Q001\nL2,\n", obj="KPS_Sales__c", key="External_ID__c"
        )
        yield org, client
        client.http.close()


@pytest.fixture
def reader(world):
    return world[1]


def _cells(text, **form):
    return list(csv.reader(io.StringIO(text, newline=""), **form))


def test_a_query_job_is_uploadcomplete_at_once_and_ends_with_its_rows_in_the_order_of_the_query(reader):
    reply = reader.call("POST", "/jobs/query", json={"operation": "query", "query": SELECT})
    made = reply.json()
    assert (reply.status_code, made["state"], made["object"]) == (200, "UploadComplete", "Product2")
    assert made["id"].startswith("750")
    assert "contentUrl" not in made
    assert "externalIdFieldName" not in made
    info = reader.wait(made["id"], kind="query")
    assert (info["state"], info["jobType"], info["numberRecordsProcessed"]) == (
        "JobComplete",
        "V2Query",
        ROWS,
    )
    assert {"retries", "totalProcessingTime", "isPkChunkingSupported"} <= set(info)
    page = reader.query_page(made["id"])
    assert page.headers["content-type"] == "text/csv; charset=UTF-8"
    assert (page.headers["Sforce-Locator"], page.headers["Sforce-NumberOfRecords"]) == ("null", str(ROWS))
    assert page.text.startswith('"ProductCode","Name"\n"Q000","Thing 0"\n')
    assert [row[0] for row in _cells(page.text)[1:]] == [f"Q{i:03d}" for i in range(ROWS)]


def test_pages_have_maxrecords_rows_and_the_header_each_and_can_be_read_again(reader):
    job, _ = reader.bulk_query(SELECT)
    found, locator, sizes = [], None, []
    while locator != "null":
        page = reader.query_page(job, maxRecords=10, **({"locator": locator} if locator else {}))
        assert (
            page.text
            == reader.query_page(job, maxRecords=10, **({"locator": locator} if locator else {})).text
        )
        header, *rows = _cells(page.text)
        assert header == ["ProductCode", "Name"]
        assert len(rows) == int(page.headers["Sforce-NumberOfRecords"])
        sizes.append(len(rows))
        found += rows
        locator = page.headers["Sforce-Locator"]
    assert sizes == [10, 10, 5]
    assert found == [[f"Q{i:03d}", f"Thing {i}"] for i in range(ROWS)]


def test_a_locator_is_text_since_v49_and_a_number_before(world, make_client):
    org, _ = world
    for version, locator in (("66.0", "MTA"), ("48.0", "10")):
        old = make_client(org.url, version=version)
        job, _ = old.bulk_query(SELECT)
        assert old.query_page(job, maxRecords=10).headers["Sforce-Locator"] == locator
        assert _cells(old.query_page(job, locator=locator).text)[1][0] == "Q010"


def test_parallel_pages_are_named_five_at_a_time_and_hold_every_row_once(world):
    org, client = world
    org.change(query_page_rows=4)
    try:
        job, _ = client.bulk_query(SELECT)
        path, found, counts = f"/services/data/v66.0/jobs/query/{job}/resultPages", [], []
        while path:
            listed = client.http.get(client.url + path, timeout=10).json()
            counts.append(len(listed["resultPages"]))
            for page in listed["resultPages"]:
                found += _cells(client.http.get(client.url + page["resultUrl"], timeout=10).text)[1:]
            assert listed["done"] == (listed["nextRecordsUrl"] is None)
            path = listed["nextRecordsUrl"]
    finally:
        org.change(query_page_rows=250_000)
    assert counts == [5, 2]
    assert [row[0] for row in found] == [f"Q{i:03d}" for i in range(ROWS)]


def test_an_empty_result_is_the_header_alone(reader):
    job, info = reader.bulk_query("SELECT Id, Name FROM Product2 WHERE ProductCode = 'none'")
    page = reader.query_page(job)
    assert (page.status_code, page.text, info["numberRecordsProcessed"]) == (200, '"Id","Name"\n', 0)
    assert (page.headers["Sforce-Locator"], page.headers["Sforce-NumberOfRecords"]) == ("null", "0")
    assert len(reader.call("GET", f"/jobs/query/{job}/resultPages").json()["resultPages"]) == 1


@pytest.mark.parametrize(("name", "mark"), [("COMMA", ","), ("TAB", "\t"), ("PIPE", "|"), ("BACKQUOTE", "`")])
def test_the_delimiter_and_the_line_end_are_the_jobs(reader, name, mark):
    job, _ = reader.bulk_query(SELECT, columnDelimiter=name, lineEnding="CRLF")
    text = reader.query_page(job, maxRecords=1).text
    assert text == f'"ProductCode"{mark}"Name"\r\n"Q000"{mark}"Thing 0"\r\n'


def test_every_type_is_rendered_and_null_is_empty(client):
    columns = (
        "ProductCode,Name,IsActive,TMS_Start_Date__c,TMS_Count_Date__c,TMS_Price_EXC_VAT__c,"
        "TMS_Price_INC_VAT__c,TMS_Rate__c,TMS_Quantity__c,TMS_Bar_Code__c"
    )
    client.load(
        f'{columns}\nA,"say ""ชิ้น""\nhere",true,2025-12-04T00:00:00+07:00,2025-01-31,912260031,'
        "9999999999999999.99,0.0005,-42,#N/A\n"
    )
    job, _ = client.bulk_query(f"SELECT {columns} FROM Product2")
    page = client.query_page(job)
    assert _cells(page.content.decode("utf-8"))[1] == [
        *("A", 'say "ชิ้น"\nhere', "true", "2025-12-03T17:00:00.000Z", "2025-01-31"),
        *("9.12260031E8", "9999999999999999.99", "5.0E-4", "-42", ""),
    ]  # fmt: skip


def test_a_parents_field_is_named_with_its_relation(reader):
    job, _ = reader.bulk_query(
        "SELECT External_ID__c, Product__r.Name FROM KPS_Sales__c ORDER BY External_ID__c"
    )
    assert reader.query_page(job).text == '"External_ID__c","Product__r.Name"\n"L1","Thing 1"\n"L2",""\n'


def test_results_are_compressed_when_gzip_is_asked_for(reader):
    job, _ = reader.bulk_query(SELECT)
    packed = reader.call("GET", f"/jobs/query/{job}/results", headers={"Accept-Encoding": "gzip"})
    plain = reader.call("GET", f"/jobs/query/{job}/results", headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content


@pytest.mark.parametrize(
    ("query", "code", "text"),
    [
        ("SELECT COUNT() FROM Product2", "API_ERROR", "aggregate functions"),
        ("SELECT COUNT(Id) n FROM Product2", "API_ERROR", "aggregate functions"),
        ("select max(ProductCode) from Product2", "API_ERROR", "aggregate functions"),
        ("SELECT Name FROM Product2 GROUP BY Name", "API_ERROR", "GROUP BY"),
        ("SELECT Name FROM Product2 LIMIT 5 OFFSET 5", "API_ERROR", "OFFSET"),
        ("SELECT TYPEOF Owner WHEN User THEN Name END FROM Product2", "API_ERROR", "TYPEOF"),
        (
            "SELECT Name, (SELECT Id FROM Lines__r) FROM Product2",
            "API_ERROR",
            "Aggregate Relationships not supported",
        ),
        ("SELECT Name FROM Nothing__c", "INVALID_TYPE", "sObject type 'Nothing__c' is not supported"),
        ("SELECT Nope__c FROM Product2", "INVALID_FIELD", "Nope__c"),
        ("SELECT Name Product2", "MALFORMED_QUERY", ""),
        ("SELECT Name FROM Product2 WHERE Name = '\ud800'", "JSON_PARSER_ERROR", ""),
        ("", "MALFORMED_QUERY", ""),
    ],
)
def test_a_query_that_bulk_does_not_do_is_refused_when_the_job_is_made(reader, query, code, text):
    reply = reader.call("POST", "/jobs/query", json={"operation": "query", "query": query})
    assert (reply.status_code, reply.json()[0]["errorCode"]) == (400, code)
    assert text in reply.json()[0]["message"]


def test_a_word_of_the_refused_ones_inside_a_literal_is_only_text(reader):
    _, info = reader.bulk_query(
        "SELECT Name FROM Product2 WHERE Name = 'OFFSET it''s GROUP BY'".replace("''", r"\'")
    )
    assert info["state"] == "JobComplete"


@pytest.mark.parametrize(
    "body",
    [
        {"operation": "Query"},
        {"operation": "insert"},
        {},
        {"operation": "query", "contentType": "JSON"},
        {"operation": "query", "columnDelimiter": ","},
        {"operation": "query", "lineEnding": "CR"},
    ],
)
def test_a_wrong_query_job_is_refused(reader, body):
    reply = reader.call("POST", "/jobs/query", json={"query": SELECT, **body})
    assert (reply.status_code, reply.json()[0]["errorCode"]) == (400, "INVALIDJOB")


def test_query_jobs_are_not_known_before_v47(world, make_client):
    old = make_client(world[0].url, version="46.0")
    assert old.call("POST", "/jobs/query", json={"operation": "query", "query": SELECT}).status_code == 404


@pytest.mark.parametrize(
    "params",
    [
        {"maxRecords": "0"},
        {"maxRecords": "x"},
        {"locator": "null"},
        {"locator": "OTk5"},
        {"maxRecords": "9" * 5000},
    ],
)
def test_a_bad_page_is_refused(reader, params):
    job, _ = reader.bulk_query(SELECT)
    reply = reader.query_page(job, **params)
    assert (reply.status_code, set(reply.json()[0])) == (400, {"message", "errorCode"})


def test_results_must_be_asked_for_with_the_jobs_own_version(world, make_client):
    job, _ = world[1].bulk_query(SELECT)
    other = make_client(world[0].url, version="65.0")
    assert other.query_page(job).status_code == 409
    assert other.call("GET", f"/jobs/query/{job}").status_code == 200


def test_query_and_ingest_jobs_do_not_know_each_others_ids(reader):
    job, _ = reader.bulk_query(SELECT)
    ingest = reader.create()
    assert reader.call("GET", f"/jobs/ingest/{job}").status_code == 404
    assert reader.call("GET", f"/jobs/query/{ingest}").status_code == 404
    assert job in [record["id"] for record in reader.call("GET", "/jobs/query").json()["records"]]
    assert ingest not in [record["id"] for record in reader.call("GET", "/jobs/query").json()["records"]]
    assert reader.call("GET", "/jobs/query", params={"jobType": "Classic"}).json()["records"] == []


def test_a_running_query_job_gives_no_results_cannot_be_deleted_and_can_be_aborted(org, client):
    org.hold_jobs()
    made = client.call("POST", "/jobs/query", json={"operation": "query", "query": SELECT}).json()["id"]
    client.wait(made, "InProgress", kind="query")
    assert client.query_page(made).json()[0]["errorCode"] == "INVALIDJOBSTATE"
    assert client.call("DELETE", f"/jobs/query/{made}").json()[0]["errorCode"] == "API_ERROR"
    assert client.call("PATCH", f"/jobs/query/{made}", json={"state": "UploadComplete"}).status_code == 400
    aborted = client.call("PATCH", f"/jobs/query/{made}", json={"state": "Aborted"})
    assert (aborted.status_code, aborted.json()["state"]) == (200, "Aborted")
    again = client.call("PATCH", f"/jobs/query/{made}", json={"state": "Aborted"})
    assert again.json() == [
        {"message": "Aborting already Completed Job not allowed", "errorCode": "INVALIDJOBSTATE"}
    ]
    assert client.call("DELETE", f"/jobs/query/{made}").status_code == 204
    assert client.call("GET", f"/jobs/query/{made}").status_code == 404


def test_a_query_job_and_its_files_are_gone_when_it_is_deleted_or_seven_days_old(org, client):
    client.load(_rows(3))
    first, _ = client.bulk_query(SELECT)
    second, _ = client.bulk_query(SELECT)
    assert client.call("DELETE", f"/jobs/query/{first}").status_code == 204
    org.clock.push(7 * 86400 + 60)
    client.login()
    assert client.query_page(second).status_code == 404
    assert client.call("GET", "/jobs/query").json()["records"] == []
    assert list(org._store.uploads.iterdir()) == []


def test_query_jobs_count_toward_their_own_daily_limit_and_use_no_batches(org, client):
    org.change(max_query_jobs=2)
    first, _ = client.bulk_query(SELECT)
    client.call("DELETE", f"/jobs/query/{first}")
    client.bulk_query(SELECT)
    limits = client.call("GET", "/limits").json()
    assert limits["DailyBulkV2QueryJobs"] == {"Max": 2, "Remaining": 0}
    assert limits["DailyBulkApiBatches"]["Remaining"] == 15_000
    refused = client.call("POST", "/jobs/query", json={"operation": "query", "query": SELECT})
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, "EXCEEDEDQUOTA")
    org.clock.push(86_400)
    client.login()
    client.bulk_query(SELECT)


def test_queryall_also_shows_what_is_in_the_recycle_bin(org, client):
    org.change(hard_delete=True)
    client.load(_rows(3))
    ids = {row["ProductCode"]: row["Id"] for row in org.rows("Product2")}
    client.load(f"Id\n{ids['Q000']}\n", operation="delete", key=None)
    client.load(f"Id\n{ids['Q001']}\n", operation="hardDelete", key=None)
    text = "SELECT ProductCode, IsDeleted FROM Product2 ORDER BY ProductCode"
    shown = {}
    for operation in ("query", "queryAll"):
        job, _ = client.bulk_query(text, operation)
        shown[operation] = _cells(client.query_page(job).text)[1:]
    assert shown == {"query": [["Q002", "false"]], "queryAll": [["Q000", "true"], ["Q002", "false"]]}


def test_a_failed_query_job_has_no_reason_in_its_answer_and_no_results(org, client):
    org.faults.add("fail-query", object="Product2")
    job, info = client.bulk_query(SELECT)
    assert info["state"] == "Failed"
    assert "errorMessage" not in info
    assert org.query_jobs()[0]["error"] == "Unknown : Retried more than fifteen times"
    assert client.query_page(job).status_code == 400


def test_a_stuck_query_job_stays_inprogress_until_the_clock_says_so(org, client):
    org.faults.add("stick-query", delay=600)
    made = client.call("POST", "/jobs/query", json={"operation": "query", "query": SELECT}).json()["id"]
    assert org.wait_idle()
    assert client.info(made, "query")["state"] == "InProgress"
    org.clock.push(700)
    assert client.wait(made, kind="query")["state"] == "JobComplete"


def test_a_query_job_that_a_stopped_server_left_goes_on_at_the_next_start(tmp_path):
    with serve(schema=SCHEMA, state=tmp_path / "org.db") as org:
        client = Client(org.url)
        client.load(_rows(5))
        org.hold_jobs()
        made = client.call("POST", "/jobs/query", json={"operation": "query", "query": SELECT}).json()["id"]
        client.wait(made, "InProgress", kind="query")
        client.http.close()
    with serve(schema=SCHEMA, state=tmp_path / "org.db") as org:
        client = Client(org.url)
        assert client.wait(made, kind="query")["numberRecordsProcessed"] == 5
        assert len(_cells(client.query_page(made).text)) == 6
        client.http.close()
