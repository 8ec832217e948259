"""What a Redfish BMC shows beneath its system: secure boot, the light, BIOS attributes, firmware. It blocks.

A BMC that lacks one of these simply does not show it; what is set and is not there is refused in words.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import sushy
from sushy import exceptions as refused

from hagane.drivers.bmc.base import LIGHT, Parts, is_on
from hagane.errors import DeviceFailed

T = TypeVar("T")
_LIGHTS = {"on": sushy.IndicatorLED.LIT, "off": sushy.IndicatorLED.OFF, "blinking": sushy.IndicatorLED.BLINKING}
_ABSENT = (refused.MissingAttributeError, refused.ResourceNotFoundError, AttributeError)


def read(root: Any, system: Any) -> Parts:
    lit = {value: name for name, value in _LIGHTS.items()}.get(_there(lambda: system.indicator_led, None))
    return Parts(
        secure_boot=_there(lambda: system.secure_boot.enabled, None),
        indicators={LIGHT: lit} if lit else {},
        bios=_there(lambda: _texts(system.bios.attributes), {}),
        firmware=_there(lambda: _firmware(root), {}),
    )


def set_secure_boot(name: str, system: Any, *, on: bool) -> None:
    try:
        system.secure_boot.set_enabled(on)
    except _ABSENT:
        raise DeviceFailed(f"{name}: has no secure boot that could be set") from None


def set_bios(name: str, system: Any, settings: Mapping[str, object] | None) -> None:
    try:
        bios = system.bios
        bios.refresh(force=True)
        known: Mapping[str, Any] = bios.attributes
        if settings is None:
            bios.reset_bios()
            return
    except _ABSENT:
        raise DeviceFailed(f"{name}: has no BIOS settings that could be changed") from None
    if unknown := sorted(settings.keys() - known.keys()):
        raise DeviceFailed(f"{name}: has no BIOS setting {', '.join(unknown)}")
    bios.set_attributes({key: _typed(value, known[key]) for key, value in settings.items()})


def _typed(value: object, now: object) -> object:
    """A value as the BMC has it: clients of the bare-metal API often send texts only."""
    if isinstance(now, bool):
        return is_on(value)
    if isinstance(now, int) and str(value).lstrip("-").isdecimal():
        return int(str(value))
    return value


def set_indicator(name: str, system: Any, indicator: str, state: str) -> None:
    if indicator != LIGHT or state not in _LIGHTS:
        raise DeviceFailed(f"{name}: the indicator {indicator} cannot be set to {state}")
    try:
        system.set_indicator_led(_LIGHTS[state])
    except _ABSENT:
        raise DeviceFailed(f"{name}: has no indicator {indicator}") from None


def _there(ask: Callable[[], T], otherwise: T) -> T:
    try:
        return ask()
    except _ABSENT:
        return otherwise


def _texts(attributes: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in attributes.items()}


def _firmware(root: Any) -> dict[str, str]:
    members = root.get_update_service().firmware_inventory.get_members()
    return {str(one.name or one.identity): str(one.version) for one in members}
