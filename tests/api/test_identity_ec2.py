"""Keys of the EC2 kind and other credentials: who sees them, how they are kept, what a signature is worth."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import openstack
import pytest

from hagane.identity.ec2_signature import right
from tests.api.people import Person, person
from tests.support import Running

V3 = "/identity/v3"
TOKENS = f"{V3}/auth/tokens"
# From "Examples of the complete Signature Version 4 signing process" (Amazon, GET of a list of users).
EXAMPLE = {
    "access": "AKIDEXAMPLE", "secret": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "signature": "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
}  # fmt: skip


def sign(secret: str, params: dict[str, str], host: str) -> str:
    """A signature of version 2."""
    signed = params | {"SignatureMethod": "HmacSHA256"}
    query = "&".join(f"{quote(key, safe='')}={quote(signed[key], safe='-_~')}" for key in sorted(signed))
    return base64.b64encode(hmac.digest(secret.encode(), f"GET\n{host}\n/x\n{query}".encode(), "sha256")).decode()


def request(key: dict[str, Any], host: str = "cloud", signed_for: str = "", **params: str) -> dict[str, Any]:
    params = {"SignatureVersion": "2", "Timestamp": datetime.now(UTC).isoformat(), "Action": "List it"} | params
    signature = sign(key["secret"], params, signed_for or host)
    return {
        "access": key["access"],
        "signature": signature,
        "host": host,
        "verb": "GET",
        "path": "/x",
        "params": params,
    }


@pytest.fixture
def key(victim: Person) -> dict[str, Any]:
    answer = victim.http.post(f"{V3}/users/{victim.user_id}/credentials/OS-EC2", json={"tenant_id": victim.project_id})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()["credential"]
    return made


def exchange(http: httpx.Client, signed: dict[str, Any]) -> httpx.Response:
    return http.post(f"{V3}/ec2tokens", json={"credentials": signed})


def test_a_key_is_its_users(victim: Person, stranger: Person, key: dict[str, Any]) -> None:
    many = f"{V3}/users/{victim.user_id}/credentials/OS-EC2"
    assert set(key) == {"user_id", "tenant_id", "access", "secret", "trust_id", "links"}
    one = f"{many}/{key['access']}"
    assert victim.http.get(one).json()["credential"] == key
    assert key in victim.http.get(many).json()["credentials"]
    mine = f"{V3}/users/{stranger.user_id}/credentials/OS-EC2"
    for answer in (
        stranger.http.get(many), stranger.http.get(one), stranger.http.get(f"{mine}/{key['access']}"),
        stranger.http.delete(f"{mine}/{key['access']}"), stranger.http.post(many, json={"tenant_id": "x"}),
    ):  # fmt: skip
        assert answer.status_code == 403, answer.text
        assert key["secret"] not in answer.text
    assert victim.http.post(many, json={"tenant_id": "nowhere"}).status_code == 404
    assert victim.http.post(many, json={}).status_code == 400
    assert victim.http.delete(one).status_code == 204
    assert victim.http.get(one).status_code == 404


def test_a_signature_is_worth_a_token(http: httpx.Client, victim: Person, key: dict[str, Any]) -> None:
    answer = exchange(http, request(key))
    assert answer.status_code == 200
    token, text = answer.json()["token"], answer.headers["x-subject-token"]
    assert (token["user"]["id"], token["project"]["id"]) == (victim.user_id, victim.project_id)
    assert token["methods"] == ["ec2credential"]
    headers = {"X-Auth-Token": text}
    assert http.get("/compute/v2.1/servers", headers=headers).status_code == 200
    # Such a token is not the user: it makes and manages nothing that would outlive it.
    user = f"{V3}/users/{victim.user_id}"
    for refused in (
        http.post(TOKENS, json={"auth": {"identity": {"methods": ["token"], "token": {"id": text}}}}),
        http.get(f"{user}/credentials/OS-EC2", headers=headers),
        http.get(f"{user}/application_credentials", headers=headers),
        http.get(f"{V3}/credentials", headers=headers),
        http.get(user, headers=headers),
        http.get(f"{V3}/OS-TRUST/trusts?trustor_user_id={victim.user_id}", headers=headers),
    ):
        assert refused.status_code == 403, refused.text


def test_a_signature_may_leave_the_port_out(http: httpx.Client, key: dict[str, Any]) -> None:
    assert exchange(http, request(key, "cloud:8773", "cloud")).status_code == 200
    assert exchange(http, request(key, "cloud:8773", "cloud:8774")).status_code == 401


def test_what_is_worth_nothing(http: httpx.Client, victim: Person, key: dict[str, Any]) -> None:
    good = request(key)
    for status, answer in (
        (401, exchange(http, good | {"signature": "AAAA"})),
        (401, exchange(http, good | {"signature": None})),
        (401, exchange(http, good | {"path": "/y"})),
        (401, exchange(http, good | {"params": good["params"] | {"Action": "Delete"}})),
        (401, exchange(http, good | {"params": None})),
        (401, exchange(http, request(key, Timestamp="2001-01-01T00:00:00Z"))),
        (401, exchange(http, request(key, Timestamp="yesterday"))),
        (401, exchange(http, request(key, SignatureVersion="7"))),
        (404, exchange(http, good | {"access": "unknown"})),
        (401, exchange(http, {"x": "y"})),
        (400, http.post(f"{V3}/ec2tokens", json={})),
        (403, exchange(victim.http, good)),
    ):
        assert answer.status_code == status, answer.text


def test_version_4(http: httpx.Client, victim: Person) -> None:
    """The example of the signature's own specification, but for its age."""
    blob = json.dumps({"access": EXAMPLE["access"], "secret": EXAMPLE["secret"]})
    body = {"type": "ec2", "user_id": victim.user_id, "project_id": victim.project_id, "blob": blob}
    assert victim.http.post(f"{V3}/credentials", json={"credential": body}).status_code == 201
    authorization = (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request,"
        "SignedHeaders=content-type;host;x-amz-date,Signature=" + EXAMPLE["signature"]
    )
    headers = {"Authorization": authorization, "Host": "iam.amazonaws.com", "X-Amz-Date": "20150830T123600Z",
               "Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}  # fmt: skip
    signed = {"access": EXAMPLE["access"], "signature": EXAMPLE["signature"], "host": "iam.amazonaws.com", "verb": "GET",
              "path": "/", "params": {"Action": "ListUsers", "Version": "2010-05-08"}, "headers": headers,
              "body_hash": hashlib.sha256(b"").hexdigest()}  # fmt: skip
    assert right(EXAMPLE["secret"], signed)
    assert not right(EXAMPLE["secret"], signed | {"path": "/x"})
    assert exchange(http, signed).status_code == 401  # signed years ago


def test_keys_end_with_user_role_and_project(http: httpx.Client, cloud: Running) -> None:
    owner = person(cloud)
    many = f"{V3}/users/{owner.user_id}/credentials/OS-EC2"
    key = owner.http.post(many, json={"tenant_id": owner.project_id}).json()["credential"]
    assert exchange(http, request(key)).status_code == 200
    http.patch(f"{V3}/users/{owner.user_id}", json={"user": {"enabled": False}})
    assert exchange(http, request(key)).status_code == 401
    http.patch(f"{V3}/users/{owner.user_id}", json={"user": {"enabled": True}})
    http.delete(f"{V3}/projects/{owner.project_id}")
    assert exchange(http, request(key)).status_code == 404
    owner.http.close()


def test_credentials_are_kept_encrypted(
    cloud: Running, victim: Person, http: httpx.Client, key: dict[str, Any]
) -> None:
    body = {"type": "cert", "blob": "a-very-secret-blob", "user_id": victim.user_id, "colour": "red"}
    made = victim.http.post(f"{V3}/credentials", json={"credential": body}).json()["credential"]
    assert (made["blob"], made["project_id"], made["colour"]) == ("a-very-secret-blob", None, "red")
    one = f"{V3}/credentials/{made['id']}"
    assert victim.http.get(one).json()["credential"] == made
    stored = b"".join(file.read_bytes() for file in Path(cloud.config.state).rglob("*") if file.is_file())
    assert b"a-very-secret-blob" not in stored
    assert key["secret"].encode() not in stored
    changed = victim.http.patch(one, json={"credential": {"blob": "new"}})
    assert changed.json()["credential"]["blob"] == "new"
    for wrong in ({"type": "ec2"}, {}, {"blob": {"x": 1}}):
        assert victim.http.patch(one, json={"credential": wrong}).status_code == 400
    assert http.get(one).json()["credential"]["blob"] == "new"
    assert victim.http.delete(one).status_code == 204


def test_credentials_of_others(victim: Person, stranger: Person, http: httpx.Client, key: dict[str, Any]) -> None:
    own = {entry["user_id"] for entry in victim.http.get(f"{V3}/credentials").json()["credentials"]}
    assert own == {victim.user_id}
    assert stranger.http.get(f"{V3}/credentials?user_id={victim.user_id}").json()["credentials"] == []
    assert http.get(f"{V3}/credentials?user_id={victim.user_id}&type=ec2").json()["credentials"]
    one = f"{V3}/credentials/{hashlib.sha256(key['access'].encode()).hexdigest()}"
    for answer in (
        stranger.http.get(one), stranger.http.delete(one), stranger.http.patch(one, json={"credential": {"blob": "x"}}),
        stranger.http.post(f"{V3}/credentials",
                           json={"credential": {"type": "x", "blob": "x", "user_id": victim.user_id}}),
    ):  # fmt: skip
        assert answer.status_code == 403, answer.text


@pytest.mark.parametrize("blob", ["no json", "{}", '{"secret": "x"}', "[1]"])
def test_a_key_needs_an_access_key(victim: Person, blob: str) -> None:
    body = {"type": "ec2", "user_id": victim.user_id, "project_id": victim.project_id, "blob": blob}
    assert victim.http.post(f"{V3}/credentials", json={"credential": body}).status_code == 400


def test_openstacksdk(cloud: Running, victim: Person) -> None:
    with cloud.connect(**victim.auth) as connection:
        made = connection.identity.create_credential(type="cert", blob="x", user_id=victim.user_id)
        assert connection.identity.get_credential(made.id).blob == "x"
        connection.identity.delete_credential(made)
        with pytest.raises(openstack.exceptions.HttpException):
            connection.identity.get_credential(made.id)
