"""Chapter 4: what packets say. Every sentence of the API about reachability is tried from real guests."""

import socket
import subprocess
import threading
import time

from story import guard
from story.guest import Answer, Pinged, ping, pinged, serial
from story.machines import STRANGER
from story.stage import DEMO, OTHER, Stage, decoded

METADATA = "169.254.169.254"
SPOOFED_IP, SPOOFED_MAC = "10.10.0.99", "02:00:00:00:66:66"


def tell(stage: Stage) -> None:
    _within(stage)
    _outside(stage)
    _six(stage)
    _security_group(stage)
    _spoofing(stage)
    _stranger(stage)


def _pings(stage: Stage, source: str, target: str, address: str, *, where: str) -> None:
    answer = stage.guests.tell(source, ping(address))
    found = pinged(answer.text)
    stage.screen.proof(f"ping from {source} to {target} {where}: {found}", holds=found.well, evidence=answer.text)


def _banner(stage: Stage, source: str, target: str, *, where: str) -> None:
    answer = stage.guests.run(source, f"nc -w 3 {stage.fixed[target]} 22 </dev/null | head -n 1")
    text = f"TCP from {source} to {target} {where}: its ssh server says {answer.text!r}"
    stage.screen.proof(text, holds=answer.text.startswith("SSH-2.0"), evidence=answer.text)


def _within(stage: Stage) -> None:
    _pings(stage, "web", "db", stage.fixed["db"], where="on one network")
    _banner(stage, "web", "db", where="on one network")
    _pings(stage, "app", "db", stage.fixed["db"], where="across the router")
    _banner(stage, "app", "db", where="across the router")


def _outside(stage: Stage) -> None:
    """Out through SNAT, with the router's address or the floating IP as sender; in through the floating IP."""
    here = str(stage.site.external.ipv4.ip)
    shown = decoded(stage.client.ask(DEMO, "router", "show", "edge", "-f", "json", "-c", "external_gateway_info"))
    gateway = shown["external_gateway_info"]["external_fixed_ips"][0]["ip_address"]
    for name, expected, whose in (("app", gateway, "the router's"), ("web", stage.floating, "its floating IP's")):
        peer = _caller(stage, name, here)
        stage.screen.proof(f"out: {here} sees {name} come from {peer}, {whose} address", holds=peer == expected)
    answer = _here("ping", "-c", "3", "-i", "0.2", "-w", "4", stage.floating)
    stage.screen.proof(f"in: ping from this machine to the floating IP {stage.floating} is answered",
                       holds=answer.code == 0, evidence=answer.text)  # fmt: skip
    try:
        with socket.create_connection((stage.floating, 22), timeout=5) as link:
            banner = link.recv(64).partition(b"\r\n")[0].decode()
    except OSError as error:
        banner = str(error)
    stage.screen.proof(f"in: TCP to the floating IP: {banner!r}", holds=banner.startswith("SSH-2.0"))


def _caller(stage: Stage, name: str, here: str) -> str:
    """Let a guest call this machine; returns the address that it is seen from."""
    seen: list[str] = []
    with socket.create_server((here, 0)) as server:
        server.settimeout(8)

        def accept() -> None:
            try:
                link, peer = server.accept()
            except TimeoutError:
                return
            seen.append(peer[0])
            link.close()

        waiting = threading.Thread(target=accept)
        waiting.start()
        stage.guests.run(name, f"nc -w 5 {here} {server.getsockname()[1]} </dev/null")
        waiting.join()
    return seen[0] if seen else "nowhere"


def _here(*argv: str) -> Answer:
    began = time.monotonic()
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    return Answer(done.returncode, done.stdout + done.stderr, time.monotonic() - began)


def _six(stage: Stage) -> None:
    for name in ("web", "db"):
        shown, took = stage.until(lambda name=name: _made_six(stage, name), 30, f"{name} makes an IPv6 address")
        text = f"{name} made the IPv6 address that the API foretold by SLAAC: {stage.six[name]} ({took:.1f} s waited)"
        stage.screen.proof(text, holds=f" {stage.six[name]}/64 " in shown, evidence=shown)
    _pings(stage, "web", "db", stage.six["db"], where="by IPv6")
    _pings(stage, "app", "web", stage.six["web"], where="by IPv6 across the router")


def _made_six(stage: Stage, name: str) -> str | None:
    """The guest's global IPv6 addresses once it may use them: it first asks whether another has them (RFC 4862)."""
    shown = stage.guests.run(name, "ip -6 -o addr show dev eth0 scope global").text
    return shown if "inet6" in shown and "tentative" not in shown else None


def _security_group(stage: Stage) -> None:
    """TCP port 9000 of db: blocked, allowed, cut off in the middle of a connection."""
    holds, evidence = guard.blocked(stage, "web", "db")
    text = f"no rule allows TCP {guard.ECHO_PORT}: db answers itself there, but not web"
    stage.screen.proof(text, holds=holds, evidence=evidence)
    guard.cut(stage, "web", "db")


def _spoofing(stage: Stage) -> None:
    """db takes an address that is not its own. That it works once it is allowed shows what kept it out."""
    web = stage.fixed["web"]
    stage.guests.run("db", f"ip addr add {SPOOFED_IP}/24 dev eth0")
    probe = ping(web, source=SPOOFED_IP)
    lied = pinged(stage.guests.tell("db", probe).text)
    stage.screen.proof(f"db sends as {SPOOFED_IP}: {lied}", holds=lied.silent)
    lied, own = guard.other_mac(stage, "db", SPOOFED_MAC, web)
    text = f"db sends from MAC {SPOOFED_MAC}: {lied}; from its own again: {own}"
    stage.screen.proof(text, holds=lied.silent and own.well)
    port = stage.client.ask(DEMO, "port", "list", "--server", "db", "-f", "value", "-c", "ID").strip()
    stage.client.run(DEMO, "port", "set", port, "--allowed-address", f"ip-address={SPOOFED_IP}")
    allowed, took = stage.until(lambda: _heard(stage.guests.run("db", probe)), 15, "db may use the address")
    stage.screen.proof(f"once the Port may use {SPOOFED_IP}: {allowed} ({took:.1f} s later)")
    stage.guests.run("db", f"ip addr del {SPOOFED_IP}/24 dev eth0")


def _heard(answer: Answer) -> Pinged | None:
    found = pinged(answer.text)
    return found if found.back else None


def _stranger(stage: Stage) -> None:
    """The other project's machine on the same addresses: alive on its own network, not there for ours."""
    text = f"the other project's stranger, {STRANGER} on its own 10.10.0.0/24"
    answer = stage.guests.tell("web", ping(STRANGER))
    found = pinged(answer.text)
    stage.screen.proof(f"{text}, cannot be reached: {found}", holds=found.silent)
    url = stage.client.run(OTHER, "console", "url", "show", "--serial", "stranger", "-f", "value", "-c", "url").strip()
    with serial(url) as console:
        own = console.run("hostname; ip -4 -o addr show dev eth0")
        near = pinged(console.run(ping(METADATA)).text)
        theirs = console.run(ping(stage.fixed["db"]))
    alive = "stranger" in own.text and STRANGER in own.text and near.well
    text = f"on its serial console it is alive: it has that address from DHCP; {METADATA}, on its own network: {near}"
    stage.screen.proof(text, holds=alive, evidence=own.text)
    found = pinged(theirs.text)
    text = f"and it does not reach db at {stage.fixed['db']}: {found}"
    stage.screen.proof(text, holds=found.silent, evidence=theirs.text)
