"""OAuth 2.0 client credentials
(https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_client_credentials_flow.htm).
"""

from __future__ import annotations

import datetime as dt
import email.utils
import re
import threading
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from ora2sf.connections import Connection, get_connection
from ora2sf.errors import AuthenticationError, ConnectionFieldError, TargetUnavailable
from ora2sf.redaction import redactor

_TIMEOUT = (10.0, 60.0)
_SHOWN = 200

#: ``error`` (and a part of ``error_description``) of a 400 → what it means and what to do.
#: https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_flow_errors.htm
_ADVICE: tuple[tuple[str, str, str, str], ...] = (
    ("invalid_client_id", "", "Salesforce does not know this consumer key", "Correct login (the consumer key); a new app needs up to ten minutes."),
    ("invalid_client", "", "the consumer secret is wrong", "Correct password (the consumer secret) of the connection."),
    ("invalid_grant", "no client credentials user", "the app has no user to run as", "In the External Client App's policies set 'Run As' to the integration user."),
    ("invalid_grant", "not supported on this domain", "this host does not give tokens", "Use the My Domain address as host, not login.salesforce.com."),
    ("unsupported_grant_type", "", "the client credentials flow is not enabled", "Tick 'Enable Client Credentials Flow' in the External Client App."),
    ("", "rate exceeded", "too many sign-ins", "Wait half an hour; one run needs one token."),
    ("", "flow not enabled", "the client credentials flow is not enabled", "Tick 'Enable Client Credentials Flow' in the External Client App."),
)  # fmt: skip


class TryAgain(TargetUnavailable):
    """One try that failed and may be repeated.

    Attributes:
        pause: seconds that the server asks to wait; 0 if it says nothing.
    """

    def __init__(self, what: str, next_step: str = "", *, pause: float = 0.0) -> None:
        super().__init__(what, next_step)
        self.pause = pause


class _Answer(dict[str, object]):
    """What a sign-in is answered; it may hold a token, or echo the secret, so it never shows."""

    def __repr__(self) -> str:
        return f"answer with {', '.join(sorted(self)) or 'nothing'}"

    __str__ = __repr__


class Token(dict[str, str]):
    """``access_token``, ``instance_url`` and ``token_type``; the token itself never shows."""

    def __repr__(self) -> str:
        return f"Token(instance_url={self.get('instance_url')!r}, access_token='***')"

    __str__ = __repr__


def get_salesforce_token(conn_id: str = "salesforce_api") -> Token:
    """A token for the connection: its host is the My Domain address, login the consumer key, password the secret.

    Raises:
        ConnectionFieldError: a field of the connection is missing, or no Salesforce answers at its host.
        AuthenticationError: Salesforce refuses (400, 401); the text says which of the reasons it is.
        TryAgain: a server error, or too many calls.
        TargetUnavailable: no answer; a wrong host is likelier than a network that comes back.
        ConnectionFieldError: also a certificate that is not trusted, and a proxy that refuses.
    """
    connection = get_connection(conn_id)
    url = connection.base_url()
    try:
        answer = _asked(connection, url)
    except requests.RequestException as error:  # raised here: a traceback may show what a frame holds
        raise no_answer(error, f"Salesforce ({conn_id}, {url})") from None
    return _read(answer, connection, url)


def _asked(connection: Connection, url: str) -> requests.Response:
    client_id = connection.need("login", "the consumer key of the External Client App")
    connection.need("password", "the consumer secret of the External Client App")
    way = surroundings(connection)
    return requests.post(
        f"{url}/services/oauth2/token",
        **_credentials(connection, client_id),
        timeout=_TIMEOUT,
        allow_redirects=False,
        proxies=way.proxies,
        verify=way.verify,
    )


def _credentials(connection: Connection, client_id: str) -> dict[str, Any]:
    form = {"grant_type": "client_credentials"}
    secret = connection.need("password", "the consumer secret of the External Client App")
    if connection.extra.get("auth") == "basic":
        return {"data": form, "auth": HTTPBasicAuth(client_id.encode(), secret.encode())}
    return {"data": form | {"client_id": client_id, "client_secret": secret}, "auth": AsSent()}


class Surroundings(NamedTuple):
    """What the connection says of the way to Salesforce; what it leaves open, the environment says.

    Attributes:
        proxies: scheme → address of the proxy, or None for no proxy whatever the environment says.
        verify: the file of authorities to trust, or True.
    """

    proxies: dict[str, Any]
    verify: bool | str

    def __repr__(self) -> str:  # the address of a proxy may hold a password
        return f"Surroundings(verify={self.verify!r})"


def surroundings(connection: Connection) -> Surroundings:
    """Proxy and authorities of a connection (docs/connections.md).

    Raises:
        ConnectionFieldError: the proxy is no address, or the file of authorities is not there.
    """
    proxy = connection.proxy()
    given = (
        {} if proxy is None else dict.fromkeys(("http", "https", "all"), None if proxy == "none" else proxy)
    )
    ca = connection.path("ca_file")
    return Surroundings(given, str(ca) if ca else True)


def way_to(connection: Connection) -> tuple[str | None, str]:
    """The proxy that calls of a connection go through, if any, and the file of authorities that they trust; both as
    ``requests`` finds them in connection and environment.
    """
    url = connection.base_url()
    given = surroundings(connection)
    with requests.Session() as session:
        found = session.merge_environment_settings(url, given.proxies, None, given.verify, None)
    proxy = requests.utils.select_proxy(url, found["proxies"])
    verify = found["verify"]
    return proxy, verify if isinstance(verify, str) else requests.utils.DEFAULT_CA_BUNDLE_PATH


def no_answer(error: requests.RequestException, who: str) -> TargetUnavailable | ConnectionFieldError:
    """The error for a sign-in that got no answer; what ``requests`` says quotes addresses, so only the cause is taken."""
    said = str(error)
    if found := re.search(r"certificate verify failed: ([^()\"]+)", said):
        return ConnectionFieldError(
            f"{who} shows a certificate that is not trusted: {found[1].strip()}.",
            "Give the authority that signed it (your proxy's, if it looks into https) as extra ca_file; "
            "check host if the names differ, and this machine's clock.",
        )
    if found := re.search(r"Tunnel connection failed: (\d{3})", said):
        step = (
            "Give proxy_login and proxy_password."
            if found[1] == "407"
            else "Ask who runs the proxy to let this host pass."
        )
        return ConnectionFieldError(f"The proxy on the way to {who} answers {found[1]}.", step)
    if isinstance(error, requests.exceptions.ProxyError):
        return TargetUnavailable(
            f"The proxy on the way to {who} does not answer.",
            "Check extra proxy of the connection, or HTTPS_PROXY and NO_PROXY of the environment.",
        )
    return TargetUnavailable(
        f"{who} does not answer: {type(error).__name__}.",
        "Check host of the connection, the network and the proxy.",
    )


class AsSent(AuthBase):
    """Leaves a request as it is: without it ``requests`` puts what ~/.netrc says of the host over our header."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:  # noqa: D102 - see AuthBase
        return request


def _read(answer: requests.Response, connection: Connection, url: str) -> Token:
    try:
        body = answer.json()
    except ValueError:
        body = {}
    body = _Answer(body if isinstance(body, dict) else {})
    if answer.status_code in {400, 401, 403} and (body.get("error") or answer.status_code == 401):
        raise _refusal(body, answer.status_code, connection, url)
    if answer.status_code >= 500 or answer.status_code in {420, 429}:
        raise TryAgain(
            f"Salesforce ({connection.conn_id}, {url}) answers {answer.status_code} to the sign-in.",
            "Try again in some minutes; status.salesforce.com shows known trouble.",
            pause=retry_after(answer),
        )
    missing = [name for name in ("access_token", "instance_url", "token_type") if not body.get(name)]
    if answer.status_code != 200 or missing:
        raise ConnectionFieldError(
            f"{url} answers {answer.status_code} without {', '.join(missing) or 'a token'}: this is no Salesforce host.",
            f"Correct host of the connection '{connection.conn_id}'.",
        )
    token = Token({name: str(body[name]) for name in ("access_token", "instance_url", "token_type")})
    _same_site(token["instance_url"], connection)
    return token


def _same_site(instance_url: str, connection: Connection) -> None:
    """The token is sent to ``instance_url``: it must not be plain http unless the connection itself is."""
    wanted, given = urlsplit(connection.base_url()).scheme, urlsplit(instance_url).scheme
    if wanted == "https" and given != "https":
        raise AuthenticationError(
            f"Salesforce answers with an instance_url that is not https ({given}).",
            "Do not use this host; check who answers there.",
        )


def _refusal(body: _Answer, status: int, connection: Connection, url: str) -> AuthenticationError:
    error, description = str(body.get("error", "")), str(body.get("error_description", ""))
    meaning, step = "the credentials are refused", "Check consumer key, secret and the policies of the app."
    for code, part, found_meaning, found_step in _ADVICE:
        if code in {"", error} and part in description:
            meaning, step = found_meaning, found_step
            break
    said = ": ".join(filter(None, (error, description))) or "no reason given"
    secret = connection.password.get_secret_value()
    # whoever answers may echo what was sent
    said = " ".join(redactor().clean(said.replace(secret, "***")).split())[:_SHOWN]
    return AuthenticationError(
        f"Salesforce ({connection.conn_id}, {url}) refuses the sign-in: {meaning} ({status}, {said}).", step
    )


class TokenSource:
    """One token for all threads of a client; a refused one is replaced once, however many threads ask.

    Once a sign-in has worked the host is right: from then on "no answer" may be tried again.

    Args:
        conn_id: the connection.
    """

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id
        self._lock = threading.Lock()
        self._token: Token | None = None

    def current(self) -> Token:
        """The token in use; the first call signs in."""
        with self._lock:
            self._token = self._token or get_salesforce_token(self._conn_id)
            return self._token

    def replace(self, refused: Token) -> Token:
        """A token other than the refused one.

        Raises:
            TryAgain: no answer, or a server error.
        """
        with self._lock:
            if self._token is refused or self._token is None:
                try:
                    self._token = get_salesforce_token(self._conn_id)
                except TryAgain:
                    raise
                except TargetUnavailable as error:
                    raise TryAgain(error.what, error.next_step) from None
            return self._token


def retry_after(answer: requests.Response) -> float:
    """Seconds of the Retry-After header: a number, or an HTTP date; 0 when there is none or it cannot be read."""
    value = answer.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        until = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max((until - dt.datetime.now(until.tzinfo)).total_seconds(), 0.0)
