"""A webhook is told once, in one small JSON, and whatever it does holds no run up."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from ora2sf import webhook
from ora2sf.connections import Connection, known_secrets
from ora2sf.errors import ConnectionFieldError
from receiver import Receiver, receiver

TOKEN = "T024BE7LD/B0CANARY9/XXcanaryXXhookXX"
ABOUT = {"run_id": "r", "table": "t", "window": None, "step": "03_reconcile", "verdict": "proven"}


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def connected(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_HOOK", json.dumps(fields))


def told(**more: Any) -> dict[str, Any]:
    return webhook.message("verdict", ABOUT | more, "books")


def test_an_address_that_is_a_secret_as_a_whole_stands_in_the_password(
    hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected(monkeypatch, password=f"{hook.url}/services/{TOKEN}?v=2")
    assert webhook.send("hook", told()) == webhook.Sent(1, pytest.approx(0, abs=2), "")
    assert hook.paths == [f"/services/{TOKEN}?v=2"]
    assert "Authorization" not in hook.headers[0]
    assert hook.messages[0]["verdict"] == "proven"
    assert hook.headers[0]["Idempotency-Key"] == hook.messages[0]["key"]


def test_another_password_goes_as_a_bearer_token_to_the_address_in_host(
    hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected(monkeypatch, host=f"{hook.url}/in", password="canary-bearer")
    webhook.send("hook", told())
    assert hook.paths == ["/in"]
    assert hook.headers[0]["Authorization"] == "Bearer canary-bearer"


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({}, "has no host"),
        ({"host": "http://hooks.example.com/x"}, "plain http"),
        ({"password": "http://hooks.example.com/canary"}, "plain http"),
        ({"password": "https://user:canary@hooks.example.com/x"}, "not a web address"),
        ({"password": "ftp://hooks.example.com/canary"}, "not a web address"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_being_quoted(
    fields: dict[str, str], wrong: str
) -> None:
    with pytest.raises(ConnectionFieldError, match=wrong) as refused:
        webhook.address(Connection(conn_id="hook", **fields))  # type: ignore[arg-type]
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    ("answers", "tries", "reason"),
    [
        ([503, 500, 200], 3, ""),
        ([429, 204], 2, ""),
        ([500, 502, 503, 204], 3, "HTTP 503"),
        ([404, 204], 1, "HTTP 404"),
        ([302, 204], 1, "HTTP 302"),
    ],
)
def test_three_tries_for_what_may_pass_one_for_a_refusal_and_no_redirect_is_followed(
    hook: Receiver, monkeypatch: pytest.MonkeyPatch, answers: list[int], tries: int, reason: str
) -> None:
    connected(monkeypatch, host=hook.url)
    hook.answers = answers
    sent = webhook.send("hook", told())
    assert (sent.tries, sent.reason, len(hook.messages)) == (tries, reason, tries)
    assert len({one["key"] for one in hook.messages}) == 1


def test_nobody_there_is_an_answer_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    connected(monkeypatch, host=f"http://127.0.0.1:{port}")
    assert webhook.send("hook", told()).reason == "ConnectionError"
    assert webhook.send("unheard_of", told()).reason == "ConnectionFieldError"


def test_a_receiver_that_answers_byte_by_byte_is_left_alone_after_a_while(
    hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected(monkeypatch, host=hook.url)
    monkeypatch.setattr(webhook, "LONGEST", 0.6)
    hook.drips = True
    sent = webhook.send("hook", told())
    assert sent.reason == "no answer in 0.6 seconds"
    assert sent.seconds < 3


def test_the_key_is_that_of_the_event_and_the_books_and_not_of_the_moment() -> None:
    assert told()["key"] == told(time="later", sentence="x")["key"]
    assert told()["key"] != told(verdict="complete")["key"]
    assert webhook.message("verdict", ABOUT, "other books")["key"] != told()["key"]


def test_no_part_of_a_secret_address_or_of_a_proxy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    connected(monkeypatch, password=f"https://hooks.example.com/services/{TOKEN}?sig=canarysig")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:canary%2Fproxy@proxy.example.com:3128")
    for part in (f"/services/{TOKEN}", "XXcanaryXXhookXX", "canarysig", "canary%2Fproxy", "canary/proxy"):
        assert part in known_secrets()
    said = webhook.message(
        "failure", {"sentence": f"Max retries exceeded with url: /services/{TOKEN}?sig=canarysig"}, ""
    )
    assert "anary" not in json.dumps(said)
