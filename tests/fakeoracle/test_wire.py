"""Packets and primitives without a socket."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakeoracle import wire
from fakeoracle.errors import ProtocolError


def inbox(data, size):
    """Return an inbox that receives `data` in pieces of `size` bytes."""
    pieces = iter([data[i : i + size] for i in range(0, len(data), size)])
    return wire.Inbox(lambda: next(pieces))


@pytest.mark.parametrize(
    ("value", "encoded"), [(0, "00"), (1, "0101"), (256, "020100"), (65536, "0400010000")]
)
def test_unsigned_integers_are_as_short_as_they_can_be(value, encoded):
    assert wire.ub(value).hex() == encoded


def test_negative_integers_carry_their_sign_in_the_length():
    assert wire.sb(-1).hex() == "8101"


@given(st.lists(st.integers(0, 2**64 - 1)), st.integers(1, 5))
def test_integers_are_read_however_the_message_is_cut(values, size):
    reader = inbox(b"".join(map(wire.ub, values)), size)
    assert [reader.ub() for _ in values] == values


@pytest.mark.parametrize("length", [0, 1, 252, 253, 255, 32767, 32768, 70000])
@pytest.mark.parametrize("size", [1000, 100_000])
def test_bytes_of_any_length_are_read_back(length, size):
    value = b"x" * length
    assert inbox(wire.clr(value), size).clr() == (value or None)
    assert inbox(wire.bytes_with_length(value), size).bytes_with_length() == value


@given(
    st.lists(st.tuples(st.binary(max_size=600), st.none() | st.binary(max_size=5)), max_size=30),
    st.integers(1, 700),
)
def test_rows_of_binds_are_read_by_column_however_the_message_is_cut(rows, size):
    message = b"".join(b"\x07" + b"".join(map(wire.clr, row)) for row in rows)
    columns = inbox(message, size).rows(2, len(rows), 7)
    assert columns == [[row[0] or None for row in rows], [row[1] or None for row in rows]]


@given(st.lists(st.binary(max_size=300), max_size=10), st.integers(1, 50), st.booleans())
def test_packets_are_found_however_the_stream_is_cut(payloads, size, wide):
    splitter = wire.PacketSplitter()
    splitter.wide = wide
    stream = b"".join(wire.packet(wire.DATA, payload, wide=wide) for payload in payloads)
    found = [p for i in range(0, len(stream), size) for p in splitter.feed(stream[i : i + size])]
    assert found == [(wire.DATA, payload) for payload in payloads]


def test_nonsense_in_place_of_a_length_is_noticed():
    with pytest.raises(ProtocolError):
        wire.PacketSplitter().feed(b"\0\0\0\0\0\0\0\0")
