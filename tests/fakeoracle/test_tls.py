"""Encrypted connections."""

import ssl
import stat

import oracledb
import pytest

from fakeoracle import serve

LOGIN = {"user": "tms", "password": "secret"}


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory):
    with serve(tls=tmp_path_factory.mktemp("tls")) as server:
        yield server


def trusting(server):
    return ssl.create_default_context(cafile=server.ca_file)


def test_the_driver_connects_with_a_context_that_trusts_the_authority(encrypted):
    assert encrypted.dsn.startswith("tcps://127.0.0.1:")
    with oracledb.connect(**LOGIN, dsn=encrypted.dsn, ssl_context=trusting(encrypted)) as connection:
        rows = connection.cursor().execute("select :1 from dual", ["ก" * 1000]).fetchall()
        assert rows == [("ก" * 1000,)]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_driver_connects_with_a_wallet_and_checks_the_name(encrypted, tmp_path, host):
    (tmp_path / "ewallet.pem").write_bytes(encrypted.ca_file.read_bytes())
    dsn = f"tcps://{host}:{encrypted.port}/FREEPDB1"
    wallet = {"wallet_location": str(tmp_path), "ssl_server_dn_match": True}
    with oracledb.connect(**LOGIN, dsn=dsn, **wallet) as connection:
        connection.ping()


def test_a_client_that_does_not_trust_the_authority_turns_away(encrypted):
    with pytest.raises(oracledb.OperationalError, match="DPY-6005"):
        oracledb.connect(**LOGIN, dsn=encrypted.dsn, ssl_context=ssl.create_default_context())


@pytest.mark.filterwarnings("ignore:unclosed", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_client_that_does_not_encrypt_gets_nowhere(encrypted):
    with pytest.raises(oracledb.OperationalError, match=r"DPY-6005|DPY-4011"):
        oracledb.connect(**LOGIN, dsn=encrypted.dsn.removeprefix("tcps://"))


def test_much_travels_both_ways_at_once_and_a_break_is_heard(encrypted):
    with oracledb.connect(**LOGIN, dsn=encrypted.dsn, ssl_context=trusting(encrypted)) as connection:
        cursor = connection.cursor()
        cursor.execute("create table big (n number(9), s varchar2(200))")
        rows = [(i, f"{i:0200d}") for i in range(5000)]
        cursor.executemany("insert into big values (:1, :2)", rows)
        cursor.arraysize = cursor.prefetchrows = 3000
        assert cursor.execute("select * from big order by n").fetchall() == rows
        encrypted.faults.add("slow-60", at="execute", sql="dummy")
        connection.call_timeout = 100
        with pytest.raises(oracledb.DatabaseError, match="DPY-4024"):
            cursor.execute("select dummy from dual")
        connection.call_timeout = 0
        encrypted.faults.clear()
        connection.ping()


@pytest.mark.filterwarnings("ignore:unclosed", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("how", ["fin", "rst", "half"])
def test_an_encrypted_connection_can_be_dropped_too(encrypted, how):
    connection = oracledb.connect(**LOGIN, dsn=encrypted.dsn, ssl_context=trusting(encrypted))
    encrypted.faults.add(f"drop-{how}", at="execute", call=1)
    with pytest.raises(oracledb.DatabaseError, match="DPY-4011"):
        connection.cursor().execute("select 1 from dual")


def test_certificates_are_kept_private_and_used_again(tmp_path):
    seen = []
    for _ in range(2):
        with serve(tls=tmp_path / "new") as server:
            seen.append(server.ca_file.read_bytes())
    assert seen[0] == seen[1]
    assert stat.S_IMODE((tmp_path / "new" / "server-key.pem").stat().st_mode) == 0o600


def test_certificates_of_ones_own_are_used(encrypted):
    folder = encrypted.ca_file.parent
    with serve(cert=folder / "server.pem", key=folder / "server-key.pem") as server:
        assert server.ca_file is None
        with oracledb.connect(**LOGIN, dsn=server.dsn, ssl_context=trusting(encrypted)) as connection:
            connection.ping()


def test_a_certificate_needs_its_own_key(encrypted):
    folder = encrypted.ca_file.parent
    files = {"cert": folder / "ca.pem", "key": folder / "server-key.pem"}
    with pytest.raises(ValueError, match="not a certificate and its key"), serve(**files):
        pass
    with pytest.raises(ValueError, match="together"), serve(cert=folder / "ca.pem"):
        pass
