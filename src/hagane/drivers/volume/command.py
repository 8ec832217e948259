"""Programs of storage backends, as child processes.

One that Hagane does not wait for any more is ended, and ends with Hagane: after a kill the next process must not meet
a stranger that still changes what it looks at.
"""

import asyncio

from hagane.errors import DeviceFailed, Unavailable

TIMEOUT = 120.0  # seconds for one command, if nothing else is said
GRACE = 5.0  # seconds to end in
WITH_US = ("setpriv", "--pdeathsig", "TERM")  # util-linux


class Refused(DeviceFailed):
    """A program's own words (`detail`), and the code that it ended with."""

    def __init__(self, message: str, *, detail: str = "", status: int = 0) -> None:
        super().__init__(message, detail=detail)
        self.status = status


class Command:
    """Runs a program; tests put an emulator in its place."""

    async def __call__(self, *words: str, seconds: float = TIMEOUT) -> str:
        """Its output. Raises Refused, Unavailable."""
        try:
            child = await asyncio.create_subprocess_exec(
                *WITH_US, *words,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
        except OSError as error:
            raise Unavailable(f"{words[0]} cannot be started: {error.strerror}.") from error
        try:
            async with asyncio.timeout(seconds):
                out, problem = await child.communicate()
        except TimeoutError:
            raise Unavailable(f"{words[0]} does not end.") from None
        finally:
            if child.returncode is None:
                await _end(child)
        if child.returncode:
            raise _refusal(words[0], child.returncode, problem.decode(errors="replace").strip())
        return out.decode(errors="replace")


async def _end(child: asyncio.subprocess.Process) -> None:
    """Gently first: LVM must not be cut off in the middle."""
    child.terminate()
    try:
        async with asyncio.timeout(GRACE):
            await child.wait()
    except TimeoutError:
        child.kill()
        await child.wait()


def _refusal(program: str, status: int, text: str) -> Exception:
    if status == 127 and text.startswith("setpriv:"):
        return Unavailable(f"{program} cannot be started: {text.rpartition(': ')[2]}.", detail=text)
    last = text.splitlines()[-1].strip() if text else "no reason given"
    return Refused(f"The storage backend refused: {last}", detail=text, status=status)
