"""The doctor: every check says how things are and what to do, none hangs, and no secret is shown."""

from __future__ import annotations

import datetime as dt
import gc
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import oracledb
import pytest
from proxy import proxy

from fakeforce import Org
from fakeforce import serve as serve_org
from fakeoracle import serve as serve_oracle
from ora2sf import cli
from ora2sf.doctor import findings, network, target
from ora2sf.errors import Exit

PASSWORD, SECRET = "canary-oracle-77f0", "canary/consumer+99ab"
TABLE = """
table = "parts"
object = "Part__c"
external_id_field = "Key__c"
source_time_zone = "Asia/Bangkok"
[source]
table = "TMS.PARTS"
[[fields]]
field = "Key__c"
type = "key"
columns = ["ID"]
length = 20
[[fields]]
field = "Title__c"
type = "text"
column = "TITLE"
length = 40
"""
SCHEMA = """
name = "Part__c"
[[fields]]
name = "Key__c"
type = "string"
length = 20
external_id = true
unique = true
[[fields]]
name = "Title__c"
type = "string"
length = 40
"""


class Line(NamedTuple):
    state: str
    text: str
    fix: str


class Report(dict[tuple[str, str], Line]):
    """(area, check) → what it said; ``exit``: the command's exit code."""

    exit: int


Doctor = Callable[..., Report]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    for name, text in (("tables/parts.toml", TABLE), ("schema/part.toml", SCHEMA)):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "notebooks").mkdir()
    return folder


@pytest.fixture(scope="module")
def oracle() -> Iterator[Any]:
    with serve_oracle(users={"TMS": PASSWORD, "READER": PASSWORD}) as server:
        with oracledb.connect(user="TMS", password=PASSWORD, dsn=server.dsn) as session:
            session.cursor().execute("create table parts (id number(9) primary key, title varchar2(40))")
        yield server


@pytest.fixture(scope="module")
def running(home: Path) -> Iterator[Org]:
    with serve_org(schema=home / "schema", client_id="key", client_secret=SECRET) as found:
        yield found


@pytest.fixture
def connections(
    home: Path, oracle: Any, running: Org, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, dict[str, Any]]]:
    """The fields of both connections, to be changed before the doctor looks."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("ORA2SF_HOME", str(home))
    monkeypatch.setattr(findings, "PATIENCE", 20.0)
    place = {"host": oracle.host, "port": oracle.port, "schema": "FREEPDB1", "login": "TMS"}
    yield {
        "oracle_tms": place | {"password": PASSWORD},
        "salesforce_api": {"host": running.url, "login": "key", "password": SECRET},
    }
    oracle.faults.clear()


@pytest.fixture
def doctor(
    connections: dict[str, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Doctor:
    def look(*arguments: str, **changes: dict[str, Any]) -> Report:
        for conn_id, changed in changes.items():
            connections[conn_id] |= changed
        for conn_id, fields in connections.items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))
        status = cli.main(["doctor", "--json", *arguments])
        shown = capsys.readouterr()
        assert shown.err == ""
        for secret in (PASSWORD, SECRET, "wrong-"):
            assert secret not in shown.out
        report = Report(
            ((one["area"], one["name"]), Line(one["state"], one["text"], one["fix"]))
            for one in json.loads(shown.out)
        )
        for line in report.values():
            assert bool(line.fix) == (line.state in {"warning", "problem"}), line
        report.exit = status
        return report

    return look


def states(report: Report, area: str) -> dict[str, str]:
    return {name: line.state for (of, name), line in report.items() if of == area}


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def left_behind() -> None:
    """Waits for what the doctor did not wait for; a driver that was refused leaves its socket to the collector."""
    for thread in threading.enumerate():
        if thread.name in {"asking", "doctor"}:
            thread.join(10)
            assert not thread.is_alive()
    gc.collect()


# everything is well


def test_when_all_is_well_both_sides_are_looked_at_and_the_exit_code_is_0(doctor: Doctor) -> None:
    report = doctor()
    assert report.exit == Exit.COMPLETE
    assert {line.state for line in report.values()} == {"ok", "not checked"}
    assert report["oracle_tms", "version"].text.startswith("Oracle Database 19.")
    assert report["oracle_tms", "characters"].text == "AL32UTF8"
    assert "table files read dates as Asia/Bangkok" in report["oracle_tms", "clock"].text
    assert report["salesforce_api", "user"].text.startswith("calls run as integration@example.com")
    assert report["salesforce_api", "DailyBulkApiBatches"].text.startswith("15,000 left of 15,000")
    assert report["tables", "fit"].text.startswith("1 table file(s) fit")


def test_for_a_person_each_check_is_one_line_with_its_fix(
    doctor: Doctor, capsys: pytest.CaptureFixture[str]
) -> None:
    report = doctor(oracle_tms={"password": "wrong-one"})
    assert cli.main(["doctor"]) == Exit.CONFIGURATION
    *lines, empty, summary = capsys.readouterr().out.splitlines()
    assert len(lines) == len(report)
    (line,) = [line for line in lines if "ORA-01017" in line]
    assert line.startswith("problem      oracle_tms")
    assert line.endswith("Fix: Correct login and password of the connection; no retry helps.")
    assert empty == ""
    assert "1 problem" in summary


# Oracle


@pytest.mark.parametrize(
    ("fault", "said", "fix"),
    [
        ("ORA-28000", "ORA-28000", "unlock the account"),
        ("ORA-28001", "ORA-28001", "Change the expired password"),
        ("drop-rst", "DPY-4011", "Check that the database is up"),
    ],
)
@pytest.mark.filterwarnings("ignore:unclosed", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_refused_sign_in_says_why_and_salesforce_is_looked_at_all_the_same(
    doctor: Doctor, oracle: Any, fault: str, said: str, fix: str
) -> None:
    oracle.faults.add(fault, at="login", call=1)
    report = doctor()
    found = report["oracle_tms", "sign-in"]
    assert (found.state, said in found.text, fix in found.fix) == ("problem", True, True)
    assert report["oracle_tms", "tables"] == Line("not checked", "because there is no session", "")
    assert report["tables", "parts"].text == "because Oracle's columns are not known"
    assert set(states(report, "salesforce_api").values()) == {"ok"}
    assert report.exit == Exit.CONFIGURATION


def test_a_wrong_service_names_the_key_to_correct(doctor: Doctor) -> None:
    found = doctor(oracle_tms={"schema": "NOPE"})["oracle_tms", "sign-in"]
    assert 'Service "NOPE" is not registered' in found.text
    assert "Correct the service name" in found.fix


def test_a_closed_port_and_an_unknown_name_are_told_apart(doctor: Doctor) -> None:
    closed = doctor(oracle_tms={"port": closed_port()})
    assert closed["oracle_tms", "port"].text.endswith("Connection refused")
    assert closed["oracle_tms", "sign-in"].text == "because the database cannot be reached"
    unknown = doctor(oracle_tms={"host": "no-such-host.invalid"})
    assert "is not known" in unknown["oracle_tms", "name"].text
    assert unknown["oracle_tms", "port"].state == "not checked"


def test_a_host_that_drops_every_packet_does_not_hang_the_doctor(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener whose queue is full answers no connection attempt, as a firewall that drops them."""
    monkeypatch.setattr(network, "SECONDS", 0.3)
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        found = doctor(oracle_tms={"port": full.getsockname()[1]})["oracle_tms", "port"]
    assert "does not answer in 0.3 seconds" in found.text
    assert "firewall" in found.fix


@pytest.mark.filterwarnings("ignore:unclosed", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_listener_that_says_nothing_does_not_hang_the_doctor(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(findings, "PATIENCE", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        report = doctor(oracle_tms={"port": silent.getsockname()[1]})
    left_behind()
    assert report["oracle_tms", "sign-in"].text == "no answer in 1 seconds"
    assert report["salesforce_api", "sign-in"].state == "ok"


@pytest.mark.filterwarnings("ignore:unclosed", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_is_asked_after_a_question_without_an_answer_is_not_checked(
    doctor: Doctor, oracle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(findings, "PATIENCE", 1.0)
    oracle.faults.add("slow-2", at="execute", sql="CHARACTERSET")
    report = doctor()
    left_behind()
    assert report["oracle_tms", "characters"].text == "no answer in 1 seconds"
    assert report["oracle_tms", "clock"].text == "because the database did not answer the question before"
    assert report["salesforce_api", "Bulk API"].state == "ok"


@pytest.mark.filterwarnings("ignore:unclosed", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_tcps_by_an_unknown_authority_is_told_at_the_handshake_and_trusted_by_ca_file(
    doctor: Doctor, tmp_path: Path
) -> None:
    with serve_oracle(users={"TMS": PASSWORD}, tls=tmp_path) as server:
        place = {"host": "localhost", "port": server.port, "extra": {"protocol": "tcps"}}
        found = doctor(oracle_tms=place)["oracle_tms", "TLS"]
        assert "unable to get local issuer certificate" in found.text
        assert "ca_file" in found.fix
        place["extra"] = {"protocol": "tcps", "ca_file": str(server.ca_file)}
        trusted = doctor(oracle_tms=place)
    assert trusted["oracle_tms", "TLS"].text.startswith("TLSv1.3, certificate until 20")
    assert trusted["oracle_tms", "sign-in"].state == "ok"


def test_missing_privileges_are_named_with_what_a_run_does_without_them(home: Path, doctor: Doctor) -> None:
    revoked = {"V$DATABASE", "DBMS_FLASHBACK"}
    with serve_oracle(users={"TMS": PASSWORD}, revoked={"TMS": revoked}) as server:
        report = doctor(oracle_tms={"port": server.port})
    assert report["oracle_tms", "moment"].state == "warning"
    assert "GRANT SELECT ON V_$DATABASE" in report["oracle_tms", "moment"].fix
    assert report["oracle_tms", "moment of tables"].state == "not checked"
    missing = report["oracle_tms", "tables"]
    assert missing.state == "problem"
    assert missing.fix == "Correct source.table, or GRANT SELECT ON TMS.PARTS TO TMS;"


def test_tables_of_others_need_flashback_for_one_moment(oracle: Any, doctor: Doctor) -> None:
    with serve_oracle(
        users={"TMS": PASSWORD, "READER": PASSWORD}, revoked={"READER": {"FLASHBACK"}}
    ) as server:
        with oracledb.connect(user="TMS", password=PASSWORD, dsn=server.dsn) as session:
            session.cursor().execute("create table parts (id number(9) primary key, title varchar2(40))")
        found = doctor(oracle_tms={"port": server.port, "login": "READER"})["oracle_tms", "moment of tables"]
    assert (found.state, found.text) == ("warning", "cannot be read AS OF a moment: parts")
    assert "GRANT FLASHBACK" in found.fix


# Salesforce


@pytest.mark.parametrize(
    ("changes", "settings", "said"),
    [
        ({"login": "another"}, {}, "does not know this consumer key"),
        ({"password": "wrong-one"}, {}, "the consumer secret is wrong"),
        ({}, {"run_as_user": False}, "no user to run as"),
        ({}, {"wrong_domain": True}, "this host does not give tokens"),
        ({}, {"token_error": "flow-not-enabled"}, "client credentials flow is not enabled"),
        ({}, {"token_error": "rate-exceeded"}, "too many sign-ins"),
    ],
)
def test_each_refusal_of_a_token_says_what_to_set_in_the_app(
    doctor: Doctor, running: Org, changes: dict[str, str], settings: dict[str, Any], said: str
) -> None:
    before = {"run_as_user": True, "wrong_domain": False, "token_error": ""}
    running.change(**settings)
    try:
        report = doctor(salesforce_api=changes)
    finally:
        running.change(**before)
    found = report["salesforce_api", "sign-in"]
    assert found.state == "problem"
    assert said in found.text
    assert "External Client App" in found.fix
    assert report["salesforce_api", "objects"].text == "because there is no token"
    assert report["oracle_tms", "sign-in"].state == "ok"


@pytest.mark.parametrize(
    ("host", "state", "said"),
    [
        ("login.salesforce.com", "problem", "gives no token for client credentials"),
        ("example.lightning.force.com", "problem", "an address for browsers"),
        ("example.my.salesforce.com", "ok", "a My Domain address"),
        ("example--uat.sandbox.my.salesforce.com", "ok", "a My Domain address of a sandbox"),
        ("crm.example.com", "warning", "does not look like a My Domain address"),
    ],
)
def test_a_host_that_is_no_my_domain_address_is_told_before_anything_is_sent(
    host: str, state: str, said: str
) -> None:
    told: list[findings.Check] = []
    target._domain(findings.Checklist("salesforce_api", told.append), host)
    assert (told[0].state, said in told[0].text) == (state, True)


def test_clocks_that_differ_are_a_warning_with_the_difference(
    doctor: Doctor, home: Path, connections: dict[str, dict[str, Any]]
) -> None:
    ahead = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=600)
    with serve_org(schema=home / "schema", client_id="key", client_secret=SECRET, clock=ahead) as org:
        found = doctor(salesforce_api={"host": org.url})["salesforce_api", "clock"]
    assert found.state == "warning"
    assert "ahead of this machine" in found.text


def test_limits_that_are_used_up_or_nearly_so_are_told(doctor: Doctor, home: Path) -> None:
    with serve_org(schema=home / "schema", client_id="key", client_secret=SECRET) as org:
        org.change(max_batches=20)
        org.use_up(190_000)
        nearly = doctor(salesforce_api={"host": org.url})
        org.use_up(10_000)
        over = doctor(salesforce_api={"host": org.url})
    assert nearly["salesforce_api", "DailyBulkApiBatches"].state == "warning"
    assert nearly.exit == Exit.COMPLETE
    assert over["salesforce_api", "DailyBulkApiBatches"][:2] == (
        "problem",
        "0 left of 20 internal batches of Bulk API a day",
    )


def test_an_object_that_the_user_does_not_see_is_named(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(SCHEMA.replace("Part__c", "Other__c"))
    with serve_org(schema=tmp_path, client_id="key", client_secret=SECRET) as org:
        report = doctor(salesforce_api={"host": org.url})
    assert report["salesforce_api", "objects"].text.endswith("Part__c")
    assert report["tables", "parts"].text == "because the describe of Part__c is not known"


def test_a_table_file_that_does_not_fit_is_told_with_every_problem(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "part.toml").write_text(
        SCHEMA.replace("length = 40", "length = 30").replace("external_id = true\n", "")
    )
    with serve_org(schema=tmp_path, client_id="key", client_secret=SECRET) as org:
        found = doctor(salesforce_api={"host": org.url})["tables", "parts"]
    assert "Key__c is not an External ID" in found.text
    assert "length = 40, but Salesforce keeps 30 characters" in found.text


def test_an_api_version_that_the_org_does_not_offer_is_a_problem(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "API_VERSION", "v99.0")
    assert doctor()["salesforce_api", "API version"].text.startswith("v99.0 is not offered (newest: v")


@pytest.fixture(scope="module")
def expired(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that ended yesterday, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    folder = tmp_path_factory.mktemp("expired")
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]),
    )
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - dt.timedelta(days=9)).not_valid_after(now - dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(*form))
    return folder / "cert.pem", folder / "key.pem"


def test_an_expired_certificate_is_not_taken_for_an_unknown_one(
    doctor: Doctor, home: Path, expired: tuple[Path, Path]
) -> None:
    cert, key = expired
    with serve_org(schema=home / "schema", client_id="key", client_secret=SECRET, cert=cert, key=key) as org:
        place = {"host": f"https://localhost:{org.url.rpartition(':')[2]}", "extra": {"ca_file": str(cert)}}
        found = doctor(salesforce_api=place)["salesforce_api", "TLS"]
    assert "certificate has expired" in found.text
    assert "renewed" in found.fix


def test_https_is_looked_at_through_the_proxy_and_a_refusing_one_is_named(doctor: Doctor, home: Path) -> None:
    with (
        serve_org(schema=home / "schema", client_id="key", client_secret=SECRET, tls=True) as org,
        proxy(login="me:canary-of-proxy") as way,
    ):
        extra = {"proxy": way.url, "ca_file": str(org.ca_file)}
        refused = doctor(salesforce_api={"host": org.url, "extra": extra})
        assert "Tunnel connection failed: 407" in refused["salesforce_api", "TLS"].text
        assert "proxy_password" in refused["salesforce_api", "TLS"].fix
        extra |= {"proxy_login": "me", "proxy_password": "canary-of-proxy"}
        passed = doctor(salesforce_api={"host": org.url, "extra": extra})
    assert passed["salesforce_api", "proxy"].text == f"calls go through 127.0.0.1:{way.port}"
    assert set(states(passed, "salesforce_api").values()) == {"ok"}


# this machine


def test_without_connections_the_doctor_says_how_they_are_made_and_looks_at_the_rest(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ORA2SF_HOME", str(home))
    monkeypatch.delenv("ORA2SF_CONNECTIONS", raising=False)
    assert cli.main(["doctor"]) == Exit.CONFIGURATION
    out = capsys.readouterr().out
    assert "`ora2sf init` writes the file" in out
    assert "There is no connection 'oracle_tms'" in out
    assert "the connection cannot be used" in out
    assert "1 valid in" in out


def test_a_file_of_connections_that_others_can_read_is_a_problem_with_its_mode(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "connections.toml"
    path.write_text(f'[oracle_tms]\npassword = "{PASSWORD}"\n')
    path.chmod(0o640)
    monkeypatch.setenv("ORA2SF_HOME", str(home))
    monkeypatch.setenv("ORA2SF_CONNECTIONS", str(path))
    assert cli.main(["doctor"]) == Exit.CONFIGURATION
    out = capsys.readouterr().out
    assert "can be read by others (mode 0640)" in out
    assert f"chmod 600 {path}" in out
    assert PASSWORD not in out


def test_an_extra_that_nobody_reads_is_told_with_the_nearest_one(doctor: Doctor) -> None:
    found = doctor(oracle_tms={"extra": {"walet_location": "x"}})["oracle_tms", "connection"]
    assert found.text == "extras that are not read: walet_location (did you mean wallet_location?)"


def test_an_extra_that_cannot_be_read_stops_only_its_own_side(doctor: Doctor) -> None:
    report = doctor(
        oracle_tms={"extra": {"thick_mode": "perhaps"}}, salesforce_api={"extra": {"proxy": "nowhere"}}
    )
    assert "neither true nor false" in report["oracle_tms", "address"].text
    assert "not the address of a proxy" in report["salesforce_api", "proxy"].text
    assert report["oracle_tms", "sign-in"].state == report["salesforce_api", "sign-in"].state == "not checked"
    assert report["tables", "parts"].state == "not checked"


def test_a_home_that_is_not_there_is_told(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORA2SF_HOME", str(tmp_path / "gone"))
    assert "is no folder" in doctor()["here", "disk"].text


def test_a_value_that_init_left_open_is_a_problem_before_anything_is_sent(doctor: Doctor) -> None:
    found = doctor(salesforce_api={"login": "CHANGE-ME", "password": "CHANGE-ME"})[
        "salesforce_api", "connection"
    ]
    assert found.text.endswith("is as `ora2sf init` wrote it: login, password are still to come.")


def test_a_project_without_a_table_file_is_told_how_one_is_drafted(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORA2SF_HOME", str(tmp_path))
    found = doctor()["here", "table files"]
    assert found.state == "problem"
    assert "ora2sf tables new" in found.fix


def test_a_disk_without_room_and_packages_of_other_versions_are_told(
    doctor: Doctor, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ora2sf.doctor import machine

    monkeypatch.setattr(machine, "_LITTLE", 1 << 60)
    (home / "requirements.lock").write_text("oracledb==1.0\npolars==2 ; sys_platform == 'x'\n")
    report = doctor()
    (home / "requirements.lock").unlink()
    assert report["here", "disk"].state == "problem"
    assert "oracledb" in report["here", "packages"].text
    assert "(lock: 1.0)" in report["here", "packages"].text
    assert report["here", "Python"].text.startswith(f"Python {sys.version.split()[0]}")


def test_only_the_tables_that_are_named_are_looked_at_and_an_unknown_one_is_told(doctor: Doctor) -> None:
    assert doctor("--tables", "parts")["here", "table files"].text.startswith("1 valid")
    assert doctor("--tables", "partz")["here", "table files"].text == "there is no table partz"


def test_a_mistake_of_the_programmer_is_not_hidden() -> None:
    told: list[findings.Check] = []
    with pytest.raises(ZeroDivisionError):
        findings.Checklist("x", told.append).attempt("x", lambda: 1 / 0)


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ("SELECT '900' FROM DUAL", "warning"),
        ("SELECT '86400' FROM DUAL", "ok"),
        ("SELECT 1 FROM NOBODY", "not checked"),
    ],
)
def test_the_undo_that_a_long_read_needs_is_told_where_it_can_be_read(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, answer: str, state: str
) -> None:
    from ora2sf.doctor import source

    monkeypatch.setattr(source, "_UNDO", answer)
    assert doctor()["oracle_tms", "undo"].state == state
