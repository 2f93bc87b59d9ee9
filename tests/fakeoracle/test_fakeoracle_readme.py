"""What the README says of options and faults is what there is, and its first commands do what it shows."""

import re
import subprocess
import sys
from pathlib import Path

from test_command import running

from fakeoracle import faults
from fakeoracle.__main__ import parser

README = (Path(faults.__file__).parent / "README.md").read_text("utf-8")


def first_cells(heading):
    """Return the first cells of the table rows in a section."""
    section = README.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]


def test_every_option_is_in_the_readme_and_no_other():
    named = set(re.findall(r"--[a-z-]+", " ".join(first_cells("Options"))))
    there = {text for action in parser()._actions for text in action.option_strings if text.startswith("--")}
    assert named == there - {"--help"}


def test_every_place_and_kind_of_fault_is_in_the_readme_and_no_other():
    named = {text for cell in first_cells("Faults") for text in re.findall(r"`([^`]+)`", cell)}
    assert named == {*faults.PLACES, *faults.KINDS}


def test_the_first_commands_do_what_is_shown(tmp_path):
    blocks = re.findall(r"```\n(.*?)```", README, re.DOTALL)
    schema = re.search(r"`shop.sql` is `([^`]+)`", README)[1]
    (tmp_path / "shop.sql").write_text(schema)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "products.csv").write_text(blocks[2])
    arguments = blocks[0].splitlines()[0].split("fakeoracle ", 1)[1]
    arguments = arguments.replace("shop.sql", str(tmp_path / "shop.sql")).replace(
        "tables/", str(tmp_path / "tables")
    )
    with running(*arguments.split()) as ready:
        shown = blocks[0].splitlines()[1]
        assert [f'"{key}"' for key in ready] == re.findall(r'"\w+"(?=:)', shown)
        command, output = blocks[1].rsplit("'\n", 1)
        program = command.split("'", 1)[1].replace("127.0.0.1:40213/FREEPDB1", ready["dsn"])
        program = program.replace('"secret"', '"hidden"')
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout == output
