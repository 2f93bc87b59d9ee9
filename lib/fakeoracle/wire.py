"""TNS packets and the primitive encodings of TTC. No sockets here: bytes in, bytes out.

The protocol is not published; what is here is known from python-oracledb's source (Apache-2.0/UPL,
https://github.com/oracle/python-oracledb, src/oracledb/impl/thin).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from .errors import ProtocolError

CONNECT, ACCEPT, REFUSE, DATA, MARKER = 1, 2, 4, 6, 12
BREAK, RESET, INTERRUPT = 1, 2, 3
END_OF_FILE, END_OF_RESPONSE = 0x0040, 0x2000

_HEADER = 8
_LONGEST_SHORT = 252
_CHUNKED = 0xFE
_NULL_LENGTHS = (0, 0xFF)
_CHUNK = 32767
MAXIMUM_PACKET = 2 * 1024 * 1024  # a length above this is not a packet of this protocol
MAXIMUM_VALUE = (
    1024**3
)  # python-oracledb binds up to 1 GB, https://python-oracledb.readthedocs.io/en/latest/user_guide/lob_data.html


class Packet(NamedTuple):
    """One TNS packet: its type and what follows the eight-byte header."""

    type: int
    payload: bytes


class PacketSplitter:
    """Cuts a byte stream into packets; feed it whatever the socket gave.

    `wide` says whether the header carries a 32-bit length: false until ACCEPT, true after it.
    """

    def __init__(self) -> None:
        self.wide = False
        self._pending = bytearray()

    def feed(self, received: bytes) -> list[Packet]:
        """Return the packets completed by `received`, in order; the rest is kept for the next call."""
        pending = self._pending
        pending += received
        packets, start = [], 0
        while len(pending) - start >= _HEADER:
            length = int.from_bytes(pending[start : start + (4 if self.wide else 2)], "big")
            if not _HEADER <= length <= MAXIMUM_PACKET:
                raise ProtocolError(f"a packet claims {length} bytes")
            if len(pending) - start < length:
                break
            packets.append(Packet(pending[start + 4], bytes(pending[start + _HEADER : start + length])))
            start += length
        del pending[:start]
        return packets


def packet(packet_type: int, payload: bytes, *, wide: bool) -> bytes:
    """Return one packet around `payload`."""
    length = _HEADER + len(payload)
    size = struct.pack(">I", length) if wide else struct.pack(">HH", length, 0)
    return size + struct.pack(">BBH", packet_type, 0, 0) + payload


def data_packets(message: bytes, sdu: int, *, last_flags: int = 0) -> bytes:
    """Return `message` cut into DATA packets of at most `sdu` bytes each; the last one carries `last_flags`."""
    room = sdu - _HEADER - 2
    head = struct.Struct(">IBBHH")
    whole = memoryview(message)
    parts: list[bytes | memoryview[int]] = []
    for start in range(0, len(message), room):
        piece = whole[start : start + room]
        flags = last_flags if start + room >= len(message) else 0
        parts += (head.pack(_HEADER + 2 + len(piece), DATA, 0, 0, flags), piece)
    return b"".join(parts)


def marker(kind: int) -> bytes:
    """Return a MARKER packet (BREAK, RESET or INTERRUPT)."""
    return packet(MARKER, bytes((1, 0, kind)), wide=True)


def ub(value: int) -> bytes:
    """Encode an unsigned integer: a length byte, then as many bytes as are needed, big-endian."""
    if value < 0x100:
        return b"\x01" + bytes((value,)) if value else b"\x00"
    width = 2 if value < 0x10000 else 4 if value < 0x100000000 else 8
    return bytes((width,)) + value.to_bytes(width, "big")


def sb(value: int) -> bytes:
    """Encode a signed integer: as `ub`, with the top bit of the length byte for a negative one."""
    if value >= 0:
        return ub(value)
    encoded = ub(-value)
    return bytes((encoded[0] | 0x80,)) + encoded[1:]


def clr(value: bytes | None) -> bytes:
    """Encode bytes with their length in front; None and empty are both NULL; long values in chunks."""
    if not value:
        return b"\x00"
    if len(value) <= _LONGEST_SHORT:
        return bytes((len(value),)) + value
    parts = [bytes((_CHUNKED,))]
    for start in range(0, len(value), _CHUNK):
        piece = value[start : start + _CHUNK]
        parts += (ub(len(piece)), piece)
    parts.append(b"\x00")
    return b"".join(parts)


def bytes_with_length(value: bytes | str | None) -> bytes:
    """Encode bytes (or UTF-8 text) as a count followed, unless it is zero, by a CLR."""
    raw = value.encode() if isinstance(value, str) else value
    return ub(len(raw)) + clr(raw) if raw else b"\x00"


class Inbox:
    """Reads primitives from a message that may still be arriving.

    `more` returns further bytes of the conversation and blocks until there are some; it raises to abandon the read.
    """

    def __init__(self, more: Callable[[], bytes]) -> None:
        self._more = more
        self._buffer = bytearray()
        self._at = 0

    def clear(self) -> None:
        """Forget everything received and not yet read."""
        self._buffer.clear()
        self._at = 0

    def drain(self) -> None:
        """Skip what has arrived; wait for nothing."""
        self.clear()

    def _need(self, count: int) -> int:
        """Wait until `count` bytes can be read; return where they start and step over them."""
        _check_size(count)
        start = self._at
        if len(self._buffer) - start < count:
            del self._buffer[:start]
            start = 0
            while len(self._buffer) < count:
                self._buffer += self._more()
        self._at = start + count
        return start

    def take(self, count: int) -> bytes:
        """Read `count` bytes."""
        start = self._need(count)
        return bytes(self._buffer[start : start + count])

    def u8(self) -> int:
        """Read one byte."""
        start = self._need(1)
        return self._buffer[start]

    def u16(self) -> int:
        """Read two bytes, big-endian."""
        return int.from_bytes(self.take(2), "big")

    def ub(self) -> int:
        """Read an unsigned integer with a length byte."""
        width = self.u8()
        if width > 8:
            raise ProtocolError(f"an integer of {width} bytes")
        return int.from_bytes(self.take(width), "big")

    def clr(self) -> bytes | None:
        """Read bytes with their length in front; None for NULL."""
        length = self.u8()
        if length in _NULL_LENGTHS:
            return None
        if length != _CHUNKED:
            return self.take(length)
        parts = []
        while size := self.ub():
            parts.append(self.take(size))
        return b"".join(parts)

    def bytes_with_length(self) -> bytes:
        """Read a count and, unless it is zero, a CLR."""
        return (self.clr() or b"") if self.ub() else b""

    def until_nul(self) -> bytes:
        """Read up to the next zero byte, and step over it."""
        parts = bytearray()
        while byte := self.u8():
            parts.append(byte)
        return bytes(parts)

    def rows(self, width: int, count: int, lead: int) -> list[list[bytes | None]]:
        """Read `count` rows of `width` CLR values, each row led in by the byte `lead`; return them by column.

        The loop is written out because a bulk load spends its time here.
        """
        columns: list[list[bytes | None]] = [[] for _ in range(width)]
        appends = [column.append for column in columns]
        done = 0
        while done < count:
            buffer, at = bytes(self._buffer), self._at
            end = len(buffer)
            while done < count:
                row_start = at
                row: list[bytes | None] = []
                try:
                    if buffer[at] != lead:
                        raise ProtocolError("a row of bind values does not start where it should")
                    at += 1
                    for _ in range(width):
                        length = buffer[at]
                        at += 1
                        if length <= _LONGEST_SHORT and length:
                            row.append(buffer[at : at + length])
                            at += length
                        elif length == _CHUNKED:
                            value, at = _chunked(buffer, at)
                            row.append(value)
                        else:
                            row.append(None)
                except IndexError:
                    at = end + 1
                if at > end:  # the row is not all here yet
                    self._at = row_start
                    break
                for append, cell in zip(appends, row, strict=True):
                    append(cell)
                done += 1
                self._at = at
            if done < count:
                del self._buffer[: self._at]
                self._at = 0
                self._buffer += self._more()
        return columns


def _check_size(size: int) -> None:
    if size > MAXIMUM_VALUE:
        raise ProtocolError(f"a value of {size} bytes")


def _chunked(buffer: bytes, at: int) -> tuple[bytes, int]:
    """Return a chunked value and the place after it; IndexError (or a place past the end) if it is cut."""
    parts: list[bytes] = []
    while True:
        width = buffer[at]
        if width > 8:
            raise ProtocolError(f"an integer of {width} bytes")
        size = int.from_bytes(buffer[at + 1 : at + 1 + width], "big")
        at += 1 + width
        if not width or not size:
            return b"".join(parts), at
        _check_size(size)
        parts.append(buffer[at : at + size])
        at += size
