import json
from datetime import timedelta
from email.utils import parsedate_to_datetime

import pytest

FILES = "/sobjects/TMS_Daily_Sales_File__c/TMS_External_File_Ref__c"
REF = "0901001_042_Sales_20251127042907"


def test_a_patch_creates_the_row_and_a_second_one_updates_it(org, client):
    first = client.call("PATCH", f"{FILES}/{REF}", json={"TMS_Status__c": "Uploading"})
    assert first.status_code == 201
    assert first.json() == {"id": first.json()["id"], "success": True, "errors": [], "created": True}
    second = client.call("PATCH", f"{FILES}/{REF}", json={"TMS_Status__c": "Uploaded"})
    assert (second.status_code, second.json()["created"]) == (200, False)
    assert [row["TMS_Status__c"] for row in org.rows("TMS_Daily_Sales_File__c")] == ["Uploaded"]


@pytest.mark.parametrize(
    "body",
    [
        {"TMS_File_Name__c": "a", "tms_file_name__c": "b"},
        {"OwnerId": "005Ff0000000001IAA", "Owner": {"Id": "005Ff0000000001IAA"}},
    ],
)
def test_a_field_given_twice_in_one_record_is_refused(org, client, body):
    reply = client.call("PATCH", f"{FILES}/{REF}", json=body)
    assert (reply.status_code, reply.json()[0]["errorCode"]) == (400, "INVALID_FIELD")
    assert org.count("TMS_Daily_Sales_File__c") == 0


def test_an_address_and_headers_have_at_most_16384_bytes_together(shared):
    literal = "x" * 15_000
    assert shared.query(f"SELECT Id FROM Product2 WHERE Name = '{literal}'").status_code == 200
    assert shared.query(f"SELECT Id FROM Product2 WHERE Name = '{literal}x{'y' * 1_400}'").status_code == 414
    long = shared.call("GET", "/limits", headers={"X-Long": "x" * 16_384})
    assert (long.status_code, long.json()[0]["errorCode"]) == (431, "REQUEST_HEADER_FIELDS_TOO_LARGE")


def test_a_row_is_found_by_its_id_of_15_characters_too(org, client):
    made = client.call("PATCH", f"{FILES}/{REF}", json={}).json()["id"]
    path = f"/sobjects/TMS_Daily_Sales_File__c/{made[:15]}"
    assert client.call("GET", path).json()["Id"] == made
    assert client.call("PATCH", path, json={"TMS_Status__c": "Uploaded"}).status_code == 204
    assert [row["TMS_Status__c"] for row in org.rows("TMS_Daily_Sales_File__c")] == ["Uploaded"]
    assert client.call("DELETE", path).status_code == 204
    assert org.count("TMS_Daily_Sales_File__c") == 0


def test_update_only_never_creates(org, client):
    path = f"{FILES}/{REF}?updateOnly=true"
    missing = client.call("PATCH", path, json={"TMS_Status__c": "Uploaded"})
    assert (missing.status_code, missing.json()[0]["errorCode"]) == (404, "NOT_FOUND")
    assert org.count("TMS_Daily_Sales_File__c") == 0
    client.call("PATCH", f"{FILES}/{REF}", json={})
    assert client.call("PATCH", path, json={"TMS_Status__c": "Uploaded"}).status_code == 200


def test_a_new_row_gets_the_default_and_the_server_fields(org, client):
    client.call("PATCH", f"{FILES}/{REF}", json={})
    row = next(org.rows("TMS_Daily_Sales_File__c"))
    assert row["TMS_Status__c"] == "New"
    assert row["TMS_External_File_Ref__c"] == REF
    assert row["OwnerId"] == row["CreatedById"]
    assert row["CreatedDate"].endswith("Z")


@pytest.mark.parametrize(
    ("body", "code", "fields"),
    [
        ({"TMS_Status__c": "Done"}, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", ["TMS_Status__c"]),
        ({"TMS_File_Name__c": "x" * 256}, "STRING_TOO_LONG", ["TMS_File_Name__c"]),
        ({"TMS_Sales_Date__c": "31/12/2025"}, "JSON_PARSER_ERROR", None),
        ({"TMS_File_Name__c": 5}, None, None),
        ({"TMS_Sales_Date__c": True}, "JSON_PARSER_ERROR", None),
        ({"Nope__c": "x"}, "INVALID_FIELD", None),
        (
            {"CreatedDate": "2025-01-01T00:00:00Z"},
            "INVALID_FIELD_FOR_INSERT_UPDATE",
            ["CreatedDate"],
        ),
    ],
)
def test_a_row_is_judged_as_in_a_bulk_job(client, body, code, fields):
    reply = client.call("PATCH", f"{FILES}/{REF}", json=body)
    if code is None:
        assert reply.status_code == 201
        return
    assert reply.status_code == 400
    assert reply.json()[0]["errorCode"] == code
    assert reply.json()[0].get("fields") == fields


def test_a_body_that_is_no_json_is_refused(client):
    reply = client.call("PATCH", f"{FILES}/{REF}", data=b"{nope")
    assert (reply.status_code, reply.json()[0]["errorCode"]) == (400, "JSON_PARSER_ERROR")


@pytest.mark.parametrize(
    "path", ["Nope__c/Id/1", "Product2/Nope__c/1", "Product2/Name/1", "Product2/ProductCode/unknown"]
)
def test_unknown_objects_key_fields_and_rows_are_not_found(client, path):
    reply = client.call("GET", f"/sobjects/{path}")
    assert (reply.status_code, reply.json()[0]["errorCode"]) == (404, "NOT_FOUND")


def test_a_value_with_a_slash_and_thai_letters_is_one_path_segment(org, client):
    client.call("PATCH", "/sobjects/Product2/ProductCode/a%2Fb%20%E0%B8%8A", json={"Name": "x"})
    assert [row["ProductCode"] for row in org.rows("Product2")] == ["a/b ช"]


def test_several_records_of_one_key_are_listed_and_nothing_is_written(org, client):
    client.load("Name,ProductCode,TMS_Group_Ref__c\na,A,G\nb,B,G\n", operation="insert", key=None)
    reply = client.call("PATCH", "/sobjects/Product2/TMS_Group_Ref__c/G", json={"Name": "new"})
    ids = [row["Id"] for row in org.rows("Product2")]
    assert reply.status_code == 300
    assert reply.json() == [f"/services/data/v66.0/sobjects/Product2/{i}" for i in ids]
    assert [row["Name"] for row in org.rows("Product2")] == ["a", "b"]


def test_numbers_keep_every_digit_on_the_way_in_and_out(org, client):
    body = '{"Name": "x", "TMS_Price_EXC_VAT__c": 9999999999999999.99, "TMS_Quantity__c": 7}'
    client.call("PATCH", "/sobjects/Product2/ProductCode/A", data=body)
    assert next(org.rows("Product2"))["TMS_Price_EXC_VAT__c"] == "9999999999999999.99"
    reply = client.call("GET", "/sobjects/Product2/ProductCode/A?fields=TMS_Price_EXC_VAT__c,TMS_Quantity__c")
    assert '"TMS_Price_EXC_VAT__c":9999999999999999.99,"TMS_Quantity__c":7' in reply.text


def test_a_lookup_can_be_given_by_the_parents_external_id(org, client):
    client.load("ProductCode,Name\nA,x\n")
    reply = client.call(
        "PATCH", "/sobjects/KPS_Sales__c/External_ID__c/L1", json={"Product__r": {"ProductCode": "A"}}
    )
    assert reply.status_code == 201
    assert next(org.rows("KPS_Sales__c"))["Product__c"] == next(org.rows("Product2"))["Id"]
    missing = client.call(
        "PATCH", "/sobjects/KPS_Sales__c/External_ID__c/L2", json={"Product__r": {"ProductCode": "Z"}}
    )
    assert "Foreign key external ID: Z not found" in missing.json()[0]["message"]


def test_a_row_can_be_read_by_id_changed_by_id_and_deleted(org, client):
    made = client.call("POST", "/sobjects/Product2", json={"Name": "x", "ProductCode": "A"})
    assert made.status_code == 201
    path = f"/sobjects/Product2/{made.json()['id']}"
    assert client.call("PATCH", path, json={"Name": "y"}).status_code == 204
    assert client.call("GET", path).json()["Name"] == "y"
    assert client.call("DELETE", path).status_code == 204
    assert client.call("GET", path).status_code == 404


def test_an_upsert_of_an_existing_row_answers_204_before_v46(org, make_client):
    old = make_client(org.url, version="45.0")
    assert old.call("PATCH", f"{FILES}/{REF}", json={}).status_code == 201
    assert old.call("PATCH", f"{FILES}/{REF}", json={}).status_code == 204


def test_a_collection_answers_200_with_one_result_a_record_in_order(org, client):
    records = [
        {"attributes": {"type": "Product2"}, "ProductCode": "A", "Name": "one"},
        {"attributes": {"type": "Product2"}, "ProductCode": "B"},
        {"attributes": {"type": "Product2"}, "ProductCode": "C", "Name": "three", "Nope__c": 1},
    ]
    reply = client.call("PATCH", "/composite/sobjects/Product2/ProductCode", json={"records": records})
    first, second, third = reply.json()
    assert reply.status_code == 200
    assert (first["success"], first["created"]) == (True, True)
    assert second["errors"][0]["statusCode"] == "REQUIRED_FIELD_MISSING"
    assert third["errors"][0]["statusCode"] == "INVALID_FIELD"
    assert org.count("Product2") == 1


def test_all_or_none_rolls_the_good_records_back(org, client):
    records = [{"ProductCode": "A", "Name": "one"}, {"ProductCode": "B"}]
    reply = client.call(
        "PATCH", "/composite/sobjects/Product2/ProductCode", json={"allOrNone": True, "records": records}
    )
    assert reply.json()[0]["errors"][0]["statusCode"] == "ALL_OR_NONE_OPERATION_ROLLED_BACK"
    assert org.count("Product2") == 0


def test_describe_tells_each_field_with_every_documented_key(client):
    described = client.call("GET", "/sobjects/product2/describe").json()
    fields = {f["name"]: f for f in described["fields"]}
    assert described["keyPrefix"] == "01t"
    assert {"Id", "IsDeleted", "CreatedDate", "SystemModstamp", "ProductCode"} <= set(fields)
    code = fields["ProductCode"]
    assert (code["externalId"], code["unique"], code["nillable"], code["length"]) == (True, True, False, 255)
    price = fields["TMS_Price_EXC_VAT__c"]
    assert (price["type"], price["precision"], price["scale"]) == ("currency", 18, 2)
    kind = fields["TMS_Product_Type__c"]
    assert [v["value"] for v in kind["picklistValues"]] == ["New", "Update", "Cancel"]
    assert kind["restrictedPicklist"] is True
    assert all(len(f) == 57 for f in fields.values()), sorted(map(len, fields.values()))


def test_the_global_describe_lists_every_object(client):
    listed = client.call("GET", "/sobjects").json()["sobjects"]
    assert {"Product2", "KPS_Sales__c", "User", "Organization"} <= {item["name"] for item in listed}
    unknown = client.call("GET", "/sobjects/Nope__c/describe")
    assert (unknown.status_code, unknown.json()[0]["errorCode"]) == (404, "NOT_FOUND")


def test_a_wrong_method_is_refused_with_the_allowed_ones(client):
    reply = client.call("DELETE", "/sobjects")
    assert (reply.status_code, reply.json()[0]["errorCode"]) == (405, "METHOD_NOT_ALLOWED")


def test_the_admin_path_shows_rows_as_json_lines(org, client):
    client.load("ProductCode,Name\nA,ชิ้น\nB,y\n")
    reply = client.http.get(org.url + "/fakeforce/rows/Product2", timeout=10)
    rows = [json.loads(line) for line in reply.content.decode().splitlines()]
    assert sorted(row["Name"] for row in rows) == ["y", "ชิ้น"]
    state = client.http.get(org.url + "/fakeforce/state", timeout=10).json()
    assert state["objects"]["Product2"] == 2
    assert ("POST", "/services/data/v66.0/jobs/ingest", 200) in org.calls


def test_an_answer_carries_the_time_of_the_org(org, client):
    org.clock.push(3 * 86_400)
    told = parsedate_to_datetime(client.call("GET", "/limits").headers["Date"])
    assert abs(told - org.clock.now()) < timedelta(seconds=5)
