"""Removes what a slice no longer needs once its verdict stands; ledger, result files, reports and every hash stay (docs/security.md)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ora2sf import evidence, planfile
from ora2sf.claim import now
from ora2sf.errors import ClaimedError, Exit, Ora2sfError, RunFolderError
from ora2sf.events import Log
from ora2sf.evidence import LEDGER, REMOVED
from ora2sf.keys import key_file
from ora2sf.ledger import Ledger
from ora2sf.private import private_files
from ora2sf.retry import user
from ora2sf.standing import STATUS, slices, standing

#: Verdicts whose books balance and that no run goes on from, unless somebody mends rows that failed or were rejected.
_SETTLED = frozenset({"complete", "complete with exceptions", "all rejected", "nothing to do", "rolled back"})
_SHOWN = 3


@dataclass(frozen=True)
class Found:
    """What may go of one slice.

    Attributes:
        slice: its name in the run.
        verdict: that stands, or ``not reconciled``.
        files, bytes: what goes, or went.
        waiting: slices of the run for whose sake the file of keys stays.
        refusal: why nothing goes; empty if it may.
        removed: whether it went.
    """

    slice: str
    folder: Path
    verdict: str
    files: tuple[Path, ...] = ()
    bytes: int = 0
    waiting: tuple[str, ...] = ()
    refusal: str = ""
    removed: bool = False


def clean_run(
    run: Path, tables: Sequence[str] = (), *, also_unproven: bool = False, remove: bool = False
) -> list[Found]:
    """Looks at the slices of a run, or at one slice, and removes what may go.

    Args:
        run: ``outputs/<run_id>``, or the folder of one slice.
        tables: names of tables or slices; none for all of them.
        also_unproven: also of slices whose books balance without a proof, and of those that were rolled back.
        remove: False only looks.

    Raises:
        RunFolderError: there is no such slice.
    """
    chosen = _chosen(slices(run), tables)
    found = [_survey(name, folder, also_unproven=also_unproven) for name, folder in chosen.items()]
    return [_removed(one) if remove and not one.refusal and one.files else one for one in found]


def after_campaign(run: Path, tables: Sequence[str]) -> str:
    """Removes the staged data of all proven slices of these tables; says what went and what stayed."""
    begun: list[str] = []
    with suppress(RunFolderError):  # no slice was begun
        begun = [name for name in tables if any(_names(name, one) for one in slices(run))]
    found = clean_run(run, begun, remove=True) if begun else []
    gone = [one for one in found if one.removed]
    said = f"Staged data of {len(gone)} of {len(found)} slice(s) was removed: {sum(one.bytes for one in gone) / 1e6:,.1f} MB."
    return said if len(gone) == len(found) else f"{said} ora2sf cleanup {run} says why others keep theirs."


def _chosen(there: dict[str, Path], tables: Sequence[str]) -> dict[str, Path]:
    unknown = [name for name in tables if not any(_names(name, one) for one in there)]
    if unknown:
        raise RunFolderError(f"There is no slice {', '.join(unknown)}.", f"There are: {', '.join(there)}.")
    return {
        name: folder
        for name, folder in there.items()
        if not tables or any(_names(one, name) for one in tables)
    }


def _names(wanted: str, name: str) -> bool:
    return name == wanted or name.startswith(f"{wanted}/")


# what may go


def _survey(name: str, folder: Path, *, also_unproven: bool) -> Found:
    try:
        with Ledger(folder / LEDGER) as ledger:
            verdict, waiting = _verdict(ledger), _waiting(folder, ledger)
            refusal = _refusal(folder, ledger, verdict, also_unproven=also_unproven)
            files = tuple(_files(folder, ledger, keep_keys=bool(waiting)))
    except Ora2sfError as error:
        return Found(name, folder, "not reconciled", refusal=error.what)
    size = sum(path.stat().st_size for path in files)
    return Found(name, folder, verdict, files, size, waiting, refusal)


def _verdict(ledger: Ledger) -> str:
    """What 03_reconcile came to, if nothing happened since; or that the load was taken back."""
    if ledger.setting("rollback_begun"):
        return "rolled back" if ledger.setting("rolled_back") else "roll-back not at its end"
    return ledger.verdict() or "not reconciled"


def _refusal(folder: Path, ledger: Ledger, verdict: str, *, also_unproven: bool) -> str:
    if holder := ledger.holder():
        return f"held by {holder}"
    if verdict in _SETTLED and not also_unproven:
        return f"{verdict} is no proof: --also-unproven removes it, and 04_retry can send no row again then"
    if verdict != "proven" and verdict not in _SETTLED:
        return f"{verdict}: without its staged data nobody could go on, or find out why"
    problems = {
        path: found
        for path, found in evidence.verify(folder).problems.items()
        if not _expected(verdict, path, found)
    }
    if evidence.JSON in problems:
        return f"{evidence.JSON} is {problems[evidence.JSON]}: it keeps the hashes; `ora2sf report` writes it"
    if problems:
        named = ", ".join(f"{path} ({found})" for path, found in list(problems.items())[:_SHOWN])
        return f"{len(problems)} file(s) are not as {evidence.JSON} says: {named}"
    return ""


def _expected(verdict: str, path: str, found: str) -> bool:
    """A roll-back changes the ledger and stages what it deletes, and no report is made of it."""
    return verdict == "rolled back" and (path == LEDGER or found == "extra")


def _files(folder: Path, ledger: Ledger, *, keep_keys: bool) -> Iterator[Path]:
    keys = key_file(folder / "salesforce" / "data", ledger.setting("table") or "")
    for path in sorted((folder / "salesforce").rglob("*")):
        if (
            path.is_file()
            and evidence.may_go(path.relative_to(folder).as_posix())
            and not (keep_keys and path == keys)
        ):
            yield path


def _waiting(folder: Path, ledger: Ledger) -> tuple[str, ...]:
    """Slices of the run that are not at their end: they look into the keys of this one, for parents and for keys that stand twice."""
    run = next(
        (one for one in folder.resolve().parents if one.name == ledger.setting("run_id")), folder.parent
    )
    names = set(slices(run))
    with suppress(Ora2sfError):  # a run without a plan, or with one that cannot be used
        names |= {one.name for one in planfile.draft(run).slices()}
    return tuple(
        name for name in sorted(names) if run / name != folder.resolve() and not _at_its_end(run / name)
    )


def _at_its_end(folder: Path) -> bool:
    return (folder / LEDGER).is_file() and standing(folder).exit in {Exit.COMPLETE, Exit.ROWS_FAILED}


# removing it


def _removed(found: Found) -> Found:
    """Removes what was found; recorded before and after, so that a kill leaves nothing that looks lost."""
    try:
        with private_files(), Ledger(found.folder / LEDGER) as ledger, ledger.claimed():
            note = {
                "at": now(),
                "who": user(),
                "verdict": found.verdict,
                "files": len(found.files),
                "bytes": found.bytes,
            }
            ledger.record(REMOVED, json.dumps(note))
            for path in found.files:
                path.unlink(missing_ok=True)
            for left in ("data/tmp", "target", "compare"):
                shutil.rmtree(found.folder / "salesforce" / left, ignore_errors=True)
            _tell(found, ledger, note)
    except ClaimedError as error:
        return replace(found, refusal=error.what)
    except OSError as error:
        raise RunFolderError(
            f"Staged data in {found.folder} cannot be removed: {error.strerror}.",
            "Correct the folder's rights, then run the same command again: it goes on.",
        ) from None
    return replace(found, removed=True)


def _tell(found: Found, ledger: Ledger, note: dict[str, object]) -> None:
    path = found.folder / STATUS
    with suppress(ValueError, FileNotFoundError):
        noted = json.loads(path.read_text(encoding="utf-8")) | {"data_removed": note["at"]}
        part = path.with_name(f"{STATUS}.part")
        part.write_text(json.dumps(noted, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        part.replace(path)
    span = json.loads(ledger.setting("window") or "{}")
    log = Log(
        found.folder,
        run_id=ledger.setting("run_id"),
        table=ledger.setting("table"),
        window=span.get("name"),
        step="cleanup",
    )
    log.write("data_removed", verdict=found.verdict, files=len(found.files), bytes=found.bytes)
