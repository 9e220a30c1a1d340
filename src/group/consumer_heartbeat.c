/* ConsumerGroupHeartbeat 0–1. The rules are Apache Kafka's (KIP-848, KIP-1082). */
#include "consumer_int.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct floe_kafka_ConsumerGroupHeartbeatRequest beat_request;
typedef struct floe_kafka_ConsumerGroupHeartbeatResponse beat_response;
typedef struct floe_kafka_ConsumerGroupHeartbeatResponse_TopicPartitions beat_topic;

struct beat {
    struct floe_group_call *call;
    const beat_request *in;
    beat_response *rs;
    struct consumer_step s;
    struct parts owned;
    struct regex *regex; /* of the request; null: it has none */
};

static int16_t refuse(beat_response *rs, int16_t error, const char *why)
{
    rs->ErrorCode = error;
    rs->ErrorMessage = floe_kstr(why);
    return error;
}

static void failed(struct floe_group_call *c, int16_t error)
{
    beat_response *rs = c->response;
    *rs = (beat_response){.ErrorCode = error, .ErrorMessage = floe_kstr(NULL), .MemberId = floe_kstr(NULL)};
}

/* ---- what may not be ----------------------------------------------------------------------------------- */

static bool empty(struct floe_kstr s)
{
    return s.n == 0;
}

static const char *invalid_join(const beat_request *in)
{
    if (in->RebalanceTimeoutMs == -1)
        return "RebalanceTimeoutMs must be provided in first request.";
    if (in->TopicPartitions_n != 0)
        return "TopicPartitions must be empty when (re-)joining.";
    if (in->SubscribedTopicNames_n < 0 && in->SubscribedTopicRegex.n < 0)
        return "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.";
    return NULL;
}

static const char *invalid(const beat_request *in, int16_t version)
{
    bool known = in->MemberEpoch > 0 || in->MemberEpoch == CONSUMER_EPOCH_LEAVE || version >= 1;
    if (in->GroupId.n <= 0)
        return "GroupId can't be empty.";
    if (known && in->MemberId.n <= 0)
        return "MemberId can't be empty.";
    if (empty(in->InstanceId))
        return "InstanceId can't be empty.";
    if (!group_is_text(in->MemberId) || !group_is_text(in->InstanceId))
        return "MemberId and InstanceId can't contain a NUL.";
    if (empty(in->RackId))
        return "RackId can't be empty.";
    if (in->SubscribedTopicNames_n > GROUP_NAMES_MAX || in->TopicPartitions_n > GROUP_NAMES_MAX)
        return "SubscribedTopicNames and TopicPartitions can't have more than 20000 entries.";
    if (in->MemberEpoch == CONSUMER_EPOCH_STATIC_LEAVE && in->InstanceId.n < 0)
        return "InstanceId can't be null.";
    if (in->MemberEpoch < CONSUMER_EPOCH_STATIC_LEAVE)
        return "MemberEpoch is invalid.";
    return in->MemberEpoch == CONSUMER_EPOCH_JOIN ? invalid_join(in) : NULL;
}

#define REGEX_TOLD 1000 /* bytes of an expression that its refusal repeats */
#define REGEX_REFUSED "SubscribedTopicRegex `%.*s` is not a valid regular expression: %s."

/* Of one that takes too long to match the log may hear only when all names were looked at. */
static int16_t check_regex(struct beat *b, struct floe_groups *g)
{
    struct floe_kstr e = b->in->SubscribedTopicRegex;
    char why[REGEX_WHY];
    b->regex = regex_get(g, b->in->GroupId, e, why);
    if (b->regex)
        regex_look(g, b->regex);
    if (b->regex && (!b->regex->ready || b->regex->given_up == 0))
        return 0;
    if (b->regex)
        snprintf(why, sizeof why, "matching the names of all topics takes too many steps");
    int32_t told = FLOE_MIN(e.n, REGEX_TOLD); /* with a longest one no answer could be written */
    while (told < e.n && told > 0 && (e.p[told] & 0xC0) == 0x80)
        told--;
    int n = snprintf(NULL, 0, REGEX_REFUSED, told, e.p, why) + 1;
    char *text = floe_arena_alloc(b->call->arena, (size_t)n);
    if (text)
        snprintf(text, (size_t)n, REGEX_REFUSED, told, e.p, why);
    return refuse(b->rs, FLOE_KERR_INVALID_REGULAR_EXPRESSION, text);
}

/* A joiner's expression is looked at before its group is, which it may convert; that of a member after its
 * epoch, as in Kafka; that of one that leaves not at all. */
static bool has_regex(const beat_request *in, bool joins)
{
    return in->SubscribedTopicRegex.n > 0 && in->MemberEpoch >= 0 &&
           (in->MemberEpoch == CONSUMER_EPOCH_JOIN) == joins;
}

static int16_t check(struct beat *b, struct floe_groups *g)
{
    const beat_request *in = b->in;
    beat_response *rs = b->rs;
    const char *why = invalid(in, b->call->version);
    if (why)
        return refuse(rs, FLOE_KERR_INVALID_REQUEST, why);
    if (in->ServerAssignor.n >= 0 && !floe_kstr_is(in->ServerAssignor, "uniform") &&
        !floe_kstr_is(in->ServerAssignor, "range"))
        return refuse(rs, FLOE_KERR_UNSUPPORTED_ASSIGNOR,
                      "The ServerAssignor is not supported. Supported assignors: uniform, range.");
    return has_regex(in, true) ? check_regex(b, g) : 0;
}

/* Of one epoch behind is a member that did not hear the last answer: what it has must still be its. */
static int16_t check_epoch(const struct beat *b)
{
    const struct consumer_current *now = &b->s.m->now;
    int32_t epoch = b->in->MemberEpoch;
    if (epoch == CONSUMER_EPOCH_JOIN || epoch == now->epoch)
        return 0;
    if (epoch > now->epoch)
        return refuse(b->rs, FLOE_KERR_FENCED_MEMBER_EPOCH,
                      "The consumer group member has a greater member epoch than the one known by the group "
                      "coordinator. The member must abandon all its partitions and rejoin.");
    if (epoch != now->previous || b->in->TopicPartitions_n < 0 || !parts_subset(&b->owned, &now->assigned))
        return refuse(b->rs, FLOE_KERR_FENCED_MEMBER_EPOCH,
                      "The consumer group member has a smaller member epoch than the one known by the group "
                      "coordinator. The member must abandon all its partitions and rejoin.");
    return 0;
}

/* ---- who it is ------------------------------------------------------------------------------------------
 */

static int16_t find_static(struct beat *b)
{
    struct consumer_member *m = b->s.c ? consumer_static_find(b->s.c, b->in->InstanceId) : NULL;
    bool own = m && floe_kstr_is(b->s.id, m->id), joins = b->in->MemberEpoch == CONSUMER_EPOCH_JOIN;
    if (!m && joins)
        return 0;
    if (!m)
        return refuse(b->rs, FLOE_KERR_UNKNOWN_MEMBER_ID, "The instance id is unknown.");
    if (!own && !joins)
        return refuse(b->rs, FLOE_KERR_FENCED_INSTANCE_ID,
                      "The instance id is used by another member: this one is fenced.");
    if (joins && m->now.epoch != CONSUMER_EPOCH_STATIC_LEAVE &&
        !consumer_is_classic(m)) /* these never tell */
        return refuse(b->rs, FLOE_KERR_UNRELEASED_INSTANCE_ID,
                      "The instance id is still used by a member. It must leave first.");
    *(own ? &b->s.m : &b->s.old) = m;
    return 0;
}

/* May all members keep what this one asks for? */
static int16_t memory_for(const struct beat *b)
{
    const struct consumer_member *m = b->s.m ? b->s.m : b->s.old;
    struct floe_groups *g = b->call->g;
    size_t asks = 0;
    if (!m)
        return members_room(g);
    for (int32_t i = 0; i < b->in->SubscribedTopicNames_n; i++)
        asks += sizeof(struct floe_kstr) + (size_t)FLOE_MAX(b->in->SubscribedTopicNames[i].n, 0) + 1;
    return asks > m->meta_bytes ? members_growth(g, asks - m->meta_bytes) : 0;
}

static int16_t find_member(struct beat *b)
{
    struct floe_groups *g = b->call->g;
    int16_t error;
    if (b->in->InstanceId.n >= 0 && (error = find_static(b)) != 0)
        return error;
    if (!b->s.m && !b->s.old && b->s.c)
        b->s.m = consumer_member_find(b->s.c, b->s.id);
    if (!b->s.m && b->in->MemberEpoch != CONSUMER_EPOCH_JOIN)
        return refuse(b->rs, FLOE_KERR_UNKNOWN_MEMBER_ID, "The member is not a member of the group.");
    if (!b->s.m && !b->s.old && b->s.c && b->s.c->count >= g->cfg.set.consumer_size_max)
        return refuse(b->rs, FLOE_KERR_GROUP_MAX_SIZE_REACHED,
                      "The consumer group has reached its maximum capacity.");
    if ((error = memory_for(b)) != 0)
        return refuse(b->rs, error, "Members of groups fill their share of the broker's memory.");
    return b->s.m && b->in->MemberEpoch >= 0 ? check_epoch(b) : 0;
}

/* The group's state of the new protocol; null: it has none yet. */
static int16_t find_group(struct beat *b, struct group_shard *s)
{
    struct floe_groups *groups = b->call->g;
    const beat_request *in = b->in;
    struct group *g = group_find(s, in->GroupId);
    bool joins = in->MemberEpoch == CONSUMER_EPOCH_JOIN;
    if (joins && consumer_lookup_failed(b->call, groups->cfg.catalog, in->SubscribedTopicNames,
                                        in->SubscribedTopicNames_n))
        return refuse(b->rs, FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS, NULL);
    if (g && g->kind == GROUP_CLASSIC && joins && classic_member_count(g) == 0) {
        change_end_classic(&b->s.x);
    } else if (g && g->kind == GROUP_CLASSIC && joins) {
        const char *why = NULL;
        int16_t error = migrate_upgrade(s, in->GroupId, in->InstanceId, &why);
        if (error)
            return refuse(b->rs, error, why);
        g = group_find(s, in->GroupId);
    } else if (g && g->kind == GROUP_CLASSIC) {
        return refuse(b->rs, FLOE_KERR_GROUP_ID_NOT_FOUND, "The group is not a consumer group.");
    }
    if (g && g->kind == GROUP_CONSUMER)
        b->s.c = g->consumer;
    if (!b->s.c && !joins)
        return refuse(b->rs, FLOE_KERR_GROUP_ID_NOT_FOUND, "The group is not found.");
    return 0;
}

/* ---- what it wants --------------------------------------------------------------------------------------
 */

/* What the request does not tell stays as it was. */
static const member_meta *merge(struct beat *b)
{
    const struct consumer_member *from = b->s.m ? b->s.m : b->s.old;
    const beat_request *in = b->in;
    member_meta *v = consumer_alloc(&b->s.x.a, 1, sizeof *v);
    floe_kafka_defaults(&floe_kafka_ConsumerGroupMemberMetadataValue_desc, v);
    v->InstanceId = v->RackId = v->SubscribedTopicRegex = v->ServerAssignor = floe_kstr(NULL);
    if (from)
        *v = *from->meta;
    v->ClassicMemberMetadata = NULL; /* from now on it speaks this protocol */
    if (in->InstanceId.n >= 0)
        v->InstanceId = in->InstanceId;
    if (in->RackId.n >= 0)
        v->RackId = in->RackId;
    if (in->RebalanceTimeoutMs != -1)
        v->RebalanceTimeoutMs = in->RebalanceTimeoutMs;
    if (in->ServerAssignor.n >= 0)
        v->ServerAssignor = in->ServerAssignor;
    if (in->SubscribedTopicNames_n >= 0)
        consumer_set_names(v, in->SubscribedTopicNames, in->SubscribedTopicNames_n, &b->s.x.a);
    if (in->SubscribedTopicRegex.n >= 0) /* an empty one: none from now on */
        v->SubscribedTopicRegex = in->SubscribedTopicRegex.n > 0 ? in->SubscribedTopicRegex : floe_kstr(NULL);
    v->ClientId = b->call->client_id.n >= 0 ? b->call->client_id : floe_kstr("");
    v->ClientHost = floe_kstr(b->call->client_host);
    return v;
}

static bool tell_assignment(struct beat *b, const struct parts *assigned)
{
    struct floe_arena *a = b->call->arena;
    int32_t n = parts_topics(assigned);
    struct floe_kafka_ConsumerGroupHeartbeatResponse_Assignment *out =
        floe_kafka_array(&floe_kafka_ConsumerGroupHeartbeatResponse_Assignment_desc, 1, a);
    beat_topic *t = floe_kafka_array(&floe_kafka_ConsumerGroupHeartbeatResponse_TopicPartitions_desc, n, a);
    if (!out || !t)
        return false;
    out->TopicPartitions = t;
    for (uint32_t i = 0, end; i < assigned->n; i = end, t++) {
        end = parts_topic_end(assigned, i);
        t->TopicId = assigned->p[i].topic;
        t->Partitions = floe_arena_alloc(a, (end - i) * sizeof *t->Partitions);
        if (!t->Partitions)
            return false;
        for (uint32_t k = i; k < end; k++)
            t->Partitions[t->Partitions_n++] = assigned->p[k].index;
    }
    out->TopicPartitions_n = n;
    b->rs->Assignment = out;
    return true;
}

/* Each step of a member's way is a heartbeat: what one gives back at its next, another hears of at its own.
 * So while a group is on the move, and for as long after as it takes everybody to hear of it, members come
 * more often. */
static int32_t heartbeat_ms(const struct consumer *c, const struct consumer_member *m)
{
    const struct floe_groups *g = c->g->shard->g;
    uint32_t ms = consumer_setting(g, floe_kstr(c->g->name), "consumer.heartbeat.interval.ms",
                                   g->cfg.set.consumer_heartbeat_ms);
    bool moving = m->now.state == MEMBER_UNRELEASED || (m->regex && !m->regex->ready) ||
                  (c->moved_us > 0 && group_now_us(g) - c->moved_us < ms * 1000ull);
    return (int32_t)(moving ? FLOE_MIN(ms, CONSUMER_HURRY_MS) : ms);
}

static void heartbeat(struct beat *b, struct group_shard *s)
{
    const beat_request *in = b->in;
    struct floe_group_call *call = b->call;
    struct consumer_current before = b->s.m ? b->s.m->now : (struct consumer_current){.epoch = 0};
    struct consumer_current next = consumer_step(&b->s, merge(b));
    /* Of a member that is behind, or tells everything, nobody knows what it heard last. */
    bool full =
        in->MemberEpoch != before.epoch || in->MemberEpoch == CONSUMER_EPOCH_JOIN ||
        (in->RebalanceTimeoutMs != -1 &&
         (in->SubscribedTopicNames_n >= 0 || in->SubscribedTopicRegex.n >= 0) && in->TopicPartitions_n >= 0);
    bool revoking = next.state == MEMBER_UNREVOKED &&
                    (before.state != MEMBER_UNREVOKED || !parts_eq(&next.revoking, &before.revoking));
    b->rs->MemberId = b->s.id;
    b->rs->MemberEpoch = next.epoch;
    if ((full || !b->s.m || !parts_eq(&next.assigned, &before.assigned)) &&
        !tell_assignment(b, &next.assigned)) {
        change_drop(&b->s.x);
        call->response = NULL;
        group_answer(call);
        return;
    }
    if (!change_commit(&b->s.x)) {
        failed(call, FLOE_KERR_UNKNOWN_SERVER_ERROR);
        group_answer(call);
        return;
    }
    struct group *g = group_find(s, in->GroupId);
    struct consumer_member *m = consumer_member_find(g->consumer, b->s.id);
    b->rs->HeartbeatIntervalMs = heartbeat_ms(g->consumer, m);
    consumer_member_touch(m);
    consumer_member_watch(m, revoking);
    group_answer_committed(s, call, failed);
}

/* ---- leaving ------------------------------------------------------------------------------------------- */

static void leave(struct beat *b, struct group_shard *s)
{
    struct floe_group_call *call = b->call;
    bool ok;
    b->rs->MemberId = b->s.id;
    b->rs->MemberEpoch = b->in->MemberEpoch;
    if (b->in->MemberEpoch == CONSUMER_EPOCH_STATIC_LEAVE) { /* until its session ends, its share is kept */
        struct consumer_current gone = b->s.m->now;
        gone.epoch = CONSUMER_EPOCH_STATIC_LEAVE;
        gone.state = MEMBER_STABLE;
        gone.revoking = (struct parts){NULL, 0};
        change_current(&b->s.x, b->s.id, &gone);
        floe_timer_stop(&b->s.m->revoke);
        b->s.m->late_revoke = false;
        ok = change_commit(&b->s.x);
    } else {
        change_drop(&b->s.x);
        ok = consumer_remove(b->s.c, b->s.id);
    }
    if (!ok) {
        failed(call, FLOE_KERR_UNKNOWN_SERVER_ERROR);
        group_answer(call);
        return;
    }
    group_answer_committed(s, call, failed);
}

/* ---- the request ----------------------------------------------------------------------------------------
 */

static bool read_owned(struct beat *b)
{
    const beat_request *in = b->in;
    size_t n = 0;
    for (int32_t i = 0; i < in->TopicPartitions_n; i++)
        n += (size_t)FLOE_MAX(in->TopicPartitions[i].Partitions_n, 0);
    b->owned.p = floe_arena_calloc(b->call->arena, n, sizeof *b->owned.p);
    if (!b->owned.p)
        return false;
    for (int32_t i = 0; i < in->TopicPartitions_n; i++)
        for (int32_t k = 0; k < in->TopicPartitions[i].Partitions_n; k++)
            b->owned.p[b->owned.n++] =
                (struct part){in->TopicPartitions[i].TopicId, in->TopicPartitions[i].Partitions[k]};
    parts_sort(&b->owned);
    b->s.owned = in->TopicPartitions_n >= 0 ? &b->owned : NULL;
    return true;
}

/* Clients of version 0 may leave their id to the coordinator. */
static struct floe_kstr member_id(struct floe_groups *g, struct floe_group_call *call, struct floe_kstr given)
{
    struct floe_uuid u;
    char text[23];
    if (given.n > 0)
        return given;
    floe_rng_uuid(&g->cfg.loop->rng, &u);
    floe_uuid_b64(text, &u);
    return group_arena_str(call->arena, text);
}

/* Is a topic that this member, or another, subscribes to not known, and may exist all the same? */
static bool topics_unsure(const struct beat *b)
{
    return consumer_lookup_failed(b->call, b->call->g->cfg.catalog, b->in->SubscribedTopicNames,
                                  b->in->SubscribedTopicNames_n) ||
           (b->s.c && consumer_topics_unsure(b->s.c));
}

static void answer(struct beat *b)
{
    struct floe_groups *g = b->call->g;
    struct floe_group_call *call = b->call;
    const beat_request *in = b->in;
    beat_response *rs = b->rs;
    struct group_shard *s;
    if (check(b, g) != 0) {
        group_answer(call);
        return;
    }
    rs->ErrorCode = groups_shard(g, in->GroupId, false, &s);
    /* What is not known of topics would look like topics that are gone. */
    if (!rs->ErrorCode && !floe_catalog_loaded(g->cfg.catalog))
        rs->ErrorCode = FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS;
    b->s.g = g;
    b->s.id = member_id(g, call, in->MemberId);
    if (rs->ErrorCode || b->s.id.n < 0 || !read_owned(b)) {
        call->response = rs->ErrorCode ? rs : NULL;
        group_answer(call);
        return;
    }
    change_begin(&b->s.x, s, in->GroupId);
    if (find_group(b, s) != 0 || find_member(b) != 0 || (has_regex(in, false) && check_regex(b, g) != 0)) {
        change_drop(&b->s.x);
        group_answer(call);
    } else if (in->SubscribedTopicNames_n > 0 &&
               !consumer_names_fit(b->s.c, b->s.m ? b->s.m : b->s.old, in->SubscribedTopicNames_n)) {
        (void)!refuse(rs, FLOE_KERR_GROUP_MAX_SIZE_REACHED,
                      "The members of the group name more than 1000000 topics.");
        change_drop(&b->s.x);
        group_answer(call);
    } else if (in->MemberEpoch >= 0 && topics_unsure(b)) {
        rs->ErrorCode = FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS;
        if (b->s.m)
            consumer_member_touch(b->s.m); /* it is there */
        change_drop(&b->s.x);
        group_answer(call);
    } else if (in->MemberEpoch < 0) {
        leave(b, s);
    } else {
        heartbeat(b, s);
    }
}

void floe_group_consumer_heartbeat(struct floe_groups *g, struct floe_group_call *call)
{
    call->g = g;
    struct beat b = {.call = call,
                     .in = call->request,
                     .rs = group_response(call, &floe_kafka_ConsumerGroupHeartbeatResponse_desc)};
    if (b.rs)
        answer(&b);
    else
        group_answer(call);
    regex_put(g, b.regex);
}
