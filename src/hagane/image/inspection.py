"""What the bytes of an image are, found out while they stream by.

An image is what its bytes say, not what its label says: a "raw" disk that is a qcow2 with a backing file would read any
file of the Host it runs on. So the inspector of oslo.utils, the reference answer to these attacks, sees every byte:

    unsafe (backing or data file, foreign extents, two formats) ─▶ `refusal`: the upload is refused
    not what the label says                                     ─▶ `problem`: kept, but no server starts from it
"""

from dataclasses import dataclass
from typing import IO, Any, cast

from oslo_utils.imageutils import format_inspector

_PLAIN = frozenset({"raw", "gpt", "iso"})  # bytes that are a disk as they stand
_CONTENT = {"raw": _PLAIN, "iso": frozenset({"iso"}), "ami": _PLAIN, "ari": _PLAIN, "aki": _PLAIN}
_BENIGN = frozenset({"gpt", "luks"})  # an odd partition table or passphrase slot concerns the guest alone


@dataclass(frozen=True, slots=True)
class Finding:
    """`format` as detected; `virtual_size` in bytes, None where the label does not fit."""

    format: str
    virtual_size: int | None
    refusal: str = ""
    problem: str = ""


class Inspection:
    """Feed it every block in order, then `finish`. `label` is the image's disk_format.

    Only a `bare` image is inspected: within another container the bytes are not a disk.
    """

    def __init__(self, label: str, container: str) -> None:
        self._label, self._bare, self._container = label, container == "bare", container
        self._block = b""
        self._size = 0
        self._inspect = format_inspector.InspectWrapper(cast(IO[bytes], self))

    def read(self, size: int) -> bytes:
        """The inspector pulls the block that `feed` holds out to it."""
        return self._block

    def feed(self, block: bytes) -> None:
        self._size += len(block)
        if self._bare:
            self._block = block
            self._inspect.read(len(block))

    def finish(self) -> Finding:
        if not self._bare:
            return Finding(self._container, None, problem=f"Its container format is {self._container}, not bare.")
        self._block = b""
        self._inspect.close()
        found = {str(match): match for match in self._inspect.formats or []}
        if len(found) > 1 and found.keys() != {"iso", "gpt"}:
            names = ", ".join(sorted(found))
            return Finding(names, None, refusal=f"Image failed safety checks: it is several formats at once: {names}.")
        name, inspector = ("iso", found["iso"]) if "iso" in found else next(iter(found.items()))
        if refusal := _refusal(name, inspector):
            return Finding(name, None, refusal=refusal)
        return self._compare(name, inspector)

    def _compare(self, name: str, inspector: Any) -> Finding:
        plain = name in _PLAIN
        if name not in _CONTENT.get(self._label, {self._label}):
            return Finding(name, None, problem=f"Its disk format is {self._label}, but its content is {_word(name)}.")
        try:
            size = self._size if plain else int(inspector.virtual_size)
        except Exception as error:  # the inspector's parsers raise whatever a malformed header makes of them
            return Finding(name, None, problem=f"Its {name} header cannot be read: {error}.")
        if not plain and size <= 0:
            return Finding(name, None, problem=f"Its {name} header names no size of the disk.")
        return Finding(name, size)


def _refusal(name: str, inspector: Any) -> str:
    """Why such an image is dangerous, in words; empty when it is not."""
    try:
        inspector.safety_check()
    except format_inspector.SafetyCheckFailed as error:
        if name in _BENIGN:
            return ""
        reasons = "; ".join(f"{check}: {reason}" for check, reason in sorted(error.failures.items()))
        return f"Image failed safety checks: {name}: {reasons}"
    except Exception as error:  # as above: a header that breaks the check has not passed it
        return f"Image failed safety checks: {name}: its header cannot be read: {error}"
    return ""


def _word(name: str) -> str:
    return "no known disk format" if name == "raw" else name
