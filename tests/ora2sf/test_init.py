"""``ora2sf init``: a private file of connections, asked for on a terminal, and never a file that somebody else made."""

from __future__ import annotations

import os
import pty
import re
import stat
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fakeforce import serve as serve_org
from fakeoracle import serve as serve_oracle
from ora2sf import cli
from ora2sf.connections import ORACLE_EXTRAS, PLACEHOLDER, SALESFORCE_EXTRAS, get_connection
from ora2sf.connections_file import template
from ora2sf.errors import Exit

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "tests" / "fakeforce" / "schema"
PASSWORD, SECRET, PROXY = 'canary"oracle\\77f0', "canary/consumer+99ab", "canary-of-proxy"
IDS = ("oracle_tms", "salesforce_api")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.setenv("ORA2SF_HOME", str(tmp_path))
    monkeypatch.delenv("ORA2SF_CONNECTIONS", raising=False)

    def run_it(*arguments: str) -> tuple[int, str, str]:
        status = cli.main(["init", *arguments])
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    yield run_it
    os.environ.pop("ORA2SF_CONNECTIONS", None)


def test_without_a_terminal_a_private_file_with_placeholders_is_written(run: Run, tmp_path: Path) -> None:
    status, out, err = run()
    path = tmp_path / "connections.toml"
    assert (status, err) == (Exit.COMPLETE, "")
    assert f"{path} written, mode 0600" in out
    assert "CHANGE-ME" in out
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    written = tomllib.loads(path.read_text(encoding="utf-8"))
    assert set(written) == set(IDS)
    assert written["oracle_tms"]["password"] == PLACEHOLDER
    assert [one.name for one in tmp_path.iterdir()] == ["connections.toml"]


def test_every_key_that_can_be_taken_in_is_explained_and_valid_when_its_mark_is_taken_away() -> None:
    text = template(IDS)
    keys = r"^# (\w+) = "
    assert set(re.findall(keys, text, re.MULTILINE)) == {*ORACLE_EXTRAS, *SALESFORCE_EXTRAS}
    whole = tomllib.loads(re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE))
    assert set(whole["oracle_tms"]["extra"]) == set(ORACLE_EXTRAS)
    assert set(whole["salesforce_api"]["extra"]) == set(SALESFORCE_EXTRAS)
    for line in text.splitlines():
        if re.match(r"# \w+ = ", line) and "proxy_" not in line:
            assert line.count("#") == 2, f"not explained: {line}"


def test_a_file_that_is_there_is_left_as_it_is_with_what_to_do_next(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "connections.toml"
    path.write_text("# mine\n")
    status, _, err = run()
    assert status == Exit.CONFIGURATION
    assert "exists, and is not overwritten" in err
    assert "--force" in err
    assert path.read_text() == "# mine\n"


def test_force_replaces_the_two_connections_and_refuses_to_lose_a_third(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "connections.toml"
    path.write_text('[oracle_tms]\nhost = "x"\n[another]\nhost = "y"\n')
    status, _, err = run("--force")
    assert status == Exit.CONFIGURATION
    assert "also holds another, which would be lost" in err
    path.write_text('[oracle_tms]\nhost = "x"\n')
    path.chmod(0o644)
    assert run("--force")[0] == Exit.COMPLETE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert '"x"' not in path.read_text()


def test_other_names_of_connections_and_another_place_are_taken(run: Run, tmp_path: Path) -> None:
    assert (
        run("--file", str(tmp_path / "own.toml"), "--oracle-conn-id", "ora.1", "--sf-conn-id", "uat")[0] == 0
    )
    assert set(tomllib.loads((tmp_path / "own.toml").read_text())) == {"ora.1", "uat"}


def test_a_folder_that_is_not_there_is_said_so(run: Run, tmp_path: Path) -> None:
    status, _, err = run("--file", str(tmp_path / "no" / "own.toml"))
    assert status == Exit.CONFIGURATION
    assert "cannot be written: No such file or directory" in err


# on a terminal


def typed(arguments: list[str], answers: list[str], **environment: str) -> tuple[int, str]:
    """Runs the command on a terminal of its own and types one answer for each question: exit code, what was shown."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ora2sf", "init", *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env=os.environ | environment | {"PYTHONPATH": str(ROOT / "lib")},
    )
    os.close(slave)
    shown, left = b"", list(answers)
    asked = 0
    while True:
        try:
            part = os.read(master, 65_536)
        except OSError:
            break
        if not part:
            break
        shown += part
        if left and shown[asked:].rstrip(b"\r\n").endswith(b": "):
            asked = len(shown)
            os.write(master, left.pop(0).encode() + b"\n")
    os.close(master)
    assert not left, (left, shown.decode())
    return process.wait(timeout=30), shown.decode()


def test_on_a_terminal_it_asks_again_for_what_cannot_be_used_checks_both_sides_and_shows_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tables", "notebooks"):
        (tmp_path / name).mkdir()
    with (
        serve_oracle(users={"TMS": PASSWORD}) as oracle,
        serve_org(schema=SCHEMA, client_id="key", client_secret=SECRET) as org,
    ):
        answers = [oracle.host, "many", str(oracle.port), "FREEPDB1", "TMS", PASSWORD]
        answers += ["http://example.com", org.url, "", "key", SECRET, "", "no/such/file", ""]
        status, shown = typed([], answers, ORA2SF_HOME=str(tmp_path))
    assert "That is no port" in shown
    assert "plain http" in shown
    assert "A value is needed" in shown
    assert "names" in shown
    assert re.search(r"ok +oracle_tms +sign-in", shown)
    assert re.search(r"ok +salesforce_api +sign-in", shown)
    assert status == Exit.CONFIGURATION, "the folder holds no table file yet, which the doctor tells"
    for secret in (PASSWORD, SECRET):
        assert secret not in shown
    monkeypatch.setenv("ORA2SF_CONNECTIONS", str(tmp_path / "connections.toml"))
    assert get_connection("oracle_tms").password.get_secret_value() == PASSWORD
    assert get_connection("salesforce_api").extra == {}


def test_a_proxy_is_asked_for_its_user_and_password_which_are_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = ["db", "", "S", "TMS", PASSWORD, "https://example.my.salesforce.com", "key", SECRET]
    answers += ["http://proxy.example:3128", "me", PROXY, ""]
    status, shown = typed(["--no-check"], answers, ORA2SF_HOME=str(tmp_path))
    assert (status, PROXY in shown) == (Exit.COMPLETE, False)
    monkeypatch.setenv("ORA2SF_CONNECTIONS", str(tmp_path / "connections.toml"))
    assert get_connection("oracle_tms").port == 1521
    assert get_connection("salesforce_api").proxy() == f"http://me:{PROXY}@proxy.example:3128"


def test_answers_that_end_early_write_nothing(tmp_path: Path) -> None:
    status, shown = typed(["--no-check"], ["db", "\x04"], ORA2SF_HOME=str(tmp_path))
    assert status == Exit.CONFIGURATION
    assert "nothing was written" in shown
    assert list(tmp_path.iterdir()) == []


def test_secrets_are_no_arguments_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["init", "--help"])
    options: Any = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert options == {"--help", "--file", "--force", "--no-check", "--oracle-conn-id", "--sf-conn-id"}
