"""Thousands of generated requests: whatever is sent, the org answers below 500 and the next good call works.

The same requests every time: hypothesis draws them from a fixed seed.
"""

import asyncio
import gzip
import http.client
import json
from urllib.parse import quote, quote_from_bytes

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from conftest import Client
from fakeforce.app import ROUTES
from fakeforce.ids import record_id

FORM = b"grant_type=client_credentials&client_id=demo-client&client_secret=demo-secret"
IN_PROCESS, OVER_SOCKETS = 205, 20  # examples; each is 15 to 40 requests
WITH_BODY = ("POST", "PATCH", "PUT", "DELETE")

# ---- what is sent ----

OBJECTS = [
    "Product2",
    "Everything__c",
    "KPS_Sales__c",
    "Append_Only__c",
    "User",
    "Organization",
    "FieldDefinition",
]
FIELDS = [
    *(
        "Id",
        "Name",
        "ProductCode",
        "Key__c",
        "Parent__c",
        "About__c",
        "Colours__c",
        "Notes__c",
        "Opens__c",
        "Day__c",
    ),
    *(
        "Moment__c",
        "Share__c",
        "Amount__c",
        "Count__c",
        "Ratio__c",
        "Flag__c",
        "IsDeleted",
        "CreatedDate",
        "Nope__c",
    ),
    *("Parent__r.Parent__r.Key__c", "Product__r.Name", "Owner.Name", "Parent__r", "expr0", "External_ID__c"),
]
odd_text = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", "%", "'", "\\", "\x00", "\ud7ff", "x" * 300, "#N/A", "null", "é" * 40, "../..", "a;b", "☃"]
    ),
)
ids = st.one_of(
    st.sampled_from(
        ["01tFf0000000001", "01tFf0000000001AAB", "750Ff0000000001", "750Ff0000000001AAA", "a0E"]
    ),
    st.from_regex(r"(01t|a0E|750|005|00D)Ff000000000[0-9A-Za-z]([A-Z0-5]{3})?", fullmatch=True),
)
names = st.one_of(st.sampled_from(OBJECTS), st.sampled_from(FIELDS), odd_text)
literals = st.one_of(
    st.sampled_from(
        [
            "'A'",
            "''",
            "'%'",
            "'\\''",
            "'A;B'",
            "5",
            "-0.005",
            "1e999",
            "1E400",
            "99999999999999999999",
            ".5",
            "null",
            "TRUE",
            "false",
            "TODAY",
            "LAST_N_DAYS:3",
            "N_YEARS_AGO:99999",
            "LAST_N_DAYS:999999999",
            "2026-01-31",
            "2026-02-30",
            "2026-01-31T09:00:00Z",
            "09:30:00Z",
            "'01tFf0000000001'",
            "(1,2)",
            "(SELECT",
        ]
    ),
    odd_text.map(lambda t: f"'{t}'"),
)
conditions = st.recursive(
    st.builds(
        lambda f, o, v: f"{f} {o} {v}",
        st.sampled_from(FIELDS),
        st.sampled_from(
            ["=", "!=", "<>", "<", "<=", ">", ">=", "LIKE", "IN", "NOT IN", "INCLUDES", "EXCLUDES", "="]
        ),
        literals | literals.map(lambda v: f"({v})") | st.just("(SELECT Product__c FROM KPS_Sales__c)"),
    ),
    lambda inner: st.one_of(
        st.builds(lambda a, w, b: f"({a} {w} {b})", inner, st.sampled_from(["AND", "OR"]), inner),
        inner.map(lambda c: f"(NOT {c})"),
        inner.map(lambda c: f"NOT {c}"),
    ),
    max_leaves=5,
)
cells = st.one_of(
    st.sampled_from(FIELDS),
    st.builds(
        lambda f, n, a: f"{f}({n}){a}",
        st.sampled_from(
            ["COUNT", "SUM", "AVG", "MIN", "MAX", "COUNT_DISTINCT", "FIELDS", "toLabel", "GROUPING"]
        ),
        st.sampled_from([*FIELDS, "", "ALL", "STANDARD"]),
        st.sampled_from(["", "", " n"]),
    ),
    st.sampled_from(["COUNT()", "(SELECT Id FROM Parents__r)", "Id i", "TYPEOF What"]),
)
clauses = st.sampled_from(
    [
        *(
            "",
            "",
            "GROUP BY Name",
            "GROUP BY Count__c HAVING COUNT(Id) > 1",
            "GROUP BY ROLLUP(Name)",
            "LIMIT 5",
        ),
        *(
            "ORDER BY Name",
            "ORDER BY Amount__c DESC NULLS LAST LIMIT 3 OFFSET 1",
            "LIMIT 99999999999999999999",
        ),
        *(
            "OFFSET 2001",
            "FOR UPDATE",
            "USING SCOPE mine",
            "ALL ROWS",
            "GROUP BY",
            "HAVING AVG(Ratio__c) > 1e400",
        ),
        *(
            "GROUP BY Name HAVING SUM(Amount__c) > 0.001 ORDER BY SUM(Amount__c)",
            "LIMIT 200",
            "ORDER BY Notes__c",
        ),
    ]
)
soql = st.one_of(
    st.builds(
        lambda c, o, w, e: f"SELECT {', '.join(c)} FROM {o}{w}{e}",
        st.lists(cells, min_size=1, max_size=4),
        st.sampled_from([*OBJECTS, "Nope", "Product2 p", "Product2, User", ""]),
        conditions.map(lambda c: f" WHERE {c}") | st.just(""),
        clauses.map(lambda c: f" {c}"),
    ),
    st.lists(
        st.sampled_from(
            [
                "SELECT",
                "FROM",
                "WHERE",
                "(",
                ")",
                ",",
                "=",
                "'x'",
                "AND",
                "NOT",
                "NULL",
                "Id",
                "Product2",
                "COUNT",
                "GROUP",
                "BY",
            ]
        ),
        max_size=12,
    ).map(" ".join),
    odd_text,
    st.just("SELECT Id FROM Product2 WHERE " + "(" * 3000 + "Id = null" + ")" * 3000),
    st.just("SELECT Id FROM Product2 WHERE " + "NOT " * 3000 + "Id = null"),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    odd_text,
    literals,
    ids,
    st.just("\ud800"),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
records = st.builds(
    lambda kind, cells: {"attributes": {"type": kind}, **cells},
    st.one_of(st.sampled_from(OBJECTS), values),
    st.dictionaries(st.sampled_from(FIELDS), scalars, max_size=4),
)
jobs = st.builds(
    lambda obj, op, key, more: {"object": obj, "operation": op, "externalIdFieldName": key, **more},
    st.sampled_from([*OBJECTS[:4], "Nope", 5]),
    st.sampled_from(["insert", "update", "upsert", "delete", "hardDelete", "INSERT", None]),
    st.sampled_from(["ProductCode", "Key__c", "Id", "Nope__c", "", None, 7]),
    st.dictionaries(
        st.sampled_from(
            ["columnDelimiter", "lineEnding", "contentType", "state", "assignmentRuleId", "apiVersion"]
        ),
        st.sampled_from(["COMMA", "TAB", "LF", "CRLF", "CSV", "JSON", "Aborted", 5, None]),
        max_size=3,
    ),
)
csv_text = st.builds(
    lambda header, rows, end: end.join([",".join(header), *(",".join(row) for row in rows)]) + end,
    st.lists(
        st.sampled_from(
            [*FIELDS, "Product__r.ProductCode", "User:About__r.Name", '"Name"', "", "\ufeffName"]
        ),
        max_size=4,
    ),
    st.lists(st.lists(odd_text | literals | st.just('"a""b\n"') | st.just('"'), max_size=4), max_size=5),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
bodies = st.one_of(
    values.map(lambda v: json.dumps(v).encode()),
    records.map(lambda v: json.dumps(v).encode()),
    st.builds(
        lambda r, a: json.dumps({"records": r, "allOrNone": a}).encode(),
        st.lists(records, max_size=4),
        scalars,
    ),
    st.builds(lambda i, f: json.dumps({"ids": i, "fields": f}).encode(), st.lists(ids), st.lists(names)),
    jobs.map(lambda v: json.dumps(v).encode()),
    st.sampled_from(["UploadComplete", "Aborted", "Open", "", 5]).map(
        lambda s: json.dumps({"state": s}).encode()
    ),
    csv_text.map(lambda t: t.encode("utf-8", "replace")),
    st.binary(max_size=40),
    st.sampled_from(
        [b"", b"[" * 20000, b"{}", b"null", FORM, b'{"push": 1e999}', b'{"push": -1}', b"NaN", b"\xff"]
    ),
)
segments = st.one_of(
    names.map(lambda n: quote(n.encode("utf-8", "replace"), safe="")),
    ids,
    st.binary(max_size=6).map(lambda b: quote_from_bytes(b, safe="")),
    st.sampled_from(
        ["batches", "successfulResults", "failedResults", "unprocessedrecords", "results", "describe"]
    ),
    st.sampled_from(["01gFf0abc-2000", "-", "x-99999999999999999999", "%2F", "%00", "x%40y.inc"]),
)
# What makes sense after a part of a path; three times of four it is drawn from here.
likely = {
    "sobjects": st.sampled_from(["Product2", "Product2", "Product2", *OBJECTS]),
    "rows": st.sampled_from(OBJECTS),
    "ingest": st.integers(1, 12).map(lambda n: record_id("750", n)),
    "object": st.integers(1, 12).map(lambda n: record_id("01t", n))
    | st.sampled_from(["ProductCode", "ProductCode", "Key__c"]),
    "field": st.sampled_from(["A", "B", "C", "x%2Fy"]),
}
good_records = st.builds(
    lambda code, name, more: {"Name": name, "ProductCode": code, **more},
    st.sampled_from("ABCDEFGH"),
    st.sampled_from(["x", "y"]),
    st.sampled_from(
        [{}, {}, {"IsActive": True}, {"TMS_Price_EXC_VAT__c": 1.5}, {"attributes": {"type": "Product2"}}]
    ),
)
# A body that fits the route, by a part of its path; every second one is drawn from here.
good_bodies = {
    "/batches": st.sampled_from([b"ProductCode,Name\nA,x\n", b"ProductCode,Name\nA,x\nB,\n"]),
    "/jobs/ingest/{}": st.sampled_from([b'{"state": "UploadComplete"}', b'{"state": "Aborted"}']),
    "/jobs/ingest": st.just(
        b'{"object": "Product2", "operation": "upsert", "externalIdFieldName": "ProductCode"}'
    ),
    "/composite": st.lists(good_records, max_size=3).map(lambda r: json.dumps({"records": r}).encode()),
    "/{}/{}/{}": st.sampled_from([b'{"Name": "z"}', b"{}"]),
    "/sobjects": good_records.map(lambda r: json.dumps(r).encode()),
}
versions = st.sampled_from(["v66.0"] * 24 + ["v36.0", "v67.0", "v29.0", "v99.0", "v6.0", "vx", "v45.0"])
# A fault that is asked for is an answer of 500 or a cut: those routes are sent only what cannot make one.
patterns = [
    *sorted({(r.pattern, r.method) for r in ROUTES if r.pattern != "/fakeforce/faults"}),
    ("/services/data/v*/jobs/ingest/{}/batches", "PUT"),
    ("/services/data/v*/{}/{}", "GET"),
    ("/{}", "GET"),
    ("/", "GET"),
    # What writes comes more often: most of these can succeed.
    *[("/services/data/v*/sobjects/{}", "POST"), ("/services/data/v*/sobjects/{}/{}/{}", "PATCH")] * 4,
    *[("/services/data/v*/sobjects/{}/{}/{}", "DELETE"), ("/services/data/v*/jobs/ingest", "POST")] * 3,
    *[("/services/data/v*/jobs/ingest/{}/batches", "PUT"), ("/services/data/v*/jobs/ingest/{}", "PATCH")] * 3,
]
queries = st.one_of(
    soql.map(lambda q: "q=" + quote(q.encode("utf-8", "replace"))),
    st.just(""),
    st.builds(
        lambda k, v: f"{k}={quote(v.encode('utf-8', 'replace'))}",
        st.sampled_from(
            [
                "fields",
                "ids",
                "updateOnly",
                "allOrNone",
                "explain",
                "sObjects",
                "jobType",
                "queryLocator",
                "maxRecords",
            ]
        ),
        odd_text | ids | st.sampled_from(["true", "Id,Name", "V2Ingest", "1"]),
    ),
    st.just("q=%FF&&==&ids"),
)
header_lists = st.lists(
    st.sampled_from(
        [
            *[
                ("content-type", t)
                for t in ("text/csv", "application/json", "text/xml", "multipart/form-data; boundary=x", "")
            ],
            *[("content-encoding", "gzip"), ("accept-encoding", "gzip"), ("accept", "application/xml")],
            *[("sforce-query-options", f"batchSize={n}") for n in ("200", "0", "x", "9" * 30)],
            *[
                ("if-modified-since", d)
                for d in ("Tue, 10 Aug 2015 00:00:00 GMT", "x", "Tue, 10 Aug 99999 00:00:00 GMT")
            ],
            *[("sforce-call-options", "client=x"), ("x-odd", "\xff" * 50)],
        ]
    ),
    max_size=3,
    unique_by=lambda h: h[0],
)


def _parts(draw, pattern):
    after, found = "", []
    for part in pattern.split("/"):
        if part == "{}":
            chosen = likely.get(after, segments)
            found.append(draw(st.one_of(chosen, chosen, chosen, segments)))
            after = {"sobjects": "object", "object": "field"}.get(after, "")
        else:
            found.append(draw(versions) if part == "v*" else part)
            after = part
    return found


@st.composite
def requests_(draw):
    """(method, path, query, headers, body, signed): one request; most are signed and of a known route."""
    pattern, method = draw(st.sampled_from(patterns))
    if draw(st.integers(0, 9)) == 0:
        method = draw(st.sampled_from(["GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS", "BREW"]))
    path = "/".join(_parts(draw, pattern))
    fitting = next((good_bodies[mark] for mark in good_bodies if mark in pattern), bodies)
    body = draw(fitting if draw(st.booleans()) else bodies) if method in WITH_BODY else b""
    headers = draw(header_lists)
    if ("content-encoding", "gzip") in headers and draw(st.booleans()):
        body = gzip.compress(body)
    return (
        method,
        path + draw(st.sampled_from(["", "", "", "/"])),
        draw(queries),
        headers,
        body,
        draw(st.integers(0, 9)) > 0,
    )


def repeatable(examples):
    return settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


# ---- how it is sent ----


class InProcess:
    """Requests to the ASGI app itself: an exception that it lets through fails the test."""

    def __init__(self, org):
        self.org, self.runner = org, asyncio.Runner()

    def send(self, method, path, query="", headers=(), body=b""):
        return self.runner.run(asyncio.wait_for(self._send(method, path, query, headers, body), timeout=20))

    async def _send(self, method, path, query, headers, body):
        scope = {
            **{"type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1"},
            **{"method": method, "scheme": "http", "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 9)},
            **{
                "path": path,
                "raw_path": path.encode("latin-1"),
                "root_path": "",
                "query_string": query.encode(),
            },
            "headers": [(k.encode(), v.encode("latin-1")) for k, v in headers],
        }
        waiting = [{"type": "http.request", "body": body, "more_body": False}]
        sent = []

        async def receive():
            return waiting.pop() if waiting else await asyncio.Event().wait()

        async def send(message):
            sent.append(message)

        await self.org.app(scope, receive, send)
        return sent[0]["status"], b"".join(m.get("body", b"") for m in sent)

    def close(self):
        self.runner.close()


class OverSocket:
    """Requests over a real connection that is kept as long as the server keeps it."""

    def __init__(self, org):
        self.org = org
        self.connection = http.client.HTTPConnection(org.url.removeprefix("http://"), timeout=20)

    def send(self, method, path, query="", headers=(), body=b""):
        self.connection.request(method, f"{path}?{query}" if query else path, body, dict(headers))
        reply = self.connection.getresponse()
        return reply.status, reply.read()

    def close(self):
        self.connection.close()


class Storm(list):
    """Requests; the one that fails is shown by the assertion, not all of them."""

    def __repr__(self):
        return f"<{len(self)} requests>"


def storm(org, sender, examples):
    """Send the generated requests; returns how many there were of each status."""
    seen = {}

    def sign():
        _, body = sender.send("POST", "/services/oauth2/token", "", [], FORM)
        return ("authorization", f"Bearer {json.loads(body)['access_token']}")

    def count(*request):
        status, answer = sender.send(*request)
        assert status < 500, (request, answer)
        seen[status] = seen.get(status, 0) + 1
        return status

    @repeatable(examples)
    @given(st.lists(requests_(), min_size=15, max_size=40).map(Storm))
    def run(requests):
        header = sign()
        for method, path, query, headers, body, signed in requests:
            status = count(method, path, query, [*headers, header] if signed else headers, body)
            if status == 401 and signed:
                header = sign()
        org.change(**DEFAULTS)
        good = f"/services/data/v66.0/sobjects/Product2/ProductCode/good{len(org.calls)}"
        header = sign()
        assert count("PATCH", good, "", [header], b'{"Name": "good"}') == 201
        assert count("DELETE", good, "", [header], b"") == 204

    run()
    return seen


DEFAULTS = {
    **{"hold_jobs": False, "token_error": "", "wrong_domain": False, "run_as_user": True, "job_delay": 0.0},
    **{
        "expire_after": 7200.0,
        "max_api_requests": 1_000_000,
        "max_batches": 15_000,
        "expiry_form": "session",
    },
}


def check_still_good(org):
    """Jobs come to an end, rows are written, queries answer."""
    assert org.wait_idle(60)
    client = Client(org.url)
    _, info = client.load("ProductCode,Name\nafter the storm,x\n")
    assert (info["state"], info["numberRecordsFailed"]) == ("JobComplete", 0)
    found = client.query("SELECT Name FROM Product2 WHERE ProductCode = 'after the storm'").json()
    assert found["records"][0]["Name"] == "x"
    client.http.close()


@pytest.mark.parametrize(
    ("sender", "examples", "at_least", "kinds"),
    [
        (InProcess, IN_PROCESS, 5_000, {200, 201, 204, 400, 401, 404, 405, 410, 415}),
        (OverSocket, OVER_SOCKETS, 400, {200, 201, 204, 400, 401, 404, 405}),
    ],
    ids=["in process", "over sockets"],
)
def test_whatever_is_sent_the_org_answers_and_the_next_good_call_works(
    org, sender, examples, at_least, kinds
):
    before = Client(org.url)
    before.load("ProductCode,Name\nA,x\nB,y\n")
    before.load(
        "Key__c,Amount__c,Ratio__c,Colours__c\nA,1.5,2,red\nB,,,\n", obj="Everything__c", key="Key__c"
    )
    before.create()  # an open job under the first ids
    before.http.close()
    through = sender(org)
    try:
        seen = storm(org, through, examples)
    finally:
        through.close()
    assert sum(seen.values()) >= at_least, seen
    assert kinds <= set(seen), seen  # all kinds of answers were among them
    check_still_good(org)


def test_the_list_of_faults_refuses_what_is_no_fault(client):
    wrong = [
        {"kind": "nope"},
        {"kind": "503", "times": "x"},
        {"kind": "503", "path": "("},
        {"kind": 5},
        5,
        [[]],
        {},
    ]
    for rule in wrong:
        reply = client.http.post(f"{client.url}/fakeforce/faults", json=rule, timeout=10)
        assert reply.status_code == 400, rule
    assert client.call("GET", "/limits").status_code == 200
