"""How fast a volume may be, as numbers: what a machine's Host holds to of a QoS spec (`consumer` front-end or both).

Keys are those of Cinder and libvirt's `iotune`: `total_`, `read_` or `write_` with `bytes_sec` or `iops_sec`, each with
`_max` for a burst, and `size_iops_sec`. With `_per_gb` the number counts for each GiB, from `_per_gb_min` on and up to
`_max`. Other keys are a backend's own: they are kept and handed on as they are.
"""

from collections.abc import Mapping
from typing import Any

from hagane.errors import Invalid
from hagane.state.database import Reader, Row
from hagane.volume.type_row import QOS, TYPE

HOST = ("front-end", "both")
UNITS = ("bytes_sec", "iops_sec")
STEMS = tuple(f"{way}_{unit}" for unit in UNITS for way in ("total", "read", "write"))
KEYS = (*STEMS, *(f"{stem}_max" for stem in STEMS), "size_iops_sec")  # what a Host understands
_NUMBERS = {*KEYS, *(f"{stem}_per_gb{end}" for stem in STEMS for end in ("", "_min"))}


async def of(reader: Reader, volume: Row) -> dict[str, str] | None:
    """What a volume's connection says of its speed; None: nothing."""
    kind = await TYPE.get(reader, id=volume["type_id"]) if volume["type_id"] else None
    spec = await QOS.get(reader, id=kind["qos_specs_id"]) if kind and kind["qos_specs_id"] else None
    if spec is None or spec["consumer"] not in HOST or not spec["specs"]:
        return None
    return at_size(spec["specs"], volume["size"])


def at_size(specs: Mapping[str, str], size: int) -> dict[str, str]:
    """The same for a volume of `size` GiB: nothing is left that counts for each of them."""
    found = {key: text for key, text in specs.items() if "_per_gb" not in key}
    for stem in STEMS:
        if each := specs.get(f"{stem}_per_gb"):
            least = max(int(each) * size, int(specs.get(f"{stem}_per_gb_min", 0)))
            found[stem] = str(min(least, int(found.pop(f"{stem}_max", least))))
    return found


def check(consumer: str, specs: Mapping[str, Any]) -> None:
    """Refuse what no Host could hold to. Raises Invalid."""
    if consumer not in HOST:
        return
    for key in sorted(_NUMBERS & set(specs)):
        if not (text := str(specs[key])).isascii() or not text.isdigit() or int(text) >= 1 << 63:
            raise Invalid(f"{key} must be a whole number, not {specs[key]!r}.", code="InvalidQoSSpecs")
    given = {stem for stem in STEMS if {stem, f"{stem}_max", f"{stem}_per_gb"} & set(specs)}
    for unit in UNITS:
        if f"total_{unit}" in given and given & {f"read_{unit}", f"write_{unit}"}:
            text = f"total_{unit} cannot stand beside read_{unit} or write_{unit}."
            raise Invalid(text, code="InvalidQoSSpecs")
