"""The source: what each refusal says, and that every value is read exactly or not at all."""

from __future__ import annotations

import datetime as dt
import gc
import json
import socket
import threading
import time
from decimal import Decimal

import oracledb
import pyarrow as pa
import pytest

from fakeoracle import serve
from ora2sf import oracle
from ora2sf.connections import get_connection
from ora2sf.errors import AuthenticationError, ConnectionFieldError, SourceError, SourceUnavailable
from ora2sf.oracle import OracleSource

USER, PASSWORD = "TMS", "s3cret-of-tms"


@pytest.fixture(scope="module")
def server():
    with serve(users={USER: PASSWORD}) as found:
        yield found


@pytest.fixture
def connect(server, monkeypatch):
    """Return a function that opens a source; it is closed at the end."""
    opened = []

    def open_source(**changes):
        fields = {"conn_type": "oracle", "host": server.host, "port": server.port, "schema": "FREEPDB1"}
        fields |= {"login": USER, "password": PASSWORD} | changes
        monkeypatch.setenv("AIRFLOW_CONN_ORACLE_TMS", json.dumps(fields))
        opened.append(OracleSource(get_connection("oracle_tms")))
        return opened[-1]

    yield open_source
    for source in opened:
        source.close()


@pytest.fixture
def source(connect):
    return connect()


@pytest.fixture
def run(server):
    """Return a function that runs statements in a session of their own."""
    with oracledb.connect(user=USER, password=PASSWORD, dsn=server.dsn) as session:

        def statement(sql, rows=None):
            with session.cursor() as cursor:
                cursor.executemany(sql, rows) if rows else cursor.execute(sql)
            session.commit()

        yield statement


@pytest.fixture
def table(run):
    """Return a function that creates the table ``T`` from the text in its brackets."""
    made = []

    def create(columns):
        run(f"create table T ({columns})")
        made.append(columns)

    yield create
    for _ in made:
        run("drop table T purge")


def refusal(kind, call, *given, **named):
    with pytest.raises(kind) as caught:
        call(*given, **named)
    assert PASSWORD not in str(caught.value)
    assert caught.value.next_step
    return caught.value


def read(source, sql, **types):
    schema = pa.schema([pa.field(name, kind) for name, kind in types.items()])
    return [row for part in source.batches(sql, schema) for row in part.to_pylist()]


# signing in


def test_a_session_says_who_is_signed_in_to_what(server, source):
    info = source.info()
    assert (info.user, info.service) == (USER, server.dsn)
    assert info.version


@pytest.mark.parametrize(
    ("field", "words"), [("host", "has no host"), ("login", "has no login"), ("password", "has no password")]
)
def test_a_missing_field_is_named(connect, field, words):
    assert words in refusal(ConnectionFieldError, connect, **{field: ""}).what


def test_a_missing_service_is_named(connect):
    assert "names no service" in refusal(ConnectionFieldError, connect, schema="").what


def test_a_wrong_password_says_so_and_is_not_shown(connect):
    error = refusal(AuthenticationError, connect, password="wrong-one")
    assert "ORA-01017" in error.what
    assert "wrong-one" not in str(error)
    assert "Correct login and password" in error.next_step


def test_a_wrong_service_is_a_matter_of_the_connection(connect):
    error = refusal(ConnectionFieldError, connect, schema="NOPE")
    assert 'Service "NOPE" is not registered' in error.what
    assert "Correct the service name" in error.next_step


def test_a_wrong_sid_is_a_matter_of_the_connection(server, connect):
    address = f"(ADDRESS=(PROTOCOL=tcp)(HOST={server.host})(PORT={server.port}))"
    dsn = f"(DESCRIPTION={address}(CONNECT_DATA=(SID=XX)))"
    assert 'SID "XX"' in refusal(ConnectionFieldError, connect, extra={"dsn": dsn}).what


@pytest.mark.parametrize("dsn", ["(DESCRIPTION=(ADD", "an_alias"])
def test_an_address_that_cannot_be_read_is_a_matter_of_the_connection(connect, dsn):
    assert "Correct dsn" in refusal(ConnectionFieldError, connect, extra={"dsn": dsn}).next_step


def test_a_port_where_nothing_listens_is_reported_at_once(connect):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    begun = time.monotonic()
    error = refusal(SourceUnavailable, connect, port=port)
    assert time.monotonic() - begun < 5
    assert "Connection refused" in error.what
    assert "the address right" in error.next_step


def test_a_host_that_nobody_knows_is_reported_with_its_name(connect):
    error = refusal(SourceUnavailable, connect, host="no-such-host.invalid")
    assert "no-such-host.invalid" in error.what
    assert "Check host" in error.next_step


def test_a_listener_that_takes_nobody_may_take_somebody_later(server, connect):
    server.faults.add("refuse-12528", at="connect")
    try:
        assert "DPY-6000" in refusal(SourceUnavailable, connect).what
    finally:
        server.faults.clear()


# describing


def test_columns_are_described_without_reading_a_row(source, table):
    table("n number, p number(16,2), i number(10), c char(5), v varchar2(30), d date, t timestamp(6)")
    columns = source.describe("select * from T")
    assert {name: column.kind for name, column in columns.items()} == {
        "N": "NUMBER", "P": "NUMBER(16,2)", "I": "NUMBER(10,0)", "C": "CHAR(5)",
        "V": "VARCHAR2(30)", "D": "DATE", "T": "TIMESTAMP(6)",
    }  # fmt: skip
    assert [name for name, column in columns.items() if column.padded] == ["C"]
    assert {name: column.scale for name, column in columns.items()} == {
        "N": None, "P": 2, "I": 0, "C": None, "V": None, "D": None, "T": None,
    }  # fmt: skip


def test_a_number_is_asked_for_with_its_declared_scale_or_the_one_given(source, table):
    table("n number, p number(16,2)")
    columns = source.describe("select * from T")
    assert columns["P"].arrow_type(10) == pa.decimal128(38, 2)
    assert columns["N"].arrow_type(10) == pa.decimal128(38, 10)


@pytest.mark.parametrize(("sql", "words", "step"), [
    ("select * from NOSUCH", "ORA-00942", "table's name"),
    ("select NOSUCH from dual", "ORA-00904", "column's name"),
    ("selec 1 from dual", "ORA-00900", "documentation"),
])  # fmt: skip
def test_what_does_not_exist_is_named_wherever_it_is_met(source, sql, words, step):
    for call in (source.describe, source.count):
        error = refusal(SourceError, call, sql)
        assert words in error.what
        assert step in error.next_step
    error = refusal(SourceError, list, source.batches(sql, pa.schema([("A", pa.large_string())])))
    assert words in error.what


# reading


def test_numbers_are_exact_to_the_last_digit(source, table, run):
    table("n number, p number(16,2)")
    run("insert into T values (9999999999999999999999999999.0123456789, 99999999999999.99)")
    run("insert into T values (-0.1, -0.01)")
    run("insert into T values (null, null)")
    rows = read(source, "select * from T", N=pa.decimal128(38, 10), P=pa.decimal128(38, 2))
    assert rows == [
        {"N": Decimal("9999999999999999999999999999.0123456789"), "P": Decimal("99999999999999.99")},
        {"N": Decimal("-0.1000000000"), "P": Decimal("-0.01")},
        {"N": None, "P": None},
    ]


@pytest.mark.parametrize(
    "value",
    [
        "10000000000000000000000000000",  # 29 digits before the point: one too many
        "-17014118346046923173168730372",  # the first that overflows 128 bits
        "34028236692093846346337460743.1",  # comes round to a small number
        "12345678901234567890123456789012345",
        "99999999999999999999999999999999999999",
        "1e65",
        "1e70",
        "1e125",
        "0.12345678901",  # eleven decimals
        "1e-30",
    ],
)
def test_a_number_that_does_not_fit_is_an_error_and_never_another_number(source, table, run, value):
    table("n number")
    run(f"insert into T values ({value})")
    error = refusal(SourceError, read, source, "select * from T", N=pa.decimal128(38, 10))
    assert "source_scale" in error.next_step


def test_the_tables_have_the_types_that_were_asked_for(source, table, run):
    table("n number, c varchar2(5)")
    run("insert into T values (:1, :2)", [(i, "x") for i in range(25)])
    schema = pa.schema([("N", pa.decimal128(38, 3)), ("C", pa.large_string())])
    parts = list(source.batches("select * from T", schema, size=10))
    assert [part.num_rows for part in parts] == [10, 10, 5]
    assert all(part.schema.types == schema.types and part.schema.names == schema.names for part in parts)


def test_texts_keep_their_blanks_and_dates_their_seconds(source, table, run):
    table("c char(5), v varchar2(40), d date, t timestamp(6)")
    run(
        "insert into T values ('ab', ' ก \"x\", ', date '1899-12-31', timestamp '2024-02-29 23:59:59.123456')"
    )
    run("insert into T values (null, '', null, null)")
    text = pa.large_string()
    rows = read(source, "select * from T", C=text, V=text, D=pa.timestamp("s"), T=pa.timestamp("us"))
    assert rows == [
        {
            "C": "ab   ",
            "V": ' ก "x", ',
            "D": dt.datetime(1899, 12, 31),  # noqa: DTZ001 - an Oracle DATE has no zone
            "T": dt.datetime(2024, 2, 29, 23, 59, 59, 123456),  # noqa: DTZ001
        },
        {"C": None, "V": None, "D": None, "T": None},
    ]


def test_an_empty_table_yields_nothing(source, table):
    table("n number")
    assert read(source, "select * from T", N=pa.decimal128(38, 0)) == []
    assert source.count("select count(*) from T") == 0


# losing the connection


# the driver lets go of a socket that was reset without closing it
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("how", ["fin", "rst", "half"])
def test_a_connection_lost_in_mid_fetch_is_no_end_of_the_rows(server, source, table, run, how):
    table("n number(9)")
    run("insert into T values (:1)", [(i,) for i in range(300)])
    server.faults.add(f"drop-{how}", at="fetch", call=2)
    batches = source.batches("select * from T", pa.schema([("N", pa.decimal128(38, 0))]), size=100)
    assert next(batches).num_rows == 100
    error = refusal(SourceUnavailable, list, batches)
    assert "read the source" in error.what
    assert "same run_id" in error.next_step
    source.close()


def test_a_snapshot_that_is_too_old_says_what_to_ask_for(server, source, table, run):
    table("n number(9)")
    run("insert into T values (:1)", [(i,) for i in range(300)])
    server.faults.add("ORA-01555", at="fetch", call=1)
    schema = pa.schema([("N", pa.decimal128(38, 0))])
    error = refusal(SourceError, list, source.batches("select * from T", schema, size=100))
    assert "undo" in error.next_step


def test_a_database_that_goes_down_is_no_fault_of_the_statement(server, source, table, run):
    table("n number(9)")
    run("insert into T values (:1)", [(i,) for i in range(300)])
    server.faults.add("ORA-01034", at="fetch", call=1)
    schema = pa.schema([("N", pa.decimal128(38, 0))])
    assert (
        "ORA-01034"
        in refusal(SourceUnavailable, list, source.batches("select * from T", schema, size=100)).what
    )


def test_a_closed_session_can_be_closed_again_and_is_no_longer_read(source):
    source.close()
    source.close()
    refusal(SourceUnavailable, source.count, "select count(*) from dual")


# one moment


def test_a_frozen_session_sees_one_moment_while_others_write(connect, table, run):
    table("n number(9)")
    run("insert into T values (1)")
    frozen, other = connect(), connect()
    frozen.freeze()
    count = "select count(*) from T"
    assert frozen.count(count) == 1
    run("insert into T values (2)")
    assert other.count(count) == 2
    assert frozen.count(count) == 1
    assert read(frozen, "select * from T", N=pa.decimal128(38, 0)) == [{"N": Decimal(1)}]
    frozen.freeze()
    assert frozen.count(count) == 2


@pytest.mark.filterwarnings("ignore:unclosed", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_listener_that_takes_the_connection_and_says_nothing_does_not_hang_the_run(connect, monkeypatch):
    monkeypatch.setattr(oracle, "_SIGN_IN_TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        refused = refusal(SourceUnavailable, connect, port=silent.getsockname()[1])
    for thread in threading.enumerate():
        if thread.name == "asking":
            thread.join(10)
    gc.collect()
    assert "did not answer the sign-in in 0.3 seconds" in refused.what
    assert "host and port" in refused.next_step


def test_a_session_asks_for_packets_of_64_kib(source):
    assert source._db.sdu == 65_535


def test_the_source_ends_its_session_when_its_block_ends(server, connect):
    with connect() as source:
        assert source.count("select count(*) from dual") == 1
    refusal(SourceUnavailable, source.count, "select count(*) from dual")


@pytest.mark.parametrize("kind", ["clob", "nclob"])
def test_a_clob_is_read_as_text_of_any_length_in_smaller_pieces(table, run, source, kind):
    table(f"id number(9), c {kind}")
    texts = [None, "short", "ก" * 5000, "long, \n" * 20_000]
    run("insert into T values (:1, :2)", [(n, texts[n % 4]) for n in range(1003)])
    columns = source.describe("select id, c from T")
    assert columns["C"].kind == kind.upper()
    schema = pa.schema([(name, column.arrow_type(0)) for name, column in columns.items()])
    read = list(source.batches("select id, c from T order by id", schema))
    assert [part.num_rows for part in read] == [500, 500, 3]
    assert pa.concat_tables(read).column("C").to_pylist() == [texts[n % 4] for n in range(1003)]


def test_half_of_a_character_stops_the_read_with_a_sentence(table, run, source, monkeypatch):
    table("id number(9), n nvarchar2(10)")
    run("insert into T values (1, n'x')")
    broken = pa.array(
        [b"\x00a\xd8\x00\x00b"], pa.binary()
    )  # no client can store it, but old data may hold it
    monkeypatch.setattr("fakeoracle.results.utf16_from_text", lambda column: broken)
    columns = source.describe("select id, n from T")
    schema = pa.schema([(name, column.arrow_type(0)) for name, column in columns.items()])
    with pytest.raises(SourceError, match="a text is not valid Unicode") as caught:
        list(source.batches("select id, n from T", schema))
    assert "ASCIISTR" in caught.value.next_step
