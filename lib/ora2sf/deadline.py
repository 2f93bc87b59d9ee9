"""Asking somebody who may never answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

_Found = TypeVar("_Found")


class NoAnswerInTime(Exception):
    """A question was not answered in the seconds it got."""


def within(seconds: float, ask: Callable[[], _Found]) -> _Found:
    """What ``ask`` returns or raises; it goes on in a thread of its own, which is left behind when it takes too long.

    Raises:
        NoAnswerInTime: it takes longer.
    """
    found: list[_Found] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            found.append(ask())
        except BaseException as error:  # noqa: BLE001 - raised again where it was asked
            raised.append(error)

    asking = threading.Thread(target=run, daemon=True, name="asking")
    asking.start()
    asking.join(seconds)
    if raised:
        raise raised[0]
    if not found:
        raise NoAnswerInTime
    return found[0]
