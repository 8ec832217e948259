"""What rules of OVN note of the packets that they judge. Pure functions.

An ACL notes for one log: the oldest that wants to hear of what it does. With a label, an allowed connection is noted in
both directions (ovn-nb(5), "log-related"). A meter keeps a flood of packets from becoming one of lines.
"""

from collections.abc import Sequence
from typing import Any

from hagane.network.log_row import ALL
from hagane.ovn.desired import Desired
from hagane.ovn.northbound import Table
from hagane.state.database import Row

METER = "hagane_log"
RATE, BURST = 100, 25  # packets a second of each chassis and ACL, and what may come at once beyond it
SILENT: dict[str, Any] = {"log": False, "label": 0, "options": {}}


def hears(logs: Sequence[Row], event: str) -> Row | None:
    """The oldest log that wants to hear of ACCEPT or DROP."""
    return next((log for log in logs if log["event"] in (event, ALL)), None)


def columns(log: Row | None, *, label: str = "") -> dict[str, Any]:
    """An ACL's columns. `label` is the id of a rule whose connections are tracked."""
    if log is None:
        return SILENT
    found: dict[str, Any] = {"log": True, "name": log["id"], "severity": "info", "meter": METER}
    related = {"label": int(label[:8], 16) or 1, "options": {"log-related": "true"}} if label else {}
    return SILENT | found | related


def meter(owner: str) -> list[Desired]:
    """The meter that all of them share, each with a rate of its own (`fair`)."""
    me = f"{owner}/meter"
    return [
        Desired(Table.METER, me, {"name": METER, "unit": "pktps", "fair": True}),
        Desired(Table.METER_BAND, f"{me}:band", {"action": "drop", "rate": RATE, "burst_size": BURST},
                parent=(Table.METER, me, "bands")),
    ]  # fmt: skip
