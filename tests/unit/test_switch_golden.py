"""What each family reads in a switch's own words, and what it says to bring the switch to a wanted state.

Beside each golden text: `.seen`, what is read; `.lines`, what is said for the same wish in each family's names.
tests/golden/make_switch.py writes both.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hagane.drivers.switch import eos, netconf, nxos, plan, sonic
from hagane.drivers.switch.base import SwitchDesired, SwitchGroup, SwitchPort, SwitchSeen
from hagane.drivers.switch.netconf_session import Malformed, document

FOLDER = Path(__file__).parents[1] / "golden" / "switch"
Answers = dict[str, str]


def wish(ports: tuple[str, str, str, str, str], group: str) -> SwitchDesired:
    """An access port that is so already, one that changes, a trunk, a port that leads nowhere, and a group of one."""
    access, changed, trunk, nowhere, member = ports
    return SwitchDesired(
        {
            access: SwitchPort(native=1001),
            changed: SwitchPort(native=1004, mtu=9000),
            trunk: SwitchPort(native=1005, tagged=frozenset({77, 1001})),
            nowhere: SwitchPort(enabled=False),
            member: SwitchPort(group=group),
        },
        {group: SwitchGroup(None, frozenset({1003, 1006, 1007, 1008}), fallback=False)},
    )


@dataclass(frozen=True)
class Family:
    name: str
    desired: SwitchDesired

    def answers(self, text: str) -> Answers:
        parts = [part.partition("\n") for part in text.split(">>> ")[1:]]
        return {command: said for command, _, said in parts}

    def seen(self, answers: Answers) -> SwitchSeen:
        match self.name:
            case "eos":
                return eos.parse(answers)
            case "nxos":
                return nxos.parse(answers)
            case "sonic":
                return sonic.parse(sonic.tables(answers[sonic.RUNNING]), answers[sonic.STATUS])
            case _:
                return netconf.parse(document(answers["get-config"].encode()), state=document(answers["get"].encode()))

    def lines(self, answers: Answers) -> str:
        match self.name:
            case "eos":
                return "\n".join(eos.render(self.desired, eos.parse(answers))) + "\n"
            case "nxos":
                return "\n".join(nxos.render(self.desired, nxos.parse(answers))) + "\n"
            case "sonic":
                patch = sonic.render(self.desired, sonic.tables(answers[sonic.RUNNING]))
                return "".join(json.dumps(change) + "\n" for change in patch)
            case _:
                tree = ElementTree.fromstring(f"<config>{netconf.render(self.desired, self.seen(answers))}</config>")
                ElementTree.indent(tree)
                return ElementTree.tostring(tree, encoding="unicode") + "\n"

    def seen_text(self, answers: Answers) -> str:
        seen = self.seen(answers)
        lines = [
            f"chassis {seen.chassis_id or '-'}",
            f"model {seen.model or '-'}",
            f"marked {' '.join(sorted(seen.marked))}",
        ]
        lines += [f"vlan {vlan} {name}".rstrip() for vlan, name in sorted(seen.vlans.items())]
        for kind, items in (("group", seen.groups), ("port", seen.ports)):
            for name, item in items.items():
                marks = [mark for mark, names in (("up", seen.up), ("odd", seen.odd)) if name in names]
                values = [f"{n}={_value(getattr(item, n))}" for n in item.__slots__]
                lines.append(" ".join([kind, name, *values, *marks]))
        return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    return plan.ranges(value) or "-" if isinstance(value, frozenset) else str(value)


FAMILIES = (
    Family("eos", wish(("Ethernet1", "Ethernet2", "Ethernet5", "Ethernet7", "Ethernet4"), "Port-Channel5")),
    Family("nxos", wish(("Ethernet1/1", "Ethernet1/2", "Ethernet1/5", "Ethernet1/6", "Ethernet1/4"), "port-channel5")),
    Family("sonic", wish(("Ethernet0", "Ethernet4", "Ethernet12", "Ethernet20", "Ethernet8"), "PortChannel0005")),
    Family("netconf", wish(("Ethernet1", "Ethernet2", "Ethernet4", "Ethernet6", "Ethernet3"), "Port-Channel5")),
)
FILES = [(family, path) for family in FAMILIES for path in sorted((FOLDER / family.name).glob("*.txt"))]


@pytest.fixture(params=FILES, ids=lambda pair: f"{pair[0].name}-{pair[1].stem}")
def golden(request: pytest.FixtureRequest) -> tuple[Family, Path]:
    pair: tuple[Family, Path] = request.param
    return pair


def test_what_is_read(golden: tuple[Family, Path]) -> None:
    family, path = golden
    assert family.seen_text(family.answers(path.read_text())) == path.with_suffix(".seen").read_text()


def test_what_is_said(golden: tuple[Family, Path]) -> None:
    family, path = golden
    assert family.lines(family.answers(path.read_text())) == path.with_suffix(".lines").read_text()


def test_what_is_so_needs_nothing_said(golden: tuple[Family, Path]) -> None:
    """Everything that the switch shows, wanted as it is shown, is nothing to do."""
    family, path = golden
    answers = family.answers(path.read_text())
    seen = family.seen(answers)
    settled = {name: port for name, port in seen.ports.items() if name not in seen.odd}
    groups = {name: group for name, group in seen.groups.items() if name not in seen.odd}
    ports = {name: port for name, port in settled.items() if not port.group or port.group in groups}
    assert set(plan.differences(SwitchDesired(ports, groups), seen)) == set()


def test_ports_that_are_not_named_are_not_touched(golden: tuple[Family, Path]) -> None:
    family, path = golden
    said = family.lines(family.answers(path.read_text()))
    named = {*family.desired.ports, *family.desired.groups}
    foreign = set(family.seen(family.answers(path.read_text())).ports) - named
    assert foreign
    for name in foreign:
        assert not [line for line in said.splitlines() if name in line.replace("|", " ").replace('"', " ").split()]


def test_any_text_is_read_without_an_error(golden: tuple[Family, Path]) -> None:
    """A switch that sends half an answer, or another one, is told from its configuration, not by a traceback."""
    family, path = golden
    text, chance = path.read_text(), random.Random(7)
    for _ in range(300):
        answers = family.answers(_damaged(text, chance))
        answers = {command: answers.get(command, "") for command in family.answers(text)}
        try:
            seen = family.seen(answers)
        except (ValueError, Malformed) as error:
            assert family.name in ("sonic", "netconf"), error  # these say that it is no JSON, no XML
            continue
        assert all(isinstance(port, SwitchPort) for port in seen.ports.values())
        plan.plan(family.desired, seen)


def _damaged(text: str, chance: random.Random) -> str:
    lines = text.splitlines(keepends=True)
    for _ in range(chance.randrange(1, 6)):
        place = chance.randrange(len(lines))
        match chance.randrange(6):
            case 0:
                lines[place] = lines[place][: chance.randrange(len(lines[place]) + 1)]
            case 1:
                lines.insert(
                    place, chance.choice(("\x00\n", "% Invalid input\n", "vlan \n", "interface\n", "   mtu x\n"))
                )
            case 2:
                del lines[place:][: chance.randrange(20)]
            case 3:
                lines[place] = lines[place].replace(chance.choice("0123456789"), chance.choice(("٣", "99999", "", "-")))
            case 4:
                lines[place] = "\t " + lines[place].upper()
            case _:
                lines[place : place + 3] = []
        lines = lines or ["\n"]
    return "".join(lines)


@pytest.mark.parametrize(
    ("family", "name", "own"),
    [
        (eos, "Et1", "Ethernet1"),
        (eos, "et 49/1", "Ethernet49/1"),
        (eos, " Ethernet3 ", "Ethernet3"),
        (eos, "Po5", "Port-Channel5"),
        (eos, "Po5/1", ""),
        (eos, "Ma1", ""),
        (eos, "Et1\nreload", ""),
        (eos, "Et٣", ""),
        (nxos, "Eth1/1", "Ethernet1/1"),
        (nxos, "e1/1", ""),
        (nxos, "Ethernet1/8/1", "Ethernet1/8/1"),
        (nxos, "po10", "port-channel10"),
        (nxos, "Ethernet1", ""),
        (nxos, "Eth1/1 ; reload", ""),
    ],
)
def test_names(family: object, name: str, own: str) -> None:
    assert family.canonical(name) == own  # type: ignore[attr-defined]


def test_vlan_lists() -> None:
    assert plan.numbers("1-3, 7,7,x,9-,4095,٣,5-4") == {1, 2, 3, 7}
    assert plan.ranges(frozenset({7, 1, 2, 3})) == "1-3,7"
    for _ in range(50):
        vlans = frozenset(random.sample(range(1, 4095), 200))
        assert plan.numbers(plan.ranges(vlans)) == vlans
    assert plan.numbers("1-4094") == plan.EVERY_VLAN


@pytest.mark.parametrize("text", ["<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "<a>", "", "\udcff<a/>x"])
def test_netconf_takes_no_document_type_and_no_half_message(text: str) -> None:
    with pytest.raises(Malformed):
        document(text.encode(errors="surrogatepass"))
