"""What a switch of a rack shall be, from its rows."""

from typing import Any

import pytest

from hagane.drivers.switch.base import SwitchGroup, SwitchPort
from hagane.reconcile.switch_plan import desired, trunks

SWITCH: dict[str, Any] = {"name": "tor1", "driver": "ovsdb", "uplinks": ["spine"]}
NIC: dict[str, Any] = {"name": "e1", "vlan": 1001, "native": 1001, "lag": False, "gone": False}


def gateway(name: str, state: str | None, switch: str = "tor1") -> dict[str, Any]:
    return {"name": name, "state": state, "switch": switch, "switch_port": name}


@pytest.mark.parametrize(
    ("gateways", "expected"),
    [
        ([], {"spine": True}),
        ([gateway("gw1", "up"), gateway("gw2", "up")], {"gw1": True, "gw2": True, "spine": True}),
        ([gateway("gw1", "down"), gateway("gw2", "up")], {"gw1": False, "gw2": True, "spine": True}),
        ([gateway("gw1", "down"), gateway("gw2", "up", "tor2")], {"gw1": False, "spine": True}),
        # None is up: it is rather we who do not see them.
        ([gateway("gw1", "down"), gateway("gw2", "down")], {"gw1": True, "gw2": True, "spine": True}),
        ([gateway("gw1", "down"), gateway("gw2", None)], {"gw1": True, "gw2": True, "spine": True}),
        ([gateway("gw1", None, ""), gateway("gw2", "up", "tor2")], {"spine": True}),
    ],
)
def test_trunks(gateways: list[dict[str, Any]], expected: dict[str, bool]) -> None:
    assert trunks(SWITCH, gateways) == expected


@pytest.mark.parametrize(
    ("row", "port", "groups"),
    [
        ({}, SwitchPort(native=1001), {}),
        ({"native": 77}, SwitchPort(native=77), {}),
        ({"gone": True, "native": None}, SwitchPort(), {}),
        ({"lag": True}, SwitchPort(native=1001, group="bond1001"), {"bond1001": SwitchGroup(native=1001)}),
        ({"lag": True, "gone": True, "native": None}, SwitchPort(), {}),
    ],
)
def test_ports(row: dict[str, Any], port: SwitchPort, groups: dict[str, SwitchGroup]) -> None:
    found = desired(SWITCH, [NIC | row], {}, frozenset())
    assert (found.ports, found.groups) == ({"e1": port}, groups)


def test_trunks_carry_all_our_vlans_and_nothing_untagged() -> None:
    found = desired(SWITCH, [], {"gw1": False, "spine": True}, frozenset({77, 1001}))
    assert found.ports["spine"] == SwitchPort(native=None, tagged=frozenset({77, 1001}))
    assert found.ports["gw1"].enabled is False
