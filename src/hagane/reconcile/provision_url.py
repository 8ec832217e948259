"""Images that instance_info names by a URL, for whoever runs Nodes without an image service.

    raw ──────▶ Node                       streamed through this process, never on its disk; the ramdisk verifies
    qcow2 ────▶ file ─verified─▶ raw bytes, converted once, as images of the store are (provision_image.py)

Nodes reach nothing outside: it is this process that fetches, so only administrators name URLs
(baremetal/node_reach.py). As with the real service a checksum is demanded: the value, or the URL of a list of them.
"""

import asyncio
import contextlib
import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from hagane.baremetal.provision import checksum_of
from hagane.drivers.metadata.base import Stream
from hagane.drivers.provision import web
from hagane.errors import DeviceFailed, Invalid, Unavailable
from hagane.image.inspection import Finding, Inspection

T = TypeVar("T")
FORMATS = ("raw", "qcow2")
HASHES = ("sha1", "sha224", "sha256", "sha384", "sha512")
TRIES, PAUSE = 3, 2.0
PREFIX = "url-"
_SUM = re.compile(r"\b(?:[0-9a-fA-F]{128}|[0-9a-fA-F]{64})\b")


async def checksum(info: Mapping[str, Any], url: str) -> tuple[str, str]:
    """Algorithm and value. Raises Invalid, DeviceFailed."""
    given = str(info.get("image_checksum") or "")
    if not info.get("image_os_hash_value") and web.is_url(given):
        info = dict(info) | {"image_checksum": listed(await asking(lambda: web.text(given)), given, url)}
    algorithm, value = checksum_of(info)
    if not value or (info.get("image_os_hash_algo") and not info.get("image_os_hash_value")):
        raise Invalid('image_source\'s "image_checksum", or "image_os_hash_algo" and "image_os_hash_value" must be '
                      "provided in instance_info.")  # fmt: skip
    if algorithm not in HASHES:
        raise Invalid(
            f"The checksum of {web.shown(url)} cannot be verified: {algorithm} is none of {', '.join(HASHES)}."
        )
    return algorithm, value.lower()


def listed(text: str, where: str, url: str) -> str:
    """The checksum of a file out of a list of them: GNU's, BSD's, or nothing but one. Raises Invalid."""
    name = web.name(url)
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for line in lines:
        found = _SUM.search(line)
        alone = len(lines) == 1 and found is not None and line == found[0]
        if found and (alone or name in (word.strip("*()").rpartition("/")[2] for word in line.split())):
            return found[0]
    raise Invalid(f"Checksum file {web.shown(where)} does not contain name {name}")


async def look(url: str) -> web.Remote:
    """Raises Invalid, DeviceFailed."""
    return await asking(lambda: web.look(url))


async def asking(ask: Callable[[], T]) -> T:
    """Asked again when there is no answer: nobody else does. Raises Invalid, DeviceFailed."""
    for _ in range(TRIES - 1):
        with contextlib.suppress(Unavailable):
            return await asyncio.to_thread(ask)
        await asyncio.sleep(PAUSE)
    try:
        return await asyncio.to_thread(ask)
    except Unavailable as error:
        raise DeviceFailed(error.message) from error


def form(remote: web.Remote, label: str) -> str:
    """What an image is by its first bytes: one of FORMATS. Raises Invalid where that is not what it is called."""
    found = "qcow2" if _inspected(remote.head, "raw").format == "qcow2" else "raw"
    finding = _inspected(remote.head, label or found)
    if problem := finding.refusal or finding.problem:
        raise Invalid(f"Image {web.shown(remote.url)} cannot be used: {problem}")
    if (label or found) not in FORMATS:
        raise Invalid(f"Image {web.shown(remote.url)} is {label}; from a URL one of {', '.join(FORMATS)} is taken.")
    return found


def _inspected(head: bytes, label: str) -> Finding:
    one = Inspection(label, "bare")
    one.feed(head)
    return one.finish()


def stream(url: str, sent: Callable[[int], None], failed: Callable[[str], None]) -> Stream:
    """Its bytes, on their way. Blocks until they begin. Raises Invalid, Unavailable."""
    body = web.Body(url, failed)
    return Stream(body, body.length, sent)


def key(url: str, algorithm: str, value: str) -> str:
    """The name under which a converted one is kept."""
    return f"{PREFIX}{hashlib.sha256(f'{url} {algorithm} {value}'.encode()).hexdigest()[:32]}"


def download(url: str, into: Path, label: str, algorithm: str, value: str) -> None:
    """Fetch a file and see that it is what it should be. Blocks. Raises Invalid, Unavailable."""
    content, digest = Inspection(label, "bare"), hashlib.new(algorithm)
    with into.open("wb") as file:
        web.fetch(url, file, digest.update, content.feed)
    if digest.hexdigest() != value:
        raise Invalid(f"Image {web.shown(url)} failed to verify against its {algorithm} checksum: expected {value}, "
                      f"found {digest.hexdigest()}.")  # fmt: skip
    finding = content.finish()
    if problem := finding.refusal or finding.problem:
        raise Invalid(f"Image {web.shown(url)} cannot be used: {problem}")
