"""The two servers with a small source, and the environment that points at them, for tests of the whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fakeforce import serve as serve_org
from ora2sf_demo import source
from ora2sf_demo.servers import ORG

ROOT = Path(__file__).parents[1]
PASSWORD = "canary-oracle-password-7c1f"
SECRET = "canary/consumer+secret=91ab"
PRODUCTS = 3_000


@dataclass
class World:
    """Both servers, what the source holds, and the environment that a notebook needs to reach them."""

    oracle: Any
    org: Any
    rows: source.Rows
    environment: dict[str, str]


def connections(oracle: Any, org: Any) -> dict[str, str]:
    return {
        "AIRFLOW_CONN_ORACLE_TMS": json.dumps(
            {
                "conn_type": "oracle",
                "host": oracle.host,
                "port": oracle.port,
                "schema": "FREEPDB1",
                "login": "TMS",
                "password": PASSWORD,
            }
        ),
        "AIRFLOW_CONN_SALESFORCE_API": json.dumps(
            {"conn_type": "http", "host": org.url, "login": "demo-client", "password": SECRET}
        ),
        "ORA2SF_HOME": str(ROOT),
    }


@contextmanager
def fresh_world(oracle: Any, rows: source.Rows) -> Iterator[World]:
    """A fresh org beside the source; this process and the kernels it starts reach both."""
    with (
        serve_org(schema=str(ORG), client_id="demo-client", client_secret=SECRET) as org,
        pytest.MonkeyPatch.context() as patch,
    ):
        environment = connections(oracle, org)
        for name, value in environment.items():
            patch.setenv(name, value)
        yield World(oracle, org, rows, environment)
