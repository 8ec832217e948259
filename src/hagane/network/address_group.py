"""Address groups: named lists of prefixes that security group rules refer to.

The compiler reads the `addresses` of a rule's remote group; a change wakes every security group with such a rule.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import ip_network
from typing import Any

from hagane.api.http import Request, Response, json_response
from hagane.api.resource import Attr
from hagane.api.service import Route
from hagane.network import default_rule_row, rbac
from hagane.network.attr import Given, standard
from hagane.network.base import NetResource
from hagane.network.errors import bad_request, error
from hagane.network.permit import Target
from hagane.network.present import Made
from hagane.network.security_group_row import RULE
from hagane.network.value import Checked, Flag, prefixes
from hagane.state import work
from hagane.state.database import Reader, Row, Tx

_NAMING = "SELECT DISTINCT security_group_id AS key FROM security_group_rule WHERE remote_address_group_id = :id"


def addresses(field: str, value: Any) -> list[str]:
    """Prefixes without host bits: the networks that they name."""
    return (
        [] if value is None else list(dict.fromkeys(str(ip_network(p, strict=False)) for p in prefixes(field, value)))
    )


def _named(value: Any) -> list[str]:
    """As in the real service, an address alone will do where a group is changed."""
    return addresses("addresses", [_prefix(entry) for entry in value] if isinstance(value, list) else value)


def _prefix(value: Any) -> Any:
    with suppress(ValueError):
        return str(ip_network(value)) if isinstance(value, str) else value
    return value


class AddressGroup(NetResource):
    name, plural, missing, rbac = "address_group", "address_groups", "AddressGroupNotFound", "address_group"
    attrs = (
        *standard(tags="", description=1024),
        Attr("addresses", Checked(rule=addresses), write="c", default=list, filter=False, sort=False),
        Attr("shared", Flag(), stored=False, shown=False, filter=False, sort=False),
    )
    indexes = ("project_id",)

    def stamp(self, row: Row) -> None:
        super().stamp(row)
        row["tags"] = []

    async def targets_of(self, request: Request, reader: Reader, rows: Sequence[Row]) -> list[Target]:
        targets = await super().targets_of(request, reader, rows)
        await self.with_shared(request, reader, rows, targets)
        return targets

    def check(self, request: Request, verb: str, target: Target, row: Row, given: Given = frozenset()) -> None:
        """As in the real service: to who would change one that is only shared with it, there is none (404, not 403)."""
        super().check(request, verb, {name: value for name, value in target.items() if name != "shared"}, row, given)

    async def unmaking(self, request: Request, tx: Tx, row: Row) -> None:
        named = {"remote_address_group_id": row["id"]}
        if await RULE.count(tx, named) or await default_rule_row.TEMPLATE.count(tx, named):
            raise error("AddressGroupInUse", id=row["id"])
        await rbac.forget(tx, self.rbac, row["id"])

    async def add(self, request: Request) -> Response:
        def added(row: Row, wanted: list[str]) -> list[str]:
            if double := sorted(set(wanted) & set(row["addresses"])):
                raise error("AddressesAlreadyExist", addresses=double, id=row["id"])
            return [*row["addresses"], *wanted]

        return await self._change_addresses(request, "add_addresses", added)

    async def remove(self, request: Request) -> Response:
        def removed(row: Row, wanted: list[str]) -> list[str]:
            if unknown := sorted(set(wanted) - set(row["addresses"])):
                raise error("AddressesNotFound", addresses=unknown, id=row["id"])
            gone = set(wanted)
            return [each for each in row["addresses"] if each not in gone]

        return await self._change_addresses(request, "remove_addresses", removed)

    async def _change_addresses(
        self, request: Request, verb: str, change: Callable[[Row, list[str]], list[str]]
    ) -> Response:
        body = await request.json()
        if not isinstance(body, dict) or "addresses" not in body:
            raise bad_request("Missing 'addresses' in request body")
        wanted = _named(body["addresses"])

        async def act(tx: Tx) -> Made:
            row = await self.find(request, tx, request.params["id"])
            self.check(request, "update", await self.target_of(request, tx, row), row)
            row = await self.store(tx, row, {"addresses": change(row, wanted)})
            await work.wake_all(tx, "security_group", _NAMING, {"id": row["id"]}, request_id=request.id)
            return await self.view(request, tx, row)

        return json_response(200, {self.name: await self.db.write(act)})

    def routes(self) -> list[Route]:
        return [
            *super().routes(),
            self.action("add_addresses", "add_addresses", self.add),
            self.action("remove_addresses", "remove_addresses", self.remove),
        ]
