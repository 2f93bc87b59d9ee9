"""Run the server from a shell: `python -m fakeoracle --port 0 --database FILE --service NAME --user TMS`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading

from .server import serve

_PASSWORD = "FAKEORACLE_PASSWORD"  # noqa: S105 - the name of a variable, not a password


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m fakeoracle",
        description="An Oracle server for tests and demonstrations, on loopback only, with DuckDB behind it.",
        epilog=f"The password of every --user is taken from the environment variable {_PASSWORD}. When the server is "
        'ready it prints one line of JSON: {"host": ..., "port": ..., "dsn": ...}. SIGTERM and SIGINT end it cleanly.',
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; must be loopback (default 127.0.0.1)"
    )
    parser.add_argument(
        "--port", type=int, default=0, help="port to listen on; 0 takes a free one (default 0)"
    )
    parser.add_argument(
        "--database", metavar="FILE", help="DuckDB file that keeps the tables (default: in memory)"
    )
    parser.add_argument(
        "--service", default="FREEPDB1", help="service name clients connect to (default FREEPDB1)"
    )
    parser.add_argument(
        "--user",
        action="append",
        metavar="NAME",
        help="user and schema; may be given several times (default TMS)",
    )
    parser.add_argument(
        "--login-seconds",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="hang up on a client that is not logged in by then (default 60)",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Serve until a signal arrives; return the exit status."""
    arguments = _arguments(argv)
    password = os.environ.get(_PASSWORD)
    if not password:
        print(f"fakeoracle: set {_PASSWORD} to the password of the users, then start again", file=sys.stderr)
        return 2
    users = {name.upper(): password for name in arguments.user or ["TMS"]}
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        with serve(
            arguments.database,
            users,
            arguments.service,
            arguments.port,
            host=arguments.host,
            login_seconds=arguments.login_seconds,
        ) as server:
            print(json.dumps({"host": server.host, "port": server.port, "dsn": server.dsn}), flush=True)
            stop.wait()
    except (OSError, ValueError) as error:
        print(f"fakeoracle: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
