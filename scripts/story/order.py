"""Chapter 2: image, keypair, security group, two networks for IPv4 and IPv6, a router to the outside, a floating IP."""

import hashlib
import subprocess
from pathlib import Path

from story.stage import ADMIN, DEMO, OTHER, Stage

ONE = ("-f", "value", "-c", "id")
FRONT, BACK = "10.10.0.0/24", "10.20.0.0/24"
FRONT_6, BACK_6 = "fd10:10::/64", "fd10:20::/64"


def tell(stage: Stage) -> None:
    _image(stage)
    _keypair(stage)
    _security_group(stage)
    _networks(stage)
    _router(stage)


def _image(stage: Stage) -> None:
    client = stage.client
    for name, file in (("guest", stage.image), ("guest-b", stage.image_b)):
        client.run(DEMO, "image", "create", name, "--file", str(file), "--disk-format", "qcow2", "--progress",
                   "-c", "status", "-c", "size", "-c", "checksum", terminal=True)  # fmt: skip
    told = client.ask(DEMO, "image", "show", "guest", "-f", "value", "-c", "checksum").strip()
    stage.screen.proof(f"the image's checksum is the file's: {told}", holds=told == _md5(stage.image))
    # The other project needs it as well, once; it is shared with it, and accepted.
    project = client.ask(ADMIN, "project", "show", OTHER, *ONE).strip()
    client.run(DEMO, "image", "add", "project", "guest", project, "-f", "value", "-c", "status")
    image = client.ask(DEMO, "image", "show", "guest", *ONE).strip()
    client.run(OTHER, "image", "set", "--accept", image)


def _md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()


def _keypair(stage: Stage) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "story", "-f", stage.key], check=True)
    stage.client.run(DEMO, "keypair", "create", "story", "--public-key", f"{stage.key}.pub", "-f", "value",
                     "-c", "fingerprint")  # fmt: skip


def _security_group(stage: Stage) -> None:
    rule = ("security", "group", "rule", "create", "door")
    stage.client.run(DEMO, "security", "group", "create", "door", *ONE)
    stage.client.together(
        DEMO,
        (*rule, "--protocol", "tcp", "--dst-port", "22", *ONE),
        (*rule, "--protocol", "icmp", *ONE),
        (*rule, "--ethertype", "IPv6", "--protocol", "ipv6-icmp", *ONE),
    )


def _networks(stage: Stage) -> None:
    client = stage.client
    client.together(DEMO, ("network", "create", "front", *ONE), ("network", "create", "back", *ONE))
    four = ("subnet", "create", *ONE, "--subnet-range")
    six = ("subnet", "create", *ONE, "--ip-version", "6", "--ipv6-ra-mode", "slaac", "--ipv6-address-mode", "slaac",
           "--subnet-range")  # fmt: skip
    client.together(
        DEMO,
        (*four, FRONT, "--network", "front", "front-4"),
        (*six, FRONT_6, "--network", "front", "front-6"),
        (*four, BACK, "--network", "back", "back-4"),
        (*six, BACK_6, "--network", "back", "back-6"),
    )
    stage.screen.note("Another project takes the same addresses, and lets every ping in:")
    client.run(OTHER, "network", "create", "front", *ONE)
    client.together(
        OTHER,
        (*four, FRONT, "--network", "front", "front-4"),
        ("security", "group", "rule", "create", "default", "--protocol", "icmp", *ONE),
    )


def _router(stage: Stage) -> None:
    client = stage.client
    client.run(DEMO, "router", "create", "edge", "--external-gateway", "public", *ONE)
    client.together(
        DEMO, *(("router", "add", "subnet", "edge", f"{net}-{v}") for net in ("front", "back") for v in "46")
    )
    stage.floating = client.run(
        DEMO, "floating", "ip", "create", "public", "-f", "value", "-c", "floating_ip_address"
    ).strip()
