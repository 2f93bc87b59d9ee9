"""Joins, subqueries, ROWNUM, row limits, windows and conditions (SQL Language Reference, "SELECT" and "Conditions")."""

import oracledb
import pytest


@pytest.fixture(scope="module")
def shop(shared_server):
    """Two small tables, A and B, that every query here reads."""
    with oracledb.connect(user="TMS", password="secret", dsn=shared_server.dsn) as connection:
        cursor = connection.cursor()
        cursor.execute("create table shop_a (id number(5), k varchar2(5), n number, c char(4))")
        cursor.execute("create table shop_b (id number(5), v varchar2(5))")
        rows = [(1, "x", 1.5, "ab"), (2, "y", 2, "ab"), (3, None, None, "cd"), (4, "x", 3, None)]
        cursor.executemany("insert into shop_a values (:1, :2, :3, :4)", rows)
        cursor.executemany(
            "insert into shop_b values (:1, :2)", [(1, "one"), (2, "two"), (2, "zwei"), (9, None)]
        )
        connection.commit()
        yield
        cursor.execute("drop table shop_a")
        cursor.execute("drop table shop_b")


def rows_of(cursor, sql, *binds):
    found = cursor.execute(sql.replace("{a}", "shop_a").replace("{b}", "shop_b"), list(binds)).fetchall()
    return [row[0] if len(row) == 1 else row for row in found]


# SQL Language Reference, "Joins"
@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select a.id, b.v from {a} a, {b} b where a.id = b.id(+) order by 1, 2", [(1, "one"), (2, "two"), (2, "zwei"), (3, None), (4, None)]),
        ("select a.id, b.v from {a} a, {b} b where a.id = b.id (+) and b.v(+) = 'two' order by 1", [(1, None), (2, "two"), (3, None), (4, None)]),
        ("select a.id, b.v from {a} a, {b} b where a.id = b.id(+) and b.v is null order by 1", [(3, None), (4, None)]),
        ("select b.id from {a} a, {b} b where a.id(+) = b.id and a.id is null", [9]),
        ("select * from (select id from {a}) join {b} using (id) order by id, v", [(1, "one"), (2, "two"), (2, "zwei")]),
        ("select id, v from {a} natural join {b} order by 2", [(1, "one"), (2, "two"), (2, "zwei")]),
        ("select id, v from {a} full join {b} using (id) order by 1, 2", [(1, "one"), (2, "two"), (2, "zwei"), (3, None), (4, None), (9, None)]),
        ("select id from {a} right join {b} using (id) order by 1", [1, 2, 2, 9]),
        ("select count(*) from {a} cross join {b}", [16]),
        ("select a.id from {a} a left join ({b} b join dual on 1 = 1) on a.id = b.id where b.id is null order by 1", [3, 4]),
        ("select tms.shop_a.id from tms.shop_a where tms.shop_a.k = 'y'", [2]),
        ("with q (i, j) as (select id, v from {b}) select j from q where i = 1", ["one"]),
    ],
)  # fmt: skip
def test_joins_give_oracles_rows(shop, cursor, sql, expected):
    assert rows_of(cursor, sql) == expected


# SQL Language Reference, "Conditions": three-valued logic, IN, ANY and ALL, LIKE, blank-padded comparison
@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("(id, k) in ((1, 'x'), (2, 'z'))", [1]), ("(id, k) not in ((1, 'x'), (2, 'z'))", [2, 3, 4]), ("(id, k) = ((4, 'x'))", [4]),
        ("(id, 1) not in (select id, 1 from {b})", [3, 4]), ("(id, k) not in (select id, v from {b})", [1, 2, 3, 4]),
        ("(k, id) in (select null, 3 from dual)", []), ("not ((k, id) in (select null, 3 from dual))", [1, 2, 4]),
        ("id = any (select id from {b})", [1, 2]), ("id = some (2, 3)", [2, 3]), ("id > all (select id from {b} where id < 3)", [3, 4]),
        ("id <> all (1, 2)", [3, 4]), ("n > all (select n from {a})", []), ("id > all (select id from {b} where 1 = 2)", [1, 2, 3, 4]),
        ("n < any (select n from {a})", [1, 2]), ("not n >= any (select n from {a} where n > 2)", [1, 2]), ("id in (1, 2, null)", [1, 2]),
        ("id not in (1, null)", []), ("c = 'ab'", [1, 2]), ("c = 'ab  '", [1, 2]), ("c in ('ab', 'cd')", [1, 2, 3]), ("c like 'ab'", []),
        ("k ^= 'x' or k != 'y'", [1, 2, 4]), ("k like '_' escape '!' and id < 3", [1, 2]), ("regexp_like(k, '^[xy]$')", [1, 2, 4]),
        ("not exists (select 1 from {b} b where b.id = a.id)", [3, 4]), ("k = q'[x]' /* a comment */ -- and another", [1, 4]),
        ("n between 1.5 and 2", [1, 2]), ("k || '' = 'x'", [1, 4]), ("id in (select id from {b} union select 3 from dual)", [1, 2, 3]),
        ("id = :1", [2]), ("(select count(*) from {b} b where b.id = a.id) = 2", [2]),
    ],
)  # fmt: skip
def test_conditions_keep_oracles_rows(shop, cursor, condition, expected):
    binds = [2] if ":1" in condition else []
    assert rows_of(cursor, f"select id from {{a}} a where {condition}\n order by id", *binds) == expected


# SQL Language Reference, "ROWNUM Pseudocolumn", "row_limiting_clause", "Hierarchical Queries"
@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select id from {a} where rownum > 1", []), ("select id from {a} where rownum >= 1", [1, 2, 3, 4]), ("select id from {a} where rownum > 0.5", [1, 2, 3, 4]),
        ("select id from {a} where rownum between 1 and 2", [1, 2]), ("select id from {a} where rownum between 2 and 3", []), ("select id from {a} where rownum != 3", [1, 2]),
        ("select id from {a} where 2 >= rownum and id > 1", [2, 3]), ("select id from {a} where rownum = 2", []), ("select id from {a} where rownum < 2.5 and rownum <= 3", [1, 2]),
        ("select id from {a} where rownum <= null", []), ("select rownum from {a} where rownum <= 2", [1, 2]), ("select level from dual connect by level <= 3", [1, 2, 3]),
        ("select level * 2, rownum from dual connect by level < 3", [(2, 1), (4, 2)]), ("select count(*) from dual connect by level <= 0", [1]),
        ("select count(*) from dual connect by level <= date '2025-01-03' - date '2025-01-01' + 1", [3]),
        ("select level, rownum from dual where level > 1 connect by level <= 3", [(2, 1), (3, 2)]), ("select level from dual where rownum <= 2 connect by level <= 3", [1, 2]),
        ("select id from {a} order by k fetch first 1 row with ties", [1, 4]), ("select id from {a} order by id fetch first 30 percent rows only", [1, 2]),
        ("select id from {a} order by id offset 1 row fetch next 2 rows only", [2, 3]), ("select id from {a} order by id offset 3 rows", [4]),
        ("select id from {a} order by k nulls first, id desc fetch first 2 rows with ties", [3, 4]), ("select distinct k from {a} order by k fetch first 50 percent rows only", ["x", "y"]),
        ("select id from {a} minus select id from {b} order by 1", [3, 4]), ("select id from {a} intersect select id from {b} order by 1", [1, 2]),
        ("select 1 from dual union select 2 from dual intersect select 2 from dual", [2]), ("select /*+ full(a) */ unique k from {a} a where k is not null order by 1", ["x", "y"]),
    ],
)  # fmt: skip
def test_rows_are_numbered_and_limited_as_oracle_does(shop, cursor, sql, expected):
    assert rows_of(cursor, sql) == expected


# SQL Language Reference, "Aggregate Functions" and "Analytic Functions"
@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select k, listagg(id, ',') within group (order by id desc) from {a} group by k order by k", [("x", "4,1"), ("y", "2"), (None, "3")]),
        ("select listagg(n, '-') within group (order by n) from {a}", ["1.5-2-3"]), ("select sum(distinct length(k)), avg(distinct id) from {a}", [(1, 2.5)]),
        ("select lag(id) over (order by id) from {a}", [None, 1, 2, 3]), ("select lag(id, 2, 0) over (order by id) from {a}", [0, 0, 1, 2]),
        ("select lead(id) over (partition by k order by id) from {a} order by id", [4, None, None, None]),
        ("select sum(id) over (order by id rows between 1 preceding and current row) from {a}", [1, 3, 5, 7]),
        ("select sum(id) over (order by id rows 1 preceding) from {a}", [1, 3, 5, 7]), ("select sum(n) over (order by id) from {a}", [1.5, 3.5, 3.5, 6.5]),
        ("select count(*) over (order by k) from {a} order by id", [2, 3, 4, 2]), ("select first_value(id) over (order by k, id) from {a} order by id", [1, 1, 1, 1]),
        ("select last_value(id) over (order by id rows between unbounded preceding and unbounded following) from {a}", [4, 4, 4, 4]),
        ("select last_value(id) over (order by id) from {a}", [1, 2, 3, 4]), ("select dense_rank() over (order by k) from {a} order by id", [1, 2, 3, 1]),
        ("select rank() over (order by k desc nulls last) from {a} order by id", [2, 1, 4, 2]), ("select max(n) over () from {a} where id < 3", [3 - 1, 2]),
        ("select k from {a} group by k having count(*) > 1", ["x"]), ("select count(*), count(n), count(distinct k) from {a}", [(4, 3, 2)]),
    ],
)  # fmt: skip
def test_aggregates_and_windows_have_oracles_values(shop, cursor, sql, expected):
    assert rows_of(cursor, sql) == expected


# Database Error Messages
@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("select a.id from {a} a join {b} b using (id)", 25154), ("select 1 from {a} a join {b} b using (nosuch)", 904),
        ("select 1 from {a} a join dual on 1=1, {b} b where a.id = b.id(+)", 25156), ("select 1 from {a} a, {b} b where a.id(+) = b.id(+)", 1468),
        ("select 1 from {a} a, {b} b where a.id = b.id(+) or a.id = 1", 1719), ("select 1 from {a} a, {b} b where a.id(+) = b.id and b.v(+) = a.k", 1416),
        (f"select 1 from {{a}} where id in ({', '.join(map(str, range(1001)))})", 1795), ("select 1 from {a} where (id, k) in ((1, 2, 3))", 913),
        ("select 1 from {a} where (id, k) in (select 1 from dual)", 947), ("select 1 from {a} where id in (select 1, 2 from dual)", 913),
        ("select 1 from {a} where k like 'a!b' escape '!'", 1424), ("select 1 from {a} where k like 'a' escape 'xx'", 1425),
        ("select 1 from {a} union select 'x' from dual", 1790), ("select 1, 2 from {a} union select 1 from dual", 1789), ("select lag(id) over () from {a}", 30485),
        ("select id from {a}, {b}", 918), ("select other.shop_a.id from shop_a", 904), ("select date '2024-01-01' + date '2024-01-01' from dual", 975),
        ("select substr('a') from dual", 938), ("select substr('a', 1, 2, 3) from dual", 939), ("select upper('a', 'b') from dual", 909),
        ("select interval '100' day + sysdate from dual", 1873), ("select sysdate + interval '1:2' day from dual", 1867), ("select trim('ab' from 'x') from dual", 30001),
        ("select date '2024-01-31' + interval '1' month from dual", 1839), ("select next_day(sysdate, 'xyz') from dual", 1846), ("select trunc(sysdate, 'xyz') from dual", 1898),
        ("select date '9999-12-31' + 1 from dual", 1841), ("select sqrt(-1) from dual", 1428), ("select to_number('x', '999') from dual", 1722),
    ],
)  # fmt: skip
def test_mistakes_get_oracles_number(shop, cursor, sql, code):
    with pytest.raises(oracledb.DatabaseError) as caught:
        rows_of(cursor, sql)
    assert caught.value.args[0].code == code


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("select * from {a}, lateral (select 1 x from dual)", "LATERAL"), ("select k from {a} group by rollup(k)", "ROLLUP"), ("select 1 from {a} for update", "FOR UPDATE"),
        ("select stddev(id) from {a}", "STDDEV"), ("select median(id) from {a}", "MEDIAN"), ("select seq.nextval from dual", "sequences"), ("select dump(1) from dual", "DUMP"),
        ("select ora_hash(1) from dual", "ORA_HASH"), ("select sys_guid() from dual", "SYS_GUID"), ("select vsize(1) from dual", "VSIZE"), ("select reverse('a') from dual", "REVERSE"),
        ("select standard_hash('a', 'MD5') from dual", "STANDARD_HASH"), ("select sqrt(2) from dual", "SQRT"), ("select power(2, 0.5) from dual", "POWER"),
        ("select regexp_substr('a', '(a|b)') from dual", "regular expression"), ("select regexp_replace('a', 'a*', 'x') from dual", "matches nothing"),
        ("select to_date('x') from dual", "TO_DATE without a format"), ("select my_function(1) from dual", "MY_FUNCTION"), ("select sysdate || '' from dual", "DATE"),
        ("select id from {a} start with id = 1 connect by prior id = id", "CONNECT BY"), ("select id from {a} where mod(rownum, 2) = 1", "ROWNUM"),
        ("select id from {a} where rownum <= id", "ROWNUM"), ("select sum(id) over (order by id range between 1 preceding and current row) from {a}", "window frame"),
        ("select max(id) keep (dense_rank first order by k) from {a}", "KEEP"), ("select ntile(2) over (order by id) from {a}", "NTILE"), ("savepoint x", "SAVEPOINT"),
        ("select 1 from {a} a, {b} b, dual d where a.id = b.id(+) and d.dummy = b.v(+)", "pair of tables"), ("select round(sysdate, 'IW') from dual", "IW"),
        ("select date '1500-01-01' + 1 from dual", "Julian calendar"), ("select lpad('ก็', 5) from dual", "LPAD"), ("select id from {a} sample (10)", "SAMPLE"),
    ],
)  # fmt: skip
def test_what_is_not_done_is_refused_by_its_name(shop, cursor, sql, named):
    with pytest.raises(oracledb.DatabaseError, match=rf"ORA-03001: .*{named}"):
        rows_of(cursor, sql)


def test_an_error_names_its_place_behind_functions_and_outer_joins(shop, cursor):
    sql = "select nvl(a.k, 'x'), to_date('2024', 'YYYY'), nosuch from shop_a a, shop_b b where a.id = b.id(+)"
    with pytest.raises(oracledb.DatabaseError) as caught:
        cursor.execute(sql)
    assert (caught.value.args[0].code, caught.value.args[0].offset) == (904, sql.index("nosuch"))


def test_any_and_all_may_compare_with_rows_that_hold_nothing_of_their_own(table, cursor):
    name = table("a number")
    cursor.executemany(f"insert into {name} values (:1)", [(1,), (2,), (None,)])
    sql = f"select a from {name} t where a > all (select t.a - 1 from dual) or a = any (select null from dual) order by a"
    assert cursor.execute(sql).fetchall() == [(1,), (2,)]
