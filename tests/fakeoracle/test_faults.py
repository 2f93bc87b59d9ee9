"""Faults on request, breaks, and the server living on."""

import threading

import oracledb
import pytest


@pytest.fixture
def reading(table, cursor):
    """Return a cursor that has read the first 100 of 1000 rows."""
    name = table("id number")
    cursor.executemany(f"insert into {name} values (:1)", [(i,) for i in range(1000)])
    cursor.connection.commit()

    def start(connection):
        reader = connection.cursor()
        reader.arraysize = reader.prefetchrows = 100
        reader.execute(f"select id from {name}")
        reader.fetchmany(100)
        return reader

    return start


@pytest.mark.filterwarnings(
    "ignore:unclosed"
)  # the driver leaves its socket to the garbage collector after a reset
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("how", ["fin", "rst", "half"])
def test_a_connection_dropped_in_mid_fetch_is_lost_and_the_server_serves_on(
    reading, connect, shared_server, how
):
    victim = connect()
    reader = reading(victim)
    shared_server.faults.add(f"drop-{how}", at="fetch", call=3)
    with pytest.raises(oracledb.DatabaseError, match="DPY-4011"):
        reader.fetchall()
    assert not victim.is_healthy()
    assert len(reading(connect()).fetchall()) == 900
    assert not shared_server.faults.pending


def test_refused_connections_say_so_until_they_are_welcome_again(connect, shared_server):
    shared_server.faults.add("refuse-12528", at="connect")
    with pytest.raises(oracledb.DatabaseError, match="DPY-6000"):
        connect()
    shared_server.faults.clear()
    assert connect().is_healthy()


def test_an_injected_error_reaches_the_fetch_and_leaves_the_connection(reading, connection, shared_server):
    reader = reading(connection)
    shared_server.faults.add("ORA-01555", at="fetch", call=2)
    with pytest.raises(oracledb.DatabaseError, match="ORA-01555: snapshot too old"):
        reader.fetchall()
    connection.ping()


def test_a_call_timeout_during_a_slow_answer_leaves_the_connection_usable(reading, connection, shared_server):
    reader = reading(connection)
    shared_server.faults.add("slow-60", at="fetch", call=1)
    connection.call_timeout = 200
    with pytest.raises(oracledb.DatabaseError, match="DPY-4024"):
        reader.fetchall()
    connection.call_timeout = 0
    assert connection.cursor().execute("select 1 from dual").fetchone() == (1,)


def test_a_call_timeout_stops_a_query_that_takes_too_long(table, cursor):
    name = table("id number(9)")
    cursor.executemany(f"insert into {name} values (:1)", [(i,) for i in range(20_000)])
    cursor.connection.commit()
    cursor.connection.call_timeout = 300
    with pytest.raises(oracledb.DatabaseError, match="DPY-4024"):
        cursor.execute(f"select count(*) from {name} a, {name} b, {name} c where a.id + b.id < c.id")
    cursor.connection.call_timeout = 0
    assert cursor.execute(f"select count(*) from {name}").fetchone() == (20_000,)


def test_cancel_from_another_thread_is_ora_01013(reading, connection, shared_server):
    reader = reading(connection)
    shared_server.faults.add("slow-60", at="fetch", call=1)
    timer = threading.Timer(0.2, connection.cancel)
    timer.start()
    with pytest.raises(oracledb.DatabaseError, match="ORA-01013"):
        reader.fetchall()
    timer.join()
    connection.ping()
