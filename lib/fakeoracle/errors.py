"""What the server answers when it cannot do what it was asked.

OracleError
    an ORA number with its text; travels to the client, the connection stays usable
ProtocolError
    bytes that no client of this protocol sends; the connection is closed
Disconnected
    the client is gone (or a fault said so); nobody is left to be told
"""

from __future__ import annotations


class OracleError(Exception):
    """An error a client can read: `code` is the ORA number, `offset` the place in the SQL text (in bytes)."""

    def __init__(self, code: int, message: str, offset: int = 0) -> None:
        super().__init__(f"ORA-{code:05d}: {message}")
        self.code = code
        self.message = message
        self.offset = offset


class ProtocolError(Exception):
    """The bytes received make no sense at this point of the conversation."""


class Disconnected(Exception):
    """The other side closed the connection, or a fault closes it."""


def unsupported(what: str, offset: int = 0) -> OracleError:
    """ORA-03001 naming `what`: this server refuses rather than guesses."""
    return OracleError(3001, f"unimplemented feature (fakeoracle): {what}", offset)
