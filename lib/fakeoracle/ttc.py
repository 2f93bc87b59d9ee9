"""TTC messages the server sends, and the bodies of the calls it reads. Bytes only, no I/O and no state.

Everything is in the shape of field version 12 (a 19c server); python-oracledb source, src/oracledb/impl/thin/messages.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

from .errors import OracleError, ProtocolError
from .types import OracleType
from .wire import Inbox, bytes_with_length, clr, sb, ub

FIELD_VERSION = 12
VERSION_NUMBER = (19 << 24) | (3 << 16)
CHARSET = 873  # AL32UTF8
_NATIONAL_CHARSET = 2000  # AL16UTF16
_BANNER = b"fakeoracle\0"
_NO_MORE_ROWS = 1403
_VECTOR = 13  # numbers at the end of an execute call
_MOST_ITEMS = 65535  # no list in a call is longer: binds, columns, cursors to close
_COMPILE_CAPS = {
    0: 6,
    4: 0xEA,
    7: FIELD_VERSION,
    8: 1,
    9: 1,
    15: 0x29,
    16: 0x90,
    17: 3,
    18: 7,
    19: 3,
    21: 1,
    23: 0xCF,
}
_MORE_CAPS = {26: 4, 27: 1, 34: 0x12, 37: 0xB0, 40: 4, 42: 5}
_ROW_HEADER = b"\x06" + bytes(7)
ROW = 7


class Function(IntEnum):
    """The calls of a client."""

    REEXECUTE = 4
    FETCH = 5
    LOGOFF = 9
    COMMIT = 14
    ROLLBACK = 15
    REEXECUTE_AND_FETCH = 78
    EXECUTE = 94
    AUTH_TWO = 115
    AUTH_ONE = 118
    PING = 147


class Piggyback(IntEnum):
    """What a client may send in front of a call."""

    CLOSE_CURSORS = 105
    END_TO_END = 135
    SET_SCHEMA = 152


class Option(IntFlag):
    """Bits of an execute call."""

    PARSE = 0x01
    BIND = 0x08
    DEFINE = 0x10
    EXECUTE = 0x20
    FETCH = 0x40
    COMMIT = 0x100
    PLSQL_BIND = 0x400
    DESCRIBE_ONLY = 0x20000
    BATCH_ERRORS = 0x80000


@dataclass(frozen=True)
class Variable:
    """How a bind or a define is declared."""

    code: int
    flags: int
    size: int
    form: int


@dataclass
class Execute:
    """An execute call without its bind values."""

    options: int
    cursor: int
    sql: str
    prefetch: int
    executions: int
    row_counts: bool
    binds: list[Variable] = field(default_factory=list)
    defines: list[Variable] = field(default_factory=list)


@dataclass(frozen=True)
class Described:
    """One column as the client is told of it."""

    name: str
    type: OracleType | None
    nullable: bool = True


# --- negotiation -----------------------------------------------------------------------------------------------------


def protocol_reply() -> bytes:
    """Answer to the protocol message: charsets and capabilities."""
    caps = bytearray(45)
    for index, value in (_COMPILE_CAPS | _MORE_CAPS).items():
        caps[index] = value
    national = bytes(9) + _NATIONAL_CHARSET.to_bytes(2, "big")
    charset = CHARSET.to_bytes(2, "little")
    fdo = len(national).to_bytes(2, "big") + national
    return b"\x01\x06\x00" + _BANNER + charset + b"\x01" + bytes(2) + fdo + clr(bytes(caps)) + clr(bytes(7))


def data_types_reply() -> bytes:
    """Answer to the data-types message: nothing differs."""
    return b"\x02\x00\x00"


def read_protocol(inbox: Inbox) -> None:
    """Read a protocol message (its first byte is already read)."""
    inbox.until_nul()
    inbox.until_nul()


def read_data_types(inbox: Inbox) -> None:
    """Read a data-types message (its first byte is already read)."""
    inbox.take(5)
    inbox.clr()
    inbox.clr()
    while inbox.u16():
        if inbox.u16():
            inbox.take(4)


def read_auth(inbox: Inbox) -> tuple[str, dict[str, str]]:
    """Read either login request; return the user name and the pairs."""
    has_user = inbox.u8()
    inbox.ub()
    inbox.ub()
    inbox.u8()
    count = _count(inbox)
    inbox.take(2)
    user = (inbox.clr() or b"").decode() if has_user else ""
    pairs = {}
    for _ in range(count):
        key, value = inbox.bytes_with_length().decode(), inbox.bytes_with_length().decode()
        inbox.ub()
        pairs[key] = value
    return user, pairs


def pairs_reply(pairs: list[tuple[str, str, int]]) -> bytes:
    """A PARAMETER message of key/value pairs, as the login answers them."""
    body = [bytes_with_length(key) + bytes_with_length(value) + ub(flags) for key, value, flags in pairs]
    return b"\x08" + ub(len(pairs)) + b"".join(body)


# --- calls -----------------------------------------------------------------------------------------------------------


def read_execute(inbox: Inbox) -> Execute:
    """Read an execute call up to, and without, its bind values."""
    options, cursor = inbox.ub(), inbox.ub()
    inbox.u8()
    sql_length = inbox.ub()
    inbox.u8()
    vector = _count(inbox)
    inbox.take(2)
    inbox.ub()
    prefetch = inbox.ub()
    inbox.ub()
    has_binds, bind_count = inbox.u8(), _count(inbox)
    inbox.take(5)
    has_defines, define_count = inbox.u8(), _count(inbox)
    _skip(inbox, "n111n1nn1n11n1n11n")
    sql = _sql(inbox.clr() or b"") if sql_length else ""
    numbers = [inbox.ub() for _ in range(vector)]
    if vector < _VECTOR:
        raise ProtocolError(f"{vector} numbers in an execute call")
    query = numbers[7] == 1  # then the second number counts rows, not executions
    call = Execute(options, cursor, sql, prefetch, 1 if query else numbers[1], bool(numbers[9] & 0x4000))
    if has_defines:
        call.defines = [_read_variable(inbox) for _ in range(define_count)]
    elif has_binds:
        call.binds = [_read_variable(inbox) for _ in range(bind_count)]
    return call


def _sql(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise OracleError(911, "invalid character", error.start) from None


def _count(inbox: Inbox) -> int:
    """Read how many items a list has."""
    count = inbox.ub()
    if count > _MOST_ITEMS:
        raise ProtocolError(f"a list of {count} items")
    return count


def _skip(inbox: Inbox, shape: str) -> None:
    """Step over fields of no interest: `n` an integer with a length byte, `1` one byte."""
    for kind in shape:
        if kind == "n":
            inbox.ub()
        else:
            inbox.u8()


def _read_variable(inbox: Inbox) -> Variable:
    code, flags = inbox.u8(), inbox.u8()
    inbox.take(2)
    size = inbox.ub()
    inbox.ub()
    inbox.ub()
    inbox.bytes_with_length()
    inbox.ub()
    inbox.ub()
    form = inbox.u8()
    inbox.ub()
    inbox.ub()
    return Variable(code, flags, size, form)


def read_piggyback(inbox: Inbox, kind: int) -> list[int] | str | None:
    """Read the body of a piggyback: cursor ids to close, a schema to set, or nothing of interest."""
    if kind == Piggyback.CLOSE_CURSORS:
        inbox.u8()
        return [inbox.ub() for _ in range(_count(inbox))]
    if kind == Piggyback.SET_SCHEMA:
        inbox.u8()
        return inbox.bytes_with_length().decode()
    if kind == Piggyback.END_TO_END:
        _read_end_to_end(inbox)
        return None
    raise ProtocolError(f"piggyback {kind}")


def _read_end_to_end(inbox: Inbox) -> None:
    inbox.take(2)
    inbox.ub()
    lengths = []
    for shape in ("", "", "", "1n1n", "1n1n"):
        _skip(inbox, shape)
        inbox.u8()
        lengths.append(inbox.ub())
    for length in lengths:
        if length:
            inbox.clr()


# --- replies ---------------------------------------------------------------------------------------------------------


def describe(columns: list[Described]) -> bytes:
    """The DESCRIBE message of a query."""
    size = sum(column.type.size for column in columns if column.type)
    parts = [b"\x10\x00", ub(size), ub(len(columns)), b"\x01"]
    parts += [_describe_column(column, index) for index, column in enumerate(columns)]
    parts.append(bytes(6))
    return b"".join(parts)


def _describe_column(column: Described, index: int) -> bytes:
    kind = column.type or OracleType("VARCHAR2")
    text = kind.is_text
    maximum = kind.length if kind.in_chars else kind.size
    name = column.name.encode()
    return b"".join(
        (
            bytes((kind.wire_code, 0, (kind.precision or 0) & 0xFF, kind.described_scale & 0xFF)),
            ub(kind.size if column.type else 0),
            bytes(4),
            ub(CHARSET if text else 0),
            bytes((1 if text else 0,)),
            ub(maximum if text else 0),
            b"\x00",
            bytes((1 if column.nullable else 0, min(len(name), 255))),
            bytes_with_length(name),
            bytes(2),
            ub(index),
            b"\x00",
        )
    )


def row_header() -> bytes:
    """The ROW HEADER message in front of rows; no bit vector."""
    return _ROW_HEADER


def parameters(cursor: int, row_counts: list[int] | None = None) -> bytes:
    """The PARAMETER message of an execute."""
    counts = b"" if row_counts is None else ub(len(row_counts)) + b"".join(map(ub, row_counts))
    return b"\x08" + ub(6) + bytes(2) + ub(cursor) + bytes(3) + bytes(3) + counts


def status(*, in_transaction: bool) -> bytes:
    """The STATUS message that answers commit, rollback, ping and logoff."""
    return b"\x09" + ub(2 if in_transaction else 0) + b"\x00"


def summary(
    *,
    in_transaction: bool = False,
    cursor: int = 0,
    rows: int = 0,
    error: tuple[int, str] | None = None,
    position: int = 0,
    finished: bool = False,
) -> bytes:
    """The ERROR message that ends a call: success, "no more rows" (`finished`) or an error with its text."""
    if finished:
        error = (_NO_MORE_ROWS, "ORA-01403: no data found")
    number, text = error or (0, "")
    parts = [
        b"\x04",
        ub(2 if in_transaction else 0),
        b"\x00",
        ub(rows & 0xFFFFFFFF),
        ub(number if number <= 0xFFFF else 0),
        bytes(2),
        ub(cursor),
        sb(position),
        bytes(6),  # sql type, fatal, flags, user cursor options, UPI parameter, warnings
        bytes(5),  # rowid
        bytes(4),  # OS error, statement number, call number, padding
        ub(rows & 0xFFFFFFFF),
        bytes(4),  # logical rowid, three empty lists of batch errors
        ub(number),
        ub(rows),
    ]
    if number:
        parts.append(clr(text.encode() + b"\n"))
    return b"".join(parts)
