"""Bulk API 2.0 ingest: the life of a job, and the worker that processes it.

    Open ──UploadComplete──▶ UploadComplete ──▶ InProgress ──▶ JobComplete | Failed
      └──────────────── Aborted ◀──────┴───────────┘

Each chunk of 200 rows is one transaction that writes the rows, their outcomes and the counters together, so a
process killed at any moment goes on at the first chunk that is not there.
"""

from __future__ import annotations

import json
import random
import sqlite3
import threading
import time
import traceback
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from .clock import Clock, stamp, wire
from .csvtext import BATCH_ROWS, DELIMITERS, Layout, Piece, quoted, read_piece, survey
from .errors import ApiError, JobFailure, RowError, not_found
from .faults import Faults
from .ids import normal_id, record_id
from .records import CHUNK_ROWS, Change, Outcome, Rows, Writer, compile_writer, read_csv_rows, resolve_column
from .schema import Field, Schema, SObject
from .settings import Settings
from .store import Store
from .values import echo

OPERATIONS = ("insert", "update", "upsert", "delete")
TERMINAL = ("JobComplete", "Failed", "Aborted")
RESULTS_DAYS = 7  # limits: results and job records are kept for 7 days
LIST_ROWS = 1000  # Bulk API 2.0 guide: Get Information About All Ingest Jobs

Job = dict[str, Any]
T = TypeVar("T")


class Ingest:
    """All ingest jobs of the org. Errors are ApiError with Salesforce's code and status."""

    def __init__(
        self, store: Store, clock: Clock, settings: Settings, faults: Faults, *, user: str, seed: int
    ) -> None:
        self.store, self.clock, self.settings, self.faults = store, clock, settings, faults
        self.user, self.seed = user, seed
        self.schema: Schema = store.schema
        self._uploading: set[int] = set()
        self._wake = threading.Condition()
        self._worker = threading.Thread(target=self._work, name="fakeforce-worker", daemon=True)
        self._stopping = False
        self._busy = False

    # ---- calls ----

    def create(self, body: dict[str, Any], version: str) -> Job:
        """POST /jobs/ingest (Bulk API 2.0 guide: Create a Job); the texts of refusals are assumed."""
        obj, operation, key = self._target(body)
        delimiter = _choice(body, "columnDelimiter", tuple(DELIMITERS), "COMMA")
        line_ending = _choice(body, "lineEnding", ("LF", "CRLF"), "LF")
        _choice(body, "contentType", ("CSV",), "CSV")
        extra = {k: body[k] for k in ("assignmentRuleId",) if body.get(k)}
        now = stamp(self.clock.now())
        with self.store.transaction() as con:
            cursor = con.execute(
                "INSERT INTO _job (api_version, object, operation, external_id_field, delimiter, line_ending,"
                " extra, state, created, modified) VALUES (?,?,?,?,?,?,?,'Open',?,?)",
                (version, obj.name, operation, key, delimiter, line_ending, json.dumps(extra), now, now),
            )
            number = int(cursor.lastrowid or 0)
            con.execute("UPDATE _job SET id = ? WHERE n = ?", (record_id("750", number), number))
        return self.job(record_id("750", number))

    def _target(self, body: dict[str, Any]) -> tuple[SObject, str, str | None]:
        operation = body.get("operation")
        if operation == "hardDelete":
            # Off by default: permission "Bulk API Hard Delete" (Bulk API 2.0 guide: Create a Job).
            raise ApiError(
                400, "FEATURENOTENABLED", "hardDelete operation requires special user profile permission"
            )
        if operation not in OPERATIONS:
            raise ApiError(400, "INVALIDJOB", f"Unknown operation: {operation}")
        obj = self.schema.get(str(body.get("object", "")))
        if obj is None or not obj.writable:
            raise ApiError(400, "INVALIDENTITY", f"Unable to find object: {body.get('object')}")
        key = body.get("externalIdFieldName")
        if operation != "upsert":
            return obj, str(operation), None
        if not key:
            raise ApiError(400, "INVALIDJOB", "External ID field name is required for upsert")
        found = obj.field(str(key))
        if found is None or not found.id_lookup:
            raise ApiError(400, "INVALIDJOB", f"Field name is not an external ID: {key}")
        return obj, str(operation), found.name

    def job(self, job_id: str) -> Job:
        """The stored job. Raises 404 for an unknown, deleted or aged-out id."""
        found = self._select("WHERE id = ?", normal_id(job_id))
        if not found:
            raise not_found()
        job = found[0]
        if job["state"] in TERMINAL and self._age(job) > timedelta(days=RESULTS_DAYS):
            raise not_found()
        return job

    def _age(self, job: Job) -> timedelta:
        return self.clock.now() - datetime.fromisoformat(job["modified"])

    def begin_upload(self, job_id: str) -> tuple[Job, Path]:
        """PUT batches may start: the job is Open and has no data yet. Returns a scratch path to write to."""
        job = self.job(job_id)
        if job["state"] != "Open":
            raise ApiError(400, "INVALIDJOBSTATE", f"Job is in state {job['state']} and takes no more data")
        with self._wake:
            if job["uploaded"] or job["n"] in self._uploading:
                # The beginning of the text is seen, status and code are assumed.
                text = (
                    f"Found multiple contents for job: <{job['id']}>, close, abort or delete the current job"
                )
                raise ApiError(400, "CLIENTINPUTERROR", f"{text}, then create a new one and PUT only once")
            self._uploading.add(job["n"])
        return job, self._data_path(job).with_suffix(".part")

    def end_upload(self, job: Job, part: Path, *, complete: bool) -> None:
        """The body came whole: it becomes the job's data. Broken off: the job stays Open and empty."""
        try:
            if complete:
                part.replace(self._data_path(job))
                with self.store.transaction() as con:
                    con.execute("UPDATE _job SET uploaded = 1 WHERE n = ? AND state = 'Open'", (job["n"],))
            else:
                part.unlink(missing_ok=True)
        finally:
            with self._wake:
                self._uploading.discard(job["n"])

    def change_state(self, job_id: str, wanted: object) -> Job:
        """PATCH {state}: UploadComplete from Open; Aborted from every state that is not final."""
        if wanted not in ("UploadComplete", "Aborted"):
            raise ApiError(400, "CLIENTINPUTERROR", f"State must be UploadComplete or Aborted, not {wanted}")
        sources = ("Open",) if wanted == "UploadComplete" else ("Open", "UploadComplete", "InProgress")
        job = self.job(job_id)
        now = self.clock.now()
        marks = ",".join("?" * len(sources))
        with self.store.transaction() as con:
            moved = con.execute(
                f"UPDATE _job SET state = ?, modified = ?, not_before = ? WHERE n = ? AND state IN ({marks})",
                (
                    wanted,
                    stamp(now),
                    stamp(now + timedelta(seconds=self.settings.job_delay)),
                    job["n"],
                    *sources,
                ),
            ).rowcount
        if not moved:
            # The text for a finished job is seen; that for the other moves is assumed.
            text = "Aborting already Completed Job not allowed"
            if wanted == "UploadComplete":
                text = f"Closing already {self.job(job_id)['state']} Job not allowed"
            raise ApiError(400, "INVALIDJOBSTATE", text)
        if wanted == "Aborted":
            self._survey_quietly(self.job(job_id))
        self.wake()
        return job | {"state": wanted, "modified": stamp(now)}  # not what the worker has made of it since

    def delete(self, job_id: str) -> None:
        """DELETE: only what is not running (Bulk API 2.0 guide: Delete a Job)."""
        job = self.job(job_id)
        if job["state"] not in ("UploadComplete", *TERMINAL):
            text = "Error encountered when deleting the job because the job is not terminated"
            raise ApiError(400, "API_ERROR", text)
        with self.store.transaction() as con:
            for table, column in (("_chunk", "job"), ("_job", "n")):
                con.execute(f"DELETE FROM {table} WHERE {column} = ?", (job["n"],))
            # Batches stay: they count toward the daily allocation.
        self._data_path(job).unlink(missing_ok=True)

    def listing(self, job_type: str | None, locator: str | None, version: str) -> dict[str, Any]:
        """GET /jobs/ingest, 1,000 a page; rows lack the counters (documented)."""
        if job_type not in (None, "V2Ingest", "BigObjectIngest", "Classic"):
            raise ApiError(400, "CLIENTINPUTERROR", f"Unknown jobType: {job_type}")
        start = 0
        if locator:
            tail = locator.rpartition("-")[2]
            if not tail.isdigit():
                raise ApiError(400, "CLIENTINPUTERROR", f"Invalid queryLocator: {locator}")
            start = int(tail)
        jobs = self.jobs() if job_type in (None, "V2Ingest") else []
        page = jobs[start : start + LIST_ROWS]
        done = start + LIST_ROWS >= len(jobs)
        more = f"{record_id('01g', 1)}-{start + LIST_ROWS}"
        path = f"/services/data/{version}/jobs/ingest?queryLocator={more}"
        return {
            "done": done,
            "records": [job_info(job, "list") for job in page],
            "nextRecordsUrl": None if done else path,
        }

    def jobs(self) -> list[Job]:
        """All stored jobs, oldest first."""
        return self._select("")

    def _select(self, where: str, *given: object) -> list[Job]:
        with self.store.reading() as con:
            cursor = con.cursor()
            cursor.row_factory = sqlite3.Row
            return [dict(row) for row in cursor.execute(f"SELECT * FROM _job {where} ORDER BY n", given)]

    def batches_used(self) -> int:
        """Internal batches of the last 24 hours (the empty parent batch is not counted: assumed)."""
        since = stamp(self.clock.now() - timedelta(hours=24))
        with self.store.reading() as con:
            return int(con.execute("SELECT COUNT(*) FROM _batch WHERE started > ?", (since,)).fetchone()[0])

    # ---- results ----

    def results(self, job_id: str, kind: str) -> Iterator[str]:
        """Lines of successful, failed or unprocessed results, in no useful order (documented)."""
        job = self.job(job_id)
        if job["state"] not in TERMINAL:
            raise ApiError(
                400, "INVALIDJOBSTATE", f"Results are not available for a job in state {job['state']}"
            )
        return self._result_lines(job, kind)

    def _result_lines(self, job: Job, kind: str) -> Iterator[str]:
        mark = DELIMITERS[job["delimiter"]]
        lead = {"successful": ("sf__Id", "sf__Created"), "failed": ("sf__Id", "sf__Error")}.get(kind, ())
        # The sent header comes back as it was sent, unquoted cells unquoted (seen).
        yield "".join(f'"{cell}"{mark}' for cell in lead) + (job["header"] or "") + "\n"
        columns = self._echo_columns(job)
        for seq, piece in self._shuffled_pieces(job):
            outcomes = self._outcomes(job, seq)
            wanted = [
                chunk for chunk in _chunks(piece.rows) if (chunk in outcomes) != (kind == "unprocessed")
            ]
            if not wanted:
                continue
            with self._data_path(job).open("rb") as source:
                rows = read_piece(source, piece, mark)
            for chunk in _shuffled(wanted, f"{self.seed}:{job['n']}:{seq}"):
                part = rows[chunk * CHUNK_ROWS : (chunk + 1) * CHUNK_ROWS]
                yield from _chunk_lines(kind, part, outcomes.get(chunk, []), columns, mark)

    def _echo_columns(self, job: Job) -> list[tuple[int, Field | None, bool]]:
        """(position, number field or None, header in the API name's own case) of each column."""
        obj = self.schema.get(job["object"])
        names = next(iter(_header_cells(job)), [])
        found: list[tuple[int, Field | None, bool]] = []
        for at, name in enumerate(names):
            try:
                column = resolve_column(self.schema, obj, name) if obj else None
            except JobFailure:
                column = None
            number = column.value_field if column and column.value_field.is_number else None
            found.append((at, number, column is None or column.exact))
        return found

    def _shuffled_pieces(self, job: Job) -> list[tuple[int, Piece]]:
        with self.store.reading() as con:
            rows = con.execute(
                "SELECT seq, offset, size, rows FROM _batch WHERE job = ? AND lost = 0 ORDER BY seq",
                (job["n"],),
            ).fetchall()
        return [(seq, Piece(*rest)) for seq, *rest in _shuffled(rows, f"{self.seed}:{job['n']}")]

    def _outcomes(self, job: Job, seq: int) -> dict[int, list[list[str]]]:
        with self.store.reading() as con:
            rows = con.execute(
                "SELECT chunk, outcomes FROM _chunk WHERE job = ? AND batch = ?", (job["n"], seq)
            )
            return {chunk: json.loads(text) for chunk, text in rows}

    def _data_path(self, job: Job) -> Path:
        return self.store.uploads / f"{job['id']}.csv"

    # ---- the worker ----

    def start(self) -> None:
        """Begin to process; jobs that a former process left unfinished go on."""
        self._worker.start()

    def stop(self) -> None:
        """Stop after the chunk in hand; the rest goes on when the state file is opened again."""
        self._stopping = True
        self.wake()
        if self._worker.is_alive():
            self._worker.join(timeout=30)

    def wake(self) -> None:
        """Something changed: a job was closed, the clock was pushed, a hold was released."""
        with self._wake:
            self._wake.notify_all()

    def wait_idle(self, timeout: float = 30.0) -> bool:
        """Wait until no job can be worked on; False when the time is over."""
        with self._wake:
            return self._wake.wait_for(lambda: not self._busy and not self._runnable(), timeout)

    def _work(self) -> None:
        turn = 0
        while not self._stopping:
            ready = self._take()
            if not ready:
                continue
            turn += 1
            job = ready[turn % len(ready)]
            try:
                self._step(job)
            except Exception as error:  # noqa: BLE001 - see below
                # A mistake in this package must show in the job, not as a worker that is gone.
                traceback.print_exc()
                self._move(job, "Failed", ("UploadComplete", "InProgress"), f"Unknown : fakeforce: {error!r}")

    def _take(self) -> list[Job]:
        """The jobs that can be worked on; with none, wait a moment for news and return nothing."""
        with self._wake:
            ready = self._runnable()
            self._busy = bool(ready)
            if not ready:
                self._wake.notify_all()
                if not self._stopping:
                    # Short with a delay set: it may end without anyone telling.
                    self._wake.wait(timeout=0.05 if self.settings.job_delay else 0.5)
            return ready

    def _runnable(self) -> list[Job]:
        now = stamp(self.clock.now())
        found = []
        for job in self._select("WHERE state IN ('UploadComplete', 'InProgress')"):
            held = self.settings.hold_jobs and job["state"] == "InProgress"
            if held and self._batches_done(job) >= self.settings.hold_after_batches:
                continue
            if (job["not_before"] or "") <= now:
                found.append(job)
        return found

    def _batches_done(self, job: Job) -> int:
        with self.store.reading() as con:
            sql = "SELECT COUNT(*) FROM _batch WHERE job = ? AND started IS NOT NULL"
            return int(con.execute(sql, (job["n"],)).fetchone()[0])

    def _step(self, job: Job) -> None:
        """One visible move of one job: into InProgress, one internal batch, or the end."""
        began = time.perf_counter()
        try:
            if job["state"] == "UploadComplete":
                self._move(job, "InProgress", ("UploadComplete",))
                return
            if job["header"] is None:
                self._survey(job)
                return
            writer = self._writer(job)
            fault = self.faults.for_object(("fail-job",), job["object"])
            if fault is not None:
                code, _, text = (
                    fault.error or "TooManyLockFailure:Too many lock failure 200 Trying again later."
                ).partition(":")
                raise JobFailure(code, text)
            piece = self._next_piece(job)
            if piece is None:
                self._move(job, "JobComplete", ("InProgress",))
            else:
                self._process(job, writer, *piece)
        except JobFailure as failure:
            self._move(job, "Failed", ("UploadComplete", "InProgress"), str(failure))
        finally:
            self._add_time(job, began)

    def _move(self, job: Job, state: str, sources: tuple[str, ...], error: str | None = None) -> None:
        marks = ",".join("?" * len(sources))
        with self.store.transaction() as con:
            con.execute(
                f"UPDATE _job SET state = ?, modified = ?, error = coalesce(?, error)"
                f" WHERE n = ? AND state IN ({marks})",
                (state, stamp(self.clock.now()), error, job["n"], *sources),
            )

    def _add_time(self, job: Job, began: float) -> None:
        spent = max(1, round((time.perf_counter() - began) * 1000))
        with self.store.transaction() as con:
            con.execute(
                "UPDATE _job SET total_ms = total_ms + ?, active_ms = active_ms + ? WHERE n = ?",
                (spent, spent, job["n"]),
            )

    def _survey(self, job: Job) -> None:
        """Look at the whole upload once: the header and where each internal batch is."""
        layout = self._layout(job)
        with self.store.transaction() as con:
            con.execute("UPDATE _job SET header = ? WHERE n = ?", (layout.header, job["n"]))
            con.executemany(
                "INSERT OR IGNORE INTO _batch (job, seq, offset, size, rows) VALUES (?,?,?,?,?)",
                [(job["n"], seq, p.offset, p.size, p.rows) for seq, p in enumerate(layout.pieces)],
            )
        if layout.failure is not None:
            raise layout.failure

    def _layout(self, job: Job) -> Layout:
        path = self._data_path(job)
        if not path.exists():
            return Layout()  # closed without data: ends as a job of no rows (assumed)
        with path.open("rb") as source:
            return survey(source, DELIMITERS[job["delimiter"]], job["line_ending"])

    def _survey_quietly(self, job: Job) -> None:
        """An aborted job's rows are unprocessed rows, also when the worker never saw them."""
        if job["header"] is None:
            try:
                self._survey(job)
            except JobFailure:
                return

    def _writer(self, job: Job) -> Writer:
        obj = self.schema.get(job["object"])
        if obj is None:
            raise JobFailure("InvalidJob", f"Unable to find object: {job['object']}")
        key_name = job["external_id_field"] or ("Id" if job["operation"] in ("update", "delete") else "")
        names = next(iter(_header_cells(job)), [])
        if not names:
            return Writer(obj, job["operation"], None, ())
        return compile_writer(self.schema, obj, job["operation"], obj.field(key_name), names)

    def _next_piece(self, job: Job) -> tuple[int, Piece] | None:
        """The next internal batch that is not done: batches run in random order (seen)."""
        with self.store.reading() as con:
            done = dict(
                con.execute("SELECT batch, COUNT(*) FROM _chunk WHERE job = ? GROUP BY batch", (job["n"],))
            )
        for seq, piece in _shuffled(self._shuffled_pieces(job), f"order:{self.seed}:{job['n']}"):
            if done.get(seq, 0) < -(-piece.rows // CHUNK_ROWS):
                return seq, piece
        return None

    def _process(self, job: Job, writer: Writer, seq: int, piece: Piece) -> None:
        if self._allocation_spent(job, seq):
            return
        with self._data_path(job).open("rb") as source:
            text_rows = read_piece(source, piece, DELIMITERS[job["delimiter"]])
        rows = read_csv_rows(writer, text_rows, trim=self.settings.trim_text)
        done = self._outcomes(job, seq)
        for chunk in _shuffled(list(_chunks(piece.rows)), f"chunks:{self.seed}:{job['n']}:{seq}"):
            if self._stopping:
                return
            if chunk not in done and not self._process_chunk(job, writer, seq, chunk, rows):
                return  # aborted meanwhile

    def _allocation_spent(self, job: Job, seq: int) -> bool:
        """Rows beyond the daily batch allocation end up in none of the result files (documented)."""
        lose = self.faults.for_object(("lose-batch",), job["object"]) is not None
        with self.store.transaction() as con:
            started = con.execute(
                "SELECT started FROM _batch WHERE job = ? AND seq = ?", (job["n"], seq)
            ).fetchone()[0]
            over = started is None and self.batches_used() >= self.settings.max_batches
            if over:
                con.execute("UPDATE _batch SET lost = 1 WHERE job = ? AND started IS NULL", (job["n"],))
            elif started is None and lose:
                con.execute("UPDATE _batch SET lost = 1 WHERE job = ? AND seq = ?", (job["n"], seq))
                return True
            con.execute(
                "UPDATE _batch SET started = coalesce(started, ?) WHERE job = ? AND seq = ?",
                (None if over else stamp(self.clock.now()), job["n"], seq),
            )
        if over:
            raise JobFailure("ExceededQuota", "Daily batch allocation exceeded")  # text assumed
        return False

    def _process_chunk(self, job: Job, writer: Writer, seq: int, chunk: int, rows: Rows) -> bool:
        """One chunk, one transaction. False when the job is no longer InProgress."""
        first, last = chunk * CHUNK_ROWS, (chunk + 1) * CHUNK_ROWS
        columns = [values[first:last] for values in rows.columns]
        errors = {at - first: e for at, e in rows.errors.items() if first <= at < last} if rows.errors else {}
        with self.store.transaction() as con:
            state = con.execute("SELECT state FROM _job WHERE n = ?", (job["n"],)).fetchone()
            if state is None or state[0] != "InProgress":
                return False
            self._strike_rows(job, errors, len(columns[0]))
            change = Change(self.store, con, writer, stamp(self.clock.now()), self.user)
            outcomes = change.apply(columns, errors)
            refused = sum(1 for o in outcomes if o.error is not None)
            con.execute(
                "INSERT INTO _chunk VALUES (?,?,?,?)", (job["n"], seq, chunk, json.dumps(_packed(outcomes)))
            )
            con.execute(
                "UPDATE _job SET processed = processed + ?, failed = failed + ? WHERE n = ?",
                (len(outcomes), refused, job["n"]),
            )
        return True

    def _strike_rows(self, job: Job, errors: dict[int, RowError], count: int) -> None:
        fault = self.faults.for_object(("lock-rows", "row-error"), job["object"])
        if fault is None:
            return
        text = "UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record"  # seen
        code, _, message = (fault.error or text).partition(":")
        for at in range(min(fault.rows, count)):
            errors[at] = RowError(code, message)


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
        info["jobType"] = "V2Ingest"
    if form == "get":
        info |= _counters(job)
    if job["error"]:
        info["errorMessage"] = job["error"]
    return info


USER_ID = record_id("005", 1)


def _counters(job: Job) -> dict[str, Any]:
    found: dict[str, Any] = {"retries": job["retries"], "totalProcessingTime": 0}
    if job["state"] in TERMINAL:
        found["totalProcessingTime"] = job["total_ms"]  # stays 0 while InProgress (seen)
    found |= {"apiActiveProcessingTime": job["active_ms"], "apexProcessingTime": job["apex_ms"]}
    if job["state"] not in ("Open", "UploadComplete"):
        found |= {"numberRecordsProcessed": job["processed"], "numberRecordsFailed": job["failed"]}
    return found


def _choice(body: dict[str, Any], key: str, allowed: tuple[str, ...], default: str) -> str:
    """An enum of the create call, in its exact case."""
    value = body.get(key, default)
    if value not in allowed:
        raise ApiError(400, "INVALIDJOB", f"{key} must be one of {', '.join(allowed)}, not {value}")
    return str(value)


def _header_cells(job: Job) -> Iterator[list[str]]:
    import csv

    return csv.reader([job["header"] or ""], delimiter=DELIMITERS[job["delimiter"]])


def _chunks(rows: int) -> range:
    assert rows <= BATCH_ROWS
    return range(-(-rows // CHUNK_ROWS))


def _shuffled(items: list[T], seed: str) -> list[T]:
    found = list(items)
    random.Random(seed).shuffle(found)  # noqa: S311 - an order, not a secret
    return found


def _packed(outcomes: list[Outcome]) -> list[list[str]]:
    """[id, "true" | "false"] of a written row, ["", error text] of a refused one."""
    return [
        [o.id, "true" if o.created else "false"] if o.error is None else ["", o.error.bulk_text()]
        for o in outcomes
    ]


def _chunk_lines(
    kind: str,
    rows: list[list[str]],
    outcomes: list[list[str]],
    columns: list[tuple[int, Field | None, bool]],
    mark: str,
) -> Iterator[str]:
    """Result lines of one chunk. Numbers are re-rendered; a ragged row comes back empty (both seen)."""
    numbers = [(at, field) for at, field, _ in columns if field is not None]
    blanks = [at for at, _, exact in columns if not exact] if kind == "failed" else []
    width = len(columns)
    order = list(range(len(rows)))
    random.Random(f"{kind}:{len(rows)}").shuffle(order)  # noqa: S311 - an order, not a secret
    for at in order:
        row = rows[at]
        if kind == "unprocessed":
            yield quoted(row, mark)
            continue
        outcome = outcomes[at]
        if (outcome[0] != "") != (kind == "successful"):
            continue
        if len(row) != width:
            row = [""] * width
        for column, field in numbers:
            row[column] = echo(field, row[column])
        for column in blanks:  # a failed row loses what a header in another case holds (seen, known issue)
            row[column] = ""
        yield quoted(outcome + row, mark)
