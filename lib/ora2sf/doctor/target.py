"""Salesforce's side: the way to it, the sign-in, what it offers, what the run-as user may do, and what is left of its limits."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ora2sf.connections import SALESFORCE_EXTRAS, Connection, get_connection
from ora2sf.deadline import NoAnswerInTime
from ora2sf.doctor import network
from ora2sf.doctor.findings import Checklist, in_time
from ora2sf.doctor.source import usable
from ora2sf.errors import AuthenticationError, NotFoundError, Ora2sfError, TargetError
from ora2sf.fields import LookupField
from ora2sf.salesforce import API_VERSION, SalesforceClient, way_to
from ora2sf.tables import TableConfig

#: Object → its describe; None where there is none for this user.
Describes = dict[str, Mapping[str, Any] | None]
_STEPS = ("sign-in", "clock", "API version", "user", "Bulk API", "objects", "limits")
_LIMITS = {
    "DailyBulkApiBatches": "internal batches of Bulk API a day",
    "DailyBulkV2QueryJobs": "query jobs of Bulk API a day (the comparison needs some)",
    "DailyApiRequests": "API calls a day",
    "DataStorageMB": "MB of data storage (2 KB a record)",
}
_LITTLE = 0.1
_APP = "docs/connections.md says how the External Client App is made, step by step."
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def look_at_target(checks: Checklist, conn_id: str, configs: Sequence[TableConfig]) -> Describes:
    """Every check of the org; returns the describe of each object that the table files name."""
    connection = usable(checks, conn_id, SALESFORCE_EXTRAS)
    url = checks.attempt("host", connection.base_url) if connection else None
    if connection is None or url is None:
        for name in ("name", "port", *_STEPS):
            checks.skipped(name, "the connection cannot be used")
        return {}
    _domain(checks, str(urlsplit(url).hostname))
    if not _way(checks, connection, url):
        for name in _STEPS:
            checks.skipped(name, "Salesforce cannot be reached")
        return {}
    client = SalesforceClient(conn_id, attempts=2, timeout=(network.SECONDS, network.SECONDS))
    try:
        return _Org(checks, client, configs).look()
    finally:
        client.close()


def _domain(checks: Checklist, host: str) -> None:
    """Client credentials are given at the My Domain address only (help: OAuth 2.0 Client Credentials Flow)."""
    fix = "Take it from Setup > My Domain: https://NAME.my.salesforce.com, of a sandbox https://NAME--SANDBOX.sandbox.my.salesforce.com."
    if host in {"login.salesforce.com", "test.salesforce.com"}:
        checks.problem("host", f"{host} gives no token for client credentials", fix)
    elif host.endswith((".lightning.force.com", ".salesforce-setup.com", ".my.site.com")):
        checks.problem("host", f"{host} is an address for browsers", fix)
    elif host in _LOOPBACK:
        checks.ok("host", f"{host}, a server on this machine")
    elif host.endswith((".my.salesforce.com", ".my.salesforce.mil", ".my.sfcrmproducts.cn")):
        checks.ok("host", f"{host}, a My Domain address{' of a sandbox' if '.sandbox.' in host else ''}")
    else:
        checks.warning("host", f"{host} does not look like a My Domain address", fix)


def _way(checks: Checklist, connection: Connection, url: str) -> bool:
    found = checks.attempt("proxy", lambda: way_to(connection))
    if found is None:
        return False
    proxy, authorities = found
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host, port = str(parts.hostname), parts.port or (443 if secure else 80)
    carrier = urlsplit(proxy or "")
    if proxy:
        checks.ok("proxy", f"calls go through {carrier.hostname}:{carrier.port}")
    reached = (
        network.reach(checks, str(carrier.hostname), carrier.port or 80)
        if proxy
        else network.reach(checks, host, port)
    )
    if not secure:
        return reached
    if not reached or carrier.scheme == "https":
        checks.skipped(
            "TLS",
            "the proxy itself speaks https" if reached else f"{carrier.hostname or host} cannot be reached",
        )
        return reached
    context = checks.attempt("TLS", lambda: _trust(authorities))
    return context is not None and network.handshake(checks, host, port, context, proxy)


def _trust(authorities: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authorities)
    except (ssl.SSLError, OSError):
        raise TargetError(
            f"{authorities} holds no certificate in PEM form.",
            "Correct extra ca_file, or REQUESTS_CA_BUNDLE of the environment.",
        ) from None


def _objects_of(config: TableConfig) -> Iterator[str]:
    """What a table file writes to or refers to."""
    yield config.object
    if config.status:
        yield config.status.object
    yield from (spec.object for spec in config.fields if isinstance(spec, LookupField))


class _Org:
    """The checks that need a token; after an answer that did not come, the rest is not asked for."""

    def __init__(self, checks: Checklist, client: SalesforceClient, configs: Sequence[TableConfig]) -> None:
        self._checks, self._client, self._configs = checks, client, configs
        self._describes: Describes = {}

    def look(self) -> Describes:
        if self._checks.attempt("sign-in", self._sign_in) is None:
            for name in _STEPS[1:]:
                self._checks.skipped(name, "there is no token")
            return {}
        steps: dict[str, Callable[[], None]] = {
            "API version": self._version,
            "clock": self._clock,
            "user": self._user,
            "Bulk API": self._bulk,
            "objects": self._objects,
            "limits": self._limits,
        }
        for name, step in steps.items():
            try:
                in_time(step)
            except (Ora2sfError, NoAnswerInTime) as error:
                self._checks.failed(name, error)
        return self._describes

    def _sign_in(self) -> str:
        """The org's address.

        Raises:
            AuthenticationError: with where to read on.
        """
        try:
            url = self._client.instance_url
        except AuthenticationError as error:
            raise AuthenticationError(error.what, f"{error.next_step} {_APP}") from None
        conn_id = self._client.conn_id
        self._checks.ok("sign-in", f"{conn_id} gets a token; the org is {url}")
        wanted = urlsplit(get_connection(conn_id).base_url()).hostname
        if urlsplit(url).hostname not in {wanted, *_LOOPBACK}:
            self._checks.warning(
                "sign-in", f"the org answers at {url}", "Correct host: its name has changed."
            )
        return url

    def _version(self) -> None:
        offered = self._client.versions()
        if API_VERSION in offered:
            self._checks.ok("API version", f"{API_VERSION} is offered (newest: {offered[-1]})")
        else:
            newest = offered[-1] if offered else "none"
            fix = "Use a release of this project for that version, or an org that is up to date."
            self._checks.problem("API version", f"{API_VERSION} is not offered (newest: {newest})", fix)

    def _clock(self) -> None:
        network.clock(self._checks, self._client.now())

    def _user(self) -> None:
        found = self._client.user()
        name, org = found.get("preferred_username", "?"), found.get("organization_id", "?")
        self._checks.ok("user", f"calls run as {name} in the org {org}")

    def _bulk(self) -> None:
        self._client.read("/jobs/ingest", {"jobType": "V2Ingest"})
        self._checks.ok("Bulk API", "Bulk API 2.0 answers, so this user is API Enabled")

    def _objects(self) -> None:
        wanted = {name for config in self._configs for name in _objects_of(config)}
        for name in sorted(wanted):
            try:
                self._describes[name] = self._client.describe(name)
            except NotFoundError:
                self._describes[name] = None
        lacking = sorted(name for name, found in self._describes.items() if found is None)
        if lacking:
            fix = "Correct object in the table files, or give the run-as user access by a permission set."
            self._checks.problem("objects", f"not there, or hidden from this user: {', '.join(lacking)}", fix)
        else:
            self._checks.ok("objects", f"this user sees all {len(wanted)} objects that the table files name")

    def _limits(self) -> None:
        limits = self._client.limits()
        for name, meaning in _LIMITS.items():
            if name not in limits:
                self._checks.skipped(name, "the org does not tell it")
                continue
            most, left = int(limits[name]["Max"]), int(limits[name]["Remaining"])
            said = f"{left:,} left of {most:,} {meaning}"
            if left <= 0:
                self._checks.problem(
                    name, said, "Wait until it is free again (the last 24 hours count), or make room."
                )
            elif left < most * _LITTLE:
                self._checks.warning(
                    name, said, "A run pauses before it uses the reserve; let others finish first."
                )
            else:
                self._checks.ok(name, said)
