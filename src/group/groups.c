/* Groups by shard and name, and finding the one that a request is for. */
#include "group_int.h"

#include <floe/base/crc32c.h>
#include <floe/base/log.h>
#include <floe/base/mutant.h>

#include <stdlib.h>

void floe_group_settings_default(struct floe_group_settings *s)
{
    *s = (struct floe_group_settings){.partitions = 50,
                                      .metadata_max = 4096,
                                      .retention_ms = 7ull * 24 * 3600 * 1000,
                                      .retention_check_ms = 600000,
                                      .initial_rebalance_delay_ms = 3000,
                                      .session_min_ms = 6000,
                                      .session_max_ms = 1800000,
                                      .size_max = INT32_MAX,
                                      .consumer_session_ms = 45000,
                                      .consumer_heartbeat_ms = 2000,
                                      .consumer_size_max = INT32_MAX,
                                      .migration = FLOE_GROUP_MIGRATION_BIDIRECTIONAL,
                                      .gather_us = 200000,
                                      .gather_group_us = 200000};
}

uint64_t group_hash(const void *p, size_t n)
{
    return floe_hash64(p, n, 0);
}
uint64_t group_now_us(const struct floe_groups *g)
{
    return floe_loop_now_us(g->cfg.loop);
}
int64_t group_wall_ms(const struct floe_groups *g)
{
    return floe_loop_wall_ms(g->cfg.loop);
}
char *group_strdup(struct floe_kstr s)
{
    char *p = s.n >= 0 ? malloc((size_t)s.n + 1) : NULL;
    if (p) {
        if (s.n > 0)
            memcpy(p, s.p, (size_t)s.n);
        p[s.n] = '\0';
    }
    return p;
}
bool group_is_text(struct floe_kstr s)
{
    return s.n <= 0 || !memchr(s.p, '\0', (size_t)s.n);
}
struct floe_kstr group_arena_str(struct floe_arena *a, const char *s)
{
    char *p = s ? floe_arena_strndup(a, s, strlen(s)) : NULL;
    return floe_kstr(p);
}

/* ---- groups ------------------------------------------------------------------------------------------- */

struct group *group_find(struct group_shard *s, struct floe_kstr name)
{
    struct floe_map_node *m = floe_map_first(&s->groups, group_hash(name.p, (size_t)FLOE_MAX(name.n, 0)));
    for (; m != NULL; m = floe_map_next_same(m)) {
        struct group *g = FLOE_MAP_ENTRY(m, struct group, node);
        if (floe_kstr_is(name, g->name))
            return g;
    }
    return NULL;
}

struct group *group_make(struct group_shard *s, struct floe_kstr name)
{
    struct group *g = group_find(s, name);
    if (g)
        return g;
    g = calloc(1, sizeof *g);
    char *copy = group_strdup(name);
    if (!g || !copy || !floe_map_insert(&s->groups, &g->node, group_hash(name.p, (size_t)name.n))) {
        free(g);
        free(copy);
        return NULL;
    }
    g->name = copy;
    g->shard = s;
    g->snapshot = s->snapshot;
    g->empty_since_ms = group_wall_ms(s->g);
    floe_map_init(&g->topics);
    floe_list_push_back(&s->order, &g->link);
    s->group_count++;
    s->g->stats.groups++;
    return g;
}

void group_free(struct group *g)
{
    if (g->classic)
        classic_free(g);
    if (g->consumer)
        consumer_free(g);
    offsets_free(g);
    floe_map_fini(&g->topics);
    floe_map_remove(&g->shard->groups, &g->node);
    floe_list_remove(&g->link);
    g->shard->group_count--;
    g->shard->g->stats.groups--;
    free(g->name);
    free(g);
}

void group_drop_if_nothing(struct group *g)
{
    if (g->kind == GROUP_EMPTY && g->offset_count == 0)
        group_free(g);
}

/* ---- shards ------------------------------------------------------------------------------------------- */

static uint64_t shard_hash(int32_t index)
{
    return (uint32_t)index * 0x9e3779b97f4a7c15ull;
}

static struct group_shard *shard_at(const struct floe_groups *g, int32_t index)
{
    struct floe_map_node *m = floe_map_first(&g->shards, shard_hash(index));
    for (; m != NULL; m = floe_map_next_same(m)) {
        struct group_shard *s = FLOE_MAP_ENTRY(m, struct group_shard, node);
        if (s->tp.index == index)
            return s;
    }
    return NULL;
}

static void shard_free(struct group_shard *s)
{
    struct floe_groups *g = s->g;
    s->state = SHARD_DEAD;
    load_stop(s);
    snapshot_stop(s);
    journal_fini(s); /* answers who waits */
    while (!floe_list_empty(&s->order))
        group_free(FLOE_LIST_ENTRY(s->order.next, struct group, link));
    floe_map_fini(&s->groups);
    floe_map_remove(&g->shards, &s->node);
    floe_list_remove(&s->link);
    g->stats.shards--;
    free(s);
}

const struct floe_topic *groups_topic(const struct floe_groups *g)
{
    return floe_catalog_by_name(g->cfg.catalog, FLOE_OFFSETS_TOPIC, sizeof FLOE_OFFSETS_TOPIC - 1);
}

void floe_groups_serving(struct floe_groups *g, const struct floe_tp *tp, int32_t epoch)
{
    const struct floe_topic *t = floe_catalog_by_id(g->cfg.catalog, &tp->topic);
    if (!t || strcmp(t->name, FLOE_OFFSETS_TOPIC) != 0)
        return; /* a topic that is not known yet is looked at again by on_sweep */
    struct group_shard *s = shard_at(g, tp->index);
    if (s && s->epoch == epoch && s->state != SHARD_DEAD && floe_uuid_eq(&s->tp.topic, &tp->topic))
        return;
    if (s)
        shard_free(s);
    s = calloc(1, sizeof *s);
    if (!s || !floe_map_insert(&g->shards, &s->node, shard_hash(tp->index))) {
        free(s);
        return;
    }
    s->g = g;
    s->tp = *tp;
    s->epoch = epoch;
    s->state = SHARD_LOADING;
    floe_map_init(&s->groups);
    floe_list_init(&s->order);
    floe_list_push_back(&g->list, &s->link);
    g->stats.shards++;
    journal_init(s);
    load_start(s);
}

void floe_groups_dropped(struct floe_groups *g, const struct floe_tp *tp)
{
    struct group_shard *s = shard_at(g, tp->index);
    if (s && floe_uuid_eq(&s->tp.topic, &tp->topic))
        shard_free(s);
}

void floe_groups_over(struct floe_groups *g)
{
    while (!floe_list_empty(&g->list))
        shard_free(FLOE_LIST_ENTRY(g->list.next, struct group_shard, link));
}

/* Partitions of __consumer_offsets that the log served before the catalog knew the topic. */
static void find_shards(struct floe_groups *g)
{
    const struct floe_topic *t = groups_topic(g);
    for (int32_t i = 0; t && i < t->partitions; i++) {
        struct floe_tp tp = {t->id, i};
        struct floe_partition *p;
        if (floe_log_find(g->cfg.log, &tp, &p) == FLOE_PARTITION_SERVING)
            floe_groups_serving(g, &tp, floe_partition_epoch(p));
    }
}

/* ---- finding the coordinator -----------------------------------------------------------------------------
 */

/* UTF-16 units of a code point that starts at *p; steps over it. Bytes that are no UTF-8 count as themselves.
 */
static uint32_t next_code_point(const uint8_t **p, const uint8_t *end)
{
    uint32_t c = *(*p)++;
    int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
    if (more == 0 || end - *p < more)
        return c;
    c &= 0x3fu >> more;
    while (more-- > 0)
        c = c << 6 | (*(*p)++ & 0x3fu);
    return c;
}

int32_t floe_group_partition(struct floe_kstr group, int32_t n)
{
    const uint8_t *p = (const uint8_t *)group.p, *end = p + FLOE_MAX(group.n, 0);
    uint32_t h = 0;
    while (p < end) {
        uint32_t c = next_code_point(&p, end);
        if (c >= 0x10000) {
            h = 31 * h + (0xd800 + ((c - 0x10000) >> 10));
            c = 0xdc00 + ((c - 0x10000) & 0x3ff);
        }
        h = 31 * h + c;
    }
    /* Kafka's is abs(h) % n, which differs for negative hashes. Which partition a group is in nobody sees but
     * who reads __consumer_offsets itself, and groups that are stored are where this says: so it stays. */
    return (int32_t)(h & INT32_MAX) % n;
}

int16_t groups_shard(struct floe_groups *g, struct floe_kstr name, bool empty_ok, struct group_shard **out)
{
    if (name.n < 0 || (name.n == 0 && !empty_ok) || !group_is_text(name))
        return FLOE_KERR_INVALID_GROUP_ID;
    if (!floe_lease_alive(g->cfg.lease) && !FLOE_MUTANT(GROUP_LAPSED))
        return FLOE_KERR_COORDINATOR_NOT_AVAILABLE;
    const struct floe_topic *t = groups_topic(g);
    if (!t)
        return FLOE_KERR_NOT_COORDINATOR;
    int32_t index = floe_group_partition(name, t->partitions);
    struct group_shard *s = shard_at(g, index);
    if (!s) {
        find_shards(g);
        s = shard_at(g, index);
    }
    if (!s || s->state == SHARD_DEAD || !floe_uuid_eq(&s->tp.topic, &t->id))
        return FLOE_KERR_NOT_COORDINATOR;
    /* While the partition is handed over the next coordinator may be at work already: this one tells nothing.
     */
    struct floe_partition *p;
    bool handing = floe_log_find(g->cfg.log, &s->tp, &p) == FLOE_PARTITION_HANDING;
    if (s->state == SHARD_LOADING || (handing && !FLOE_MUTANT(GROUP_HANDED_OVER)))
        return FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS;
    *out = s;
    return 0;
}

bool floe_group_loading(struct floe_groups *g, struct floe_kstr group)
{
    struct group_shard *s;
    int16_t error = groups_shard(g, group, true, &s);
    return error == FLOE_KERR_COORDINATOR_LOAD_IN_PROGRESS || error == FLOE_KERR_NOT_COORDINATOR;
}

/* ---- answers ------------------------------------------------------------------------------------------- */

void *group_response(struct floe_group_call *c, const struct floe_kafka_msg *m)
{
    c->response = floe_kafka_array(m->body, 1, c->arena);
    return c->response;
}

static void on_answer(struct floe_timer *t)
{
    struct floe_groups *g = t->user;
    struct floe_list now;
    floe_list_init(&now);
    while (!floe_list_empty(&g->answered))
        floe_list_push_back(&now, floe_list_pop_front(&g->answered));
    while (!floe_list_empty(&now)) {
        struct floe_group_call *c = FLOE_LIST_ENTRY(floe_list_pop_front(&now), struct floe_group_call, link);
        c->done(c);
    }
}

void group_answer(struct floe_group_call *c)
{
    floe_list_push_back(&c->g->answered, &c->link);
    if (!floe_timer_armed(&c->g->answer))
        floe_timer_start(c->g->cfg.loop, &c->g->answer, 0);
}

struct answer_wait {
    struct group_wait w;
    struct floe_group_call *c;
    void (*failed)(struct floe_group_call *c, int16_t error);
};

static void on_committed(struct group_wait *w, bool committed)
{
    struct answer_wait *a = FLOE_CONTAINER(w, struct answer_wait, w);
    if (!committed)
        a->failed(a->c, FLOE_KERR_NOT_COORDINATOR);
    group_answer(a->c);
}

void group_answer_committed(struct group_shard *s, struct floe_group_call *c,
                            void (*failed)(struct floe_group_call *c, int16_t error))
{
    struct answer_wait *a = c->response ? floe_arena_alloc(c->arena, sizeof *a) : NULL;
    if (!a) {
        c->response = NULL;
        group_answer(c);
        return;
    }
    if (FLOE_MUTANT(GROUP_ANSWER_EARLY)) {
        group_answer(c);
        return;
    }
    *a = (struct answer_wait){.w = {.fn = on_committed}, .c = c, .failed = failed};
    journal_wait(s, &a->w);
}

/* ---- life ---------------------------------------------------------------------------------------------- */

static void on_gather(struct floe_timer *t)
{
    journal_gather_due(t->user);
}

static void on_sweep(struct floe_timer *t)
{
    struct floe_groups *g = t->user;
    FLOE_LIST_EACH(it, &g->list)
    {
        struct group_shard *s = FLOE_LIST_ENTRY(it, struct group_shard, link);
        if (s->state == SHARD_ACTIVE && floe_lease_alive(g->cfg.lease))
            offsets_sweep(s);
    }
    floe_timer_start(g->cfg.loop, &g->sweep, g->cfg.set.retention_check_ms * 1000);
}

enum floe_err floe_groups_create(struct floe_groups **out, const struct floe_groups_config *cfg,
                                 struct floe_error *err)
{
    struct floe_groups *g = calloc(1, sizeof *g);
    if (!g)
        return floe_error_set(err, FLOE_ENOMEM, "no memory");
    g->cfg = *cfg;
    floe_map_init(&g->shards);
    floe_list_init(&g->list);
    floe_list_init(&g->orphans);
    floe_writer_init(&g->key, GROUP_OP_BYTES_MAX);
    floe_writer_init(&g->value, GROUP_OP_BYTES_MAX);
    floe_list_init(&g->answered);
    regexes_init(g);
    floe_timer_init(&g->answer, on_answer, g);
    floe_timer_init(&g->gather, on_gather, g);
    floe_timer_init(&g->sweep, on_sweep, g);
    floe_timer_start(cfg->loop, &g->sweep, cfg->set.retention_check_ms * 1000);
    *out = g;
    return FLOE_OK;
}

void floe_groups_destroy(struct floe_groups **gp)
{
    struct floe_groups *g = *gp;
    if (!g)
        return;
    *gp = NULL;
    g->closing = true;
    floe_timer_stop(&g->answer);
    floe_timer_stop(&g->gather);
    floe_timer_stop(&g->sweep);
    floe_groups_over(g);
    regexes_fini(g);
    journal_orphans_free(g);
    floe_map_fini(&g->shards);
    floe_writer_fini(&g->key);
    floe_writer_fini(&g->value);
    free(g);
}

void floe_groups_get_stats(const struct floe_groups *g, struct floe_group_stats *out)
{
    *out = g->stats;
}
