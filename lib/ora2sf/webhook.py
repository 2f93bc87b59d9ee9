"""Tells a web address of the operator's choosing what became of a slice: one small JSON by POST (docs/log.md).

Beside :mod:`ora2sf.salesforce` the only user of ``requests``: the address belongs to no Salesforce, and gets no token of it.
A message never fails a run and never holds it up for more than a few seconds.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests

from ora2sf.claim import now
from ora2sf.connections import Connection, get_connection
from ora2sf.errors import ConnectionFieldError
from ora2sf.redaction import redactor

VERSION = 1
TRIES = 3
#: Seconds that a run waits at most, whatever the receiver does.
LONGEST = 8.0
_TIMEOUT = (1.5, 2.0)  # to connect; between two bytes of the answer
_FIRST_PAUSE = 0.25
_AGAIN = {408, 425, 429}


@dataclass(frozen=True)
class Sent:
    """What became of a message; ``reason`` is empty if the receiver took it, else a class of error or an HTTP status."""

    tries: int
    seconds: float
    reason: str = ""


def message(event: str, about: Mapping[str, Any], state: str) -> dict[str, Any]:
    """A message without secrets, with a key that is the same for the same event of the same state of the books.

    Args:
        event: ``verdict``, ``pause`` or ``failure``.
        about: what it says.
        state: a hash of the books.
    """
    same = [
        event,
        state,
        *(about.get(name) for name in ("run_id", "table", "window", "step", "verdict", "error")),
    ]
    key = hashlib.sha256(json.dumps(same).encode()).hexdigest()
    told: dict[str, Any] = redactor().clean(
        {"version": VERSION, "event": event, "key": key, "time": now(), **about}
    )
    return told


def address(connection: Connection) -> tuple[str, dict[str, str]]:
    """The address, and the headers that open it.

    A password that is an address is the whole of it, as services give out whose address is the secret; any other one goes as a
    bearer token to the address in ``host``.

    Raises:
        ConnectionFieldError: there is no web address, or it is plain http to another machine.
    """
    secret = connection.password.get_secret_value().strip()
    whole = secret if "://" in secret else connection.need("host", "the web address of the receiver")
    base = connection.model_copy(update={"host": whole}).base_url()
    parts = urlsplit(whole if "://" in whole else f"//{whole}")
    url = f"{base}{parts.path}{f'?{parts.query}' if parts.query else ''}"
    return url, {"Authorization": f"Bearer {secret}"} if secret and whole != secret else {}


def send(conn_id: str, told: Mapping[str, Any]) -> Sent:
    """Sends a message, three times at most; whatever goes wrong is in the answer."""
    begun = time.monotonic()
    try:
        url, headers = address(get_connection(conn_id))
    except ConnectionFieldError as error:
        return Sent(0, 0.0, type(error).__name__)
    ended: list[tuple[int, str]] = []
    # in a thread, because looking a name up knows no timeout, and a receiver may answer byte by byte
    work = threading.Thread(
        target=lambda: ended.append(_deliver(url, headers, told)), name="webhook", daemon=True
    )
    work.start()
    work.join(LONGEST)
    tries, reason = ended[0] if ended else (0, f"no answer in {LONGEST:g} seconds")
    return Sent(tries, round(time.monotonic() - begun, 3), reason)


def _deliver(url: str, headers: Mapping[str, str], told: Mapping[str, Any]) -> tuple[int, str]:
    """The number of tries, and why the last one failed."""
    reason, given = "", {**headers, "Idempotency-Key": str(told["key"]), "User-Agent": "ora2sf"}
    for number in range(1, TRIES + 1):
        try:
            answer = requests.post(
                url, json=dict(told), headers=given, timeout=_TIMEOUT, allow_redirects=False, stream=True,
                auth=lambda request: request,  # else ~/.netrc decides
            )  # fmt: skip
            answer.close()
        except Exception as error:  # noqa: BLE001 - no message is worth a run; its text may quote the address
            reason = type(error).__name__
        else:
            if answer.ok and answer.status_code < 300:
                return number, ""
            reason = f"HTTP {answer.status_code}"
            if answer.status_code < 500 and answer.status_code not in _AGAIN:
                return number, reason
        if number < TRIES:
            time.sleep(_FIRST_PAUSE * 2 ** (number - 1))
    return TRIES, reason
