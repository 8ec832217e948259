"""The end: everything is deleted, and nothing is left: this machine looks as it did before the story."""

import shutil
import time

from story import rack, steel_life, volumes
from story.stage import ADMIN, DEMO, OTHER, Stage, entry, folder
from story.sweep import empty

SECONDS = 30.0  # until the last trace must be gone


def tell(stage: Stage) -> None:
    client = stage.client
    now = stage.look()
    stage.screen.note(f"Before it goes, there is more than before the story: {_said(now - stage.before)}.")
    stage.guests.close()
    steel_life.gone(stage)
    rack.down(stage)
    client.together(DEMO, ("floating", "ip", "delete", stage.floating), ("server", "delete", "web", "db", "app"))
    client.run(OTHER, "server", "delete", "stranger")
    volumes.gone(stage)
    for who in (DEMO, OTHER):
        stage.until(lambda who=who: _none(stage, who), 30, f"no Server of {who} is left")  # type: ignore[misc]
    client.together(
        DEMO, *(("router", "remove", "subnet", "edge", f"{n}-{v}") for n in ("front", "back") for v in "46")
    )
    client.run(DEMO, "router", "delete", "edge")
    client.together(
        DEMO,
        ("network", "delete", "front", "back"),
        ("security", "group", "delete", "door"),
        ("keypair", "delete", "story"),
        ("image", "delete", "guest", "guest-b"),
    )
    client.run(OTHER, "network", "delete", "front")
    _people(stage)
    _nothing(stage)
    _agreed(stage)


def _none(stage: Stage, who: str) -> bool | None:
    return None if stage.client.ask(who, "server", "list", "-f", "value", "-c", "ID").strip() else True


def _people(stage: Stage) -> None:
    for name in (DEMO, OTHER):
        empty(stage.client, name)
        entry(stage.state, name, None)
    stage.client.together(ADMIN, ("user", "delete", DEMO, OTHER), ("project", "delete", DEMO, OTHER))


def _nothing(stage: Stage) -> None:
    began = time.monotonic()
    while (left := stage.look() - stage.before) and time.monotonic() - began < SECONDS:
        time.sleep(0.3)
    evidence = "\n".join(f"{kind}: {name}" for kind, names in left.items() for name in names)
    took = time.monotonic() - began
    text = f"nothing is left, {took:.1f} s later: the same {stage.before.counts()} as before the story"
    stage.screen.proof(text, holds=not left, evidence=evidence)
    shutil.rmtree(folder(stage.state))


def _agreed(stage: Stage) -> None:
    """The cloud's own comparison of its rows with the world."""
    stage.screen.plain("   $ hagane doctor")
    code, lines = stage.hagane("doctor")
    stage.screen.proof(f"hagane doctor: {lines[-1].strip('✓ ')}", holds=code == 0, evidence="\n".join(lines))


def _said(left: dict[str, list[str]]) -> str:
    return ", ".join(f"{len(names)} {kind}" for kind, names in left.items())
