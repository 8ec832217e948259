"""Reading an operator's policy file: YAML (or JSON, which is YAML), one rule per name, with the line of each.

`overrides` names either one service's file, or a folder with one file per service, called by our name of the service
or by that of its usual implementation (`compute.yaml`, `nova.yaml`, `nova-policy.yaml`, `nova/policy.yaml`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hagane.errors import ConfigError

PROJECTS = {
    "identity": "keystone",
    "image": "glance",
    "compute": "nova",
    "placement": "placement",
    "network": "neutron",
    "volume": "cinder",
    "baremetal": "ironic",
}


@dataclass(frozen=True)
class Override:
    rule: object
    file: Path
    line: int

    @property
    def place(self) -> str:
        return f"{self.file}, line {self.line}"


def read_overrides(service: str, overrides: Path) -> dict[str, Override]:
    """The rules of the service's file; none if a folder has no file for it. Raises ConfigError."""
    if not overrides.is_dir():
        return _read(overrides)
    found = [path for path in _candidates(service, overrides) if path.is_file()]
    if len(found) > 1:
        raise ConfigError(f"{service} has two policy files, {found[0]} and {found[1]}: keep one")
    return _read(found[0]) if found else {}


def _candidates(service: str, folder: Path) -> list[Path]:
    names = dict.fromkeys((service, PROJECTS[service]))
    endings = (".yaml", ".yml", ".json", "-policy.yaml", "/policy.yaml", "/policy.json")
    return [folder / f"{name}{ending}" for name in names for ending in endings]


def _read(path: Path) -> dict[str, Override]:
    import yaml  # Here, because most clouds start without a policy file and this takes as long as all the rest.

    loader_type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = path.read_text(encoding="utf-8")
        _limit_depth(yaml.parse(text, Loader=loader_type))
        loader = loader_type(text)
        node = loader.get_single_node()
        if node is None:
            return {}
        content = loader.construct_document(node)
    except OSError as error:
        raise ConfigError(f"the policy file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"the policy file {path} is not UTF-8: {error.reason} at byte {error.start}") from error
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"the policy file {path}{line} is not YAML: {reason}") from error
    if not content:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"the policy file {path}, line 1: it must map names of rules to rules")
    lines = {key.value: key.start_mark.line + 1 for key, _ in node.value if isinstance(key.value, str)}
    return _overrides(content, path, lines)


def _limit_depth(events: Iterable[object]) -> None:
    """Deep nesting ends the process inside the C parser when it composes; its events come without recursion."""
    depth = 0
    for event in events:
        name = type(event).__name__
        depth += name in ("MappingStartEvent", "SequenceStartEvent")
        depth -= name in ("MappingEndEvent", "SequenceEndEvent")
        if depth > 10:
            raise ValueError("it is nested too deeply")


def _overrides(content: dict[object, object], path: Path, lines: dict[str, int]) -> dict[str, Override]:
    found = {}
    for name, rule in content.items():
        override = Override(rule, path, lines.get(str(name), 1))
        if not isinstance(name, str):
            raise ConfigError(f"{override.place}: the name of a rule is a text, not {name!r}")
        found[name] = override
    return found
