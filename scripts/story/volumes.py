"""Act three, 1: a server whose disk is a volume. The server goes, the volume stays; so does what was written on it.

smith        boots from the volume `vault`, gets the volume `chest` while it runs, writes on both, and is deleted
apprentice   boots from `vault` and reads what smith wrote
"""

from time import monotonic

from story.stage import DEMO, Stage, decoded

ONE = ("-f", "value", "-c", "id")
VAULT, CHEST = "vault", "chest"
SMITH, APPRENTICE = "10.10.0.81", "10.10.0.82"
WRITTEN = "smith was here"
ON_CHEST = "in the chest"


def tell(stage: Stage) -> None:
    _volumes(stage)
    order(stage, "smith", SMITH, "m1.nano")
    stage.client.run(DEMO, "server", "list", "-c", "Name", "-c", "Status", "-c", "Image", "-c", "Networks")
    stage.guests.tell("smith", f"echo '{WRITTEN}' >/root/diary; sync; cat /root/diary")
    _chest(stage)
    delete(stage, "smith")
    _stays(stage)
    order(stage, "apprentice", APPRENTICE, "m1.nano")
    answer = stage.guests.tell("apprentice", "hostname; cat /root/diary")
    holds = answer.text.splitlines() == ["apprentice", WRITTEN]
    stage.screen.proof("apprentice booted from the same volume, and reads what smith wrote", holds=holds)
    delete(stage, "apprentice")


def _volumes(stage: Stage) -> None:
    make = ("volume", "create", "--size", "1", *ONE)
    stage.client.together(DEMO, (*make, "--image", "guest", VAULT), (*make, CHEST))
    took = sum(_status(stage, name, "available", 60) for name in (VAULT, CHEST))
    stage.screen.proof(f"a volume with the image on it, and an empty one, are there after {took:.1f} s more")


def _status(stage: Stage, volume: str, wanted: str, seconds: float) -> float:
    """Wait until a volume has a status; returns how long that took."""

    def look() -> bool | None:
        status = stage.client.ask(DEMO, "volume", "show", volume, "-f", "value", "-c", "status").strip()
        return True if status == wanted else None

    return stage.until(look, seconds, f"volume {volume} is {wanted}")[1]


def order(stage: Stage, name: str, address: str, flavor: str, *, seconds: float = 60.0) -> None:
    """Order a Server that boots from `vault`, and wait until ssh leads into it."""
    stage.client.run(
        DEMO, "server", "create", "--volume", VAULT, "--flavor", flavor, "--key-name", "story", "--security-group",
        "door", "--nic", f"net-id=front,v4-fixed-ip={address}", name, *ONE,
    )  # fmt: skip
    took = stage.active(DEMO, name, seconds=seconds)
    stage.guests.add((name, address))
    stage.fixed[name] = address
    more = booted(stage, name)
    stage.screen.proof(f"{name} is ACTIVE after {took:.1f} s, from the volume; ssh after {more:.1f} s more")


def booted(stage: Stage, name: str) -> float:
    """Wait until a guest has booted and ssh leads into it; returns how long that took."""
    began = monotonic()
    stage.booted(DEMO, name, seconds=180)
    stage.guests.wait(name, 60)
    return monotonic() - began


def delete(stage: Stage, name: str) -> None:
    """Delete a Server; its volume is free again."""
    stage.guests.forget(name)
    stage.client.run(DEMO, "server", "delete", name)
    took = _status(stage, VAULT, "available", 90)
    stage.screen.proof(f"{name} is deleted; after {took:.1f} s the volume is available again")


def _chest(stage: Stage) -> None:
    """A second volume comes and goes while the machine runs."""
    stage.client.run(DEMO, "server", "add", "volume", "smith", CHEST, "-f", "value", "-c", "Device")
    disk, took = stage.until(lambda: _disk(stage), 40, "smith sees its second disk")
    stage.guests.tell("smith", f"echo '{ON_CHEST}' | dd of=/dev/{disk} conv=notrunc 2>/dev/null; sync")
    serial = stage.guests.run("smith", f"cat /sys/block/{disk}/serial").text
    chest = stage.client.ask(DEMO, "volume", "show", CHEST, *ONE).strip()
    text = f"a second volume was attached while smith ran: {disk}, serial {serial} ({took:.1f} s)"
    stage.screen.proof(text, holds=serial != "" and chest.startswith(serial), evidence=f"{serial}\n{chest}")
    stage.client.run(DEMO, "server", "remove", "volume", "smith", CHEST)
    _, took = stage.until(lambda: True if _disk(stage) is None else None, 40, "smith's second disk is gone")
    took += _status(stage, CHEST, "available", 30)
    stage.screen.proof(f"and detached: the guest has one disk again ({took:.1f} s)")


def _disk(stage: Stage) -> str | None:
    """The guest's second disk, if it has one."""
    found = stage.guests.run("smith", "ls /sys/block", seconds=8).text.split()
    return next((name for name in found if name.startswith(("vd", "sd")) and name[2:] != "a"), None)


def _stays(stage: Stage) -> None:
    shown = decoded(stage.client.ask(DEMO, "volume", "list", "-f", "json"))
    rows = {row["Name"]: (row["Status"], row["Attached to"]) for row in shown}
    good = rows.get(VAULT) == ("available", []) and rows.get(CHEST) == ("available", [])
    stage.screen.proof("both volumes are there, attached to nothing", holds=good, evidence=str(rows))


def gone(stage: Stage) -> None:
    """Delete the volumes."""
    stage.client.run(DEMO, "volume", "delete", VAULT, CHEST)

    def left() -> bool | None:
        return None if stage.client.ask(DEMO, "volume", "list", "-f", "value", "-c", "ID").strip() else True

    stage.until(left, 30, "no volume is left")
