"""Duplicate keys: which row counts, and what becomes of the batches when the others are taken out."""

import csv
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ora2sf.batches import read_batch
from ora2sf.convert import Converter
from ora2sf.errors import ConversionError
from ora2sf.extract import _Stage
from ora2sf.keys import duplicates
from ora2sf.ledger import Batch
from ora2sf.tables import TableConfig

POLICIES = ["first", "last", "reject_all"]
#: What stays beside the batches.
KEPT = {"t_rejected.csv", "t_keys.parquet", "t_references.parquet"}


def table(policy: str, **limits: Any) -> TableConfig:
    return TableConfig.model_validate(
        limits
        | {
            "table": "t",
            "object": "T__c",
            "external_id_field": "Key__c",
            "duplicates": policy,
            "source": {"table": "T", "order_by": ["K"]},
            "fields": [
                {"field": "Key__c", "type": "key", "columns": ["K"]},
                {"field": "V__c", "column": "V", "type": "integer", "required": True},
            ],
        }
    )


def stage(
    folder: Path,
    policy: str,
    rows: list[tuple[Any, Any]],
    batch_size: int = 3,
    piece: int = 4,
    *,
    case_sensitive: bool = False,
    **limits: Any,
) -> tuple[_Stage, list[Batch]]:
    """Stages rows of (key, value); a value that is no number is rejected by its rule."""
    schema: dict[str, pl.DataType] = {"K": pl.String(), "V": pl.String()}
    config = table(policy, **limits)
    convert = Converter(config, schema, frozenset())
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    staged = _Stage(config, folder, folder / "t_rejected.csv", batch_size, case_sensitive=case_sensitive)
    with staged.abandoned_on_failure():
        for start in range(0, frame.height, piece):
            staged.add(convert.convert(frame.slice(start, piece), start + 1))
        return staged, staged.finish()


def rows_of(folder: Path, batches: list[Batch]) -> list[tuple[str, str]]:
    return [row for batch in batches for row in read_batch(folder / batch.file).rows()]


def refused(folder: Path) -> list[tuple[int, str, str]]:
    with (folder / "t_rejected.csv").open(newline="") as stream:
        return [(int(row["row"]), row["key"], row["rule"]) for row in csv.DictReader(stream)]


def winners(policy: str, rows: list[tuple[str, bool]]) -> list[int]:
    """Numbers of the rows that count, from 1: of each key one row decides, and it counts if it is good."""
    numbers: dict[str, list[int]] = {}
    for number, (key, _) in enumerate(rows, 1):
        numbers.setdefault(key, []).append(number)
    deciding = []
    for found in numbers.values():
        if len(found) == 1 or policy != "reject_all":
            deciding.append(found[-1] if policy == "last" else found[0])
    return sorted(n for n in deciding if rows[n - 1][1])


@pytest.mark.parametrize(
    ("policy", "kept", "rule"),
    [
        ("first", ["1", "2", "5"], "duplicate key: an earlier row counts"),
        ("last", ["2", "4", "5"], "duplicate key: a later row counts"),
        ("reject_all", ["2", "5"], "duplicate key: none of its rows counts"),
    ],
)
def test_the_policy_decides_which_row_of_a_key_counts(tmp_path, policy, kept, rule):
    rows = [("a", "1"), ("b", "2"), ("a", "3"), ("a", "4"), ("c", "5")]
    _, batches = stage(tmp_path, policy, rows)
    assert [value for _, value in rows_of(tmp_path, batches)] == kept
    lost = [(n, key, rule) for n, (key, value) in enumerate(rows, 1) if value not in kept]
    assert refused(tmp_path) == lost


def test_a_rejected_newest_row_lets_no_older_one_pass(tmp_path):
    _, batches = stage(tmp_path, "last", [("a", "1"), ("a", "2"), ("a", "bad"), ("b", "3")])
    assert rows_of(tmp_path, batches) == [("b", "3")]


def test_a_rejected_first_row_lets_no_later_one_pass(tmp_path):
    _, batches = stage(tmp_path, "first", [("a", "bad"), ("a", "2"), ("b", "3")])
    assert rows_of(tmp_path, batches) == [("b", "3")]


def test_a_rejected_row_makes_its_key_a_duplicate(tmp_path):
    _, batches = stage(tmp_path, "reject_all", [("a", "bad"), ("a", "2"), ("b", "3")])
    assert rows_of(tmp_path, batches) == [("b", "3")]


def test_an_older_row_may_be_rejected_without_harm_to_the_newest(tmp_path):
    _, batches = stage(tmp_path, "last", [("a", "bad"), ("a", "2"), ("b", "3")])
    assert rows_of(tmp_path, batches) == [("a", "2"), ("b", "3")]


def test_rows_without_a_key_are_no_duplicates_of_each_other(tmp_path):
    staged, batches = stage(tmp_path, "reject_all", [(None, "1"), ("", "2"), ("a", "3")])
    assert rows_of(tmp_path, batches) == [("a", "3")]
    assert staged.reasons == {("Key__c", "empty key"): 2}


@pytest.mark.parametrize("policy", POLICIES)
def test_batches_are_full_again_after_duplicates_are_taken_out(tmp_path, policy):
    rows = [(f"k{n // 2 if n < 10 else n}", str(n)) for n in range(40)]
    staged, batches = stage(tmp_path, policy, rows, batch_size=6)
    left = 30 if policy == "reject_all" else 35
    assert [batch.rows for batch in batches] == [6] * (left // 6) + ([left % 6] if left % 6 else [])
    assert [batch.number for batch in batches] == list(range(1, len(batches) + 1))
    assert staged.rejected.rows == 40 - left
    assert {p.name for p in tmp_path.iterdir()} == {b.file for b in batches} | KEPT


def test_a_table_whose_rows_all_lose_leaves_no_batch(tmp_path):
    _, batches = stage(tmp_path, "reject_all", [("a", "1"), ("a", "2")])
    assert batches == []
    assert {p.name for p in tmp_path.iterdir()} == KEPT


def test_without_duplicates_no_batch_is_written_again(tmp_path):
    staged, batches = stage(tmp_path, "last", [(f"k{n}", str(n)) for n in range(7)])
    assert [batch.rows for batch in batches] == [3, 3, 1]
    assert staged.rejected.rows == 0


def test_keys_that_salesforce_takes_for_one_record_are_duplicates(tmp_path):
    rows = [("a", "1"), ("A", "2"), ("a ", "3"), ("\u00e1", "4"), ("a\u0301", "5"), ("0a", "6")]
    _, batches = stage(tmp_path, "last", rows)
    assert rows_of(tmp_path, batches) == rows[2:]


def test_a_case_sensitive_key_tells_its_rows_apart_by_case(tmp_path):
    rows = [("a", "1"), ("A", "2"), ("a ", "3")]
    _, batches = stage(tmp_path, "last", rows, case_sensitive=True)
    assert rows_of(tmp_path, batches) == rows[1:]


@pytest.mark.parametrize("policy", POLICIES)
@settings(deadline=None, max_examples=25)
@given(
    rows=st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=25), size=st.integers(1, 5)
)
def test_every_row_is_staged_or_rejected_and_the_right_ones_count(tmp_path_factory, policy, rows, size):
    folder = tmp_path_factory.mktemp("stage")
    source = [(key, str(n) if good else "bad") for n, (key, good) in enumerate(rows, 1)]
    staged, batches = stage(folder, policy, source, batch_size=size)
    kept = winners(policy, rows)
    assert [int(value) for _, value in rows_of(folder, batches)] == kept
    lost = refused(folder)
    assert sorted(number for number, _, _ in lost) == sorted(set(range(1, len(rows) + 1)) - set(kept))
    assert all(rows[number - 1][0] == key for number, key, _ in lost)
    assert staged.rows_read == len(rows) == sum(b.rows for b in batches) + staged.rejected.rows
    assert sum(staged.reasons.values()) == staged.rejected.rows


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [("first", [(5, 2), (9, 4)]), ("last", [(1, 0), (5, 2)]), ("reject_all", [(1, 0), (5, 2), (9, 4)])],
)
def test_losers_come_with_row_and_position_by_position(tmp_path, policy, wanted):
    keys = pl.DataFrame(
        {"row": [9, 1, 3, 5, 7, 6], "key": ["a", "a", "b", "a", "c", "c"], "position": [4, 0, 1, 2, 3, None]},
        schema={"row": pl.Int64, "key": pl.String, "position": pl.Int64},
    )
    keys.write_parquet(tmp_path / "keys.parquet")
    extra = {"first": [(7, 3)], "last": [], "reject_all": [(7, 3)]}[policy]
    assert list(duplicates(tmp_path / "keys.parquet", policy)) == sorted(wanted + extra, key=lambda r: r[1])


TEN_WITH_TWO_BAD = [(str(n), n if n % 5 else "x") for n in range(1, 11)]


def test_more_rejected_rows_than_allowed_stop_the_extraction_at_once_and_name_the_commonest_reason(tmp_path):
    with pytest.raises(ConversionError) as caught:
        stage(tmp_path, "reject_all", TEN_WITH_TWO_BAD, max_rejected=0)
    assert caught.value.what == (
        "1 of 8 rows are rejected, more than max_rejected = 0 allows; "
        "most often V__c: is not a whole number (1 rows)."
    )
    assert str(tmp_path / "t_rejected.csv") in caught.value.next_step
    assert [rule for _, _, rule in refused(tmp_path)] == ["is not a whole number"]


def test_as_many_rejected_rows_as_allowed_are_no_reason_to_stop(tmp_path):
    assert stage(tmp_path, "reject_all", TEN_WITH_TWO_BAD, max_rejected=2)[0].rejected.rows == 2
    assert stage(tmp_path, "reject_all", TEN_WITH_TWO_BAD, max_rejected_share=0.2)[0].rejected.rows == 2


def test_a_share_of_rejected_rows_is_judged_at_the_end_with_duplicate_keys(tmp_path):
    rows = [*TEN_WITH_TWO_BAD, ("1", 1)]
    with pytest.raises(
        ConversionError, match=r"4 of 11 rows are rejected, more than max_rejected_share = 0.3"
    ):
        stage(tmp_path, "reject_all", rows, max_rejected_share=0.3)
