"""What a session needs from whatever answers its statements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .binds import BindColumn
from .results import ResultSet
from .ttc import Described


class BackendSession(Protocol):
    """The statements of one client. Every method raises OracleError for what a client is to be told."""

    schema: str
    """Where unqualified names belong; a client may change it."""

    time_zone: str
    """An offset such as +07:00; a client may change it. Setting anything else raises OracleError."""
    client: dict[str, str]
    """What the client has told of itself; the keys are `ttc.CLIENT_CONTEXT`."""

    @property
    def in_transaction(self) -> bool:
        """Whether there are changes that are neither committed nor rolled back."""
        ...

    def run(self, sql: str, binds: Sequence[BindColumn]) -> ResultSet | list[int]:
        """Run a statement: a query gives its result set, anything else the rows it affected, one number an execution."""
        ...

    def describe(self, sql: str) -> list[Described]:
        """Return the columns of a query without running it; nothing for other statements."""
        ...

    def commit(self) -> None:
        """End the transaction, keeping its changes."""
        ...

    def rollback(self) -> None:
        """End the transaction, undoing its changes."""
        ...

    def interrupt(self) -> None:
        """Stop what is running, from another thread."""
        ...

    def close(self) -> None:
        """Roll back and let go."""
        ...


class Backend(Protocol):
    """Opens a session for each client."""

    def open_session(self, user: str) -> BackendSession:
        """Return a session of `user`, whose schema has the same name."""
        ...

    def close(self) -> None:
        """Keep what is to be kept and let go of everything."""
        ...
