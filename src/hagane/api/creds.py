"""What a token says about its bearer, in the form policy rules ask for.

Built once per token and kept beside it, so that a check costs look-ups and nothing else: values are turned into the
text that rules compare (None is the text "None", as in oslo.policy), role names are lowered, the scope is named. The
names are those of oslo.context's policy values.
"""

from collections.abc import Iterable, Mapping
from typing import Any


class Creds:
    """Do not change one after it was built: it is shared by all requests of its token.

    `roles` must hold implied roles too. `is_admin` is left to the service's `context_is_admin` rule unless given.
    `more` takes further values by name: `user_name`, `project_name`, `service_roles`, `is_public_api`, `token` ...
    """

    __slots__ = ("admin_by_policy", "is_admin", "own", "roles", "scope", "texts", "values")

    def __init__(
        self,
        *,
        user_id: str | None = None,
        user_domain_id: str | None = None,
        project_id: str | None = None,
        project_domain_id: str | None = None,
        domain_id: str | None = None,
        system_scope: str | None = None,
        roles: Iterable[str] = (),
        is_admin: bool | None = None,
        is_admin_project: bool = True,
        **more: Any,
    ) -> None:
        names = list(roles)
        self.values: dict[str, Any] = {
            "user_id": user_id,
            "user_domain_id": user_domain_id,
            "system_scope": system_scope,
            "domain_id": domain_id,
            "project_id": project_id,
            "project_domain_id": project_domain_id,
            "roles": names,
            "is_admin_project": is_admin_project,
            "service_user_id": None,
            "service_user_domain_id": None,
            "service_project_id": None,
            "service_project_domain_id": None,
            "service_roles": [],
            **more,
        }
        self.is_admin = is_admin
        self.roles = frozenset(name.lower() for name in names)
        self.scope = "system" if system_scope else "domain" if domain_id else "project"
        self.own = {"project_id": project_id, "user_id": user_id}
        self.admin_by_policy: dict[object, bool] = {}
        self.values.setdefault("token", self._token())
        plain = {name: value for name, value in self.values.items() if not isinstance(value, (dict, list))}
        self.texts = {name: str(value) for name, value in plain.items()}

    def _token(self) -> dict[str, Any]:
        """The part of the token's body that identity rules read, such as `token.project.domain.id`."""
        values = self.values
        token: dict[str, Any] = {"user": {"id": values["user_id"], "domain": {"id": values["user_domain_id"]}}}
        if values["domain_id"]:
            token["domain"] = {"id": values["domain_id"]}
        if values["project_id"]:
            token["project"] = {"id": values["project_id"], "domain": {"id": values["project_domain_id"]}}
        return token

    def holds(self, path: tuple[str, ...], text: str) -> bool:
        """Whether the value at `path` reads as `text`; of a list, whether any of its elements does."""
        return _holds(self.values, path, text)


def _holds(value: Any, path: tuple[str, ...], text: str) -> bool:
    if not path:
        return str(value) == text
    if not isinstance(value, Mapping) or path[0] not in value:
        return False
    found = value[path[0]]
    if isinstance(found, list):
        return any(_holds(element, path[1:], text) for element in found)
    return _holds(found, path[1:], text)
