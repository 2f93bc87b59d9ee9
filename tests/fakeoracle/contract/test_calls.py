"""The calls of the driver: binds, fetches, batches, pools, breaks."""

import contextlib
import threading
from decimal import Decimal

import oracledb
import pyarrow as pa
import pytest


def code_of(caught):
    return caught.value.args[0].code


@pytest.fixture
def counted(table, cursor):
    """Return a table of 250 rows: N counts, S repeats and is NULL now and then, A is the same everywhere."""
    name = table("n number(9) primary key, s varchar2(40), a char(20), e varchar2(5)")
    rows = [(i, None if i % 50 > 40 else f"a text of group {i // 20}", "the same") for i in range(250)]
    cursor.executemany(f"insert into {name} values (:1, :2, :3, null)", rows)
    cursor.connection.commit()
    return name


def expected(i):
    return (i, None if i % 50 > 40 else f"a text of group {i // 20}", "the same".ljust(20), None)


# binds


def test_named_binds_go_by_name_and_positional_ones_by_place(cursor):
    sql = "select :b || :a || :b from dual"
    assert cursor.execute(sql, {"a": "1", "b": "2"}).fetchone() == ("212",)
    assert cursor.execute("select :1 || :2 || :3 from dual", ["1", "2", "3"]).fetchone() == ("123",)


def test_long_binds_are_not_mixed_up_with_the_short_ones_around_them(table, cursor, one):
    name = table("a varchar2(20), b varchar2(4000 char), c number(9), d varchar2(4000)")
    cursor.setinputsizes(None, 32000, None, 32000)  # these two travel behind the others
    cursor.execute(f"insert into {name} values (:1, :2, :3, :4)", ["first", "x" * 3900, 7, "last"])
    assert one(f"select a, length(b), c, d from {name}") == ("first", 3900, 7, "last")


def test_a_select_without_its_binds_is_refused(cursor):
    with pytest.raises(oracledb.DatabaseError, match=r"DPY-4010"):
        cursor.execute("select :a, :b from dual", {"a": 1})
    with pytest.raises(oracledb.DatabaseError, match=r"DPY-4008|DPY-4009|ORA-01036"):
        cursor.execute("select :a from dual", [1, 2])


# parsing and describing


def test_a_statement_can_be_parsed_and_described_without_running_it(counted, cursor):
    cursor.parse(f"select n, s from {counted} where n > :1")
    with contextlib.suppress(oracledb.DatabaseError):
        cursor.parse(f"delete from {counted}")
    assert cursor.execute(f"select count(*) from {counted}").fetchone() == (250,)
    with pytest.raises(oracledb.DatabaseError, match="ORA-00942"):
        cursor.parse("select * from nosuch_table")
    with pytest.raises(oracledb.DatabaseError, match="ORA-00900"):
        cursor.parse("selec * from dual")


# fetching


@pytest.mark.parametrize(("arraysize", "prefetch"), [(1, 0), (1, 2), (3, 7), (100, 2), (50, 50), (250, 0), (1000, 1000)])  # fmt: skip
def test_repeated_values_arrive_whatever_the_array_size(counted, cursor, arraysize, prefetch):
    cursor.arraysize, cursor.prefetchrows = arraysize, prefetch
    for _ in range(2):  # the second time the statement is known and only run again
        rows = cursor.execute(f"select * from {counted} order by n").fetchall()
        assert rows == [expected(i) for i in range(250)]


def test_the_array_size_may_change_while_rows_are_fetched(counted, cursor):
    cursor.arraysize = cursor.prefetchrows = 5
    cursor.execute(f"select * from {counted} order by n")
    rows = cursor.fetchmany(12)
    cursor.arraysize = 60
    rows += cursor.fetchmany(100)
    cursor.arraysize = 1
    assert rows + cursor.fetchall() == [expected(i) for i in range(250)]


def test_an_output_converter_sees_repeated_values_too(counted, cursor):
    def handler(cursor, metadata):
        if metadata.name == "S":
            return cursor.var(str, arraysize=cursor.arraysize, outconverter=lambda text: f"<{text}>")
        return None

    cursor.outputtypehandler = handler
    cursor.arraysize = cursor.prefetchrows = 7
    rows = cursor.execute(f"select s from {counted} where s is not null order by n").fetchall()
    assert rows == [(f"<{expected(i)[1]}>",) for i in range(250) if expected(i)[1]]


@pytest.mark.parametrize("size", [1, 9, 100, 250, 1000])
def test_data_frames_hold_repeated_values_in_batches_of_any_size(counted, connection, size):
    sql = f"select s, a, n, e from {counted} order by n"
    wanted = pa.schema([("S", pa.string()), ("A", pa.string()), ("N", pa.int64()), ("E", pa.string())])
    for schema in (None, wanted):
        frames = connection.fetch_df_batches(sql, size=size, requested_schema=schema)
        whole = pa.concat_tables([pa.table(frame) for frame in frames])
        assert whole.num_rows == 250
        for name, place in (("S", 1), ("A", 2), ("N", 0), ("E", 3)):
            assert whole.column(name).to_pylist() == [expected(i)[place] for i in range(250)]
    everything = pa.table(connection.fetch_df_all(sql, arraysize=size, requested_schema=wanted))
    assert everything.column("N").to_pylist() == list(range(250))


def test_a_type_that_was_not_described_can_be_asked_for(cursor):
    handler = cursor.connection
    handler.outputtypehandler = lambda c, m: c.var(str, arraysize=c.arraysize) if m.name == "N" else None
    assert cursor.execute("select 12.5 as n from dual").fetchone() == ("12.5",)
    handler.outputtypehandler = None


# batches


def test_row_counts_of_a_batch_come_one_for_each_execution(counted, cursor):
    cursor.executemany(f"delete from {counted} where n < :1", [(10,), (10,), (13,)], arraydmlrowcounts=True)
    assert cursor.getarraydmlrowcounts() == [10, 0, 3]
    assert cursor.rowcount == 13


def test_batch_errors_name_the_rows_and_the_others_are_stored(table, cursor):
    name = table("n number(5) primary key, s varchar2(5)")
    cursor.execute(f"insert into {name} values (0, 'old')")
    rows = [(1, "a"), (0, "again"), (2, "too long"), (3, "b"), (123456, "c")]
    cursor.executemany(f"insert into {name} values (:1, :2)", rows, batcherrors=True, arraydmlrowcounts=True)
    found = [(error.offset, error.code) for error in cursor.getbatcherrors()]
    assert found == [(1, 1), (2, 12899), (4, 1438)]
    assert "ORA-12899" in cursor.getbatcherrors()[1].message
    assert (cursor.rowcount, cursor.getarraydmlrowcounts()) == (2, [1, 0, 0, 1, 0])
    assert cursor.execute(f"select n from {name} order by n").fetchall() == [(0,), (1,), (3,)]
    cursor.executemany(f"insert into {name} values (:1, :2)", [(4, "x"), (5, "y")], batcherrors=True)
    assert cursor.getbatcherrors() == []


def test_many_batch_errors_arrive(table, cursor):
    name = table("n number(3)")
    rows = [(i if i % 2 else i + 100_000,) for i in range(150)]
    cursor.executemany(f"insert into {name} values (:1)", rows, batcherrors=True)
    assert [error.offset for error in cursor.getbatcherrors()] == list(range(0, 150, 2))


def test_a_batch_of_a_wrong_statement_fails_as_a_whole(cursor):
    with pytest.raises(oracledb.DatabaseError, match="ORA-00942"):
        cursor.executemany("insert into nosuch_table values (:1)", [(1,), (2,)], batcherrors=True)


# statements kept by the client


def test_a_small_statement_cache_forgets_and_finds_again(connect):
    connection = connect(stmtcachesize=2)
    cursor = connection.cursor()
    for _ in range(3):
        for number in range(5):
            assert cursor.execute(f"select {number} + :1 from dual", [Decimal(1)]).fetchone() == (number + 1,)


def test_a_change_stays_pending_until_commit_or_rollback(table, connect, connection):
    name = table("n number(3)")
    other = connect()
    cursor = connection.cursor()
    cursor.execute(f"insert into {name} values (1)")
    assert connection.transaction_in_progress
    assert other.cursor().execute(f"select count(*) from {name}").fetchone() == (0,)
    connection.rollback()
    assert not connection.transaction_in_progress
    cursor.execute(f"insert into {name} values (2)")
    connection.commit()
    assert other.cursor().execute(f"select n from {name}").fetchall() == [(2,)]
    connection.autocommit = True
    cursor.execute(f"insert into {name} values (3)")
    cursor.execute(f"insert into {name} values (:1)", [4])
    cursor.execute(f"insert into {name} values (:1)", [5])  # run again
    connection.autocommit = False
    assert other.cursor().execute(f"select count(*) from {name}").fetchone() == (4,)


def test_ddl_commits_what_was_pending(table, connect, cursor, new_name):
    name, other = table("n number(3)"), new_name()
    cursor.execute(f"insert into {name} values (1)")
    cursor.execute(f"create table {other} (a number)")
    cursor.connection.rollback()
    cursor.execute(f"drop table {other} purge")
    assert connect().cursor().execute(f"select count(*) from {name}").fetchone() == (1,)


# pools


def test_a_pool_serves_many_threads_and_hands_out_clean_sessions(table, cursor, login):
    name = table("n number(9)")
    pool = oracledb.create_pool(
        user=login.user, password=login.password, dsn=login.dsn, min=1, max=4, increment=1, ping_interval=0
    )
    troubles = []

    def work(number):
        try:
            for step in range(5):
                with pool.acquire() as connection:
                    connection.ping()
                    own = connection.cursor()
                    own.execute(f"insert into {name} values (:1)", [number * 100 + step])
                    if step % 2:
                        connection.commit()  # the others are undone when the session goes back
        except Exception as error:  # noqa: BLE001 - looked at below
            troubles.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not troubles
    assert 1 <= pool.opened <= 4
    assert pool.busy == 0
    pool.close()
    assert cursor.execute(f"select count(*) from {name}").fetchone() == (16,)


# what is refused


@pytest.mark.emulator
def test_a_scrollable_cursor_is_refused_and_the_connection_goes_on(connection):
    scrolling = connection.cursor(scrollable=True)
    with pytest.raises(oracledb.DatabaseError, match=r"ORA-03001.*scrollable cursors"):
        scrolling.execute("select dummy from dual")
    assert connection.cursor().execute("select 1 from dual").fetchone() == (1,)


@pytest.mark.emulator
def test_calls_beyond_sql_are_refused_by_name_and_the_connection_goes_on(connection):
    with pytest.raises(oracledb.DatabaseError, match=r"ORA-03001.*call \d+"):
        connection.tpc_begin(connection.xid(1, b"a", b"b"))
    assert connection.cursor().execute("select 1 from dual").fetchone() == (1,)
