"""Which Host a Server goes to: a pure function, so that every refusal can be explained.

candidates ─▶ those up, enabled, in the zone, allowed by hints ─▶ those with room ─▶ the emptiest first
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hagane.placement.host import DEFAULT_ZONE, is_up

Row = dict[str, Any]
WORDS = {"VCPU": "VCPU", "MEMORY_MB": "MB of memory", "DISK_GB": "GB of disk"}


@dataclass(frozen=True)
class Wanted:
    """What a Server asks of a Host. `near` and `apart` are names of Hosts it must, or must not, share."""

    resources: Mapping[str, int]
    zone: str | None = None
    host: str | None = None  # asked for by name
    forced: bool = False  # by name and without regard to the Host being disabled, as the real service does
    near: frozenset[str] | None = None
    apart: frozenset[str] = frozenset()
    avoid: frozenset[str] = frozenset()  # where it failed before
    burden: Mapping[str, int] = field(default_factory=dict)  # Hosts with less of it come first


@dataclass
class Choice:
    """Hosts that fit, best first, and why each of the others does not."""

    hosts: list[Row] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    def why(self) -> str:
        """The reasons, one Host after the other; for people."""
        if not self.hosts and not self.refused:
            return "There is no Host at all."
        return "; ".join(f"{name}: {reason}" for name, reason in sorted(self.refused.items()))


def resources_of(flavor: Mapping[str, Any]) -> dict[str, int]:
    """What a Server of a flavor takes of its Host. Swap is megabytes and is rounded up."""
    disk = flavor["disk"] + flavor["ephemeral"] + -(-flavor["swap"] // 1024)
    return {"VCPU": flavor["vcpus"], "MEMORY_MB": flavor["ram"], "DISK_GB": disk}


def choose(hosts: Iterable[Row], inventories: Mapping[str, Mapping[str, Row]], wanted: Wanted) -> Choice:
    """Sort out the Hosts for one Server."""
    choice = Choice()
    for host in hosts:
        inventory = inventories.get(host["id"], {})
        reason = _barred(host, wanted) or _full(inventory, wanted.resources)
        if reason:
            choice.refused[host["name"]] = reason
        else:
            choice.hosts.append(host)
    choice.hosts.sort(key=lambda host: (wanted.burden.get(host["name"], 0), _load(inventories[host["id"]])))
    return choice


def _barred(host: Row, wanted: Wanted) -> str:
    name = host["name"]
    if wanted.host and wanted.host not in (name, host["facts"] and host["facts"].get("hostname")):
        return f"another Host, {wanted.host}, was asked for"
    if not is_up(host):
        return f"it is down ({host['reason'] or 'no answer'})"
    if host["disabled"] and not wanted.forced:
        return f"it is disabled ({host['disabled_reason'] or 'no reason given'})"
    zone = host["zone"] or DEFAULT_ZONE
    if wanted.zone and zone != wanted.zone:
        return f"it is in the zone {zone}, not {wanted.zone}"
    if name in wanted.avoid:
        return "the server failed to build there before"
    if wanted.near is not None and name not in wanted.near:
        return "the scheduler hints ask for another Host"
    if name in wanted.apart:
        return "the scheduler hints ask not to share it"
    return ""


def _full(inventory: Mapping[str, Row], resources: Mapping[str, int]) -> str:
    for resource_class, amount in resources.items():
        row = inventory.get(resource_class)
        word = WORDS.get(resource_class, resource_class)
        if not amount:
            continue
        if row is None:
            return f"it has no {word}"
        if amount > row["max_unit"]:
            return f"{amount} {word} are wanted and it has {row['total']} in all"
        if row["used"] + amount > row["capacity"]:
            return f"{amount} {word} are wanted and {max(0, row['capacity'] - row['used'])} are free"
    return ""


def _load(inventory: Mapping[str, Row]) -> float:
    """How full a Host is: by its scarcest resource."""
    return max((row["used"] / row["capacity"] for row in inventory.values() if row["capacity"]), default=0.0)
