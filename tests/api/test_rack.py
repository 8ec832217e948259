"""Racks as one document, and `hagane enroll`."""

from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from hagane import process
from hagane.errors import HaganeError, Invalid
from hagane.operate.enroll import enroll
from hagane.operate.enroll_file import load
from tests.support import PASSWORD, Running

SWITCH: dict[str, Any] = {"name": "tor1", "driver": "sim", "chassis_id": "52:54:01:00:00:0A", "password": "hush"}
GATEWAY: dict[str, Any] = {"name": "gw1", "ovsdb": "sim:gw1", "switch": "tor1", "switch_port": "up1"}
RACK: dict[str, Any] = {"physical_network": "rack1", "vlans": "1001-1009", "switches": [SWITCH], "gateways": [GATEWAY]}
PATH = "/hagane/v1/racks/rack1"
FILE = """
[rack]
name = "rack7"
physical_network = "rack7"
vlans = "1001-1009"
[[switch]]
name = "tor7"
driver = "sim"
chassis_id = "52:54:01:00:07:00"
password = "hush"
[[gateway]]
name = "gw7"
ovsdb = "sim:gw7"
switch = "tor7"
switch_port = "up1"
[[node]]
name = "bm1"
driver = "ipmi"
resource_class = "bm.small"
traits = ["CUSTOM_FAST"]
[node.driver_info]
ipmi_address = "127.0.0.7"
ipmi_username = "admin"
ipmi_password = "calvin"
[node.properties]
capabilities = "boot_mode:bios"
[[node.nic]]
mac = "52:54:02:00:07:01"
switch = "tor7"
port = "bm1-0"
[[node.nic]]
mac = "52:54:02:00:07:02"
pxe = false
"""


def test_document_is_kept_and_its_secrets_are_not_shown(http: httpx.Client) -> None:
    first = http.put(PATH, json=RACK)
    assert first.status_code == 200, first.text
    assert first.json()["done"] == ["rack rack1 made", "switch tor1 made", "gateway gw1 made"]
    assert "hush" not in first.text
    assert http.put(PATH, json=RACK).json()["done"] == []
    without = RACK | {"switches": [{k: v for k, v in SWITCH.items() if k != "password"}]}
    assert http.put(PATH, json=without).json()["done"] == []  # left out: as it was
    assert http.put(PATH, json=RACK | {"switches": [SWITCH | {"password": "other"}]}).json()["done"] == [
        "switch tor1 changed"
    ]
    shown = http.get(PATH)
    assert "other" not in shown.text
    [switch] = shown.json()["rack"]["switches"]
    assert switch["secrets_kept"] and switch["chassis_id"] == "52:54:01:00:00:0a"
    assert http.get("/hagane/v1/racks").json()["racks"][0]["name"] == "rack1"
    assert http.put(PATH, json=RACK | {"gateways": []}).json()["done"][-1] == "gateway gw1 removed"
    assert http.delete(PATH).status_code == 204
    assert http.get(PATH).status_code == 404


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (RACK | {"vlans": "1001-5000"}, "vlans must be FIRST-LAST within 2-4094"),
        (RACK | {"wheels": 4}, "unknown field `wheels`"),
        (RACK | {"switches": [SWITCH | {"driver": "abacus"}]}, "there is no driver 'abacus'; there are: eos,"),
        (RACK | {"switches": [SWITCH | {"driver": "eos"}]}, "Switch tor1 needs an address"),
        (RACK | {"switches": [SWITCH, SWITCH]}, "names switch tor1 twice"),
        (RACK | {"gateways": [GATEWAY | {"ovsdb": "gw1"}]}, "is no OVSDB remote"),
        (RACK | {"gateways": [GATEWAY | {"ovsdb": "ssl:10.0.0.1:6640"}]}, "is no OVSDB remote that can be used"),
        (RACK | {"gateways": [GATEWAY | {"switch": "tor9"}]}, "hangs on switch tor9, which rack rack1 has not"),
        (RACK | {"gateways": [GATEWAY | {"switch_port": ""}]}, "switch and switch_port go together"),
        (RACK | {"name": "rack2"}, "is of rack rack2, and not of rack1"),
        ([], "cannot be used"),
    ],
)
def test_refusals_say_where_and_why(http: httpx.Client, body: Any, says: str) -> None:
    answer = http.put(PATH, json=body)
    assert answer.status_code == 400, answer.text
    assert says in answer.json()["error"]["message"]
    assert "hush" not in answer.text


def test_racks_do_not_share(http: httpx.Client) -> None:
    assert http.put(PATH, json=RACK).status_code == 200
    other = http.put("/hagane/v1/racks/rack2", json=RACK)
    assert (other.status_code, "is that of rack rack1" in other.text) == (409, True)
    other = http.put("/hagane/v1/racks/rack2", json=RACK | {"physical_network": "rack2"})
    assert (other.status_code, "Switch tor1 is in rack rack1 already" in other.text) == (409, True)
    assert http.get("/hagane/v1/racks/rack2").status_code == 404  # nothing of it was made
    assert http.delete(PATH).status_code == 204


# hagane enroll


@pytest.fixture
def file(cloud: Running, tmp_path: Path) -> Path:
    auth = {"username": "admin", "password": PASSWORD, "project_name": "admin", "user_domain_name": "Default",
            "project_domain_name": "Default"}  # fmt: skip
    (cloud.config.state / "clouds.yaml").write_text(yaml.safe_dump({"clouds": {"hagane": {"auth": auth}}}))
    process.write(cloud.config, cloud.url)
    made = tmp_path / "rack7.toml"
    made.write_text(FILE)
    return made


def test_enroll_and_again_and_changed(cloud: Running, http: httpx.Client, file: Path) -> None:
    assert list(enroll(cloud.config, file)) == [
        "rack rack7 made", "switch tor7 made", "gateway gw7 made", "network provisioning made (172.30.16.0/22)",
        "node bm1 made", "  nic 52:54:02:00:07:01 made (tor7 bm1-0)", "  nic 52:54:02:00:07:02 made",
        "Next: openstack baremetal node manage bm1",
    ]  # fmt: skip
    kept = [
        "rack rack7 kept", "network provisioning kept", "node bm1 kept", "  nic 52:54:02:00:07:01 kept (tor7 bm1-0)",
        "  nic 52:54:02:00:07:02 kept", "Next: openstack baremetal node manage bm1",
    ]  # fmt: skip
    assert list(enroll(cloud.config, file)) == kept
    headers = {"X-OpenStack-Ironic-API-Version": "latest"}
    node = http.get("/baremetal/v1/nodes/bm1", headers=headers).json()
    assert node["traits"] == ["CUSTOM_FAST"] and node["driver_info"]["ipmi_password"] == "******"
    [subnet] = http.get("/network/v2.0/subnets?name=provisioning-v4").json()["subnets"]
    assert (subnet["gateway_ip"], subnet["allocation_pools"][0]["start"]) == (None, "172.30.16.2")
    kept_digests = (cloud.config.state / "enrolled.json").read_text()
    assert "calvin" not in kept_digests
    file.write_text(FILE.replace("calvin", "hobbes").replace("bm1-0", "bm1-5").replace("bm.small", "bm.large"))
    changed = list(enroll(cloud.config, file))
    assert "node bm1 changed" in changed and "  nic 52:54:02:00:07:01 changed (tor7 bm1-5)" in changed
    assert [line for line in enroll(cloud.config, file) if "changed" in line or "made" in line] == []
    assert http.get("/baremetal/v1/nodes/bm1", headers=headers).json()["resource_class"] == "bm.large"


def test_enroll_says_what_is_refused(cloud: Running, file: Path) -> None:
    file.write_text(
        FILE.replace('driver = "ipmi"', 'driver = "abacus"').replace("bm1", "bm9").replace("07:01", "09:01")
    )
    with pytest.raises(HaganeError, match="abacus"):
        list(enroll(cloud.config, file))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "rack7"\n', "", "missing required field `name`"),
        ('mac = "52:54:02:00:07:02"', 'mac = "52:54:02:00:07:01"', "is named twice"),
        ('port = "bm1-0"\n', "", "switch and port go together"),
        ('switch = "tor7"\nport = "bm1-0"', 'switch = "tor8"\nport = "bm1-0"', "which has no chassis_id"),
        ('traits = ["CUSTOM_FAST"]', "wheels = 4", "unknown field `wheels`"),
    ],
)
def test_file_that_cannot_be_used(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(FILE.replace(old, new, 1))
    with pytest.raises(Invalid, match=says):
        load(path)
