"""One org a test, and a small client that speaks to it over a real socket."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path

import pytest
import requests

import fakeforce
from fakeforce.testing import fakeforce_org, fakeforce_server  # noqa: F401 - fixtures

SCHEMA = Path(__file__).parent / "schema"
TOKEN = "/services/oauth2/token"


class Client:
    """A session with a token; paths are relative to /services/data/v66.0."""

    def __init__(self, url, client_id="demo-client", secret="demo-secret", version="66.0"):
        self.url, self.base = url, f"{url}/services/data/v{version}"
        self.http = requests.Session()
        self.http.trust_env = False
        self.form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": secret,
        }
        self.login()

    def login(self):
        reply = self.http.post(self.url + TOKEN, data=self.form, timeout=10)
        self.http.headers["Authorization"] = f"Bearer {reply.json()['access_token']}"

    def call(self, method, path, **given):
        return self.http.request(method, self.base + path, timeout=30, **given)

    def create(self, obj="Product2", operation="upsert", key="ProductCode", **more):
        body = {"object": obj, "operation": operation, **more}
        if key:
            body["externalIdFieldName"] = key
        reply = self.call("POST", "/jobs/ingest", json=body)
        assert reply.status_code == 200, reply.text
        return reply.json()["id"]

    def upload(self, job, data, **headers):
        data = data.encode() if isinstance(data, str) else data
        return self.call(
            "PUT", f"/jobs/ingest/{job}/batches", data=data, headers={"Content-Type": "text/csv", **headers}
        )

    def patch(self, job, state):
        return self.call("PATCH", f"/jobs/ingest/{job}", json={"state": state})

    def bulk_query(self, text, operation="query", **more):
        """Create a query job and wait for its end; returns (job id, info)."""
        reply = self.call("POST", "/jobs/query", json={"operation": operation, "query": text, **more})
        assert reply.status_code == 200, reply.text
        assert reply.json()["state"] == "UploadComplete"
        return reply.json()["id"], self.wait(reply.json()["id"], kind="query")

    def query_page(self, job, **params):
        return self.call("GET", f"/jobs/query/{job}/results", params=params)

    def info(self, job, kind="ingest"):
        return self.call("GET", f"/jobs/{kind}/{job}").json()

    def wait(self, job, *states, kind="ingest"):
        wanted = states or ("JobComplete", "Failed", "Aborted")
        end = time.monotonic() + 20
        while time.monotonic() < end:
            info = self.info(job, kind)
            if info["state"] in wanted:
                return info
        raise AssertionError(f"job still {info['state']}")

    def load(self, data, **job):
        """Create, upload, close, wait; returns (job id, info)."""
        found = self.create(**job)
        assert self.upload(found, data).status_code == 201
        assert self.patch(found, "UploadComplete").status_code == 200
        return found, self.wait(found)

    def result(self, job, kind):
        reply = self.call("GET", f"/jobs/ingest/{job}/{kind}Results")
        if kind == "unprocessed":
            reply = self.call("GET", f"/jobs/ingest/{job}/unprocessedrecords")
        assert reply.status_code == 200
        return reply.content.decode("utf-8")

    def table(self, job, kind):
        return list(csv.DictReader(io.StringIO(self.result(job, kind), newline="")))

    def query(self, text):
        return self.call("GET", "/query", params={"q": text})


@pytest.fixture(scope="session")
def fakeforce_schema():
    return SCHEMA


@pytest.fixture
def org(fakeforce_org):  # noqa: F811
    return fakeforce_org


@pytest.fixture
def client(org):
    with_token = Client(org.url)
    yield with_token
    with_token.http.close()


@pytest.fixture(scope="session")
def shared_org():
    """One org for all tests that neither count rows nor push the clock nor leave a setting switched."""
    with fakeforce.serve(schema=SCHEMA) as found:
        yield found


@pytest.fixture(scope="session")
def shared(shared_org):
    """A client of the shared org."""
    with_token = Client(shared_org.url)
    yield with_token
    with_token.http.close()


@pytest.fixture
def make_client():
    made = []

    def make(*given, **named):
        made.append(Client(*given, **named))
        return made[-1]

    yield make
    for one in made:
        one.http.close()
