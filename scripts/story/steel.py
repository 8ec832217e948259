"""Act two, 2: the tenant orders bare metal as it orders a VM, onto the network where a VM already runs.

anvil, hammer   of the project demo, on `front` beside web and db, behind the same security group
foreign         of the project other, on its own network with the very same addresses
"""

from datetime import datetime

from story.machines import GREETING
from story.rack import nodes_of
from story.stage import DEMO, OTHER, Stage, decoded

ONE = ("-f", "value", "-c", "id")
ANVIL, HAMMER, FOREIGN = "10.10.0.51", "10.10.0.52", "10.10.0.77"
STEPS = 12


def tell(stage: Stage) -> None:
    _create(stage)
    took = stage.active(DEMO, "anvil", "hammer", seconds=240)
    where = nodes_of(stage, "anvil", "hammer", who=DEMO)
    text = f"ACTIVE after {took:.1f} s: anvil on {where['anvil']}, hammer on {where['hammer']}"
    stage.screen.proof(text, holds=all(where.values()) and len(set(where.values())) == 2)
    stage.client.run(DEMO, "server", "list", "-c", "Name", "-c", "Status", "-c", "Networks", "-c", "Flavor")
    stage.guests.add(("anvil", ANVIL), ("hammer", HAMMER))
    for name, address in (("anvil", ANVIL), ("hammer", HAMMER)):
        stage.fixed[name] = address
        took = stage.guests.wait(name, 90)
        stage.screen.proof(f"ssh into {name} at {address}, through web, with the keypair's key: {took:.1f} s")
    _carried(stage)
    _steps(stage)


def _create(stage: Stage) -> None:
    data = str(stage.folder / "user-data")
    make = ("server", "create", "--image", "guest", "--flavor", "bm.small", *ONE)
    ours = (*make, "--key-name", "story", "--security-group", "door", "--user-data", data, "--nic")
    stage.client.together(
        DEMO,
        (*ours, f"net-id=front,v4-fixed-ip={ANVIL}", "anvil"),
        (*ours, f"net-id=front,v4-fixed-ip={HAMMER}", "hammer"),
    )
    stage.client.run(OTHER, *make, "--nic", f"net-id=front,v4-fixed-ip={FOREIGN}", "foreign")


def _carried(stage: Stage) -> None:
    """Host name, key and user data; and that it is no VM: the machine says who made it."""
    for name in ("anvil", "hammer"):
        answer = stage.guests.run(name, "hostname; cat /root/greeting; cat /sys/class/dmi/id/product_name")
        good = answer.text.splitlines() == [name, GREETING, "Virtual bare metal"]
        text = f"{name} has its hostname and user data; its board is called {answer.text.splitlines()[-1]!r}"
        stage.screen.proof(text, holds=good, evidence=answer.text)


def _steps(stage: Stage) -> None:
    """The twelve steps of the deployment with their durations, where everybody looks for them."""
    stage.until(lambda: _reached(stage), 60, "the last step of anvil's deployment is told")
    for name, duration in _events(stage, "anvil"):
        stage.screen.note(f"{duration:7.2f} s  {name}")
    told = [name for name, _ in _events(stage, "anvil")]
    stage.screen.proof(f"`openstack server event show` tells the {len(told)} steps of the deployment",
                       holds=len(told) >= STEPS, evidence="\n".join(told))  # fmt: skip


def _reached(stage: Stage) -> bool | None:
    return True if "reachable" in [name for name, _ in _events(stage, "anvil")] else None


def _events(stage: Stage, server: str) -> list[tuple[str, float]]:
    listed = decoded(stage.client.ask(DEMO, "server", "event", "list", server, "-f", "json"))
    request = next(row["Request ID"] for row in listed if row["Action"] == "create")
    action = decoded(stage.client.ask(DEMO, "server", "event", "show", server, request, "-f", "json"))
    steps = sorted(action["events"], key=lambda step: str(step["start_time"]))
    return [(step["event"], _seconds(step)) for step in steps if step["finish_time"]]


def _seconds(step: dict[str, str]) -> float:
    ended, began = datetime.fromisoformat(step["finish_time"]), datetime.fromisoformat(step["start_time"])
    return (ended - began).total_seconds()
