"""Chapter 1: projects and users with the member role; from then on they use application credentials.

A second project, `other`, is there to be kept out later: it makes a network with the very same addresses.
"""

from story.stage import ADMIN, DEMO, OTHER, Stage, decoded, entry, made_up


def tell(stage: Stage) -> None:
    for name in (DEMO, OTHER):
        _project(stage, name)
    refused = not stage.client.tried(DEMO, "project", "create", "mine")
    stage.screen.proof("as a member, `openstack project create` is refused", holds=refused)


def _project(stage: Stage, name: str) -> None:
    client, password = stage.client, made_up()
    client.together(
        ADMIN,
        ("project", "create", name, "-f", "value", "-c", "id"),
        ("user", "create", name, "--password", password, "-f", "value", "-c", "id"),
        hide=password,
    )
    client.run(ADMIN, "role", "add", "--project", name, "--user", name, "member")
    auth = {"auth_url": f"{stage.url}/identity/v3", "username": name, "password": password, "project_name": name,
            "user_domain_name": "Default", "project_domain_name": "Default"}  # fmt: skip
    entry(stage.state, name, {"auth": auth, "region_name": "RegionOne"})
    made = decoded(client.run(
        name, "application", "credential", "create", "story", "-f", "json", "-c", "ID", "-c", "Secret", hide="Secret",
    ))  # fmt: skip
    auth = {"auth_url": f"{stage.url}/identity/v3", "application_credential_id": made["ID"],
            "application_credential_secret": made["Secret"]}  # fmt: skip
    entry(stage.state, name, {"auth_type": "v3applicationcredential", "auth": auth, "region_name": "RegionOne"})
