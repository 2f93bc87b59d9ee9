"""``python -m fakeforce``: an org in its own process. Prints one line of JSON when it is ready."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import threading
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn

from .errors import FakeforceError
from .faults import Fault
from .server import Org, check_loopback, make_server, running, tls_files

_EPILOG = """\
The app's client id and secret come from the environment, FAKEFORCE_CLIENT_ID and
FAKEFORCE_CLIENT_SECRET (default: demo-client and demo-secret). When the org is ready, one line
goes to stdout: {"url": "http://127.0.0.1:18080"}, with "ca_file" for https. SIGTERM and SIGINT end
it; with --state, tables and jobs are there again at the next start, and unfinished jobs go on.

  python -m fakeforce --schema schema/ --port 18080 --tls certs/ \\
      --set expire_after=600 --fault 503:method=PUT,path=batches,times=2

Kinds of faults, their keys and all settings: README.md of the package.
"""

_NUMBERS: dict[str, Any] = {f.name: type(f.default) for f in fields(Fault) if type(f.default) in (int, float)}


def main(argv: list[str] | None = None) -> int:
    """Run until told to end. Returns 0, or 2 when it cannot start."""
    given = _arguments(argv)
    try:
        check_loopback(given.host)
        files = tls_files(given.tls, given.cert, given.key)
        org = _org(given)
    except (FakeforceError, OSError) as error:
        print(f"fakeforce: {error}", file=sys.stderr)
        return 2
    try:
        _prepare(org, given)
        server, listener = make_server(org, given.host, given.port, files)
    except FakeforceError as error:
        print(f"fakeforce: {error}", file=sys.stderr)
    except OSError as error:
        text = f"cannot listen on {given.host}:{given.port}: {error}; choose another --port, 0 for a free one"
        print(f"fakeforce: {text}", file=sys.stderr)
    else:
        _run(org, server, listener)
        return 0
    org.stop()
    return 2


def _org(given: argparse.Namespace) -> Org:
    return Org(
        given.schema,
        state=given.state,
        client_id=os.environ.get("FAKEFORCE_CLIENT_ID", "demo-client"),
        client_secret=os.environ.get("FAKEFORCE_CLIENT_SECRET", "demo-secret"),
        seed=given.seed,
        clock=given.clock,
    )


def _prepare(org: Org, given: argparse.Namespace) -> None:
    """Settings and faults of the command line. Raises FakeforceError."""
    org.change(**dict(given.set))
    org.faults.add_all(given.fault)


def _run(org: Org, server: uvicorn.Server, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT. uvicorn in a thread leaves signals and exit status to us."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with running(org, server, listener):
        print(json.dumps({"url": org.url} | ({"ca_file": org.ca_file} if org.ca_file else {})), flush=True)
        ended.wait()


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m fakeforce",
        description="A Salesforce org on loopback.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--schema", required=True, type=Path, metavar="DIR", help="folder of .toml files, one an object")
    add("--state", type=Path, metavar="FILE", help="file that keeps the data (default: forgotten at the end)")
    add("--host", default="127.0.0.1", help="a loopback address (default: %(default)s)")
    add("--port", default=0, type=_port, help="port, 0 for a free one (default: %(default)s)")
    add("--tls", type=Path, metavar="FOLDER", help="https: certificates are made in FOLDER, or found there")
    add("--cert", type=Path, metavar="FILE", help="https with this certificate (PEM); needs --key")
    add("--key", type=Path, metavar="FILE", help="key of --cert (PEM)")
    add("--seed", default=1, type=int, help="seed of the order of rows (default: %(default)s)")
    add("--clock", type=_moment, metavar="MOMENT", help="the org's time at the start, 2026-01-31T09:00:00Z")
    add(
        "--set",
        action="append",
        default=[],
        type=_setting,
        metavar="NAME=VALUE",
        help="a setting; repeatable",
    )
    add(
        "--fault", action="append", default=[], type=_fault, metavar="KIND[:KEY=VALUE,...]",
        help="a fault, also as a JSON object; repeatable",
    )  # fmt: skip
    return parser.parse_args(argv)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give 0 to 65535")
    return int(text)


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no moment; write it like 2026-01-31T09:00:00Z"
        ) from None
    if not 1970 <= found.year <= 9000:
        raise argparse.ArgumentTypeError(f"{text!r} is outside the years 1970 to 9000; choose one inside")
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} has no value; write it like expire_after=600")
    return name, _value(value)


def _fault(text: str) -> dict[str, Any]:
    """``KIND:key=value,...``, or a JSON object where a value holds a comma."""
    if text.startswith("{"):
        try:
            found: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is no JSON object: {error}; correct it") from None
        return found
    kind, _, rest = text.partition(":")
    pairs = [item.partition("=") for item in rest.split(",") if item]
    if any(not equals for _, equals, _ in pairs):
        raise argparse.ArgumentTypeError(
            f"{text!r} has a key without value; write it like 503:times=2,path=batches"
        )
    return {"kind": kind} | {key: _fault_value(key, value) for key, _, value in pairs}


def _fault_value(key: str, value: str) -> Any:
    """A number for a key that wants one; what is no number stays text, and the key refuses it."""
    kind = _NUMBERS.get(key)
    try:
        return kind(value) if kind else value
    except ValueError:
        return value


def _value(text: str) -> Any:
    """true, false and numbers as such, everything else as text."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, (bool, int, float)) else text


if __name__ == "__main__":
    sys.exit(main())
