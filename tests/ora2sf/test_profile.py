"""The profile of the staged rows against a count by hand, over batches cut anywhere."""

import datetime as dt
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ora2sf.profile import KEPT_HASHES, MOST_COUNTED, FieldProfile, Profiler
from ora2sf.tables import TableConfig

FIELDS: list[dict[str, Any]] = [
    {"field": "Key__c", "type": "key", "columns": ["K"]},
    {"field": "Text__c", "type": "text", "column": "T", "length": 50, "null": "#N/A"},
    {"field": "Amount__c", "type": "decimal", "column": "A", "precision": 18, "scale": 2},
    {"field": "Whole__c", "type": "integer", "column": "W"},
    {"field": "Day__c", "type": "date", "column": "D"},
    {"field": "Fixed__c", "type": "constant", "value": ""},
    {"field": "Parent__c", "type": "lookup", "columns": ["P"], "object": "P__c", "external_id_field": "Ext__c"},
]  # fmt: skip
CONFIG = TableConfig.model_validate(
    {
        "table": "t", "object": "T__c", "external_id_field": "Key__c", "source": {"table": "T"}, "fields": FIELDS,
    }
)  # fmt: skip

rows = st.fixed_dictionaries(
    {
        "Key__c": st.integers(0, 30).map(str),
        "Text__c": st.just("#N/A") | st.text("aกZ😀 ", min_size=1, max_size=9),
        "Amount__c": st.none() | st.decimals(-999, 999, places=2).map(str),
        "Whole__c": st.none() | st.integers(-(10**17), 10**17).map(str),
        "Day__c": st.none() | st.dates(dt.date(1700, 1, 1), dt.date(4000, 12, 31)).map(str),
        "Fixed__c": st.just(""),
        "Parent__r.Ext__c": st.none() | st.sampled_from(["leave", "a", "b"]),
    }
)


def frame(found: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(found, schema=dict.fromkeys(CONFIG.header, pl.String))


def profiled(found: list[dict[str, Any]], size: int, profiler: Profiler | None = None) -> dict[str, Any]:
    profiler = profiler or Profiler(CONFIG)
    whole = frame(found)
    for start in range(0, whole.height, size):
        profiler.add(profiler.look(whole.slice(start, size)))
    return {one.spec.field: one.as_json() for one in profiler.fields}


@settings(max_examples=60, deadline=None)
@given(st.lists(rows, max_size=25), st.integers(1, 9))
def test_a_profile_is_what_one_counts_by_hand_however_the_batches_are_cut(found, size):
    kinds = {"Amount__c": Decimal, "Whole__c": int}
    profiles = profiled(found, size)
    for spec in CONFIG.fields:
        texts = [row[spec.header] for row in found]
        values = [text for text in texts if text not in {None, "", "#N/A"}]
        typed = [kinds.get(spec.field, str)(value) for value in values]
        profile = profiles[spec.field]
        assert (profile["rows"], profile["nulls"]) == (len(texts), len(texts) - len(values))
        assert (profile["distinct"], profile["distinct_is_exact"]) == (len(set(values)), True)
        shown = str if spec.field == "Amount__c" else lambda v: v
        assert profile["min"] == (shown(min(typed)) if typed else None)
        assert profile["max"] == (shown(max(typed)) if typed else None)
        is_text = spec.type in {"key", "text", "constant", "lookup"}
        assert profile["longest"] == (max(map(len, values), default=0) if is_text else 0)


def test_many_distinct_values_are_estimated_within_the_stated_error():
    profile = FieldProfile(CONFIG.key)
    profiler = Profiler(CONFIG)
    profiler.fields[0] = profile
    for start in range(0, 200_000, 20_000):
        keys = [str(n % 150_000) for n in range(start, start + 20_000)]
        empty = pl.lit(None, dtype=pl.String)
        batch = pl.DataFrame({"Key__c": keys}).with_columns(
            [empty.alias(name) for name in CONFIG.header if name != "Key__c"]
        )
        profiler.add(profiler.look(batch))
    assert not profile.distinct_is_exact
    assert abs(profile.distinct / 150_000 - 1) < 0.05  # three standard errors
    assert len(profile.hashes) == KEPT_HASHES


def test_numbers_are_compared_as_numbers_and_to_the_last_digit():
    found = [{"Amount__c": text, "Whole__c": text.split(".", maxsplit=1)[0]} for text in ("9.00", "10.00", "-100.00", "9999999999999999.98", "9999999999999999.99")]  # fmt: skip
    profiles = profiled([dict.fromkeys(CONFIG.header) | row for row in found], 2)
    assert (profiles["Amount__c"]["min"], profiles["Amount__c"]["max"]) == ("-100.00", "9999999999999999.99")
    assert (profiles["Whole__c"]["min"], profiles["Whole__c"]["max"]) == (-100, 9999999999999999)


def test_values_are_counted_one_by_one_where_that_is_asked_for_but_not_without_end():
    many = [{"Text__c": f"v{n}"} for n in range(MOST_COUNTED + 5)] + [{"Text__c": "v0"}]
    found = [dict.fromkeys(CONFIG.header) | row for row in many]
    profile = profiled(found, 500, Profiler(CONFIG, counted=frozenset({"Text__c"})))["Text__c"]
    assert profile["values"]["v0"] == 2
    assert (len(profile["values"]), profile["uncounted"]) == (MOST_COUNTED, 5)


@pytest.mark.parametrize(("kept", "too_long"), [(1, 2), (2, 1), (3, 0)])
def test_texts_longer_than_salesforce_keeps_are_counted_in_characters(kept, too_long):
    found = [dict.fromkeys(CONFIG.header) | {"Text__c": text} for text in ("ก", "กข", "😀😀😀", "#N/A")]
    profile = profiled(found, 2, Profiler(CONFIG, {"Text__c": kept}))["Text__c"]
    assert (profile["longest"], profile["too_long"]) == (3, too_long)


def test_a_profile_of_counts_alone_leaves_out_what_costs_most():
    found = [dict.fromkeys(CONFIG.header) | {"Text__c": text} for text in ("a", "bb", None)]
    lines = profiled(found, 2, Profiler(CONFIG, {"Text__c": 1}, frozenset({"Text__c"}), in_full=False))
    assert lines["Text__c"] | {"values": {}} == {
        "field": "Text__c", "type": "text", "rows": 3, "nulls": 1, "distinct": None, "distinct_is_exact": False,
        "min": None, "max": None, "longest": 2, "too_long": 1, "values": {}, "uncounted": 0,
    }  # fmt: skip
    assert lines["Text__c"]["values"] == {"a": 1, "bb": 1}


def test_rows_that_are_staged_anew_are_counted_anew():
    profiler = Profiler(CONFIG)
    profiled([dict.fromkeys(CONFIG.header)] * 3, 1, profiler)
    profiler.begin_again()
    assert profiled([dict.fromkeys(CONFIG.header)] * 2, 1, profiler)["Key__c"]["rows"] == 2
