"""The server itself: what it is made with, what it lets go of, and what its own mistakes do."""

import contextlib
import socket
import threading

import oracledb
import pytest

from fakeoracle import Scripted, serve
from fakeoracle.channel import Channel
from fakeoracle.database import Database
from fakeoracle.profiles import PROFILES
from fakeoracle.results import ResultSet


def test_many_connections_are_served_at_once_and_counted():
    with serve() as server, contextlib.ExitStack() as stack:
        login = {"user": "tms", "password": "secret", "dsn": server.dsn}
        cursors = [stack.enter_context(oracledb.connect(**login)).cursor() for _ in range(12)]
        assert server.connections_open == 12
        for number, cursor in enumerate(cursors):
            cursor.execute("select :1 from dual", [number])
        assert [cursor.fetchone()[0] for cursor in cursors] == list(range(12))


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


def test_each_profile_is_the_release_it_says(shared_server, connect, release):
    connection = connect()
    banner = connection.cursor().execute("select banner from v$version").fetchone()[0]
    assert f"Oracle Database {release} " in banner
    assert connection.version == PROFILES[release].version_full


def test_a_profile_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(ValueError, match="no profile '9i'; take one of 19c, 23ai"), serve(profile="9i"):
        pass


def test_statements_that_the_client_forgets_are_closed(connect, shared_server):
    connection = connect(stmtcachesize=3)
    cursor = connection.cursor()
    for number in range(20):
        cursor.execute(f"select {number} from dual").fetchall()
    assert shared_server.cursors_open <= 5


def largest_reply(monkeypatch, *, compress):
    """Return the bytes of the largest reply to reading 100 rows that are all the same."""
    sizes = []
    with serve(compress_rows=compress) as server, Connected(server) as connection:
        cursor = connection.cursor()
        cursor.execute("create table t (n number(9), s varchar2(200))")
        cursor.executemany("insert into t values (:1, :2)", [(i, "x" * 150) for i in range(100)])
        send = Channel.send
        monkeypatch.setattr(
            Channel, "send", lambda self, reply: (sizes.append(len(reply)), send(self, reply))
        )
        cursor.arraysize = cursor.prefetchrows = 100
        assert len(set(cursor.execute("select s from t order by n").fetchall())) == 1
        monkeypatch.undo()
    return max(sizes)


def test_values_repeated_in_the_next_row_are_not_sent_again(monkeypatch):
    assert largest_reply(monkeypatch, compress=True) < 1500
    assert largest_reply(monkeypatch, compress=False) > 15_000


# mistakes of the server itself


class Connected:
    """A connection to a server, closed at the end."""

    def __init__(self, server, **arguments):
        login = {"user": "tms", "password": "secret", "dsn": server.dsn} | arguments
        self.connection = oracledb.connect(**login)

    def __enter__(self):
        return self.connection

    def __exit__(self, *_):
        if self.connection.is_healthy():
            self.connection.close()


class Clumsy:
    """A back end that makes a mistake in one of its methods."""

    def __init__(self, backend, where):
        self._backend, self._where = backend, where

    def open_session(self, user):
        if self._where == "open_session":
            raise RuntimeError("a mistake in open_session")
        session = self._backend.open_session(user)

        def mistake(*_):
            raise RuntimeError(f"a mistake in {self._where}")

        setattr(session, self._where, mistake)
        return session

    def close(self):
        self._backend.close()


@pytest.fixture
def no_thread_left():
    """See that the test leaves no thread behind."""
    before = set(threading.enumerate())
    yield
    assert not set(threading.enumerate()) - before


@pytest.mark.parametrize(
    ("where", "act"),
    [
        ("run", lambda c: c.cursor().execute("select 1 from dual")),
        ("describe", lambda c: c.cursor().parse("select 1 from dual")),
        ("commit", lambda c: (c.cursor().execute("insert into t values (1)"), c.commit())),
        ("rollback", lambda c: (c.cursor().execute("insert into t values (1)"), c.rollback())),
    ],
)
def test_a_mistake_of_the_server_is_told_and_everything_goes_on(no_thread_left, where, act):
    backend = Database(None, service="FREEPDB1", users={"TMS": ""})
    setup = backend.open_session("TMS")
    setup.run("create table t (a number)", [])
    setup.close()
    with serve(backend=Clumsy(backend, where)) as server, Connected(server) as connection:
        with pytest.raises(oracledb.DatabaseError, match=f"ORA-03001.*RuntimeError: a mistake in {where}"):
            act(connection)
        connection.ping()


def test_a_mistake_while_a_session_is_opened_is_told_too(no_thread_left):
    with (
        serve(backend=Clumsy(Scripted(), "open_session")) as server,
        pytest.raises(oracledb.DatabaseError, match=r"ORA-03001.*a mistake in open_session"),
    ):
        Connected(server)


def test_a_mistake_in_the_middle_of_the_rows_is_told():
    script = Scripted().query("select n from t", {"N": "NUMBER(9)"}, [(1,), (2,)])
    with serve(backend=script) as server, Connected(server) as connection:
        answer = script.answer("select n from t")
        answer.arrays[0] = answer.arrays[0].slice(0, 1)  # fewer values than rows
        with pytest.raises(oracledb.DatabaseError, match="ORA-03001"):
            connection.cursor().execute("select n from t")
        connection.ping()


def test_rows_that_cannot_be_served_are_let_go_of(monkeypatch):
    released = []
    script = Scripted().query("select n from t", {"N": "NUMBER(9)"}, [(1,), (2,)])
    close = ResultSet.close
    monkeypatch.setattr(ResultSet, "close", lambda self: (released.append(self), close(self)))
    with serve(backend=script) as server, Connected(server) as connection:
        cursor = connection.cursor()
        cursor.arraysize = cursor.prefetchrows = 1
        cursor.execute("select n from t")
        monkeypatch.setattr(ResultSet, "take", None)
        with pytest.raises(oracledb.DatabaseError, match="ORA-03001"):
            cursor.fetchall()
        assert len(released) == 1
        with pytest.raises(oracledb.DatabaseError, match="ORA-03001"):
            connection.cursor().execute("select n from t")
        assert len(released) == 2


@pytest.mark.parametrize(
    "greeting", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\0\x0a\0\0\1\0\0\0ab", bytes(64), b"\xff" * 4096]
)
def test_whoever_speaks_another_language_is_shown_out(no_thread_left, greeting):
    with serve() as server:
        with socket.create_connection((server.host, server.port), timeout=10) as stranger:
            stranger.sendall(greeting)
            stranger.shutdown(socket.SHUT_WR)
            assert stranger.recv(1000) == b""
        with Connected(server) as connection:
            connection.ping()


@pytest.mark.parametrize("name", ["schema", "data"])
def test_a_schema_or_data_that_is_not_there_is_told_by_its_name(name, tmp_path):
    with (
        pytest.raises(ValueError, match=f"{name}: there is no .*nowhere"),
        serve(**{name: tmp_path / "nowhere"}),
    ):
        pass
