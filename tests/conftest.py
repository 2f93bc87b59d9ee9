"""Fixtures for tests of the whole."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import oracledb
import pytest

from fakeoracle import serve as serve_oracle
from ora2sf.errors import RunFolderError
from ora2sf.ledger import Ledger
from ora2sf_demo import source
from world import PASSWORD, PRODUCTS, World, fresh_world

pytest_plugins = ["fakeoracle.testing"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts tests of the whole, which take long, first: no worker is left alone with them at the end."""
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """Every test begins with Python's own answer to Ctrl-C, and takes its handlers with it.

    A command that is run in this process sets its own, and a shell that starts the tests in its background ignores it.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def no_parents_met(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """In no ledger that any test left behind, jobs that share a parent were in flight together."""
    yield
    for path in tmp_path_factory.getbasetemp().rglob("ledger.sqlite"):
        with (
            suppress(RunFolderError, sqlite3.DatabaseError),
            Ledger(path) as ledger,
        ):  # some tests damage theirs
            assert ledger.parents_met() == [], path


@pytest.fixture(scope="session")
def oracle_and_rows() -> Iterator[tuple[Any, source.Rows]]:
    """The source, filled once through the driver."""
    rows = source.make(PRODUCTS, seed=7)
    with serve_oracle(users={"TMS": PASSWORD}, service="FREEPDB1") as oracle:
        with oracledb.connect(user="TMS", password=PASSWORD, dsn=oracle.dsn) as database:
            source.fill(database, rows)
        yield oracle, rows


@pytest.fixture
def world(oracle_and_rows: tuple[Any, source.Rows]) -> Iterator[World]:
    """A world of its own for one test."""
    with fresh_world(*oracle_and_rows) as made:
        yield made


@pytest.fixture(scope="module")
def shared_world(oracle_and_rows: tuple[Any, source.Rows]) -> Iterator[World]:
    """One world for all tests of a module, in their order."""
    with fresh_world(*oracle_and_rows) as made:
        yield made
