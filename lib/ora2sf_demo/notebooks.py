"""The three notebooks of one table, and the words of the demo about them."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = {
    "01_extract": "from Oracle to staged batches",
    "02_upload": "from the batches to Salesforce",
    "03_reconcile": "do the books balance?",
}


def count(number: int | None) -> str:
    """A number of rows for people."""
    return "unknown" if number is None else f"{number:,}"


def again(target: str, run_id: str, outputs: str, given: str) -> str:
    """The command that goes on with a run; ``given`` is what was said of the servers, as make takes it."""
    where = "" if outputs == "outputs" else f" OUTPUTS={outputs}"
    return f"make {target} RUN_ID={run_id}{where}{given}"
