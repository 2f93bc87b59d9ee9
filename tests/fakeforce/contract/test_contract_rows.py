"""What a job does to rows, and what its results say; single rows and queries."""

import re

import pytest


def test_an_upsert_creates_a_row_and_a_second_one_changes_it(org, key):
    for expected, text in (("true", "one"), ("false", "two")):
        job = org.load(org.csv(f"{key},{text}"))["id"]
        (row,) = org.table(job, "successfulResults")
        assert (row["sf__Created"], row[org.connection.key]) == (expected, key)
        assert org.row(key)[org.connection.text] == text
        assert org.row(key)["Id"] == row["sf__Id"]


def test_an_empty_cell_leaves_a_value_alone_and_na_removes_it(org, key):
    org.make(key, number=5, date="2025-01-31")
    org.load(org.csv(f"{key},x,,#N/A", fields="key,text,number,date"))
    row = org.row(key)
    assert (row[org.connection.number], row[org.connection.date]) == (5, None)


@pytest.mark.parametrize("text", ['a "b", c', "ชิ้น 😀", "two\nlines", "a;b|c^d`e", "'"])
def test_text_is_kept_character_by_character(org, key, text):
    quoted = '"' + text.replace('"', '""') + '"'
    job = org.load(org.csv(f"{key},{quoted}"))["id"]
    assert org.row(key)[org.connection.text] == text
    assert [row[org.connection.text] for row in org.table(job, "successfulResults")] == [text]


def test_every_row_is_in_exactly_one_result_file(org):
    keys = [org.new_key() for _ in range(450)]
    rows = [f"{k},x,{'2025-01-31' if n % 3 else '31/01/2025'}" for n, k in enumerate(keys)]
    info = org.load(org.csv(*rows, fields="key,text,date"))
    found = [
        row[org.connection.key]
        for kind in ("successfulResults", "failedResults", "unprocessedrecords")
        for row in org.table(info["id"], kind)
    ]
    assert sorted(found) == sorted(keys)
    assert (info["numberRecordsProcessed"], info["numberRecordsFailed"]) == (450, 150)


def test_result_files_begin_with_the_columns_of_the_server_and_the_sent_header(org, key):
    c = org.connection
    job = org.load(f'{c.key},"{c.text}"\n{key},x\n')["id"]
    assert org.result(job, "failedResults") == f'"sf__Id","sf__Error",{c.key},"{c.text}"\n'
    assert org.result(job, "unprocessedrecords") == f'{c.key},"{c.text}"\n'
    head, row, rest = org.result(job, "successfulResults").split("\n")
    assert head == f'"sf__Id","sf__Created",{c.key},"{c.text}"'
    assert re.fullmatch(rf'"\w{{18}}","true","{key}","x"', row)
    assert rest == ""


def test_a_wrong_date_refuses_its_row_alone_and_names_value_and_type(org, key):
    other = org.new_key()
    job = org.load(org.csv(f"{key},x,31/01/2025", f"{other},x,2025-01-31", fields="key,text,date"))["id"]
    (row,) = org.table(job, "failedResults")
    assert (row["sf__Id"], row[org.connection.key]) == ("", key)
    assert row["sf__Error"].startswith("INVALID_FIELD:Failed to deserialize field at col ")
    assert "'31/01/2025' is not a valid value for the type xsd:date" in row["sf__Error"]
    assert org.row(other)[org.connection.date] == "2025-01-31"


def test_a_row_with_too_few_cells_fails_alone_and_without_its_values(org, key):
    other = org.new_key()
    job = org.load(org.csv(f"{key},x", f"{other},x,1", fields="key,text,number"))["id"]
    (row,) = org.table(job, "failedResults")
    assert "Number of fields in header is different from the row. header = 3 row = 2" in row["sf__Error"]
    assert set(row.values()) == {"", row["sf__Error"]}


def test_a_key_twice_in_one_file_refuses_both_rows(org, key):
    job = org.load(org.csv(f"{key},one", f"{key},two"))["id"]
    errors = org.errors(job)
    assert len(errors) == 2
    assert all(e.startswith("DUPLICATE_VALUE:Duplicate external id specified: ") for e in errors)


def test_rows_are_changed_and_deleted_by_id(org, key):
    record = org.make(key)
    assert org.load(org.csv(f"{record},new", fields="Id,text"), "update")["numberRecordsFailed"] == 0
    assert org.row(key)[org.connection.text] == "new"
    job = org.load(f"Id\n{record}\n", "delete")["id"]
    assert [(row["sf__Id"], row["sf__Created"]) for row in org.table(job, "successfulResults")] == [
        (record, "false")
    ]
    job = org.load(f"Id\n{record}\n", "delete")["id"]
    assert [error.partition(":")[0] for error in org.errors(job)] == ["ENTITY_IS_DELETED"]


def test_a_large_number_comes_back_in_the_scientific_form(org, key):
    job = org.load(org.csv(f"{key},x,912260031", fields="key,text,number"))["id"]
    assert [row[org.connection.number] for row in org.table(job, "successfulResults")] == ["9.12260031E8"]


# ---- single rows ----


def test_a_patch_by_external_id_creates_then_changes(org, key):
    made = org.call("PATCH", org.path(key), json={org.connection.text: "one"})
    again = org.call("PATCH", org.path(key), json={org.connection.text: "two"})
    assert (made.status_code, made.json()["created"]) == (201, True)
    assert (again.status_code, again.json()["created"]) == (200, False)
    assert made.json()["id"] == again.json()["id"]
    assert again.json()["errors"] == []


def test_update_only_never_creates(org, key):
    path = org.path(key) + "?updateOnly=true"
    assert org.call("PATCH", path, json={org.connection.text: "x"}).status_code == 404
    assert org.call("GET", org.path(key)).status_code == 404
    org.make(key)
    assert org.call("PATCH", path, json={org.connection.text: "y"}).status_code == 200


def test_an_unknown_key_field_answers_404_with_an_array(org, key):
    refused = org.call("PATCH", org.path(key, "No_Such_Field__c"), json={})
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (404, "NOT_FOUND")


def test_an_unknown_column_of_a_row_is_refused_with_its_name(org, key):
    refused = org.call("PATCH", org.path(key), json={"No_Such_Field__c": 1})
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, "INVALID_FIELD")
    assert "No_Such_Field__c" in refused.json()[0]["message"]


def test_a_collection_answers_one_result_a_record_in_order(org, key):
    c = org.connection
    records = [
        {"attributes": {"type": c.object}, c.key: key, c.text: "x"},
        {"attributes": {"type": c.object}, c.key: org.new_key(), c.text: "x" * 1000},
    ]
    reply = org.call("PATCH", f"/composite/sobjects/{c.object}/{c.key}", json={"records": records})
    assert reply.status_code == 200
    good, bad = reply.json()
    assert (good["success"], good["created"], good["errors"]) == (True, True, [])
    assert (bad["success"], bad["errors"][0]["statusCode"]) == (False, "STRING_TOO_LONG")
    assert bad["errors"][0]["fields"] == [c.text]


# ---- queries ----


def test_queries_count_and_select(org, key):
    c = org.connection
    org.make(key, number=12.5)
    where = f"FROM {c.object} WHERE {c.key} = '{key}'"
    assert org.query(f"SELECT COUNT() {where}").json() == {"totalSize": 1, "done": True, "records": []}
    (counted,) = org.query(f"SELECT COUNT(Id) n {where}").json()["records"]
    assert counted == {"attributes": {"type": "AggregateResult"}, "n": 1}
    (found,) = org.query(f"SELECT Id, {c.number} {where}").json()["records"]
    assert found[c.number] == 12.5
    assert found["attributes"] == {
        "type": c.object,
        "url": f"/services/data/v66.0/sobjects/{c.object}/{found['Id']}",
    }


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("SELECT Id FROM No_Such_Object__c", "INVALID_TYPE"),
        ("SELECT No_Such_Field__c FROM {object}", "INVALID_FIELD"),
        ("SELECT Id FROM {object} WHERE", "MALFORMED_QUERY"),
        ("SELECT Id FROM {object} WHERE {key} = 'a' AND {key} = 'b' OR {key} = 'c'", "MALFORMED_QUERY"),
    ],
)
def test_a_wrong_query_is_refused_with_the_documented_code(org, text, code):
    refused = org.query(text.format(object=org.connection.object, key=org.connection.key))
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, code)


def test_describe_tells_of_the_fields_used_here(org):
    c = org.connection
    described = org.call("GET", f"/sobjects/{c.object}/describe").json()
    fields = {field["name"]: field for field in described["fields"]}
    assert fields[c.key]["externalId"] or fields[c.key]["idLookup"]
    assert fields[c.key]["unique"] is True
    assert fields[c.date]["type"] == "date"
    assert fields[c.number]["scale"] == 2
    needed = {
        f["name"]
        for f in fields.values()
        if f["createable"] and not f["nillable"] and not f["defaultedOnCreate"]
    }
    assert needed <= {c.key, c.text}  # or the rows that the tests make are refused
