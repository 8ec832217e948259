"""The parts of the lab that need no root: names and folders, finding processes, patience, the package list."""

import asyncio
import gzip
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hagane.errors import DeviceFailed, Invalid, Unavailable
from hagane.lab import disk, kvm, process, requirements
from hagane.lab.process import Daemon
from hagane.lab.site import LONGEST_SOCKET, Site
from hagane.lab.supervise import LONGEST, Patience


@pytest.mark.parametrize("name", ["", "a", "Host", "host_1", "central", "fabric", "-host", "host-", "thirteenchars"])
def test_a_host_needs_a_name_that_fits_everywhere(name: str) -> None:
    with pytest.raises(Invalid):
        Site(hosts=(name,))


def test_hosts_have_names_and_addresses_of_their_own() -> None:
    site = Site(hosts=("host1", "host2"))
    assert [str(site.tunnel_ip(host)) for host in site.hosts] == ["172.30.0.11", "172.30.0.12"]
    for hosts in ((), ("host1", "host1")):
        with pytest.raises(Invalid):
            Site(hosts=hosts)


def test_folders_in_which_no_socket_could_be_opened_are_refused() -> None:
    with pytest.raises(Invalid, match="too long"):
        Site(run=Path("/run") / ("x" * LONGEST_SOCKET))


async def test_a_program_that_fails_says_so_in_its_own_words() -> None:
    with pytest.raises(DeviceFailed, match="No such file"):
        await process.run("ls", "/nowhere")
    with pytest.raises(Unavailable, match="not installed"):
        await process.run("no-such-program")
    with pytest.raises(Unavailable, match=r"did not end within 0\.1 s"):
        await process.run("sleep", "5", timeout=0.1)
    assert await process.run("cat", stdin="in") == "in"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as child:
        yield child
        child.kill()


async def test_a_recycled_pid_is_neither_found_nor_killed(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    pid_file = tmp_path / "d.pid"
    daemon = Daemon("d", "sleep", ("sleep", "60"), pid_file, tmp_path / "d.log")
    pid_file.write_text(str(sleeper.pid))  # the right program, but without our pid file on its command line
    assert process.pid_of(daemon) is None
    await process.stop(daemon)
    assert sleeper.poll() is None and not pid_file.exists()


async def test_a_daemon_is_found_without_its_pid_file_and_ended(tmp_path: Path) -> None:
    pid_file = tmp_path / "d.pid"
    daemon = Daemon("d", "sh", ("sh",), pid_file, tmp_path / "d.log")
    script = "trap '' TERM; while :; do sleep 0.05; done"  # deaf: only KILL ends it
    child = await asyncio.to_thread(subprocess.Popen, ["sh", "-c", script, f"--pidfile={pid_file}"])
    try:
        while process.pid_of(daemon) is None:
            await asyncio.sleep(0.01)
        assert process.pid_of(daemon) == child.pid
        assert abs((process.seen(daemon).since or 0) - os.stat(f"/proc/{child.pid}").st_ctime) < 5  # noqa: PTH116
        await asyncio.sleep(0.1)
        await process.stop(daemon, grace=0.2)
        assert child.wait() == -9
    finally:
        child.kill()
        child.wait()


async def test_together_finishes_everything_before_it_fails() -> None:
    done: list[str] = []

    async def work(name: str, seconds: float, error: Exception | None = None) -> str:
        await asyncio.sleep(seconds)
        done.append(name)
        if error:
            raise error
        return name

    assert await process.together(work("a", 0.01), work("b", 0)) == ["a", "b"]
    with pytest.raises(Unavailable):
        await process.together(work("bad", 0, Unavailable("no")), work("slow", 0.02))
    assert done[-1] == "slow"


def test_patience_grows_only_for_what_keeps_dying() -> None:
    patience = Patience()
    assert patience.after(["northd"]) == 0
    delays = [patience.after(["northd"]) for _ in range(8)]
    assert delays == sorted(delays) and delays[0] > 0 and delays[-1] == LONGEST
    assert patience.after(["libvirtd"]) == 0


GROUPS = ("python", "real", "test", "ceph")  # packages.txt says what each is for


def test_every_package_is_listed_with_a_proof() -> None:
    lines = [line.split() for line in requirements.PACKAGES.read_text().splitlines() if not line.startswith("#")]
    assert all(len(line) == 3 and line[0] in GROUPS and line[2].startswith("/") for line in lines)
    assert requirements.missing_packages("none") == []


async def test_the_verdict_on_kvm_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[Path] = []
    monkeypatch.setattr(kvm, "DEVICE", tmp_path / "kvm-device")
    (tmp_path / "kvm-device").touch()
    monkeypatch.setattr(kvm, "_boots", lambda kernel: bool(tries.append(kernel)) or True)
    kernel, memory = tmp_path / "vmlinuz", tmp_path / "verdict"
    assert await kvm.usable(kernel, memory=memory) and await kvm.usable(kernel, memory=memory)
    assert len(tries) == 1
    assert await kvm.usable(tmp_path / "another", memory=memory) and len(tries) == 2


def test_the_ramdisk_is_a_newc_archive_owned_by_root(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tool").write_bytes(b"12345")
    (tmp_path / "init").symlink_to("bin/tool")
    archive = gzip.decompress(disk.cpio(tmp_path))
    found: dict[str, tuple[int, int, bytes]] = {}
    at = 0
    while at < len(archive):
        assert archive[at : at + 6] == b"070701"
        numbers = [int(archive[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        name = archive[at + 110 : at + 110 + numbers[11] - 1].decode()
        body = (at + 110 + numbers[11] + 3) & ~3
        found[name] = (numbers[2], numbers[3], archive[body : body + numbers[6]])
        at = (body + numbers[6] + 3) & ~3
    assert found == {
        "bin": (0, 0, b""),
        "bin/tool": (0, 0, b"12345"),
        "init": (0, 0, b"bin/tool"),
        "TRAILER!!!": (0, 0, b""),
    }
