"""Act two, 3: what packets say of bare metal: the same as of VMs, and nothing that a VM may not."""

import socket

from story import guard
from story.guard import ECHO_PORT
from story.guest import ping, pinged, serial
from story.packets import METADATA
from story.screen import StoryEnded
from story.stage import DEMO, OTHER, Stage
from story.steel import FOREIGN

SPOOFED_IP, SPOOFED_MAC = "10.10.0.98", "02:00:00:00:66:67"


def tell(stage: Stage) -> None:
    _pairs(stage)
    _floating(stage)
    _between(stage, "hammer", "anvil")
    _north_south(stage)
    _spoofing(stage)
    _foreign(stage)
    _kept_out(stage)


def _pairs(stage: Stage) -> None:
    """A VM and bare metal, and two bare-metal servers of one network, both ways."""
    for source, target in (("db", "anvil"), ("anvil", "db"), ("anvil", "hammer"), ("app", "hammer")):
        answer = stage.guests.tell(source, ping(stage.fixed[target]))
        found = pinged(answer.text)
        across = " across the router" if source == "app" else ""
        stage.screen.proof(f"ping from {source} to {target}{across}: {found}", holds=found.well, evidence=answer.text)
    answer = stage.guests.run("anvil", f"nc -w 3 {stage.fixed['db']} 22 </dev/null | head -n 1")
    text = f"TCP from anvil to db: its ssh server says {answer.text!r}"
    stage.screen.proof(text, holds=answer.text.startswith("SSH-2.0"), evidence=answer.text)


def _floating(stage: Stage) -> None:
    stage.floating_steel = stage.client.run(
        DEMO, "floating", "ip", "create", "public", "-f", "value", "-c", "floating_ip_address").strip()  # fmt: skip
    stage.client.run(DEMO, "server", "add", "floating", "ip", "anvil", stage.floating_steel)
    banner, took = stage.until(lambda: _banner(stage.floating_steel, 22), 20, "anvil answers at its floating IP")
    text = f"a floating IP for bare metal: TCP from this machine to {stage.floating_steel}: {banner!r} ({took:.1f} s)"
    stage.screen.proof(text, holds=banner.startswith("SSH-2.0"))


def _banner(address: str, port: int) -> str | None:
    try:
        with socket.create_connection((address, port), timeout=2) as link:
            return link.recv(64).partition(b"\r\n")[0].decode()
    except OSError:
        return None


def _between(stage: Stage, source: str, target: str) -> None:
    """Two bare-metal servers on one switch and one network: blocked, allowed, cut in the middle of a connection."""
    holds, evidence = guard.blocked(stage, source, target)
    text = f"between two bare-metal servers no rule allows TCP {ECHO_PORT}: {target} answers itself, not {source}"
    stage.screen.proof(text, holds=holds, evidence=evidence)
    guard.cut(stage, source, target)


def _north_south(stage: Stage) -> None:
    """The same from outside, through the floating IP."""
    closed = _banner(stage.floating_steel, ECHO_PORT) is None
    open_22 = _banner(stage.floating_steel, 22) is not None
    text = f"from outside: TCP 22 of anvil answers, TCP {ECHO_PORT}, for which there is no rule, does not"
    stage.screen.proof(text, holds=closed and open_22)


def _spoofing(stage: Stage) -> None:
    """hammer takes an address and a MAC that are not its own; the script puts both back."""
    target = stage.fixed["anvil"]
    stage.guests.run("hammer", f"ip addr add {SPOOFED_IP}/24 dev eth0")
    lied = pinged(stage.guests.tell("hammer", ping(target, source=SPOOFED_IP)).text)
    stage.guests.run("hammer", f"ip addr del {SPOOFED_IP}/24 dev eth0")
    stage.screen.proof(f"a spoofing bare-metal server gets nowhere: hammer as {SPOOFED_IP}: {lied}", holds=lied.silent)
    lied, own = guard.other_mac(stage, "hammer", SPOOFED_MAC, target)
    text = f"hammer sends from MAC {SPOOFED_MAC}: {lied}; from its own again: {own}"
    stage.screen.proof(text, holds=lied.silent and own.well)


def _foreign(stage: Stage) -> None:
    """The other project's bare metal: alive on its own network, by its serial console, and not there for ours."""
    stage.active(OTHER, "foreign", seconds=120)
    found = pinged(stage.guests.tell("anvil", ping(FOREIGN)).text)
    stage.screen.proof(f"the other project's bare metal at {FOREIGN} cannot be reached: {found}", holds=found.silent)
    url = stage.client.run(OTHER, "console", "url", "show", "--serial", "foreign", "-f", "value", "-c", "url").strip()
    stage.booted(OTHER, "foreign", seconds=150)
    with serial(url) as console:
        own, _ = stage.until(lambda: _up(console.run("hostname; ip -4 -o addr show dev eth0").text), 60,
                             "foreign has its address")  # fmt: skip
        near = pinged(console.run(ping(METADATA)).text)
        theirs = pinged(console.run(ping(stage.fixed["anvil"])).text)
    stage.screen.proof(f"on the BMC's serial console it is alive at {FOREIGN}; {METADATA}: {near}", holds=near.well,
                       evidence=own)  # fmt: skip
    stage.screen.proof(f"and it does not reach anvil at {stage.fixed['anvil']}: {theirs}", holds=theirs.silent)


def _up(text: str) -> str | None:
    return text if FOREIGN in text else None


def _kept_out(stage: Stage) -> None:
    """No tenant's machine reaches what belongs to the operator: BMCs, switch, gateway, the provisioning service."""
    hidden = stage.hidden()
    if not hidden:
        raise StoryEnded("The lab names no out-of-band addresses")
    tries = " ".join(hidden)
    script = f"for a in {tries}; do ping -q -c 1 -W 1 $a >/dev/null && echo $a answers; done; echo tried"
    for name in ("anvil", "web"):
        answer = stage.guests.run(name, script, seconds=40)
        text = f"from {name} none of {len(hidden)} addresses of BMCs, switch, gateway and provisioning answers"
        stage.screen.proof(text, holds=answer.text == "tried", evidence=answer.text)
