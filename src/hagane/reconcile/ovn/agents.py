"""The chassis of OVN as the network API tells of them: its agents and availability zones."""

from collections.abc import Callable, Sequence

from hagane.network.agent import ChassisInfo
from hagane.reconcile.ovn.engine import ChassisSeen
from hagane.state import clock


class OvnChassis:
    """Implements hagane.network.agent.Chassis."""

    def __init__(self, seen: Callable[[], Sequence[ChassisSeen]]) -> None:
        self._seen = seen

    def list(self) -> Sequence[ChassisInfo]:
        return [_info(chassis) for chassis in self._seen()]


def _info(chassis: ChassisSeen) -> ChassisInfo:
    """Zones as the operator set them on the chassis: ovn-cms-options:availability-zones=a:b."""
    zones: tuple[str, ...] = ()
    for option in chassis.external_ids.get("ovn-cms-options", "").split(","):
        name, _, value = option.partition("=")
        if name.strip() == "availability-zones":
            zones = tuple(zone for zone in value.split(":") if zone)
    pairs = [entry.partition(":") for entry in chassis.external_ids.get("ovn-bridge-mappings", "").split(",") if entry]
    mappings = {network: bridge for network, _, bridge in pairs} or dict.fromkeys(chassis.physical_networks, "")
    return ChassisInfo(
        name=chassis.name, host=chassis.hostname, alive=chassis.alive, gateway=chassis.gateway,
        seen_at=clock.now() if chassis.alive else "", zones=zones, mappings=mappings,
    )  # fmt: skip
