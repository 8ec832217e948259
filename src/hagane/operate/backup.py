"""`hagane backup FILE`: an online copy of the database, made by the process that has it open."""

import shutil
from pathlib import Path

from hagane.config import Config
from hagane.operate import client


def backup(config: Config, file: Path) -> None:
    """Ask the running process for a copy and move it to `file` (mode 0600). Raises Unavailable."""
    made = Path(client.call(config, "POST", "/hagane/v1/backup")["file"])
    target = file / made.name if file.is_dir() else file
    target.touch(mode=0o600)  # before there is anything in it
    shutil.move(made, target)
    target.chmod(0o600)
