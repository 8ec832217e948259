"""The write-ahead log is copied beside the writer, and stays short however long one writes without a pause."""

import asyncio
from pathlib import Path

import pytest

from hagane.state import checkpoint
from hagane.state.database import Tx, open_database


async def test_the_log_stays_short_while_everybody_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "PAGES", 100)
    db = await open_database(f"sqlite:{tmp_path}/t.db")
    await db.script("CREATE TABLE thing (id BIGINT PRIMARY KEY, text TEXT)")
    longest = 0

    async def fill(client: int) -> None:
        nonlocal longest
        for number in range(client, 1600, 8):

            async def put(tx: Tx, number: int = number) -> None:
                await tx.execute("INSERT INTO thing VALUES (:id, :text)", {"id": number, "text": "x" * 6000})

            await db.write(put)
            longest = max(longest, (tmp_path / "t.db-wal").stat().st_size)

    await asyncio.gather(*(fill(client) for client in range(8)))
    assert longest < 1600 * 6000 / 2
    assert [tuple(row) for row in await db.fetch_tuples("SELECT count(*), sum(length(text)) FROM thing")] == [
        (1600, 1600 * 6000)
    ]
    await db.close()
    again = await open_database(f"sqlite:{tmp_path}/t.db")
    assert (await again.fetch_tuples("SELECT count(*) FROM thing"))[0][0] == 1600
    await again.close()
