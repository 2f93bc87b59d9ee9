"""What a client claims is not believed: sizes, counts, and that it will go on."""

from __future__ import annotations

import contextlib
import socket
import struct

import oracledb
import pytest

from fakeoracle import serve, ttc, wire
from fakeoracle.errors import OracleError, ProtocolError
from fakeoracle.incoming import as_utf8, check_datetimes

HUGE = [2**31, 2**32 - 1, 2**64 - 1]
PATIENCE = 20.0


def inbox(message: bytes) -> wire.Inbox:
    """An inbox with this message; asking for more is believing what it claims."""
    parts = iter([message])

    def more() -> bytes:
        part = next(parts, None)
        assert part is not None, "the server waits for what was claimed"
        return part

    return wire.Inbox(more)


def execute_call(*, binds: int = 0, defines: int = 0, numbers: int = 13) -> bytes:
    head = wire.ub(0x8029) + b"\0\0" + b"\0\1" + wire.ub(numbers) + b"\0\0\0\0\0"
    lists = (
        bytes((binds > 0,)) + wire.ub(binds) + bytes(5) + bytes((defines > 0,)) + wire.ub(defines) + bytes(18)
    )
    return head + lists + bytes(min(numbers, 13))


@pytest.mark.parametrize("count", HUGE)
def test_huge_counts_are_refused_before_anything_is_read(count: int) -> None:
    with pytest.raises(ProtocolError):
        ttc.read_execute(inbox(execute_call(binds=count)))
    with pytest.raises(ProtocolError):
        ttc.read_execute(inbox(execute_call(defines=count)))
    with pytest.raises(ProtocolError):
        ttc.read_execute(inbox(execute_call(numbers=count)))
    with pytest.raises(ProtocolError):
        ttc.read_auth(inbox(b"\1" + bytes(2) + b"\1" + wire.ub(count)))
    with pytest.raises(ProtocolError):
        ttc.read_closed_cursors(inbox(b"\1" + wire.ub(count)))


def test_an_execute_call_with_counts_that_can_be_is_read() -> None:
    assert ttc.read_execute(inbox(execute_call())).binds == []


@pytest.mark.parametrize("size", HUGE)
def test_huge_values_are_refused_before_anything_is_read(size: int) -> None:
    chunk = b"\xfe" + wire.ub(size)
    with pytest.raises(ProtocolError):
        inbox(chunk).clr()
    with pytest.raises(ProtocolError):
        inbox(b"\x07" + chunk).rows(1, 1, 7)
    with pytest.raises(ProtocolError):
        inbox(b"\x07\xfe\x09" + bytes(9)).rows(1, 1, 7)


@pytest.mark.parametrize("national", [False, True])
def test_text_that_is_none_in_its_character_set_is_ora_29275(national: bool) -> None:
    with pytest.raises(OracleError, match="ORA-29275"):
        as_utf8([None, b"\xd8\x00\xff"], national=national)


@pytest.mark.parametrize(
    "encoded",
    ["787c021e010101", "787c000a010101", "787c0d0a010101", "787c0200010101", "787c021d1a0101", "787c021d013d01",
     "787c021d01013d", "6464010101 0101", "c864010101 0101", "787c021d0101013b9aca00", "787c02", "787c021d01010100"],
)  # fmt: skip
def test_a_day_that_does_not_exist_is_ora_01801(encoded: str) -> None:
    check_datetimes([None, bytes.fromhex("787c021d0d2339"), bytes.fromhex("787c021d0d2339075bca00")])
    with pytest.raises(OracleError, match="ORA-01801"):
        check_datetimes([bytes.fromhex(encoded)])


def closed_by_server(client: socket.socket) -> bool:
    try:
        while client.recv(65536):
            pass
    except ConnectionError:
        pass
    return True  # a server that goes on waiting is a TimeoutError


def connect_packet() -> bytes:
    text = b"(CONNECT_DATA=(SERVICE_NAME=X))"
    payload = bytearray(66) + text
    struct.pack_into(">HH", payload, 16, len(text), 74)
    struct.pack_into(">I", payload, 50, 8192)
    return wire.packet(wire.CONNECT, bytes(payload), wide=False)


CONNECT = connect_packet()


@pytest.mark.parametrize("claim", [2**21 + 1, 2**31, 2**32 - 1])
def test_a_packet_that_claims_gigabytes_ends_the_connection_at_once(claim: int) -> None:
    with (
        serve(service="X") as server,
        socket.create_connection(("127.0.0.1", server.port), PATIENCE) as client,
    ):
        client.sendall(CONNECT)
        assert client.recv(65536)[4] == wire.ACCEPT
        client.sendall(claim.to_bytes(4, "big") + bytes((wire.DATA, 0, 0, 0)))
        assert closed_by_server(client)


def test_a_client_that_talks_on_without_logging_in_is_cut_off() -> None:
    endless = wire.packet(wire.DATA, b"\0\0\1" + b"x" * 8000, wide=True)
    with (
        serve(service="X") as server,
        socket.create_connection(("127.0.0.1", server.port), PATIENCE) as client,
    ):
        client.sendall(CONNECT)
        assert client.recv(65536)[4] == wire.ACCEPT
        with pytest.raises(ConnectionError):
            client.sendall(endless * 10_000)  # 80 megabytes
        assert closed_by_server(client)


def test_clients_that_fall_silent_before_they_are_logged_in_are_hung_up_on() -> None:
    """As SQLNET.INBOUND_CONNECT_TIMEOUT does; a client that is logged in may be silent for ever."""
    with serve(service="X", login_seconds=1.5) as server, contextlib.ExitStack() as stack:
        patient = stack.enter_context(oracledb.connect(user="TMS", password="secret", dsn=server.dsn))
        silent = []
        for said in (b"", CONNECT[:5], CONNECT[:40], CONNECT):
            client = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
            silent.append(stack.enter_context(client))
            client.sendall(said)
        assert all(map(closed_by_server, silent))
        patient.ping()
