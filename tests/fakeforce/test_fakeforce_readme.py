"""The package's README names exactly what the code has."""

import dataclasses
import re
from pathlib import Path

import pytest

import fakeforce
from fakeforce import Fault
from fakeforce.__main__ import main
from fakeforce.app import ROUTES
from fakeforce.faults import KINDS
from fakeforce.schema import FIELD_KEYS, FILE_TYPES, OBJECT_KEYS, load
from fakeforce.settings import CHOICES, Settings

README = (Path(fakeforce.__file__).parent / "README.md").read_text(encoding="utf-8")


def section(title):
    """The text from a heading, or the head of a table, to the next heading or blank line after the table."""
    start = README.index(title)
    level = re.match(r"#+", title)
    ends = re.compile(rf"\n#{{2,{len(level.group())}}} " if level else r"\n\n")
    found = ends.search(README, start + len(title))
    return README[start : found.start() if found else None]


def first_cells(text):
    """The names in backticks in the first column of the tables."""
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def test_the_faults_are_those_of_the_code():
    assert sorted(first_cells(section("### Faults"))) == sorted(KINDS)


def test_every_key_of_a_fault_is_named():
    keys = {f.name for f in dataclasses.fields(Fault) if f.init}
    text = section("### Faults")
    assert {key for key in keys if not re.search(rf"[`\"]{key}[`\"]", text)} == set()


def test_the_settings_are_those_of_the_code_with_their_defaults():
    text = section("### Settings")
    rows = [
        [cell.strip(" `") for cell in line.split("|")[1:3]]
        for line in text.splitlines()
        if line.startswith("| `")
    ]
    shown = {name: str(v).lower() if isinstance(v, bool) else f"{v:g}" if isinstance(v, float) else str(v)
             for name, v in Settings().shown().items()}  # fmt: skip
    assert dict(rows) == shown
    for name, choices in CHOICES.items():
        assert all(choice in text for choice in choices), name


def test_the_options_are_those_of_the_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    usage = capsys.readouterr().out.partition("\n\n")[0]
    options = set(re.findall(r"--[a-z]+", usage))
    assert {name.split()[0] for name in first_cells(section("## Command line"))} == options


def test_the_calls_are_the_routes_without_a_token():
    named = {
        tuple(cell.split())
        for cell in first_cells(section("## Steering it over HTTP"))
        if cell.startswith(("GET", "POST", "DELETE"))
    }
    routes = {
        (r.method, r.pattern.replace("{}", "{Object}")) for r in ROUTES if r.pattern.startswith("/fakeforce")
    }
    assert named == routes


def test_the_keys_and_types_of_schema_files_are_those_of_the_code():
    assert set(first_cells(section("| Key of the object"))) == OBJECT_KEYS
    assert set(first_cells(section("| Key of a field"))) == FIELD_KEYS
    assert set(re.findall(r"`(\w+)`", section("Types: "))) == FILE_TYPES


def test_the_example_of_a_schema_file_can_be_loaded(tmp_path):
    (tmp_path / "example.toml").write_text(re.search(r"```toml\n(.*?)```", README, re.S).group(1))
    assert load(tmp_path).get("product2").field("productcode").unique


def test_the_calls_of_the_python_example_exist(org):
    example = re.search(r"with serve.*?```", README, re.S).group()
    for path in re.findall(r"org\.([a-z_.]+)", example):
        found = org
        for name in path.split("."):
            found = getattr(found, name)


def test_every_behaviour_carries_a_mark():
    rows = [line.split("|") for line in section("## Implemented").splitlines() if line.startswith("| ")]
    behaviours = [row for row in rows if row[1].strip() not in ("Behaviour",)]
    assert len(behaviours) > 20
    assert all(re.search(r"\b[dsa]\b", row[3]) for row in behaviours)
