"""What follows from a token's own text (fernet.py): whose revocation ends it, and how its times are written."""

from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from os import urandom

from hagane.identity.fernet import Token as Ticket

__all__ = ["Ticket", "audit_id", "chain", "iso", "scoped", "subjects"]


def scoped(ticket: Ticket) -> bool:
    return bool(ticket.system or ticket.project_id or ticket.domain_id)


def chain(audit: str) -> str:
    """The subject that stands for a token and for all that were made from it."""
    return "chain:" + audit


def subjects(ticket: Ticket) -> list[str]:
    """Whose revocation ends this token. The last audit id is that of the token at the start of its chain."""
    ids = (ticket.user_id, ticket.project_id, ticket.domain_id, ticket.application_credential_id, ticket.trust_id,
           ticket.access_token_id, ticket.audit_ids[0])  # fmt: skip
    return [subject for subject in (*ids, chain(ticket.audit_ids[-1])) if subject]


def audit_id() -> str:
    return urlsafe_b64encode(urandom(16))[:22].decode()


def iso(seconds: float) -> str:
    """As tokens write times: 2026-01-31T12:00:00.000000Z."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
