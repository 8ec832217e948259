"""What other nouns ask of images: which bytes a disk is made from, a place for a snapshot, and the bytes into it.

    compute's createImage ── new_image(tx) ─▶ queued ── fill(cloud, id, bytes) ─▶ saving ─▶ active
    an upload over HTTP   ─────────────────────────────┘
    stage over HTTP  ─▶ uploading: the bytes are here ── import_staged(tx) ─▶ active

There is no other way that bytes become an image. Each call is an attempt of its own: a later one takes over from an
earlier one, whose bytes then never become the image's. If an attempt fails in any way, the image is queued again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from hagane.api.http import Caller
from hagane.cloud import Cloud
from hagane.errors import Conflict, HaganeError, Invalid, NotFound, TooLarge
from hagane.image import content
from hagane.image.content import Writer, Written
from hagane.image.image import Image, forget
from hagane.image.inspection import Inspection
from hagane.image.row import store_properties, visible_to
from hagane.state import clock
from hagane.state.database import Reader, Row, Tx

HASH = "sha512"
GIB = 1 << 30
_UNDER_WAY = ("saving", "uploading")
_EMPTY = {"status": "queued", "upload": None, "size": None, "staged": None}


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """An image as whoever makes a disk from it needs it.

    `path` has bytes only while `status` is active (or deactivated, which only an administrator may use). `format` is
    what the content is: "raw" or "qcow2" and the like, whatever the label. `problem`: why no server can start from it.
    """

    id: str
    name: str
    status: str
    visibility: str
    owner: str | None
    path: Path
    format: str
    disk_format: str
    container_format: str
    size: int
    virtual_size: int
    min_disk: int  # GiB
    min_ram: int  # MiB
    properties: dict[str, str]
    problem: str | None
    hash_algo: str = ""
    hash_value: str = ""  # of the stored bytes, in hexadecimal


async def base_image(reader: Reader, cloud: Cloud, image_id: str, *, caller: Caller | None = None) -> ImageInfo:
    """One image; with `caller`, only if that caller may see it. Raises NotFound."""
    row = await Image.table.get(reader, id=image_id)
    if row is None or not (caller is None or await visible_to(reader, caller, row)):
        raise NotFound(f"No image found with ID {image_id}", code="ImageNotFound")
    return info(cloud, row)


def info(cloud: Cloud, row: Row) -> ImageInfo:
    """A row as others see it."""
    size = row["size"] or 0
    plain = row["content_format"] in ("gpt", "iso", None)
    return ImageInfo(
        id=row["id"],
        name=row["name"] or "",
        status=row["status"],
        visibility=row["visibility"],
        owner=row["owner"],
        path=content.path(cloud.config, row["id"], row["upload"] or ""),
        format="raw" if plain else row["content_format"],
        disk_format=row["disk_format"] or "",
        container_format=row["container_format"] or "",
        size=size,
        virtual_size=row["virtual_size"] or size,
        min_disk=row["min_disk"] or 0,
        min_ram=row["min_ram"] or 0,
        properties=row["properties"],
        problem=row["problem"],
        hash_algo=row["os_hash_algo"] or "",
        hash_value=row["os_hash_value"] or "",
    )


async def new_image(tx: Tx, *, name: str, owner: str | None, properties: dict[str, str], **more: Any) -> str:
    """A queued image for bytes that Hagane makes itself (a snapshot); returns its id.

    `more` sets further columns: min_disk, min_ram, visibility, disk_format ("qcow2") ...
    """
    moment, image_id = clock.now(), str(uuid4())
    row: Row = {"id": image_id, "name": name, "owner": owner, "status": "queued", "visibility": "private"}
    row |= {"disk_format": "qcow2", "container_format": "bare", "min_disk": 0, "min_ram": 0, "protected": False}
    row |= {"tags": [], "properties": properties, "os_hidden": False, "created_at": moment, "updated_at": moment} | more
    await Image.table.insert(tx, row)
    await store_properties(tx, image_id, {}, properties)
    return image_id


async def fill(cloud: Cloud, image_id: str, stream: AsyncIterator[bytes]) -> ImageInfo:
    """Store the bytes of a queued (or half-filled) image and make it active. An active one is left as it is.

    Raises NotFound (deleted meanwhile), TooLarge (no room), Invalid (unsafe content); the image is queued again.
    """
    row = await Image.table.get(cloud.db, id=image_id)
    if row is not None and row["status"] not in ("active", "deactivated"):
        await receive(cloud, row, stream, over=("queued", "saving"))
    return await base_image(cloud.db, cloud, image_id)


async def discard(cloud: Cloud, image_id: str) -> None:
    """Delete an image that came to nothing (a failed snapshot), with its bytes. Repeatable."""

    async def work(tx: Tx) -> str | None:
        row = await Image.table.get(tx, id=image_id)
        await forget(tx, image_id)
        return row["upload"] if row else None

    if attempt := await cloud.db.write(work):
        await content.remove(cloud.config, image_id, attempt)


async def receive(
    cloud: Cloud,
    row: Row,
    stream: AsyncIterator[bytes],
    *,
    size: int | None = None,
    over: tuple[str, ...] = ("queued",),
) -> None:
    """One attempt to give the image these bytes; `size` is what the sender announced, `over` the states it may leave.

    Raises Conflict when another attempt has the image.
    """

    async def keep(attempt: str, written: Written) -> None:
        if written.finding.refusal:
            raise HaganeError(written.finding.refusal, code="InvalidImageData", status=415)
        await _activate(cloud, row, attempt, written)

    await _take(cloud, row, stream, size, over, "saving", keep)


async def stage(cloud: Cloud, row: Row, stream: AsyncIterator[bytes], *, size: int | None = None) -> None:
    """Take the bytes of a queued image, which become its content when they are imported. What they are is judged then.

    Raises Conflict when another attempt has the image.
    """

    async def keep(attempt: str, written: Written) -> None:
        async def work(tx: Tx) -> None:
            where = {"id": row["id"], "status": "uploading", "upload": attempt}
            facts = {"facts": _facts(written), "refusal": written.finding.refusal}
            await _change(tx, where, {"status": "uploading", "size": written.size, "staged": facts})

        await cloud.db.write(work)

    await _take(cloud, row, stream, size, ("queued",), "uploading", keep)


async def import_staged(tx: Tx, cloud: Cloud, row: Row) -> str:
    """Make staged bytes the image's content; what is refused instead is said, and the image is queued again.

    The file of refused bytes is the caller's to remove.
    """
    same = {"id": row["id"], "status": "uploading", "upload": row["upload"]}
    staged = row["staged"]
    room, refusal = await _room(tx, cloud, row["owner"], but=row["id"])
    why = str(staged["refusal"]) or (refusal if staged["facts"]["size"] > room else "")
    await _change(tx, same, _EMPTY | {"updated_at": clock.now()} if why else
                  staged["facts"] | {"staged": None, "updated_at": clock.now()})  # fmt: skip
    return why


async def _take(
    cloud: Cloud,
    row: Row,
    stream: AsyncIterator[bytes],
    size: int | None,
    over: tuple[str, ...],
    status: str,
    keep: Callable[[str, Written], Awaitable[None]],
) -> None:
    """Write the bytes of one attempt while the image has the status, then `keep` them; on any failure it is queued."""
    image_id, attempt = row["id"], uuid4().hex[:12]
    inspection = Inspection(row["disk_format"], row["container_format"])
    room, refusal = await _room(cloud.db, cloud, row["owner"])
    if size is not None and size > room:
        raise TooLarge(refusal, code="SizeLimit")
    writer = Writer(content.path(cloud.config, image_id, attempt), inspection)
    try:
        await writer.open()  # before the row names it, so that a sweep never sees an attempt without its lock
        await _claim(cloud, image_id, attempt, over, status)
        try:
            async for chunk in stream:
                await writer.write(chunk)
                if writer.size > room:
                    raise TooLarge(refusal, code="SizeLimit")
            written = await writer.finish()
            _check(written, size)
            await keep(attempt, written)
        except BaseException:
            await asyncio.shield(_requeue(cloud, image_id, attempt))
            raise
    except BaseException:
        await writer.drop()
        raise
    finally:
        await writer.close()


async def _room(reader: Reader, cloud: Cloud, owner: str | None, *, but: str = "") -> tuple[int, str]:
    """How many bytes the owner's next image may have, and what to say about more. `but`: an image not to count."""
    most, quota = cloud.config.image_max_gb * GIB, cloud.config.image_quota_gb * GIB
    if quota:
        sql = "SELECT COALESCE(SUM(size), 0) FROM image WHERE owner = :owner AND id <> :but"
        used = int((await reader.fetch_tuples(sql, {"owner": owner, "but": but}))[0][0])
        if quota - used < most:
            return max(0, quota - used), f"Image exceeds the storage quota: {used} bytes of {quota} are in use."
    return most, f"The incoming image is too large: the limit is {most} bytes."


async def _claim(cloud: Cloud, image_id: str, attempt: str, over: tuple[str, ...], status: str) -> None:
    """Make the image this attempt's. Raises Conflict, or NotFound if it is gone."""

    async def work(tx: Tx) -> None:
        where = {"id": image_id, "status": list(over)}
        await _change(tx, where, {"status": status, "upload": attempt, "updated_at": clock.now()})

    await cloud.db.write(work)


async def _activate(cloud: Cloud, row: Row, attempt: str, written: Written) -> None:
    """The bytes become the image's content. The quota is asked once more: other uploads may have ended meanwhile."""

    async def work(tx: Tx) -> None:
        room, refusal = await _room(tx, cloud, row["owner"])
        if written.size > room:
            raise TooLarge(refusal, code="SizeLimit")
        await _change(tx, {"id": row["id"], "status": "saving", "upload": attempt}, _facts(written))

    await cloud.db.write(work)


async def _change(tx: Tx, where: dict[str, Any], changes: Row) -> None:
    if await Image.table.update(tx, where, changes):
        return
    row = await Image.table.get(tx, id=where["id"])
    if row is None:
        text = f"Image {where['id']} could not be found after upload. The image may have been deleted during the"
        raise NotFound(f"{text} upload, cleaning up the chunks uploaded.", code="ImageGone", status=410)
    raise Conflict(f"Image status transition from {row['status']} to {changes['status']} is not allowed",
                   code="InvalidImageStatusTransition")  # fmt: skip


async def _requeue(cloud: Cloud, image_id: str, attempt: str) -> int:
    async def work(tx: Tx) -> int:
        where = {"id": image_id, "upload": attempt, "status": list(_UNDER_WAY)}
        return await Image.table.update(tx, where, _EMPTY | {"updated_at": clock.now()})

    return await cloud.db.write(work)


def _check(written: Written, size: int | None) -> None:
    if size is not None and written.size != size:
        raise Invalid(f"Size mismatch: {size} bytes were announced and {written.size} received.", code="SizeMismatch")


def _facts(written: Written) -> Row:
    return {
        "status": "active",
        "size": written.size,
        "virtual_size": written.finding.virtual_size,
        "checksum": written.md5,
        "os_hash_algo": HASH,
        "os_hash_value": written.sha512,
        "content_format": written.finding.format,
        "problem": written.finding.problem or None,
        "updated_at": clock.now(),
    }


async def sweep(cloud: Cloud) -> list[str]:
    """Clean up after killed processes: half-made files go, their images are queued again. Says what it did."""
    done = []
    for row in await Image.table.select(cloud.db, {"status": list(_UNDER_WAY), "staged": None}):
        with content.abandoned(content.path(cloud.config, row["id"], row["upload"])) as dead:
            if dead and await _requeue(cloud, row["id"], row["upload"]):
                done.append(f"image {row['id']}: its upload broke off; it is queued again")
    for file in await asyncio.to_thread(_files, content.folder(cloud.config)):
        image_id, _, attempt = file.name.partition(".")
        with content.abandoned(file) as dead:
            if dead and await Image.table.get(cloud.db, id=image_id, upload=attempt) is None:
                file.unlink(missing_ok=True)
                done.append(f"file {file.name}: it belonged to no image; removed")
    return done


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


async def missing(cloud: Cloud) -> list[Row]:
    """Images that should have bytes and have none (their file was removed behind our back), for `hagane doctor`."""
    rows = await Image.table.select(cloud.db, {"status": ["active", "deactivated"]})
    here = {file.name for file in await asyncio.to_thread(_files, content.folder(cloud.config))}
    return [row for row in rows if f"{row['id']}.{row['upload']}" not in here]
