"""Access rules of application credentials: which requests a token of such a credential may make.

A path of a rule may hold `*` (within a segment), `**` (across segments) and `{name}` (one segment). It is written as
the service's own documents write it ("/v2.1/servers"), so our prefix before it ("/compute") is optional.
"""

import re
from functools import lru_cache

from hagane.api.http import Request
from hagane.state.database import Row

_PART = re.compile(r"(?P<tag>\{[^}]*\})|(?P<deep>\*\*)|(?P<wild>\*)|(?P<literal>[^{*]+|\{)")


@lru_cache(1000)
def _compiled(pattern: str) -> re.Pattern[str]:
    text = ""
    for match in _PART.finditer(pattern):
        if match["tag"]:
            text += "[^/]+"
        elif match["deep"]:
            text += ".*"
        elif match["wild"]:
            text += "[^/]*"
        else:
            text += re.escape(match["literal"])
    return re.compile(text)


def allows(rules: list[Row], request: Request) -> bool:
    """Whether one of the rules names this request's service, method and path."""
    service = request.service
    paths = (request.path, request.path.removeprefix(service.prefix))
    for rule in rules:
        if rule["service"] == service.type and rule["method"] == request.method:
            pattern = _compiled(rule["path"])
            if any(pattern.fullmatch(path) for path in paths):
                return True
    return False
