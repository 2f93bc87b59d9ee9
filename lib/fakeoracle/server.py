"""The listener: a socket on loopback, a thread for each connection."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import tempfile
import threading
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from .backend import Backend
from .cache import Cache, CachingBackend
from .database import Database
from .faults import Faults
from .loading import load
from .profiles import profile as profile_named
from .session import Session, Settings
from .tls import Certificates, certificates

_HOST = "127.0.0.1"
_BACKLOG = 64
_LAST_PORT = 65535
CACHE_BYTES = 512 * 1024 * 1024
_LOGIN_SECONDS = 60.0  # SQLNET.INBOUND_CONNECT_TIMEOUT, Oracle Database Net Services Reference, "sqlnet.ora"


class Server:
    """A running server; `serve` is the way to get one.

    `host`, `port` and `dsn` say where it listens, `faults` are its switches, `backend` is what lies behind it, `ca_file`
    the authority to trust for a `tcps` dsn (None without TLS, or with certificates that were given), `loaded` whether
    schema and data were loaded at the start, `cache` the results kept (None without a cache).
    """

    def __init__(
        self,
        backend: Backend,
        settings: Settings,
        *,
        host: str,
        port: int,
        ca_file: Path | None = None,
        loaded: bool = False,
        cache: Cache | None = None,
    ) -> None:
        if not ipaddress.ip_address(host).is_loopback:
            raise ValueError(f"fakeoracle listens on loopback only, not on {host}")
        if not 0 <= port <= _LAST_PORT:
            raise ValueError(f"a port is a number from 0 to {_LAST_PORT}, not {port}")
        self.backend = backend
        self.faults = settings.faults
        self.ca_file = ca_file
        self.loaded = loaded
        self.cache = cache
        self._settings = settings
        self._listener = socket.create_server((host, port), backlog=_BACKLOG)
        self.host, self.port = self._listener.getsockname()[:2]
        protocol = "tcps://" if settings.context else ""
        self.dsn = f"{protocol}{self.host}:{self.port}/{settings.service}"
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

    @property
    def cursors_open(self) -> int:
        """The number of statements that clients hold open now."""
        with self._lock:
            return sum(session.cursors_open for session in self._sessions.values())

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
            session = Session(connection, self._settings, number)
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
    profile: str = "19c",
    backend: Backend | None = None,
    tls: str | Path | bool = False,
    cert: str | Path | None = None,
    key: str | Path | None = None,
    cache: bool = False,
    cache_bytes: int = CACHE_BYTES,
    compress_rows: bool = True,
    seed: int = 0,
    schema: str | Path | None = None,
    data: str | Path | None = None,
    revoked: Mapping[str, Collection[str]] | None = None,
    login_seconds: float = _LOGIN_SECONDS,
) -> Iterator[Server]:
    """Run a server for the length of a `with` block.

    `path` is a DuckDB file that keeps catalogue and data (None: in memory); `users` maps names to passwords, and each
    user owns the schema of that name; `port` 0 takes a free one; `profile` is a name of `profiles.PROFILES`; `backend`
    takes the place of DuckDB. `tls` is the folder that keeps the certificates (True: a folder that goes away), or
    `cert` and `key` are files. `cache` keeps results, up to `cache_bytes` of them; `compress_rows` leaves out values that are as in the
    row before; `revoked` maps users to the privileges they lack (V$DATABASE, DBMS_FLASHBACK, FLASHBACK, SELECT ANY TABLE);
    `seed` decides what the rates of faults hit. `schema` is a SQL script and `data` a folder of tables, loaded
    as the first user unless that user owns a table already. A client has
    `login_seconds` to log in. ValueError says what is wrong with an argument or a file.
    """
    accounts = {"TMS": "secret"} if users is None else dict(users)
    release = profile_named(profile)
    if login_seconds <= 0 or cache_bytes < 0:
        raise ValueError("the seconds for a login are more than 0, the size of the cache is not below 0")
    with contextlib.ExitStack() as stack:
        files = _certificates(stack, tls, cert, key)
        context = files.context() if files else None
        behind = backend or Database(path, service=service, users=accounts, profile=release, revoked=revoked)
        stack.callback(behind.close)
        loaded = bool(schema or data) and _load(behind, next(iter(accounts)), schema, data)
        caching = CachingBackend(behind, cache_bytes) if cache else None
        settings = Settings(
            service=service,
            passwords={name.upper(): password for name, password in accounts.items()},
            open_database=(caching or behind).open_session,
            faults=Faults(seed),
            profile=release,
            context=context,
            compress_rows=compress_rows,
            login_seconds=login_seconds,
        )
        ca_file = files.ca if files and not cert else None
        server = Server(
            behind,
            settings,
            host=host,
            port=port,
            ca_file=ca_file,
            loaded=loaded,
            cache=caching.cache if caching else None,
        )
        stack.callback(server.stop)
        yield server


def _load(backend: Backend, user: str, schema: str | Path | None, data: str | Path | None) -> bool:
    for name, given in (("schema", schema), ("data", data)):
        if given and not Path(given).exists():
            raise ValueError(f"{name}: there is no {given}; check the path")
    session = backend.open_session(user.upper())
    try:
        return load(session, Path(schema) if schema else None, Path(data) if data else None)
    finally:
        session.close()


def _certificates(
    stack: contextlib.ExitStack,
    tls: str | Path | bool,
    cert: str | Path | None,
    key: str | Path | None,
) -> Certificates | None:
    if cert or key:
        if tls or not (cert and key):
            raise ValueError("give a certificate and its key together, and then no folder for certificates")
        return Certificates(Path(cert), Path(key), Path(cert))
    if tls is True:
        return certificates(Path(stack.enter_context(tempfile.TemporaryDirectory())))
    return certificates(Path(tls)) if tls else None
