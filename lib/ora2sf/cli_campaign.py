"""The commands of a campaign: plan, run, status. What a command needs is imported when it runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ora2sf.errors import Exit, ParameterError, PlanError, RunFolderError, worst
from ora2sf.private import private_files
from ora2sf.terminal import number, print_columns

if TYPE_CHECKING:
    from ora2sf.campaign import Stage
    from ora2sf.parameters import PlanParameters
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
        help="read and send tables, slice by slice, side by side; the same command goes on",
        description="Carries a campaign out (docs/campaign.md): by its frozen plan, or one that is made now. Ctrl-C parks it; "
        "the same command goes on.",
    )
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="tables to read and send")
    parser.add_argument("--all", action="store_true", help="every table of the plan, or of tables/")
    parser.add_argument("--phase", type=int, metavar="N", help="only tables of this phase")
    parser.add_argument("--plan", type=Path, metavar="FILE", help="a frozen plan file; it names the run")
    parser.add_argument("--run-id", metavar="X", help="names the campaign and its folder")
    parser.add_argument("--resume", action="store_true", help="insist that the campaign has begun")
    parser.add_argument("--dry-run", action="store_true", help="everything but what writes to Salesforce")
    parser.add_argument("--cleanup", action="store_true", help="then remove staged data of proven slices")
    parser.add_argument("--max-rows", type=int, metavar="N", help="a trial: at most N rows of each slice")
    parser.add_argument(
        "--slice-rows", type=int, metavar="N", help="most rows of a slice, where a plan is made"
    )
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


# run


@private_files()
def _run(options: argparse.Namespace) -> int:
    from ora2sf import planfile
    from ora2sf.connections import project_root
    from ora2sf.parameters import read_plan_parameters

    _check_choice(options)
    root = project_root()
    given = read_plan_parameters(_plan_names(options, root))
    run = root / given.outputs / given.run_id
    if not planfile.path_of(run).exists():
        _make_plan(options, given)
    plan = planfile.read(run)
    assert plan is not None  # it was there, or was made
    chosen = _chosen(plan, options.tables, options.phase)
    try:
        stages = _carry_out(run, given, options, chosen)
    except KeyboardInterrupt:
        print(
            f"Parked. The same command goes on; or: ora2sf run --run-id {given.run_id} --resume",
            file=sys.stderr,
        )
        return Exit.INTERRUPTED
    if options.cleanup:
        from ora2sf.cleanup import after_campaign

        print(after_campaign(run, chosen))
    return _ended(run, {name: stage for name, stage in stages.items() if name.split("/")[0] in chosen})


def _check_choice(options: argparse.Namespace) -> None:
    """Something has to be chosen, and not in two ways."""
    named = f" --run-id {options.run_id}" if options.run_id else " --run-id nightly"
    if options.all and (options.tables or options.phase is not None):
        raise ParameterError("--all leaves no choice to tables or --phase.", "Leave one of them out.")
    if not (options.tables or options.all or options.phase is not None or options.plan or options.resume):
        raise ParameterError(
            "It was not said what to run.",
            f"Name tables, or give --all, --phase N or --plan FILE, such as: ora2sf run --all{named}.",
        )


def _plan_names(options: argparse.Namespace, root: Path) -> dict[str, object]:
    """The parameters by which the run is found, and a plan made if there is none."""
    from ora2sf import planfile
    from ora2sf.parameters import read_campaign_parameters

    run_id = options.run_id or os.environ.get("ORA2SF_RUN_ID")
    if options.plan:
        outputs = read_campaign_parameters({"run_id": "any", "outputs": options.outputs}).outputs
        named = planfile.adopt(options.plan, root / outputs)
        if options.run_id and options.run_id != named:
            raise ParameterError(
                f"{options.plan} is the plan of run {named}, not of {options.run_id}.", "Leave --run-id out."
            )
        run_id = named
    if not run_id:
        raise ParameterError(
            "No run_id was given: it names the campaign and its folder.",
            "Such as: ora2sf run --all --run-id nightly. The same one goes on with it later.",
        )
    names = ("outputs", "oracle_conn_id", "sf_conn_id", "slice_rows")
    # a phase is a part of the whole: the others are planned with it, to be run later
    return {name: getattr(options, name) for name in names} | {
        "run_id": run_id, "tables": " ".join(options.tables) or None,
    }  # fmt: skip


def _make_plan(options: argparse.Namespace, given: PlanParameters) -> None:
    """Makes a plan from live counts, freezes and shows it."""
    from ora2sf import planfile
    from ora2sf.connections import project_root
    from ora2sf.planning import Planning, calendar, needs
    from ora2sf.standing import slices

    planning = Planning(given, project_root())
    if options.resume:
        raise PlanError(f"Run {given.run_id} has not begun.", "Leave --resume out, or correct the run_id.")
    with suppress(RunFolderError):
        begun = list(slices(planning.run))
        raise PlanError(
            f"Run {given.run_id} was begun without a plan: {', '.join(begun[:5])}.",
            "Go on with its notebooks, or use a new run_id.",
        )
    print(f"Run {given.run_id} has no plan: it is made now, from live counts.", flush=True)
    for shown in (planning.counts(), needs(planning.plan), calendar(planning.plan)):
        print(shown, end="\n\n")
    path = planfile.write_frozen(planning.run, planning.plan)
    planned = {one.table for one in planning.plan.tables}
    for table in planning.plan.tables:
        if absent := sorted(set(table.after) - planned):
            print(
                f"{table.table} refers to what {', '.join(absent)} brings: that has to be in Salesforce already."
            )
    print(f"Frozen: {path}. It is carried out now.", flush=True)


def _carry_out(
    run: Path, given: PlanParameters, options: argparse.Namespace, chosen: Sequence[str]
) -> dict[str, Stage]:
    from ora2sf.execution import Processes, run_campaign
    from ora2sf.live import Live
    from ora2sf.parameters import read_run_choice
    from ora2sf.salesforce import SalesforceClient

    dry, most = read_run_choice(options.dry_run, options.max_rows)
    parameters = {
        name: str(getattr(given, name)) for name in ("run_id", "outputs", "oracle_conn_id", "sf_conn_id")
    }
    parameters |= {} if most is None else {"max_rows": str(most)}
    live = Live(run)

    def hands_of(plan: Plan) -> Processes:
        client = SalesforceClient(given.sf_conn_id)
        return Processes(plan, run, parameters, live.say, client, dry, looked=live.look, every=live.every)

    try:
        return run_campaign(run, hands_of, chosen, resume=options.resume)
    finally:
        live.end()


def _ended(run: Path, stages: Mapping[str, Stage]) -> int:
    """Says how the chosen slices ended; the worst of their exit codes."""
    from ora2sf import overview

    lines = [one for one in overview.look(run).slices if one.slice in stages]
    counts = Counter(one.state for one in lines)
    print(
        f"{number(len(lines), 'slice')}: {', '.join(f'{times} {state}' for state, times in counts.items())}."
    )
    for one in lines:
        if one.group not in {"done", "exceptions", "tried"}:
            print(
                f"{one.slice}: {one.state}. {one.detail}{f' Next step: {one.next_step}' if one.next_step else ''}"
            )
    return worst(
        [
            Exit.FAILED if stages[one.slice] == "failed" and one.group == "waiting" else Exit(one.exit)
            for one in lines
        ]
    )


def _chosen(plan: Plan, tables: Sequence[str], phase: int | None) -> list[str]:
    """The tables of a plan that are to run."""
    planned = [one.table for one in plan.tables]
    if unknown := sorted(set(tables) - set(planned)):
        raise PlanError(
            f"The plan of run {plan.run_id} leaves {', '.join(unknown)} out; it has {', '.join(planned)}.",
            f"Run {'it' if len(unknown) == 1 else 'them'} under a run_id of its own: ora2sf run {' '.join(unknown)} --run-id ….",
        )
    chosen = [
        one.table
        for one in plan.tables
        if (not tables or one.table in tables) and (phase is None or one.phase == phase)
    ]
    if not chosen:
        phases = ", ".join(str(n) for n in sorted({one.phase for one in plan.tables}))
        raise PlanError(
            f"No chosen table of run {plan.run_id} is of phase {phase}.", f"Its phases are {phases}."
        )
    return chosen


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
