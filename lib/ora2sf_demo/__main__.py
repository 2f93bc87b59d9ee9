"""``python -m ora2sf_demo``: run the main job on the demo servers, or keep them up for your own work."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from ora2sf_demo.servers import servers

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = {
    "01_extract": "from Oracle to staged batches",
    "02_upload": "from the batches to Salesforce",
    "03_reconcile": "do the books balance?",
}
TABLE = "product_price"


def main() -> int:
    """Parses the command line and runs it; returns the exit code."""
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with servers(arguments.state, arguments.products) as connections:
            os.environ["ORA2SF_CONNECTIONS"] = str(connections)
            os.environ.setdefault("ORA2SF_HOME", str(ROOT))
            return int(arguments.action(arguments))
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ora2sf_demo", description=__doc__)
    parser.add_argument(
        "--state", type=Path, default=ROOT / ".demo", help="folder that keeps source and org (default: .demo)"
    )
    parser.add_argument(
        "--products", type=int, default=100_000, help="products in the source (default: 100000)"
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    run = actions.add_parser("run", help="run the three notebooks with papermill and print the balance")
    run.add_argument("--run-id", default="", help="a new one by default; an earlier one resumes")
    run.add_argument("--outputs", default="outputs", help="folder of runs (default: outputs)")
    run.set_defaults(action=_run)
    serve = actions.add_parser("serve", help="keep the servers up until Ctrl-C")
    serve.set_defaults(action=_serve)
    command = actions.add_parser("with", help="run a command while the servers are up")
    command.add_argument("command", nargs=argparse.REMAINDER, help="the command and its arguments")
    command.set_defaults(action=lambda a: subprocess.run(a.command, check=False).returncode)
    return parser


def _serve(_: argparse.Namespace) -> int:
    print("The demo servers are up. In another terminal:\n")
    print(f"  export ORA2SF_CONNECTIONS={os.environ['ORA2SF_CONNECTIONS']}\n\nCtrl-C ends them.", flush=True)
    signal.pause()
    return 0


def _run(arguments: argparse.Namespace) -> int:
    import papermill  # takes seconds, which --help and serve need not wait for
    import scrapbook
    from papermill.exceptions import PapermillExecutionError

    run_id = arguments.run_id or f"demo-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}"
    folder = ROOT / arguments.outputs / run_id / TABLE
    folder.mkdir(parents=True, exist_ok=True)
    for name, meaning in NOTEBOOKS.items():
        print(f"{name}: {meaning}", flush=True)
        try:
            papermill.execute_notebook(
                str(ROOT / "notebooks" / f"{name}.ipynb"),
                str(folder / f"{name}.ipynb"),
                parameters={"run_id": run_id, "table": TABLE, "outputs": arguments.outputs},
                engine_name="ora2sf",
            )
        except PapermillExecutionError as error:
            print(f"\n{name} failed: {error.evalue}\nRead {folder / name}.html", file=sys.stderr)
            print(f"Resume with: make demo RUN_ID={run_id}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print(f"\nStopped in {name}. Go on with: make demo RUN_ID={run_id}", file=sys.stderr)
            return 130
    _print(run_id, folder, scrapbook.read_notebook(str(folder / "03_reconcile.ipynb")).scraps["balance"].data)
    return 0


def _print(run_id: str, folder: Path, books: dict[str, Any]) -> None:
    lines = (
        ("source", books["source"], "rows of the join in Oracle (COUNT)"),
        ("staged", books["staged"], "converted and written to batches"),
        ("rejected", books["rejected"], "refused before upload, each with its reason"),
        ("successful", books["success"], f"{books['created']:,} created, {books['updated']:,} updated"),
        ("failed", books["failed"], "refused by Salesforce, each with its error"),
        ("target", books["target_after"], f"COUNT in Salesforce; {books['target_before']:,} before this run"),
    )
    print(f"\nRun {run_id}, table {TABLE}: {books['verdict']}. The books balance.\n")
    for name, number, meaning in lines:
        print(f"  {name:<11}{number:>9,}  {meaning}")
    where = os.path.relpath(folder)
    print(
        f"\nRead      {where}/03_reconcile.html\nLogs      {where}/salesforce/logs/\nAgain     make demo RUN_ID={run_id}"
    )


if __name__ == "__main__":
    sys.exit(main())
