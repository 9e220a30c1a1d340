#!/usr/bin/env python3
"""librdkafka by Debian's python3-confluent-kafka: admin, idempotent produce with every compression, fetch, and kcat."""
import subprocess
import sys

from broker import Broker

try:
    from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
    from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic
except ImportError as e:
    sys.exit(f"confluent-kafka is missing ({e}): run scripts/deps (Debian package python3-confluent-kafka)")

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
COUNT = 2000


def code_of(future):
    try:
        future.result(20)
    except KafkaException as e:
        return e.args[0].code()
    return None


def admin_works(address):
    a = AdminClient({"bootstrap.servers": address})
    made = a.create_topics([NewTopic("orders", 4, 1, config={"max.message.bytes": "5000"}), NewTopic("gone", 1, 1)])
    assert all(code_of(f) is None for f in made.values())
    assert code_of(a.create_topics([NewTopic("orders", 4, 1)])["orders"]) == KafkaError.TOPIC_ALREADY_EXISTS
    bad = a.create_topics([NewTopic("bad", 1, 1, config={"no.such.config": "1"})])["bad"]
    assert code_of(bad) == KafkaError.INVALID_CONFIG
    resource = ConfigResource("topic", "orders")
    assert a.describe_configs([resource])[resource].result(20)["max.message.bytes"].value == "5000"
    assert code_of(a.delete_topics(["gone"])["gone"]) is None
    m = a.list_topics(timeout=20)
    assert "gone" not in m.topics and len(m.topics["orders"].partitions) == 4 and len(m.brokers) == 1


def consume(address, topic, partitions):
    c = Consumer({"bootstrap.servers": address, "group.id": "unused", "enable.auto.commit": False, "check.crcs": True,
                  "auto.offset.reset": "earliest", "enable.partition.eof": True})
    c.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
    got, ends = {p: [] for p in range(partitions)}, 0
    while ends < partitions:
        m = c.poll(15)
        assert m is not None, "nothing came for 15 s"
        if m.error():
            assert m.error().code() == KafkaError._PARTITION_EOF, m.error()
            ends += 1
        else:
            got[m.partition()].append(m)
    for p in range(partitions):
        low, high = c.get_watermark_offsets(TopicPartition(topic, p), timeout=15)
        assert (low, high) == (0, len(got[p]))
    c.close()
    return got


def produce_and_fetch(address, codec):
    topic = "t-" + codec
    p = Producer({"bootstrap.servers": address, "enable.idempotence": True, "compression.type": codec, "linger.ms": 3})
    done = {}

    def delivered(err, m):
        assert err is None, err
        done[m.value()] = (m.partition(), m.offset())

    for i in range(COUNT):
        p.produce(topic, b"%06d " % i + b"x" * (i % 900), b"key%d" % (i % 17), on_delivery=delivered, headers={"i": str(i)})
        p.poll(0)
    assert p.flush(30) == 0 and len(done) == COUNT
    got = consume(address, topic, 1)[0]
    assert [m.offset() for m in got] == list(range(COUNT))
    for i, m in enumerate(got):
        assert m.value().startswith(b"%06d " % i), (i, m.value()[:10])
        assert done[m.value()] == (0, i) and m.key() == b"key%d" % (i % 17) and m.headers() == [("i", str(i).encode())]


def refusals(address):
    errors = []
    p = Producer({"bootstrap.servers": address, "message.max.bytes": 1000000})
    p.produce("orders", b"x" * 9000, on_delivery=lambda e, m: errors.append(e.code()))
    p.flush(20)
    assert errors == [KafkaError.MSG_SIZE_TOO_LARGE], errors


def kcat(address):
    lines = "".join(f"k{i}:line {i}\n" for i in range(1000))
    subprocess.run(["kcat", "-b", address, "-P", "-t", "kcat", "-K:", "-z", "lz4", "-X", "acks=all"], input=lines.encode(),
                   check=True, timeout=60)
    out = subprocess.run(["kcat", "-b", address, "-C", "-t", "kcat", "-K:", "-e", "-q"], check=True, timeout=60,
                         capture_output=True).stdout
    assert out.decode() == lines
    listing = subprocess.run(["kcat", "-b", address, "-L"], check=True, timeout=60, capture_output=True).stdout.decode()
    assert 'topic "kcat" with 1 partitions' in listing


def main():
    with Broker(sys.argv[1]) as broker:
        admin_works(broker.address)
        for codec in CODECS:
            produce_and_fetch(broker.address, codec)
        refusals(broker.address)
        kcat(broker.address)
    print("librdkafka: all right")


if __name__ == "__main__":
    main()
