"""The parameters of the notebooks: names, kinds and bounds, and which of several sources decides.

Parameter > environment (``ORA2SF_<NAME>``) > table file > default.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ora2sf.equality import RULES, How
from ora2sf.errors import ParameterError
from ora2sf.tables import (
    DEFAULT_BATCH_SIZE,
    DEFAULT_JOB_TIMEOUT,
    DEFAULT_ROUNDS,
    MAX_BATCH_SIZE,
    TABLE_NAME,
    TableConfig,
)

#: Percent of each daily limit of the org that a run leaves to others.
DEFAULT_RESERVE = 10
#: Staged rows up to which a slice is sent without a job, and the most that may be asked for
#: (Salesforce advises Bulk API from 2,000 records on: Bulk API 2.0 guide, When to Use Bulk API 2.0).
DEFAULT_SMALL_SET, MOST_SMALL_SET = 200, 2_000
#: Parents of one lookup field that Salesforce is asked for: about 100 calls, with keys of 20 characters.
DEFAULT_PARENTS_ASKED = 20_000
_RUN_ID = re.compile(r"[A-Za-z0-9_.-]{1,80}")
_TEXTS = (
    "run_id",
    "table",
    "window",
    "outputs",
    "oracle_conn_id",
    "sf_conn_id",
    "external_ref",
    "sf_object",
    "external_id_field",
    "compare",
    "compare_rules",
    "error_code",
    "error_field",
    "reason",
    "confirm",
    "webhook",
)
Model = TypeVar("Model", bound=BaseModel)
#: What IPython itself keeps among the names of a notebook.
_IPYTHON = {"In", "Out"}


class Parameters(BaseModel):
    """Every parameter of the notebooks; each notebook shows those it uses and accepts all."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    run_id: str
    table: str
    window: str | None = None
    outputs: str = "outputs"
    oracle_conn_id: str = "oracle_tms"
    sf_conn_id: str = "salesforce_api"
    external_ref: str | None = None
    sf_object: str | None = None
    external_id_field: str | None = None
    batch_size: int = Field(default=DEFAULT_BATCH_SIZE, ge=1, le=MAX_BATCH_SIZE)
    start_batch: int = Field(default=1, ge=1)
    max_concurrent_jobs: int = Field(default=15, ge=1, le=100)
    max_concurrent_uploads: int = Field(default=4, ge=1, le=25)
    gzip_upload: bool = False
    job_timeout: int = Field(default=DEFAULT_JOB_TIMEOUT, ge=1)
    max_rounds: int = Field(default=DEFAULT_ROUNDS, ge=0, le=10)
    max_parents_asked: int = Field(default=DEFAULT_PARENTS_ASKED, ge=0)
    profile: Literal["full", "counts"] = "full"
    reserve: int = Field(default=DEFAULT_RESERVE, ge=0, le=90)
    dry_run: bool = False
    max_rows: int | None = Field(default=None, ge=1)
    small_set: int = Field(default=DEFAULT_SMALL_SET, ge=0, le=MOST_SMALL_SET)
    compare: str = "full"
    compare_rules: str = ", ".join(RULES)
    compare_memory_mb: int = Field(default=512, ge=256)
    keep_source: Literal["yes", "no"] = "yes"
    fix: Literal["list", "table", "csv", "exclude"] = "list"
    error_code: str = ""
    error_field: str = ""
    reason: str = ""
    confirm: str = ""
    include_changed: Literal["no", "yes"] = "no"
    webhook: str | None = None

    @property
    def how(self) -> How:
        """How 03 compares the staged rows with the org."""
        return How.read(self.compare, self.compare_rules, self.compare_memory_mb)


class PlanParameters(BaseModel):
    """Every parameter of ``00_plan`` and of the command ``ora2sf plan``; see :class:`ora2sf.plan.Choices`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    run_id: str
    tables: str = ""
    outputs: str = "outputs"
    oracle_conn_id: str = "oracle_tms"
    sf_conn_id: str = "salesforce_api"
    since: str | None = None
    overlap: int = Field(default=3_600, ge=0)
    rates_from: str | None = None
    slice_rows: int = Field(default=5_000_000, ge=1)
    sample_rows: int = Field(default=1_000, ge=1, le=100_000)
    extracts_at_once: int = Field(default=2, ge=1, le=64)
    loads_at_once: int = Field(default=4, ge=1, le=64)
    staged_mb: int | None = Field(default=None, ge=1)
    reserve: int = Field(default=10, ge=0, le=90)


class CampaignParameters(BaseModel):
    """Every parameter of ``05_campaign``."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    run_id: str
    outputs: str = "outputs"


_PLAN_TEXTS = ("run_id", "tables", "outputs", "oracle_conn_id", "sf_conn_id", "since", "rates_from")


def read_plan_parameters(names: Mapping[str, Any]) -> PlanParameters:
    """The parameters of ``00_plan`` among the names that the notebook holds.

    Raises:
        ParameterError: a value is of the wrong kind or out of bounds, or a name is unknown.
    """
    given = _given(names, PlanParameters)
    _check_kinds(given, PlanParameters, _PLAN_TEXTS)
    values = {name: _setting(name, given, None) for name in PlanParameters.model_fields}
    for name in ("run_id", "since", "rates_from"):
        if values[name] is not None or name == "run_id":
            _check_run_id(values[name])
    return _validated(PlanParameters, values)


def read_campaign_parameters(names: Mapping[str, Any]) -> CampaignParameters:
    """The parameters of ``05_campaign`` among the names that the notebook holds.

    Raises:
        ParameterError: a value is of the wrong kind or out of bounds, or a name is unknown.
    """
    given = _given(names, CampaignParameters)
    _check_kinds(given, CampaignParameters, _PLAN_TEXTS)
    values = {name: _setting(name, given, None) for name in CampaignParameters.model_fields}
    _check_run_id(values["run_id"])
    return _validated(CampaignParameters, values)


#: What only somebody who looks at a slice can give: no campaign has them.
_BY_HAND = frozenset(
    {"window", "dry_run", "fix", "error_code", "error_field", "reason", "confirm", "include_changed"}
)
#: What names one table's target: a campaign has them if it has one table.
_OF_ONE_TABLE = ("external_ref", "sf_object", "external_id_field")


def read_every_parameter(names: Mapping[str, Any]) -> tuple[PlanParameters, dict[str, Any]]:
    """What a whole campaign is given at once: the parameters of ``00_plan``, and those that each of its slices gets.

    Args:
        names: parameters of ``00_plan`` and of the notebooks of a slice; ``table`` is short for ``tables`` with one.

    Raises:
        ParameterError: a value is of the wrong kind or out of bounds, or a name is unknown.
    """
    given = {name: value for name, value in names.items() if value is not None}
    table = given.pop("table", None)
    if table is not None:
        if "tables" in given:
            raise ParameterError("Both table and tables were given.", "Give one of them.")
        given["tables"] = table
    of_slices = [name for name in Parameters.model_fields if name not in _BY_HAND | {"table"}]
    known = {**dict.fromkeys(PlanParameters.model_fields), **dict.fromkeys(of_slices)}
    if unknown := sorted(set(given) - set(known)):
        raise ParameterError(
            f"A campaign has no parameter named {', '.join(unknown)}.",
            f"Known parameters: table, {', '.join(known)}.",
        )
    if table is None and (lonely := [name for name in _OF_ONE_TABLE if name in given]):
        raise ParameterError(f"{', '.join(lonely)} cannot be of several tables.", "Give table, too.")
    plan = read_plan_parameters({name: given[name] for name in given if name in PlanParameters.model_fields})
    slices = {name: given[name] for name in of_slices if name in given}
    _check_kinds(slices, Parameters, _TEXTS)
    _ = _validated(Parameters, slices | {"run_id": plan.run_id, "table": "any"}).how
    return plan, slices


def read_run_choice(dry_run: bool, max_rows: int | None) -> tuple[bool, int | None]:
    """``dry_run`` and ``max_rows`` of a whole campaign, where the environment says something, too.

    Raises:
        ParameterError: a value is of the wrong kind or out of bounds.
    """
    given = {"dry_run": dry_run or None, "max_rows": max_rows}
    values = {name: _setting(name, given, None) for name in given}
    found = _validated(Parameters, {"run_id": "any", "table": "any", **values})
    return found.dry_run, found.max_rows


def read_parameters(names: Mapping[str, Any], tables: Path) -> tuple[Parameters, TableConfig, set[str]]:
    """Parameters and table file for the names that a notebook holds.

    Args:
        names: the notebook's ``globals()``.
        tables: folder of the table files.

    Returns:
        The parameters in force, the table file with ``sf_object`` and ``external_id_field`` applied, and
        the names that the notebook itself declares.

    Raises:
        ParameterError: a value is of the wrong kind or out of bounds, or a name is unknown.
        TableFileError: the table file is missing or not valid.
    """
    given = _given(names)
    _check_names(given)
    config = TableConfig.load(str(_setting("table", given, None)), tables)
    parameters = _resolve(given, config)
    _ = parameters.how  # a wrong word is refused before anything is begun
    return parameters, _overridden(config, parameters), set(given)


def _overridden(config: TableConfig, parameters: Parameters) -> TableConfig:
    """The table file with the object and the external id field that the operator chose."""
    sobject = parameters.sf_object or config.object
    key = parameters.external_id_field or config.external_id_field
    if (sobject, key) == (config.object, config.external_id_field):
        return config
    fields = tuple(f.model_copy(update={"field": key}) if f is config.key else f for f in config.fields)
    changes = {"object": sobject, "external_id_field": key, "fields": fields}
    try:
        return TableConfig.model_validate(config.model_dump() | changes)
    except ValidationError as error:
        problems = "; ".join(e["msg"] for e in error.errors(include_input=False, include_url=False))
        raise ParameterError(
            f"sf_object {sobject!r} with external_id_field {key!r} cannot be used: {problems}.",
            "Give the API names of an object and of a field that the table file does not map otherwise.",
        ) from None


def _given(names: Mapping[str, Any], model: type[BaseModel] = Parameters) -> dict[str, Any]:
    """The parameters among a notebook's names, and plain values beside them, which nobody asked for."""
    plain = (str, int, float, bool, list, dict, type(None))
    return {
        name: value
        for name, value in names.items()
        if name in model.model_fields
        or (isinstance(value, plain) and not name.startswith("_") and name not in _IPYTHON)
    }


def _check_names(given: Mapping[str, Any]) -> None:
    _check_kinds(given, Parameters, _TEXTS)
    if "\0" in str(_setting("outputs", given, None)):
        raise ParameterError("outputs holds a NUL character.", "Give the path of a folder.")
    _check_run_id(_setting("run_id", given, None))
    table = _setting("table", given, None)
    if not table or not TABLE_NAME.fullmatch(table):
        raise ParameterError(
            f"table {table!r} is not the name of a table file.", "Use the file's name without .toml."
        )


def _check_run_id(run_id: Any) -> None:
    if not run_id or not _RUN_ID.fullmatch(run_id) or set(run_id) <= {"."}:
        raise ParameterError(
            f"run_id {run_id!r} cannot name a folder.",
            "Use 1 to 80 of the characters A-Z a-z 0-9 _ . - (not dots alone).",
        )


def _check_kinds(given: Mapping[str, Any], model: type[BaseModel], texts: Collection[str]) -> None:
    known = model.model_fields
    if unknown := sorted(set(given) - set(known)):
        raise ParameterError(
            f"There is no parameter named {', '.join(unknown)}.", f"Known parameters: {', '.join(known)}."
        )
    for name, value in given.items():
        plain = isinstance(value, str | int | float) and not isinstance(value, bool)
        if (
            value is not None
            and not plain
            and not (isinstance(value, bool) and known[name].annotation is bool)
        ):
            raise ParameterError(
                f"{name} arrived as the {type(value).__name__} {value!r}.",
                f"Pass it as text: papermill -r {name} …" if name in texts else "Pass a whole number.",
            )
        if name in texts and isinstance(value, int | float):
            raise ParameterError(
                f"{name} arrived as the {type(value).__name__} {value!r}: the command line turned the text into a number.",
                f"Pass it as text: papermill -r {name} …",
            )


def _setting(name: str, given: Mapping[str, Any], config: TableConfig | None) -> Any:
    """Parameter > environment > table file; None if none of them says anything."""
    if (value := given.get(name)) is not None:
        return value
    if value := os.environ.get(f"ORA2SF_{name.upper()}"):
        return value
    return getattr(config, name, None) if name in {"batch_size", "job_timeout"} else None


def _resolve(given: Mapping[str, Any], config: TableConfig) -> Parameters:
    return _validated(Parameters, {name: _setting(name, given, config) for name in Parameters.model_fields})


def _validated(model: type[Model], values: Mapping[str, Any]) -> Model:
    try:
        return model.model_validate({name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        problems = "; ".join(
            f"{e['loc'][0]} = {values.get(str(e['loc'][0]))!r}: {e['msg']}" for e in error.errors()
        )
        raise ParameterError(
            f"A parameter cannot be used: {problems}.",
            "Correct it; `papermill --help-notebook` lists types and defaults.",
        ) from None
