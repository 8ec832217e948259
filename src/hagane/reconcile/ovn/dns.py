"""Names of ports: OVN itself answers questions for them on their network, whichever resolver is asked. Pure functions.

A port has a name in its domain (network/dns.py); a row for each (ovn-nb(5), "DNS"), forward and back. On somebody
else's network it has no name outside of that.
"""

from ipaddress import ip_address

from hagane.network import dns
from hagane.ovn.desired import Desired
from hagane.ovn.northbound import Table
from hagane.reconcile.ovn import switch
from hagane.state.database import Row


def names(me: str, row: Row, network: Row) -> list[Desired]:
    """The row of a port, whose key is `me`."""
    host, own = row.get("dns_name") or "", row.get("project_id") == network.get("project_id")
    domain = dns.domain(row, network).rstrip(".")
    addresses = [fixed["ip_address"] for fixed in row["fixed_ips"] or ()]
    if not (host and domain and addresses):
        return []
    full = host.rstrip(".") if host.endswith(".") else f"{host}.{domain}"
    known = [name for name in (full, host.rstrip(".")) if own or "." not in name or name.endswith(f".{domain}")]
    if not known:
        return []
    records = dict.fromkeys(known, " ".join(addresses))
    records |= {ip_address(address).reverse_pointer: known[0] for address in addresses}
    members = {(Table.SWITCH.value, "dns_records"): [switch.owner(network["id"])]}
    return [Desired(Table.DNS, f"{me}/dns", {"records": records}, member_of=members)]
