"""The three notebooks of one table, run with papermill, and what they leave to be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = {
    "01_extract": "from Oracle to staged batches",
    "02_upload": "from the batches to Salesforce",
    "03_reconcile": "do the books balance?",
}


def execute(name: str, folder: Path, parameters: dict[str, str], *, progress_bar: bool = True) -> None:
    """Runs one notebook into the folder of its table."""
    import papermill  # takes seconds, which --help and serve need not wait for

    papermill.execute_notebook(
        str(ROOT / "notebooks" / f"{name}.ipynb"),
        str(folder / f"{name}.ipynb"),
        parameters=parameters,
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


def settled(folder: Path) -> dict[str, Any] | None:
    """What ``03_reconcile`` noted as its verdict, with the numbers; None if the table has not come to that."""
    try:
        found: dict[str, Any] = json.loads((folder / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if found.get("step") == "03_reconcile" and "staged" in found else None


def count(number: int | None) -> str:
    """A number of rows for people."""
    return "unknown" if number is None else f"{number:,}"


def again(target: str, run_id: str, outputs: str, given: str) -> str:
    """The command that goes on with a run; ``given`` is what was said of the servers, as make takes it."""
    where = "" if outputs == "outputs" else f" OUTPUTS={outputs}"
    return f"make {target} RUN_ID={run_id}{where}{given}"
