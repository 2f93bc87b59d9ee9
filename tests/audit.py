"""Known vulnerabilities of the locked packages, by pip-audit: ``make audit``.

pip-audit ends well when it could look nothing up. This says so: what was not looked up is not clean.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Where pip-audit asks, in this order: the JSON API of PyPI, then OSV.
SERVICES = {"pypi": "https://pypi.org/pypi/<package>/<version>/json", "osv": "https://api.osv.dev"}
CLEAN, VULNERABLE, NOT_AUDITED = 0, 1, 3
_SHOWN = 5


@dataclass(frozen=True)
class Audit:
    """What a service said: the number of packages, lines on the vulnerable ones, and names that it said nothing of."""

    packages: int
    vulnerable: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    error: str = ""


def read(answer: Mapping[str, Any]) -> Audit:
    """The JSON that pip-audit writes."""
    lines, unknown = [], []
    for one in answer["dependencies"]:
        if "skip_reason" in one:
            unknown.append(str(one["name"]))
        for found in one.get("vulns", ()):
            fixed = ", ".join(found["fix_versions"]) or "no version yet"
            names = ", ".join([found["id"], *found.get("aliases", ())])
            lines.append(f"{one['name']} {one['version']}: {names}; fixed in {fixed}")
    return Audit(len(answer["dependencies"]), tuple(lines), tuple(unknown))


def ask(command: str, lock: Path, service: str) -> Audit:
    """Runs pip-audit on one lock."""
    options = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    done = subprocess.run(
        [command, *options, "--vulnerability-service", service, "--requirement", str(lock)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        return read(json.loads(done.stdout))
    except (ValueError, KeyError):  # the service does not answer at all
        said = done.stderr.strip().splitlines()
        return Audit(0, error=said[-1][:200] if said else f"pip-audit ended with {done.returncode}")


def audit(command: str, lock: Path) -> int:
    """Says what is known of one lock; the second service is asked only if the first one does not know every package."""
    for service, address in SERVICES.items():
        found = ask(command, lock, service)
        if found.vulnerable:
            print(f"{lock}: {len(found.vulnerable)} known vulnerabilities ({service}):")
            print(*(f"  {line}" for line in found.vulnerable), sep="\n")
            return VULNERABLE
        if not found.unknown and not found.error:
            print(f"{lock}: {found.packages} packages, no known vulnerability ({service}).")
            return CLEAN
        some = ", ".join(found.unknown[:_SHOWN])
        why = (
            found.error
            or f"it knows nothing of {len(found.unknown)} of {found.packages} packages, such as {some}"
        )
        print(f"{lock}: {service} ({address}) could not be asked: {why}")
    print(
        f"{lock}: NOT AUDITED. Run this where one of the two services can be reached; a mirror of PyPI often has no JSON API."
    )
    return NOT_AUDITED


def main(arguments: Sequence[str]) -> int:
    """``audit.py PIP-AUDIT LOCK…``; the worst of all locks decides."""
    command, *locks = arguments
    codes = [audit(command, Path(lock)) for lock in locks]
    return VULNERABLE if VULNERABLE in codes else max(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
