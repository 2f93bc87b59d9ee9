"""One client connection: from CONNECT to logoff.

A second thread reads the socket all the time, so that a client's break is heard while the database works.
"""

from __future__ import annotations

import contextlib
import queue
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from . import ttc, wire
from .auth import Login
from .backend import BackendSession
from .binds import BindColumn
from .errors import Disconnected, OracleError, ProtocolError, unsupported
from .faults import Faults
from .results import ResultSet
from .ttc import Function, Option

_PIGGYBACK, _FUNCTION, _PROTOCOL, _DATA_TYPES = 17, 3, 1, 2
_TNS_VERSION = 318
_SMALLEST_SDU, _LARGEST_SDU = 512, 2 * 1024 * 1024
_LONGEST_CONNECT_STRING = 230  # a longer one follows in a packet of its own
_SHORT_BIND = 4000  # binds declared longer than this come after the others
_MOST_ROWS = 2**31 - 1
_RECEIVE = 256 * 1024
_LONGEST_LOGIN = 1024 * 1024  # bytes from a client whose password is not yet checked
_END = None


class _Break(Exception):
    """The client sent a marker in place of data."""


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
    """Serves one socket until the client leaves.

    `open_database(user)` gives the user's database session; `passwords` maps upper-case user names to passwords.
    A client that is not logged in after `login_seconds` is hung up on; one that is may be silent for ever.
    """

    def __init__(
        self,
        connection: socket.socket,
        *,
        service: str,
        passwords: Mapping[str, str],
        open_database: Callable[[str], BackendSession],
        faults: Faults,
        number: int,
        login_seconds: float,
    ) -> None:
        self._socket = connection
        self._service = service
        self._passwords = passwords
        self._open_database = open_database
        self._faults = faults
        self._number = number
        self._login_until: float | None = time.monotonic() + login_seconds
        self._splitter = wire.PacketSplitter()
        self._packets: queue.SimpleQueue[wire.Packet | None] = queue.SimpleQueue()
        self._inbox = wire.Inbox(self._more)
        self._broken = threading.Event()
        self._sdu = 8192
        self._database: BackendSession | None = None
        self._cursors: dict[int, Cursor] = {}
        self._last_cursor = 0
        self._reader = threading.Thread(
            target=self._read_socket, name=f"fakeoracle-reader-{number}", daemon=True
        )

    # --- life --------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve the connection to its end; never raises for what the client does."""
        self._reader.start()
        try:
            self._serve()
        except (Disconnected, ProtocolError, OSError, UnicodeDecodeError, struct.error):
            pass  # the connection is given up; what the client did not commit is rolled back
        finally:
            self._hang_up()
            self._reader.join()
            self._close_database()

    def stop(self) -> None:
        """Cut the connection from another thread."""
        if self._database:
            self._database.interrupt()
        self._hang_up()

    def _serve(self) -> None:
        if not self._connect():
            return
        self._negotiate()
        if not self._log_in():
            return
        while self._call():
            pass

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._socket.close()

    def _close_database(self) -> None:
        for cursor in self._cursors.values():
            cursor.close_result()
        self._cursors.clear()
        if self._database:
            self._database.close()

    # --- packets -----------------------------------------------------------------------------------------------------

    def _read_socket(self) -> None:
        total = 0
        try:
            while received := self._socket.recv(_RECEIVE):
                total += len(received)
                if self._login_until is not None and total > _LONGEST_LOGIN:
                    raise ProtocolError(f"{total} bytes without a login")
                for packet in self._splitter.feed(received):
                    if packet.type == wire.MARKER and packet.payload[-1:] != bytes((wire.RESET,)):
                        self._broken.set()
                        if self._database:
                            self._database.interrupt()
                    self._packets.put(packet)
        except (OSError, ProtocolError):
            pass  # told to the other thread as the end of the conversation
        finally:
            if self._database:
                self._database.interrupt()
            self._broken.set()
            self._packets.put(_END)

    def _next_packet(self) -> wire.Packet:
        left = None if self._login_until is None else max(self._login_until - time.monotonic(), 0)
        try:
            packet = self._packets.get(timeout=left)
        except queue.Empty:
            raise Disconnected from None
        if packet is _END:
            raise Disconnected
        return packet

    def _more(self) -> bytes:
        """Return the bytes of the next DATA packet."""
        packet = self._next_packet()
        if packet.type == wire.MARKER and self._database:
            raise _Break
        if packet.type != wire.DATA:
            raise ProtocolError(f"packet type {packet.type} where data belongs")
        if int.from_bytes(packet.payload[:2], "big") & wire.END_OF_FILE:
            raise Disconnected
        return packet.payload[2:]

    def _send(self, message: bytes) -> None:
        self._socket.sendall(wire.data_packets(message, self._sdu))

    def _await_reset(self) -> None:
        while True:
            packet = self._next_packet()
            if packet.type == wire.MARKER and packet.payload[-1:] == bytes((wire.RESET,)):
                return

    # --- connect, negotiate, log in ----------------------------------------------------------------------------------

    def _connect(self) -> bool:
        packet = self._next_packet()
        if packet.type != wire.CONNECT:
            raise ProtocolError("the first packet is not CONNECT")
        length, start = struct.unpack_from(">HH", packet.payload, 16)
        proposed = struct.unpack_from(">I", packet.payload, 50)[0]
        if length > _LONGEST_CONNECT_STRING:
            text = self._next_packet().payload[2:]
        else:
            text = packet.payload[start - 8 : start - 8 + length]
        refusal = self._refusal(text.decode("utf-8", "replace"))
        if refusal:
            self._refuse(refusal)
            return False
        self._sdu = max(_SMALLEST_SDU, min(proposed, _LARGEST_SDU))
        self._splitter.wide = True
        body = struct.pack(
            ">HHHHHHHBB8xIIBI", _TNS_VERSION, 1, 0, 0, 0x0100, 0, 45, 0xC5, 0, self._sdu, self._sdu, 0, 0
        )
        self._socket.sendall(wire.packet(wire.ACCEPT, body, wide=False))
        return True

    def _refusal(self, text: str) -> int:
        """Return the listener's error number for a connect string, 0 if it is welcome."""
        if self._faults.refuse_connections:
            return 12528  # TNS: listener: all appropriate instances are blocking new connections
        service = re.search(r"\(\s*SERVICE_NAME\s*=\s*([^)\s]*)", text, re.IGNORECASE)
        if service:
            return 0 if service[1].upper() == self._service.upper() else 12514
        sid = re.search(r"\(\s*SID\s*=\s*([^)\s]*)", text, re.IGNORECASE)
        return 0 if sid and sid[1].upper() == self._service.upper() else 12505

    def _refuse(self, number: int) -> None:
        text = f"(DESCRIPTION=(TMP=)(VSNNUM=0)(ERR={number})(ERROR_STACK=(ERROR=(CODE={number})(EMFI=4))))".encode()
        body = struct.pack(">BBH", 34, 0, len(text)) + text
        self._socket.sendall(wire.packet(wire.REFUSE, body, wide=False))

    def _negotiate(self) -> None:
        if self._inbox.u8() != _PROTOCOL:
            raise ProtocolError("no protocol message")
        ttc.read_protocol(self._inbox)
        self._send(ttc.protocol_reply())
        if self._inbox.u8() != _DATA_TYPES:
            raise ProtocolError("no data-types message")
        ttc.read_data_types(self._inbox)
        self._inbox.drain()  # some clients add a block about time zones
        self._send(ttc.data_types_reply())

    def _log_in(self) -> bool:
        user, _ = self._auth_request(Function.AUTH_ONE)
        login = Login(self._passwords.get(user))
        self._send(ttc.pairs_reply(login.challenge()) + ttc.summary())
        _, answer = self._auth_request(Function.AUTH_TWO)
        if not login.check(answer):
            self._send(ttc.summary(error=(1017, "ORA-01017: invalid username/password; logon denied")))
            return False
        self._login_until = None
        self._database = self._open_database(user)
        self._send(ttc.pairs_reply(self._greeting(login)) + ttc.summary())
        return True

    def _auth_request(self, function: Function) -> tuple[str, dict[str, str]]:
        kind, called = self._inbox.take(3)[:2]
        if (kind, called) != (_FUNCTION, function):
            raise ProtocolError(f"call {kind}/{called} during login")
        user, pairs = ttc.read_auth(self._inbox)
        return user.strip('"') if user.startswith('"') else user.upper(), pairs

    def _greeting(self, login: Login) -> list[tuple[str, str, int]]:
        values = {
            "AUTH_SVR_RESPONSE": login.proof(),
            "AUTH_SESSION_ID": str(self._number),
            "AUTH_SERIAL_NUM": "1",
            "AUTH_VERSION_NO": str(ttc.VERSION_NUMBER),
            "AUTH_SC_DBUNIQUE_NAME": self._service,
            "AUTH_SC_SERVICE_NAME": self._service,
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
        try:
            function = self._read_piggybacks()
            if function == Function.LOGOFF:
                self._db.rollback()
                self._send(ttc.status(in_transaction=False))
                return False
            reply = self._answered(function)
        except OracleError as error:
            if self._broken.is_set():
                self._await_break()
            else:
                self._answer_error(error)
            return True
        except _Break:
            self._answer_break()
            return True
        if self._broken.is_set():
            self._await_break()
        else:
            self._send(reply)
        return True

    def _read_piggybacks(self) -> int:
        """Act on what comes before a call; return the call's function."""
        while True:
            kind, function = self._inbox.take(3)[:2]
            if kind == _FUNCTION:
                return function
            if kind != _PIGGYBACK:
                raise ProtocolError(f"message type {kind}")
            content = ttc.read_piggyback(self._inbox, function)
            if isinstance(content, str):
                self._db.schema = content
            elif content:
                for number in content:
                    self._forget(number)

    def _forget(self, number: int) -> None:
        cursor = self._cursors.pop(number, None)
        if cursor:
            cursor.close_result()

    def _answered(self, function: int) -> bytes:
        """Do a call; a mistake of this server's own is told to the client like anything else it cannot do."""
        try:
            return self._answer(function)
        except (OracleError, ProtocolError, Disconnected, OSError, _Break):
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
            self._db.commit()
        elif function == Function.ROLLBACK:
            self._db.rollback()
        elif function != Function.PING:
            raise ProtocolError(f"function {function}")
        return ttc.status(in_transaction=self._db.in_transaction)

    def _answer_error(self, error: OracleError) -> None:
        """Tell the client of an error the way a real server does: break, reset, then the error itself."""
        self._inbox.clear()
        self._socket.sendall(wire.marker(wire.BREAK) + wire.marker(wire.RESET))
        self._await_reset()
        self._broken.clear()
        self._send_error(error)

    def _await_break(self) -> None:
        """Answer a break that arrived while the call was at work."""
        while self._next_packet().type != wire.MARKER:
            pass
        self._answer_break()

    def _answer_break(self) -> None:
        self._inbox.clear()
        self._socket.sendall(wire.marker(wire.BREAK))
        self._await_reset()
        self._socket.sendall(wire.marker(wire.RESET))
        self._broken.clear()
        self._send_error(OracleError(1013, "user requested cancel of current operation"))

    def _send_error(self, error: OracleError) -> None:
        summary = ttc.summary(
            in_transaction=self._db.in_transaction, error=(error.code, str(error)), position=error.offset
        )
        self._send(summary)

    # --- statements --------------------------------------------------------------------------------------------------

    def _execute(self) -> bytes:
        call = ttc.read_execute(self._inbox)
        values = self._read_binds(call.binds, call.executions)
        if call.options & (Option.BATCH_ERRORS | Option.PLSQL_BIND):
            raise unsupported("batch errors and PL/SQL binds")
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
        if call.options & Option.DESCRIBE_ONLY:
            reply = self._describe_only(cursor)
        else:
            fetch = call.prefetch if call.options & Option.FETCH else 0
            commit = bool(call.options & Option.COMMIT)
            reply = self._run(cursor, values, fetch, commit=commit, describe=True, row_counts=call.row_counts)
        self._cursors[cursor.number] = cursor
        return reply

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
        outcome = self._db.run(cursor.sql, binds)
        if commit:
            self._db.commit()
        if not isinstance(outcome, ResultSet):
            counts = outcome if row_counts else None
            return ttc.parameters(cursor.number, counts) + self._summary(cursor, rows=sum(outcome))
        cursor.result = outcome
        head = ttc.describe(outcome.columns) if describe or outcome.columns != cursor.described else b""
        cursor.described = outcome.columns
        rows, finished = self._take(cursor, prefetch) if prefetch else (b"", False)
        tail = ttc.parameters(cursor.number) + self._summary(cursor, rows=cursor.sent, finished=finished)
        return head + ttc.row_header() + rows + tail if prefetch else head + tail

    def _describe_only(self, cursor: Cursor) -> bytes:
        described = self._db.describe(cursor.sql)
        head = ttc.describe(described) if described else b""
        return head + ttc.parameters(cursor.number) + self._summary(cursor)

    def _define(self, cursor: Cursor, call: ttc.Execute) -> bytes:
        """Accept a define call as long as it asks for the types that were described."""
        for variable, column in zip(call.defines, cursor.described, strict=False):
            if column.type and variable.code != column.type.wire_code:
                raise unsupported(f"fetching column {column.name} as data type {variable.code}")
        return ttc.parameters(cursor.number) + self._summary(cursor)

    def _take(self, cursor: Cursor, count: int) -> tuple[bytes, bool]:
        """Return up to `count` encoded rows, and whether the result is known to be at its end."""
        assert cursor.result is not None
        rows, taken = cursor.result.take(min(count, _MOST_ROWS))
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
        fault = self._faults.at_fetch()
        if fault.error:
            raise OracleError(*fault.error)
        if fault.delay:
            self._broken.wait(fault.delay)
        rows, finished = self._take(cursor, count)
        reply = ttc.row_header() + rows + self._summary(cursor, rows=cursor.sent, finished=finished)
        if fault.drop:
            self._drop(fault.drop, reply)
        return reply

    def _drop(self, how: str, reply: bytes) -> None:
        """Cut the connection in place of the reply."""
        if how == "half":
            packets = wire.data_packets(reply, self._sdu)
            self._socket.sendall(packets[: min(len(packets), self._sdu) // 2])
        elif how == "rst":
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._socket.shutdown(socket.SHUT_RD)  # a reader still waiting would keep the socket open
            self._reader.join()
            self._socket.close()
        raise Disconnected

    def _summary(self, cursor: Cursor, *, rows: int = 0, finished: bool = False) -> bytes:
        return ttc.summary(
            in_transaction=self._db.in_transaction, cursor=cursor.number, rows=rows, finished=finished
        )
