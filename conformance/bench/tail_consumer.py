"""A librdkafka consumer process on assigned partitions: `tail_consumer.py BOOTSTRAP TOPIC PARTITION...`.

Says `ready` when it waits at the end of every partition. A line {"<partition>": end offset, ...} on standard input
tells it where to stop; then it prints one JSON object and ends.
"""

import json
import os
import sys
import time

from confluent_kafka import Consumer, KafkaError, TopicPartition

SILENCE_BOUND_S = 120


def main() -> int:
    """Reads until told where the end is, and until it is there."""
    bootstrap, topic, partitions = sys.argv[1], sys.argv[2], [int(word) for word in sys.argv[3:]]
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False,
                         "auto.offset.reset": "error", "enable.partition.eof": True, "log_level": 0})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    os.set_blocking(sys.stdin.fileno(), False)
    at = dict.fromkeys(partitions, 0)
    waiting, ends = set(partitions), None
    received = record_bytes = 0
    delays_ms: list[int] = []
    first_at = last_at = None
    heard_at = time.monotonic()
    while ends is None or any(at[partition] < ends[partition] for partition in partitions):
        if ends is None and (line := sys.stdin.readline()):
            ends = {int(partition): end for partition, end in json.loads(line).items()}
        messages = consumer.consume(2000, timeout=0.002)
        now, now_ms = time.monotonic(), time.time() * 1000
        if now - heard_at > SILENCE_BOUND_S:
            print(f"nothing came for {SILENCE_BOUND_S} s", file=sys.stderr)
            return 1
        if not messages:
            continue
        heard_at = now
        records = []
        for message in messages:
            if error := message.error():
                if error.code() != KafkaError._PARTITION_EOF:
                    print(error.str(), file=sys.stderr)
                    return 1
                waiting.discard(message.partition())
                if not waiting and received == 0 and first_at is None:
                    print("ready", flush=True)
                    first_at = now
            else:
                records.append(message)
                at[message.partition()] = message.offset() + 1
        if records:
            if received == 0:
                first_at = now
            received += len(records)
            record_bytes += sum(map(len, records))
            last_at = now
            # The oldest and the newest of each gulp: every record would cost more than reading it.
            delays_ms += [round(now_ms - record.timestamp()[1]) for record in (records[0], records[-1])]
    consumer.close()
    delays_ms.sort()
    seconds = (last_at - first_at) if received else 0
    print(json.dumps({"records": received, "bytes": record_bytes, "seconds": seconds, "samples": len(delays_ms),
                      **{name: delays_ms[min(len(delays_ms) - 1, int(len(delays_ms) * share))] if delays_ms else None
                         for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99), ("p999_ms", 0.999))}}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
