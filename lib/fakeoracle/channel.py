"""The socket of one client: packets in and out, breaks, encryption, and the ways a connection can be dropped.

A thread reads the socket all the time, so that a client's break is heard while the database works.
"""

from __future__ import annotations

import contextlib
import queue
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable

from . import ttc, wire
from .errors import Disconnected, ProtocolError

_RECEIVE = 256 * 1024
_LONGEST_LOGIN = 1024 * 1024  # bytes from a client whose password is not yet checked
_END = None


class Break(Exception):
    """The client sent a marker in place of data."""


class EncryptedSocket:
    """A TLS connection that one thread may read while another writes: OpenSSL allows one of them at a time.

    Nothing can be read or written before `handshake`, which waits for the client's half of it.
    """

    def __init__(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        self._socket = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self._lock = threading.Lock()

    def handshake(self, seconds: float) -> None:
        """Agree on keys; OSError if the client does not, or takes longer than `seconds`."""
        self._socket.settimeout(seconds)
        self._socket.do_handshake()
        self._socket.setblocking(False)

    def _wait(self, event: int) -> None:
        poll = select.poll()
        poll.register(self._socket.fileno(), event)
        poll.poll()

    def recv(self, size: int) -> bytes:
        """Return what has arrived, waiting for it; empty at the end."""
        while True:
            try:
                with self._lock:
                    return self._socket.recv(size)
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT)

    def sendall(self, data: bytes) -> None:
        """Send everything."""
        rest = memoryview(data)
        while rest:
            try:
                with self._lock:
                    sent = self._socket.send(rest)
                rest = rest[sent:]
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT)
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN)

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        """Set an option of the socket below."""
        self._socket.setsockopt(level, option, value)

    def shutdown(self, how: int) -> None:
        """Shut the socket below; whoever waits for it wakes up."""
        socket.socket.shutdown(self._socket, how)

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()


class Channel:
    """Packets of one connection.

    `on_break` is called, in the reading thread, when the client asks to stop what is running or is gone. `inbox` holds
    what the client sent; `broken` is set from a client's break until it is answered.
    """

    def __init__(
        self,
        connection: socket.socket,
        *,
        context: ssl.SSLContext | None,
        number: int,
        on_break: Callable[[], None],
        login_seconds: float,
    ) -> None:
        self._socket: socket.socket | EncryptedSocket = connection
        self._context = context
        self._on_break = on_break
        self._login_until: float | None = time.monotonic() + login_seconds
        self._splitter = wire.PacketSplitter()
        self._packets: queue.SimpleQueue[wire.Packet | None] = queue.SimpleQueue()
        self._reader = threading.Thread(
            target=self._read_socket, name=f"fakeoracle-reader-{number}", daemon=True
        )
        self.inbox = wire.Inbox(self._more)
        self.broken = threading.Event()
        self.sdu = 8192
        self.ends_responses = False

    def start(self) -> None:
        """Begin to read; with TLS after the handshake."""
        if self._context and isinstance(self._socket, socket.socket):
            encrypted = EncryptedSocket(self._socket, self._context)
            self._socket = encrypted
            encrypted.handshake(self._left() or 0.001)
        self._reader.start()

    def logged_in(self) -> None:
        """From here on the client may be silent for ever, and may break."""
        self._login_until = None

    def _left(self) -> float | None:
        """Seconds that are left for the login; None after it."""
        return None if self._login_until is None else max(self._login_until - time.monotonic(), 0)

    def hang_up(self) -> None:
        """Cut the connection; from any thread."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Cut the connection, let the reader end and let go of the socket."""
        self.hang_up()
        if self._reader.ident is not None:
            self._reader.join()
        with contextlib.suppress(OSError):
            self._socket.close()

    def _read_socket(self) -> None:
        total = 0
        try:
            while received := self._socket.recv(_RECEIVE):
                total += len(received)
                if self._login_until is not None and total > _LONGEST_LOGIN:
                    raise ProtocolError(f"{total} bytes without a login")
                for packet in self._splitter.feed(received):
                    if packet.type == wire.MARKER and packet.payload[-1:] != bytes((wire.RESET,)):
                        self.broken.set()
                        self._on_break()
                    self._packets.put(packet)
        except (OSError, ProtocolError):
            pass  # told to the other thread as the end of the conversation
        finally:
            self.broken.set()
            self._packets.put(_END)
            self._on_break()

    def next_packet(self) -> wire.Packet:
        """Return the next packet, waiting for it; Disconnected at the end."""
        try:
            packet = self._packets.get(timeout=self._left())
        except queue.Empty:
            raise Disconnected from None
        if packet is _END:
            raise Disconnected
        return packet

    def _more(self) -> bytes:
        """Return the bytes of the next DATA packet."""
        packet = self.next_packet()
        if packet.type == wire.MARKER and self._login_until is None:
            raise Break
        if packet.type != wire.DATA:
            raise ProtocolError(f"packet type {packet.type} where data belongs")
        if int.from_bytes(packet.payload[:2], "big") & wire.END_OF_FILE:
            raise Disconnected
        return packet.payload[2:]

    def accept(self, body: bytes) -> None:
        """Send ACCEPT; from now on packets have 32-bit lengths."""
        self._splitter.wide = True
        self._socket.sendall(wire.packet(wire.ACCEPT, body, wide=False))

    def refuse(self, body: bytes) -> None:
        """Send REFUSE."""
        self._socket.sendall(wire.packet(wire.REFUSE, body, wide=False))

    def send(self, message: bytes) -> None:
        """Send a reply."""
        self._socket.sendall(self._packed(message))

    def _packed(self, message: bytes) -> bytes:
        if self.ends_responses:
            return wire.data_packets(message + ttc.END_OF_RESPONSE, self.sdu, last_flags=wire.END_OF_RESPONSE)
        return wire.data_packets(message, self.sdu)

    def announce_error(self) -> None:
        """Tell the client that an error comes, the way a real server does: break, reset, and its reset awaited."""
        self.inbox.clear()
        self._socket.sendall(wire.marker(wire.BREAK) + wire.marker(wire.RESET))
        self._await_reset()
        self.broken.clear()

    def await_break(self) -> None:
        """Take the packets up to the break that has been heard."""
        while self.next_packet().type != wire.MARKER:
            pass

    def answer_break(self) -> None:
        """Answer a client's break; the error that ends its call comes next."""
        self.inbox.clear()
        self._socket.sendall(wire.marker(wire.BREAK))
        self._await_reset()
        self._socket.sendall(wire.marker(wire.RESET))
        self.broken.clear()

    def _await_reset(self) -> None:
        while True:
            packet = self.next_packet()
            if packet.type == wire.MARKER and packet.payload[-1:] == bytes((wire.RESET,)):
                return

    def drop(self, how: str, reply: bytes) -> None:
        """Cut the connection in place of `reply`: `fin` closes it, `rst` resets it, `half` sends half a packet first."""
        if how == "half":
            packets = self._packed(reply)
            self._socket.sendall(packets[: min(len(packets), self.sdu) // 2])
        elif how == "rst":
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._socket.shutdown(socket.SHUT_RD)  # a reader still waiting would keep the socket open
            self._reader.join()
            self._socket.close()
        raise Disconnected
