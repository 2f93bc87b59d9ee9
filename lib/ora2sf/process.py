"""Which process is at work, said so that another one can see later whether it still is."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

Life = Literal["alive", "gone", "unknown"]
_PROC = Path("/proc")
_STATE, _BEGUN = 3, 22  # fields of /proc/<pid>/stat: state; start, in ticks since boot (proc(5))


def this_process() -> dict[str, Any]:
    """This process: ``host``, ``pid``, ``place`` (this boot, this namespace of process ids), ``begun`` (in the system's count)."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "place": _place(), "begun": _begun(os.getpid())}


def life(process: Mapping[str, Any]) -> Life:
    """Whether what :func:`this_process` described still lives; unknown if that cannot be seen from here."""
    place, pid, begun = process.get("place"), process.get("pid"), process.get("begun")
    if not place or place != _place() or not isinstance(pid, int):
        return "unknown"
    return "alive" if _begun(pid) == begun else "gone"


def _place() -> str:
    """Where a process id means one process: empty where the system does not tell."""
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


def lock_is_held(path: Path) -> bool:
    """Whether a process of this machine holds the lock on that file; only looked at, because a try would take it.

    The kernel lists the locks (proc_locks(5)); where there is no such list, the recorded process alone tells.
    """
    try:
        found = path.stat()
        lines = (_PROC / "locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    file = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    return any(file in line.split() and "->" not in line.split() for line in lines)
