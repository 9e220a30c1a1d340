#!/usr/bin/env python3
"""kafka-python (Debian's python3-kafka), a client of its own that speaks old versions: admin, produce with every
compression and acks, fetch by position and time."""
import sys

from broker import Broker

try:
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
    from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
    from kafka.errors import (InvalidPartitionsError, InvalidTopicError, MessageSizeTooLargeError, TopicAlreadyExistsError,
                              UnknownTopicOrPartitionError)
except ImportError as e:
    sys.exit(f"kafka-python is missing ({e}): run scripts/deps (Debian package python3-kafka)")

CODECS = [None, "gzip"]  # what kafka-python can do without further packages
for name, module in (("snappy", "snappy"), ("lz4", "lz4.frame"), ("zstd", "zstandard")):
    try:
        __import__(module)
        CODECS.append(name)
    except ImportError:
        pass


def raises(error, fn, *args, **kw):
    try:
        fn(*args, **kw)
    except error:
        return
    raise AssertionError(f"{fn.__name__}{args} did not raise {error.__name__}")


def consume(address, tp, start, count):
    c = KafkaConsumer(bootstrap_servers=address, group_id=None, enable_auto_commit=False, consumer_timeout_ms=15000,
                      check_crcs=True)
    c.assign([tp])
    c.seek(tp, start)
    got = []
    for m in c:
        got.append(m)
        if len(got) == count:
            break
    c.close()
    return got


def admin_works(address):
    a = KafkaAdminClient(bootstrap_servers=address)
    a.create_topics([NewTopic("orders", 3, 1, topic_configs={"retention.ms": "1000"}), NewTopic("gone", 1, 1)])
    raises(TopicAlreadyExistsError, a.create_topics, [NewTopic("orders", 3, 1)])
    raises(InvalidTopicError, a.create_topics, [NewTopic("no/slash", 1, 1)])
    raises(InvalidPartitionsError, a.create_topics, [NewTopic("zero", 0, 1)])
    assert {"orders", "gone"} <= set(a.list_topics())
    assert len(a.describe_topics(["orders"])[0]["partitions"]) == 3
    found = a.describe_configs([ConfigResource(ConfigResourceType.TOPIC, "orders")])[0].resources[0]
    assert {c[0]: c[1] for c in found[4]}["retention.ms"] == "1000", found
    a.delete_topics(["gone"])
    raises(UnknownTopicOrPartitionError, a.delete_topics, ["gone"])
    assert "gone" not in a.list_topics()
    a.close()


def produce_and_fetch(address, codec, acks):
    topic = f"t-{codec}-{acks}".replace("None", "none")
    p = KafkaProducer(bootstrap_servers=address, compression_type=codec, acks=acks, linger_ms=5, batch_size=4096)
    assert p.partitions_for(topic) == {0}  # made on demand
    sent = []
    for i in range(500):
        key = None if i % 3 else b"k%d" % i
        value = None if i % 60 == 57 else (b"value %d " % i) * 20
        headers = [("h", b"%d" % i), ("h", b"")] if i % 7 == 0 else []
        f = p.send(topic, value=value, key=key, headers=headers, timestamp_ms=1_700_000_000_000 + i)
        sent.append((f, key, value, headers))
    p.flush(30)
    if acks != 0:
        assert [f.get(10).offset for f, *_ in sent] == list(range(500))
    p.close(10)
    tp = TopicPartition(topic, 0)
    got = consume(address, tp, 0, 500)
    assert [m.offset for m in got] == list(range(500)), (codec, acks, len(got))
    for m, (_, key, value, headers) in zip(got, sent):
        assert (m.key, m.value, list(m.headers)) == (key, value, headers), m
        assert m.timestamp == 1_700_000_000_000 + m.offset and m.timestamp_type == 0
    assert consume(address, tp, 250, 1)[0].offset == 250


def positions(address):
    tp = TopicPartition("t-none-all", 0)
    c = KafkaConsumer(bootstrap_servers=address, group_id=None)
    assert c.beginning_offsets([tp])[tp] == 0 and c.end_offsets([tp])[tp] == 500
    found = c.offsets_for_times({tp: 1_700_000_000_123})[tp]
    assert (found.offset, found.timestamp) == (123, 1_700_000_000_123), found
    assert c.offsets_for_times({tp: 1_800_000_000_000})[tp] is None
    c.close()


def refusals(address):
    p = KafkaProducer(bootstrap_servers=address, max_request_size=8 << 20, acks="all")
    raises(MessageSizeTooLargeError, p.send("t-none-all", b"x" * (2 << 20)).get, 15)
    assert p.send("t-none-all", b"still fine").get(15).offset == 500
    p.close(10)


def main():
    with Broker(sys.argv[1]) as broker:
        address = broker.address
        admin_works(address)
        for codec in CODECS:
            produce_and_fetch(address, codec, "all")
        for acks in (0, 1):
            produce_and_fetch(address, None, acks)
        positions(address)
        refusals(address)
    print(f"kafka-python: all right with {CODECS}")


if __name__ == "__main__":
    main()
