"""Who is told 403 and who 404: of most things one must not even know that they are not there."""

import pytest

from tests.api.people import Person

V3 = "/identity/v3"

FOUND = {"PATCH /domains/": 404, "DELETE /domains/": 404, "DELETE /groups/": 404, "GET /roles/": 404,
         "PATCH /roles/": 404, "DELETE /roles/": 404, "GET /domains/": 403, "GET /groups/": 403, "PATCH /groups/": 403,
         "GET /projects/": 403, "GET /users/": 403, "DELETE /users/": 403}  # fmt: skip


@pytest.mark.parametrize("what", FOUND)
def test_what_a_member_hears_of_things_that_are_not_there(stranger: Person, what: str) -> None:
    method, path = what.split()
    body = {path.strip("/").removesuffix("s"): {"description": "x"}} if method == "PATCH" else None
    assert stranger.http.request(method, f"{V3}{path}nope", json=body).status_code == FOUND[what]
