"""An emulated SONiC switch: the shell commands that reach its CONFIG_DB, and what `config apply-patch` checks."""

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from hagane.lab.switch.box import Memory
from hagane.lab.switch.server import Process, SwitchServer

Config = dict[str, dict[str, dict[str, Any]]]


class Refused(Exception):
    """The patch cannot be applied, and why."""


class SonicBox(Memory[Config]):
    def names(self) -> tuple[str, ...]:
        return tuple(self.running["PORT"])

    def port(self, name: str) -> str:
        return repr(_of(self.running, name))

    def hand(self, name: str, native: int, tagged: frozenset[int] = frozenset()) -> None:
        _drop(self.running, name)
        for vlan in {native, *tagged}:
            self.running.setdefault("VLAN", {}).setdefault(f"Vlan{vlan}", {"vlanid": str(vlan)})
            mode = "untagged" if vlan == native else "tagged"
            self.running.setdefault("VLAN_MEMBER", {})[f"Vlan{vlan}|{name}"] = {"tagging_mode": mode}

    def made(self) -> set[int]:
        return {int(row["vlanid"]) for row in self.running.get("VLAN", {}).values()} - {1}

    def forget(self, wanted: Config, name: str) -> None:
        _drop(wanted, name)
        for table, rows in _of(self.running, name).items():
            wanted.setdefault(table, {}).update(deepcopy(rows))

    def same(self, one: Config, other: Config) -> bool:
        return one == other


def _of(config: Config, name: str) -> Config:
    """All rows that speak of a port."""
    found = {table: {k: row for k, row in rows.items() if name in k.split("|")} for table, rows in config.items()}
    return {table: rows for table, rows in found.items() if rows}


def _drop(config: Config, name: str) -> None:
    for table in ("VLAN_MEMBER", "PORTCHANNEL_MEMBER"):
        config[table] = {k: row for k, row in config.get(table, {}).items() if name not in k.split("|")}
        if not config[table]:
            del config[table]


def patched(config: Config, patch: list[dict[str, Any]]) -> Config:
    """The configuration after a JSON patch. Raises Refused."""
    wanted: Any = deepcopy(config)
    for change in patch:
        *path, last = [part.replace("~1", "/").replace("~0", "~") for part in change["path"].split("/")[1:]]
        place = wanted
        for part in path:
            if part not in place:
                raise Refused(f"member '{part}' not found in {sorted(place)[:5]}")
            place = place[part]
        if change["op"] == "remove":
            if last not in place:
                raise Refused(f"can't remove a non-existent object '{last}'")
            del place[last]
        else:
            place[last] = change["value"]
    checked: Config = wanted
    check(checked)
    return checked


def check(config: Config) -> None:
    """What the models of SONiC do not allow."""
    if empty := [table for table, rows in config.items() if not rows]:
        raise Refused(f"Given patch will result in empty tables which is not allowed in ConfigDb. Table(s): {empty}")
    members = {key.partition("|")[2]: key.partition("|")[0] for key in config.get("PORTCHANNEL_MEMBER", {})}
    routed = {key.partition("|")[0] for key in config.get("INTERFACE", {})}
    known = {**config["PORT"], **config.get("PORTCHANNEL", {})}
    for key in config.get("VLAN_MEMBER", {}):
        vlan, _, name = key.partition("|")
        if vlan not in config.get("VLAN", {}):
            raise Refused(f'Data Loading Failed: Leafref "{vlan}" of VLAN_MEMBER points to a non-existing leaf.')
        if name not in known:
            raise Refused(f'Data Loading Failed: "{name}" in VLAN_MEMBER is no port.')
        if name in members or name in routed:
            raise Refused(
                f"Data Loading Failed: {name} is a {'member of a port channel' if name in members else 'router'}"
            )
    for name, channel in members.items():
        if channel not in config.get("PORTCHANNEL", {}):
            raise Refused(f'Data Loading Failed: Leafref "{channel}" points to a non-existing leaf.')
        if name in routed:
            raise Refused(f"Data Loading Failed: {name} is a router interface")
    for name, row in config["PORT"].items():
        if not 68 <= int(row.get("mtu", 9100)) <= 9216:
            raise Refused(
                f'Data Loading Failed: Value "{row["mtu"]}" of mtu of {name} does not satisfy the range 68..9216'
            )


class Shell:
    """The commands of one switch: each answers its exit status, output and complaint."""

    def __init__(self, box: SonicBox) -> None:
        self.box = box
        self._commands: dict[str, Callable[[], str]] = {
            "true": str,
            "sudo -n sonic-cfggen -d --print-data": lambda: json.dumps(box.running, indent=4) + "\n",
            "sudo -n cat /etc/sonic/config_db.json": lambda: json.dumps(box.startup, indent=4) + "\n",
            "show interfaces status": self._status,
            "sudo -n config save -y": self._save,
        }

    async def run(self, command: str, given: str) -> tuple[int, str, str]:
        if command == "cat | sudo -n config apply-patch /dev/stdin":
            return await self._apply(json.loads(given))
        if command not in self._commands:
            return 127, "", f"-bash: {command.split()[0]}: command not found\n"
        return 0, self._commands[command](), ""

    async def _apply(self, patch: list[dict[str, Any]]) -> tuple[int, str, str]:
        faults = self.box.faults
        if faults.locked:
            return 1, "", f"Failed to acquire lock on /etc/sonic/reload.lock, held by {faults.locked}\n"
        try:
            for name in sorted(faults.refuse):
                if any(name in str(change) for change in patch):
                    raise Refused(f"Failed to apply {name}: SAI_STATUS_NOT_SUPPORTED")
            wanted = patched(self.box.running, patch)
        except Refused as refused:
            return (
                1,
                "Patch Applier: localhost: Patch application starting.\n",
                f"Failed to apply patch due to: {refused}\n",
            )
        await self.box.commit(wanted)
        return 0, "Patch Applier: localhost: Patch application completed.\nPatch applied successfully.\n", ""

    def _save(self) -> str:
        self.box.copy()
        return "Running command: /usr/local/bin/sonic-cfggen -d --print-data > /etc/sonic/config_db.json\n"

    def _status(self) -> str:
        lines = [
            "  Interface        Lanes    Speed    MTU    FEC    Alias    Vlan    Oper    Admin             Type",
            "-----------  -----------  -------  -----  -----  -------  ------  ------  -------  ---------------",
        ]
        for name, row in self.box.running["PORT"].items():
            oper, lanes = "up" if name in self.box.up else "down", row["lanes"]
            lines.append(
                f"{name:>11}  {lanes:>11}  {'25G':>7}  {row['mtu']:>5}  {'rs':>5}  {row['alias']:>7}  {'trunk':>6}"
                f"  {oper:>6}  {row.get('admin_status', 'down'):>7}  {'SFP28 or later':>15}"
            )
        return "\n".join(lines) + "\n"


def serve(box: SonicBox) -> SwitchServer:
    """A SONiC switch over SSH; not started yet."""
    shell = Shell(box)

    async def session(process: Process) -> None:
        given = await process.stdin.read()
        await box.line()
        status, said, complaint = await shell.run(process.command or "", given)
        process.stdout.write(said)
        process.stderr.write(complaint)
        process.exit(status)

    return SwitchServer(box, session)


def make(name: str = "sonic1", ports: int = 8) -> SonicBox:
    table = {
        f"Ethernet{4 * i}": {
            "alias": f"etp{i + 1}",
            "lanes": str(i),
            "mtu": "9100",
            "speed": "25000",
            "admin_status": "up",
        }
        for i in range(ports)
    }
    about = {"hostname": name, "hwsku": "Mellanox-SN3700-D48C8", "mac": "98:03:9B:AA:00:01", "type": "ToRRouter"}
    config: Config = {"DEVICE_METADATA": {"localhost": about}, "PORT": table}
    return SonicBox(name, config, mac=about["mac"], model=about["hwsku"])
