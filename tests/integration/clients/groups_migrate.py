#!/usr/bin/env python3
"""Groups that change their protocol while they work, with librdkafka, on three brokers over one store: members of the classic
protocol are replaced one by one by members of the consumer protocol, and back, while records are produced, read and
committed; then the same with the coordinator killed, with its disk, half-way there and half-way back. No record is left out, no partition has two
owners, none is taken for lost, and reading does not stop. Classic members that are other clients than librdkafka go on,
too, while a member of the consumer protocol comes and goes."""
import asyncio
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
    from confluent_kafka.admin import AdminClient, NewTopic
    if confluent_kafka.libversion()[1] < 0x020c00ff:
        raise ImportError(f"this one is built on librdkafka {confluent_kafka.libversion()[0]}")
except ImportError as e:
    sys.exit(f"confluent-kafka 2.12 or later is missing ({e}): make a virtual environment, "
             "`pip install 'confluent-kafka>=2.12'` in it, and run this with its Python")

try:
    import aiokafka
    from kafka import KafkaConsumer
except ImportError as e:
    sys.exit(f"kafka-python and aiokafka are missing ({e}): `pip install kafka-python aiokafka` beside confluent-kafka")

PARTITIONS = 12
MEMBERS = 3
CLASSIC = {"group.protocol": "classic", "session.timeout.ms": 10000, "heartbeat.interval.ms": 500}
CONSUMER = {"group.protocol": "consumer"}


class Group:
    """What all members of a group did: who owns what, what was read of each partition, and when."""

    def __init__(self, addresses, name):
        self.addresses, self.name = addresses, name
        self.lock = threading.Lock()
        self.owner, self.next, self.at = {}, [0] * PARTITIONS, [None] * PARTITIONS
        self.twice, self.pause, self.lost, self.wrong = 0, 0.0, 0, []

    def assigned(self, member, parts):
        with self.lock:
            for p in parts:
                if p in self.owner:
                    self.wrong.append(f"partition {p} has two owners")
                self.owner[p] = member

    def revoked(self, member, parts):
        with self.lock:
            for p in parts:
                if self.owner.get(p) is member:
                    del self.owner[p]

    def read(self, partition, number):
        """Records are numbered from 0 in each partition: one that comes later than its turn left others out."""
        with self.lock:
            now = time.monotonic()
            if self.at[partition] is not None:
                self.pause = max(self.pause, now - self.at[partition])
            self.at[partition] = now
            if number > self.next[partition]:
                self.wrong.append(f"partition {partition}: {self.next[partition]} to {number - 1} were not read")
            elif number < self.next[partition]:
                self.twice += 1
            self.next[partition] = max(self.next[partition], number + 1)


class Member(threading.Thread):
    """A consumer in a thread of its own; commits what it has read a few times a second."""

    def __init__(self, group, protocol, strategy):
        super().__init__(daemon=True)
        self.group, self.ending, self.error, self.mine = group, False, None, set()
        self.cooperative = protocol is CONSUMER or strategy == "cooperative-sticky"
        self.config = {"bootstrap.servers": group.addresses, "group.id": group.name, "auto.offset.reset": "earliest",
                       "enable.auto.commit": False, "enable.auto.offset.store": False, **protocol}
        if protocol is CLASSIC:
            self.config["partition.assignment.strategy"] = strategy
        self.start()

    def run(self):
        try:
            self.work()
        except (KafkaException, AssertionError) as e:
            self.error = e

    def take(self, parts):
        self.mine |= parts
        self.group.assigned(self, parts)

    def give(self, parts):
        self.mine -= parts
        self.group.revoked(self, parts)

    def commit(self, c):
        try:
            c.commit(asynchronous=False)
        except (KafkaException, TimeoutError):
            pass  # nothing to commit, or not committed: nothing was promised

    def work(self):
        c = Consumer(self.config)

        def on_assign(_, parts):
            self.take({p.partition for p in parts})
            if self.cooperative:
                c.incremental_assign(parts)
            else:
                c.assign(parts)

        def on_revoke(_, parts):
            self.commit(c)
            if self.cooperative:
                c.incremental_unassign(parts)
            else:
                c.unassign()
            self.give({p.partition for p in parts})

        def on_lost(_, parts):
            self.group.lost += len(parts)
            self.give({p.partition for p in parts})

        c.subscribe([self.group.name], on_assign=on_assign, on_revoke=on_revoke, on_lost=on_lost)
        last = time.monotonic()
        while not self.ending:
            m = c.poll(0.1)
            if m is not None and not m.error():
                self.group.read(m.partition(), int(m.value()))
                c.store_offsets(m)
            if time.monotonic() - last > 0.2:
                self.commit(c)
                last = time.monotonic()
        c.close()
        self.give(set(self.mine))

    def stop(self):
        self.ending = True
        self.join(30)
        assert not self.is_alive(), "a consumer does not end"
        assert self.error is None, self.error


class KafkaPython(threading.Thread):
    """A classic member that is kafka-python; eager, with automatic commits."""

    def __init__(self, address, topic):
        super().__init__(daemon=True)
        self.address, self.topic, self.mine, self.count = address, topic, set(), 0
        self.ending, self.error = False, None
        self.config = {"group_id": topic, "bootstrap_servers": address, "auto_offset_reset": "earliest",
                       "session_timeout_ms": 10000, "heartbeat_interval_ms": 500, "auto_commit_interval_ms": 200}
        self.start()

    def run(self):
        try:
            self.work()
        except Exception as e:  # pylint: disable=broad-except
            self.error = e
        self.mine = set()

    def took(self, batches, assigned):
        self.count += sum(len(b) for b in batches.values())
        self.mine = {p.partition for p in assigned}

    def work(self):
        c = KafkaConsumer(self.topic, **self.config)
        while not self.ending:
            self.took(c.poll(100), c.assignment())
        c.close()

    def stop(self):
        self.ending = True
        self.join(30)
        assert not self.is_alive() and self.error is None, f"the end of a member: {self.error}"


class AioKafka(KafkaPython):
    """The same with aiokafka."""

    def work(self):
        async def all_of_it():
            c = aiokafka.AIOKafkaConsumer(self.topic, **self.config)
            await c.start()
            while not self.ending:
                self.took(await c.getmany(timeout_ms=100), c.assignment())
            await c.stop()
        asyncio.run(all_of_it())


class Load(threading.Thread):
    """Numbers to every partition until it is stopped."""

    def __init__(self, addresses, topic):
        super().__init__(daemon=True)
        self.producer = Producer({"bootstrap.servers": addresses, "enable.idempotence": True, "linger.ms": 20})
        self.topic, self.ending, self.count = topic, False, 0
        self.start()

    def run(self):
        while not self.ending:
            for p in range(PARTITIONS):
                self.producer.produce(self.topic, str(self.count).encode(), partition=p)
            self.count += 1
            self.producer.poll(0.02)

    def stop(self):
        self.ending = True
        self.join(30)
        assert self.producer.flush(60) == 0, "not everything was produced"


def until(what, condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"within {seconds} s not: {what() if callable(what) else what}")


def shared(group, members):
    """Each partition is with one member, and each member has as many."""
    def done():
        with group.lock:
            return len(group.owner) == PARTITIONS and all(len(m.mine) == PARTITIONS // MEMBERS for m in members)
    until(lambda: f"{group.name}: a fair share: {[sorted(m.mine) for m in members]}, {[m.error for m in members]}, {group.wrong}", done)


def kind(admin, group, members, state="STABLE"):
    """What the group is, and its members by protocol."""
    def said():
        try:
            d = admin.describe_consumer_groups([group.name])[group.name].result(5)
        except (KafkaException, TimeoutError):
            return None
        return d.type.name, d.state.name, len(d.members)
    return lambda want: until(lambda: f"{group.name}: {want}, but {said()}", lambda: said() == (want, state, members))


def replace(group, members, protocol, strategy, during, after):
    """One by one; `during`: while the group goes from one division to the next."""
    for i in range(MEMBERS):
        members[i].stop()
        members[i] = Member(group, protocol, strategy)
        during(i)
        shared(group, members)
        after(i)


def migrate(addresses, name, strategy, kill=None):
    """There and back; the result is what was seen."""
    admin = AdminClient({"bootstrap.servers": addresses})
    admin.create_topics([NewTopic(name, PARTITIONS, 1)])[name].result(20)
    group, load = Group(addresses, name), Load(addresses, name)
    is_kind = kind(admin, group, MEMBERS)
    members = [Member(group, CLASSIC, strategy) for _ in range(MEMBERS)]
    shared(group, members)
    is_kind("CLASSIC")
    group.pause = 0.0

    def dies(i):
        if kill and i == 1:
            time.sleep(0.3)
            kill(admin, name)

    replace(group, members, CONSUMER, strategy, dies, lambda i: is_kind("CONSUMER"))
    replace(group, members, CLASSIC, strategy, dies, lambda i: is_kind("CLASSIC" if i == MEMBERS - 1 else "CONSUMER"))
    load.stop()
    until(lambda: f"{name}: everything is read: {group.next} of {load.count}", lambda: min(group.next) == load.count)
    for m in members:
        m.stop()
    c = Consumer({"bootstrap.servers": addresses, "group.id": name})
    ends = [p.offset for p in c.committed([TopicPartition(name, p) for p in range(PARTITIONS)], timeout=30)]
    c.close()
    assert not group.wrong, group.wrong[:5]
    assert all(o <= load.count for o in ends), (ends, load.count)
    if not kill:
        assert group.lost == 0, f"{group.lost} partitions were taken for lost"
        assert group.pause < 15, f"a partition was not read for {group.pause:.1f} s"
    return (f"{name}: {load.count * PARTITIONS} records, {group.twice} read twice, {group.lost} partitions lost, "
            f"longest pause of a partition {group.pause:.1f} s")


def others(address, client):
    """Two classic members of another client; one of the consumer protocol comes, and goes."""
    name = "migrate-" + client.__name__.lower()
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic(name, PARTITIONS, 1)])[name].result(20)
    group, load = Group(address, name), Load(address, name)
    members = [client(address, name) for _ in range(2)]

    def share(want):
        everyone = [*members, *newcomers]
        until(lambda: f"{name}: {want}, but {[(sorted(m.mine), m.error) for m in everyone]}",
              lambda: [len(m.mine) for m in everyone] == want and set().union(*(m.mine for m in everyone)) == set(range(PARTITIONS)))

    newcomers = []
    share([6, 6])
    newcomers.append(Member(group, CONSUMER, None))
    share([4, 4, 4])
    kind(admin, group, 3)("CONSUMER")
    newcomers.pop().stop()
    share([6, 6])
    kind(admin, group, 2)("CLASSIC")
    counts = [m.count for m in members]
    until(f"{name}: they read on", lambda: all(m.count > c + 100 for m, c in zip(members, counts)))
    load.stop()
    for m in members:
        m.stop()
    return f"{name}: {counts} records read, and going on"


def at_once(works):
    """Each in a thread; the first error is raised."""
    results = [None] * len(works)

    def run(i):
        try:
            results[i] = works[i]()
        except BaseException as e:  # pylint: disable=broad-except
            results[i] = e
    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(len(works))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for r in results:
        if isinstance(r, BaseException):
            raise r
        print(r, flush=True)


def main():
    binary = sys.argv[1]
    root = tempfile.mkdtemp(prefix="floe-clients-")
    flags = ["--store", "file://" + os.path.join(root, "store"), "--lease-ms", "2000", "--group.consumer.heartbeat.interval.ms", "500",
             "--group.initial.rebalance.delay.ms", "500"]
    try:
        with Broker(binary, *flags) as first, Broker(binary, *flags) as second, Broker(binary, *flags) as third:
            brokers = [first, second, third]
            addresses = ",".join(b.address for b in brokers)
            at_once([lambda: migrate(addresses, "migrate-eager", "range"),
                     lambda: migrate(addresses, "migrate-cooperative", "cooperative-sticky"),
                     lambda: others(first.address, KafkaPython), lambda: others(first.address, AioKafka)])

            def kill(admin, name):
                d = admin.describe_consumer_groups([name])[name].result(20)
                at = f"{d.coordinator.host}:{d.coordinator.port}"
                next(b for b in brokers if b.address == at).kill_with_disk()
            at_once([lambda: migrate(addresses, "migrate-killed", "cooperative-sticky", kill)])
    finally:
        shutil.rmtree(root, ignore_errors=True)


main()
