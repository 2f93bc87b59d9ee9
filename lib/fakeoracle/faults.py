"""Faults that a test switches on; each fires once and then switches itself off."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Literal

How = Literal["fin", "rst", "half"]


@dataclass
class Faults:
    """Set an attribute to arm a fault. Fetch calls are counted from 1, over all connections, from the moment of arming.

    A fetch call is a round trip that only asks for more rows: the rows that come with the answer to an execute are
    not one. So with `fetch_df_batches(size=n)` fetch call 1 is the second batch.
    """

    drop_how: How = "fin"
    """How a connection is dropped: `fin` (closed), `rst` (reset) or `half` (half a packet, then closed)."""
    refuse_connections: bool = False
    """Answer every CONNECT with a refusal (DPY-6000); stays on until switched off."""
    _drop_at: int | None = None
    _error_at: tuple[int, int, str] | None = None
    _slow_at: tuple[int, float] | None = None
    _fetches: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def drop_at_fetch(self) -> int | None:
        """Drop the connection instead of answering this fetch call."""
        return self._drop_at

    @drop_at_fetch.setter
    def drop_at_fetch(self, call: int | None) -> None:
        with self._lock:
            self._drop_at, self._fetches = call, 0

    @property
    def error_at_fetch(self) -> tuple[int, int, str] | None:
        """(call, ORA number, text): answer this fetch call with that error."""
        return self._error_at

    @error_at_fetch.setter
    def error_at_fetch(self, fault: tuple[int, int, str] | None) -> None:
        with self._lock:
            self._error_at, self._fetches = fault, 0

    @property
    def slow_at_fetch(self) -> tuple[int, float] | None:
        """(call, seconds): answer this fetch call late; the client's break is heard meanwhile."""
        return self._slow_at

    @slow_at_fetch.setter
    def slow_at_fetch(self, fault: tuple[int, float] | None) -> None:
        with self._lock:
            self._slow_at, self._fetches = fault, 0

    def at_fetch(self) -> FetchFault:
        """Count one fetch call and return what shall happen to it."""
        with self._lock:
            self._fetches += 1
            hit = FetchFault()
            if self._drop_at == self._fetches:
                hit.drop, self._drop_at = self.drop_how, None
            if self._error_at and self._error_at[0] == self._fetches:
                hit.error, self._error_at = self._error_at[1:], None
            if self._slow_at and self._slow_at[0] == self._fetches:
                hit.delay, self._slow_at = self._slow_at[1], None
            return hit


@dataclass
class FetchFault:
    """What shall happen to one fetch call."""

    drop: How | None = None
    error: tuple[int, str] | None = None
    delay: float = 0.0
