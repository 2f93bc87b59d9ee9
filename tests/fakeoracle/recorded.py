"""What the real driver sends, taken down by a socket between it and the server, to be sent again with damage."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import NamedTuple

import oracledb

_LONGEST_CONNECT_STRING = 230  # a longer one is a packet of its own, which has the short header too


class Conversation(NamedTuple):
    """The packets of a client, in order: the first `connect` of them are answered by ACCEPT, the first `login` log in."""

    packets: list[bytes]
    connect: int
    login: int


class Forwarder:
    """Passes one connection on to `port` and keeps what the client sends."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.sent = bytearray()
        self._server_port = port
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        client, _ = self._listener.accept()
        with client, socket.create_connection(("127.0.0.1", self._server_port)) as server:
            back = threading.Thread(target=self._pump, args=(server, client, bytearray()))
            back.start()
            self._pump(client, server, self.sent)
            back.join()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                kept += data
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def finish(self) -> bytes:
        """Return all that the client sent, once it has hung up."""
        self._thread.join()
        self._listener.close()
        return bytes(self.sent)


def record(
    port: int, service: str, talk: Callable[[oracledb.Connection], None], **login: str
) -> Conversation:
    """Return what the driver sends while `talk` has a connection."""
    forwarder = Forwarder(port)
    with oracledb.connect(dsn=f"127.0.0.1:{forwarder.port}/{service}", **login) as connection:
        before = len(forwarder.sent)
        talk(connection)
    packets, connect = _packets(forwarder.finish())
    sizes = [sum(map(len, packets[:n])) for n in range(len(packets))]
    return Conversation(packets, connect, sizes.index(before))


def _packets(stream: bytes) -> tuple[list[bytes], int]:
    """Return the packets of what a client sent, and how many of them have the short header."""
    packets: list[bytes] = []
    at, short = 0, 1
    while at < len(stream):
        width = 2 if len(packets) < short else 4
        size = int.from_bytes(stream[at : at + width], "big")
        packet = stream[at : at + size]
        if not packets and int.from_bytes(packet[24:26], "big") > _LONGEST_CONNECT_STRING:
            short = 2
        packets.append(packet)
        at += size
    return packets, short
