"""After the end: where the cloud answers, who may come in, and what to type next."""

import os
import sys
from pathlib import Path

from story.stage import ADMIN, Stage


def tell(stage: Stage) -> None:
    clouds = stage.state / "clouds.yaml"
    mode = oct(clouds.stat().st_mode & 0o777)
    tools = Path(sys.executable).parent
    path = "" if str(tools) in os.environ["PATH"].split(":") else f"\n     export PATH={tools}:$PATH"
    stage.screen.plain(f"""
   The cloud runs on: {stage.url}
   {clouds} (mode {mode[2:]}) holds the administrator's generated password.
{path}
     export OS_CLIENT_CONFIG_FILE={clouds} OS_CLOUD={ADMIN}
     openstack image create --disk-format qcow2 --file {stage.image} guest
     openstack network create lan && openstack subnet create --network lan --subnet-range 10.0.0.0/24 lan
     openstack server create --image guest --flavor m1.nano --network lan --wait first

   `hagane status` shows what runs, `hagane doctor` looks for differences; `make down` removes everything.""")
    stage.screen.proof("clouds.yaml is for its owner alone", holds=mode == "0o600")
