"""Ask the real services for their policy defaults and for oslo.policy's verdicts on them.

Run it in an environment that has the services installed (pip install keystone glance nova openstack-placement
neutron cinder ironic), once per release that we want to follow:

    python tests/golden/make_policy.py defaults src/hagane/api/policies
    python tests/golden/make_policy.py verdicts tests/golden

`defaults` writes each service's rules: check string, scope types, operations, and the name that a rule had before.
`verdicts` writes policy-<service>.json.gz: the personas, the targets, and per rule one bit for each (persona, target).
Services register their own kinds of check in one global table, hence one process per service.
"""

import gzip
import importlib
import json
import pkgutil
import subprocess
import sys
import warnings
from pathlib import Path

RULES = {
    "identity": "keystone.common.policies:list_rules",
    "image": "glance.policies:list_rules",
    "compute": "nova.policies:list_rules",
    "placement": "placement.policies:list_rules",
    "network": "neutron.conf.policies:list_rules",
    "volume": "cinder.policies:list_rules",
    "baremetal": "ironic.common.policy:list_policies",
}
CHECKS = {"compute": "nova.policy", "network": "neutron.policy"}  # modules that register kinds of check of their own
ADMIN_IN_CREDS = {"compute", "network", "volume"}
CONVERTERS = {
    "convert_to_boolean": "bool",
    "convert_to_boolean_if_not_none": "bool",
    "convert_to_int": "int",
    "convert_to_int_if_not_none": "int",
}


def load(service):
    module, function = RULES[service].split(":")
    return list(getattr(importlib.import_module(module), function)())


def operations(rule):
    seen = []
    for operation in getattr(rule, "operations", None) or []:
        methods = operation["method"]
        for method in [methods] if isinstance(methods, str) else methods:
            entry = [method.upper(), operation["path"].strip()]
            if entry not in seen:
                seen.append(entry)
    return seen


def describe(rule):
    entry = {"check": " ".join(rule.check_str.split())}
    if rule.scope_types:
        entry["scope"] = rule.scope_types
    if operations(rule):
        entry["operations"] = operations(rule)
    if rule.deprecated_rule and rule.deprecated_rule.name != rule.name:
        entry["replaces"] = {"name": rule.deprecated_rule.name, "check": rule.deprecated_rule.check_str}
    return entry


def network_fields():
    """Which attributes the network service converts before a `field:` check compares them."""
    fields = {}
    for package in ("neutron_lib.api.definitions", "neutron.extensions"):
        for found in pkgutil.iter_modules(importlib.import_module(package).__path__):
            module = importlib.import_module(f"{package}.{found.name}")
            for name in ("RESOURCE_ATTRIBUTE_MAP", "EXTENDED_ATTRIBUTES_2_0"):
                for resource, attributes in (getattr(module, name, None) or {}).items():
                    for attribute, facts in attributes.items() if isinstance(attributes, dict) else ():
                        converter = getattr(isinstance(facts, dict) and facts.get("convert_to"), "__name__", "")
                        if converter in CONVERTERS:
                            fields.setdefault(resource, {})[attribute] = CONVERTERS[converter]
    return {resource: dict(sorted(fields[resource].items())) for resource in sorted(fields)}


def write_defaults(service, folder):
    lines = [f"{json.dumps(rule.name)}: {json.dumps(describe(rule))}" for rule in load(service)]
    head = f'"fields": {json.dumps(network_fields())},\n' if service == "network" else ""
    text = "{\n" + head + '"rules": {\n' + ",\n".join(lines) + "\n}\n}\n"
    (folder / f"{service}.json").write_text(text)


def personas():
    member = ["member", "reader"]
    manager = ["manager", *member]
    admin = ["admin", *manager]
    project = {"project_id": "p1", "project_domain_id": "d1", "project_name": "one"}
    other = {"project_id": "p2", "project_domain_id": "d2", "project_name": "two"}
    service = {"project_id": "ps", "project_domain_id": "default", "project_name": "service"}
    people = {
        "project-admin": {**project, "roles": admin},
        "project-manager": {**project, "roles": manager},
        "project-member": {**project, "roles": member},
        "project-reader": {**project, "roles": ["Reader"]},
        "project-nothing": {**project, "roles": []},
        "other-admin": {**other, "roles": admin},
        "other-manager": {**other, "roles": manager},
        "other-member": {**other, "roles": member},
        "other-reader": {**other, "roles": ["reader"]},
        "service": {**service, "roles": ["service"]},
        "service-and-admin": {**service, "roles": ["service", *admin]},
        "member-through-service": {**project, "roles": member, "service_roles": ["service"]},
        "advsvc": {**project, "roles": ["advsvc", "data_plane_integrator"]},
        "domain-admin": {"domain_id": "d1", "roles": admin},
        "domain-manager": {"domain_id": "d1", "roles": manager},
        "domain-member": {"domain_id": "d1", "roles": member},
        "domain-reader": {"domain_id": "d1", "roles": ["reader"]},
        "other-domain-admin": {"domain_id": "d2", "roles": admin},
        "other-domain-manager": {"domain_id": "d2", "roles": manager},
        "system-admin": {"system_scope": "all", "roles": admin},
        "system-member": {"system_scope": "all", "roles": member},
        "system-reader": {"system_scope": "all", "roles": ["reader"]},
        "system-service": {"system_scope": "all", "roles": ["service"]},
        "unscoped": {"roles": []},
    }
    for values in people.values():
        values.update(user_id="u1", user_domain_id="d1")
    people["other-user"] = {**project, "roles": member, "user_id": "u2", "user_domain_id": "d2"}
    return people


NETWORK = {"shared": False, "router:external": False, "device_owner": "compute:nova", "target_tenant": "p1"}
TARGETS = {
    "identity": [
        {
            "user_id": user,
            "project_id": project,
            "domain_id": domain,
            "target.domain_id": domain,
            "target.domain.id": domain,
            "target.user.id": user,
            "target.user.domain_id": domain,
            "target.group.domain_id": domain,
            "target.project.id": project,
            "target.project.domain_id": domain,
            "target.role.name": role,
            "target.role.domain_id": role_domain,
            "target.token.user_id": user,
            "target.credential.user_id": user,
            "target.trust.trustor_user_id": user,
            "target.trust.trustee_user_id": "u2",
            "target.limit.project_id": project,
            "target.limit.project.domain_id": domain,
            "target.limit.domain.id": domain,
        }
        for user, project, domain, role, role_domain in [
            ("u1", "p1", "d1", "member", None),
            ("u2", "p2", "d2", "admin", "d2"),
            ("u2", "p1", "d1", "manager", "d1"),
            ("u2", None, None, "reader", None),
        ]
    ]
    + [{"target.user.domain_id": "d1", "target.domain.id": "d1", "target.role.name": "member"}],
    "image": [
        {"project_id": project, "owner": project, "member_id": member, "visibility": visibility}
        for project, member in [("p1", None), ("p2", "p1"), ("p2", None), (None, None)]
        for visibility in ("public", "private", "shared", "community")
    ],
    "compute": [{"project_id": p, "user_id": u} for p, u in [("p1", "u1"), ("p1", "u2"), ("p2", "u2"), (None, None)]],
    "placement": [{"project_id": "p1"}, {"project_id": "p2"}],
    "network": [
        {
            **NETWORK,
            "project_id": project,
            "tenant_id": project,
            "network:project_id": network,
            "network:tenant_id": network,
            "ext_parent:project_id": parent,
            "ext_parent:tenant_id": parent,
            "security_group:project_id": group,
            "security_group:tenant_id": group,
            **more,
        }
        for project, network, parent, group in [
            ("p1", "p1", "p1", "p1"),
            ("p2", "p2", "p2", "p2"),
            ("p1", "p2", "p2", "p2"),
            ("p2", "p1", "p1", "p1"),
        ]
        for more in [
            {},
            {"shared": True, "belongs_to_default_sg": True},
            {"router:external": True},
            {"device_owner": "network:router_interface"},
            {"device_owner": "baremetal:none", "target_tenant": "*", "target_project": "*"},
        ]
    ],
    "volume": [{"project_id": p, "user_id": "u1", "domain_id": d} for p, d in [("p1", "d1"), ("p2", "d2")]] + [{}],
    "baremetal": [
        {
            "node.owner": owner,
            "node.lessee": lessee,
            "allocation.owner": owner,
            "runbook.owner": owner,
            "config.service_project_name": name,
        }
        for owner, lessee, name in [
            ("p1", None, "service"),
            ("p2", "p1", "service"),
            ("p2", "p2", "x"),
            (None, None, "service"),
        ]
    ]
    + [{}],
}


def oslo_creds(service, values):
    """What the service's own request context would hand to oslo.policy."""
    names = ["user_id", "user_domain_id", "system_scope", "domain_id", "project_id", "project_domain_id"]
    creds = {**dict.fromkeys(names), "is_admin_project": True, "service_roles": [], **values}
    if service in ADMIN_IN_CREDS:
        creds["is_admin"] = "admin" in values["roles"]
    if service == "identity":
        token = {"user": {"id": creds["user_id"], "domain": {"id": creds["user_domain_id"]}}}
        if creds["domain_id"]:
            token["domain"] = {"id": creds["domain_id"]}
        if creds["project_id"]:
            token["project"] = {"id": creds["project_id"], "domain": {"id": creds["project_domain_id"]}}
        creds["token"] = token
    return creds


def write_verdicts(service, folder):
    from oslo_config import cfg
    from oslo_policy import policy

    if service in CHECKS:
        importlib.import_module(CHECKS[service])
    if service == "network":
        register_network_attributes()
    conf = cfg.CONF if service == "network" else cfg.ConfigOpts()
    conf([], project="none", default_config_files=[], default_config_dirs=[])
    enforcer = policy.Enforcer(conf, use_conf=True)
    conf.set_override("enforce_new_defaults", True, "oslo_policy")
    conf.set_override("enforce_scope", True, "oslo_policy") if "enforce_scope" in conf.oslo_policy else None
    enforcer.suppress_default_change_warnings = True
    rules = load(service)
    enforcer.register_defaults(rules)
    people, targets = personas(), TARGETS[service]
    verdicts = {}
    for rule in rules:
        bits = ""
        for values in people.values():
            for target in targets:
                bits += "1" if verdict(enforcer, rule.name, target, oslo_creds(service, values)) else "0"
        verdicts[rule.name] = f"{int(bits, 2):0{(len(bits) + 3) // 4}x}"
    content = {"personas": people, "targets": targets, "verdicts": verdicts}
    packed = gzip.compress(json.dumps(content, indent=0).encode(), mtime=0)
    (folder / f"policy-{service}.json.gz").write_bytes(packed)


def register_network_attributes():
    from neutron_lib.api import attributes

    for resource, fields in network_fields().items():
        known = attributes.RESOURCES.setdefault(resource, {})
        for field, kind in fields.items():
            name = "convert_to_boolean" if kind == "bool" else "convert_to_int"
            converter = getattr(importlib.import_module("neutron_lib.api.converters"), name)
            known.setdefault(field, {}).setdefault("convert_to", converter)


def verdict(enforcer, name, target, creds):
    from neutron_lib.exceptions import PolicyCheckError

    try:
        return bool(enforcer.enforce(name, target, creds))
    except PolicyCheckError:  # the owner of a parent that the target does not tell: ours denies
        return False


def main():
    warnings.simplefilter("ignore")
    what, folder, *services = sys.argv[1:]
    if not services:
        for service in RULES:
            subprocess.run([sys.executable, __file__, what, folder, service], check=True)
        return
    write = write_defaults if what == "defaults" else write_verdicts
    write(services[0], Path(folder))


if __name__ == "__main__":
    main()
