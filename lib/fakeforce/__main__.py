"""``python -m fakeforce``: an org in its own process. Prints one line of JSON when it is ready."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import uvicorn

from .errors import FakeforceError
from .server import Org, check_loopback, make_server, running

_EPILOG = """\
The app's client id and secret come from the environment, FAKEFORCE_CLIENT_ID and
FAKEFORCE_CLIENT_SECRET (default: demo-client and demo-secret). When the org is ready, one line
goes to stdout: {"url": "http://127.0.0.1:18080"}. SIGTERM and SIGINT end it; with --state, tables
and jobs are there again at the next start, and unfinished jobs go on.
"""


def main(argv: list[str] | None = None) -> int:
    """Run until told to end. Returns 0, or 2 when it cannot start."""
    given = _arguments(argv)
    client_id = os.environ.get("FAKEFORCE_CLIENT_ID", "demo-client")
    client_secret = os.environ.get("FAKEFORCE_CLIENT_SECRET", "demo-secret")
    try:
        check_loopback(given.host)
        org = Org(
            given.schema, state=given.state, client_id=client_id, client_secret=client_secret, seed=given.seed
        )
    except (FakeforceError, OSError) as error:
        print(f"fakeforce: {error}", file=sys.stderr)
        return 2
    try:
        server, listener = make_server(org, given.host, given.port)
    except OSError as error:
        print(f"fakeforce: cannot listen on {given.host}:{given.port}: {error}", file=sys.stderr)
        org.stop()
        return 2
    _run(org, server, listener)
    return 0


def _run(org: Org, server: uvicorn.Server, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT. uvicorn in a thread leaves signals and exit status to us."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with running(org, server, listener):
        print(json.dumps({"url": org.url}), flush=True)
        ended.wait()


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m fakeforce",
        description="A Salesforce org on loopback.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--schema", required=True, type=Path, help="folder of .toml files")
    parser.add_argument("--state", type=Path, help="file that keeps the data")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address")
    parser.add_argument("--port", default=0, type=int, help="port, 0 for a free one (default: %(default)s)")
    parser.add_argument(
        "--seed", default=1, type=int, help="seed of the order of rows (default: %(default)s)"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
