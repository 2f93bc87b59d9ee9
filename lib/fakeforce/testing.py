"""pytest fixtures: ``pytest_plugins = ["fakeforce.testing"]`` in the top conftest.py of a test suite.

- ``fakeforce_schema``: the folder of schema files; a suite gives its own fixture of this name.
- ``fakeforce_org``: an empty org for one test.
- ``fakeforce_server``: a function that starts an org which lives until the session ends.

Only this module of the package needs pytest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .server import Org, serve


@pytest.fixture(scope="session")
def fakeforce_schema() -> str | Path:
    """The folder of schema files; to be given by the test suite."""
    text = "give a session fixture 'fakeforce_schema' that returns the folder of your schema files"
    raise pytest.UsageError(text)


@pytest.fixture
def fakeforce_org(fakeforce_schema: str | Path) -> Iterator[Org]:
    """An org on 127.0.0.1 without a record of yours, for this test only."""
    with serve(fakeforce_schema) as org:
        yield org


@pytest.fixture(scope="session")
def fakeforce_server() -> Iterator[Callable[..., Org]]:
    """``fakeforce_server(schema, ...)`` takes what ``serve`` takes; the org runs until the session ends."""
    with ExitStack() as stack:
        yield lambda *given, **named: stack.enter_context(serve(*given, **named))
