"""OAuth client credentials (Salesforce Help: OAuth 2.0 Client Credentials Flow)."""

import re


def test_a_token_comes_with_the_address_to_use_it_at(org):
    body = org.token().json()
    assert body["token_type"] == "Bearer"
    assert re.fullmatch(r"https?://[^/]+", body["instance_url"])
    assert re.fullmatch(r"\d{13}", body["issued_at"])
    assert re.search(r"/id/00D\w{15}/005\w{15}$", body["id"])
    assert "refresh_token" not in body


def test_a_wrong_secret_is_refused_with_an_object(org):
    refused = org.token(client_secret="wrong")
    assert refused.status_code in (400, 401)
    assert refused.json()["error"] == "invalid_client"
    assert refused.json()["error_description"] == "invalid client credentials"


def test_an_unknown_app_is_refused_with_an_object(org):
    refused = org.token(client_id="nobody")
    assert refused.status_code == 400
    assert refused.json() == {"error": "invalid_client_id", "error_description": "client identifier invalid"}


def test_a_call_with_an_unknown_token_is_refused_with_an_array(org):
    refused = org.call("GET", "/limits", headers={"Authorization": "Bearer 00D000000000000!nothing"})
    assert refused.status_code == 401
    assert refused.json()[0]["errorCode"] in ("INVALID_SESSION_ID", "INVALID_AUTH_HEADER")


def test_every_data_call_says_how_much_of_the_daily_requests_is_used(org):
    assert re.search(r"api-usage=\d+/\d+", org.call("GET", "/sobjects").headers["Sforce-Limit-Info"])
