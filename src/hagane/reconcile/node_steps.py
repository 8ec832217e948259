"""The steps that a ramdisk takes: deploying, cleaning, servicing. One at a time, each written down when it has ended.

    list (once) ─▶ step ─start─▶ command RUNNING ─poll─▶ SUCCEEDED ─▶ next step ... ─▶ done
                                      └─ FAILED, silence, power gone ─▶ failed, with the cause

A process that was killed after it had begun a command finds it again: the ramdisk takes one at a time, so one that is
busy with a command of this name is busy with ours.
"""

from typing import Any

from hagane.baremetal import node_step
from hagane.baremetal.deploy_template import DeployTemplates
from hagane.baremetal.nic import Nics
from hagane.baremetal.node_secret import masked
from hagane.baremetal.node_step import Step
from hagane.drivers.bmc.base import BmcDesired, Power
from hagane.drivers.deploy import params
from hagane.drivers.deploy.base import Agent, Command, CommandState
from hagane.errors import DeviceFailed, HaganeError, Unavailable
from hagane.reconcile import node_bios, node_cable, node_image, node_plan
from hagane.reconcile.node_agent import agent_of
from hagane.reconcile.node_job import Hold, Job, Later, Next, Turn
from hagane.state import clock

OF_STEP = ("command", "held", "until", "step_since", "bios", "bios_shown")
"""What `life` knows of one step."""
CURRENT = {"deploy": "deploy_step", "clean": "clean_step", "service": "service_step"}


async def steps(job: Job) -> Turn:
    try:
        if not job.life.get("listed"):
            await _list(job)
        while (step := _current(job)) is not None:
            turn = await _take(job, step)
            if not isinstance(turn, Next) or turn.phase:
                return turn  # with a phase: the step goes on after another start
            again = bool(step.get("reboot_requested"))
            job.life = {key: value for key, value in job.life.items() if key not in OF_STEP}
            job.life["index"] = job.life.get("index", 0) + 1
            if again and _current(job) is not None:
                return Next("boot")
            await job.save()
        await _sync(job)
    except Unavailable as error:
        return await _silent(job, error)
    job.changes[CURRENT[job.kind]] = {}
    return Next()


def _names(job: Job) -> str:
    return f"{job.kind}_steps"


def _current(job: Job) -> Step | None:
    found: list[Step] = job.info.get(_names(job)) or []
    index = job.life.get("index", 0)
    return found[index] if index < len(found) else None


def _has_ramdisk(job: Job) -> bool:
    return "start" in node_plan.path(job.row)


# -- which steps -----------------------------------------------------------------------------------------------------


async def _list(job: Job) -> None:
    """Which steps there will be, asked and written once. Raises Invalid for one that nobody has."""
    offered = node_step.of_bmc(job.row["bios_interface"])
    if _has_ramdisk(job):
        answer = await job.live(
            (await agent_of(job)).call(f"{job.kind}.get_{job.kind}_steps", params.steps(*await _machine(job)))
        )
        result = _succeeded(answer).result
        offered += node_step.offered(result.get(f"{job.kind}_steps") or {})
        job.internal["hardware_manager_version"] = result.get("hardware_manager_version") or {}
    job.internal[_names(job)] = await _chosen(job, offered)
    job.life |= {"listed": True, "index": 0}
    await job.save()


async def _chosen(job: Job, offered: list[Step]) -> list[Step]:
    manual = job.row["target_provision_state"] == "manageable" or job.kind == "service"
    asked: list[Step] = job.info.get(_names(job)) or []
    if job.kind == "deploy":
        wanted = list(job.info.get("user_deploy_steps") or [])
        if not _has_ramdisk(job):
            return [step for step in wanted if step["step"] in node_step.RESERVED]
        return node_step.deploying(offered, await _templates(job), wanted)
    if manual:
        # Without a ramdisk: all of them on a machine whose interfaces are fake, else those that need none.
        return asked if job.row["deploy_interface"] == "fake" else node_step.manual(asked, offered, job.kind)
    override = job.tools.cloud.config.baremetal.clean_step_priority_override
    return node_step.cleaning(offered, override) if _has_ramdisk(job) else []


async def _templates(job: Job) -> list[Step]:
    """Steps of the deploy templates that the Node's tenant asked for by their traits."""
    traits = (job.row["instance_info"] or {}).get("traits") or []
    if not traits:
        return []
    found = await DeployTemplates.table.select(job.tools.db, {"name": traits}, order="name")
    return [step for template in found for step in template["steps"]]


# -- one step --------------------------------------------------------------------------------------------------------


async def _take(job: Job, step: Step) -> Turn:
    name = str(step["step"])
    shown = "write-image" if name == "write_image" else name
    if job.row[CURRENT[job.kind]] != _shown(step):
        job.changes[CURRENT[job.kind]] = _shown(step)
    entry = job.begin(shown)
    job.life.setdefault("step_since", clock.wall())
    if name in node_step.RESERVED:
        turn = await _reserved(job, step)
    elif node_step.is_bmcs(step, job.row["bios_interface"]):
        turn = await node_bios.take(job, step, ramdisk=_has_ramdisk(job))
    elif _has_ramdisk(job):
        turn = await _command(job, step, entry)
    else:
        turn = Next()
    if isinstance(turn, Next) and not turn.phase:
        job.finish(shown)
    return turn


def _shown(step: Step) -> Step:
    return {"step": step["step"], "interface": step["interface"], "args": masked(step.get("args") or {}),
            "priority": step.get("priority", 0)}  # fmt: skip


async def _reserved(job: Job, step: Step) -> Turn:
    match step["step"]:
        case "hold":
            if job.life.get("held"):
                return Next()
            job.life["held"] = True
            return Hold()
        case "wait":
            return _pause(job, step)
        case "power_on":
            await job.apply(BmcDesired(Power.ON))
        case "power_off":
            await job.apply(BmcDesired(Power.OFF))
        case "reboot":
            await job.apply(BmcDesired(Power.ON, resets=1))
    return Next()


def _pause(job: Job, step: Step) -> Turn:
    """So many seconds, or until the ramdisk says next that it is there."""
    seconds = (step.get("args") or {}).get("seconds")
    if seconds is None:
        beat = job.info.get("agent_last_heartbeat")
        if not _has_ramdisk(job) or (beat is not None and job.life.setdefault("until", beat) != beat):
            return Next()
        return Later(job.tools.times.look, "A step waits for the next heartbeat of the ramdisk.")
    until = job.life.setdefault("until", clock.wall() + float(seconds))
    left = until - clock.wall()
    return Next() if left <= 0 else Later(left, f"A step waits for {seconds} s.")


async def _command(job: Job, step: Step, entry: dict[str, Any]) -> Turn:
    agent, key = await agent_of(job), job.life.get("command")
    if key is None:
        name, arguments = await _order(job, step)
        if not name:
            return Next()
        command = await _begin(job, agent, name, arguments)
        job.life["command"] = command.id
    else:
        command = await job.live(agent.result(key))
    if command.state is CommandState.RUNNING:
        entry["progress"], message = node_image.progress(job) if step["step"] == "write_image" else (None, "")
        entry["message"] = message or entry["message"]
        pause = min(0.2, job.soon()) if entry["progress"] == 100 else job.soon()
        return Later(pause, f"The ramdisk is busy with {step['step']}. {message}".strip())
    if command.state is CommandState.MISMATCH:
        job.life["listed"] = False
        return Later(job.tools.times.agent, "The ramdisk was replaced by another version; its steps are asked anew.")
    if step["step"] == "write_image":
        entry["message"] = node_image.progress(job)[1] or entry["message"]
    _succeeded(command, node_image.problem(job) if step["step"] == "write_image" else "")
    return Next()


async def _order(job: Job, step: Step) -> tuple[str, dict[str, Any]]:
    """The ramdisk's command for a step; "" when there is nothing to be done."""
    if step["step"] == "write_image":
        return "standby.prepare_image", await job.live(node_image.order(job))
    if step["step"] == "prepare_instance_boot":
        return await node_image.bootloader(job)
    node, ports = await _machine(job)
    versions = job.info.get("hardware_manager_version")
    return f"{job.kind}.execute_{job.kind}_step", params.execute_step(job.kind, step, node, ports, versions)


async def _begin(job: Job, agent: Agent, name: str, arguments: dict[str, Any]) -> Command:
    try:
        return await job.live(agent.start(name, arguments))
    except DeviceFailed as error:
        if error.code != "AgentBusy":
            raise
        running = [one for one in await job.live(agent.commands()) if one.state is CommandState.RUNNING]
        if not running or running[-1].name != name:
            raise
        return running[-1]


async def _sync(job: Job) -> None:
    """What was written is on the disk before the power goes."""
    if _has_ramdisk(job) and job.kind == "deploy":
        _succeeded(await job.live((await agent_of(job)).call("standby.sync", {})))


def _succeeded(command: Command, problem: str = "") -> Command:
    if command.state is CommandState.FAILED:
        raise DeviceFailed(f"The ramdisk could not do {command.name}: {command.error} {problem}".strip())
    return command


async def _machine(job: Job) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The Node and its Nics as the ramdisk wants to know them."""
    row = job.row | {"uuid": job.id, "driver_internal_info": masked(job.info)}
    nics = await Nics.table.select(job.tools.db, {"node_id": job.id}, order="created_at, id")
    ports = [{"uuid": nic["id"], "address": nic["address"], "pxe_enabled": nic["pxe_enabled"]} for nic in nics]
    return params.agent_node(row), ports


async def _silent(job: Job, error: HaganeError) -> Turn:
    """The ramdisk does not answer: busy for a moment, or gone."""
    name = (_current(job) or {}).get("step", "its work")
    if await job.live(job.bmc.power()) is Power.OFF:
        raise DeviceFailed(f"The machine was switched off while {name} was going on.")
    beat = job.info.get("agent_last_heartbeat")
    heard = clock.seconds(str(beat) if beat else job.life["since"])
    quiet = clock.wall() - max(job.tools.began, heard)
    if quiet > job.tools.times.heartbeat:
        why = f"{error.message}{await node_cable.dark(job)}"
        raise DeviceFailed(f"The ramdisk has said nothing for {quiet:.0f} s while {name} was going on. {why}")
    return Later(min(job.tools.times.look, 2.0), f"The ramdisk does not answer: {error.message}")
