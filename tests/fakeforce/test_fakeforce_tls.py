"""https with certificates that the server makes, keeps and takes again, and with given ones."""

import ssl
import stat
import urllib.request
from pathlib import Path

import pytest
import requests

from conftest import SCHEMA
from fakeforce import FakeforceError, serve
from fakeforce.tls import made_in

FORM = {"grant_type": "client_credentials", "client_id": "demo-client", "client_secret": "demo-secret"}


def token(url, ca):
    return requests.post(f"{url}/services/oauth2/token", data=FORM, verify=ca, timeout=10).json()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("certs")


@pytest.fixture(scope="module")
def secure(folder, fakeforce_server):
    return fakeforce_server(SCHEMA, tls=folder)


def test_a_client_that_trusts_the_ca_file_speaks_https(secure):
    assert secure.url.startswith("https://127.0.0.1:")
    issued = token(secure.url, secure.ca_file)
    assert issued["instance_url"] == secure.url
    assert issued["id"].startswith(secure.url)
    named = token(secure.url.replace("127.0.0.1", "localhost"), secure.ca_file)
    assert named["instance_url"].startswith("https://localhost:")


def test_a_client_that_does_not_trust_it_refuses(secure):
    with pytest.raises(requests.exceptions.SSLError):
        token(secure.url, True)


def test_the_strictest_checks_of_python_accept_the_certificate(secure):
    strict = ssl.create_default_context(cafile=secure.ca_file)
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    with urllib.request.urlopen(f"{secure.url}/services/data", context=strict, timeout=10) as reply:
        assert reply.status == 200


def test_a_cut_connection_is_cut_under_tls_too(secure):
    secure.faults.add("reset-before", path="services/data$")
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{secure.url}/services/data", verify=secure.ca_file, timeout=10)
    assert requests.get(f"{secure.url}/services/data", verify=secure.ca_file, timeout=10).status_code == 200


def test_the_key_is_readable_by_its_owner_only_and_the_files_are_taken_again(secure, folder):
    assert stat.S_IMODE((folder / "server.key").stat().st_mode) == 0o600
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(before) == {"ca.pem", "server.pem", "server.key"}
    made_in(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_given_certificate_is_used(folder):
    files = made_in(folder)
    with serve(SCHEMA, cert=files.cert, key=files.key) as org:
        assert org.ca_file == str(files.cert)
        assert token(org.url, str(files.ca))["token_type"] == "Bearer"


def test_certificates_without_a_folder_go_away_with_the_org():
    with serve(SCHEMA, tls=True) as org:
        ca = org.ca_file
        assert token(org.url, ca)["token_type"] == "Bearer"
    assert not Path(ca).exists()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"cert": "x.pem"}, "give both"),
        ({"key": "x.key"}, "give both"),
        ({"tls": True, "cert": "x.pem", "key": "x.key"}, "choose one"),
        ({"cert": "x.pem", "key": "x.key"}, "cannot be used"),
        ({"tls": "/proc/nowhere"}, "name another folder"),
    ],
)
def test_options_that_make_no_https_are_refused_in_one_sentence(options, text):
    with pytest.raises(FakeforceError, match=text), serve(SCHEMA, **options):
        pass
