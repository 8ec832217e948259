"""`hagane enroll FILE`: take a rack into the cloud, through the same APIs that everybody uses. Again changes nothing.

file ─▶ ramdisk built ─▶ PUT rack ─▶ networks for ramdisks and volumes, if there are none ─▶ each Node ─▶ its Nics

What the file does not name is left alone. A BMC's password cannot be read back, so a keyed digest of what was sent is
kept in the state folder, and tells whether the file has another one now.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Generator, Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from hagane.baremetal.node_secret import STARS, masked
from hagane.config import Config
from hagane.errors import NotFound
from hagane.lab import ramdisk
from hagane.operate.client import Session
from hagane.operate.enroll_file import Enrolment, Nic, Node, Provisioning, Storage, load

V1, V2 = "/baremetal/v1", "/network/v2.0"
VERSION = {"X-OpenStack-Ironic-API-Version": "latest"}
Lines = Iterator[str]


def enroll(config: Config, path: Path) -> Lines:
    """Does it, and says what was made, changed or kept, one line each. Raises HaganeError in the
    middle, with the reason; what was done before stays, and the next run goes on."""
    wanted = load(path)
    session = Session(config)
    yield from _ramdisk(config)
    yield from _rack(session, wanted)
    yield from _network(session, wanted.provisioning, "Where Nodes run their ramdisk")
    if any(node.storage_interface not in (None, "noop") for node in wanted.node):
        yield from _network(session, wanted.storage, "By which Nodes reach the volumes that they start from")
    known = _Sent(config.state / "enrolled.json")
    fresh: list[str] = []
    for node in wanted.node:
        state = yield from _node(session, wanted, node, known)
        fresh += [node.name] if state == "enroll" else []
    if fresh:
        yield f"Next: openstack baremetal node manage {' '.join(fresh)}"
    elif wanted.node:
        yield "Next: openstack baremetal node list"


def _ramdisk(config: Config) -> Lines:
    """What Nodes will boot is made now, where somebody looks on: a mirror that does not answer is told here."""
    if config.sim:
        return
    began = time.monotonic()
    ramdisk.build(variant=config.ramdisk)
    if time.monotonic() - began > 1:
        yield f"ramdisk made ({config.ramdisk}, {time.monotonic() - began:.0f} s)"


def _rack(session: Session, wanted: Enrolment) -> Lines:
    name = wanted.rack.name
    answer = session.call("PUT", f"/hagane/v1/racks/{quote(name, safe='')}", wanted.document())
    yield from answer["done"] or [f"rack {name} kept"]


def _network(session: Session, wanted: Provisioning | Storage, what: str) -> Lines:
    """An ordinary network of the project admin. The first address stands for DHCP, the next is the service's."""
    name, prefix = wanted.network, IPv4Network(wanted.cidr)
    found = session.call("GET", f"{V2}/networks?name={quote(name, safe='')}&project_id={session.project_id}")[
        "networks"
    ]
    network = found[0] if found else None
    if network is None:
        body = {"name": name, "description": what, "shared": False}
        network = session.call("POST", f"{V2}/networks", {"network": body})["network"]
    if network["subnets"]:
        yield f"network {name} kept"
        return
    subnet = {
        "network_id": network["id"], "name": f"{name}-v4", "ip_version": 4, "cidr": str(prefix), "gateway_ip": None,
        "allocation_pools": [{"start": str(prefix[2]), "end": str(prefix[-2])}],
    }  # fmt: skip
    session.call("POST", f"{V2}/subnets", {"subnet": subnet})
    yield f"network {name} made ({prefix})"


# Nodes


class _Sent:
    """What was sent of secrets, as digests."""

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            self._kept: dict[str, str] = msgspec.json.decode(file.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            self._kept = {"": secrets.token_hex(16)}

    def same(self, name: str, info: dict[str, Any]) -> bool:
        return hmac.compare_digest(self._kept.get(name, ""), self._digest(info))

    def note(self, name: str, info: dict[str, Any]) -> None:
        self._kept[name] = self._digest(info)
        fresh = self._file.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_bytes(msgspec.json.encode(self._kept))
        fresh.rename(self._file)

    def _digest(self, info: dict[str, Any]) -> str:
        text = msgspec.json.encode(info, order="deterministic")
        return hashlib.blake2b(text, key=self._kept[""].encode()).hexdigest()


def _node(session: Session, wanted: Enrolment, node: Node, sent: _Sent) -> Generator[str, None, str]:
    """Yields lines; its value is the Node's provision state."""
    path, intent = f"{V1}/nodes/{quote(node.name, safe='')}", node.intent()
    try:
        there = session.call("GET", path, headers=VERSION)
    except NotFound:
        there = session.call("POST", f"{V1}/nodes", intent, headers=VERSION)
        sent.note(node.name, node.driver_info)
        done = ["made"]
    else:
        done = []
        if patch := _patch(there, intent, resend=not sent.same(node.name, node.driver_info)):
            there = session.call("PATCH", path, patch, headers=VERSION)
            sent.note(node.name, node.driver_info)
            done = ["changed"]
    if set(there["traits"] or ()) != set(node.traits):
        session.call("PUT", f"{path}/traits", {"traits": node.traits}, headers=VERSION)
        done = done or ["changed"]
    yield f"node {node.name} {done[0] if done else 'kept'}"
    yield from _nics(session, wanted, node, there["uuid"])
    return str(there["provision_state"])


def _patch(there: dict[str, Any], intent: dict[str, Any], *, resend: bool) -> list[dict[str, Any]]:
    """What differs, as JSON patch. Keys of driver_info, properties and extra that the file does not name stay."""
    found = []
    for field, value in intent.items():
        if not isinstance(value, dict):
            if there[field] != value:
                found.append({"op": "add", "path": f"/{field}", "value": value})
            continue
        have = there[field] or {}
        for key, entry in value.items():
            secret = masked({key: entry})[key] == STARS
            if (resend or key not in have) if secret else have.get(key) != entry:
                found.append({"op": "add", "path": f"/{field}/{key}", "value": entry})
    return found


def _nics(session: Session, wanted: Enrolment, node: Node, node_id: str) -> Lines:
    rows = session.call("GET", f"{V1}/nodes/{node_id}/ports/detail", headers=VERSION)["ports"]
    there = {row["address"]: row for row in rows}
    for nic in node.nic:
        mac = nic.mac.lower()
        yield f"  nic {mac} {_nic(session, wanted, nic, node_id, there.get(mac))}{_where(nic)}"
    for mac in sorted(there.keys() - {nic.mac.lower() for nic in node.nic}):
        yield f"  nic {mac} is not in the file: kept"


def _where(nic: Nic) -> str:
    return f" ({nic.switch} {nic.port})" if nic.switch else ""


def _nic(session: Session, wanted: Enrolment, nic: Nic, node_id: str, row: dict[str, Any] | None) -> str:
    intent: dict[str, Any] = {"pxe_enabled": nic.pxe}
    if link := wanted.link(nic):
        intent |= {"local_link_connection": link, "physical_network": wanted.rack.physical_network}
    if row is None:
        body = {"address": nic.mac.lower(), "node_uuid": node_id} | intent
        session.call("POST", f"{V1}/ports", body, headers=VERSION)
        return "made"
    patch = [
        {"op": "add", "path": f"/{field}", "value": value} for field, value in intent.items() if row[field] != value
    ]
    if not patch:
        return "kept"
    session.call("PATCH", f"{V1}/ports/{row['uuid']}", patch, headers=VERSION)
    return "changed"
