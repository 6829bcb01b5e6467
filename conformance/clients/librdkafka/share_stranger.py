"""A member of a share group to be killed: `share_stranger.py SETTINGS_AS_JSON TOPIC` prints what its first poll brought, and holds it."""

import json
import sys
import time

from confluent_kafka import ShareConsumer

client = ShareConsumer(json.loads(sys.argv[1]))
client.subscribe([sys.argv[2]])
while not (messages := list(client.poll(0.1))):
    pass
print(json.dumps([int(message.value()) for message in messages]), flush=True)
while True:
    time.sleep(1)
