"""`make test-ceph`, the driver alone: every test of storage backends against a real cluster, and what only that can show.

Not collected by the other targets (its name says so): they need no Ceph on the machine.
"""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from hagane.drivers.volume.base import GIB, Absent, FromImage, FromSnapshot, FromVolume, Snapshot, Volume
from hagane.drivers.volume.rbd import Client, RbdVolumes
from hagane.errors import DeviceFailed, HaganeError, Unavailable
from tests.conformance.test_volume_driver import (  # noqa: F401
    Make,
    content,
    image,
    new,
    test_a_blank_volume_has_its_size_and_grows,
    test_a_volume_never_shrinks,
    test_a_volume_returns_to_its_snapshot,
    test_an_image_becomes_a_volume_and_its_copy_goes_with_the_last,
    test_backups_whole_and_in_part_come_back,
    test_copies_are_apart_from_what_they_came_from,
    test_parents_may_go_in_any_order,
    test_space_is_told,
    test_things_stand_for_themselves,
    test_what_goes_is_gone_and_may_go_again,
    test_what_is_not_there_is_said_in_words,
    write,
)
from tests.dataplane.ceph import POOL, USER, Ceph, cluster


@pytest.fixture(scope="module")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    with cluster(tmp_path_factory.mktemp("ceph") / "c") as made:
        yield made


def client(ceph: Ceph, **other: str) -> Client:
    return Client(**{"user": USER, "conf": str(ceph.conf), "keyring": str(ceph.keyring)} | other)


@pytest.fixture
async def make(ceph: Ceph) -> AsyncIterator[Make]:
    """The backend, anew each time: as after a restart. In the end nothing is left in the pool, nor in its trash."""
    yield lambda: RbdVolumes(POOL, client(ceph))
    driver = RbdVolumes(POOL, client(ceph))
    seen = await driver.read()
    for key in seen.snapshots:
        await driver.apply(Absent("snapshot", key))
    for key in seen.volumes:
        await driver.apply(Absent("volume", key))
    assert ceph.left() == []


@pytest.fixture
def make_any(make: Make) -> Make:
    return make


async def test_ten_gigabytes_and_a_terabyte(make: Make, tmp_path: Path) -> None:
    driver, first, snapshot, second, large = make(), new(), new(), new(), new()
    await driver.apply(Volume(first, 10))
    write(driver, first, b"aaaa")
    took = {}
    for what, wanted in (
        ("a snapshot of 10 GB", Snapshot(snapshot, first)), ("a volume of it", Volume(second, 10, FromSnapshot(snapshot, first))),
        ("a copy of the volume", Volume(new(), 10, FromVolume(first))), ("an empty terabyte", Volume(large, 1000)),
        ("its end", Absent("volume", large)),
    ):  # fmt: skip
        began = time.monotonic()
        await driver.apply(wanted)
        took[what] = time.monotonic() - began
    print("\n" + ", ".join(f"{what} {seconds:.2f} s" for what, seconds in took.items()))
    assert max(took.values()) < 10, took
    assert (await content(driver, second, tmp_path))[:4] == b"aaaa"


async def test_what_a_kill_leaves_goes(make: Make, ceph: Ceph) -> None:
    """A snapshot of an image, a copy without its name, and one in the trash: by the next try, and by looking."""
    driver, key, other = make(), new(), new()
    await driver.apply(Volume(key, 1))
    name, copy = f"volume-{key}", f"temp-volume-{other}"
    ceph.rbd("snap", "create", f"{name}@{copy}")
    ceph.rbd("clone", "--rbd-default-clone-format", "2", f"{POOL}/{name}@{copy}", f"{POOL}/{copy}")
    await driver.apply(Volume(other, 1, FromVolume(key)))
    assert sorted(ceph.left()) == sorted([name, f"volume-{other}"])
    ceph.rbd("snap", "create", f"{name}@{copy}")
    ceph.rbd("create", "--size", "1G", copy)
    await make().read()
    assert sorted(ceph.left()) == sorted([name, f"volume-{other}"])
    ceph.rbd("snap", "create", f"{name}@{copy}")
    ceph.rbd("trash", "mv", name)
    for one in (key, other):
        await make().apply(Absent("volume", one))
    assert ceph.left() == []


async def test_different_volumes_do_not_wait_for_each_other(make: Make, ceph: Ceph, tmp_path: Path) -> None:
    """One is being filled, slowly; another comes and goes meanwhile. Who is not waited for any more leaves nothing."""
    driver, slow, quick = make(), new(), new()
    source = tmp_path / "image"
    source.write_bytes(b"x" * (600 << 20))
    filling = asyncio.create_task(driver.apply(Volume(slow, 1, FromImage("i", source, "raw", 600 << 20))))
    async with asyncio.timeout(30):
        while f"temp-volume-{slow}" not in ceph.left():
            await asyncio.sleep(0.05)
    await driver.apply(Volume(quick, 1))
    await driver.read()
    await driver.apply(Absent("volume", quick))
    assert not filling.done(), "it is not slow"
    filling.cancel()
    await asyncio.gather(filling, return_exceptions=True)
    await driver.apply(Absent("volume", slow))
    assert ceph.left() == []


async def test_an_image_that_is_open_waits_for_its_end(make: Make, ceph: Ceph) -> None:
    driver, key = make(), new()
    await driver.apply(Volume(key, 1))
    words = ["qemu-io", "-f", "raw", "-c", "write 0 64k", "-c", "sleep 3000", driver._address(f"volume-{key}")]  # type: ignore[attr-defined]
    child = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.DEVNULL)
    async with asyncio.timeout(20):
        while "watcher=" not in ceph.rbd("status", f"volume-{key}"):
            await asyncio.sleep(0.05)
    with pytest.raises(Unavailable, match="Somebody has it open still"):
        await driver.apply(Absent("volume", key))
    await child.wait()
    await driver.apply(Absent("volume", key))


async def test_growth_is_seen_by_who_has_it_open_and_a_shared_one_has_no_lock(make: Make, ceph: Ceph) -> None:
    driver, key = make(), new()
    await driver.apply(Volume(key, 1))
    for _ in range(2):
        await driver.share(key)  # type: ignore[attr-defined]
    assert "exclusive-lock" not in ceph.rbd("info", f"volume-{key}")
    await driver.apply(Volume(key, 2))
    assert (await driver.read()).volumes == {key: 2 * GIB}


async def test_where_hosts_find_it_and_how(make: Make, ceph: Ceph) -> None:
    driver, key = make(), new()
    await driver.apply(Volume(key, 1))
    data = (await driver.connection(key))["data"]
    assert (data["hosts"], data["ports"], data["auth_username"]) == ([ceph.address], ["6789"], USER)
    secret = await driver.key()  # type: ignore[attr-defined]
    assert secret == ceph.ceph("auth", "get-key", f"client.{USER}").strip()
    assert secret not in str(data)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("keyring", "There is no key of client.hagane in /nowhere"),
        ("key", "Ceph does not know client.hagane by this key"),
        ("user", "There is no key of client.nobody in"),
        ("conf", "Ceph's settings cannot be read: /nowhere"),
        ("pool", "Ceph has no pool nowhere"),
        ("rights", "Ceph does not let client.poor work in the pool volumes"),
    ],
)
async def test_what_is_wrong_is_said_in_words(ceph: Ceph, tmp_path: Path, wrong: str, words: str) -> None:
    who, pool = client(ceph), POOL
    if wrong == "pool":
        pool = "nowhere"
    elif wrong == "key":
        bad = tmp_path / "keyring"
        ceph.ceph("auth", "get-or-create", "client.other", "-o", bad)
        bad.write_text(bad.read_text().replace("client.other", f"client.{USER}"))
        who = client(ceph, keyring=str(bad))
    elif wrong == "rights":
        poor = tmp_path / "keyring"
        ceph.ceph("auth", "get-or-create", "client.poor", "mon", "allow r", "-o", poor)
        who = client(ceph, user="poor", keyring=str(poor))
    else:
        who = client(ceph, **{wrong: "nobody" if wrong == "user" else "/nowhere"})
    driver = RbdVolumes(pool, who)
    for work in (driver.space(), driver.read(), driver.apply(Volume(new(), 1))):
        with pytest.raises(Unavailable, match=words):
            await work


async def test_a_full_pool_is_refused_and_can_be_emptied(make: Make, ceph: Ceph) -> None:
    """Ceph makes the trash of a pool with the first removal, and could not when it is full."""
    driver, key, other, snapshot, first = make(), new(), new(), new(), new()
    for one in (key, other, first):
        await driver.apply(Volume(one, 1))
    await driver.apply(Absent("volume", first))
    await driver.apply(Snapshot(snapshot, key))
    ceph.ceph("osd", "pool", "set-quota", POOL, "max_bytes", 1 << 20)
    try:
        words = ["qemu-io", "-f", "raw", "-c", "write 0 8M", driver._address(f"volume-{key}")]  # type: ignore[attr-defined]
        await asyncio.to_thread(subprocess.run, words, check=True, stdout=subprocess.DEVNULL)
        async with asyncio.timeout(60):
            while (await driver.space()).free_gb or "POOL_FULL" not in ceph.ceph("health", "detail"):
                await asyncio.sleep(0.5)
        with pytest.raises(DeviceFailed, match="The storage backend is full"):
            await driver.apply(Volume(new(), 1))
        with pytest.raises(DeviceFailed, match="The storage backend is full"):
            await driver.apply(Snapshot(new(), key))
        await driver.apply(Absent("volume", other))
        await driver.apply(Absent("snapshot", snapshot))
        await driver.apply(Absent("volume", key))
        assert ceph.left() == []
    finally:
        ceph.ceph("osd", "pool", "set-quota", POOL, "max_bytes", 0)
    async with asyncio.timeout(60):
        while not (await driver.space()).free_gb or "POOL_FULL" in ceph.ceph("health", "detail"):
            await asyncio.sleep(0.5)
    await driver.apply(Volume(key, 1))


@pytest.mark.parametrize(
    ("daemon", "words"), [("mon", "monitors did not answer within 5 s"), ("osd", "OSDs may be down")]
)
async def test_when_ceph_does_not_answer(make: Make, ceph: Ceph, tmp_path: Path, daemon: str, words: str) -> None:
    """Nobody is kept waiting for minutes, the cause is said, and nobody is left behind; afterwards all is well."""
    driver, key = make(), new()
    source = await image(tmp_path, b"hello")
    ceph.stop(daemon)
    began = time.monotonic()
    found = await asyncio.gather(
        driver.space(), driver.apply(Volume(key, 1)), driver.apply(Volume(new(), 1, source)), driver.connection(key),
        return_exceptions=True,
    )  # fmt: skip
    took = time.monotonic() - began
    assert all(isinstance(error, Unavailable) and words in error.message for error in found), found
    assert took < (12 if daemon == "mon" else 40), took
    began = time.monotonic()
    with pytest.raises(HaganeError, match=words):
        await driver.space()
    assert time.monotonic() - began < 8, "a look must end before whoever looks gives up"
    ceph.start(daemon)
    async with asyncio.timeout(60):
        while True:
            try:
                await driver.apply(Volume(key, 1))
                break
            except Unavailable:
                await asyncio.sleep(0.5)
    assert (await driver.read()).volumes == {key: GIB}
