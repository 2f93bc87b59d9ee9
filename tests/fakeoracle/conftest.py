"""One server for each release and run, one fresh connection and table for each test."""

import decimal
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import oracledb
import pytest

from fakeoracle import Server, serve
from fakeoracle.profiles import PROFILES
from fakeoracle.testing import Login, drop_tables, real_login

USER, PASSWORD = "TMS", "secret"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whatever talks to the shared server does so with each release, or with the database of --oracle."""
    if "release" in metafunc.fixturenames:
        releases = ["real"] if metafunc.config.getoption("--oracle") else list(PROFILES)
        metafunc.parametrize("release", releases, scope="session", indirect=True)


@pytest.fixture(scope="session")
def release(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def shared_server(request: pytest.FixtureRequest, release: str) -> Iterator[Server]:
    if release == "real":
        pytest.skip("needs a server of its own")
    with serve(users={USER: PASSWORD, "OTHER": "other"}, profile=release) as server:
        yield server


@pytest.fixture(scope="session")
def login(request: pytest.FixtureRequest, release: str) -> Iterator[Login]:
    real = real_login(request.config)
    if real:
        yield real
        drop_tables(real)
    else:
        yield Login(USER, PASSWORD, request.getfixturevalue("shared_server").dsn)


@pytest.fixture
def connect(login: Login) -> Iterator[Callable[..., oracledb.Connection]]:
    opened = []

    def open_connection(**changes: Any) -> oracledb.Connection:
        if login.prefix and changes.get("user", USER).upper() != USER:
            pytest.skip("needs a second user")
        opened.append(login.connect(**changes))
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
def table(cursor: oracledb.Cursor, login: Login) -> Iterator[Callable[[str], str]]:
    """Return a function that creates a table from the text in its brackets, and gives its name."""
    made: list[str] = []

    def create(columns: str) -> str:
        name = f"{login.prefix}T{len(made) + 1}"
        cursor.execute(f"create table {name} ({columns})")
        made.append(name)
        return name

    yield create
    for name in made:
        if cursor.connection.is_healthy():
            cursor.execute(f"drop table {name} purge")


@pytest.fixture
def new_name(login: Login) -> Callable[[], str]:
    """Return a function that gives the name of a table that is not there."""
    numbers = itertools.count(1)
    return lambda: f"{login.prefix}NEW{next(numbers)}"


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
