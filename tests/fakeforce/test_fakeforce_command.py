"""``python -m fakeforce`` and the pytest fixtures, as a stranger uses them."""

import json
import os
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
import requests

import fakeforce
from conftest import SCHEMA, Client
from fakeforce.__main__ import main


@pytest.fixture
def command():
    """Starts the command; returns the process and its line of JSON."""
    started = []

    def start(*options):
        process = subprocess.Popen(
            [sys.executable, "-m", "fakeforce", "--schema", SCHEMA, *map(str, options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process, json.loads(process.stdout.readline())

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def refused(*options):
    return subprocess.run(
        [sys.executable, "-m", "fakeforce", *map(str, options)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_settings_faults_clock_and_https_come_from_the_command_line(command, tmp_path):
    _, ready = command(
        *("--tls", tmp_path / "certs", "--clock", "2031-02-03T04:05:06Z", "--seed", 7),
        *("--set", "expire_after=600", "--set", "expiry_form=jwt", "--set", "run_as_user=true"),
        *("--fault", "503:method=GET,path=limits,times=2", "--fault", '{"kind": "401", "path": "a{1,2}"}'),
    )
    assert ready == {"url": ready["url"], "ca_file": str(tmp_path / "certs" / "ca.pem")}
    state = requests.get(f"{ready['url']}/fakeforce/state", verify=ready["ca_file"], timeout=10).json()
    assert datetime.fromisoformat(state["now"]).strftime("%Y-%m-%d %H:%M") == "2031-02-03 04:05"
    settings = state["settings"]
    assert (settings["expire_after"], settings["expiry_form"], settings["run_as_user"]) == (600, "jwt", True)
    assert [(f["kind"], f["times"], f["path"]) for f in state["faults"]] == [
        ("503", 2, "limits"),
        ("401", 1, "a{1,2}"),
    ]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--set", "nope=1"], "unknown setting 'nope' (known: keep_rows"),
        (["--set", "expire_after=soon"], "must be of type float"),
        (["--set", "nope"], "write it like expire_after=600"),
        (["--fault", "nope"], "unknown fault kind 'nope' (known: 503"),
        (["--fault", "503:colour=red"], "unknown fault key 'colour'"),
        (["--fault", "503:times=many"], "fault key 'times' must be of type int"),
        (["--fault", "slow:delay=long"], "fault key 'delay' must be of type float"),
        (["--fault", "slow:delay=nan"], "fault key 'delay' must be from 0 to 1000000000"),
        (["--fault", "503:path=("], "no regular expression"),
        (["--fault", "503:times"], "write it like 503:times=2,path=batches"),
        (["--fault", '{"path": "x"}'], "an object with the key 'kind'"),
        (["--fault", "{nope"], "no JSON object"),
        (["--clock", "yesterday"], "write it like 2026-01-31T09:00:00Z"),
        (["--clock", "9999-01-01"], "1970 to 9000"),
        (["--port", "70000"], "give 0 to 65535"),
        (["--cert", "x.pem"], "give both"),
        (["--host", "0.0.0.0"], "use 127.0.0.1"),
        (["--host", "::"], "use 127.0.0.1"),
    ],
)
def test_a_wrong_option_is_refused_with_what_to_write_instead(options, text, capsys):
    try:
        status = main(["--schema", str(SCHEMA), *options])
    except SystemExit as ended:  # as argparse does
        status = ended.code
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert text in err


def test_every_key_of_a_fault_can_be_written_on_the_command_line(command):
    _, line = command("--fault", "slow:delay=0.25,rate=0.5,seed=7,times=3,skip=1,path=limits,retry_after=7")
    (fault,) = requests.get(line["url"] + "/fakeforce/faults", timeout=10).json()
    assert [fault[key] for key in ("delay", "rate", "seed", "times", "skip", "path", "retry_after")] == [
        *(0.25, 0.5, 7, 3, 1),
        *("limits", "7"),
    ]


def test_a_state_file_in_use_and_a_file_that_is_none_are_refused(tmp_path):
    with fakeforce.serve(SCHEMA, state=tmp_path / "org.db"):
        second = refused("--schema", SCHEMA, "--state", tmp_path / "org.db")
    assert (second.returncode, "is in use by another org; end it first" in second.stderr) == (2, True)
    with fakeforce.serve(SCHEMA, state=tmp_path / "org.db") as again:
        assert again.count("User") == 1
    (tmp_path / "other").write_bytes(b"no database" * 500)
    other = refused("--schema", SCHEMA, "--state", tmp_path / "other")
    assert (other.returncode, "cannot be used: file is not a database" in other.stderr) == (2, True)


def test_a_cut_connection_leaves_no_line_on_stderr(command):
    process, line = command(*(f for kind in ("reset-before", "cut-answer") for f in ("--fault", kind)))
    for _ in range(2):
        with pytest.raises(requests.RequestException):
            requests.get(line["url"] + "/services/data", timeout=10)
    process.terminate()
    assert process.communicate(timeout=20)[1] == ""


def test_a_schema_that_is_not_there_and_a_taken_port_are_refused(org):
    assert "schema folder /nowhere does not exist" in refused("--schema", "/nowhere").stderr
    taken = refused("--schema", SCHEMA, "--port", org.url.rpartition(":")[2])
    assert (taken.returncode, "choose another --port" in taken.stderr) == (2, True)


SUITE = """
import requests

def test_an_org_is_empty(fakeforce_org):
    assert fakeforce_org.count("Thing__c") == 0
    _create(fakeforce_org)

def test_it_is_empty_again(fakeforce_org):
    _create(fakeforce_org)

def test_a_server_of_the_session(fakeforce_server, fakeforce_schema):
    one = fakeforce_server(fakeforce_schema)
    assert requests.get(one.url + "/services/data", timeout=10).status_code == 200

def _create(org):
    form = {"grant_type": "client_credentials", "client_id": "demo-client", "client_secret": "demo-secret"}
    token = requests.post(org.url + "/services/oauth2/token", data=form, timeout=10).json()["access_token"]
    made = requests.post(org.url + "/services/data/v66.0/sobjects/Thing__c", json={"Key__c": "A"},
                         headers={"Authorization": f"Bearer {token}"}, timeout=10)
    assert made.status_code == 201
    assert org.count("Thing__c") == 1
"""


def test_another_suite_gets_its_fixtures_with_one_line(tmp_path):
    (tmp_path / "schema").mkdir()
    (tmp_path / "schema" / "thing.toml").write_text(
        "name = 'Thing__c'\n[[fields]]\nname = 'Key__c'\ntype = 'string'\nexternal_id = true\nunique = true\n"
    )
    (tmp_path / "conftest.py").write_text(
        'import pytest\npytest_plugins = ["fakeforce.testing"]\n\n@pytest.fixture(scope="session")\n'
        f"def fakeforce_schema():\n    return {str(tmp_path / 'schema')!r}\n"
    )
    (tmp_path / "test_suite.py").write_text(SUITE)
    package = str(Path(fakeforce.__file__).parents[1])
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", tmp_path],
        capture_output=True, text=True, timeout=60, check=False, 
        env={**os.environ, "PYTHONPATH": package, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=tmp_path,
    )  # fmt: skip
    assert "3 passed" in found.stdout, found.stdout + found.stderr


def test_the_package_runs_without_pytest():
    code = "import sys; sys.modules['pytest'] = None; import fakeforce, fakeforce.__main__"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert (found.returncode, found.stderr) == (0, "")


def test_an_org_that_is_killed_keeps_its_ca_for_the_next_start(command, tmp_path):
    process, first = command("--tls", tmp_path / "certs")
    process.kill()
    process.wait()
    ca = (tmp_path / "certs" / "ca.pem").read_bytes()
    _, second = command("--tls", tmp_path / "certs")
    assert (tmp_path / "certs" / "ca.pem").read_bytes() == ca
    assert (
        requests.get(f"{second['url']}/services/data", verify=first["ca_file"], timeout=10).status_code == 200
    )


def test_a_client_of_the_command_works_with_the_default_app(command):
    _, ready = command()
    client = Client(ready["url"])
    assert client.call("GET", "/limits").status_code == 200
    client.http.close()
