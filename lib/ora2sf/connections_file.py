"""Writes a private ``connections.toml`` with a comment for each key; on a terminal it asks for the values."""

from __future__ import annotations

import os
import re
import secrets
import sys
import tomllib
from collections.abc import Callable, Iterator
from getpass import getpass
from pathlib import Path
from typing import NamedTuple

from ora2sf.connections import FILE_NAME, FILE_VARIABLE, PLACEHOLDER, Connection, project_root
from ora2sf.drafting import quoted
from ora2sf.errors import ConnectionFieldError

_HEAD = """\
# Connections of ora2sf: who it signs in to. docs/connections.md explains every key, step by step.
# This file holds secrets: mode 0600, never in git. A variable AIRFLOW_CONN_<NAME> of the environment comes before it.
"""
_ORACLE = """\
[{name}]
conn_type = "oracle"
host = {host}  # of the database's listener
port = {port}
schema = {service}  # the service name, not the SID
login = {login}  # a user that may only read
password = {password}

[{name}.extra]  # take the # away from what you need
# sid = "XE"                                  # instead of the service name, for an old listener
# dsn = "SALES"                               # instead of host, port and schema: a name in tnsnames.ora, or a whole descriptor
# config_dir = "/etc/oracle"                  # folder of tnsnames.ora
# service_name = "SALES"                      # the same as schema; Airflow writes it here
# protocol = "tcps"                           # TLS; the port is then usually 2484
# ca_file = "/etc/ssl/company-ca.pem"         # who signed the server's certificate, if it is your own authority
# wallet_location = "/etc/oracle/wallet"      # folder of ewallet.pem: authorities, and your certificate if the database wants one
# wallet_password = "..."                     # of ewallet.pem
# ssl_server_dn_match = true                  # false does not compare the server's name with its certificate
# ssl_server_cert_dn = "CN=db.example.com"    # the name in the certificate, if it is not the host
# https_proxy = "proxy.example.com"           # for tcps alone
# https_proxy_port = 3128
# thick_mode = true                           # where the driver's Thin mode does not do: native network encryption (DPY-3001),
#                                             # old password verifiers (DPY-3015), databases before 12.1 (DPY-3010)
# thick_mode_lib_dir = "/opt/instantclient"   # folder of Oracle Instant Client
# thick_mode_config_dir = "/etc/oracle"       # folder of sqlnet.ora and tnsnames.ora for the Thick mode
"""
_SALESFORCE = """\
[{name}]
conn_type = "http"
host = {host}  # My Domain, such as https://example.my.salesforce.com; of a sandbox https://example--uat.sandbox.my.salesforce.com
login = {login}  # consumer key of the External Client App
password = {password}  # its consumer secret

[{name}.extra]  # take the # away from what you need
{proxy}  # without it HTTPS_PROXY and NO_PROXY of the environment count; "none" for no proxy at all
{proxy_login}
{proxy_password}
{ca_file}  # who signed the certificate that you see: your own authority, or a proxy that looks into https
# auth = "basic"                              # sends key and secret in a header instead of the form
"""


class _Question(NamedTuple):
    """One value: where it goes, what is asked, and what stands there without an answer.

    Attributes:
        check: raises ConnectionFieldError for an answer that cannot be used.
    """

    key: str
    text: str
    default: str = ""
    secret: bool = False
    check: Callable[[str], object] = str


def _is_port(text: str) -> None:
    if not text.isdecimal() or not 0 < int(text) < 65_536:
        raise ConnectionFieldError("That is no port.", "Write a number from 1 to 65535.")


def _is_domain(text: str) -> None:
    Connection(conn_id="it", host=text).base_url()


def _is_proxy(text: str) -> None:
    Connection(conn_id="it", extra={"proxy": text}).proxy()


def _is_file(text: str) -> None:
    Connection(conn_id="it", extra={"ca_file": text}).path("ca_file")


_OF_ORACLE = (
    _Question("host", "Oracle: host of the listener"),
    _Question("port", "Oracle: port", "1521", check=_is_port),
    _Question("service", "Oracle: service name"),
    _Question("login", "Oracle: user"),
    _Question("password", "Oracle: password (not shown)", secret=True),
)
_OF_SALESFORCE = (
    _Question("host", "Salesforce: My Domain address (https://….my.salesforce.com)", check=_is_domain),
    _Question("login", "Salesforce: consumer key of the External Client App"),
    _Question("password", "Salesforce: consumer secret (not shown)", secret=True),
)
#: What most networks do without.
_OF_NETWORK = (
    _Question(
        "proxy", "Proxy for Salesforce, http://host:port (empty: what the environment says)", check=_is_proxy
    ),
    _Question("proxy_login", "Proxy: user (empty: none)"),
    _Question("proxy_password", "Proxy: password (not shown)", secret=True),
    _Question("ca_file", "File of your own certificate authority for https (empty: none)", check=_is_file),
)
_EXAMPLES = {
    "proxy": "http://proxy.example.com:3128",
    "proxy_login": "me",
    "proxy_password": "...",
    "ca_file": "/etc/ssl/company-ca.pem",
}


def write_connections(path: Path | None, conn_ids: tuple[str, str], *, force: bool) -> tuple[Path, bool]:
    """Writes the file; returns where it is, and whether it holds real values (a terminal was there to ask).

    Args:
        path: where to; by default where connections are looked for.
        conn_ids: names of the source's connection and of the org's.
        force: replace a file that is there.

    Raises:
        ConnectionFieldError: the file is there and not to be replaced, holds other connections, or cannot be written.
    """
    place = path or Path(os.environ.get(FILE_VARIABLE) or project_root() / FILE_NAME).expanduser()
    if place.exists() or place.is_symlink():
        _replaceable(place, conn_ids, force=force)
    asks = sys.stdin.isatty() and sys.stdout.isatty()
    text = _asked(conn_ids) if asks else template(conn_ids)
    _write(place, text, force=force)
    return place.absolute(), asks


def template(conn_ids: tuple[str, str]) -> str:
    """The file with placeholders for every value."""
    return _filled(
        conn_ids,
        *({question.key: "" for question in group} for group in (_OF_ORACLE, _OF_SALESFORCE, _OF_NETWORK)),
    )


def _replaceable(path: Path, conn_ids: tuple[str, str], *, force: bool) -> None:
    if not force:
        raise ConnectionFieldError(
            f"{path} exists, and is not overwritten.",
            "Edit it, write another file with --file, or give --force, which keeps nothing of it. `ora2sf doctor` checks it as it is.",
        )
    try:
        others = sorted(set(tomllib.loads(path.read_text(encoding="utf-8"))) - set(conn_ids))
    except (OSError, ValueError):
        others = []
    if others:
        raise ConnectionFieldError(
            f"{path} also holds {', '.join(others)}, which would be lost.",
            "Edit it by hand, move these connections elsewhere first, or write another file with --file.",
        )


def _asked(conn_ids: tuple[str, str]) -> str:
    print("Values for connections.toml; Ctrl-C ends without writing. Secrets are not shown while you type.")
    oracle, salesforce = ({q.key: _answer(q) for q in group} for group in (_OF_ORACLE, _OF_SALESFORCE))
    network: dict[str, str] = {}
    for question in _OF_NETWORK:
        needed = {"proxy_login": "proxy", "proxy_password": "proxy_login"}.get(question.key)
        network[question.key] = _answer(question, needed=False) if not needed or network[needed] else ""
    return _filled(conn_ids, oracle, salesforce, network)


def _answer(question: _Question, *, needed: bool = True) -> str:
    """A value that passes its check; asked again until it does."""
    prompt = f"{question.text}{f' [{question.default}]' if question.default else ''}: "
    while True:
        try:
            text = (getpass(prompt) if question.secret else input(prompt)).strip() or question.default
        except EOFError:
            raise ConnectionFieldError(
                "The answers ended early; nothing was written.", "Run it again."
            ) from None
        if not text and needed:
            print("  A value is needed.")
            continue
        try:
            if text:
                question.check(text)
        except ConnectionFieldError as error:
            print(f"  {error.what} {error.next_step}")
            continue
        return text


def _filled(
    conn_ids: tuple[str, str], oracle: dict[str, str], salesforce: dict[str, str], network: dict[str, str]
) -> str:
    names = [name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else quoted(name) for name in conn_ids]
    extras = dict(_extras(network))
    return "\n".join(
        (
            _HEAD,
            _ORACLE.format(name=names[0], **_values(oracle) | {"port": oracle["port"] or "1521"}),
            _SALESFORCE.format(name=names[1], **_values(salesforce), **extras),
        )
    )


def _values(answers: dict[str, str]) -> dict[str, str]:
    return {key: quoted(text or PLACEHOLDER) for key, text in answers.items()}


def _extras(answers: dict[str, str]) -> Iterator[tuple[str, str]]:
    for key, text in answers.items():
        yield key, f"{key} = {quoted(text)}" if text else f"# {key} = {quoted(_EXAMPLES[key])}"


def _write(path: Path, text: str, *, force: bool) -> None:
    """The file appears whole and private, or not at all; without ``force`` it never takes another one's place."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(
            os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if force:
            part.replace(path)
        else:
            path.hardlink_to(part)
    except FileExistsError:
        raise ConnectionFieldError(
            f"{path} exists now, and is not overwritten.", "Give another --file."
        ) from None
    except OSError as error:
        raise ConnectionFieldError(
            f"{path} cannot be written: {error.strerror}.", "Check that its folder exists and its rights."
        ) from None
    finally:
        part.unlink(missing_ok=True)
