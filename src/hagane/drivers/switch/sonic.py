"""SONiC: its CONFIG_DB as JSON, changed by one JSON patch (RFC 6902) that the switch checks and applies as a whole.

    sonic-cfggen -d --print-data ─▶ the tables as wanted ─▶ their difference ─▶ config apply-patch ─▶ config save

`config apply-patch` (releases since 202111) refuses a patch whose result its models do not allow, and rolls back one
that fails on the way. It is slow on real switches: seconds, sometimes a minute; hence the long commit time.

The account is one that logs in to a shell and may use sudo without a password for `sonic-cfggen`, `config`, and `cat`
of /etc/sonic/config_db.json. Ports have two names, Ethernet0 and an alias such as etp1, which LLDP tells: both work.
SONiC groups always speak LACP; our mark is the `description` of a VLAN and of a group.
"""

import json
import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import asyncssh

from hagane.drivers.switch import plan as step
from hagane.drivers.switch.base import MARK, SwitchDesired, SwitchGroup, SwitchPort, SwitchSeen
from hagane.drivers.switch.ssh import SshSwitch

Config = dict[str, dict[str, dict[str, Any]]]  # table → key → field → value

RUNNING = "sudo -n sonic-cfggen -d --print-data"
STARTUP = "sudo -n cat /etc/sonic/config_db.json"
STATUS = "show interfaces status"
# A pipe, because what a command reads directly from SSH is often a socket, which /dev/stdin does not open.
PATCH = "cat | sudo -n config apply-patch /dev/stdin"
SAVE = "sudo -n config save -y"
_TABLES = ("VLAN", "PORTCHANNEL", "PORTCHANNEL_MEMBER", "VLAN_MEMBER", "PORT", "INTERFACE")
_CHANNEL = re.compile(r"(?:portchannel|po) ?(\d{1,4})", re.IGNORECASE | re.ASCII)


def tables(text: str) -> Config:
    """CONFIG_DB from the switch's JSON. Raises ValueError for what is none."""
    start = text.find("{")
    found = json.loads(text[start:] if start >= 0 else text)
    if not isinstance(found, dict):
        raise ValueError("the configuration is not a JSON object")
    return {
        table: {key: row if isinstance(row, dict) else {} for key, row in rows.items()}
        for table, rows in found.items()
        if isinstance(rows, dict)
    }


def parse(config: Config, status: str = "") -> SwitchSeen:
    """The switch from its tables and `show interfaces status`."""
    members = {p: g for g, _, p in (key.partition("|") for key in config.get("PORTCHANNEL_MEMBER", {}))}
    native, tagged, twice = _memberships(config)
    groups = {
        name: SwitchGroup(native.get(name), tagged.get(name, frozenset()), fallback=_true(row.get("fallback")))
        for name, row in config.get("PORTCHANNEL", {}).items()
    }
    odd = {key.partition("|")[0] for key in config.get("INTERFACE", {})} | twice
    odd |= {name for name in members if name in native or name in tagged}
    odd |= {name for name, row in config.get("PORTCHANNEL", {}).items() if row.get("admin_status") == "down"}
    ports = {}
    for name, row in config.get("PORT", {}).items():
        of = members.get(name, name)
        ports[name] = SwitchPort(
            enabled=row.get("admin_status") == "up",
            native=native.get(of),
            tagged=tagged.get(of, frozenset()),
            group=members.get(name, ""),
            mtu=step.number(str(row.get("mtu", ""))),
        )
    about = config.get("DEVICE_METADATA", {}).get("localhost", {})
    return SwitchSeen(
        ports,
        groups,
        chassis_id=str(about.get("mac", "")).lower(),
        model=str(about.get("hwsku", "")),
        up=frozenset(_up(status) & set(ports)),
        vlans={_vlan(name): str(row.get("description", "")) for name, row in config.get("VLAN", {}).items()},
        marked=frozenset(n for n, row in config.get("PORTCHANNEL", {}).items() if row.get("description") == MARK),
        odd=frozenset(odd),
    )


def _memberships(config: Config) -> tuple[dict[str, int], dict[str, frozenset[int]], set[str]]:
    """Of ports and groups: the untagged VLAN, the tagged ones, and who has several untagged ones."""
    native: dict[str, int] = {}
    tagged: dict[str, frozenset[int]] = {}
    twice: set[str] = set()
    for key, row in sorted(config.get("VLAN_MEMBER", {}).items()):
        vlan, _, name = key.partition("|")
        if row.get("tagging_mode") == "tagged":
            tagged[name] = tagged.get(name, frozenset()) | {_vlan(vlan)}
        else:
            twice |= {name} if name in native else set()
            native[name] = _vlan(vlan)
    return native, tagged, twice


def _vlan(name: str) -> int:
    return step.number(name.removeprefix("Vlan")) or 0


def _true(value: object) -> bool:
    return str(value).lower() == "true"


def _up(status: str) -> set[str]:
    """The ports whose Oper column says up. The columns are as wide as the dashes below the heading."""
    found: set[str] = set()
    heading = ""
    spans: dict[str, tuple[int, int]] = {}
    for line in status.splitlines():
        if re.fullmatch(r"\s*-+(\s+-+)+\s*", line):
            spans = {heading[m.start() : m.end()].strip(): m.span() for m in re.finditer("-+", line)}
        elif "Oper" in spans and "Interface" in spans:
            name, oper = (line[slice(*spans[column])].strip() for column in ("Interface", "Oper"))
            found |= {name} if oper == "up" else set()
        heading = line
    return found


def render(desired: SwitchDesired, config: Config) -> list[dict[str, Any]]:
    """The JSON patch that brings the tables to what is wanted."""
    wanted = {table: deepcopy(config.get(table, {})) for table in _TABLES}
    seen, whole = parse(config), step.whole(desired)
    lacks = step.plan(desired, seen)
    for vlan in lacks.make:
        wanted["VLAN"][f"Vlan{vlan}"] = {"vlanid": str(vlan), "description": step.vlan_name(vlan)}
    for name, group in lacks.groups.items():
        row = wanted["PORTCHANNEL"].setdefault(
            name, {"admin_status": "up", "mtu": "9100", "min_links": "1", "lacp_key": "auto", "description": MARK}
        )
        row |= {"admin_status": "up", "fallback": "true" if group.fallback else "false"}
        _carry(wanted, name, group.native, group.tagged)
    for name, port in lacks.ports.items():
        _set_port(wanted, name, port, whole.groups.get(port.group))
    for name in lacks.drop_groups:
        del wanted["PORTCHANNEL"][name]
        _carry(wanted, name, None, frozenset())
    for vlan in lacks.drop:
        del wanted["VLAN"][f"Vlan{vlan}"]
    return _patch(config, wanted)


def _set_port(wanted: Config, name: str, port: SwitchPort, group: SwitchGroup | None) -> None:
    row = wanted["PORT"][name]
    row["admin_status"] = "up" if port.enabled else "down"
    if port.mtu is not None:
        row["mtu"] = str(port.mtu)
    for key in [k for k in wanted["INTERFACE"] if k.partition("|")[0] == name]:
        del wanted["INTERFACE"][key]
    for key in [k for k in wanted["PORTCHANNEL_MEMBER"] if k.partition("|")[2] == name]:
        del wanted["PORTCHANNEL_MEMBER"][key]
    if group is None:
        _carry(wanted, name, port.native, port.tagged)
    else:
        _carry(wanted, name, None, frozenset())
        wanted["PORTCHANNEL_MEMBER"][f"{port.group}|{name}"] = {}


def _carry(wanted: Config, name: str, native: int | None, tagged: frozenset[int]) -> None:
    """Make a port or group a member of exactly these VLANs."""
    for key in [k for k in wanted["VLAN_MEMBER"] if k.partition("|")[2] == name]:
        del wanted["VLAN_MEMBER"][key]
    modes = dict.fromkeys(sorted(tagged), "tagged") | ({native: "untagged"} if native is not None else {})
    for vlan, mode in modes.items():
        wanted["VLAN_MEMBER"][f"Vlan{vlan}|{name}"] = {"tagging_mode": mode}


def _patch(config: Config, wanted: Config) -> list[dict[str, Any]]:
    """What differs. CONFIG_DB has no empty tables: one that comes or goes does so as a whole."""
    patch: list[dict[str, Any]] = []
    for table, rows in wanted.items():
        now = config.get(table, {})
        if rows and not now:
            patch.append({"op": "add", "path": f"/{table}", "value": rows})
        elif now and not rows:
            patch.append({"op": "remove", "path": f"/{table}"})
        else:
            for key in sorted({*now, *rows}):
                path = f"/{table}/{key.replace('~', '~0').replace('/', '~1')}"
                patch += _patch_row(path, now.get(key), rows.get(key))
    return patch


def _patch_row(path: str, now: dict[str, Any] | None, row: dict[str, Any] | None) -> list[dict[str, Any]]:
    if row is None:
        return [{"op": "remove", "path": path}]
    if now is None:
        return [{"op": "add", "path": path, "value": row}]
    return [{"op": "add", "path": f"{path}/{f}", "value": v} for f, v in sorted(row.items()) if now.get(f) != v]


class SonicSwitch(SshSwitch[asyncssh.SSHClientConnection]):
    commit_seconds = 120.0
    _config: Config = {}

    def canonical(self, name: str) -> str:
        ports = self._config.get("PORT", {})
        if name in ports:
            return name
        if found := _CHANNEL.fullmatch(name):
            return next((c for c in self._config.get("PORTCHANNEL", {}) if c == name), f"PortChannel{found[1]}")
        return next((port for port, row in ports.items() if row.get("alias") == name), "")

    def cannot(self, port: SwitchPort, group: SwitchGroup | None) -> str:
        return "SONiC has no groups without LACP" if group and not group.lacp else ""

    async def open(self, connection: asyncssh.SSHClientConnection) -> asyncssh.SSHClientConnection:
        return connection

    async def probe(self, session: asyncssh.SSHClientConnection) -> None:
        await self._ask(session, "true")

    async def look(self, session: asyncssh.SSHClientConnection, *, startup: bool = False) -> SwitchSeen:
        async with self.patience():
            text = await self._ask(session, STARTUP if startup else RUNNING)
            status = "" if startup else await self._ask(session, STATUS)
        try:
            config = tables(text)
        except ValueError as error:
            raise self.refusal(f"its configuration cannot be read: {error}") from None
        if not startup:
            self._config = config
        return parse(config, status)

    async def commit(
        self, session: asyncssh.SSHClientConnection, desired: SwitchDesired, seen: SwitchSeen
    ) -> Mapping[str, str]:
        patch = json.dumps(render(desired, self._config))
        async with self.commit_patience():
            refused = await self._run(session, PATCH, patch)
        if isinstance(refused, str):
            return {}
        # The switch names what it stumbled upon, not always a port.
        named = set(re.findall(r"\b(?:Ethernet|PortChannel)\d+\b", refused[0])) & {*desired.ports, *desired.groups}
        if not named:
            raise self.refusal(f"refuses the patch: {refused[0]}")
        return dict.fromkeys(sorted(named), f"refused: {self.words(refused[0])}")

    async def confirm(self, session: asyncssh.SSHClientConnection) -> None:
        return None

    async def save(self, session: asyncssh.SSHClientConnection) -> None:
        await self._ask(session, SAVE)

    async def _ask(self, session: asyncssh.SSHClientConnection, command: str) -> str:
        said = await self._run(session, command)
        if isinstance(said, tuple):
            raise self.refusal(f"refuses {command!r}: {said[0]}")
        return said

    async def _run(self, session: asyncssh.SSHClientConnection, command: str, given: str = "") -> str | tuple[str]:
        """The output of a command; in a tuple, what it complained of when it failed."""
        feed: dict[str, Any] = {"input": given} if given else {"stdin": asyncssh.DEVNULL}
        done = await session.run(command, check=False, **feed)
        if done.exit_status is None:
            raise EOFError
        said, complaint = str(done.stdout or ""), str(done.stderr or "")
        return (
            said if done.exit_status == 0 else (complaint.strip() or said.strip() or f"exit status {done.exit_status}",)
        )
