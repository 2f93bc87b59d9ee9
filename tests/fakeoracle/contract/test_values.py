"""Every type, in and out, without losing anything."""

# ruff: noqa: DTZ001 - DATE and TIMESTAMP have no time zone
import datetime
from decimal import Decimal

import oracledb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakeoracle.values import (
    arrow_from_datetimes,
    datetimes_from_arrow,
    decimals_from_numbers,
    decode_number,
    encode_number,
    numbers_from_decimals,
)

VECTORS = {
    "0": "80", "1": "c102", "10": "c10b", "100": "c202", "123": "c20218", "1234.56": "c20d2339", "0.1": "c00b",
    "0.01": "c002", "0.001": "bf0b", "-1": "3e6466", "-0.01": "3f6466", "-100": "3d6466",
    "-12345.678": "3c644e38221566", "1e20": "cb02", "9" * 38: "d3" + "64" * 19, "-" + "9" * 38: "2c" + "02" * 19 + "66",
}  # fmt: skip
NUMBERS = ["0", "1", "-1", "0.5", "-0.5", "7.25", "1234567.89", "-99999999999999.99", "9" * 38, "-" + "9" * 38,
           "0." + "0" * 29 + "1", "1e-38", "1e37", "123456789012345678.12345678901234567890"]  # fmt: skip
TEXTS = [
    "a",
    "ราคา 100 บาท",
    'it\'s "quoted"',
    "two\nlines\r\nand a\ttab",
    "00042",
    " blanks ",
    "\\",
    "%_",
    "é" * 100,
]

numbers = st.integers(-(10**38) + 1, 10**38 - 1).flatmap(
    lambda digits: st.integers(-60, 20).map(lambda power: Decimal(digits).scaleb(power))
)
moments = st.datetimes(datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31))


@pytest.mark.parametrize(("text", "encoded"), VECTORS.items())
def test_number_bytes_are_oracles(text, encoded):
    assert encode_number(Decimal(text)).hex() == encoded
    assert decode_number(bytes.fromhex(encoded)) == Decimal(text)


@given(numbers)
@settings(max_examples=200)
def test_any_number_of_38_digits_survives_its_encoding(value):
    assert decode_number(encode_number(value)) == value


@given(numbers, numbers)
@settings(max_examples=200)
def test_comparing_the_bytes_compares_the_numbers(a, b):
    assert (encode_number(a) < encode_number(b)) == (a < b)


@given(st.integers(0, 38).flatmap(lambda scale: st.tuples(st.just(scale), st.lists(
    st.none() | st.integers(-(10**38) + 1, 10**38 - 1), max_size=20))))  # fmt: skip
@settings(max_examples=100)
def test_whole_columns_encode_as_single_numbers_do(case):
    scale, digits = case
    values = [None if d is None else Decimal(d).scaleb(-scale) for d in digits]
    encoded = numbers_from_decimals(pa.array(values, pa.decimal128(38, scale)))
    assert encoded.to_pylist() == [None if v is None else encode_number(v) for v in values]
    assert decimals_from_numbers(encoded, scale).to_pylist() == values


@given(st.lists(st.none() | moments, max_size=20))
@settings(max_examples=100)
def test_any_moment_survives_its_encoding(values):
    column = pa.array(values, pa.timestamp("us"))
    assert arrow_from_datetimes(datetimes_from_arrow(column, fraction=True).to_pylist()) == column


@pytest.mark.parametrize("text", NUMBERS)
def test_number_without_precision_keeps_every_digit(table, cursor, one, text):
    name = table("n number")
    cursor.execute(f"insert into {name} values (:1)", [Decimal(text)])
    assert one(f"select n from {name}") == Decimal(text)
    assert one(f"select n from {name} where n = :1", Decimal(text)) == Decimal(text)


@pytest.mark.parametrize(
    ("declared", "text"),
    [("number(10)", "1234567890"), ("number(38)", "9" * 38), ("number(16,2)", "-12345678901234.56"),
     ("number(5,5)", "0.00001"), ("number(38,38)", "0." + "1" * 38), ("number(*,2)", "1.25"), ("integer", "-7")],
)  # fmt: skip
def test_number_with_precision_keeps_every_digit(table, cursor, one, declared, text):
    name = table(f"n {declared}")
    cursor.execute(f"insert into {name} values (:1)", [Decimal(text)])
    assert one(f"select n from {name}") == Decimal(text)


def test_number_is_rounded_half_away_from_zero_to_the_scale_of_its_column(table, cursor):
    name = table("n number(5,2)")
    cursor.executemany(
        f"insert into {name} values (:1)", [[Decimal(v)] for v in ("1.005", "-1.005", "1.0049", "2")]
    )
    rows = cursor.execute(f"select n from {name}").fetchall()
    assert [row[0] for row in rows] == [Decimal("1.01"), Decimal("-1.01"), Decimal("1"), Decimal("2")]


@pytest.mark.parametrize("text", TEXTS)
def test_text_comes_back_as_it_went_in(table, cursor, one, text):
    name = table("s varchar2(400)")
    cursor.execute(f"insert into {name} values (:1)", [text])
    assert one(f"select s from {name}") == text
    assert one(f"select s from {name} where s = :1", text) == text


@pytest.mark.parametrize("length", [252, 253, 255, 256, 4000])
def test_text_of_any_length_is_carried(table, cursor, one, length):
    name = table("s varchar2(4000)")
    cursor.execute(f"insert into {name} values (:1)", ["x" * length])
    assert one(f"select s from {name}") == "x" * length


def test_empty_text_is_null_however_it_is_written(table, cursor, one):
    name = table("id number, s varchar2(5)")
    cursor.execute(f"insert into {name} values (1, '')")
    cursor.execute(f"insert into {name} values (2, :1)", [""])
    cursor.execute(f"insert into {name} values (3, trim(' '))")
    assert one(f"select count(*), count(s) from {name}") == (3, 0)
    assert one(f"select count(*) from {name} where s is null") == 3
    assert one("select '' || 'a' || null || '' from dual") == "a"


def test_char_is_padded_with_blanks_and_compared_so(table, cursor, one):
    name = table("c char(5), v varchar2(5)")
    cursor.execute(f"insert into {name} values ('ab', 'ab')")
    assert one(f"select c from {name}") == "ab   "
    assert one(f"select count(*) from {name} where c = 'ab'") == 1
    assert one(f"select count(*) from {name} where c = 'ab     '") == 1
    assert one(f"select count(*) from {name} where v = 'ab   '") == 0
    assert one(f"select count(*) from {name} where c = v") == 0
    assert one(f"select count(*) from {name} where c = :1", "ab") == 0
    assert one(f"select count(*) from {name} where c = :1", "ab   ") == 1


def test_char_lengths_count_bytes_or_characters_as_declared(table, cursor, one):
    name = table("b char(6 byte), c char(6 char)")
    cursor.execute(f"insert into {name} values ('กา', 'กา')")
    assert one(f"select b, c from {name}") == ("กา", "กา    ")


@pytest.mark.parametrize(
    "moment",
    [datetime.datetime(2024, 2, 29, 23, 59, 59), datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31)],
)
def test_date_holds_year_to_second(table, cursor, one, moment):
    name = table("d date")
    cursor.execute(f"insert into {name} values (:1)", [moment])
    assert one(f"select d from {name}") == moment


@pytest.mark.parametrize(
    ("digits", "micros"), [(0, 0), (1, 100_000), (3, 123_000), (6, 123_456), (9, 123_456)]
)  # fmt: skip
def test_timestamp_keeps_the_digits_of_its_declaration(table, cursor, one, digits, micros):
    name = table(f"t timestamp({digits})")
    cursor.setinputsizes(oracledb.DB_TYPE_TIMESTAMP)
    cursor.execute(f"insert into {name} values (:1)", [datetime.datetime(1969, 7, 20, 20, 17, 40, 123_456)])
    assert one(f"select t from {name}") == datetime.datetime(1969, 7, 20, 20, 17, 40, micros)


@given(value=numbers.filter(lambda n: len(n.as_tuple().digits) <= 38), moment=moments)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_binds_travel_through_the_server_unchanged(cursor, value, moment):
    cursor.setinputsizes(None, oracledb.DB_TYPE_TIMESTAMP)
    assert cursor.execute("select :1, :2 from dual", [value, moment]).fetchone() == (value, moment)


def test_null_of_every_type_is_null(table, cursor, one):
    name = table("a number, b number(5,2), c varchar2(5), d char(5), e date, f timestamp")
    cursor.execute(f"insert into {name} values (:1,:2,:3,:4,:5,:6)", [None] * 6)
    assert one(f"select * from {name}") == (None,) * 6
    assert one("select null from dual") is None


def test_describe_tells_what_the_declaration_said(table, cursor):
    name = table(
        "a number(10) not null, b number(16,2), c number, d varchar2(20), e varchar2(20 char), f char(3), "
        'g date, h timestamp(3), "mixed" number(5,-2)'
    )
    cursor.execute(f"select t.*, a+1, count(*) over (), 'x' as \"Lit\" from (select * from {name}) t")
    described = [(c[0], c[1].name, c[2], c[3], c[4], c[5], c[6]) for c in cursor.description]
    assert described == [
        ("A", "DB_TYPE_NUMBER", 11, None, 10, 0, False),
        ("B", "DB_TYPE_NUMBER", 20, None, 16, 2, True),
        ("C", "DB_TYPE_NUMBER", 127, None, 0, -127, True),
        ("D", "DB_TYPE_VARCHAR", 20, 20, None, None, True),
        ("E", "DB_TYPE_VARCHAR", 20, 80, None, None, True),
        ("F", "DB_TYPE_CHAR", 3, 3, None, None, True),
        ("G", "DB_TYPE_DATE", 23, None, None, None, True),
        ("H", "DB_TYPE_TIMESTAMP", 23, None, 0, 3, True),
        ("mixed", "DB_TYPE_NUMBER", 6, None, 5, -2, True),
        ("A+1", "DB_TYPE_NUMBER", 127, None, 0, -127, False),
        ("COUNT(*)OVER()", "DB_TYPE_NUMBER", 127, None, None, None, True),
        ("Lit", "DB_TYPE_CHAR", 1, 1, None, None, False),
    ]
