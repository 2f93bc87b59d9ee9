"""How far long work is: one display that changes in place in JupyterLab, a line every few seconds elsewhere.

No widgets: in a saved notebook they stay frozen at 0 %. The last state is what a saved notebook shows.
"""

from __future__ import annotations

import html
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from IPython.core.getipython import get_ipython

#: Set by Jupyter's server for the kernels of its notebooks (jupyter_server: sessionmanager.py); the engine takes it away.
LAB_VARIABLE = "JPY_SESSION_NAME"
#: Seconds between two states in the lab; between two lines elsewhere, at first and at most.
IN_PLACE, LINES, SLOWEST = 1.0, 5.0, 60.0


@contextmanager
def progress(label: str, unit: str = "", total: int | None = None) -> Iterator[Progress]:
    """Shows how far the work inside is, also while nothing is counted; work of less than a second leaves no trace.

    Args:
        label: what is done, such as ``extract product_price``.
        unit: what is counted, in the plural; empty if nothing is.
        total: how many there will be, if that is known.
    """
    shows = _InPlace() if in_lab() else _Lines()
    bar = Progress(label, unit, total, shows)
    ticks = threading.Thread(target=bar._keep_telling, name="progress", daemon=True)
    ticks.start()
    whole = False
    try:
        yield bar
        whole = True
    finally:
        bar._ended.set()
        ticks.join()
        bar._tell_the_end(whole=whole)


def in_lab() -> bool:
    """Whether somebody sits before this notebook, in a page that can change what it showed."""
    return get_ipython() is not None and LAB_VARIABLE in os.environ


class Progress:
    """How much is done, of how much, and since when.

    Attributes:
        done, total: in units; told: how often the state was shown.
        note: asked for half a sentence more each time that the state is shown, such as what is waited for.
    """

    def __init__(self, label: str, unit: str, total: int | None, shows: _InPlace | _Lines) -> None:
        self._label, self._unit, self._shows = label, unit, shows
        self.done, self.total, self.told = 0, total, 0
        self.note: Callable[[], str] = str
        self._begun = self._counting = time.monotonic()
        self._ended = threading.Event()

    def update(self, number: int = 1) -> None:
        """So many more are done."""
        self.done += number

    def reset(self, total: int | None = None) -> None:
        """It is known now how many there will be; the rate counts from here."""
        self.done, self.total, self._counting = 0, total, time.monotonic()

    def _keep_telling(self) -> None:
        while not self._ended.wait(self._shows.pause(time.monotonic() - self._begun)):
            self._tell(self._state(), self._share())

    def _tell(self, text: str, share: float | None) -> None:
        self.told += 1
        with suppress(OSError, ValueError):  # nobody reads a closed output
            self._shows.show(text, share)

    def _tell_the_end(self, *, whole: bool) -> None:
        """The last state stays, so it says how it ended."""
        seconds = time.monotonic() - self._begun
        if not self.told and seconds < IN_PLACE:
            return
        took = duration(seconds)
        counted = f"{self.done:,} {self._unit}, " if self._unit and (self.done or self.total) else ""
        rate = f", {self._rate():,.0f} {self._unit}/s" if counted and self.done else ""
        how = "" if whole else "stopped after "
        self._tell(f"{self._label}: {how}{counted}{took}{rate}", None)

    def _rate(self) -> float:
        return self.done / max(time.monotonic() - self._counting, 0.001)

    def _share(self) -> float | None:
        return min(self.done / self.total, 1.0) if self.total else None

    def _state(self) -> str:
        """Where it stands: how many of how many, rate and remaining time, and what is waited for."""
        parts = [part for part in (self._counted(), self._remaining(), self.note()) if part]
        return f"{self._label}: {', '.join(parts)}"

    def _counted(self) -> str:
        if not self._unit or not (self.done or self.total):
            return ""
        if not self.total:
            return f"{self.done:,} {self._unit}, {self._rate():,.0f} {self._unit}/s"
        rate = f", {self._rate():,.0f} {self._unit}/s" if self.done else ""
        share = int(100 * min(self.done / self.total, 1))
        return f"{self.done:,} of {self.total:,} {self._unit} ({share} %){rate}"

    def _remaining(self) -> str:
        took = duration(time.monotonic() - self._begun)
        if not self.total or not self.done:
            return took
        if self.done >= self.total:
            return f"finishing, {took}"
        return f"{took}, about {duration((self.total - self.done) / self._rate())} left"


class _InPlace:
    """One display, changed each time."""

    def __init__(self) -> None:
        self._handle: Any = None

    @staticmethod
    def pause(_elapsed: float) -> float:
        return IN_PLACE

    def show(self, text: str, share: float | None) -> None:
        """Replaces what was shown before."""
        from IPython.display import display

        bar = "" if share is None else (
            f'<progress value="{share:.3f}" style="width:16em;vertical-align:middle;margin-right:.8em" '
            f'aria-label="{share:.0%} done"></progress>'
        )  # fmt: skip
        page = f'<div style="padding:2px 0;font-variant-numeric:tabular-nums">{bar}{html.escape(text)}</div>'
        data = {"text/plain": text, "text/html": page}
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(data, raw=True)


class _Lines:
    """A line now and then, for logs: often at first, so that a day of work is hundreds of lines and not a million."""

    @staticmethod
    def pause(elapsed: float) -> float:
        return min(max(LINES, elapsed / 50), SLOWEST)

    @staticmethod
    def show(text: str, _share: float | None) -> None:
        """Prints a line."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def duration(seconds: float) -> str:
    """Such as ``4.2 s``, ``80 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
