/* The garbage collector's life: what begins its work, which chains it watches, one job at a time. */
#include "retain/retain_int.h"

#include <floe/base/crc32c.h>

#include <stdio.h>
#include <stdlib.h>

#define PACE_US 10000u     /* between two jobs */
#define TICK_MIN_US 50000u /* how often the memory of others is looked at: nothing is asked for that */
#define TICK_MAX_US 30000000u
#define SOON_MAX_US 10000000u /* after a topic has gone: others go along with it */

static void scan_page(struct floe_retain *r, const char *after);

uint64_t retain_now(struct floe_retain *r)
{
    return floe_loop_now_us(r->cfg.loop);
}

/* ---- chains ----------------------------------------------------------------------------------------------
 */

static uint64_t session_hash(const struct floe_session_name *s)
{
    uint8_t b[16];
    floe_put_be32(b, (uint32_t)s->node);
    floe_put_be32(b + 4, (uint32_t)s->epoch);
    floe_put_be64(b + 8, s->id);
    return floe_hash64(b, sizeof b, 0);
}

struct retain_chain *retain_chain_find(struct floe_retain *r, const struct floe_session_name *s)
{
    for (struct floe_map_node *m = floe_map_first(&r->by_session, session_hash(s)); m != NULL;
         m = floe_map_next_same(m)) {
        struct retain_chain *c = FLOE_MAP_ENTRY(m, struct retain_chain, node);
        if (floe_session_name_eq(&c->session, s))
            return c;
    }
    return NULL;
}

static struct retain_chain *chain_make(struct floe_retain *r, const struct floe_session_name *s)
{
    struct retain_chain *c = retain_chain_find(r, s);
    if (c != NULL)
        return c;
    c = calloc(1, sizeof *c);
    if (c == NULL || !floe_map_insert(&r->by_session, &c->node, session_hash(s))) {
        free(c);
        return NULL;
    }
    c->session = *s;
    c->since_us = retain_now(r);
    c->aged_us = RETAIN_NEVER;
    c->due_us = c->since_us + r->cfg.age_us; /* orphans behind its end */
    floe_list_push_back(&r->chains, &c->link);
    r->stats.chains++;
    return c;
}

void retain_chain_free(struct floe_retain *r, struct retain_chain *c)
{
    floe_list_remove(&c->link);
    floe_map_remove(&r->by_session, &c->node);
    retain_runs_fini(&c->rec.runs);
    free(c);
    r->stats.chains--;
}

bool retain_is_live(struct floe_retain *r, const struct floe_session_name *s)
{
    const struct floe_session_name *own = floe_lease_session(r->cfg.lease);
    uint64_t end;
    return own != NULL && floe_session_name_eq(own, s) && !floe_lease_end_of(r->cfg.lease, s, &end);
}

bool retain_is_past(struct floe_retain *r, const struct floe_session_name *s)
{
    struct floe_node_info n;
    if (!floe_lease_node(r->cfg.lease, s->node, &n))
        return false;
    if (!floe_session_name_eq(&n.session, s))
        return n.session.epoch > s->epoch;
    return n.state == FLOE_NODE_SEALED || n.state == FLOE_NODE_ENDED;
}

/* The live nodes' ids; null when memory is out or none is known. */
static int32_t *live_nodes(struct floe_retain *r, uint32_t *count, uint64_t *members)
{
    uint32_t n = floe_lease_nodes(r->cfg.lease, NULL, 0);
    struct floe_node_info *nodes = calloc((size_t)n + 1, sizeof *nodes);
    int32_t *ids = calloc((size_t)n + 1, sizeof *ids);
    uint64_t h = n;
    *count = 0;
    n = nodes != NULL ? FLOE_MIN(floe_lease_nodes(r->cfg.lease, nodes, n), n) : 0;
    for (uint32_t i = 0; i < n && ids != NULL; i++) {
        uint64_t of[] = {h, nodes[i].session.id, (uint64_t)nodes[i].state};
        h = floe_hash64(of, sizeof of, 0);
        if (nodes[i].state == FLOE_NODE_LIVE)
            ids[(*count)++] = nodes[i].session.node;
    }
    free(nodes);
    if (members != NULL)
        *members = h;
    return ids;
}

/* Which broker looks after a chain that has ended: any may, one is enough. */
static bool is_mine(struct floe_retain *r, const struct floe_session_name *s, const int32_t *ids, uint32_t n)
{
    struct floe_tp at = {.index = -2};
    floe_put_be32(at.topic.b, (uint32_t)s->node);
    floe_put_be32(at.topic.b + 4, (uint32_t)s->epoch);
    floe_put_be64(at.topic.b + 8, s->id);
    return n > 0 && floe_placement_owner(&at, ids, n) == floe_lease_node_id(r->cfg.lease);
}

/* ---- the scan: which sessions have records ---------------------------------------------------------------
 */

static void arm(struct floe_retain *r)
{
    uint64_t now = retain_now(r), due = FLOE_MIN(r->scan_due_us, r->sweep_due_us);
    uint64_t wait = FLOE_MIN(FLOE_MAX(r->cfg.age_us / 16, (uint64_t)TICK_MIN_US), (uint64_t)TICK_MAX_US);
    FLOE_LIST_EACH(it, &r->chains)
    due = FLOE_MIN(due, FLOE_LIST_ENTRY(it, struct retain_chain, link)->due_us);
    if (due < now + wait)
        wait = due > now + PACE_US ? due - now : PACE_US;
    floe_timer_start(r->cfg.loop, &r->tick, wait);
}

void retain_next(struct floe_retain *r)
{
    arm(r);
}

/* All were seen: those that have no record any more, or another looks after, go; the others are due. */
static void scanned(struct floe_retain *r)
{
    uint64_t now = retain_now(r);
    const struct floe_session_name *own = floe_lease_session(r->cfg.lease);
    struct retain_chain *c = r->deep_own && own != NULL && retain_is_live(r, own) ? chain_make(r, own) : NULL;
    if (c != NULL) {
        c->deep = true;
        c->due_us = now;
    }
    FLOE_LIST_EACH_SAFE(it, &r->chains)
    {
        c = FLOE_LIST_ENTRY(it, struct retain_chain, link);
        if (retain_is_live(r, &c->session))
            continue;
        if (c->gen != r->gen) {
            retain_chain_free(r, c);
        } else if (r->deep_ended) {
            c->deep = true;
            c->due_us = now;
        }
    }
    r->deep_ended = r->deep_own = false;
}

static void take_entries(struct floe_retain *r, const struct floe_table_req *q)
{
    uint32_t n;
    int32_t *ids = live_nodes(r, &n, NULL);
    for (uint32_t i = 0; i < q->entry_count && ids != NULL; i++) {
        struct floe_session_name s;
        const char *name = strchr(q->entries[i].key, '/');
        if (name == NULL || !floe_session_parse(&s, name + 1) || retain_is_live(r, &s) ||
            !is_mine(r, &s, ids, n))
            continue;
        struct retain_chain *c = chain_make(r, &s);
        if (c == NULL)
            continue;
        if (c->gen != r->gen && !c->ended) {
            c->loaded = false; /* it was live when it was looked at last, or is new */
            c->deep = r->any_gone;
            c->since_us = retain_now(r);
            c->due_us = FLOE_MIN(c->due_us, c->since_us + r->cfg.age_us);
        }
        c->gen = r->gen;
    }
    free(ids);
}

static void on_scan(struct floe_table_req *q)
{
    struct floe_retain *r = q->user;
    bool ok = q->err.code == FLOE_OK, more = ok && q->truncated && q->entry_count > 0;
    char after[FLOE_TABLE_KEY_MAX] = "";
    if (ok)
        take_entries(r, q);
    if (more)
        snprintf(after, sizeof after, "%s", q->entries[q->entry_count - 1].key);
    floe_table_req_fini(q);
    r->scanning = false;
    if (!ok) {
        r->scan_due_us = retain_now(r) + r->cfg.age_us / 16 + 1000000;
    } else if (more) {
        scan_page(r, after);
        return;
    } else if (strcmp(r->scan_prefix, "ended/") == 0) {
        snprintf(r->scan_prefix, sizeof r->scan_prefix, "floor/"); /* one that is left alone goes as well */
        scan_page(r, "");
        return;
    } else {
        scanned(r);
    }
    arm(r);
}

static void scan_page(struct floe_retain *r, const char *after)
{
    r->scanning = true;
    r->scan = (struct floe_table_req){.kind = FLOE_TABLE_SCAN, .max_keys = 1000, .done = on_scan, .user = r};
    snprintf(r->scan.key, sizeof r->scan.key, "%s", r->scan_prefix);
    snprintf(r->scan.start_after, sizeof r->scan.start_after, "%s", after);
    floe_table_submit(r->cfg.table, &r->scan);
}

static void scan(struct floe_retain *r)
{
    r->stats.sweeps++;
    r->scan_due_us = RETAIN_NEVER;
    r->gen++;
    snprintf(r->scan_prefix, sizeof r->scan_prefix, "ended/");
    scan_page(r, "");
}

/* ---- the tick --------------------------------------------------------------------------------------------
 */

/* The floor of the open session counts from when a renewal has carried it too: a fencer starts there. */
static void mind_own_floor(struct floe_retain *r)
{
    const struct floe_session_name *own = floe_lease_session(r->cfg.lease);
    struct retain_chain *c = own != NULL ? retain_chain_find(r, own) : NULL;
    uint64_t committed, floor;
    if (c == NULL || c->aged_us != RETAIN_NEVER || c->rec.floor == 0 || !retain_is_live(r, own))
        return;
    floe_lease_durable(r->cfg.lease, &committed, &floor);
    if (floor < c->rec.floor)
        return;
    c->aged_us = retain_now(r) + r->cfg.age_us;
    c->due_us = FLOE_MIN(c->due_us, c->aged_us);
}

static void begin_job(struct floe_retain *r, uint64_t now)
{
    if (now >= r->sweep_due_us) {
        uint64_t every = r->cfg.age_us * RETAIN_SWEEP_AGES;
        r->sweep_due_us = now + every - floe_rng_below(&r->cfg.loop->rng, every / 8 + 1);
        r->deep_ended = true;
        r->scan_due_us = now;
    }
    if (now >= r->scan_due_us) {
        scan(r);
        return;
    }
    struct retain_chain *first = NULL;
    FLOE_LIST_EACH(it, &r->chains)
    {
        struct retain_chain *c = FLOE_LIST_ENTRY(it, struct retain_chain, link);
        if (c->due_us <= now && (first == NULL || c->due_us < first->due_us))
            first = c;
    }
    if (first != NULL)
        retain_pass_start(r, first);
}

static void on_tick(struct floe_timer *t)
{
    struct floe_retain *r = t->user;
    uint64_t now = retain_now(r), members;
    uint32_t n;
    floe_timer_start(r->cfg.loop, &r->tick, TICK_MAX_US); /* moved by arm, or by the end of the job */
    if (!r->scanning && r->pass.c == NULL && floe_lease_alive(r->cfg.lease)) {
        free(live_nodes(r, &n, &members));
        if (members != r->members) { /* a session has come, ended or was sealed */
            r->members = members;
            r->scan_due_us =
                FLOE_MIN(r->scan_due_us, now + FLOE_MIN(r->cfg.age_us / 4, (uint64_t)SOON_MAX_US));
        }
        mind_own_floor(r);
        begin_job(r, now);
    }
    if (!r->scanning && r->pass.c == NULL)
        arm(r);
}

void floe_retain_topic_gone(struct floe_retain *r)
{
    r->deep_ended = r->deep_own = r->any_gone = true;
    uint64_t soon = FLOE_MIN(r->cfg.age_us / 8, (uint64_t)SOON_MAX_US);
    r->scan_due_us = FLOE_MIN(r->scan_due_us, retain_now(r) + soon);
}

uint64_t floe_retain_floor(struct floe_retain *r, const struct floe_session_name *s)
{
    const struct retain_chain *c = retain_chain_find(r, s);
    return c != NULL ? c->rec.floor : 0;
}

/* ---- life ------------------------------------------------------------------------------------------------
 */

enum floe_err floe_retain_create(struct floe_retain **out, const struct floe_retain_config *cfg,
                                 struct floe_error *err)
{
    struct floe_retain *r = calloc(1, sizeof *r);
    if (r == NULL)
        return floe_error_set(err, FLOE_ENOMEM, "no memory");
    r->cfg = *cfg;
    if (r->cfg.age_us == 0)
        r->cfg.age_us = FLOE_RETAIN_AGE_US_DEFAULT;
    floe_map_init(&r->by_session);
    floe_map_init(&r->gone);
    floe_list_init(&r->chains);
    floe_timer_init(&r->tick, on_tick, r);
    r->scan_due_us = r->sweep_due_us = RETAIN_NEVER;
    *out = r;
    return FLOE_OK;
}

void floe_retain_start(struct floe_retain *r)
{
    r->sweep_due_us = retain_now(r) + r->cfg.age_us;
    arm(r);
}

void floe_retain_destroy(struct floe_retain **rp)
{
    struct floe_retain *r = *rp;
    if (r == NULL)
        return;
    *rp = NULL;
    floe_timer_stop(&r->tick);
    if (r->scanning)
        floe_table_cancel(r->cfg.table, &r->scan);
    floe_table_req_fini(&r->scan);
    retain_pass_fini(r);
    while (!floe_list_empty(&r->chains))
        retain_chain_free(r, FLOE_LIST_ENTRY(r->chains.next, struct retain_chain, link));
    retain_gone_drop(r);
    floe_map_fini(&r->by_session);
    free(r);
}

void floe_retain_get_stats(const struct floe_retain *r, struct floe_retain_stats *out)
{
    *out = r->stats;
}
