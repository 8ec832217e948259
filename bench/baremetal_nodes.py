"""A thousand simulated Nodes through their whole life in one process, and ten thousand whose power is watched.

    python bench/baremetal_nodes.py [--nodes 1000] [--watched 10000] [--profile FILE]

Everything is the product's: API, store (SQLite), engine, the table of phases, the doors for ramdisks. Simulated are the
BMCs and the ramdisks, which need no time, so that what is left is Hagane's own share. The API is called without a
socket (one in-memory request each).
"""

import argparse
import asyncio
import cProfile
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from hagane.api.http import Caller, Request  # noqa: E402
from hagane.app import Hagane  # noqa: E402
from hagane.config import Config  # noqa: E402
from hagane.reconcile.devices import Devices  # noqa: E402
from hagane.reconcile.node import NodePart  # noqa: E402
from hagane.reconcile.node_sim import Fleet  # noqa: E402

DIRECT = {"driver": "fake-hardware", "deploy_interface": "direct", "resource_class": "bench"}
IMAGE = [{"op": "add", "path": "/instance_info",
          "value": {"image_source": "http://images.test/x.raw", "image_checksum": "0" * 64}}]  # fmt: skip
HEADERS = [
    (b"x-openstack-ironic-api-version", b"1.115"),
    (b"x-auth-token", b"x"),
    (b"content-type", b"application/json"),
]


async def _authenticate(request: Request) -> Caller:
    return Caller(user_id="u" * 32, system=True, roles=frozenset(("admin", "member", "reader")))


class Bench:
    def __init__(self, hagane: Hagane) -> None:
        self._app, self._db, self._fleet = hagane.app, hagane.cloud.db, hagane.cloud.use(NodePart).fleet

    def looks(self) -> int:
        """How often a BMC was asked for its power."""
        return self._fleet.asked

    async def call(self, method: str, path: str, body: Any = None, good: int = 200) -> Any:
        """One request without a socket."""
        sent: list[dict[str, Any]] = []
        data = b"" if body is None else json.dumps(body).encode()
        path, _, query = path.partition("?")
        scope = {"type": "http", "method": method, "path": "/baremetal/v1" + path, "query_string": query.encode(),
                 "headers": [*HEADERS, (b"content-length", b"%d" % len(data))], "scheme": "http",
                 "server": ("cloud", 80), "client": ("127.0.0.1", 1), "http_version": "1.1",
                 "root_path": ""}  # fmt: skip

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": data, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)  # type: ignore[arg-type]
        text = b"".join(message.get("body", b"") for message in sent)
        if sent[0]["status"] != good:
            raise RuntimeError(f"{method} {path}: {sent[0]['status']} {text[:500]!r}")
        return json.loads(text) if text else None

    async def all(self, work: Callable[[str], Awaitable[Any]], keys: list[str], at_once: int = 16) -> float:
        """Seconds for one call per key, so many at a time."""
        started, left = time.perf_counter(), iter(keys)

        async def worker() -> None:
            for key in left:
                await work(key)

        await asyncio.gather(*(worker() for _ in range(at_once)))
        return time.perf_counter() - started

    async def verb(self, keys: list[str], target: str, state: str) -> float:
        """Seconds until all are in a state."""
        started = time.perf_counter()
        asked = asyncio.create_task(self.all(lambda key: self._verb(key, target), keys))
        count = "SELECT count(*) FROM node WHERE provision_state = :state"
        while int((await self._db.fetch_tuples(count, {"state": state}))[0][0]) < len(keys) or not asked.done():
            if asked.done():
                asked.result()
            if time.perf_counter() - started > 300:
                raise RuntimeError(await self._stuck())
            await asyncio.sleep(0.02)
        return time.perf_counter() - started

    async def _verb(self, key: str, target: str) -> None:
        await self.call("PUT", f"/nodes/{key}/states/provision", {"target": target}, 202)

    async def _stuck(self) -> str:
        rows = await self._db.fetch("SELECT provision_state, last_error, count(*) AS n FROM node GROUP BY 1, 2 LIMIT 9")
        return f"not all arrived: {rows}"


async def cycle(bench: Bench, count: int) -> dict[str, float]:
    keys: list[str] = []

    async def create(_: str) -> None:
        keys.append((await bench.call("POST", "/nodes", DIRECT, 201))["uuid"])

    began = time.perf_counter()
    took = {"create": await bench.all(create, [""] * count)}
    took["manage"] = await bench.verb(keys, "manage", "manageable")
    took["provide"] = await bench.verb(keys, "provide", "available")
    took["image"] = await bench.all(lambda key: bench.call("PATCH", f"/nodes/{key}", IMAGE), keys)
    took["deploy"] = await bench.verb(keys, "active", "active")
    took["list"] = min([await listing(bench, count) for _ in range(3)])
    took["delete"] = await bench.verb(keys, "deleted", "available")
    took["remove"] = await bench.all(lambda key: bench.call("DELETE", f"/nodes/{key}", None, 204), keys)
    took["all"] = time.perf_counter() - began
    return took


async def listing(bench: Bench, count: int) -> float:
    """Seconds for all Nodes with details, page by page."""
    started = time.perf_counter()
    listed, url = 0, "/nodes/detail?limit=1000"
    while url:
        page = await bench.call("GET", url)
        listed, url = listed + len(page["nodes"]), page.get("next", "").partition("/baremetal/v1")[2]
    if listed != count:
        raise RuntimeError(f"{listed} of {count} Nodes listed")
    return time.perf_counter() - started


def show(name: str, value: str, against: str = "") -> None:
    print(f"  {name:<44}{value:>16}   {against}")


async def main(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="hagane-bench-") as folder:
        hagane = Hagane(Config(state=Path(folder), sim=True), Devices(fleet=Fleet()), _authenticate)
        await hagane.start()
        bench, count = Bench(hagane), arguments.nodes
        profile = cProfile.Profile() if arguments.profile else None
        if profile:
            profile.enable()
        took = await cycle(bench, count)
        if profile:
            profile.disable()
            profile.dump_stats(arguments.profile)
        print(f"{count} simulated Nodes, {os.cpu_count()} cores, one process")
        show("creates", f"{count / took['create']:.0f}/s", "Ironic 39: 100/s")
        show("enroll -> manageable", f"{count / took['manage']:.0f}/s")
        show("manageable -> available, cleaned", f"{count / took['provide']:.0f}/s")
        show("available -> active, deployed", f"{count / took['deploy']:.0f}/s", "target 50/s")
        show("list with details, best of three", f"{took['list'] * 1000:.0f} ms", "Ironic 39: 470 ms for 1,000")
        show("active -> available, deleted and cleaned", f"{count / took['delete']:.0f}/s")
        show("everything", f"{took['all']:.1f} s", "target 60 s for 1,000")
        show("full cycles", f"{count / took['all']:.1f}/s", "Ironic 39: 3.6/s")
        show("memory at most", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
        await watch(bench, arguments.watched)
        await hagane.stop()


async def watch(bench: Bench, count: int) -> None:
    """The CPU that looking at the power of so many Nodes takes, over half of the interval."""
    keys: list[str] = []

    async def create(_: str) -> None:
        keys.append((await bench.call("POST", "/nodes", DIRECT, 201))["uuid"])

    await bench.all(create, [""] * count)
    await bench.verb(keys, "manage", "manageable")
    used, looked = time.process_time(), bench.looks()
    await asyncio.sleep(30)
    share = (time.process_time() - used) / 30
    show(f"{count} Nodes, power read every 60 s", f"{share:.2f} cores", "target 0.5")
    show("looks", f"{(bench.looks() - looked) / 30:.0f}/s", f"{count / 60:.0f}/s are due")
    show("memory at most", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB", "target 400 MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure the life of Nodes.")
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--watched", type=int, default=10_000)
    parser.add_argument("--profile", default="")
    asyncio.run(main(parser.parse_args()))
