"""What lies behind flashback queries: undo that can be forgotten, privileges that can be missing, files that last."""

import json
import os
import signal
import subprocess
import sys
import threading

import duckdb
import oracledb
import pytest

from fakeoracle import serve
from fakeoracle.__main__ import main

USERS = {"TMS": "secret", "OTHER": "secret"}
NOW = "select current_scn from v$database"


def opened(server, user="TMS"):
    return oracledb.connect(user=user, password="secret", dsn=server.dsn)


def current(cursor):
    return cursor.execute(NOW).fetchone()[0]


def write(cursor, sql, *binds):
    """Change something, commit, and return the SCN."""
    cursor.execute(sql, list(binds))
    cursor.connection.commit()
    return current(cursor)


@pytest.fixture
def server():
    with serve(users=USERS) as running:
        yield running


@pytest.fixture
def cursor(server):
    with opened(server) as connection:
        yield connection.cursor()


@pytest.fixture
def changed(cursor):
    """Return the SCN at which table T held 1000 rows; they are all deleted since."""
    cursor.execute("create table t (id number)")
    cursor.executemany("insert into t values (:1)", [(i,) for i in range(1000)])
    cursor.connection.commit()
    scn = current(cursor)
    write(cursor, "delete from t")
    return scn


def count(cursor, scn):
    return cursor.execute("select count(*) from t as of scn :1", [scn]).fetchone()[0]


def old_rows(server):
    with server.backend.connection() as direct:
        return direct.execute('select count(*) from fakeoracle_undo."TMS.T"').fetchone()[0]


# --- undo ------------------------------------------------------------------------------------------------------------


def test_numbers_need_more_than_32_bits_and_grow_only_where_something_changed(cursor, changed):
    before = current(cursor)
    assert before > 2**32
    write(cursor, "delete from t where id = -1")
    cursor.execute("insert into t values (1)")
    cursor.connection.rollback()
    assert current(cursor) == before
    assert write(cursor, "insert into t values (1)") == before + 1


def test_forgotten_undo_is_a_snapshot_too_old_and_is_freed(server, cursor, changed):
    assert (count(cursor, changed), old_rows(server)) == (1000, 1000)
    server.backend.forget_undo()
    with pytest.raises(
        oracledb.DatabaseError, match=r'ORA-01555: snapshot too old: rollback segment .* "_SYSSMU'
    ):
        count(cursor, changed)
    assert (count(cursor, current(cursor)), old_rows(server)) == (0, 0)


def test_even_the_newest_moment_is_too_old_once_undo_is_forgotten(server, cursor, changed):
    scn = current(cursor)
    server.backend.forget_undo()
    with pytest.raises(oracledb.DatabaseError, match="ORA-01555"):
        count(cursor, scn)


@pytest.mark.parametrize("arraysize", [100, 400])
def test_undo_forgotten_in_the_middle_of_a_fetch_fails_the_next_fetch(server, cursor, changed, arraysize):
    with opened(server) as connection:
        reader = connection.cursor()
        reader.arraysize = reader.prefetchrows = arraysize
        reader.execute("select id from t as of scn :1", [changed])
        assert len(reader.fetchmany(arraysize)) == arraysize
        server.backend.forget_undo()
        with pytest.raises(oracledb.DatabaseError, match="ORA-01555"):
            reader.fetchmany(arraysize)
        assert connection.is_healthy()
        assert count(reader, current(reader)) == 0


def test_data_frames_stop_at_forgotten_undo(server, cursor, changed):
    frames = cursor.connection.fetch_df_batches("select id from t as of scn :1", [changed], size=100)
    assert next(frames).num_rows() == 100
    server.backend.forget_undo()
    with pytest.raises(oracledb.DatabaseError, match="ORA-01555"):
        next(frames)


def test_a_plain_query_does_not_mind_forgotten_undo(server, cursor, changed):
    write(cursor, "insert into t select rownum from t as of scn :1", changed)
    cursor.arraysize = cursor.prefetchrows = 100
    cursor.execute("select id from t")
    cursor.fetchmany(100)
    server.backend.forget_undo()
    assert len(cursor.fetchall()) == 900


def test_retention_is_counted_in_numbers_and_overtakes_an_open_fetch(server, cursor, changed):
    server.backend.undo.retention = 3
    with opened(server) as connection:
        reader = connection.cursor()
        reader.arraysize = reader.prefetchrows = 100
        reader.execute("select id from t as of scn :1", [changed])
        reader.fetchmany(100)
        write(cursor, "insert into t values (1)")
        write(cursor, "insert into t values (1)")
        reader.fetchmany(100)
        write(cursor, "insert into t values (1)")
        with pytest.raises(oracledb.DatabaseError, match="ORA-01555"):
            reader.fetchmany(100)
        server.backend.undo.retention = None
        assert count(reader, changed) == 1000


def test_open_transactions_outlive_forgotten_undo(server, cursor, changed):
    with opened(server) as connection:
        writer = connection.cursor()
        writer.execute("insert into t values (7)")
        server.backend.forget_undo()
        before = current(cursor)
        connection.commit()
        after = current(cursor)
        assert [count(cursor, scn) for scn in (before, after)] == [0, 1]


def test_a_row_made_and_changed_in_one_transaction_leaves_nothing_behind(server, cursor, changed):
    server.backend.forget_undo()
    cursor.execute("insert into t values (1)")
    cursor.execute("update t set id = 2")
    write(cursor, "delete from t")
    assert old_rows(server) == 0


# --- nobody sees how -------------------------------------------------------------------------------------------------


def test_no_client_sees_the_column_that_is_kept_with_each_row(cursor):
    cursor.execute("create table t (a number primary key, b varchar2(3))")
    cursor.execute("insert into t values (1, 'x')")
    cursor.execute("insert into t select a + 1, b from t")
    assert cursor.rowcount == 1
    assert cursor.execute("select * from t order by 1").fetchall() == [(1, "x"), (2, "x")]
    scn = write(cursor, "update t set b = 'y'")
    assert cursor.execute("select t.* from t as of scn :1 order by 1", [scn]).fetchall() == [
        (1, "y"),
        (2, "y"),
    ]
    cursor.execute("select column_name from user_tab_columns where table_name = 'T'")
    assert cursor.fetchall() == [("A",), ("B",)]
    cursor.execute("select table_name from all_tables")
    assert cursor.fetchall() == [("T",)]
    for sql in ('select "fakeoracle#made" from t', 'update t set "fakeoracle#made" = 1'):
        with pytest.raises(oracledb.DatabaseError, match="ORA-00904"):
            cursor.execute(sql)
    with pytest.raises(oracledb.DatabaseError, match="ORA-00913"):
        cursor.execute("insert into t values (1, 'x', 3)")


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("select * from t versions between scn minvalue and maxvalue", "VERSIONS BETWEEN"),
        ("select * from t as of timestamp sysdate", "AS OF TIMESTAMP"),
        ("select * from user_tables as of scn 5", "AS OF on USER_TABLES"),
        ("with q as (select * from t) select * from q as of scn 5", "AS OF on a WITH query"),
        ("select * from t as of scn (select 1 from dual)", "a subquery in AS OF"),
        ("select * from t as of scn 5.5", "AS OF SCN with a fraction"),
        ("update t as of scn 5 set id = 1", "VERSION in TABLE"),
        ("delete from t as of scn 5", "VERSION in TABLE"),
        ("insert into t values ((select count(*) from t as of scn 5))", "AS OF in INSERT ... VALUES"),
        ("select ora_rowscn from t", "ORA_ROWSCN"),
        ("select scn_to_timestamp(5) from dual", "SCN_TO_TIMESTAMP"),
    ],
)
def test_what_is_not_served_is_refused_by_name(cursor, changed, sql, what):
    with pytest.raises(oracledb.DatabaseError, match=rf"ORA-03001: .*{what}"):
        cursor.execute(sql)


def test_the_present_and_a_moment_since_the_transaction_began_do_not_mix(server, cursor, changed):
    cursor.execute("insert into t values (1)")
    with opened(server) as connection:
        scn = write(connection.cursor(), "insert into t values (2)")
    with pytest.raises(oracledb.DatabaseError, match=r"ORA-03001.*since the transaction began"):
        cursor.execute("select * from t, t as of scn :1 o", [scn])
    cursor.execute("select count(*) from t n, t as of scn :1 o", [changed])
    assert cursor.fetchone() == (1000,)
    cursor.connection.commit()
    assert cursor.execute("select count(*) from t n, t as of scn :1 o", [scn]).fetchone() == (2,)


# --- files -----------------------------------------------------------------------------------------------------------


def test_numbers_and_the_past_outlive_a_restart(tmp_path):
    path = tmp_path / "x.duckdb"
    with serve(path, USERS) as server, opened(server) as connection:
        cursor = connection.cursor()
        cursor.execute("create table t (id number)")
        one = write(cursor, "insert into t values (1)")
        two = write(cursor, "update t set id = 2")
    for _ in range(2):
        with serve(path, USERS) as server, opened(server) as connection:
            cursor = connection.cursor()
            assert current(cursor) >= two
            three = write(cursor, "delete from t")
            assert three == current(cursor)
            for scn, expected in ((one, [(1,)]), (two, [(2,)]), (three, [])):
                assert cursor.execute("select * from t as of scn :1", [scn]).fetchall() == expected
            with pytest.raises(oracledb.DatabaseError, match="ORA-01466"):
                cursor.execute("select * from t as of scn :1", [one - 2])
            write(cursor, "insert into t values (3)")
            two = write(cursor, "update t set id = 2")


def test_what_was_forgotten_stays_forgotten_and_numbers_are_never_used_again(tmp_path):
    path = tmp_path / "x.duckdb"
    with serve(path, USERS) as server, opened(server) as connection, opened(server) as other:
        cursor, late = connection.cursor(), other.cursor()
        cursor.execute("create table t (id number)")
        late.execute("insert into t values (1)")  # begins first, commits last
        old = write(cursor, "insert into t values (2)")
        other.commit()
        server.backend.forget_undo()
    with serve(path, USERS) as server, opened(server) as connection:
        cursor = connection.cursor()
        scn = current(cursor)
        with pytest.raises(oracledb.DatabaseError, match="ORA-01555"):
            count(cursor, old)
        assert count(cursor, scn) == 2
        write(cursor, "insert into t values (3)")
        write(cursor, "delete from t where id = 1")
        assert [count(cursor, moment) for moment in (scn, scn + 1, scn + 2)] == [2, 3, 2]


def test_a_file_without_numbers_is_refused(tmp_path):
    path = tmp_path / "x.duckdb"
    with serve(path, USERS) as server, opened(server) as connection:
        connection.cursor().execute("create table t (id number)")
    with duckdb.connect(str(path)) as direct:
        direct.execute("drop table fakeoracle.commits")
    with pytest.raises(
        ValueError, match="before fakeoracle kept system change numbers; begin with a new file"
    ):
        serve(path, USERS).__enter__()


@pytest.mark.filterwarnings("ignore:unclosed")  # the driver leaves its socket to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_server_killed_in_mid_commit_leaves_rows_and_numbers_that_agree(tmp_path):
    path = tmp_path / "x.duckdb"
    command = [sys.executable, "-m", "fakeoracle", "--database", str(path)]
    environment = os.environ | {"FAKEORACLE_PASSWORD": "secret"}
    with serve(path, USERS) as server, opened(server) as connection:
        for name in ("t", "u"):
            connection.cursor().execute(f"create table {name} (id number)")
    acknowledged = []

    def write_until_killed(cursor):
        number = len(acknowledged)
        try:
            while True:
                cursor.execute("insert into t values (:1)", [number])
                cursor.execute("insert into u values (:1)", [number])
                cursor.execute("update t set id = id + 1 where id < :1", [number])
                acknowledged.append(write(cursor, "update u set id = id + 1 where id < :1", number))
                number += 1
                enough.set()
        except oracledb.Error:
            pass  # the server is dead

    for _ in range(2):
        enough = threading.Event()
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            dsn = json.loads(process.stdout.readline())["dsn"]
            connection = oracledb.connect(user="tms", password="secret", dsn=dsn)
            writer = threading.Thread(target=write_until_killed, args=(connection.cursor(),))
            writer.start()
            assert enough.wait(30)
            process.send_signal(signal.SIGKILL)
            writer.join(30)
        with serve(path, USERS) as server, opened(server) as connection:
            cursor = connection.cursor()
            assert current(cursor) >= acknowledged[-1]
            sql = "select count(*), sum(id) from {} as of scn :1"
            for scn in (*acknowledged, current(cursor)):
                sums = [cursor.execute(sql.format(name), [scn]).fetchone() for name in ("t", "u")]
                assert sums[0] == sums[1]
            assert count(cursor, acknowledged[-1]) == len(acknowledged)
            if count(cursor, current(cursor)) > len(
                acknowledged
            ):  # committed, but killed before it could say so
                acknowledged.append(current(cursor))


# --- privileges ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded():
    revoked = {"TMS": {"V$DATABASE", "DBMS_FLASHBACK", "FLASHBACK"}, "OTHER": {"SELECT ANY TABLE"}}
    with serve(users=USERS, revoked=revoked) as running:
        with opened(running) as connection, opened(running, "OTHER") as other:
            for each in (connection, other):
                each.cursor().execute("create table t (id number)")
                each.cursor().execute("insert into t values (1)")
                each.commit()
            scn = current(other.cursor())
        yield running, scn


@pytest.mark.parametrize(
    ("user", "sql", "message"),
    [
        ("TMS", NOW, "ORA-00942"),
        (
            "TMS",
            "select dbms_flashback.get_system_change_number from dual",
            'ORA-00904: "DBMS_FLASHBACK"."GET_SYSTEM_CHANGE_NUMBER": invalid identifier',
        ),
        ("TMS", "select 1 from other.t as of scn {scn}", "ORA-01031: insufficient privileges"),
        ("OTHER", "select * from tms.t", "ORA-00942"),
        ("OTHER", "insert into tms.t values (1)", "ORA-00942"),
        ("OTHER", "select * from tms.t as of scn {scn}", "ORA-00942"),
    ],
)
def test_what_a_user_may_not_do_is_refused_as_oracle_refuses_it(guarded, user, sql, message):
    server, scn = guarded
    with opened(server, user) as connection, pytest.raises(oracledb.DatabaseError) as caught:
        connection.cursor().execute(sql.format(scn=scn))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("user", "sql"),
    [
        ("TMS", "select 1 from t as of scn {scn}"),
        ("TMS", "select 1 from other.t"),
        ("OTHER", "select 1 from t as of scn {scn}"),
        ("OTHER", NOW),
    ],
)
def test_what_was_not_revoked_is_still_allowed(guarded, user, sql):
    server, scn = guarded
    with opened(server, user) as connection:
        connection.cursor().execute(sql.format(scn=scn))


@pytest.mark.parametrize(
    ("revoked", "message"),
    [({"TMS": {"DANCING"}}, "DANCING cannot be revoked, only DBMS_FLASHBACK"), ({"X": {"FLASHBACK"}}, "X, who is no user")],
)  # fmt: skip
def test_a_privilege_or_user_that_is_not_there_cannot_lose_or_be_lost(revoked, message):
    with pytest.raises(ValueError, match=message):
        serve(users=USERS, revoked=revoked).__enter__()


def test_the_command_line_takes_privileges_away():
    command = [sys.executable, "-m", "fakeoracle", "--revoke", "tms:v$database", "--revoke", "TMS:FLASHBACK"]
    environment = os.environ | {"FAKEORACLE_PASSWORD": "secret"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        dsn = json.loads(process.stdout.readline())["dsn"]
        with oracledb.connect(user="tms", password="secret", dsn=dsn) as connection:
            with pytest.raises(oracledb.DatabaseError, match="ORA-00942"):
                connection.cursor().execute(NOW)
            connection.cursor().execute("select dbms_flashback.get_system_change_number from dual")
        process.send_signal(signal.SIGTERM)


def test_a_privilege_without_a_user_is_explained(monkeypatch, capsys):
    monkeypatch.setenv("FAKEORACLE_PASSWORD", "secret")
    assert main(["--revoke", "x"]) == 1
    assert capsys.readouterr().err == "fakeoracle: --revoke x: write USER:NAME\n"
