"""The command line that EOS and NX-OS have in common: modes, interfaces, VLANs. What one says differently is a method.

It is written from what these switches do, apart from the drivers, so that a mistake there is not repeated here.
"""

import re
from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache

from hagane.lab.switch.box import EVERY_VLAN, Box, Config, Face


@lru_cache(256)
def vlan_set(text: str) -> frozenset[int] | None:
    """ "1-3,9" as a set; None when it is none."""
    if text in ("all", "none"):
        return EVERY_VLAN if text == "all" else frozenset()
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part)
        if not match or int(match[1]) < 1 or int(match[2] or match[1]) > 4094:
            return None
        found |= set(range(int(match[1]), int(match[2] or match[1]) + 1))
    return frozenset(found)


@lru_cache(256)
def vlan_text(vlans: frozenset[int]) -> str:
    """A set as these switches print it."""
    parts: list[list[int]] = []
    for vlan in sorted(vlans):
        if parts and parts[-1][-1] == vlan - 1:
            parts[-1] = [parts[-1][0], vlan]
        else:
            parts.append([vlan])
    return ",".join("-".join(map(str, part)) for part in parts) or "none"


class SwitchCli:
    """One terminal. `target` is the configuration that its lines change; None outside of the configuration mode."""

    invalid = "% Invalid input\n"
    incomplete = "% Incomplete command\n"
    mtu_range = (68, 9214)
    channel = "Port-Channel"
    secret = False  # the next line is a password

    def __init__(self, box: Box) -> None:
        self.box = box
        self.target: Config | None = None
        self.interface = ""
        self.vlans: frozenset[int] = frozenset()

    def prompt(self) -> str:
        raise NotImplementedError

    def name_of(self, text: str) -> str:
        raise NotImplementedError

    async def exec(self, line: str) -> str:
        raise NotImplementedError

    async def leave(self, word: str) -> str | None:
        """`end`, `exit`, `commit`, `abort`: the answer; None for another word."""
        raise NotImplementedError

    async def run(self, line: str) -> str:
        if not line or line.startswith("!"):
            return ""
        if self.target is None:
            return await self.exec(line)
        left = await self.leave(line)
        return self.config(line.split()) if left is None else left

    def config(self, words: list[str]) -> str:
        assert self.target is not None
        match words:
            case ["interface", *name]:
                return self._enter("".join(name))
            case ["no", "interface", *name]:
                return self._remove("".join(name))
            case ["vlan", ids] if (vlans := vlan_set(ids)) is not None:
                self.vlans, self.interface = vlans, ""
                for vlan in vlans - set(self.target.vlans):
                    self.target.vlans[vlan] = ""
                return ""
            case ["no", "vlan", ids] if (vlans := vlan_set(ids)) is not None:
                for vlan in vlans - {1}:
                    self.target.vlans.pop(vlan, None)
                return ""
            case ["name", name] if self.vlans:
                self.target.vlans.update(dict.fromkeys(self.vlans, name))
                return ""
        face = self.target.face(self.interface)
        if face is None:
            return self.invalid
        if self.interface in self.box.faults.refuse and "vlan" in words:
            return self.refuses(self.interface)
        return self.on_interface(face, words)

    def refuses(self, name: str) -> str:
        raise NotImplementedError

    def on_interface(self, face: Face, words: list[str]) -> str:
        """A line below `interface`."""
        match words:
            case ["description", *text]:
                face.description = " ".join(text)
            case ["shutdown"] | ["no", "shutdown"]:
                face.shutdown = words[0] != "no"
            case ["mtu", mtu]:
                low, high = self.mtu_range
                if not (mtu.isdigit() and low <= int(mtu) <= high):
                    return self.invalid
                face.mtu = int(mtu)
            case ["no", "channel-group"]:
                face.channel = face.channel_mode = ""
            case ["switchport"] | ["no", "switchport"]:
                face.routed = words[0] == "no"
            case ["switchport", *_] | ["no", "switchport", *_] | ["default", "switchport", *_]:
                return self.switchport(face, words)
            case _:
                return self.invalid
        return ""

    def switchport(self, face: Face, words: list[str]) -> str:
        match words:
            case ["switchport", "mode", ("access" | "trunk" | "dot1q-tunnel") as mode]:
                face.mode = mode
            case ["switchport", "access", "vlan", vlan] if (found := vlan_set(vlan)) and len(found) == 1:
                (face.access,) = found
            case ["switchport", "trunk", "native", "vlan", vlan] if (found := vlan_set(vlan)) and len(found) == 1:
                (face.native,), face.native_tag = found, False
            case ["switchport", "trunk", "allowed", "vlan", "add", vlans] if found := vlan_set(vlans):
                face.allowed |= found
            case ["switchport", "trunk", "allowed", "vlan", vlans] if (found := vlan_set(vlans)) is not None:
                face.allowed = found
            case ["no" | "default", "switchport", "access", "vlan"]:
                face.access = 1
            case ["no" | "default", "switchport", "trunk", "native", "vlan"]:
                face.native, face.native_tag = 1, False
            case ["no" | "default", "switchport", "trunk", "allowed", "vlan"]:
                face.allowed = EVERY_VLAN
            case _:
                return self.invalid
        return ""

    def join(self, face: Face, number: str, mode: str) -> None:
        """Make the interface a member of a port-channel, which is made if there is none."""
        assert self.target is not None
        face.channel, face.channel_mode = number, mode
        self.target.groups.setdefault(f"{self.channel}{number}", Face())

    def _enter(self, text: str) -> str:
        assert self.target is not None
        name = self.name_of(text)
        if name.startswith(self.channel):
            self.target.groups.setdefault(name, Face())
        if self.target.face(name) is None:
            self.interface = ""
            return self.invalid
        self.interface, self.vlans = name, frozenset()
        return ""

    def _remove(self, text: str) -> str:
        assert self.target is not None
        name = self.name_of(text)
        if self.target.groups.pop(name, None) is None:
            return self.invalid
        for face in self.target.ports.values():
            if f"{self.channel}{face.channel}" == name:
                face.channel = face.channel_mode = ""
        return ""


def running_lines(config: Config, face_lines: Callable[[str, Face], list[str]], indent: str) -> list[str]:
    """VLANs and interfaces of a running configuration."""
    lines: list[str] = []
    for vlan, name in sorted(config.vlans.items()):
        if vlan != 1:
            lines += [f"vlan {vlan}", *([f"{indent}name {name}"] if name else []), "!"]
    for name, face in [*config.groups.items(), *config.ports.items()]:
        lines += [f"interface {name}", *(indent + line for line in face_lines(name, face)), "!"]
    return lines


def fork(config: Config) -> Config:
    return deepcopy(config)
