"""The org's daily limits: what an upload needs of them, what is used, and when a run pauses before it begins the next batch.

Three of them roll: what was used leaves the window 24 hours later. They belong to the whole org, so what other slices and
other runs begin is added up from one small file a slice, ``<outputs>/<run_id>/campaign/budget/<slice>.json``.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ora2sf.claim import written
from ora2sf.errors import Paused, PreflightError
from ora2sf.ledger import Batch, Ledger, Use
from ora2sf.plan import CALLS_OF_A_JOB, internal_batches, megabytes
from ora2sf.salesforce import SalesforceClient
from ora2sf.salesforce.collections import MOST_RECORDS

#: Records of Bulk API in 24 hours; ``/limits`` has no entry for them (Salesforce Developer Limits: Bulk API 2.0).
RECORDS = "Bulk API records"
_MOST_RECORDS = 150_000_000
_BATCHES, _CALLS, _STORAGE = "DailyBulkApiBatches", "DailyApiRequests", "DataStorageMB"
_WINDOW, _MINUTE = dt.timedelta(hours=24), dt.timedelta(minutes=1)
#: Seconds after which ``/limits`` is asked again; it is accurate to five minutes (REST API guide: Limits).
_FRESH = 300.0
#: A header's time is cut to seconds.
_CUT = dt.timedelta(seconds=2)


@dataclass(frozen=True)
class Cost:
    """What one batch takes: internal batches and records of Bulk API, and calls."""

    batches: int
    records: int
    calls: int


def of_job(batch: Batch) -> Cost:
    """A batch that goes as one Bulk API job."""
    return Cost(internal_batches(batch.rows), batch.rows, CALLS_OF_A_JOB)


def of_calls(batch: Batch) -> Cost:
    """A batch that goes through sObject Collections: no job, no internal batch."""
    return Cost(0, 0, math.ceil(batch.rows / MOST_RECORDS))


@dataclass(frozen=True)
class Standing:
    """One limit, in its own unit.

    Attributes:
        used: of ``allowed``, by everybody; of records only what runs of this outputs folder sent in 24 hours is known.
        ours: of ``used``, by these runs in 24 hours; None if it cannot be told.
        reserve: kept for others.
        left: what is neither used nor kept; below zero where the reserve is begun.
        needed: by the batches that are still to be sent.
        problem: what is wrong, or empty; stops: waiting does not help.
    """

    limit: str
    allowed: int
    used: int
    ours: int | None
    reserve: int
    left: int
    needed: int = 0
    problem: str = ""
    stops: bool = False


class Budget:
    """What one slice may still begin.

    Args:
        outputs: folder of all runs.
        own: file of this slice, for the others to read.
        reserve: percent of each rolling limit that is left to others.
        cost: what a batch takes.
    """

    def __init__(
        self,
        client: SalesforceClient,
        ledger: Ledger,
        outputs: Path,
        own: Path,
        reserve: int,
        cost: Callable[[Batch], Cost] = of_job,
    ) -> None:
        self._client, self._ledger, self._outputs, self._own = client, ledger, outputs, own
        self._reserve, self._cost = reserve, cost
        self._lock = threading.Lock()
        self._limits: Mapping[str, Mapping[str, int]] = {}
        self._asked, self._asked_at = -math.inf, client.now()
        self._begun = 0  # internal batches since then
        self._calls_noted = 0
        self._read: dict[Path, tuple[int, list[Use]]] = {}

    def needs(self, to_send: Sequence[Batch], in_target: Callable[[], int]) -> list[Standing]:
        """Every limit that the org names, with what these batches need.

        Args:
            in_target: tells the COUNT of the object; so many rows at most update a record and need no storage.
        """
        costs = [self._cost(batch) for batch in to_send]
        with self._lock:
            self._ask(fresh=True)
            rolling = [_judged(one, [_part(cost, one.limit) for cost in costs]) for one in self._standings()]
        return [*self._storage(sum(batch.rows for batch in to_send), in_target), *rolling]

    def begin(self, batch: Batch) -> None:
        """Called before a batch's job is created; what it takes is recorded.

        Raises:
            Paused: it would use what is reserved; nothing of it was begun.
            PreflightError: it will never fit.
        """
        cost = self._cost(batch)
        with self._lock:
            self._ask()
            for standing in self._standings():
                due = self._ledger.in_flight() * CALLS_OF_A_JOB if standing.limit == _CALLS else 0
                needed = _part(cost, standing.limit)
                if needed and needed + due > standing.left:
                    raise self._refusal(batch, standing, needed, due)
            self._begun += cost.batches
            self._note(cost)

    def finish(self) -> None:
        """Records the calls that were made since the last batch began."""
        with self._lock:
            self._note(Cost(0, 0, 0))

    # what is used

    def _ask(self, *, fresh: bool = False) -> None:
        if fresh or time.monotonic() - self._asked > _FRESH:
            self._limits = self._client.limits()
            self._asked, self._asked_at, self._begun = time.monotonic(), self._client.now(), 0

    def _standings(self) -> Iterator[Standing]:
        """Each rolling limit."""
        others = list(self._others())
        uses = [*self._own_uses(), *others]
        if _BATCHES in self._limits:
            since = written(self._asked_at - _CUT)
            begun = self._begun + sum(use.batches for use in others if use.at > since)
            allowed, used = self._reported(_BATCHES)
            yield self._standing(_BATCHES, allowed, used + begun, uses)
        yield self._standing(RECORDS, _MOST_RECORDS, sum(use.records for use in uses), uses)
        if _CALLS in self._limits:
            allowed, used = self._reported(_CALLS)
            told, _ = self._client.api_usage.get("api-usage", (0, 0))
            yield self._standing(_CALLS, allowed, max(used, told), uses)

    def _standing(self, limit: str, allowed: int, used: int, uses: Iterable[Use]) -> Standing:
        reserve = math.ceil(allowed * self._reserve / 100)
        ours = sum(_part(use, limit) for use in uses)
        return Standing(limit, allowed, used, ours, reserve, allowed - used - reserve)

    def _reported(self, limit: str) -> tuple[int, int]:
        """Allowed, and used as the org says."""
        most, left = int(self._limits[limit]["Max"]), int(self._limits[limit]["Remaining"])
        return most, most - left

    def _storage(self, rows: int, in_target: Callable[[], int]) -> Iterator[Standing]:
        """Storage does not roll and has no reserve: it is judged once for the whole upload."""
        if _STORAGE not in self._limits:
            return
        allowed, used = self._reported(_STORAGE)
        needed, left = megabytes(rows), allowed - used
        problem, stops = "", False
        if needed > left:
            stops = megabytes(max(0, rows - in_target())) > left
            fits = "Nothing can be loaded" if stops else "It may not suffice"
            problem = f"{fits}: about {needed:,} are needed and {left:,} are left. {_FREE_STORAGE}"
        yield Standing(_STORAGE, allowed, used, None, 0, left, needed, problem, stops)

    # when it may go on

    def _refusal(self, batch: Batch, standing: Standing, needed: int, due: int) -> Paused | PreflightError:
        """``due``: what jobs in flight still need."""
        numbers = f"{standing.allowed:,} in 24 hours, {standing.used:,} used, {standing.reserve:,} reserved"
        what = f"batch {batch.number} needs {needed:,} of {standing.limit} ({numbers})"
        if needed > standing.allowed - standing.reserve:
            return PreflightError(
                f"Nothing more can be sent: {what}, which will never be free.",
                "Lower reserve, or stage smaller batches with a new run_id and batch_size.",
            )
        until, why = self._free_again(standing.limit, needed + due - standing.left)
        return Paused(
            f"Paused by budget before a limit of the org was passed: {what}.",
            f"Run 02_upload again with the same run_id from {until + _MINUTE:%Y-%m-%d %H:%M} UTC: {why}",
            until=written(until),
        )

    def _free_again(self, limit: str, lacking: int) -> tuple[dt.datetime, str]:
        """When so much has left the window, as far as these runs' own use tells."""
        freed = 0
        for use in sorted([*self._own_uses(), *self._others()]):
            freed += _part(use, limit)
            if freed >= lacking:
                return dt.datetime.fromisoformat(use.at) + _CUT + _WINDOW, _OURS_ROLLS
        return self._client.now() + _CUT + _WINDOW, _OTHERS_ROLL

    # the files

    def _note(self, cost: Cost) -> None:
        """Into the ledger first, which refuses a process that was replaced; then into the file that others read."""
        calls, self._calls_noted = self._client.calls - self._calls_noted, self._client.calls
        now = self._client.now()
        self._ledger.use(Use(written(now), cost.batches, cost.records, calls))
        uses = [asdict(use) for use in _by_minute(self._own_uses())]
        self._own.parent.mkdir(parents=True, exist_ok=True)
        part = self._own.with_name(self._own.name + ".part")
        part.write_text(json.dumps({"version": 1, "org": self._org, "uses": uses}) + "\n", encoding="utf-8")
        part.replace(self._own)

    def _own_uses(self) -> list[Use]:
        return self._ledger.uses(written(self._client.now() - _WINDOW))

    def _others(self) -> Iterator[Use]:
        """What other slices, of this run and of others, have used of the same org in 24 hours."""
        since = written(self._client.now() - _WINDOW)
        for path in sorted(self._outputs.glob("*/campaign/budget/*.json")):
            if path != self._own:
                yield from (use for use in self._uses(path) if use.at > since)

    def _uses(self, path: Path) -> list[Use]:
        """A slice's file, read again when it has changed; nothing if it is of another org, or cannot be read."""
        with suppress(OSError):
            changed = path.stat().st_mtime_ns
            if self._read.get(path, (0, []))[0] != changed:
                org, uses = read_uses(path)
                self._read[path] = changed, uses if org == self._org else []
            return self._read[path][1]
        return []

    @property
    def _org(self) -> str:
        return urlsplit(self._client.instance_url).netloc


def read_uses(path: Path) -> tuple[str, list[Use]]:
    """The org and the uses of a slice's file; nothing if it cannot be read: the reserve is there for that, too."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return str(kept["org"]), [Use(**use) for use in kept["uses"]]
    return "", []


def _by_minute(uses: Iterable[Use]) -> Iterator[Use]:
    """The uses of each minute as one, at its last moment."""
    for _, same in itertools.groupby(uses, lambda use: use.at[:16]):
        at, *columns = zip(*map(astuple, same), strict=True)
        yield Use(max(at), *map(sum, columns))


def _part(cost: Cost | Use, limit: str) -> int:
    """What a cost takes of a limit."""
    return {_BATCHES: cost.batches, RECORDS: cost.records, _CALLS: cost.calls}[limit]


def _judged(standing: Standing, needs: Sequence[int]) -> Standing:
    """A standing with what each batch needs."""
    problem, largest, needed = "", max(needs, default=0), sum(needs)
    never = largest > standing.allowed - standing.reserve
    if never:
        problem = f"A batch that needs {largest:,} will never fit: lower reserve, or stage smaller batches with a new run_id."
    elif needed and needed > standing.left:
        problem = "It may not suffice: the upload then pauses, and goes on with the same run_id."
    return replace(standing, needed=needed, problem=problem, stops=never)


_FREE_STORAGE = (
    "Delete records that nobody needs, or buy data storage; storage is counted anew within minutes."
)
_OURS_ROLLS = "then enough of what these runs used is 24 hours old. What others use meanwhile is not known."
_OTHERS_ROLL = (
    "by then all that is used now is 24 hours old. Others have used most of it; when it began is not known, so it may "
    "be free earlier."
)
