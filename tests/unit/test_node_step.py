"""Which steps a Node takes and in which order; what LLDP says; a password's hash; a config drive in parts."""

import base64
import gzip
from typing import Any

import pytest

from hagane.baremetal import node_progress, node_step
from hagane.baremetal.lldp import link_of
from hagane.baremetal.node_password import hashed
from hagane.errors import Invalid
from hagane.reconcile.node_image import drive
from hagane.reconcile.node_inspect import properties

ERASE = {"interface": "deploy", "step": "erase_devices", "priority": 10}
META = {"interface": "deploy", "step": "erase_devices_metadata", "priority": 99}
RAID = {"interface": "raid", "step": "create_configuration", "priority": 0}


def names(steps: list[dict[str, Any]]) -> list[str]:
    return [step["step"] for step in steps]


def test_of_a_step_that_two_managers_have_the_higher_priority_counts() -> None:
    found = node_step.offered({"Generic": [ERASE, META], "Vendor": [ERASE | {"priority": 50}]})
    assert [step["priority"] for step in found if step["step"] == "erase_devices"] == [50]


def test_a_deployment_writes_and_prepares_and_takes_what_templates_add() -> None:
    raid = RAID | {"priority": 90, "args": {"size": 1}}
    steps = node_step.deploying([RAID, META | {"priority": 0}], [raid], [])
    assert names(steps) == ["create_configuration", "write_image", "prepare_instance_boot"]
    assert steps[0]["args"] == {"size": 1}
    last = node_step.deploying([RAID], [raid], [RAID | {"priority": 70, "args": {"level": 5}}])
    assert names(last) == ["write_image", "create_configuration", "prepare_instance_boot"]
    assert last[1]["args"] == {"size": 1, "level": 5}
    with pytest.raises(Invalid, match="no deploy step 'magic'"):
        node_step.deploying([], [], [{"interface": "deploy", "step": "magic", "priority": 1, "args": {}}])


def test_automated_cleaning_always_erases() -> None:
    assert names(node_step.cleaning([ERASE, META, RAID], {})) == ["erase_devices_metadata", "erase_devices"]
    assert names(node_step.cleaning([ERASE, META], {"deploy.erase_devices": 0})) == ["erase_devices_metadata"]
    for ramdisk, override in (([RAID], {}), ([META], {"deploy.erase_devices_metadata": 0})):
        with pytest.raises(Invalid, match="no step that erases"):
            node_step.cleaning(ramdisk, override)


def test_manual_steps_keep_their_order() -> None:
    asked = [{"interface": "deploy", "step": "hold"}, RAID | {"args": {"a": 1}}, META]
    assert names(node_step.manual(asked, [META, RAID], "clean")) == names(asked)


@pytest.mark.parametrize(
    ("tlvs", "link"),
    [
        ([[1, "04525401000002"], [2, "05626d312d30"], [5, "746f7231"]],
         {"switch_id": "52:54:01:00:00:02", "port_id": "bm1-0", "switch_info": "tor1"}),
        ([[1, "04525401000002"], [2, "03525402000001"]],
         {"switch_id": "52:54:01:00:00:02", "port_id": "52:54:02:00:00:01"}),
        ([[1, "04525401000002"]], {}),
        ([[1, "zz"], [2], "x", [2, ""]], {}),
    ],
)  # fmt: skip
def test_lldp_names_a_switch_port(tlvs: list[Any], link: dict[str, str]) -> None:
    assert link_of(tlvs) == link


def test_the_root_disk_is_the_smallest_that_is_large_enough() -> None:
    disks = [{"size": 1 << 30}, {"size": 500 << 30}, {"size": 100 << 30}]
    assert properties({"disks": disks, "cpu": {"count": 4}}) == {"local_gb": 99, "cpus": 4}


def test_a_hash_that_the_shadow_file_takes() -> None:
    known = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
    assert hashed("Hello world!", "saltstring") == known
    assert hashed("x") != hashed("x")


async def test_a_configdrive_in_parts_is_made_into_one() -> None:
    made = await drive({"meta_data": {"hostname": "one"}, "user_data": "#!/bin/sh"})
    assert made is not None
    image = gzip.decompress(base64.b64decode(made))
    assert b"#!/bin/sh" in image and b'"hostname":"one"' in image
    assert await drive("http://x.test/drive") == "http://x.test/drive" and await drive(None) is None


def test_steps_begin_once_and_end_once() -> None:
    steps: node_progress.Steps = []
    node_progress.begin(steps, "dhcp")
    assert node_progress.begin(steps, "dhcp", "still") is steps[0] and len(steps) == 1
    assert node_progress.unfinished(steps) == ["dhcp"]
    assert node_progress.finish(steps, "dhcp") is not None and node_progress.finish(steps, "dhcp") is None
    assert (steps[0]["result"], steps[0]["message"]) == ("Success", "still")


def _spoken(*begun: str, ended: tuple[str, ...] = ()) -> dict[str, tuple[bool, str]]:
    """Steps after the ramdisk has spoken -> whether they took any time, what is said of them; in order."""
    steps: node_progress.Steps = []
    for name in begun:
        node_progress.begin(steps, name)["started_at"] = "2026-01-01T00:00:00.000000Z"
    for name in ended:
        node_progress.finish(steps, name, message="heard")
    node_progress.spoke(steps)
    assert not node_progress.unfinished(steps)
    return {step["step"]: (step["finished_at"][:19] > step["started_at"][:19], step["message"]) for step in steps}


def test_a_step_that_cannot_be_told_apart_says_so_and_has_no_time() -> None:
    cd = _spoken("ramdisk")
    assert list(cd) == ["ramdisk", "dhcp"]
    assert cd["ramdisk"] == (True, "the ramdisk runs")
    assert not cd["dhcp"][0] and "not told apart from `ramdisk`" in cd["dhcp"][1]
    unheard = _spoken("dhcp")
    assert unheard["dhcp"][0] and not unheard["ramdisk"][0]
    heard = _spoken("dhcp", "ramdisk", ended=("dhcp", "ramdisk"))
    assert {said for _, said in heard.values()} == {"heard"}
