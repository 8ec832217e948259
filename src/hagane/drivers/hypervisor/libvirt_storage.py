"""Disks on a Host, through libvirt's storage API alone: nothing of ours runs there, and no file of it is opened here.

Two directory pools: `hagane` holds base images, disks and config drives; `hagane-console` the console logs (a pool of
its own, as logs grow behind libvirt's back and it must look again, which it refuses while another volume is made).

A base image arrives in two steps, so that a broken upload is never used, whoever was killed when:

    hagane-image.<id>.<token>  uploaded, its size checked ──▶ hagane-image.<id>.<token>.ready  (an empty mark)

The token is new for each attempt: two processes that bring one image at once do not write into one file. What has no
mark is rubbish, and goes when a sweep has seen it unchanged for a while. All functions here block.
"""

import contextlib
import re
import secrets
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

import libvirt

from hagane.drivers.hypervisor.base import BaseImage, Disk
from hagane.drivers.hypervisor.libvirt_disk import MARK, disk_name, disk_owner
from hagane.drivers.hypervisor.libvirt_errors import is_code
from hagane.drivers.hypervisor.libvirt_stream import Bytes, Moved, tail, upload
from hagane.drivers.hypervisor.libvirt_xml import Style, log_name
from hagane.errors import DeviceFailed, Unavailable

POOL, LOG_POOL = "hagane", "hagane-console"
RUBBISH_AGE = 600.0  # seconds without change after which a half-made file belongs to nobody
LOG_BYTES = 1 << 20
LARGEST_DRIVE = 64 << 20
_QCOW2 = "<target><format type='qcow2'/><compat>1.1</compat></target>"  # the default has no zero clusters
_IMAGE = re.compile(rf"{MARK}-image\.([^.]+)\.([0-9a-f]+)(\.ready)?")
_TEMPORARY = re.compile(rf"{MARK}-[^.]+\.[^.]+\.snapshot\.[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Base:
    """A base image that is complete on the Host."""

    path: str
    disk_format: str
    virtual_size: int


def prepare(connection: Any, style: Style) -> None:
    """Make and start the two pools. Each connection does this, so they need not start by themselves."""
    for name, path in ((POOL, style.disk_dir), (LOG_POOL, style.log_dir)):
        pool = _pool(connection, name, path)
        if not pool.isActive():
            pool.create(libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD)


def volumes(connection: Any) -> list[str]:
    """Names of all volumes in the disk pool."""
    return list(connection.storagePoolLookupByName(POOL).listVolumes())


def stored_disks(connection: Any, machine_id: str) -> frozenset[str]:
    """Keys of the disks that exist of one machine."""
    owners = (disk_owner(name) for name in volumes(connection))
    return frozenset(owner[1] for owner in owners if owner and owner[0] == machine_id)


def make_disk(connection: Any, machine_id: str, disk: Disk, base: Base | None) -> None:
    """A qcow2 volume: an overlay of `base`, or blank."""
    size = disk.size_gb << 30
    if base and base.virtual_size > (size or base.virtual_size):
        raise DeviceFailed(f"the image needs {base.virtual_size / (1 << 30):.1f} GB, the disk has {disk.size_gb} GB")
    name = disk_name(machine_id, disk.key)
    backing = _backing(base) if base else ""
    xml = f"<volume><name>{escape(name)}</name>{_capacity(size or (base.virtual_size if base else 0))}"
    xml += f"{_QCOW2}{backing}</volume>"
    pool = connection.storagePoolLookupByName(POOL)
    with _existing_is_fine():
        pool.createXML(xml, 0)


def make_drive(connection: Any, machine_id: str, key: str, content: bytes) -> None:
    """A raw volume with these bytes, in place of one whose upload was cut off (it is in no domain: see `is_whole`)."""
    drop_disk(connection, machine_id, key)
    volume = _new_raw(connection, disk_name(machine_id, key))
    upload(connection, volume, Bytes(content), len(content), sparse=False)


def read_drive(connection: Any, machine_id: str, key: str) -> bytes:
    """The bytes of a config drive; not many."""
    return tail(connection, _disk(connection, machine_id, key), LARGEST_DRIVE)


def make_blank(connection: Any, machine_id: str, key: str, size: int) -> None:
    """An empty qcow2 volume of so many bytes."""
    name = escape(disk_name(machine_id, key))
    pool = connection.storagePoolLookupByName(POOL)
    pool.createXML(f"<volume><name>{name}</name>{_capacity(size)}{_QCOW2}</volume>", 0)


def is_whole(connection: Any, machine_id: str, disk: Disk) -> bool:
    """Whether a disk that is in no domain yet was made to its end (libvirtd may have been killed while making it).

    qemu-img writes the backing file's name last, so a header that has all we asked for is complete.
    """
    pool = connection.storagePoolLookupByName(POOL)
    volume = pool.storageVolLookupByName(disk_name(machine_id, disk.key))
    xml = volume.XMLDesc()
    backed = "<backingStore>" in xml and f"{MARK}-image.{disk.image_id}." in xml
    return "<format type='qcow2'/>" in xml and volume.info()[1] >= disk.size_gb << 30 and (backed or not disk.image_id)


def disk_gb(connection: Any, machine_id: str, key: str) -> int:
    """Whole GB that a disk has."""
    return disk_bytes(connection, machine_id, key) >> 30


def disk_bytes(connection: Any, machine_id: str, key: str) -> int:
    return int(_disk(connection, machine_id, key).info()[1])


def grow_disk(connection: Any, machine_id: str, disk: Disk) -> None:
    _disk(connection, machine_id, disk.key).resize(disk.size_gb << 30)


def _disk(connection: Any, machine_id: str, key: str) -> Any:
    return connection.storagePoolLookupByName(POOL).storageVolLookupByName(disk_name(machine_id, key))


def drop_disk(connection: Any, machine_id: str, key: str) -> None:
    _delete(connection.storagePoolLookupByName(POOL), disk_name(machine_id, key))


def drop_all(connection: Any, machine_id: str) -> None:
    """Every disk, config drive, half-made snapshot and console log of a machine."""
    pool = connection.storagePoolLookupByName(POOL)
    prefix = f"{MARK}-{machine_id}."
    for name in pool.listVolumes():
        if name.startswith(prefix):
            _delete(pool, name)
    logs = connection.storagePoolLookupByName(LOG_POOL)
    logs.refresh()
    for name in logs.listVolumes():
        if name.startswith(log_name(machine_id)):  # and what virtlogd rotated: .log.0, .log.1
            _delete(logs, name)


def find_image(connection: Any, image: BaseImage) -> Base | None:
    """The image, if a complete copy is on the Host."""
    pool = connection.storagePoolLookupByName(POOL)
    for name in sorted(pool.listVolumes()):
        match = _IMAGE.fullmatch(name)
        if match and match[1] == image.id and match[3]:
            with contextlib.suppress(libvirt.libvirtError):  # a mark whose image is gone
                volume = pool.storageVolLookupByName(name.removesuffix(".ready"))
                # After a power cut the mark may have reached the disk and the last bytes may not.
                if _physical_size(volume) == image.size:
                    return Base(volume.path(), image.disk_format, image.virtual_size)
    return None


def bring_image(connection: Any, image: BaseImage, moved: Moved) -> Base:
    """Upload the image and mark it as complete."""
    name = f"{MARK}-image.{image.id}.{secrets.token_hex(4)}"
    try:
        source = image.path.open("rb", buffering=0)
    except OSError as error:
        raise DeviceFailed(f"the file of image {image.id} cannot be read: {error.strerror}") from error
    volume = _new_raw(connection, name)
    try:
        with source:
            upload(connection, volume, source, image.size, sparse=True, moved=moved)
        if _physical_size(volume) != image.size:
            raise Unavailable(f"image {image.id} did not reach the Host in full")
        _new_raw(connection, f"{name}.ready")
    except BaseException:
        with contextlib.suppress(libvirt.libvirtError):
            volume.delete()
        raise
    return Base(volume.path(), image.disk_format, image.virtual_size)


class Sweeper:
    """Finds files that nobody needs. It remembers what it saw half-made, as there is no common clock with a Host."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._half_made: dict[str, tuple[object, float]] = {}

    def sweep(self, connection: Any, keep: set[str]) -> set[str]:
        """Remove images that are neither in `keep` nor below a disk, and what was left half made. Image ids removed."""
        pool = connection.storagePoolLookupByName(POOL)
        names = set(pool.listVolumes())
        backed, gone = _backed(pool), set()
        for name in sorted(names):
            image = _IMAGE.fullmatch(name)
            if image and not image[3] and name not in backed:
                unwanted = image[1] not in keep if f"{name}.ready" in names else self._abandoned(pool, name)
                if unwanted and self._remove_image(connection, pool, name):
                    gone.add(image[1])
            elif _TEMPORARY.fullmatch(name) and self._abandoned(pool, name):
                _delete(pool, name)
        self._half_made = {name: seen for name, seen in self._half_made.items() if name in names}
        return gone

    def _remove_image(self, connection: Any, pool: Any, name: str) -> bool:
        """The mark goes first, so that nobody begins to use the image; who has begun meanwhile keeps it."""
        _delete(pool, f"{name}.ready")
        if name in _backed(pool):
            _new_raw(connection, f"{name}.ready")
            return False
        _delete(pool, name)
        return True

    def _abandoned(self, pool: Any, name: str) -> bool:
        now = self._clock()
        state = tuple(pool.storageVolLookupByName(name).info())
        before = self._half_made.get(name)
        if before is None or before[0] != state:
            self._half_made[name] = (state, now)
            return False
        return now - before[1] >= RUBBISH_AGE


def console_log(connection: Any, machine_id: str) -> bytes:
    """The last LOG_BYTES of the console log, across virtlogd's rotation."""
    pool = connection.storagePoolLookupByName(LOG_POOL)
    pool.refresh()
    content = b""
    for name in (log_name(machine_id), f"{log_name(machine_id)}.0"):
        if len(content) < LOG_BYTES:
            content = _tail(connection, pool, name, LOG_BYTES - len(content)) + content
    return content


def make_log(connection: Any, machine_id: str, content: bytes) -> None:
    """A console log that begins with what was printed on another Host."""
    xml = f"<volume><name>{log_name(machine_id)}</name>{_capacity(0)}<target><format type='raw'/></target></volume>"
    volume = connection.storagePoolLookupByName(LOG_POOL).createXML(xml, 0)
    if content:
        upload(connection, volume, Bytes(content), len(content), sparse=False)


def flat_copy(connection: Any, machine_id: str, key: str, token: str) -> None:
    """A temporary flat qcow2 copy of a disk that no running machine uses."""
    pool = connection.storagePoolLookupByName(POOL)
    disk = pool.storageVolLookupByName(disk_name(machine_id, key))
    pool.createXMLFrom(_snapshot_xml(machine_id, key, token, disk.info()[1]), disk, 0)


def empty_copy(connection: Any, machine_id: str, key: str, token: str) -> str:
    """An empty qcow2 of the size of a disk, for a running machine to copy into. Its path."""
    pool = connection.storagePoolLookupByName(POOL)
    disk = pool.storageVolLookupByName(disk_name(machine_id, key))
    return str(pool.createXML(_snapshot_xml(machine_id, key, token, disk.info()[1]), 0).path())


def drop_copy(connection: Any, machine_id: str, key: str, token: str) -> None:
    _delete(connection.storagePoolLookupByName(POOL), _snapshot_name(machine_id, key, token))


def open_copy(connection: Any, machine_id: str, key: str, token: str) -> Any:
    """A stream of the copy's bytes: `recv` until it is empty, then `finish`."""
    pool = connection.storagePoolLookupByName(POOL)
    stream = connection.newStream()
    pool.storageVolLookupByName(_snapshot_name(machine_id, key, token)).download(stream, 0, 0)
    return stream


def disk_size(connection: Any) -> int:
    """Bytes that the file system below the disk pool has in all."""
    return int(connection.storagePoolLookupByName(POOL).info()[1])


def _pool(connection: Any, name: str, path: str) -> Any:
    try:
        pool = connection.storagePoolLookupByName(name)
    except libvirt.libvirtError as error:
        if not is_code(error, libvirt.VIR_ERR_NO_STORAGE_POOL):
            raise
        return _new_pool(connection, name, path)
    if not pool.isPersistent():  # it runs still, but what was stored of it has been removed; no file is touched here
        pool.destroy()
        return _new_pool(connection, name, path)
    found = ET.fromstring(pool.XMLDesc()).findtext("target/path", "")
    if found != path:
        raise DeviceFailed(
            f"the storage pool {name} is at {found}, and should be at {path}: move it, or configure that"
        )
    return pool


def _new_pool(connection: Any, name: str, path: str) -> Any:
    permissions = "<permissions><mode>0711</mode></permissions>"
    target = f"<target><path>{escape(path)}</path>{permissions}</target>"
    try:
        return connection.storagePoolDefineXML(f"<pool type='dir'><name>{name}</name>{target}</pool>", 0)
    except libvirt.libvirtError:
        return connection.storagePoolLookupByName(name)  # another process was faster


def _capacity(size: int) -> str:
    return f"<capacity unit='bytes'>{size}</capacity><allocation>0</allocation>"


def _backing(base: Base) -> str:
    return f"<backingStore><path>{escape(base.path)}</path><format type='{base.disk_format}'/></backingStore>"


def _snapshot_name(machine_id: str, key: str, token: str) -> str:
    return f"{MARK}-{machine_id}.{key}.snapshot.{token}"


def _snapshot_xml(machine_id: str, key: str, token: str, size: int) -> str:
    name = escape(_snapshot_name(machine_id, key, token))
    return f"<volume><name>{name}</name>{_capacity(size)}{_QCOW2}</volume>"


def _new_raw(connection: Any, name: str) -> Any:
    """An empty file, which grows with its upload: so its size tells whether all bytes came."""
    pool = connection.storagePoolLookupByName(POOL)
    xml = f"<volume><name>{escape(name)}</name>{_capacity(0)}<target><format type='raw'/></target></volume>"
    return pool.createXML(xml, 0)


def _physical_size(volume: Any) -> int:
    return int(volume.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[2])


def _delete(pool: Any, name: str) -> None:
    try:
        pool.storageVolLookupByName(name).delete()
    except libvirt.libvirtError as error:
        if not is_code(error, libvirt.VIR_ERR_NO_STORAGE_VOL):
            raise


@contextlib.contextmanager
def _existing_is_fine() -> Iterator[None]:
    try:
        yield
    except libvirt.libvirtError as error:
        if not is_code(error, libvirt.VIR_ERR_STORAGE_VOL_EXIST):
            raise


def _backed(pool: Any) -> set[str]:
    """Names of the base images that some disk is an overlay of."""
    found = set()
    for name in pool.listVolumes():
        if disk_owner(name):
            with contextlib.suppress(libvirt.libvirtError):  # deleted meanwhile
                xml = pool.storageVolLookupByName(name).XMLDesc()
                found |= {path.rpartition("/")[2] for path in re.findall(r"<backingStore>\s*<path>([^<]*)", xml)}
    return found


def _tail(connection: Any, pool: Any, name: str, limit: int) -> bytes:
    try:
        volume = pool.storageVolLookupByName(name)
    except libvirt.libvirtError as error:
        if is_code(error, libvirt.VIR_ERR_NO_STORAGE_VOL):
            return b""
        raise
    return tail(connection, volume, limit)
