"""jsforce, the library below the Salesforce CLI and many Node programs."""

import json

import pytest

from conftest import HERE, table


@pytest.fixture
def jsforce(machine, org):
    def run(task, **given):
        asked = {"task": task, "url": org.url, "token": org.token, **given}
        return json.loads(machine.run("node", HERE / "jsforce.cjs", json.dumps(asked)).stdout)

    return run


def test_an_upsert_of_a_stream_hands_out_the_three_results(jsforce, machine, org, load):
    found = jsforce("load", operation="upsert", key="ProductCode", file=str(load.write(machine.home)))[
        "result"
    ]
    load.check_results(found["successfulResults"], found["failedResults"])
    assert found["unprocessedRecords"] == []
    load.check_org(org)


def test_a_job_step_by_step_ends_with_raw_results_and_is_deleted(jsforce, machine, org, load):
    path = str(load.write(machine.home))
    found = jsforce("steps", operation="upsert", key="ProductCode", file=path)["result"]
    successful, failed, unprocessed = map(table, found["raw"])
    load.check_results(successful, failed)
    assert unprocessed == []
    assert (found["info"]["numberRecordsProcessed"], found["info"]["numberRecordsFailed"]) == (4, 2)
    assert found["gone"] == "NOT_FOUND"
    load.check_org(org)


def test_records_are_inserted_updated_and_deleted(jsforce, org, load):
    records = [{"ProductCode": f"{load.prefix}{n}", "Name": "One"} for n in range(3)]
    made = jsforce("load", operation="insert", records=records)["result"]["successfulResults"]
    assert {row["sf__Created"] for row in made} == {"true"}
    ids = [{"Id": row["sf__Id"]} for row in made]
    changed = jsforce("load", operation="update", records=[{**i, "Name": "Two"} for i in ids])["result"]
    assert len(changed["successfulResults"]) == 3
    assert {row["Name"] for row in org.rows(load.prefix).values()} == {"Two"}
    gone = jsforce("load", operation="delete", records=ids)["result"]
    assert {row["sf__Created"] for row in gone["successfulResults"]} == {"false"}
    assert org.rows(load.prefix) == {}


def test_an_open_job_is_aborted(jsforce):
    assert jsforce("abort")["result"]["state"] == "Aborted"


def test_a_wrong_column_fails_the_load_with_its_name(jsforce, load):
    found = jsforce("load", operation="insert", records=[{"ProductCode": f"{load.prefix}1", "Nam": "x"}])
    assert "InvalidBatch : Field name not found : Nam" in found["error"]["message"]


def test_a_query_answers_records_and_the_header_of_used_requests_is_read(jsforce, machine, org, load):
    jsforce("load", operation="upsert", key="ProductCode", file=str(load.write(machine.home)))
    asked = f"SELECT Id, Name, CreatedDate FROM Product2 WHERE ProductCode = '{load.prefix}1'"
    found = jsforce("query", query=asked)
    assert found["result"]["totalSize"] == 1
    assert found["result"]["records"][0]["Name"] == "ชิ้น"
    assert found["limit"]["apiUsage"]["used"] < found["limit"]["apiUsage"]["limit"]


def test_a_long_query_is_read_page_by_page(jsforce, org, load):
    records = [{"ProductCode": f"{load.prefix}{n:03d}", "Name": "x"} for n in range(450)]
    jsforce("load", operation="insert", records=records)
    asked = f"SELECT ProductCode FROM Product2 WHERE ProductCode LIKE '{load.prefix}%' ORDER BY ProductCode"
    found = jsforce("pages", query=asked)["result"]
    assert found["total"] == 450
    assert found["sizes"][0] == 200
    assert found["codes"] == [record["ProductCode"] for record in records]


def test_a_wrong_query_is_an_error_with_the_servers_code(jsforce):
    assert jsforce("query", query="SELECT Id FROM Nope__c")["error"]["code"] == "INVALID_TYPE"


def test_a_bulk_query_answers_every_row(jsforce, machine, org, load):
    jsforce("load", operation="upsert", key="ProductCode", file=str(load.write(machine.home)))
    asked = f"SELECT Id, ProductCode, Name FROM Product2 WHERE ProductCode LIKE '{load.prefix}%'"
    rows = jsforce("bulkQuery", query=asked)["result"]
    held = org.rows(load.prefix)
    assert {row["ProductCode"]: (row["Id"], row["Name"]) for row in rows} == {
        code: (row["Id"], row["Name"]) for code, row in held.items()
    }


def test_single_rows_are_created_upserted_read_and_destroyed(jsforce, org, load):
    code = f"{load.prefix}1"
    found = jsforce("rows", code=code)["result"]
    assert (found["made"]["success"], found["again"]["success"], found["removed"]["success"]) == (
        True,
        True,
        True,
    )
    assert (found["read"]["Name"], found["read"]["ProductCode"]) == ("Upserted", code)
    assert [one["success"] for one in found["many"]] == [True, False]
    assert found["many"][1]["errors"][0]["statusCode"] == "REQUIRED_FIELD_MISSING"
    assert list(org.rows(load.prefix)) == [f"{code}2"]


def test_describe_limits_and_identity_are_read(jsforce):
    fields = {field["name"]: field for field in jsforce("describe")["result"]["fields"]}
    assert fields["ProductCode"]["externalId"] is True
    assert jsforce("limits")["result"]["DailyApiRequests"]["Max"] > 0
    assert jsforce("identity")["result"]["user_id"].startswith("005")
