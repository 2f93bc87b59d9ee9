"""Every table of the catalogue as one campaign, as an operator would run it: the command, then the notebook that shows it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from ora2sf import cli, notebooks, planfile
from ora2sf.errors import Exit
from ora2sf.notebooks import reason
from ora2sf_demo.notebooks import ROOT, count

_NUMBERS = ("source", "staged", "rejected", "success", "failed")


def run_all(run_id: str, outputs: str, slice_rows: int, resume: str) -> int:
    """Carries the campaign out and prints a line for each slice; the exit code of the worst one.

    Args:
        slice_rows: most rows of a slice; larger tables are cut into windows.
        resume: the command that goes on.
    """
    print(f"$ ora2sf run --all --run-id {run_id} --slice-rows {slice_rows}\n", flush=True)
    code = cli.main(
        ["run", "--all", "--run-id", run_id, "--outputs", outputs, "--slice-rows", str(slice_rows)]
    )
    run = ROOT / outputs / run_id
    if code == Exit.INTERRUPTED or not planfile.path_of(run).exists():
        print(f"Go on with: {resume}", file=sys.stderr)
        return code
    folder = run / planfile.FOLDER
    try:
        notebooks.execute("05_campaign", folder, {"run_id": run_id, "outputs": outputs}, progress_bar=False)
    except Exception as error:  # noqa: BLE001 - whatever it is, the campaign itself has ended
        print(f"05_campaign failed: {reason(error)}", file=sys.stderr)
        return code or Exit.FAILED
    _print(folder)
    print(f"\nRead      {os.path.relpath(folder)}/report.html\nAgain     {resume}")
    return code


def _print(folder: Path) -> None:
    """The table of the campaign's report."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    width = max(len(one["slice"]) for one in report["slices"])
    heads = "".join(f"{name:>12}" for name in ("rows", "staged", "rejected", "successful", "failed"))
    print(f"\n  phase  {'slice':<{width}}{heads}  verdict")
    for one in report["slices"]:
        print(f"  {one['phase']:>5}  {one['slice']:<{width}}{_numbers(one['counts'])}  {one['state']}")
    print(f"  {'':>5}  {'all':<{width}}{_numbers(report['totals'])}\n\n{report['verdict']['sentence']}")


def _numbers(counts: dict[str, int | None]) -> str:
    return "".join(f"{'-' if counts[name] is None else count(counts[name]):>12}" for name in _NUMBERS)
