"""The document of a rack, as an operator writes it: read, checked, and brought to its rows as a whole.

What it names is made or changed, what it does not name any more goes; the same document again changes nothing. A
password that it leaves out stays as it is; none is ever shown. Every refusal says what is in the way.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any
from uuid import uuid4

import msgspec

from hagane.baremetal import rack as racks
from hagane.baremetal.rack import GATEWAY, RACK, SWITCH, SWITCH_PORT
from hagane.errors import Conflict, Invalid
from hagane.network import sequence
from hagane.state import allocation, clock, work
from hagane.state.database import Reader, Row, Tx
from hagane.state.secret import Secrets
from hagane.state.table import Table

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Text = Annotated[str, msgspec.Meta(max_length=255)]
PortNumber = Annotated[int, msgspec.Meta(ge=0, le=65535)]
REMOTE = re.compile(r"tcp:.+:[0-9]{1,5}|unix:/.+|sim:.*")
"""Without ssl: there is no setting for its keys yet, so that a gateway of it would never be reached."""
SECRET = ("password", "key", "token", "secret")


class SwitchPart(msgspec.Struct, forbid_unknown_fields=True):
    """One switch. Options whose names speak of a password, key or token are kept like the password."""

    name: Name
    driver: Name
    chassis_id: Text = ""
    address: Text = ""
    port: PortNumber = 0
    username: Text = ""
    password: str | None = None
    options: dict[str, str] = msgspec.field(default_factory=dict)
    uplinks: list[Text] = msgspec.field(default_factory=list)


class GatewayPart(msgspec.Struct, forbid_unknown_fields=True):
    name: Name
    ovsdb: Text
    trunk_bridge: Name = "br-trunk"
    integration_bridge: Name = "br-int"
    switch: Text = ""
    switch_port: Text = ""
    priority: int = 0


class Document(msgspec.Struct, forbid_unknown_fields=True):
    name: Name
    physical_network: Name
    vlans: Text = "1001-1999"
    switches: list[SwitchPart] = msgspec.field(default_factory=list)
    gateways: list[GatewayPart] = msgspec.field(default_factory=list)

    def range(self) -> tuple[int, int]:
        first, _, last = self.vlans.partition("-")
        low, high = (int(part) if part.strip().isdecimal() else 0 for part in (first, last or first))
        if not 2 <= low <= high <= 4094:
            raise Invalid(f"Rack {self.name}: vlans must be FIRST-LAST within 2-4094, not {self.vlans!r}.")
        return low, high


def parse(name: str, body: Any, families: Mapping[str, object]) -> Document:
    """Raises Invalid, with the place in the document."""
    if isinstance(body, dict) and body.keys() == {"rack"}:
        body = body["rack"]
    try:
        found = msgspec.convert({"name": name} | body if isinstance(body, dict) else body, Document)
    except msgspec.ValidationError as error:
        raise Invalid(f"The document of rack {name} cannot be used: {error}.") from None
    if found.name != name:
        raise Invalid(f"The document is of rack {found.name}, and not of {name}.")
    found.range()
    for part, noun in ((found.switches, "switch"), (found.gateways, "gateway")):
        names = [one.name for one in part]
        if doubled := {one for one in names if names.count(one) > 1}:
            raise Invalid(f"Rack {name} names {noun} {sorted(doubled)[0]} twice.")
    _check(found, families)
    return found


def _check(found: Document, families: Mapping[str, object]) -> None:
    known = {switch.name for switch in found.switches}
    for switch in found.switches:
        if switch.driver not in families:
            raise Invalid(f"Switch {switch.name}: there is no driver {switch.driver!r}; there are: "
                          f"{', '.join(sorted(families))}.")  # fmt: skip
        if switch.driver != "sim" and not (switch.address or switch.options.get("remote")):
            raise Invalid(f"Switch {switch.name} needs an address.")
    for gateway in found.gateways:
        if not all(REMOTE.fullmatch(part.strip()) for part in gateway.ovsdb.split(",")):
            raise Invalid(f"Gateway {gateway.name}: {gateway.ovsdb!r} is no OVSDB remote that can be used: "
                          "tcp:HOST:PORT or unix:PATH.")  # fmt: skip
        if gateway.switch and gateway.switch not in known:
            raise Invalid(f"Gateway {gateway.name} hangs on switch {gateway.switch}, which rack {found.name} has not.")
        if bool(gateway.switch) != bool(gateway.switch_port):
            raise Invalid(f"Gateway {gateway.name}: switch and switch_port go together.")


async def put(tx: Tx, secrets: Secrets, wanted: Document, *, request_id: str | None = None) -> list[str]:
    """Bring the rows to the document; returns what was done, in words. Raises Conflict with what is in the way."""
    done: list[str] = []
    rack = await _rack(tx, wanted, done)
    await _switches(tx, secrets, rack, wanted, done)
    await _gateways(tx, rack, wanted, done)
    if done:
        await _wake(tx, rack["id"], request_id)
    return done


async def _rack(tx: Tx, wanted: Document, done: list[str]) -> Row:
    first, last = wanted.range()
    values: Row = {"physical_network": wanted.physical_network, "vlan_first": first, "vlan_last": last}
    other = await RACK.get(tx, physical_network=wanted.physical_network)
    if other is not None and other["name"] != wanted.name:
        raise Conflict(f"Physical network {wanted.physical_network} is that of rack {other['name']}.")
    old = await RACK.get(tx, name=wanted.name)
    if old is None:
        await _range_is_free(tx, wanted.name, values)
        rack: Row = {"id": str(uuid4()), "name": wanted.name, "created_at": clock.now(), "updated_at": clock.now()}
        await RACK.insert(tx, rack | values)
        await racks.reserve(tx, rack | values)
        done.append(f"rack {wanted.name} made")
        return rack | values
    if all(old[name] == value for name, value in values.items()):
        return old
    await _vlans_fit(tx, old, values)
    await RACK.update(tx, {"id": old["id"]}, values | {"updated_at": clock.now()})
    if old["physical_network"] != wanted.physical_network:
        await sequence.forget(tx, racks.pool(old["physical_network"]))
    await racks.reserve(tx, old | values)
    done.append(f"rack {wanted.name} changed")
    return old | values


async def _range_is_free(tx: Tx, name: str, values: Row) -> None:
    """Networks that are there already keep their VLANs, and the private ones must not be all taken."""
    held = await allocation.held(tx, "segment", racks.pool(values["physical_network"]))
    if all(str(number) in held for number in range(values["vlan_first"], values["vlan_last"] + 1)):
        raise Conflict(f"Rack {name}: networks have all VLANs {values['vlan_first']}-{values['vlan_last']}.")


async def _vlans_fit(tx: Tx, old: Row, values: Row) -> None:
    sql = """SELECT sp.vlan FROM switch_port sp JOIN switch s ON s.id = sp.switch_id WHERE s.rack_id = :rack"""
    used = [int(row[0]) for row in await tx.fetch_tuples(sql, {"rack": old["id"]}) if row[0] is not None]
    outside = [vlan for vlan in used if not values["vlan_first"] <= vlan <= values["vlan_last"]]
    if used and old["physical_network"] != values["physical_network"]:
        raise Conflict(f"Rack {old['name']} cannot get another physical network: Nics have VLANs of the present one.")
    if outside:
        raise Conflict(f"Rack {old['name']}: a Nic has the private VLAN {outside[0]}, which must stay in its range.")


async def _switches(tx: Tx, secrets: Secrets, rack: Row, wanted: Document, done: list[str]) -> None:
    old = {row["name"]: row for row in await SWITCH.select(tx, {"rack_id": rack["id"]})}
    for part in wanted.switches:
        await _not_elsewhere(tx, SWITCH, "Switch", part.name, rack)
        before = old.get(part.name)
        values = _switch_values(secrets, part, before)
        await _bring(tx, SWITCH, "switch", part.name, rack, before, values, done)
    for name in old.keys() - {part.name for part in wanted.switches}:
        await _drop_switch(tx, old[name])
        done.append(f"switch {name} removed")


def _switch_values(secrets: Secrets, part: SwitchPart, before: Row | None) -> Row:
    hidden = {key: value for key, value in part.options.items() if any(word in key.lower() for word in SECRET)}
    kept = racks.opened(secrets, before) if before else {}
    if (password := kept.get("password") if part.password is None else part.password) is not None:
        hidden["password"] = password
    shown = {key: value for key, value in part.options.items() if key not in hidden}
    access = {"address": part.address, "port": part.port, "username": part.username, "options": shown}
    return {
        "driver": part.driver, "chassis_id": part.chassis_id.lower(), "access": access, "uplinks": part.uplinks,
        # Encrypting gives another text each time: what is the same stays as it was written.
        "secrets": before["secrets"] if before and hidden == kept else racks.sealed(secrets, hidden),
    }  # fmt: skip


async def _gateways(tx: Tx, rack: Row, wanted: Document, done: list[str]) -> None:
    old = {row["name"]: row for row in await GATEWAY.select(tx, {"rack_id": rack["id"]})}
    for part in wanted.gateways:
        await _not_elsewhere(tx, GATEWAY, "Gateway", part.name, rack)
        values = msgspec.structs.asdict(part)
        del values["name"]
        await _bring(tx, GATEWAY, "gateway", part.name, rack, old.get(part.name), values, done)
    gone = old.keys() - {part.name for part in wanted.gateways}
    for name in gone:
        await _drop_gateway(tx, rack, old[name], left=bool(wanted.gateways))
        done.append(f"gateway {name} removed")


async def _not_elsewhere(tx: Tx, table: Table, noun: str, name: str, rack: Row) -> None:
    row = await table.get(tx, name=name)
    if row is not None and row["rack_id"] != rack["id"]:
        other = await RACK.get(tx, id=row["rack_id"])
        raise Conflict(f"{noun} {name} is in rack {other['name'] if other else row['rack_id']} already.")


async def _bring(
    tx: Tx, table: Table, noun: str, name: str, rack: Row, before: Row | None, values: Row, done: list[str]
) -> None:
    if before is None:
        await table.insert(tx, {"id": str(uuid4()), "rack_id": rack["id"], "name": name, "reason": ""} | values)
        done.append(f"{noun} {name} made")
    elif any(before[key] != value for key, value in values.items()):
        await table.update(tx, {"id": before["id"]}, values)
        done.append(f"{noun} {name} changed")


_CARRIES = """SELECT count(*) FROM switch_port sp WHERE sp.switch_id = :id AND sp.gone = 0 AND (
EXISTS (SELECT 1 FROM nic WHERE nic.id = sp.owner AND nic.plugged IS NOT NULL)
OR EXISTS (SELECT 1 FROM nic_group g WHERE g.id = sp.owner AND g.plugged IS NOT NULL))"""


async def _drop_switch(tx: Tx, row: Row) -> None:
    """Its ports stay as they are: it is the operator's to say what becomes of a switch that leaves."""
    count = (await tx.fetch_tuples(_CARRIES, {"id": row["id"]}))[0][0]
    if count:
        raise Conflict(f"Switch {row['name']} cannot go: {count} Nics on it carry a Port.")
    ports = await SWITCH_PORT.select(tx, {"switch_id": row["id"]})
    await SWITCH_PORT.update(tx, {"switch_id": row["id"]}, {"gone": True})
    await racks.forget_ports(tx, ports, of_nics=True)
    await SWITCH.delete(tx, {"id": row["id"]})
    await work.wake(tx, "switch", row["id"])


async def _drop_gateway(tx: Tx, rack: Row, row: Row, *, left: bool) -> None:
    carried = await racks.guarded_on(tx, rack["id"])
    if carried and not left:
        raise Conflict(f"Gateway {row['name']} cannot go: {len(carried)} Nics reach their networks by it alone.")
    sql = "SELECT count(*) FROM port WHERE binding_host_id = :name AND binding_vif_type = 'other'"
    if count := (await tx.fetch_tuples(sql, {"name": row["name"]}))[0][0]:
        raise Conflict(f"Gateway {row['name']} cannot go: {count} Ports are on it.")
    await GATEWAY.delete(tx, {"id": row["id"]})
    await work.wake(tx, "rack_gateway", row["id"])


async def _wake(tx: Tx, rack_id: str, request_id: str | None) -> None:
    for kind, table in (("switch", SWITCH), ("rack_gateway", GATEWAY)):
        for row in await table.select(tx, {"rack_id": rack_id}, columns=("id",)):
            await work.wake(tx, kind, row["id"], request_id=request_id)


async def remove(tx: Tx, rack: Row) -> None:
    """A rack goes with its switches and gateways. Raises Conflict while any of its Nics carries a Port."""
    for row in await SWITCH.select(tx, {"rack_id": rack["id"]}):
        await _drop_switch(tx, row)
    for row in await GATEWAY.select(tx, {"rack_id": rack["id"]}):
        await _drop_gateway(tx, rack, row, left=False)
    await sequence.forget(tx, racks.pool(rack["physical_network"]))
    await RACK.delete(tx, {"id": rack["id"]})


async def views(reader: Reader, rows: list[Row]) -> list[dict[str, Any]]:
    """Racks as the API shows them: the document without its secrets, and how each part is."""
    ids = [row["id"] for row in rows]
    switches = await SWITCH.select(reader, {"rack_id": ids}, order="name") if ids else []
    gateways = await racks.gateways_of(reader, ids)
    counts = await reader.fetch_tuples("SELECT switch_id, count(*) FROM switch_port WHERE gone = 0 GROUP BY switch_id")
    used = {str(switch_id): int(count) for switch_id, count in counts}
    return [
        {
            "id": row["id"], "name": row["name"], "physical_network": row["physical_network"],
            "vlans": f"{row['vlan_first']}-{row['vlan_last']}",
            "switches": [_switch_view(s, used.get(s["id"], 0)) for s in switches if s["rack_id"] == row["id"]],
            "gateways": [_gateway_view(g) for g in gateways if g["rack_id"] == row["id"]],
        }
        for row in rows
    ]  # fmt: skip


def _switch_view(row: Row, ports: int) -> dict[str, Any]:
    access = row["access"]
    return {
        "id": row["id"], "name": row["name"], "driver": row["driver"], "chassis_id": row["chassis_id"],
        "address": access["address"], "port": access["port"], "username": access["username"],
        "options": access["options"], "uplinks": row["uplinks"] or [], "secrets_kept": bool(row["secrets"]),
        "ports_used": ports, "model": (row["seen"] or {}).get("model", ""), "state": row["state"] or "unknown",
        "reason": row["reason"] or "", "seen_at": row["seen_at"],
    }  # fmt: skip


def _gateway_view(row: Row) -> dict[str, Any]:
    shown = (
        "id",
        "name",
        "ovsdb",
        "trunk_bridge",
        "integration_bridge",
        "switch",
        "switch_port",
        "priority",
        "seen_at",
    )
    return {name: row[name] for name in shown} | {"state": row["state"] or "unknown", "reason": row["reason"] or ""}
