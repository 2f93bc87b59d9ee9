"""Files for their owner alone: what a run writes holds rows of the source, and a shared machine has other users."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_OWNER_ONLY = 0o077
_lock = threading.Lock()
_inside = 0
_before = 0


@contextmanager
def private_files() -> Iterator[None]:
    """What this process creates meanwhile has mode 0600, folders 0700, whatever its umask is; also what libraries create.

    The umask belongs to the whole process, so blocks of several threads count as one. What exists keeps its mode.
    """
    global _inside, _before  # noqa: PLW0603 - as the umask itself
    with _lock:
        if _inside == 0:
            _before = os.umask(_OWNER_ONLY)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                os.umask(_before)
