"""Volumes: what a request costs, how many are made in a second, and what the file backend needs for a copy of 1 TB.

    python bench/volumes.py [--volumes 400]

The process runs by itself with the simulated backend, clients beside it; the file backend is measured without an API.
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
from uuid import uuid4

import httpx
from cloud import ROOT, Cloud

sys.path.insert(0, str(ROOT / "src"))

from hagane.drivers.volume.base import Absent, FromVolume, Snapshot, Volume
from hagane.drivers.volume.file import FileVolumes

CLIENTS, PASSES = 8, 100


def timed(label: str, call: Callable[[], httpx.Response], passes: int = PASSES) -> None:
    taken = []
    for _ in range(passes):
        started = time.perf_counter()
        call().raise_for_status()
        taken.append((time.perf_counter() - started) * 1000)
    print(f"{label:<28} {statistics.median(taken):6.2f} ms  (95 %: {sorted(taken)[int(passes * 0.95)]:.2f} ms)")


def requests(cloud: Cloud, count: int) -> None:
    headers = {"X-Auth-Token": cloud.token, "OpenStack-API-Version": "volume 3.70"}
    http = httpx.Client(base_url=f"http://127.0.0.1:{cloud.port}/volume/v3", headers=headers, timeout=60)
    unlimited = {"quota_class_set": {"volumes": -1, "gigabytes": -1}}
    http.put("/os-quota-class-sets/default", json=unlimited).raise_for_status()
    order = {"volume": {"size": 1, "name": "bench", "metadata": {"a": "b"}}}
    timed("create", lambda: http.post("/volumes", json=order))
    key = http.get("/volumes?limit=1").json()["volumes"][0]["id"]
    timed("show", lambda: http.get(f"/volumes/{key}"))
    timed("list 100 in detail", lambda: http.get("/volumes/detail?limit=100"), 30)

    def client(_: int) -> None:
        with httpx.Client(base_url=http.base_url, headers=headers, timeout=60) as own:
            for _ in range(count // CLIENTS):
                own.post("/volumes", json=order).raise_for_status()

    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))
    print(f"{'creates by 8 clients':<28} {count / (time.perf_counter() - started):6.0f} /s")
    while http.get("/volumes?status=creating&limit=1").json()["volumes"]:
        time.sleep(0.01)
    print(f"{'... and made':<28} {count / (time.perf_counter() - started):6.0f} /s")
    http.close()


async def files(folder: Path) -> None:
    driver, first = FileVolumes(folder), str(uuid4())
    steps = (
        ("file: 1 TB from nothing", Volume(first, 1000)), ("file: its snapshot", Snapshot("shot", first)),
        ("file: its copy", Volume("copy", 1000, FromVolume(first))), ("file: the copy's end", Absent("volume", "copy")),
    )  # fmt: skip
    for label, desired in steps:
        started = time.perf_counter()
        await driver.apply(desired)
        print(f"{label:<28} {(time.perf_counter() - started) * 1000:6.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure volumes.")
    parser.add_argument("--volumes", type=int, default=400)
    count = parser.parse_args().volumes
    cloud = Cloud()
    try:
        requests(cloud, count)
    finally:
        cloud.stop()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(files(Path(folder)))


if __name__ == "__main__":
    main()
