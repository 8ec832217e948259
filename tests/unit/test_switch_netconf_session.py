"""NETCONF framing: messages in pieces of any size, and streams that are none."""

import asyncio

import pytest

from hagane.drivers.switch.netconf_session import BASE, BASE_11, Netconf, Refused

HELLO = f'<hello xmlns="{BASE}"><capabilities><capability>{BASE_11}</capability></capabilities></hello>]]>]]>'.encode()
OLD = HELLO.replace(BASE_11.encode(), b"urn:ietf:params:netconf:base:1.0")
REPLY = f'<rpc-reply xmlns="{BASE}" message-id="1"><data>ünï</data></rpc-reply>'.encode()


class Peer:
    """A connection, its process and its two streams in one: it says what it was given, in pieces."""

    def __init__(self, said: bytes, piece: int) -> None:
        self._said, self._piece = said, piece
        self.heard = b""
        self.stdin = self.stdout = self

    async def create_process(self, **_options: object) -> "Peer":
        return self

    def write(self, data: bytes) -> None:
        self.heard += data

    async def read(self, size: int) -> bytes:
        data, self._said = self._said[: self._piece], self._said[self._piece :]
        return data


async def reply(said: bytes, piece: int = 1 << 16) -> tuple[str, bytes]:
    peer = Peer(said, piece)
    async with asyncio.timeout(10):
        session = await Netconf.open(peer)  # type: ignore[arg-type]
        answer = await session.call("<get/>")
    return "".join(answer.itertext()), peer.heard


def chunks(*parts: bytes) -> bytes:
    return b"".join(b"\n#%d\n%s" % (len(part), part) for part in parts) + b"\n##\n"


@pytest.mark.parametrize("piece", [1, 2, 7, 1 << 16])
async def test_messages_in_pieces(piece: int) -> None:
    cut = REPLY.index("ü".encode()) + 1  # within a character
    text, heard = await reply(HELLO + chunks(REPLY[:cut], REPLY[cut:]), piece)
    assert text == "ünï" and heard.endswith(b"</rpc>\n##\n")
    text, heard = await reply(OLD + REPLY + b"]]>]]>", piece)
    assert text == "ünï" and heard.endswith(b"</rpc>]]>]]>")


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"SSH-banner without an end",
        HELLO,
        HELLO + b"\n#12\nshort",
        HELLO + b"\n#99999999999999999\n" + REPLY,
        HELLO + b"\n#999999999\n" + REPLY,
        HELLO + b"#5\n<a/>\n##\n and more that is no chunk",
        HELLO + chunks(b"<a>"),
        HELLO + chunks(REPLY.replace(b'"1"', b'"2"')),
        HELLO + chunks(b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + REPLY),
    ],
)
async def test_streams_that_are_none_end_the_session(said: bytes) -> None:
    with pytest.raises(EOFError):
        await reply(said)


async def test_errors_are_all_told_and_warnings_are_none() -> None:
    def error(severity: str, message: str) -> bytes:
        return (
            f"<rpc-error><error-tag>invalid-value</error-tag><error-severity>{severity}</error-severity>"
            f"<error-path>/a[name='{message}']</error-path><error-message> {message} </error-message></rpc-error>"
        ).encode()

    def answer(*errors: bytes) -> bytes:
        return HELLO + chunks(REPLY.replace(b"<data>", b"".join(errors) + b"<data>"))

    with pytest.raises(Refused) as refused:
        await reply(answer(error("error", "one"), error("warning", "two"), error("error", "three")))
    assert [complaint.message for complaint in refused.value.complaints] == ["one", "three"]
    assert (await reply(answer(error("warning", "two"))))[0].endswith("ünï")
