"""DNS names of ports and networks (RFC 1123, RFC 1034), in lower case."""

import re
from typing import Any

from hagane.api.types import BadValue
from hagane.network.value import Text

MAX = 255


def dns_name(field: str, value: Any) -> str:
    """The name of a port: a host name, or a full name with its trailing dot."""
    text = str(Text(MAX, lower=True).check(field, value))
    if reason := _wrong(text):
        raise BadValue(field, value, f"'{text}' not a valid PQDN or FQDN. Reason: {reason}")
    return text


def relative_name(field: str, value: Any) -> str:
    """The name of a floating IP within its domain."""
    text = str(Text(MAX, lower=True).check(field, value))
    if text.endswith("."):
        raise BadValue(field, value, f"'{text}' is a FQDN. It should be a relative domain name")
    return dns_name(field, text)


def dns_domain(field: str, value: Any) -> str:
    """A domain with its trailing dot, or none."""
    text = str(Text(MAX, lower=True).check(field, value))
    if text and not text.endswith("."):
        raise BadValue(field, value, f"'{text}' is not a FQDN")
    return dns_name(field, text)


def _wrong(text: str) -> str:
    """Why the text is no name; empty when it is one, or empty."""
    if not text:
        return ""
    labels = text.removesuffix(".").split(".")
    for label in labels:
        if not label:
            return "Encountered an empty component"
        if label.endswith("-") or label.startswith("-"):
            return f"Name '{label}' must not start or end with a hyphen"
        if not re.fullmatch(r"[a-z0-9-]{1,63}", label):
            return f"Name '{label}' must be 1-63 characters long, each of which can only be alphanumeric or a hyphen"
    if len(labels) > 1 and labels[-1].isdigit():
        return f"TLD '{labels[-1]}' must not be all numeric"
    return ""
