"""The unmodified `openstack` client: importing images, and metadata definitions."""

from pathlib import Path

import httpx

from tests.api.test_identity_client import run
from tests.support import Running

STORY = """
image create --disk-format raw --container-format bare --file {file} --import brought
image stage --file {file} staged
image import staged
image show staged -c status -f value
image task list
image import info
image metadef namespace create --public space
image metadef object create --namespace space thing
image metadef property create --name cores --title Cores --type integer --schema {{}} space
image metadef namespace list
image metadef namespace show space
image metadef object list space
image metadef property list space
image metadef resource type list
image metadef resource type association create space OS::Nova::Server
image metadef resource type association list space
image metadef namespace delete space
"""


def test_a_story(cloud: Running, http: httpx.Client, tmp_path: Path) -> None:
    file = tmp_path / "disk.raw"
    file.write_bytes(bytes(4096))
    http.post("/image/v2/images", json={"name": "staged", "disk_format": "raw", "container_format": "bare"})
    seen = run(cloud, STORY.format(file=file))
    for word in ("HTTP", "Exception", "Could not", "No ", "error", "usage"):
        assert not [line for line in seen.splitlines() if word in line and "http" not in line], seen
    for text in ("brought", "\nactive\n", "api_image_import", "glance-direct", "OS::Nova::Server", "Cores"):
        assert text in seen, (text, seen)
    states = {image["name"]: image["status"] for image in http.get("/image/v2/images").json()["images"]}
    assert states == {"brought": "active", "staged": "active"}
