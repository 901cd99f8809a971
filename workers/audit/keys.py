"""The site's Ed25519 key (RFC 8032): a file of mode 0600, and the latest checkpoint it signed.

The file suffices to sign checkpoints, erasures and purges in the site's name. An auditor keeps its
public half, one line, in another place.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from colm.db.audit.checkpoints import Checkpoint
from colm.models.errors import SettingsError
from colm.tasks.config.paths import make_private

#: How a public key begins as text.
PREFIX = "ed25519:"


class SiteKey:
    """The key in a file. Keeps `colm.db.integrity.signatures.Signer`."""

    def __init__(self, path: Path, private: Ed25519PrivateKey) -> None:
        self.path = path
        self._private = private
        raw = private.public_key().public_bytes_raw()
        self._key = PREFIX + base64.b64encode(raw).decode()

    @property
    def key(self) -> str:
        return self._key

    def sign(self, statement: bytes) -> str:
        return base64.b64encode(self._private.sign(statement)).decode()


def create(path: Path) -> SiteKey:
    """A new key in a new file of mode 0600. Raises SettingsError where none can be made."""
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        make_private(path.parent)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise SettingsError(f"the key {path} cannot be made: {error.strerror}") from error
    return SiteKey(path, private)


def load(path: Path) -> SiteKey | None:
    """The key in the file, None where there is no file.

    Raises SettingsError for a file that others may read, or that holds no Ed25519 key.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        pem = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"the key {path} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise SettingsError(f"others may read the key {path}: chmod 600 it, and consider a new one")
    try:
        private = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingsError(f"{path} holds no key that can be read: {error}") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise SettingsError(f"{path} holds a key, but no Ed25519 key")
    return SiteKey(path, private)


def check(key: str, statement: bytes, signature: str) -> bool:
    """Whether the owner of the public key has signed `statement`. Keeps `CheckSignature`."""
    try:
        raw = base64.b64decode(key.removeprefix(PREFIX), validate=True)
        Ed25519PublicKey.from_public_bytes(raw).verify(
            base64.b64decode(signature, validate=True), statement
        )
    except (InvalidSignature, ValueError, binascii.Error):
        return False
    return True


def parse_public(text: str) -> str:
    """`text` as a public key; raises SettingsError."""
    try:
        Ed25519PublicKey.from_public_bytes(
            base64.b64decode(text.removeprefix(PREFIX), validate=True)
        )
    except (ValueError, binascii.Error) as error:
        raise SettingsError(
            f"{text!r} is no public key; 'colm audit key' prints the site's: {PREFIX}..."
        ) from error
    return PREFIX + text.removeprefix(PREFIX)


def note_latest(path: Path, checkpoint: Checkpoint) -> None:
    """Write the latest checkpoint to a file beside the key, out of reach of SQL."""
    noted = _latest_file(path)
    fresh = noted.with_suffix(".new")
    fresh.write_text(json.dumps({"number": checkpoint.number, "hash": checkpoint.hash}) + "\n")
    fresh.replace(noted)


def latest(path: Path) -> tuple[int, str] | None:
    """Number and hash of the latest checkpoint; None if there is none. Raises SettingsError."""
    noted = _latest_file(path)
    with contextlib.suppress(FileNotFoundError):
        try:
            found = json.loads(noted.read_text())
            return int(found["number"]), str(found["hash"])
        except (ValueError, TypeError, KeyError) as error:
            raise SettingsError(f"{noted} is damaged: {error!r}") from error
    return None


def _latest_file(path: Path) -> Path:
    return path.with_name(path.name + ".latest")
