"""Faults on request, breaks, and the server living on."""

import signal
import threading

import oracledb
import pytest

from fakeoracle import Fault, Faults


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


def code_of(caught):
    return caught.value.args[0].code


@pytest.fixture
def faults(shared_server):
    """Return the server's faults, none of them armed; none are left behind."""
    yield shared_server.faults
    shared_server.faults.clear()


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("refuse-12514", "DPY-6001"),
        ("refuse-12505", "DPY-6003"),
        ("refuse-12528", "DPY-6000"),
        ("close", "DPY-4011"),
    ],
)
def test_connections_are_refused_until_they_are_welcome_again(connect, faults, kind, number):
    faults.add(kind, at="connect")
    for _ in range(2):
        with pytest.raises(oracledb.DatabaseError, match=number):
            connect()
    faults.clear()
    assert connect().is_healthy()


@pytest.mark.parametrize("code", [1017, 28000, 28001, 1033])
def test_an_error_at_login_keeps_out_once(connect, faults, code):
    faults.add(f"ORA-{code:05d}", at="login", call=1)
    with pytest.raises(oracledb.DatabaseError, match=f"ORA-{code:05d}"):
        connect()
    assert connect().is_healthy()


@pytest.mark.parametrize("code", [60, 942, 1555, 1652, 4068])
def test_an_error_in_a_fetch_leaves_the_connection(reading, connection, faults, code):
    reader = reading(connection)
    faults.add(f"ORA-{code:05d}", at="fetch", call=2)
    with pytest.raises(oracledb.DatabaseError) as caught:
        reader.fetchall()
    assert code_of(caught) == code
    assert connection.is_healthy()
    connection.ping()
    assert not faults.pending


@pytest.mark.filterwarnings("ignore:unclosed", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("code", [28, 3113])
@pytest.mark.parametrize("at", ["execute", "fetch", "commit"])
def test_an_error_that_ends_the_session_loses_the_connection(reading, connect, faults, code, at):
    victim = connect()
    reader = reading(victim)
    acts = {
        "execute": lambda: reader.execute("select 2 from dual"),
        "fetch": reader.fetchall,
        "commit": victim.commit,
    }
    faults.add(f"ORA-{code:05d}", at=at, call=1)
    with pytest.raises(oracledb.DatabaseError, match="DPY-4011") as caught:
        acts[at]()
    assert caught.value.args[0].isrecoverable
    assert not victim.is_healthy()


def test_an_error_at_execute_comes_in_place_of_the_change(table, cursor, faults):
    name = table("n number(9)")
    faults.add("ORA-00060", at="execute", call=2, sql="insert")
    cursor.execute(f"insert into {name} values (1)")
    with pytest.raises(oracledb.DatabaseError, match="ORA-00060: deadlock detected"):
        cursor.execute(f"insert into {name} values (2)")
    assert cursor.execute(f"select n from {name}").fetchall() == [(1,)]


@pytest.mark.filterwarnings("ignore:unclosed", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_answer_lost_at_commit_leaves_the_change_committed(table, connect, cursor, faults):
    name, victim = table("n number(9)"), connect()
    victim.cursor().execute(f"insert into {name} values (1)")
    faults.add("drop-fin", at="commit", call=1)
    with pytest.raises(oracledb.DatabaseError, match="DPY-4011"):
        victim.commit()
    assert cursor.execute(f"select n from {name}").fetchall() == [(1,)]


def test_an_error_at_commit_leaves_the_change_pending(table, connection, faults):
    name, cursor = table("n number(9)"), connection.cursor()
    cursor.execute(f"insert into {name} values (1)")
    faults.add("ORA-01013", at="commit", call=1)
    with pytest.raises(oracledb.DatabaseError, match="ORA-01013"):
        connection.commit()
    connection.rollback()
    assert cursor.execute(f"select count(*) from {name}").fetchone() == (0,)


def test_only_statements_that_match_are_struck_and_counted(cursor, faults):
    rule = faults.add("ORA-00942", at="execute", call=2, sql="from dual where 1")
    cursor.execute("select 1 from dual")
    cursor.execute("select 2 from dual where 1 = 1")
    with pytest.raises(oracledb.DatabaseError, match="ORA-00942: table or view does not exist"):
        cursor.execute("select 3 FROM dual where 1 = 1")
    assert (rule.seen, rule.fired) == (2, 1)


def test_any_call_after_the_login_can_be_struck(connect, faults):
    faults.add("ORA-00054", at="any", text="resource busy")
    connection = connect()
    for act in (
        connection.ping,
        connection.commit,
        connection.rollback,
        lambda: connection.cursor().execute("select 1 from dual"),
    ):
        with pytest.raises(oracledb.DatabaseError, match="ORA-00054: resource busy"):
            act()
    faults.clear()
    connection.ping()


def test_a_seed_repeats_what_a_rate_hits():
    def hits(seed):
        faults = Faults(seed)
        faults.add("ORA-01555", at="fetch", rate=0.2)
        return [bool(faults.strike("fetch")) for _ in range(1000)]

    assert hits(7) == hits(7) != hits(8)
    assert 120 < sum(hits(7)) < 280


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("fetch:3=ORA-01555", Fault("ORA-01555", "fetch", 3)),
        ("fetch:2=drop-rst", Fault("drop-rst", "fetch", 2)),
        ("connect:*=refuse-12514", Fault("refuse-12514", "connect")),
        ("execute:1=slow-0.5", Fault("slow-0.5", "execute", 1)),
        ("fetch:p0.01=ORA-03113", Fault("ORA-03113", "fetch", rate=0.01)),
        (
            "execute:*=ORA-00942 sql=from t where a = 1",
            Fault("ORA-00942", "execute", sql="from t where a = 1"),
        ),
    ],
)
def test_a_rule_can_be_written_as_text(text, rule):
    assert Faults().add_text(text) == rule


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("fetch=ORA-1", "is not a fault; write PLACE:CALL=KIND"),
        ("fetch:x=ORA-1", "the call is a number"),
        ("fetch:0=ORA-1", "counted from 1"),
        ("fetch:p2=ORA-1", "probability"),
        ("nowhere:1=ORA-1", "the places are connect"),
        ("fetch:1=explode", "the kinds are refuse-N"),
        ("fetch:1=refuse-12514", "say connect"),
        ("connect:1=ORA-12514", "say refuse-12514"),
        ("commit:1=ORA-1 sql=x", "no SQL text"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_with_the_reason(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        Faults().add_text(text)


def test_a_slow_answer_to_a_change_that_the_client_gives_up_is_not_done(table, connection, faults):
    name, cursor = table("n number(9)"), connection.cursor()
    faults.add("slow-60", at="execute", call=1)
    connection.call_timeout = 100
    with pytest.raises(oracledb.DatabaseError, match="DPY-4024"):
        cursor.execute(f"insert into {name} values (1)")
    connection.call_timeout = 0
    assert cursor.execute(f"select count(*) from {name}").fetchone() == (0,)


def test_control_c_while_an_answer_is_awaited_leaves_the_connection(connection, faults):
    faults.add("slow-9", at="execute", call=1)
    timer = threading.Timer(0.2, signal.pthread_kill, [threading.get_ident(), signal.SIGINT])
    timer.start()
    with pytest.raises((KeyboardInterrupt, oracledb.DatabaseError)):
        connection.cursor().execute("select 1 from dual")
    timer.join()
    assert connection.cursor().execute("select 2 from dual").fetchone() == (2,)


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
