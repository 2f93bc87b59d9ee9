"""Preflight: every way in which a table file may not fit Oracle or Salesforce, all of them at once."""

from typing import Any

import pyarrow as pa
import pytest

from ora2sf.oracle import SourceColumn
from ora2sf.preflight import check, check_status
from ora2sf.tables import StatusRecord, TableConfig


def column(name: str, kind: str) -> SourceColumn:
    arrow = {"VARCHAR2(10)": pa.large_string(), "CHAR(10)": pa.large_string(), "DATE": pa.timestamp("s")}.get(
        kind
    )
    number = kind.startswith("NUMBER")
    return SourceColumn(name, kind, padded=kind.startswith("CHAR"), is_number=number, scale=None, arrow=arrow)


COLUMNS = {
    name: column(name, kind)
    for name, kind in {
        "K": "VARCHAR2(10)",
        "V": "VARCHAR2(10)",
        "N": "NUMBER",
        "D": "DATE",
        "L": "BLOB",
        "SHOP_CODE": "CHAR(10)",
    }.items()
}


def sf_field(name: str, kind: str, **entries: Any) -> dict[str, Any]:
    base = {
        "name": name, "type": kind, "length": 0, "precision": 0, "scale": 0, "createable": True, "updateable": True,
        "nillable": True, "defaultedOnCreate": False, "externalId": False, "idLookup": False, "unique": False,
        "restrictedPicklist": False, "picklistValues": [],
    }  # fmt: skip
    return base | entries


def picklist(*active: str, restricted: bool = True) -> dict[str, Any]:
    values = [{"value": value, "active": True} for value in active] + [{"value": "Gone", "active": False}]
    return sf_field("V__c", "picklist", length=255, restrictedPicklist=restricted, picklistValues=values)


KEY = sf_field("Key__c", "string", length=255, externalId=True, unique=True)


def describe(*fields: dict[str, Any], **entries: Any) -> dict[str, Any]:
    return {"createable": True, "updateable": True, "fields": [KEY, *fields]} | entries


def config(*fields: dict[str, Any]) -> TableConfig:
    return TableConfig.model_validate(
        {
            "table": "t",
            "object": "T__c",
            "external_id_field": "Key__c",
            "source": {"table": "T"},
            "fields": [{"field": "Key__c", "type": "key", "columns": ["K"]}, *fields],
        }
    )


def problems(spec: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """What is wrong with one field ``V__c``, filled from column ``V`` unless it says otherwise."""
    settled = {"field": "V__c"} | ({} if spec["type"] == "constant" else {"column": "V"}) | spec
    return check(config(settled), COLUMNS, describe(found)).all_problems()


TEXT = {"type": "text", "length": 10}
DECIMAL = {"type": "decimal", "column": "N", "precision": 18, "scale": 2}


def test_a_table_file_that_fits_has_no_problem_and_a_line_for_each_field():
    found = check(
        config({"field": "V__c", "column": "N", "type": "decimal"}),
        COLUMNS,
        describe(sf_field("V__c", "currency", precision=18, scale=2)),
    )
    assert found.all_problems() == []
    assert [(line.source, line.source_type, line.field, line.field_type) for line in found.lines] == [
        ("K", "VARCHAR2(10)", "Key__c", "string(255)"),
        ("N", "NUMBER", "V__c", "currency(18,2)"),
    ]


@pytest.mark.parametrize(
    ("spec", "found", "said"),
    [
        ({**TEXT, "column": "SHOPCODE"}, sf_field("V__c", "string", length=10), "column SHOPCODE does not exist in Oracle (did you mean SHOP_CODE?)"),
        ({**TEXT, "column": "L"}, sf_field("V__c", "string", length=10), "column L has the type BLOB, which cannot be read"),
        ({"type": "date"}, sf_field("V__c", "date"), "column V arrives as String, which cannot become a date without formats"),
        ({"type": "date", "column": "N"}, sf_field("V__c", "date"), "cannot become a date"),
        ({**DECIMAL, "column": "D"}, sf_field("V__c", "currency", precision=18, scale=2), "cannot become a number"),
        ({"type": "picklist", "column": "N", "values": {"1.0": "New"}}, picklist("New"), "is never written as '1.0'"),
        (TEXT, sf_field("W__c", "string", length=10), "the field does not exist on T__c, or the run-as user may not see it (did you mean W__c?)"),
        (TEXT, sf_field("v__C", "string", length=10), "(did you mean v__C?)"),
        (TEXT, sf_field("V__c", "currency", precision=18, scale=2), "a text does not fit a field of type currency"),
        ({"type": "boolean"}, sf_field("V__c", "string", length=9), "a boolean does not fit a field of type string"),
        ({"type": "date", "column": "D"}, sf_field("V__c", "datetime"), "a date does not fit a field of type datetime"),
        ({"type": "datetime", "column": "D"}, sf_field("V__c", "date"), "a datetime does not fit a field of type date"),
        (TEXT, sf_field("V__c", "string", length=10, createable=False), "may not write it (createable is false)"),
        (TEXT, sf_field("V__c", "string", length=10, updateable=False), "may not change it (updateable is false)"),
        (TEXT, sf_field("V__c", "string", length=9), "length = 10, but Salesforce keeps 9 characters"),
        (TEXT, sf_field("V__c", "phone", length=9), "length = 10, but Salesforce keeps 9 characters"),
        ({"type": "constant", "value": "long"}, sf_field("V__c", "string", length=3), "has 4 characters, but Salesforce keeps 3"),
        (DECIMAL, sf_field("V__c", "currency", precision=18, scale=1), "scale = 2, but Salesforce keeps 1 decimals"),
        (DECIMAL, sf_field("V__c", "double", precision=17, scale=2), "16 digits before the point, but Salesforce keeps 15"),
        ({"type": "integer", "column": "N"}, sf_field("V__c", "double", precision=17, scale=0), "18 digits before the point, but Salesforce keeps 17"),
        ({"type": "picklist", "values": {"1": "New", "2": "Gone"}}, picklist("New"), "the restricted picklist lacks Gone"),
        ({"type": "picklist", "on_misfit": "default", "default": "Other"}, picklist("New"), "the restricted picklist lacks Other"),
        ({"type": "constant", "value": "Old"}, picklist("New"), "the restricted picklist lacks Old"),
    ],
)  # fmt: skip
def test_each_misfit_of_a_field_is_named_once(spec, found, said):
    (problem,) = problems(spec, found)
    assert problem.startswith("V__c: ")
    assert said in problem


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        (TEXT, sf_field("V__c", "string", length=10)),
        (TEXT, sf_field("V__c", "picklist", length=5)),
        (DECIMAL, sf_field("V__c", "double", precision=20, scale=4)),
        ({"type": "integer", "column": "N"}, sf_field("V__c", "string", length=20)),
        ({"type": "picklist", "values": {"1": "Else"}}, picklist("New", restricted=False)),
        ({"type": "picklist", "column": "N", "values": {"1": "New"}}, picklist("New")),
        ({"type": "constant", "value": ""}, picklist("New")),
        ({"type": "date", "formats": ["YYYYMMDD"]}, sf_field("V__c", "date")),
        ({"type": "text", "length": 30, "column": "D"}, sf_field("V__c", "string", length=30)),
    ],
)
def test_what_fits_is_no_problem(spec, found):
    assert problems(spec, found) == []


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ({"externalId": False}, ["Key__c is not an External ID, so rows cannot be upserted by it"]),
        ({"unique": False}, ["Key__c is not unique, so one key could match several records"]),
        ({"length": 80}, ["Key__c: length = 255, but Salesforce keeps 80 characters"]),
        ({"updateable": False}, []),
        ({"externalId": False, "unique": False, "idLookup": True}, []),
    ],
)
def test_the_external_id_must_be_one(key, said):
    assert check(config(), COLUMNS, {**describe(), "fields": [KEY | key]}).all_problems() == said


@pytest.mark.parametrize("right", ["createable", "updateable"])
def test_the_object_must_be_writable(right):
    found = check(config(), COLUMNS, describe(**{right: False})).problems
    assert found == (f"the run-as user may not write T__c ({right} is false)",)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"nillable": False}, ["T__c requires V__c, which no field of the table file fills"]),
        ({"nillable": False, "defaultedOnCreate": True}, []),
        ({"nillable": False, "createable": False}, []),
        ({}, []),
    ],
)
def test_a_field_that_salesforce_requires_must_be_filled(entries, said):
    found = sf_field("V__c", "string", length=10, **entries)
    assert check(config(), COLUMNS, describe(found)).all_problems() == said


def test_an_empty_constant_does_not_fill_a_required_field():
    found = describe(sf_field("V__c", "string", length=10, nillable=False))
    spec = {"field": "V__c", "type": "constant", "value": ""}
    assert check(config(spec), COLUMNS, found).problems == (
        "T__c requires V__c, which no field of the table file fills",
    )
    assert check(config({**spec, "value": "x"}), COLUMNS, found).problems == ()


def test_all_problems_are_listed_at_once():
    bad = config(
        {"field": "V__c", "column": "GONE", "type": "text", "length": 99},
        {"field": "Wrong__c", "column": "V", "type": "boolean"},
    )
    found = describe(sf_field("V__c", "string", length=9, createable=False), createable=False)
    assert len(check(bad, COLUMNS, found).all_problems()) == 5


def test_the_status_record_names_what_its_object_lacks():
    record = StatusRecord(fields={"TMS_Busines_Type__c": "Product"})
    names = [
        "TMS_External_File_Ref__c",
        "TMS_Status__c",
        "TMS_Errors__c",
        "TMS_File_Name__c",
        "TMS_Business_Type__c",
    ]
    fields = [sf_field(name, "string") for name in names]
    assert check_status(record, {"fields": fields}) == [
        "status: TMS_Daily_Sales_File__c has no field TMS_Busines_Type__c (did you mean TMS_Business_Type__c?)",
        "status: TMS_External_File_Ref__c is not an External ID",
    ]


LOOKUP = {
    "field": "V__c", "type": "lookup", "columns": ["V"], "object": "P__c", "external_id_field": "Key__c",
}  # fmt: skip
REFERENCE = sf_field("V__c", "reference", referenceTo=["P__c"], relationshipName="V__r")
PARENT = describe()


@pytest.mark.parametrize(
    ("spec", "found", "target", "said"),
    [
        ({}, REFERENCE, PARENT, []),
        ({}, sf_field("V__c", "string", length=18), PARENT, ["a lookup does not fit a field of type string"]),
        ({}, REFERENCE | {"referenceTo": ["Q__c"]}, PARENT, ["it refers to Q__c, not to P__c"]),
        ({}, REFERENCE | {"relationshipName": "W__r"}, PARENT, ['write relationship = "W__r"']),
        ({"relationship": "W__r"}, REFERENCE | {"relationshipName": "W__r"}, PARENT, []),
        ({}, REFERENCE | {"referenceTo": ["P__c", "Q__c"]}, PARENT, ["2 object(s): write polymorphic = true"]),
        ({"polymorphic": True}, REFERENCE, PARENT, ["1 object(s): write polymorphic = false"]),
        ({}, REFERENCE, None, ["Salesforce has no object P__c"]),
        ({"external_id_field": "Kee__c"}, REFERENCE, PARENT, ["P__c has no field Kee__c (did you mean Key__c?)"]),
        ({}, REFERENCE, {"fields": [KEY | {"externalId": False}]}, ["Key__c of P__c is not an External ID"]),
    ],
)  # fmt: skip
def test_a_lookup_fits_only_a_reference_to_an_object_with_that_external_id(spec, found, target, said):
    listed = check(config(LOOKUP | spec), COLUMNS, describe(found), {"P__c": target}).all_problems()
    assert len(listed) == len(said)
    assert all(wanted in problem for wanted, problem in zip(said, listed, strict=True))


@pytest.mark.parametrize(
    ("kind", "fitting"),
    [("email", "email"), ("phone", "phone"), ("url", "url"), ("code", "string")],
)
def test_the_kinds_of_short_text_fit_their_own_field_and_its_length(kind, fitting):
    assert problems({"type": kind, "length": 40}, sf_field("V__c", fitting, length=40)) == []
    assert (
        "Salesforce keeps 39"
        in problems({"type": kind, "length": 40}, sf_field("V__c", fitting, length=39))[0]
    )
    assert "does not fit" in problems({"type": kind}, sf_field("V__c", "double", precision=18))[0]
