"""What the owner of a Server is told of its Node's trouble: the cause in words, and nothing of the operator's networks.

A Node's `last_error` and the messages of its steps are for operators: they name the BMC's address and the service's,
and hold the last lines of a console on which the ramdisk, or the tenant before, may have said anything. Operators read
them in the details of the Server's fault, in the Node's history and by `hagane explain`.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from hagane.reconcile.node import CONSOLE

HIDDEN = "(address)"
MOST = 400  # letters
_URL = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s,;'\"]*[^\s,;:.)'\"]")
_V4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?::\d+|/\d+)?(?!\w|\.\d)")
_V6 = re.compile(r"\[(?P<inside>[0-9A-Fa-f:.]+)(?:%\w+)?\](?::\d+)?"
                 r"|(?<![\w:.])(?P<bare>(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4})(?:%\w+)?(?:/\d+)?")  # fmt: skip
_MAC = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}(?![\w:])")
_PLACES = (
    # What follows a colon is the device's own answer, which may say anything: the text ends there.
    (re.compile(r"\bport \S+ of switch .*? is not in VLAN \S+ yet(?:: .*)?"), "a switch is not ready for it yet"),
    (re.compile(r"\b(Port \S+ is not up) on gateway .*? yet(?:: .*)?"), r"\1 yet"),
    (re.compile(r"\bno carrier on port .*?(?=: is the cable)"), "no carrier on its port"),
    (re.compile(r"\bHost \S+ is down(?:: .*)?"), "Its Host is down."),
    (re.compile(r"\bHost \S+ is busy\b"), "Its Host is busy"),
)
"""The operator's switches, gateways and Hosts by their names, and what a tenant reads instead."""


def public(text: str, node: Mapping[str, Any] | None = None) -> str:
    """The part of a text that a tenant may read. `node`: whose own addresses are names, perhaps."""
    text = " ".join(text.partition(CONSOLE)[0].split())
    for name in sorted(_names(node), key=len, reverse=True):
        text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?::\d+)?(?![\w-])", HIDDEN, text)
    for shape in (_URL, _MAC, _V4):
        text = shape.sub(HIDDEN, text)
    for shape, instead in _PLACES:
        text = shape.sub(instead, text)
    text = _V6.sub(_six, text)
    text = text.removeprefix(f"{HIDDEN}: ").replace(f" {HIDDEN}: ", " ")
    return text if len(text) <= MOST else f"{text[:MOST]}..."


def _names(node: Mapping[str, Any] | None) -> set[str]:
    """How a Node's BMC may be called in messages about it."""
    found = set()
    for key, value in ((node or {}).get("driver_info") or {}).items():
        if key.endswith("_address") and isinstance(value, str) and value:
            with suppress(ValueError):
                found |= {value, urlsplit(value if "://" in value else f"//{value}").hostname or value}
    return found


def _six(found: re.Match[str]) -> str:
    """What stands for something that looks like an IPv6 address; a time of day is none, and a colon may end it."""
    text = found["inside"] or found["bare"]
    rest = ":" if text.endswith(":") and not text.endswith("::") else ""
    try:
        ip_address(text.removesuffix(rest))
    except ValueError:
        return found[0]
    return HIDDEN + rest
