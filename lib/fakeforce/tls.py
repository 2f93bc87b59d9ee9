"""Certificates for https on loopback: made once in a folder, taken again the next time."""

from __future__ import annotations

import ipaddress
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .errors import FakeforceError

DAYS = 365  # more than 398 days some clients refuse
SPARE = timedelta(days=1)  # a certificate this close to its end is made anew


class Tls(NamedTuple):
    """Files for a TLS server; ``ca`` is what clients must trust."""

    ca: Path
    cert: Path
    key: Path


def made_in(folder: str | Path) -> Tls:
    """A CA and a certificate for 127.0.0.1, ::1 and localhost in the folder, made if they are not there.

    The CA's own key is thrown away: nothing else can ever be signed with it. Raises FakeforceError.
    """
    root = Path(folder)
    found = Tls(root / "ca.pem", root / "server.pem", root / "server.key")
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not all(path.exists() for path in found) or _ends(found.cert) < datetime.now(UTC) + SPARE:
            _make(found)
    except (OSError, ValueError) as error:
        text = f"the folder {root} cannot hold certificates: {error}; name another folder or empty this one"
        raise FakeforceError(text) from error
    return checked(found)


def given(cert: str | Path, key: str | Path) -> Tls:
    """A certificate and key that exist already; clients must trust the certificate. Raises FakeforceError."""
    return checked(Tls(Path(cert), Path(cert), Path(key)))


def checked(files: Tls) -> Tls:
    """The files, if a server can use them. Raises FakeforceError."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.cert, files.key)
    except OSError as error:  # ssl.SSLError is one
        text = f"certificate {files.cert} with key {files.key} cannot be used: {error}; give a PEM pair"
        raise FakeforceError(text) from error
    return files


def _ends(cert: Path) -> datetime:
    return x509.load_pem_x509_certificate(cert.read_bytes()).not_valid_after_utc


def _make(files: Tls) -> None:
    ca_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = _certificate("fakeforce test CA", ca_key, "fakeforce test CA", ca_key)
    server = _certificate("localhost", server_key, "fakeforce test CA", ca_key)
    secret = server_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    files.key.unlink(missing_ok=True)
    with os.fdopen(os.open(files.key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
        target.write(secret)
    files.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    files.cert.write_bytes(server.public_bytes(serialization.Encoding.PEM))


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """One certificate; the CA's is the one that signs itself (RFC 5280)."""
    authority = key is signer
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(_named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(
            x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .add_extension(_usage(authority), critical=True)
    )
    if not authority:
        loopback = [x509.IPAddress(ipaddress.ip_address(a)) for a in ("127.0.0.1", "::1")]
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), *loopback])
        made = made.add_extension(names, critical=False).add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
    return made.sign(signer, hashes.SHA256())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority, key_cert_sign=authority, crl_sign=authority,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
