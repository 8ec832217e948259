"""An emulated Arista switch's command line, with configuration sessions."""

import json
import re

from hagane.lab.switch.box import EVERY_VLAN, Box, Config, Face
from hagane.lab.switch.cli import SwitchCli, fork, running_lines, vlan_text
from hagane.lab.switch.server import Process, SwitchServer, terminal

_HEAD = "! device: {name} ({model}, EOS-4.30.4M)\n!\nhostname {name}\n!\nspanning-tree mode mstp\n!\n"
_TAIL = "interface Management1\n   ip address 192.0.2.10/24\n!\nno ip routing\n!\nend\n"


def text(box: Box, config: Config) -> str:
    """A configuration as `show running-config` prints it."""
    return _HEAD.format(name=box.name, model=box.model) + "\n".join(running_lines(config, _face, "   ")) + "\n" + _TAIL


def _face(_name: str, face: Face) -> list[str]:
    lines = [
        (f"description {face.description}", bool(face.description)),
        (f"mtu {face.mtu}", bool(face.mtu)),
        (f"switchport access vlan {face.access}", face.access != 1),
        ("switchport trunk native vlan tag", face.native_tag),
        (f"switchport trunk native vlan {face.native}", face.native != 1 and not face.native_tag),
        (f"switchport trunk allowed vlan {vlan_text(face.allowed)}", face.allowed != EVERY_VLAN),
        (f"switchport mode {face.mode}", face.mode != "access"),
        ("no switchport", face.routed),
        (f"channel-group {face.channel} mode {face.channel_mode}", bool(face.channel)),
        (f"port-channel lacp fallback {face.fallback}", bool(face.fallback)),
        ("shutdown", face.shutdown),
    ]
    return [line for line, said in lines if said]


class EosCli(SwitchCli):
    def __init__(self, box: Box, sessions: dict[str, Config]) -> None:
        super().__init__(box)
        self._sessions, self._session = sessions, ""
        self._privileged = not box.enable

    def prompt(self) -> str:
        if not self._privileged:
            return "Password: " if self.secret else f"{self.box.name}>"
        mode = f"-if-{self.interface[:2]}{re.sub(r'[^0-9/]', '', self.interface)}" if self.interface else ""
        return f"{self.box.name}(config-s-{self._session[:6]}{mode})#" if self._session else f"{self.box.name}#"

    def name_of(self, text: str) -> str:
        found = re.fullmatch(r"(?i)(et|po)[a-z\-]*(\d[\d/]*)", text)
        return ("Ethernet" if found[1].lower() == "et" else "Port-Channel") + found[2] if found else ""

    def refuses(self, name: str) -> str:
        return f"% Interface {name} is reserved: switching configuration not permitted\n"

    async def run(self, line: str) -> str:
        if self.secret:
            self.secret, self._privileged = False, line == self.box.enable
            return "" if self._privileged else "% Bad secret\n"
        return await super().run(line)

    async def exec(self, line: str) -> str:
        box = self.box
        if not self._privileged:
            self.secret = line == "enable"
            return "" if self.secret else "% Invalid input (privileged mode required)\n"
        match line.split():
            case ["terminal", *_]:
                return "Pagination disabled.\n" if "length" in line else f"Width set to {line.split()[-1]} columns.\n"
            case ["show", "running-config"]:
                return text(box, box.running)
            case ["show", "startup-config"]:
                return text(box, box.startup)
            case ["show", "interfaces", "status", "|", "json"]:
                states = {n: {"linkStatus": "connected" if n in box.up else "notconnect"} for n in box.running.ports}
                return json.dumps({"interfaceStatuses": states}, indent=4) + "\n"
            case ["show", "version", "|", "json"]:
                return json.dumps({"modelName": box.model, "systemMacAddress": box.mac}, indent=4) + "\n"
            case ["copy", "running-config", "startup-config"]:
                box.copy()
                return "Copy completed successfully.\n"
            case ["configure", "session", name, *rest]:
                return self._configure(name, rest)
        return self.invalid

    def _configure(self, name: str, rest: list[str]) -> str:
        if rest == ["abort"]:
            return "" if self._sessions.pop(name, None) else f"% Session {name} does not exist\n"
        if self.box.faults.locked:
            return f"% Configuration is locked by user {self.box.faults.locked}\n"
        if len(self._sessions) >= 5 and name not in self._sessions:
            return "% Maximum number of pending sessions has been reached\n"
        self._session = name
        self.target = self._sessions.setdefault(name, fork(self.box.running))
        return ""

    async def leave(self, word: str) -> str | None:
        if word not in ("commit", "abort", "end"):
            return None
        if word == "commit":
            assert self.target is not None
            await self.box.commit(self.target)
        if word != "end":
            self._sessions.pop(self._session, None)
        self._session, self.interface, self.target = "", "", None
        return ""

    def on_interface(self, face: Face, words: list[str]) -> str:
        match words:
            case ["channel-group", number, "mode", ("active" | "passive" | "on") as mode] if number.isdigit():
                self.join(face, number, mode)
            case ["port-channel", "lacp", "fallback", ("individual" | "static") as kind]:
                face.fallback = kind
            case ["no", "port-channel", "lacp", "fallback"]:
                face.fallback = ""
            case ["switchport", "trunk", "native", "vlan", "tag"]:
                face.native_tag = True
            case _:
                return super().on_interface(face, words)
        return ""


def serve(box: Box) -> SwitchServer:
    """An EOS switch over SSH; not started yet."""
    sessions: dict[str, Config] = {}

    async def session(process: Process) -> None:
        await terminal(process, box, EosCli(box, sessions))

    return SwitchServer(box, session)


def make(name: str = "leaf1", ports: int = 8) -> Box:
    return Box(
        name, tuple(f"Ethernet{i + 1}" for i in range(ports)), mac="00:1c:73:aa:00:01", model="DCS-7050SX3-48YC8-F"
    )
