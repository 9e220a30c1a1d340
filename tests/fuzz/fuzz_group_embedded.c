/* What members of classic groups tell each other: anybody's bytes, read when a group is converted and
 * whenever a classic member joins a group of the consumer protocol. */
#include "group/consumer_int.h"

#include <floe/base/assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void subscription(struct floe_kbytes in, struct floe_arena *a)
{
    const embedded_subscription *v = embedded_read_subscription(in, a);
    member_meta meta;
    if (!v)
        return;
    FLOE_ASSERT(v->Topics_n >= 0 && v->OwnedPartitions_n >= 0);
    consumer_set_names(&meta, v->Topics, v->Topics_n, a);
    FLOE_ASSERT(meta.SubscribedTopicNames_n <= v->Topics_n);
    for (int32_t i = 1; i < meta.SubscribedTopicNames_n; i++)
        FLOE_ASSERT(!floe_kstr_eq(meta.SubscribedTopicNames[i - 1], meta.SubscribedTopicNames[i]));
}

static void topics(struct floe_kbytes in, struct floe_arena *a)
{
    struct floe_kafka_JoinGroupRequest_JoinGroupRequestProtocol p = {.Name = floe_kstr("range"),
                                                                     .Metadata = in};
    struct floe_kafka_JoinGroupRequest rq = {
        .ProtocolType = floe_kstr(EMBEDDED_PROTOCOL_TYPE), .Protocols = &p, .Protocols_n = 1};
    uint32_t n;
    const struct floe_kstr *names = floe_group_join_topics(&rq, &n, a);
    size_t bytes = 0;
    for (uint32_t i = 0; i < n; i++)
        bytes += (size_t)FLOE_MAX(names[i].n, 0);
    FLOE_ASSERT(bytes <= (size_t)in.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct floe_kbytes in = {data, (int32_t)FLOE_MIN(n, (size_t)1 << 20)};
    struct floe_arena a;
    int16_t version = embedded_version(in);
    FLOE_ASSERT(version >= 0 && version <= 3);
    floe_arena_init(&a, 64u << 20);
    subscription(in, &a);
    (void)embedded_read_assignment(in, &a);
    topics(in, &a);
    floe_arena_fini(&a);
    return 0;
}
