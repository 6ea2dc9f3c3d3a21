#!/usr/bin/env bash
# One MQTT 5 message over message_size_limit keeps paho-mqtt 2.2.0 and Mosquitto 2.0.11 (Debian 12) from ever going on:
# Mosquitto answers with a PUBACK of the reason 0x95 (packet too large), which MQTT 5.0 has for other packets, not for this
# one (section 3.4.2.1). paho ends the connection with a protocol error, connects again, and publishes the same message
# again, before all others. Neither on_publish nor an exception tells the program.
# netconsd.modules.mqtt understands this answer, and the message is a dead letter (tests/servers/test_mqtt.py).
#
# Publishes a short message, one that is too long, and a short one, and ends at the third disconnection; prints what the
# client reported. Fails if the long one was reported, or the connection stayed.
set -euo pipefail
pool=http://deb.debian.org/debian/pool/main
port=27883

work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; wait; rm -rf "$work"' EXIT
for package in "$pool/m/mosquitto/mosquitto_2.0.11-1.2+deb12u2" "$pool/m/mosquitto/libmosquitto1_2.0.11-1.2+deb12u2" \
    "$pool/c/cjson/libcjson1_1.7.15-1+deb12u4" "$pool/d/dlt-daemon/libdlt2_2.18.8-6" \
    "$pool/t/tcp-wrappers/libwrap0_7.6.q-32"; do
    curl --silent --show-error --fail --location --output "$work/package.deb" "${package}_amd64.deb"
    dpkg-deb --extract "$work/package.deb" "$work/root"
done
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q paho-mqtt==2.2.0

printf '%s\n' "listener $port 127.0.0.1" 'allow_anonymous true' 'user root' 'message_size_limit 1000' >"$work/conf"
libraries=$work/root/usr/lib/x86_64-linux-gnu
LD_LIBRARY_PATH=$libraries "$work/root/usr/sbin/mosquitto" -c "$work/conf" -v 2>"$work/log" &
server=$!
until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do sleep 0.2; done
timeout 100 "$work/venv/bin/python" - "$port" <<'PYTHON'
import sys
import threading

import paho.mqtt
from paho.mqtt import client as mqtt

print("paho-mqtt", paho.mqtt.__version__)
reported = {}
disconnections = []
end = threading.Event()


def disconnected(client, userdata, flags, reason, properties):
    disconnections.append(str(reason))
    if len(disconnections) == 3:
        end.set()


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "one", protocol=mqtt.MQTTv5)
client.on_publish = lambda client, userdata, number, reason, properties: reported.update({number: str(reason)})
client.on_disconnect = disconnected
client.connect("127.0.0.1", int(sys.argv[1]))
client.loop_start()
sizes = {client.publish("log", "x" * size, qos=1).mid: size for size in (100, 2000, 100)}
went_on = not end.wait(60)
client.loop_stop()
print("reported:", {f"message {number} of {size} bytes": reported.get(number) for number, size in sizes.items()})
print("disconnections:", disconnections)
if went_on or 2 in reported:
    sys.exit("The behaviour has changed.")
PYTHON
echo "Mosquitto's log: $(grep -m 1 'mosquitto version' "$work/log"); $(grep -c 'rc149' "$work/log") PUBACKs with 149 (0x95)"
