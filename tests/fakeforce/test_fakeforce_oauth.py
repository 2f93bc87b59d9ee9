import re

import pytest
import requests

from fakeforce import FakeforceError

TOKEN = "/services/oauth2/token"


def _post(org, auth=None, **form):
    return requests.post(org.url + TOKEN, data=form, auth=auth, timeout=10)


def test_an_expired_token_is_refused_with_an_array_and_a_new_one_works(org, client):
    org.expire_tokens()
    reply = client.call("GET", "/limits")
    assert reply.status_code == 401
    assert reply.json() == [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]
    client.login()
    assert client.call("GET", "/limits").status_code == 200


def test_pushing_the_clock_past_the_session_time_expires_the_token(org, client):
    org.clock.push(7199)
    assert client.call("GET", "/limits").status_code == 200
    org.clock.push(2)
    assert client.call("GET", "/limits").status_code == 401


def test_the_jwt_form_of_an_expired_token_can_be_switched_on(org, client):
    org.change(expiry_form="jwt")
    org.expire_tokens()
    reply = client.call("GET", "/limits")
    assert reply.json()[0]["errorCode"] == "INVALID_AUTH_HEADER"
    assert reply.headers["www-authenticate"] == "Token"


def test_a_call_without_a_token_is_refused(org):
    reply = requests.get(org.url + "/services/data/v66.0/sobjects", timeout=10)
    assert reply.status_code == 401


def test_userinfo_and_the_identity_address_name_the_user(org, client):
    info = client.http.get(org.url + "/services/oauth2/userinfo", timeout=10).json()
    assert info["user_id"].startswith("005")
    identity = client.http.get(f"{org.url}/id/{info['organization_id']}/{info['user_id']}", timeout=10).json()
    assert identity["preferred_username"] == info["preferred_username"]
    assert client.call("GET", f"/sobjects/User/{info['user_id']}").json()["Username"] == info["username"]


def test_introspection_tells_when_a_token_ends(org, client):
    token = client.http.headers["Authorization"].partition(" ")[2]
    reply = requests.post(
        org.url + "/services/oauth2/introspect",
        data={"token": token},
        auth=("demo-client", "demo-secret"),
        timeout=10,
    )
    assert reply.json()["active"] is True
    assert reply.json()["exp"] - reply.json()["iat"] == 7200


def test_the_list_of_versions_needs_no_token_and_names_v66(org):
    reply = requests.get(org.url + "/services/data", timeout=10)
    assert "66.0" in [item["version"] for item in reply.json()]
    assert "sforce-limit-info" not in reply.headers


@pytest.mark.parametrize(("version", "status"), [("36.0", 200), ("67.0", 200), ("25.0", 410), ("99.0", 404)])
def test_old_versions_work_and_retired_ones_are_gone(org, make_client, version, status):
    assert make_client(org.url, version=version).call("GET", "/limits").status_code == status


def test_each_data_call_costs_one_request_and_an_empty_budget_is_refused(org, client):
    org.change(max_api_requests=3)
    first = client.call("GET", "/limits")
    assert first.headers["sforce-limit-info"] == "api-usage=1/3"
    assert first.json()["DailyApiRequests"] == {"Max": 3, "Remaining": 2}
    client.call("GET", "/sobjects")
    client.call("GET", "/sobjects")
    refused = client.call("GET", "/sobjects")
    assert refused.status_code == 403
    assert refused.json()[0]["errorCode"] == "REQUEST_LIMIT_EXCEEDED"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("authentication-failure", "authentication failure"),
        ("flow-not-enabled", "Client credentials flow not enabled"),
        ("rate-exceeded", "login rate exceeded"),
    ],
)
def test_other_refusals_of_the_token_endpoint_can_be_asked_for_by_name(org, name, text):
    org.change(token_error=name)
    reply = _post(org, auth=("demo-client", "demo-secret"), grant_type="client_credentials")
    assert (reply.status_code, reply.json()["error_description"]) == (400, text)
    org.change(token_error="")
    assert _post(org, auth=("demo-client", "demo-secret"), grant_type="client_credentials").status_code == 200


@pytest.mark.parametrize(
    "wrong", [{"token_error": "nope"}, {"expiry_form": "xml"}, {"expire_after": -1}, {"expire_after": 1e300}]
)
def test_a_setting_outside_its_values_is_refused_and_nothing_changes(org, wrong):
    before = org.settings.shown()
    with pytest.raises(FakeforceError, match=next(iter(wrong))):
        org.change(**wrong)
    assert org.settings.shown() == before


def test_expire_after_sets_the_life_of_the_tokens_to_come(org, client):
    org.change(expire_after=60)
    client.login()
    org.clock.push(59)
    assert client.call("GET", "/limits").status_code == 200
    org.clock.push(2)
    assert client.call("GET", "/limits").status_code == 401


@pytest.mark.parametrize("header", ["Basic !!!", "Basic Og==", "Basic " + "x" * 100, "Bearer x", "Basic"])
def test_a_basic_header_that_cannot_be_read_is_an_unknown_client(org, header):
    reply = requests.post(
        org.url + TOKEN,
        data={"grant_type": "client_credentials"},
        headers={"Authorization": header},
        timeout=10,
    )
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_client_id")


def test_introspection_of_an_ended_token_and_of_a_wrong_app(org, client):
    org.expire_tokens()
    token = client.http.headers["Authorization"].partition(" ")[2]
    ask = org.url + "/services/oauth2/introspect"
    ended = requests.post(ask, data={"token": token}, auth=("demo-client", "demo-secret"), timeout=10)
    assert (ended.status_code, ended.json()) == (200, {"active": False})
    wrong = requests.post(ask, data={"token": token}, auth=("demo-client", "wrong"), timeout=10)
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")


def test_userinfo_has_every_key_that_public_clients_read(org, client):
    info = client.http.get(org.url + "/services/oauth2/userinfo", timeout=10).json()
    wanted = (
        "user_id name email organization_id sub email_verified given_name family_name zoneinfo photos profile picture"
        " address urls active user_type language locale utcOffset updated_at preferred_username"
    )
    assert set(wanted.split()) <= set(info)


def test_the_resource_map_names_the_identity(org, client):
    found = client.call("GET", "").json()
    info = client.http.get(org.url + "/services/oauth2/userinfo", timeout=10).json()
    assert found["identity"] == f"{org.url}/id/{info['organization_id']}/{info['user_id']}"
    assert found["jobs"] == "/services/data/v66.0/jobs"
    assert client.http.get(found["identity"], timeout=10).json()["user_id"] == info["user_id"]


def test_limits_have_the_documented_names_and_the_older_name_before_v49(org, client, make_client):
    found = client.call("GET", "/limits").json()
    assert {
        "ConcurrentAsyncGetReportInstances",
        "DailyApiRequests",
        "DailyAsyncApexExecutions",
        "DailyBulkApiBatches",
        "DailyBulkV2QueryFileStorageMB",
        "DailyBulkV2QueryJobs",
        "DataStorageMB",
        "FileStorageMB",
    } <= set(found)
    assert all(set(limit) == {"Max", "Remaining"} for limit in found.values())
    assert "DailyBulkApiRequests" in make_client(org.url, version="48.0").call("GET", "/limits").json()


def test_every_version_from_36_to_the_newest_works_and_21_to_30_are_gone(client):
    def status(version):
        return client.http.get(f"{client.url}/services/data/v{version}.0/sobjects", timeout=10).status_code

    assert {status(v) for v in range(36, 68)} == {200}
    assert {status(v) for v in range(21, 31)} == {410}
    assert {status(v) for v in (0, 1, 68, 99)} == {404}
    gone = client.http.get(f"{client.url}/services/data/v29.0/sobjects", timeout=10)
    assert gone.json()[0]["errorCode"] == "GONE"


def test_each_data_answer_says_how_many_requests_are_used(org, client):
    for path in ("/limits", "/sobjects/Nope", "/query?q=x", "/jobs/ingest"):
        reply = client.call("GET", path)
        assert re.fullmatch(r"api-usage=\d+/1000000", reply.headers["sforce-limit-info"])
