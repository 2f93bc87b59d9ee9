"""Bulk API 2.0 query: jobs that write the rows of a query to a file, and the pages of that file.

    UploadComplete ──▶ InProgress ──▶ JobComplete | Failed
          └── Aborted ◀─────┘

Next to the rows lies an index with the offset of each row, eight bytes a row, so that a page of any size begins
at any row without reading what is before it.
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from array import array
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import accumulate
from typing import Any, BinaryIO, NamedTuple

from .clock import Clock, stamp
from .csvtext import DELIMITERS, LINE_ENDS, quoted
from .errors import ApiError, JobFailure, not_found
from .faults import Faults
from .jobs import QUERY, RUNNING, Job, Jobs, choice
from .settings import Settings
from .soql import Query, parse
from .store import Store
from .values import csv_column
from .worker import Worker

OPERATIONS = ("query", "queryAll")
OLDEST, OLDEST_PAGES, OLDEST_TEXT_LOCATORS = 47, 58, 49  # versions (guide: the resources' own pages)
PAGES = 5  # guide: Get Parallel Results for a Query Job
BLOCK_ROWS = 2_000
PIECE = 256 * 1024
DAY = timedelta(hours=24)
_WHOLE = re.compile(r"[0-9]{1,18}")
_LITERAL = re.compile(r"'(?:[^'\\]|\\.)*'", re.S)
# Guide: Create a Query Job, what a query may not have. Judged by the text: the parser may know more.
_REFUSED = (
    (r"\bGROUP\s+BY\b", "GROUP BY"),
    (r"\bOFFSET\b", "OFFSET"),
    (r"\bTYPEOF\b", "TYPEOF"),
    (
        r"\A\s*SELECT\b(?:(?!\bFROM\b).)*\b(?:COUNT|COUNT_DISTINCT|SUM|AVG|MIN|MAX)\s*\(",
        "aggregate functions",
    ),
)
_NESTED = re.compile(r"\A\s*SELECT\b(?:(?!\bFROM\b).)*\(\s*SELECT\b", re.I | re.S)


class Page(NamedTuple):
    """A page of results: the header line and the rows as pieces of bytes, and what the headers say."""

    text: Iterator[bytes]
    rows: int
    locator: str  # of the next page; the text null after the last one (documented)


class Queries:
    """All query jobs of the org. Errors are ApiError with Salesforce's code and status."""

    def __init__(self, store: Store, clock: Clock, settings: Settings, faults: Faults) -> None:
        self.store, self.clock, self.settings, self.faults = store, clock, settings, faults
        self._jobs = Jobs(store, clock, QUERY)
        self.worker = Worker("fakeforce-query", self._ready, self._step, self._broken, self._jobs.waiting)

    # ---- calls ----

    def create(self, body: dict[str, Any], version: str) -> Job:
        """POST /jobs/query (Bulk API 2.0 guide: Create a Query Job); UploadComplete at once."""
        if float(version) < OLDEST:
            raise not_found()
        operation = choice(body, "operation", OPERATIONS, "")
        delimiter = choice(body, "columnDelimiter", tuple(DELIMITERS), "COMMA")
        line_ending = choice(body, "lineEnding", tuple(LINE_ENDS), "LF")
        choice(body, "contentType", ("CSV",), "CSV")
        query = self._parse(body.get("query"))
        if self.jobs_used() >= self.settings.max_query_jobs:
            raise ApiError(400, "EXCEEDEDQUOTA", "Daily limit of query jobs exceeded")  # text assumed
        now = self.clock.now()
        with self.store.transaction() as con:
            con.execute("INSERT INTO _query_start VALUES (?)", (stamp(now),))
        values = {
            "object": query.obj.name, "operation": operation, "query": body["query"],
            "delimiter": delimiter, "line_ending": line_ending,
            "not_before": stamp(now + timedelta(seconds=self.settings.job_delay)),
        }  # fmt: skip
        job = self._jobs.add(version, "UploadComplete", values)
        self.wake()
        return job

    def _parse(self, text: object) -> Query:
        if not isinstance(text, str) or not text.strip():
            raise ApiError(400, "MALFORMED_QUERY", "A query string has to be specified")
        bare = _LITERAL.sub("''", text)
        if _NESTED.search(bare):
            # Text seen; status and code are assumed, the other texts as well.
            text = "Aggregate Relationships not supported in Bulk V2 Query with CSV content type"
            raise ApiError(400, "API_ERROR", text)
        for pattern, name in _REFUSED:
            if re.search(pattern, bare, re.I | re.S):
                raise ApiError(400, "API_ERROR", f"{name} not supported in Bulk V2 Query")
        query = parse(self.store.schema, text, now=self.clock.now())
        if query.obj not in self.store.schema.tables():
            raise ApiError(
                400, "INVALIDENTITY", f"Entity '{query.obj.name}' is not supported by the Bulk API."
            )
        return query

    def job(self, job_id: str) -> Job:
        """The stored job. Raises 404 for an unknown, deleted or aged-out id."""
        return self._jobs.get(job_id)

    def jobs(self) -> list[Job]:
        """All stored jobs, oldest first."""
        return self._jobs.all()

    def listing(self, query: dict[str, str], version: str) -> dict[str, Any]:
        """GET /jobs/query, 1,000 a page."""
        return self._jobs.listing(query, version)

    def change_state(self, job_id: str, wanted: object) -> Job:
        """PATCH {state: Aborted} (Bulk API 2.0 guide: Abort a Query Job); no other move can be asked for."""
        if wanted != "Aborted":
            raise ApiError(400, "CLIENTINPUTERROR", f"State must be Aborted, not {wanted}")
        return self._jobs.abort(job_id, RUNNING)

    def delete(self, job_id: str) -> None:
        """DELETE a job that is over, with its results."""
        self._jobs.delete(job_id)

    def jobs_used(self) -> int:
        """Query jobs created in the last 24 hours, deleted ones too."""
        since = stamp(self.clock.now() - DAY)
        with self.store.reading() as con:
            sql = "SELECT COUNT(*) FROM _query_start WHERE started > ?"
            return int(con.execute(sql, (since,)).fetchone()[0])

    # ---- results ----

    def page(self, job_id: str, version: str, locator: str | None, max_records: str | None) -> Page:
        """GET results: from the locator's row, at most ``maxRecords`` rows, the header line on each page.

        Raises 400 for a job that is not complete, a bad locator or number, 409 for another API version than the
        job's (Bulk API 2.0 guide: Get Results for a Query Job; codes and texts assumed).
        """
        job = self._complete(job_id, version)
        start = self._start(job, locator)
        most = self.settings.query_page_rows
        if max_records is not None:
            most = int(max_records) if _WHOLE.fullmatch(max_records) else 0
        if most < 1:
            raise ApiError(
                400, "CLIENTINPUTERROR", f"maxRecords must be a positive number, not {max_records}"
            )
        end = min(start + most, job["processed"])
        following = _locator(end, job["api_version"]) if end < job["processed"] else "null"
        fault = self.faults.for_result(job["object"], "query")
        dropped = min(fault.rows, end - start) if fault else 0
        return Page(self._text(job, start + dropped, end), end - start, following)

    def pages(self, job_id: str, version: str, locator: str | None) -> dict[str, Any]:
        """GET resultPages: up to five addresses (Bulk API 2.0 guide: Get Parallel Results for a Query Job)."""
        job = self._complete(job_id, version)
        if float(version) < OLDEST_PAGES:
            raise not_found()
        start, size, total = self._start(job, locator), self.settings.query_page_rows, job["processed"]
        base = f"/services/data/v{version}/jobs/query/{job['id']}"
        starts = range(start, max(total, start + 1), size)
        found = [{"resultUrl": f"{base}/results?locator={_locator(at, version)}"} for at in starts[:PAGES]]
        done = len(starts) <= PAGES
        more = None if done else f"{base}/resultPages?locator={_locator(starts[PAGES], version)}"
        return {"resultPages": found, "nextRecordsUrl": more, "done": done}

    def _complete(self, job_id: str, version: str) -> Job:
        job = self._jobs.get(job_id)
        if version != job["api_version"]:
            text = f"The job was created with API version {job['api_version']}, not {version}"
            raise ApiError(409, "CONFLICT", text)
        if job["state"] != "JobComplete":
            text = f"Results are not available for a job in state {job['state']}"
            raise ApiError(400, "INVALIDJOBSTATE", text)
        return job

    def _start(self, job: Job, locator: str | None) -> int:
        if locator is None:
            return 0
        start = _row_of(locator, job["api_version"])
        if start is None or start > max(0, job["processed"] - 1):
            raise ApiError(400, "INVALIDLOCATOR", f"Invalid locator: {locator}")
        return start

    def _text(self, job: Job, start: int, end: int) -> Iterator[bytes]:
        with self._jobs.path(job, "index").open("rb") as index:
            header, first, last = _offsets(index, (0, start, end))
        with self._jobs.path(job, "rows").open("rb") as source:
            yield source.read(header)
            source.seek(first)
            left = last - first
            while left:
                piece = source.read(min(PIECE, left))
                left -= len(piece)
                yield piece

    # ---- the worker ----

    def wake(self) -> None:
        """Something changed: a job was made, the clock was pushed, a hold was released."""
        self.worker.wake()

    def _ready(self) -> list[Job]:
        running = self._jobs.running()
        return [job for job in running if not (self.settings.hold_jobs and job["state"] == "InProgress")]

    def _broken(self, job: Job, error: Exception) -> None:
        self._jobs.move(job, "Failed", RUNNING, error=f"Unknown : fakeforce: {error!r}")

    def _step(self, job: Job) -> None:
        """One visible move: into InProgress, or the whole query."""
        began = time.perf_counter()
        try:
            if job["state"] == "UploadComplete":
                self._jobs.move(job, "InProgress", ("UploadComplete",))
                return
            fault = self.faults.for_object(("fail-query", "stick-query"), job["object"])
            if fault is not None and fault.kind == "stick-query":
                self._jobs.put_off(job, fault.delay)
                return
            if fault is not None:
                code, _, text = (fault.error or "Unknown:Retried more than fifteen times").partition(":")
                raise JobFailure(code, text)
            if self._write(job):
                self._jobs.move(job, "JobComplete", ("InProgress",))
        except (JobFailure, ApiError) as failure:
            self._jobs.move(job, "Failed", RUNNING, error=str(failure))
        finally:
            self._jobs.add_time(job, began)

    def _write(self, job: Job) -> bool:
        """Run the query into the job's files, a block at a time. False when it was ended before the last row."""
        deleted = job["operation"] == "queryAll"
        query = parse(self.store.schema, job["query"], now=self.clock.now(), deleted=deleted)
        mark, end = DELIMITERS[job["delimiter"]], LINE_ENDS[job["line_ending"]]
        fields = [path.field for path in query.paths]
        rows_path, index_path = self._jobs.path(job, "rows"), self._jobs.path(job, "index")
        with rows_path.open("wb") as rows, index_path.open("wb") as index, self.store.reading() as con:
            at = rows.write(quoted([path.name for path in query.paths], mark, end).encode())
            array("q", [at]).tofile(index)
            columns = ", ".join(path.sql() for path in query.paths)
            found = con.execute(f"SELECT {columns}{query.tail()}", query.given)
            done = 0
            while block := found.fetchmany(BLOCK_ROWS):
                texts = [
                    csv_column(field, cells)
                    for field, cells in zip(fields, zip(*block, strict=True), strict=True)
                ]
                lines = [quoted(cells, mark, end).encode() for cells in zip(*texts, strict=True)]
                rows.write(b"".join(lines))
                at = _add_offsets(index, at, lines)
                done += len(block)
                if not self._note(job, done):
                    return False
        return self._note(job, done)

    def _note(self, job: Job, done: int) -> bool:
        """Write down how far the job is. False when it was aborted or the server ends."""
        with self.store.transaction() as con:
            sql = "UPDATE _job SET processed = ? WHERE n = ? AND state = 'InProgress'"
            return bool(con.execute(sql, (done, job["n"])).rowcount) and not self.worker.stopping


def _add_offsets(index: BinaryIO, at: int, lines: Sequence[bytes]) -> int:
    """Append where each line ends; returns where the last one does."""
    ends = array("q", accumulate(map(len, lines), initial=at))
    ends[1:].tofile(index)
    return ends[-1]


def _offsets(index: BinaryIO, rows: Sequence[int]) -> list[int]:
    """Where the rows begin; the row after the last one begins where the file ends."""
    found = array("q")
    for row in rows:
        index.seek(row * found.itemsize)
        found.fromfile(index, 1)
    return found.tolist()


def _locator(row: int, version: str) -> str:
    """A number up to v48, text like MTAwMDA since (guide: Get Results for a Query Job)."""
    if float(version) < OLDEST_TEXT_LOCATORS:
        return str(row)
    return base64.urlsafe_b64encode(str(row).encode()).decode().rstrip("=")


def _row_of(locator: str, version: str) -> int | None:
    text = locator
    if float(version) >= OLDEST_TEXT_LOCATORS:
        try:
            text = base64.urlsafe_b64decode(locator + "=" * (-len(locator) % 4)).decode("ascii")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return None
    return int(text) if _WHOLE.fullmatch(text) else None
