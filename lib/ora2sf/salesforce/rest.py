"""One call to Salesforce: send, answer, error, retry; and the small reads that everybody needs."""

from __future__ import annotations

import datetime as dt
import email.utils
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from typing import Any, NoReturn, Protocol
from urllib.parse import quote, urlsplit

import requests
import tenacity
from requests.adapters import HTTPAdapter

from ora2sf.connections import get_connection
from ora2sf.errors import NotFoundError, TargetError, TargetUnavailable
from ora2sf.salesforce.auth import AsSent, Token, TokenSource, TryAgain, retry_after, surroundings

API_VERSION = "v66.0"
_POOL = 32
_HEADERS = dict(requests.utils.default_headers())
_BLOCK = 1 << 20
_TRANSIENT = {420, 429, 500, 502, 503, 504}
_LONGEST_WAIT = 60.0
#: Most bytes of a query in an address: address and headers together may have 16,384 (REST API guide: Status Codes).
_LONGEST_QUERY = 8_000
#: Most records that one call retrieves by Id (REST API guide: Get Records Using sObject Collections).
_MOST_RETRIEVED = 2_000

#: Salesforce's error code → what to do.
_ADVICE = {
    "INVALID_TYPE": "Check the object's API name, and that the run-as user may see it.",
    "INVALID_FIELD": "Check the field's API name, and that the run-as user may see it (field-level security).",
    "NOT_FOUND": "Check the API names of object and external id field, and that the run-as user may see them.",
    "API_DISABLED_FOR_ORG": "Give the run-as user the permission 'API Enabled'.",
    "INSUFFICIENT_ACCESS": "Give the run-as user access to the object and its fields.",
    "FEATURENOTENABLED": "Enable Bulk API 2.0 for the run-as user ('API Enabled').",
    "INVALIDENTITY": "Check the object's API name, and that the run-as user may see it.",
    "INVALID_SESSION_ID": "Sign-in works but the call is refused: check the run-as user's session policies and API access.",
    "INVALID_AUTH_HEADER": "Sign-in works but the call is refused: check the app's token settings and the run-as user's API access.",
}
_ID = re.compile(r"[A-Za-z0-9]{15}([A-Za-z0-9]{3})?")
_NO_ADVICE = "Look the code up in the REST API Developer Guide, correct, and run again."
_SEVERAL = "The external id names more than one record: merge them, or make the field unique."
_MOVED = "The org's address has moved: correct host of the connection, then run again."


class Body(Protocol):
    """A request body that is streamed."""

    def __len__(self) -> int: ...
    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes."""

    def close(self) -> None:
        """Ends the reading."""


class SalesforceClient:
    """Calls one org as one connection; threads share it.

    Args:
        conn_id: name of the connection.
        api_version: such as ``v66.0``.
        attempts: how often a call is tried that may succeed later.
        first_wait: seconds before the second try; each further one waits about twice as long.

    Attributes:
        stop: set it, and threads that wait between two tries give up at once.
        calls: requests that were sent, each of which the org counts.
        api_usage: name → used and allowed, as the last answer said.
    """

    def __init__(
        self,
        conn_id: str = "salesforce_api",
        *,
        api_version: str = API_VERSION,
        attempts: int = 6,
        first_wait: float = 0.5,
        timeout: tuple[float, float] = (10.0, 600.0),
    ) -> None:
        self.conn_id, self.api_version = conn_id, api_version
        self._tokens = TokenSource(conn_id)
        self._timeout, self._attempts, self._first_wait = timeout, attempts, first_wait
        self._session = requests.Session()
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, _Adapter(pool_connections=4, pool_maxsize=_POOL))
        self.stop = threading.Event()
        self._environment_lock = threading.Lock()
        self._environment: dict[str, Any] | None = None
        self._usage_lock = threading.Lock()
        self.api_usage: dict[str, tuple[int, int]] = {}
        self.calls = 0
        self._heard: tuple[dt.datetime, float] | None = None

    def close(self) -> None:
        """Closes the pooled connections."""
        self._session.close()

    @property
    def instance_url(self) -> str:
        """The org's address; the first use signs in."""
        return self._tokens.current()["instance_url"]

    def now(self) -> dt.datetime:
        """The org's time: that of its last answer, and what has passed since; before the first one this machine's."""
        with self._usage_lock:
            heard = self._heard
        if heard is None:
            return dt.datetime.now(dt.UTC)
        return heard[0] + dt.timedelta(seconds=time.monotonic() - heard[1])

    def send(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        body: Callable[[], Body] | None = None,
        headers: dict[str, str] | None = None,
        params: dict[str, str] | None = None,
        repeat: bool = True,
        stream: bool = False,
    ) -> requests.Response:
        """Sends one request and returns an answer that is not an error.

        Args:
            path: below ``/services/data/vNN.0``, or from the host's root if it starts with ``/services``.
            body: opens the request's body; called once for each try.
            repeat: the call may be sent again when its outcome is not known.
            stream: leave the answer's body on the wire.

        Raises:
            TargetUnavailable: no answer after all tries; :class:`TryAgain` after the only one, if not ``repeat``.
            NotFoundError: 404.
            TargetError: any other refusal.
        """

        def once() -> requests.Response:
            return self._once(
                method, path, json=json, body=body, headers=headers, params=params, stream=stream
            )

        return self.retrying()(once) if repeat else once()

    def read(self, path: str, params: dict[str, str] | None = None, *, exact: bool = False) -> Any:
        """The JSON that a GET answers.

        Args:
            exact: numbers become decimals, digit for digit.

        Raises:
            TargetError: the answer is something else, such as the page of a proxy.
        """
        return self.parsed(self.send("GET", path, params=params), exact=exact)

    @staticmethod
    def parsed(answer: requests.Response, *, exact: bool = False) -> Any:
        """The JSON of an answer; see :meth:`read`."""
        try:
            return answer.json(parse_float=Decimal, parse_int=Decimal) if exact else answer.json()
        except ValueError:
            kind = answer.headers.get("Content-Type", "unknown type")
            raise TargetError(
                f"{urlsplit(answer.url).netloc} answers {answer.status_code} with {kind} where JSON was expected.",
                "Something between here and Salesforce answers in its place: check the proxy.",
                status=answer.status_code,
            ) from None

    def retrying(self, attempts: int | None = None) -> tenacity.Retrying:
        """Repeats a call that raises :class:`TryAgain`, after growing pauses or the one that the server asks for.

        Raises:
            TargetUnavailable: the last try failed as well, or :attr:`stop` was set.
        """
        grown = tenacity.wait_exponential(multiplier=self._first_wait, max=_LONGEST_WAIT)
        backoff = grown + tenacity.wait_random(0, self._first_wait)

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.pause if isinstance(error, TryAgain) else 0.0
            return max(float(backoff(state)), min(asked, _LONGEST_WAIT))

        return tenacity.Retrying(
            stop=tenacity.stop_after_attempt(attempts or self._attempts),
            wait=wait,
            sleep=self._sleep,
            retry=tenacity.retry_if_exception_type(TryAgain),
            retry_error_callback=_give_up,
        )

    def _sleep(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise TargetUnavailable(
                "The run was stopped while Salesforce was not available.",
                "Run again with the same run_id: it goes on where it stopped.",
            )

    def _once(self, method: str, path: str, **request: Any) -> requests.Response:
        token = self._tokens.current()
        answer = self._exchange(token, method, path, **request)
        if answer.status_code == 401:  # expired in either form: one new token, the request once more
            answer.close()
            token = self._tokens.replace(token)
            answer = self._exchange(token, method, path, **request)
        self._note_usage(answer.headers)
        if answer.status_code >= 300:
            with _no_leak(method, path, token["instance_url"]):  # a streamed answer is read only now
                raise self._error(answer, method, path)
        return answer

    def _exchange(self, token: Token, method: str, path: str, **request: Any) -> requests.Response:
        try:
            return self._sent(token, method, path, **request)
        except (
            requests.RequestException
        ) as error:  # raised here: a traceback may show the headers that a frame holds
            raise _no_answer(error, method, path, token["instance_url"]) from None

    def _sent(
        self,
        token: Token,
        method: str,
        path: str,
        *,
        json: object,
        body: Callable[[], Body] | None,
        headers: dict[str, str] | None,
        params: dict[str, str] | None,
        stream: bool,
    ) -> requests.Response:
        root = "" if path.startswith("/services") else f"/services/data/{self.api_version}"
        url = token["instance_url"] + root + path
        headers = {**_HEADERS, "Authorization": f"Bearer {token['access_token']}", **(headers or {})}
        data = body() if body else None
        with self._usage_lock:
            self.calls += 1
        try:
            # to the adapter itself: a session's cookies, redirects (a PUT would become a GET) and hooks are not
            # wanted, and cost more than the call; a body with read and a length is streamed
            prepared = requests.PreparedRequest()
            prepared.prepare(method, url, headers=headers, data=data, json=json, params=params, auth=AsSent())
            answer = self._session.get_adapter(url).send(
                prepared,
                stream=stream,
                timeout=self._timeout,
                **self._surroundings(token["instance_url"]),
            )
            if not stream:
                _ = answer.content  # read now: the connection is free for the next call
            return answer
        finally:
            if data is not None:
                data.close()

    def _surroundings(self, url: str) -> dict[str, Any]:
        """Proxy and certificates that connection and environment name, read once: to read them before each call costs more than the call."""
        with self._environment_lock:
            if self._environment is None:
                way = surroundings(get_connection(self.conn_id))
                found = self._session.merge_environment_settings(url, way.proxies, None, way.verify, None)
                self._environment = {name: found[name] for name in ("proxies", "verify", "cert")}
                self._session.trust_env = False
            return self._environment

    def _error(self, answer: requests.Response, method: str, path: str) -> TargetError | TargetUnavailable:
        code, message = _error_body(answer)
        said = f"{code}: {message}" if code else (message or "no reason given")
        what = f"Salesforce answers {answer.status_code} to {method} {path.split('?', maxsplit=1)[0]}: {said}"
        if answer.status_code in _TRANSIENT or code in {"REQUEST_LIMIT_EXCEEDED", "SERVER_UNAVAILABLE"}:
            later = "Run again later with the same run_id: it goes on where it stopped."
            return TryAgain(what, later, pause=retry_after(answer))
        kind = NotFoundError if answer.status_code == 404 else TargetError
        step = _ADVICE.get(code, _NO_ADVICE)
        if 300 <= answer.status_code < 400:
            step = _SEVERAL if answer.status_code == 300 else _MOVED
        return kind(what, step, status=answer.status_code, error_code=code)

    def _note_usage(self, headers: Mapping[str, str]) -> None:
        """``api-usage=18/5000; api-bursts=1/750``: used and allowed calls of the last 24 hours; and the org's time."""
        found = re.findall(r"([\w-]+)=(\d+)/(\d+)", headers.get("Sforce-Limit-Info", ""))
        with self._usage_lock:
            self.api_usage |= {name: (int(used), int(allowed)) for name, used, allowed in found}
            with suppress(ValueError):  # no time, or one that is not of HTTP
                told = email.utils.parsedate_to_datetime(headers.get("Date", ""))
                self._heard = told.astimezone(dt.UTC), time.monotonic()

    # small reads

    def user(self) -> dict[str, Any]:
        """Who the token belongs to (``/services/oauth2/userinfo``)."""
        answer: dict[str, Any] = self.read("/services/oauth2/userinfo")
        return answer

    def limits(self) -> dict[str, dict[str, int]]:
        """The org's limits: name → ``Max`` and ``Remaining``."""
        answer: dict[str, dict[str, int]] = self.read("/limits")
        return answer

    def describe(self, sobject: str) -> dict[str, Any]:
        """The object as the run-as user sees it; a missing field may be hidden from that user."""
        answer: dict[str, Any] = self.read(f"/sobjects/{quote(sobject, safe='')}/describe")
        return answer

    def objects(self) -> dict[str, str]:
        """The objects that the run-as user sees: API name → label."""
        return {str(one["name"]): str(one["label"]) for one in self.read("/sobjects")["sobjects"]}

    def versions(self) -> list[str]:
        """The API versions that the org offers, such as ``v66.0``, oldest first."""
        return [f"v{one['version']}" for one in self.read("/services/data")]

    def count(self, sobject: str) -> int:
        """``SELECT COUNT() FROM`` the object."""
        answer = self.read("/query", {"q": f"SELECT COUNT() FROM {sobject}"})
        return int(answer["totalSize"])

    def existing(
        self, sobject: str, field: str, values: Iterable[str], *, since: dt.datetime | None = None
    ) -> Iterator[str]:
        """Those of the values that a record's field has, as the org writes them; asked in as few calls as the address allows.

        Args:
            since: of records that were created then or later (UTC, whole seconds) alone.
        """
        yield from (str(record[field]) for record in self.records(sobject, [field], field, values, since))

    def ids(self, sobject: str, field: str, values: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Value, as the org writes it, and Id of the records whose field has one of the values."""
        found = self.records(sobject, ["Id", field], field, values)
        yield from ((str(record[field]), str(record["Id"])) for record in found)

    def retrieve(
        self, sobject: str, ids: Sequence[str], fields: Sequence[str]
    ) -> Iterator[dict[str, Any] | None]:
        """The records with these Ids, in their order; None for one that is gone.

        https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_composite_sobjects_collections_retrieve.htm
        """
        path = f"/composite/sobjects/{quote(sobject, safe='')}"
        for begin in range(0, len(ids), _MOST_RETRIEVED):
            wanted = {"ids": list(ids[begin : begin + _MOST_RETRIEVED]), "fields": list(fields)}
            yield from self.parsed(self.send("POST", path, json=wanted))

    def records(
        self,
        sobject: str,
        fields: Sequence[str],
        field: str,
        values: Iterable[str],
        since: dt.datetime | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Those records whose ``field`` has one of the values; numbers as decimals, fields of a parent in a dict of theirs."""
        created = f"CreatedDate >= {since:%Y-%m-%dT%H:%M:%SZ} AND " if since else ""
        begin = f"SELECT {','.join(fields)} FROM {sobject} WHERE {created}{field} IN ("
        for listed in _fitting(map(soql_text, values), _LONGEST_QUERY - len(quote(begin)) - 1):
            yield from self.query(f"{begin}{','.join(listed)})")

    def query(self, soql: str) -> Iterator[dict[str, Any]]:
        """The records of a SOQL query, page after page; numbers as decimals."""
        page = self.read("/query", {"q": soql}, exact=True)
        while True:
            yield from page["records"]
            if page["done"]:
                break
            page = self.read(page["nextRecordsUrl"], exact=True)


def job_id_in(answer: Mapping[str, Any]) -> str:
    """The Id of a job that Salesforce answers; files are named after it, so nothing else may come through.

    Raises:
        TargetError: it is no Id.
    """
    found = str(answer.get("id", ""))
    if not _ID.fullmatch(found):
        raise TargetError(
            f"Salesforce answers with a job whose Id is none: {found[:40]!r}.",
            "Something between here and Salesforce answers in its place: check the proxy.",
        )
    return found


def soql_text(value: str) -> str:
    """A text as SOQL writes it (SOQL guide: Quoted String Escape Sequences)."""
    for plain, written in (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        value = value.replace(plain, written)
    return f"'{value}'"


def _fitting(texts: Iterable[str], most: int) -> Iterator[list[str]]:
    """The texts in lists that have at most so many bytes in an address, a comma between two of them."""
    held: list[str] = []
    size = 0
    for text in texts:
        needed = len(quote(f"{text},", safe=""))
        if held and size + needed > most:
            yield held
            held, size = [], 0
        held.append(text)
        size += needed
    if held:
        yield held


def _give_up(state: tenacity.RetryCallState) -> NoReturn:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, TryAgain):
        raise TargetUnavailable(error.what, error.next_step)
    raise AssertionError("only TryAgain is tried again")


class _Adapter(HTTPAdapter):
    """Sends bodies in blocks of 1 MiB instead of 16 KiB: a quarter less processor time for large uploads."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, blocksize=_BLOCK, **kwargs)


@contextmanager
def _no_leak(method: str, path: str, host: str) -> Iterator[None]:
    """The errors of ``requests`` quote addresses with their query: say the same without it."""
    try:
        yield
    except requests.RequestException as error:
        raise _no_answer(error, method, path, host) from None


def _no_answer(error: requests.RequestException, method: str, path: str, host: str) -> TryAgain:
    return TryAgain(
        f"No answer from {host} to {method} {path.split('?', maxsplit=1)[0]}: {type(error).__name__}.",
        "Check the network, then run again with the same run_id: it goes on where it stopped.",
    )


def _error_body(answer: requests.Response) -> tuple[str, str]:
    """``errorCode`` and ``message`` of an answer; Salesforce sends an array, an object, or HTML."""
    try:
        body = answer.json()
    except ValueError:
        return "", f"{answer.headers.get('Content-Type', 'unknown type')}, {len(answer.content)} bytes"
    first = body[0] if isinstance(body, list) and body else body
    if not isinstance(first, dict):
        return "", "no reason given"
    message = str(first.get("message") or first.get("error_description") or "").strip()
    return str(first.get("errorCode") or first.get("error") or ""), " ".join(message.split())
