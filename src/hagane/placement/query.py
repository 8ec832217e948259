"""What placement queries ask of Hosts: resources, traits, tree. A tree here is always one provider."""

from dataclasses import dataclass

from hagane.api.http import Request
from hagane.api.text import natural
from hagane.api.types import is_uuid
from hagane.errors import Invalid
from hagane.placement.trait import Vocabulary, traits_of
from hagane.state.database import Row


@dataclass(frozen=True)
class Query:
    """A checked query string."""

    resources: dict[str, int]
    required: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    any_of: tuple[tuple[str, ...], ...] = ()
    in_tree: str | None = None
    nowhere: bool = False  # it asks for what no provider here has (an aggregate)

    @classmethod
    def of(cls, request: Request, known: set[str], words: Vocabulary) -> "Query":
        """Raises Invalid for names that are not known and values that are not right."""
        for name in request.args:
            if name not in known:
                raise Invalid(f"Invalid query string parameters: Additional properties are not allowed ('{name}' was "
                              "unexpected)")  # fmt: skip
        required: list[str] = []
        forbidden: list[str] = []
        choices: list[tuple[str, ...]] = []
        for name in ("required", "root_required"):
            for text in [value for key, value in request.query if key == name]:
                _traits(text, required, forbidden, choices, words)
        in_tree = request.args.get("in_tree")
        if in_tree is not None and not is_uuid(in_tree):
            raise Invalid(f"Invalid query string parameters: Failed validating 'format': '{in_tree}' is not a 'uuid'")
        return cls(
            _resources(request.args["resources"], words) if "resources" in request.args else {},
            tuple(required), tuple(forbidden), tuple(choices), in_tree, _elsewhere(request),
        )  # fmt: skip

    def fits(self, host: Row, inventory: dict[str, Row]) -> bool:
        """Whether a Host has the traits and the room."""
        traits = set(traits_of(host))
        if self.nowhere or (self.in_tree and host["id"] != self.in_tree):
            return False
        if not traits.issuperset(self.required) or traits & set(self.forbidden):
            return False
        if not all(traits & set(choice) for choice in self.any_of):
            return False
        return all(_has(inventory.get(name), amount) for name, amount in self.resources.items())


def _has(row: Row | None, amount: int) -> bool:
    return row is not None and row["used"] + amount <= row["capacity"] and amount <= row["max_unit"]


def _elsewhere(request: Request) -> bool:
    """Providers here are in no aggregates, so any that is asked for holds none of them."""
    return any(not value.startswith("!") for name, value in request.query if name == "member_of")


def _resources(text: str, words: Vocabulary) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in text.split(","):
        name, _, amount = part.partition(":")
        if not (wanted := natural(amount)):
            raise Invalid(f"Badly formed resources parameter. Expected resources query string parameter in form: "
                          f"?resources=VCPU:2,MEMORY_MB:1024. Got: \"{text}\".")  # fmt: skip
        if name not in words.classes:
            raise Invalid(f"Invalid resource class in resources parameter: No such resource class {name}.")
        found[name] = wanted
    return found


def _traits(
    text: str, required: list[str], forbidden: list[str], choices: list[tuple[str, ...]], words: Vocabulary
) -> None:
    if text.startswith("in:"):
        names = text[3:].split(",")
        choices.append(tuple(names))
    else:
        names = [name.lstrip("!") for name in text.split(",")]
        required += [name for name in text.split(",") if not name.startswith("!")]
        forbidden += [name[1:] for name in text.split(",") if name.startswith("!")]
    unknown = [name for name in names if name not in words.traits]
    if unknown:
        raise Invalid(f"No such trait(s): {', '.join(sorted(unknown))}.")
