"""What of a rack needs no devices: its description, names and addresses, the enrolment file, UEFI variables, drawing."""

import shutil
import tomllib
from pathlib import Path

import pytest

from hagane.errors import DeviceFailed, Invalid
from hagane.lab import rack_bmc, rack_description, rack_enrolment, rack_place, rack_trouble
from hagane.lab.bmc import variables
from hagane.lab.bmc.machine import FIRMWARE_VARIABLES
from hagane.lab.rack_look import MachineSeen, PortSeen, RackSeen
from hagane.lab.rack_place import Rack
from hagane.lab.site import Site
from hagane.operate import enroll_file, lab_picture


def rack(folder: Path, prefix: str = "hagane") -> Rack:
    return Rack(Site(prefix, folder / "state", folder / "run"), rack_description.load(None))


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose name is short enough for sockets."""
    return tmp_path_factory.mktemp("r")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "at least one"),
        ("[[machine]]\nname = 'bm1'\n[[machine]]\nname = 'bm1'", "names of their own"),
        ("[[machine]]\nname = 'tor1'", "names of their own"),
        ("[[machine]]\nname = 'gw1'", "names of their own"),
        ("[[machine]]\nname = 'BM'", "regex"),
        ("[[machine]]\nname = 'bm1'\nmemory_mb = 16", ">= 128"),
        ("[[machine]]\nname = 'bm1'\nsecure_boot = true", "uefi"),
        ("vlans = '1-2000'\n[[machine]]\nname = 'bm1'", "2-4094"),
        ("vlans = 'all'\n[[machine]]\nname = 'bm1'", "2-4094"),
        ("out_of_band = '10.0.0.0/28'\n[[machine]]\nname = 'bm1'", "64 addresses"),
        ("colour = 'red'\n[[machine]]\nname = 'bm1'", "unknown field"),
    ],
)
def test_a_description_that_makes_no_rack_is_refused_with_the_reason(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "rack.toml"
    file.write_text(text)
    with pytest.raises(Invalid, match=reason):
        rack_description.load(file)


def test_every_part_has_an_address_of_its_own_and_two_labs_share_none(short: Path) -> None:
    usual, other = rack(short), rack(short, "other")
    parts = ("tor1", "gw1", "bm1", "bm2", "bm3")
    assert [str(usual.address(part)) for part in parts] == [f"172.30.1.{number}" for number in (2, 3, 11, 12, 13)]
    assert not usual.network.overlaps(other.network)
    assert len({usual.address(part) for part in parts} | {other.address(part) for part in parts}) == 10
    assert {usual.uuid(name) for name in parts}.isdisjoint(other.uuid(name) for name in parts)
    macs = [mac for one in (usual, other) for machine in one.machines for mac, _ in one.nics(machine)]
    assert len(set(macs)) == 12
    assert all(len(port) <= 15 for port in (*usual.ports, usual.oob_link))
    assert usual.tunnel_ip("gw1") not in {usual.site.tunnel_ip(host) for host in usual.site.hosts}


def test_a_rack_is_wanted_until_its_mark_is_gone(short: Path) -> None:
    one = rack(short)
    assert rack_place.current(one.site) is None
    rack_place.want(one)
    assert rack_place.current(one.site) == one
    rack_place.mark(one.site).unlink()
    assert rack_place.current(one.site) is None


def test_the_enrolment_file_says_how_to_reach_everything(short: Path) -> None:
    one = rack(short)
    document = tomllib.loads(rack_enrolment.text(one))
    file = short / "rack1.toml"
    file.write_text(rack_enrolment.text(one))
    assert len(enroll_file.load(file).node) == 3  # `hagane enroll` takes it
    assert document["rack"] == {"name": "rack1", "physical_network": "rack1", "vlans": "1001-1999"}
    assert document["switch"][0]["driver"] == "ovsdb" and document["switch"][0]["chassis_id"] == one.chassis_id
    assert document["gateway"][0]["ovsdb"] == "tcp:172.30.1.3:6640"
    nodes = {node["name"]: node for node in document["node"]}
    assert nodes["bm2"]["driver_info"]["redfish_address"] == "https://172.30.1.12"
    assert nodes["bm2"]["properties"]["capabilities"] == "boot_mode:uefi,iscsi_boot:true"
    assert nodes["bm3"]["driver_info"]["ipmi_password"] == rack_bmc.password(one)
    assert not any(key.startswith("redfish") for key in nodes["bm3"]["driver_info"])
    assert [nic.get("port") for nic in nodes["bm1"]["nic"]] == ["bm1-0", None]  # the second is found by LLDP
    assert (one.folder.state / "password").stat().st_mode & 0o777 == 0o600


def test_faults_are_remembered_until_they_are_over(short: Path) -> None:
    one = rack(short)
    assert rack_trouble.stamp(one) == 0
    rack_trouble.note(one, "bm1-0", "cable-pulled", on=True)
    rack_trouble.note(one, "gw1", "dead", on=True)
    trouble = rack_trouble.Trouble.of(one)
    assert trouble.unplugged == {"bm1-0"} and trouble.has("gw1", "dead") and not trouble.has("tor1", "dead")
    rack_trouble.note(one, "bm1-0", "cable-pulled", on=False)
    assert rack_trouble.Trouble.of(one).unplugged == frozenset()


def test_the_firmware_is_told_the_last_uri_once(tmp_path: Path) -> None:
    flash = tmp_path / "vars.fd"
    shutil.copyfile(FIRMWARE_VARIABLES, flash)
    for name in ("a", "b"):
        variables.boot_from(flash, f"http://10.0.0.1/{name}.efi")
    known = variables.read(flash)
    assert known["BootNext"] == b"\x00\x0f" and known["Boot0F00"].endswith(b"http://10.0.0.1/b.efi\x7f\xff\x04\x00")
    assert flash.stat().st_size == FIRMWARE_VARIABLES.stat().st_size
    with pytest.raises(DeviceFailed, match="full"):
        for _ in range(10_000):
            variables.boot_from(flash, "http://10.0.0.1/" + "x" * 4000)
    flash.write_bytes(bytes(4096))
    with pytest.raises(DeviceFailed, match="no variables"):
        variables.boot_from(flash, "http://10.0.0.1/a.efi")


def test_a_drawing_shows_vlans_carriers_power_and_faults(short: Path) -> None:
    ports = (
        PortSeen("gw1", None, None, True, "rack gateway gw1"),
        PortSeen("bm1-0", 1001, (), True, "bm1 NIC 0"),
        PortSeen("bm1-1", None, (), False, "bm1 NIC 1"),
        PortSeen("bm2-0", 7, (10, 11, 12, 20), False, "bm2 NIC 0"),
    )
    machine = MachineSeen("bm1", True, "bios", "pxe", "172.30.1.11", ("bmc-dead",))
    lines = list(lab_picture.draw(rack(short), RackSeen(ports, "", (machine,), {"gw1": ["dead"]}), []))
    found = {line.split()[1]: line.split() for line in lines if line.startswith("├─")}
    assert found["gw1"][2:5] == ["all", "VLANs", "up"] and found["bm1-0"][2:4] == ["1001", "up"]
    assert found["bm1-1"][2:5] == ["dead", "no", "carrier"] and found["bm2-0"][2:5] == ["7,", "tagged", "10-12,20"]
    assert any("on" in line and "boots from pxe" in line and "FAULT: bmc-dead" in line for line in lines)
    assert any(line.startswith("gw1") and "FAULT: dead" in line for line in lines)
