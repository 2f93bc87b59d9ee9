"""Starts the two demo servers, fills the source, and writes the connections file that points at them."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import oracledb

from ora2sf_demo import source, targets

SERVICE = "FREEPDB1"
USER = "TMS"
ORG = Path(__file__).parent / "org"
_READY_SECONDS = 300  # a large source takes minutes to fill
_CONNECTIONS = """\
# Written by the demo for its servers on this machine; replaced at each start.

[oracle_tms]
conn_type = "oracle"
host = "{host}"
port = {port}
schema = "{service}"
login = "{user}"
password = "{password}"

[salesforce_api]
conn_type = "http"
host = "{url}"
login = "demo-client"
password = "{secret}"
"""


@contextmanager
def servers(folder: Path, products: int, lines: int = 0) -> Iterator[Path]:
    """Runs both servers on the state in ``folder`` and yields the connections file.

    The source is filled with that many products and, unless ``lines`` is 0, with a sales history of that many lines.
    Servers that another process started on the same folder are used, not started twice; a sales history that their
    source lacks is added.
    """
    folder.mkdir(parents=True, exist_ok=True)
    connections = folder / "connections.toml"
    with (folder / "lock").open("a+", encoding="utf-8") as lock:
        if not _locked_or_served(lock, connections):
            _add_history(connections, lines)
            yield connections
            return
        connections.unlink(missing_ok=True)
        with (folder / "servers.lock").open("w") as alive, ExitStack() as running:
            _wait_for_orphans(alive)
            _start_both(folder, products, lines, connections, running, alive.fileno())
            try:
                yield connections
            finally:
                connections.unlink(missing_ok=True)


def _locked_or_served(lock: IO[str], connections: Path) -> bool:
    """Waits until this process holds the lock (true), or the servers of the one that does are ready (false)."""
    deadline, said = time.monotonic() + _READY_SECONDS, False
    while not _locked(lock):
        if connections.is_file():
            _say(f"Using the servers of {_holder(lock)}; they end when it does.")
            return False
        if time.monotonic() > deadline:
            raise SystemExit(f"The servers of {_holder(lock)} are still not ready; end it and start again.")
        if not said:
            _say(f"Waiting for the servers of {_holder(lock)}, which holds {lock.name} …")
            said = True
        time.sleep(0.2)
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return True


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(lock: IO[str]) -> str:
    lock.seek(0)
    return f"another process ({lock.read() or 'number unknown'})"


def _wait_for_orphans(alive: IO[str]) -> None:
    """Servers inherit this lock: while it is held, those of a killed process still write their state."""
    if not _locked(alive):
        _say("Waiting for the servers of a killed process to end …")
        fcntl.flock(alive, fcntl.LOCK_EX)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _start_both(
    folder: Path, products: int, lines: int, connections: Path, running: ExitStack, alive: int
) -> None:
    password, secret = secrets.token_urlsafe(18), secrets.token_urlsafe(18)
    oracle = running.enter_context(
        _server(
            [
                "fakeoracle",
                "--port",
                "0",
                "--database",
                str(folder / "source.duckdb"),
                "--service",
                SERVICE,
                "--user",
                USER,
            ],
            {"FAKEORACLE_PASSWORD": password},
            folder / "fakeoracle.log",
            alive,
        )
    )
    _fill(oracle["dsn"], password, products, lines)
    org = running.enter_context(
        _server(
            ["fakeforce", "--port", "0", "--schema", str(ORG), "--state", str(folder / "org.state")],
            {"FAKEFORCE_CLIENT_ID": "demo-client", "FAKEFORCE_CLIENT_SECRET": secret},
            folder / "fakeforce.log",
            alive,
        )
    )
    targets.seed(org["url"], "demo-client", secret)
    text = _CONNECTIONS.format(
        host=oracle["host"],
        port=oracle["port"],
        service=SERVICE,
        user=USER,
        password=password,
        url=org["url"],
        secret=secret,
    )
    part = connections.with_suffix(".part")
    part.touch(mode=0o600)
    part.write_text(text, encoding="utf-8")
    part.replace(connections)


@contextmanager
def _server(
    command: list[str], environment: dict[str, str], log: Path, alive: int
) -> Iterator[dict[str, Any]]:
    """One server as a process of its own; yields the line of JSON that it prints when it is ready.

    It ends when this process does, even if that is killed, and holds the file ``alive`` open until then.
    """
    with log.open("a", encoding="utf-8") as errors:
        begun = errors.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "ora2sf_demo.child", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=os.environ | environment,
            text=True,
            start_new_session=True,  # Ctrl-C is for the notebooks; the servers end after them
            pass_fds=(alive,),
        )
    with process:
        assert process.stdout is not None  # a pipe was asked for
        try:
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"The demo server {command[0]} did not start: {_last_line(log, begun)}")
            yield json.loads(line)
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()


def _last_line(log: Path, begun: int) -> str:
    """What the server wrote last since it began."""
    with log.open("rb") as file:
        file.seek(begun)
        lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return f"{lines[-1].strip()} (see {log})" if lines else f"it said nothing ({log})"


def _fill(dsn: str, password: str, products: int, lines: int) -> None:
    with oracledb.connect(user=USER, password=password, dsn=dsn) as database:
        if _filled(database) != products:
            print(f"Filling the source with {products:,} products (once) …", flush=True)
            source.fill(database, source.make(products))
        if lines:
            _fill_history(database, lines, anew=True)


def _fill_history(database: oracledb.Connection, lines: int, *, anew: bool) -> None:
    """Fills the sales history where there is none; one of another size is replaced if it may be made anew."""
    from ora2sf_demo import history  # what makes a million rows takes its time to import

    there = history.lines_in(database)
    if there == 0 or (anew and there != lines):
        print(f"Filling the source with a sales history of {lines:,} lines (once) …", flush=True)
        history.fill(database, history.parts(lines))
    elif there != lines:
        _say(f"The source in use has {there:,} sales lines, not {lines:,}; it is left as it is.")


def _add_history(connections: Path, lines: int) -> None:
    """Adds the sales history to a source in use; another process may be reading what is there, so it is not replaced."""
    if not lines:
        return
    found = tomllib.loads(connections.read_text(encoding="utf-8"))["oracle_tms"]
    dsn = f"{found['host']}:{found['port']}/{found['schema']}"
    with oracledb.connect(user=found["login"], password=found["password"], dsn=dsn) as database:
        _fill_history(database, lines, anew=False)


def _filled(database: oracledb.Connection) -> int:
    """Products in the source; 0 if its tables are not there."""
    with database.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM USER_TABLES WHERE TABLE_NAME = 'KPS_T_REQPROD_MD'")
        (tables,) = cursor.fetchone() or (0,)
        if not tables:
            return 0
        cursor.execute("SELECT COUNT(DISTINCT PROD_SERV_CODE) FROM KPS_T_REQPROD_MD")
        (products,) = cursor.fetchone() or (0,)
        return int(products)
