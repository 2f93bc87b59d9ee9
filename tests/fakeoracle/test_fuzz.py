"""Ten thousand damaged conversations: the server gives up the client, and nothing else."""

from __future__ import annotations

import contextlib
import random
import re
import resource
import selectors
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import oracledb
import pytest
from recorded import Conversation, record

from fakeoracle import Server, auth, serve, wire

USER, PASSWORD, SERVICE = "TMS", "secret", "FREEPDB1"
BATCH = 100  # conversations at a time
BATCHES_IN_LOGIN, BATCHES_IN_CALLS = 70, 30
FURTHER = 3  # packets sent after a damaged one
QUIET = 0.05  # seconds without an answer after which a client hangs up
PATIENCE = 20.0  # seconds after which a server that has not let go of a client is stuck
MOST_GROWTH = 150  # megabytes
INTERNAL = re.compile(rb"\(fakeoracle\): (\w+(?:Error|Exception|Warning)): ([^\n]*)")

Packets = list[bytes]


# --- what the driver says --------------------------------------------------------------------------------------------


def talk_of_queries(connection: oracledb.Connection) -> None:
    with connection.cursor() as cursor:
        cursor.arraysize = cursor.prefetchrows = 2
        for least in (1, 2):  # the second time the statement is executed again without its text
            cursor.execute("select a, b, c from kept where a > :1 and b <> :2", [least, "x"])
            cursor.fetchall()
        cursor.parse("select c from kept")


def talk_of_changes(connection: oracledb.Connection) -> None:
    with connection.cursor() as cursor:
        cursor.execute("insert into kept (a, b) values (:1, :2)", [100, "ราคา"])
        cursor.executemany("insert into kept (a, b) values (:1, :2)", [(101, "y" * 300), (102, None)])
        cursor.execute("delete from kept where a >= 100")
    connection.commit()
    connection.rollback()


def talk_of_the_session(connection: oracledb.Connection) -> None:
    connection.module, connection.action, connection.client_identifier = "fuzz", "piggyback", "nobody"
    connection.ping()
    connection.current_schema = USER
    connection.stmtcachesize = 0
    for statement in ("select 1 from dual", "select 2 from dual"):
        with connection.cursor() as cursor, contextlib.suppress(oracledb.DatabaseError):
            cursor.execute(statement)
            cursor.execute("select * from nowhere")
    connection.ping()


TALKS = (talk_of_queries, talk_of_changes, talk_of_the_session)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server whose login challenge is always the same, so that a recorded answer to it is right again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auth, "os", SimpleNamespace(urandom=lambda count: bytes(range(count))))
        patch.setattr(auth, "_VERIFIER_ROUNDS", 4)  # a login takes a millisecond
        with serve(compress_rows=False, users={USER: PASSWORD}, service=SERVICE) as running:
            with good_client(running) as connection, connection.cursor() as cursor:
                cursor.execute("create table kept (a number(9), b varchar2(400), c date default sysdate)")
                cursor.executemany("insert into kept (a, b) values (:1, :2)", [(i, "ก") for i in range(9)])
                connection.commit()
            yield running


def good_client(server: Server) -> oracledb.Connection:
    return oracledb.connect(user=USER, password=PASSWORD, dsn=server.dsn)


@pytest.fixture(scope="module")
def conversations(server: Server) -> list[Conversation]:
    return [record(server.port, SERVICE, talk, user=USER, password=PASSWORD) for talk in TALKS]


# --- damage ----------------------------------------------------------------------------------------------------------


def flipped(rng: random.Random, body: bytes) -> bytes:
    damaged = bytearray(body or b"\0")
    for _ in range(rng.randint(1, 6)):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def shortened(rng: random.Random, body: bytes) -> bytes:
    return body[: rng.randrange(len(body) or 1)]


def stretched(rng: random.Random, body: bytes) -> bytes:
    at = rng.randint(0, len(body))
    return body[:at] + rng.randbytes(rng.randint(1, 40)) + body[at:]


def with_a_huge_number(rng: random.Random, body: bytes) -> bytes:
    at = rng.randint(0, len(body))
    number = rng.choice((2**16 - 1, 2**31, 2**31 - 1, 2**32 - 1, 2**63, 2**64 - 1))
    return body[:at] + wire.ub(number) + body[at + rng.randint(0, 3) :]


def with_an_odd_byte(rng: random.Random, body: bytes) -> bytes:
    at = rng.randrange(len(body) or 1)
    return (
        body[:at]
        + bytes((rng.choice((0, 1, 2, 4, 8, 9, 0x7F, 0x80, 0x81, 252, 253, 254, 255)),))
        + body[at + 1 :]
    )


def replaced(rng: random.Random, body: bytes) -> bytes:
    return rng.randbytes(rng.randint(0, 2 * len(body)))


def damaged_body(rng: random.Random, packets: Packets, at: int, short: bool) -> Packets:
    """Damage what a packet carries, and let its length be right."""
    packet, head = packets[at], rng.choice((8, 10, 13))
    damage = rng.choice((flipped, shortened, stretched, with_a_huge_number, with_an_odd_byte, replaced))
    payload = packet[8:head] + damage(rng, packet[head:])
    return [*packets[:at], wire.packet(packet[4], payload, wide=not short), *packets[at + 1 :]]


def lied_length(rng: random.Random, packets: Packets, at: int, short: bool) -> Packets:
    width = 2 if short else 4
    length = rng.choice((0, 7, 8, 9, 10, 11, len(packets[at]) - 1, len(packets[at]) + 1, 2**15, 2**16 - 1,
                         2**21, 2**31, 2**32 - 1, rng.getrandbits(32)))  # fmt: skip
    lie = (length % 256**width).to_bytes(width, "big") + packets[at][width:]
    return [*packets[:at], lie, *packets[at + 1 :]]


def wrong_type(rng: random.Random, packets: Packets, at: int, short: bool) -> Packets:
    packet = packets[at][:4] + bytes((rng.randrange(256),)) + packets[at][5:]
    return [*packets[:at], packet, *packets[at + 1 :]]


def cut_off(rng: random.Random, packets: Packets, at: int, short: bool) -> Packets:
    return [*packets[:at], packets[at][: rng.randrange(len(packets[at]))]]


def reordered(rng: random.Random, packets: Packets, at: int, short: bool) -> Packets:
    rest = packets[at:]
    rng.shuffle(rest)
    return packets[:at] + rest[: rng.randint(1, len(rest))]


def repeated(rng: random.Random, packets: Packets, at: int, short: bool) -> Packets:
    return [*packets[: at + 1], *[packets[at]] * rng.randint(1, 5), *packets[at + 1 :]]


def interrupted(rng: random.Random, packets: Packets, at: int, short: bool) -> Packets:
    markers = [wire.packet(wire.MARKER, rng.choice((b"\1\0\1", b"\1\0\2", b"\1\0\3", b"", b"\1\0", b"\1\0\x63")), wide=True)
               for _ in range(rng.randint(1, 4))]  # fmt: skip
    return [*packets[:at], *markers, *packets[at:]]


def noise(rng: random.Random, packets: Packets, at: int, short: bool) -> Packets:
    return [*packets[:at], rng.randbytes(rng.choice((1, 7, 8, 9, 100, 20_000))), *packets[at + 1 :]]


Damage = Callable[[random.Random, Packets, int, bool], Packets]
DAMAGES: list[Damage] = [lied_length, wrong_type, cut_off, reordered, repeated, interrupted, noise]


def damaged(rng: random.Random, conversation: Conversation, *, after_login: bool) -> Conversation:
    """A conversation with one kind of damage, at a place before or after the login, and a little of what follows."""
    packets, connect, login = conversation
    at = rng.randrange(login, len(packets)) if after_login else rng.randrange(login)
    damage = damaged_body if rng.random() < 0.6 else rng.choice(DAMAGES)
    found = damage(rng, packets[: at + 1 + FURTHER], at, at < connect)
    if (
        after_login and rng.random() < 0.5
    ):  # as the driver answers an error, and then the server listens again
        found.insert(at + 1, wire.marker(wire.RESET))
    return Conversation(found, min(at, connect), login)


# --- clients that send it --------------------------------------------------------------------------------------------


def exchange(port: int, conversations: list[Conversation]) -> list[bytes]:
    """Hold conversations at the same time; each client hangs up when all are quiet. Return what the server said."""
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        clients, answers = [], [bytearray() for _ in conversations]
        for answer, (packets, connect, _) in zip(answers, conversations, strict=True):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
            with contextlib.suppress(ConnectionError):
                client.sendall(b"".join(packets[:connect]))
                if 0 < connect < len(packets):  # nothing may be sent before ACCEPT
                    _read(client, answer)
                client.sendall(b"".join(packets[connect:]))
            selector.register(client, selectors.EVENT_READ, answer)
            clients.append(client)
        while selector.get_map() and (ready := selector.select(QUIET)):
            for key, _ in ready:
                if not _read(key.fileobj, key.data):  # type: ignore[arg-type]
                    selector.unregister(key.fileobj)
        for client, answer in zip(clients, answers, strict=True):
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
            while _read(client, answer):
                pass
    return [bytes(answer) for answer in answers]


def _read(client: socket.socket, answer: bytearray) -> bool:
    try:
        received = client.recv(65536)
    except ConnectionError:
        return False
    answer += received
    return bool(received)


def wait_for_threads() -> None:
    """Wait until the threads of all connections have ended."""
    for thread in threading.enumerate():
        if thread.name.startswith("fakeoracle-") and thread.name != "fakeoracle-accept":
            thread.join(PATIENCE)
            assert not thread.is_alive(), f"{thread.name} is stuck"


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def check_that_nothing_is_left(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    wait_for_threads()
    assert server.connections_open == 0
    with good_client(server) as connection, connection.cursor() as cursor:
        assert cursor.execute("select count(*) from kept where a < 9").fetchone() is not None
    assert capfd.readouterr() == ("", "")


# --- promises --------------------------------------------------------------------------------------------------------


def test_an_undamaged_conversation_is_answered_when_it_is_sent_again(
    server: Server, conversations: list[Conversation]
) -> None:
    queries, changes, session = exchange(server.port, conversations)
    assert queries.count("ก".encode()) == 7 + 6
    assert b"ORA-" not in queries.replace(b"ORA-01403", b"")
    assert len(changes) > 500
    assert b"ORA-" not in changes
    assert session.count(b"ORA-00942") == 2


@pytest.mark.parametrize(
    ("batches", "after_login"), [(BATCHES_IN_LOGIN, False), (BATCHES_IN_CALLS, True)], ids=["login", "calls"]
)
def test_ten_thousand_damaged_conversations_leave_nothing_behind(
    server: Server,
    conversations: list[Conversation],
    capfd: pytest.CaptureFixture[str],
    batches: int,
    after_login: bool,
) -> None:
    assert BATCH * (BATCHES_IN_LOGIN + BATCHES_IN_CALLS) >= 10_000
    for number in range(batches):
        rng = random.Random(f"{after_login} {number}")
        batch = [damaged(rng, rng.choice(conversations), after_login=after_login) for _ in range(BATCH)]
        answers = exchange(server.port, batch)
        check_that_nothing_is_left(server, capfd)
        assert not [found.groups() for answer in answers if (found := INTERNAL.search(answer))]
        if number == 2:
            before = peak_megabytes()
    assert peak_megabytes() - before < MOST_GROWTH
