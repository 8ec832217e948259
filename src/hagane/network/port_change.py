"""Changes of ports: other addresses, another MAC address, other groups, another host."""

from collections.abc import Sequence
from typing import Any

from hagane.network import address, dns, forward_row, log_row, port_row, subnet_row
from hagane.network.address import ROUTER_OWNERS
from hagane.network.errors import error
from hagane.network.security_group_check import check_ids
from hagane.network.subnet_row import is_auto
from hagane.state.database import Row, Tx

Fixed = dict[str, str]
_ROUTER_PORTS = ("network:router_", "network:ha_router_")  # beginnings of their owners' names


async def complete(tx: Tx, network: Row, old: Row, changes: Row) -> None:
    """Check the changes of a port and complete them with what follows from them."""
    if "mac_address" in changes and changes["mac_address"] != old["mac_address"]:
        _check_mac(old, changes["mac_address"])
        changes["mac_address"] = await port_row.new_mac(tx, old["network_id"], changes["mac_address"])
    new = old | changes
    await _addresses(tx, old, new, changes)
    await _security(tx, old, new, changes)
    if "extra_dhcp_opts" in changes:
        changes["extra_dhcp_opts"] = _merged(old["extra_dhcp_opts"], changes["extra_dhcp_opts"])
    if "binding_host_id" in changes:
        changes |= port_row.binding(changes["binding_host_id"] or "")
    if changes.keys() & {"dns_name", "dns_domain", "fixed_ips"}:
        changes["dns_assignment"] = dns.names(old | changes, network)


def _check_mac(old: Row, mac: str | None) -> None:
    """A machine's port keeps its MAC address while it is bound."""
    if old["device_owner"].startswith("compute:") and old["binding_host_id"]:
        vif, before = old["binding_vif_type"], old["mac_address"]
        raise error("PortBound", id=old["id"], vif_type=vif, old_mac=before, new_mac=mac)


async def _addresses(tx: Tx, old: Row, new: Row, changes: Row) -> None:
    """Keep the addresses that are still wanted, take new ones, give the others back."""
    moved = new["mac_address"] != old["mac_address"]
    if "fixed_ips" not in changes and not moved:
        return
    subnets = await subnet_row.of_network(tx, old["network_id"])
    auto = {s["id"] for s in subnets if s["ip_version"] == 6 and is_auto(s)}
    if old["device_owner"] in ROUTER_OWNERS:
        auto = set()
    wishes = changes["fixed_ips"] if "fixed_ips" in changes else old["fixed_ips"]
    if moved:
        wishes = [wish for wish in wishes if wish.get("subnet_id") not in auto]
    kept, added = _compared(old["fixed_ips"], wishes)
    # An automatic address stays, asked for or not, unless the MAC address that made it went.
    kept += [f for f in old["fixed_ips"] if f["subnet_id"] in auto and f not in kept and not moved]
    gone = [f for f in old["fixed_ips"] if f not in kept]
    await _refuse_translated(tx, old, gone)
    if gone:
        await forward_row.unlink(tx, old["id"], {f["ip_address"] for f in gone})
    await address.release(tx, old["id"], gone)
    fixed = kept + await address.take_wishes(tx, new, added, subnets)
    fixed += await address.automatic(tx, new, subnets, {f["subnet_id"] for f in fixed})
    changes["fixed_ips"] = fixed


def _compared(have: Sequence[Fixed], wishes: Sequence[Fixed]) -> tuple[list[Fixed], list[Fixed]]:
    """(kept, to be added): named addresses first, then any address of a named subnet serves."""
    rest, kept, added = list(have), [], []
    for wish in [w for w in wishes if "ip_address" in w] + [w for w in wishes if "ip_address" not in w]:
        found = next((f for f in rest if wish.items() <= f.items()), None)
        if found is None:
            added.append(wish)
        else:
            rest.remove(found)
            kept.append(found)
    return kept, added


async def _refuse_translated(tx: Tx, port: Row, gone: Sequence[Fixed]) -> None:
    """An address that a floating IP stands for must stay."""
    if not gone:
        return
    sql = "SELECT fixed_ip_address FROM floatingip WHERE port_id = :id"
    translated = {row[0] for row in await tx.fetch_tuples(sql, {"id": port["id"]})}
    for entry in gone:
        if entry["ip_address"] in translated:
            reason = (f"Cannot update the fixed_ips of the port {port['id']}, because its original fixed_ip has been "
                      "associated to a floating ip")  # fmt: skip
            raise error("BadRequest", resource="port", reason=reason)


async def _security(tx: Tx, old: Row, new: Row, changes: Row) -> None:
    """Port security, groups and address pairs, which depend on each other."""
    if "security_groups" in changes:
        changes["security_groups"] = await check_ids(tx, changes["security_groups"], old["project_id"])
    groups: list[str] = (old | changes)["security_groups"]
    secure = new["port_security_enabled"]
    if not secure and groups:
        if changes.get("security_groups"):
            raise error("PortSecurityAndIPRequiredForSecurityGroups")
        raise error("PortSecurityPortHasSecurityGroup")
    if "allowed_address_pairs" in changes:
        pairs = [{"mac_address": new["mac_address"]} | pair for pair in changes["allowed_address_pairs"]]
        changes["allowed_address_pairs"] = pairs
    if not secure and new["allowed_address_pairs"]:
        raise error("AddressPairAndPortSecurityRequired")
    if "security_groups" in changes and groups != old["security_groups"]:
        await port_row.leave_groups(tx, old["id"])
        await port_row.join_groups(tx, old["id"], groups)
        await log_row.port_moved(tx, old["id"], old["security_groups"], groups)


def _merged(have: Sequence[dict[str, Any]], wanted: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Options by name and version: a new value replaces the old one, no value removes it, the others stay."""
    found = {(o["opt_name"], o["ip_version"]): o for o in have}
    for option in wanted:
        key = (option["opt_name"], option["ip_version"])
        if option["opt_value"] is None:
            found.pop(key, None)
        else:
            found[key] = option
    return list(found.values())


async def refuse_foreign_router(tx: Tx, row: Row, *, sees_all: bool) -> None:
    """A port must not pose as any port of another project's router. Raises DeviceIDNotOwnedByTenant."""
    if not row["device_owner"].startswith(_ROUTER_PORTS) or sees_all or not row["device_id"]:
        return
    found = await tx.fetch_tuples("SELECT project_id FROM router WHERE id = :id", {"id": row["device_id"]})
    if found and found[0][0] != row["project_id"]:
        raise error("DeviceIDNotOwnedByTenant", device_id=row["device_id"])


async def refuse_service_port(tx: Tx, row: Row) -> None:
    """Ports of routers and floating IPs go with these. One whose router is gone is nobody's. Raises
    ServicePortInUse.
    """
    owner = row["device_owner"]
    tables = {"network:floatingip": "floatingip"} | dict.fromkeys(ROUTER_OWNERS, "router")
    if owner not in tables:
        return
    if await tx.fetch_tuples(f"SELECT 1 FROM {tables[owner]} WHERE id = :id", {"id": row["device_id"]}):
        raise error("ServicePortInUse", id=row["id"], reason=f"has device owner {owner}")
