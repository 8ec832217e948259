"""Volumes as thin logical volumes of one volume group: https://man7.org/linux/man-pages/man7/lvmthin.7.html

A thin snapshot shares blocks with its origin and needs it no more: either may go first, and a copy is a snapshot that
is written to. Ours bear the tag `hagane`. It needs the kernel's device mapper with thin provisioning.

Tested against an emulation of the commands: no kernel with a device mapper was at hand.
"""

import json
from typing import Any

from hagane.drivers.volume.base import GIB, Space
from hagane.drivers.volume.block import VOLUME, BlockVolumes
from hagane.drivers.volume.command import Command
from hagane.errors import DeviceFailed, Unavailable

TAG = "hagane"


class LvmVolumes(BlockVolumes):
    """`pool` is a thin pool in `group`; both exist."""

    family = "lvm"

    def __init__(self, group: str, pool: str, command: Command | None = None) -> None:
        super().__init__(command)
        self._group, self._pool = group, pool

    async def _list(self, what: str, fields: str) -> list[dict[str, str]]:
        """Logical volumes (`what`: a selection) as LVM reports them."""
        text = await self._command(
            "lvs", "--reportformat", "json", "--units", "b", "--nosuffix", "-S", what, "-o", fields, self._group
        )
        try:
            found: list[dict[str, str]] = json.loads(text)["report"][0]["lv"]
        except (ValueError, KeyError, IndexError) as error:
            raise Unavailable("LVM's report cannot be read.", detail=text[:500]) from error
        return found

    async def _sizes(self, *names: str) -> dict[str, int]:
        return {name: size for name, size in (await self._all()).items() if name in names}

    async def _all(self) -> dict[str, int]:
        return {lv["lv_name"]: int(lv["lv_size"]) for lv in await self._list(f"lv_tags={TAG}", "lv_name,lv_size")}

    def _address(self, name: str) -> str:
        return f"/dev/{self._group}/{name}"

    def _full(self, name: str) -> str:
        return f"{self._group}/{name}"

    async def _create(self, name: str, size: int) -> None:
        await self._room(size)
        await self._command("lvcreate", "--yes", "--addtag", TAG, "--type", "thin", "--virtualsize", f"{size}b",
                            "--name", name, "--thinpool", self._full(self._pool))  # fmt: skip

    async def _room(self, size: int) -> None:
        """A thin pool promises more than it has; a volume that could never be filled is refused."""
        if size > (await self.space()).total_gb * GIB:
            raise DeviceFailed("The storage backend is smaller than this volume.")

    async def _copy(self, source: str, name: str) -> None:
        active = ("--setactivationskip", "n", "--activate", "y")
        name_of = ("--name", name, self._full(source))
        await self._command("lvcreate", "--yes", "--addtag", TAG, "--snapshot", *active, *name_of)

    async def _grow(self, name: str, size: int) -> None:
        await self._command("lvextend", "--size", f"{size}b", self._full(name))

    async def _rename(self, name: str, new: str) -> None:
        await self._command("lvrename", self._group, name, new)

    async def _remove(self, name: str) -> None:
        await self._command("lvremove", "--yes", "--force", self._full(name))

    async def space(self) -> Space:
        found = await self._list(f"lv_name={self._pool}", "lv_name,lv_size,data_percent")
        if not found:
            raise Unavailable(f"The thin pool {self._full(self._pool)} is not there.")
        total = int(found[0]["lv_size"]) / GIB
        free = total * (1 - float(found[0]["data_percent"] or 0) / 100)
        return Space(round(total, 2), round(free, 2), {"thin_provisioning_support": True, "multiattach": True})

    async def connection(self, volume_id: str) -> dict[str, Any]:
        self._demand(await self._sizes(VOLUME + volume_id), VOLUME, volume_id)
        data = {"device_path": self._address(VOLUME + volume_id), "format": "raw"}
        return {"driver_volume_type": "local", "data": data}
