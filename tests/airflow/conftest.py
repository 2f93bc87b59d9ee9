"""Airflow on the demo's source and an org of its own; `make test-airflow` installs it into .airflow/."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import oracledb
import pytest

from fakeforce import serve as serve_org
from fakeoracle import serve as serve_oracle
from ora2sf_demo import history, source, targets
from ora2sf_demo.servers import ORG
from place import INSTALLED, LINES, PASSWORD, PRODUCTS, SECRET, Place, connections, say


def pytest_configure() -> None:
    if not (INSTALLED / "bin" / "airflow").is_file():
        raise pytest.UsageError("Airflow is not installed: run make test-airflow")


@pytest.fixture(scope="session")
def oracle() -> Iterator[Any]:
    """The source with every table of the demo."""
    with serve_oracle(users={"TMS": PASSWORD}, service="FREEPDB1") as server:
        say(f"filling the source: {PRODUCTS:,} products, a history of {LINES:,} sales lines")
        with oracledb.connect(user="TMS", password=PASSWORD, dsn=server.dsn) as database:
            source.fill(database, source.make(PRODUCTS, seed=7))
            history.fill(database, history.parts(LINES))
        yield server


@contextmanager
def new_org() -> Iterator[Any]:
    with serve_org(schema=str(ORG), client_id="demo-client", client_secret=SECRET) as org:
        targets.seed(org.url, "demo-client", SECRET)
        yield org


@pytest.fixture
def org() -> Iterator[Any]:
    """An org that holds nothing yet."""
    with new_org() as made:
        yield made


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database of Airflow with the pools."""
    made = Place(tmp_path_factory.mktemp("prepared"), {})
    say("preparing Airflow's database")
    made.prepare()
    return made.folder / "airflow.db"


@pytest.fixture
def place(tmp_path: Path, oracle: Any, org: Any, database: Path) -> Place:
    """An Airflow with a SQLite database, prepared as docs/airflow.md says."""
    made = Place(tmp_path, connections(oracle, org))
    made.prepare(database)
    return made
