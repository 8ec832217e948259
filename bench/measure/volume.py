"""The cycle of a 10 GB volume on a real Host, its copy, and how fast a guest writes and reads it.

Each call is measured by itself, and each wait: until the API says that the volume is there, in the guest, free again,
gone. The throughput is that of one stream with nothing in the guest's memory, beside qemu-io on the same backing file
without a guest: what is left of it is what virtio and the emulated processor leave.
"""

import base64
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from report import Number

from measure.boot import READY, RealCloud, _prepare

CYCLES, SIZE, MEGABYTES = 5, 10, 256
SPEED = re.compile(r"BENCH (write|read) (\d+)")
SCRIPT = f"""#!/bin/sh
now() {{ cut -d' ' -f1 /proc/uptime | tr -d .; }}
began=$(now); dd if=/dev/zero of=/dev/vdb bs=1M count={MEGABYTES} 2>/dev/null; sync; ended=$(now)
echo "BENCH write $((ended - began))" >/dev/console
echo 3 >/proc/sys/vm/drop_caches
began=$(now); dd if=/dev/vdb of=/dev/null bs=1M count={MEGABYTES} 2>/dev/null; ended=$(now)
echo "BENCH read $((ended - began))" >/dev/console
"""


def numbers() -> list[Number]:
    """Raises RuntimeError without root."""
    if os.geteuid() != 0:
        raise RuntimeError("a real Host needs root and the real devices")
    folder = Path(tempfile.mkdtemp(prefix="hagane-bench-", dir="/var/tmp"))
    try:
        cloud = RealCloud(folder)
        try:
            order = json.loads(_prepare(cloud)[0])["server"]
            return _cycles(cloud, order) + _throughput(cloud, order)
        finally:
            cloud.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _until(check: Any, what: str, seconds: float = 120) -> float:
    began = time.perf_counter()
    while not check():
        if time.perf_counter() - began > seconds:
            raise RuntimeError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.005)
    return time.perf_counter() - began


def _status(cloud: RealCloud, volume: str) -> str:
    code, body, _ = cloud.call("GET", f"/volume/v3/volumes/{volume}", token=cloud.token)
    return "" if code == 404 else str(body["volume"]["status"])


def _make(cloud: RealCloud, **more: Any) -> str:
    key: str = cloud.ask("POST", "/volume/v3/volumes", {"volume": {"size": SIZE} | more})["volume"]["id"]
    return key


def _server(cloud: RealCloud, order: dict[str, Any]) -> str:
    key: str = cloud.ask("POST", "/compute/v2.1/servers", {"server": order})["server"]["id"]
    _until(lambda: READY.search(_log(cloud, key)), "the guest is ready")
    return key


def _log(cloud: RealCloud, server: str) -> str:
    code, body, _ = cloud.call(
        "POST", f"/compute/v2.1/servers/{server}/action", {"os-getConsoleOutput": {}}, cloud.token
    )
    return str(body["output"]) if code == 200 else ""


def _cycles(cloud: RealCloud, order: dict[str, Any]) -> list[Number]:
    server = _server(cloud, order)
    calls: dict[str, list[float]] = {name: [] for name in ("create", "attach", "detach", "delete")}
    waits: dict[str, list[float]] = {name: [] for name in ("made", "in the guest", "out of the guest", "gone")}
    wholes = []
    for _ in range(CYCLES):
        began = time.perf_counter()
        _cycle(cloud, server, calls, waits)
        wholes.append(time.perf_counter() - began)
    first = _make(cloud)
    _until(lambda: _status(cloud, first) == "available", "a volume is made")
    began = time.perf_counter()
    copy = _make(cloud, source_volid=first)
    _until(lambda: _status(cloud, copy) == "available", "a volume is copied")
    cloned = time.perf_counter() - began
    for key in (first, copy):
        cloud.ask("DELETE", f"/volume/v3/volumes/{key}")
    cloud.ask("DELETE", f"/compute/v2.1/servers/{server}")
    found = [
        Number(f"{name} a {SIZE} GB volume: the call", statistics.median(taken) * 1000, "ms", 20.0, more=False)
        for name, taken in calls.items()
    ]
    span = f"{min(wholes):.2f} to {max(wholes):.2f} s"
    return [
        *found,
        Number("the whole cycle, with all its waits", statistics.median(wholes), "s", 2.0, more=False, note=span),
        *(Number(f"  {name}", statistics.median(taken), "s") for name, taken in waits.items()),
        Number(f"a copy of a {SIZE} GB volume", cloned, "s", 1.0, more=False),
    ]


def _cycle(cloud: RealCloud, server: str, calls: dict[str, list[float]], waits: dict[str, list[float]]) -> None:
    def timed(name: str, call: Any) -> Any:
        began = time.perf_counter()
        answer = call()
        calls[name].append(time.perf_counter() - began)
        return answer

    attachments = f"/compute/v2.1/servers/{server}/os-volume_attachments"
    volume = timed("create", lambda: _make(cloud))
    waits["made"].append(_until(lambda: _status(cloud, volume) == "available", "a volume is made"))
    timed("attach", lambda: cloud.ask("POST", attachments, {"volumeAttachment": {"volumeId": volume}}))
    waits["in the guest"].append(_until(lambda: _status(cloud, volume) == "in-use", "a volume is in the guest"))
    timed("detach", lambda: cloud.ask("DELETE", f"{attachments}/{volume}"))
    waits["out of the guest"].append(_until(lambda: _status(cloud, volume) == "available", "a volume is free"))
    timed("delete", lambda: cloud.ask("DELETE", f"/volume/v3/volumes/{volume}"))
    waits["gone"].append(_until(lambda: not _status(cloud, volume), "a volume is gone"))


def _throughput(cloud: RealCloud, order: dict[str, Any]) -> list[Number]:
    volume = _make(cloud)
    _until(lambda: _status(cloud, volume) == "available", "a volume is made")
    disks = [
        {"boot_index": 0, "uuid": order["imageRef"], "source_type": "image", "destination_type": "local",
         "delete_on_termination": True},
        {"uuid": volume, "source_type": "volume", "destination_type": "volume"},
    ]  # fmt: skip
    script = base64.b64encode(SCRIPT.encode()).decode()
    server = _server(cloud, order | {"block_device_mapping_v2": disks, "user_data": script})
    _until(lambda: len(SPEED.findall(_log(cloud, server))) == 2, "the guest has written and read")
    taken = {name: int(hundredths) / 100 for name, hundredths in SPEED.findall(_log(cloud, server))}
    cloud.ask("DELETE", f"/compute/v2.1/servers/{server}")
    _until(lambda: _status(cloud, volume) == "available", "the server is gone")
    found = []
    for name in ("write", "read"):
        bare = _bare(cloud, volume, name)
        rate = MEGABYTES / max(taken[name], 0.01)
        found.append(Number(f"{name} in the guest", rate, "MB/s", floor=bare, note="floor: the backing file, no guest"))
    cloud.ask("DELETE", f"/volume/v3/volumes/{volume}")
    return found


def _bare(cloud: RealCloud, volume: str, name: str) -> float:
    """MB/s of the same bytes on the same file, by QEMU without a guest."""
    file = next(cloud.state.rglob(f"volume.{volume}"))
    commands = [f"{name} 0 {MEGABYTES}M", *(["flush"] if name == "write" else [])]
    Path("/proc/sys/vm/drop_caches").write_text("1")
    began = time.perf_counter()
    words = ["qemu-io", "-f", "qcow2", *(word for command in commands for word in ("-c", command)), str(file)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return MEGABYTES / (time.perf_counter() - began)
