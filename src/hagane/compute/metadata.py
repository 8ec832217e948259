"""What a Server is told about itself: the files of its config drive and of the metadata service. One pure function.

    openstack/latest/meta_data.json, user_data, network_data.json, vendor_data.json, vendor_data2.json   both
    openstack/content/0000 ...                                                                         both
    ec2/latest/meta-data.json, user-data                                                         the drive alone
    latest/meta-data/instance-id ..., latest/user-data                                       the service alone

https://docs.openstack.org/nova/latest/user/metadata.html
"""

import base64
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from typing import Any

import msgspec

from hagane.compute import device, personality
from hagane.compute.row import port_ids
from hagane.placement.host import DEFAULT_ZONE

Row = Mapping[str, Any]
OPENSTACK, EC2 = "openstack/latest/", "latest/"
_encode = msgspec.json.encode


def documents(
    server: Row,
    ports: Sequence[Row],
    networks: Mapping[str, Row],
    *,
    zone: str | None = None,
    password: str | None = None,
    seed: bytes = b"",
) -> dict[str, bytes]:
    """path -> content, without a leading slash.

    `networks` are network rows with `subnet_rows`; `zone` that of the Server's Host. `password` and `seed` (randomness
    for the guest) are what a pure function cannot know; the password is told on the config drive only.
    """
    zone = zone or server["zone"] or DEFAULT_ZONE
    ordered = _ordered(server, ports)
    files: dict[str, bytes] = {}
    about = _about(server, ordered, zone, files)
    if password is not None:
        about["admin_pass"] = password
    if seed:
        about["random_seed"] = base64.b64encode(seed).decode()
    files |= {
        OPENSTACK + "meta_data.json": _encode(about),
        OPENSTACK + "network_data.json": _encode(
            network_data(ordered, networks, physical=server.get("node_id") is not None)
        ),
        OPENSTACK + "vendor_data.json": b"{}",
        OPENSTACK + "vendor_data2.json": _encode({"static": {}}),
    }
    tree = _ec2(server, ordered, zone)
    files["ec2/latest/meta-data.json"] = _encode(tree)
    if server["user_data"]:
        raw = base64.b64decode(server["user_data"])
        files |= dict.fromkeys((OPENSTACK + "user_data", "ec2/latest/user-data", EC2 + "user-data"), raw)
    return files | _leaves(EC2 + "meta-data", tree)


def on_drive(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Those of the documents that a config drive holds."""
    return {path: content for path, content in files.items() if not path.startswith(EC2)}


def _ordered(server: Row, ports: Sequence[Row]) -> list[Row]:
    by_id = {port["id"]: port for port in ports}
    return [by_id[port_id] for port_id in port_ids(server) if port_id in by_id]


def _about(server: Row, ports: Sequence[Row], zone: str, files: dict[str, bytes]) -> dict[str, Any]:
    """meta_data.json; what it refers to goes into `files`."""
    about: dict[str, Any] = {
        "uuid": server["id"], "name": server["name"], "hostname": server["hostname"],
        "launch_index": server["launch_index"], "availability_zone": zone, "project_id": server["project_id"],
        "devices": _devices(server, ports), "dedicated_cpus": [],
    }  # fmt: skip
    if server["metadata"]:
        about["meta"] = server["metadata"]
    for number, file in enumerate(server["files"] or []):
        path = f"content/{number:04}"
        about.setdefault("files", []).append({"path": file["path"], "content_path": "/" + path})
        files["openstack/" + path] = personality.content(file)
    if key := server["keypair"]:
        about["public_keys"] = {key["name"]: key["public_key"]}
        about["keys"] = [{"name": key["name"], "type": key["type"], "data": key["public_key"]}]
    return about


def _devices(server: Row, ports: Sequence[Row]) -> list[dict[str, Any]]:
    """NICs and disks that carry a tag, by which a guest knows them."""
    macs = {port["id"]: port["mac_address"] for port in ports}
    tagged = [nic for nic in server["nics"] if nic.get("tag") and nic["port_id"] in macs]
    return [
        {"type": "nic", "bus": "none", "address": "none", "mac": macs[nic["port_id"]], "tags": [nic["tag"]]}
        for nic in tagged
    ] + [
        {"type": "disk", "bus": "none", "address": "none", "tags": [one["tag"]]} | _found_by(one)
        for one in device.devices(server)
        if one["tag"] and not one.get("gone")
    ]


def _found_by(one: device.Entry) -> dict[str, str]:
    """How the guest finds a disk: a volume has its id for a serial number."""
    words = {"serial": one["volume_id"], "path": one["device"]}
    return {name: text for name, text in words.items() if text}


def network_data(ports: Sequence[Row], networks: Mapping[str, Row], *, physical: bool = False) -> dict[str, Any]:
    """network_data.json: links, the networks on them, name servers. `physical`: the links are a Node's own Nics."""
    found: dict[str, Any] = {"links": [], "networks": [], "services": []}
    for port in ports:
        network = networks[port["network_id"]]
        link = f"tap{port['id'][:11]}"
        found["links"].append({
            "id": link, "vif_id": port["id"], "type": "phy" if physical else "ovs", "mtu": network["mtu"],
            "ethernet_mac_address": port["mac_address"],
        })  # fmt: skip
        subnets = {subnet["id"]: subnet for subnet in network["subnet_rows"]}
        for fixed in port["fixed_ips"]:
            subnet = subnets.get(fixed["subnet_id"])
            if subnet is None:
                continue
            number = len(found["networks"])
            found["networks"].append(_addressed(number, link, network["id"], subnet, fixed["ip_address"]))
            found["services"] += [one for one in _dns(subnet) if one not in found["services"]]
    return found


def _addressed(number: int, link: str, network_id: str, subnet: Row, address: str) -> dict[str, Any]:
    """One address: by DHCP or automatic where the subnet offers it, else in full."""
    version, base = subnet["ip_version"], {"id": f"network{number}", "link": link, "network_id": network_id}
    mode = subnet["ipv6_address_mode"]
    if subnet["enable_dhcp"] and not mode:
        return base | {"type": f"ipv{version}_dhcp"}
    block = ip_network(subnet["cidr"])
    routes = []
    if subnet["gateway_ip"]:
        every = ("0.0.0.0", "0.0.0.0") if version == 4 else ("::", "::")
        routes.append({"network": every[0], "netmask": every[1], "gateway": subnet["gateway_ip"]})
    for route in subnet["host_routes"] or []:
        to = ip_network(route["destination"])
        routes.append({"network": str(to.network_address), "netmask": str(to.netmask), "gateway": route["nexthop"]})
    return base | {
        "type": f"ipv{version}" + (f"_{mode}" if mode else ""), "ip_address": address, "netmask": str(block.netmask),
        "routes": routes, "services": _dns(subnet),
    }  # fmt: skip


def _dns(subnet: Row) -> list[dict[str, str]]:
    return [{"type": "dns", "address": address} for address in subnet["dns_nameservers"] or []]


def _ec2(server: Row, ports: Sequence[Row], zone: str) -> dict[str, Any]:
    """The tree of the older protocol."""
    fixed = [one["ip_address"] for port in ports for one in port["fixed_ips"] if ":" not in one["ip_address"]]
    tree: dict[str, Any] = {
        "ami-id": f"ami-{(server['image_id'] or '')[:8]}", "ami-launch-index": server["launch_index"],
        "ami-manifest-path": "FIXME", "instance-id": f"i-{server['id'][:8]}", "hostname": server["hostname"],
        "local-hostname": server["hostname"], "public-hostname": server["hostname"],
        "local-ipv4": fixed[0] if fixed else "", "public-ipv4": "", "reservation-id": server["reservation_id"],
        "security-groups": server["security_groups"] or [], "instance-type": server["flavor"]["name"],
        "block-device-mapping": _mapping(server), "placement": {"availability-zone": zone},
        "instance-action": "none",
    }  # fmt: skip
    if key := server["keypair"]:
        tree["public-keys"] = {"0": {"openssh-key": key["public_key"]}}
    return tree


def _mapping(server: Row) -> dict[str, str]:
    """Device names by what they are for."""
    root = device.root_name(server)
    found = {"ami": root.removeprefix("/dev/"), "root": root}
    volumes = sorted(one["device"] for one in device.volumes(server) if one["device"] and not one.get("gone"))
    found |= {f"ebs{number}": name for number, name in enumerate(volumes)}
    blank = [one for one in device.local(server) if one["device"]]
    if swaps := [one["device"] for one in blank if device.is_swap(one)]:
        found["swap"] = swaps[0]
    plain = [one["device"] for one in blank if not device.is_swap(one)]
    return found | {f"ephemeral{number}": name for number, name in enumerate(plain)}


def _leaves(path: str, value: Any) -> dict[str, bytes]:
    """Every value of a tree under the path where the metadata service answers it."""
    if isinstance(value, Mapping):
        found: dict[str, bytes] = {}
        for name, inner in value.items():
            found |= _leaves(f"{path}/{name}", inner)
        return found
    text = "\n".join(value) if isinstance(value, list) else str(value)
    return {path: text.encode()}
