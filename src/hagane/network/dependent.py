"""What else is made of the values of a network or a subnet, and has to be looked at when these change.

Routers take the MTU and gateways of networks they are on; ports with DHCP options of their own have a copy of all the
others. Ports without refer to their subnet's, which are others after DHCP was off for a while.
"""

from hagane.network.address import INTERFACE
from hagane.state import work
from hagane.state.database import Tx

_ROUTERS = """SELECT DISTINCT device_id AS key FROM port WHERE network_id = :network
AND device_owner IN (:interface, 'network:router_gateway')"""
_OWN_OPTIONS = """SELECT id AS key FROM port WHERE network_id = :network AND extra_dhcp_opts NOT IN ('[]', 'null')"""
_ADDRESSED = "SELECT DISTINCT owner AS key FROM allocation WHERE kind = 'ip' AND pool = :subnet"


async def wake(tx: Tx, network_id: str, *, request_id: str | None) -> None:
    """After a change of a network or of one of its subnets."""
    await work.wake(tx, "network", network_id, request_id=request_id)
    where = {"network": network_id}
    await work.wake_all(tx, "router", _ROUTERS, where | {"interface": INTERFACE}, request_id=request_id)
    await work.wake_all(tx, "port", _OWN_OPTIONS, where, request_id=request_id)


async def wake_named(tx: Tx, network_id: str, *, request_id: str | None) -> None:
    """After a network's domain changed: names of its ports are in it."""
    named = "SELECT id AS key FROM port WHERE network_id = :network AND dns_name != ''"
    await work.wake_all(tx, "port", named, {"network": network_id}, request_id=request_id)


async def wake_addressed(tx: Tx, subnet_id: str, *, request_id: str | None) -> None:
    """After DHCP went on or off in a subnet."""
    await work.wake_all(tx, "port", _ADDRESSED, {"subnet": subnet_id}, request_id=request_id)
