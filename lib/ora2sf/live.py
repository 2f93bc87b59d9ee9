"""What a campaign shows in a terminal while it is carried out: what begins and ends, and how far the running slices are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TextIO

from ora2sf import overview
from ora2sf.campaign_model import CampaignReport, SliceLine
from ora2sf.campaign_report import end_of
from ora2sf.errors import Ora2sfError

#: Seconds between two looks: on a terminal, and where the output is kept.
_EVERY = {True: 2.0, False: 15.0}


class Live:
    """Lines that stay, and below them, on a terminal, a few that are written anew at each look."""

    def __init__(self, run: Path, out: TextIO | None = None) -> None:
        self._run, self._out = run, out or sys.stdout
        self._terminal = self._out.isatty()
        self._block: list[str] = []
        self.every = _EVERY[self._terminal]

    def say(self, text: str) -> None:
        """A line that stays."""
        self._clear()
        print(text, file=self._out)
        self._write(self._block)

    def look(self) -> None:
        """How far it is, by what is on disk."""
        try:
            found = overview.look(self._run)
        except Ora2sfError:  # nothing is there yet
            return
        self._clear()
        self._block = [_said(one) for one in found.slices if one.group == "at work"] if self._terminal else []
        self._block.append(_summary(found, brief=self._terminal))
        self._write(self._block)
        if not self._terminal:
            self._block = []

    def end(self) -> None:
        """Takes away what is written anew."""
        self._clear()
        self._block = []

    def _clear(self) -> None:
        if self._terminal and self._block:
            print(f"\033[{len(self._block)}F\033[J", end="", file=self._out)

    def _write(self, lines: list[str]) -> None:
        for line in lines:
            print(line[: _width(self._out)] if self._terminal else line, file=self._out)
        self._out.flush()


def _width(out: TextIO) -> int:
    import os

    try:
        return os.get_terminal_size(out.fileno()).columns
    except OSError:
        return 80


def _said(one: SliceLine) -> str:
    """``  sale/w001  02_upload  120,000 of 500,000 rows  812 rows/s  14:05``"""
    reading = one.counts.staged is None
    whole = one.counts.planned if reading else one.counts.staged
    far = f"{whole - one.left:,} of {whole:,} rows" if whole is not None and one.left is not None else ""
    rate = one.read_per_second if reading else one.sent_per_second
    parts = [
        one.slice,
        one.step,
        far,
        f"{rate:,.0f} rows/s" if rate else "",
        f"until {one.end[11:16]}" if one.end else "",
    ]
    return "  " + "  ".join(part for part in parts if part)


def _summary(found: CampaignReport, *, brief: bool) -> str:
    at_work = [_said(one).strip() for one in found.slices if one.group == "at work"]
    told = f" Now: {'; '.join(at_work)}." if at_work and not brief else ""
    return f"{found.made[11:19]}  {found.verdict.sentence}{told}{end_of(found)}"
