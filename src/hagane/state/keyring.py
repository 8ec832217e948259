"""A file of Fernet keys, the one in use first, readable by its owner alone.

    (no file) ── first use ──▶ [k1] ── rotate ──▶ [k2 k1] ── rotate ──▶ [k3 k2 k1] ── rotate(keep=1) ──▶ [k4 k3]
                                                    writes with k2, still reads what k1 wrote

The file appears whole or not at all, and on the disk before anything is written with its keys: two processes that
start together agree on one key, and a power cut cannot lose the key of what it encrypted. Another process's rotation
is noticed when something cannot be read. Losing the file loses what it encrypted: back it up with the database.
"""

import os
import stat
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from hagane.errors import ConfigError


class KeyRing:
    """Encrypts with the first key, decrypts with any. Raises ConfigError if the file cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._write([Fernet.generate_key().decode()], first=True)
        self._load()

    def __len__(self) -> int:
        return len(self._keys)

    def encrypt(self, data: bytes) -> bytes:
        return self._newest.encrypt(data)

    def decrypt(self, token: bytes) -> bytes:
        """Raises InvalidToken for what none of the keys wrote."""
        try:
            return self._all.decrypt(token)
        except InvalidToken:
            if not self.refresh():
                raise
            return self._all.decrypt(token)

    def wrote_with_newest(self, token: bytes) -> bool:
        try:
            self._newest.extract_timestamp(token)
        except InvalidToken:
            return False
        return True

    def rotate(self, *, keep: int) -> None:
        """Write with a new key from now on; `keep` of the older ones stay readable."""
        self.refresh()
        self._write([Fernet.generate_key().decode(), *self._keys[:keep]], first=False)
        self._load()

    def retire(self) -> None:
        """Forget all keys but the newest: what older ones wrote becomes unreadable."""
        self.refresh()
        self._write(self._keys[:1], first=False)
        self._load()

    def refresh(self) -> bool:
        """Take up another process's rotation. Whether there was one."""
        if self._identity() == self._loaded:
            return False
        self._load()
        return True

    def _identity(self) -> tuple[int, int, int]:
        try:
            found = self.path.stat()
        except OSError as error:
            raise ConfigError(f"the key file {self.path} cannot be read: {error.strerror}") from error
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _load(self) -> None:
        self._loaded = self._identity()
        try:
            if stat.S_IMODE(self.path.stat().st_mode) & 0o077:
                raise ConfigError(f"the key file {self.path} is open to others: chmod 600 it, and rotate its keys")
            lines = self.path.read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the key file {self.path} cannot be read: {error}") from error
        self._keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        try:
            fernets = [Fernet(key) for key in self._keys]
        except ValueError as error:
            raise ConfigError(f"the key file {self.path} is damaged; restore it from a backup") from error
        if not fernets:
            raise ConfigError(f"the key file {self.path} is empty; restore it from a backup")
        self._newest, self._all = fernets[0], MultiFernet(fernets)

    def _write(self, keys: list[str], *, first: bool) -> None:
        text = "# Keys of this cloud, the one in use first. Secret. Back them up.\n" + "\n".join(keys) + "\n"
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.{os.urandom(4).hex()}")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            if first:
                self._link(temporary)
            else:
                temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _link(self, temporary: Path) -> None:
        """Unlike a rename this fails if another process was first, and then its key is the one."""
        try:
            os.link(temporary, self.path)
        except FileExistsError:
            return
