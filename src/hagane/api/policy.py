"""Who may do what: the rules of one service, its secure defaults overlaid with the operator's policy file.

    policies/<service>.json  ─┐
                              ├─ names, checks, scopes ── parse ── compile ──  Policy ── check(rule, creds, target)
    the operator's file      ─┘        (policy_language)   (policy_compile)

The defaults are those of the real services' current releases with enforce_new_defaults and enforce_scope on (see
tests/golden/make_policy.py); oslo.policy is the oracle that the tests compare with. A Policy never changes after it
was loaded; to take up an edited file, load another one. Everything that can be wrong with a file is said at the load.
"""

import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path

import msgspec

from hagane.api.creds import Creds
from hagane.api.policy_compile import Compiler, Dialect, Target, Test
from hagane.api.policy_file import PROJECTS, Override, read_overrides
from hagane.api.policy_language import BadRule, Node, parse, references
from hagane.errors import ConfigError, Forbidden, Invalid

log = logging.getLogger(__name__)

SERVICES = tuple(PROJECTS)

_TEXTS = {
    "identity": "You are not authorized to perform the requested action: {}.",
    "image": "You are not authorized to complete {} action.",
    "compute": "Policy doesn't allow {} to be performed.",
    "placement": "Policy does not allow {} to be performed.",
    "network": "{} is disallowed by policy",
    "volume": "Policy doesn't allow {} to be performed.",
    "baremetal": "Access was denied to the following resource: {}",
}
_ADMIN_IN_CREDS = ("compute", "network", "volume")


class Default(msgspec.Struct, frozen=True):
    """A rule as the service ships it. `replaces` is the name and check the rule had in earlier releases."""

    check: str
    scope: frozenset[str] | None = None
    operations: list[tuple[str, str]] = []
    replaces: dict[str, str] | None = None


class Defaults(msgspec.Struct, frozen=True):
    rules: dict[str, Default]
    fields: dict[str, dict[str, str]] | None = None


@cache
def defaults(service: str) -> Defaults:
    """The rules of the service in the order of its own sample file."""
    data = (Path(__file__).parent / "policies" / f"{service}.json").read_bytes()
    return msgspec.json.decode(data, type=Defaults)


class Policy:
    """The rules of one service, ready to be asked. Made by `Policy.load`."""

    def __init__(self, service: str, rules: dict[str, tuple[frozenset[str] | None, Test]]) -> None:
        self.service = service
        self._rules = rules
        self.changed: frozenset[str] = frozenset()
        """Rules that do not mean what they mean by default: the operator's file changes them, or one they refer to."""
        self._unknown: set[str] = set()

    @classmethod
    def load(cls, service: str, overrides: Path | None = None) -> "Policy":
        """The service's defaults, overlaid with a policy file or a folder of them. Raises ConfigError."""
        return _Loader(service, read_overrides(service, overrides) if overrides else {}).load()

    def __contains__(self, rule: object) -> bool:
        return rule in self._rules

    def check(self, rule: str, creds: Creds, target: Target) -> bool:
        """Whether the rule allows it, its scope included.

        An unknown rule falls to the service's rule `default`, and without one denies. The network service's targets
        carry the owner of a parent under its own key: `network:project_id`, `security_group:project_id`,
        `ext_parent:project_id`; and `network:shared` for the Ports and Subnets of a network.
        """
        found = self._rules.get(rule)
        if found is None:
            found = self._fallback(rule)
        scope, test = found
        return (scope is None or creds.scope in scope) and test(creds, target)

    def enforce(self, rule: str, creds: Creds, target: Target, *attribute_rules: str) -> None:
        """Raises Forbidden in the service's own words unless the rule, and each further rule, allows it.

        The network service asks one rule more per attribute that was set (`create_network:shared`).
        """
        if all(self.check(name, creds, target) for name in (rule, *attribute_rules)):
            return
        scope = self._rules.get(rule, (None, _deny))[0]
        if self.service == "network":
            raise _network_refusal(rule, attribute_rules, scope, creds)
        raise Forbidden(_TEXTS[self.service].format(rule), code="PolicyNotAuthorized")

    def is_admin(self, creds: Creds) -> bool:
        """Whether the service counts the caller as its administrator: its rule `context_is_admin`.

        Nobody is in a service without that rule (identity, placement, baremetal).
        """
        known = creds.admin_by_policy.get(self)
        if known is None:
            # While the rule itself runs, nobody is one yet: old files say `context_is_admin: is_admin:True or …`.
            creds.admin_by_policy[self] = False
            known = "context_is_admin" in self._rules and self.check("context_is_admin", creds, creds.own)
            creds.admin_by_policy[self] = known
        return known

    def _fallback(self, rule: str) -> tuple[frozenset[str] | None, Test]:
        if rule not in self._unknown and len(self._unknown) < 1000:
            self._unknown.add(rule)
            log.warning("%s: the policy rule %s is not defined", self.service, rule)
        return self._rules.get("default", (None, _deny))


def _deny(creds: Creds, target: Target) -> bool:
    return False


def _network_refusal(
    rule: str, attribute_rules: tuple[str, ...], scope: frozenset[str] | None, creds: Creds
) -> Forbidden:
    name = f"rule:{rule}"
    if not attribute_rules and scope is not None and creds.scope not in scope:
        text = f"{name} requires a scope of {sorted(scope)}, request was made with {creds.scope} scope."
        return Forbidden(text, code="InvalidScope")
    for attribute_rule in attribute_rules:
        name = f"({name} and rule:{attribute_rule})"
    return Forbidden(_TEXTS["network"].format(name), code="PolicyNotAuthorized")


def _network_aliases(key: str) -> tuple[str, ...]:
    """Names of an owner in older files: tenant_id, network:tenant_id, network_tenant_id."""
    for ending in ("tenant_id", "project_id"):
        if key.endswith(ending):
            parent = key.removesuffix(ending).rstrip(":_")
            return (f"{parent}:project_id" if parent else "project_id",)
    return ()


def _image_aliases(key: str) -> tuple[str, ...]:
    """An image's project is its owner."""
    return ("owner",) if key == "project_id" else ("project_id",) if key == "owner" else ()


def _dialect(service: str, fields: dict[str, dict[str, str]] | None) -> Dialect:
    if service == "network":
        kinds = {
            "tenant": "project_id",
            "tenant_id": "project_id",
            "user": "user_id",
            "domain": "domain_id",
            "user_domain": "user_domain_id",
            "project_domain": "project_domain_id",
        }
        return Dialect(fields=fields, aliases=_network_aliases, kinds=kinds)
    if service == "image":
        return Dialect(aliases=_image_aliases)
    return Dialect(admin_any_case=service == "compute")


def sample(service: str) -> str:
    """The service's rules with their defaults as a policy file in which every rule is commented out. Raises Invalid."""
    if service not in SERVICES:
        raise Invalid(f"There is no service '{service}'. Known are: {', '.join(SERVICES)}.")
    lines = [f"# The rules of the {service} service with their defaults; remove a # to change a rule."]
    for name, rule in defaults(service).rules.items():
        lines += ["", *(f"# {method}  {path}" for method, path in rule.operations)]
        if rule.scope:
            lines.append(f"# Scopes: {', '.join(sorted(rule.scope))}")
        if rule.replaces:
            lines.append(f"# Formerly: {rule.replaces['name']}")
        lines.append(f"#{msgspec.json.encode(name).decode()}: {msgspec.json.encode(rule.check).decode()}")
    return "\n".join(lines) + "\n"


class _Loader:
    """Everything that is needed to make a Policy and not afterwards."""

    def __init__(self, service: str, overrides: dict[str, Override]) -> None:
        self.service = service
        self.defaults = defaults(service)
        self.overrides = overrides
        self.nodes: dict[str, Node] = {}
        self.tests: dict[str, Test] = {}
        self.by_check: dict[str, Node] = {}
        self.compiling: list[str] = []

    def load(self) -> Policy:
        self._parse_all()
        self._warn()
        policy = Policy(self.service, {})
        compiler = Compiler(_dialect(self.service, self.defaults.fields), self._test, self._admin(policy))
        self.compiler = compiler
        for name in self.nodes:
            known = self.defaults.rules.get(name)
            policy._rules[name] = (known.scope if known else None, self._test(name))
        policy.changed = self._changed()
        return policy

    def _changed(self) -> frozenset[str]:
        """The overridden rules and all that refer to them."""
        changed = {name for name in self.nodes if name in self.overrides or self._is_renamed(name)}
        while more := {name for name in self.nodes.keys() - changed if changed & set(references(self.nodes[name]))}:
            changed |= more
        return frozenset(changed)

    def _is_renamed(self, name: str) -> bool:
        rule = self.defaults.rules.get(name)
        return rule is not None and rule.replaces is not None and rule.replaces["name"] in self.overrides

    def _admin(self, policy: Policy) -> Callable[[Creds], bool | None]:
        if self.service in _ADMIN_IN_CREDS:
            return lambda creds: policy.is_admin(creds) if creds.is_admin is None else creds.is_admin
        return lambda creds: creds.is_admin

    def _parse_all(self) -> None:
        for name, override in self.overrides.items():
            try:
                self.nodes[name] = parse(override.rule)
            except BadRule as error:
                raise self._wrong(name, str(error)) from None
        for name, rule in self.defaults.rules.items():
            if name not in self.nodes:
                self.nodes[name] = self._renamed(name, rule) or self._parse_default(rule.check)

    def _parse_default(self, check: str) -> Node:
        node = self.by_check.get(check)
        if node is None:
            node = self.by_check[check] = parse(check)
        return node

    def _renamed(self, name: str, rule: Default) -> Node | None:
        """An override under the rule's former name holds, unless it only restates the former default."""
        if not self.overrides or rule.replaces is None or rule.replaces["name"] not in self.overrides:
            return None
        former = rule.replaces["name"]
        node = self.nodes[former]
        if node == parse(rule.replaces["check"]) or node == parse(f"rule:{name}"):
            return None
        log.warning("%s: %s is now called %s", self.overrides[former].place, former, name)
        return node

    def _wrong(self, name: str, why: str) -> ConfigError:
        place = self.overrides[name].place if name in self.overrides else f"{self.service} defaults"
        return ConfigError(f"{place}: the policy rule {name!r} is wrong: {why}")

    def _warn(self) -> None:
        if not self.overrides:
            return
        former = {rule.replaces["name"] for rule in self.defaults.rules.values() if rule.replaces}
        used = {reference for node in self.nodes.values() for reference in references(node)}
        for name, override in self.overrides.items():
            for reference in references(self.nodes[name]):
                if reference not in self.nodes:
                    log.warning("%s: %s refers to %s, which is not defined", override.place, name, reference)
            if name not in self.defaults.rules and name not in used and name not in former and name != "default":
                log.warning("%s: there is no policy rule %s; it has no effect", override.place, name)

    def _test(self, name: str) -> Test:
        """The closure of a rule, compiled when it is first asked for, so that what it refers to comes before it."""
        if name in self.tests:
            return self.tests[name]
        if name not in self.nodes:
            return self._test("default") if "default" in self.nodes else _deny
        if name in self.compiling:
            raise self._wrong(name, f"it refers to itself: {' → '.join([*self.compiling, name])}")
        self.compiling.append(name)
        try:
            self.tests[name] = self.compiler.compile(self.nodes[name])
        except BadRule as error:
            raise self._wrong(name, str(error)) from None
        self.compiling.pop()
        return self.tests[name]
