"""The commands of the README, run as a reader would, on a state of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from world import ROOT, World

README = (ROOT / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent


def block(containing: str) -> str:
    """The shell block of the README that holds this text."""
    (found,) = [b for b in re.findall(r"```sh\n(.*?)```", README, re.S) if containing in b]
    return str(found)


def shell(script: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs a script as a reader's shell would, also when these tests were started by make."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["bash", "-euc", script], cwd=cwd, env=own, capture_output=True, text=True, check=False
    )


def test_make_demo_prints_what_the_readme_shows_and_run_id_resumes_it(tmp_path: Path) -> None:
    command = block("make demo").strip()
    options = f" STATE={tmp_path / 'state'} OUTPUTS={tmp_path / 'out'} PRODUCTS=2000"
    first = shell(command + options, ROOT)
    assert first.returncode == 0, first.stderr
    (shown,) = [b for b in re.findall(r"```text\n(.*?)```", README, re.S) if b.startswith("Run demo_")]
    summary = first.stdout[first.stdout.index("\nRun ") :].strip().splitlines()
    assert [line.split()[:1] for line in summary if line.strip()] == [
        line.split()[:1] for line in shown.strip().splitlines() if line.strip()
    ]
    (run,) = (tmp_path / "out").iterdir()
    second = shell(f"{command} RUN_ID={run.name} {options}", ROOT)
    assert second.returncode == 0, second.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == [run.name]
    assert numbers(second.stdout) == numbers(first.stdout)


def numbers(text: str) -> list[str]:
    return re.findall(r"^  (\w+ +[\d,]+)", text, re.M)


def test_papermill_by_hand_works_as_shown(world: World, tmp_path: Path) -> None:
    script = block(".venv/bin/papermill").replace(".venv/bin/", f"{BIN}/")
    assert "ORA2SF_CONNECTIONS=.demo/connections.toml" in script
    script = script.replace("export ORA2SF_CONNECTIONS=.demo/connections.toml", "").replace(
        "-r run_id", f"-r outputs {tmp_path} -r run_id"
    )
    done = shell(script.replace("outputs/byhand", f"{tmp_path}/byhand"), ROOT)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "byhand/product_price/03_reconcile.html").is_file()


def test_help_notebook_lists_every_parameter_with_its_meaning() -> None:
    done = shell(f"{BIN}/papermill --help-notebook notebooks/01_extract.ipynb", ROOT)
    assert "batch_size: int (default None)" in done.stdout
    assert "one batch is one job" in done.stdout


def test_the_notebooks_run_with_their_defaults_in_order(world: World, tmp_path: Path) -> None:
    notebooks = [f"notebooks/{name}.ipynb" for name in ("01_extract", "02_upload", "03_reconcile")]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval-lax",
        "--nbval-current-env",
        "-p",
        "no:cacheprovider",
        "-q",
        *notebooks,
    ]
    done = subprocess.run(
        [*command, "-W", "default", "-c", os.devnull, "--rootdir", str(ROOT)],
        cwd=ROOT, env=os.environ | {"ORA2SF_OUTPUTS": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d+ passed", done.stdout)
    assert (tmp_path / "demo/product_price/ledger.sqlite").is_file()


def test_make_alone_lists_what_can_be_run() -> None:
    done = shell("make", ROOT)
    for target in ("demo", "servers", "lab", "test", "lint"):
        assert f"make {target} " in done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"]])
def test_the_demo_explains_itself(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ora2sf_demo", *arguments], capture_output=True, text=True, check=True
    )
    assert "usage: python -m ora2sf_demo" in done.stdout
