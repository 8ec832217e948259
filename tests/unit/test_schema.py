"""The tables that the migrations make are the tables that the code declares, on both stores."""

import asyncio
from pathlib import Path

import pytest

from hagane.app import TABLES
from hagane.errors import Unavailable
from hagane.state.database import Database, open_database
from hagane.state.migrate import migrate, migrations

KINDS = {
    "TEXT": "text",
    "BIGINT": "int",
    "DOUBLE PRECISION": "real",
    "text": "text",
    "bigint": "int",
    "double precision": "real",
}
DECLARED = {"text": "text", "json": "text", "int": "int", "bool": "int", "real": "real"}


async def columns(db: Database, table: str) -> dict[str, str]:
    if db.dialect == "sqlite":
        rows = await db.fetch_tuples(f"SELECT name, type FROM pragma_table_info('{table}')")
    else:
        rows = await db.fetch_tuples(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = :table", {"table": table}
        )
    return {name: KINDS[kind] for name, kind in rows}


async def indexes(db: Database, table: str) -> set[str]:
    if db.dialect == "sqlite":
        sql = "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = :table AND sql IS NOT NULL"
    else:
        sql = "SELECT indexname FROM pg_indexes WHERE tablename = :table AND indexname NOT LIKE '%_pkey'"
    return {row[0] for row in await db.fetch_tuples(sql, {"table": table})}


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
async def test_migrations_make_what_is_declared(store: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = f"sqlite:{tmp_path}/t.db" if store == "sqlite" else request.getfixturevalue("postgres_url")
    db = await open_database(url)
    await migrate(db)
    assert await migrate(db) == []
    assert len({table.name for table in TABLES}) == len(TABLES)
    for table in TABLES:
        assert await columns(db, table.name) == {c.name: DECLARED[c.kind] for c in table.columns}, table.name
        assert await indexes(db, table.name) == {f"{table.name}_{n}" for n in range(len(table.indexes))}, table.name
    await db.close()


async def test_processes_that_start_together_make_them_once(postgres_url: str) -> None:
    stores = [await open_database(postgres_url) for _ in range(3)]
    ran = await asyncio.gather(*(migrate(db) for db in stores))
    assert sorted(name for names in ran for name in names) == sorted(name for _, name, _ in migrations())
    for db in stores:
        await db.close()


async def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    db = await open_database(f"sqlite:{tmp_path}/t.db")
    await migrate(db)
    await db.script("INSERT INTO migration VALUES (9999, 'future')")
    with pytest.raises(Unavailable, match="newer"):
        await migrate(db)
    await db.close()


async def test_one_process_opens_an_sqlite_file(tmp_path: Path) -> None:
    db = await open_database(f"sqlite:{tmp_path}/t.db")
    with pytest.raises(Unavailable, match="Another process"):
        await open_database(f"sqlite:{tmp_path}/t.db")
    await db.close()


def test_migrations_are_numbered_without_gaps() -> None:
    assert [number for number, _, _ in migrations()] == list(range(1, len(migrations()) + 1))
