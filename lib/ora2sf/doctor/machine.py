"""This machine: versions, disk, time zone, and the file of connections."""

from __future__ import annotations

import datetime as dt
import os
import platform
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from ora2sf.connections import ENV_PREFIX, FILE_NAME, connections_file, project_root
from ora2sf.doctor.findings import Checklist
from ora2sf.errors import Ora2sfError

#: What a run cannot do without.
PACKAGES = ("oracledb", "requests", "polars", "pyarrow", "duckdb", "pandas", "papermill", "pydantic")
_GIB = 1 << 30
#: Free bytes below which a run will fail soon, and below which one of some size may.
_LITTLE, _ENOUGH = _GIB // 2, 5 * _GIB


def look_around(checks: Checklist) -> None:
    """Everything that can be said without a server."""
    _python(checks)
    _packages(checks)
    _disk(checks, "disk", project_root(), "Give another folder as outputs, or make room.")
    _disk(checks, "temporary files", Path(tempfile.gettempdir()), "Point TMPDIR at a folder with room.")
    now = dt.datetime.now().astimezone()
    checks.ok("clock", f"{now:%Y-%m-%d %H:%M:%S} in {now.tzname()} (UTC{now:%z})")
    _connections(checks)


def _python(checks: Checklist) -> None:
    version = platform.python_version()
    said = f"Python {version} in {sys.prefix}"
    if sys.prefix == sys.base_prefix and "CONDA_PREFIX" not in os.environ:
        checks.warning(
            "Python", f"{said}, which is no environment of its own", "Use the project's: .venv/bin/ora2sf."
        )
    else:
        checks.ok("Python", said)


def _packages(checks: Checklist) -> None:
    locked = dict(_locked(project_root() / "requirements.lock"))
    installed = {name: _version(name) for name in ("ora2sf", *PACKAGES)}
    missing = [name for name in PACKAGES if not installed[name]]
    other = [
        f"{name} {version} (lock: {locked[name]})"
        for name, version in installed.items()
        if version and name in locked and version != locked[name]
    ]
    shown = ", ".join(f"{name} {version or 'from its folder'}" for name, version in installed.items())
    again = "Install the project's environment again: remove .venv, then make test."
    if missing:
        checks.problem("packages", f"not installed: {', '.join(missing)}", again)
    elif other:
        checks.warning("packages", f"not the versions that were tested: {', '.join(other)}", again)
    else:
        checks.ok("packages", shown)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _locked(lock: Path) -> Iterator[tuple[str, str]]:
    """Name and version of each line; versions that hold for some machines only are left out."""
    for line in lock.read_text(encoding="utf-8").splitlines() if lock.is_file() else ():
        name, exact, version = line.partition("==")
        if exact and ";" not in version:
            yield name.strip(), version.strip()


def _disk(checks: Checklist, name: str, folder: Path, fix: str) -> None:
    if not folder.is_dir():
        checks.problem(name, f"{folder} is no folder", "Correct ORA2SF_HOME, or go to the project's folder.")
        return
    free = shutil.disk_usage(folder).free
    said = f"{free / _GIB:.1f} GB free in {folder}"
    if not os.access(folder, os.W_OK):
        checks.problem(name, f"{folder} cannot be written", fix)
    elif free < _LITTLE:
        checks.problem(name, said, fix)
    elif free < _ENOUGH:
        checks.warning(name, f"{said}; staged rows need about a tenth of their size as CSV", fix)
    else:
        checks.ok(name, said)


def _connections(checks: Checklist) -> None:
    """Where the connections come from, and that nobody else can read them."""
    named = sorted(name for name in os.environ if name.startswith(ENV_PREFIX))
    try:
        path = connections_file()
    except Ora2sfError as error:
        checks.failed("connections", error)
        return
    if path is None:
        said = f"no {FILE_NAME}; from the environment: {', '.join(named) or 'none'}"
        if named:
            checks.ok("connections", said)
        else:
            checks.problem("connections", said, "`ora2sf init` writes the file and asks for its values.")
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        checks.problem("connections", f"{path} can be read by others (mode {mode:04o})", f"chmod 600 {path}")
        return
    also = f", and {', '.join(named)} before it" if named else ""
    checks.ok("connections", f"{path}, mode {mode:04o}{also}")
