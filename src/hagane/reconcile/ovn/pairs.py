"""A router's port has two ends in OVN, one in the switch and one in the router. Both go and come together.

When one end was deleted and is made again while the other stays, ovn-controller (23.03, and later ones) keeps sending
what goes through the other to where the old end was: it adds the new flow beside the old one, of which one is dropped
as a duplicate. So an end whose other end is missing is taken out as well, and once all chassis have seen that, both
are made.
"""

from hagane.ovn.desired import RowKey, key_of
from hagane.ovn.northbound import Northbound, Table
from hagane.ovn.row import Row


class Pairs:
    """Knows the ends. They are found by name: the switch's end names the router's (ovn-nb(5), "router-port")."""

    def __init__(self, nb: Northbound) -> None:
        self._nb = nb
        self._in_switch = nb.replica.index(Table.PORT, _named)

    def widowed(self) -> list[RowKey]:
        """Ends of ours whose other end is missing. Looks at all router ports."""
        in_router = {row["name"]: row for row in self._nb.replica.table(Table.ROUTER_PORT).values()}
        in_switch = set(self._in_switch.keys())
        lone: list[tuple[Table, Row]] = [(Table.ROUTER_PORT, in_router[name]) for name in in_router.keys() - in_switch]
        for name in in_switch - in_router.keys():
            lone += [(Table.PORT, row) for row in self._in_switch.get(name)]
        return [(table, key) for table, row in lone if (key := key_of(table, row)) is not None]


def _named(row: Row) -> str | None:
    return row["options"].get("router-port") if row["type"] == "router" else None
