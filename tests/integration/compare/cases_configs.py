"""DescribeConfigs, AlterConfigs, IncrementalAlterConfigs."""

TOPIC, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3


def describe(c, v, tag, *resources, keys=None, synonyms=False, docs=False, whole=False):
    body = {"Resources": [{"ResourceType": t, "ResourceName": n, "ConfigurationKeys": keys} for t, n in resources]}
    body["IncludeSynonyms"] = synonyms
    if v >= 3:
        body["IncludeDocumentation"] = docs
    answer = c.quiet("DescribeConfigs", v, **body)
    for r in answer["Results"]:
        for x in r["Configs"] or []:
            if x.get("Documentation"):
                x["Documentation"] = "<text>"
        if not whole and r["Configs"] and keys is None:
            r["Configs"] = "<some>"
        elif r["Configs"]:
            r["Configs"].sort(key=lambda x: x["Name"])
    c.note(f"{tag} DescribeConfigs v{v}", answer)


def case_describe_configs(c):
    c.topic("dc", configs=[("retention.ms", "1000")])
    for v in c.versions("DescribeConfigs"):
        describe(c, v, "topic", (TOPIC, "dc"), whole=True)
        describe(c, v, "synonyms", (TOPIC, "dc"), whole=True, synonyms=True)
        describe(c, v, "some keys", (TOPIC, "dc"), keys=["retention.ms", "no.such", "cleanup.policy", "retention.ms", ""], docs=True)
        describe(c, v, "no keys", (TOPIC, "dc"), keys=[])
        describe(c, v, "unknown", (TOPIC, "dc-no"), (TOPIC, "not ok"), (TOPIC, ""), (BROKER, "2"), (BROKER, "x"), (BROKER, "-1"),
                 (LOGGER, "1"), (LOGGER, "2"), (LOGGER, ""), (METRICS, "m"), (METRICS, ""), (GROUP, "g"), (GROUP, ""))
        describe(c, v, "types", (0, "x"), (1, "x"), (3, "x"), (99, "x"), (TOPIC, "dc"))
        describe(c, v, "twice", (TOPIC, "dc"), (TOPIC, "dc"), keys=["retention.ms"])
        describe(c, v, "none")
        describe(c, v, "group", (GROUP, "g"), whole=True, synonyms=True)
        describe(c, v, "cluster", (BROKER, ""), whole=True)


def case_describe_broker_configs(c):
    """Names, types and flags of the broker's configurations that both have; values are each one's own."""
    for v in c.versions("DescribeConfigs", 3):
        answer = c.quiet("DescribeConfigs", v, Resources=[{"ResourceType": BROKER, "ResourceName": "1", "ConfigurationKeys": None}], IncludeSynonyms=False)
        found = {x["Name"]: {k: x[k] for k in ("ReadOnly", "IsSensitive", "ConfigType")} for x in answer["Results"][0]["Configs"]}
        c.note(f"names DescribeConfigs v{v}", found)


def incremental(c, v, tag, *resources, validate=False):
    c.call("IncrementalAlterConfigs", v, tag=tag, ValidateOnly=validate, Resources=[
        {"ResourceType": t, "ResourceName": n, "Configs": [{"Name": k, "ConfigOperation": o, "Value": x} for k, o, x in ops]}
        for t, n, *ops in resources])


TOPIC_CHANGES = [
    ("unknown key", ("no.such", SET, "1")), ("set", ("retention.ms", SET, "77")), ("not a number", ("retention.ms", SET, "x")),
    ("null", ("retention.ms", SET, None)), ("empty", ("retention.ms", SET, "")), ("delete", ("retention.ms", DELETE, None)),
    ("delete with a value", ("retention.ms", DELETE, "5")), ("delete what is not set", ("segment.ms", DELETE, None)),
    ("delete unknown", ("no.such", DELETE, None)), ("append to a number", ("retention.ms", APPEND, "5")),
    ("append", ("cleanup.policy", APPEND, "compact")), ("append again", ("cleanup.policy", APPEND, "compact")),
    ("append bad", ("cleanup.policy", APPEND, "shred")), ("subtract", ("cleanup.policy", SUBTRACT, "compact")),
    ("subtract what is not in it", ("cleanup.policy", SUBTRACT, "compact")), ("subtract all", ("cleanup.policy", SUBTRACT, "delete,compact")),
    ("subtract nothing", ("cleanup.policy", SUBTRACT, "")), ("append null", ("cleanup.policy", APPEND, None)),
    ("operation 4", ("retention.ms", 4, "1")), ("operation -1", ("retention.ms", -1, "1")), ("empty key", ("", SET, "1")),
    ("broker key", ("log.retention.ms", SET, "1")), ("min isr", ("min.insync.replicas", SET, "0")),
    ("remote", ("remote.storage.enable", SET, "true")),
]


def case_incremental_topic(c):
    c.topic("ic")
    for v in c.versions("IncrementalAlterConfigs"):
        for tag, op in TOPIC_CHANGES:
            incremental(c, v, tag, (TOPIC, "ic", op), validate=True)
        incremental(c, v, "two of one key", (TOPIC, "ic", ("retention.ms", SET, "1"), ("retention.ms", SET, "2")))
        incremental(c, v, "two operations of one key", (TOPIC, "ic", ("cleanup.policy", SET, "compact"), ("cleanup.policy", APPEND, "delete")))
        incremental(c, v, "one good, one bad", (TOPIC, "ic", ("retention.ms", SET, "1"), ("no.such", SET, "2")))
        incremental(c, v, "unknown topic", (TOPIC, "ic-no", ("retention.ms", SET, "1")))
        incremental(c, v, "bad topic", (TOPIC, "not ok", ("retention.ms", SET, "1")))
        incremental(c, v, "empty topic", (TOPIC, "", ("retention.ms", SET, "1")))
        incremental(c, v, "same topic twice", (TOPIC, "ic", ("retention.ms", SET, "1")), (TOPIC, "ic", ("segment.ms", SET, "1")))
        incremental(c, v, "no operations", (TOPIC, "ic"))
        incremental(c, v, "nothing")
        incremental(c, v, "types", *[(t, "1", ("x", SET, "1")) for t in (0, 1, 3, 64, 99, -1)])
        incremental(c, v, "done", (TOPIC, "ic", ("retention.ms", SET, "123"), ("cleanup.policy", APPEND, "compact")))
        c.until("it", lambda v=v: c.quiet("DescribeConfigs", 4, Resources=[{"ResourceType": TOPIC, "ResourceName": "ic", "ConfigurationKeys": ["retention.ms"]}])
                ["Results"][0]["Configs"][0]["Value"] == "123")
        describe(c, 4, "after", (TOPIC, "ic"), keys=["retention.ms", "cleanup.policy"], synonyms=True)
        incremental(c, v, "undone", (TOPIC, "ic", ("retention.ms", DELETE, None), ("cleanup.policy", DELETE, None)))
        c.until("it", lambda v=v: c.quiet("DescribeConfigs", 4, Resources=[{"ResourceType": TOPIC, "ResourceName": "ic", "ConfigurationKeys": ["retention.ms"]}])
                ["Results"][0]["Configs"][0]["Value"] != "123")


def case_alter_topic(c):
    c.topic("ac")
    c.conn().timeout = 3  # some are never answered by Kafka

    def alter(v, tag, *resources, validate=True):
        c.call("AlterConfigs", v, tag=tag, ValidateOnly=validate, Resources=[
            {"ResourceType": t, "ResourceName": n, "Configs": [{"Name": k, "Value": x} for k, x in pairs]} for t, n, *pairs in resources])
    for v in c.versions("AlterConfigs"):
        alter(v, "unknown key", (TOPIC, "ac", ("no.such", "1")))
        alter(v, "bad", (TOPIC, "ac", ("retention.ms", "x")))
        alter(v, "null", (TOPIC, "ac", ("retention.ms", None)))
        alter(v, "twice", (TOPIC, "ac", ("retention.ms", "1"), ("retention.ms", "2")))
        alter(v, "unknown topic", (TOPIC, "ac-no", ("retention.ms", "1")))
        alter(v, "bad topic", (TOPIC, "not ok", ("retention.ms", "1")))
        alter(v, "same topic twice", (TOPIC, "ac", ("retention.ms", "1")), (TOPIC, "ac", ("segment.ms", "1")))
        alter(v, "empty", (TOPIC, "ac"))
        alter(v, "types", *[(t, "1", ("x", "1")) for t in (0, 1, 3, 99)])
        alter(v, "broker", (BROKER, "1", ("log.retention.ms", "1000000")))
        alter(v, "done", (TOPIC, "ac", ("retention.ms", "55")), validate=False)


BROKER_CHANGES = [
    ("dynamic", ("log.retention.ms", SET, "86400000")), ("bad value", ("log.retention.ms", SET, "x")), ("unknown", ("no.such.config", SET, "1")),
    ("read only", ("process.roles", SET, "broker")), ("read only number", ("num.partitions", SET, "3")), ("node id", ("node.id", SET, "5")),
    ("null", ("log.retention.ms", SET, None)), ("delete", ("log.retention.ms", DELETE, None)), ("append", ("log.cleanup.policy", APPEND, "compact")),
    ("append to a number", ("log.retention.ms", APPEND, "1")), ("threads", ("num.io.threads", SET, "9")),
    ("too many threads", ("num.io.threads", SET, "99999")), ("no threads", ("num.io.threads", SET, "0")), ("max bytes", ("message.max.bytes", SET, "2000000")),
    ("max bytes -1", ("message.max.bytes", SET, "-1")), ("connections", ("max.connections", SET, "1000")),
    ("listeners", ("listeners", SET, "PLAINTEXT://127.0.0.1:1")), ("auto create", ("auto.create.topics.enable", SET, "false")),
    ("groups", ("group.consumer.session.timeout.ms", SET, "50000")), ("offsets", ("offsets.retention.minutes", SET, "5")),
    ("replication", ("default.replication.factor", SET, "1")), ("throttle", ("leader.replication.throttled.rate", SET, "1000")),
    ("cleaner", ("log.cleaner.threads", SET, "2")), ("stamp", ("log.message.timestamp.type", SET, "LogAppendTime")),
    ("stamp bad", ("log.message.timestamp.type", SET, "x")), ("compression", ("compression.type", SET, "zstd")), ("segment", ("log.segment.bytes", SET, "1048576")),
    ("isr", ("min.insync.replicas", SET, "2")), ("password", ("ssl.keystore.password", SET, "x")), ("empty name", ("", SET, "1")),
    ("hours", ("log.retention.hours", SET, "5")), ("unclean", ("unclean.leader.election.enable", SET, "true")),
    ("listener's", ("listener.name.plaintext.ssl.keystore.type", SET, "JKS")), ("fetch sessions", ("max.incremental.fetch.session.cache.slots", SET, "5")),
    ("operation 9", ("log.retention.ms", 9, "1")), ("reporters", ("metric.reporters", SET, "a.b.C")), ("producer ids", ("producer.id.expiration.ms", SET, "5000")),
    ("verify", ("transaction.partition.verification.enable", SET, "false")), ("min session", ("group.min.session.timeout.ms", SET, "1")),
    ("kerberos", ("sasl.kerberos.min.time.before.relogin", SET, "58000")), ("kerberos gone", ("sasl.kerberos.min.time.before.relogin", DELETE, None)),
    ("kerberos bad", ("sasl.kerberos.min.time.before.relogin", SET, "x")),
    ("local retention", ("log.local.retention.ms", SET, "5")), ("remote fetch", ("remote.fetch.max.wait.ms", SET, "100")),
]


def case_incremental_broker(c):
    v = c.newest("IncrementalAlterConfigs")
    for name in ("1", ""):
        for tag, op in BROKER_CHANGES:
            incremental(c, v, f"{tag} of {name!r}", (BROKER, name, op), validate=True)
    for name in ("2", "x", "-1", "1 ", "01", "99999999999"):
        incremental(c, v, f"broker {name!r}", (BROKER, name, ("log.retention.ms", SET, "86400000")), validate=True)
    incremental(c, v, "twice one key", (BROKER, "1", ("log.retention.ms", SET, "1"), ("log.retention.ms", SET, "2")))
    incremental(c, v, "two resources", (BROKER, "1", ("log.retention.ms", SET, "1")), (BROKER, "1", ("log.retention.ms", SET, "2")))
    incremental(c, v, "logger", (LOGGER, "1", ("kafka.server.KafkaApis", SET, "INFO")), validate=True)
    incremental(c, v, "logger bad", (LOGGER, "1", ("kafka.server.KafkaApis", SET, "LOUD")), validate=True)
    incremental(c, v, "logger unknown", (LOGGER, "1", ("no.such.logger", SET, "INFO")), validate=True)
    incremental(c, v, "logger other broker", (LOGGER, "2", ("x", SET, "INFO")), validate=True)


def value_of(c, kind, resource, key):
    r = c.quiet("DescribeConfigs", 4, Resources=[{"ResourceType": kind, "ResourceName": resource, "ConfigurationKeys": [key]}], IncludeSynonyms=True)["Results"][0]
    return (r["Configs"] or [{"Value": None}])[0]["Value"]


def case_broker_configs_in_force(c):
    """Set for the cluster, then for the broker, seen in what they rule, and taken away again."""
    v = c.newest("IncrementalAlterConfigs")
    key = "log.retention.ms"
    c.topic("bcf")
    incremental(c, v, "cluster", (BROKER, "", (key, SET, "111111")))
    c.until("the cluster's", lambda: value_of(c, BROKER, "1", key) == "111111")
    describe(c, 4, "cluster set", (BROKER, "1"), keys=[key], synonyms=True)
    describe(c, 4, "cluster itself", (BROKER, ""), whole=True, synonyms=True)
    describe(c, 4, "topic", (TOPIC, "bcf"), keys=["retention.ms"], synonyms=True)
    incremental(c, v, "broker", (BROKER, "1", (key, SET, "222222")))
    c.until("the broker's", lambda: value_of(c, BROKER, "1", key) == "222222")
    describe(c, 4, "both set", (BROKER, "1"), keys=[key], synonyms=True)
    describe(c, 4, "topic of both", (TOPIC, "bcf"), keys=["retention.ms"], synonyms=True)
    incremental(c, v, "cluster gone", (BROKER, "", (key, DELETE, None)))
    c.until("its end", lambda: value_of(c, BROKER, "", key) is None)
    describe(c, 4, "broker set", (BROKER, "1"), keys=[key], synonyms=True)
    incremental(c, v, "broker gone", (BROKER, "1", (key, DELETE, None)))
    c.until("its end", lambda: value_of(c, BROKER, "1", key) not in ("111111", "222222"))
    describe(c, 4, "topic after", (TOPIC, "bcf"), keys=["retention.ms"], synonyms=True)
    incremental(c, v, "gone again", (BROKER, "1", (key, DELETE, None)))
    incremental(c, v, "max bytes", (BROKER, "", ("message.max.bytes", SET, "1000")))
    c.until("the cluster's", lambda: value_of(c, BROKER, "1", "message.max.bytes") == "1000")
    describe(c, 4, "max bytes", (TOPIC, "bcf"), keys=["max.message.bytes"], synonyms=True)
    incremental(c, v, "max bytes gone", (BROKER, "", ("message.max.bytes", DELETE, None)))
    c.until("its end", lambda: value_of(c, BROKER, "1", "message.max.bytes") != "1000")


GROUP_CHANGES = [
    ("session", ("consumer.session.timeout.ms", SET, "50000")), ("session too short", ("consumer.session.timeout.ms", SET, "1")),
    ("session too long", ("consumer.session.timeout.ms", SET, "99999999")), ("heartbeat", ("consumer.heartbeat.interval.ms", SET, "6000")),
    ("heartbeat too short", ("consumer.heartbeat.interval.ms", SET, "1")), ("heartbeat too long", ("consumer.heartbeat.interval.ms", SET, "999999")),
    ("bad", ("consumer.session.timeout.ms", SET, "x")), ("unknown", ("no.such", SET, "1")), ("null", ("consumer.session.timeout.ms", SET, None)),
    ("delete", ("consumer.session.timeout.ms", DELETE, None)), ("append", ("consumer.session.timeout.ms", APPEND, "1")),
    ("share", ("share.session.timeout.ms", SET, "50000")), ("share reset", ("share.auto.offset.reset", SET, "earliest")),
    ("share isolation", ("share.isolation.level", SET, "x")), ("streams", ("streams.session.timeout.ms", SET, "50000")), ("empty name", ("", SET, "1")),
]


def case_incremental_group(c):
    v = c.newest("IncrementalAlterConfigs")
    for tag, op in GROUP_CHANGES:
        incremental(c, v, tag, (GROUP, "grp", op), validate=True)
    incremental(c, v, "empty group", (GROUP, "", ("consumer.session.timeout.ms", SET, "50000")), validate=True)
    incremental(c, v, "heartbeat above session", (GROUP, "grp", ("consumer.heartbeat.interval.ms", SET, "15000"), ("consumer.session.timeout.ms", SET, "45000")), validate=True)
    incremental(c, v, "done", (GROUP, "grp", ("consumer.session.timeout.ms", SET, "50000"), ("consumer.heartbeat.interval.ms", SET, "7000")))
    c.until("it", lambda: value_of(c, GROUP, "grp", "consumer.session.timeout.ms") == "50000")
    describe(c, 4, "after", (GROUP, "grp"), whole=True, synonyms=True)
    for w in c.versions("ListConfigResources", 1):
        c.call("ListConfigResources", w, tag="groups", ResourceTypes=[GROUP])
    c.until("a coordinator", lambda: c.quiet("FindCoordinator", 2, Key="grp", KeyType=0)["ErrorCode"] == 0)
    answer = c.until("a heartbeat", lambda: next(iter([a for a in [c.quiet("ConsumerGroupHeartbeat", 0, GroupId="grp", MemberId="", MemberEpoch=0,
                     RebalanceTimeoutMs=5000, SubscribedTopicNames=["dc"], TopicPartitions=[])] if a["ErrorCode"] == 0]), None))
    c.note("interval ConsumerGroupHeartbeat v0", {"HeartbeatIntervalMs": answer["HeartbeatIntervalMs"]})
    incremental(c, v, "undone", (GROUP, "grp", ("consumer.session.timeout.ms", DELETE, None), ("consumer.heartbeat.interval.ms", DELETE, None)))
    c.until("its end", lambda: value_of(c, GROUP, "grp", "consumer.session.timeout.ms") != "50000")
    describe(c, 4, "after all", (GROUP, "grp"), whole=True, synonyms=True)
