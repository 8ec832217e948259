"""An emulated switch that speaks NETCONF with OpenConfig models: a tree that is edited by operations, with or without a
candidate (then also confirmed commits and chunks), and a startup datastore."""

import contextlib
import re
from copy import deepcopy
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from hagane.lab.switch.box import HangUp, Memory
from hagane.lab.switch.netconf_tree import Refused, check, child, edit, local, text_of, trim
from hagane.lab.switch.server import Process, SwitchServer

NC = "urn:ietf:params:xml:ns:netconf:base:1.0"
OC = "http://openconfig.net/yang/"
_CAPABILITY = "urn:ietf:params:netconf:capability:"
_CANDIDATE = ("candidate:1.0", "confirmed-commit:1.1", "validate:1.1")


class NetconfBox(Memory[Element]):
    """`holder`: the session that has locked the configuration."""

    candidate: Element | None = None
    holder: object = None

    def _interface(self, tree: Element, name: str) -> Element:
        return next(i for i in child(tree, "interfaces") or () if text_of(i, "name") == name)

    def names(self) -> tuple[str, ...]:
        return tuple(text_of(i, "name") for i in child(self.running, "interfaces") or ())

    def port(self, name: str) -> str:
        return ElementTree.tostring(self._interface(self.running, name), encoding="unicode")

    def hand(self, name: str, native: int, tagged: frozenset[int] = frozenset()) -> None:
        mode = "TRUNK" if tagged else "ACCESS"
        vlan = "".join(f"<trunk-vlans>{v}</trunk-vlans>" for v in sorted(tagged))
        rows = "".join(
            f"<vlan><vlan-id>{v}</vlan-id><config><vlan-id>{v}</vlan-id></config></vlan>" for v in {native, *tagged}
        )
        change = ElementTree.fromstring(
            f'<config xmlns:nc="{NC}"><interfaces xmlns="{OC}interfaces"><interface><name>{name}</name>'
            f'<ethernet xmlns="{OC}interfaces/ethernet"><switched-vlan xmlns="{OC}vlan" nc:operation="replace"><config>'
            f"<interface-mode>{mode}</interface-mode>{vlan}"
            f"<{'native' if tagged else 'access'}-vlan>{native}</{'native' if tagged else 'access'}-vlan>"
            f"</config></switched-vlan></ethernet></interface></interfaces>"
            f'<network-instances xmlns="{OC}network-instance"><network-instance><name>default</name>'
            f"<vlans>{rows}</vlans></network-instance></network-instances></config>"
        )
        edit(self.running, change)

    def made(self) -> set[int]:
        return {int(text_of(v, "vlan-id")) for v in self.running.iter() if local(v) == "vlan"} - {1}

    def forget(self, wanted: Element, name: str) -> None:
        interfaces = child(wanted, "interfaces")
        assert interfaces is not None
        place = list(interfaces).index(self._interface(wanted, name))
        interfaces[place] = deepcopy(self._interface(self.running, name))

    def same(self, one: Element, other: Element) -> bool:
        return ElementTree.tostring(one) == ElementTree.tostring(other)


class Session:
    """One NETCONF session."""

    def __init__(self, box: NetconfBox, process: Process, *, candidate: bool) -> None:
        self._box, self._process, self._candidate = box, process, candidate
        self._chunked = False
        self._buffer = b""
        self._before: Element | None = None  # what a confirmed commit goes back to

    async def serve(self) -> None:
        versions = ["base:1.0", *(["base:1.1"] if self._candidate else [])]
        capabilities = [f"urn:ietf:params:netconf:{version}" for version in versions]
        able = ("writable-running:1.0", "rollback-on-error:1.0") if not self._candidate else _CANDIDATE
        capabilities += [f"{_CAPABILITY}{name}" for name in (*able, "startup:1.0")]
        capabilities += [f"{OC}{m}?module=openconfig-{m}" for m in ("interfaces", "vlan", "lacp", "lldp")]
        listed = "".join(f"<capability>{c}</capability>" for c in capabilities)
        self._send(f'<hello xmlns="{NC}"><capabilities>{listed}</capabilities><session-id>4</session-id></hello>')
        hello = await self._receive()
        self._chunked = self._candidate and b"base:1.1" in hello
        try:
            while message := await self._receive():
                await self._box.line()
                request = ElementTree.fromstring(message)
                self._send(await self._answer(request))
        finally:
            self._end()

    def _end(self) -> None:
        """A session that ends leaves no lock, no candidate, and nothing that it did not confirm."""
        if self._box.holder is self:
            self._box.holder = self._box.candidate = None
        if self._before is not None:
            self._box.running, self._before = self._before, None

    async def _answer(self, request: Element) -> str:
        number = request.get("message-id", "")
        try:
            body = await self._operation(request[0])
        except Refused as refused:
            path = f"<error-path>{refused.path}</error-path>" if refused.path else ""
            body = (
                f"<rpc-error><error-type>application</error-type><error-tag>{refused.tag}</error-tag>"
                f"<error-severity>error</error-severity>{path}<error-message>{refused}</error-message></rpc-error>"
            )
        return f'<rpc-reply xmlns="{NC}" message-id="{number}">{body or "<ok/>"}</rpc-reply>'

    async def _operation(self, what: Element) -> str:
        box = self._box
        match local(what):
            case "get-config":
                place = child(what, "source")
                source = local(place[0]) if place is not None else "running"
                return self._data(box.startup if source == "startup" else box.running, what)
            case "get":
                return self._data(self._state(), what)
            case "lock":
                if box.faults.locked or box.holder not in (None, self):
                    raise Refused("lock-denied", f"Lock failed: held by {box.faults.locked or 'another session'}")
                box.holder = self
            case "unlock":
                box.holder = None
            case "discard-changes":
                box.candidate = None
            case "edit-config":
                await self._edit(what)
            case "validate":
                check(self._wanted())
            case "commit":
                await self._commit(confirmed=child(what, "confirmed") is not None)
            case "copy-config":
                box.copy()
            case other:
                raise Refused("operation-not-supported", f"{other} is not known")
        return ""

    def _wanted(self) -> Element:
        return self._box.running if self._box.candidate is None else self._box.candidate

    async def _edit(self, what: Element) -> None:
        box, config = self._box, child(what, "config")
        assert config is not None
        for interface in config.iter():
            name = text_of(interface, "name") if local(interface) == "interface" else ""
            if name in box.faults.refuse:
                raise Refused("operation-failed", "not supported on this port", f"/interfaces/interface[name='{name}']")
        wanted = deepcopy(self._wanted())
        edit(wanted, config)
        if self._candidate:
            box.candidate = wanted
        else:
            check(wanted)
            await box.commit(wanted)

    async def _commit(self, *, confirmed: bool) -> None:
        wanted, before = self._wanted(), self._box.running
        check(wanted)
        await self._box.commit(wanted)
        self._before = (self._before or before) if confirmed else None

    def _state(self) -> Element:
        root = Element("data")
        interfaces = ElementTree.SubElement(root, f"{{{OC}interfaces}}interfaces")
        for name in self._box.names():
            status = "UP" if name in self._box.up else "DOWN"
            interfaces.append(
                ElementTree.fromstring(
                    f'<interface xmlns="{OC}interfaces"><name>{name}</name><state><oper-status>{status}</oper-status>'
                    "</state></interface>"
                )
            )
        root.append(
            ElementTree.fromstring(
                f'<lldp xmlns="{OC}lldp"><state><chassis-id>{self._box.mac}</chassis-id></state></lldp>'
            )
        )
        return root

    def _data(self, tree: Element, what: Element) -> str:
        return "<data>" + "".join(ElementTree.tostring(e, encoding="unicode") for e in trim(tree, what)) + "</data>"

    def _send(self, text: str) -> None:
        data = text.encode()
        if self._chunked:
            # In two chunks, because a client has to put them together.
            parts = (data[: len(data) // 2], data[len(data) // 2 :])
            data = b"".join(b"\n#%d\n%s" % (len(part), part) for part in parts) + b"\n##\n"
        else:
            data += b"]]>]]>"
        self._process.stdout.write(data)

    async def _receive(self) -> bytes:
        end = b"\n##\n" if self._chunked else b"]]>]]>"
        while end not in self._buffer:
            data = await self._process.stdin.read(1 << 16)
            if not data:
                return b""
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(end)
        return re.sub(rb"\A\s*#\d+\n", b"", message) if self._chunked else message


def serve(box: NetconfBox, *, candidate: bool = True) -> SwitchServer:
    """A NETCONF switch over SSH; not started yet."""

    async def session(process: Process) -> None:
        if process.subsystem != "netconf":
            raise HangUp
        with contextlib.suppress(ElementTree.ParseError):
            await Session(box, process, candidate=candidate).serve()

    return SwitchServer(box, session, encoding=None)


def make(name: str = "oc1", ports: int = 8) -> NetconfBox:
    rows = "".join(
        f"<interface><name>Ethernet{i + 1}</name><config><name>Ethernet{i + 1}</name><enabled>true</enabled></config>"
        f'<ethernet xmlns="{OC}interfaces/ethernet"><config/></ethernet></interface>'
        for i in range(ports)
    )
    tree = ElementTree.fromstring(f'<data><interfaces xmlns="{OC}interfaces">{rows}</interfaces></data>')
    return NetconfBox(name, tree, mac="00:1c:73:bb:00:01", model="openconfig")
