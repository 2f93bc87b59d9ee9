"""Bulk API 2.0 ingest: one staged file is one job.

https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/bulk_api_2_0_ingest.htm
"""

from __future__ import annotations

import functools
import hashlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import requests
from isal import isal_zlib
from isal.igzip_lib import IsalError
from urllib3.exceptions import HTTPError

from ora2sf.batches import PlainText
from ora2sf.counting import ResultCount, ResultCounter
from ora2sf.errors import (
    JobTimeout,
    NotFoundError,
    Ora2sfError,
    Paused,
    RunFolderError,
    TargetError,
    TargetUnavailable,
    TransientError,
)
from ora2sf.ledger import KINDS, Kind
from ora2sf.salesforce.auth import TryAgain
from ora2sf.salesforce.rest import API_VERSION, SalesforceClient, job_id_in

JobState = Literal["Open", "UploadComplete", "InProgress", "JobComplete", "Failed", "Aborted"]
ENDED = frozenset({"JobComplete", "Failed", "Aborted"})
_RESULT_PATHS: dict[Kind, str] = {
    "success": "successfulResults",
    "failed": "failedResults",
    "unprocessed": "unprocessedrecords",
}
_RESULTS = {"Accept": "text/csv", "Accept-Encoding": "gzip"}
#: What a download raises that breaks off; the stubs of isal take its error for an instance.
_BROKEN: tuple[type[Exception], ...] = (
    requests.RequestException,
    HTTPError,
    EOFError,
    cast(type[Exception], isal_zlib.error),
)
_FIRST_LOOK = 0.1
_LOOKS = 10  # a pause is a tenth of the time that a job has taken
_NEWEST = 5
_BLOCK = 1 << 20
_PLAIN_BLOCK = (
    1 << 17
)  # stays near the processor while it is hashed, counted and written; each job in flight has one
_PACKED_BLOCK = 1 << 15  # about a quarter of what it unpacks to, or less
_LISTEN = 0.5
_GRACE = 20.0  # seconds that an interrupted run waits for its threads: less than the 30 that Kubernetes gives
_UPLOAD_TRIES = 3
_FETCH_TRIES = 3


@dataclass(frozen=True)
class ResultFile:
    """A result file on disk; ``sha256`` is of its bytes as Salesforce returned them."""

    kind: Kind
    path: Path
    sha256: str
    count: ResultCount


@dataclass(frozen=True)
class JobEnd:
    """How a job ended. ``processed`` includes the failed rows (Salesforce counts so)."""

    job_id: str
    state: str
    processed: int
    failed: int
    message: str
    files: tuple[ResultFile, ...] = ()


class Journal:
    """What a loader tells about one file, before and after each act; the ledger's side overrides it.

    Attributes:
        name: names this attempt where Salesforce gives no job id; known once it is ``intended``.
        repeats: an earlier attempt of this file may have been carried out.
    """

    name: str = ""
    repeats: bool = False

    def intended(self) -> None:
        """A job is about to be created."""

    def created(self, job_id: str) -> None:
        """The job exists, empty and Open."""

    def uploaded(self) -> None:
        """The data is in the job."""

    def closing(self) -> None:
        """The job is about to be closed; from here on it may run."""

    def closed(self) -> None:
        """Salesforce has the data and will process it; not told of a job that is at its end when it is first looked at."""

    def ended(self, end: JobEnd) -> None:
        """The job reached its end."""

    def fetched(self, end: JobEnd) -> None:
        """Its three result files are on disk."""

    def given_up(self, reason: str) -> None:
        """Nothing of this job was or will be committed."""


class SalesforceBulkLoader:
    """Loads staged files into one object.

    Args:
        client: the org, or the name of a connection.
        sobject, external_id_field, operation: what the jobs do.
        logs: folder of the result files.
        max_concurrent_jobs: jobs in flight; max_concurrent_uploads: of these, files on the wire (Salesforce
            counts calls that run longer than 20 s: at most 25 at once, 5 in a developer org).
        poll_interval: longest pause between two looks at a job, in seconds; see :class:`_Pace`.
        job_timeout: seconds after which a job is left alone; it goes on, and the next run follows it.
        gzip_upload: send ``.csv.gz`` files as they are. Salesforce documents compressed requests for REST (REST API
            guide: Compression Headers) and not for this call: try one job before a campaign relies on it.
    """

    def __init__(
        self,
        client: SalesforceClient | str,
        sobject: str,
        external_id_field: str,
        *,
        operation: str = "upsert",
        logs: Path,
        api_version: str = API_VERSION,
        max_concurrent_jobs: int = 15,
        max_concurrent_uploads: int = 4,
        poll_interval: float = 30.0,
        job_timeout: float = 7200,
        gzip_upload: bool = False,
    ) -> None:
        self._client = (
            SalesforceClient(client, api_version=api_version) if isinstance(client, str) else client
        )
        self.sobject, self.external_id_field, self.operation = sobject, external_id_field, operation
        self._logs = logs
        self._max_jobs = max_concurrent_jobs
        self._uploads = threading.BoundedSemaphore(max_concurrent_uploads)
        self._pace, self._job_timeout = _Pace(poll_interval), job_timeout
        self._gzip_upload = gzip_upload
        self._stop = self._client.stop

    @property
    def client(self) -> SalesforceClient:
        """The org."""
        return self._client

    @property
    def logs(self) -> Path:
        """Folder of the result files."""
        return self._logs

    @property
    def max_concurrent_jobs(self) -> int:
        """Jobs in flight at most."""
        return self._max_jobs

    # single calls

    def create_job(self) -> str:
        """Creates an Open job and returns its id."""
        job = {
            "object": self.sobject,
            "operation": self.operation,
            "contentType": "CSV",
            "lineEnding": "LF",
            "columnDelimiter": "COMMA",
        }
        if self.operation == "upsert":
            job["externalIdFieldName"] = self.external_id_field
        # a repeated create can leave an empty Open job behind, which commits nothing and ends after 24 hours
        return job_id_in(self._client.parsed(self._client.send("POST", "/jobs/ingest", json=job)))

    def upload_data(
        self, job_id: str, file: Path, size: int | None = None, *, sha256: str | None = None
    ) -> None:
        """Streams a staged file (``.csv`` or ``.csv.gz``) to an Open job, as plain text unless ``gzip_upload`` is set.

        A job takes one upload, so a broken one is not repeated: the caller gives the job up.

        Raises:
            RunFolderError: the file is missing, damaged, or has not the size and hash that it was staged with;
                its last block is held back, so that the server does not take it for whole.
            TryAgain: the upload broke off.
        """
        packed = self._gzip_upload and file.suffix == ".gz"
        kind = _PackedFile if packed else _StagedFile
        with self._uploads:
            self._may_go_on()
            self._client.send(
                "PUT",
                f"/jobs/ingest/{job_id}/batches",
                body=lambda: kind(file, size, sha256, self._may_go_on),
                headers={"Content-Type": "text/csv; charset=UTF-8"}
                | ({"Content-Encoding": "gzip"} if packed else {}),
                repeat=False,
            )

    def close_job(self, job_id: str) -> None:
        """Tells Salesforce that the data is complete; an unknown outcome is looked up."""
        self._set_state(
            job_id, "UploadComplete", done={"UploadComplete", "InProgress", "JobComplete", "Failed"}
        )

    def abort_job(self, job_id: str) -> None:
        """Aborts a job that is not wanted; one that is gone already is no error."""
        try:
            self._set_state(job_id, "Aborted", done={"Aborted"})
        except NotFoundError:
            return

    def _set_state(self, job_id: str, state: JobState, done: set[str]) -> None:
        """Sends the change; after an error the job is looked at before the call is repeated."""

        def change() -> None:
            try:
                self._client.send("PATCH", f"/jobs/ingest/{job_id}", json={"state": state}, repeat=False)
            except NotFoundError:
                raise
            except (TargetUnavailable, TargetError):
                if self.job(job_id)["state"] not in done:
                    raise

        self._client.retrying()(change)

    def job(self, job_id: str) -> dict[str, Any]:
        """What Salesforce says about a job."""
        answer: dict[str, Any] = self._client.read(f"/jobs/ingest/{job_id}")
        return answer

    def wait_for_job(self, job_id: str) -> JobEnd:
        """Looks at a job until it ends.

        Raises:
            JobTimeout: it did not end within ``job_timeout``, or the loader was told to stop; the job goes on.
        """
        return self._wait(job_id, lambda: None)

    def _wait(self, job_id: str, working: Callable[[], None]) -> JobEnd:
        """See :meth:`wait_for_job`; ``working`` is called unless the first look finds the job at its end."""
        begun = time.monotonic()
        try:
            info = self.job(job_id)
        except Ora2sfError:
            working()
            raise
        if info["state"] not in ENDED:
            working()
        while True:
            if info["state"] not in get_args(JobState):
                raise TargetError(
                    f"Job {job_id} is in a state that is not known: {info['state']}.",
                    "Look at the job in Setup › Bulk Data Load Jobs; run again when it has ended.",
                )
            took = time.monotonic() - begun
            if info["state"] in ENDED:
                self._pace.ended(took)
                return _end(info)
            pause = self._pace.pause(took)
            if took + pause > self._job_timeout:
                raise JobTimeout(
                    f"Job {job_id} is still {info['state']} after {self._job_timeout:g} seconds.",
                    "It goes on in Salesforce. Run again with the same run_id to follow it.",
                )
            if self._stop.wait(pause):
                raise JobTimeout(
                    f"Job {job_id} was left {info['state']} because the run was stopped.",
                    "Run again with the same run_id to follow it.",
                )
            info = self.job(job_id)

    def fetch_results(self, job_id: str) -> tuple[ResultFile, ...]:
        """Streams the three result files of an ended job to ``{object}_{job id}_{kind}.csv``.

        They get these names when all are on the disk: to wait for it once costs less than after each.
        """
        files = tuple(self._fetch(job_id, kind) for kind in KINDS)
        for file in files:
            with self._saving(job_id, file.kind), _part(file.path).open("rb") as part:
                os.fsync(part.fileno())
        for file in files:
            with self._saving(job_id, file.kind):
                _part(file.path).replace(file.path)
        return files

    def fetch_again(self, job_id: str) -> tuple[ResultFile, ...]:
        """The three result files once more, because one is gone or is not what Salesforce returned.

        Raises:
            NotFoundError: Salesforce does not keep them.
        """
        return self.fetch_results(job_id)

    def _fetch(self, job_id: str, kind: Kind) -> ResultFile:
        path = self._logs / f"{self.sobject}_{job_id}_{kind}.csv"
        address = f"/jobs/ingest/{job_id}/{_RESULT_PATHS[kind]}"
        with self._saving(job_id, kind):
            digest, count = self._client.retrying(_FETCH_TRIES)(self._download, address, _part(path))
        return ResultFile(kind, path, digest, count)

    @contextmanager
    def _saving(self, job_id: str, kind: Kind) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunFolderError(
                f"The {kind} results of job {job_id} cannot be saved in {self._logs}: {error.strerror or error}.",
                "Check the disk and the permissions of the run's folder, then run again with the same run_id.",
            ) from None

    def _download(self, address: str, part: Path) -> tuple[str, ResultCount]:
        """Saves an answer, and counts its rows while they are at hand."""
        digest, counter = hashlib.sha256(), ResultCounter()
        with (
            self._client.send("GET", address, headers=_RESULTS, stream=True) as answer,
            part.open("wb") as file,
        ):
            try:
                for block in _plain(answer):
                    self._may_go_on()
                    digest.update(block)
                    counter.add(block)
                    file.write(block)
                count = counter.finish()
            except _BROKEN as error:
                raise TryAgain(
                    f"The answer to GET {address} broke off: {type(error).__name__}.",
                    "Check the network, then run again with the same run_id.",
                ) from None
        return digest.hexdigest(), count

    # whole files

    def load_file(
        self,
        file: Path,
        journal: Journal | None = None,
        *,
        size: int | None = None,
        sha256: str | None = None,
    ) -> JobEnd:
        """Loads one file with one job, to its end and its result files.

        Args:
            size, sha256: of the plain text when it was staged; a file that differs is refused.

        Raises:
            TargetUnavailable, TargetError: the job could not be filled; it was given up, nothing is committed.
            RunFolderError: the file is not what was staged; likewise.
            JobTimeout: see :meth:`wait_for_job`.
        """
        journal = journal or Journal()
        job_id = self._client.retrying(_UPLOAD_TRIES)(self._fill, file, journal, size, sha256)
        journal.closing()
        self.close_job(job_id)
        end = self._wait(job_id, journal.closed)  # to record it costs no time while the job works
        journal.ended(end)
        return self.collect(end, journal)

    def _fill(self, file: Path, journal: Journal, size: int | None, sha256: str | None) -> str:
        """An Open job that holds the file; on any failure the job is given up."""
        self._may_go_on()
        job_id = ""
        journal.intended()
        try:
            job_id = self.create_job()
            journal.created(job_id)
            self.upload_data(job_id, file, size, sha256=sha256)
        except Ora2sfError as error:
            if job_id:
                self._abandon(job_id)
            journal.given_up(error.what)
            raise
        journal.uploaded()
        return job_id

    def follow(self, job_id: str, journal: Journal | None = None) -> JobEnd:
        """Waits for a closed job and saves its results; also how a killed run takes up a job again."""
        journal = journal or Journal()
        end = self.wait_for_job(job_id)
        journal.ended(end)
        return self.collect(end, journal)

    def collect(self, end: JobEnd, journal: Journal | None = None) -> JobEnd:
        """Saves the results of an ended job."""
        end = JobEnd(
            end.job_id, end.state, end.processed, end.failed, end.message, self.fetch_results(end.job_id)
        )
        (journal or Journal()).fetched(end)
        return end

    def load_files_parallel(
        self, files: Sequence[Path], journals: Sequence[Journal] | None = None
    ) -> list[JobEnd]:
        """Loads files side by side, at most ``max_concurrent_jobs`` at once; results in the order of the files."""
        notes = journals or [Journal() for _ in files]
        pairs = zip(files, notes, strict=True)
        return self.run_parallel([functools.partial(self.load_file, file, note) for file, note in pairs])

    def run_parallel(
        self,
        tasks: Sequence[Callable[[], JobEnd]],
        *,
        most: int | None = None,
        apart: Callable[[int, int], bool] = lambda _one, _other: False,
        flying: Iterable[int] = (),
    ) -> list[JobEnd]:
        """Runs tasks in threads. After a failure that would hit every job nothing new is begun.

        Such a failure is every one that is not transient, a pause that is asked for, and an org that stays unavailable to as
        many tasks in a row as may run at once. An interrupt parks the begun tasks: uploads break off, jobs are left.

        Args:
            most: tasks at once; by default ``max_concurrent_jobs``.
            apart: says of the places of two tasks that they must not run at the same time.
            flying: places of tasks whose job is in Salesforce already: what must stay apart from them waits.

        Raises:
            Ora2sfError: the first failure, a final one before a transient one, once every begun task has settled.
        """
        if not tasks:
            return []
        self._stop.clear()
        _ = self._client.instance_url  # a wrong host or secret is reported once, before anything is begun
        lanes = _Lanes(tasks, min(most or self._max_jobs, len(tasks)), apart, flying)
        try:
            lanes.run()
        except BaseException:
            self._stop.set()
            if lanes.end(_GRACE):  # within seconds: whatever waits or sends looks at the flag
                self._stop.clear()
            raise
        return lanes.ends()

    def pause(self, seconds: float) -> None:
        """Waits.

        Raises:
            JobTimeout: the loader was told to stop.
        """
        if seconds and self._stop.wait(seconds):
            self._may_go_on()

    def others(self, known: Iterable[str]) -> list[dict[str, Any]]:
        """Jobs of this user and object that are not at their end and not among the known ones: possibly an earlier run's.

        A job carries no tag, so whose they are cannot be told (Bulk API 2.0 guide: Get Information About All Ingest Jobs).
        """
        mine, user = set(known), self._client.user().get("user_id")
        page = self._client.read("/jobs/ingest", {"jobType": "V2Ingest"})
        found: list[dict[str, Any]] = []
        while True:
            found += [
                job
                for job in page["records"]
                if (job["object"], job["createdById"]) == (self.sobject, user)
                and job["state"] not in ENDED
                and job["id"] not in mine
            ]
            if not page.get("nextRecordsUrl"):
                return sorted(found, key=lambda job: str(job["createdDate"]))
            page = self._client.read(page["nextRecordsUrl"])

    def _may_go_on(self) -> None:
        if self._stop.is_set():
            raise JobTimeout(
                "The run was stopped before this file was sent.", "Run again with the same run_id."
            )

    def _abandon(self, job_id: str) -> None:
        try:
            self.abort_job(job_id)
        except Ora2sfError:
            return  # an Open job commits nothing and ends by itself after 24 hours


def _part(path: Path) -> Path:
    """The name of a result file that may not be whole."""
    return path.with_name(path.name + ".part")


def _plain(answer: requests.Response) -> Iterator[bytes]:
    """The body of a streamed answer, unpacked; ``requests`` would hold the lock of all threads for most of that.

    Raises:
        EOFError: a packed body ends too early.
    """
    if answer.headers.get("Content-Encoding", "") != "gzip":
        yield from answer.iter_content(_PLAIN_BLOCK)
        return
    unzip = isal_zlib.decompressobj(wbits=31)
    while block := answer.raw.read(_PACKED_BLOCK, decode_content=False):
        if plain := unzip.decompress(block):
            yield plain
    if not unzip.eof:
        raise EOFError


def _end(info: dict[str, Any]) -> JobEnd:
    return JobEnd(
        job_id=job_id_in(info),
        state=info["state"],
        processed=int(info.get("numberRecordsProcessed") or 0),
        failed=int(info.get("numberRecordsFailed") or 0),
        message=str(info.get("errorMessage") or ""),
    )


class _Pace:
    """When to look at a job again: each look is a call of the org's daily allocation.

    The pause grows with the time that the job has taken already, so that a long one costs few calls and the end is
    known soon after it came. What was taken by the quickest of the newest jobs is waited for at once.
    """

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._lock = threading.Lock()
        self._newest: deque[float] = deque(maxlen=_NEWEST)

    def pause(self, took: float) -> float:
        """Seconds until the next look at a job that has taken so long."""
        with self._lock:
            usual = min(self._newest, default=0.0)
        return min(max(_FIRST_LOOK, took / _LOOKS, usual - took), self._longest)

    def ended(self, took: float) -> None:
        """A job took so long."""
        with self._lock:
            self._newest.append(took)


class _Lanes:
    """Runs tasks side by side, keeps some of them apart, and begins nothing after a failure that would meet the next ones.

    A task that failed may have left its job in Salesforce: what must stay apart from it is not begun any more.
    """

    def __init__(
        self,
        tasks: Sequence[Callable[[], JobEnd]],
        width: int,
        apart: Callable[[int, int], bool],
        flying: Iterable[int],
    ) -> None:
        self._tasks, self._width, self._apart = tasks, width, apart
        self._news = threading.Condition()
        self._waiting = list(range(len(tasks)))
        self._flying = set(flying)
        self._running = self._open_lanes = 0
        self._unavailable_in_a_row = 0
        self._blocked = False
        self._ended: dict[int, JobEnd | BaseException] = {}
        self._threads = [
            threading.Thread(target=self._work, name=f"job_{lane}", daemon=True) for lane in range(width)
        ]

    def run(self) -> None:
        """Begins, and waits until every task that was begun has ended; an interrupt is heard meanwhile."""
        for thread in self._threads:
            with self._news:
                self._open_lanes += 1
            thread.start()
        # not Thread.join: in Python 3.11 an interrupt in there takes a living thread for dead;
        # and one that another thread took is heard between two waits only
        with self._news:
            while self._open_lanes:
                self._news.wait(_LISTEN)

    def end(self, grace: float) -> bool:
        """Begins nothing more and waits so many seconds for what runs; whether all of it has ended."""
        with self._news:
            self._blocked = True
            self._news.notify_all()
            return self._news.wait_for(lambda: not self._open_lanes, grace)

    def ends(self) -> list[JobEnd]:
        """What the tasks returned, in their order."""
        failures = [end for _, end in sorted(self._ended.items()) if isinstance(end, BaseException)]
        if failures:
            raise min(failures, key=_weight)
        return [end for _, end in sorted(self._ended.items()) if isinstance(end, JobEnd)]

    def _work(self) -> None:
        while (place := self._take()) is not None:
            try:
                end: JobEnd | BaseException = self._tasks[place]()
            except BaseException as error:  # noqa: BLE001 - raised where the tasks were given
                end = error
            self._settle(place, end)
        with self._news:
            self._open_lanes -= 1
            self._news.notify_all()

    def _take(self) -> int | None:
        """The next task that may begin; waits while all must stay apart from one that runs."""
        with self._news:
            while not self._blocked and self._waiting:
                for place in self._waiting:
                    if place in self._flying or not any(self._apart(place, other) for other in self._flying):
                        self._waiting.remove(place)
                        self._flying.add(place)
                        self._running += 1
                        return place
                if not self._running:
                    return None
                self._news.wait()
        return None

    def _settle(self, place: int, end: JobEnd | BaseException) -> None:
        with self._news:
            self._ended[place] = end
            self._running -= 1
            if isinstance(end, JobEnd):
                self._flying.discard(place)
                self._unavailable_in_a_row = 0
            else:
                self._unavailable_in_a_row += isinstance(end, TargetUnavailable)
                lost = self._unavailable_in_a_row >= self._width
                stops = isinstance(end, Paused) or not isinstance(end, TransientError)
                self._blocked = self._blocked or lost or stops
            self._news.notify_all()


def _weight(failure: BaseException) -> int:
    """A final failure is told before a pause, and a pause before what may pass by itself."""
    if not isinstance(failure, TransientError):
        return 0
    return 1 if isinstance(failure, Paused) else 2


class _StagedFile:
    """A staged file as a request body that stops, before the last block, at damage or when it is told to.

    Args:
        check: called before each block; what it raises breaks the upload off.
    """

    def __init__(self, file: Path, size: int | None, sha256: str | None, check: Callable[[], None]) -> None:
        self._file, self._sha256, self._check = file, sha256, check
        with self._readable():
            self._text = PlainText(file, size)
        self._left, self._hash = len(self._text), hashlib.sha256()

    def __len__(self) -> int:
        return len(self._text)

    def __iter__(self) -> Iterator[bytes]:
        while block := self.read(_BLOCK):
            yield block

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes."""
        self._check()
        with self._readable():
            block = self._text.read(size)
        self._left -= len(block)
        if self._sha256 is not None:
            self._hash.update(block)
            if block and not self._left and self._hash.hexdigest() != self._sha256:
                raise self._damaged("its text is not the one that was staged")
        return block

    def close(self) -> None:
        """Closes the file."""
        self._text.close()

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """A damaged file must not look like a broken network, which OSErrors do to ``requests``."""
        try:
            yield
        except (OSError, EOFError, IsalError) as error:  # type: ignore[misc]  # the stub says: an instance
            raise self._damaged(getattr(error, "strerror", None) or str(error)) from None

    def _damaged(self, why: str) -> RunFolderError:
        return RunFolderError(f"{self._file} cannot be sent: {why}.", "Extract again with a new run_id.")


class _PackedFile(_StagedFile):
    """A ``.csv.gz`` file as it is; its text is looked through first, so that nothing of a damaged one is sent."""

    def __init__(self, file: Path, size: int | None, sha256: str | None, check: Callable[[], None]) -> None:
        super().__init__(file, size, sha256, check)
        while super().read(_BLOCK):
            pass
        with self._readable():
            self._packed = file.open("rb")
            self._length = file.stat().st_size

    def __len__(self) -> int:
        return self._length

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes."""
        self._check()
        with self._readable():
            return self._packed.read(size)

    def close(self) -> None:
        """Closes the file."""
        super().close()
        self._packed.close()
