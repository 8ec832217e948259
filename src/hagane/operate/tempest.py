"""`hagane tempest-conf`: the configuration with which Tempest tests this cloud, made from what the cloud itself says.

ask the services ─▶ make what is missing: two images, two flavors, a volume type, a subnet pool ─▶ write the file

What it makes are ordinary public things of the administrator; a second run finds them again by their names.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import yaml

from hagane import process
from hagane.config import Baremetal, Config
from hagane.errors import NotFound, Unavailable
from hagane.operate.client import Session
from hagane.operate.tempest_document import Facts, Section, document, text

IMAGES = ("tempest-a", "tempest-b")
TOOLS = "tempest-tools"  # an image with more programs in it
FLAVORS = (("tempest.small", 1, 128, 1), ("tempest.large", 1, 192, 2))
FLAVOR_OF_TOOLS = ("tempest.tools", 1, 192, 1)
SHARED_VOLUMES = "tempest-multiattach"
POOL = {"name": "tempest", "prefixes": ["10.200.0.0/16"], "default_prefixlen": 26, "shared": True, "is_default": True}
DRIVERS = "/baremetal/v1/drivers?detail=true"
COMPLIANCE = "/identity/v3/domains/default/config/security_compliance"
NEWEST = {"OpenStack-API-Version": "baremetal latest"}
SIMULATED_BYTES = 1 << 20  # what an image of a simulated cloud holds: nothing boots from it


@dataclass
class Written:
    """What the command did: its lines for a person, and the file's content."""

    lines: list[str]
    content: str


def write(config: Config, file: Path | None, *, validation: bool | None, tools: bool = False) -> Written:
    """Ask, make, write. Without a file the content is only returned. `validation`: log in to the machines; by default
    where they are real. `tools`: also make the image with real network tools. Raises HaganeError."""
    known = process.find(config)
    session = Session(config)
    lines: list[str] = []
    content = text(document(_facts(config, session, lines, file or Path.cwd() / "tempest.conf", validation=(
        (known is not None and not known.sim) if validation is None else validation), tools=tools)))  # fmt: skip
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)  # it holds the administrator's password
        file.chmod(0o600)
        file.write_text(content)
        lines.append(f"{file} written")
    return Written(lines, content)


def _facts(config: Config, session: Session, lines: list[str], file: Path, *, validation: bool, tools: bool) -> Facts:
    auth = yaml.safe_load((config.state / "clouds.yaml").read_text())["clouds"]["hagane"]["auth"]
    schema = session.call("GET", "/image/v2/schemas/image")["properties"]
    catalog = session.call("GET", "/identity/v3/auth/catalog")["catalog"]
    pools = session.call("GET", "/volume/v3/scheduler-stats/get_pools?detail=true")["pools"]
    _default_pool(session, lines)
    return Facts(
        url=auth["auth_url"].removesuffix("/identity/v3"),
        region=config.region,
        password=auth["password"],
        catalog=[entry["type"] for entry in catalog],
        compute=_current(session, "/compute/"),
        volume=_current(session, "/volume/v3/"),
        placement=_current(session, "/placement/"),
        images=_images(config, session, lines),
        flavors=(_flavor(session, lines, *FLAVORS[0]), _flavor(session, lines, *FLAVORS[1])),
        network=_external(session),
        network_extensions=_aliases(session, "/network/v2.0/extensions"),
        physical_networks=_physical(session),
        volume_extensions=_aliases(session, "/volume/v3/extensions"),
        container_formats=_formats(schema["container_format"], first=["bare"]),
        disk_formats=_formats(schema["disk_format"], first=["qcow2", "raw"]),
        import_methods=session.call("GET", "/image/v2/info/import")["import-methods"]["value"],
        pools=pools,
        shared_volumes=_shared_volumes(session, lines, pools),
        hosts=_hosts(session),
        folder=str(file.parent.absolute()),
        image_file="" if config.sim else str(_guest("a")),
        validation=validation,
        tools=(_image(config, session, lines, TOOLS), _flavor(session, lines, *FLAVOR_OF_TOOLS)) if tools else None,
        baremetal=_current(session, "/baremetal/"),
        patience=_patience(config.baremetal),
        drivers=Session(config, system=True).call("GET", DRIVERS, headers=NEWEST)["drivers"],
        compliance=session.call("GET", COMPLIANCE)["config"]["security_compliance"],
    )


def _patience(may: Baremetal) -> Section:
    """How long a Node may take, in the words of the plugin; undeploying ends with a cleaning."""
    return {
        "deploywait_timeout": int(may.bmc + may.network), "power_timeout": int(may.bmc),
        "active_timeout": int(may.deploy_callback), "unprovision_timeout": int(may.clean_callback),
        "inspect_timeout": int(may.inspect_callback), "rescue_timeout": int(may.rescue_callback),
        "unrescue_timeout": int(may.rescue_callback),
    }  # fmt: skip


def _current(session: Session, path: str) -> dict[str, Any]:
    """The entry of the version that a service recommends."""
    entries: list[dict[str, Any]] = session.call("GET", path)["versions"]
    return next(entry for entry in entries if entry["status"] == "CURRENT")


def _aliases(session: Session, path: str) -> list[str]:
    return sorted(entry["alias"] for entry in session.call("GET", path)["extensions"])


def _formats(said: dict[str, Any], *, first: list[str]) -> list[str]:
    """Those that the schema allows. Tests that need only one take the first."""
    allowed = [name for name in said["enum"] if name is not None]
    return [name for name in first if name in allowed] + [name for name in allowed if name not in first]


def _hosts(session: Session) -> list[str]:
    """The Hosts that run machines now."""
    services = session.call("GET", "/compute/v2.1/os-services?binary=nova-compute")["services"]
    return sorted(one["host"] for one in services if (one["state"], one["status"]) == ("up", "enabled"))


def _physical(session: Session) -> list[str]:
    """The physical networks for which every Host that is there has a bridge."""
    agents = [agent for agent in session.call("GET", "/network/v2.0/agents")["agents"] if agent["alive"]]
    mapped = [agent["configurations"]["bridge-mappings"].split(",") for agent in agents]
    named = [{entry.partition(":")[0] for entry in entries if entry} for entries in mapped]
    return sorted(set.intersection(*named)) if named else []


def _external(session: Session) -> dict[str, Any]:
    """The default one, else the first. Raises NotFound."""
    found: list[dict[str, Any]] = session.call("GET", "/network/v2.0/networks?router:external=true")["networks"]
    if not found:
        raise NotFound("No external network: Tempest needs one for routers and floating IPs.")
    return max(found, key=lambda network: bool(network["is_default"]))


# What tests start from


def _flavor(session: Session, lines: list[str], name: str, vcpus: int, ram: int, disk: int) -> str:
    """Its id."""
    for flavor in session.call("GET", "/compute/v2.1/flavors")["flavors"]:
        if flavor["name"] == name:
            lines.append(f"flavor {name} kept")
            return str(flavor["id"])
    body = {"flavor": {"name": name, "vcpus": vcpus, "ram": ram, "disk": disk}}
    lines.append(f"flavor {name} made ({vcpus} vCPU, {ram} MiB, {disk} GiB)")
    return str(session.call("POST", "/compute/v2.1/flavors", body)["flavor"]["id"])


def _shared_volumes(session: Session, lines: list[str], pools: list[dict[str, Any]]) -> str:
    """The type of volumes that several Servers may have at once, where a backend can; "" where none can."""
    if not any(pool["capabilities"].get("multiattach") is True for pool in pools):
        return ""
    types = session.call("GET", f"/volume/v3/{session.project_id}/types")["volume_types"]
    if any(kind["name"] == SHARED_VOLUMES for kind in types):
        lines.append(f"volume type {SHARED_VOLUMES} kept")
        return SHARED_VOLUMES
    kind = {"name": SHARED_VOLUMES, "extra_specs": {"multiattach": "<is> True"}}
    session.call("POST", f"/volume/v3/{session.project_id}/types", {"volume_type": kind})
    lines.append(f"volume type {SHARED_VOLUMES} made")
    return SHARED_VOLUMES


def _default_pool(session: Session, lines: list[str]) -> None:
    """Networks that projects get by themselves take their subnets from the default pool, an administrator's."""
    if session.call("GET", "/network/v2.0/subnetpools?is_default=true")["subnetpools"]:
        lines.append("default subnet pool kept")
        return
    session.call("POST", "/network/v2.0/subnetpools", {"subnetpool": POOL})
    lines.append(f"default subnet pool {POOL['name']} made (10.200.0.0/16)")


def _images(config: Config, session: Session, lines: list[str]) -> tuple[str, str]:
    ids = [_image(config, session, lines, name) for name in IMAGES]
    return ids[0], ids[1]


def _image(config: Config, session: Session, lines: list[str], name: str) -> str:
    """Its id. One whose content did not arrive, as an earlier run was interrupted, is made again."""
    found = session.call("GET", f"/image/v2/images?name={quote(name)}&owner={session.project_id}")["images"]
    for image in found:
        if image["status"] == "active":
            lines.append(f"image {name} kept")
            return str(image["id"])
        session.call("DELETE", f"/image/v2/images/{image['id']}")
    body = {"name": name, "visibility": "public", "container_format": "bare",
            "disk_format": "raw" if config.sim else "qcow2"}  # fmt: skip
    image = session.call("POST", "/image/v2/images", body)
    for content in _content(config, name):
        session.upload(f"/image/v2/images/{image['id']}/file", content)
        lines.append(f"image {name} made ({content.tell() >> 20} MiB)")
    return str(image["id"])


def _content(config: Config, name: str) -> Iterator[BinaryIO]:
    """The guest image's file, or zeros for machines that are none."""
    if config.sim:
        with tempfile.TemporaryFile() as zeros:
            zeros.truncate(SIMULATED_BYTES)
            yield zeros
        return
    with _guest(name.removeprefix("tempest-")).open("rb") as file:
        yield file


def _guest(variant: str) -> Path:
    """Built of Debian packages, or from the cache. Raises Unavailable."""
    from hagane.lab import guest, guest_package

    path = guest.build(variant=variant, more=guest_package.TESTING if f"tempest-{variant}" == TOOLS else ()).path
    if not path.exists():
        raise Unavailable(f"The guest image {path} is not there.")
    return path
