"""Rack gateways: the Open vSwitch of a chassis, where each plugged Nic becomes an interface that OVN can claim."""

from hagane.drivers.gateway.base import Gateway, GatewayAccess


def make(access: GatewayAccess) -> Gateway:
    """The driver of one gateway; it connects when it is started. Raises Invalid for an address that is none."""
    if access.ovsdb.startswith("sim:"):
        from hagane.drivers.gateway.sim import SimGateway

        return SimGateway(access)
    from hagane.drivers.gateway.ovsdb import OvsdbGateway

    return OvsdbGateway(access)
