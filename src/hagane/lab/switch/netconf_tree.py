"""A configuration tree as NETCONF edits it (RFC 6241, 7.2), and what the OpenConfig models do not allow in it."""

from copy import deepcopy
from xml.etree.ElementTree import Element

_OPERATION = "{urn:ietf:params:xml:ns:netconf:base:1.0}operation"
_KEYS = {"interface": "name", "network-instance": "name", "vlan": "vlan-id"}
_LEAF_LISTS = frozenset({"trunk-vlans"})


class Refused(Exception):
    """An rpc-error."""

    def __init__(self, tag: str, message: str, path: str = "") -> None:
        super().__init__(message)
        self.tag, self.path = tag, path


def local(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def child(element: Element | None, *path: str) -> Element | None:
    for name in path:
        element = next((e for e in element if local(e) == name), None) if element is not None else None
    return element


def text_of(element: Element | None, *path: str) -> str:
    found = child(element, *path)
    return (found.text or "").strip() if found is not None else ""


def edit(target: Element, change: Element) -> None:
    """Merge `change` into `target`, as its operations say. Raises Refused."""
    for part in change:
        key = _KEYS.get(local(part), "")
        now = _same(target, part, key)
        operation = part.get(_OPERATION, "merge")
        if operation in ("delete", "remove"):
            if now is None and operation == "delete":
                raise Refused("data-missing", f"{local(part)} {text_of(part, key) if key else ''} does not exist")
            if now is not None:
                target.remove(now)
        elif now is None:
            made = Element(part.tag)
            made.text = part.text
            target.append(made)
            edit(made, part)
        else:
            if operation == "replace":
                now[:] = []
            now.text = part.text
            edit(now, part)


def _same(target: Element, part: Element, key: str) -> Element | None:
    for element in target:
        if element.tag != part.tag:
            continue
        if local(part) in _LEAF_LISTS:
            if element.text == part.text:
                return element
        elif not key or text_of(element, key) == text_of(part, key):
            return element
    return None


def trim(tree: Element, what: Element) -> list[Element]:
    """The parts of a tree that a subtree filter selects, by their outermost names."""
    wanted = child(what, "filter")
    if wanted is None:
        return list(tree)
    return [deepcopy(e) for e in tree if e.tag in {w.tag for w in wanted}]


def check(tree: Element) -> None:
    """The references and ranges of the models. Raises Refused."""
    vlans = {text_of(e, "vlan-id") for e in tree.iter() if local(e) == "vlan"} | {"1", "4094"}
    interfaces = {text_of(e, "name"): e for e in child(tree, "interfaces") or ()}
    for name, interface in interfaces.items():
        path = f"/interfaces/interface[name='{name}']"
        for element in interface.iter():
            if local(element) in ("access-vlan", "native-vlan") and element.text not in vlans:
                raise Refused("data-missing", f"VLAN {element.text} does not exist", path)
        mtu = text_of(interface, "config", "mtu")
        if mtu and not 68 <= int(mtu) <= 9216:
            raise Refused("invalid-value", f"MTU {mtu} is out of range", path)
        group = text_of(interface, "ethernet", "config", "aggregate-id")
        if group and child(interfaces.get(group), "aggregation") is None:
            raise Refused("data-missing", f"there is no aggregate {group}", path)
        if group and child(interface, "ethernet", "switched-vlan") is not None:
            raise Refused("operation-failed", "a member of an aggregate has no VLANs of its own", path)
