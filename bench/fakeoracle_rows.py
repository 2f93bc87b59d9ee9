"""How fast fakeoracle takes and gives rows: `python bench/fakeoracle_rows.py [rows] [--keep]`; one line of JSON a measurement.

The insert is one executemany of 50,000 rows at a time, the fetch is fetch_df_batches; `as of scn` reads the same rows as
of a moment before every tenth of them was changed and another tenth deleted.
"""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable

import oracledb
from measuring import kept, parser

import fakeoracle  # bench/fakeoracle.py, which stands beside this file

COLUMNS = (
    "id number(10), a number(12), b number(16,2), c varchar2(30), d varchar2(30 char), e char(4), f date, "
    "g timestamp(6), h number(5), i varchar2(100)"
)
CHUNK = 50_000


def _row(number: int) -> tuple[object, ...]:
    day = datetime.datetime(2024, 5, 1)  # noqa: DTZ001 - DATE has no time zone
    return (
        number,
        number * 7,
        number,
        f"{number:08d}",
        "text",
        "ab",
        day,
        day,
        number % 100,
        "x" * (number % 90),
    )


def _measured(what: str, rows: int, work: Callable[[], object]) -> None:
    start, cpu = time.perf_counter(), time.process_time()
    work()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    measured = {"seconds": round(seconds, 3), "cpu": round(cpu, 3), "rows/s": round(rows / seconds)}
    print(json.dumps({"what": what, "rows": rows} | measured))


def _read(connection: oracledb.Connection, sql: str, expected: int) -> None:
    read = sum(frame.num_rows() for frame in connection.fetch_df_batches(sql, size=10_000))
    if read != expected:
        raise SystemExit(f"{sql}: {read} rows in place of {expected}")


def main(rows: int) -> None:
    """Measure with `rows` rows of ten columns."""
    chunks = [[_row(i) for i in range(at, min(at + CHUNK, rows))] for at in range(0, rows, CHUNK)]
    marks = ", ".join(f":{number}" for number in range(1, 11))
    with (
        fakeoracle.process(["-m", "fakeoracle", "--user", fakeoracle.USER]) as (_, dsn),
        fakeoracle.connect(dsn) as connection,
    ):
        cursor = connection.cursor()
        cursor.execute(f"create table t ({COLUMNS})")

        def insert() -> None:
            for chunk in chunks:
                cursor.executemany(f"insert into t values ({marks})", chunk)
            connection.commit()

        def insert_one_by_one() -> None:
            for row in chunks[0][:500]:
                cursor.execute(f"insert into t values ({marks})", row)
                connection.commit()

        _measured("insert", rows, insert)
        for _ in range(3):
            _measured("select", rows, lambda: _read(connection, "select * from t", rows))
        scn = cursor.execute("select current_scn from v$database").fetchone()[0]
        for _ in range(3):
            _measured(
                "as of scn, nothing changed",
                rows,
                lambda: _read(connection, f"select * from t as of scn {scn}", rows),
            )
        _measured(
            "update a tenth", rows // 10, lambda: cursor.execute("update t set a = 0 where mod(id, 10) = 1")
        )
        _measured("delete a tenth", rows // 10, lambda: cursor.execute("delete from t where mod(id, 10) = 2"))
        connection.commit()
        _measured("select", rows, lambda: _read(connection, "select * from t", rows - rows // 10))
        _measured("as of scn", rows, lambda: _read(connection, f"select * from t as of scn {scn}", rows))
        _measured("insert and commit one by one", 500, insert_one_by_one)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("rows", nargs="?", type=int, default=500_000)
    given = arguments.parse_args()
    with kept("fakeoracle_rows", keep=given.keep):
        main(given.rows)
