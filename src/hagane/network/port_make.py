"""New ports, whoever asks for them: a user, a server, a router, a floating IP, or the network itself."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from hagane.network import address, dns, port_row, quota, security_group_row, subnet_row
from hagane.network.errors import error
from hagane.network.port_row import binding
from hagane.network.security_group_check import check_ids
from hagane.state import clock, work
from hagane.state.database import Row, Tx


async def make(
    tx: Tx,
    network: Row,
    *,
    project: str,
    owner: str,
    device: str,
    fixed: Sequence[dict[str, str]] | None = None,
    groups: Sequence[str] | None = None,
    limited: bool = True,
    request_id: str | None = None,
    **more: Any,
) -> Row:
    """Store a new port and wake its reconciler; nobody is asked whether they may.

    `fixed` and `groups` None mean as the network and the project offer; `more` are further columns. Raises OverQuota
    if `limited`, and what complete() raises.
    """
    moment = clock.now()
    row: Row = {
        "id": str(uuid4()), "name": "", "project_id": project, "description": "", "tags": [], "generation": 1,
        "created_at": moment, "updated_at": moment, "network_id": network["id"], "admin_state_up": True,
        "device_id": device, "device_owner": owner, "binding_vnic_type": "normal", "dns_name": "",
        "dns_domain": "", "propagate_uplink_status": True,
    } | more  # fmt: skip
    if fixed is not None:
        row["fixed_ips"] = list(fixed)
    if groups is not None:
        row["security_groups"] = list(groups)
    await quota.charge(tx, project, "port", limited=limited)
    await complete(tx, row, network)
    await port_row.PORT.insert(tx, row)
    await port_row.join_groups(tx, row["id"], row["security_groups"])
    await work.wake(tx, "port", row["id"], request_id=request_id)
    return row


async def complete(tx: Tx, row: Row, network: Row) -> None:
    """Fill a new port in: addresses, MAC address, security groups, binding. Takes what it needs."""
    row["mac_address"] = await port_row.new_mac(tx, network["id"], row.get("mac_address"))
    subnets = await subnet_row.of_network(tx, network["id"])
    row["ip_allocation"] = "none" if row.get("fixed_ips") == [] else "immediate"
    row["fixed_ips"] = await address.allocate(tx, row, row.get("fixed_ips"), subnets)
    trusted = row["device_owner"].startswith("network:")
    if row.get("port_security_enabled") is None:
        row["port_security_enabled"] = network["port_security_enabled"] and not trusted
    await _groups(tx, row, trusted=trusted)
    row["allowed_address_pairs"] = [
        {"mac_address": row["mac_address"]} | p for p in row.get("allowed_address_pairs") or []
    ]
    if row["allowed_address_pairs"] and not row["port_security_enabled"]:
        raise error("AddressPairAndPortSecurityRequired")
    row["extra_dhcp_opts"] = [o for o in row.get("extra_dhcp_opts") or [] if o["opt_value"] is not None]
    row["binding_profile"] = row.get("binding_profile") or {}
    holder = row["device_owner"] == "network:floatingip"  # it holds an address and is never plugged in
    row |= {"status": "N/A" if holder else "DOWN", "dns_assignment": dns.names(row, network)}
    row |= binding(row.get("binding_host_id") or "")


async def _groups(tx: Tx, row: Row, *, trusted: bool) -> None:
    """The groups that were asked for, else the project's default one where port security applies."""
    wanted = row.get("security_groups")
    if wanted is not None:
        row["security_groups"] = await check_ids(tx, wanted, row["project_id"])
        if wanted and not row["port_security_enabled"]:
            raise error("PortSecurityAndIPRequiredForSecurityGroups")
    elif row["port_security_enabled"] and not trusted and row["project_id"]:
        row["security_groups"] = [await security_group_row.ensure_default(tx, row["project_id"])]
    else:
        row["security_groups"] = []
