"""``make audit``: what could not be looked up is not called clean."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import audit

#: As pip-audit 2.10 writes them.
GOOD = {"name": "six", "version": "1.17.0", "vulns": []}
SKIPPED = {
    "name": "requests",
    "skip_reason": "Dependency not found on PyPI and could not be audited: requests (2.30.0)",
}
BAD = {
    "name": "jinja2", "version": "2.4.1",
    "vulns": [{"id": "PYSEC-2019-217", "fix_versions": ["2.10.1"], "aliases": ["CVE-2019-10906"], "description": "…"}],
}  # fmt: skip


@pytest.fixture
def pip_audit(tmp_path: Path) -> Any:
    """Makes a command that answers like pip-audit: by service, the packages or what it says on stderr."""

    def made(**answers: Any) -> str:
        path = tmp_path / "pip-audit"
        path.write_text(
            f"#!{sys.executable}\nimport json, sys\nanswers = json.loads({json.dumps(json.dumps(answers))})\n"
            "found = answers[sys.argv[sys.argv.index('--vulnerability-service') + 1]]\n"
            "if isinstance(found, str):\n    sys.exit(found)\n"
            "print(json.dumps({'dependencies': found, 'fixes': []}))\n"
        )
        path.chmod(0o700)
        return str(path)

    return made


@pytest.mark.parametrize(
    ("answers", "code", "said"),
    [
        ({"pypi": [GOOD]}, 0, "1 packages, no known vulnerability (pypi)."),
        ({"pypi": [GOOD, BAD]}, 1, "jinja2 2.4.1: PYSEC-2019-217, CVE-2019-10906; fixed in 2.10.1"),
        ({"pypi": [GOOD, SKIPPED], "osv": [GOOD, GOOD]}, 0, "2 packages, no known vulnerability (osv)."),
        ({"pypi": [SKIPPED], "osv": "no route to api.osv.dev"}, 3, "NOT AUDITED"),
        ({"pypi": [SKIPPED], "osv": [BAD]}, 1, "fixed in 2.10.1"),
    ],
)
def test_the_audit_says_what_is_known_and_what_is_not(
    pip_audit: Any, capsys: pytest.CaptureFixture[str], answers: Any, code: int, said: str
) -> None:
    assert audit.main([pip_audit(**answers), "requirements.lock"]) == code
    assert said in capsys.readouterr().out
