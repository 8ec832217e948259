"""From keys to desired rows: everything a batch of keys needs, read with one query per table, then compiled."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence

from hagane.baremetal.binding import DIRECT, kind_of
from hagane.baremetal.rack import RACK, gateways_of
from hagane.network import forward_row, log_row, qos_row, trunk_row
from hagane.network.address import INTERFACE
from hagane.network.address_group import AddressGroup
from hagane.network.network import Network
from hagane.network.port_row import PORT
from hagane.network.router_row import FLOATING, ROUTER
from hagane.network.security_group_row import GROUP, RULE
from hagane.network.subnet_row import SUBNET
from hagane.ovn.desired import Desired
from hagane.reconcile.ovn import forward, group, port, qos, router, switch
from hagane.reconcile.ovn.engine import ChassisSeen
from hagane.state.database import Reader, Row
from hagane.state.table import Op, Table

Wanted = dict[str, list[Desired]]


class Compiler:
    """Compiles keys of each kind. `chassis` tells who could be a gateway; `dns` names resolvers for subnets without."""

    def __init__(self, reader: Reader, chassis: Callable[[], list[ChassisSeen]], dns: Sequence[str]) -> None:
        self._reader, self._chassis, self._dns = reader, chassis, list(dns)

    async def networks(self, keys: Sequence[str]) -> Wanted:
        networks = await self._by_id(Network.table, keys)
        subnets = _grouped(await SUBNET.select(self._reader, {"network_id": list(networks)}), "network_id")
        metadata = await self._metadata(networks)
        return {
            key: switch.switch(networks[key], subnets[key], metadata[key], dns=self._dns) if key in networks else []
            for key in keys
        }

    async def ports(self, keys: Sequence[str]) -> Wanted:
        ports = await self._by_id(PORT, keys)
        network_ids = {row["network_id"] for row in ports.values()}
        networks = await self._by_id(Network.table, network_ids)
        subnets = await self._subnets_of(ports.values())
        special = {row["network_id"] for row in ports.values() if row.get("extra_dhcp_opts")}
        metadata = await self._metadata(special)
        gateways = await self._rack_gateways(row for row in ports.values() if kind_of(row) == DIRECT)
        policies = {key: qos.effective(row, networks.get(row["network_id"])) for key, row in ports.items()}
        parents = await trunk_row.parents(self._reader, list(ports.values()))
        rules = await qos_row.rules_of(self._reader, {policy for policy in policies.values() if policy})
        return {
            key: port.port(
                ports[key], networks[ports[key]["network_id"]], subnets, dns=self._dns,
                metadata=metadata[ports[key]["network_id"]], gateways=gateways.get(key, ()),
                rules=rules.get(policies[key] or "", ()),
                parent=parents.get(key),
            )
            if key in ports and port.compiled(ports[key]) and ports[key]["network_id"] in networks
            else []
            for key in keys
        }  # fmt: skip

    async def routers(self, keys: Sequence[str]) -> Wanted:
        routers = await self._by_id(ROUTER, keys)
        where = {"device_id": list(routers), "device_owner": sorted(port.ROUTER_OWNERS)}
        ports = await PORT.select(self._reader, where, order="id") if routers else []
        networks = await self._by_id(Network.table, {row["network_id"] for row in ports})
        subnets = await self._subnets_of(ports)
        own = _grouped(ports, "device_id")
        return {
            key: router.router(routers[key], own[key], networks, subnets, self._gateways(own[key], networks))
            if key in routers
            else []
            for key in keys
        }

    def _gateways(self, ports: Sequence[Row], networks: dict[str, Row]) -> list[str]:
        """The chassis that can reach the physical network of a router's gateway."""
        physical = {networks[p["network_id"]]["physical_network"] for p in ports if p["device_owner"] == router.GATEWAY}
        return sorted(c.name for c in self._chassis() if c.gateway and physical <= c.physical_networks)

    async def floatings(self, keys: Sequence[str]) -> Wanted:
        rows = await self._by_id(FLOATING, keys)
        free = {key: row["router_id"] for key, row in rows.items() if row["router_id"] and not row["port_id"]}
        forwards = await forward_row.of(self._reader, free)
        behind = await self._behind({free[key] for key, found in forwards.items() if found})
        limits = await self._floating_limits(rows)
        return {
            key: [
                *router.floating(rows[key]),
                *limits.get(key, ()),
                *forward.forwards(rows[key], forwards.get(key, ()), behind.get(rows[key]["router_id"], ())),
            ]
            if key in rows
            else []
            for key in keys
        }

    async def _floating_limits(self, rows: dict[str, Row]) -> Wanted:
        """What floating IPs with a router and a QoS policy, their own or their network's, have in OVN of it."""
        linked = {key: row for key, row in rows.items() if row["router_id"]}
        networks = await self._by_id(Network.table, {row["floating_network_id"] for row in linked.values()})
        policies = {
            key: policy
            for key, row in linked.items()
            if (policy := qos.effective(row, networks.get(row["floating_network_id"])))
        }
        routers = await self._by_id(ROUTER, {linked[key]["router_id"] for key in policies})
        rules = await qos_row.rules_of(self._reader, set(policies.values()))
        found: Wanted = {}
        for key, policy in policies.items():
            gateway = routers.get(linked[key]["router_id"], {}).get("gateway_port_id")
            if gateway:
                found[key] = qos.floating(router.floating_owner(key), linked[key], gateway, rules[policy])
        return found

    async def _behind(self, router_ids: Collection[str]) -> dict[str, list[str]]:
        """Router -> the networks on which it has an interface."""
        found: dict[str, list[str]] = defaultdict(list)
        where = {"device_id": sorted(router_ids), "device_owner": Op("=", INTERFACE)}
        for row in await PORT.select(self._reader, where) if router_ids else []:
            found[row["device_id"]].append(row["network_id"])
        return found

    async def groups(self, keys: Sequence[str]) -> Wanted:
        groups = await self._by_id(GROUP, keys)
        rules = await RULE.select(self._reader, {"security_group_id": list(groups)}, order="id")
        named = await self._by_id(AddressGroup.table, {r["remote_address_group_id"] for r in rules} - {None})
        prefixes = {key: row["addresses"] for key, row in named.items()}
        own = _grouped(rules, "security_group_id")
        logs = await log_row.enabled(self._reader)
        return {key: group.group(groups[key], own[key], prefixes, logs) if key in groups else [] for key in keys}

    async def drop(self, keys: Sequence[str]) -> Wanted:
        """The one group that is no project's: its key is "drop"."""
        logs = await log_row.enabled(self._reader)
        return {key: group.drop(logs) if key == "drop" else [] for key in keys}

    # -- reading -----------------------------------------------------------------------------------------------

    async def _by_id(self, table: Table, keys: Collection[str]) -> dict[str, Row]:
        rows = await table.select(self._reader, {"id": sorted(keys)}) if keys else []
        return {row["id"]: row for row in rows}

    async def _subnets_of(self, ports: Iterable[Row]) -> dict[str, Row]:
        return await self._by_id(SUBNET, {f["subnet_id"] for row in ports for f in row["fixed_ips"] or ()})

    async def _rack_gateways(self, ports: Iterable[Row]) -> dict[str, list[str]]:
        """Port -> the chassis that are gateways of the rack where it is plugged."""
        racks = {row["id"]: row["binding_vif_details"]["rack"] for row in ports}
        if not racks:
            return {}
        known = {
            row["name"]: row["id"] for row in await RACK.select(self._reader, {"name": sorted(set(racks.values()))})
        }
        found = _grouped(await gateways_of(self._reader, list(known.values())), "rack_id")
        return {key: [row["name"] for row in found[known.get(name, "")]] for key, name in racks.items()}

    async def _metadata(self, network_ids: Collection[str]) -> dict[str, dict[str, str]]:
        """Network id -> subnet id -> the metadata port's IPv4 address there."""
        found: dict[str, dict[str, str]] = defaultdict(dict)
        where = {"network_id": sorted(network_ids), "device_owner": Op("=", port.METADATA)}
        for row in await PORT.select(self._reader, where) if network_ids else []:
            for fixed in row["fixed_ips"] or ():
                if ":" not in fixed["ip_address"]:
                    found[row["network_id"]][fixed["subnet_id"]] = fixed["ip_address"]
        return found


def _grouped(rows: Iterable[Row], column: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row[column]].append(row)
    return found
