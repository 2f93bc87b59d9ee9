"""Planted secrets come out nowhere: no error, traceback, log, notebook, page, ledger, record or list of processes has one."""

from __future__ import annotations

import base64
import html
import json
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import nbformat
import pytest
from IPython.core.ultratb import VerboseTB

from mending import GOOD, Mending, mending
from ora2sf import cli, open_run
from ora2sf.connections import FILE_VARIABLE
from ora2sf.errors import Ora2sfError, TargetError
from ora2sf.redaction import REPLACEMENT
from ora2sf.salesforce import SalesforceClient
from world import ROOT

#: Each with letters that some encoding changes.
CANARIES = {
    "password": "canary pass/word+1é",
    "secret": "canary&secret='2\"",
    "wallet": "canary<wallet>3",
    "token": "canary/hook%token=4",
    "in_host": "canary:host;5",
    "proxy": "canary-proxy-6",
}


def forms(secret: str) -> set[str]:
    """The secret as it could stand in any output."""
    raw = secret.encode()
    return {
        secret, quote(secret), quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1], html.escape(secret),
        json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], json.dumps(json.dumps(secret))[3:-3],
        base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode(), raw.hex(),
    }  # fmt: skip


def leaks(text: str) -> list[str]:
    return [f"{name}: {form}" for name, secret in CANARIES.items() for form in forms(secret) if form in text]


def everything_in(*folders: Path) -> str:
    return "\n".join(
        path.read_bytes().decode("utf-8", "replace")
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    )


class Echo(BaseHTTPRequestHandler):
    """Signs everybody in, or not; and says back whatever it was sent."""

    signs_in = False

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.signs_in and self.path.endswith("/token"):
            host = f"http://{self.headers['Host']}"
            return self._say(
                200,
                {
                    "access_token": "00DFf0000000001MAA!canaryTOKEN1234",
                    "instance_url": host,
                    "token_type": "Bearer",
                },
            )
        return self._say(
            400,
            {
                "error": "invalid_grant",
                "error_description": f"you sent {body} {self.headers['Authorization']}",
            },
        )

    def do_GET(self) -> None:
        said = f"you sent {self.path} {self.headers['Authorization']} {CANARIES['secret']}"
        self._say(400, [{"errorCode": "MALFORMED", "message": said}])

    def _say(self, status: int, answer: object) -> None:
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def echo(*, signs_in: bool) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Echo,), {"signs_in": signs_in}))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def planted(oracle_and_rows: Any, tmp_path: Path) -> Iterator[Planted]:
    oracle = oracle_and_rows[0]
    with mending(oracle, tmp_path, GOOD) as place, pytest.MonkeyPatch.context() as patch:
        planted = Planted(place, patch, oracle)
        planted.oracle()
        planted.salesforce("http://127.0.0.1:9")
        planted.connect(
            "HOOK", password=f"http://127.0.0.1:9/services/{CANARIES['token']}?sig={quote(CANARIES['token'])}"
        )
        patch.setenv("ORA2SF_WEBHOOK", "hook")
        yield planted


class Planted:
    """A place whose connections hold canaries."""

    def __init__(self, place: Mending, patch: pytest.MonkeyPatch, oracle: Any) -> None:
        self.place, self.patch, self._oracle = place, patch, oracle

    def connect(self, name: str, **fields: Any) -> None:
        self.patch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(fields))

    def oracle(self, **changes: Any) -> None:
        fields = {
            "host": self._oracle.host, "port": self._oracle.port, "schema": "FREEPDB1", "login": "TMS",
            "password": CANARIES["password"], "extra": {"wallet_password": CANARIES["wallet"]},
        }  # fmt: skip
        self.connect("ORACLE_TMS", **(fields | changes))

    def salesforce(self, host: str, **changes: Any) -> None:
        self.connect(
            "SALESFORCE_API", **({"host": host, "login": "key", "password": CANARIES["secret"]} | changes)
        )

    def open(self) -> Any:
        return open_run("01_extract", {"run_id": "r", "table": "item", "outputs": "outputs"})


@pytest.fixture
def clean_after(
    planted: Planted, capfd: pytest.CaptureFixture[str]
) -> Callable[[BaseException | None], None]:
    """Looks through an error as every kind of traceback shows it, through all files and all that was printed."""

    def look(error: BaseException | None) -> None:
        shown = ""
        if error is not None:
            shown = str(error) + "".join(traceback.format_exception(error))
            shown += VerboseTB(theme_name="nocolor").text(type(error), error, error.__traceback__)
            assert shown.count("Traceback") == 2
        printed = capfd.readouterr()
        assert leaks(shown) == []
        assert leaks(printed.out + printed.err + everything_in(planted.place.home / "outputs")) == []
        assert "canaryTOKEN" not in shown + printed.out + printed.err + everything_in(
            planted.place.home / "outputs"
        )

    return look


def failing(call: Callable[[], object]) -> Ora2sfError:
    with pytest.raises(Ora2sfError) as failed:
        call()
    return failed.value


@pytest.mark.parametrize(
    "changes",
    [
        {},  # ORA-01017
        {"host": "no-such-host.invalid"},
        {"port": 9},
        {"schema": "NOPE"},
        {"extra": {"dsn": f"TMS/{CANARIES['wallet']}@127.0.0.1:9/X", "wallet_password": CANARIES["wallet"]}},
        {"host": f"http://u:{CANARIES['in_host']}@127.0.0.1"},
    ],
    ids=[
        "wrong password",
        "unknown host",
        "nobody there",
        "unknown service",
        "password in dsn",
        "password in host",
    ],
)
def test_a_sign_in_that_oracle_refuses(planted: Planted, clean_after: Any, changes: dict[str, Any]) -> None:
    planted.oracle(**changes)
    clean_after(failing(planted.open().sign_in_oracle))


@pytest.mark.parametrize(
    "host",
    [
        "https://no-such-host.invalid",
        "http://127.0.0.1:9",
        "https://127.0.0.1:{port}",
        f"https://u:{quote(CANARIES['in_host'])}@example.com",
        "{echo}",
    ],
    ids=["unknown host", "nobody there", "no TLS", "password in host", "echo"],
)
@pytest.mark.parametrize("auth", ["form", "basic"])
def test_a_sign_in_that_salesforce_refuses(planted: Planted, clean_after: Any, host: str, auth: str) -> None:
    with echo(signs_in=False) as url:
        planted.salesforce(
            host.format(port=planted.place.org.url.rpartition(":")[2], echo=url), extra={"auth": auth}
        )
        clean_after(failing(planted.open().sign_in_salesforce))


def test_a_proxy_with_a_password_that_refuses(planted: Planted, clean_after: Any) -> None:
    planted.patch.setenv("HTTPS_PROXY", f"http://user:{CANARIES['proxy']}@127.0.0.1:9")
    planted.salesforce("https://example.my.salesforce.com")
    clean_after(failing(planted.open().sign_in_salesforce))


def test_a_refusal_that_echoes_token_and_secret(planted: Planted, clean_after: Any) -> None:
    with echo(signs_in=True) as url:
        planted.salesforce(url)
        error = failing(planted.open().sign_in_salesforce)
    assert REPLACEMENT in str(error)
    clean_after(error)


def test_a_connection_that_breaks_in_a_call_shows_no_token_even_where_every_variable_is_shown(
    planted: Planted, clean_after: Any
) -> None:
    with echo(signs_in=True) as url:
        planted.salesforce(url)
        client = SalesforceClient(attempts=1)
        _ = client.instance_url
    clean_after(failing(lambda: client.describe("Item__c")))
    client.close()


def test_a_connection_file_that_others_can_read_is_not_quoted_and_its_secrets_stay_known(
    planted: Planted, clean_after: Any, tmp_path: Path
) -> None:
    planted.patch.delenv("AIRFLOW_CONN_SALESFORCE_API")
    file = tmp_path / "connections.toml"
    file.write_text(
        f"[salesforce_api]\npassword = {json.dumps(CANARIES['secret'], ensure_ascii=False)}\n",
        encoding="utf-8",
    )
    file.chmod(0o644)
    planted.patch.setenv(FILE_VARIABLE, str(file))
    clean_after(failing(planted.open().sign_in_salesforce))


@pytest.mark.parametrize(
    "value",
    [
        json.dumps({"password": CANARIES["secret"], "surprise": 1}),
        json.dumps({"password": CANARIES["secret"], "port": "canary"}),
        '{"password": "' + CANARIES["proxy"] + '"',
        f"http://key:{CANARIES['proxy']}@host@host/path",
        json.dumps([CANARIES["proxy"]]),
    ],
    ids=["unknown field", "wrong port", "no JSON", "no URI", "a list"],
)
def test_a_connection_that_cannot_be_read(planted: Planted, clean_after: Any, value: str) -> None:
    planted.patch.setenv("AIRFLOW_CONN_SALESFORCE_API", value)
    clean_after(failing(planted.open().sign_in_salesforce))


def test_a_whole_run_with_a_status_record_and_a_failure_leaves_no_secret(
    planted: Planted, clean_after: Any, oracle_and_rows: Any
) -> None:
    place = planted.place
    for name in ("AIRFLOW_CONN_ORACLE_TMS", "AIRFLOW_CONN_SALESFORCE_API"):
        planted.patch.setenv(name, place.environment[name])
    planted.connect("OTHER", password=CANARIES["password"])
    place.load()

    def quoting(*_: Any, **__: Any) -> None:
        raise TargetError(f"Salesforce says {CANARIES['password']}", f"Look at {quote(CANARIES['password'])}")

    run = place.open("03_reconcile")
    planted.patch.setattr(run, "_books", quoting)
    error = failing(run.verdict)
    assert str(error) == f"Salesforce says {REPLACEMENT}\nNext step: Look at {REPLACEMENT}"
    clean_after(None)
    run._update_status("In Progress", f"because of {CANARIES['password']}")
    (record,) = place.org.rows("TMS_Daily_Sales_File__c")
    assert record["TMS_Errors__c"] == f"because of {REPLACEMENT}"


def test_the_command_says_no_secret_in_an_error_or_a_defect(
    planted: Planted, clean_after: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError(f"a defect with {CANARIES['secret']}")

    monkeypatch.setattr("ora2sf.standing.standings", broken)
    assert cli.main(["status", "anything"]) == 1
    clean_after(None)


CELLS = (
    'run_id: str = "demo"\ntable: str = "item"\noutputs: str = None\nnote: str = ""',
    "%xmode Verbose",
    "import json, os, pathlib, sys\n"
    "secret = json.loads(os.environ['AIRFLOW_CONN_SALESFORCE_API'])['password']\n"
    "def lines():\n"
    "    for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):\n"
    "        try:\n            yield path.read_bytes()\n"
    "        except OSError:\n            pass\n"
    "pathlib.Path(os.environ['SEEN']).write_bytes(b'\\n'.join(lines()))",
    "print(secret); print(secret, file=sys.stderr); print(json.dumps(secret))",
    "from ora2sf import open_run\n"
    "run = open_run('01_extract', {'run_id': run_id, 'table': table, 'outputs': outputs})\nrun.sign_in_salesforce()",
)


def test_an_executed_notebook_with_every_variable_in_its_traceback(
    planted: Planted, clean_after: Any, tmp_path: Path
) -> None:
    home = planted.place.home
    (home / "notebooks").mkdir()
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(
        nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}),
        home / "notebooks/01_extract.ipynb",
    )
    folder, seen = home / "outputs/r/item", tmp_path / "processes"
    planted.patch.setenv("SEEN", str(seen))
    given = {
        "run_id": "r",
        "table": "item",
        "outputs": "outputs",
        "note": f"given by mistake: {CANARIES['secret']}",
    }
    with echo(signs_in=False) as url:
        planted.salesforce(url)
        script = "import json, os, sys; from ora2sf.notebooks import execute, reason\n"
        script += "from pathlib import Path\ntry:\n    execute('01_extract', Path(sys.argv[1]), json.loads(os.environ['GIVEN']), progress_bar=False)\n"
        script += "except Exception as error:\n    print(error); print(reason(error))"
        done = subprocess.run(
            [sys.executable, "-c", script, str(folder)], env=os.environ | {"GIVEN": json.dumps(given)}, cwd=ROOT,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert "refuses the sign-in" in done.stdout
    assert leaks(done.stdout + done.stderr) == []
    assert b"ipykernel" in seen.read_bytes()
    assert leaks(seen.read_bytes().decode("utf-8", "replace")) == []
    assert {path.suffix for path in folder.iterdir()} >= {".ipynb", ".html", ".jsonl", ".json", ".sqlite"}
    text = (folder / "01_extract.ipynb").read_text(encoding="utf-8")
    assert text.count(REPLACEMENT) > 3
    assert "%xmode Verbose" in text
    clean_after(None)
