"""The papermill engine: nothing secret is left behind, and what it says about an execution is true."""

from __future__ import annotations

import ast
import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from jupyter_client.connect import LocalPortCache

from ora2sf.redaction import REPLACEMENT, Redactor

CANARY = "canary-pa$$ word/42"
TOKEN = "00DFf0000000001MAA!AQEAQcanaryTOKEN_.xyz0123456789"


def notebook(path: Path, *cells: str) -> Path:
    nb = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nb.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nb, str(path))
    return path


def run(source: Path, target: Path, **parameters: Any) -> None:
    papermill.execute_notebook(
        str(source), str(target), parameters, engine_name="ora2sf", progress_bar=False, log_output=True
    )


def texts(folder: Path) -> str:
    return "".join(
        path.read_text(encoding="utf-8") for path in folder.iterdir() if path.name != "source.ipynb"
    )


def test_a_planted_secret_is_in_no_notebook_html_or_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_PLANTED", '{"conn_type": "http", "host": "h", "password": "' + CANARY + '"}'
    )
    source = notebook(
        tmp_path / "source.ipynb",
        'note: str = ""',
        "import base64, json, os, sys\nsecret = json.loads(os.environ['AIRFLOW_CONN_PLANTED'])['password']",
        f"print(secret, repr(secret), base64.b64encode(secret.encode()).decode(), '00D' + {TOKEN[3:]!r})\n"
        "print(secret, file=sys.stderr)",
        "{'a result': secret}",
        "raise RuntimeError(f'traceback with {secret} and Bearer {note}')",
    )
    with caplog.at_level("INFO"), pytest.raises(papermill.PapermillExecutionError) as failure:
        run(source, tmp_path / "out.ipynb", note=TOKEN)
    written = texts(tmp_path) + caplog.text + str(failure.value)
    for secret in (CANARY, base64.b64encode(CANARY.encode()).decode(), TOKEN):
        assert secret not in written
    assert written.count(REPLACEMENT) > 5
    assert "a result" in written
    assert nbformat.read(str(tmp_path / "out.ipynb"), 4).metadata.papermill.ended is False
    assert (tmp_path / "out.html").is_file()


def assert_kept(folder: Path) -> str:
    """The page of the execution stands beside it, and both are kept under their time, too; returns the page."""
    (kept,) = folder.glob("out.2*.ipynb")
    page = (folder / "out.html").read_text(encoding="utf-8")
    assert kept.with_suffix(".html").read_text(encoding="utf-8") == page
    return page


def test_a_killed_kernel_is_not_called_completed(tmp_path: Path) -> None:
    source = notebook(tmp_path / "source.ipynb", "x: int = 1", "import os\nos._exit(9)", "print('never')")
    with pytest.raises(Exception, match="died"):
        run(source, tmp_path / "out.ipynb")
    nb = nbformat.read(str(tmp_path / "out.ipynb"), 4)
    assert nb.metadata.papermill.exception is True
    assert nb.metadata.papermill.ended is False
    assert [cell.metadata.papermill.status for cell in nb.cells] == ["completed", "failed", "pending"]
    assert_kept(tmp_path)


def test_sigterm_lets_finally_run_in_the_kernel_and_saves_the_notebook(tmp_path: Path) -> None:
    source = notebook(
        tmp_path / "source.ipynb",
        "folder: str = ''",
        "import pathlib, threading\n"
        "try:\n    pathlib.Path(folder, 'begun').write_text('begun')\n    threading.Event().wait(60)\n"
        "finally:\n    pathlib.Path(folder, 'cleaned').touch()",
    )
    os.mkfifo(tmp_path / "begun")
    command = [
        sys.executable,
        "-m",
        "papermill",
        "--engine",
        "ora2sf",
        "--no-progress-bar",
        "-p",
        "folder",
        str(tmp_path),
    ]
    process = subprocess.Popen(
        [*command, str(source), str(tmp_path / "out.ipynb")], stderr=subprocess.DEVNULL
    )
    assert (tmp_path / "begun").read_text() == "begun"  # waits until the cell writes it
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) != 0
    assert (tmp_path / "cleaned").exists()
    nb = nbformat.read(str(tmp_path / "out.ipynb"), 4)
    assert nb.metadata.papermill.exception is True
    assert nb.cells[-1].metadata.papermill.status == "failed"
    assert_kept(tmp_path)


def test_a_cell_that_takes_too_long_leaves_a_notebook_and_a_page_that_say_so(tmp_path: Path) -> None:
    source = notebook(
        tmp_path / "source.ipynb",
        "x: int = 1",
        "print('begun')\nimport threading\nthreading.Event().wait(60)",
    )
    with pytest.raises(Exception, match="timed out"):
        papermill.execute_notebook(
            str(source),
            str(tmp_path / "out.ipynb"),
            engine_name="ora2sf",
            progress_bar=False,
            execution_timeout=1,
        )
    nb = nbformat.read(str(tmp_path / "out.ipynb"), 4)
    assert [cell.metadata.papermill.status for cell in nb.cells] == ["completed", "failed"]
    assert "begun" in assert_kept(tmp_path)


def test_a_kernel_that_does_not_start_leaves_a_page_too(tmp_path: Path) -> None:
    source = notebook(tmp_path / "source.ipynb", "x: int = 1")
    with pytest.raises(Exception, match=r"[Nn]o such kernel"):
        papermill.execute_notebook(
            str(source),
            str(tmp_path / "out.ipynb"),
            engine_name="ora2sf",
            progress_bar=False,
            kernel_name="not-there",
        )
    assert_kept(tmp_path)


def test_in_the_page_of_an_execution_the_code_is_folded_away_but_for_the_cell_that_failed(
    tmp_path: Path,
) -> None:
    source = notebook(tmp_path / "source.ipynb", "x: int = 1", "print('well')", "1 / 0")
    with pytest.raises(papermill.PapermillExecutionError):
        run(source, tmp_path / "out.ipynb")
    page = assert_kept(tmp_path)
    cells = re.findall(r'<details class="code"( open[^>]*)?>', page)
    assert cells.count("") == len(cells) - 1
    assert "ZeroDivisionError" in page


def test_an_execution_that_came_to_its_end_says_so(tmp_path: Path) -> None:
    source = notebook(tmp_path / "source.ipynb", "x: int = 1", "for i in range(3):\n    print(i, flush=True)")
    run(source, tmp_path / "out.ipynb", x=2)
    nb = nbformat.read(str(tmp_path / "out.ipynb"), 4)
    assert nb.metadata.papermill.ended is True
    assert nb.metadata.papermill.exception is None
    assert [output.text for output in nb.cells[-1].outputs] == ["0\n1\n2\n"]


@pytest.mark.parametrize(("engine", "keys", "mechanism"), [("ora2sf", True, 2), ("nbclient", False, 0)])
def test_the_kernel_is_reached_over_a_line_that_only_this_engine_encrypts(
    tmp_path: Path, engine: str, keys: bool, mechanism: int
) -> None:
    source = notebook(
        tmp_path / "source.ipynb",
        "import json, pathlib, zmq\nfrom ipykernel.kernelapp import IPKernelApp\napp = IPKernelApp.instance()",
        "line = json.loads(pathlib.Path(app.abs_connection_file).read_text())\n"
        "print(json.dumps(['curve_secretkey' in line, app.shell_socket.getsockopt(zmq.MECHANISM)]))",
    )
    nb = papermill.execute_notebook(str(source), None, engine_name=engine, progress_bar=False)
    assert json.loads(nb.cells[-1].outputs[0].text) == [keys, mechanism]  # 0 is no encryption, 2 is CURVE


def test_a_kernel_whose_port_was_taken_by_another_process_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, taken = LocalPortCache.find_available_port, socket.create_server(("127.0.0.1", 0))
    ports = iter([taken.getsockname()[1]])
    monkeypatch.setattr(
        LocalPortCache, "find_available_port", lambda self, ip: next(ports, None) or free(self, ip)
    )
    source = notebook(tmp_path / "source.ipynb", "n: int = 1", "print(6 * 7)")
    with taken:
        run(source, tmp_path / "out.ipynb")
    assert next(ports, None) is None
    assert "42" in (tmp_path / "out.ipynb").read_text(encoding="utf-8")


def plant(monkeypatch: pytest.MonkeyPatch, *passwords: str) -> None:
    for number, password in enumerate(passwords):
        monkeypatch.setenv(f"AIRFLOW_CONN_PLANTED{number}", json.dumps({"password": password}))


def test_passwords_that_are_words_of_the_format_break_no_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, "oracle", "code", "stdout", "stream", "idle", "display_data", "plain", "tags")
    source = notebook(
        tmp_path / "source.ipynb",
        "oracle_conn_id: str = 'x'\noracle: int = 1",
        "from IPython.display import display\nprint(oracle_conn_id, oracle)\ndisplay({'oracle': 1})",
    )
    run(source, tmp_path / "out.ipynb", oracle_conn_id="the oracle there", oracle=2)
    nb = nbformat.read(str(tmp_path / "out.ipynb"), 4)
    nbformat.validate(nb)
    assert nb.cells[0].source == "oracle_conn_id: str = 'x'\noracle: int = 1"
    assert nb.cells[1].source == f"# Parameters\noracle_conn_id = 'the {REPLACEMENT} there'\noracle = 2\n"
    assert nb.metadata.papermill.parameters == {"oracle_conn_id": f"the {REPLACEMENT} there", "oracle": 2}
    shown, result = nb.cells[2].outputs
    assert (shown.name, shown.text) == ("stdout", f"the {REPLACEMENT} there 2\n")
    assert result.data == {"text/plain": "{'" + REPLACEMENT + "': 1}"}


def test_a_secret_parameter_never_reaches_disk_not_even_before_the_kernel_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = 'quo"te\\n é'
    plant(monkeypatch, secret, "778899", "1")
    saved: list[str] = []
    monkeypatch.setattr("papermill.engines.write_ipynb", lambda nb, _: saved.append(nbformat.writes(nb)))
    source = notebook(
        tmp_path / "source.ipynb", "a: str = ''\nb: int = 0\nc: list = []\nd: bool = False", "a"
    )
    run(source, tmp_path / "out.ipynb", a=secret, b=778899, c=[{"k": f"<{secret}>"}, 11, 2.5], d=True)
    assert len(saved) > 3
    nb = nbformat.reads(saved[0], 4)
    names = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(nb.cells[1].source).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    wanted = {"a": REPLACEMENT, "b": REPLACEMENT, "c": [{"k": f"<{REPLACEMENT}>"}, 11, 2.5], "d": True}
    assert names == wanted
    assert nb.metadata.papermill.parameters == wanted
    for text in (*saved, (tmp_path / "out.ipynb").read_text()):
        assert "778899" not in text
        assert "quo" not in text


def test_secrets_inside_lists_and_mappings_are_replaced() -> None:
    value = {"a": ["x s3cret y", {"b": "s3cret"}], "n": 5, "header": "Authorization: Basic czNjcmV0OnM="}
    clean = Redactor({"s3cret"}).clean(value)
    assert clean == {
        "a": [f"x {REPLACEMENT} y", {"b": REPLACEMENT}],
        "n": 5,
        "header": f"Authorization: Basic {REPLACEMENT}",
    }


def test_a_kept_page_loads_nothing_from_anywhere(tmp_path: Path) -> None:
    source = notebook(tmp_path / "source.ipynb", "x: int = 1", "print('ok')")
    run(source, tmp_path / "out.ipynb")
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "ok" in page
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    assert not re.findall(r"""(?:import|url)\(? ?["']?https?://""", page)
