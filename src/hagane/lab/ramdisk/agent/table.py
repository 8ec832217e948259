"""Partition tables, GPT and MBR, read and written byte by byte: no parted, no sgdisk, and the same on a file in a test.

A written image is smaller than its disk. A GPT then has its second copy in the middle of the disk instead of at its
end, which firmware and kernels complain about or repair wrongly: writing a table always puts both where they belong.
"""

import os
import struct
import zlib
from dataclasses import dataclass, field, replace

from .errors import DeploymentError

MB = 1 << 20
HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")  # UEFI specification, 5.3.2
ENTRY = struct.Struct("<16s16sQQQ72s")  # 5.3.3
SLOT = struct.Struct("<B3sB3sII")  # an entry of an MBR
LINUX = "0fc63daf-8483-4772-8e79-3d69d8477de4"
ESP = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
SWAP = "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f"
BIOS_BOOT = "21686148-6449-6e6f-744e-656564454649"
UNUSED_CHS = b"\xfe\xff\xff"


@dataclass(frozen=True)
class Partition:
    number: int
    start: int  # in bytes, like `size`
    size: int
    kind: str  # GPT: a UUID; MBR: "0x83"
    uuid: str = ""
    name: str = ""
    flags: int = 0
    boot: bool = False

    @property
    def end(self) -> int:
        return self.start + self.size


@dataclass(frozen=True)
class Table:
    """`size` of the disk in bytes; `sector` in bytes; `uuid`: of the GPT, or the MBR's eight hexadecimal digits."""

    label: str  # "gpt" or "dos"
    size: int
    sector: int
    uuid: str
    partitions: tuple[Partition, ...] = ()
    code: bytes = field(default=bytes(440), repr=False)  # the boot code before an MBR's entries
    entries: int = 128

    @property
    def first(self) -> int:
        return MB

    @property
    def last(self) -> int:
        """The first byte that no partition may take."""
        if self.label == "dos":
            return min(self.size, (1 << 32) * self.sector) // MB * MB
        return self.size - self.sector - _round_up(self.entries * ENTRY.size, self.sector)

    def add(self, part: Partition) -> "Table":
        """With one more partition. Raises DeploymentError if it cannot have a place."""
        over = next((other for other in self.partitions if part.start < other.end and other.start < part.end), None)
        if over is not None or part.end > self.last or part.start < self.first:
            place = f"partition {over.number} is there" if over else "it lies outside the disk"
            raise DeploymentError(
                f"No room for a partition of {part.size // MB} MiB at {part.start // MB} MiB: {place}."
            )
        if self.label == "dos" and part.number > 4:
            raise DeploymentError("The disk uses MBR partitioning and already has 4 primary partitions.")
        return replace(self, partitions=(*self.partitions, part))

    def free_number(self) -> int:
        taken = {part.number for part in self.partitions}
        return next(number for number in range(1, self.entries + 2) if number not in taken)


def read(disk: int, size: int, sector: int = 512) -> Table | None:
    """The table on a disk (a file descriptor), or None if there is none."""
    head = os.pread(disk, 512, 0)
    if len(head) < 512 or head[510:] != b"\x55\xaa":
        return None
    if head[450] == 0xEE or os.pread(disk, 8, sector) == b"EFI PART":
        return _read_gpt(disk, size, sector)
    slots = [SLOT.unpack_from(head, 446 + 16 * number) for number in range(4)]
    if any(slot[0] not in (0, 0x80) for slot in slots):
        return None  # a file system's boot sector ends in the same two bytes
    parts = tuple(
        Partition(number, start * sector, count * sector, f"{kind:#04x}", boot=status == 0x80)
        for number, (status, _, kind, _, start, count) in enumerate(slots, 1)
        if kind
    )
    return Table("dos", size, sector, head[440:444][::-1].hex(), parts, head[:440], entries=4)


def _read_gpt(disk: int, size: int, sector: int) -> Table | None:
    head = os.pread(disk, sector, sector)
    if head[:8] != b"EFI PART":
        return None
    fields = HEADER.unpack_from(head)
    where, count, width = fields[10:13]
    if not 128 <= width <= 4096 or not 1 <= count <= 4096:
        return None
    raw = os.pread(disk, count * width, where * sector)
    if len(raw) < count * width:
        return None
    parts = []
    for number in range(1, count + 1):
        kind, key, start, last, flags, name = ENTRY.unpack_from(raw, (number - 1) * width)
        if kind != bytes(16):
            text = name.decode("utf-16-le", "replace").rstrip("\0")
            extent = start * sector, (last + 1 - start) * sector
            parts.append(Partition(number, *extent, uuid_text(kind), uuid_text(key), text, flags))
    return Table("gpt", size, sector, uuid_text(fields[9]), tuple(parts), os.pread(disk, 440, 0), entries=count)


def write(disk: int, table: Table) -> None:
    """Both copies of a GPT with its protective MBR, or an MBR."""
    if table.label == "dos":
        _write(disk, _mbr(table), 0)
        return
    raw = bytearray(table.entries * ENTRY.size)
    for part in table.partitions:
        name = part.name.encode("utf-16-le")[:72].ljust(72, b"\0")
        where = part.start // table.sector, part.end // table.sector - 1
        ENTRY.pack_into(raw, (part.number - 1) * ENTRY.size, uuid_bytes(part.kind), uuid_bytes(part.uuid), *where,
                        part.flags, name)  # fmt: skip
    last = table.size // table.sector - 1
    blocks = _round_up(len(raw), table.sector) // table.sector
    padded = bytes(raw).ljust(blocks * table.sector, b"\0")
    _write(disk, padded, (last - blocks) * table.sector)
    _write(disk, _gpt_header(table, raw, at=last, other=1, entries=last - blocks), last * table.sector)
    _write(disk, padded, 2 * table.sector)
    _write(disk, _gpt_header(table, raw, at=1, other=last, entries=2), table.sector)
    _write(disk, _protective(table, last), 0)


def _gpt_header(table: Table, raw: bytearray, *, at: int, other: int, entries: int) -> bytes:
    blocks = _round_up(len(raw), table.sector) // table.sector
    usable = 2 + blocks, table.size // table.sector - 2 - blocks
    plain = (b"EFI PART", 0x10000, HEADER.size, 0, 0, at, other, *usable, uuid_bytes(table.uuid), entries,
             table.entries, ENTRY.size, zlib.crc32(raw))  # fmt: skip
    crc = zlib.crc32(HEADER.pack(*plain))
    return HEADER.pack(*plain[:3], crc, *plain[4:]).ljust(table.sector, b"\0")


def _protective(table: Table, last: int) -> bytes:
    slot = SLOT.pack(0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, min(last, 0xFFFFFFFF))
    return table.code + bytes(6) + slot + bytes(48) + b"\x55\xaa"


def _mbr(table: Table) -> bytes:
    slots = [bytes(16)] * 4
    for part in table.partitions:
        place = part.start // table.sector, part.size // table.sector
        slots[part.number - 1] = SLOT.pack(0x80 * part.boot, UNUSED_CHS, int(part.kind, 16), UNUSED_CHS, *place)
    return table.code + bytes.fromhex(table.uuid)[::-1] + bytes(2) + b"".join(slots) + b"\x55\xaa"


def _write(disk: int, data: bytes, offset: int) -> None:
    if os.pwrite(disk, data, offset) != len(data):
        raise DeploymentError(f"The partition table could not be written at {offset}.")


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step


def uuid_text(raw: bytes) -> str:
    """A GPT's UUID: its first three parts are little-endian."""
    one, two, three = struct.unpack("<IHH", raw[:8])
    return f"{one:08x}-{two:04x}-{three:04x}-{raw[8:10].hex()}-{raw[10:].hex()}"


def uuid_bytes(text: str) -> bytes:
    one, two, three, four, five = text.split("-")
    return struct.pack("<IHH", int(one, 16), int(two, 16), int(three, 16)) + bytes.fromhex(four + five)


def new_uuid() -> str:
    raw = bytearray(os.urandom(16))
    raw[6], raw[8] = raw[6] & 0x0F | 0x40, raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
