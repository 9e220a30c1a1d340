/* Classic groups in the journal: GroupMetadata records, and what a member subscribes to. */
#include "classic_int.h"
#include "consumer_int.h"

#include <stdlib.h>

typedef struct floe_kafka_GroupMetadataValue_MemberMetadata member_value;

static void member_to(const struct classic *c, const struct classic_member *m, member_value *v)
{
    const struct classic_protocol *p = classic_protocol_of(m, c->protocol);
    v->MemberId = floe_kstr(m->id);
    v->GroupInstanceId = floe_kstr(m->instance);
    v->ClientId = floe_kstr(m->client_id);
    v->ClientHost = floe_kstr(m->client_host);
    v->RebalanceTimeout = (int32_t)m->rebalance_ms;
    v->SessionTimeout = (int32_t)m->session_ms;
    v->Subscription = p ? (struct floe_kbytes){p->metadata, p->metadata_n} : (struct floe_kbytes){NULL, 0};
    v->Assignment = (struct floe_kbytes){m->assignment, m->assignment_n};
}

/* The group as it is; `members` is the caller's to free. */
static bool value_of(const struct classic *c, struct floe_kafka_GroupMetadataValue *v, member_value **members)
{
    *members = calloc((size_t)c->count + 1, sizeof **members);
    if (!*members)
        return false;
    floe_kafka_defaults(&floe_kafka_GroupMetadataValue_desc, v);
    v->ProtocolType = floe_kstr(c->protocol_type ? c->protocol_type : "");
    v->Generation = c->generation;
    v->Protocol = floe_kstr(c->protocol);
    v->Leader = floe_kstr(c->leader);
    v->CurrentStateTimestamp = c->state_ms;
    v->Members = *members;
    FLOE_LIST_EACH(it, &c->members)
    {
        member_value *m = &(*members)[v->Members_n++];
        floe_kafka_struct_defaults(&floe_kafka_GroupMetadataValue_MemberMetadata_desc, m);
        member_to(c, FLOE_LIST_ENTRY(it, struct classic_member, link), m);
    }
    return true;
}

static bool put_value(struct group *g, const struct floe_kafka_GroupMetadataValue *v, bool urgent)
{
    struct floe_kafka_GroupMetadataKey key = {.Group = floe_kstr(g->name)};
    journal_begin(g->shard);
    journal_put(g->shard, GROUP_REC_CLASSIC, &floe_kafka_GroupMetadataKey_desc, &key,
                &floe_kafka_GroupMetadataValue_desc, CLASSIC_VALUE_VERSION, v);
    return journal_end(g->shard, urgent);
}

bool classic_record(struct classic *c, bool urgent)
{
    struct floe_kafka_GroupMetadataValue v;
    member_value *members;
    c->state_ms = group_wall_ms(c->g->shard->g);
    if (!value_of(c, &v, &members))
        return false;
    bool ok = put_value(c->g, &v, urgent);
    free(members);
    if (ok) {
        floe_writer_fini(&c->kept);
        members_charge(c->g->shard->g, &c->kept_charged, 0);
    }
    return ok;
}

void classic_keep(struct classic *c)
{
    struct floe_kafka_GroupMetadataValue v;
    member_value *members;
    bool recorded = c->state == CLASSIC_STABLE || (c->state == CLASSIC_EMPTY && c->generation > 0);
    if (!recorded || !value_of(c, &v, &members))
        return;
    floe_writer_fini(&c->kept);
    floe_writer_init(&c->kept, GROUP_OP_BYTES_MAX);
    if (floe_kafka_encode(&floe_kafka_GroupMetadataValue_desc, CLASSIC_VALUE_VERSION, &v, &c->kept, NULL) !=
        FLOE_OK)
        floe_writer_fini(&c->kept);
    members_charge(c->g->shard->g, &c->kept_charged, c->kept.n);
    free(members);
}

void classic_snapshot(struct group *g)
{
    struct classic *c = g->classic;
    struct floe_arena a;
    void *v;
    if (c->state == CLASSIC_STABLE || c->state == CLASSIC_EMPTY) {
        (void)!classic_record(c, false);
        return;
    }
    /* In between, what the journal said last of the group holds until the next record. */
    floe_arena_init(&a, 4 * GROUP_OP_BYTES_MAX);
    if (c->kept.n > 0 && floe_kafka_decode(&floe_kafka_GroupMetadataValue_desc, CLASSIC_VALUE_VERSION,
                                           floe_slice(c->kept.p, c->kept.n), &a, &v, NULL) == FLOE_OK)
        (void)!put_value(g, v, false);
    floe_arena_fini(&a);
}

void classic_put_tombstones(struct group *g)
{
    struct floe_kafka_GroupMetadataKey key = {.Group = floe_kstr(g->name)};
    journal_put(g->shard, GROUP_REC_CLASSIC, &floe_kafka_GroupMetadataKey_desc, &key,
                &floe_kafka_GroupMetadataValue_desc, CLASSIC_VALUE_VERSION, NULL);
}

static void member_from(struct classic *c, const struct floe_kafka_GroupMetadataValue *v,
                        const member_value *in)
{
    struct classic_member *m = classic_member_add(c, in->MemberId, in->GroupInstanceId);
    struct floe_kafka_JoinGroupRequest_JoinGroupRequestProtocol p = {.Name = v->Protocol,
                                                                     .Metadata = in->Subscription};
    struct floe_kafka_JoinGroupRequest join = {.Protocols = &p, .Protocols_n = v->Protocol.n >= 0};
    classic_set_text(&m->client_id, in->ClientId);
    classic_set_text(&m->client_host, in->ClientHost);
    m->session_ms = (uint32_t)FLOE_MAX(in->SessionTimeout, 1);
    m->rebalance_ms = (uint32_t)(in->RebalanceTimeout >= 0 ? in->RebalanceTimeout : in->SessionTimeout);
    FLOE_ASSERT(classic_set_protocols(m, &join));
    m->assignment_n = FLOE_MAX(in->Assignment.n, 0);
    m->assignment = malloc((size_t)m->assignment_n + 1);
    FLOE_ASSERT(m->assignment);
    if (m->assignment_n > 0)
        memcpy(m->assignment, in->Assignment.p, (size_t)m->assignment_n);
    classic_member_charge(m);
}

void classic_replay(struct group_shard *s, const struct floe_kafka_GroupMetadataKey *k,
                    const struct floe_kafka_GroupMetadataValue *v)
{
    struct group *g = v ? group_make(s, k->Group) : group_find(s, k->Group);
    if (g)
        classic_free(g);
    if (g && v)
        consumer_free(g);
    if (!v) {
        if (g)
            group_drop_if_nothing(g);
        return;
    }
    struct classic *c = g ? classic_make(g) : NULL;
    FLOE_ASSERT(c);
    if (v->ProtocolType.n > 0)
        classic_set_text(&c->protocol_type, v->ProtocolType);
    c->generation = v->Generation;
    classic_set_text(&c->protocol, v->Protocol);
    c->state_ms = v->CurrentStateTimestamp;
    for (int32_t i = 0; i < v->Members_n; i++)
        member_from(c, v, &v->Members[i]);
    classic_set_text(&c->leader, v->Leader);
    c->state = c->count > 0 ? CLASSIC_STABLE : CLASSIC_EMPTY;
    if (c->count == 0)
        g->empty_since_ms = v->CurrentStateTimestamp;
}

void classic_loaded(struct group *g)
{
    struct classic *c = g->classic;
    FLOE_LIST_EACH(it, &c->members)
    {
        classic_member_touch(FLOE_LIST_ENTRY(it, struct classic_member, link));
    }
    if (c->leader || c->count == 0)
        return;
    classic_keep(
        c); /* it was one of the other protocol: nobody leads it, so nobody has divided its work yet */
    classic_prepare(c);
}

/* ---- subscriptions ------------------------------------------------------------------------------------ */

bool classic_subscriptions(const struct group *g, struct floe_kstr **names, uint32_t *n, struct floe_arena *a)
{
    const struct classic *c = g->classic;
    const embedded_subscription **sub = consumer_alloc(a, c->count, sizeof(void *));
    size_t all = 0;
    uint32_t k = 0;
    if (c->count == 0)
        return true;
    if (!c->protocol_type || strcmp(c->protocol_type, EMBEDDED_PROTOCOL_TYPE) != 0)
        return false;
    FLOE_LIST_EACH(it, &c->members)
    {
        const struct classic_protocol *p =
            classic_protocol_of(FLOE_LIST_ENTRY(it, struct classic_member, link), c->protocol);
        sub[k] = p ? embedded_read_subscription((struct floe_kbytes){p->metadata, p->metadata_n}, a) : NULL;
        if (!sub[k])
            return false;
        all += (size_t)FLOE_MAX(sub[k]->Topics_n, 0);
        k++;
    }
    *names = consumer_alloc(a, all, sizeof **names);
    for (uint32_t i = 0; i < k; i++)
        for (int32_t t = 0; t < sub[i]->Topics_n; t++)
            if (sub[i]->Topics[t].n >= 0)
                (*names)[(*n)++] = sub[i]->Topics[t];
    return true;
}

/* ---- as others see it --------------------------------------------------------------------------------- */

const char *classic_state(const struct group *g)
{
    static const char *const names[] = {"Empty", "PreparingRebalance", "CompletingRebalance", "Stable"};
    return g->classic ? names[g->classic->state] : "Empty";
}

struct floe_kstr classic_protocol_type(const struct group *g, struct floe_arena *a)
{
    return group_arena_str(a, g->classic && g->classic->protocol_type ? g->classic->protocol_type : "");
}

static struct floe_kbytes copy_bytes(struct floe_arena *a, const uint8_t *p, int32_t n)
{
    uint8_t *copy = floe_arena_alloc(a, (size_t)n);
    if (copy && n > 0)
        memcpy(copy, p, (size_t)n);
    return (struct floe_kbytes){copy, copy ? n : 0};
}

void classic_describe(struct group *g, struct floe_kafka_DescribeGroupsResponse_DescribedGroup *out,
                      struct floe_arena *a)
{
    const struct classic *c = g->classic;
    bool stable = c && c->state == CLASSIC_STABLE;
    out->GroupState = floe_kstr(classic_state(g));
    out->ProtocolType = classic_protocol_type(g, a);
    out->ProtocolData = group_arena_str(a, stable && c->protocol ? c->protocol : "");
    out->Members = floe_kafka_array(&floe_kafka_DescribeGroupsResponse_DescribedGroupMember_desc,
                                    c ? (int32_t)c->count : 0, a);
    if (!c || !out->Members)
        return;
    FLOE_LIST_EACH(it, &c->members)
    {
        const struct classic_member *m = FLOE_LIST_ENTRY(it, struct classic_member, link);
        struct floe_kafka_DescribeGroupsResponse_DescribedGroupMember *o = &out->Members[out->Members_n++];
        const struct classic_protocol *p = stable ? classic_protocol_of(m, c->protocol) : NULL;
        o->MemberId = group_arena_str(a, m->id);
        o->GroupInstanceId = group_arena_str(a, m->instance);
        o->ClientId = group_arena_str(a, m->client_id);
        o->ClientHost = group_arena_str(a, m->client_host);
        if (p)
            o->MemberMetadata = copy_bytes(a, p->metadata, p->metadata_n);
        o->MemberAssignment = copy_bytes(a, m->assignment, m->assignment_n);
    }
}
