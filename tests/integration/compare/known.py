"""Where Floe's answers differ from Apache Kafka's on purpose: a pattern of the place that compare.py prints, and why. One that
fits nothing any more is a failure of the full run."""
import re

KNOWN = [
    # topics
    (r"Configs\[21\]\.(ConfigSource|Synonyms)", "Kafka 4.1 keeps min.insync.replicas as a dynamic default of a new cluster"),
    (r"CreateTopics v7: Topics\[\d\]\.TopicId", "a topic that is only validated has no id"),
    (r"create_numbers\[\d+\] replication (2|3) ", "the store keeps the copies: up to five replicas are taken, however few brokers there are"),
    (r"internal segment ", "internal.segment.bytes is for Kafka's own tests"),
    (r"count 2147483647 ", "Kafka runs out of memory; Floe names its limit"),
    (r"null name without id Metadata v1[23]: ", "Kafka fails with UNKNOWN_SERVER_ERROR"),
    (r"name and id Metadata v1[23]: ", "a topic asked for by name and by id is told of twice"),
    (r"describe_topic_partitions\[\d+\] bad name ", "Kafka fails with UNKNOWN_SERVER_ERROR"),
    (r"nothing AlterPartitionReassignments v\d: ErrorMessage", "an empty sentence or none"),
    (r"quotas\[\d+\] (all|user|user strict) DescribeClientQuotas", "Kafka refuses an entity that is named twice and sets its first values all the same"),
    (r"DescribeLogDirs v\d: Results\[0\]\.(TotalBytes|UsableBytes)", "a store has no size"),
    # configurations
    (r"describe_configs\[\d+\] types ", "Kafka fails the whole request for a type that there is not; Floe answers the others"),
    (r"describe_configs\[\d+\] unknown DescribeConfigs v\d: Results\[(5|10)\]", "loggers are Java's, and client metrics are not kept"),
    (r"cluster DescribeConfigs|cluster itself DescribeConfigs", "Kafka 4.1 keeps min.insync.replicas as a dynamic default of a new cluster"),
    (r"incremental_topic\[\d+\] operation (4|-1) ", "Kafka fails with UNKNOWN_SERVER_ERROR"),
    (r"alter_topic\[\d+\] (same topic twice|types) ", "Kafka never answers these"),
    (r"describe_broker_configs\[\d+\] .*: log\.initial\.task\.delay\.ms", "set by brokers.py, and Kafka tells of it only then"),
    (r"listener's of '1'", "listeners are configured at the broker's start"),
    (r"incremental_broker\[\d+\] logger", "loggers are Java's"),
    (r"broker_configs_in_force\[\d+\] .*Synonyms", "of log.retention.hours Kafka tells the default once log.retention.ms is set, and not before"),
    # frames
    (r"headers\[\d+\] ApiVersions (5|6|99|32767): ", "a header without tags is read all the same, so that the client learns the versions"),
    (r"headers\[\d+\] (ApiVersions \d, client id -2|metadata, a negative count): ", "only -1 is null: other negative lengths end the connection"),
    # records
    (r"produce_batches\[\d+\] null ", "Kafka never answers a produce request without records"),
    (r"produce_batches\[\d+\] (base offset|deltas from one|deltas twice|log append time|delete horizon|producer -2) ",
     "a base offset is taken whatever it is: brokers send on what was acknowledged before they died; Kafka stores batches whose records have wrong offsets, or attributes that are the broker's; Floe refuses them"),
    (r"produce_batches\[\d+\] codec \d ", "Kafka fails with UNKNOWN_SERVER_ERROR"),
    (r"produce_batches\[\d+\] \w+ that is not ", "compressed records are taken at their header's word and not decompressed"),
    (r"produce_batches\[\d+\] .*BaseOffset", "follows from those that one of the two has stored"),
    (r"produce_batches\[\d+\] (magic 3|length too short|length negative) .*ErrorMessage", "the code says it"),
    (r"LogAppendTimeMs", "of a duplicate Kafka tells the timestamp of its records, though the topic has CreateTime"),
    (r"(too old a duplicate|sequence 0 again in an old place) Produce v9: .*ErrorCode",
     "DUPLICATE_SEQUENCE_NUMBER: it was stored; Kafka has forgotten that and ends the producer"),
    (r"fetch_offsets\[\d+\] twice ", "each mention of a partition is answered"),
    (r"fetch_sessions\[\d+\] add a known Fetch v1[38]: Responses\[[01]\]", "topics of a session come in the order of its cache's hashes in Kafka"),
    (r"isolation 2 ", "an isolation level that there is not reads as read_uncommitted; Kafka fails with UNKNOWN_SERVER_ERROR"),
    (r"fetch_offsets\[\d+\] negative max ", "read as 0; Kafka fails with UNKNOWN_SERVER_ERROR"),
    (r"fetch_offsets\[\d+\] replica 2 ", "there are no replicas that fetch: it is answered as a consumer"),
    (r"list_offsets\[\d+\] twice ", "each mention of a partition is answered"),
    (r"all gone, time -3 ", "Kafka remembers the largest timestamp of records that are deleted"),
    (r"leader_epochs\[\d+\] (empty )?epoch -2 ", "there is no epoch -2"),
    # groups
    (r"no partitions Offset(Commit|Delete) v\d: Topics", "a topic without partitions is told of"),
    (r"of an empty one OffsetDelete", "a group without members and offsets is gone at once; Kafka's goes when it is next looked at"),
    (r"HeartbeatIntervalMs|(group|after|after all) DescribeConfigs v\d: Results\[0\]\.Configs\[0\]\.(Value|Synonyms)", "members come every two seconds by default, and more often while a group is on the move"),
    (r"long_names\[\d+\] '\\x00' ", "a NUL is not taken in a group's name"),
    (r"a classic member JoinGroup", "which protocols a group takes is told in docs/formats/group.md"),
]

# Of requests in a row (cases_sequences.py).
KNOWN += [
    (r"session_twice\[\d+\] same partition twice ", "each mention of a partition is answered"),
    (r"topic_again\[\d+\] (deleted|again, (old id|other id in the session)) Fetch v13", "a session keeps ids: one that no topic has is UNKNOWN_TOPIC_ID; Kafka tells it by the name that it had"),
    (r"list_configs\[\d+\] (float with a letter|nan) ", "a ratio is a decimal number; Java takes its own suffixes and NaN"),
    (r"rebalance\[\d+\] (completing|one left) DescribeGroups v6: .*MemberAssignment", "a share ends with its generation"),
    (r"static_rejoin\[\d+\] back ", "who comes back with another subscription gets a share of it; Kafka leaves it what it had until the next rebalance"),
    (r"reconcile\[\d+\] stale epoch, what it had ", "who comes with the epoch before has not heard the last answer: it is told again"),
    (r"reconcile\[\d+\] (subscribes to more|other (assignor|rack|timeout)|empties its topics|an expression besides|a bad expression|no expression) .*: (Assignment|MemberEpoch|Error)",
     "which partitions move is the assignor's choice, and the epochs that follow are its too"),
    (r"reconcile\[\d+\] empty ConsumerGroupDescribe v\d: .*Epoch", "follows from these"),
    (r"reconcile\[\d+\] expression .*: (Assignment|MemberEpoch)", "an expression is matched within its heartbeat; Kafka's coordinator does it later"),
]

# Of the wide sweep (sweep.py).
WIDE = [
    (r"'nul\\x00'", "a NUL is not taken in a name"),
    (r"\(32767\) ", "Kafka fails with UNKNOWN_SERVER_ERROR, or never answers, where a name is longer than its records may be"),
    (r"\] \S+ twice ", "each mention is answered; Kafka answers one, or never"),
    (r"\] TimeoutMs \S+ (CreateTopics|DeleteTopics|CreatePartitions|ElectLeaders|AlterPartitionReassignments) ", "what is done is told as done; given no time, Kafka does nothing"),
    (r"\] TimeoutMs \S+ Produce ", "a commit takes time, and acks=all says so where it is given less"),
    (r"IsolationLevel \S+ (Fetch|ListOffsets) ", "an isolation level that there is not reads as read_uncommitted; Kafka fails with UNKNOWN_SERVER_ERROR"),
    (r"ReplicaId \S+ Fetch ", "there are no replicas that fetch: it is answered as a consumer"),
    (r"SessionId \S+ Fetch ", "Kafka fails with UNKNOWN_SERVER_ERROR where its cache of sessions has no place for a number"),
    (r"fetch_session_Fetch\[\d+\] Topics.TopicId ", "Kafka fails with UNKNOWN_SERVER_ERROR for the id of its own topic of metadata"),
    (r"Records None Produce ", "Kafka never answers a produce request without records"),
    (r"Topics.Partitions none Offset(Commit|Delete) ", "a topic without partitions is told of"),
    (r"(Name None|TopicId '0000000000000 \(32\)) Metadata v1[23]", "Kafka fails with UNKNOWN_SERVER_ERROR"),
    (r"IncludeTopicAuthorizedOperations True Metadata v[89]", "of a topic that cannot be no operations are told"),
    (r"Groups.MemberId None OffsetFetch ", "Kafka fails with UNKNOWN_SERVER_ERROR"),
    (r"Protocols.Name '' JoinGroup ", "a protocol without a name: empty, or null"),
    (r"Protocols.Metadata b'\\xff", "Kafka fails, or never answers"),
    (r"ReplicationFactor \d+ CreateTopics ", "the store keeps the copies: any number of replicas is taken"),
    (r"TransactionalId .* InitProducerId ", "there are no transactions"),
    (r"LeaderEpoch -\d+ OffsetForLeaderEpoch ", "there is no such epoch"),
    (r"IncludeDocumentation True DescribeConfigs .*Documentation", "it says what Floe does with it"),
    (r"'__consumer_of \(18\) (OffsetForLeaderEpoch|DescribeLogDirs|ListOffsets|Fetch) ", "what lies in it is each one's own"),
    (r"TopicPartitions null ElectLeaders ", "Kafka names all topics, without a partition"),
    (r"none AlterPartitionReassignments v\d: ErrorMessage", "an empty sentence or none"),
    (r"ConfigOperation \S+ IncrementalAlterConfigs ", "Kafka fails with UNKNOWN_SERVER_ERROR, or never answers"),
    (r"Ops.Value nan AlterClientQuotas ", "NaN is no number of bytes"),
    (r"PartitionIndex 0 DescribeQuorum ", "there is no Raft"),
    (r"UpdateFeatures ", "features follow from the brokers' versions; nobody sets them"),
    (r"SubscribedTopicRegex .* ConsumerGroupHeartbeat v\d: (Assignment|MemberEpoch)", "an expression is matched within its heartbeat; Kafka's coordinator does it later"),
    (r"bytes_\w+\[\d+\] bytes \w+ v\d+: byte \d+ of \d+ is 128", "only -1 is null: other negative lengths end the connection"),
    (r"bytes_Produce\[\d+\] bytes Produce v\d+: byte \d+ of \d+ is 0", "Kafka never answers a produce request without records"),
    (r"Cursor.PartitionIndex 2147483647 DescribeTopicPartitions ", "a partition that there is not: the topic is told of without one"),
]

_used = set()


def expected(where):
    hit = False
    for i, (pattern, _) in enumerate(KNOWN + WIDE):
        if re.search(pattern, where):
            _used.add(i)
            hit = True
    return hit


# Differ by chance.
SOMETIMES = ("fetch_sessions",)


def unused():
    return [KNOWN[i][0] for i in range(len(KNOWN)) if i not in _used and not KNOWN[i][0].startswith(SOMETIMES)]
