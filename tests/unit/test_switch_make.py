"""The registry of switch families: each is found by its name, and loaded only when it is used."""

import subprocess
import sys

import pytest

from hagane.drivers.switch import FAMILIES, group_name, make
from hagane.drivers.switch.base import SwitchAccess
from hagane.errors import Invalid


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_each_family_is_made(family: str) -> None:
    driver = make(family, SwitchAccess("192.0.2.1", 0, "admin", "secret"))
    assert all(callable(getattr(driver, name)) for name in ("read", "apply", "watch", "close"))


def test_unknown_family_lists_the_known_ones() -> None:
    with pytest.raises(Invalid, match=r"'junos'.*eos, netconf, nxos, ovsdb, sim, sonic"):
        make("junos", SwitchAccess("192.0.2.1", 22))


def test_no_family_is_loaded_before_it_is_used() -> None:
    code = (
        "import sys, hagane.drivers.switch as s; from hagane.drivers.switch.base import SwitchAccess as A;"
        "made = s.make('eos', A('192.0.2.1', 22)); print('asyncssh' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], env={"PYTHONPATH": "src"}, text=True) == "False\n"


def test_groups_bear_the_families_own_names() -> None:
    names = [group_name(family, 1001) for family in ("eos", "nxos", "sonic", "netconf", "ovsdb")]
    assert names == ["Port-Channel1001", "port-channel1001", "PortChannel1001", "Port-Channel1001", "bond1001"]


def test_password_is_not_in_what_is_shown() -> None:
    access = SwitchAccess("192.0.2.1", 22, "admin", "secret")
    assert "secret" not in f"{access!r} {access}"
