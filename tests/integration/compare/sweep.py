"""The wide sweep: each API and each version that both serve gets a valid request, then the same one with each of its fields in turn at the values that
break brokers; and the bytes of a valid request cut off and changed. `compare.py FLOE --wide`.

BASES has the valid request of an API: fn(c, v, n) prepares what it needs (n is a word that no other request has) and returns its body; fields that the
version lacks are left out when it is written."""
import copy
import struct

import cases_sequences
import wire
from wire import batch

LONG = "x" * 249
INTEGERS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}
STRINGS = [None, "", "no-such", "not ok", "/", LONG, LONG + "x", "x" * 32767, "__consumer_offsets", "uml\u00e4ut", "nul\0", "."]
UUIDS = [wire.ZERO, "0" * 31 + "1", "ab" * 16, "f" * 32]
BLOBS = [None, b"", b"\0", b"\0\0", b"\0\1\0\0\0\0", b"\xff" * 40]
FLOATS = [float("nan"), float("inf"), -1.0, 0.0, 1.5, 1e300]
RECORDS = [None, b"", b"\0", batch(1)[:-1], batch(1) + b"\0", batch(1, magic=1), batch(0, records=[], last=-1)]
EDGES = {"string": STRINGS, "uuid": UUIDS, "bytes": BLOBS, "float64": FLOATS, "records": RECORDS, "bool": [False, True]}
# What would cost one of the two its memory: a topic of a billion partitions.
DEAR = {("NumPartitions", 2 ** 31 - 1), ("Count", 2 ** 31 - 1), ("MaxWaitMs", 2 ** 31 - 1)}


def edges(f):
    bits = INTEGERS.get(f.type)
    return EDGES[f.type] if not bits else [-1, -2, 0, 1, 2, 3, 99, 2 ** (bits - 1) - 1, -2 ** (bits - 1)]


def values(f, now):
    """(what is told, value) of a field that now is `now`."""
    if f.array:
        yield "null", None
        yield "none", []
        if now:
            yield "twice", now + now[-1:]
            yield "reversed", now[::-1]
        if not f.struct:
            for x in edges(f):
                if not (isinstance(x, str) and len(x) > 1000):
                    yield f"[{x!r:.14}]", [x]
    elif f.struct:
        yield "null", None
        yield "default", {}
    else:
        for x in edges(f):
            if x != now and (f.name, x) not in DEAR:
                yield f"{x!r:.14}" + (f" ({len(x)})" if isinstance(x, (str, bytes)) and len(x) > 12 else ""), x


def fields(s, v, body, path=()):
    """(path, field, value) of each field of a body, depth first; of an array the first element."""
    for f in s.fields:
        if not wire.within(f.present, v):
            continue
        now = body.get(f.name, wire.default(f))
        yield path + (f.name,), f, now
        if f.struct and f.array and now:
            yield from fields(f.struct, v, now[0], path + (f.name, 0))
        elif f.struct and not f.array and now is not None:
            yield from fields(f.struct, v, now, path + (f.name,))


def harmful(api, v, path, x):
    """What would take the ground from under the cases that follow, or is no comparison."""
    if api == "DeleteTopics" and "__consumer_offsets" in (x, *(x if isinstance(x, list) else ())):
        return True  # Kafka deletes it
    if path[-1] == "SubscribedTopicRegex" and isinstance(x, str) and len(x) > 1000:
        return True  # Kafka's coordinator does not come back from it
    return api == "Metadata" and v < 4 and path[-1] == "Name"  # makes topics, in Kafka later


def changed(body, path, value):
    body = copy.deepcopy(body)
    at = body
    for p in path[:-1]:
        at = at.setdefault(p, {}) if isinstance(at, dict) else at[p]
    at[path[-1]] = value
    return body


# ---- valid requests -----------------------------------------------------------------------------------------------------

A, B = "sw-a", "sw-b"
META = struct.pack(">hih", 0, 1, len(B)) + B.encode() + struct.pack(">i", -1)
PROTOCOLS = [{"Name": "range", "Metadata": META}]


def prepare(c):
    """Two topics, of which nobody deletes anything that matters, and groups that answer."""
    for kind in (0, 1):
        c.until("a coordinator", lambda k=kind: c.quiet("FindCoordinator", 2, Key="g", KeyType=k)["ErrorCode"] == 0)
    c.until("a producer id", lambda: c.quiet("InitProducerId", 2, TransactionalId=None, TransactionTimeoutMs=1000)["ErrorCode"] == 0)
    c.until("its groups", lambda: c.quiet("ListGroups", 0)["ErrorCode"] == 0 and all(
        c.quiet("Heartbeat", 0, GroupId=f"probe{i}", MemberId="m", GenerationId=1)["ErrorCode"] == 25 for i in range(12)))
    c.sweep = {"a": c.topic(A, 2, [("retention.ms", "-1")]), "b": c.topic(B, 1, [("retention.ms", "-1")])}


def stable(c, g, instance=None):
    """A classic group of one member, stable; returns (member, generation)."""
    body = {"GroupId": g, "SessionTimeoutMs": 30000, "RebalanceTimeoutMs": 3000, "MemberId": "", "GroupInstanceId": instance, "ProtocolType": "consumer",
            "Protocols": PROTOCOLS}
    a = c.quiet("JoinGroup", 9, **body)
    if a["ErrorCode"] == 79:
        a = c.quiet("JoinGroup", 9, **{**body, "MemberId": a["MemberId"]})
    c.quiet("SyncGroup", 5, GroupId=g, MemberId=a["MemberId"], GenerationId=a["GenerationId"], GroupInstanceId=instance, ProtocolType="consumer",
            ProtocolName="range", Assignments=[{"MemberId": a["MemberId"], "Assignment": b"\0\0\0\0\0\0\0\0\0\0"}])
    return a["MemberId"], a["GenerationId"]


def pending(c, g):
    return c.quiet("JoinGroup", 9, GroupId=g, SessionTimeoutMs=30000, RebalanceTimeoutMs=3000, MemberId="", ProtocolType="consumer",
                   Protocols=PROTOCOLS)["MemberId"]


def modern(c, g):
    """A group of the consumer protocol with one member; returns its epoch. Its id is "member-<group>"."""
    return c.quiet("ConsumerGroupHeartbeat", 1, GroupId=g, MemberId="member-" + g, MemberEpoch=0, RebalanceTimeoutMs=5000, SubscribedTopicNames=[A],
                   TopicPartitions=[])["MemberEpoch"]


def named(c, which="a", **more):
    return {"Name": {"a": A, "b": B}[which], "TopicId": c.sweep[which], **more}


def b_produce(c, v, n):
    return {"Acks": -1, "TimeoutMs": 10000, "TopicData": [named(c, PartitionData=[{"Index": 0, "Records": batch(1)}])]}


def b_fetch(c, v, n):
    return {"ReplicaId": -1, "MaxWaitMs": 0, "MinBytes": 0, "MaxBytes": 1 << 20, "SessionEpoch": -1, "ReplicaState": {"ReplicaId": -1, "ReplicaEpoch": -1},
            "Topics": [{"Topic": B, "TopicId": c.sweep["b"], "Partitions": [{"Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 1 << 20}]}],
            "ForgottenTopicsData": []}


def b_fetch_session(c, v, n):
    body = b_fetch(c, v, n)
    full = {**body, "SessionEpoch": 0}
    s = c.quiet("Fetch", v, **full).get("SessionId", 0) if v >= 7 else 0
    return {**body, "SessionId": s, "SessionEpoch": 1, "ForgottenTopicsData": [{"Topic": B, "TopicId": c.sweep["b"], "Partitions": [0]}]}


def b_list_offsets(c, v, n):
    return {"ReplicaId": -1, "Topics": [{"Name": A, "Partitions": [{"PartitionIndex": 1, "Timestamp": -1}]}], "TimeoutMs": 1000}


def b_metadata(c, v, n):
    return {"Topics": [{"Name": A}], "AllowAutoTopicCreation": False}


def b_metadata_id(c, v, n):
    return {"Topics": [{"Name": None if v >= 12 else "", "TopicId": c.sweep["a"]}], "AllowAutoTopicCreation": False}


def b_commit(c, v, n):
    return {"GroupId": "oc-" + n, "Topics": [named(c, Partitions=[{"PartitionIndex": 0, "CommittedOffset": 5, "CommittedMetadata": "m"}])]}


def b_commit_member(c, v, n):
    m, g = stable(c, "oc-" + n, "one" if v >= 7 else None)
    return {**b_commit(c, v, n), "MemberId": m, "GenerationIdOrMemberEpoch": g, "GroupInstanceId": "one"}


def b_commit_modern(c, v, n):
    return {**b_commit(c, v, n), "GenerationIdOrMemberEpoch": modern(c, "oc-" + n), "MemberId": "member-oc-" + n}


def b_offset_fetch(c, v, n):
    c.quiet("OffsetCommit", 8, GroupId="of", Topics=[{"Name": A, "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 5}]}])
    return {"GroupId": "of", "Topics": [{"Name": A, "PartitionIndexes": [0, 1]}], "Groups": [{"GroupId": "of", "Topics": [named(c, PartitionIndexes=[0, 1])]}]}


def b_offset_fetch_member(c, v, n):
    e = modern(c, "ofm-" + n)
    return {"GroupId": "ofm-" + n, "Topics": [{"Name": A, "PartitionIndexes": [0]}], "Groups": [
        {"GroupId": "ofm-" + n, "MemberId": "member-ofm-" + n, "MemberEpoch": e, "Topics": [named(c, PartitionIndexes=[0])]}]}


def b_join(c, v, n):
    return {"GroupId": "j-" + n, "SessionTimeoutMs": 30000, "RebalanceTimeoutMs": 3000, "MemberId": "", "ProtocolType": "consumer", "Protocols": PROTOCOLS}


def b_join_pending(c, v, n):
    return {**b_join(c, v, n), "MemberId": pending(c, "j-" + n)}


def b_join_again(c, v, n):
    m, _ = stable(c, "j-" + n)
    return {**b_join(c, v, n), "MemberId": m}


def b_join_static(c, v, n):
    stable(c, "j-" + n, "one")
    return {**b_join(c, v, n), "GroupInstanceId": "one"}


def b_beat(c, v, n):
    m, g = stable(c, "h-" + n, "one" if v >= 3 else None)
    return {"GroupId": "h-" + n, "GenerationId": g, "MemberId": m, "GroupInstanceId": "one"}


def b_leave(c, v, n):
    m, _ = stable(c, "l-" + n, "one" if v >= 3 else None)
    return {"GroupId": "l-" + n, "MemberId": m, "Members": [{"MemberId": m, "GroupInstanceId": "one"}]}


def b_leave_modern(c, v, n):
    modern(c, "l-" + n)
    return {"GroupId": "l-" + n, "MemberId": "member-l-" + n, "Members": [{"MemberId": "member-l-" + n}]}


def b_sync(c, v, n):
    m, g = stable(c, "s-" + n, "one" if v >= 3 else None)
    return {"GroupId": "s-" + n, "GenerationId": g, "MemberId": m, "GroupInstanceId": "one", "ProtocolType": "consumer", "ProtocolName": "range",
            "Assignments": [{"MemberId": m, "Assignment": b"x"}]}


def b_sync_first(c, v, n):
    g = "s-" + n
    a = c.quiet("JoinGroup", 3, GroupId=g, SessionTimeoutMs=30000, RebalanceTimeoutMs=3000, MemberId="", ProtocolType="consumer", Protocols=PROTOCOLS)
    return {"GroupId": g, "GenerationId": a["GenerationId"], "MemberId": a["MemberId"], "ProtocolType": "consumer", "ProtocolName": "range",
            "Assignments": [{"MemberId": a["MemberId"], "Assignment": b"x"}]}


def b_describe_groups(c, v, n):
    stable(c, "d-" + n)
    return {"Groups": ["d-" + n]}


def b_list_groups(c, v, n):
    return {"StatesFilter": ["Stable"], "TypesFilter": ["consumer"]}


def b_api_versions(c, v, n):
    return {"ClientSoftwareName": "a", "ClientSoftwareVersion": "1"}


def b_create(c, v, n):
    return {"TimeoutMs": 10000, "ValidateOnly": True, "Topics": [
        {"Name": "ct-" + n, "NumPartitions": 1, "ReplicationFactor": 1, "Configs": [{"Name": "retention.ms", "Value": "5"}]}]}


def b_create_assigned(c, v, n):
    return {"TimeoutMs": 10000, "ValidateOnly": True, "Topics": [
        {"Name": "ct-" + n, "NumPartitions": -1, "ReplicationFactor": -1, "Assignments": [{"PartitionIndex": 0, "BrokerIds": [1]}]}]}


def b_delete_topics(c, v, n):
    return {"TopicNames": ["dt-no"], "Topics": [{"Name": "dt-no"}], "TimeoutMs": 10000}


def b_delete_topics_id(c, v, n):
    return {"TopicNames": ["dt-no"], "Topics": [{"Name": None, "TopicId": "cd" * 16}], "TimeoutMs": 10000}


def b_delete_records(c, v, n):
    return {"Topics": [{"Name": A, "Partitions": [{"PartitionIndex": 1, "Offset": 0}]}], "TimeoutMs": 10000}


def b_init_producer(c, v, n):
    return {"TransactionalId": None, "TransactionTimeoutMs": 1000}


def b_epochs(c, v, n):
    return {"ReplicaId": -1, "Topics": [{"Topic": A, "Partitions": [{"Partition": 1, "LeaderEpoch": 0}]}]}


def b_describe_configs(c, v, n):
    return {"Resources": [{"ResourceType": 2, "ResourceName": B, "ConfigurationKeys": ["retention.ms"]}]}


def b_alter(c, v, n):
    return {"ValidateOnly": True, "Resources": [{"ResourceType": 2, "ResourceName": B, "Configs": [{"Name": "retention.ms", "Value": "5"}]}]}


def b_log_dirs(c, v, n):
    return {"Topics": [{"Topic": A, "Partitions": [1]}]}


def b_create_partitions(c, v, n):
    c.topic("sw-more", wait=False)
    return {"Topics": [{"Name": "sw-more", "Count": 2, "Assignments": [{"BrokerIds": [1]}]}], "TimeoutMs": 10000, "ValidateOnly": True}


def b_delete_groups(c, v, n):
    return {"GroupsNames": ["dg-no"]}


def b_elect(c, v, n):
    return {"ElectionType": 0, "TopicPartitions": [{"Topic": A, "Partitions": [0]}], "TimeoutMs": 5000}


def b_reassign(c, v, n):
    return {"TimeoutMs": 5000, "Topics": [{"Name": A, "Partitions": [{"PartitionIndex": 0, "Replicas": [1]}]}]}


def b_reassignments(c, v, n):
    return {"TimeoutMs": 5000, "Topics": [{"Name": A, "PartitionIndexes": [0]}]}


def b_offset_delete(c, v, n):
    c.quiet("OffsetCommit", 8, GroupId="od-" + n, Topics=[{"Name": A, "Partitions": [{"PartitionIndex": i, "CommittedOffset": 5} for i in (0, 1)]}])
    return {"GroupId": "od-" + n, "Topics": [{"Name": A, "Partitions": [{"PartitionIndex": 0}]}]}


def b_quotas(c, v, n):
    return {"Components": [{"EntityType": "user", "MatchType": 0, "Match": "nobody"}]}


def b_alter_quotas(c, v, n):
    return {"ValidateOnly": True, "Entries": [{"Entity": [{"EntityType": "user", "EntityName": "u"}],
                                               "Ops": [{"Key": "producer_byte_rate", "Value": 1000.0, "Remove": False}]}]}


def b_quorum(c, v, n):
    return {"Topics": [{"TopicName": "__cluster_metadata", "Partitions": [{"PartitionIndex": 1}]}]}


def b_features(c, v, n):
    return {"FeatureUpdates": [{"Feature": "group.version", "MaxVersionLevel": 1, "UpgradeType": 1}], "ValidateOnly": True}


def b_cluster(c, v, n):
    return {"EndpointType": 1}


def b_producers(c, v, n):
    return {"Topics": [{"Name": B, "PartitionIndexes": [0]}]}


def b_consumer(c, v, n):
    return {"GroupId": "cg-" + n, "MemberId": "member-cg-" + n, "MemberEpoch": 0, "RebalanceTimeoutMs": 5000, "SubscribedTopicNames": [A], "TopicPartitions": []}


def b_consumer_on(c, v, n):
    e = modern(c, "cg-" + n)
    return {"GroupId": "cg-" + n, "MemberId": "member-cg-" + n, "MemberEpoch": e, "RebalanceTimeoutMs": 5000, "SubscribedTopicNames": [A],
            "TopicPartitions": [{"TopicId": c.sweep["a"], "Partitions": [0, 1]}]}


def b_consumer_describe(c, v, n):
    return {"GroupIds": ["cg-no"]}


def b_config_resources(c, v, n):
    return {"ResourceTypes": [16]}


def b_describe_topics(c, v, n):
    return {"Topics": [{"Name": A}, {"Name": B}], "Cursor": {"TopicName": A, "PartitionIndex": 1}}


def b_coordinator(c, v, n):
    return {"Key": "g", "KeyType": 0, "CoordinatorKeys": ["g"]}


BASES = {
    "Produce": [b_produce], "Fetch": [b_fetch, b_fetch_session], "ListOffsets": [b_list_offsets], "Metadata": [b_metadata, b_metadata_id],
    "OffsetCommit": [b_commit, b_commit_member, b_commit_modern], "OffsetFetch": [b_offset_fetch, b_offset_fetch_member],
    "FindCoordinator": [b_coordinator], "JoinGroup": [b_join, b_join_pending, b_join_again, b_join_static], "Heartbeat": [b_beat],
    "LeaveGroup": [b_leave, b_leave_modern], "SyncGroup": [b_sync, b_sync_first], "DescribeGroups": [b_describe_groups], "ListGroups": [b_list_groups],
    "ApiVersions": [b_api_versions], "CreateTopics": [b_create, b_create_assigned], "DeleteTopics": [b_delete_topics, b_delete_topics_id],
    "DeleteRecords": [b_delete_records], "InitProducerId": [b_init_producer], "OffsetForLeaderEpoch": [b_epochs], "DescribeConfigs": [b_describe_configs],
    "AlterConfigs": [b_alter], "DescribeLogDirs": [b_log_dirs], "CreatePartitions": [b_create_partitions], "DeleteGroups": [b_delete_groups],
    "ElectLeaders": [b_elect], "IncrementalAlterConfigs": [b_alter], "AlterPartitionReassignments": [b_reassign],
    "ListPartitionReassignments": [b_reassignments], "OffsetDelete": [b_offset_delete], "DescribeClientQuotas": [b_quotas],
    "AlterClientQuotas": [b_alter_quotas], "DescribeQuorum": [b_quorum], "UpdateFeatures": [b_features], "DescribeCluster": [b_cluster],
    "DescribeProducers": [b_producers], "ConsumerGroupHeartbeat": [b_consumer, b_consumer_on], "ConsumerGroupDescribe": [b_consumer_describe],
    "ListConfigResources": [b_config_resources], "DescribeTopicPartitions": [b_describe_topics],
}


def shown(api, answer):
    """What of an answer two brokers can have in common."""
    if api == "ApiVersions":
        return {"ErrorCode": answer["ErrorCode"], "keys": bool(answer["ApiKeys"])}
    if api == "Fetch":
        for t in answer["Responses"]:
            for p in t["Partitions"]:
                p["Records"] = p["Records"] if p["Records"] is None else len(p["Records"])
    if api == "Produce":
        for t in answer["Responses"]:
            for p in t["PartitionResponses"]:
                p["BaseOffset"] = "<offset>" if p["BaseOffset"] >= 0 else p["BaseOffset"]
    if api in ("ListOffsets", "OffsetForLeaderEpoch"):
        for t in answer["Topics"]:
            for p in t["Partitions"]:
                for k in ("Offset", "EndOffset"):
                    if p.get(k, -1) > 0:
                        p[k] = "<offset>"
    if api == "Metadata":
        answer["Topics"] = [t for t in answer["Topics"] if t["Name"] is None or not t["Name"].startswith("sw-") or t["Name"] in (A, B)]
        answer["Topics"] = "<many>" if len(answer["Topics"]) > 4 else answer["Topics"]
    if api in ("ListGroups", "ListConfigResources", "DescribeClientQuotas", "DescribeLogDirs", "DescribeConfigs"):
        for k, x in answer.items():
            answer[k] = "<many>" if isinstance(x, list) and len(x) > 3 else x
        for r in (answer.get("Results") if isinstance(answer.get("Results"), list) else ()):
            for k, x in r.items():
                r[k] = "<many>" if isinstance(x, list) and len(x) > 3 else x
    if api == "ConsumerGroupHeartbeat" and answer["ErrorCode"] == 0:
        answer["HeartbeatIntervalMs"] = "<interval>"
    return answer


def ask(c, api, v, tag, body):
    c.ids = {"topic": c.ids.get("topic", {})}  # numbers of members and sessions begin anew: one difference does not bring the next
    try:
        answer = shown(api, c.quiet(api, v, **body))
    except wire.Closed as e:
        answer = {"connection": str(e)}
    except ValueError as e:
        answer = {"unreadable": str(e)}
    c.note(f"{tag} {api} v{v}", answer)


def sweep_fields(api, which, fn):
    def run(c):
        prepare(c)
        c.conn().timeout = 2
        n = 0
        for v in c.versions(api):
            def word():
                return f"{api}{which}-{v}-{n}"
            base = fn(c, v, word())
            ask(c, api, v, "as it should be", base)
            for path, f, now in list(fields(wire.api(api).body, v, base)):
                for told, x in values(f, now):
                    if harmful(api, v, path, x):
                        continue
                    n += 1
                    body = changed(fn(c, v, word()), path, x)
                    ask(c, api, v, f"{'.'.join(str(p) for p in path if p != 0)} {told}", body)
    return run


def outcome(c, frame):
    """"answer", "closed" or "no answer" of some bytes on a connection of their own."""
    conn = c.conn("frames")
    conn.timeout = 3
    try:
        conn.raw(frame)
        return "answer"
    except wire.Closed as e:
        return str(e)


NOT_CHANGED = {"CreateTopics", "CreatePartitions", "JoinGroup", "SyncGroup", "AlterClientQuotas", "UpdateFeatures"}


def sweep_bytes(api, which, fn):
    def run(c):
        prepare(c)
        lo, hi = c.ranges[api]
        flexible = wire.api(api).flexible
        for v in sorted({lo, hi, *(x for x in (flexible - 1, flexible) if lo <= x <= hi)}):
            good = wire.encode(api, v, fn(c, v, f"b-{v}"))
            head = 8 + 2 + 7 + (1 if v >= flexible else 0)
            out = {f"cut at {n - head}": outcome(c, good[:n]) for n in range(head, len(good), 1 if len(good) < 150 else 3)}
            out["bytes behind"] = outcome(c, good + b"abc")
            c.note(f"cut {api} v{v}", out)
            if api in NOT_CHANGED:
                continue
            out = {}
            for at in range(head, len(good), 1 if len(good) < 150 else 2):
                for x in (0, 1, 0x7F, 0x80, 0xFF):
                    out[f"byte {at - head} of {len(good) - head} is {x}"] = outcome(c, good[:at] + bytes([x]) + good[at + 1:])
            c.note(f"bytes {api} v{v}", out)
    return run


def cases():
    yield "frame_lengths", cases_sequences.frame_lengths
    for api, fns in BASES.items():
        for i, fn in enumerate(fns):
            yield f"fields_{fn.__name__[2:]}_{api}", sweep_fields(api, i, fn)
        yield f"bytes_{api}", sweep_bytes(api, 0, fns[0])
