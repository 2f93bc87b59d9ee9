"""Replies recorded from real orgs or printed in Salesforce's guides, field by field: keys, types, texts, formats.

A pattern is a constant (compared with its type), a regular expression for a text, a type, a list, an object with
exactly these keys, or ``Each`` for a list of any length. Every row names where the reply can be seen in public.
"""

import re
import time
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

import pytest
import requests

from conftest import SCHEMA, TOKEN, Client
from fakeforce import serve

# Where the replies can be seen.
BULK = "Bulk API 2.0 and Bulk API Developer Guide: "
REST = "REST API Developer Guide: "
HELP = "Salesforce Help: "
CUMULUS = "github.com/SFDO-Tooling/CumulusCI, recorded cassettes"
JSFORCE = "github.com/jsforce/jsforce, test/bulk2.test.ts, which runs against an org"
AIRBYTE = "github.com/airbytehq/airbyte/issues/71024"
AMPERSAND = "github.com/amp-labs/connectors/pull/42"
ADAPTORS = "github.com/OpenFn/adaptors/issues/886"
CLI = "github.com/salesforcecli/data, test of queryFields"
FIELD = "seen in recorded replies of real orgs"

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000")


def identifier(prefix):
    return re.compile(prefix + "[0-9A-Za-z]{12}[A-Z0-5]{3}")


JOB, USER, PRODUCT = identifier("750"), identifier("005"), identifier("01t")


@dataclass
class Each:
    """A list of any length, and the pattern of each element."""

    pattern: Any
    least: int = 1


@dataclass
class Has:
    """An object with at least these keys."""

    pattern: dict[str, Any]


@dataclass
class Recorded:
    """One reply: what is asked, and what comes back."""

    name: str
    source: str
    ask: Any
    body: Any = None
    status: int = 200
    headers: dict[str, Any] = dataclass_field(default_factory=dict)

    def param(self):
        return pytest.param(self, id=self.name)


def differences(pattern, value, at="body"):
    """Where a value is not as its pattern says."""
    if isinstance(pattern, dict | Has):
        wanted = pattern.pattern if isinstance(pattern, Has) else pattern
        if not isinstance(value, dict):
            return [f"{at}: {value!r} is no object"]
        found = [f"{at}.{key}: missing" for key in wanted if key not in value]
        if isinstance(pattern, dict):
            found += [f"{at}.{key}: not expected" for key in value if key not in wanted]
        return found + [
            d for k in wanted if k in value for d in differences(wanted[k], value[k], f"{at}.{k}")
        ]
    if isinstance(pattern, Each | list):
        if not isinstance(value, list):
            return [f"{at}: {value!r} is no list"]
        if isinstance(pattern, Each):
            if len(value) < pattern.least:
                return [f"{at}: {len(value)} elements, at least {pattern.least} expected"]
            pattern = [pattern.pattern] * len(value)
        if len(pattern) != len(value):
            return [f"{at}: {len(value)} elements, {len(pattern)} expected"]
        return [
            d
            for n, (p, v) in enumerate(zip(pattern, value, strict=True))
            for d in differences(p, v, f"{at}[{n}]")
        ]
    if isinstance(pattern, re.Pattern):
        fits = isinstance(value, str) and pattern.fullmatch(value)
    elif isinstance(pattern, type):
        fits = type(value) is pattern
    else:
        fits = type(value) is type(pattern) and value == pattern
    return [] if fits else [f"{at}: {value!r} is not {pattern!r}"]


class Seen:
    """An org with what the replies need in it, and the questions of the table."""

    def __init__(self, org):
        self.org, self.client = org, Client(org.url)
        self.call = self.client.call
        self.client.load("ProductCode,Name,TMS_Group_Ref__c\nA,Alpha,G\nB,Beta,G\n")
        self.done, _ = self.client.load(
            "ProductCode,Name,TMS_Price_EXC_VAT__c,TMS_Quantity__c\nC,Gamma,912260031,2676\nD,,1,1\n"
        )

    def token(self, auth=None, **form):
        good = {
            "grant_type": "client_credentials",
            "client_id": "demo-client",
            "client_secret": "demo-secret",
        }
        return requests.post(
            self.org.url + TOKEN, data=good | form if auth is None else form, auth=auth, timeout=10
        )

    def with_setting(self, ask, **settings):
        """Ask while settings are changed."""
        before = {name: self.org.settings.shown()[name] for name in settings}
        self.org.change(**settings)
        try:
            return ask()
        finally:
            self.org.change(**before)

    def new_job(self):
        body = {"object": "Product2", "operation": "upsert", "externalIdFieldName": "ProductCode"}
        return self.call("POST", "/jobs/ingest", json=body)

    def job_in(self, state):
        """The id of a job in that state."""
        job = self.client.create()
        if state != "Open":
            self.client.upload(job, "ProductCode,Name\nZ,z\n")
            self.client.patch(job, "UploadComplete")
        return job

    def held(self, ask, **settings):
        """Ask about a job that is kept from going on."""

        def held_job():
            job = self.job_in("UploadComplete")
            assert self.org.wait_idle()
            reply = ask(job)
            self.client.patch(job, "Aborted")
            return reply

        return self.with_setting(held_job, **settings)

    def closed(self):
        job = self.client.create()
        self.client.upload(job, "ProductCode,Name\nZ,z\n")
        return self.with_setting(lambda: self.client.patch(job, "UploadComplete"), job_delay=3600.0)

    def aborted(self):
        return self.client.patch(self.client.create(), "Aborted")

    def failed(self):
        job, _ = self.client.load("ProductCode,Nope\nZ,z\n")
        return self.call("GET", f"/jobs/ingest/{job}")

    def result(self, kind, **headers):
        return self.call("GET", f"/jobs/ingest/{self.done}/{kind}", headers=headers)

    def deleted(self):
        return self.call("DELETE", f"/jobs/ingest/{self.aborted().json()['id']}")

    def with_token(self, token):
        headers = {"Authorization": f"Bearer {token}"}
        return requests.get(f"{self.client.base}/limits", headers=headers, timeout=10)

    def row(self, method, path, body=None):
        return self.call(method, f"/sobjects/Product2/{path}", json=body)

    def collection(self, records, **more):
        body = {"records": records, **more}
        return self.call("PATCH", "/composite/sobjects/Product2/ProductCode", json=body)

    def long_query(self):
        rows = "".join(f"L{n:03d},x\n" for n in range(250))
        self.client.load("ProductCode,Name\n" + rows)
        asked = {"q": "SELECT Id FROM Product2 WHERE ProductCode LIKE 'L%'"}
        return self.call("GET", "/query", params=asked, headers={"Sforce-Query-Options": "batchSize=200"})

    def parent_query(self):
        return self.client.query("SELECT Name, CreatedBy.Name FROM Product2 WHERE ProductCode = 'A'")

    def bulk_query(self, **more):
        return self.call(
            "POST", "/jobs/query", json={"operation": "query", "query": "SELECT Id FROM Product2", **more}
        )

    def bulk_query_results(self):
        job = self.bulk_query().json()["id"]
        end = time.monotonic() + 20
        while self.call("GET", f"/jobs/query/{job}").json()["state"] in ("UploadComplete", "InProgress"):
            assert time.monotonic() < end
        return self.call("GET", f"/jobs/query/{job}/results", params={"maxRecords": 1})


@pytest.fixture(scope="module")
def seen():
    with serve(schema=SCHEMA) as org:
        asked = Seen(org)
        yield asked
        asked.client.http.close()


def array(code, message, **more):
    return [{"message": message, "errorCode": code, **more}]


TOKEN_BODY = {
    "access_token": re.compile(r"00D\w{12,15}![.A-Za-z0-9_]+"),
    "signature": re.compile(r"[A-Za-z0-9+/]{43}="),
    "scope": "api",
    "instance_url": re.compile(r"https?://[^/]+"),
    "id": re.compile(r"https?://[^/]+/id/00D\w{15}/005\w{15}"),
    "token_type": "Bearer",
    "issued_at": re.compile(r"\d{13}"),
}
SHORT_JOB = {
    "id": JOB,
    "operation": "upsert",
    "object": "Product2",
    "createdById": USER,
    "createdDate": MOMENT,
    "systemModstamp": MOMENT,
    "state": "UploadComplete",
    "externalIdFieldName": "ProductCode",
    "concurrencyMode": "Parallel",
    "contentType": "CSV",
    "apiVersion": 66.0,
}
NEW_JOB = SHORT_JOB | {
    "state": "Open",
    "contentUrl": re.compile(r"services/data/v66\.0/jobs/ingest/750\w{15}/batches"),
    "lineEnding": "LF",
    "columnDelimiter": "COMMA",
}
TIMES = {"retries": 0, "totalProcessingTime": int, "apiActiveProcessingTime": int, "apexProcessingTime": int}
GOT_JOB = SHORT_JOB | {"lineEnding": "LF", "columnDelimiter": "COMMA", "jobType": "V2Ingest"} | TIMES
COUNTS = {"numberRecordsProcessed": int, "numberRecordsFailed": int}
QUERY_JOB = {
    "id": JOB, "operation": "query", "object": "Product2", "createdById": USER, "createdDate": MOMENT,
    "systemModstamp": MOMENT, "state": "UploadComplete", "concurrencyMode": "Parallel", "contentType": "CSV",
    "apiVersion": 66.0, "lineEnding": "LF", "columnDelimiter": "COMMA",
}  # fmt: skip
UPSERTED = {"id": PRODUCT, "success": True, "errors": []}
ATTRIBUTES = {"type": "Product2", "url": re.compile(r"/services/data/v66\.0/sobjects/Product2/01t\w{15}")}
LIMIT = {"Max": int, "Remaining": int}
USED = {"sforce-limit-info": re.compile(r"api-usage=\d+/\d+")}
CSV_TYPE = {"content-type": "text/csv; charset=UTF-8"}
NO_STORE = {"cache-control": "no-store"}


def refused_token(name, error, text, ask):
    body = {"error": error, "error_description": text}
    return Recorded(f"token: {name}", HELP + "OAuth 2.0 Authorization Errors", ask, body, 400, NO_STORE)


REPLIES = (
    # ---- token ----
    Recorded("token: form", HELP + "OAuth 2.0 Client Credentials Flow", lambda s: s.token(), TOKEN_BODY),
    Recorded(
        "token: basic",
        "github.com/simple-salesforce/simple-salesforce, login.py",
        lambda s: s.token(("demo-client", "demo-secret"), grant_type="client_credentials"),
        TOKEN_BODY,
    ),
    refused_token(
        "unknown app", "invalid_client_id", "client identifier invalid", lambda s: s.token(client_id="x")
    ),
    refused_token(
        "wrong secret", "invalid_client", "invalid client credentials", lambda s: s.token(client_secret="x")
    ),
    refused_token(
        "no user",
        "invalid_grant",
        "no client credentials user enabled",
        lambda s: s.with_setting(s.token, run_as_user=False),
    ),
    refused_token(
        "wrong host",
        "invalid_grant",
        "request not supported on this domain",
        lambda s: s.with_setting(s.token, wrong_domain=True),
    ),
    refused_token(
        "unknown flow",
        "unsupported_grant_type",
        "grant type not supported",
        lambda s: s.token(grant_type="magic"),
    ),
    Recorded(
        "401: ended session",
        JSFORCE,
        lambda s: s.with_token("00D!x"),
        array("INVALID_SESSION_ID", "Session expired or invalid"),
        401,
    ),
    Recorded(
        "401: JWT form",
        AIRBYTE,
        lambda s: s.with_setting(lambda: s.with_token("00D!x"), expiry_form="jwt"),
        array("INVALID_AUTH_HEADER", "INVALID_JWT_FORMAT"),
        401,
        {"www-authenticate": "Token"},
    ),
    # ---- ingest jobs ----
    Recorded("job: created", BULK + "Create a Job", lambda s: s.new_job(), NEW_JOB, 200, USED),
    Recorded(
        "job: Open",
        BULK + "Get Information About an Ingest Job",
        lambda s: s.call("GET", f"/jobs/ingest/{s.job_in('Open')}"),
        NEW_JOB | {"jobType": "V2Ingest"} | dict.fromkeys(TIMES, 0),
    ),
    Recorded(
        "job: upload",
        BULK + "Upload Job Data",
        lambda s: s.client.upload(s.client.create(), "ProductCode,Name\nZ,z\n"),
        "",
        201,
    ),
    Recorded("job: closed", BULK + "Quick Start, Upload Your CSV Data", lambda s: s.closed(), SHORT_JOB),
    Recorded(
        "job: InProgress",
        AMPERSAND,
        lambda s: s.held(
            lambda job: s.call("GET", f"/jobs/ingest/{job}"), hold_jobs=True, hold_after_batches=0
        ),
        GOT_JOB | COUNTS | {"state": "InProgress", "totalProcessingTime": 0},
    ),
    Recorded(
        "job: JobComplete",
        BULK + "Quick Start, Check the Job Status and Results",
        lambda s: s.call("GET", f"/jobs/ingest/{s.done}"),
        GOT_JOB | {"state": "JobComplete", "numberRecordsProcessed": 2, "numberRecordsFailed": 1},
    ),
    Recorded(
        "job: Failed",
        FIELD,
        lambda s: s.failed(),
        GOT_JOB
        | {
            "state": "Failed",
            "numberRecordsProcessed": 0,
            "numberRecordsFailed": 0,
            "errorMessage": "InvalidBatch : Field name not found : Nope",
        },
    ),
    Recorded(
        "job: aborted",
        BULK + "Upload Job Complete or Abort a Job",
        lambda s: s.aborted(),
        SHORT_JOB | {"state": "Aborted"},
    ),
    Recorded(
        "job: abort of a finished one",
        BULK + "Abort a Query Job",
        lambda s: s.client.patch(s.done, "Aborted"),
        array("INVALIDJOBSTATE", "Aborting already Completed Job not allowed"),
        400,
    ),
    Recorded("job: deleted", BULK + "Delete a Job", lambda s: s.deleted(), "", 204),
    Recorded(
        "job: delete of an open one",
        BULK + "Delete a Query Job",
        lambda s: s.call("DELETE", f"/jobs/ingest/{s.job_in('Open')}"),
        array("API_ERROR", "Error encountered when deleting the job because the job is not terminated"),
        400,
    ),
    Recorded(
        "job: unknown",
        BULK + "Get Information About an Ingest Job",
        lambda s: s.call("GET", "/jobs/ingest/7505e000000zzzzAAA"),
        array("NOT_FOUND", "The requested resource does not exist"),
        404,
    ),
    Recorded(
        "job: list",
        BULK + "Get Information About All Ingest Jobs",
        lambda s: s.call("GET", "/jobs/ingest", params={"jobType": "V2Ingest"}),
        {
            "done": True,
            "records": Each(
                Has({"id": JOB, "state": str, "object": str, "jobType": "V2Ingest", "apiVersion": 66.0})
            ),
            "nextRecordsUrl": None,
        },
    ),
    # ---- result files ----
    Recorded(
        "results: successful",
        BULK + "Quick Start, Check the Job Status and Results",
        lambda s: s.result("successfulResults"),
        re.compile(
            '"sf__Id","sf__Created",ProductCode,Name,TMS_Price_EXC_VAT__c,TMS_Quantity__c\n'
            + f'"{PRODUCT.pattern}","true","C","Gamma","9.12260031E8","2676"\n'
        ),
        200,
        CSV_TYPE,
    ),
    Recorded(
        "results: failed",
        JSFORCE,
        lambda s: s.result("failedResults"),
        '"sf__Id","sf__Error",ProductCode,Name,TMS_Price_EXC_VAT__c,TMS_Quantity__c\n'
        '"","REQUIRED_FIELD_MISSING:Required fields are missing: [Name]:Name --","D","","1.0","1"\n',
        200,
        CSV_TYPE,
    ),
    Recorded(
        "results: unprocessed",
        BULK + "Get Job Unprocessed Record Results",
        lambda s: s.result("unprocessedrecords"),
        "ProductCode,Name,TMS_Price_EXC_VAT__c,TMS_Quantity__c\n",
        200,
        CSV_TYPE,
    ),
    Recorded(
        "results: compressed",
        BULK + "Use Compression for Responses",
        lambda s: s.result("unprocessedrecords", **{"Accept-Encoding": "gzip"}),
        "ProductCode,Name,TMS_Price_EXC_VAT__c,TMS_Quantity__c\n",
        200,
        CSV_TYPE | {"content-encoding": "gzip"},
    ),
    # ---- rows ----
    Recorded(
        "row: upsert creates",
        REST + "Insert or Update (Upsert) a Record Using an External ID",
        lambda s: s.row("PATCH", "ProductCode/NEW", {"Name": "x"}),
        UPSERTED | {"created": True},
        201,
    ),
    Recorded(
        "row: upsert updates",
        REST + "Insert or Update (Upsert) a Record Using an External ID",
        lambda s: s.row("PATCH", "ProductCode/A", {"Name": "Alpha"}),
        UPSERTED | {"created": False},
    ),
    Recorded(
        "row: several records have the key",
        REST + "Insert or Update (Upsert) a Record Using an External ID",
        lambda s: s.row("PATCH", "TMS_Group_Ref__c/G", {"Name": "x"}),
        [ATTRIBUTES["url"], ATTRIBUTES["url"]],
        300,
    ),
    Recorded(
        "row: unknown",
        REST + "Status Codes and Error Responses",
        lambda s: s.row("GET", "01t5e000000zzzzAAA"),
        array("NOT_FOUND", str),
        404,
    ),
    Recorded(
        "row: unknown key field",
        FIELD,
        lambda s: s.row("PATCH", "Nope__c/1", {"Name": "x"}),
        array("NOT_FOUND", re.compile("Provided external ID field does not exist or is not accessible: .+")),
        404,
    ),
    Recorded(
        "row: refused",
        REST + "Status Codes and Error Responses",
        lambda s: s.row("POST", "", {"ProductCode": "R"}),
        array("REQUIRED_FIELD_MISSING", "Required fields are missing: [Name]", fields=["Name"]),
        400,
    ),
    Recorded(
        "row: created",
        REST + "Create Records Using sObject Basic Information",
        lambda s: s.row("POST", "", {"ProductCode": "P", "Name": "x"}),
        UPSERTED,
        201,
    ),
    Recorded(
        "collection: upsert",
        CUMULUS,
        lambda s: s.collection([{"attributes": {"type": "Product2"}, "ProductCode": "A", "Name": "Alpha"}]),
        [UPSERTED | {"created": False}],
    ),
    Recorded(
        "collection: refused",
        REST + "Upsert Multiple Records with Fewer Round-Trips",
        lambda s: s.collection([{"attributes": {"type": "Product2"}, "ProductCode": "R"}]),
        [
            Has(
                {
                    "success": False,
                    "errors": [
                        {
                            "statusCode": "REQUIRED_FIELD_MISSING",
                            "message": "Required fields are missing: [Name]",
                            "fields": ["Name"],
                        }
                    ],
                }
            )
        ],
    ),
    Recorded(
        "collection: rolled back",
        REST + "Update Multiple Records with Fewer Round-Trips",
        lambda s: s.collection([{"ProductCode": "A", "Name": "Alpha"}, {"ProductCode": "R"}], allOrNone=True),
        [
            Has(
                {
                    "success": False,
                    "errors": [
                        {
                            "statusCode": "ALL_OR_NONE_OPERATION_ROLLED_BACK",
                            "message": "Record rolled back because not all records were valid and the request was using "
                            "AllOrNone header",
                            "fields": [],
                        }
                    ],
                }
            ),
            Has({"success": False, "errors": [Has({"statusCode": "REQUIRED_FIELD_MISSING"})]}),
        ],
    ),
    # ---- queries ----
    Recorded(
        "query: rows",
        REST + "Query",
        lambda s: s.client.query("SELECT Name FROM Product2 WHERE ProductCode = 'A'"),
        {"totalSize": 1, "done": True, "records": [{"attributes": ATTRIBUTES, "Name": "Alpha"}]},
        200,
        USED,
    ),
    Recorded(
        "query: parent",
        REST + "Query",
        lambda s: s.parent_query(),
        Has(
            {
                "records": [
                    {
                        "attributes": ATTRIBUTES,
                        "Name": "Alpha",
                        "CreatedBy": {
                            "attributes": {
                                "type": "User",
                                "url": re.compile(r"/services/data/v66\.0/sobjects/User/005\w{15}"),
                            },
                            "Name": "Integration User",
                        },
                    }
                ]
            }
        ),
    ),
    Recorded(
        "query: first page",
        REST + "Query",
        lambda s: s.long_query(),
        {
            "totalSize": 250,
            "done": False,
            "nextRecordsUrl": re.compile(r"/services/data/v66\.0/query/01g\w{12,15}-200"),
            "records": Each({"attributes": ATTRIBUTES, "Id": PRODUCT}, 200),
        },
    ),
    Recorded(
        "query: COUNT()",
        CUMULUS,
        lambda s: s.client.query("SELECT COUNT() FROM Product2 WHERE Name = 'Alpha'"),
        {"totalSize": 1, "done": True, "records": []},
    ),
    Recorded(
        "query: COUNT(Id)",
        REST + "Query",
        lambda s: s.client.query("SELECT COUNT(Id) FROM Product2 WHERE Name = 'Alpha'"),
        {"totalSize": 1, "done": True, "records": [{"attributes": {"type": "AggregateResult"}, "expr0": 1}]},
    ),
    Recorded(
        "query: alias",
        REST + "Query",
        lambda s: s.client.query("SELECT COUNT(Id) n FROM Product2 WHERE Name = 'Alpha'"),
        {"totalSize": 1, "done": True, "records": [{"attributes": {"type": "AggregateResult"}, "n": 1}]},
    ),
    Recorded(
        "query: unknown object",
        CUMULUS,
        lambda s: s.client.query("SELECT Id FROM XYZZY"),
        array(
            "INVALID_TYPE",
            re.compile(
                r"\nSELECT Id FROM XYZZY\n +\^\nERROR at Row:1:Column:16\nsObject type 'XYZZY' is not supported\. .+"
            ),
        ),
        400,
    ),
    Recorded(
        "query: unknown column",
        REST + "Status Codes and Error Responses",
        lambda s: s.client.query("SELECT Nope FROM Product2"),
        array("INVALID_FIELD", str),
        400,
    ),
    Recorded(
        "query: wrong syntax",
        REST + "Status Codes and Error Responses",
        lambda s: s.client.query("SELECT Id FROM Product2 WHERE"),
        array("MALFORMED_QUERY", str),
        400,
    ),
    Recorded(
        "query: columns",
        CLI,
        lambda s: s.call(
            "GET", "/query", params={"q": "SELECT Id, Name, CreatedBy.Name FROM Product2", "columns": "true"}
        ),
        {
            "columnMetadata": [
                {
                    "aggregate": False,
                    "apexType": kind,
                    "booleanType": False,
                    "columnName": name,
                    "custom": False,
                    "displayName": name,
                    "foreignKeyName": key,
                    "insertable": bool,
                    "joinColumns": list,
                    "numberType": False,
                    "textType": kind == "String",
                    "updatable": bool,
                }
                for name, kind, key in (
                    ("Id", "Id", None),
                    ("Name", "String", None),
                    ("CreatedBy", "Id", "CreatedById"),
                )
            ],
            "entityName": "Product2",
            "groupBy": False,
            "idSelected": True,
            "keyPrefix": "01t",
        },
    ),
    # ---- the org ----
    Recorded(
        "recordCount",
        REST + "Record Count",
        lambda s: s.call("GET", "/limits/recordCount?sObjects=Product2,KPS_Sales__c,Nope"),
        {"sObjects": [{"count": int, "name": "Product2"}]},
    ),
    Recorded(
        "recordCount: nothing",
        CUMULUS,
        lambda s: s.call("GET", "/limits/recordCount?sObjects=KPS_Sales__c"),
        {"sObjects": []},
    ),
    Recorded(
        "limits",
        REST + "Limits",
        lambda s: s.call("GET", "/limits"),
        Has(
            dict.fromkeys(
                (
                    "DailyApiRequests",
                    "DailyBulkApiBatches",
                    "DailyBulkV2QueryJobs",
                    "DailyBulkV2QueryFileStorageMB",
                    "DataStorageMB",
                    "FileStorageMB",
                    "DailyAsyncApexExecutions",
                    "ConcurrentAsyncGetReportInstances",
                ),
                LIMIT,
            )
        ),
        200,
        USED,
    ),
    Recorded(
        "limits: none left",
        FIELD,
        lambda s: s.with_setting(lambda: s.call("GET", "/limits"), max_api_requests=0),
        array("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
        403,
    ),
    Recorded(
        "versions",
        REST + "Versions",
        lambda s: requests.get(s.org.url + "/services/data", timeout=10),
        Each(
            {
                "label": str,
                "url": re.compile(r"/services/data/v\d\d\.0"),
                "version": re.compile(r"\d\d\.0"),
            }
        ),
        200,
        {"sforce-limit-info": None},
    ),
    Recorded(
        "retired version",
        REST + "API End-of-Life Policy",
        lambda s: s.client.http.get(s.org.url + "/services/data/v29.0/limits", timeout=10),
        array("GONE", str),
        410,
    ),
    Recorded(
        "path with two slashes",
        "the Salesforce CLI, whose stored instance URL ends with a slash",
        lambda s: s.client.http.get(s.org.url + "//services/data/v66.0/limits/", timeout=10),
        Has({"DailyApiRequests": LIMIT}),
    ),
    # ---- bulk queries ----
    Recorded(
        "bulk query: created",
        BULK + "Create a Query Job",
        lambda s: s.bulk_query(),
        QUERY_JOB,
    ),
    Recorded(
        "bulk query: page",
        BULK + "Get Results for a Query Job",
        lambda s: s.bulk_query_results(),
        re.compile(f'"Id"\n"{PRODUCT.pattern}"\n'),
        200,
        {"sforce-locator": re.compile(".+"), "sforce-numberofrecords": "1"},
    ),
)


@pytest.mark.parametrize("recorded", [one.param() for one in REPLIES])
def test_a_reply_is_the_recorded_one_field_by_field(seen, recorded):
    reply = recorded.ask(seen)
    assert reply.status_code == recorded.status, reply.text
    for name, wanted in recorded.headers.items():
        assert differences(wanted, reply.headers.get(name), name) == []
    is_json = reply.headers.get("content-type", "").startswith("application/json")
    assert differences(recorded.body, reply.json() if is_json else reply.content.decode()) == []


# Attributes of every field in recorded describes of Contact and Account (CumulusCI's cassettes), and their types.
DESCRIBED = {
    **dict.fromkeys(
        (
            *(
                "aggregatable",
                "aiPredictionField",
                "autoNumber",
                "calculated",
                "cascadeDelete",
                "caseSensitive",
            ),
            *("createable", "custom", "defaultedOnCreate", "dependentPicklist", "deprecatedAndHidden"),
            *(
                "displayLocationInDecimal",
                "encrypted",
                "externalId",
                "filterable",
                "formulaTreatNullNumberAsZero",
            ),
            *(
                "groupable",
                "highScaleNumber",
                "htmlFormatted",
                "idLookup",
                "nameField",
                "namePointing",
                "nillable",
            ),
            *("permissionable", "polymorphicForeignKey", "queryByDistance", "restrictedDelete"),
            *("restrictedPicklist", "searchPrefilterable", "sortable", "unique", "updateable"),
            "writeRequiresMasterRead",
        ),
        (bool,),
    ),
    **dict.fromkeys(("byteLength", "digits", "length", "precision", "scale"), (int,)),
    **dict.fromkeys(("label", "name", "soapType", "type"), (str,)),
    **dict.fromkeys(("picklistValues", "referenceTo"), (list,)),
    **dict.fromkeys(
        (
            *(
                "calculatedFormula",
                "compoundFieldName",
                "controllerName",
                "defaultValueFormula",
                "extraTypeInfo",
            ),
            *("filteredLookupInfo", "inlineHelpText", "mask", "maskType", "referenceTargetField"),
            *("relationshipName", "relationshipOrder"),
        ),
        (str, type(None)),
    ),
    "defaultValue": (str, bool, type(None)),
}
OBJECT_KEYS = {
    *(
        "name",
        "label",
        "labelPlural",
        "keyPrefix",
        "custom",
        "createable",
        "updateable",
        "deletable",
        "undeletable",
    ),
    *("mergeable", "queryable", "searchable", "retrieveable", "triggerable", "urls", "childRelationships"),
    *("recordTypeInfos", "fields", "supportedScopes", "sobjectDescribeOption"),
}


@pytest.mark.parametrize("name", ["Product2", "KPS_Sales__c", "User"])
def test_a_described_field_has_the_recorded_attributes_and_their_types(seen, name):
    described = seen.call("GET", f"/sobjects/{name}/describe").json()
    assert set(described) >= OBJECT_KEYS
    for field in described["fields"]:
        assert set(field) == set(DESCRIBED), field["name"]
        wrong = [key for key, kinds in DESCRIBED.items() if not isinstance(field[key], kinds)]
        assert wrong == [], field["name"]


# (rows of Product2 or another object, the expected sf__Error of the last one, where it is seen)
ROW_ERRORS = {
    "required": (
        "ProductCode,Name\nE1,\n",
        "REQUIRED_FIELD_MISSING:Required fields are missing: [Name]:Name --",
        JSFORCE,
    ),
    "twice in one request": (
        "ProductCode,Name\nE2,x\nE2,y\n",
        "DUPLICATE_VALUE:Duplicate external id specified: E2:ProductCode --",
        FIELD,
    ),
    "date": (
        "ProductCode,Name,TMS_Count_Date__c\nE5,x,6/15/19\n",
        "INVALID_FIELD:Failed to deserialize field at col 2. Due to, '6/15/19' is not a valid value for the type "
        "xsd:date:TMS_Count_Date__c --",
        FIELD,
    ),
    "cells": (
        "ProductCode,Name,TMS_Serial__c\nE6,x\n",
        "INVALID_FIELD:Number of fields in header is different from the row. header = 3 row = 2:--",
        FIELD,
    ),
    "picklist": (
        "ProductCode,Name,TMS_Product_Type__c\nE7,x,Old\n",
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST:Product Type: bad value for restricted picklist field: Old:"
        "TMS_Product_Type__c --",
        FIELD,
    ),
    "length": (
        f"ProductCode,Name,TMS_Bar_Code__c\nE8,x,{'y' * 101}\n",
        f"STRING_TOO_LONG:Bar Code: data value too large: {'y' * 101} (max length=100):TMS_Bar_Code__c --",
        FIELD,
    ),
}


@pytest.mark.parametrize(
    ("data", "error", "source"), [pytest.param(*row, id=n) for n, row in ROW_ERRORS.items()]
)
def test_a_refused_row_has_the_recorded_text(seen, data, error, source):
    job, _ = seen.client.load(data)
    assert error in [row["sf__Error"] for row in seen.client.table(job, "failed")]


def test_a_unique_value_that_a_record_has_is_refused_with_its_id(
    seen,
):  # seen in recorded replies of real orgs
    seen.client.load("ProductCode,Name,TMS_Serial__c\nE3,x,S\n")
    job, _ = seen.client.load("ProductCode,Name,TMS_Serial__c\nE4,y,S\n")
    holder = seen.client.query("SELECT Id FROM Product2 WHERE ProductCode = 'E3'").json()["records"][0]["Id"]
    text = f"DUPLICATE_VALUE:duplicate value found: TMS_Serial__c duplicates value on record with id: {holder}:--"
    assert [row["sf__Error"] for row in seen.client.table(job, "failed")] == [text]
