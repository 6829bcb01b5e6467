"""A member to be killed: `stranger.py SETTINGS_AS_JSON TOPIC` polls for ever and prints each assignment as JSON."""

import json
import sys

from confluent_kafka import Consumer, TopicPartition


def told(_: Consumer, places: list[TopicPartition]) -> None:
    """Prints what the member owns from now on."""
    print(json.dumps([place.partition for place in places]), flush=True)


client = Consumer(json.loads(sys.argv[1]))
client.subscribe([sys.argv[2]], on_assign=told)
while True:
    client.poll(0.1)
