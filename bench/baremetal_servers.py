"""A hundred bare-metal Servers ordered at once, on simulated Nodes whose machines need no time: Hagane's own share.

    python bench/baremetal_servers.py [--servers 100]

The same Nodes are deployed first by their own API alone, so that what compute adds (claiming, Ports, config drives,
following, events) is seen. The APIs are called without a socket.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from hagane.api.http import Caller, Request  # noqa: E402
from hagane.app import Hagane  # noqa: E402
from hagane.config import Config  # noqa: E402
from hagane.image.store import fill, new_image  # noqa: E402
from hagane.reconcile.devices import Devices  # noqa: E402
from hagane.reconcile.node_sim import Fleet  # noqa: E402

PROJECT = "p" * 32
NODE = {"driver": "fake-hardware", "deploy_interface": "direct", "resource_class": "bench"}
IMAGE = [{"op": "add", "path": "/instance_info",
          "value": {"image_source": "http://images.test/x.raw", "image_checksum": "0" * 64}}]  # fmt: skip


async def _authenticate(request: Request) -> Caller:
    roles = frozenset(("admin", "member", "reader"))
    return Caller(user_id="u" * 32, project_id=PROJECT, roles=roles)


class Bench:
    def __init__(self, hagane: Hagane) -> None:
        self.cloud, self.db = hagane.cloud, hagane.cloud.db
        headers = {"X-OpenStack-Ironic-API-Version": "1.104", "OpenStack-API-Version": "compute 2.96",
                   "X-Auth-Token": "x"}  # fmt: skip
        self._http = httpx.AsyncClient(
            transport=httpx.ASGITransport(hagane.app), base_url="http://cloud", headers=headers
        )

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self._http.request(method, path, json=body)
        if answer.is_error:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    async def until(self, sql: str, count: int) -> None:
        until = time.monotonic() + 300
        while int((await self.db.fetch_tuples(sql))[0][0]) != count:
            if time.monotonic() > until:
                raise RuntimeError(f"not {count}: {sql}")
            await asyncio.sleep(0.02)

    async def timed(self, work: Callable[[], Awaitable[Any]], sql: str, count: int) -> tuple[float, float]:
        """Seconds and CPU seconds until a count is reached."""
        started, used = time.perf_counter(), time.process_time()
        await work()
        await self.until(sql, count)
        return time.perf_counter() - started, time.process_time() - used

    # -- what there has to be ----------------------------------------------------------------------------------------

    async def nodes(self, count: int) -> list[str]:
        keys = []
        for number in range(count):
            keys.append((await self.call("POST", "/baremetal/v1/nodes", NODE))["uuid"])
            mac = f"52:54:09:{number >> 8:02x}:{number & 255:02x}:00"
            await self.call("POST", "/baremetal/v1/ports", {"node_uuid": keys[-1], "address": mac})
        for verb, state in (("manage", "manageable"), ("provide", "available")):
            await self.verb(keys, verb)
            await self.until(f"SELECT count(*) FROM node WHERE provision_state = '{state}'", count)
        return keys

    async def verb(self, keys: list[str], verb: str) -> None:
        for key in keys:
            await self.call("PUT", f"/baremetal/v1/nodes/{key}/states/provision", {"target": verb})

    async def shop(self) -> dict[str, Any]:
        image = await self.db.write(lambda tx: new_image(tx, name="x", owner=PROJECT, properties={}, disk_format="raw"))
        await fill(self.cloud, image, _zeros())
        flavor = {"name": "metal", "ram": 512, "vcpus": 1, "disk": 1, "id": "metal"}
        await self.call("POST", "/compute/v2.1/flavors", {"flavor": flavor})
        specs = {"extra_specs": {"resources:CUSTOM_BENCH": "1"}}
        await self.call("POST", "/compute/v2.1/flavors/metal/os-extra_specs", specs)
        quota = {"quota_set": {"instances": -1, "cores": -1, "ram": -1}}
        await self.call("PUT", f"/compute/v2.1/os-quota-sets/{PROJECT}", quota)
        quota = {"quota": {"port": -1}}
        await self.call("PUT", f"/network/v2.0/quotas/{PROJECT}", quota)
        network = (await self.call("POST", "/network/v2.0/networks", {"network": {"name": "n"}}))["network"]["id"]
        subnet = {"network_id": network, "cidr": "10.1.0.0/16", "ip_version": 4}
        await self.call("POST", "/network/v2.0/subnets", {"subnet": subnet})
        return {"name": "s", "imageRef": image, "flavorRef": "metal", "networks": [{"uuid": network}]}

    async def order(self, server: dict[str, Any], count: int) -> None:
        for _ in range(count):
            await self.call("POST", "/compute/v2.1/servers", {"server": server})

    async def end(self) -> None:
        for (key,) in await self.db.fetch_tuples("SELECT id FROM server"):
            await self.call("DELETE", f"/compute/v2.1/servers/{key}")


async def _zeros() -> AsyncIterator[bytes]:
    yield b"\0" * 4096


def show(name: str, value: str, note: str = "") -> None:
    print(f"  {name:<52}{value:>14}   {note}")


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="hagane-bench-") as folder:
        hagane = Hagane(Config(state=Path(folder), sim=True), Devices(fleet=Fleet()), _authenticate)
        await hagane.start()
        bench = Bench(hagane)
        keys, server = await bench.nodes(count), await bench.shop()
        for key in keys:
            await bench.call("PATCH", f"/baremetal/v1/nodes/{key}", IMAGE)
        active = "SELECT count(*) FROM node WHERE provision_state = 'active'"
        free = "SELECT count(*) FROM node WHERE provision_state = 'available'"
        alone, alone_cpu = await bench.timed(lambda: bench.verb(keys, "active"), active, count)
        await bench.timed(lambda: bench.verb(keys, "deleted"), free, count)
        running = "SELECT count(*) FROM server WHERE vm_state = 'active'"
        took, cpu = await bench.timed(lambda: bench.order(server, count), running, count)
        gone, _ = await bench.timed(bench.end, "SELECT count(*) FROM server", 0)
        await bench.until(free, count)
        await hagane.stop()
    print(f"{count} bare-metal Servers at once, {os.cpu_count()} cores, one process")
    show("Nodes deployed by their own API", f"{count / alone:.0f}/s", f"{alone_cpu / count * 1000:.1f} ms of CPU each")
    show("Servers ordered, deployed and ACTIVE", f"{count / took:.0f}/s", f"{cpu / count * 1000:.1f} ms of CPU each")
    show("the last is ACTIVE after", f"{took:.2f} s")
    show("compute's own share of a Server", f"{(cpu - alone_cpu) / count * 1000:.1f} ms", "of CPU")
    show("Hagane's own share of a deployment", f"{cpu / count * 1000:.1f} ms", "target: under 2 s")
    show("Servers deleted", f"{count / gone:.0f}/s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure Servers on bare metal.")
    parser.add_argument("--servers", type=int, default=100)
    asyncio.run(main(parser.parse_args().servers))
