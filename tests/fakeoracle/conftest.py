"""One server for each test folder run, one fresh connection and table for each test."""

import decimal
from collections.abc import Callable, Iterator
from typing import Any

import oracledb
import pytest

from fakeoracle import Server, serve

USER, PASSWORD = "TMS", "secret"


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Server]:
    with serve(users={USER: PASSWORD, "OTHER": "other"}) as server:
        yield server


@pytest.fixture
def connect(shared_server: Server) -> Iterator[Callable[..., oracledb.Connection]]:
    opened = []

    def open_connection(**changes: Any) -> oracledb.Connection:
        arguments = {"user": USER, "password": PASSWORD, "dsn": shared_server.dsn} | changes
        opened.append(oracledb.connect(**arguments))
        return opened[-1]

    yield open_connection
    for connection in opened:
        if connection.is_healthy():
            connection.close()


@pytest.fixture
def connection(connect: Callable[..., oracledb.Connection]) -> oracledb.Connection:
    return connect()


@pytest.fixture
def cursor(connection: oracledb.Connection) -> oracledb.Cursor:
    return connection.cursor()


@pytest.fixture
def table(cursor: oracledb.Cursor) -> Iterator[Callable[[str], str]]:
    """Return a function that creates a table from the text in its brackets, and gives its name."""
    made: list[str] = []

    def create(columns: str) -> str:
        name = f"T{len(made) + 1}"
        cursor.execute(f"create table {name} ({columns})")
        made.append(name)
        return name

    yield create
    for name in made:
        if cursor.connection.is_healthy():
            cursor.execute(f"drop table {name} purge")


@pytest.fixture
def one(cursor: oracledb.Cursor) -> Callable[..., Any]:
    """Return a function that gives the single row of a query; a row of one column gives its value."""

    def run(sql: str, *binds: Any) -> Any:
        rows = cursor.execute(sql, list(binds)).fetchall()
        assert len(rows) == 1
        return rows[0][0] if len(rows[0]) == 1 else rows[0]

    return run


@pytest.fixture(autouse=True)
def exact_numbers() -> Iterator[None]:
    oracledb.defaults.fetch_decimals = True
    with decimal.localcontext(prec=100):
        yield
    oracledb.defaults.fetch_decimals = False
