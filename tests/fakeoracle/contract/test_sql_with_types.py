"""Where queries, functions and definitions meet the other data types and the past."""

from decimal import Decimal

import oracledb
import pytest

NOW = "select dbms_flashback.get_system_change_number from dual"


def code_of(cursor, sql, *binds):
    with pytest.raises(oracledb.DatabaseError) as caught:
        cursor.execute(sql, list(binds)).fetchall() if sql.startswith("select") else cursor.execute(sql)
    return caught.value.args[0].code


@pytest.fixture
def kept(table, cursor):
    """A table with one row of the types that are kept otherwise than DuckDB keeps its own."""
    name = table("id number(5) primary key, t timestamp(9), z timestamp(9) with time zone, n nvarchar2(10), r raw(4) check (r <> hextoraw('ff')), "
                 "b binary_double, c clob")  # fmt: skip
    moment = "timestamp '2024-01-31 23:30:56.123456789"
    cursor.execute(f"insert into {name} values (1, {moment}', {moment} +05:30', n'กข', 'aa', -1.5, 'a clob')")
    cursor.connection.commit()
    return name


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("to_char(t, 'YYYY-MM-DD HH24:MI:SS.FF9')", "2024-01-31 23:30:56.123456789"), ("to_char(t, 'DD Mon HH.FF7')", "31 Jan 11.1234567"),
        ("to_char(z, 'HH24:MI.FF8 TZH:TZM')", "23:30.12345678 +05:30"), ("to_char(z at time zone '-02:15', 'DD HH24:MI TZR')", "31 15:45 -02:15"),
        ("to_char(t + interval '1' month, 'YYYY-MM-DD')", None), ("to_char(t - interval '1' day, 'DD FF9')", "30 123456789"),
        ("to_char(z + interval '1' hour, 'DD HH24:MI FF9 TZH')", "01 00:30 123456789 +05"), ("to_char(add_months(z, 1), 'YYYY-MM-DD HH24:MI')", "2024-02-29 23:30"),
        ("to_char(trunc(z, 'Q'), 'YYYY-MM-DD')", "2024-01-01"), ("to_char(to_timestamp('12.25', 'SS.FF'), 'SS.FF9')", "12.250000000"),
    ],
)  # fmt: skip
def test_timestamps_of_nine_digits_and_with_time_zones_go_through_formats_and_arithmetic(
    kept, cursor, one, expression, expected
):
    if expected is None:  # there is no 31 February
        assert code_of(cursor, f"select {expression} from {kept}") == 1839
    else:
        assert one(f"select {expression} from {kept}") == expected


@pytest.mark.parametrize("expression", ["to_char(t, 'TZH')", "to_char(cast(t as timestamp(3)), 'TZR')"])
def test_a_time_zone_is_not_written_of_what_has_none(kept, cursor, expression):
    assert code_of(cursor, f"select {expression} from {kept}") == 1821


@pytest.mark.parametrize(
    ("expression", "expected", "type_name"),
    [
        ("substr(n, id + 1)", "ข", "DB_TYPE_NVARCHAR"), ("replace(n, 'ก', n)", "กขข", "DB_TYPE_NVARCHAR"), ("lpad(n, 4, n'*')", "**กข", "DB_TYPE_NVARCHAR"),
        ("regexp_replace(n, '^.', 'x')", "xข", "DB_TYPE_NVARCHAR"), ("translate(n, 'ก', 'k')", "kข", "DB_TYPE_NVARCHAR"), ("lengthb(n)", 4, "DB_TYPE_NUMBER"),
        ("instr(n, 'ข', -1)", 2, "DB_TYPE_NUMBER"), ("nvl2(c, n, null)", "กข", "DB_TYPE_NVARCHAR"), ("decode(id, 1, n, 'x')", "กข", "DB_TYPE_NVARCHAR"),
        ("substr(c, id + 2, 2)", "cl", "DB_TYPE_LONG"), ("instr(c, 'l', 1, 1)", 4, "DB_TYPE_NUMBER"), ("abs(b)", 1.5, "DB_TYPE_BINARY_DOUBLE"),
        ("nvl(id, b)", 1.0, "DB_TYPE_BINARY_DOUBLE"), ("nullif(b, -1.5)", None, "DB_TYPE_BINARY_DOUBLE"), ("nanvl(b, 0)", -1.5, "DB_TYPE_BINARY_DOUBLE"),
        ("greatest(r, hextoraw('ab'))", b"\xab", "DB_TYPE_RAW"), ("dbms_lob.substr(c, 4, 3)", "clob", "DB_TYPE_VARCHAR"),
    ],
)  # fmt: skip
def test_functions_keep_the_type_they_are_given(kept, cursor, one, expression, expected, type_name):
    oracledb.defaults.fetch_lobs = False
    try:
        assert one(f"select {expression} from {kept}") == expected
    finally:
        oracledb.defaults.fetch_lobs = True
    assert cursor.description[0][1].name == type_name


@pytest.mark.parametrize(
    "expression",
    ["ceil(b)", "mod(b, 2)", "round(b)", "sign(b)", "power(b, 2)", "sum(distinct b)", "substrb(n, 1)", "ascii(n)", "greatest(n, n)", "upper(c)",
     "listagg(n) within group (order by id)", "lag(c) over (order by id)", "t - z", "z + 1", "to_timestamp('1.1234567', 'SS.FF7')"],
)  # fmt: skip
def test_what_would_lose_digits_or_characters_is_refused(kept, cursor, expression):
    assert code_of(cursor, f"select {expression} from {kept}") == 3001


def test_windows_work_on_national_texts_in_the_order_of_their_utf_16_units(kept, cursor):
    cursor.executemany(
        f"insert into {kept} (id, n) values (:1, :2)", [(2, "\N{GRINNING FACE}"), (3, "\uffee")]
    )
    cursor.execute(
        f"select n, lag(n) over (order by n), first_value(n) over (order by n desc), count(*) over (partition by n) from {kept} order by n"
    )
    assert [column[1].name for column in cursor.description[:3]] == ["DB_TYPE_NVARCHAR"] * 3
    last = "\uffee"  # its one unit is greater than the first of the other's two
    assert cursor.fetchall() == [
        ("กข", None, last, 1),
        ("\N{GRINNING FACE}", "กข", last, 1),
        (last, "\N{GRINNING FACE}", last, 1),
    ]


def test_rules_hold_for_raw_and_national_columns(kept, cursor, table):
    assert code_of(cursor, f"update {kept} set r = 'ff'") == 2290
    name = table("n nvarchar2(5) unique check (length(n) < 4)")
    cursor.execute(f"insert into {name} values (n'กขค')")
    assert code_of(cursor, f"insert into {name} values (n'กขค')") == 1
    assert code_of(cursor, f"insert into {name} values (n'กขคง')") == 2290


@pytest.mark.parametrize("column", ["a clob unique", "a timestamp with time zone, unique (a)"])
def test_lobs_and_time_zones_have_no_unique_rule(cursor, new_name, column):
    assert code_of(cursor, f"create table {new_name()} ({column})") == 2329


def test_the_past_is_read_inside_a_with_query_that_is_outer_joined_the_old_way(kept, cursor):
    scn = cursor.execute(NOW).fetchone()[0]
    cursor.execute(f"update {kept} set n = n'new'")
    cursor.execute(f"insert into {kept} (id, n) values (2, n'two')")
    cursor.connection.commit()
    cursor.execute(
        f"with p as (select id, n from {kept} as of scn :1) "
        f"select a.id, a.n, p.n from {kept} a, p where a.id = p.id(+) order by a.id",
        [scn],
    )
    assert cursor.fetchall() == [(1, "new", "กข"), (2, "two", None)]


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ("alter table {} add (e number default 5)", False), ("alter table {} drop column c", False), ("alter table {} rename column c to d", False),
        ("alter table {} add check (id > 0)", False), ("alter table {} add unique (b)", False), ("create unique index {}_i on {} (b)", True),
        ("comment on table {} is 'x'", True),
    ],
)  # fmt: skip
def test_nobody_looks_back_beyond_a_changed_definition(kept, cursor, change, seen):
    scn, before = (
        cursor.execute(NOW).fetchone()[0],
        cursor.execute(f"select id, rowid from {kept}").fetchall(),
    )
    cursor.execute(change.replace("{}", kept))
    past = f"select id, rowid from {kept} as of scn :1"
    if seen:
        assert cursor.execute(past, [scn]).fetchall() == before
    else:
        assert code_of(cursor, past, scn) == 1466
    now = cursor.execute(NOW).fetchone()[0]
    assert cursor.execute(f"select id, rowid from {kept}").fetchall() == before  # rows keep their ROWIDs
    cursor.execute(f"delete from {kept}")
    cursor.connection.commit()
    assert cursor.execute(past, [now]).fetchall() == before


def test_a_table_made_of_a_query_has_rowids_and_a_past_of_its_own(kept, cursor, new_name):
    scn, name = cursor.execute(NOW).fetchone()[0], new_name()
    cursor.execute(f"update {kept} set b = 7")
    cursor.execute(f"create table {name} as select id, t, n, b, rowid r from {kept} as of scn {scn}")
    assert cursor.execute(f"select b from {kept}").fetchone() == (7.0,)
    made = cursor.execute(f"select id, n, b, r, rowid from {name}").fetchall()
    assert made[0][:3] == (Decimal(1), "กข", -1.5)
    assert made[0][3:4] == cursor.execute(f"select rowid from {kept}").fetchone()
    assert made[0][4] != made[0][3]
    assert code_of(cursor, f"select id from {name} as of scn :1", scn) == 1466
    now = cursor.execute(NOW).fetchone()[0]
    assert now > scn
    cursor.execute(f"delete from {name}")
    cursor.connection.commit()
    assert cursor.execute(f"select id, n, b, r, rowid from {name} as of scn :1", [now]).fetchall() == made
    types = "select data_type from user_tab_columns where table_name = :1 order by column_id"
    assert cursor.execute(types, [name]).fetchall() == [
        ("NUMBER",), ("TIMESTAMP(9)",), ("NVARCHAR2",), ("BINARY_DOUBLE",), ("ROWID",)
    ]  # fmt: skip
    cursor.execute(f"drop table {name} purge")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("select hextoraw('aa') r from {}", 3001), ("select to_timestamp('1', 'SS') t from {}", 3001), ("select rowid from {}", 998), ("select id from {} as of scn 1", 1466),
    ],
)  # fmt: skip
def test_a_table_is_not_made_of_what_is_not_known_for_sure(kept, cursor, new_name, query, code):
    name = new_name()
    assert code_of(cursor, f"create table {name} as {query.format(kept)}") == code
    assert code_of(cursor, f"select * from {name}") == 942


def test_kinds_of_number_meet_in_a_union_but_texts_and_lobs_do_not(kept, cursor):
    assert cursor.execute(f"select id from {kept} union select b from {kept} order by 1").fetchall() == [
        (-1.5,),
        (1.0,),
    ]
    assert code_of(cursor, f"select c from {kept} union all select 'x' from {kept}") == 1790


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("select * from (select cast(a.id as number(3)) from {} a)", ["CAST(A.IDASNUMBER(3))"]),
        ("select cast(cast(id as varchar2(5)) as number(4, 1)), systimestamp from {}", ["CAST(CAST(IDASVARCHAR2(5))ASNUMBER(4,1))", "SYSTIMESTAMP"]),
        ("select * from (select cast(cast(id as varchar2(5)) as number(4, 1)), systimestamp, upper('x') from {})",
         ["CAST(CAST(IDASVARCHAR2(5))ASNUMBER(4,1))", "SYSTIMESTAMP", "UPPER('X')"]),
        ("select * from (select localtimestamp(3) from {})", ["LOCALTIMESTAMP(3)"]), ("select * from (select n from {})", ["N"]),
    ],
)  # fmt: skip
def test_columns_are_named_as_they_are_written(kept, cursor, query, names):
    cursor.execute(query.format(kept))
    assert [column[0] for column in cursor.description] == names
