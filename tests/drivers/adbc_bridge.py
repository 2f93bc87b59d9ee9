"""Does with adbc-driver-oracle what a test asks for: a request of JSON on each line in, an answer of JSON on each line out.

Runs in a Python of its own, which has the driver and nothing of this project.
"""

import datetime
import json
import sys
from decimal import Decimal
from typing import Any

from adbc_driver_oracle import dbapi


class Bridge:
    """One connection and what may be asked of it."""

    def login(self, dsn: str, user: str, password: str, fetch: int) -> str:
        """Connect; rows come in round trips of `fetch`, and numbers as text, which keeps their digits."""
        options = {"username": user, "password": password, "adbc.oracle.number_mode": "string",
                   "adbc.oracle.prefetch_rows": str(fetch), "adbc.oracle.batch_size": str(fetch)}  # fmt: skip
        self.connection = dbapi.connect(f"oracle://{dsn}", db_kwargs=options)
        return str(self.connection.adbc_get_info()["vendor_version"])

    def query(self, sql: str, binds: list[Any]) -> list[list[Any]]:
        """Return all rows of a query."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, [from_json(value) for value in binds] or None)
            return [[to_json(value) for value in row] for row in cursor.fetchall()]

    def change(self, sql: str, rows: list[list[Any]]) -> int:
        """Run a statement once, or once for each of `rows`; return the rows affected."""
        with self.connection.cursor() as cursor:
            if rows:
                cursor.executemany(sql, [[from_json(value) for value in row] for row in rows])
            else:
                cursor.execute(sql)
            return cursor.rowcount

    def commit(self) -> None:
        """Keep what was changed."""
        self.connection.commit()

    def rollback(self) -> None:
        """Undo what was changed."""
        self.connection.rollback()

    def close(self) -> None:
        """Log off."""
        self.connection.close()


def from_json(value: Any) -> Any:
    """Return what the driver binds: `{"moment": text}` is a datetime."""
    return datetime.datetime.fromisoformat(value["moment"]) if isinstance(value, dict) else value


def to_json(value: Any) -> Any:
    """Return what the test reads: moments as ISO text."""
    return value.isoformat() if isinstance(value, datetime.datetime) else value


def main() -> None:
    """Answer until the requests end."""
    bridge = Bridge()
    for line in sys.stdin:
        request = json.loads(line, parse_float=Decimal)
        try:
            answer = {"answer": getattr(bridge, request.pop("do"))(**request)}
        except dbapi.Error as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


main()
