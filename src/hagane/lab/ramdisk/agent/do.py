"""hagane-do COMMAND [PARAMETERS as JSON on the standard input]: one of the agent's commands, by hand or by a playbook.

Prints its result as JSON, or says what failed and ends with status 1. It works beside the service: whoever has a shell
on the ramdisk needs no token. Beside the command's own parameters, `for_node` is the Node whose root device is meant.
"""

import json
import sys

from .commands import Command
from .errors import AgentError
from .place import place
from .verbs import Verbs


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: hagane-do COMMAND <parameters.json", file=sys.stderr)
        return 2
    holder = Verbs(place(), dict, lambda: None)
    verbs = holder.all()
    verb = verbs.get(sys.argv[1])
    if verb is None:
        print(f"unknown command; known are: {', '.join(sorted(verbs))}", file=sys.stderr)
        return 2
    try:
        params = json.loads(sys.stdin.read() or "{}")
        holder.node = params.pop("for_node", None)
        if verb.check is not None:
            verb.check(params)
        result = verb.act(Command("", sys.argv[1]), **params) if verb.long else verb.act(**params)
    except (AgentError, OSError, ValueError, TypeError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps({"result": result}))
    return 0


sys.exit(main())
