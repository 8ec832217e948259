"""Requests that nobody would send, made from the OpenAPI document: mostly right, wrong in one place, or wrong all over.

Everything comes from one seeded generator, so a failure is repeated by its seed.
"""

import json
import re
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

from tests.api.world import BODIES, World

Json = Any
NASTY: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**30, 1.5, 1e308, "", " ", "x", "x" * 300, "x" * 70_000,
    "\x00", "a\x00b", "\n", "\ud800", "é☃🗡", "'; DROP TABLE image; --", "%s%n", "../../etc/passwd", "{}", "[]", "null",
    "true", "-1", "0", "1e3", "0x10", "NaN", "2026-13-45T99:99:99", "0001-01-01T00:00:00+23:59", "10.0.0.0/33", "::/129",
    "fe80::1%eth0", "999.1.1.1", "10.0.0.1", "00:00:00:00:00:0g", [], {}, [None], [[[[]]]], {"": ""}, {"x": {"y": [{}]}},
    ["x"] * 200, {str(n): n for n in range(300)}, "00000000-0000-0000-0000-000000000000",
)  # fmt: skip
QUERY = ("limit", "marker", "sort_key", "sort_dir", "sort", "fields", "name", "id", "status", "all_tenants", "page_reverse",
         "changes-since", "changes-before", "created_at", "size_min", "tags", "not-tags", "project_id", "tenant_id",
         "is_public", "user_id", "fixed_ips", "reservation_id", "deleted", "visibility", "member_status", "enabled")  # fmt: skip


@dataclass
class Shot:
    """One request."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b""

    def __str__(self) -> str:
        return f"{self.method} {self.path[:500]} {self.headers} {self.content[:1000]!r}"


class Gun:
    """Makes shots at one document, for a caller who knows the things in a World."""

    def __init__(self, document: Json, world: World, seed: int) -> None:
        self._bodies = BODIES | {"server:action": world.actions()}
        self.random = Random(seed)
        self._world = world
        self.targets = [
            (path, verb.upper(), operation)
            for path, item in document["paths"].items()
            for verb, operation in item.items()
        ]

    def shot(self, path: str, method: str, operation: Json, *, known: bool) -> Shot:
        """`known=False`: the ids in the path are of nothing that exists."""
        target = re.sub(r"\{(\w+)\}", lambda match: self._part(path, match[1], known=known), path) + self._query(
            operation
        )
        shot = Shot(method, target, self._headers(operation))
        for media, body in operation.get("requestBody", {}).get("content", {}).items():
            shot.headers["Content-Type"] = media
            shot.content = self._content(body["schema"])
        if method in ("POST", "PUT", "PATCH") and not shot.content:
            shot.headers.setdefault("Content-Type", "application/json")
            shot.content = self._undeclared(operation["operationId"])
        return shot

    def _undeclared(self, name: str) -> bytes:
        """A body for an operation that declares none."""
        known = next((bodies for key, bodies in self._bodies.items() if f":{key}:" in name), None)
        if known is None or self.random.random() < 0.2:
            return self._garbage()
        body = self.random.choice(known)
        return json.dumps(self.spoil(body) if self.random.random() < 0.7 else body).encode("utf-8", "surrogatepass")

    # -- parts of a request ----------------------------------------------------------------------------------------

    def _part(self, path: str, name: str, *, known: bool) -> str:
        dice = self.random.random()
        if known and dice < 0.7:
            return quote(self._world.value(path, name), safe="")
        if dice < 0.85:
            return str(UUID(int=self.random.getrandbits(128)))
        text = self._text().replace("\ud800", "\ufffd")[:2000] or "-"
        return quote(text, safe="") if self.random.random() < 0.7 else quote(text, safe="%~!$&'()*+,;=:@")

    def _query(self, operation: Json) -> str:
        if self.random.random() < 0.5:
            return ""
        names = [p["name"] for p in operation["parameters"] if p["in"] == "query"] + list(QUERY)
        pairs = [(self.random.choice(names), self._text()) for _ in range(self.random.randint(1, 4))]
        return "?" + urlencode(pairs, errors="replace")[:30_000]

    def _headers(self, operation: Json) -> dict[str, str]:
        headers = {}
        for parameter in operation["parameters"]:
            if parameter["name"] == "OpenStack-API-Version":
                series, _, rest = parameter["description"].partition(" ")
                newest = rest.partition(" to ")[2].partition(",")[0].split(".")
                random = f"{newest[0]}.{self.random.randint(0, int(newest[1]) + 2)}"
                headers["OpenStack-API-Version"] = f"{series} {self.random.choice(['latest', random, random, 'x.y'])}"
        if self.random.random() < 0.1:
            headers["Accept"] = self.random.choice(["text/plain", "text/html", "application/json", "x", "*/*;q=0"])
        if self.random.random() < 0.05:
            headers["Range"] = self.random.choice(["bytes=0-", "bytes=-0", "bytes=9-1", "bytes=a-b", "x" * 500])
        return headers

    def _content(self, schema: Json) -> bytes:
        dice = self.random.random()
        if dice < 0.1:
            return self._garbage()
        value = self.value(schema, "")
        if dice < 0.7:
            value = self.spoil(value)
        return json.dumps(value).encode("utf-8", "surrogatepass")

    def _garbage(self) -> bytes:
        text: list[bytes] = [b"", b"{", b"[]", b"{}", b"null", b"1", b'"x"', b"\xff\xfe", b"[" * 5000, b'{"a":' * 3000,
                             b'{"x": 1, "x": 2}', b"[1e999]", b"{\x00}"]  # fmt: skip
        return self.random.choice([*text, json.dumps(self.random.choice(NASTY)).encode()])

    def _text(self) -> str:
        value = self.random.choice(NASTY)
        known = list(self._world.ids.values())
        return self.random.choice([value if isinstance(value, str) else json.dumps(value), self.random.choice(known)])

    # -- values ----------------------------------------------------------------------------------------------------

    def value(self, schema: Json, name: str) -> Json:
        """A value that the schema takes, or nearly, with things that exist where it names one."""
        if "oneOf" in schema:
            return self.value(self.random.choice(schema["oneOf"]), name)
        if "enum" in schema:
            return self.random.choice(schema["enum"])
        kinds = schema.get("type", "any")
        kind = self.random.choice(kinds) if isinstance(kinds, list) else kinds
        match kind:
            case "object":
                return self._object(schema)
            case "array":
                least = schema.get("minItems", 0)
                return [self.value(schema.get("items", {}), name) for _ in range(self.random.randint(least, least + 2))]
            case "string":
                return self._string(schema, name)
            case "boolean":
                return self.random.random() < 0.5
            case "integer" | "number":
                least = schema.get("minimum", -1)
                return self.random.choice([least, least + 1, schema.get("maximum", 2**31 - 1), 1])
        return None if kind == "null" else self.random.choice(NASTY)

    def _object(self, schema: Json) -> Json:
        fields, required = schema.get("properties", {}), schema.get("required", [])
        share = self.random.choice([0.0, 0.0, 0.2, 0.5, 1.0])
        made = {
            key: self.value(inner, key)
            for key, inner in fields.items()
            if key in required or self.random.random() < share
        }
        more = schema.get("additionalProperties")
        if isinstance(more, dict) and self.random.random() < 0.5:
            made["k"] = self.value(more, "k")
        return made

    def _string(self, schema: Json, name: str) -> str:
        known = self._world.ids.get(name.removesuffix("_id").removesuffix("_uuid").removesuffix("Ref") + "s")
        dice = self.random.random()
        if known and dice < 0.8:
            return known
        if schema.get("format") == "uuid":
            return str(UUID(int=self.random.getrandbits(128)))
        if schema.get("format") == "date-time":
            return "2026-01-01T00:00:00Z"
        plain = {"cidr": "10.99.0.0/24", "ip_address": "10.77.0.77", "mac_address": "fa:16:3e:00:00:99",
                 "direction": "ingress", "protocol": "tcp", "path": "/name", "op": "replace", "gateway_ip": "10.99.0.1"}  # fmt: skip
        return plain.get(name, "x" * max(schema.get("minLength", 0), 1)) if dice < 0.9 else self._text()

    def spoil(self, value: Json) -> Json:
        """The same, wrong in one place."""
        if isinstance(value, dict) and value and self.random.random() < 0.85:
            key = self.random.choice(list(value))
            if self.random.random() < 0.1:
                return {k: v for k, v in value.items() if k != key} | {"surprise": self.random.choice(NASTY)}
            return value | {key: self.spoil(value[key])}
        if isinstance(value, list) and value and self.random.random() < 0.7:
            at = self.random.randrange(len(value))
            return [*value[:at], self.spoil(value[at]), *value[at + 1 :]]
        return self.random.choice(NASTY)
