"""National texts, characters beyond the BMP, RAW and ROWID."""

import oracledb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("declared", "fits", "too_long", "actual"),
    [
        ("varchar2(4)", "😀", "😀a", 5), ("varchar2(2 char)", "😀😀", "abc", 3), ("char(4)", "ก", "กข", 6), ("nvarchar2(2)", "😀", "😀a", 3), ("nvarchar2(2)", "กข", "กขค", 3),
        ("nchar(1)", "ก", "😀", 2), ("char(2 char)", "😀😀", "abc", 3),
    ],
)  # fmt: skip
def test_lengths_are_counted_in_the_unit_of_the_type(table, cursor, declared, fits, too_long, actual):
    name = table(f"s {declared}")
    cursor.execute(f"insert into {name} values (:1)", [fits])
    cursor.execute(f"insert into {name} values (n'{fits}')")
    with pytest.raises(oracledb.DatabaseError, match=rf"ORA-12899: .*\(actual: {actual}, maximum: "):
        cursor.execute(f"insert into {name} values (:1)", [too_long])


@pytest.mark.parametrize(
    ("expression", "expected", "kind"),
    [
        ("n'ก''x'", "ก'x", "NCHAR"), ("n'a' || 'b'", "ab", "NVARCHAR"), ("nvl(to_nchar('a'), 'b')", "a", "NVARCHAR"), ("case when 1 = 1 then 'a' else n'ก' end", "a", "NVARCHAR"),
        ("substr(n'abc', 2)", "bc", "NVARCHAR"), ("upper(n'ab')", "AB", "NCHAR"), ("trim(n' ab ')", "ab", "NVARCHAR"), ("to_char(n'ก')", "ก", "VARCHAR"), ("cast('ab' as nvarchar2(1))", "a", "NVARCHAR"),
        ("cast(n'ก' as varchar2(3))", "ก", "VARCHAR"), ("cast('ab' as char(4))", "ab  ", "CHAR"), ("cast(n'😀' as nchar(3))", None, ""), ("length(n'😀')", 2, "NUMBER"), ("length('😀')", 1, "NUMBER"),
        ("substr(n'😀a', 2)", None, ""), ("cast('กข' as varchar2(4))", None, ""), ("cast(12345 as varchar2(3))", None, ""), ("nq'[it's]'", "it's", "NCHAR"),
        ("cast('ก' as varchar2(1 char))", "ก", "VARCHAR"), ("to_nchar(5)", "5", "NVARCHAR"), ("lpad(n'a', 3, '-')", "--a", "NVARCHAR"), ("replace(n'ab', 'b', 'c')", "ac", "NVARCHAR"),
    ],
)  # fmt: skip
def test_national_texts_in_expressions(cursor, expression, expected, kind):
    if expected is None:
        with pytest.raises(oracledb.DatabaseError, match="ORA-03001"):
            cursor.execute(f"select {expression} from dual").fetchall()
        return
    assert cursor.execute(f"select {expression} from dual").fetchone()[0] == expected
    assert cursor.description[0][1].name == f"DB_TYPE_{kind}"


def test_national_texts_are_ordered_by_utf_16_units_and_others_by_code_points(table, cursor, one):
    name = table("n nvarchar2(5), v varchar2(8)")
    cursor.executemany(
        f"insert into {name} values (:1, :2)", [[text, text] for text in ("a", "😀", "\ufffd")]
    )
    assert [row[0] for row in cursor.execute(f"select n from {name} order by n")] == ["a", "😀", "\ufffd"]
    assert [row[0] for row in cursor.execute(f"select v from {name} order by v")] == ["a", "\ufffd", "😀"]
    assert [row[0] for row in cursor.execute(f"select distinct n from {name} order by n desc")] == [
        "\ufffd",
        "😀",
        "a",
    ]
    assert [
        row[0] for row in cursor.execute(f"select n from {name} union select n from {name} order by n")
    ] == ["a", "😀", "\ufffd"]
    assert one(f"select distinct max(n) over (partition by 1) from {name}") == "\ufffd"
    assert one(f"select max(n), max(v), min(n) from {name}") == ("\ufffd", "😀", "a")
    assert one(f"select count(*) from {name} where n > n'😀'") == 1
    assert one(f"select count(*) from {name} where v > '\ufffd'") == 1


def test_nchar_is_padded_and_compared_as_char_is(table, cursor, one):
    name = table("n nchar(3), c char(3), v nvarchar2(3)")
    cursor.execute(f"insert into {name} values ('a', 'a', 'a')")
    assert one(f"select n, length(n) from {name}") == ("a  ", 3)
    assert one(f"select count(*) from {name} where n = n'a' and n = 'a' and n = c") == 1
    assert one(f"select count(*) from {name} where n = v") == 0


@pytest.mark.parametrize(
    "declared", ["varchar2(5)", "char(5)", "nvarchar2(5)", "nchar(5)", "clob", "nclob", "raw(5)"]
)
def test_nothing_is_null_in_every_type(table, cursor, one, declared):
    name = table(f"v {declared}")
    cursor.execute(f"insert into {name} values ('')")
    cursor.execute(f"insert into {name} values (:1)", [""])
    cursor.execute(f"insert into {name} values (:1)", [b"" if declared.startswith("raw") else ""])
    if not declared.startswith("raw"):
        cursor.setinputsizes(oracledb.DB_TYPE_NVARCHAR)
        cursor.execute(f"insert into {name} values (:1)", [""])
        cursor.execute(f"insert into {name} values (n'')")
    assert one(f"select count(*), count(v) from {name}") == ((3, 0) if declared.startswith("raw") else (5, 0))


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)


@given(st.lists(st.tuples(texts, st.binary(min_size=1, max_size=100)), min_size=1, max_size=50))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_and_any_bytes_survive_a_table(cursor, values):
    cursor.execute("create table anytext (id number, v varchar2(80), n nvarchar2(40), r raw(100))")
    try:
        rows = [(i, text, text, raw) for i, (text, raw) in enumerate(values)]
        cursor.setinputsizes(None, None, oracledb.DB_TYPE_NVARCHAR, None)
        cursor.executemany("insert into anytext values (:1, :2, :3, :4)", rows)
        assert cursor.execute("select * from anytext order by id").fetchall() == rows
        assert [row[0] for row in cursor.execute("select r from anytext order by r")] == sorted(
            row[3] for row in rows
        )
        by_units = sorted((row[1] for row in rows), key=lambda text: text.encode("utf-16-be"))
        assert [row[0] for row in cursor.execute("select n from anytext order by n")] == by_units
    finally:
        cursor.execute("drop table anytext")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("hextoraw('0aFF')", b"\x0a\xff"), ("hextoraw('A')", b"\x0a"), ("rawtohex(hextoraw('0aff'))", "0AFF"), ("length(hextoraw('0aff'))", 4), ("utl_raw.length(hextoraw('0aff'))", 2),
        ("utl_raw.cast_to_raw('ก')", "ก".encode()), ("utl_raw.cast_to_raw(n'ก')", "ก".encode("utf-16-be")), ("'x' || hextoraw('ab')", "xAB"), ("nvl(hextoraw(null), hextoraw('01'))", b"\x01"),
        ("cast('ABCD' as raw(1))", b"\xab"), ("decode(hextoraw('ab'), hextoraw('AB'), 1)", 1), ("case when hextoraw('ab') > hextoraw('aa00') then 1 end", 1),
    ],
)  # fmt: skip
def test_raw_in_expressions(one, expression, expected):
    assert one(f"select {expression} from dual") == expected


def test_raw_is_stored_from_hexadecimal_text_and_checked(table, cursor, one):
    name = table("r raw(2), s varchar2(4)")
    cursor.execute(f"insert into {name} values ('0a', hextoraw('ff'))")
    assert one(f"select r, s from {name}") == (b"\x0a", "FF")
    assert one(f"select count(*) from {name} where r = '0A'") == 1
    assert one(f"select count(*) from {name} where r = :1", "0a") == 1
    for values, code in (("'xyz', ''", 1465), ("'010203', ''", 12899), ("1, ''", 932), ("sysdate, ''", 932)):
        with pytest.raises(oracledb.DatabaseError) as caught:
            cursor.execute(f"insert into {name} values ({values})")
        assert caught.value.args[0].code == code
    with pytest.raises(oracledb.DatabaseError, match="ORA-03001"):
        cursor.execute(f"select 1 from {name} where r = s")


def test_a_rowid_leads_to_its_row_as_long_as_the_row_lives(table, cursor, one):
    name = table("id number primary key, s varchar2(10)")
    cursor.executemany(f"insert into {name} values (:1, :2)", [(n, str(n)) for n in range(1000)])
    places = dict(cursor.execute(f"select id, rowid from {name}").fetchall())
    assert cursor.execute(f"select rowid from {name} where id = 1").fetchone() == (places[1],)
    assert cursor.description[0][1] == oracledb.DB_TYPE_ROWID
    assert len(set(places.values())) == 1000
    assert {len(place) for place in places.values()} == {18}
    cursor.execute(f"delete from {name} where mod(id, 2) = 0")
    cursor.execute(f"update {name} set id = id + 10000, s = 'moved' where id > 500")
    cursor.connection.commit()
    assert one(f"select id, s from {name} where rowid = :1", places[501]) == (10501, "moved")
    assert one(f"select t.id from {name} t where t.rowid = chartorowid(:1)", places[1]) == 1
    assert one(f"select count(*) from {name} where rowid in (:1, :2)", places[2], places[3]) == 1
    cursor.execute(f"update {name} set s = 'by rowid' where rowid = :1", [places[3]])
    assert one(f"select id from {name} where s = 'by rowid'") == 3
    cursor.execute(f"delete from {name} where rowid = :1", [places[3]])
    assert cursor.rowcount == 1
    assert one(f"select rowidtochar(rowid) from {name} where id = 1") == places[1]
    assert one(f"select max(rowid) from {name} where id = 1") == places[1]


def test_rowids_belong_to_one_table_and_can_be_kept_in_a_column(table, cursor, one):
    left, right, kept = table("id number"), table("id number"), table("r rowid")
    for name in (left, right):
        cursor.execute(f"insert into {name} values (1)")
    assert one(f"select count(*) from {left} l join {right} r on l.rowid = r.rowid") == 0
    cursor.execute(f"insert into {kept} select rowid from {left}")
    cursor.execute(f"insert into {kept} values (:1)", [one(f"select rowid from {right}")])
    assert one(f"select count(*) from {kept} k join {left} l on k.r = l.rowid") == 1
    assert one(f"select count(*) from {left} where rowid = (select min(r) from {kept})") + one(
        f"select count(*) from {right} where rowid = (select min(r) from {kept})") == 1  # fmt: skip
    assert (
        one(f"select count(*) from {left} l left join {right} r on l.id = r.id + 1 where r.rowid is null")
        == 1
    )
    assert one(f"select rownum, rowid from {left}")[1] == one(f"select rowid from {left}")


@pytest.mark.parametrize(
    ("sql", "code"),
    [("select 1 from {} where rowid = 'nonsense'", 1410), ("select rowid from dual", 3001), ("select rowid from (select id from {})", 3001), ("select chartorowid('x') from dual", 1410),
     ("select 1 from {} where rowid = 1", 932)],
)  # fmt: skip
def test_what_is_no_rowid_is_refused(table, cursor, sql, code):
    name = table("id number")
    cursor.execute(f"insert into {name} values (1)")
    cursor.connection.commit()
    with pytest.raises(oracledb.DatabaseError) as caught:
        cursor.execute(sql.replace("{}", name)).fetchall()
    assert caught.value.args[0].code == code
