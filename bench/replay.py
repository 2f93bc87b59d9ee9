"""Serves logins as fakeoracle does, and then what bench/fakeoracle.py recorded: `python -P bench/replay.py FILE`.

-P keeps this file's folder off the path, where bench/fakeoracle.py would hide the package of the same name.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fakeoracle import server as listener
from fakeoracle import session


def replay(path: Path) -> None:
    """Serve until the process is ended; after each login the recorded replies, one for each request."""
    lengths: list[int] = json.loads(path.with_suffix(".json").read_text())

    class Replay(session.Session):
        """A session whose calls are answered from the recording."""

        def _serve(self) -> None:
            if not self._connect():
                return
            self._negotiate()
            if not self._log_in():
                return
            channel = getattr(self, "_channel", self)
            take = getattr(channel, "next_packet", None) or channel._next_packet
            out = channel._socket
            with path.open("rb") as recorded:
                for start, length in zip(itertools.accumulate(lengths, initial=0), lengths, strict=False):
                    take()
                    out.sendfile(recorded, start, length)

    listener.Session = Replay  # type: ignore[misc,attr-defined]
    nothing: Any = SimpleNamespace(
        rollback=lambda: None, close=lambda: None, interrupt=lambda: None, in_transaction=False
    )
    listener.Database.open_session = lambda self, user: nothing  # type: ignore[method-assign]
    with listener.serve(users={"TMS": os.environ["FAKEORACLE_PASSWORD"]}) as running:
        print(json.dumps({"dsn": running.dsn}), flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    replay(Path(sys.argv[1]))
