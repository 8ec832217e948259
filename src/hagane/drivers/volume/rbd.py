"""Volumes as images of a Ceph pool, by the `rbd` command: https://docs.ceph.com/en/latest/man/8/rbd/

A snapshot of ours is an image of its own: a clone (format 2, so that its parent's snapshot stays in the trash as long
as somebody needs it) of a snapshot that is taken for it and removed at once. So each thing has one name, and goes when
it is asked to; Ceph keeps shared bytes as long as there are copies.

Written after the manual and tested against an emulation of the command: no cluster was at hand.
"""

import contextlib
import json
from typing import Any

from hagane.drivers.volume.base import GIB, Space
from hagane.drivers.volume.block import SNAPSHOT, TEMP, VOLUME, BlockVolumes, Command
from hagane.errors import DeviceFailed, Unavailable


class RbdVolumes(BlockVolumes):
    """`user` is a Ceph client's name without "client."; `monitors` are told to machines, as `secret` (the id of a
    libvirt secret that holds the client's key) is."""

    family = "rbd"

    def __init__(
        self, pool: str, user: str, *, monitors: tuple[str, ...] = (), secret: str = "", command: Command | None = None
    ) -> None:
        super().__init__(command)
        self._pool, self._user, self._monitors, self._secret = pool, user, monitors, secret

    async def _rbd(self, *words: str) -> str:
        return await self._command("rbd", "--id", self._user, "--pool", self._pool, *words)

    async def _json(self, *words: str) -> Any:
        text = await self._rbd(*words, "--format", "json")
        try:
            return json.loads(text)
        except ValueError as error:
            raise Unavailable("The answer of rbd cannot be read.", detail=text[:500]) from error

    async def _sizes(self) -> dict[str, int]:
        ours = (VOLUME, SNAPSHOT, TEMP)
        rows = await self._json("ls", "--long")
        return {row["image"]: row["size"] for row in rows if row["image"].startswith(ours) and "snapshot" not in row}

    def _address(self, name: str) -> str:
        return f"rbd:{self._pool}/{name}:id={self._user}"

    async def _create(self, name: str, size: int) -> None:
        await self._rbd("create", "--size", f"{size}B", "--image-feature", "layering", name)

    async def _copy(self, source: str, name: str) -> None:
        """A kill may leave the snapshot behind: it is taken anew under the same name the next time."""
        shot = f"{source}@{name}"
        if any(row["name"] == name for row in await self._json("snap", "ls", source)):
            await self._rbd("snap", "rm", "--no-progress", shot)
        await self._rbd("snap", "create", "--no-progress", shot)
        await self._rbd("clone", "--rbd-default-clone-format", "2", f"{self._pool}/{shot}", f"{self._pool}/{name}")
        await self._rbd("snap", "rm", "--no-progress", shot)

    async def _grow(self, name: str, size: int) -> None:
        await self._rbd("resize", "--no-progress", "--size", f"{size}B", name)

    async def _rename(self, name: str, new: str) -> None:
        await self._rbd("rename", name, new)

    async def _remove(self, name: str) -> None:
        """Into the trash: an image with copies cannot be removed, but need not be seen. What of ours lies there and
        has no copies any more goes now."""
        await self._rbd("trash", "mv", name)
        for row in await self._json("trash", "ls"):
            if row["name"].startswith((VOLUME, SNAPSHOT, TEMP)):
                with contextlib.suppress(DeviceFailed):
                    await self._rbd("trash", "rm", "--no-progress", row["id"])

    async def space(self) -> Space:
        text = await self._command("ceph", "--id", self._user, "df", "--format", "json")
        try:
            pools = {row["name"]: row["stats"] for row in json.loads(text)["pools"]}
            stats = pools[self._pool]
            free, used = stats["max_avail"] / GIB, stats["stored"] / GIB
        except (ValueError, KeyError) as error:
            raise Unavailable(f"Ceph says nothing of the pool {self._pool}.", detail=text[:500]) from error
        return Space(round(free + used, 2), round(free, 2), {"thin_provisioning_support": True, "multiattach": True})

    async def connection(self, volume_id: str) -> dict[str, Any]:
        self._demand(await self._sizes(), VOLUME, volume_id)
        pairs = [monitor.rpartition(":") for monitor in self._monitors]
        data = {
            "name": f"{self._pool}/{VOLUME}{volume_id}", "hosts": [host for host, _, _ in pairs],
            "ports": [port for _, _, port in pairs], "auth_enabled": True, "auth_username": self._user,
            "secret_type": "ceph", "secret_uuid": self._secret, "volume_id": volume_id, "discard": True,
        }  # fmt: skip
        return {"driver_volume_type": "rbd", "data": data}
