"""Starts the broker, sends messages through it and shows them; `--once` stops after that. Run by scripts/quickstart."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "conformance"))
from harness import paths  # noqa: E402

TOPIC = "quickstart"
MESSAGES = ["The river turns the wheel,", "the wheel turns the stone,", "the stone grinds the grain."]
PATIENCE_S = 30.0
DEFAULT_PORTS = {"--listen": 9092, "--admin": 9644}


def port_arguments() -> list[str]:
    """Nothing, so that the defaults hold; where somebody has a default port already, a free one."""
    arguments = []
    for flag, port in DEFAULT_PORTS.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                print(f"Port {port} is taken; using a free one.")
                arguments += [flag, "127.0.0.1:0"]
    return arguments


def start(command: list[str]) -> tuple[subprocess.Popen, dict[str, str]]:
    """The running broker and what its ready line says."""
    print(f"$ {' '.join(command)}", flush=True)
    # In a session of its own: Ctrl-C reaches this script only, which then stops the broker cleanly.
    broker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    line = broker.stdout.readline()
    if not line.startswith("ready "):
        sys.exit(broker.wait() or 1)  # its last log line says why and what to change
    print(line, end="", flush=True)
    return broker, dict(word.split("=", 1) for word in line.split()[1:])


def produce(bootstrap: str) -> list[TopicPartition]:
    """Sends the messages; returns where each of them was stored, once the broker has acknowledged all."""
    stored: list[TopicPartition] = []
    failed: list[KafkaError] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error:
            failed.append(error)
            return
        stored.append(TopicPartition(message.topic(), message.partition(), message.offset()))
        print(f"produced  {message.topic()}[{message.partition()}]@{message.offset()}  {message.value().decode()}")

    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True,
                         "message.timeout.ms": int(PATIENCE_S * 1000)})
    for message in MESSAGES:
        producer.produce(TOPIC, message.encode(), on_delivery=delivered)
    if producer.flush(PATIENCE_S) or failed:
        raise KafkaException(*failed[:1] or ["the broker did not acknowledge in time"])
    return stored


def consume(bootstrap: str, stored: list[TopicPartition]) -> list[str]:
    """Reads back what was just stored and shows it. Partitions are assigned by hand; nothing is committed."""
    firsts: dict[int, int] = {}
    for place in stored:
        firsts[place.partition] = min(firsts.get(place.partition, place.offset), place.offset)
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": TOPIC, "enable.auto.commit": False})
    consumer.assign([TopicPartition(TOPIC, partition, offset) for partition, offset in firsts.items()])
    read: list[str] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(read) < len(stored) and time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        read.append(message.value().decode())
        print(f"consumed  {message.topic()}[{message.partition()}]@{message.offset()}  {read[-1]}")
    consumer.close()
    return read


def stop(broker: subprocess.Popen) -> int:
    if broker.poll() is None:
        broker.send_signal(signal.SIGTERM)
    return broker.wait()


def main() -> int:
    once = "--once" in sys.argv[1:]
    # A polite end of this script is a polite end of the broker.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    broker, ready = start([os.path.relpath(paths.millrace_binary()), "server", *port_arguments()])
    try:
        if sorted(consume(ready["kafka"], produce(ready["kafka"]))) != sorted(MESSAGES):
            print("quickstart: not every message came back", file=sys.stderr)
            stop(broker)
            return 1
        print(f"{len(MESSAGES)} messages produced and consumed.", flush=True)
        if not once:
            print(f"Kafka clients connect to {ready['kafka']}; metrics are at http://{ready['admin']}/metrics. Ctrl-C stops.",
                  flush=True)
            return broker.wait()
    except KeyboardInterrupt:
        pass
    except KafkaException as error:
        print(f"quickstart: {error}", file=sys.stderr)
        stop(broker)
        return 1
    return stop(broker)


if __name__ == "__main__":
    sys.exit(main())
