"""What the owner of a Server is told of its Node's trouble."""

import pytest

from hagane.reconcile.server_node_words import MOST, public

NODE = {"driver_info": {"redfish_address": "https://bmc7.oob.example:8443", "ipmi_address": "bmc7-lan", "x": 1}}


@pytest.mark.parametrize(("text", "told"), [
    ("https://172.30.1.11: no answer from the BMC", "no answer from the BMC"),
    ("172.30.1.13: the BMC refuses the user name or the password", "the BMC refuses the user name or the password"),
    ("fd00:1::b: no answer from the BMC", "no answer from the BMC"),
    ("https://bmc7.oob.example:8443: took the order", "took the order"),
    ("bmc7-lan: the BMC is busy", "the BMC is busy"),
    ("Failed to verify. Error: 172.30.1.13: the BMC is busy", "Failed to verify. Error: the BMC is busy"),
    ("location: http://172.30.16.2/image/gAAAAAB, disk /dev/sda", "location: (address), disk /dev/sda"),
    ("Nic 52:54:02:00:01:00 is at 10.1.2.3:9999 or [fd00::1]:80.", "Nic (address) is at (address) or (address)."),
    ("Timeout reached (900 s). It says nothing. The last lines of its console: secret 10.0.0.1",
     "Timeout reached (900 s). It says nothing."),
    ("from 12:30:45 to 12:31:00.5, version 9.1.0: 3.5 of 48 MB",
     "from 12:30:45 to 12:31:00.5, version 9.1.0: 3.5 of 48 MB"),
    ("Image failed to verify against checksum.\n  expected: ab12",
     "Image failed to verify against checksum. expected: ab12"),
    ("Timeout reached while waiting for network: port bm1-0 of switch tor1 is not in VLAN 101 yet: Switch tor1 at rack7\n"
     "does not answer.", "Timeout reached while waiting for network: a switch is not ready for it yet"),
    ("port e1 of switch tor 1 is not in VLAN None yet", "a switch is not ready for it yet"),
    ("Port 8d7c is not up on gateway gw-rack7 yet: connecting to gw-rack7", "Port 8d7c is not up yet"),
    ("It has not called back yet. There is no carrier on port e1 and e2 of switch tor1, port x of switch tor2: is the "
     "cable plugged in?", "It has not called back yet. There is no carrier on its port: is the cable plugged in?"),
    ("Host r7-c12 is down: r7-c12 does not answer", "Its Host is down."),
    ("Host r7-c12 is busy with other machines.", "Its Host is busy with other machines."),
    ("5 Ports wait for the machine", "5 Ports wait for the machine"),
])  # fmt: skip
def test_the_cause_without_addresses(text: str, told: str) -> None:
    assert public(text, NODE) == told


def test_no_novel() -> None:
    assert len(public("word " * 1000)) <= MOST + 3
