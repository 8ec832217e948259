"""The types of the network API's attributes. They take what the real service takes, and refuse in its words.

Two kinds of refusal: a value that does not fit is "Invalid input for <attribute>. Reason: ..." (BadValue); a value that
cannot even be converted is the error InvalidInput.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hagane.api.text import unscoped
from hagane.api.types import BadValue, Type, is_uuid
from hagane.network.errors import bad_request, error, invalid

LONGEST = 1000  # entries of a list
_TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})
_FALSE = frozenset({"0", "f", "false", "off", "n", "no"})
_MAC = re.compile(r"(?:[0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}|[0-9a-fA-F]{12}|(?:[0-9a-fA-F]{4}\.){2}[0-9a-fA-F]{4}")


@dataclass(frozen=True)
class Text(Type):
    """A string of bounded length; `blank=False` refuses an empty one; `lower` folds case."""

    max: int | None = 255
    blank: bool = True
    lower: bool = False
    oneline: bool = False
    column = "text"

    def check(self, field: str, value: Any) -> Any:
        if value is None and self.nullable:
            return None
        if not isinstance(value, str):
            if self.lower:
                raise invalid(f"Input value {value} must be string type")
            raise BadValue(field, value, f"'{value}' is not a valid string")
        if self.max is not None and len(value) > self.max:
            raise BadValue(field, value, f"'{value}' exceeds maximum length of {self.max}")
        if not self.blank and not value.strip():
            raise BadValue(field, value, f"'{value}' Blank strings are not permitted")
        if self.oneline and "\n" in value:
            raise BadValue(field, value, f"Multi-line string is not allowed: '{value}'")
        if (not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value)) or "\x00" in value:
            raise BadValue(field, value, "The text holds characters that cannot be kept")
        return value.lower() if self.lower else value

    def query(self, field: str, text: str) -> Any:
        return text

    def own_schema(self) -> dict[str, Any]:
        return {"type": "string"} | ({"maxLength": self.max} if self.max is not None else {})


@dataclass(frozen=True)
class Flag(Type):
    """A boolean, or a word for one."""

    column = "bool"

    def check(self, field: str, value: Any) -> Any:
        if isinstance(value, bool) or (value is None and self.nullable):
            return value
        return truth(value)

    def query(self, field: str, text: str) -> Any:
        return truth(text)

    def own_schema(self) -> dict[str, Any]:
        return {"type": ["boolean", "string", "integer"]}


def truth(value: Any) -> bool:
    """The boolean that a word means. Raises InvalidInput."""
    word = str(value).strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise invalid(f"'{value}' cannot be converted to boolean")


@dataclass(frozen=True)
class Whole(Type):
    """A whole number, also as text; `min` refuses smaller ones."""

    min: int | None = None
    max: int = 2**53
    values: tuple[int, ...] = ()
    column = "int"

    def check(self, field: str, value: Any) -> Any:
        if value is None and self.nullable:
            return None
        try:
            number = int(value)
        except (ValueError, TypeError, OverflowError):
            raise invalid(f"'{value}' is not an integer") from None
        if self.values and number not in self.values:
            raise BadValue(field, value, f"{number} is not in valid_values")
        if self.min is not None and number < self.min:
            raise BadValue(field, value, f"'{number}' should be non-negative")
        if abs(number) > self.max:
            raise BadValue(field, value, f"'{number}' is too large - must be no larger than '{self.max}'")
        return number

    def query(self, field: str, text: str) -> Any:
        return self.check(field, text)

    def own_schema(self) -> dict[str, Any]:
        return {"type": ["integer", "string"]}


@dataclass(frozen=True)
class Id(Type):
    """A UUID, kept as it came."""

    column = "text"

    def check(self, field: str, value: Any) -> Any:
        if value is None and self.nullable:
            return None
        if not is_uuid(value):
            raise BadValue(field, value, f"'{value}' is not a valid UUID")
        return value

    def query(self, field: str, text: str) -> Any:
        return text

    def own_schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "uuid"}


@dataclass(frozen=True)
class OneOf(Type):
    """One of a few values."""

    values: tuple[Any, ...] = ()
    column = "text"

    def check(self, field: str, value: Any) -> Any:
        if (value is None and self.nullable) or (isinstance(value, str | int) and value in self.values):
            return value
        raise BadValue(field, value, f"{value} is not in valid_values")

    def query(self, field: str, text: str) -> Any:
        return text

    def own_schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.values)}


@dataclass(frozen=True)
class Checked(Type):
    """A value that a function checks: `rule(field, value)` returns it as it is kept, or raises."""

    rule: Callable[[str, Any], Any] = field(default=lambda field, value: value)
    kind: str = "json"
    json_schema: tuple[tuple[str, Any], ...] = ()

    @property
    def column(self) -> str:  # type: ignore[override]
        return self.kind

    def check(self, field: str, value: Any) -> Any:
        return self.rule(field, value)

    def query(self, field: str, text: str) -> Any:
        return self.rule(field, text) if self.kind == "int" else text

    def own_schema(self) -> dict[str, Any]:
        return dict(self.json_schema)


def ip(field: str, value: Any) -> str:
    """An address as it is kept: version 6 in its shortest form. Raises BadValue."""
    try:
        return str(ipaddress.ip_address(unscoped(value)))
    except ValueError:
        raise BadValue(field, value, f"'{value}' is not a valid IP address") from None


def ip_or_none(field: str, value: Any) -> str | None:
    return None if value is None else ip(field, value)


def cidr(field: str, value: Any) -> str:
    """A prefix in a list of prefixes. Host bits are kept. Raises BadValue."""
    try:
        if not isinstance(value, str) or "/" not in value:
            raise ValueError
        return str(ipaddress.ip_interface(unscoped(value)))
    except ValueError:
        raise BadValue(field, value, f"'{value}' is not a valid IP subnet") from None


def cidr_or_none(field: str, value: Any) -> str | None:
    """The prefix of a subnet; a bare address is a prefix of full length. Host bits are kept. Raises InvalidInput."""
    if value is None:
        return None
    try:
        return str(ipaddress.ip_interface(unscoped(value)))
    except ValueError:
        raise invalid(f"{value} is not in a CIDR format") from None


_OWNERS = ("network:", "baremetal:", "neutron:", "trunk:", *"compute:")
"""The real service takes whatever begins with a letter of `compute:`, and clients name owners of their own so."""


def service_types(field: str, value: Any) -> list[str]:
    """Device owners, or beginnings of them, that a subnet's addresses are for."""
    if not isinstance(value or [], list):
        raise bad_request("Subnet service types must be a list.")
    for each in value or []:
        if not isinstance(each, str):
            raise error("InvalidInputSubnetServiceType", service_type=each)
        if not each.startswith(_OWNERS):
            raise error("InvalidSubnetServiceType", service_type=each)
    return value or []


def mac(field: str, value: Any) -> str:
    """An Ethernet address, kept in lower case with colons. Multicast and zero addresses are refused."""
    if not isinstance(value, str) or not _MAC.fullmatch(value):
        raise BadValue(field, value, f"'{value}' is not a valid MAC address")
    digits = re.sub(r"[:.-]", "", value).lower()
    text = ":".join(digits[i : i + 2] for i in range(0, 12, 2))
    if digits == "0" * 12 or int(digits[1], 16) & 1:
        raise BadValue(field, value, f"'{text}' is not a valid MAC address")
    return text


def mac_or_none(field: str, value: Any) -> str | None:
    """None asks for a new address."""
    return None if value is None else mac(field, value)


def items(field: str, value: Any, check: Callable[[str, Any], Any]) -> list[Any]:
    """A list without duplicates, each entry checked. Raises BadValue."""
    if not isinstance(value, list):
        raise BadValue(field, value, f"'{value}' is not a list")
    bounded(field, value)
    if double := [text for text, count in Counter(map(str, value)).items() if count > 1]:
        raise BadValue(field, value, f"Duplicate items in the list: '{', '.join(double)}'")
    return [check(field, entry) for entry in value]


def bounded(field: str, value: list[Any]) -> None:
    """Entries are compared with each other, which takes the square of their number."""
    if len(value) > LONGEST:
        raise BadValue(field, f"{len(value)} entries", f"A list has at most {LONGEST} entries")


def keys(field: str, value: Any, expected: tuple[str, ...]) -> None:
    """Refuse what is no dictionary of exactly these keys."""
    if not isinstance(value, dict):
        raise BadValue(field, value, f"Invalid input. '{value}' must be a dictionary with keys: {list(expected)}")
    if set(value) != set(expected):
        raise BadValue(
            field, value,
            f"Validation of dictionary's keys failed. Expected keys: {list(expected)} Provided keys: {list(value)}",
        )  # fmt: skip


def ids(field: str, value: Any) -> list[str]:
    return items(field, [] if value is None else value, Id().check)


def prefixes(field: str, value: Any) -> list[str]:
    return items(field, value, cidr)


def words(field: str, value: Any) -> list[str]:
    """A list of strings (availability zone hints, tags)."""
    if not isinstance(value, list):
        raise BadValue(field, value, f"'{value}' is not a list")
    return [Text(255).check(field, entry) for entry in value]


def nameservers(field: str, value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadValue(field, value, f"Invalid data format for nameserver: '{value}'")
    bounded(field, value)
    found: list[str] = []
    for host in value:
        try:
            address = ip(field, host)
        except BadValue as bad:
            raise BadValue(field, value, f"'{host}' is not a valid nameserver. {bad.reason}") from None
        if address in found:
            raise BadValue(field, value, f"Duplicate nameserver '{host}'")
        found.append(address)
    return found


def routes(field: str, value: Any) -> list[dict[str, str]]:
    """Host routes: destination and nexthop."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadValue(field, value, f"Invalid data format for hostroute: '{value}'")
    bounded(field, value)
    found: list[dict[str, str]] = []
    for route in value:
        keys(field, route, ("destination", "nexthop"))
        entry = {"destination": _route_cidr(field, route["destination"]), "nexthop": ip(field, route["nexthop"])}
        if entry in found:
            raise BadValue(field, value, f"Duplicate hostroute '{route}'")
        found.append(entry)
    return found


def _route_cidr(field: str, value: Any) -> str:
    try:
        if not isinstance(value, str) or "/" not in value:
            raise ValueError
        network = ipaddress.ip_network(unscoped(value))
    except ValueError:
        raise BadValue(field, value, f"'{value}' is not a valid CIDR") from None
    if network.is_loopback:
        raise BadValue(field, value, f"'{value}' is not a routable CIDR")
    return str(network)


def pools(field: str, value: Any) -> list[dict[str, str]]:
    """Allocation pools: start and end."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid("Invalid data format for allocation pools")
    bounded(field, value)
    found = []
    for pool in value:
        keys(field, pool, ("start", "end"))
        found.append({"start": ip(field, pool["start"]), "end": ip(field, pool["end"])})
    return found


def fixed_ips(field: str, value: Any) -> list[dict[str, str]]:
    """What a caller wishes of a Port's addresses: each a subnet, an address, or both."""
    if not isinstance(value, list):
        raise BadValue(field, value, f"Invalid data format for fixed IP: '{value}'")
    bounded(field, value)
    found: list[dict[str, str]] = []
    for entry in value:
        if not isinstance(entry, dict):
            raise BadValue(field, value, f"Invalid data format for fixed IP: '{entry}'")
        wish = dict(entry)
        if "ip_address" in entry:
            wish["ip_address"] = ip(field, entry["ip_address"])
            if any(other.get("ip_address") == wish["ip_address"] for other in found):
                raise BadValue(field, value, f"Duplicate IP address '{entry['ip_address']}'")
        if "subnet_id" in entry:
            Id().check(field, entry["subnet_id"])
        found.append(wish)
    return found


def mapping(field: str, value: Any) -> dict[str, Any]:
    """A dictionary of the caller's own; None is the empty one."""
    if value is not None and not isinstance(value, dict):
        raise BadValue(field, value, f"'{value}' is not a dictionary")
    return value or {}
