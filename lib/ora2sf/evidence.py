"""The files of a slice that an auditor relies on: which they are, their checksums, and whether they still fit."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ora2sf.errors import RunFolderError
from ora2sf.ledger import Ledger

JSON, HTML, LEDGER = "report.json", "report.html", "ledger.sqlite"
RULE = (
    "Listed are all files under salesforce/, what the checks found (preflight.json, comparison.json), every kept execution "
    "(<notebook>.<UTC time>.ipynb and .html) that was there when the report was made, and report.html. A file under "
    "salesforce/ that is not listed counts as extra. Of the ledger, which notes every later look, the content that says "
    "what was read, staged, sent and answered has a checksum of its own. Not listed, because they change: "
    "status.json, log.jsonl, <table>_retry.csv, which is there to be edited, and the newest execution of each notebook "
    "under its plain name."
)
COMPARISON = "comparison.json"
_CHECKS = ("preflight.json", COMPARISON)
_KEPT = re.compile(r"\w+\.\d{8}T\d{6}\.\d{3}Z\.(ipynb|html)")
_RESULT = re.compile(r"_(success|failed|unprocessed)\.csv$")
_WORKSHEET = "_retry.csv"
_UNSIGNED = "0" * 64
_DIGEST = re.compile(r'(\n {0,4}"digest": ")([0-9a-f]{64})(")')

Kind = Literal["staged", "result", "rejected", "other", "check", "execution", "report"]
Problem = Literal["missing", "changed", "extra"]
#: The setting of a ledger that says when staged data was removed, by whom and after which verdict.
REMOVED = "data_removed"
#: What is removed then. The key of each Id that a delete names stays: its result files name Ids alone.
_STAGED = re.compile(r"salesforce/(data/(?!.*\.ids\.csv$)|target/|compare/|.*\.part$)")


class Evidence(BaseModel):
    """One file, as it was when the report was made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(description="below the slice's folder, with /")
    kind: Kind
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of the file as it lies on disk")


@dataclass(frozen=True)
class Checked:
    """What the check of one slice found.

    Attributes:
        files: how many were looked at.
        problems: path → problem.
        removed: of the files, staged data that was removed after a verdict; not a problem.
    """

    files: int
    problems: dict[str, Problem]
    removed: int = 0


def evidence(folder: Path) -> list[Evidence]:
    """Every file under the rule but the report, with its checksum."""
    return [record(folder, path) for path in sorted(_paths(folder))]


def record(folder: Path, path: Path) -> Evidence:
    """One file with its checksum."""
    name = path.relative_to(folder).as_posix()
    return Evidence(path=name, kind=_kind(name), bytes=path.stat().st_size, sha256=_sha256(path))


def _paths(folder: Path) -> Iterator[Path]:
    yield from _under_salesforce(folder)
    yield from (path for name in _CHECKS if (path := folder / name).is_file())
    yield from (path for path in folder.iterdir() if _KEPT.fullmatch(path.name))


def _under_salesforce(folder: Path) -> Iterator[Path]:
    found = (path for path in (folder / "salesforce").rglob("*") if path.is_file())
    return (path for path in found if not path.name.endswith(_WORKSHEET))


def _kind(name: str) -> Kind:
    if name.startswith("salesforce/data/"):
        return "staged" if name.endswith(".csv.gz") else "other"
    if name.startswith("salesforce/"):
        if _RESULT.search(name):
            return "result"
        return "rejected" if name.endswith("_rejected.csv") else "other"
    if name == HTML:
        return "report"
    return "check" if name in _CHECKS else "execution"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def signed(text: str) -> str:
    """The text of ``report.json`` with its own checksum in it: of the text with zeros in that place.

    Args:
        text: JSON with one line ``"digest": "000…"``.
    """
    return _DIGEST.sub(rf"\g<1>{_digest(text)}\g<3>", text, count=1)


def digest_in(text: str) -> str:
    """The checksum that the text of a ``report.json`` has in it."""
    found = _DIGEST.search(text)
    return found[2] if found else ""


def _digest(text: str) -> str:
    return hashlib.sha256(_DIGEST.sub(rf"\g<1>{_UNSIGNED}\g<3>", text, count=1).encode()).hexdigest()


def verify(folder: Path) -> Checked:
    """Compares the files of a slice with its ``report.json``: what is missing, changed or extra."""
    kept = report(folder)
    if kept is None:
        return Checked(0, {JSON: "changed" if (folder / JSON).is_file() else "missing"})
    listed = [Evidence.model_validate(one) for one in kept["files"]["entries"]]
    problems = {one.path: found for one in listed if (found := _problem(folder, one))}
    gone = {path for path, found in problems.items() if found == "missing" and may_go(path)}
    gone = gone if gone and removed(folder) else set()
    problems = {path: found for path, found in problems.items() if path not in gone}
    known = {one.path for one in listed}
    there = (path.relative_to(folder).as_posix() for path in _under_salesforce(folder))
    problems |= dict.fromkeys((name for name in sorted(there) if name not in known), "extra")
    if found := _ledger_problem(folder / LEDGER, kept["files"]["ledger_sha256"]):
        problems[LEDGER] = found
    return Checked(len(listed) + 2, problems, len(gone))


def may_go(name: str) -> bool:
    """Whether a file of a slice may be removed once the verdict stands; by its path below the slice's folder."""
    return bool(_STAGED.match(name))


def removed(folder: Path) -> dict[str, Any]:
    """When staged data of a slice was removed (``at``), by whom and after which verdict; empty if it was not."""
    if not (folder / LEDGER).is_file():
        return {}  # opening it would make one
    with suppress(RunFolderError), Ledger(folder / LEDGER) as ledger:
        found: dict[str, Any] = json.loads(ledger.setting(REMOVED) or "{}")
        return found
    return {}


def report(folder: Path) -> dict[str, Any] | None:
    """The report of a slice, if it is there and not a byte of it has changed."""
    try:
        text = (folder / JSON).read_bytes().decode()
        found = _DIGEST.search(text)
        kept: dict[str, Any] = json.loads(text)
    except (OSError, ValueError):
        return None
    return kept if found and found[2] == _digest(text) else None


def _problem(folder: Path, one: Evidence) -> Problem | None:
    path = folder / one.path
    if not path.is_file():
        return "missing"
    whole = path.stat().st_size == one.bytes and _sha256(path) == one.sha256
    return None if whole else "changed"


def _ledger_problem(path: Path, digest: str) -> Problem | None:
    if not path.is_file():
        return "missing"
    try:
        with Ledger(path) as ledger:
            return None if ledger.digest() == digest else "changed"
    except RunFolderError:
        return "changed"
