"""Hosts as rows: the machines that run Servers. To the placement API a Host is a resource provider, to the compute API
a hypervisor and a service. Intent (disabled, its reason, forced down) is written by the API; what is observed (state,
facts, last seen) by reconcile/host.py alone.

    (first answer) ──▶ up ──no answer for the deadline──▶ down ──answers again──▶ up
"""

from hagane.state.database import Reader, Row
from hagane.state.table import Column, Table

HOST = Table(
    "host",
    (
        Column("id", key=True),  # uuid: hypervisor and resource provider
        Column("name"),
        Column("number", "int"),  # the integer id of older compute microversions
        Column("service_id"),  # uuid of the "service" that runs on it (nova-compute, on the wire)
        Column("state"),  # up or down
        Column("facts", "json"),  # drivers/hypervisor/base.py HostFacts
        Column("reason"),  # why it is down, in words
        Column("seen_at"),
        Column("zone"),
        Column("disabled", "bool"),
        Column("disabled_reason"),
        Column("forced_down", "bool"),
        Column("generation", "int"),  # the resource provider's: raised by every change of inventory or claim
        Column("created_at"),
        Column("updated_at"),
    ),
    ("unique name", "unique number"),
)

DEFAULT_ZONE = "nova"


async def all_hosts(reader: Reader) -> list[Row]:
    """Every Host, in the order of its number."""
    return await HOST.select(reader, order="number")


def is_up(host: Row) -> bool:
    """Whether Servers on it can be acted upon."""
    return bool(host["state"] == "up" and not host["forced_down"])
