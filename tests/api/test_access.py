"""Nobody gets at another project's things: asked of every route there is, so that none is forgotten.

The victim's things are all named with one secret word. A stranger, member of a project of their own, asks every route
for exactly those things, and may learn neither the word nor an id, nor change anything.
"""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from hagane.api.service import Route, Service
from tests.api.people import Person, person
from tests.api.world import LATEST, World, secrets
from tests.support import Running

OPEN = {
    "/identity", "/identity/", "/identity/v3", "/identity/v3/", "/identity/v3/auth/tokens",
    "/identity/v3/users/{id}/password", "/identity/v3/OS-OAUTH1/request_token", "/identity/v3/OS-OAUTH1/access_token",
    "/image", "/image/",
    "/image/versions", "/network", "/network/", "/network/v2.0", "/network/v2.0/", "/compute", "/compute/",
    "/compute/v2", "/compute/v2/", "/compute/v2.1", "/compute/v2.1/", "/placement", "/placement/",
    "/baremetal", "/baremetal/", "/baremetal/v1", "/baremetal/v1/", "/baremetal/v1/lookup",
    "/baremetal/v1/heartbeat", "/baremetal/v1/heartbeat/{id}", "/baremetal/v1/continue_inspection",
    "/volume", "/volume/", "/volume/v3", "/volume/v3/",
}  # fmt: skip
"""Paths that need no token in the real services either."""

EVERYBODYS = {"domain:show", "extension:show", "region:show", "quota_class:show", "quota_set:defaults",
              "volume_extension:show", "registered_limit:show", "default_security_group_rule:show"}  # fmt: skip
"""Routes of single things that belong to no project: readable, with nothing of the victim in them."""
EVERYBODYS_PATHS = {"/network/v2.0/flavors/{id}"}
"""The same, where another service has a route of that name."""

KEYED = {"os_volume_transfer:accept", "volume_transfers:accept"}
"""Routes for whoever knows a key; those who do not are told that it is wrong."""

BY_FILTER = {"allocation:of_node"}
"""Routes to which the Node of the path is a filter: one that is not there for the caller is bad input."""

OF_ONESELF = {"keypair:create", "application_credential:create"}
"""What a reader may make, since it is their own and not the project's."""


@pytest.fixture(scope="module")
def world(cloud: Running) -> Iterator[World]:
    made = World(cloud)
    yield made
    made.close()


@pytest.fixture(scope="module")
def stranger(cloud: Running) -> Iterator[Person]:
    who = person(cloud)
    yield who
    who.http.close()


def routes(cloud: Running) -> list[tuple[Service, Route]]:
    services = [service for service in cloud.hagane.app.services if service.prefix]
    return [(service, route) for service in services for route in service.routes]


def version(service: Service, route: Route) -> dict[str, str]:
    """The newest microversion in which the route exists."""
    if service.versions is None:
        return {}
    return {"OpenStack-API-Version": f"{service.versions.series} {route.until or 'latest'}"}


def ask(world: World, http: httpx.Client, service: Service, route: Route) -> list[httpx.Response]:
    """The route, asked for the victim's things, with each body that it takes."""
    headers, path = version(service, route), world.path(route)
    if route.method in ("GET", "HEAD", "DELETE"):
        return [http.request(route.method, path, headers=headers)]
    if route.streams:
        octets = headers | {"Content-Type": "application/octet-stream"}
        return [http.request(route.method, path, headers=octets, content=b"x")]
    headers["Content-Type"] = route.media[0]
    bodies = [json.dumps(body) for body in world.bodies(route)]
    return [http.request(route.method, path, headers=headers, content=body) for body in bodies]


def body_of(answer: httpx.Response) -> str:
    """What was sent."""
    return answer.request.content.decode("latin-1")


def test_without_a_token_there_is_nothing(cloud: Running, world: World) -> None:
    with httpx.Client(base_url=cloud.url) as nobody:
        for service, route in routes(cloud):
            if route.path in OPEN or route.path.endswith("/openapi.json"):
                continue
            assert route.auth, f"{route.method} {route.path} asks for no token"
            for answer in ask(world, nobody, service, route):
                assert answer.status_code == 401, (route.method, route.path, answer.text)
                assert "www-authenticate" in answer.headers
                assert not secrets(world, answer, world.path(route))


def test_a_bad_token_is_none(cloud: Running, world: World) -> None:
    for token in ("", "x", "gAAAAA", "\xff", "x" * 5000, cloud.token()[:-3] + "AAA"):
        with httpx.Client(base_url=cloud.url, headers={"X-Auth-Token": token.encode("latin-1")}) as http:
            assert http.get("/compute/v2.1/servers").status_code == 401


def test_a_stranger_gets_no_single_thing(cloud: Running, world: World, stranger: Person) -> None:
    before, wrong = world.snapshot(), []
    for service, route in routes(cloud):
        if "{" not in route.path or not route.auth:
            continue
        for answer in ask(world, stranger.http, service, route):
            asked = body_of(answer)
            given = secrets(world, answer, world.path(route) + asked)
            elsewhere = answer.status_code == 400 and "Malformed request url" in answer.text  # another's project
            fine = (
                elsewhere
                or (route.name in KEYED and "invalid auth key" in answer.text)
                or answer.status_code in (403, 404)
                or (route.name in BY_FILTER and "could not be found" in answer.text)
                or ((route.name in EVERYBODYS or route.path in EVERYBODYS_PATHS) and answer.status_code == 200)
            )
            if given or not fine:
                wrong.append(
                    (route.name, route.method, route.path, asked, answer.status_code, given, answer.text[:200])
                )
    assert not wrong, "\n".join(map(str, wrong))
    assert world.snapshot() == before


def test_lists_hold_nothing_of_others(cloud: Running, world: World, stranger: Person) -> None:
    wrong = []
    for service, route in routes(cloud):
        if "{" in route.path or route.method != "GET" or not route.auth:
            continue
        for query in ("", "?all_tenants=1", f"?project_id={world.victim.project_id}", f"?owner={world.victim.project_id}",
                      "?visibility=all&member_status=all", f"?user_id={world.victim.user_id}"):  # fmt: skip
            answer = stranger.http.get(route.path + query, headers=version(service, route))
            given = secrets(world, answer, query)
            if given or answer.status_code not in (200, 400, 403, 404):
                wrong.append((route.name, route.path + query, answer.status_code, given, answer.text[:200]))
    assert not wrong, "\n".join(map(str, wrong))


def test_the_victims_things_are_no_ingredients(world: World, stranger: Person) -> None:
    """What a stranger makes may not use the victim's network, port, group, image, key, or flavor."""
    ids, before, wrong = world.ids, world.snapshot(), []
    own = stranger.http.post("/network/v2.0/networks", json={"network": {"name": "mine"}}).json()["network"]["id"]
    subnet = {"network_id": own, "ip_version": 4, "cidr": "10.78.0.0/24"}
    mine = stranger.http.post("/network/v2.0/subnets", json={"subnet": subnet}).json()["subnet"]["id"]
    router = stranger.http.post("/network/v2.0/routers", json={"router": {}}).json()["router"]["id"]
    port = stranger.http.post("/network/v2.0/ports", json={"port": {"network_id": own}}).json()["port"]["id"]
    net, outside = "/network/v2.0", world.snapshot()["network/v2.0/routers"]["routers"][0]
    floating = {"floating_network_id": outside["external_gateway_info"]["network_id"]}
    server = {"name": "x", "flavorRef": ids["flavors"], "imageRef": ids["images"], "networks": "none"}
    attempts: list[tuple[str, str, Any]] = [
        ("POST", f"{net}/ports", {"port": {"network_id": ids["networks"]}}),
        ("POST", f"{net}/ports", {"port": {"network_id": own, "fixed_ips": [{"subnet_id": ids["subnets"]}]}}),
        ("POST", f"{net}/ports", {"port": {"network_id": own, "security_groups": [ids["security-groups"]]}}),
        ("PUT", f"{net}/ports/{port}", {"port": {"security_groups": [ids["security-groups"]]}}),
        ("PUT", f"{net}/ports/{port}", {"port": {"fixed_ips": [{"subnet_id": ids["subnets"]}]}}),
        ("POST", f"{net}/ports", {"port": {"network_id": own, "project_id": world.victim.project_id}}),
        ("POST", f"{net}/networks", {"network": {"name": "x", "project_id": world.victim.project_id}}),
        ("POST", f"{net}/subnets", {"subnet": subnet | {"network_id": ids["networks"]}}),
        ("PUT", f"{net}/routers/{router}/add_router_interface", {"subnet_id": ids["subnets"]}),
        ("PUT", f"{net}/routers/{router}/add_router_interface", {"port_id": ids["ports"]}),
        ("PUT", f"{net}/routers/{ids['routers']}/add_router_interface", {"subnet_id": mine}),
        ("PUT", f"{net}/routers/{router}", {"router": {"external_gateway_info": {"network_id": ids["networks"]}}}),
        ("POST", f"{net}/security-group-rules",
         {"security_group_rule": {"security_group_id": ids["security-groups"], "direction": "ingress"}}),
        ("POST", f"{net}/floatingips", {"floatingip": floating | {"port_id": ids["ports"]}}),
        ("POST", "/compute/v2.1/servers", {"server": server}),
        ("POST", "/compute/v2.1/servers", {"server": server | {"flavorRef": _flavor(world)}}),
        ("POST", "/image/v2/images", {"owner": world.victim.project_id}),
        ("POST", f"/identity/v3/users/{stranger.user_id}/application_credentials",
         {"application_credential": {"name": "x", "project_id": world.victim.project_id,
                                     "roles": [{"name": "admin"}]}}),
    ]  # fmt: skip
    good = {"name": "x", "flavorRef": _flavor(world), "imageRef": _image(world), "networks": "none"}
    attempts += [
        ("POST", "/compute/v2.1/servers", {"server": good | more})
        for more in ({"networks": [{"uuid": ids["networks"]}]}, {"networks": [{"port": ids["ports"]}]},
                     {"key_name": ids["os-keypairs"]}, {"imageRef": ids["images"]}, {"flavorRef": ids["flavors"]},
                     {"security_groups": [{"name": ids["security-groups"]}], "networks": [{"uuid": own}]})
    ]  # fmt: skip
    for method, path, body in attempts:
        answer = stranger.http.request(method, path, json=body, headers=LATEST)
        given = secrets(world, answer, path + json.dumps(body))
        if given or answer.status_code not in (400, 403, 404):
            wrong.append((method, path, body, answer.status_code, given, answer.text[:300]))
    assert not wrong, "\n".join(map(str, wrong))
    assert world.snapshot() == before


def test_a_reader_of_the_project_changes_nothing(cloud: Running, world: World) -> None:
    reader, before, wrong = person(cloud, "reader", world.victim.project_id), world.snapshot(), []
    for service, route in routes(cloud):
        if route.method in ("GET", "HEAD") or not route.auth or route.path.startswith("/identity/v3/auth"):
            continue
        for answer in ask(world, reader.http, service, route):
            if answer.is_success and route.name not in OF_ONESELF:
                wrong.append((route.name, route.method, route.path, body_of(answer), answer.status_code, answer.text))
    assert not wrong, "\n".join(map(str, wrong))
    assert world.snapshot() == before
    reader.http.close()


def _flavor(world: World) -> str:
    """A flavor for all."""
    flavors = world.admin.get("/compute/v2.1/flavors").json()["flavors"]
    if flavors:
        return str(flavors[0]["id"])
    body = {"flavor": {"name": "for-all", "ram": 64, "vcpus": 1, "disk": 1}}
    return str(world.admin.post("/compute/v2.1/flavors", json=body).json()["flavor"]["id"])


def _image(world: World) -> str:
    """An image for all."""
    found = world.admin.get("/image/v2/images?name=for-all").json()["images"]
    if found:
        return str(found[0]["id"])
    body = {"name": "for-all", "visibility": "public", "disk_format": "raw", "container_format": "bare"}
    image = world.admin.post("/image/v2/images", json=body).json()["id"]
    octets = {"Content-Type": "application/octet-stream"}
    world.admin.put(f"/image/v2/images/{image}/file", content=b"x" * 512, headers=octets)
    return str(image)
