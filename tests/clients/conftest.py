"""Other people's clients: how they run, and the org they speak to. `make test-clients` installs them into .clients/.

Each client runs as its users run it, unchanged, with an empty home folder, told to send no telemetry and to look for no
update. A connection that would leave this machine is refused and fails the test (loopback-only.cjs).
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
INSTALLED = ROOT / ".clients"
MODULES = INSTALLED / "node_modules"
SCHEMA = HERE.parent / "fakeforce" / "schema"


class FakeOrg(NamedTuple):
    """fakeforce in a process of its own, and a token for it."""

    url: str
    token: str

    def rows(self, prefix: str) -> dict[str, dict[str, str]]:
        """What Product2 holds, by product code, past the API a client sees; only codes with the prefix."""
        with _session() as http:
            lines = http.get(f"{self.url}/fakeforce/rows/Product2", timeout=30).content.decode().splitlines()
        rows = map(json.loads, lines)
        return {row["ProductCode"]: row for row in rows if row["ProductCode"].startswith(prefix)}


def _session() -> requests.Session:
    http = requests.Session()
    http.trust_env = False
    return http


@pytest.fixture(scope="session")
def org() -> Iterator[FakeOrg]:
    command = [sys.executable, "-m", "fakeforce", "--schema", SCHEMA]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        app = {"client_id": "demo-client", "client_secret": "demo-secret"}
        with _session() as http:
            form = {"grant_type": "client_credentials", **app}
            token = http.post(f"{url}/services/oauth2/token", data=form, timeout=30).json()["access_token"]
        yield FakeOrg(url, token)
        process.terminate()


class Machine(NamedTuple):
    """A user's machine with the clients on it: a home folder that was empty, a path, no way out."""

    home: Path
    environment: dict[str, str]

    def run(self, *command: str | Path, ok: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a client in the home folder. ``ok``: whether it must end with status 0."""
        ended = subprocess.run(
            command, cwd=self.home, env=self.environment | more, capture_output=True, text=True, timeout=120,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        assert (ended.returncode == 0) == ok, ended.stdout + ended.stderr
        return ended

    def outside(self) -> str:
        """The connections that a client tried to open to other machines, one a line."""
        noted = self.home / "outside"
        return noted.read_text() if noted.exists() else ""


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    node = shutil.which("node")
    said = (
        subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout if node else ""
    )
    if node is None or int(said[1:].partition(".")[0]) < 20:
        pytest.skip(
            f"Node.js 20 or newer is needed (found: {said.strip() or 'none'}); install nodejs and npm"
        )
    if not (INSTALLED / ".npm").exists():
        pytest.skip("the clients of Node.js are not installed: install npm, then run make test-clients")
    home = tmp_path_factory.mktemp("home")
    quiet = (
        *("SF_DISABLE_TELEMETRY", "SF_DISABLE_AUTOUPDATE", "SF_AUTOUPDATE_DISABLE"),
        *("SF_SKIP_NEW_VERSION_CHECK", "SF_USE_GENERIC_UNIX_KEYCHAIN", "SF_HIDE_RELEASE_NOTES"),
    )
    return Machine(
        home,
        {
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PATH": os.pathsep.join([str(MODULES / ".bin"), str(Path(node).parent), "/usr/bin", "/bin"]),
            "NODE_PATH": str(MODULES),
            "NODE_OPTIONS": f"--require {HERE / 'loopback-only.cjs'}",
            "OUTSIDE_CALLS": str(home / "outside"),
            **dict.fromkeys(quiet, "true"),
        },
    )


@pytest.fixture(autouse=True)
def _stays_inside(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "machine" in request.fixturenames:
        assert request.getfixturevalue("machine").outside() == ""


class Load(NamedTuple):
    """Four rows that an upsert by product code is to load: two that fit, one without a name, one with a wrong date."""

    prefix: str

    def csv(self) -> str:
        p = self.prefix
        rows = (f"{p}1,ชิ้น,2025-01-31", f'{p}2,"a ""b"", c",', f"{p}3,,", f"{p}4,Thing,31/01/2025")
        return "\n".join(("ProductCode,Name,TMS_Count_Date__c", *rows)) + "\n"

    def write(self, folder: Path) -> Path:
        """The CSV file, UTF-8, line feeds."""
        path = folder / f"{self.prefix}.csv"
        path.write_text(self.csv(), encoding="utf-8", newline="\n")
        return path

    def check_results(self, successful: list[dict[str, Any]], failed: list[dict[str, Any]]) -> None:
        """The result rows that a client hands to its user."""
        p = self.prefix
        assert {row["ProductCode"]: row["Name"] for row in successful} == {f"{p}1": "ชิ้น", f"{p}2": 'a "b", c'}
        assert all(row["sf__Id"].startswith("01t") for row in successful)
        errors = {row["ProductCode"]: row["sf__Error"].partition(":")[0] for row in failed}
        assert errors == {f"{p}3": "REQUIRED_FIELD_MISSING", f"{p}4": "INVALID_FIELD"}

    def check_org(self, org: FakeOrg) -> None:
        """What the org holds afterwards."""
        p = self.prefix
        found = {code: (row["Name"], row["TMS_Count_Date__c"]) for code, row in org.rows(p).items()}
        assert found == {f"{p}1": ("ชิ้น", "2025-01-31"), f"{p}2": ('a "b", c', None)}


@pytest.fixture
def load(request: pytest.FixtureRequest) -> Load:
    """Rows with a prefix of their own for each test."""
    return Load(f"{request.node.name.upper()[-24:].strip('[]_')}-")


def table(text: str) -> list[dict[str, str]]:
    """Rows of a CSV text."""
    return list(csv.DictReader(io.StringIO(text, newline="")))
