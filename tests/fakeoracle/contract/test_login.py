"""Getting in, and being kept out."""

import oracledb
import pytest


def test_the_driver_logs_in_and_sees_the_version_that_the_dictionary_names(connection, one):
    assert one("select version_full from product_component_version") == connection.version
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


def test_module_action_and_client_identifier_are_kept(connection, one):
    assert one("select sys_context('USERENV', 'CLIENT_IDENTIFIER') from dual") is None
    connection.module, connection.action, connection.client_identifier = "extract", "T_SALES", "run-1"
    told = one(
        "select sys_context('USERENV', 'MODULE'), sys_context('USERENV', 'ACTION'), "
        "sys_context('USERENV', 'CLIENT_IDENTIFIER') from dual"
    )
    assert told == ("extract", "T_SALES", "run-1")
    connection.action = "T_STOCK"
    again = one("select sys_context('USERENV', 'MODULE') || sys_context('USERENV', 'ACTION') from dual")
    assert again == "extractT_STOCK"


def test_the_current_schema_can_be_changed(connect):
    connection = connect(user="OTHER", password="other")
    connection.current_schema = "TMS"
    schema = (
        connection.cursor().execute("select sys_context('USERENV','CURRENT_SCHEMA') from dual").fetchone()
    )
    assert schema == ("TMS",)
