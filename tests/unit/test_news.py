"""What devices tell by themselves: one write for what comes together, and nothing lost while the store is away."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hagane.errors import Unavailable
from hagane.reconcile import news
from hagane.reconcile.news import News
from hagane.state.sqlite import SqliteDatabase
from hagane.state.work import WORK


class Store(SqliteDatabase):
    """It counts transactions, and is away for as many of them as it is told."""

    writes = away = 0

    async def write(self, work: Any) -> Any:
        self.writes += 1
        if self.away:
            self.away -= 1
            raise Unavailable("The database does not answer.")
        return await super().write(work)


async def test_news_are_one_write_and_outlive_a_store_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news, "AGAIN", 0.01)
    db = Store(f"{tmp_path}/t.db")
    await db.script(";\n".join(WORK.ddl()))
    told = News(db, "news", 0.01)
    before, db.away = db.writes, 1
    for key in ("1", "2", "1"):
        told.tell("switch", key)
    await asyncio.sleep(0.015)
    told.tell("rack_gateway", "g")
    async with asyncio.timeout(10):
        while len(await WORK.select(db)) < 3:
            await asyncio.sleep(0.005)
    assert {(row["kind"], row["key"]): row["wakes"] for row in await WORK.select(db)} == {
        ("switch", "1"): 1, ("switch", "2"): 1, ("rack_gateway", "g"): 1
    }  # fmt: skip
    assert db.writes - before <= 3
    await told.stop()
    await db.close()
