"""Bulk API 2.0 query: reads records back into files, page by page.

https://developer.salesforce.com/docs/platform/api-asynch/guide/query-bulk-api-2-0.html
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from isal import igzip

from ora2sf.errors import JobTimeout, NotFoundError, RunFolderError, TargetError
from ora2sf.salesforce.auth import TryAgain
from ora2sf.salesforce.rest import SalesforceClient, job_id_in

_RUNNING = frozenset({"UploadComplete", "InProgress"})
_FIRST_LOOK, _SLOWER = 0.1, 1.5
_BLOCK = 1 << 20
_LISTEN = 0.5
_FETCH_TRIES = 3
_JOBS = 3  # made in a row, each because the one before is gone
_LONGEST_HEADER = 1 << 20
_AGAIN = "Run again with the same run_id: pages that are here are not fetched again."


@dataclass(frozen=True)
class Page:
    """One page of results on disk: gzip, with the header line.

    Attributes:
        file: its name; rows: as Salesforce announced them; bytes, sha256: of the plain text; size: on disk.
    """

    locator: str
    file: str
    rows: int
    bytes: int
    sha256: str
    size: int


@dataclass(frozen=True)
class ReadBack:
    """Records as they were in the org when the job read them.

    Attributes:
        asked: when the job was created, as Salesforce writes it.
        pages: in the job's order; paths: where they are.
    """

    job_id: str
    asked: str
    pages: tuple[Page, ...]
    folder: Path

    @property
    def rows(self) -> int:
        """Records on all pages."""
        return sum(page.rows for page in self.pages)

    @property
    def paths(self) -> list[Path]:
        """The files, in the job's order."""
        return [self.folder / page.file for page in self.pages]


@dataclass(frozen=True)
class _Note:
    """What ``query.json`` remembers, so that a killed run goes on with its job and the pages it has."""

    soql: str
    occasion: str
    job_id: str
    asked: str
    done: bool
    pages: dict[str, Page]


class BulkQuery:
    """Reads the answer of one query into a folder that nothing else writes to.

    Args:
        max_downloads: pages on the wire at once (Salesforce counts calls that run longer than 20 s).
        poll_interval: longest pause between two looks at the job, in seconds.
        job_timeout: seconds after which the job is left alone; it goes on, and the next run follows it.
    """

    def __init__(
        self,
        client: SalesforceClient,
        folder: Path,
        *,
        max_downloads: int = 4,
        poll_interval: float = 10.0,
        job_timeout: float = 7200,
    ) -> None:
        self._client, self._folder, self._max = client, folder, max_downloads
        self._poll_interval, self._job_timeout = poll_interval, job_timeout
        self._lock = threading.Lock()
        self._where = folder / "query.json"

    def read(
        self,
        soql: str,
        header: Sequence[str],
        *,
        occasion: str = "",
        fetched: Callable[[int], object] = lambda rows: None,
    ) -> ReadBack:
        """The records that the query finds, as pages on disk.

        A job that an earlier call with the same query and occasion left unfinished is followed, and the pages that
        are on disk are kept; one that is gone (jobs live seven days) is made anew.

        Args:
            header: the column names that each page must have, in any case; the order is that of the query.
            occasion: what the answer is for; another occasion needs a new answer.
            fetched: told the rows of each page that has come.

        Raises:
            TargetError: Salesforce refuses the query, or the job failed, or a page is not what was asked for.
            JobTimeout: the job did not end in time; the next call follows it.
            TargetUnavailable: no answer after all tries.
            RunFolderError: a page cannot be saved.
        """
        for _ in range(_JOBS):
            note = self._remembered(soql, occasion) or self._create(soql, occasion)
            try:
                return self._follow(note, tuple(header), fetched)
            except NotFoundError:
                self._forget()  # deleted, or older than seven days
        raise TargetError(
            f"{_JOBS} query jobs in a row were gone before their results were read.",
            "Look into Setup › Bulk Data Load Jobs for who deletes them.",
        )

    def finished(self) -> None:
        """Says that the answer was used: the next call asks again. The pages stay until then."""
        if note := self._read_note():
            self._write(replace(note, done=True))

    # the job

    def _create(self, soql: str, occasion: str) -> _Note:
        self._forget()
        for old in self._folder.glob("*.csv.gz*"):
            old.unlink()
        # a repeated create can leave a job behind that nobody reads; it is gone after seven days
        answer = self._client.send("POST", "/jobs/query", json={"operation": "query", "query": soql})
        job = self._client.parsed(answer)
        note = _Note(soql, occasion, job_id_in(job), str(job.get("createdDate", "")), done=False, pages={})
        self._write(note)
        return note

    def _follow(self, note: _Note, header: tuple[str, ...], fetched: Callable[[int], object]) -> ReadBack:
        total = self._wait(note.job_id)
        locators = self._locators(note.job_id)
        self._drop_damaged(note)
        todo = [(at, locator) for at, locator in enumerate(locators, 1) if locator not in note.pages]
        for page in note.pages.values():
            fetched(page.rows)

        def fetch(at: int, locator: str) -> None:
            page = self._fetch(note.job_id, at, locator, header)
            with self._lock:
                note.pages[locator] = page
                self._write(note)
            fetched(page.rows)

        self._in_parallel(fetch, todo)
        found = ReadBack(
            note.job_id, note.asked, tuple(note.pages[locator] for locator in locators), self._folder
        )
        if found.rows != total:
            self._forget()
            raise TargetError(
                f"Query job {note.job_id} read {total:,} records, and its pages have {found.rows:,}.",
                "Run again: a new job is made.",
            )
        return found

    def _wait(self, job_id: str) -> int:
        """Looks at the job until it is complete; returns how many records it read."""
        deadline = time.monotonic() + self._job_timeout
        pause = min(_FIRST_LOOK, self._poll_interval)
        while (info := self._client.read(f"/jobs/query/{job_id}"))["state"] in _RUNNING:
            late = time.monotonic() + pause > deadline
            if late or self._client.stop.wait(pause):
                why = f"after {self._job_timeout:g} seconds" if late else "because the run was stopped"
                raise JobTimeout(
                    f"Query job {job_id} was left {info['state']} {why}.",
                    "It goes on in Salesforce. Run again with the same run_id to follow it.",
                )
            pause = min(pause * _SLOWER, self._poll_interval)
        if info["state"] == "JobComplete":
            return int(info.get("numberRecordsProcessed") or 0)
        self._forget()
        # Salesforce documents no message for query jobs, and sends one at times
        said = info.get("errorMessage") or "Salesforce gives no reason"
        raise TargetError(
            f"Query job {job_id} ended {info['state']}: {said}.",
            "Look at the job in Setup › Bulk Data Load Jobs. Run again: a new job is made.",
        )

    def _locators(self, job_id: str) -> list[str]:
        """Where each page begins; Salesforce lists five at a time (Get Parallel Results for a Query Job)."""
        path, params, found = f"/jobs/query/{job_id}/resultPages", dict[str, str](), list[str]()
        while True:
            answer = self._client.read(path, params)
            found += [_locator(page["resultUrl"]) for page in answer["resultPages"]]
            following = answer.get("nextRecordsUrl") or answer.get("nextRecordUrl")
            if answer.get("done", not following) or not following:
                return found
            params = {"locator": _locator(following)}

    # pages

    def _fetch(self, job_id: str, number: int, locator: str, header: tuple[str, ...]) -> Page:
        path = self._folder / f"{job_id}_{number:05d}.csv.gz"
        try:
            page = self._client.retrying(_FETCH_TRIES)(self._download, job_id, locator, path, header)
            part = _part(path)
            page = replace(page, size=part.stat().st_size)
            part.replace(path)
        except OSError as error:
            raise RunFolderError(
                f"Page {number} of query job {job_id} cannot be saved in {self._folder}: {error.strerror or error}.",
                "Check the disk and the permissions of the run's folder, then run again with the same run_id.",
            ) from None
        return page

    def _download(self, job_id: str, locator: str, path: Path, header: tuple[str, ...]) -> Page:
        address = f"/jobs/query/{job_id}/results"
        digest, size, head = hashlib.sha256(), 0, b""
        with (
            self._client.send(
                "GET",
                address,
                params={"locator": locator} if locator else None,
                # other values are not taken for gzip (Use Compression for Bulk API 2.0 Query Responses)
                headers={"Accept": "text/csv", "Accept-Encoding": "gzip"},
                stream=True,
            ) as answer,
            _part(path).open("wb") as file,
        ):
            with igzip.open(file, "wb", compresslevel=1) as packed:
                for block in self._blocks(answer, address):
                    head += block[: _LONGEST_HEADER - len(head)]
                    digest.update(block)
                    size += packed.write(block)
            file.flush()
            os.fsync(file.fileno())
            rows = int(answer.headers.get("Sforce-NumberOfRecords", -1))
        _check_header(head, header, job_id)
        return Page(locator, path.name, rows, size, digest.hexdigest(), 0)

    def _blocks(self, answer: requests.Response, address: str) -> Iterator[bytes]:
        try:
            for block in answer.iter_content(_BLOCK):
                if self._client.stop.is_set():
                    raise JobTimeout("The run was stopped while records were read back.", _AGAIN)
                yield block
        except requests.RequestException as error:
            what = f"The answer to GET {address} broke off: {type(error).__name__}."
            raise TryAgain(what, f"Check the network. {_AGAIN}") from None

    def _in_parallel(self, fetch: Callable[[int, str], None], todo: Sequence[tuple[int, str]]) -> None:
        """Fetches the pages side by side; after a failure, or an interrupt, nothing new is begun."""
        with ThreadPoolExecutor(self._max, thread_name_prefix="page") as pool:
            futures = [pool.submit(fetch, *one) for one in todo]
            try:
                while wait(futures, timeout=_LISTEN, return_when="FIRST_EXCEPTION").not_done:
                    if any(future.done() and future.exception() for future in futures):
                        break
            except BaseException:
                self._client.stop.set()
                raise
            finally:
                for future in futures:
                    future.cancel()
                pool.shutdown()
                self._client.stop.clear()
        for future in futures:
            if not future.cancelled():
                future.result()

    # the note

    def _remembered(self, soql: str, occasion: str) -> _Note | None:
        note = self._read_note()
        return note if note and not note.done and (note.soql, note.occasion) == (soql, occasion) else None

    def _read_note(self) -> _Note | None:
        try:
            kept = json.loads(self._where.read_text(encoding="utf-8"))
            pages = {locator: Page(**page) for locator, page in kept.pop("pages").items()}
            return _Note(**kept, pages=pages)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _write(self, note: _Note) -> None:
        part = _part(self._where)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(asdict(note), indent=1) + "\n", encoding="utf-8")
            part.replace(self._where)
        except OSError as error:
            raise RunFolderError(
                f"{self._where} cannot be written: {error.strerror or error}.",
                "Check the disk and the permissions of the run's folder, then run again with the same run_id.",
            ) from None

    def _forget(self) -> None:
        self._where.unlink(missing_ok=True)

    def _drop_damaged(self, note: _Note) -> None:
        """Forgets pages whose file is gone or has another size."""
        for locator, page in list(note.pages.items()):
            path = self._folder / page.file
            if not path.is_file() or path.stat().st_size != page.size:
                del note.pages[locator]

    def again(self, page: Page) -> None:
        """Says that a page does not hold what Salesforce announced: the next call fetches it once more."""
        (self._folder / page.file).unlink(missing_ok=True)


def read_some(
    client: SalesforceClient,
    folder: Path,
    sobject: str,
    field: str,
    header: Sequence[str],
    values: Iterable[str],
) -> ReadBack:
    """The records whose field has one of the values, as one page in the form of a query job's.

    Raises:
        TargetError: Salesforce refuses the query.
        RunFolderError: the page cannot be saved.
    """
    path = folder / f"{sobject}_sample.csv.gz"
    lines = io.StringIO()
    writer = csv.writer(lines, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(header)
    rows = 0
    for record in client.records(sobject, header, field, values):
        writer.writerow([_cell(record, name.split(".")) for name in header])
        rows += 1
    text = lines.getvalue().encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _part(path).write_bytes(igzip.compress(text, 1))
        _part(path).replace(path)
    except OSError as error:
        raise RunFolderError(
            f"The sample cannot be saved in {folder}: {error.strerror or error}.",
            "Check the disk and the permissions of the run's folder, then run again with the same run_id.",
        ) from None
    page = Page("", path.name, rows, len(text), hashlib.sha256(text).hexdigest(), path.stat().st_size)
    return ReadBack("", "", (page,), folder)


def _cell(record: Mapping[str, Any] | None, names: Sequence[str]) -> str:
    """A value of a REST record as a query job writes it."""
    value: Any = record
    for name in names:
        value = None if value is None else value[name]
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case Decimal():
            return f"{value:f}"
    return str(value)


def _locator(address: str) -> str:
    """The locator in the address of a page; the first page may have none."""
    return parse_qs(urlsplit(address).query).get("locator", [""])[0]


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _check_header(head: bytes, wanted: tuple[str, ...], job_id: str) -> None:
    line = head.split(b"\n", 1)[0].rstrip(b"\r").decode("utf-8", "replace")
    found = next(csv.reader([line]), [])
    if [name.lower() for name in found] != [name.lower() for name in wanted]:
        raise TargetError(
            f"Query job {job_id} gives the columns {', '.join(found) or 'none'} where {', '.join(wanted)} were asked for.",
            "Report this with the API version: the values cannot be told apart.",
        )
