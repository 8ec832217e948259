"""Metadata Ports on this machine: each listens on port 80 of 169.254.169.254 in its network's namespace (plug.py)."""

import asyncio

from hagane.drivers.metadata import space
from hagane.drivers.metadata.base import ADDRESS, ADDRESS_V6, Answer, Endpoint
from hagane.drivers.metadata.http import Listener
from hagane.drivers.metadata.plug import Kind, PluggedPorts, Switch

KIND = Kind("hagane-metadata", "meta", "meta0", "hm", (f"{ADDRESS}/32",), f"{ADDRESS_V6}/64")


class NetnsMetadata(PluggedPorts):
    """A MetadataDriver for a machine with Open vSwitch."""

    def __init__(self, switch: Switch, answer: Answer) -> None:
        super().__init__(switch, KIND, self._listener)
        self._answer = answer

    def ear(self, network_id: str) -> tuple[str, str] | None:
        return self.space(network_id), KIND.inside

    async def _listener(self, one: Endpoint, name: str) -> Listener:
        listener = Listener(one.network_id, self._answer)
        await listener.open(await asyncio.to_thread(space.inside, name, space.listen))
        return listener
