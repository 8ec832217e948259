"""The bytes that are written to Nodes: an image as raw bytes, whose checksum is known before they go out.

    raw ─────────────────────────────▶ the store's own file, with the store's checksum
    qcow2 and others ─▶ converted once ▶ state/nodes/images/<image>.<upload>.raw, with a checksum of its own beside it
    qcow2 of a URL ─▶ fetched, verified, converted once ▶ state/nodes/images/url-<hash>.raw, until unused for a day

A ramdisk of a few megabytes writes what it gets and has no room for a second copy: so it always gets raw bytes.
"""

import asyncio
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hagane.cloud import Cloud
from hagane.errors import DeviceFailed, Invalid, NotFound, Unavailable
from hagane.image import store
from hagane.image.image import Image
from hagane.image.store import ImageInfo
from hagane.reconcile import provision_url
from hagane.state import clock
from hagane.state.database import Reader

CONVERT_SECONDS = 3600.0
KEPT_SECONDS = 86400.0  # longer than any deployment takes
HASH = "sha512"


@dataclass(frozen=True, slots=True)
class Raw:
    """A file that may be streamed."""

    path: Path
    size: int
    sha512: str


class _Mark(msgspec.Struct):
    size: int
    sha512: str


class RawImages:
    """All raw copies of this process's state folder. One conversion of an image at a time, however many wait for it."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._folder = cloud.config.state / "nodes" / "images"
        self._locks: dict[str, asyncio.Lock] = {}

    async def ready(self, image_id: str, claimed: tuple[str, str] = ("", "")) -> Raw:
        """The image's raw bytes, made first if need be. `claimed`: algorithm and value of the checksum that the image
        has in the eyes of who asks. Raises NotFound, Invalid, Unavailable, DeviceFailed."""
        image, checksum = await self._image(self._cloud.db, image_id)
        if claimed[1]:
            await _agreed(image, checksum, *claimed)
        if image.format == "raw":
            return Raw(image.path, image.size, checksum)
        file = self._file(image.path.name)
        async with self._locks.setdefault(image_id, asyncio.Lock()):
            return _known(file) or await self._convert(image.path, image.format, file)

    async def of_url(self, url: str, label: str, algorithm: str, value: str) -> tuple[str, Raw]:
        """The raw bytes of an image that is not raw where it is, and the id under which `find` has them. Raises
        Invalid, DeviceFailed."""
        name = provision_url.key(url, algorithm, value)
        file = self._file(name)
        async with self._locks.setdefault(name, asyncio.Lock()):
            if (found := _known(file)) is not None:
                file.touch()  # it is about to be read: see `sweep`
            return name, found or await self._fetched(url, label, algorithm, value, file)

    async def _fetched(self, url: str, label: str, algorithm: str, value: str, file: Path) -> Raw:
        fresh = _fresh(file.with_suffix(f".{label}"))
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            await provision_url.asking(lambda: provision_url.download(url, fresh, label, algorithm, value))
            return await self._convert(fresh, label, file)
        finally:
            fresh.unlink(missing_ok=True)

    async def find(self, image_id: str) -> Raw:
        """The same, if it is ready. Raises NotFound."""
        if image_id.startswith(provision_url.PREFIX):
            return _there(_known(self._file(image_id)), image_id)
        image, checksum = await self._image(self._cloud.db, image_id)
        if image.format == "raw":
            return Raw(image.path, image.size, checksum)
        return _there(_known(self._file(image.path.name)), image_id)

    async def _image(self, reader: Reader, image_id: str) -> tuple[ImageInfo, str]:
        row = await Image.table.get(reader, id=image_id)
        if row is None:
            raise NotFound(f"There is no image {image_id}.")
        image = store.info(self._cloud, row)
        if image.status != "active":
            raise Invalid(f"Image {image_id} is {image.status}, not active.")
        if image.container_format != "bare" or image.problem:
            raise Invalid(f"No Node can start from image {image_id}: {image.problem or 'its container is not bare'}.")
        return image, row["os_hash_value"] or ""

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.raw"

    async def _convert(self, source: Path, label: str, file: Path) -> Raw:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = _fresh(file)
        try:
            await _qemu_img("convert", "-f", label, "-O", "raw", str(source), str(fresh))
            made = await asyncio.to_thread(_hashed, fresh)
            mark = file.with_suffix(".json")
            await asyncio.to_thread(mark.write_bytes, msgspec.json.encode(_Mark(made.size, made.sha512)))
            fresh.replace(file)
        finally:
            fresh.unlink(missing_ok=True)
        return Raw(file, made.size, made.sha512)

    async def sweep(self) -> None:
        """Remove copies whose image is gone, those of URLs that no deployment has asked for lately (a Node may be
        reading one, and asks again after a restart), and what another process left half done."""
        await asyncio.to_thread(_remove, sorted(self._folder.glob(".*")))
        files = await asyncio.to_thread(lambda: [one for one in sorted(self._folder.glob("*.raw")) if not _young(one)])
        ids = {file.name.partition(".")[0] for file in files}
        there = {row["id"] for row in await Image.table.select(self._cloud.db, {"id": sorted(ids)})} if ids else set()
        await asyncio.to_thread(_remove, [file for file in files if file.name.partition(".")[0] not in there])


def _fresh(file: Path) -> Path:
    """Beside a file, while it is being made."""
    return file.with_name(f".{file.name}.{os.getpid()}")


def _young(file: Path) -> bool:
    """Whether it is a URL's copy that a Node may still want."""
    return file.name.startswith(provision_url.PREFIX) and clock.wall() - file.stat().st_mtime < KEPT_SECONDS


def _known(file: Path) -> Raw | None:
    try:
        mark = msgspec.json.decode(file.with_suffix(".json").read_bytes(), type=_Mark)
        return Raw(file, mark.size, mark.sha512) if file.stat().st_size == mark.size else None
    except (OSError, msgspec.DecodeError):
        return None


def _there(found: Raw | None, image_id: str) -> Raw:
    if found is None:
        raise NotFound(f"Image {image_id} has no raw bytes here.")
    return found


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)
        file.with_suffix(".json").unlink(missing_ok=True)


async def _agreed(image: ImageInfo, checksum: str, algorithm: str, value: str) -> None:
    """Raises Invalid when the checksum that was named for the image is another one than it has."""
    if algorithm not in hashlib.algorithms_guaranteed or algorithm.startswith("shake"):
        raise Invalid(f"The checksum of image {image.id} cannot be verified: {algorithm} is no known algorithm.")
    found = checksum if algorithm == HASH else await asyncio.to_thread(_digest, image.path, algorithm)
    if found.lower() != value.lower():
        raise Invalid(f"The {algorithm} checksum that was named for image {image.id} is {value}, and the image has "
                      f"{found}. Name the right one or none: openstack baremetal node set --instance-info "
                      "image_checksum=...")  # fmt: skip


def _digest(file: Path, algorithm: str) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, algorithm).hexdigest()


def _hashed(file: Path) -> Raw:
    return Raw(file, file.stat().st_size, _digest(file, HASH))


async def _qemu_img(*words: str) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            "qemu-img", *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise Unavailable("The program qemu-img is missing: apt-get install qemu-utils") from error
    try:
        async with asyncio.timeout(CONVERT_SECONDS):
            _, said = await process.communicate()
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    if process.returncode:
        raise DeviceFailed(f"The image cannot be turned into raw bytes: {said.decode(errors='replace').strip()}")
