"""TIMESTAMP to nine digits and with time zones: conversions, comparisons, clocks."""

import datetime
from decimal import Decimal

import oracledb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

D = datetime.datetime
NINE = "timestamp '2024-02-29 01:02:03.123456789'"
EAST = "timestamp '2024-02-29 01:02:03.5 +07:00'"
WEST = "timestamp '2024-02-29 01:02:03 -03:30'"


@pytest.fixture
def bangkok(connect):
    """A cursor whose session is in +07:00."""
    cursor = connect().cursor()
    cursor.execute("alter session set time_zone = '+07:00'")
    return cursor


def single(cursor, sql, *binds):
    return cursor.execute(f"select {sql} from dual", list(binds)).fetchone()[0]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("extract(year from {0})", 2024), ("extract(second from {0})", Decimal("3.123456789")), ("extract(month from date '2024-02-29')", 2),
        ("extract(hour from {1})", 18), ("extract(day from {1})", 28), ("extract(minute from {2})", 32), ("extract(timezone_hour from {2})", -3),
        ("extract(timezone_minute from {2})", -30), ("extract(timezone_hour from {1})", 7), ("{1} at time zone '-02:00'", D(2024, 2, 28, 16, 2, 3, 500_000)),
        ("sys_extract_utc({1})", D(2024, 2, 28, 18, 2, 3, 500_000)), ("from_tz(timestamp '2024-01-01 00:00:00', '+05:30') at time zone '+00:00'", D(2023, 12, 31, 18, 30)),
        ("cast({1} as timestamp)", D(2024, 2, 29, 1, 2, 3, 500_000)), ("cast({2} as date)", D(2024, 2, 29, 1, 2, 3)),
        ("cast({0} as timestamp(8)) - 0", None), ("to_char(cast({0} as timestamp(6)), 'SS.FF6')", "03.123457"), ("trunc({1})", D(2024, 2, 29)),
        ("{1} at local", D(2024, 2, 28, 18, 2, 3, 500_000)), ("dbtimezone", "+00:00"), ("cast(date '2024-01-01' as timestamp with time zone)", D(2024, 1, 1)),
        ("timestamp '2024-01-01 00:00:00 UTC'", None),
    ],
)  # fmt: skip
def test_functions_of_datetimes(cursor, expression, expected):
    sql = expression.format(NINE, EAST, WEST)
    if expected is None:
        with pytest.raises(oracledb.DatabaseError, match="ORA-03001"):
            single(cursor, sql)
    else:
        assert single(cursor, sql) == expected


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("extract(hour from date '2024-01-01')", 30076), ("extract(timezone_hour from timestamp '2024-01-01 00:00:00')", 30076),
        ("date '2024-01-01' at time zone '+07:00'", 30084), ("sys_extract_utc(date '2024-01-01')", 30175), ("from_tz(date '2024-01-01', '+07:00')", 932),
        ("timestamp '2024-01-01 00:00:00 US/Pacific'", 3001), ("timestamp '2024-01-01 24:00:00'", 1850), ("timestamp '2024-01-01 00:60:00'", 1851),
        ("timestamp '2024-01-01 00:00:00 +15:00'", 1874), ("timestamp '2023-02-29 00:00:00'", 1839), ("date '-0044-03-15'", 3001), ("date '0000-01-01'", 1841),
        ("cast(timestamp '2024-01-01 00:00:00.5' as date)", 3001), ("cast(timestamp '2024-01-01 00:00:00.000000001' as date)", 3001), ("cast('01-JAN-24' as date)", 3001), ("to_char(systimestamp)", 3001), ("systimestamp(10)", 30088),
        ("date '9999-12-31' + 1", 1841), ("1 + systimestamp", 3001), ("nvl(sysdate, 'x')", 932),
    ],
)  # fmt: skip
def test_what_makes_no_sense_or_depends_on_nls_is_refused(cursor, sql, code):
    with pytest.raises(oracledb.DatabaseError) as caught:
        single(cursor, sql)
    assert caught.value.args[0].code == code


@pytest.mark.parametrize(
    "condition",
    [
        "timestamp '2024-01-01 07:00:00 +07:00' = timestamp '2024-01-01 00:00:00 +00:00'", "timestamp '2024-01-01 00:00:00 +01:00' < timestamp '2024-01-01 00:00:00 +00:00'",
        "timestamp '2024-01-01 00:00:00.000000001' > timestamp '2024-01-01 00:00:00'", "date '2024-01-01' = timestamp '2024-01-01 00:00:00.000000000'",
        "timestamp '2024-01-01 00:00:00 +00:00' = date '2024-01-01'", "cast(timestamp '2024-01-01 07:00:00 +07:00' as timestamp with local time zone) = date '2024-01-01'",
        "timestamp '9999-12-31 23:59:59.999999999' between date '2024-01-01' and timestamp '9999-12-31 23:59:59.999999999'",
        "decode(timestamp '2024-01-01 07:00:00 +07:00', timestamp '2024-01-01 00:00:00 +00:00', 1) = 1",
    ],
)  # fmt: skip
def test_datetimes_of_different_types_compare_as_moments(one, condition):
    assert one(f"select count(*) from dual where {condition}") == 1


def test_the_session_time_zone_decides_what_a_time_without_a_zone_means(bangkok, connect):
    assert single(bangkok, "sessiontimezone") == "+07:00"
    sql = "select count(*) from dual where timestamp '2024-01-01 00:00:00' = timestamp '2023-12-31 17:00:00 +00:00'"
    assert bangkok.execute(sql).fetchone() == (1,)
    assert connect().cursor().execute(sql).fetchone() == (0,)


def test_the_clients_own_time_zone_becomes_the_sessions(connect, monkeypatch):
    monkeypatch.setenv("ORA_SDTZ", "-03:30")
    assert single(connect().cursor(), "sessiontimezone") == "-03:30"
    monkeypatch.setenv("ORA_SDTZ", "Asia/Bangkok")
    with pytest.raises(oracledb.DatabaseError, match=r"ORA-03001.*the time zone 'Asia/Bangkok'"):
        connect()


def test_local_time_zone_values_are_instants_seen_from_the_session(table, cursor, bangkok):
    name = table("l timestamp(9) with local time zone, z timestamp with time zone, t timestamp")
    bangkok.execute(
        f"insert into {name} (l, z) values (timestamp '2024-01-01 00:00:00', timestamp '2024-01-01 00:00:00')"
    )
    bangkok.execute(f"update {name} set t = l")
    bangkok.connection.commit()
    shown = f"select to_char(l, 'YYYY-MM-DD HH24:MI'), to_char(z, 'HH24:MI'), t, extract(timezone_hour from z) from {name}"
    assert bangkok.execute(shown).fetchone() == ("2024-01-01 00:00", "00:00", D(2024, 1, 1), 7)
    assert cursor.execute(shown).fetchone() == ("2023-12-31 17:00", "00:00", D(2024, 1, 1), 7)
    # on the wire such a value is in the database's time zone, here UTC; the driver does not convert it
    assert bangkok.execute(f"select l from {name}").fetchone() == (D(2023, 12, 31, 17),)
    assert cursor.execute(
        f"select count(*) from {name} where l = timestamp '2023-12-31 17:00:00'"
    ).fetchone() == (1,)


def test_time_zone_regions_and_nonsense_are_refused_as_session_time_zone(cursor):
    for zone, code in (("Asia/Bangkok", 3001), ("+25:00", 1874), ("x", 3001)):
        with pytest.raises(oracledb.DatabaseError) as caught:
            cursor.execute(f"alter session set time_zone = '{zone}'")
        assert caught.value.args[0].code == code
    cursor.execute("alter session set time_zone = dbtimezone")


def test_the_clocks_agree(bangkok):
    bangkok.execute(
        "select systimestamp, current_timestamp, localtimestamp, current_date, sysdate, localtimestamp(0) from dual"
    )
    system, current, local, today, now, whole = bangkok.fetchone()
    east = datetime.timedelta(hours=7)
    assert current == local == system + east
    assert abs(today - (now + east)) < datetime.timedelta(seconds=2)
    assert whole.microsecond == 0
    assert [column[1].name[8:] for column in bangkok.description] == [
        "TIMESTAMP_TZ", "TIMESTAMP_TZ", "TIMESTAMP", "DATE", "DATE", "TIMESTAMP",
    ]  # fmt: skip
    assert abs(system - datetime.datetime.now(datetime.UTC).replace(tzinfo=None)) < datetime.timedelta(
        seconds=60
    )


def test_an_offset_survives_and_does_not_matter_to_equality(table, cursor, one):
    name = table("id number, z timestamp(9) with time zone")
    cursor.execute(f"insert into {name} values (1, timestamp '2024-01-01 07:00:00.000000001 +07:00')")
    cursor.execute(f"insert into {name} values (2, timestamp '2024-01-01 00:00:00.000000001 +00:00')")
    cursor.execute(f"insert into {name} values (3, timestamp '2024-01-01 00:00:00 -12:00')")
    rows = cursor.execute(f"select z, extract(timezone_hour from z) from {name} order by id").fetchall()
    assert rows == [(D(2024, 1, 1, 7), 7), (D(2024, 1, 1), 0), (D(2024, 1, 1), -12)]
    assert one(f"select count(distinct z) from {name}") == 2
    assert len(cursor.execute(f"select distinct z from {name}").fetchall()) == 2
    ordered = cursor.execute(f"select distinct z from {name} order by z desc").fetchall()
    assert ordered[0] == (D(2024, 1, 1),) or ordered[0] == (D(2024, 1, 1, 7),)
    assert one(f"select count(*) from {name} a join {name} b on a.z = b.z") == 5
    assert one(f"select extract(timezone_hour from max(z)) from {name}") == -12
    with pytest.raises(oracledb.DatabaseError, match=r"ORA-03001.*SYS_EXTRACT_UTC"):
        cursor.execute(f"select z, count(*) from {name} group by z")
    assert (
        len(
            cursor.execute(
                f"select sys_extract_utc(z), count(*) from {name} group by sys_extract_utc(z)"
            ).fetchall()
        )
        == 2
    )


def test_nine_digits_are_on_the_wire_though_the_driver_keeps_six(table, cursor, connection, one):
    name = table("t timestamp(9), u timestamp(7)")
    cursor.execute(f"insert into {name} values ({NINE}, {NINE})")
    assert one(f"select extract(second from t), extract(second from u) from {name}") == (
        Decimal("3.123456789"),
        Decimal("3.1234568"),
    )
    assert one(f"select t from {name}") == D(2024, 2, 29, 1, 2, 3, 123_456)
    frame = pa.table(connection.fetch_df_all(f"select t from {name}"))
    assert frame["T"].cast(pa.int64()).to_pylist() == [
        1_709_168_523_123_456_000
    ]  # the driver drops the rest here too


def test_values_are_rounded_to_the_digits_of_their_column(table, cursor, one):
    name = table("a timestamp(0), b timestamp(2), c timestamp(8), d timestamp(1) with time zone")
    value = "timestamp '2023-12-31 23:59:59.999999995'"
    cursor.execute(f"insert into {name} values ({value}, {value}, {value}, {value})")
    assert one(f"select * from {name}") == (D(2024, 1, 1),) * 4
    cursor.execute(f"update {name} set c = timestamp '2024-01-01 00:00:00.000000004'")
    assert one(f"select extract(second from c) from {name}") == 0


def test_texts_are_not_stored_in_datetime_columns_without_a_format(table, cursor):
    for declared in ("date", "timestamp(9)", "timestamp with time zone", "timestamp with local time zone"):
        name = table(f"v {declared}")
        with pytest.raises(oracledb.DatabaseError, match="ORA-03001"):
            cursor.execute(f"insert into {name} values ('2024-01-01')")
        with pytest.raises(oracledb.DatabaseError, match="ORA-03001"):
            cursor.execute(f"select * from {name} where v = '2024-01-01'")


any_moments = st.datetimes(D(1, 1, 2), D(9999, 12, 30))


@given(st.lists(any_moments, min_size=1, max_size=40))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_moment_survives_a_table(cursor, moments):
    cursor.execute(
        "create table anymoment (id number, u timestamp(9), z timestamp(9) with time zone, l timestamp(9) with local time zone)"
    )
    try:
        cursor.setinputsizes(
            None, oracledb.DB_TYPE_TIMESTAMP, oracledb.DB_TYPE_TIMESTAMP_TZ, oracledb.DB_TYPE_TIMESTAMP_LTZ
        )
        rows = [(n, when, when, when) for n, when in enumerate(moments)]
        cursor.executemany("insert into anymoment values (:1, :2, :3, :4)", rows)
        assert cursor.execute("select * from anymoment order by id").fetchall() == rows
        ordered = cursor.execute("select u from anymoment order by z, l").fetchall()
        assert [row[0] for row in ordered] == sorted(moments)
    finally:
        cursor.execute("drop table anymoment")
