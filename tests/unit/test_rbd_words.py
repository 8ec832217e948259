"""What Ceph's commands say when they fail (copied from a real cluster, 16.2), and what people are told."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from hagane.drivers.volume.command import Command, Refused
from hagane.drivers.volume.rbd_words import Client, cause, is_busy, is_needed, is_nothing, key_in
from hagane.errors import DeviceFailed, HaganeError, Unavailable

LOG = "2026-11-21T00:32:00.394+0000 7f769ef48380 -1 "
KEYRING = '[client.admin]\n\tkey = AQAB==\n[client.hagane]\n\tkey = AQCD1/x+w==\n\tcaps mon = "profile rbd"\n'
SAID = {
    "monitors": (110, "rbd: couldn't connect to the cluster!\nrbd: listing images failed: (110) Connection timed out",
                 Unavailable, "Ceph's monitors did not answer within 5 seconds."),
    "monitors, ceph": (1, "timed out", Unavailable, "Ceph's monitors did not answer within 5 seconds."),
    "monitors, qemu": (1, "qemu-img: Could not open 'rbd:p/temp-volume-1:id=u:keyring=/k': error connecting: Connection"
                       " timed out", Unavailable, "Ceph's monitors did not answer within 5 seconds."),
    "osds": (110, f"{LOG}librbd::api::Image: list_images: error\n\nrbd: listing images failed: (110) Connection timed out",
             Unavailable, "Ceph did not answer in time: its OSDs may be down, or all full."),
    "key": (13, "rbd: couldn't connect to the cluster!", Unavailable,
            "Ceph does not know client.hagane by this key: is the keyring the right one?"),
    "no key": (2, f"{LOG}auth: unable to find a keyring on /k: (2) No such file or directory\n\nrbd: couldn't connect to"
               " the cluster!", Unavailable,
               "There is no key of client.hagane in /etc/ceph/ceph.client.hagane.keyring or /etc/ceph/ceph.keyring or"
               " /etc/ceph/keyring."),
    "pool": (2, "rbd: error opening pool 'p': (2) No such file or directory", Unavailable, "Ceph has no pool p."),
    "rights": (1, "rbd: list: (1) Operation not permitted", Unavailable,
               "Ceph does not let client.hagane work in the pool p: it needs the profile rbd there."),
    "settings": (1, "global_init: unable to open config file from search list /x", Unavailable,
                 "Ceph's settings cannot be read: /etc/ceph/ceph.conf."),
    "full": (28, "rbd: create error: (28) No space left on device", DeviceFailed, "The storage backend is full."),
    "open": (16, "rbd: error: image still has watchers\nThis means the image is still open.", Unavailable,
             "Somebody has it open still; Ceph lets go of a dead one after half a minute."),
    "copies": (39, "rbd: image has snapshots - these must be deleted", DeviceFailed,
               "The storage backend refused: image has snapshots - these must be deleted"),
    "a log after it": (17, f"rbd: create error: (17) File exists\n{LOG}librbd: rbd image r2 already exists\n",
                       DeviceFailed, "The storage backend refused: create error: (17) File exists"),
    "a path in it": (1, "qemu-img: error reading 'rbd:p/volume-1:id=u:keyring=/secret/place': Input/output error",
                     DeviceFailed, "The storage backend refused: Input/output error"),
    "nothing": (5, "\n", DeviceFailed, "The storage backend refused: no reason given"),
}  # fmt: skip


def meant(status: int, text: str) -> HaganeError:
    return cause(Refused("in other words", detail=text, status=status), Client("hagane"), "p")


@pytest.mark.parametrize("what", SAID)
def test_causes(what: str) -> None:
    status, text, kind, words = SAID[what]
    found = meant(status, text)
    assert isinstance(found, kind)
    assert found.message == words


def test_kinds_that_the_driver_asks_for() -> None:
    assert is_nothing(meant(2, "rbd: error opening image x: (2) No such file or directory"))
    assert not is_nothing(meant(*SAID["pool"][:2]))
    assert is_needed(meant(*SAID["copies"][:2])) and is_busy(meant(*SAID["open"][:2]))


def test_keys(tmp_path: Path) -> None:
    assert key_in(KEYRING, "hagane") == "AQCD1/x+w=="
    assert [key_in(text, "hagane") for text in ("", "key = x", "[client.other]\nkey = x")] == ["", "", ""]
    file = tmp_path / "a:b"
    file.write_text(KEYRING)
    client = Client("hagane", "/c", str(file))
    assert client.key() == "AQCD1/x+w=="
    assert client.words == ("--id", "hagane", "--conf", "/c", "--keyring", str(file))
    assert client.options.endswith("a\\:b:client_mount_timeout=5")
    with pytest.raises(Unavailable, match=r"no key of client\.nobody in"):
        Client("nobody", "", str(file)).key()


async def test_a_command_that_nobody_waits_for_ends(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    words = ("sh", "-c", f"echo $$ > {pid}; exec sleep 100")
    with pytest.raises(Unavailable, match="sh does not end"):
        await Command()(*words, seconds=0.3)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    pid.unlink()
    task = asyncio.create_task(Command()(*words))
    async with asyncio.timeout(20):
        while not pid.exists() or not pid.read_text().strip():
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


async def test_a_command_ends_with_us(tmp_path: Path) -> None:
    """Its parent is killed: what it began goes on in nobody's name otherwise."""
    pid, code = tmp_path / "pid", "import asyncio,sys; from hagane.drivers.volume.command import Command; "
    code += f"asyncio.run(Command()('sh', '-c', 'echo $$ > {pid}; exec sleep 100'))"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    async with asyncio.timeout(30):
        while not pid.exists() or not pid.read_text().strip():
            await asyncio.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    await child.wait()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid.read_text().strip()}/cmdline").exists():
        if not Path(f"/proc/{pid.read_text().strip()}/cmdline").read_bytes():  # a zombie that nobody reaps here
            break
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_a_refusal_and_a_program_that_is_not_there() -> None:
    with pytest.raises(Refused, match="The storage backend refused: no") as refused:
        await Command()("sh", "-c", "echo yes; echo no >&2; exit 3")
    assert (refused.value.status, refused.value.detail) == (3, "no")
    with pytest.raises(Unavailable, match="no-such-program cannot be started: No such file"):
        await Command()("no-such-program")
