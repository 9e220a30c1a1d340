/* KIP-848 groups: groups and members, and what others ask about them. */
#include "consumer_int.h"

#include <floe/kafka/configs.h>

#include <stdlib.h>

static void on_session(struct floe_timer *t);
static void on_expire(struct floe_timer *t);
static void on_revoke(struct floe_timer *t);

static struct floe_groups *groups_of(const struct consumer *c)
{
    return c->g->shard->g;
}

struct consumer *consumer_make(struct group *g)
{
    struct consumer *c = g->consumer;
    if (c)
        return c;
    c = calloc(1, sizeof *c);
    FLOE_ASSERT(c); /* the state and its record cannot differ */
    c->g = g;
    floe_map_init(&c->by_id);
    floe_map_init(&c->by_instance);
    floe_list_init(&c->members);
    floe_timer_init(&c->expire, on_expire, c);
    g->consumer = c;
    g->kind = GROUP_CONSUMER;
    return c;
}

/* ---- members ------------------------------------------------------------------------------------------ */

static uint64_t id_hash(struct floe_kstr id)
{
    return group_hash(id.p, (size_t)FLOE_MAX(id.n, 0));
}

struct consumer_member *consumer_member_find(const struct consumer *c, struct floe_kstr id)
{
    struct floe_map_node *m = floe_map_first(&c->by_id, id_hash(id));
    for (; m != NULL; m = floe_map_next_same(m)) {
        struct consumer_member *x = FLOE_MAP_ENTRY(m, struct consumer_member, node);
        if (floe_kstr_is(id, x->id))
            return x;
    }
    return NULL;
}

struct consumer_member *consumer_static_find(const struct consumer *c, struct floe_kstr instance)
{
    struct floe_map_node *m = instance.n >= 0 ? floe_map_first(&c->by_instance, id_hash(instance)) : NULL;
    for (; m != NULL; m = floe_map_next_same(m)) {
        struct consumer_member *x = FLOE_MAP_ENTRY(m, struct consumer_member, by_instance);
        if (floe_kstr_eq(x->meta->InstanceId, instance))
            return x;
    }
    return NULL;
}

struct consumer_member *consumer_member_add(struct consumer *c, struct floe_kstr id)
{
    struct consumer_member *m = calloc(1, sizeof *m);
    FLOE_ASSERT(m && floe_map_insert(&c->by_id, &m->node, id_hash(id)));
    m->c = c;
    m->id = group_strdup(id);
    FLOE_ASSERT(m->id);
    floe_timer_init(&m->session, on_session, m);
    floe_timer_init(&m->revoke, on_revoke, m);
    floe_list_push_back(&c->members, &m->link);
    c->count++;
    c->g->empty_since_ms = -1;
    groups_of(c)->stats.members++;
    return m;
}

/* All that depends on its record goes. */
static void unset(struct consumer_member *m)
{
    if (m->meta && m->meta->InstanceId.n >= 0)
        floe_map_remove(&m->c->by_instance, &m->by_instance);
    regex_put(groups_of(m->c), m->regex);
    free(m->meta);
}

#define REGEX_BYTES 8192 /* of an expression, about, for each of its users */

void consumer_member_charge(struct consumer_member *m)
{
    size_t parts = (size_t)m->now.assigned.n + m->now.revoking.n + m->target.n;
    members_charge(groups_of(m->c), &m->charged,
                   sizeof *m + strlen(m->c->g->name) + strlen(m->id) + m->meta_bytes +
                       parts * sizeof(struct part) + (m->regex ? REGEX_BYTES : 0));
}

void consumer_member_set(struct consumer_member *m, member_meta *meta, size_t bytes, struct regex *regex)
{
    unset(m);
    m->meta = meta;
    m->meta_bytes = bytes;
    m->regex = regex;
    FLOE_ASSERT(meta->InstanceId.n < 0 ||
                floe_map_insert(&m->c->by_instance, &m->by_instance, id_hash(meta->InstanceId)));
    consumer_member_charge(m);
}

void consumer_member_free(struct consumer_member *m)
{
    struct consumer *c = m->c;
    floe_timer_stop(&m->session);
    floe_timer_stop(&m->revoke);
    floe_map_remove(&c->by_id, &m->node);
    floe_list_remove(&m->link);
    unset(m);
    members_charge(groups_of(c), &m->charged, 0);
    groups_of(c)->stats.members--;
    if (--c->count == 0)
        c->g->empty_since_ms = group_wall_ms(groups_of(c));
    free(m->now.assigned.p);
    free(m->now.revoking.p);
    free(m->target.p);
    free(m->id);
    free(m);
}

void consumer_free(struct group *g)
{
    struct consumer *c = g->consumer;
    if (!c)
        return;
    while (!floe_list_empty(&c->members))
        consumer_member_free(FLOE_LIST_ENTRY(c->members.next, struct consumer_member, link));
    floe_timer_stop(&c->expire);
    floe_map_fini(&c->by_id);
    floe_map_fini(&c->by_instance);
    free(c);
    g->consumer = NULL;
    g->kind = GROUP_EMPTY;
}

/* ---- time-outs ---------------------------------------------------------------------------------------- */

uint32_t consumer_setting(const struct floe_groups *g, struct floe_kstr group, const char *name, uint32_t def)
{
    const char *set =
        floe_dynamics_get(floe_catalog_dynamics(g->cfg.catalog), FLOE_DYNAMIC_GROUP, group, name);
    int64_t ms = floe_kafka_config_int_or(FLOE_CONFIG_GROUP, name, set, 0);
    return ms > 0 ? (uint32_t)ms : def;
}

void consumer_member_touch(struct consumer_member *m)
{
    struct floe_groups *g = groups_of(m->c);
    uint64_t ms = consumer_is_classic(m)
                      ? (uint32_t)FLOE_MAX(m->meta->ClassicMemberMetadata->SessionTimeoutMs, 1)
                      : consumer_setting(g, floe_kstr(m->c->g->name), "consumer.session.timeout.ms",
                                         g->cfg.set.consumer_session_ms);
    floe_timer_start(g->cfg.loop, &m->session, ms * 1000);
    m->late_session = false;
}

void consumer_member_due(struct consumer_member *m, bool restart)
{
    if (!restart && (m->late_revoke || floe_timer_armed(&m->revoke)))
        return;
    floe_timer_start(groups_of(m->c)->cfg.loop, &m->revoke,
                     (uint64_t)FLOE_MAX(m->meta->RebalanceTimeoutMs, 1) * 1000);
    m->late_revoke = false;
}

void consumer_member_watch(struct consumer_member *m, bool restart)
{
    if (m->now.state == MEMBER_UNREVOKED) {
        consumer_member_due(m, restart);
        return;
    }
    floe_timer_stop(&m->revoke);
    m->late_revoke = false;
}

bool consumer_remove_leaving(struct consumer *c)
{
    struct floe_groups *g = groups_of(c);
    struct change x;
    if (migrate_may_downgrade(c, floe_kstr(NULL)) && migrate_downgrade(c, floe_kstr(NULL)))
        return true;
    change_begin(&x, c->g->shard, floe_kstr(c->g->name));
    change_group(&x, c->epoch + 1,
                 floe_catalog_loaded(g->cfg.catalog) ? consumer_topics_hash(c, g, NULL, &x.a) : c->hash);
    FLOE_LIST_EACH(it, &c->members)
    {
        const struct consumer_member *m = FLOE_LIST_ENTRY(it, struct consumer_member, link);
        if (m->leaving)
            change_remove(&x, floe_kstr(m->id));
    }
    if (change_commit(&x))
        return true;
    FLOE_LIST_EACH(it, &c->members)
    {
        FLOE_LIST_ENTRY(it, struct consumer_member, link)->leaving = false;
    }
    return false;
}

bool consumer_remove(struct consumer *c, struct floe_kstr id)
{
    consumer_member_find(c, id)->leaving = true;
    return consumer_remove_leaving(c);
}

bool consumer_names_fit(const struct consumer *c, const struct consumer_member *m, int32_t n)
{
    uint64_t all = (uint64_t)FLOE_MAX(n, 0);
    for (const struct floe_list *it = c ? c->members.next : NULL; it && it != &c->members; it = it->next) {
        const struct consumer_member *x = FLOE_LIST_ENTRY(it, struct consumer_member, link);
        all += x == m ? 0 : (uint64_t)FLOE_MAX(x->meta->SubscribedTopicNames_n, 0);
    }
    return all <= GROUP_ALL_NAMES_MAX;
}

/* Members that are late go together, a megabyte of records at a time: each time all members are looked at.
 * One that is heard of until then is late no longer. */
#define EXPIRE_GATHER_US 100000u
#define EXPIRE_BYTES (1u << 20)

static bool may_expel(const struct consumer *c)
{
    const struct group_shard *s = c->g->shard;
    return floe_lease_alive(groups_of(c)->cfg.lease) && s->state == SHARD_ACTIVE &&
           floe_log_find(groups_of(c)->cfg.log, &s->tp, NULL) == FLOE_PARTITION_SERVING;
}

/* Marks those who are late. False: some are left for another time. */
static bool mark_late(struct consumer *c, size_t *bytes)
{
    FLOE_LIST_EACH(it, &c->members)
    {
        struct consumer_member *m = FLOE_LIST_ENTRY(it, struct consumer_member, link);
        if (!m->late_session && !m->late_revoke)
            continue;
        if (*bytes >= EXPIRE_BYTES)
            return false;
        m->leaving = true;
        *bytes += 3 * (strlen(m->id) + strlen(c->g->name) + 64);
    }
    return true;
}

static void expire(struct consumer *c)
{
    size_t bytes = 0;
    c->expired_us = group_now_us(groups_of(c));
    if (may_expel(c)) {
        if (!mark_late(c, &bytes))
            floe_timer_start(groups_of(c)->cfg.loop, &c->expire, 0);
        if (bytes == 0 || consumer_remove_leaving(c)) /* the group may be gone */
            return;
    } /* else nobody was answered: that is not the members' fault */
    FLOE_LIST_EACH(it, &c->members)
    {
        struct consumer_member *m = FLOE_LIST_ENTRY(it, struct consumer_member, link);
        if (m->late_session)
            consumer_member_touch(m);
        if (m->late_revoke)
            consumer_member_due(m, true);
    }
}

static void on_expire(struct floe_timer *t)
{
    expire(t->user);
}

/* Its time is up. Who is alone goes at once; many that are late one after another are gathered. */
static void out_of_time(struct consumer_member *m, struct floe_timer *t, bool *late)
{
    struct consumer *c = m->c;
    struct floe_groups *g = groups_of(c);
    uint64_t grace_us = journal_grace_us(c->g->shard), now = group_now_us(g);
    if (grace_us > 0) {
        floe_timer_start(g->cfg.loop, t, grace_us);
        return;
    }
    *late = true;
    if (floe_timer_armed(&c->expire))
        return;
    if (c->expired_us == 0 || now - c->expired_us >= EXPIRE_GATHER_US)
        expire(c);
    else
        floe_timer_start(g->cfg.loop, &c->expire, c->expired_us + EXPIRE_GATHER_US - now);
}

static void on_session(struct floe_timer *t)
{
    struct consumer_member *m = t->user;
    out_of_time(m, t, &m->late_session);
}

static void on_revoke(struct floe_timer *t)
{
    struct consumer_member *m = t->user;
    out_of_time(m, t, &m->late_revoke);
}

void consumer_loaded(struct group *g)
{
    FLOE_LIST_EACH(it, &g->consumer->members)
    {
        struct consumer_member *m = FLOE_LIST_ENTRY(it, struct consumer_member, link);
        consumer_member_touch(m);
        consumer_member_watch(m, true);
    }
}

/* ---- what others ask ------------------------------------------------------------------------------------
 */

static int16_t check_epoch(const struct consumer_member *m, int32_t epoch)
{
    if (epoch == m->now.epoch)
        return 0;
    return consumer_is_classic(m) ? FLOE_KERR_ILLEGAL_GENERATION : FLOE_KERR_STALE_MEMBER_EPOCH;
}

int16_t consumer_validate_commit(struct group *g, struct floe_kstr member, int32_t member_epoch,
                                 int16_t version)
{
    if (member_epoch < 0 && g->consumer->count == 0)
        return 0; /* a simple consumer, or an administrator: nobody is using the group */
    struct consumer_member *m = consumer_member_find(g->consumer, member);
    if (!m)
        return FLOE_KERR_UNKNOWN_MEMBER_ID;
    if (consumer_is_classic(m) && member_epoch == m->now.epoch)
        consumer_member_touch(m);
    else if (!consumer_is_classic(m) && version < 9) /* has no code for an epoch that is not the member's */
        return FLOE_KERR_UNSUPPORTED_VERSION;
    return check_epoch(m, member_epoch);
}

int16_t consumer_validate_fetch(struct group *g, struct floe_kstr member, int32_t member_epoch)
{
    const struct consumer_member *m = consumer_member_find(g->consumer, member);
    if (!m)
        return FLOE_KERR_UNKNOWN_MEMBER_ID;
    return check_epoch(m, member_epoch);
}

bool consumer_has_members(const struct group *g)
{
    return g->consumer && g->consumer->count > 0;
}

void consumer_subscriptions(const struct group *g, struct floe_kstr **names, uint32_t *n,
                            struct floe_arena *a)
{
    size_t all = 0;
    FLOE_LIST_EACH(it, &g->consumer->members)
    {
        all += (size_t)FLOE_LIST_ENTRY(it, struct consumer_member, link)->meta->SubscribedTopicNames_n;
    }
    *names = consumer_alloc(a, all, sizeof **names);
    FLOE_LIST_EACH(it, &g->consumer->members)
    {
        const member_meta *v = FLOE_LIST_ENTRY(it, struct consumer_member, link)->meta;
        for (int32_t i = 0; i < v->SubscribedTopicNames_n; i++)
            if (v->SubscribedTopicNames[i].n >= 0)
                (*names)[(*n)++] = v->SubscribedTopicNames[i];
    }
}

bool consumer_regex_subscribed(const struct group *g, struct floe_kstr topic)
{
    const struct floe_topic *t = NULL;
    const struct regex *last = NULL;
    FLOE_LIST_EACH(it, &g->consumer->members)
    {
        const struct regex *r = FLOE_LIST_ENTRY(it, struct consumer_member, link)->regex;
        if (!r || r == last)
            continue;
        if (r->ready && !t)
            t = floe_catalog_by_name(g->shard->g->cfg.catalog, topic.p, (size_t)FLOE_MAX(topic.n, 0));
        if (!r->ready || !t || regex_has(r, t->name_index))
            return true; /* what it was not matched with it may match */
        last = r;
    }
    return false;
}

const char *consumer_state(const struct group *g)
{
    const struct consumer *c = g->consumer;
    if (c->count == 0)
        return "Empty";
    if (c->epoch > c->target_epoch)
        return "Assigning";
    FLOE_LIST_EACH(it, &c->members)
    {
        const struct consumer_member *m = FLOE_LIST_ENTRY(it, struct consumer_member, link);
        if (m->now.state != MEMBER_STABLE || m->now.epoch != c->target_epoch)
            return "Reconciling";
    }
    return "Stable";
}

int16_t consumer_end(struct group *g)
{
    if (consumer_has_members(g))
        return FLOE_KERR_INCONSISTENT_GROUP_PROTOCOL;
    journal_begin(g->shard);
    consumer_put_tombstones(g);
    if (!journal_end(g->shard, true))
        return FLOE_KERR_UNKNOWN_SERVER_ERROR;
    consumer_free(g);
    group_drop_if_nothing(g);
    return 0;
}
