"""Signing in: what a token is, and what each refusal says."""

from __future__ import annotations

import base64
import json
import pprint
import socket
import time

import pytest
import responses
from staged import KEY, SECRET, answering, calls, reply

from ora2sf.errors import AuthenticationError, ConnectionFieldError, FinalError, TargetUnavailable
from ora2sf.salesforce import get_salesforce_token

TOKEN_URL = "https://example.my.salesforce.com/services/oauth2/token"
HOST = "https://example.my.salesforce.com"


def refusal(kind):
    with pytest.raises(kind) as caught:
        get_salesforce_token()
    text = str(caught.value)
    assert "Next step: " in text
    assert SECRET not in text
    return text


def test_a_token_has_the_three_values_that_calls_need(org):
    token = get_salesforce_token("salesforce_api")
    assert set(token) == {"access_token", "instance_url", "token_type"}
    assert token["instance_url"] == org.url
    assert token["token_type"] == "Bearer"


@pytest.mark.parametrize("shown", [repr, str, "{}".format, pprint.pformat, lambda token: repr([token])])
def test_a_token_never_shows_itself(org, shown):
    token = get_salesforce_token()
    assert token["access_token"] not in shown(token)
    assert org.url in shown(token)


def test_the_secret_can_travel_in_a_basic_header(org, connect):
    connect(org.url, extra={"auth": "basic"})
    assert get_salesforce_token()["access_token"]


def test_a_basic_header_is_utf_8(connect):
    connect(HOST, extra={"auth": "basic"})
    with responses.RequestsMock() as mock:
        mock.post(TOKEN_URL, json={"access_token": "t", "instance_url": HOST, "token_type": "Bearer"})
        get_salesforce_token()
        sent = mock.calls[0].request
    assert (
        base64.b64decode(sent.headers["Authorization"].removeprefix("Basic ")).decode() == f"{KEY}:{SECRET}"
    )
    assert "client_secret" not in sent.body


@pytest.mark.parametrize(
    ("field", "word"), [("host", "My Domain"), ("login", "consumer key"), ("password", "consumer secret")]
)
def test_a_missing_field_is_named_with_what_belongs_there(connect, field, word):
    connect(HOST)
    connect(**{"host": HOST, field: ""})
    text = refusal(ConnectionFieldError)
    assert f"has no {field}" in text
    assert word in text


def test_an_unknown_consumer_key_says_so(org, connect):
    connect(org.url, login="another")
    text = refusal(AuthenticationError)
    assert "does not know this consumer key" in text
    assert "invalid_client_id" in text


def test_a_wrong_secret_says_so_and_stays_unseen(org, connect):
    connect(org.url, password="wrong-one")
    text = refusal(AuthenticationError)
    assert "the consumer secret is wrong" in text
    assert "wrong-one" not in text


def test_an_app_without_a_user_to_run_as_says_so(org):
    org.change(run_as_user=False)
    assert "no user to run as" in refusal(AuthenticationError)


def test_a_host_that_is_not_the_my_domain_says_so(org):
    org.change(wrong_domain=True)
    assert "Use the My Domain address" in refusal(AuthenticationError)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            400,
            {"error": "unsupported_grant_type", "error_description": "grant type not supported"},
            "not enabled",
        ),
        (
            400,
            {"error": "invalid_grant", "error_description": "Client credentials flow not enabled"},
            "not enabled",
        ),
        (400, {"error": "invalid_grant", "error_description": "login rate exceeded"}, "too many sign-ins"),
        (
            400,
            {"error": "invalid_grant", "error_description": "authentication failure"},
            "credentials are refused",
        ),
        (
            401,
            {"error": "invalid_client", "error_description": "invalid client credentials"},
            "secret is wrong",
        ),
        (401, [{"errorCode": "X"}], "credentials are refused"),
    ],
)
def test_each_refusal_has_its_own_sentence(connect, status, body, words):
    connect(HOST)
    with responses.RequestsMock() as mock:
        mock.post(TOKEN_URL, json=body, status=status)
        text = refusal(AuthenticationError)
    assert words in text
    assert str(status) in text


def test_a_server_that_echoes_the_secret_does_not_bring_it_into_the_error(connect):
    connect(HOST)
    with responses.RequestsMock() as mock:
        mock.post(TOKEN_URL, json={"error": "x", "error_description": f"bad {SECRET}"}, status=400)
        assert "bad ***" in refusal(AuthenticationError)


@pytest.mark.parametrize("status", [200, 400, 403, 404, 405])
def test_a_page_in_html_means_that_no_salesforce_lives_there(connect, status):
    connect(HOST)
    with responses.RequestsMock() as mock:
        mock.post(TOKEN_URL, body="<html>nginx</html>", status=status, content_type="text/html")
        text = refusal(ConnectionFieldError)
    assert "no Salesforce host" in text
    assert "Correct host" in text


def test_the_secret_does_not_follow_a_redirect(connect):
    seen = []

    def answer(request, _body):
        seen.append(request.path)
        reply(request, 307, Location="/elsewhere")

    with answering(answer) as url:
        connect(url)
        assert "answers 307" in refusal(ConnectionFieldError)
    assert seen == ["/services/oauth2/token"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_in_trouble_may_be_asked_again_later(connect, status):
    connect(HOST)
    with responses.RequestsMock() as mock:
        mock.post(TOKEN_URL, body="<html>", status=status)
        assert str(status) in refusal(TargetUnavailable)


def test_an_instance_url_without_https_gets_no_token(connect):
    connect(HOST)
    with responses.RequestsMock() as mock:
        body = {"access_token": "t", "instance_url": "http://evil.example", "token_type": "Bearer"}
        mock.post(TOKEN_URL, json=body)
        assert "not https" in refusal(AuthenticationError)


def test_a_port_where_nothing_listens_is_reported_at_once(connect, make_client):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    connect(f"http://127.0.0.1:{port}")
    begun = time.monotonic()
    with pytest.raises(TargetUnavailable, match="does not answer: ConnectionError") as caught:
        make_client(first_wait=60.0, attempts=6).limits()
    assert time.monotonic() - begun < 5
    assert "Check host of the connection" in str(caught.value)


def test_a_host_that_nobody_knows_is_reported_at_once(connect, make_client):
    connect("https://no-such-host.invalid")
    begun = time.monotonic()
    with pytest.raises(TargetUnavailable, match="does not answer"):
        make_client(first_wait=60.0).limits()
    assert time.monotonic() - begun < 10


def test_wrong_credentials_are_asked_once_and_never_retried(org, connect, client):
    connect(org.url, password="wrong-one")
    with pytest.raises(FinalError):
        client.limits()
    assert calls(org, "POST", "/token") == [400]


def test_a_server_in_trouble_at_the_first_sign_in_is_asked_again(org, client):
    org.faults.add("503", path="oauth2/token", times=2)
    assert client.limits()
    assert calls(org, "POST", "/token") == [503, 503, 200]


def test_a_netrc_of_the_user_does_not_replace_the_credentials(org, client, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert client.limits()
    assert calls(org, "POST", "/token") == [200]


def test_the_error_of_a_connection_is_no_json_dump(connect):
    connect(HOST, nonsense=json.dumps({"password": SECRET}))
    assert "nonsense" in refusal(ConnectionFieldError)
