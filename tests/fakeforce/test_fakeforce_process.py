import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import SCHEMA, Client
from fakeforce import serve

SECRET = "a-secret-of-this-test"


@pytest.fixture
def start(tmp_path):
    started = []

    def begin(*more):
        process = subprocess.Popen(
            [sys.executable, "-m", "fakeforce", "--schema", SCHEMA, "--state", tmp_path / "org.db", *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "FAKEFORCE_CLIENT_SECRET": SECRET},
        )
        started.append(process)
        return process, json.loads(process.stdout.readline())["url"]

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_the_process_prints_one_line_takes_its_secret_from_the_environment_and_ends_on_sigterm(
    start, make_client
):
    process, url = start()
    client = make_client(url, secret=SECRET)
    assert client.load("ProductCode,Name\nA,x\n")[1]["state"] == "JobComplete"
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")


def test_after_sigkill_in_the_middle_the_job_goes_on_and_nothing_is_written_twice(start, make_client):
    rows = 60_000
    process, url = start()
    client = make_client(url, secret=SECRET)
    data = "ProductCode,Name\n" + "".join(f"P{i:06d},Thing {i}\n" for i in range(rows))
    job = client.create(operation="insert", key=None)
    client.upload(job, data)
    client.patch(job, "UploadComplete")
    end = time.monotonic() + 20
    while client.info(job).get("numberRecordsProcessed", 0) < 5_000:
        assert time.monotonic() < end
    process.kill()
    process.wait()

    _, url = start()
    again = make_client(url, secret=SECRET)
    info = again.wait(job)
    assert (info["state"], info["numberRecordsProcessed"], info["numberRecordsFailed"]) == (
        "JobComplete",
        rows,
        0,
    )
    keys = [row["ProductCode"] for row in again.table(job, "successful")]
    assert len(keys) == len(set(keys)) == rows
    assert again.query("SELECT COUNT() FROM Product2").json()["totalSize"] == rows


def test_tables_jobs_results_and_sessions_are_there_after_a_restart(tmp_path):
    with serve(schema=SCHEMA, state=tmp_path / "org.db") as org:
        client = Client(org.url)
        job, _ = client.load("ProductCode,Name\nA,x\n")
        before = client.result(job, "successful")
        token = client.http.headers["Authorization"]
        client.http.close()
    with serve(schema=SCHEMA, state=tmp_path / "org.db") as org:
        client = Client(org.url)
        client.http.headers["Authorization"] = token
        assert client.result(job, "successful") == before
        assert org.count("Product2") == 1
        client.http.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org"])
def test_a_host_that_is_not_loopback_is_refused(host):
    found = subprocess.run(
        [sys.executable, "-m", "fakeforce", "--schema", SCHEMA, "--host", host],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert found.returncode == 2
    assert "loopback only" in found.stderr


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name = 5", "key 'name'"),
        ("name = 'X__c'\ncolour = 1", "unknown key 'colour'"),
        ("name = 'X__c'", "key 'fields'"),
        ("name = 'X__c'\n[[fields]]\nname = 'A__c'\ntype = 'text'", "(A__c): key 'type'"),
        ("name = 'X__c'\n[[fields]]\nname = 'A__c'\ntype = 'string'\nlength = '5'", "key 'length'"),
        ("name = 'X__c'\n[[fields]]\nname = 'A__c'\ntype = 'double'\nprecision = 19", "key 'precision'"),
        ("name = 'X__c'\n[[fields]]\nname = 'A__c'\ntype = 'picklist'", "key 'values'"),
        ("name = 'X__c'\n[[fields]]\nname = 'A__c'\ntype = 'int'\ndefault = 'x'", "key 'default'"),
        ("name = 'X__c'\n[[fields]]\nname = 'A__c'\ntype = 'reference'", "key 'reference_to'"),
        ("name = ", "not readable as TOML"),
    ],
)
def test_a_wrong_schema_file_is_refused_with_its_name_and_the_key(tmp_path, text, complaint):
    from fakeforce import SchemaError

    Path(tmp_path / "x.toml").write_text(text)
    with pytest.raises(SchemaError) as error, serve(schema=tmp_path):
        pass
    assert "x.toml" in str(error.value)
    assert complaint in str(error.value)
