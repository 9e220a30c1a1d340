"""confluent-kafka: librdkafka in Python."""
import functools
import threading

from common import COUNT, PARTITIONS, T0, key, main, raises, split, until, value
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec)

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


@functools.cache  # an admin client that goes out of scope takes its answers with it
def admin(address):
    return AdminClient({"bootstrap.servers": address})


def create(address, topic):
    admin(address).create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(20)


def code(future):
    return raises(KafkaException, future.result, 20).args[0].code()


def send(address, records, **config):
    """Sends (topic, partition, key, value, headers); their offsets."""
    p, offsets, errors = Producer({"bootstrap.servers": address, "linger.ms": 5, **config}), {}, []

    def done(e, m, i):
        (errors if e else offsets).__setitem__(*(slice(0, 0), [e]) if e else (i, m.offset()))

    for i, (topic, partition, k, v, headers) in enumerate(records):
        p.produce(topic, v, k, partition, on_delivery=lambda e, m, i=i: done(e, m, i), timestamp=T0 + i, headers=headers)
        p.poll(0)
    assert p.flush(30) == 0 and not errors, errors
    return [offsets[i] for i in range(len(records))]


def fill(address, topic):
    sent = send(address, [(topic, i % PARTITIONS, key(i), value(i), None) for i in range(COUNT)])
    assert sent == [i // PARTITIONS for i in range(COUNT)]


def administration(address, prefix):
    a, topic, gone = admin(address), prefix + "a", prefix + "gone"
    for f in a.create_topics([NewTopic(topic, 2, 1, config={"retention.ms": "600000"}), NewTopic(gone, 1, 1)]).values():
        f.result(20)
    assert code(a.create_topics([NewTopic(topic, 2, 1)])[topic]) == KafkaError.TOPIC_ALREADY_EXISTS
    assert code(a.create_topics([NewTopic("no/slash", 2, 1)])["no/slash"]) == KafkaError.TOPIC_EXCEPTION
    a.create_partitions([NewPartitions(topic, 4)])[topic].result(20)
    until("four partitions", lambda: len(a.list_topics(topic, timeout=20).topics[topic].partitions) == 4)
    r = ConfigResource("topic", topic, incremental_configs=[
        ConfigEntry("max.message.bytes", "12345", incremental_operation=AlterConfigOpType.SET)])
    a.incremental_alter_configs([r])[r].result(20)
    c = a.describe_configs([ConfigResource("topic", topic)])[ConfigResource("topic", topic)].result(20)
    assert (c["max.message.bytes"].value, c["retention.ms"].value) == ("12345", "600000")
    assert len(a.describe_cluster().result(20).nodes) >= 1
    tp = TopicPartition(topic, 3)
    assert a.list_offsets({tp: OffsetSpec.latest()})[tp].result(20).offset == 0
    a.delete_topics([gone])[gone].result(20)
    until("deleted", lambda: gone not in a.list_topics(timeout=20).topics)
    assert code(a.delete_topics([gone])[gone]) == KafkaError.UNKNOWN_TOPIC_OR_PART


def produce(address, prefix):
    for codec in CODECS:
        records = [(prefix + "p-" + codec, 0, key(i), None if i % 50 == 7 else value(i), {"h": key(i)}) for i in range(COUNT)]
        assert send(address, records, **{"compression.type": codec, "enable.idempotence": True}) == list(range(COUNT))
    for acks in (0, 1):
        send(address, [(prefix + "p-acks", 0, None, b"x", None)], acks=acks)


def read(c, n):
    got = []
    while len(got) < n:
        m = c.poll(20)
        assert m is not None, f"read {len(got)} of {n}"
        assert m.error() is None, m.error()
        got.append(m)
    return got


def consumer(address, group="none", **config):
    return Consumer({"bootstrap.servers": address, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False,
                     "topic.metadata.refresh.interval.ms": 1000, **config})


def consume(address, prefix):
    c = consumer(address)
    for codec in CODECS:
        c.assign([TopicPartition(prefix + "p-" + codec, 0, 0)])
        for i, m in enumerate(read(c, COUNT)):
            assert (m.offset(), m.key(), m.value()) == (i, key(i), None if i % 50 == 7 else value(i)), i
            assert m.headers() == [("h", key(i))] and m.timestamp()[1] == T0 + i
    topic = prefix + "c"
    create(address, topic)
    fill(address, topic)
    c.assign([TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
    assert len({m.key() for m in read(c, COUNT)}) == COUNT
    assert c.get_watermark_offsets(TopicPartition(topic, 2), timeout=20) == (0, COUNT // PARTITIONS)
    assert c.offsets_for_times([TopicPartition(topic, 1, T0 + 122)], timeout=20)[0].offset == 41
    c.assign([TopicPartition(topic, 1, 60)])
    assert read(c, 40)[0].offset() == 60
    c.close()


class Member(threading.Thread):
    def __init__(self, address, topic, pattern=None, **config):
        super().__init__(daemon=True)
        self.pattern = pattern  # which the broker matches
        self.args, self.has, self.ending = (address, topic, config), set(), False
        self.start()

    def run(self):
        address, topic, config = self.args
        c = consumer(address, topic, **config)
        c.subscribe([self.pattern or topic])
        while not self.ending:
            c.poll(0.1)
            self.has = {p.partition for p in c.assignment()}
        c.close()

    def end(self):
        self.ending = True
        self.join(30)
        assert not self.is_alive()


def groups(address, prefix, name="g", **config):
    topic = prefix + name
    create(address, topic)
    a = Member(address, topic, **config)
    until("one member has all", lambda: split(a))
    b = Member(address, topic, **config)
    until("two members share", lambda: split(a, b))
    adm = admin(address)
    d = adm.describe_consumer_groups([topic])[topic].result(20)
    assert len(d.members) == 2 and d.state.name == "STABLE", d.state
    assert topic in [g.group_id for g in adm.list_consumer_groups().result(20).valid]
    b.end()
    until("the one that stays has all", lambda: split(a))
    a.end()


def offsets(address, prefix, name="o", **config):
    topic = prefix + name
    create(address, topic)
    fill(address, topic)
    seen = set()
    for want in (100, COUNT):
        c = consumer(address, topic, **config)
        c.subscribe([topic])
        while len(seen) < want:
            m = c.poll(20)
            assert m is not None and m.key() not in seen
            seen.add(m.key())
        assert all(p.error is None for p in c.commit(asynchronous=False))
        c.close()
    a, tp = admin(address), TopicPartition(topic, 1, 5)
    until("it is empty", lambda: not a.describe_consumer_groups([topic])[topic].result(20).members)
    found = a.list_consumer_group_offsets([ConsumerGroupTopicPartitions(topic)])[topic].result(20).topic_partitions
    assert sorted(p.offset for p in found) == [COUNT // PARTITIONS] * PARTITIONS, found
    a.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(topic, [tp])])[topic].result(20)
    (at,) = [p for p in a.list_consumer_group_offsets([ConsumerGroupTopicPartitions(topic)])[topic].result(20).topic_partitions
             if p.partition == 1]
    assert at.offset == 5
    a.delete_consumer_groups([topic])[topic].result(20)
    assert code(a.delete_consumer_groups([topic])[topic]) == KafkaError.GROUP_ID_NOT_FOUND


def kip848(address, prefix):
    groups(address, prefix, "g8", **{"group.protocol": "consumer"})
    offsets(address, prefix, "o8", **{"group.protocol": "consumer"})
    create(address, prefix + "re-1")
    m = Member(address, prefix + "re", "^" + prefix + "re-[0-9]", **{"group.protocol": "consumer"})
    until("what matches is assigned", lambda: split(m))
    m.end()


classic = {"session.timeout.ms": 10000, "heartbeat.interval.ms": 500}
main({"admin": administration, "produce": produce, "consume": consume, "kip848": kip848,
      "groups": lambda a, p: groups(a, p, **classic), "offsets": lambda a, p: offsets(a, p, **classic),
      "cooperative": lambda a, p: groups(a, p, "gc", **{"partition.assignment.strategy": "cooperative-sticky", **classic})})
