"""Rows in batches, as the extraction reads them."""

# ruff: noqa: DTZ001 - DATE and TIMESTAMP have no time zone
import datetime
from decimal import Decimal

import pyarrow as pa
import pytest

SCHEMA = pa.schema(
    [("ID", pa.int64()), ("N", pa.decimal128(20, 4)), ("A", pa.decimal128(16, 2)), ("S", pa.string()),
     ("D", pa.timestamp("s")), ("T", pa.timestamp("us"))]
)  # fmt: skip
COLUMNS = "id number(10) not null, n number, a number(16,2), s varchar2(30), d date, t timestamp(6)"


def row(i):
    day = datetime.datetime(2024, 1, 1) + datetime.timedelta(minutes=i)
    return (i, Decimal(i) / 4, Decimal(i * 7) / 100, None if i % 10 == 3 else f"แถว {i:06d}", day, day)


@pytest.fixture
def filled(table, cursor):
    def fill(count):
        name = table(COLUMNS)
        if count:
            cursor.executemany(
                f"insert into {name} values (:1,:2,:3,:4,:5,:6)", [row(i) for i in range(count)]
            )
        cursor.connection.commit()
        return name

    return fill


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 200, 201, 250])
def test_every_row_arrives_once_whatever_the_array_size(filled, cursor, count):
    name = filled(count)
    for arraysize, prefetch in ((100, 2), (100, 100), (1, 0), (7, 3), (1000, 1000)):
        cursor.arraysize, cursor.prefetchrows = arraysize, prefetch
        assert cursor.execute(f"select * from {name} order by id").fetchall() == [
            row(i) for i in range(count)
        ]


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, [0]), (50, [50]), (100, [100]), (101, [100, 1]), (200, [100, 100]), (201, [100, 100, 1])]
)  # fmt: skip
def test_data_frames_come_in_batches_without_an_empty_one_at_the_end(filled, connection, count, sizes):
    name = filled(count)
    batches = connection.fetch_df_batches(f"select * from {name}", size=100, requested_schema=SCHEMA)
    assert [batch.num_rows() for batch in batches] == sizes


def test_data_frames_hold_the_exact_values_in_the_requested_types(filled, connection):
    name = filled(25_000)
    batches = connection.fetch_df_batches(
        f"select * from {name} order by id", size=10_000, requested_schema=SCHEMA
    )
    whole = pa.concat_tables([pa.table(batch) for batch in batches])
    assert whole.schema.types == SCHEMA.types
    expected = pa.table(
        dict(zip(SCHEMA.names, map(list, zip(*map(row, range(25_000)), strict=True)), strict=True)), SCHEMA
    )
    assert whole.cast(SCHEMA) == expected


def test_a_whole_result_comes_as_one_data_frame(filled, connection):
    name = filled(300)
    frame = connection.fetch_df_all(f"select id, s from {name}", arraysize=100)
    assert (frame.num_rows(), frame.column_names()) == (300, ["ID", "S"])


def test_two_cursors_of_one_connection_read_in_turns(filled, connection):
    name = filled(500)
    one, two = connection.cursor(), connection.cursor()
    for cursor in (one, two):
        cursor.arraysize = 10
    one.execute(f"select id from {name} order by id")
    two.execute(f"select id from {name} order by id desc")
    for i in range(500):
        assert one.fetchone() == (i,)
        assert two.fetchone() == (499 - i,)


def test_a_statement_can_be_run_again_with_other_binds(filled, cursor):
    name = filled(30)
    for start in (0, 10, 29, 30):
        rows = cursor.execute(f"select id from {name} where id >= :start order by id", start=start).fetchall()
        assert [r[0] for r in rows] == list(range(start, 30))


def test_a_bind_used_twice_is_one_value(cursor):
    assert cursor.execute("select :x || :y || :x from dual", x="a", y="b").fetchone() == ("aba",)


def test_binds_inside_strings_and_comments_are_not_binds(cursor):
    sql = "select ':no', q'[it's :no]', :yes /* :no */ from dual -- :no"
    assert cursor.execute(sql, yes="y").fetchone() == (":no", "it's :no", "y")


def test_a_result_left_half_read_does_not_disturb_the_next(filled, cursor):
    name = filled(1000)
    cursor.arraysize = 10
    cursor.execute(f"select id from {name}")
    cursor.fetchmany(15)
    assert cursor.execute(f"select count(*) from {name}").fetchone() == (1000,)


def test_a_table_changed_between_two_runs_is_described_anew(cursor):
    cursor.execute("create table changing (a number)")
    cursor.execute("select * from changing")
    cursor.execute("drop table changing")
    cursor.execute("create table changing (a varchar2(5), b number)")
    cursor.execute("insert into changing values ('x', 1)")
    assert cursor.execute("select * from changing").fetchall() == [("x", 1)]
    cursor.execute("drop table changing")
