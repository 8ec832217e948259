"""Hearing a machine from another namespace: real packets on a cable between two namespaces."""

import asyncio
import subprocess
from collections.abc import Iterator
from uuid import uuid4

import pytest

from hagane.drivers.metadata.ear import Ear, Sign

pytestmark = pytest.mark.real

MAC, IP, HERE = "52:54:02:00:00:01", "10.66.0.5", "10.66.0.2"


def _ip(*words: str) -> None:
    subprocess.run(("ip", *words), check=True, capture_output=True)


@pytest.fixture
def spaces() -> Iterator[tuple[str, str]]:
    """(listening, machine): two namespaces and a cable; the machine has no address yet."""
    tail = uuid4().hex[:6]
    names = (f"ear-{tail}", f"machine-{tail}")
    for name in names:
        _ip("netns", "add", name)
    try:
        _ip("-n", names[0], "link", "add", "meta0", "type", "veth", "peer", "name", "eth0", "netns", names[1])
        _ip("-n", names[0], "address", "add", f"{HERE}/24", "dev", "meta0")
        _ip("-n", names[1], "link", "set", "eth0", "address", MAC)
        for name, interface in zip(names, ("meta0", "eth0"), strict=True):
            _ip("-n", name, "link", "set", interface, "up")
        yield names
    finally:
        for name in names:
            subprocess.run(("ip", "netns", "delete", name), check=False, capture_output=True)


async def test_a_machine_is_heard_when_it_has_its_address(spaces: tuple[str, str]) -> None:
    listening, machine = spaces
    ear, heard = await Ear.open(listening, "meta0"), list[Sign]()
    try:
        waiting = asyncio.create_task(ear.wait(MAC, IP, heard.append, every=0.1))
        await asyncio.sleep(0.5)
        assert not heard
        _ip("-n", machine, "address", "add", f"{IP}/24", "dev", "eth0")
        async with asyncio.timeout(20):
            await waiting
        assert heard[-1] is Sign.PACKET
    finally:
        ear.close()


async def test_its_own_question_is_heard_where_pings_are_not(spaces: tuple[str, str]) -> None:
    listening, machine = spaces
    ear, heard = await Ear.open(listening, "meta0"), asyncio.Queue[Sign]()
    try:
        waiting = asyncio.create_task(ear.wait(MAC, IP, heard.put_nowait, every=0.1))
        # It answers no ping to an address of its own, and asks for a neighbour that is not there.
        subprocess.run(("ip", "netns", "exec", machine, "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1"), check=True)
        _ip("-n", machine, "address", "add", f"{IP}/24", "dev", "eth0")
        command = ("ip", "netns", "exec", machine, "ping", "-c1", "-W1", "10.66.0.99")
        asking = asyncio.create_task(asyncio.to_thread(subprocess.run, command, capture_output=True))
        async with asyncio.timeout(20):
            assert await heard.get() is Sign.ADDRESS
        await asking
        assert heard.empty()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    finally:
        ear.close()
