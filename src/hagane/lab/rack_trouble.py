"""What of a rack is broken on purpose now, in one small file: whoever repairs the rack leaves these things alone.

What is wrong with a BMC is in a file of its own (bmc/faults.py); this one is about cables, switch and gateways.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from hagane.lab.rack_place import Rack


@dataclass(frozen=True, slots=True)
class Trouble:
    """(part, fault) pairs: ("tor1", "hang"), ("gw1", "dead"), ("bm1-0", "cable-pulled")."""

    pairs: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def of(cls, rack: Rack) -> "Trouble":
        try:
            return cls(frozenset((part, fault) for part, fault in json.loads(_file(rack).read_text())))
        except (OSError, ValueError):
            return cls()

    def has(self, part: str, fault: str) -> bool:
        return (part, fault) in self.pairs

    @property
    def unplugged(self) -> frozenset[str]:
        return frozenset(part for part, fault in self.pairs if fault == "cable-pulled")


def note(rack: Rack, part: str, fault: str, *, on: bool) -> None:
    """Remember a fault, or that it is over."""
    pairs = Trouble.of(rack).pairs
    changed = pairs | {(part, fault)} if on else pairs - {(part, fault)}
    path = _file(rack)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(sorted(changed)))
    fresh.replace(path)


def stamp(rack: Rack) -> int:
    """Another number after every change."""
    try:
        return _file(rack).stat().st_mtime_ns
    except OSError:
        return 0


def _file(rack: Rack) -> Path:
    return rack.folder.run / "trouble.json"
