"""Act two, 5: reboot, rebuild, rescue; then the tenant goes, and the next one finds nothing of theirs on the disk.

hammer is rebooted and rebuilt while foreign is rescued; then anvil is deleted, its Node is cleaned, and the other
project gets the very same machine.
"""

from story.guest import serial
from story.life import BOOT_ID
from story.rack import nodes_of, states
from story.stage import ADMIN, DEMO, OTHER, Stage

MARKER = "the first tenant was here"
AT_MB = 700  # beyond the image: only cleaning removes it
HEIR = "10.10.0.78"
ONE = ("-f", "value", "-c", "id")


def tell(stage: Stage) -> None:
    node = nodes_of(stage, "anvil", who=DEMO)["anvil"]
    _mark(stage)
    _rebooted(stage)
    stage.client.run(DEMO, "server", "delete", "anvil")
    stage.guests.forget("anvil")
    stage.client.run(DEMO, "server", "rebuild", "hammer", "--image", "guest-b", "-f", "value", "-c", "status")
    stage.client.run(OTHER, "server", "rescue", "foreign", "--password", "let-me-in")
    _cleaned(stage, node)
    _heir(stage)
    _rescued(stage)
    _rebuilt(stage)
    _read(stage, node)
    stage.client.run(OTHER, "server", "delete", "foreign", "heir")  # their Nodes are cleaned beside the next chapter


def _mark(stage: Stage) -> None:
    """A mark in the middle of the disk, where no file system is."""
    write = f"echo '{MARKER}' | dd of=/dev/vda bs=1M seek={AT_MB} conv=notrunc 2>/dev/null; sync; {_reading()}"
    answer = stage.guests.tell("anvil", write)
    stage.screen.proof(
        f"anvil wrote a mark to its raw disk, {AT_MB} MB from the beginning", holds=MARKER in answer.text
    )


def _reading() -> str:
    return f"dd if=/dev/vda bs=1M skip={AT_MB} count=1 2>/dev/null | strings | head -n 1"


def _rebooted(stage: Stage) -> None:
    before = stage.guests.run("hammer", f"echo kept >/root/marker; sync; {BOOT_ID}").text
    stage.guests.forget("hammer")
    stage.client.run(DEMO, "server", "reboot", "hammer")
    (after, marker), took = stage.until(lambda: _boot(stage, before), 90, "hammer has rebooted", pause=0.5)
    text = f"hammer was rebooted (boot {before[:8]} -> {after[:8]}, {took:.1f} s); its disk is the same"
    stage.screen.proof(text, holds=marker == "kept")
    stage.guests.forget("hammer")


def _boot(stage: Stage, before: str) -> tuple[str, str] | None:
    answer = stage.guests.run("hammer", f"{BOOT_ID}; cat /root/marker", seconds=8)
    after, _, marker = answer.text.partition("\n")
    return (after, marker) if answer.code == 0 and after != before else None


def _cleaned(stage: Stage, node: str) -> None:
    took = states(stage, "available", (node,), 120, failed=("clean failed", "error"))
    stage.screen.proof(f"anvil is gone; {node} was cleaned and is available again after {took:.1f} s")


def _heir(stage: Stage) -> None:
    stage.client.run(OTHER, "server", "create", "--image", "guest", "--flavor", "bm.small", "--nic",
                     f"net-id=front,v4-fixed-ip={HEIR}", "heir", *ONE)  # fmt: skip


def _rescued(stage: Stage) -> None:
    """The rescue ramdisk runs from memory, beside the disk of the machine; its password is the one that was given."""
    took = stage.status(OTHER, "foreign", "RESCUE", seconds=120)
    stage.screen.proof(f"foreign is in rescue after {took:.1f} s")
    stage.client.run(OTHER, "server", "unrescue", "foreign")


def _rebuilt(stage: Stage) -> None:
    answer, took = stage.until(lambda: _new(stage), 150, "hammer has booted from the new image", pause=0.5)
    good = answer.startswith("b\n") and "carried" in answer and "No such file" in answer
    text = f"hammer is rebuilt: image b, user data again, still at {stage.fixed['hammer']} ({took:.1f} s)"
    stage.screen.proof(text, holds=good, evidence=answer)


def _new(stage: Stage) -> str | None:
    look = ". /etc/os-release; echo $VARIANT; cat /root/greeting; ls /root/marker"
    answer = stage.guests.run("hammer", look, seconds=8)
    return answer.text if answer.text.startswith("b") else None


def _read(stage: Stage, node: str) -> None:
    """The next tenant of the same machine reads the disk where the mark was."""
    stage.active(OTHER, "heir", "foreign", seconds=150)
    where = nodes_of(stage, "heir", who=OTHER)["heir"]
    url = stage.client.ask(OTHER, "console", "url", "show", "--serial", "heir", "-f", "value", "-c", "url").strip()
    stage.booted(OTHER, "heir", seconds=150)
    with serial(url) as console:
        found = console.run(f"{_reading()}; echo read")
    text = f"the other project's heir runs on {where}; on its disk there is nothing of the first tenant's mark"
    holds = where == node and MARKER not in found.text and "read" in found.text
    stage.screen.proof(text, holds=holds, evidence=found.text)


def gone(stage: Stage) -> None:
    """Delete what is left on bare metal; the Nodes are cleaned once more."""
    stage.client.run(DEMO, "floating", "ip", "delete", stage.floating_steel)
    stage.client.run(DEMO, "server", "delete", "hammer")
    states(stage, "available", ("bm1", "bm2", "bm3"), 180, failed=("clean failed", "error"))
    stage.client.ask(ADMIN, "baremetal", "node", "list")
