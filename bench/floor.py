"""The floor: the same server and framework answering constants. `python bench/floor.py PORT [DATABASE]`

/healthz     the Application with one route: what any request costs before a service does anything
/bare        no Application at all: what uvicorn alone costs
/durable     the Application and one inserted row, committed: what any request that changes something costs
"""

import asyncio
import sys
from collections.abc import MutableMapping
from itertools import count
from typing import Any

import uvicorn

from hagane.api import faults
from hagane.api.asgi import Application, NoPolicy
from hagane.api.http import Caller, Request, Response, json_response
from hagane.api.service import Route, Service
from hagane.cloud import Cloud
from hagane.config import Config
from hagane.state.database import Tx, open_database

CONSTANT = b'{"status":"ok"}'


async def constant(request: Request) -> Response:
    return json_response(200, {"status": "ok"})


async def nobody(request: Request) -> Caller:
    return Caller()


async def main(port: int, database: str) -> None:
    db = await open_database(database)
    await db.script("CREATE TABLE IF NOT EXISTS floor (id BIGINT PRIMARY KEY, text TEXT)")
    numbers = count()

    async def durable(request: Request) -> Response:
        async def work(tx: Tx) -> None:
            await tx.execute("INSERT INTO floor VALUES (:id, 'row')", {"id": next(numbers)})

        await db.write(work)
        return json_response(201, {"status": "ok"})

    routes = [
        Route("GET", "/healthz", constant, "constant", auth=False),
        Route("POST", "/durable", durable, "durable", auth=False),
    ]
    inner = Application(Cloud(Config(), db), [Service("", "", NoPolicy(), faults.plain, routes=routes)], nobody)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(CONSTANT)).encode())]

    async def app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["path"] != "/bare":
            await inner(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": CONSTANT})

    settings = uvicorn.Config(
        app, host="127.0.0.1", port=port, http="httptools", lifespan="off", log_config=None, access_log=False,
        server_header=False, date_header=False,
    )  # fmt: skip
    await uvicorn.Server(settings).serve()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "sqlite::memory:"))
