"""The commands of a campaign: plan, run, status. What a command needs is imported when it runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ora2sf.errors import Exit, TableFileError, worst
from ora2sf.private import private_files
from ora2sf.terminal import number, print_columns

if TYPE_CHECKING:
    from ora2sf.plan import Plan

#: What RUN may be in a command that looks at a run.
RUN = "the run's id, its folder, or the folder of one slice in it"


def add_parsers(groups: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the commands."""
    _plan_parser(groups)
    _run_parser(groups)
    _status_parser(groups)


def _plan_parser(groups: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = groups.add_parser(
        "plan",
        help="count the source and plan a campaign; show or freeze its plan",
        description="Counts the source and plans a campaign (docs/campaign.md). Nothing is written to either side.",
    )
    parser.add_argument("run_id", metavar="RUN", help="names the campaign and its folder")
    parser.add_argument("--freeze", action="store_true", help="freeze the plan as it stands in its file")
    parser.add_argument("--show", action="store_true", help="show the plan that is there")
    parser.add_argument(
        "--tables", nargs="+", default=[], metavar="TABLE", help="tables to plan (default: all)"
    )
    for name, kind, text in (
        ("outputs", str, "folder of runs (default: outputs)"),
        ("since", str, "earlier campaign: read only what changed since its moment"),
        ("overlap", int, "seconds before that moment that are read once more (default: 3600)"),
        ("rates_from", str, "run whose ledgers tell how fast slices go (default: that of --since)"),
        ("slice_rows", int, "most rows of a slice (default: 5000000)"),
        ("sample_rows", int, "rows of each table from which its bytes are estimated (default: 1000)"),
        ("extracts_at_once", int, "slices read side by side (default: 2)"),
        ("loads_at_once", int, "slices sent side by side (default: 4)"),
        ("staged_mb", int, "most that lies staged and not yet sent (default: no bound)"),
        ("reserve", int, "percent of the org's limits left to others (default: 10)"),
        ("oracle_conn_id", str, "connection of the source"),
        ("sf_conn_id", str, "connection of the org"),
    ):
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=kind, metavar="N" if kind is int else "X", help=text)
    parser.set_defaults(action=_plan)


def _run_parser(groups: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = groups.add_parser(
        "run",
        help="carry a frozen plan out: read and send its slices side by side",
        description="Carries the frozen plan of a campaign out (docs/campaign.md). Ctrl-C parks it; --resume goes on.",
    )
    parser.add_argument("run_id", metavar="RUN", help="the campaign")
    parser.add_argument("--tables", nargs="+", default=[], metavar="TABLE", help="only these tables")
    parser.add_argument("--phase", type=int, metavar="N", help="only this phase")
    parser.add_argument("--resume", action="store_true", help="go on with a campaign that has begun")
    for name, text in (
        ("outputs", "folder of runs (default: outputs)"),
        ("oracle_conn_id", "connection of the source (default: oracle_tms)"),
        ("sf_conn_id", "connection of the org (default: salesforce_api)"),
    ):
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="X", help=text)
    parser.set_defaults(action=_run)


def _status_parser(groups: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = groups.add_parser(
        "status",
        help="say where each slice of a run stands; the exit code says it, too",
        description="Says where each slice of a run stands, also while it runs; the exit code says it, too.",
    )
    parser.add_argument("folder", metavar="RUN", help=RUN)
    parser.add_argument(
        "--watch",
        type=_seconds,
        metavar="SECONDS",
        help="print it again every so often, until nobody is at work",
    )
    parser.set_defaults(action=_status)


def _seconds(text: str) -> float:
    if not text.replace(".", "", 1).isdecimal() or float(text) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return float(text)


# status


def folder_of(named: str) -> Path:
    """The folder that is named, else that of the run with this id."""
    from ora2sf.connections import project_root
    from ora2sf.parameters import read_campaign_parameters

    if Path(named).is_dir() or "/" in named:
        return Path(named)
    given = read_campaign_parameters({"run_id": named})
    folder = project_root() / given.outputs / named
    return folder if folder.is_dir() else Path(named)


@private_files()
def _status(options: argparse.Namespace) -> int:
    import time

    from ora2sf.standing import is_slice

    folder = folder_of(options.folder)
    if is_slice(folder):
        return _slice_status(folder)
    while True:
        code, at_work = _campaign_status(folder)
        if options.watch is None or not at_work:
            return code
        time.sleep(options.watch)
        print("\033[H\033[J" if sys.stdout.isatty() else "")


def _slice_status(folder: Path) -> int:
    from ora2sf.standing import standings

    found = standings(folder)
    heads = ("slice", "notebook", "state", "since (UTC)", "")
    lines = [(one.slice, one.step, one.state, one.at[:19].replace("T", " "), one.detail) for one in found]
    print_columns([heads, *lines])
    return worst([one.exit for one in found])


def _campaign_status(run: Path) -> tuple[int, bool]:
    """Prints the campaign; its exit code, and whether anybody is at work on it."""
    from ora2sf import overview
    from ora2sf.campaign_report import budget_of, end_of, line_of

    found = overview.look(run)
    steps = {one.slice: one.step for one in found.slices}
    details = {one.slice: one.detail for one in found.slices}
    rows = [{"slice": line["slice"], "notebook": steps[line["slice"]], **line, " ": details[line["slice"]]} for line in map(line_of, found.slices)]  # fmt: skip
    _print_table(rows)
    for one in found.failures:
        print(f"\n{one.slice}: {one.state}. {one.reason}")
        if one.next_step:
            print(f"Next step: {one.next_step}")
    if found.budget:
        print()
        _print_table(budget_of(found))
    by = f" Carried out by {found.running}." if found.running else ""
    print(f"\n{found.verdict.sentence}{end_of(found)}{by}", flush=True)
    return found.verdict.exit, bool(found.running) or any(one.group == "at work" for one in found.slices)


def _print_table(rows: Sequence[Mapping[str, object]]) -> None:
    """Prints lines with numbers to the right."""
    names = list(rows[0])
    columns = [[name, *(_text(row[name]) for row in rows)] for name in names]
    numbers = [all(isinstance(row[name], int | None) for row in rows) for name in names]
    widths = [max(map(len, column)) for column in columns]
    shown = [
        [text.rjust(width) if right else text for text in column]
        for column, width, right in zip(columns, widths, numbers, strict=True)
    ]
    print_columns([tuple(line) for line in zip(*shown, strict=True)])


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value)


# plan


@private_files()
def _plan(options: argparse.Namespace) -> int:
    from ora2sf.connections import project_root
    from ora2sf.parameters import PlanParameters, read_plan_parameters
    from ora2sf.planning import Planning, calendar, needs

    named = {name: getattr(options, name) for name in PlanParameters.model_fields} | {
        "tables": " ".join(options.tables) or None
    }
    planning = Planning(read_plan_parameters(named), project_root())
    if options.freeze or options.show:
        return _existing_plan(planning.run, freeze=options.freeze)
    for shown in (planning.counts(), planning.windows(), needs(planning.plan), calendar(planning.plan)):
        print(shown, end="\n\n")
    print(planning.save())
    return 0


@private_files()
def _run(options: argparse.Namespace) -> int:
    from collections import Counter

    from ora2sf.connections import project_root
    from ora2sf.execution import Processes, run_campaign
    from ora2sf.parameters import read_plan_parameters
    from ora2sf.plan import Slice
    from ora2sf.salesforce import SalesforceClient

    names = ("run_id", "outputs", "oracle_conn_id", "sf_conn_id")
    given = read_plan_parameters({name: getattr(options, name) for name in names})
    run = project_root() / given.outputs / given.run_id
    parameters = {name: str(getattr(given, name)) for name in names}
    chosen: list[str] = []

    def hands_of(plan: Plan) -> Processes:
        chosen.extend(_chosen(plan, options.tables, options.phase))
        client = SalesforceClient(given.sf_conn_id)
        return Processes(plan, run, parameters, lambda text: print(text, flush=True), client)

    def only(one: Slice) -> bool:
        return one.table in chosen

    try:
        ends = run_campaign(run, hands_of, only, resume=options.resume)
    except KeyboardInterrupt:
        print(f"Parked. Go on with: ora2sf run {given.run_id} --resume", file=sys.stderr)
        return Exit.INTERRUPTED
    mine = {name: stage for name, stage in ends.items() if name.split("/")[0] in chosen}
    counts = Counter(mine.values())
    print(
        f"{number(len(mine), 'slice')}: {', '.join(f'{number} {stage}' for stage, number in counts.items())}."
    )
    return Exit.COMPLETE if set(counts) <= {"done"} else Exit.FAILED


def _chosen(plan: Plan, tables: Sequence[str], phase: int | None) -> list[str]:
    """The tables of a plan that are to run."""
    planned = [one.table for one in plan.tables]
    if unknown := sorted(set(tables) - set(planned)):
        raise TableFileError(
            f"The plan of run {plan.run_id} leaves {', '.join(unknown)} out.",
            f"Planned: {', '.join(planned)}.",
        )
    return [
        one.table
        for one in plan.tables
        if (not tables or one.table in tables) and (phase is None or one.phase == phase)
    ]


def _existing_plan(run: Path, *, freeze: bool) -> int:
    from ora2sf import planfile
    from ora2sf.planning import calendar, needs

    if freeze:
        print(f"Frozen: {planfile.path_of(run)}, sha256 {planfile.freeze(run)}.")
        return 0
    plan = planfile.draft(run)
    print(needs(plan), calendar(plan), sep="\n\n")
    print("Frozen." if planfile.is_frozen(run) else "Not frozen, or edited since.")
    return 0
