"""What a project of the tests has: networks behind a router with a way out, and machines on them."""

from collections.abc import Sequence
from typing import Any

from openstack.connection import Connection

from hagane.errors import HaganeError
from tests.dataplane.cloud import Cloud, until
from tests.dataplane.space import Guest


class Tenant:
    """Networks, Ports and Guests of one project; `end` removes all of them."""

    def __init__(self, cloud: Cloud, conn: Connection | None = None) -> None:
        self.cloud, self.conn = cloud, conn or cloud.conn
        self.api = self.conn.network
        self.networks: list[Any] = []
        self.routers: list[Any] = []
        self.groups: list[Any] = []
        self.guests: list[Guest] = []
        self._owner = {} if conn is None else {"project_id": conn.current_project_id}

    def network(self, name: str, cidr: str, cidr6: str = "", **subnet: Any) -> Any:
        """A network with an IPv4 subnet, and one of IPv6 by SLAAC."""
        made = self.api.create_network(name=name)
        self.networks.append(made)
        self.api.create_subnet(network_id=made.id, ip_version=4, cidr=cidr, name=f"{name}-4", **subnet)
        if cidr6:
            self.api.create_subnet(network_id=made.id, ip_version=6, cidr=cidr6, name=f"{name}-6",
                                   ipv6_ra_mode="slaac", ipv6_address_mode="slaac")  # fmt: skip
        return made

    def router(self, name: str, *networks: Any, outside: bool = True) -> Any:
        """A router between all subnets of the networks, and to the outside."""
        gateway = {"external_gateway_info": {"network_id": self.public.id}} if outside else {}
        made = self.api.create_router(name=name, **gateway)
        self.routers.append(made)
        for network in networks:
            for subnet in self.api.subnets(network_id=network.id):
                self.api.add_interface_to_router(made, subnet=subnet)
        return self.api.get_router(made.id)

    @property
    def public(self) -> Any:
        return self.api.find_network("public", ignore_missing=False)

    def group(self, name: str, *rules: dict[str, Any]) -> Any:
        """A security group with these ingress rules (and the usual: everything out)."""
        made = self.api.create_security_group(name=name)
        self.groups.append(made)
        for rule in rules:
            self.rule(made, **rule)
        return made

    def rule(self, group: Any, **rule: Any) -> Any:
        return self.api.create_security_group_rule(
            **{"security_group_id": group.id, "direction": "ingress", "ethertype": "IPv4"} | rule
        )

    def open_group(self, name: str = "open") -> Any:
        """Ping and TCP from anywhere, over both IP versions."""
        both = [(version, protocol) for version in ("IPv4", "IPv6") for protocol in ("icmp", "tcp", "udp")]
        words = {("IPv6", "icmp"): "ipv6-icmp"}
        return self.group(name, *({"ethertype": v, "protocol": words.get((v, p), p)} for v, p in both))

    def port(self, network: Any, host: str, groups: Sequence[Any] | None = None, **more: Any) -> Any:
        """A Port of a machine on this Host. Binding it is an administrator's right."""
        if groups is not None:
            more["security_group_ids"] = [group.id for group in groups]
        made = self.api.create_port(network_id=network.id, device_owner="compute:nova", **more)
        return self.cloud.conn.network.update_port(made.id, binding_host_id=host)

    def machine(self, network: Any, host: str, groups: Sequence[Any] | None = None, **more: Any) -> Guest:
        """A machine on the network, plugged in, with its lease."""
        guest = self.plugged(self.port(network, host, groups, **more))
        guest.dhcp()
        return guest

    def plugged(self, port: Any) -> Guest:
        guest = Guest(self.cloud, port.binding_host_id, port).make()
        self.guests.append(guest)
        return guest.plug()

    def status(self, guest: Guest, wanted: str, seconds: float = 10.0) -> None:
        until(lambda: self.api.get_port(guest.port.id).status == wanted, seconds, f"port of {guest.ip} is {wanted}")

    def drop(self, guest: Guest) -> None:
        """A machine and its Port are gone."""
        guest.end()
        self.guests.remove(guest)
        self.cloud.conn.network.delete_port(guest.port.id)

    def end(self) -> None:
        """Everything is deleted, in the order that the API asks for."""
        for guest in list(self.guests):
            try:
                guest.end()
            except HaganeError:  # its Host was taken down by the test
                continue
        for network in self.networks:
            for port in self.api.ports(network_id=network.id):
                if str(port.device_owner).startswith("compute:"):
                    self.cloud.conn.network.delete_port(port)  # a machine's port is not its user's to delete
        for address in self.api.ips(**self._owner):
            self.api.delete_ip(address)
        for router in self.routers:
            self._end_router(router)
        for network in self.networks:
            self.api.delete_network(network)
        for group in self.groups:
            self.api.delete_security_group(group)

    def _end_router(self, router: Any) -> None:
        for port in self.api.ports(device_id=router.id, device_owner="network:router_interface"):
            self.api.remove_interface_from_router(router, port=port)
        self.api.delete_router(router)
