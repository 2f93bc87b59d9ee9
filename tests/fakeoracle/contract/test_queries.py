"""Oracle's meaning of SQL, where DuckDB's differs or is easily mistaken."""

# ruff: noqa: DTZ001 - DATE and TIMESTAMP have no time zone
import datetime
from decimal import Decimal

import pytest


@pytest.fixture
def emp(table, cursor):
    name = table("id number(5), boss number(5), name varchar2(10), sal number, hired date")
    rows = [
        (1, None, "Ann", Decimal("100.5"), datetime.datetime(2020, 1, 1)),
        (2, 1, "Bob", None, datetime.datetime(2021, 6, 30, 13, 5, 9)),
        (3, 1, "Cid", Decimal("-3"), None),
        (4, 9, None, Decimal("100.50"), datetime.datetime(2021, 6, 30)),
    ]
    cursor.executemany(f"insert into {name} values (:1,:2,:3,:4,:5)", rows)
    return name


def ids(cursor, sql, *binds):
    return [int(row[0]) for row in cursor.execute(sql, list(binds)).fetchall()]


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        ("sal, id", [3, 1, 4, 2]), ("sal desc, id", [2, 1, 4, 3]), ("name", [1, 2, 3, 4]), ("name desc", [4, 3, 2, 1]),
        ("name nulls first", [4, 1, 2, 3]), ("sal desc nulls last, id desc", [4, 1, 3, 2]), ("1 desc", [4, 3, 2, 1]),
        ("i", [1, 2, 3, 4]), ("-id", [4, 3, 2, 1]),
    ],
)  # fmt: skip
def test_nulls_sort_as_the_largest_value_unless_told_otherwise(emp, cursor, clause, expected):
    assert ids(cursor, f"select id as i, name from {emp} order by {clause}") == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("sal = 100.5", [1, 4]), ("sal <> 100.5", [3]), ("sal > 0", [1, 4]), ("not (sal > 0)", [3]), ("sal is null", [2]),
        ("name is not null and id > 1", [2, 3]), ("name = ''", []), ("name in ('Ann', 'Cid')", [1, 3]),
        ("id not in (1, 2)", [3, 4]), ("boss not in (1, null)", []), ("name like '_o%'", [2]), ("name not like '%o%'", [1, 3]), ("name like 'A!_%' escape '!'", []), ("not (name like 'A%')", [2, 3]),
        ("id between 2 and 3", [2, 3]), ("id not between 2 and 3", [1, 4]), ("hired >= date '2021-06-30'", [2, 4]),
        ("hired < to_date('2021-06-30 13:05:09', 'YYYY-MM-DD HH24:MI:SS')", [1, 4]), ("trunc(hired) = date '2021-06-30'", [2, 4]),
        ("hired between date '2021-06-30' and date '2021-06-30' + 1", [2, 4]), ("rownum <= 2", [1, 2]), ("rownum < 2", [1]),
        ("rownum = 1", [1]), ("exists (select 1 from dual where e.boss = 1)", [2, 3]), ("1 = 2", []), ("name || null = 'Ann'", [1]),
        ("boss = (select min(id) from {emp})", [2, 3]), ("nvl(boss, -1) = -1", [1]), ("'5' = 5", [1, 2, 3, 4]),
        ("e.id in (select boss from {emp})", [1]), ("mod(id, 2) = 0", [2, 4]), ("lower(name) = 'bob' or id = 4", [2, 4]),
    ],
)  # fmt: skip
def test_conditions_choose_the_rows_oracle_would(emp, cursor, condition, expected):
    assert ids(cursor, f"select e.id from {emp} e where {condition.format(emp=emp)}") == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("7/2", Decimal("3.5")), ("1/3", Decimal("0." + "3" * 40)), ("2/3", Decimal("0." + "6" * 39 + "7")), ("6/3", 2),
        ("0.1 + 0.2", Decimal("0.3")), ("1e30 + 1e-8", Decimal("1000000000000000000000000000000.00000001")),
        ("12345678901234567890 * 98765432109876543210", Decimal("1219326311370217952237463801111263526900")),
        ("nvl(null, 'x')", "x"), ("nvl('', 'x')", "x"), ("coalesce(null, 2, 3)", 2), ("nullif(1, 1)", None), ("nullif(1, 2)", 1),
        ("nvl2('a', 1, 2)", 1), ("nvl2('', 1, 2)", 2), ("decode(null, 1, 'a', null, 'b')", "b"), ("decode(3, 1, 'a', 2, 'b')", None),
        ("decode(2, 1, 'a', 2, 'b', 'c')", "b"), ("case when null = null then 1 else 0 end", 0), ("case 2 when 2 then 'x' end", "x"),
        ("'a' || 1.50 || 'b'", "a1.5b"), ("to_char(0.5)", ".5"), ("to_char(-0.5)", "-.5"), ("to_char(100)", "100"),
        ("upper('straße')", "STRAßE"), ("substr('abcdef', 2, 3)", "bcd"), ("substr('abcdef', -2)", "ef"), ("substr('ab', 5)", None),
        ("substr('abc', 0, 2)", "ab"), ("substr('abc', -5)", None), ("length('กขค')", 3), ("length('')", None), ("trim('  a b ')", "a b"),
        ("rtrim('a  ')", "a"), ("ltrim('00120', '0')", "120"), ("replace('a-b-c', '-')", "abc"), ("instr('hello', 'l')", 3),
        ("lpad('7', 3, '0')", "007"), ("rpad('ab', 4)", "ab  "), ("round(2.5)", 3), ("round(-2.5)", -3), ("round(1.005, 2)", Decimal("1.01")),
        ("round(149, -2)", 100), ("trunc(-1.99, 1)", Decimal("-1.9")), ("mod(-7, 3)", -1), ("mod(7, 0)", 7), ("abs(-2)", 2),
        ("greatest(1, 3, 2)", 3), ("least('b', 'a')", "a"), ("greatest(1, null)", None), ("to_number(' 12.50 ')", Decimal("12.5")),
        ("'2' + 1", 3), ("to_char(date '2024-02-09', 'DD/MM/YYYY')", "09/02/2024"), ("cast('1.5' as number(5,1))", Decimal("1.5")),
        ("to_date('20240229','YYYYMMDD')", datetime.datetime(2024, 2, 29)), ("trunc(date '2024-05-17', 'MM')", datetime.datetime(2024, 5, 1)),
        ("timestamp '2024-01-02 03:04:05.678'", datetime.datetime(2024, 1, 2, 3, 4, 5, 678000)), ("date '2024-03-01' - 1", datetime.datetime(2024, 2, 29)),
    ],
)  # fmt: skip
def test_expressions_have_oracles_values(one, expression, expected):
    assert one(f"select {expression} from dual") == expected


def test_aggregates_skip_nulls_and_stay_exact(emp, one):
    assert one(f"select count(*), count(sal), sum(sal), avg(sal), min(sal), max(name), count(distinct sal) from {emp}") == (
        4, 3, Decimal("198"), Decimal("66"), Decimal("-3"), "Cid", 2,
    )  # fmt: skip
    assert one(f"select sum(sal), avg(sal), count(sal) from {emp} where id > 9") == (None, None, 0)


def test_sums_of_tiny_and_huge_numbers_lose_nothing(table, cursor, one):
    name = table("n number")
    cursor.executemany(
        f"insert into {name} values (:1)", [[Decimal("1e25")], [Decimal("1e-12")], [Decimal("-1e-30")]]
    )
    assert one(f"select sum(n) from {name} where n < 1") == Decimal("0.000000000000999999999999999999")
    assert one(f"select sum(n) from {name} where n > 0") == Decimal("1" + "0" * 25 + "." + "0" * 11 + "1")


def test_groups_and_having(emp, cursor):
    sql = f"select boss, count(*) n from {emp} group by boss having count(*) >= 1 order by boss"
    assert cursor.execute(sql).fetchall() == [(1, 2), (9, 1), (None, 1)]
    assert cursor.execute(f"select distinct boss from {emp} order by boss").fetchall() == [
        (1,),
        (9,),
        (None,),
    ]


def test_joins_keep_and_drop_rows(emp, cursor):
    inner = f"select e.id, b.name from {emp} e join {emp} b on e.boss = b.id order by e.id"
    left = f"select e.id, b.name from {emp} e left outer join {emp} b on e.boss = b.id order by e.id"
    comma = f"select e.id, b.name from {emp} e, {emp} b where e.boss = b.id order by e.id"
    assert cursor.execute(inner).fetchall() == cursor.execute(comma).fetchall() == [(2, "Ann"), (3, "Ann")]
    assert cursor.execute(left).fetchall() == [(1, None), (2, "Ann"), (3, "Ann"), (4, None)]


def test_rownum_is_counted_before_sorting(emp, cursor):
    assert ids(cursor, f"select id from {emp} where rownum <= 2 order by id desc") == [2, 1]
    assert ids(cursor, f"select id from (select id from {emp} order by id desc) where rownum <= 2") == [4, 3]
    assert ids(cursor, f"select count(*) from {emp} where rownum <= :1", 3) == [3]
    sql = f"select id, rownum from (select id from {emp} order by id desc)"
    assert cursor.execute(sql).fetchall() == [(4, 1), (3, 2), (2, 3), (1, 4)]


def test_row_limits_with_and_inline_views(emp, cursor):
    assert ids(cursor, f"select id from {emp} order by id offset 1 row fetch next 2 rows only") == [2, 3]
    sql = (
        f"with ranked as (select id, boss, row_number() over (partition by boss order by id desc) as place from {emp}) "
        "select r.id from ranked r where place = 1 order by id"
    )
    assert ids(cursor, sql) == [1, 3, 4]
    assert ids(cursor, f"select id from {emp} union all select 9 from dual order by 1 desc") == [
        9,
        4,
        3,
        2,
        1,
    ]


def test_names_in_quotes_keep_their_case_and_others_do_not(table, cursor):
    name = table('"lower" number, UPPER number')
    cursor.execute(f"insert into {name.lower()} values (1, 2)")
    assert cursor.execute(f'select "lower", "UPPER", upper as x from tms.{name} T').fetchall() == [(1, 2, 2)]
    assert [column[0] for column in cursor.description] == ["lower", "UPPER", "X"]


def test_text_is_ordered_by_code_points(table, cursor):
    name = table("s varchar2(10)")
    cursor.executemany(f"insert into {name} values (:1)", [["b"], ["B"], ["ก"], ["a"], ["é"], ["Z"]])
    assert [row[0] for row in cursor.execute(f"select s from {name} order by s")] == [
        "B",
        "Z",
        "a",
        "b",
        "é",
        "ก",
    ]


def test_a_join_of_both_kinds_of_number_compares_exactly(table, cursor, one):
    left, right = table("a number(10,2)"), table("b number")
    cursor.execute(f"insert into {left} values (1.5)")
    cursor.executemany(
        f"insert into {right} values (:1)", [[Decimal("1.50")], [Decimal("1.5000000000000000000001")]]
    )
    assert one(f"select count(*) from {left} l join {right} r on l.a = r.b") == 1


def test_session_facts_are_known(one, connection):
    assert one("select user from dual") == connection.username.upper()
    release = connection.version.split(".")[0]
    assert f"Release {release}.0.0.0.0" in one("select banner from v$version")
    assert one("select version from product_component_version") == f"{release}.0.0.0.0"
    assert (
        abs(
            one("select sysdate from dual") - datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        ).seconds
        < 60
    )
