"""The way to a server, step by step: its name, its port, TLS. Each step has a time limit."""

from __future__ import annotations

import datetime as dt
import http.client
import re
import socket
import ssl
from base64 import b64encode
from urllib.parse import unquote, urlsplit

from ora2sf.deadline import NoAnswerInTime
from ora2sf.doctor.findings import Checklist, in_time

#: Seconds for a connection, and for each answer in a handshake.
SECONDS = 10.0
#: A certificate that ends so soon is told.
_SOON = dt.timedelta(days=30)
#: What OpenSSL says of a certificate → what to do.
_CERTIFICATES = {
    "expired": "Have the server's certificate renewed; if it is a proxy's, that one. Check this machine's clock.",
    "not yet valid": "Check this machine's clock.",
    "mismatch": "Use the name that the certificate is for as host.",
    "": "Give the authority that signed it as extra ca_file (a company's proxy may sign in the server's place).",
}


def reach(checks: Checklist, host: str, port: int) -> bool:
    """Whether the name is known and the port open; a line for each."""
    try:
        found = in_time(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except OSError as error:
        fix = "Check host; if it is right, the name service (a VPN that is not up?)."
        checks.problem("name", f"{host} is not known: {error.strerror}", fix)
        checks.skipped("port", f"{host} has no address")
        return False
    except NoAnswerInTime as error:
        checks.failed("name", error)
        checks.skipped("port", f"{host} has no address")
        return False
    checks.ok("name", f"{host} is {', '.join(dict.fromkeys(str(one[4][0]) for one in found))}")
    return _opens(checks, host, port)


def _opens(checks: Checklist, host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=SECONDS).close()
    except TimeoutError:
        fix = "A firewall drops the connection: ask for the way from this machine to that host and port, or name a proxy."
        checks.problem("port", f"{host}:{port} does not answer in {SECONDS:g} seconds", fix)
        return False
    except OSError as error:
        fix = "Check host and port; the server may be down, or listen elsewhere."
        checks.problem("port", f"{host}:{port}: {error.strerror or error}", fix)
        return False
    checks.ok("port", f"{host}:{port} is open")
    return True


def handshake(
    checks: Checklist, host: str, port: int, trust: ssl.SSLContext, proxy: str | None = None
) -> bool:
    """Whether a TLS handshake succeeds, through a proxy if there is one, and how long its certificate lasts."""
    try:
        version, ends = _shake(host, port, trust, proxy)
    except ssl.SSLCertVerificationError as error:
        said = error.verify_message
        fix = next(fix for part, fix in _CERTIFICATES.items() if part in said)
        checks.problem("TLS", f"the certificate of {host} is not trusted: {said}", fix)
    except TimeoutError:
        checks.problem(
            "TLS", f"{host}:{port} does not answer to a handshake", "Check that the port speaks TLS."
        )
    except ssl.SSLError as error:
        checks.problem(
            "TLS", f"no handshake with {host}:{port}: {error.reason}", "Check that the port speaks TLS."
        )
    except OSError as error:
        _no_tunnel(checks, host, port, str(error.strerror or error))
    else:
        return _of_certificate(checks, version, ends)
    return False


def _no_tunnel(checks: Checklist, host: str, port: int, said: str) -> None:
    fix = "Check that the port speaks TLS, and what stands between."
    if refused := re.search(r"Tunnel connection failed: (\d+)", said):
        fix = (
            "Give proxy_login and proxy_password."
            if refused[1] == "407"
            else "Ask who runs the proxy to let it pass."
        )
    checks.problem("TLS", f"no handshake with {host}:{port}: {said}", fix)


def _shake(host: str, port: int, trust: ssl.SSLContext, proxy: str | None) -> tuple[str, str]:
    """Protocol and end of the certificate, as text."""
    way = urlsplit(proxy or f"//{host}:{port}")
    connection = http.client.HTTPSConnection(str(way.hostname), way.port, timeout=SECONDS, context=trust)
    if proxy:
        user = f"{unquote(way.username or '')}:{unquote(way.password or '')}".encode()
        headers = {"Proxy-Authorization": f"Basic {b64encode(user).decode()}"} if way.username else {}
        connection.set_tunnel(host, port, headers)
    try:
        connection.connect()
        assert isinstance(connection.sock, ssl.SSLSocket)
        certificate = connection.sock.getpeercert() or {}
        return str(connection.sock.version()), str(certificate.get("notAfter", ""))
    finally:
        connection.close()


def _of_certificate(checks: Checklist, version: str, ends: str) -> bool:
    until = dt.datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), dt.UTC) if ends else None
    said = f"{version}, certificate until {until:%Y-%m-%d}" if until else version
    if until and until - dt.datetime.now(dt.UTC) < _SOON:
        checks.warning("TLS", said, "It ends soon: ask for a new one before a long run.")
    else:
        checks.ok("TLS", said)
    return True


def clock(checks: Checklist, theirs: dt.datetime, about: str = "") -> None:
    """A server's clock beside this machine's; ``theirs`` in UTC, ``about`` what else to say of it."""
    apart = (theirs - dt.datetime.now(dt.UTC)).total_seconds()
    said = f"{theirs:%Y-%m-%d %H:%M:%S} UTC there, {abs(apart):.0f} seconds {'ahead of' if apart > 0 else 'behind'} this machine"
    if abs(apart) > _APART:
        checks.warning(
            "clock",
            f"{said}{about}",
            "Set the clock that is wrong (NTP): windows and daily limits go by them.",
        )
    else:
        checks.ok("clock", f"{said}{about}")


#: Seconds by which clocks may differ; a server's answer is a second old itself.
_APART = 60
