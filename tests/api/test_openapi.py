"""The OpenAPI documents: complete, valid, readable without a token."""

import re

import httpx
import jsonschema_rs

from tests.support import Running


def test_every_route_is_in_the_document_and_nothing_else(cloud: Running) -> None:
    services = [service for service in cloud.hagane.app.services if service.prefix]
    routes = {(route.path, route.method.lower()) for service in services for route in service.routes}
    found = httpx.get(f"{cloud.url}/openapi.json").json()
    listed = {(path, verb) for path, item in found["paths"].items() for verb in item}
    assert listed == routes
    for service in services:
        alone = httpx.get(f"{cloud.url}{service.prefix}/openapi.json").json()["paths"]
        assert alone == {path: item for path, item in found["paths"].items() if path in alone}
        assert all(path.startswith(service.prefix) for path in alone)


def test_the_document_is_well_formed(cloud: Running) -> None:
    found = httpx.get(f"{cloud.url}/openapi.json").json()
    assert found["openapi"] == "3.1.0"
    seen = set()
    for path, item in found["paths"].items():
        for operation in item.values():
            assert operation["operationId"] not in seen
            seen.add(operation["operationId"])
            inside = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert inside == set(re.findall(r"\{(\w+)\}", path))
            bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
            for media in (content for body in bodies for content in body.get("content", {}).values()):
                jsonschema_rs.validator_for(media["schema"], validate_formats=False)  # refuses what is no schema
