"""The status record that people see in Salesforce."""

from __future__ import annotations

import pytest
import responses
from staged import calls

from ora2sf.errors import NotFoundError, ParameterError
from ora2sf.salesforce import SalesforceStatusTracker

OBJECT = "TMS_Daily_Sales_File__c"


@pytest.fixture
def tracker(org, client):
    return SalesforceStatusTracker(client)


def records(org):
    return list(org.rows(OBJECT))


def test_the_first_upsert_creates_the_record_and_the_second_changes_it(org, tracker):
    assert tracker.upsert_status("daily_1", "New", TMS_File_Name__c="daily_1.csv") is True
    assert tracker.upsert_status("daily_1", "Uploading") is False
    assert calls(org, "PATCH", "/daily_1") == [201, 200]
    (record,) = records(org)
    assert record["TMS_External_File_Ref__c"] == "daily_1"
    assert record["TMS_Status__c"] == "Uploading"
    assert record["TMS_File_Name__c"] == "daily_1.csv"


def test_an_update_changes_the_record_that_is_there(org, tracker):
    tracker.upsert_status("daily_1", "New")
    tracker.update_status("daily_1", "Uploaded")
    assert [record["TMS_Status__c"] for record in records(org)] == ["Uploaded"]


def test_an_update_of_a_missing_record_creates_nothing_and_says_to_upsert_first(org, tracker):
    with pytest.raises(NotFoundError) as caught:
        tracker.update_status("daily_2", "Uploading")
    assert "daily_2" in caught.value.what
    assert "Upsert it first" in caught.value.next_step
    assert caught.value.status == 404
    assert records(org) == []


@pytest.mark.parametrize("ref", ["", "a.inc", "a b", "a/b", "a%2Fb", "ก", "a\n", "../x", "x" * 81])
def test_a_reference_that_does_not_fit_an_address_is_refused_before_any_call(org, tracker, ref):
    for call in (tracker.upsert_status, tracker.update_status):
        with pytest.raises(ParameterError, match="external_ref"):
            call(ref, "New")
    assert org.calls == []


def test_a_status_that_does_not_exist_is_refused_before_any_call(org, tracker):
    with pytest.raises(ParameterError, match="Uploading"):
        tracker.upsert_status("daily_1", "Nearly done")
    assert org.calls == []


def test_errors_are_cut_to_the_length_of_the_field_and_left_alone_when_empty(org, tracker):
    tracker.upsert_status("daily_1", "Failed", errors="ผ" * 300)
    tracker.upsert_status("daily_1", "New")
    (record,) = records(org)
    assert record["TMS_Errors__c"] == "ผ" * 255
    assert record["TMS_Status__c"] == "New"


def test_a_lost_answer_leaves_one_record(org, tracker):
    org.faults.add("reset-after", method="PATCH")
    tracker.upsert_status("daily_1", "New")
    assert len(records(org)) == 1


def test_the_names_of_object_and_fields_can_be_others(org, client):
    other = SalesforceStatusTracker(
        client,
        sobject="Product2",
        external_id_field="ProductCode",
        status_field="Name",
        errors_field="TMS_Bar_Code__c",
    )
    other.upsert_status("P1", "Failed", errors="why")
    (row,) = org.rows("Product2")
    assert (row["ProductCode"], row["Name"], row["TMS_Bar_Code__c"]) == ("P1", "Failed", "why")


def test_before_version_46_an_update_answers_204_and_is_no_creation(connect, client):
    host = "https://example.my.salesforce.com"
    connect(host)
    with responses.RequestsMock() as mock:
        token = {"access_token": "t", "instance_url": host, "token_type": "Bearer"}
        mock.post(f"{host}/services/oauth2/token", json=token)
        mock.patch(f"{host}/services/data/v66.0/sobjects/{OBJECT}/TMS_External_File_Ref__c/a", status=204)
        assert SalesforceStatusTracker(client).upsert_status("a", "New") is False
