"""Chapter 3: four machines. ACTIVE is running and plugged; the console shows the boot; each got what it was promised.

web  front, metadata from 169.254.169.254, has the floating IP      app       back
db   front, config drive                                            stranger  the other project's front
"""

import json

from story import world
from story.stage import DEMO, OTHER, Stage, decoded

ONE = ("-f", "value", "-c", "id")
FRONT_OF_WEB, FRONT_OF_DB, STRANGER = "10.10.0.10", "10.10.0.20", "10.10.0.66"
GREETING = "carried by user data"
USER_DATA = f"#!/bin/sh\necho '{GREETING}' > /root/greeting\n"


def tell(stage: Stage) -> None:
    _create(stage)
    took = stage.active(DEMO, "web", "db", "app")
    stage.client.run(DEMO, "server", "list", "-c", "Name", "-c", "Status", "-c", "Networks")
    _truly(stage, took)
    stage.client.run(DEMO, "server", "add", "floating", "ip", "web", stage.floating)
    _learn(stage)
    for name in ("web", "db", "app"):
        _booted(stage, name)
    key = stage.key
    stage.guests.reach(key, ("web", stage.floating), ("db", stage.fixed["db"]), ("app", stage.fixed["app"]))
    for name in ("web", "db", "app"):
        took = stage.guests.wait(name, 30)
        stage.screen.proof(f"ssh into {name} with the keypair's key: {took:.1f} s")
    _metadata(stage)


def _create(stage: Stage) -> None:
    data = stage.folder / "user-data"
    data.write_text(USER_DATA)
    make = ("server", "create", "--image", "guest", "--flavor", "m1.nano", *ONE)
    ours = ("--key-name", "story", "--security-group", "door", "--user-data", str(data))
    begun = [
        stage.client.start(DEMO, *make, *ours, "--nic", f"net-id=front,v4-fixed-ip={FRONT_OF_WEB}", "web"),
        stage.client.start(
            DEMO, *make, *ours, "--nic", f"net-id=front,v4-fixed-ip={FRONT_OF_DB}", "--config-drive", "true", "db"
        ),
        stage.client.start(DEMO, *make, *ours, "--network", "back", "app"),
        stage.client.start(OTHER, *make, "--nic", f"net-id=front,v4-fixed-ip={STRANGER}", "stranger"),
    ]
    for running in begun:
        stage.ids[running.words[-1]] = stage.client.finish(running).strip()


def _truly(stage: Stage, took: float) -> None:
    """Whether what is called ACTIVE is running by libvirt's word, and plugged by OVN's."""
    running, plugged = world.running(stage.site), world.plugged(stage.site)
    ports = stage.client.ask(DEMO, "port", "list", "--device-owner", "compute:nova", "-f", "value", "-c", "ID").split()
    good = {stage.ids[name] for name in ("web", "db", "app")} <= running and len(ports) == 3 and set(ports) <= plugged
    text = f"ACTIVE {took:.1f} s after the last order: libvirt says that they run, OVN that their Ports are up"
    stage.screen.proof(text, holds=good, evidence=f"run: {running}\nup: {plugged}\nports: {ports}")


def _learn(stage: Stage) -> None:
    """The addresses that the cloud gave to the machines."""
    for line in decoded(stage.client.ask(DEMO, "server", "list", "-f", "json", "-c", "Name", "-c", "Networks")):
        addresses = [a for found in line["Networks"].values() for a in found if a != stage.floating]
        stage.fixed[line["Name"]] = next(a for a in addresses if ":" not in a)
        stage.six[line["Name"]] = next(a for a in addresses if ":" in a)


def _booted(stage: Stage, name: str) -> None:
    found = stage.booted(DEMO, name)
    kernel = next((line for line in stage.console[name].splitlines() if "Linux version" in line), "")
    stage.screen.proof(
        f"{name}'s console log shows the whole boot, from the kernel to its last line after {found[1]} s of uptime",
        holds=bool(kernel), evidence=stage.console[name],
    )  # fmt: skip


def _metadata(stage: Stage) -> None:
    """Key, hostname and user data: by HTTP in one guest, from a config drive in another."""
    screen, guests = stage.screen, stage.guests
    told = guests.tell("web", "wget -q -O - http://169.254.169.254/openstack/latest/meta_data.json").text
    known = json.loads(told)
    key = stage.key.with_suffix(".pub").read_text().strip()
    right = known["uuid"] == stage.ids["web"] and known["hostname"].startswith("web")
    right = right and known["public_keys"]["story"].strip() == key
    screen.proof(f"169.254.169.254 knows web: {known['uuid']}, {known['hostname']}, its key", holds=right)
    for name, source in (("web", "http"), ("db", "config-drive"), ("app", "http")):
        answer = guests.run(name, "hostname; cat /root/greeting; ls /run/config/openstack/latest 2>/dev/null")
        lines = answer.text.splitlines()
        found = stage.booted(DEMO, name)[3]
        good = lines[:2] == [name, GREETING] and found == source and (len(lines) > 2) == (source == "config-drive")
        screen.proof(f"{name} has its hostname, key and user data from {source}", holds=good, evidence=answer.text)
