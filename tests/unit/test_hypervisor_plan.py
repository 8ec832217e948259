"""The plan of a machine: a table of what is there, what is wanted, and the steps between."""

from dataclasses import replace
from typing import Any

import pytest

from hagane.drivers.hypervisor.base import Disk, Machine, MachineNic, Power, Source
from hagane.drivers.hypervisor.plan import Have, drive_key, plan
from hagane.errors import DeviceFailed

ROOT, DATA, OTHER = Disk("root", 1, "image"), Disk("data", 1), Disk("other", 1, "image")
ONE, TWO = MachineNic("one", "fa:16:3e:00:00:01"), MachineNic("two", "fa:16:3e:00:00:02")
WANT = Machine("m", "m", 1, 64, Power.ON, disks=(ROOT, DATA), nics=(ONE,), config_drive=b"iso")
SAME = frozenset({"root", "data", "config-root"})
RUNS = Have(Power.ON, 1, {"one": ONE}, SAME, SAME, current=True)
VOLUME = Disk("volume", 1, source=Source("local", {"device_path": "/v"}))
COPY = replace(VOLUME, key="copy", copy_of="volume")
WITH, COPIED = replace(RUNS, disks=SAME | {"volume"}), replace(RUNS, disks=SAME | {"copy"})
OFF = replace(RUNS, power=Power.OFF)

# name -> (what is there, changes to what is wanted, names of the steps)
TABLE: dict[str, tuple[Have, dict[str, Any], str]] = {
    "nothing to do": (RUNS, {}, ""),
    "nothing to do, off": (OFF, {"power": Power.OFF}, ""),
    "from nothing": (Have(), {}, "MakeDisk MakeDisk MakeDrive Define Start"),
    "from nothing, off": (Have(), {"power": Power.OFF}, "MakeDisk MakeDisk MakeDrive Define"),
    "killed before the definition": (Have(stored=SAME), {}, "Define Start"),
    "killed before the start": (OFF, {}, "Start"),
    "stop": (RUNS, {"power": Power.OFF}, "Stop"),
    "stop, defined anew": (replace(RUNS, current=False), {"power": Power.OFF}, "Stop Define"),
    "crashed": (replace(RUNS, power=Power.CRASHED), {}, "Start"),
    "reboot": (replace(RUNS, current=False), {"boots": 2}, "Stop Define Start"),
    "reboot, killed after the definition": (RUNS, {"boots": 2}, "Stop Start"),
    "reboot in the past": (replace(RUNS, boots=5), {"boots": 2}, ""),
    "pause": (RUNS, {"power": Power.PAUSED}, "Pause"),
    "resume": (replace(RUNS, power=Power.PAUSED), {}, "Resume"),
    "start paused": (OFF, {"power": Power.PAUSED}, "Start"),
    "suspend": (RUNS, {"power": Power.SUSPENDED}, "Suspend"),
    "suspend what is off": (OFF, {"power": Power.SUSPENDED}, ""),
    "stay suspended": (replace(RUNS, power=Power.SUSPENDED), {"power": Power.SUSPENDED}, ""),
    "wake up": (replace(RUNS, power=Power.SUSPENDED), {}, "Start"),
    "boot instead of waking up": (
        replace(RUNS, power=Power.SUSPENDED, current=False),
        {"boots": 2},
        "Discard Define Start",
    ),
    "stop what is suspended": (replace(RUNS, power=Power.SUSPENDED), {"power": Power.OFF}, "Discard"),
    "grow": (
        replace(RUNS, current=False, sizes={"root": 1, "data": 1}),
        {"disks": (replace(ROOT, size_gb=2), DATA), "boots": 2},
        "Stop GrowDisk Define Start",
    ),
    "grow at the next boot": (replace(RUNS, sizes={"root": 1}), {"disks": (replace(ROOT, size_gb=2), DATA)}, ""),
    "never shrink": (replace(OFF, sizes={"root": 9}), {"power": Power.OFF}, ""),
    "reboot into pause": (RUNS, {"power": Power.PAUSED, "boots": 2}, "Stop Start"),
    "plug": (replace(RUNS, current=False), {"nics": (ONE, TWO)}, "Plug Define"),
    "unplug": (replace(RUNS, current=False), {"nics": ()}, "Unplug Define"),
    "unplug, killed before the definition": (replace(RUNS, nics={}, current=False), {"nics": ()}, "Define"),
    "another MAC": (
        replace(RUNS, current=False),
        {"nics": (replace(ONE, mac="fa:16:3e:00:00:09"),)},
        "Unplug Plug Define",
    ),
    "another MTU waits for the next boot": (
        replace(RUNS, current=False),
        {"nics": (replace(ONE, mtu=1400),)},
        "Define",
    ),
    "NICs while off": (replace(OFF, current=False), {"power": Power.OFF, "nics": (TWO,)}, "Define"),
    "attach": (
        replace(RUNS, current=False),
        {"disks": (ROOT, DATA, OTHER)},
        "MakeDisk Attach Define",
    ),
    "detach": (replace(RUNS, current=False), {"disks": (ROOT,)}, "Detach Define DropDisk"),
    "a volume is attached": (replace(RUNS, current=False), {"disks": (ROOT, DATA, VOLUME)}, "Attach Define"),
    "a volume is detached": (replace(WITH, current=False), {}, "Detach Define"),
    "a volume at the start": (Have(), {"disks": (VOLUME,), "config_drive": None}, "Define Start"),
    "a volume grows": (WITH, {"disks": (ROOT, DATA, replace(VOLUME, size_gb=9))}, ""),
    "a volume is copied": (replace(WITH, current=False), {"disks": (ROOT, DATA, COPY)}, "Swap Define"),
    "a volume was copied": (COPIED, {"disks": (ROOT, DATA, COPY)}, ""),
    "a copied volume is not there any more": (
        replace(RUNS, current=False),
        {"disks": (ROOT, DATA, COPY)},
        "Attach Define",
    ),
    "rebuild": (
        replace(RUNS, current=False),
        {"disks": (OTHER, DATA), "boots": 2},
        "MakeDisk MakeDrive Stop Define Start DropDisk DropDisk",
    ),
    "rebuild while off": (
        replace(OFF, current=False),
        {"disks": (OTHER, DATA), "power": Power.OFF},
        "MakeDisk MakeDrive Define DropDisk DropDisk",
    ),
    "drive not wanted any more": (replace(RUNS, current=False), {"config_drive": None}, "Define DropDisk"),
    "a disk of another try": (replace(OFF, stored=SAME | {"old"}), {}, "Start DropDisk"),
}


@pytest.mark.parametrize("case", TABLE)
def test_plan(case: str) -> None:
    have, changes, expected = TABLE[case]
    steps = plan(have, replace(WANT, **changes))
    assert " ".join(type(step).__name__ for step in steps) == expected


@pytest.mark.parametrize("changes", [{"power": Power.OFF}, {"boots": 2}])
def test_nothing_is_copied_unless_it_runs(changes: dict[str, Any]) -> None:
    with pytest.raises(DeviceFailed, match="only while the machine runs"):
        plan(WITH, replace(WANT, disks=(ROOT, DATA, COPY), **changes))


def test_only_a_guest_that_runs_is_asked_to_stop() -> None:
    want = replace(WANT, power=Power.OFF, soft=True)
    assert [step.soft for step in plan(RUNS, want)] == [True]  # type: ignore[union-attr]
    assert [step.soft for step in plan(replace(RUNS, power=Power.PAUSED), want)] == [False]  # type: ignore[union-attr]


def test_the_drive_lives_as_long_as_the_first_disk() -> None:
    assert drive_key(WANT) == "config-root"
    assert drive_key(replace(WANT, config_drive=b"other bytes")) == "config-root"
    assert drive_key(replace(WANT, disks=(OTHER,))) == "config-other"
    assert drive_key(replace(WANT, disks=())) == "config-none"
    assert drive_key(replace(WANT, config_drive=None)) is None
