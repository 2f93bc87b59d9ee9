"""Where each slice of a run stands: what ``status.json`` says, and whether that can still be true."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ora2sf import planfile
from ora2sf.claim import Holder
from ora2sf.errors import VERDICTS, Exit, RunFolderError
from ora2sf.ledger import Ledger, looked_at

Answer = TypeVar("Answer")

STATUS = "status.json"
#: Ways to stop, and what they end a command with.
_ENDINGS = {"stopped, can be resumed": Exit.INTERRUPTED, "paused by budget": Exit.PAUSED}
#: States that a step passes on its way, and the notebook that is next.
_NEXT = {"extracted": "02_upload", "uploaded": "03_reconcile"}


@dataclass(frozen=True)
class Standing:
    """Where one slice stands.

    Attributes:
        slice: its name: the table, and the window if there is one.
        step: the notebook that ran last, or runs.
        state: in words, and true at the time of asking.
        at: when that was noted (UTC).
        exit: what a command ends with that stands for this slice.
        detail: an error, or what comes next.
    """

    slice: str
    step: str
    state: str
    at: str
    exit: Exit
    detail: str = ""


def slices(folder: Path) -> dict[str, Path]:
    """Name → folder of the slices in a folder: itself, or a run's tables and their windows.

    Raises:
        RunFolderError: there are none.
    """
    if is_slice(folder):
        return {folder.resolve().name: folder}
    found = {one.relative_to(folder).as_posix(): one for one in sorted(filter(is_slice, _below(folder)))}
    if not found:
        raise RunFolderError(
            f"{folder} is not the folder of a slice or of a run.",
            "Name outputs/<run_id>, or a table's folder in it.",
        )
    return found


def is_slice(folder: Path) -> bool:
    """Whether a folder is that of one slice."""
    return any((folder / name).is_file() for name in (STATUS, "ledger.sqlite", "report.json"))


def _below(folder: Path) -> Iterator[Path]:
    campaign = folder / planfile.FOLDER  # its report is not that of a slice
    for depth in ("*", "*/*"):
        yield from (path for path in folder.glob(depth) if path.is_dir() and path != campaign)


def standings(folder: Path) -> list[Standing]:
    """Where every slice in a folder stands.

    Raises:
        RunFolderError: there are none.
    """
    return [standing(one, name) for name, one in slices(folder).items()]


def standing(folder: Path, name: str = "") -> Standing:
    """Where one slice stands; a note of a process that is gone is corrected."""
    noted = _noted(folder)
    step, state, at = (str(noted.get(key, "")) for key in ("step", "state", "at"))
    detail = str(noted.get("error", ""))
    if state == "started" and _process(noted).life == "alive":
        return Standing(name, step, "at work", at, Exit.AT_WORK, _who(noted))
    if _somebody_is_at_work(folder):
        return Standing(name, step, "at work", at, Exit.AT_WORK, "a process holds this slice")
    if not noted:
        return Standing(
            name, "", "nothing noted", "", Exit.INTERRUPTED, f"{STATUS} is not there or not whole"
        )
    # a notebook was opened, and nothing came of it
    left = state == "started" and _process(noted).life == "gone"
    if (left or state in _NEXT) and (verdict := _stands(folder)):
        return Standing(name, "03_reconcile", verdict, at, VERDICTS[verdict], _gone(noted))
    if state == "started":
        return _left_behind(name, noted)
    if state in _NEXT:
        return Standing(name, step, state, at, Exit.INTERRUPTED, f"{_NEXT[state]} is next")
    if state in VERDICTS:
        return Standing(name, step, state, at, VERDICTS[state], _gone(noted))
    until = f"; it can go on at {noted['until']}" if noted.get("until") else ""
    return Standing(name, step, state, at, _exit(noted), detail + until)


def _gone(noted: Mapping[str, Any]) -> str:
    at = str(noted.get("data_removed", ""))
    return f"its staged data was removed on {at[:10]}" if at else ""


def _left_behind(name: str, noted: Mapping[str, Any]) -> Standing:
    """What was begun by a process that is gone, or of which nothing can be seen from here."""
    if _process(noted).life == "gone":
        state, detail = (
            "interrupted, can be resumed",
            f"{_who(noted)} is gone; run it again with the same run_id",
        )
    else:
        state, detail = "started", f"whether {_who(noted)} still runs cannot be seen from here"
    step, at = (str(noted.get(key, "")) for key in ("step", "at"))
    return Standing(name, step, state, at, Exit.INTERRUPTED, detail)


def _somebody_is_at_work(folder: Path) -> bool:
    """Whether a process that lives holds the slice, whoever wrote its status last; of one elsewhere nothing can be seen."""
    holder = _asked(folder, Ledger.holder)
    return holder is not None and holder.life == "alive"


def _stands(folder: Path) -> str | None:
    """The verdict, if the books have not changed since, and no roll-back has begun."""
    return _asked(folder, lambda ledger: None if ledger.setting("rollback_begun") else ledger.verdict())


def _asked(folder: Path, question: Callable[[Ledger], Answer | None]) -> Answer | None:
    """What the ledger says; None if it is not there or not readable, which is for a notebook to say."""
    path = folder / "ledger.sqlite"
    if not path.is_file():
        return None
    try:
        with looked_at(path) as ledger:
            return question(ledger)
    except (RunFolderError, OSError):
        return None


def _exit(noted: Mapping[str, Any]) -> Exit:
    """The code that was noted with an error."""
    try:
        return Exit(int(noted["exit"]))
    except (KeyError, TypeError, ValueError):
        return _ENDINGS.get(str(noted.get("state")), Exit.FAILED)


def _process(noted: Mapping[str, Any]) -> Holder:
    """The process that wrote the note; one that nothing is known of if the note does not tell."""
    try:
        return Holder(**noted["process"])
    except (KeyError, TypeError):
        return Holder("an unknown host", "", 0, "", "")


def _who(noted: Mapping[str, Any]) -> str:
    process = _process(noted)
    return f"process {process.pid or '?'} on {process.host}"


def _noted(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / STATUS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
