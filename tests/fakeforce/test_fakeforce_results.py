import pytest

from fakeforce import serve


def _one(client, field, value, code="A"):
    job, info = client.load(f'ProductCode,Name,{field}\n{code},Thing,"{value}"\n')
    assert info["state"] == "JobComplete", info
    return job


def _error(client, field, value):
    return client.table(_one(client, field, value), "failed")[0]["sf__Error"]


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        (
            "TMS_Bar_Code__c",
            "x" * 101,
            f"STRING_TOO_LONG:Bar Code: data value too large: {'x' * 101} (max length=100):TMS_Bar_Code__c --",
        ),
        (
            "TMS_Product_Type__c",
            "Old",
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST:Product Type: bad value for restricted picklist field: "
            "Old:TMS_Product_Type__c --",
        ),
        (
            "TMS_Count_Date__c",
            "6/15/19",
            "INVALID_FIELD:Failed to deserialize field at col 2. Due to, '6/15/19' is not a valid value for the "
            "type xsd:date:TMS_Count_Date__c --",
        ),
        (
            "TMS_Start_Date__c",
            "2025-12-04 00:00:00",
            "INVALID_FIELD:Failed to deserialize field at col 2. Due to, '2025-12-04 00:00:00' is not a valid value "
            "for the type xsd:dateTime:TMS_Start_Date__c --",
        ),
        (
            "TMS_Price_EXC_VAT__c",
            "1,5",
            "INVALID_FIELD:Failed to deserialize field at col 2. Due to, '1,5' is not a valid value for the type "
            "xsd:double:TMS_Price_EXC_VAT__c --",
        ),
        (
            "TMS_Quantity__c",
            "1.5",
            "INVALID_FIELD:Failed to deserialize field at col 2. Due to, '1.5' is not a valid value for the type "
            "xsd:int:TMS_Quantity__c --",
        ),
        (
            "IsActive",
            "Y",
            "INVALID_FIELD:Failed to deserialize field at col 2. Due to, 'Y' is not a valid value for the type "
            "xsd:boolean:IsActive --",
        ),
    ],
)
def test_a_value_that_does_not_fit_refuses_its_row_with_the_known_text(client, field, value, error):
    assert _error(client, field, value) == error


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("TMS_Count_Date__c", "1699-12-31", "FIELD_INTEGRITY_EXCEPTION"),
        ("TMS_Count_Date__c", "4001-01-01", "FIELD_INTEGRITY_EXCEPTION"),
        ("TMS_Count_Date__c", "2025-02-30", "INVALID_FIELD"),
        ("TMS_Price_EXC_VAT__c", "1" + "0" * 16, "NUMBER_OUTSIDE_VALID_RANGE"),
        ("TMS_Price_EXC_VAT__c", "1E999", "NUMBER_OUTSIDE_VALID_RANGE"),
        ("TMS_Rate__c", "99999.99996", "NUMBER_OUTSIDE_VALID_RANGE"),
        ("CreatedDate", "2025-01-01T00:00:00Z", "INVALID_FIELD_FOR_INSERT_UPDATE"),
    ],
)
def test_values_outside_the_field_are_refused_with_the_documented_code(client, field, value, code):
    assert _error(client, field, value).startswith(code + ":")


@pytest.mark.parametrize(
    ("field", "value", "stored"),
    [
        ("TMS_Price_EXC_VAT__c", "8.411214953", "8.41"),
        ("TMS_Price_EXC_VAT__c", "-8.415", "-8.42"),
        ("TMS_Price_EXC_VAT__c", "1.5E3", "1500.00"),
        ("TMS_Price_EXC_VAT__c", "9999999999999999.99", "9999999999999999.99"),
        ("TMS_Rate__c", "0.00005", "0.0001"),
        ("TMS_Quantity__c", "-42", "-42"),
        ("TMS_Start_Date__c", "2025-12-04T00:00:00+07:00", "2025-12-03T17:00:00.000Z"),
        ("TMS_Count_Date__c", "1700-01-01", "1700-01-01"),
        ("IsActive", "TRUE", "true"),
        ("TMS_Bar_Code__c", "  0042 ", "0042"),
        ("TMS_Unit__c", "not in the list", "not in the list"),
        ("TMS_Bar_Code__c", "#N/A", None),
        ("TMS_Bar_Code__c", "", None),
    ],
)
def test_a_value_is_stored_exactly(org, client, field, value, stored):
    _one(client, field, value)
    assert next(org.rows("Product2"))[field] == stored


def test_blanks_around_text_can_be_kept_by_a_switch(org, client):
    org.change(trim_text=False)
    _one(client, "TMS_Bar_Code__c", " 42 ")
    assert next(org.rows("Product2"))["TMS_Bar_Code__c"] == " 42 "


def test_missing_required_fields_are_named_together(client):
    job, _ = client.load("ProductCode,Name\nA,\n")
    text = "REQUIRED_FIELD_MISSING:Required fields are missing: [Name]:Name --"
    assert client.table(job, "failed")[0]["sf__Error"] == text
    job, _ = client.load("TMS_Bar_Code__c\n1\n", operation="insert", key=None)
    text = "REQUIRED_FIELD_MISSING:Required fields are missing: [Name, ProductCode]:Name,ProductCode --"
    assert client.table(job, "failed")[0]["sf__Error"] == text


def test_an_empty_cell_leaves_a_field_alone_on_update_and_na_makes_it_null(org, client):
    client.load("ProductCode,Name,TMS_Bar_Code__c,TMS_Ref_Source__c\nA,Thing,1,src\n")
    client.load("ProductCode,Name,TMS_Bar_Code__c,TMS_Ref_Source__c\nA,,,#N/A\n")
    row = next(org.rows("Product2"))
    assert (row["Name"], row["TMS_Bar_Code__c"], row["TMS_Ref_Source__c"]) == ("Thing", "1", None)


def test_a_row_with_too_few_cells_fails_alone_and_comes_back_empty(client):
    job, info = client.load("ProductCode,Name,TMS_Bar_Code__c\nA,Thing\nB,Other,1\n")
    assert (info["numberRecordsProcessed"], info["numberRecordsFailed"]) == (2, 1)
    text = "INVALID_FIELD:Number of fields in header is different from the row. header = 3 row = 2:--"
    assert client.result(job, "failed").splitlines()[1] == f'"","{text}","","",""'


def test_a_key_twice_in_one_chunk_refuses_every_row_that_has_it(org, client):
    job, _ = client.load("ProductCode,Name\nA,one\nB,two\na,three\n")
    failed = client.table(job, "failed")
    assert sorted(row["Name"] for row in failed) == ["one", "three"]
    assert {row["sf__Error"].partition(":")[0] for row in failed} == {"DUPLICATE_VALUE"}
    assert "Duplicate external id specified: " in failed[0]["sf__Error"]
    assert [row["ProductCode"] for row in org.rows("Product2")] == ["B"]


def test_a_row_without_its_key_is_refused(client):
    job, _ = client.load("ProductCode,Name\n,one\n")
    assert client.table(job, "failed")[0]["sf__Error"] == "MISSING_ARGUMENT:ProductCode not specified:--"


def test_a_key_that_two_records_have_refuses_the_row(org, client):
    client.load("Name,ProductCode,TMS_Group_Ref__c\na,A,G\nb,B,G\n", operation="insert", key=None)
    job, _ = client.load("Name,ProductCode,TMS_Group_Ref__c\nc,C,G\n", key="TMS_Group_Ref__c")
    ids = ", ".join(row["Id"] for row in org.rows("Product2"))
    text = f"DUPLICATE_EXTERNAL_ID:Group Ref: more than one record found for external id field: [{ids}]"
    assert client.table(job, "failed")[0]["sf__Error"] == text + ":TMS_Group_Ref__c --"


def test_a_unique_value_that_another_record_has_refuses_the_row(org, client):
    client.load("ProductCode,Name,TMS_Serial__c\nA,x,S1\n")
    owner = next(org.rows("Product2"))["Id"]
    job, _ = client.load("ProductCode,Name,TMS_Serial__c\nB,x,s1\nC,x,S2\nD,x,S2\nA,x,S1\n")
    errors = {row["ProductCode"]: row["sf__Error"] for row in client.table(job, "failed")}
    assert set(errors) == {"B", "D"}
    text = "DUPLICATE_VALUE:duplicate value found: TMS_Serial__c duplicates value on record with id: "
    assert errors["B"] == f"{text}{owner}:--"
    unknown = "<unknown> duplicates value on record with id: <unknown>"  # of the same chunk
    assert errors["D"] == f"DUPLICATE_VALUE:duplicate value found: {unknown}:--"


def test_a_blank_next_to_a_quote_is_an_error_of_its_row_only(client):
    data = 'ProductCode,Name\nA, "a ""x"", y"\nB,"b"\n"C" ,"c"\nD," ""quoted"" "\nE, plain\n'
    job, info = client.load(data)
    assert (info["state"], info["numberRecordsFailed"]) == ("JobComplete", 2)
    assert {row["ProductCode"] for row in client.table(job, "successful")} == {"B", "D", "E"}
    failed = {row["Name"]: row["sf__Error"] for row in client.table(job, "failed")}
    text = "INVALID_FIELD:Failed to parse CSV. Found a blank next to a quote:--"
    assert failed == {'a "x", y': text, "c": text}


def test_a_field_that_two_columns_give_fails_the_job(org, client):
    client.load("ProductCode,Name\nA,x\nB,x\n")
    parent = next(org.rows("Product2"))["Id"]
    data = f"External_ID__c,Product__c,Product__r.ProductCode\nL,{parent},B\n"
    _, info = client.load(data, obj="KPS_Sales__c", key="External_ID__c")
    assert info["errorMessage"] == "InvalidBatch : Field name given twice : Product__r.ProductCode"


@pytest.mark.parametrize("operation", ["delete", "hardDelete"])
def test_deleting_a_parent_empties_the_lookups_of_its_children(org, client, operation):
    org.change(hard_delete=True)
    client.load("ProductCode,Name\nA,x\nB,x\n")
    children = {"obj": "KPS_Sales__c", "key": "External_ID__c"}
    client.load("External_ID__c,Product__r.ProductCode\nL,A\nM,B\n", **children)
    ids = {row["ProductCode"]: row["Id"] for row in org.rows("Product2")}
    client.load(f"Id\n{ids['A']}\n", operation=operation, key=None)
    assert {row["External_ID__c"]: row["Product__c"] for row in org.rows("KPS_Sales__c")} == {
        "L": None,
        "M": ids["B"],
    }


def test_a_record_that_a_required_lookup_names_is_not_deleted(tmp_path, make_client):
    text = "name = 'Node__c'\n[[fields]]\nname = 'Key__c'\ntype = 'string'\nexternal_id = true\n"
    (tmp_path / "node.toml").write_text(text)
    leaf = "[[fields]]\nname = 'Node__c'\ntype = 'reference'\nreference_to = ['Node__c']\nnillable = false\n"
    (tmp_path / "leaf.toml").write_text(text.replace("Node__c", "Leaf__c") + leaf)
    with serve(schema=tmp_path) as org:
        client = make_client(org.url)
        client.load("Key__c\nn\nfree\n", obj="Node__c", key="Key__c")
        client.load("Key__c,Node__r.Key__c\nl,n\n", obj="Leaf__c", key="Key__c")
        ids = {row["Key__c"]: row["Id"] for row in org.rows("Node__c")}
        job, _ = client.load(f"Id\n{ids['n']}\n{ids['free']}\n", obj="Node__c", operation="delete", key=None)
        (failed,) = client.table(job, "failed")
        assert (failed["Id"], failed["sf__Error"].partition(":")[0]) == (ids["n"], "DELETE_FAILED")
        assert [row["Key__c"] for row in org.rows("Node__c")] == ["n"]


def test_a_lookup_by_external_id_is_resolved_or_refuses_the_row(org, client):
    client.load("ProductCode,Name\nA,x\n")
    job, _ = client.load(
        "External_ID__c,Product__r.ProductCode\nL1,a\nL2,Z\nL3,\n", obj="KPS_Sales__c", key="External_ID__c"
    )
    text = "INVALID_FIELD:Foreign key external ID: Z not found for field ProductCode in entity Product2:--"
    assert [row["sf__Error"] for row in client.table(job, "failed")] == [text]
    product = next(org.rows("Product2"))["Id"]
    lines = {row["External_ID__c"]: row["Product__c"] for row in org.rows("KPS_Sales__c")}
    assert lines == {"L1": product, "L3": None}


def test_a_lookup_by_record_id_must_be_an_id_that_is_there(client):
    job, _ = client.load(
        "External_ID__c,Product__c\nL1,01tFf0000000009AAA\nL2,nonsense\n",
        obj="KPS_Sales__c",
        key="External_ID__c",
    )
    errors = {row["External_ID__c"]: row["sf__Error"] for row in client.table(job, "failed")}
    assert errors["L1"] == "INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:--"
    assert errors["L2"].startswith("MALFORMED_ID:Product: id value of incorrect type: nonsense")


def test_result_files_quote_every_cell_and_echo_the_header_as_sent(client):
    job, _ = client.load('ProductCode,"Name",TMS_Price_EXC_VAT__c,TMS_Quantity__c\nA,,912260031,2676\n')
    job, _ = client.load(
        'ProductCode,"Name",TMS_Price_EXC_VAT__c,TMS_Quantity__c\nA,"x ""y""",912260031,2676\n'
    )
    header, row, end = client.result(job, "successful").split("\n")
    assert header == '"sf__Id","sf__Created",ProductCode,"Name",TMS_Price_EXC_VAT__c,TMS_Quantity__c'
    assert row[20:] == ',"true","A","x ""y""","9.12260031E8","2676"'
    assert end == ""


def test_result_files_without_rows_are_the_header_alone(client):
    job, _ = client.load("ProductCode,Name\nA,x\n")
    assert client.result(job, "failed") == '"sf__Id","sf__Error",ProductCode,Name\n'
    assert client.result(job, "unprocessed") == "ProductCode,Name\n"


@pytest.mark.parametrize(
    "path", ["successfulResults/", "failedResults/", "unprocessedrecords", "unprocessedRecords/"]
)
def test_result_paths_are_found_in_both_spellings_and_with_a_slash(client, path):
    job, _ = client.load("ProductCode,Name\nA,x\n")
    reply = client.call("GET", f"/jobs/ingest/{job}/{path}")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/csv; charset=UTF-8"


def test_result_files_are_compressed_only_when_gzip_is_asked_for(client):
    job, _ = client.load("ProductCode,Name\nA,ชิ้น\n")
    path = f"/jobs/ingest/{job}/successfulResults"
    plain = client.call("GET", path, headers={"Accept-Encoding": "identity"})
    packed = client.call("GET", path, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert plain.content == packed.content
    assert "ชิ้น" in plain.content.decode("utf-8")


def test_result_rows_come_in_another_order_and_the_same_seed_gives_the_same_file(client):
    data = "ProductCode,Name\n" + "".join(f"P{i:04d},x\n" for i in range(900))
    job, _ = client.load(data)
    keys = [row["ProductCode"] for row in client.table(job, "successful")]
    assert keys != sorted(keys)
    assert sorted(keys) == [f"P{i:04d}" for i in range(900)]
    assert client.result(job, "successful") == client.result(job, "successful")


def test_a_failed_row_loses_the_value_under_a_header_in_the_wrong_case(client):
    job, _ = client.load("ProductCode,name,TMS_Count_Date__c\nA,Thing,nonsense\nB,Other,\n")
    assert client.table(job, "failed")[0]["name"] == ""
    assert client.table(job, "successful")[0]["name"] == "Other"


def test_the_rows_of_a_failed_job_are_unprocessed(client):
    job, _ = client.load("ProductCode,Nope\nA,x\nB,y\n")
    assert {row["ProductCode"] for row in client.table(job, "unprocessed")} == {"A", "B"}
