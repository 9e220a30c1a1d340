/* Members and states of classic groups. */
#include "classic_int.h"

#include <floe/base/mutant.h>
#include <stdlib.h>

#define UNCERTAIN_US 1000000u /* how much later a group looks again whether this is its coordinator */

static void on_rebalance(struct floe_timer *t);
static void on_session(struct floe_timer *t);

static struct floe_loop *loop_of(const struct classic *c)
{
    return c->g->shard->g->cfg.loop;
}

struct classic *classic_make(struct group *g)
{
    struct classic *c = g->classic;
    if (c)
        return c;
    c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->g = g;
    c->state_ms = group_wall_ms(g->shard->g);
    c->end_error = FLOE_KERR_NOT_COORDINATOR;
    floe_map_init(&c->by_id);
    floe_map_init(&c->by_instance);
    floe_map_init(&c->pending_by_id);
    floe_list_init(&c->members);
    floe_list_init(&c->pending);
    floe_writer_init(&c->kept, GROUP_OP_BYTES_MAX);
    floe_timer_init(&c->rebalance, on_rebalance, c);
    g->classic = c;
    g->kind = GROUP_CLASSIC;
    return c;
}

/* ---- members ------------------------------------------------------------------------------------------ */

static uint64_t id_hash(struct floe_kstr id)
{
    return group_hash(id.p, (size_t)FLOE_MAX(id.n, 0));
}

struct classic_member *classic_member_find(const struct classic *c, struct floe_kstr id)
{
    struct floe_map_node *m = floe_map_first(&c->by_id, id_hash(id));
    for (; m != NULL; m = floe_map_next_same(m)) {
        struct classic_member *x = FLOE_MAP_ENTRY(m, struct classic_member, node);
        if (floe_kstr_is(id, x->id))
            return x;
    }
    return NULL;
}

struct classic_member *classic_static_find(const struct classic *c, struct floe_kstr instance)
{
    struct floe_map_node *m = instance.n >= 0 ? floe_map_first(&c->by_instance, id_hash(instance)) : NULL;
    for (; m != NULL; m = floe_map_next_same(m)) {
        struct classic_member *x = FLOE_MAP_ENTRY(m, struct classic_member, by_instance);
        if (floe_kstr_is(instance, x->instance))
            return x;
    }
    return NULL;
}

struct classic_pending *classic_pending_find(const struct classic *c, struct floe_kstr id)
{
    struct floe_map_node *m = floe_map_first(&c->pending_by_id, id_hash(id));
    for (; m != NULL; m = floe_map_next_same(m)) {
        struct classic_pending *p = FLOE_MAP_ENTRY(m, struct classic_pending, node);
        if (floe_kstr_is(id, p->id))
            return p;
    }
    return NULL;
}

void classic_set_text(char **at, struct floe_kstr s)
{
    char *copy = group_strdup(s);
    FLOE_ASSERT(copy || s.n < 0); /* the state and its record cannot differ */
    free(*at);
    *at = copy;
}

struct classic_member *classic_member_add(struct classic *c, struct floe_kstr id, struct floe_kstr instance)
{
    struct classic_member *m = calloc(1, sizeof *m);
    FLOE_ASSERT(m && floe_map_insert(&c->by_id, &m->node, id_hash(id)));
    m->c = c;
    m->former = -1;
    classic_set_text(&m->id, id);
    classic_set_text(&m->instance, instance);
    FLOE_ASSERT(!m->instance || floe_map_insert(&c->by_instance, &m->by_instance, id_hash(instance)));
    floe_timer_init(&m->session, on_session, m);
    floe_list_push_back(&c->members, &m->link);
    c->count++;
    c->g->empty_since_ms = -1;
    c->g->shard->g->stats.members++;
    if (!c->leader)
        classic_set_text(&c->leader, id);
    return m;
}

static size_t text_size(const char *s)
{
    return s ? strlen(s) + 1 : 0;
}

void classic_member_charge(struct classic_member *m)
{
    size_t n = sizeof *m + text_size(m->c->g->name) + text_size(m->id) + text_size(m->instance) +
               text_size(m->client_id) + text_size(m->client_host) + (size_t)m->assignment_n;
    for (int32_t i = 0; i < m->protocol_count; i++)
        n += sizeof *m->protocols + text_size(m->protocols[i].name) + (size_t)m->protocols[i].metadata_n;
    members_charge(m->c->g->shard->g, &m->charged, n);
}

void classic_member_rename(struct classic_member *m, struct floe_kstr id)
{
    floe_map_remove(&m->c->by_id, &m->node);
    classic_set_text(&m->id, id);
    FLOE_ASSERT(floe_map_insert(&m->c->by_id, &m->node, id_hash(id)));
}

static void protocols_free(struct classic_member *m)
{
    for (int32_t i = 0; i < m->protocol_count; i++) {
        free(m->protocols[i].name);
        free(m->protocols[i].metadata);
    }
    free(m->protocols);
    m->protocols = NULL;
    m->protocol_count = 0;
}

static void member_free(struct classic_member *m)
{
    struct classic *c = m->c;
    floe_timer_stop(&m->session);
    floe_map_remove(&c->by_id, &m->node);
    if (m->instance)
        floe_map_remove(&c->by_instance, &m->by_instance);
    floe_list_remove(&m->link);
    c->count--;
    members_charge(c->g->shard->g, &m->charged, 0);
    c->g->shard->g->stats.members--;
    if (c->count == 0)
        c->g->empty_since_ms = group_wall_ms(c->g->shard->g);
    protocols_free(m);
    free(m->assignment);
    free(m->client_id);
    free(m->client_host);
    free(m->instance);
    free(m->id);
    free(m);
}

void classic_pending_remove(struct classic_pending *p)
{
    floe_timer_stop(&p->session);
    floe_map_remove(&p->c->pending_by_id, &p->node);
    floe_list_remove(&p->link);
    p->c->pending_count--;
    p->c->pending_bytes -= strlen(p->id);
    members_charge(p->c->g->shard->g, &p->charged, 0);
    free(p->id);
    free(p);
}

void classic_free(struct group *g)
{
    struct classic *c = g->classic;
    bool silent = g->shard->g->closing;
    if (!c)
        return;
    g->classic = NULL;
    g->kind = GROUP_EMPTY;
    floe_timer_stop(&c->rebalance);
    while (!floe_list_empty(&c->members)) {
        struct classic_member *m = FLOE_LIST_ENTRY(c->members.next, struct classic_member, link);
        if (!silent) {
            classic_answer_join(m, c->end_error);
            classic_answer_sync(m, c->end_error);
        }
        if (m->join_call) /* silent: who asked may still say that the client is gone */
            floe_group_abandon(m->join_call);
        if (m->sync_call)
            floe_group_abandon(m->sync_call);
        member_free(m);
    }
    while (!floe_list_empty(&c->pending))
        classic_pending_remove(FLOE_LIST_ENTRY(c->pending.next, struct classic_pending, link));
    floe_map_fini(&c->by_id);
    floe_map_fini(&c->by_instance);
    floe_map_fini(&c->pending_by_id);
    free(c->protocol_type);
    free(c->protocol);
    free(c->leader);
    members_charge(g->shard->g, &c->kept_charged, 0);
    floe_writer_fini(&c->kept);
    free(c);
}

bool classic_has_members(const struct group *g)
{
    return g->classic && (g->classic->count > 0 || g->classic->pending_count > 0);
}

uint32_t classic_member_count(const struct group *g)
{
    return g->classic ? g->classic->count : 0;
}

bool classic_generation_ok(const struct classic_member *m, int32_t generation)
{
    return generation == m->c->generation || (generation >= 0 && generation == m->former);
}

/* ---- protocols ---------------------------------------------------------------------------------------- */

bool classic_set_protocols(struct classic_member *m, const struct floe_kafka_JoinGroupRequest *in)
{
    int32_t n = FLOE_MAX(in->Protocols_n, 0);
    struct classic_protocol *p = calloc((size_t)n + 1, sizeof *p);
    bool ok = p != NULL;
    for (int32_t i = 0; ok && i < n; i++) {
        int32_t size = FLOE_MAX(in->Protocols[i].Metadata.n, 0);
        p[i].name = group_strdup(in->Protocols[i].Name);
        p[i].metadata = malloc((size_t)size + 1);
        p[i].metadata_n = size;
        ok = p[i].name && p[i].metadata;
        if (ok && size > 0)
            memcpy(p[i].metadata, in->Protocols[i].Metadata.p, (size_t)size);
    }
    if (!ok) {
        for (int32_t i = 0; p && i < n; i++) {
            free(p[i].name);
            free(p[i].metadata);
        }
        free(p);
        return false;
    }
    protocols_free(m);
    m->protocols = p;
    m->protocol_count = n;
    return true;
}

bool classic_same_protocols(const struct classic_member *m, const struct floe_kafka_JoinGroupRequest *in)
{
    if (m->protocol_count != FLOE_MAX(in->Protocols_n, 0))
        return false;
    for (int32_t i = 0; i < m->protocol_count; i++) {
        const struct classic_protocol *p = &m->protocols[i];
        if (!floe_kstr_is(in->Protocols[i].Name, p->name) ||
            p->metadata_n != FLOE_MAX(in->Protocols[i].Metadata.n, 0) ||
            (p->metadata_n > 0 &&
             memcmp(p->metadata, in->Protocols[i].Metadata.p, (size_t)p->metadata_n) != 0))
            return false;
    }
    return true;
}

const struct classic_protocol *classic_protocol_of(const struct classic_member *m, const char *name)
{
    for (int32_t i = 0; name && i < m->protocol_count; i++)
        if (strcmp(m->protocols[i].name, name) == 0)
            return &m->protocols[i];
    return NULL;
}

static bool all_support(const struct classic *c, const char *name)
{
    FLOE_LIST_EACH(it, &c->members)
    {
        if (!classic_protocol_of(FLOE_LIST_ENTRY(it, struct classic_member, link), name))
            return false;
    }
    return true;
}

/* Each member votes for the first that it names of those that all support. */
const char *classic_select(const struct classic *c)
{
    const char *name[GROUP_PROTOCOLS_MAX];
    uint32_t votes[GROUP_PROTOCOLS_MAX] = {0}, n = 0, best = 0;
    if (floe_list_empty(&c->members))
        return NULL;
    const struct classic_member *first = FLOE_LIST_ENTRY(c->members.next, struct classic_member, link);
    for (int32_t i = 0; i < first->protocol_count && n < GROUP_PROTOCOLS_MAX; i++)
        if (all_support(c, first->protocols[i].name)) /* what all support, the first one does */
            name[n++] = first->protocols[i].name;
    FLOE_LIST_EACH(it, &c->members)
    {
        const struct classic_member *m = FLOE_LIST_ENTRY(it, struct classic_member, link);
        uint32_t k = n;
        for (int32_t i = 0; i < m->protocol_count && k == n; i++)
            for (k = 0; k < n && strcmp(name[k], m->protocols[i].name) != 0;)
                k++;
        if (k < n)
            votes[k]++;
    }
    for (uint32_t k = 1; k < n; k++)
        best = votes[k] > votes[best] ? k : best;
    return n > 0 ? name[best] : NULL;
}

bool classic_supports(const struct classic *c, const struct floe_kafka_JoinGroupRequest *in)
{
    if (!c || c->state == CLASSIC_EMPTY || c->count == 0)
        return in->ProtocolType.n > 0 && in->Protocols_n > 0;
    if (!c->protocol_type || !floe_kstr_is(in->ProtocolType, c->protocol_type))
        return false;
    for (int32_t i = 0; i < in->Protocols_n; i++) {
        char *name = group_strdup(in->Protocols[i].Name);
        bool ok = name && all_support(c, name);
        free(name);
        if (ok)
            return true;
    }
    return false;
}

bool classic_is_leader(const struct classic *c, const struct classic_member *m)
{
    return c->leader && strcmp(c->leader, m->id) == 0;
}

/* ---- sessions ----------------------------------------------------------------------------------------- */

void classic_member_touch(struct classic_member *m)
{
    uint64_t us = m->is_new ? CLASSIC_NEW_MEMBER_US : m->session_ms * 1000ull;
    floe_timer_start(loop_of(m->c), &m->session, us);
}

void floe_group_abandon(struct floe_group_call *call)
{
    struct classic_member *m = call->waits;
    FLOE_ASSERT(m && (m->join_call == call || m->sync_call == call));
    call->waits = NULL;
    if (m->join_call == call)
        m->join_call = NULL;
    else
        m->sync_call = NULL;
}

/* Is this the coordinator for certain? While it is not, nobody is answered, and what members could not say is
 * not their fault. */
static bool certain(const struct classic *c)
{
    const struct group_shard *s = c->g->shard;
    return s->state == SHARD_ACTIVE && floe_lease_alive(s->g->cfg.lease) &&
           floe_log_find(s->g->cfg.log, &s->tp, NULL) == FLOE_PARTITION_SERVING;
}

static void on_session(struct floe_timer *t)
{
    struct classic_member *m = t->user;
    if (!certain(m->c) && !FLOE_MUTANT(GROUP_OUT_UNCERTAIN)) {
        classic_member_touch(m);
        return;
    }
    uint64_t grace_us = FLOE_MUTANT(GROUP_OUT_UNCERTAIN) ? 0 : journal_grace_us(m->c->g->shard);
    if (grace_us > 0) {
        floe_timer_start(loop_of(m->c), t, grace_us);
        return;
    }
    /* Who waits for the group is there. Its session starts again when it is answered. */
    if (!m->is_new && (m->joining || m->syncing))
        return;
    classic_member_remove(m, FLOE_KERR_UNKNOWN_MEMBER_ID);
}

static void on_pending(struct floe_timer *t)
{
    struct classic_pending *p = t->user;
    struct classic *c = p->c;
    if (!certain(c)) {
        floe_timer_start(loop_of(c), t, UNCERTAIN_US);
        return;
    }
    classic_pending_remove(p);
    classic_check_joined(c);
    classic_drop_if_new(c);
}

void classic_drop_if_new(struct classic *c)
{
    struct group *g = c->g;
    if (c->count > 0 || c->pending_count > 0 || c->state != CLASSIC_EMPTY || c->generation > 0 ||
        c->protocol_type)
        return;
    classic_free(g);
    group_drop_if_nothing(g);
}

void classic_pending_add(struct classic *c, struct floe_kstr id, uint32_t session_ms)
{
    struct classic_pending *p = calloc(1, sizeof *p);
    FLOE_ASSERT(p);
    p->c = c;
    classic_set_text(&p->id, id);
    FLOE_ASSERT(floe_map_insert(&c->pending_by_id, &p->node, id_hash(id)));
    floe_list_push_back(&c->pending, &p->link);
    c->pending_count++;
    c->pending_bytes += strlen(p->id);
    members_charge(c->g->shard->g, &p->charged,
                   sizeof *p + sizeof *c + sizeof *c->g + text_size(p->id) + text_size(c->g->name));
    while (c->pending_count > CLASSIC_PENDING_MAX || c->pending_bytes > CLASSIC_PENDING_BYTES)
        classic_pending_remove(FLOE_LIST_ENTRY(c->pending.next, struct classic_pending, link));
    floe_timer_init(&p->session, on_pending, p);
    floe_timer_start(loop_of(c), &p->session, session_ms * 1000ull);
}

void classic_member_remove(struct classic_member *m, int16_t error)
{
    struct classic *c = m->c;
    bool led = classic_is_leader(c, m);
    classic_keep(c);
    classic_answer_join(m, error);
    classic_answer_sync(m, error);
    member_free(m);
    if (led) {
        free(c->leader);
        c->leader = NULL;
        if (c->count > 0)
            classic_set_text(&c->leader,
                             floe_kstr(FLOE_LIST_ENTRY(c->members.next, struct classic_member, link)->id));
    }
    if (c->state == CLASSIC_PREPARING)
        classic_check_joined(c);
    else
        classic_prepare(c);
}

/* ---- rebalances --------------------------------------------------------------------------------------- */

static uint32_t rebalance_ms(const struct classic *c)
{
    uint32_t ms = 0;
    FLOE_LIST_EACH(it, &c->members)
    {
        ms = FLOE_MAX(ms, FLOE_LIST_ENTRY(it, struct classic_member, link)->rebalance_ms);
    }
    return ms;
}

void classic_prepare(struct classic *c)
{
    if (c->state == CLASSIC_PREPARING)
        return;
    FLOE_LIST_EACH(it, &c->members)
    {
        struct classic_member *m = FLOE_LIST_ENTRY(it, struct classic_member, link);
        if (m->syncing) {
            classic_answer_sync(m, FLOE_KERR_REBALANCE_IN_PROGRESS);
            classic_member_touch(m);
        }
    }
    c->initial = c->state == CLASSIC_EMPTY;
    c->joined_since = false;
    c->state = CLASSIC_PREPARING;
    c->g->shard->g->stats.rebalances++;
    uint64_t ms = rebalance_ms(c);
    if (c->initial) {
        uint64_t delay = c->g->shard->g->cfg.set.initial_rebalance_delay_ms;
        c->initial_left_ms = ms > delay ? ms - delay : 0;
        ms = delay;
    }
    floe_timer_start(loop_of(c), &c->rebalance, ms * 1000);
    classic_check_joined(c);
}

/* Members that did not come in time go; static ones stay until their session ends. */
static void drop_absent(struct classic *c)
{
    FLOE_LIST_EACH_SAFE(it, &c->members)
    {
        struct classic_member *m = FLOE_LIST_ENTRY(it, struct classic_member, link);
        if (!m->joining && !m->instance)
            member_free(m);
    }
}

static struct classic_member *elect(struct classic *c)
{
    struct classic_member *leader = c->leader ? classic_member_find(c, floe_kstr(c->leader)) : NULL;
    if (leader && leader->joining)
        return leader;
    FLOE_LIST_EACH(it, &c->members)
    {
        struct classic_member *m = FLOE_LIST_ENTRY(it, struct classic_member, link);
        if (m->joining) {
            classic_set_text(&c->leader, floe_kstr(m->id));
            return m;
        }
    }
    return NULL;
}

static void become_empty(struct classic *c)
{
    c->state = CLASSIC_EMPTY;
    c->generation++;
    classic_set_text(&c->protocol, floe_kstr(NULL));
    classic_set_text(&c->leader, floe_kstr(NULL));
    (void)!classic_record(c, true); /* a few bytes: always fits */
}

static void complete_join(struct classic *c)
{
    drop_absent(c);
    if (c->count == 0) {
        floe_timer_stop(&c->rebalance);
        become_empty(c);
        return;
    }
    if (!elect(c)) { /* static members alone, none of which has come: until their sessions end */
        floe_timer_start(loop_of(c), &c->rebalance, rebalance_ms(c) * 1000ull);
        return;
    }
    c->state = CLASSIC_COMPLETING;
    c->generation++;
    c->divided_us = group_now_us(c->g->shard->g);
    classic_set_text(&c->protocol, floe_kstr(classic_select(c)));
    FLOE_LIST_EACH(it, &c->members)
    {
        struct classic_member *m = FLOE_LIST_ENTRY(it, struct classic_member, link);
        free(m->assignment);
        m->assignment = NULL;
        m->assignment_n = 0;
        classic_member_charge(m);
        m->is_new = false;
        m->former = -1;
        classic_answer_join(m, 0);
        classic_member_touch(m);
    }
    floe_timer_start(loop_of(c), &c->rebalance, rebalance_ms(c) * 1000ull);
}

void classic_check_joined(struct classic *c)
{
    if (c->state == CLASSIC_PREPARING && !c->initial && c->pending_count == 0 && c->joining_count == c->count)
        complete_join(c);
}

/* COMPLETING lasts too long: who has not asked for a share is out. */
static void drop_unsynced(struct classic *c)
{
    bool dropped = false;
    FLOE_LIST_EACH_SAFE(it, &c->members)
    {
        struct classic_member *m = FLOE_LIST_ENTRY(it, struct classic_member, link);
        if (m->syncing)
            continue;
        if (classic_is_leader(c, m))
            classic_set_text(&c->leader, floe_kstr(NULL));
        member_free(m);
        dropped = true;
    }
    if (dropped)
        classic_prepare(c);
}

static void on_rebalance(struct floe_timer *t)
{
    struct classic *c = t->user;
    uint64_t delay = c->g->shard->g->cfg.set.initial_rebalance_delay_ms;
    if (!certain(c) || (!c->initial && journal_grace_us(c->g->shard) > 0)) {
        floe_timer_start(loop_of(c), t, UNCERTAIN_US); /* who is missing may wait for an answer */
    } else if (c->state == CLASSIC_COMPLETING) {
        drop_unsynced(c);
    } else if (c->state == CLASSIC_PREPARING && c->initial && c->joined_since && c->initial_left_ms > 0) {
        delay = FLOE_MIN(delay, c->initial_left_ms);
        c->initial_left_ms -= delay;
        c->joined_since = false;
        floe_timer_start(loop_of(c), &c->rebalance, delay * 1000);
    } else if (c->state == CLASSIC_PREPARING) {
        c->initial = false;
        complete_join(c);
    }
}

bool classic_stable(struct classic *c)
{
    enum classic_state before = c->state;
    c->state = CLASSIC_STABLE;
    if (!FLOE_MUTANT(GROUP_GENERATION_LOST) && !classic_record(c, true)) {
        c->state = before;
        return false;
    }
    c->divided_us = group_now_us(c->g->shard->g);
    floe_timer_stop(&c->rebalance);
    return true;
}
