"""What the words of inspection rules mean."""

from typing import Any

import pytest

from hagane.baremetal.inspection_language import Refused, Subject, apply, fill
from hagane.errors import Invalid

INVENTORY = {"cpu": {"count": 8}, "system": {"product_name": "Sim"}, "bmc_address": "192.0.2.7", "disks": [{"size": 4}]}
HOLDS: list[tuple[str, Any, bool]] = [
    ("eq", {"values": ["{inventory[cpu][count]}", "8"]}, True),
    ("eq", {"values": ["{inventory[cpu][count]}", 8]}, False),
    ("eq", [["{inventory.cpu.count}", 8], True], True),
    ("!eq", {"values": ["{inventory.system.product_name}", "Sim"]}, False),
    ("lt", {"values": [1, 2, 3]}, True),
    ("gt", {"values": [1, 2]}, False),
    ("is-empty", {"value": "{inventory[none]}"}, True),
    ("is-none", {"value": "{inventory[none]}"}, False),
    ("in-net", {"address": "{inventory[bmc_address]}", "subnet": "192.0.2.0/24"}, True),
    ("matches", {"value": "{inventory.system.product_name}", "regex": "S.m"}, True),
    ("matches", {"value": "Simulated", "regex": "S.m"}, False),
    ("contains", {"value": "Simulated", "regex": "ula"}, True),
    ("one-of", {"value": "{inventory[disks][0][size]}", "values": ["4", "5"]}, True),
    ("is-true", {"value": "yes"}, True),
    ("is-false", {"value": "yes"}, False),
]


def subject() -> Subject:
    node = {"uuid": "n", "driver_info": {"password": "x"}, "properties": {}, "extra": {}, "traits": []}
    return Subject(node, [{"uuid": "p", "extra": {}}], dict(INVENTORY), {})


def rule(actions: list[Any], conditions: list[Any] | None = None, priority: int = 0) -> dict[str, Any]:
    return {"id": f"r{priority}", "priority": priority, "conditions": conditions or [], "actions": actions}


def log(text: str) -> dict[str, Any]:
    return {"op": "log", "args": {"msg": text}}


@pytest.mark.parametrize(("op", "args", "holds"), HOLDS)
def test_conditions(op: str, args: Any, holds: bool) -> None:
    assert bool(apply([rule([log("x")], [{"op": op, "args": args}])], subject())) is holds


@pytest.mark.parametrize(("multiple", "holds"), [("any", True), ("all", False), ("first", True), ("last", False)])
def test_a_condition_in_a_loop(multiple: str, holds: bool) -> None:
    condition = {"op": "eq", "args": {"values": ["{inventory.system.product_name}", "{item}"]}, "loop": ["Sim", "Other"],
                 "multiple": multiple}  # fmt: skip
    assert bool(apply([rule([log("x")], [condition])], subject())) is holds


def test_actions_in_order_of_priority() -> None:
    loop = [
        {"path": "/driver_info/ipmi_address", "value": "{inventory[bmc_address]}"},
        {"path": "extra.a", "value": "b"},
    ]
    told = subject()
    actions = [
        {"op": "set-attribute", "args": ["{item[path]}", "{item[value]}"], "loop": loop},
        {"op": "set-capability", "args": {"name": "boot_mode", "value": "uefi"}},
        {"op": "add-trait", "args": {"name": "CUSTOM_A"}},
        {"op": "extend-attribute", "args": {"path": "extra/list", "value": "x", "unique": True}},
        {"op": "extend-attribute", "args": {"path": "extra/list", "value": "x", "unique": True}},
        {"op": "set-plugin-data", "args": {"path": "a.b", "value": "{node.uuid}"}},
        {"op": "set-port-attribute", "args": {"port_id": "p", "path": "extra/x", "value": 1}},
        log("{node.driver_info} {node.name}"),
    ]
    assert apply([rule([log("later")]), rule(actions, priority=10)], told) == ["r10", "r0"]
    assert told.node["driver_info"] == {"password": "x", "ipmi_address": "192.0.2.7"}
    assert (told.node["extra"], told.node["traits"]) == ({"a": "b", "list": ["x"]}, ["CUSTOM_A"])
    assert told.node["properties"] == {"capabilities": "boot_mode:uefi"}
    assert (told.plugin_data, told.nics[0]["extra"]) == ({"a": {"b": "n"}}, {"x": 1})
    assert told.said == [("info", "{node.driver_info} {node.name}"), ("info", "later")]


def test_undoing() -> None:
    told = subject()
    told.node |= {"properties": {"capabilities": "a:1,b:2"}, "traits": ["CUSTOM_A"], "extra": {"x": 1}}
    told.plugin_data = {"a": {"b": 1}}
    actions = [
        {"op": "unset-capability", "args": {"name": "a"}}, {"op": "remove-trait", "args": ["CUSTOM_A"]},
        {"op": "del-attribute", "args": {"path": "extra/x"}}, {"op": "unset-plugin-data", "args": {"path": "a.b"}},
        {"op": "unset-plugin-data", "args": {"path": "c.d"}},
    ]  # fmt: skip
    apply([rule(actions)], told)
    assert (told.node["properties"], told.node["traits"]) == ({"capabilities": "b:2"}, [])
    assert (told.node["extra"], told.plugin_data) == ({}, {"a": {}})


def test_a_rule_may_fail_the_inspection() -> None:
    with pytest.raises(Refused, match="not this one"):
        apply([rule([{"op": "fail", "args": {"msg": "not this one"}}])], subject())


def test_what_cannot_be_done_names_the_rule() -> None:
    with pytest.raises(Invalid, match="rule r0: Expected list for 'values', got: str"):
        apply([rule([log("x")], [{"op": "eq", "args": ["{{ inventory.cpu.count }}", 8]}])], subject())
    with pytest.raises(Invalid, match="rule r0: KeyError"):
        apply([rule([{"op": "del-attribute", "args": {"path": "extra/none"}}])], subject())


def test_texts_reach_nothing_but_data() -> None:
    context = subject().context() | {"item": {"a": ["b"]}}
    assert fill(["{item.a[0]}", {"{item[a][0]}": 1}, 2], context) == ["b", {"b": 1}, 2]
    assert fill("{node.driver_info.password} {{x}}", context) == "****** {x}"
    for text in ("{node.__class__}", "{item.a.append}", "{nobody}", "{0}", "{}", "{item!r}", "{item:>9}"):
        assert fill(text, context) == text


@pytest.mark.parametrize("regex", ["(a+)+b", "a{99999999999999999999}", "(" * 5000 + ")" * 5000])
def test_an_expression_that_cannot_be_used_stops_nothing_else(regex: str) -> None:
    condition = {"op": "contains", "args": {"value": "a" * 60, "regex": regex}}
    with pytest.raises(Invalid, match=r"rule r0: (TooLong|OverflowError|RecursionError)"):
        apply([rule([log("x")], [condition])], subject())


def test_a_text_does_not_grow_without_end() -> None:
    twice = {"path": "x", "value": "{plugin_data.x}{plugin_data.x}"}
    begin = {"op": "set-plugin-data", "args": {"path": "x", "value": "12345678"}}
    with pytest.raises(Invalid, match="rule r0: A text has become longer than 65536 letters"):
        apply([rule([begin, {"op": "set-plugin-data", "args": twice, "loop": list(range(1, 60))}])], subject())
