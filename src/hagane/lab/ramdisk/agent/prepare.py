"""standby.prepare_image: the image onto the disk, then the config drive into a last partition.

whole disk:  image ─▶ table moved to the real end of the disk ─▶ config-2 partition (64 MiB, the last of the disk)
partition:   new table (ESP | ephemeral | swap | config-2 | root) ─▶ file systems ─▶ image into root
"""

import base64
import os
import struct
import zlib
from dataclasses import replace
from typing import Any

from . import image, table
from .blocks import format_as, reread
from .commands import Command
from .errors import DeploymentError, InvalidCommandParamsError
from .place import Place
from .table import MB, Partition, Table
from .wire import WireError, ask

CONFIG_MB = 64
ESP_MB = 550
ISO_LABEL = 32808  # where an ISO 9660 file system has its name


class Writer:
    """One disk that is being written. `md5`: whether such checksums are taken."""

    def __init__(self, place: Place, disk: dict[str, Any], command: Command, *, md5: bool) -> None:
        self.place, self.disk, self.command, self.md5 = place, disk, command, md5
        self.name, self.size, self.sector = disk["name"], disk["size"], disk["logical_sectors"]

    def run(self, info: dict[str, Any], drive: str | None, boot_mode: str, label: str) -> dict[str, Any]:
        """Write everything, and return what the original calls the partitions' UUIDs."""
        content = config_drive(drive) if drive else b""
        file = os.open(self.place.path(self.name), os.O_RDWR)
        try:
            if info.get("image_type") == "partition":
                return self._partitions(file, info, content, boot_mode, label)
            return self._whole_disk(file, info, content)
        except OSError as error:
            raise DeploymentError(f"Writing to {self.name} failed: {error}") from error
        finally:
            os.fsync(file)
            os.close(file)

    def _report(self, done: int, total: int | None, rate: float) -> None:
        percent = min(100, done * 100 // total) if total else None
        self.command.result = {"progress": {"done": done, "total": total, "percent": percent, "rate": int(rate)}}

    def _stream(self, file: int, info: dict[str, Any], offset: int, room: int) -> int:
        return image.write(info, file, self.name, offset=offset, room=room, md5=self.md5, report=self._report)

    def _whole_disk(self, file: int, info: dict[str, Any], content: bytes) -> dict[str, Any]:
        written = self._stream(file, info, 0, self.size)
        if written < self.size - 34 * self.sector:
            os.pwrite(file, bytes(34 * self.sector), self.size - 34 * self.sector)  # a former GPT's second copy
        found = table.read(file, self.size, self.sector)
        if found is None or not found.partitions:
            raise DeploymentError(f"No partitions found on the device {self.name} after writing the image.")
        if content:
            found, where = with_drive(file, found, content)
            os.pwrite(file, content, where)
        if found.label == "gpt" or content:
            table.write(file, found)
        reread(file, self.place)
        identifier = "0x" + found.uuid if found.label == "dos" else found.uuid
        return {"root uuid": identifier}

    def _partitions(
        self, file: int, info: dict[str, Any], content: bytes, boot_mode: str, label: str
    ) -> dict[str, Any]:
        made, roles = layout(info, self.size, self.sector, boot_mode=boot_mode, label=label, drive=bool(content))
        os.pwrite(file, bytes(MB), 0)
        table.write(file, made)
        os.fsync(file)
        reread(file, self.place)
        root = roles["root"]
        self._stream(file, info, root.start, root.size)
        if content:
            os.pwrite(file, content, roles["configdrive"].start)
        os.fsync(file)
        if "swap" in roles:
            _swap(file, roles["swap"])
        for role, kind, name in (
            ("efi", "vfat", "efi-part"),
            ("ephemeral", info.get("ephemeral_format") or "ext4", "ephemeral0"),
        ):
            if role in roles and not (role == "ephemeral" and info.get("preserve_ephemeral")):
                format_as(self.place, self.name, roles[role], kind, name)
        paths = {role: partition_path(self.name, part.number) for role, part in roles.items()}
        return {
            "root uuid": _file_system_uuid(file, root),
            "partitions": {**paths, "root": paths["root"]},
            **_uefi(roles),
        }


def _uefi(roles: dict[str, Partition]) -> dict[str, Any]:
    return {"efi system partition uuid": roles["efi"].uuid} if "efi" in roles else {"efi system partition uuid": None}


def config_drive(given: str) -> bytes:
    """The content: gzipped and in base64, or where to fetch that. Raises DeploymentError."""
    raw = given.encode()
    if given.lower().startswith(("http://", "https://")):
        try:
            answer = ask("GET", given)
            if answer.status != 200:
                raise DeploymentError(
                    f"Can't download the configdrive content from '{given}'. Got status code {answer.status}"
                )
            raw = answer.all()
        except WireError as error:
            raise DeploymentError(f"Can't download the configdrive content from '{given}'. Reason: {error}") from error
    try:
        unpack = zlib.decompressobj(wbits=31)
        content = unpack.decompress(base64.b64decode(raw, validate=False), CONFIG_MB * MB + 1)
    except (ValueError, zlib.error) as error:
        raise DeploymentError(f"Config drive is not base64 encoded or the content is malformed: {error}.") from error
    if not unpack.eof and len(content) <= CONFIG_MB * MB:
        raise DeploymentError("Config drive is not base64 encoded or the content is malformed: it ends early.")
    if len(content) > CONFIG_MB * MB:
        raise DeploymentError("Config drive size exceeds maximum limit of 64MiB.")
    return content


def with_drive(file: int, found: Table, content: bytes) -> tuple[Table, int]:
    """The table with a config drive, and where the drive's content belongs. One that the image brought is used."""
    for part in found.partitions:
        if part.name == "config-2" or os.pread(file, 8, part.start + ISO_LABEL) == b"config-2":
            if len(content) > part.size:
                raise DeploymentError(f"The image's config drive partition {part.number} is too small.")
            return found, part.start
    if found.label == "dos" and len(found.partitions) > 3:
        raise DeploymentError(
            "Config drive cannot be created. Disk uses MBR partitioning and already has 4 primary partitions."
        )
    start = (found.last - CONFIG_MB * MB) // MB * MB
    kind = table.LINUX if found.label == "gpt" else "0x0c"
    part = Partition(found.free_number(), start, CONFIG_MB * MB, kind, table.new_uuid(), "config-2")
    return found.add(part), start


def layout(
    info: dict[str, Any], size: int, sector: int, *, boot_mode: str, label: str, drive: bool
) -> tuple[Table, dict[str, Partition]]:
    """A new table for a partition image, root last, as the original orders it. Raises where it does not fit."""
    wanted: list[tuple[str, int, str, str]] = []
    label = label or ("gpt" if boot_mode == "uefi" else "dos")
    if boot_mode == "uefi":
        wanted.append(("efi", ESP_MB, table.ESP, "0xef"))
    elif label == "gpt":
        wanted.append(("bios", 1, table.BIOS_BOOT, "0x83"))
    for role, key, kind, plain in (
        ("ephemeral", "ephemeral_mb", table.LINUX, "0x83"),
        ("swap", "swap_mb", table.SWAP, "0x82"),
    ):
        if int(info.get(key) or 0):
            wanted.append((role, int(info[key]), kind, plain))
    if drive:
        wanted.append(("configdrive", CONFIG_MB, table.LINUX, "0x83"))
    if not int(info.get("root_mb") or 0):
        raise InvalidCommandParamsError("A partition image needs 'root_mb', the size of its root partition.")
    wanted.append(("root", int(info["root_mb"]), table.LINUX, "0x83"))
    made, roles, at = Table(label, size, sector, _identifier(label), entries=128 if label == "gpt" else 4), {}, MB
    for number, (role, megabytes, kind, plain) in enumerate(wanted, 1):
        names = {"configdrive": "config-2", "efi": "primary"}
        part = Partition(
            number, at, megabytes * MB, kind if label == "gpt" else plain, table.new_uuid(), names.get(role, role)
        )
        part = replace(part, boot=role == "root" and boot_mode == "bios")
        made, roles[role], at = made.add(part), part, at + megabytes * MB
    return made, roles


def _identifier(label: str) -> str:
    return table.new_uuid() if label == "gpt" else os.urandom(4).hex()


def partition_path(disk: str, number: int) -> str:
    return f"{disk}p{number}" if disk[-1].isdigit() else f"{disk}{number}"


def _file_system_uuid(file: int, part: Partition) -> str | None:
    """Of an ext2/3/4 or an XFS; None of others."""
    raw = os.pread(file, 2048, part.start)
    for at, magic, where in ((0x438, b"\x53\xef", 0x468), (0, b"XFSB", 32)):
        if raw[at : at + len(magic)] == magic:
            text = raw[where : where + 16].hex()
            return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
    return None


def _swap(file: int, part: Partition) -> None:
    """mkswap: a header in the first page (include/linux/swap.h: union swap_header)."""
    page = bytearray(4096)
    struct.pack_into("<III", page, 1024, 1, part.size // 4096 - 1, 0)
    page[1036:1052] = os.urandom(16)
    page[1052:1057] = b"swap1"
    page[4086:] = b"SWAPSPACE2"
    os.pwrite(file, page, part.start)


def boots_from(place: Place, node: dict[str, Any] | None, info: dict[str, Any]) -> tuple[str, str]:
    """Boot mode and partition table that a Node is meant to have: as told, or else as this machine was started."""
    node = node or {}
    told: dict[str, str] = {}
    for holder in (node.get("properties") or {}, node.get("instance_info") or {}):
        given = holder.get("capabilities") or {}
        told |= (
            dict(pair.split(":", 1) for pair in given.split(",") if ":" in pair) if isinstance(given, str) else given
        )
    mode = (
        info.get("deploy_boot_mode")
        or (node.get("driver_internal_info") or {}).get("deploy_boot_mode")
        or told.get("boot_mode")
    )
    label = {"msdos": "dos", "mbr": "dos"}.get(told.get("disk_label", ""), told.get("disk_label", ""))
    return str(mode or place.boot_mode), label
