/* The table as brokers see it, compared with what happened at the bucket (invariant 6): a linearizable
 * compare-and-set register a key.
 *
 * The order in which writes land at the bucket is the linear order; each call of a broker must fit in between
 * its begin and its end. A read tells a version that was the current one at some time between them. A write
 * that is told as applied was, on the version that it expected; one that is told as refused was not and never
 * is. One whose outcome is told as unknown may go either way. */
#include <stdlib.h>

#include <floe/base/assert.h>
#include <floe/base/crc32c.h>
#include <floe/base/map.h>

#include "simcluster_int.h"

/* {"nonce":"<32 hex>","value": */
#define ENVELOPE_HEAD (10 + 32 + 10)

/* One write that landed; an empty version: the record was not there from then on. */
struct landed {
    uint64_t at; /* in the order of all */
    char version[FLOE_TABLE_VERSION_MAX];
    uint64_t value; /* its hash */
    const struct floe_sim_node *node;
    bool twice; /* something on the way sent it again, and was refused (floe/table.h, 8) */
    bool told;  /* a call was told that this is its write */
};
struct key {
    struct floe_map_node link;
    char name[FLOE_TABLE_KEY_MAX];
    struct landed *h;
    uint32_t n, cap;
};
/* A write that a node has asked for. */
struct asked {
    struct floe_list link;
    const struct floe_sim_node *node;
    uint64_t value;
    char key[FLOE_TABLE_KEY_MAX], if_version[FLOE_TABLE_VERSION_MAX];
};
struct simtables {
    struct simcluster *c;
    struct floe_map keys;
    struct floe_list refused; /* struct asked: told as not applied */
    struct floe_list unclear; /* struct asked: told nothing, or that it may have been applied */
    uint64_t order;
};
struct simtable {
    struct floe_table base; /* first */
    struct floe_table *real;
    struct simcluster *c;
    const struct floe_sim_node *node;
    struct floe_list calls;
};
struct call {
    struct floe_list link;
    struct simtable *t;
    struct floe_table_req *r;
    void (*done)(struct floe_table_req *r);
    void *user;
    uint64_t from;
    struct asked *put; /* of a PUT */
};

/* ---- what lies there ---- */

static struct key *find(struct simtables *s, const char *name)
{
    uint64_t hash = floe_hash64(name, strlen(name), 0);
    for (struct floe_map_node *m = floe_map_first(&s->keys, hash); m; m = floe_map_next_same(m))
        if (strcmp(FLOE_MAP_ENTRY(m, struct key, link)->name, name) == 0)
            return FLOE_MAP_ENTRY(m, struct key, link);
    return NULL;
}
static void land(struct key *k, const struct landed *w)
{
    if (k->n == k->cap) {
        k->cap = k->cap ? 2 * k->cap : 8;
        k->h = realloc(k->h, k->cap * sizeof *k->h);
        FLOE_ASSERT(k->h);
    }
    k->h[k->n++] = *w;
}
/* A key that is new to the checker has had what it has now from the beginning. */
static struct key *key_of(struct simtables *s, const char *name)
{
    struct key *k = find(s, name);
    char path[FLOE_STORE_KEY_MAX];
    struct landed first = {0};
    if (k)
        return k;
    k = calloc(1, sizeof *k);
    FLOE_ASSERT(k && floe_map_insert(&s->keys, &k->link, floe_hash64(name, strlen(name), 0)));
    snprintf(k->name, sizeof k->name, "%s", name);
    snprintf(path, sizeof path, "table/%s", name);
    const struct floe_sim_object *o = floe_sim_bucket_find(s->c->bucket, path);
    if (o)
        memcpy(first.version, o->version, sizeof first.version);
    land(k, &first);
    return k;
}
static bool writes_same(const struct landed *w, const struct floe_sim_node *node, uint64_t value,
                        const char *before, const char *if_version)
{
    return w->node == node && w->value == value && w->version[0] && strcmp(before, if_version) == 0;
}
static void check_not_refused(struct simtables *s, const struct key *k)
{
    const struct landed *w = &k->h[k->n - 1];
    FLOE_LIST_EACH(it, &s->refused)
    {
        const struct asked *r = FLOE_LIST_ENTRY(it, struct asked, link);
        if (strcmp(r->key, k->name) == 0 && writes_same(w, r->node, r->value, w[-1].version, r->if_version))
            simcluster_violation(s->c, 6,
                                 "table record %s: a write of node %s lands that was told as refused",
                                 k->name, floe_sim_node_name(r->node));
    }
}
void simtables_event(struct simcluster *c, const struct floe_sim_store_event *e)
{
    struct simtables *s = c->tables;
    if (!s || e->result || (e->kind != FLOE_STORE_PUT && e->kind != FLOE_STORE_DELETE))
        return;
    struct landed w = {.at = ++s->order, .node = e->node, .twice = e->fault == FLOE_SIM_TWICE};
    /* Nobody can tell a renewal of the dead that lands late from a sign of life. */
    if (c->healed && floe_sim_node_dead(e->node) && strncmp(e->key, "table/node/", 11) == 0)
        c->healed_us = FLOE_MAX(c->healed_us, e->at_us);
    struct key *k = find(s, e->key + strlen("table/"));
    if (e->kind == FLOE_STORE_PUT) {
        if (!e->object || (k && strcmp(k->h[k->n - 1].version, e->object->version) == 0))
            return; /* a store that broke its promise: nothing has changed */
        memcpy(w.version, e->object->version, sizeof w.version);
        if (e->object->n > ENVELOPE_HEAD)
            w.value = floe_hash64(e->object->data + ENVELOPE_HEAD, e->object->n - ENVELOPE_HEAD - 1, 0);
    }
    if (!k)
        return; /* nobody has asked for it yet */
    land(k, &w);
    check_not_refused(s, k);
}

/* ---- calls ---- */

/* Since when what was there counts for the call. Where what was deleted comes back: always. */
static uint64_t counts_from(const struct call *k)
{
    return k->t->c->cfg.breaks == FLOE_SIM_DELETE_RESURRECTS ? 0 : k->from;
}
/* Was this version the current one at some time since `from`? */
static bool was_there(const struct key *k, const char *version, uint64_t from)
{
    for (uint32_t i = k->n; i-- > 0;) {
        if (strcmp(k->h[i].version, version) == 0)
            return true;
        if (k->h[i].at <= from)
            return false;
    }
    return false;
}
/* Was anything else than this version? */
static bool was_other(const struct key *k, const char *version, uint64_t from)
{
    for (uint32_t i = k->n; i-- > 0;) {
        if (strcmp(k->h[i].version, version) != 0)
            return true;
        if (k->h[i].at <= from)
            return false;
    }
    return false;
}
static uint64_t value_of(const struct floe_table_req *r)
{
    return floe_hash64(r->value, r->value_n, 0);
}
static bool is_same(const struct asked *e, const struct floe_sim_node *node, const struct floe_table_req *r)
{
    return e->node == node && e->value == value_of(r) && strcmp(e->key, r->key) == 0 &&
           strcmp(e->if_version, r->if_version) == 0;
}
static struct asked *asked_of(const struct simtable *t, const struct floe_table_req *r)
{
    struct asked *a = calloc(1, sizeof *a);
    FLOE_ASSERT(a);
    *a = (struct asked){.node = t->node, .value = value_of(r)};
    memcpy(a->key, r->key, sizeof a->key);
    memcpy(a->if_version, r->if_version, sizeof a->if_version);
    return a;
}
static void remember(struct floe_list *list, struct call *k)
{
    floe_list_push_back(list, &k->put->link);
    k->put = NULL;
}
static void call_free(struct call *k)
{
    floe_list_remove(&k->link);
    free(k->put);
    free(k);
}
/* The node writes the same in another call as well, or has, and does not know what became of it: what lands
 * may be that one's. */
static bool has_twin(const struct call *k)
{
    FLOE_LIST_EACH(it, &k->t->c->tables->unclear)
    {
        if (is_same(FLOE_LIST_ENTRY(it, struct asked, link), k->t->node, k->r))
            return true;
    }
    FLOE_LIST_EACH(it, &k->t->calls)
    {
        const struct call *o = FLOE_LIST_ENTRY(it, struct call, link);
        if (o != k && o->r->kind == FLOE_TABLE_PUT && strcmp(o->r->key, k->r->key) == 0 &&
            strcmp(o->r->if_version, k->r->if_version) == 0 && value_of(o->r) == value_of(k->r))
            return true;
    }
    return false;
}
static void check_put(struct call *k, struct key *key)
{
    const struct floe_table_req *r = k->r;
    struct simtables *s = k->t->c->tables;
    bool applied = false;
    for (uint32_t i = key->n; i-- > 1 && key->h[i].at > k->from;) {
        struct landed *w = &key->h[i];
        if (!writes_same(w, k->t->node, value_of(r), w[-1].version, r->if_version) ||
            (r->err.code ? w->twice || w->told : strcmp(w->version, r->version) != 0))
            continue;
        applied = true;
        w->told |= !r->err.code;
    }
    const char *name = floe_sim_node_name(k->t->node);
    enum floe_err e = r->err.code;
    if (e == FLOE_OK && !applied)
        simcluster_violation(k->t->c, 6,
                             "table record %s: node %s is told that its write was applied: it was not",
                             r->key, name);
    bool twin = has_twin(k);
    if (e == FLOE_EINDETERMINATE)
        remember(&s->unclear, k);
    if (e == FLOE_OK || e == FLOE_EINDETERMINATE || twin)
        return;
    if (applied)
        simcluster_violation(
            k->t->c, 6, "table record %s: node %s is told that its write was refused (%s): it was applied",
            r->key, name, floe_err_name(e));
    if ((e == FLOE_ECONFLICT || e == FLOE_EEXISTS) && !was_other(key, r->if_version, counts_from(k)))
        simcluster_violation(k->t->c, 6, "table record %s: node %s is told of a conflict: there was none",
                             r->key, name);
    remember(&s->refused, k);
}
static void check_read(struct call *k, const char *key, const char *version)
{
    struct key *at = key_of(k->t->c->tables, key);
    if (!was_there(at, version, counts_from(k)))
        simcluster_violation(k->t->c, 6, "table record %s: node %s reads version \"%s\", which was not there",
                             key, floe_sim_node_name(k->t->node), version);
}
static void check(struct call *k)
{
    const struct floe_table_req *r = k->r;
    enum floe_err e = r->err.code;
    k->t->c->out->table_calls++;
    switch (r->kind) {
    case FLOE_TABLE_PUT:
        check_put(k, key_of(k->t->c->tables, r->key));
        break;
    case FLOE_TABLE_GET:
        if (e == FLOE_OK || e == FLOE_ENOTFOUND)
            check_read(k, r->key, e ? "" : r->version);
        break;
    case FLOE_TABLE_SCAN:
        for (uint32_t i = 0; e == FLOE_OK && i < r->entry_count; i++)
            check_read(k, r->entries[i].key, r->entries[i].version);
        break;
    case FLOE_TABLE_DELETE:
        break;
    }
}
static void on_done(struct floe_table_req *r)
{
    struct call *k = r->user;
    r->done = k->done;
    r->user = k->user;
    check(k);
    if (r->got_n && strncmp(r->key, "lease/", 6) == 0)
        simmixed_read(k->t->c, k->t->node, r->key, r->got, r->got_n);
    call_free(k);
    r->done(r);
}
/* The same is written again: what lands may be this. */
static void try_again(struct simtable *t, const struct floe_table_req *r)
{
    FLOE_LIST_EACH_SAFE(it, &t->c->tables->refused)
    {
        struct asked *f = FLOE_LIST_ENTRY(it, struct asked, link);
        if (!is_same(f, t->node, r))
            continue;
        floe_list_remove(it);
        free(f);
    }
}
static void table_submit(struct floe_table *base, struct floe_table_req *r)
{
    struct simtable *t = FLOE_CONTAINER(base, struct simtable, base);
    struct call *k = calloc(1, sizeof *k);
    FLOE_ASSERT(k);
    *k = (struct call){.t = t, .r = r, .done = r->done, .user = r->user, .from = t->c->tables->order};
    floe_list_push_back(&t->calls, &k->link);
    if (r->kind != FLOE_TABLE_SCAN)
        key_of(t->c->tables, r->key);
    if (r->kind == FLOE_TABLE_PUT) {
        k->put = asked_of(t, r);
        try_again(t, r);
    }
    r->done = on_done;
    r->user = k;
    floe_table_submit(t->real, r);
}
static void table_cancel(struct floe_table *base, struct floe_table_req *r)
{
    struct simtable *t = FLOE_CONTAINER(base, struct simtable, base);
    FLOE_LIST_EACH(it, &t->calls)
    {
        struct call *k = FLOE_LIST_ENTRY(it, struct call, link);
        if (k->r != r)
            continue;
        if (k->put)
            remember(&t->c->tables->unclear, k);
        floe_table_cancel(t->real, r);
        r->done = k->done;
        r->user = k->user;
        call_free(k);
        return;
    }
}
static const struct floe_table_ops ops = {"checked", table_submit, table_cancel, NULL};

struct floe_table *simtable_create(struct simcluster *c, struct floe_store *store,
                                   const struct floe_sim_node *node)
{
    struct simtable *t = calloc(1, sizeof *t);
    FLOE_ASSERT(t && floe_table_store_create(&t->real, store, NULL) == FLOE_OK);
    t->base.ops = &ops;
    t->base.loop = t->real->loop;
    memcpy(t->base.url, t->real->url, sizeof t->base.url);
    t->c = c;
    t->node = node;
    floe_list_init(&t->calls);
    return &t->base;
}
void simtable_destroy(struct floe_table **table)
{
    struct simtable *t = FLOE_CONTAINER(*table, struct simtable, base);
    *table = NULL;
    floe_table_store_destroy(&t->real);
    while (!floe_list_empty(&t->calls)) {
        struct call *k = FLOE_LIST_ENTRY(t->calls.next, struct call, link);
        if (k->put)
            remember(&t->c->tables->unclear, k);
        call_free(k);
    }
    free(t);
}
void simtables_start(struct simcluster *c)
{
    c->tables = calloc(1, sizeof *c->tables);
    FLOE_ASSERT(c->tables);
    c->tables->c = c;
    floe_map_init(&c->tables->keys);
    floe_list_init(&c->tables->refused);
    floe_list_init(&c->tables->unclear);
}
void simtables_fini(struct simcluster *c)
{
    struct simtables *s = c->tables;
    for (struct floe_map_node *m; (m = floe_map_iter(&s->keys, NULL));) {
        struct key *k = FLOE_MAP_ENTRY(m, struct key, link);
        floe_map_remove(&s->keys, m);
        free(k->h);
        free(k);
    }
    floe_map_fini(&s->keys);
    for (struct floe_list *l; (l = floe_list_pop_front(&s->refused));)
        free(FLOE_LIST_ENTRY(l, struct asked, link));
    free(s);
    c->tables = NULL;
}
