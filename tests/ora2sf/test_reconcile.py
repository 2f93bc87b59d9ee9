"""The books: every staged key is looked for in the result files of its batch."""

from __future__ import annotations

import hashlib

import pytest
from staged import FIELD, Slice

from ora2sf.batches import RejectedFile
from ora2sf.convert import Rejected
from ora2sf.errors import RunFolderError
from ora2sf.ledger import Result
from ora2sf.reconcile import failures, outcomes

HEADS = {
    "success": '"sf__Id","sf__Created",ProductCode,Name\n',
    "failed": '"sf__Id","sf__Error",ProductCode,Name\n',
    "unprocessed": "ProductCode,Name\n",
}


@pytest.fixture
def books(tmp_path):
    """A slice that needs no org: result files are written by hand."""
    one = Slice(tmp_path, client=None)
    with one.ledger:
        yield one


def lines(kind, keys, second="true"):
    if kind == "unprocessed":
        return "".join(f'"{key}","x"\n' for key in keys)
    return "".join(f'"01t","{second}","{key}","x"\n' for key in keys)


def settle(slice_, batch, job_id="750x", **texts):
    """Records a job of that batch as settled, with these result files (rows after the header)."""
    ledger = slice_.ledger
    attempt = ledger.intend(batch)
    ledger.move(attempt, "created", job_id=job_id)
    for state in ("uploaded", "closing", "closed", "ended"):
        ledger.move(attempt, state)
    results = []
    for kind, head in HEADS.items():
        path = slice_.logs / f"Product2_{job_id}_{kind}.csv"
        text = texts.get(kind, "")
        path.write_text(text if text is None or text.startswith("!") else head + text, encoding="utf-8")
        if text == "!":
            path.write_bytes(b"")
        rows, created = text.count("\n"), text.count('"true"')
        results.append(
            Result(attempt, kind, path.name, rows, created, hashlib.sha256(path.read_bytes()).hexdigest())
        )
    ledger.fetched(attempt, results)
    return attempt


def failing(balance):
    return {check.name: (check.left, check.right) for check in balance.checks if not check.holds}


def test_every_kind_of_row_is_counted_once_and_the_books_balance(books):
    keys = books.stage(10)
    settle(
        books,
        1,
        success=lines("success", keys[:3]) + lines("success", keys[3:5], "false"),
        failed=lines(
            "failed", keys[5:8], "REQUIRED_FIELD_MISSING:Required fields are missing: [Name]:Name --"
        ),
        unprocessed=lines("unprocessed", keys[8:]),
    )
    found = books.books(before=2, after=5)
    assert (found.success, found.created, found.updated) == (5, 3, 2)
    assert (found.failed, found.unprocessed, found.unknown, found.not_sent) == (3, 2, 0, 0)
    assert failing(found) == {}
    assert found.verdict == "incomplete"


def test_all_rows_successful_is_complete(books):
    keys = books.stage(10)
    settle(books, 1, success=lines("success", keys))
    assert books.books(before=0, after=10).verdict == "complete"


def test_a_failed_row_is_an_exception_and_not_a_gap(books):
    keys = books.stage(2)
    settle(books, 1, success=lines("success", keys[:1]), failed=lines("failed", keys[1:], "X:y:--"))
    assert books.books(before=0, after=1).verdict == "complete with exceptions"


def test_a_key_in_no_result_file_is_unknown_and_the_books_do_not_balance(books):
    keys = books.stage(10)
    settle(books, 1, success=lines("success", keys[:9]))
    found = books.books(before=0, after=9)
    assert found.verdict == "does not balance"
    assert failing(found) == {"unknown = 0": (1, 0)}


def test_a_row_that_was_never_staged_is_surplus(books):
    keys = books.stage(3)
    settle(books, 1, success=lines("success", [*keys, "ALIEN"]))
    found = books.books()
    assert failing(found) == {"result rows that were never staged, or came twice = 0": (1, 0)}
    assert found.verdict == "does not balance"


@pytest.mark.parametrize("kind", ["success", "failed", "unprocessed"])
def test_a_key_that_comes_twice_counts_once_and_is_reported(books, kind):
    keys = books.stage(3)
    texts = {"success": lines("success", keys)}
    texts[kind] = texts.get(kind, "") + lines(kind, keys[:1])
    settle(books, 1, **texts)
    found = books.books()
    assert (found.success, found.failed, found.unprocessed) == (3, 0, 0)
    assert failing(found) == {"result rows that were never staged, or came twice = 0": (1, 0)}


def test_a_key_in_the_result_of_another_batch_is_no_comfort(books):
    keys = books.stage(4, batch_size=2)
    settle(books, 1, "750a", success=lines("success", keys[:2]))
    settle(books, 2, "750b", success=lines("success", keys[:2]))
    found = books.books()
    assert (found.success, found.unknown) == (2, 2)
    assert found.verdict == "does not balance"


def test_a_row_that_comes_back_without_its_cells_cannot_be_attributed(books):
    keys = books.stage(2)
    settle(
        books, 1, success=lines("success", keys[:1]), failed='"","INVALID_FIELD:Number of fields:--","",""\n'
    )
    assert set(failing(books.books())) == {
        "unknown = 0",
        "result rows that were never staged, or came twice = 0",
    }


def test_keys_are_compared_as_text(books):
    books.stage(1)
    settle(books, 1, success=lines("success", ["p00000"]))
    assert books.books().unknown == 1


def test_an_empty_result_file_has_no_rows(books):
    keys = books.stage(2)
    settle(books, 1, success=lines("success", keys), failed="!", unprocessed="!")
    assert books.books(before=0, after=2).verdict == "complete"


def test_a_result_file_without_the_sent_columns_has_no_known_rows(books):
    books.stage(2)
    settle(books, 1)
    for path in books.logs.glob("Product2_*"):
        path.write_text('"sf__Id","sf__Created",\n', encoding="utf-8")
    found = books.books()
    assert (found.unknown, found.verdict) == (2, "does not balance")


def test_a_job_that_is_not_settled_leaves_its_rows_unknown(books):
    books.stage(3)
    books.ledger.move(books.ledger.intend(1), "created", job_id="750x")
    (outcome,) = outcomes(books.ledger, books.data, books.logs, FIELD)
    assert (outcome.unknown, outcome.job_id) == (3, "750x")


@pytest.mark.parametrize("given_up", [True, False])
def test_a_batch_without_a_job_is_not_sent(books, given_up):
    books.stage(3)
    if given_up:
        books.ledger.move(books.ledger.intend(1), "given_up")
    found = books.books(before=5, after=5)
    assert (found.not_sent, found.verdict) == (3, "incomplete")
    assert failing(found) == {}


def test_zero_batches_are_nothing_to_do(books):
    books.stage(0)
    assert outcomes(books.ledger, books.data, books.logs, FIELD) == []
    assert books.books().verdict == "nothing to do"


def test_a_target_that_grew_by_another_number_does_not_balance(books):
    keys = books.stage(2)
    settle(books, 1, success=lines("success", keys))
    found = books.books(before=0, after=3)
    assert failing(found) == {"target COUNT after - before = created": (3, 2)}
    assert found.verdict == "does not balance"


def test_a_target_that_others_write_to_is_shown_and_not_enforced(books):
    keys = books.stage(2)
    settle(books, 1, success=lines("success", keys))
    found = books.books(before=0, after=3, shared=True)
    assert failing(found) == {"target COUNT after - before = created": (3, 2)}
    assert found.verdict == "complete"


def test_a_rejected_file_with_other_lines_than_the_ledger_does_not_balance(books):
    keys = books.stage(1)
    settle(books, 1, success=lines("success", keys))
    file = RejectedFile(books.rejected)
    file.add([Rejected(1, "K", "F", "rule", 'two\nlines, "quoted"\r', "")])
    file.finish()
    assert failing(books.books()) == {"lines in the rejected file = rejected": (1, 0)}


def remove_staged(slice_):
    return next(slice_.data.iterdir())


def remove_result(slice_):
    return slice_.logs / "Product2_750x_failed.csv"


def remove_rejected(slice_):
    return slice_.rejected


@pytest.mark.parametrize("which", [remove_staged, remove_result, remove_rejected])
def test_a_missing_file_is_named(books, which):
    keys = books.stage(2)
    settle(books, 1, success=lines("success", keys))
    path = which(books)
    path.unlink()
    with pytest.raises(RunFolderError, match="cannot be proven") as caught:
        books.books()
    assert str(path) in caught.value.what


def test_failures_are_grouped_by_code_and_fields_with_one_example(books):
    keys = books.stage(6)
    refused = [
        "STRING_TOO_LONG:Name: data value too large: ผ:x (max length=5):Name --",
        "STRING_TOO_LONG:Name: data value too large: b (max length=5):Name --",
        "REQUIRED_FIELD_MISSING:Required fields are missing: [A__c, B__c]:A__c,B__c --",
        "UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record:--",
        "something else",
    ]
    text = "".join(lines("failed", [key], error) for key, error in zip(keys, refused, strict=False))
    settle(books, 1, failed=text, success=lines("success", keys[5:]))
    found = failures(books.ledger, books.data, books.logs, FIELD)
    assert found.select("code", "fields", "rows").rows() == [
        ("STRING_TOO_LONG", "Name", 2),
        ("REQUIRED_FIELD_MISSING", "A__c,B__c", 1),
        ("UNABLE_TO_LOCK_ROW", "", 1),
        ("UNKNOWN", "", 1),
    ]
    assert found["key"][0] == keys[1]
    assert found["message"][0] == refused[1]


def test_references_that_are_not_found_are_told_apart_by_what_they_refer_to(books):
    keys = books.stage(3)
    missing = "INVALID_FIELD:Foreign key external ID: {} not found for field {} in entity {}:--"
    refused = [
        missing.format("041", "Store_Code__c", "Store__c"),
        missing.format("1|2: not found for field x", "External_ID__c", "Sale__c"),
        missing.format("042", "Store_Code__c", "Store__c"),
    ]
    text = "".join(lines("failed", [key], error) for key, error in zip(keys, refused, strict=True))
    settle(books, 1, failed=text)
    found = failures(books.ledger, books.data, books.logs, FIELD)
    assert found.select("rows", "message").rows() == [(2, refused[0]), (1, refused[1])]


def test_failures_have_the_same_columns_when_there_are_none(books):
    keys = books.stage(2)
    settle(books, 1, success=lines("success", keys[:1]), failed=lines("failed", keys[1:], "X:y:--"))
    some = failures(books.ledger, books.data, books.logs, FIELD)
    settle(books, 1, "750y", success=lines("success", keys))
    none = failures(books.ledger, books.data, books.logs, FIELD)
    assert none.schema == some.schema
    assert (some.height, none.height) == (1, 0)


def test_failures_of_a_lost_file_name_it(books):
    keys = books.stage(1)
    settle(books, 1, failed=lines("failed", keys, "X:y:--"))
    remove_result(books).unlink()
    with pytest.raises(RunFolderError, match="750x_failed"):
        failures(books.ledger, books.data, books.logs, FIELD)
