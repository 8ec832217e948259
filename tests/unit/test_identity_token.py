"""What this process knows of tokens: kept until something changes, never longer, never too much."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hagane.app import Hagane
from hagane.config import Config
from hagane.identity import token as module
from hagane.identity.access_rule import allows
from hagane.identity.bootstrap import bootstrap
from hagane.identity.glob import fits
from hagane.identity.project import Project
from hagane.identity.removal import on_project_deleted
from hagane.identity.revocation import REVOCATION, purge, revoke
from hagane.identity.ticket import Ticket, audit_id
from hagane.identity.token import Tokens, authenticate
from hagane.identity.token_load import Worthless
from hagane.identity.user import User
from hagane.reconcile.devices import Devices

SERVICES = [("identity", "keystone", "/identity"), ("compute", "nova", "/compute/v2.1")]


@pytest.fixture
async def hagane(tmp_path: Path) -> AsyncIterator[Hagane]:
    made = Hagane(Config(state=tmp_path, bcrypt_cost=4), Devices(), authenticate)
    await made.start()
    await bootstrap(made.cloud, "pw", "http://cloud", SERVICES)
    yield made
    await made.stop()


async def ticket(hagane: Hagane, **more: Any) -> Ticket:
    user = await User.table.get(hagane.cloud.db, name="admin")
    project = await Project.table.get(hagane.cloud.db, name="admin")
    assert user and project
    values = {"user_id": user["id"], "methods": ("password",), "issued_at": time.time(), "audit_ids": (audit_id(),),
              "expires_at": time.time() + 100, "project_id": project["id"]}  # fmt: skip
    return Ticket(**(values | more))


async def test_a_known_token_costs_no_query(hagane: Hagane, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = hagane.cloud.use(Tokens)
    token = await tokens.issue(await ticket(hagane))

    async def load(*args: Any) -> None:
        raise AssertionError("the store was asked")

    monkeypatch.setattr(module, "load", load)
    assert await tokens.find(token.text) is token
    assert token.caller.roles == {"admin", "manager", "member", "reader"}


async def test_what_changes_during_a_load_is_not_missed(hagane: Hagane, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, real = hagane.cloud.use(Tokens), module.load
    made = await ticket(hagane)

    async def load(*args: Any) -> Any:
        found = await real(*args)
        await hagane.cloud.db.write(lambda tx: revoke(tx, made.user_id))
        return found

    monkeypatch.setattr(module, "load", load)
    token = await tokens.issue(made)  # it was valid when it was looked at
    monkeypatch.setattr(module, "load", real)
    with pytest.raises(Worthless):
        await tokens.find(token.text)


async def test_only_what_changed_is_forgotten(hagane: Hagane) -> None:
    tokens = hagane.cloud.use(Tokens)
    mine = await tokens.issue(await ticket(hagane))
    system = await tokens.issue(await ticket(hagane, project_id=None, system=True))
    tokens.changed(f"identity:{mine.caller.project_id}")
    assert set(tokens._known) == {system.text}
    tokens.changed("server")
    assert set(tokens._known) == {system.text}
    tokens.changed("*")
    assert not tokens._known
    assert not tokens._of


async def test_few_tokens_are_known_at_a_time(hagane: Hagane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    tokens = hagane.cloud.use(Tokens)
    texts = [(await tokens.issue(await ticket(hagane))).text for _ in range(10)]
    assert list(tokens._known) == texts[-3:]
    assert set().union(*tokens._of.values()) == set(texts[-3:])


async def test_known_tokens_are_looked_up_anew_after_a_while(hagane: Hagane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECHECK", 0.0)
    tokens = hagane.cloud.use(Tokens)
    token = await tokens.issue(await ticket(hagane))
    await hagane.cloud.db.write(lambda tx: User.table.update(tx, {"name": "admin"}, {"enabled": False}))
    with pytest.raises(Worthless):
        await tokens.find(token.text)


async def test_an_expired_token_is_worthless_but_for_those_who_ask_late(hagane: Hagane) -> None:
    tokens = hagane.cloud.use(Tokens)
    token = await tokens.issue(await ticket(hagane, expires_at=time.time() + 0.02))
    await asyncio.sleep(0.03)
    with pytest.raises(Worthless):
        await tokens.find(token.text)
    assert (await tokens.expired(token.text, 60)).caller == token.caller
    with pytest.raises(Worthless):
        await tokens.expired(token.text, 0)


async def test_revocations_are_forgotten_when_no_token_can_be_older(hagane: Hagane) -> None:
    db = hagane.cloud.db
    await db.write(lambda tx: revoke(tx, "a", "b"))
    assert await db.write(lambda tx: purge(tx, 60)) == 0
    assert await db.write(lambda tx: purge(tx, -60)) == 2
    assert await REVOCATION.count(db) == 0


async def test_bootstrap_makes_what_is_missing_and_leaves_the_rest(hagane: Hagane) -> None:
    db = hagane.cloud.db
    tables = ("user", "project", "role", "implied_role", "assignment", "region", "service", "endpoint")

    async def state() -> list[Any]:
        return [sorted(map(str, await db.fetch_tuples(f"SELECT * FROM identity_{table}"))) for table in tables]

    before = await state()
    await bootstrap(hagane.cloud, "another password", "http://cloud", SERVICES)
    assert await state() == before
    await bootstrap(hagane.cloud, "pw", "http://elsewhere/", SERVICES)
    urls = await db.fetch_tuples("SELECT DISTINCT url FROM identity_endpoint ORDER BY url")
    assert [row[0] for row in urls] == ["http://elsewhere/compute/v2.1", "http://elsewhere/identity"]


async def test_other_apis_are_told_of_ends_in_the_same_transaction(hagane: Hagane) -> None:
    from hagane.identity.removal import hooks, remove_projects

    told: list[str] = []

    async def note(tx: Any, key: str) -> None:
        told.append(key)
        if key == "bad":
            raise ValueError

    on_project_deleted(hagane.cloud, note)
    asked, db = hooks(hagane.cloud), hagane.cloud.db
    project = await Project.table.get(db, name="service")
    assert project
    with pytest.raises(ValueError):
        await db.write(lambda tx: remove_projects(tx, asked, [project["id"], "bad"]))
    assert told == [project["id"], "bad"]
    assert await Project.table.get(db, name="service") == project


RULES = [
    ("/v2.1/servers", "/v2.1/servers", True), ("/v2.1/servers", "/compute/v2.1/servers", True),
    ("/compute/v2.1/servers", "/compute/v2.1/servers", True), ("/v2.1/servers", "/v2.1/servers/x", False),
    ("/v2.1/servers/*", "/v2.1/servers/x", True), ("/v2.1/servers/*", "/v2.1/servers/x/action", False),
    ("/v2.1/servers/{server_id}", "/v2.1/servers/x", True), ("/v2.1/servers/{server_id}", "/v2.1/servers/", False),
    ("/v2.1/**", "/v2.1/servers/x/action", True), ("/v2.1/**", "/v2.0/servers", False),
    ("/v2.1/ser*rs", "/v2.1/servers", True), ("/v2.1/a.b", "/v2.1/axb", False), ("/{", "/{", True),
]  # fmt: skip


def test_a_pattern_takes_no_longer_than_its_path() -> None:
    started = time.monotonic()
    assert not fits("**a" * 75 + "x", "a" * 4000)
    assert not fits("{x}" * 75, "a" * 4000 + "/")
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(("pattern", "path", "fits"), RULES)
def test_paths_of_access_rules(pattern: str, path: str, fits: bool) -> None:
    service = SimpleNamespace(type="compute", prefix="/compute")
    request: Any = SimpleNamespace(service=service, path=path, method="GET")
    assert allows([{"service": "compute", "method": "GET", "path": pattern}], request) is fits
    assert not allows([{"service": "compute", "method": "POST", "path": pattern}], request)
    assert not allows([{"service": "network", "method": "GET", "path": pattern}], request)
