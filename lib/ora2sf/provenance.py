"""What a result was made with: program, packages, commit."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

#: The packages that touch the data or the two servers, and the one that executes notebooks.
PACKAGES = ("ora2sf", "oracledb", "pyarrow", "polars", "duckdb", "isal", "requests", "papermill")
UNKNOWN = "unknown"
_SECONDS = 10


def versions() -> dict[str, Any]:
    """Versions of Python, of the system and of the packages that touch the data."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return UNKNOWN


def commit(root: Path) -> str:
    """The commit of the project's repository, and whether files differ from it; ``unknown`` without a repository."""
    found = _git(root, "rev-parse", "HEAD")
    if not found:
        return UNKNOWN
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{found} with changes" if changed else found


def _git(root: Path, *arguments: str) -> str:
    """What git answers; nothing if it is not there or refuses."""
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
