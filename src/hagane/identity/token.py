"""Who asks: from the X-Auth-Token of any request to its Caller. Every API call of every service goes through here.

    text ── known? ──▶ Token            a dictionary look-up, the usual case
              └─ no ─▶ unseal ─▶ load from the store ─▶ known

What is known is forgotten by the commit that changes it: whoever changes a user, a role or a project sends a topic
(`identity`: all, `identity:<id>`: the tokens of that id) with its transaction. Other processes hear it too; should a
notification be lost, an entry is looked up anew after RECHECK seconds. A load that began before such a change may have
read what was there before, so its result is used once and not kept (`_epoch`).
"""

import time
from collections import OrderedDict

from hagane.api.http import Caller, Request
from hagane.cloud import Cloud
from hagane.errors import Forbidden, Unauthenticated
from hagane.identity.access_rule import allows
from hagane.identity.base import CATALOG, CHANGED, UNAUTHORIZED
from hagane.identity.catalog_view import Catalog
from hagane.identity.fernet import EC2_METHOD, TokenCodec
from hagane.identity.ticket import Ticket, scoped
from hagane.identity.token_load import Token, Worthless, load

GRACE = 172_800.0  # seconds for which ?allow_expired still validates a token, as the real service does
RECHECK = 30.0  # seconds
MOST = 5_000  # tokens known at a time, about 5 KB each
MISSING = "The request you have made requires authentication."


class Tokens:
    """The tokens that this process knows."""

    def __init__(self, cloud: Cloud) -> None:
        self.db = cloud.db
        self.codec = TokenCodec(cloud.config.state)
        self.catalog = Catalog(cloud.db)
        self._known: OrderedDict[str, tuple[Token, float]] = OrderedDict()
        self._of: dict[str, set[str]] = {}  # subject -> texts of its tokens
        self._epoch = 0
        cloud.db.listen(self.changed)

    async def find(self, text: str) -> Token:
        """The token of a text. Raises Worthless."""
        known = self._known.get(text)
        if known is not None and known[1] > time.time():
            return known[0]
        return await self._load(text, self._decoded(text))

    async def issue(self, ticket: Ticket) -> Token:
        """A new token, valid from now on. Raises Worthless when the ticket's scope is not open to the user."""
        text = self.codec.encode(ticket)
        return await self._load(text, self._decoded(text))

    async def expired(self, text: str, grace: float) -> Token:
        """A token that may have expired up to `grace` seconds ago. Raises Worthless."""
        return await load(self.db, text, self._decoded(text), grace=grace)

    def _decoded(self, text: str) -> Ticket:
        self.codec.refresh()  # another process may have changed the keys
        ticket = self.codec.decode(text)
        if ticket is None:
            raise Worthless("not one of ours", "Could not recognize Fernet token")
        return ticket

    async def answer(self, token: Token, *, catalog: bool = True) -> bytes:
        """The body that describes a token. Its parts are encoded already; only the catalog may have to be read."""
        parts = [b'{"token":', token.body[:-1]]
        if catalog and scoped(token.ticket):
            parts += [b',"catalog":', await self.catalog.encoded(token.caller.project_id, token.caller.user_id)]
        if providers := await self.catalog.providers():
            parts += [b',"service_providers":', providers]
        return b"".join([*parts, b"}}"])

    async def _load(self, text: str, ticket: Ticket) -> Token:
        epoch = self._epoch
        token = await load(self.db, text, ticket)
        if epoch == self._epoch:
            self._keep(token)
        return token

    def _keep(self, token: Token) -> None:
        self._drop(token.text)
        until = min(token.ticket.expires_at, time.time() + RECHECK)
        self._known[token.text] = token, until
        for subject in token.subjects:
            self._of.setdefault(subject, set()).add(token.text)
        while len(self._known) > MOST:
            self._drop(next(iter(self._known)))

    def _drop(self, text: str) -> None:
        known = self._known.pop(text, None)
        if known is None:
            return
        for subject in known[0].subjects:
            texts = self._of[subject]
            texts.discard(text)
            if not texts:
                del self._of[subject]

    def changed(self, topic: str) -> None:
        """A topic of some transaction, committed here or elsewhere ("*": some may have been missed)."""
        if topic == CATALOG:
            self.catalog.forget()
        elif topic.startswith(CHANGED + ":"):
            self._epoch += 1
            for text in list(self._of.get(topic[len(CHANGED) + 1 :], ())):
                self._drop(text)
        elif topic in (CHANGED, "*"):
            self._epoch += 1
            self._known.clear()
            self._of.clear()
            self.catalog.forget()


async def authenticate(request: Request) -> Caller:
    """The caller of a request. Raises Unauthenticated without a valid token, or where its access rules end."""
    text = request.headers.get("x-auth-token")
    if not text:
        raise Unauthenticated(MISSING)
    try:
        token = await request.cloud.use(Tokens).find(text)
    except Worthless as error:
        raise Unauthenticated(MISSING, detail=error.why) from error
    if token.access_rules is not None and not allows(token.access_rules, request):
        raise Unauthenticated(MISSING, detail="the access rules of the application credential do not allow this")
    if EC2_METHOD in token.ticket.methods and request.service.type == "identity":
        # Whoever holds a signed request of somebody's may use services with it, not change who that somebody is.
        raise Forbidden(UNAUTHORIZED, detail="a token of a signature is no authorization for the identity service")
    return token.caller
