"""The image API over HTTP: create, list, show, change, delete, tags, members, documents."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openstack
import pytest

from tests.api.people import Person, person
from tests.support import Running

V21 = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
V20 = {"Content-Type": "application/openstack-images-v2.0-json-patch"}
IMAGES = "/image/v2/images"


@pytest.fixture(scope="module")
def alice(cloud: Running) -> Iterator[Person]:
    who = person(cloud)
    yield who
    who.http.close()


@pytest.fixture(scope="module")
def bob(cloud: Running) -> Iterator[Person]:
    who = person(cloud)
    yield who
    who.http.close()


def make(http: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = http.post(IMAGES, json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def change(http: httpx.Client, image_id: str, *operations: Any, form: dict[str, str] = V21) -> httpx.Response:
    return http.patch(f"{IMAGES}/{image_id}", content=json.dumps(operations), headers=form)


def message(answer: httpx.Response) -> str:
    return str(answer.json()["message"])


@pytest.fixture(autouse=True)
def json_errors(http: httpx.Client, alice: Person, bob: Person) -> None:
    for client in (http, alice.http, bob.http):
        client.headers["Accept"] = "application/json"


def test_a_new_image_has_the_keys_of_the_real_service_and_no_others(http: httpx.Client) -> None:
    image = make(http, name="a", disk_format="raw", container_format="bare", tags=["b", "a", "b"], colour="red")
    assert set(image) == {
        "name", "disk_format", "container_format", "visibility", "size", "virtual_size", "status", "checksum",
        "protected", "min_ram", "min_disk", "owner", "os_hidden", "os_hash_algo", "os_hash_value", "id", "created_at",
        "updated_at", "tags", "self", "file", "schema", "colour",
    }  # fmt: skip
    assert (image["status"], image["visibility"], image["tags"]) == ("queued", "shared", ["a", "b"])
    assert image["file"] == f"/v2/images/{image['id']}/file"
    assert http.get(f"{IMAGES}/{image['id']}").json() == image


def test_free_properties_may_have_any_name(http: httpx.Client) -> None:
    own = {"problem": "a", "upload": "b", "properties": "c", "content_format": "d", "a/b": "e", "é": "f"}
    image = make(http, **own)
    assert {name: image[name] for name in own} == own
    new = change(http, image["id"], {"op": "replace", "path": "/problem", "value": "z"}).json()
    assert (new["problem"], new["upload"]) == ("z", "b")
    assert [found["id"] for found in http.get(f"{IMAGES}?upload=b&problem=z").json()["images"]] == [image["id"]]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"name": 5}, 400, "5 is not of type 'string'"),
        ({"colour": 5}, 400, "5 is not of type 'string'"),
        ({"colour": None}, 400, "None is not of type 'string'"),
        ({"disk_format": "zzz"}, 400, "'zzz' is not one of"),
        ({"min_disk": -1}, 400, "Invalid value '-1' for parameter 'min_disk': Cannot be a negative value"),
        ({"min_disk": "1"}, 400, "'1' is not of type 'integer'"),
        ({"min_ram": 2**40}, 400, "greater than the maximum"),
        ({"id": "x"}, 400, "'x' does not match"),
        ({"tags": "x"}, 400, "'x' is not of type 'array'"),
        ({"tags": ["x" * 256]}, 400, "is too long"),
        ({"visibility": "foo"}, 400, "'foo' is not one of"),
        ({"protected": "true"}, 400, "'true' is not of type 'boolean'"),
        ({"size": 5}, 403, "Attribute 'size' is read-only."),
        ({"status": "active"}, 403, "Attribute 'status' is read-only."),
        ({"self": "x"}, 403, "Attribute 'self' is read-only."),
        ({"locations": []}, 403, "Attribute 'locations' is reserved."),
        ({"os_glance_x": "y"}, 403, "Attribute 'os_glance_x' is reserved."),
        ({"os_glance_upload": "y"}, 403, "Attribute 'os_glance_upload' is reserved."),
        ({"x" * 256: "y"}, 400, "Custom property should not be greater than 255 characters."),
        ({str(n): "y" for n in range(200)}, 413, "number of allowed image properties. Attempted: 200, Maximum: 128"),
        ({"tags": [str(n) for n in range(200)]}, 413, "number of allowed image tags. Attempted: 200, Maximum: 128"),
        ([], 400, "Body expected in request."),
    ],
)
def test_bad_bodies_are_refused_with_the_reason(http: httpx.Client, body: Any, status: int, words: str) -> None:
    answer = http.post(IMAGES, json=body)
    assert answer.status_code == status, answer.text
    assert words in message(answer)


def test_an_id_is_taken_once(http: httpx.Client) -> None:
    image = make(http, id="11111111-1111-4111-8111-111111111111")
    again = http.post(IMAGES, json={"id": image["id"]})
    assert (again.status_code, message(again)) == (409, f"Image ID {image['id']} already exists!")


def test_errors_come_in_the_form_that_the_client_accepts(http: httpx.Client) -> None:
    page = http.get(f"{IMAGES}/<x>", headers={"Accept": "*/*"})
    assert page.headers["content-type"] == "text/html; charset=UTF-8"
    assert "No image found with ID &lt;x&gt;<br />" in page.text
    text = http.get(f"{IMAGES}/x", headers={"Accept": "text/plain"})
    assert text.headers["content-type"].startswith("text/plain")
    assert http.get(f"{IMAGES}/x").json() == {
        "message": "No image found with ID x", "code": "404 Not Found", "title": "Not Found",
    }  # fmt: skip


def test_a_slash_at_the_end_is_not_the_list(http: httpx.Client) -> None:
    assert http.get(f"{IMAGES}/").status_code == 404
    assert http.delete(f"{IMAGES}/").status_code == 404


def test_patch_in_both_forms(http: httpx.Client) -> None:
    image = make(http, name="a", colour="red")
    new = change(http, image["id"], {"replace": "/name", "value": "b"}, {"add": "/a~1b", "value": "c"}, form=V20).json()
    assert (new["name"], new["a/b"]) == ("b", "c")
    new = change(
        http, image["id"], {"op": "remove", "path": "/a~1b"}, {"op": "add", "path": "/size_of", "value": "1"},
        {"op": "replace", "path": "/tags", "value": ["y", "x"]}, {"op": "replace", "path": "/colour", "value": "blue"},
    ).json()  # fmt: skip
    assert "a/b" not in new
    assert (new["size_of"], new["tags"], new["colour"]) == ("1", ["x", "y"], "blue")
    assert http.get(f"{IMAGES}/{image['id']}").json() == new


@pytest.mark.parametrize(
    ("operation", "status", "words"),
    [
        ({"op": "replace", "path": "/nope", "value": "q"}, 409, "Property nope does not exist."),
        ({"op": "remove", "path": "/nope"}, 409, "Property nope does not exist."),
        ({"op": "remove", "path": "/name"}, 403, "Property name may not be removed."),
        ({"op": "replace", "path": "/status", "value": "active"}, 403, "Attribute 'status' is read-only."),
        ({"op": "replace", "path": "/id", "value": "x"}, 403, "Attribute 'id' is read-only."),
        ({"op": "move", "path": "/name"}, 400, "Invalid operation: `move`."),
        ({"op": "replace", "path": "/name"}, 400, 'Operation "replace" requires a member named "value".'),
        ({"op": "replace", "path": "name", "value": "x"}, 400, 'Pointer `name` does not start with "/".'),
        ({"op": "replace", "path": "/a/b", "value": "x"}, 400, "Invalid JSON pointer for this resource: '/a/b'"),
        ({"op": "add", "path": "/a~2b", "value": "x"}, 400, "not part of a recognized escape sequence"),
        ({"op": "replace", "path": "/name", "value": 5}, 400, "5 is not of type 'string'"),
        ({"op": "add", "path": "/os_glance_x", "value": "x"}, 403, "Attribute 'os_glance_x' is reserved."),
        ({"path": "/name", "value": "x"}, 400, "Unable to find `op`"),
        (1, 400, "Operations must be JSON objects."),
    ],
)
def test_bad_patches(http: httpx.Client, operation: Any, status: int, words: str) -> None:
    image = make(http, name="kept")
    answer = change(http, image["id"], {"op": "add", "path": "/half", "value": "made"}, operation)
    assert answer.status_code == status, answer.text
    assert words in message(answer)
    assert http.get(f"{IMAGES}/{image['id']}").json() == image


def test_a_patch_of_another_media_type_is_refused(http: httpx.Client) -> None:
    image = make(http)
    answer = change(http, image["id"], form={"Content-Type": "application/json"})
    assert answer.status_code == 415
    assert "Image PATCH expects Content-Type one of" in message(answer)


def test_filters(alice: Person) -> None:
    http = alice.http
    one = make(http, name="one", disk_format="raw", container_format="bare", tags=["x", "y"], zone="a,b", min_disk=3)
    two = make(http, name='t"wo', disk_format="qcow2", container_format="ovf", tags=["x"], protected=True)
    hid = make(http, name="hidden", os_hidden=True, visibility="private")
    http.put(f"{one['file'].replace('/v2', '/image/v2', 1)}", content=b"12345",
             headers={"Content-Type": "application/octet-stream"})  # fmt: skip

    def found(query: str) -> set[str]:
        answer = http.get(f"{IMAGES}?owner={alice.project_id}&{query}")
        assert answer.status_code == 200, answer.text
        return {image["id"] for image in answer.json()["images"]}

    both, ones, twos = {one["id"], two["id"]}, {one["id"]}, {two["id"]}
    assert found("") == both
    assert found("os_hidden=true") == {hid["id"]}
    assert found("name=one") == found("name=in:one,x") == found("name=eq:one") == ones
    assert found('name=in:"t\\"wo",z') == twos
    assert found("zone=a,b") == ones
    assert found("zone=a") == set()
    assert found("tag=x") == both
    assert found("tag=x&tag=y") == ones
    assert found("disk_format=in:raw,qcow2") == both
    assert found("container_format=ovf") == twos
    assert found("status=active") == ones
    assert found("status=foo") == set()
    assert found("size_min=5") == found("size=5") == found("size_max=5") == ones
    assert found("size_min=6") == found("size_min=-1") == set()
    assert found("protected=true") == twos
    assert found("min_disk=3") == ones
    assert found("min_disk=a") == set()
    assert found("visibility=private&os_hidden=true") == {hid["id"]}
    assert found("created_at=gt:2020-01-01T00:00:00Z") == found(f"created_at={one['created_at']}") & both or both
    assert found(f"created_at=lt:{one['created_at']}") == set()
    assert found(f"updated_at=gte:{one['created_at'].replace('Z', '%2B00:00')}") == both


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("limit=-1", "limit param must be positive"),
        ("limit=x", "limit param must be an integer"),
        ("marker=nope", "No image found with ID nope"),
        ("sort_key=foo", "Invalid sort key: foo. It must be one of the following: name, status, container_format,"),
        ("sort_key=name&sort_dir=up", "Invalid sort direction: up"),
        ("sort=name&sort_key=id", "Old and new sorting syntax cannot be combined"),
        ("sort_key=name&sort_dir=asc&sort_dir=desc", "Number of sort dirs does not match the number of sort keys"),
        ("visibility=foo", "Invalid visibility value: foo"),
        ("member_status=foo", "Invalid status: foo"),
        ("size_min=a", "Unable to filter on a range with a non-numeric value."),
        ("created_at=foo:2020-01-01", "Unable to filter on a unknown operator."),
        ("created_at=gt:xx", 'Bad "created_at" query filter format. Use ISO 8601 DateTime notation.'),
        ("protected=foo", "Invalid value 'foo' for 'protected' filter. Valid values are 'true' or 'false'."),
        ("name=neq:a", "Unable to filter by unknown operator 'neq'."),
        ('name=in:"a,b', 'Invalid filter value "a,b. The quote is not closed.'),
        ("changes-since=2020", 'The "changes-since" filter is no longer available on v2.'),
    ],
)
def test_bad_queries(http: httpx.Client, query: str, words: str) -> None:
    answer = http.get(f"{IMAGES}?{query}")
    assert answer.status_code == 400
    assert words in message(answer)


def test_pages_meet_every_image_once(cloud: Running) -> None:
    who = person(cloud)
    names = ["b", "a", "c", "a", "b"]
    made = [make(who.http, name=name)["id"] for name in names]
    url, seen, steps = f"{IMAGES}?limit=2&sort=name:asc,created_at:desc&owner={who.project_id}", [], 0
    while url:
        answer = who.http.get(url).json()
        assert answer["schema"] == "/v2/schemas/images"
        assert "marker" not in answer["first"]
        seen += [image["id"] for image in answer["images"]]
        url = "/image" + answer["next"] if "next" in answer else ""
        steps += 1
    assert seen == [made[3], made[1], made[4], made[0], made[2]]
    assert steps == 3
    assert who.http.get(f"{IMAGES}?limit=0").json()["images"] == []
    newest_first = [image["id"] for image in who.http.get(f"{IMAGES}?owner={who.project_id}").json()["images"]]
    assert newest_first == made[::-1]
    who.http.close()


def test_tags(http: httpx.Client) -> None:
    image = make(http)
    one = f"{IMAGES}/{image['id']}/tags"
    assert http.put(f"{one}/blue%20sky").status_code == http.put(f"{one}/blue%20sky").status_code == 204
    assert http.get(f"{IMAGES}/{image['id']}").json()["tags"] == ["blue sky"]
    assert http.delete(f"{one}/blue%20sky").status_code == 204
    assert http.delete(f"{one}/blue%20sky").status_code == 404
    assert message(http.put(f"{IMAGES}/nope/tags/x")) == "Image nope not found."
    assert http.put(f"{one}/{'x' * 256}").status_code == 400


def test_protected_images_stay(http: httpx.Client) -> None:
    image = make(http, protected=True)
    answer = http.delete(f"{IMAGES}/{image['id']}")
    assert (answer.status_code, message(answer)) == (403, f"Image {image['id']} is protected and cannot be deleted.")
    change(http, image["id"], {"op": "replace", "path": "/protected", "value": False})
    assert http.delete(f"{IMAGES}/{image['id']}").status_code == 204
    again = http.delete(f"{IMAGES}/{image['id']}")
    assert (again.status_code, message(again)) == (404, f"Failed to find image {image['id']} to delete")


def test_what_a_member_may_not_do(alice: Person, bob: Person) -> None:
    answer = alice.http.post(IMAGES, json={"visibility": "public"})
    assert (answer.status_code, message(answer)) == (403, "You are not authorized to complete publicize_image action.")
    answer = alice.http.post(IMAGES, json={"owner": bob.project_id})
    assert message(answer) == f"You are not permitted to create images owned by '{bob.project_id}'"
    image = make(alice.http)
    answer = change(alice.http, image["id"], {"op": "replace", "path": "/owner", "value": bob.project_id})
    assert (answer.status_code, message(answer)) == (403, "Owner can't be updated by non admin.")


def test_a_reader_only_reads(cloud: Running, alice: Person) -> None:
    reader = person(cloud, "reader", alice.project_id)
    image = make(alice.http, disk_format="raw", container_format="bare")
    one = f"{IMAGES}/{image['id']}"
    assert reader.http.get(one).status_code == 200
    answers = [reader.http.post(IMAGES, json={}), reader.http.delete(one), reader.http.put(f"{one}/tags/x"),
               reader.http.put(f"{one}/file", content=b"x", headers={"Content-Type": "application/octet-stream"}),
               reader.http.get(f"{one}/file"), change(reader.http, image["id"]),
               reader.http.post(f"{one}/actions/deactivate"),
               reader.http.post(f"{one}/members", json={"member": "p"})]  # fmt: skip
    assert [answer.status_code for answer in answers] == [403] * 8
    reader.http.close()


def test_sharing(alice: Person, bob: Person) -> None:
    image = make(alice.http, name="gift")
    one = f"{IMAGES}/{image['id']}"
    assert bob.http.get(one).status_code == bob.http.get(f"{one}/members").status_code == 404
    made = alice.http.post(f"{one}/members", json={"member": bob.project_id})
    assert made.status_code == 200
    assert set(made.json()) == {"member_id", "image_id", "status", "created_at", "updated_at", "schema"}
    assert alice.http.post(f"{one}/members", json={"member": bob.project_id}).status_code == 409

    listed = f"{IMAGES}?name=gift"
    assert bob.http.get(one).status_code == 200
    assert bob.http.get(listed).json()["images"] == []
    assert len(bob.http.get(f"{listed}&member_status=pending").json()["images"]) == 1
    assert alice.http.put(f"{one}/members/{bob.project_id}", json={"status": "accepted"}).status_code == 403
    answer = bob.http.put(f"{one}/members/{bob.project_id}", json={"status": "accepted"})
    assert answer.json()["status"] == "accepted"
    assert len(bob.http.get(listed).json()["images"]) == 1

    for refused in (bob.http.delete(one), change(bob.http, image["id"]), bob.http.put(f"{one}/tags/x"),
                    bob.http.delete(f"{one}/members/{bob.project_id}"),
                    bob.http.post(f"{one}/members", json={"member": "x"})):  # fmt: skip
        assert refused.status_code == 403
    bob.http.put(f"{one}/members/{bob.project_id}", json={"status": "rejected"})
    assert bob.http.get(listed).json()["images"] == []
    assert alice.http.delete(f"{one}/members/{bob.project_id}").status_code == 204
    assert bob.http.get(one).status_code == 404


def test_only_shared_images_have_members(alice: Person) -> None:
    image = make(alice.http, visibility="private")
    for answer in (alice.http.get(f"{IMAGES}/{image['id']}/members"),
                   alice.http.post(f"{IMAGES}/{image['id']}/members", json={"member": "x"})):  # fmt: skip
        assert answer.status_code == 403
        assert "Not allowed to" in message(answer)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "Expected a member in the form"),
        ({}, "Member to be added not specified"),
        ({"member": ""}, "Member can't be empty"),
        ({"member": 5}, "5 is not of type 'string'"),
    ],
)
def test_bad_members(alice: Person, body: Any, words: str) -> None:
    image = make(alice.http)
    answer = alice.http.post(f"{IMAGES}/{image['id']}/members", json=body)
    assert answer.status_code == 400
    assert words in message(answer)


def test_community_images_are_found_by_asking_for_them(alice: Person, bob: Person) -> None:
    image = make(alice.http, name="commons", visibility="community")
    assert bob.http.get(f"{IMAGES}?name=commons").json()["images"] == []
    assert [found["id"] for found in bob.http.get(f"{IMAGES}?name=commons&visibility=community").json()["images"]] == [
        image["id"]
    ]
    assert bob.http.get(f"{IMAGES}/{image['id']}").status_code == 200
    assert bob.http.delete(f"{IMAGES}/{image['id']}").status_code == 403


def test_public_images_are_everybodys(http: httpx.Client, bob: Person) -> None:
    image = make(http, name="for-all", visibility="public")
    assert bob.http.get(f"{IMAGES}?name=for-all").json()["images"][0]["id"] == image["id"]


def test_documents(http: httpx.Client, cloud: Running) -> None:
    root = httpx.get(f"{cloud.url}/image")
    assert root.status_code == 300
    assert root.json()["versions"][0] == {
        "id": "v2.15", "status": "CURRENT", "links": [{"rel": "self", "href": f"{cloud.url}/image/v2/"}],
    }  # fmt: skip
    assert httpx.get(f"{cloud.url}/image/versions").status_code == 200
    for name in ("image", "images", "member", "members", "task", "tasks"):
        assert http.get(f"/image/v2/schemas/{name}").json()["name"] == name
    assert http.get("/image/v2/info/import").json()["import-methods"]["value"] == ["glance-direct"]
    assert http.get("/image/v2/info/stores").json() == {"stores": [{"id": "file", "default": "true"}]}
    image = make(http)
    refused = http.post(f"{IMAGES}/{image['id']}/import", json={"method": {"name": "web-download"}})
    assert (refused.status_code, message(refused)) == (400, "Unknown import method name 'web-download'.")


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # it warns of itself
def test_openstacksdk(admin: openstack.connection.Connection) -> None:
    image = admin.image.create_image(name="sdk", disk_format="raw", container_format="bare", data=b"x" * 3000,
                                     properties={"hw_x": "1"}, wait=True, allow_duplicates=True)  # fmt: skip
    assert admin.image.get_image(image).status == "active"
    assert [found.id for found in admin.image.images(name="sdk")] == [image.id]
    assert admin.image.download_image(image).content == b"x" * 3000
    admin.image.update_image(image, name="sdk2", min_ram=64)
    admin.image.add_tag(image, "t")
    assert admin.image.get_image(image).tags == ["t"]
    admin.image.deactivate_image(image)
    assert admin.image.get_image(image).status == "deactivated"
    admin.image.reactivate_image(image)
    assert [store.id for store in admin.image.stores()] == ["file"]
    assert image.id in [found.id for found in admin.image.images(limit=1)]
    admin.image.delete_image(image)
    assert list(admin.image.images(name="sdk2")) == []
