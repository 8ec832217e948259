"""Bodies of requests: taken out of their envelope, owner filled in, each attribute checked, defaults laid under."""

from collections.abc import Callable
from typing import Any

from hagane.api.http import Request
from hagane.api.resource import REQUIRED
from hagane.network.attr import UNSET, Given
from hagane.network.errors import bad_request
from hagane.network.value import LONGEST
from hagane.network.view import Views
from hagane.state.database import Row

Creatable = tuple[str, str, Any, Callable[[str, Any], Any]]


class Bodies(Views):
    """The half of a resource that reads bodies."""

    def __init__(self, cloud: Any) -> None:
        super().__init__(cloud)
        self._creatable: list[Creatable] = [
            (a.label, a.name, a.default, a.type.check) for a in self.attrs if "c" in a.write
        ]
        self._uncreatable = frozenset(a.label for a in self.attrs if "c" not in a.write)

    def unwrap(self, body: Any, *, bulk: bool) -> tuple[list[dict[str, Any]], bool]:
        """The objects of a body, and whether it was a list of them. Raises HTTPBadRequest."""
        if body is None:
            raise bad_request("Resource body required")
        if not isinstance(body, dict):
            raise bad_request("Body contains invalid data")
        if bulk and self.plural in body:
            many = body[self.plural]
            if not many:
                raise bad_request("Resources required")
            if not isinstance(many, list) or not all(isinstance(entry, dict) for entry in many):
                raise bad_request("Body contains invalid data")
            if len(many) > LONGEST:
                raise bad_request(f"A request creates at most {LONGEST} {self.plural}")
            return [self._object(entry if self.name in entry else {self.name: entry}) for entry in many], True
        return [self._object(body)], False

    def _object(self, body: dict[str, Any]) -> dict[str, Any]:
        inner = body.get(self.name)
        if inner is None:
            raise bad_request(f"Unable to find '{self.name}' in request body")
        if not isinstance(inner, dict):
            raise bad_request(f"Object '{self.name}' contains invalid data")
        return inner

    def _known(self, request: Request, body: dict[str, Any], *, create: bool) -> dict[str, Any]:
        """The body with its owner under both names, if it names or needs one."""
        body = dict(body)
        for one, other in (("tenant_id", "project_id"), ("project_id", "tenant_id")):
            if one in body and other not in body:
                body[other] = body[one]
        if body.get("project_id") != body.get("tenant_id"):
            raise bad_request("'project_id' and 'tenant_id' do not match")
        if "project_id" in body and body["project_id"] != request.caller.project_id and not self.sees_all(request):
            raise bad_request("Specifying 'project_id' other than the authenticated project in request is not allowed "
                              "for the current user.")  # fmt: skip
        if create and "project_id" in self.by_label and "project_id" not in body:
            if not request.caller.project_id:
                raise bad_request("Running without keystone AuthN requires that project_id is specified")
            body["project_id"] = body["tenant_id"] = request.caller.project_id
        unknown = [label for label in body if label not in self.by_label]
        if unknown:
            raise bad_request(f"Unrecognized attribute(s) '{', '.join(unknown)}'")
        return body

    def new_row(self, request: Request, body: dict[str, Any]) -> tuple[Row, Given]:
        """A body as a row, defaults included, and which attributes were set to something else than these."""
        body = self._known(request, body, create=True)
        row: Row = {}
        given = []
        if not self._uncreatable.isdisjoint(body):
            raise bad_request(f"Attribute '{next(x for x in body if x in self._uncreatable)}' not allowed in POST")
        for label, name, default, check in self._creatable:
            if label not in body:
                if default is REQUIRED:
                    raise bad_request(f"Failed to parse request. Required attribute '{label}' not specified")
                if default is not UNSET:
                    row[name] = default() if callable(default) else default
                continue
            value = row[name] = check(label, body[label])
            if default is UNSET or default is REQUIRED or value != (default() if callable(default) else default):
                given.append(name)
        row.pop("tenant_id", None)
        return row, frozenset(given)

    def changed_row(self, request: Request, body: dict[str, Any]) -> Row:
        """A body as changes."""
        body = self._known(request, body, create=False)
        for label in body:
            if "u" not in self.by_label[label].write:
                raise bad_request(f"Cannot update read-only attribute {label}")
        return {
            self.by_label[label].name: self.by_label[label].type.check(label, value) for label, value in body.items()
        }
