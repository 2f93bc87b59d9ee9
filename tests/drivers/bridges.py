"""A driver in a process of its own, and how to start it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
INSTALLED = HERE.parents[1] / ".drivers"
USER, PASSWORD = "TMS", "secret"
FETCH = 700  # rows a round trip


class DriverError(Exception):
    """What the driver raised, in its words."""


class Driver:
    """A process that holds one driver; attributes of this object are the calls of its bridge."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __getattr__(self, call: str) -> Callable[..., Any]:
        def ask(**request: Any) -> Any:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps({"do": call} | request) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
            if "error" in answer:
                raise DriverError(answer["error"])
            return answer["answer"]

        return ask


def adbc_command() -> list[str]:
    """How the bridge to adbc-driver-oracle is run, if it can be."""
    python = INSTALLED / "python" / "bin" / "python"
    if not (INSTALLED / ".python").exists():
        pytest.skip(
            "adbc-driver-oracle is not installed: run make test-drivers (PyPI needs a wheel for this platform)"
        )
    return [str(python), str(HERE / "adbc_bridge.py")]


def node_command() -> list[str]:
    """How the bridge to node-oracledb is run, if it can be."""
    node = shutil.which("node")
    if not (node and shutil.which("npm")):
        pytest.skip(
            "Node.js and npm are missing: install them (Debian: apt install nodejs npm), then make test-drivers"
        )
    if not (INSTALLED / ".node").exists():
        pytest.skip("node-oracledb is not installed: run make test-drivers")
    return [node, str(HERE / "node_bridge.js")]
