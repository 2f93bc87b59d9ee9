"""The org's clock: real time plus what was pushed. Nothing in this package sleeps to let time pass."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Lock


class Clock:
    """UTC time that a test can push forward; ``start`` is what it shows at first."""

    def __init__(self, start: datetime | None = None) -> None:
        self._offset = start - datetime.now(UTC) if start else timedelta()
        self._lock = Lock()

    def now(self) -> datetime:
        """The org's time, UTC."""
        return datetime.now(UTC) + self._offset

    def push(self, seconds: float) -> None:
        """Move the org's time forward (tokens expire, daily limits roll, results age out).

        Raises ValueError or OverflowError, and changes nothing, outside the years 1970 to 9000.
        """
        with self._lock:
            offset = self._offset + timedelta(seconds=seconds)
            if not 1970 <= (datetime.now(UTC) + offset).year <= 9000:  # what is computed from it must fit too
                raise ValueError(f"the clock cannot be pushed by {seconds} seconds: it stays in 1970 to 9000")
            self._offset = offset


def stamp(moment: datetime) -> str:
    """Stored form of a moment: ``2026-01-31T09:00:00.000Z``; sorts as text."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def wire(stored: str) -> str:
    """Salesforce's JSON form of a stored moment: ``2026-01-31T09:00:00.000+0000`` (documented)."""
    return stored[:-1] + "+0000"
