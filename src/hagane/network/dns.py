"""Names of ports, as the API shows them. On a network with a domain, OVN answers for those that have a name.

A port without a name is called after its address (host-10-0-0-5). The domain is the port's own, else its network's,
else openstacklocal. On somebody else's network it is the network's: else a project could tell all that are there where
other people's sites are.
"""

from hagane.state.database import Reader, Row

DOMAIN = "openstacklocal."


async def assignment(reader: Reader, port: Row) -> list[dict[str, str]]:
    """The port's `dns_assignment`."""
    sql = "SELECT dns_domain, project_id FROM network WHERE id = :id"
    rows = await reader.fetch(sql, {"id": port["network_id"]})
    return names(port, rows[0] if rows else {})


def domain(port: Row, network: Row) -> str:
    """The domain in which a port has its name; empty: none that anybody answers for."""
    own = port.get("dns_domain") if port.get("project_id") == network.get("project_id") else ""
    return own or network.get("dns_domain") or ""


def names(port: Row, network: Row) -> list[dict[str, str]]:
    """host name and full name of each of the port's addresses."""
    found, below = [], (domain(port, network) or DOMAIN).rstrip(".")
    for entry in port["fixed_ips"]:
        ip = entry["ip_address"]
        host = port["dns_name"] or f"host-{ip.replace('.', '-').replace(':', '-')}"
        full = host if host.endswith(".") else f"{host}.{below}."
        found.append({"ip_address": ip, "hostname": host, "fqdn": full})
    return found
