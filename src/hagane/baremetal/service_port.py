"""The networks in which a Node's ramdisk runs, and the Ports that it has there.

Such a network is an ordinary one of the project admin. Its Nodes are strangers to each other: their Ports are in a
security group that lets them talk to the service's own Port (device `prov-<network>`), ask for an address, and nothing
else. The group is made for each network, and put right whenever a Node is plugged. The same holds for the network by
which a Node that runs a tenant's system reaches the volume that it was started from.
"""

from collections.abc import Collection, Mapping
from uuid import NAMESPACE_URL, uuid5

from hagane.errors import Invalid, NotFound
from hagane.identity.project import Project
from hagane.network import address, port_make, port_row, quota
from hagane.network.network import Network
from hagane.network.security_group_row import GROUP, RULE, new_rule, store_rules
from hagane.state import clock, work
from hagane.state.database import Reader, Row, Tx

ROLES = ("provisioning", "cleaning", "rescuing", "inspection")
STORAGE = "storage"
"""The role of the Port by which a Node reaches its volume; it is carried beside the tenant's Ports (plug.py)."""
ALL = (*ROLES, STORAGE)
DEFAULT = "provisioning"
OWNER = "baremetal:"
SERVICE_OWNER = "network:provisioning"
GROUP_NAME = "hagane-provisioning"


def device(network_id: str) -> str:
    """The device_id of a network's service Port."""
    return f"prov-{network_id}"


def is_service(port: Row, node_id: str) -> bool:
    """Whether a Port was made here for a Node."""
    role = str(port["device_owner"]).removeprefix(OWNER)
    return role in ALL and port["device_id"] == node_id


async def network_of(reader: Reader, node: Row, role: str) -> Row:
    """The network of a role, by the id or name in the Node's driver_info. Raises Invalid, NotFound."""
    setting = f"{role}_network"
    wanted = str((node["driver_info"] or {}).get(setting) or (STORAGE if role == STORAGE else DEFAULT))
    if (row := await Network.table.get(reader, id=wanted)) is not None:
        return row
    admin = await Project.table.get(reader, name="admin", domain_id="default")
    # Only an administrator's: whoever called a network of their own so would get the machine's ramdisk.
    owner = admin["id"] if admin else ""
    rows = await Network.table.select(reader, {"name": wanted, "project_id": owner}, order="created_at", limit=2)
    if not rows:
        raise NotFound(f"There is no network {wanted!r} of the project admin for {role}. `hagane enroll` makes it, or "
                       f"driver_info/{setting} names another by its id.")  # fmt: skip
    if len(rows) > 1:
        raise Invalid(f"Several networks are called {wanted!r}: name the one for {role} by its id in {setting}.")
    return rows[0]


async def port(
    tx: Tx, node: Row, role: str, network: Row, mac: str, dhcp: Mapping[str, str] | None, *,
    request_id: str | None = None,
) -> Row:  # fmt: skip
    """The Port of a Nic of this MAC address in a role, made if there is none. Raises what port_make.make raises."""
    options = None if dhcp is None else [
        {"opt_name": name, "opt_value": value, "ip_version": 4} for name, value in dhcp.items()
    ]  # fmt: skip
    group = await guard(tx, network, request_id=request_id)
    where = {"device_id": node["id"], "device_owner": OWNER + role, "network_id": network["id"], "mac_address": mac}
    found = await port_row.PORT.get(tx, **where)
    if found is None:
        return await port_make.make(
            tx, network, project=network["project_id"], owner=OWNER + role, device=node["id"], groups=[group],
            limited=False, request_id=request_id, mac_address=mac, port_security_enabled=True,
            name=f"{role} of {node['name'] or node['id']}", extra_dhcp_opts=options or [],
            # iPXE waits 13 s for a router's answer, which comes to a link-local address only.
            allowed_address_pairs=[{"ip_address": address.eui64("fe80::/64", mac)}],
        )  # fmt: skip
    if options is not None and options != found["extra_dhcp_opts"]:
        await port_row.change(tx, found["id"], {"extra_dhcp_opts": options}, request_id=request_id)
        found["extra_dhcp_opts"] = options
    return found


async def drop(tx: Tx, node_id: str, *, keep: Collection[str] = (), request_id: str | None = None) -> None:
    """Remove the Ports that were made for a Node."""
    owners = [OWNER + role for role in ALL]
    for row in await port_row.PORT.select(tx, {"device_id": node_id, "device_owner": owners}):
        if row["id"] not in keep:
            await port_row.remove(tx, row, request_id=request_id)


def group_id(network_id: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"{GROUP_NAME}:{network_id}"))


async def guard(tx: Tx, network: Row, *, request_id: str | None = None) -> str:
    """The id of the group of a network's Nodes, with exactly the rules that it should have."""
    key, moment = group_id(network["id"]), clock.now()
    row = await GROUP.get(tx, id=key)
    if row is None:
        row = {
            "id": key, "name": GROUP_NAME, "project_id": network["project_id"], "tags": [], "generation": 1,
            "description": f"Nodes on network {network['id']}: they reach its service and nothing else",
            "created_at": moment, "updated_at": moment, "stateful": True, "is_default": False,
        }  # fmt: skip
        await GROUP.insert(tx, row)
        await quota.charge(tx, network["project_id"], "security_group", limited=False)
        await work.wake(tx, "security_group", key, request_id=request_id)
    await _rules(tx, row, await _addresses(tx, network["id"]), request_id)
    return key


async def _rules(tx: Tx, group: Row, prefixes: set[tuple[str, str]], request_id: str | None) -> None:
    wanted = {(way, version, prefix) for way in ("ingress", "egress") for version, prefix in prefixes}
    wrong: list[str] = []
    right: set[tuple[str, str, str]] = set()
    for rule in await RULE.select(tx, {"security_group_id": group["id"]}):
        says = (rule["direction"], rule["ethertype"], rule["remote_ip_prefix"])
        plain = rule["protocol"] is None and rule["remote_group_id"] is None
        if plain and rule["remote_address_group_id"] is None and says in wanted - right:
            right.add(says)
        else:
            wrong.append(rule["id"])
    if wrong:
        await RULE.delete(tx, {"id": wrong})
        await quota.charge(tx, group["project_id"], "security_group_rule", -len(wrong))
    missing = [
        new_rule(group, way, version, remote_ip_prefix=prefix, normalized_cidr=prefix)
        for way, version, prefix in sorted(wanted - right)
    ]
    if missing:
        await store_rules(tx, group, missing)
    if wrong or missing:
        await GROUP.update(tx, {"id": group["id"]}, {"generation": group["generation"] + 1, "updated_at": clock.now()})
        await work.wake(tx, "security_group", group["id"], request_id=request_id)


async def _addresses(tx: Tx, network_id: str) -> set[tuple[str, str]]:
    """(ethertype, prefix) of the network's service."""
    row = await port_row.PORT.get(tx, network_id=network_id, device_id=device(network_id), device_owner=SERVICE_OWNER)
    ips = [fixed["ip_address"] for fixed in (row["fixed_ips"] if row else ())]
    return {("IPv6", f"{ip}/128") if ":" in ip else ("IPv4", f"{ip}/32") for ip in ips}
