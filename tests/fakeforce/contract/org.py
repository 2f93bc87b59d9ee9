"""An org as any client sees it: a token, jobs, results, rows, queries. Nothing of fakeforce is used here."""

from __future__ import annotations

import csv
import io
import itertools
import os
import secrets
import time
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote

import requests

VERSION = "66.0"
ENDED = ("JobComplete", "Failed", "Aborted")
PATIENCE = 600  # seconds that a job of a real org may take


class Connection(NamedTuple):
    """Where an org is, and which object and fields of it may be used."""

    url: str
    client_id: str
    client_secret: str
    object: str
    key: str
    text: str
    number: str
    date: str
    group: str = ""

    @classmethod
    def variable(cls, name: str) -> str:
        """The environment variable of a field."""
        return f"CONTRACT_{name.upper()}"

    @classmethod
    def from_environment(cls) -> Connection | list[str]:
        """The connection, or the names of the variables that are missing."""
        found = {name: os.environ.get(cls.variable(name), "").strip() for name in cls._fields}
        missing = [cls.variable(name) for name, value in found.items() if not value and name != "group"]
        return missing or cls(**found | {"url": found["url"].rstrip("/")})


class Org:
    """A session with a token; paths are relative to /services/data/v66.0. Only its own rows are touched."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.prefix = f"ct{secrets.token_hex(5)}x"
        self._numbers = itertools.count(1)
        self._open: set[str] = set()  # jobs that nobody has closed or aborted yet
        self.http = requests.Session()
        self.base = f"{connection.url}/services/data/v{VERSION}"
        issued = self.token()
        issued.raise_for_status()
        self.http.headers["Authorization"] = f"Bearer {issued.json()['access_token']}"
        self.base = f"{issued.json()['instance_url']}/services/data/v{VERSION}"

    def token(self, **form: str) -> requests.Response:
        """Ask for a token; ``form`` replaces what is sent."""
        c = self.connection
        good = {
            "grant_type": "client_credentials",
            "client_id": c.client_id,
            "client_secret": c.client_secret,
        }
        return self.http.post(f"{c.url}/services/oauth2/token", data=good | form, timeout=60)

    def call(self, method: str, path: str, **given: object) -> requests.Response:
        """One call with the token."""
        return self.http.request(method, self.base + path, timeout=PATIENCE, **given)  # type: ignore[arg-type]

    # ---- names ----

    def new_key(self) -> str:
        """A key that no row has."""
        return f"{self.prefix}{next(self._numbers)}"

    def csv(self, *rows: str, fields: str = "key,text", end: str = "\n") -> str:
        """CSV text of the connection's fields: ``csv("k1,a", fields="key,text")``."""
        names = ",".join(getattr(self.connection, name, name) for name in fields.split(","))
        return end.join((names, *rows)) + end

    # ---- jobs ----

    def create(self, operation: str = "upsert", **more: str) -> requests.Response:
        """POST /jobs/ingest."""
        key = {"externalIdFieldName": self.connection.key} if operation == "upsert" else {}
        return self.call(
            "POST",
            "/jobs/ingest",
            json={"object": self.connection.object, "operation": operation} | key | more,
        )

    def job(self, operation: str = "upsert", **more: str) -> str:
        """The id of a new job."""
        made = self.create(operation, **more)
        assert made.status_code == 200, made.text
        self._open.add(str(made.json()["id"]))
        return str(made.json()["id"])

    def upload(self, job: str, data: object, **headers: str) -> requests.Response:
        """PUT the job's data."""
        body = data.encode() if isinstance(data, str) else data
        return self.call(
            "PUT", f"/jobs/ingest/{job}/batches", data=body, headers={"Content-Type": "text/csv"} | headers
        )

    def state(self, job: str, state: str) -> requests.Response:
        """PATCH the job's state."""
        self._open.discard(job)
        return self.call("PATCH", f"/jobs/ingest/{job}", json={"state": state})

    def wait(self, job: str) -> dict[str, object]:
        """JobInfo when the job has ended."""
        return self.until(lambda: self.call("GET", f"/jobs/ingest/{job}").json())

    def until(self, ask: Callable[[], dict[str, object]]) -> dict[str, object]:
        """The first JobInfo with a final state."""
        end, pause = time.monotonic() + PATIENCE, 0.003
        while (info := ask())["state"] not in ENDED:
            assert time.monotonic() < end, f"the job is still {info['state']}"
            time.sleep(pause)  # a real org takes seconds, fakeforce a few milliseconds
            pause = min(3 * pause, 3.0)
        return info

    def load(self, data: object, operation: str = "upsert", **more: str) -> dict[str, object]:
        """Create, upload, close, wait: JobInfo of the ended job."""
        job = self.job(operation, **more)
        sent = self.upload(job, data)
        assert sent.status_code == 201, sent.text
        closed = self.state(job, "UploadComplete")
        assert closed.status_code == 200, closed.text
        return self.wait(job)

    def result(self, job: object, kind: str) -> str:
        """The text of successfulResults, failedResults or unprocessedrecords."""
        reply = self.call("GET", f"/jobs/ingest/{job}/{kind}")
        assert reply.status_code == 200, reply.text
        return reply.content.decode("utf-8")

    def table(self, job: object, kind: str) -> list[dict[str, str]]:
        """Rows of a result file, in the order they came."""
        return list(csv.DictReader(io.StringIO(self.result(job, kind), newline="")))

    def errors(self, job: object) -> list[str]:
        """sf__Error of every refused row."""
        return [row["sf__Error"] for row in self.table(job, "failedResults")]

    # ---- rows ----

    def query(self, text: str) -> requests.Response:
        """GET /query."""
        return self.call("GET", "/query", params={"q": text})

    def path(self, key: str, field: str = "") -> str:
        """The path of a row by its external id."""
        c = self.connection
        return f"/sobjects/{c.object}/{field or c.key}/{quote(key, safe='')}"

    def row(self, key: str) -> dict[str, object]:
        """A row that is there."""
        reply = self.call("GET", self.path(key))
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    def make(self, key: str, **values: object) -> str:
        """Upsert one row; the values are by the connection's names. Returns its id."""
        body = {getattr(self.connection, name): value for name, value in values.items()}
        reply = self.call("PATCH", self.path(key), json={self.connection.text: "x"} | body)
        assert reply.status_code in (200, 201), reply.text
        return str(reply.json()["id"])

    def own_rows(self) -> list[str]:
        """Ids of all rows made here."""
        c = self.connection
        found: list[str] = []
        page = self.query(f"SELECT Id, {c.key} FROM {c.object} WHERE {c.key} LIKE '{self.prefix}%'").json()
        while True:
            found += [r["Id"] for r in page["records"] if str(r[c.key]).lower().startswith(self.prefix)]
            if page["done"]:
                return found
            page = self.http.get(
                self.base.partition("/services/")[0] + page["nextRecordsUrl"], timeout=60
            ).json()

    def close(self) -> None:
        """Abort the jobs a failed test left open, delete the rows made here, end the session."""
        try:
            for job in list(self._open):
                self.state(job, "Aborted")
            if ids := self.own_rows():
                info = self.load("\n".join(["Id", *ids]) + "\n", "delete")
                assert info["numberRecordsFailed"] == 0, self.errors(info["id"])
        finally:
            self.http.close()


def said(reply: requests.Response) -> str:
    """Status, code and text of an answer, as one line; ids left out."""
    if reply.status_code < 300 or not reply.text:
        return str(reply.status_code)
    try:
        body = reply.json()
    except ValueError:
        return f"{reply.status_code} {reply.text[:120]!r}"
    first = body[0] if isinstance(body, list) and body and isinstance(body[0], dict) else body
    return (
        f"{reply.status_code} {first.get('errorCode')}: {first.get('message')}"
        if isinstance(first, dict)
        else f"{reply.status_code} {body}"
    )
