"""What a value becomes. Every expectation is worked out with decimal, datetime and csv, never with the library."""

# ruff: noqa: DTZ001 - the source keeps local times without a zone
import csv
import datetime as dt
import io
import string
from collections import Counter
from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, localcontext
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ora2sf.batches import encode
from ora2sf.convert import Converted, Converter, shown, unusable
from ora2sf.errors import ConversionError, PreflightError
from ora2sf.tables import TableConfig

MANY = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SOME = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NUMBER = pl.Decimal(38, 10)


def config(*fields: dict[str, Any], key: tuple[str, ...] = ("K",), **rest: Any) -> TableConfig:
    return TableConfig.model_validate(
        {
            "table": "t",
            "object": "T__c",
            "external_id_field": "Key__c",
            "source": {"table": "T"},
            "fields": [{"field": "Key__c", "type": "key", "columns": key}, *fields],
        }
        | rest
    )


def convert(
    spec: dict[str, Any],
    values: Iterable[Any],
    kind: pl.DataType | type[pl.DataType],
    *,
    padded: bool = False,
    first_row: int = 1,
    **rest: Any,
) -> Converted:
    """Converts one column ``V`` to one field ``V__c``; the key is the row's number."""
    given_values = list(values)
    frame = pl.DataFrame(
        {"K": [str(n) for n in range(len(given_values))], "V": given_values},
        schema={"K": pl.String, "V": kind},
        strict=False,
    )
    settled = config({"field": "V__c", "column": "V", **spec}, **rest)
    made = Converter(settled, dict(frame.schema), frozenset({"V"} if padded else ()))
    return made.convert(frame, first_row)


def outcome(done: Converted, number: int) -> list[tuple[str, Any]]:
    """For each row ``("staged", text)`` or ``("rejected", rule)``."""
    staged = dict(zip(done.staged["Key__c"], done.staged["V__c"], strict=True))
    refused = {one.key: one.rule for one in done.rejected}
    assert not staged.keys() & refused.keys()
    return [
        ("staged", staged[str(n)]) if str(n) in staged else ("rejected", refused[str(n)])
        for n in range(number)
    ]


def only(
    spec: dict[str, Any], value: Any, kind: pl.DataType | type[pl.DataType], **rest: Any
) -> tuple[str, Any]:
    return outcome(convert(spec, [value], kind, **rest), 1)[0]


def cells(rows: pl.DataFrame) -> list[list[str]]:
    return list(csv.reader(io.StringIO(encode(rows).decode("utf-8"), newline=""), strict=True))


# decimals

decimals = st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n: Decimal(f"{n}e-10"))
ties = st.builds(
    lambda n, scale: Decimal(f"{n * 10 + 5}e-{scale + 1}"), st.integers(-(10**9), 10**9), st.integers(0, 9)
)
ROUNDING = {"half_up": ROUND_HALF_UP, "half_even": ROUND_HALF_EVEN}


def expected_decimal(value: Decimal, precision: int, scale: int, rounding: str) -> str | None:
    """The text, or None if the value does not fit."""
    with localcontext(prec=100):
        exact = value.quantize(Decimal(1).scaleb(-scale), ROUNDING.get(rounding, ROUND_HALF_UP))
        if rounding == "none" and exact != value:
            return None
        if abs(exact) >= Decimal(10) ** (precision - scale):
            return None
        return format(abs(exact) if exact == 0 else exact, "f")


@MANY
@given(
    st.lists(st.none() | decimals | ties | st.decimals(-1000, 1000, places=10), max_size=40),
    st.integers(0, 10),
    st.integers(1, 28),
    st.sampled_from(["half_up", "half_even", "none"]),
)
def test_a_number_is_rounded_as_the_table_file_says_or_refused(values, scale, whole, rounding):
    spec = {"type": "decimal", "precision": min(scale + whole, 38), "scale": scale, "rounding": rounding}
    done = convert(spec, values, NUMBER)
    for value, (what, text) in zip(values, outcome(done, len(values)), strict=True):
        wanted = None if value is None else expected_decimal(value, spec["precision"], scale, rounding)
        if value is None or wanted is not None:
            assert (what, text) == ("staged", wanted)
        else:
            assert what == "rejected"


@MANY
@given(st.lists(decimals | ties, min_size=1, max_size=40))
def test_the_same_number_as_text_gives_the_same_text(values):
    spec = {"type": "decimal", "precision": 18, "scale": 2}
    written = [format(value, "f") for value in values]
    numbers, texts = convert(spec, values, NUMBER), convert(spec, written, pl.String)
    assert numbers.staged.equals(texts.staged)
    assert [(r.row, r.rule) for r in numbers.rejected] == [(r.row, r.rule) for r in texts.rejected]


@pytest.mark.parametrize("held", [0, 1, 10, 30])
@pytest.mark.parametrize("rounding", ["half_up", "half_even"])
@pytest.mark.parametrize("scale", [0, 2])
@pytest.mark.parametrize("precision", [18, 38])
def test_the_largest_number_is_converted_or_refused_but_never_stops_the_others(
    held, rounding, scale, precision
):
    with localcontext(prec=100):
        largest = Decimal(f"{'9' * 38}e-{held}")
        fits = expected_decimal(largest, precision, scale, rounding)
        overflows = abs(largest.quantize(Decimal(1).scaleb(-scale), ROUNDING[rounding])) >= Decimal(10) ** (
            38 - held
        )
    spec = {"type": "decimal", "precision": precision, "scale": scale, "rounding": rounding}
    first, second, third = outcome(
        convert(spec, [largest, largest.copy_negate(), Decimal(1)], pl.Decimal(38, held)), 3
    )
    assert third == ("staged", "1" if scale == 0 else "1.00")
    if fits is None or overflows:
        assert (first[0], second[0]) == ("rejected", "rejected")
    else:
        assert (first, second) == (("staged", fits), ("staged", f"-{fits}"))


def test_a_number_that_rounds_up_over_the_bound_is_refused():
    spec = {"type": "decimal", "precision": 4, "scale": 2}
    found = outcome(convert(spec, [Decimal("99.994"), Decimal("99.995"), Decimal("-99.995")], NUMBER), 3)
    rule = "more than 2 digits before the point"
    assert found == [("staged", "99.99"), ("rejected", rule), ("rejected", rule)]


def test_rounding_is_counted_for_the_staged_rows_only():
    done = convert(
        {"type": "decimal", "precision": 4, "scale": 2},
        [Decimal("1.005"), Decimal("1.00"), Decimal("2.0050"), Decimal("100.001"), None],
        NUMBER,
    )
    assert done.changed == {("V__c", "rounded to 2 decimals (half_up)"): 2}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (".5", "0.50"),
        ("-.5", "-0.50"),
        ("+7", "7.00"),
        ("007.10", "7.10"),
        ("5.", "5.00"),
        ("0", "0.00"),
        ("-0.001", "0.00"),
    ],
)
def test_a_number_written_as_oracle_writes_it_is_read(text, wanted):
    assert only({"type": "decimal"}, text, pl.String) == ("staged", wanted)


@pytest.mark.parametrize(
    "text",
    ["1e5", "1,5", "1 000", " 1", "1\n", "abc", ".", "-", "NaN", "inf", "٣", "1.2.3", "0x1", "1_000", "--1"],
)
def test_what_is_no_plain_number_is_refused(text):
    for kind in ("decimal", "integer"):
        what, rule = only({"type": kind}, text, pl.String)
        assert what == "rejected"
        assert rule.startswith("is not a")


@MANY
@given(
    st.lists(decimals | st.integers(-(10**19), 10**19).map(Decimal), min_size=1, max_size=40),
    st.integers(1, 18),
)
def test_an_integer_is_written_whole_or_refused(values, digits):
    found = outcome(convert({"type": "integer", "digits": digits}, values, NUMBER), len(values))
    for value, (what, text) in zip(values, found, strict=True):
        fits = value == value.to_integral_value() and abs(value) < 10**digits
        assert (what, text) == ("staged", str(int(value))) if fits else what == "rejected"


@pytest.mark.parametrize("held", [0, 10, 30, 37])
def test_an_integer_near_38_digits_never_stops_the_others(held):
    values = [Decimal(f"{'9' * 38}e-{held}"), Decimal(7)]
    assert [what for what, _ in outcome(convert({"type": "integer"}, values, pl.Decimal(38, held)), 2)] == [
        "rejected",
        "staged",
    ]


def test_a_rejected_number_is_shown_with_all_its_digits():
    value = Decimal("1234567890123456789012345678.9012345678")
    (refused,) = convert({"type": "decimal"}, [value], NUMBER).rejected
    assert refused.value == "1234567890123456789012345678.9012345678"


# text

NASTY = [
    '"',
    "\n",
    "\r",
    "\r\n",
    "\0",
    "\u2028",
    "\x85",
    "😀",
    "#N/A",
    "",
    " ",
    "\t",
    ",",
    "'",
    "\ufeff",
    "ไทย",
    "=1+1",
]
texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.lists(st.sampled_from(NASTY) | st.text(string.ascii_letters, max_size=3), max_size=6).map("".join),
)


def normal(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@MANY
@given(st.lists(st.none() | texts, max_size=40), st.integers(1, 12), st.sampled_from(["reject", "truncate"]))
def test_text_arrives_as_it_was_through_any_csv_reader(values, length, on_misfit):
    done = convert({"type": "text", "length": length, "on_misfit": on_misfit}, values, pl.String)
    found = dict(cells(done.staged.select("Key__c", "V__c")))
    refused = {one.key for one in done.rejected}
    assert found.keys() | refused == {str(n) for n in range(len(values))}
    cut = 0
    for n, value in enumerate(values):
        wanted = normal(value or "")
        too_long = len(wanted) > length
        wanted = wanted[:length] if on_misfit == "truncate" else wanted
        if (too_long and on_misfit == "reject") or "\0" in wanted or wanted == "#N/A":
            assert str(n) in refused
        else:
            assert found[str(n)] == wanted
            cut += too_long
    assert done.changed[("V__c", f"truncate: longer than {length} characters")] == cut


@SOME
@given(st.lists(texts, min_size=1, max_size=30))
def test_blank_padding_goes_from_char_columns_only(values):
    spec = {"type": "text", "length": 500}
    char = convert(spec, [v + "   " for v in values], pl.String, padded=True)
    varchar = convert(spec, [v + "   " for v in values], pl.String)
    for n, (what, text) in enumerate(outcome(char, len(values))):
        wanted = normal(values[n]).rstrip(" ")
        if "\0" in wanted or wanted == "#N/A":
            assert what == "rejected"
        else:
            assert (what, text) == ("staged", wanted or None)
    for n, (what, text) in enumerate(outcome(varchar, len(values))):
        assert (what, text) == ("staged", normal(values[n]) + "   ") or "\0" in values[n]


def test_a_line_without_text_is_no_blank_line():
    rows = pl.DataFrame({"a": [None, "", "x"]}, schema={"a": pl.String})
    assert encode(rows.with_columns(b=None)).count(b"\n") == 3
    assert encode(pl.DataFrame({"a": ["k"], "b": [None]})) == b"k,\n"


def test_text_cut_to_the_null_mark_is_refused():
    what, rule = only({"type": "text", "length": 4, "on_misfit": "truncate"}, "#N/A see remark", pl.String)
    assert (what, rule) == ("rejected", "#N/A would be read as an order to empty the field")


def test_truncating_counts_a_line_break_as_one_character():
    done = convert(
        {"type": "text", "length": 3, "on_misfit": "truncate"}, ["a\r\nb", "a\r\nbc", "😀😀😀😀"], pl.String
    )
    assert done.staged["V__c"].to_list() == ["a\nb", "a\nb", "😀😀😀"]
    assert done.changed == {
        ("V__c", "line breaks written as LF"): 2,
        ("V__c", "truncate: longer than 3 characters"): 2,
    }


@SOME
@given(st.lists(decimals, min_size=1, max_size=30))
def test_a_number_read_as_text_has_no_trailing_zeros(values):
    for value, (_, text) in zip(
        values, outcome(convert({"type": "text", "length": 50}, values, NUMBER), len(values)), strict=True
    ):
        with localcontext(prec=100):
            assert Decimal(text) == value
            assert text == format(value.normalize() + 0, "f")


# dates

days = st.dates(dt.date(1, 1, 1), dt.date(9999, 12, 31))


def test_a_table_whose_key_alone_is_a_time_is_converted():
    made = config(key=("D",))
    frame = pl.DataFrame({"D": [dt.datetime(2024, 5, 1, 12), None]})
    done = Converter(made, dict(frame.schema), frozenset()).convert(frame, 1)
    assert done.staged["Key__c"].to_list() == ["2024-05-01T12:00:00"]
    assert [(one.row, one.rule) for one in done.rejected] == [(2, "empty key")]


moments = st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9998, 12, 31)).map(
    lambda m: m.replace(microsecond=0)
)
MASKS = {
    "DD/MM/YYYY": "{0:%d/%m/}{0.year:04}",
    "DD/MM/YYYY HH24:MI:SS": "{0:%d/%m/}{0.year:04}{0: %H:%M:%S}",
    "YYYY-MM-DD": "{0.year:04}{0:-%m-%d}",
    "YYYY-MM-DD HH24:MI:SS": "{0.year:04}{0:-%m-%d %H:%M:%S}",
    "YYYYMMDD": "{0.year:04}{0:%m%d}",
}


def storable(day: dt.date) -> bool:
    return dt.date(1700, 1, 1) <= day <= dt.date(4000, 12, 31)


@pytest.mark.parametrize("mask", MASKS)
@SOME
@given(
    values=st.lists(
        moments | days.map(lambda d: dt.datetime(d.year, d.month, d.day)), min_size=1, max_size=40
    )
)
def test_a_day_written_in_a_mask_is_that_day(mask, values):
    written = [MASKS[mask].format(value) for value in values]
    done = convert({"type": "date", "formats": [mask]}, written, pl.String)
    for value, (what, text) in zip(values, outcome(done, len(values)), strict=True):
        if storable(value.date()):
            assert (what, text) == ("staged", value.date().isoformat())
        else:
            assert (what, text) == ("rejected", "not between 1700-01-01 and 4000-12-31")


def test_the_day_comes_first_in_a_mask_that_says_so():
    assert only({"type": "date", "formats": ["DD/MM/YYYY"]}, "09/12/2025", pl.String) == (
        "staged",
        "2025-12-09",
    )


def test_masks_are_tried_in_order_until_one_fits():
    spec = {"type": "date", "formats": ["YYYYMMDD", "DD/MM/YYYY HH24:MI:SS", "DD/MM/YYYY"]}
    done = convert(spec, ["20251209", "31/03/2028 23:59:59", "20/01/2026"], pl.String)
    assert done.staged["V__c"].to_list() == ["2025-12-09", "2028-03-31", "2026-01-20"]


@pytest.mark.parametrize(
    "text",
    [
        "31/02/2025",
        "00/01/2025",
        "01/13/2025",
        "29/02/2023",
        "1/2/2025",
        "01/01/25",
        "01-01-2025",
        "01/01/2025 ",
        " 01/01/2025",
        "01/01/2025\n",
        "٠١/٠١/٢٠٢٥",
        "TBA",
        "31/01/2025 23:59:60",
        "31/01/2025 24:00:00",
        "31/01/2025 23:60:00",
        "31/01/2025 1:00:00",
        "31/01/2025T01:00:00",
    ],
)
@pytest.mark.parametrize("kind", ["date", "datetime"])
def test_a_text_that_is_no_date_is_refused_and_nothing_else(kind, text):
    formats = ["DD/MM/YYYY HH24:MI:SS", "DD/MM/YYYY"]
    found = outcome(convert({"type": kind, "formats": formats}, [text, "15/06/2025"], pl.String), 2)
    assert found[0] == ("rejected", "is not a date in DD/MM/YYYY HH24:MI:SS or DD/MM/YYYY")
    assert found[1][0] == "staged"


def test_the_year_zero_is_refused():
    what, rule = only({"type": "date", "formats": ["DD/MM/YYYY"]}, "01/01/0000", pl.String)
    assert (what, rule) == ("rejected", "not between 1700-01-01 and 4000-12-31")


@SOME
@given(st.lists(st.none() | st.datetimes(dt.datetime(1921, 1, 1), dt.datetime(2100, 12, 31)), max_size=40))
def test_usual_moments_before_and_after_1970_are_written_as_python_writes_them(values):
    zone = "Asia/Bangkok"
    instants = convert({"type": "datetime"}, values, pl.Datetime("us"), source_time_zone=zone)
    days = convert({"type": "date"}, values, pl.Datetime("us"))
    for value, instant, day in zip(values, instants.staged["V__c"], days.staged["V__c"], strict=True):
        utc = value and value.replace(tzinfo=ZoneInfo(zone)).astimezone(dt.UTC)
        assert instant == (utc and f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03}Z")
        assert day == (value and value.date().isoformat())


@pytest.mark.parametrize("kind", ["date", "datetime"])
def test_a_moment_before_the_year_one_is_refused_and_shown(kind):
    early = pl.Series([-(10**14)], dtype=pl.Int64).cast(pl.Datetime("ms"))
    frame = pl.DataFrame({"K": ["0"], "V": early})
    made = Converter(config({"field": "V__c", "column": "V", "type": kind}), dict(frame.schema), frozenset())
    (refused,) = made.convert(frame, 1).rejected
    assert refused.rule == "not between 1700-01-01 and 4000-12-31"
    assert refused.value.startswith("-1199-")


@SOME
@given(st.lists(st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(4000, 12, 31)), min_size=1, max_size=40))
def test_a_date_field_takes_the_day_of_an_oracle_date_and_counts_the_times_left_out(values):
    done = convert({"type": "date"}, values, pl.Datetime("us"), source_time_zone="Asia/Bangkok")
    assert done.staged["V__c"].to_list() == [v.date().isoformat() for v in values]
    timed = sum(v.time() != dt.time() for v in values)
    assert done.changed[("V__c", "time of day left out")] == timed


def in_utc(local: dt.datetime, zone: str) -> dt.datetime | None:
    """The instant; of two the earlier; None when the clocks skip it."""
    rules = ZoneInfo(zone)
    utc = local.replace(tzinfo=rules, fold=0).astimezone(dt.UTC)
    return utc if utc.astimezone(rules).replace(tzinfo=None) == local else None


def milliseconds(utc: dt.datetime) -> str:
    return f"{utc.year:04}{utc:-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03}Z"


around_changes = st.builds(
    lambda year, month, seconds: dt.datetime(year, month, 24) + dt.timedelta(seconds=seconds),
    st.integers(1996, 2099),
    st.sampled_from([3, 10]),
    st.integers(0, 8 * 86_400),
)


@pytest.mark.parametrize("zone", ["Asia/Bangkok", "Europe/Berlin", "UTC", "America/New_York"])
@MANY
@given(
    values=st.lists(
        around_changes | st.datetimes(dt.datetime(1700, 1, 2), dt.datetime(2099, 12, 31)),
        min_size=1,
        max_size=40,
    )
)
def test_a_local_time_becomes_the_instant_in_utc(zone, values):
    done = convert({"type": "datetime"}, values, pl.Datetime("us"), source_time_zone=zone)
    for value, (what, text) in zip(values, outcome(done, len(values)), strict=True):
        utc = in_utc(value, zone)
        if utc is None:
            assert (what, text) == ("rejected", f"the clocks of {zone} skip this time")
        else:
            assert (what, text) == ("staged", milliseconds(utc))
    fine = sum(v.microsecond % 1000 != 0 for v in values if in_utc(v, zone))
    assert done.changed[("V__c", "cut to milliseconds")] == fine


@pytest.mark.parametrize(
    ("zone", "changed"),
    [
        ("Asia/Bangkok", dt.datetime(1920, 4, 1)),
        ("Asia/Kolkata", dt.datetime(1945, 10, 15)),
        ("Asia/Singapore", dt.datetime(1982, 1, 1)),
    ],
)
@pytest.mark.parametrize("first", range(-72, 96, 12))
def test_clocks_that_were_changed_long_ago_are_known_before_and_after_it(zone, changed, first):
    values = [changed + dt.timedelta(hours=hour, milliseconds=7) for hour in range(first, 97)]
    done = convert({"type": "datetime"}, values, pl.Datetime("us"), source_time_zone=zone)
    wanted = [in_utc(value, zone) for value in values]
    assert [text if what == "staged" else None for what, text in outcome(done, len(values))] == [
        utc and milliseconds(utc) for utc in wanted
    ]


def test_of_two_instants_with_one_local_time_the_earlier_counts():
    spec = {"type": "datetime"}
    twice = only(spec, dt.datetime(2025, 10, 26, 2, 30), pl.Datetime("us"), source_time_zone="Europe/Berlin")
    never = only(spec, dt.datetime(2025, 3, 30, 2, 30), pl.Datetime("us"), source_time_zone="Europe/Berlin")
    assert twice == ("staged", "2025-10-26T00:30:00.000Z")
    assert never == ("rejected", "the clocks of Europe/Berlin skip this time")


def test_a_time_is_refused_where_the_daylight_saving_of_its_zone_is_unknown():
    spec, far = {"type": "datetime"}, dt.datetime(2100, 7, 1, 12)
    berlin = only(spec, far, pl.Datetime("us"), source_time_zone="Europe/Berlin")
    assert berlin == ("rejected", "the daylight saving of Europe/Berlin is not known for this year")
    assert only(spec, far, pl.Datetime("us"), source_time_zone="Asia/Bangkok") == (
        "staged",
        "2100-07-01T05:00:00.000Z",
    )


@pytest.mark.parametrize(
    ("local", "wanted"),
    [
        ("01/01/1700 06:00:00", None),  # 1699 in UTC: Bangkok was 6:42:04 ahead
        ("01/01/1700 06:42:04", "1700-01-01T00:00:00.000Z"),
        ("31/12/4000 23:59:59", "4000-12-31T16:59:59.000Z"),
        ("01/01/4001 00:00:00", None),
        ("31/12/1699 23:59:59", None),
    ],
)
def test_an_instant_that_salesforce_cannot_store_is_refused(local, wanted):
    spec = {"type": "datetime", "formats": ["DD/MM/YYYY HH24:MI:SS"]}
    what, text = only(spec, local, pl.String, source_time_zone="Asia/Bangkok")
    assert (what, text) == ("staged", wanted) if wanted else what == "rejected"


def test_the_bounds_of_the_table_file_are_days_of_the_source():
    spec = {
        "type": "datetime",
        "earliest": dt.date(2025, 1, 1),
        "latest": dt.date(2025, 12, 31),
        "formats": ["DD/MM/YYYY HH24:MI:SS"],
    }
    values = ["01/01/2025 00:00:00", "31/12/2025 23:59:59", "31/12/2024 23:59:59", "01/01/2026 00:00:00"]
    found = outcome(convert(spec, values, pl.String, source_time_zone="Asia/Bangkok"), 4)
    rule = ("rejected", "not between 2025-01-01 and 2025-12-31")
    assert found == [
        ("staged", "2024-12-31T17:00:00.000Z"),
        ("staged", "2025-12-31T16:59:59.000Z"),
        rule,
        rule,
    ]


def test_a_date_of_the_buddhist_era_is_refused_by_the_bound():
    spec = {"type": "date", "formats": ["DD/MM/YYYY"], "latest": dt.date(2199, 12, 31)}
    assert only(spec, "01/12/2568", pl.String) == ("rejected", "not between 1700-01-01 and 2199-12-31")


# yes or no, picklists, constants


@pytest.mark.parametrize(
    ("values", "kind", "wanted"),
    [
        (["Y", "y", "T", "yes", "True", "1"], pl.String, "true"),
        (["N", "n", "f", "NO", "false", "0"], pl.String, "false"),
        ([Decimal(1), Decimal("1.0")], NUMBER, "true"),
        ([Decimal(0), Decimal("0.00")], NUMBER, "false"),
    ],
)
def test_every_known_way_to_say_yes_or_no_is_understood(values, kind, wanted):
    done = convert({"type": "boolean"}, values, kind)
    assert done.staged["V__c"].to_list() == [wanted] * len(values)


@pytest.mark.parametrize(
    ("value", "kind"), [("J", pl.String), ("2", pl.String), (Decimal(2), NUMBER), (" Y", pl.String)]
)
def test_anything_else_is_no_yes_or_no(value, kind):
    assert only({"type": "boolean"}, value, kind) == ("rejected", "is not a yes or no")


def test_a_padded_yes_is_a_yes():
    assert only({"type": "boolean"}, "Y   ", pl.String, padded=True) == ("staged", "true")


@SOME
@given(
    st.lists(
        st.none() | st.integers(-5, 5).map(Decimal) | st.decimals(-3, 3, places=2), min_size=1, max_size=40
    )
)
def test_a_value_map_matches_numbers_by_value(values):
    mapped = {"1": "New", "2": "Update", "-1": "Cancel", "0": "None", "0.5": "Half"}
    done = convert({"type": "picklist", "values": mapped}, values, NUMBER)
    by_value = {Decimal(name): text for name, text in mapped.items()}
    for value, (what, text) in zip(values, outcome(done, len(values)), strict=True):
        if value is None:
            assert (what, text) == ("staged", None)
        elif value in by_value:
            assert (what, text) == ("staged", by_value[value])
        else:
            assert (what, text) == ("rejected", "not in the value map")


@pytest.mark.parametrize("name", ["1.0", "01", "+1", "1.", ".5", "one", "-0", ""])
def test_a_value_map_that_no_number_can_match_is_refused_before_any_row(name):
    bad = config({"field": "V__c", "column": "V", "type": "picklist", "values": {name: "New"}})
    with pytest.raises(PreflightError, match="without leading or trailing zeros"):
        Converter(bad, {"K": pl.String(), "V": NUMBER}, frozenset())


def test_a_value_map_matches_text_exactly():
    done = convert(
        {"type": "picklist", "values": {"1": "New", "01": "Old"}}, ["1", "01", "1.0", None], pl.String
    )
    assert outcome(done, 4) == [
        ("staged", "New"),
        ("staged", "Old"),
        ("rejected", "not in the value map"),
        ("staged", None),
    ]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a\rb", "holds a control character"),
        ("a\nb", "holds a control character"),
        ("#N/A", "#N/A would be read as an order to empty the field"),
        ("x" * 41, "longer than 40 characters"),
    ],
)
def test_a_picklist_without_a_map_refuses_what_no_picklist_holds(text, rule):
    assert only({"type": "picklist", "length": 40}, text, pl.String) == ("rejected", rule)


def test_a_constant_stands_in_every_row():
    done = Converter(
        config({"field": "C__c", "type": "constant", "value": 'say "x",\nthen y'}),
        {"K": pl.String()},
        frozenset(),
    ).convert(pl.DataFrame({"K": ["a", "b"]}), 1)
    assert cells(done.staged.select("Key__c", "C__c")) == [
        ["a", 'say "x",\nthen y'],
        ["b", 'say "x",\nthen y'],
    ]


# policies

MISFITS: list[tuple[dict[str, Any], Any, Any, str]] = [
    ({"type": "text", "length": 3}, "long", pl.String, "def"),
    ({"type": "integer", "digits": 2}, Decimal(100), NUMBER, "-7"),
    ({"type": "decimal", "precision": 4, "scale": 2}, Decimal(100), NUMBER, "0.50"),
    ({"type": "boolean"}, "?", pl.String, "false"),
    ({"type": "date", "formats": ["YYYYMMDD"]}, "TBA", pl.String, "1999-12-31"),
    ({"type": "datetime", "formats": ["YYYYMMDD"]}, "TBA", pl.String, "1999-12-31T00:00:00.000Z"),
    ({"type": "picklist", "values": {"1": "New"}}, "9", pl.String, "New"),
]
kinds = pytest.mark.parametrize(
    ("spec", "value", "kind", "default"), MISFITS, ids=[m[0]["type"] for m in MISFITS]
)


@kinds
def test_a_misfit_is_rejected_by_default_with_its_value_and_rule(spec, value, kind, default):
    (refused,) = convert(spec, [value], kind, first_row=41).rejected
    assert (refused.row, refused.key, refused.field, refused.value) == (41, "0", "V__c", str(value))


@kinds
def test_a_misfit_may_become_null_and_is_counted(spec, value, kind, default):
    done = convert({**spec, "on_misfit": "null"}, [value, None], kind)
    assert done.staged["V__c"].to_list() == [None, None]
    assert list(done.changed.values()) == [1]
    assert next(iter(done.changed))[1].startswith("null: ")


@kinds
def test_a_misfit_may_become_the_default_and_an_empty_value_does_not(spec, value, kind, default):
    done = convert({**spec, "on_misfit": "default", "default": default}, [value, None], kind)
    assert done.staged["V__c"].to_list() == [default, None]
    assert list(done.changed.values()) == [1]


@kinds
def test_a_misfit_that_becomes_null_empties_the_field_where_empty_values_do(spec, value, kind, default):
    done = convert({**spec, "on_misfit": "null", "null": "#N/A"}, [value, None], kind)
    assert done.staged["V__c"].to_list() == ["#N/A", "#N/A"]


@kinds
def test_a_required_value_may_not_be_empty_whatever_the_policy(spec, value, kind, default):
    with_default = {"on_misfit": "default", "default": default}
    for policy in ({}, with_default, {"null": "#N/A"}):
        done = convert({**spec, **policy, "required": True}, [None, value], kind)
        assert (done.rejected[0].row, done.rejected[0].rule) == (1, "required, but empty")
        assert all(r.rule != "required, but empty" for r in done.rejected[1:])


@kinds
def test_no_rule_fires_on_an_empty_value(spec, value, kind, default):
    done = convert(spec, [None, None], kind)
    assert (done.staged.height, done.rejected, done.changed) == (2, [], {})


def test_an_empty_batch_gives_nothing():
    done = convert({"type": "decimal"}, [], NUMBER)
    assert (done.staged.height, done.rejected, done.changed) == (0, [], {})


def test_a_row_is_rejected_once_and_names_all_its_faults():
    made = Converter(
        config(
            {"field": "A__c", "column": "A", "type": "boolean"},
            {"field": "B__c", "column": "B", "type": "integer"},
        ),
        {"K": pl.String(), "A": pl.String(), "B": pl.String()},
        frozenset(),
    )
    done = made.convert(pl.DataFrame({"K": ["k", "l"], "A": ["?", "Y"], "B": ["x", "1"]}), 10)
    (refused,) = done.rejected
    assert (refused.row, refused.key, refused.field, refused.value) == (10, "k", "A__c", "?")
    assert refused.also == "B__c: is not a whole number"
    assert done.staged.rows() == [(11, "l", "true", "1")]


# keys


@MANY
@given(
    st.lists(
        st.tuples(
            st.none() | st.text(string.ascii_letters + string.digits + " ", max_size=4),
            st.none() | st.integers(-(10**27), 10**27).map(Decimal) | st.decimals(-99, 99, places=3),
            st.none() | st.text(string.digits, max_size=5),
        ),
        max_size=40,
    )
)
def test_a_composite_key_is_the_text_of_its_parts_and_lacks_none(rows):
    frame = pl.DataFrame(
        {"C": [r[0] and r[0] + "   " for r in rows], "N": [r[1] for r in rows], "V": [r[2] for r in rows]},
        schema={"C": pl.String, "N": NUMBER, "V": pl.String},
    )
    done = Converter(config(key=("C", "N", "V")), dict(frame.schema), frozenset({"C"})).convert(frame, 1)
    staged = dict(zip(done.staged["__row"], done.staged["Key__c"], strict=True))
    refused = {one.row: one.rule for one in done.rejected}
    for n, (char, number, text) in enumerate(rows, 1):
        if char is None or not char.rstrip(" ") or number is None or not text:
            assert refused[n] == "empty key"
        else:
            with localcontext(prec=100):
                plain = format(number.normalize() + 0, "f")
            assert staged[n] == f"{char.rstrip(' ')}_{plain}_{text}"
    assert len(staged) + len(refused) == len(rows)


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        (None, "empty key"),
        ("", "empty key"),
        ("a\nb", "holds a control character"),
        ("a\0", "holds a control character"),
        ("x" * 256, "longer than 255 characters"),
        ("#N/A", "#N/A would be read as an order to empty the field"),
    ],
)
def test_a_key_that_cannot_serve_is_refused(key, rule):
    made = Converter(config(), {"K": pl.String()}, frozenset())
    done = made.convert(pl.DataFrame({"K": [key, "0901001"]}, schema={"K": pl.String}), 1)
    assert [one.rule for one in done.rejected] == [rule]
    assert done.staged["Key__c"].to_list() == ["0901001"]


@SOME
@given(st.lists(st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31)), min_size=1, max_size=30))
def test_a_time_in_a_key_keeps_its_finest_digits(values):
    made = Converter(config(key=("T",)), {"T": pl.Datetime("us")}, frozenset())
    done = made.convert(pl.DataFrame({"T": values}, schema={"T": pl.Datetime("us")}), 1)
    for value, text in zip(values, done.staged["Key__c"], strict=True):
        assert dt.datetime.fromisoformat(text) == value
        assert text.startswith(value.isoformat(timespec="seconds"))


# columns that cannot feed a field


def test_every_field_that_its_column_cannot_feed_is_named_at_once():
    bad = config(
        {"field": "A__c", "column": "T", "type": "decimal"},
        {"field": "B__c", "column": "S", "type": "date"},
        {"field": "C__c", "column": "GONE", "type": "boolean"},
        {"field": "D__c", "column": "S", "type": "text", "length": 5},
    )
    schema: dict[str, pl.DataType] = {"K": pl.String(), "S": pl.String(), "T": pl.Datetime("us")}
    assert list(unusable(bad, schema)) == ["A__c", "B__c", "C__c"]
    with pytest.raises(PreflightError) as caught:
        Converter(bad, schema, frozenset())
    for part in ("A__c", "B__c: column S", "without formats", "C__c: no column GONE"):
        assert part in str(caught.value)


# --- codes, e-mail, telephone, web address ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "value", "wanted"),
    [
        ({"type": "code"}, "0901001", ("staged", "0901001")),
        ({"type": "code"}, " 042 ", ("staged", "042")),
        ({"type": "code"}, "   ", ("staged", None)),
        ({"type": "code", "width": 5}, "42", ("staged", "00042")),
        ({"type": "code", "width": 5}, "0042A", ("staged", "0042A")),
        ({"type": "code", "width": 2}, "123", ("staged", "123")),
        ({"type": "code", "length": 3}, "1234", ("rejected", "longer than 3 characters")),
        ({"type": "code"}, "1\n2", ("rejected", "holds a control character")),
        ({"type": "email"}, "a.b+c@example.co.th", ("staged", "a.b+c@example.co.th")),
        ({"type": "email"}, " a@example.com", ("staged", "a@example.com")),
        ({"type": "email"}, "a@example", ("rejected", "is not an e-mail address")),
        ({"type": "email"}, "a..b@example.com", ("rejected", "is not an e-mail address")),
        ({"type": "email"}, "a@b.com; c@d.com", ("rejected", "is not an e-mail address")),
        ({"type": "email"}, "ก@example.com", ("rejected", "is not an e-mail address")),
        ({"type": "email", "on_misfit": "null"}, "nobody", ("staged", None)),
        ({"type": "phone"}, "+66 2 123 4567 ext. 8", ("staged", "+66 2 123 4567 ext. 8")),
        ({"type": "phone"}, "1" * 41, ("rejected", "longer than 40 characters")),
        ({"type": "url"}, "https://example.com/?q=ก", ("staged", "https://example.com/?q=ก")),
        ({"type": "url"}, "#N/A", ("rejected", "#N/A would be read as an order to empty the field")),
    ],
)
def test_short_texts_lose_the_blanks_around_them_and_keep_everything_else(spec, value, wanted):
    assert only(spec, value, pl.String) == wanted


def test_a_code_from_a_number_gets_its_leading_zeros_back_and_they_are_counted():
    done = convert({"type": "code", "width": 4}, [Decimal(7), Decimal(12345), None], NUMBER)
    assert done.staged["V__c"].to_list() == ["0007", "12345", None]
    assert done.changed == {("V__c", "leading zeros given back"): 1}


# --- lookups ---------------------------------------------------------------------------------------------------------


def look_up(rows: list[tuple[str | None, ...]], **entries: Any) -> Converted:
    names = [f"C{n}" for n in range(len(rows[0]))]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row").with_columns(
        K=pl.int_range(pl.len()).cast(pl.String)
    )
    spec = {
        "field": "Parent__c", "type": "lookup", "columns": names, "object": "P__c", "external_id_field": "Ext__c",
    }  # fmt: skip
    return Converter(config(spec | entries), dict(frame.schema), frozenset()).convert(frame, 1)


def test_a_lookup_is_written_under_its_relationship_and_the_parents_external_id():
    done = look_up([("A", "01"), (None, None)])
    assert done.staged.columns == ["__row", "Key__c", "Parent__r.Ext__c"]
    assert done.staged["Parent__r.Ext__c"].to_list() == ["A_01", None]


@pytest.mark.parametrize(
    ("entries", "header"),
    [
        ({"field": "AccountId"}, "Account.Ext__c"),
        ({"field": "Owner", "relationship": "Owner"}, "Owner.Ext__c"),
        ({"field": "WhoId", "polymorphic": True}, "P__c:Who.Ext__c"),
    ],
)
def test_the_header_of_a_lookup_follows_salesforces_rules(entries, header):
    assert look_up([("A",)], **entries).staged.columns[-1] == header


@pytest.mark.parametrize(
    ("entries", "row", "wanted"),
    [
        ({}, ("A", None), "some parts of the reference are empty"),
        ({"on_misfit": "null"}, ("A", None), None),
        ({"required": True}, (None, None), "required, but empty"),
        ({"length": 3}, ("AB", "CD"), "longer than 3 characters"),
        ({}, ("A", "1\n"), "holds a control character"),
    ],
)
def test_a_reference_that_cannot_be_made_whole_rejects_its_row(entries, row, wanted):
    done = look_up([row], **entries)
    assert [one.rule for one in done.rejected] == ([wanted] if wanted else [])
    assert done.staged["Parent__r.Ext__c"].to_list() == ([] if wanted else [None])


def test_an_empty_reference_empties_the_field_when_told_so():
    assert look_up([(None,)], null="#N/A").staged["Parent__r.Ext__c"].to_list() == ["#N/A"]


# --- stopping --------------------------------------------------------------------------------------------------------


def test_a_field_that_must_not_fail_stops_the_conversion_with_row_field_rule_and_value():
    with pytest.raises(ConversionError) as caught:
        convert({"type": "text", "length": 2, "on_misfit": "fail"}, ["ab", "abc"], pl.String)
    assert "Row 2 (key 1): V__c does not fit: longer than 2 characters; value 'abc'" in caught.value.what
    assert "on_misfit" in caught.value.next_step


def test_a_number_of_the_value_map_that_the_column_cannot_hold_maps_nothing():
    spec = {"type": "picklist", "values": {"1.5": "Half", "2": "Two"}}
    done = convert(spec, [Decimal(1), Decimal(2)], pl.Decimal(38, 0))
    assert outcome(done, 2) == [("rejected", "not in the value map"), ("staged", "Two")]
    assert only(spec, Decimal("1.5"), NUMBER) == ("staged", "Half")


def test_the_parts_of_a_key_are_shown_as_the_key_has_them():
    row = {"A": "07", "N": Decimal("1.0000000000"), "E": None, "F": Decimal("2.50")}
    assert shown(row, config(key=("A", "N", "E", "F")).key) == "07 | 1 |  | 2.5"


@pytest.mark.parametrize("number", ["1" * 38, "-" + "9" * 38, "1" * 29])
def test_a_number_of_the_value_map_with_more_digits_than_the_column_maps_nothing(number):
    spec = {"type": "picklist", "values": {number: "Big", "-7": "Seven", "0.5": "Half"}}
    assert only(spec, Decimal(-7), NUMBER) == ("staged", "Seven")
    assert only(spec, Decimal("0.5"), pl.Decimal(38, 38)) == ("staged", "Half")


def test_a_time_is_no_boolean_and_that_is_said_before_any_row():
    settled = config({"field": "V__c", "column": "V", "type": "boolean"})
    schema = {"K": pl.String(), "V": pl.Datetime("us")}
    assert "cannot become a boolean" in unusable(settled, schema)["V__c"]


# --- one by one and in company ---------------------------------------------------------------------------------------

COMPANY: list[tuple[dict[str, Any], Any, list[Any]]] = [
    ({"type": "text", "length": 5}, pl.String, ["ok", "", None, "sixsix", "a\rb", "\0", "#N/A", " ok ", "ก" * 5]),
    ({"type": "text", "length": 5, "on_misfit": "truncate", "null": "#N/A"}, pl.String, ["ok", None, "sixsix", "a\r\nb"]),
    ({"type": "code", "width": 3}, pl.String, ["001", "1", " 2", "x", None, "a\tb", "", "\xa07"]),
    ({"type": "code", "required": True}, NUMBER, [Decimal(1), Decimal("1.5"), None, Decimal(10**20)]),
    ({"type": "integer", "digits": 3}, NUMBER, [Decimal(999), Decimal(1000), Decimal("-1.5"), None, Decimal(-1000)]),
    ({"type": "decimal", "precision": 5, "scale": 2}, NUMBER,
     [Decimal("1.005"), Decimal("999.99"), Decimal("999.995"), Decimal(-1000), None]),
    ({"type": "decimal", "precision": 5, "rounding": "none"}, NUMBER, [Decimal("1.5"), Decimal("1.005"), None]),
    ({"type": "boolean"}, pl.String, ["Y", "n", "maybe", "", None, "TRUE"]),
    ({"type": "boolean"}, NUMBER, [Decimal(0), Decimal(1), Decimal(2), None, Decimal("0.1")]),
    ({"type": "date", "earliest": dt.date(2000, 1, 1)}, pl.Datetime("us"),
     [dt.datetime(2000, 1, 1, 5), dt.datetime(1999, 12, 31), None]),
    ({"type": "datetime"}, pl.Datetime("us"),
     [dt.datetime(2025, 3, 9, 1, 30), dt.datetime(2025, 3, 9, 2, 30), dt.datetime(2101, 1, 1), None]),
    ({"type": "date", "formats": ["DD/MM/YYYY"]}, pl.String, ["01/02/2025", "31/02/2025", "", None, "x"]),
    ({"type": "picklist", "values": {"1": "New"}}, NUMBER, [Decimal(1), Decimal(2), None]),
    ({"type": "picklist", "values": {"1": "New", "0.5": "Half", "9" * 29: "No"}, "on_misfit": "default", "default": "x"}, NUMBER,
     [Decimal(1), Decimal("0.5"), Decimal("0.50001"), Decimal("9" * 28), None]),
    ({"type": "picklist", "length": 3}, pl.String, ["abc", "abcd", "a\nb", "", None]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "kind", "values"), COMPANY, ids=lambda one: one.get("type") if isinstance(one, dict) else ""
)
def test_a_value_becomes_the_same_alone_as_in_the_company_of_values_that_do_not_fit(spec, kind, values):
    rest = {"source_time_zone": "America/New_York"}
    together = convert(spec, values, kind, **rest)
    alone = [convert(spec, [value], kind, **rest) for value in values]
    assert outcome(together, len(values)) == [outcome(done, 1)[0] for done in alone]
    assert together.changed == sum((done.changed for done in alone), start=Counter())
    assert convert(spec, [], kind, **rest).staged.height == 0
