"""Volumes to machines elsewhere by iSCSI: targets of tgtds, one for each attachment, each with a CHAP user of its own.

    volume.<id> (qcow2) ──raw view──▶ <id> (raw) ──tgtd at a portal──▶ iqn.2026-01.org.hagane:<volume>.<user>, LUN 1

What shall be is the whole list. Everything else that is ours goes, by force, but for what is not known now: nobody is
told of an export before it is on the list, and it leaves the list when its machine has let go, or is to be cut off. A
daemon comes with the first export at its portal and goes with the last. Nothing is kept here but processes, so after a
kill of any of them the same list is all that is needed.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from hagane.drivers.volume.raw import RawViews
from hagane.drivers.volume.tgt import NO_TARGET, NO_USER, PREFIX, Mode, Op, Portal, Target, Tgtd, portal_of
from hagane.errors import DeviceFailed, HaganeError, Unavailable

NO_ACL = 13  # what tgtd answers: nobody was let in by that word


@dataclass(frozen=True, slots=True)
class Export:
    """One volume for one machine. `file` is as this process sees it, `form` "qcow2" or "raw"; `initiator` "" is
    whoever knows the password."""

    volume_id: str
    file: Path
    form: str
    portal: Portal
    user: str
    password: str = field(repr=False)
    initiator: str = ""

    @property
    def name(self) -> str:
        return f"{self.volume_id}.{self.user}"


@dataclass(frozen=True, slots=True)
class Home:
    """A backend's own Hosts: there a volume needs no export. `folder`: where its files are for this process, if that
    is not where its Hosts see them."""

    hosts: frozenset[str]
    folder: Path | None = None

    def file(self, device_path: str) -> Path:
        return self.folder / Path(device_path).name if self.folder else Path(device_path)


class Exports(Protocol):
    """All exports of this machine."""

    @property
    def portal(self) -> Portal:
        """Where Hosts reach it."""
        ...

    def home(self, backend: str) -> Home | None:
        """None: the backend's own way is good for all machines."""
        ...

    async def apply(self, exports: Sequence[Export], keep: frozenset[str] = frozenset()) -> None:
        """Make it so, as far as possible; `keep`: names of others that stay as they are, for what is not known now is
        not unwanted. Raises the first error."""
        ...

    async def read(self) -> frozenset[str]:
        """Names of the exports that there are."""
        ...

    async def new_layer(self, volume_id: str, file: Path) -> None:
        """See base.Holder."""
        ...

    def watch(self, changed: Callable[[], None]) -> None:
        """Call it whenever a process of ours ends by itself."""
        ...

    async def close(self) -> None:
        """Watch no more. Exports stay."""
        ...


def connection(export: Export) -> dict[str, Any]:
    """What an initiator needs to know, in the words of the block storage API."""
    return {
        "driver_volume_type": "iscsi",
        "data": {
            "target_discovered": False, "target_portal": str(export.portal), "target_iqn": PREFIX + export.name,
            "target_lun": 1, "volume_id": export.volume_id, "auth_method": "CHAP", "auth_username": export.user,
            "auth_password": export.password,
        } | ({"initiator": export.initiator} if export.initiator else {}),
    }  # fmt: skip


class TgtExports:
    """`folder` keeps sockets and pid files, `views` makes qcow2 files raw; `homes` by the backend's name."""

    def __init__(self, folder: Path, portal: Portal, views: RawViews, homes: Mapping[str, Home]) -> None:
        self._folder, self.portal, self._views, self._homes = folder, portal, views, dict(homes)
        self._turn = asyncio.Lock()
        self._changed: Callable[[], None] | None = None
        self._watched: dict[int, int] = {}  # pid -> its pidfd

    def home(self, backend: str) -> Home | None:
        return self._homes.get(backend)

    async def apply(self, exports: Sequence[Export], keep: frozenset[str] = frozenset()) -> None:
        async with self._turn:
            wanted = _by_portal(exports)
            problems = await self._remove(wanted, keep)
            fresh, dark = set(), set()
            files = {export.volume_id: export.file for export in exports if export.form != "raw"}
            for volume_id, file in files.items():
                try:
                    if await self._views.show(volume_id, file):
                        fresh.add(volume_id)
                except HaganeError as error:
                    problems.append(error)
                    dark.add(volume_id)
            for portal, here in wanted.items():
                light = {name: export for name, export in here.items() if export.volume_id not in dark}
                problems += await self._bring(
                    Tgtd(portal, self._folder), light, here.keys() - light.keys(), fresh, keep
                )
            await asyncio.to_thread(self._look)
            if problems:
                raise problems[0]

    async def read(self) -> frozenset[str]:
        names: set[str] = set()
        for portal in await asyncio.to_thread(self._portals):
            daemon = Tgtd(portal, self._folder)
            if await asyncio.to_thread(daemon.pid) is not None:
                names |= {target.name for target in await daemon.targets()}
        return frozenset(names)

    async def _remove(self, wanted: Mapping[Portal, Mapping[str, Export]], keep: frozenset[str]) -> list[HaganeError]:
        """Daemons without exports, targets and views that nobody needs; says what could not be."""
        problems: list[HaganeError] = []
        for portal in await asyncio.to_thread(self._portals):
            daemon = Tgtd(portal, self._folder)
            if portal not in wanted and not (keep and await self._has(daemon, keep)):
                await daemon.end()
            elif await asyncio.to_thread(daemon.pid) is not None:
                try:
                    problems += await _drop_but(daemon, keep.union(wanted.get(portal, ())))
                except Unavailable:  # it is just dying, or hangs: a new one takes its place
                    await daemon.end()
        needed = {export.volume_id for here in wanted.values() for export in here.values()}
        needed |= {name.rpartition(".")[0] for name in keep}
        for key in await self._views.read() - needed:
            with contextlib.suppress(Unavailable):  # it is asked again whenever the list changes
                await self._views.hide(key)
        return problems

    async def _has(self, daemon: Tgtd, names: Collection[str]) -> bool:
        """Whether one of these is there."""
        if await asyncio.to_thread(daemon.pid) is None:
            return False
        with contextlib.suppress(Unavailable):
            return any(target.name in names for target in await daemon.targets())
        return False

    async def _bring(
        self,
        daemon: Tgtd,
        light: Mapping[str, Export],
        dark: Collection[str],
        fresh: Collection[str],
        keep: frozenset[str],
    ) -> list[HaganeError]:
        """Make one portal so. `dark`: exports whose views are dead; nobody is to take their targets for good."""
        problems: list[HaganeError] = []
        try:
            if dark and await asyncio.to_thread(daemon.pid) is not None:
                problems += await _drop_but(daemon, keep.union(light))
            if light:
                problems += await self._make(daemon, light, fresh)
        except Unavailable as error:
            await daemon.end()  # it does not answer: it is made anew with the next try
            problems.append(error)
        except HaganeError as error:
            problems.append(error)
        return problems

    async def _make(self, daemon: Tgtd, wanted: Mapping[str, Export], fresh: Collection[str]) -> list[HaganeError]:
        """`fresh`: volumes whose views were made now; a daemon that has such a file open has its dead predecessor."""
        await daemon.start()
        there = {target.name: target for target in await daemon.targets()}
        numbers = {target.number for target in there.values()}
        problems: list[HaganeError] = []
        for name, export in wanted.items():
            file = export.file if export.form == "raw" else self._views.path(export.volume_id)
            target = there.get(name)
            try:  # one that is refused keeps none of the others from their volumes
                if target and (target.file != str(file) or target.users != (export.user,) or export.volume_id in fresh):
                    await _drop(daemon, target)
                    target = None
                if target is None:
                    number = next(n for n in range(1, 1 << 16) if n not in numbers)
                    numbers.add(number)
                    await _add(daemon, number, export, file)
            except DeviceFailed as error:
                problems.append(error)
        return problems

    async def new_layer(self, volume_id: str, file: Path) -> None:
        await self._views.new_layer(volume_id, file)

    # -- deaths --------------------------------------------------------------------------------------------------------

    def watch(self, changed: Callable[[], None]) -> None:
        self._changed, self._loop = changed, asyncio.get_running_loop()

    async def close(self) -> None:
        self._changed = None
        for watched in self._watched.values():
            self._loop.remove_reader(watched)
            os.close(watched)
        self._watched.clear()

    def _look(self) -> None:
        """Watch the processes that there are now. Blocks."""
        if self._changed is None:
            return
        pids = {pid for portal in self._portals() if (pid := Tgtd(portal, self._folder).pid()) is not None}
        for pid in (pids | self._views.pids()) - self._watched.keys():
            with contextlib.suppress(ProcessLookupError):
                watched = os.pidfd_open(pid)
                self._watched[pid] = watched
                self._loop.call_soon_threadsafe(self._loop.add_reader, watched, self._ended, pid)

    def _ended(self, pid: int) -> None:
        watched = self._watched.pop(pid)
        self._loop.remove_reader(watched)
        os.close(watched)
        if self._changed is not None:
            self._changed()

    def _portals(self) -> list[Portal]:
        """Those whose daemons left files. Blocks."""
        names = [path.stem for path in self._folder.glob("*.pid")] if self._folder.is_dir() else []
        return [portal for name in names if (portal := portal_of(name)) is not None]


def _by_portal(exports: Iterable[Export]) -> dict[Portal, dict[str, Export]]:
    found: dict[Portal, dict[str, Export]] = {}
    for export in exports:
        found.setdefault(export.portal, {})[export.name] = export
    return found


async def _add(daemon: Tgtd, number: int, export: Export, file: Path) -> None:
    """The account is bound before the initiators are, so that nobody gets in without a password."""
    await daemon.ask(Op.NEW, Mode.TARGET, f"targetname={PREFIX}{export.name}", target=number)
    try:
        await daemon.ask(Op.NEW, Mode.DEVICE, f"path={file},bstype=rdwr", target=number, lun=1)
        await daemon.ask(Op.DELETE, Mode.ACCOUNT, f"user={export.user}", fine=(NO_USER,))
        await daemon.ask(Op.NEW, Mode.ACCOUNT, f"user={export.user},password={export.password}")
        await daemon.ask(Op.BIND, Mode.ACCOUNT, f"user={export.user}", target=number)
        who = f"initiator-name={export.initiator}" if export.initiator else "initiator-address=ALL"
        await daemon.ask(Op.BIND, Mode.TARGET, who, target=number)
    except BaseException:
        await asyncio.shield(daemon.ask(Op.DELETE, Mode.TARGET, target=number, force=True, fine=(NO_TARGET,)))
        raise


async def _drop_but(daemon: Tgtd, names: Collection[str]) -> list[HaganeError]:
    """Drop all targets but these; says what was refused. Raises Unavailable."""
    problems: list[HaganeError] = []
    for target in await daemon.targets():
        if target.name not in names:
            try:
                await _drop(daemon, target)
            except DeviceFailed as error:
                problems.append(error)
    return problems


async def _drop(daemon: Tgtd, target: Target) -> None:
    await daemon.ask(Op.UNBIND, Mode.TARGET, "initiator-address=ALL", target=target.number, fine=(NO_TARGET, NO_ACL))
    await daemon.ask(Op.DELETE, Mode.TARGET, target=target.number, force=True, fine=(NO_TARGET,))
    for user in target.users:
        await daemon.ask(Op.DELETE, Mode.ACCOUNT, f"user={user}", fine=(NO_USER,))


class SimExports:
    """As simulated machines reach simulated volumes: a list."""

    def __init__(self, homes: Mapping[str, Home]) -> None:
        self.portal, self._homes = Portal("", "127.0.0.1"), dict(homes)
        self.there: dict[str, Export] = {}

    def home(self, backend: str) -> Home | None:
        return self._homes.get(backend)

    async def apply(self, exports: Sequence[Export], keep: frozenset[str] = frozenset()) -> None:
        kept = {name: export for name, export in self.there.items() if name in keep}
        self.there = kept | {export.name: export for export in exports}

    async def read(self) -> frozenset[str]:
        return frozenset(self.there)

    async def new_layer(self, volume_id: str, file: Path) -> None:
        """Simulated volumes have no layers."""

    def watch(self, changed: Callable[[], None]) -> None:
        """No process ends here."""

    async def close(self) -> None:
        """Nothing is open."""
