"""What the compute and bare-metal APIs do with ports, inside their own transactions.

A machine is a port's device. Whether a port was made for the machine or by its user before is the caller's to remember:
the first are removed with it (`remove`), the others are freed (`free`).

    networks, network_for, port_for, groups_named     may this project use it?
    make, take                                        a port for a machine: a new one, or one that was there
    bind, unbind, going                               the machine is (not) on a Host, or goes to another; OVN follows
    free, remove                                      the machine is gone
    ports_of, addresses_of, groups_of, networks_of    what many machines have, in a fixed number of queries

Anybody may write any machine's id into a port of their own. Which ports a machine really has is the caller's to know:
the last four look at `known` ports alone.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from hagane.network import dns, port_change, port_make, port_row, rbac, subnet_row
from hagane.network.errors import error
from hagane.network.network import Network, usable
from hagane.network.permit import shared_sql
from hagane.network.port_row import MIGRATING, PORT, binding
from hagane.network.router_row import FLOATING
from hagane.network.security_group_row import GROUP
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Sql


@dataclass(frozen=True, slots=True)
class Address:
    """One address of a machine. `kind` is "fixed" or "floating"."""

    network: str
    ip: str
    version: int
    mac: str
    kind: str
    port_id: str


async def networks(reader: Reader, project: str) -> list[Row]:
    """What a machine of the project may be attached to without being asked: its own networks, else shared ones."""
    own = await Network.table.select(reader, {"project_id": project, "router_external": False}, order="created_at, id")
    if own:
        return own
    shared = Sql(f"id IN ({shared_sql('network')})", {"me": project})
    return await Network.table.select(reader, {"router_external": False}, conditions=[shared], order="created_at, id")


async def network_for(reader: Reader, project: str | None, network_id: str) -> Row | None:
    """A network that a project may use; None if there is none. `project` None: whoever's it is (administrators)."""
    return await usable(reader, network_id, project)


async def may_attach(reader: Reader, network: Row, project: str) -> bool:
    """Whether machines of a project may be on the network itself; an external one is for routers."""
    if network["project_id"] == project:
        return True
    return network["id"] in await rbac.shared_with(reader, "network", [network["id"]], project)


async def port_for(reader: Reader, project: str | None, port_id: str) -> Row | None:
    """A port that a project may use: its own. `project` None: whoever's it is."""
    row = await port_row.get(reader, port_id)
    return row if row is not None and project in (None, row["project_id"]) else None


async def groups_named(reader: Reader, project: str, names: Iterable[str]) -> dict[str, list[str]]:
    """name or id -> ids of the project's security groups that it means: none, one, or (ambiguous) several."""
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return {}
    rows = await GROUP.select(reader, {"name": wanted, "project_id": project})
    rows += await GROUP.select(reader, {"id": wanted, "project_id": project})
    found: dict[str, list[str]] = {name: [] for name in wanted}
    for row in rows:
        for name in {row["id"], row["name"]} & found.keys():
            if row["id"] not in found[name]:
                found[name].append(row["id"])
    return {name: ([name] if name in ids else ids) for name, ids in found.items()}


async def make(
    tx: Tx,
    network: Row,
    *,
    project: str,
    device: str,
    owner: str,
    fixed_ip: str | None = None,
    groups: Sequence[str] | None = None,
    host: str = "",
    dns_name: str = "",
    request_id: str | None = None,
    **more: Any,
) -> Row:
    """A new port for a machine. `owner` is "compute:<zone>" or "baremetal:none"; `groups` None: the default one.

    Raises OverQuota, IpAddressGenerationFailure, IpAddressAlreadyAllocated, InvalidIpForNetwork,
    SecurityGroupNotFound.
    """
    fixed = None if fixed_ip is None else [{"ip_address": str(ip_address(fixed_ip))}]
    return await port_make.make(
        tx, network, project=project, owner=owner, device=device, fixed=fixed, groups=groups, request_id=request_id,
        dns_name=dns_name, binding_host_id=host, **more,
    )  # fmt: skip


async def take(
    tx: Tx, port: Row, *, device: str, owner: str, host: str = "", dns_name: str = "", request_id: str | None = None
) -> Row:
    """Give a port that was there to a machine. Raises PortInUse."""
    if port["device_id"] and port["device_id"] != device:
        raise error("PortInUse", id=port["id"], network_id=port["network_id"], device_id=port["device_id"])
    changes: Row = {"device_id": device, "device_owner": owner} | binding(host)
    if dns_name and not port["dns_name"]:
        changes["dns_name"] = dns_name
        changes["dns_assignment"] = await dns.assignment(tx, port | changes)
    await port_row.change(tx, port["id"], changes, request_id=request_id)
    return port | changes


async def bind(tx: Tx, device: str, host: str, *, request_id: str | None = None) -> list[Row]:
    """A machine is (to be) on a Host: all its ports are bound there; returns them."""
    ports, bound = await PORT.select(tx, {"device_id": device}), []
    for port in ports:
        profile = {name: one for name, one in (port["binding_profile"] or {}).items() if name != MIGRATING}
        changes = binding(host) | {"binding_profile": profile}
        if port["binding_host_id"] != host or profile != (port["binding_profile"] or {}):
            await port_row.change(tx, port["id"], changes, request_id=request_id)
        bound.append(port | changes)
    return bound


async def going(tx: Tx, device: str, host: str, *, request_id: str | None = None) -> None:
    """A machine is on its way to another Host while it runs: its ports may be there as well, until they are bound."""
    for port in await PORT.select(tx, {"device_id": device}):
        profile = (port["binding_profile"] or {}) | {MIGRATING: host}
        await port_row.change(tx, port["id"], {"binding_profile": profile}, request_id=request_id)


async def unbind(tx: Tx, device: str, *, request_id: str | None = None) -> None:
    """A machine is on no Host: OVN unplugs its ports, which keep their addresses."""
    await bind(tx, device, "", request_id=request_id)


async def set_groups(tx: Tx, port: Row, groups: Sequence[str], *, request_id: str | None = None) -> None:
    """Give a port other security groups than it has; they must be its project's."""
    await port_row.leave_groups(tx, port["id"])
    await port_row.join_groups(tx, port["id"], groups)
    await port_row.change(tx, port["id"], {"security_groups": list(groups)}, request_id=request_id)


async def set_mac(tx: Tx, port_id: str, mac: str | None, *, request_id: str | None = None) -> None:
    """The port has the MAC address of the physical Nic that carries it; None: one of our own again.

    Raises MacAddressInUse when another port of its network has it. An unknown id is fine.
    """
    row = await port_row.get(tx, port_id)
    network = await Network.table.get(tx, id=row["network_id"]) if row else None
    if row is None or network is None or row["mac_address"] == mac:
        return
    changes: Row = {"mac_address": await port_row.new_mac(tx, row["network_id"], mac)}
    await port_change.complete(tx, network, row | binding(""), changes)  # addresses made of it change as well
    await port_row.change(tx, port_id, changes, request_id=request_id)


async def free(tx: Tx, port_id: str, *, request_id: str | None = None) -> None:
    """The port outlives its machine: nobody's and on no Host."""
    changes = {"device_id": "", "device_owner": ""} | binding("")
    await port_row.change(tx, port_id, changes, request_id=request_id)


async def remove(tx: Tx, port_id: str, *, request_id: str | None = None) -> None:
    """The port goes with its machine; floating IPs that stood for it are free again. An unknown id is fine."""
    row = await port_row.get(tx, port_id)
    if row is not None:
        await port_row.remove(tx, row, request_id=request_id)


async def ports_of(reader: Reader, devices: Sequence[str], known: Collection[str]) -> dict[str, list[Row]]:
    """device -> its ports, oldest first."""
    found: dict[str, list[Row]] = {device: [] for device in devices}
    for port in await _ports(reader, devices, known):
        found[port["device_id"]].append(port)
    return found


async def _ports(reader: Reader, devices: Sequence[str], known: Collection[str], **more: Any) -> list[Row]:
    if not devices:
        return []
    rows = await PORT.select(reader, {"device_id": list(devices)}, order="created_at, id", **more)
    return [row for row in rows if row["id"] in known]


async def networks_of(reader: Reader, ports: Iterable[Row]) -> dict[str, Row]:
    """network id -> its row, with `subnet_rows` added: what a guest must know of it."""
    ids = list({port["network_id"] for port in ports})
    if not ids:
        return {}
    found = {row["id"]: row | {"subnet_rows": []} for row in await Network.table.select(reader, {"id": ids})}
    for subnet in await subnet_row.SUBNET.select(reader, {"network_id": ids}, order="created_at, id"):
        found[subnet["network_id"]]["subnet_rows"].append(subnet)
    return found


_SHOWN = ("id", "network_id", "device_id", "mac_address", "fixed_ips", "security_groups")


async def addresses_of(reader: Reader, devices: Sequence[str], known: Collection[str]) -> dict[str, list[Address]]:
    """device -> its fixed and floating addresses, in the order of its ports."""
    found: dict[str, list[Address]] = {device: [] for device in devices}
    ports = await _ports(reader, devices, known, columns=_SHOWN)
    ids = list({port["network_id"] for port in ports})
    if not ids:
        return found
    names = {row["id"]: row["name"] for row in await Network.table.select(reader, {"id": ids})}
    floating: dict[tuple[str, str], str] = {}
    for row in await FLOATING.select(reader, {"port_id": [port["id"] for port in ports]}):
        floating[row["port_id"], row["fixed_ip_address"]] = row["floating_ip_address"]
    for port in ports:
        for entry in port["fixed_ips"]:
            ip, version = entry["ip_address"], 6 if ":" in entry["ip_address"] else 4
            name, mac, mine = names[port["network_id"]], port["mac_address"], found[port["device_id"]]
            mine.append(Address(name, ip, version, mac, "fixed", port["id"]))
            if outer := floating.get((port["id"], ip)):
                mine.append(Address(name, outer, 4, mac, "floating", port["id"]))
    return found


async def groups_of(reader: Reader, devices: Sequence[str], known: Collection[str]) -> dict[str, list[str]]:
    """device -> names of the security groups of its ports, each once, in the ports' order."""
    found: dict[str, list[str]] = {device: [] for device in devices}
    ports = await _ports(reader, devices, known, columns=_SHOWN)
    ids = list({group for port in ports for group in port["security_groups"]})
    names = {row["id"]: row["name"] for row in await GROUP.select(reader, {"id": ids})} if ids else {}
    for port in ports:
        for group in port["security_groups"]:
            name = names.get(group, group)
            if name not in found[port["device_id"]]:
                found[port["device_id"]].append(name)
    return found
