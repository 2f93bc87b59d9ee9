"""The listener: a socket on loopback, a thread for each connection."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from .backend import Backend
from .database import Database
from .faults import Faults
from .session import Session

_HOST = "127.0.0.1"
_BACKLOG = 64
_LOGIN_SECONDS = 60.0  # SQLNET.INBOUND_CONNECT_TIMEOUT, Oracle Database Net Services Reference, "sqlnet.ora"


class Server:
    """A running server; `serve` is the way to get one.

    `host`, `port` and `dsn` say where it listens, `faults` are its switches, `backend` is what lies behind it.
    """

    def __init__(
        self,
        backend: Backend,
        users: Mapping[str, str],
        service: str,
        port: int,
        host: str,
        login_seconds: float,
    ) -> None:
        if not ipaddress.ip_address(host).is_loopback:
            raise ValueError(f"fakeoracle listens on loopback only, not on {host}")
        self.backend = backend
        self.faults = Faults()
        self._users = {name.upper(): password for name, password in users.items()}
        self._service = service
        self._login_seconds = login_seconds
        self._listener = socket.create_server((host, port), backlog=_BACKLOG)
        self.host, self.port = self._listener.getsockname()[:2]
        self.dsn = f"{self.host}:{self.port}/{service}"
        self._sessions: dict[int, Session] = {}
        self._threads: dict[int, threading.Thread] = {}
        self._lock = threading.Lock()
        self._last = 0
        self._stopping = False
        self._acceptor = threading.Thread(target=self._accept, name="fakeoracle-accept", daemon=True)
        self._acceptor.start()

    @property
    def connections_open(self) -> int:
        """The number of client connections that are open now."""
        with self._lock:
            return len(self._sessions)

    def stop(self) -> None:
        """Close the listener and every connection, and wait for their threads; what was not committed is lost."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        with self._lock:
            sessions, threads = list(self._sessions.values()), list(self._threads.values())
        for session in sessions:
            session.stop()
        for thread in threads:
            thread.join()

    def _accept(self) -> None:
        while not self._stopping:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._start(connection)

    def _start(self, connection: socket.socket) -> None:
        with self._lock:
            self._last += 1
            number = self._last
            session = Session(
                connection,
                service=self._service,
                passwords=self._users,
                open_database=self.backend.open_session,
                faults=self.faults,
                number=number,
                login_seconds=self._login_seconds,
            )
            thread = threading.Thread(
                target=self._run, args=(number, session), name=f"fakeoracle-{number}", daemon=True
            )
            self._sessions[number], self._threads[number] = session, thread
        thread.start()

    def _run(self, number: int, session: Session) -> None:
        try:
            session.run()
        finally:
            with self._lock:
                del self._sessions[number], self._threads[number]


@contextlib.contextmanager
def serve(
    path: str | Path | None = None,
    users: Mapping[str, str] | None = None,
    service: str = "FREEPDB1",
    port: int = 0,
    *,
    host: str = _HOST,
    login_seconds: float = _LOGIN_SECONDS,
) -> Iterator[Server]:
    """Run a server for the length of a `with` block.

    `path` is a DuckDB file that keeps catalogue and data (None: in memory); `users` maps names to passwords, and each
    user owns the schema of that name; `port` 0 takes a free one; a client has `login_seconds` to log in. ValueError if
    `host` is not loopback.
    """
    accounts = {"TMS": "secret"} if users is None else dict(users)
    database = Database(path, service=service, users=accounts)
    try:
        server = Server(database, accounts, service, port, host, login_seconds)
        try:
            yield server
        finally:
            server.stop()
    finally:
        database.close()
