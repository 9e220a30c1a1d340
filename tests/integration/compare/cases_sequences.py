"""What a client sees in the course of several requests: sizes of fetches, sessions, topics that come again, rebalances, reconciliation."""
import socket
import struct
import threading
import time

import wire
from cases_configs import APPEND, DELETE, SET, SUBTRACT, TOPIC, describe, incremental, value_of
from cases_groups import beat, commit, coordinator, hb, join, leave, sync
from cases_records import at, fetch
from wire import batch, record


def batches(records):
    """(base offset, length, leader epoch, attributes, count, producer id) of each whole batch: Kafka sends the beginning of another one behind them."""
    out = []
    while records and len(records) >= 61:
        base, n = struct.unpack(">qi", records[:12])
        if len(records) < n + 12:
            break
        epoch, magic, _, attributes, last, first_ts, _, pid, pepoch, seq, count = struct.unpack(">ibIhiqqqhii", records[12:61])
        out.append([base, n, epoch, magic, attributes, last, "<now>" if first_ts > 1750000000000 else first_ts, pid, pepoch, seq, count])
        records = records[n + 12:]
    return out


def read(c, tag, *parts, v=11, topic="fz", max_wait=0, min_bytes=0, max_bytes=1 << 20, ids=()):
    """A fetch whose batches are told, and whether it took its time."""
    began = time.monotonic()
    answer = c.quiet("Fetch", v, MaxWaitMs=max_wait, MinBytes=min_bytes, MaxBytes=max_bytes, Topics=[
        {**({"TopicId": dict(ids).get(topic, "ab" * 16)} if v >= 13 else {"Topic": topic}), "Partitions": [{"PartitionMaxBytes": 1 << 20, **p} for p in parts]}])
    took = time.monotonic() - began
    for t in answer["Responses"]:
        for p in t["Partitions"]:
            p["Records"] = batches(p["Records"])
    answer["waited"] = took > max_wait / 2000 if max_wait > 100 else False
    c.note(f"{tag} Fetch v{v}", answer)


def case_fetch_sizes(c):
    c.topic("fz", 3)
    for p in (0, 1):
        for _ in range(4):
            c.produce("fz", batch(records=[record(0, value=b"x" * 900)]), partition=p)
    size = len(batch(records=[record(0, value=b"x" * 900)]))
    for n in (0, 1, size - 1, size, size + 1, 2 * size - 1, 2 * size, 3 * size):
        read(c, f"partition max {n - size}+batch", at(0, 0, PartitionMaxBytes=n))
        read(c, f"partition max {n - size}+batch, second", at(2, 0), at(1, 0, PartitionMaxBytes=n))
        read(c, f"max {n - size}+batch", at(0, 0), max_bytes=n)
        read(c, f"max {n - size}+batch, in the middle", at(0, 2), max_bytes=n)
    read(c, "first fills all", at(0, 0), at(1, 0), max_bytes=size)
    read(c, "first leaves a bit", at(0, 3), at(1, 0), max_bytes=size + 10)
    read(c, "second does not fit", at(0, 0, PartitionMaxBytes=size), at(1, 0, PartitionMaxBytes=10))
    read(c, "first empty, second too large", at(2, 0), at(1, 0, PartitionMaxBytes=10), max_bytes=10)
    read(c, "error, then data", at(0, 99), at(1, 0, PartitionMaxBytes=10))
    read(c, "at the end, then data", at(0, 4), at(1, 3), min_bytes=1, max_wait=2000)
    read(c, "wait in vain", at(0, 4), at(1, 4), min_bytes=1, max_wait=500)
    read(c, "more than there is", at(0, 0), min_bytes=1 << 20, max_wait=500)
    read(c, "min above max", at(0, 0), min_bytes=1 << 20, max_bytes=size, max_wait=2000)
    read(c, "error ends the wait", at(0, 0), at(9, 0), min_bytes=1 << 20, max_wait=2000)
    read(c, "nothing asked", max_wait=2000, min_bytes=1)
    for p in (0, 1):
        c.produce("fz", batch(5), partition=p)
    for o in (4, 5, 8):
        read(c, f"inside a batch, {o}", at(0, o))
    c.quiet("DeleteRecords", Topics=[{"Name": "fz", "Partitions": [{"PartitionIndex": 0, "Offset": 6}]}], TimeoutMs=10000)
    for o in (5, 6, 7, 9, 10):
        read(c, f"inside a batch that is deleted in part, {o}", at(0, o))


def case_what_is_read(c):
    """Batches come back as they were sent, but for what the broker writes."""
    c.topic("wr", 4)
    c.topic("wr-append", 1, [("message.timestamp.type", "LogAppendTime")])
    for name, p, data in (("wr", 0, batch(3, epoch=77, base=0)), ("wr", 0, batch(2, pid=7, pepoch=1, seq=0)), ("wr", 0, batch(1, first_ts=-1, max_ts=-1)),
                          ("wr", 0, batch(1, attributes=128)), ("wr", 1, batch(records=[record(0, timestamp=-5), record(1, timestamp=9)], max_ts=1700000000009)),
                          ("wr-append", 0, batch(2)), ("wr-append", 0, batch(2, pid=8, pepoch=0, seq=0))):
        c.note(f"{name} Produce v9", c.mask(c.produce(name, data, partition=p)))
    for name, p in (("wr", 0), ("wr", 1), ("wr-append", 0)):
        read(c, f"{name} {p}", at(p, 0), topic=name)
    for ts in (-3, 0, 1700000000000, 1700000000009):
        c.call("ListOffsets", 7, tag=f"{ts}", ReplicaId=-1, Topics=[
            {"Name": n, "Partitions": [{"PartitionIndex": p, "Timestamp": ts} for p in parts]} for n, parts in (("wr", (0, 1)), ("wr-append", (0,)))])


def case_zstd_by_version(c):
    c.topic("zs")
    for v in c.versions("Produce", 3, 12):
        c.call("Produce", v, Acks=-1, TimeoutMs=10000, TopicData=[{"Name": "zs", "PartitionData": [
            {"Index": 0, "Records": batch(1, attributes=4, records=[b"not zstd"], count=1)}]}]) if v < 7 else None


def case_topic_again(c):
    """A topic is deleted and made again: its id is another, its offsets are gone."""
    coordinator(c)
    old = c.topic("ta")
    c.produce("ta", batch(3))
    commit(c, 8, "before", "ta-group", (0, 2), topic="ta")
    commit(c, 8, "of another", "ta-group", (0, 2), topic="ta-keep") if c.topic("ta-keep") else None
    session = fetch(c, 13, "before", at(0, 0), topic="ta", ids={"ta": old}, session=(0, 0))
    named = fetch(c, 12, "before", at(0, 0), topic="ta", session=(0, 0))
    fetch(c, 13, "ids in a session of names", at(0, 1), topic="ta", ids={"ta": old}, session=(named, 1))
    fetch(c, 12, "names in a session of ids", at(0, 1), topic="ta", session=(session, 1))
    session = fetch(c, 13, "anew", at(0, 0), topic="ta", ids={"ta": old}, session=(0, 0))
    named = fetch(c, 12, "anew", at(0, 0), topic="ta", session=(0, 0))
    c.call("DeleteTopics", 5, TopicNames=["ta"], TimeoutMs=10000)
    c.until("its end", lambda: c.quiet("Metadata", 9, Topics=[{"Name": "ta"}], AllowAutoTopicCreation=False)["Topics"][0]["ErrorCode"] == 3)
    fetch(c, 13, "deleted", session=(session, 1))
    fetch(c, 12, "deleted", session=(named, 1))
    for v in (9, 13):
        c.call("Produce", v, tag="deleted", Acks=-1, TimeoutMs=3000, TopicData=[{"Name": "ta", "TopicId": old, "PartitionData": [{"Index": 0, "Records": batch(1)}]}])
    c.call("Metadata", 12, tag="deleted", Topics=[{"Name": None, "TopicId": old}], AllowAutoTopicCreation=False)
    c.until("the end of its offsets", lambda: c.quiet("OffsetFetch", 7, GroupId="ta-group", Topics=[{"Name": "ta", "PartitionIndexes": [0]}])
            ["Topics"][0]["Partitions"][0]["CommittedOffset"] == -1)
    c.call("OffsetFetch", 7, tag="deleted", GroupId="ta-group", Topics=None)
    new = c.topic("ta")
    c.note("again", {"same id": new == old})
    fetch(c, 13, "again, old id", session=(session, 2))
    fetch(c, 12, "again, by name", session=(named, 2))
    fetch(c, 13, "again, other id in the session", at(0, 0), topic="ta", ids={"ta": new}, session=(session, 3))
    fetch(c, 13, "old id", at(0, 0), topic="ta", ids={"ta": old})
    fetch(c, 12, "offset of before", at(0, 2), topic="ta")
    c.call("OffsetFetch", 7, tag="again", GroupId="ta-group", Topics=[{"Name": "ta", "PartitionIndexes": [0]}])
    c.call("OffsetForLeaderEpoch", 4, tag="again", ReplicaId=-1, Topics=[{"Topic": "ta", "Partitions": [{"Partition": 0, "CurrentLeaderEpoch": -1, "LeaderEpoch": 0}]}])


def case_session_twice(c):
    """A partition named twice in one request of a session, and a topic in two places."""
    ids = {"st": c.topic("st", 2)}
    c.produce("st", batch(2))
    for v in (12, 13):
        s = fetch(c, v, "same partition twice", at(0, 0), at(0, 1), topic="st", ids=ids, session=(0, 0))
        fetch(c, v, "nothing new", session=(s, 1), topic="st", ids=ids)
        fetch(c, v, "moved twice", at(0, 2), at(0, 0), session=(s, 2), topic="st", ids=ids)
        fetch(c, v, "after it", session=(s, 3), topic="st", ids=ids)
        fetch(c, v, "forgotten and moved to the end", at(0, 2), session=(s, 4), topic="st", ids=ids, forget=[0])
        fetch(c, v, "after that", session=(s, 5), topic="st", ids=ids)
        fetch(c, v, "full with its number", at(0, 0), session=(s, 0), topic="st", ids=ids)
        fetch(c, v, "of the closed one", session=(s, 6), topic="st", ids=ids)


def case_list_configs(c):
    """APPEND and SUBTRACT that are done, one after the other, and what is there then."""
    c.topic("lc")
    v = c.newest("IncrementalAlterConfigs")
    key = "cleanup.policy"
    for i, (tag, ops) in enumerate((
            ("append the default's", [(key, APPEND, "delete")]), ("append another", [(key, APPEND, "compact")]), ("subtract one", [(key, SUBTRACT, "delete")]),
            ("subtract what is not there", [(key, SUBTRACT, "delete")]), ("append two", [(key, APPEND, "delete,compact")]),
            ("subtract and its space", [(key, SUBTRACT, "delete, compact")]), ("subtract the last", [(key, SUBTRACT, "compact")]),
            ("set with spaces", [(key, SET, " compact , delete ")]), ("subtract with spaces", [(key, SUBTRACT, " compact ")]),
            ("set an order", [(key, SET, "delete,compact")]), ("append there", [(key, APPEND, "compact,delete")]), ("gone", [(key, DELETE, None)]),
            ("append an empty", [(key, APPEND, "")]), ("subtract of the default", [(key, SUBTRACT, "delete")]),
            ("null", [(key, SET, None)]), ("throttled", [("leader.replication.throttled.replicas", APPEND, "0:1")]),
            ("throttled more", [("leader.replication.throttled.replicas", APPEND, "1:1,0:1")]), ("throttled less", [("leader.replication.throttled.replicas", SUBTRACT, "0:1")]),
            ("number with spaces", [("retention.ms", SET, " 5 ")]), ("number with a sign", [("retention.ms", SET, "+5")]), ("hex", [("retention.ms", SET, "0x10")]),
            ("bool in capitals", [("preallocate", SET, "TRUE")]), ("float", [("min.cleanable.dirty.ratio", SET, ".5")]), ("exponent", [("min.cleanable.dirty.ratio", SET, "5e-1")]),
            ("policy in capitals", [(key, SET, "DELETE")]), ("float with a letter", [("min.cleanable.dirty.ratio", SET, "0.5f")]),
            ("nan", [("min.cleanable.dirty.ratio", SET, "NaN")]))):
        incremental(c, v, tag, (TOPIC, "lc", *ops))
        mark = str(1000 + i)
        incremental(c, v, "mark", (TOPIC, "lc", ("segment.ms", SET, mark)))
        c.until("the mark", lambda m=mark: value_of(c, TOPIC, "lc", "segment.ms") == m)
        describe(c, 4, tag, (TOPIC, "lc"), keys=[key, "leader.replication.throttled.replicas", "retention.ms", "preallocate", "min.cleanable.dirty.ratio"], synonyms=True)


class Later:
    """A call of another connection that is not answered at once."""

    def __init__(self, c, conn, fn):
        self.out, self.c = None, c
        self.thread = threading.Thread(target=self.run, args=(fn,))
        self.thread.start()
        time.sleep(0.3)

    def run(self, fn):
        try:
            self.out = fn()
        except Exception as e:  # told where it is waited for
            self.out = {"failed": f"{type(e).__name__}: {e}"}

    def waits(self, what):
        self.c.note(f"{what} waits", {"waits": self.thread.is_alive()})

    def told(self, what):
        self.thread.join(20)
        self.c.note(what, self.out)
        return self.out


def given(c, g, instance=None, kind="consumer", protocols=None):
    m = join(c, 9, "", g, instance=instance, kind=kind, protocols=protocols, quiet=True)["MemberId"]
    c.mask(m)  # members are numbered as they come, whoever is told of first
    return m


def alone(c, g, **kw):
    m = given(c, g, **kw)
    a = join(c, 9, "", g, member=m, quiet=True, **kw)
    c.quiet("SyncGroup", 5, GroupId=g, MemberId=m, GenerationId=a["GenerationId"], ProtocolType="consumer", ProtocolName=a["ProtocolName"],
            Assignments=[{"MemberId": m, "Assignment": b"one"}])
    return m, a["GenerationId"]


def case_rebalance(c):
    """A second member joins: what the first one is told meanwhile, and who waits for whom."""
    coordinator(c)
    c.topic("of", 2)
    g = "rb"
    one, gen = alone(c, g)
    two = given(c, g)
    joined = Later(c, "two", lambda: join(c, 9, "", g, member=two, quiet=True, conn="two"))
    joined.waits("two joins")
    hb(c, "one, preparing", g, one, gen)
    hb(c, "two, preparing", g, two, gen)
    sync(c, "one, preparing", g, one, gen)
    sync(c, "two, preparing", g, two, gen)
    commit(c, 8, "one, preparing", g, (0, 1), member=one, generation=gen)
    commit(c, 8, "one, preparing, later generation", g, (0, 1), member=one, generation=gen + 1)
    commit(c, 8, "two, preparing", g, (0, 1), member=two, generation=gen)
    c.call("OffsetFetch", 7, tag="preparing", GroupId=g, Topics=[{"Name": "of", "PartitionIndexes": [0]}])
    c.call("DescribeGroups", 6, tag="preparing", Groups=[g])
    c.call("DeleteGroups", 2, tag="preparing", GroupsNames=[g])
    join(c, 9, "other kind, preparing", g, kind="connect")
    join(c, 9, "other protocols, preparing", g, protocols=[{"Name": "zzz", "Metadata": b""}])
    a = join(c, 9, "one comes", g, member=one)
    joined.told("two joined")
    gen2 = a["GenerationId"]
    hb(c, "one, completing", g, one, gen2)
    hb(c, "one, completing, of before", g, one, gen)
    commit(c, 8, "one, completing", g, (0, 1), member=one, generation=gen2)
    c.call("DescribeGroups", 6, tag="completing", Groups=[g])
    synced = Later(c, "two", lambda: c.quiet("SyncGroup", 5, conn="two", GroupId=g, MemberId=two, GenerationId=gen2, ProtocolType="consumer",
                                            ProtocolName="range", Assignments=[]))
    synced.waits("two syncs")
    sync(c, "one gives itself alone", g, one, gen2, [(one, b"1")])
    synced.told("two synced")
    sync(c, "two again", g, two, gen2)
    join(c, 9, "two again as it was", g, member=two)
    hb(c, "two", g, two, gen2)
    again = Later(c, "two", lambda: join(c, 9, "", g, member=one, quiet=True, conn="two"))
    again.waits("the leader joins as it was")
    hb(c, "two, leader rejoins", g, two, gen2)
    leave(c, "two", g, (two, None))
    again.told("the leader joined")
    c.call("DescribeGroups", 6, tag="one left", Groups=[g])


def case_protocol_vote(c):
    coordinator(c)
    def lists(*names):
        return [{"Name": n, "Metadata": n.encode()} for n in names]
    g = "pv"
    one, _ = alone(c, g, kind="x", protocols=lists("a", "b", "c"))
    two = given(c, g, kind="x", protocols=lists("c", "b"))
    for tag, names in (("none in common", ("d",)), ("empty name", ("",)), ("one", ("b",))):
        join(c, 9, tag, g, member=two, kind="x", protocols=lists(*names)) if names == ("d",) else None
    joined = Later(c, "two", lambda: join(c, 9, "", g, member=two, kind="x", protocols=lists("c", "b"), quiet=True, conn="two"))
    join(c, 9, "vote", g, member=one, kind="x", protocols=lists("a", "b", "c"))
    joined.told("vote of two")
    c.call("DescribeGroups", 6, tag="vote", Groups=[g])


def case_session_ends(c):
    """Members that do not come: in time of their session, and of their rebalance."""
    coordinator(c)
    g = "se"
    m = given(c, g)
    a = c.quiet("JoinGroup", 9, GroupId=g, SessionTimeoutMs=6000, RebalanceTimeoutMs=1500, MemberId=m, ProtocolType="consumer",
                Protocols=[{"Name": "range", "Metadata": b""}])
    c.note("joined JoinGroup v9", a)
    two = given(c, g)
    joined = Later(c, "two", lambda: c.quiet("JoinGroup", 9, conn="two", GroupId=g, SessionTimeoutMs=6000, RebalanceTimeoutMs=1500, MemberId=two,
                                             ProtocolType="consumer", Protocols=[{"Name": "range", "Metadata": b""}]))
    joined.told("the other did not come")
    hb(c, "who did not come", g, m, a["GenerationId"])
    c.call("DescribeGroups", 6, tag="without it", Groups=[g])


def case_static_rejoin(c):
    """A static member comes back with other subscriptions, as leader and as follower."""
    coordinator(c)
    g = "sr"
    other = [{"Name": "range", "Metadata": b"\0\0\0\0\0\1\0\1u\xff\xff\xff\xff"}]
    a = join(c, 9, "static", g, instance="i")
    c.call("SyncGroup", 5, GroupId=g, MemberId=a["MemberId"], GenerationId=a["GenerationId"], GroupInstanceId="i", ProtocolType="consumer", ProtocolName="range",
           Assignments=[{"MemberId": a["MemberId"], "Assignment": b"share"}])
    for v in (5, 8, 9):
        join(c, v, "back as it was", g, instance="i")
    for v in (5, 9):
        b = join(c, v, "back with another subscription", g, instance="i", protocols=other if v == 5 else None)
        hb(c, "back", g, b["MemberId"], b["GenerationId"], "i")
        c.call("DescribeGroups", 6, tag="back", Groups=[g])
        c.call("SyncGroup", 5, tag="back", GroupId=g, MemberId=b["MemberId"], GenerationId=b["GenerationId"], GroupInstanceId="i", ProtocolType="consumer",
               ProtocolName="range", Assignments=[{"MemberId": b["MemberId"], "Assignment": b"other"}])


def case_reconcile(c):
    """Members of the consumer protocol: joins, shares, what must be given back, topics that come and go."""
    coordinator(c)
    ids = [c.topic("rc-a", 4), c.topic("rc-b", 2)]
    g = "rc"
    v = c.newest("ConsumerGroupHeartbeat")

    def go(tag, m, e, owned=None, **kw):
        return beat(c, v, f"{tag} {m}", g, m, e, **({} if owned is None else {"TopicPartitions": [
            {"TopicId": i, "Partitions": p} for i, p in zip(ids, owned) if p]}), **kw)
    join1 = {"RebalanceTimeoutMs": 10000, "SubscribedTopicNames": ["rc-a"], "owned": ([], [])}
    e1 = go("joins", "m1", 0, **join1)["MemberEpoch"]
    go("same", "m1", e1)
    go("owns", "m1", e1, ([0, 1, 2, 3], []))
    e2 = go("joins", "m2", 0, **join1)["MemberEpoch"]
    go("same", "m2", e2)
    a = c.until("m1 hears of it", lambda: [x for x in [c.quiet("ConsumerGroupHeartbeat", v, GroupId=g, MemberId="m1", MemberEpoch=e1)] if x["Assignment"]])[0]
    c.note("m1 revokes ConsumerGroupHeartbeat v1", {**a, "HeartbeatIntervalMs": 0})
    go("before it gives back", "m2", e2)
    go("claims early", "m2", e2, ([2, 3], []))
    left = a["Assignment"]["TopicPartitions"][0]["Partitions"]
    a = go("gives back", "m1", a["MemberEpoch"], (left, []))
    b = go("takes", "m2", e2)
    c.call("ConsumerGroupDescribe", tag="two", GroupIds=[g])
    go("stale epoch, what it had", "m1", e1, (left, []))
    go("stale epoch, more than it has", "m1", e1, ([0, 1, 2, 3], []))
    go("subscribes to more", "m2", b["MemberEpoch"], SubscribedTopicNames=["rc-a", "rc-b"])
    go("other assignor", "m2", b["MemberEpoch"], ServerAssignor="range")
    go("unknown assignor", "m2", b["MemberEpoch"], ServerAssignor="none")
    go("other rack", "m1", a["MemberEpoch"], RackId="r")
    go("other timeout", "m1", a["MemberEpoch"], RebalanceTimeoutMs=20000)
    go("empties its topics", "m1", a["MemberEpoch"], SubscribedTopicNames=[])
    go("an expression besides", "m1", a["MemberEpoch"], SubscribedTopicRegex="rc-.*")
    go("a bad expression", "m1", a["MemberEpoch"], SubscribedTopicRegex="rc-[")
    go("no expression", "m1", a["MemberEpoch"], SubscribedTopicRegex="")
    go("leaves", "m1", -1)
    go("leaves", "m2", -1)
    c.call("ConsumerGroupDescribe", tag="empty", GroupIds=[g])
    c.call("ListGroups", 5, tag="empty", StatesFilter=["empty"], TypesFilter=["consumer"])
    beat(c, v, "expression", "rc-x", "m3", 0, RebalanceTimeoutMs=10000, SubscribedTopicRegex="rc-.*", TopicPartitions=[])
    beat(c, v, "expression and names", "rc-y", "m3", 0, RebalanceTimeoutMs=10000, SubscribedTopicRegex="rc-b", SubscribedTopicNames=["rc-a"], TopicPartitions=[])
    for bad in ("(", "[a", "a**", "a{2,1}", "(?=a)", "\\1", "(?P<n>a)", "*", "a{1001}", "\\p{Greek}", "\\pX", "(?i)RC-A", "x" * 3000):
        beat(c, v, f"expression {bad[:20]!r}", "rc-z", "m3", 0, RebalanceTimeoutMs=10000, SubscribedTopicRegex=bad, TopicPartitions=[])
        beat(c, v, "away", "rc-z", "m3", -1)


def case_pipelined(c):
    """Several requests before the first answer: answers in order, also behind one that waits."""
    c.topic("pp")
    conn = wire.Connection(c.address)
    slow = {"MaxWaitMs": 800, "MinBytes": 1, "Topics": [{"Topic": "pp", "Partitions": [{"Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 1000}]}]}
    for i, frame in enumerate((wire.encode("Fetch", 11, slow, correlation=1), wire.encode("Metadata", 4, {"Topics": []}, correlation=2),
                               wire.encode("ListOffsets", 5, {"ReplicaId": -1, "Topics": []}, correlation=2), wire.encode("ApiVersions", 0, {}, correlation=-7))):
        conn.send(frame)
    c.note("pipelined", [struct.unpack(">i", conn.receive()[:4])[0] for _ in range(4)])
    conn.close()


def lengths(c, tag, raw, half=False):
    """Bytes without a frame's courtesy: what comes back."""
    host, _, port = c.address.rpartition(":")
    with socket.create_connection((host, int(port)), 3) as s:
        s.settimeout(3)
        try:
            s.sendall(raw)
            if half:
                s.shutdown(socket.SHUT_WR)
            c.note(tag, {"closed": s.recv(4096) == b""})
        except socket.timeout:
            c.note(tag, {"closed": "no answer"})
        except OSError:
            c.note(tag, {"closed": True})


def frame_lengths(c):
    """One of the wide sweep."""
    good = wire.encode("ApiVersions", 0, {})
    for n in (-1, -2 ** 31, 0, 2 ** 31 - 1, 104857600, 104857601, 1):
        lengths(c, f"length {n}", struct.pack(">i", n) + good)
    lengths(c, "http", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    lengths(c, "tls", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40)
    lengths(c, "one byte", b"\0")
    lengths(c, "length alone", struct.pack(">i", len(good)))
    lengths(c, "one byte, then nothing more", b"\0", half=True)
    for key, v, body in ((18, 3, b"\x02a\x021\0"), (3, 9, b"\1\0\0\0")):
        for tag, tags in (("none", b"\0"), ("unknown", b"\x01\x63\x02ab"), ("two", b"\x02\x63\x01a\x64\x01b"), ("same twice", b"\x02\x63\x01a\x63\x01b"),
                          ("falling", b"\x02\x64\x01a\x63\x01b"), ("cut", b"\x01\x63\x7fa"), ("many", b"\x7f"), ("endless", b"\xff\xff\xff\xff\xff")):
            lengths(c, f"header tags of {key}: {tag}", (lambda f: struct.pack(">i", len(f)) + f)(struct.pack(">hhih", key, v, 7, 1) + b"x" + tags + body))
            lengths(c, f"tags of {key}: {tag}", (lambda f: struct.pack(">i", len(f)) + f)(struct.pack(">hhih", key, v, 7, 1) + b"x\0" + body[:-1] + tags))
    for tag, name in (("not UTF-8", b"\xff\xfe"), ("empty", b""), ("nul", b"\0"), ("long", b"x" * 32767)):
        f = struct.pack(">hhih", 3, 4, 7, len(name)) + name + struct.pack(">ib", 0, 0)
        lengths(c, f"client id {tag}", struct.pack(">i", len(f)) + f)
        f = struct.pack(">hhih", 3, 4, 7, 0) + struct.pack(">ih", 1, len(name)) + name + b"\0"
        lengths(c, f"topic {tag}", struct.pack(">i", len(f)) + f)
