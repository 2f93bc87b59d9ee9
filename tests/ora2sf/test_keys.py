"""Keys and references beside the batches: what stands in several slices, and which parents stand nowhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ora2sf.convert import Rejected
from ora2sf.errors import RunFolderError
from ora2sf.keys import KeyFile, Parent, ReferenceFile, duplicates_across, key_files, parents
from ora2sf.tables import TableConfig


def config(table: str = "t", policy: str = "last") -> TableConfig:
    return TableConfig.model_validate(
        {
            "table": table, "object": f"{table.upper()}__c", "external_id_field": "Ext__c", "duplicates": policy,
            "source": {"table": "T", "order_by": ["K"]},
            "fields": [
                {"field": "Ext__c", "type": "key", "columns": ["K"]},
                {"field": "Up__c", "type": "lookup", "columns": ["P"], "object": "P__c", "external_id_field": "Ext__c", "null": "#N/A"},
                {"field": "Side__c", "type": "lookup", "columns": ["Q"], "object": "P__c", "external_id_field": "Ext__c"},
            ],
        }
    )  # fmt: skip


def write_keys(folder: Path, keys: list[str], *, rejected: tuple[str, ...] = (), **named: Any) -> Path:
    """A key file as an extraction leaves it: rejected rows come after the others."""
    folder.mkdir(parents=True, exist_ok=True)
    one = KeyFile(config(**named), folder)
    numbers = pl.int_range(1, len(keys) + 1, dtype=pl.Int64, eager=True)
    staged = pl.DataFrame({"__row": numbers, "Ext__c": keys}, schema={"__row": pl.Int64, "Ext__c": pl.String})
    one.add(staged, [Rejected(len(keys) + n, key, "V__c", "", "") for n, key in enumerate(rejected, 1)])
    one.finish(lost=next(one.losers(), None) is not None)
    return one.path


def staged_keys(path: Path) -> list[str]:
    return pl.read_parquet(path).filter(pl.col("position").is_not_null())["key"].sort().to_list()


@pytest.mark.parametrize(
    ("policy", "kept"), [("first", ["a", "b"]), ("last", ["a", "b"]), ("reject_all", ["b"])]
)
def test_a_key_file_keeps_the_keys_that_are_staged_after_duplicates_are_taken_out(tmp_path, policy, kept):
    path = write_keys(tmp_path, ["a", "A ", "b"], policy=policy)
    assert staged_keys(path) == kept
    assert pl.read_parquet(path).height == 3


def test_the_policy_of_a_rejected_newest_row_holds_in_the_key_file_too(tmp_path):
    assert staged_keys(write_keys(tmp_path, ["a", "b"], rejected=("a",))) == ["b"]


@pytest.mark.parametrize(
    ("batches", "lost"),
    [
        ([["a", "b"], ["c"]], 0),
        ([["a", "b"], ["b", "c"]], 1),
        ([["a", "b"], ["B"]], 1),
        ([["b", "c"], ["a", "c"]], 1),
        ([["a", "c", "b", "c"], ["d"]], 1),
        ([["b"], [], ["a"], ["b"]], 1),
    ],
)
def test_a_repeated_key_is_found_wherever_the_keys_stop_growing(tmp_path, batches, lost):
    one, row = KeyFile(config(), tmp_path), 1
    for keys in batches:
        numbers = pl.int_range(row, row + len(keys), dtype=pl.Int64, eager=True)
        one.add(pl.DataFrame({"__row": numbers, "Ext__c": pl.Series(keys, dtype=pl.String)}), [])
        row += len(keys)
    assert len(list(one.losers())) == lost


def test_key_files_are_found_by_what_they_are_of_however_deep_they_lie(tmp_path):
    first = write_keys(tmp_path / "t" / "salesforce" / "data", ["a"])
    second = write_keys(tmp_path / "t" / "2025-01" / "salesforce" / "data", ["b"], policy="reject_all")
    other = write_keys(tmp_path / "u" / "salesforce" / "data", ["a"], table="u")
    cut = write_keys(tmp_path / "v", ["a", "a"], table="v")
    assert key_files(tmp_path, table="t") == sorted([first, second])
    assert key_files(tmp_path, object="U__c", field="Ext__c") == [other]
    assert key_files(tmp_path, table="v", object="V__c") == [cut]
    assert key_files(tmp_path, object="U__c", field="Other__c") == []


def test_a_key_file_that_is_not_whole_is_not_found(tmp_path):
    KeyFile(config(), tmp_path).abandon()
    assert key_files(tmp_path, table="t") == []


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sets(st.sampled_from("abcdefgh")), max_size=4))
def test_keys_of_several_slices_are_those_that_one_finds_by_hand(tmp_path, slices):
    files = [write_keys(tmp_path / str(n), sorted(keys)) for n, keys in enumerate(slices)]
    found = duplicates_across(files)
    repeated = sorted(key for key in "abcdefgh" if sum(key in keys for keys in slices) > 1)
    assert found.keys == len(repeated)
    assert [key for key, _ in found.examples] == repeated[:5]
    for key, where in found.examples:
        assert where == [file for file, keys in zip(files, slices, strict=True) if key in keys]


def test_a_key_that_is_rejected_in_one_slice_stands_in_the_other_one_alone(tmp_path):
    files = [write_keys(tmp_path / "1", ["a"]), write_keys(tmp_path / "2", ["b"], rejected=("a",))]
    assert duplicates_across(files).keys == 0


@pytest.fixture
def refer(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a reference file of batches of (key, up, side)."""

    def write(*batches: list[tuple[str, str | None, str | None]], **options: Any) -> Path:
        one = ReferenceFile(config(), tmp_path, **options)
        schema = dict.fromkeys(("Ext__c", "Up__r.Ext__c", "Side__r.Ext__c"), pl.String)
        for batch in batches:
            one.add(pl.DataFrame(batch, schema=schema, orient="row"))
        one.finish()
        return one.path

    return write


def test_parents_are_counted_by_field_over_all_batches(refer):
    path = refer(
        [("1", "P", "Q"), ("2", "p ", None), ("3", "#N/A", "leave")], [("4", "P", "Q"), ("5", None, None)]
    )
    up = parents(path, "Up__c", [], 10)
    assert (up.distinct, up.rows, up.elsewhere, up.elsewhere_rows) == (1, 3, 1, 3)
    assert [(one.folded, one.rows, one.key) for one in up.listed] == [("p", 3, "1")]
    assert [one.value for one in parents(path, "Side__c", [], 10).listed] == ["leave", "Q"]


def test_a_case_sensitive_parent_is_told_apart_by_case(refer):
    path = refer([("1", "P", None), ("2", "p", None)], exact=frozenset({"Up__c"}))
    assert [one.folded for one in parents(path, "Up__c", [], 10).listed] == ["P", "p"]


def test_parents_that_this_run_staged_are_not_elsewhere_but_rejected_ones_are(refer, tmp_path):
    path = refer([("1", "A", None), ("2", "B", None), ("3", "B", None), ("4", "C", None)])
    files = [
        write_keys(tmp_path / "p1", ["a"], table="p"),
        write_keys(tmp_path / "p2", ["c"], rejected=("b",), table="p"),
    ]
    found = parents(path, "Up__c", files, 10)
    assert (found.distinct, found.elsewhere, found.elsewhere_rows) == (3, 1, 2)
    assert found.listed == [Parent("B", "b", 2, "2")]


def test_no_more_parents_are_listed_than_asked_for_but_all_are_counted(refer):
    path = refer([(str(n), f"P{n}", None) for n in range(50)])
    found = parents(path, "Up__c", [], 7)
    assert (found.elsewhere, len(found.listed)) == (50, 7)


def test_a_reference_file_that_is_gone_is_named(tmp_path):
    with pytest.raises(RunFolderError, match=r"t_references\.parquet is gone"):
        parents(tmp_path / "t_references.parquet", "Up__c", [], 7)
