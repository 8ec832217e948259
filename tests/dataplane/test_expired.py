"""A packet that meets an expired connection does not kill the switch (`hagane.lab.ovs.without_zero_snat` says how)."""

import asyncio
import sys
from pathlib import Path

import pytest

from hagane.lab import host, ovs
from hagane.lab.netns import inside
from hagane.lab.ovs import Ovs
from hagane.lab.process import pid_of, run
from tests.dataplane.hostlab import lab, nb, plug, reaches, site

pytestmark = pytest.mark.real

ONE, TWO = "10.0.0.11", "10.0.0.12"
SEND = (
    f'import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(("{ONE}", 5555)); s.sendto(b"x", ("{TWO}", 9))'
)
ZONES = range(1, 9)  # as many as ovn-controller can give to two Ports and a network
EXPIRED = 1.5  # seconds; the switch sweeps less often


async def test_a_packet_after_its_connection_expired(tmp_path: Path) -> None:
    where = site(tmp_path, "hgct", "host1")
    async with lab(where) as address:
        place = host.switch(where, "host1")
        await _expire_soon(place)
        await nb(address, "ls-add", "net", "--", "acl-add", "net", "from-lport", "1000", "ip", "allow-related")
        spaces = []
        for number, ip in enumerate((ONE, TWO), 1):
            mac, port = f"02:00:00:00:00:0{number}", f"p{number}"
            await nb(address, "lsp-add", "net", port, "--", "lsp-set-addresses", port, f"{mac} {ip}")
            spaces.append(await plug(where, "host1", port, mac, f"{ip}/24"))
        assert await reaches(spaces[0], TWO)
        switch = ovs.daemons(place)[1]
        before = pid_of(switch)
        await run(*inside(spaces[0], sys.executable, "-c", SEND))
        assert "sport=5555" in await run("ovs-appctl", "-t", f"{place.run}/ovs-vswitchd.ctl", "dpctl/dump-conntrack")
        await asyncio.sleep(EXPIRED)
        await run(*inside(spaces[0], sys.executable, "-c", SEND))
        await asyncio.sleep(0.5)
        assert before is not None
        assert pid_of(switch) == before


async def _expire_soon(place: Ovs) -> None:
    """A connection of one UDP packet lives for a second (half a minute otherwise)."""
    if await ovs.datapath() == "netdev":
        words = [("--", "add-zone-tp", "netdev", f"zone={zone}", "udp_first=1", "udp_single=1") for zone in ZONES]
        await ovs.vsctl(place, *(word for zone in words for word in zone))
