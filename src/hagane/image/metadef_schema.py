"""The JSON schema documents of metadata definitions; those of one thing are data (metadef.json), as Glance has them."""

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import msgspec

from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route
from hagane.image.base import PREFIX

_MANY = {"namespaces": "namespace", "objects": "object", "properties": "property", "resource_types": "resource_type",
         "tags": "tag"}  # fmt: skip
_LINKS = [{"rel": "first", "href": "{first}"}, {"rel": "next", "href": "{next}"},
          {"rel": "describedby", "href": "{schema}"}]  # fmt: skip


def documents() -> dict[str, Any]:
    """name -> document."""
    found: dict[str, Any] = msgspec.json.decode(files("hagane.image").joinpath("metadef.json").read_bytes())
    for many, one in _MANY.items():
        item = dict(found[one])
        definitions = item.pop("definitions", None)
        name = "resource_type_associations" if many == "resource_types" else many
        held: dict[str, Any] = {"type": "array", "items": item}
        if many == "properties":
            item["required"] = ["type", "title"]
            held = {"type": "object", "additionalProperties": item}
        properties = {name: held} | {word: {"type": "string"} for word in ("first", "next", "schema")}
        found[many] = {"name": name, "properties": properties, "links": _LINKS}
        found[many] |= {"definitions": definitions} if definitions else {}
    return found


def routes() -> list[Route]:
    def handler(document: Any) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            return json_response(200, document)

        return answer

    path = f"{PREFIX}/v2/schemas/metadefs"
    return [Route("GET", f"{path}/{name}", handler(document), f"schema:metadef_{name}")
            for name, document in documents().items()]  # fmt: skip
