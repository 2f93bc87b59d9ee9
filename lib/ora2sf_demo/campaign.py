"""Every table of the catalogue through its three notebooks, in order, one line per table."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ora2sf import notebooks
from ora2sf.errors import VERDICTS, Exit, exit_of, worst
from ora2sf.notebooks import GOOD, reason, settled
from ora2sf.tables import TableConfig
from ora2sf_demo.notebooks import NOTEBOOKS, ROOT, again, count

_COLUMNS = (
    ("rows", "source"),
    ("staged", "staged"),
    ("rejected", "rejected"),
    ("successful", "success"),
    ("failed", "failed"),
)


def run_all(run_id: str, outputs: str, configs: Sequence[TableConfig], given: str = "") -> int:
    """Runs the tables in the order given and prints a line for each; a table that was settled earlier is not run again.

    Args:
        given: what was said of the servers, for the command that goes on with the run.

    Returns:
        The exit code of the worst table (:class:`ora2sf.errors.Exit`).
    """
    width = max(len(config.table) for config in configs)
    heads = "".join(f"{name:>12}" for name, _ in _COLUMNS)
    print(f"Run {run_id}, {len(configs)} tables.\n\n  phase  {'table':<{width}}{heads}  verdict", flush=True)
    bad: set[str] = set()
    codes: list[Exit] = []
    resume = again("demo-tables", run_id, outputs, given)
    for config in configs:
        folder = ROOT / outputs / run_id / config.table
        try:
            found = _books(config, folder, {"run_id": run_id, "outputs": outputs}, bad)
        except KeyboardInterrupt:
            print(f"\nStopped in {config.table}. Go on with: {resume}", file=sys.stderr)
            return Exit.INTERRUPTED
        codes.append(found["exit"] if "exit" in found else VERDICTS[found["state"]])
        if found["state"] not in GOOD:
            bad.add(config.table)
        numbers = "".join(f"{count(found[key]) if key in found else '-':>12}" for _, key in _COLUMNS)
        print(f"  {config.phase:>5}  {config.table:<{width}}{numbers}  {found['state']}", flush=True)
    print(f"\n{_ending(bad)}\n\nRead      {_where(outputs, run_id)}\nAgain     {resume}")
    return worst(codes)


def _books(config: TableConfig, folder: Path, parameters: dict[str, str], bad: set[str]) -> dict[str, Any]:
    """The table's verdict and numbers: of an earlier run of its notebooks, or of this one."""
    if (found := settled(folder)) and found["state"] in GOOD:
        return found
    if missing := sorted(bad & set(config.depends_on)):
        return {"state": f"not run: it needs {', '.join(missing)}", "exit": Exit.INTERRUPTED}
    for name in NOTEBOOKS:
        try:
            given = parameters | {"table": config.table}
            notebooks.execute(name, folder, given, progress_bar=False)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other tables go on
            print(f"{config.table}: {name} failed: {reason(error)}", file=sys.stderr)
            return {"state": f"{name} failed", "exit": exit_of(notebooks.name_of(error))}
    return settled(folder) or {"state": "no verdict", "exit": Exit.FAILED}


def _ending(bad: set[str]) -> str:
    if bad:
        return (
            f"The books of {len(bad)} table(s) do not balance or are not complete: {', '.join(sorted(bad))}."
        )
    return "The books of every table balance."


def _where(outputs: str, run_id: str) -> str:
    return f"{os.path.relpath(ROOT / outputs / run_id)}/<table>/report.html"
