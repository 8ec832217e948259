"""Policy files as operators have them, what can be wrong with them, and what a Policy answers."""

import logging
from pathlib import Path

import pytest
import yaml

from hagane.api.creds import Creds
from hagane.api.policy import SERVICES, Policy, defaults, sample
from hagane.errors import ConfigError, Forbidden

MEMBER = Creds(user_id="u1", project_id="p1", roles=["Member", "reader"])
READER = Creds(user_id="u2", project_id="p1", roles=["reader"])
ADMIN = Creds(user_id="u3", project_id="p3", roles=["admin", "member", "reader"])
SYSTEM = Creds(user_id="u3", system_scope="all", roles=["admin", "member", "reader"])
MINE, OTHERS = {"project_id": "p1"}, {"project_id": "p2"}
CREATE = "os_compute_api:servers:create"


def load(folder: Path, text: str, service: str = "compute") -> Policy:
    file = folder / "policy.yaml"
    file.write_text(text)
    return Policy.load(service, file)


def test_an_override_replaces_a_default_and_leaves_the_others(tmp_path: Path) -> None:
    policy = load(tmp_path, f'"{CREATE}": "role:reader and project_id:%(project_id)s"\n')
    assert policy.check(CREATE, READER, MINE) and not policy.check(CREATE, READER, OTHERS)
    assert not Policy.load("compute").check(CREATE, READER, MINE)
    assert not policy.check("os_compute_api:servers:delete", READER, MINE)


def test_an_override_keeps_the_scope_of_the_rule(tmp_path: Path) -> None:
    policy = load(tmp_path, f'"{CREATE}": "@"')
    assert policy.check(CREATE, READER, OTHERS) and not policy.check(CREATE, SYSTEM, OTHERS)


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "{}", "---\n", "null", "[]"])
def test_an_empty_file_changes_nothing(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, text).check(CREATE, MEMBER, MINE)


def test_rules_of_the_operator_can_be_referred_to(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    policy = load(tmp_path, f'"ours": "role:reader"\n"{CREATE}": "rule:ours and not role:member"\n')
    assert policy.check(CREATE, READER, {}) and not policy.check(CREATE, MEMBER, {})
    assert not caplog.records


def test_old_files_in_json_with_lists_of_lists(tmp_path: Path) -> None:
    policy = load(tmp_path, '{"x": [["role:member", "project_id:%(project_id)s"], ["role:admin"]], "y": [], "z": [[]]}')
    assert policy.check("x", MEMBER, MINE) and policy.check("x", ADMIN, MINE) and not policy.check("x", READER, MINE)
    assert policy.check("y", READER, {}) and not policy.check("z", ADMIN, {})


@pytest.mark.parametrize("name", ["compute.yaml", "nova.yaml", "nova/policy.yaml", "compute-policy.yaml", "nova.json"])
def test_a_folder_has_a_file_per_service(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(f'"{CREATE}": "!"')
    assert not Policy.load("compute", tmp_path).check(CREATE, MEMBER, MINE)
    assert Policy.load("volume", tmp_path).check("volume:create", MEMBER, MINE)


def test_two_files_for_one_service_are_refused(tmp_path: Path) -> None:
    (tmp_path / "nova.yaml").write_text("")
    (tmp_path / "compute.yaml").write_text("")
    with pytest.raises(ConfigError, match="two policy files"):
        Policy.load("compute", tmp_path)


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("role:member and", "a check is missing at the end"),
        ("role:member or or role:x", "a check is missing before 'or'"),
        ("(role:member", "a parenthesis is not closed"),
        ("role:member)", "unexpected"),
        ("role:member role:admin", "unexpected 'role:admin'"),
        ("member", "'member' is not a check"),
        ("http://authority/%(name)s", "not supported"),
        ("project_id:%(project_id)z", "unsupported format character"),
        ("1a:x", "neither a kind of check"),
        ("   ", "a check is missing"),
        ("(" * 100_000 + "@", "nested too deeply"),
    ],
)
def test_a_rule_that_cannot_be_read_stops_the_load(tmp_path: Path, rule: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f'"a": "@"\n\n"{CREATE}": "{rule}"\n')
    assert why in caught.value.message
    assert f"{tmp_path}/policy.yaml, line 3: the policy rule '{CREATE}'" in caught.value.message


@pytest.mark.parametrize("rule", ["true", "5", "{a: b}", "[5]", "[[5]]", "[{a: b}]"])
def test_a_rule_that_is_no_text_stops_the_load(tmp_path: Path, rule: str) -> None:
    with pytest.raises(ConfigError, match="line 1: the policy rule 'a' is wrong"):
        load(tmp_path, f"a: {rule}\n")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('"a": "@\n', "is not YAML"),
        ("a: @\n", "line 1 is not YAML"),
        ("a: b: c\n", "line 1 is not YAML"),
        ("- a\n- b\n", "must map names of rules"),
        ("5: role:x\n", "the name of a rule is a text"),
        ("a: !!python/object/apply:os.system [id]\n", "is not YAML"),
        ("&a [*a]\n", "must map names"),
        ("[" * 100_000, "is not YAML"),
        ("a: role:x\n---\nb: role:y\n", "is not YAML"),
    ],
)
def test_a_file_that_cannot_be_read_stops_the_load(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert why in caught.value.message and str(tmp_path / "policy.yaml") in caught.value.message


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml cannot be read: No such file"):
        Policy.load("compute", tmp_path / "absent.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        Policy.load("compute", tmp_path / "binary.yaml")


def test_rules_that_refer_to_themselves_stop_the_load(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="refers to itself: a → b → c → a"):
        load(tmp_path, "a: rule:b\nb: role:x or rule:c\nc: not rule:a\n")


def test_a_reference_to_nothing_denies_and_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    policy = load(tmp_path, f'"{CREATE}": "rule:absent"')
    assert not policy.check(CREATE, ADMIN, MINE)
    assert f"policy.yaml, line 1: {CREATE} refers to absent, which is not defined" in caplog.text


def test_a_reference_to_nothing_falls_to_the_rule_default(tmp_path: Path) -> None:
    policy = load(tmp_path, 'default: "role:reader"\na: rule:absent\n')
    assert policy.check("a", READER, {}) and policy.check("never heard of", READER, {})
    assert not policy.check("never heard of", Creds(roles=["x"]), {})
    assert Policy.load("network").check("create_network:unheard_of", MEMBER, MINE)
    assert not Policy.load("network").check("create_network:unheard_of", MEMBER, OTHERS)


def test_an_unknown_rule_is_denied_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    policy = Policy.load("compute")
    assert not policy.check("no such rule", ADMIN, MINE) and not policy.check("no such rule", ADMIN, MINE)
    assert [record.getMessage() for record in caplog.records] == [
        "compute: the policy rule no such rule is not defined"
    ]
    assert "no such rule" not in policy and CREATE in policy


def test_an_override_without_effect_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load(tmp_path, "os_compute_api:servers:cerate: role:x\n")
    assert "line 1: there is no policy rule os_compute_api:servers:cerate" in caplog.text


def test_an_override_under_a_former_name_holds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    new, rule = next((name, rule) for name, rule in defaults("compute").rules.items() if rule.replaces)
    assert rule.replaces
    old = rule.replaces["name"]
    assert load(tmp_path, f'"{old}": "role:special"').check(new, Creds(roles=["special"]), MINE)
    assert f"line 1: {old} is now called {new}" in caplog.text and "no effect" not in caplog.text
    assert not load(tmp_path, f'"{old}": "rule:{new}"').check(new, Creds(roles=["special"]), MINE)
    assert not load(tmp_path, f'"{old}": "@"\n"{new}": "!"').check(new, ADMIN, MINE)


def test_restating_a_former_default_changes_nothing(tmp_path: Path) -> None:
    former = [rule for rule in defaults("network").rules.items() if rule[1].replaces]
    text = "".join(f'"{rule.replaces["name"]}": "{rule.replaces["check"]}"\n' for _, rule in former if rule.replaces)
    policy, plain = load(tmp_path, text, "network"), Policy.load("network")
    for name, _ in former:
        for creds in (MEMBER, READER, ADMIN):
            assert policy.check(name, creds, MINE) == plain.check(name, creds, MINE)


def test_who_is_administrator_is_a_rule_of_the_service(tmp_path: Path) -> None:
    assert Policy.load("volume").is_admin(ADMIN) and not Policy.load("volume").is_admin(MEMBER)
    policy = load(tmp_path, "context_is_admin: is_admin:True or role:operator\n", "volume")
    operator = Creds(project_id="p9", roles=["operator"])
    assert policy.is_admin(operator) and not policy.is_admin(ADMIN)
    assert policy.check("volume_extension:services:index", operator, {})
    assert Policy.load("volume").is_admin(operator) is False
    assert policy.check("volume_extension:services:index", Creds(is_admin=True), {})


def test_old_owner_checks_of_the_network_service(tmp_path: Path) -> None:
    text = "a: tenant_id:%(tenant_id)s\nb: tenant_id:%(network:tenant_id)s\nc: tenant_id:%(network_tenant_id)s\n"
    policy = load(tmp_path, text, "network")
    assert (
        policy.check("a", MEMBER, MINE) and not policy.check("a", MEMBER, OTHERS) and not policy.check("a", MEMBER, {})
    )
    for rule in ("b", "c"):
        assert policy.check(rule, MEMBER, {"network:project_id": "p1"})
        assert not policy.check(rule, MEMBER, {"network:project_id": "p2", "project_id": "p1"})


def test_fields_compare_as_what_they_are(tmp_path: Path) -> None:
    text = (
        'a: field:networks:shared=true\nb: field:networks:mtu=1500\nc: "field:ports:device_owner=~^network:"\n'
        "d: field:networks:provider:physical_network=rack1\n"
    )
    policy = load(tmp_path, text, "network")
    assert policy.check("a", MEMBER, {"shared": True}) and not policy.check("a", MEMBER, {"shared": "True"})
    assert policy.check("a", MEMBER, {"network:shared": True})
    assert not policy.check("a", MEMBER, {"shared": False, "network:shared": True}) and not policy.check(
        "a", MEMBER, {}
    )
    assert policy.check("b", MEMBER, {"mtu": 1500}) and not policy.check("b", MEMBER, {"mtu": "1500"})
    assert policy.check("c", MEMBER, {"device_owner": "network:dhcp"})
    assert not policy.check("c", MEMBER, {"device_owner": "compute:network:"})
    assert not policy.check("c", MEMBER, {"device_owner": None})
    assert policy.check("d", MEMBER, {"provider:physical_network": "rack1"})


@pytest.mark.parametrize("check", ["field:a", "field:networks:shared", "field:networks:shared=maybe", "field:a:b=~("])
def test_fields_that_cannot_be_compared_stop_the_load(tmp_path: Path, check: str) -> None:
    with pytest.raises(ConfigError, match="line 1"):
        load(tmp_path, f"a: {check}\n", "network")


def test_an_image_belongs_to_its_owner_under_either_name() -> None:
    policy = Policy.load("image")
    assert policy.check("modify_image", MEMBER, MINE) and policy.check("modify_image", MEMBER, {"owner": "p1"})
    assert not policy.check("modify_image", MEMBER, {"owner": "p2"})


@pytest.mark.parametrize(
    ("service", "rule", "text"),
    [
        (
            "identity",
            "identity:create_user",
            "You are not authorized to perform the requested action: identity:create_user.",
        ),
        ("compute", CREATE, f"Policy doesn't allow {CREATE} to be performed."),
        ("image", "publicize_image", "You are not authorized to complete publicize_image action."),
        ("network", "create_network", "rule:create_network is disallowed by policy"),
        ("baremetal", "baremetal:node:create", "Access was denied to the following resource: baremetal:node:create"),
    ],
)
def test_a_refusal_has_the_words_of_the_service(service: str, rule: str, text: str) -> None:
    with pytest.raises(Forbidden) as caught:
        Policy.load(service).enforce(rule, READER, OTHERS)
    assert caught.value.message == text and caught.value.code == "PolicyNotAuthorized"


def test_attributes_of_the_network_service_have_rules_of_their_own() -> None:
    policy = Policy.load("network")
    policy.enforce("create_network", MEMBER, MINE)
    policy.enforce("create_network", ADMIN, MINE, "create_network:shared", "create_network:router:external")
    with pytest.raises(Forbidden) as caught:
        policy.enforce("create_network", MEMBER, MINE, "create_network:shared", "create_network:router:external")
    assert caught.value.message == (
        "((rule:create_network and rule:create_network:shared) and rule:create_network:router:external) "
        "is disallowed by policy"
    )


def test_the_wrong_scope_is_refused_and_named() -> None:
    with pytest.raises(Forbidden) as caught:
        Policy.load("network").enforce("create_network", SYSTEM, MINE)
    assert caught.value.code == "InvalidScope"
    assert caught.value.message == (
        "rule:create_network requires a scope of ['project'], request was made with system scope."
    )
    with pytest.raises(Forbidden, match="Policy doesn't allow"):
        Policy.load("compute").enforce(CREATE, SYSTEM, MINE)


@pytest.mark.parametrize("service", SERVICES)
def test_defaults_load_whole_and_without_complaint(service: str, caplog: pytest.LogCaptureFixture) -> None:
    policy = Policy.load(service)
    assert all(name in policy for name in defaults(service).rules)
    assert not caplog.records


@pytest.mark.parametrize("service", SERVICES)
def test_the_sample_is_a_policy_file_of_the_defaults(
    service: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = sample(service)
    assert yaml.safe_load(text) is None
    rules = "\n".join(line[1:] for line in text.splitlines() if line.startswith('#"'))
    assert yaml.safe_load(rules) == {name: rule.check for name, rule in defaults(service).rules.items()}
    with caplog.at_level(logging.WARNING):
        load(tmp_path, rules, service)
    assert not caplog.records
