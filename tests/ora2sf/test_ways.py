"""The ways to both servers that a company's network asks for: proxies, its own authorities, wallets, aliases, Thick mode."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from proxy import proxy
from pydantic import SecretStr
from staged import KEY, SECRET

from fakeforce import Org
from fakeforce import serve as serve_org
from fakeoracle import serve as serve_oracle
from ora2sf.connections import Connection, get_connection, known_secrets
from ora2sf.errors import ConnectionFieldError, TargetUnavailable
from ora2sf.oracle import Address, OracleSource, addresses
from ora2sf.salesforce import SalesforceClient, get_salesforce_token

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "lib" / "ora2sf_demo" / "org"
PASSWORD = "canary-oracle-5a1e"
PROXY_PASSWORD = "canary/proxy+6d20"
Connect = Callable[..., None]


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def secure() -> Iterator[Org]:
    with serve_org(schema=SCHEMA, client_id=KEY, client_secret=SECRET, tls=True) as found:
        yield found


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with serve_oracle(users={"TMS": PASSWORD}, tls=tmp_path_factory.mktemp("tls")) as found:
        yield found


@pytest.fixture
def oracle(encrypted: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Connection]:
    def hand_over(**extra: Any) -> Connection:
        fields = {"host": "localhost", "port": encrypted.port, "schema": "FREEPDB1", "login": "TMS"}
        fields |= {"password": PASSWORD, "extra": {"protocol": "tcps"} | extra}
        monkeypatch.setenv("AIRFLOW_CONN_ORACLE_TMS", json.dumps(fields))
        return get_connection("oracle_tms")

    return hand_over


def refused(kind: type[Exception], call: Callable[[], object]) -> str:
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    assert "Next step: " in text
    assert not [secret for secret in (SECRET, PASSWORD, PROXY_PASSWORD) if secret in text]
    return text


# Salesforce


def test_the_sign_in_and_every_call_go_through_the_proxy_that_the_connection_names(
    org: Org, connect: Connect, client: SalesforceClient
) -> None:
    with proxy() as way:
        connect(org.url, extra={"proxy": way.url})
        client.limits()
        client.close()
    assert [line.partition(" ")[0] for line in way.seen] == ["POST", "GET"]


def test_https_goes_through_the_proxy_as_a_tunnel_and_its_own_authority_is_trusted(
    secure: Org, connect: Connect, client: SalesforceClient
) -> None:
    with proxy(login=f"me:{PROXY_PASSWORD}") as way:
        extra = {"proxy": way.url, "proxy_login": "me", "proxy_password": PROXY_PASSWORD}
        connect(secure.url, extra=extra | {"ca_file": str(secure.ca_file)})
        client.limits()
        client.close()
    assert set(way.seen) == {f"CONNECT {secure.url.removeprefix('https://')}"}


def test_a_proxy_that_wants_a_password_says_so_and_ours_is_not_shown(secure: Org, connect: Connect) -> None:
    with proxy(login="me:another") as way:
        extra = {"proxy": way.url, "proxy_login": "me", "proxy_password": PROXY_PASSWORD}
        connect(secure.url, extra=extra)
        assert PROXY_PASSWORD in known_secrets()
        text = refused(ConnectionFieldError, get_salesforce_token)
    assert "answers 407" in text
    assert "proxy_login" in text


def test_a_proxy_where_nothing_listens_is_named_as_the_proxy(secure: Org, connect: Connect) -> None:
    with proxy() as gone:
        pass
    connect(secure.url, extra={"proxy": gone.url})
    assert "The proxy on the way" in refused(TargetUnavailable, get_salesforce_token)


def test_none_leaves_the_environments_proxy_out(
    org: Org, connect: Connect, client: SalesforceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy() as gone:
        pass
    monkeypatch.setenv("HTTP_PROXY", gone.url)
    monkeypatch.setenv("ALL_PROXY", gone.url)
    connect(org.url, extra={"proxy": "none"})
    client.limits()


def test_without_its_authority_a_certificate_is_refused_with_the_extra_to_set(
    secure: Org, connect: Connect
) -> None:
    connect(secure.url)
    text = refused(ConnectionFieldError, get_salesforce_token)
    assert "certificate that is not trusted: unable to get local issuer certificate" in text
    assert "ca_file" in text


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"proxy": "http://me:secret@proxy.example:3128"}, "proxy_password"),
        ({"proxy": "proxy.example"}, "Write http://host:port"),
        ({"proxy": "ftp://proxy.example:1"}, "Write http://host:port"),
        ({"ca_file": "no/such.pem"}, "names"),
    ],
)
def test_an_extra_that_cannot_be_used_is_named(connect: Connect, extra: dict[str, str], said: str) -> None:
    connect("https://example.my.salesforce.com", extra=extra)
    assert said in refused(ConnectionFieldError, get_salesforce_token)


# Oracle


def test_an_authority_in_a_file_is_trusted_for_tcps(
    oracle: Callable[..., Connection], encrypted: Any
) -> None:
    with OracleSource(oracle(ca_file=str(encrypted.ca_file))) as source:
        assert source.info().service == f"tcps://localhost:{encrypted.port}/FREEPDB1"


def test_an_authority_in_a_wallet_is_trusted_and_tnsnames_ora_says_where_to_go(
    oracle: Callable[..., Connection], encrypted: Any, tmp_path: Path
) -> None:
    (tmp_path / "ewallet.pem").write_bytes(encrypted.ca_file.read_bytes())
    address = f"(ADDRESS=(PROTOCOL=tcps)(HOST=localhost)(PORT={encrypted.port}))"
    (tmp_path / "tnsnames.ora").write_text(
        f"SALES=(DESCRIPTION={address}(CONNECT_DATA=(SERVICE_NAME=FREEPDB1)))"
    )
    connection = oracle(dsn="SALES", config_dir=str(tmp_path), wallet_location=str(tmp_path))
    assert addresses(connection) == [Address("localhost", encrypted.port, tls=True)]
    with OracleSource(connection) as source:
        assert source.count("SELECT 1 FROM DUAL") == 1


@pytest.mark.filterwarnings("ignore:unclosed", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({}, "as extra ca_file"),
        ({"ca_file": str(ROOT / "README.md")}, "no certificate in PEM form"),
        ({"wallet_location": str(ROOT)}, "ewallet.pem"),
        ({"wallet_location": "no/such"}, "is no folder"),
        ({"ssl_server_dn_match": "perhaps"}, "neither true nor false"),
        ({"protocol": "http"}, "Write tcp or tcps"),
        ({"https_proxy_port": "many"}, "is no port"),
        ({"dsn": "SALES", "config_dir": str(ROOT)}, "tnsnames.ora"),
        ({"ca_file": str(ROOT / "README.md"), "thick_mode": True}, "only the Thin mode reads"),
    ],
)
def test_what_cannot_be_trusted_or_read_is_named_with_the_extra_to_set(
    oracle: Callable[..., Connection], extra: dict[str, Any], said: str
) -> None:
    assert said in refused(ConnectionFieldError, lambda: OracleSource(oracle(**extra)))


def test_a_sid_and_the_port_of_each_protocol_are_understood() -> None:
    def place(**extra: str) -> list[Address]:
        return addresses(Connection(conn_id="x", host="db", extra=extra))

    assert place(sid="XE") == [Address("db", 1521, tls=False)]
    assert place(service_name="X", protocol="tcps") == [Address("db", 2484, tls=True)]


_THICK = """
from ora2sf.connections import get_connection
from ora2sf.errors import ConnectionFieldError
from ora2sf.oracle import OracleSource
try:
    OracleSource(get_connection("oracle_tms"))
except ConnectionFieldError as error:
    print(error)
"""


def test_thick_mode_without_the_clients_libraries_says_what_to_install(
    encrypted: Any, tmp_path: Path
) -> None:
    """In a process of its own, because the mode holds for a whole process."""
    fields = {"host": "localhost", "port": encrypted.port, "schema": "FREEPDB1", "login": "TMS"}
    fields |= {"password": PASSWORD, "extra": {"thick_mode": True, "thick_mode_lib_dir": str(tmp_path)}}
    environment = os.environ | {
        "AIRFLOW_CONN_ORACLE_TMS": json.dumps(fields),
        "PYTHONPATH": str(ROOT / "lib"),
    }
    done = subprocess.run(
        [sys.executable, "-c", _THICK], env=environment, text=True, capture_output=True, check=True
    )
    assert "DPI-1047: Cannot locate a 64-bit Oracle Client library" in done.stdout
    assert "Install Oracle Instant Client" in done.stdout


#: A listener's ACCEPT that demands native network encryption (bit 0x10 of the flags at its end).
_DEMANDS_ENCRYPTION = struct.pack(
    ">HHBBH HHIHHHBB8xIIBI", 45, 0, 2, 0, 0, 318, 1, 0, 0x100, 0, 45, 0xD5, 0, 8192, 65536, 0, 0
)


@pytest.mark.filterwarnings("ignore:unclosed", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_database_that_demands_native_encryption_says_that_only_the_thick_mode_can_do_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(65_536)
                client.sendall(_DEMANDS_ENCRYPTION)
                client.settimeout(5)
                with suppress(OSError):
                    client.recv(65_536)

        answering = threading.Thread(target=accept, daemon=True)
        answering.start()
        place = {"host": "127.0.0.1", "port": listener.getsockname()[1], "schema": "X"}
        connection = Connection(conn_id="x", login="TMS", password=SecretStr(PASSWORD), **place)
        text = refused(ConnectionFieldError, lambda: OracleSource(connection))
        answering.join(5)
    assert "DPY-3001" in text
    assert "thick_mode = true" in text
