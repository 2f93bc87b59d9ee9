"""The org under test, and the questions to a real one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from fakeforce import serve

from .org import Connection, Org

SCHEMA = Path(__file__).parents[1] / "schema"
FAKE = {
    **{
        "client_id": "demo-client",
        "client_secret": "demo-secret",
        "object": "Product2",
        "key": "ProductCode",
    },
    **{
        "text": "Name",
        "number": "TMS_Price_EXC_VAT__c",
        "date": "TMS_Count_Date__c",
        "group": "TMS_Group_Ref__c",
    },
}


class Answer(NamedTuple):
    """What was said to a question; fakeforce's own answer stands beside it in a live run."""

    question: str
    org: str
    fakeforce: str


ANSWERS = pytest.StashKey[list[Answer]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "run the contract tests against the org that the CONTRACT_… variables name"
    parser.addoption("--live", action="store_true", help=text)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ANSWERS] = []
    config.addinivalue_line("markers", "unverified(question): what only a real org can tell")


@contextmanager
def fake_org() -> Iterator[Org]:
    """fakeforce, as an org like any other."""
    with serve(schema=SCHEMA) as fake:
        org = Org(Connection(url=fake.url, **FAKE))
        yield org
        org.close()
        assert fake.count("Product2") == 0  # it left nothing behind


@pytest.fixture(scope="session")
def live(pytestconfig: pytest.Config) -> bool:
    return bool(pytestconfig.getoption("--live", default=False))


@pytest.fixture(scope="session")
def org(live: bool) -> Iterator[Org]:
    """The org under test. With --live a real one, or skipped with what is missing."""
    if not live:
        with fake_org() as fake:
            yield fake
        return
    connection = Connection.from_environment()
    if isinstance(connection, list):
        pytest.skip(f"--live needs the environment variables {', '.join(connection)}")
    real = Org(connection)
    yield real
    real.close()


@pytest.fixture(scope="session")
def reference(live: bool) -> Iterator[Org | None]:
    """fakeforce beside a live org; None when it is itself the org under test."""
    if not live:
        yield None
        return
    with fake_org() as fake:
        yield fake


@pytest.fixture
def key(org: Org) -> str:
    return org.new_key()


Ask = Callable[[Callable[[Org], str], str], None]


@pytest.fixture
def answered(request: pytest.FixtureRequest, org: Org, reference: Org | None) -> Ask:
    """Ask the question of the test's ``unverified`` mark; the answer must be one of those that are possible."""
    question = request.node.get_closest_marker("unverified").args[0]

    def check(ask: Callable[[Org], str], possible: str) -> None:
        said = ask(org)
        fake = ask(reference) if reference else said
        request.config.stash[ANSWERS].append(Answer(question, said, fake))
        assert re.fullmatch(possible, said, re.S)

    return check


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What the real org told."""
    if not config.getoption("--live", default=False) or not config.stash[ANSWERS]:
        return
    terminalreporter.section("what this org answered")
    for question, said, fake in config.stash[ANSWERS]:
        terminalreporter.line(question)
        terminalreporter.line(f"    org:       {said}")
        terminalreporter.line(
            "    fakeforce: the same" if said == fake else f"    fakeforce: {fake}   <-- DIFFERENT"
        )
