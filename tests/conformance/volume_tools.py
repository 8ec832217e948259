"""`lvs`, `lvcreate` ... and `rbd`, as far as the drivers use them: they keep names, sizes and what is a copy of what, and
refuse what the real ones refuse."""

import json
from dataclasses import dataclass, field

from hagane.drivers.volume.block import Command
from hagane.errors import DeviceFailed

GIB = 1 << 30


def options(words: tuple[str, ...], *flags: str) -> tuple[dict[str, str], list[str]]:
    """Options with their values (flags have none), and the rest."""
    found: dict[str, str] = {}
    rest: list[str] = []
    waiting = iter(words)
    for word in waiting:
        if word in flags:
            found[word] = ""
        elif word.startswith("-"):
            found[word] = next(waiting)
        else:
            rest.append(word)
    return found, rest


class Lvm(Command):
    """One volume group `vg` with a thin pool of 100 GiB, and a volume that is not ours."""

    def __init__(self) -> None:
        self.sizes = {"other": GIB}
        self.tags = {"other": ""}

    async def __call__(self, *words: str) -> str:
        given, rest = options(words[1:], "--yes", "--nosuffix", "--snapshot", "--force")
        name = rest[0].removeprefix("vg/") if rest else ""
        match words[0]:
            case "lvs" if given["-S"] == "lv_name=pool":
                return self._report([{"lv_name": "pool", "lv_size": str(100 * GIB), "data_percent": "10.00"}])
            case "lvs":
                tag = given["-S"].removeprefix("lv_tags=")
                ours = [name for name in self.sizes if self.tags[name] == tag]
                return self._report([{"lv_name": name, "lv_size": str(self.sizes[name])} for name in ours])
            case "lvcreate":
                self._create(given, name)
            case "lvextend":
                size = int(given["--size"].removesuffix("b"))
                self._demand(name, size > self.sizes.get(name, 0), "New size not larger than existing size.")
                self.sizes[name] = size
            case "lvrename":
                _, old, new = rest
                self._demand(old, new not in self.sizes, f"Logical Volume {new} already exists.")
                self.sizes[new], self.tags[new] = self.sizes.pop(old), self.tags.pop(old)
            case "lvremove":
                self._demand(name, True, "")
                del self.sizes[name], self.tags[name]
            case other:
                raise AssertionError(other)
        return ""

    def _report(self, rows: list[dict[str, str]]) -> str:
        return json.dumps({"report": [{"lv": rows}]})

    def _create(self, given: dict[str, str], origin: str) -> None:
        new = given["--name"]
        if new in self.sizes:
            raise DeviceFailed(f"The storage backend refused: Logical Volume {new} already exists.")
        if "--snapshot" in given:
            self._demand(origin, True, "")
            self.sizes[new] = self.sizes[origin]
        else:
            assert given["--thinpool"] == "vg/pool" and given["--type"] == "thin"
            self.sizes[new] = int(given["--virtualsize"].removesuffix("b"))
        self.tags[new] = given["--addtag"]

    def _demand(self, name: str, right: bool, problem: str) -> None:
        if name not in self.sizes:
            raise DeviceFailed(f"The storage backend refused: Failed to find logical volume {name}")
        if not right:
            raise DeviceFailed(f"The storage backend refused: {problem}")


@dataclass
class Image:
    size: int
    parent: str = ""
    shots: list[str] = field(default_factory=list)


class Rbd(Command):
    """One pool, and an image that is not ours. Images in the trash have ids for names."""

    def __init__(self) -> None:
        self.images = {"other": Image(GIB)}
        self.trash: dict[str, tuple[str, Image]] = {}
        self.number = 0

    async def __call__(self, *words: str) -> str:
        if words[0] == "ceph":
            stats = {"max_avail": 90 * GIB, "stored": 10 * GIB}
            return json.dumps({"pools": [{"name": "p", "stats": stats}]})
        assert words[1:5] == ("--id", "u", "--pool", "p")
        given, rest = options(words[5:], "--long", "--no-progress")
        match rest:
            case ["ls"]:
                rows = [{"image": name, "size": image.size, "format": 2} for name, image in self.images.items()]
                shots = [{"image": name, "snapshot": shot, "size": image.size}
                         for name, image in self.images.items() for shot in image.shots]  # fmt: skip
                return json.dumps(rows + shots)
            case ["create", name]:
                self._free(name)
                self.images[name] = Image(int(given["--size"].removesuffix("B")))
            case ["snap", "ls", name]:
                return json.dumps([{"name": shot} for shot in self._image(name).shots])
            case ["snap", "create", shot]:
                self._image(shot.partition("@")[0]).shots.append(shot.partition("@")[2])
            case ["snap", "rm", shot]:
                self._image(shot.partition("@")[0]).shots.remove(shot.partition("@")[2])
            case ["clone", source, target]:
                name, _, shot = source.removeprefix("p/").partition("@")
                assert shot in self._image(name).shots and given["--rbd-default-clone-format"] == "2"
                self._free(target.removeprefix("p/"))
                self.images[target.removeprefix("p/")] = Image(self._image(name).size, parent=name)
            case ["resize", name]:
                self._image(name).size = int(given["--size"].removesuffix("B"))
            case ["rename", name, new]:
                self._free(new)
                self.images[new] = self.images.pop(name)
            case ["trash", "mv", name]:
                self.number += 1
                self.trash[f"id{self.number}"] = (name, self._image(name))
                del self.images[name]
            case ["trash", "ls"]:
                return json.dumps([{"id": key, "name": name} for key, (name, _) in self.trash.items()])
            case ["trash", "rm", key]:
                name, _ = self.trash[key]
                others = [*self.images.values(), *(image for _, image in self.trash.values())]
                if any(image.parent == name for image in others):
                    raise DeviceFailed("The storage backend refused: image has snapshots with linked clones")
                del self.trash[key]
            case other:
                raise AssertionError(other)
        return ""

    def _image(self, name: str) -> Image:
        if name not in self.images:
            raise DeviceFailed(f"The storage backend refused: error opening image {name}: No such file or directory")
        return self.images[name]

    def _free(self, name: str) -> None:
        if name in self.images:
            raise DeviceFailed(f"The storage backend refused: image {name} already exists")
