"""Connections: what Airflow writes is read, what is wrong is named, and no secret is ever shown."""

import base64
import json
import traceback
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ora2sf import connections
from ora2sf.connections import Connection, get_connection, known_secrets
from ora2sf.errors import ConnectionFieldError

SECRET = "s3cr3t/p@ss:w%rd?#é"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No connection is in reach but those of the test."""
    for name in [n for n in connections.os.environ if n.startswith("AIRFLOW_CONN_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("ORA2SF_CONNECTIONS", raising=False)
    monkeypatch.setenv("ORA2SF_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch):
    def give(value: str, conn_id: str = "x") -> Connection:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", value)
        return get_connection(conn_id)

    return give


def write(place: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path = place / "connections.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def complaint(call) -> str:
    with pytest.raises(ConnectionFieldError) as caught:
        call()
    shown = "".join(traceback.format_exception(caught.value))
    for part in (SECRET, quote(SECRET, safe=""), "s3cr3t"):
        assert part not in shown
    assert "Next step: " in str(caught.value)
    return str(caught.value)


# the URI that Airflow writes


def airflow_uri(conn_type, login, password, host, port, schema, extra) -> str:
    """As described for Airflow's Connection.get_uri: every part percent-encoded, a scheme of the host first."""
    uri = f"{conn_type.replace('_', '-')}://"
    if "://" in host and not host.startswith(f"{conn_type}://"):
        scheme, _, host = host.partition("://")
        uri += f"{scheme}://"
    if login or password:
        uri += f"{quote(login, safe='')}:{quote(password, safe='')}@"
    uri += (
        quote(host, safe="") + (f":{port}" if port else "") + (f"/{quote(schema, safe='')}" if schema else "")
    )
    if extra:
        flat = all(isinstance(value, str) for value in extra.values())
        uri += ("?" if schema else "/?") + urlencode(extra if flat else {"__extra__": json.dumps(extra)})
    return uri


parts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
hosts = st.sampled_from(
    ["db.example.com", "127.0.0.1", "https://a.my.salesforce.com", "http://localhost", "::1", ""]
)
extras = st.dictionaries(st.text("abc_", min_size=1, max_size=5), parts, max_size=3) | st.dictionaries(
    st.text("abc_", min_size=1, max_size=5),
    st.integers() | st.booleans() | st.lists(parts, max_size=2),
    max_size=3,
)


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(["oracle", "http", "https", "my_type"]),
    parts,
    parts,
    hosts,
    st.none() | st.integers(1, 65535),
    parts,
    extras,
)
def test_a_uri_as_airflow_writes_it_is_read_back(conn_type, login, password, host, port, schema, extra):
    uri = airflow_uri(conn_type, login, password, host, port, schema, extra)
    found = connections._from_environment("x", "AIRFLOW_CONN_X", uri)
    assert (found.conn_type, found.host, found.port, found.schema_) == (conn_type, host, port, schema)
    assert (found.login, found.password.get_secret_value(), found.extra) == (login, password, extra)


@pytest.mark.parametrize(
    "uri",
    [
        "http://id:pw@https%3A%2F%2Forg.my.salesforce.com",
        "http://id:pw@https%3A%2F%2Forg.my.salesforce.com/",
        "http://https://id:pw@org.my.salesforce.com",
        "https://https://id:pw@org.my.salesforce.com/",
        "http://id:pw@org.my.salesforce.com/https",
        "salesforce://id:pw@org.my.salesforce.com",
    ],
)
def test_every_way_to_write_an_https_host_gives_the_same_address(env, uri):
    found = env(uri)
    assert found.base_url() == "https://org.my.salesforce.com"
    assert (found.login, found.password.get_secret_value()) == ("id", "pw")


def test_a_uri_may_lack_everything_but_its_type(env):
    found = env("oracle://")
    assert (found.conn_type, found.host, found.port, found.login, found.extra) == ("oracle", "", None, "", {})


@pytest.mark.parametrize(
    "uri",
    [
        f"oracle://tms:{SECRET}@host:1521/x",
        "oracle://tms:s3cr3t/x@host:1521/db",
        "oracle://tms:12/s3cr3t@host:1521/db",
        "oracle://tms:1?s3cr3t@host:1521/db",
        "oracle://tms:1#s3cr3t@host",
        "oracle://tms:pw@host:s3cr3t/db",
        "oracle://[s3cr3t",
        "s3cr3t",
        "oracle://tms:pw@host/?__extra__=s3cr3t",
        "oracle://tms:pw@host:99999/s3cr3t",
    ],
)
def test_a_uri_that_cannot_be_read_is_refused_without_being_quoted(env, uri):
    assert "AIRFLOW_CONN_X" in complaint(lambda: env(uri))


# JSON


def test_the_json_that_airflow_writes_is_read(env):
    given_fields = {
        "conn_type": "http",
        "description": None,
        "host": "https://org.my.salesforce.com",
        "login": "id",
        "password": SECRET,
        "schema": "",
        "port": None,
        "extra": {"a": 1},
    }
    found = env(json.dumps(given_fields))
    assert found.base_url() == "https://org.my.salesforce.com"
    assert found.password.get_secret_value() == SECRET
    assert found.extra == {"a": 1}


@pytest.mark.parametrize(("extra", "wanted"), [('{"a": "b"}', {"a": "b"}), ("", {}), ({}, {}), (None, {})])
def test_extra_may_be_an_object_or_its_text(env, extra, wanted):
    assert env(json.dumps({"conn_type": "oracle", "extra": extra})).extra == wanted


@pytest.mark.parametrize(("port", "wanted"), [(1521, 1521), ("1521", 1521), ("", None), (None, None)])
def test_a_port_may_be_a_number_its_text_or_empty(env, port, wanted):
    assert env(json.dumps({"port": port})).port == wanted


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('{"password": "s3cr3t", }', "not valid JSON"),
        ('{"password": "s3cr3t"', "not valid JSON"),
        ('{"passwort": "s3cr3t"}', "passwort: Extra inputs are not permitted"),
        ('{"password": ["s3cr3t"]}', "password: "),
        ('{"port": "s3cr3t"}', "port: "),
        ('{"port": 70000, "password": "s3cr3t"}', "port: "),
        ('{"extra": "s3cr3t"}', "extra of AIRFLOW_CONN_X is not valid JSON"),
        ('{"extra": "[\\"s3cr3t\\"]"}', "extra: "),
        ('{"extra": ["s3cr3t"]}', "extra: "),
    ],
)
def test_json_that_cannot_be_read_is_refused_without_being_quoted(env, value, said):
    assert said in complaint(lambda: env(value))


# connections.toml


def test_the_environment_comes_before_the_file(env, place):
    write(place, '[x]\nhost = "file"\n[y]\nhost = "file"\n')
    assert env("oracle://environment").host == "environment"
    assert get_connection("y").host == "file"


def test_the_file_may_stand_where_a_variable_says(tmp_path, monkeypatch):
    path = tmp_path / "elsewhere.toml"
    path.write_text('[x]\nhost = "h"\nschema = "s"\nport = 1\n[x.extra]\na = 1\n')
    path.chmod(0o600)
    monkeypatch.setenv("ORA2SF_CONNECTIONS", str(path))
    found = get_connection("x")
    assert (found.host, found.schema_, found.port, found.extra) == ("h", "s", 1, {"a": 1})


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_file_that_others_can_read_is_refused(place, mode):
    path = write(place, f"[x]\npassword = '{SECRET}'\n", mode)
    assert f"chmod 600 {path}" in complaint(lambda: get_connection("x"))


def test_a_variable_that_names_no_file_is_an_error(place, monkeypatch):
    monkeypatch.setenv("ORA2SF_CONNECTIONS", str(place / "gone.toml"))
    assert "gone.toml" in complaint(lambda: get_connection("x"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"[x]\npassword = 's3cr3t", "not valid TOML"),
        (b"[x]\npassword = 's3cr3t\xff'", "not UTF-8"),
        (b"x = 's3cr3t'", "is not a table of fields"),
        (b"[x]\nuser = 's3cr3t'", "user: Extra inputs are not permitted"),
        (b"[x]\nport = 's3cr3t'", "port: "),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_without_being_quoted(place, text, said):
    path = write(place, text)
    message = complaint(lambda: get_connection("x"))
    assert said in message
    assert str(path) in message


def test_an_unknown_connection_says_where_it_was_looked_for(place):
    assert "no connections.toml was found" in complaint(lambda: get_connection("x"))
    write(place, f"[other]\npassword = '{SECRET}'\n")
    message = complaint(lambda: get_connection("x"))
    assert "AIRFLOW_CONN_X is not set" in message
    assert "names only: other" in message


# fields and addresses


@pytest.mark.parametrize("field", ["host", "login", "password"])
def test_an_empty_field_is_named_with_what_belongs_there(field):
    message = complaint(lambda: Connection(conn_id="x").need(field, "the thing"))
    assert f"Connection 'x' has no {field}: the thing belongs there." in message
    assert f"Set {field} in AIRFLOW_CONN_X" in message


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"host": "org.my.salesforce.com"}, "https://org.my.salesforce.com"),
        ({"host": " https://org.my.salesforce.com/ "}, "https://org.my.salesforce.com"),
        ({"host": "HTTPS://org.my.salesforce.com:8443/a"}, "https://org.my.salesforce.com:8443"),
        ({"host": "org.my.salesforce.com", "port": 8443}, "https://org.my.salesforce.com:8443"),
        ({"host": "localhost", "schema": "http", "port": 80}, "http://localhost:80"),
        ({"host": "http://127.0.0.1:5000"}, "http://127.0.0.1:5000"),
        ({"host": "http://[::1]:5000"}, "http://[::1]:5000"),
        ({"host": "::1", "schema": "http", "port": 5000}, "http://[::1]:5000"),
    ],
)
def test_an_address_is_made_of_scheme_host_and_port(fields, wanted):
    assert Connection(conn_id="x", **fields).base_url() == wanted


@pytest.mark.parametrize(
    "host",
    [
        "http://org.my.salesforce.com",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://127.0.0.2",
    ],
)
def test_plain_http_is_refused_unless_it_stays_on_this_machine(host):
    assert "plain http" in complaint(lambda: Connection(conn_id="x", host=host).base_url())


@pytest.mark.parametrize(
    "host",
    ["ftp://org", "https://", "https://org:port", "https://id:s3cr3t@org", "https://[org", "file:///etc"],
)
def test_what_is_no_web_address_is_refused(host):
    assert "is not a web address" in complaint(lambda: Connection(conn_id="x", host=host).base_url())


# secrets


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=4, max_size=12).map(lambda t: f"<{t}>"))
def test_a_password_never_shows(password):
    shown = Connection(conn_id="x", password=password, extra={"token": password}, description=password)
    for text in (repr(shown), str(shown), f"{shown}", repr([shown])):
        assert password not in text
        assert repr(password)[1:-1] not in text


def test_every_secret_in_reach_is_known_in_each_of_its_forms(place, monkeypatch):
    first, second, third = 'a&"b é/', "from the\nfile", "deep-token"
    monkeypatch.setenv("AIRFLOW_CONN_A", f"  http://id:{quote(first, safe='')}@h ")
    monkeypatch.setenv(
        "AIRFLOW_CONN_B", json.dumps({"extra": {"harmless": "plain", "auth": {"api_token": [third]}}})
    )
    write(place, f"[c]\npassword = {json.dumps(second)}\nhost = 'visible'\n")
    found = known_secrets()
    for form in (
        first,
        "a%26%22b%20%C3%A9/",
        "a%26%22b%20%C3%A9%2F",
        "a%26%22b+%C3%A9%2F",
        'a&\\"b \\u00e9/',
        'a&\\"b é/',
        "a&amp;&quot;b é/",
        base64.b64encode(first.encode()).decode(),
        base64.b64encode(f"id:{first}".encode()).decode(),
        second,
        "from the\\nfile",
        third,
    ):
        assert form in found
    assert found.isdisjoint({"plain", "visible", "id", "h", ""})


def test_a_secret_with_blanks_around_it_is_also_known_without_them(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_A", json.dumps({"password": "pasted-secret\n"}))
    assert {"pasted-secret", "pasted-secret\n"} <= known_secrets()


def test_a_connection_that_nobody_can_read_hides_nothing_from_the_others(place, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_BROKEN", '{"password": "half')
    monkeypatch.setenv("AIRFLOW_CONN_GOOD", '{"password": "whole-secret"}')
    write(place, "[odd]\nuser = 'tms'\npasswort = 'odd-secret'\n[fine]\npassword = 'fine-secret'\n")
    assert {'{"password": "half', "whole-secret", "odd-secret", "fine-secret"} <= known_secrets()


@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        ("key", True),
        ("private_key", True),
        ("apiKey", True),
        ("API-Key", True),
        ("extra__snowflake__private_key_content", True),
        ("aws_secret_access_key", True),
        ("client_secret", True),
        ("refreshToken", True),
        ("passphrase", True),
        ("no_host_key_check", False),
        ("key_file", False),
        ("host_key", False),
        ("monkey", False),
        ("timeout", False),
    ],
)
def test_an_extra_is_secret_if_its_name_says_so(env, name, hidden):
    env(json.dumps({"extra": {name: "the-value"}}))
    assert ("the-value" in known_secrets()) is hidden


@pytest.mark.parametrize("value", ["true", "False", " yes", "0", "12345", ""])
def test_switches_and_short_numbers_among_the_extras_are_no_secrets(env, value):
    env(json.dumps({"extra": {"allow_token": value, "secret": [value, "123456"]}}))
    assert {secret for secret in known_secrets() if "MTI" not in secret} == {"123456"}
