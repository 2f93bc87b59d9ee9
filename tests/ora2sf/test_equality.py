"""When a staged value and the org's are the same: every kind, every rule, through the SQL that the comparison runs."""

from __future__ import annotations

from decimal import Decimal

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ora2sf import equality
from ora2sf.equality import BOTH, CASE, DEFAULT, DIFFERENT, LEFT, RULES, Compared

ALL, NONE = frozenset(RULES), frozenset()


@pytest.fixture(scope="module")
def db():
    with duckdb.connect() as opened:
        yield opened


def verdict(db, kind, staged, target, *, created=True, rules=ALL, leaves=True, **changes):
    one = Compared("F", "F", "F", kind, leaves, **changes)
    sql = equality.verdict(one, "s", "t", "c", rules)
    return db.execute(f"SELECT {sql} FROM (SELECT ?::VARCHAR AS s, ?::VARCHAR AS t, ?::BOOLEAN AS c)",
                      [staged, target, created]).fetchone()[0]  # fmt: skip


def same_hash(db, kind, staged, target):
    def side(text):
        cell = f"(SELECT nullif(nullif({equality.literal(text or '')}, ''), '#N/A'))"
        return f"hash({equality.hashed(kind, cell, equality.typed(kind, cell) or '')})"

    return db.execute(f"SELECT {side(staged)} = {side(target)}").fetchone()[0]


@pytest.mark.parametrize(
    ("kind", "staged", "target"),
    [
        ("number", "912260031", "9.12260031E8"),
        ("number", "0.10", "0.1"),
        ("number", "100", "100.0"),
        ("number", "0.00012", "1.2E-4"),
        ("number", "-0.5", "-.5"),
        ("number", "0", "-0.0"),
        ("number", "12345678901234567.8", "1.23456789012345678E16"),
        ("number", "0.000000000000000001", "1.0E-18"),
        ("number", "1.5", "1.50000000000000000000000"),
        ("datetime", "2025-12-31T17:00:00.000Z", "2025-12-31T17:00:00.000+0000"),
        ("datetime", "2025-12-31T17:00:00.000Z", "2026-01-01T00:00:00+07:00"),
        ("datetime", "2025-12-31T17:00:00.000Z", "2025-12-31T13:30:00.000-0330"),
        ("date", "2025-12-31", "2025-12-31"),
        ("boolean", "true", "TRUE"),
        ("text", "0042", "0042"),
        ("text", None, None),
        ("text", "#N/A", None),
    ],
)
def test_equal_values_are_the_same_however_they_are_written(db, kind, staged, target):
    assert verdict(db, kind, staged, target, rules=NONE) is None
    assert same_hash(db, kind, staged, target)


@pytest.mark.parametrize(
    ("kind", "staged", "target"),
    [
        ("number", "0.10", "0.100000000000000001"),
        ("number", "0", "0.0000000000000000001"),
        ("number", "0", "1.5E-20"),
        ("number", "0", "1e-30"),
        ("number", "1000", "1_000"),
        ("number", "12345678901234567.89", "12345678901234567.88"),
        ("number", "9007199254740993", "9007199254740992"),
        ("number", "5", "five"),
        ("number", "5", None),
        ("number", None, "Infinity"),
        ("datetime", "2025-12-31T17:00:00.000Z", "2025-12-31T18:00:00.000Z"),
        ("datetime", "2025-12-31T17:00:00.000Z", "2025-12-31T17:00:00.001Z"),
        ("datetime", "2025-12-31T17:00:00.000Z", "2025-12-31T17:00:00.000+07:00"),
        ("datetime", "2025-12-31T17:00:00.000Z", "2025-12-31"),
        ("date", "2025-12-31", "2026-01-01"),
        ("date", "2025-02-30", "2025-03-02"),
        ("boolean", "true", "false"),
        ("text", "0042", "42"),
        ("text", "ก", "ข"),
        ("text", "Tea", "tea"),
        ("text", "a b", "a  b"),
        ("lookup", "A", "B"),
    ],
)
def test_unequal_values_are_different_under_every_rule(db, kind, staged, target):
    assert verdict(db, kind, staged, target, leaves=False) == DIFFERENT
    assert verdict(db, kind, target, staged, leaves=False) == DIFFERENT
    assert not same_hash(db, kind, staged, target)


@pytest.mark.parametrize(
    ("staged", "target", "rule"),
    [
        (" Tea \t", "Tea", "trimming"),
        ("   ", None, "trimming"),
        ("two\nlines", "two\r\nlines", "line breaks"),
        (" two\nlines", "two\r\nlines", BOTH),
    ],
)
def test_what_salesforce_itself_does_to_a_text_is_named_and_can_be_switched_off(db, staged, target, rule):
    assert verdict(db, "text", staged, target) == rule
    assert verdict(db, "text", staged, target, rules=NONE) == DIFFERENT
    assert not same_hash(db, "text", staged, target)


@pytest.mark.parametrize("kind", ["key", "lookup"])
def test_keys_in_another_case_are_one_key_unless_their_field_is_case_sensitive(db, kind):
    assert verdict(db, kind, "Ab1", "AB1", exact=False) == CASE
    assert verdict(db, kind, "Ab1", "AB1", exact=True) == DIFFERENT


@pytest.mark.parametrize(
    ("created", "leaves", "given", "target", "said"),
    [
        (False, True, {}, "old", LEFT),
        (False, False, {}, "old", DIFFERENT),
        (True, True, {}, "old", DIFFERENT),
        (True, True, {"default": "old"}, "old", DEFAULT),
        (True, True, {"default": "old"}, "other", DIFFERENT),
        (True, True, {"default": "old"}, None, None),
        (True, True, {"unknown_default": True}, "anything", DEFAULT),
    ],
)
def test_an_empty_cell_leaves_an_old_record_as_it_was_and_a_new_one_to_its_default(
    db, created, leaves, given, target, said
):
    assert verdict(db, "text", None, target, created=created, leaves=leaves, **given) == said


@pytest.mark.parametrize("created", [True, False])
def test_an_order_to_empty_the_field_has_to_be_followed(db, created):
    assert verdict(db, "text", "#N/A", "old", created=created, leaves=True) == DIFFERENT
    assert verdict(db, "text", "#N/A", "old", created=created, leaves=True, default="old") == DIFFERENT


def as_java(number):
    """The number with one digit before the point and a power of ten, digit for digit."""
    sign, digits, power = number.as_tuple()
    figures = "".join(map(str, digits)).lstrip("0") or "0"
    shown = figures.rstrip("0") or "0"
    power = len(figures) - 1 + power if number else 0
    return f"{'-' if sign else ''}{shown[0]}.{shown[1:] or '0'}E{power}"


amounts = st.integers(-(10**17), 10**17).map(lambda cents: Decimal(cents).scaleb(-2))


@settings(max_examples=100, deadline=None)
@given(amounts, st.integers(-1, 1))
def test_numbers_are_the_same_exactly_if_their_values_are(db, number, cents):
    other = number + Decimal(cents).scaleb(-2)
    found = verdict(db, "number", f"{number:f}", as_java(other), leaves=False)
    assert (found is None) == (cents == 0)
