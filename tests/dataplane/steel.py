"""A rack of small machines beside a real cloud, enrolled as an operator does it; and what must not be left behind.

    steel(folder) ── cloud.running ── `hagane lab up`, `hagane enroll`, manage, provide ── Steel      all gone afterwards

What has been done to a Node is looked at from outside: the switch and the gateways by Open vSwitch, DHCP in OVN,
machines and media by their BMC, rows in the database file.
"""

import asyncio
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import openstack
import yaml
from openstack.connection import Connection

from hagane.drivers.bmc.base import BmcAccess, BmcSeen
from hagane.drivers.bmc.ipmi import IpmiBmc
from hagane.drivers.bmc.redfish import RedfishBmc
from hagane.lab import ovs, rack_bmc, rack_fault, rack_place
from hagane.lab.process import tool
from hagane.lab.rack_description import MachineDescription
from hagane.lab.rack_place import TRUNK_BRIDGE, Rack
from hagane.operate.enroll_file import load
from tests.dataplane.cloud import Cloud, Row, running, until
from tests.dataplane.impostor import Impostor

API = "1.87"
READY, FAILED = "available", ("deploy failed", "clean failed", "error", "inspect failed")
BOOT = 150.0  # seconds that a start may take on a machine that is busy with other things; alone it takes ten
IMPOSTOR, DEAD = "impostor", 4095
RACK = """
name = "rack1"
gateways = 2
[[machine]]
name = "bm1"
[[machine]]
name = "bm2"
resource_class = "spare"
[[machine]]
name = "bm3"
bmc = "ipmi"
resource_class = "spare"
"""


class Place(NamedTuple):
    """Where a Node's work is."""

    state: str
    phase: str
    step: str


class Steel:
    """See the module's text."""

    def __init__(self, cloud: Cloud, rack: Rack) -> None:
        self.cloud, self.rack = cloud, rack
        self.api = _system(cloud).baremetal  # who may leave out cleaning is an administrator of the whole cloud

    # -- Nodes by the API ------------------------------------------------------------------------------------------

    def node(self, name: str) -> Row:
        answer = self.api.get(f"/nodes/{name}", microversion=API)
        assert answer.status_code == 200, answer.text
        found: Row = answer.json()
        return found

    def set(self, name: str, path: str, value: Any) -> None:
        body = [{"op": "add", "path": path, "value": value}]
        answer = self.api.patch(f"/nodes/{name}", json=body, microversion=API)
        assert answer.status_code == 200, answer.text

    def tell(self, name: str, verb: str, **more: Any) -> None:
        body = {"target": verb} | more
        answer = self.api.put(f"/nodes/{name}/states/provision", json=body, microversion=API)
        assert answer.status_code == 202, answer.text

    def state(self, name: str, wanted: str, seconds: float = BOOT) -> Row:
        """The Node when it is in this state. One that failed instead fails at once."""

        def look() -> Row | None:
            now = self.row(name)
            if now["provision_state"] in FAILED and wanted not in FAILED:
                raise RuntimeError(f"{name} is in {now['provision_state']}: {now['last_error']}")
            return now if now["provision_state"] == wanted else None

        try:
            found = until(look, seconds, f"{name} is {wanted}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.told(name)}\n{self.console(name)[-2000:]}") from None
        assert found is not None
        return found

    def told(self, name: str, kind: str = "node") -> str:
        """What `hagane explain` says of a Node, or of something else."""
        done = self.cloud.process.command("explain", kind, name)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def deploy(self, name: str, image: str, checksum: str = "") -> None:
        """As somebody does who has no compute API."""
        self.set(name, "/instance_info", {"image_source": image} | ({"image_checksum": checksum} if checksum else {}))
        self.tell(name, "active")

    def free(self, name: str) -> None:
        """Whatever it is, it is available again."""
        for part in rack_fault.present(self.rack):
            self.mend(part)
        if self.row(name)["maintenance"]:
            self.api.delete(f"/nodes/{name}/maintenance", microversion=API)
        match self.row(name)["provision_state"]:
            case "available":
                return
            case "clean failed":
                self.set(name, "/automated_clean", False)
                self.tell(name, "manage")
                self.state(name, "manageable")
                self.tell(name, "provide")
            case _:
                self.tell(name, "deleted")
        self.state(name, READY)

    # -- Nodes as they are written ------------------------------------------------------------------------------------

    def sql(self, query: str, *values: Any) -> list[Row]:
        with sqlite3.connect(f"file:{self.cloud.site.state}/hagane.db?mode=ro", uri=True, timeout=20) as store:
            store.row_factory = sqlite3.Row
            rows = [dict(row) for row in store.execute(query, values)]
        store.close()
        return rows

    def row(self, name: str) -> Row:
        row = self.sql("SELECT * FROM node WHERE name = ?", name)[0]
        return row | {key: json.loads(row[key] or "null") for key in ("seen", "driver_internal_info")}

    def place(self, name: str) -> Place:
        row = self.row(name)
        seen = row["seen"] or {}
        phase = (seen.get("life") or {}).get("phase", "")
        under_way = [one["step"] for one in seen.get("steps") or [] if not one["finished_at"]]
        return Place(row["provision_state"], phase, under_way[0] if under_way else "")

    def at(self, name: str, phase: str, step: str = "", seconds: float = BOOT) -> None:
        """Wait until a Node's work has come so far."""

        def look() -> bool:
            state, now, under_way = self.place(name)
            if state in FAILED:
                raise RuntimeError(f"{name} is in {state}: {self.row(name)['last_error']}")
            return now == phase and (not step or under_way == step)

        until(look, seconds, f"{name} is at {phase} {step}")

    # -- the rack from outside ---------------------------------------------------------------------------------------

    def fault(self, part: str, name: str) -> None:
        asyncio.run(rack_fault.inject(self.rack, part, name))

    def mend(self, part: str) -> None:
        asyncio.run(rack_fault.clear(self.rack, part))

    def vsctl(self, part: str, *words: str) -> str:
        return asyncio.run(ovs.vsctl(self.rack.ovs(part), *words)).strip()

    def restart(self, **limits: float) -> None:
        """kill -9 of Hagane, and started again with other times that a Node may take."""
        config = self.cloud.process.config
        text = config.read_text()
        for name, value in limits.items():
            text = re.sub(rf"(?m)^{name} = .*$", f"{name} = {value:g}", text)
        config.write_text(text)
        self.cloud.process.kill()
        self.cloud.start()

    def access(self, name: str) -> Row:
        """A Node's driver_info, as it is in the enrolment file."""
        node = next(one for one in load(self.rack.enrolment).node if one.name == name)
        return dict(node.driver_info)

    @contextmanager
    def impostor(self, name: str) -> Iterator[Impostor]:
        """Somebody on the switch, in the VLAN of a Node's first Nic and with its MAC and address. The Node itself must
        be without its cable."""
        row, mac = self.row(name), next(iter(self.rack.nics(self.machine(name))))[0]
        ours = "SELECT item FROM allocation JOIN port ON port.id = owner WHERE kind = 'ip' AND device_owner = ?"
        service = self.sql(ours, "network:provisioning")[0]["item"]
        address = self.sql(f"{ours} AND device_id = ?", "baremetal:provisioning", row["id"])[0]["item"]
        tag = self.vsctl("tor1", "get", "Port", f"{name}-0", "tag")
        space = self.cloud.site.netns("tor1")
        self.vsctl(
            "tor1", "add-port", "br-tor", IMPOSTOR, f"tag={tag}", "--", "set", "Interface", IMPOSTOR, "type=internal"
        )
        try:
            tool("ip", "-n", space, "-batch", "-", stdin=f"link set {IMPOSTOR} address {mac} mtu 1442 up\n"
                 f"address add {address}/22 dev {IMPOSTOR}\n")  # fmt: skip
            yield Impostor(space, address, mac, service, row["id"])
        finally:
            self.vsctl("tor1", "del-port", IMPOSTOR)

    def machine(self, name: str) -> MachineDescription:
        return next(one for one in self.rack.machines if one.name == name)

    def console(self, name: str) -> str:
        log = self.rack.machine_folder(name) / "console.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def qemu(self, name: str) -> int:
        """The pid of a machine that is on; 0: it is off."""
        machine = next(one for one in rack_bmc.machines(self.rack) if one.spec.name == name)
        return machine.pid() or 0

    def shown(self, name: str) -> BmcSeen:
        """What a machine's BMC shows to somebody else than the cloud."""

        async def read() -> BmcSeen:
            address = str(self.rack.address(name))
            access: Row = {"username": rack_bmc.USERNAME, "password": rack_bmc.password(self.rack)}
            if self.machine(name).bmc == "ipmi":
                bmc: Any = IpmiBmc(BmcAccess(address, **access))
            else:
                verify = str(rack_bmc.certificate(self.rack))
                bmc = RedfishBmc(BmcAccess(f"https://{address}", **access, verify=verify, timeout=10))
            try:
                return await bmc.read()  # type: ignore[no-any-return]
            finally:
                await bmc.close()

        return asyncio.run(read())

    def tags(self) -> dict[str, list[Any]]:
        """SwitchPort -> mode, tag, trunks, by the switch itself."""
        shown = json.loads(self.vsctl("tor1", "-f", "json", "--columns=name,vlan_mode,tag,trunks", "list", "Port"))
        return {row[0]: row[1:] for row in shown["data"]}

    def vlans(self) -> dict[str, str]:
        """The same, for machines; "" where nothing is carried, or the Nic's private VLAN."""
        private = self.sql("SELECT link, item FROM nic JOIN allocation ON owner = nic.id WHERE kind = 'segment'")
        own = {(json.loads(row["link"])["port_id"], row["item"]) for row in private}
        tags = {name: tag for name, tag in self.tags().items() if name in self.rack.ports}
        return {name: "" if (name, str(tag[1])) in own or tag[2] == DEAD else str(tag) for name, tag in tags.items()}

    def taken(self) -> list[str]:
        """VLANs that somebody holds, but for the private one that each Nic keeps for good."""
        held = self.sql("SELECT item, owner FROM allocation WHERE kind = 'segment' ORDER BY item")
        nics = {row["id"]: 1 for row in self.sql("SELECT id FROM nic")}
        return [row["item"] for row in held if nics.pop(row["owner"], 0) == 0]

    def things(self, *names: str) -> Row:
        """Whatever deployments, cleanings and tenants take: the same before and after, or something has leaked."""
        dead = {part for part, faults in rack_fault.present(self.rack).items() if "dead" in faults}
        trunks = {one: self.vsctl(one, "list-ports", TRUNK_BRIDGE) for one in self.rack.gateways if one not in dead}
        machines = {name: self.shown(name) for name in names}
        owners = Counter(row["device_owner"] for row in self.sql("SELECT device_owner FROM port"))
        tokens = self.sql("SELECT name FROM node WHERE driver_internal_info LIKE '%agent_secret_token%'")
        return {
            "VLANs": self.taken(),
            "addresses": len(self.sql("SELECT item FROM allocation WHERE kind = 'ip'")),
            "Ports": {owner: count for owner, count in owners.items() if owner},
            "patch ports": {name: sorted(text.split()) for name, text in trunks.items()},
            "DHCP": sorted(row["cidr"] for row in self.cloud.rows("DHCP_Options")),
            "logical ports": len(self.cloud.rows("Logical_Switch_Port")),
            "media": {name: {s.value: url for s, url in seen.media.items() if url} for name, seen in machines.items()},
            "power": {name: seen.power.value for name, seen in machines.items()},
            "SwitchPorts": self.vlans(),
            "tokens": [row["name"] for row in tokens],
        }

    def clean(self, before: Row, *names: str, seconds: float = 30.0) -> None:
        """Everything is as it was."""

        def look() -> bool:
            now = self.things(*names)
            left = {kind: (before[kind], now[kind]) for kind in now if now[kind] != before[kind]}
            assert not left, left
            return True

        until(look, seconds, "nothing is left")


def _system(cloud: Cloud) -> Connection:
    """As the administrator of the whole cloud."""
    given = yaml.safe_load((cloud.site.state / "clouds.yaml").read_text())["clouds"]["hagane"]["auth"]
    auth = {name: value for name, value in given.items() if not name.startswith("project")}
    auth |= {"auth_url": f"{cloud.process.url}/identity/v3", "system_scope": "all"}
    return openstack.connect(auth=auth, region_name="RegionOne", load_yaml_config=False, load_envvars=False)


def _command(cloud: Cloud, *words: str) -> str:
    done = cloud.process.command(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def steel(folder: Path, rack_file: str = RACK, **settings: Any) -> Iterator[Steel]:
    """A cloud of one Host and its rack, up inside the block: every Node manageable, and available without cleaning."""
    with running(folder, hosts=1, **settings) as cloud:
        described = folder / "rack.toml"
        described.write_text(rack_file)
        _command(cloud, "lab", "up", str(described))
        try:
            rack = rack_place.current(cloud.site)
            assert rack is not None
            _command(cloud, "enroll", str(rack.enrolment))
            made = Steel(cloud, rack)
            names = [one.name for one in rack.machines]
            for name in names:
                made.set(name, "/automated_clean", False)
                made.tell(name, "manage")
            for name in names:
                made.state(name, "manageable", 60)
                made.tell(name, "inspect")
            for name in names[1:]:  # plugged once: now its Nic has the private VLAN that it keeps
                made.at(name, "data")
                made.tell(name, "abort")
                made.state(name, "inspect failed")
                made.tell(name, "manage")
            for name in names:  # the ramdisk of the first has heard where its second Nic hangs
                made.state(name, "manageable")
                made.tell(name, "provide")
                made.state(name, READY)
            yield made
            _command(cloud, "enroll", "--remove", str(rack.enrolment))
        finally:
            _command(cloud, "lab", "down")
