"""Filling a new database from files."""

# ruff: noqa: DTZ001 - DATE and TIMESTAMP have no time zone
import contextlib
import datetime
from decimal import Decimal

import oracledb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fakeoracle import serve

SCHEMA = """
-- products; a comment with a ; in it
create table products (
    id number(10) primary key, /* the key; */
    name varchar2(40) not null,
    price number(10,2),
    weight number,
    made date,
    seen timestamp(6)
);

insert into products (id, name) values (1, 'semi;colon -- kept')
/
insert into products (id, name, price)
values (2, 'half', 10 / 4)
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "schema.sql").write_text(SCHEMA)
    (tmp_path / "data").mkdir()
    return tmp_path


@contextlib.contextmanager
def filled(files, path=None):
    with (
        serve(path, schema=files / "schema.sql", data=files / "data") as server,
        oracledb.connect(user="tms", password="secret", dsn=server.dsn) as connection,
    ):
        yield server, connection.cursor()


CSV = """id,"NAME",price,weight,made,seen
10,plain,1.50,123456789012345678901234567890.12345,2024-02-29,2024-02-29 12:34:56.789012
11,"quoted, with ""quotes""
and a line",,,,
12,ชื่อ,-0.01,1e-30,2024-03-01T10:00:00,2024-03-01
"""


def test_statements_and_tables_are_loaded_exactly(files):
    (files / "data" / "products.csv").write_text(CSV, encoding="utf-8-sig")
    with filled(files) as (server, cursor):
        assert server.loaded
        rows = cursor.execute("select * from products order by id").fetchall()
    assert rows[0][:3] == (1, "semi;colon -- kept", None)
    assert rows[1][:3] == (2, "half", Decimal("2.5"))
    leap, weight = datetime.datetime(2024, 2, 29), Decimal("123456789012345678901234567890.12345")
    assert rows[2] == (
        10,
        "plain",
        Decimal("1.5"),
        weight,
        leap,
        datetime.datetime(2024, 2, 29, 12, 34, 56, 789012),
    )
    assert rows[3] == (11, 'quoted, with "quotes"\nand a line', None, None, None, None)
    assert rows[4][:4] == (12, "ชื่อ", Decimal("-0.01"), Decimal("1e-30"))
    assert rows[4][4:] == (datetime.datetime(2024, 3, 1, 10), datetime.datetime(2024, 3, 1))


def test_parquet_is_loaded_too(files):
    table = pa.table(
        {
            "ID": pa.array([20, 21], pa.int64()),
            "NAME": ["a", "b"],
            "PRICE": pa.array([Decimal("1.25"), None], pa.decimal128(10, 2)),
            "MADE": pa.array([datetime.date(2024, 2, 29), None]),
        }
    )
    pq.write_table(table, files / "data" / "PRODUCTS.parquet")
    with filled(files) as (_, cursor):
        rows = cursor.execute("select id, name, price, made from products where id >= 20 order by id")
        assert rows.fetchall() == [
            (20, "a", Decimal("1.25"), datetime.datetime(2024, 2, 29)),
            (21, "b", None, None),
        ]


def test_a_database_that_has_tables_is_left_as_it_is(files):
    (files / "data" / "products.csv").write_text(CSV)
    for loaded in (True, False):
        with filled(files, files / "x.duckdb") as (server, cursor):
            assert server.loaded is loaded
            assert cursor.execute("select count(*) from products").fetchone() == (5,)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("x,n,,,,", r"products.csv, line 2: 'x' is no NUMBER\(10,0\) for column ID"),
        ("1_0,n,,,,", "line 2: '1_0' is no NUMBER"),
        ("NaN,n,,,,", "line 2: 'NaN' is no NUMBER"),
        ("1,n,1.234e999,,,", "line 2: .*price|PRICE"),
        ("5,,,,,", 'line 2: ORA-01400: cannot insert NULL into .*"NAME"'),
        (f"5,{'x' * 41},,,,", "line 2: ORA-12899"),
        ("5,n,123456789.99,,,", "line 2: ORA-01438"),
        ("1,again,,,,", "line 2: ORA-00001"),
        ("5,n,,,2024-02-30,", "line 2: '2024-02-30' is no DATE for column MADE"),
        ("5,n,,,2024-02-28T10:00:00.5,", "line 2: .* no fraction"),
        ("5,n", "line 2: 2 values for 6 columns"),
        ('5,"n', "line 2: unexpected end of data"),
    ],
)
def test_a_bad_row_is_named_with_file_and_line_and_nothing_stays(files, line, complaint):
    header = "id,name,price,weight,made,seen\n"
    (files / "data" / "products.csv").write_text(f"{header}{line}\n")
    database = files / "x.duckdb"
    with pytest.raises(ValueError, match=complaint), filled(files, database):
        pass
    (files / "data" / "products.csv").write_text(f"{header}3,good,,,,\n")
    with filled(files, database) as (server, cursor):
        assert server.loaded
        assert cursor.execute("select count(*) from products").fetchone() == (3,)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("create table t (a number);\n\ninsert into t values ('x');", "schema.sql, line 3: ORA-01722"),
        ("create table t (\n a number,\n b nosuch);", "schema.sql, line 1: ORA-03001.*NOSUCH"),
        (
            "create table t (a number);\ninsert into t\n  values (nosuch)",
            "line 3: ORA-00984|line 3: ORA-00904",
        ),
        ("create table t (a number);\n\ninsert into t values ('x);", "line 3: ORA-01756"),
    ],
)
def test_a_bad_statement_is_named_with_file_line_and_number(files, text, complaint):
    (files / "schema.sql").write_text(text)
    with pytest.raises(ValueError, match=complaint), filled(files):
        pass


@pytest.mark.parametrize(
    ("name", "header", "complaint"),
    [
        ("nosuch.csv", "id", "nosuch.csv, line 1: ORA-00942"),
        ("products.csv", "id,nam", 'products.csv, line 1: ORA-00904: "NAM"'),
    ],
)
def test_files_that_fit_no_table_are_refused(files, name, header, complaint):
    (files / "data" / name).write_text(f"{header}\n1,2\n")
    with pytest.raises(ValueError, match=complaint), filled(files):
        pass


def test_an_empty_folder_is_a_mistake(files):
    with pytest.raises(ValueError, match=r"there is no .csv or .parquet file"), filled(files):
        pass
