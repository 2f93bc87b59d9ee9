"""One call to Salesforce: what is tried again, what is not, and what an error says."""

from __future__ import annotations

import itertools
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import responses
from staged import SECRET, answering, calls, reply

from ora2sf.errors import FinalError, NotFoundError, TargetError, TargetUnavailable
from ora2sf.salesforce.auth import retry_after

HOST = "https://example.my.salesforce.com"
LIMITS = f"{HOST}/services/data/v66.0/limits"
TOKEN = {"access_token": "the-token", "instance_url": HOST, "token_type": "Bearer"}


@pytest.fixture
def mock(connect):
    connect(HOST)
    with responses.RequestsMock() as found:
        found.post(f"{HOST}/services/oauth2/token", json=TOKEN)
        yield found


@pytest.mark.parametrize("form", ["session", "jwt"])
def test_an_expired_token_is_replaced_and_the_request_sent_once_more(org, client, form):
    org.change(expiry_form=form)
    client.limits()
    org.expire_tokens()
    assert client.limits()["DailyApiRequests"]["Max"]
    assert calls(org, "GET", "/limits") == [200, 401, 200]
    assert calls(org, "POST", "/token") == [200, 200]


@pytest.mark.parametrize("form", ["session", "jwt"])
def test_many_threads_with_an_expired_token_fetch_one_new_one(org, client, form):
    org.change(expiry_form=form)
    client.limits()
    org.expire_tokens()
    gate = threading.Barrier(12)

    def call(_number):
        gate.wait()
        return client.limits()

    with ThreadPoolExecutor(12) as pool:
        assert len(list(pool.map(call, range(12)))) == 12
    assert calls(org, "POST", "/token") == [200, 200]
    assert calls(org, "GET", "/limits").count(200) == 13


def test_threads_that_begin_together_sign_in_once(org, client):
    gate = threading.Barrier(8)

    def call(_number):
        gate.wait()
        return client.instance_url

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(call, range(8))) == {org.url}
    assert calls(org, "POST", "/token") == [200]


def test_a_token_that_is_refused_although_it_is_new_is_final(org, client):
    org.faults.add("401", path="limits", times=2)
    with pytest.raises(TargetError, match="INVALID_SESSION_ID") as caught:
        client.limits()
    assert "check the run-as user" in caught.value.next_step
    assert calls(org, "GET", "/limits") == [401, 401]


def test_a_sign_in_that_fails_in_the_middle_of_a_run_is_tried_again(org, client):
    client.limits()
    org.expire_tokens()
    org.faults.add("reset-before", path="oauth2/token")
    org.faults.add("503", path="oauth2/token")
    assert client.limits()
    assert calls(org, "POST", "/token") == [200, 0, 503, 200]


@pytest.mark.parametrize(
    "fault",
    [
        *("503", "500", "502", "403", "403-concurrent"),
        *("reset-before", "reset-during", "reset-after", "cut-answer"),
    ],
)
def test_what_may_succeed_later_is_tried_again(org, client, fault):
    org.faults.add(fault, method="GET", path="limits", times=3)
    assert client.limits()
    assert len(calls(org, "GET", "/limits")) == 4


def test_an_answer_that_does_not_come_in_time_is_asked_for_again(org, make_client):
    client = make_client(timeout=(5.0, 0.2))
    client.instance_url  # noqa: B018 - signs in
    org.faults.add("slow", method="GET", path="limits", delay=0.6, times=2)
    assert client.limits()
    assert [fault["fired"] for fault in org.faults.shown()] == []


def test_pauses_of_threads_that_fail_together_differ(org, make_client, monkeypatch):
    client, pauses = make_client(first_wait=1.0, attempts=9), []
    monkeypatch.setattr(client.stop, "wait", lambda seconds: pauses.append(seconds) and None)
    org.faults.add("503", path="limits", times=8)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: client.limits(), range(8)))
    assert len(pauses) == 8
    assert len(set(pauses)) > 6


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("503", "SERVER_UNAVAILABLE"),
        ("500", "text/html"),
        ("403", "REQUEST_LIMIT_EXCEEDED: TotalRequests Limit exceeded."),
        ("reset-before", "No answer from http://127.0.0.1"),
    ],
)
def test_what_fails_every_time_ends_as_unavailable_with_the_reason(org, client, fault, words):
    org.faults.add(fault, method="GET", path="limits", times=9)
    with pytest.raises(TargetUnavailable, match=words) as caught:
        client.limits()
    assert "same run_id" in caught.value.next_step
    assert len(calls(org, "GET", "/limits")) == 4


def test_a_call_that_must_not_be_repeated_is_sent_once(org, client):
    org.faults.add("reset-after", method="PATCH", path="Product2")
    with pytest.raises(TargetUnavailable):
        client.send("PATCH", "/sobjects/Product2/ProductCode/P1", json={"Name": "a"}, repeat=False)
    assert len(calls(org, "PATCH", "/P1")) == 1
    assert org.count("Product2") == 1


def test_retry_after_is_waited_for(org, client, monkeypatch):
    pauses = []
    monkeypatch.setattr(client.stop, "wait", lambda seconds: pauses.append(seconds) and None)
    org.faults.add("429", path="limits", retry_after="7")
    assert client.limits()
    assert pauses == [7]
    assert calls(org, "GET", "/limits") == [429, 200]


def test_pauses_grow_and_none_is_longer_than_a_minute(mock, make_client, monkeypatch):
    pauses = []
    client = make_client(first_wait=1.0, attempts=10)
    monkeypatch.setattr(client.stop, "wait", lambda seconds: pauses.append(seconds) and None)
    for _ in range(9):
        mock.get(LIMITS, status=503)
    mock.get(LIMITS, json={})
    assert client.limits() == {}
    assert all(later > earlier for earlier, later in itertools.pairwise(pauses[:6]))
    assert 1 <= pauses[0] <= 2
    assert max(pauses) <= 61


def test_a_retry_after_of_an_hour_is_not_sat_out(mock, make_client, monkeypatch):
    pauses = []
    client = make_client()
    monkeypatch.setattr(client.stop, "wait", lambda seconds: pauses.append(seconds) and None)
    mock.get(LIMITS, status=503, headers={"Retry-After": "3600"})
    mock.get(LIMITS, json={})
    client.limits()
    assert pauses == [60]


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [("7", 7, 7), (" 7 ", 7, 7), ("", 0, 0), ("soon", 0, 0), ("-3", 0, 0), ("²", 0, 0)],
)
def test_retry_after_is_a_number_of_seconds_or_nothing(value, least, most):
    answer = responses.Response("GET", HOST)
    answer.headers = {"Retry-After": value}
    assert least <= retry_after(answer) <= most


def test_retry_after_can_be_a_date():
    answer = responses.Response("GET", HOST)
    answer.headers = {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)}
    assert 80 < retry_after(answer) <= 90


def test_a_pause_ends_at_once_when_the_run_is_stopped(org, make_client):
    client = make_client(first_wait=60.0)
    client.limits()
    org.faults.add("503", path="limits", times=9)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.limits)
        client.stop.set()
        with pytest.raises(TargetUnavailable, match="The run was stopped"):
            waiting.result(timeout=10)


def test_an_unknown_object_is_final_and_says_what_to_check(org, client):
    with pytest.raises(NotFoundError) as caught:
        client.describe("Nope__c")
    assert caught.value.status == 404
    assert caught.value.error_code == "NOT_FOUND"
    assert "/sobjects/Nope__c/describe" in caught.value.what
    assert "API names" in caught.value.next_step
    assert calls(org, "GET", "describe") == [404]


def test_a_name_with_a_slash_stays_one_name(org, client):
    with pytest.raises(NotFoundError):
        client.describe("Product2/describe?x=")
    assert calls(org, "GET", "/sobjects/Product2/describe?x=/describe") == [404]


def test_a_refusal_keeps_the_code_and_the_message_of_salesforce(org, client):
    with pytest.raises(TargetError) as caught:
        client.send("PATCH", "/sobjects/Product2/ProductCode/P1", json={"Nope__c": "a"})
    assert caught.value.status == 400
    assert caught.value.error_code in caught.value.what
    assert "Nope__c" in caught.value.what


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([{"message": " two\n lines ", "errorCode": "X"}], "X: two lines"),
        ({"error": "invalid", "error_description": "why"}, "invalid: why"),
        ([], "no reason given"),
        ([{}], "no reason given"),
        (["text"], "no reason given"),
        ("text", "no reason given"),
    ],
)
def test_every_form_of_an_error_is_read(mock, client, body, words):
    mock.get(LIMITS, json=body, status=400)
    with pytest.raises(TargetError, match=words):
        client.limits()


def test_an_external_id_that_several_records_share_says_so(mock, client):
    mock.get(LIMITS, json=["/services/data/v66.0/sobjects/Product2/01t1"], status=300)
    with pytest.raises(TargetError) as caught:
        client.limits()
    assert "more than one record" in caught.value.next_step


def test_a_redirect_is_reported_and_not_followed(mock, client):
    mock.get(LIMITS, status=302, headers={"Location": "https://elsewhere.example/"})
    with pytest.raises(TargetError, match="302") as caught:
        client.limits()
    assert "address has moved" in caught.value.next_step


def test_a_page_in_html_with_status_200_is_no_answer_of_salesforce(mock, client):
    mock.get(LIMITS, body="<html>please sign in to the proxy</html>", content_type="text/html")
    with pytest.raises(TargetError, match=r"text/html where JSON was expected") as caught:
        client.limits()
    assert "proxy" in caught.value.next_step


def test_an_error_never_shows_token_or_secret_or_query(org, client):
    org.faults.add("reset-before", path="query", times=9)
    with pytest.raises(TargetUnavailable) as caught:
        client.count("Product2")
    text = str(caught.value)
    assert "Bearer" not in text
    assert SECRET not in text
    assert "SELECT" not in text


def test_a_netrc_of_the_user_does_not_replace_the_token(org, client, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    client.limits()
    assert calls(org, "GET", "/limits") == [200]


def test_proxy_and_certificates_are_those_that_the_environment_names(mock, client, monkeypatch, tmp_path):
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    mock.get(LIMITS, json={})
    for _ in range(2):
        client.limits()
        given = mock.calls[-1].request.req_kwargs
        assert given["proxies"]["https"] == "http://proxy.example:3128"
        assert given["verify"] == str(tmp_path)


def test_a_host_that_needs_no_proxy_gets_none(mock, client, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "example.my.salesforce.com")
    monkeypatch.delenv("no_proxy", raising=False)
    mock.get(LIMITS, json={})
    client.limits()
    assert "https" not in mock.calls[-1].request.req_kwargs["proxies"]


def test_the_use_of_the_org_is_read_from_each_answer(org, client):
    client.limits()
    assert client.api_usage == {"api-usage": (1, 1_000_000)}


def test_several_uses_in_one_header_are_all_read(mock, client):
    mock.get(LIMITS, json={}, headers={"Sforce-Limit-Info": "api-usage=18/5000; api-bursts=1/750, x"})
    client.limits()
    assert client.api_usage == {"api-usage": (18, 5000), "api-bursts": (1, 750)}


def test_user_count_and_describe_say_who_how_many_and_what(org, client):
    client.send("PATCH", "/sobjects/Product2/ProductCode/P1", json={"Name": "a"})
    assert client.user()["preferred_username"]
    assert client.count("Product2") == 1
    assert "ProductCode" in {field["name"] for field in client.describe("Product2")["fields"]}


def test_an_error_that_breaks_off_while_it_is_read_is_tried_again(connect, client):
    seen = []

    def answer(request, _body):
        if request.path.endswith("token"):
            reply(
                request, 200, json.dumps({"access_token": "t", "instance_url": url, "token_type": "Bearer"})
            )
            return
        seen.append(request.path)
        if len(seen) > 1:
            reply(request, 200, "{}")
            return
        reply(request, 400, "[", Content_Length="99")
        request.close_connection = True

    with answering(answer) as url:
        connect(url)
        with client.send("GET", "/limits", stream=True) as found:
            assert found.json() == {}
        client.close()
    assert len(seen) == 2


def test_a_wrong_version_is_final(org, make_client):
    with pytest.raises(FinalError, match="410"):
        make_client(api_version="v25.0").limits()
