"""Field types, field-level security, object permissions and describe."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from conftest import SCHEMA, Client
from fakeforce import SchemaError
from fakeforce.schema import load

KEY = "/sobjects/Everything__c/Key__c"
# Every key of a field, as a real org's describe was recorded.
FIELD_KEYS_TEXT = (
    "aggregatable aiPredictionField autoNumber byteLength calculated calculatedFormula cascadeDelete caseSensitive"
    " compoundFieldName controllerName createable custom defaultValue defaultValueFormula defaultedOnCreate"
    " dependentPicklist deprecatedAndHidden digits displayLocationInDecimal encrypted externalId extraTypeInfo"
    " filterable filteredLookupInfo formulaTreatNullNumberAsZero groupable highScaleNumber htmlFormatted idLookup"
    " inlineHelpText label length mask maskType name nameField namePointing nillable permissionable picklistValues"
    " polymorphicForeignKey precision queryByDistance referenceTargetField referenceTo relationshipName"
    " relationshipOrder restrictedDelete restrictedPicklist scale searchPrefilterable soapType sortable type unique"
    " updateable writeRequiresMasterRead"
)
FIELD_KEYS = set(FIELD_KEYS_TEXT.split())
OBJECT_KEYS_TEXT = (
    "name label labelPlural keyPrefix custom createable updateable deletable undeletable mergeable queryable"
    " searchable retrieveable triggerable urls childRelationships recordTypeInfos fields supportedScopes"
    " sobjectDescribeOption"
)
OBJECT_KEYS = set(OBJECT_KEYS_TEXT.split())


@pytest.fixture(scope="module")
def shared(fakeforce_server):
    org = fakeforce_server(SCHEMA)
    client = Client(org.url)
    yield client
    client.http.close()


@pytest.fixture(scope="module")
def fields(shared):
    described = shared.call("GET", "/sobjects/Everything__c/describe").json()
    return {f["name"]: f for f in described["fields"]}


@pytest.mark.parametrize(
    ("field", "sent", "shown"),
    [
        ("Opens__c", "09:30:00", "09:30:00.000Z"),
        ("Opens__c", "23:59:59.5Z", "23:59:59.500Z"),
        ("Colours__c", "red;blue", "red;blue"),
        ("Day__c", "2026-01-31", "2026-01-31"),
        ("Moment__c", "2026-01-31T09:00:00+07:00", "2026-01-31T02:00:00.000+0000"),
        ("Share__c", 12.5, 12.5),
        ("Amount__c", "-0.01", -0.01),
        ("Count__c", -7, -7),
        ("Ratio__c", 0.1234, 0.1234),
        ("Mail__c", "a@example.com", "a@example.com"),
        ("Phone__c", "+66 2 000 0000", "+66 2 000 0000"),
        ("Site__c", "https://example.com/x", "https://example.com/x"),
        ("Flag__c", True, True),
        ("Notes__c", "line\nline", "line\nline"),
        ("Short_Notes__c", "ชิ้น", "ชิ้น"),
    ],
)
def test_a_value_of_each_type_comes_back_in_its_json_form(shared, field, sent, shown):
    assert shared.call("PATCH", f"{KEY}/T", json={field: sent}).status_code in (200, 201)
    assert shared.call("GET", f"{KEY}/T?fields={field}").json()[field] == shown


@pytest.mark.parametrize(
    ("field", "sent", "code"),
    [
        ("Opens__c", "24:00:00", "JSON_PARSER_ERROR"),
        ("Opens__c", "noon", "JSON_PARSER_ERROR"),
        ("Colours__c", "red;pink", "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"),
        ("Share__c", 1000, "NUMBER_OUTSIDE_VALID_RANGE"),
        ("Count__c", 1.5, "JSON_PARSER_ERROR"),
        ("Mail__c", "nobody", "INVALID_EMAIL_ADDRESS"),
        ("Notes__c", "x" * 1001, "STRING_TOO_LONG"),
        ("About__c", "a0Pnonsense", "MALFORMED_ID"),
        ("About__c", "a0P000000000001AAA", "INVALID_CROSS_REFERENCE_KEY"),
        ("Name", "E-1", "INVALID_FIELD_FOR_INSERT_UPDATE"),
        ("Doubled__c", 2, "INVALID_FIELD_FOR_INSERT_UPDATE"),
        ("Salary__c", 2, "INVALID_FIELD"),
    ],
)
def test_a_wrong_value_is_refused_with_its_code(shared, field, sent, code):
    reply = shared.call("PATCH", f"{KEY}/W", json={field: sent})
    assert (reply.status_code, reply.json()[0]["errorCode"]) == (400, code)


def test_a_bulk_job_reads_the_same_types_and_says_what_it_cannot_read(org, client):
    data = "Key__c,Opens__c,Colours__c\nA,08:00:00.000Z,green;red\nB,8 o'clock,\nC,,pink\n"
    job, info = client.load(data, obj="Everything__c", key="Key__c")
    assert (info["numberRecordsProcessed"], info["numberRecordsFailed"]) == (3, 2)
    errors = {row["Key__c"]: row["sf__Error"] for row in client.table(job, "failed")}
    assert "is not a valid value for the type xsd:time:Opens__c --" in errors["B"]
    assert errors["C"] == (
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST:Colours: bad value for restricted picklist field: pink:Colours__c --"
    )
    (row,) = org.rows("Everything__c")
    assert (row["Opens__c"], row["Colours__c"]) == ("08:00:00.000Z", "green;red")


def test_an_auto_number_counts_the_records(org, client):
    client.load("Key__c\nA\nB\n", obj="Everything__c", key="Key__c")
    assert sorted(row["Name"] for row in org.rows("Everything__c")) == ["E-0001", "E-0002"]


def test_a_reference_with_several_targets_takes_an_id_of_each(shared):
    user = shared.http.get(shared.url + "/services/oauth2/userinfo", timeout=10).json()["user_id"]
    product = shared.call("POST", "/sobjects/Product2", json={"Name": "x", "ProductCode": "POLY"}).json()[
        "id"
    ]
    for record in (user, product):
        assert shared.call("PATCH", f"{KEY}/P", json={"About__c": record}).status_code in (200, 201)
        assert shared.call("GET", f"{KEY}/P").json()["About__c"] == record


# ---- field-level security ----


def test_a_hidden_field_is_missing_everywhere(org, client, fields):
    assert "Salary__c" not in fields
    assert client.query("SELECT Salary__c FROM Everything__c").json()[0]["errorCode"] == "INVALID_FIELD"
    job = client.create(obj="Everything__c", key="Key__c")
    client.upload(job, "Key__c,Salary__c\nA,5\n")
    client.patch(job, "UploadComplete")
    info = client.wait(job)
    assert (info["state"], info["errorMessage"]) == (
        "Failed",
        "InvalidBatch : Field name not found : Salary__c",
    )
    assert org.count("Everything__c") == 0


# ---- object permissions ----


def test_an_object_that_may_only_be_created_refuses_change_and_removal(client):
    made = client.call("POST", "/sobjects/Append_Only__c", json={"Key__c": "A"})
    assert made.status_code == 201
    path = f"/sobjects/Append_Only__c/{made.json()['id']}"
    changed = client.call("PATCH", path, json={"Key__c": "B"})
    removed = client.call("DELETE", path)
    assert changed.json()[0]["errorCode"] == "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"
    assert (removed.status_code, removed.json()[0]["errorCode"]) == (400, "INSUFFICIENT_ACCESS_OR_READONLY")
    assert client.call("GET", path).json()["Key__c"] == "A"
    described = client.call("GET", "/sobjects/Append_Only__c/describe").json()
    assert [described[k] for k in ("createable", "updateable", "deletable")] == [True, False, False]


def test_bulk_rows_are_judged_by_the_same_permissions(client):
    client.load("Key__c\nA\n", obj="Append_Only__c", key="Key__c")
    job, info = client.load("Key__c\nA\nB\n", obj="Append_Only__c", key="Key__c")
    assert (info["numberRecordsProcessed"], info["numberRecordsFailed"]) == (2, 1)
    assert client.table(job, "failed")[0]["sf__Error"] == (
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY:entity type cannot be updated: Append Only:--"
    )


@pytest.mark.parametrize("name", ["Reference_Data__c", "Organization"])
def test_an_object_that_is_read_only_refuses_new_records(client, name):
    reply = client.call("POST", f"/sobjects/{name}", json={})
    assert (reply.status_code, reply.json()[0]["errorCode"]) == (400, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY")
    assert reply.json()[0]["message"].startswith("entity type cannot be inserted: ")


# ---- describe ----


def test_describe_has_every_recorded_key_of_objects_and_fields(shared, fields):
    described = shared.call("GET", "/sobjects/Everything__c/describe").json()
    assert set(described) >= OBJECT_KEYS
    assert {name: set(f) for name, f in fields.items()} == dict.fromkeys(fields, FIELD_KEYS)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (
            "Name",
            {"type": "string", "autoNumber": True, "createable": False, "nillable": False, "nameField": True},
        ),
        (
            "Colours__c",
            {
                "type": "multipicklist",
                "restrictedPicklist": True,
                "groupable": False,
                "soapType": "xsd:string",
            },
        ),
        (
            "Notes__c",
            {
                "type": "textarea",
                "filterable": False,
                "sortable": False,
                "length": 1000,
                "aggregatable": False,
            },
        ),
        ("Opens__c", {"type": "time", "soapType": "xsd:time", "length": 0}),
        (
            "Doubled__c",
            {"type": "double", "calculated": True, "calculatedFormula": "Ratio__c * 2", "updateable": False},
        ),
        (
            "About__c",
            {"type": "reference", "referenceTo": ["Product2", "User"], "polymorphicForeignKey": True},
        ),
        ("Parent__c", {"relationshipName": "Parent__r", "namePointing": False, "byteLength": 18}),
        ("Share__c", {"type": "percent", "precision": 5, "scale": 2, "digits": 0, "groupable": False}),
        ("Count__c", {"type": "int", "digits": 9, "precision": 0, "groupable": True}),
        ("Flag__c", {"type": "boolean", "defaultValue": False, "nillable": False, "defaultedOnCreate": True}),
        ("Key__c", {"externalId": True, "unique": True, "idLookup": True, "length": 40, "byteLength": 120}),
        ("IsDeleted", {"nillable": False, "createable": False, "defaultedOnCreate": True}),
        ("Id", {"type": "id", "soapType": "tns:ID", "idLookup": True, "length": 18}),
    ],
)
def test_describe_tells_the_truth_about_each_type(fields, field, expected):
    assert {k: fields[field][k] for k in expected} == expected


def test_describe_names_the_children_that_point_to_an_object(shared):
    described = shared.call("GET", "/sobjects/Product2/describe").json()
    children = {(c["childSObject"], c["field"]) for c in described["childRelationships"]}
    assert {("KPS_Sales__c", "Product__c"), ("Everything__c", "About__c")} <= children


@pytest.mark.parametrize("path", ["/sobjects", "/sobjects/Product2/describe"])
def test_metadata_that_has_not_changed_is_304_without_a_body(shared, path):
    first = shared.call("GET", path)
    again = shared.call("GET", path, headers={"If-Modified-Since": first.headers["last-modified"]})
    assert (again.status_code, again.content) == (304, b"")
    long_ago = shared.call("GET", path, headers={"If-Modified-Since": "Tue, 10 Aug 2015 00:00:00 GMT"})
    assert long_ago.json() == first.json()
    assert shared.call("GET", path, headers={"If-Modified-Since": "last week"}).status_code == 200
    late = shared.call("GET", path, headers={"If-Unmodified-Since": "Tue, 10 Aug 2015 00:00:00 GMT"})
    assert late.status_code == 412


def test_a_row_that_has_not_changed_is_304(client):
    made = client.call("POST", "/sobjects/Product2", json={"Name": "x", "ProductCode": "A"}).json()["id"]
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    path = f"/sobjects/Product2/{made}"
    assert client.call("GET", path, headers={"If-Modified-Since": later}).status_code == 304
    earlier = {"If-Modified-Since": "Tue, 10 Aug 2015 00:00:00 GMT"}
    assert client.call("GET", path, headers=earlier).json()["Name"] == "x"


# ---- schema files ----


@pytest.mark.parametrize(
    ("field", "complaint"),
    [
        ("type = 'multipicklist'", "key 'values': a picklist needs at least one value"),
        ("type = 'multipicklist'\nvalues = ['a;b']", "cannot hold ';'"),
        ("type = 'picklist'\nvalues = [1]", "key 'values' must be a list of texts"),
        ("type = 'autonumber'\ndisplay_format = 'A-0000'", "key 'display_format'"),
        ("type = 'string'\ndisplay_format = 'A-{0}'", "key 'display_format' is for type 'autonumber' only"),
        ("type = 'reference'\nreference_to = ['X']\nformula = 'Y'", "key 'formula'"),
        ("type = 'string'\nvisible = 'no'", "key 'visible' must be of type bool"),
        ("type = 'string'\nnillable = false\nvisible = false", "a required field cannot be hidden"),
        ("type = 'date'\nexternal_id = true", "not possible for type 'date'"),
        ("type = 'base64'", "key 'type': 'base64' is not one of autonumber, boolean"),
        ("type = 'string'\nlabel = 5", "key 'label' must be of type str"),
        ("type = 'time'\ndefault = 'noon'", "key 'default'"),
        ("type = 'string'\nlength = 131073", "key 'length'"),
        ("type = 'string'\nunique = true\ndefault = 'a'", "key 'default'"),
    ],
)
def test_a_wrong_field_is_refused_with_file_field_and_key(tmp_path, field, complaint):
    (tmp_path / "x.toml").write_text(f"name = 'X__c'\n[[fields]]\nname = 'A__c'\n{field}\n")
    with pytest.raises(SchemaError) as error:
        load(tmp_path)
    assert "x.toml: field 1 (A__c)" in str(error.value)
    assert complaint in str(error.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name = 'X__c'\ncreateable = 1\n[[fields]]\nname='A__c'\ntype='string'", "key 'createable'"),
        ("name = 'X__c'\nlabel = 1\n[[fields]]\nname='A__c'\ntype='string'", "key 'label'"),
        ("name = 'X__c'\nkey_prefix = 123\n[[fields]]\nname='A__c'\ntype='string'", "key 'key_prefix'"),
        ("name = 'X__c'\nfields = ['A__c']", "key 'fields'"),
        ("name = 'X__c'\n[[fields]]\nname='A b'\ntype='string'", "'A b' is no API name"),
        ("name = 'X__c'\n[[fields]]\nname='n'\ntype='string'", "key 'name': 'n'"),
        ("name = 'X__c'\n[[fields]]\nname='Id'\ntype='string'", "key 'name': 'Id'"),
        (
            "name = 'X__c'\n[[fields]]\nname='A__c'\ntype='reference'\nreference_to=['X__c']\n"
            "relationship_name='R'\n[[fields]]\nname='B__c'\ntype='reference'\nreference_to=['X__c']\n"
            "relationship_name='r'",
            "key 'fields': 'r' is given twice",
        ),
        ("name = 'sqlite_x'\n[[fields]]\nname='A__c'\ntype='string'", "key 'name': 'sqlite_x'"),
    ],
)
def test_a_wrong_object_is_refused_with_file_and_key(tmp_path, text, complaint):
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(SchemaError) as error:
        load(tmp_path)
    assert "x.toml" in str(error.value)
    assert complaint in str(error.value)
