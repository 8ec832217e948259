"""The unmodified `openstack` client: the commands by which people run their identity service."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support import Running

STORY = """
domain create --description d dom
domain set --description other dom
project create --domain dom --tag a --property k=v one
project create --domain dom --parent one two
project list --domain dom --long
project show --domain dom --parents two
project show --domain dom --children one
project set --domain dom --property k2=v2 one
user create --domain dom --password pw --email a@b --project one --project-domain dom mia
user set --domain dom --email c@d mia
user list --domain dom --long
group create --domain dom crew
group add user --group-domain dom --user-domain dom crew mia
group contains user --group-domain dom --user-domain dom crew mia
role create extra
role set --description text extra
implied role create extra --implied-role reader
implied role list
role add --user mia --user-domain dom --project one --project-domain dom member
role add --group crew --group-domain dom --domain dom --inherited reader
role add --user mia --user-domain dom --system all reader
role assignment list --names
role assignment list --names --effective --user mia --user-domain dom
role assignment list --names --system all
role remove --user mia --user-domain dom --system all reader
application credential create --role member --expiration 2099-01-01T00:00:00 --description text cred
application credential list
application credential show cred
application credential delete cred
region create --description text north
service create --name thing --description text thing
service set --name other thing
endpoint create --region north thing public http://thing/%(project_id)s
endpoint list --service thing
catalog list
catalog show identity
versions show --service identity
token issue
user set --domain dom --password pw2 mia
user set --domain dom --disable mia
group remove user --group-domain dom --user-domain dom crew mia
user delete --domain dom mia
role delete extra
project delete --domain dom two
domain set --disable dom
domain delete dom
service delete thing
region delete north
"""
GIVEN = """
user create --password pw bob
trust create --project admin --role member --impersonate admin bob
trust list
ec2 credentials create
ec2 credentials list
credential create --type cert admin words
credential list --type cert
access rule list
service create --name widgets thing
registered limit create --service thing --default-limit 333 widgets
registered limit list
limit create --project admin --service thing --resource-limit 555 widgets
limit list
"""
SEEN = ("crew", "mia in group crew", "c@d", "http://thing/%(project_id)s", "extra", "mia@dom", "cred")


def run(cloud: Running, commands: str, **environment: str) -> str:
    client = Path(sys.executable).with_name("openstack")
    result = subprocess.run(
        [client], input=commands, capture_output=True, text=True, timeout=120, check=False,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"} | cloud.environment(**environment),
    )  # fmt: skip
    return result.stdout + result.stderr


def test_a_story(cloud: Running) -> None:
    seen = run(cloud, STORY)
    for word in ("HTTP", "Exception", "failed", "Could not", "No ", "error", "usage"):
        assert not [line for line in seen.splitlines() if word in line and "http" not in line], seen
    for text in SEEN:
        assert text in seen, text


def test_what_is_given_and_limited(cloud: Running) -> None:
    seen = run(cloud, GIVEN)
    for word in ("HTTP", "Exception", "Could not", "No ", "error", "usage"):
        assert not [line for line in seen.splitlines() if word in line and "http" not in line], seen
    for text in ("| True          |", "is_impersonation", "words", "333", "555", "Secret"):
        assert text in seen, (text, seen)


def test_with_an_application_credential(cloud: Running) -> None:
    with cloud.connect() as admin:
        made = admin.identity.create_application_credential(admin.current_user_id, "cli", roles=[{"name": "reader"}])
    credential = {"OS_AUTH_TYPE": "v3applicationcredential", "OS_APPLICATION_CREDENTIAL_ID": made.id,
                  "OS_APPLICATION_CREDENTIAL_SECRET": made.secret}  # fmt: skip
    blank = dict.fromkeys(
        ("OS_USERNAME", "OS_PASSWORD", "OS_PROJECT_NAME", "OS_USER_DOMAIN_NAME", "OS_PROJECT_DOMAIN_NAME"), ""
    )
    seen = run(cloud, "token issue\nproject create stolen\n", **blank, **credential)
    assert "project_id" in seen
    assert "You are not authorized to perform the requested action: identity:create_project." in seen
