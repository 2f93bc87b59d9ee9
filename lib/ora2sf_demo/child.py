"""``python -m ora2sf_demo.child MODULE …``: ``python -m MODULE …``, which ends when its parent does.

The parent holds the other end of stdin. However it dies, the system closes that end; then this process gets
a SIGTERM from itself.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading

_GRACE_SECONDS = 5  # notebooks that outlive the parent may keep a server busy


def main() -> None:
    """Runs the module that the command line names."""
    del sys.argv[0]
    threading.Thread(target=_end_with_parent, daemon=True).start()
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_GRACE_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
