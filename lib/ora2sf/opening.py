"""``open_run``: how a notebook gets the run that its parameters name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, overload

from ora2sf.run import Run, Step, open_as
from ora2sf.run_dry import DryRun
from ora2sf.run_retry import RetryRun
from ora2sf.run_rollback import RollbackRun


@overload
def open_run(step: Literal["04_retry"], names: Mapping[str, Any]) -> RetryRun: ...
@overload
def open_run(step: Literal["90_rollback"], names: Mapping[str, Any]) -> RollbackRun: ...
@overload
def open_run(step: Literal["01_extract", "02_upload", "03_reconcile"], names: Mapping[str, Any]) -> Run: ...
def open_run(step: Step, names: Mapping[str, Any]) -> Run:
    """Opens the run that a notebook's parameters name.

    Args:
        step: the notebook's name.
        names: its ``globals()``: the parameters, and whatever was injected beside them.

    Raises:
        ParameterError: a value is of the wrong kind or out of bounds, or a name is unknown.
        TableFileError: the table file is missing or not valid.
        RunFolderError: the run's folder cannot be written.
        LedgerError: the run_id was begun with other settings, or what is asked for may not be done any more.
    """
    if step == "04_retry":
        return open_as(RetryRun, step, names)
    if step == "90_rollback":
        return open_as(RollbackRun, step, names)
    return open_as(Run, step, names, dry=DryRun)
