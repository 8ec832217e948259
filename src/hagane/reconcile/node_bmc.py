"""The BMC drivers of Nodes: one per Node, kept while its address and account stay the same."""

import asyncio
import contextlib

from hagane.baremetal.node_secret import opened
from hagane.drivers.bmc.base import Bmc, BmcAccess, Question
from hagane.drivers.bmc.ipmi import IpmiBmc
from hagane.errors import DeviceFailed, Unavailable
from hagane.reconcile.node_sim import Fleet
from hagane.state.database import Row
from hagane.state.secret import Secrets


class Bmcs:
    def __init__(self, secrets: Secrets, fleet: Fleet) -> None:
        self._secrets, self._fleet = secrets, fleet
        self._known: dict[str, tuple[object, Bmc]] = {}

    def of(self, row: Row) -> Bmc:
        """Raises DeviceFailed when the row does not say how to reach it."""
        mark = (row["driver"], row["driver_info"], row["secrets"] if row["driver"] != "fake-hardware" else "")
        known = self._known.get(row["id"])
        if known is None or known[0] != mark:
            made = self._fleet.bmc(row) if row["driver"] == "fake-hardware" else self._real(row)
            known = self._known[row["id"]] = (mark, made)
        return known[1]

    def open(self, key: str) -> Question | None:
        """What a Node's BMC has not answered yet."""
        known = self._known.get(key)
        return known[1].open if known is not None else None

    def _real(self, row: Row) -> Bmc:
        info = opened(self._secrets, row)["driver_info"]
        match row["driver"]:
            case "redfish" if info.get("redfish_address"):
                # Its library takes a third of a second to load: only clouds that have such a BMC pay for it.
                from hagane.drivers.bmc.redfish import RedfishBmc

                address = str(info["redfish_address"])
                return RedfishBmc(BmcAccess(
                    address if "://" in address else f"https://{address}", str(info.get("redfish_username") or ""),
                    str(info.get("redfish_password") or ""), system=str(info.get("redfish_system_id") or ""),
                    verify=_verify(info.get("redfish_verify_ca", True)),
                ), ipmi=_ipmi(info, "redfish") if info.get("ipmi_address") else None)  # fmt: skip
            case "ipmi" if info.get("ipmi_address"):
                return _ipmi(info, "ipmi")
        raise DeviceFailed(f"The driver_info of node {row['id']} does not say where its BMC is.")

    async def forget(self, key: str) -> None:
        """There is no such Node any more."""
        self._fleet.forget(key)
        await self._close(key)

    async def _close(self, key: str) -> None:
        known = self._known.pop(key, None)
        if known is not None:
            with contextlib.suppress(Unavailable, DeviceFailed):
                await known[1].close()

    async def close(self) -> None:
        await asyncio.gather(*(self._close(key) for key in list(self._known)))


def _ipmi(info: Row, other: str) -> IpmiBmc:
    """A machine's IPMI side; one that is driven by Redfish needs it for its console, often with the same account."""
    name, password = (
        str(info.get(f"ipmi_{key}") or info.get(f"{other}_{key}") or "") for key in ("username", "password")
    )
    port = str(info.get("ipmi_port") or 623)
    if not (port.isascii() and port.isdecimal() and len(port) < 6):
        raise DeviceFailed(f"ipmi_port {port[:20]!r} is no port.")
    return IpmiBmc(BmcAccess(str(info["ipmi_address"]), name, password, port=int(port)))


def _verify(value: object) -> bool | str:
    if isinstance(value, bool):
        return value
    text = str(value)
    return text if text.startswith("/") else text.lower() not in ("false", "0", "no", "off")
