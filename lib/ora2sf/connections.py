"""Connections by name: ``AIRFLOW_CONN_<ID>`` in the environment, or a private ``connections.toml``.

The environment variable holds what Airflow itself writes there, a URI or a JSON object, so the same
notebook runs under Airflow, papermill and JupyterLab without importing Airflow
(https://airflow.apache.org/docs/apache-airflow/stable/howto/connection.html).
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from ora2sf.errors import ConnectionFieldError

ENV_PREFIX = "AIRFLOW_CONN_"
FILE_VARIABLE = "ORA2SF_CONNECTIONS"
FILE_NAME = "connections.toml"
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
#: Names of extras that hold a secret. "key" counts alone or after a word that makes it one: neither
#: Airflow's ``no_host_key_check`` nor a ``key_file`` is secret.
_SECRET_NAME = re.compile(
    r"secret|passw|passphrase|passcode|pwd|token|authorization|credential"
    r"|(private|api|access|account|shared|signing|encryption|master|consumer|client|auth|storage)_?key"
    r"|keyfile_dict|^_*keys?_*$|^_*private_*$"
)
_NO_SECRET = re.compile(r"\s*(true|false|yes|no|on|off|none|null|\d{1,5})?\s*", re.IGNORECASE)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_LONG_ENOUGH = 6  # letters of a part of an address that nobody takes for a word
_PASSWORD_IN_DSN = re.compile(r"[^/@()]+/([^@()]+)@")  # user/password@host
_PROXY = re.compile(r"(https?|all)_proxy", re.IGNORECASE)
_ALLOWED = "Allowed fields: conn_type, description, host, port, schema, login, password, extra."
#: What ``extra`` may hold for Oracle (docs/connections.md). Names are those of Airflow's provider where it has one
#: (https://airflow.apache.org/docs/apache-airflow-providers-oracle/stable/connections/oracle.html), else the driver's.
ORACLE_EXTRAS = (
    "service_name", "sid", "dsn", "config_dir", "protocol", "ca_file", "wallet_location", "wallet_password",
    "ssl_server_dn_match", "ssl_server_cert_dn", "https_proxy", "https_proxy_port",
    "thick_mode", "thick_mode_lib_dir", "thick_mode_config_dir",
)  # fmt: skip
#: The same for Salesforce.
SALESFORCE_EXTRAS = ("auth", "proxy", "proxy_login", "proxy_password", "ca_file")
#: What a file that `ora2sf init` wrote holds where a value is still to come.
PLACEHOLDER = "CHANGE-ME"
_YES, _NO = {"true", "yes", "on", "1"}, {"false", "no", "off", "0", ""}


class Connection(BaseModel):
    """One named connection; the password never shows in ``repr``, ``str`` or a traceback.

    The fields are Airflow's: ``host``, ``port``, ``schema`` (here ``schema_``), ``login``, ``password``
    and free ``extra`` values.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True, hide_input_in_errors=True)

    conn_id: str
    conn_type: str = ""
    description: str = Field(default="", repr=False)
    host: str = ""
    port: int | None = Field(default=None, ge=0, le=65_535)
    schema_: str = Field(default="", alias="schema")
    login: str = ""
    password: SecretStr = SecretStr("")
    extra: dict[str, Any] = Field(default_factory=dict, repr=False)

    def need(self, field: str, meaning: str) -> str:
        """The text of a field.

        Raises:
            ConnectionFieldError: the field is empty; the message says what belongs there.
        """
        value = self.password.get_secret_value() if field == "password" else getattr(self, field)
        text = str(value or "").strip()
        if not text:
            raise ConnectionFieldError(
                f"Connection '{self.conn_id}' has no {field}: {meaning} belongs there.",
                f"Set {field} in {ENV_PREFIX}{self.conn_id.upper()} or in {FILE_NAME} under [{self.conn_id}].",
            )
        return text

    def base_url(self) -> str:
        """``scheme://host[:port]`` without a trailing slash, for an HTTP server.

        Raises:
            ConnectionFieldError: no host, no web address, or plain http to a host that is not this machine:
                the client secret would travel readable.
        """
        host = self.need("host", "the My Domain address, such as https://example.my.salesforce.com,")
        scheme = self.schema_ if self.schema_ in {"http", "https"} else "https"
        host = f"[{host}]" if "://" not in host and host.count(":") > 1 and "[" not in host else host
        try:
            parts = urlsplit(host if "://" in host else f"{scheme}://{host}")
            port = parts.port or self.port
            name = parts.hostname or ""
        except ValueError:
            name = ""
        if not name or parts.scheme not in {"http", "https"} or "@" in parts.netloc:
            raise ConnectionFieldError(
                f"The host of connection '{self.conn_id}' is not a web address.",
                "Write host like https://example.my.salesforce.com; user and password have their own fields.",
            )
        if parts.scheme == "http" and name not in _LOOPBACK:
            raise ConnectionFieldError(
                f"Connection '{self.conn_id}' uses plain http to {name}: the secret would be readable on the way.",
                "Use https:// in host; plain http is accepted for 127.0.0.1 only.",
            )
        shown = f"[{name}]" if ":" in name else name
        return f"{parts.scheme}://{shown}" + (f":{port}" if port else "")

    def text(self, name: str) -> str:
        """The text of an extra; empty if there is none."""
        value = self.extra.get(name)
        return "" if value is None else str(value).strip()

    def switch(self, name: str, *, default: bool = False) -> bool:
        """An extra that says yes or no.

        Raises:
            ConnectionFieldError: it says neither.
        """
        text = self.text(name).casefold()
        if name not in self.extra or self.extra[name] is None:
            return default
        if text in _YES | _NO:
            return text in _YES
        raise ConnectionFieldError(
            f"extra {name} of connection '{self.conn_id}' is neither true nor false.", "Write true or false."
        )

    def path(self, name: str, *, folder: bool = False) -> Path | None:
        """The file or folder that an extra names; None if it names none. A relative one begins in the project's folder.

        Raises:
            ConnectionFieldError: there is no such file or folder.
        """
        if not (text := self.text(name)):
            return None
        path = project_root() / Path(text).expanduser()
        if path.is_dir() if folder else path.is_file():
            return path
        raise ConnectionFieldError(
            f"extra {name} of connection '{self.conn_id}' names {path}, which is no {'folder' if folder else 'file'}.",
            f"Correct {name}.",
        )

    def proxy(self) -> str | None:
        """``extra.proxy`` with its user and password; ``none`` for no proxy at all; None where the environment decides.

        Raises:
            ConnectionFieldError: it is no address of a proxy, or holds the user and the password itself.
        """
        if not (text := self.text("proxy")) or text.casefold() == "none":
            return text.casefold() or None
        address = text if "://" in text else f"http://{text}"
        try:
            parts = urlsplit(address)
            sound = parts.scheme in {"http", "https"} and parts.hostname and parts.port
        except ValueError:
            sound = False
        if not sound or "@" in parts.netloc:
            raise ConnectionFieldError(
                f"extra proxy of connection '{self.conn_id}' is not the address of a proxy.",
                "Write http://host:port; its user and password are the extras proxy_login and proxy_password.",
            )
        login, password = self.text("proxy_login"), self.text("proxy_password")
        user = f"{quote(login, safe='')}:{quote(password, safe='')}@" if login else ""
        return f"{parts.scheme}://{user}{parts.netloc}"

    def secrets(self) -> Iterator[str]:
        """Every value of this connection that must not appear in an output."""
        proxy = self.text("proxy_login"), self.text("proxy_password")
        for login, password in ((self.login, self.password.get_secret_value()), proxy):
            if password:
                yield password
                yield base64.b64encode(f"{login}:{password}".encode()).decode()  # HTTP Basic
                yield from _secrets_of_address(password, secret=True)
        yield from _secrets_of_address(self.host)
        if in_dsn := _PASSWORD_IN_DSN.match(str(self.extra.get("dsn", ""))):
            yield in_dsn[1]
        for text in _secrets_in(self.extra):
            yield text
            yield from _secrets_of_address(text, secret=True)


def get_connection(conn_id: str) -> Connection:
    """The connection of that name, from the environment first, then from ``connections.toml``.

    Raises:
        ConnectionFieldError: there is none, or it cannot be read; the text never quotes its value.
    """
    found = _found(conn_id)
    if isinstance(found, ConnectionFieldError):
        raise found
    return found


def _found(conn_id: str) -> Connection | ConnectionFieldError:
    """The connection, or what is wrong with it, without its way here: a traceback may show what a frame holds."""
    try:
        return _without_secrets_in_addresses(_read_connection(conn_id))
    except ConnectionFieldError as error:
        error.__context__ = None
        return error.with_traceback(None)


def _without_secrets_in_addresses(connection: Connection) -> Connection:
    in_dsn = _PASSWORD_IN_DSN.match(str(connection.extra.get("dsn", "")))
    if "@" in connection.host or in_dsn:
        raise ConnectionFieldError(
            f"The {'dsn' if in_dsn else 'host'} of connection '{connection.conn_id}' holds a user or a password, and addresses are shown.",
            "user and password have their own fields: login and password.",
        )
    return connection


def _read_connection(conn_id: str) -> Connection:
    variable = ENV_PREFIX + conn_id.upper()
    if value := os.environ.get(variable, "").strip():
        return _from_environment(conn_id, variable, value)
    path = connections_file()
    entries = _read_file(path) if path else {}
    if conn_id in entries:
        return _build(conn_id, entries[conn_id], f"{path} [{conn_id}]")
    known = ", ".join(sorted(entries)) or "none"
    raise ConnectionFieldError(
        f"There is no connection '{conn_id}': {variable} is not set, and "
        + (f"{path} names only: {known}." if path else f"no {FILE_NAME} was found."),
        f"Export {variable} as Airflow writes it (a URI or JSON), or add [{conn_id}] to {FILE_NAME} "
        f"(its place: ${FILE_VARIABLE}, or the project's folder; mode 0600).",
    )


def connections_file() -> Path | None:
    """``$ORA2SF_CONNECTIONS``, or ``connections.toml`` in the project's folder, if it exists."""
    if named := os.environ.get(FILE_VARIABLE):
        path = Path(named).expanduser()
        if not path.is_file():
            raise ConnectionFieldError(
                f"{FILE_VARIABLE} names {path}, which is not a file.",
                f"Correct {FILE_VARIABLE}, or start the demo servers, which write theirs.",
            )
        return path
    path = project_root() / FILE_NAME
    return path if path.is_file() else None


def project_root() -> Path:
    """The project's folder: ``$ORA2SF_HOME``, or the nearest folder upwards that holds ``tables/``.

    Looked for from the working directory, then from this package, so that a notebook finds it wherever
    its kernel was started.
    """
    if named := os.environ.get("ORA2SF_HOME"):
        return Path(named).expanduser().resolve()
    for start in (Path.cwd(), Path(__file__).resolve()):
        for folder in (start, *start.parents):
            if (folder / "tables").is_dir() and (folder / "notebooks").is_dir():
                return folder
    return Path.cwd()


def known_secrets(*, strict: bool = True) -> set[str]:
    """Every secret of every connection in reach, also in the encodings in which it could show up.

    Args:
        strict: False takes what can be read, and says nothing of a file that cannot.

    Raises:
        ConnectionFieldError: the file cannot be read, or others can; only if ``strict``.
    """
    found: set[str] = set()
    for variable, value in os.environ.items():
        if _PROXY.fullmatch(variable):
            found.update(_secrets_of_address(value if "://" in value else f"http://{value}"))
        if variable.startswith(ENV_PREFIX) and (text := value.strip()):
            try:
                found.update(_from_environment(variable.removeprefix(ENV_PREFIX), variable, text).secrets())
            except ConnectionFieldError:
                found.add(text)  # another program's connection, or a broken one: nobody can use it
    for conn_id, entry in _entries(strict=strict).items():
        try:
            found.update(_build(conn_id, entry, FILE_NAME).secrets())
        except ConnectionFieldError:
            found.update(_texts_in(entry))
    plain = found | {secret.strip() for secret in found}
    return {form for secret in plain if secret for form in _encodings(secret)}


def _entries(*, strict: bool) -> dict[str, Any]:
    try:
        path = connections_file()
        return _read_file(path) if path else {}
    except ConnectionFieldError:
        if strict:
            raise
    with suppress(OSError, ValueError, ConnectionFieldError):
        if path := connections_file():
            return tomllib.loads(path.read_text(encoding="utf-8"))
    return {}


def _secrets_in(extra: Mapping[str, Any]) -> Iterator[str]:
    """Every text under a key that sounds secret, however deep it stands, but for switches and short numbers."""
    for key, value in extra.items():
        if _SECRET_NAME.search(_parts(key)):
            yield from (text for text in _texts_in(value) if not _NO_SECRET.fullmatch(text))
        elif isinstance(value, Mapping):
            yield from _secrets_in(value)


def _secrets_of_address(text: str, *, secret: bool = False) -> Iterator[str]:
    """Of a web address: its password and what its query says; if it is a secret as a whole, path and query, too.

    Error messages quote parts of an address, such as the path alone.
    """
    if not _URL.match(text):
        return
    try:
        parts = urlsplit(text)
        values = [value for _, value in parse_qsl(parts.query)]
        yield from filter(None, [parts.password, unquote(parts.password or "")])
    except ValueError:
        return
    yield from (value for value in values if len(value) >= _LONG_ENOUGH)
    if secret and len(parts.path) > _LONG_ENOUGH:
        yield parts.path
        yield from (one for one in parts.path.split("/") if len(one) >= 2 * _LONG_ENOUGH)


def _parts(name: str) -> str:
    """``apiKey``, ``API-Key`` and ``api key`` as ``api_key``."""
    return re.sub(r"[^a-z]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())


def _texts_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts_in(inner)


def _encodings(secret: str) -> Iterator[str]:
    yield secret
    yield quote(secret)
    yield quote(secret, safe="")
    yield quote_plus(secret)
    yield repr(secret)[1:-1]
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield html.escape(secret)
    yield base64.b64encode(secret.encode()).decode()
    yield base64.urlsafe_b64encode(secret.encode()).decode()


def _from_environment(conn_id: str, variable: str, value: str) -> Connection:
    if not value.lstrip().startswith("{"):
        return _build(conn_id, _parse_uri(value, variable), variable)
    try:
        entry = json.loads(value)
    except ValueError:
        raise ConnectionFieldError(
            f"{variable} starts like JSON but is not valid JSON.",
            'Write it as {"conn_type": "...", "host": "...", "login": "...", "password": "..."}.',
        ) from None
    return _build(conn_id, entry, variable)


def _parse_uri(uri: str, variable: str) -> dict[str, Any]:
    """``conn_type://login:password@host:port/schema?extra=...``, percent-encoded, as Airflow writes it.

    A host with a scheme of its own is written ``conn_type://https://login:password@host``, or percent-encoded
    as a whole: ``conn_type://login:password@https%3A%2F%2Fhost`` (Airflow's ``Connection.get_uri``).
    """
    conn_type, _, rest = uri.partition("//")
    protocol = _URL.match(rest)
    try:
        parts = urlsplit(rest if protocol else f"//{rest}")
        readable = "//" in uri and "@" not in parts.path + parts.query and not parts.fragment
        host, port = unquote(parts.hostname or ""), parts.port
    except ValueError:
        readable = False
    if not readable:
        raise ConnectionFieldError(
            f"{variable} is not a connection URI.",
            "Write conn_type://login:password@host:port/schema with special characters percent-encoded.",
        )
    entry: dict[str, Any] = {
        "conn_type": conn_type.removesuffix(":").replace("-", "_"),
        "login": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "host": f"{protocol[0]}{host}" if protocol and host else host,
        "port": port,
        "schema": unquote(parts.path.removeprefix("/")),
    }
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    entry["extra"] = query.pop("__extra__", None) or query
    return entry


def _build(conn_id: str, entry: object, where: str) -> Connection:
    if not isinstance(entry, Mapping):
        raise ConnectionFieldError(f"{where} is not a table of fields.", _ALLOWED)
    fields = {key: value for key, value in entry.items() if value is not None}
    if fields.get("port") == "":
        del fields["port"]
    try:
        if isinstance(fields.get("extra"), str):
            fields["extra"] = json.loads(fields["extra"] or "{}")
        return Connection.model_validate({"conn_id": conn_id, **fields})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False)
        )
        raise ConnectionFieldError(
            f"{where} cannot be read as a connection: {problems}.",
            _ALLOWED,
        ) from None
    except ValueError:
        raise ConnectionFieldError(
            f"extra of {where} is not valid JSON.", "Write extra as a JSON object."
        ) from None


def _read_file(path: Path) -> dict[str, Any]:
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ConnectionFieldError(
            f"{path} can be read by other users of this machine.",
            f"chmod 600 {path}",
        )
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        place = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "not UTF-8"
        raise ConnectionFieldError(f"{path} is not valid TOML: {place}.", "Correct that line.") from None
    except OSError as error:
        raise ConnectionFieldError(
            f"{path} cannot be read: {error.strerror}.", "Check the file's permissions."
        ) from None
