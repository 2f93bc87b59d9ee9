"""The demo: it says what is wrong in a sentence, and whatever ended the last one, the next one starts."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import oracledb
import pytest
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from ora2sf.connections import get_connection
from ora2sf.errors import Exit
from ora2sf_demo import __main__ as demo
from ora2sf_demo import history
from ora2sf_demo.servers import servers

BOOKS = {
    "source": 5, "staged": 0, "rejected": 5, "success": 0, "created": 0, "updated": 0, "failed": 0,
    "target_before": None, "target_after": None, "verdict": "all rejected",
}  # fmt: skip


def papermill_error(name: str, text: str) -> PapermillExecutionError:
    return PapermillExecutionError(1, 1, "", name, text, [])


def connected(connections: Path, monkeypatch: pytest.MonkeyPatch) -> oracledb.Connection:
    monkeypatch.setenv("ORA2SF_CONNECTIONS", str(connections))
    found = get_connection("oracle_tms")
    dsn = f"{found.host}:{found.port}/{found.schema_}"
    return oracledb.connect(user=found.login, password=found.password.get_secret_value(), dsn=dsn)


def products(connections: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    with connected(connections, monkeypatch) as database, database.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM KPS_T_APPRV_M")
        return int(cursor.fetchone()[0])


def test_after_a_killed_demo_its_servers_end_and_the_next_demo_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        "import pathlib, sys\nfrom ora2sf_demo.servers import servers\n"
        f"with servers(pathlib.Path({str(tmp_path)!r}), 5):\n    print('up', flush=True)\n    sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as killed:
        assert killed.stdout is not None
        assert "up\n" in iter(killed.stdout.readline, "")
        killed.send_signal(signal.SIGKILL)
    with servers(tmp_path, 5) as connections:
        assert products(connections, monkeypatch) == 5
    with (tmp_path / "servers.lock").open() as alive:
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_servers_of_another_process_are_used_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "connections.toml").touch()
    with (tmp_path / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write("4711")
        held.flush()
        with servers(tmp_path, 5) as connections:
            assert connections == tmp_path / "connections.toml"
    assert "Using the servers of another process (4711); they end when it does." in capsys.readouterr().err


def test_a_sales_history_is_added_to_servers_in_use_and_never_replaced_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lines(connections: Path) -> int:
        with connected(connections, monkeypatch) as database:
            return history.lines_in(database)

    with servers(tmp_path, 5) as connections:
        assert lines(connections) == 0
        with servers(tmp_path, 5, 40) as same:
            assert same == connections
            assert lines(same) == 40
        with servers(tmp_path, 5, 70):
            assert lines(connections) == 40
        assert "has 40 sales lines, not 70" in capsys.readouterr().err
    with servers(tmp_path, 5, 70) as connections:
        assert lines(connections) == 70
        assert products(connections, monkeypatch) == 5


def test_while_another_process_starts_its_servers_the_demo_says_for_whom_it_waits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: (tmp_path / "connections.toml").touch())
    with (tmp_path / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with servers(tmp_path, 5):
            pass
    assert "Waiting for the servers of another process (number unknown)" in capsys.readouterr().err


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "source.duckdb").write_text("no database, and longer than a header " * 500)
    (tmp_path / "fakeoracle.log").write_text("a line of an earlier start\n")
    with pytest.raises(SystemExit, match=r"fakeoracle did not start: .*source\.duckdb") as failure:
        servers(tmp_path, 5).__enter__()
    assert "earlier start" not in str(failure.value)


@pytest.mark.parametrize("number", ["0", "-3", "1.5", "many"])
def test_a_number_of_products_below_one_is_refused(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        demo._parser().parse_args(["--products", number, "run"])
    assert "is not a whole number of at least 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "said", "code"),
    [
        (DeadKernelError("Kernel died"), "01_extract failed: its kernel died", Exit.INTERRUPTED),
        (OSError(28, "No space left"), "01_extract failed: OSError: [Errno 28] No space left", Exit.FAILED),
        (papermill_error("SourceError", "Oracle refuses."), "failed: Oracle refuses.", Exit.FAILED),
        (papermill_error("ParameterError", "No."), "failed: No.", Exit.CONFIGURATION),
        (papermill_error("AuthenticationError", "No."), "failed: No.", Exit.CONFIGURATION),
        (papermill_error("BalanceError", "No."), "failed: No.", Exit.NOT_RECONCILED),
        (papermill_error("TargetUnavailable", "No."), "failed: No.", Exit.INTERRUPTED),
    ],
)
def test_whatever_ends_a_notebook_is_said_with_how_to_resume(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    said: str,
    code: Exit,
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(demo, "execute", fail)
    assert demo._run(demo._parser().parse_args(["run", "--run-id", "r1", "--outputs", str(tmp_path)])) == code
    told = capsys.readouterr().err
    assert said in told
    assert told.endswith(f"Resume with: make demo RUN_ID=r1 OUTPUTS={tmp_path}\n")


@pytest.mark.parametrize("action", ["run", "all"])
def test_the_command_that_goes_on_with_a_run_names_the_same_source_and_org(
    action: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "execute", stop)
    monkeypatch.setattr("ora2sf.cli.main", lambda _: Exit.INTERRUPTED)
    servers_given = ["--state", str(tmp_path / "s"), "--products", "7", "--rows", "300"]
    arguments = demo._parser().parse_args(
        [*servers_given, action, "--run-id", "r1", "--outputs", str(tmp_path)]
    )
    assert arguments.action(arguments) == Exit.INTERRUPTED == 130
    target = {"run": "demo", "all": "demo-all"}[action]
    wanted = (
        f"Go on with: make {target} RUN_ID=r1 OUTPUTS={tmp_path} STATE={tmp_path / 's'} PRODUCTS=7 ROWS=300\n"
    )
    assert capsys.readouterr().err.endswith(wanted)


@pytest.mark.parametrize(
    ("verdict", "code", "balances"),
    [
        ("proven", Exit.COMPLETE, True),
        ("complete", Exit.COMPLETE, True),
        ("complete with exceptions", Exit.ROWS_FAILED, True),
        ("all rejected", Exit.ROWS_FAILED, False),
        ("incomplete", Exit.INTERRUPTED, False),
    ],
)
def test_books_without_some_numbers_are_printed_and_praised_only_if_complete(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verdict: str,
    code: Exit,
    balances: bool,
) -> None:
    scraps = {"balance": SimpleNamespace(data=BOOKS | {"verdict": verdict})}
    monkeypatch.setattr("scrapbook.read_notebook", lambda _: SimpleNamespace(scraps=scraps))
    assert demo._print("r1", tmp_path, "make demo RUN_ID=r1") == code
    told = capsys.readouterr().out
    assert f"Run r1, table product_price: {verdict}." in told
    assert ("The books balance." in told) is balances
    assert "unknown before this run" in told
