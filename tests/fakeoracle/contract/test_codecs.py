"""Ten thousand values of each type through the real driver's encoder and decoder, and through a model of the encodings."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

import oracledb
import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fakeoracle.values import (
    arrow_from_datetimes,
    datetimes_from_arrow,
    decode_number,
    encode_number,
    numbers_from_decimals,
)

EXAMPLES = 10_000
ECHOES = 500  # values that one query echoes

Table = Any
Moment = datetime.datetime
MICROSECONDS = (Moment(9999, 12, 31) - Moment(1, 1, 1)) // datetime.timedelta(microseconds=1)


def examples(strategy: st.SearchStrategy[Any]) -> list[Any]:
    """At least 10,000 examples of hypothesis, one value each; they are taken together so that they travel in bulk."""
    found: list[Any] = []

    @settings(max_examples=EXAMPLES, phases=[Phase.generate], database=None, deadline=None, derandomize=True)
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    assert len(found) >= EXAMPLES
    return found


def differences(found: Sequence[Any], expected: Sequence[Any]) -> list[tuple[Any, Any]]:
    """The first pairs that differ; pytest would take minutes to show the difference of lists this long."""
    return [pair for pair in zip(found, expected, strict=True) if pair[0] != pair[1]][:5]


def number_of(seed: int) -> Decimal:
    """A value that NUMBER holds exactly: up to 20 digits of base 100, from 1E-128 to below 1E126."""
    seed, negative = divmod(seed, 2)
    seed, place = divmod(seed, 128)
    seed, pattern = divmod(seed, 6)
    seed, count = divmod(seed, 40)
    unscaled = (
        seed % 100**20,  # any 40 digits
        seed % 10 ** (count + 1),
        10 ** (count + 1) - 1,
        10**count,
        99 * 100 ** (count // 2) + 1,
        int(f"{seed % 100:02d}" * (count // 2 + 1)),
    )[pattern]
    pairs = (len(str(unscaled)) + 1) // 2
    exponent = 2 * min(place - 64, 63 - pairs)
    return Decimal((negative, tuple(map(int, str(unscaled))), exponent))


def moment_of(seed: int) -> Moment:
    """A moment of the years 1 to 9999, at a whole second as often as not."""
    seed, whole = divmod(seed, 2)
    moment = Moment(1, 1, 1) + datetime.timedelta(microseconds=seed % MICROSECONDS)
    return moment.replace(microsecond=0) if whole else moment


def integer_of(seed: int) -> int:
    """An integer of up to 38 digits."""
    seed, negative = divmod(seed, 2)
    seed, count = divmod(seed, 38)
    return (-1 if negative else 1) * (seed % 10 ** (count + 1))


@pytest.fixture(scope="module")
def seeds() -> list[int]:
    return examples(st.integers(0, 2**160 - 1))


@pytest.fixture(scope="module")
def ten_thousand_numbers(seeds: list[int]) -> list[Decimal]:
    return list(map(number_of, seeds))


@pytest.fixture(scope="module")
def ten_thousand_moments(seeds: list[int]) -> list[Moment]:
    return list(map(moment_of, seeds))


@pytest.fixture(scope="module")
def ten_thousand_integers(seeds: list[int]) -> list[int]:
    return list(map(integer_of, seeds))


# --- through the driver ----------------------------------------------------------------------------------------------


def test_ten_thousand_numbers_are_stored_and_read_as_the_driver_sent_them(
    table: Table, cursor: oracledb.Cursor, ten_thousand_numbers: list[Decimal]
) -> None:
    name = table("id number(9), n number")
    cursor.executemany(f"insert into {name} values (:1, :2)", list(enumerate(ten_thousand_numbers)))
    found = [row[0] for row in cursor.execute(f"select n from {name} order by id")]
    assert differences(found, ten_thousand_numbers) == []


def test_ten_thousand_numbers_are_echoed_as_the_driver_sent_them(
    cursor: oracledb.Cursor, ten_thousand_numbers: list[Decimal]
) -> None:
    sql = f"select {', '.join(f':{i + 1}' for i in range(ECHOES))} from dual"
    for start in range(0, len(ten_thousand_numbers) - ECHOES + 1, ECHOES):
        sent = ten_thousand_numbers[start : start + ECHOES]
        assert differences(cursor.execute(sql, sent).fetchone(), sent) == []


def scaled(unscaled: int, scale: int) -> Decimal:
    return Decimal((unscaled < 0, tuple(map(int, str(abs(unscaled)))), -scale))


@pytest.mark.parametrize(("precision", "scale"), [(38, 0), (38, 38), (20, 4), (9, 0), (12, 2)])
def test_ten_thousand_numbers_of_a_precision_are_the_same_as_rows_and_as_decimals_of_arrow(
    table: Table, cursor: oracledb.Cursor, ten_thousand_integers: list[int], precision: int, scale: int
) -> None:
    most = 10**precision
    sent = [scaled(value % most if value > 0 else -(-value % most), scale) for value in ten_thousand_integers]
    name = table(f"id number(9), n number({precision},{scale})")
    cursor.executemany(f"insert into {name} values (:1, :2)", list(enumerate(sent)))
    sql = f"select n from {name} order by id"
    assert differences([row[0] for row in cursor.execute(sql)], sent) == []
    column = pa.chunked_array(
        cursor.connection.fetch_df_all(sql, arraysize=3000, fetch_decimals=True).column_arrays()[0]
    )
    assert differences(column.to_pylist(), sent) == []


def test_ten_thousand_dates_are_stored_and_read_as_the_driver_sent_them(
    table: Table, cursor: oracledb.Cursor, ten_thousand_moments: list[Moment]
) -> None:
    sent = [moment.replace(microsecond=0) for moment in ten_thousand_moments]
    name = table("id number(9), d date")
    cursor.executemany(f"insert into {name} values (:1, :2)", list(enumerate(sent)))
    found = [row[0] for row in cursor.execute(f"select d from {name} order by id")]
    assert differences(found, sent) == []


def test_ten_thousand_timestamps_are_kept_to_the_digits_of_their_column(
    table: Table, cursor: oracledb.Cursor, ten_thousand_moments: list[Moment]
) -> None:
    name = table("id number(9), " + ", ".join(f"t{digits} timestamp({digits})" for digits in range(10)))
    cursor.setinputsizes(None, *[oracledb.DB_TYPE_TIMESTAMP] * 10)
    places = ", ".join(f":{place}" for place in range(1, 12))
    rows = [(number, *[moment] * 10) for number, moment in enumerate(ten_thousand_moments)]
    cursor.executemany(f"insert into {name} values ({places})", rows)
    expected = [(row[0], *(rounded(row[1], digits) for digits in range(10))) for row in rows]
    assert differences(cursor.execute(f"select * from {name} order by id").fetchall(), expected) == []


def rounded(moment: Moment, digits: int) -> Moment:
    """A moment as TIMESTAMP(digits) keeps it: half up, as Oracle rounds fractions of a second."""
    unit = Decimal(10) ** max(6 - digits, 0)
    micros = int((moment.microsecond / unit).to_integral_value(ROUND_HALF_UP) * unit)
    return moment.replace(microsecond=0) + datetime.timedelta(microseconds=micros)


# --- a model of the encodings ----------------------------------------------------------------------------------------


def model_number(value: Decimal) -> bytes:
    """NUMBER by its definition: a sign and power of 100 in the first byte, then digits of base 100."""
    if not value:
        return b"\x80"
    rest, power = abs(Fraction(value)), 0
    while rest >= 1:
        rest, power = rest / 100, power + 1
    while rest < Fraction(1, 100):
        rest, power = rest * 100, power - 1
    pairs = []
    while rest:
        rest *= 100
        pairs.append(int(rest))
        rest -= int(rest)
    if value > 0:
        return bytes([192 + power, *(pair + 1 for pair in pairs)])
    return bytes([63 - power, *(101 - pair for pair in pairs), *([102] if len(pairs) < 20 else [])])


def model_moment(moment: Moment, *, fraction: bool) -> bytes:
    """DATE and TIMESTAMP by their definition: century, year, month, day, hour, minute, second, nanoseconds."""
    day = [moment.year // 100 + 100, moment.year % 100 + 100, moment.month, moment.day]
    clock = [moment.hour + 1, moment.minute + 1, moment.second + 1]
    tail = (moment.microsecond * 1000).to_bytes(4, "big") if fraction and moment.microsecond else b""
    return bytes(day + clock) + tail


def test_the_model_gives_the_bytes_seen_in_recorded_replies() -> None:
    assert model_number(Decimal("1234.56")).hex() == "c20d2339"
    assert model_number(Decimal("-12345.678")).hex() == "3c644e38221566"
    assert model_number(Decimal("-" + "9" * 38)).hex() == "2c" + "02" * 19 + "66"
    assert (
        model_moment(Moment(2024, 2, 29, 12, 34, 56, 123456), fraction=True).hex() == "787c021d0d2339075bca00"
    )


def test_ten_thousand_numbers_are_encoded_and_decoded_as_the_model_says(
    ten_thousand_numbers: list[Decimal],
) -> None:
    for value in ten_thousand_numbers:
        encoded = model_number(value)
        assert encode_number(value) == encoded
        assert decode_number(encoded) == value


@pytest.mark.parametrize("scale", [0, 1, 2, 7, 38])
def test_ten_thousand_decimals_of_a_column_are_encoded_as_the_model_says(
    ten_thousand_integers: list[int], scale: int
) -> None:
    values = [scaled(value, scale) for value in ten_thousand_integers]
    encoded = numbers_from_decimals(pa.array(values, pa.decimal128(38, scale))).to_pylist()
    assert differences(encoded, [model_number(value) for value in values]) == []


@pytest.mark.parametrize("fraction", [True, False])
def test_ten_thousand_moments_are_encoded_and_decoded_as_the_model_says(
    ten_thousand_moments: list[Moment], fraction: bool
) -> None:
    column = pa.array(ten_thousand_moments, pa.timestamp("us"))
    encoded = datetimes_from_arrow(column, fraction=fraction).to_pylist()
    assert (
        differences(encoded, [model_moment(moment, fraction=fraction) for moment in ten_thousand_moments])
        == []
    )
    kept = [moment if fraction else moment.replace(microsecond=0) for moment in ten_thousand_moments]
    assert differences(arrow_from_datetimes(encoded).to_pylist(), kept) == []
