"""The ledger of a slice: the state of every batch, job and check. The only SQL on it stands here.

SQLite with a rollback journal, because a run's folder may sit on a network volume, where the write-ahead
log does not work (https://www.sqlite.org/wal.html). One process writes; its threads share one connection.
Intent is recorded before an act and its result after, so that a killed run can be taken up where it stopped.
No row data, no secret.

One process at a time holds a slice. Whoever takes it counts its fence up, and every write looks, in its own
transaction, whether the fence still stands: what was taken over meanwhile can write nothing more.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, get_args

from ora2sf import claim
from ora2sf.claim import Holder
from ora2sf.errors import ClaimedError, LedgerError, RunFolderError

State = Literal[
    "intended", "created", "uploaded", "closing", "closed", "ended", "fetched", "gone", "given_up"
]
Kind = Literal["success", "failed", "unprocessed"]
KINDS: tuple[Kind, ...] = get_args(Kind)
#: What a batch is for: to load staged rows, or to delete by Id what a run created.
Purpose = Literal["load", "rollback"]
Way = Literal["table", "csv", "exclude"]

#: The allowed moves of an attempt to load one batch with one job.
MOVES: dict[State | None, frozenset[State]] = {
    None: frozenset({"intended"}),
    "intended": frozenset({"created", "given_up"}),  # recorded before the job is created
    "created": frozenset({"uploaded", "given_up"}),  # the job id is known, nothing is in it
    "uploaded": frozenset({"closing", "given_up"}),  # the data is in, the job is still Open
    "closing": frozenset({"closed", "gone", "given_up"}),  # recorded before UploadComplete is sent
    "closed": frozenset({"ended", "gone"}),  # Salesforce has it; it is never sent again
    "ended": frozenset({"fetched", "gone"}),  # JobComplete, Failed or Aborted
    "fetched": frozenset(),  # the three result files are on disk and counted
    "gone": frozenset(),  # Salesforce no longer knows the job: each of its rows is unknown
    "given_up": frozenset(),  # nothing was committed; the batch may have another attempt
}
#: The results of such an attempt are all that there will be.
SETTLED = frozenset({"fetched", "gone"})

_SCHEMA = """
CREATE TABLE claim (
    fence INTEGER NOT NULL, beat INTEGER NOT NULL, host TEXT, place TEXT, pid INTEGER, begun TEXT, since TEXT
);
INSERT INTO claim (fence, beat) VALUES (0, 0);
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE step (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, started TEXT NOT NULL, ended TEXT, outcome TEXT
);
CREATE TABLE extraction (
    id INTEGER PRIMARY KEY, started TEXT NOT NULL, ended TEXT, fingerprint TEXT NOT NULL,
    source_count INTEGER, rows_read INTEGER, rows_staged INTEGER, rows_rejected INTEGER, consistency TEXT
);
CREATE TABLE count_by_rule (
    kind TEXT NOT NULL, field TEXT NOT NULL, rule TEXT NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (kind, field, rule)
);
CREATE TABLE batch (
    number INTEGER PRIMARY KEY, file TEXT NOT NULL, rows INTEGER NOT NULL, bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL, first_key TEXT NOT NULL, last_key TEXT NOT NULL,
    round INTEGER NOT NULL, first_parent TEXT NOT NULL, last_parent TEXT NOT NULL,
    purpose TEXT NOT NULL
);
CREATE TABLE attempt (
    id INTEGER PRIMARY KEY, batch INTEGER NOT NULL REFERENCES batch, state TEXT NOT NULL,
    job_id TEXT UNIQUE, job_state TEXT, processed INTEGER, failed INTEGER, message TEXT, refused TEXT
);
CREATE UNIQUE INDEX one_open_attempt ON attempt (batch) WHERE state NOT IN ('given_up', 'fetched', 'gone');
CREATE INDEX attempt_of_batch ON attempt (batch, id);
CREATE TABLE move (attempt INTEGER NOT NULL REFERENCES attempt, state TEXT NOT NULL, at TEXT NOT NULL);
CREATE INDEX moves_of_attempt ON move (attempt);
CREATE TABLE result (
    attempt INTEGER NOT NULL REFERENCES attempt, kind TEXT NOT NULL, file TEXT NOT NULL,
    rows INTEGER NOT NULL, created INTEGER NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (attempt, kind)
);
CREATE TABLE use (
    at TEXT NOT NULL, batches INTEGER NOT NULL, records INTEGER NOT NULL, calls INTEGER NOT NULL
);
CREATE TABLE sifted (
    attempt INTEGER PRIMARY KEY REFERENCES attempt, at TEXT NOT NULL, again INTEGER NOT NULL
);
CREATE TABLE lookup (
    attempt INTEGER PRIMARY KEY REFERENCES attempt, file TEXT NOT NULL, rows INTEGER NOT NULL,
    found INTEGER NOT NULL, sha256 TEXT NOT NULL
);
CREATE TABLE fix (
    number INTEGER PRIMARY KEY, at TEXT NOT NULL, way TEXT NOT NULL, who TEXT NOT NULL, reason TEXT NOT NULL,
    code TEXT NOT NULL, field TEXT NOT NULL, round INTEGER NOT NULL, failed INTEGER NOT NULL,
    rejected INTEGER NOT NULL, file TEXT NOT NULL, sha256 TEXT NOT NULL, old_fingerprint TEXT NOT NULL,
    fingerprint TEXT NOT NULL, changes TEXT NOT NULL, table_file TEXT NOT NULL
);
PRAGMA user_version = {version};
"""
_VERSION = 3
#: The tables that change with every look, and that :meth:`Ledger.digest` leaves out.
_NOTES = frozenset({"setting", "step", "claim", "use"})
_PATIENCE = 0.05  # seconds for another thread to commit for all


@dataclass(frozen=True)
class Batch:
    """One staged CSV file. ``bytes`` and ``sha256`` are those of the plain text, before compression.

    Attributes:
        round: 0 for what the extraction staged; rows that are sent again stand in batches of a later round.
        first_parent, last_parent: of its rows that have a parent; empty if none has one, or no parent is named.
        purpose: a batch that rolls back names records by their Id and takes no part in the books of the load.
    """

    number: int
    file: str
    rows: int
    bytes: int
    sha256: str
    first_key: str
    last_key: str
    round: int = 0
    first_parent: str = ""
    last_parent: str = ""
    purpose: Purpose = "load"

    def shares_parent(self, other: Batch) -> bool:
        """Both may write to the children of one parent, which would lock one job out of it.

        Inside a round the rows of a parent come one after the other, so only the first and the last can go on in
        another batch. Nothing is known of two rounds, so they count as sharing.
        """
        if not self.first_parent or not other.first_parent:
            return False
        mine, theirs = (
            {parent.strip().lower() for parent in (one.first_parent, one.last_parent)}
            for one in (self, other)
        )
        return self.round != other.round or not mine.isdisjoint(theirs)


@dataclass(frozen=True)
class Attempt:
    """One attempt to load a batch with one job; ``job_state``, ``processed`` and ``failed`` are Salesforce's.

    Attributes:
        refused: the reason for which the whole job was refused and nothing committed, if it would meet every job;
            when somebody has removed it, the batch is sent again.
    """

    id: int
    batch: int
    state: State
    job_id: str | None
    job_state: str | None
    processed: int | None
    failed: int | None
    message: str | None
    refused: str | None = None

    @property
    def closed_by_us(self) -> bool:
        """Salesforce has the batch, or may have it: its rows may be written at any moment."""
        return self.state in {"closing", "closed"}


@dataclass(frozen=True)
class Result:
    """One result file; ``created`` counts the rows with ``sf__Created`` true, in success files."""

    attempt: int
    kind: Kind
    file: str
    rows: int
    created: int
    sha256: str


@dataclass(frozen=True, order=True)
class Use:
    """What was begun of the org's daily limits at one moment of the org's clock (UTC, as text that sorts)."""

    at: str
    batches: int
    records: int
    calls: int


@dataclass(frozen=True)
class Lookup:
    """Rows that no result file knows, looked up in the org: ``found`` of ``rows`` keys are there; ``file`` has each."""

    attempt: int
    file: str
    rows: int
    found: int
    sha256: str


@dataclass(frozen=True)
class Sifted:
    """The results of a settled attempt, looked through.

    Attributes:
        again: rows that are sent again in the next round; None where no round was left: the lookup alone is noted, and a run
            with more rounds looks through the results once more.
    """

    attempt: int
    again: int | None
    lookup: Lookup | None = None


@dataclass(frozen=True)
class Fix:
    """What somebody did about rows that failed or were rejected.

    Attributes:
        at, who, reason: when (UTC), the operating system's name of the user, and why.
        way: the rules of the table file were changed, the rows were edited as CSV, or they were excluded.
        code, field: which rows were chosen; empty for all.
        round: of the batches in which they are sent again; 0 when nothing is sent.
        failed, rejected: how many rows of either kind.
        file, sha256: the list of these rows, beside the result files.
        old_fingerprint, fingerprint: of the table file before and since; changes: what changed in it, for people.
        table_file: the table file since then, as JSON.
    """

    number: int
    at: str
    way: Way
    who: str
    reason: str
    code: str
    field: str
    round: int
    failed: int
    rejected: int
    file: str
    sha256: str
    old_fingerprint: str
    fingerprint: str
    changes: str
    table_file: str


@dataclass(frozen=True)
class Extraction:
    """A finished extraction: ``rows_read = rows_staged + rows_rejected``."""

    started: str
    ended: str
    fingerprint: str
    source_count: int
    rows_read: int
    rows_staged: int
    rows_rejected: int
    consistency: str


@dataclass(frozen=True)
class Invocation:
    """One opening of a notebook; ``ended`` and ``outcome`` are those of its last call, None if no call came back."""

    id: int
    name: str
    started: str
    ended: str | None
    outcome: str | None


@dataclass
class _Group:
    """Changes of several threads that are committed together."""

    ended: bool = False
    error: sqlite3.OperationalError | None = None


class Ledger:
    """The ledger in ``path``; created when it does not exist.

    Args:
        read_only: nothing is created and nothing can be written.

    Attributes:
        told: of each move of an attempt once it is recorded: batch, attempt, state, job id.

    Raises:
        RunFolderError: the file cannot be opened or is no ledger.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path, self._lock = path, threading.RLock()
        self.told: Callable[[int, int, State, str | None], object] | None = None
        self._fence: int | None = None
        self._turn = threading.Condition(self._lock)
        self._counting = threading.Lock()
        self._expected = 0  # threads that are about to make a change
        self._group = _Group()
        try:
            mode = "ro" if read_only else "rwc"
            self._db = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode={mode}", isolation_level=None, check_same_thread=False, timeout=30, uri=True
            )  # fmt: skip
            self._db.row_factory = sqlite3.Row
            version = self._version()
            if version == 0 and not read_only:
                version = self._create()
        except sqlite3.Error as error:
            raise RunFolderError(
                f"The ledger {path} cannot be opened: {error}.",
                "Check the disk and the permissions of the run's folder; a damaged ledger needs a new run_id.",
            ) from None
        if version != _VERSION:
            self.close()
            raise RunFolderError(
                f"The ledger {path} has version {version}; this program writes version {_VERSION}.",
                "Go on with the program that began this run, or use a new run_id.",
            )

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def _create(self) -> int:
        """Writes the tables, unless another process was faster; returns the version that is there then."""
        self._db.execute("BEGIN IMMEDIATE")
        if not self._version():
            for statement in _SCHEMA.format(version=_VERSION).split(";"):
                self._db.execute(statement)
        self._db.execute("COMMIT")
        return self._version()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; the ledger is not usable afterwards."""
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._unchecked() as db:
            self.check_claim()
            yield db

    @contextmanager
    def _unchecked(self) -> Iterator[sqlite3.Connection]:
        """One change, whole or not at all, on the disk when the block ends.

        What a change costs is the wait for the disk: threads that come while another one commits share the next commit.
        """
        self._expect(1)
        with self._turn:
            self._expect(-1)
            group = self._group
            try:
                if not self._db.in_transaction:
                    self._db.execute("BEGIN IMMEDIATE")
                self._db.execute("SAVEPOINT part")
                try:
                    yield self._db
                except BaseException:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK TO part")
                    raise
                finally:
                    if self._db.in_transaction:
                        self._db.execute("RELEASE part")
            except sqlite3.OperationalError as error:
                self._end_group(error)
            finally:
                self._commit(group)
            if group.error:
                raise self._unusable(group.error) from None

    def _expect(self, change: int) -> None:
        with self._counting:
            self._expected += change

    def _commit(self, group: _Group) -> None:
        """Returns when the group is on the disk, or has failed: the last of those who come commits for all."""
        try:
            while self._expected and not group.ended:
                if not self._turn.wait(_PATIENCE):
                    break
        finally:
            if not group.ended:
                try:
                    self._db.execute("COMMIT")
                    self._end_group(None)
                except sqlite3.OperationalError as error:
                    self._end_group(error)

    def _end_group(self, error: sqlite3.OperationalError | None) -> None:
        """After an error (disk full, locked for too long, input/output) nothing of the group is there."""
        if error and self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._group.ended, self._group.error = True, error
        self._group = _Group()
        self._turn.notify_all()

    def _rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        with self._lock:
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.OperationalError as error:
                raise self._unusable(error) from None

    def _unusable(self, error: sqlite3.OperationalError) -> RunFolderError:
        """The disk is full, an input/output error, or locked for too long, such as by a process that was stopped while it wrote."""
        return RunFolderError(
            f"The ledger {self.path} cannot be used: {error}.",
            "Free some disk space, or end the process that has it open; then run again with the same run_id.",
        )

    # the claim: who may write

    @contextmanager
    def claimed(self) -> Iterator[Holder | None]:
        """Holds the slice; meanwhile no other process writes here, and none may take it while this one lives.

        Yields:
            The process from which it was taken over, because it was gone or its heartbeat stood still; else None.

        Raises:
            ClaimedError: another process holds it. It takes a heartbeat of that process to know that it is alive.
        """
        gone = self._take()
        ended = threading.Event()
        heart = threading.Thread(target=self._beat, args=(ended,), name="heartbeat", daemon=True)
        heart.start()
        try:
            yield gone
        finally:
            ended.set()
            heart.join()
            self._let_go()

    def holder(self) -> Holder | None:
        """The process that holds the slice, alive or not."""
        return self._claim()[2]

    def check_claim(self) -> None:
        """Refuses to go on where another process has the slice.

        Raises:
            ClaimedError: it was taken over from this one, or this one never held it.
        """
        fence, _, holder = self._claim()
        if self._fence is not None and fence != self._fence:
            raise ClaimedError(
                f"{self.path.parent} was taken over from this process{f' by {holder}' if holder else ''}.",
                "Nothing more is sent or recorded here. Leave it to the other one; this one had not moved for too long.",
            )
        if self._fence is None and holder:
            raise self._held(holder)

    def _held(self, holder: Holder) -> ClaimedError:
        return ClaimedError(
            f"{self.path.parent} is held by another process: {holder}.",
            "Wait until it is done, or end it; then run again with the same run_id. What was killed on this machine is "
            f"taken over at once, elsewhere when its heartbeat has stood still for {claim.PATIENCE:g} seconds.",
        )

    def _claim(self) -> tuple[int, int, Holder | None]:
        fence, beat, *holder = self._rows("SELECT * FROM claim")[0]
        return fence, beat, Holder(*holder) if holder[0] is not None else None

    def _take(self) -> Holder | None:
        watch, pause = claim.Watch(), threading.Event()
        while True:
            fence, beat, holder = self._claim()
            if holder and watch.moved((fence, beat)):
                raise self._held(holder)
            if (holder is None or holder.life == "gone" or watch.silent) and self._take_from(fence, beat):
                return holder
            pause.wait(claim.LOOK)

    def _take_from(self, fence: int, beat: int) -> bool:
        """Takes the claim as it was seen; False if somebody else was quicker, or its heartbeat moved after all."""
        me = claim.this_process()
        values = (me.host, me.place, me.pid, me.begun, me.since, fence, beat)
        sql = "UPDATE claim SET fence = fence + 1, host = ?, place = ?, pid = ?, begun = ?, since = ? WHERE fence = ? AND beat = ?"
        with self._unchecked() as db:
            taken = db.execute(sql, values).rowcount == 1
        if taken:
            self._fence = fence + 1
        return taken

    def _let_go(self) -> None:
        """Gives the claim back; one that was lost meanwhile stays in mind, so that nothing is written afterwards either."""
        nobody = "host = NULL, place = NULL, pid = NULL, begun = NULL, since = NULL"
        with suppress(RunFolderError), self._unchecked() as db:  # then it ends with this process
            if db.execute(f"UPDATE claim SET {nobody} WHERE fence = ?", (self._fence,)).rowcount:
                self._fence = None

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(claim.BEAT):
            try:
                with self._transaction() as db:
                    db.execute("UPDATE claim SET beat = beat + 1")
            except ClaimedError:
                return
            except RunFolderError:
                continue  # a full disk stops the work elsewhere, and may have room again

    # settings: what the run was opened with; the first value stands

    def setting(self, name: str) -> str | None:
        """A recorded setting, or None."""
        rows = self._rows("SELECT value FROM setting WHERE name = ?", name)
        return rows[0]["value"] if rows else None

    def settle(self, name: str, value: object) -> str:
        """Records a setting if there is none yet, and returns the one that stands."""
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO setting VALUES (?, ?)", (name, str(value)))
        return self.setting(name) or ""

    def forget(self, name: str) -> None:
        """Removes a setting, because what it says is about to change."""
        with self._transaction() as db:
            db.execute("DELETE FROM setting WHERE name = ?", (name,))

    def record(self, name: str, value: object) -> None:
        """Records a setting, replacing an earlier value."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, str(value)))

    # steps: one row per invocation, kept for ever

    def start_step(self, name: str) -> int:
        """Records that a notebook began; returns the invocation's number."""
        with self._transaction() as db:
            cursor = db.execute("INSERT INTO step (name, started) VALUES (?, ?)", (name, claim.now()))
            return int(cursor.lastrowid or 0)

    def end_step(self, step: int, outcome: str) -> None:
        """Records how an invocation ended."""
        with self._transaction() as db:
            db.execute("UPDATE step SET ended = ?, outcome = ? WHERE id = ?", (claim.now(), outcome, step))

    def steps(self) -> list[Invocation]:
        """Every invocation, oldest first."""
        return [Invocation(**row) for row in map(dict, self._rows("SELECT * FROM step ORDER BY id"))]

    # extraction

    def start_extraction(self, fingerprint: str) -> int:
        """Records that an extraction begins; whatever an unfinished one left is forgotten.

        Raises:
            LedgerError: batches of a finished extraction exist already.
        """
        if self.extraction() is not None:
            raise LedgerError("This slice is already extracted.", "Use a new run_id to extract again.")
        with self._transaction() as db:
            cursor = db.execute(
                "INSERT INTO extraction (started, fingerprint) VALUES (?, ?)", (claim.now(), fingerprint)
            )
            return int(cursor.lastrowid or 0)

    def finish_extraction(
        self,
        extraction: int,
        batches: Iterable[Batch],
        counts: dict[str, dict[tuple[str, str], int]],
        **totals: object,
    ) -> None:
        """Records a complete extraction with its batches, in one transaction.

        Args:
            extraction: its number from :meth:`start_extraction`.
            batches: the staged files.
            counts: ``rejected`` (rows by their first fault), ``misfit`` (values) and ``changed`` → (field, rule) → number.
            totals: the columns of :class:`Extraction` that are known only now.
        """
        with self._transaction() as db:
            self._add_batches(db, batches)
            for kind, rules in counts.items():
                for (field, rule), number in rules.items():
                    db.execute("INSERT INTO count_by_rule VALUES (?, ?, ?, ?)", (kind, field, rule, number))
            columns = ", ".join(f"{name} = ?" for name in totals)
            db.execute(
                f"UPDATE extraction SET ended = ?, {columns} WHERE id = ?",
                (claim.now(), *totals.values(), extraction),
            )

    def extraction(self) -> Extraction | None:
        """The finished extraction, or None."""
        rows = self._rows("SELECT * FROM extraction WHERE ended IS NOT NULL")
        return Extraction(**{k: rows[0][k] for k in rows[0].keys() if k != "id"}) if rows else None  # noqa: SIM118

    def counts(self, kind: Literal["rejected", "changed", "misfit"]) -> list[tuple[str, str, int]]:
        """(field, rule, number), most frequent first; ``rejected`` rows, ``changed`` values, ``misfit`` values of rejected rows."""
        sql = "SELECT field, rule, number FROM count_by_rule WHERE kind = ? ORDER BY number DESC, field, rule"
        return [(row["field"], row["rule"], row["number"]) for row in self._rows(sql, kind)]

    @staticmethod
    def _add_batches(db: sqlite3.Connection, batches: Iterable[Batch]) -> None:
        rows = map(astuple, batches)
        db.executemany("INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def batches(self) -> list[Batch]:
        """The batches that the extraction staged, by number: every staged row stands in one of them."""
        return [batch for batch in self.all_batches() if batch.round == 0]

    def all_batches(self, purpose: Purpose = "load") -> list[Batch]:
        """All batches of a purpose, those of later rounds as well, by number."""
        sql = "SELECT * FROM batch WHERE purpose = ? ORDER BY number"
        return [Batch(*row) for row in self._rows(sql, purpose)]

    def next_batch(self) -> int:
        """The number of the next batch, of whatever purpose."""
        return int(self._rows("SELECT coalesce(max(number), 0) + 1 FROM batch")[0][0])

    def batch(self, number: int) -> Batch:
        """One batch."""
        return Batch(*self._rows("SELECT * FROM batch WHERE number = ?", number)[0])

    # fixes and roll-back

    def add_fix(self, fix: Fix, batches: Iterable[Batch] = ()) -> None:
        """Records a fix together with the batches that it sends, in one transaction."""
        with self._transaction() as db:
            self._add_batches(db, batches)
            db.execute(f"INSERT INTO fix VALUES ({', '.join('?' * len(astuple(fix)))})", astuple(fix))

    def fixes(self) -> list[Fix]:
        """What was done about failed and rejected rows, oldest first."""
        return [Fix(*row) for row in self._rows("SELECT * FROM fix ORDER BY number")]

    def add_rollback(self, batches: Iterable[Batch]) -> None:
        """Records batches that delete by Id, before any of them is sent."""
        with self._transaction() as db:
            self._add_batches(db, batches)

    @property
    def fingerprint(self) -> str | None:
        """Of the table file that is in force: the one of the extraction, or of the last fix that changed it."""
        done, fixes = self.extraction(), self.fixes()
        return fixes[-1].fingerprint if fixes else done.fingerprint if done else None

    # rounds

    def add_round(self, sifted: Iterable[Sifted], batches: Iterable[Batch]) -> None:
        """Records what came of looking through results: the batches of the next round, in one transaction."""
        with self._transaction() as db:
            self._add_batches(db, batches)
            for one in sifted:
                if one.again is not None:
                    db.execute("INSERT INTO sifted VALUES (?, ?, ?)", (one.attempt, claim.now(), one.again))
                if one.lookup:
                    db.execute("INSERT OR REPLACE INTO lookup VALUES (?, ?, ?, ?, ?)", astuple(one.lookup))

    def to_sift(self) -> list[tuple[Batch, Attempt]]:
        """Settled batches, each with its attempt, whose results nobody has looked through yet, by number."""
        done = {row["attempt"] for row in self._rows("SELECT attempt FROM sifted")}
        last = self.last_attempts()
        return [
            (batch, attempt)
            for batch in self.all_batches()
            if (attempt := last.get(batch.number)) and attempt.state in SETTLED and attempt.id not in done
        ]

    def sent_again(self) -> set[int]:
        """Attempts of which rows were sent again in a later round."""
        return {row["attempt"] for row in self._rows("SELECT attempt FROM sifted WHERE again > 0")}

    def lookups(self) -> dict[int, Lookup]:
        """Attempt → its lookup."""
        return {row["attempt"]: Lookup(*row) for row in self._rows("SELECT * FROM lookup")}

    def parents_met(self) -> list[tuple[str, str]]:
        """Pairs of jobs that were in flight together although they share a parent; there must be none.

        In flight is a job from the moment it is about to be closed, because Salesforce may begin, until its end is
        known. The order is that of the moves in the ledger, which is finer than their times.
        """
        batches = {one.number: one for one in (*self.all_batches(), *self.all_batches("rollback"))}
        jobs = {attempt.id: attempt for attempt in self.attempts()}
        flying: set[int] = set()
        met: list[tuple[str, str]] = []
        for row in self._rows("SELECT attempt, state FROM move ORDER BY rowid"):
            attempt, state = row["attempt"], row["state"]
            if state == "closing":
                here = batches[jobs[attempt].batch]
                met += [
                    (jobs[other].job_id or "", jobs[attempt].job_id or "")
                    for other in sorted(flying)
                    if batches[jobs[other].batch].shares_parent(here)
                ]
                flying.add(attempt)
            elif state in {"ended", "gone", "given_up"}:
                flying.discard(attempt)
        return met

    # attempts

    def intend(self, batch: int) -> int:
        """Records the intent to create a job for a batch; returns the attempt's number.

        Raises:
            LedgerError: the batch has an attempt that is not settled.
        """
        with self._transaction() as db:
            try:
                cursor = db.execute("INSERT INTO attempt (batch, state) VALUES (?, 'intended')", (batch,))
            except sqlite3.IntegrityError:
                raise LedgerError(
                    f"Batch {batch} is already being loaded.",
                    "Wait for the other process, or end it; then run again.",
                ) from None
            attempt = int(cursor.lastrowid or 0)
            db.execute("INSERT INTO move VALUES (?, 'intended', ?)", (attempt, claim.now()))
        self._tell(attempt, "intended")
        return attempt

    def move(self, attempt: int, *states: State, **values: Any) -> None:
        """Moves an attempt to a state, or through several, together with what is known then (``job_id``, ``job_state``, …).

        Raises:
            LedgerError: :data:`MOVES` does not allow it.
        """
        with self._transaction() as db:
            for state in states:
                self._move(db, attempt, state, values if state == states[-1] else {})
        self._tell(attempt, *states)

    def _tell(self, attempt: int, *states: State) -> None:
        if self.told:
            batch, job = self._rows("SELECT batch, job_id FROM attempt WHERE id = ?", attempt)[0]
            for state in states:
                self.told(batch, attempt, state, job)

    def _move(self, db: sqlite3.Connection, attempt: int, state: State, values: dict[str, Any]) -> None:
        row = db.execute("SELECT state FROM attempt WHERE id = ?", (attempt,)).fetchone()
        before: State | None = row["state"] if row else None
        if state not in MOVES[before]:
            raise LedgerError(
                f"Attempt {attempt} cannot move from {before} to {state}.", "Report this as a defect."
            )
        columns = "".join(f", {name} = ?" for name in values)
        db.execute(
            f"UPDATE attempt SET state = ?{columns} WHERE id = ?",
            (state, *values.values(), attempt),
        )
        db.execute("INSERT INTO move VALUES (?, ?, ?)", (attempt, state, claim.now()))

    def fetched_again(self, attempt: int, hashes: dict[Kind, str]) -> None:
        """Records the hashes of result files that were fetched once more; Salesforce may order rows anew."""
        with self._transaction() as db:
            for kind, sha256 in hashes.items():
                db.execute(
                    "UPDATE result SET sha256 = ? WHERE attempt = ? AND kind = ?", (sha256, attempt, kind)
                )

    def fetched(self, attempt: int, results: Iterable[Result], refused: str | None = None) -> None:
        """Records the three result files and that the attempt is settled, in one transaction; ``refused``: see :class:`Attempt`."""
        with self._transaction() as db:
            for r in results:
                values = (attempt, r.kind, r.file, r.rows, r.created, r.sha256)
                db.execute("INSERT INTO result VALUES (?, ?, ?, ?, ?, ?)", values)
            self._move(db, attempt, "fetched", {"refused": refused})
        self._tell(attempt, "fetched")

    def attempts(self) -> list[Attempt]:
        """All attempts, oldest first."""
        return [Attempt(**row) for row in map(dict, self._rows("SELECT * FROM attempt ORDER BY id"))]

    def may_have_been_sent(self, batch: int) -> bool:
        """Rows of the batch may have reached Salesforce: by an earlier attempt of it, or in a batch of an earlier round."""
        sql = """SELECT 1 FROM batch WHERE number = ? AND round > 0 UNION ALL
                 SELECT 1 FROM attempt JOIN move ON move.attempt = attempt.id
                 WHERE attempt.batch = ? AND move.state = 'closing' LIMIT 1"""
        return bool(self._rows(sql, batch, batch))

    def in_flight(self) -> int:
        """Attempts that have begun and are not settled."""
        sql = "SELECT count(*) FROM attempt WHERE state NOT IN ('given_up', 'fetched', 'gone')"
        return int(self._rows(sql)[0][0])

    def last_attempts(self) -> dict[int, Attempt]:
        """Batch number → its last attempt."""
        return {attempt.batch: attempt for attempt in self.attempts()}

    def last_attempt(self, batch: int) -> Attempt:
        """The last attempt of a batch that has one."""
        sql = "SELECT * FROM attempt WHERE batch = ? ORDER BY id DESC LIMIT 1"
        return Attempt(**dict(self._rows(sql, batch)[0]))

    def results(self) -> list[Result]:
        """All result files, by attempt."""
        return [Result(*row) for row in self._rows("SELECT * FROM result ORDER BY attempt, kind")]

    def digest(self) -> str:
        """SHA-256 of all that says what was read, staged, sent and answered; notes of later looks do not change it."""
        content = hashlib.sha256()
        for (table,) in self._rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"):
            if table in _NOTES:
                continue
            for row in self._rows(f"SELECT * FROM {table} ORDER BY rowid"):
                content.update(json.dumps([table, *row], ensure_ascii=False).encode())
        return content.hexdigest()

    def verdict(self) -> str | None:
        """What ``03_reconcile`` came to, if nothing was read, sent or answered since."""
        noted = json.loads(self.setting("verdict") or "{}")
        return str(noted["verdict"]) if noted.get("books") == self.digest() else None

    def times(self) -> dict[int, dict[str, str]]:
        """Attempt → state → when it was reached (UTC)."""
        times: dict[int, dict[str, str]] = {}
        for row in self._rows("SELECT attempt, state, at FROM move ORDER BY rowid"):
            times.setdefault(row["attempt"], {})[row["state"]] = row["at"]
        return times

    # use of the org's limits

    def use(self, use: Use) -> None:
        """Records that something of the org's limits is about to be used."""
        with self._transaction() as db:
            db.execute("INSERT INTO use VALUES (?, ?, ?, ?)", (use.at, use.batches, use.records, use.calls))

    def uses(self, since: str) -> list[Use]:
        """What was begun after a moment, oldest first."""
        return [Use(*row) for row in self._rows("SELECT * FROM use WHERE at > ? ORDER BY at", since)]


@contextmanager
def looked_at(path: Path) -> Iterator[Ledger]:
    """A ledger to read from, whoever writes it: nothing in its folder is changed.

    Where a killed process left a change half made, only a writer may take that back, so it is done in a copy
    (https://www.sqlite.org/lockingv3.html: Rollback of a hot journal).

    Raises:
        RunFolderError: it is not there, not whole yet, or cannot be read.
    """
    with ExitStack() as opened:
        try:
            ledger = Ledger(path, read_only=True)
        except RunFolderError:
            journal = path.with_name(f"{path.name}-journal")
            if not journal.is_file():
                raise
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="ora2sf_")))
            with suppress(OSError):  # gone meanwhile: then the copy is empty, or has nothing to take back
                for file in (path, journal):
                    shutil.copyfile(file, folder / file.name)
            ledger = Ledger(folder / path.name)
        yield opened.enter_context(ledger)
