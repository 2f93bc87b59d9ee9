"""The staged rows against the org: what is counted, and what stops the run."""

from typing import Any
from urllib.parse import urlencode

import pytest

from ora2sf.data_check import Finding, Lookup, of_lookups, of_rejected, of_values, profiler
from ora2sf.salesforce.rest import soql_text
from ora2sf.tables import TableConfig


def entry(**changes: Any) -> dict[str, Any]:
    base = {
        "name": "V__c", "type": "string", "length": 10, "createable": True, "nillable": True, "defaultedOnCreate": False,
        "restrictedPicklist": False, "picklistValues": [],
    }  # fmt: skip
    return base | changes


def profile(**changes: Any) -> dict[str, Any]:
    base = {"field": "V__c", "rows": 10, "nulls": 0, "too_long": 0, "values": {}, "uncounted": 0}
    return base | changes


RESTRICTED = {
    "type": "picklist",
    "restrictedPicklist": True,
    "picklistValues": [{"value": "New", "active": True}, {"value": "Gone", "active": False}],
}


@pytest.mark.parametrize(
    ("found", "described", "said", "stops"),
    [
        ({"nulls": 10}, {}, [], False),
        ({"nulls": 3}, {"nillable": False}, ["V__c: Salesforce requires it, and it is empty (3 of 10 rows)"], False),
        ({"nulls": 10}, {"nillable": False}, ["V__c: Salesforce requires it, and it is empty (10 of 10 rows)"], True),
        ({"nulls": 10}, {"nillable": False, "defaultedOnCreate": True}, [], False),
        ({"too_long": 10}, {}, ["V__c: longer than the 10 characters that Salesforce keeps (10 of 10 rows)"], True),
        ({"values": {"New": 10}}, RESTRICTED, [], False),
        ({"values": {"New": 6, "Gone": 3, "new": 1}}, RESTRICTED,
         ["V__c: the restricted picklist lacks 2 value(s) (4 of 10 rows), such as 'Gone' (3 rows), 'new' (1 rows)"], False),
        ({"values": {"Old": 10}}, RESTRICTED, ["V__c: the restricted picklist lacks 1 value(s) (10 of 10 rows), such as 'Old' (10 rows)"], True),
        ({"values": {"Old": 4}, "uncounted": 6}, RESTRICTED,
         ["V__c: the restricted picklist lacks 1 value(s), and 6 rows were not looked at (4 of 10 rows), such as 'Old' (4 rows)"], False),
    ],
)  # fmt: skip
def test_what_values_are_refused_for_is_counted_and_stops_the_run_when_it_is_every_row(
    found, described, said, stops
):
    listed = list(of_values([profile(**found)], {"fields": [entry(**described)]}))
    assert [str(one) for one in listed] == said
    assert any(one.stops for one in listed) is stops


def test_nothing_is_found_where_nothing_is_staged():
    empty = profile(rows=0)
    assert list(of_values([empty], {"fields": [entry(nillable=False), entry(**RESTRICTED)]})) == []
    assert not Finding("", "", 0, 0).stops


def test_rows_that_are_all_rejected_stop_the_run_and_name_the_commonest_rules():
    counts = [("Name", "required, but empty", 7), ("Ext__c", "empty key", 3)]
    (one,) = of_rejected(10, 0, counts)
    assert one.stops
    assert str(one) == (
        "every row is rejected before upload (10 of 10 rows), such as Name: required, but empty (7 rows), "
        "Ext__c: empty key (3 rows)"
    )
    assert list(of_rejected(10, 1, counts)) == []
    assert list(of_rejected(0, 0, [])) == []


def lookup(**changes: Any) -> Lookup:
    base = {
        "field": "V__c", "object": "P__c", "external_id_field": "Ext__c", "parents": 9, "rows": 10, "staged": 4,
        "asked": True, "orphans": 2, "orphan_rows": 3, "examples": ("Z (row 1, 3 rows)",),
    }  # fmt: skip
    return Lookup(**(base | changes))


def test_orphans_are_counted_and_stop_the_run_only_when_every_row_has_one():
    (one,) = of_lookups([lookup()], 10)
    assert (one.rows, one.of, one.stops, one.examples) == (3, 10, False, ("Z (row 1, 3 rows)",))
    (one,) = of_lookups([lookup(orphans=9, orphan_rows=10)], 10)
    assert one.stops
    assert list(of_lookups([lookup(orphans=0, orphan_rows=0), lookup(asked=False, orphans=None, orphan_rows=None)], 10)) == []  # fmt: skip


def test_parents_that_were_not_asked_for_are_said_to_be():
    assert "5 not asked for (max_parents_asked)" in str(lookup(asked=False))


@pytest.mark.parametrize(
    ("kind", "counted", "kept"), [("picklist", {"V__c"}, {"V__c": 10}), ("double", set(), {})]
)
def test_only_what_describe_sizes_is_measured_and_only_restricted_picklists_are_counted(kind, counted, kept):
    fields = [{"field": "V__c", "type": "key", "columns": ["K"]}]
    config = TableConfig.model_validate(
        {"table": "t", "object": "T__c", "external_id_field": "V__c", "source": {"table": "T"}, "fields": fields}
    )  # fmt: skip
    made = profiler(config, {"fields": [entry(type=kind, restrictedPicklist=kind == "picklist")]})
    assert (made._counted, made._kept) == (counted, kept)


# asking the org for parents

KEYS = ["P1", "p2", "it's", 'say "x"', "back\\slash", "ไทย", "a,b", "100%_sure"]


@pytest.fixture
def products(client, org):
    for key in KEYS:
        loaded = {"records": [{"attributes": {"type": "Product2"}, "ProductCode": key, "Name": "n"}]}
        client.send("PATCH", "/composite/sobjects/Product2/ProductCode", json=loaded)
    return org


def test_keys_that_exist_are_found_whatever_characters_they_hold(client, products):
    asked = [*KEYS, "nobody", "it''s", "100__sure"]
    assert sorted(client.existing("Product2", "ProductCode", asked)) == sorted(KEYS)
    assert list(client.existing("Product2", "ProductCode", [])) == []


def test_many_keys_are_asked_for_in_addresses_that_salesforce_takes(client, products, monkeypatch):
    asked = [f"ก{n:05}" * 3 for n in range(1_000)] + ["P1"]
    addresses = []
    read = client.read

    def noted(path: str, params: dict[str, str] | None = None, **given: Any) -> Any:
        addresses.append(len(urlencode(params or {})))
        return read(path, params, **given)

    monkeypatch.setattr(client, "read", noted)
    assert list(client.existing("Product2", "ProductCode", asked)) == ["P1"]
    assert 5 < len(addresses) < 12
    assert max(addresses) <= 8_000


def test_every_page_of_the_answer_is_read(client, connect, monkeypatch):
    pages = [{"records": [{"F": "a"}], "done": False, "nextRecordsUrl": "/services/data/v66.0/query/x-1"},
             {"records": [{"F": "b"}], "done": True}]  # fmt: skip
    asked: list[str] = []
    monkeypatch.setattr(client, "read", lambda path, params=None, **_: asked.append(path) or pages.pop(0))
    assert list(client.existing("O", "F", ["a", "b"])) == ["a", "b"]
    assert asked == ["/query", "/services/data/v66.0/query/x-1"]


@pytest.mark.parametrize(
    ("value", "written"), [("a", "'a'"), ("it's", r"'it\'s'"), ("a\\", r"'a\\'"), ("a\nb\tc\rd", r"'a\nb\tc\rd'")]
)  # fmt: skip
def test_a_text_is_written_as_soql_reads_it(value, written):
    assert soql_text(value) == written
