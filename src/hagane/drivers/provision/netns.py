"""The provisioning service on this machine: a namespace for every network, sockets of this process inside.

hagane-prov-<12 digits of the network>                          hagane-host1
TCP 80, UDP 69, ICMPv6 ── prov0 (the service Port's address) ── hp<12 digits> ── br-int (iface-id = Port)
"""

import asyncio
import contextlib
import socket

from hagane.drivers.metadata import space
from hagane.drivers.metadata.base import Answer, Endpoint
from hagane.drivers.metadata.http import Listener
from hagane.drivers.metadata.plug import Kind, PluggedPorts, Switch
from hagane.drivers.provision import router_advertisement, tftp
from hagane.drivers.provision.base import MOST_BODY, Dial
from hagane.errors import DeviceFailed

KIND = Kind("hagane-provision", "prov", "prov0", "hp")


class Service:
    """What listens in one network."""

    def __init__(self, network_id: str, name: str, answer: Answer) -> None:
        self._name = name
        self._http = Listener(network_id, answer, most_body=MOST_BODY)
        self._tftp = tftp.Server(network_id, answer, self._datagram)
        self._advertiser: router_advertisement.Advertiser | None = None

    async def open(self) -> None:
        """Raises DeviceFailed."""
        await self._http.open(await asyncio.to_thread(space.inside, self._name, space.listen))
        await self._tftp.open(await asyncio.to_thread(space.inside, self._name, lambda: _datagram(69)))
        with contextlib.suppress(DeviceFailed):  # a kernel without IPv6: nobody asks for a router then
            heard = await asyncio.to_thread(space.inside, self._name, lambda: router_advertisement.listen(KIND.inside))
            self._advertiser = router_advertisement.Advertiser(heard)

    async def close(self) -> None:
        await self._http.close()
        await self._tftp.close()
        if self._advertiser is not None:
            await self._advertiser.close()

    async def _datagram(self) -> socket.socket:
        try:
            return await asyncio.to_thread(space.inside, self._name, lambda: _datagram(0))
        except DeviceFailed as error:
            raise OSError(error.message) from error


class NetnsProvision(PluggedPorts):
    """A ProvisionDriver for a machine with Open vSwitch."""

    def __init__(self, switch: Switch, answer: Answer) -> None:
        super().__init__(switch, KIND, self._service)
        self._answer = answer

    async def _service(self, one: Endpoint, name: str) -> Service:
        service = Service(one.network_id, name, self._answer)
        await service.open()
        return service

    def dial(self, network_id: str) -> Dial:
        name = self.space(network_id)

        async def connect(address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            try:
                made = await asyncio.to_thread(space.inside, name, _stream)
            except DeviceFailed as error:
                raise OSError(error.message) from error
            try:
                await asyncio.get_running_loop().sock_connect(made, (address, port))
                return await asyncio.open_connection(sock=made)
            except BaseException:
                made.close()
                raise

        return connect


def _stream() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)


def _datagram(port: int) -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if port:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(("0.0.0.0", port))
    except BaseException:
        one.close()
        raise
    return one
