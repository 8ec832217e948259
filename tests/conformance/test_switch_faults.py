"""What goes wrong with a switch, on every emulator: the driver says it in words, and once it is over all ends well."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest

from hagane.drivers.switch import make, ssh
from hagane.drivers.switch.base import Switch, SwitchAccess, SwitchDesired, SwitchGroup, SwitchPort
from hagane.errors import DeviceFailed, Invalid, Unavailable
from hagane.lab.switch.box import Box
from tests.conformance.switches import EMULATED, EmulatedRig

Opener = Callable[..., AbstractAsyncContextManager[EmulatedRig]]


@pytest.fixture(params=sorted(EMULATED))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def rig(family: str) -> AsyncIterator[EmulatedRig]:
    async with EMULATED[family]() as made:
        yield made


def another(family: str, rig: EmulatedRig, *, timeout: float = 10.0, **options: str) -> Switch:
    """A driver of the same switch with other settings; the rig's own is no longer used."""
    access = rig.access
    return make(
        family.removesuffix("-running"), replace(access, timeout=timeout, options={**access.options, **options})
    )


def want(rig: EmulatedRig, first: int = 1001, ports: int = 4) -> SwitchDesired:
    return SwitchDesired({name: SwitchPort(native=first + i) for i, name in enumerate(rig.ports[:ports])})


def shown(rig: EmulatedRig, desired: SwitchDesired, seen: dict[str, SwitchPort]) -> bool:
    return all(replace(seen[name], mtu=None) == port for name, port in desired.ports.items())


async def ends_well(driver: Switch, rig: EmulatedRig, foreign: object) -> None:
    """With the fault over, the same call ends as wanted, in at most one commit more, and then nothing is left."""
    fault = rig.faults
    fault.drop_after, fault.hang, fault.silent, fault.locked, fault.slow = None, False, False, "", 0.0
    fault.refuse = fault.ignore = frozenset()
    desired = want(rig)
    seen = await driver.apply(desired)
    assert shown(rig, desired, dict(seen.ports)) and seen.commits <= 1
    assert (await driver.apply(desired)).commits == 0
    assert await rig.foreign_state() == foreign
    rig.box.reboot()
    assert (await driver.apply(desired)).commits == 0, "it was not saved"


async def test_slow_switch_is_waited_for(rig: EmulatedRig) -> None:
    rig.faults.slow = 0.005
    assert shown(rig, want(rig), dict((await rig.driver.apply(want(rig))).ports))


async def test_silent_switch_is_unavailable(family: str, rig: EmulatedRig) -> None:
    driver, foreign = another(family, rig, timeout=0.15), await rig.foreign_state()
    rig.faults.silent = True
    with pytest.raises(Unavailable, match="did not answer"):
        await driver.read()
    rig.faults.silent = False
    await driver.close()
    await ends_well(rig.driver, rig, foreign)


async def test_hang_in_the_middle_of_a_commit(family: str, rig: EmulatedRig) -> None:
    driver, foreign = another(family, rig, commit_timeout="0.3"), await rig.foreign_state()
    rig.faults.hang = True
    with pytest.raises(Unavailable, match="did not answer"):
        await driver.apply(want(rig))
    await driver.close()
    await ends_well(rig.driver, rig, foreign)


async def test_connection_drops_after_any_line(rig: EmulatedRig) -> None:
    """Everywhere between the first line and the last, until the call gets through."""
    foreign, number, drops = await rig.foreign_state(), 0, 0
    await rig.driver.apply(want(rig, ports=2))
    for number in range(200):
        rig.faults.drop_after = number
        try:
            await rig.driver.apply(want(rig, 1101 + 10 * (number % 2), 2))
        except Unavailable:
            drops += 1
        else:
            break
        finally:
            rig.faults.drop_after = None
    assert drops >= 3 and drops == number
    await ends_well(rig.driver, rig, foreign)


async def test_wrong_password_is_told_and_never_shown(rig: EmulatedRig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    rig.faults.password = True
    with pytest.raises(DeviceFailed, match="refuses the user 'admin' or the password") as failed:
        await rig.driver.apply(want(rig))
    assert "secret" not in f"{failed.value!r} {failed.value.detail} {failed.value.extra} {rig.access!r} {caplog.text}"
    rig.faults.password = False
    await ends_well(rig.driver, rig, await rig.foreign_state())


async def test_refused_port_is_named_in_the_switches_words(rig: EmulatedRig) -> None:
    foreign, bad, desired = await rig.foreign_state(), rig.ports[1], want(rig)
    rig.faults.refuse = frozenset({bad})
    with pytest.raises(DeviceFailed, match=bad) as failed:
        await rig.driver.apply(desired)
    assert set(failed.value.extra["ports"]) == {bad} and rig.words in str(failed.value)
    seen = dict((await rig.driver.read()).ports)
    assert shown(rig, SwitchDesired({n: p for n, p in desired.ports.items() if n != bad}), seen)
    assert seen[bad].native != desired.ports[bad].native
    await ends_well(rig.driver, rig, foreign)


async def test_refused_group_takes_its_members_along(rig: EmulatedRig) -> None:
    rig.faults.refuse = frozenset({rig.group})
    ports = {rig.short: SwitchPort(group=rig.group), rig.ports[1]: SwitchPort(native=1002)}
    with pytest.raises(DeviceFailed) as failed:
        await rig.driver.apply(SwitchDesired(ports, {rig.group: SwitchGroup(1001)}))
    assert set(failed.value.extra["ports"]) == {rig.short, rig.group}
    assert (await rig.driver.read([rig.ports[1]])).ports[rig.ports[1]].native == 1002


async def test_options_that_are_none_are_refused(family: str) -> None:
    driver = make(family.removesuffix("-running"), SwitchAccess("192.0.2.1", 0, options={"commit_timeout": "soon"}))
    with pytest.raises(Invalid, match="commit_timeout"):
        await driver.read()


async def test_a_lie_is_found_by_reading_back(rig: EmulatedRig) -> None:
    foreign, bad, desired = await rig.foreign_state(), rig.ports[2], want(rig)
    rig.faults.ignore = frozenset({bad})
    with pytest.raises(DeviceFailed, match=bad) as failed:
        await rig.driver.apply(desired)
    assert set(failed.value.extra["ports"]) == {bad} and "instead of 1003" in str(failed.value)
    others = SwitchDesired({n: p for n, p in desired.ports.items() if n != bad})
    assert shown(rig, others, dict((await rig.driver.read()).ports))
    await ends_well(rig.driver, rig, foreign)


async def test_locked_configuration_is_tried_again_later(rig: EmulatedRig) -> None:
    foreign = await rig.foreign_state()
    rig.faults.locked = "operator"
    with pytest.raises(Unavailable, match="lock"):
        await rig.driver.apply(want(rig))
    assert await rig.commits() == 0
    await ends_well(rig.driver, rig, foreign)


async def test_reboot_loses_what_was_not_saved(family: str, rig: EmulatedRig) -> None:
    driver = another(family, rig, save="no")
    await driver.apply(want(rig))
    rig.server.reboot()
    assert (await driver.read([rig.ports[0]])).ports[rig.ports[0]].native != 1001
    assert (await driver.apply(want(rig))).commits == 1
    await driver.close()


async def test_what_another_process_left_unsaved_is_saved(family: str, rig: EmulatedRig) -> None:
    """A process that ends between the commit and the save leaves a switch as this option does."""
    hasty = another(family, rig, save="no")
    await hasty.apply(want(rig))
    await hasty.close()
    assert (await rig.driver.apply(want(rig))).commits == 0
    rig.server.reboot()
    assert (await rig.driver.apply(want(rig))).commits == 0


async def test_switch_that_is_not_there(family: str, rig: EmulatedRig) -> None:
    await rig.server.stop()
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
        await rig.driver.read()


async def test_host_key_is_checked_before_a_password_goes(family: str, rig: EmulatedRig) -> None:
    for option in ("", "SHA256:somethingelse"):
        driver = another(family, rig, host_key=option)
        with pytest.raises(DeviceFailed, match=rig.server.fingerprint.replace("+", r"\+")):
            await driver.read()
        await driver.close()


async def test_host_key_met_first_is_kept(family: str, rig: EmulatedRig, monkeypatch: pytest.MonkeyPatch) -> None:
    first: dict[tuple[str, int], str] = {}
    monkeypatch.setattr(ssh, "_first_keys", first)
    driver = another(family, rig, host_key="first")
    await driver.read()
    await driver.close()
    assert first == {("127.0.0.1", rig.server.port): rig.server.fingerprint}
    first[("127.0.0.1", rig.server.port)] = "SHA256:another"
    with pytest.raises(DeviceFailed, match="not trusted"):
        await driver.read()


async def test_calls_at_once_go_one_after_the_other(rig: EmulatedRig) -> None:
    calls = [rig.driver.apply(want(rig, 1001 + 10 * i)) for i in range(3)]
    await asyncio.gather(*calls, rig.driver.read())
    assert await rig.commits() == 3
    assert shown(rig, want(rig, 1021), dict((await rig.driver.read()).ports))


async def test_cancelled_call_leaves_nothing_behind(rig: EmulatedRig) -> None:
    foreign = await rig.foreign_state()
    rig.faults.hang = True
    call = asyncio.create_task(rig.driver.apply(want(rig)))
    await asyncio.sleep(0.2)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await ends_well(rig.driver, rig, foreign)


@pytest.mark.parametrize("password", ["secret", "another"])
async def test_privilege_is_raised_with_the_password(password: str) -> None:
    """And a banner that looks like prompts, with colours, confuses nobody."""
    async with EMULATED["eos"]() as rig:
        assert isinstance(rig.box, Box)
        rig.box.enable, rig.box.banner = password, "#####\r\nleaf9# is \x1b[31mnot\x1b[0m this one>\r\n#####\r\n"
        if password == rig.access.password:
            assert (await rig.driver.apply(want(rig))).commits == 1
        else:
            with pytest.raises(DeviceFailed, match="privileged mode required") as failed:
                await rig.driver.apply(want(rig))
            assert "secret'" not in repr(failed.value)
