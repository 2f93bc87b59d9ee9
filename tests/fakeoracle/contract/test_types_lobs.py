"""CLOB, NCLOB and BLOB: fetched as whole values, changed by ordinary binds, never compared."""

import oracledb
import pyarrow as pa
import pytest

MEGABYTE = 1024 * 1024


@pytest.fixture(autouse=True)
def lobs_as_values():
    oracledb.defaults.fetch_lobs = False
    yield
    oracledb.defaults.fetch_lobs = True


@pytest.fixture
def notes(table, cursor):
    name = table("id number(5), c clob, n nclob, b blob")
    cursor.executemany(
        f"insert into {name} values (:1, :2, :3, :4)",
        [
            (1, "short", "สั้น", b"\x01\x02"),
            (2, "x" * 40_000, "😀" * 5000, bytes(70_000)),
            (3, None, None, None),
        ],
    )
    return name


@pytest.mark.parametrize(("column", "value"), [
    ("clob", "ก" * MEGABYTE + "end"), ("nclob", "😀" * MEGABYTE + "end"), ("blob", bytes(range(256)) * 4 * 4096),
])  # fmt: skip
def test_values_of_several_megabytes_travel_both_ways(table, cursor, connection, one, column, value):
    name = table(f"id number, v {column}")
    cursor.execute(f"insert into {name} values (1, :1)", [value])
    assert one(f"select v from {name}") == value
    assert one(f"select length(v) from {name}") == (
        len(value.encode("utf-16-be")) // 2 if column == "nclob" else len(value)
    )
    assert pa.table(connection.fetch_df_all(f"select v from {name}"))["V"].to_pylist() == [value]


def test_rows_arrive_in_order_whatever_the_array_size(notes, cursor):
    for arraysize, prefetch in ((1, 0), (2, 2), (100, 100)):
        cursor.arraysize, cursor.prefetchrows = arraysize, prefetch
        rows = cursor.execute(f"select id, c, n, b from {notes} order by id").fetchall()
        assert [row[0] for row in rows] == [1, 2, 3]
        assert rows[0][1:] == ("short", "สั้น", b"\x01\x02")
        assert rows[1][1:] == ("x" * 40_000, "😀" * 5000, bytes(70_000))
        assert rows[2][1:] == (None, None, None)


def test_data_frames_begin_with_an_empty_one_and_hold_every_row(notes, connection):
    frames = [pa.table(f) for f in connection.fetch_df_batches(f"select * from {notes} order by id", size=2)]
    assert [frame.num_rows for frame in frames] == [0, 2, 1]
    assert pa.concat_tables(frames)["C"].to_pylist() == ["short", "x" * 40_000, None]
    assert pa.concat_tables(frames)["N"].to_pylist() == ["สั้น", "😀" * 5000, None]


def test_a_statement_is_run_again_with_other_binds(notes, cursor):
    for wanted, expected in ((1, "short"), (2, "x" * 40_000), (3, None), (1, "short")):
        assert cursor.execute(f"select c from {notes} where id = :1", [wanted]).fetchall() == [(expected,)]


def test_lobs_are_fetched_beside_a_rowid_and_every_other_kind_of_column(notes, cursor):
    cursor.execute(f"select rowid, c, id, sysdate, 1.5d, hextoraw('ab'), null, b from {notes} where id = 1")
    row = cursor.fetchone()
    assert (row[1], row[2], row[4:]) == ("short", 1, (1.5, b"\xab", None, b"\x01\x02"))


def test_a_fetch_that_needs_locators_says_what_to_set(notes, cursor):
    oracledb.defaults.fetch_lobs = True
    with pytest.raises(oracledb.DatabaseError, match=r"ORA-03001.*set oracledb.defaults.fetch_lobs = False"):
        cursor.execute(f"select c from {notes}")
    assert cursor.execute(f"select count(*) from {notes}").fetchone() == (3,)


def test_a_temporary_lob_is_refused_and_says_what_to_do(notes, cursor, connection):
    with pytest.raises(oracledb.DatabaseError, match=r"ORA-03001.*LOB locators \(bind str or bytes"):
        connection.createlob(oracledb.DB_TYPE_BLOB)
    assert cursor.execute(f"select count(*) from {notes}").fetchone() == (3,)


@pytest.mark.parametrize("value", ["kept", None, "x" * 40_000])
def test_binds_declared_as_clob_need_no_locator(notes, cursor, one, value):
    cursor.setinputsizes(oracledb.DB_TYPE_CLOB)
    cursor.execute(f"update {notes} set c = :1 where id = 2", [value])
    assert one(f"select c from {notes} where id = 2") == value


def test_an_empty_lob_is_not_null_though_the_driver_shows_none(notes, cursor, one):
    cursor.execute(f"insert into {notes} values (4, empty_clob(), empty_clob(), empty_blob())")
    assert one(f"select count(*) from {notes} where c is null") == 1
    assert one(
        f"select length(c), length(n), length(b), dbms_lob.getlength(c) from {notes} where id = 4"
    ) == (0, 0, 0, 0)
    assert one(f"select c, b from {notes} where id = 4") == (None, None)
    cursor.execute(f"update {notes} set c = '' where id = 4")
    assert one(f"select count(*) from {notes} where c is null") == 2


def test_long_binds_change_and_search_nothing_but_lobs(notes, cursor, one):
    cursor.execute(f"update {notes} set c = :1, b = :2 where id = :3", ["y" * 50_000, b"z" * 50_000, 1])
    assert one(f"select c, b from {notes} where id = 1") == ("y" * 50_000, b"z" * 50_000)
    with pytest.raises(oracledb.DatabaseError, match="ORA-00932"):
        cursor.execute(f"select id from {notes} where c = :1", ["y" * 50_000])


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("substr(c, 2, 3)", "hor"), ("dbms_lob.substr(c, 2, 4)", "rt"), ("dbms_lob.substr(c)", "short"), ("dbms_lob.substr(c, 2, 99)", None),
        ("dbms_lob.substr(b, 1, 2)", b"\x02"), ("dbms_lob.getlength(n)", 4), ("length(b)", 2), ("instr(c, 'o')", 3), ("to_char(c)", "short"),
        ("c || '!' || id", "short!1"), ("nvl(c, 'none')", "short"), ("nvl(null, c)", "short"), ("cast(c as varchar2(3))", "sho"),
        ("case when c like 'sh%' then 'yes' end", "yes"), ("case when c is not null then c end", "short"), ("to_clob(id)", "1"),
        ("to_nclob('ก')", "ก"), ("to_blob(hextoraw('ff'))", b"\xff"), ("to_char(n)", "สั้น"),
    ],
)  # fmt: skip
def test_functions_of_lobs(notes, one, expression, expected):
    assert one(f"select {expression} from {notes} where id = 1") == expected


@pytest.mark.parametrize(
    "sql",
    ["select id from {} where c = 'short'", "select id from {} where c in ('a', 'b')", "select id from {} order by c", "select distinct c from {}",
     "select c, count(*) from {} group by c", "select max(c) from {}", "select c from {} union select c from {}", "select count(distinct b) from {}",
     "select id from {} where c between 'a' and 'b'", "select greatest(c, c) from {}", "select decode(c, 'a', 1) from {}",
     "select row_number() over (order by c) from {}", "select count(*) over (partition by c) from {}", "select id from {} where b = hextoraw('01')"],
)  # fmt: skip
def test_lobs_are_not_compared_or_sorted(notes, cursor, sql):
    cursor.connection.commit()
    with pytest.raises(oracledb.DatabaseError, match="ORA-00932: inconsistent datatypes: expected - got"):
        cursor.execute(sql.replace("{}", notes))


def test_a_long_clob_becomes_no_text(notes, cursor):
    cursor.connection.commit()
    message = r"ORA-22835: Buffer too small for CLOB to CHAR or BLOB to RAW conversion \(actual: 40000, maximum: 4000\)"
    with pytest.raises(oracledb.DatabaseError, match=message):
        cursor.execute(f"select to_char(c) from {notes} where id = 2").fetchall()
    assert (
        len(cursor.execute(f"select dbms_lob.substr(c, 4000) from {notes} where id = 2").fetchone()[0])
        == 4000
    )


def test_positions_among_characters_that_count_twice_are_refused(notes, cursor, one):
    cursor.execute(f"update {notes} set c = :1 where id = 1", ["a😀b"])
    cursor.connection.commit()
    assert one(f"select c, dbms_lob.getlength(n) from {notes} where id = 2") == ("x" * 40_000, 10_000)
    for expression in (
        "length(c)",
        "dbms_lob.getlength(c)",
        "substr(c, 2)",
        "dbms_lob.substr(c, 1, 3)",
        "instr(c, 'b')",
    ):
        with pytest.raises(oracledb.DatabaseError, match=r"ORA-03001.*beyond U\+FFFF"):
            cursor.execute(f"select {expression} from {notes} where id = 1").fetchall()


def test_a_long_text_does_not_fit_a_short_column(table, cursor):
    name = table("s varchar2(10), r raw(10)")
    for column, value in (("s", "x" * 40_000), ("r", b"x" * 40_000)):
        with pytest.raises(oracledb.DatabaseError, match="ORA-12899"):
            cursor.execute(f"insert into {name} ({column}) values (:1)", [value])


def test_many_small_lobs_are_inserted_and_read_in_batches(table, cursor, connection):
    name = table("id number(10), c clob")
    rows = [(n, f"note {n} " + "x" * (n % 500)) for n in range(5000)]
    cursor.executemany(f"insert into {name} values (:1, :2)", rows)
    connection.commit()
    frames = connection.fetch_df_batches(f"select id, c from {name} order by id", size=1000)
    texts = [text for frame in frames for text in pa.table(frame)["C"].to_pylist()]
    assert texts == [row[1] for row in rows]
