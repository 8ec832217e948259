"""Cisco NX-OS: a checkpoint, one pass through the configuration mode, and back to the checkpoint if a line is refused.

    checkpoint hagane ─▶ configure terminal ─▶ lines ─▶ end ─▶ (refused: rollback) ─▶ no checkpoint hagane

NX-OS applies each line as it comes, so the checkpoint is what makes the pass one commit: a refusal leaves nothing
behind. An account needs the role network-admin; groups with LACP need `feature lacp`. NX-OS has no chassis identity of
its own (LLDP names each port's MAC unless configured otherwise): the enrolment says it.

A port that the configuration says little of is what the switch's defaults make it: routed or switched, on or off
(`system default switchport`). Every port that we set says so itself.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

from hagane.drivers.switch import interface as cli
from hagane.drivers.switch import plan as step
from hagane.drivers.switch.base import MARK, SwitchDesired, SwitchGroup, SwitchPort, SwitchSeen
from hagane.drivers.switch.shell import CliSwitch, Shell, sections

SHOWS = ("show running-config", "show interface status", "show version")
CHANNEL = "port-channel"
_NAME = re.compile(r"(et|eth|ethernet|po|port-?channel) ?(\d{1,4}(?:/\d{1,3}){0,2})", re.IGNORECASE | re.ASCII)
_NOWHERE = "switchport trunk native vlan 1"  # which no trunk of ours lets through


def canonical(name: str) -> str:
    """`Eth1/1` → `Ethernet1/1`, `Po5` → `port-channel5`; "" for all else, so that no text becomes a command."""
    found = _NAME.fullmatch(name.strip())
    if not found or (found[1][0] in "pP") == ("/" in found[2]):
        return ""
    return (CHANNEL if found[1][0] in "pP" else "Ethernet") + found[2]


def parse(answers: Mapping[str, str]) -> SwitchSeen:
    """The switch from the answers to SHOWS."""
    blocks = sections(answers[SHOWS[0]])
    states = status(answers[SHOWS[1]])
    ports = {name: cli.Interface() for name in states if name.startswith("Ethernet")}
    groups: dict[str, cli.Interface] = {}
    for header, lines in blocks.items():
        own = canonical(header.removeprefix("interface ")) if header.startswith("interface ") else ""
        if own:
            (ports if own.startswith("Ethernet") else groups)[own] = cli.interface(lines)
    for group in groups.values():
        group.lacp = True
    _defaults(blocks, [*ports.values(), *groups.values()])
    model = re.search(r"cisco (Nexus.*?) chassis", answers[SHOWS[2]], re.IGNORECASE)
    return replace(
        cli.assemble(ports, groups, CHANNEL),
        vlans={1: "default"} | cli.vlan_names(blocks),
        model=" ".join(model[1].split()) if model else "",
        up=frozenset(name for name, state in states.items() if state == "connected" and name in ports),
    )


def _defaults(blocks: Mapping[str, list[str]], interfaces: list[cli.Interface]) -> None:
    """Fill in what is not said. Only a switch whose ports are routed by default writes a bare `switchport`."""
    routed = "system default switchport" not in blocks and any(i.routed is False for i in interfaces)
    off = "system default switchport shutdown" in blocks
    for found in interfaces:
        if found.routed is None:
            found.routed = routed and not found.spoken
        if found.shutdown is None:
            found.shutdown = off and not found.routed


def status(text: str) -> dict[str, str]:
    """`show interface status`: its columns begin where their headings do, and a description may hold anything."""
    states: dict[str, str] = {}
    start = end = 0
    for line in text.splitlines():
        heading = re.match(r"Port\s+Name\s+(Status\s+)Vlan", line)
        if heading:
            start, end = heading.span(1)
        elif end and (own := canonical(line.split(maxsplit=1)[0] if line.strip() else "")):
            states[own] = line[start:end].strip()
    return states


def render(desired: SwitchDesired, seen: SwitchSeen) -> list[str]:
    """The lines that the configuration mode takes."""
    lacks, wanted = step.plan(desired, seen), step.whole(desired)
    lines = cli.vlans_made(lacks)
    for name, group in lacks.groups.items():
        lines += cli.block(f"interface {name}", _group(group, seen.groups.get(name)))
    for name, port in cli.with_members(lacks, wanted.ports, seen).items():
        lines += cli.block(f"interface {name}", _port(name, port, wanted.groups.get(port.group), seen))
    return lines + cli.leftovers(lacks)


def _group(group: SwitchGroup, seen: SwitchGroup | None) -> list[str]:
    lines = [] if seen else [f"description {MARK}"]
    lines += cli.switchport(group.native, group.tagged, untagged_nowhere=_NOWHERE)
    if group.fallback != (seen is not None and seen.fallback):
        # NX-OS changes this only on a group that is off.
        lines += ["shutdown", f"{'no ' if group.fallback else ''}lacp suspend-individual"]
    return [*lines, "no shutdown"]


def _port(name: str, port: SwitchPort, group: SwitchGroup | None, seen: SwitchSeen) -> list[str]:
    if group is not None and cli.stays(name, port, group, seen):
        return cli.tail(port)  # its VLANs follow the group's
    # A member's VLANs may not be set, so it leaves first, and joins when it has those of its new group.
    lines = [*cli.leave(name, seen), *cli.switchport(port.native, port.tagged, untagged_nowhere=_NOWHERE)]
    if group is not None:
        number = port.group.removeprefix(CHANNEL)
        lines.append(f"channel-group {number} force mode {'active' if group.lacp else 'on'}")
    return [*lines, *cli.tail(port)]


class NxosSwitch(CliSwitch):
    shows = SHOWS

    def canonical(self, name: str) -> str:
        return canonical(name)

    def cannot(self, port: SwitchPort, group: SwitchGroup | None) -> str:
        native, tagged = (group.native, group.tagged) if group else (port.native, port.tagged)
        return "a trunk that carries VLAN 1 cannot drop untagged frames here" if native is None and 1 in tagged else ""

    def render(self, desired: SwitchDesired, seen: SwitchSeen) -> list[str]:
        return render(desired, seen)

    def parse(self, answers: Mapping[str, str]) -> SwitchSeen:
        return parse(answers)

    async def configure(self, shell: Shell) -> None:
        await shell.run(f"no checkpoint {MARK}")  # there is hardly ever one, and then it says so
        await self.tell(shell, f"checkpoint {MARK}")
        await self.tell(shell, "configure terminal")

    async def finish(self, shell: Shell) -> None:
        await shell.run("end")
        await shell.run(f"no checkpoint {MARK}")

    async def abandon(self, shell: Shell) -> None:
        await shell.run("end")
        await self.tell(shell, f"rollback running-config checkpoint {MARK} atomic")
        await shell.run(f"no checkpoint {MARK}")
