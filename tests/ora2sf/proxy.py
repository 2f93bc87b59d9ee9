"""A real proxy on loopback: CONNECT for https, forwarding for http, and a password if it is told one."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_REFUSED = (
    b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
)


@dataclass
class Proxy:
    """``seen``: the first line of each request that came; ``login``: what a client has to send, such as ``user:secret``."""

    login: str = ""
    port: int = 0
    seen: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                if not (part := client.recv(65_536)):
                    return
                head += part
            first, _, rest = head.partition(b"\r\n")
            method, target, version = first.decode().split()
            self.seen.append(f"{method} {target}")
            wanted = base64.b64encode(self.login.encode())
            if self.login and b"Proxy-Authorization: Basic " + wanted not in head:
                client.sendall(_REFUSED)
                return
            connect = method == "CONNECT"
            place = urlsplit(f"//{target}" if connect else target)
            with socket.create_connection((str(place.hostname), int(place.port or 80))) as server:
                if connect:
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    path = target.split(place.netloc, 1)[1]
                    server.sendall(f"{method} {path} {version}\r\n".encode() + rest)
                back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                back.start()
                _pump(client, server)
                back.join(5)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def proxy(login: str = "") -> Iterator[Proxy]:
    made = Proxy(login)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made.port = listener.getsockname()[1]

        def listen() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=made.serve, args=(client,), daemon=True).start()

        threading.Thread(target=listen, daemon=True).start()
        yield made
        listener.shutdown(socket.SHUT_RDWR)
