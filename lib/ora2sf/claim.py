"""Who works on a slice: a process that can be told from every other one, and whether it is gone for certain.

The claim itself is a row of the slice's ledger (:meth:`ora2sf.ledger.Ledger.claimed`).
"""

from __future__ import annotations

import datetime as dt
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

#: Seconds between two heartbeats of a process that holds a slice.
BEAT = 5.0
#: Seconds in which a heartbeat does not move, as the process that waits sees it, before the slice is taken over.
PATIENCE = 60.0
#: Seconds between two looks at it.
LOOK = 0.2
Life = Literal["alive", "gone", "unknown"]
_PROC = Path("/proc")
_STATE, _BEGUN = 3, 22  # fields of /proc/<pid>/stat: state; start, in ticks since boot (proc(5))


@dataclass(frozen=True)
class Holder:
    """A process that holds a slice.

    Attributes:
        place: this boot of this machine and its namespace of process ids; empty where the system does not tell.
        begun: when the process began, in the system's own count; a number that is used again begins later.
        since: when it took the slice, UTC, by its own clock.
    """

    host: str
    place: str
    pid: int
    begun: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} (since {self.since[:19]} UTC)"

    @property
    def life(self) -> Life:
        """Whether the process still lives; of one elsewhere nobody can know."""
        if not self.place or self.place != _place():
            return "unknown"
        return "alive" if _begun(self.pid) == self.begun else "gone"


def this_process() -> Holder:
    """The holder that this process is, from now on."""
    return Holder(socket.gethostname(), _place(), os.getpid(), _begun(os.getpid()), now())


def now() -> str:
    """This moment by this machine's clock, as :func:`written`."""
    return written(dt.datetime.now(dt.UTC))


def written(moment: dt.datetime) -> str:
    """A moment as ledger, status and report write it: UTC, in milliseconds; it sorts as text."""
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _place() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _begun(pid: int) -> str:
    """When a process began; empty if there is none, or only what its parent has not yet taken note of."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    words = stat.rpartition(")")[2].split()  # the command in brackets, field 2, may hold blanks
    return "" if words[0] in {"Z", "X"} else words[_BEGUN - _STATE]


class Watch:
    """Looks at a heartbeat by this process's own clock: the clocks of two machines are never compared."""

    def __init__(self) -> None:
        self._seen: object = None
        self._since = 0.0

    def moved(self, beat: object) -> bool:
        """The heartbeat is another than at the first look: somebody is alive."""
        if self._seen is None:
            self._seen, self._since = beat, time.monotonic()
        return beat != self._seen

    @property
    def silent(self) -> bool:
        """It has been watched for as long as anybody waits."""
        return time.monotonic() - self._since >= PATIENCE
