"""Arista EOS: a configuration session, committed at once, over the command line.

    configure session hagane ─▶ lines ─▶ commit          (refused: abort, and nothing has changed)

The session always has the same name and is aborted before it is begun, so that one that a lost connection left behind
is never committed and never counts against the switch's limit. An account needs privilege 15 (`role network-admin`).
A member of a group that speaks no LACP yet works alone (`fallback individual`) and then goes by its own VLANs: these
are written on the members too.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hagane.drivers.switch import interface as cli
from hagane.drivers.switch import plan as step
from hagane.drivers.switch.base import MARK, SwitchDesired, SwitchGroup, SwitchPort, SwitchSeen
from hagane.drivers.switch.shell import CliSwitch, Shell, sections

SHOWS = ("show running-config", "show interfaces status | json", "show version | json")
CHANNEL = "Port-Channel"
_NAME = re.compile(r"(et|eth|ethernet|po|port-?channel) ?(\d{1,4}(?:/\d{1,3}){0,3})", re.IGNORECASE | re.ASCII)
_NOWHERE = "switchport trunk native vlan tag"


def canonical(name: str) -> str:
    """`et1/1` → `Ethernet1/1`, `po5` → `Port-Channel5`; "" for all else, so that no text becomes a command."""
    found = _NAME.fullmatch(name.strip())
    if not found or (found[1][0] in "pP" and "/" in found[2]):
        return ""
    return (CHANNEL if found[1][0] in "pP" else "Ethernet") + found[2]


def parse(answers: Mapping[str, str]) -> SwitchSeen:
    """The switch from the answers to SHOWS. A port that the configuration does not mention is as it was delivered."""
    blocks = sections(answers[SHOWS[0]])
    status = _json(answers[SHOWS[1]]).get("interfaceStatuses", {})
    version = _json(answers[SHOWS[2]])
    ports = {own: cli.Interface() for name in status if (own := canonical(name)).startswith("Ethernet")}
    groups: dict[str, cli.Interface] = {}
    for header, lines in blocks.items():
        own = canonical(header.removeprefix("interface ")) if header.startswith("interface ") else ""
        if own:
            (ports if own.startswith("Ethernet") else groups)[own] = cli.interface(lines)
    up = {canonical(name) for name, state in status.items() if state.get("linkStatus") == "connected"}
    return replace(
        cli.assemble(ports, groups, CHANNEL),
        vlans={1: "default"} | cli.vlan_names(blocks),
        chassis_id=str(version.get("systemMacAddress", "")).lower(),
        model=str(version.get("modelName", "")),
        up=frozenset(up & set(ports)),
    )


def render(desired: SwitchDesired, seen: SwitchSeen) -> list[str]:
    """The lines that a configuration session takes."""
    lacks, wanted = step.plan(desired, seen), step.whole(desired)
    lines = cli.vlans_made(lacks)
    for name, group in lacks.groups.items():
        lines += cli.block(f"interface {name}", _group(group, new=name not in seen.groups))
    for name, port in cli.with_members(lacks, wanted.ports, seen).items():
        lines += cli.block(f"interface {name}", _port(name, port, wanted.groups.get(port.group), seen))
    return lines + cli.leftovers(lacks)


def _group(group: SwitchGroup, *, new: bool) -> list[str]:
    mark = [f"description {MARK}"] if new else []
    fallback = "port-channel lacp fallback individual" if group.fallback else "no port-channel lacp fallback"
    vlans = cli.switchport(group.native, group.tagged, untagged_nowhere=_NOWHERE)
    return [*mark, *vlans, fallback, "no shutdown"]


def _port(name: str, port: SwitchPort, group: SwitchGroup | None, seen: SwitchSeen) -> list[str]:
    member: list[str] = []
    if group is None or not cli.stays(name, port, group, seen):
        member = cli.leave(name, seen)
        number = port.group.removeprefix(CHANNEL)
        member += [f"channel-group {number} mode {'active' if group.lacp else 'on'}"] if group else []
    return [*cli.switchport(port.native, port.tagged, untagged_nowhere=_NOWHERE), *member, *cli.tail(port)]


def _json(text: str) -> dict[str, Any]:
    """The object in an answer; {} when the switch said something else."""
    try:
        found = json.loads(text[text.index("{") : text.rindex("}") + 1])
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


class EosSwitch(CliSwitch):
    shows = SHOWS

    def canonical(self, name: str) -> str:
        return canonical(name)

    def render(self, desired: SwitchDesired, seen: SwitchSeen) -> list[str]:
        return render(desired, seen)

    def parse(self, answers: Mapping[str, str]) -> SwitchSeen:
        return parse(answers)

    async def configure(self, shell: Shell) -> None:
        await shell.run(f"configure session {MARK} abort")  # there is hardly ever one, and then it says so
        await self.tell(shell, f"configure session {MARK}")

    async def finish(self, shell: Shell) -> None:
        await self.tell(shell, "commit")

    async def abandon(self, shell: Shell) -> None:
        await shell.run("abort")
