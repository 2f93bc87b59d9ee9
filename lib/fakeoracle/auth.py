"""The server's half of O5LOGON with a 12c verifier (PBKDF2, AES-256).

The mathematics is that of python-oracledb's client side (src/oracledb/impl/thin/crypto.pyx and messages/auth.pyx).
"""

from __future__ import annotations

import hashlib
import hmac
import os

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

VERIFIER_12C = 0x4815
_VERIFIER_ROUNDS = 4096
_KEY_ROUNDS = 3
_SALT_TAG = b"AUTH_PBKDF2_SPEEDY_KEY"
_NO_IV = bytes(16)  # the protocol uses a zero initialisation vector throughout


def _encrypt(key: bytes, plain: bytes) -> bytes:
    encryptor = Cipher(algorithms.AES(key), modes.CBC(_NO_IV)).encryptor()
    return encryptor.update(plain) + encryptor.finalize()


def _decrypt(key: bytes, secret: bytes) -> bytes:
    decryptor = Cipher(algorithms.AES(key), modes.CBC(_NO_IV)).decryptor()
    return decryptor.update(secret) + decryptor.finalize()


def _pad(plain: bytes) -> bytes:
    padder = padding.PKCS7(128).padder()
    return padder.update(plain) + padder.finalize()


def _unpad(padded: bytes) -> bytes:
    remover = padding.PKCS7(128).unpadder()
    return remover.update(padded) + remover.finalize()


class Login:
    """One attempt to log in: `challenge()` goes out, `check()` judges what comes back.

    `password` None stands for an unknown user: the challenge looks the same, the check always fails.
    """

    def __init__(self, password: str | None) -> None:
        self._password = password
        secret = (password or os.urandom(16).hex()).encode()
        self._salt = os.urandom(16)
        self._key_salt = os.urandom(16)
        stretched = hashlib.pbkdf2_hmac("sha512", secret, self._salt + _SALT_TAG, _VERIFIER_ROUNDS, 64)
        self._verifier = hashlib.sha512(stretched + self._salt).digest()[:32]
        self._server_part = os.urandom(32)
        self._session_key = b""

    def challenge(self) -> list[tuple[str, str, int]]:
        """Return the (key, value, flags) triples of the first reply."""
        return [
            ("AUTH_SESSKEY", _encrypt(self._verifier, self._server_part).hex().upper(), 0),
            ("AUTH_VFR_DATA", self._salt.hex().upper(), VERIFIER_12C),
            ("AUTH_PBKDF2_CSK_SALT", self._key_salt.hex().upper(), 0),
            ("AUTH_PBKDF2_VGEN_COUNT", str(_VERIFIER_ROUNDS), 0),
            ("AUTH_PBKDF2_SDER_COUNT", str(_KEY_ROUNDS), 0),
        ]

    def check(self, answer: dict[str, str]) -> bool:
        """Tell whether the client knows the password; `answer` holds the pairs of its second request."""
        try:
            client_part = _decrypt(self._verifier, bytes.fromhex(answer["AUTH_SESSKEY"])[:32])
            both = (client_part + self._server_part).hex().upper().encode()
            self._session_key = hashlib.pbkdf2_hmac("sha512", both, self._key_salt, _KEY_ROUNDS, 32)
            offered = _unpad(_decrypt(self._session_key, bytes.fromhex(answer["AUTH_PASSWORD"])))[16:]
        except (KeyError, ValueError):
            return False
        return self._password is not None and hmac.compare_digest(offered, self._password.encode())

    def proof(self) -> str:
        """Return AUTH_SVR_RESPONSE: it shows the client that the server knows the password too."""
        return _encrypt(self._session_key, _pad(os.urandom(16) + b"SERVER_TO_CLIENT")).hex().upper()
