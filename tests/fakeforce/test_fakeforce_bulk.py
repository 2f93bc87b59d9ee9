"""Bulk API 2.0 ingest beyond the everyday: multipart, hardDelete, ages, daily limits, retries, locks."""

import csv
import gzip
import io
import json
import zlib

import pytest

from fakeforce import serve

HEADER = "ProductCode,Name\n"
LINES = {"obj": "KPS_Sales__c", "key": "External_ID__c"}
DAY = 86_400


def _rows(count, start=0):
    return HEADER + "".join(f"P{i:05d},Thing {i}\n" for i in range(start, start + count))


def _lines(start, count, parent):
    return "External_ID__c,Product__r.ProductCode\n" + "".join(
        f"L{i},{parent}\n" for i in range(start, start + count)
    )


def _multipart(client, data, boundary="BOUNDARY", head="", **job):
    job = {"object": "Product2", "operation": "upsert", "externalIdFieldName": "ProductCode", **job}
    body = (
        f'--{boundary}\r\nContent-Type: application/json\r\nContent-Disposition: form-data; name="job"\r\n\r\n'
        f"{json.dumps(job)}\r\n"
        f'--{boundary}\r\nContent-Type: text/csv\r\nContent-Disposition: form-data; name="content"; '
        f'filename="content"\r\n\r\n{data}\r\n--{boundary}--\r\n'
    )
    kind = f"multipart/form-data; boundary={head or boundary}"
    return client.call("POST", "/jobs/ingest", data=body.encode(), headers={"Content-Type": kind})


# ---- create ----


def test_a_multipart_job_starts_at_uploadcomplete_and_is_processed_without_another_call(org, client):
    reply = _multipart(client, 'ProductCode,Name\nA,"ชิ้น\nsecond line"\nB,y\n')
    assert (reply.status_code, reply.json()["state"]) == (200, "UploadComplete")
    assert "contentUrl" not in reply.json()
    assert client.wait(reply.json()["id"])["numberRecordsProcessed"] == 2
    assert {row["Name"] for row in org.rows("Product2")} == {"ชิ้น\nsecond line", "y"}
    assert client.upload(reply.json()["id"], _rows(1)).status_code == 400


def test_a_multipart_job_takes_crlf_data_as_it_is(org, client):
    reply = _multipart(client, "ProductCode,Name\r\nA,x\r\n", lineEnding="CRLF")
    assert client.wait(reply.json()["id"])["state"] == "JobComplete"
    assert org.count("Product2") == 1


def test_a_multipart_job_holds_at_most_100000_characters_and_both_parts(org, client):
    full = HEADER + "A," + "ก" * (100_000 - len(HEADER) - 3) + "\n"
    assert len(full) == 100_000
    assert _multipart(client, full).status_code == 200
    assert _multipart(client, full + "x").json()[0]["errorCode"] == "CLIENTINPUTERROR"
    assert _multipart(client, full, head="OTHER").status_code == 400
    assert len(org.jobs()) == 1


def test_the_call_options_header_is_accepted_and_an_assignment_rule_is_echoed(client):
    headers = {"Sforce-Call-Options": "client=ora2sf, defaultNamespace=tms"}
    body = {"object": "Product2", "operation": "insert", "assignmentRuleId": "01Q000000000001"}
    reply = client.call("POST", "/jobs/ingest", json=body, headers=headers)
    assert (reply.status_code, reply.json()["assignmentRuleId"]) == (200, "01Q000000000001")
    assert client.info(reply.json()["id"])["assignmentRuleId"] == "01Q000000000001"
    assert "assignmentRuleId" not in client.info(client.create())


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"operation": "Upsert", "object": "Product2"}, "INVALIDJOB"),
        ({"operation": "harddelete", "object": "Product2"}, "INVALIDJOB"),
        ({"operation": "refresh", "object": "Product2"}, "INVALIDJOB"),
        ({"operation": "insert", "object": "Nothing__c"}, "INVALIDENTITY"),
        ({"operation": "insert", "object": "User"}, "INVALIDENTITY"),
        ({"operation": "upsert", "object": "Product2"}, "INVALIDJOB"),
        ({"operation": "insert", "object": "Product2", "contentType": "JSON"}, "INVALIDJOB"),
        ({"operation": "hardDelete", "object": "Product2"}, "FEATURENOTENABLED"),
    ],
)
def test_each_wrong_create_call_has_its_own_code(shared, body, code):
    reply = shared.call("POST", "/jobs/ingest", json=body)
    assert (reply.status_code, reply.json()[0]["errorCode"]) == (400, code)


@pytest.mark.parametrize(("version", "status"), [("40.0", 404), ("41.0", 200)])
def test_bulk_api_2_begins_with_v41(shared, version, status):
    address = f"{shared.url}/services/data/v{version}/jobs/ingest"
    reply = shared.http.post(address, json={"object": "Product2", "operation": "insert"}, timeout=10)
    assert reply.status_code == status


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"'])
def test_a_create_body_that_is_no_json_object_is_refused(shared, body):
    reply = shared.call("POST", "/jobs/ingest", data=body, headers={"Content-Type": "application/json"})
    assert (reply.status_code, set(reply.json()[0])) == (400, {"message", "errorCode"})


@pytest.mark.parametrize(("kind", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_json_and_csv_bodies_may_be_compressed(shared, kind, pack):
    body = json.dumps({"object": "Product2", "operation": "insert"}).encode()
    headers = {"Content-Type": "application/json", "Content-Encoding": kind}
    job = shared.call("POST", "/jobs/ingest", data=pack(body), headers=headers).json()["id"]
    assert shared.upload(job, pack(b"ProductCode\nZ1\n"), **{"Content-Encoding": kind}).status_code == 201
    closed = shared.call(
        "PATCH", f"/jobs/ingest/{job}", data=pack(b'{"state":"UploadComplete"}'), headers=headers
    )
    assert closed.status_code == 200
    assert shared.wait(job)["numberRecordsProcessed"] == 1


@pytest.mark.parametrize(
    "data", [b"not gzip at all", gzip.compress(b"ProductCode\nA\n")[:-6]], ids=["no gzip", "breaks off"]
)
def test_compressed_data_that_is_broken_is_refused_and_the_job_stays_open_and_empty(shared, data):
    job = shared.create()
    assert shared.upload(job, data, **{"Content-Encoding": "gzip"}).status_code == 400
    assert shared.upload(job, _rows(1)).status_code == 201


def test_an_unknown_content_encoding_is_refused(shared):
    reply = shared.upload(shared.create(), _rows(1), **{"Content-Encoding": "br"})
    assert (reply.status_code, reply.json()[0]["errorCode"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_an_upload_without_a_byte_is_refused_and_the_job_still_takes_data(shared):
    job = shared.create()
    assert shared.upload(job, b"").status_code == 400
    assert shared.upload(job, _rows(1)).status_code == 201


# ---- time ----


def test_a_job_open_for_more_than_a_day_is_aborted_and_takes_no_data(org, client):
    job = client.create()
    org.clock.push(DAY - 60)
    client.login()
    assert client.info(job)["state"] == "Open"
    org.clock.push(120)
    assert client.upload(job, _rows(1)).json()[0]["errorCode"] == "INVALIDJOBSTATE"
    assert client.patch(job, "UploadComplete").json()[0]["errorCode"] == "INVALIDJOBSTATE"
    assert client.info(job)["state"] == "Aborted"


def test_jobs_results_and_files_of_any_state_are_gone_after_seven_days(org, client):
    done, _ = client.load(_rows(1))
    org.hold_jobs()
    held = client.create()
    client.upload(held, _rows(1))
    client.patch(held, "UploadComplete")
    client.wait(held, "InProgress")
    org.clock.push(7 * DAY + 60)
    client.login()
    assert client.call("GET", f"/jobs/ingest/{done}/successfulResults").status_code == 404
    assert client.call("GET", f"/jobs/ingest/{held}").status_code == 404
    assert client.call("GET", "/jobs/ingest").json()["records"] == []
    assert list(org._store.uploads.iterdir()) == []


def test_the_list_can_be_filtered_by_pk_chunking(shared):
    job = shared.create()

    def listed(value):
        reply = shared.call("GET", "/jobs/ingest", params={"isPkChunkingEnabled": value})
        return [record["id"] for record in reply.json()["records"]] if reply.ok else reply.status_code

    assert job in listed("false")
    assert listed("true") == []
    assert listed("maybe") == 400


# ---- delete and hardDelete ----


def test_a_deleted_row_is_in_the_recycle_bin_and_a_hard_deleted_one_is_nowhere(org, client):
    org.change(hard_delete=True)
    client.load(_rows(2))
    ids = [row["Id"] for row in org.rows("Product2")]
    _, info = client.load(f"Id\n{ids[0]}\n", operation="delete", key=None)
    hard, hard_info = client.load(f"Id\n{ids[1]}\n", operation="hardDelete", key=None)
    assert (info["numberRecordsFailed"], hard_info["numberRecordsFailed"], org.count("Product2")) == (0, 0, 0)
    assert client.result(hard, "successful") == f'"sf__Id","sf__Created",Id\n"{ids[1]}","false","{ids[1]}"\n'
    job, _ = client.load(f"Id,Name\n{ids[0]},x\n{ids[1]},x\n", operation="update", key=None)
    errors = {row["Id"]: row["sf__Error"] for row in client.table(job, "failed")}
    assert errors == {
        ids[0]: "ENTITY_IS_DELETED:entity is deleted:--",
        ids[1]: "INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:--",
    }


def test_the_key_of_a_deleted_row_is_free_again(org, client):
    client.load(_rows(1))
    old = next(org.rows("Product2"))["Id"]
    client.load(f"Id\n{old}\n", operation="delete", key=None)
    job, _ = client.load(_rows(1))
    assert client.table(job, "successful")[0]["sf__Created"] == "true"
    new = next(org.rows("Product2"))["Id"]
    assert new != old
    client.load(f"Id\n{new}\n", operation="delete", key=None)
    assert org.count("Product2") == 0


@pytest.mark.parametrize("operation", ["update", "delete"])
def test_a_row_without_an_id_with_a_wrong_one_and_with_one_twice_is_refused(client, org, operation):
    client.load(_rows(1))
    record = next(org.rows("Product2"))["Id"]
    user = "005" + record[3:]
    data = f"Id,Name\n,x\n{user},x\n{record},x\n{record},y\n"
    job, _ = client.load(data, operation=operation, key=None)
    errors = [row["sf__Error"] for row in client.table(job, "failed")]
    article = "an update" if operation == "update" else "a delete"
    assert sorted(errors) == [
        f"DUPLICATE_VALUE:Duplicate id in list: {record}:Id --",
        f"MALFORMED_ID:Product ID: id value of incorrect type: {user}:Id --",
        f"MISSING_ARGUMENT:Id not specified in {article} call:--",
    ]


# ---- daily limits ----


def test_rows_beyond_the_daily_record_limit_are_unprocessed_and_the_job_failed(org, client):
    org.change(max_records=10_100)
    job, info = client.load(_rows(10_300))
    assert (info["state"], info["errorMessage"]) == ("Failed", "ExceededQuota : Daily record limit exceeded")
    done, left = client.table(job, "successful"), client.table(job, "unprocessed")
    assert len(done) == info["numberRecordsProcessed"] in (300, 10_000)
    assert len(done) + len(left) == 10_300


def test_the_daily_allocations_roll_with_the_clock_and_deleted_jobs_still_count(org, client):
    org.change(max_batches=2)
    job, _ = client.load(_rows(1))
    client.call("DELETE", f"/jobs/ingest/{job}")
    org.clock.push(DAY / 2)
    client.login()
    client.load(_rows(1))
    assert client.call("GET", "/limits").json()["DailyBulkApiBatches"]["Remaining"] == 0
    _, info = client.load(_rows(1))
    assert info["errorMessage"] == "ExceededQuota : Daily batch allocation exceeded"
    org.clock.push(DAY / 2 + 60)
    client.login()
    assert client.call("GET", "/limits").json()["DailyBulkApiBatches"]["Remaining"] == 1
    assert client.load(_rows(1))[1]["state"] == "JobComplete"


# ---- retries, locks, order ----


def test_a_batch_is_tried_again_and_the_job_counts_it(org, client):
    org.faults.add("retry-batch", times=20)
    _, info = client.load(_rows(3))
    assert (info["state"], info["retries"], info["numberRecordsProcessed"]) == ("JobComplete", 20, 3)
    assert client.call("GET", "/limits").json()["DailyBulkApiBatches"]["Remaining"] == 14_999


def test_more_than_twenty_retries_of_a_batch_fail_the_job_and_leave_the_rest_unprocessed(org, client):
    org.faults.add("retry-batch", times=21, skip=1)
    job, info = client.load(_rows(10_300))
    assert (info["state"], info["retries"]) == ("Failed", 21)
    done, left = client.table(job, "successful"), client.table(job, "unprocessed")
    assert len(done) == info["numberRecordsProcessed"] in (300, 10_000)
    assert len(done) + len(left) == 10_300


def test_two_running_jobs_that_touch_one_parent_lock_each_other_out_when_the_setting_says_so(org, client):
    client.load(HEADER + "A,x\nB,x\n")
    parent = next(row["Id"] for row in org.rows("Product2") if row["ProductCode"] == "A")
    org.change(row_locks=True)
    org.hold_jobs(after_batches=1)
    first = client.create(**LINES)
    client.upload(first, _lines(0, 5, "A"))
    client.patch(first, "UploadComplete")
    assert org.wait_idle()
    assert client.info(first)["state"] == "InProgress"
    second = client.create(**LINES)
    client.upload(second, _lines(10, 3, "A") + "L99,B\nL98,\n")
    client.patch(second, "UploadComplete")
    assert org.wait_idle()
    org.release_jobs()
    assert client.wait(first)["numberRecordsFailed"] == 0
    assert client.wait(second)["numberRecordsFailed"] == 3
    text = f"UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record or 1 records: {parent}:--"
    assert {row["sf__Error"] for row in client.table(second, "failed")} == {text}
    assert client.load(_lines(10, 3, "A"), **LINES)[1]["numberRecordsFailed"] == 0


def test_without_the_setting_running_jobs_do_not_lock_each_other_out(org, client):
    client.load(HEADER + "A,x\n")
    org.hold_jobs(after_batches=1)
    jobs = []
    for start in (0, 10):
        jobs.append(client.create(**LINES))
        client.upload(jobs[-1], _lines(start, 3, "A"))
        client.patch(jobs[-1], "UploadComplete")
    assert org.wait_idle()
    org.release_jobs()
    assert [client.wait(job)["numberRecordsFailed"] for job in jobs] == [0, 0]


@pytest.fixture
def tree(tmp_path, make_client):
    """An object whose records have a parent of their own kind, and an owner of one of two kinds."""
    text = """
        name = "Node__c"
        label = "Node"
        [[fields]]
        name = "Key__c"
        type = "string"
        external_id = true
        unique = true
        [[fields]]
        name = "Parent__c"
        type = "reference"
        reference_to = ["Node__c"]
        [[fields]]
        name = "About__c"
        type = "reference"
        reference_to = ["Node__c", "Leaf__c"]
        [[fields]]
        name = "Mail__c"
        label = "Mail"
        type = "email"
    """
    (tmp_path / "node.toml").write_text(text)
    (tmp_path / "leaf.toml").write_text(
        text.replace("Node__c", "Leaf__c", 1).split('[[fields]]\n        name = "P')[0]
    )
    with serve(schema=tmp_path) as org:
        yield org, make_client(org.url)


def test_a_lookup_from_one_row_to_another_of_the_same_chunk_is_not_resolved(tree):
    org, client = tree
    made = {"obj": "Node__c", "key": "Key__c"}
    job, _ = client.load("Key__c,Parent__r.Key__c\nroot,\nleaf,root\n", **made)
    text = "INVALID_FIELD:Foreign key external ID: root not found for field Key__c in entity Node__c:--"
    assert [row["sf__Error"] for row in client.table(job, "failed")] == [text]
    assert client.load("Key__c,Parent__r.Key__c\nleaf,root\n", **made)[1]["numberRecordsFailed"] == 0
    rows = {row["Key__c"]: row for row in org.rows("Node__c")}
    assert rows["leaf"]["Parent__c"] == rows["root"]["Id"]


def test_a_lookup_with_several_targets_is_told_by_its_type_which_one_is_meant(tree):
    org, client = tree
    made = {"obj": "Node__c", "key": "Key__c"}
    client.load("Key__c\nk\n", **made)
    client.load("Key__c\nk\n", obj="Leaf__c", key="Key__c")
    _, info = client.load("Key__c,Leaf__c:About__r.Key__c\nx,k\n", **made)
    assert (info["state"], info["numberRecordsFailed"]) == ("JobComplete", 0)
    about = next(row["About__c"] for row in org.rows("Node__c") if row["Key__c"] == "x")
    assert about == next(org.rows("Leaf__c"))["Id"]
    _, info = client.load("Key__c,User:About__r.Key__c\nx,k\n", **made)
    assert info["errorMessage"] == "InvalidBatch : Unable to find relationship: User:About__r"


@pytest.mark.parametrize("text", ["nobody", "a@b", "a b@example.com", "@example.com"])
def test_a_text_that_is_no_address_is_refused_in_an_email_field(tree, text):
    job, _ = tree[1].load(f"Key__c,Mail__c\na,{text}\nb,a@example.com\n", obj="Node__c", key="Key__c")
    failed = tree[1].table(job, "failed")
    assert [row["sf__Error"] for row in failed] == [
        f"INVALID_EMAIL_ADDRESS:Mail: invalid email address: {text}:Mail__c --"
    ]


def test_the_same_seed_gives_the_same_order_of_chunks_and_it_is_not_the_files_order(client, org):
    client.load(_rows(3000), operation="insert", key=None)
    order = [row["ProductCode"] for row in org.rows("Product2")]
    assert order != sorted(order)
    chunks = [order[i : i + 200] for i in range(0, 3000, 200)]
    assert all(chunk == sorted(chunk) and int(chunk[0][1:]) % 200 == 0 for chunk in chunks)


# ---- files that are wrong as a whole, and results ----


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("External_ID__c,Nope__r.Name,Bad__c", "Unable to find relationship: Nope__r"),
        ("External_ID__c,Bad__c,Nope__r.Name", "Field name not found : Bad__c"),
        ("External_ID__c,Product__r.Nope", "Field name not found : Product__r.Nope"),
        ("External_ID__c,Product__r.TMS_Bar_Code__c", "Field name not found : Product__r.TMS_Bar_Code__c"),
        (
            "External_ID__c,Product2:Product__r.ProductCode",
            "type is not needed for non polymorphic foreign key references: Product__r",
        ),
    ],
)
def test_only_the_first_wrong_column_is_named_and_no_row_is_counted(shared, header, message):
    _, info = shared.load(f"{header}\nL1,x,y\n", **LINES)
    assert (info["state"], info["errorMessage"]) == ("Failed", f"InvalidBatch : {message}")
    assert (info["numberRecordsProcessed"], info["numberRecordsFailed"]) == (0, 0)


def test_a_header_of_more_than_32000_characters_fails_the_job(shared):
    _, info = shared.load(HEADER.strip() + "," + "x" * 32_000 + "\nA,x,y\n")
    assert info["errorMessage"] == "InvalidBatch : A header has at most 32000 characters and 5000 fields"


def test_a_record_of_more_than_400000_characters_fails_the_job(shared):
    _, info = shared.load(HEADER + "A," + "x" * 400_001 + "\n")
    assert info["errorMessage"] == "InvalidBatch : A record is larger than 400000 characters"


@pytest.mark.parametrize("kind", ["successful", "failed", "unprocessed"])
def test_a_job_without_data_has_empty_results_without_stray_marks(shared, kind):
    job = shared.create()
    shared.patch(job, "UploadComplete")
    shared.wait(job)
    head = {"successful": '"sf__Id","sf__Created"\n', "failed": '"sf__Id","sf__Error"\n', "unprocessed": "\n"}
    assert shared.result(job, kind) == head[kind]


def test_an_aborted_jobs_results_can_be_read_even_when_it_never_started(shared):
    job = shared.create()
    shared.upload(job, _rows(3))
    shared.patch(job, "Aborted")
    assert [len(shared.table(job, kind)) for kind in ("successful", "failed", "unprocessed")] == [0, 0, 3]


def test_digits_of_another_script_are_no_number(client):
    job, _ = client.load(
        "ProductCode,Name,TMS_Quantity__c,TMS_Price_EXC_VAT__c\nA,x,๑๒,\nB,x,,๑๒\n"  # Thai digits
    )
    errors = {row["ProductCode"]: row["sf__Error"].partition(":")[0] for row in client.table(job, "failed")}
    assert errors == {"A": "INVALID_FIELD", "B": "INVALID_FIELD"}


def test_a_number_of_any_length_is_judged_and_echoed(client):
    job, _ = client.load(
        f"ProductCode,Name,TMS_Price_EXC_VAT__c\nA,x,{'9' * 5000}\nB,x,{'0' * 5000}1.5\nC,x,-1E999\n"
    )
    failed = {row["ProductCode"]: row for row in client.table(job, "failed")}
    assert {code: row["sf__Error"].partition(":")[0] for code, row in failed.items()} == {
        "A": "NUMBER_OUTSIDE_VALID_RANGE",
        "C": "NUMBER_OUTSIDE_VALID_RANGE",
    }
    assert failed["A"]["TMS_Price_EXC_VAT__c"] == "Infinity"
    assert failed["C"]["TMS_Price_EXC_VAT__c"] == "-Infinity"
    assert client.table(job, "successful")[0]["TMS_Price_EXC_VAT__c"] == "1.5"


def test_a_result_row_can_be_joined_by_its_key_only(client):
    """Numbers come back rendered anew, #N/A and dates as they were sent."""
    job, _ = client.load(
        "ProductCode,Name,TMS_Price_EXC_VAT__c,TMS_Rate__c,TMS_Count_Date__c,TMS_Bar_Code__c\n"
        "A,x,10000000,0.0001,2025-01-31,#N/A\n"
    )
    row = list(csv.reader(io.StringIO(client.result(job, "successful"))))[1]
    assert row[2:] == ["A", "x", "1.0E7", "1.0E-4", "2025-01-31", "#N/A"]
