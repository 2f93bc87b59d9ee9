"""``python -m ora2sf_demo``: run the main job on the demo servers, or keep them up for your own work."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ora2sf.errors import VERDICTS, Exit, exit_of
from ora2sf.notebooks import execute, name_of, reason
from ora2sf.private import private_files
from ora2sf_demo.notebooks import NOTEBOOKS, ROOT, again, count
from ora2sf_demo.servers import servers

TABLE = "product_price"
STATE, PRODUCTS = ROOT / ".demo", 100_000
#: The sales lines are cut into about so many windows, other large tables into fewer.
WINDOWS = 5


def main() -> int:
    """Parses the command line and runs it; returns the exit code (:class:`ora2sf.errors.Exit`)."""
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with servers(arguments.state, arguments.products, arguments.rows or arguments.lines) as connections:
            os.environ["ORA2SF_CONNECTIONS"] = str(connections)
            os.environ.setdefault("ORA2SF_HOME", str(ROOT))
            return int(arguments.action(arguments))
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return Exit.INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ora2sf_demo", description=__doc__)
    parser.add_argument(
        "--state", type=Path, default=STATE, help="folder that keeps source and org (default: .demo)"
    )
    parser.add_argument(
        "--products", type=_at_least_one, default=PRODUCTS, help="products in the source (default: 100000)"
    )
    parser.add_argument(
        "--rows",
        type=_at_least_one,
        help="sales lines in the source (default: no sales history; all, with: 20000)",
    )
    parser.set_defaults(lines=0)
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    run = actions.add_parser("run", help="run the three notebooks with papermill and print the balance")
    run.set_defaults(action=_run)
    whole = actions.add_parser(
        "all", help="run every table file as one campaign, and print a line for each slice"
    )
    whole.set_defaults(action=_all, lines=20_000)
    for action in (run, whole):
        action.add_argument("--run-id", type=_run_id, help="a new one by default; an earlier one resumes")
        action.add_argument("--outputs", default="outputs", help="folder of runs (default: outputs)")
    serve = actions.add_parser("serve", help="keep the servers up until Ctrl-C")
    serve.set_defaults(action=_serve)
    command = actions.add_parser("with", help="run a command while the servers are up")
    command.add_argument("command", nargs=argparse.REMAINDER, help="the command and its arguments")
    command.set_defaults(action=lambda a: subprocess.run(a.command, check=False).returncode, lines=20_000)
    return parser


def _run_id(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,80}", text) or set(text) <= {"."}:
        raise argparse.ArgumentTypeError(f"{text!r} cannot name a folder: use letters, digits, _ . and -")
    return text


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _serve(_: argparse.Namespace) -> int:
    print("The demo servers are up. In another terminal:\n")
    print(f"  export ORA2SF_CONNECTIONS={os.environ['ORA2SF_CONNECTIONS']}\n\nCtrl-C ends them.", flush=True)
    signal.pause()
    return 0


def _all(arguments: argparse.Namespace) -> int:
    from ora2sf_demo.campaign import run_all  # it brings the library, which the others do without

    run_id = arguments.run_id or f"all_{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}"
    slice_rows = max(1, (arguments.rows or arguments.lines) // WINDOWS)
    resume = again("demo-all", run_id, arguments.outputs, _given(arguments))
    return run_all(run_id, arguments.outputs, slice_rows, resume)


def _run(arguments: argparse.Namespace) -> int:
    run_id = arguments.run_id or f"demo_{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}"
    outputs = arguments.outputs
    folder = ROOT / outputs / run_id / TABLE
    resume = again("demo", run_id, outputs, _given(arguments))
    try:
        with private_files():
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"The folder {folder} cannot be made: {error.strerror}. Correct OUTPUTS.", file=sys.stderr)
        return Exit.CONFIGURATION
    for name, meaning in NOTEBOOKS.items():
        print(f"{name}: {meaning}", flush=True)
        try:
            execute(name, folder, {"run_id": run_id, "table": TABLE, "outputs": outputs})
        except KeyboardInterrupt:
            print(f"\nStopped in {name}. Go on with: {resume}", file=sys.stderr)
            return Exit.INTERRUPTED
        except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on from here
            print(f"\n{name} failed: {reason(error)}", file=sys.stderr)
            if (folder / f"{name}.html").is_file():
                print(f"Read {folder / name}.html", file=sys.stderr)
            print(f"Resume with: {resume}", file=sys.stderr)
            return exit_of(name_of(error))
    return _print(run_id, folder, resume)


def _given(arguments: argparse.Namespace) -> str:
    """What was said of the servers, as make takes it: without it they would be others, or filled anew."""
    said = {
        "STATE": arguments.state if arguments.state != STATE else None,
        "PRODUCTS": arguments.products if arguments.products != PRODUCTS else None,
        "ROWS": arguments.rows,
    }
    return "".join(f" {name}={value}" for name, value in said.items() if value is not None)


def _print(run_id: str, folder: Path, resume: str) -> int:
    """Prints the books; returns the exit code of their verdict."""
    import scrapbook

    scraps = scrapbook.read_notebook(str(folder / "03_reconcile.ipynb")).scraps
    books = scraps["balance"].data
    complete = str(books["verdict"]).startswith(("proven", "complete"))
    words = "The books balance." if complete else "Read the notebook before you go on."
    print(f"\nRun {run_id}, table {TABLE}: {books['verdict']}. {words}\n")
    compared = scraps["comparison"].data if "comparison" in scraps else {}
    for name, number, meaning in _lines(books, compared):
        print(f"  {name:<11}{count(number):>9}  {meaning}")
    where = os.path.relpath(folder)
    print(f"\nRead      {where}/report.html\nLogs      {where}/salesforce/logs/\nAgain     {resume}")
    return VERDICTS[books["verdict"]]


def _lines(books: dict[str, Any], compared: dict[str, Any]) -> Iterator[tuple[str, int | None, str]]:
    yield "source", books["source"], "rows of the join in Oracle (COUNT)"
    yield "staged", books["staged"], "converted and written to batches"
    yield "rejected", books["rejected"], "refused before upload, each with its reason"
    created, updated = count(books["created"]), count(books["updated"])
    yield "successful", books["success"], f"{created} created, {updated} updated"
    yield "failed", books["failed"], "refused by Salesforce, each with its error"
    before = count(books["target_before"])
    yield "target", books["target_after"], f"COUNT in Salesforce; {before} before this run"
    if compared.get("mode") == "full":
        equal = compared["looked_at"] - compared["missing"] - compared["different"]
        yield "equal", equal, "read back from Salesforce, the same in every value"


if __name__ == "__main__":
    sys.exit(main())
