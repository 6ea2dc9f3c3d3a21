#!/usr/bin/env bash
# Kafka 4.4.0 refuses a whole batch for one record whose time the topic does not take, and the producer of librdkafka 2.16.0
# reports this error (INVALID_TIMESTAMP) for each record of the batch, the good ones included; nothing says which one it is
# about. A program that drops what is refused loses the neighbours. KIP-467 has the broker name the bad records.
# netconsd.modules.kafka sends each refused record once more, alone (tests/streams/test_kafka.py).
#
# Needs Maven, and Java 17 or newer. Starts a broker, makes a topic that takes records of the last hour, produces one of a
# day ago between two of now in one batch, and prints the reports, and what is stored; then each of the three alone.
# Fails if a good record was stored with the batch, or not stored alone.
set -euo pipefail
port=29192
controller=29193

work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; wait; rm -rf "$work"' EXIT
cat >"$work/pom.xml" <<'POM'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId><artifactId>finding</artifactId><version>1</version>
  <dependencies><dependency>
    <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.4.0</version>
  </dependency></dependencies>
</project>
POM
(cd "$work" && mvn -q -B dependency:copy-dependencies -DoutputDirectory="$work/lib" >/dev/null)
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q confluent-kafka==2.16.0

cat >"$work/properties" <<CONF
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:$controller
log.dirs=$work/data
offsets.topic.replication.factor=1
CONF
java -cp "$work/lib/*" kafka.tools.StorageTool format --standalone -t 4L6g3nShT-eMCtK--X86sw -c "$work/properties" >/dev/null
java -Xmx256m -cp "$work/lib/*" kafka.Kafka "$work/properties" >"$work/log" 2>&1 &
server=$!

"$work/venv/bin/python" - "127.0.0.1:$port" <<'PYTHON'
import sys
import time

import confluent_kafka
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

print("confluent-kafka", confluent_kafka.__version__, "librdkafka", confluent_kafka.libversion()[0])
address = sys.argv[1]
admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
topic = NewTopic("log", 1, 1, config={"message.timestamp.before.max.ms": "3600000"})
admin.create_topics([topic], request_timeout=120)["log"].result()
now = round(time.time() * 1000)
records = [("first, of now", now), ("of a day ago", now - 86_400_000), ("second, of now", now)]


def produced(some):
    """Return the error, or None, of each record, produced in one batch."""
    errors = {}
    producer = Producer({"bootstrap.servers": address, "enable.idempotence": True, "linger.ms": 500, "log_level": 0})
    for text, at in some:
        producer.produce(
            "log", text, timestamp=at, on_delivery=lambda error, record: errors.update({record.value().decode(): error})
        )
    assert producer.flush(60) == 0, "records without a report"
    return {text: error and error.name() for text, error in errors.items()}


def stored():
    consumer = Consumer({"bootstrap.servers": address, "group.id": "finding", "log_level": 0})
    last = consumer.get_watermark_offsets(TopicPartition("log", 0), timeout=60)[1]
    consumer.close()
    return last


together = produced(records)
print("together:", together)
print("stored:", after := stored())
alone = {}
for record in records:
    alone |= produced([record])
print("each alone:", alone)
print("stored:", stored())
changed = after != 0 or None in together.values()
if changed or [text for text, error in alone.items() if error is None] != ["first, of now", "second, of now"]:
    sys.exit("The behaviour has changed.")
PYTHON
