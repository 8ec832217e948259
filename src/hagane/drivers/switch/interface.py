"""Interfaces in the command lines that descend from one: how Arista's and Cisco's say access, trunk and port-channel.

Pure text; `eos.py` and `nxos.py` add what their switches say differently.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hagane.drivers.switch.base import MARK, SwitchGroup, SwitchPort, SwitchSeen
from hagane.drivers.switch.plan import EVERY_VLAN, Plan, number, numbers, ranges, vlan_name

_LONG = 40  # ranges of VLANs in one line; the rest goes into `add` lines


@dataclass(slots=True)
class Interface:
    """What the lines under one `interface` say; what they do not say is the default."""

    mode: str = "access"
    access: int = 1
    native: int | None = 1  # None: untagged frames of the trunk go nowhere
    allowed: frozenset[int] = EVERY_VLAN
    shutdown: bool | None = None
    mtu: int | None = None
    routed: bool | None = None  # None: not said
    group: str = ""
    lacp: bool = True
    fallback: str = ""
    marked: bool = False
    spoken: bool = False  # a line of it says something of switching

    def vlans(self) -> tuple[int | None, frozenset[int]]:
        """The VLAN of untagged frames, and those of tagged ones."""
        if self.mode != "trunk":
            return self.access, frozenset()
        native = self.native if self.native in self.allowed else None
        return native, self.allowed - {native}


def interface(lines: list[str]) -> Interface:
    found = Interface()
    for line in lines:
        words = line.lower().split()
        if words[0] == "switchport" or words[:2] == ["no", "switchport"]:
            _switchport(found, words)
        else:
            _other(found, words)
    return found


def _switchport(found: Interface, words: list[str]) -> None:
    match words:
        case ["no", "switchport"]:
            found.routed = True
        case ["switchport"]:
            found.routed = False
        case ["switchport", "mode", mode, *_]:
            found.mode, found.spoken = mode, True
        case ["switchport", "access", "vlan", vlan]:
            found.access, found.spoken = number(vlan) or found.access, True
        case ["switchport", "trunk", "native", "vlan", vlan]:
            found.native, found.spoken = (None if vlan == "tag" else number(vlan)), True
        case ["switchport", "trunk", "allowed", "vlan", "add", *vlans]:
            found.allowed, found.spoken = found.allowed | numbers("".join(vlans)), True
        case ["switchport", "trunk", "allowed", "vlan", *vlans]:
            text, found.spoken = "".join(vlans), True
            found.allowed = EVERY_VLAN if text == "all" else numbers(text)


def _other(found: Interface, words: list[str]) -> None:
    match words:
        case ["shutdown"]:
            found.shutdown = True
        case ["no", "shutdown"]:
            found.shutdown = False
        case ["mtu", mtu]:
            found.mtu = number(mtu)
        case ["description", text]:
            found.marked = text == MARK
        case ["channel-group", channel, *mode]:
            found.group, found.lacp = channel, mode[-1:] in (["active"], ["passive"])
        case ["port-channel", "lacp", "fallback", *kind]:
            found.fallback = "".join(kind) or "static"
        case ["no", "lacp", "suspend-individual"]:
            found.fallback = "individual"


def vlan_names(blocks: Mapping[str, list[str]]) -> dict[int, str]:
    """The VLANs that a running configuration makes: `vlan 10,20-22`, or `vlan 10` and its name below."""
    found: dict[int, str] = {}
    for header, lines in blocks.items():
        if header.startswith("vlan ") and header[5:6].isdigit():
            names = [line.split(maxsplit=1)[1] for line in lines if re.match(r"name \S", line, re.IGNORECASE)]
            for vlan in numbers(header[5:]):
                found[vlan] = names[0] if names else found.get(vlan, "")
    return found


def assemble(ports: Mapping[str, Interface], groups: Mapping[str, Interface], channel: str) -> SwitchSeen:
    """Ports with their groups' VLANs, as the contract shows them. `channel`: what stands before a group's number."""
    members = {number: port for port in ports.values() if (number := port.group)}
    seen_groups, odd = {}, set()
    for name, group in groups.items():
        native, tagged = group.vlans()
        member = members.get(name.removeprefix(channel))
        lacp = member.lacp if member else True
        seen_groups[name] = SwitchGroup(native, tagged, lacp=lacp, fallback=bool(group.fallback))
        if group.routed or group.mode not in ("access", "trunk") or group.shutdown:
            odd.add(name)
    seen_ports = {}
    for name, port in ports.items():
        native, tagged = port.vlans()
        seen_ports[name] = SwitchPort(not port.shutdown, native, tagged, mtu=port.mtu)
        strange = bool(port.routed) or port.mode not in ("access", "trunk")
        if port.group:
            own, group_name = (native, tagged), f"{channel}{port.group}"
            seen_ports[name] = replace(seen_ports[name], group=group_name)
            if group_name in seen_groups:
                its = seen_groups[group_name]
                seen_ports[name] = replace(seen_ports[name], native=its.native, tagged=its.tagged)
                # A member that works alone goes by its own lines, so these have to say the same.
                strange |= groups[group_name].fallback == "individual" and own != (its.native, its.tagged)
                strange |= port.lacp != its.lacp
        if strange:
            odd.add(name)
    marked = frozenset(name for name, group in groups.items() if group.marked)
    return SwitchSeen(seen_ports, seen_groups, marked=marked, odd=frozenset(odd))


def switchport(native: int | None, tagged: frozenset[int], *, untagged_nowhere: str) -> list[str]:
    """The lines of an access port (one VLAN, untagged) or of a trunk. `untagged_nowhere` is a family's own line."""
    if native is not None and not tagged:
        trunk = ["no switchport trunk native vlan", "no switchport trunk allowed vlan"]
        return ["switchport", "switchport mode access", f"switchport access vlan {native}", *trunk]
    first = untagged_nowhere if native is None else f"switchport trunk native vlan {native}"
    allowed = ranges(tagged if native is None else tagged | {native}).split(",")
    lines = [f"switchport trunk allowed vlan {','.join(allowed[:_LONG]) or 'none'}"]
    for start in range(_LONG, len(allowed), _LONG):
        lines.append(f"switchport trunk allowed vlan add {','.join(allowed[start : start + _LONG])}")
    return ["switchport", "switchport mode trunk", "no switchport access vlan", first, *lines]


def tail(port: SwitchPort) -> list[str]:
    """What follows the VLANs: the MTU and whether the port is on."""
    mtu = [] if port.mtu is None else [f"mtu {port.mtu}"]
    return [*mtu, "no shutdown" if port.enabled else "shutdown"]


def stays(name: str, port: SwitchPort, group: SwitchGroup, seen: SwitchSeen) -> bool:
    """Whether a port is a member of this group already, in the same manner."""
    now = seen.groups.get(port.group)
    same = now is not None and now.lacp == group.lacp and name not in seen.odd
    return same and name in seen.ports and seen.ports[name].group == port.group


def leave(name: str, seen: SwitchSeen) -> list[str]:
    return ["no channel-group"] if name in seen.ports and seen.ports[name].group else []


def block(header: str, lines: list[str]) -> list[str]:
    return [header, *(f"   {line}" for line in lines)]


def vlans_made(lacks: Plan) -> list[str]:
    return [line for vlan in lacks.make for line in block(f"vlan {vlan}", [f"name {vlan_name(vlan)}"])]


def leftovers(lacks: Plan) -> list[str]:
    """What goes at the end, when no port needs it any more."""
    groups = [f"no interface {name}" for name in lacks.drop_groups]
    return [*groups, *(f"no vlan {vlan}" for vlan in lacks.drop)]


def with_members(lacks: Plan, wanted: Mapping[str, SwitchPort], seen: SwitchSeen) -> dict[str, SwitchPort]:
    """The ports to set: those that differ, and the members of groups that change, which follow their group."""
    changed = {name for name, group in lacks.groups.items() if seen.groups.get(name) != group}
    return {name: port for name, port in sorted(wanted.items()) if name in lacks.ports or port.group in changed}
