"""An image streamed to one and to eight Nodes by the provisioning service, beside nginx and Python's own file server.

    python bench/provision_stream.py [MiB]

All of them give the same file from the page cache over loopback to curl, which throws it away. CPU is the server's own,
in cores; `stall` is how long the service's event loop was held at most.
"""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
NGINX = """daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr crit;
events {{}} http {{ access_log off; sendfile on; client_body_temp_path {folder}; proxy_temp_path {folder};
fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
server {{ listen 127.0.0.1:{port}; root {folder}; }} }}
"""


def serve(folder: Path, port: int) -> None:
    """The service, in a process of its own; /stall tells the event loop's longest wait since the last question."""
    sys.path.insert(0, str(ROOT / "src"))
    from hagane.drivers.metadata.base import Question, Reply
    from hagane.drivers.metadata.http import Listener
    from hagane.reconcile.provision_answer import piece

    longest = 0.0

    async def answer(question: Question) -> Reply:
        nonlocal longest
        if question.target == "/stall":
            told, longest = longest, 0.0
            return Reply(200, f"{told:.4f}".encode())
        return piece(folder / "image", question.headers.get("range", ""), lambda whole: None)

    async def main() -> None:
        nonlocal longest
        listener, one = Listener("bench", answer), socket.create_server(("127.0.0.1", port))
        one.setblocking(False)
        await listener.open([one])
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - before - 0.001)

    asyncio.run(main())


@contextmanager
def server(*argv: str, port: int) -> Iterator[int]:
    """A server's process while it serves; its pid."""
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def cpu(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


def clients(count: int, port: int, size: int, pid: int) -> tuple[float, float]:
    """(MB/s in all, cores of the server) while so many read the whole file."""
    started, before = time.perf_counter(), cpu(pid)
    url = f"http://127.0.0.1:{port}/image"
    running = [subprocess.Popen(["curl", "-sSf", "-o", "/dev/null", url]) for _ in range(count)]
    if any(process.wait() for process in running):
        raise SystemExit("a client failed")
    seconds = time.perf_counter() - started
    return count * size / 1e6 / seconds, (cpu(pid) - before) / seconds


def ask(port: int, path: str) -> str:
    url = f"http://127.0.0.1:{port}/{path}"
    return subprocess.run(["curl", "-sS", url], capture_output=True, text=True, check=True).stdout


def commands(folder: Path, ports: dict[str, int]) -> dict[str, tuple[str, ...]]:
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=ports["nginx"]))
    python = sys.executable
    return {
        "hagane": (python, __file__, "serve", str(folder), str(ports["hagane"])),
        "nginx": ("nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")),
        "http.server": (python, "-m", "http.server", "-b", "127.0.0.1", "-d", str(folder), str(ports["http.server"])),
    }  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    size = int(sys.argv[1] if len(sys.argv) > 1 else "512") << 20
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with (folder / "image").open("wb") as out:
            for _ in range(size >> 20):
                out.write(os.urandom(1 << 20))
        ports = {name: free_port() for name in ("hagane", "nginx", "http.server")}
        best: dict[tuple[str, int], tuple[float, float]] = {}
        for _ in range(3):
            for who, argv in commands(folder, ports).items():
                with server(*argv, port=ports[who]) as pid:
                    for count in (1, 8):
                        measured = clients(count, ports[who], size, pid)
                        best[who, count] = max(best.get((who, count), measured), measured)
                    stall = float(ask(ports[who], "stall")) if who == "hagane" else 0.0
                    if who == "hagane":
                        print(f"event loop held {stall * 1000:.0f} ms at most")
        for (who, count), (rate, cores) in best.items():
            share = rate / best["nginx", count][0]
            print(f"{who:12} {count} clients: {rate:6.0f} MB/s, {cores:.2f} cores, {share:.2f} of nginx")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
