"""TTC messages the server sends, and the bodies of the calls it reads. Bytes only, no I/O and no state.

The shape of some messages depends on the field version that client and server agree on; where a function has no such
argument it does not. Source: python-oracledb, src/oracledb/impl/thin/messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

from .errors import OracleError, ProtocolError
from .profiles import Profile
from .types import BLOB, LONG, LONG_RAW, TIMESTAMP, OracleType
from .wire import Inbox, bytes_with_length, clr, sb, ub

# field versions that add something (python-oracledb source, impl/thin/constants.pxi)
_WITH_SQL_TYPE, _WITH_DOMAINS, WITH_TOKENS, _WITH_ANNOTATIONS, _WITH_VECTORS = 14, 17, 18, 20, 24
CHARSET = 873  # AL32UTF8
_NATIONAL_CHARSET = 2000  # AL16UTF16
_BANNER = b"fakeoracle\0"
_NO_MORE_ROWS = 1403
_BATCH_ERRORS = 24381
END_OF_RESPONSE = b"\x1d"
_CAN_END_RESPONSE = 0x20  # a bit of the byte _TTC4 of the capabilities
_FIELD_VERSION_AT, _TTC4 = 7, 40
_VECTOR = 13  # numbers at the end of an execute call
_MOST_ITEMS = 65535  # no list in a call is longer: binds, columns, cursors to close
_COMPILE_CAPS = {
    0: 6,
    4: 0xEA,
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
BIT_VECTOR = 21
CLIENT_CONTEXT = ("CLIENT_IDENTIFIER", "MODULE", "ACTION", "CLIENT_INFO")
"""What a client may tell of itself, in the order of END_TO_END; keys of SYS_CONTEXT('USERENV', ...)."""


class Function(IntEnum):
    """The calls of a client."""

    REEXECUTE = 4
    FETCH = 5
    LOGOFF = 9
    COMMIT = 14
    ROLLBACK = 15
    REEXECUTE_AND_FETCH = 78
    EXECUTE = 94
    LOB_OPERATION = 96
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
    scrollable: bool
    binds: list[Variable] = field(default_factory=list)
    defines: list[Variable] = field(default_factory=list)


@dataclass(frozen=True)
class Described:
    """One column as the client is told of it."""

    name: str
    type: OracleType | None
    nullable: bool = True


# --- negotiation -----------------------------------------------------------------------------------------------------


def protocol_reply(profile: Profile) -> bytes:
    """Answer to the protocol message: charsets and capabilities."""
    caps = bytearray(45)
    for index, value in (_COMPILE_CAPS | _MORE_CAPS).items():
        caps[index] = value
    caps[_FIELD_VERSION_AT] = profile.field_version
    if profile.end_of_response:
        caps[_TTC4] |= _CAN_END_RESPONSE
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


def read_data_types(inbox: Inbox) -> tuple[int, bool]:
    """Read a data-types message (its first byte is already read).

    Return the client's field version, and whether it wants replies to end with a message of their own.
    """
    inbox.take(5)
    caps = inbox.clr() or b""
    inbox.clr()
    while inbox.u16():
        if inbox.u16():
            inbox.take(4)
    if len(caps) <= _TTC4:
        raise ProtocolError("capabilities of a client this server does not know")
    return caps[_FIELD_VERSION_AT], bool(caps[_TTC4] & _CAN_END_RESPONSE)


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
    executions, flags = 1 if query else numbers[1], numbers[9]
    call = Execute(options, cursor, sql, prefetch, executions, bool(flags & 0x4000), bool(flags & 0x02))
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


def read_closed_cursors(inbox: Inbox) -> list[int]:
    """Read the body of a CLOSE_CURSORS piggyback: cursor ids."""
    inbox.u8()
    return [inbox.ub() for _ in range(_count(inbox))]


def read_schema(inbox: Inbox) -> str:
    """Read the body of a SET_SCHEMA piggyback."""
    inbox.u8()
    return inbox.bytes_with_length().decode()


def read_end_to_end(inbox: Inbox) -> list[str | None]:
    """Read the body of an END_TO_END piggyback: client identifier, module, action, client info; None is not told."""
    inbox.take(2)
    inbox.ub()
    heads = []
    for shape in ("", "", "", "1n1n", "1n1n"):
        _skip(inbox, shape)
        heads.append((inbox.u8(), inbox.ub()))
    texts = [(inbox.clr() or b"").decode() if length else "" for _, length in heads]
    return [text if told else None for text, (told, _) in zip(texts[:4], heads, strict=False)]


# --- replies ---------------------------------------------------------------------------------------------------------


def describe(columns: list[Described], field_version: int) -> bytes:
    """The DESCRIBE message of a query."""
    size = sum(column.type.size for column in columns if column.type)
    parts = [b"\x10\x00", ub(size), ub(len(columns)), b"\x01"]
    more = bytes(
        2 * (field_version >= _WITH_DOMAINS)
        + (field_version >= _WITH_ANNOTATIONS)
        + 3 * (field_version >= _WITH_VECTORS)
    )
    parts += [_describe_column(column, index) + more for index, column in enumerate(columns)]
    parts.append(bytes(6))
    return b"".join(parts)


def _describe_column(column: Described, index: int) -> bytes:
    kind = column.type or OracleType("VARCHAR2")
    form = kind.charset_form
    maximum = (kind.length if kind.in_chars else kind.size) if kind.is_text else 0
    name = column.name.encode()
    return b"".join(
        (
            bytes((kind.wire_code, 0, kind.described_precision & 0xFF, kind.described_scale & 0xFF)),
            ub(kind.size if column.type else 0),
            bytes(4),
            ub((0, CHARSET, _NATIONAL_CHARSET)[form]),
            bytes((form,)),
            ub(maximum),
            b"\x00",
            bytes((1 if column.nullable else 0, min(len(name), 255))),
            bytes_with_length(name),
            bytes(2),
            ub(index),
            b"\x00",
        )
    )


def fetch_codes(kind: OracleType) -> tuple[int, ...]:
    """Return the data types a client may ask for in a define, for values that are then sent as they were described.

    LOBs only come as LONG. The driver asks for ROWIDs as text, and for every datetime as TIMESTAMP where a schema is
    requested, and reads both as described.
    """
    if kind.is_lob:
        return (LONG_RAW,) if kind == BLOB else (LONG,)
    other = {"rowid": 1, "datetime": TIMESTAMP.wire_code}.get(kind.kind, kind.wire_code)
    return (kind.wire_code, other)


def row_header(vector: bytes = b"") -> bytes:
    """The ROW HEADER message in front of rows; `vector` tells which columns of the first row are sent."""
    if not vector:
        return _ROW_HEADER
    return _ROW_HEADER[:-2] + ub(len(vector)) + bytes((len(vector),)) + vector + b"\x00"


def parameters(cursor: int, row_counts: list[int] | None = None) -> bytes:
    """The PARAMETER message of an execute."""
    counts = b"" if row_counts is None else ub(len(row_counts)) + b"".join(map(ub, row_counts))
    return b"\x08" + ub(6) + bytes(2) + ub(cursor) + bytes(3) + bytes(3) + counts


def status(*, in_transaction: bool) -> bytes:
    """The STATUS message that answers commit, rollback, ping and logoff."""
    return b"\x09" + ub(2 if in_transaction else 0) + b"\x00"


def summary(
    field_version: int,
    *,
    in_transaction: bool = False,
    cursor: int = 0,
    rows: int = 0,
    error: tuple[int, str] | None = None,
    position: int = 0,
    finished: bool = False,
    refused: Sequence[tuple[int, OracleError]] = (),
) -> bytes:
    """The ERROR message that ends a call: success, "no more rows" (`finished`) or an error with its text.

    `refused` are the executions of a batch that failed: their numbers and why.
    """
    if finished:
        error = (_NO_MORE_ROWS, "ORA-01403: no data found")
    elif refused:
        error = (_BATCH_ERRORS, "ORA-24381: error(s) in array DML")
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
        b"\x00",  # logical rowid
        _batch_errors(refused),
        ub(number),
        ub(rows),
        bytes(2) if field_version >= _WITH_SQL_TYPE else b"",  # sql type, server checksum
    ]
    if number:
        parts.append(clr(text.encode() + b"\n"))
    return b"".join(parts)


def _batch_errors(refused: Sequence[tuple[int, OracleError]]) -> bytes:
    """Three lists: the errors' numbers, the executions they happened in, their texts."""
    if not refused:
        return bytes(3)
    count = len(refused)
    numbers = [ub(error.code) for _, error in refused]
    places = [ub(place) for place, _ in refused]
    texts = []
    for _, error in refused:
        text = f"{error}\n".encode()
        texts.append(ub(len(text)) + clr(text) + bytes(2))
    return b"".join(
        (ub(count), _in_chunks(numbers), ub(count), _in_chunks(places), ub(count), b"\x00", *texts)
    )


def _in_chunks(items: list[bytes]) -> bytes:
    """A list in the chunked form of a CLR, one item a chunk."""
    return b"\xfe" + b"".join(ub(len(item)) + item for item in items) + b"\x00"
