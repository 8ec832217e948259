"""BIOS settings, as steps of cleaning, deploying and servicing: `bios.apply_configuration`, `bios.factory_reset`.

asked of the BMC ─▶ the machine is started anew, its ramdisk with it ─▶ the BMC shows them so ─▶ done
                                                                        └─ not within `bmc` seconds ─▶ failed
"""

from typing import Any

from hagane.baremetal.node_step import Step
from hagane.drivers.bmc.base import BmcDesired, Power, is_on
from hagane.errors import DeviceFailed, Invalid
from hagane.reconcile.node_job import Job, Later, Next, Turn
from hagane.state import clock


async def take(job: Job, step: Step, *, ramdisk: bool) -> Turn:
    """One of the two steps. Raises Invalid, DeviceFailed, Unavailable."""
    wanted = settings(step)
    if "bios" not in job.life:
        await job.live(job.bmc.set_bios(wanted))
        if not ramdisk:
            await job.apply(BmcDesired(Power.ON, resets=1))
        job.life["bios"] = clock.wall()
        if ramdisk:
            return Next("boot")
    await job.look_closely()
    if not (lacking := _lacking(job, wanted or {})):
        return Next()
    why = f"After its start the machine does not show the BIOS settings {', '.join(lacking)} as they were asked for."
    if clock.wall() - job.life.setdefault("bios_shown", clock.wall()) > job.tools.times.device:
        raise DeviceFailed(why)
    return Later(job.tools.times.look, why)


def settings(step: Step) -> dict[str, Any] | None:
    """What a step asks for; None: as the machine left the factory. Raises Invalid."""
    match str(step["step"]), (step.get("args") or {}).get("settings"):
        case "factory_reset", _:
            return None
        case "apply_configuration", [_, *_] as given if all(
            isinstance(one, dict) and one.get("name") and one.get("value") is not None for one in given
        ):
            return {str(one["name"]): one["value"] for one in given}
    raise Invalid(f"The step bios.{step['step']} takes settings: a list of name and value.")


def _lacking(job: Job, wanted: dict[str, Any]) -> list[str]:
    shown = {one["name"]: one["value"] for one in (job.row | job.changes)["seen"].get("bios") or []}
    return sorted(name for name, value in wanted.items() if not is_so(shown.get(name, ""), value))


def is_so(shown: str, wanted: object) -> bool:
    """Whether a BIOS setting is as it was asked for: what is a boolean is asked for in several words."""
    if shown.lower() in ("true", "false"):
        return is_on(wanted) == is_on(shown)
    return shown.lower() == str(wanted).lower()
