"""The plugin for pytest."""

import ssl

import oracledb
import pytest


def test_a_connection_is_all_a_test_has_to_ask_for(oracle_connection, oracle_login):
    cursor = oracle_connection.cursor()
    cursor.execute(f"create table {oracle_login.prefix}plugin (a number)")
    assert cursor.execute(f"select count(*) from {oracle_login.prefix}plugin").fetchone() == (0,)
    cursor.execute(f"drop table {oracle_login.prefix}plugin purge")


def test_the_server_of_all_tests_has_faults(oracle_connection, oracle_server):
    oracle_server.faults.add("ORA-00942", at="execute", call=1)
    with pytest.raises(oracledb.DatabaseError, match="ORA-00942"):
        oracle_connection.cursor().execute("select 1 from dual")
    assert oracle_server.connections_open == 1


def test_further_servers_are_made_with_the_arguments_of_serve(serve_oracle):
    server = serve_oracle(profile="23ai", tls=True, service="SHOP")
    trust = ssl.create_default_context(cafile=server.ca_file)
    with oracledb.connect(user="tms", password="secret", dsn=server.dsn, ssl_context=trust) as connection:
        assert connection.version.startswith("23.")


def test_a_real_database_needs_a_user_and_a_password(pytester_arguments, monkeypatch):
    monkeypatch.delenv("FAKEORACLE_TEST_USER", raising=False)
    with pytest.raises(pytest.UsageError, match="FAKEORACLE_TEST_USER and FAKEORACLE_TEST_PASSWORD"):
        pytester_arguments("--oracle", "somewhere/X")


@pytest.fixture
def pytester_arguments(request):
    """Return a function that configures the plugin with other arguments."""
    from fakeoracle import testing

    class Config:
        def __init__(self, *arguments):
            self._given = dict(zip(arguments[::2], arguments[1::2], strict=True))

        def getoption(self, name):
            return self._given.get(name)

        def addinivalue_line(self, *_):
            pass

    return lambda *arguments: testing.pytest_configure(Config(*arguments))
