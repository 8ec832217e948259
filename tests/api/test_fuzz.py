"""Every operation of the OpenAPI document, shot at with bad input: no 500, no traceback, no foreign data, no waiting.

HAGANE_FUZZ_SEED and HAGANE_FUZZ_ROUNDS repeat a run and make it longer.
"""

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.api.fuzz import Gun, Shot
from tests.api.people import Person, person
from tests.api.world import World, secrets
from tests.support import Running, running_cloud

SEED = int(os.environ.get("HAGANE_FUZZ_SEED", "1"))
ROUNDS = int(os.environ.get("HAGANE_FUZZ_ROUNDS", "3"))
SLOWEST = 5.0  # seconds of one request on a busy machine
LEAKS = ("Traceback (most recent call last)", 'File "/', "asyncpg", "apsw", "SELECT ", "site-packages")


@pytest.fixture(params=["sqlite", "postgresql"])
def cloud(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    """A cloud of the test's own: it is not fit for much afterwards."""
    more = {"database": request.getfixturevalue("postgres_url")} if request.param == "postgresql" else {}
    with running_cloud(tmp_path, **more) as running:
        yield running


@pytest.fixture
def world(cloud: Running) -> Iterator[World]:
    made = World(cloud)
    yield made
    made.close()


@pytest.fixture
def stranger(cloud: Running) -> Iterator[Person]:
    who = person(cloud)
    yield who
    who.http.close()


def fire(http: httpx.Client, shot: Shot) -> tuple[httpx.Response, float]:
    started = time.perf_counter()
    headers = {name: value.encode("utf-8") for name, value in shot.headers.items()}
    answer = http.request(shot.method, shot.path, headers=headers, content=shot.content)  # type: ignore[arg-type]
    return answer, time.perf_counter() - started


def may_hit(path: str, method: str, *, last: bool) -> bool:
    """Whether a shot may name things that exist: what later shots need is not ended before the last round, and the
    people, projects and roles that the test itself lives on never are."""
    if path.startswith("/identity"):
        return method not in ("DELETE", "PATCH") and not path.endswith("/password")
    return last or method != "DELETE"


def faults(answer: httpx.Response, seconds: float) -> list[str]:
    """What is wrong with an answer, whoever asked."""
    text = answer.text
    found = [f"says {leak!r}" for leak in LEAKS if leak in text]
    if answer.status_code >= 500 and answer.status_code != 501:
        found.append(f"status {answer.status_code}")
    if seconds > SLOWEST:
        found.append(f"took {seconds:.1f} s")
    if answer.headers.get("content-type", "").startswith("application/json") and answer.content:
        answer.json()
    return found


def test_bad_input_to_every_operation(
    cloud: Running, world: World, stranger: Person, caplog: pytest.LogCaptureFixture
) -> None:
    gun = Gun(httpx.get(f"{cloud.url}/openapi.json").json(), world, SEED)
    # The stranger comes first: later the owner and the administrator, shooting wildly, share things with everybody.
    turns = [("stranger", stranger.http, turn) for turn in range(1, ROUNDS + 1)]
    turns += [pair for turn in range(1, ROUNDS + 1) for pair in (("owner", world.victim.http, turn),
                                                                 ("admin", world.admin, turn))]  # fmt: skip
    wrong: list[str] = []
    with caplog.at_level(logging.ERROR):
        for name, http, turn in turns:
            for path, method, operation in gun.targets:
                if method == "DELETE" and path == "/identity/v3/auth/tokens":
                    continue  # the test's own token
                shot = gun.shot(path, method, operation, known=may_hit(path, method, last=turn == ROUNDS))
                answer, seconds = fire(http, shot)
                found = faults(answer, seconds)
                if name == "stranger":
                    asked = shot.path + shot.content.decode("latin-1")
                    found += [f"gives away {word}" for word in secrets(world, answer, asked)]
                if found:
                    wrong.append(f"{name}: {found}\n  {shot}\n  -> {answer.status_code} {answer.text[:400]}")
    unforeseen = [f"{record.name}: {record.getMessage()} {record.exc_text or ''}" for record in caplog.records]
    assert not wrong, f"seed {SEED}, {len(wrong)} requests:\n" + "\n".join(wrong[:40])
    assert not unforeseen, f"seed {SEED}:\n" + "\n".join(unforeseen[:20])
    assert httpx.get(f"{cloud.url}/healthz").status_code == 200
    assert world.admin.get("/identity/v3/auth/catalog").status_code == 200
