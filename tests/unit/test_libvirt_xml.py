"""Machines as domain XML, and back. After a wanted change: `python -m tests.unit.test_libvirt_xml` writes the files."""

from dataclasses import replace
from pathlib import Path

import pytest

from hagane.drivers.hypervisor.base import Disk, Machine, MachineNic, Power, Source
from hagane.drivers.hypervisor.libvirt_disk import disk_name, disk_owner, free_target, moved_xml, target
from hagane.drivers.hypervisor.libvirt_xml import Style, domain_uuid, domain_xml, parse, spec_digest

GOLDEN = Path(__file__).parents[1] / "golden" / "libvirt"
ID = "3f0c8a52-5d0e-4d0c-9a3b-0d6f6b3c1e11"
NICS = tuple(MachineNic(f"00000000-0000-4000-8000-{n:012}", f"fa:16:3e:00:00:0{n}", 1442) for n in (1, 2, 3))
LIVE = parse((GOLDEN / "seen-live.xml").read_text())
STYLE = Style(userspace=True, disk_dir="/var/lib/libvirt/images/disk", log_dir="/var/lib/libvirt/images/console")
FULL = Machine(
    ID,
    "web & <db>",
    2,
    256,
    Power.ON,
    boots=3,
    disks=(Disk("root-a1", 1), Disk("data-b2", 2)),
    nics=NICS[:2],
    config_drive=b"iso",
)
_SOURCES = {
    "boot": Source("local", {
        "device_path": "/var/lib/libvirt/images/volumes/volume.v1", "format": "qcow2",
        "qos_specs": {"read_iops_sec": "500", "total_bytes_sec": "1000000", "total_bytes_sec_max": "2000000", "a": "b"},
    }),
    "lv": Source("local", {"device_path": "/dev/vg/volume-v2", "format": "raw"}),
    "iscsi": Source("iscsi", {
        "target_portal": "172.30.0.11:3260", "target_iqn": "iqn.2026-01.org.hagane:v3.a", "target_lun": 1,
        "auth_method": "CHAP", "auth_username": "someone", "auth_password": "secret-word", "initiator": "iqn.x:1",
    }),
    "rbd": Source("rbd", {
        "name": "pool/volume-v4", "hosts": ["10.0.0.1"], "ports": ["6789"], "auth_enabled": True,
        "auth_username": "hagane", "secret_uuid": "5f0c1d1e-8a3f-4f5e-9c56-6f5a3c1a7d10", "multiattach": True,
    }),
}  # fmt: skip
VOLUMES = tuple(Disk(key, 1, source=source, serial=f"serial-{key}") for key, source in _SOURCES.items())
VOLUMES = (VOLUMES[0], replace(VOLUMES[1], device="/dev/vde"), replace(VOLUMES[2], bus="scsi", read_only=True),
           replace(VOLUMES[3], device="/dev/sdb"))  # fmt: skip
# What is wanted, on which kind of Host, and whether the running machine of seen-live.xml is there already.
CASES = {
    "full": (FULL, STYLE, False),
    "bare": (Machine("not-a-uuid", "bell \x07", 1, 64, Power.OFF), Style(), False),
    "kvm-q35": (FULL, Style(accel="kvm", machine="q35"), False),
    "scsi": (replace(FULL, disks=(Disk("root-a1", 1, bus="scsi"), Disk("data-b2", 2, bus="scsi"))), Style(), False),
    "kept-places": (replace(FULL, nics=(NICS[1], NICS[2]), disks=(*FULL.disks, Disk("more-c3", 1))), STYLE, True),
    "rebuilt": (replace(FULL, boots=4, disks=(Disk("root-z9", 1), FULL.disks[1])), STYLE, True),
    "volumes": (replace(FULL, disks=VOLUMES), STYLE, False),
    "other-board": (FULL, replace(STYLE, machine="q35"), True),
}


def made(case: str) -> str:
    machine, style, kept = CASES[case]
    return domain_xml(machine, style, LIVE if kept else None) + "\n"


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    assert made(case) == (GOLDEN / f"{case}.xml").read_text()


@pytest.mark.parametrize("case", CASES)
def test_what_is_made_reads_as_what_was_wanted(case: str) -> None:
    machine, style, _ = CASES[case]
    domain = parse(made(case))
    assert domain is not None
    assert (domain.id, domain.boots, domain.vcpus) == (machine.id, machine.boots, machine.vcpus)
    assert domain.memory_mb == machine.memory_mb
    assert domain.spec == spec_digest(machine, style)
    assert {port: (nic.mac, nic.mtu) for port, nic in domain.nics.items()} == {
        nic.port_id: (nic.mac, nic.mtu) for nic in machine.nics
    }
    drives = {f"config-{machine.disks[0].key}"} if machine.config_drive else set()
    assert set(domain.disks) == {disk.key for disk in machine.disks} | drives
    targets = [disk.target for disk in domain.disks.values()]
    assert len(set(targets)) == len(targets)


def test_a_live_domain_as_libvirt_prints_it() -> None:
    """It is one of the time when a config drive was a virtio disk: that is found, and defined anew as it is now."""
    assert LIVE is not None
    assert (LIVE.id, LIVE.boots, LIVE.vcpus, LIVE.memory_mb, LIVE.machine) == (ID, 3, 2, 256, "pc-i440fx-7.2")
    assert LIVE.spec != spec_digest(FULL, STYLE)
    assert [nic.alias for nic in LIVE.nics.values()] == ["net0", "net1"]
    assert {key: disk.target for key, disk in LIVE.disks.items()} == {
        "root-a1": "vda",
        "data-b2": "vdb",
        "config-root-a1": "vdc",
    }
    assert LIVE.disks["data-b2"].address["slot"] == "0x05"


@pytest.mark.parametrize(
    ("board", "bus", "name"), [("pc", "virtio", "hdc"), ("pc", "scsi", "hdc"), ("q35", "scsi", "sdz")]
)
def test_a_config_drive_takes_no_letter_of_a_disk(board: str, bus: str, name: str) -> None:
    """Neither of those that are there at the start, nor of the next one that is plugged in."""
    disks = (Disk("root-a1", 1, bus=bus), Disk("data-b2", 2, bus=bus))
    domain = parse(domain_xml(replace(FULL, disks=disks), Style(machine=board)))
    assert domain is not None
    start = free_target(bus, set())[:2]
    targets = {key: disk.target for key, disk in domain.disks.items()}
    assert targets == {"root-a1": f"{start}a", "data-b2": f"{start}b", "config-root-a1": name}
    assert target(Disk("more", 1, bus=bus, device="/dev/vdc"), set(targets.values())) == f"{start}c"


def test_a_config_drive_takes_the_place_that_ide_disks_leave() -> None:
    domain = parse(domain_xml(replace(FULL, disks=tuple(Disk(key, 1, bus="ide") for key in "abc")), Style()))
    assert domain is not None
    assert [disk.target for disk in domain.disks.values()] == ["hda", "hdb", "hdc", "hdd"]


def test_a_foreign_domain_is_not_ours() -> None:
    assert parse("<domain><name>hagane-mine</name><devices/></domain>") is None


CHANGES = {
    "power": ({"power": Power.OFF}, True),
    "boots": ({"boots": 9}, True),
    "soft": ({"soft": True, "soft_seconds": 5}, True),
    "the bytes of the drive": ({"config_drive": b"other"}, True),
    "name": ({"name": "other"}, False),
    "memory": ({"memory_mb": 512}, False),
    "a NIC": ({"nics": NICS}, False),
    "no drive": ({"config_drive": None}, False),
    "a disk": ({"disks": FULL.disks[:1]}, False),
}


@pytest.mark.parametrize("change", CHANGES)
def test_which_changes_need_a_new_definition(change: str) -> None:
    values, same = CHANGES[change]
    assert (spec_digest(replace(FULL, **values), STYLE) == spec_digest(FULL, STYLE)) is same


def test_names_lead_back_to_their_owner() -> None:
    assert disk_owner(disk_name(ID, "root-a1")) == (ID, "root-a1")
    assert disk_owner(disk_name(ID, "config-root-a1")) == (ID, "config-root-a1")
    for foreign in ("hagane-image.1.00ff", f"hagane-{ID}.root.snapshot.00ff", "root.qcow2", f"hagane-{ID}.log"):
        assert disk_owner(foreign) is None


def test_a_password_is_in_no_description() -> None:
    assert "secret-word" not in made("volumes")


def test_a_device_whose_content_moved_has_the_new_key() -> None:
    text = made("volumes")
    note = moved_xml({("ua-boot", "/elsewhere"): "new", ("ua-lv", "/dev/vg/volume-v2"): "moved"})
    domain = parse(text.replace("</metadata>", note + "</metadata>"))
    assert domain is not None
    assert set(domain.disks) == {"boot", "moved", "iscsi", "rbd", "config-boot"}


def test_device_names() -> None:
    assert [target(Disk("a", 1, device=name), {"vda"}) for name in ("/dev/vdc", "/dev/sdd", "vda", "")] == [
        "vdc", "vdd", "vdb", "vdb",
    ]  # fmt: skip
    assert free_target("virtio", {"vda", "vdc"}) == "vdb"
    assert free_target("scsi", set()) == "sda"
    letters = {f"vd{chr(c)}" for c in range(ord("a"), ord("z") + 1)}
    assert free_target("virtio", letters) == "vdaa"


def test_every_id_gives_one_uuid() -> None:
    assert domain_uuid(ID) == ID
    assert domain_uuid("a") == domain_uuid("a") != domain_uuid("b")


if __name__ == "__main__":
    for name in CASES:
        (GOLDEN / f"{name}.xml").write_text(made(name))
