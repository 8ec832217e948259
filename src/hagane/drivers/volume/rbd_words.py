"""Who we are for Ceph, and what its commands mean when they end with an error: a cause for people, and whether to wait.

Whatever is wrong with the whole (monitors, keys, the pool) may be mended, and what was ordered waits for that.
"""

import configparser
import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

from hagane.errors import DeviceFailed, HaganeError, Unavailable

CONNECT, OPERATION = 5.0, 30.0  # seconds until Ceph's commands give up: the monitors; anything they asked for
NOTHING = (DeviceFailed, Unavailable)
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT")  # Ceph's commands log between what they say
_NO_MONITOR = re.compile(r"couldn't connect to the cluster|error connecting|authenticate timed out|^timed out$", re.M)
_FULL = re.compile(r"\((28|122)\)|No space left|Disk quota exceeded")


@dataclass(frozen=True, slots=True)
class Client:
    """`user`: without "client."; `conf`, `keyring`: files, "" for where Ceph looks by itself."""

    user: str
    conf: str = ""
    keyring: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """For a command."""
        files = (("--conf", self.conf), ("--keyring", self.keyring))
        return ("--id", self.user, *(word for name, path in files if path for word in (name, path)))

    @property
    def options(self) -> str:
        """For QEMU's tools, which give them to Ceph's library."""
        files = (("conf", self.conf), ("keyring", self.keyring))
        said = [f"id={self.user}", *(f"{name}={_quoted(path)}" for name, path in files if path)]
        return ":".join([*said, f"client_mount_timeout={CONNECT:.0f}"])

    def key(self) -> str:
        """Blocks. Raises Unavailable."""
        for path in [self.keyring] if self.keyring else self._usual():
            try:
                text = Path(path).read_text()
            except OSError:
                continue
            if found := key_in(text, self.user):
                return found
        raise Unavailable(self.no_key)

    def has_key(self) -> bool:
        with contextlib.suppress(Unavailable):
            return bool(self.key())
        return False

    def _usual(self) -> list[str]:
        """https://docs.ceph.com/en/latest/rados/configuration/auth-config-ref/#keys"""
        folder = "/etc/ceph"
        return [f"{folder}/ceph.client.{self.user}.keyring", f"{folder}/ceph.keyring", f"{folder}/keyring"]

    @property
    def no_key(self) -> str:
        return f"There is no key of client.{self.user} in {self.keyring or ' or '.join(self._usual())}."


def key_in(keyring: str, user: str) -> str:
    """A client's key in the text of a keyring; "": it has none."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(keyring)
    except configparser.Error:
        return ""
    return parser.get(f"client.{user}", "key", fallback="").strip()


def _quoted(path: str) -> str:
    return re.sub(r"([\\:=@])", r"\\\1", path)


def cause(error: DeviceFailed, client: Client, pool: str) -> HaganeError:
    """What a command's refusal means."""
    text = error.detail or error.message
    status: int = getattr(error, "status", 0)
    if why := _of_the_whole(text, status, client, pool):
        return Unavailable(why, detail=text)
    if status == 16:
        return Busy("Somebody has it open still; Ceph lets go of a dead one after half a minute.", detail=text)
    if _FULL.search(text):
        return DeviceFailed("The storage backend is full.", detail=text)
    meant = DeviceFailed(f"The storage backend refused: {_said(text)}", detail=text)
    meant.extra["status"] = status
    return meant


class Busy(Unavailable):
    """An image that cannot go now."""


def _of_the_whole(text: str, status: int, client: Client, pool: str) -> str:
    if "unable to open config file" in text:
        return f"Ceph's settings cannot be read: {client.conf or '/etc/ceph/ceph.conf'}."
    if "keyring" in text and "unable to find" in text:
        return client.no_key
    if _NO_MONITOR.search(text):
        if client.keyring and not client.has_key():
            return client.no_key
        if status == 13 or "ermission denied" in text:
            return f"Ceph does not know client.{client.user} by this key: is the keyring the right one?"
        return f"Ceph's monitors did not answer within {CONNECT:.0f} seconds."
    if "error opening pool" in text and "(2)" in text:
        return f"Ceph has no pool {pool}."
    if status == 13 or "(13)" in text or "(1) Operation not permitted" in text:
        return f"Ceph does not let client.{client.user} work in the pool {pool}: it needs the profile rbd there."
    if status == 110 or "(110)" in text:
        return "Ceph did not answer in time: its OSDs may be down, or all full."
    return ""


def _said(text: str) -> str:
    """The last line that is meant for people, without paths."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not _STAMP.match(line)]
    own = [line for line in lines if line.startswith("rbd: ")] or lines or ["no reason given"]
    last = own[-1].removeprefix("rbd: ")
    return last.rpartition(": ")[2] if "'rbd:" in last else last


def is_nothing(error: HaganeError) -> bool:
    """There is no such image."""
    return error.extra.get("status") == 2


def is_there(error: HaganeError) -> bool:
    """Something has this name already."""
    return error.extra.get("status") == 17


def is_needed(error: HaganeError) -> bool:
    """It has copies."""
    return error.extra.get("status") == 39


def is_busy(error: HaganeError) -> bool:
    return isinstance(error, Busy)
