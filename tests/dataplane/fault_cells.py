"""What the fault matrix tries: faults, the steps of a Node's work, and what has to come of each at each.

    deploy   ordered network boot start callback steps write-image switch disk
    clean    ordered network boot start callback steps release
    delete   ordered teardown
    active   nothing is going on

`ordered`: the fault is there before the work is asked for. OK: the work ends well in spite of it. FAIL: it ends in its
state of failure, with the cause. EITHER: the fault comes just before or just after what it breaks.
"""

from dataclasses import dataclass, field

OK, FAIL, EITHER = "ok", "fail", "either"
STEPS: dict[str, tuple[str, ...]] = {
    "deploy": ("ordered", "network", "boot", "start", "callback", "steps", "write-image", "switch", "disk"),
    "clean": ("ordered", "network", "boot", "start", "callback", "steps", "release"),
    "delete": ("ordered", "teardown"),
    "active": ("active",),
}
ENDS = {"deploy": "active", "clean": "available", "delete": "available", "active": "active"}
FAILURES = {"deploy": "deploy failed", "clean": "clean failed", "delete": "error", "active": "active"}


@dataclass(frozen=True)
class Fault:
    """`inject`: what the lab calls it. `part`: what it breaks; "": the Node's own machine. `seconds`: it is mended
    after so long; 0: when the work has ended. `words`: what the cause may contain, one of them. `fails`: at which
    steps it ends the work, by kind; `either`: at which it may."""

    name: str
    inject: str
    part: str = ""
    seconds: float = 0.0
    words: tuple[str, ...] = ()
    fails: dict[str, str] = field(default_factory=dict)
    either: dict[str, str] = field(default_factory=dict)
    kinds: tuple[str, ...] = tuple(STEPS)

    def harmless(self, kind: str) -> bool:
        """Whether the work has to end well, at whatever step it comes."""
        return not self.fails.get(kind) and not self.either.get(kind)

    def outcome(self, kind: str, step: str) -> str:
        if step in self.fails.get(kind, "").split():
            return FAIL
        return EITHER if step in self.either.get(kind, "").split() else OK


_EARLY = "ordered network boot start callback"
_BMC = {"deploy": _EARLY + " steps write-image switch", "clean": _EARLY + " steps", "delete": "ordered teardown"}
_BMC_LATE = {"deploy": "disk", "clean": "release"}
_POWER = {"deploy": "callback steps write-image", "clean": "callback steps"}
_POWER_LATE = {"deploy": "start disk", "clean": "start release"}
_CABLE = {"deploy": _EARLY + " steps", "clean": _EARLY}
_RAMDISK_LATE = {"deploy": "steps write-image", "clean": "steps"}
_DISK = {"deploy": _EARLY, "clean": _EARLY}
_WORK = ("deploy", "clean", "delete")

FAULTS = (
    Fault("bmc-dead 8 s", "bmc-dead", seconds=8.0),
    Fault("bmc-dead", "bmc-dead", words=("no answer",), fails=_BMC, either=_BMC_LATE),
    Fault("bmc-wrong-answers", "bmc-wrong-answers", fails=_BMC, either=_BMC_LATE, kinds=_WORK),
    Fault("bmc-password", "bmc-password", words=("password",), fails=_BMC, either=_BMC_LATE, kinds=_WORK),
    Fault("bmc-stuck", "bmc-stuck", words=("took the order",), fails=_BMC, either=_BMC_LATE, kinds=_WORK),
    Fault("power-loss", "power-loss", words=("switched off",), fails=_POWER, either=_POWER_LATE),
    Fault("cable-pulled 8 s", "cable-pulled=0", seconds=8.0),
    Fault("cable-pulled", "cable-pulled=0", words=("There is no carrier on port",), fails=_CABLE, either=_RAMDISK_LATE),
    Fault("disk-full", "disk-full", words=("ramdisk could not do",), fails=_DISK, either=_RAMDISK_LATE, kinds=_WORK),
    Fault("disk-bad", "disk-bad", words=("ramdisk could not do",), fails=_DISK, either=_RAMDISK_LATE, kinds=_WORK),
    Fault("switch reboot", "reboot", part="tor1"),
    Fault("switch wiped", "wiped", part="tor1"),
    Fault("switch hang 10 s", "hang", part="tor1", seconds=10.0),
    Fault("switch dead 8 s", "dead", part="tor1", seconds=8.0),
    Fault("gateway dead 12 s", "dead", part="gw1", seconds=12.0),
    Fault("bmc-slow", "bmc-slow=0.5"),
)
