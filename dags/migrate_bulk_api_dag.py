"""The DAG ``migrate_bulk_api``: plan → for each phase, its slices side by side: 01 → 02 → 03 → the campaign's report.

A slice is read as soon as the phase before was read, and sent as soon as the phase before came to good verdicts; this is what
``ora2sf run`` does, too. docs/airflow.md says how to set it up and what each failure does.

Phases are read from tables/ when this file is parsed: one line of each table file, a few milliseconds. So the groups have the
names by which everybody knows the phases, and the shape of the DAG changes only when the tables do. A phase in which a run
has no slice is skipped.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import re
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Param, Variable, dag, get_current_context, task, task_group
from airflow.sdk.exceptions import AirflowFailException
from notebook_operator import NotebookOperator

ROOT = Path(os.environ.get("ORA2SF_HOME", Path(__file__).resolve().parents[1]))
#: A kernel of the project's environment, as `python -m ipykernel install --name` registered it.
KERNEL = os.environ.get("ORA2SF_KERNEL", "ora2sf")
#: Slices that are read, and sent, at once over all runs: the pools' slots. A slice that is sent has up to
#: max_concurrent_jobs jobs in flight, so slots × max_concurrent_jobs must stay under what the org works on at once.
EXTRACTS, LOADS = "ora2sf_extract", "ora2sf_load"
#: Task instances of one kind in one run, whatever the pools allow.
SIDE_BY_SIDE = 16
NOTEBOOK: dict[str, Any] = {
    "kernel_name": KERNEL,
    "retries": 5,
    "retry_delay": dt.timedelta(seconds=30),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": dt.timedelta(minutes=15),
}
SLICE = NOTEBOOK | {"map_index_template": "{{ slice }}", "max_active_tis_per_dagrun": SIDE_BY_SIDE}

#: Every parameter of a run: its JSON type, and what it means. DAG run configuration > Airflow Variable ``ora2sf_<name>`` > default.
PARAMETERS: dict[str, tuple[str, str]] = {
    "run_id": ("string", "name of the campaign and of its folder; default: made of the DAG run's own id"),
    "table": ("string", "one table; default: every file of tables/"),
    "tables": ("string", "several tables, with blanks between them"),
    "freeze": ("boolean", "false: stop after planning, so that somebody can review the plan and freeze it; default: true"),
    "outputs": ("string", "folder of runs, on a volume that all workers share; default: outputs/ of the project"),
    "oracle_conn_id": ("string", "connection of the source database; default: oracle_tms"),
    "sf_conn_id": ("string", "connection of the Salesforce org; default: salesforce_api"),
    "since": ("string", "earlier campaign: read only what changed since its moment"),
    "overlap": ("integer", "seconds before that moment that are read once more; default: 3600"),
    "rates_from": ("string", "run whose ledgers tell how fast slices go"),
    "slice_rows": ("integer", "most rows of a slice; default: 5000000"),
    "sample_rows": ("integer", "rows of each table from which its bytes are estimated; default: 1000"),
    "reserve": ("integer", "percent of the org's daily limits that is left to others; default: 10"),
    "batch_size": ("integer", "rows in a batch, one batch is one job; default: the table file, else 40000"),
    "start_batch": ("integer", "first batch to send, those before it are skipped; default: 1"),
    "max_concurrent_jobs": ("integer", "jobs in flight of one slice; default: 15"),
    "max_concurrent_uploads": ("integer", "of these, files on the wire; default: 4"),
    "gzip_upload": ("boolean", "send compressed, if a first job shows that the org takes it; default: false"),
    "job_timeout": ("integer", "seconds until a job is left to the next try; default: the table file, else 7200"),
    "max_rounds": ("integer", "times that rows are sent again which failed for a passing reason; default: 3"),
    "max_parents_asked": ("integer", "records of one lookup that Salesforce is asked for; default: 20000"),
    "small_set": ("integer", "staged rows up to which they are sent without a job, 0: never; default: 200"),
    "max_rows": ("integer", "read at most so many rows of each slice, for a trial; default: all"),
    "webhook": ("string", "connection of a web address that is told of verdict, pause and failure; default: none"),
    "profile": ("string", "full, or counts; default: full"),
    "keep_source": ("string", "no: the source columns are not kept for 04_retry; default: yes"),
    "compare": ("string", "full, aggregates, counts, or sample(1000); default: full"),
    "compare_rules": ("string", "Salesforce's own changes that count as equal"),
    "compare_memory_mb": ("integer", "memory of the comparison; default: 512"),
    "external_ref": ("string", "reference of the status record, with table only"),
    "sf_object": ("string", "object to load, with table only; default: the table file"),
    "external_id_field": ("string", "its external id field, with table only; default: the table file"),
}  # fmt: skip
_KINDS: dict[str, type] = {"string": str, "integer": int, "boolean": bool}


def phases() -> dict[int, list[str]]:
    """Phase → names of its tables, in order."""
    found: dict[int, list[str]] = {}
    for path in sorted((ROOT / "tables").glob("*.toml")):
        if line := re.search(r"^phase\s*=\s*(\d+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            found.setdefault(int(line[1]), []).append(path.stem)
    return dict(sorted(found.items()))


def name_of_run(dag_run_id: str) -> str:
    """The same name for the same DAG run, so that what is run again goes on; only of letters that may name a folder."""
    clean = re.sub(r"[^A-Za-z0-9_.-]", "", dag_run_id.replace(":", "").replace("+", "."))
    if clean == dag_run_id and len(clean) <= 80 and clean.strip("."):
        return clean
    return f"{clean[:71]}-{hashlib.sha256(dag_run_id.encode()).hexdigest()[:8]}"


def value_of(name: str, value: Any, where: str) -> Any:
    """A parameter of its kind; a Variable is text.

    Raises:
        ValueError: it is of another kind.
    """
    kind = PARAMETERS[name][0]
    if where == "Variable" and kind != "string":
        text = str(value).strip().lower()
        value = int(text) if re.fullmatch(r"-?\d+", text) else {"true": True, "false": False}.get(text, value)
    if type(value) is not _KINDS[kind]:
        raise ValueError(f"{name} of the {where} is the {type(value).__name__} {value!r}, not of type {kind}")
    return value


def settled(conf: dict[str, Any], variables: dict[str, str]) -> dict[str, Any]:
    """The parameters that somebody gave; the others have the defaults of the notebooks.

    Raises:
        ValueError: names that there are not, and values of the wrong kind, all of them.
    """
    wrong = [f"there is no parameter {name}" for name in sorted(set(conf) - set(PARAMETERS))]
    found: dict[str, Any] = {}
    for name in PARAMETERS:
        where = "configuration" if conf.get(name) is not None else "Variable"
        value = conf.get(name) if where == "configuration" else variables.get(name)
        if value is None:
            continue
        try:
            found[name] = value_of(name, value, where)
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise ValueError(f"{'; '.join(wrong)}. Known parameters: {', '.join(PARAMETERS)}")
    return found


@task(retries=2, multiple_outputs=False)
def settings() -> dict[str, Any]:
    """The parameters of this run: DAG run configuration > Airflow Variable > default."""
    run = get_current_context()["dag_run"]
    variables = {}
    for name in PARAMETERS:
        if name != "run_id" and (value := Variable.get(f"ora2sf_{name}", default=None)) is not None:
            variables[name] = value
    try:
        given = settled(run.conf or {}, variables)
    except ValueError as error:
        raise AirflowFailException(str(error)) from None
    return {"run_id": name_of_run(run.run_id)} | given


@task
def slices(plan: dict[str, Any], phase: int) -> list[dict[str, Any]]:
    """What the notebooks of each slice of a phase are given."""
    return [one["parameters"] for one in plan["slices"] if one["phase"] == phase]


def notebook(name: str) -> str:
    """Path of a notebook."""
    return str(ROOT / "notebooks" / f"{name}.ipynb")


def phase_group(
    number: int, tables: list[str], plan: Any, read_before: list[Any], sent_before: list[Any]
) -> tuple[Any, Any, Any]:
    """The slices of a phase, each with its three notebooks.

    Args:
        read_before, sent_before: ends when the phase before was read, and was sent; empty for the first phase.

    Returns:
        The same of this phase, and its last notebook.
    """
    was_read = EmptyOperator(task_id=f"phase_{number}_read", trigger_rule="none_failed")
    was_sent = EmptyOperator(task_id=f"phase_{number}_sent", trigger_rule="none_failed")
    last: list[NotebookOperator] = []

    @task_group(group_id=f"phase_{number}", tooltip=", ".join(tables))
    def phase(one: dict[str, Any]) -> None:
        extract = NotebookOperator(
            task_id="extract", input_nb=notebook("01_extract"), parameters=one, pool=EXTRACTS,
            execution_timeout=dt.timedelta(hours=12), **SLICE,
        )  # fmt: skip
        upload = NotebookOperator(
            task_id="upload", input_nb=notebook("02_upload"), parameters=one, pool=LOADS,
            execution_timeout=dt.timedelta(hours=24), **SLICE,
        )  # fmt: skip
        reconcile = NotebookOperator(
            task_id="reconcile", input_nb=notebook("03_reconcile"), parameters=one, pool=EXTRACTS,
            execution_timeout=dt.timedelta(hours=12), **SLICE,
        )  # fmt: skip
        extract >> upload >> reconcile >> was_sent
        extract.set_upstream(read_before)
        upload.set_upstream(sent_before)
        extract >> was_read
        last.append(reconcile)

    phase.expand(one=slices.override(task_id=f"phase_{number}_slices")(plan.output, number))
    was_read.set_upstream(read_before)
    was_sent.set_upstream(sent_before)
    return was_read, was_sent, last[0]


@dag(
    dag_id="migrate_bulk_api",
    description="Moves Oracle tables to Salesforce through Bulk API 2.0",
    schedule=None,
    catchup=False,
    params={name: Param(None, type=["null", kind], description=text) for name, (kind, text) in PARAMETERS.items()},
    tags=["oracle", "salesforce"],
    doc_md=__doc__,
)  # fmt: skip
def migrate_bulk_api() -> None:
    """Plan, phases, report."""
    given = settings()
    plan = NotebookOperator(
        task_id="plan", input_nb=notebook("00_plan"), parameters=given, pool=EXTRACTS,
        execution_timeout=dt.timedelta(hours=12), **NOTEBOOK,
    )  # fmt: skip
    report = NotebookOperator(
        task_id="report", input_nb=notebook("05_campaign"), parameters=given,
        trigger_rule="all_done", execution_timeout=dt.timedelta(hours=2), **NOTEBOOK,
    )  # fmt: skip
    plan >> report
    read_before: list[Any] = []
    sent_before: list[Any] = []
    for number, tables in phases().items():
        was_read, was_sent, last = phase_group(number, tables, plan, read_before, sent_before)
        read_before, sent_before = [was_read], [was_sent]
        last >> report


migrate_bulk_api()
