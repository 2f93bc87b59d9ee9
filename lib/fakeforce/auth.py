"""OAuth 2.0 client credentials: tokens of the org and the answers about who holds them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from datetime import timedelta
from typing import Any

from .clock import Clock, stamp
from .errors import ApiError
from .ids import record_id
from .jobs import USER_ID
from .settings import Settings
from .store import Store

ORG_ID = record_id("00D", 1)
USERNAME = "integration@example.com"


# Refusals that only a setting brings about: token_error -> (error, error_description). Texts seen; the code of
# the second and the code and status of the third are assumed.
REFUSALS = {
    "authentication-failure": ("invalid_grant", "authentication failure"),
    "flow-not-enabled": ("invalid_grant", "Client credentials flow not enabled"),
    "rate-exceeded": ("invalid_grant", "login rate exceeded"),
}


class OAuthError(Exception):
    """A refusal of the token endpoint: a JSON object, status 400 (help: OAuth 2.0 Authorization Errors)."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(f"{error}: {description}")
        self.body = {"error": error, "error_description": description}


class Auth:
    """Issues and checks tokens. They live in the store: a restart does not end a session."""

    def __init__(
        self, store: Store, clock: Clock, settings: Settings, client_id: str, client_secret: str
    ) -> None:
        self.store, self.clock, self.settings = store, clock, settings
        self.client_id, self._secret = client_id, client_secret

    def issue(self, form: dict[str, str], authorization: str, base_url: str) -> dict[str, str]:
        """A token for client id and secret, from the form or HTTP Basic. Raises OAuthError (texts seen)."""
        if self.settings.token_error:
            raise OAuthError(*REFUSALS[self.settings.token_error])
        if self.settings.wrong_domain:
            raise OAuthError("invalid_grant", "request not supported on this domain")
        if form.get("grant_type") != "client_credentials":
            raise OAuthError("unsupported_grant_type", "grant type not supported")
        self.check_client(form, authorization)
        if not self.settings.run_as_user:
            raise OAuthError("invalid_grant", "no client credentials user enabled")
        now = self.clock.now()
        token = f"{ORG_ID[:15]}!AQ{secrets.token_hex(4)}.{secrets.token_urlsafe(60).replace('-', '_')}"
        expires = stamp(now + timedelta(seconds=self.settings.expire_after))
        with self.store.transaction() as con:
            con.execute("INSERT INTO _token VALUES (?, ?)", (token, expires))
        issued_at = str(int(now.timestamp() * 1000))
        identity = f"{base_url}/id/{ORG_ID}/{USER_ID}"
        digest = hmac.new(self._secret.encode(), (identity + issued_at).encode(), hashlib.sha256).digest()
        return {
            "access_token": token,
            "signature": base64.b64encode(digest).decode(),
            "scope": "api",
            "instance_url": base_url,
            "id": identity,
            "token_type": "Bearer",
            "issued_at": issued_at,  # milliseconds, as text (documented)
        }

    def check_client(self, form: dict[str, str], authorization: str) -> None:
        """Client id and secret must be the app's. Raises OAuthError."""
        client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
        scheme, _, rest = authorization.partition(" ")
        if scheme.lower() == "basic":
            try:
                client_id, _, secret = base64.b64decode(rest, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                client_id = ""
        if not hmac.compare_digest(client_id.encode(), self.client_id.encode()):
            raise OAuthError("invalid_client_id", "client identifier invalid")
        if not hmac.compare_digest(secret.encode(), self._secret.encode()):
            raise OAuthError("invalid_client", "invalid client credentials")

    def check(self, authorization: str) -> None:
        """The token of a data call. Raises 401 (REST guide: Status Codes and Error Responses; seen)."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() in ("bearer", "oauth") and self.expiry(token) is not None:
            return
        if self.settings.expiry_form == "jwt":
            error = ApiError(401, "INVALID_AUTH_HEADER", "INVALID_JWT_FORMAT")
            error.headers["www-authenticate"] = "Token"
            raise error
        raise ApiError(401, "INVALID_SESSION_ID", "Session expired or invalid")

    def expiry(self, token: str) -> str | None:
        """When a token ends, None when it is unknown or over."""
        with self.store.reading() as con:
            row = con.execute("SELECT expires FROM _token WHERE value = ?", (token.strip(),)).fetchone()
        return row[0] if row and row[0] > stamp(self.clock.now()) else None

    def expire_all(self) -> None:
        """End every session."""
        with self.store.transaction() as con:
            con.execute("DELETE FROM _token")


def userinfo(base_url: str, now: str) -> dict[str, Any]:
    """What /services/oauth2/userinfo and the identity URL answer (OpenID Connect userinfo; keys seen)."""
    profile = f"{base_url}/{USER_ID}"
    return {
        "sub": f"{base_url}/id/{ORG_ID}/{USER_ID}",
        "id": f"{base_url}/id/{ORG_ID}/{USER_ID}",
        "asserted_user": True,
        "user_id": USER_ID,
        "organization_id": ORG_ID,
        "preferred_username": USERNAME,
        "username": USERNAME,
        "nickname": "integration",
        "display_name": "Integration User",
        "name": "Integration User",
        "email": USERNAME,
        "email_verified": True,
        "given_name": "Integration",
        "family_name": "User",
        "zoneinfo": "GMT",
        "photos": {"picture": f"{profile}/photo", "thumbnail": f"{profile}/thumbnail"},
        "profile": profile,
        "picture": f"{profile}/photo",
        "address": {"country": "TH"},
        "urls": {
            "rest": f"{base_url}/services/data/v{{version}}/",
            "sobjects": f"{base_url}/services/data/v{{version}}/sobjects/",
            "query": f"{base_url}/services/data/v{{version}}/query/",
            "custom_domain": base_url,
        },
        "active": True,
        "user_type": "STANDARD",
        "language": "en_US",
        "locale": "en_US",
        "utcOffset": 0,
        "updated_at": now,
        "is_app_installed": True,
    }
