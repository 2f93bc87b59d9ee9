"""The command line."""

import json
import os
import signal
import subprocess
import sys

import oracledb

COMMAND = [sys.executable, "-m", "fakeoracle"]


def test_it_serves_until_it_is_told_to_stop_and_keeps_its_state(tmp_path):
    command = [*COMMAND, "--database", str(tmp_path / "x.duckdb"), "--service", "SHOP", "--user", "tms"]
    environment = os.environ | {"FAKEORACLE_PASSWORD": "hidden"}
    for number in (signal.SIGTERM, signal.SIGINT):
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            ready = json.loads(process.stdout.readline())
            with oracledb.connect(user="tms", password="hidden", dsn=ready["dsn"]) as connection:
                cursor = connection.cursor()
                if number == signal.SIGTERM:
                    cursor.execute("create table t (a number)")
                    cursor.execute("insert into t values (1)")
                    connection.commit()
                assert cursor.execute("select a from t").fetchall() == [(1,)]
            process.send_signal(number)
            output, problems = process.communicate(timeout=30)
            assert (process.returncode, output, problems) == (0, "", "")
    assert ready["dsn"] == f"127.0.0.1:{ready['port']}/SHOP"


def test_it_asks_for_the_password_in_the_environment():
    environment = {key: value for key, value in os.environ.items() if key != "FAKEORACLE_PASSWORD"}
    done = subprocess.run(COMMAND, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "FAKEORACLE_PASSWORD" in done.stderr


def test_it_refuses_to_listen_beyond_loopback():
    environment = os.environ | {"FAKEORACLE_PASSWORD": "x"}
    done = subprocess.run(
        [*COMMAND, "--host", "0.0.0.0"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "loopback only" in done.stderr


def test_help_names_every_option():
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True)
    for option in ("--host", "--port", "--database", "--service", "--user", "FAKEORACLE_PASSWORD"):
        assert option in done.stdout
