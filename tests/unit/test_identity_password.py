"""Hashing and remembering passwords; slowing down those who guess."""

import asyncio
import time

import bcrypt
import pytest

from hagane.errors import Unavailable
from hagane.identity import password, throttle
from hagane.identity.password import Passwords, hash_made, make_secret
from hagane.identity.throttle import Throttle, TooMany


async def test_a_password_and_only_it_fits_its_hash() -> None:
    passwords = Passwords(4)
    for text in ("secret", "pässwörd", "x" * 72, "x" * 73, "y" * 4000, ""):
        stored = await passwords.hash(text)
        assert await passwords.verify(text, stored)
        assert not await passwords.verify(text + "x", stored)
        assert not await passwords.verify(text[:-1] + "?", stored)


async def test_hashes_of_the_real_service_are_understood() -> None:
    passwords = Passwords(4)
    assert await passwords.verify("old", bcrypt.hashpw(b"old", bcrypt.gensalt(4)).decode())
    assert not await passwords.verify("old", "$scrypt$whatever")
    assert not await passwords.verify("a\x00b", await passwords.hash("a"))


async def test_what_was_right_is_remembered_and_what_was_wrong_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords(4)
    stored = await passwords.hash("secret")
    assert await passwords.verify("secret", stored)
    calls: list[bytes] = []
    monkeypatch.setattr(password, "_check", lambda data, stored: bool(calls.append(data)))
    assert await passwords.verify("secret", stored)
    assert not calls
    assert not await passwords.verify("guess", stored)
    assert not await passwords.verify("guess", stored)
    assert calls == [b"guess", b"guess"]


async def test_a_changed_hash_forgets_the_old_password() -> None:
    passwords = Passwords(4)
    old, new = await passwords.hash("old"), await passwords.hash("new")
    assert await passwords.verify("old", old)
    assert not await passwords.verify("old", new)


async def test_nobody_takes_as_long_as_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords(4)
    checked: list[str] = []
    monkeypatch.setattr(password, "_check", lambda data, stored: bool(checked.append(stored)))
    assert not await passwords.verify("secret", None)
    assert checked[0].startswith("$2b$04$")


async def test_made_secrets_are_long_and_checked_at_once() -> None:
    secret = make_secret()
    assert len(secret) == 86
    passwords = Passwords(12)
    started = time.perf_counter()
    assert await passwords.verify(secret, hash_made(secret))
    assert not await passwords.verify(secret[:-1], hash_made(secret))
    assert time.perf_counter() - started < 0.05


async def test_more_logins_than_fit_the_queue_are_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password, "QUEUE", 3)
    passwords = Passwords(4)
    results = await asyncio.gather(*(passwords.hash(str(n)) for n in range(5)), return_exceptions=True)
    assert sum(isinstance(result, Unavailable) for result in results) == 2


async def fail(slow: Throttle, user: str = "u", address: str = "a") -> None:
    with pytest.raises(ValueError):
        async with slow.attempt(user, address):
            raise ValueError


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    taken: list[float] = []

    async def sleep(seconds: float) -> None:
        taken.append(seconds)

    monkeypatch.setattr(throttle.asyncio, "sleep", sleep)
    return taken


async def test_failures_cost_more_and_more(pauses: list[float]) -> None:
    slow = Throttle()
    for _ in range(12):
        await fail(slow)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]


async def test_others_do_not_wait(pauses: list[float]) -> None:
    slow = Throttle()
    for _ in range(6):
        await fail(slow)
    pauses.clear()
    await fail(slow, user="other")
    await fail(slow, address="elsewhere")
    assert pauses == []


async def test_a_success_forgets(pauses: list[float]) -> None:
    slow = Throttle()
    for _ in range(6):
        await fail(slow)
    async with slow.attempt("u", "a"):
        pass
    pauses.clear()
    await fail(slow)
    assert pauses == []
    assert len(slow._pairs) == 1


async def test_a_crowd_of_guesses_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "FIRST", 0.01)
    slow = Throttle()
    for _ in range(4):
        await fail(slow)

    async def attempt() -> str:
        try:
            async with slow.attempt("u", "a"):
                raise ValueError
        except TooMany:
            return "refused"
        except ValueError:
            return "failed"

    results = await asyncio.gather(*(attempt() for _ in range(20)))
    assert results.count("refused") == 15


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MOST", 10)
    slow = Throttle()
    for n in range(50):
        await fail(slow, user=str(n))
    assert len(slow._pairs) <= 10
