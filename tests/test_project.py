"""The project's own files agree with each other, and its notebooks keep their form."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from ora2sf.parameters import CampaignParameters, Parameters, PlanParameters
from world import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
#: What the project's users know by name.
NAMED = {
    "papermill",
    "jupyterlab",
    "oracledb",
    "requests",
    "pandas",
    "scrapbook",
    "pytest",
    "nbval",
    "responses",
}


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def declared() -> set[str]:
    extras = [name for names in project()["optional-dependencies"].values() for name in names]
    return {canonical(name) for name in (*project()["dependencies"], *extras)}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\s;<>=\[]", name)[0]).lower()


def locked() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        name, _, rest = line.partition("==")
        found.setdefault(canonical(name), set()).add(rest.split(" ")[0])
    return found


def test_the_lock_pins_every_declared_package_exactly_and_names_no_index() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert declared() <= set(locked())
    assert "://" not in text
    assert "--" not in text
    assert all("==" in line for line in text.splitlines())


def test_the_installed_packages_are_those_of_the_lock() -> None:
    for name in declared():
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # an extra that this environment does not need
        assert version in locked()[name], name


def test_environment_yml_names_the_users_packages_and_leaves_the_versions_to_the_lock() -> None:
    python, pip, packages = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))[
        "dependencies"
    ]
    assert pip == "pip"
    assert project()["requires-python"].removeprefix(">=") == python.removeprefix("python=")
    assert packages["pip"][-2:] == ["-r requirements.lock", "-e ."]
    assert set(packages["pip"][:-2]) == NAMED
    assert declared() >= NAMED


def test_the_runtime_set_leaves_jupyterlab_out() -> None:
    assert "jupyterlab" not in {canonical(name) for name in project()["dependencies"]}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def cells(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(request.param.read_text(encoding="utf-8"))["cells"]
    return found


def code(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_a_notebook_in_git_carries_no_outputs(cells: list[dict[str, Any]]) -> None:
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code(cells))


def test_markdown_stands_before_every_code_cell(cells: list[dict[str, Any]]) -> None:
    kinds = [cell["cell_type"] for cell in cells]
    assert all(kinds[i - 1] == "markdown" for i, kind in enumerate(kinds) if kind == "code")


def test_code_cells_are_short_and_hold_no_logic(cells: list[dict[str, Any]]) -> None:
    assert len(code(cells)) <= 12
    for cell in code(cells):
        tree = ast.parse("".join(cell["source"]))
        forbidden = (ast.FunctionDef, ast.ClassDef, ast.For, ast.While, ast.Try, ast.If)
        assert not any(isinstance(node, forbidden) for node in ast.walk(tree))
        assert len(tree.body) <= 3 or "parameters" in cell["metadata"]["tags"]


def parameter_lines(cells: list[dict[str, Any]]) -> list[str]:
    (cell,) = [cell for cell in code(cells) if "parameters" in cell["metadata"].get("tags", ())]
    lines: list[str] = cell["source"]
    return lines


def parameters_of(cells: list[dict[str, Any]]) -> type[BaseModel]:
    opened = {"open_plan": PlanParameters, "open_campaign": CampaignParameters}
    return next((model for name, model in opened.items() if name in json.dumps(cells)), Parameters)


def test_parameters_are_typed_commented_known_and_in_one_cell(cells: list[dict[str, Any]]) -> None:
    known = parameters_of(cells).model_fields
    for line in parameter_lines(cells):
        name, kind = re.fullmatch(r"(\w+): (str|int|bool) = .*  # .+\n?", line).groups()  # type: ignore[union-attr]
        assert name in known
        assert kind in str(known[name].annotation).replace("typing.Literal['", "str['")


def test_what_the_environment_or_the_table_file_may_set_defaults_to_none(cells: list[dict[str, Any]]) -> None:
    fixed = {line.split(":")[0] for line in parameter_lines(cells) if " = None " not in line}
    assert fixed == {"run_id", "table"} & set(parameters_of(cells).model_fields)


def test_nothing_names_the_machine_or_the_people_it_was_made_on() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    for name in tracked:
        text = (ROOT / name).read_text(encoding="utf-8", errors="replace")
        assert not re.search(r"/(?:root|home|work)/\w", text), name


def test_every_link_in_the_documents_leads_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_operators_guide_describes_every_parameter() -> None:
    text = (ROOT / "docs/guide.md").read_text(encoding="utf-8")
    assert not [name for name in Parameters.model_fields if f"`{name}`" not in text]


def test_the_campaign_guide_describes_every_parameter_of_a_plan_and_every_key_of_its_file() -> None:
    from ora2sf import plan, windows

    text = (ROOT / "docs/campaign.md").read_text(encoding="utf-8")
    models = (
        PlanParameters, plan.Plan, plan.Moment, plan.Since, plan.Allowance, plan.Rates, plan.Choices,
        plan.PlannedTable, plan.Slice, plan.Need, plan.Entry, windows.Span,
    )  # fmt: skip
    names = {name for model in models for name in model.model_fields}
    assert not sorted(name for name in names if f"`{name}`" not in text)


def test_the_table_reference_describes_every_key() -> None:
    from ora2sf import fields, tables

    text = Path(ROOT / "docs/tables.md").read_text(encoding="utf-8")
    models = (tables.TableConfig, tables.Source, tables.Window, tables.StatusRecord, *fields.TYPES.values())
    keys = {name for model in models for name in model.model_fields}
    names = keys - {"source", "status", "field", "column", "type"}
    assert not [name for name in names if f"`{name}`" not in text and f"{name}`" not in text]


def test_the_table_reference_is_what_the_models_say() -> None:
    from ora2sf.reference import BEGIN, END, reference

    text = (ROOT / "docs/tables.md").read_text(encoding="utf-8")
    again = "Write it anew: ora2sf tables reference --write docs/tables.md"
    assert text.partition(BEGIN)[2].partition(END)[0].strip() == reference(), again


def test_the_reference_has_a_meaning_for_each_key_and_type_and_none_too_many() -> None:
    from ora2sf import fields, reference, tables

    for model, meanings in (
        (tables.TableConfig, reference.OF_FILE),
        (tables.Source, reference.OF_SOURCE),
        (tables.Window, reference.OF_WINDOW),
        (tables.StatusRecord, reference.OF_STATUS),
        (fields.TextField, {**reference.OF_FIELDS, "length": ""}),
    ):
        assert set(meanings) == set(model.model_fields)
    assert set(reference.OF_TYPES) == set(fields.TYPES)


def test_the_page_of_connections_explains_every_field_and_extra_and_no_other() -> None:
    from ora2sf.connections import ORACLE_EXTRAS, SALESFORCE_EXTRAS, Connection

    text = (ROOT / "docs/connections.md").read_text(encoding="utf-8")
    fields = {info.alias or name for name, info in Connection.model_fields.items()} - {"conn_id"}
    for title, names in (
        ("Field", fields),
        ("Extra of Oracle", ORACLE_EXTRAS),
        ("Extra of Salesforce", SALESFORCE_EXTRAS),
    ):
        rows = re.search(rf"^\| {title} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.M)
        assert rows
        first = [line.split("|")[1] for line in rows[1].splitlines()]
        assert sorted(re.findall(r"`(\w+)`", " ".join(first))) == sorted(names), title


def test_the_table_reference_lists_every_table_file_with_its_object_and_phase() -> None:
    from ora2sf.tables import TableConfig

    listed = set(re.findall(r"^\| (\d+) \| `(\w+)` \| (\w+) \|", (ROOT / "docs/tables.md").read_text(), re.M))
    configs = [TableConfig.load(path.stem, ROOT / "tables") for path in (ROOT / "tables").glob("*.toml")]
    assert listed == {(str(config.phase), config.table, config.object) for config in configs}
