"""The org's clock: real time plus what was pushed. Nothing in this package sleeps to let time pass."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Lock


class Clock:
    """UTC time that a test can push forward."""

    def __init__(self) -> None:
        self._offset = timedelta()
        self._lock = Lock()

    def now(self) -> datetime:
        """The org's time, UTC."""
        return datetime.now(UTC) + self._offset

    def push(self, seconds: float) -> None:
        """Move the org's time forward (tokens expire, daily limits roll, results age out)."""
        with self._lock:
            self._offset += timedelta(seconds=seconds)


def stamp(moment: datetime) -> str:
    """Stored form of a moment: ``2026-01-31T09:00:00.000Z``; sorts as text."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def wire(stored: str) -> str:
    """Salesforce's JSON form of a stored moment: ``2026-01-31T09:00:00.000+0000`` (documented)."""
    return stored[:-1] + "+0000"
