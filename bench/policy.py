"""Policy: the cost of a check against oslo.policy with the same rules, and of loading all services' rules.

PYTHONPATH=src python bench/policy.py
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from oslo_config import cfg
from oslo_policy import policy as oslo

from hagane.api.creds import Creds
from hagane.api.policy import SERVICES, Policy, defaults

MEMBER = {"user_id": "u1", "project_id": "p1", "roles": ["member", "reader"]}
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("compute", "os_compute_api:servers:show", {"project_id": "p1"}),
    ("volume", "volume:get", {"project_id": "p1"}),
    ("image", "get_image", {"project_id": "p2", "visibility": "public"}),
    ("identity", "identity:get_user", {"target.user.id": "u1", "target.user.domain_id": "d1"}),
    ("baremetal", "baremetal:node:get", {"node.owner": "p1", "node.lessee": None}),
]


def micros(call: Callable[[], object], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times * 1e6


def oslo_enforcer(service: str) -> oslo.Enforcer:
    conf = cfg.ConfigOpts()
    conf([], project="none", default_config_files=[], default_config_dirs=[])
    enforcer = oslo.Enforcer(conf, use_conf=False)
    enforcer.set_rules(oslo.Rules.from_dict({name: rule.check for name, rule in defaults(service).rules.items()}))
    return enforcer


def main() -> None:
    logging.disable(logging.WARNING)
    start = time.perf_counter()
    policies = {service: Policy.load(service) for service in SERVICES}
    count = sum(len(defaults(service).rules) for service in SERVICES)
    print(f"load {count} rules of {len(SERVICES)} services: {(time.perf_counter() - start) * 1e3:.1f} ms")
    creds = Creds(**MEMBER)
    for service, rule, target in CASES:
        policy, enforcer = policies[service], oslo_enforcer(service)
        ours = micros(lambda policy=policy, rule=rule, target=target: policy.check(rule, creds, target), 50_000)
        theirs = micros(
            lambda enforcer=enforcer, rule=rule, target=target: enforcer.enforce(rule, target, dict(creds.values)), 300
        )
        print(f"{rule:30} {ours:6.2f} µs  oslo.policy {theirs:7.1f} µs  {theirs / ours:5.0f}x")
    print(f"building the credentials of a token: {micros(lambda: Creds(**MEMBER), 10_000):.1f} µs")


if __name__ == "__main__":
    main()
