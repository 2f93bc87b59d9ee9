"""A plan on disk: ``<run>/campaign/plan.json``, and beside it what freezes it, ``plan.json.sha256`` (``sha256sum -c`` reads it)."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import ValidationError

from ora2sf.errors import PlanError, RunFolderError
from ora2sf.plan import Plan
from ora2sf.private import private_files

FOLDER = "campaign"
NAME = "plan.json"
LOCK = "lock"


def path_of(run: Path) -> Path:
    """Where a run keeps its plan."""
    return run / FOLDER / NAME


def _seal(run: Path) -> Path:
    return path_of(run).with_name(f"{NAME}.sha256")


def write(run: Path, plan: Plan) -> Path:
    """Writes a plan that is not frozen.

    Raises:
        PlanError: a frozen plan is there already.
        RunFolderError: the folder cannot be written.
    """
    if _seal(run).exists():
        raise PlanError(
            f"Run {plan.run_id} has a frozen plan already.",
            "Plan under a new run_id; or remove campaign/plan.json.sha256 if nothing of the run was extracted yet.",
        )
    path = path_of(run)
    _put(path, plan.model_dump_json(indent=1) + "\n")
    return path


def write_frozen(run: Path, plan: Plan) -> Path:
    """Writes a plan that is frozen from the first moment: whoever is killed here leaves a whole one, or none.

    Raises:
        PlanError: a plan is there already.
        RunFolderError: the folder cannot be written.
    """
    path, text = path_of(run), plan.model_dump_json(indent=1) + "\n"
    if path.exists():
        raise PlanError(f"Run {plan.run_id} has a plan already.", "Use it, or plan under a new run_id.")
    _put(_seal(run), f"{hashlib.sha256(text.encode()).hexdigest()}  {NAME}\n")
    _put(path, text)
    return path


def freeze(run: Path) -> str:
    """Records the hash of the plan as it is now; also of one that was edited after an earlier freeze.

    Raises:
        PlanError: there is no plan, or it cannot be used.
    """
    _parsed(run)
    found = _hash(run)
    _put(_seal(run), f"{found}  {NAME}\n")
    return found


def frozen_hash(run: Path) -> str | None:
    """The hash that the plan was frozen with, or None."""
    try:
        return _seal(run).read_text(encoding="utf-8").split()[0]
    except (OSError, IndexError):
        return None


def is_frozen(run: Path) -> bool:
    """Whether the plan is as it was frozen."""
    return frozen_hash(run) == _hash(run)


def read(run: Path) -> Plan | None:
    """The run's plan, frozen and unchanged; None for a run without one.

    Raises:
        PlanError: it is not frozen, was edited since, or cannot be used.
    """
    frozen = frozen_hash(run)
    if not path_of(run).exists():
        if frozen is None:
            return None
        raise PlanError(f"The plan of run {run.name} is gone: {path_of(run)}.", "Restore it from a backup.")
    if frozen is None:
        raise PlanError(
            f"The plan of run {run.name} is not frozen.",
            f"Review {path_of(run)}, then freeze it: ora2sf plan {run.name} --freeze.",
        )
    if not is_frozen(run):
        raise PlanError(
            f"The plan of run {run.name} was edited after it was frozen.",
            f"Put it back as it was, or review the change and freeze it anew: ora2sf plan {run.name} --freeze.",
        )
    return _parsed(run)


def draft(run: Path) -> Plan:
    """The run's plan, frozen or not.

    Raises:
        PlanError: there is none, or it cannot be used.
    """
    return _parsed(run)


def adopt(file: Path, outputs: Path) -> str:
    """Puts a frozen plan file into the folder of the run that it names, if it does not lie there; the run's id.

    Raises:
        PlanError: it is not frozen, cannot be used, or the run has another plan.
        RunFolderError: the folder cannot be written.
    """
    plan = _parsed_file(file)
    run, seal = outputs / plan.run_id, file.with_name(f"{file.name}.sha256")
    content = file.read_bytes()
    if not seal.exists() or seal.read_text(encoding="utf-8").split()[:1] != [
        hashlib.sha256(content).hexdigest()
    ]:
        raise PlanError(
            f"{file} is not frozen, or was edited since: {seal.name} beside it does not hold its hash.",
            f"Review it, then freeze it: ora2sf plan {plan.run_id} --freeze.",
        )
    if path_of(run).exists():
        if path_of(run).read_bytes() != content:
            raise PlanError(
                f"Run {plan.run_id} has another plan than {file}.",
                "Use the run's own, or plan under a new run_id.",
            )
        return plan.run_id
    _put(_seal(run), f"{hashlib.sha256(content).hexdigest()}  {NAME}\n")
    _put(path_of(run), content.decode())
    return plan.run_id


def _parsed(run: Path) -> Plan:
    path = path_of(run)
    if not path.exists():
        raise PlanError(
            f"Run {run.name} has no plan: {path} does not exist.", f"Make one: ora2sf plan {run.name}."
        )
    return _parsed_file(path)


def _parsed_file(path: Path) -> Plan:
    try:
        return Plan.model_validate_json(path.read_bytes())
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}"
            for e in error.errors(include_url=False, include_input=False)[:5]
        )
        raise PlanError(f"{path} is not a plan: {wrong}.", "Correct it, or plan anew.") from None
    except OSError as error:
        raise PlanError(
            f"{path} cannot be read: {error.strerror}.", "Check the file's permissions."
        ) from None


def _hash(run: Path) -> str:
    return hashlib.sha256(path_of(run).read_bytes()).hexdigest()


def _put(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.part")
    try:
        with private_files():
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise RunFolderError(
            f"{path} cannot be written: {error.strerror}.",
            "Correct outputs, or the permissions of that folder.",
        ) from None
