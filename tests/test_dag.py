"""The DAG's file as it can be read without Airflow, which is not installed here; `make test-airflow` runs it."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from ora2sf import worker
from ora2sf.catalog import read_catalog
from ora2sf.errors import ParameterError
from ora2sf.parameters import read_every_parameter
from world import ROOT

DAGS = ROOT / "dags"
FILES = sorted(DAGS.glob("*.py"))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), path.name)


def constant(name: str) -> Any:
    """A constant of the DAG's file."""
    for node in ast.walk(tree(DAGS / "migrate_bulk_api_dag.py")):
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
            assert node.value
            return ast.literal_eval(node.value)
    raise AssertionError(f"The DAG has no {name}")


def test_the_dag_names_only_notebooks_that_exist_and_that_the_worker_knows() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in FILES)
    named = set(re.findall(r'"(\d\d_[a-z]+)"', text))
    assert named == set(worker.KNOWN)
    assert {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} >= named


def test_the_dag_imports_nothing_of_the_project_and_asks_nothing_while_it_is_parsed() -> None:
    for path in FILES:
        for node in tree(path).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = (
                    [one.name for one in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                )
                roots = {name.split(".")[0] for name in names}
                assert roots <= {*sys.stdlib_module_names, "airflow", "notebook_operator"}, path
            elif not isinstance(node, ast.FunctionDef | ast.ClassDef):
                assert not re.search(r"Variable\.|BaseHook\.|get_connection", ast.unparse(node)), path


@pytest.mark.parametrize("name", constant("PARAMETERS"))
def test_every_parameter_of_the_dag_is_one_of_the_library(name: str) -> None:
    kind, text = constant("PARAMETERS")[name]
    values = {"integer": 300, "boolean": True, "string": "full" if name in {"profile", "compare"} else "yes"}
    value = {"reserve": 10, "max_rounds": 3, "max_concurrent_jobs": 15, "max_concurrent_uploads": 4, "compare_rules": "trimming"}.get(name, values[kind])  # fmt: skip
    given = {"run_id": "r", "table": "t"} | {name: value}
    if name == "tables":
        del given["table"]
    if name != "freeze":  # of the process that runs 00_plan
        read_every_parameter(given)
    assert text
    assert f"| `{name}` |" in (ROOT / "docs" / "airflow.md").read_text(encoding="utf-8")


def test_the_phases_that_the_dag_reads_are_those_of_the_table_files() -> None:
    found: dict[int, list[str]] = {}
    source = next(
        n
        for n in tree(DAGS / "migrate_bulk_api_dag.py").body
        if isinstance(n, ast.FunctionDef) and n.name == "phases"
    )
    names: dict[str, Any] = {"ROOT": ROOT, "re": re}
    exec(compile(ast.Module([source], []), "phases", "exec"), names)
    for config in read_catalog(ROOT / "tables").in_order():
        found.setdefault(config.phase, []).append(config.table)
    assert names["phases"]() == found


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tabel": "t"}, "no parameter named tabel"),
        ({"table": "t", "tables": "a b"}, "Both table and tables"),
        ({"sf_object": "X__c"}, "sf_object cannot be of several tables"),
        ({"table": "t", "window": "w001"}, "no parameter named window"),
        ({"reserve": 200}, "reserve = 200"),
        ({"batch_size": "many"}, "batch_size = 'many'"),
        ({"compare": "some"}, "compare"),
    ],
)
def test_what_a_campaign_cannot_be_given_is_refused_before_anything_begins(
    given: dict[str, Any], words: str
) -> None:
    with pytest.raises(ParameterError, match=words):
        read_every_parameter({"run_id": "r"} | given)
