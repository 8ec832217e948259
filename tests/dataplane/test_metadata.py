"""Metadata Ports on a real switch and a real OVN: two networks with the same addresses, seen from their machines."""

import asyncio
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hagane.drivers.metadata import space
from hagane.drivers.metadata.base import Endpoint, Question, Reply
from hagane.drivers.metadata.netns import NetnsMetadata
from hagane.drivers.metadata.plug import Switch
from hagane.lab import machine
from hagane.lab.machine import SiteAddress
from hagane.lab.netns import batch
from hagane.lab.process import run
from hagane.lab.site import Site
from tests.dataplane.hostlab import nb, plug, reaches, site

pytestmark = pytest.mark.real
NETS = ("11111111-aaaa-4aaa-8aaa-000000000001", "22222222-bbbb-4bbb-8bbb-000000000002")


async def echo(question: Question) -> Reply:
    return Reply(200, f"{question.network_id} {question.client} {question.target}".encode() + b"." * 20_000)


def endpoint(number: int) -> Endpoint:
    mac = f"fa:16:3e:00:00:0{number}"
    return Endpoint(NETS[number], f"meta-{number}", mac, 1442, ("10.0.0.2/24",))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, SiteAddress]]:
    where = site(tmp_path_factory.mktemp("lab"), "hgmeta", "host1", "host2")
    asyncio.run(machine.down(where))
    try:
        address = asyncio.run(machine.up(where, kvm=False))
        asyncio.run(networks(address))
        yield where, address
    finally:
        asyncio.run(machine.down(where))


async def networks(address: SiteAddress) -> None:
    """Two logical switches, each with its metadata Port."""
    for number in (0, 1):
        one = endpoint(number)
        await nb(address, "ls-add", f"net{number}", "--", "lsp-add", f"net{number}", one.port_id,
                 "--", "lsp-set-addresses", one.port_id, f"{one.mac} 10.0.0.2")  # fmt: skip


async def guest(where: Site, address: SiteAddress, net: int, host: str, last: int) -> str:
    """A machine that is only a namespace, with the route that DHCP would tell it."""
    port, mac = f"g{net}{last}", f"02:00:00:00:0{net}:{last:02x}"
    await nb(address, "lsp-add", f"net{net}", port, "--", "lsp-set-addresses", port, f"{mac} 10.0.0.{last}",
             "--", "lsp-set-port-security", port, mac)  # fmt: skip
    name = await plug(where, host, port, mac, f"10.0.0.{last}/24")
    await batch(name, "route replace 169.254.169.254/32 via 10.0.0.2 dev eth0")
    return name


async def curl(name: str, url: str = "http://169.254.169.254/openstack", *options: str) -> str:
    return await run("ip", "netns", "exec", name, "curl", "-sS", "--max-time", "2", "--retry", "9",
                     "--retry-all-errors", "--retry-delay", "1", *options, url)  # fmt: skip


def driver(address: SiteAddress) -> NetnsMetadata:
    host = address.hosts[0]
    return NetnsMetadata(Switch(host.ovs_db, host.netns, prefix="hgmeta"), echo)


async def test_each_machine_is_known_by_its_network_and_address(place: tuple[Site, SiteAddress]) -> None:
    where, address = place
    one, far, other = await asyncio.gather(
        guest(where, address, 0, "host1", 11), guest(where, address, 0, "host2", 12), guest(where, address, 1, "host2", 11)
    )  # fmt: skip
    meta = driver(address)
    started = time.perf_counter()
    assert await meta.apply([endpoint(0), endpoint(1)]) == {}
    first = time.perf_counter() - started
    assert (await curl(one)).startswith(f"{NETS[0]} 10.0.0.11 /openstack")
    assert (await curl(far)).startswith(f"{NETS[0]} 10.0.0.12 /openstack")
    assert (await curl(other)).startswith(f"{NETS[1]} 10.0.0.11 /openstack")
    assert len(await curl(far)) > 20_000  # TCP in full segments, through the tunnel
    link_local = await curl(one, "http://[fe80::a9fe:a9fe%25eth0]/openstack", "-g")
    assert link_local.startswith(f"{NETS[0]} fe80::")
    assert not await reaches(one, "10.0.0.99", seconds=1.0)

    started = time.perf_counter()
    assert await meta.apply([endpoint(0), endpoint(1)]) == {}
    assert time.perf_counter() - started < max(0.5, first)
    await meta.close()


async def test_a_restart_opens_sockets_in_what_is_there(place: tuple[Site, SiteAddress]) -> None:
    where, address = place
    one = await guest(where, address, 0, "host1", 21)
    old = driver(address)
    await old.apply([endpoint(0)])
    await curl(one)
    identity = space.identity("hgmeta-meta-11111111aaaa")
    both = driver(address)  # the next process, while the old one still runs
    assert await both.apply([endpoint(0)]) == {}
    await old.close()
    assert (await curl(one)).startswith(NETS[0])
    assert space.identity("hgmeta-meta-11111111aaaa") == identity
    await both.close()


async def test_what_is_broken_is_mended_and_what_is_not_wanted_goes(place: tuple[Site, SiteAddress]) -> None:
    where, address = place
    one = await guest(where, address, 0, "host2", 31)
    db, meta = f"--db={address.hosts[0].ovs_db}", driver(address)
    await meta.apply([endpoint(0), endpoint(1)])
    await curl(one)

    await run("ovs-vsctl", db, "del-port", "hm11111111aaaa")
    assert await meta.apply([endpoint(0), endpoint(1)]) == {}
    assert (await curl(one)).startswith(NETS[0])

    subprocess.run(["ip", "netns", "delete", "hgmeta-meta-11111111aaaa"], check=True)
    assert await meta.apply([endpoint(0), endpoint(1)]) == {}
    assert (await curl(one)).startswith(NETS[0])

    assert await meta.apply([]) == {}
    assert space.named("hgmeta-meta-") == []
    assert "hm11111111aaaa" not in await run("ovs-vsctl", db, "list-ports", "br-int")
    assert "hm11111111aaaa" not in await run("ip", "-n", where.netns("host1"), "-br", "link")
    await meta.close()


async def test_a_network_whose_addresses_change(place: tuple[Site, SiteAddress]) -> None:
    meta = driver(place[1])
    before = endpoint(0)
    await meta.apply([before])
    after = Endpoint(before.network_id, before.port_id, before.mac, before.mtu, ("10.0.0.3/24", "10.1.0.2/24"))
    assert await meta.apply([after]) == {}
    shown = await run("ip", "-n", "hgmeta-meta-11111111aaaa", "-br", "-4", "address", "show", "dev", "meta0")
    assert "10.0.0.3/24" in shown
    assert "10.1.0.2/24" in shown
    assert "10.0.0.2/24" not in shown
    await meta.apply([])
    await meta.close()


async def test_a_switch_that_does_not_answer_is_said(tmp_path: Path) -> None:
    meta = NetnsMetadata(Switch(f"unix:{tmp_path}/nothing", prefix="hgnone"), echo)
    with pytest.raises(Exception, match="failed"):
        await meta.apply([endpoint(0)])
