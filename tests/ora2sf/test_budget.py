"""The org's daily limits: a run pauses before the batch that would pass one, says when it can go on, and goes on."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from staged import OBJECT, Slice, keys_in

from ora2sf.budget import RECORDS, Budget, of_calls
from ora2sf.errors import Paused, PreflightError
from ora2sf.ledger import Batch, Ledger
from ora2sf.upload import plan, upload

DAY = 24 * 3600


def budget(slice_: Slice, outputs: Path, name: str = "product", reserve: int = 10, **changes) -> Budget:
    own = outputs / "run/campaign/budget" / f"{name}.json"
    return Budget(
        changes.get("client", slice_.client), changes.get("ledger", slice_.ledger), outputs, own, reserve
    )


def batch(number: int, rows: int) -> Batch:
    return Batch(number, f"{number}", rows, 1, "", "", "")


def send(slice_: Slice, outputs: Path, **changes):
    """One run of the upload step under a budget."""
    one = budget(slice_, outputs, **changes)
    return upload(plan(slice_.ledger), slice_.ledger, slice_.loader(), slice_.data, may_begin=one.begin)


def standing(one: Budget, limit: str):
    return next(found for found in one.needs([], lambda: 0) if found.limit == limit)


def moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def test_a_run_pauses_before_the_reserve_and_goes_on_a_day_later_with_books_that_balance(
    org, slice_, tmp_path
):
    keys = slice_.stage(160, batch_size=10)
    org.change(max_batches=10)
    begun = org.clock.now()
    with pytest.raises(Paused) as caught:
        send(slice_, tmp_path)
    assert slice_.states() == ["fetched"] * 9
    assert "needs 1 of DailyBulkApiBatches (10 in 24 hours, 9 used, 1 reserved)" in str(caught.value)
    assert "same run_id from" in caught.value.next_step
    until = moment(caught.value.until)
    assert dt.timedelta(0) <= until - begun - dt.timedelta(days=1) < dt.timedelta(minutes=1)
    with pytest.raises(Paused):
        send(slice_, tmp_path)  # too early
    assert len(org.jobs()) == 9
    org.clock.push(DAY)
    send(slice_, tmp_path)
    assert keys_in(org) == keys
    assert slice_.books(after=org.count(OBJECT)).verdict == "complete"


def test_a_batch_counts_once_for_each_10000_rows_that_it_begins(org, slice_, tmp_path):
    one = budget(slice_, tmp_path)
    used = [
        found.needed for found in one.needs([batch(1, 10_000), batch(2, 10_001), batch(3, 40_000)], lambda: 0)
    ]
    assert used[1:3] == [1 + 2 + 4, 60_001]


def test_a_batch_that_will_never_fit_is_no_reason_to_wait(org, slice_, tmp_path):
    org.change(max_batches=5)
    one, large = budget(slice_, tmp_path), batch(1, 50_000)
    with pytest.raises(PreflightError, match="never be free") as caught:
        one.begin(large)
    assert "Lower reserve" in caught.value.next_step
    assert [found.limit for found in one.needs([large], lambda: 0) if found.stops] == ["DailyBulkApiBatches"]
    budget(slice_, tmp_path, reserve=0).begin(large)


def test_several_slices_and_runs_are_added_up(org, slice_, tmp_path):
    org.change(max_batches=10)
    other = Ledger(tmp_path / "other.sqlite")
    with other:
        budget(slice_, tmp_path, "other", ledger=other).begin(batch(1, 60_000))
    elsewhere = tmp_path / "earlier/campaign/budget"
    elsewhere.mkdir(parents=True)
    (elsewhere / "product.json").write_text((tmp_path / "run/campaign/budget/other.json").read_text())
    one = budget(slice_, tmp_path)
    assert standing(one, RECORDS).used == 120_000
    found = standing(one, "DailyBulkApiBatches")
    assert (found.ours, found.left) == (12, -3)
    with pytest.raises(Paused):
        one.begin(batch(1, 1))


def test_what_other_orgs_took_and_files_that_cannot_be_read_count_for_nothing(org, slice_, tmp_path):
    one = budget(slice_, tmp_path)
    one.begin(batch(1, 60_000))
    folder = tmp_path / "run/campaign/budget"
    kept = json.loads((folder / "product.json").read_text())
    (folder / "sandbox.json").write_text(json.dumps(kept | {"org": "sandbox.example.com"}))
    (folder / "broken.json").write_text("{")
    (folder / "strange.json").write_text(json.dumps(kept | {"uses": [{"when": 1}]}))
    assert standing(one, RECORDS).used == 60_000


def test_a_limit_that_a_batch_does_not_need_does_not_hold_it_up(org, slice_, tmp_path):
    org.change(max_batches=0)
    one = Budget(
        slice_.client, slice_.ledger, tmp_path, tmp_path / "run/campaign/budget/p.json", 10, of_calls
    )
    one.begin(batch(1, 200))
    assert [(found.needed, found.problem) for found in one.needs([batch(1, 201)], lambda: 0)][1:] == [
        (0, ""), (0, ""), (2, ""),
    ]  # fmt: skip


def test_records_are_counted_by_the_runs_because_the_org_does_not_tell(org, slice_, tmp_path):
    org.change(max_batches=1_000_000)
    one = budget(slice_, tmp_path, reserve=0)
    for number in range(1, 151):
        one.begin(batch(number, 1_000_000 if number < 150 else 999_999))
    with pytest.raises(
        Paused, match=r"needs 2 of Bulk API records \(150,000,000 in 24 hours, 149,999,999 used"
    ):
        one.begin(batch(151, 2))
    one.begin(batch(151, 1))


def test_the_last_answer_tells_how_many_calls_are_left(org, slice_, tmp_path):
    slice_.stage(1)
    used = standing(budget(slice_, tmp_path), "DailyApiRequests").used
    org.change(max_api_requests=(used + 26) * 100 // 90 + 5)
    assert standing(budget(slice_, tmp_path), "DailyApiRequests").problem == ""
    one = budget(slice_, tmp_path)
    one.begin(batch(1, 1))
    slice_.ledger.intend(1)
    with pytest.raises(Paused, match="needs 26 of DailyApiRequests") as caught:
        one.begin(batch(2, 1))  # the first job is in flight, and its calls are still to come
    assert "when it began is not known" in caught.value.next_step
    org.change(max_api_requests=1_000_000)
    budget(slice_, tmp_path).begin(batch(2, 1))


def test_when_others_used_the_limit_it_is_free_within_a_day_and_that_is_all_that_is_said(
    org, slice_, tmp_path
):
    slice_.stage(50, batch_size=10)
    slice_.upload()  # by nobody that this outputs folder knows
    org.change(max_batches=5)
    with pytest.raises(Paused, match="may be free earlier") as caught:
        budget(slice_, tmp_path).begin(batch(9, 1))
    assert moment(caught.value.until) - org.clock.now() > dt.timedelta(hours=23, minutes=59)


def test_time_is_that_of_the_org(org, slice_, tmp_path):
    org.clock.push(3 * DAY)
    slice_.client.limits()
    assert abs(slice_.client.now() - org.clock.now()) < dt.timedelta(seconds=2)
    one = budget(slice_, tmp_path)
    one.begin(batch(1, 60_000))
    assert standing(one, RECORDS).used == 60_000
    org.clock.push(DAY + 10)
    assert standing(one, RECORDS).used == 0


FILES = [batch(1, 40_000), batch(2, 40_000), batch(3, 5_001)]  # 85,001 records of 2 KB are 166.02 MB


@pytest.mark.parametrize(
    ("left", "in_target", "problem", "stops"),
    [
        (167, 0, False, False),
        (166, 0, True, True),
        (10, 85_001, True, False),  # every row may be an update
        (10, 79_882, True, False),  # 5,119 new records at least: 9.998 MB
        (10, 79_880, True, True),  # 5,121: 10.002 MB
    ],
)
def test_storage_stops_the_upload_only_when_new_records_cannot_fit(
    org, slice_, tmp_path, monkeypatch, left, in_target, problem, stops
):
    limits = slice_.client.limits() | {"DataStorageMB": {"Max": 1000, "Remaining": left}}
    monkeypatch.setattr(type(slice_.client), "limits", lambda _: limits)
    (found, *_) = budget(slice_, tmp_path).needs(FILES, lambda: in_target)
    assert (found.limit, found.needed, found.left) == ("DataStorageMB", 167, left)
    assert (bool(found.problem), found.stops) == (problem, stops)


def test_a_limit_that_the_org_does_not_name_is_left_out(org, slice_, tmp_path, monkeypatch):
    monkeypatch.setattr(type(slice_.client), "limits", lambda _: {})
    one = budget(slice_, tmp_path)
    assert [found.limit for found in one.needs(FILES, lambda: 0)] == [RECORDS]
    one.begin(FILES[0])


def test_a_need_beyond_what_is_left_is_told_before_and_does_not_stop(org, slice_, tmp_path):
    org.change(max_batches=10)
    found = {found.limit: found for found in budget(slice_, tmp_path).needs(FILES, lambda: 0)}
    assert (found["DailyBulkApiBatches"].needed, found["DailyBulkApiBatches"].problem) == (9, "")
    org.change(max_batches=9)
    found = {found.limit: found for found in budget(slice_, tmp_path).needs(FILES, lambda: 0)}
    assert "the upload then pauses" in found["DailyBulkApiBatches"].problem
    assert not found["DailyBulkApiBatches"].stops
