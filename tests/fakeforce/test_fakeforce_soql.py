import pytest

from conftest import SCHEMA, Client
from fakeforce import serve

DATA = (
    "ProductCode,Name,TMS_Price_EXC_VAT__c,TMS_Quantity__c,TMS_Count_Date__c,IsActive,TMS_Bar_Code__c\n"
    "A,Alpha,10.50,1,2025-01-01,true,100%\n"
    "B,beta,20.00,2,2025-06-30,false,a_b\n"
    'C,"O\'Neil",-5.25,,2026-01-01,true,\n'
    "D,Delta,,4,,false,axb\n"
)


@pytest.fixture
def loaded(client):
    client.load(DATA)
    return client


@pytest.fixture(scope="module")
def reader():
    """One org for the tests that only ask."""
    with serve(schema=SCHEMA) as org:
        client = Client(org.url)
        client.load(DATA)
        yield client
        client.http.close()


@pytest.mark.parametrize(
    ("where", "codes"),
    [
        ("ProductCode = 'a'", "A"),
        ("Name != 'Alpha'", "BCD"),
        (r"Name = 'O\'Neil'", "C"),
        ("TMS_Price_EXC_VAT__c > 10.5", "B"),
        ("TMS_Price_EXC_VAT__c >= 10.495", "AB"),
        ("TMS_Price_EXC_VAT__c < 10.505", "AC"),
        ("TMS_Price_EXC_VAT__c = 10.505", ""),
        ("TMS_Price_EXC_VAT__c != 10.505", "ABCD"),
        ("TMS_Price_EXC_VAT__c = null", "D"),
        ("TMS_Quantity__c != NULL", "ABD"),
        ("TMS_Quantity__c != 1", "BCD"),
        ("TMS_Count_Date__c > 2025-01-01", "BC"),
        ("CreatedDate > 2020-01-01T00:00:00Z", "ABCD"),
        ("IsActive = true AND TMS_Quantity__c = null", "C"),
        ("IsActive = true OR TMS_Quantity__c = 4", "ACD"),
        ("NOT (IsActive = true OR TMS_Quantity__c = 4)", "B"),
        ("(NOT Name LIKE 'a%') AND ProductCode IN ('A', 'B', 'X')", "B"),
        ("ProductCode NOT IN ('A', 'B')", "CD"),
        ("Name LIKE '%ELTA'", "D"),
        (r"TMS_Bar_Code__c LIKE '%\%'", "A"),
        (r"TMS_Bar_Code__c LIKE 'a\_b'", "B"),
        ("TMS_Bar_Code__c LIKE 'a_b'", "BD"),
    ],
)
def test_a_condition_selects_exactly_its_rows(reader, where, codes):
    reply = reader.query(f"SELECT ProductCode FROM Product2 WHERE {where} ORDER BY ProductCode")
    assert reply.status_code == 200, reply.text
    assert "".join(record["ProductCode"] for record in reply.json()["records"]) == codes
    counted = reader.query(f"SELECT COUNT() FROM Product2 WHERE {where}").json()
    assert counted == {"totalSize": len(codes), "done": True, "records": []}


def test_count_of_a_field_answers_one_aggregate_row(reader):
    reply = reader.query(
        "SELECT COUNT(Id), COUNT(TMS_Quantity__c) n, SUM(TMS_Price_EXC_VAT__c) s FROM Product2"
    )
    assert reply.json() == {
        "totalSize": 1,
        "done": True,
        "records": [{"attributes": {"type": "AggregateResult"}, "expr0": 4, "n": 3, "s": 25.25}],
    }


def test_rows_carry_attributes_and_parents(loaded):
    loaded.load(
        "External_ID__c,Product__r.ProductCode\nL1,A\nL2,\n", obj="KPS_Sales__c", key="External_ID__c"
    )
    reply = loaded.query(
        "SELECT External_ID__c, Product__r.Name FROM KPS_Sales__c"
        " WHERE Product__r.ProductCode = 'a' OR Product__c = null ORDER BY External_ID__c"
    )
    first, second = reply.json()["records"]
    assert first["Product__r"]["Name"] == "Alpha"
    assert first["attributes"]["url"].startswith("/services/data/v66.0/sobjects/KPS_Sales__c/a0S")
    assert second["Product__r"] is None


def test_large_answers_come_in_pages(client):
    client.load("ProductCode,Name\n" + "".join(f"P{i:04d},x\n" for i in range(450)))
    page = client.call(
        "GET",
        "/query",
        params={"q": "SELECT ProductCode FROM Product2 ORDER BY ProductCode DESC LIMIT 430"},
        headers={"Sforce-Query-Options": "batchSize=200"},
    ).json()
    codes = [record["ProductCode"] for record in page["records"]]
    assert (page["totalSize"], page["done"], len(codes)) == (430, False, 200)
    while not page["done"]:
        page = client.http.get(
            client.url + page["nextRecordsUrl"], headers={"Sforce-Query-Options": "batchSize=200"}, timeout=10
        ).json()
        codes += [record["ProductCode"] for record in page["records"]]
    assert codes == [f"P{i:04d}" for i in range(449, 19, -1)]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("SELECT Id FROM Nope__c", "INVALID_TYPE"),
        ("SELECT Nope__c FROM Product2", "INVALID_FIELD"),
        ("SELECT Id FROM Product2 WHERE Nope__c = 1", "INVALID_FIELD"),
        ("SELECT Id FROM Product2 WHERE Name = 5", "INVALID_FIELD"),
        ("SELECT Id FROM Product2 WHERE TMS_Quantity__c = '5'", "INVALID_FIELD"),
        ("SELECT Id FROM Product2 WHERE", "MALFORMED_QUERY"),
        ("SELECT FROM Product2", "MALFORMED_QUERY"),
        ("SELECT Id, FROM Product2", "MALFORMED_QUERY"),
        ("SELECT Id FROM Product2 WHERE AND Name = 'a'", "MALFORMED_QUERY"),
        ("SELECT Id FROM Product2 ORDER BY LIMIT 1", "MALFORMED_QUERY"),
        ("SELECT Id Product2", "MALFORMED_QUERY"),
        ("SELEC Id FROM Product2", "MALFORMED_QUERY"),
        ("SELECT Id FROM Product2 WHERE Name = 'a' AND Name = 'b' OR Name = 'c'", "MALFORMED_QUERY"),
        ("SELECT Id FROM Product2 WHERE Name = 'a' OR Name = 'b' AND Name = 'c'", "MALFORMED_QUERY"),
        ("SELECT Id FROM Product2 LIMIT x", "MALFORMED_QUERY"),
        ("SELECT Id FROM Product2 ;", "MALFORMED_QUERY"),
        ("", "MALFORMED_QUERY"),
    ],
)
def test_a_wrong_query_is_refused_with_the_documented_code(reader, query, code):
    reply = reader.query(query)
    assert (reply.status_code, reply.json()[0]["errorCode"]) == (400, code)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("SELECT Id, (SELECT Id FROM KPS_Sales__r) FROM Product2", "a subquery"),
        ("SELECT Id FROM Product2 WHERE CreatedDate = LAST_FISCAL_YEAR", "LAST_FISCAL_YEAR"),
        ("SELECT Id FROM Product2 WHERE CALENDAR_YEAR(CreatedDate) = 2025", "CALENDAR_YEAR()"),
        ("SELECT COUNT(Id) FROM Product2 GROUP BY ROLLUP(Name)", "GROUP BY ROLLUP()"),
        ("SELECT toLabel(Name) FROM Product2", "toLabel()"),
        ("SELECT Id FROM Product2 FOR UPDATE", "FOR"),
        ("SELECT Id FROM Product2 USING SCOPE mine", "USING"),
        ("SELECT Id FROM Product2 WITH SECURITY_ENFORCED", "WITH"),
        ("SELECT TYPEOF About__c WHEN User THEN Id END FROM Everything__c", "TYPEOF"),
        ("SELECT About__r.Name FROM Everything__c", "several targets"),
        ("SELECT Id FROM Product2 p, p.Owner o", "several objects"),
    ],
)
def test_what_the_emulator_cannot_do_is_refused_in_so_many_words(reader, query, named):
    reply = reader.query(query)
    assert (reply.status_code, reply.json()[0]["errorCode"]) == (400, "MALFORMED_QUERY")
    assert "fakeforce does not implement" in reply.json()[0]["message"]
    assert named in reply.json()[0]["message"]


def test_record_counts_leave_out_empty_and_unknown_objects(loaded):
    reply = loaded.call("GET", "/limits/recordCount?sObjects=Product2,KPS_Sales__c,Nope")
    assert reply.json() == {"sObjects": [{"count": 4, "name": "Product2"}]}
