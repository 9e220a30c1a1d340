/* The topic cache and its reads. A *round* is one read of the table that serves all who waited when it began:
 * GETs of the names they ask for, or a scan of all topics followed by GETs of those that changed. */
#include "catalog/catalog_int.h"
#include <floe/base/crc32c.h>
#include <floe/kafka/configs.h>
#include <stdio.h>

static void round_start(struct floe_catalog *c);
static void round_pump(struct floe_catalog *c);

static uint64_t name_hash(const char *name, size_t n)
{
    return floe_hash64(name, n, 0);
}
static uint64_t id_hash(const struct floe_uuid *id)
{
    return floe_hash64(id->b, sizeof id->b, 0);
}

struct floe_topic *floe_catalog_cached(struct floe_catalog *c, const char *name, size_t n)
{
    for (struct floe_map_node *m = floe_map_first(&c->by_name, name_hash(name, n)); m;
         m = floe_map_next_same(m)) {
        struct floe_topic *t = FLOE_MAP_ENTRY(m, struct floe_topic, by_name);
        if (strlen(t->name) == n && memcmp(t->name, name, n) == 0)
            return t;
    }
    return NULL;
}

uint64_t floe_catalog_revision(struct floe_catalog *c, const char *name, size_t n)
{
    const struct floe_topic *t = floe_catalog_cached(c, name, n);
    return t ? t->rev : 0;
}

bool floe_catalog_loaded(const struct floe_catalog *c)
{
    return c->loaded;
}

const struct floe_topic *floe_catalog_by_name(struct floe_catalog *c, const char *name, size_t n)
{
    struct floe_topic *t = floe_catalog_cached(c, name, n);
    return t && t->state == FLOE_TOPIC_LIVE ? t : NULL;
}

const struct floe_topic *floe_catalog_find_id(struct floe_catalog *c, const struct floe_uuid *id)
{
    for (struct floe_map_node *m = floe_map_first(&c->by_id, id_hash(id)); m; m = floe_map_next_same(m)) {
        struct floe_topic *t = FLOE_MAP_ENTRY(m, struct floe_topic, by_id);
        if (floe_uuid_eq(&t->id, id))
            return t;
    }
    return NULL;
}

const struct floe_topic *floe_catalog_by_id(struct floe_catalog *c, const struct floe_uuid *id)
{
    const struct floe_topic *t = floe_catalog_find_id(c, id);
    return t && t->state == FLOE_TOPIC_LIVE ? t : NULL;
}

bool floe_catalog_is_deleted(struct floe_catalog *c, const struct floe_uuid *id, uint64_t since_us)
{
    const struct floe_topic *t = floe_catalog_find_id(c, id);
    if (t)
        return t->state >= FLOE_TOPIC_DELETING;
    return c->complete && !c->unreadable &&
           c->complete_us > since_us; /* its name is another topic's by now */
}

enum floe_catalog_certain floe_catalog_certain_of(struct floe_catalog *c, const struct floe_uuid *id)
{
    const struct floe_topic *t = floe_catalog_find_id(c, id);
    if (!t)
        return FLOE_CATALOG_ABSENT;
    return t->state == FLOE_TOPIC_DELETED ? FLOE_CATALOG_TOMBSTONE : FLOE_CATALOG_KEPT;
}

bool floe_catalog_complete(const struct floe_catalog *c)
{
    return c->loaded && !c->unreadable;
}

uint64_t floe_catalog_changes(const struct floe_catalog *c)
{
    return c->changes;
}

uint32_t floe_catalog_names(const struct floe_catalog *c)
{
    return c->name_count;
}

const struct floe_topic *floe_catalog_name(const struct floe_catalog *c, uint32_t index)
{
    return c->names[index];
}

/* The place of a new name. */
static uint32_t new_name(struct floe_catalog *c)
{
    if (c->name_count == c->name_cap) {
        c->name_cap = FLOE_MAX(2 * c->name_cap, 64u);
        c->names = realloc(c->names, c->name_cap * sizeof *c->names);
        FLOE_ASSERT(c->names);
    }
    return c->name_count++;
}

static int by_topic_name(const void *a, const void *b)
{
    const struct floe_topic *x = *(const struct floe_topic *const *)a,
                            *y = *(const struct floe_topic *const *)b;
    return strcmp(x->name, y->name);
}

uint32_t floe_catalog_list(struct floe_catalog *c, const struct floe_topic **out, uint32_t max)
{
    uint32_t n = 0;
    for (struct floe_map_node *m = floe_map_iter(&c->by_name, NULL); m; m = floe_map_iter(&c->by_name, m)) {
        struct floe_topic *t = FLOE_MAP_ENTRY(m, struct floe_topic, by_name);
        if (t->state != FLOE_TOPIC_LIVE)
            continue;
        if (n < max)
            out[n] = t;
        n++;
    }
    if (n && max)
        qsort(out, FLOE_MIN(n, max), sizeof *out, by_topic_name);
    return n;
}

/* What was set over the wire for this broker, else for all. */
static const char *of_brokers(const struct floe_catalog *c, const char *name)
{
    char id[16];
    (void)snprintf(id, sizeof id, "%d", floe_lease_node_id(c->cfg.lease));
    const char *own = floe_dynamics_get(&c->dynamics, FLOE_DYNAMIC_BROKER, floe_kstr(id), name);
    return own ? own : floe_dynamics_get(&c->dynamics, FLOE_DYNAMIC_BROKER, floe_kstr(""), name);
}

static bool is_append_time(const char *value)
{
    return strstr(value, "LogAppendTime") != NULL; /* that or CreateTime, with blanks around it */
}

/* What of the configuration is obeyed. Values were checked when the topic was made; others keep the default.
 */
static void derive(const struct floe_catalog *c, struct floe_topic *t)
{
    static const char *const of_broker[3] = {"message.max.bytes", "log.message.timestamp.before.max.ms",
                                             "log.message.timestamp.after.max.ms"};
    static const char *const of_topic[3] = {"max.message.bytes", "message.timestamp.before.max.ms",
                                            "message.timestamp.after.max.ms"};
    int64_t number[3] = {c->cfg.default_max_message_bytes, INT64_MAX, 3600000};
    const char *v = of_brokers(c, "log.message.timestamp.type");
    t->log_append_time = v ? is_append_time(v) : c->cfg.default_log_append_time;
    for (int i = 0; i < 3; i++)
        number[i] = floe_kafka_config_int_or(FLOE_CONFIG_BROKER, of_broker[i], of_brokers(c, of_broker[i]),
                                             number[i]);
    for (uint32_t i = 0; i < t->config_count; i++) {
        const struct floe_topic_config *e = &t->configs[i];
        for (int k = 0; k < 3; k++)
            if (strcmp(e->name, of_topic[k]) == 0)
                number[k] = floe_kafka_config_int_or(FLOE_CONFIG_TOPIC, e->name, e->value, number[k]);
        if (strcmp(e->name, "message.timestamp.type") == 0)
            t->log_append_time = is_append_time(e->value);
        else if (strcmp(e->name, "cleanup.policy") == 0)
            t->compacted = strstr(e->value, "compact") != NULL; /* a list of `compact` and `delete` */
    }
    t->max_message_bytes = (uint32_t)FLOE_MAX(number[0], 0);
    t->stamp_before_ms = number[1];
    t->stamp_after_ms = number[2];
}

void floe_catalog_derive_all(struct floe_catalog *c)
{
    for (struct floe_map_node *m = floe_map_iter(&c->by_name, NULL); m; m = floe_map_iter(&c->by_name, m))
        derive(c, FLOE_MAP_ENTRY(m, struct floe_topic, by_name));
}

struct floe_topic *floe_catalog_apply(struct floe_catalog *c, struct floe_topic *t)
{
    struct floe_topic *old = floe_catalog_cached(c, t->name, strlen(t->name));
    if (old && old->rev >= t->rev) {
        floe_topic_free(t);
        return old;
    }
    derive(c, t);
    t->seen_us = floe_loop_now_us(c->cfg.loop);
    if (c->cfg.topic_gone && (t->state == FLOE_TOPIC_DELETED ||
                              (old && old->state != FLOE_TOPIC_DELETED && !floe_uuid_eq(&old->id, &t->id))))
        c->cfg.topic_gone(c->cfg.user);
    t->name_index = old ? old->name_index : new_name(c);
    c->names[t->name_index] = t;
    c->changes++;
    if (old) {
        c->live -= old->state == FLOE_TOPIC_LIVE;
        if (old->state != FLOE_TOPIC_DELETED &&
            (t->state >= FLOE_TOPIC_DELETING || !floe_uuid_eq(&old->id, &t->id)))
            floe_lease_forget_topic(c->cfg.lease, &old->id);
        floe_map_remove(&c->by_name, &old->by_name);
        floe_map_remove(&c->by_id, &old->by_id);
        floe_topic_free(old);
    }
    FLOE_ASSERT(floe_map_insert(&c->by_name, &t->by_name, name_hash(t->name, strlen(t->name))));
    FLOE_ASSERT(floe_map_insert(&c->by_id, &t->by_id, id_hash(&t->id)));
    c->live += t->state == FLOE_TOPIC_LIVE;
    return t;
}

static void round_end(struct floe_catalog *c)
{
    c->round = false;
    struct floe_error err = c->round_err;
    c->round_err = (struct floe_error){0};
    if (err.code) {
        c->dirty = true;
    } else if (c->scanned) {
        c->loaded = true;
        c->loaded_us = c->scanned_us;
        if (!c->unreadable) {
            c->complete = true;
            c->complete_us = c->scanned_us;
        }
    }
    struct floe_list done;
    floe_list_init(&done);
    struct floe_list *l;
    while ((l = floe_list_pop_front(&c->reading)))
        floe_list_push_back(&done, l);
    while ((l = floe_list_pop_front(&done))) {
        struct floe_catalog_wait *w = FLOE_LIST_ENTRY(l, struct floe_catalog_wait, link);
        if (err.code)
            w->err = err;
        w->done(w);
    }
    if (!err.code)
        floe_catalog_finish_half_made(c);
    if (!floe_list_empty(&c->waiting))
        round_start(c);
    else if (c->dirty)
        floe_timer_start(c->cfg.loop, &c->kick, err.code ? RETRY_US : 0);
}

static void read_free(struct topic_read *r)
{
    floe_table_req_fini(&r->req);
    floe_list_remove(&r->link);
    free(r);
}

/* Who asked for that very topic must not take it for one that does not exist. */
static void tell_unreadable(struct floe_catalog *c, const char *name, const struct floe_error *err)
{
    size_t n = strlen(name);
    FLOE_LIST_EACH(it, &c->reading)
    {
        struct floe_catalog_wait *w = FLOE_LIST_ENTRY(it, struct floe_catalog_wait, link);
        for (uint32_t i = 0; i < w->name_count && !w->err.code; i++)
            if (w->names[i].n == n && memcmp(w->names[i].p, name, n) == 0)
                w->err = *err;
    }
}

static void read_done(struct floe_table_req *q)
{
    struct topic_read *r = q->user;
    struct floe_catalog *c = r->c;
    c->reads_in_flight--;
    struct floe_topic *t = NULL;
    struct floe_error err = q->err;
    if (!err.code &&
        floe_topic_decode(&t, q->key + strlen(TOPIC_PREFIX), q->got, q->got_n, &err) == FLOE_OK) {
        memcpy(t->version, q->version, sizeof t->version);
        floe_catalog_apply(c, t);
    }
    if (err.code == FLOE_ENOTFOUND && c->scanned) /* no record of a topic is ever removed */
        floe_error_set(&err, FLOE_ECORRUPT, "table record '%s' is listed, and is not there", q->key);
    /* A corrupt record stops nobody else: it is left out, and named. */
    if (err.code == FLOE_ECORRUPT) {
        floe_log_error("catalog", "%s", err.msg);
        c->unreadable = true;
        tell_unreadable(c, q->key + strlen(TOPIC_PREFIX), &err);
    } else if (err.code && err.code != FLOE_ENOTFOUND) {
        c->round_err = err;
    }
    read_free(r);
    round_pump(c);
}

static void round_pump(struct floe_catalog *c)
{
    while (c->reads_in_flight < READS_IN_FLIGHT && !floe_list_empty(&c->todo)) {
        struct topic_read *r = FLOE_LIST_ENTRY(floe_list_pop_front(&c->todo), struct topic_read, link);
        floe_list_push_back(&c->reads, &r->link);
        c->reads_in_flight++;
        floe_table_submit(c->cfg.table, &r->req);
    }
    if (c->round && !c->scanning && c->reads_in_flight == 0)
        round_end(c);
}

static bool todo_has(const struct floe_catalog *c, const char *name, size_t n)
{
    FLOE_LIST_EACH(it, &c->todo)
    {
        const char *have = FLOE_LIST_ENTRY(it, struct topic_read, link)->req.key + strlen(TOPIC_PREFIX);
        if (strlen(have) == n && memcmp(have, name, n) == 0)
            return true;
    }
    return false;
}

static void todo_add(struct floe_catalog *c, const char *name, size_t n)
{
    if (n == 0 || n > FLOE_TOPIC_NAME_MAX)
        return;
    struct topic_read *r = calloc(1, sizeof *r);
    if (!r) {
        floe_error_set(&c->round_err, FLOE_ENOMEM, "no memory to read topics");
        return;
    }
    r->c = c;
    r->req.kind = FLOE_TABLE_GET;
    snprintf(r->req.key, sizeof r->req.key, TOPIC_PREFIX "%.*s", (int)n, name);
    r->req.done = read_done;
    r->req.user = r;
    floe_list_push_back(&c->todo, &r->link);
}

static void scan_done(struct floe_table_req *q)
{
    struct floe_catalog *c = q->user;
    if (q->err.code) {
        c->round_err = q->err;
        c->scanning = false;
    } else {
        size_t skip = strlen(TOPIC_PREFIX);
        for (uint32_t i = 0; i < q->entry_count; i++) {
            const char *name = q->entries[i].key + skip;
            struct floe_topic *t = floe_catalog_cached(c, name, strlen(name));
            if (!t || strcmp(t->version, q->entries[i].version) != 0)
                todo_add(c, name, strlen(name));
        }
        c->scanning = q->truncated && q->entry_count > 0;
        if (c->scanning)
            snprintf(q->start_after, sizeof q->start_after, "%s", q->entries[q->entry_count - 1].key);
    }
    floe_table_req_fini(q);
    if (c->scanning)
        floe_table_submit(c->cfg.table, q);
    round_pump(c);
}

static void scan_start(struct floe_catalog *c)
{
    c->scanning = true;
    c->scanned_us = floe_loop_now_us(c->cfg.loop);
    c->scanned = true;
    c->dirty = c->unreadable = false;
    c->scan =
        (struct floe_table_req){.kind = FLOE_TABLE_SCAN, .max_keys = 1000, .done = scan_done, .user = c};
    snprintf(c->scan.key, sizeof c->scan.key, TOPIC_PREFIX);
    floe_table_submit(c->cfg.table, &c->scan);
}

static void round_start(struct floe_catalog *c)
{
    bool all = c->dirty;
    uint64_t names = 0;
    c->round = true;
    c->scanned = false;
    struct floe_list *l;
    while ((l = floe_list_pop_front(&c->waiting))) {
        floe_list_push_back(&c->reading, l);
        struct floe_catalog_wait *w = FLOE_LIST_ENTRY(l, struct floe_catalog_wait, link);
        names += w->name_count;
        all = all || w->all;
    }
    all = all || names > ROUND_NAMES_MAX; /* one who asks for thousands must not keep the others waiting */
    FLOE_LIST_EACH(it, &c->reading)
    {
        struct floe_catalog_wait *w = FLOE_LIST_ENTRY(it, struct floe_catalog_wait, link);
        for (uint32_t i = 0; i < w->name_count && !all; i++)
            if (!todo_has(c, (const char *)w->names[i].p, w->names[i].n))
                todo_add(c, (const char *)w->names[i].p, w->names[i].n);
    }
    if (all)
        scan_start(c);
    round_pump(c);
}

static void kicked(struct floe_timer *t)
{
    struct floe_catalog *c = t->user;
    if (!c->round && (c->dirty || !floe_list_empty(&c->waiting)))
        round_start(c);
}

void floe_catalog_resolve(struct floe_catalog *c, struct floe_catalog_wait *w)
{
    w->err = (struct floe_error){0};
    floe_list_push_back(&c->waiting, &w->link);
    if (!c->round && !floe_timer_armed(&c->kick))
        floe_timer_start(c->cfg.loop, &c->kick, 0);
}

void floe_catalog_resolve_cancel(struct floe_catalog_wait *w)
{
    floe_list_remove(&w->link);
}

static void changed(void *user)
{
    struct floe_catalog *c = user;
    c->dirty = true;
    floe_dynamics_refresh(c);
    if (!c->round && !floe_timer_armed(&c->kick))
        floe_timer_start(c->cfg.loop, &c->kick, 0);
}

bool floe_catalog_read_since(struct floe_catalog *c, uint64_t since_us)
{
    if (c->loaded && c->loaded_us > since_us)
        return true;
    if (c->scanned_us <= since_us)
        changed(c);
    return false;
}

/* Which sessions there are, and how they do, as one number. */
static uint64_t members(struct floe_catalog *c)
{
    uint32_t n = floe_lease_nodes(c->cfg.lease, NULL, 0);
    struct floe_node_info *nodes = calloc((size_t)n + 1, sizeof *nodes);
    uint64_t h = n;
    n = nodes ? FLOE_MIN(floe_lease_nodes(c->cfg.lease, nodes, n), n) : 0;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t of[] = {h, nodes[i].session.id, (uint64_t)nodes[i].state};
        h = floe_hash64(of, sizeof of, 0);
    }
    free(nodes);
    return h;
}

/* Whoever begins a topic tells nobody before it is live: a broker that dies leaves a record of which no other
 * one knows. So all topics are read again after a change among the sessions, and now and then. */
static void swept(struct floe_timer *t)
{
    struct floe_catalog *c = t->user;
    uint64_t now = floe_loop_now_us(c->cfg.loop), m = members(c);
    if (m != c->members || now - c->scanned_us > (c->unreadable ? UNREADABLE_US : RESCAN_US))
        changed(c);
    else if (c->dynamics_missed)
        floe_dynamics_refresh(c);
    c->members = m;
    floe_catalog_finish_half_made(c);
    floe_timer_start(c->cfg.loop, &c->sweep, HALF_MADE_US / 2);
}

void floe_catalog_read_early(struct floe_catalog *c)
{
    changed(c);
}

void floe_catalog_start(struct floe_catalog *c)
{
    floe_lease_on_catalog(c->cfg.lease, changed, c);
    floe_catalog_derive_all(c); /* the node id was not known before */
    changed(c);
    floe_timer_start(c->cfg.loop, &c->sweep, HALF_MADE_US / 2);
}

enum floe_err floe_catalog_create(struct floe_catalog **out, const struct floe_catalog_config *cfg,
                                  struct floe_error *err)
{
    struct floe_catalog *c = calloc(1, sizeof *c);
    if (!c)
        return floe_error_set(err, FLOE_ENOMEM, "no memory for the catalog");
    c->cfg = *cfg;
    floe_map_init(&c->by_name);
    floe_map_init(&c->by_id);
    floe_list_init(&c->waiting);
    floe_list_init(&c->reading);
    floe_list_init(&c->reads);
    floe_list_init(&c->todo);
    floe_list_init(&c->stops);
    floe_list_init(&c->pid_waits);
    floe_list_init(&c->quota_ops);
    floe_list_init(&c->dynamics_ops);
    floe_timer_init(&c->kick, kicked, c);
    floe_timer_init(&c->sweep, swept, c);
    floe_catalog_ops_init(c);
    *out = c;
    return FLOE_OK;
}

void floe_catalog_destroy(struct floe_catalog **cp)
{
    struct floe_catalog *c = *cp;
    if (!c)
        return;
    *cp = NULL;
    floe_timer_stop(&c->kick);
    floe_timer_stop(&c->sweep);
    floe_catalog_ops_fini(c);
    if (c->scanning)
        floe_table_cancel(c->cfg.table, &c->scan);
    floe_producer_ids_fini(c);
    floe_quotas_fini(c);
    floe_dynamics_fini(c);
    struct floe_list *l;
    while ((l = floe_list_pop_front(&c->todo)))
        read_free(FLOE_LIST_ENTRY(l, struct topic_read, link));
    while ((l = floe_list_pop_front(&c->reads))) {
        struct topic_read *r = FLOE_LIST_ENTRY(l, struct topic_read, link);
        floe_table_cancel(c->cfg.table, &r->req);
        read_free(r);
    }
    while ((l = floe_list_pop_front(&c->stops))) {
        struct stop_wait *s = FLOE_LIST_ENTRY(l, struct stop_wait, link);
        floe_timer_stop(&s->timer);
        free(s);
    }
    struct floe_map_node *m = floe_map_iter(&c->by_name, NULL);
    while (m) {
        struct floe_topic *t = FLOE_MAP_ENTRY(m, struct floe_topic, by_name);
        m = floe_map_iter(&c->by_name, m);
        floe_topic_free(t);
    }
    floe_map_fini(&c->by_name);
    floe_map_fini(&c->by_id);
    free(c->names);
    free(c);
}
