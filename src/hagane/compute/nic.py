"""What the compute API asks of the network API: ports for Servers and what is known about them.

A Server's NICs are network Ports whose device is the Server. The row keeps their order, who made them, and their tags.
"""

from collections.abc import Iterable
from typing import Any

from hagane.api.http import Request
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Sql


async def addresses(reader: Reader, server_ids: list[str]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """server id -> network name -> addresses in the form of the wire."""
    return {}


async def group_names(reader: Reader, server_ids: list[str]) -> dict[str, list[str]]:
    """server id -> names of the security groups of its ports, each once."""
    return {}


async def ports_of(reader: Reader, server_ids: Iterable[str]) -> dict[str, list[Row]]:
    """server id -> its port rows."""
    return {}


async def plan(request: Request, tx: Tx, networks: Any, groups: list[str] | None, count: int) -> list[Any]:
    """What NICs the Servers of one order get: networks and ports that exist and may be used."""
    return []


async def make(request: Request, tx: Tx, server: Row, networks: list[Any]) -> list[dict[str, Any]]:
    """The NICs of one new Server, their ports made or taken over."""
    return []


def with_address(text: str, version: int, dialect: str) -> Sql:
    """Servers that have an address that matches."""
    return Sql("1 = 0")


async def networks_of(reader: Reader, ports: list[Row]) -> dict[str, Row]:
    """network id -> what a guest must know of it: name, mtu, subnets with gateway and name servers."""
    return {}


async def bind(tx: Tx, server: Row, host: str) -> None:
    """The Server's ports are to be on this Host."""


async def unbind(tx: Tx, server: Row) -> None:
    """The Server's ports are on no Host."""


async def release(tx: Tx, server: Row) -> None:
    """The Server ends: ports that were made for it go, others are free again."""


async def detach_failed(tx: Tx, server: Row) -> None:
    """A NIC could not be brought to a running machine: take it off the Server again."""
