"""The parameters of the notebooks: names, kinds and bounds, and which of several sources decides.

Parameter > environment (``ORA2SF_<NAME>``) > table file > default.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ora2sf.errors import ParameterError
from ora2sf.tables import (
    DEFAULT_BATCH_SIZE,
    DEFAULT_JOB_TIMEOUT,
    DEFAULT_ROUNDS,
    MAX_BATCH_SIZE,
    TABLE_NAME,
    TableConfig,
)

#: Parents of one lookup field that Salesforce is asked for: about 100 calls, with keys of 20 characters.
DEFAULT_PARENTS_ASKED = 20_000
_RUN_ID = re.compile(r"[A-Za-z0-9_.-]{1,80}")
_TEXTS = (
    "run_id",
    "table",
    "outputs",
    "oracle_conn_id",
    "sf_conn_id",
    "external_ref",
    "sf_object",
    "external_id_field",
    "error_code",
    "error_field",
    "reason",
    "confirm",
)
#: What IPython itself keeps among the names of a notebook.
_IPYTHON = {"In", "Out"}


class Parameters(BaseModel):
    """Every parameter of the notebooks; each notebook shows those it uses and accepts all."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    run_id: str
    table: str
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
    job_timeout: int = Field(default=DEFAULT_JOB_TIMEOUT, ge=1)
    max_rounds: int = Field(default=DEFAULT_ROUNDS, ge=0, le=10)
    max_parents_asked: int = Field(default=DEFAULT_PARENTS_ASKED, ge=0)
    profile: Literal["full", "counts"] = "full"
    keep_source: Literal["yes", "no"] = "yes"
    fix: Literal["list", "table", "csv", "exclude"] = "list"
    error_code: str = ""
    error_field: str = ""
    reason: str = ""
    confirm: str = ""
    include_changed: Literal["no", "yes"] = "no"


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


def _given(names: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters among a notebook's names, and plain values beside them, which nobody asked for."""
    plain = (str, int, float, bool, list, dict, type(None))
    return {
        name: value
        for name, value in names.items()
        if name in Parameters.model_fields
        or (isinstance(value, plain) and not name.startswith("_") and name not in _IPYTHON)
    }


def _check_names(given: Mapping[str, Any]) -> None:
    known = Parameters.model_fields
    if unknown := sorted(set(given) - set(known)):
        raise ParameterError(
            f"There is no parameter named {', '.join(unknown)}.", f"Known parameters: {', '.join(known)}."
        )
    for name, value in given.items():
        if value is not None and (not isinstance(value, str | int | float) or isinstance(value, bool)):
            raise ParameterError(
                f"{name} arrived as the {type(value).__name__} {value!r}.",
                f"Pass it as text: papermill -r {name} …" if name in _TEXTS else "Pass a whole number.",
            )
        if name in _TEXTS and isinstance(value, int | float):
            raise ParameterError(
                f"{name} arrived as the {type(value).__name__} {value!r}: the command line turned the text into a number.",
                f"Pass it as text: papermill -r {name} …",
            )
    if "\0" in str(_setting("outputs", given, None)):
        raise ParameterError("outputs holds a NUL character.", "Give the path of a folder.")
    run_id, table = _setting("run_id", given, None), _setting("table", given, None)
    if not run_id or not _RUN_ID.fullmatch(run_id) or set(run_id) <= {"."}:
        raise ParameterError(
            f"run_id {run_id!r} cannot name a folder.",
            "Use 1 to 80 of the characters A-Z a-z 0-9 _ . - (not dots alone).",
        )
    if not table or not TABLE_NAME.fullmatch(table):
        raise ParameterError(
            f"table {table!r} is not the name of a table file.", "Use the file's name without .toml."
        )


def _setting(name: str, given: Mapping[str, Any], config: TableConfig | None) -> Any:
    """Parameter > environment > table file; None if none of them says anything."""
    if (value := given.get(name)) is not None:
        return value
    if value := os.environ.get(f"ORA2SF_{name.upper()}"):
        return value
    return getattr(config, name, None) if name in {"batch_size", "job_timeout"} else None


def _resolve(given: Mapping[str, Any], config: TableConfig) -> Parameters:
    values = {name: _setting(name, given, config) for name in Parameters.model_fields}
    try:
        return Parameters.model_validate({name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        problems = "; ".join(
            f"{e['loc'][0]} = {values.get(str(e['loc'][0]))!r}: {e['msg']}" for e in error.errors()
        )
        raise ParameterError(
            f"A parameter cannot be used: {problems}.",
            "Correct it; `papermill --help-notebook` lists types and defaults.",
        ) from None
