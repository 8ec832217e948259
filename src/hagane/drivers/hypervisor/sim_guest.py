"""What a simulated machine shows of its inside: a console that prints a boot, a shell that echoes, an empty disk; and
how long a simulated Host says that it is up."""

import asyncio
import struct
import time
from collections.abc import AsyncGenerator

from hagane.drivers.hypervisor.base import Machine

_BOOT = (
    (0.0, "SeaBIOS (simulated)"),
    (0.1, "Booting from Hard Disk..."),
    (0.3, "[    0.000000] Linux version 6.1.0-simulated (hagane) #1 SMP"),
    (0.4, "[    0.000000] Command line: console=ttyS0"),
    (0.5, "[    0.104113] Memory: {memory}K/{memory}K available"),
    (0.6, "[    0.131522] smp: Brought up 1 node, {vcpus} CPUs"),
    (0.9, "[    0.602113] virtio_blk virtio2: [vda] {sectors} 512-byte logical blocks"),
    (1.1, "[    0.884020] EXT4-fs (vda1): mounted filesystem with ordered data mode"),
    (1.6, "cloud-init: Datasource DataSourceOpenStack"),
    (1.9, ""),
    (2.0, "{name} login: "),
)


def console_text(machine: Machine, boots: tuple[float, ...], ended: float | None, now: float) -> bytes:
    """What has been printed since the first boot. `boots`: when each began; `ended`: when the last one ended."""
    lines = []
    for began, until in zip(boots, [*boots[1:], ended if ended is not None else now], strict=True):
        lines += [text for second, text in _BOOT if began + second <= until]
        if until is ended:
            lines.append("[  OK  ] Reached target Power-Off")
    facts = {
        "memory": machine.memory_mb * 1024,
        "vcpus": machine.vcpus,
        "sectors": machine.disks[0].size_gb << 21 if machine.disks else 0,
        "name": machine.name,
    }
    return "\r\n".join(line.format_map(facts) for line in lines).encode()


def uptime_text(began: float, now: float) -> str:
    """As uptime(1) prints it for a Host with nobody on it and nothing to do; in UTC."""
    minutes = int(now - began) // 60
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    up = f"{days} day{'s' if days > 1 else ''}, " if days else ""
    up += f"{hours:2}:{minutes:02}" if hours else f"{minutes} min"
    return f" {time.strftime('%H:%M:%S', time.gmtime(now))} up {up},  0 users,  load average: 0.00, 0.00, 0.00"


class Shell:
    """A live console: what you type comes back."""

    def __init__(self, greeting: bytes) -> None:
        self._out: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._out.put_nowait(greeting)

    async def read(self) -> AsyncGenerator[bytes, None]:
        while (data := await self._out.get()) is not None:
            yield data

    async def write(self, data: bytes) -> None:
        self._out.put_nowait(data.replace(b"\r", b"\r\n# ").replace(b"\n", b"\r\n# "))

    def end(self) -> None:
        self._out.put_nowait(None)


def empty_qcow2(size: int) -> bytes:
    """A valid qcow2 (version 3) of `size` bytes that holds nothing. QEMU's docs/interop/qcow2.txt"""
    bits = 16 if size > 1 << 36 else 14
    cluster = 1 << bits
    entries = -(-size // (cluster * (cluster // 8)))  # one level-2 table covers so much
    level1 = -(-max(1, entries) * 8 // cluster)
    clusters = 3 + level1  # header, refcount table, refcount block, level-1 table
    header = struct.pack(
        ">4sIQIIQIIQQIIQQQQII",
        *(b"QFI\xfb", 3, 0, 0, bits, size, 0, entries, 3 * cluster, cluster, 1, 0, 0, 0, 0, 0, 4, 104),
    )
    image = bytearray(clusters * cluster)
    image[: len(header)] = header
    struct.pack_into(">Q", image, cluster, 2 * cluster)
    struct.pack_into(f">{clusters}H", image, 2 * cluster, *[1] * clusters)
    return bytes(image)
