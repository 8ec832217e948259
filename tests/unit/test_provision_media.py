"""CDs for BMCs over HTTP: whose URL is right gets the CD, and nobody else anything."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hagane.config import Config
from hagane.drivers.boot.iso import IsoParts
from hagane.errors import Invalid, NotFound
from hagane.reconcile.provision_media import Media

NODE: dict[str, Any] = {"id": "node-1", "driver_info": {"redfish_address": "https://127.0.0.1:8443"}}


class World:
    """A Media whose CDs consist of two small files; what BMCs took to the end."""

    def __init__(self, folder: Path, listen: str) -> None:
        self.folder = folder
        self.ended: list[tuple[str, bool]] = []
        for name in ("vmlinuz", "initrd"):
            (folder / name).write_bytes(name.encode() * 1000)
        self.config = Config(state=folder / "state", media_listen=listen)
        self.media = self.made()

    def made(self) -> Media:
        return Media(self.config, self.find, self.end, listens=True)

    async def find(self, node_id: str, network_id: str, role: str) -> Path:
        if node_id != "node-1":
            raise NotFound("there is no such node")
        parts = IsoParts(self.folder / "vmlinuz", self.folder / "initrd", f"{network_id} {role}")
        return await self.media.build(parts)

    def end(self, node_id: str, *, whole: bool) -> None:
        self.ended.append((node_id, whole))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    made = World(tmp_path, f"127.0.0.1:{port}")
    yield made
    await made.media.close()
    await asyncio.sleep(0.05)


async def test_a_bmc_takes_its_cd(world: World) -> None:
    url = world.media.url(NODE, "net", "cleaning")
    assert url == world.media.url(NODE, "net", "cleaning")
    async with httpx.AsyncClient() as client:
        whole = await client.get(url)
        assert (whole.status_code, whole.content[0x8001:0x8006]) == (200, b"CD001")
        part = await client.get(url, headers={"range": "bytes=32769-32773"})
        assert (part.status_code, part.content) == (206, b"CD001")
        for wrong in (
            re.sub(r"[0-9a-f]{32}", "0" * 32, url),
            url.replace("cleaning", "provisioning"),
            url.replace("node-1", "node-2"),
            url.rpartition("/")[0],
            url + "/x",
        ):
            assert (await client.get(wrong)).status_code == 404, wrong
        assert (await client.post(url)).status_code == 404
        gone = world.media.url({"id": "node-2", "driver_info": {}}, "net", "cleaning")
        assert (await client.get(gone)).status_code == 404
    assert world.ended == [("node-1", True), ("node-1", True)]


async def test_a_later_process_gives_the_same_cds(world: World) -> None:
    url = world.media.url(NODE, "net", "cleaning")
    await world.media.close()
    world.media = world.made()
    world.media.expect([NODE])
    async with httpx.AsyncClient() as client:
        assert (await client.get(url)).status_code == 200
    assert world.media.url(NODE, "net", "cleaning") == url


async def test_where_bmcs_see_us(tmp_path: Path) -> None:
    world = World(tmp_path, "")
    media = Media(world.config, world.find, world.end, listens=False)
    assert media.url(NODE, "net", "cleaning").startswith("http://127.0.0.1:8775/node-1/net/cleaning/")
    v6 = NODE | {"driver_info": {"redfish_address": "https://[::1]/redfish"}}
    assert media.url(v6, "net", "cleaning").startswith("http://[::1]:8775/")


async def test_no_row_keeps_the_process_from_starting(tmp_path: Path) -> None:
    """Who may edit a Node may write any address; and another program may have the port."""
    bad = NODE | {"driver_info": {"redfish_address": "https://[::1"}}
    media = World(tmp_path, "").media
    with pytest.raises(Invalid, match="is no URL"):
        media.url(bad, "net", "cleaning")
    media.expect([bad])
    World(tmp_path, "192.0.2.77:8775").media.expect([NODE])


async def test_an_address_that_is_not_ours(tmp_path: Path) -> None:
    media = World(tmp_path, "192.0.2.77:8775").media
    with pytest.raises(Invalid, match="Set media_listen"):
        media.url(NODE, "net", "cleaning")
