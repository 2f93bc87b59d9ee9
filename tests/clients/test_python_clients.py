"""Public Python clients that are too far from the project to be among its packages: each in an upsert."""

import json
import subprocess

import pytest

from conftest import HERE, INSTALLED, table

CLOSED = "http://127.0.0.1:9"  # what would leave this machine goes to a closed port


@pytest.fixture
def run(tmp_path):
    """Runs a client with the Python that has it, from an empty home."""
    if not (INSTALLED / ".python").exists():
        pytest.skip("the Python clients are not installed: run make test-clients")
    environment = {
        "HOME": str(tmp_path),
        "no_proxy": "127.0.0.1",
        "http_proxy": CLOSED,
        "https_proxy": CLOSED,
    }

    def run_client(client, **given):
        command = [
            INSTALLED / "python" / "bin" / "python",
            HERE / "python_clients.py",
            client,
            json.dumps(given),
        ]
        ended = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout.splitlines()[-1])

    return run_client


@pytest.mark.parametrize("client", ["kinetic-core", "aiosalesforce"])
def test_an_upsert_hands_out_the_written_and_the_refused_rows(run, client, org, load):
    found = run(client, url=org.url, token=org.token, rows=table(load.csv()))
    load.check_results(found["successful"], found["failed"])
    load.check_org(org)
