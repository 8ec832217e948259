"""One `hagane up --sim` for the stories of a worker: a process of its own, as an operator starts it."""

from collections.abc import Iterator

import pytest

from tests.clients.place import Place
from tests.outside import Process


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    process = Process(tmp_path_factory.mktemp("clients") / "state", simulation={"delays": False})
    try:
        process.start(timeout=120)
        with process.connect() as admin:
            list(admin.network.security_groups())  # the project's own default group: made when first looked at, to stay
        yield Place(process)
    finally:
        process.kill()
