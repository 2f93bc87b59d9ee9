"""One client connection: from CONNECT to logoff."""

from __future__ import annotations

import logging
import re
import socket
import ssl
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from . import ttc, wire
from .auth import Login
from .backend import BackendSession
from .binds import BindColumn, refuse_bind
from .channel import Break, Channel
from .errors import Disconnected, OracleError, ProtocolError, unsupported
from .faults import Fault, Faults
from .profiles import Profile
from .results import ResultSet
from .ttc import Function, Option, Piggyback

_PIGGYBACK, _FUNCTION, _PROTOCOL, _DATA_TYPES = 17, 3, 1, 2
_SMALLEST_SDU, _LARGEST_SDU = 512, 2 * 1024 * 1024
_LONGEST_CONNECT_STRING = 230  # a longer one follows in a packet of its own
_SHORT_BIND = 4000  # binds declared longer than this come after the others
_MOST_ROWS = 2**31 - 1
_END_OF_RESPONSE_VERSION = 319
_END_OF_RESPONSE_FLAG = 0x02000000
# the session is gone after these (python-oracledb source, errors.py: ERR_ORACLE_ERROR_XREF)
_FATAL = frozenset([28, 31, 1012, 1089, 1092, 3113, 3114, 3135])
# a batch does not go on after these: the transaction or the session is gone, the client broke, the statement is wrong
_ENDS_BATCH = _FATAL | {900, 903, 904, 913, 923, 933, 936, 942, 947, 1008, 1013, 1036, 2091, 3001, 8177}
_LOG = logging.getLogger("fakeoracle")


@dataclass(frozen=True)
class Settings:
    """What all connections of a server share.

    `open_database(user)` gives the user's database session; `passwords` maps upper-case user names to passwords;
    `context` encrypts if there is one; `compress_rows` leaves out values that are as in the row before. A client that
    is not logged in after `login_seconds` is hung up on; one that is may be silent for ever.
    """

    service: str
    passwords: Mapping[str, str]
    open_database: Callable[[str], BackendSession]
    faults: Faults
    profile: Profile
    context: ssl.SSLContext | None
    compress_rows: bool
    login_seconds: float


@dataclass
class Cursor:
    """A statement the client has opened, and its result set while there is one."""

    number: int
    sql: str
    binds: list[ttc.Variable] = field(default_factory=list)
    result: ResultSet | None = None
    sent: int = 0
    described: list[ttc.Described] = field(default_factory=list)

    def close_result(self) -> None:
        """Give up the rows not yet fetched."""
        if self.result:
            self.result.close()
        self.result = None


class Session:
    """Serves one socket until the client leaves."""

    def __init__(self, connection: socket.socket, settings: Settings, number: int) -> None:
        self._settings = settings
        self._profile = settings.profile
        self._faults = settings.faults
        self._number = number
        self._channel = Channel(
            connection,
            context=settings.context,
            number=number,
            on_break=self._interrupt,
            login_seconds=settings.login_seconds,
        )
        self._inbox = self._channel.inbox
        self._broken = self._channel.broken
        self._field_version = settings.profile.field_version
        self._database: BackendSession | None = None
        self._cursors: dict[int, Cursor] = {}
        self._last_cursor = 0
        self._drop = ""

    @property
    def cursors_open(self) -> int:
        """How many statements the client holds open."""
        return len(self._cursors)

    # --- life --------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve the connection to its end; never raises."""
        try:
            self._channel.start()
            self._serve()
        except (Disconnected, ProtocolError, OSError, UnicodeDecodeError, struct.error):
            pass  # the connection is given up; what the client did not commit is rolled back
        except Exception:  # noqa: BLE001 - one client's trouble is not the others'
            _LOG.exception("connection %d is given up for a mistake of the server", self._number)
        finally:
            self._channel.close()
            self._close_database()

    def stop(self) -> None:
        """Cut the connection from another thread."""
        self._interrupt()
        self._channel.hang_up()

    def _interrupt(self) -> None:
        if self._database:
            self._database.interrupt()

    def _serve(self) -> None:
        if not self._connect():
            return
        self._negotiate()
        if not self._log_in():
            return
        while self._call():
            pass

    def _close_database(self) -> None:
        try:
            for cursor in self._cursors.values():
                cursor.close_result()
            self._cursors.clear()
            if self._database:
                self._database.close()
        except Exception:  # noqa: BLE001 - the client is gone and the server goes on
            _LOG.exception("connection %d did not close its database session", self._number)

    # --- faults ------------------------------------------------------------------------------------------------------

    def _suffer(self, at: str, sql: str = "") -> None:
        """Let the faults of one call happen: a delay, then an error; a drop is kept for the answer."""
        for fault in self._faults.strike(at, sql):
            self._delay(fault)
            self._drop = fault.drop or self._drop
            if fault.error:
                raise OracleError(*fault.error)

    def _delay(self, fault: Fault) -> None:
        """Wait as long as the fault says, or until the client breaks: then the call is not done."""
        if fault.delay and self._broken.wait(fault.delay):
            raise OracleError(1013, "user requested cancel of current operation")

    def _send(self, reply: bytes) -> None:
        if self._drop:
            self._channel.drop(self._drop, reply)
        self._channel.send(reply)

    # --- connect, negotiate, log in ----------------------------------------------------------------------------------

    def _connect(self) -> bool:
        packet = self._channel.next_packet()
        if packet.type != wire.CONNECT:
            raise ProtocolError("the first packet is not CONNECT")
        version = struct.unpack_from(">H", packet.payload)[0]
        length, start = struct.unpack_from(">HH", packet.payload, 16)
        proposed = struct.unpack_from(">I", packet.payload, 50)[0]
        if length > _LONGEST_CONNECT_STRING:
            text = self._channel.next_packet().payload[2:]
        else:
            text = packet.payload[start - 8 : start - 8 + length]
        refusal = self._attempt() or self._refusal(text.decode("utf-8", "replace"))
        if refusal:
            self._refuse(refusal)
            return False
        self._channel.sdu = max(_SMALLEST_SDU, min(proposed, _LARGEST_SDU))
        self._accept(min(version, self._profile.tns_version))
        return True

    def _attempt(self) -> int:
        """Let the faults of a connection attempt happen; return the listener's number if it is refused."""
        for fault in self._faults.strike("connect"):
            self._delay(fault)
            if fault.close or fault.drop:
                self._channel.drop(fault.drop, b"\0")
            if fault.refuse:
                return fault.refuse
        return 0

    def _accept(self, version: int) -> None:
        ends = self._profile.end_of_response and version >= _END_OF_RESPONSE_VERSION
        sdu, flags = self._channel.sdu, _END_OF_RESPONSE_FLAG if ends else 0
        body = struct.pack(">HHHHHHHBB8xIIBI", version, 1, 0, 0, 0x0100, 0, 45, 0xC5, 0, sdu, sdu, 0, flags)
        self._channel.accept(body)

    def _refusal(self, text: str) -> int:
        """Return the listener's error number for a connect string, 0 if it is welcome."""
        ours = self._settings.service.upper()
        service = re.search(r"\(\s*SERVICE_NAME\s*=\s*([^)\s]*)", text, re.IGNORECASE)
        if service:
            return 0 if service[1].upper() == ours else 12514
        sid = re.search(r"\(\s*SID\s*=\s*([^)\s]*)", text, re.IGNORECASE)
        return 0 if sid and sid[1].upper() == ours else 12505

    def _refuse(self, number: int) -> None:
        text = f"(DESCRIPTION=(TMP=)(VSNNUM=0)(ERR={number})(ERROR_STACK=(ERROR=(CODE={number})(EMFI=4))))".encode()
        self._channel.refuse(struct.pack(">BBH", 34, 0, len(text)) + text)

    def _negotiate(self) -> None:
        if self._inbox.u8() != _PROTOCOL:
            raise ProtocolError("no protocol message")
        ttc.read_protocol(self._inbox)
        self._send(ttc.protocol_reply(self._profile))
        if self._inbox.u8() != _DATA_TYPES:
            raise ProtocolError("no data-types message")
        version, ends_responses = ttc.read_data_types(self._inbox)
        self._inbox.drain()  # some clients add a block about time zones
        self._send(ttc.data_types_reply())
        self._field_version = min(version, self._profile.field_version)
        self._channel.ends_responses = ends_responses and self._profile.end_of_response

    def _log_in(self) -> bool:
        user, _ = self._auth_request(Function.AUTH_ONE)
        login = Login(self._settings.passwords.get(user))
        self._send(ttc.pairs_reply(login.challenge()) + ttc.summary(self._field_version))
        _, answer = self._auth_request(Function.AUTH_TWO)
        try:
            self._suffer("login")
            if not login.check(answer):
                raise OracleError(1017, "invalid username/password; logon denied")
            self._database = self._opened(user)
            self._set_time_zone(answer.get("AUTH_ALTER_SESSION", ""))
        except OracleError as error:
            self._send(ttc.summary(self._field_version, error=(error.code, str(error))))
            return False
        self._channel.logged_in()
        self._send(ttc.pairs_reply(self._greeting(login)) + ttc.summary(self._field_version))
        return True

    def _opened(self, user: str) -> BackendSession:
        try:
            return self._settings.open_database(user)
        except OracleError:
            raise
        except Exception as error:
            raise unsupported(f"{type(error).__name__}: {error}") from error

    def _set_time_zone(self, statement: str) -> None:
        """Take the session's time zone from the ALTER SESSION that clients send with their login.

        What some of them set beside it (language and territory) has no meaning here.
        """
        zone = re.search(r"TIME_ZONE\s*=\s*'([^']*)'", statement, re.IGNORECASE)
        if zone:
            self._db.time_zone = zone[1]

    def _auth_request(self, function: Function) -> tuple[str, dict[str, str]]:
        kind, called = self._call_header()
        if (kind, called) != (_FUNCTION, function):
            raise ProtocolError(f"call {kind}/{called} during login")
        user, pairs = ttc.read_auth(self._inbox)
        return user.strip('"') if user.startswith('"') else user.upper(), pairs

    def _call_header(self) -> tuple[int, int]:
        """Read what every call and piggyback begins with: kind and function."""
        kind, function, _ = self._inbox.take(3)
        if self._field_version >= ttc.WITH_TOKENS:
            self._inbox.ub()
        return kind, function

    def _greeting(self, login: Login) -> list[tuple[str, str, int]]:
        service = self._settings.service
        values = {
            "AUTH_SVR_RESPONSE": login.proof(),
            "AUTH_SESSION_ID": str(self._number),
            "AUTH_SERIAL_NUM": "1",
            "AUTH_VERSION_NO": str(self._profile.version_number),
            "AUTH_SC_DBUNIQUE_NAME": service,
            "AUTH_SC_SERVICE_NAME": service,
            "AUTH_INSTANCENAME": "fakeoracle",
            "AUTH_MAX_OPEN_CURSORS": "300",
            "AUTH_MAX_IDEN_LENGTH": "128",
        }
        return [(key, value, 0) for key, value in values.items()]

    # --- calls -------------------------------------------------------------------------------------------------------

    @property
    def _db(self) -> BackendSession:
        assert self._database is not None
        return self._database

    def _call(self) -> bool:
        """Serve one call; False when the client has logged off."""
        self._drop = ""
        try:
            function = self._read_piggybacks()
            if function == Function.LOGOFF:
                self._db.rollback()
                self._send(ttc.status(in_transaction=False))
                return False
            reply = self._answered(function)
        except OracleError as error:
            if self._broken.is_set():
                self._channel.await_break()
                self._answer_break()
            else:
                self._channel.announce_error()
                self._send_error(error)
            return error.code not in _FATAL
        except Break:
            self._answer_break()
            return True
        if self._broken.is_set():
            self._channel.await_break()
            self._answer_break()
        else:
            self._send(reply)
        return True

    def _read_piggybacks(self) -> int:
        """Act on what comes before a call; return the call's function."""
        while True:
            kind, function = self._call_header()
            if kind == _FUNCTION:
                return function
            if kind != _PIGGYBACK:
                raise ProtocolError(f"message type {kind}")
            if function == Piggyback.CLOSE_CURSORS:
                for number in ttc.read_closed_cursors(self._inbox):
                    self._forget(number)
            elif function == Piggyback.SET_SCHEMA:
                self._db.schema = ttc.read_schema(self._inbox)
            elif function == Piggyback.END_TO_END:
                told = zip(ttc.CLIENT_CONTEXT, ttc.read_end_to_end(self._inbox), strict=True)
                self._db.client.update({key: text for key, text in told if text is not None})
            else:
                raise unsupported(f"piggyback {function}")

    def _forget(self, number: int) -> None:
        cursor = self._cursors.pop(number, None)
        if cursor:
            cursor.close_result()

    def _answered(self, function: int) -> bytes:
        """Do a call; a mistake of this server's own is told to the client like anything else it cannot do."""
        try:
            return self._answer(function)
        except (OracleError, ProtocolError, Disconnected, OSError, Break):
            raise
        except Exception as error:
            raise unsupported(f"{type(error).__name__}: {error}") from error

    def _answer(self, function: int) -> bytes:
        """Read the rest of a call, do it and return the reply."""
        if function == Function.EXECUTE:
            return self._execute()
        if function in (Function.REEXECUTE, Function.REEXECUTE_AND_FETCH):
            return self._reexecute(fetch=function == Function.REEXECUTE_AND_FETCH)
        if function == Function.FETCH:
            return self._fetch()
        if function == Function.COMMIT:
            self._suffer("commit")
            self._db.commit()
        elif function == Function.ROLLBACK:
            self._suffer("rollback")
            self._db.rollback()
        elif function == Function.PING:
            self._suffer("ping")
        elif function == Function.LOB_OPERATION:
            raise unsupported("LOB locators (bind str or bytes; set oracledb.defaults.fetch_lobs = False)")
        else:
            raise unsupported(f"call {function}")
        return ttc.status(in_transaction=self._db.in_transaction)

    def _answer_break(self) -> None:
        self._channel.answer_break()
        self._send_error(OracleError(1013, "user requested cancel of current operation"))

    def _send_error(self, error: OracleError) -> None:
        summary = ttc.summary(
            self._field_version,
            in_transaction=self._db.in_transaction,
            error=(error.code, str(error)),
            position=error.offset,
        )
        self._channel.send(summary)

    # --- statements --------------------------------------------------------------------------------------------------

    def _execute(self) -> bytes:
        call = ttc.read_execute(self._inbox)
        values = self._read_binds(call.binds, call.executions)
        if call.options & Option.PLSQL_BIND:
            raise unsupported("PL/SQL binds")
        if call.scrollable:
            raise unsupported("scrollable cursors")
        if not call.sql and call.cursor in self._cursors:
            cursor = self._cursors[call.cursor]
        else:
            self._forget(call.cursor)
            self._last_cursor += 1
            cursor = Cursor(self._last_cursor, call.sql)
        if call.binds:
            cursor.binds = call.binds
        if call.options & Option.DEFINE:
            return self._define(cursor, call)
        if not call.options & Option.EXECUTE:
            reply = self._describe_only(cursor)
        else:
            reply = self._executed(cursor, values, call)
        self._cursors[cursor.number] = cursor
        return reply

    def _executed(self, cursor: Cursor, values: list[BindColumn], call: ttc.Execute) -> bytes:
        commit = bool(call.options & Option.COMMIT)
        if call.options & Option.BATCH_ERRORS:
            return self._run_singly(
                cursor, values, call.executions, commit=commit, row_counts=call.row_counts
            )
        fetch = call.prefetch if call.options & Option.FETCH else 0
        return self._run(cursor, values, fetch, commit=commit, describe=True, row_counts=call.row_counts)

    def _reexecute(self, *, fetch: bool) -> bytes:
        number, count = self._inbox.ub(), self._inbox.ub()
        self._inbox.ub()
        commit = bool(self._inbox.ub() & 1)
        cursor = self._cursor(number)
        values = self._read_binds(cursor.binds, 1 if fetch else count)
        return self._run(
            cursor, values, count if fetch else 0, commit=commit, describe=False, row_counts=False
        )

    def _cursor(self, number: int) -> Cursor:
        try:
            return self._cursors[number]
        except KeyError:
            raise OracleError(1001, "invalid cursor") from None

    def _read_binds(self, variables: list[ttc.Variable], count: int) -> list[BindColumn]:
        """Read the bind values of `count` executions, column by column."""
        if not variables:
            return []
        for variable in variables:
            refuse_bind(variable.code)
        order = sorted(range(len(variables)), key=lambda i: variables[i].size > _SHORT_BIND)
        columns = self._inbox.rows(len(variables), max(count, 1), ttc.ROW)
        values = [columns[order.index(i)] for i in range(len(variables))]
        return [
            BindColumn.of(variable.code, variable.form, column)
            for variable, column in zip(variables, values, strict=True)
        ]

    def _run(
        self,
        cursor: Cursor,
        binds: list[BindColumn],
        prefetch: int,
        *,
        commit: bool,
        describe: bool,
        row_counts: bool,
    ) -> bytes:
        cursor.close_result()
        cursor.sent = 0
        self._suffer("execute", cursor.sql)
        outcome = self._db.run(cursor.sql, binds)
        if commit:
            self._db.commit()
        if not isinstance(outcome, ResultSet):
            counts = outcome if row_counts else None
            return ttc.parameters(cursor.number, counts) + self._summary(cursor, rows=sum(outcome))
        outcome.compress = self._settings.compress_rows
        cursor.result = outcome
        anew = describe or outcome.columns != cursor.described
        head = ttc.describe(outcome.columns, self._field_version) if anew else b""
        cursor.described = outcome.columns
        if any(column.type and column.type.is_lob for column in outcome.columns):
            prefetch = 0  # the client says first how it wants them
        rows, finished = self._take(cursor, prefetch) if prefetch else (b"", False)
        tail = ttc.parameters(cursor.number) + self._summary(cursor, rows=cursor.sent, finished=finished)
        return b"".join((head, rows, tail))

    def _run_singly(
        self, cursor: Cursor, binds: list[BindColumn], executions: int, *, commit: bool, row_counts: bool
    ) -> bytes:
        """Do each execution of a batch by itself, so that those that fail do not stop the others."""
        self._suffer("execute", cursor.sql)
        counts: list[int] = []
        refused: list[tuple[int, OracleError]] = []
        for number in range(executions):
            try:
                outcome = self._db.run(cursor.sql, [column.one(number) for column in binds])
            except OracleError as error:
                if error.code in _ENDS_BATCH:
                    raise
                refused.append((number, error))
                counts.append(0)
                continue
            if isinstance(outcome, ResultSet):
                outcome.close()
                raise unsupported("batch errors of a query")
            counts += outcome
        if commit:
            self._db.commit()
        head = ttc.parameters(cursor.number, counts if row_counts else None)
        return head + self._summary(cursor, rows=sum(counts), refused=refused)

    def _describe_only(self, cursor: Cursor) -> bytes:
        described = self._db.describe(cursor.sql)
        if not described:
            raise unsupported("parsing anything but a query without running it")
        return (
            ttc.describe(described, self._field_version)
            + ttc.parameters(cursor.number)
            + self._summary(cursor)
        )

    def _define(self, cursor: Cursor, call: ttc.Execute) -> bytes:
        """Accept a define call as long as it asks for the types that were described, and for LOBs as LONG."""
        for variable, column in zip(call.defines, cursor.described, strict=False):
            if column.type and variable.code not in ttc.fetch_codes(column.type):
                if column.type.is_lob:
                    raise unsupported("LOB locators (set oracledb.defaults.fetch_lobs = False)")
                raise unsupported(f"fetching column {column.name} as data type {variable.code}")
        return ttc.parameters(cursor.number) + self._summary(cursor)

    def _take(self, cursor: Cursor, count: int) -> tuple[bytes, bool]:
        """Return a row header and up to `count` encoded rows, and whether the result is known to be at its end."""
        assert cursor.result is not None
        try:
            rows, taken = cursor.result.take(min(count, _MOST_ROWS))
        except BaseException:
            cursor.close_result()
            raise
        cursor.sent += taken
        finished = taken < count
        if finished:
            cursor.result.close()
        return rows, finished

    def _fetch(self) -> bytes:
        number, count = self._inbox.ub(), self._inbox.ub()
        cursor = self._cursor(number)
        if cursor.result is None:
            raise OracleError(1002, "fetch out of sequence")
        self._suffer("fetch", cursor.sql)
        rows, finished = self._take(cursor, count)
        return rows + self._summary(cursor, rows=cursor.sent, finished=finished)

    def _summary(
        self,
        cursor: Cursor,
        *,
        rows: int = 0,
        finished: bool = False,
        refused: Sequence[tuple[int, OracleError]] = (),
    ) -> bytes:
        return ttc.summary(
            self._field_version,
            in_transaction=self._db.in_transaction,
            cursor=cursor.number,
            rows=rows,
            finished=finished,
            refused=refused,
        )
