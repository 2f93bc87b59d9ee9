"""The command line."""

import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys

import oracledb
import pytest

from fakeoracle import serve
from fakeoracle.__main__ import main, parser

COMMAND = [sys.executable, "-m", "fakeoracle"]
LOGIN = {"user": "tms", "password": "hidden"}


@contextlib.contextmanager
def running(*arguments, end=signal.SIGTERM):
    """Run the command until the block ends; give its line of JSON, and see that it ends cleanly."""
    with subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        env=os.environ | {"FAKEORACLE_PASSWORD": "hidden"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield json.loads(line)
        finally:
            process.send_signal(end)
            output, problems = process.communicate(timeout=30)
    assert (process.returncode, output, problems) == (0, "", "")


def test_it_serves_until_it_is_told_to_stop_and_keeps_its_state(tmp_path):
    database = tmp_path / "x.duckdb"
    with running("--database", database, "--service", "SHOP", "--user", "tms", end=signal.SIGTERM) as ready:
        assert ready["dsn"] == f"127.0.0.1:{ready['port']}/SHOP"
        with oracledb.connect(**LOGIN, dsn=ready["dsn"]) as connection:
            connection.cursor().execute("create table t (a number)")
            connection.cursor().execute("insert into t values (1)")
            connection.commit()
    with (
        serve(database, {"TMS": "hidden"}) as server,
        oracledb.connect(**LOGIN, dsn=server.dsn) as connection,
    ):
        assert connection.cursor().execute("select a from t").fetchall() == [(1,)]


def test_it_takes_everything_at_once(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "t.csv").write_text("a\n1\n2\n")
    (tmp_path / "t.sql").write_text("create table t (a number(3));")
    options = ["--schema", tmp_path / "t.sql", "--data", tmp_path / "data", "--tls", tmp_path / "tls"]
    options += ["--profile", "23ai", "--cache", "--no-compress-rows", "--seed", "3"]
    options += ["--fault", "execute:1=ORA-01555 sql=from t", "--fault", "fetch:9=drop-rst"]
    with running(*options) as ready:
        assert (ready["profile"], ready["loaded"]) == ("23ai", True)
        trust = ssl.create_default_context(cafile=ready["ca_file"])
        with oracledb.connect(**LOGIN, dsn=ready["dsn"], ssl_context=trust) as connection:
            assert connection.version.startswith("23.")
            cursor = connection.cursor()
            with pytest.raises(oracledb.DatabaseError, match="ORA-01555"):
                cursor.execute("select sum(a) from t")
            assert cursor.execute("select sum(a) from t").fetchone() == (3,)


def test_it_answers_from_a_script(tmp_path):
    (tmp_path / "a.toml").write_text(
        '[[answers]]\nsql = "select n from t"\ncolumns = { N = "NUMBER(3)" }\nrows = [[7]]\n'
    )
    with (
        running("--script", tmp_path / "a.toml", end=signal.SIGINT) as ready,
        oracledb.connect(**LOGIN, dsn=ready["dsn"]) as connection,
    ):
        assert connection.cursor().execute("select n from t").fetchall() == [(7,)]


def test_it_asks_for_the_password_in_the_environment(monkeypatch, capsys):
    monkeypatch.delenv("FAKEORACLE_PASSWORD", raising=False)
    assert main([]) == 2
    assert "set FAKEORACLE_PASSWORD to the password" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--host", "0.0.0.0"], "loopback only"),
        (["--fault", "fetch:1=explode"], "there is no fault 'explode'"),
        (["--fault", "fetch:1=ORA-0"], "ORA-0 is no error"),
        (["--port", "99999"], "a port is a number from 0 to 65535, not 99999"),
        (["--login-seconds", "0"], "the seconds for a login are more than 0"),
        (["--cache-megabytes", "-1"], "the size of the cache is not below 0"),
        (["--database", "nosuch/x.duckdb"], "cannot open the database file nosuch/x.duckdb"),
        (["--schema", "nosuch.sql"], "--schema: there is no nosuch.sql; check the path"),
        (["--data", "nosuch"], "--data: there is no nosuch"),
        (["--script", "nosuch.toml"], "--script: there is no nosuch.toml"),
        (["--script", "nosuch.toml", "--database", "x.duckdb"], "leave out --database"),
        (["--cert", "nosuch.pem", "--key", "nosuch.pem"], "--cert: there is no nosuch.pem"),
    ],
)
def test_a_mistake_is_told_in_one_line(monkeypatch, capsys, arguments, complaint):
    monkeypatch.setenv("FAKEORACLE_PASSWORD", "x")
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert main(arguments) == 1
    told = capsys.readouterr().err
    assert complaint in told
    assert told.count("\n") == 1


def test_help_explains_every_option():
    assert all(action.help for action in parser()._actions)
    assert "FAKEORACLE_PASSWORD" in parser().format_help()


def test_the_contract_runs_on_whatever_database_is_named(tmp_path):
    """No real database is here; a server of this process takes its place for the tests of another."""
    with serve(users={"TMS": "hidden"}, profile="23ai") as server:
        done = subprocess.run(
            [
                sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--oracle", server.dsn,
                "tests/fakeoracle/contract/test_login.py",
            ],
            env=os.environ | {"FAKEORACLE_TEST_USER": "tms", "FAKEORACLE_TEST_PASSWORD": "hidden"},
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        assert " passed" in done.stdout
        assert " skipped" in done.stdout
        with oracledb.connect(**LOGIN, dsn=server.dsn) as connection:
            assert connection.cursor().execute("select count(*) from user_tables").fetchone() == (0,)
