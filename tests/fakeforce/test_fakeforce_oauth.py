import pytest
import requests


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
