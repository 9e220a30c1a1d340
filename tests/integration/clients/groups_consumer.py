#!/usr/bin/env python3
"""Groups of the consumer protocol (KIP-848) with librdkafka, on two brokers over one store: members join, leave and come
back as static members, both assignors; partitions grow; the coordinator is killed with its disk while members commit: no
commit is lost or turned back, and nobody's partitions move."""
import os
import shutil
import sys
import tempfile
import threading
import time

from broker import Broker

try:
    import confluent_kafka
    from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
    from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
    if confluent_kafka.libversion()[1] < 0x020c00ff:
        raise ImportError(f"this one is built on librdkafka {confluent_kafka.libversion()[0]}")
except ImportError as e:
    sys.exit(f"confluent-kafka 2.12 or later is missing ({e}): make a virtual environment, "
             "`pip install 'confluent-kafka>=2.12'` in it, and run this with its Python")

PARTITIONS = 12


class Member(threading.Thread):
    """A consumer in a thread of its own; keeps what it has and what it committed."""

    def __init__(self, address, group, topic, **config):
        super().__init__(daemon=True)
        self.config = {"bootstrap.servers": address, "group.id": group, "group.protocol": "consumer",
                       "auto.offset.reset": "earliest", "enable.auto.commit": False,
                       "topic.metadata.refresh.interval.ms": 2000, **config}
        self.topic, self.ending, self.changes, self.count = topic, False, 0, 0
        self.assigned, self.committed, self.commit, self.error = set(), {}, False, None
        self.start()

    def run(self):
        try:
            self.work()
        except (KafkaException, AssertionError) as e:
            self.error = e

    def work(self):
        c = Consumer(self.config)

        def on_assign(c, parts):
            self.changes += 1
            self.assigned |= {p.partition for p in parts}
            c.incremental_assign(parts)

        def on_revoke(c, parts):
            self.changes += 1
            self.assigned -= {p.partition for p in parts}
            c.incremental_unassign(parts)

        c.subscribe([self.topic], on_assign=on_assign, on_revoke=on_revoke)
        while not self.ending:
            m = c.poll(0.2)
            if m is None or m.error():
                continue
            self.count += 1
            if not self.commit:
                continue
            try:
                for p in c.commit(m, asynchronous=False):
                    if p.error is None:
                        assert p.offset > self.committed.get(p.partition, -1), "a commit went back"
                        self.committed[p.partition] = p.offset
            except KafkaException:
                pass  # not committed: nothing was promised
        c.close()

    def stop(self):
        self.ending = True
        self.join(30)
        assert not self.is_alive(), "a consumer does not end"
        assert self.error is None, self.error


def until(what, condition, seconds=45):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"within {seconds} s not: {what() if callable(what) else what}")


def shared(members, partitions, low, high):
    """Everything is with exactly one, and fairly."""
    all_parts = [p for m in members for p in m.assigned]
    return sorted(all_parts) == list(range(partitions)) and all(low <= len(m.assigned) <= high for m in members)


def sizes(members):
    return lambda: f"a fair share: {[sorted(m.assigned) for m in members]}, {[m.error for m in members]}"


def produce(address, topic, partitions, count):
    p = Producer({"bootstrap.servers": address})
    for i in range(count):
        p.produce(topic, str(i).encode(), partition=i % partitions)
    assert p.flush(30) == 0


def comes_and_goes(address, admin, assignor):
    topic = group = f"kip848-{assignor}"
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(20)
    produce(address, topic, PARTITIONS, 1200)
    config = {"group.remote.assignor": assignor}
    members = [Member(address, group, topic, **config)]
    until(sizes(members), lambda: shared(members, PARTITIONS, 12, 12))
    members.append(Member(address, group, topic, **config))
    members.append(Member(address, group, topic, **config))
    until(sizes(members), lambda: shared(members, PARTITIONS, 4, 4))
    until("all is read", lambda: sum(m.count for m in members) >= 1200)
    members.pop().stop()
    until(sizes(members), lambda: shared(members, PARTITIONS, 6, 6))
    admin.create_partitions([NewPartitions(topic, 16)])[topic].result(20)
    until(sizes(members), lambda: shared(members, 16, 8, 8))
    d = admin.describe_consumer_groups([group])[group].result(20)
    assert d.state.name == "STABLE" and len(d.members) == 2, (d.state, len(d.members))
    assert d.type.name == "CONSUMER" and d.partition_assignor == assignor, (d.type, d.partition_assignor)
    for m in members:
        m.stop()
    until("an empty group", lambda: admin.describe_consumer_groups([group])[group].result(20).state.name == "EMPTY")
    admin.delete_consumer_groups([group])[group].result(20)


def static_member(address, admin):
    topic = group = "kip848-static"
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(20)
    a, b = (Member(address, group, topic, **{"group.instance.id": i}) for i in ("i-a", "i-b"))
    until(sizes([a, b]), lambda: shared([a, b], PARTITIONS, 6, 6))
    time.sleep(1)
    before, changes = set(b.assigned), a.changes
    b.stop()
    again = Member(address, group, topic, **{"group.instance.id": "i-b"})
    until(sizes([a, again]), lambda: again.assigned == before)
    assert a.changes == changes, "the other member noticed"
    a.stop()
    again.stop()


def coordinator_of(brokers, admin, group):
    d = admin.describe_consumer_groups([group])[group].result(20)
    at = f"{d.coordinator.host}:{d.coordinator.port}"
    return next(b for b in brokers if b.address == at)


def coordinator_dies(brokers, admin):
    topic = group = "kip848-death"
    addresses = ",".join(b.address for b in brokers)
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(20)
    members = [Member(addresses, group, topic) for _ in range(2)]
    until(sizes(members), lambda: shared(members, PARTITIONS, 6, 6))
    for m in members:
        m.commit = True
    produce(addresses, topic, PARTITIONS, 600)
    until("commits", lambda: all(m.committed for m in members))
    changes = [m.changes for m in members]
    victim = coordinator_of(brokers, admin, group)
    survivor = next(b for b in brokers if b is not victim)
    victim.kill_with_disk()
    done = [dict(m.committed) for m in members]
    produce(survivor.address, topic, PARTITIONS, 600)
    until("commits go on", lambda: all(sum(m.committed.values()) > sum(d.values()) for m, d in zip(members, done)), 90)
    assert [m.changes for m in members] == changes, "partitions moved"
    for m in members:
        m.stop()
    c = Consumer({"bootstrap.servers": survivor.address, "group.id": group})
    for m in members:
        for p in c.committed([TopicPartition(topic, p) for p in m.committed], timeout=30):
            assert p.offset >= m.committed[p.partition], f"{p}: {m.committed[p.partition]} was answered"
    c.close()


def main():
    binary = sys.argv[1]
    root = tempfile.mkdtemp(prefix="floe-clients-")
    flags = ["--store", "file://" + os.path.join(root, "store"), "--lease-ms", "2000",
             "--group.consumer.heartbeat.interval.ms", "500"]
    try:
        with Broker(binary, *flags) as first, Broker(binary, *flags) as second:
            address = f"{first.address},{second.address}"
            admin = AdminClient({"bootstrap.servers": address})
            for assignor in ("uniform", "range"):
                comes_and_goes(address, admin, assignor)
                print(f"{assignor}: members come and go, partitions grow")
            static_member(address, admin)
            print("static members come back unnoticed")
            coordinator_dies([first, second], admin)
            print("the coordinator died: no commit lost, nobody's partitions moved")
    finally:
        shutil.rmtree(root, ignore_errors=True)


main()
