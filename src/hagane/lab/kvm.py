"""Whether KVM really runs machines here.

That /dev/kvm opens says little: inside another virtual machine, guests may hang before their first line, or QEMU may
fail at the first register. So a kernel is booted under KVM, without a disk: it must get as far as missing its root
file system, and end. That takes under a second where KVM works. The verdict is remembered until the next boot of this
machine or a new QEMU.
"""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

SECONDS = 6.0
DEVICE = Path("/dev/kvm")
_PROOF = b"Kernel panic - not syncing: VFS"


async def usable(kernel: Path, *, memory: Path = Path("/run/hagane/kvm")) -> bool:
    """Boot `kernel` under KVM, or remember how that went. Takes up to SECONDS the first time."""
    stamp = _stamp(kernel)
    known = _read(memory)
    if known and known[:-1] == stamp:
        return known[-1] == "yes"
    verdict = os.access(DEVICE, os.R_OK | os.W_OK) and await asyncio.to_thread(_boots, kernel)
    _write(memory, [*stamp, "yes" if verdict else "no"])
    return verdict


def _boots(kernel: Path) -> bool:
    argv = ["qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-m", "192", "-nodefaults", "-display", "none"]
    argv += ["-no-reboot", "-serial", "stdio", "-kernel", str(kernel), "-append", "console=ttyS0 panic=-1"]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return _PROOF in done.stdout


def _stamp(kernel: Path) -> list[str]:
    qemu = shutil.which("qemu-system-x86_64")
    changed = str(Path(qemu).stat().st_mtime_ns) if qemu else "-"
    return [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), changed, kernel.name, str(DEVICE.exists())]


def _read(memory: Path) -> list[str]:
    try:
        return memory.read_text().split()
    except OSError:
        return []


def _write(memory: Path, words: list[str]) -> None:
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.write_text(" ".join(words) + "\n")
