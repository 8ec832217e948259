"""`lvs`, `lvcreate` ... and `rbd`, as far as the drivers use them: they keep names, sizes and what is a copy of what, and
refuse what the real ones refuse."""

import json
from dataclasses import dataclass, field
from uuid import uuid4

from hagane.drivers.volume.command import Command, Refused
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

    async def __call__(self, *words: str, seconds: float = 0) -> str:
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
    """`parent`: the key of the image that it is a copy of."""

    size: int
    parent: str = ""
    shots: list[str] = field(default_factory=list)
    watchers: list[str] = field(default_factory=list)
    features: list[str] = field(default_factory=lambda: ["layering", "exclusive-lock", "object-map", "fast-diff"])
    key: str = field(default_factory=lambda: uuid4().hex[:12])


class Rbd(Command):
    """One pool, and an image that is not ours. Images in the trash are known by their keys."""

    def __init__(self) -> None:
        self.images = {"other": Image(GIB)}
        self.trash: dict[str, tuple[str, Image]] = {}
        self.free, self.counted = 90 * GIB, 0

    async def __call__(self, *words: str, seconds: float = 0) -> str:
        given, rest = options(words[1:], "--long", "--no-progress")
        assert given["--id"] == "u"
        if words[0] == "ceph":
            return self._ceph(rest)
        assert given["--pool"] == "p" and 0 < float(given["--client-mount-timeout"]) < 10
        key = given.get("--image-id", "")
        match rest:
            case ["ls"]:
                rows = [{"image": name, "size": image.size, "format": 2} for name, image in self.images.items()]
                shots = [{"image": name, "snapshot": shot, "size": image.size}
                         for name, image in self.images.items() for shot in image.shots]  # fmt: skip
                return json.dumps(rows + shots)
            case ["namespace", "ls"]:
                return ""
            case ["info", *names]:
                return self._info(self.trash[key][1] if key in self.trash else self._image("".join(names) or key))
            case ["status", name]:
                return json.dumps({"watchers": self._image(name).watchers})
            case ["create", name]:
                self._free(name)
                self.images[name] = Image(int(given["--size"].removesuffix("B")))
            case ["snap", "ls", *names]:
                image = self.trash[key][1] if key else self._image(names[0])
                return json.dumps([{"name": shot} for shot in image.shots])
            case ["snap", "purge"]:
                self.trash[key][1].shots.clear()
            case ["snap", "create", shot]:
                name, _, mark = shot.partition("@")
                if mark in self._image(name).shots:
                    raise Refused("", detail="rbd: failed to create snapshot: (17) File exists", status=17)
                self._image(name).shots.append(mark)
            case ["snap", "rm", shot]:
                self._image(shot.partition("@")[0]).shots.remove(shot.partition("@")[2])
            case ["clone", source, target]:
                name, _, shot = source.removeprefix("p/").partition("@")
                assert shot in self._image(name).shots and given["--rbd-default-clone-format"] == "2"
                self._free(target.removeprefix("p/"))
                self.images[target.removeprefix("p/")] = Image(self._image(name).size, parent=self._image(name).key)
            case ["resize", name]:
                self._image(name).size = int(given["--size"].removesuffix("B"))
            case ["rename", name, new]:
                self._free(new)
                self.images[new] = self._image(name)
                del self.images[name]
            case ["feature", "disable", name, *features]:
                image = self._image(name)
                assert set(features) <= set(image.features)
                image.features = [feature for feature in image.features if feature not in features]
            case ["trash", "mv", name]:
                image = self._image(name)
                self.trash[image.key] = (name, image)
                del self.images[name]
            case ["trash", "ls"]:
                return json.dumps([{"id": key, "name": name} for key, (name, _) in self.trash.items()])
            case ["rm", name]:
                self._refuse_needed(self._image(name))
                del self.images[name]
            case ["trash", "rm", key]:
                self._refuse_needed(self.trash[key][1])
                del self.trash[key]
            case other:
                raise AssertionError(other)
        return ""

    def _ceph(self, rest: list[str]) -> str:
        if rest == ["df", "detail"]:
            self.counted += 1
            return json.dumps({"pools": [{"name": "p", "stats": {"max_avail": self.free, "stored": 10 * GIB}}]})
        assert rest == ["mon", "dump"]
        return json.dumps({"mons": [{"public_addr": "10.0.0.1:6789/0"}, {"public_addr": "[fd00::2]:6789/0"}]})

    def _info(self, image: Image) -> str:
        found = {"id": image.key, "size": image.size, "features": image.features}
        if image.parent in self.trash:
            found["parent"] = {"image": self.trash[image.parent][0], "id": image.parent, "trash": True}
        return json.dumps(found)

    def _refuse_needed(self, image: Image) -> None:
        others = [*self.images.values(), *(image for _, image in self.trash.values())]
        if image.shots or any(other.parent == image.key for other in others):
            raise Refused("", detail="rbd: image has snapshots - these must be deleted first", status=39)
        if image.watchers:
            raise Refused("", detail="rbd: error: image still has watchers", status=16)

    def _image(self, name: str) -> Image:
        if name not in self.images:
            raise Refused("", detail=f"rbd: error opening image {name}: (2) No such file or directory", status=2)
        return self.images[name]

    def _free(self, name: str) -> None:
        if name in self.images:
            raise Refused("", detail="rbd: create error: (17) File exists", status=17)
