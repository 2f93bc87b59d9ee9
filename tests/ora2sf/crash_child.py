"""Runs the upload of one slice, and ends it with SIGKILL at a chosen point: what test_crash.py kills and resumes.

    python crash_child.py FOLDER OPERATION [JSON]

A point is a name and a count: ``["after PATCH /jobs/ingest/{job}", 3]`` is the third time that this is reached. Each HTTP call
has one before it and one after it, and the upload one inside its body; each write to the ledger has one before it, one before
its commit and one after it. With ``{"record": FILE}`` nothing is killed and every point is written down.

Without arguments it takes requests, one JSON list of arguments a line, and forks for each one, so that imports are paid once.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import traceback
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from ora2sf.ledger import Ledger
from ora2sf.rounds import Rounds
from ora2sf.salesforce import SalesforceBulkLoader, SalesforceClient
from ora2sf.upload import plan, upload

OBJECT, KEY = "Thing__c", "Key__c"


class Points:
    """Counts the points that are reached, kills at one of them, or writes all of them down."""

    def __init__(self, kill: list[Any] | None = None, record: str | None = None) -> None:
        self._kill, self._record = kill, Path(record) if record else None
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()

    def reached(self, name: str) -> None:
        """May not return."""
        with self._lock:
            self._seen[name] += 1
            if self._kill == [name, self._seen[name]]:
                os.kill(os.getpid(), signal.SIGKILL)
            if self._record:
                with self._record.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([name, self._seen[name]]) + "\n")

    def all_reached(self, moment: str, names: list[str]) -> None:
        """Several points in one place."""
        for name in names:
            self.reached(f"{moment} {name}")

    def watch(self) -> None:
        """From now on every call and every write to a ledger reaches its points."""
        points, send, transaction = self, HTTPAdapter.send, Ledger._transaction

        def watched_send(adapter: HTTPAdapter, request: requests.PreparedRequest, **given: Any) -> Any:
            url = urlsplit(str(request.url))
            path = re.sub("/750[0-9A-Za-z]{15}", "/{job}", url.path.partition("/v66.0")[2] or url.path)
            name = f"{request.method} {path}"
            if hasattr(request.body, "read"):
                request.body = _WatchedBody(request.body, lambda: points.reached(f"inside {name}"))  # type: ignore[assignment]
            points.reached(f"before {name}")
            answer = send(adapter, request, **given)
            points.reached(f"after {name}")
            return answer

        def watched_transaction(ledger: Ledger) -> Any:
            caller = sys._getframe(1)
            # moves that share a write or not, as the job's end is seen early or late, reach the same points
            states = caller.f_locals.get("states", ("",))
            names = [f"ledger {caller.f_code.co_name} {state}".strip() for state in states]
            points.all_reached("before", names)
            return _WatchedTransaction(transaction(ledger), names, points)

        HTTPAdapter.send = watched_send  # type: ignore[method-assign,assignment]
        Ledger._transaction = watched_transaction  # type: ignore[method-assign]


class _WatchedBody:
    """A request body in two halves: the point is reached when the first is on the wire."""

    def __init__(self, body: Any, reached: Any) -> None:
        self._body, self._reached, self._reads = body, reached, 0

    def __len__(self) -> int:
        return len(self._body)

    def __iter__(self) -> Any:
        return iter(self._body)

    def read(self, size: int = -1) -> bytes:
        """At most half of the whole."""
        self._reads += 1
        if self._reads == 2:
            self._reached()
        half = -(-len(self._body) // 2)
        return self._body.read(half if size < 0 else min(size, half))

    def close(self) -> None:
        """Closes the body."""
        self._body.close()


class _WatchedTransaction:
    def __init__(self, inner: Any, names: list[str], points: Points) -> None:
        self._inner, self._names, self._points = inner, names, points

    def __enter__(self) -> Any:
        return self._inner.__enter__()

    def __exit__(self, *error: Any) -> Any:
        self._points.all_reached("inside", self._names)
        found = self._inner.__exit__(*error)
        self._points.all_reached("after", self._names)
        return found


def run(folder: str, operation: str, given: dict[str, Any] | None = None) -> None:
    """One upload of the slice, from whatever its ledger says."""
    Points(**(given or {})).watch()
    home = Path(folder)
    client = SalesforceClient("salesforce_api", first_wait=0.01)
    loader = SalesforceBulkLoader(
        client, OBJECT, KEY, operation=operation, logs=home / "logs", poll_interval=0.05,
        max_concurrent_jobs=4, max_concurrent_uploads=2,
    )  # fmt: skip
    with Ledger(home / "ledger.sqlite") as ledger:
        upload(plan(ledger), ledger, loader, home / "data", rounds=Rounds(pause=0.0))
    client.close()


def serve() -> None:
    """Answers each request with the child's status and what it said."""
    for line in sys.stdin:
        folder, *rest = json.loads(line)
        said = Path(folder) / "said.txt"
        child = os.fork()
        if not child:
            status = 1
            try:
                run(folder, *rest)
                status = 0
            except BaseException:  # noqa: BLE001 - the parent is told
                said.write_text(traceback.format_exc(), encoding="utf-8")
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)


if __name__ == "__main__":
    if sys.argv[1:]:
        run(*sys.argv[1:3], *map(json.loads, sys.argv[3:]))
    else:
        serve()
