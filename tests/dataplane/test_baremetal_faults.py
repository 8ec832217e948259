"""What goes wrong with bare metal, on the rack: each ends in the documented state, with its cause and a way out, and
nothing stays behind: no VLAN, Port, patch port, DHCP row, medium or power.

bm1 carries anvil, a Server on the tenant's network, through all that happens to the rack; bm2 and bm3 are broken on
purpose, without the compute API.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.dataplane.cloud import Clock, until
from tests.dataplane.impostor import Impostor
from tests.dataplane.pings import pinging
from tests.dataplane.servers import Servers
from tests.dataplane.space import Guest
from tests.dataplane.steel import API, BOOT, Place, Row, Steel, steel
from tests.dataplane.tenant import Tenant

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(600)]
SPARE = ("bm2", "bm3")


@dataclass
class World:
    """A tenant's network, a cheap machine on it that looks at anvil, and what there was before anvil."""

    steel: Steel
    tenant: Tenant
    servers: Servers
    front: Any
    group: Any
    looker: Guest
    flavor: Any
    before: Row = field(default_factory=dict)
    anvil: Any = None

    def ordered(self) -> Any:
        return self.servers.order("anvil", self.front, self.group, flavor_id=self.flavor.id)

    def ready(self) -> Any:
        """anvil, ordered first if there is none."""
        if self.anvil is None:
            self.anvil = self.servers.active(self.ordered(), 240)
            self.looker.reaches(self.servers.fixed(self.anvil), seconds=BOOT)
        return self.anvil


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    limits: Row = {"deploy_callback": BOOT, "clean_callback": BOOT, "power_poll": 3600}
    with steel(tmp_path_factory.mktemp("steel"), baremetal=limits) as made:
        tenant = Tenant(made.cloud)
        front = tenant.network("front", "10.10.0.0/24")
        tenant.router("edge", front)
        group = tenant.open_group()
        servers = Servers(tenant, tmp_path_factory.mktemp("keys"))
        flavor = servers.api.create_flavor(name="bm.small", ram=384, vcpus=1, disk=1)
        steel_only = {"resources:CUSTOM_BM_SMALL": "1"} | {
            f"resources:{n}": "0" for n in ("VCPU", "MEMORY_MB", "DISK_GB")
        }
        servers.api.create_flavor_extra_specs(flavor, steel_only)
        looker = tenant.machine(front, "host1", [group])
        world = World(made, tenant, servers, front, group, looker, flavor)
        world.before = made.things("bm1", *SPARE)
        yield world
        servers.end()
        servers.api.delete_flavor(flavor)
        tenant.end()
        made.state("bm1", "available")


@pytest.fixture
def image(world: World) -> str:
    return str(world.servers.image.id)


@pytest.fixture
def rack(world: World) -> Iterator[Steel]:
    """The rack with everything mended before and after, and nothing left over by a test."""
    for name in SPARE:
        world.steel.free(name)
    before = world.steel.things(*SPARE)
    yield world.steel
    for name in SPARE:
        world.steel.free(name)
    world.steel.clean(before, *SPARE)


# -- Hagane dies ----------------------------------------------------------------------------------------------------


def killed_everywhere(
    rack: Steel, done: Callable[[], bool], *names: str, seconds: float = 500
) -> dict[str, list[Place]]:
    """kill -9 of Hagane at every place at which the work of one of these Nodes is seen, each once, until it is done."""
    places: dict[str, list[Place]] = {name: [] for name in names}
    seen, clock, started = list[str](), Clock(), 0.0
    while not done():
        assert clock.seconds < seconds, "\n".join([*seen, *map(rack.told, names)])
        now = {name: rack.place(name) for name in names}
        fresh = {name: it for name, it in now.items() if it.phase and all(_differ(it, one) for one in places[name])}
        if fresh:
            rack.cloud.process.kill()
            seen.append(f"{clock.seconds:6.1f} s  {fresh}")
            for name, it in fresh.items():
                places[name].append(it)
            started += rack.cloud.start()
        time.sleep(0.01)
    print(
        f"\nkilled {len(seen)} times in {clock.seconds:.0f} s, {started:.0f} s until it was up again:", *seen, sep="\n"
    )
    return places


def _differ(one: Place, other: Place) -> bool:
    """Another state or phase; of the ramdisk's steps, another one of these."""
    return one[:2] != other[:2] or (one.phase == "steps" and one.step != other.step)


def test_killed_at_every_step_of_a_deployment_and_of_cleaning(world: World) -> None:
    """anvil on bm1 is deployed while bm2 is cleaned."""
    rack, clock, names = world.steel, Clock(), ("bm1", "bm2")
    rack.tell("bm2", "manage")
    rack.state("bm2", "manageable")
    rack.set("bm2", "/automated_clean", True)
    for name in names:
        rack.fault(name, "bmc-slow=0.05")  # so that every step is long enough to be seen
    world.anvil = world.ordered()
    rack.tell("bm2", "provide")
    ended = [("active",), ("available", "clean failed")]
    places = killed_everywhere(
        rack,
        lambda: all(rack.row(name)["provision_state"] in end for name, end in zip(names, ended, strict=True)),
        *names,
    )
    deployed, cleaned = ({place.phase for place in places[name]} for name in names)
    assert {"network", "boot", "start", "steps", "switch", "disk"} <= deployed, places
    assert {"network", "boot", "start", "steps", "release"} <= cleaned, places
    assert "callback" in deployed | cleaned, places  # one may call while Hagane starts anew for the other
    assert "write-image" in {place.step for place in places["bm1"]}
    world.anvil = world.servers.active(world.anvil)
    world.looker.reaches(world.servers.fixed(world.anvil), seconds=BOOT)
    print(f"anvil answers {clock.seconds} s after it was ordered")
    assert world.servers.reached(world.anvil, "hostname") == "anvil"
    for name in names:
        assert not any(rack.shown(name).media.values()) and rack.row(name)["last_error"] is None
    rack.mend("bm1")
    rack.set("bm2", "/automated_clean", False)
    rack.free("bm2")


# -- what happens to the rack, with a Server on it --------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["wiped", "reboot"])
def test_a_switch_that_starts_anew_is_right_again_within_seconds(world: World, fault: str) -> None:
    """Wiped, it knows of no VLAN; either way anvil, in the middle of a TCP connection, is there again."""
    rack, address = world.steel, world.servers.fixed(world.ready())
    before = rack.tags()
    world.servers.reached(world.anvil)
    with pinging(world.looker.space, address) as pings, world.looker.connect(address, 22) as link:
        assert link.recv(64).startswith(b"SSH-2.0")
        rack.fault("tor1", fault)
        clock = Clock()
        until(lambda: rack.tags() == before, 20, "every SwitchPort is as it was")
        print(f"\n{fault}: every SwitchPort is right again {clock.seconds} s after the switch came up")
        pings.more(10)
        link.settimeout(30)
        link.sendall(b"SSH-2.0-still-here\r\n")
        assert link.recv(4096)
    print(f"the ping to anvil was away for {pings.longest:.1f} s, of which the switch was dark 3 s")
    assert pings.longest < 30


def test_a_switch_that_hangs_delays_only_its_own_ports(world: World) -> None:
    """A second Nic on a VLAN network has to wait for its SwitchPort; nothing else does."""
    rack, servers, anvil = world.steel, world.servers, world.ready()
    admin = rack.cloud.conn.network
    wire = admin.create_network(name="wire", provider_network_type="vlan", provider_physical_network="rack1",
                                provider_segmentation_id=300)  # fmt: skip
    admin.create_subnet(network_id=wire.id, ip_version=4, cidr="10.30.0.0/24", gateway_ip=None)
    port = admin.create_port(network_id=wire.id, port_security_enabled=False, security_groups=[])
    rack.fault("tor1", "hang")
    try:
        servers.api.create_server_interface(anvil.id, port_id=port.id)
        clock = Clock()
        vm = servers.active(servers.order("vm", world.front, world.group), 120)
        print(f"\na VM was ACTIVE {clock.seconds} s after it was ordered, beside a switch that hangs")
        world.looker.reaches(servers.fixed(anvil))
        assert admin.get_port(port.id).status == "DOWN"
        until(lambda: _told(rack, "port bm1-1 of switch tor1", "port", port.id), 60, "it says for whom it waits")
        servers.delete(vm)
    finally:
        rack.mend("tor1")
    until(lambda: "300" in rack.vlans()["bm1-1"], 30, "the SwitchPort is in the network's VLAN")
    until(lambda: admin.get_port(port.id).status == "ACTIVE", 30, "the Port is active")
    servers.api.delete_server_interface(port.id, server=anvil.id)
    until(lambda: "300" not in str(rack.vlans()), 30, "no SwitchPort is in the network's VLAN")
    admin.delete_port(port.id)
    admin.delete_network(wire.id)


def _told(rack: Steel, word: str, kind: str, name: str) -> bool:
    """Whether `explain` says the word of something."""
    told = rack.told(name, kind)
    assert word in told, told
    return True


def _unmentioned(rack: Steel, word: str) -> bool:
    told = rack.cloud.process.command("doctor").stdout
    assert word not in told, told
    return True


def test_a_gateway_that_dies_is_replaced_by_the_second(world: World) -> None:
    rack, address = world.steel, world.servers.fixed(world.ready())
    with pinging(world.looker.space, address) as pings:
        rack.fault("gw1", "dead")
        pings.more(10)
    print(f"\ngw1 is dead: no answer from anvil for {pings.longest:.2f} s")
    assert pings.longest < 30
    assert "Gateway gw1" in rack.cloud.process.command("doctor").stdout
    with pinging(world.looker.space, address) as pings:
        rack.mend("gw1")
        until(lambda: _unmentioned(rack, "Gateway gw1"), 60, "gw1 is back")
        pings.more(20)
    print(f"gw1 is back: no answer for {pings.longest:.2f} s")
    world.looker.reaches(address)


def test_killed_while_it_deletes(world: World) -> None:
    rack, anvil = world.steel, world.ready()
    rack.fault("bm1", "bmc-slow=0.1")
    world.anvil = None
    world.servers.api.delete_server(anvil.id)
    world.servers.forget(anvil)
    places = killed_everywhere(rack, lambda: rack.row("bm1")["provision_state"] == "available", "bm1")
    rack.mend("bm1")
    until(lambda: world.servers.gone(anvil), 30, "the Server is gone")
    assert "teardown" in {place.phase for place in places["bm1"]}
    rack.clean(world.before, "bm1", *SPARE)


# -- a Node is broken -------------------------------------------------------------------------------------------------


def failed(rack: Steel, name: str, *words: str, state: str = "deploy failed", seconds: float = BOOT) -> Row:
    """The documented state of failure, with its cause, in the Node's history and in what `explain` says."""
    row = rack.state(name, state, seconds)
    for word in words:
        assert word in row["last_error"], row["last_error"]
    print(f"\n{name} is in {state}: {row['last_error'][:400]}")
    lines = rack.sql("SELECT event FROM node_history WHERE node_id = ? AND severity = 'ERROR'", row["id"])
    assert any(row["last_error"] in line["event"] for line in lines), lines
    told = rack.told(name)
    assert words[0] in told and "openstack baremetal node" in told, told
    return row


def test_a_bmc_that_is_away_in_the_middle_of_a_deployment(rack: Steel, image: str) -> None:
    """Asked again until it is back: nothing fails."""
    rack.deploy("bm2", image)
    rack.at("bm2", "steps", "write-image")
    rack.fault("bm2", "bmc-dead")
    rack.at("bm2", "switch")
    until(lambda: _told(rack, "no answer from the BMC", "node", "bm2"), 50, "it says what it waits for")
    rack.mend("bm2")
    rack.state("bm2", "active")
    assert rack.shown("bm2").power.value == "on"


def test_a_bmc_whose_answers_make_no_sense(rack: Steel, image: str) -> None:
    for name in SPARE:
        rack.fault(name, "bmc-wrong-answers")
        rack.deploy(name, image)
    for name in SPARE:
        row = failed(rack, name, "", seconds=90)
        assert "Traceback" not in row["last_error"]
        rack.mend(name)
        rack.deploy(name, image)  # the way out that is told: again
        rack.at(name, "callback")
        rack.tell(name, "deleted")
        rack.state(name, "available")


def test_a_bmc_whose_password_somebody_changed(rack: Steel, image: str) -> None:
    for name in SPARE:  # one by Redfish, one by IPMI
        rack.fault(name, "bmc-password")
        rack.deploy(name, image)
    for name in SPARE:
        failed(rack, name, "password")


def test_a_node_enrolled_with_a_wrong_password(rack: Steel) -> None:
    """It is told with `manage`, and mended by `node set` and another `manage`."""
    info = rack.access("bm2") | {"redfish_password": "not it"}
    body = {"name": "bm9", "driver": "redfish", "driver_info": info}
    assert rack.api.post("/nodes", json=body, microversion=API).status_code == 201
    rack.tell("bm9", "manage")
    until(lambda: rack.row("bm9")["last_error"], 60, "it says what is wrong")
    row = rack.row("bm9")
    assert row["provision_state"] == "enroll" and "password" in row["last_error"], row
    assert "password" in rack.told("bm9") and "openstack baremetal node manage bm9" in rack.told("bm9")
    rack.set("bm9", "/driver_info/redfish_password", rack.access("bm2")["redfish_password"])
    rack.tell("bm9", "manage")
    rack.state("bm9", "manageable", 60)
    assert rack.api.delete("/nodes/bm9", microversion=API).status_code == 204


def test_power_that_is_lost_while_the_image_is_written(rack: Steel, image: str) -> None:
    rack.deploy("bm2", image)
    rack.at("bm2", "steps", "write-image")
    rack.fault("bm2", "power-loss")
    failed(rack, "bm2", "switched off while write_image was going on")
    step = next(one for one in rack.row("bm2")["seen"]["steps"] if one["step"] == "write-image")
    assert step["result"] == "Error"
    until(lambda: rack.shown("bm2").power.value == "off", 20, "it is off")


def test_disks_that_cannot_be_written(rack: Steel, image: str) -> None:
    """A full one, and a broken one that a playbook writes to over ssh. The way out is to deploy again, even at once,
    while the old ramdisk is still being switched off: what then writes is one that was started anew."""
    rack.set("bm3", "/deploy_interface", "ansible")
    wrong = {"bm2": ("disk-full", "standby.prepare_image"), "bm3": ("disk-bad", "task 'Write the image' failed")}
    for name in SPARE:
        rack.deploy(name, image)
    for name, (fault, _) in wrong.items():
        rack.at(name, "callback")
        rack.fault(name, fault)
        rack.fault(name, "bmc-dead")  # so that it cannot be switched off when that has failed
    for name, (_, words) in wrong.items():
        failed(rack, name, "could not do standby.prepare_image", words)
        old = rack.qemu(name)
        rack.deploy(name, image)
        rack.at(name, "release")
        assert old == rack.qemu(name) != 0, "it is still on"
        rack.mend(name)
        rack.at(name, "callback")
        assert rack.qemu(name) not in (0, old), "another ramdisk was started"
    rack.state("bm3", "active", 240)
    until(lambda: "HAGANE-GUEST-READY" in rack.console("bm3"), BOOT, "what the playbook wrote has started")
    rack.free("bm3")
    rack.set("bm3", "/deploy_interface", "direct")


def test_a_disk_that_breaks_while_it_is_cleaned(rack: Steel) -> None:
    rack.tell("bm2", "manage")
    rack.state("bm2", "manageable")
    rack.set("bm2", "/automated_clean", True)
    rack.fault("bm2", "disk-bad")
    rack.tell("bm2", "provide")
    row = failed(rack, "bm2", "disk", state="clean failed")
    assert row["maintenance"] and row["fault"] == "clean failure"
    rack.mend("bm2")
    assert rack.api.delete("/nodes/bm2/maintenance", microversion=API).status_code == 202
    rack.tell("bm2", "manage")
    rack.state("bm2", "manageable")
    rack.tell("bm2", "provide")
    rack.state("bm2", "available", 240)
    rack.set("bm2", "/automated_clean", False)


def _raw(rack: Steel, image: str) -> Path:
    """The bytes that Nodes are given of an image: there as soon as one was."""
    folder = rack.cloud.site.state / "nodes" / "images"
    if not list(folder.glob(f"*{image}*.raw")):
        rack.deploy("bm3", image)
        rack.state("bm3", "active")
    return next(folder.glob(f"*{image}*.raw"))


def test_an_image_whose_bytes_are_not_those_of_its_checksum(rack: Steel, world: World, image: str) -> None:
    """Somebody else's checksum is refused before anything is started; bytes that have rotted are found by the ramdisk."""
    rack.deploy("bm2", image, checksum="0" * 128)
    failed(rack, "bm2", "checksum")
    until(lambda: not (rack.row("bm2")["seen"] or {}).get("life"), 60, "what it took is given back")
    raw = _raw(rack, image)
    with raw.open("r+b") as file:
        file.seek(raw.stat().st_size // 2)
        there = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([there[0] ^ 1]))
    rack.deploy("bm2", image)
    try:
        failed(rack, "bm2", "checksum")
    finally:
        with raw.open("r+b") as file:
            file.seek(raw.stat().st_size // 2)
            file.write(there)


def test_nodes_that_are_given_up_while_they_are_deployed(rack: Steel, image: str) -> None:
    """One while its ramdisk boots, one while its image is written."""
    before = rack.things(*SPARE)
    for name in SPARE:
        rack.deploy(name, image)
    for name, phase, step in (("bm2", "callback", ""), ("bm3", "steps", "write-image")):
        rack.at(name, phase, step)
        rack.tell(name, "deleted")
    for name in SPARE:
        rack.state(name, "available")
        assert rack.node(name)["instance_info"] == {}
    rack.clean(before, *SPARE)


# -- strangers, and one that never calls back -------------------------------------------------------------------------


def test_strangers_learn_and_change_nothing_and_who_never_calls_back_fails(
    rack: Steel, world: World, image: str
) -> None:
    """An impostor takes bm2's place on its own VLAN before its ramdisk is there, and gets its token. It asks once more,
    so the machine is started anew, with another one. The ramdisk never calls back, since its cable is pulled: it fails
    at its deadline, with what its console said last."""
    rack.restart(deploy_callback=30)
    rack.fault("bm2", "cable-pulled=0")
    rack.deploy("bm2", image)
    rack.at("bm2", "callback")
    stranger = Stranger(world, rack)
    try:
        with rack.impostor("bm2") as impostor:
            _impostor(rack, impostor)
            stranger.learns_nothing(impostor)
        row = failed(rack, "bm2", "Timeout reached while waiting for callback", "The last lines of its console")
        assert "agent_url" not in row["driver_internal_info"]
    finally:
        stranger.end()
        rack.restart(deploy_callback=BOOT)


def _impostor(rack: Steel, impostor: Impostor) -> None:
    """With bm2's address and MAC. It may speak of bm2 only, and proves itself by the token that is told once."""
    bm1 = rack.node("bm1")["uuid"]
    mac = f"/baremetal/v1/lookup?addresses={impostor.mac}"
    assert impostor.get("/baremetal/v1/nodes")[0] == impostor.get("/identity/v3")[0] == 404
    assert impostor.beat(bm1, "no token")[0] == 404
    beats = [impostor.beat(impostor.node_id, None), impostor.beat(impostor.node_id, "guessed")]
    assert [status for status, _ in beats] == [400, 400] and "token" in beats[0][1], beats
    status, first = impostor.get(mac)
    assert status == 200, first
    token = json.loads(first)["config"]["agent_token"]
    assert len(token) > 20
    second = json.loads(impostor.get(mac)[1])
    assert second["config"]["agent_token"] == "******" and token not in json.dumps(second)
    assert impostor.beat(impostor.node_id, token[:-1] + "!")[0] == 400
    assert impostor.get(f"/baremetal/v1/lookup?addresses=&node_uuid={bm1}")[0] in (200, 404)
    assert bm1 not in impostor.get(f"/baremetal/v1/lookup?addresses=&node_uuid={bm1}")[1]
    assert "agent_url" not in rack.row("bm2")["driver_internal_info"]


class Stranger:
    """A machine on the network of the ramdisks that is no Node at all."""

    def __init__(self, world: World, rack: Steel) -> None:
        network = rack.cloud.conn.network.find_network("provisioning", ignore_missing=False)
        self._tenant = world.tenant
        self.guest = world.tenant.machine(network, "host1", [world.group])

    def learns_nothing(self, impostor: Impostor) -> None:
        for path in (f"/baremetal/v1/lookup?addresses={impostor.mac}", "/boot.ipxe", "/kernel", "/baremetal/v1/nodes"):
            assert impostor.get(path, source=self.guest)[0] == 404, path
        assert impostor.beat(impostor.node_id, "guessed", source=self.guest)[0] == 404

    def end(self) -> None:
        self._tenant.drop(self.guest)
