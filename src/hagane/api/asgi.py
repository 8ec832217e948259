"""The ASGI application: path → route → microversion → caller → handler → answer, each step once."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import msgspec

from hagane import errors
from hagane.api import faults
from hagane.api.http import Caller, Receive, Request, Response, Send, json_response, request_id
from hagane.api.metrics import observe
from hagane.api.router import Router
from hagane.api.service import Route, Service
from hagane.cloud import Cloud
from hagane.errors import HaganeError

log = logging.getLogger("hagane.access")
Authenticate = Callable[[Request], Awaitable[Caller]]
_ABOUT_BODY = (b"content-type", b"content-length", b"transfer-encoding", b"openstack-api-version")
Socket = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class NoPolicy:
    """For paths that belong to no service."""

    def check(self, rule: str, creds: Any, target: Any) -> bool:
        return False


class Application:
    """All services behind one origin. `sockets` maps a path to a WebSocket handler."""

    def __init__(self, cloud: Cloud, services: Iterable[Service], authenticate: Authenticate) -> None:
        self.cloud = cloud
        self.services = list(services)
        self.sockets: dict[str, Socket] = {}
        self._authenticate = authenticate
        self._router = Router()
        self._owner: dict[int, Service] = {}
        self._nowhere = Service("", "", NoPolicy(), faults.plain)
        for service in self.services:
            self.sockets.update(service.sockets)
            for route in service.routes:
                self._router.add(route)
                self._owner[id(route)] = service

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            handler = self.sockets.get(scope["path"])
            if handler is None:
                await send({"type": "websocket.close", "code": 1008})
            else:
                await handler(scope, receive, send)

    async def _http(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request = Request(self.cloud, scope, receive, f"req-{uuid4()}")
        request_id.set(request.id)
        request.service = self._nowhere
        try:
            response = await self._answer(request)
        except Exception as error:
            response = faults.answer(request, error)
        await self._send(request, response, send)
        seconds = time.perf_counter() - started
        observe(request, response.status, seconds)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s %s %d %.1f ms", request.method, request.path, response.status, seconds * 1000,
                      extra={"user_id": request.caller.user_id})  # fmt: skip

    async def _answer(self, request: Request, caller: Caller | None = None) -> Response:
        path = (request.scope.get("raw_path") or request.path.encode()).decode("latin-1")
        routes, values = self._router.find(path)
        request.service = self._owner[id(routes[0])] if routes else self.service_of(request.path)
        if (spelling := request.service.spelling) is not None and (not routes or path.endswith(".json")):
            routes, values = self._router.find(spelling(request, path))
        if versions := request.service.versions:
            request.version = versions.negotiate(request.headers)
        route = self._choose(request, routes)
        request.route = route
        names = [segment[1:-1] for segment in route.path.split("/") if segment.startswith("{")]
        request.params = dict(zip(names, values, strict=True))
        if route.auth:
            request.caller = caller or await self._authenticate(request)
        return await route.handler(request)

    async def inner(
        self, outer: Request, method: str, path: str, body: Any = None, *, query: str = "", media: str = ""
    ) -> Any:
        """What another route of ours answers to who asks here; None for an empty body. Raises what its handler does."""
        sent = b"" if body is None else msgspec.json.encode(body)

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": sent, "more_body": False}

        headers = [(name, value) for name, value in outer.scope["headers"] if name.lower() not in _ABOUT_BODY]
        headers.append((b"content-type", (media or "application/json").encode()))
        scope = {**outer.scope, "method": method, "path": path, "raw_path": path.encode(), "headers": headers,
                 "query_string": query.encode()}  # fmt: skip
        request = Request(self.cloud, scope, receive, outer.id)
        response = await self._answer(request, outer.caller)
        assert isinstance(response.body, bytes), "no streams between our own APIs"
        return msgspec.json.decode(response.body) if response.body else None

    def _choose(self, request: Request, routes: list[Route]) -> Route:
        method = request.method
        for route in routes:
            if route.method == method and route.exists_in(request.version):
                return route
        if method == "HEAD":
            for route in routes:
                if route.method == "GET" and route.exists_in(request.version):
                    return route
        late = next((route for route in routes if route.method == method and route.before), None)
        if late is not None:
            raise HaganeError(late.before, code="NotYet", status=404 if method == "GET" else 405)
        if any(route.exists_in(request.version) for route in routes) and all(
            route.method != method for route in routes
        ):
            allow = ", ".join(sorted({route.method for route in routes}))
            raise HaganeError(
                "The method is not allowed for this resource.", code="MethodNotAllowed", status=405, allow=allow
            )
        raise errors.NotFound(
            "The resource could not be found.", code="NoRoute", asked="" if routes else f"{method} {request.path}"
        )

    def service_of(self, path: str) -> Service:
        """The service that answers under a path, whether or not it has a route there."""
        for service in self.services:
            if service.prefix and (path == service.prefix or path.startswith(service.prefix + "/")):
                return service
        return self._nowhere

    async def _send(self, request: Request, response: Response, send: Send) -> None:
        headers = response.headers
        headers["x-openstack-request-id"] = request.id
        service = request.service
        for name, value in service.headers.items():
            headers.setdefault(name, value)
        if service.id_header:
            headers[service.id_header] = request.id
        if service.versions:
            headers.update(service.versions.echo(request.version if request.version > (0, 0) else (0, 0))
                           if request.version != (0, 0) else {})  # fmt: skip
        body = response.body
        if response.media_type and (not isinstance(body, bytes) or body):
            headers.setdefault("content-type", response.media_type)
        if isinstance(body, bytes) and response.status not in (204, 304):
            headers["content-length"] = str(len(body))
        encoded = [(name.encode("latin-1"), _one_line(value).encode("utf-8")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": response.status, "headers": encoded})
        if request.method == "HEAD" or response.status in (204, 304):
            await send({"type": "http.response.body", "body": b""})
        elif isinstance(body, bytes):
            await send({"type": "http.response.body", "body": body})
        else:
            await self._stream(request, body, send)

    async def _stream(self, request: Request, body: AsyncIterator[bytes], send: Send) -> None:
        """Send a body piece by piece; stop reading it, and close it, when the client has gone."""
        gone = asyncio.get_running_loop().create_task(request.gone())
        try:
            async for chunk in body:
                if gone.done():
                    return
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()
            if isinstance(body, AsyncGenerator):
                await body.aclose()


def health(cloud: Cloud) -> list[Route]:
    """`/healthz`: 200 when the store answers; it needs no token and tells nothing else."""

    async def handler(request: Request) -> Response:
        await cloud.db.fetch_tuples("SELECT 1")
        return json_response(200, {"status": "ok"})

    return [Route("GET", "/healthz", handler, "health", auth=False)]


def _one_line(value: str) -> str:
    """What a caller chose (a tag in a Location) neither ends its header nor begins another."""
    if value.isprintable():
        return value
    return "".join(c if c.isprintable() else quote(c, errors="replace") for c in value)
