"""Numbered migrations: state/migrations/NNNN_what.sql, each run once, in order, in one transaction.

The SQL is the part that both stores speak. A test compares the tables that the migrations make with the tables that the
code declares, so the two cannot drift. scripts/schema.py prints the statements of all declared tables.
"""

import re
from importlib import resources

from hagane.errors import Unavailable
from hagane.state.database import Database


def migrations() -> list[tuple[int, str, str]]:
    """(number, name, SQL) of every migration, in order."""
    found = []
    for entry in resources.files("hagane.state").joinpath("migrations").iterdir():
        if match := re.fullmatch(r"(\d{4})_(\w+)\.sql", entry.name):
            found.append((int(match[1]), match[2], entry.read_text()))
    return sorted(found)


async def migrate(db: Database) -> list[str]:
    """Bring the store to the newest schema; returns the names of the migrations that ran."""
    await db.script("CREATE TABLE IF NOT EXISTS migration (number BIGINT PRIMARY KEY, name TEXT)")
    done = {row[0] for row in await db.fetch_tuples("SELECT number FROM migration")}
    known = migrations()
    if done and max(done) > known[-1][0]:
        raise Unavailable(f"The database is newer (migration {max(done)}) than this Hagane ({known[-1][0]}).")
    ran = []
    for number, name, sql in known:
        script = f"{sql.rstrip().rstrip(';')};\nINSERT INTO migration VALUES ({number}, '{name}')"
        # Another process that starts at the same time may make it first.
        if await db.script(script, unless=f"SELECT 1 FROM migration WHERE number = {number}"):
            ran.append(name)
    return ran
