"""When does a port appear in the Northbound database? `python bench/seen.py SOCKET`, until a line comes on stdin.

It speaks just enough of OVSDB (RFC 7047) to monitor the names of new Logical_Switch_Ports. The clock is
CLOCK_MONOTONIC, which all processes of a machine share.
"""

import json
import re
import select
import socket
import sys
import time

MONITOR = {"Logical_Switch_Port": [{"columns": ["name"], "select": {"initial": False, "modify": False}}]}
NAME = re.compile(rb'"name":"([0-9a-f-]{36})"')


def main(path: str) -> None:
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(path)
    stream.sendall(json.dumps({"id": 1, "method": "monitor", "params": ["OVN_Northbound", 1, MONITOR]}).encode())
    seen: list[tuple[bytes, float]] = []
    buffer, told = b"", False
    while True:
        ready, _, _ = select.select([stream, sys.stdin], [], [])
        if sys.stdin in ready:
            break
        buffer += stream.recv(1 << 20)
        now = time.monotonic()
        if not told:
            print("ready", flush=True)
            told = True
        if b'"echo"' in buffer:
            stream.sendall(b'{"id":"echo","result":[],"error":null}')
        seen += [(name, now) for name in NAME.findall(buffer)]
        buffer = buffer[buffer.rfind(b'"name":"') + 1 :][-60:] if not buffer.endswith(b"}") else b""
    for name, moment in seen:
        print(name.decode(), moment)


if __name__ == "__main__":
    main(sys.argv[1])
