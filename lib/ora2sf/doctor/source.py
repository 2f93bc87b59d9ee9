"""Oracle's side: the way to it, the sign-in, what it is, and what this user may do there."""

from __future__ import annotations

import datetime as dt
import difflib
import threading
from collections.abc import Callable, Collection, Sequence

from ora2sf.connections import ORACLE_EXTRAS, PLACEHOLDER, Connection, get_connection
from ora2sf.deadline import NoAnswerInTime
from ora2sf.doctor import network
from ora2sf.doctor.findings import Checklist, in_time
from ora2sf.errors import ConnectionFieldError, Ora2sfError, SourceError
from ora2sf.oracle import OracleSource, SourceColumn, addresses, trusted
from ora2sf.tables import TableConfig

#: Table → its columns in Oracle; None where they could not be read.
Columns = dict[str, dict[str, SourceColumn] | None]
_UTC = "SELECT TO_CHAR(SYS_EXTRACT_UTC(SYSTIMESTAMP), 'YYYY-MM-DD HH24:MI:SS'), TO_CHAR(SYSTIMESTAMP, 'TZH:TZM') FROM DUAL"
_CHARSET = "SELECT VALUE FROM NLS_DATABASE_PARAMETERS WHERE PARAMETER = 'NLS_CHARACTERSET'"
_UNDO = "SELECT VALUE FROM V$PARAMETER WHERE NAME = 'undo_retention'"
_DICTIONARY = (
    "ALL_TABLES", "ALL_TAB_COLUMNS", "ALL_CONSTRAINTS", "ALL_CONS_COLUMNS", "ALL_IND_COLUMNS", "ALL_COL_COMMENTS"
)  # fmt: skip
#: Seconds of undo below which a long read may lose its moment.
_SHORT_UNDO = 3_600
_STEPS = (
    "sign-in", "version", "characters", "clock", "tables", "moment", "moment of tables", "undo", "dictionary"
)  # fmt: skip


def look_at_source(checks: Checklist, conn_id: str, configs: Sequence[TableConfig]) -> Columns:
    """Every check of the source; returns what the table files read."""
    connection = usable(checks, conn_id, ORACLE_EXTRAS)
    if connection is None:
        for name in ("name", "port", *_STEPS):
            checks.skipped(name, "the connection cannot be used")
        return {}
    try:
        reached = _way(checks, connection)
    except Ora2sfError as error:
        checks.failed("address", error)
        reached = False
    if reached is False:
        for name in _STEPS:
            checks.skipped(name, "the database cannot be reached")
        return {}
    source = checks.attempt("sign-in", lambda: OracleSource(connection))
    if source is None:
        for name in _STEPS[1:]:
            checks.skipped(name, "there is no session")
        return {}
    return _Session(checks, source, configs).look()


def usable(checks: Checklist, conn_id: str, extras: Collection[str]) -> Connection | None:
    """The connection, if it is complete; extras that nobody reads are told."""
    try:
        connection = get_connection(conn_id)
        _complete(connection)
    except Ora2sfError as error:
        checks.failed("connection", error)
        return None
    if unknown := [name for name in connection.extra if name not in extras]:
        near = {name: difflib.get_close_matches(name, extras, n=1) for name in unknown}
        shown = ", ".join(
            f"{name}{f' (did you mean {found[0]}?)' if found else ''}" for name, found in near.items()
        )
        checks.warning("connection", f"extras that are not read: {shown}", f"Known: {', '.join(extras)}.")
    else:
        checks.ok("connection", f"complete; signs in as {connection.login}")
    return connection


def _complete(connection: Connection) -> None:
    """Raises ConnectionFieldError for a field that is missing, or that `ora2sf init` left open."""
    needed = {"host": "its address", "login": "who signs in", "password": "the secret"}
    if connection.text("dsn"):
        del needed["host"]
    values = {field: connection.need(field, meaning) for field, meaning in needed.items()}
    if left := [
        field for field, value in (values | {"schema": connection.schema_}).items() if PLACEHOLDER in value
    ]:
        raise ConnectionFieldError(
            f"Connection '{connection.conn_id}' is as `ora2sf init` wrote it: {', '.join(left)} are still to come.",
            "Write the real values into connections.toml.",
        )


def _way(checks: Checklist, connection: Connection) -> bool | None:
    """Whether one of the addresses can be reached; None if that cannot be known beforehand."""
    if connection.text("https_proxy"):
        checks.skipped("port", "extra https_proxy carries the connection: the sign-in shows it")
        return None
    if connection.switch("thick_mode") and connection.text("dsn"):
        checks.skipped("port", "Oracle's client library reads the address: the sign-in shows it")
        return None
    places = checks.attempt("address", lambda: addresses(connection))
    if places is None:
        return False
    reached = [_one(checks, connection, *place) for place in places]
    return any(reached)


def _one(checks: Checklist, connection: Connection, host: str, port: int, tls: bool) -> bool:
    if not network.reach(checks, host, port):
        if tls:
            checks.skipped("TLS", f"{host}:{port} cannot be reached")
        return False
    if not tls or connection.switch("thick_mode"):
        return True
    context = checks.attempt("TLS", lambda: trusted(connection))
    return context is not None and network.handshake(checks, host, port, context)


class _Session:
    """The checks that need a session; after an answer that did not come, the rest is not asked for."""

    def __init__(self, checks: Checklist, source: OracleSource, configs: Sequence[TableConfig]) -> None:
        self._checks, self._source, self._configs = checks, source, configs
        self._columns: Columns = {}
        self._scn: int | None = None

    def look(self) -> Columns:
        info = self._source.info()
        self._checks.ok("sign-in", f"{info.user} at {info.service}")
        steps: dict[str, Callable[[], None]] = {
            "version": lambda: self._checks.ok("version", f"Oracle Database {info.version}"),
            "characters": self._characters,
            "clock": self._clock,
            "tables": self._tables,
            "moment": self._moment,
            "moment of tables": self._flashback,
            "undo": self._undo,
            "dictionary": self._dictionary,
        }
        silent = False
        for name, step in steps.items():
            if silent:
                self._checks.skipped(name, "the database did not answer the question before")
                continue
            try:
                in_time(step)
            except (Ora2sfError, NoAnswerInTime) as error:
                silent = isinstance(error, NoAnswerInTime)
                self._checks.failed(name, error)
        closing = threading.Thread(target=self._source.close, daemon=True, name="doctor")
        closing.start()  # of a session that waits for an answer it has to wait, too: nobody does for it
        if not silent:
            closing.join()
        return self._columns

    def _characters(self) -> None:
        ((charset,),) = self._source.rows(_CHARSET)
        if charset in {"AL32UTF8", "UTF8"}:
            self._checks.ok("characters", str(charset))
            return
        fix = "Look at some rows with letters beyond ASCII before the run: what the character set lacks was lost when it was written."
        self._checks.warning("characters", f"{charset}, which the driver turns into Unicode", fix)

    def _clock(self) -> None:
        ((now, zone),) = self._source.rows(_UTC)
        theirs = dt.datetime.strptime(str(now), "%Y-%m-%d %H:%M:%S").replace(tzinfo=dt.UTC)
        zones = ", ".join(sorted({config.source_time_zone for config in self._configs}))
        about = f"; SYSDATE is UTC{zone}" + (f", table files read dates as {zones}" if zones else "")
        network.clock(self._checks, theirs, about)

    def _tables(self) -> None:
        """Whether each table can be read: a SELECT is parsed, which needs the right, and not run."""
        for config in self._configs:
            try:
                self._columns[config.table] = self._source.describe(config.every_column())
            except SourceError as error:
                self._columns[config.table] = None
                step = error.next_step
                if "ORA-00942" in error.what and config.source.table:
                    step = f"Correct source.table, or GRANT SELECT ON {config.source.table} TO {self._source.info().user};"
                self._checks.problem("tables", f"{config.table}: {error.what}", step)
        readable = sum(found is not None for found in self._columns.values())
        if readable == len(self._configs):
            self._checks.ok("tables", f"this user may read the source of all {readable} table files")

    def _moment(self) -> None:
        try:
            self._scn = self._source.current_scn()
        except SourceError as error:
            said = "the system change number cannot be asked for, so each slice is of a moment of its own"
            self._checks.warning("moment", said, error.next_step)
        else:
            self._checks.ok("moment", "one system change number for a whole campaign can be asked for")

    def _flashback(self) -> None:
        if self._scn is None:
            self._checks.skipped("moment of tables", "the system change number cannot be asked for")
            return
        lacking = []
        for config in self._configs:
            if self._columns.get(config.table) and config.can_look_back:
                try:
                    self._source.describe(config.select(as_of=True).replace(":scn", str(self._scn)))
                except SourceError:
                    lacking.append(config)
        if not lacking:
            self._checks.ok("moment of tables", "every source can be read AS OF a moment")
            return
        named = ", ".join(config.table for config in lacking)
        fix = f"GRANT FLASHBACK ON each of these tables TO {self._source.info().user}; without it they are read as of a moment of their own."
        self._checks.warning("moment of tables", f"cannot be read AS OF a moment: {named}", fix)

    def _undo(self) -> None:
        try:
            found = self._source.rows(_UNDO)
        except SourceError:
            self._checks.skipped("undo", "this user may not read V$PARAMETER")
            return
        if not found:
            self._checks.skipped("undo", "the database does not tell undo_retention")
            return
        seconds = int(found[0][0])
        said = f"undo_retention is {seconds:,} seconds"
        if seconds < _SHORT_UNDO:
            fix = "Ask for more undo if a slice is read for longer (ORA-01555), or plan smaller slices (slice_rows)."
            self._checks.warning("undo", said, fix)
        else:
            self._checks.ok("undo", said)

    def _dictionary(self) -> None:
        hidden = []
        for view in _DICTIONARY:
            try:
                self._source.describe(f"SELECT * FROM {view}")
            except SourceError:
                hidden.append(view)
        if hidden:
            fix = "`ora2sf tables new` needs them to draft a table file; runs do not."
            self._checks.warning("dictionary", f"cannot be read: {', '.join(hidden)}", fix)
        else:
            self._checks.ok("dictionary", "readable, so `ora2sf tables new` can draft table files")
