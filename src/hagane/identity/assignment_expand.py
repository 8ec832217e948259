"""From assignments as they were given to what they mean (`effective`): pure functions over rows.

    group ─▶ each member       inherited ─▶ each project below       role ─▶ each role it implies

Each step copies an entry and notes in `indirect` where it came from, so that the answer can link to it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal


@dataclass(frozen=True)
class Entry:
    """One assignment. `via_*` name what an expanded one came from."""

    actor_kind: Literal["user", "group"]
    actor_id: str
    kind: str  # project, domain or system
    target_id: str
    role_id: str
    inherited: bool = False
    via_group: str | None = None
    via_kind: str | None = None  # of the place it was inherited from
    via_target: str | None = None
    via_role: str | None = None


@dataclass
class World:
    """What expanding needs to know."""

    members: Mapping[str, Sequence[str]] = field(default_factory=dict)  # group -> users
    below: Mapping[str, Sequence[str]] = field(
        default_factory=dict
    )  # project or domain -> projects in it, at any depth
    implied: Mapping[str, Sequence[str]] = field(default_factory=dict)  # role -> roles it implies directly
    domain_roles: frozenset[str] = frozenset()


def expand(entries: Iterable[Entry], world: World) -> list[Entry]:
    """Entries of users on places, without groups, inheritance and domain roles."""
    found: list[Entry] = []
    for entry in entries:
        for of_user in _members(entry, world):
            for placed in _places(of_user, world):
                found += _implied(placed, world)
    return [entry for entry in found if entry.role_id not in world.domain_roles]


def _members(entry: Entry, world: World) -> list[Entry]:
    if entry.actor_kind == "user":
        return [entry]
    users = world.members.get(entry.actor_id, ())
    return [replace(entry, actor_kind="user", actor_id=user, via_group=entry.actor_id) for user in users]


def _places(entry: Entry, world: World) -> list[Entry]:
    if not entry.inherited:
        return [entry]
    via = {"inherited": False, "via_kind": entry.kind, "via_target": entry.target_id}
    projects = world.below.get(entry.target_id, ())
    return [replace(entry, kind="project", target_id=project, **via) for project in projects]  # type: ignore[arg-type]


def _implied(entry: Entry, world: World) -> list[Entry]:
    """The entry and, once each, those of all roles that follow from its role."""
    found, seen = [entry], {entry.role_id}
    for current in found:
        for role in world.implied.get(current.role_id, ()):
            if role not in seen:
                seen.add(role)
                found.append(replace(entry, role_id=role, via_role=current.role_id))
    return found
