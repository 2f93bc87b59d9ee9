"""Results served from memory."""

import datetime
import threading

import oracledb
import pytest

from fakeoracle import serve

LOGIN = {"user": "tms", "password": "secret"}


@pytest.fixture(scope="module")
def server():
    with serve(cache=True, users={"TMS": "secret", "OTHER": "other"}) as server:
        with oracledb.connect(**LOGIN, dsn=server.dsn) as connection:
            cursor = connection.cursor()
            cursor.execute("create table t (n number(9), s varchar2(20))")
            cursor.executemany("insert into t values (:1, :2)", [(i, f"text {i // 10}") for i in range(1000)])
            connection.commit()
        yield server


@pytest.fixture
def cache(server):
    server.cache.changed()  # begin empty
    server.cache.hits = 0
    return server.cache


@pytest.fixture
def cursor(server):
    with oracledb.connect(**LOGIN, dsn=server.dsn) as connection:
        yield connection.cursor()


def read(cursor, sql="select * from t order by n", binds=(), size=100):
    cursor.arraysize = cursor.prefetchrows = size
    return cursor.execute(sql, list(binds)).fetchall()


ROWS = [(i, f"text {i // 10}") for i in range(1000)]


def test_rows_are_served_again_with_any_array_size(cache, cursor):
    for size in (100, 1, 7, 1000, 5000):
        assert read(cursor, size=size) == ROWS
    assert cache.hits == 4


def test_many_clients_are_served_at_once(cache, cursor, server):
    read(cursor)
    results = []

    def work():
        with oracledb.connect(**LOGIN, dsn=server.dsn) as connection:
            results.append(read(connection.cursor()))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [ROWS] * 4
    assert cache.hits == 4


def test_other_binds_and_other_schemas_are_other_results(cache, cursor):
    sql = "select count(*) from t where n < :1"
    assert [read(cursor, sql, [bound]) for bound in (5, 10, 5)] == [[(5,)], [(10,)], [(5,)]]
    assert cache.hits == 1
    cursor.connection.current_schema = "OTHER"
    with pytest.raises(oracledb.DatabaseError, match="ORA-00942"):
        read(cursor, sql, [5])


@pytest.mark.parametrize(
    ("change", "undo"),
    [
        ("insert into t values (-1, 'new')", "delete from t where n = -1"),
        ("update t set s = 'new' where n = 1", "update t set s = 'text 0' where n = 1"),
        ("create table u (a number)", "drop table u"),
    ],
)
def test_a_committed_change_empties_the_cache(cache, cursor, server, change, undo):
    read(cursor, "select count(*), max(s) from t")
    with oracledb.connect(**LOGIN, dsn=server.dsn) as other:
        before = cache.changes
        other.cursor().execute(change)
        other.commit()
        assert cache.changes > before
        assert read(cursor, "select count(*), max(s) from t") == read(
            other.cursor(), "select count(*), max(s) from t -- once more"
        )
        other.cursor().execute(undo)
        other.commit()


def test_a_session_sees_its_own_changes_and_the_others_do_not(cache, cursor, server):
    read(cursor)
    with oracledb.connect(**LOGIN, dsn=server.dsn) as other:
        other.cursor().execute("delete from t where n > 2")
        assert len(read(other.cursor())) == 3
        assert read(cursor) == ROWS
        other.rollback()
        assert read(other.cursor()) == ROWS


def test_what_depends_on_time_or_session_is_not_cached(cache, cursor):
    for sql in (
        "select sysdate, n from t",
        "select sys_context('USERENV', 'MODULE') from t",
        "select banner from v$version",
    ):
        read(cursor, sql)
        read(cursor, sql)
    assert cache.hits == 0


def test_a_new_day_is_another_result_since_dates_may_be_read_by_it(cache, cursor, monkeypatch):
    sql = "select to_date('7', 'DD') from dual"
    for day in (1, 1, 2):
        monkeypatch.setattr("fakeoracle.cache.today", lambda day=day: datetime.date(2024, 5, day))
        read(cursor, sql)
    assert cache.hits == 1


def test_a_result_that_was_not_read_to_its_end_is_not_cached(cache, cursor):
    cursor.arraysize = cursor.prefetchrows = 10
    cursor.execute("select * from t order by n").fetchmany(20)
    assert read(cursor) == ROWS
    assert cache.hits == 0


def test_what_is_beyond_the_bound_is_served_and_not_kept(cursor):
    with serve(cache=True, cache_bytes=2000) as server:
        with oracledb.connect(**LOGIN, dsn=server.dsn) as connection:
            small = connection.cursor()
            small.execute("create table t (s varchar2(100))")
            small.executemany("insert into t values (:1)", [("x" * 90 + str(i),) for i in range(100)])
            connection.commit()
            for _ in range(2):
                assert len(read(small, "select * from t")) == 100
                assert read(small, "select count(*) from t") == [(100,)]
        assert server.cache.hits == 1
        assert 0 < server.cache.size <= 2000
