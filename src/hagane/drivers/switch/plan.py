"""What a switch lacks: the pure step between reading it and telling it. Every family renders the same `Plan`.

SwitchDesired, SwitchSeen ──plan──▶ Plan ──render (the family's)──▶ lines, JSON or XML
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hagane.drivers.switch.base import MARK, SwitchDesired, SwitchGroup, SwitchPort, SwitchSeen

EVERY_VLAN = frozenset(range(1, 4095))
_NEARLY_EVERY = 4000  # a trunk that carries so many is an uplink for all: it needs no VLAN in particular


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in this order: make VLANs, set groups, set ports, remove groups, remove VLANs."""

    make: tuple[int, ...] = ()
    groups: Mapping[str, SwitchGroup] = field(default_factory=dict)
    ports: Mapping[str, SwitchPort] = field(default_factory=dict)
    drop_groups: tuple[str, ...] = ()
    drop: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.make or self.groups or self.ports or self.drop_groups or self.drop)


def vlan_name(vlan: int) -> str:
    """The name that marks a VLAN as ours; with its number in it, because some families want names to be unique."""
    return f"{MARK}-{vlan}"


def whole(desired: SwitchDesired) -> SwitchDesired:
    """The same, with each member carrying its group's VLANs, as `read` shows it; without groups of no port, and without
    the fallback of those that speak no LACP."""
    used = {port.group for port in desired.ports.values()}
    groups = {
        name: replace(group, fallback=group.fallback and group.lacp)
        for name, group in desired.groups.items()
        if name in used
    }

    def member(port: SwitchPort) -> SwitchPort:
        group = groups.get(port.group)
        return replace(port, native=group.native, tagged=group.tagged) if group else port

    return SwitchDesired({name: member(port) for name, port in desired.ports.items()}, groups)


def without(desired: SwitchDesired, names: frozenset[str]) -> SwitchDesired:
    """The same, without these ports and groups, and without the ports of these groups."""
    ports = {n: p for n, p in desired.ports.items() if n not in names and p.group not in names}
    return SwitchDesired(ports, {n: g for n, g in desired.groups.items() if n not in names})


def plan(desired: SwitchDesired, seen: SwitchSeen) -> Plan:
    """What brings `seen` to `desired`. A VLAN of ours goes when no port needs it, whosever the port is."""
    desired = whole(desired)
    ports = {n: p for n, p in sorted(desired.ports.items()) if n in seen.odd or not same(p, seen.ports.get(n))}
    groups = {n: g for n, g in sorted(desired.groups.items()) if n in seen.odd or seen.groups.get(n) != g}
    needed = vlans_of(desired.ports) | vlans_of(desired.groups)
    foreign = {n: p for n, p in seen.ports.items() if n not in desired.ports and len(p.tagged) < _NEARLY_EVERY}
    others = {p.group for n, p in seen.ports.items() if n not in desired.ports}
    drop_groups = seen.marked - set(desired.groups) - others
    left = {n: g for n, g in seen.groups.items() if n not in desired.groups and n not in drop_groups}
    kept = needed | vlans_of(foreign) | vlans_of({n: g for n, g in left.items() if len(g.tagged) < _NEARLY_EVERY})
    ours = {vlan for vlan, name in seen.vlans.items() if name == vlan_name(vlan)}
    return Plan(
        make=tuple(sorted(needed - set(seen.vlans) - {1})),
        groups=groups,
        ports=ports,
        drop_groups=tuple(sorted(drop_groups)),
        drop=tuple(sorted(ours - kept)),
    )


def vlans_of(items: Mapping[str, SwitchPort] | Mapping[str, SwitchGroup]) -> frozenset[int]:
    """All VLANs that these ports or groups carry."""
    found: set[int] = set()
    for item in items.values():
        found |= item.tagged
        found |= {item.native} if item.native is not None else set()
    return frozenset(found)


def same(want: SwitchPort, seen: SwitchPort | None) -> bool:
    return seen is not None and (replace(want, mtu=seen.mtu) == seen) and want.mtu in (None, seen.mtu)


def differences(desired: SwitchDesired, seen: SwitchSeen) -> dict[str, str]:
    """The named ports and groups that are not as wanted, each with what differs in words."""
    lacks = plan(desired, seen)
    found = {name: _words(group, seen.groups.get(name)) for name, group in lacks.groups.items()}
    return found | {name: _words(port, seen.ports.get(name)) for name, port in lacks.ports.items()}


def _words(want: SwitchPort | SwitchGroup, seen: SwitchPort | SwitchGroup | None) -> str:
    if seen is None:
        return "is not there"
    said = []
    for name in want.__slots__:
        wanted, shown = getattr(want, name), getattr(seen, name)
        if wanted != shown and not (name == "mtu" and wanted is None):
            said.append(f"{name} is {_short(shown)} instead of {_short(wanted)}")
    return ", ".join(said) or "is set to something else"


def _short(value: object) -> str:
    return f"VLANs {ranges(value) or '-'}" if isinstance(value, frozenset) else repr(value)


def ranges(vlans: frozenset[int], joint: str = "-") -> str:
    """{1, 2, 3, 7} as "1-3,7"."""
    parts: list[list[int]] = []
    for vlan in sorted(vlans):
        if parts and parts[-1][1] == vlan - 1:
            parts[-1][1] = vlan
        else:
            parts.append([vlan, vlan])
    return ",".join(str(a) if a == b else f"{a}{joint}{b}" for a, b in parts)


def numbers(text: str, joint: str = "-") -> frozenset[int]:
    """The VLANs of "1-3, 7", and none of what is not one."""
    found: set[int] = set()
    for part in text.replace(" ", "").split(","):
        if match := re.fullmatch(rf"([0-9]{{1,4}})(?:{re.escape(joint)}([0-9]{{1,4}}))?", part):
            found |= EVERY_VLAN & set(range(int(match[1]), int(match[2] or match[1]) + 1))
    return frozenset(found)


def number(text: str) -> int | None:
    """A short decimal number; None for all else."""
    return int(text) if re.fullmatch(r"[0-9]{1,5}", text) else None
