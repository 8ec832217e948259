"""What every switch driver does, on every switch that registers in `switches.py`. The cases are data."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from hagane.drivers.switch.base import SwitchDesired, SwitchGroup, SwitchPort
from hagane.errors import DeviceFailed
from tests.conformance.switches import RIGS, Rig


@pytest.fixture(params=sorted(RIGS))
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    async with RIGS[request.param](tmp_path) as made:
        yield made


@dataclass(frozen=True)
class Case:
    """States of port 0, 1, ... and of a group, brought about one after the other."""

    name: str
    states: tuple[dict[int, SwitchPort], ...]
    group: SwitchGroup | None = None
    needs: frozenset[str] = field(default_factory=frozenset)


def access(vlan: int, **more: object) -> SwitchPort:
    return replace(SwitchPort(native=vlan), **more)  # type: ignore[arg-type]


def trunk(*tagged: int, native: int | None = None, **more: object) -> SwitchPort:
    return replace(SwitchPort(native=native, tagged=frozenset(tagged)), **more)  # type: ignore[arg-type]


G = "the group"
CASES = (
    Case("an access port", ({0: access(1001)},)),
    Case("another VLAN", ({0: access(1001)}, {0: access(1002)})),
    Case("a trunk with a native VLAN", ({0: trunk(1001, 1002, native=1003)},)),
    Case("a trunk that drops untagged frames", ({0: trunk(1001, 1002)},)),
    Case("a native VLAN that goes", ({0: trunk(1001, native=1003)}, {0: trunk(1001)})),
    Case("a trunk that becomes an access port", ({0: trunk(1001, native=1002)}, {0: access(1001)})),
    Case("an access port that becomes a trunk", ({0: access(1001)}, {0: trunk(1001, 1005)})),
    Case("a port that leads nowhere", ({0: access(1001)}, {0: SwitchPort()})),
    Case("a port that is off", ({0: access(1001, enabled=False)}, {0: access(1001)})),
    Case("a long list of VLANs", ({0: trunk(*range(1001, 1301, 2))}, {0: trunk(*range(1002, 1102, 2))})),
    Case("an MTU", ({0: access(1001, mtu=9000)}, {0: access(1001, mtu=1500)}), needs=frozenset({"mtu"})),
    Case("four ports at once", ({i: access(1001 + i) for i in range(4)}, {i: access(1011 + i) for i in range(4)})),
    Case("ports that exchange their VLANs", ({0: access(1001), 1: access(1002)}, {0: access(1002), 1: access(1001)})),
    Case("a group", ({0: SwitchPort(group=G), 1: SwitchPort(group=G)},), SwitchGroup(1001, frozenset({1002, 1003}))),
    Case("a group without fallback", ({0: SwitchPort(group=G)},), SwitchGroup(1001, fallback=False)),
    Case("a group without LACP", ({0: SwitchPort(group=G)},), SwitchGroup(1001, lacp=False, fallback=False)),
    Case("a member that leaves", ({i: SwitchPort(group=G) for i in range(2)}, {0: SwitchPort(group=G), 1: access(1004)}), SwitchGroup(1001)),
    Case("a group that ends", ({0: SwitchPort(group=G)}, {0: access(1004)}), SwitchGroup(None, frozenset({1001}))),
)  # fmt: skip


def able(rig: Rig, case: Case) -> bool:
    """Whether this switch can have what the case is about."""
    if case.group and not (rig.group and (rig.static or case.group.lacp)):
        return False
    return rig.mtu or "mtu" not in case.needs


def desired(rig: Rig, case: Case, state: dict[int, SwitchPort]) -> SwitchDesired:
    ports = {rig.ports[i]: replace(port, group=rig.group if port.group else "") for i, port in state.items()}
    return SwitchDesired(ports, {rig.group: case.group} if case.group else {})


def carried(want: SwitchDesired, name: str) -> SwitchPort:
    """The port as `read` shows it: with its group's VLANs."""
    port = want.ports[name]
    group = want.groups.get(port.group)
    return replace(port, native=group.native, tagged=group.tagged) if group else port


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_state_comes_about(rig: Rig, case: Case) -> None:
    if not able(rig, case):
        # What a switch cannot have it refuses, by the port's name.
        with pytest.raises(DeviceFailed, match=rig.ports[0]):
            await rig.driver.apply(desired(rig, case, case.states[0]))
        return
    before = await rig.foreign_state()
    for state in case.states:
        want = desired(rig, case, state)
        applied = await rig.driver.apply(want)
        assert applied.commits == 1
        seen = await rig.driver.read(want.ports)
        for name in want.ports:
            port = seen.ports[name]
            assert (replace(port, mtu=None) if want.ports[name].mtu is None else port) == carried(want, name)
            assert applied.ports[name] == port
        commits = await rig.commits()
        assert (await rig.driver.apply(want)).commits == 0
        assert await rig.commits() == commits, "applying what is so changed something"
    assert await rig.foreign_state() == before


async def test_groups_are_seen_and_removed(rig: Rig) -> None:
    if not rig.group:
        return
    group = SwitchGroup(1001, frozenset({1002}))
    await rig.driver.apply(SwitchDesired({rig.ports[0]: SwitchPort(group=rig.group)}, {rig.group: group}))
    assert (await rig.driver.read()).groups[rig.group] == group
    await rig.driver.apply(SwitchDesired({rig.ports[0]: access(1003)}))
    assert rig.group not in (await rig.driver.read()).groups


async def test_group_changes_and_its_members_follow(rig: Rig) -> None:
    if not rig.group:
        return
    groups = [
        SwitchGroup(1001),
        SwitchGroup(1004, frozenset({1005}), fallback=False),
        SwitchGroup(None, frozenset({1006})),
    ]
    groups += [SwitchGroup(1001, lacp=False, fallback=False), SwitchGroup(1001)] if rig.static else []
    for group in groups:
        want = SwitchDesired({name: SwitchPort(group=rig.group) for name in rig.ports[:2]}, {rig.group: group})
        applied = await rig.driver.apply(want)
        assert applied.commits == 1 and applied.groups[rig.group] == group
        assert all(replace(applied.ports[name], mtu=None) == carried(want, name) for name in rig.ports[:2])
        assert (await rig.driver.apply(want)).commits == 0


async def test_vlans_are_made_when_needed_and_ours_removed(rig: Rig) -> None:
    if not rig.vlans:
        return
    before = await rig.made_vlans()
    await rig.driver.apply(SwitchDesired({rig.ports[0]: trunk(1001, 1002, native=1003), rig.ports[1]: access(1004)}))
    assert await rig.made_vlans() == before | {1001, 1002, 1003, 1004}
    # A port that is not ours has come to use 1001: that VLAN stays.
    await rig.other_hand(rig.ports[3], 1001)
    await rig.driver.apply(SwitchDesired({rig.ports[0]: access(1004)}))
    assert await rig.made_vlans() == before | {1001, 1004}


async def test_vlans_of_others_are_used_and_kept(rig: Rig) -> None:
    if not rig.vlans:
        return
    before = await rig.made_vlans()
    await rig.driver.apply(SwitchDesired({rig.ports[0]: access(88)}))
    await rig.driver.apply(SwitchDesired({rig.ports[0]: SwitchPort(enabled=False)}))
    assert await rig.made_vlans() == before


async def test_drift_is_seen_and_repaired(rig: Rig) -> None:
    want = SwitchDesired({name: access(1001 + i) for i, name in enumerate(rig.ports)})
    await rig.driver.apply(want)
    await rig.other_hand(rig.ports[2], 99)
    assert (await rig.driver.read(rig.ports)).ports[rig.ports[2]].native == 99
    applied = await rig.driver.apply(want)
    assert applied.commits == 1 and applied.ports[rig.ports[2]].native == 1003


async def test_restart_loses_nothing(rig: Rig) -> None:
    want = SwitchDesired({rig.ports[0]: access(1001), rig.ports[1]: trunk(1002, 1003)})
    await rig.driver.apply(want)
    await rig.restart()
    assert (await rig.driver.apply(want)).commits == 0


async def test_missing_port_is_named_and_holds_no_other(rig: Rig) -> None:
    want = {rig.ports[0]: access(1001), "no-such-port": access(1002), f"{rig.ports[1]}\nreload": access(1003)}
    with pytest.raises(DeviceFailed, match="no-such-port") as failed:
        await rig.driver.apply(SwitchDesired(want))
    assert set(failed.value.extra["ports"]) == {"no-such-port", f"{rig.ports[1]}\nreload"}
    seen = await rig.driver.read([rig.ports[0], "no-such-port"])
    assert set(seen.ports) == {rig.ports[0]} and seen.ports[rig.ports[0]].native == 1001


async def test_a_port_may_be_named_as_people_do(rig: Rig) -> None:
    await rig.driver.apply(SwitchDesired({rig.short: access(1001)}))
    assert (await rig.driver.read([rig.short])).ports[rig.short].native == 1001
    assert (await rig.driver.read([rig.ports[0]])).ports[rig.ports[0]].native == 1001


async def test_read_says_who_and_what_is_up(rig: Rig) -> None:
    seen = await rig.driver.read()
    assert {*rig.ports, rig.foreign} <= set(seen.ports)
    assert rig.ports[1] not in seen.up
    assert seen.chassis_id == seen.chassis_id.lower()


async def test_closed_driver_opens_again(rig: Rig) -> None:
    await rig.driver.read()
    await rig.driver.close()
    await rig.driver.close()
    assert rig.ports[0] in (await rig.driver.read()).ports
