"""The metadata service: a guest asks 169.254.169.254, its network and address say which Server it is.

There are no credentials here: that a request comes from a network's own namespace with a port's address is the proof,
since port security lets no other machine use it. Sockets are others' work; this is a function from request to answer.
"""

import os
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from typing import Any

from hagane.cloud import Cloud
from hagane.compute import metadata, nic
from hagane.compute.row import SERVER, port_ids
from hagane.placement.host import HOST
from hagane.state.database import Reader, Row, Tx
from hagane.state.secret import Secrets

VERSIONS = ("2012-08-10", "2013-04-04", "2013-10-17", "2015-10-15", "2016-06-30", "2016-10-06", "2017-02-22",
            "2018-08-27", "2020-10-14", "2025-04-04")  # fmt: skip
EC2_VERSIONS = ("1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01",
                "2008-09-01", "2009-04-04")  # fmt: skip
PASSWORD = metadata.OPENSTACK + "password"
MOST_PASSWORD = 1020  # bytes: what the real service has room for
JSON, TEXT = "application/json", "text/plain; charset=UTF-8"
Answer = tuple[int, dict[str, str], bytes]

_PORT = """SELECT port.device_id, port.id FROM port JOIN allocation ON allocation.owner = port.id
WHERE port.network_id = :network AND allocation.kind = 'ip' AND allocation.item = :ip AND port.device_id != ''"""
_PORT_BY_MAC = "SELECT device_id, id FROM port WHERE network_id = :network AND mac_address = :mac AND device_id != ''"


async def answer(
    cloud: Cloud, *, network_id: str, address: str, method: str, target: str, headers: Mapping[str, str], body: bytes
) -> Answer:
    """(status, headers, body) for a request that came from `address` on a network; `target` is path and query."""
    parts = [part for part in target.partition("?")[0].split("/") if part]
    telling = method == "POST" and parts[:1] == ["openstack"] and parts[2:] == ["password"]
    if method not in ("GET", "HEAD") and not telling:
        return _plain(405, "Method Not Allowed")
    server = await server_at(cloud.db, network_id, address)
    if server is None:
        return _plain(404, "No server of this network has your address.")
    files = await _documents(cloud.db, server)
    files[PASSWORD] = (told(cloud, server) or "").encode()
    found = _look_up(files, server, parts)
    if telling and found is not None:
        return await _tell(cloud, server, body)
    if found is None:
        return _plain(404, "Not Found")
    kind, content = found
    return 200, {"content-type": kind}, content


def told(cloud: Cloud, server: Row) -> str | None:
    """The password that a guest told."""
    return cloud.use(Secrets).decrypt(server["told"]) if server["told"] else None


async def _tell(cloud: Cloud, server: Row, body: bytes) -> Answer:
    """A guest tells the password that it made, once; by custom it is encrypted with the user's public key."""
    if len(body) > MOST_PASSWORD:
        return _plain(400, "Request is too large.")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return _plain(400, "A password is text.")
    sealed = cloud.use(Secrets).encrypt(text) if text else None

    async def write(tx: Tx) -> int:
        return await SERVER.update(tx, {"id": server["id"], "told": None}, {"told": sealed})

    if not await cloud.db.write(write):
        return _plain(409, "There was a conflict when trying to complete your request.")
    return 200, {"content-type": TEXT}, b""


def _plain(status: int, text: str) -> Answer:
    return status, {"content-type": TEXT}, text.encode()


async def server_at(db: Reader, network_id: str, client_ip: str) -> Row | None:
    """The Server that has an address on a network; a link-local one is known by the MAC address in it.

    The port's word for whose it is does not count: its owner may write what they like. The Server must have the port.
    """
    address = ip_address(client_ip.partition("%")[0])
    if isinstance(address, IPv6Address) and address.is_link_local:
        sql, params = _PORT_BY_MAC, {"network": network_id, "mac": _mac(address)}
    else:
        sql, params = _PORT, {"network": network_id, "ip": str(address)}
    for device, port_id in await db.fetch_tuples(sql, params):
        server = await SERVER.get(db, id=device)
        if server is not None and port_id in port_ids(server):
            return server
    return None


def _mac(address: IPv6Address) -> str:
    """The MAC address of which a modified EUI-64 was made (RFC 4291, appendix A)."""
    raw = address.packed[8:]
    return ":".join(f"{byte:02x}" for byte in (raw[0] ^ 2, raw[1], raw[2], raw[5], raw[6], raw[7]))


async def _documents(db: Reader, server: Row) -> dict[str, bytes]:
    ports = (await nic.ports_of(db, [server]))[server["id"]]
    networks = await nic.networks_of(db, ports)
    host = await HOST.get(db, name=server["host"]) if server["host"] else None
    files = metadata.documents(server, ports, networks, zone=host["zone"] if host else None, seed=os.urandom(512))
    public = await nic.floating_ips(db, server)
    files["latest/meta-data/public-ipv4"] = (public[0] if public else "").encode()
    if groups := (await nic.group_names(db, [server])).get(server["id"]):
        files["latest/meta-data/security-groups"] = "\n".join(groups).encode()
    return files


def _look_up(files: dict[str, bytes], server: Row, parts: list[str]) -> tuple[str, bytes] | None:
    """A file, or the list of what is in a folder. Every known version is the latest."""
    if parts[:1] == ["openstack"]:
        if len(parts) == 1:
            return _listing([*VERSIONS, "latest"])
        if parts[1] == "content":
            return _file(files, "/".join(parts))
        return _in(files, server, ["openstack", *parts[1:]], VERSIONS, 1)
    if parts[:1] == ["ec2"]:
        parts = parts[1:]
    if not parts:
        return _listing([*EC2_VERSIONS, "latest"])
    return _in(files, server, parts, EC2_VERSIONS, 0)


def _in(
    files: dict[str, bytes], server: Row, parts: list[str], versions: tuple[str, ...], at: int
) -> tuple[str, bytes] | None:
    if parts[at] not in versions and parts[at] != "latest":
        return None
    parts = [*parts[:at], "latest", *parts[at + 1 :]]
    path = "/".join(parts)
    if path == "latest/meta-data/public-keys" and server["keypair"]:
        return TEXT, f"0={server['keypair']['name']}".encode()
    return _file(files, path) or _folder(files, path)


def _file(files: dict[str, bytes], path: str) -> tuple[str, bytes] | None:
    if path not in files:
        return None
    return (JSON if path.endswith(".json") else TEXT), files[path]


def _folder(files: dict[str, bytes], path: str) -> tuple[str, bytes] | None:
    inside = [name[len(path) + 1 :] for name in files if name.startswith(path + "/")]
    if not inside:
        return None
    names: dict[str, Any] = {}
    for name in inside:
        first, _, rest = name.partition("/")
        # A folder's name ends in a slash, except for the number of a public key, which clients complete themselves.
        names[first + ("/" if rest else "")] = None
    return _listing(sorted(names))


def _listing(names: list[str]) -> tuple[str, bytes]:
    return TEXT, "\n".join(names).encode()
