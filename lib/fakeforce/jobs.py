"""The table of jobs, ingest and query alike: their fields, moves, age, and the answers about them.

Ids of both kinds are of one sequence and begin with 750 (seen).
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from .clock import Clock, stamp, wire
from .errors import ApiError, not_found
from .ids import normal_id, record_id
from .store import Store

Job = dict[str, Any]

USER_ID = record_id("005", 1)
INGEST, QUERY = "ingest", "query"
JOB_TYPES = {INGEST: "V2Ingest", QUERY: "V2Query"}
KNOWN_TYPES = {INGEST: ("BigObjectIngest", "Classic", "V2Ingest"), QUERY: ("Classic", "V2Query", "V2Ingest")}
RUNNING = ("UploadComplete", "InProgress")
TERMINAL = ("JobComplete", "Failed", "Aborted")
DELETABLE = {
    INGEST: ("UploadComplete", *TERMINAL),
    QUERY: TERMINAL,
}  # guide: Delete a Job, Delete a Query Job
KEPT = timedelta(days=7)  # limits: job records and results; jobs that never ended are cleaned up as well
OPEN = timedelta(hours=24)  # limits: maximum time that a job can remain open
LIST_ROWS = 1000  # Bulk API 2.0 guide: Get Information About All Ingest Jobs
FOR_EVER = "9999"


class Jobs:
    """The jobs of one kind."""

    def __init__(self, store: Store, clock: Clock, kind: str) -> None:
        self.store, self.clock, self.kind = store, clock, kind
        self.most = 0  # jobs that had not ended, at their most

    def add(self, version: str, state: str, values: dict[str, Any]) -> Job:
        """A new job; ``values`` are columns of the table."""
        now = stamp(self.clock.now())
        row = {"kind": self.kind, "api_version": version, "state": state, "created": now, "modified": now}
        row |= {"extra": "{}"} | values
        sql = f"INSERT INTO _job ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
        with self.store.transaction() as con:
            number = int(con.execute(sql, list(row.values())).lastrowid or 0)
            con.execute("UPDATE _job SET id = ? WHERE n = ?", (record_id("750", number), number))
            self.most = max(self.most, self._not_ended(con))
        # The worker may have moved it already; the answer is what the call did.
        return self.get(record_id("750", number)) | {"state": state}

    def _not_ended(self, con: sqlite3.Connection) -> int:
        sql = f"SELECT COUNT(*) FROM _job WHERE kind = ? AND state NOT IN ({','.join('?' * len(TERMINAL))})"
        return int(con.execute(sql, (self.kind, *TERMINAL)).fetchone()[0])

    def get(self, job_id: str) -> Job:
        """The stored job. Raises 404 for an unknown, deleted or aged-out id, or one of the other kind."""
        self.sweep()
        found = self.select("AND id = ?", normal_id(job_id))
        if not found:
            raise not_found()
        return found[0]

    def all(self) -> list[Job]:
        """All stored jobs, oldest first."""
        self.sweep()
        return self.select("")

    def select(self, where: str, *given: object) -> list[Job]:
        """The jobs under a condition that begins with AND."""
        return self._rows(f"kind = ? {where}", self.kind, *given)

    def _rows(self, where: str, *given: object) -> list[Job]:
        with self.store.reading() as con:
            cursor = con.cursor()
            cursor.row_factory = sqlite3.Row
            found = cursor.execute(f"SELECT * FROM _job WHERE {where} ORDER BY n", given)
            return [dict(row) for row in found]

    def running(self) -> list[Job]:
        """The jobs that are to be worked on and are not put off to a later time."""
        marks = ",".join("?" * len(RUNNING))
        now = stamp(self.clock.now())
        return self.select(f"AND state IN ({marks}) AND coalesce(not_before, '') <= ?", *RUNNING, now)

    def waiting(self) -> bool:
        """Whether a job waits for a moment of the org's time."""
        return bool(self.select("AND state IN (?,?) AND not_before > ?", *RUNNING, stamp(self.clock.now())))

    def move(
        self,
        job: Job,
        state: str,
        sources: tuple[str, ...],
        *,
        error: str | None = None,
        not_before: str | None = None,
    ) -> bool:
        """From one of ``sources`` to ``state``; False when the job is in another state by now."""
        marks = ",".join("?" * len(sources))
        sql = (
            "UPDATE _job SET state = ?, modified = ?, error = coalesce(?, error), not_before = ?"
            f" WHERE n = ? AND state IN ({marks})"
        )
        now = stamp(self.clock.now())
        with self.store.transaction() as con:
            moved = con.execute(sql, (state, now, error, not_before, job["n"], *sources)).rowcount
        return bool(moved)

    def put_off(self, job: Job, seconds: float) -> None:
        """Nothing happens to the job for some of the org's seconds; 0 is for ever."""
        until = stamp(self.clock.now() + timedelta(seconds=seconds)) if seconds else FOR_EVER
        with self.store.transaction() as con:
            con.execute("UPDATE _job SET not_before = ? WHERE n = ?", (until, job["n"]))

    def add_time(self, job: Job, began: float) -> None:
        """Count the time since ``began`` (of perf_counter) as the job's."""
        spent = max(1, round((time.perf_counter() - began) * 1000))
        with self.store.transaction() as con:
            con.execute(
                "UPDATE _job SET total_ms = total_ms + ?, active_ms = active_ms + ? WHERE n = ?",
                (spent, spent, job["n"]),
            )

    def abort(self, job_id: str, sources: tuple[str, ...]) -> Job:
        """PATCH {state: Aborted}. Raises 400 INVALIDJOBSTATE for a job that is over (seen)."""
        job = self.get(job_id)
        if not self.move(job, "Aborted", sources):
            raise ApiError(400, "INVALIDJOBSTATE", "Aborting already Completed Job not allowed")
        return self.get(job_id)

    def delete(self, job_id: str) -> None:
        """DELETE: only what is not running (Bulk API 2.0 guide: Delete a Job, Delete a Query Job)."""
        job = self.get(job_id)
        if job["state"] not in DELETABLE[self.kind]:
            text = "Error encountered when deleting the job because the job is not terminated"
            raise ApiError(400, "API_ERROR", text)
        self._forget([job])

    def sweep(self) -> None:
        """What time alone does to jobs of both kinds: Open ends after 24 hours, all is gone after 7 days.

        That a job which stayed Open is Aborted then is assumed.
        """
        now = self.clock.now()
        old, stale = stamp(now - KEPT), stamp(now - OPEN)
        late = self._rows("modified < ? OR (state = 'Open' AND created < ?)", old, stale)
        if gone := [job for job in late if job["modified"] < old]:
            self._forget(gone)
        for job in late:
            if job["modified"] >= old:
                self.move(job, "Aborted", ("Open",))

    def _forget(self, jobs: list[Job]) -> None:
        # Batches stay: they count toward the daily allocation.
        with self.store.transaction() as con:
            for job in jobs:
                con.execute("DELETE FROM _chunk WHERE job = ?", (job["n"],))
                con.execute("DELETE FROM _job WHERE n = ?", (job["n"],))
        for job in jobs:
            for path in self.store.uploads.glob(f"{job['id']}.*"):
                path.unlink(missing_ok=True)

    def path(self, job: Job, suffix: str) -> Path:
        """A file of the job; it goes when the job goes."""
        return self.store.uploads / f"{job['id']}.{suffix}"

    def listing(self, query: dict[str, str], version: str) -> dict[str, Any]:
        """GET of all jobs, 1,000 a page; rows lack the counters (documented)."""
        job_type, locator = query.get("jobType"), query.get("queryLocator")
        chunking = query.get("isPkChunkingEnabled", "").lower()
        if job_type not in (None, *KNOWN_TYPES[self.kind]):
            raise ApiError(400, "CLIENTINPUTERROR", f"Unknown jobType: {job_type}")
        if chunking not in ("", "true", "false"):
            text = f"isPkChunkingEnabled must be true or false, not {chunking}"
            raise ApiError(400, "CLIENTINPUTERROR", text)
        start = _list_start(locator)
        jobs = self.all() if job_type in (None, JOB_TYPES[self.kind]) and chunking != "true" else []
        done = start + LIST_ROWS >= len(jobs)
        more = f"{record_id('01g', 1)}-{start + LIST_ROWS}"
        return {
            "done": done,
            "records": [job_info(job, "list") for job in jobs[start : start + LIST_ROWS]],
            "nextRecordsUrl": None
            if done
            else f"/services/data/v{version}/jobs/{self.kind}?queryLocator={more}",
        }


def _list_start(locator: str | None) -> int:
    if not locator:
        return 0
    tail = locator.rpartition("-")[2]
    if not re.fullmatch("[0-9]{1,18}", tail):
        raise ApiError(400, "CLIENTINPUTERROR", f"Invalid queryLocator: {locator}")
    return int(tail)


def job_info(job: Job, form: str) -> dict[str, Any]:
    """JobInfo as JSON. ``form``: create, patch, get or list; each has other fields (Bulk API 2.0 guide)."""
    info: dict[str, Any] = {
        "id": job["id"],
        "operation": job["operation"],
        "object": job["object"],
        "createdById": USER_ID,
        "createdDate": wire(job["created"]),
        "systemModstamp": wire(job["modified"]),
        "state": job["state"],
        "concurrencyMode": "Parallel",
        "contentType": "CSV",
        "apiVersion": float(job["api_version"]),
        **json.loads(job["extra"]),
    }
    if job["external_id_field"]:
        info["externalIdFieldName"] = job["external_id_field"]
    if job["state"] == "Open" and form != "list":
        info["contentUrl"] = f"services/data/v{job['api_version']}/jobs/ingest/{job['id']}/batches"
    if form != "patch":
        info |= {"lineEnding": job["line_ending"], "columnDelimiter": job["delimiter"]}
    if form in ("get", "list"):
        info["jobType"] = JOB_TYPES[job["kind"]]
    if form == "get":
        info |= _query_counters(job) if job["kind"] == QUERY else _ingest_counters(job)
    # A query job's reason is not among the fields of its answers (Bulk API 2.0 guide).
    if job["error"] and job["kind"] == INGEST:
        info["errorMessage"] = job["error"]
    return info


def _ingest_counters(job: Job) -> dict[str, Any]:
    found = _times(job) | {"apiActiveProcessingTime": job["active_ms"], "apexProcessingTime": job["apex_ms"]}
    if job["state"] not in ("Open", "UploadComplete"):
        found |= {"numberRecordsProcessed": job["processed"], "numberRecordsFailed": job["failed"]}
    return found


def _query_counters(job: Job) -> dict[str, Any]:
    """Bulk API 2.0 guide: Get Information About a Query Job; no query is cut by primary key here."""
    counted = {"numberRecordsProcessed": job["processed"]} if job["state"] != "UploadComplete" else {}
    return _times(job) | counted | {"isPkChunkingSupported": False}


def _times(job: Job) -> dict[str, Any]:
    """The total stays 0 while the job runs (seen)."""
    total = job["total_ms"] if job["state"] in TERMINAL else 0
    return {"retries": job["retries"], "totalProcessingTime": total}


def choice(body: dict[str, Any], key: str, allowed: tuple[str, ...], default: str) -> str:
    """An enum of a create call, in its exact case. Raises 400 INVALIDJOB."""
    value = body.get(key, default)
    if value not in allowed:
        raise ApiError(400, "INVALIDJOB", f"{key} must be one of {', '.join(allowed)}, not {value}")
    return str(value)
