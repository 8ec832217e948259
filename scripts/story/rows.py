"""The rows of a cloud's SQLite database, by table and key, without those that are kept on purpose."""

import sqlite3
from pathlib import Path

HISTORY = frozenset(
    {
        "event",
        "work",
        "identity_revocation",
        "network_freed",
        "network_range",
        "seeded",
        "migration",
        "server_past",
        "server_migration",
    }
)
"""Tables whose rows stay after what they tell of is gone."""


def rows(database: Path) -> set[str]:
    """Table and key of every row, allocations among them."""
    found = set()
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as store:
        tables = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            if table in HISTORY or table.startswith("sqlite_"):
                continue
            columns = [c[1] for c in store.execute(f"PRAGMA table_info({table})") if c[5]]
            found |= {
                f"{table} {'/'.join(map(str, row))}"
                for row in store.execute(f"SELECT {','.join(columns)} FROM {table}")
            }
    store.close()
    return found
