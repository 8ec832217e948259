"""Port forwardings: one Load_Balancer for each protocol of a floating IP. Pure functions.

The router balances what comes from outside, on the chassis of its gateway; the switches behind the router do the same
for machines on them, so that an inner machine reaches the floating IP as well (ovn-nb(5), "Load_Balancer").
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from hagane.network.forward_row import span
from hagane.ovn.desired import Desired
from hagane.ovn.northbound import Table
from hagane.reconcile.ovn import router, switch
from hagane.state.database import Row


def forwards(floating: Row, rows: Sequence[Row], networks: Iterable[str]) -> list[Desired]:
    """The balancers of a floating IP. `networks`: those on which its router has an interface."""
    if not floating.get("router_id"):
        return []
    by_protocol: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        by_protocol[row["protocol"]].update(_pairs(floating["floating_ip_address"], row))
    members: dict[tuple[str, str], list[str]] = {
        (Table.ROUTER, "load_balancer"): [router.owner(floating["router_id"])],
        (Table.SWITCH, "load_balancer"): [switch.owner(network) for network in sorted(set(networks))],
    }
    return [
        Desired(
            Table.LOAD_BALANCER,
            f"{router.floating_owner(floating['id'])}/forward:{protocol}",
            {"name": f"hagane_{floating['id']}_{protocol}", "protocol": protocol, "vips": vips},
            member_of=members,
        )
        for protocol, vips in sorted(by_protocol.items())
    ]


def _pairs(outer: str, row: Row) -> Iterator[tuple[str, str]]:
    """(outer address:port, inner address:port); a range leads to a range as long, or to one port."""
    first, last = span(row["external_port_range"])
    inner, inner_last = span(row["internal_port_range"])
    for number in range(first, last + 1):
        target = inner if inner == inner_last else inner + number - first
        yield f"{outer}:{number}", f"{row['internal_ip_address']}:{target}"
