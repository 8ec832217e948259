"""The shape of the body of POST /auth/tokens, so that nothing behind it has to ask for types."""

from typing import Any

from hagane.api.types import BadValue, ListOf, Obj, Str
from hagane.errors import Invalid

_REF = Obj(fields={"id": Str(None), "name": Str(None)}, open=True)
_IN_DOMAIN = Obj(fields={"id": Str(None), "name": Str(None), "domain": _REF}, open=True)
_USER = Obj(fields={"id": Str(None), "name": Str(None), "password": Str(None), "domain": _REF}, open=True)
_CODE = Obj(fields={"id": Str(None), "name": Str(None), "passcode": Str(None), "domain": _REF}, open=True)
_IDENTITY = Obj(
    fields={
        "methods": ListOf(item=Str(None)),
        "password": Obj(fields={"user": _USER}, open=True),
        "totp": Obj(fields={"user": _CODE}, open=True),
        "token": Obj(fields={"id": Str(None)}, required=("id",), open=True),
        "oauth1": Obj(open=True),
        "application_credential": Obj(
            fields={"id": Str(None), "name": Str(None), "secret": Str(None), "user": _IN_DOMAIN}, open=True
        ),
    },
    required=("methods",),
    open=True,
)
_AUTH = Obj(fields={"identity": _IDENTITY}, required=("identity",), open=True)
_SCOPE = Obj(fields={"project": _IN_DOMAIN, "domain": _REF, "OS-TRUST:trust": Obj(fields={"id": Str(None)}, open=True)},
             open=True)  # fmt: skip


def validate(auth: Any) -> None:
    """Raises BadValue, Invalid."""
    _AUTH.check("", auth)
    scope = auth.get("scope")
    if isinstance(scope, dict):
        _SCOPE.check("scope", scope)
    elif scope is not None and not isinstance(scope, str):
        raise BadValue("scope", scope, f"{scope!r} is not of type 'object', 'string'")
    places = {"identity/password/user": auth["identity"].get("password", {}).get("user")}
    if isinstance(scope, dict):
        places |= {f"scope/{kind}": scope.get(kind) for kind in ("project", "domain")}
    for place, named in list(places.items()):
        if named is not None:
            places[f"{place}/domain"] = named.get("domain")
    for place, named in places.items():
        if named is not None and "id" not in named and "name" not in named:
            raise Invalid(f"Invalid input for field {place}: id or name must be present.")
