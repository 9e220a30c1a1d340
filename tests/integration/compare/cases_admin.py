"""Topics, partitions, the cluster, quotas: odd and bad requests. One function a case; compare.py runs each against both brokers."""
import struct

import wire

BAD_NAMES = ["", ".", "..", "a" * 249, "a" * 250, "white space", "sl/ash", "uml\u00e4ut", "tab\t", "a:b", "ok-name_1.x"]


def names(*list_):
    return [{"Name": n} for n in list_]


def case_metadata_names(c):
    c.topic("md-one")
    for v in c.versions("Metadata"):
        auto = {"AllowAutoTopicCreation": False} if v >= 4 else {}
        c.call("Metadata", v, tag="known", Topics=names("md-one"), **auto)
        if v >= 4:
            c.call("Metadata", v, tag="unknown", Topics=names("md-unknown", "md-one", "md-unknown"), **auto)
            c.call("Metadata", v, tag="bad names", Topics=names(*[b for b in BAD_NAMES if b]), **auto)
        c.call("Metadata", v, tag="empty name", Topics=names(""), **auto)


def case_metadata_none_and_operations(c):
    for v in c.versions("Metadata", 1):
        auto = {"AllowAutoTopicCreation": True} if v >= 4 else {}
        c.call("Metadata", v, tag="no topics", Topics=[], **auto)
    for v in c.versions("Metadata", 8, 10):
        c.call("Metadata", v, tag="operations", Topics=names("md-one"), IncludeTopicAuthorizedOperations=True,
               IncludeClusterAuthorizedOperations=True)


def case_metadata_ids(c):
    one = c.topic("md-id")
    for v in c.versions("Metadata", 10):
        auto = {"AllowAutoTopicCreation": False}
        c.call("Metadata", v, tag="id", Topics=[{"Name": None, "TopicId": one}], **auto)
        c.call("Metadata", v, tag="id with empty name", Topics=[{"Name": "", "TopicId": one}], **auto)
        c.call("Metadata", v, tag="id with name", Topics=[{"Name": "md-id", "TopicId": one}], **auto)
        c.call("Metadata", v, tag="id with another name", Topics=[{"Name": "md-one", "TopicId": one}], **auto)
        c.call("Metadata", v, tag="unknown id", Topics=[{"Name": None, "TopicId": "ab" * 16}], **auto)
        c.call("Metadata", v, tag="known and unknown id", Topics=[{"Name": None, "TopicId": one},
                                                                 {"Name": None, "TopicId": "ab" * 16}], **auto)
        c.call("Metadata", v, tag="null name without id", Topics=[{"Name": None}], **auto)
        c.call("Metadata", v, tag="name and id", Topics=[{"Name": "md-id"}, {"Name": None, "TopicId": one}], **auto)


def case_metadata_creates(c):
    for v in c.versions("Metadata", 0):
        auto = {"AllowAutoTopicCreation": True} if v >= 4 else {}
        c.call("Metadata", v, tag="bad name", Topics=names("not ok"), **auto)
        # Kafka answers before the topic is there; what both must agree on is bad names, and that it comes.
        c.quiet("Metadata", v, Topics=names(f"md-auto-{v}"), **auto)
        c.settled(f"md-auto-{v}")


def case_security_is_off(c):
    acl = {"ResourceTypeFilter": 2, "PatternTypeFilter": 1, "ResourceNameFilter": None, "PrincipalFilter": None, "HostFilter": None,
           "Operation": 1, "PermissionType": 1}
    made = {"ResourceType": 2, "ResourceName": "t", "ResourcePatternType": 3, "Principal": "User:a", "Host": "*", "Operation": 3,
            "PermissionType": 3}
    for v in c.versions("DescribeAcls"):
        c.call("DescribeAcls", v, **acl)
        c.call("CreateAcls", v, Creations=[made, made])
        c.call("CreateAcls", v, tag="none", Creations=[])
        c.call("DeleteAcls", v, Filters=[acl, acl])
    for v in c.versions("SaslHandshake"):
        c.call("SaslHandshake", v, Mechanism="PLAIN")
    for v in c.versions("SaslAuthenticate"):
        c.call("SaslAuthenticate", v, AuthBytes=b"\0user\0secret")


def create(c, v, tag, *topics, validate=False, timeout=10000):
    body = {"Topics": list(topics), "TimeoutMs": timeout, "ValidateOnly": validate}
    return c.call("CreateTopics", v, tag=tag, **body)


def case_create_names(c):
    for v in c.versions("CreateTopics"):
        create(c, v, "bad names", *[{"Name": n, "NumPartitions": 1, "ReplicationFactor": 1} for n in BAD_NAMES], validate=True)


def case_create_collisions(c):
    c.topic("col.li_sion")
    for v in c.versions("CreateTopics"):
        create(c, v, "with another", {"Name": "col_li_sion", "NumPartitions": 1, "ReplicationFactor": 1})
        create(c, v, "exists", {"Name": "col.li_sion", "NumPartitions": 1, "ReplicationFactor": 1})
        create(c, v, "in one request", {"Name": f"c.x{v}", "NumPartitions": 1, "ReplicationFactor": 1},
               {"Name": f"c_x{v}", "NumPartitions": 1, "ReplicationFactor": 1}, validate=True)
        create(c, v, "twice", *[{"Name": f"twice-{v}", "NumPartitions": 1, "ReplicationFactor": 1}] * 2)
        create(c, v, "three times and one good", *[{"Name": f"thrice-{v}", "NumPartitions": 1, "ReplicationFactor": 1}] * 3,
               {"Name": f"once-{v}", "NumPartitions": 1, "ReplicationFactor": 1})


def case_create_numbers(c):
    for v in c.versions("CreateTopics"):
        for n in (0, -1, -2, 1, 2147483647):
            create(c, v, f"partitions {n}", {"Name": f"cn-{v}", "NumPartitions": n, "ReplicationFactor": 1}, validate=True)
        for r in (0, -1, -2, 2, 3, 32767):
            create(c, v, f"replication {r}", {"Name": f"cn-{v}", "NumPartitions": 1, "ReplicationFactor": r}, validate=True)
        create(c, v, "both default", {"Name": f"cn-{v}", "NumPartitions": -1, "ReplicationFactor": -1}, validate=True)


def manual(name, *parts, n=-1, r=-1):
    return {"Name": name, "NumPartitions": n, "ReplicationFactor": r,
            "Assignments": [{"PartitionIndex": p, "BrokerIds": b} for p, b in parts]}


def case_create_assignments(c):
    for v in c.versions("CreateTopics"):
        create(c, v, "good", manual("ca", (0, [1])), validate=True)
        create(c, v, "two", manual("ca", (0, [1]), (1, [1])), validate=True)
        create(c, v, "gap", manual("ca", (0, [1]), (2, [1])), validate=True)
        create(c, v, "from one", manual("ca", (1, [1])), validate=True)
        create(c, v, "unknown broker", manual("ca", (0, [77])), validate=True)
        create(c, v, "no broker", manual("ca", (0, [])), validate=True)
        create(c, v, "broker twice", manual("ca", (0, [1, 1])), validate=True)
        create(c, v, "partition twice", manual("ca", (0, [1]), (0, [1])), validate=True)
        create(c, v, "with partitions", manual("ca", (0, [1]), n=1), validate=True)
        create(c, v, "with replication", manual("ca", (0, [1]), r=1), validate=True)
        create(c, v, "negative", manual("ca", (-1, [1])), validate=True)


def with_config(name, *pairs):
    return {"Name": name, "NumPartitions": 1, "ReplicationFactor": 1, "Configs": [{"Name": k, "Value": v} for k, v in pairs]}


CREATE_CONFIGS = [
    ("unknown", [("no.such.config", "1")]), ("not a number", [("retention.ms", "abc")]), ("null", [("retention.ms", None)]),
    ("empty", [("retention.ms", "")]), ("bad policy", [("cleanup.policy", "compress")]), ("both policies", [("cleanup.policy", "compact,delete")]),
    ("policy twice", [("cleanup.policy", "compact,compact")]), ("no policy", [("cleanup.policy", "")]),
    ("negative segment", [("segment.bytes", "-1")]), ("small segment", [("segment.bytes", "13")]),
    ("zero segment ms", [("segment.ms", "0")]), ("retention -1", [("retention.ms", "-1")]), ("retention -2", [("retention.ms", "-2")]),
    ("bytes -1", [("retention.bytes", "-1")]), ("bytes -2", [("retention.bytes", "-2")]), ("replicas 0", [("min.insync.replicas", "0")]),
    ("replicas 2", [("min.insync.replicas", "2")]), ("codec", [("compression.type", "brotli")]), ("codec level", [("compression.gzip.level", "10")]),
    ("stamp", [("message.timestamp.type", "Never")]), ("bool", [("unclean.leader.election.enable", "yes")]),
    ("ratio", [("min.cleanable.dirty.ratio", "1.5")]), ("max bytes -1", [("max.message.bytes", "-1")]),
    ("max bytes huge", [("max.message.bytes", "99999999999")]), ("local retention", [("local.retention.ms", "10")]),
    ("remote", [("remote.storage.enable", "true")]), ("format", [("message.format.version", "2.0")]),
    ("spaces", [("retention.ms", " 100 ")]), ("twice", [("retention.ms", "1"), ("retention.ms", "2")]),
    ("lag order", [("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")]), ("empty name", [("", "1")]),
    ("throttled", [("leader.replication.throttled.replicas", "x")]), ("broker's", [("log.retention.ms", "5")]),
    ("internal segment", [("internal.segment.bytes", "100")]), ("index interval", [("index.interval.bytes", "-1")]),
    ("preallocate", [("preallocate", "maybe")]), ("local bigger", [("retention.ms", "100"), ("local.retention.ms", "1000")]),
]


def case_create_configs(c):
    for v in (c.versions("CreateTopics")[0], c.newest("CreateTopics")):
        for tag, pairs in CREATE_CONFIGS:
            create(c, v, tag, with_config("cc", *pairs), validate=True)


def case_create_answers(c):
    for v in c.versions("CreateTopics"):
        create(c, v, "validated", with_config("cr", ("retention.ms", "5")), validate=True)
        create(c, v, "made", with_config(f"cr-{v}", ("retention.ms", "5"), ("cleanup.policy", "compact")))
        create(c, v, "defaults", {"Name": f"cr-d-{v}", "NumPartitions": -1, "ReplicationFactor": -1})
        create(c, v, "nothing")
        create(c, v, "internal", {"Name": "__consumer_offsets", "NumPartitions": 1, "ReplicationFactor": 1}, validate=True)
        create(c, v, "many at once", *[{"Name": f"cr-{v}-{x}", "NumPartitions": 1, "ReplicationFactor": 1} for x in "zax"])


def case_delete_topics(c):
    for v in c.versions("DeleteTopics"):
        if v < 6:
            c.topic(f"del-{v}", 2)
            c.call("DeleteTopics", v, tag="unknown", TopicNames=["del-unknown", "bad name", ""], TimeoutMs=10000)
            c.call("DeleteTopics", v, tag="twice", TopicNames=[f"del-{v}"] * 2, TimeoutMs=10000)
            c.settled("md-one")
            c.topic(f"del-{v}", 2)
            c.call("DeleteTopics", v, tag="good and unknown", TopicNames=[f"del-{v}", "del-unknown"], TimeoutMs=10000)
            c.call("DeleteTopics", v, tag="none", TopicNames=[], TimeoutMs=10000)


def case_delete_topics_ids(c):
    c.topic("md-one")
    v = 6
    a, b, d = c.topic("del-a"), c.topic("del-b"), c.topic("del-d")

    def delete(tag, *topics):
        c.call("DeleteTopics", v, tag=tag, Topics=list(topics), TimeoutMs=10000)
    delete("both", {"Name": "del-a", "TopicId": a})
    delete("neither", {"Name": None})
    delete("empty name", {"Name": ""})
    delete("unknown id", {"Name": None, "TopicId": "cd" * 16})
    delete("unknown name", {"Name": "del-unknown"})
    delete("id twice", {"Name": None, "TopicId": a}, {"Name": None, "TopicId": a})
    delete("id and name of one", {"Name": None, "TopicId": b}, {"Name": "del-b"})
    delete("name twice", {"Name": "del-d"}, {"Name": "del-d"})
    delete("by id", {"Name": None, "TopicId": a})
    delete("by id again", {"Name": None, "TopicId": a})
    delete("by name", {"Name": "del-d"})
    del d
    delete("mixed", {"Name": "del-b"}, {"Name": None, "TopicId": "ef" * 16}, {"Name": "nobody"})


def case_create_partitions(c):
    c.topic("parts", 2)

    def more(v, tag, *topics, validate=True):
        c.call("CreatePartitions", v, tag=tag, Topics=list(topics), TimeoutMs=10000, ValidateOnly=validate)
    for v in c.versions("CreatePartitions"):
        for n in (1, 2, 0, -1, 3, 2147483647):
            more(v, f"count {n}", {"Name": "parts", "Count": n, "Assignments": None})
        more(v, "unknown", {"Name": "parts-no", "Count": 3, "Assignments": None})
        more(v, "bad name", {"Name": "not ok", "Count": 3, "Assignments": None})
        more(v, "empty name", {"Name": "", "Count": 3, "Assignments": None})
        more(v, "twice", *[{"Name": "parts", "Count": 3, "Assignments": None}] * 2)
        more(v, "assigned", {"Name": "parts", "Count": 3, "Assignments": [{"BrokerIds": [1]}]})
        more(v, "too few assigned", {"Name": "parts", "Count": 4, "Assignments": [{"BrokerIds": [1]}]})
        more(v, "too many assigned", {"Name": "parts", "Count": 3, "Assignments": [{"BrokerIds": [1]}] * 2})
        more(v, "empty assignment", {"Name": "parts", "Count": 3, "Assignments": []})
        more(v, "unknown broker", {"Name": "parts", "Count": 3, "Assignments": [{"BrokerIds": [9]}]})
        more(v, "no broker", {"Name": "parts", "Count": 3, "Assignments": [{"BrokerIds": []}]})
        more(v, "two replicas", {"Name": "parts", "Count": 3, "Assignments": [{"BrokerIds": [1, 2]}]})
        more(v, "broker twice", {"Name": "parts", "Count": 3, "Assignments": [{"BrokerIds": [1, 1]}]})
        more(v, "none")
    more(c.newest("CreatePartitions"), "done", {"Name": "parts", "Count": 3, "Assignments": None}, validate=False)
    c.settled("parts", 3)


def case_delete_records(c):
    c.topic("dr", 2)
    for _ in range(3):
        c.produce("dr", wire.batch(2))

    def delete(v, tag, *parts, topic="dr", timeout=10000):
        c.call("DeleteRecords", v, tag=tag, TimeoutMs=timeout, Topics=[
            {"Name": topic, "Partitions": [{"PartitionIndex": p, "Offset": o} for p, o in parts]}])
    for v in c.versions("DeleteRecords"):
        delete(v, "beyond", (0, 100))
        delete(v, "-2", (0, -2))
        delete(v, "min", (0, -(2 ** 63)))
        delete(v, "unknown partition", (9, 0))
        delete(v, "negative partition", (-1, 0))
        delete(v, "unknown topic", (0, 0), topic="dr-no")
        delete(v, "bad topic", (0, 0), topic="not ok")
        delete(v, "two", (0, v), (0, v + 1))
        delete(v, "backwards", (0, 0))
        delete(v, "empty partition", (1, -1), (1, 0))
        delete(v, "no partitions")
    delete(c.newest("DeleteRecords"), "all, without a wait", (0, -1), timeout=0)
    delete(c.newest("DeleteRecords"), "all again", (0, -1))
    delete(c.newest("DeleteRecords"), "at the end", (0, 6))


def case_describe_cluster(c):
    for v in c.versions("DescribeCluster"):
        c.call("DescribeCluster", v)
        c.call("DescribeCluster", v, tag="operations", IncludeClusterAuthorizedOperations=True)
        if v >= 1:
            for e in (0, 1, 2, 3):
                c.call("DescribeCluster", v, tag=f"endpoint {e}", EndpointType=e)
        if v >= 2:
            c.call("DescribeCluster", v, tag="fenced", IncludeFencedBrokers=True)


def case_describe_topic_partitions(c):
    c.topic("dtp-a", 3)
    c.topic("dtp-b", 2)
    v = c.newest("DescribeTopicPartitions")

    def ask(tag, *topics, limit=2000, cursor=None):
        c.call("DescribeTopicPartitions", v, tag=tag, Topics=names(*topics), ResponsePartitionLimit=limit, Cursor=cursor)
    ask("both", "dtp-b", "dtp-a")
    ask("unknown", "dtp-a", "dtp-no", "dtp-b")
    ask("bad name", "not ok", "")
    ask("twice", "dtp-a", "dtp-a")
    for n in (0, -1, 1, 2, 3, 4, 5, 6):
        ask(f"limit {n}", "dtp-a", "dtp-b", limit=n)
    for p in (-1, 0, 1, 2, 3, 99):
        ask(f"cursor a {p}", "dtp-a", "dtp-b", cursor={"TopicName": "dtp-a", "PartitionIndex": p})
    ask("cursor b", "dtp-a", "dtp-b", cursor={"TopicName": "dtp-b", "PartitionIndex": 1})
    ask("cursor unknown", "dtp-a", "dtp-b", cursor={"TopicName": "dtp-aa", "PartitionIndex": 0})
    ask("cursor past all", "dtp-a", "dtp-b", cursor={"TopicName": "zzz", "PartitionIndex": 0})
    ask("cursor and limit", "dtp-a", "dtp-b", limit=2, cursor={"TopicName": "dtp-a", "PartitionIndex": 2})


def case_elect_leaders(c):
    c.topic("el", 2)
    for v in c.versions("ElectLeaders"):
        for kind in ((0, 1, 2, -1) if v else (0,)):
            c.call("ElectLeaders", v, tag=f"kind {kind}", ElectionType=kind, TimeoutMs=5000, TopicPartitions=[
                {"Topic": "el", "Partitions": [0, 1, 7]}, {"Topic": "el-no", "Partitions": [0]}])
        c.call("ElectLeaders", v, tag="none", ElectionType=0, TimeoutMs=5000, TopicPartitions=[])
        c.call("ElectLeaders", v, tag="bad name", ElectionType=0, TimeoutMs=5000, TopicPartitions=[
            {"Topic": "not ok", "Partitions": [0]}])
        c.call("ElectLeaders", v, tag="no partitions", ElectionType=0, TimeoutMs=5000, TopicPartitions=[{"Topic": "el", "Partitions": []}])


def case_reassignments(c):
    c.topic("re", 2)
    for v in c.versions("AlterPartitionReassignments"):
        def move(tag, *parts, topic="re", v=v):
            c.call("AlterPartitionReassignments", v, tag=tag, TimeoutMs=5000, Topics=[
                {"Name": topic, "Partitions": [{"PartitionIndex": p, "Replicas": r} for p, r in parts]}])
        move("to itself", (0, [1]))
        move("unknown broker", (0, [9]))
        move("none", (0, []))
        move("twice", (0, [1, 1]))
        move("cancel", (0, None))
        move("unknown partition", (9, [1]), (9, None))
        move("negative broker", (0, [-1]))
        move("unknown topic", (0, [1]), topic="re-no")
        c.call("AlterPartitionReassignments", v, tag="nothing", TimeoutMs=5000, Topics=[])
    for v in c.versions("ListPartitionReassignments"):
        c.call("ListPartitionReassignments", v, tag="all", TimeoutMs=5000, Topics=None)
        c.call("ListPartitionReassignments", v, tag="none", TimeoutMs=5000, Topics=[])
        c.call("ListPartitionReassignments", v, tag="some", TimeoutMs=5000, Topics=[{"Name": "re", "PartitionIndexes": [0, 9]}])
        c.call("ListPartitionReassignments", v, tag="unknown", TimeoutMs=5000, Topics=[{"Name": "re-no", "PartitionIndexes": [0]}])


def quota(pairs, *ops):
    return {"Entity": [{"EntityType": t, "EntityName": n} for t, n in pairs],
            "Ops": [{"Key": k, "Value": x, "Remove": r} for k, x, r in ops]}


def case_quotas(c):
    good = ("producer_byte_rate", 1000.0, False)
    for v in c.versions("AlterClientQuotas"):
        def alter(tag, *entries, validate=False, v=v):
            c.call("AlterClientQuotas", v, tag=tag, Entries=list(entries), ValidateOnly=validate)
        alter("validate", quota([("user", "u")], good), validate=True)
        alter("bad key", quota([("user", "u")], ("no_such", 1.0, False)))
        alter("remove bad key", quota([("user", "u")], ("no_such", 1.0, True)))
        alter("zero", quota([("user", "u")], ("producer_byte_rate", 0.0, False)))
        alter("negative", quota([("user", "u")], ("producer_byte_rate", -1.0, False)))
        alter("fraction", quota([("user", "u")], ("producer_byte_rate", 1.5, False)))
        alter("fraction of percentage", quota([("user", "u")], ("request_percentage", 1.5, False)), validate=True)
        alter("bad type", quota([("group", "u")], good))
        alter("empty type", quota([("", "u")], good))
        alter("empty name", quota([("user", "")], good))
        alter("no entity", quota([], good))
        alter("twice", quota([("user", "u"), ("user", "w")], good))
        alter("ip and user", quota([("user", "u"), ("ip", "127.0.0.1")], ("connection_creation_rate", 1.0, False)))
        alter("bad ip", quota([("ip", "no an ip")], ("connection_creation_rate", 1.0, False)))
        alter("ip key of user", quota([("user", "u")], ("connection_creation_rate", 1.0, False)))
        alter("user key of ip", quota([("ip", "127.0.0.1")], good))
        alter("no ops", quota([("user", "u")]))
        alter("same entity twice", quota([("user", "dup")], good), quota([("user", "dup")], ("consumer_byte_rate", 7.0, False)))
        alter("same key twice", quota([("user", "dup2")], good, ("producer_byte_rate", 5.0, False)))
        alter("default", quota([("client-id", None)], good))
        alter("none")
        c.quiet("AlterClientQuotas", v, Entries=[quota([("client-id", None)], ("producer_byte_rate", 0.0, True))], ValidateOnly=False)
    v = c.newest("AlterClientQuotas")
    c.quiet("AlterClientQuotas", v, Entries=[quota([("user", "q1"), ("client-id", "x")], good), quota([("ip", None)], ("connection_creation_rate", 9.0, False))],
            ValidateOnly=False)
    c.until("quotas", lambda: len(c.quiet("DescribeClientQuotas", Components=[{"EntityType": "ip", "MatchType": 2, "Match": None}], Strict=False)["Entries"] or []) == 1)
    for v in c.versions("DescribeClientQuotas"):
        def ask(tag, *parts, strict=False, v=v):
            answer = c.quiet("DescribeClientQuotas", v, Components=[{"EntityType": t, "MatchType": m, "Match": x} for t, m, x in parts], Strict=strict)
            for e in answer["Entries"] or []:
                e["Entity"].sort(key=lambda x: x["EntityType"])
                e["Values"].sort(key=lambda x: x["Key"])
            if answer["Entries"]:
                answer["Entries"].sort(key=str)
            c.note(f"{tag} DescribeClientQuotas v{v}", answer)
        ask("all")
        ask("all strict", strict=True)
        ask("user", ("user", 2, None))
        ask("user strict", ("user", 2, None), strict=True)
        ask("exact", ("user", 0, "q1"))
        ask("exact unknown", ("user", 0, "nobody"))
        ask("default", ("client-id", 1, None))
        ask("exact null", ("user", 0, None))
        ask("default with match", ("user", 1, "x"))
        ask("any with match", ("user", 2, "x"))
        ask("match type", ("user", 3, None))
        ask("empty type", ("", 2, None))
        ask("bad type", ("group", 2, None))
        ask("twice", ("user", 2, None), ("user", 2, None))
        ask("ip and user", ("user", 2, None), ("ip", 2, None))
    # Or it slows the cases that follow.
    c.quiet("AlterClientQuotas", Entries=[quota([("ip", None)], ("connection_creation_rate", 9.0, True))], ValidateOnly=False)


def case_describe_producers(c):
    c.topic("dp", 2)
    c.produce("dp", wire.batch(2, pid=4000, pepoch=0, seq=0))
    c.call("DescribeProducers", Topics=[{"Name": "dp", "PartitionIndexes": [0, 1, 5, -1]}, {"Name": "dp-no", "PartitionIndexes": [0]},
                                        {"Name": "not ok", "PartitionIndexes": [0]}])
    c.call("DescribeProducers", tag="none", Topics=[])


def case_log_dirs(c):
    c.topic("ld")
    for v in c.versions("DescribeLogDirs"):
        c.call("DescribeLogDirs", v, tag="one", Topics=[{"Topic": "ld", "Partitions": [0]}])
        c.call("DescribeLogDirs", v, tag="unknown", Topics=[{"Topic": "ld", "Partitions": [7]}, {"Topic": "ld-no", "Partitions": [0]}])
        c.call("DescribeLogDirs", v, tag="none", Topics=[])


def case_move_log_dirs(c):
    c.topic("mld")
    for v in c.versions("AlterReplicaLogDirs"):
        here = c.quiet("DescribeLogDirs", 1, Topics=[{"Topic": "mld", "Partitions": [0]}])["Results"][0]["LogDir"]
        topics = [{"Name": "mld", "Partitions": [0, 7]}, {"Name": "mld-no", "Partitions": [0]}]
        c.call("AlterReplicaLogDirs", v, tag="where it is", Dirs=[{"Path": here, "Topics": topics}])
        c.call("AlterReplicaLogDirs", v, tag="elsewhere", Dirs=[{"Path": "/no/such", "Topics": topics}])
        c.call("AlterReplicaLogDirs", v, tag="none", Dirs=[])


def case_no_security(c):
    kind = {"ResourceTypeFilter": 2, "ResourceNameFilter": "ns", "PatternTypeFilter": 3, "Operation": 2, "PermissionType": 3}
    acl = {"ResourceType": 2, "ResourceName": "ns", "ResourcePatternType": 3, "Principal": "User:a", "Host": "*", "Operation": 3, "PermissionType": 3}
    for v in c.versions("DescribeAcls"):
        c.call("DescribeAcls", v, PrincipalFilter=None, HostFilter=None, **kind)
        c.call("CreateAcls", v, Creations=[acl, acl])
        c.call("CreateAcls", v, tag="none", Creations=[])
        c.call("DeleteAcls", v, Filters=[{"PrincipalFilter": None, "HostFilter": None, **kind}] * 2)
    for v in c.versions("SaslHandshake"):
        c.call("SaslHandshake", v, Mechanism="PLAIN")
    for v in c.versions("SaslAuthenticate"):
        c.call("SaslAuthenticate", v, AuthBytes="00")


def case_find_coordinator(c):
    for kind in (0, 1):  # their topics are made when somebody asks
        c.until("a coordinator", lambda k=kind: c.quiet("FindCoordinator", 2, Key="group", KeyType=k)["ErrorCode"] == 0)
    for v in c.versions("FindCoordinator"):
        for kind in ((0, 1, 2, 3, -1) if v >= 1 else (0,)):
            if v < 4:
                for key in ("group", ""):
                    c.call("FindCoordinator", v, tag=f"type {kind} key {key!r}", Key=key, **({"KeyType": kind} if v >= 1 else {}))
            else:
                c.call("FindCoordinator", v, tag=f"type {kind}", KeyType=kind, CoordinatorKeys=["group", "", "group"])
                c.call("FindCoordinator", v, tag=f"type {kind} none", KeyType=kind, CoordinatorKeys=[])


def case_init_producer_id(c):
    c.until("a producer id", lambda: c.quiet("InitProducerId", 2, TransactionalId=None, TransactionTimeoutMs=1000)["ErrorCode"] == 0)
    for v in c.versions("InitProducerId"):
        c.call("InitProducerId", v, tag="plain", TransactionalId=None, TransactionTimeoutMs=1000)
        c.call("InitProducerId", v, tag="no timeout", TransactionalId=None, TransactionTimeoutMs=0)
        c.call("InitProducerId", v, tag="negative timeout", TransactionalId=None, TransactionTimeoutMs=-1)
        c.call("InitProducerId", v, tag="max timeout", TransactionalId=None, TransactionTimeoutMs=2147483647)
        c.call("InitProducerId", v, tag="empty transactional", TransactionalId="", TransactionTimeoutMs=1000)
        if v >= 3:
            for pid, epoch in ((5, 0), (5, -1), (-1, 5), (-2, 0), (10 ** 12, 3)):
                c.call("InitProducerId", v, tag=f"again {pid} {epoch}", TransactionalId=None, TransactionTimeoutMs=1000, ProducerId=pid, ProducerEpoch=epoch)


def raw(c, tag, frame):
    try:
        answer = c.conn("raw").raw(frame)
        c.note(tag, {"bytes": answer.hex()} if len(answer) < 30 else {"length": len(answer) if len(answer) < 64 else "long"})
    except wire.Closed as e:
        c.note(tag, {"connection": str(e)})
    c.conn("raw").close()


def case_headers(c):
    c.conn("raw").timeout = 3
    for v in (5, 6, 99, 32767, -1):
        raw(c, f"ApiVersions {v}", struct.pack(">hhih", 18, v, 7, 1) + b"x")
        raw(c, f"ApiVersions {v} flexible", struct.pack(">hhih", 18, v, 7, 1) + b"x\0\x02a\x02b\0")
    for v in (0, 1, 2):
        raw(c, f"ApiVersions {v}, cut off", struct.pack(">hhi", 18, v, 7))
        raw(c, f"ApiVersions {v}, null client id", struct.pack(">hhih", 18, v, 7, -1))
        raw(c, f"ApiVersions {v}, client id longer than it is", struct.pack(">hhih", 18, v, 7, 100) + b"x")
        raw(c, f"ApiVersions {v}, client id -2", struct.pack(">hhih", 18, v, 7, -2))
    for v in c.versions("ApiVersions", 3):
        for name, version in (("", ""), ("ok", ""), ("", "1"), ("a b", "1"), ("-a", "1"), ("a", "1.0-x"), ("a.b-c", "1")):
            answer = c.quiet("ApiVersions", v, ClientSoftwareName=name, ClientSoftwareVersion=version)
            c.note(f"software {name!r} {version!r} v{v}", {"ErrorCode": answer["ErrorCode"], "any": len(answer["ApiKeys"]) > 0})
    for key in (4, 5, 6, 7, 52, 53, 54, 56, 58, 59, 62, 63, 67, 70, 73, 82, 93, 999, 20000, -1, 32767):
        raw(c, f"key {key}", struct.pack(">hhih", key, 0, 7, 1) + b"x")
    for name in ("Metadata", "Fetch", "Produce", "ListOffsets", "JoinGroup"):
        key = wire.api(name).key
        raw(c, f"{name} too new", struct.pack(">hhih", key, 99, 7, 1) + b"x\0")
        raw(c, f"{name} negative", struct.pack(">hhih", key, -1, 7, 1) + b"x\0")
        raw(c, f"{name} without a body", struct.pack(">hhih", key, c.newest(name), 7, 1) + b"x\0")
    raw(c, "metadata, bytes behind", wire.encode("Metadata", 1, {"Topics": []}) + b"xyz")
    raw(c, "metadata, a count beyond the end", struct.pack(">hhihi", 3, 1, 7, 0, 1 << 30))
    raw(c, "metadata, a negative count", struct.pack(">hhihi", 3, 1, 7, 0, -2))
    raw(c, "empty", b"")
    raw(c, "one byte", b"\0")


def case_features_and_quorum(c):
    for v in c.versions("ApiVersions", 3):
        answer = c.quiet("ApiVersions", v, ClientSoftwareName="a", ClientSoftwareVersion="1")
        for kind in ("SupportedFeatures", "FinalizedFeatures"):
            known = [f for f in answer[kind] if f["Name"] in ("metadata.version", "group.version")]
            c.note(f"{kind} {v}", sorted(known, key=lambda f: f["Name"]))
    for v in c.versions("UpdateFeatures"):
        c.call("UpdateFeatures", v, tag="none", FeatureUpdates=[])
        c.call("UpdateFeatures", v, tag="unknown", FeatureUpdates=[{"Feature": "no.such", "MaxVersionLevel": 1}])
    for v in c.versions("DescribeQuorum"):
        c.call("DescribeQuorum", v, tag="another topic", Topics=[{"TopicName": "other", "Partitions": [{"PartitionIndex": 0}]}])
        c.call("DescribeQuorum", v, tag="another partition", Topics=[{"TopicName": "__cluster_metadata", "Partitions": [{"PartitionIndex": 1}]}])
        c.call("DescribeQuorum", v, tag="none", Topics=[])
    for v in c.versions("ListConfigResources"):
        if v == 0:
            c.call("ListConfigResources", v)
        else:
            for types in ([16], [32], [99], [0], [4], [8]):
                c.call("ListConfigResources", v, tag=str(types), ResourceTypes=types)
