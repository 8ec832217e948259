"""Files that older clients (before 2.57) put into a new Server. They travel on its config drive and in its metadata."""

import base64
from typing import Any

from hagane.errors import QuotaExceeded


def check(files: list[dict[str, str]], limits: dict[str, int]) -> None:
    """Raises QuotaExceeded."""

    def over(value: int, name: str) -> bool:
        return 0 <= limits[name] < value

    if over(len(files), "injected_files"):
        raise QuotaExceeded("Personality file limit exceeded")
    for file in files:
        if over(len(file["path"]), "injected_file_path_bytes"):
            raise QuotaExceeded("Personality file path exceeded")
        if over(len(content(file)), "injected_file_content_bytes"):
            raise QuotaExceeded("Personality file content exceeded")


def content(file: dict[str, Any]) -> bytes:
    return base64.b64decode(file["contents"])
