"""HTTP: paths to calls, errors to bodies, faults, the list of calls seen."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import parse_qsl, unquote

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from .auth import ORG_ID, Auth, OAuthError, userinfo
from .clock import Clock, stamp
from .describe import describe_object, object_summary
from .errors import ApiError, FakeforceError, not_found
from .faults import ANSWERS, CUTS, Fault, Faults
from .ingest import Ingest, read_multipart
from .jobs import USER_ID, job_info
from .queries import Queries
from .rest import PAGE_ROWS, Collection, Rest, read_json
from .schema import Schema
from .settings import Settings
from .store import Store

OLDEST, NEWEST = 36, 67
MAX_HEAD = 16_384  # bytes of address and headers (REST guide: Status Codes and Error Responses)
RETIRED = 30  # v21 to v30 answer 410 (REST guide: API End-of-Life Policy)
JSON = "application/json;charset=UTF-8"
CSV = "text/csv; charset=UTF-8"
RESULT_KINDS = {
    "successfulresults": "successful",
    "failedresults": "failed",
    "unprocessedrecords": "unprocessed",
}
PIECE = 256 * 1024
UNZIP = {"gzip": 31, "deflate": 15}  # Content-Encoding -> wbits of zlib (REST guide: Compression Headers)


class Seen(NamedTuple):
    """One call the org answered; status 0: the connection was cut before a status was sent."""

    method: str
    path: str
    status: int


@dataclass
class Call:
    """One request, read."""

    method: str
    parts: list[str]
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    base_url: str
    version: str = ""
    args: list[str] = field(default_factory=list)

    @property
    def base(self) -> str:
        """/services/data/vNN.0 of this call."""
        return f"/services/data/v{self.version}"

    def json(self) -> Any:
        """The JSON body, numbers as text."""
        return read_json(self.body)


@dataclass
class Reply:
    """An answer: JSON value, ready text, or an iterator of text pieces."""

    status: int = 200
    json: Any = None
    text: str | Iterator[str] | Iterator[bytes] | None = None
    media: str = JSON
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> str | Iterator[str] | Iterator[bytes]:
        """The body's text; 204 has none."""
        if self.text is not None:
            return self.text
        return (
            "" if self.status == 204 or (self.json is None and self.status == 201) else json.dumps(self.json)
        )


Handler = Callable[["Api", Call], Reply]


class Route(NamedTuple):
    """One line of the table of paths; ``{}`` stands for one segment."""

    method: str
    pattern: str
    handler: Handler
    needs_token: bool = True


@dataclass
class Api:
    """Everything a call may need."""

    schema: Schema
    store: Store
    clock: Clock
    settings: Settings
    faults: Faults
    auth: Auth
    ingest: Ingest
    queries: Queries
    rest: Rest
    calls: list[Seen]
    api_requests: int = 0
    began: float = 0.0  # of the first data call since the start, or since the calls were forgotten
    ended: float = 0.0  # of the newest answer to a data call

    def requests_left(self) -> int:
        """What is left of the daily API requests (they roll over only with a new process)."""
        return max(0, self.settings.max_api_requests - self.api_requests)


# ---- handlers: OAuth and the org ----


def _form(call: Call) -> dict[str, str]:
    return dict(parse_qsl(call.body.decode("utf-8", errors="replace"), keep_blank_values=True))


def _token(api: Api, call: Call) -> Reply:
    try:
        issued = api.auth.issue(_form(call), call.headers.get("authorization", ""), call.base_url)
    except OAuthError as error:
        return Reply(400, error.body, headers={"cache-control": "no-store", "pragma": "no-cache"})
    return Reply(200, issued, headers={"cache-control": "no-store", "pragma": "no-cache"})


def _introspect(api: Api, call: Call) -> Reply:
    """Token introspection (help: OAuth 2.0 Token Introspection; RFC 7662)."""
    form = _form(call)
    try:
        api.auth.check_client(form, call.headers.get("authorization", ""))
    except OAuthError as error:
        return Reply(401, error.body)
    expires = api.auth.expiry(form.get("token", ""))
    if expires is None:
        return Reply(200, {"active": False})
    end = int(datetime.fromisoformat(expires).timestamp())
    info = {"active": True, "scope": "api", "client_id": api.auth.client_id, "token_type": "access_token"}
    return Reply(200, info | {"exp": end, "iat": end - int(api.settings.expire_after)})


def _userinfo(api: Api, call: Call) -> Reply:
    return Reply(200, userinfo(call.base_url, stamp(api.clock.now())))


def _versions(api: Api, call: Call) -> Reply:
    found = [
        {"label": f"Release v{n}", "url": f"/services/data/v{n}.0", "version": f"{n}.0"}
        for n in range(OLDEST, NEWEST + 1)
    ]
    return Reply(200, found)


def _resources(api: Api, call: Call) -> Reply:
    names = ("limits", "sobjects", "query", "queryAll", "jobs", "composite", "tooling", "search", "recent")
    identity = f"{call.base_url}/id/{ORG_ID}/{USER_ID}"
    return Reply(200, {name: f"{call.base}/{name}" for name in names} | {"identity": identity})


def _limits(api: Api, call: Call) -> Reply:
    """GET /limits (REST guide: Limits); there is no entry for ingest records (documented)."""
    settings = api.settings
    batches = max(0, settings.max_batches - api.ingest.batches_used())
    fixed = {
        **{"ConcurrentAsyncGetReportInstances": 200, "DailyAsyncApexExecutions": 250_000},
        **{"DailyBulkV2QueryFileStorageMB": 976_562},
        **{"DataStorageMB": 100_000, "FileStorageMB": 100_000, "HourlyAsyncReportRuns": 1_200},
    }
    found = {name: {"Max": top, "Remaining": top} for name, top in fixed.items()}
    found["DailyApiRequests"] = {"Max": settings.max_api_requests, "Remaining": api.requests_left()}
    queries = max(0, settings.max_query_jobs - api.queries.jobs_used())
    found["DailyBulkV2QueryJobs"] = {"Max": settings.max_query_jobs, "Remaining": queries}
    batch_name = "DailyBulkApiBatches" if float(call.version) >= 49 else "DailyBulkApiRequests"
    found[batch_name] = {"Max": settings.max_batches, "Remaining": batches}
    return Reply(200, dict(sorted(found.items())))


def _record_count(api: Api, call: Call) -> Reply:
    """GET /limits/recordCount: unknown and empty objects are left out (seen)."""
    names = [n.strip() for n in call.query.get("sObjects", ",".join(api.schema.objects)).split(",")]
    objects = [obj for obj in map(api.schema.get, names) if obj is not None]
    counts = [{"count": api.store.count(obj), "name": obj.name} for obj in objects]
    return Reply(200, {"sObjects": [c for c in counts if c["count"]]})


# ---- handlers: objects and rows ----


def _global_describe(api: Api, call: Call) -> Reply:
    objects = [object_summary(obj, call.base) for obj in api.schema.objects.values()]
    return _unless_old(api, call, lambda: {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": objects})


def _object_basic(api: Api, call: Call) -> Reply:
    obj = api.rest.object(call.args[0])
    return Reply(200, {"objectDescribe": object_summary(obj, call.base), "recentItems": []})


def _describe(api: Api, call: Call) -> Reply:
    return _unless_old(
        api, call, lambda: describe_object(api.schema, api.rest.object(call.args[0]), call.base)
    )


def _unless_old(api: Api, call: Call, body: Callable[[], Any]) -> Reply:
    """Metadata, or 304 when the schema files are not newer (REST guide: Conditional Request Headers)."""
    since = _moment(call, "if-modified-since")
    until = _moment(call, "if-unmodified-since")
    shown = body()  # an unknown object is not found, whatever the header says
    modified = api.schema.modified.replace(microsecond=0)
    headers = {"last-modified": format_datetime(modified, usegmt=True)}
    if since is not None and modified <= since:
        return Reply(304, text="", headers=headers)
    if until is not None and modified > until:
        raise ApiError(412, "PRECONDITION_FAILED", "The metadata was modified since")  # text assumed
    return Reply(200, shown, headers=headers)


def _moment(call: Call, header: str) -> datetime | None:
    """The moment in a header; one that cannot be read is no condition (RFC 9110)."""
    try:
        found = parsedate_to_datetime(call.headers.get(header, ""))
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _create_row(api: Api, call: Call) -> Reply:
    return Reply(201, api.rest.create(call.args[0], call.json()))


def _get_row(api: Api, call: Call) -> Reply:
    obj, field_name, value = _row_address(call)
    since = _moment(call, "if-modified-since")
    status, text = api.rest.get(obj, field_name, value, call.base, call.query.get("fields"), since)
    return Reply(status, text=text)


def _patch_row(api: Api, call: Call) -> Reply:
    obj, field_name, value = _row_address(call)
    update_only = call.query.get("updateOnly", "").lower() == "true"
    status, body = api.rest.upsert(obj, field_name, value, call.json(), update_only=update_only)
    if status == 300:
        return Reply(300, [call.base + url for url in body])
    if len(call.args) == 2 or (status == 200 and float(call.version) < 46):
        return Reply(204)  # update by id; upsert of an existing row before v46 (documented)
    return Reply(status, body)


def _delete_row(api: Api, call: Call) -> Reply:
    matches = api.rest.delete(*_row_address(call))
    return Reply(300, [call.base + url for url in matches]) if matches else Reply(204)


def _row_address(call: Call) -> tuple[str, str, str]:
    """(object, field, value) of /{Obj}/{id} and of /{Obj}/{Field}/{value}."""
    if len(call.args) == 2:
        return call.args[0], "Id", call.args[1]
    return call.args[0], call.args[1], call.args[2]


def _collection_create(api: Api, call: Call) -> Reply:
    return Reply(200, api.rest.collection(Collection("insert"), call.json()))


def _collection_update(api: Api, call: Call) -> Reply:
    return Reply(200, api.rest.collection(Collection("update"), call.json()))


def _collection_upsert(api: Api, call: Call) -> Reply:
    return Reply(200, api.rest.collection(Collection("upsert", *call.args), call.json()))


def _collection_delete(api: Api, call: Call) -> Reply:
    strict = call.query.get("allOrNone", "").lower() == "true"
    return Reply(200, api.rest.delete_many(_listed(call, "ids"), strict=strict))


def _collection_get(api: Api, call: Call) -> Reply:
    ids, fields = _listed(call, "ids"), _listed(call, "fields")
    return Reply(200, text=api.rest.retrieve(call.args[0], ids, fields, call.base))


def _collection_get_by_body(api: Api, call: Call) -> Reply:
    body = call.json()
    lists = [body.get(key) for key in ("ids", "fields")] if isinstance(body, dict) else [None]
    if not all(isinstance(found, list) and all(isinstance(i, str) for i in found) for found in lists):
        raise ApiError(400, "JSON_PARSER_ERROR", "ids and fields must be lists of texts")
    return Reply(200, text=api.rest.retrieve(call.args[0], body["ids"], body["fields"], call.base))


def _listed(call: Call, name: str) -> list[str]:
    return [item.strip() for item in call.query.get(name, "").split(",") if item.strip()]


def _page_rows(call: Call) -> int:
    found = re.search(r"batchSize=([0-9]{1,9})", call.headers.get("sforce-query-options", ""), re.I)
    return min(PAGE_ROWS, max(200, int(found.group(1)))) if found else PAGE_ROWS


def _query(api: Api, call: Call) -> Reply:
    return _query_as(api, call)


def _query_all(api: Api, call: Call) -> Reply:
    """Deleted records too (REST guide: Execute a SOQL Query that Includes Deleted Items)."""
    return _query_as(api, call, deleted=True)


def _tooling_query(api: Api, call: Call) -> Reply:
    return _query_as(api, call, tooling=True)


def _query_as(api: Api, call: Call, **how: bool) -> Reply:
    text = call.query.get("q", "")
    if "explain" in call.query:
        raise ApiError(400, "MALFORMED_QUERY", "fakeforce does not implement explain")
    if not text:
        raise ApiError(400, "MALFORMED_QUERY", "A query string has to be specified")  # seen
    if call.query.get("columns", "").lower() == "true":
        return Reply(200, api.rest.columns(text))
    base = f"{call.base}/tooling" if how.get("tooling") else call.base
    return Reply(200, text=api.rest.query(text, base, _page_rows(call), **how))


def _query_more(api: Api, call: Call) -> Reply:
    return Reply(200, text=api.rest.query_more(call.args[0], call.base, _page_rows(call)))


# ---- handlers: Bulk API 2.0 ingest ----


def _create_job(api: Api, call: Call) -> Reply:
    kind = call.headers.get("content-type", "")
    data: bytes | None = None
    text = call.body
    if kind.lower().startswith("multipart/form-data"):
        text, data = read_multipart(call.body, kind)
    return Reply(200, job_info(api.ingest.create(_job_object(text), call.version, data), "create"))


def _job_object(text: bytes) -> dict[str, Any]:
    body = read_json(text)
    if not isinstance(body, dict):
        raise ApiError(400, "CLIENTINPUTERROR", "The request body must be one JSON object")
    return body


def _list_jobs(api: Api, call: Call) -> Reply:
    return Reply(200, api.ingest.listing(call.query, call.version))


def _get_job(api: Api, call: Call) -> Reply:
    return Reply(200, job_info(api.ingest.job(call.args[0]), "get"))


def _patch_job(api: Api, call: Call) -> Reply:
    body = call.json()
    wanted = body.get("state") if isinstance(body, dict) else None
    return Reply(200, job_info(api.ingest.change_state(call.args[0], wanted), "patch"))


def _delete_job(api: Api, call: Call) -> Reply:
    api.ingest.delete(call.args[0])
    return Reply(204)


def _results(api: Api, call: Call) -> Reply:
    kind = RESULT_KINDS.get(call.args[1].lower())
    if kind is None:
        raise not_found()
    return Reply(200, text=_joined(api.ingest.results(call.args[0], kind)), media=CSV)


# ---- handlers: Bulk API 2.0 query ----


def _create_query(api: Api, call: Call) -> Reply:
    return Reply(200, job_info(api.queries.create(_job_object(call.body), call.version), "create"))


def _list_queries(api: Api, call: Call) -> Reply:
    return Reply(200, api.queries.listing(call.query, call.version))


def _get_query(api: Api, call: Call) -> Reply:
    return Reply(200, job_info(api.queries.job(call.args[0]), "get"))


def _patch_query(api: Api, call: Call) -> Reply:
    body = call.json()
    wanted = body.get("state") if isinstance(body, dict) else None
    return Reply(200, job_info(api.queries.change_state(call.args[0], wanted), "patch"))


def _delete_query(api: Api, call: Call) -> Reply:
    api.queries.delete(call.args[0])
    return Reply(204)


def _query_results(api: Api, call: Call) -> Reply:
    page = api.queries.page(
        call.args[0], call.version, call.query.get("locator"), call.query.get("maxRecords")
    )
    headers = {"sforce-locator": page.locator, "sforce-numberofrecords": str(page.rows)}
    return Reply(200, text=page.text, media=CSV, headers=headers)


def _query_pages(api: Api, call: Call) -> Reply:
    return Reply(200, api.queries.pages(call.args[0], call.version, call.query.get("locator")))


def _joined(lines: Iterator[str]) -> Iterator[str]:
    """Lines in pieces of some size: one write a line would be slow."""
    held: list[str] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= PIECE:
            yield "".join(held)
            held, size = [], 0
    yield "".join(held)


# ---- handlers: the emulator's own paths ----


def _admin_rows(api: Api, call: Call) -> Reply:
    return Reply(200, text=_joined(api.rest.json_lines(call.args[0])), media="application/x-ndjson")


def _admin_state(api: Api, call: Call) -> Reply:
    return Reply(
        200,
        {
            "now": stamp(api.clock.now()),
            "settings": api.settings.shown(),
            "faults": api.faults.shown(),
            "objects": {name: api.store.count(obj) for name, obj in api.schema.objects.items()},
            "jobs": api.ingest.jobs(),
            "query_jobs": api.queries.jobs(),
            "api_requests": api.api_requests,
            "batches_used": api.ingest.batches_used(),
            "records_used": api.ingest.records_used(),
            "most_jobs": api.ingest.most_jobs,
            "most_uploads": api.ingest.most_uploads,
            "calls_seconds": api.ended - api.began,
        },
    )


def _admin_body(call: Call, kinds: tuple[type, ...] = (dict,)) -> Any:
    """The JSON body of the emulator's own paths. Raises FakeforceError."""
    try:
        found = json.loads(call.body)
    except (ValueError, RecursionError) as error:
        raise FakeforceError(f"the body is no JSON: {error}") from None
    if not isinstance(found, kinds):
        raise FakeforceError(f"the body must be a JSON {' or '.join(k.__name__ for k in kinds)}")
    return found


def _admin_faults(api: Api, call: Call) -> Reply:
    rules = _admin_body(call, (dict, list))
    api.faults.add_all(rules if isinstance(rules, list) else [rules])
    return Reply(200, api.faults.shown())


def _admin_faults_shown(api: Api, call: Call) -> Reply:
    return Reply(200, api.faults.shown())


def _admin_faults_cleared(api: Api, call: Call) -> Reply:
    api.faults.clear()
    return Reply(200, [])


def _admin_settings(api: Api, call: Call) -> Reply:
    api.settings.change(_admin_body(call))
    api.ingest.wake()
    api.queries.wake()
    return Reply(200, api.settings.shown())


def _admin_clock(api: Api, call: Call) -> Reply:
    seconds = _admin_body(call).get("push")
    if type(seconds) not in (int, float):
        raise FakeforceError(f'the body must be {{"push": seconds}}, and push is {seconds!r}')
    api.clock.push(seconds)
    api.ingest.wake()
    api.queries.wake()
    return Reply(200, {"now": stamp(api.clock.now())})


def _admin_expire(api: Api, call: Call) -> Reply:
    api.auth.expire_all()
    return Reply(200, {})


def _admin_calls(api: Api, call: Call) -> Reply:
    return Reply(200, [seen._asdict() for seen in api.calls])


def _admin_calls_forgotten(api: Api, call: Call) -> Reply:
    api.calls.clear()
    api.began = api.ended = 0.0
    return Reply(200, [])


DATA = "/services/data/v*"
ROUTES = (
    Route("POST", "/services/oauth2/token", _token, needs_token=False),
    Route("POST", "/services/oauth2/introspect", _introspect, needs_token=False),
    Route("GET", "/services/oauth2/userinfo", _userinfo),
    Route("POST", "/services/oauth2/userinfo", _userinfo),
    Route("GET", "/id/{}/{}", _userinfo),
    Route("GET", "/services/data", _versions, needs_token=False),
    Route("GET", DATA, _resources),
    Route("GET", f"{DATA}/limits", _limits),
    Route("GET", f"{DATA}/limits/recordCount", _record_count),
    Route("GET", f"{DATA}/sobjects", _global_describe),
    Route("GET", f"{DATA}/sobjects/{{}}", _object_basic),
    Route("POST", f"{DATA}/sobjects/{{}}", _create_row),
    Route("GET", f"{DATA}/sobjects/{{}}/describe", _describe),
    Route("GET", f"{DATA}/sobjects/{{}}/{{}}", _get_row),
    Route("PATCH", f"{DATA}/sobjects/{{}}/{{}}", _patch_row),
    Route("DELETE", f"{DATA}/sobjects/{{}}/{{}}", _delete_row),
    Route("GET", f"{DATA}/sobjects/{{}}/{{}}/{{}}", _get_row),
    Route("PATCH", f"{DATA}/sobjects/{{}}/{{}}/{{}}", _patch_row),
    Route("DELETE", f"{DATA}/sobjects/{{}}/{{}}/{{}}", _delete_row),
    Route("POST", f"{DATA}/composite/sobjects", _collection_create),
    Route("PATCH", f"{DATA}/composite/sobjects", _collection_update),
    Route("PATCH", f"{DATA}/composite/sobjects/{{}}/{{}}", _collection_upsert),
    Route("DELETE", f"{DATA}/composite/sobjects", _collection_delete),
    Route("GET", f"{DATA}/composite/sobjects/{{}}", _collection_get),
    Route("POST", f"{DATA}/composite/sobjects/{{}}", _collection_get_by_body),
    Route("GET", f"{DATA}/query", _query),
    Route("GET", f"{DATA}/query/{{}}", _query_more),
    Route("GET", f"{DATA}/queryAll", _query_all),
    Route("GET", f"{DATA}/queryAll/{{}}", _query_more),
    Route("GET", f"{DATA}/tooling/query", _tooling_query),
    Route("GET", f"{DATA}/tooling/query/{{}}", _query_more),
    Route("POST", f"{DATA}/jobs/ingest", _create_job),
    Route("GET", f"{DATA}/jobs/ingest", _list_jobs),
    Route("GET", f"{DATA}/jobs/ingest/{{}}", _get_job),
    Route("PATCH", f"{DATA}/jobs/ingest/{{}}", _patch_job),
    Route("DELETE", f"{DATA}/jobs/ingest/{{}}", _delete_job),
    Route("GET", f"{DATA}/jobs/ingest/{{}}/{{}}", _results),
    Route("POST", f"{DATA}/jobs/query", _create_query),
    Route("GET", f"{DATA}/jobs/query", _list_queries),
    Route("GET", f"{DATA}/jobs/query/{{}}", _get_query),
    Route("PATCH", f"{DATA}/jobs/query/{{}}", _patch_query),
    Route("DELETE", f"{DATA}/jobs/query/{{}}", _delete_query),
    Route("GET", f"{DATA}/jobs/query/{{}}/results", _query_results),
    Route("GET", f"{DATA}/jobs/query/{{}}/resultPages", _query_pages),
    Route("GET", "/fakeforce/rows/{}", _admin_rows, needs_token=False),
    Route("GET", "/fakeforce/state", _admin_state, needs_token=False),
    Route("GET", "/fakeforce/calls", _admin_calls, needs_token=False),
    Route("DELETE", "/fakeforce/calls", _admin_calls_forgotten, needs_token=False),
    Route("GET", "/fakeforce/faults", _admin_faults_shown, needs_token=False),
    Route("POST", "/fakeforce/faults", _admin_faults, needs_token=False),
    Route("DELETE", "/fakeforce/faults", _admin_faults_cleared, needs_token=False),
    Route("POST", "/fakeforce/settings", _admin_settings, needs_token=False),
    Route("POST", "/fakeforce/clock", _admin_clock, needs_token=False),
    Route("POST", "/fakeforce/tokens/expire", _admin_expire, needs_token=False),
)


def _matches(pattern: str, parts: list[str]) -> list[str] | None:
    """The segments under ``{}``, or None. Paths are split before they are decoded: a value may hold %2F."""
    wanted = pattern.strip("/").split("/")
    if len(wanted) != len(parts):
        return None
    args: list[str] = []
    for want, part in zip(wanted, parts, strict=True):
        if want == "{}":
            args.append(part)
        elif want != "v*" and want.lower() != part.lower():
            return None
    return args


def find_route(call: Call) -> Route:
    """The route of a call; sets ``call.args``. Raises 404, or 405 naming the allowed methods (documented)."""
    allowed: list[str] = []
    for route in ROUTES:
        args = _matches(route.pattern, call.parts)
        if args is None:
            continue
        if route.method == call.method:
            call.args = args
            return route
        allowed.append(route.method)
    if allowed:
        text = f"HTTP Method '{call.method}' not allowed. Allowed are {','.join(sorted(set(allowed)))}"
        raise ApiError(405, "METHOD_NOT_ALLOWED", text)
    raise not_found()


def read_version(parts: list[str]) -> str:
    """``66.0`` of a data path, empty elsewhere. Raises 404 for an unknown version, 410 for a retired one."""
    if len(parts) < 3 or parts[:2] != ["services", "data"]:
        return ""
    found = re.fullmatch(r"v([0-9]{2})\.0", parts[2])
    number = int(found.group(1)) if found else 0
    if OLDEST <= number <= NEWEST:
        return f"{number}.0"
    if 20 < number <= RETIRED:
        raise ApiError(410, "GONE", f"The requested resource is no longer available: API version {number}.0")
    raise not_found()


# ---- ASGI ----


class App:
    """The ASGI application."""

    def __init__(self, api: Api) -> None:
        self.api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request: faults first, then the route, then the list of calls seen."""
        if scope["type"] != "http":
            raise RuntimeError(f"fakeforce speaks HTTP only, not {scope['type']}")
        raw = scope["raw_path"].decode("latin-1").partition("?")[0]
        admin = raw.startswith("/fakeforce/")
        status = 0
        if raw.startswith("/services/data/"):
            self.api.began = self.api.began or time.monotonic()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                now = format_datetime(self.api.clock.now(), usegmt=True)
                message["headers"] = [*message.get("headers", ()), (b"date", now.encode())]
                if not admin:
                    self.api.calls.append(Seen(scope["method"], unquote(raw), status))
            await send(message)

        fault = None if admin else self.api.faults.for_call(scope["method"], unquote(raw))
        if fault is not None and fault.kind == "slow":
            await asyncio.sleep(fault.delay)
        if fault is not None and fault.kind != "slow":
            await self._strike(fault, scope, receive, noting, send)
        else:
            response = await self._answer(Request(scope, receive))
            await response(scope, receive, noting)
        if raw.startswith("/services/data/"):
            self.api.ended = time.monotonic()
        if status == 0:
            self.api.calls.append(Seen(scope["method"], unquote(raw), 0))
        if fault is not None and fault.kind in (*CUTS, "stall"):
            await _gone(receive)

    async def _strike(self, fault: Fault, scope: Scope, receive: Receive, noting: Send, send: Send) -> None:
        if fault.kind in ANSWERS:
            status, body, headers = ANSWERS[fault.kind]
            headers = {"content-type": JSON} | headers
            if fault.retry_after:
                headers["retry-after"] = fault.retry_after
            async for _ in Request(scope, receive).stream():
                pass  # the answer comes when the request is read, as behind a proxy
            await Response(body, status, headers)(scope, receive, noting)
        elif fault.kind == "reset-before":
            _cut(send)
        elif fault.kind in ("reset-during", "stall"):
            await _read_some(Request(scope, receive))
            await asyncio.sleep(fault.delay)
            _cut(send)
        elif fault.kind == "cut-answer":
            response = await self._answer(Request(scope, receive))
            await response(scope, receive, _only_first(noting, send))
        else:
            response = await self._answer(Request(scope, receive))
            if isinstance(response, StreamingResponse):
                await _read_some_of(response)
            _cut(send)

    async def _answer(self, request: Request) -> Response:
        call = _read_head(request)
        try:
            reply = await self._reply(request, call)
        except ApiError as error:
            await _drain(request)
            reply = Reply(error.status, error.body(), headers=error.headers)
        except (FakeforceError, TypeError, KeyError, ValueError, OverflowError, re.error) as error:
            if not call.parts or call.parts[0] != "fakeforce":
                raise
            reply = Reply(400, {"error": f"{type(error).__name__}: {error}"})
        if call.parts[:2] == ["services", "data"] and len(call.parts) > 2:
            used = f"api-usage={self.api.api_requests}/{self.api.settings.max_api_requests}"
            reply.headers["sforce-limit-info"] = used
        return _response(reply, call)

    async def _reply(self, request: Request, call: Call) -> Reply:
        if call.parts[0] != "fakeforce":
            _check_head(request.scope)
        call.version = read_version(call.parts)
        if call.version:
            self._spend(call)
        if call.method == "PUT" and _matches(f"{DATA}/jobs/ingest/{{}}/batches", call.parts) is not None:
            return await self._upload(request, call)
        route = find_route(call)
        if route.needs_token and not call.version:
            self.api.auth.check(call.headers.get("authorization", ""))
        try:
            call.body = _plain(await request.body(), call)
        except ClientDisconnect:
            return Reply(400, [])
        return await run_in_threadpool(route.handler, self.api, call)

    def _spend(self, call: Call) -> None:
        """Every data call needs a session and one API request."""
        self.api.auth.check(call.headers.get("authorization", ""))
        if not self.api.requests_left():
            raise ApiError(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        self.api.api_requests += 1

    async def _upload(self, request: Request, call: Call) -> Reply:
        """PUT .../batches, streamed to disk: 201 and no body (Bulk API 2.0 guide: Upload Job Data)."""
        media = call.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media not in ("text/csv", ""):
            raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", f"Content type must be text/csv, not {media}")
        zipped = call.headers.get("content-encoding", "").strip().lower()
        if zipped not in ("", "identity") and not (zipped in UNZIP and self.api.settings.gzip_upload):
            raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", f"Content-Encoding {zipped} is not supported here")
        ingest = self.api.ingest
        job, part = ingest.begin_upload(call.parts[5])
        try:
            await self._receive(request, part, zipped)
        except BaseException as error:
            await run_in_threadpool(ingest.end_upload, job, part, complete=False)
            if isinstance(error, ClientDisconnect):
                return Reply(400, [])  # nobody hears it
            raise
        await run_in_threadpool(ingest.end_upload, job, part, complete=True)
        return Reply(201)

    async def _receive(self, request: Request, part: Path, zipped: str) -> None:
        """The limit is on the decompressed data (Bulk API guide: limits)."""
        unzip = _Unzip(zipped) if zipped in UNZIP else None
        size = 0
        with await run_in_threadpool(part.open, "wb") as target:
            async for data in request.stream():
                plain = unzip.more(data) if unzip else data
                size += len(plain)
                if size > self.api.settings.max_upload_bytes:
                    text = f"Job data is larger than {self.api.settings.max_upload_bytes} bytes"  # assumed
                    raise ApiError(400, "CLIENTINPUTERROR", text)
                _write(target, plain)
        if unzip:
            unzip.check_end()


class _Unzip:
    """Compressed data, piece by piece; gzip data may be several members one after the other (RFC 1952)."""

    def __init__(self, kind: str) -> None:
        self._kind, self._stream = kind, zlib.decompressobj(wbits=UNZIP[kind])
        self._begun = False

    def more(self, data: bytes) -> bytes:
        """The next piece as plain bytes. Raises 400."""
        plain = b""
        try:
            while data:
                if self._stream.eof:
                    self._stream = zlib.decompressobj(wbits=UNZIP[self._kind])
                self._begun = True
                plain += self._stream.decompress(data)
                data = self._stream.unused_data
        except zlib.error as error:
            raise ApiError(400, "CLIENTINPUTERROR", f"The data cannot be decompressed: {error}") from None
        return plain

    def check_end(self) -> None:
        """Raises 400 for data that stops in the middle."""
        if self._begun and not self._stream.eof:
            raise ApiError(400, "CLIENTINPUTERROR", f"The {self._kind} data breaks off")


def _write(target: BinaryIO, data: bytes) -> None:
    target.write(data)  # into the page cache: not worth a thread


def _read_head(request: Request) -> Call:
    raw = request.scope["raw_path"].decode("latin-1").partition("?")[0]
    # Slashes at either end mean nothing: clients end paths with one, and the Salesforce CLI begins them with two.
    parts = [unquote(part) for part in raw.strip("/").split("/")]
    query = dict(parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True))
    host, port = request.scope["server"]
    base_url = f"{request.scope['scheme']}://{request.headers.get('host') or f'{host}:{port}'}"
    headers = {k.lower(): v for k, v in request.headers.items()}
    return Call(request.method, parts, query, headers, b"", base_url)


def _check_head(scope: Scope) -> None:
    """Refuse an address, or an address with its headers, of more than 16,384 bytes (codes and texts assumed)."""
    address = len(scope["raw_path"].partition(b"?")[0]) + 1 + len(scope["query_string"])
    if address > MAX_HEAD:
        raise ApiError(414, "URI_TOO_LONG", f"The URI is longer than {MAX_HEAD} bytes")
    if address + sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEAD:
        raise ApiError(431, "REQUEST_HEADER_FIELDS_TOO_LARGE", f"URI and headers exceed {MAX_HEAD} bytes")


def _plain(body: bytes, call: Call) -> bytes:
    """Request bodies may be compressed (REST guide: Compression Headers)."""
    kind = call.headers.get("content-encoding", "").strip().lower()
    if kind not in UNZIP:
        return body
    unzip = _Unzip(kind)
    plain = unzip.more(body)
    unzip.check_end()
    return plain


def _response(reply: Reply, call: Call) -> Response:
    body = reply.body()
    headers = dict(reply.headers)
    if reply.status not in (204, 304) and body != "":
        headers["content-type"] = reply.media
    if isinstance(body, str):
        return Response(body, reply.status, headers)
    # Compressed only when gzip is asked for by that name (Bulk API 2.0 guide: Use Compression).
    accepted = [item.partition(";")[0].strip() for item in call.headers.get("accept-encoding", "").split(",")]
    pieces = (text.encode() if isinstance(text, str) else text for text in body)
    if "gzip" in accepted:
        headers["content-encoding"] = "gzip"
        return StreamingResponse(_zipped(pieces), reply.status, headers)
    return StreamingResponse(pieces, reply.status, headers)


def _zipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    squeeze = zlib.compressobj(level=1, wbits=31)
    for piece in pieces:
        if data := squeeze.compress(piece):
            yield data
    yield squeeze.flush()


async def _drain(request: Request) -> None:
    """Read what is left of a refused body, or the client sees a reset instead of the answer."""
    try:
        async for _ in request.stream():
            pass
    except (ClientDisconnect, RuntimeError):
        return  # gone, or read already


async def _read_some(request: Request) -> None:
    try:
        async for data in request.stream():
            if data:
                return
    except ClientDisconnect:
        return


async def _read_some_of(response: StreamingResponse) -> None:
    async for _ in response.body_iterator:
        return


async def _gone(receive: Receive) -> None:
    """Wait until uvicorn knows that the connection is cut, or it logs an answer that never came."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _only_first(send: Send, raw: Any) -> Send:
    """Sends the head and half of the body's first piece, then hangs up; what follows goes nowhere."""
    cut = False

    async def some(message: Message) -> None:
        nonlocal cut
        if cut:
            return
        if message["type"] == "http.response.body" and message.get("body"):
            message = {**message, "body": message["body"][: len(message["body"]) // 2], "more_body": True}
            cut = True
        await send(message)
        if cut:
            raw.__self__.transport.close()  # no reset: that could drop what the client has not read yet

    return some


def _cut(send: Any) -> None:
    """Reset the client's connection: no FIN, no bytes. uvicorn's request cycle is the owner of ``send``."""
    transport = send.__self__.transport
    plain: socket.socket | None = transport.get_extra_info("socket")
    if plain is not None:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
