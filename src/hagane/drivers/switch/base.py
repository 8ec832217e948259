"""What every switch driver does: bring the SwitchPorts that are ours to a desired state, and say what is there.

    SwitchDesired ──apply──▶ the switch (one session, one commit) ──read──▶ SwitchSeen

The ports that `SwitchDesired` names are compared and set as a whole; ports and VLANs that it does not name are left
alone. A VLAN that a port needs is made where the switch wants VLANs made; one that no port needs any more and that
carries our mark is removed. `apply` of what is so already changes nothing and commits nothing.

Errors: `Unavailable` (no answer; the engine tries again) and `DeviceFailed` (the switch refuses: wrong password, no
such port, a command that it does not take), each with a cause in words. Neither ever holds a password.
One port's fault is not another's: `apply` brings all other named ports to their state and then raises DeviceFailed,
whose `extra["ports"]` is a dict of the ports that failed and why.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

MARK = "hagane"  # begins the name of a VLAN, and is the description of a group, that we made


@dataclass(frozen=True, slots=True)
class SwitchPort:
    """One interface of a switch. `native`: the VLAN of untagged frames, None: untagged frames go nowhere."""

    enabled: bool = True
    native: int | None = None
    tagged: frozenset[int] = frozenset()
    group: str = ""  # the link aggregation (LACP) that it is a member of; then the group's VLANs count
    mtu: int | None = None  # None: as the switch has it


@dataclass(frozen=True, slots=True)
class SwitchGroup:
    """A link aggregation (port-channel) that the members' `group` names; its VLANs are those of all members."""

    native: int | None = None
    tagged: frozenset[int] = frozenset()
    lacp: bool = True
    fallback: bool = True  # a member works alone until the other side speaks LACP: a Node in its firmware does not


@dataclass(frozen=True, slots=True)
class SwitchAccess:
    """How to reach one switch. Its repr shows no password, so that it may stand in a log."""

    address: str
    port: int
    username: str = ""
    password: str = field(default="", repr=False)
    timeout: float = 10.0  # seconds that one exchange may take
    options: Mapping[str, str] = field(default_factory=dict)  # what only this family knows


@dataclass(frozen=True, slots=True)
class SwitchDesired:
    """All SwitchPorts and groups of one switch that are ours, by the switch's own names."""

    ports: Mapping[str, SwitchPort]
    groups: Mapping[str, SwitchGroup] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SwitchSeen:
    """A switch as it is now. `commits`: how many the last `apply` took (0: nothing differed)."""

    ports: Mapping[str, SwitchPort]
    groups: Mapping[str, SwitchGroup] = field(default_factory=dict)
    chassis_id: str = ""  # the MAC by which LLDP names it, lower case; "": the switch does not say
    model: str = ""
    up: frozenset[str] = frozenset()  # ports with a carrier
    commits: int = 0
    vlans: Mapping[int, str] = field(default_factory=dict)  # those that the switch has made, and their names
    marked: frozenset[str] = frozenset()  # groups that carry our mark, so that we may remove them
    odd: frozenset[str] = frozenset()  # ports and groups set to what this contract cannot say (routed, for instance)


class Switch(Protocol):
    """One switch. Instances are cheap and connect at the first call; one call at a time."""

    async def read(self, ports: Collection[str] | None = None) -> SwitchSeen:
        """These ports (None: all) as they are now. A name that the switch does not have is missing in the answer."""
        ...

    async def apply(self, desired: SwitchDesired) -> SwitchSeen:
        """Bring all named ports to their state in one commit, read back, and return what is there then. A port that the
        switch took and yet shows otherwise is in the answer as it is, or among those of a DeviceFailed."""
        ...

    def watch(self, changed: Callable[[], None]) -> bool:
        """Call `changed` when somebody else changes the switch; False: it cannot tell, it must be asked."""
        ...

    async def close(self) -> None:
        """End the session."""
        ...
