"""Record ids: 3 characters of key prefix, 12 of base 62, 3 that make case mistakes harmless (documented)."""

from __future__ import annotations

import re

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CHECK = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_CAPITALS = str.maketrans({char: "1" if char.isupper() else "0" for char in DIGITS})
_SHAPE = re.compile(r"[0-9A-Za-z]{15}(?:[A-Z0-5]{3})?\Z")
_POD = "Ff0"  # three fixed characters, as an instance has


def record_id(prefix: str, number: int) -> str:
    """The 18-character id of the ``number``-th record of a kind."""
    tail = ""
    while number:
        number, digit = divmod(number, 62)
        tail = DIGITS[digit] + tail
    return long_id(prefix + _POD + tail.rjust(9, "0"))


def long_id(short: str) -> str:
    """15 characters to 18: each group of five adds one character that says which of them are capitals."""
    return short + _check(short[:5]) + _check(short[5:10]) + _check(short[10:])


def _check(five: str) -> str:
    return _CHECK[int(five[::-1].translate(_CAPITALS), 2)]


def normal_id(text: str) -> str | None:
    """The 18-character form of a well-formed id, or None."""
    if not _SHAPE.match(text):
        return None
    return long_id(text[:15]) if len(text) == 15 else text
