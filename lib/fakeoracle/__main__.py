"""Run the server from a shell: `python -m fakeoracle --port 0 --database FILE --service NAME --user TMS`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

from .faults import KINDS, PLACES, Faults
from .profiles import PROFILES
from .scripted import Scripted
from .server import Server, serve

_PASSWORD = "FAKEORACLE_PASSWORD"  # noqa: S105 - the name of a variable, not a password


def parser() -> argparse.ArgumentParser:
    """Return what the command line takes."""
    out = argparse.ArgumentParser(
        prog="python -m fakeoracle",
        description="An Oracle server for tests and demonstrations, on loopback only, with DuckDB behind it.",
        epilog=f"The password of every --user is taken from the environment variable {_PASSWORD}. When the server is "
        'ready it prints one line of JSON: {"host": ..., "port": ..., "dsn": ..., "profile": ...}, with "ca_file" if it '
        'made certificates and "loaded" if --schema or --data is given. SIGTERM and SIGINT end it cleanly.',
    )
    add = out.add_argument
    add("--host", default="127.0.0.1", help="address to listen on; must be loopback (default 127.0.0.1)")
    add("--port", type=int, default=0, help="port to listen on; 0 takes a free one (default 0)")
    add("--database", metavar="FILE", help="DuckDB file that keeps the tables (default: in memory)")
    add("--service", default="FREEPDB1", help="service name clients connect to (default FREEPDB1)")
    add("--user", action="append", metavar="NAME", help="user and schema; may be repeated (default TMS)")
    add("--profile", choices=PROFILES, default="19c", help="release to pass for (default 19c)")
    add("--tls", metavar="FOLDER", help="encrypt (tcps), with certificates kept in FOLDER, made if missing")
    add("--cert", metavar="FILE", help="encrypt with this certificate (PEM); needs --key")
    add("--key", metavar="FILE", help="the key of --cert (PEM)")
    add(
        "--schema",
        metavar="FILE",
        help="SQL statements to run at the start as the first user, ended by ; or by / on a line of its own; "
        "left out, with --data, if that user owns a table already",
    )
    add(
        "--data",
        metavar="DIR",
        help="folder of TABLE.csv and TABLE.parquet to insert at the start (header: column names; empty: NULL; "
        "dates: ISO)",
    )
    add("--script", metavar="FILE", help="answer from this TOML or JSON file instead of a database")
    add("--cache", action="store_true", help="keep the results of queries in memory, for benchmarks")
    add("--cache-megabytes", type=int, default=512, metavar="N", help="most that --cache keeps (default 512)")
    add("--no-compress-rows", action="store_true", help="send values again that are as in the row before")
    add(
        "--fault",
        action="append",
        default=[],
        metavar="PLACE:CALL=KIND",
        help="switch a fault on, e.g. fetch:3=ORA-01555, fetch:p0.01=drop-rst, connect:*=refuse-12514, "
        f"'execute:1=slow-0.5 sql=T_SALES'; may be repeated. Places: {', '.join(PLACES)}. Kinds: {', '.join(KINDS)}",
    )
    add("--seed", type=int, default=0, help="decides what the rates of --fault hit (default 0)")
    add(
        "--revoke",
        action="append",
        default=[],
        metavar="USER:NAME",
        help="take a privilege from a user: V$DATABASE, DBMS_FLASHBACK, FLASHBACK or 'SELECT ANY TABLE'; may be repeated",
    )
    add(
        "--login-seconds",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="hang up on a client that is not logged in by then (default 60)",
    )
    return out


def _revoked(options: list[str]) -> dict[str, set[str]]:
    revoked: dict[str, set[str]] = {}
    for option in options:
        user, colon, name = option.partition(":")
        if not colon:
            raise ValueError(f"--revoke {option}: write USER:NAME")
        revoked.setdefault(user.upper(), set()).add(name)
    return revoked


def main(argv: list[str] | None = None) -> int:
    """Serve until a signal arrives; return the exit status."""
    arguments = parser().parse_args(argv)
    password = os.environ.get(_PASSWORD)
    if not password:
        print(f"fakeoracle: set {_PASSWORD} to the password of the users, then start again", file=sys.stderr)
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        _check(arguments)
        _serve(arguments, password, stop)
    except (OSError, ValueError) as error:
        print(f"fakeoracle: {error}", file=sys.stderr)
        return 1
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Find mistakes before anything is opened."""
    trial = Faults()
    for text in arguments.fault:
        trial.add_text(text)
    database = {"--database": arguments.database, "--schema": arguments.schema, "--data": arguments.data}
    clash = [option for option, given in database.items() if given]
    if arguments.script and clash:
        raise ValueError(f"--script answers without a database: leave out {clash[0]}")
    for option, place, there in (
        ("--schema", arguments.schema, Path.is_file),
        ("--data", arguments.data, Path.is_dir),
        ("--script", arguments.script, Path.is_file),
        ("--cert", arguments.cert, Path.is_file),
        ("--key", arguments.key, Path.is_file),
    ):
        if place and not there(Path(place)):
            raise ValueError(f"{option}: there is no {place}; check the path")


def _serve(arguments: argparse.Namespace, password: str, stop: threading.Event) -> None:
    users = {name.upper(): password for name in arguments.user or ["TMS"]}
    with serve(
        arguments.database,
        users,
        arguments.service,
        arguments.port,
        host=arguments.host,
        profile=arguments.profile,
        backend=Scripted().load(arguments.script) if arguments.script else None,
        tls=arguments.tls or False,
        cert=arguments.cert,
        key=arguments.key,
        cache=arguments.cache,
        cache_bytes=arguments.cache_megabytes * 1024 * 1024,
        compress_rows=not arguments.no_compress_rows,
        seed=arguments.seed,
        revoked=_revoked(arguments.revoke),
        login_seconds=arguments.login_seconds,
        schema=arguments.schema,
        data=arguments.data,
    ) as server:
        for text in arguments.fault:
            server.faults.add_text(text)
        print(json.dumps(_ready(server, arguments)), flush=True)
        stop.wait()


def _ready(server: Server, arguments: argparse.Namespace) -> dict[str, object]:
    line: dict[str, object] = {"host": server.host, "port": server.port, "dsn": server.dsn}
    line["profile"] = arguments.profile
    if server.ca_file:
        line["ca_file"] = str(server.ca_file)
    if arguments.schema or arguments.data:
        line["loaded"] = server.loaded
    return line


if __name__ == "__main__":
    sys.exit(main())
