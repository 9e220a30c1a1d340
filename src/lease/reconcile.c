/* Takeover follows from state: what the cached leases and node records say is compared with what this broker
 * serves, after every change and every third of the lease time.
 *
 *  - a lease names a session whose end is recorded, and placement names this node: take it; after a lease
 * time, anybody's;
 *  - a lease names this session, and it is not served: adopt it, never at a leader epoch that was released;
 *  - something is served that no lease names: drop it.
 *
 * (That a fenced record gets its seal is seen to by observe.c.) What this session does with a partition:
 *
 *   NONE ─► TAKING (edit under way) ─► NONE ─► ADOPTING ─► SERVING
 *                                        ▲        ▼ could not be rebuilt
 *                                        └──── WAITING (back-off) */
#include "lease_int.h"

#include <floe/base/crc32c.h>
#include <floe/base/mutant.h>

#include <stdlib.h>

struct forgotten {
    struct floe_map_node node;
    struct floe_uuid topic;
};

static uint64_t topic_hash(const struct floe_uuid *topic)
{
    return floe_hash64(topic->b, sizeof topic->b, 0);
}

bool floe_lease_topic_forgotten(const struct floe_lease *l, const struct floe_uuid *topic)
{
    struct floe_map_node *m = floe_map_first(&l->forgotten, topic_hash(topic));
    for (; m != NULL; m = floe_map_next_same(m))
        if (floe_uuid_eq(&FLOE_MAP_ENTRY(m, struct forgotten, node)->topic, topic))
            return true;
    return false;
}

struct lease_served *lease_served_find(struct floe_lease *l, const struct floe_tp *tp)
{
    struct floe_map_node *m = floe_map_first(&l->served, floe_tp_hash(tp));
    for (; m != NULL; m = floe_map_next_same(m)) {
        struct lease_served *v = FLOE_MAP_ENTRY(m, struct lease_served, node);
        if (floe_tp_eq(&v->tp, tp))
            return v;
    }
    return NULL;
}

static struct lease_served *served_make(struct floe_lease *l, struct lease_shard *s, const struct floe_tp *tp)
{
    struct lease_served *v = lease_alloc(sizeof *v);
    v->tp = *tp;
    v->released = -1;
    v->gen = s->gen;
    FLOE_ASSERT(floe_map_insert(&l->served, &v->node, floe_tp_hash(tp)));
    floe_list_push_back(&s->served, &v->link);
    return v;
}

static void served_free(struct floe_lease *l, struct lease_served *v)
{
    floe_map_remove(&l->served, &v->node);
    floe_list_remove(&v->link);
    free(v);
}

void lease_reconcile_reset(struct floe_lease *l)
{
    for (uint32_t i = 0; i < l->shard_count && l->shards != NULL; i++) {
        while (!floe_list_empty(&l->shards[i].served))
            served_free(l, FLOE_LIST_ENTRY(l->shards[i].served.next, struct lease_served, link));
        l->shards[i].dirty = true;
    }
    l->adopt_count = 0;
    lease_moves_reset(l);
}

void lease_reconcile_all(struct floe_lease *l)
{
    for (uint32_t i = 0; i < l->shard_count; i++)
        l->shards[i].dirty = true;
}

/* ---- one entry ------------------------------------------------------------------------------------- */

static void release(struct floe_lease *l, struct lease_served *v)
{
    bool known = v->state == SERVED_ADOPTING || v->state == SERVED_SERVING || v->state == SERVED_WAITING;
    if (!known)
        return;
    v->released = FLOE_MAX(v->released, v->epoch);
    v->state = SERVED_NONE;
    v->fails = 0;
    lease_move_forget(l, &v->tp);
    l->cfg.hooks.drop(l->cfg.hooks.user, &v->tp);
}

static void queue_adopt(struct floe_lease *l, const struct floe_lease_entry *e)
{
    if (l->adopt_count == l->adopt_cap) {
        l->adopt_cap = l->adopt_cap == 0 ? 64 : l->adopt_cap * 2;
        l->adopt = realloc(l->adopt, l->adopt_cap * sizeof *l->adopt);
        FLOE_ASSERT(l->adopt != NULL);
    }
    l->adopt[l->adopt_count++] = *e;
}

static void wake_at(struct lease_shard *s, uint64_t us)
{
    s->wake_us = FLOE_MIN(s->wake_us, us);
}

/* A record that has grown long by takeovers: what is served here gets a checkpoint now, not with its turn. */
static void shrink(struct floe_lease *l, struct lease_shard *s, const struct floe_lease_entry *e,
                   struct lease_served *v)
{
    uint64_t now = lease_now(l);
    if (e->span_count < 2 || l->cfg.hooks.checkpoint_now == NULL)
        return;
    if (now >= v->shrink_us) {
        v->shrink_us = now + l->lease_us / 3;
        (void)l->cfg.hooks.checkpoint_now(l->cfg.hooks.user, &e->tp);
    }
    wake_at(s, v->shrink_us);
}

/* The lease names this session. */
static void visit_own(struct floe_lease *l, struct lease_shard *s, const struct floe_lease_entry *e,
                      struct lease_served *v)
{
    uint64_t now = lease_now(l);
    if (floe_lease_topic_forgotten(l, &e->tp.topic)) {
        if (v != NULL)
            release(l, v);
        return;
    }
    if (v == NULL)
        v = served_make(l, s, &e->tp);
    bool known = v->state == SERVED_ADOPTING || v->state == SERVED_SERVING || v->state == SERVED_WAITING;
    if (known && v->epoch != e->epoch) {
        release(l, v);
        known = false;
    }
    if (v->state == SERVED_SERVING && lease_shard_crowded(s))
        shrink(l, s, e, v);
    if (v->released >= e->epoch || v->state == SERVED_ADOPTING || v->state == SERVED_SERVING ||
        l->own.state == OWN_ENDING)
        return;
    if (v->state == SERVED_WAITING && now < v->retry_us) {
        wake_at(s, v->retry_us);
        return;
    }
    v->state = SERVED_ADOPTING;
    v->epoch = e->epoch;
    queue_adopt(l, e);
}

/* Where the holder's chain ended; false while it lives, or while that is being found out. */
static bool holder_end(struct floe_lease *l, const struct floe_session_name *h, uint64_t *end,
                       uint64_t *since)
{
    if (lease_end_find(l, h, end, since))
        return true;
    struct lease_node *n = lease_node_make(l, h->node);
    if (FLOE_MUTANT(TAKEN_UNSEALED) && n->present && n->rec.info.state == FLOE_NODE_FENCED) {
        *end = n->rec.info.committed;
        *since = n->fenced_us;
        return true;
    }
    if (!n->loaded || (n->present && n->rec.info.session.epoch < h->epoch)) {
        if (n->read == NULL && lease_now(l) >= n->next_read_us)
            lease_node_read(l, n);
    } else if (!n->bad && (!n->present || !floe_session_name_eq(&n->rec.info.session, h))) {
        lease_seal_superseded(l, h);
    }
    return false;
}

/* The lease names another session. */
static void visit_other(struct floe_lease *l, struct lease_shard *s, const struct floe_lease_entry *e,
                        struct lease_served *v)
{
    uint64_t now = lease_now(l), end, since;
    if (v != NULL && v->state == SERVED_TAKING)
        return;
    if (v != NULL)
        release(l, v);
    if (lease_own_open(l) && e->holder.node == l->own.name.node && e->holder.epoch >= l->own.name.epoch)
        return; /* the own record has moved on, which the renewal will find out */
    if (!holder_end(l, &e->holder, &end, &since) || l->own.state != OWN_LIVE || !floe_lease_alive(l) ||
        floe_lease_topic_forgotten(l, &e->tp.topic))
        return;
    if (floe_lease_placed(l, &e->tp) != l->own.name.node && now < since + l->lease_us) {
        wake_at(s, since + l->lease_us);
        return;
    }
    if (v != NULL && now < v->retry_us) {
        wake_at(s, v->retry_us);
        return;
    }
    if (v == NULL)
        v = served_make(l, s, &e->tp);
    v->state = SERVED_TAKING;
    struct lease_edit *take = lease_edit_add(l, EDIT_TAKE, &e->tp);
    take->session = l->own.name;
    take->expect = e->holder;
    take->epoch = e->epoch;
    take->key = end;
    l->mover.stats.taken++;
    if (l->cfg.hooks.taking != NULL)
        l->cfg.hooks.taking(l->cfg.hooks.user, e, end);
}

static bool takes_pending(const struct floe_lease *l)
{
    for (uint32_t i = 0; i < l->shard_count; i++) {
        const struct lease_shard *s = &l->shards[i];
        FLOE_LIST_EACH(it, &s->flight)
        {
            if (FLOE_LIST_ENTRY(it, struct lease_edit, link)->kind == EDIT_TAKE)
                return true;
        }
        FLOE_LIST_EACH(it, &s->pending)
        {
            if (FLOE_LIST_ENTRY(it, struct lease_edit, link)->kind == EDIT_TAKE)
                return true;
        }
    }
    return false;
}

/* What is taken over shard by shard is rebuilt together, so that each footer of the dead session is read
 * once; a shard that others write too may come later. */
static void adopt_queued(struct floe_lease *l)
{
    uint64_t now = lease_now(l);
    uint32_t n = 0;
    if (l->adopt_count == 0)
        return;
    if (l->adopt_since_us == 0)
        l->adopt_since_us = now;
    if (now - l->adopt_since_us < LEASE_ADOPT_GATHER_US && takes_pending(l))
        return;
    for (uint32_t i = 0; i < l->adopt_count; i++) {
        const struct lease_served *v = lease_served_find(l, &l->adopt[i].tp);
        struct floe_lease_entry now_there; /* spans of a queued one may be of a document that has gone */
        if (v == NULL || v->state != SERVED_ADOPTING || v->epoch != l->adopt[i].epoch)
            continue; /* released since */
        FLOE_ASSERT(floe_lease_lookup(l, &v->tp, &now_there) && now_there.epoch == v->epoch);
        l->adopt[n++] = now_there;
    }
    l->adopt_count = 0;
    l->adopt_since_us = 0;
    if (n > 0)
        l->cfg.hooks.adopt(l->cfg.hooks.user, l->adopt, n);
}

void lease_take_done(struct floe_lease *l, const struct lease_edit *e)
{
    struct lease_served *v = lease_served_find(l, &e->tp);
    struct lease_shard *s = lease_shard_at(l, &e->tp);
    if (v != NULL && v->state == SERVED_TAKING) {
        v->state = SERVED_NONE;
        v->retry_us = lease_now(l); /* should it have been refused */
        v->retry_us += e->refused_size ? l->lease_us / 20 : lease_backoff_us(l, 0);
    }
    s->dirty = true;
}

static void reconcile_shard(struct floe_lease *l, struct lease_shard *s)
{
    s->dirty = false;
    s->wake_us = UINT64_MAX;
    s->stale |= s->bad; /* what came may have been cut short on its way */
    if (!s->loaded || s->bad)
        return;
    s->gen++;
    for (uint32_t i = 0; i < s->doc.n; i++) {
        const struct floe_lease_entry *e = &s->doc.entries[i].e;
        struct lease_served *v = lease_served_find(l, &e->tp);
        if (v != NULL)
            v->gen = s->gen;
        if (lease_own_is(l, &e->holder))
            visit_own(l, s, e, v);
        else
            visit_other(l, s, e, v);
    }
    FLOE_LIST_EACH_SAFE(it, &s->served)
    {
        struct lease_served *v = FLOE_LIST_ENTRY(it, struct lease_served, link);
        if (v->gen == s->gen || v->state == SERVED_TAKING)
            continue;
        release(l, v); /* its entry is gone, for ever */
        served_free(l, v);
    }
}

void lease_reconcile(struct floe_lease *l)
{
    uint64_t now = lease_now(l);
    if (now >= l->reconcile_us) {
        lease_reconcile_all(l);
        l->reconcile_us = now + l->lease_us / 3;
    }
    if (!lease_own_open(l) || l->own.tell_open)
        return;
    for (uint32_t i = 0; i < l->shard_count; i++) {
        struct lease_shard *s = &l->shards[i];
        if (s->dirty || now >= s->wake_us)
            reconcile_shard(l, s);
    }
    adopt_queued(l);
}

/* ---- from the layer above --------------------------------------------------------------------------- */

void floe_lease_adopted(struct floe_lease *l, const struct floe_tp *tp, int32_t epoch,
                        const struct floe_error *err)
{
    struct lease_served *v = lease_served_find(l, tp);
    struct lease_shard *s = lease_shard_at(l, tp);
    if (v == NULL || v->state != SERVED_ADOPTING || v->epoch != epoch)
        return; /* dropped meanwhile */
    if (err == NULL || err->code == FLOE_OK) {
        v->state = SERVED_SERVING;
        v->fails = 0;
        return;
    }
    v->state = SERVED_WAITING;
    v->retry_us = lease_now(l) + lease_backoff_us(l, v->fails++);
    wake_at(s, v->retry_us);
}

void floe_lease_forget_topic(struct floe_lease *l, const struct floe_uuid *topic)
{
    if (floe_lease_topic_forgotten(l, topic))
        return;
    struct forgotten *f = lease_alloc(sizeof *f);
    f->topic = *topic;
    FLOE_ASSERT(floe_map_insert(&l->forgotten, &f->node, topic_hash(topic)));
    lease_reconcile_all(l);
    lease_kick(l);
}

void lease_forgotten_drop(struct floe_lease *l)
{
    for (struct floe_map_node *m = floe_map_iter(&l->forgotten, NULL), *next; m != NULL; m = next) {
        next = floe_map_iter(&l->forgotten, m);
        free(FLOE_MAP_ENTRY(m, struct forgotten, node));
    }
    floe_map_fini(&l->forgotten);
}
