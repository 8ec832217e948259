"""How a Node boots its ramdisk: from its row to a boot driver's plan. Pure."""

from hagane.baremetal.provision import Start
from hagane.drivers.bmc.base import BootMode
from hagane.drivers.boot import DRIVERS
from hagane.drivers.boot.base import BootNode, BootPlan
from hagane.errors import Invalid
from hagane.state.database import Row

API = "/baremetal"
INSPECTION = "inspection"
DEFAULT = "%default%"


def mode(node: Row) -> BootMode:
    """In which mode a Node boots: what its operator says, else what its BMC shows, else UEFI, as new machines do."""
    properties = node["properties"] or {}
    said = properties.get("boot_mode") or _capabilities(properties).get("boot_mode") or node["boot_mode"] or "uefi"
    try:
        return BootMode(str(said).lower())
    except ValueError:
        raise Invalid(f"Node {node['id']} has the boot mode {said!r}; there are bios and uefi.") from None


def _capabilities(properties: Row) -> dict[str, str]:
    """`properties/capabilities`: "boot_mode:uefi,cpu_vt:true"."""
    text = str(properties.get("capabilities") or "")
    return {name.strip(): value.strip() for name, _, value in (part.partition(":") for part in text.split(","))}


def parameters(node: Row, base: str, role: str, default: str, always: str = "") -> str:
    """The kernel command line of the ramdisk: what the agent asks for, what the operator says (or the default), and
    what this ramdisk always wants."""
    words = [f"ipa-api-url={base}{API}"]
    if role == INSPECTION:
        words += [f"ipa-inspection-callback-url={base}{API}/v1/continue_inspection", "ipa-collect-lldp=1"]
    own = (node["driver_info"] or {}).get("kernel_append_params")
    words += [default if own is None else str(own).replace(DEFAULT, default), always]
    text = " ".join(" ".join(words).split())
    if not text.isprintable() or {"'", '"', "$", "\\", "{", ";", "|", "&"} & set(text):
        raise Invalid(f"kernel_append_params of node {node['id']} has characters that a boot loader would act upon.")
    return text


def plan(
    node: Row, *, base: str, role: str, media: str = "", default: str = "", always: str = ""
) -> BootPlan:  # fmt: skip
    """Raises Invalid when the Node's boot interface and mode do not go together."""
    driver = DRIVERS.get(node["boot_interface"] or "")
    if driver is None:
        raise Invalid(f"Node {node['id']} has the boot interface {node['boot_interface']!r}, which boots no ramdisk.")
    how = mode(node)
    if how not in driver.modes:
        fit = ", ".join(sorted(driver.modes))
        raise Invalid(f"The boot interface {driver.name} works in {fit} mode only; node {node['id']} is in {how}.")
    return driver.plan(BootNode(how, base, parameters(node, base, role, default, always), media))


def start(node: Row, made: BootPlan) -> Start:
    """A plan in the words that the bare-metal side knows."""
    media = {slot.value: url for slot, url in made.media.items()}
    return Start(dict(made.dhcp), made.device.value, mode(node).value, made.http_uri, media)
