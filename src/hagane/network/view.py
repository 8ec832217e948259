"""Answers: rows as this caller gets to see them."""

from collections.abc import Sequence
from typing import Any, ClassVar

from hagane.api.http import Request
from hagane.api.resource import Attr
from hagane.api.turns import in_turns
from hagane.network.permit import Permits
from hagane.network.present import FromTuple, Made, compiled, from_row
from hagane.state.database import Reader, Row

Labels = tuple[tuple[str, str | None], ...]


class Views(Permits):
    """The half of a resource that answers."""

    needs: ClassVar[tuple[str, ...]] = ("id",)  # columns that `computed` reads

    def __init__(self, cloud: Any) -> None:
        super().__init__(cloud)
        self._labels: Labels = tuple((a.label, self.column(a)) for a in self.attrs if a.shown)
        self._compiled: dict[Labels, FromTuple] = {}
        self._read_rules: list[tuple[str, str]] | None = None

    @staticmethod
    def column(attr: Attr) -> str | None:
        """The column that keeps an attribute; None where it is computed."""
        if attr.name == "tenant_id":
            return "project_id"
        return attr.name if attr.stored else None

    async def computed(self, request: Request, reader: Reader, rows: Sequence[Row]) -> Sequence[Made]:
        """What answers hold that is not stored, for all rows at once. Each row has at least the columns of `needs`."""
        return [{}] * len(rows)

    def labels(self, request: Request, target: dict[str, Any]) -> tuple[tuple[str, str | None], ...]:
        """(wire name, column) of what this caller gets to see: the asked-for fields, less what the policy hides."""
        policy = self.policy(request)
        if self._read_rules is None:
            rules = [(label, f"{self.rule('get')}:{label}") for label, _ in self._labels]
            self._read_rules = [(label, rule) for label, rule in rules if rule in policy]
        creds = request.caller.creds
        hidden = [label for label, rule in self._read_rules if not policy.check(rule, creds, target)]
        fields = [value for name, value in request.query if name == "fields" and value]
        if not hidden and not fields:
            return self._labels
        return tuple(
            (label, column) for label, column in self._labels
            if label not in hidden and (not fields or label in fields)
        )  # fmt: skip

    async def views(self, request: Request, reader: Reader, rows: list[Row]) -> list[Made]:
        """Rows of Python values as answers."""
        if not rows:
            return []
        labels = self.labels(request, await self.target_of(request, reader, rows[0]))
        made = await self.computed(request, reader, rows)
        return [from_row(row, labels, extra) for row, extra in zip(rows, made, strict=True)]

    async def view(self, request: Request, reader: Reader, row: Row) -> Made:
        return (await self.views(request, reader, [row]))[0]

    async def list_views(self, request: Request, found: Sequence[Sequence[Any]]) -> list[Made]:
        """Rows as the store keeps them as answers: the fast way for long lists."""
        if not found:
            return []
        made = await self._list_computed(request, found)
        presenters = await self._presenters(request, found)
        owner = self._owner_place()
        pairs = list(zip(found, made, strict=True))
        return await in_turns(pairs, lambda pair: presenters[pair[0][owner]](*pair), 1000)

    async def _list_computed(self, request: Request, found: Sequence[Sequence[Any]]) -> Sequence[Made]:
        if all(column is not None for _, column in self._labels):
            return [_NOTHING] * len(found)
        places = [(name, self.table.names.index(name)) for name in self.needs]
        rows = [{name: values[place] for name, place in places} for values in found]
        return await self.computed(request, self.db, rows)

    def _owner_place(self) -> int:
        return self.table.names.index("project_id")

    async def _presenters(self, request: Request, found: Sequence[Sequence[Any]]) -> dict[str | None, FromTuple]:
        """project -> presenter: what is hidden may depend on whose a row is, and on nothing else in it."""
        owner = self._owner_place()
        first: dict[str | None, Sequence[Any]] = {}
        for values in found:
            first.setdefault(values[owner], values)
        rows = [self.table.decode(values) for values in first.values()]
        targets = await self.targets_of(request, self.db, rows)
        return {p: self._presenter(self.labels(request, t)) for p, t in zip(first, targets, strict=True)}

    def _presenter(self, labels: Labels) -> FromTuple:
        presenter = self._compiled.get(labels)
        if presenter is None:
            presenter = self._compiled[labels] = compiled(self.table, labels)
        return presenter


_NOTHING: Made = {}
