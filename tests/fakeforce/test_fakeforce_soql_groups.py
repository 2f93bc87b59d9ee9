"""Aggregates, groups, relationships of several steps, semi-joins, FIELDS(), queryAll, and the refusals around them."""

import json

import pytest

from conftest import SCHEMA, Client

ROWS = (
    "Key__c,Amount__c,Count__c,Ratio__c,Colours__c,Parent__r.Key__c\n"
    "top,100.10,1,0.5,red;green,\n"
    "mid,200.20,2,0.25,green,top\n"
    "low,300.30,2,,,mid\n"
    "end,,,,blue;red,low\n"
)


@pytest.fixture(scope="module")
def reader(fakeforce_server):
    """One org for the tests that only ask. A row's parent is in an earlier job, as it must be there already."""
    org = fakeforce_server(SCHEMA)
    client = Client(org.url)
    header, *rows = ROWS.splitlines(keepends=True)
    for row in rows:
        client.load(header + row, obj="Everything__c", key="Key__c")
    client.load("Name,ProductCode,TMS_Group_Ref__c\nOne,A,x\nTwo,B,x\nthree,C,y\n")
    client.load(
        "External_ID__c,Product__r.ProductCode\nL1,A\nL2,A\nL3,B\nL4,\n",
        obj="KPS_Sales__c",
        key="External_ID__c",
    )
    yield client
    client.http.close()


def records(reader, query):
    reply = reader.query(query)
    assert reply.status_code == 200, reply.text
    return [{k: v for k, v in r.items() if k != "attributes"} for r in reply.json()["records"]]


def test_a_group_is_one_row_with_its_fields_and_aggregates(reader):
    reply = reader.query(
        "SELECT Count__c, COUNT(Id), SUM(Amount__c) total, COUNT(Amount__c)"
        " FROM Everything__c GROUP BY Count__c ORDER BY Count__c NULLS LAST"
    ).json()
    assert reply["totalSize"] == 3
    assert reply["records"][0] == {
        "attributes": {"type": "AggregateResult"},
        "Count__c": 1,
        "expr0": 1,
        "total": 100.1,
        "expr1": 1,
    }
    assert [(r["Count__c"], r["total"]) for r in reply["records"]] == [(1, 100.1), (2, 500.5), (None, None)]


def test_having_keeps_groups_and_order_by_an_aggregate_sorts_them(reader):
    found = records(
        reader,
        "SELECT TMS_Group_Ref__c ref, COUNT(Id) n FROM Product2 GROUP BY TMS_Group_Ref__c"
        " HAVING COUNT(Id) >= 1 AND TMS_Group_Ref__c != null ORDER BY COUNT(Id) DESC",
    )
    assert found == [{"ref": "x", "n": 2}, {"ref": "y", "n": 1}]
    found = records(
        reader, "SELECT TMS_Group_Ref__c FROM Product2 GROUP BY TMS_Group_Ref__c HAVING COUNT(Id) > 1"
    )
    assert found == [{"TMS_Group_Ref__c": "x"}]


def test_a_parents_field_in_group_by_goes_by_its_last_name(reader):
    found = records(
        reader,
        "SELECT Product__r.Name, COUNT(Id) n FROM KPS_Sales__c GROUP BY Product__r.Name ORDER BY Product__r.Name",
    )
    assert found == [{"Name": None, "n": 1}, {"Name": "One", "n": 2}, {"Name": "Two", "n": 1}]


@pytest.mark.parametrize(
    ("aggregate", "value"),
    [
        ("SUM(Amount__c)", "600.60"),
        ("AVG(Amount__c)", "200.2"),
        ("AVG(Count__c)", "1.6666666666666667"),
        ("MIN(Amount__c)", "100.10"),
        ("MAX(Key__c)", '"top"'),
        ("MIN(Count__c)", "1"),
        ("COUNT_DISTINCT(Count__c)", "2"),
        ("COUNT(Ratio__c)", "2"),
        ("SUM(Ratio__c)", "0.7500"),
    ],
)
def test_an_aggregate_is_exact_and_leaves_nulls_out(reader, aggregate, value):
    reply = reader.query(f"SELECT {aggregate} v FROM Everything__c")
    assert reply.text.endswith(f'"v":{value}}}]}}')


def test_aggregates_of_no_rows_are_null_and_counts_zero(reader):
    found = records(
        reader, "SELECT SUM(Amount__c) s, AVG(Amount__c) a, COUNT(Id) n FROM Everything__c WHERE Id = null"
    )
    assert found == [{"s": None, "a": None, "n": 0}]


def test_a_sum_too_large_to_be_exact_is_refused_not_rounded(client):
    rows = "".join(f"K{i},9999999999999999.99\n" for i in range(10))
    client.load("Key__c,Amount__c\n" + rows, obj="Everything__c", key="Key__c")
    reply = client.query("SELECT SUM(Amount__c) FROM Everything__c")
    assert (reply.status_code, reply.json()[0]["errorCode"]) == (400, "NUMBER_OUTSIDE_VALID_RANGE")
    assert "fakeforce does not implement" in reply.text


def test_parents_are_nested_several_steps_up_each_with_its_address(reader):
    (found,) = reader.query(
        "SELECT e.Key__c, Parent__r.Key__c, Parent__r.Parent__r.Parent__r.Key__c, Parent__r.CreatedBy.Username"
        " FROM Everything__c e WHERE Parent__r.Parent__r.Key__c = 'MID'"
    ).json()["records"]
    parent = found["Parent__r"]
    assert list(found) == ["attributes", "Key__c", "Parent__r"]
    assert (found["Key__c"], parent["Key__c"], parent["Parent__r"]["Parent__r"]["Key__c"]) == (
        "end",
        "low",
        "top",
    )
    assert parent["CreatedBy"]["Username"] == "integration@example.com"
    address = f"{reader.base[len(reader.url) :]}/sobjects/Everything__c/"
    assert parent["attributes"]["url"].startswith(address)
    assert parent["attributes"]["url"] != parent["Parent__r"]["attributes"]["url"]


def test_a_parent_without_values_is_not_null_and_a_missing_one_is(reader):
    found = records(
        reader, "SELECT Key__c, Parent__r.Mail__c FROM Everything__c WHERE Key__c IN ('top', 'mid')"
    )
    parents = {r["Key__c"]: r["Parent__r"] for r in found}
    assert parents["top"] is None
    assert parents["mid"]["Mail__c"] is None


@pytest.mark.parametrize(
    ("where", "codes"),
    [
        ("Id IN (SELECT Product__c FROM KPS_Sales__c)", "AB"),
        ("Id NOT IN (SELECT Product__c FROM KPS_Sales__c)", "C"),
        ("Id IN (SELECT Product__c FROM KPS_Sales__c WHERE External_ID__c LIKE 'L3')", "B"),
        ("Name = 'One' AND Id IN (SELECT Product__c FROM KPS_Sales__c WHERE External_ID__c != 'L1')", "A"),
        ("Id IN (SELECT Product__c FROM KPS_Sales__c) AND Name = 'two'", "B"),
    ],
)
def test_a_semi_join_selects_records_that_others_point_to(reader, where, codes):
    found = records(reader, f"SELECT ProductCode FROM Product2 WHERE {where} ORDER BY ProductCode")
    assert "".join(r["ProductCode"] for r in found) == codes


@pytest.mark.parametrize(
    ("where", "keys"),
    [
        ("Colours__c INCLUDES ('red')", "end top"),
        ("Colours__c INCLUDES ('red;green')", "top"),
        ("Colours__c INCLUDES ('red;green', 'blue')", "end top"),
        ("Colours__c EXCLUDES ('red')", "low mid"),
        ("Colours__c = 'green'", "mid"),
    ],
)
def test_includes_looks_at_each_value_of_a_multipicklist(reader, where, keys):
    found = records(reader, f"SELECT Key__c FROM Everything__c WHERE {where} ORDER BY Key__c")
    assert " ".join(r["Key__c"] for r in found) == keys


def test_fields_all_standard_and_custom_name_the_fields_that_describe_names(reader):
    described = reader.call("GET", "/sobjects/Everything__c/describe").json()["fields"]
    names = [f["name"] for f in described]
    (found, *_) = records(reader, "SELECT FIELDS(ALL) FROM Everything__c LIMIT 200")
    assert list(found) == names
    (found, *_) = records(reader, "SELECT FIELDS(CUSTOM), Id FROM Everything__c LIMIT 1")
    assert set(found) == {n for n in names if n.endswith("__c")} | {"Id"}
    assert "Key__c" not in records(reader, "SELECT FIELDS(STANDARD) FROM Everything__c")[0]


def test_query_all_sees_deleted_records_and_query_does_not(org, client):
    client.load("Name,ProductCode\nOne,A\nTwo,B\n")
    record = client.query("SELECT Id FROM Product2 WHERE ProductCode = 'A'").json()["records"][0]["Id"]
    client.call("DELETE", f"/sobjects/Product2/{record}")
    every = "SELECT ProductCode, IsDeleted FROM Product2 ORDER BY ProductCode"
    assert client.query(every).json()["totalSize"] == 1
    found = client.call("GET", "/queryAll", params={"q": every}).json()["records"]
    assert [(r["ProductCode"], r["IsDeleted"]) for r in found] == [("A", True), ("B", False)]
    gone = "SELECT COUNT() FROM Product2 WHERE IsDeleted = true AND Name = 'ONE'"
    assert client.call("GET", "/queryAll", params={"q": gone}).json()["totalSize"] == 1
    assert org.count("Product2") == 1
    client.call("POST", "/sobjects/Product2", json={"Name": "again", "ProductCode": "A"})
    assert (
        client.call("GET", "/queryAll", params={"q": "SELECT COUNT() FROM Product2"}).json()["totalSize"] == 3
    )


def test_pages_of_query_all_go_on_under_query(client):
    client.load("ProductCode,Name\n" + "".join(f"P{i:03d},x\n" for i in range(201)))
    client.load(
        "Id\n" + client.query("SELECT Id FROM Product2 LIMIT 1").json()["records"][0]["Id"] + "\n",
        operation="delete",
        key=None,
    )
    small = {"Sforce-Query-Options": "batchSize=200"}
    page = client.call("GET", "/queryAll", params={"q": "SELECT Id FROM Product2"}, headers=small).json()
    assert (page["totalSize"], len(page["records"]), "/query/" in page["nextRecordsUrl"]) == (201, 200, True)
    rest = client.http.get(client.url + page["nextRecordsUrl"], headers=small, timeout=10).json()
    assert (len(rest["records"]), rest["done"]) == (1, True)


def test_a_cursor_lives_two_days(org, client):
    client.load("ProductCode,Name\n" + "".join(f"P{i:03d},x\n" for i in range(201)))
    page = client.call(
        "GET",
        "/query",
        params={"q": "SELECT Id FROM Product2"},
        headers={"Sforce-Query-Options": "batchSize=200"},
    ).json()
    org.clock.push(2 * 86400 + 1)
    client.login()
    reply = client.http.get(client.url + page["nextRecordsUrl"], timeout=10)
    assert (reply.status_code, reply.json()[0]["errorCode"]) == (400, "INVALID_QUERY_LOCATOR")


def test_more_groups_than_one_page_are_refused_as_a_real_org_does(client):
    client.load("ProductCode,Name\n" + "".join(f"P{i:04d},x\n" for i in range(2001)))
    grouped = "SELECT ProductCode FROM Product2 GROUP BY ProductCode"
    reply = client.query(grouped)
    assert reply.json()[0]["errorCode"] == "EXCEEDED_ID_LIMIT"
    assert client.query(f"{grouped} LIMIT 2000").json()["totalSize"] == 2000


@pytest.mark.parametrize(
    ("query", "code", "text"),
    [
        (
            "SELECT Name, COUNT(Id) FROM Product2",
            "MALFORMED_QUERY",
            "Field must be grouped or aggregated: Name",
        ),
        (
            "SELECT Name FROM Product2 GROUP BY ProductCode",
            "MALFORMED_QUERY",
            "Field must be grouped or aggregated",
        ),
        (
            "SELECT COUNT(Id) FROM Product2 GROUP BY Name HAVING ProductCode = 'A'",
            "MALFORMED_QUERY",
            "ProductCode",
        ),
        ("SELECT COUNT(Id) FROM Product2 LIMIT 1", "MALFORMED_QUERY", "cannot also use LIMIT"),
        (
            "SELECT COUNT(Id) FROM Product2 HAVING COUNT(Id) > 1",
            "MALFORMED_QUERY",
            "unexpected token: 'HAVING'",
        ),
        ("SELECT Name n FROM Product2", "MALFORMED_QUERY", "only aggregate expressions use field aliasing"),
        ("SELECT COUNT(Id) n, COUNT(Name) n FROM Product2", "MALFORMED_QUERY", "duplicate alias: n"),
        ("SELECT Id, Id FROM Product2", "MALFORMED_QUERY", "duplicate field selected: Id"),
        ("SELECT SUM(Name) FROM Product2", "MALFORMED_QUERY", "does not support aggregate operator SUM"),
        (
            "SELECT COUNT(IsActive) FROM Product2",
            "MALFORMED_QUERY",
            "does not support aggregate operator COUNT",
        ),
        ("SELECT COUNT(Id) FROM Product2 GROUP BY CreatedDate", "INVALID_FIELD", "can not be grouped"),
        ("SELECT COUNT() FROM Product2 GROUP BY Name", "MALFORMED_QUERY", "COUNT()"),
        ("SELECT FIELDS(ALL) FROM Product2", "MALFORMED_QUERY", "must have a LIMIT of at most 200"),
        (
            "SELECT FIELDS(CUSTOM) FROM Product2 LIMIT 201",
            "MALFORMED_QUERY",
            "must have a LIMIT of at most 200",
        ),
        (
            "SELECT Id FROM Product2 LIMIT 1 OFFSET 2001",
            "NUMBER_OUTSIDE_VALID_RANGE",
            "Maximum SOQL offset allowed is 2000",
        ),
        ("SELECT Id FROM Everything__c WHERE Notes__c = 'x'", "INVALID_FIELD", "can not be filtered"),
        ("SELECT Id FROM Everything__c ORDER BY Notes__c", "MALFORMED_QUERY", "can not be sorted"),
        ("SELECT Id FROM Product2 WHERE Name INCLUDES ('a')", "INVALID_FIELD", "INCLUDES"),
        ("SELECT Id FROM Product2 WHERE Id = 'x'", "INVALID_QUERY_FILTER_OPERATOR", "invalid ID field: x"),
        (
            "SELECT Id FROM Product2 WHERE Nope__r.Name = 'x'",
            "INVALID_FIELD",
            "Didn't understand relationship 'Nope__r'",
        ),
        (
            "SELECT Id FROM Product2 WHERE Name = 'a' OR Id IN (SELECT Product__c FROM KPS_Sales__c)",
            "MALFORMED_QUERY",
            "Semi join sub-selects are not allowed with the 'OR' operator",
        ),
        (
            "SELECT Id FROM Product2 WHERE (NOT Id IN (SELECT Product__c FROM KPS_Sales__c))",
            "MALFORMED_QUERY",
            "Semi join sub-selects are only allowed at the top level WHERE expressions",
        ),
        (
            "SELECT Parent__r.Parent__r.Parent__r.Parent__r.Parent__r.Parent__r.Id FROM Everything__c",
            "MALFORMED_QUERY",
            "no more than 5 levels",
        ),
    ],
)
def test_a_query_outside_the_rules_is_refused_with_its_code_and_text(reader, query, code, text):
    reply = reader.query(query)
    assert (reply.status_code, reply.json()[0]["errorCode"]) == (400, code)
    assert text in reply.json()[0]["message"]


def test_a_bad_object_is_refused_with_the_recorded_text(reader):
    (error,) = reader.query("SELECT Id FROM XYZZY").json()
    assert error["errorCode"] == "INVALID_TYPE"
    assert error["message"].startswith("\nSELECT Id FROM XYZZY\n               ^\nERROR at Row:1:Column:16\n")
    assert "sObject type 'XYZZY' is not supported." in error["message"]


def test_thousands_of_conditions_are_answered_or_refused_but_never_a_crash(reader):
    many = " OR ".join(f"ProductCode = 'K{i}'" for i in range(2000))
    assert reader.query(f"SELECT COUNT() FROM Product2 WHERE {many}").status_code in (200, 400, 414, 431)
    keys = ", ".join(["'A'"] + [f"'K{i}'" for i in range(900)])
    found = reader.query(f"SELECT COUNT() FROM Product2 WHERE ProductCode IN ({keys})")
    assert found.json()["totalSize"] == 1


# ---- what clients send by themselves ----


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (
            "SELECT Name, InstanceName, IsSandbox, TrialExpirationDate, NamespacePrefix, OrganizationType FROM Organization",
            {
                "Name": "Fakeforce",
                "InstanceName": "FF0",
                "IsSandbox": False,
                "TrialExpirationDate": None,
                "NamespacePrefix": None,
                "OrganizationType": "Developer Edition",
            },
        ),
        ("SELECT COUNT(Id) CNT FROM Product2", {"CNT": 3}),
        (
            "SELECT QualifiedApiName FROM FieldDefinition WHERE EntityDefinitionId = 'Everything__c'"
            " AND IsPolymorphicForeignKey = true",
            {"QualifiedApiName": "About__c"},
        ),
    ],
)
def test_the_queries_that_clients_send_when_they_log_in_are_answered(reader, query, expected):
    assert records(reader, query) == [expected]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("SELECT Id FROM ScratchOrgInfo limit 1", "INVALID_TYPE"),
        ("SELECT IsPersonAccount FROM Account LIMIT 1", "INVALID_TYPE"),
        ("SELECT Id FROM SandboxProcess", "INVALID_TYPE"),
    ],
)
def test_objects_that_the_org_has_not_are_refused_to_clients_that_probe(reader, query, code):
    reply = reader.query(query)
    assert (reply.status_code, reply.json()[0]["errorCode"]) == (400, code)


def test_the_tooling_api_knows_sandbox_processes_and_has_none(reader):
    query = "SELECT Id, Status, SandboxName FROM SandboxProcess WHERE Status != 'E' ORDER BY CreatedDate DESC"
    reply = reader.call("GET", "/tooling/query", params={"q": query})
    assert reply.json() == {"totalSize": 0, "done": True, "records": []}
    reply = reader.call("GET", "/tooling/query", params={"q": "SELECT Id FROM Product2"})
    assert reply.json()[0]["errorCode"] == "INVALID_TYPE"


def test_explain_is_refused_by_name(reader):
    reply = reader.call("GET", "/query", params={"explain": "SELECT Id FROM Product2"})
    assert (reply.status_code, "does not implement explain" in reply.text) == (400, True)


def test_numbers_in_answers_are_json_numbers_with_every_digit(client):
    client.load("Key__c,Amount__c\nK,9007199254740993.01\n", obj="Everything__c", key="Key__c")
    reply = client.query("SELECT Amount__c FROM Everything__c")
    assert '"Amount__c":9007199254740993.01' in reply.text
    assert json.loads(reply.text, parse_float=str)["records"][0]["Amount__c"] == "9007199254740993.01"
