#include "group_members.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

struct options o;
struct group *groups;
struct figures figures;
double told_ms;

double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

_Noreturn void die(const char *what)
{
    fprintf(stderr, "group_bench: %s\n", what);
    exit(1);
}

void refuse(const char *api, int16_t error)
{
    char text[128];
    snprintf(text, sizeof text, "%s: %s", api, floe_kafka_error_name(error));
    die(text);
}

double spread(double ms) /* some time within that */
{
    return ms * (double)rand() / RAND_MAX;
}

static struct floe_writer out;

/* ---- messages -------------------------------------------------------------------------------------------
 */

static const int versions[] = {
    [COMMIT] = 9, [JOIN] = 6, [HEARTBEAT] = 4, [LEAVE] = 4, [SYNC] = 4, [BEAT] = 1};

static void post(struct member *m, enum api api, const void *body)
{
    struct floe_error err;
    if (!out.max)
        floe_writer_init(&out, MESSAGE_MAX);
    out.n = 0;
    if (floe_kafka_request_frame(floe_kafka_api_find((int16_t)api), (int16_t)versions[api], ++m->correlation,
                                 floe_kstr("bench"), body, &out, &err))
        die(err.msg);
    for (size_t done = 0; done < out.n;) {
        ssize_t n = send(m->fd, out.p + done, out.n - done, MSG_NOSIGNAL);
        if (n <= 0)
            die("the broker takes nothing");
        done += (size_t)n;
    }
    m->busy = true;
    m->sent = api;
    m->sent_ms = now();
}

static int32_t *indexes(struct floe_arena *a, const uint16_t *from, int n)
{
    int32_t *p = floe_arena_calloc(a, (size_t)n, sizeof *p);
    for (int i = 0; i < n; i++)
        p[i] = from[i];
    return p;
}

/* Bytes of the consumer protocol behind their int16 of a version. */
static struct floe_kbytes wrap(struct floe_writer *w, const struct floe_kafka_msg *d, int16_t version,
                               const void *v)
{
    struct floe_error err;
    w->n = 0;
    floe_write_be16(w, (uint16_t)version);
    if (floe_kafka_encode(d, version, v, w, &err))
        die(err.msg);
    return (struct floe_kbytes){w->p, (int32_t)w->n};
}

static struct floe_kbytes subscription(const struct member *m, struct floe_writer *w, struct floe_arena *a)
{
    struct floe_kafka_ConsumerProtocolSubscription v;
    struct floe_kafka_ConsumerProtocolSubscription_TopicPartition t = {.Topic = floe_kstr(o.topic),
                                                                       .Partitions =
                                                                           indexes(a, m->owned, m->owned_n),
                                                                       .Partitions_n = m->owned_n};
    struct floe_kstr topic = floe_kstr(o.topic);
    floe_kafka_defaults(&floe_kafka_ConsumerProtocolSubscription_desc, &v);
    v.Topics = &topic;
    v.Topics_n = 1;
    v.OwnedPartitions = &t;
    v.OwnedPartitions_n = o.protocol == COOPERATIVE && m->owned_n ? 1 : 0;
    return wrap(w, &floe_kafka_ConsumerProtocolSubscription_desc, 1, &v);
}

static void post_join(struct member *m)
{
    struct floe_kafka_JoinGroupRequest rq;
    struct floe_kafka_JoinGroupRequest_JoinGroupRequestProtocol p = {
        .Name = floe_kstr(o.protocol == EAGER ? "range" : "cooperative-sticky")};
    struct floe_arena a;
    struct floe_writer w;
    floe_arena_init(&a, MESSAGE_MAX);
    floe_writer_init(&w, MESSAGE_MAX);
    floe_kafka_defaults(&floe_kafka_JoinGroupRequest_desc, &rq);
    if (o.protocol == EAGER)
        m->owned_n = 0;
    p.Metadata = subscription(m, &w, &a);
    rq.GroupId = floe_kstr(groups[m->group].name);
    rq.SessionTimeoutMs = 45000;
    rq.RebalanceTimeoutMs = 300000;
    rq.MemberId = floe_kstr(m->id);
    rq.GroupInstanceId = floe_kstr(NULL);
    rq.ProtocolType = floe_kstr("consumer");
    rq.Protocols = &p;
    rq.Protocols_n = 1;
    m->state = JOINING;
    m->rejoin = false;
    post(m, JOIN, &rq);
    floe_writer_fini(&w);
    floe_arena_fini(&a);
}

static void post_beat(struct member *m)
{
    struct floe_kafka_ConsumerGroupHeartbeatRequest rq;
    struct floe_kafka_ConsumerGroupHeartbeatRequest_TopicPartitions t = {.TopicId = o.topic_id};
    struct floe_kstr topic = floe_kstr(o.topic);
    struct floe_arena a;
    floe_arena_init(&a, MESSAGE_MAX);
    floe_kafka_defaults(&floe_kafka_ConsumerGroupHeartbeatRequest_desc, &rq);
    rq.GroupId = floe_kstr(groups[m->group].name);
    rq.MemberId = floe_kstr(m->id);
    rq.MemberEpoch = m->left ? -1 : m->epoch;
    if (m->state == JOINING && m->epoch == 0) {
        rq.RebalanceTimeoutMs = 300000;
        rq.SubscribedTopicNames = &topic;
        rq.SubscribedTopicNames_n = 1;
        rq.TopicPartitions_n = 0;
    } else if (m->ack && !m->left) {
        t.Partitions = indexes(&a, m->owned, m->owned_n);
        t.Partitions_n = m->owned_n;
        rq.TopicPartitions = &t;
        rq.TopicPartitions_n = m->owned_n ? 1 : 0;
    }
    m->ack = false;
    post(m, BEAT, &rq);
    floe_arena_fini(&a);
}

static void post_heartbeat(struct member *m)
{
    struct floe_kafka_HeartbeatRequest rq;
    floe_kafka_defaults(&floe_kafka_HeartbeatRequest_desc, &rq);
    rq.GroupId = floe_kstr(groups[m->group].name);
    rq.GenerationId = m->epoch;
    rq.MemberId = floe_kstr(m->id);
    post(m, HEARTBEAT, &rq);
}

static void post_leave(struct member *m)
{
    struct floe_kafka_LeaveGroupRequest rq;
    struct floe_kafka_LeaveGroupRequest_MemberIdentity who;
    floe_kafka_defaults(&floe_kafka_LeaveGroupRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_LeaveGroupRequest_MemberIdentity_desc, &who);
    rq.GroupId = floe_kstr(groups[m->group].name);
    who.MemberId = floe_kstr(m->id);
    rq.Members = &who;
    rq.Members_n = 1;
    post(m, LEAVE, &rq);
}

static void post_commit(struct member *m)
{
    struct floe_kafka_OffsetCommitRequest rq;
    struct floe_kafka_OffsetCommitRequest_OffsetCommitRequestTopic t;
    struct floe_arena a;
    floe_arena_init(&a, MESSAGE_MAX);
    floe_kafka_defaults(&floe_kafka_OffsetCommitRequest_desc, &rq);
    floe_kafka_struct_defaults(&floe_kafka_OffsetCommitRequest_OffsetCommitRequestTopic_desc, &t);
    t.Partitions =
        floe_kafka_array(&floe_kafka_OffsetCommitRequest_OffsetCommitRequestPartition_desc, m->owned_n, &a);
    t.Partitions_n = m->owned_n;
    t.Name = floe_kstr(o.topic);
    m->offset++;
    for (int i = 0; i < m->owned_n; i++) {
        t.Partitions[i].PartitionIndex = m->owned[i];
        t.Partitions[i].CommittedOffset = m->offset;
    }
    rq.GroupId = floe_kstr(groups[m->group].name);
    rq.GenerationIdOrMemberEpoch = m->epoch;
    rq.MemberId = floe_kstr(m->id);
    rq.Topics = &t;
    rq.Topics_n = 1;
    post(m, COMMIT, &rq);
    floe_arena_fini(&a);
}

/* ---- the leader's work -----------------------------------------------------------------------------------
 */

/* owner[p]: index of the member that gets partition p, or -1. Eager: ranges. Cooperative: everybody keeps
 * what it has up to its share, and what others still have waits for the next round. */
static void divide(const struct floe_kafka_JoinGroupResponse *rs, int *owner, struct floe_arena *a)
{
    int n = rs->Members_n, *have = floe_arena_calloc(a, (size_t)n, sizeof *have);
    bool *held = floe_arena_calloc(a, (size_t)o.partitions, sizeof *held);
    for (int p = 0; p < o.partitions; p++)
        owner[p] = o.protocol == EAGER ? (int)((int64_t)p * n / o.partitions) : -1;
    if (o.protocol == EAGER)
        return;
    int share = o.partitions / n, more = o.partitions % n; /* so many members get one more */
    for (int i = 0; i < n; i++) {
        struct floe_error err;
        void *v;
        struct floe_slice in =
            floe_slice(rs->Members[i].Metadata.p + 2, (size_t)rs->Members[i].Metadata.n - 2);
        if (floe_kafka_decode(&floe_kafka_ConsumerProtocolSubscription_desc, 1, in, a, &v, &err))
            die(err.msg);
        const struct floe_kafka_ConsumerProtocolSubscription *s = v;
        for (int k = 0; s->OwnedPartitions_n > 0 && k < s->OwnedPartitions[0].Partitions_n; k++) {
            int p = s->OwnedPartitions[0].Partitions[k];
            held[p] = true;
            if (owner[p] < 0 && (have[i] < share || (have[i] == share && more > 0))) {
                more -= have[i] == share;
                owner[p] = i;
                have[i]++;
            }
        }
    }
    for (int p = 0, i = 0; p < o.partitions; p++) {
        if (owner[p] >= 0)
            continue;
        while (i < n && !(have[i] < share || (have[i] == share && more > 0)))
            i++;
        FLOE_ASSERT(i < n);
        more -= have[i] == share;
        have[i]++;
        if (!held[p])
            owner[p] = i;
    }
}

static void post_sync(struct member *m, const struct floe_kafka_JoinGroupResponse *rs, struct floe_arena *a)
{
    struct floe_kafka_SyncGroupRequest rq;
    bool leads = floe_kstr_is(rs->Leader, m->id);
    int n = leads ? rs->Members_n : 0, *owner = floe_arena_calloc(a, (size_t)o.partitions, sizeof *owner);
    struct floe_writer *w = calloc((size_t)n + 1, sizeof *w);
    floe_kafka_defaults(&floe_kafka_SyncGroupRequest_desc, &rq);
    rq.Assignments = floe_kafka_array(&floe_kafka_SyncGroupRequest_SyncGroupRequestAssignment_desc, n, a);
    rq.Assignments_n = n;
    if (n > 0)
        divide(rs, owner, a);
    for (int i = 0; i < n; i++) {
        struct floe_kafka_ConsumerProtocolAssignment v;
        struct floe_kafka_ConsumerProtocolAssignment_TopicPartition t = {
            .Topic = floe_kstr(o.topic),
            .Partitions = floe_arena_calloc(a, (size_t)o.partitions, sizeof *t.Partitions)};
        for (int p = 0; p < o.partitions; p++)
            if (owner[p] == i)
                t.Partitions[t.Partitions_n++] = p;
        floe_kafka_defaults(&floe_kafka_ConsumerProtocolAssignment_desc, &v);
        v.AssignedPartitions = &t;
        v.AssignedPartitions_n = t.Partitions_n > 0;
        floe_writer_init(&w[i], MESSAGE_MAX);
        rq.Assignments[i].MemberId = rs->Members[i].MemberId;
        rq.Assignments[i].Assignment = wrap(&w[i], &floe_kafka_ConsumerProtocolAssignment_desc, 1, &v);
    }
    rq.GroupId = floe_kstr(groups[m->group].name);
    rq.GenerationId = m->epoch;
    rq.MemberId = floe_kstr(m->id);
    post(m, SYNC, &rq);
    for (int i = 0; i < n; i++)
        floe_writer_fini(&w[i]);
    free(w);
}

/* ---- answers ---------------------------------------------------------------------------------------------
 */

static void take(struct member *m, const int32_t *p, int n)
{
    m->owned_n = 0;
    for (int i = 0; i < n; i++) {
        FLOE_ASSERT(p[i] >= 0 && p[i] < o.partitions);
        m->owned[m->owned_n++] = (uint16_t)p[i];
    }
}

/* The coordinators of a cluster that has just been asked for its first one come one after the other. */
static bool not_yet(int16_t error)
{
    return error == FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS || error == FLOE_KERR_NOT_COORDINATOR;
}

static void on_join(struct member *m, const struct floe_kafka_JoinGroupResponse *rs, struct floe_arena *a)
{
    FLOE_ASSERT((size_t)rs->MemberId.n < sizeof m->id);
    snprintf(m->id, sizeof m->id, "%.*s", (int)rs->MemberId.n, rs->MemberId.p);
    if (rs->ErrorCode == FLOE_KERR_MEMBER_ID_REQUIRED) {
        m->rejoin = true;
        return;
    }
    if (not_yet(rs->ErrorCode)) {
        m->rejoin = true;
        return;
    }
    if (rs->ErrorCode)
        refuse("JoinGroup", rs->ErrorCode);
    m->epoch = rs->GenerationId;
    post_sync(m, rs, a);
}

static void on_sync(struct member *m, const struct floe_kafka_SyncGroupResponse *rs, struct floe_arena *a)
{
    struct floe_error err;
    void *v;
    if (rs->ErrorCode == FLOE_KERR_REBALANCE_IN_PROGRESS) {
        m->rejoin = true;
        return;
    }
    if (rs->ErrorCode)
        refuse("SyncGroup", rs->ErrorCode);
    if (floe_kafka_decode(&floe_kafka_ConsumerProtocolAssignment_desc, 1,
                          floe_slice(rs->Assignment.p + 2, (size_t)rs->Assignment.n - 2), a, &v, &err))
        die(err.msg);
    const struct floe_kafka_ConsumerProtocolAssignment *as = v;
    int n = as->AssignedPartitions_n > 0 ? as->AssignedPartitions[0].Partitions_n : 0, kept = 0;
    for (int i = 0; i < m->owned_n; i++)
        for (int k = 0; k < n; k++)
            kept += as->AssignedPartitions[0].Partitions[k] == m->owned[i];
    m->rejoin =
        o.protocol == COOPERATIVE && kept < m->owned_n; /* it gave something back: others may have it */
    take(m, n ? as->AssignedPartitions[0].Partitions : NULL, n);
    m->state = SETTLED;
    m->beat_ms = now() + spread(o.heartbeat_ms);
}

static void on_beat(struct member *m, const struct floe_kafka_ConsumerGroupHeartbeatResponse *rs)
{
    if (not_yet(rs->ErrorCode))
        return;
    if (rs->ErrorCode)
        refuse("ConsumerGroupHeartbeat", rs->ErrorCode);
    if (m->left)
        return;
    m->state = SETTLED;
    if (rs->MemberEpoch != m->epoch || rs->Assignment)
        told_ms = now();
    m->epoch = rs->MemberEpoch;
    if (rs->Assignment) {
        bool any = rs->Assignment->TopicPartitions_n > 0;
        take(m, any ? rs->Assignment->TopicPartitions[0].Partitions : NULL,
             any ? rs->Assignment->TopicPartitions[0].Partitions_n : 0);
        m->ack = true; /* at once */
    }
    m->beat_ms = m->sent_ms + rs->HeartbeatIntervalMs;
    figures.heartbeats += figures.measuring;
}

static void on_heartbeat(struct member *m, const struct floe_kafka_HeartbeatResponse *rs)
{
    m->beat_ms = m->sent_ms + o.heartbeat_ms;
    figures.heartbeats += figures.measuring;
    if (rs->ErrorCode == FLOE_KERR_REBALANCE_IN_PROGRESS) {
        m->rejoin = true;
        told_ms = now();
    } else if (rs->ErrorCode) {
        refuse("Heartbeat", rs->ErrorCode);
    }
}

static void on_commit(struct member *m, const struct floe_kafka_OffsetCommitResponse *rs)
{
    bool bad = rs->Topics_n != 1;
    for (int i = 0; !bad && i < rs->Topics[0].Partitions_n; i++)
        bad = rs->Topics[0].Partitions[i].ErrorCode != 0;
    figures.refused += figures.measuring && bad;
    if (figures.measuring && !bad) {
        figures.commits++;
        figures.latency[figures.samples++ % SAMPLES] = (float)(now() - m->sent_ms);
    }
    m->commit_ms = m->sent_ms + o.commit_ms;
}

static void on_answer(struct member *m, struct floe_slice frame)
{
    const struct floe_kafka_api *api = floe_kafka_api_find((int16_t)m->sent);
    struct floe_error err;
    struct floe_arena a;
    struct floe_slice body;
    int32_t id;
    void *rs;
    m->busy = false;
    floe_arena_init(&a, MESSAGE_MAX);
    if (floe_kafka_read_response_header(api, (int16_t)versions[m->sent], frame, &id, &body, &err) ||
        floe_kafka_decode(api->response, (int16_t)versions[m->sent], body, &a, &rs, &err))
        die(err.msg);
    FLOE_ASSERT(id == m->correlation);
    switch (m->sent) {
    case JOIN:
        on_join(m, rs, &a);
        break;
    case SYNC:
        on_sync(m, rs, &a);
        break;
    case HEARTBEAT:
        on_heartbeat(m, rs);
        break;
    case BEAT:
        on_beat(m, rs);
        break;
    case COMMIT:
        on_commit(m, rs);
        break;
    default:
        break;
    }
    if (m->left && (m->sent == LEAVE || m->sent == BEAT)) {
        m->state = AWAY;
        m->owned_n = 0;
    }
    floe_arena_fini(&a);
}

void on_readable(struct member *m)
{
    for (;;) {
        uint8_t *p = floe_writer_grow(&m->in, 65536);
        ssize_t n = p ? recv(m->fd, p, 65536, MSG_DONTWAIT) : -1;
        m->in.n -= 65536 - (size_t)FLOE_MAX(n, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            die("the broker closed a connection");
        if (m->in.n < 4 || m->in.n < 4 + floe_be32(m->in.p))
            continue;
        struct floe_slice frame = floe_slice(m->in.p + 4, m->in.n - 4);
        FLOE_ASSERT(frame.n == floe_be32(m->in.p)); /* one request at a time */
        on_answer(m, frame);
        floe_writer_fini(&m->in); /* thousands of members do not keep their buffers */
        floe_writer_init(&m->in, MESSAGE_MAX);
        return;
    }
}

/* ---- time -------------------------------------------------------------------------------------------------
 */

void act(struct member *m, double at)
{
    if (m->busy || m->state == AWAY)
        return;
    if (m->left) {
        if (o.protocol == CONSUMER)
            post_beat(m);
        else
            post_leave(m);
    } else if (o.protocol == CONSUMER &&
               ((m->state == JOINING && m->epoch == 0) || m->ack || at >= m->beat_ms)) {
        post_beat(m);
    } else if (o.protocol != CONSUMER && m->rejoin) {
        post_join(m);
    } else if (o.protocol != CONSUMER && m->state == SETTLED && at >= m->beat_ms) {
        post_heartbeat(m);
    } else if (figures.measuring && m->state == SETTLED && m->owned_n && o.commit_ms >= 0 &&
               at >= m->commit_ms) {
        post_commit(m);
    }
}
