"""The dictionary views and the rules of tables (Database Reference; SQL Language Reference, "constraint", "ALTER TABLE")."""

from decimal import Decimal

import oracledb
import pytest

from fakeoracle import serve


def code_of(cursor, sql):
    with pytest.raises(oracledb.DatabaseError) as caught:
        cursor.execute(sql).fetchall() if sql.startswith("select") else cursor.execute(sql)
    return caught.value.args[0].code


@pytest.fixture
def goods(table, cursor):
    """A table with every kind of rule."""
    name = table("id number(5) primary key, u varchar2(5) unique, n number check (n > 0), x number not null, "
                 "constraint goods_nx check (n < x), constraint goods_un unique (u, n)")  # fmt: skip
    cursor.execute(f"insert into {name} values (1, 'a', 1, 2)")
    cursor.connection.commit()
    return name


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("insert into {t} values (2, 'a', 1, 2)", 1), ("insert into {t} values (2, 'b', 0, 2)", 2290), ("insert into {t} values (2, 'b', 3, 2)", 2290),
        ("insert into {t} values (1, 'b', 1, 2)", 1), ("insert into {t} select id + 1, u, n, x from {t}", 1), ("update {t} set n = -1", 2290), ("update {t} set x = 1", 2290),
        ("insert into {t} values (2, 'b', 1, null)", 1400),
    ],
)  # fmt: skip
def test_a_row_that_breaks_a_rule_is_refused(goods, cursor, one, change, code):
    assert code_of(cursor, change.format(t=goods)) == code
    assert one(f"select id, u, n, x from {goods}") == (1, "a", 1, 2)


def test_nulls_break_no_rule_and_updates_may_swap_values(goods, cursor, one):
    cursor.execute(f"insert into {goods} values (2, null, null, 2)")
    cursor.execute(f"insert into {goods} values (3, null, null, 2)")
    cursor.execute(f"insert into {goods} values (4, 'b', null, 2)")
    cursor.execute(f"update {goods} set u = decode(u, 'a', 'b', 'b', 'a')")
    assert one(f"select listagg(u, ',') within group (order by id) from {goods}") == "b,a"
    assert code_of(cursor, f"update {goods} set u = 'a' where id = 3") == 1
    cursor.execute(f"delete from {goods} where id = 1")
    cursor.execute(f"insert into {goods} values (9, 'b', 1, 2)")
    cursor.connection.rollback()


def test_unique_indexes_are_kept_like_constraints(table, cursor):
    name = table("a number, b number")
    cursor.execute(f"insert into {name} values (1, 1)")
    cursor.execute(f"insert into {name} values (1, 1)")
    assert code_of(cursor, f"create unique index {name}_i on {name} (a)") == 1452
    assert code_of(cursor, f"alter table {name} add constraint {name}_u unique (a, b)") == 2299
    assert code_of(cursor, f"alter table {name} add constraint {name}_c check (a > 1)") == 2293
    cursor.execute(f"delete from {name}")
    cursor.execute(f"create unique index {name}_i on {name} (a)")
    cursor.execute(f"insert into {name} values (1, 1)")
    assert code_of(cursor, f"insert into {name} values (1, 2)") == 1
    cursor.execute(f"drop index {name}_i")
    cursor.execute(f"insert into {name} values (1, 2)")


def test_constraints_and_indexes_are_in_the_dictionary(goods, cursor):
    found = cursor.execute(
        "select constraint_type, constraint_name, search_condition, index_name from user_constraints "
        "where table_name = :1 order by 1, 2", [goods]
    ).fetchall()  # fmt: skip
    assert found == [
        ("C", "GOODS_NX", "n < x", None), ("C", f"SYS_C_{goods}_2", "n > 0", None), ("C", f"SYS_C_{goods}_X", '"X" IS NOT NULL', None),
        ("P", f"SYS_C_{goods}_PK", None, f"SYS_C_{goods}_PK"), ("U", "GOODS_UN", None, "GOODS_UN"), ("U", f"SYS_C_{goods}_1", None, f"SYS_C_{goods}_1"),
    ]  # fmt: skip
    key = """select c.column_name from all_constraints k join all_cons_columns c on c.owner = k.owner
        and c.constraint_name = k.constraint_name where k.table_name = :1 and k.constraint_type in ('P', 'U') order by k.constraint_name, c.position"""
    assert [row[0] for row in cursor.execute(key, [goods])] == ["U", "N", "U", "ID"]
    sql = "select index_name, column_name, column_position from user_ind_columns where table_name = :1 order by 1, 3"
    assert cursor.execute(sql, [goods]).fetchall()[:2] == [("GOODS_UN", "U", 1), ("GOODS_UN", "N", 2)]
    sql = "select object_type, count(*) from user_objects where object_name = :1 or object_name like '%GOODS%' group by object_type order by 1"
    assert cursor.execute(sql, [goods]).fetchall() == [("INDEX", 1), ("TABLE", 1)]


def test_columns_are_described_with_length_precision_and_default(table, cursor):
    name = table(
        "a number(10,2) default 1.5, b varchar2(5 char) not null, c char(4), d date, e timestamp(3), f number"
    )
    sql = ("select column_name, data_type, data_length, data_precision, data_scale, nullable, char_length, char_used, data_default "
           "from user_tab_columns where table_name = :1 order by column_id")  # fmt: skip
    assert cursor.execute(sql, [name]).fetchall() == [
        ("A", "NUMBER", 22, 10, 2, "Y", 0, None, "1.5"), ("B", "VARCHAR2", 20, None, None, "N", 5, "C", None), ("C", "CHAR", 4, None, None, "Y", 4, "B", None),
        ("D", "DATE", 7, None, None, "Y", 0, None, None), ("E", "TIMESTAMP(3)", 11, None, 3, "Y", 0, None, None), ("F", "NUMBER", 22, None, None, "Y", 0, None, None),
    ]  # fmt: skip


def test_a_table_is_made_of_a_query(goods, cursor, one):
    cursor.execute(
        f"create table made as select g.id as key, u, x, n * 2 as twice, sysdate as moment from {goods} g"
    )
    try:
        assert one("select key, u, x, twice from made") == (1, "a", 2, 2)
        sql = "select column_name, data_type, data_precision, data_length, nullable from user_tab_columns where table_name = 'MADE' order by column_id"
        assert cursor.execute(sql).fetchall() == [
            ("KEY", "NUMBER", 5, 22, "Y"), ("U", "VARCHAR2", None, 5, "Y"), ("X", "NUMBER", None, 22, "N"),
            ("TWICE", "NUMBER", None, 22, "Y"), ("MOMENT", "DATE", None, 7, "Y"),
        ]  # fmt: skip
    finally:
        cursor.execute("drop table made")


def test_comments_are_kept_and_go_with_the_table(table, cursor, one):
    name = table("a number, b number")
    cursor.execute(f"comment on table {name} is 'What''s sold'")
    cursor.execute(f"comment on column {name}.b is 'บาท'")
    assert one(f"select comments from user_tab_comments where table_name = '{name}'") == "What's sold"
    sql = f"select column_name, comments from all_col_comments where table_name = '{name}' order by 1"
    assert cursor.execute(sql).fetchall() == [("A", None), ("B", "บาท")]
    cursor.execute(f"comment on table {name} is ''")
    assert one(f"select comments from user_tab_comments where table_name = '{name}'") is None


def test_columns_are_added_dropped_and_renamed_with_their_rows(table, cursor, one):
    name = table("id number(5) primary key, a varchar2(5), b number check (b > 0), c date")
    cursor.execute(f"insert into {name} values (1, 'x', 2, null)")
    cursor.execute(f"alter table {name} add (d varchar2(3) default 'q' not null, e number)")
    cursor.execute(f"alter table {name} drop column c")
    cursor.execute(f"alter table {name} rename column a to text")
    assert [row[0] for row in cursor.execute(f"select * from {name}").description] == [
        "ID",
        "TEXT",
        "B",
        "D",
        "E",
    ]
    assert one(f"select * from {name}") == (1, "x", 2, "q", None)
    assert code_of(cursor, f"insert into {name} (id, b) values (1, 1)") == 1
    assert code_of(cursor, f"insert into {name} (id, b) values (2, -1)") == 2290
    assert code_of(cursor, f"alter table {name} add (z number not null)") == 1758
    assert code_of(cursor, f"alter table {name} add (d number)") == 1430
    assert code_of(cursor, f"alter table {name} drop column nosuch") == 904


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("create table nosuch (a number, foreign key (a) references dual (x))", 3001), ("create table nosuch (a number references dual (x))", 3001),
        ("create table nosuch (a number, check (zz > 1))", 904), ("create table nosuch (a date check (a > sysdate))", 2436), ("create table nosuch (a number, unique (b))", 904),
        ("create table nosuch (a number check (a in (select 1 from dual)))", 2251), ("drop index nosuch", 1418), ("comment on table nosuch is 'x'", 942),
        ("alter table {t} modify (u varchar2(10))", 3001), ("alter table {t} drop column n", 3001), ("alter table {t} drop constraint goods_un", 3001), ("drop index goods_un", 2429),
        ("create table nosuch as select n + 1 from {t}", 998), ("create table nosuch as select null n from {t}", 1723), ("create table nosuch as select upper(u) u from {t}", 3001),
        ("alter table {t} add constraint p primary key (x)", 2260), ("comment on column {t}.zz is 'x'", 904), ("savepoint s", 3001),
    ],
)  # fmt: skip
def test_definitions_that_cannot_be_kept_are_refused(goods, cursor, sql, code):
    assert code_of(cursor, sql.format(t=goods)) == code


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select username from all_users order by user_id", ["OTHER", "TMS"]), ("select count(*) from user_views", [0]), ("select status from v$instance", ["OPEN"]),
        ("select value from v$parameter where name = 'nls_length_semantics'", ["BYTE"]), ("select value from nls_session_parameters where parameter = 'NLS_SORT'", ["BINARY"]),
        ("select value from nls_database_parameters where parameter like 'NLS%CHARACTERSET' order by parameter", ["AL32UTF8", "AL16UTF16"]),
        ("select value from nls_instance_parameters where parameter = 'NLS_LANGUAGE'", ["AMERICAN"]), ("select privilege from session_privs where privilege like '%SESSION'", ["CREATE SESSION"]),
        ("select property_value from database_properties where property_name = 'NLS_CHARACTERSET'", ["AL32UTF8"]), ("select num_rows from user_tab_statistics where table_name = 'X'", []),
    ],
)  # fmt: skip
def test_facts_about_the_database_can_be_asked_for(cursor, sql, expected):
    assert [row[0] for row in cursor.execute(sql)] == expected


def test_rules_and_comments_survive_a_restart(tmp_path):
    for attempt in range(2):
        with (
            serve(users={"TMS": "x"}, path=tmp_path / "db") as server,
            oracledb.connect(user="TMS", password="x", dsn=server.dsn) as connection,
        ):
            cursor = connection.cursor()
            if not attempt:
                cursor.execute("create table kept (a number unique, b number check (b < 5))")
                cursor.execute("comment on table kept is 'here'")
                cursor.execute("insert into kept values (1, 1)")
                connection.commit()
            assert code_of(cursor, "insert into kept values (1, 2)") == 1
            assert code_of(cursor, "insert into kept values (2, 5)") == 2290
            assert cursor.execute("select comments from user_tab_comments").fetchone() == ("here",)
            assert cursor.execute("select sum(a) from kept").fetchone() == (Decimal(1),)
