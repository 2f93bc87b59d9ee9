"""sObject Collections, rows by external id: what each call answers, and that a refusal writes nothing."""

import json

import pytest

BASE = "/composite/sobjects"


def product(code, **more):
    return {"attributes": {"type": "Product2"}, "ProductCode": code, "Name": f"Thing {code}", **more}


def created(client, *codes):
    reply = client.call("POST", BASE, json={"records": [product(code) for code in codes]})
    assert all(result["success"] for result in reply.json()), reply.text
    return [result["id"] for result in reply.json()]


def test_create_takes_records_of_several_types_and_answers_in_their_order(org, client):
    records = [product("A"), {"attributes": {"type": "Append_Only__c"}, "Key__c": "K"}, product("B")]
    first, second, third = client.call("POST", BASE, json={"records": records}).json()
    assert [first["id"][:3], second["id"][:3], third["id"][:3]] == ["01t", "a0P", "01t"]
    assert first == {"id": first["id"], "success": True, "errors": []}
    assert (org.count("Product2"), org.count("Append_Only__c")) == (2, 1)


def test_update_goes_by_id_and_each_record_stands_alone(org, client):
    one, two = created(client, "A", "B")
    records = [
        {"attributes": {"type": "Product2"}, "id": two, "Name": "second"},
        {"attributes": {"type": "Product2"}, "id": "01t000000000000AAA", "Name": "nobody"},
        {"attributes": {"type": "Product2"}, "Name": "no id"},
        {"attributes": {"type": "Product2"}, "id": one, "IsActive": True},
    ]
    results = client.call("PATCH", BASE, json={"records": records}).json()
    codes = [r["errors"][0]["statusCode"] if r["errors"] else "" for r in results]
    assert codes == ["", "INVALID_CROSS_REFERENCE_KEY", "MISSING_ARGUMENT", ""]
    rows = {row["Id"]: row for row in org.rows("Product2")}
    assert (rows[one]["IsActive"], rows[two]["Name"]) == ("true", "second")


def test_upsert_says_created_and_refuses_a_key_that_is_given_twice(org, client):
    created(client, "A")
    records = [
        product("A"),
        product("B"),
        product("C"),
        {"ProductCode": "c", "Name": "other fields", "IsActive": True},
    ]
    results = client.call("PATCH", f"{BASE}/Product2/ProductCode", json={"records": records}).json()
    assert [r.get("created") for r in results] == [False, True, False, False]
    assert [r["errors"][0]["message"] for r in results[2:]] == ["Duplicate external id specified: c"] * 2
    assert org.count("Product2") == 2


def test_upsert_of_another_type_than_the_address_names_is_refused(client):
    records = [{"attributes": {"type": "Append_Only__c"}, "Key__c": "A"}]
    (result,) = client.call("PATCH", f"{BASE}/Product2/ProductCode", json={"records": records}).json()
    assert result["errors"][0]["statusCode"] == "INVALID_TYPE"


def test_an_upsert_by_id_without_an_id_creates(client):
    body = {"records": [product("A", Id=None)]}
    (result,) = client.call("PATCH", f"{BASE}/Product2/Id", json=body).json()
    assert (result["success"], result["created"]) == (True, True)


def test_delete_goes_through_several_objects_in_the_order_of_the_ids(org, client):
    one, two = created(client, "A", "B")
    other = client.call("POST", "/sobjects/Everything__c", json={"Key__c": "K"}).json()["id"]
    results = client.call("DELETE", f"{BASE}?ids={two},{other},nonsense,{one}&allOrNone=false").json()
    assert [r.get("id") for r in results] == [two, other, None, one]
    assert results[2] == {
        "success": False,
        "errors": [{"statusCode": "MALFORMED_ID", "message": "malformed id nonsense", "fields": []}],
    }
    assert (org.count("Product2"), org.count("Everything__c")) == (0, 0)


def test_delete_all_or_none_keeps_everything_and_shows_the_ids_it_could_have_deleted(org, client):
    one, two = created(client, "A", "B")
    results = client.call("DELETE", f"{BASE}?ids={one},nonsense,{two}&allOrNone=true").json()
    assert [r.get("id") for r in results] == [one, None, two]
    assert results[0]["errors"] == [
        {
            "statusCode": "ALL_OR_NONE_OPERATION_ROLLED_BACK",
            "message": "Record rolled back because not all records were valid and the request was using AllOrNone header",
            "fields": [],
        }
    ]
    assert org.count("Product2") == 2


def test_a_deleted_id_says_so_when_it_is_used_again(client):
    (one,) = created(client, "A")
    client.call("DELETE", f"{BASE}?ids={one}")
    (again,) = client.call("DELETE", f"{BASE}?ids={one}").json()
    assert again["errors"][0]["statusCode"] == "ENTITY_IS_DELETED"
    reply = client.call("GET", f"/sobjects/Product2/{one}")
    assert (reply.status_code, reply.json()[0]["errorCode"]) == (404, "ENTITY_IS_DELETED")


@pytest.mark.parametrize("how", ["GET", "POST"])
def test_retrieve_answers_one_item_an_id_and_null_for_none(client, how):
    one, two = created(client, "A", "B")
    ids, fields = [two, "01t000000000000AAA", "nonsense", one], ["Id", "productcode"]
    if how == "GET":
        reply = client.call("GET", f"{BASE}/Product2?ids={','.join(ids)}&fields={','.join(fields)}")
    else:
        reply = client.call("POST", f"{BASE}/Product2", json={"ids": ids, "fields": fields})
    first, second, third, fourth = reply.json()
    assert (first["Id"], first["ProductCode"], second, third) == (two, "B", None, None)
    assert fourth["attributes"] == {
        "type": "Product2",
        "url": f"/services/data/v66.0/sobjects/Product2/{one}",
    }


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("POST", BASE, {"records": [product(str(i)) for i in range(201)]}, "LIMIT_EXCEEDED"),
        ("DELETE", f"{BASE}?ids=" + ",".join(f"01t{i:012d}" for i in range(201)), None, "LIMIT_EXCEEDED"),
        ("DELETE", BASE, None, "MISSING_ARGUMENT"),
        ("POST", f"{BASE}/Product2", {"ids": ["x"] * 2001, "fields": ["Id"]}, "LIMIT_EXCEEDED"),
        ("GET", f"{BASE}/Product2?ids=x&fields=Nope__c", None, "INVALID_FIELD"),
        ("GET", f"{BASE}/Product2?ids=x", None, "MISSING_ARGUMENT"),
        ("POST", f"{BASE}/Product2", {"ids": "x", "fields": ["Id"]}, "JSON_PARSER_ERROR"),
        ("POST", BASE, {"records": {}}, "JSON_PARSER_ERROR"),
        ("POST", BASE, [], "JSON_PARSER_ERROR"),
        (
            "POST",
            BASE,
            {"records": [product("A"), {"attributes": {"type": "Append_Only__c"}}] * 6},
            "LIMIT_EXCEEDED",
        ),
    ],
)
def test_a_call_that_is_not_well_formed_is_refused_as_a_whole(org, client, method, path, body, code):
    reply = client.call(method, path, json=body)
    assert (reply.status_code, reply.json()[0]["errorCode"]) == (400, code)
    assert org.count("Product2") == 0


def test_200_records_are_one_call(org, client):
    before = client.call("GET", "/limits").json()["DailyApiRequests"]["Remaining"]
    assert len(created(client, *(f"P{i}" for i in range(200)))) == 200
    assert client.call("GET", "/limits").json()["DailyApiRequests"]["Remaining"] == before - 2


# ---- rows by external id ----


@pytest.mark.parametrize(
    "key", ["a b", "50%", "x/y", "ชิ้น", "a+b", "a?b#c", "semi;colon", "x@y.com", "x@y.inc.com"]
)
def test_a_percent_encoded_key_finds_the_row_it_made(client, key):
    from urllib.parse import quote

    path = f"/sobjects/Product2/ProductCode/{quote(key, safe='')}"
    assert client.call("PATCH", path, json={"Name": "x"}).status_code == 201
    assert client.call("PATCH", path, json={"Name": "y"}).status_code == 200
    assert client.call("GET", f"{path}?fields=ProductCode,Name").json()["ProductCode"] == key
    assert client.call("DELETE", path).status_code == 204
    assert client.call("GET", path).status_code == 404


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_a_key_that_ends_like_a_dangerous_file_is_never_found(org, client, method):
    created(client, "x@y.inc")
    reply = client.call(method, "/sobjects/Product2/ProductCode/x%40y.inc", json={"Name": "z"})
    assert (reply.status_code, reply.json()[0]["errorCode"]) == (404, "NOT_FOUND")
    assert [row["Name"] for row in org.rows("Product2")] == ["Thing x@y.inc"]


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_a_key_that_several_records_have_lists_them_and_changes_nothing(org, client, method):
    ids = [
        client.call("POST", "/sobjects/Product2", json=product(c, TMS_Group_Ref__c="G")).json()["id"]
        for c in "AB"
    ]
    reply = client.call(method, "/sobjects/Product2/TMS_Group_Ref__c/G", json={})
    assert reply.status_code == 300
    assert reply.json() == [f"/services/data/v66.0/sobjects/Product2/{i}" for i in ids]
    assert org.count("Product2") == 2


@pytest.mark.parametrize("body", ["\ud800", {"Name": "\ud800"}, "[" * 100_000, ""])
def test_a_body_that_is_no_text_or_too_deep_is_refused(client, body):
    data = body if (isinstance(body, str) and body.startswith("[")) or body == "" else json.dumps(body)
    reply = client.call("POST", "/sobjects/Product2", data=data)
    assert (reply.status_code, reply.json()[0]["errorCode"]) == (400, "JSON_PARSER_ERROR")
