"""Options that a domain has for itself, instead of the cloud's: PUT /domains/{id}/config {"config": {group: {option}}}.

    identity.driver                     sql: users and groups are kept here; there is no other
    identity.list_limit                 how many users or groups of the domain one list shows at most
    security_compliance                 what the domain demands of its users' passwords (compliance.py)

What has no effect here (LDAP's settings) is refused rather than kept. The real service lets nobody write the group
security_compliance by this API and has one for the whole cloud; reading it is the same.
https://docs.openstack.org/api-ref/identity/v3/#domain-configuration
"""

import re
from contextlib import suppress
from typing import Any

from hagane.api.cpu import TooLong, at_most
from hagane.api.http import Request, Response, empty, json_response
from hagane.api.service import Route
from hagane.api.types import BadValue, Bool, Custom, Int, Obj, Str, Type
from hagane.cloud import Cloud
from hagane.errors import Forbidden, Invalid, NotFound
from hagane.identity.base import V3, could_not_find, enforce
from hagane.identity.domain import Domain
from hagane.state.database import Reader, Row, Tx
from hagane.state.table import Column, Table

OPTION = Table(
    "identity_domain_option",
    (
        Column("domain_id", key=True),
        Column("section", key=True),
        Column("name", key=True),
        Column("value", "json"),
    ),
)
COMPLIANCE = "security_compliance"
_YEARS = 3650  # days
_SECONDS = 0.5  # of the processor's time for one look at a password
_RULE = "identity:{}_domain_config"
Config = dict[str, dict[str, Any]]


def _regex(field: str, value: Any) -> str:
    text = str(Str(1024).check(field, value))
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise BadValue(field, value, f"{value!r} is not a 'regex'") from error
    return text


def _driver(field: str, value: Any) -> str:
    if value != "sql":
        raise _wrong(f"There is no driver {value!r} for users and groups")
    return "sql"


KNOWN: dict[str, dict[str, tuple[Type, Any]]] = {
    "identity": {
        "driver": (Custom(rule=_driver, json_schema={"enum": ["sql"]}), "sql"),
        "list_limit": (Int(min=1), None),
    },
    COMPLIANCE: {
        "password_regex": (Custom(rule=_regex, json_schema={"type": "string"}), None),
        "password_regex_description": (Str(1024), None),
        "password_expires_days": (Int(min=1, max=_YEARS), None),
        "change_password_upon_first_use": (Bool(), False),
        "minimum_password_age": (Int(min=0, max=_YEARS), 0),
        "unique_last_password_count": (Int(min=0, max=24), 0),
        "lockout_failure_attempts": (Int(min=1, max=1000), None),
        "lockout_duration": (Int(min=1), 1800),
    },
}
"""Group -> option -> what it may be, and what it is where nobody says."""
READABLE = ("password_regex", "password_regex_description")
"""What everybody may know of how passwords must be."""
_BODY = Obj(fields={"config": Obj(open=True)}, required=("config",))


async def option(reader: Reader, domain_id: str, section: str, name: str) -> Any:
    """What holds in a domain."""
    row = await OPTION.get(reader, domain_id=domain_id, section=section, name=name)
    return KNOWN[section][name][1] if row is None else row["value"]


async def compliance_of(reader: Reader, domain_id: str) -> dict[str, Any]:
    """All that a domain demands of its users' passwords."""
    rows = await OPTION.select(reader, {"domain_id": domain_id, "section": COMPLIANCE})
    return _defaults()[COMPLIANCE] | {row["name"]: row["value"] for row in rows}


async def check_password(reader: Reader, domain_id: str, password: str | None) -> None:
    """Raises Invalid for a new password that is not as the domain wants it."""
    if password is None:
        return
    rules = await compliance_of(reader, domain_id)
    wanted = rules["password_regex"]
    if not wanted or fits(wanted, password):
        return
    words = rules["password_regex_description"] or wanted
    raise Invalid(f"The password does not match the requirements: {words}.", code="PasswordRequirements")


def fits(wanted: str, password: str) -> bool:
    """Whether an expression takes a password. It takes none that it would be at for ever."""
    with suppress(TooLong), at_most(_SECONDS):
        return re.match(wanted, password) is not None
    return False


async def list_limit(reader: Reader, request: Request) -> int | None:
    """How many users or groups a list of one domain's shows at most; lists of all domains show all."""
    domain_id = request.args.get("domain_id") or request.caller.domain_id
    found: int | None = await option(reader, domain_id, "identity", "list_limit") if domain_id else None
    return found


class DomainConfig:
    """The handlers."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db

    def routes(self) -> list[Route]:
        top, default = f"{V3}/domains/{{id}}/config", f"{V3}/domains/config"
        verbs = (("GET", self.show, "get"), ("PATCH", self.update, "update"), ("DELETE", self.delete, "delete"))
        paths = (top, f"{top}/{{group}}", f"{top}/{{group}}/{{option}}")
        made = [
            Route(method, path, handler, f"domain_config:{verb}", rule=_RULE.format(verb),
                  status=204 if method == "DELETE" else 200, body=_BODY if method == "PATCH" else None)
            for path in paths for method, handler, verb in verbs
        ]  # fmt: skip
        made.append(
            Route("PUT", top, self.put, "domain_config:put", rule=_RULE.format("create"), status=201, body=_BODY)
        )
        for path in (f"{default}/default", f"{default}/{{group}}/default", f"{default}/{{group}}/{{option}}/default"):
            rule = "identity:get_domain_config_default"
            made.append(Route("GET", path, self.defaults, "domain_config:default", rule=rule))
        return made

    # -- reading -----------------------------------------------------------------------------------------------

    async def show(self, request: Request) -> Response:
        section, name = _named(request)
        compliance = section == COMPLIANCE
        enforce(request, "identity:get_security_compliance_domain_config" if compliance else _RULE.format("get"))
        await _domain(request, self.db)
        _supported(section, name)
        config = await _config(self.db, request.params["id"])
        if compliance:
            rules = await compliance_of(self.db, request.params["id"])
            known = rules if request.allowed(_RULE.format("get"), {}) else READABLE
            config[COMPLIANCE] = {label: rules[label] for label in known}
        return json_response(200, {"config": _part(request, config, section, name)})

    async def defaults(self, request: Request) -> Response:
        enforce(request, "identity:get_domain_config_default")
        section, name = _named(request)
        _supported(section, name)
        found = _defaults()
        if section is not None:
            found = {section: found[section]}
        return json_response(200, {"config": found if name is None else {name: found[str(section)][name]}})

    # -- changing ----------------------------------------------------------------------------------------------

    async def put(self, request: Request) -> Response:
        """All options anew."""
        enforce(request, _RULE.format("create"))
        body = await request.json()

        async def work(tx: Tx) -> tuple[bool, Config]:
            await _domain(request, tx)
            config = _checked(_given(body))
            anew = not await OPTION.delete(tx, {"domain_id": request.params["id"]})
            await _store(tx, request.params["id"], config)
            return anew, config

        anew, config = await self.db.write(work)
        return json_response(201 if anew else 200, {"config": config})

    async def update(self, request: Request) -> Response:
        """Some options; those of a path must be there already."""
        enforce(request, _RULE.format("update"))
        body = await request.json()
        section, name = _named(request)

        async def work(tx: Tx) -> Config:
            await _domain(request, tx)
            given = _given(body)
            config = _checked({section: given} if section is not None and name is not None else given)
            _supported(section, name)
            if section is not None:
                _only(config, section, name)
                _part(request, await _config(tx, request.params["id"]), section, name)
            await _store(tx, request.params["id"], config)
            return await _config(tx, request.params["id"])

        return json_response(200, {"config": await self.db.write(work)})

    async def delete(self, request: Request) -> Response:
        enforce(request, _RULE.format("delete"))
        section, name = _named(request)

        async def work(tx: Tx) -> None:
            await _domain(request, tx)
            _supported(section, name)
            if section is not None:
                _part(request, await _config(tx, request.params["id"]), section, name)
            where = {"domain_id": request.params["id"], "section": section, "name": name}
            await OPTION.delete(tx, {key: value for key, value in where.items() if value is not None})

        await self.db.write(work)
        return empty(204)


def _named(request: Request) -> tuple[str | None, str | None]:
    return request.params.get("group"), request.params.get("option")


async def _domain(request: Request, reader: Reader) -> None:
    key = request.params["id"]
    if await Domain.table.get(reader, id=key, is_domain=True) is None:
        raise could_not_find("domain", key)


async def _config(reader: Reader, domain_id: str) -> Config:
    """What a domain has for itself."""
    config: Config = {}
    for row in await OPTION.select(reader, {"domain_id": domain_id}, order="section, name"):
        config.setdefault(row["section"], {})[row["name"]] = row["value"]
    return config


def _defaults() -> Config:
    return {section: {name: usual for name, (_, usual) in names.items()} for section, names in KNOWN.items()}


def _part(request: Request, config: Config, section: str | None, name: str | None) -> dict[str, Any]:
    """The group or option that a path names. Raises NotFound."""
    if section is None and config:
        return config
    found = config.get(section or "", {})
    if name is not None and name in found:
        return {name: found[name]}
    if name is None and found:
        return {str(section): found}
    what = "any options" if section is None else f"group {section}"
    if name is not None:
        what = f"option {name} in group {section}"
    text = f"Could not find {what} in domain configuration for domain {request.params['id']}."
    raise NotFound(text, code="DomainConfigNotFound")


def _wrong(reason: str) -> Forbidden:
    return Forbidden(f"Invalid domain specific configuration: {reason}.", code="InvalidDomainConfig")


def _supported(section: str | None, name: str | None) -> None:
    """Raises Forbidden."""
    if section is not None and section not in KNOWN:
        raise _wrong(f"Group {section} is not supported for domain specific configurations")
    if section is not None and name is not None and name not in KNOWN[section]:
        raise _wrong(f"Option {name} in group {section} is not supported for domain specific configurations")


def _given(body: Any) -> dict[str, Any]:
    config = body.get("config") if isinstance(body, dict) else None
    if not isinstance(config, dict) or not config:
        raise _wrong("No options specified")
    return config


def _checked(given: dict[str, Any]) -> Config:
    """Raises Forbidden, BadValue."""
    config: Config = {}
    for section, options in given.items():
        if not isinstance(options, dict) or not options:
            raise _wrong(f"The value of group {section} specified in the config should be a dictionary of options")
        for name, value in options.items():
            _supported(section, name)
            config.setdefault(section, {})[name] = KNOWN[section][name][0].check(name, value)
    return config


def _only(config: Config, section: str, name: str | None) -> None:
    """A path that names a group or an option changes nothing else. Raises Forbidden."""
    if list(config) != [section] or (name is not None and list(config[section]) != [name]):
        what = f"group {section}" if name is None else f"option {name} in group {section}"
        raise _wrong(f"Trying to update {what}, so that, and only that, must be specified in the config")


async def _store(tx: Tx, domain_id: str, config: Config) -> None:
    for section, options in config.items():
        for name, value in options.items():
            key: Row = {"domain_id": domain_id, "section": section, "name": name}
            await OPTION.delete(tx, key)
            await OPTION.insert(tx, key | {"value": value})
