"""A rack drawn as text, for `hagane lab status`."""

from collections.abc import Iterator, Sequence

from hagane.drivers.switch.plan import ranges
from hagane.lab.process import DaemonSeen
from hagane.lab.rack_look import MachineSeen, PortSeen, RackSeen
from hagane.lab.rack_place import OVSDB_PORT, Rack


def draw(rack: Rack, seen: RackSeen, daemons: Sequence[DaemonSeen]) -> Iterator[str]:
    """The rack from top to bottom: this machine, switch, ports, machines, daemons."""
    yield f"{rack.name}, physical network {rack.described.physical_network}, private VLANs {rack.described.vlans}"
    yield f"out-of-band network {rack.network}, this machine is {rack.here} ({rack.oob_link})"
    for name in rack.gateways:
        yield f"{name}  gateway, OVSDB tcp:{rack.address(name)}:{OVSDB_PORT}{_wrong(seen, name)}"
    yield ""
    access = f"tcp:{rack.address(rack.switch)}:{OVSDB_PORT}"
    yield f"┌─ {rack.switch}  {rack.chassis_id}  OVSDB {access}{_wrong(seen, rack.switch)}"
    if seen.silent:
        yield f"│  {seen.silent}"
    for port in seen.ports:
        yield f"├─ {port.name:<8} {_vlans(port):<22} {'up' if port.carrier else 'no carrier':<11} {port.to}"
    yield "└─"
    for machine in seen.machines:
        yield _machine(machine)
    yield ""
    for daemon in daemons:
        state = f"running  pid {daemon.pid}" if daemon.running else "stopped"
        again = f", {daemon.restarts} restarts" if daemon.restarts else ""
        yield f"{daemon.name:<22} {state}{again}"


def _wrong(seen: RackSeen, part: str) -> str:
    faults = seen.faults.get(part, [])
    return f"   FAULT: {', '.join(faults)}" if faults else ""


def _vlans(port: PortSeen) -> str:
    if port.tagged is None:
        return "all VLANs" if port.native is None else f"{port.native}, all tagged"
    if port.native is None and not port.tagged:
        return "dead"
    native = str(port.native) if port.native is not None else "-"
    return f"{native}, tagged {ranges(frozenset(port.tagged))}" if port.tagged else native


def _machine(machine: MachineSeen) -> str:
    power = "on " if machine.power else "off"
    boot = f", boots from {machine.boot}" if machine.boot else ""
    faults = f"   FAULT: {', '.join(machine.faults)}" if machine.faults else ""
    return f"   {machine.name:<8} {power}  BMC {machine.address}  {machine.mode.upper()}{boot}{faults}"
