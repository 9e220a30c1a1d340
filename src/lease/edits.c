/* Edits of lease entries: each with its own precondition, applied to a copy of its shard's document. An edit
 * is judged by what is there, never by what was sent: so it can be applied again after any answer. */
#include "lease_int.h"

#include <floe/base/mutant.h>

#include <stdlib.h>

static void refuse(struct lease_edit *e, enum floe_err code, const char *why)
{
    floe_error_set(&e->result, code, "partition %d: %s", (int)e->tp.index, why);
}

static void create(struct floe_lease *l, struct lease_edit *e, struct lease_doc *doc, struct lease_entry *at)
{
    (void)l;
    if (at != NULL)
        return; /* it exists: as wanted */
    if (e->doubtful) {
        /* It may have been made, and the topic finished and deleted by others since: made again it would
         * begin anew at epoch 0. Who wants it looks at the topic's record first. */
        refuse(e, FLOE_EINDETERMINATE, "the table has not said whether the lease was made");
        return;
    }
    if (e->refused_size) {
        floe_error_set(
            &e->result, FLOE_ETOOLARGE,
            "the lease record of its shard would pass %d bytes: the cluster has too many partitions",
            LEASE_CREATE_BYTES_MAX);
        return;
    }
    struct floe_span own = {.session = e->session, .first = e->key, .end = FLOE_SPAN_OPEN};
    at = lease_doc_insert(doc, &e->tp);
    if (at == NULL || !lease_doc_set_spans(doc, at, &own, 1)) {
        refuse(e, FLOE_ENOMEM, "out of memory");
        return;
    }
    at->e.holder = e->session;
    at->nonce = e->nonce;
    e->changed = true;
}

/* The last holder's span ends at `end`, `next`'s session has the lease with the next leader epoch. False when
 * memory is out. */
static bool pass_on(struct lease_doc *doc, struct lease_entry *at, uint64_t end, const struct floe_span *next)
{
    uint32_t n = at->e.span_count;
    struct floe_span *spans = floe_arena_calloc(&doc->arena, n + 1, sizeof *spans);
    if (spans == NULL)
        return false;
    memcpy(spans, at->e.spans, n * sizeof *spans);
    if (spans[n - 1].first < end)
        spans[n - 1].end = end;
    else
        n--; /* nothing was written in it */
    at->e.holder = next->session;
    at->e.epoch++;
    spans[n] = *next;
    spans[n].end = FLOE_SPAN_OPEN;
    spans[n++].epoch = at->e.epoch;
    at->e.spans = spans;
    at->e.span_count = n;
    return true;
}

static void take(struct floe_lease *l, struct lease_edit *e, struct lease_doc *doc, struct lease_entry *at)
{
    if (at == NULL) {
        refuse(e, FLOE_ENOTFOUND, "its lease is gone");
        return;
    }
    if (floe_session_name_eq(&at->e.holder, &e->session) && at->e.epoch == e->epoch + 1)
        return; /* an earlier copy was applied */
    if (!floe_session_name_eq(&at->e.holder, &e->expect) || at->e.epoch != e->epoch) {
        refuse(e, FLOE_ECONFLICT, "another session has taken it");
        return;
    }
    if (!lease_own_is(l, &e->session) || !floe_lease_alive(l) || l->own.state == OWN_ENDING) {
        refuse(e, FLOE_ELAPSED, "the own session is not alive");
        return;
    }
    if (e->refused_size) {
        refuse(e, FLOE_ETOOLARGE, "the lease record of its shard is full until checkpoints are named");
        return;
    }
    if (at->e.span_count + 1 > LEASE_DOC_SPANS_MAX) {
        refuse(e, FLOE_ETOOLARGE, "it has too many spans without a checkpoint");
        return;
    }
    uint64_t first = l->cfg.hooks.next_key(l->cfg.hooks.user) + (FLOE_MUTANT(SPAN_HINT_HIGH) ? 1 : 0);
    uint64_t end = e->key - (FLOE_MUTANT(SPAN_END_EARLY) && e->key > 0 ? 1 : 0);
    if (!pass_on(doc, at, end, &(struct floe_span){.session = e->session, .first = first})) {
        refuse(e, FLOE_ENOMEM, "out of memory");
        return;
    }
    if (FLOE_MUTANT(SPAN_DROPPED_EARLY))
        (void)!lease_doc_set_spans(doc, at, &at->e.spans[at->e.span_count - 1], 1);
    at->nonce = e->nonce;
    e->changed = true;
}

static bool receives(const struct floe_lease *l, const struct floe_session_name *to)
{
    const struct lease_node *n = lease_node_find(l, to->node);
    return n != NULL && n->present && !n->bad && n->gone == NULL && n->rec.info.state == FLOE_NODE_LIVE &&
           floe_session_name_eq(&n->rec.info.session, to);
}

/* A move that is not wanted any more. Where a copy of it may still be on its way, the entry is written anew:
 * that copy's condition then never holds again, and what is refused here has certainly not happened. */
static void take_back(struct lease_edit *e, struct lease_entry *at, const char *why)
{
    refuse(e, FLOE_ETIMEOUT, why);
    if (!e->unclear || at->nonce == e->nonce)
        return;
    at->nonce = e->nonce;
    e->changed = true;
}

static void move(struct floe_lease *l, struct lease_edit *e, struct lease_doc *doc, struct lease_entry *at)
{
    if (at != NULL && floe_session_name_eq(&at->e.holder, &e->to) && at->e.epoch == e->epoch + 1)
        return; /* an earlier copy was applied */
    if (at == NULL || !floe_session_name_eq(&at->e.holder, &e->session) || at->e.epoch != e->epoch ||
        !lease_own_is(l, &e->session)) {
        refuse(e, FLOE_ENOTHOLDER, "its lease names another session or epoch");
        return;
    }
    const struct floe_checkpoint_ref *c = &at->e.checkpoint;
    bool prepared = c->present && floe_session_name_eq(&c->session, &e->session) && c->seq >= e->ref.seq;
    if (e->cancelled || !(prepared || FLOE_MUTANT(MOVE_BEFORE_CHECKPOINT)) || !receives(l, &e->to)) {
        take_back(e, at, !prepared ? "it has no checkpoint" : "nobody can take it now");
        return;
    }
    if (!pass_on(doc, at, e->key, &(struct floe_span){.session = e->to, .first = e->first})) {
        take_back(e, at, "out of memory");
        return;
    }
    if (FLOE_MUTANT(MOVE_BEFORE_CHECKPOINT))
        (void)!lease_doc_set_spans(doc, at, &at->e.spans[at->e.span_count - 1], 1);
    at->nonce = e->nonce;
    e->changed = true;
}

static void checkpoint(struct floe_lease *l, struct lease_edit *e, struct lease_doc *doc,
                       struct lease_entry *at)
{
    (void)l;
    if (at == NULL || at->e.epoch != e->epoch || !floe_session_name_eq(&at->e.holder, &e->session)) {
        refuse(e, FLOE_ENOTHOLDER, "the lease names another session or epoch");
        return;
    }
    const struct floe_checkpoint_ref *c = &at->e.checkpoint;
    if (c->present && floe_session_name_eq(&c->session, &e->ref.session) && c->seq >= e->ref.seq)
        return;
    struct floe_span own = at->e.spans[at->e.span_count - 1];
    own.first = FLOE_MAX(own.first, e->ref.seq + (FLOE_MUTANT(CHECKPOINT_COVERS_ITSELF) ? 1 : 0));
    if (!lease_doc_set_spans(doc, at, &own, 1)) {
        refuse(e, FLOE_ENOMEM, "out of memory");
        return;
    }
    int64_t was = c->log_start, start = doc->format < LEASE_FORMAT_STARTS ? 0 : e->ref.log_start;
    at->e.checkpoint = e->ref;
    at->e.checkpoint.present = true;
    at->e.checkpoint.log_start = FLOE_MAX(was, start);
    e->raises_start = start > was;
    at->nonce = e->nonce;
    e->changed = true;
}

static void take_out(struct floe_lease *l, struct lease_edit *e, struct lease_doc *doc,
                     struct lease_entry *at)
{
    (void)l;
    if (at == NULL)
        return;
    if (at->e.epoch > e->epoch) {
        refuse(e, FLOE_ECONFLICT, "its lease has a new holder");
        return;
    }
    lease_doc_remove(doc, at);
    e->changed = true;
}

void lease_edit_apply(struct floe_lease *l, struct lease_edit *e, struct lease_doc *doc)
{
    struct lease_entry *at = lease_doc_find(doc, &e->tp);
    e->changed = false;
    e->result = (struct floe_error){0};
    switch (e->kind) {
    case EDIT_CREATE:
        create(l, e, doc, at);
        break;
    case EDIT_TAKE:
        take(l, e, doc, at);
        break;
    case EDIT_MOVE:
        move(l, e, doc, at);
        break;
    case EDIT_CHECKPOINT:
        checkpoint(l, e, doc, at);
        break;
    case EDIT_REMOVE:
        take_out(l, e, doc, at);
        break;
    }
}

/* How long a checkpoint may wait to be named with others: each put may spoil one that appends wait for. */
static uint64_t gather_us(const struct floe_lease *l, const struct lease_shard *s, const struct floe_tp *tp)
{
    const struct lease_entry *at = lease_doc_find(&s->doc, tp);
    return at != NULL && at->e.span_count > 1 ? FLOE_MIN((uint64_t)LEASE_GATHER_TAKEN_US, l->lease_us / 5)
                                              : FLOE_MIN((uint64_t)LEASE_GATHER_US, l->lease_us / 20);
}

struct lease_edit *lease_edit_add(struct floe_lease *l, enum lease_edit_kind kind, const struct floe_tp *tp)
{
    struct lease_edit *e = lease_alloc(sizeof *e);
    struct lease_shard *s = lease_shard_at(l, tp);
    e->kind = kind;
    e->tp = *tp;
    e->nonce = floe_rng_u64(&l->loop->rng);
    floe_list_push_back(&s->pending, &e->link);
    uint64_t at = kind == EDIT_CHECKPOINT && !lease_move_waits(l, tp) && !lease_shard_crowded(s)
                      ? FLOE_MAX(lease_now(l) + gather_us(l, s, tp), s->calm_us)
                      : 0;
    bool first = floe_list_empty(&s->flight) && s->pending.next == &e->link;
    s->put_us = first ? at : FLOE_MIN(s->put_us, at);
    lease_kick(l);
    return e;
}

bool lease_edit_stays(const struct floe_lease *l, const struct lease_shard *s, const struct lease_edit *e)
{
    if (l->life >= LIFE_CLOSING)
        return false;
    return e->kind == EDIT_MOVE ? e->unclear
                                : e->kind == EDIT_CHECKPOINT && s->bad && lease_own_is(l, &e->session) &&
                                      l->own.state != OWN_ENDING;
}

/* ---- from the layer above --------------------------------------------------------------------------- */

static struct lease_group *group(struct floe_lease *l, void (*done)(void *, const struct floe_error *),
                                 void *user)
{
    struct lease_group *g = lease_alloc(sizeof *g);
    g->done = done;
    g->user = user;
    floe_list_push_back(&l->groups, &g->link);
    lease_kick(l);
    return g;
}

void floe_lease_create_topic(struct floe_lease *l, const struct floe_uuid *topic, int32_t from, int32_t to,
                             void (*done)(void *user, const struct floe_error *err), void *user)
{
    struct lease_group *g = group(l, done, user);
    int32_t *owners = lease_alloc(FLOE_MAX((size_t)(to - from), 1) * sizeof *owners);
    if (!lease_placed_new(l, topic, from, to, owners))
        floe_error_set(&g->err, FLOE_ELAPSED, "no live broker is known");
    for (int32_t i = from; i < to && g->err.code == FLOE_OK; i++) {
        struct floe_tp tp = {.topic = *topic, .index = i};
        const struct lease_node *n = lease_node_find(l, owners[i - from]);
        struct lease_edit *e = lease_edit_add(l, EDIT_CREATE, &tp);
        /* A key not above the holder's next unused one: what its record says is committed, or the log knows,
         * which speaks of the former session until it has been told of this one. */
        e->session = n->rec.info.session;
        e->key = lease_own_is(l, &e->session) && !l->own.tell_open ? l->cfg.hooks.next_key(l->cfg.hooks.user)
                                                                   : n->rec.info.committed;
        e->group = g;
        g->left++;
    }
    free(owners);
}

void floe_lease_delete_topic(struct floe_lease *l, const struct floe_uuid *topic, int32_t partitions,
                             const int32_t *epochs, void (*done)(void *user, const struct floe_error *err),
                             void *user)
{
    struct lease_group *g = group(l, done, user);
    for (int32_t i = 0; i < partitions; i++) {
        struct floe_tp tp = {.topic = *topic, .index = i};
        struct lease_edit *e = lease_edit_add(l, EDIT_REMOVE, &tp);
        e->epoch = epochs[i];
        e->group = g;
        g->left++;
    }
}

int32_t floe_lease_partitions(struct floe_lease *l, const struct floe_uuid *topic)
{
    int32_t n = 0;
    for (uint32_t i = 0; i < l->shard_count; i++)
        for (uint32_t k = 0; k < l->shards[i].doc.n; k++) {
            const struct floe_tp *tp = &l->shards[i].doc.entries[k].e.tp;
            if (floe_uuid_eq(&tp->topic, topic))
                n = FLOE_MAX(n, tp->index + 1);
        }
    return n;
}

void floe_lease_checkpointed(struct floe_lease *l, const struct floe_tp *tp, int32_t epoch,
                             const struct floe_checkpoint_ref *ref)
{
    struct lease_shard *s = lease_shard_at(l, tp);
    FLOE_LIST_EACH(it, &s->flight)
    {
        struct lease_edit *e = FLOE_LIST_ENTRY(it, struct lease_edit, link);
        if (s->bad && e->kind == EDIT_CHECKPOINT && floe_tp_eq(&e->tp, tp) && e->epoch == epoch &&
            floe_session_name_eq(&e->session, &ref->session)) {
            e->ref = *ref; /* of what waits for the record the newest is enough */
            return;
        }
    }
    struct lease_edit *e = lease_edit_add(l, EDIT_CHECKPOINT, tp);
    e->session = ref->session;
    e->epoch = epoch;
    e->ref = *ref;
}
