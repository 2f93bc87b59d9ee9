"""Each table file against what both sides said: what :mod:`ora2sf.preflight` would stop a run for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ora2sf import preflight
from ora2sf.doctor.findings import Checklist
from ora2sf.doctor.source import Columns
from ora2sf.doctor.target import Describes
from ora2sf.fields import LookupField
from ora2sf.tables import TableConfig


def compare(
    checks: Checklist, configs: Sequence[TableConfig], columns: Columns, describes: Describes
) -> None:
    """A line for each table file that does not fit, and one for all that do."""
    fitting = []
    for config in configs:
        of_source, of_target = columns.get(config.table), describes.get(config.object)
        if of_source is None or of_target is None:
            side = "Oracle's columns are" if of_source is None else f"the describe of {config.object} is"
            checks.skipped(config.table, f"{side} not known")
            continue
        problems = [
            *preflight.check(config, of_source, of_target, _targets(config, describes)).all_problems(),
            *_of_status(config, describes),
        ]
        if problems:
            fix = f"Correct tables/{config.table}.toml, or the rights of the run-as user."
            checks.problem(config.table, "; ".join(problems), fix)
        else:
            fitting.append(config.table)
    if fitting:
        checks.ok("fit", f"{len(fitting)} table file(s) fit Oracle's columns and Salesforce's describe")


def _targets(config: TableConfig, describes: Describes) -> Mapping[str, Mapping[str, object] | None]:
    """The describes of the objects that lookups refer to, of those that were asked for."""
    named = {spec.object for spec in config.fields if isinstance(spec, LookupField)}
    return {name: describes[name] for name in named if name in describes}


def _of_status(config: TableConfig, describes: Describes) -> Iterator[str]:
    if config.status and (found := describes.get(config.status.object)):
        yield from preflight.check_status(config.status, found)
