"""Secrets in rows (BMC passwords, CHAP keys, TOTP seeds) are encrypted at rest; the key is a file beside the database.

    secrets = Secrets(state_folder)
    row["password"] = secrets.encrypt("hunter2")        # a text for a TEXT column
    secrets.decrypt(row["password"])                    # "hunter2"

To change the key: `rotate`, then `renew` every stored secret, then `retire`. Until then both keys read.
"""

from pathlib import Path

from cryptography.fernet import InvalidToken

from hagane.errors import ConfigError
from hagane.state.keyring import KeyRing


class Secrets:
    """About 10 µs each way. Nothing here logs or repeats what it encrypts."""

    def __init__(self, state: Path) -> None:
        self._ring = KeyRing(state / "keys" / "secrets")

    def encrypt(self, text: str) -> str:
        return self._ring.encrypt(text.encode()).decode()

    def decrypt(self, encrypted: str) -> str:
        """Raises ConfigError if no key of the file wrote it: the file is not the one that belongs to the database."""
        try:
            return self._ring.decrypt(encrypted.encode("utf-8", "replace")).decode()
        except InvalidToken:
            raise ConfigError(
                f"A stored secret cannot be read with the keys in {self._ring.path}: "
                "restore that file from the backup that belongs to this database."
            ) from None

    def rotate(self) -> None:
        """Encrypt with a new key from now on. All older keys still read."""
        self._ring.rotate(keep=len(self._ring))

    def renew(self, encrypted: str) -> str:
        """The same secret under the newest key; the same text if it is already."""
        if self._ring.wrote_with_newest(encrypted.encode("utf-8", "replace")):
            return encrypted
        return self.encrypt(self.decrypt(encrypted))

    def retire(self) -> None:
        """Forget the older keys. Every stored secret must have been renewed."""
        self._ring.retire()
