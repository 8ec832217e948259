"""Values of a port's attributes that need rules of their own."""

from ipaddress import ip_interface
from typing import Any

from hagane.api.text import unscoped
from hagane.api.types import BadValue
from hagane.network.errors import bad_request, error, invalid
from hagane.network.value import ip, mac

VNIC_TYPES = (
    "normal", "direct", "macvtap", "baremetal", "direct-physical", "virtio-forwarder", "smart-nic", "vdpa",
    "accelerator-direct", "accelerator-direct-physical", "remote-managed",
)  # fmt: skip
MAX_PAIRS = 10


def pairs(field: str, value: Any) -> list[dict[str, str]]:
    """Allowed address pairs: an address or prefix each, and optionally a MAC address."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise bad_request("Allowed address pairs must be a list.")
    if len(value) > MAX_PAIRS:
        raise error("AllowedAddressPairExhausted", quota=MAX_PAIRS)
    found: list[dict[str, str]] = []
    for pair in value:
        if not isinstance(pair, dict):
            raise BadValue(field, value, f"'{pair}' is not a dictionary")
        if "ip_address" not in pair:
            raise error("AllowedAddressPairsMissingIP")
        unknown = set(pair) - {"ip_address", "mac_address"}
        if unknown:
            raise bad_request(f"Unrecognized attribute(s) '{', '.join(sorted(unknown))}'")
        try:
            entry = {"ip_address": _ip_or_prefix(field, pair["ip_address"])}
            if pair.get("mac_address") is not None:
                entry["mac_address"] = mac(field, pair["mac_address"])
        except BadValue as bad:
            raise bad_request(bad.reason) from None
        if entry in found:
            raise error("DuplicateAddressPairInRequest", mac=entry.get("mac_address"), ip=entry["ip_address"])
        found.append(entry)
    return found


def _ip_or_prefix(field: str, value: Any) -> str:
    if not isinstance(value, str) or "/" not in value:
        return ip(field, value)
    try:
        return str(ip_interface(unscoped(value)))
    except ValueError:
        raise BadValue(field, value, f"'{value}' is not a valid IP subnet") from None


def dhcp_opts(field: str, value: Any) -> list[dict[str, Any]]:
    """Extra DHCP options: a name, a value (None removes it), and the IP version they are for."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid(f"'{value}' is not a list")
    found = []
    for option in value:
        if not isinstance(option, dict) or not {"opt_name", "opt_value"} <= set(option) <= _DHCP_KEYS:
            raise invalid(f"No valid key specs matched for: {option}")
        name, text, version = option["opt_name"], option["opt_value"], option.get("ip_version", 4)
        if str(version) not in ("4", "6") or not isinstance(name, str) or not name.strip() or len(name) > 64:
            raise invalid(f"No valid key specs matched for: {option}")
        if not _fits(name, text):
            raise invalid(f"No valid key specs matched for: {option}")
        found.append({"opt_name": name, "opt_value": text, "ip_version": int(version)})
    return found


_DHCP_KEYS = {"opt_name", "opt_value", "ip_version"}


def _fits(name: str, text: Any) -> bool:
    """Two options may be empty, which means that the server shall not send them."""
    if text is None:
        return True
    if not isinstance(text, str) or len(text) > 255 or "\n" in name or "\n" in text:
        return False
    return bool(text.strip()) or name in ("router", "classless-static-route")
