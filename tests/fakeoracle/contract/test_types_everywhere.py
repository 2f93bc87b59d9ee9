"""Every column type through everything a table goes through: DDL, dictionary, binds, both ways of fetching, a restart."""

import dataclasses
import datetime
from decimal import Decimal
from typing import Any

import oracledb
import pyarrow as pa
import pytest

from fakeoracle import serve

D = datetime.datetime
DB = oracledb


@dataclasses.dataclass(frozen=True)
class Case:
    """A type: how it is declared, described and listed; values in ascending order; how they are bound; their Arrow type."""

    declared: str
    described: tuple[str, Any, Any, Any, Any]  # type, display size left out: internal size, precision, scale
    listed: tuple[Any, ...]  # DATA_TYPE, DATA_LENGTH, DATA_PRECISION, DATA_SCALE, CHAR_LENGTH, CHAR_USED
    values: tuple[Any, ...]
    arrow: pa.DataType
    bind: Any = None


def number(declared, precision, scale, listed, values, arrow=None):
    described = ("DB_TYPE_NUMBER", None, precision, scale)
    return Case(
        declared,
        described,
        ("NUMBER", 22, *listed, 0, None),
        tuple(map(Decimal, values)),
        arrow or pa.float64(),
    )


def real(declared, bits, values):
    return Case(
        declared,
        ("DB_TYPE_NUMBER", None, bits, -127),
        ("FLOAT", 22, bits, None, 0, None),
        tuple(map(Decimal, values)),
        pa.float64(),
    )


def text(declared, name, size, listed, values, bind=None):
    return Case(declared, (name, size, None, None), listed, values, pa.large_string(), bind)


def moment(declared, name, listed, values, scale, arrow, bind):
    precision = 0 if scale else None  # the driver shows neither where both are 0
    return Case(declared, (name, None, precision, scale or None), (*listed, 0, None), values, arrow, bind)


CASES = [
    number("number", 0, -127, (None, None), ("-1e125", "-0.1", "1e-130", "1234567890123456789012345678901234567890")),
    number("number(*)", 0, -127, (None, None), ("-1", "0", "0.5")),
    number("number(5)", 5, 0, (5, 0), ("-99999", "0", "99999"), pa.int64()),
    number("number(18)", 18, 0, (18, 0), ("-999999999999999999", "1"), pa.int64()),
    number("number(38)", 38, 0, (38, 0), ("-" + "9" * 38, "1", "9" * 38)),
    number("number(38,10)", 38, 10, (38, 10), ("-1.0000000001", "9999999999999999999999999999.9999999999")),
    number("number(16,2)", 16, 2, (16, 2), ("-0.01", "0", "99999999999999.99")),
    number("number(3,5)", 3, 5, (3, 5), ("-0.00999", "0.00001", "0.00123")),
    number("number(5,-2)", 5, -2, (5, -2), ("-9999900", "100", "12300")),
    number("number(38,127)", 38, 127, (38, 127), ("-1e-90", "1.5e-126", "1e-90")),
    number("number(20,-84)", 20, -84, (20, -84), ("-1e84", "0", "5e100")),
    number("number(*,3)", 38, 3, (None, 3), ("-0.001", "12345.678")),
    number("integer", 38, 0, (None, 0), ("-5", "9" * 38)),
    number("smallint", 38, 0, (None, 0), ("1", "2")),
    number("decimal", 38, 0, (None, 0), ("1", "2")),
    number("numeric(7,3)", 7, 3, (7, 3), ("-1234.567", "0.001")),
    real("float", 126, ("-1.5", "0", "12345678901234567890123456789012345678")),
    real("float(10)", 10, ("-1.5", "1230", "1240")),
    real("real", 63, ("0.1234567890123456789", "2")),
    real("double precision", 126, ("0.1", "2")),
    Case("binary_float", ("DB_TYPE_BINARY_FLOAT", None, None, None), ("BINARY_FLOAT", 4, None, None, 0, None),
         (float("-inf"), -1.5, 0.0, 2.0**-149, 0.5, float("inf")), pa.float32(), DB.DB_TYPE_BINARY_FLOAT),
    Case("binary_double", ("DB_TYPE_BINARY_DOUBLE", None, None, None), ("BINARY_DOUBLE", 8, None, None, 0, None),
         (float("-inf"), -1e308, 0.0, 5e-324, 0.1, float("inf")), pa.float64(), DB.DB_TYPE_BINARY_DOUBLE),
    text("varchar2(10)", "DB_TYPE_VARCHAR", 10, ("VARCHAR2", 10, None, None, 10, "B"), ("A", "a", "ก", "😀")),
    text("varchar2(10 char)", "DB_TYPE_VARCHAR", 40, ("VARCHAR2", 40, None, None, 10, "C"), ("a", "กขคงจฉชซฌญ")),
    text("varchar2(4000 char)", "DB_TYPE_VARCHAR", 4000, ("VARCHAR2", 4000, None, None, 4000, "C"), ("x" * 4000,)),
    text("varchar(7 byte)", "DB_TYPE_VARCHAR", 7, ("VARCHAR2", 7, None, None, 7, "B"), ("1234567",)),
    text("char(4)", "DB_TYPE_CHAR", 4, ("CHAR", 4, None, None, 4, "B"), ("ab  ", "abc ")),
    text("char", "DB_TYPE_CHAR", 1, ("CHAR", 1, None, None, 1, "B"), ("x", "y")),
    text("char(3 char)", "DB_TYPE_CHAR", 12, ("CHAR", 12, None, None, 3, "C"), ("กข ", "กขค")),
    text("nvarchar2(4)", "DB_TYPE_NVARCHAR", 8, ("NVARCHAR2", 8, None, None, 4, "C"), ("a", "กขคง", "😀😀", "\uffee"), DB.DB_TYPE_NVARCHAR),
    text("nvarchar2(2000)", "DB_TYPE_NVARCHAR", 4000, ("NVARCHAR2", 4000, None, None, 2000, "C"), ("ก" * 2000,), DB.DB_TYPE_NVARCHAR),
    text("nchar(3)", "DB_TYPE_NCHAR", 6, ("NCHAR", 6, None, None, 3, "C"), ("a  ", "😀 "), DB.DB_TYPE_NCHAR),
    Case("raw(4)", ("DB_TYPE_RAW", 4, None, None), ("RAW", 4, None, None, 0, None), (b"\x00", b"\x00\xff", b"\x01", b"\xff\xff\xff\xff"),
         pa.large_binary(), DB.DB_TYPE_RAW),
    Case("raw(2000)", ("DB_TYPE_RAW", 2000, None, None), ("RAW", 2000, None, None, 0, None), (b"\xaa" * 2000,), pa.large_binary(), DB.DB_TYPE_RAW),
    moment("date", "DB_TYPE_DATE", ("DATE", 7, None, None), (D(1, 1, 1), D(1969, 12, 31, 23, 59, 59), D(9999, 12, 31, 23, 59, 59)),
           None, pa.timestamp("s"), DB.DB_TYPE_DATE),
    moment("timestamp(0)", "DB_TYPE_TIMESTAMP", ("TIMESTAMP(0)", 7, None, 0), (D(1, 1, 1), D(2024, 2, 29, 1, 2, 3)), 0, pa.timestamp("s"), DB.DB_TYPE_TIMESTAMP),
    *(moment(f"timestamp({n})", "DB_TYPE_TIMESTAMP", (f"TIMESTAMP({n})", 11, None, n), (D(1, 1, 1), D(2024, 2, 29, 1, 2, 3, us), D(9999, 12, 31, 23, 59, 59)),
             n, pa.timestamp(unit), DB.DB_TYPE_TIMESTAMP)
      for n, us, unit in ((1, 100_000, "ms"), (3, 123_000, "ms"), (5, 123_450, "us"), (6, 123_456, "us"))),
    *(moment(f"timestamp({n})", "DB_TYPE_TIMESTAMP", (f"TIMESTAMP({n})", 11, None, n), (D(1700, 1, 1), D(2024, 2, 29, 1, 2, 3, 123_456), D(2200, 12, 31, 23, 59, 59)),
             n, pa.timestamp("ns"), DB.DB_TYPE_TIMESTAMP)
      for n in (7, 8, 9)),
    moment("timestamp", "DB_TYPE_TIMESTAMP", ("TIMESTAMP(6)", 11, None, 6), (D(2024, 1, 1),), 6, pa.timestamp("us"), DB.DB_TYPE_TIMESTAMP),
    moment("timestamp with time zone", "DB_TYPE_TIMESTAMP_TZ", ("TIMESTAMP(6) WITH TIME ZONE", 13, None, 6), (D(1, 1, 2), D(2024, 2, 29, 1, 2, 3, 123_456), D(9999, 12, 30)),
           6, pa.timestamp("us"), DB.DB_TYPE_TIMESTAMP_TZ),
    moment("timestamp(3) with time zone", "DB_TYPE_TIMESTAMP_TZ", ("TIMESTAMP(3) WITH TIME ZONE", 13, None, 3), (D(2024, 2, 29, 1, 2, 3, 123_000),),
           3, pa.timestamp("ms"), DB.DB_TYPE_TIMESTAMP_TZ),
    moment("timestamp(2) with local time zone", "DB_TYPE_TIMESTAMP_LTZ", ("TIMESTAMP(2) WITH LOCAL TIME ZONE", 11, None, 2), (D(1, 1, 1), D(2024, 2, 29, 1, 2, 3, 120_000)),
           2, pa.timestamp("ms"), DB.DB_TYPE_TIMESTAMP_LTZ),
]  # fmt: skip
LOBS = [
    Case("clob", ("DB_TYPE_LONG", None, None, None), ("CLOB", 4000, None, None, 0, None), ("a", "ก" * 3000, "😀" * 20_000), pa.large_string()),
    Case("nclob", ("DB_TYPE_LONG_NVARCHAR", None, None, None), ("NCLOB", 4000, None, None, 0, None), ("a", "ก" * 3000, "😀" * 20_000), pa.large_string()),
    Case("blob", ("DB_TYPE_LONG_RAW", None, None, None), ("BLOB", 4000, None, None, 0, None), (b"\x00", b"\xff" * 5000, bytes(range(256)) * 300), pa.large_binary()),
]  # fmt: skip
EVERY = [*CASES, *LOBS]


def named(case):
    return case.declared


every_type = pytest.mark.parametrize("case", EVERY, ids=named)
comparable_types = pytest.mark.parametrize("case", CASES, ids=named)


@pytest.fixture(autouse=True)
def lobs_as_values():
    oracledb.defaults.fetch_lobs = False
    yield
    oracledb.defaults.fetch_lobs = True


@pytest.fixture
def filled(table, cursor):
    def fill(case):
        name = table(f"id number(5), v {case.declared}")
        if case.bind:
            cursor.setinputsizes(None, case.bind)
        rows = [(n, value) for n, value in enumerate(case.values)]
        cursor.executemany(f"insert into {name} values (:1, :2)", [*rows, (None, None)])
        return name

    return fill


@every_type
def test_values_come_back_row_by_row_and_as_a_data_frame(filled, cursor, connection, case):
    name = filled(case)
    rows = [row[0] for row in cursor.execute(f"select v from {name} order by id")]
    assert rows == [*case.values, None]
    assert list(map(type, rows[:-1])) == list(map(type, case.values))
    oracledb.defaults.fetch_decimals = False
    frame = pa.table(connection.fetch_df_all(f"select v from {name} order by id"))
    assert frame.schema.types == [case.arrow]
    got = frame["V"].to_pylist()
    expected = [float(v) if case.arrow == pa.float64() and isinstance(v, Decimal) else v for v in case.values]
    if case.arrow == pa.timestamp("ns"):
        got = [None if value is None else value.to_pydatetime() for value in got]
    assert got == [*expected, None]


@every_type
def test_an_empty_table_is_described_and_gives_nothing_and_then_nulls(table, cursor, connection, case):
    name = table(f"v {case.declared}")
    cursor.execute(f"select v from {name}")
    column = cursor.description[0]
    assert (column[1].name, *column[3:6]) == case.described
    listed = cursor.execute(
        "select data_type, data_length, data_precision, data_scale, char_length, char_used "
        "from user_tab_columns where table_name = :1",
        [name],
    ).fetchone()
    assert listed == case.listed
    assert cursor.execute(f"select v from {name}").fetchall() == []
    assert [frame.num_rows() for frame in connection.fetch_df_batches(f"select v from {name}", size=10)][
        -1:
    ] == [0]
    cursor.executemany(f"insert into {name} values (:1)", [(None,)] * 3)
    assert cursor.execute(f"select v from {name}").fetchall() == [(None,)] * 3
    assert pa.table(connection.fetch_df_all(f"select v from {name}"))["V"].null_count == 3


@comparable_types
def test_values_are_ordered_grouped_and_compared(filled, cursor, one, case):
    name = filled(case)
    for number, value in enumerate(case.values):
        if case.bind:
            cursor.setinputsizes(case.bind)
        assert cursor.execute(f"select id from {name} where v = :1", [value]).fetchall() == [(number,)]
    ids = [row[0] for row in cursor.execute(f"select id from {name} order by v")]
    assert ids == [*range(len(case.values)), None]
    cursor.execute(f"insert into {name} select * from {name}")
    assert one(f"select min(v), max(v), count(v) from {name}") == (
        case.values[0],
        case.values[-1],
        2 * len(case.values),
    )
    assert one(f"select count(distinct v) from {name}") == len(case.values)
    distinct = cursor.execute(f"select distinct v from {name}").fetchall()
    assert sorted(row[0] for row in distinct if row[0] is not None) == sorted(case.values)
    assert len(distinct) == len(case.values) + 1
    last = f"(select max(v) from {name})"
    assert one(f"select count(*) from {name} where v = {last}") == 2
    assert one(f"select count(*) from {name} where v < {last}") == 2 * len(case.values) - 2
    if "with time zone" not in case.declared:
        groups = cursor.execute(f"select v, count(*) from {name} group by v order by v").fetchall()
        assert groups == [(value, 2) for value in (*case.values, None)]
        assert len(cursor.execute(f"select v from {name} union select v from {name}").fetchall()) == len(
            groups
        )


@every_type
def test_values_are_chosen_copied_updated_and_deleted(filled, cursor, one, case):
    name = filled(case)
    cursor.execute(
        f"select case when id >= 0 then v end, nvl(v, v), decode(id, 0, v, v), nvl2(id, v, null) from {name} where id = 0 "
        f"union all select v, null, v, v from {name} where id = 0"
    )
    value = case.values[0]
    assert cursor.fetchall() == [(value,) * 4, (value, None, value, value)]
    cursor.execute(f"insert into {name} (id, v) select id + 100, v from {name} where id is not null")
    cursor.execute(f"update {name} set v = (select v from {name} where id = 0) where id >= 100")
    assert cursor.rowcount == len(case.values)
    if case.bind:
        cursor.setinputsizes(case.bind)
    cursor.execute(f"update {name} set v = :1 where id = 0", [case.values[-1]])
    assert one(f"select v from {name} where id = 0") == case.values[-1]
    assert one(f"select v from {name} where id = 100") == case.values[0]
    cursor.execute(f"update {name} set v = null where id = 0")
    cursor.execute(f"delete from {name} where v is null")
    assert cursor.rowcount == 2


def test_every_type_survives_a_restart(tmp_path):
    path, users = tmp_path / "types.duckdb", {"TMS": "secret"}
    columns = ", ".join(f"c{n} {case.declared}" for n, case in enumerate(EVERY))
    values = [case.values[-1] for case in EVERY]
    rows, described = [], []
    for run in range(2):
        with (
            serve(path, users) as server,
            oracledb.connect(user="tms", password="secret", dsn=server.dsn) as connection,
        ):
            cursor = connection.cursor()
            if run == 0:
                cursor.execute(f"create table kept ({columns})")
                cursor.setinputsizes(*(case.bind for case in EVERY))
                marks = ", ".join(f":{n}" for n in range(1, len(EVERY) + 1))
                cursor.execute(f"insert into kept values ({marks})", values)
                connection.commit()
            rows.append(cursor.execute("select kept.*, rowid from kept").fetchone())
            described.append(cursor.description)
    assert list(rows[0][:-1]) == values
    assert rows[0] == rows[1]
    assert described[0] == described[1]


def test_a_requested_schema_is_met_by_every_type(cursor, connection, table):
    name = table(
        "a varchar2(5), b nvarchar2(5), c raw(5), d date, e timestamp(9), f timestamp with time zone, g binary_float, h float, i clob"
    )
    day = D(2024, 2, 29)
    cursor.execute(
        f"insert into {name} values ('a', 'ก', 'ff', date '2024-02-29', timestamp '2024-02-29 00:00:00', :1, 1.5, 1.5, 'x')",
        [day],
    )
    schema = pa.schema(
        [("A", pa.string()), ("B", pa.string()), ("C", pa.binary()), ("D", pa.timestamp("us")), ("E", pa.timestamp("us")), ("F", pa.timestamp("ms")),
         ("G", pa.float64()), ("H", pa.decimal128(10, 2)), ("I", pa.string())]
    )  # fmt: skip
    frame = pa.table(connection.fetch_df_all(f"select * from {name}", requested_schema=schema))
    assert frame.schema.types == schema.types
    assert frame.to_pylist() == [
        dict(zip("ABCDEFGHI", ("a", "ก", b"\xff", day, day, day, 1.5, Decimal("1.50"), "x"), strict=True))
    ]


def test_what_is_not_a_type_of_19c_or_not_kept_here_is_refused(cursor):
    for name in (
        "boolean",
        "json",
        "interval day to second",
        "long",
        "long raw",
        "bfile",
        "xmltype",
        "urowid",
        "vector",
    ):
        with pytest.raises(
            oracledb.DatabaseError, match=r"ORA-03001: unimplemented feature \(fakeoracle\): column type"
        ):
            cursor.execute(f"create table nosuch (a {name})")


@pytest.mark.parametrize(
    ("declared", "code"),
    [
        ("number(0)", 1727), ("number(39)", 1727), ("number(5,128)", 1728), ("number(5,-85)", 1728), ("float(127)", 1729),
        ("float(0)", 1729), ("varchar2", 906), ("nvarchar2(2001)", 910), ("nchar(1001)", 910), ("char(2001)", 910),
        ("raw(2001)", 910), ("clob primary key", 2329), ("timestamp with time zone primary key", 2329), ("raw", 906), ("raw(0)", 1723), ("timestamp(10)", 30088), ("nvarchar2(5 char)", 907),
    ],
)  # fmt: skip
def test_declarations_that_oracle_does_not_take_get_its_number(cursor, declared, code):
    with pytest.raises(oracledb.DatabaseError) as caught:
        cursor.execute(f"create table nosuch (a {declared})")
    assert caught.value.args[0].code == code
