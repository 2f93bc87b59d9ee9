"""How fast fakeoracle serves rows: `python bench/fakeoracle.py [--rows N] [--sizes N,N] [--rounds N] [--keep]`.

One query of ten mixed columns is read with fetch_df_batches from three servers in turn, each in a process of its own:
(a) `canned`, which sends recorded replies and does nothing else: the most that driver and client can take;
(b) `cache`, `python -m fakeoracle --cache`; (c) `duckdb`, `python -m fakeoracle`. Medians of all rounds.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import oracledb
from measuring import kept, parser, peak_mb, processor_seconds

USER, PASSWORD = "TMS", "secret"
COLUMNS = (
    "id number(10) not null, price number(12,2), factor number, name varchar2(40), code char(8), day date, "
    "changed timestamp(6), amount number(16,4), note varchar2(100), flag varchar2(1)"
)
QUERY = "select * from bench"
INSERTED = 50_000  # rows of one executemany
#: Serves what :func:`record` wrote.
REPLAY = str(Path(__file__).with_name("replay.py"))
CACHE_GOAL, DUCKDB_GOAL = 0.6, 60_000


class Measured(NamedTuple):
    """One reading of the whole table."""

    rows_per_second: float
    server_cpu: float
    server_megabytes: float


def row(number: int) -> tuple[Any, ...]:
    """A row of the table, with a NULL here and there."""
    day = datetime.datetime(2024, 5, 1) + datetime.timedelta(seconds=number)  # noqa: DTZ001 - no time zone in DATE
    cells = (
        Decimal(number * 7919 % 10**9).scaleb(-2),
        Decimal(number + 1).scaleb(number % 20 - 10),
        f"สินค้า {number % 1000}",
        f"C{number % 10_000:04d}",
        day,
        day + datetime.timedelta(microseconds=number),
        Decimal(number * 31 % 10**12).scaleb(-4),
        "x" * (number % 90),
        "YN"[number % 2],
    )
    return (number, *(None if (number + place) % 11 == 0 else cell for place, cell in enumerate(cells)))


# --- servers ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def process(command: list[str]) -> Iterator[tuple[int, str]]:
    """Run a server that prints its address as JSON; give its process id and dsn.

    -P keeps this file's folder off the path, where this file would hide the package of the same name.
    """
    environment = os.environ | {"FAKEORACLE_PASSWORD": PASSWORD}
    with subprocess.Popen(
        [sys.executable, "-P", *command], env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            yield server.pid, json.loads(server.stdout.readline())["dsn"]
        finally:
            server.terminate()


def connect(dsn: str) -> oracledb.Connection:
    """Log in."""
    return oracledb.connect(user=USER, password=PASSWORD, dsn=dsn)


def fill(dsn: str, rows: int) -> float:
    """Insert the rows; return how many were inserted in a second."""
    spent = 0.0
    with connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute(f"create table bench ({COLUMNS})")
        marks = ", ".join(f":{place}" for place in range(1, 11))
        for start in range(0, rows, INSERTED):
            batch = [row(number) for number in range(start, min(start + INSERTED, rows))]
            began = time.perf_counter()
            cursor.executemany(f"insert into bench values ({marks})", batch)
            spent += time.perf_counter() - began
        connection.commit()
    return rows / spent


def read(connection: oracledb.Connection, size: int) -> int:
    """Read the whole table; return its rows."""
    return sum(frame.num_rows() for frame in connection.fetch_df_batches(QUERY, size=size))


def _read_once(dsn: str, size: int) -> None:
    with connect(dsn) as connection:
        read(connection, size)


# --- the canned stream -----------------------------------------------------------------------------------------------


def record(dsn: str, reading: Callable[[str], object], path: Path) -> None:
    """Write the server's replies to the calls of a reading after its login to a file, one for each request.

    The reading is given the address to connect to; it connects once and ends its session.
    """
    address, _, service = dsn.rpartition("/")
    replies: list[bytearray] = []
    login = 0

    def logged_in(*given: Any, **named: Any) -> oracledb.Connection:
        nonlocal login
        connection = really(*given, **named)
        login = len(replies)
        return connection

    really = oracledb.connect
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        mock.patch.object(oracledb, "connect", logged_in),
    ):
        port = int(address.rpartition(":")[2])
        thread = threading.Thread(target=_forward, args=(listener, port, replies))
        thread.start()
        reading(f"127.0.0.1:{listener.getsockname()[1]}/{service}")
        thread.join()
    said = [reply for reply in replies[login:] if reply]  # the last one answers the logoff
    with path.open("wb") as file:
        file.writelines(said)
    path.with_suffix(".json").write_text(json.dumps([len(reply) for reply in said]))


def _forward(listener: socket.socket, port: int, replies: list[bytearray]) -> None:
    """Pass one connection on; what the server says after each word of the client is one reply."""
    client, _ = listener.accept()
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        answering = True
        while True:
            for ready in select.select([client, server], [], [])[0]:
                data = ready.recv(1 << 20)
                if not data:
                    return
                if ready is client:
                    if answering:
                        replies.append(bytearray())
                    answering = False
                    server.sendall(data)
                else:
                    replies[-1] += data
                    answering = True
                    client.sendall(data)


# --- measuring -------------------------------------------------------------------------------------------------------


def measure(pid: int, dsn: str, size: int, rows: int) -> Measured:
    """Read the table once."""
    with connect(dsn) as connection:
        before, began = processor_seconds(pid), time.perf_counter()
        found = read(connection, size)
        seconds = time.perf_counter() - began
        if found != rows:
            raise SystemExit(f"{found} rows in place of {rows}")
    return Measured(rows / seconds, processor_seconds(pid) - before, peak_mb(pid))


def show(what: str, size: int, measured: list[Measured]) -> float:
    """Print the medians; return rows a second."""
    speed, cpu, peak = (statistics.median(numbers) for numbers in zip(*measured, strict=True))
    print(
        f"{size:>8,} {what:<8} {speed:>12,.0f} rows/s  server {cpu:6.2f} s cpu  {peak:7,.0f} MB at most",
        flush=True,
    )
    return speed


def bench(rows: int, sizes: list[int], rounds: int) -> None:
    """Measure and print."""
    help_text = subprocess.run(
        [sys.executable, "-m", "fakeoracle", "--help"], capture_output=True, text=True, check=True
    ).stdout
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        file = f"{folder}/bench.duckdb"
        command = ["-m", "fakeoracle", "--user", USER, "--database"]
        with process([*command, file]) as (_, dsn):
            print(f"executemany  {fill(dsn, rows):,.0f} rows/s in batches of {INSERTED:,}", flush=True)
        servers = {"duckdb": stack.enter_context(process([*command, file]))}
        if "--cache" in help_text:
            copy = Path(folder, "cache.duckdb")
            copy.write_bytes(Path(file).read_bytes())
            servers["cache"] = stack.enter_context(process([*command, str(copy), "--cache"]))
        else:
            print("fakeoracle has no option --cache here: (b) is left out")
        for size in sizes:
            _bench_size(folder, servers, size, rows, rounds)


def _bench_size(folder: str, servers: dict[str, tuple[int, str]], size: int, rows: int, rounds: int) -> None:
    dsn = servers["duckdb"][1]
    recorded = Path(folder, f"{size}.replies")
    record(dsn, lambda address: _read_once(address, size), recorded)
    with process([REPLAY, str(recorded)]) as canned:
        turns = {"canned": canned} | servers
        measured: dict[str, list[Measured]] = {what: [] for what in turns}
        for pid, address in turns.values():
            measure(pid, address, size, rows)  # warms up, and fills the cache
        for _ in range(rounds):
            for what, (pid, address) in turns.items():
                measured[what].append(measure(pid, address, size, rows))
    speeds = {what: show(what, size, measured[what]) for what in turns}
    for what in servers:
        print(f"{'':8} {what} / canned = {speeds[what] / speeds['canned']:.2f}")
    if "cache" in speeds and speeds["cache"] < CACHE_GOAL * speeds["canned"]:
        print(f"{'':8} below the goal of {CACHE_GOAL} of canned")
    if speeds["duckdb"] < DUCKDB_GOAL:
        print(f"{'':8} below the goal of {DUCKDB_GOAL:,} rows/s from DuckDB")


def main() -> None:
    """Read the arguments."""
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument(
        "--sizes", default="1000,10000,50000", help="array sizes (default 1000,10000,50000)"
    )
    arguments.add_argument("--rounds", type=int, default=3)
    given = arguments.parse_args()
    with kept("fakeoracle", keep=given.keep):
        bench(given.rows, [int(size) for size in given.sizes.split(",")], given.rounds)


if __name__ == "__main__":
    main()
