"""The DAG's file as it can be read without Airflow, which is not installed here; `make test-airflow` runs it."""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from pathlib import Path
from types import SimpleNamespace
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


@pytest.fixture(scope="module")
def dag() -> SimpleNamespace:
    """The functions of the DAG's file that need nothing of Airflow."""
    names = {"phases", "name_of_run", "value_of", "settled"}
    body = [
        node for node in tree(DAGS / "migrate_bulk_api_dag.py").body if getattr(node, "name", "") in names
    ]
    kinds = {"string": str, "integer": int, "boolean": bool}
    there: dict[str, Any] = {
        "ROOT": ROOT,
        "re": re,
        "hashlib": hashlib,
        "PARAMETERS": constant("PARAMETERS"),
        "_KINDS": kinds,
    }
    future = ast.parse("from __future__ import annotations").body
    exec(compile(ast.Module([*future, *body], []), "migrate_bulk_api_dag", "exec"), there)
    return SimpleNamespace(**{name: there[name] for name in names})


def test_the_phases_that_the_dag_reads_are_those_of_the_table_files(dag: SimpleNamespace) -> None:
    found: dict[int, list[str]] = {}
    for config in read_catalog(ROOT / "tables").in_order():
        found.setdefault(config.phase, []).append(config.table)
    assert dag.phases() == found


def test_a_dag_run_names_its_campaign_always_alike_and_no_other_the_same(dag: SimpleNamespace) -> None:
    ids = [
        "manual__2026-11-22T13:59:11.128326+00:00",
        "manual__2026-11-22T1359:11.128326+00:00",
        "plain-1.2",
        "ผ่าน",
        "..",
        "x" * 200,
        "x" * 201,
    ]
    names = [dag.name_of_run(one) for one in ids]
    assert names == [dag.name_of_run(one) for one in ids]
    assert names[2] == "plain-1.2"
    assert len(set(names)) == len(ids)
    for name in names:
        read_every_parameter({"run_id": name})


def test_the_configuration_wins_over_a_variable_and_what_nobody_gave_is_left_out(
    dag: SimpleNamespace,
) -> None:
    variables = {"batch_size": " 300 ", "gzip_upload": "True", "table": "b", "sf_conn_id": "0042"}
    assert dag.settled({"table": "a", "start_batch": 2, "reserve": None}, variables) == {
        "table": "a", "batch_size": 300, "start_batch": 2, "gzip_upload": True, "sf_conn_id": "0042"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("conf", "variables", "words"),
    [
        ({"tabel": "a"}, {}, "there is no parameter tabel"),
        ({"batch_size": "300"}, {}, "batch_size of the configuration is the str '300', not of type integer"),
        ({"batch_size": True}, {}, "batch_size of the configuration is the bool True"),
        ({"table": 7}, {}, "table of the configuration is the int 7"),
        ({}, {"reserve": "much"}, "reserve of the Variable is the str 'much'"),
        ({}, {"gzip_upload": "1"}, "gzip_upload of the Variable is the int 1"),
    ],
)
def test_a_parameter_of_another_kind_is_refused_by_name(
    dag: SimpleNamespace, conf: dict[str, Any], variables: dict[str, str], words: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        dag.settled(conf, variables)


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
