"""Names of a volume's file while somebody has it open. All functions block; the folder's lock is held.

    volume.<a>           the volume: what is opened next
    volume.<a>.<token>   the same file, as whoever has it open knows it; or its successor, laid over it, for as long as
                         that has not taken the volume's name

QEMU opens the file that goes below another once more by the name that it knows, to have it read-only; so a name may not
stand for another file before QEMU has gone over.
"""

from pathlib import Path
from uuid import uuid4

from hagane.drivers.volume import qemu


def further(volume: Path) -> list[str]:
    """Further names of a volume's file and its successor."""
    return sorted(path.name for path in volume.parent.glob(f"{volume.name}.*"))


def new(volume: Path) -> str:
    """A name for a successor."""
    return f"{volume.name}.{uuid4().hex[:8]}"


def is_further(name: str) -> bool:
    """Whether a name that begins as volumes' do is no volume's own."""
    return name.count(".") > 1


def unfinished(volume: Path) -> list[str]:
    """The file that is laid over the volume's present one and shall take its name. Names of older ones go."""
    found = []
    for name in further(volume):
        other = volume.with_name(name)
        below = volume.with_name(qemu.head(other).backing or "-")
        if below.exists() and below.samefile(volume):
            found.append(name)
        elif not other.samefile(volume):
            other.unlink()
    return found


def forget(volume: Path) -> None:
    """A machine that opens the volume next knows it by its own name."""
    if not qemu.is_written(volume):
        for name in further(volume):
            volume.with_name(name).unlink(missing_ok=True)


def take_over(volume: Path, other: str, old: Path, new: Path) -> bool:
    """The volume's name stands for the newer file; False, and nothing has changed, if somebody has just opened the
    older one. `old`, `new`: temporary names."""
    try:
        old.hardlink_to(volume)
        new.hardlink_to(volume.with_name(other))
        new.rename(volume)
        if qemu.is_written(old):
            old.rename(volume)
            return False
        return True
    finally:
        old.unlink(missing_ok=True)
        new.unlink(missing_ok=True)
