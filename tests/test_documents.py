"""The commands that the documents show, run as a reader would: page by page, from top to bottom, on demo servers of their own.

A block of commands is marked where it opens: `sh` alone is run by `make test`, `sh long` by `make test-docs`. What needs
something that is not here says `not run here`, or `run by make test-…`, in a comment that the reader sees.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from world import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LONG = "LONG_DOCUMENTS" in os.environ
#: Blocks that a test of their own runs, with more to look at.
ELSEWHERE = ("make demo\n", "-r run_id byhand")
#: The demo's rows are dirty on purpose, which the exit code 3 says.
STRICT = "trap 'code=$?; [ $code -eq 3 ] || exit $code' ERR\n"
NOT_NOW = re.compile("# not run here: |# run by make test-")


def blocks(page: Path) -> list[str]:
    """The blocks that are to be run now, in their order."""
    found = re.findall(r"^```sh( long)?\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)
    return [
        text
        for long, text in found
        if (LONG or not long) and not NOT_NOW.match(text) and not any(one in text for one in ELSEWHERE)
    ]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as a reader has it, with this environment; older than the environment, so that make leaves that alone."""
    folder = tmp_path_factory.mktemp("reader") / "ora2sf"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, tracked.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
            os.utime(folder / name, (0, 0))
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@pytest.fixture(scope="module")
def reader(copy: Path) -> Iterator[dict[str, str]]:
    """The environment of a reader who keeps the demo servers up in another terminal."""
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MAKE", "MFLAGS", "ORA2SF_"))
    }
    own |= {
        "PATH": f"{copy}/.venv/bin:{os.environ['PATH']}", "PYTHONPATH": str(copy / "lib"), "ORA2SF_HOME": str(copy),
        "PRODUCTS": "1500", "ROWS": "400", 
    }  # fmt: skip
    command = [sys.executable, "-m", "ora2sf_demo", "--products", "1500", "--rows", "400", "serve"]
    with subprocess.Popen(command, cwd=copy, env=own, stdout=subprocess.PIPE, text=True) as servers:
        try:
            assert servers.stdout
            said = next(line for line in servers.stdout if "ORA2SF_CONNECTIONS=" in line)
            yield own | {"ORA2SF_CONNECTIONS": said.split("=")[1].strip()}
        finally:
            servers.send_signal(signal.SIGINT)


@pytest.mark.timeout(3600 if LONG else 300)
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_what_a_page_tells_its_reader_to_run_works(page: Path, copy: Path, reader: dict[str, str]) -> None:
    for text in blocks(page):
        done = subprocess.run(
            ["bash", "-uo", "pipefail", "-c", STRICT + text],
            cwd=copy,
            env=reader,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in {0, 3}, f"{text}\n{done.stdout}\n{done.stderr}"


def test_a_block_of_commands_is_marked_in_a_known_way() -> None:
    for page in PAGES:
        for mark in re.findall(r"^```(sh.*)$", page.read_text(encoding="utf-8"), re.M):
            assert mark in {"sh", "sh long"}, f"{page.name}: {mark}"
