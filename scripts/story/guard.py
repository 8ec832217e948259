"""What guards a Port, tried from the machine behind it: closed doors, a rule that goes, lies about the sender."""

import time

from story.guest import Pinged, ping, pinged
from story.stage import DEMO, Stage
from story.stream import Stream

ECHO_PORT = 9000


def blocked(stage: Stage, source: str, target: str) -> tuple[bool, str]:
    """Whether an echo server on the target answers itself and not the source, for no rule allows it; the evidence."""
    stage.guests.run(target, f"nc -ll -p {ECHO_PORT} -e cat </dev/null >/dev/null 2>&1 &")
    local = stage.guests.run(target, f"echo hello | nc -w 2 127.0.0.1 {ECHO_PORT}").text
    other = stage.guests.tell(source, f"echo hello | nc -w 2 {stage.fixed[target]} {ECHO_PORT}")
    return local == "hello" and other.code != 0 and "hello" not in other.text, f"{local}\n{other.text}"


def cut(stage: Stage, source: str, target: str) -> None:
    """A rule opens the port; it is deleted in the middle of a connection."""
    words = ("security", "group", "rule", "create", "door", "--protocol", "tcp", "--dst-port", str(ECHO_PORT))
    rule = stage.client.run(DEMO, *words, "-f", "value", "-c", "id").strip()
    with Stream(stage.guests.argv(source, f"nc {stage.fixed[target]} {ECHO_PORT}")) as stream:
        took = stream.flowing(20)
        stage.screen.proof(f"with a rule the connection stands {took:.1f} s later, {stream.rate()} echoes a second")
        asked = time.monotonic()
        stage.client.run(DEMO, "security", "group", "rule", "delete", rule)
        answered_at = time.monotonic()
        last = stream.silent(quiet=1.5, seconds=15)
    text = f"the rule is deleted: the last echo came {max(0.0, last - asked):.2f} s after the command began"
    stage.screen.proof(text, holds=last - answered_at < 3)


def other_mac(stage: Stage, name: str, mac: str, target: str) -> tuple[Pinged, Pinged]:
    """What pings of a guest say from a MAC address that is not its own, and then from its own again.

    Our ssh to it goes over that interface: so it changes the MAC, tries, and changes back, by itself.
    """
    script = (
        f"own=$(cat /sys/class/net/eth0/address); ip link set eth0 address {mac}; ip neigh flush dev eth0; "
        f"{ping(target)} >/tmp/spoof; ip link set eth0 address $own; ip neigh flush dev eth0; {ping(target)} >/tmp/own"
    )
    stage.guests.run(name, f"({script}; echo over >/tmp/over) </dev/null >/dev/null 2>&1 &")
    time.sleep(2)
    stage.until(lambda: True if "over" in stage.guests.run(name, "cat /tmp/over", seconds=5).text else None, 30,
                f"{name} is back on its own MAC")  # fmt: skip
    return pinged(stage.guests.run(name, "cat /tmp/spoof").text), pinged(stage.guests.run(name, "cat /tmp/own").text)
