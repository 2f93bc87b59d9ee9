"""Fixtures for pytest: `pytest_plugins = ["fakeoracle.testing"]` in the top conftest.py.

    def test_something(oracle_connection):
        oracle_connection.cursor().execute("create table t (a number)")

`--oracle DSN` runs the same tests on a real database instead, with the user and the password in the environment variables
FAKEORACLE_TEST_USER and FAKEORACLE_TEST_PASSWORD; tests marked `emulator`, and those that use `oracle_server`, are skipped then.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

import oracledb
import pytest

from .server import Server, serve

_USER, _PASSWORD = "FAKEORACLE_TEST_USER", "FAKEORACLE_TEST_PASSWORD"  # names of variables


@dataclass(frozen=True)
class Login:
    """Where tests connect to: arguments of `oracledb.connect`; `prefix` begins the names of the tables they make."""

    user: str
    password: str
    dsn: str
    prefix: str = ""

    def connect(self, **changes: Any) -> oracledb.Connection:
        """Open a connection; `changes` replace or add arguments."""
        arguments: dict[str, Any] = {"user": self.user, "password": self.password, "dsn": self.dsn}
        return oracledb.connect(**(arguments | changes))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --oracle."""
    parser.getgroup("fakeoracle").addoption(
        "--oracle",
        metavar="DSN",
        help=f"run tests on this Oracle database instead of fakeoracle, as ${_USER} with ${_PASSWORD}",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and find out early what is missing for --oracle."""
    config.addinivalue_line(
        "markers", "emulator: says something about fakeoracle that no Oracle database does"
    )
    if config.getoption("--oracle") and not (os.environ.get(_USER) and os.environ.get(_PASSWORD)):
        raise pytest.UsageError(f"--oracle needs the environment variables {_USER} and {_PASSWORD}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what only the emulator can do."""
    if item.config.getoption("--oracle") and item.get_closest_marker("emulator"):
        pytest.skip("about fakeoracle itself")


def real_login(config: pytest.Config) -> Login | None:
    """Return the database that --oracle names, with a fresh prefix for tables; None without the option."""
    dsn = config.getoption("--oracle")
    if not dsn:
        return None
    prefix = f"FO{secrets.token_hex(3).upper()}_"
    return Login(os.environ[_USER], os.environ[_PASSWORD], str(dsn), prefix)


def drop_tables(login: Login) -> None:
    """Drop every table whose name begins with the login's prefix; nothing without a prefix."""
    if not login.prefix:
        return
    with login.connect() as connection, connection.cursor() as cursor:
        cursor.execute("select table_name from user_tables")
        for (name,) in cursor.fetchall():
            if name.startswith(login.prefix):
                cursor.execute(f'drop table "{name}" purge')


@pytest.fixture(scope="session")
def serve_oracle() -> Iterator[Callable[..., Server]]:
    """A function that starts a server with the arguments of `serve`; it stops at the end of the tests."""
    with ExitStack() as stack:

        def start(**arguments: Any) -> Server:
            running: AbstractContextManager[Server] = serve(**arguments)
            return stack.enter_context(running)

        yield start


@pytest.fixture(scope="session")
def oracle_server(request: pytest.FixtureRequest, serve_oracle: Callable[..., Server]) -> Server:
    """The server all tests share: user TMS, password `secret`."""
    if request.config.getoption("--oracle"):
        pytest.skip("needs a server of its own")
    return serve_oracle(users={"TMS": "secret"})


@pytest.fixture(scope="session")
def oracle_login(request: pytest.FixtureRequest) -> Iterator[Login]:
    """Where to connect to: `oracle_server`, or the database of --oracle."""
    login = real_login(request.config)
    if login is None:
        server: Server = request.getfixturevalue("oracle_server")
        login = Login("TMS", "secret", server.dsn)
    yield login
    drop_tables(login)


@pytest.fixture
def oracle_connection(oracle_login: Login) -> Iterator[oracledb.Connection]:
    """A connection, closed after the test; what it did not commit is undone."""
    with oracle_login.connect() as connection:
        yield connection
