"""``log.jsonl``: what happened in a slice, one JSON object a line; every event and field stands in a table here (docs/log.md).

Keys, names, codes, times and numbers: no other value of a row is logged, and no text of an error, because a server may quote
a row in it. The text stands in ``status.json``.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ora2sf.claim import now, this_process
from ora2sf.errors import RunFolderError
from ora2sf.redaction import Redactor, redactor

LOG = "log.jsonl"
Level = Literal["info", "warning", "error"]


@dataclass(frozen=True)
class Event:
    """What can happen: how grave it is unless the line says otherwise, what it means, and the fields that it may have."""

    level: Level
    meaning: str
    fields: tuple[str, ...] = ()


#: Fields of every line.
STANDING: dict[str, str] = {
    "time": "when it was written, UTC, in milliseconds",
    "level": "info, warning or error",
    "event": "one of the events below",
    "run_id": "the run",
    "table": "the table",
    "window": "the window of the table, or null",
    "step": "the notebook, or cleanup",
    "host": "the machine",
    "pid": "the process on it",
}
_BOOKS = ("source_rows", "read_rows", "rejected_rows", "staged_rows", "success_rows", "created_rows", "updated_rows", "removed_rows", "failed_rows", "unprocessed_rows", "unknown_rows", "not_sent_rows", "recovered_rows", "excluded_rows", "excluded_rejected_rows", "target_before_rows", "target_after_rows")  # fmt: skip
_FAULT = ("error", "meaning", "code", "exit")
EVENTS: dict[str, Event] = {
    "slice_opened": Event("info", "a notebook opened the slice", ("invocation",)),
    "slice_taken_over": Event("warning", "the slice was taken over from a process that was gone", ("from_host", "from_pid")),
    "oracle_signed_in": Event("info", "Oracle let us in", ("version", "seconds")),
    "salesforce_signed_in": Event("info", "Salesforce let us in", ("version", "seconds")),
    "table_checked": Event("info", "the table file was compared with both sides", ("fields", "problems")),
    "extraction_started": Event("info", "reading begins", ("batch_size_rows",)),
    "own_moment_taken": Event("warning", "the campaign's moment cannot be read: the slice has one of its own", ("scn", "code")),
    "extraction_finished": Event("info", "everything is staged; without seconds: it was already", ("source_rows", "read_rows", "staged_rows", "rejected_rows", "batches", "consistency", "seconds", "rows_per_second")),
    "data_checked": Event("info", "the staged rows were compared with the org", ("findings", "stops")),
    "limits_checked": Event("info", "the org's limits were compared with what is to be sent", ("problems",)),
    "status_record_written": Event("info", "the status record in Salesforce was written", ("record", "status")),
    "status_record_failed": Event("warning", "the status record in Salesforce could not be written", ("record", "status", *_FAULT)),
    "status_record_spared": Event("info", "a dry run: the status record would have been written", ("record", "status")),
    "dry_run_counted": Event("info", "a dry run: what would be sent", ("rows", "jobs", "internal_batches", "calls", "bytes")),
    "upload_started": Event("info", "sending begins", ("way", "batches", "rows")),
    "attempt_moved": Event("info", "an attempt to load a batch reached a state (docs/run-folder.md)", ("batch", "attempt", "state", "job")),
    "job_ended": Event("info", "the results of a job are on disk", ("batch", "round", "job", "job_state", "failed_rows")),
    "upload_finished": Event("info", "every batch is settled", ("jobs", "rows", "seconds", "rows_per_second")),
    "results_fetched": Event("info", "03 followed jobs, or fetched result files again", ("jobs", "fetched_again")),
    "books_counted": Event("info", "both sides of every equation were counted", ("verdict", *_BOOKS)),
    "target_compared": Event("info", "the staged rows were compared with the org", ("mode", "expected_rows", "compared_rows", "missing_rows", "extra_rows", "different_rows", "different_values", "proven", "seconds")),
    "report_written": Event("info", "report.html and report.json were written", ("files", "digest")),
    "verdict_reached": Event("info", "03 came to a verdict, or 90 did", ("verdict", "exit", *_BOOKS)),
    "rows_fixed": Event("info", "04 dealt with rows", ("fix", "way", "failed_rows", "rejected_rows")),
    "rollback_started": Event("warning", "from here on what the run created is deleted"),
    "rollback_finished": Event("warning", "what the run created was deleted", ("created_rows", "updated_rows", "gone_rows", "changed_rows", "there_rows")),
    "step_paused": Event("warning", "the org's budget is used up for now", ("until", *_FAULT)),
    "step_stopped": Event("warning", "the step stopped and goes on with the same run_id", _FAULT),
    "step_failed": Event("error", "the step failed; status.json has the text", _FAULT),
    "webhook_sent": Event("info", "the webhook took a message", ("about", "tries", "seconds")),
    "webhook_failed": Event("warning", "the webhook did not take a message", ("about", "tries", "seconds", "reason")),
    "data_removed": Event("warning", "staged data was removed after the verdict", ("verdict", "files", "bytes")),
}  # fmt: skip
#: Fields of single events.
FIELDS: dict[str, str] = {
    "invocation": "number of the opening, as in the ledger's table step",
    "from_host": "machine of the process that was gone",
    "from_pid": "its number there",
    "version": "of the database; of the API",
    "fields": "fields in the table file",
    "problems": "how many",
    "batch_size_rows": "most rows of a batch",
    "scn": "the campaign's SCN",
    "batches": "staged, or to send",
    "consistency": "campaign, slice or none: how wide the moment is that the rows are of",
    "findings": "reasons for which rows would fail",
    "stops": "reasons for which nothing can be sent",
    "record": "its reference",
    "status": "its value",
    "way": "jobs or collections; of a fix: table, csv or exclude",
    "batch": "number of the batch",
    "round": "0, or the round in which rows are sent again",
    "attempt": "number of the attempt, as in the ledger",
    "state": "of the attempt, as in the ledger",
    "job": "Id of the job in Salesforce, or null as long as there is none",
    "job_state": "as Salesforce says",
    "jobs": "how many",
    "fetched_again": "sets of result files",
    "mode": "of the comparison",
    "expected_rows": "that have to be in the org",
    "compared_rows": "of these, compared",
    "missing_rows": "not in the org",
    "extra_rows": "in the org, and not in the books",
    "different_rows": "with another value in the org",
    "different_values": "values in them",
    "proven": "whether every value was compared and is the same",
    "files": "how many",
    "digest": "SHA-256 of report.json, as it says itself",
    "verdict": "in words",
    "exit": "exit code (docs/report.md)",
    "fix": "number of the fix, as in the ledger",
    "gone_rows": "created by the run and not there any more",
    "changed_rows": "created by the run and changed since",
    "there_rows": "created by the run and still there",
    "until": "when it can go on, UTC, if that is known",
    "error": "class of the error",
    "meaning": "what that class means",
    "code": "Salesforce's or Oracle's own code, if there is one",
    "about": "verdict, pause or failure",
    "tries": "how often it was sent",
    "reason": "why not: a class of error, or an HTTP status",
    "seconds": "how long it took",
    "rows": "of these batches",
    "rows_per_second": "of the whole step",
    "bytes": "on disk; of a dry run, plain text",
    "internal_batches": "of 10,000 rows, of which the org has a number a day",
    "calls": "of the API",
    **dict.fromkeys(_BOOKS, "rows, by the names of the balance in report.json"),
}


def listed(event: Event) -> str:
    """The fields of an event as docs/log.md lists them; those of the books under one name."""
    books = set(_BOOKS) <= set(event.fields)
    own = [f"`{name}`" for name in event.fields if not (books and name in _BOOKS)]
    return ", ".join([*own, *(["the books"] if books else [])])


class Log:
    """Appends to the log of one slice; threads share it.

    Args:
        folder: of the slice.
        standing: ``run_id``, ``table``, ``window`` and ``step``.
    """

    def __init__(self, folder: Path, **standing: str | None) -> None:
        self._path, self._standing = folder / LOG, standing
        self._clean: Redactor | None = None
        self._me = this_process()
        self._lock = threading.Lock()

    def write(self, event: str, level: Level | None = None, /, **fields: object) -> None:
        """Appends a line, at once and in one piece, so that a kill leaves at most one torn line, the last.

        Raises:
            RunFolderError: the disk is full, or the file cannot be written.
        """
        known = EVENTS[event]
        if unknown := set(fields) - set(known.fields):
            raise KeyError(f"{event} has no field {', '.join(sorted(unknown))}")
        head = {"time": now(), "level": level or known.level, "event": event}
        told = {**head, **self._standing, "host": self._me.host, "pid": self._me.pid, **fields}
        with self._lock:
            self._clean = self._clean or redactor()
            line = json.dumps(self._clean.clean(told), ensure_ascii=False)
            append(self._path, line)


def append(path: Path, line: str) -> None:
    """Appends a line to a log with one write; it begins a new line where a killed process left a torn one.

    Raises:
        RunFolderError: the disk is full, or the file cannot be written.
    """
    try:
        log = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(log).st_size
            torn = size and os.pread(log, 1, size - 1) != b"\n"
            text = f"{chr(10) if torn else ''}{line}\n".encode()
            if os.write(log, text) < len(text):
                raise OSError("no room for a whole line")
        finally:
            os.close(log)
    except OSError as error:
        raise RunFolderError(
            f"The log {path} cannot be written: {error.strerror or error}.",
            "Free some disk space, or correct the folder's rights; then run again with the same run_id.",
        ) from None


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log, oldest first; torn ones are left out, and nothing comes of a log that is not there."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError:  # also bytes that are not UTF-8
            continue
        if isinstance(found, dict):
            yield found


def fault(error: BaseException) -> Mapping[str, object]:
    """What the log says of an error: its class, what that means, and the code of the server; never its text."""
    kind = type(error)
    own = kind.__module__.startswith("ora2sf.")
    meaning = (kind.__doc__ or "").strip().split("\n")[0] if own else ""
    return {"error": kind.__name__, "meaning": meaning, "code": _code(error)}


def _code(error: BaseException) -> str:
    if code := getattr(error, "error_code", ""):
        return str(code)
    found = re.search(r"\b(ORA|DPY)-\d{4,5}\b", str(error))
    return found[0] if found else ""
