"""People of other projects: a project, a user in it, a role, and HTTP as that user."""

from dataclasses import dataclass
from uuid import uuid4

import httpx

from tests.support import Running

PASSWORD = "battery-staple"


@dataclass
class Person:
    """One user in one project. `http` carries the token; `auth` is for openstacksdk (`cloud.connect(**auth)`)."""

    user_id: str
    project_id: str
    token: str
    http: httpx.Client

    @property
    def auth(self) -> dict[str, str | None]:
        names = {"username": None, "user_domain_name": None, "project_name": None, "project_domain_name": None}
        return names | {"user_id": self.user_id, "project_id": self.project_id, "password": PASSWORD}


def person(cloud: Running, role: str = "member", project_id: str = "") -> Person:
    """A new user with `role` in a project (a new one unless told)."""
    name = uuid4().hex[:10]
    with httpx.Client(base_url=f"{cloud.url}/identity/v3", headers={"X-Auth-Token": cloud.token()}) as admin:
        if not project_id:
            answer = admin.post("/projects", json={"project": {"name": f"p-{name}", "domain_id": "default"}})
            project_id = answer.raise_for_status().json()["project"]["id"]
        user = {"name": f"u-{name}", "domain_id": "default", "password": PASSWORD}
        user_id = admin.post("/users", json={"user": user}).raise_for_status().json()["user"]["id"]
        roles = {entry["name"]: entry["id"] for entry in admin.get("/roles").raise_for_status().json()["roles"]}
        admin.put(f"/projects/{project_id}/users/{user_id}/roles/{roles[role]}").raise_for_status()
    token = login(cloud, user_id, project_id)
    return Person(user_id, project_id, token, httpx.Client(base_url=cloud.url, headers={"X-Auth-Token": token}))


def login(cloud: Running, user_id: str, project_id: str) -> str:
    method = {"methods": ["password"], "password": {"user": {"id": user_id, "password": PASSWORD}}}
    auth = {"identity": method, "scope": {"project": {"id": project_id}}}
    answer = httpx.post(f"{cloud.url}/identity/v3/auth/tokens", json={"auth": auth}).raise_for_status()
    return answer.headers["x-subject-token"]
