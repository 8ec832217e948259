"""What a switch of a rack shall be. Pure functions; drivers/switch/plan.py says in what it differs."""

from collections.abc import Iterable, Sequence

from hagane.drivers.switch.base import SwitchDesired, SwitchGroup, SwitchPort
from hagane.state.database import Row

NAMES = {"eos": "Port-Channel{}", "nxos": "port-channel{}", "sonic": "PortChannel{:04}", "netconf": "Port-Channel{}"}
"""How a family calls a link aggregation; its number is that of the private VLAN, which is unique in the rack."""


def group_name(driver: str, vlan: int) -> str:
    return NAMES.get(driver, "bond{}").format(vlan)


def desired(switch: Row, ports: Sequence[Row], trunks: Iterable[str], tags: frozenset[int]) -> SwitchDesired:
    """`ports`: rows of switch_port; `trunks`: ports that lead to gateways and other switches, with all our VLANs."""
    found: dict[str, SwitchPort] = {name: SwitchPort(native=None, tagged=tags) for name in trunks}
    groups: dict[str, SwitchGroup] = {}
    for row in ports:
        group = group_name(switch["driver"], row["vlan"]) if row["lag"] and not row["gone"] else ""
        found[row["name"]] = SwitchPort(native=row["native"], group=group)
        if group:
            groups[group] = SwitchGroup(native=row["native"])
    return SwitchDesired(found, groups)
