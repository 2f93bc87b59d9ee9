"""One notebook of a campaign as a process for a scheduler from outside: ``python -m ora2sf.worker NOTEBOOK PARAMETERS``.

Airflow's tasks are such processes (dags/): they need nothing of Airflow, and Airflow nothing of this library. stderr is for
people; what the scheduler has to know is the one line of JSON on stdout, :class:`Ended`. The parameters are those that
:func:`ora2sf.parameters.read_every_parameter` knows, and ``window``; the notebook says what of them it uses:

- ``00_plan`` plans the campaign unless it has a frozen plan, freezes the plan if ``freeze`` is given, and tells its slices;
- ``01_extract``, ``02_upload``, ``03_reconcile`` wait for other slices as the plan says, and tell what the notebook recorded;
- ``05_campaign`` is good only if every slice of the given tables is done.

SIGTERM lets the notebook end where it can go on later. So does the end of stdin, of which whoever started this process
holds the other end: nothing goes on for a scheduler that is gone.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import logging
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ora2sf import planfile
from ora2sf.campaign import Act, Scheduler, Stage
from ora2sf.claim import written
from ora2sf.connections import project_root
from ora2sf.errors import Exit, Ora2sfError, Paused, PlanError, exit_of, may_pass
from ora2sf.execution import stages
from ora2sf.notebooks import GOOD, end_with_parent, execute, name_of, noted, reason, settled
from ora2sf.parameters import PlanParameters, read_every_parameter
from ora2sf.plan import Plan, Slice
from ora2sf.report import SCRAP
from ora2sf.standing import standing

#: How far a table that others depend on has to be looked at again.
_LOOK_AGAIN = dt.timedelta(seconds=30)
#: Of what nobody wrote down when it may go on, such as a slice that another process holds.
_HELD = dt.timedelta(seconds=60)
_ACTS: dict[str, Act] = {"01_extract": "read", "02_upload": "send"}
#: States of a slice that nobody mends but a person.
_FINAL = frozenset({Exit.FAILED, Exit.CONFIGURATION, Exit.NOT_RECONCILED})


@dataclass(frozen=True)
class Ended:
    """How a notebook ended.

    Attributes:
        exit: :class:`ora2sf.errors.Exit`; 0 also if rows failed and the books balance: others can build on it.
        again: may come to a better end by itself; until: not before that (UTC), and it is no failure.
        why: what went wrong, with the next step.
        value: small JSON: what the notebook recorded.
    """

    exit: Exit = Exit.COMPLETE
    again: bool = False
    until: str = ""
    why: str = ""
    value: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Work:
    """What the command line asks for."""

    notebook: str
    plan: PlanParameters
    of_slices: dict[str, Any]
    window: str | None
    freeze: bool

    @property
    def run(self) -> Path:
        return project_root() / self.plan.outputs / self.plan.run_id

    @property
    def folder(self) -> Path:
        """Where the executed notebook goes."""
        if self.notebook not in {"00_plan", "05_campaign"}:
            return self.run / self.plan.tables / (self.window or "")
        return self.run / planfile.FOLDER

    def frozen(self) -> Plan:
        found = planfile.read(self.run)
        if found is None:
            raise PlanError(f"Run {self.plan.run_id} has no plan.", "Run 00_plan first.")
        return found

    def chosen(self, plan: Plan) -> list[Slice]:
        """The slices of the tables that were given; all if none was.

        Raises:
            PlanError: the plan leaves one of them out.
        """
        names = self.plan.tables.replace(",", " ").split()
        if unknown := sorted(set(names) - {one.table for one in plan.tables}):
            raise PlanError(
                f"The plan of run {plan.run_id} leaves {', '.join(unknown)} out.", "Use a new run_id for it."
            )
        return [one for one in plan.slices() if not names or one.table in names]


def _read(notebook: str, given: Mapping[str, Any]) -> _Work:
    named = dict(given)
    freeze, window = named.pop("freeze", None) is not False, named.pop("window", None)
    plan, of_slices = read_every_parameter(named)
    return _Work(notebook, plan, of_slices, window, freeze)


# 00


def _plan(work: _Work) -> dict[str, Any]:
    """Plans, unless there is a plan; its slices, in order of phase."""
    plan = planfile.read(work.run)
    if plan is None:
        execute(work.notebook, work.folder, _given(work.plan), progress_bar=False)
        if not work.freeze:
            raise PlanError(
                f"Run {work.plan.run_id} is planned, and its plan is not frozen: {planfile.path_of(work.run)}.",
                f"Review it, freeze it (ora2sf plan {work.plan.run_id} --freeze), and run this again.",
            )
        planfile.freeze(work.run)
        plan = work.frozen()
    chosen = work.chosen(plan)
    _refuse_orphans(plan, chosen, work.run)
    phases = {one.table: one.phase for one in plan.tables}
    return {"run_id": plan.run_id, "rows": sum(one.rows for one in chosen),
            "slices": [{"name": one.name, "phase": phases[one.table], "parameters": _of(one, work)} for one in chosen]}  # fmt: skip


def _given(plan: PlanParameters) -> dict[str, Any]:
    values = plan.model_dump(exclude_none=True, exclude_defaults=True)
    return {"run_id": plan.run_id, "outputs": plan.outputs} | values


def _of(one: Slice, work: _Work) -> dict[str, Any]:
    """What each notebook of a slice is given."""
    where = {"run_id": work.plan.run_id, "outputs": work.plan.outputs, "table": one.table}
    return work.of_slices | where | ({"window": one.window.name} if one.window else {})


def _refuse_orphans(plan: Plan, chosen: list[Slice], run: Path) -> None:
    """Nothing may wait for what nobody is going to do."""
    at, scheduler = stages(plan, run), Scheduler(plan)
    will_be: dict[str, Stage] = at | dict.fromkeys((one.name for one in chosen), "done")
    for one in chosen:
        if why := scheduler.in_the_way(one, will_be, "send"):
            raise PlanError(
                f"{one.name} cannot be sent in this run: {why}, and it is not among the tables to run.",
                "Name that table, too, or plan this one alone under a new run_id.",
            )


# 01, 02, 03


def _step(work: _Work) -> dict[str, Any]:
    """Runs one notebook of a slice; what it recorded."""
    plan = work.frozen()
    (mine,) = [one for one in work.chosen(plan) if (one.window.name if one.window else None) == work.window]
    if act := _ACTS.get(work.notebook):
        _wait_for_others(plan, mine, act, work.run)
    execute(work.notebook, work.folder, _of(mine, work), progress_bar=False)
    if work.notebook == "03_reconcile":
        found = settled(work.folder)
        if found is None or found["state"] not in GOOD:
            raise PlanError(
                f"{mine.name} came to no good verdict: {found['state'] if found else 'none is noted'}.",
                f"Read {work.folder / 'report.html'}; what can be sent again, 02_upload sends. Then run 03_reconcile again.",
            )
    return _scraps(work)


def _wait_for_others(plan: Plan, mine: Slice, act: Act, run: Path) -> None:
    """What comes first inside a phase.

    Raises:
        Paused: it is not as far yet.
        PlanError: it failed.
    """
    at = {name: _failed_or(stage, run / name) for name, stage in stages(plan, run).items()}
    why = Scheduler(plan).in_the_way(mine, at, act)
    if why.endswith(" failed"):
        raise PlanError(f"{mine.name} is not begun: {why}.", "Put that right first, then run both again.")
    if why:
        until = dt.datetime.now(dt.UTC) + _LOOK_AGAIN
        raise Paused(f"{mine.name} is not begun yet: {why}.", until=written(until))


def _failed_or(stage: Stage, folder: Path) -> Stage:
    if stage == "done" or not noted(folder):
        return stage
    return "failed" if standing(folder).exit in _FINAL else stage


def _scraps(work: _Work) -> dict[str, Any]:
    """What an executed notebook recorded, by name."""
    book = json.loads((work.folder / f"{work.notebook}.ipynb").read_text(encoding="utf-8"))
    shown = [output.get("data", {}) for cell in book["cells"] for output in cell.get("outputs", ())]
    scraps = {data[SCRAP]["name"]: data[SCRAP]["data"] for data in shown if SCRAP in data}
    return {"slice": work.folder.relative_to(work.run).as_posix(), **scraps}


# 05


def _campaign(work: _Work) -> dict[str, Any]:
    """Writes the campaign's report; it is good only if all that was asked for is done."""
    names = {"run_id": work.plan.run_id, "outputs": work.plan.outputs}
    execute(work.notebook, work.folder, names, progress_bar=False)
    plan = work.frozen()
    at, chosen = stages(plan, work.run), work.chosen(plan)
    if left := [one.name for one in chosen if at[one.name] != "done"]:
        raise PlanError(
            f"{len(left)} of {len(chosen)} slices are not done: {', '.join(left[:5])}{', …' if len(left) > 5 else ''}.",
            f"Read {work.folder / '05_campaign.html'}; what is done stays done when this runs again.",
        )
    return {"run_id": plan.run_id, "slices": len(chosen), **_scraps(work)}


# the process
#: Notebook → what is done beside running it.

KNOWN: dict[str, Callable[[_Work], dict[str, Any]]] = {
    "00_plan": _plan,
    "01_extract": _step,
    "02_upload": _step,
    "03_reconcile": _step,
    "05_campaign": _campaign,
}


def _done(notebook: str, given: Mapping[str, Any]) -> Ended:
    folder: Path | None = None
    try:
        work = _read(notebook, given)
        folder = work.folder
        return Ended(value=KNOWN[notebook](work))
    except KeyboardInterrupt:
        return Ended(
            Exit.INTERRUPTED, again=True, why="It was told to end, and goes on from here when it runs again."
        )
    except Exception as error:  # noqa: BLE001 - whatever it is, the scheduler is told
        return _failed(error, folder)


def _failed(error: Exception, folder: Path | None) -> Ended:
    """What an error means to a scheduler; what a notebook raised comes as papermill's own error with its name and words."""
    name, until = name_of(error), getattr(error, "until", "")
    code = error.exit if isinstance(error, Ora2sfError) else exit_of(name)
    if code == Exit.PAUSED and not until and folder:
        until = str(noted(folder).get("until", ""))
    if code in {Exit.PAUSED, Exit.AT_WORK} and not until:
        until = written(dt.datetime.now(dt.UTC) + _HELD)
    return Ended(code, may_pass(name), until, reason(error) if not isinstance(error, Ora2sfError) else str(error))  # fmt: skip


def main() -> int:
    """Does what the command line says; the exit code is that of the line on stdout."""
    parser = argparse.ArgumentParser(prog="python -m ora2sf.worker", description=__doc__)
    parser.add_argument("notebook", choices=KNOWN)
    parser.add_argument("parameters", type=json.loads, help="as JSON")
    asked = parser.parse_args()
    # every notebook of a slice is given all its parameters; names that there are not were refused before
    logging.getLogger("papermill").addFilter(lambda record: "unknown parameter" not in str(record.msg))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=end_with_parent, daemon=True).start()
    ended = _done(asked.notebook, asked.parameters)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is at its end anyway, and has only to say so
    print(json.dumps(asdict(ended), ensure_ascii=False))
    if ended.why:
        with suppress(BrokenPipeError):  # the scheduler may be gone
            print(ended.why, file=sys.stderr, flush=True)
    return ended.exit


if __name__ == "__main__":
    sys.exit(main())
