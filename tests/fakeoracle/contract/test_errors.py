"""What goes wrong, with Oracle's number for it, and the connection usable afterwards."""

import oracledb
import pytest

CASES = [
    ("select * from nosuch", 942, 14),
    ("select * from other.nosuch", 942, 20),
    ("select nosuch from dual", 904, 7),
    ("select d.nosuch from dual d", 904, 7),
    ("select dummy,\n /* ก */ nosuch from dual", 904, 25),
    ("select :b, nosuch from dual", 904, 11),
    ("select a.dummy from dual b", 904, 7),
    ("select dummy from dual a, dual b", 918, 7),
    ("selec 1 from dual", 900, None),
    ("select 1 fro dual", 923, None),
    ("select 1", 923, None),
    ("select 1, from dual", 936, None),
    ("select 1 from dual where", 936, None),
    ("select 1 from dual;", 933, 18),
    ("select to_number('1x') from dual", 1722, None),
    ("select 1/0 from dual", 1476, None),
    ("select count(*) from dual where count(*) = 1", 934, None),
    ("select dummy, count(*) from dual", 937, None),
    ("select d.*, count(*) from dual d", 937, None),
    ("select max(dummy) || dummy from dual", 937, None),
    ("select dummy, count(*) from dual group by 'x' || dummy", 979, None),
    ("with d as (select * from d) select * from d", 32039, None),
    ("select (select 1 from dual union all select 2 from dual) from dual", 1427, None),
    ("select to_date('2024-02-30', 'YYYY-MM-DD') from dual", 1839, None),
    ("select to_date('2024-02-xx', 'YYYY-MM-DD') from dual", 1858, None),
    ("select case when 1=1 then 1 else 'x' end from dual", 932, None),
    ("select date '2024-13-01' from dual", 1843, None),
    ("select timestamp '2024-02-30 00:00:00' from dual", 1839, None),
    ("select nvl(1) from dual", 909, None),
    ("select distinct 1 from dual order by dummy", 1791, None),
    ("insert into nosuch values (1)", 942, 12),
    ("drop table nosuch", 942, None),
    ("create table nosuch (a number, a date)", 957, None),
    ("create table nosuch (a number(39))", 1727, None),
    ("create table nosuch (a varchar2(4001))", 910, None),
]

REFUSED = [
    "select * from dual as of scn 5",
    "merge into dual using dual on (1=1) when matched then update set dummy = 'x'",
    "begin null; end;",
    "select dummy from dual for update",
    "select listagg(dummy) from dual",
    "select '' || sysdate from dual",
    "select dummy from dual where sysdate > '01-JAN-24'",
    "select dummy from dual group by rollup(dummy)",
    "with n (a) as (select 1 from dual union all select a + 1 from n where a < 3) select a from n",
    "select lpad('ก', 3000, 'ก') from dual",
    "select replace(rpad('a', 3000), ' ', 'bb') from dual",
    "select rowid from dual",
    "create table nosuch (a number, foreign key (a) references dual (dummy))",
    "create table nosuch as select dummy || 'x' d from dual",
    "create view nosuch as select * from dual",
    "alter session set nls_date_format = 'YYYY'",
    "grant select on nosuch to other",
]


def rows_of(cursor, sql, *binds):
    return cursor.execute(sql, list(binds)).fetchall()


def code_of(caught):
    return caught.value.args[0].code


@pytest.mark.parametrize(("sql", "code", "offset"), CASES)
def test_mistakes_get_oracles_number_and_place(cursor, sql, code, offset):
    with pytest.raises(oracledb.DatabaseError) as caught:
        rows_of(cursor, sql, *(["x"] if ":b" in sql else []))
    assert code_of(caught) == code
    if offset is not None:
        assert caught.value.args[0].offset == offset
    assert cursor.execute("select 1 from dual").fetchone() == (1,)


@pytest.mark.emulator
@pytest.mark.parametrize("sql", REFUSED)
def test_what_is_not_known_to_be_right_is_refused(cursor, sql):
    with pytest.raises(oracledb.DatabaseError, match=r"ORA-03001: unimplemented feature \(fakeoracle\): ."):
        cursor.execute(sql)
    assert cursor.execute("select 1 from dual").fetchone() == (1,)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ("(1, 'x')", 1), ("(null, 'x')", 1400), ("(2, 'กก')", 12899), ("(123456, 'x')", 1438), ("('abc', 'x')", 1722),
        ("(2)", 947), ("(2, 'x', 3)", 913),
    ],
)  # fmt: skip
def test_rows_that_break_a_rule_are_refused(table, cursor, values, code):
    name = table("id number(5) primary key, s varchar2(5)")
    cursor.execute(f"insert into {name} values (1, 'first')")
    with pytest.raises(oracledb.DatabaseError) as caught:
        cursor.execute(f"insert into {name} values {values}")
    assert code_of(caught) == code


def test_a_value_too_large_names_the_column_and_both_lengths(table, cursor):
    name = table("s varchar2(5)")
    text = rf'value too large for column "TMS"."{name}"."S" \(actual: 6, maximum: 5\)'
    with pytest.raises(oracledb.DatabaseError, match=text):
        cursor.execute(f"insert into {name} values ('กก')")


def test_one_bad_row_refuses_the_whole_batch(table, cursor, one):
    name = table("id number(5) primary key")
    with pytest.raises(oracledb.IntegrityError, match="ORA-00001"):
        cursor.executemany(f"insert into {name} values (:1)", [(1,), (2,), (1,)])
    assert one(f"select count(*) from {name}") == 0


def test_an_error_in_the_middle_of_a_result_arrives_and_leaves_the_connection(table, cursor):
    name = table("s varchar2(10)")
    cursor.executemany(f"insert into {name} values (:1)", [[str(i)] for i in range(60_000)] + [["bad"]])
    cursor.connection.commit()
    with pytest.raises(oracledb.DatabaseError, match="ORA-01722"):
        rows_of(cursor, f"select to_number(s) from {name}")
    assert cursor.execute("select 1 from dual").fetchone() == (1,)


def test_a_missing_bind_is_noticed(cursor):
    with pytest.raises(oracledb.DatabaseError, match=r"DPY-4010|ORA-01008"):
        cursor.execute("select :1 from dual", [])
