"""Scalar functions (SQL Language Reference, "Functions"): values in the SQL, in columns and in binds."""

# ruff: noqa: DTZ001 - DATE and TIMESTAMP have no time zone
import datetime
from decimal import Decimal

import oracledb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def day(*parts):
    return datetime.datetime(*parts)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("nvl(1, '2')", 1), ("nvl('a', 1)", "a"), ("nvl(null, 1)", 1), ("coalesce(null, null, 3)", 3), ("nvl2(null, 'a', 1)", "1"),
        ("decode(1, 1, 'a', 2, 5)", "a"), ("decode(2, 1, 'a', 2, 5)", "5"), ("decode(2, 1, null, 2, 5)", "5"), ("decode('01', '1', 'x', 'y')", "y"), ("decode('01', 1, 'x', 'y')", "x"),
        ("greatest('a', 'B')", "a"), ("least(3, '2')", 2), ("greatest(2.5, 10, 3)", 10), ("greatest(date '2024-01-01', date '2023-01-01')", day(2024, 1, 1)),
        ("mod(7, -3)", 1), ("mod(-7, 3)", -1), ("remainder(7, 4)", -1), ("ceil(-1.5)", -1), ("floor(-1.5)", -2), ("sign(-3)", -1), ("sign(null)", None), ("power(2, 10)", 1024),
        ("power(1.5, 2)", Decimal("2.25")), ("sqrt(16)", 4), ("round(2.567, 1.9)", Decimal("2.6")), ("trunc(-2.567, 1)", Decimal("-2.5")), ("round(155, -1)", 160),
        ("substr('abcdef', -3, 2)", "de"), ("substr('abc', 1.9)", "abc"), ("substr('abc', 2, 0)", None), ("substrb('abc', 2, 1)", "b"), ("instr('corporate floor', 'or', 3, 2)", 14),
        ("instr('corporate floor', 'or', -3, 2)", 2), ("instr('abc', 'x', 1, 1)", 0), ("lengthb('ก')", 3), ("initcap('the soap')", "The Soap"), ("initcap('o''neil-x 1st')", "O'Neil-X 1st"),
        ("lpad('Page 1', 15, '*.')", "*.*.*.*.*Page 1"), ("rpad('abc', 2)", "ab"), ("lpad('a', 0)", None), ("ltrim('xyxXxyLAST WORD', 'xy')", "XxyLAST WORD"), ("rtrim('BROWNING: ./=./=.=', '/=.')", "BROWNING: "),
        ("trim(leading '0' from '0012')", "12"), ("trim(both from '  a ')", "a"), ("replace('JACK and JUE', 'J', 'BL')", "BLACK and BLUE"), ("replace('abc', null)", "abc"), ("replace('aa', 'a')", None),
        ("translate('SQL*Plus User''s Guide', ' */''', '___')", "SQL_Plus_Users_Guide"), ("translate('abc', 'abc', '')", None), ("chr(67)||chr(65)||chr(84)", "CAT"), ("chr(50052)", "Ä"), ("ascii('Ä')", 50052),
        ("concat('a', 1)", "a1"), ("concat(null, 'b')", "b"), ("add_months(date '2024-01-31', 1)", day(2024, 2, 29)), ("add_months(date '2024-01-15', -1.9)", day(2023, 12, 15)),
        ("months_between(date '1995-02-02', date '1995-01-01')", Decimal("1.03225806451612903225806451612903225806")), ("months_between(date '2024-02-29', date '2024-01-31')", 1),
        ("last_day(date '2023-02-01')", day(2023, 2, 28)), ("next_day(date '2009-10-15', 'TUESDAY')", day(2009, 10, 20)), ("next_day(date '2024-05-14', 'tue')", day(2024, 5, 21)),
        ("round(to_date('27-OCT-00', 'DD-MON-YY'), 'YEAR')", day(2001, 1, 1)), ("trunc(to_date('27-OCT-92', 'DD-MON-RR'), 'YEAR')", day(1992, 1, 1)), ("round(date '2024-05-16', 'MM')", day(2024, 6, 1)),
        ("date '2024-03-01' - date '2024-02-28'", 2), ("to_date('12:00', 'HH24:MI') - trunc(to_date('12:00', 'HH24:MI'))", Decimal("0.5")), ("date '2024-01-01' + 1/24", day(2024, 1, 1, 1)),
        ("1 + date '2024-12-31'", day(2025, 1, 1)), ("date '2024-01-01' + interval '1 2:3:4' day to second", day(2024, 1, 2, 2, 3, 4)), ("date '2024-01-31' - interval '1' year", day(2023, 1, 31)),
        ("timestamp '2024-01-01 00:00:00.5' - interval '30' minute", day(2023, 12, 31, 23, 30, 0, 500000)), ("date '2024-01-15' + interval '1-1' year to month", day(2025, 2, 15)),
        ("to_number('-1,234.50', '9,999.99')", Decimal("-1234.5")), ("to_number('$12', '$99')", 12), ("to_char(-1234.5, 'FM9,990.00')", "-1,234.50"), ("to_char(null, '99')", None),
        ("to_timestamp('2024-01-02 03:04:05.678', 'YYYY-MM-DD HH24:MI:SS.FF')", day(2024, 1, 2, 3, 4, 5, 678000)), ("to_char(timestamp '2024-01-02 03:04:05.678', 'SS.FF3')", "05.678"),
        ("regexp_substr('ab123cd45', '[0-9]+', 1, 2)", "45"), ("regexp_replace('a1b22', '[[:digit:]]', '#')", "a#b##"), ("regexp_replace('x-y', '(.)-(.)', '\\2-\\1')", "y-x"),
        ("regexp_instr('abc', 'c')", 3), ("regexp_count('a,b,c', ',')", 2), ("regexp_substr('abc', 'x')", None), ("uid - (select user_id from user_users)", 0), ("dbtimezone", "+00:00"),
        ("case when '' is null then 'null' end", "null"), ("q'!it's!'", "it's"), ("length(q'[a''b]')", 4), ("'a' || '' || 'b'", "ab"),
    ],
)  # fmt: skip
def test_functions_have_oracles_values(one, expression, expected):
    assert one(f"select {expression} from dual") == expected


def test_arguments_may_be_columns_and_binds(table, cursor, one):
    name = table("s varchar2(20), a number, b number, d date, f varchar2(30)")
    cursor.execute(f"insert into {name} values ('hello', 2, 3, date '2024-05-15', 'YYYY/MM')")
    sql = (
        "select substr(s, a, b), instr(s, 'l', 1, a), lpad(s, a * b + 1, substr(s, 1, 1)), round(12.345, a), add_months(d, b), "
        f"to_char(d, f), replace(s, substr(s, 1, 1), :1), translate(s, 'hl', :2), trunc(d, 'MM') + a, d + b / 24, trunc(1.239, b - 1) from {name}"
    )
    assert one(sql, "J", "HL") == (
        "ell", 4, "hhhello"[-7:], Decimal("12.35"), day(2024, 8, 15), "2024/05", "Jello", "HeLLo", day(2024, 5, 3),
        day(2024, 5, 15, 3), Decimal("1.23"),
    )  # fmt: skip
    assert one("select to_date(:1, :2) from dual", "2024-05", "YYYY-MM") == day(2024, 5, 1)
    assert one("select substr(:1, :2, :3) from dual", "abcdef", -3, 2) == "de"
    assert one("select round(:1, :2), trunc(:3), :4 + 1 from dual", Decimal("1.25"), 1, day(2024, 1, 1, 5), day(2024, 1, 1)) == (
        Decimal("1.3"), day(2024, 1, 1), day(2024, 1, 2),
    )  # fmt: skip


@given(value=st.decimals(-(10**12), 10**12, places=7), digits=st.integers(-5, 7))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_round_and_trunc_are_those_of_decimal(one, value, digits):
    unit = Decimal(1).scaleb(-digits)
    expected = value.quantize(unit, "ROUND_HALF_UP"), value.quantize(unit, "ROUND_DOWN")
    assert one("select round(:1, :2), trunc(:3, :4) from dual", value, digits, value, digits) == expected


def test_thirty_eight_digits_pass_through_the_functions_of_numbers(table, cursor, one):
    name, number = table("a number(38), u number"), 12345678901234567890123456789012345678
    cursor.execute(f"insert into {name} values ({number}, {number})")
    nines = "9" * 38
    assert one(f"select to_char(a, '{nines}'), to_char(-u, 'FM{nines}') from {name}") == (
        f" {number}",
        f"-{number}",
    )
    assert one(f"select to_number('-{number}', '{nines}') from dual") == -number
    assert one(f"select remainder(a, 7), mod(-u, 7), abs(-u) from {name}") == (
        2,
        -2,
        number,
    )


def test_decode_compares_chars_with_their_blanks(table, cursor):
    """'If expr and search are character data, then Oracle compares them using nonpadded comparison semantics' (DECODE)."""
    name = table("c char(3), v varchar2(3)")
    cursor.execute(f"insert into {name} values ('a', 'a')")
    sql = f"select decode(c, 'a', 1, 0), decode(c, 'a  ', 1, 0), decode(c, null, 2, 'a', 1, 0), decode(c, v, 1, c, 2) from {name}"
    assert cursor.execute(sql).fetchall() == [(0, 1, 0, 2)]


def test_texts_put_together_hold_4000_bytes(cursor, one):
    assert one("select length(:1 || :2) from dual", "x" * 3000, "y" * 1000) == 4000
    with pytest.raises(oracledb.DatabaseError, match="ORA-01489"):
        cursor.execute("select length(:1 || :2) from dual", ["x" * 3000, "y" * 1001])
