"""The notebooks of one slice, run with papermill into its folder; as a process of its own: ``python -m ora2sf.notebooks``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ora2sf.connections import project_root
from ora2sf.errors import Exit, exit_of
from ora2sf.private import private_files
from ora2sf.redaction import redactor
from ora2sf.standing import standing

#: What a verdict of ``03_reconcile`` may be for a slice that others can build on.
GOOD = frozenset(
    {"proven", "complete", "complete with exceptions", "nothing to do", "trial", "trial with exceptions"}
)
_CAN_BE_RESUMED = frozenset({"stopped, can be resumed", "interrupted, can be resumed", "paused by budget"})
#: Seconds for a notebook to end after whoever started it has gone.
_GRACE_SECONDS = 60


def execute(name: str, folder: Path, parameters: Mapping[str, Any], *, progress_bar: bool = True) -> None:
    """Runs one notebook into the folder of its slice; what it raises is raised."""
    import papermill  # takes seconds, which nothing else here needs to wait for

    with private_files():
        folder.mkdir(parents=True, exist_ok=True)
    papermill.execute_notebook(
        str(project_root() / "notebooks" / f"{name}.ipynb"),
        str(folder / f"{name}.ipynb"),
        parameters=dict(parameters),
        engine_name="ora2sf",
        progress_bar=progress_bar,
    )


def name_of(error: Exception) -> str:
    """The name of the error that a notebook raised, else of the one that kept it from its end."""
    return str(getattr(error, "ename", "") or type(error).__name__)


def reason(error: Exception) -> str:
    """The notebook's own words if it raised an error, else what became of its kernel."""
    if text := getattr(error, "evalue", ""):
        return str(text)
    if type(error).__name__ == "DeadKernelError":
        return "its kernel died; perhaps it was killed, or memory ran out."
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def noted(folder: Path) -> dict[str, Any]:
    """What ``status.json`` says; nothing if it is not there or not whole."""
    try:
        found: dict[str, Any] = json.loads((folder / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def settled(folder: Path) -> dict[str, Any] | None:
    """What ``03_reconcile`` noted as its verdict, with the numbers; None if the slice has not come to that."""
    found = noted(folder)
    return found if found.get("step") == "03_reconcile" and "staged" in found else None


def can_be_resumed(folder: Path) -> bool:
    """Whether what stopped the slice may be gone later; a process that was killed says nothing, and that is seen."""
    return standing(folder).state in _CAN_BE_RESUMED


def end_with_parent() -> None:
    """Asks this process to end when the other end of stdin is closed, as the system does for whoever is killed."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_GRACE_SECONDS)
    os._exit(Exit.INTERRUPTED)


def main() -> int:
    """Runs the notebooks that the command line names, one after the other; returns the exit code of the first error."""
    parser = argparse.ArgumentParser(prog="python -m ora2sf.notebooks")
    parser.add_argument(
        "--end-with-parent", action="store_true", help="stdin is a pipe that the parent holds"
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("parameters", help="as JSON")
    parser.add_argument("names", nargs="+")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if given.end_with_parent:
        threading.Thread(target=end_with_parent, daemon=True).start()
    for name in given.names:
        try:
            execute(name, given.folder, json.loads(given.parameters), progress_bar=False)
        except KeyboardInterrupt:
            return Exit.INTERRUPTED
        except Exception as error:  # noqa: BLE001 - whatever it is, it is said, and the slice ends here
            print(redactor().clean(f"{name}: {reason(error)}"), file=sys.stderr)
            return exit_of(name_of(error))
    return Exit.COMPLETE


if __name__ == "__main__":
    sys.exit(main())
