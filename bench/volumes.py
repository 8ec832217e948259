"""Volumes: what a request costs, boots from volumes, and what the file backend needs for a copy of 1 TB.

python bench/volumes.py [--volumes 400]     simulated devices: the process by itself, clients beside it
python bench/volumes.py --real              a real Host and a guest (root): the cycle of a 10 GB volume, its copy,
                                            and the throughput in the guest beside that of the backing file
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from cloud import ROOT, Cloud
from report import Number, table

sys.path.insert(0, str(ROOT / "src"))

from measure import volume

from hagane.drivers.volume.base import Absent, FromVolume, Snapshot, Volume
from hagane.drivers.volume.file import FileVolumes

CLIENTS, PASSES, BOOTS = 8, 100, 100
LIMIT = 20.0  # ms for a call
PEER = {"create a volume": "Cinder: 46 ms", "show a volume": "Cinder: 16 ms", "list 100 in detail": "Cinder: 80 ms"}


def timed(label: str, call: Callable[[], httpx.Response], passes: int = PASSES) -> Number:
    taken = []
    for _ in range(passes):
        started = time.perf_counter()
        call().raise_for_status()
        taken.append((time.perf_counter() - started) * 1000)
    late = f"95 %: {sorted(taken)[int(passes * 0.95)]:.2f} ms"
    return Number(label, statistics.median(taken), "ms", LIMIT, more=False, peer=PEER.get(label, ""), note=late)


def requests(cloud: Cloud, count: int) -> list[Number]:
    headers = {"X-Auth-Token": cloud.token, "OpenStack-API-Version": "volume 3.70"}
    http = httpx.Client(base_url=f"http://127.0.0.1:{cloud.port}/volume/v3", headers=headers, timeout=60)
    unlimited = {"quota_class_set": {"volumes": -1, "gigabytes": -1}}
    http.put("/os-quota-class-sets/default", json=unlimited).raise_for_status()
    order = {"volume": {"size": 1, "name": "bench", "metadata": {"a": "b"}}}
    numbers = [timed("create a volume", lambda: http.post("/volumes", json=order))]
    key = http.get("/volumes?limit=1").json()["volumes"][0]["id"]
    numbers.append(timed("show a volume", lambda: http.get(f"/volumes/{key}")))
    numbers.append(timed("list 100 in detail", lambda: http.get("/volumes/detail?limit=100"), 30))

    def client(_: int) -> None:
        with httpx.Client(base_url=http.base_url, headers=headers, timeout=60) as own:
            for _ in range(count // CLIENTS):
                own.post("/volumes", json=order).raise_for_status()

    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))
    numbers.append(Number("volumes created by 8 clients", count / (time.perf_counter() - started), "/s"))
    while http.get("/volumes?status=creating&limit=1").json()["volumes"]:
        time.sleep(0.01)
    numbers.append(Number("  ... and made", count / (time.perf_counter() - started), "/s"))
    http.close()
    return numbers


def boots(cloud: Cloud) -> list[Number]:
    """Servers whose root disk is a volume of an image, all ordered at once."""
    order = _order(cloud)
    cpu, started = cloud.cpu(), time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda _: cloud.ask("POST", "/compute/v2.1/servers", order), range(BOOTS)))
    ordered = time.perf_counter() - started
    while len(found := _active(cloud)) < BOOTS:
        if time.perf_counter() - started > 300:
            raise RuntimeError(f"only {len(found)} of {BOOTS} servers are ACTIVE after five minutes")
        time.sleep(0.05)
    seconds = time.perf_counter() - started
    note = f"{(cloud.cpu() - cpu) / BOOTS * 1000:.0f} ms CPU each"
    return [
        Number(f"{BOOTS} boots from volumes, simulated", BOOTS / seconds, "/s", note=note),
        Number("  ... ordered", BOOTS / ordered, "/s", note="by 8 clients"),
    ]


def _active(cloud: Cloud) -> list[Any]:
    servers: list[Any] = cloud.ask("GET", "/compute/v2.1/servers?status=ACTIVE")["servers"]
    return servers


def _order(cloud: Cloud) -> dict[str, Any]:
    image = cloud.ask("POST", "/image/v2/images", {"name": "i", "container_format": "bare", "disk_format": "raw"})["id"]
    cloud.ask("PUT", f"/image/v2/images/{image}/file", b"x" * 65536)
    for path in ("/compute/v2.1/os-quota-sets/" + cloud.project,):
        limits = {"instances": -1, "cores": -1, "ram": -1}
        cloud.ask("PUT", path, {"quota_set": limits})
    network = cloud.ask("POST", "/network/v2.0/networks", {"network": {"name": "b"}})["network"]["id"]
    cloud.ask("PUT", f"/network/v2.0/quotas/{cloud.project}", {"quota": {"port": -1}})
    subnet = {"network_id": network, "ip_version": 4, "cidr": "10.9.0.0/16"}
    cloud.ask("POST", "/network/v2.0/subnets", {"subnet": subnet})
    flavor = cloud.ask("GET", "/compute/v2.1/flavors")["flavors"][0]["id"]
    disk = {"boot_index": 0, "uuid": image, "source_type": "image", "destination_type": "volume", "volume_size": 1,
            "delete_on_termination": True}  # fmt: skip
    server = {"name": "b", "flavorRef": flavor, "networks": [{"uuid": network}], "block_device_mapping_v2": [disk]}
    return {"server": server}


async def files(folder: Path) -> list[Number]:
    driver, first = FileVolumes(folder), str(uuid4())
    steps = (
        ("file: 1 TB from nothing", Volume(first, 1000)), ("file: its snapshot", Snapshot("shot", first)),
        ("file: its copy", Volume("copy", 1000, FromVolume(first))), ("file: the copy's end", Absent("volume", "copy")),
    )  # fmt: skip
    numbers = []
    for label, desired in steps:
        started = time.perf_counter()
        await driver.apply(desired)
        numbers.append(Number(label, (time.perf_counter() - started) * 1000, "ms", 1000, more=False))
    return numbers


def simulated(count: int) -> list[Number]:
    cloud = Cloud()
    try:
        numbers = requests(cloud, count) + boots(cloud)
    finally:
        cloud.stop()
    with tempfile.TemporaryDirectory() as folder:
        return numbers + asyncio.run(files(Path(folder)))


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure volumes.")
    parser.add_argument("--volumes", type=int, default=400)
    parser.add_argument("--real", action="store_true", help="a real Host and a guest (root), and nothing else")
    arguments = parser.parse_args()
    numbers = volume.numbers() if arguments.real else simulated(arguments.volumes)
    print(table(numbers))
    return 0 if all(number.good is not False for number in numbers) else 1


if __name__ == "__main__":
    sys.exit(main())
