"""An emulated Cisco Nexus switch's command line: each line counts at once; checkpoints and rollback."""

import re

from hagane.lab.switch.box import EVERY_VLAN, Box, Config, Face
from hagane.lab.switch.cli import SwitchCli, fork, running_lines, vlan_text
from hagane.lab.switch.server import Process, SwitchServer, terminal

_HEAD = (
    "\n!Command: show running-config\n!Running configuration last done at: Fri Nov 20 09:12:44 2026\n\n"
    "version 9.3(10) Bios:version 05.47\nhostname {name}\nfeature lacp\nfeature lldp\nsystem default switchport\n\n"
)
_TAIL = "interface mgmt0\n  vrf member management\n  ip address 192.0.2.11/24\nline console\nline vty\n"
_MEMBER = "ERROR: {}: command not allowed: the port is a member of port-channel{}\n"


def text(box: Box, config: Config) -> str:
    """A configuration as `show running-config` prints it."""
    every = sorted(config.vlans)
    head = _HEAD.format(name=box.name) + f"vlan {','.join(map(str, every))}\n"
    return head + "\n".join(running_lines(config, _face, "  ")) + "\n\n" + _TAIL


def _face(name: str, face: Face) -> list[str]:
    lines = [
        (f"description {face.description}", bool(face.description)),
        ("no switchport", face.routed),
        (f"switchport mode {face.mode}", face.mode != "access"),
        (f"switchport access vlan {face.access}", face.access != 1),
        (f"switchport trunk native vlan {face.native}", face.native != 1),
        (f"mtu {face.mtu}", bool(face.mtu)),
        ("shutdown", face.shutdown),
        ("no lacp suspend-individual", bool(face.fallback)),
        (f"channel-group {face.channel}{_mode(face.channel_mode)}", bool(face.channel)),
    ]
    said = [line for line, holds in lines if holds]
    if face.allowed != EVERY_VLAN:
        parts = vlan_text(face.allowed).split(",")
        for start in range(0, len(parts), 12):  # it breaks long lists
            add = "add " if start else ""
            said.append(f"switchport trunk allowed vlan {add}{','.join(parts[start : start + 12])}")
    return said


def _mode(mode: str) -> str:
    return "" if mode == "on" else f" mode {mode}"


class NxosCli(SwitchCli):
    mtu_range = (1500, 9216)
    channel = "port-channel"

    def __init__(self, box: Box, checkpoints: dict[str, Config]) -> None:
        super().__init__(box)
        self._checkpoints = checkpoints
        self._before: Config | None = None

    def prompt(self) -> str:
        mode = "" if self.target is None else "(config-if)" if self.interface else "(config)"
        return f"{self.box.name}{mode}# "

    def name_of(self, text: str) -> str:
        found = re.fullmatch(r"(?i)(e|p)[a-z\-]*(\d[\d/]*)", text)
        return ("Ethernet" if found[1].lower() == "e" else "port-channel") + found[2] if found else ""

    @property
    def invalid(self) -> str:  # type: ignore[override]
        return "                       ^\n% Invalid command at '^' marker.\n"

    def refuses(self, name: str) -> str:
        return f"ERROR: {name}: Configuration does not match the port capability\n"

    async def exec(self, line: str) -> str:
        box = self.box
        match line.split():
            case ["terminal", *_]:
                return ""
            case ["show", "running-config"]:
                return text(box, box.running)
            case ["show", "startup-config"]:
                return text(box, box.startup)
            case ["show", "interface", "status"]:
                return self._status()
            case ["show", "version"]:
                return f"Cisco Nexus Operating System (NX-OS) Software\n\nHardware\n  cisco {box.model} Chassis \n"
            case ["copy", "running-config", "startup-config"]:
                box.copy()
                return "[########################################] 100%\nCopy complete, now saving to disk...\n"
            case ["no", "checkpoint", name]:
                found = self._checkpoints.pop(name, None)
                return "Done\n" if found else f"ERROR: no checkpoint named {name}\n"
            case ["checkpoint", name]:
                self._checkpoints[name] = fork(box.running)
                return ".......Done\n"
            case ["rollback", "running-config", "checkpoint", name, "atomic"] if name in self._checkpoints:
                box.running = fork(self._checkpoints[name])
                return "Collecting Running-Config\nExecuting Rollback Patch\nRollback completed successfully.\n"
            case ["configure", "terminal"]:
                return self._configure()
        return self.invalid

    def _configure(self) -> str:
        if self.box.faults.locked:
            return f"ERROR: Configuration database is locked by {self.box.faults.locked}\n"
        self._before = fork(self.box.running)
        self.target = self.box.running
        return "Enter configuration commands, one per line. End with CNTL/Z.\n"

    async def leave(self, word: str) -> str | None:
        if word != "end":
            return None
        # The lines have counted already. The time that they take is put here, and what a fault forgets is undone.
        wanted, self.box.running = self.box.running, self._before or self.box.running
        self.target, self.interface = None, ""
        await self.box.commit(wanted)
        return ""

    def on_interface(self, face: Face, words: list[str]) -> str:
        match words:
            case ["channel-group", number, "force", "mode", ("active" | "on") as mode] if number.isdigit():
                self.join(face, number, mode)
                self._follow()
            case ["lacp", "suspend-individual"] | ["no", "lacp", "suspend-individual"]:
                if not face.shutdown:
                    return f"ERROR: Cannot set/reset lacp suspend-individual for {self.interface} that is admin up\n"
                face.fallback = "individual" if words[0] == "no" else ""
            case ["no", "channel-group"] if not face.channel:
                return f"ERROR: {self.interface}: port not part of any port-channel\n"
            case _ if face.channel and "switchport" in words:
                return _MEMBER.format(self.interface, face.channel)
            case _:
                answer = super().on_interface(face, words)
                self._follow()
                return answer
        return ""

    def _follow(self) -> None:
        """Members have the VLANs of their port-channel."""
        config = self.box.running
        for face in config.ports.values():
            group = config.groups.get(f"{self.channel}{face.channel}")
            if group is not None:
                face.mode, face.access, face.native = group.mode, group.access, group.native
                face.allowed, face.routed = group.allowed, group.routed

    def _status(self) -> str:
        rule = "-" * 80
        lines = [rule, "Port          Name               Status    Vlan      Duplex  Speed   Type", rule]
        for name, face in self.box.running.ports.items():
            state = "connected" if name in self.box.up else "disabled" if face.shutdown else "notconnec"
            short = name.replace("Ethernet", "Eth")
            vlan = "trunk" if face.mode == "trunk" else "routed" if face.routed else str(face.access)
            lines.append(
                f"{short:<14}{(face.description or '--')[:18]:<19}{state:<10}{vlan:<10}auto    auto    10Gbase-SR"
            )
        return "\n".join(lines) + "\n"


def serve(box: Box) -> SwitchServer:
    """A Nexus switch over SSH; not started yet."""
    checkpoints: dict[str, Config] = {}

    async def session(process: Process) -> None:
        await terminal(process, box, NxosCli(box, checkpoints))

    return SwitchServer(box, session)


def make(name: str = "nexus1", ports: int = 8) -> Box:
    names = tuple(f"Ethernet1/{i + 1}" for i in range(ports))
    return Box(name, names, mac="00:3a:9c:aa:00:01", model="Nexus9000 C93180YC-EX")
