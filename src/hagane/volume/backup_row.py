"""Backups as rows: a copy of a volume's bytes in a file of its own, which outlives volume and backend.

creating ─▶ available ⇄ restoring          error (its cause is in `fail_reason`)
                └─▶ deleting ─▶ (gone)

A backup that was imported (backup_record.py) may share its file with others; the file goes with the last of them.
"""

from hagane.state.table import Column, Table

BACKUP = Table(
    "volume_backup",
    (
        Column("id", key=True),
        Column("project_id"),
        Column("user_id"),
        Column("volume_id"),
        Column("snapshot_id"),
        Column("parent_id"),
        Column("name"),
        Column("description"),
        Column("container"),
        Column("file"),  # its name in the store
        Column("size", "int"),  # GiB
        Column("object_count", "int"),
        Column("status"),
        Column("fail_reason"),
        Column("metadata", "json"),
        Column("task", "json"),
        Column("data_timestamp"),
        Column("availability_zone"),
        Column("generation", "int"),
        Column("created_at"),
        Column("updated_at"),
    ),
    ("project_id, created_at", "volume_id", "parent_id", "file"),
)
