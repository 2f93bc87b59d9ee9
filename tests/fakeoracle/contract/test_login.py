"""Getting in, and being kept out."""

import contextlib

import oracledb
import pytest

from fakeoracle import serve


def test_the_driver_logs_in_and_sees_a_19c_server(connection):
    assert connection.version == "19.3.0.0.0"
    assert connection.thin
    connection.ping()


def test_user_names_are_not_case_sensitive_and_passwords_are(connect):
    assert connect(user="tms").is_healthy()
    with pytest.raises(oracledb.DatabaseError, match="ORA-01017"):
        connect(password="SECRET")


def test_an_unknown_user_gets_the_same_answer_as_a_wrong_password(connect):
    with pytest.raises(oracledb.DatabaseError, match="ORA-01017: invalid username/password; logon denied"):
        connect(user="nobody")


def test_an_unknown_service_is_refused_by_the_listener(connect, shared_server):
    with pytest.raises(oracledb.DatabaseError, match="DPY-6001"):
        connect(dsn=f"{shared_server.host}:{shared_server.port}/NOSUCH")


def test_a_connect_string_too_long_for_the_first_packet_is_read_from_the_second(connect, shared_server):
    dsn = (
        f"(DESCRIPTION=(ADDRESS=(PROTOCOL=tcp)(HOST={shared_server.host})(PORT={shared_server.port}))"
        f"(CONNECT_DATA=(SERVICE_NAME=freepdb1)(FILLING={'x' * 400})))"
    )
    assert connect(dsn=dsn).is_healthy()


@pytest.mark.parametrize("sdu", [512, 8192, 65535])
def test_any_sdu_carries_large_requests_and_replies(connect, sdu):
    cursor = connect(sdu=sdu).cursor()
    text = "ก" * 1300
    row = cursor.execute("select :a, :b, :c from dual", [text, text + "x", text + "y"]).fetchone()
    assert row == (text, text + "x", text + "y")


def test_many_connections_are_served_at_once_and_counted():
    with serve() as server, contextlib.ExitStack() as stack:
        login = {"user": "tms", "password": "secret", "dsn": server.dsn}
        cursors = [stack.enter_context(oracledb.connect(**login)).cursor() for _ in range(12)]
        assert server.connections_open == 12
        for number, cursor in enumerate(cursors):
            cursor.execute("select :1 from dual", [number])
        assert [cursor.fetchone()[0] for cursor in cursors] == list(range(12))


def test_module_and_action_are_accepted(connection):
    connection.module, connection.action, connection.client_identifier = "extract", "T_SALES", "run-1"
    assert connection.cursor().execute("select 1 from dual").fetchone() == (1,)


def test_the_current_schema_can_be_changed(connect):
    connection = connect(user="OTHER", password="other")
    connection.current_schema = "TMS"
    schema = (
        connection.cursor().execute("select sys_context('USERENV','CURRENT_SCHEMA') from dual").fetchone()
    )
    assert schema == ("TMS",)


def test_the_server_binds_to_loopback_only():
    with pytest.raises(ValueError, match="loopback only"), serve(host="0.0.0.0"):
        pass


def test_stopping_the_server_ends_open_connections():
    with serve() as server:
        connection = oracledb.connect(user="tms", password="secret", dsn=server.dsn)
        assert server.connections_open == 1
    assert server.connections_open == 0
    with pytest.raises(oracledb.DatabaseError, match="DPY-4011"):
        connection.cursor().execute("select 1 from dual")
