"""Two processes on one PostgreSQL: what one changes, the other knows; and the same stories hold on that store."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.api.consumer import Program
from tests.support import Running, running_cloud

V3 = "/identity/v3"
AUTH = f"{V3}/auth/tokens"


@pytest.fixture
def two(postgres_url: str, tmp_path: Path) -> Iterator[tuple[Running, Running]]:
    with running_cloud(tmp_path, database=postgres_url) as one, running_cloud(tmp_path, database=postgres_url) as other:
        yield one, other


def client(cloud: Running) -> httpx.Client:
    return httpx.Client(base_url=cloud.url, headers={"X-Auth-Token": cloud.token()})


def eventually(ask: httpx.Client, path: str, status: int, **headers: str) -> float:
    """Seconds until the answer is what it should be."""
    started = time.monotonic()
    while ask.get(path, headers=headers).status_code != status:
        assert time.monotonic() - started < 5
        time.sleep(0.005)
    return time.monotonic() - started


def test_a_change_in_one_process_ends_tokens_in_the_other(two: tuple[Running, Running]) -> None:
    one, other = two
    with client(one) as here, client(other) as there:
        name = uuid4().hex
        project = here.post(f"{V3}/projects", json={"project": {"name": name}}).json()["project"]["id"]
        user = here.post(f"{V3}/users", json={"user": {"name": name, "password": "pw"}}).json()["user"]["id"]
        role = here.get(f"{V3}/roles?name=reader").json()["roles"][0]["id"]
        grant = f"{V3}/projects/{project}/users/{user}/roles/{role}"
        here.put(grant)

        def login() -> str:
            identity = {"methods": ["password"], "password": {"user": {"id": user, "password": "pw"}}}
            body = {"auth": {"identity": identity, "scope": {"project": {"id": project}}}}
            return there.post(AUTH, json=body).headers["x-subject-token"]

        for change in (
            lambda token: here.delete(AUTH, headers={"X-Subject-Token": token}),
            lambda token: here.patch(f"{V3}/users/{user}", json={"user": {"password": "new"}}),
            lambda token: here.delete(grant),
            lambda token: here.delete(f"{V3}/users/{user}"),
        ):
            token = login()
            assert there.get(AUTH, headers={"X-Subject-Token": token}).status_code == 200
            assert here.get(AUTH, headers={"X-Subject-Token": token}).status_code == 200
            assert change(token).status_code in (200, 204)
            assert here.get(AUTH, headers={"X-Subject-Token": token}).status_code == 404
            assert eventually(there, AUTH, 404, **{"X-Subject-Token": token}) < 2
            here.put(grant)
            here.patch(f"{V3}/users/{user}", json={"user": {"password": "pw"}})


def test_the_catalog_follows_in_the_other_process(two: tuple[Running, Running]) -> None:
    one, other = two
    with client(one) as here, client(other) as there:
        assert "extra-thing" not in there.get(f"{V3}/auth/catalog").text
        here.post(f"{V3}/services", json={"service": {"type": "extra-thing"}})
        started = time.monotonic()
        while "extra-thing" not in there.get(f"{V3}/auth/catalog").text:
            assert time.monotonic() - started < 5
            time.sleep(0.005)
        assert interfaces(there) == {"public", "internal", "admin"}
        group = {"endpoint_group": {"name": "inside", "filters": {"interface": "internal"}}}
        key = here.post(f"{V3}/OS-EP-FILTER/endpoint_groups", json=group).json()["endpoint_group"]["id"]
        project = here.get(f"{V3}/projects?name=admin").json()["projects"][0]["id"]
        pair = f"{V3}/OS-EP-FILTER/endpoint_groups/{key}/projects/{project}"
        for method, seen in (("PUT", {"internal"}), ("DELETE", {"public", "internal", "admin"})):
            assert here.request(method, pair).status_code == 204
            started = time.monotonic()
            while interfaces(there) != seen:
                assert time.monotonic() - started < 5
                time.sleep(0.005)


def interfaces(http: httpx.Client) -> set[str]:
    catalog = http.get(f"{V3}/auth/catalog").json()["catalog"]
    return {endpoint["interface"] for service in catalog for endpoint in service["endpoints"]}


def test_a_program_acts_in_either_process(two: tuple[Running, Running]) -> None:
    with client(two[0]) as here, client(two[1]) as there, httpx.Client(base_url=two[0].url) as anyone:
        project = here.get(f"{V3}/projects?name=admin").json()["projects"][0]["id"]
        program = Program.made(here, anyone)
        token = program.granted(project, [{"name": "reader"}])
        text = program.login(token).headers["x-subject-token"]
        assert there.get(AUTH, headers={"X-Subject-Token": text}).status_code == 200
        header = program.sign(f"{two[0].url}{AUTH}", token)
        body = {"auth": {"identity": {"methods": ["oauth1"], "oauth1": {}}}}
        codes = [http.post(f"{two[0].url}{AUTH}", json=body, headers=header).status_code for http in (anyone, anyone)]
        assert codes == [201, 401], "once, on this store too"
        there.delete(f"{V3}/OS-OAUTH1/consumers/{program.id}")
        assert eventually(here, AUTH, 404, **{"X-Subject-Token": text}) < 2


def test_trees_lists_and_cascades_on_postgresql(two: tuple[Running, Running]) -> None:
    with client(two[0]) as http:
        domain = http.post(f"{V3}/domains", json={"domain": {"name": uuid4().hex}}).json()["domain"]["id"]
        parent = domain
        for name in ("a", "b", "c"):
            body = {"name": name, "domain_id": domain, "parent_id": parent, "tags": [name, "all"]}
            parent = http.post(f"{V3}/projects", json={"project": body}).json()["project"]["id"]
        query = f"{V3}/projects?domain_id={domain}&"
        for text, count in (("tags=all", 3), ("tags=a,all", 1), ("not-tags-any=a", 2), ("name__icontains=A", 1),
                            ("name__startswith=b", 1), ("name__endswith=c", 1), ("enabled=false", 0), ("limit=2", 2)):  # fmt: skip
            assert len(http.get(query + text).json()["projects"]) == count, text
        user = http.post(f"{V3}/users", json={"user": {"name": "u", "domain_id": domain}}).json()["user"]["id"]
        role = http.get(f"{V3}/roles?name=member").json()["roles"][0]["id"]
        assert http.put(
            f"{V3}/OS-INHERIT/domains/{domain}/users/{user}/roles/{role}/inherited_to_projects"
        ).status_code == 204  # fmt: skip
        assert len(http.get(f"{V3}/users/{user}/projects").json()["projects"]) == 3
        found = http.get(f"{V3}/role_assignments?user.id={user}&effective&include_names").json()["role_assignments"]
        assert len(found) == 6
        http.patch(f"{V3}/domains/{domain}", json={"domain": {"enabled": False}})
        assert http.delete(f"{V3}/domains/{domain}").status_code == 204
        assert http.get(query).json()["projects"] == []


def test_a_grant_that_many_give_at_once_is_given_once(two: tuple[Running, Running]) -> None:
    with client(two[0]) as here, client(two[1]) as there, ThreadPoolExecutor(16) as pool:
        user = here.post(f"{V3}/users", json={"user": {"name": uuid4().hex}}).json()["user"]["id"]
        group = here.post(f"{V3}/groups", json={"group": {"name": uuid4().hex}}).json()["group"]["id"]
        role = here.get(f"{V3}/roles?name=member").json()["roles"][0]["id"]
        for path in (f"{V3}/domains/default/users/{user}/roles/{role}", f"{V3}/groups/{group}/users/{user}"):
            codes = list(pool.map(lambda n, path=path: (here, there)[n % 2].put(path).status_code, range(32)))
            assert codes == [204] * 32
        names = [uuid4().hex] * 32
        made = pool.map(lambda name: here.post(f"{V3}/projects", json={"project": {"name": name}}).status_code, names)
        assert sorted(made) == [201] + [409] * 31
