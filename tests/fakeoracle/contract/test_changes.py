"""INSERT, UPDATE, DELETE, DDL, transactions, and what survives a restart."""

# ruff: noqa: DTZ001 - DATE and TIMESTAMP have no time zone
import datetime
from decimal import Decimal

import oracledb
import pytest

from fakeoracle import serve

TWELVE = ("id number(10) not null, a number, b number(16,2), c varchar2(30), d varchar2(30 char), e char(4), f date, "
          "g timestamp(6), h number(5), i varchar2(100), j number(12,4), k varchar2(10), constraint big_pk primary key (id)")  # fmt: skip


def test_fifty_thousand_rows_are_inserted_in_one_call(table, cursor, one):
    name = table(TWELVE)
    day = datetime.datetime(2024, 5, 1)
    rows = [
        (
            i,
            Decimal(i) / 8,
            Decimal(i) / 100,
            f"{i:08d}",
            "ไทย",
            "ab",
            day,
            day,
            i % 100,
            "x" * (i % 90),
            Decimal("1.5"),
            None,
        )
        for i in range(50_000)
    ]
    marks = ",".join(f":{n}" for n in range(1, 13))
    cursor.executemany(f"insert into {name} values ({marks})", rows)
    assert cursor.rowcount == 50_000
    total = sum(row[1] for row in rows)
    assert one(f"select count(*), sum(a), max(c), count(k), min(e) from {name}") == (
        50_000,
        total,
        "00049999",
        0,
        "ab  ",
    )


def test_only_commit_makes_changes_visible_to_others(table, cursor, connect):
    name = table("a number")
    other = connect().cursor()
    cursor.execute(f"insert into {name} values (1)")
    assert cursor.execute(f"select count(*) from {name}").fetchone() == (1,)
    assert other.execute(f"select count(*) from {name}").fetchone() == (0,)
    cursor.connection.commit()
    assert other.execute(f"select count(*) from {name}").fetchone() == (1,)


def test_rollback_and_a_closed_connection_undo_changes(table, cursor, connect, one):
    name = table("a number")
    cursor.execute(f"insert into {name} values (1)")
    cursor.connection.rollback()
    other = connect()
    other.cursor().execute(f"insert into {name} values (2)")
    other.close()
    assert one(f"select count(*) from {name}") == 0


def test_autocommit_commits_each_statement(table, cursor, connect):
    name = table("a number")
    writer = connect()
    writer.autocommit = True
    writer.cursor().execute(f"insert into {name} values (1)")
    assert cursor.execute(f"select count(*) from {name}").fetchone() == (1,)


def test_ddl_commits_what_was_pending(table, cursor, connect):
    name = table("a number")
    cursor.execute(f"insert into {name} values (1)")
    table("b number")
    assert connect().cursor().execute(f"select count(*) from {name}").fetchone() == (1,)


def test_a_failed_statement_leaves_the_earlier_ones_of_its_transaction(table, cursor, one):
    name = table("a number(3) primary key, s varchar2(3)")
    cursor.execute(f"insert into {name} values (1, 'a')")
    for values, code in (
        ("(1, 'b')", 1),
        ("(null, 'b')", 1400),
        ("(2, 'toolong')", 12899),
        ("(1234, 'b')", 1438),
    ):
        with pytest.raises(oracledb.DatabaseError) as caught:
            cursor.execute(f"insert into {name} values {values}")
        assert caught.value.args[0].code == code
    cursor.connection.commit()
    assert one(f"select * from {name}") == (1, "a")


def test_a_failure_that_takes_the_transaction_along_says_so(table, cursor, one):
    name = table("a number(3), s varchar2(3)")
    cursor.execute(f"insert into {name} values (1, 'x')")
    with pytest.raises(oracledb.DatabaseError, match=r"ORA-02091[\s\S]*ORA-01438"):
        cursor.execute(f"update {name} set a = 1000")
    assert one(f"select count(*) from {name}") == 0


def test_update_and_delete_count_rows_and_take_binds(table, cursor, one):
    name = table("id number, s varchar2(10)")
    cursor.executemany(f"insert into {name} values (:1, :2)", [(i, str(i)) for i in range(10)])
    cursor.execute(f"update {name} set s = s || '!', id = id + 100 where id >= :1", [7])
    assert cursor.rowcount == 3
    cursor.executemany(f"delete from {name} where id = :1", [(0,), (1,), (55,)])
    assert cursor.rowcount == 2
    assert one(f"select count(*), max(s), max(id) from {name}") == (8, "9!", 109)


def test_row_counts_of_each_execution_are_told_on_request(table, cursor):
    name = table("id number")
    cursor.executemany(f"insert into {name} values (:1)", [(1,), (1,), (2,)])
    cursor.executemany(f"delete from {name} where id = :1", [(1,), (3,), (2,)], arraydmlrowcounts=True)
    assert cursor.getarraydmlrowcounts() == [2, 0, 1]


def test_insert_takes_expressions_defaults_and_queries(table, cursor, one):
    name = table("id number, s varchar2(10) default 'none', d date default date '2024-01-01'")
    cursor.execute(f"insert into {name} (id) values (1)")
    cursor.execute(
        f"insert into {name} (s, d, id) values (upper(:1), to_date(:2, 'YYYY-MM-DD'), 1 + 1)",
        ["x", "2024-02-29"],
    )
    cursor.execute(f"insert into {name} select id + 10, s, d from {name}")
    assert cursor.rowcount == 2
    rows = cursor.execute(f"select * from {name} order by id").fetchall()
    new_year, leap_day = datetime.datetime(2024, 1, 1), datetime.datetime(2024, 2, 29)
    assert rows == [(1, "none", new_year), (2, "X", leap_day), (11, "none", new_year), (12, "X", leap_day)]


def test_a_primary_key_can_be_added_and_then_holds(table, cursor):
    name = table("a number, b varchar2(5)")
    cursor.executemany(f"insert into {name} values (:1, :2)", [(1, "x"), (1, "y")])
    cursor.execute(f"alter table {name} add constraint {name}_pk primary key (a, b)")
    with pytest.raises(
        oracledb.IntegrityError, match=rf"ORA-00001: unique constraint \(TMS.{name}_PK\) violated"
    ):
        cursor.execute(f"insert into {name} values (1, 'x')")
    with pytest.raises(oracledb.IntegrityError, match="ORA-01400"):
        cursor.execute(f"insert into {name} (a) values (2)")


def test_truncate_empties_and_indexes_and_comments_are_accepted(table, cursor, one):
    name = table("a number")
    cursor.execute(f"insert into {name} values (1)")
    cursor.execute(f"create index {name}_i on {name} (a)")
    cursor.execute(f"comment on table {name} is 'nothing'")
    cursor.execute(f"truncate table {name}")
    assert one(f"select count(*) from {name}") == 0
    cursor.execute(f"drop index {name}_i")


def test_the_dictionary_knows_tables_and_columns(table, cursor):
    name = table("id number(10,2) not null, s varchar2(20 char), t timestamp(3), c char(2), n number")
    rows = cursor.execute(
        "select column_name, data_type, data_length, data_precision, data_scale, nullable, column_id, char_length, "
        "char_used from all_tab_columns where owner = :1 and table_name = :2 order by column_id",
        ["TMS", name],
    ).fetchall()
    assert rows == [
        ("ID", "NUMBER", 22, 10, 2, "N", 1, 0, None),
        ("S", "VARCHAR2", 80, None, None, "Y", 2, 20, "C"),
        ("T", "TIMESTAMP(3)", 11, None, 3, "Y", 3, 0, None),
        ("C", "CHAR", 2, None, None, "Y", 4, 2, "B"),
        ("N", "NUMBER", 22, None, None, "Y", 5, 0, None),
    ]
    assert (name,) in cursor.execute("select table_name from user_tables").fetchall()


@pytest.mark.emulator
def test_tables_rows_and_keys_survive_a_restart(tmp_path):
    path, users = tmp_path / "oracle.duckdb", {"TMS": "secret"}
    with (
        serve(path, users) as server,
        oracledb.connect(user="tms", password="secret", dsn=server.dsn) as connection,
    ):
        cursor = connection.cursor()
        cursor.execute(
            "create table kept (id number(5) primary key, n number, s varchar2(5 char) not null, c char(3))"
        )
        cursor.execute("insert into kept values (1, 1.5, 'กขค', 'x')")
        connection.commit()
        cursor.execute("insert into kept values (2, 0, 'lost', 'x')")
    with (
        serve(path, users) as server,
        oracledb.connect(user="tms", password="secret", dsn=server.dsn) as connection,
    ):
        cursor = connection.cursor()
        assert cursor.execute("select * from kept").fetchall() == [(1, Decimal("1.5"), "กขค", "x  ")]
        assert cursor.description[2][2:4] == (5, 20)
        with pytest.raises(oracledb.IntegrityError, match="ORA-00001"):
            cursor.execute("insert into kept values (1, 0, 'x', 'x')")


def test_a_read_only_transaction_sees_one_moment_until_it_ends(table, cursor, connect):
    name = table("x number")
    cursor.executemany(f"insert into {name} values (:1)", [(i,) for i in range(5000)])
    cursor.connection.commit()
    reader = connect()
    looks, reads = reader.cursor(), reader.cursor()
    looks.execute("set transaction read only")
    cursor.execute(f"insert into {name} values (99999)")
    cursor.connection.commit()
    reads.execute(f"select x from {name} order by x")
    first = reads.fetchmany(2)
    assert looks.execute(f"select count(*), max(x) from {name}").fetchone() == (5000, 4999)
    assert len(first) + len(reads.fetchall()) == 5000
    reader.rollback()
    assert looks.execute(f"select max(x) from {name}").fetchone() == (99999,)


def test_a_read_only_transaction_refuses_changes_and_a_late_beginning(table, cursor, connect):
    name = table("x number")
    reader = connect().cursor()
    reader.execute("set transaction read only")
    with pytest.raises(oracledb.DatabaseError, match="ORA-01456"):
        reader.execute(f"insert into {name} values (1)")
    with pytest.raises(oracledb.DatabaseError, match="ORA-01453"):
        reader.execute("set transaction read only")
    with pytest.raises(oracledb.DatabaseError, match="ORA-03001"):
        reader.execute("set role all")


def test_insert_of_a_query_is_done_once_for_each_row_of_binds(table, cursor):
    name = table("a number, b varchar2(5)")
    cursor.executemany(
        f"insert into {name} select :1, x from (select :2 x from dual)", [(1, "a"), (2, "b"), (3, None)]
    )
    assert cursor.rowcount == 3
    assert cursor.execute(f"select * from {name} order by a").fetchall() == [(1, "a"), (2, "b"), (3, None)]
