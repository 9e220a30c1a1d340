"""aiokafka: asyncio's client."""
import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import OffsetAndMetadata
from common import COUNT, PARTITIONS, T0, key, main, split, value

CODECS = [None, "gzip"]


async def until(what, condition):
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within 40 s: {what}")


async def admin(address):
    a = AIOKafkaAdminClient(bootstrap_servers=address)
    await a.start()
    return a


async def create(address, topic):
    a = await admin(address)
    assert (await a.create_topics([NewTopic(topic, PARTITIONS, 1)])).topic_errors[0][1] == 0
    await a.close()


async def fill(address, topic):
    p = AIOKafkaProducer(bootstrap_servers=address)
    await p.start()
    sent = [await p.send(topic, value(i), key(i), partition=i % PARTITIONS, timestamp_ms=T0 + i) for i in range(COUNT)]
    assert [(await f).offset for f in sent] == [i // PARTITIONS for i in range(COUNT)]
    await p.stop()


async def administration(address, prefix):
    a, topic, gone = await admin(address), prefix + "a", prefix + "gone"
    made = await a.create_topics([NewTopic(topic, 2, 1, topic_configs={"retention.ms": "600000"}), NewTopic(gone, 1, 1)])
    assert all(e[1] == 0 for e in made.topic_errors), made
    assert (await a.create_topics([NewTopic(topic, 2, 1)])).topic_errors[0][1] == 36
    assert (await a.create_topics([NewTopic("no/slash", 2, 1)])).topic_errors[0][1] == 17
    await a.create_partitions({topic: NewPartitions(4)})
    assert len((await a.describe_topics([topic]))[0]["partitions"]) == 4
    await a.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={"max.message.bytes": "12345"})])
    found = (await a.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))[0].resources[0]
    assert {c[0]: c[1] for c in found[4]}["max.message.bytes"] == "12345"
    assert gone in await a.list_topics()
    await a.delete_topics([gone])
    assert gone not in await a.list_topics()
    await a.close()


async def produce(address, prefix):
    for codec in CODECS:
        p = AIOKafkaProducer(bootstrap_servers=address, enable_idempotence=True, compression_type=codec, linger_ms=5)
        await p.start()
        sent = [await p.send(f"{prefix}p-{codec}", None if i % 50 == 7 else value(i), key(i), 0, T0 + i, [("h", key(i))])
                for i in range(COUNT)]
        assert [(await f).offset for f in sent] == list(range(COUNT))
        await p.stop()
    for acks in (0, 1):
        p = AIOKafkaProducer(bootstrap_servers=address, acks=acks)
        await p.start()
        await p.send_and_wait(prefix + "p-acks", b"x")
        await p.stop()


def consumer(address, *topics, **config):
    return AIOKafkaConsumer(*topics, bootstrap_servers=address, auto_offset_reset="earliest", enable_auto_commit=False,
                            metadata_max_age_ms=1000, **config)


async def read(c, n):
    return [await asyncio.wait_for(c.getone(), 20) for _ in range(n)]


async def consume(address, prefix):
    c = consumer(address)
    await c.start()
    for codec in CODECS:
        tp = TopicPartition(f"{prefix}p-{codec}", 0)
        c.assign([tp])
        await c.seek_to_beginning(tp)
        for i, m in enumerate(await read(c, COUNT)):
            assert (m.offset, m.key, m.value) == (i, key(i), None if i % 50 == 7 else value(i)), i
            assert list(m.headers) == [("h", key(i))] and m.timestamp == T0 + i
    topic = prefix + "c"
    await create(address, topic)
    await fill(address, topic)
    parts = [TopicPartition(topic, p) for p in range(PARTITIONS)]
    c.assign(parts)
    await c.seek_to_beginning(*parts)
    assert len({m.key for m in await read(c, COUNT)}) == COUNT
    assert await c.end_offsets(parts) == {p: COUNT // PARTITIONS for p in parts}
    assert (await c.offsets_for_times({parts[1]: T0 + 122}))[parts[1]].offset == 41
    c.assign([parts[1]])
    c.seek(parts[1], 60)
    assert (await read(c, 40))[0].offset == 60
    await c.stop()


class Member:
    def __init__(self, address, topic):
        self.c = consumer(address, topic, group_id=topic, session_timeout_ms=10000, heartbeat_interval_ms=500)

    async def start(self):
        await self.c.start()
        return self

    @property
    def has(self):
        return {p.partition for p in self.c.assignment()}


async def groups(address, prefix):
    topic = prefix + "g"
    await create(address, topic)
    one = await Member(address, topic).start()
    await until("one member has all", lambda: split(one))
    two = await Member(address, topic).start()
    await until("two members share", lambda: split(one, two))
    a = await admin(address)
    assert topic in [g[0] for g in await a.list_consumer_groups()]
    d = (await a.describe_consumer_groups([topic]))[0].groups[0]
    assert "Stable" in d and topic in d, d
    await a.close()
    await two.c.stop()
    await until("the one that stays has all", lambda: split(one))
    await one.c.stop()


async def offsets(address, prefix):
    topic = prefix + "o"
    await create(address, topic)
    await fill(address, topic)
    seen = set()
    for want in (100, COUNT):
        c = consumer(address, topic, group_id=topic, session_timeout_ms=10000)
        await c.start()
        while len(seen) < want:
            m = await asyncio.wait_for(c.getone(), 20)
            assert m.key not in seen
            seen.add(m.key)
        await c.commit()
        await c.stop()
    tp = TopicPartition(topic, 1)
    c = consumer(address, group_id=topic)
    await c.start()
    c.assign([tp])
    await c.commit({tp: OffsetAndMetadata(77, "note")})
    assert await c.committed(tp) == 77
    await c.stop()
    a = await admin(address)
    assert (await a.list_consumer_group_offsets(topic))[tp] == OffsetAndMetadata(77, "note")
    await a.close()


def sync(f):
    return lambda address, prefix: asyncio.run(f(address.split(","), prefix))


main({"admin": sync(administration), "produce": sync(produce), "consume": sync(consume), "groups": sync(groups),
      "offsets": sync(offsets)})
