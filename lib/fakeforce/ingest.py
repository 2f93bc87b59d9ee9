"""Bulk API 2.0 ingest: the life of a job, and the worker that processes it.

    Open ──UploadComplete──▶ UploadComplete ──▶ InProgress ──▶ JobComplete | Failed
      └──────────────── Aborted ◀──────┴───────────┘

Each chunk of 200 rows is one transaction that writes the rows, their outcomes and the counters together, so a
process killed at any moment goes on at the first chunk that is not there.
"""

from __future__ import annotations

import csv
import json
import random
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from .clock import Clock, stamp
from .csvtext import BATCH_ROWS, DELIMITERS, LINE_ENDS, Layout, Piece, quoted, read_piece, records, survey
from .errors import ApiError, JobFailure, RowError, not_found
from .faults import STORE_FAULTS, Faults
from .ids import record_id
from .jobs import INGEST, RUNNING, TERMINAL, Job, Jobs, choice
from .records import CHUNK_ROWS, Change, Outcome, Rows, Writer, compile_writer, read_csv_rows, resolve_column
from .schema import Field, Schema, SObject
from .settings import Settings
from .store import Store
from .values import echo, parse_value
from .worker import Worker

OLDEST = 41  # version (Bulk API 2.0 guide: Create a Job)
OPERATIONS = ("insert", "update", "upsert", "delete", "hardDelete")
BY_ID = ("update", "delete", "hardDelete")
MULTIPART_CHARACTERS = 100_000  # Bulk API 2.0 guide: Create a Job
MAX_RETRIES = 20  # limits: a batch is tried again 20 times at most
DAY = timedelta(hours=24)

T = TypeVar("T")


class Ingest:
    """All ingest jobs of the org. Errors are ApiError with Salesforce's code and status."""

    def __init__(
        self, store: Store, clock: Clock, settings: Settings, faults: Faults, *, user: str, seed: int
    ) -> None:
        self.store, self.clock, self.settings, self.faults = store, clock, settings, faults
        self.user, self.seed = user, seed
        self.schema: Schema = store.schema
        self._jobs = Jobs(store, clock, INGEST)
        self._uploading: set[int] = set()
        self.most_uploads = 0  # on the wire at once
        self._uploads = threading.Lock()
        self._locked: dict[int, set[str]] = {}  # job number -> parents that its newest internal batch holds
        self.worker = Worker("fakeforce-ingest", self._runnable, self._step, self._broken, self._jobs.waiting)

    # ---- calls ----

    def create(self, body: dict[str, Any], version: str, data: bytes | None = None) -> Job:
        """POST /jobs/ingest (Bulk API 2.0 guide: Create a Job); the texts of refusals are assumed.

        ``data``: the CSV of a multipart call; the job then starts at UploadComplete.
        """
        if float(version) < OLDEST:
            raise not_found()
        obj, operation, key = self._target(body)
        delimiter = choice(body, "columnDelimiter", tuple(DELIMITERS), "COMMA")
        line_ending = choice(body, "lineEnding", tuple(LINE_ENDS), "LF")
        choice(body, "contentType", ("CSV",), "CSV")
        extra = {k: body[k] for k in ("assignmentRuleId",) if body.get(k)}
        if data is not None and len(data.decode("utf-8", errors="replace")) > MULTIPART_CHARACTERS:
            text = f"Job data of a multipart request is larger than {MULTIPART_CHARACTERS} characters"
            raise ApiError(400, "CLIENTINPUTERROR", text)
        values = {
            "object": obj.name, "operation": operation, "external_id_field": key,
            "delimiter": delimiter, "line_ending": line_ending, "extra": json.dumps(extra),
        }  # fmt: skip
        job = self._jobs.add(version, "Open", values)
        if data is None:
            return job
        self._data_path(job).write_bytes(data)
        return self._close(job)

    def _close(self, job: Job) -> Job:
        later = stamp(self.clock.now() + timedelta(seconds=self.settings.job_delay))
        with self._uploads:  # no upload may begin between the look and the move
            busy = job["n"] in self._uploading
            closed = not busy and self._jobs.move(job, "UploadComplete", ("Open",), not_before=later)
        if not closed:
            # Text assumed.
            state = "uploading" if busy else self.job(job["id"])["state"]
            raise ApiError(400, "INVALIDJOBSTATE", f"Closing already {state} Job not allowed")
        self.wake()
        return self.job(job["id"]) | {"state": "UploadComplete"}  # the worker may have moved it already

    def _target(self, body: dict[str, Any]) -> tuple[SObject, str, str | None]:
        operation = body.get("operation")
        if operation == "hardDelete" and not self.settings.hard_delete:
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
        return self._jobs.get(job_id)

    def begin_upload(self, job_id: str) -> tuple[Job, Path]:
        """PUT batches may start: the job is Open and has no data yet. Returns a scratch path to write to."""
        with self._uploads:
            job = self.job(job_id)
            if job["state"] != "Open":
                raise _no_more_data(job["state"])
            if job["uploaded"] or job["n"] in self._uploading:
                # The beginning of the text is seen, status and code are assumed.
                text = (
                    f"Found multiple contents for job: <{job['id']}>, close, abort or delete the current job"
                )
                raise ApiError(400, "CLIENTINPUTERROR", f"{text}, then create a new one and PUT only once")
            self._uploading.add(job["n"])
            self.most_uploads = max(self.most_uploads, len(self._uploading))
        return job, self._jobs.path(job, "part")

    def end_upload(self, job: Job, part: Path, *, complete: bool) -> None:
        """The body came whole: it becomes the job's data. Broken off: the job stays Open and empty.

        Raises 400 for no data at all and for a job that was aborted meanwhile, 404 for a deleted one (assumed).
        """
        try:
            if not complete:
                return
            if not part.stat().st_size:
                raise ApiError(400, "CLIENTINPUTERROR", "Job data is empty")
            if not self._keep(job, part):
                raise _no_more_data("Aborted")
        except FileNotFoundError:
            raise not_found() from None  # the job went, and its files with it
        finally:
            part.unlink(missing_ok=True)
            with self._uploads:
                self._uploading.discard(job["n"])

    def _keep(self, job: Job, part: Path) -> bool:
        """The file becomes the data of a job that is still Open; nothing else can move the job meanwhile."""
        with self.store.transaction() as con:
            sql = "UPDATE _job SET uploaded = 1 WHERE n = ? AND state = 'Open'"
            kept = bool(con.execute(sql, (job["n"],)).rowcount)
            if kept:
                part.replace(self._data_path(job))
        return kept

    def change_state(self, job_id: str, wanted: object) -> Job:
        """PATCH {state}: UploadComplete from Open; Aborted from every state that is not final."""
        if wanted == "UploadComplete":
            return self._close(self.job(job_id))
        if wanted != "Aborted":
            raise ApiError(400, "CLIENTINPUTERROR", f"State must be UploadComplete or Aborted, not {wanted}")
        job = self._jobs.abort(job_id, ("Open", *RUNNING))
        self._survey_quietly(job)
        self.wake()
        return job

    def delete(self, job_id: str) -> None:
        """DELETE a job that does not run."""
        self._jobs.delete(job_id)

    def listing(self, query: dict[str, str], version: str) -> dict[str, Any]:
        """GET /jobs/ingest, 1,000 a page."""
        return self._jobs.listing(query, version)

    def jobs(self) -> list[Job]:
        """All stored jobs, oldest first."""
        return self._jobs.all()

    @property
    def most_jobs(self) -> int:
        """How many jobs had not ended, at their most: Open, UploadComplete and InProgress."""
        return self._jobs.most

    def batches_used(self) -> int:
        """Internal batches of the last 24 hours (the empty parent batch is not counted: assumed)."""
        return self._used("COUNT(*)")

    def records_used(self) -> int:
        """Records of the internal batches of the last 24 hours."""
        return self._used("coalesce(sum(rows), 0)")

    def use_up(self, rows: int) -> bool:
        """Count a job of so many rows toward the daily limits without doing it; False, and nothing counted, beyond them."""
        pieces = [min(BATCH_ROWS, rows - begin) for begin in range(0, rows, BATCH_ROWS)]
        if self.batches_used() + len(pieces) > self.settings.max_batches:
            return False
        if self.records_used() + rows > self.settings.max_records:
            return False
        started = stamp(self.clock.now())
        with self.store.transaction() as con:
            job = con.execute("SELECT min(0, coalesce(min(job), 0)) - 1 FROM _batch").fetchone()[0]
            sql = "INSERT INTO _batch (job, seq, offset, size, rows, started) VALUES (?, ?, 0, 0, ?, ?)"
            con.executemany(sql, [(job, seq, piece, started) for seq, piece in enumerate(pieces)])
        return True

    def _used(self, what: str) -> int:
        since = stamp(self.clock.now() - DAY)
        with self.store.reading() as con:
            return int(con.execute(f"SELECT {what} FROM _batch WHERE started > ?", (since,)).fetchone()[0])

    # ---- results ----

    def results(self, job_id: str, kind: str) -> Iterator[str]:
        """Lines of successful, failed or unprocessed results, in no useful order (documented)."""
        job = self.job(job_id)
        if job["state"] not in TERMINAL:
            raise ApiError(
                400, "INVALIDJOBSTATE", f"Results are not available for a job in state {job['state']}"
            )
        fault = self.faults.for_result(job["object"], kind)
        lines = self._result_lines(job, kind)
        return lines if fault is None else _without(lines, fault.rows)

    def _result_lines(self, job: Job, kind: str) -> Iterator[str]:
        mark, end = DELIMITERS[job["delimiter"]], LINE_ENDS[job["line_ending"]]
        lead = {"successful": ('"sf__Id"', '"sf__Created"'), "failed": ('"sf__Id"', '"sf__Error"')}
        # The sent header comes back as it was sent, unquoted cells unquoted (seen); the job's line end is
        # that of the results too (assumed).
        yield mark.join([*lead.get(kind, ()), *([job["header"]] if job["header"] else [])]) + end
        columns = self._echo_columns(job)
        for seq, piece in self._shuffled_pieces(job):
            outcomes = self._outcomes(job, seq)
            wanted = [
                chunk for chunk in _chunks(piece.rows) if (chunk in outcomes) != (kind == "unprocessed")
            ]
            if not wanted:
                continue
            if not all(outcomes.values()):
                yield from self._forgotten_lines(job, kind, piece)
                continue
            with self._data_path(job).open("rb") as source:
                rows = read_piece(source, piece, mark)
            for chunk in _shuffled(wanted, f"{self.seed}:{job['n']}:{seq}"):
                part = rows[chunk * CHUNK_ROWS : (chunk + 1) * CHUNK_ROWS]
                yield from _chunk_lines(kind, part, outcomes.get(chunk) or [], columns, (mark, end))

    def _forgotten_lines(self, job: Job, kind: str, piece: Piece) -> Iterator[str]:
        """The lines of a batch whose rows were not kept, as they were sent; they share one id."""
        if kind != "successful":
            return
        obj, mark = self.schema.get(job["object"]), DELIMITERS[job["delimiter"]]
        lead = mark.join((f'"{record_id(obj.key_prefix, 1) if obj else ""}"', '"true"', ""))
        with self._data_path(job).open("rb") as source:
            for record in records(source, piece):
                yield lead + record.decode("utf-8", errors="replace")

    def _echo_columns(self, job: Job) -> list[tuple[int, Field | None, bool]]:
        """(position, number field or None, header in the API name's own case) of each column."""
        obj = self.schema.get(job["object"])
        names = _header_cells(job)
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

    def _outcomes(self, job: Job, seq: int) -> dict[int, list[list[str]] | None]:
        """Chunk -> the outcome of each row; None: the rows were not kept."""
        with self.store.reading() as con:
            rows = con.execute(
                "SELECT chunk, outcomes FROM _chunk WHERE job = ? AND batch = ?", (job["n"], seq)
            )
            return {chunk: json.loads(text) for chunk, text in rows}

    def _data_path(self, job: Job) -> Path:
        return self._jobs.path(job, "csv")

    # ---- the worker ----

    def wake(self) -> None:
        """Something changed: a job was closed, the clock was pushed, a hold was released."""
        self.worker.wake()

    def _broken(self, job: Job, error: Exception) -> None:
        self._jobs.move(job, "Failed", RUNNING, error=f"Unknown : fakeforce: {error!r}")

    def _runnable(self) -> list[Job]:
        return [job for job in self._jobs.running() if not self._held(job)]

    def _held(self, job: Job) -> bool:
        if not self.settings.hold_jobs or job["state"] != "InProgress":
            return False
        return self._batches_done(job) >= self.settings.hold_after_batches

    def _batches_done(self, job: Job) -> int:
        with self.store.reading() as con:
            sql = "SELECT COUNT(*) FROM _batch WHERE job = ? AND started IS NOT NULL"
            return int(con.execute(sql, (job["n"],)).fetchone()[0])

    def _step(self, job: Job) -> None:
        """One visible move of one job: into InProgress, one internal batch, or the end."""
        began = time.perf_counter()
        try:
            if job["state"] == "UploadComplete":
                self._jobs.move(job, "InProgress", ("UploadComplete",))
            elif job["header"] is None:
                self._survey(job)
            else:
                self._next_batch(job)
        except JobFailure as failure:
            self._jobs.move(job, "Failed", RUNNING, error=str(failure))
        finally:
            self._jobs.add_time(job, began)

    def _next_batch(self, job: Job) -> None:
        writer = self._writer(job)
        fault = self.faults.for_object(("fail-job", "stick-job"), job["object"])
        if fault is not None and fault.kind == "stick-job":
            self._jobs.put_off(job, fault.delay)
            return
        if fault is not None:
            lock = "TooManyLockFailure:Too many lock failure 200 Trying again later."  # seen
            code, _, text = (fault.error or lock).partition(":")
            raise JobFailure(code, text)
        piece = self._next_piece(job)
        if piece is None:
            self._jobs.move(job, "JobComplete", ("InProgress",))
        else:
            self._process(job, writer, *piece)

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
        key_name = job["external_id_field"] or ("Id" if job["operation"] in BY_ID else "")
        names = _header_cells(job)
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
        if not self._start_batch(job, seq, piece):
            return
        if not self.settings.keep_rows:
            self._pass_over(job, seq, piece)
            return
        with self._data_path(job).open("rb") as source:
            text_rows = read_piece(source, piece, DELIMITERS[job["delimiter"]])
        rows = read_csv_rows(writer, text_rows, trim=self.settings.trim_text)
        done = self._outcomes(job, seq)
        self._locked[job["n"]] = set()
        locked = self._locked_by_others(job)
        for chunk in _shuffled(list(_chunks(piece.rows)), f"chunks:{self.seed}:{job['n']}:{seq}"):
            if self.worker.stopping:
                return
            if chunk not in done and not self._process_chunk(job, writer, seq, chunk, rows, locked):
                return  # aborted meanwhile

    def _locked_by_others(self, job: Job) -> frozenset[str]:
        """Parents that the newest internal batch of another running job has written to.

        That a batch locks the parents of its rows is documented (Bulk API guide: General Guidelines for Data
        Loads); that the lock lasts until the job's next batch or its end is assumed.
        """
        if not self.settings.row_locks:
            return frozenset()
        running = {other["n"] for other in self._jobs.select("AND state = 'InProgress'")}
        self._locked = {n: parents for n, parents in self._locked.items() if n in running}
        others = [parents for n, parents in self._locked.items() if n != job["n"]]
        return frozenset(parent for parents in others for parent in parents)

    def _start_batch(self, job: Job, seq: int, piece: Piece) -> bool:
        """Count the batch toward the daily limits. False when it is not worked on this time.

        Rows beyond the batch allocation end up in none of the result files; beyond the record limit the job
        fails and the rest is unprocessed (both documented: How Requests Are Processed; texts assumed).
        """
        with self.store.reading() as con:
            sql = "SELECT started FROM _batch WHERE job = ? AND seq = ?"
            fresh = con.execute(sql, (job["n"], seq)).fetchone()[0] is None
        if fresh and self.batches_used() >= self.settings.max_batches:
            self._lose(job, "started IS NULL")
            raise JobFailure("ExceededQuota", "Daily batch allocation exceeded")
        if fresh and self.records_used() + piece.rows > self.settings.max_records:
            raise JobFailure("ExceededQuota", "Daily record limit exceeded")
        if fresh and self.faults.for_object(("lose-batch",), job["object"]) is not None:
            self._lose(job, f"seq = {seq}")
            return False
        with self.store.transaction() as con:
            con.execute(
                "UPDATE _batch SET started = coalesce(started, ?) WHERE job = ? AND seq = ?",
                (stamp(self.clock.now()), job["n"], seq),
            )
        return not self._retried(job, seq)

    def _lose(self, job: Job, which: str) -> None:
        with self.store.transaction() as con:
            con.execute(f"UPDATE _batch SET lost = 1 WHERE job = ? AND {which}", (job["n"],))

    def _retried(self, job: Job, seq: int) -> bool:
        """Whether a fault makes this try of the batch fail as a whole (limits: at most 20 retries)."""
        if self.faults.for_object(("retry-batch",), job["object"]) is None:
            return False
        with self.store.transaction() as con:
            con.execute("UPDATE _job SET retries = retries + 1 WHERE n = ?", (job["n"],))
            con.execute("UPDATE _batch SET retries = retries + 1 WHERE job = ? AND seq = ?", (job["n"], seq))
            sql = "SELECT retries FROM _batch WHERE job = ? AND seq = ?"
            tries = con.execute(sql, (job["n"], seq)).fetchone()[0]
        if tries > MAX_RETRIES:
            raise JobFailure("InvalidBatch", f"Batch retried more than {MAX_RETRIES} times")  # assumed
        return True

    def _process_chunk(
        self, job: Job, writer: Writer, seq: int, chunk: int, rows: Rows, locked: frozenset[str]
    ) -> bool:
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
            change.locked = locked
            outcomes = change.apply(columns, errors)
            self._strike_stored(con, writer, outcomes)
            if self.settings.row_locks:
                self._locked[job["n"]] |= change.parents()
            refused = sum(1 for o in outcomes if o.error is not None)
            con.execute(
                "INSERT INTO _chunk VALUES (?,?,?,?)", (job["n"], seq, chunk, json.dumps(_packed(outcomes)))
            )
            con.execute(
                "UPDATE _job SET processed = processed + ?, failed = failed + ? WHERE n = ?",
                (len(outcomes), refused, job["n"]),
            )
        return True

    def _pass_over(self, job: Job, seq: int, piece: Piece) -> None:
        """The batch counts as written; nothing is kept of it."""
        with self.store.transaction() as con:
            done = [(job["n"], seq, chunk, "null") for chunk in _chunks(piece.rows)]
            con.executemany("INSERT OR IGNORE INTO _chunk VALUES (?,?,?,?)", done)
            con.execute("UPDATE _job SET processed = processed + ? WHERE n = ?", (piece.rows, job["n"]))

    def _strike_rows(self, job: Job, errors: dict[int, RowError], count: int) -> None:
        fault = self.faults.for_object(("lock-rows", "row-error"), job["object"])
        if fault is None:
            return
        text = "UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record"  # seen
        code, _, message = (fault.error or text).partition(":")
        for at in range(min(fault.rows, count)):
            errors[at] = RowError(code, message)

    def _strike_stored(self, con: sqlite3.Connection, writer: Writer, outcomes: list[Outcome]) -> None:
        """Rows that are reported as written and are not, or not as they were sent."""
        fault = self.faults.for_object(STORE_FAULTS, writer.obj.name)
        if fault is None:
            return
        struck = [one.id for one in outcomes if one.error is None][: fault.rows]
        if fault.kind == "lose-rows":
            self.store.delete(con, writer.obj, struck, hard=True)
            return
        field = writer.obj.field(fault.column)
        if field is None:
            raise JobFailure("Unknown", f"fakeforce: fault alter-rows names no field: {fault.column!r}")
        value, _ = parse_value(field, fault.value) if fault.value else (None, None)
        self.store.update(con, writer.obj, [field.name], [(value, record) for record in struck])


def _no_more_data(state: str) -> ApiError:
    return ApiError(400, "INVALIDJOBSTATE", f"Job is in state {state} and takes no more data")


def _header_cells(job: Job) -> list[str]:
    return next(csv.reader([job["header"] or ""], delimiter=DELIMITERS[job["delimiter"]]), [])


def _without(lines: Iterator[str], rows: int) -> Iterator[str]:
    """The header and what follows the first ``rows`` lines after it."""
    for at, line in enumerate(lines):
        if not 0 < at <= rows:
            yield line


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
    marks: tuple[str, str],
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
            yield quoted(row, *marks)
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
        yield quoted(outcome + row, *marks)


def read_multipart(body: bytes, content_type: str) -> tuple[bytes, bytes]:
    """(job as JSON, CSV) of a multipart create (Bulk API 2.0 guide: Create a Job). Raises 400 (text assumed)."""
    found = re.search(r'boundary="?([^";]+)"?', content_type)
    pieces = (b"\r\n" + body).split(b"\r\n--" + found.group(1).encode()) if found else []
    parts: dict[str, bytes] = {}
    for piece in pieces[1:-1]:
        head, _, content = piece.partition(b"\r\n\r\n")
        name = re.search(rb'[; ]name="?([^";\r]+)"?', head)
        if name:
            parts[name.group(1).decode("latin-1")] = content
    if set(parts) != {"job", "content"} or not pieces[-1].startswith(b"--"):
        raise ApiError(400, "CLIENTINPUTERROR", "A multipart request must have the parts job and content")
    return parts["job"], parts["content"]
