"""Chapter 5: stop and start, reboot, rebuild, a NIC that comes and goes; what happened, and how long it took.

Three machines live through it at the same time: db stops and starts, app reboots and is rebuilt, web gets a NIC.
"""

from datetime import datetime

from story.guest import ping, pinged
from story.stage import DEMO, Stage, decoded

GATEWAY = "10.20.0.1"
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"


def tell(stage: Stage) -> None:
    before = stage.guests.run("app", f"echo kept > /root/marker; sync; {BOOT_ID}").text
    for name in ("db", "app"):
        stage.guests.forget(name)
    stage.client.together(
        DEMO, ("server", "stop", "db"), ("server", "reboot", "app"), ("server", "add", "network", "web", "back")
    )
    _nic_came(stage)
    _stopped(stage)
    _nic_gone(stage)
    _rebooted(stage, before)
    _started(stage)
    _rebuilt(stage)
    _events(stage)


def _nic_came(stage: Stage) -> None:
    shown, took = stage.until(lambda: _second(stage, up=True), 40, "web has a second NIC with an address")
    stage.screen.proof(f"web got a second NIC while it ran, and its address by DHCP: {shown} ({took:.1f} s)")
    answer = stage.guests.run("web", ping(GATEWAY, source="eth1"))
    found = pinged(answer.text)
    stage.screen.proof(f"ping through it to the router at {GATEWAY}: {found}", holds=found.well, evidence=answer.text)


def _nic_gone(stage: Stage) -> None:
    stage.client.run(DEMO, "server", "remove", "network", "web", "back")
    _, took = stage.until(lambda: _second(stage, up=False), 40, "web's second NIC is gone")
    _, more = stage.until(lambda: _one_port(stage), 20, "web has one Port left")
    stage.screen.proof(f"removed again: web has one interface, and one Port ({took + more:.1f} s)")


def _second(stage: Stage, *, up: bool) -> str | None:
    """The address of web's second interface; or, if it is not to be up, whether there is none."""
    text = stage.guests.run("web", "ip -4 -o addr show dev eth1 || echo gone", seconds=8).text
    if not up:
        return text if "gone" in text else None
    return text.split("inet ")[1].split()[0] if "inet " in text else None


def _one_port(stage: Stage) -> bool | None:
    ports = stage.client.ask(DEMO, "port", "list", "--server", "web", "-f", "value", "-c", "ID").split()
    return True if len(ports) == 1 else None


def _stopped(stage: Stage) -> None:
    took = stage.status(DEMO, "db", "SHUTOFF")
    found = pinged(stage.guests.run("web", ping(stage.fixed["db"])).text)
    stage.screen.proof(f"db is SHUTOFF after {took:.1f} s and silent: {found}", holds=found.silent)
    stage.client.run(DEMO, "server", "start", "db")


def _started(stage: Stage) -> None:
    found = stage.booted(DEMO, "db", after=1)
    stage.guests.wait("db", 30)
    greeting = stage.guests.run("db", "cat /root/greeting").text
    stage.screen.proof(f"db has started again with the same disk, {found[1]} s of uptime", holds=greeting != "")


def _rebooted(stage: Stage, before: str) -> None:
    stage.booted(DEMO, "app", after=1)
    stage.guests.wait("app", 30)
    answer = stage.guests.run("app", f"{BOOT_ID}; cat /root/marker")
    after, _, marker = answer.text.partition("\n")
    good = after != before and marker == "kept"
    stage.screen.proof(f"app was rebooted (boot {before[:8]} -> {after[:8]}); its disk is the same", holds=good)
    stage.guests.forget("app")
    stage.client.run(
        DEMO, "server", "rebuild", "app", "--image", "guest-b", "-f", "value", "-c", "status", "-c", "image"
    )


def _rebuilt(stage: Stage) -> None:
    stage.until(lambda: _new_image(stage), 90, "app has booted from the new image", pause=0.5)
    stage.active(DEMO, "app")
    stage.guests.wait("app", 30)
    answer = stage.guests.run("app", ". /etc/os-release; echo $VARIANT; cat /root/greeting; ls /root/marker")
    good = answer.text.startswith("b\n") and "carried" in answer.text and "No such file" in answer.text
    text = f"app is rebuilt: image b, an empty disk, user data again, still at {stage.fixed['app']}"
    stage.screen.proof(text, holds=good, evidence=answer.text)


def _new_image(stage: Stage) -> bool | None:
    return True if "variant=b" in stage.client.ask(DEMO, "console", "log", "show", "app") else None


def _events(stage: Stage) -> None:
    """What happened to app, and the steps of each action with their durations."""
    stage.client.run(DEMO, "server", "event", "list", "app", "-c", "Action", "-c", "Start Time", "-c", "Request ID")
    actions = decoded(stage.client.ask(DEMO, "server", "event", "list", "app", "-f", "json"))
    requests = [action["Request ID"] for action in reversed(actions)]
    shown = [stage.client.start(DEMO, "server", "event", "show", "app", request, "-f", "json") for request in requests]
    for running in shown:
        action = decoded(stage.client.finish(running, most=0))
        steps = sorted(action["events"], key=lambda step: str(step["start_time"]))
        told = ", ".join(f"{step['event']} {_seconds(step['start_time'], step['finish_time']):.2f} s" for step in steps)
        whole = _seconds(action["start_time"], max(str(step["finish_time"]) for step in steps))
        stage.screen.proof(f"{action['action']} took {whole:.2f} s: {told}", holds=whole > 0)


def _seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
