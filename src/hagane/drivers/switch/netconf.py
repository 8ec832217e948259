"""NETCONF with OpenConfig models: openconfig-interfaces, -vlan, -if-aggregate, -lacp and -network-instance.

With a candidate:  lock ─▶ discard-changes ─▶ edit-config ─▶ validate ─▶ commit confirmed ─▶ (look) ─▶ commit ─▶ unlock
Without:           lock ─▶ edit-config on running, rolled back on error where the switch can ─▶ unlock

Where the switch offers it, a commit that makes it unreachable undoes itself. Where it has a startup datastore, that is
saved. The models say no "nothing" for a trunk (no list means every VLAN), so a port that leads nowhere is a trunk of
VLAN 4094, which is never made.

Options: `network_instance` (default "default"): where VLANs are.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import NoReturn
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

import asyncssh

from hagane.drivers.switch import plan as step
from hagane.drivers.switch.base import MARK, SwitchDesired, SwitchGroup, SwitchPort, SwitchSeen
from hagane.drivers.switch.netconf_session import BASE, Netconf, Refused, child, local, text_of
from hagane.drivers.switch.ssh import SshSwitch

OC = "http://openconfig.net/yang/"
DEAD_END = 4094
_IANA = "urn:ietf:params:xml:ns:yang:iana-if-type"
_CONFIRM_SECONDS = 120
_GROUP_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_./:\-]{0,62}")


def parse(data: Element, *, instance: str = "default", state: Element | None = None) -> SwitchSeen:
    """The switch from the configuration's <data>, and its state's."""
    found = [i for i in _all(child(data, "interfaces"), "interface") if text_of(i, "name")]
    lacp = {text_of(i, "name"): i for i in _all(child(data, "lacp", "interfaces"), "interface")}
    groups, ports, marked, odd = {}, {}, set(), set()
    for interface in found:
        name = text_of(interface, "name")
        if child(interface, "aggregation") is not None:
            groups[name] = _group(interface, lacp.get(name))
            marked |= {name} if text_of(interface, "config", "description") == MARK else set()
            odd |= {name} if text_of(interface, "config", "enabled") == "false" else set()
    for interface in found:
        name = text_of(interface, "name")
        if child(interface, "ethernet") is None or name in groups:
            continue
        ports[name] = port = _port(interface)
        if group := groups.get(port.group):
            ports[name] = replace(port, native=group.native, tagged=group.tagged)
        elif child(interface, "ethernet", "switched-vlan") is None:
            odd.add(name)
    up = {text_of(i, "name") for i in _all(child(state, "interfaces"), "interface") if _is_up(i)}
    return SwitchSeen(
        ports,
        groups,
        chassis_id=text_of(state, "lldp", "state", "chassis-id").lower(),
        up=frozenset(up & set(ports)),
        vlans=_vlans(data, instance),
        marked=frozenset(marked),
        odd=frozenset(odd),
    )


def _all(parent: Element | None, name: str) -> list[Element]:
    return [e for e in parent if local(e) == name] if parent is not None else []


def _is_up(interface: Element) -> bool:
    return text_of(interface, "state", "oper-status") == "UP"


def _vlans(data: Element, instance: str) -> dict[int, str]:
    for place in _all(child(data, "network-instances"), "network-instance"):
        if text_of(place, "name") == instance:
            rows = [child(vlan, "config") for vlan in _all(child(place, "vlans"), "vlan")]
            return {n: text_of(row, "name") for row in rows if (n := step.number(text_of(row, "vlan-id")))}
    return {}


def _port(interface: Element) -> SwitchPort:
    native, tagged = _switched(child(interface, "ethernet", "switched-vlan", "config"))
    return SwitchPort(
        enabled=text_of(interface, "config", "enabled") != "false",
        native=native,
        tagged=tagged,
        group=text_of(interface, "ethernet", "config", "aggregate-id"),
        mtu=step.number(text_of(interface, "config", "mtu")),
    )


def _group(interface: Element, lacp: Element | None) -> SwitchGroup:
    native, tagged = _switched(child(interface, "aggregation", "switched-vlan", "config"))
    speaks = text_of(interface, "aggregation", "config", "lag-type") != "STATIC"
    return SwitchGroup(native, tagged, lacp=speaks, fallback=text_of(lacp, "config", "fallback") == "true")


def _switched(config: Element | None) -> tuple[int | None, frozenset[int]]:
    if config is None:
        return None, frozenset()
    if text_of(config, "interface-mode") != "TRUNK":
        return step.number(text_of(config, "access-vlan")) or 1, frozenset()
    native = step.number(text_of(config, "native-vlan"))
    lists = _all(config, "trunk-vlans")
    parts = ",".join((e.text or "").strip().replace("..", "-") for e in lists)
    tagged = step.numbers(parts) if lists else step.EVERY_VLAN
    return native, tagged - {native} - ({DEAD_END} if tagged == {DEAD_END} else set())


def tag(name: str, *inner: str, ns: str = "", operation: str = "") -> str:
    """An element around XML."""
    space = f' xmlns="{ns}"' if ns else ""
    action = f' xmlns:nc="{BASE}" nc:operation="{operation}"' if operation else ""
    return f"<{name}{space}{action}>{''.join(inner)}</{name}>" if inner else f"<{name}{space}{action}/>"


def leaf(name: str, value: object, *, ns: str = "") -> str:
    return tag(name, escape(str(value)), ns=ns)


def render(desired: SwitchDesired, seen: SwitchSeen, *, instance: str = "default") -> str:
    """The content of the <config> to edit; "" when nothing lacks."""
    lacks, whole = step.plan(desired, seen), step.whole(desired)
    interfaces = [_group_xml(n, g, new=n not in seen.groups) for n, g in lacks.groups.items()]
    interfaces += [_port_xml(n, p, seen.ports[n]) for n, p in lacks.ports.items()]
    interfaces += [tag("interface", leaf("name", n), operation="delete") for n in lacks.drop_groups]
    lacp = [_lacp_xml(n, whole.groups[n]) for n in lacks.groups]
    lacp += [tag("interface", leaf("name", n), operation="remove") for n in lacks.drop_groups]
    vlans = [_vlan_xml(vlan) for vlan in lacks.make]
    vlans += [tag("vlan", leaf("vlan-id", vlan), operation="delete") for vlan in lacks.drop]
    place = [leaf("name", instance), tag("vlans", *vlans)]
    parts = [tag("network-instances", tag("network-instance", *place), ns=f"{OC}network-instance")] if vlans else []
    parts += [tag("interfaces", *interfaces, ns=f"{OC}interfaces")] if interfaces else []
    parts += [tag("lacp", tag("interfaces", *lacp), ns=f"{OC}lacp")] if lacp else []
    return "\n".join(parts)


def _vlan_xml(vlan: int) -> str:
    return tag("vlan", leaf("vlan-id", vlan), tag("config", leaf("vlan-id", vlan), leaf("name", step.vlan_name(vlan))))


def _port_xml(name: str, port: SwitchPort, seen: SwitchPort) -> str:
    mtu = [] if port.mtu is None else [leaf("mtu", port.mtu)]
    config = tag("config", leaf("name", name), *mtu, leaf("enabled", str(port.enabled).lower()))
    space = f"{OC}interfaces/aggregate"
    if port.group:
        member = [tag("config", leaf("aggregate-id", port.group, ns=space))]
        vlans = tag("switched-vlan", ns=f"{OC}vlan", operation="remove")
    else:
        member = [tag("config", tag("aggregate-id", ns=space, operation="delete"))] if seen.group else []
        vlans = _switched_xml(port.native, port.tagged)
    return tag("interface", leaf("name", name), config, tag("ethernet", *member, vlans, ns=f"{OC}interfaces/ethernet"))


def _group_xml(name: str, group: SwitchGroup, *, new: bool) -> str:
    mark = [leaf("description", MARK)] if new else []
    kind = f'<type xmlns:ianaift="{_IANA}">ianaift:ieee8023adLag</type>'
    config = tag("config", leaf("name", name), kind, *mark, leaf("enabled", "true"))
    kind = tag("config", leaf("lag-type", "LACP" if group.lacp else "STATIC"))
    vlans = _switched_xml(group.native, group.tagged)
    aggregation = tag("aggregation", kind, vlans, ns=f"{OC}interfaces/aggregate")
    return tag("interface", leaf("name", name), config, aggregation)


def _lacp_xml(name: str, group: SwitchGroup) -> str:
    if not group.lacp:
        return tag("interface", leaf("name", name), operation="remove")
    fallback = leaf("fallback", str(group.fallback).lower())
    config = tag("config", leaf("name", name), leaf("lacp-mode", "ACTIVE"), fallback)
    return tag("interface", leaf("name", name), config)


def _switched_xml(native: int | None, tagged: frozenset[int]) -> str:
    if native is not None and not tagged:
        lines = [leaf("interface-mode", "ACCESS"), leaf("access-vlan", native)]
    else:
        carried = step.ranges(tagged or frozenset({DEAD_END}), "..").split(",")
        lines = [leaf("interface-mode", "TRUNK"), *([] if native is None else [leaf("native-vlan", native)])]
        lines += [leaf("trunk-vlans", part) for part in carried]
    return tag("switched-vlan", tag("config", *lines), ns=f"{OC}vlan", operation="replace")


class NetconfSwitch(SshSwitch[Netconf]):
    default_port = 830
    commit_seconds = 60.0
    _confirming = False

    def canonical(self, name: str) -> str:
        return name if _GROUP_NAME.fullmatch(name) else ""

    async def open(self, connection: asyncssh.SSHClientConnection) -> Netconf:
        return await Netconf.open(connection)

    async def probe(self, session: Netconf) -> None:
        await self._tell(session, tag("get-config", tag("source", tag("running")), '<filter type="subtree"/>'))

    async def look(self, session: Netconf, *, startup: bool = False) -> SwitchSeen:
        source = "startup" if startup and session.can("startup") else "running"
        places = tag("network-instance", leaf("name", self._instance), tag("vlans"))
        wanted = (
            tag("interfaces", ns=f"{OC}interfaces"),
            tag("network-instances", places, ns=f"{OC}network-instance"),
            tag("lacp", ns=f"{OC}lacp"),
        )
        async with self.patience():
            reply = await self._tell(session, tag("get-config", tag("source", tag(source)), _filter(*wanted)))
            state = None if startup else await self._state(session)
        data = child(reply, "data")
        return parse(data if data is not None else reply, instance=self._instance, state=child(state, "data"))

    async def commit(self, session: Netconf, desired: SwitchDesired, seen: SwitchSeen) -> Mapping[str, str]:
        target, self._confirming = ("candidate" if session.can("candidate") else "running"), False
        async with self.commit_patience():
            await self._tell(session, tag("lock", tag("target", tag(target))))
            try:
                await self._edit(session, target, render(desired, seen, instance=self._instance))
            except Refused as refused:
                if target == "candidate":
                    await self._tell(session, tag("discard-changes"))
                await self._tell(session, tag("unlock", tag("target", tag(target))))
                return self._refused_ports(refused, desired)
            if not self._confirming:
                await self._tell(session, tag("unlock", tag("target", tag(target))))
        return {}

    async def confirm(self, session: Netconf) -> None:
        if self._confirming:
            self._confirming = False
            async with self.commit_patience():
                await self._tell(session, tag("commit"))
                await self._tell(session, tag("unlock", tag("target", tag("candidate"))))

    async def save(self, session: Netconf) -> None:
        if session.can("startup"):
            await self._tell(session, tag("copy-config", tag("target", tag("startup")), tag("source", tag("running"))))

    @property
    def _instance(self) -> str:
        return self.access.options.get("network_instance", "default")

    async def _edit(self, session: Netconf, target: str, config: str) -> None:
        if target == "candidate":
            await session.call(tag("discard-changes"))
        # Without a candidate there is nothing to throw away: the switch itself has to go back.
        back = target == "running" and session.can("rollback-on-error")
        option = leaf("error-option", "rollback-on-error") if back else ""
        await session.call(tag("edit-config", tag("target", tag(target)), option, tag("config", config)))
        if target == "candidate":
            if session.can("validate"):
                await session.call(tag("validate", tag("source", tag("candidate"))))
            confirmed = session.can("confirmed-commit")
            how = (tag("confirmed"), leaf("confirm-timeout", _CONFIRM_SECONDS)) if confirmed else ()
            await session.call(tag("commit", *how))
            self._confirming = confirmed

    async def _state(self, session: Netconf) -> Element:
        """Which ports have a carrier; and who the switch is, if it has the model for that."""
        oper = tag("interface", tag("name"), tag("state", tag("oper-status")))
        wanted = [tag("interfaces", oper, ns=f"{OC}interfaces")]
        if f"{OC}lldp" in session.capabilities:
            wanted.append(tag("lldp", tag("state", tag("chassis-id")), ns=f"{OC}lldp"))
        return await self._tell(session, tag("get", _filter(*wanted)))

    async def _tell(self, session: Netconf, operation: str) -> Element:
        """Call what must not be refused."""
        try:
            return await session.call(operation)
        except Refused as refused:
            self._raise(refused)

    def _raise(self, refused: Refused) -> NoReturn:
        raise self.refusal(f"refused: {refused}") from None

    def _refused_ports(self, refused: Refused, desired: SwitchDesired) -> Mapping[str, str]:
        names = sorted({*desired.ports, *desired.groups}, key=len, reverse=True)
        found: dict[str, str] = {}
        for complaint in refused.complaints:
            words = f"{complaint.path} {complaint.message}"
            named = next((n for n in names if re.search(rf"(?<![\w/.]){re.escape(n)}(?![\w/.])", words)), "")
            if not named:
                self._raise(refused)
            found[named] = f"refused: {complaint}"
        return found


def _filter(*wanted: str) -> str:
    return f'<filter type="subtree">{"".join(wanted)}</filter>'
