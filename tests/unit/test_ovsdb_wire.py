"""OVSDB values: whatever a column can hold survives the wire, and differences are applied as the server means them."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hagane.errors import Invalid, Unsupported
from hagane.ovn.schema import parse_column, parse_schema
from hagane.ovn.wire import BIG, Before, Named, changed

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
ATOMS: dict[str, st.SearchStrategy[Any]] = {
    "integer": st.integers(-(1 << 63), (1 << 63) - 1),
    "real": st.floats(allow_nan=False, allow_infinity=False),
    "boolean": st.booleans(),
    "string": TEXT,
    "uuid": st.uuids().map(str),
}
KINDS = st.sampled_from(sorted(ATOMS))


@st.composite
def columns_and_values(draw: st.DrawFn) -> tuple[Any, Any]:
    key, shape = draw(KINDS), draw(st.sampled_from(["scalar", "optional", "set", "some", "map"]))
    atom = ATOMS[key]
    if shape == "scalar":
        return key, draw(atom)
    if shape == "optional":
        return {"key": key, "min": 0, "max": 1}, draw(st.none() | atom)
    if shape == "map":
        value = draw(KINDS)
        kind = {"key": {"type": key}, "value": value, "min": 0, "max": "unlimited"}
        return kind, draw(st.dictionaries(atom, ATOMS[value]))
    least = 0 if shape == "set" else 1
    return {"key": key, "min": least, "max": "unlimited"}, draw(st.frozensets(atom, min_size=least))


def through_json(raw: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(raw))


@given(columns_and_values())
def test_every_value_survives_the_wire(case: tuple[Any, Any]) -> None:
    kind, value = case
    column = parse_column("c", kind)
    decoded = column.decode(through_json(column.encode(value)))
    assert decoded == value
    assert type(decoded) is type(value)


@given(columns_and_values(), st.data())
def test_flip_undoes_the_difference(case: tuple[Any, Any], data: st.DataObject) -> None:
    kind, old = case
    column = parse_column("c", kind)
    if column.is_set:
        new = data.draw(st.frozensets(ATOMS[column.key]))
        assert column.flip(old, old ^ new) == new
    elif column.is_map:
        new = data.draw(st.dictionaries(ATOMS[column.key], ATOMS[column.value or ""]))
        gone = {key: value for key, value in old.items() if key not in new}
        come = {key: value for key, value in new.items() if key not in old or old[key] != value}
        assert column.flip(old, {**gone, **come}) == new
    else:
        assert column.flip(old, old) == old


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        ({"key": "string", "min": 0, "max": 1}, ["set", []], None),
        ({"key": "string", "min": 0, "max": 1}, ["set", ["x"]], "x"),
        ({"key": "string", "min": 0, "max": 1}, "x", "x"),
        ({"key": "uuid", "min": 0, "max": 1}, ["uuid", "u"], "u"),
        ({"key": "string", "min": 0, "max": "unlimited"}, "set", frozenset({"set"})),
        ({"key": "uuid", "min": 0, "max": "unlimited"}, ["uuid", "u"], frozenset({"u"})),
        ({"key": "uuid", "min": 0, "max": "unlimited"}, ["set", [["uuid", "u"], ["uuid", "v"]]], frozenset({"u", "v"})),
        ({"key": "integer", "value": "uuid", "min": 0, "max": 1}, ["map", [[1, ["uuid", "u"]]]], {1: "u"}),
        ("real", 3, 3.0),
    ],
)
def test_the_servers_other_spellings(kind: Any, raw: Any, value: Any) -> None:
    assert parse_column("c", kind).decode(raw) == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("integer", 1 << 63),
        ("integer", "1"),
        ("integer", True),
        ("integer", 1.0),
        ("real", float("nan")),
        ("real", float("inf")),
        ("boolean", 1),
        ("string", None),
        ("string", "a\0b"),
        ("string", "\ud800"),
        ({"key": "string", "min": 0, "max": "unlimited"}, [1]),
    ],
)
def test_what_would_end_the_connection_is_refused_here(kind: Any, value: Any) -> None:
    with pytest.raises(Invalid):
        parse_column("c", kind).encode(value)


@pytest.mark.parametrize("value", ["text", 7, {"a": 1}.get("b")])
def test_a_set_column_takes_no_scalar(value: Any) -> None:
    with pytest.raises(Invalid):
        parse_column("c", {"key": "string", "min": 0, "max": "unlimited"}).coerce(value)


def test_named_rows_are_told_from_uuids() -> None:
    column = parse_column("c", {"key": "uuid", "min": 0, "max": "unlimited"})
    assert column.encode([Named("row1")], "t7_") == ["set", [["named-uuid", "t7_row1"]]]
    assert column.encode(["row1"], "t7_") == ["set", [["uuid", "row1"]]]


def test_a_big_set_changes_in_place_and_a_small_one_does_not() -> None:
    column = parse_column("c", {"key": "integer", "min": 0, "max": "unlimited"})
    small = frozenset(range(BIG))
    assert column.flip(small, frozenset({-1})) is not small
    big = frozenset(range(BIG + 1))
    live = column.flip(big, frozenset({-1}))
    assert type(live) is set
    assert big == frozenset(range(BIG + 1)), "the first change must leave the frozenset alone"
    assert column.flip(live, frozenset({-2})) is live
    assert live == {*range(BIG + 1), -1, -2}


@given(st.frozensets(st.integers(0, 20)), st.frozensets(st.integers(0, 20)))
def test_before_shows_the_set_as_it_was(old: frozenset[int], diff: frozenset[int]) -> None:
    before = Before(set(old ^ diff), diff)
    assert before == old
    assert set(before) == old
    assert len(before) == len(old)
    assert all((item in before) == (item in old) for item in range(21))
    assert changed(before, old ^ diff) == changed(old, old ^ diff) == diff


def test_the_schema_knows_who_holds_whom() -> None:
    weak = {"type": {"key": {"type": "uuid", "refTable": "B", "refType": "weak"}, "min": 0, "max": "unlimited"}}
    strong = {"type": {"key": {"type": "uuid", "refTable": "B"}, "min": 0, "max": "unlimited"}}
    tables = {"A": {"columns": {"w": weak, "s": strong}, "isRoot": True}, "B": {"columns": {"n": {"type": "string"}}}}
    schema = parse_schema({"name": "D", "version": "1.0.0", "tables": tables})
    assert schema.table("B").holders == (("A", "s"),)
    assert not schema.table("B").is_root
    with pytest.raises(Unsupported):
        schema.table("C")
    with pytest.raises(Unsupported):
        schema.table("A").column("x")
    del tables["A"]["isRoot"]
    assert parse_schema({"name": "D", "tables": tables}).table("B").is_root, "without any root all tables are roots"
