"""Image upload and download over HTTP, against a plain file copy with the same two checksums.

python bench/image.py [MiB]
"""

import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from tests.support import running_cloud

CHUNK = os.urandom(1 << 18)


def plain(target: Path, size: int) -> float:
    """MB/s of write + sha512 + md5 + fsync in one thread: what hashlib and the disk give."""
    started = time.perf_counter()
    md5, sha512 = hashlib.md5(usedforsecurity=False), hashlib.sha512()
    with target.open("wb") as out:
        for _ in range(size // len(CHUNK)):
            out.write(CHUNK)
            md5.update(CHUNK)
            sha512.update(CHUNK)
        out.flush()
        os.fsync(out.fileno())
    return size / 1e6 / (time.perf_counter() - started)


def curl(token: str, url: str, *options: str) -> float:
    """Seconds that a client in another process takes."""
    started = time.perf_counter()
    subprocess.run(["curl", "-sf", "-H", f"X-Auth-Token: {token}", "-H", "Expect:", *options, url], check=True)
    return time.perf_counter() - started


def resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    size = int(sys.argv[1] if len(sys.argv) > 1 else "512") << 20
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        floor = plain(folder / "plain", size)
        (folder / "state").mkdir()
        with running_cloud(folder / "state") as cloud:
            token, body = cloud.token(), {"disk_format": "raw", "container_format": "bare"}
            for label in ("first", "second"):
                answer = httpx.post(f"{cloud.url}/image/v2/images", json=body, headers={"X-Auth-Token": token})
                url, before = f"{cloud.url}/image/v2/images/{answer.json()['id']}/file", resident()
                octets = ("-T", str(folder / "plain"), "-H", "Content-Type: application/octet-stream")
                up = size / 1e6 / curl(token, url, *octets)
                down = size / 1e6 / curl(token, url, "-o", "/dev/null")
                print(f"{label}: upload {up:.0f} MB/s ({up / floor:.2f} of copy + hashes, {floor:.0f} MB/s),"
                      f" download {down:.0f} MB/s, memory +{resident() - before} MB")  # fmt: skip


if __name__ == "__main__":
    main()
