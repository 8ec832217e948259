"""Our OVSDB client (RFC 7047 and the extensions of Open vSwitch), and OVN on top of it.

    wire → schema → transaction → batch ┐
    framing → connection ───────────────┴→ replica → plan → northbound, southbound

`Northbound` and `Southbound` are what reconcilers use; `Replica` serves any OVSDB (a Host's, a switch's).
"""
