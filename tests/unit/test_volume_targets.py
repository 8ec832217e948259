"""Targets of iSCSI daemons that refuse: what one export suffers keeps none of the others from their volumes."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hagane.drivers.volume import export as module
from hagane.drivers.volume.export import Export, TgtExports
from hagane.drivers.volume.raw import RawViews
from hagane.drivers.volume.tgt import PREFIX, Mode, Op, Portal, Target
from hagane.errors import DeviceFailed, Unavailable

PORTAL = Portal("", "127.0.0.1", 13260)


@dataclass
class Daemon:
    """As a tgtd answers; it refuses what has to do with the targets in `bad`."""

    there: dict[int, Target] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)

    def pid(self) -> int | None:
        return 1

    async def start(self) -> None:
        """It runs."""

    async def end(self) -> None:
        self.there.clear()

    async def targets(self) -> list[Target]:
        return list(self.there.values())

    async def ask(self, op: Op, mode: Mode, text: str = "", *, target: int = -1, **more: Any) -> None:
        known = self.there.get(target)
        name = text.removeprefix(f"targetname={PREFIX}") if known is None else known.name
        if name in self.bad:
            raise DeviceFailed(f"It refused {name}.")
        if mode == Mode.TARGET and op == Op.NEW:
            self.there[target] = Target(target, name, "", (), ())
        elif mode == Mode.TARGET and op == Op.DELETE:
            self.there.pop(target, None)
        elif mode == Mode.DEVICE:
            self.there[target] = Target(target, name, text.split(",")[0].removeprefix("path="), (), (name[-1],))


class Views(RawViews):
    """Views that are there at once; those in `dead` do not come up."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.there: set[str] = set()
        self.dead: set[str] = set()

    async def show(self, key: str, file: Path) -> bool:
        if key in self.dead:
            raise Unavailable("The volume is open in a running machine.")
        fresh = key not in self.there
        self.there.add(key)
        return fresh

    async def hide(self, key: str) -> None:
        self.there.discard(key)

    async def read(self) -> frozenset[str]:
        return frozenset(self.there)


def one(volume_id: str, user: str, form: str = "raw") -> Export:
    return Export(volume_id, Path(f"/v/{volume_id}"), form, PORTAL, user, "a-password-123")


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Daemon:
    made = Daemon()
    monkeypatch.setattr(module, "Tgtd", lambda portal, folder: made)
    (tmp_path / f"{PORTAL.name}.pid").write_text("1")
    return made


async def test_one_that_is_refused_stops_no_other(daemon: Daemon, tmp_path: Path) -> None:
    exports = TgtExports(tmp_path, PORTAL, Views(tmp_path / "raw"), {})
    await exports.apply([one("a", "1"), one("b", "2")])
    daemon.bad = {"a.1", "c.3"}
    with pytest.raises(DeviceFailed, match=r"refused a\.1"):
        await exports.apply([one("c", "3"), one("d", "4")])
    assert await exports.read() == {"a.1", "d.4"}
    daemon.bad = set()
    await exports.apply([one("d", "4")])
    assert await exports.read() == {"d.4"}


async def test_a_target_does_not_outlive_its_view(daemon: Daemon, tmp_path: Path) -> None:
    """With a dead file behind it, it would pass for an export that is well."""
    views = Views(tmp_path / "raw")
    exports = TgtExports(tmp_path, PORTAL, views, {})
    both = [one("a", "1", "qcow2"), one("b", "2")]
    await exports.apply(both)
    views.there, views.dead = set(), {"a"}
    with pytest.raises(Unavailable, match="running machine"):
        await exports.apply(both)
    assert await exports.read() == {"b.2"}


async def test_what_is_not_known_now_stays(daemon: Daemon, tmp_path: Path) -> None:
    """Its target, its view and its daemon, whether or not another is wanted beside it."""
    views = Views(tmp_path / "raw")
    exports = TgtExports(tmp_path, PORTAL, views, {})
    await exports.apply([one("a", "1", "qcow2"), one("b", "2"), one("c", "3", "qcow2")])
    before = daemon.there[1]
    for wanted in ([one("b", "2")], []):
        await exports.apply(wanted, frozenset({"a.1"}))
        assert await exports.read() == {"a.1"} | {export.name for export in wanted}
        assert (daemon.there[1], views.there) == (before, {"a"})
    await exports.apply([], frozenset({"gone.9"}))
    assert (await exports.read(), views.there) == (frozenset(), set())
