"""oslo.policy is the oracle: the same rules, tokens and targets must get the same verdict from both.

Random rules cover the language; the golden files (made by tests/golden/make_policy.py with the real services
installed) cover every default rule of every service for every persona.
"""

import gzip
import json
import random
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oslo_config import cfg
from oslo_policy import _parser
from oslo_policy import policy as oslo

from hagane.api.creds import Creds
from hagane.api.policy import SERVICES, Policy, defaults
from hagane.api.policy_compile import Compiler, Dialect, Test
from hagane.api.policy_language import BadRule, parse

GOLDEN = Path(__file__).parent.parent / "golden"

ATOMS = [
    "@", "!", "role:admin", "role:Member", "role:%(role)s", "role:%(absent)s", "role:a%(x)s",
    "project_id:%(project_id)s", "project_id:%(absent)s", "project_id:p1", "user_id:%(user_id)s",
    "domain_id:%(target.domain.id)s", "domain_id:None", "system_scope:all", "None:%(project_id)s", "True:%(flag)s",
    "'public':%(visibility)s", "\"p1\":%(project_id)s", "1:%(number)s", "0x10:%(number)s", "[1]:%(list)s",
    "is_admin:True", "is_admin:1", "is_admin_project:True", "roles:admin", "roles:Admin", "service_roles:service",
    "token.domain.id:%(target.domain.id)s", "token.roles.name:admin", "token.absent.id:x", "token:x",
    "absent:%(project_id)s", "absent.deeper:None", "project_id:%(project_id)s%(x)s", "user_id:u%(number)d",
    "project_id:%%p", "user_id:%(user_id)r", "user_id.deeper:x", "field:networks:shared=True", "rule:absent",
]  # fmt: skip
VALUES = st.sampled_from(["p1", "p2", "u1", "d1", "", "Admin", None, True, False, 1, 16, "1", "admin", "public"])
ROLES = st.lists(st.sampled_from(["admin", "Admin", "MEMBER", "member", "p1", "ap1"]), max_size=3)

TREES = st.recursive(
    st.sampled_from(ATOMS) | st.integers(0, 3).map(lambda number: f"rule:r{number}"),
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.sampled_from(["and", "or", "OR", "And"]), st.lists(inner, min_size=2, max_size=4)),
    ),
    max_leaves=12,
)
CREDS = st.fixed_dictionaries(
    {"user_id": VALUES, "project_id": VALUES, "domain_id": VALUES, "roles": ROLES},
    optional={
        "system_scope": st.just("all"),
        "is_admin": st.booleans(),
        "is_admin_project": st.booleans(),
        "service_roles": st.lists(st.sampled_from(["service", "admin"])),
        "token": st.fixed_dictionaries(
            {},
            optional={
                "domain": st.fixed_dictionaries({"id": VALUES}),
                "roles": st.lists(st.fixed_dictionaries({"name": VALUES})),
            },
        ),
    },
)
TARGETS = st.dictionaries(
    st.sampled_from(["project_id", "user_id", "target.domain.id", "flag", "visibility", "number", "x", "role"]), VALUES
).flatmap(lambda target: st.booleans().map(lambda some: {**target, "list": [1]} if some else target))


def render(tree: Any, depth: int = 0) -> str:
    """The text of a tree, with parentheses only where precedence needs them: binding strength is under test."""
    if isinstance(tree, str):
        return tree
    operator, operands = tree
    if operator == "not":
        return f"not {render(operands, 3)}"
    strength = 1 if operator.lower() == "or" else 2
    text = f" {operator} ".join(render(operand, strength + 1) for operand in operands)
    return f"({text})" if depth > strength else text


def names_below(tree: Any, limit: int) -> Any:
    """Rules may refer only to later ones, else they would be cyclic."""
    if isinstance(tree, str):
        return "rule:absent" if tree.startswith("rule:r") and int(tree[6:]) <= limit else tree
    operator, operands = tree
    return (operator, names_below(operands, limit) if operator == "not" else [names_below(o, limit) for o in operands])


def our_tests(texts: dict[str, Any]) -> dict[str, Test]:
    tests: dict[str, Test] = {}
    deny: Test = lambda creds, target: False  # noqa: E731
    compiler = Compiler(Dialect(), lambda name: tests.get(name, deny), lambda creds: creds.is_admin)
    for name in reversed(texts):
        tests[name] = compiler.compile(parse(texts[name]))
    return tests


def oslo_creds(creds: Creds) -> dict[str, Any]:
    values = {**creds.values, "roles": list(creds.values["roles"])}
    return values if creds.is_admin is None else {**values, "is_admin": creds.is_admin}


def oslo_enforcer(texts: dict[str, Any]) -> oslo.Enforcer:
    conf = cfg.ConfigOpts()
    conf([], project="none", default_config_files=[], default_config_dirs=[])
    enforcer = oslo.Enforcer(conf, use_conf=False)
    enforcer.set_rules(oslo.Rules.from_dict(texts))
    return enforcer


def oslo_verdict(enforcer: oslo.Enforcer, name: str, target: dict[str, Any], creds: Creds) -> bool | None:
    """None where oslo.policy crashes: on a path into a text, or on a number that is none. There we deny that check."""
    try:
        return bool(enforcer.enforce(name, target, oslo_creds(creds)))
    except (TypeError, ValueError):
        return None


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(TREES, min_size=4, max_size=4),
    st.lists(CREDS, min_size=4, max_size=4),
    st.lists(TARGETS, min_size=4, max_size=4),
)
def test_random_rules_get_the_verdict_of_oslo_policy(
    trees: list[Any], credentials: list[dict[str, Any]], targets: list[dict[str, Any]]
) -> None:
    texts = {f"r{number}": render(names_below(tree, number)) for number, tree in enumerate(trees)}
    ours, enforcer = our_tests(texts), oslo_enforcer(texts)
    for values in credentials:
        creds = Creds(**values)
        for target in targets:
            for name, text in texts.items():
                expected = oslo_verdict(enforcer, name, dict(target), creds)
                assert expected in (None, ours[name](creds, target)), (text, values, target)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.sampled_from(ATOMS), max_size=3) | st.sampled_from(ATOMS), max_size=4), CREDS, TARGETS)
def test_lists_of_lists_get_the_verdict_of_oslo_policy(
    rule: list[Any], values: dict[str, Any], target: dict[str, Any]
) -> None:
    creds = Creds(**values)
    expected = oslo_verdict(oslo_enforcer({"r": rule}), "r", dict(target), creds)
    assert expected in (None, our_tests({"r": rule})["r"](creds, target))


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.sampled_from([*ATOMS[:8], "and", "or", "not", "(", ")", "'x'", "word", "((role:a)", "b:c))"]), max_size=8
    )
)
def test_we_refuse_exactly_the_texts_that_oslo_policy_cannot_read(words: list[str]) -> None:
    text = " ".join(words)
    with mock.patch.object(_parser.LOG, "exception") as complaint:
        _parser.parse_rule(text)
    try:
        parse(text)
        assert not complaint.called, text
    except BadRule:
        assert complaint.called, text


@pytest.mark.parametrize("service", SERVICES)
def test_every_default_rule_gives_every_persona_the_real_services_verdict(service: str) -> None:
    golden = json.loads(gzip.decompress((GOLDEN / f"policy-{service}.json.gz").read_bytes()))
    policy = Policy.load(service)
    people = {name: Creds(**values) for name, values in golden["personas"].items()}
    assert set(golden["verdicts"]) == set(defaults(service).rules)
    cases = [(name, creds, target) for name, creds in people.items() for target in golden["targets"]]
    for rule, verdicts in golden["verdicts"].items():
        bits = f"{int(verdicts, 16):0{len(cases)}b}"
        for (name, creds, target), bit in zip(cases, bits, strict=True):
            assert policy.check(rule, creds, target) == (bit == "1"), (rule, name, target)


def test_nested_targets_read_like_flat_ones() -> None:
    golden = json.loads(gzip.decompress((GOLDEN / "policy-identity.json.gz").read_bytes()))
    policy = Policy.load("identity")
    people = [Creds(**values) for values in golden["personas"].values()]
    for flat in golden["targets"]:
        nested: dict[str, Any] = {}
        for name, value in flat.items():
            *way, last = name.split(".")
            place = nested
            for step in way:
                place = place.setdefault(step, {})
            place[last] = value
        for rule in random.Random(1).sample(sorted(golden["verdicts"]), 60):
            for creds in people:
                assert policy.check(rule, creds, nested) == policy.check(rule, creds, flat), (rule, flat)
