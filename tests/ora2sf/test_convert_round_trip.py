"""A thousand values of every field type, through a staged CSV into two readers: Python's csv, and the emulated org's own.

What a value has to become is worked out here with decimal, datetime and zoneinfo, never with the library.
"""

# ruff: noqa: DTZ001 - the source keeps local times without a zone
import csv
import datetime as dt
import io
import string
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakeforce.csvtext import read_piece, survey
from fakeforce.schema import Field
from fakeforce.values import ABSENT, column_reader, text_of
from ora2sf.batches import encode
from ora2sf.convert import Converter
from ora2sf.fields import TYPES
from ora2sf.tables import TableConfig

LEAST = 1_000
NUMBER, TEXT, MOMENT = pl.Decimal(38, 10), pl.String(), pl.Datetime("us")
REFUSED = "refused"
YES, NO = ("1", "Y", "y", "T", "yes", "True"), ("0", "N", "n", "f", "NO", "false")
CHOICES = {"1": 'say "x"', "2": "a, b", "3": "ไทย 😀", "4": "it's", "x y": " plain ", "=1+1": "=1+1"}

#: No control characters; everything else that a text of one line may hold.
line = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).filter(lambda t: t != "#N/A")
nasty = st.sampled_from(
    ['"', '""', "\n", "\r\n", "\r", ",", "'", "\ufeff", "\u2028", "\x85", "\0", "#N/A", " ", "\t", "ก", ""]
)
texts = st.lists(nasty | st.text(string.printable, max_size=5), max_size=5).map("".join)
address = st.builds(
    "{}@{}.{}".format,
    st.text(string.ascii_letters + string.digits + "!#$%&'*+/=?^_`{|}~-", min_size=1, max_size=20),
    st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=20),
    st.sampled_from(["com", "co.th", "museum"]),
)


def in_one_line(value: str) -> str | None:
    return value.strip() or None


def as_text(value: str) -> str | None:
    if "\0" in value or value == "#N/A":
        return REFUSED
    return value.replace("\r\n", "\n").replace("\r", "\n") or None


def money(value: Decimal) -> str:
    with localcontext(prec=60):
        rounded = value.quantize(Decimal("0.01"), ROUND_HALF_UP)
        return format(abs(rounded) if rounded == 0 else rounded, "f") if abs(rounded) < 10**16 else REFUSED


def instant(value: dt.datetime) -> str:
    utc = value.replace(tzinfo=ZoneInfo("Asia/Bangkok")).astimezone(dt.UTC)
    return f"{utc.year:04}{utc:-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03}Z"


@dataclass(frozen=True)
class Trip:
    """One field type: its spec, the column it is read from, values, the cell each has to become, and the org's field."""

    spec: dict[str, Any]
    kind: pl.DataType
    values: st.SearchStrategy[Any]
    cell: Callable[[Any], str | None]
    org: dict[str, Any] = field(default_factory=lambda: {"type": "string", "length": 255})


def of_type(name: str, length: int) -> dict[str, Any]:
    return {"type": name, "length": length}


TRIPS = {
    "key": Trip({}, TEXT, line, lambda v: v or REFUSED),
    "lookup": Trip({"object": "P__c", "external_id_field": "Ext__c"}, TEXT, line, lambda v: v or None),
    "text": Trip({"length": 100}, TEXT, texts, as_text),
    "code": Trip({}, TEXT, line, in_one_line),
    "email": Trip({}, TEXT, address, in_one_line, of_type("email", 80)),
    "phone": Trip({}, TEXT, line, in_one_line, of_type("phone", 40)),
    "url": Trip({}, TEXT, line, in_one_line, of_type("url", 255)),
    "integer": Trip({}, NUMBER, st.integers(1 - 10**18, 10**18 - 1).map(Decimal), str, {"type": "double", "precision": 18}),
    "decimal": Trip({}, NUMBER, st.decimals(-(10**16), 10**16, places=10) | st.decimals(-9, 9, places=3), money,
                    {"type": "currency", "precision": 18, "scale": 2}),
    "boolean": Trip({}, TEXT, st.sampled_from(YES + NO), lambda v: "true" if v in YES else "false", {"type": "boolean"}),
    "date": Trip({}, MOMENT, st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(4000, 12, 31)), lambda v: v.date().isoformat(), {"type": "date"}),
    "datetime": Trip({}, MOMENT, st.datetimes(dt.datetime(1700, 1, 2), dt.datetime(4000, 12, 31)), instant, {"type": "datetime"}),
    "picklist": Trip({"values": CHOICES}, TEXT, st.sampled_from(sorted(CHOICES)), CHOICES.__getitem__,
                     of_type("picklist", 255) | {"values": tuple(CHOICES.values()), "restricted": True}),
}  # fmt: skip


def staged(name: str, trip: Trip, values: list[Any]) -> tuple[bytes, list[str]]:
    """The bytes of a staged file, and the rule that refused each row that is not in it."""
    fields = [{"field": "K__c", "type": "key", "columns": ["K"]}]
    if name == "key":
        fields = [{"field": "K__c", "type": "key", "columns": ["V"]}]
    else:
        columns = {"columns": ["V"]} if name == "lookup" else {"column": "V"}
        fields.append({"field": "V__c", "type": name} | columns | trip.spec)
    config = table(fields)
    numbers = pl.Series("K", [str(n) for n in range(len(values))])
    frame = pl.DataFrame([numbers, pl.Series("V", values, dtype=trip.kind)])
    done = Converter(config, dict(frame.schema), frozenset()).convert(frame, 1)
    return file_of(config, done.staged), [one.rule for one in done.rejected]


def table(fields: list[dict[str, Any]]) -> TableConfig:
    return TableConfig.model_validate(
        {
            "table": "t", "object": "T__c", "external_id_field": "K__c", "source": {"table": "T"},
            "source_time_zone": "Asia/Bangkok", "fields": fields,
        }
    )  # fmt: skip


def file_of(config: TableConfig, rows: pl.DataFrame) -> bytes:
    return (",".join(config.header) + "\n").encode() + encode(rows.select(config.header))


def by_python(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8"), newline=""), strict=True))[1:]


def by_the_org(data: bytes) -> list[list[str]]:
    layout = survey(io.BytesIO(data), ",", "LF")
    assert layout.failure is None
    return [row for piece in layout.pieces for row in read_piece(io.BytesIO(data), piece, ",")]


def stored(org: dict[str, Any], cells: list[str]) -> list[str | None]:
    """What the org keeps of the cells of one column, as text again; None for a cell that says nothing."""
    target = Field("V__c", "V", **org)
    values, errors = column_reader(target, 1, trim=False)(cells)
    assert not errors
    return [None if value is ABSENT else text_of(target, value) for value in values]


@pytest.mark.parametrize("name", TRIPS)
def test_a_thousand_values_of_each_type_arrive_in_both_readers_as_they_should(name: str) -> None:
    trip, sent = TRIPS[name], 0

    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.lists(trip.values, min_size=30, max_size=40))
    def arrives(values: list[Any]) -> None:
        nonlocal sent
        wanted = [trip.cell(value) for value in values]
        kept = [cell for cell in wanted if cell is not REFUSED]
        data, refused = staged(name, trip, values)
        assert len(refused) == len(values) - len(kept)
        assert by_the_org(data) == by_python(data)
        column = [row[-1] for row in by_python(data)]
        assert column == [cell or "" for cell in kept]
        assert stored(trip.org, column) == kept
        sent += len(kept)

    arrives()
    assert sent >= LEAST


def test_a_thousand_constants_arrive_in_both_readers_as_they_are() -> None:
    sent = 0

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.lists(texts.filter(lambda t: "\r" not in t and "\0" not in t), min_size=30, max_size=40))
    def arrives(values: list[str]) -> None:
        nonlocal sent
        constants = [
            {"field": f"C{n}__c", "type": "constant", "value": value} for n, value in enumerate(values)
        ]
        config = table([{"field": "K__c", "type": "key", "columns": ["K"]}, *constants])
        frame = pl.DataFrame({"K": ["a", "b"]})
        data = file_of(config, Converter(config, dict(frame.schema), frozenset()).convert(frame, 1).staged)
        assert by_python(data) == by_the_org(data) == [["a", *values], ["b", *values]]
        empty = {"": None, "#N/A": None}
        assert stored(of_type("textarea", 255), values) == [empty.get(value, value) for value in values]
        sent += len(values)

    arrives()
    assert sent >= LEAST


def test_no_field_type_is_left_out() -> None:
    assert {*TRIPS, "constant"} == set(TYPES)
