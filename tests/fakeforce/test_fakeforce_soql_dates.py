"""Date literals, on a clock that says Wednesday 2026-05-13, 12:00 GMT."""

from datetime import UTC, date, datetime, timedelta

import pytest

from conftest import SCHEMA, Client
from fakeforce.dates import date_range

NOON = datetime(2026, 5, 13, 12, tzinfo=UTC)
TODAY = NOON.date()
DAYS = [
    TODAY + timedelta(days=d) for d in (-800, -400, -100, -91, -90, -8, -7, -2, -1, 0, 1, 2, 7, 90, 91, 400)
]


@pytest.mark.parametrize(
    ("literal", "start", "end"),
    [
        ("TODAY", "2026-05-13", "2026-05-14"),
        ("yesterday", "2026-05-12", "2026-05-13"),
        ("TOMORROW", "2026-05-14", "2026-05-15"),
        ("THIS_WEEK", "2026-05-10", "2026-05-17"),
        ("LAST_WEEK", "2026-05-03", "2026-05-10"),
        ("NEXT_WEEK", "2026-05-17", "2026-05-24"),
        ("THIS_MONTH", "2026-05-01", "2026-06-01"),
        ("LAST_MONTH", "2026-04-01", "2026-05-01"),
        ("NEXT_MONTH", "2026-06-01", "2026-07-01"),
        ("THIS_QUARTER", "2026-04-01", "2026-07-01"),
        ("LAST_QUARTER", "2026-01-01", "2026-04-01"),
        ("NEXT_QUARTER", "2026-07-01", "2026-10-01"),
        ("THIS_YEAR", "2026-01-01", "2027-01-01"),
        ("LAST_YEAR", "2025-01-01", "2026-01-01"),
        ("NEXT_YEAR", "2027-01-01", "2028-01-01"),
        ("LAST_90_DAYS", "2026-02-12", "2026-05-14"),
        ("NEXT_90_DAYS", "2026-05-14", "2026-08-12"),
        ("LAST_N_DAYS:1", "2026-05-12", "2026-05-14"),
        ("NEXT_N_DAYS:2", "2026-05-14", "2026-05-16"),
        ("N_DAYS_AGO:2", "2026-05-11", "2026-05-12"),
        ("LAST_N_WEEKS:2", "2026-04-26", "2026-05-10"),
        ("NEXT_N_WEEKS:1", "2026-05-17", "2026-05-24"),
        ("N_WEEKS_AGO:1", "2026-05-03", "2026-05-10"),
        ("LAST_N_MONTHS:6", "2025-11-01", "2026-05-01"),
        ("NEXT_N_MONTHS:8", "2026-06-01", "2027-02-01"),
        ("N_MONTHS_AGO:5", "2025-12-01", "2026-01-01"),
        ("LAST_N_QUARTERS:2", "2025-10-01", "2026-04-01"),
        ("NEXT_N_QUARTERS:3", "2026-07-01", "2027-04-01"),
        ("N_QUARTERS_AGO:1", "2026-01-01", "2026-04-01"),
        ("LAST_N_YEARS:2", "2024-01-01", "2026-01-01"),
        ("NEXT_N_YEARS:1", "2027-01-01", "2028-01-01"),
        ("N_YEARS_AGO:1", "2025-01-01", "2026-01-01"),
    ],
)
def test_a_literal_is_the_documented_range_of_days(literal, start, end):
    assert date_range(literal, TODAY) == (date.fromisoformat(start), date.fromisoformat(end))


@pytest.mark.parametrize(
    "literal", ["SOON", "THIS_DAY", "LAST_N_DAYS", "LAST_N_CENTURIES:1", "LAST_FISCAL_YEAR"]
)
def test_other_words_are_no_literals(literal):
    assert date_range(literal, TODAY) is None


@pytest.fixture(scope="module")
def reader(fakeforce_server):
    org = fakeforce_server(SCHEMA, clock=NOON)
    client = Client(org.url)
    rows = "".join(f"{d},{d},{d}T23:59:59.999Z\n" for d in DAYS)
    client.load("Key__c,Day__c,Moment__c\nnone,,\n" + rows, obj="Everything__c", key="Key__c")
    yield client
    client.http.close()


@pytest.mark.parametrize("field", ["Day__c", "Moment__c"])
@pytest.mark.parametrize("literal", ["TODAY", "LAST_N_DAYS:7", "NEXT_90_DAYS", "THIS_YEAR", "LAST_YEAR"])
@pytest.mark.parametrize("operator", ["=", "!=", "<", "<=", ">", ">="])
def test_a_comparison_with_a_literal_means_inside_before_or_after_the_range(reader, field, literal, operator):
    start, end = date_range(literal, TODAY)
    inside = [d for d in DAYS if start <= d < end]
    wanted = {
        "=": inside,
        "!=": ["none", *(d for d in DAYS if d not in inside)],
        "<": [d for d in DAYS if d < start],
        "<=": [d for d in DAYS if d < end],
        ">": [d for d in DAYS if d >= end],
        ">=": [d for d in DAYS if d >= start],
    }[operator]
    reply = reader.query(f"SELECT Key__c FROM Everything__c WHERE {field} {operator} {literal}")
    assert {r["Key__c"] for r in reply.json()["records"]} == {str(d) for d in wanted}


def test_the_pushed_clock_moves_today(org, client):
    client.load("Key__c\nK\n", obj="Everything__c", key="Key__c")
    today = "SELECT COUNT() FROM Everything__c WHERE CreatedDate = TODAY"
    assert client.query(today).json()["totalSize"] == 1
    org.clock.push(2 * 86400)
    client.login()
    assert client.query(today).json()["totalSize"] == 0
    assert client.query(today.replace("TODAY", "LAST_N_DAYS:2")).json()["totalSize"] == 1


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        ("LAST_N_YEARS:999999999", "LAST_N_YEARS"),
        ("LAST_FISCAL_QUARTER", "LAST_FISCAL_QUARTER"),
        ("SOON", "must be of type date"),
        ("'2026-05-13'", "should not be enclosed in quotes"),
        ("2026-05-13T00:00:00Z", "must be of type date"),
        ("2026-02-30", "must be of type date"),
    ],
)
def test_what_is_no_date_is_refused(reader, literal, text):
    reply = reader.query(f"SELECT Id FROM Everything__c WHERE Day__c = {literal}")
    assert reply.status_code == 400
    assert text in reply.json()[0]["message"]
