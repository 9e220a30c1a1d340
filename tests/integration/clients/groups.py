#!/usr/bin/env python3
"""Consumer groups with stock clients (librdkafka by confluent-kafka, kafka-python, kcat) on two brokers over one store:
members join and leave, eagerly, cooperatively and as static members; offsets and groups are listed and deleted; the
coordinator is killed with its disk while members commit: no commit is lost or turned back, and nobody rebalances."""
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from broker import Broker

try:
    from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
    from confluent_kafka.admin import AdminClient, NewTopic
except ImportError as e:
    sys.exit(f"confluent-kafka is missing ({e}): run scripts/deps (Debian package python3-confluent-kafka)")
try:
    from kafka import KafkaConsumer
    from kafka.admin import KafkaAdminClient
except ImportError as e:
    sys.exit(f"kafka-python is missing ({e}): run scripts/deps (Debian package python3-kafka)")

PARTITIONS = 12


class Member(threading.Thread):
    """A consumer in a thread of its own; keeps what it was assigned and what it read."""

    def __init__(self, address, group, topic, **config):
        super().__init__(daemon=True)
        self.config = {"bootstrap.servers": address, "group.id": group, "auto.offset.reset": "earliest",
                       "session.timeout.ms": 10000, "heartbeat.interval.ms": 500, "enable.auto.commit": False,
                       "topic.metadata.refresh.interval.ms": 2000, **config}
        self.topic, self.ending, self.rebalances, self.values = topic, False, 0, []
        self.assigned, self.committed, self.errors = set(), {}, []
        self.commit = False
        self.start()

    def run(self):
        c = Consumer(self.config)
        cooperative = self.config.get("partition.assignment.strategy") == "cooperative-sticky"

        def on_assign(_, parts):
            self.rebalances += 1
            new = {p.partition for p in parts}
            self.assigned = self.assigned | new if cooperative else new

        def on_revoke(_, parts):
            self.assigned -= {p.partition for p in parts}

        c.subscribe([self.topic], on_assign=on_assign, on_revoke=on_revoke)
        while not self.ending:
            m = c.poll(0.2)
            if m is None or m.error():
                continue
            self.values.append(m.value())
            if not self.commit:
                continue
            try:
                for p in c.commit(m, asynchronous=False):
                    assert p.error is None, p.error
                    assert p.offset > self.committed.get(p.partition, -1)
                    self.committed[p.partition] = p.offset
            except KafkaException as e:
                self.errors.append(str(e))
        c.close()

    def stop(self):
        self.ending = True
        self.join(30)
        assert not self.is_alive(), "a consumer does not end"


def until(what, condition, seconds=40):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


def split(members):
    """Every partition has one owner."""
    parts = [p for m in members for p in m.assigned]
    return sorted(parts) == list(range(PARTITIONS))


def create(address, topic):
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(20)


def produce(address, topic, count, prefix=b"v"):
    p = Producer({"bootstrap.servers": address, "enable.idempotence": True})
    for i in range(count):
        p.produce(topic, prefix + b"%d" % i, partition=i % PARTITIONS)
    assert p.flush(30) == 0


def joins_and_leaves(address, strategy):
    topic = group = "g-" + strategy
    create(address, topic)
    produce(address, topic, 600)
    more = {"partition.assignment.strategy": strategy}
    a = Member(address, group, topic, **more)
    until("the first member has everything", lambda: split([a]) and len(a.values) == 600)
    b = Member(address, group, topic, **more)
    until("two members share", lambda: split([a, b]) and a.assigned and b.assigned)
    c = Member(address, group, topic, **more)
    until("three members share", lambda: split([a, b, c]) and all(len(m.assigned) == 4 for m in (a, b, c)))
    b.stop()
    until("the two that stay share", lambda: split([a, c]) and len(a.assigned) == 6)
    a.stop()
    c.stop()


def static_member(address):
    topic = group = "g-static"
    create(address, topic)
    a = Member(address, group, topic, **{"group.instance.id": "one", "session.timeout.ms": 30000})
    b = Member(address, group, topic, **{"group.instance.id": "two", "session.timeout.ms": 30000})
    until("two share", lambda: split([a, b]) and a.assigned and b.assigned)
    before, share = a.rebalances, set(b.assigned)
    b.stop()
    again = Member(address, group, topic, **{"group.instance.id": "two", "session.timeout.ms": 30000})
    until("it is back with its share", lambda: again.assigned == share)
    assert a.rebalances == before, "a static member's return rebalanced the others"
    a.stop()
    again.stop()


def administration(address):
    topic = group = "g-admin"
    create(address, topic)
    c = Consumer({"bootstrap.servers": address, "group.id": group, "enable.auto.commit": False})
    done = c.commit(offsets=[TopicPartition(topic, p, 10 + p) for p in range(PARTITIONS)], asynchronous=False)
    assert all(p.error is None for p in done)
    assert [p.offset for p in c.committed([TopicPartition(topic, p) for p in range(PARTITIONS)], 20)] == list(range(10, 22))
    c.close()
    k = KafkaAdminClient(bootstrap_servers=address)
    assert (group, "") in k.list_consumer_groups() or (group, "consumer") in k.list_consumer_groups()
    assert {p.partition: o.offset for p, o in k.list_consumer_group_offsets(group).items()} == {p: 10 + p for p in range(PARTITIONS)}
    (about,) = k.describe_consumer_groups([group])
    assert about.state == "Empty" and not about.members, about
    (deleted,) = k.delete_consumer_groups([group])
    assert deleted[1].errno == 0, deleted
    assert not k.list_consumer_group_offsets(group)
    (missing,) = k.delete_consumer_groups([group])
    assert missing[1].errno == 69, missing
    k.close()


def other_clients(address):
    topic = "g-others"
    create(address, topic)
    produce(address, topic, 120)
    c = KafkaConsumer(topic, bootstrap_servers=address, group_id="g-python", auto_offset_reset="earliest",
                      consumer_timeout_ms=8000)
    got = [m.value for _, m in zip(range(120), c)]
    assert sorted(got) == sorted(b"v%d" % i for i in range(120))
    c.commit()
    c.close()
    out = subprocess.run(["kcat", "-b", address, "-X", "auto.offset.reset=earliest", "-c", "120", "-q", "-G", "g-kcat", topic],
                         capture_output=True, timeout=60, check=True).stdout.split()
    assert sorted(out) == sorted(b"v%d" % i for i in range(120))


def coordinator_dies(brokers):
    """The one that coordinates is killed with its disk; the topic's own partitions may move with it."""
    topic = group = "g-dies"
    both = ",".join(b.address for b in brokers)
    create(both, topic)
    members = [Member(both, group, topic) for _ in range(3)]
    until("three share", lambda: split(members) and all(m.assigned for m in members))
    for m in members:
        m.commit = True
    produce(both, topic, 240, b"a")
    until("commits go on", lambda: sum(len(m.committed) for m in members) == PARTITIONS)
    k = KafkaAdminClient(bootstrap_servers=both.split(","))
    port = find_port(k, group)
    victim = next(b for b in brokers if b.address.endswith(f":{port}"))
    other = next(b for b in brokers if b is not victim)
    before = [m.rebalances for m in members]
    told = {p: o for m in members for p, o in m.committed.items()}
    victim.kill_with_disk()
    produce(both, topic, 240, b"b")
    until("all is read and committed", lambda: sum(len(m.values) for m in members) >= 480 and all(
        max((m.committed.get(p, 0) for m in members)) == 40 for p in range(PARTITIONS)), 60)
    assert [m.rebalances for m in members] == before, "the coordinator's death rebalanced the group"
    c = Consumer({"bootstrap.servers": other.address, "group.id": group})
    for p in c.committed([TopicPartition(topic, p) for p in range(PARTITIONS)], 20):
        assert p.offset == 40 and p.offset >= told[p.partition], (p, told)
    c.close()
    for m in members:
        assert sorted(set(m.values)) == sorted(m.values)
        m.stop()
    k.close()


def find_port(admin, group):
    node = admin._find_coordinator_ids([group])[group]
    return admin._client.cluster.broker_metadata(node).port


def main():
    binary, folder = sys.argv[1], tempfile.mkdtemp(prefix="floe-groups-")
    flags = ["--store", "file://" + os.path.join(folder, "store"), "--lease-ms", "2000", "--group.initial.rebalance.delay.ms",
             "200"]
    try:
        with Broker(binary, *flags) as one, Broker(binary, *flags) as two:
            for strategy in ("range", "roundrobin", "cooperative-sticky"):
                joins_and_leaves(one.address, strategy)
            static_member(two.address)
            administration(one.address)
            other_clients(two.address)
            coordinator_dies([one, two])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("groups: all right")


if __name__ == "__main__":
    main()
