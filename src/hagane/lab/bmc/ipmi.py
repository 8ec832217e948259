"""Emulated BMCs that speak IPMI 2.0 over LAN: many machines in one process, one UDP address each.

Chassis power and boot flags, sensors, inventory, serial over LAN. A client that hears nothing sends its request again;
the answer to the last request is kept, so that a restart is not done twice.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

from hagane.errors import HaganeError
from hagane.lab.bmc import ipmi_data, rmcp
from hagane.lab.bmc.faults import FaultFile
from hagane.lab.bmc.machine import Machine
from hagane.lab.bmc.sol import SerialOverLan

OK, NOT_KNOWN, BAD_FIELD, NOT_NOW, ANY_ERROR = b"\x00", b"\xc1", b"\xcc", b"\xd5", b"\xff"
VALID, PERSISTENT, EFI = 0x80, 0x40, 0x20
_DEVICES = {0: "", 1: "pxe", 2: "disk", 5: "cdrom"}
_CODES = {name: code for code, name in _DEVICES.items()}
Command = Callable[[bytes], Awaitable[bytes]]


@dataclass(slots=True)
class IpmiFront:
    """One machine's IPMI service: where it answers, and to whom."""

    machine: Machine
    username: str
    password: str = field(repr=False)
    address: str = "127.0.0.1"
    port: int = 0  # 0: any free one; set once it listens


class IpmiServer:
    """All IPMI services of one process."""

    def __init__(self, fronts: list[IpmiFront]) -> None:
        self.fronts = fronts
        self._bmcs: list[_Bmc] = []

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        for front in self.fronts:
            bmc = _Bmc(front)
            transport, _ = await loop.create_datagram_endpoint(lambda one=bmc: one, (front.address, front.port))  # type: ignore[misc]
            front.port = transport.get_extra_info("sockname")[1]
            self._bmcs.append(bmc)

    async def stop(self) -> None:
        for bmc in self._bmcs:
            await bmc.stop()


class _Bmc(asyncio.DatagramProtocol):
    """One BMC: takes packets apart, and answers them."""

    def __init__(self, front: IpmiFront) -> None:
        self._front, self._machine = front, front.machine
        self._faults = FaultFile(front.machine.spec.folder)
        self._guid = uuid.UUID(front.machine.spec.uuid).bytes_le
        self._sessions = rmcp.Sessions(self._guid)
        self._transport: asyncio.DatagramTransport
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers: dict[bytes, tuple[bytes, bytes]] = {}  # by session: the last request, and its answer
        self._mode_only = False  # boot flags that name a mode and no device
        self._sol: SerialOverLan | None = None
        self._fru = ipmi_data.inventory("Hagane", "Virtual bare metal", front.machine.spec.name)
        self._commands: dict[tuple[int, int], Command] = {
            (0x00, 0x01): self._status, (0x00, 0x02): self._control, (0x00, 0x08): self._set_boot,
            (0x00, 0x09): self._get_boot, (0x04, 0x2D): self._reading, (0x06, 0x01): self._device_id,
            (0x06, 0x37): self._system_guid, (0x06, 0x3B): self._privilege, (0x06, 0x54): self._suites,
            (0x0A, 0x10): self._fru_size, (0x0A, 0x11): self._fru_data, (0x0A, 0x20): self._sdr_info,
            (0x0A, 0x22): self._sdr_reserve, (0x0A, 0x23): self._sdr,
        }  # fmt: skip

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if data[:4] == rmcp.HEADER and len(data) > 14 and not self._faults.now().dead:
            task = asyncio.create_task(self._packet(data[4:], addr))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        self._hang_up()
        self._transport.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _packet(self, packet: bytes, address: tuple[str, int]) -> None:
        faults = self._faults.now()
        await asyncio.sleep(faults.slow)
        if packet[0] == 0:  # outside of any session, as in IPMI 1.5
            if words := await self._unknown_client(packet[10 : 10 + packet[9]]):
                self._transport.sendto(rmcp.HEADER + bytes(9) + bytes([len(words)]) + words, address)
        elif packet[0] == 6 and packet[1:6] == bytes(5):  # the same, as in IPMI 2.0
            if words := await self._unknown_client(packet[12:]):
                self._transport.sendto(rmcp.outside(rmcp.IPMI, words), address)
        elif packet[0] == 6 and packet[1] in (rmcp.OPEN, rmcp.RAKP1, rmcp.RAKP3):
            password = f"{self._front.password}!" if faults.password else self._front.password
            answer = self._sessions.greet(packet[1], packet[12:], address, self._front.username, password)
            self._transport.sendto(answer, address)
        elif packet[0] == 6 and (session := self._sessions.find(packet[2:6])):
            body = rmcp.unseal(session, packet)
            if body is not None and packet[1] & 0x3F == rmcp.SOL and self._sol and self._sol.session is session:
                self._sol.received(body)
            elif body is not None and packet[1] & 0x3F == rmcp.IPMI and len(body) > 6:
                await self._message(session, body)

    async def _unknown_client(self, message: bytes) -> bytes:
        """What anybody may ask: how to log in."""
        if len(message) < 7:
            return b""
        body = b"\xd4"  # not without logging in
        if (message[1] >> 2, message[5]) == (0x06, 0x38):  # IPMI 2.0, with user names
            body = OK + bytes([1, 0x80, 0x04, 0x02, 0, 0, 0, 0])
        elif (message[1] >> 2, message[5]) == (0x06, 0x54) and len(message) > 9:
            body = await self._suites(message[6:-1])
        return rmcp.answer(message, body)

    async def _message(self, session: rmcp.Session, message: bytes) -> None:
        asked, said = self._answers.get(session.ours, (b"", b""))
        if asked == message:
            if said:
                self._send(session, rmcp.IPMI, said)
            return
        self._answers[session.ours] = (message, b"")
        answer = rmcp.answer(message, await self._do(session, message[1] >> 2, message[5], message[6:-1]))
        self._answers[session.ours] = (message, answer)
        self._send(session, rmcp.IPMI, answer)
        if (message[1] >> 2, message[5]) == (0x06, 0x3C):
            self._sessions.close(session)
            self._answers.pop(session.ours, None)

    def _send(self, session: rmcp.Session, kind: int, body: bytes) -> None:
        self._transport.sendto(rmcp.seal(session, kind, body), session.address)

    async def _do(self, session: rmcp.Session, function: int, command: int, data: bytes) -> bytes:
        if self._faults.now().wrong and function != 0x06:
            return ANY_ERROR
        match function, command:
            case 0x06, 0x3C:
                return OK
            case 0x06, 0x48:
                return await self._activate(session)
            case 0x06, 0x49:
                self._hang_up()
                return OK
        handler = self._commands.get((function, command))
        try:
            return await handler(data) if handler else NOT_KNOWN
        except IndexError:
            return b"\xc7"  # the request is too short
        except HaganeError:
            return NOT_NOW

    async def _device_id(self, _data: bytes) -> bytes:
        return OK + bytes([0x20, 1, 1, 0, 0x02, 0x8B, 0, 0, 0, 0, 0, 0, 0, 0, 0])

    async def _system_guid(self, _data: bytes) -> bytes:
        return OK + self._guid

    async def _privilege(self, data: bytes) -> bytes:
        return OK + bytes([data[0] or 4])

    async def _suites(self, data: bytes) -> bytes:
        index = 16 * (data[2] & 0x3F)
        return OK + b"\x01" + rmcp.SUITES[index : index + 16]

    async def _status(self, _data: bytes) -> bytes:
        return OK + bytes([self._machine.pid() is not None, 0, 0x40, 0])

    async def _control(self, data: bytes) -> bytes:
        machine = self._machine
        verbs = {
            0: machine.off,
            1: machine.on,
            2: machine.reset,
            3: machine.reset,
            4: machine.interrupt,
            5: machine.press,
        }
        if data[0] & 0x0F not in verbs:
            return BAD_FIELD
        if data[0] & 0x0F in (2, 3) and machine.pid() is None:
            return NOT_NOW
        if not self._faults.now().stuck:
            await verbs[data[0] & 0x0F]()
        return OK

    async def _set_boot(self, data: bytes) -> bytes:
        if data[0] & 0x7F != 5:
            return OK  # set in progress, who has seen it, when to forget it: nothing depends on them here
        flags, code = data[1], data[2] >> 2 & 0x0F
        if not flags & VALID:
            self._mode_only = False
            self._machine.set_boot("", persistent=False)
            return OK
        if code not in _DEVICES:
            return BAD_FIELD
        self._machine.set_mode("uefi" if flags & EFI else "bios")
        self._machine.set_boot(_DEVICES[code], persistent=bool(flags & PERSISTENT))
        self._mode_only = code == 0
        return OK

    async def _get_boot(self, data: bytes) -> bytes:
        settings = self._machine.settings
        parameter, code = data[0] & 0x7F, _CODES.get(settings.boot, 0)
        if parameter != 5:
            return OK + bytes([1, parameter, 0])
        flags = VALID | PERSISTENT if self._mode_only and not code else 0
        if code:
            flags = VALID | (PERSISTENT if settings.persistent else 0)
        if flags and settings.mode == "uefi":
            flags |= EFI
        return OK + bytes([1, 5, flags, code << 2, 0, 0, 0])

    async def _reading(self, data: bytes) -> bytes:
        return OK + bytes([ipmi_data.INLET_CELSIUS, 0xC0, 0xC0, 0]) if data[0] == ipmi_data.INLET else b"\xcb"

    async def _fru_size(self, _data: bytes) -> bytes:
        return OK + len(self._fru).to_bytes(2, "little") + b"\x00"

    async def _fru_data(self, data: bytes) -> bytes:
        offset = int.from_bytes(data[1:3], "little")
        content = self._fru[offset : offset + data[3]]
        return OK + bytes([len(content)]) + content

    async def _sdr_info(self, _data: bytes) -> bytes:
        return OK + bytes([0x51, 1, 0, 0, 0]) + bytes(8) + b"\x02"

    async def _sdr_reserve(self, _data: bytes) -> bytes:
        return OK + b"\x01\x00"

    async def _sdr(self, data: bytes) -> bytes:
        record = ipmi_data.sensor_record()
        return OK + b"\xff\xff" + record[data[4] :][: data[5]]

    async def _activate(self, session: rmcp.Session) -> bytes:
        """Serial over LAN: one client at a time."""
        if self._sol is not None and self._sol.alive:
            return b"\x80"
        if self._machine.pid() is None:
            return NOT_NOW
        self._sol = SerialOverLan(session, self._machine.spec.serial, lambda body: self._send(session, rmcp.SOL, body))
        try:
            await self._sol.open()
        except OSError:  # the machine has just been switched off
            return NOT_NOW
        size = SerialOverLan.CHUNK.to_bytes(2, "little")
        return OK + bytes(4) + size + size + self._front.port.to_bytes(2, "little") + b"\xff\xff"

    def _hang_up(self) -> None:
        if self._sol is not None:
            self._sol.close()
            self._sol = None
