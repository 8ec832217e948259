"""The network's rows as rows of OVN's Northbound database.

    rows.py      reads what a batch of keys needs, a query per table
    switch.py    network, subnets      ─▶ Logical_Switch, localnet port, DHCP_Options
    port.py      port                  ─▶ Logical_Switch_Port, its groups, its own DHCP options
    router.py    router, interfaces    ─▶ Logical_Router and its ports, routes, SNAT; floating IP ─▶ NAT
    dns.py      names of ports         ─▶ DNS
    forward.py  port forwardings       ─▶ Load_Balancer, in the router and in the switches behind it
    group.py     security group, rules ─▶ Port_Group, ACL
    pairs.py     the two ends of a router's port, which go and come together
    reconciler.py   keys → rows → desired rows → apply;  part.py   what OVN says back

switch, port, router and group are pure functions from rows to `Desired`.
"""
