/* Conversion of groups that have members (KIP-848): a classic one when a member of the consumer protocol
 * joins, and back when the last of these is gone. Offsets are the group's and stay.
 *
 * To the consumer protocol: each member keeps what it has, the generation becomes the epoch of all. What a
 * member has is its share of the last generation and what it said it owned when it joined, unless that is
 * another's share. Then the joiner's own operation makes a new epoch, and everybody goes on from there.
 *
 * To the classic one: the epoch becomes the generation, and a rebalance begins; until a member has joined it
 * may go on in the epoch that it knows, and knows the protocols that it knew. The record names one of them,
 * and names no leader, which tells a successor that the
 * rebalance is still to come. */
#include "classic_int.h"
#include "consumer_int.h"

#include <floe/base/log.h>
#include <floe/base/mutant.h>

#include <stdlib.h>

static const struct floe_group_settings *settings(const struct group_shard *s)
{
    return &s->g->cfg.set;
}

/* Texts of records must not lie in what the records replace. */
static struct floe_kstr text(struct floe_arena *a, const char *s)
{
    struct floe_kstr out = group_arena_str(a, s);
    FLOE_ASSERT(!s || out.n >= 0);
    return out;
}
static struct floe_kbytes bytes(struct floe_arena *a, const uint8_t *p, int32_t n)
{
    uint8_t *copy = consumer_alloc(a, (size_t)FLOE_MAX(n, 0), 1);
    if (n > 0)
        memcpy(copy, p, (size_t)n);
    return (struct floe_kbytes){copy, FLOE_MAX(n, 0)};
}
static struct floe_kstr copy_text(struct floe_arena *a, struct floe_kstr s)
{
    struct floe_kbytes b = bytes(a, (const uint8_t *)s.p, s.n);
    return s.n < 0 ? floe_kstr(NULL) : floe_kstr_n((const char *)b.p, (size_t)b.n);
}

/* ---- to the consumer protocol -----------------------------------------------------------------------------
 */

struct settler { /* a member of the classic group */
    struct floe_kstr id;
    member_meta meta;
    int32_t epoch;
    struct parts share, owned; /* of the last generation; as it said when it joined */
    struct parts has;
};

static const char *refused(const struct classic *c, struct floe_kstr instance, int16_t *error)
{
    const struct group_shard *s = c->g->shard;
    *error = FLOE_KERR_GROUP_ID_NOT_FOUND;
    if (!(settings(s)->migration & FLOE_GROUP_MIGRATION_UPGRADE))
        return "The group is a classic group, and group.consumer.migration.policy does not permit to upgrade "
               "it.";
    if (!c->protocol_type || strcmp(c->protocol_type, EMBEDDED_PROTOCOL_TYPE) != 0)
        return "The group is a classic group of another protocol type than consumer.";
    if (c->count > settings(s)->consumer_size_max)
        return "The group is a classic group with more members than group.consumer.max.size.";
    if (c->count == settings(s)->consumer_size_max && !classic_static_find(c, instance)) {
        *error = FLOE_KERR_GROUP_MAX_SIZE_REACHED;
        return "The consumer group has reached its maximum capacity.";
    }
    *error = 0;
    return NULL;
}

static classic_meta *protocols_of(const struct classic_member *m, struct floe_arena *a)
{
    classic_meta *v = consumer_alloc(a, 1, sizeof *v);
    v->SessionTimeoutMs = (int32_t)FLOE_MIN(m->session_ms, (uint32_t)INT32_MAX);
    v->SupportedProtocols = consumer_alloc(a, (size_t)m->protocol_count, sizeof *v->SupportedProtocols);
    for (int32_t i = 0; i < m->protocol_count; i++)
        v->SupportedProtocols[v->SupportedProtocols_n++] = (classic_meta_protocol){
            text(a, m->protocols[i].name), bytes(a, m->protocols[i].metadata, m->protocols[i].metadata_n)};
    return v;
}

/* What may exist and is not known here would be nobody's. */
static bool unsure(const struct classic *c, const embedded_subscription *sub,
                   const embedded_assignment *share)
{
    struct group_shard *s = c->g->shard;
    uint64_t since = FLOE_MAX(s->loaded_us, c->divided_us);
    for (int32_t i = 0; i < sub->Topics_n; i++)
        if (consumer_topic_unsure(s, sub->Topics[i], since))
            return true;
    for (int32_t i = 0; i < sub->OwnedPartitions_n; i++)
        if (consumer_topic_unsure(s, sub->OwnedPartitions[i].Topic, since))
            return true;
    for (int32_t i = 0; share && i < share->AssignedPartitions_n; i++)
        if (consumer_topic_unsure(s, share->AssignedPartitions[i].Topic, since))
            return true;
    return false;
}

/* Assignors that take no user data with a share. librdkafka's leaders send there what the subscription had.
 */
static bool is_stock(const char *protocol)
{
    static const char *const stock[] = {"range", "roundrobin", "sticky", "cooperative-sticky"};
    for (size_t i = 0; i < FLOE_COUNTOF(stock); i++)
        if (strcmp(protocol, stock[i]) == 0)
            return true;
    return false;
}

static int16_t read_member(const struct classic_member *m, struct settler *out, struct floe_arena *a,
                           const char **why)
{
    const struct classic *c = m->c;
    struct floe_catalog *topics = c->g->shard->g->cfg.catalog;
    const struct classic_protocol *p = classic_protocol_of(m, c->protocol);
    if (!p && m->protocol_count > 0)
        p = &m->protocols[0];
    const embedded_subscription *sub =
        p ? embedded_read_subscription(bytes(a, p->metadata, p->metadata_n), a) : NULL;
    const embedded_assignment *share =
        m->assignment_n > 0 ? embedded_read_assignment(bytes(a, m->assignment, m->assignment_n), a) : NULL;
    if (!sub || (m->assignment_n > 0 && !share)) {
        *why = "The group is a classic group whose embedded consumer protocol is malformed.";
        return FLOE_KERR_GROUP_ID_NOT_FOUND;
    }
    if (share && share->UserData.n > 0 && !is_stock(p->name)) { /* its meaning would be lost */
        *why = "The group is a classic group with an unsupported custom assignor.";
        return FLOE_KERR_GROUP_ID_NOT_FOUND;
    }
    if (unsure(c, sub, share))
        return FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS;
    floe_kafka_defaults(&floe_kafka_ConsumerGroupMemberMetadataValue_desc, &out->meta);
    out->id = text(a, m->id);
    out->epoch = m->former >= 0 ? m->former : c->generation;
    out->meta.InstanceId = text(a, m->instance);
    out->meta.RackId = sub->RackId.n > 0 ? sub->RackId : floe_kstr(NULL);
    out->meta.ClientId = text(a, m->client_id ? m->client_id : "");
    out->meta.ClientHost = text(a, m->client_host ? m->client_host : "");
    out->meta.SubscribedTopicRegex = out->meta.ServerAssignor = floe_kstr(NULL);
    out->meta.RebalanceTimeoutMs = (int32_t)FLOE_MIN(m->rebalance_ms, (uint32_t)INT32_MAX);
    out->meta.ClassicMemberMetadata = protocols_of(m, a);
    consumer_set_names(&out->meta, sub->Topics, sub->Topics_n, a);
    if (share && !FLOE_MUTANT(GROUP_CONVERTED_SHARE_LOST))
        out->share = embedded_assigned(share, topics, a);
    if (!FLOE_MUTANT(GROUP_CONVERTED_OWNED_LOST))
        out->owned = embedded_owned(sub, topics, a);
    return 0;
}

struct claim {
    struct part p;
    uint32_t member;
    bool owned; /* not of its share */
};

static int by_claim(const void *x, const void *y)
{
    const struct claim *a = x, *b = y;
    int d = part_cmp(&a->p, &b->p);
    if (d || a->owned != b->owned)
        return d ? d : a->owned - b->owned;
    return (a->member > b->member) - (a->member < b->member);
}

/* Each partition is one member's at most: shares count for more than what was owned before. */
static void settle_claims(struct settler *m, uint32_t n, struct floe_arena *a)
{
    size_t all = 0, at = 0;
    for (uint32_t i = 0; i < n; i++)
        all += (size_t)m[i].share.n + m[i].owned.n;
    struct claim *claims = consumer_alloc(a, all, sizeof *claims);
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < m[i].share.n; k++)
            claims[at++] = (struct claim){m[i].share.p[k], i, false};
        for (uint32_t k = 0; k < m[i].owned.n; k++)
            claims[at++] = (struct claim){m[i].owned.p[k], i, true};
        m[i].has.p = consumer_alloc(a, (size_t)m[i].share.n + m[i].owned.n, sizeof *m[i].has.p);
    }
    if (all > 1)
        qsort(claims, all, sizeof *claims, by_claim);
    for (size_t i = 0; i < all; i++) {
        struct parts *has = &m[claims[i].member].has;
        if (i == 0 || part_cmp(&claims[i - 1].p, &claims[i].p) != 0)
            has->p[has->n++] = claims[i].p;
    }
}

static void put_members(struct change *x, const struct settler *m, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct consumer_current now = {.epoch = m[i].epoch, .previous = m[i].epoch, .assigned = m[i].has};
        change_member(x, m[i].id, &m[i].meta);
        change_target(x, m[i].id, &m[i].has);
        change_current(x, m[i].id, &now);
    }
}

static int16_t upgrade(struct group_shard *s, struct floe_kstr name, struct floe_kstr instance,
                       const char **why)
{
    struct classic *c = group_find(s, name)->classic;
    struct change x;
    uint32_t n = 0;
    int16_t error;
    *why = refused(c, instance, &error);
    if (error)
        return error;
    change_begin(&x, s, name);
    uint32_t names = 0;
    struct settler *m = consumer_alloc(&x.a, c->count, sizeof *m);
    FLOE_LIST_EACH(it, &c->members)
    {
        error = read_member(FLOE_LIST_ENTRY(it, struct classic_member, link), &m[n++], &x.a, why);
        names += error ? 0 : (uint32_t)FLOE_MAX(m[n - 1].meta.SubscribedTopicNames_n, 0);
        if (!error && names > GROUP_ALL_NAMES_MAX) {
            *why = "The group is a classic group whose members' subscriptions are too large to convert it.";
            error = FLOE_KERR_GROUP_MAX_SIZE_REACHED;
        }
        if (error) {
            change_drop(&x);
            return error;
        }
    }
    settle_claims(m, n, &x.a);
    change_end_classic(&x);
    change_group(&x, c->generation, 0);
    change_target_epoch(&x, c->generation);
    put_members(&x, m, n);
    c->end_error = FLOE_KERR_REBALANCE_IN_PROGRESS;
    if (!change_commit(&x)) {
        c->end_error = FLOE_KERR_NOT_COORDINATOR;
        *why = "The group is a classic group whose members' subscriptions are too large to convert it.";
        return FLOE_KERR_UNKNOWN_SERVER_ERROR;
    }
    consumer_loaded(group_find(s, name));
    floe_log_info("group", "group %.*s: converted from the classic to the consumer protocol, %u members",
                  name.n, name.p, n);
    return 0;
}

int16_t migrate_upgrade(struct group_shard *s, struct floe_kstr name, struct floe_kstr instance,
                        const char **why)
{
    int16_t error = upgrade(s, name, instance, why);
    if (error)
        floe_log_debug("group", "group %.*s is not converted to the consumer protocol: %s", name.n, name.p,
                       *why ? *why : floe_kafka_error_name(error));
    return error;
}

/* ---- to the classic protocol ------------------------------------------------------------------------------
 */

static bool stays(const struct consumer_member *m, struct floe_kstr leaving)
{
    return !m->leaving && (leaving.n < 0 || !floe_kstr_is(leaving, m->id));
}

static const classic_meta_protocol *protocol_of(const struct consumer_member *m, struct floe_kstr name)
{
    const classic_meta *v = m->meta->ClassicMemberMetadata;
    for (int32_t i = 0; i < v->SupportedProtocols_n; i++)
        if (floe_kstr_eq(v->SupportedProtocols[i].Name, name))
            return &v->SupportedProtocols[i];
    return NULL;
}

/* The first of the first one's that all know; null: there is none. Their votes count in the rebalance. */
static struct floe_kstr common_protocol(const struct consumer *c, struct floe_kstr leaving)
{
    const classic_meta *first = NULL;
    FLOE_LIST_EACH(it, &c->members)
    {
        const struct consumer_member *m = FLOE_LIST_ENTRY(it, struct consumer_member, link);
        if (!first && stays(m, leaving))
            first = m->meta->ClassicMemberMetadata;
    }
    for (int32_t i = 0; first && i < first->SupportedProtocols_n; i++) {
        bool all = true;
        FLOE_LIST_EACH(it, &c->members)
        {
            const struct consumer_member *m = FLOE_LIST_ENTRY(it, struct consumer_member, link);
            all = all && (!stays(m, leaving) || protocol_of(m, first->SupportedProtocols[i].Name));
        }
        if (all)
            return first->SupportedProtocols[i].Name;
    }
    return floe_kstr(NULL);
}

bool migrate_may_downgrade(const struct consumer *c, struct floe_kstr leaving)
{
    const struct floe_group_settings *set = settings(c->g->shard);
    uint32_t n = 0;
    if (!(set->migration & FLOE_GROUP_MIGRATION_DOWNGRADE))
        return false;
    FLOE_LIST_EACH(it, &c->members)
    {
        const struct consumer_member *m = FLOE_LIST_ENTRY(it, struct consumer_member, link);
        if (!stays(m, leaving))
            continue;
        if (!consumer_is_classic(m))
            return false;
        n++;
    }
    return n > 0 && n <= set->size_max && common_protocol(c, leaving).n >= 0;
}

static void write_member(const struct consumer_member *m, struct floe_kstr protocol,
                         struct floe_kafka_GroupMetadataValue_MemberMetadata *out, struct floe_arena *a)
{
    struct floe_catalog *topics = m->c->g->shard->g->cfg.catalog;
    const classic_meta_protocol *p = protocol_of(m, protocol);
    struct parts has = parts_union(&m->now.assigned, &m->now.revoking, a);
    floe_kafka_struct_defaults(&floe_kafka_GroupMetadataValue_MemberMetadata_desc, out);
    out->MemberId = text(a, m->id);
    out->GroupInstanceId = copy_text(a, m->meta->InstanceId);
    out->ClientId = copy_text(a, m->meta->ClientId);
    out->ClientHost = copy_text(a, m->meta->ClientHost);
    out->RebalanceTimeout = m->meta->RebalanceTimeoutMs;
    out->SessionTimeout = m->meta->ClassicMemberMetadata->SessionTimeoutMs;
    out->Subscription = bytes(a, p->Metadata.p, p->Metadata.n);
    out->Assignment = embedded_write_assignment(&has, embedded_version(out->Subscription), topics, a);
    if (out->Assignment.n < 0)
        out->Assignment = (struct floe_kbytes){NULL, 0};
}

/* What the record does not say of a member. */
struct former {
    int32_t epoch;
    struct floe_kafka_JoinGroupRequest joined; /* its protocols */
};

static struct former former_of(const struct consumer_member *m, struct floe_arena *a)
{
    const classic_meta *v = m->meta->ClassicMemberMetadata;
    struct former out = {.epoch = m->now.epoch};
    out.joined.Protocols = consumer_alloc(a, (size_t)v->SupportedProtocols_n, sizeof *out.joined.Protocols);
    for (int32_t i = 0; i < v->SupportedProtocols_n; i++) {
        const classic_meta_protocol *p = &v->SupportedProtocols[i];
        out.joined.Protocols[out.joined.Protocols_n++] =
            (struct floe_kafka_JoinGroupRequest_JoinGroupRequestProtocol){
                copy_text(a, p->Name), bytes(a, p->Metadata.p, p->Metadata.n)};
    }
    return out;
}

/* `former`: its members, in their order. */
static void go_on(struct group *g, const struct former *former)
{
    FLOE_LIST_EACH(it, &g->classic->members)
    {
        struct classic_member *m = FLOE_LIST_ENTRY(it, struct classic_member, link);
        m->former = former->epoch;
        FLOE_ASSERT(classic_set_protocols(m, &former->joined));
        classic_member_charge(m);
        former++;
    }
    classic_loaded(g);
    floe_log_info("group", "group %s: converted from the consumer to the classic protocol, %u members",
                  g->name, g->classic->count);
}

bool migrate_downgrade(struct consumer *c, struct floe_kstr leaving)
{
    struct group_shard *s = c->g->shard;
    struct floe_kafka_GroupMetadataValue v;
    char *name = group_strdup(floe_kstr(c->g->name));
    struct floe_arena kept;
    struct change x;
    int32_t n = 0;
    FLOE_ASSERT(name);
    floe_arena_init(&kept, SIZE_MAX / 2);
    struct former *former = consumer_alloc(&kept, c->count, sizeof *former);
    change_begin(&x, s, floe_kstr(name));
    floe_kafka_defaults(&floe_kafka_GroupMetadataValue_desc, &v);
    v.ProtocolType = floe_kstr(EMBEDDED_PROTOCOL_TYPE);
    v.Generation = c->epoch;
    v.Protocol = copy_text(&x.a, common_protocol(c, leaving));
    v.Leader = floe_kstr(NULL);
    v.CurrentStateTimestamp = group_wall_ms(s->g);
    v.Members = consumer_alloc(&x.a, c->count, sizeof *v.Members);
    FLOE_LIST_EACH(it, &c->members)
    {
        const struct consumer_member *m = FLOE_LIST_ENTRY(it, struct consumer_member, link);
        if (!stays(m, leaving) || (FLOE_MUTANT(GROUP_CONVERTED_MEMBER_LOST) && n == 1))
            continue;
        write_member(m, v.Protocol, &v.Members[v.Members_n++], &x.a);
        former[n++] = former_of(m, &kept);
    }
    change_to_classic(&x, c, &v);
    bool ok = change_commit(&x);
    if (ok)
        go_on(group_find(s, floe_kstr(name)), former);
    free(name);
    floe_arena_fini(&kept);
    return ok;
}
