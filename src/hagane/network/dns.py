"""Names of ports, as the API shows them. On a network with a domain, OVN answers for those that have a name.

A port without a name is called after its address (host-10-0-0-5). The domain is the port's own, else its network's,
else openstacklocal.
"""

from hagane.state.database import Reader, Row

DOMAIN = "openstacklocal."


async def assignment(reader: Reader, port: Row) -> list[dict[str, str]]:
    """The port's `dns_assignment`."""
    rows = await reader.fetch_tuples("SELECT dns_domain FROM network WHERE id = :id", {"id": port["network_id"]})
    return names(port, str(rows[0][0]) if rows else "")


def names(port: Row, domain: str) -> list[dict[str, str]]:
    """host name and full name of each of the port's addresses."""
    found = []
    for entry in port["fixed_ips"]:
        ip = entry["ip_address"]
        host = port["dns_name"] or f"host-{ip.replace('.', '-').replace(':', '-')}"
        full = host if host.endswith(".") else f"{host}.{(port.get('dns_domain') or domain or DOMAIN).rstrip('.')}."
        found.append({"ip_address": ip, "hostname": host, "fqdn": full})
    return found
