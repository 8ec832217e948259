"""What an emulated BMC does wrong on purpose: a small file beside the machine, looked at with every request.

A file, so that anybody may turn a fault on and off while the emulator runs: the command line, a test, an editor.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

DISK_FAULTS = ("disk-full", "disk-bad")
"""Every write fails; every read and write fails."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Everything right by default."""

    slow: float = 0.0  # seconds before every answer
    dead: bool = False  # no answer at all
    wrong: bool = False  # answers that make no sense
    password: bool = False  # somebody changed the password of the BMC
    stuck: bool = False  # takes orders for power, and does nothing
    disk: str = ""  # one of DISK_FAULTS: of the machine's first disk
    unplugged: tuple[int, ...] = ()  # NICs whose cable somebody pulled


def _read(text: str) -> Faults:
    content = json.loads(text)
    return Faults(**{**content, "unplugged": tuple(content.get("unplugged", ()))})


class FaultFile:
    """The faults of one BMC."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "faults.json"
        self._stamp = 0
        self._faults = Faults()

    def now(self) -> Faults:
        """What is wrong now; a file that cannot be read leaves it as it was."""
        try:
            stamp = self._path.stat().st_mtime_ns
            if stamp != self._stamp:
                self._faults, self._stamp = _read(self._path.read_text()), stamp
        except FileNotFoundError:
            self._faults, self._stamp = Faults(), 0
        except (ValueError, TypeError):
            return self._faults
        return self._faults

    def put(self, faults: Faults) -> None:
        """Turn faults on and off."""
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(faults)))
        fresh.replace(self._path)
