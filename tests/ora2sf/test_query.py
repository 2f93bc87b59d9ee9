"""Bulk API 2.0 query: an object on disk, page by page, and what a killed run finds again."""

from __future__ import annotations

import csv
import hashlib
import io
import json

import pytest
from isal import igzip
from staged import calls

from ora2sf.errors import JobTimeout, RunFolderError, TargetError, TargetUnavailable
from ora2sf.salesforce import BulkQuery, read_some

ROWS = 25
HEADER = ("ProductCode", "Name")
SOQL = "SELECT ProductCode, Name FROM Product2"


@pytest.fixture
def filled(org, client):
    """An org with a few products, and pages of ten rows."""
    org.change(query_page_rows=10)
    records = [
        {"attributes": {"type": "Product2"}, "ProductCode": f"Q{n:03d}", "Name": f'Tea "{n}",\nชา'}
        for n in range(ROWS)
    ]
    body = {"records": records, "allOrNone": True}
    client.send("PATCH", "/composite/sobjects/Product2/ProductCode", json=body)
    return org


@pytest.fixture
def bulk(client, tmp_path):
    return BulkQuery(client, tmp_path / "target", poll_interval=0.02)


def rows(back):
    found = []
    for path in back.paths:
        header, *lines = csv.reader(io.StringIO(igzip.decompress(path.read_bytes()).decode(), newline=""))
        assert tuple(header) == HEADER
        found += lines
    return found


def jobs(org):
    return calls(org, "POST", "/jobs/query")


def downloads(org):
    return calls(org, "GET", "/results")


def test_every_record_is_on_a_page_and_every_page_has_its_hash(filled, bulk):
    back = bulk.read(SOQL, HEADER)
    assert sorted(rows(back)) == [[f"Q{n:03d}", f'Tea "{n}",\nชา'] for n in range(ROWS)]
    assert [page.rows for page in back.pages] == [10, 10, 5]
    for page, path in zip(back.pages, back.paths, strict=True):
        text = igzip.decompress(path.read_bytes())
        assert (page.bytes, page.sha256) == (len(text), hashlib.sha256(text).hexdigest())
    assert back.rows == ROWS


def test_more_pages_than_salesforce_lists_at_once_are_all_fetched(filled, bulk):
    filled.change(query_page_rows=2)
    back = bulk.read(SOQL, HEADER)
    assert (len(back.pages), back.rows) == (13, ROWS)
    assert len(calls(filled, "GET", "/resultPages")) == 3


def test_an_object_without_records_gives_no_rows(org, bulk):
    assert bulk.read(SOQL, HEADER).rows == 0


def test_a_broken_off_run_goes_on_with_its_job_and_the_pages_it_has(filled, bulk, client):
    filled.faults.add("503", path="/results$", times=0, skip=2)
    with pytest.raises(TargetUnavailable):
        BulkQuery(client, bulk._folder, max_downloads=1, poll_interval=0.02).read(SOQL, HEADER)
    assert len(list(bulk._folder.glob("*.csv.gz"))) == 2
    filled.faults.clear()
    before = len(downloads(filled))
    assert len(rows(bulk.read(SOQL, HEADER))) == ROWS
    assert len(downloads(filled)) == before + 1
    assert len(jobs(filled)) == 1


def test_a_page_that_is_gone_or_cut_on_disk_is_fetched_again(filled, bulk):
    first = bulk.read(SOQL, HEADER)
    first.paths[0].unlink()
    first.paths[1].write_bytes(first.paths[1].read_bytes()[:-9])
    before = len(downloads(filled))
    assert len(rows(bulk.read(SOQL, HEADER))) == ROWS
    assert (len(downloads(filled)), len(jobs(filled))) == (before + 2, 1)


def test_a_job_that_is_gone_is_made_anew(filled, bulk, client):
    first = bulk.read(SOQL, HEADER)
    client.send("DELETE", f"/jobs/query/{first.job_id}")
    first.paths[0].unlink()
    second = bulk.read(SOQL, HEADER)
    assert second.job_id != first.job_id
    assert len(rows(second)) == ROWS


@pytest.mark.parametrize("change", ["finished", "occasion", "query"])
def test_an_answer_is_asked_for_anew(filled, bulk, change):
    """once it was used, for another occasion, or for another query; the old pages go."""
    first = bulk.read(SOQL, HEADER)
    if change == "finished":
        bulk.finished()
    soql = SOQL if change != "query" else f"{SOQL} WHERE Name != 'x'"
    second = bulk.read(soql, HEADER, occasion="later" if change == "occasion" else "")
    assert second.job_id != first.job_id
    assert not first.paths[0].exists()


def test_a_cut_answer_is_fetched_again_and_nothing_half_stays(filled, bulk):
    filled.faults.add("cut-answer", path="/results$", times=2)
    assert len(rows(bulk.read(SOQL, HEADER))) == ROWS
    assert not list(bulk._folder.glob("*.part"))


def test_a_failed_job_says_why_and_the_next_call_makes_another_one(filled, bulk):
    filled.faults.add("fail-query", error="Unknown:Retried more than fifteen times")
    with pytest.raises(TargetError, match="ended Failed") as caught:
        bulk.read(SOQL, HEADER)
    assert "new job" in caught.value.next_step
    assert bulk.read(SOQL, HEADER).rows == ROWS


def test_a_job_that_takes_too_long_is_left_and_followed_later(filled, client, tmp_path):
    filled.faults.add("stick-query", delay=60)
    with pytest.raises(JobTimeout, match="left InProgress"):
        BulkQuery(client, tmp_path / "target", poll_interval=0.02, job_timeout=0.1).read(SOQL, HEADER)
    filled.clock.push(61)
    back = BulkQuery(client, tmp_path / "target", poll_interval=0.02).read(SOQL, HEADER)
    assert (back.rows, len(jobs(filled))) == (ROWS, 1)


def test_a_refused_query_names_the_field(filled, bulk):
    with pytest.raises(TargetError, match="Nope__c") as caught:
        bulk.read("SELECT Nope__c FROM Product2", ("Nope__c",))
    assert "field" in caught.value.next_step


def test_columns_in_another_order_are_refused(filled, bulk):
    with pytest.raises(TargetError, match="ProductCode, Name where Name, ProductCode were asked for"):
        bulk.read(SOQL, ("Name", "ProductCode"))


def test_a_folder_that_cannot_be_written_is_named(filled, bulk, monkeypatch):
    def full(*_given, **_named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ora2sf.salesforce.query.igzip.open", full)
    with pytest.raises(RunFolderError, match="No space left") as caught:
        bulk.read(SOQL, HEADER)
    assert str(bulk._folder) in caught.value.what


def test_an_unreadable_note_is_no_note(filled, bulk):
    bulk.read(SOQL, HEADER)
    note = bulk._folder / "query.json"
    note.write_text("{")
    assert bulk.read(SOQL, HEADER).rows == ROWS
    assert json.loads(note.read_text())["done"] is False


def test_some_records_are_read_by_their_key_in_the_form_of_a_page(filled, client, tmp_path):
    back = read_some(client, tmp_path, "Product2", "ProductCode", HEADER, ["Q003", "Q007", "absent"])
    assert sorted(rows(back)) == [["Q003", 'Tea "3",\nชา'], ["Q007", 'Tea "7",\nชา']]
    assert back.rows == 2
