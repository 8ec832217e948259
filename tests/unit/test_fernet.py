"""Tokens as text."""

import base64
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hagane.identity.fernet import METHODS, Token, TokenCodec

IDS = st.one_of(st.uuids().map(lambda u: u.hex), st.uuids().map(str), st.just("default"), st.text(max_size=64))
AUDIT = st.one_of(
    st.binary(min_size=16, max_size=16).map(lambda b: base64.urlsafe_b64encode(b)[:22].decode()), st.text()
)
SCOPES = st.one_of(
    st.just({}),
    st.just({"system": True}),
    IDS.map(lambda project: {"project_id": project}),
    IDS.map(lambda domain: {"domain_id": domain}),
)


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> TokenCodec:
    return TokenCodec(tmp_path_factory.mktemp("state"))


def token(**more: object) -> Token:
    audit = base64.urlsafe_b64encode(uuid4().bytes)[:22].decode()
    values = {"methods": ("password",), "issued_at": 1.8e9, "expires_at": 1.8e9 + 3600, "audit_ids": (audit,)}
    return Token(user_id=uuid4().hex, **(values | more))  # type: ignore[arg-type]


@given(
    IDS,
    st.sets(st.sampled_from(METHODS)),
    st.floats(0, 1e10),
    st.floats(0, 1e10),
    st.lists(AUDIT, max_size=2),
    SCOPES,
    st.none() | IDS,
)
def test_a_token_comes_back(
    codec: TokenCodec,
    user: str,
    methods: set[str],
    issued: float,
    expires: float,
    audits: list[str],
    scope: dict[str, object],
    credential: str | None,
) -> None:
    before = Token(
        user_id=user,
        methods=tuple(method for method in METHODS if method in methods),
        issued_at=issued,
        expires_at=expires,
        audit_ids=tuple(audits),
        application_credential_id=credential,
        **scope,  # type: ignore[arg-type]
    )
    text = codec.encode(before)
    assert codec.decode(text) == before
    assert codec.decode(text) is codec.decode(text)


def test_a_project_scoped_token_is_short_and_plain(codec: TokenCodec) -> None:
    text = codec.encode(token(project_id=uuid4().hex))
    assert len(text) <= 204 and text.replace("-", "a").replace("_", "a").isalnum()
    assert len(codec.encode(token(project_id=str(uuid4()), application_credential_id=uuid4().hex))) < 255


def test_an_unknown_method_is_refused(codec: TokenCodec) -> None:
    with pytest.raises(ValueError, match="tuple"):
        codec.encode(token(methods=("smell",)))


def test_a_token_expires_at_its_second() -> None:
    assert not token(expires_at=10.0).expired(9.99) and token(expires_at=10.0).expired(10.0)


@given(st.one_of(st.text(), st.binary(max_size=400).map(lambda b: base64.urlsafe_b64encode(b).decode())))
def test_rubbish_is_no_token(codec: TokenCodec, text: str) -> None:
    assert codec.decode(text) is None


def test_a_changed_token_is_no_token(codec: TokenCodec) -> None:
    text = codec.encode(token())
    for at in range(len(text) - 1):  # the last character has bits that mean nothing
        assert codec.decode(text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]) is None
    for changed in (text + "=", text + "\n", " " + text, text[:-1], text + "A", text.upper(), text + "ä"):
        assert codec.decode(changed) is None


def test_tokens_of_another_cloud_are_none_of_ours(codec: TokenCodec, tmp_path: Path) -> None:
    assert codec.decode(TokenCodec(tmp_path).encode(token())) is None


def test_what_other_keys_of_the_cloud_encrypted_is_no_token(tmp_path: Path) -> None:
    codec = TokenCodec(tmp_path)
    for data in (b"", b"\x01", b"\x02" + b"\x90" * 30, b"\x01" + b"\xc1" * 30, b"hunter2"):
        assert codec.decode(codec._ring.encrypt(data).rstrip(b"=").decode()) is None


def test_rotation_keeps_the_last_keys_and_drops_older(tmp_path: Path) -> None:
    codec = TokenCodec(tmp_path)
    texts = []
    for _ in range(4):
        texts.append(codec.encode(token()))
        codec.rotate(keep=2)
    assert [codec.decode(text) is not None for text in texts] == [False, False, True, True]
    codec.rotate(keep=0)
    assert all(codec.decode(text) is None for text in texts)


def test_another_process_follows_a_rotation(tmp_path: Path) -> None:
    one, other = TokenCodec(tmp_path), TokenCodec(tmp_path)
    old = one.encode(token())
    assert other.decode(old) is not None
    one.rotate(keep=0)
    new = one.encode(token())
    other.refresh()
    assert other.decode(old) is None and other.decode(new) is not None
    one.rotate()
    assert other.decode(one.encode(token())) is not None


def test_rubbish_does_not_push_tokens_out_of_the_cache(tmp_path: Path) -> None:
    codec = TokenCodec(tmp_path)
    text = codec.encode(token())
    known = codec.decode(text)
    for number in range(10):
        assert codec.decode(f"{number:0>200}") is None
    assert codec._cached.cache_info().currsize == 1 and codec.decode(text) is known
