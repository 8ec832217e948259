"""A port's own DHCP options, in OVN's words (ovn-nb(5), "DHCP Options"). Pure functions.

Names are dnsmasq's or numbers, as clients of the real service send them. OVN writes options into the actions of a flow
as they stand, so only those that it knows get there, each in the form of its kind; what OVN cannot send, nobody gets.
"""

from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network
from typing import Any


def own(base: dict[str, str], extra: Sequence[dict[str, Any]], version: int) -> dict[str, str]:
    """A subnet's options with a port's own ones over them; one without a value is not sent."""
    options = dict(base)
    for entry in extra:
        known = _BY_VERSION[version].get(entry["opt_name"].strip().lower())
        if known is None or int(entry.get("ip_version") or 4) != version:
            continue
        name, form = known
        text = (entry.get("opt_value") or "").strip()
        if not text:
            options.pop(name, None)
        elif (value := form(text, version)) is not None:
            options[name] = value
    return options


def _text(text: str, _version: int) -> str | None:
    """In quotes; who has learned OVN's form elsewhere has put them there already."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    return f'"{text}"' if text.isprintable() and not {'"', "\\"} & set(text) else None


def _number(text: str, _version: int) -> str | None:
    return text if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) < 1 << 32 else None


def _switch(text: str, _version: int) -> str | None:
    return {"0": "0", "1": "1", "false": "0", "true": "1"}.get(text.lower())


def _addresses(text: str, version: int) -> str | None:
    found = [_address(part, version) for part in text.strip("{}").split(",")]
    known = [part for part in found if part]
    if len(known) < len(found):
        return None
    return known[0] if len(known) == 1 else "{" + ", ".join(known) + "}"


def _address(text: str, version: int) -> str | None:
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    return str(address) if address.version == version and "%" not in text else None


def _routes(text: str, version: int) -> str | None:
    """`to,via,to,via`, with or without braces."""
    parts = [part.strip() for part in text.strip("{}").split(",")]
    vias = [_address(part, version) for part in parts[1::2]]
    try:
        tos = [str(ip_network(part, strict=False)) for part in parts[::2]]
    except ValueError:
        return None
    if len(tos) != len(vias) or None in vias or any("%" in to for to in tos):
        return None
    return "{" + ", ".join(f"{to},{via}" for to, via in zip(tos, vias, strict=True)) + "}"


_Form = Callable[[str, int], str | None]
_V4: tuple[tuple[_Form, str, str], ...] = (  # the form, OVN's name, what clients call it
    (_addresses, "router", "router 3"), (_addresses, "dns_server", "dns-server 6"),
    (_addresses, "log_server", "log-server 7"), (_addresses, "lpr_server", "lpr-server 9"),
    (_addresses, "nis_server", "nis-server 41"), (_addresses, "ntp_server", "ntp-server 42"),
    (_addresses, "swap_server", "swap-server 16"), (_addresses, "router_solicitation", "router-solicitation 32"),
    (_addresses, "netbios_name_server", "netbios-ns 44"), (_addresses, "broadcast_address", "broadcast 28"),
    (_addresses, "tftp_server_address", "tftp-server-address server-ip-address 150"),
    (_addresses, "next_server", "next-server"), (_text, "tftp_server", "tftp-server 66"),
    # The tags are those that clients of the real service send: OVN knows an iPXE from plain firmware, and no more.
    (_text, "bootfile_name", "bootfile-name 67 tag:ipxe,67 tag:ipxe,bootfile-name"),
    (_text, "bootfile_name_alt", "tag:!ipxe,67 tag:!ipxe,bootfile-name"),
    (_text, "path_prefix", "path-prefix 210"), (_text, "wpad", "wpad 252"), (_text, "domain_name", "domain-name 15"),
    (_text, "domain_search_list", "domain-search 119"),
    (_number, "mtu", "mtu 26"), (_number, "lease_time", "lease-time 51"), (_number, "default_ttl", "default-ttl 23"),
    (_number, "tcp_ttl", "tcp-ttl 37"), (_number, "arp_cache_timeout", "arp-timeout 35"),
    (_number, "tcp_keepalive_interval", "tcp-keepalive 38"), (_number, "T1", "t1 58"), (_number, "T2", "t2 59"),
    (_number, "netbios_node_type", "netbios-nodetype 46"),
    (_switch, "ip_forward_enable", "ip-forward-enable 19"), (_switch, "router_discovery", "router-discovery 31"),
    (_switch, "ethernet_encap", "ethernet-encap 36"),
    (_routes, "classless_static_route", "classless-static-route 121"),
    (_routes, "ms_classless_static_route", "ms-classless-static-route 249"),
)  # fmt: skip
_V6: tuple[tuple[_Form, str, str], ...] = (
    (_addresses, "dns_server", "dns-server 23"), (_text, "domain_search", "domain-search 24"),
)  # fmt: skip
_BY_VERSION = {
    version: {name: (ovn, form) for form, ovn, names in table for name in names.split()}
    for version, table in ((4, _V4), (6, _V6))
}
