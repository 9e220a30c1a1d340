"""Produce, Fetch, ListOffsets, OffsetForLeaderEpoch: odd and bad requests."""
import gzip
import struct
import time
import zlib

import wire
from wire import batch, record


def topic_field(c, api, v, name, ids):
    """Name or id, as the version wants it."""
    by_id = {"Produce": 13, "Fetch": 13}[api]
    key = "Topic" if api == "Fetch" else "Name"
    return {"TopicId": ids.get(name, "ab" * 16)} if v >= by_id else {key: name}


def produce(c, v, tag, records, topic="pr", partition=0, acks=-1, ids=(), timeout=10000, transactional=None):
    c.call("Produce", v, tag=tag, Acks=acks, TimeoutMs=timeout, TransactionalId=transactional, TopicData=[
        {**topic_field(c, "Produce", v, topic, dict(ids)), "PartitionData": [{"Index": partition, "Records": records}]}])


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1:]


def message_set(magic):
    body = struct.pack(">bb", magic, 0) + (struct.pack(">q", 1) if magic else b"") + struct.pack(">i", 1) + b"k" + struct.pack(">i", 1) + b"v"
    return struct.pack(">qi", 0, len(body) + 4) + struct.pack(">I", zlib.crc32(body)) + body


def bad_batches():
    now = int(time.time() * 1000)
    yield "good", batch(2)
    yield "null", None
    yield "empty", b""
    yield "bad crc", flip(batch(1), 20)
    yield "bad crc of data", flip(batch(1), 66)
    yield "magic 0", batch(1, magic=0)
    yield "magic 1", batch(1, magic=1)
    yield "magic 3", batch(1, magic=3)
    yield "old message 0", message_set(0)
    yield "old message 1", message_set(1)
    yield "length too long", batch(1, length=1000)
    yield "length too short", batch(1, length=10)
    yield "length negative", batch(1, length=-1)
    yield "cut off", batch(1)[:-3]
    yield "a few bytes", b"\0" * 5
    yield "header only", batch(1)[:61]
    yield "bytes behind", batch(1) + b"\0\0\0"
    yield "two batches", batch(1) + batch(1)
    yield "good and bad", batch(1) + flip(batch(1), 66)
    yield "no records", batch(0, records=[], last=-1)
    yield "count too high", batch(2, count=3)
    yield "count too high with delta", batch(2, count=3, last=2)
    yield "count too low", batch(2, count=1)
    yield "count too low with delta", batch(2, count=1, last=0)
    yield "count negative", batch(2, count=-1)
    yield "last delta", batch(2, last=5)
    yield "base offset", batch(1, base=77)
    yield "base offset negative", batch(1, base=-5)
    yield "deltas from one", batch(records=[record(1), record(2)])
    yield "deltas twice", batch(records=[record(0), record(0)])
    yield "codec 5", batch(1, attributes=5)
    yield "codec 7", batch(1, attributes=7)
    yield "gzip", batch(2, attributes=1, compress=gzip.compress)
    yield "gzip that is not", batch(2, attributes=1)
    yield "snappy that is not", batch(2, attributes=2)
    yield "lz4 that is not", batch(2, attributes=3)
    yield "zstd that is not", batch(2, attributes=4)
    yield "plain that is gzip", batch(2, compress=gzip.compress)
    yield "control", batch(1, attributes=32)
    yield "control with producer", batch(1, attributes=32, pid=9, pepoch=0, seq=0)
    yield "transactional without id", batch(1, attributes=16)
    yield "log append time", batch(1, attributes=8)
    yield "delete horizon", batch(1, attributes=64)
    yield "unused attributes", batch(1, attributes=128)
    yield "no stamp", batch(1, first_ts=-1, max_ts=-1)
    yield "stamp -2", batch(1, first_ts=-2, max_ts=-2)
    yield "stamp zero", batch(1, first_ts=0)
    yield "stamp in two hours", batch(1, first_ts=now + 2 * 3600 * 1000 + 60000)
    yield "stamp in half an hour", batch(1, first_ts=now + 1800 * 1000)
    yield "max stamp too low", batch(records=[record(0, timestamp=100)], max_ts=1700000000001)
    yield "producer without epoch", batch(1, pid=3, pepoch=-1, seq=-1)
    yield "producer without sequence", batch(1, pid=3, pepoch=0, seq=-1)
    yield "epoch without producer", batch(1, pid=-1, pepoch=0, seq=0)
    yield "producer -2", batch(1, pid=-2, pepoch=0, seq=0)
    yield "null key and value", batch(records=[record(0, key=None, value=None)])
    yield "headers", batch(records=[record(0, headers=[(b"a", b"b"), (b"a", None), (b"", b"")])])
    yield "record attributes", batch(records=[record(0, attributes=7)])
    yield "record too long", batch(records=[wire.varint(500) + record(0)[1:]])
    yield "record too short", batch(records=[wire.varint(2) + record(0)[1:]])
    yield "record negative", batch(records=[wire.varint(-1) + record(0)[1:]])
    yield "leader epoch 99", batch(1, epoch=99)


def case_produce_batches(c):
    c.conn().timeout = 3  # Kafka owes the first one an answer
    for v in (3, 8, c.newest("Produce")):
        name = f"pr-{v}"
        ids = {name: c.topic(name)}
        for tag, records in bad_batches():
            produce(c, v, tag, records, topic=name, ids=ids)
        produce(c, v, "end", batch(1), topic=name, ids=ids)


def case_produce_fields(c):
    ids = {"pf": c.topic("pf", 2)}
    for v in c.versions("Produce", 3):
        for acks in (2, -2, 127, 1, -1):
            produce(c, v, f"acks {acks}", batch(1), topic="pf", acks=acks, ids=ids)
        for p in (2, -1, 2147483647):
            produce(c, v, f"partition {p}", batch(1), topic="pf", partition=p, ids=ids)
        produce(c, v, "timeout 0", batch(1), topic="pf", acks=1, timeout=0, ids=ids)
        produce(c, v, "timeout negative", batch(1), topic="pf", acks=1, timeout=-1, ids=ids)
        produce(c, v, "unknown topic", batch(1), topic="pf-no", ids=ids)
        if v < 13:
            produce(c, v, "bad topic", batch(1), topic="not ok", ids=ids)
            produce(c, v, "empty topic", batch(1), topic="", ids=ids)
        c.call("Produce", v, tag="no topics", Acks=-1, TimeoutMs=1000, TopicData=[])
        c.call("Produce", v, tag="no partitions", Acks=-1, TimeoutMs=1000, TopicData=[{**topic_field(c, "Produce", v, "pf", ids), "PartitionData": []}])
        c.call("Produce", v, tag="several", Acks=-1, TimeoutMs=10000, TopicData=[
            {**topic_field(c, "Produce", v, "pf", ids), "PartitionData": [{"Index": i, "Records": batch(1)} for i in (1, 0, 9)]},
            {**topic_field(c, "Produce", v, "pf-no", ids), "PartitionData": [{"Index": 0, "Records": batch(1)}]}])
    c.conn().timeout = 3
    v = 9
    for tag, topic, records in (("acks 0 to an unknown topic", "pf-no", batch(1)), ("acks 0 with a bad crc", "pf", flip(batch(1), 20))):
        c.conn("zero").send(wire.encode("Produce", v, {"Acks": 0, "TimeoutMs": 1000, "TopicData": [{"Name": topic, "PartitionData": [{"Index": 0, "Records": records}]}]}))
        c.conn("zero").timeout = 3
        try:
            c.conn("zero").sock.settimeout(3)
            c.note(tag, {"frame": c.conn("zero").receive().hex()})
        except wire.Closed as e:
            c.note(tag, {"connection": str(e)})
        c.conn("zero").close()


def case_produce_limits(c):
    c.topic("pl", configs=[("max.message.bytes", "200")])
    c.topic("plc", configs=[("cleanup.policy", "compact")])
    c.topic("pls", configs=[("message.timestamp.after.max.ms", "1000"), ("message.timestamp.before.max.ms", "1000")])
    c.topic("pla", configs=[("message.timestamp.type", "LogAppendTime")])
    now = int(time.time() * 1000)
    for v in (3, 9):
        produce(c, v, "too large", batch(records=[record(0, value=b"x" * 300)]), topic="pl")
        produce(c, v, "at the limit", batch(records=[record(0, value=b"x" * (200 - 61 - 10))]), topic="pl")
        produce(c, v, "small then too large", batch(1) + batch(records=[record(0, value=b"x" * 300)]), topic="pl")
        produce(c, v, "no key", batch(records=[record(0, key=None)]), topic="plc")
        produce(c, v, "one without a key", batch(records=[record(0), record(1, key=None), record(2, key=None)]), topic="plc")
        produce(c, v, "a key", batch(1), topic="plc")
        produce(c, v, "too old", batch(1, first_ts=now - 60000), topic="pls")
        produce(c, v, "too new", batch(1, first_ts=now + 60000), topic="pls")
        produce(c, v, "two of three too old", batch(records=[record(0, timestamp=60000), record(1), record(2)], first_ts=now - 60000, max_ts=now), topic="pls")
        produce(c, v, "no stamp", batch(1, first_ts=-1), topic="pls")
        produce(c, v, "append time", batch(1, first_ts=5), topic="pla")


def case_produce_sequences(c):
    c.topic("ps", 8)
    v = 9

    def put(tag, partition=0, n=1, **kw):
        produce(c, v, tag, batch(n, **kw), topic="ps", partition=partition)
    put("first", pid=100, pepoch=0, seq=0, n=2)
    put("again", pid=100, pepoch=0, seq=0, n=2)
    put("second", pid=100, pepoch=0, seq=2)
    put("gap", pid=100, pepoch=0, seq=7)
    put("again after a gap", pid=100, pepoch=0, seq=2)
    put("overlap", pid=100, pepoch=0, seq=1, n=3)
    put("part of a batch", pid=100, pepoch=0, seq=1)
    for i in range(3, 10):
        put(f"sequence {i}", pid=100, pepoch=0, seq=i)
    put("too old a duplicate", pid=100, pepoch=0, seq=0, n=2)
    put("the fifth last", pid=100, pepoch=0, seq=5)
    put("new epoch, sequence 5", pid=100, pepoch=1, seq=5)
    put("new epoch, sequence 0", pid=100, pepoch=1, seq=0)
    put("old epoch", pid=100, pepoch=0, seq=10)
    put("old epoch again", pid=100, pepoch=0, seq=0)
    put("unknown producer, sequence 5", partition=1, pid=200, pepoch=0, seq=5)
    put("unknown producer, epoch 5", partition=2, pid=201, pepoch=5, seq=0)
    put("unknown producer goes on", partition=1, pid=200, pepoch=0, seq=6)
    put("wrap, before", partition=3, pid=300, pepoch=0, seq=2147483646, n=1)
    put("wrap, last", partition=3, pid=300, pepoch=0, seq=2147483647, n=1)
    put("wrap, first", partition=3, pid=300, pepoch=0, seq=0)
    put("wrap inside, before", partition=4, pid=301, pepoch=0, seq=2147483645)
    put("wrap inside", partition=4, pid=301, pepoch=0, seq=2147483646, n=4)
    put("wrap inside again", partition=4, pid=301, pepoch=0, seq=2147483646, n=4)
    put("wrap inside, next", partition=4, pid=301, pepoch=0, seq=2)
    put("epoch jump", partition=5, pid=400, pepoch=0, seq=0)
    put("epoch jump to 9", partition=5, pid=400, pepoch=9, seq=0)
    put("epoch highest", partition=5, pid=400, pepoch=32767, seq=0)
    put("two batches of a producer", partition=6, pid=500, pepoch=0, seq=0)
    produce(c, v, "duplicate in one request", batch(1, pid=500, pepoch=0, seq=1) + batch(1, pid=500, pepoch=0, seq=2), topic="ps", partition=6)
    for w in (10, 11, 12):
        produce(c, w, "old epoch", batch(1, pid=100, pepoch=0, seq=10), topic="ps")
    produce(c, v, "sequence 0 again in an old place", batch(1, pid=200, pepoch=0, seq=0), topic="ps", partition=1)


def fetch(c, v, tag, *parts, topic="fe", ids=(), max_wait=0, min_bytes=0, max_bytes=1 << 20, session=None, isolation=0, forget=(), extra=None, conn="main"):
    body = {"MaxWaitMs": max_wait, "MinBytes": min_bytes, "MaxBytes": max_bytes, "IsolationLevel": isolation, "Topics": [
        {**topic_field(c, "Fetch", v, topic, dict(ids)), "Partitions": [{"PartitionMaxBytes": 1 << 20, **p} for p in parts]}] if parts else []}
    if v >= 7 and session is not None:
        body["SessionId"], body["SessionEpoch"] = session
    if forget:
        body["ForgottenTopicsData"] = [{**topic_field(c, "Fetch", v, topic, dict(ids)), "Partitions": list(forget)}]
    body.update(extra or {})
    answer = c.quiet("Fetch", v, conn=conn, **body)
    raw = answer.get("SessionId", 0)
    for t in answer["Responses"]:
        for p in t["Partitions"]:
            r = p.get("Records")
            p["Records"] = None if r is None else len(r)
    c.note(f"{tag} Fetch v{v}", answer)
    return raw


def at(partition, offset, **kw):
    return {"Partition": partition, "FetchOffset": offset, **kw}


def case_fetch_offsets(c):
    ids = {"fe": c.topic("fe", 3)}
    for _ in range(3):
        c.produce("fe", batch(2))
    c.quiet("DeleteRecords", Topics=[{"Name": "fe", "Partitions": [{"PartitionIndex": 0, "Offset": 3}]}], TimeoutMs=10000)
    c.produce("fe", batch(1), partition=1)
    for v in c.versions("Fetch"):
        def ask(tag, *parts, v=v, **kw):
            fetch(c, v, tag, *parts, ids=ids, **kw)
        for o in (0, 2, 3, 5, 6, 7, 1000, -1, -2, 2 ** 63 - 1):
            ask(f"offset {o}", at(0, o))
        ask("partitions", at(0, 3), at(1, 0), at(2, 0), at(3, 0), at(-1, 0))
        ask("twice", at(0, 3), at(0, 5))
        ask("unknown topic", at(0, 0), topic="fe-no")
        if v < 13:
            ask("bad topic", at(0, 0), topic="not ok")
        ask("read committed", at(0, 3), isolation=1)
        ask("isolation 2", at(0, 3), isolation=2)
        ask("max bytes 0", at(0, 3), at(1, 0), max_bytes=0)
        ask("max bytes 1", at(0, 3), at(1, 0), max_bytes=1)
        ask("partition max 0", at(0, 3, PartitionMaxBytes=0), at(1, 0, PartitionMaxBytes=0))
        ask("negative max", at(0, 3, PartitionMaxBytes=-1), at(1, 0), max_bytes=-1)
        ask("min bytes", at(0, 6), min_bytes=100, max_wait=20)
        ask("min bytes and an error", at(0, 1000), at(1, 1), min_bytes=100000, max_wait=500)
        ask("negative wait", at(0, 6), min_bytes=1, max_wait=-1)
        ask("no partitions")
        if v >= 9:
            for e in (-1, 0, 1, 99, -2):
                ask(f"leader epoch {e}", at(0, 3, CurrentLeaderEpoch=e))
        if v >= 12:
            for e in (-1, 0, 1, 5, -2):
                ask(f"last epoch {e}", at(0, 3, LastFetchedEpoch=e))
                ask(f"last epoch {e} past the end", at(0, 100, LastFetchedEpoch=e))
            ask("cluster id", at(0, 3), extra={"ClusterId": "not-the-one"})
        if v >= 5:
            ask("log start", at(0, 3, LogStartOffset=2))
        if v < 15:
            ask("replica 2", at(0, 3), extra={"ReplicaId": 2})
            ask("debugging consumer", at(0, 3), extra={"ReplicaId": -2})
        if v >= 13:
            fetch(c, v, "zero id", at(0, 3), ids={"fe": wire.ZERO})


def case_fetch_sessions(c):
    ids = {"fs": c.topic("fs", 3), "fs2": c.topic("fs2", 1)}
    c.produce("fs", batch(1))
    for v in (7, 12, 13, c.newest("Fetch")):
        def ask(tag, *parts, v=v, **kw):
            return fetch(c, v, tag, *parts, topic=kw.pop("topic", "fs"), ids=ids, **kw)
        ask("unknown session", at(0, 0), session=(12345, 1))
        ask("unknown session, epoch 0", at(0, 0), session=(12345, 0))
        ask("unknown session, close", at(0, 0), session=(12345, -1))
        ask("no session, epoch 5", at(0, 0), session=(0, 5))
        ask("negative session", at(0, 0), session=(-1, 1))
        ask("epoch -2", at(0, 0), session=(0, -2))
        ask("empty full", session=(0, 0))
        s = ask("full", at(0, 0), at(1, 0), session=(0, 0))
        ask("incremental, nothing moved", session=(s, 1))
        ask("incremental, moved", at(0, 1), session=(s, 2))
        ask("incremental, idle", session=(s, 3))
        ask("wrong epoch", session=(s, 9))
        ask("right epoch after a wrong one", session=(s, 4))
        ask("an epoch again", session=(s, 4))
        ask("new partition", at(2, 0), session=(s, 5))
        ask("unknown partition", at(7, 0), session=(s, 6))
        ask("unknown partition still", session=(s, 7))
        ask("forget it", session=(s, 8), forget=[7])
        ask("forget again", session=(s, 9), forget=[7, 8])
        ask("out of range", at(0, 100), session=(s, 10))
        ask("out of range still", session=(s, 11))
        ask("back", at(0, 0), session=(s, 12))
        ask("forget and add", at(0, 0), session=(s, 13), forget=[0])
        ask("forget all", session=(s, 14), forget=[0, 1, 2])
        ask("nothing left", session=(s, 15))
        ask("closed", session=(s, -1))
        ask("after its end", session=(s, 16))
        s = ask("full of an unknown topic", at(0, 0), topic="fs-no", session=(0, 0))
        ask("still unknown", session=(s, 1))
        ask("add a known", at(0, 0), topic="fs2", session=(s, 2))


def list_offsets(c, v, tag, *parts, topic="lo", isolation=0, replica=-1):
    body = {"ReplicaId": replica, "Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": p, "Timestamp": t, **({"CurrentLeaderEpoch": e} if v >= 4 else {})}
                                                                      for p, t, e in parts]}]}
    if v >= 2:
        body["IsolationLevel"] = isolation
    if v >= 10:
        body["TimeoutMs"] = 5000
    c.call("ListOffsets", v, tag=tag, **body)


def case_list_offsets(c):
    c.topic("lo", 3)
    c.produce("lo", batch(2, first_ts=1000))
    c.produce("lo", batch(records=[record(0, timestamp=5), record(1, timestamp=0)], first_ts=3000, max_ts=3005))
    c.produce("lo", batch(1, first_ts=2000))
    for v in c.versions("ListOffsets"):
        for t in (-1, -2, -3, -4, -5, -6, -7, -100, 0, 999, 1000, 1001, 2000, 2001, 3000, 3001, 3005, 3006, 2 ** 62):
            list_offsets(c, v, f"time {t}", (0, t, -1))
        list_offsets(c, v, "empty", *[(1, t, -1) for t in (-2,)])
        list_offsets(c, v, "empty latest", (1, -1, -1))
        list_offsets(c, v, "empty max", (1, -3, -1)) if v >= 7 else None
        list_offsets(c, v, "empty time", (1, 5, -1))
        list_offsets(c, v, "unknown partitions", (9, -1, -1), (-1, -1, -1))
        list_offsets(c, v, "twice", (0, -1, -1), (0, -2, -1))
        list_offsets(c, v, "unknown topic", (0, -1, -1), topic="lo-no")
        list_offsets(c, v, "bad topic", (0, -1, -1), topic="not ok")
        for r in (-2, 1, 5):
            list_offsets(c, v, f"replica {r}", (0, -1, -1), replica=r)
        if v >= 2:
            list_offsets(c, v, "committed", (0, -1, -1), isolation=1)
            list_offsets(c, v, "isolation 2", (0, -1, -1), isolation=2)
        if v >= 4:
            for e in (0, 1, 99, -2):
                list_offsets(c, v, f"epoch {e}", (0, -1, e), (1, -2, e), (2, 5, e))
        c.call("ListOffsets", v, tag="none", ReplicaId=-1, Topics=[])


def case_list_offsets_deleted(c):
    c.topic("lod")
    for i in range(3):
        c.produce("lod", batch(2, first_ts=1000 * (i + 1)))
    c.quiet("DeleteRecords", Topics=[{"Name": "lod", "Partitions": [{"PartitionIndex": 0, "Offset": 3}]}], TimeoutMs=10000)
    v = c.newest("ListOffsets")
    for t in (-1, -2, -3, -4, 0, 1000, 2000, 2001, 3000, 4000):
        list_offsets(c, v, f"time {t}", (0, t, -1), topic="lod")
    c.quiet("DeleteRecords", Topics=[{"Name": "lod", "Partitions": [{"PartitionIndex": 0, "Offset": -1}]}], TimeoutMs=10000)
    for t in (-1, -2, -3, -4, 0, 3000):
        list_offsets(c, v, f"all gone, time {t}", (0, t, -1), topic="lod")


def case_leader_epochs(c):
    c.topic("le", 2)
    c.produce("le", batch(3))
    for v in c.versions("OffsetForLeaderEpoch"):
        def ask(tag, *parts, topic="le", replica=None, v=v):
            body = {"Topics": [{"Topic": topic, "Partitions": [{"Partition": p, "CurrentLeaderEpoch": cur, "LeaderEpoch": e} for p, cur, e in parts]}]}
            if v >= 3:
                body["ReplicaId"] = -1 if replica is None else replica
            c.call("OffsetForLeaderEpoch", v, tag=tag, **body)
        for e in (-1, 0, 1, 5, -2, 2147483647):
            ask(f"epoch {e}", (0, -1, e))
            ask(f"empty epoch {e}", (1, -1, e))
        for cur in (0, 1, -2):
            ask(f"current {cur}", (0, cur, 0))
        ask("unknown partition", (9, -1, 0), (-1, -1, 0))
        ask("unknown topic", (0, -1, 0), topic="le-no")
        ask("bad topic", (0, -1, 0), topic="not ok")
        ask("twice", (0, -1, 0), (0, -1, 5))
        ask("replica 1", (0, -1, 0), replica=1) if v >= 3 else None
        c.call("OffsetForLeaderEpoch", v, tag="none", Topics=[])


def case_read_your_writes(c):
    """What was answered with acks 1 is before the latest offset, at once."""
    c.topic("ryw", 1)
    for i in range(20):
        c.quiet("Produce", 9, Acks=1, TimeoutMs=10000, TopicData=[{"Name": "ryw", "PartitionData": [{"Index": 0, "Records": batch(3)}]}])
        c.call("ListOffsets", 6, tag=f"latest {i}", ReplicaId=-1, IsolationLevel=0, Topics=[
            {"Name": "ryw", "Partitions": [{"PartitionIndex": 0, "CurrentLeaderEpoch": -1, "Timestamp": -1}]}])
    c.call("DeleteRecords", TimeoutMs=10000, Topics=[{"Name": "ryw", "Partitions": [{"PartitionIndex": 0, "Offset": -1}]}])
