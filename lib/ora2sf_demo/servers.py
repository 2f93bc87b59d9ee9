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
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import oracledb

from ora2sf_demo import source

SERVICE = "FREEPDB1"
USER = "TMS"
ORG = Path(__file__).parent / "org"
_READY_SECONDS = 60
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
def servers(folder: Path, products: int) -> Iterator[Path]:
    """Runs both servers on the state in ``folder`` and yields the connections file.

    Servers that another process started on the same folder are used, not started twice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    connections = folder / "connections.toml"
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _wait_for(connections)
            yield connections
            return
        connections.unlink(missing_ok=True)
        with ExitStack() as running:
            _start_both(folder, products, connections, running)
            try:
                yield connections
            finally:
                connections.unlink(missing_ok=True)


def _start_both(folder: Path, products: int, connections: Path, running: ExitStack) -> None:
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
        )
    )
    _fill(oracle["dsn"], password, products)
    org = running.enter_context(
        _server(
            ["fakeforce", "--port", "0", "--schema", str(ORG), "--state", str(folder / "org.state")],
            {"FAKEFORCE_CLIENT_ID": "demo-client", "FAKEFORCE_CLIENT_SECRET": secret},
            folder / "fakeforce.log",
        )
    )
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
def _server(command: list[str], environment: dict[str, str], log: Path) -> Iterator[dict[str, Any]]:
    """One server as a process of its own; yields the line of JSON that it prints when it is ready."""
    with log.open("a", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=subprocess.PIPE,
            stderr=errors,
            env=os.environ | environment,
            text=True,
            start_new_session=True,  # Ctrl-C is for the notebooks; the servers end after them
        )
        assert process.stdout is not None  # a pipe was asked for
        try:
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"The demo server {command[0]} did not start; see {log}.")
            yield json.loads(line)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def _fill(dsn: str, password: str, products: int) -> None:
    with oracledb.connect(user=USER, password=password, dsn=dsn) as database:
        if _filled(database) != products:
            print(f"Filling the source with {products:,} products (once) …", flush=True)
            source.fill(database, source.make(products))


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


def _wait_for(connections: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not connections.is_file():
        if time.monotonic() > deadline:
            raise SystemExit(
                f"Another process holds {connections.parent}/lock but its servers are not ready; end it."
            )
        time.sleep(0.2)
