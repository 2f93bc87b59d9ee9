"""NUMBER, FLOAT, BINARY_FLOAT and BINARY_DOUBLE: rounding, limits, arithmetic, conversions."""

import math
import struct
from decimal import Decimal

import oracledb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("declared", "given", "kept"),
    [
        # the examples of Oracle's SQL Language Reference for NUMBER and FLOAT
        ("number", "123.89", "123.89"), ("number(3)", "123.89", "124"), ("number(3,2)", "123.89", None), ("number(4,2)", "123.89", None),
        ("number(5,2)", "123.89", "123.89"), ("number(6,1)", "123.89", "123.9"), ("number(6,-2)", "123.89", "100"),
        ("number(4,5)", ".01234", ".01234"), ("number(4,5)", ".00012", ".00012"), ("number(4,5)", ".000127", ".00013"),
        ("number(2,7)", ".0000012", ".0000012"), ("number(2,7)", ".00000123", ".0000012"), ("float(5)", "1.23", "1.2"), ("float(5)", "7.89", "7.9"),
        ("float(5)", "12.79", "13"), ("float(5)", "123.45", "120"),
        # half away from zero, on both sides and on the edge of what fits
        ("number(3)", "999.5", None), ("number(3)", "-999.5", None), ("number(3)", "999.4999", "999"), ("number(2,-2)", "9949", "9900"), ("number(2,-2)", "9950", None),
        ("number(2,-2)", "-50", "-100"), ("number(2,3)", ".0995", None), ("number(2,3)", ".0994", ".099"), ("float(1)", "-0.0035", "-0.004"),
        ("float(126)", "1." + "1" * 37 + "5", "1." + "1" * 36 + "2"), ("number(5,127)", "1e-122", None), ("number(5,127)", "9.9999e-123", "9.9999e-123"),
        ("number(5,-84)", "4e83", "0"), ("number(5,-84)", "5e83", "1e84"), ("integer", "1e38", None), ("integer", "0.5", "1"), ("number(*,1)", "0.25", "0.3"),
    ],
)  # fmt: skip
def test_numbers_are_rounded_to_their_column_or_refused(table, cursor, one, declared, given, kept):
    name = table(f"n {declared}")
    for value in (":1", given):
        sql, binds = f"insert into {name} values ({value})", [Decimal(given)] if value == ":1" else []
        if kept is None:
            with pytest.raises(
                oracledb.DatabaseError, match="ORA-01438: value larger than specified precision"
            ):
                cursor.execute(sql, binds)
            with pytest.raises(
                oracledb.DatabaseError, match="ORA-01438: value larger than specified precision"
            ):
                cursor.execute(f"select cast({given} as {declared}) from dual").fetchall()
        else:
            cursor.execute(sql, binds)
            assert one(f"select distinct n from {name}") == Decimal(kept)
            assert one(f"select cast({given} as {declared}) from dual") == Decimal(kept)


def test_no_digit_of_a_long_literal_is_lost(table, cursor, one):
    text = "9" * 31 + "5000"
    assert one(f"select -{text}, {text}, -{text} + 1 from dual") == (
        Decimal(f"-{text}"),
        Decimal(text),
        Decimal(f"-{text[:-4]}4999"),
    )
    name = table("n number(34,-1)")
    cursor.execute(f"insert into {name} values ({text})")
    assert one(f"select n from {name}") == Decimal(text)


def test_the_largest_and_smallest_numbers_are_kept_and_one_more_is_too_many(table, cursor, one):
    name = table("n number")
    for text in ("9." + "9" * 39 + "e125", "-9." + "9" * 39 + "e125", "1e-130", "-1e-130"):
        cursor.execute(f"insert into {name} values (:1)", [Decimal(text)])
        assert one(f"select n from {name} where n = :1", Decimal(text)) == Decimal(text)
    with pytest.raises(oracledb.DatabaseError, match="ORA-01426"):
        cursor.execute(f"select n * 10 from {name} where n > 1").fetchall()


@given(st.integers(1, 38).flatmap(lambda p: st.tuples(st.just(p), st.integers(-84, 127), st.lists(
    st.integers(-(10**p) + 1, 10**p - 1), min_size=1, max_size=20))))  # fmt: skip
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_number_that_fits_a_declaration_survives_a_table(cursor, case):
    precision, scale, digits = case
    cursor.execute(f"create table anynumber (n number, d number({precision},{scale}))")
    try:
        rows = [(Decimal(value).scaleb(-scale),) * 2 for value in digits]
        cursor.executemany("insert into anynumber values (:1, :2)", rows)
        assert cursor.execute("select n, d from anynumber").fetchall() == rows
        assert [row[0] for row in cursor.execute("select d from anynumber order by d")] == sorted(
            row[0] for row in rows
        )
    finally:
        cursor.execute("drop table anynumber")


def test_decimals_arrive_exactly_in_the_requested_schema(table, cursor, connection):
    name = table("a number(38,10), b number(38), c number, d float")
    row = (
        Decimal("-9999999999999999999999999999.9999999999"),
        Decimal("9" * 38),
        Decimal("12345.678"),
        Decimal("0.1"),
    )
    cursor.execute(f"insert into {name} values (:1, :2, :3, :4)", row)
    schema = pa.schema(
        [
            ("A", pa.decimal128(38, 10)),
            ("B", pa.decimal128(38, 0)),
            ("C", pa.decimal128(20, 4)),
            ("D", pa.float64()),
        ]
    )
    frame = pa.table(connection.fetch_df_all(f"select * from {name}", requested_schema=schema))
    assert frame.to_pylist() == [dict(zip("ABCD", (*row[:3], 0.1), strict=True))]
    oracledb.defaults.fetch_decimals = True
    frame = pa.table(connection.fetch_df_all(f"select a, b from {name}"))
    assert frame.schema.types == [pa.decimal128(38, 10), pa.decimal128(38, 0)]


@pytest.mark.parametrize(
    ("expression", "expected", "kind"),
    [
        ("1.5f", 1.5, "FLOAT"), ("2d", 2.0, "DOUBLE"), (".5D", 0.5, "DOUBLE"), ("1e2F", 100.0, "FLOAT"), ("-1.5d", -1.5, "DOUBLE"), ("1d / 0", INF, "DOUBLE"),
        ("-1f / 0", -INF, "FLOAT"), ("0d / 0", NAN, "DOUBLE"), ("0.1f", struct.unpack("f", struct.pack("f", 0.1))[0], "FLOAT"), ("0.1d + 0.2", 0.1 + 0.2, "DOUBLE"),
        ("1f + 1d", 2.0, "DOUBLE"), ("1e308d * 10", INF, "DOUBLE"), ("1e39f", INF, "FLOAT"), ("to_binary_float(1e38d * 10)", INF, "FLOAT"), ("to_binary_double('-inf')", -INF, "DOUBLE"),
        ("to_binary_double('1e-400')", 0.0, "DOUBLE"), ("nanvl(0d/0, 7)", 7.0, "DOUBLE"), ("binary_double_infinity", INF, "DOUBLE"), ("binary_float_nan", NAN, "FLOAT"),
        ("abs(-1.5f)", 1.5, "FLOAT"), ("nvl(1.5f, 2)", 1.5, "FLOAT"), ("greatest(1, 2.5d)", 2.5, "DOUBLE"), ("case when 1 = 1 then 1 else 2d end", 1.0, "DOUBLE"),
        ("1d / 3", 1 / 3, "DOUBLE"), ("cast(1.1 as binary_double)", 1.1, "DOUBLE"), ("12345678901234567890123456789d", 12345678901234567890123456789.0, "DOUBLE"),
        ("'2' + 1d", 3.0, "DOUBLE"), ("coalesce(null, 1f)", 1.0, "FLOAT"),
    ],
)  # fmt: skip
def test_binary_numbers_follow_ieee_754(cursor, expression, expected, kind):
    value = cursor.execute(f"select {expression} from dual").fetchone()[0]
    assert value == expected or (math.isnan(value) and math.isnan(expected))
    assert cursor.description[0][1].name == f"DB_TYPE_BINARY_{kind}"


@pytest.mark.parametrize(
    "condition",
    [
        "0d/0 = binary_double_nan", "0d/0 > binary_double_infinity", "-0d = 0d", "0.5f = 0.5", "0.5d = '0.5'", "0.1f <> 0.1d", "1.5d between 1 and 2", "1/3 <> 1d/3 or 1 = 1",
        "0d/0 is nan", "1d is not nan", "1 is not nan", "1d/0 is infinite", "not 1 is infinite", "binary_float_nan = binary_double_nan",
    ],
)  # fmt: skip
def test_binary_numbers_compare_as_oracle_says(one, condition):
    assert one(f"select count(*) from dual where {condition}") == 1


def test_there_is_no_negative_zero_and_one_nan(table, cursor, one):
    name = table("id number, d binary_double, f binary_float")
    cursor.setinputsizes(None, oracledb.DB_TYPE_BINARY_DOUBLE, oracledb.DB_TYPE_BINARY_FLOAT)
    cursor.executemany(
        f"insert into {name} values (:1, :2, :3)",
        [(1, -0.0, -0.0), (2, 0.0, 0.0), (3, NAN, -NAN), (4, NAN, NAN), (5, INF, 1e40)],
    )
    row = one(f"select d, f, 1/d from {name} where id = 1")
    assert [math.copysign(1, value) for value in row] == [1, 1, 1]
    assert one(f"select count(distinct d), count(distinct f), count(d) from {name}") == (3, 3, 5)
    assert [r[0] for r in cursor.execute(f"select id from {name} where d = 0 order by id")] == [1, 2]
    assert math.isnan(one(f"select max(d) from {name}"))


def test_a_binary_number_becomes_a_number_only_without_rounding(one, cursor, table):
    assert one("select to_number(1.5d) from dual") == Decimal("1.5")
    name = table("n number(5,1), d binary_double")
    cursor.execute(f"insert into {name} values (0.5f, 0.1)")
    assert one(f"select n, d from {name}") == (Decimal("0.5"), 0.1)
    cursor.connection.commit()
    for sql, code in (
        ("select to_number(0.1d) from dual", 3001),
        ("select to_number(1d/0) from dual", 1426),
        ("select to_char(1.5d) from dual", 3001),
    ):
        with pytest.raises(oracledb.DatabaseError) as caught:
            cursor.execute(sql).fetchall()
        assert caught.value.args[0].code == code


@given(
    st.lists(
        st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False, width=32)), min_size=1, max_size=50
    )
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_binary_number_survives_a_table(cursor, values):
    cursor.execute("create table anybinary (id number, d binary_double, f binary_float)")
    try:
        cursor.setinputsizes(None, oracledb.DB_TYPE_BINARY_DOUBLE, oracledb.DB_TYPE_BINARY_FLOAT)
        rows = [(n, *pair) for n, pair in enumerate(values)]
        cursor.executemany("insert into anybinary values (:1, :2, :3)", rows)
        assert cursor.execute("select * from anybinary order by id").fetchall() == rows
        assert [row[0] for row in cursor.execute("select d from anybinary order by d")] == sorted(
            d for d, _ in values
        )
    finally:
        cursor.execute("drop table anybinary")


def test_sums_and_averages_keep_their_type(table, cursor, one):
    name = table("d binary_double, f binary_float, n number(5,-2), x float")
    cursor.executemany(
        f"insert into {name} values (:1, :2, :3, :4)",
        [(Decimal("0.5"), Decimal("0.5"), 149, Decimal("0.1"))] * 3,
    )
    cursor.execute(f"select sum(d), avg(d), sum(f), avg(f), sum(n), sum(x), avg(x) from {name}")
    assert cursor.fetchone() == (1.5, 0.5, 1.5, 0.5, 300, Decimal("0.3"), Decimal("0.1"))
    assert [column[1].name[8:] for column in cursor.description] == ["BINARY_DOUBLE"] * 2 + [
        "BINARY_FLOAT"
    ] * 2 + ["NUMBER"] * 3
