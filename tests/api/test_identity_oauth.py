"""OAuth 1.0: the whole way from a consumer to a token, by real clients too, and everything that is refused on it."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from keystoneauth1 import session
from keystoneauth1.exceptions import NotFound
from keystoneauth1.extras import oauth1
from keystoneclient.v3 import client

from hagane.identity.oauth_store import ACCESS_TOKEN, REQUEST_TOKEN, purge_oauth
from hagane.state import clock
from tests.api.consumer import TOP, V3, Program, pair
from tests.api.people import person
from tests.support import Running

TOKENS = f"{V3}/auth/tokens"


@pytest.fixture(scope="module")
def anyone(cloud: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=cloud.url) as made:
        yield made


@pytest.fixture(scope="module")
def me(http: httpx.Client) -> dict[str, Any]:
    """The administrator's own token, as it is described."""
    token = http.headers["x-auth-token"]
    described: dict[str, Any] = http.get(TOKENS, headers={"X-Subject-Token": token}).json()["token"]
    return described


@pytest.fixture(scope="module")
def project(me: dict[str, Any]) -> str:
    return str(me["project"]["id"])


@pytest.fixture(scope="module")
def roles(http: httpx.Client) -> dict[str, str]:
    return {role["name"]: role["id"] for role in http.get(f"{V3}/roles").json()["roles"]}


@pytest.fixture
def program(http: httpx.Client, anyone: httpx.Client) -> Program:
    return Program.made(http, anyone)


def test_consumers(http: httpx.Client, cloud: Running) -> None:
    made = http.post(f"{TOP}/consumers", json={"consumer": {"description": "mine", "note": "n"}}).json()["consumer"]
    one = f"{TOP}/consumers/{made['id']}"
    assert len(made.pop("secret")) == 32
    assert made == {"id": made["id"], "description": "mine", "note": "n", "links": {"self": f"{cloud.url}{one}"}}
    assert http.get(one).json() == {"consumer": made}, "its secret is shown once"
    assert made in http.get(f"{TOP}/consumers").json()["consumers"]
    changed = http.patch(one, json={"consumer": {"description": None}})
    assert changed.json()["consumer"] == made | {"description": None}
    for body in ({}, {"secret": "x"}, {"description": 1}, {"id": "x"}):
        assert http.patch(one, json={"consumer": body}).status_code == 400, body
    for body in ({"description": []}, [], "x"):
        assert http.post(f"{TOP}/consumers", json={"consumer": body}).status_code == 400, body
    assert http.delete(one).status_code == 204
    assert http.get(one).status_code == http.patch(one, json={"consumer": {"description": "x"}}).status_code == 404


def test_the_whole_way(program: Program, me: dict[str, Any], project: str, roles: dict[str, str]) -> None:
    token = program.granted(project, [{"id": roles["member"]}])
    answer = program.login(token)
    assert answer.status_code == 201, answer.text
    described = answer.json()["token"]
    assert described["OS-OAUTH1"] == {"access_token_id": token[0], "consumer_id": program.id}
    assert described["methods"] == ["oauth1"] and described["project"]["id"] == project
    assert described["user"]["id"] == me["user"]["id"] and described["catalog"]
    assert {role["name"] for role in described["roles"]} == {"member", "reader"}, "and nothing of the rest"
    text = answer.headers["x-subject-token"]
    assert program.http.get(TOKENS, headers={"X-Subject-Token": text}).json()["token"] == described
    with httpx.Client(base_url=program.anyone.base_url, headers={"X-Auth-Token": text}) as http:
        assert http.get("/network/v2.0/networks").status_code == 200
        assert http.get(f"{V3}/users").status_code == 403, "the user may, the program may not"
    assert program.login(token, {"system": {"all": True}}).json()["token"]["project"]["id"] == project


def test_keystoneauth_and_keystoneclient_go_it(
    cloud: Running, http: httpx.Client, project: str, roles: dict[str, str]
) -> None:
    admin = client.Client(session=cloud.connect().session, interface="public")
    consumer = admin.oauth1.consumers.create(description="by keystoneclient")
    asked = admin.oauth1.request_tokens.create(consumer.id, consumer.secret, project)
    agreed = admin.oauth1.request_tokens.authorize(asked.key, [roles["reader"]])
    taken = admin.oauth1.access_tokens.create(
        consumer.id, consumer.secret, asked.key, asked.secret, agreed.oauth_verifier
    )
    auth = oauth1.V3OAuth1(f"{cloud.url}{V3}", consumer.id, consumer.secret, taken.key, taken.secret)
    mine = session.Session(auth=auth)
    assert mine.get_project_id() == project
    servers = mine.get("/servers", endpoint_filter={"service_type": "compute", "interface": "public"})
    assert servers.status_code == 200
    user = auth.get_access(mine).user_id
    assert http.delete(f"{V3}/users/{user}/OS-OAUTH1/access_tokens/{taken.key}").status_code == 204
    with pytest.raises(NotFound, match="Access token not found"):  # its token is over, and it gets no other one
        mine.get(f"{cloud.url}/network/v2.0/networks")
    admin.oauth1.consumers.delete(consumer)


def test_a_user_sees_and_ends_what_was_given(
    program: Program, me: dict[str, Any], project: str, roles: dict[str, str], cloud: Running
) -> None:
    http, user = program.http, me["user"]["id"]
    token = program.granted(project, [{"name": "manager"}])
    many = f"{V3}/users/{user}/OS-OAUTH1/access_tokens"
    one = f"{many}/{token[0]}"
    shown = http.get(one).json()["access_token"]
    assert set(shown) == {"id", "consumer_id", "project_id", "authorizing_user_id", "expires_at", "links"}
    assert (shown["consumer_id"], shown["authorizing_user_id"]) == (program.id, user)
    assert shown["links"] == {"self": f"{cloud.url}{one}", "roles": f"{cloud.url}{one}/roles"}
    assert shown in http.get(many).json()["access_tokens"] and token[1] not in http.get(many).text
    assert [role["id"] for role in http.get(f"{one}/roles").json()["roles"]] == [roles["manager"]]
    assert http.get(f"{one}/roles/{roles['manager']}").json()["role"]["name"] == "manager"
    assert http.get(f"{one}/roles/{roles['reader']}").status_code == 404
    other = f"{V3}/users/{uuid4().hex}/OS-OAUTH1/access_tokens"
    assert http.get(other).json()["access_tokens"] == []
    for method, path in (("GET", ""), ("GET", "/roles"), ("DELETE", "")):
        assert http.request(method, f"{other}/{token[0]}{path}").status_code == 404
    text = program.login(token).headers["x-subject-token"]
    assert http.delete(one).status_code == 204
    assert http.get(one).status_code == http.delete(one).status_code == 404
    assert http.get(TOKENS, headers={"X-Subject-Token": text}).status_code == 404, "its tokens end with it"
    assert program.login(token).status_code == 404
    events = http.get(f"{V3}/OS-REVOKE/events").json()["events"]
    assert any(event.get("OS-OAUTH1:access_token_id") == token[0] for event in events)


def test_the_end_of_a_consumer_ends_all_of_it(program: Program, project: str) -> None:
    token, waiting = program.granted(project, [{"name": "reader"}]), program.asked(project)
    text = program.login(token).headers["x-subject-token"]
    program.http.delete(f"{TOP}/consumers/{program.id}")
    assert program.http.get(TOKENS, headers={"X-Subject-Token": text}).status_code == 404
    assert program.login(token).status_code == program.take(waiting, "x").status_code == 404
    assert program.ask(project).status_code == 404


def test_roles_that_the_user_loses_are_gone(
    program: Program, me: dict[str, Any], project: str, http: httpx.Client
) -> None:
    role = http.post(f"{V3}/roles", json={"role": {"name": uuid4().hex}}).json()["role"]["id"]
    grant = f"{V3}/projects/{project}/users/{me['user']['id']}/roles/{role}"
    http.put(grant)
    token = program.granted(project, [{"id": role}])
    text = program.login(token).headers["x-subject-token"]
    assert http.get(TOKENS, headers={"X-Subject-Token": text}).status_code == 200
    http.delete(grant)
    assert http.get(TOKENS, headers={"X-Subject-Token": text}).status_code == 404
    assert program.login(token).status_code == 401
    assert program.login(program.granted(project, [])).status_code == 401, "no roles, no token"
    http.delete(f"{V3}/roles/{role}")


def test_the_end_of_user_and_project_ends_it(
    program: Program, cloud: Running, http: httpx.Client, roles: dict[str, str]
) -> None:
    for end in ("users", "projects"):
        who = person(cloud, role="admin")
        token = program.asked(who.project_id)
        verifier = program.authorize(token[0], [{"name": "reader"}], who.http).json()["token"]["oauth_verifier"]
        taken = pair(program.take(token, verifier))
        assert program.login(taken).status_code == 201
        assert http.delete(f"{V3}/{end}/{who.user_id if end == 'users' else who.project_id}").status_code == 204
        assert program.login(taken).status_code == 404
        who.http.close()


# -- what is refused -------------------------------------------------------------------------------------------


def test_wrong_signatures_are_refused(program: Program, project: str) -> None:
    for more in ({"client_secret": "wrong"}, {"resource_owner_secret": "x"}, {"signature_method": "PLAINTEXT"}):
        assert program.ask(project, **more).status_code == 401, more
    for method in ("HMAC-SHA256", "HMAC-SHA512"):
        assert program.ask(project, signature_method=method).status_code == 201
    token = program.asked(project)
    verifier = program.verifier(token[0], [{"name": "reader"}])
    assert program.take((token[0], "wrong"), verifier).status_code == 401
    wrong = program.take(token, "aaaaaaaa")
    assert wrong.status_code == 401 and "verifier does not match" in wrong.text and verifier not in wrong.text
    stranger = Program.made(program.http, program.anyone)
    assert stranger.take(token, verifier).status_code == 401, "it is another consumer's"
    taken = pair(program.take(token, verifier))
    assert program.take(token, verifier).status_code == 404, "it is used up"
    assert program.login((taken[0], "wrong")).status_code == 401
    assert program.login(taken, client_secret="wrong").status_code == 401
    assert stranger.login(taken).status_code == 401
    assert program.login(taken).status_code == 201


def test_a_signed_request_is_taken_once(program: Program, project: str, cloud: Running) -> None:
    headers = program.sign(f"{cloud.url}{TOP}/request_token", callback_uri="oob") | {"Requested-Project-Id": project}
    answers = [program.anyone.post(f"{TOP}/request_token", headers=headers).status_code for _ in range(2)]
    assert answers == [201, 401]
    headers = program.sign(f"{cloud.url}{TOKENS}", program.granted(project, [{"name": "reader"}]))
    body = {"auth": {"identity": {"methods": ["oauth1"], "oauth1": {}}}}
    assert [program.anyone.post(TOKENS, json=body, headers=headers).status_code for _ in range(2)] == [201, 401]
    late = program.ask(project, timestamp=str(int(time.time()) - 700))
    assert late.status_code == 401 and "600 seconds" in late.text


def test_a_signature_is_for_one_address(program: Program, project: str, cloud: Running) -> None:
    for url in (f"{cloud.url}{TOP}/access_token", f"http://elsewhere{TOP}/request_token",
                f"{cloud.url}{TOP}/request_token?x=y"):  # fmt: skip
        headers = program.sign(url, callback_uri="oob") | {"Requested-Project-Id": project}
        assert program.anyone.post(f"{TOP}/request_token", headers=headers).status_code == 401, url
    url = f"{TOP}/request_token?x=%C3%BC&y"
    assert program.post(url, callback_uri="oob", headers={"Requested-Project-Id": project}).status_code == 201
    assert program.anyone.post(url.replace("%C3%BC", "%zz"), headers=headers).status_code == 401


@pytest.mark.parametrize("header", [
    "", "Basic eDp5", "OAuth", "OAuth x", "OAuth ,,,=", 'OAuth oauth_consumer_key=""', 'OAuth realm="x"',
    'OAuth oauth_consumer_key="a", oauth_nonce="n", oauth_timestamp="-1", oauth_signature_method="HMAC-SHA1",'
    ' oauth_signature="s"',
    'OAuth oauth_consumer_key="a%00", oauth_nonce="n", oauth_timestamp="1", oauth_signature_method="HMAC-SHA1",'
    ' oauth_signature="s"',
    'OAuth oauth_consumer_key="' + "a" * 300 + '", oauth_nonce="n", oauth_timestamp="1",'
    ' oauth_signature_method="HMAC-SHA1", oauth_signature="s"',
])  # fmt: skip
def test_bad_headers_are_refused(anyone: httpx.Client, header: str, project: str) -> None:
    headers = {"Authorization": header, "Requested-Project-Id": project} if header else {}
    body = {"auth": {"identity": {"methods": ["oauth1"], "oauth1": {}}}}
    for path in (f"{TOP}/request_token", f"{TOP}/access_token", TOKENS):
        answer = anyone.post(path, headers=headers, json=body)
        assert answer.status_code == 400, (path, answer.text)


def test_what_is_missing_is_said(program: Program, project: str) -> None:
    assert program.ask(uuid4().hex).status_code == 404
    assert program.ask(project, headers={}).status_code == 400
    assert program.ask(project, callback_uri=None).status_code == 400
    nobody = Program(program.http, program.anyone, uuid4().hex, "x")
    assert nobody.ask(project).status_code == 404
    token = program.asked(project)
    assert nobody.take(token, "x").status_code == 401
    assert program.take(token, None).status_code == 400
    assert program.take(("", ""), "x").status_code == 400
    assert program.take((uuid4().hex, "x"), "x").status_code == 404
    early = program.take(token, "aaaaaaaa")
    assert early.status_code == 401 and "authorizing user" in early.text
    assert program.login(("", "")).status_code == 400
    assert program.login((uuid4().hex, "x")).status_code == 404
    assert program.authorize(uuid4().hex, []).status_code == 404


def test_bad_roles_are_refused(program: Program, project: str, roles: dict[str, str], http: httpx.Client) -> None:
    token = program.asked(project)[0]
    for wanted in (1, "x", [1], [{}], [{"id": roles["reader"], "name": "reader"}], [{"id": 1}], [{"more": "x"}]):
        assert program.authorize(token, wanted).status_code == 400, wanted
    assert program.authorize(token, [{"name": "unheard"}]).status_code == 404
    assert program.authorize(token, [{"id": uuid4().hex}]).status_code == 401
    assert program.authorize(token, [{"id": roles["service"]}]).status_code == 401, "it is not the user's"


def test_members_may_not(program: Program, project: str, cloud: Running, me: dict[str, Any]) -> None:
    who, token = person(cloud), program.asked(project)
    for method, path in (("GET", f"{TOP}/consumers"), ("POST", f"{TOP}/consumers"),
                         ("GET", f"{TOP}/consumers/{program.id}"), ("DELETE", f"{TOP}/consumers/{program.id}"),
                         ("PUT", f"{TOP}/authorize/{token[0]}"),
                         ("GET", f"{V3}/users/{me['user']['id']}/OS-OAUTH1/access_tokens")):  # fmt: skip
        body = {"consumer": {}, "roles": []} if method in ("POST", "PUT") else None
        assert who.http.request(method, path, json=body).status_code == 403, (method, path)
    who.http.close()


def test_what_was_given_to_a_program_gives_nothing_on(
    program: Program, project: str, me: dict[str, Any], roles: dict[str, str]
) -> None:
    text = program.login(program.granted(project, [{"name": "admin"}])).headers["x-subject-token"]
    token, user = program.asked(project), me["user"]["id"]
    trust = {"trustor_user_id": user, "trustee_user_id": user, "impersonation": True, "project_id": project,
             "roles": [{"name": "reader"}]}  # fmt: skip
    with httpx.Client(base_url=program.anyone.base_url, headers={"X-Auth-Token": text}) as http:
        assert program.authorize(token[0], [{"name": "admin"}], http).status_code == 403
        assert http.get(f"{V3}/users/{user}/OS-OAUTH1/access_tokens").status_code == 403
        assert http.post(f"{V3}/OS-TRUST/trusts", json={"trust": trust}).status_code == 403
        key = {"application_credential": {"name": "x"}}
        assert http.post(f"{V3}/users/{user}/application_credentials", json=key).status_code == 403
        auth = {"identity": {"methods": ["token"], "token": {"id": text}}, "scope": {"system": {"all": True}}}
        assert http.post(TOKENS, json={"auth": auth}).status_code == 403


def test_secrets_are_kept_encrypted_and_what_expired_is_worth_nothing(
    program: Program, project: str, cloud: Running
) -> None:
    taken, waiting = program.granted(project, [{"name": "reader"}]), program.asked(project)
    verifier = program.verifier(waiting[0], [{"name": "reader"}])
    stored = b"".join(file.read_bytes() for file in Path(cloud.config.state).rglob("*") if file.is_file())
    assert program.id.encode() in stored and taken[0].encode() in stored
    for secret in (program.secret, taken[1], waiting[1], verifier):
        assert secret.encode() not in stored
    assert program.login(taken).status_code == 201
    db, now = cloud.hagane.cloud.db, {"expires_at": clock.now()}
    for table, key in ((ACCESS_TOKEN, taken[0]), (REQUEST_TOKEN, waiting[0])):
        cloud.run(lambda table=table, key=key: db.write(lambda tx: table.update(tx, {"id": key}, now)))
    for answer in (program.login(taken), program.take(waiting, verifier), program.authorize(waiting[0], [])):
        assert answer.status_code == 401 and "expired" in answer.text
    cloud.run(lambda: db.write(lambda tx: purge_oauth(tx, 0)))
    assert program.login(taken).status_code == program.take(waiting, verifier).status_code == 404
