/* What is still wanted of a segment: the one place that says so. */
#include "retain/retain_int.h"

#include <floe/base/crc32c.h>
#include <floe/base/mutant.h>

#include <stdlib.h>

static uint64_t id_hash(const struct floe_uuid *id)
{
    return floe_hash64(id->b, sizeof id->b, 0);
}

static bool known_gone(const struct floe_retain *r, const struct floe_uuid *id)
{
    for (struct floe_map_node *m = floe_map_first(&r->gone, id_hash(id)); m != NULL;
         m = floe_map_next_same(m))
        if (floe_uuid_eq(&FLOE_MAP_ENTRY(m, struct retain_gone, node)->id, id))
            return true;
    return false;
}

void retain_gone_drop(struct floe_retain *r)
{
    for (struct floe_map_node *m = floe_map_iter(&r->gone, NULL), *next; m != NULL; m = next) {
        next = floe_map_iter(&r->gone, m);
        free(FLOE_MAP_ENTRY(m, struct retain_gone, node));
    }
    floe_map_fini(&r->gone);
    floe_map_init(&r->gone);
}

void retain_gone_add(struct floe_retain *r, const struct floe_uuid *id)
{
    if (known_gone(r, id))
        return;
    if (r->gone.n >= RETAIN_GONE_MAX)
        retain_gone_drop(r); /* what is met again is asked about again */
    struct retain_gone *g = calloc(1, sizeof *g);
    if (g == NULL)
        return;
    g->id = *id;
    if (!floe_map_insert(&r->gone, &g->node, id_hash(id)))
        free(g);
}

bool retain_topic_gone(struct floe_retain *r, const struct floe_uuid *id)
{
    struct retain_pass *p = &r->pass;
    if (known_gone(r, id))
        return true;
    switch (r->cfg.topic(r->cfg.user, id)) {
    case FLOE_RETAIN_TOPIC_GONE:
        return true;
    case FLOE_RETAIN_TOPIC_LIVE:
        return false;
    case FLOE_RETAIN_TOPIC_UNKNOWN:
        break;
    }
    for (uint32_t i = 0; i < p->unknown_n; i++)
        if (floe_uuid_eq(&p->unknown[i], id))
            return false;
    if (p->unknown_n < RETAIN_UNKNOWN_MAX)
        p->unknown[p->unknown_n++] = *id;
    return false;
}

/* Batches of a topic that lives. Retention, DeleteRecords and compaction into history say here what of them
 * may go: what is below the log start, or in history, and under a checkpoint that its lease names. */
static bool batches_wanted(struct floe_retain *r, const struct floe_segment_block *b)
{
    return !retain_topic_gone(r, &b->topic);
}

/* A lease names checkpoints of its holder's epoch and of ever higher keys, so what it has passed it never
 * names again; what is cached may be old, but leases do not go back. */
static bool checkpoint_wanted(struct floe_retain *r, const struct floe_segment_opaque *o,
                              const struct floe_segment_id *at)
{
    const struct floe_tp tp = {.topic = o->topic, .index = o->partition};
    struct floe_lease_entry e;
    if (retain_topic_gone(r, &o->topic) || FLOE_MUTANT(GARBAGE_CHECKPOINT))
        return false;
    if (!floe_lease_lookup(r->cfg.lease, &tp, &e))
        return true; /* not read yet */
    const struct floe_checkpoint_ref *c = &e.checkpoint;
    bool here = c->present && floe_session_name_eq(&c->session, &at->session);
    if (here && c->seq == at->seq)
        return true;
    return !(e.epoch > o->leader_epoch || (here && e.epoch == o->leader_epoch && c->seq > at->seq));
}

/* What pins an opaque block: an index block its partition, for it is a page of the tree of everything there.
 */
static void opaque_pin(struct floe_retain *r, const struct floe_segment_opaque *o,
                       const struct floe_segment_id *at, struct retain_pin *pin)
{
    struct retain_pin is = {.kind = RETAIN_PIN_ALWAYS};
    if (o->kind == FLOE_OPAQUE_INDEX && o->has_topic)
        is = (struct retain_pin){retain_topic_gone(r, &o->topic) ? RETAIN_PIN_NONE : RETAIN_PIN_TOPIC,
                                 o->topic};
    else if (o->kind == FLOE_OPAQUE_CHECKPOINT && o->has_topic)
        is = (struct retain_pin){checkpoint_wanted(r, o, at) ? RETAIN_PIN_CHECKPOINT : RETAIN_PIN_NONE,
                                 o->topic};
    else if (o->kind == FLOE_OPAQUE_ROLLUP)
        is = (struct retain_pin){.kind = RETAIN_PIN_NONE}; /* copies: who misses it reads what it copied */
    if (is.kind == RETAIN_PIN_ALWAYS || is.kind == RETAIN_PIN_TOPIC ||
        (is.kind == RETAIN_PIN_CHECKPOINT && pin->kind == RETAIN_PIN_NONE))
        *pin = is;
}

enum floe_err retain_wanted(struct floe_retain *r, const struct floe_segment_footer *f,
                            const struct floe_uuid *prefer, struct retain_pin *out, struct floe_error *err)
{
    struct floe_segment_cursor c;
    struct floe_segment_block b;
    struct floe_segment_opaque o;
    struct retain_pin pin = {.kind = RETAIN_PIN_NONE};
    floe_segment_cursor_init(&c, f);
    while (floe_segment_next_block(&c, &b)) {
        if (FLOE_MUTANT(GARBAGE_SHARED) && !batches_wanted(r, &b)) {
            *out = (struct retain_pin){.kind = RETAIN_PIN_NONE};
            return FLOE_OK;
        }
        bool better = pin.kind == RETAIN_PIN_NONE || floe_uuid_eq(&b.topic, prefer);
        if (better && batches_wanted(r, &b))
            pin = (struct retain_pin){RETAIN_PIN_TOPIC, b.topic};
    }
    while (pin.kind != RETAIN_PIN_TOPIC && pin.kind != RETAIN_PIN_ALWAYS && floe_segment_next_opaque(&c, &o))
        opaque_pin(r, &o, &f->id, &pin);
    const struct floe_error *bad = floe_segment_cursor_err(&c);
    if (bad->code != FLOE_OK) {
        *err = *bad;
        return bad->code;
    }
    *out = pin;
    return FLOE_OK;
}
