"""Groups of both protocols and their offsets: odd and bad requests."""
import struct

import wire

RANGE = [{"Name": "range", "Metadata": b"\0\0\0\0\0\1\0\1t\xff\xff\xff\xff"}]


def coordinator(c):
    c.until("a coordinator", lambda: c.quiet("FindCoordinator", 2, Key="g", KeyType=0)["ErrorCode"] == 0)
    c.until("its groups", lambda: c.quiet("ListGroups", 0)["ErrorCode"] == 0 and all(
        c.quiet("Heartbeat", 0, GroupId=f"probe{i}", MemberId="m", GenerationId=1)["ErrorCode"] == 25 for i in range(12)))


def commit(c, v, tag, group, *parts, member="", generation=-1, topic="of", instance=None, metadata="m", ids=()):
    ids = dict(ids)
    body = {"GroupId": group, "MemberId": member, "GenerationIdOrMemberEpoch": generation, "Topics": [{
        **({"TopicId": ids.get(topic, "ab" * 16)} if v >= 10 else {"Name": topic}),
        "Partitions": [{"PartitionIndex": p, "CommittedOffset": o, "CommittedMetadata": metadata} for p, o in parts]}]}
    if v >= 7:
        body["GroupInstanceId"] = instance
    c.call("OffsetCommit", v, tag=tag, **body)


def case_offset_commit(c):
    coordinator(c)
    ids = {"of": c.topic("of", 2)}
    for v in c.versions("OffsetCommit"):
        def put(tag, group, *parts, v=v, **kw):
            commit(c, v, tag, group, *parts, ids=ids, **kw)
        g = f"oc-{v}"
        put("simple", g, (0, 5), (1, 6))
        put("negative offset", g, (0, -1))
        put("offset -5", g, (0, -5))
        put("unknown partition", g, (7, 1), (0, 1), (-1, 1))
        put("unknown topic", g, (0, 1), topic="of-no")
        put("bad topic", g, (0, 1), topic="not ok") if v < 10 else None
        put("empty group", "", (0, 1))
        put("unknown member", g, (0, 1), member="nobody")
        put("generation without member", g, (0, 1), generation=3)
        put("member and generation", g, (0, 1), member="nobody", generation=3)
        put("member and generation of no group", g + "-none", (0, 1), member="nobody", generation=3)
        put("generation of no group", g + "-none2", (0, 1), generation=0)
        put("instance", g, (0, 1), instance="i") if v >= 7 else None
        put("long metadata", g, (0, 1), metadata="x" * 5000)
        put("metadata at the limit", g, (0, 1), metadata="x" * 4096)
        put("null metadata", g, (0, 1), metadata=None)
        put("twice", g, (0, 1), (0, 2))
        put("no partitions", g)
        c.call("OffsetCommit", v, tag="no topics", GroupId=g, MemberId="", GenerationIdOrMemberEpoch=-1, Topics=[])
        if v < 5:
            c.call("OffsetCommit", v, tag="retention", GroupId=g, MemberId="", GenerationIdOrMemberEpoch=-1, RetentionTimeMs=1, Topics=[
                {"Name": "of", "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 9}]}])


def case_internal_topics(c):
    coordinator(c)
    names = [{"Name": "__consumer_offsets"}, {"Name": "__share_group_state"}, {"Name": "__not_one"}]
    for v in c.versions("Metadata", low=4):
        c.call("Metadata", v, Topics=names, AllowAutoTopicCreation=False)
    c.call("DescribeTopicPartitions", Topics=names)
    c.call("Produce", 9, Acks=-1, TimeoutMs=10000, TopicData=[{"Name": "__consumer_offsets", "PartitionData": [
        {"Index": 0, "Records": wire.batch(records=[wire.record(0, key=b"k")])}]}])
    c.call("DeleteRecords", TimeoutMs=10000, Topics=[{"Name": "__consumer_offsets", "Partitions": [{"PartitionIndex": 0, "Offset": 0}]}])


def case_offset_fetch(c):
    coordinator(c)
    ids = {"of": c.topic("of", 2)}
    commit(c, 8, "made", "ofg", (0, 5), (1, 7), metadata="a\0 b")
    for v in c.versions("OffsetFetch"):
        if v < 8:
            def ask(tag, group, *topics, v=v, **kw):
                c.call("OffsetFetch", v, tag=tag, GroupId=group, Topics=[{"Name": n, "PartitionIndexes": p} for n, p in topics] if topics != (None,) else None, **kw)
            ask("both", "ofg", ("of", [0, 1, 7, -1]))
            ask("unknown group", "ofg-no", ("of", [0]))
            ask("unknown topic", "ofg", ("of-no", [0]))
            ask("bad topic", "ofg", ("not ok", [0]))
            ask("empty group", "", ("of", [0]))
            ask("no partitions", "ofg", ("of", []))
            ask("none", "ofg")
            ask("all", "ofg", None) if v >= 2 else None
            ask("all of an unknown group", "ofg-no", None) if v >= 2 else None
            ask("stable", "ofg", ("of", [0]), RequireStable=True) if v >= 7 else None
            ask("twice", "ofg", ("of", [0, 0]))
        else:
            def topic(n, p, v=v):
                return {**({"TopicId": ids.get(n, "ab" * 16)} if v >= 10 else {"Name": n}), "PartitionIndexes": p}

            def asks(tag, *groups, v=v):
                c.call("OffsetFetch", v, tag=tag, Groups=list(groups))
            asks("several", {"GroupId": "ofg", "Topics": [topic("of", [0, 1, 7])]}, {"GroupId": "ofg-no", "Topics": [topic("of", [0])]})
            asks("all", {"GroupId": "ofg", "Topics": None}, {"GroupId": "ofg-no", "Topics": None})
            asks("none", {"GroupId": "ofg", "Topics": []})
            asks("unknown topic", {"GroupId": "ofg", "Topics": [topic("of-no", [0])]})
            asks("empty group", {"GroupId": "", "Topics": [topic("of", [0])]})
            asks("group twice", *[{"GroupId": "ofg", "Topics": [topic("of", [0])]}] * 2)
            asks("no groups")
            if v >= 9:
                for m, e in (("nobody", 1), (None, -1), (None, 5), ("", -1), ("nobody", -1), ("", 0)):
                    asks(f"member {m!r} {e}", {"GroupId": "ofg", "MemberId": m, "MemberEpoch": e, "Topics": [topic("of", [0])]})
                    asks(f"member {m!r} {e} of no group", {"GroupId": "ofg-no", "MemberId": m, "MemberEpoch": e, "Topics": [topic("of", [0])]})


def case_offset_delete(c):
    coordinator(c)
    c.topic("of", 2)
    commit(c, 8, "made", "odg", (0, 5), (1, 7))

    def delete(tag, group, *topics):
        c.call("OffsetDelete", tag=tag, GroupId=group, Topics=[{"Name": n, "Partitions": [{"PartitionIndex": p} for p in ps]} for n, ps in topics])
    delete("unknown group", "odg-no", ("of", [0]))
    delete("empty group", "", ("of", [0]))
    delete("unknown topic", "odg", ("of-no", [0]))
    delete("bad topic", "odg", ("not ok", [0]))
    delete("unknown partition", "odg", ("of", [0, 7]))
    delete("again", "odg", ("of", [0]))
    delete("none", "odg")
    delete("no partitions", "odg", ("of", []))
    delete("last", "odg", ("of", [1]))
    delete("of an empty one", "odg", ("of", [1]))


def join(c, v, tag, group, member="", instance=None, kind="consumer", protocols=None, session=10000, rebalance=5000, quiet=False, conn="main"):
    body = {"GroupId": group, "SessionTimeoutMs": session, "MemberId": member, "ProtocolType": kind, "Protocols": RANGE if protocols is None else protocols}
    if v >= 1:
        body["RebalanceTimeoutMs"] = rebalance
    if v >= 5:
        body["GroupInstanceId"] = instance
    return c.quiet("JoinGroup", v, conn=conn, **body) if quiet else c.call("JoinGroup", v, conn=conn, tag=tag, **body)


def case_join(c):
    coordinator(c)
    for v in c.versions("JoinGroup"):
        g = f"jg-{v}"
        join(c, v, "empty group", "")
        join(c, v, "session too short", g, session=1)
        join(c, v, "session too long", g, session=2 ** 31 - 1)
        join(c, v, "unknown member", g, member="nobody")
        join(c, v, "no protocols", g, protocols=[])
        join(c, v, "no kind", g, kind="")
        a = join(c, v, "first", g)
        if a["ErrorCode"] == 79:
            a = join(c, v, "first with its id", g, member=a["MemberId"])
        m, gen = a["MemberId"], a["GenerationId"]
        join(c, v, "unknown member of a group", g, member="nobody")
        join(c, v, "other kind", g, kind="connect")
        join(c, v, "other protocols", g, protocols=[{"Name": "other", "Metadata": b""}])
        assign = [{"MemberId": m, "Assignment": b"abc"}]

        def sync(tag, group, member, generation, assignments=(), w=min(v, c.newest("SyncGroup")), **kw):
            c.call("SyncGroup", w, tag=tag, GroupId=group, MemberId=member, GenerationId=generation, Assignments=list(assignments), **kw)

        def beat(tag, group, member, generation, w=min(v, c.newest("Heartbeat")), **kw):
            c.call("Heartbeat", w, tag=tag, GroupId=group, MemberId=member, GenerationId=generation, **kw)
        beat("before sync", g, m, gen)
        sync("unknown group", g + "-no", m, gen)
        sync("unknown member", g, "nobody", gen)
        sync("wrong generation", g, m, gen + 1)
        sync("empty group", "", m, gen)
        if v >= 5:
            sync("wrong type", g, m, gen, ProtocolType="connect", ProtocolName="range")
            sync("wrong name", g, m, gen, ProtocolType="consumer", ProtocolName="roundrobin")
            sync("good", g, m, gen, assign, ProtocolType="consumer", ProtocolName="range")
        else:
            sync("good", g, m, gen, assign)
        beat("good", g, m, gen)
        beat("wrong generation", g, m, gen + 1)
        beat("negative generation", g, m, -1)
        beat("unknown member", g, "nobody", gen)
        beat("empty member", g, "", gen)
        beat("unknown group", g + "-no", m, gen)
        beat("empty group", "", m, gen)
        beat("instance", g, m, gen, GroupInstanceId="nobody") if v >= 3 else None
        w = min(v, c.newest("OffsetCommit"))
        if 2 <= w < 10:
            c.topic("of", 2)
            commit(c, w, "by member", g, (0, 1), member=m, generation=gen)
            commit(c, w, "wrong generation", g, (0, 1), member=m, generation=gen + 1)
            commit(c, w, "unknown member", g, (0, 1), member="nobody", generation=gen)
            commit(c, w, "from outside", g, (0, 1))
            c.call("OffsetDelete", tag="of a topic that is read", GroupId=g, Topics=[{"Name": "of", "Partitions": [{"PartitionIndex": 0}]}])
            c.call("OffsetDelete", tag="of a topic that is subscribed", GroupId=g, Topics=[{"Name": "t", "Partitions": [{"PartitionIndex": 0}]}])
        for x in c.versions("DescribeGroups"):
            c.call("DescribeGroups", x, tag="stable", Groups=[g, g + "-no", ""])
        for x in c.versions("DeleteGroups"):
            c.call("DeleteGroups", x, tag="not empty", GroupsNames=[g, g + "-no", ""])
        x = min(v, c.newest("LeaveGroup"))
        if x < 3:
            for who, group in (("nobody", g), ("", g), ("nobody", g + "-no"), ("x", ""), (m, g), (m, g)):
                c.call("LeaveGroup", x, tag=f"{'member' if who == m else who!r} of {group!r}", GroupId=group, MemberId=who)
        else:
            def leave(tag, group, *members, x=x):
                c.call("LeaveGroup", x, tag=tag, GroupId=group, Members=[{"MemberId": a, "GroupInstanceId": i} for a, i in members])
            leave("nobody", g, ("nobody", None), ("", None), ("", "i"), ("nobody", "i"))
            leave("unknown group", g + "-no", ("nobody", None))
            leave("empty group", "", ("nobody", None))
            leave("none", g)
            leave("one and nobody", g, (m, None), ("nobody", None))
            leave("again", g, (m, None))
        for x in c.versions("DeleteGroups"):
            c.call("DeleteGroups", x, tag="twice", GroupsNames=[g, g])


def case_static_members(c):
    coordinator(c)
    for v in c.versions("JoinGroup", 5):
        g = f"sm-{v}"
        a = join(c, v, "static", g, instance="one")
        m, gen = a["MemberId"], a["GenerationId"]
        w = min(v, c.newest("SyncGroup"))
        kind = {"ProtocolType": "consumer", "ProtocolName": "range"} if w >= 5 else {}
        c.call("SyncGroup", w, tag="static", GroupId=g, MemberId=m, GenerationId=gen, GroupInstanceId="one", Assignments=[{"MemberId": m, "Assignment": b"x"}], **kind)
        b = join(c, v, "again without id", g, instance="one")
        n = b["MemberId"]
        join(c, v, "the old id", g, member=m, instance="one")
        c.call("SyncGroup", w, tag="the old id", GroupId=g, MemberId=m, GenerationId=b["GenerationId"], GroupInstanceId="one", Assignments=[], **kind)
        c.call("Heartbeat", 4, tag="the old id", GroupId=g, MemberId=m, GenerationId=b["GenerationId"], GroupInstanceId="one")
        c.call("Heartbeat", 4, tag="the new id", GroupId=g, MemberId=n, GenerationId=b["GenerationId"], GroupInstanceId="one")
        c.call("Heartbeat", 4, tag="no instance", GroupId=g, MemberId=n, GenerationId=b["GenerationId"])
        c.call("LeaveGroup", 4, tag="the old id", GroupId=g, Members=[{"MemberId": m, "GroupInstanceId": "one"}])
        c.call("LeaveGroup", 4, tag="unknown instance", GroupId=g, Members=[{"MemberId": "", "GroupInstanceId": "two"}])
        c.call("LeaveGroup", 4, tag="by instance", GroupId=g, Members=[{"MemberId": "", "GroupInstanceId": "one"}])


def case_describe_and_list(c):
    coordinator(c)
    for v in c.versions("DescribeGroups"):
        c.call("DescribeGroups", v, tag="odd", Groups=["dg-no", "", "dg-no"])
        c.call("DescribeGroups", v, tag="none", Groups=[])
        if v >= 3:
            c.call("DescribeGroups", v, tag="operations", Groups=["dg-no"], IncludeAuthorizedOperations=True)
    commit(c, 8, "made", "lg-simple", (0, 5))
    for v in c.versions("ListGroups"):
        def ask(tag, v=v, **kw):
            answer = c.quiet("ListGroups", v, **kw)
            answer["Groups"] = sorted((g for g in answer["Groups"] if g["GroupId"].startswith("lg-")), key=str)
            c.note(f"{tag} ListGroups v{v}", answer)
        ask("all")
        if v >= 4:
            for s in (["Empty"], ["empty"], ["EMPTY"], ["No such"], ["Stable", "Empty"], [""], ["Dead"], ["NotReady"], ["Assigning"]):
                ask(f"states {s}", StatesFilter=s)
        if v >= 5:
            for t in (["classic"], ["consumer"], ["Classic"], ["no such"], ["share"], ["streams"], ["unknown"], [""], ["classic", "consumer"]):
                ask(f"types {t}", TypesFilter=t)
    for v in c.versions("DeleteGroups"):
        c.call("DeleteGroups", v, tag="odd", GroupsNames=["dg-no", "", "dg-no"])
        c.call("DeleteGroups", v, tag="none", GroupsNames=[])


def beat(c, v, tag, group="cg", member="", epoch=0, **kw):
    body = {"GroupId": group, "MemberId": member, "MemberEpoch": epoch, "RebalanceTimeoutMs": -1, "SubscribedTopicNames": None, "TopicPartitions": None}
    body.update(kw)
    return c.call("ConsumerGroupHeartbeat", v, tag=tag, **body)


def case_consumer_heartbeat(c):
    coordinator(c)
    c.topic("cgt", 2)
    for v in c.versions("ConsumerGroupHeartbeat"):
        g = f"cg-{v}"
        full = {"RebalanceTimeoutMs": 5000, "SubscribedTopicNames": ["cgt"], "TopicPartitions": []}
        me = "" if v == 0 else "member-one-of-it"
        beat(c, v, "empty group", "", me, **full)
        beat(c, v, "no timeout", g, me, **{**full, "RebalanceTimeoutMs": -1})
        beat(c, v, "timeout 0", g, me, **{**full, "RebalanceTimeoutMs": 0})
        beat(c, v, "timeout -5", g, me, **{**full, "RebalanceTimeoutMs": -5})
        beat(c, v, "partitions at joining", g, me, **{**full, "TopicPartitions": [{"TopicId": "ab" * 16, "Partitions": [0]}]})
        beat(c, v, "null partitions at joining", g, me, **{**full, "TopicPartitions": None})
        beat(c, v, "no topics", g, me, **{**full, "SubscribedTopicNames": None})
        beat(c, v, "empty topics", g + "-e", me, **{**full, "SubscribedTopicNames": []})
        beat(c, v, "empty rack", g, me, **{**full, "RackId": ""})
        beat(c, v, "empty instance", g, me, **{**full, "InstanceId": ""})
        beat(c, v, "empty assignor", g, me, **{**full, "ServerAssignor": ""})
        beat(c, v, "unknown assignor", g, me, **{**full, "ServerAssignor": "mine"})
        beat(c, v, "empty member", g, "", 0, **full) if v >= 1 else None
        beat(c, v, "unknown member, epoch 5", g, "nobody", 5)
        beat(c, v, "unknown member of no group leaves", g + "-no", "nobody", -1)
        beat(c, v, "epoch -3", g, "nobody", -3)
        beat(c, v, "epoch -2 without instance", g, "nobody", -2)
        beat(c, v, "empty member leaves", g, "", -1)
        if v >= 1:
            beat(c, v, "bad expression", g, me, **{**full, "SubscribedTopicNames": None, "SubscribedTopicRegex": "a("})
            beat(c, v, "empty expression", g + "-x", me, **{**full, "SubscribedTopicNames": None, "SubscribedTopicRegex": ""})
        a = beat(c, v, "joins", g, me, **full)
        m, e = a["MemberId"] or me, a["MemberEpoch"]
        beat(c, v, "goes on", g, m, e)
        beat(c, v, "joins again", g, m, 0, **full)
        beat(c, v, "newer epoch", g, m, e + 1)
        beat(c, v, "older epoch", g, m, e - 1, TopicPartitions=[])
        beat(c, v, "nobody", g, "nobody", e)
        beat(c, v, "subscribes to nothing", g, m, e, SubscribedTopicNames=["no-such-topic"])
        beat(c, v, "static", g + "-s", me, 0, **{**full, "InstanceId": "i"})
        beat(c, v, "static of another member", g + "-s", "other-member", 0, **{**full, "InstanceId": "i"}) if v >= 1 else None
        join(c, 5, "a classic member", g)
        c.call("Heartbeat", 3, tag="classic", GroupId=g, MemberId=m, GenerationId=e)
        commit(c, 9, "outside", g, (0, 1))
        commit(c, 9, "wrong epoch", g, (0, 1), member=m, generation=e + 7)
        commit(c, 9, "nobody", g, (0, 1), member="nobody", generation=e)
        for w in (5, 8):
            commit(c, w, "old version, wrong epoch", g, (0, 1), member=m, generation=e + 7)
        c.call("DescribeGroups", 5, tag="consumer group", Groups=[g])
        c.call("DescribeGroups", 6, tag="consumer group", Groups=[g])
        c.call("DeleteGroups", 2, tag="not empty", GroupsNames=[g])
        for w in c.versions("ConsumerGroupDescribe"):
            answer = c.quiet("ConsumerGroupDescribe", w, GroupIds=[g, g + "-no", "", "lg-simple"])
            for x in answer["Groups"]:
                x.update(GroupEpoch="", AssignmentEpoch="")
                for y in x["Members"]:
                    y.update(MemberEpoch="")
            c.note(f"consumer group ConsumerGroupDescribe v{w}", answer)
            c.call("ConsumerGroupDescribe", w, tag="none", GroupIds=[])
            c.call("ConsumerGroupDescribe", w, tag="twice", GroupIds=[g + "-no", g + "-no"])
        beat(c, v, "leaves", g, m, -1)
        beat(c, v, "leaves again", g, m, -1)
        c.call("DeleteGroups", 2, tag="empty now", GroupsNames=[g])


def case_protocols_mixed(c):
    """A consumer's heartbeat in a classic group of another kind, and others."""
    coordinator(c)
    c.topic("cgt", 2)
    a = join(c, 2, "connect", "pm-connect", kind="connect", quiet=True)
    full = {"RebalanceTimeoutMs": 5000, "SubscribedTopicNames": ["cgt"], "TopicPartitions": []}
    beat(c, 1, "of a connect group", "pm-connect", "me-myself-and-i", **full)
    c.call("SyncGroup", 2, tag="connect", GroupId="pm-connect", MemberId=a["MemberId"], GenerationId=a["GenerationId"], Assignments=[])
    c.call("ConsumerGroupDescribe", 0, tag="of a classic", GroupIds=["pm-connect"])
    c.call("LeaveGroup", 2, tag="connect", GroupId="pm-connect", MemberId=a["MemberId"])
    b = join(c, 2, "odd", "pm-odd", kind="consumer", protocols=[{"Name": "range", "Metadata": struct.pack(">h", 0)}], quiet=True)
    c.call("SyncGroup", 2, tag="odd", GroupId="pm-odd", MemberId=b["MemberId"], GenerationId=b["GenerationId"], Assignments=[])
    c.call("DescribeGroups", 3, tag="odd", Groups=["pm-odd"])


def sync(c, tag, group, member, generation, assignments=(), v=5, instance=None, conn="main", **kw):
    kinds = {"ProtocolType": "consumer", "ProtocolName": "range", **kw}
    return c.call("SyncGroup", v, conn=conn, tag=tag, GroupId=group, MemberId=member, GenerationId=generation, GroupInstanceId=instance,
                  Assignments=[{"MemberId": m, "Assignment": a} for m, a in assignments], **kinds)


def hb(c, tag, group, member, generation, instance=None):
    c.call("Heartbeat", 4, tag=tag, GroupId=group, MemberId=member, GenerationId=generation, GroupInstanceId=instance)


def leave(c, tag, group, *members):
    c.call("LeaveGroup", 5, tag=tag, GroupId=group, Members=[{"MemberId": m, "GroupInstanceId": i, "Reason": "because"} for m, i in members])


def case_classic_states(c):
    """Requests of a group in each of its states, by its member, one that was given an id, and others."""
    coordinator(c)
    c.topic("of", 2)
    g = "cs"

    def all_of(state, members, generation):
        for who, m in members:
            hb(c, f"{state}: {who}", g, m, generation)
            for v in (8, 9):
                commit(c, v, f"{state}: {who}", g, (0, 1), member=m, generation=generation)
                commit(c, v, f"{state}: {who} without generation", g, (0, 1), member=m)
            commit(c, 8, f"{state}: {who}, later generation", g, (0, 1), member=m, generation=generation + 1)
        commit(c, 8, f"{state}: nobody", g, (0, 1))
        commit(c, 8, f"{state}: generation alone", g, (0, 1), generation=generation)
        commit(c, 8, f"{state}: instance alone", g, (0, 1), instance="no-such")
        for v in (7, 9):
            body = {"GroupId": g, "Topics": [{"Name": "of", "PartitionIndexes": [0]}]}
            c.call("OffsetFetch", v, tag=state, **(body if v < 8 else {"Groups": [{**body, "MemberId": "nobody", "MemberEpoch": 3}]}))
        c.call("DescribeGroups", 6, tag=state, Groups=[g])
        c.call("ConsumerGroupDescribe", 0, tag=state, GroupIds=[g])
        beat(c, 0, state + ": epoch 5", g, "nobody", 5)
        beat(c, 0, state + ": leaves", g, "nobody", -1)
        c.call("OffsetDelete", tag=state, GroupId=g, Topics=[{"Name": "of", "Partitions": [{"PartitionIndex": 1}]},
                                                             {"Name": "t", "Partitions": [{"PartitionIndex": 0}]}])
        c.call("DeleteGroups", 2, tag=state, GroupsNames=[g])
    p = join(c, 9, "is given an id", g)["MemberId"]
    all_of("only an id", [("pending", p), ("nobody", "nobody")], -1)
    sync(c, "pending", g, p, 0)
    leave(c, "pending", g, (p, None))
    leave(c, "pending again", g, (p, None))
    p = join(c, 9, "is given an id again", g)["MemberId"]
    leave(c, "pending with instance", g, (p, "i"))
    p = join(c, 9, "is given an id anew", g)["MemberId"]
    join(c, 9, "with its id and an instance", g, member=p, instance="i")
    a = join(c, 9, "with its id", g, member=p)
    m, gen = a["MemberId"], a["GenerationId"]
    all_of("completing", [("member", m)], gen)
    join(c, 9, "asks again while completing", g, member=m)
    sync(c, "of another member", g, m, gen, [(m, b"share"), ("nobody", b"x")])
    all_of("stable", [("member", m)], gen)
    sync(c, "again", g, m, gen, [(m, b"other")])
    p = join(c, 9, "another is given an id", g)["MemberId"]
    all_of("stable with an id", [("pending", p)], gen)
    leave(c, "several", g, (p, None), (m, "i"), ("", None), ("nobody", "i"), (m, None), (m, None))
    all_of("empty", [("former", m)], gen)
    join(c, 9, "its former id", g, member=m)
    c.call("DeleteGroups", 2, tag="at last", GroupsNames=[g])
    all_of("deleted", [("former", m)], gen)


def case_static_fenced(c):
    """What a static member, its former self and others of its instance are told."""
    coordinator(c)
    c.topic("of", 2)
    g = "sf"
    a = join(c, 9, "static", g, instance="one")
    m, gen = a["MemberId"], a["GenerationId"]
    sync(c, "static", g, m, gen, [(m, b"x")], instance="one")
    b = join(c, 9, "back", g, instance="one")
    n, gen = b["MemberId"], b["GenerationId"]
    for who, member, instance in (("now", n, "one"), ("former", m, "one"), ("now of another", n, "two"), ("former alone", m, None),
                                  ("instance alone", "", "one"), ("unknown instance alone", "", "two"), ("now alone", n, None)):
        hb(c, who, g, member, gen, instance)
        sync(c, who, g, member, gen, instance=instance)
        for v in (7, 9):
            commit(c, v, who, g, (0, 1), member=member, generation=gen, instance=instance)
            commit(c, v, who + ", no generation", g, (0, 1), member=member, instance=instance)
    join(c, 9, "former joins", g, member=m, instance="one")
    join(c, 9, "unknown instance joins by its id", g, member=n, instance="two")
    join(c, 9, "without its instance", g, member=m)
    leave(c, "former", g, (m, "one"))
    leave(c, "of another", g, (n, "two"))
    leave(c, "instances", g, ("", "two"), ("", ""), ("", "one"), ("", "one"))


def case_consumer_static(c):
    coordinator(c)
    c.topic("cgt", 2)
    for v in c.versions("ConsumerGroupHeartbeat", 1):
        g = f"cst-{v}"
        full = {"RebalanceTimeoutMs": 5000, "SubscribedTopicNames": ["cgt"], "TopicPartitions": []}
        e = beat(c, v, "unknown instance, epoch 3", g + "-no", "m1", 3, InstanceId="i")
        e = beat(c, v, "joins", g, "m1", 0, InstanceId="i", **full)["MemberEpoch"]
        beat(c, v, "other instance", g, "m1", e, InstanceId="j")
        beat(c, v, "without its instance", g, "m1", e)
        beat(c, v, "another member goes on", g, "m2", e, InstanceId="i")
        beat(c, v, "another member leaves", g, "m2", -1, InstanceId="i")
        beat(c, v, "another member leaves for a time", g, "m2", -2, InstanceId="i")
        beat(c, v, "joins again", g, "m1", 0, InstanceId="i", **full)
        beat(c, v, "leaves for a time", g, "m1", -2, InstanceId="i")
        beat(c, v, "leaves for a time again", g, "m1", -2, InstanceId="i")
        beat(c, v, "goes on", g, "m1", e, InstanceId="i")
        commit(c, 9, "away", g, (0, 1), topic="cgt", member="m1", generation=e)
        e = beat(c, v, "back under another id", g, "m2", 0, InstanceId="i", **full)["MemberEpoch"]
        beat(c, v, "the former id", g, "m1", e, InstanceId="i")
        beat(c, v, "the former id, no instance", g, "m1", e)
        beat(c, v, "goes on", g, "m2", e, InstanceId="i")
        beat(c, v, "owns what it has not", g, "m2", e, InstanceId="i", TopicPartitions=[{"TopicId": "ab" * 16, "Partitions": [0]}])
        for w in (8, 9):
            commit(c, w, "member", g, (0, 1), topic="cgt", member="m2", generation=e)
            commit(c, w, "no epoch", g, (0, 1), topic="cgt", member="m2")
            commit(c, w, "of the instance", g, (0, 1), topic="cgt", member="m2", generation=e, instance="i")
            commit(c, w, "earlier", g, (0, 1), topic="cgt", member="m2", generation=e - 1)
            commit(c, w, "nobody of no epoch", g, (0, 1), topic="cgt")
        for member, epoch in (("m2", e), ("m2", e - 1), ("m2", e + 1), ("m2", -1), ("m1", e), (None, -1), ("", -1)):
            c.call("OffsetFetch", 9, tag=f"{member} {'epoch' if epoch == e else epoch - e if epoch > 0 else epoch}",
                   Groups=[{"GroupId": g, "MemberId": member, "MemberEpoch": epoch, "Topics": [{"Name": "cgt", "PartitionIndexes": [0, 5]}]}])
        c.call("OffsetDelete", tag="subscribed", GroupId=g, Topics=[{"Name": "cgt", "Partitions": [{"PartitionIndex": 0}]}, {"Name": "of", "Partitions": [{"PartitionIndex": 0}]}])
        hb(c, "of the other protocol", g, "m2", e)
        hb(c, "of the other protocol, instance", g, "m2", e, "i")
        sync(c, "of the other protocol", g, "m2", e)
        join(c, 9, "of the other protocol", g, member="m2", kind="connect")
        leave(c, "of the other protocol", g, ("nobody", None), ("m1", "i"), ("", "no"), ("m2", "no"))
        beat(c, v, "still there", g, "m2", e, InstanceId="i")
        beat(c, v, "leaves", g, "m2", -1, InstanceId="i")
        beat(c, v, "leaves again", g, "m2", -1, InstanceId="i")
        beat(c, v, "joins again", g, "m2", 0, InstanceId="i", **full)
        e = beat(c, v, "one more", g, "m3", 0, **full)["MemberEpoch"]
        leave(c, "all", g, ("m3", None), ("m2", "i"))
        beat(c, v, "was removed", g, "m3", e)
        hb(c, "of an empty one", g, "m2", e)
        sync(c, "of an empty one", g, "m2", e)
        leave(c, "of an empty one", g, ("m2", None))
        commit(c, 9, "of an empty one", g, (0, 1), topic="cgt")
        commit(c, 9, "of an empty one, epoch", g, (0, 1), topic="cgt", member="m2", generation=e)
        c.call("DescribeGroups", 6, tag="of an empty one", Groups=[g])


def case_long_names(c):
    coordinator(c)
    c.topic("ol", 1)
    for n in (249, 250, 255, 256, 5000):
        g = "n" * n
        c.call("FindCoordinator", 2, tag=f"{n}", Key=g, KeyType=0)
        commit(c, 8, f"{n}", g, (0, 1), topic="ol")
        c.call("DeleteGroups", 2, tag=f"{n}", GroupsNames=[g])
    for g in ("a b", "\u00e4", "a/b", ".", "..", "\0"):
        commit(c, 8, repr(g), g, (0, 1), topic="ol")
        c.call("OffsetFetch", 7, tag=repr(g), GroupId=g, Topics=[{"Name": "ol", "PartitionIndexes": [0]}])
        c.call("DeleteGroups", 2, tag=repr(g), GroupsNames=[g])


def case_other_kinds(c):
    """A group of another protocol type: whose members' subscriptions nobody can read."""
    coordinator(c)
    c.topic("of", 2)
    g = "ok"
    p = join(c, 9, "connect", g, kind="connect")["MemberId"]
    a = join(c, 9, "connect", g, member=p, kind="connect")
    for state in ("completing", "stable"):
        commit(c, 8, state, g, (0, 1), member=p, generation=a["GenerationId"])
        c.call("OffsetDelete", tag=state, GroupId=g, Topics=[{"Name": "of", "Partitions": [{"PartitionIndex": 0}]}])
        if state == "stable": # before that Kafka finds the group only once its journal has it
            c.call("DescribeGroups", 6, tag=state, Groups=[g])
        sync(c, state, g, p, a["GenerationId"], [(p, b"x")], ProtocolType="connect")
    leave(c, "connect", g, (p, None))
    c.call("OffsetDelete", tag="empty", GroupId=g, Topics=[{"Name": "of", "Partitions": [{"PartitionIndex": 0}]}])
    c.call("DescribeGroups", 6, tag="empty", Groups=[g])
    join(c, 9, "a consumer", g, kind="consumer")
    c.call("ListGroups", 5, tag="empty", StatesFilter=["Empty"], TypesFilter=["consumer"])


def case_two_members(c):
    """A leader and one that follows: who is told what while they join, and when one comes again."""
    coordinator(c)
    c.topic("of", 2)
    g = "tm"
    ids = [join(c, 9, f"member {i}", g, conn=f"c{i}")["MemberId"] for i in range(2)]
    a = join(c, 9, "the first alone", g, member=ids[0], rebalance=3000)
    gen = a["GenerationId"]
    commit(c, 8, "while another is waited for", g, (0, 1), member=ids[0], generation=gen)
    sync(c, "the first", g, ids[0], gen, [(ids[0], b"1")])
    hb(c, "the first", g, ids[0], gen)
    other = [{"Name": "range", "Metadata": RANGE[0]["Metadata"]}, {"Name": "roundrobin", "Metadata": RANGE[0]["Metadata"]}]
    join(c, 9, "with another list", g, member=ids[0], protocols=other)
    hb(c, "after it", g, ids[0], gen)
    hb(c, "after it, now", g, ids[0], gen + 1)
    join(c, 9, "with none that is known", g, member=ids[0], protocols=[{"Name": "zzz", "Metadata": b""}])
    leave(c, "both", g, (ids[0], None), (ids[1], None))
