"""Small sets without a job: the same files, the same books, the same values; and an answer that is lost changes none of them."""

from __future__ import annotations

import csv
import datetime as dt
import json
from pathlib import Path

import pytest
from staged import FIELD, KEY, OBJECT, SECRET, answering, calls, keys_in, reply

from fakeforce import serve
from ora2sf.errors import RunFolderError, TargetError, TargetUnavailable
from ora2sf.salesforce import SalesforceCollectionsLoader
from ora2sf.upload import LedgerJournal, plan, upload

EVERYTHING = Path(__file__).parents[1] / "fakeforce/schema"
PATH = f"/composite/sobjects/{OBJECT}/{FIELD}"
DAY = 24 * 3600


def small(slice_, **changes) -> SalesforceCollectionsLoader:
    settings = {
        "sobject": OBJECT,
        "external_id_field": FIELD,
        "logs": slice_.logs,
        "since": slice_.since,
    } | changes
    return SalesforceCollectionsLoader(slice_.client, **settings)


def send(slice_, **changes):
    return upload(plan(slice_.ledger), slice_.ledger, small(slice_, **changes), slice_.data)


@pytest.fixture
def slice_(slice_, org):
    """A slice whose records were counted long before it is sent."""
    slice_.since = org.clock.now()
    org.clock.push(DAY)
    return slice_


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def whole(slice_, org, keys, before=0):
    assert keys_in(org) == keys
    books = slice_.books(before=before, after=org.count(OBJECT))
    assert [check.name for check in books.checks if not check.holds] == []
    assert (books.verdict, books.success, books.created) == ("complete", len(keys), len(keys) - before)


def test_two_hundred_rows_are_one_call_and_leave_the_three_files_of_a_job(org, slice_):
    keys = slice_.stage(200, batch_size=200)
    (end,) = send(slice_)
    assert (end.job_id, end.state, end.processed, end.failed) == ("C1-1", "JobComplete", 200, 0)
    assert len(calls(org, "PATCH", PATH)) == 1
    assert not org.jobs()
    assert sorted(path.name for path in slice_.logs.glob("Product2_*")) == [
        f"Product2_C1-1_{kind}.csv" for kind in ("failed", "success", "unprocessed")
    ]
    assert slice_.states() == ["fetched"]
    whole(slice_, org, keys)


def test_more_rows_are_more_calls_and_several_batches_several_names(org, slice_):
    keys = slice_.stage(450, batch_size=250)
    ends = send(slice_)
    assert [end.job_id.partition("-")[0] for end in ends] == ["C1", "C2"]
    assert len(calls(org, "PATCH", PATH)) == 3
    whole(slice_, org, keys)


def test_the_files_are_those_that_a_job_would_have_left(org, slice_, tmp_path):
    header = ("ProductCode", "Name", "TMS_Unit__c", "TMS_Price_EXC_VAT__c")
    slice_.stage(3, header=header)
    (batch,) = slice_.ledger.batches()
    staged = 'P1,"a ""quoted"", ไทย\nname",Box,12.50\nP2,,Box,1.00\nP3,plain,Nothing of that kind,\n'
    text = f"{','.join(header)}\n{staged}".encode()
    (slice_.data / "rows.csv").write_bytes(text)
    (end,) = (small(slice_).load_file(slice_.data / "rows.csv"),)
    by_job = slice_.loader().load_file(slice_.data / "rows.csv")
    assert (end.processed, end.failed) == (by_job.processed, by_job.failed)
    for one, other in zip(end.files, by_job.files, strict=True):
        assert one.kind == other.kind
        assert one.path.read_bytes().split(b"\n")[0] == other.path.read_bytes().split(b"\n")[0]
        mine, theirs = lines(one.path), sorted(lines(other.path), key=lambda row: row["ProductCode"])
        for row, job_row in zip(mine, theirs, strict=True):
            assert row.pop("sf__Created", "") in {"true", ""}
            job_row.pop("sf__Created", "")
            price = row.pop("TMS_Price_EXC_VAT__c"), job_row.pop("TMS_Price_EXC_VAT__c")
            assert float(price[0] or 0) == float(price[1] or 0)  # a job writes numbers anew
            assert row == job_row
    assert batch.rows == 3


def test_rows_that_salesforce_refuses_are_counted_with_their_reason(org, slice_):
    header = ("ProductCode", "Name", "TMS_Unit__c")
    slice_.stage(4, header=header)
    (end,) = send(slice_)
    books = slice_.books(after=org.count(OBJECT))
    assert (books.verdict, books.failed, end.failed) == ("complete with exceptions", 4, 4)
    (row, *_) = lines(slice_.logs / "Product2_C1-1_failed.csv")
    assert row["sf__Error"].startswith("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST:")
    assert row["sf__Error"].endswith(":TMS_Unit__c --")


@pytest.fixture
def everything(connect, make_client, tmp_path):
    """A loader of an object that has a field of every type, and its org."""
    with serve(schema=EVERYTHING, client_id=KEY, client_secret=SECRET) as org:
        connect(org.url)
        loader = SalesforceCollectionsLoader(
            make_client(), "Everything__c", "Key__c", since=org.clock.now(), logs=tmp_path
        )
        yield org, loader


def load(loader, tmp_path, header, *rows):
    path = tmp_path / f"rows{len(list(tmp_path.iterdir()))}.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return loader.load_file(path)


def test_values_are_typed_by_describe_and_keep_every_digit(everything, tmp_path):
    org, loader = everything
    header = "Key__c,Amount__c,Share__c,Count__c,Ratio__c,Flag__c,Day__c,Moment__c,Notes__c"
    first = "K,9007199254740993.07,0.1,-3,12345.6789,true,2025-11-27,2025-11-27T10:00:00.123Z,0012"
    row = loader._record(dict(zip(header.split(","), first.split(","), strict=True)))
    assert (
        '"Amount__c":9007199254740993.07,"Share__c":0.1,"Count__c":-3,"Ratio__c":12345.6789,"Flag__c":true'
        in row
    )
    assert json.loads(row)["Notes__c"] == "0012"
    end = load(loader, tmp_path, header, first)
    assert end.failed == 0
    (held,) = org.rows("Everything__c")
    assert [held[name] for name in header.split(",")] == [
        "K", "9007199254740993.07", "0.10", "-3", "12345.6789", "true", "2025-11-27", "2025-11-27T10:00:00.123Z", "0012",
    ]  # fmt: skip


def test_an_empty_cell_leaves_the_field_and_the_mark_of_null_empties_it(everything, tmp_path):
    org, loader = everything
    load(loader, tmp_path, "Key__c,Amount__c,Notes__c", "K,1.00,text")
    load(loader, tmp_path, "Key__c,Amount__c,Notes__c", "K,#N/A,")
    (held,) = org.rows("Everything__c")
    assert (held["Amount__c"], held["Notes__c"]) == (None, "text")


def test_parents_are_named_by_their_external_id(everything, tmp_path):
    org, loader = everything
    loader._client.send("POST", "/sobjects/Product2", json={"Name": "n", "ProductCode": "P"})
    load(loader, tmp_path, "Key__c", "A", "B")
    load(loader, tmp_path, "Key__c,Parent__r.Key__c,Product2:About__r.ProductCode", "B,A,P")
    ids = {row["Key__c"]: row["Id"] for row in org.rows("Everything__c")}
    (held,) = [row for row in org.rows("Everything__c") if row["Key__c"] == "B"]
    assert (held["Parent__c"], held["About__c"]) == (ids["A"], next(org.rows("Product2"))["Id"])
    load(loader, tmp_path, "Key__c,Parent__r.Key__c", "B,#N/A")
    (held,) = [row for row in org.rows("Everything__c") if row["Key__c"] == "B"]
    assert held["Parent__c"] is None


def test_a_number_that_is_none_is_refused_by_salesforce(everything, tmp_path):
    org, loader = everything
    assert load(loader, tmp_path, "Key__c,Amount__c", "K,twelve").failed == 1
    assert org.count("Everything__c") == 0


def test_an_answer_that_is_lost_is_asked_for_again_and_what_it_created_counts_as_created(org, slice_):
    keys = slice_.stage(30)
    slice_.client.send("PATCH", f"/sobjects/{OBJECT}/{FIELD}/P00007", json={"Name": "was here"})
    slice_.since = org.clock.now() + dt.timedelta(seconds=1)
    org.clock.push(DAY)
    org.faults.add("reset-after", method="PATCH", path="composite")
    send(slice_)
    assert len(calls(org, "PATCH", PATH)) == 2
    created = {row[FIELD]: row["sf__Created"] for row in lines(slice_.logs / "Product2_C1-1_success.csv")}
    assert [key for key in keys if created[key] != "true"] == ["P00007"]
    whole(slice_, org, keys, before=1)


def test_an_org_that_answers_no_more_leaves_the_batch_to_the_next_run(org, slice_):
    keys = slice_.stage(30)
    slice_.client.limits()
    org.faults.add("reset-after", method="PATCH", path="composite", times=99)
    with pytest.raises(TargetUnavailable):
        send(slice_)
    assert slice_.states() == ["closing"]
    assert org.count(OBJECT) == 30
    org.faults.clear()
    (end,) = send(slice_)
    assert (slice_.states(), end.job_id) == (["given_up", "fetched"], "C1-2")
    whole(slice_, org, keys)


@pytest.mark.parametrize("state", ["closed", "ended", "fetched"])
def test_a_run_that_was_killed_after_the_answer_was_on_disk_does_not_send_it_again(
    org, slice_, monkeypatch, state
):
    keys = slice_.stage(30)
    with monkeypatch.context() as patch:
        patch.setattr(LedgerJournal, state, _killed)
        with pytest.raises(KeyboardInterrupt):
            send(slice_)
    send(slice_)
    assert len(calls(org, "PATCH", PATH)) == 1
    assert slice_.states() == ["fetched"]
    whole(slice_, org, keys)


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("state", ["intended", "created", "uploaded"])
def test_a_run_that_was_killed_before_the_call_sends_it_once(org, slice_, state):
    keys = slice_.stage(30)
    note = LedgerJournal(slice_.ledger, 1)
    for step in ("intended", "created", "uploaded")[: ("intended", "created", "uploaded").index(state) + 1]:
        note.created(note.name) if step == "created" else getattr(note, step)()
    send(slice_)
    assert len(calls(org, "PATCH", PATH)) == 1
    assert slice_.states() == ["given_up", "fetched"]
    whole(slice_, org, keys)


@pytest.mark.parametrize(
    ("status", "body", "error", "said", "state"),
    [
        (
            200,
            '[{"id":"1","success":true,"errors":[]}]',
            TargetUnavailable,
            "something else than as many results",
            "closing",
        ),
        (
            200,
            '[{"id":"1","success":true},{},[]]',
            TargetUnavailable,
            "something else than as many results",
            "closing",
        ),
        (200, "{}", TargetUnavailable, "something else than as many results", "closing"),
        (
            400,
            '[{"errorCode":"JSON_PARSER_ERROR","message":"no"}]',
            TargetError,
            "JSON_PARSER_ERROR",
            "given_up",
        ),
    ],
)
def test_an_answer_that_is_not_one_result_a_record_leaves_nothing_that_passes_for_done(
    org, slice_, connect, make_client, status, body, error, said, state
):  # fmt: skip
    slice_.stage(3)
    describe = slice_.client.describe(OBJECT)

    def answer(request, _body):
        if request.path.endswith("token"):
            token = {"access_token": "t", "instance_url": f"http://127.0.0.1:{request.server.server_port}"}
            return reply(request, 200, json.dumps(token | {"token_type": "Bearer"}))
        if request.path.endswith("describe"):
            return reply(request, 200, json.dumps(describe))
        return reply(request, status, body)

    with answering(answer) as address:
        connect(address)
        slice_.client = make_client()
        with pytest.raises(error, match=said):
            send(slice_)
    assert slice_.states() == [state]
    assert not list(slice_.logs.glob("Product2_*"))


def test_a_file_that_is_not_what_was_staged_is_refused_and_nothing_is_sent(org, slice_):
    slice_.stage(30)
    (batch,) = slice_.ledger.batches()
    with pytest.raises(RunFolderError, match="not the one that was staged"):
        small(slice_).load_file(slice_.data / batch.file, size=batch.bytes, sha256="0" * 64)
    assert not calls(org, "PATCH", PATH)


def test_what_is_not_safe_to_repeat_is_not_done_this_way(slice_):
    with pytest.raises(ValueError, match="insert"):
        small(slice_, operation="insert")
