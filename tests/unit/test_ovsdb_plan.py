"""`plan`: the operations for each difference, nothing the second time, foreign rows left alone, any corruption
healed."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hagane.errors import Conflict, Invalid, Unsupported
from hagane.ovn.desired import MARK, Desired, Only, Ref, Scope
from hagane.ovn.plan import plan
from hagane.ovn.transaction import Insert, Mutate, Update
from tests.unit.ovsdb_memory import MemoryDatabase

NET = "11111111-1111-4111-8111-111111111111"
P1, P2 = "22222222-2222-4222-8222-222222222221", "22222222-2222-4222-8222-222222222222"
ROUTER = "33333333-3333-4333-8333-333333333333"
SG = "44444444-4444-4444-8444-444444444444"
EVERYTHING = Scope(match=lambda table, key: True)


def switch(key: str = NET, **columns: Any) -> Desired:
    return Desired("Logical_Switch", f"net:{key}", {"name": f"hagane-{key}", **columns})


def port(key: str, net: str = NET, groups: tuple[str, ...] = (), **columns: Any) -> Desired:
    values = {"name": key, "addresses": [f"fa:16:3e:00:00:01 10.0.0.{len(key)}"], **columns}
    member_of = {("Port_Group", "ports"): [f"sg:{group}" for group in groups]}
    return Desired("Logical_Switch_Port", f"port:{key}", values, ("Logical_Switch", f"net:{net}", "ports"), member_of)


def group(key: str = SG) -> Desired:
    return Desired("Port_Group", f"sg:{key}", {"name": f"pg_{key}".replace("-", "_")}, exclusive=("acls",))


def acl(number: int, match: str = "ip4") -> Desired:
    columns = {"priority": 1002, "direction": "to-lport", "match": match, "action": "allow-related"}
    return Desired("ACL", f"sg:{SG}/rule:{number}", columns, ("Port_Group", f"sg:{SG}", "acls"))


def dhcp() -> Desired:
    return Desired("DHCP_Options", f"net:{NET}/dhcp4", {"cidr": "10.0.0.0/24", "options": {"lease_time": "3600"}})


def router(*, whole: bool = False) -> list[Desired]:
    """With `whole` the map of options is ours alone."""
    key = f"router:{ROUTER}"
    options = {"mcast_relay": "false"}
    rows = [
        Desired("Logical_Router", key, {"name": f"hagane-{ROUTER}", "options": options if whole else Only(options)})
    ]
    lrp = {"name": f"lrp-{ROUTER}", "mac": "fa:16:3e:00:00:09", "networks": ["10.0.0.1/24", "fd00::1/64"]}
    rows.append(Desired("Logical_Router_Port", f"{key}/lrp", lrp, ("Logical_Router", key, "ports")))
    chassis = {"name": f"gw-{ROUTER}", "chassis_name": "hv1", "priority": 2}
    place = ("Logical_Router_Port", f"{key}/lrp", "gateway_chassis")
    rows.append(Desired("Gateway_Chassis", f"{key}/gw:hv1", chassis, place))
    nat = {"type": "snat", "external_ip": "192.0.2.1", "logical_ip": "10.0.0.0/24"}
    rows.append(Desired("NAT", f"{key}/snat", nat, ("Logical_Router", key, "nat")))
    route = {"ip_prefix": "0.0.0.0/0", "nexthop": "192.0.2.254"}
    rows.append(Desired("Logical_Router_Static_Route", f"{key}/gw", route, ("Logical_Router", key, "static_routes")))
    return rows


def cloud(*, whole: bool = False) -> list[Desired]:
    one = port(P1, groups=(SG,), dhcpv4_options=Ref("DHCP_Options", f"net:{NET}/dhcp4"), options={"a": "1", "b": "2"})
    binding = {"logical_port": f"lrp-{ROUTER}", "ip": "10.0.0.9", "mac": "fa:16:3e:00:00:03"}
    static = Desired("Static_MAC_Binding", f"lrp-{ROUTER} 10.0.0.9", binding)
    addresses = Desired("Address_Set", f"as:{SG}", {"name": f"as_{SG}", "addresses": {"10.1.0.1", "10.1.0.2"}})
    return [switch(), dhcp(), group(), acl(1), acl(2, "ip6"), one, port(P2), *router(whole=whole), static, addresses]


def settled(*desired: Desired) -> MemoryDatabase:
    database = MemoryDatabase()
    database.commit(plan(desired, database))
    assert plan(desired, database) == []
    return database


def content(database: MemoryDatabase) -> Any:
    """What is there, without the UUIDs: by key, references replaced by the key of what they refer to."""
    keys = {row["_uuid"]: (table, key) for table, key, row in database.all_ours()}

    def plain(value: Any) -> Any:
        if isinstance(value, frozenset | set):
            return frozenset(keys.get(item, item) for item in value)
        return keys.get(value, value) if isinstance(value, str) else value

    return {
        keys.get(row_id, row_id): {name: plain(value) for name, value in row.items() if name != "_uuid"}
        for rows in database.tables.values()
        for row_id, row in rows.items()
    }


def test_a_whole_cloud_settles_in_one_plan() -> None:
    database = settled(*cloud())
    assert plan(cloud(), database, EVERYTHING) == []
    assert {table: len(rows) for table, rows in database.tables.items() if rows} == {
        "Logical_Switch": 1,
        "Logical_Switch_Port": 2,
        "Port_Group": 1,
        "ACL": 2,
        "DHCP_Options": 1,
        "Logical_Router": 1,
        "Logical_Router_Port": 1,
        "Gateway_Chassis": 1,
        "NAT": 1,
        "Logical_Router_Static_Route": 1,
        "Static_MAC_Binding": 1,
        "Address_Set": 1,
    }


def test_a_new_port_is_three_operations_on_single_elements() -> None:
    database = settled(switch(), group(), port(P1, groups=(SG,)))
    ops = plan([port(P2, groups=(SG,))], database)
    assert [type(op) for op in ops] == [Insert, Mutate, Mutate]
    named = frozenset({ops[0].name})  # type: ignore[union-attr]
    assert [op.changes for op in ops[1:]] == [(("ports", "insert", named),)] * 2  # type: ignore[union-attr]


def test_only_what_differs_changes() -> None:
    database = settled(switch(), port(P1, options={"a": "1", "b": "2"}, enabled=True))
    ops = plan([port(P1, options={"a": "1", "c": "3"}, enabled=False, addresses=["x"])], database)
    assert [type(op) for op in ops] == [Update, Mutate]
    assert ops[0].row == {"enabled": False}  # type: ignore[union-attr]
    old = frozenset(database.find("Logical_Switch_Port", f"port:{P1}")[0]["addresses"])
    changes = set(ops[1].changes[:2]), ops[1].changes[2:]  # type: ignore[union-attr]
    assert changes == (
        {("addresses", "delete", old), ("addresses", "insert", frozenset({"x"}))},
        (("options", "delete", frozenset({"b"})), ("options", "insert", {"c": "3"})),
    )


def test_columns_that_are_not_named_are_left_alone() -> None:
    database = settled(switch(), port(P1))
    row = database.find("Logical_Switch_Port", f"port:{P1}")[0]
    row |= {"tag": 5, "up": True, "external_ids": {**row["external_ids"], "theirs": "x"}}
    assert plan([port(P1)], database) == []


def test_of_a_map_only_the_named_keys_may_be_ours() -> None:
    database = settled(*router())
    row = database.find("Logical_Router", f"router:{ROUTER}")[0]
    row["options"] = {"theirs": "x", "mcast_relay": "true"}
    database.commit(plan(router(), database))
    assert row["options"] == {"theirs": "x", "mcast_relay": "false"}


def test_foreign_rows_stay_even_in_our_sets() -> None:
    database = settled(*cloud())
    theirs = database.add("Logical_Switch_Port", name="theirs")
    net = database.find("Logical_Switch", f"net:{NET}")[0]
    net["ports"] = frozenset(net["ports"]) | {theirs}
    other = database.add("Logical_Switch", name="other")
    database.commit(plan([], database, Scope(owners=[f"port:{P1}", f"port:{P2}"])))
    assert net["ports"] == {theirs}
    assert other in database.tables["Logical_Switch"]
    assert plan([*cloud()][:5], database, Scope(owners=[f"net:{NET}", f"sg:{SG}"])) == []


def test_an_exclusive_column_holds_only_what_is_desired() -> None:
    database = settled(group(), acl(1))
    theirs = database.add("ACL", match="1", action="allow", direction="to-lport")
    row = database.find("Port_Group", f"sg:{SG}")[0]
    row["acls"] = frozenset(row["acls"]) | {theirs}
    database.commit(plan([group(), acl(1)], database))
    assert [found["match"] for found in database.tables["ACL"].values()] == ["ip4"]


def test_a_port_moves_to_another_network_as_it_is() -> None:
    other = "11111111-1111-4111-8111-999999999999"
    database = settled(switch(), switch(other), port(P1))
    (before,) = database.tables["Logical_Switch_Port"]
    ops = plan([port(P1, net=other)], database)
    assert [type(op) for op in ops] == [Mutate, Mutate]
    database.commit(ops)
    assert list(database.tables["Logical_Switch_Port"]) == [before]
    assert plan([port(P1, net=other)], database) == []


def test_memberships_follow_and_foreign_groups_are_not_looked_at() -> None:
    second = "44444444-4444-4444-8444-555555555555"
    database = settled(switch(), group(), group(second), port(P1, groups=(SG,)))
    (row_id,) = database.tables["Logical_Switch_Port"]
    theirs = database.add("Port_Group", name="theirs", ports=frozenset({row_id}))
    database.commit(plan([port(P1, groups=(second,))], database))
    assert {name: len(database.find("Port_Group", f"sg:{name}")[0]["ports"]) for name in (SG, second)} == {
        SG: 0,
        second: 1,
    }
    assert database.tables["Port_Group"][theirs]["ports"] == {row_id}
    assert plan([port(P1, groups=(second,))], database) == []


def test_a_set_of_refs_is_owned_as_a_whole() -> None:
    whole = Desired("Port_Group", f"sg:{SG}", {"name": f"pg_{SG}", "ports": [Ref("Logical_Switch_Port", f"port:{P1}")]})
    database = settled(switch(), port(P1), port(P2), whole)
    row = database.find("Port_Group", f"sg:{SG}")[0]
    row["ports"] = frozenset(database.tables["Logical_Switch_Port"])
    database.commit(plan([whole], database))
    assert row["ports"] == {database.find("Logical_Switch_Port", f"port:{P1}")[0]["_uuid"]}
    assert plan([whole, port(P1), port(P2)], database) == [], "the ports' own word does not count against it"


def test_what_is_in_scope_and_not_desired_goes() -> None:
    database = settled(*cloud())
    database.commit(plan([group(), acl(1)], database, Scope(owners=[f"sg:{SG}"])))
    assert len(database.tables["ACL"]) == 1
    database.commit(plan([], database, Scope(keys=[("Logical_Switch_Port", f"port:{P1}")])))
    assert len(database.tables["Logical_Switch_Port"]) == 1
    database.commit(plan([], database, Scope(owners=[f"router:{ROUTER}"])))
    assert not any(database.tables[table] for table in ("Logical_Router", "NAT", "Gateway_Chassis"))
    database.commit(plan([], database, EVERYTHING))
    assert {table for table, rows in database.tables.items() if rows} == {"Static_MAC_Binding"}
    database.commit(plan([], database, Scope(keys=[("Static_MAC_Binding", f"lrp-{ROUTER} 10.0.0.9")])))
    assert not any(database.tables.values())


def test_a_second_row_of_one_key_goes_and_the_placed_one_stays() -> None:
    database = settled(switch(), port(P1))
    (placed,) = database.tables["Logical_Switch_Port"]
    stray = database.add("Logical_Switch_Port", name="x", external_ids={MARK: f"port:{P1}"})
    elsewhere = database.add("Logical_Switch", name="elsewhere", ports=frozenset({stray}))
    twin = database.add("Logical_Switch", name=f"hagane-{NET}", external_ids={MARK: f"net:{NET}"})
    database.commit(plan([switch(), port(P1)], database))
    database.commit(plan([switch(), port(P1)], database))
    assert plan([switch(), port(P1)], database) == []
    assert set(database.tables["Logical_Switch_Port"]) == {placed}
    assert elsewhere in database.tables["Logical_Switch"]
    assert len({twin, *database.tables["Logical_Switch"]} & set(database.tables["Logical_Switch"])) == 2


@pytest.mark.parametrize("mark", [{}, {MARK: "port:somebody-else"}])
def test_a_row_that_lost_its_mark_is_adopted_by_its_name(mark: dict[str, str]) -> None:
    database = settled(switch(), port(P1))
    (row,) = database.tables["Logical_Switch_Port"].values()
    row["external_ids"] = mark
    (op,) = plan([port(P1)], database)
    assert isinstance(op, Mutate)
    database.commit([op])
    assert row["external_ids"] == {MARK: f"port:{P1}"}


def test_a_foreign_or_missing_parent_is_an_error() -> None:
    database = MemoryDatabase()
    database.add("Logical_Switch", name="foreign")
    with pytest.raises(Conflict, match="Logical_Switch net:"):
        plan([port(P1)], database)
    with pytest.raises(Conflict, match="DHCP_Options"):
        plan([switch(), port(P1, dhcpv4_options=Ref("DHCP_Options", "gone"))], database)


def test_contradictions_and_unknown_columns_are_errors() -> None:
    database = MemoryDatabase()
    with pytest.raises(Invalid, match="twice"):
        plan([switch(), switch()], database)
    with pytest.raises(Invalid, match="parent"):
        plan([Desired("NAT", "nat:1", {})], database)
    with pytest.raises(Unsupported):
        plan([switch(no_such_column=1)], database)


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": st.sampled_from(["", "junk"]),
    "integer": st.sampled_from([0, 7]),
    "boolean": st.booleans(),
}


def corrupt(database: MemoryDatabase, named: dict[tuple[str, str], Desired], data: st.DataObject) -> None:
    """One change that somebody else might make to a row of ours: it is gone, or a column that we name is different."""
    table, key, row = data.draw(st.sampled_from(sorted(database.all_ours(), key=lambda found: found[:2])))
    schema = database.schema.tables[table]
    if data.draw(st.booleans()):
        for holder_table, column in schema.holders:
            for holder in database.holders(holder_table, column, row["_uuid"]):
                held = database.tables[holder_table][holder]
                held[column] = frozenset(held[column]) - {row["_uuid"]}
        del database.tables[table][row["_uuid"]]
        while database._collect():
            pass
        return
    names = [name for name in named[table, key].columns if name != "name" and not schema.columns[name].ref_table]
    if not names:
        return
    column = schema.columns[data.draw(st.sampled_from(sorted(names)))]
    if column.is_map:
        row[column.name] = data.draw(st.just({}) | st.just({**row[column.name], "junk": "junk"}))
    elif column.is_set:
        row[column.name] = data.draw(st.just(frozenset({"junk"})) | st.just(frozenset(row[column.name]) | {"junk"}))
    else:
        row[column.name] = data.draw(VALUES[column.key])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_corruption_is_healed_exactly(data: st.DataObject) -> None:
    desired = cloud(whole=True)
    database = settled(*desired)
    foreign = database.add("Logical_Switch", name="foreign")
    before = content(database)
    untouched = copy.deepcopy(database.tables["Logical_Switch"][foreign])
    for _ in range(data.draw(st.integers(1, 4))):
        corrupt(database, {(want.table, want.key): want for want in desired}, data)
    database.commit(plan(desired, database, EVERYTHING))
    assert content(database) == before
    assert plan(desired, database, EVERYTHING) == []
    assert database.tables["Logical_Switch"][foreign] == untouched
