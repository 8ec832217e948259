"""UEFI variables in the flash of a machine that is off: how a BMC tells the firmware to boot from a URI, once.

The file is a firmware volume with a store of authenticated variables, one after the other, each with a state byte
(EDK II, MdeModulePkg/Include/Guid/VariableFormat.h). A variable is changed by marking the old one as deleted and
writing the new one behind the last; the firmware itself collects what is deleted.
"""

import struct
from pathlib import Path
from uuid import UUID

from hagane.errors import DeviceFailed

GLOBAL = UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
_STORE = UUID("aaf32c78-947b-439a-a180-2e144ec37792").bytes_le  # gEfiAuthenticatedVariableGuid
_HEADER = struct.Struct(
    "<HBBIQ16sIII16s"
)  # start, state, -, attributes, count, time, key, name size, data size, vendor
_STORE_HEADER_BYTES = 28
_START, _ADDED, _DELETED = 0x55AA, 0x3F, 0xFD
_KEPT, _BOOT, _RUNTIME = 1, 2, 4  # EFI_VARIABLE_NON_VOLATILE, _BOOTSERVICE_ACCESS, _RUNTIME_ACCESS
_OPTION = 0x0F00  # a number that the firmware does not give by itself


def boot_from(file: Path, uri: str) -> None:
    """Boot from `uri` at the next start, and never again (UEFI 2.10, 3.1.2 BootNext, 3.1.3 load options)."""
    path = struct.pack("<BBH", 3, 24, 4 + len(uri.encode())) + uri.encode() + b"\x7f\xff\x04\x00"  # 10.3.4.23 URI
    option = struct.pack("<IH", 1, len(path)) + "HTTP boot\0".encode("utf-16-le") + path
    content = bytearray(file.read_bytes())
    _put(content, f"Boot{_OPTION:04X}", option)
    _put(content, "BootNext", struct.pack("<H", _OPTION))
    fresh = file.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.replace(file)


def read(file: Path) -> dict[str, bytes]:
    """The global variables by name."""
    content = file.read_bytes()
    return {
        name: content[at:end]
        for state, vendor, name, at, end in _walk(content)
        if state == _ADDED and vendor == GLOBAL.bytes_le
    }


def _put(content: bytearray, name: str, data: bytes) -> None:
    first, end = _store(content)
    last = first
    for state, vendor, known, at, after in _walk(content):
        last = _aligned(after)
        if known == name and vendor == GLOBAL.bytes_le and state == _ADDED:
            content[at - _HEADER.size - 2 * len(known) - 2 + 2] &= _DELETED
    wide = f"{name}\0".encode("utf-16-le")
    rights = _KEPT | _BOOT | _RUNTIME
    new = _HEADER.pack(_START, _ADDED, 0, rights, 0, bytes(16), 0, len(wide), len(data), GLOBAL.bytes_le) + wide + data
    if last + len(new) > end:
        raise DeviceFailed("the firmware's flash is full of variables")
    content[last : last + len(new)] = new


def _walk(content: bytes | bytearray) -> list[tuple[int, bytes, str, int, int]]:
    """(state, vendor, name, start of the data, its end) of every variable, also of deleted ones."""
    place, end = _store(content)
    found = []
    while place + _HEADER.size <= end:
        start, state, _, _, _, _, _, name_size, size, vendor = _HEADER.unpack_from(content, place)
        if start != _START:
            break
        at = place + _HEADER.size + name_size
        name = bytes(content[place + _HEADER.size : at - 2]).decode("utf-16-le", "replace")
        found.append((state, vendor, name, at, at + size))
        place = _aligned(at + size)
    return found


def _store(content: bytes | bytearray) -> tuple[int, int]:
    """Where the variables begin, and where their room ends."""
    header = struct.unpack_from("<H", content, 48)[0]
    if content[40:44] != b"_FVH" or content[header : header + 16] != _STORE:
        raise DeviceFailed("the firmware's flash holds no variables")
    size = struct.unpack_from("<I", content, header + 16)[0]
    return header + _STORE_HEADER_BYTES, header + size


def _aligned(place: int) -> int:
    return place + 3 & ~3
