"""GET /info/usage: what the images of the caller's project take, beside what they may. -1: as much as they want."""

from hagane.api.http import Request, Response, json_response
from hagane.api.service import Route
from hagane.cloud import Cloud
from hagane.image.base import PREFIX

MIB = 1 << 20
_SUMS = """SELECT COALESCE(SUM(size), 0), COALESCE(SUM(CASE WHEN status = 'uploading' THEN size ELSE 0 END), 0),
COUNT(*), COALESCE(SUM(CASE WHEN status IN ('saving', 'uploading') THEN 1 ELSE 0 END), 0)
FROM image WHERE owner = :owner"""
_NAMES = ("image_size_total", "image_stage_total", "image_count_total", "image_count_uploading")


class Usage:
    """Sizes in MiB, as the real service counts them."""

    def __init__(self, cloud: Cloud) -> None:
        self.db, self._most = cloud.db, cloud.config.image_quota_gb * 1024 or -1

    def routes(self) -> list[Route]:
        return [Route("GET", f"{PREFIX}/v2/info/usage", self.show, "image:usage")]

    async def show(self, request: Request) -> Response:
        row = (await self.db.fetch_tuples(_SUMS, {"owner": request.caller.project_id or ""}))[0]
        numbers = (int(row[0]) // MIB, int(row[1]) // MIB, int(row[2]), int(row[3]))
        limits = (self._most, self._most, -1, -1)
        found = zip(_NAMES, numbers, limits, strict=True)
        return json_response(200, {"usage": {name: {"usage": used, "limit": most} for name, used, most in found}})
