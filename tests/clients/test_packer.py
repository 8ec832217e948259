"""Packer, a client by gophercloud, as Terraform is one: it starts a server with a floating IP and makes an image of it.

    keypair ─▶ server of the image ─▶ floating IP ─▶ stop ─▶ image, tagged ─▶ everything but the image away again

On real machines it would also log in and change something before it takes the image.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from openstack.connection import Connection

from tests.clients import test_sdk as sdk
from tests.clients.place import Place

pytestmark = pytest.mark.slow
SECONDS = 120


def test_a_story(place: Place, tmp_path: Path) -> None:
    before = place.look()
    with sdk.connection(place.admin) as admin, sdk.connection(place.smith()) as smith:
        sdk.furnish(admin)
        image = sdk.upload(admin, place.image(tmp_path))
        sdk.order_network(smith)
        build(tmp_path, template(smith, place))
        made = smith.image.find_image("forged", ignore_missing=False)
        assert (made.status, made.visibility, made.tags) == ("active", "private", ["steel"])
        assert (made.disk_format, made.min_disk) == ("qcow2", 1)
        assert smith.image.download_image(made).content[:4] == b"QFI\xfb"
        assert [key.name for key in smith.compute.keypairs()] == ["key"]
        assert not [*smith.compute.servers(), *smith.network.ips()]
        smith.image.delete_image(made)
        sdk.leave_network(smith)
        sdk.clear_away(admin, image)
    place.nothing_left(before)


def template(smith: Connection, place: Place) -> dict[str, Any]:
    who = place.smith()
    builder = {
        "type": "openstack", "identity_endpoint": who["auth_url"], "region": "RegionOne", "domain_name": "Default",
        "tenant_name": who["project_name"], "username": who["username"], "password": who["password"],
        "source_image_name": "iron", "flavor": "vm.small", "networks": [smith.network.find_network("floor").id],
        "floating_ip_network": "public", "security_groups": ["door"], "metadata": {"by": "packer"},
        "image_name": "forged", "image_tags": ["steel"], "communicator": "none",
    }  # fmt: skip
    return {"builders": [builder]}


def build(folder: Path, wanted: dict[str, Any]) -> None:
    file = folder / "forge.json"
    file.write_text(json.dumps(wanted))
    quiet = {"CHECKPOINT_DISABLE": "1", "PACKER_CONFIG_DIR": str(folder), "PACKER_CACHE_DIR": str(folder / "cache")}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "PACKER_"))}
    done = subprocess.run(
        ["packer", "build", "-color=false", str(file)], cwd=folder, env=kept | quiet, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
