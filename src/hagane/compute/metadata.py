"""What a Server is told about itself: the files of its config drive and of the metadata service. One pure function.

https://docs.openstack.org/nova/latest/user/metadata.html
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

Row = Mapping[str, Any]


def documents(
    server: Row, ports: Sequence[Row], networks: Mapping[str, Row], *, password: str | None = None
) -> dict[str, bytes]:
    """path -> content, without a leading slash. `password` is told on the config drive only."""
    return {"openstack/latest/meta_data.json": msgspec.json.encode({"uuid": server["id"], "name": server["name"]})}
