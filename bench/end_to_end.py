"""The three notebooks' steps on tables of growing size: seconds, rows a second, processor time and peak memory of each.

    python bench/end_to_end.py [--rows 10000 100000 1000000] [--keep]

Each size has a fakeoracle, a fakeforce and a process of its own for the steps of 01_extract, 02_upload and 03_reconcile, in the
order of their cells, with the defaults of the notebooks. Memory and processor time are those of that process; its peak is
measured anew for each notebook. The servers' processor time is printed apart: they share the cores with the steps, and a real
org and a real database are somewhere else.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import extract  # bench/extract.py, and so on
from measuring import check, child, kept, parser, peak_mb, processor_seconds

import fakeforce
import fakeoracle

RUN = {"run_id": "bench", "table": "t"}
STEPS = {
    "01_extract": "sign_in_salesforce sign_in_oracle check_table extract rejected profile check_data samples announce check_limits",
    "02_upload": "sign_in_salesforce plan_upload check_limits upload check_limits jobs",
    "03_reconcile": "fetch_missing balance failures compare totals verdict",
}
#: Peak memory may grow by so much from the second largest to the largest size.
MOST_GROWTH = 1.15
_TEXTS = {"key": 255, "text": 255, "code": 30}


def main() -> int:
    """Prints a table: one line a notebook and size."""
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    arguments.add_argument("--steps", action="store_true", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.steps:
        print(json.dumps(steps()))
        return 0
    with kept("end_to_end", keep=given.keep):
        print(
            f"{'rows':>11}  {'step':<14}{'seconds':>9}{'rows/s':>10}{'CPU s':>8}{'peak MiB':>10}   servers' CPU s: oracle, force",
            flush=True,
        )
        peaks = [whole(rows) for rows in given.rows]
        for step, smaller, larger in zip(STEPS, *(peaks[-2:] if peaks[1:] else peaks * 2), strict=True):
            print(
                f"{step}: {larger / smaller:.2f} times the peak memory at {given.rows[-1] / given.rows[-2 % len(peaks)]:g} times the rows"
            )
    return 0


def whole(rows: int) -> list[float]:
    """One size; returns the peak memory of each step."""
    with tempfile.TemporaryDirectory(prefix="bench-end-to-end-") as name, ExitStack() as stack:
        home = Path(name)
        write_project(home)
        oracle, dsn = stack.enter_context(extract.filled(home, rows))
        url, force = stack.enter_context(fakeforce.server(home / "schema"))
        os.environ |= connections(dsn, url) | {"ORA2SF_HOME": str(home)}
        os.environ |= {"BENCH_SERVERS": f"{oracle} {force.pid}"}
        said: dict[str, Any] = child(__file__, "--steps")
        check("verdict", said["verdict"], "Verdict: proven")
        check("rows staged", said["staged"], rows)
    for step, one in said["steps"].items():
        servers = "  ".join(f"{seconds:8.2f}" for seconds in one["servers"])
        print(
            f"{rows:11,}  {step:<14}{one['seconds']:9.2f}{rows / one['seconds']:10,.0f}{one['cpu']:8.2f}{one['peak']:10.0f}   {servers}"
        )
    seconds, cpu = (sum(one[key] for one in said["steps"].values()) for key in ("seconds", "cpu"))
    print(
        f"{rows:11,}  {'all three':<14}{seconds:9.2f}{rows / seconds:10,.0f}{cpu:8.2f}{said['peak']:10.0f}",
        flush=True,
    )
    return [one["peak"] for one in said["steps"].values()]


# --- the process that is measured ------------------------------------------------------------------------------------


def steps() -> dict[str, Any]:
    """What the cells of the three notebooks call, in their order."""
    from ora2sf import open_run

    found: dict[str, Any] = {"steps": {}, "peak": 0.0}
    for step, cells in STEPS.items():
        with (
            measured(found, step),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            run = open_run(step, RUN)  # type: ignore[arg-type]
            for cell in cells.split():
                shown = getattr(run, cell)()
        found["peak"] = max(found["peak"], found["steps"][step]["peak"])
    extraction = run.ledger.extraction()
    assert extraction is not None
    return found | {"staged": extraction.rows_staged, "verdict": shown.sentence.partition(". ")[0]}


@contextmanager
def measured(found: dict[str, Any], step: str) -> Iterator[None]:
    """Seconds, processor seconds and peak memory of a step, and the servers' processor seconds meanwhile."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew: proc(5)
    servers = os.environ["BENCH_SERVERS"].split()
    began, cpu, theirs = time.perf_counter(), time.process_time(), [processor_seconds(pid) for pid in servers]
    yield
    found["steps"][step] = {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - cpu,
        "peak": peak_mb(),
        "servers": [processor_seconds(pid) - before for pid, before in zip(servers, theirs, strict=True)],
    }


# --- the table, its object, and the two connections ------------------------------------------------------------------


def write_project(home: Path) -> None:
    """The table of bench/extract.py as a table file, and its object as the org has it."""
    (home / "tables").mkdir()
    (home / "schema").mkdir()
    config = extract.table()
    head = f'table = "t"\nobject = "{config.object}"\nexternal_id_field = "{config.external_id_field}"\nsource_time_zone = "Asia/Bangkok"\n'
    fields = "".join(f"\n[[fields]]\n{toml(spec)}" for spec in extract.FIELDS)
    (home / "tables/t.toml").write_text(f'{head}\n[source]\ntable = "T"\n{fields}', encoding="utf-8")
    objects = "".join(f"\n[[fields]]\n{toml(in_the_org(spec))}" for spec in extract.FIELDS)
    (home / "schema/T__c.toml").write_text(
        f'name = "{config.object}"\nkey_prefix = "a0B"\n{objects}', encoding="utf-8"
    )


def in_the_org(spec: dict[str, Any]) -> dict[str, Any]:
    """A field as Salesforce has it."""
    kind = spec["type"]
    made: dict[str, Any] = {"name": spec["field"], "type": kind}
    if kind in _TEXTS:
        made |= {"type": "string", "length": spec.get("length", _TEXTS[kind])}
    if kind == "key":
        made |= {"external_id": True, "unique": True, "nillable": False}
    if kind == "picklist":
        made |= {"values": list(spec["values"].values())}
    if kind in {"integer", "decimal"}:
        made |= {"type": "double", "precision": 18, "scale": spec.get("scale", 0)}
    return made


def toml(values: dict[str, Any]) -> str:
    """Values as lines of TOML; JSON's texts, numbers and lists are TOML, too."""

    def written(value: Any) -> str:
        if isinstance(value, dict):
            return (
                f"{{ {', '.join(f'{json.dumps(key)} = {json.dumps(one)}' for key, one in value.items())} }}"
            )
        return json.dumps(value)

    return "".join(f"{key} = {written(value)}\n" for key, value in values.items())


def connections(dsn: str, url: str) -> dict[str, str]:
    """The environment that names both servers."""
    address, _, service = dsn.partition("/")
    host, _, port = address.partition(":")
    oracle = {
        "conn_type": "oracle",
        "host": host,
        "port": int(port),
        "schema": service,
        "login": fakeoracle.USER,
        "password": fakeoracle.PASSWORD,
    }
    force = {"conn_type": "http", "host": url, "login": "demo-client", "password": "demo-secret"}
    return {"AIRFLOW_CONN_ORACLE_TMS": json.dumps(oracle), "AIRFLOW_CONN_SALESFORCE_API": json.dumps(force)}


if __name__ == "__main__":
    sys.exit(main())
