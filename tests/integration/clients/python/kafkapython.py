"""kafka-python, as it is now (Debian's is older)."""
import threading

from common import COUNT, PARTITIONS, T0, key, main, raises, split, until, value
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from kafka.errors import InvalidTopicError, TopicAlreadyExistsError, UnknownTopicOrPartitionError


def servers(address):
    return address.split(",")


def admin(address):
    return KafkaAdminClient(bootstrap_servers=servers(address))


def create(address, topic):
    a = admin(address)
    a.create_topics([NewTopic(topic, PARTITIONS, 1)])
    a.close()


def fill(address, topic):
    p = KafkaProducer(bootstrap_servers=servers(address), acks="all")
    sent = [p.send(topic, value(i), key(i), partition=i % PARTITIONS, timestamp_ms=T0 + i) for i in range(COUNT)]
    assert [f.get(20).offset for f in sent] == [i // PARTITIONS for i in range(COUNT)]
    p.close()


def administration(address, prefix):
    a, topic, gone = admin(address), prefix + "a", prefix + "gone"
    a.create_topics([NewTopic(topic, 2, 1, topic_configs={"retention.ms": "600000"}), NewTopic(gone, 1, 1)])
    raises(TopicAlreadyExistsError, a.create_topics, [NewTopic(topic, 2, 1)])
    raises(InvalidTopicError, a.create_topics, [NewTopic("no/slash", 1, 1)])
    a.create_partitions({topic: NewPartitions(4)})
    until("four partitions", lambda: len(a.describe_topics([topic])[0]["partitions"]) == 4)
    a.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={"max.message.bytes": "12345"})])
    found = a.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])[0].resources[0]
    assert {c[0]: c[1] for c in found[4]}["max.message.bytes"] == "12345"
    assert len(a.describe_cluster()["brokers"]) >= 1
    a.delete_topics([gone])
    assert gone not in a.list_topics()
    raises(UnknownTopicOrPartitionError, a.delete_topics, [gone])
    a.close()


def produce(address, prefix):
    for codec in (None, "gzip"):
        p = KafkaProducer(bootstrap_servers=servers(address), compression_type=codec, enable_idempotence=True, linger_ms=5)
        sent = [p.send(f"{prefix}p-{codec}", None if i % 50 == 7 else value(i), key(i), [("h", key(i))], 0, T0 + i)
                for i in range(COUNT)]
        assert [f.get(20).offset for f in sent] == list(range(COUNT))
        p.close()
    for acks in (0, 1):
        p = KafkaProducer(bootstrap_servers=servers(address), acks=acks)
        p.send(prefix + "p-acks", b"x").get(20)
        p.close()


def consumer(address, *topics, **config):
    return KafkaConsumer(*topics, bootstrap_servers=servers(address), auto_offset_reset="earliest", enable_auto_commit=False,
                         consumer_timeout_ms=20000, metadata_max_age_ms=1000, **config)


def read(c, n):
    got = [m for _, m in zip(range(n), c)]
    assert len(got) == n, f"read {len(got)} of {n}"
    return got


def consume(address, prefix):
    for codec in (None, "gzip"):
        c = consumer(address)
        c.assign([TopicPartition(f"{prefix}p-{codec}", 0)])
        for i, m in enumerate(read(c, COUNT)):
            assert (m.offset, m.key, m.value) == (i, key(i), None if i % 50 == 7 else value(i)), i
            assert list(m.headers) == [("h", key(i))] and m.timestamp == T0 + i
        c.close()
    topic = prefix + "c"
    create(address, topic)
    fill(address, topic)
    c, parts = consumer(address, max_partition_fetch_bytes=2000), [TopicPartition(topic, p) for p in range(PARTITIONS)]
    c.assign(parts)
    assert len({m.key for m in read(c, COUNT)}) == COUNT
    assert c.end_offsets(parts) == {p: COUNT // PARTITIONS for p in parts}
    assert c.offsets_for_times({parts[1]: T0 + 122})[parts[1]].offset == 41
    c.assign([parts[1]])
    c.seek(parts[1], 60)
    assert read(c, 40)[0].offset == 60
    c.close()


class Member(threading.Thread):
    def __init__(self, address, topic):
        super().__init__(daemon=True)
        self.args, self.has, self.ending = (address, topic), set(), False
        self.start()

    def run(self):
        address, topic = self.args
        c = consumer(address, topic, group_id=topic, session_timeout_ms=10000, heartbeat_interval_ms=500)
        while not self.ending:
            c.poll(timeout_ms=100)
            self.has = {p.partition for p in c.assignment()}
        c.close()

    def end(self):
        self.ending = True
        self.join(30)
        assert not self.is_alive()


def groups(address, prefix):
    topic = prefix + "g"
    create(address, topic)
    one = Member(address, topic)
    until("one member has all", lambda: split(one))
    two = Member(address, topic)
    until("two members share", lambda: split(one, two))
    a = admin(address)
    (d,) = a.describe_consumer_groups([topic])
    assert d.state == "Stable" and len(d.members) == 2, d
    assert topic in [g[0] for g in a.list_consumer_groups()]
    a.close()
    two.end()
    until("the one that stays has all", lambda: split(one))
    one.end()


def offsets(address, prefix):
    topic = prefix + "o"
    create(address, topic)
    fill(address, topic)
    seen = set()
    for want in (100, COUNT):
        c = consumer(address, topic, group_id=topic, session_timeout_ms=10000, max_poll_records=25)
        while len(seen) < want:
            for batch in c.poll(timeout_ms=1000).values():
                for m in batch:
                    assert m.key not in seen
                    seen.add(m.key)
        c.commit()
        c.close()
    tp = TopicPartition(topic, 1)
    c = consumer(address, group_id=topic)
    c.assign([tp])
    c.commit({tp: OffsetAndMetadata(77, "note", -1)})
    assert c.committed(tp, metadata=True)[:2] == (77, "note")
    c.close()
    a = admin(address)
    assert a.list_consumer_group_offsets(topic)[tp].offset == 77
    assert a.delete_consumer_groups([topic])[0][1].errno == 0
    assert a.delete_consumer_groups([topic])[0][1].errno == 69
    a.close()


main({"admin": administration, "produce": produce, "consume": consume, "groups": groups, "offsets": offsets})
