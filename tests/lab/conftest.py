"""JupyterLab as ``make lab`` starts it, on a source and an org of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest
from browser import CHROMIUM, ROOT, Browser, Lab, chromium

#: Every cell stands in the page, also one that is not in sight, so that each can be looked at.
_SETTINGS = {"@jupyterlab/notebook-extension/tracker.jupyterlab-settings": {"windowingMode": "none"}}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian: apt install chromium)")
    with chromium() as found:
        yield found


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("lab")
    for name, values in _SETTINGS.items():
        path = home / "settings" / name
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(values))
    own = {
        "ORA2SF_OUTPUTS": "outputs",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTER_DATA_DIR": "data",
    }
    environment = os.environ | {name: str(home / folder) for name, folder in own.items()}
    token = os.urandom(16).hex()
    options = f"--ServerApp.root_dir={home} --allow-root --no-browser --ServerApp.port={_free_port()} --IdentityProvider.token={token} --LabApp.expose_app_in_browser=True"
    line = ["make", "--no-print-directory", "lab", f"LAB={home / 'lab'}", f"STATE={home / 'state'}", "PRODUCTS=50000", "ROWS=2000", f"LAB_OPTIONS={options}"]  # fmt: skip
    with subprocess.Popen(
        line,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as started:
        try:
            yield Lab(_address(started), token, home / "lab", home / "outputs")
        finally:
            os.killpg(started.pid, signal.SIGTERM)
            started.wait(timeout=60)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def _address(started: subprocess.Popen[str]) -> str:
    """What the lab says of itself when it is ready; what it says later is read, too, so that it never waits for a reader."""
    assert started.stdout is not None
    said: list[str] = []
    for line in started.stdout:
        said.append(line)
        if found := re.search(r"(http://127\.0\.0\.1:\d+)/lab", line):
            threading.Thread(target=started.stdout.read, daemon=True).start()
            return found[1]
    raise AssertionError("make lab ended:\n" + "".join(said))
