"""`python -m tests.dataplane.volume_tap up ...`: Hagane as it is, but with places at which it can be stopped.

    folder/stop names a place ──▶ folder/reached, once a call comes there, which waits ──▶ no folder/stop: it goes on

`folder` is that of the configuration. A place is before or after a call of a driver that moves a volume: what a test
does while the call waits has hit just this step, however fast the machine is.
"""

import asyncio
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hagane.__main__ import main
from hagane.drivers.hypervisor.libvirt import Libvirt
from hagane.drivers.volume import export
from hagane.drivers.volume.file import FileVolumes
from hagane.drivers.volume.raw import RawViews
from hagane.drivers.volume.rbd import RbdVolumes

STOP, REACHED = "stop", "reached"


def tap(owner: Any, name: str, label: Callable[..., str], folder: Path) -> None:
    """Put places before and after a coroutine function."""
    original = getattr(owner, name)

    @functools.wraps(original)
    async def call(*args: Any, **more: Any) -> Any:
        await _pass(folder, f"{label(*args)} before")
        found = await original(*args, **more)
        await _pass(folder, f"{label(*args)} after")
        return found

    setattr(owner, name, call)


async def _pass(folder: Path, place: str) -> None:
    stop = folder / STOP
    if stop.exists() and stop.read_text() == place:
        (folder / REACHED).touch()
        while stop.exists():
            await asyncio.sleep(0.005)


def taps(folder: Path) -> None:
    """All places."""
    tap(export, "_add", lambda *_: "target", folder)
    tap(export, "_drop", lambda *_: "untarget", folder)
    tap(RawViews, "new_layer", lambda *_: "layer", folder)
    for driver in (FileVolumes, RbdVolumes):
        tap(driver, "apply", lambda _, desired, *rest: type(desired).__name__, folder)
    tap(RbdVolumes, "_copy", lambda *_: "copy", folder)
    tap(Libvirt, "_do", lambda _, step, *rest: type(step).__name__, folder)


if __name__ == "__main__":
    taps(Path(sys.argv[-1]).parent)
    main()
