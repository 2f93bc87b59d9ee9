"""``open_plan``: the noun of ``00_plan``; it counts the source, asks the org for its limits, and makes the plan of a campaign."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import polars as pl

from ora2sf import plan as plans
from ora2sf import planfile
from ora2sf.campaign import days, forecast
from ora2sf.catalog import Catalog, read_catalog
from ora2sf.connections import get_connection, project_root
from ora2sf.errors import ParameterError, PastError, PlanError, SourceError
from ora2sf.extract import arrow_schema, converter
from ora2sf.ledger import Ledger
from ora2sf.oracle import OracleSource, SourceColumn
from ora2sf.parameters import PlanParameters, read_plan_parameters
from ora2sf.plan import Allowance, Choices, Moment, Plan, PlannedTable, Rates, Sampled, Since
from ora2sf.progress import progress
from ora2sf.report import Shown
from ora2sf.salesforce import SalesforceClient
from ora2sf.tables import TableConfig, Window
from ora2sf.windows import Portion, Span, bounds_of, count_each, extent, fits, spread

#: Slices with fewer rows say nothing of a rate: they are all overhead.
_ENOUGH_TO_MEASURE = 10_000
_CHANGES = ("DATE", "TIMESTAMP(")


def open_plan(names: Mapping[str, Any]) -> Planning:
    """Opens the planning of the campaign that a notebook's parameters name.

    Raises:
        ParameterError: a value is of the wrong kind or out of bounds, or a name is unknown.
    """
    return Planning(read_plan_parameters(names), project_root())


class Planning:
    """A campaign whose plan is being made."""

    def __init__(self, parameters: PlanParameters, root: Path, tables: Path | None = None) -> None:
        self.parameters = parameters
        self.run = root / parameters.outputs / parameters.run_id
        self._outputs, self._tables = root / parameters.outputs, tables or root / "tables"

    def __repr__(self) -> str:
        return repr(self._shown())

    def _repr_html_(self) -> str:
        return self._shown()._repr_html_()

    def _shown(self) -> Shown:
        rows = [{"parameter": name, "value": value} for name, value in self.parameters]
        return Shown(f"Campaign {self.parameters.run_id}: {len(self.configs)} tables to plan.", rows)

    @cached_property
    def configs(self) -> list[TableConfig]:
        """The tables to plan, in order of phase.

        Raises:
            ParameterError, PlanError: a table is not known, or table files do not fit together.
        """
        catalog = read_catalog(self._tables)
        names = self.parameters.tables.replace(",", " ").split() or [*catalog.tables, *catalog.broken]
        if unknown := sorted(set(names) - {*catalog.tables, *catalog.broken}):
            raise ParameterError(
                f"There is no table {', '.join(unknown)}.",
                f"Known tables: {', '.join(sorted(catalog.tables))}.",
            )
        _refuse_problems(catalog, set(names))
        return [config for config in catalog.in_order() if config.table in names]

    @cached_property
    def client(self) -> SalesforceClient:
        """The org."""
        return SalesforceClient(self.parameters.sf_conn_id)

    @cached_property
    def source(self) -> OracleSource:
        """The source database."""
        return OracleSource(get_connection(self.parameters.oracle_conn_id))

    def sign_in(self) -> Shown:
        """Signs in to both sides, and shows where."""
        info, user = self.source.info(), self.client.user()
        who = f"{user.get('preferred_username', '?')} in org {user.get('organization_id', '?')}"
        rows = [
            {"system": f"Oracle {info.version}", "where": info.service, "as": info.user},
            {"system": "Salesforce", "where": self.client.instance_url, "as": who},
        ]
        return Shown("Signed in to both sides.", rows, "good")

    @cached_property
    def plan(self) -> Plan:
        """The plan, made at first use.

        Raises:
            PlanError: a table cannot be planned.
            SourceError: Oracle refuses.
        """
        p, made = self.parameters, dt.datetime.now(dt.UTC).replace(microsecond=0)
        moment, since, rates = self._moment(made), self._since(), self._rates()
        choices = Choices(
            slice_rows=p.slice_rows,
            extracts_at_once=p.extracts_at_once,
            loads_at_once=p.loads_at_once,
            staged_mb=p.staged_mb,
        )
        tables = self._survey(Survey(self.source, moment, since, choices, rates, p.sample_rows))
        plan = Plan(
            run_id=p.run_id,
            made=made,
            moment=moment,
            since=since,
            allowance=allowance(self.client.limits(), p.reserve),
            rates=rates,
            choices=choices,
            tables=tables,
        )
        return plan.model_copy(update={"calendar": forecast(plan)})

    def _survey(self, survey: Survey) -> tuple[PlannedTable, ...]:
        found = []
        with progress("count the source", "tables", len(self.configs)) as bar:
            for config in self.configs:
                bar.note = partial(str, config.table)
                found.append(survey.table(config))
                bar.update()
        return tuple(found)

    def _moment(self, made: dt.datetime) -> Moment:
        source_time = self.source.local_time()
        try:
            return Moment(scn=self.source.current_scn(), taken=made, source_time=source_time)
        except SourceError as error:
            return Moment(why_not=error.what, taken=made, source_time=source_time)

    def _since(self) -> Since | None:
        p = self.parameters
        if p.since is None:
            return None
        if (before := planfile.read(self._outputs / p.since)) is None:
            raise PlanError(f"Run {p.since} has no plan, so its moment is not known.", "Give another since.")
        return Since(run_id=p.since, source_time=before.moment.source_time, overlap=p.overlap)

    def _rates(self) -> Rates:
        named = self.parameters.rates_from or self.parameters.since
        return measured(self._outputs / named) if named else Rates()

    # what a cell shows

    def counts(self) -> Shown:
        """Rows of each table by a live COUNT, its slices and what is to be known of them."""
        plan = self.plan
        rows = [
            {
                "phase": one.phase,
                "table": one.table,
                "rows": one.counted,
                "slices": len(one.slices),
                "unreadable": one.unreadable if one.in_windows else "",
                "MB": round(sum(part.bytes for part in one.slices) / 1e6, 1),
                "moment": one.consistency,
                "notes": " ".join(one.notes),
            }
            for one in plan.tables
        ]
        total = sum(one.counted for one in plan.tables)
        sentence = (
            f"{total:,} rows in {len(plan.slices())} slices; windows add up to the COUNT of their tables. "
            f"MB are estimated from the first {self.parameters.sample_rows:,} rows of each. {_moment_said(plan)}"
        )
        return Shown(sentence, rows, "good" if plan.moment.scn else "warning", bars="rows")

    def windows(self) -> Shown:
        """Each window with its own COUNT."""
        rows = [
            {
                "slice": one.name,
                "from": one.window.low or "",
                "before": one.window.high or "",
                "rows": one.rows,
                "jobs": one.jobs,
                "batches": one.need.batches,
            }
            for one in self.plan.slices()
            if one.window
        ]
        if not rows:
            return Shown(f"No table has more than {self.plan.choices.slice_rows:,} rows: each is one slice.")
        return Shown(f"{len(rows)} windows.", rows, bars="rows")

    def needs(self) -> Shown:
        """What the campaign takes of the org's limits, beside what a day has."""
        return needs(self.plan)

    def calendar(self) -> Shown:
        """Day by day."""
        return calendar(self.plan)

    def save(self) -> Shown:
        """Writes the plan, to be reviewed and frozen.

        Raises:
            PlanError: the run has a frozen plan already.
        """
        path = planfile.write(self.run, self.plan)
        return Shown(
            f"Written: {path}. Review it, then freeze it: ora2sf plan {self.parameters.run_id} --freeze.",
            tone="good",
        )


def _refuse_problems(catalog: Catalog, names: set[str]) -> None:
    bad = [
        f"{one.table}: {one.text}"
        for one in catalog.findings()
        if one.kind == "problem" and one.table in names
    ]
    if bad:
        raise PlanError(
            "The table files do not fit together:\n  " + "\n  ".join(bad),
            "Correct them (ora2sf tables check).",
        )


def _moment_said(plan: Plan) -> str:
    if plan.moment.scn is None:
        return f"There is no moment of the whole campaign: {plan.moment.why_not}"
    last = max((entry.staged for entry in plan.calendar), default=0)
    return (
        f"All is read as of SCN {plan.moment.scn}, as long as undo reaches back to it: the last slice is read after {last:.1f} hours. "
        "A slice that cannot have it takes a moment of its own and says so."
    )


def needs(plan: Plan) -> Shown:
    """What a campaign takes of the org's limits, beside what a day has."""
    need, usable, allowance = plan.need(), plan.allowance.usable(), plan.allowance
    rows: list[dict[str, Any]] = [
        {
            "limit": name,
            "needed": getattr(need, name),
            "a day has": getattr(allowance, name),
            "of it usable": getattr(usable, name),
            "days": round(getattr(need, name) / getattr(usable, name), 2),
        }
        for name in type(need).model_fields
    ]
    storage = sum(one.storage_mb for one in plan.slices())
    rows.append({"limit": "data storage, MB", "needed": storage, "a day has": allowance.storage_left_mb})
    jobs = sum(one.jobs for one in plan.slices())
    found = plans.problems(plan)
    sentence = (
        f"{jobs:,} jobs. {allowance.reserve} % of each limit is left to others. "
        f"Storage is what all rows take if every one is a new record."
    )
    return Shown("\n".join([sentence, *found]), rows, "bad" if found else "good")


def calendar(plan: Plan) -> Shown:
    """A plan's calendar, day by day."""
    found = days(plan, plan.calendar)
    rows = [
        {
            "day": day.number,
            "read": day.read,
            "sent": day.sent,
            "rows": day.rows,
            "batches": day.need.batches,
            "busiest 24 h": day.busiest.batches,
            "records in it": day.busiest.records,
            "calls in it": day.busiest.calls,
            "stored MB": day.storage_mb,
            "tables": ", ".join(day.tables),
        }
        for day in found
    ]
    end = max((entry.done for entry in plan.calendar), default=0)
    return Shown(
        f"The whole takes about {end / 24:.1f} days ({end:.1f} hours) from its begin. {_rates_said(plan.rates)}",
        rows,
        bars="rows",
    )


def _rates_said(rates: Rates) -> str:
    how = f"measured in run {rates.measured_in}" if rates.measured_in else "assumed, nothing was measured"
    return (
        f"Rates ({how}): a slice is read at {rates.extract:,.0f} rows/s and sent at {rates.load:,.0f} rows/s."
    )


def allowance(limits: Mapping[str, Mapping[str, int]], reserve: int) -> Allowance:
    """What the org says of itself; ``/limits`` has no entry for records of Bulk API."""
    found: dict[str, int | None] = {"reserve": reserve}
    for limit, name in (("DailyBulkApiBatches", "batches"), ("DailyApiRequests", "calls")):
        if one := limits.get(limit):
            found |= {name: one["Max"], f"{name}_used": one["Max"] - one["Remaining"]}
    if one := limits.get("DataStorageMB"):
        found |= {"storage_mb": one["Max"], "storage_left_mb": one["Remaining"]}
    return Allowance.model_validate(found)


# the source


@dataclass(frozen=True)
class Survey:
    """Looks at the tables of the source."""

    source: OracleSource
    moment: Moment
    since: Since | None
    choices: Choices
    rates: Rates
    sample_rows: int

    def table(self, config: TableConfig) -> PlannedTable:
        """Counts and cuts one table.

        Raises:
            PlanError: its window or changed_column is not of its type, or the windows do not add up.
        """
        columns = self.source.describe(config.every_column())
        _check_columns(config, columns)
        notes: list[str] = []
        portion = self._portion(config, notes)
        try:
            counted, windows = self._counted(config, portion)
        except PastError as error:
            if portion.scn is None:
                raise
            notes.append(f"Read at a moment of each slice's own: {error.what}")
            portion = portion.now()
            counted, windows = self._counted(config, portion)
        return plans.planned(
            config,
            counted,
            windows,
            self._sample(config, columns),
            self.choices,
            self.rates,
            consistency=portion.consistency,
            incremental=portion.since is not None,
            notes=notes,
        )

    def _portion(self, config: TableConfig, notes: list[str]) -> Portion:
        scn, since = self.moment.scn, None
        if scn is not None and not config.can_look_back:
            notes.append("Read at a moment of its own: its source.sql does not say where AS OF goes.")
            scn = None
        if self.since and config.changed_column and config.duplicates == "first":
            notes.append(
                'Cannot be read incrementally, for duplicates = "first" needs every row: planned whole.'
            )
        elif self.since and config.changed_column:
            since = self.since.start
            notes.append(
                f"Only rows changed from {since.isoformat(sep=' ')} on; deleted rows are not noticed."
            )
        elif self.since:
            notes.append(
                "Cannot be read incrementally, for its table file names no changed_column: planned whole."
            )
        return Portion(scn=scn, since=since)

    def _counted(self, config: TableConfig, portion: Portion) -> tuple[int, list[tuple[Span, int]]]:
        counted = self.source.count(*portion.count(config))
        if config.window is None or counted <= self.choices.slice_rows:
            return counted, []
        spans = plans.windows_of(config, self._spread(config, config.window, portion), self.choices)
        if not spans:
            return counted, []
        ((counted, *rows),) = self.source.rows(*count_each(config, spans, portion))
        return counted, list(zip(spans, rows, strict=True))

    def _spread(self, config: TableConfig, window: Window, portion: Portion) -> dict[str | None, int]:
        where, binds = portion.condition(config)
        given = binds | ({} if portion.scn is None else {"scn": portion.scn})
        inner = config.inner_select(as_of=portion.scn is not None)
        source = f"SELECT * FROM ({inner}\n) WHERE {where}" if where else inner
        low, high = 0, 0
        if window.type == "number":
            ((first, last),) = self.source.rows(extent(window, source), given)
            low, high = int(first or 0), int(last or 0)
        return bounds_of(window, self.source.rows(spread(window, source, low, high), given), low, high)

    def _sample(self, config: TableConfig, columns: dict[str, SourceColumn]) -> Sampled:
        """How large the first rows become as CSV; the first that Oracle gives, in no order."""
        convert = converter(config, columns)
        sql = f"SELECT {', '.join(config.columns)} FROM ({config.inner_select()}\n) WHERE ROWNUM <= {self.sample_rows:d}"
        rows = size = 0
        for table in self.source.batches(sql, arrow_schema(config, columns)):
            staged = convert.convert(pl.DataFrame(table), 1).staged.select(config.header)
            rows += staged.height
            size += len(staged.write_csv(include_header=False).encode())
        return Sampled(rows=rows, bytes=size)


def _check_columns(config: TableConfig, columns: Mapping[str, SourceColumn]) -> None:
    problems = []
    if window := config.window:
        kind = columns[window.column].kind if window.column in columns else None
        if kind is None:
            problems.append(f"window: the source has no column {window.column}")
        elif not fits(window, kind):
            problems.append(
                f'window: {window.column} is {kind}, which does not go with type = "{window.type}"'
            )
    if name := config.changed_column:
        kind = columns[name].kind if name in columns else "missing"
        if not kind.startswith(_CHANGES):
            problems.append(f"changed_column: {name} is {kind}, and a DATE or TIMESTAMP is needed")
    if problems:
        raise PlanError(
            f"{config.table} cannot be planned: {'; '.join(problems)}.", "Correct its table file."
        )


# what was measured


def measured(run: Path) -> Rates:
    """Rates of the slices of a run, from their ledgers; what was not measured keeps its default."""
    read, sent = [], []
    for path in sorted([*run.glob("*/ledger.sqlite"), *run.glob("*/*/ledger.sqlite")]):
        with Ledger(path) as ledger:
            extraction = ledger.extraction()
            if extraction and extraction.rows_read >= _ENOUGH_TO_MEASURE:
                read.append((extraction.rows_read, _seconds([extraction.started, extraction.ended])))
            rows = sum(result.rows for result in ledger.results())
            if rows >= _ENOUGH_TO_MEASURE:
                sent.append((rows, _seconds(list(_moments(ledger)))))
    found = {name: _rate(pairs) for name, pairs in (("extract", read), ("load", sent))}
    known = {name: rate for name, rate in found.items() if rate}
    return Rates.model_validate(known | {"measured_in": run.name if known else ""})


def _moments(ledger: Ledger) -> Iterator[str]:
    for states in ledger.times().values():
        yield from states.values()


def _seconds(moments: Sequence[str]) -> float:
    times = [dt.datetime.fromisoformat(moment) for moment in moments]
    return (max(times) - min(times)).total_seconds()


def _rate(pairs: Sequence[tuple[int, float]]) -> float:
    seconds = sum(seconds for _, seconds in pairs)
    return round(sum(rows for rows, _ in pairs) / seconds, 1) if seconds else 0.0
