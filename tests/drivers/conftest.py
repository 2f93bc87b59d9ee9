"""A server in a process of its own, and a driver in another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import oracledb
import pytest
from bridges import FETCH, INSTALLED, PASSWORD, USER, Driver, adbc_command, node_command


@pytest.fixture(scope="session")
def dsn() -> Iterator[str]:
    """The address of `python -m fakeoracle`."""
    command = [sys.executable, "-m", "fakeoracle", "--user", USER]
    environment = os.environ | {"FAKEORACLE_PASSWORD": PASSWORD}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())["dsn"]
        server.terminate()
        assert server.communicate(timeout=30) == ("", "")
        assert server.returncode == 0


@pytest.fixture(scope="session", params=[adbc_command, node_command], ids=["adbc", "node"])
def process(request: pytest.FixtureRequest) -> Iterator[Driver]:
    environment = os.environ | {"TZ": "UTC", "NODE_PATH": str(INSTALLED / "node" / "node_modules")}
    environment.pop("PYTHONPATH", None)
    with subprocess.Popen(
        request.param(), env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        yield Driver(child)
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(timeout=30) == 0


@pytest.fixture
def driver(process: Driver, dsn: str) -> Iterator[Driver]:
    """The driver, logged in."""
    process.login(dsn=dsn, user=USER, password=PASSWORD, fetch=FETCH)
    yield process
    process.close()


@pytest.fixture
def python(dsn: str) -> Iterator[oracledb.Connection]:
    """A connection of python-oracledb to the same server."""
    with oracledb.connect(user=USER, password=PASSWORD, dsn=dsn) as connection:
        yield connection


@pytest.fixture
def table(python: oracledb.Connection) -> Iterator[str]:
    """A table of every type that the drivers share."""
    with python.cursor() as cursor:
        cursor.execute(
            "create table shared (n10 number(10), n12_2 number(12,2), n38 number(38), n number, "
            "v varchar2(40), c char(6), d date, t timestamp(6))"
        )
        yield "shared"
        cursor.execute("drop table shared purge")
