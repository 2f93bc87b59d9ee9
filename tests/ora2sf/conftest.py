"""An org on loopback, a client that does not dawdle, and a slice that is staged and ready to be sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from staged import KEY, SECRET, Slice

from fakeforce import Org, serve
from ora2sf.salesforce import SalesforceClient

SCHEMA = Path(__file__).parents[2] / "lib" / "ora2sf_demo" / "org"


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that hands over the connection ``salesforce_api``."""

    def hand_over(host: str, **changes: Any) -> None:
        fields = {"conn_type": "http", "host": host, "login": KEY, "password": SECRET} | changes
        monkeypatch.setenv("AIRFLOW_CONN_SALESFORCE_API", json.dumps(fields))

    return hand_over


@pytest.fixture
def org(connect: Callable[..., None]) -> Iterator[Org]:
    with serve(schema=SCHEMA, client_id=KEY, client_secret=SECRET) as found:
        connect(found.url)
        yield found


@pytest.fixture
def make_client() -> Iterator[Callable[..., SalesforceClient]]:
    made: list[SalesforceClient] = []

    def make(**changes: Any) -> SalesforceClient:
        made.append(SalesforceClient(**{"first_wait": 0.001, "attempts": 4} | changes))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def client(make_client: Callable[..., SalesforceClient]) -> SalesforceClient:
    return make_client()


@pytest.fixture
def slice_(tmp_path: Path, client: SalesforceClient) -> Iterator[Slice]:
    one = Slice(tmp_path, client)
    with one.ledger:
        yield one
        assert one.ledger.parents_met() == []
