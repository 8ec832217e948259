"""An image, from the network onto the disk: nothing is staged, memory stays flat, the checksum is taken on the way.

    server ──read, hash──▶ eight blocks ──(unpack)──write──▶ disk        verified before anyone is told of success

Reading with hashing has one thread and writing another, so that the slower of the two sets the pace.
"""

import hashlib
import os
import queue
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from .errors import ImageChecksumError, ImageDownloadError, InvalidCommandParamsError, InvalidImage
from .wire import Answer, WireError, ask

BLOCK = 1 << 20
FLUSH = 64 << 20  # so often the disk is waited for: progress is then what the disk has, not what memory has
ATTEMPTS, PAUSE = 20, 3.0  # a minute: the service may be starting anew
LENGTHS = {32: "md5", 64: "sha256", 128: "sha512"}
ALGORITHMS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")

Report = Callable[[int, int | None, float], None]  # bytes done, bytes in all, bytes a second


def check(params: dict[str, Any]) -> None:
    """Whether a description of an image has all that it must. Raises InvalidCommandParamsError."""
    info = params.get("image_info") or {}
    for name in ("id", "urls"):
        if name not in info:
            raise InvalidCommandParamsError(f"Image is missing '{name}' field.")
    if not isinstance(info["urls"], list) or not info["urls"]:
        raise InvalidCommandParamsError("Image 'urls' must be a list with at least one element.")
    pair = info.get("os_hash_algo"), info.get("os_hash_value")
    if any(pair):
        for name in ("os_hash_algo", "os_hash_value"):
            if not isinstance(info.get(name), str) or not info[name]:
                raise InvalidCommandParamsError(f"Image '{name}' must be a non-empty string.")
    elif not info.get("checksum"):
        raise InvalidCommandParamsError(
            "Image checksum is not available, either the 'checksum' field or the 'os_hash_algo' and 'os_hash_value' "
            "fields pair must be set for image verification."
        )


def hash_of(info: dict[str, Any], *, md5: bool) -> tuple[str, str]:
    """Algorithm and expected value. Raises InvalidImage where they cannot be trusted."""
    algorithm, value = info.get("os_hash_algo"), info.get("os_hash_value")
    if not algorithm or not value:
        value = str(info.get("checksum") or "")
        if value.startswith(("http://", "https://")):
            value = _listed(value, info)
        algorithm = LENGTHS.get(len(value), "")
    if algorithm not in ALGORITHMS:
        raise InvalidImage(f"Unable to verify image {info['id']}: no checksum algorithm is known for {value!r}.")
    if algorithm == "md5" and not md5:
        raise InvalidImage(f"Unable to verify image {info['id']}: MD5 checksums are not allowed here.")
    return algorithm, value.lower()


def _listed(url: str, info: dict[str, Any]) -> str:
    """The image's checksum out of a list of checksums."""
    try:
        answer = ask("GET", url)
        text = answer.all(1 << 20).decode(errors="replace") if answer.status == 200 else ""
    except WireError as error:
        raise ImageDownloadError(f"Download of image {url} failed: {error}") from error
    name = info["urls"][0].partition("?")[0].rpartition("/")[2]
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for words in lines:
        if len(words) == 1 or any(word.strip("*()") == name for word in words):
            found = next(
                (word for word in words if len(word) in LENGTHS and not set(word.lower()) - set("0123456789abcdef")), ""
            )
            if found:
                return found
    raise ImageDownloadError(f"Download of image {url} failed: Checksum file does not contain name {name}")


def write(info: dict[str, Any], disk: int, name: str, *, offset: int, room: int, md5: bool, report: Report) -> int:
    """Write the image to the disk at `offset`, where there are `room` bytes, and return how many it had."""
    if info.get("disk_format") not in (None, "raw"):
        raise InvalidImage(
            f"This ramdisk writes raw images only, not {info['disk_format']}: let the service convert it."
        )
    expected = hash_of(info, md5=md5)
    reasons = []
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE)
        for url in info["urls"]:
            try:
                return _stream(url, info, expected, _Target(disk, name, offset, room), report)
            except WireError as error:
                reasons.append(f"URL: {url}. Error: {error}")
                print(f"agent: {reasons[-1]}", flush=True)
    raise ImageDownloadError(f"Download of image {info['id']} failed: {reasons[-1]}")


class _Target:
    def __init__(self, disk: int, name: str, offset: int, room: int) -> None:
        self.disk, self.name, self.start, self.at, self.room = disk, name, offset, offset, room

    def write(self, data: bytes, image: str) -> None:
        if self.at + len(data) - self.start > self.room:
            raise _too_large(image, self.name, self.room)
        view = memoryview(data)
        try:
            while view:
                done = os.pwrite(self.disk, view, self.at)
                self.at += done
                view = view[done:]
        except OSError as error:
            words = f"Unable to write image to device {self.name}. Error: {error}"
            raise ImageDownloadError(f"Download of image {image} failed: {words}") from error

    def settle(self) -> None:
        """Wait for the disk, and give the memory back."""
        os.fdatasync(self.disk)
        os.posix_fadvise(self.disk, 0, self.at, os.POSIX_FADV_DONTNEED)


def _too_large(image: str, name: str, room: int) -> ImageDownloadError:
    words = f"Unable to write image to device {name}. Error: No space left on device: it has {room} bytes."
    return ImageDownloadError(f"Download of image {image} failed: {words}")


def _stream(url: str, info: dict[str, Any], expected: tuple[str, str], target: _Target, report: Report) -> int:
    answer = ask("GET", url)
    try:
        if answer.status != 200:
            raise _refused(answer, url, info["id"])
        packed = info.get("compression") == "gzip" or url.partition("?")[0].endswith(".gz")
        if not packed and answer.length is not None and answer.length > target.room:
            raise _too_large(info["id"], target.name, target.room)
        return _copy(answer, info["id"], expected, target, report, packed=packed)
    finally:
        answer.connection.close()


def _refused(answer: Answer, url: str, image: str) -> Exception:
    words = f"Received status code {answer.status} from {url}, expected 200."
    return (
        WireError(words) if answer.status >= 500 else ImageDownloadError(f"Download of image {image} failed: {words}")
    )


def _copy(
    answer: Answer, image: str, expected: tuple[str, str], target: _Target, report: Report, *, packed: bool
) -> int:
    digest = hashlib.new(expected[0])
    unpack = zlib.decompressobj(wbits=31) if packed else None
    began, done, flushed = time.monotonic(), 0, target.at
    for block in _ahead(answer, digest.update):
        done += len(block)
        for piece in _pieces(unpack, block):
            target.write(piece, image)
        if target.at - flushed >= FLUSH:
            target.settle()
            flushed = target.at
        report(done, answer.length, done / max(time.monotonic() - began, 0.001))
    target.settle()
    if unpack is not None and not unpack.eof:
        raise ImageDownloadError(f"Download of image {image} failed: the compressed image ends early.")
    if digest.hexdigest() != expected[1]:
        raise ImageChecksumError(
            f"Image failed to verify against checksum. location: {target.name}; image ID: {image}; "
            f"image checksum: {expected[1]}; verification checksum: {digest.hexdigest()}"
        )
    return target.at - target.start


def _pieces(unpack: Any, block: bytes) -> Iterator[bytes]:
    """What a block is when unpacked: pieces of a limited size, however well it was packed."""
    if unpack is None:
        yield block
        return
    try:
        while block and not unpack.eof:
            yield unpack.decompress(block, BLOCK)
            block = unpack.unconsumed_tail
    except zlib.error as error:
        raise InvalidImage(f"The image cannot be unpacked: {error}") from error


def _ahead(answer: Answer, seen: Callable[[bytes], None]) -> Iterator[bytes]:
    """Blocks of the body, read and `seen` in a thread of their own, a few ahead."""
    blocks: queue.Queue[bytes | Exception] = queue.Queue(8)
    stopped = threading.Event()

    def put(item: bytes | Exception) -> None:
        while not stopped.is_set():
            try:
                blocks.put(item, timeout=1)
                return
            except queue.Full:
                continue

    def fetch() -> None:
        try:
            while not stopped.is_set():
                block = answer.read(BLOCK)
                seen(block)
                put(block)
                if not block:
                    return
        except Exception as error:  # it belongs to whoever waits for the blocks
            put(error)

    threading.Thread(target=fetch, daemon=True).start()
    try:
        while block := blocks.get():
            if isinstance(block, Exception):
                raise block
            yield block
    finally:
        stopped.set()
