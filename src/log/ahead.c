/* Read ahead: what the receiver of a partition needs, made before the lease names it.
 *
 * Of a takeover: what the lease lists of dead sessions is read while the edit that takes it is written.
 * Of a planned move:
 * The sender says where its newest checkpoint lies, which keys of its chain may be read, and at last where
 * its span will end. The state is built from the store like a rebuild's, beside the partitions that are
 * served: [ckpt, read_to) of the sender's chain, batches of its leader epoch only.
 *
 * All that the sender says is a hint. The state is taken only by a lease that names the same checkpoint and
 * the same span, which ends where no block that was applied lies above; keys of the span that were not read
 * yet are read then. In every other case it is thrown away, and the partition is rebuilt as ever. */
#include "rebuild_int.h"

#include <floe/base/mutant.h>
#include <stdlib.h>

#define AHEAD_MAX 2048u       /* partitions */
#define AHEAD_KEYS_MAX 2048u  /* of one span: who has so many does without */
#define AHEAD_US 5000000u     /* what no lease has asked for goes */
#define AHEAD_HOLD_US 500000u /* requests wait so long for a lease that the sender says is on its way */

struct floe_ahead {
    struct floe_map_node node;
    struct floe_list due; /* log's list: to be read on */
    struct floe_log *log;
    struct floe_tp tp;
    struct floe_session_name session; /* the sender */
    int32_t epoch;                    /* its leader epoch */
    uint64_t ckpt, read_to, reading_to, want_to;
    struct floe_partition *p;
    bool busy;                       /* [read_to, reading_to) is being read */
    uint64_t told_us, ready_us;      /* last told of; when read_to was reached */
    uint64_t hold_us;                /* until when the lease is expected */
    struct floe_lease_entry *adopts; /* that lease; it waits for what is being read */
    struct floe_lease_entry *takes;  /* of a takeover: the lease before it, its spans all closed */
};

static struct floe_ahead *find(struct floe_log *log, const struct floe_tp *tp)
{
    for (struct floe_map_node *n = floe_map_first(&log->aheads, floe_tp_hash(tp)); n;
         n = floe_map_next_same(n)) {
        struct floe_ahead *a = FLOE_MAP_ENTRY(n, struct floe_ahead, node);
        if (floe_tp_eq(&a->tp, tp))
            return a;
    }
    return NULL;
}

struct floe_partition *floe_ahead_building(struct floe_log *log, const struct floe_tp *tp)
{
    struct floe_ahead *a = find(log, tp);
    return a ? a->p : NULL;
}

static void destroy(struct floe_ahead *a)
{
    floe_map_remove(&a->log->aheads, &a->node);
    a->log->ahead_count--;
    floe_list_remove(&a->due);
    if (a->p)
        floe_partition_destroy(a->p, FLOE_ENOTHOLDER);
    free(a->adopts);
    free(a->takes);
    free(a);
}

void floe_ahead_drop(struct floe_log *log, const struct floe_tp *tp)
{
    struct floe_ahead *a = find(log, tp);
    if (a)
        destroy(a);
}

void floe_ahead_drop_all(struct floe_log *log)
{
    for (struct floe_map_node *n; (n = floe_map_iter(&log->aheads, NULL));)
        destroy(FLOE_MAP_ENTRY(n, struct floe_ahead, node));
}

/* ---- reading -------------------------------------------------------------------------------------- */

static void read_on(struct floe_ahead *a)
{
    if (a->busy)
        return;
    if (floe_list_empty(&a->due))
        floe_list_push_back(&a->log->ahead_due, &a->due);
    if (!floe_timer_armed(&a->log->ahead_start))
        floe_timer_start(a->log->cfg.loop, &a->log->ahead_start, 0);
}

static bool add(struct floe_rebuild *g, struct floe_ahead *a)
{
    struct floe_span span = {
        .session = a->session, .first = a->read_to, .end = a->want_to, .epoch = a->epoch};
    struct floe_lease_entry e = {
        .tp = a->tp, .holder = a->session, .epoch = a->epoch, .spans = &span, .span_count = 1};
    if (a->takes)
        e = *a->takes;
    if (!a->p) {
        if (!a->takes)
            e.checkpoint =
                (struct floe_checkpoint_ref){.session = a->session, .seq = a->ckpt, .present = true};
        a->p = floe_partition_create_aside(a->log, &a->tp, a->epoch);
        if (!a->p)
            return false;
        a->p->ahead = a;
        a->p->carried = a->ckpt;
    }
    a->reading_to = a->want_to;
    a->busy = floe_rebuild_add(g, &e, a->p);
    return a->busy;
}

/* What came in one turn is read together. */
static void on_start(struct floe_timer *t)
{
    struct floe_log *log = t->user;
    struct floe_rebuild *g = floe_rebuild_group(log, log->cfg.store, FLOE_REBUILD_AHEAD);
    for (struct floe_list *n; (n = floe_list_pop_front(&log->ahead_due));) {
        struct floe_ahead *a = FLOE_LIST_ENTRY(n, struct floe_ahead, due);
        struct floe_error err;
        floe_error_set(&err, FLOE_ENOMEM, "out of memory");
        if (!g || !add(g, a))
            floe_ahead_failed(a, &err);
    }
}

static void on_end(struct floe_timer *t)
{
    struct floe_log *log = t->user;
    uint64_t now = floe_loop_now_us(log->cfg.loop);
    for (struct floe_map_node *n = floe_map_iter(&log->aheads, NULL), *next; n; n = next) {
        struct floe_ahead *a = FLOE_MAP_ENTRY(n, struct floe_ahead, node);
        next = floe_map_iter(&log->aheads, n);
        if (!a->adopts && now - a->told_us >= AHEAD_US)
            destroy(a);
    }
    if (log->ahead_count > 0)
        floe_timer_start(log->cfg.loop, t, AHEAD_US);
}

void floe_ahead_rebuilt(struct floe_ahead *a)
{
    a->busy = false;
    a->read_to = a->reading_to;
    a->ready_us = floe_loop_now_us(a->log->cfg.loop);
    struct floe_lease_entry *e = a->adopts;
    a->adopts = NULL;
    if (e)
        floe_log_adopt(a->log, e, 1);
    else if (a->read_to < a->want_to)
        read_on(a);
    free(e);
}

void floe_ahead_failed(struct floe_ahead *a, const struct floe_error *err)
{
    struct floe_log *log = a->log;
    struct floe_lease_entry *e = a->adopts;
    (void)err; /* of a hint; what is wrong in the store the rebuild will tell */
    a->adopts = NULL;
    destroy(a);
    if (e)
        floe_log_adopt(log, e, 1);
    free(e);
}

/* ---- told by the sender ----------------------------------------------------------------------------- */

static struct floe_ahead *make(struct floe_log *log, const struct floe_session_name *s,
                               const struct floe_tp *tp, int32_t epoch)
{
    struct floe_ahead *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->log = log;
    a->tp = *tp;
    a->session = *s;
    a->epoch = epoch;
    floe_list_init(&a->due);
    if (!floe_map_insert(&log->aheads, &a->node, floe_tp_hash(tp))) {
        free(a);
        return NULL;
    }
    log->ahead_count++;
    return a;
}

/* True when there is something that is not read yet. */
static bool told(struct floe_log *log, const struct floe_session_name *s, const struct floe_moving *m,
                 bool stopped)
{
    struct floe_ahead *a = find(log, &m->tp);
    uint64_t now = floe_loop_now_us(log->cfg.loop);
    if (floe_partition_get(log, &m->tp) || m->end < m->checkpoint || m->end - m->checkpoint > AHEAD_KEYS_MAX)
        return false;
    bool same = a && !a->takes && floe_session_name_eq(&a->session, s) && a->epoch == m->epoch &&
                a->ckpt == m->checkpoint;
    if (a && !same && (a->adopts || (a->takes && FLOE_MUTANT(AHEAD_ANY_LEASE))))
        return false;
    if (a && !same) {
        destroy(a);
        a = NULL;
    }
    if (!a) {
        a = log->ahead_count < AHEAD_MAX ? make(log, s, &m->tp, m->epoch) : NULL;
        if (!a)
            return false;
        a->ckpt = a->read_to = m->checkpoint;
    }
    a->told_us = now;
    a->hold_us = stopped ? now + AHEAD_HOLD_US : 0;
    a->want_to = FLOE_MAX(a->want_to, m->end);
    if (!a->p || a->read_to < a->want_to)
        read_on(a);
    if (!floe_timer_armed(&log->ahead_end))
        floe_timer_start(log->cfg.loop, &log->ahead_end, AHEAD_US);
    return a->busy || !floe_list_empty(&a->due);
}

uint32_t floe_log_ahead(struct floe_log *log, const struct floe_session_name *sender,
                        const struct floe_moving *parts, uint32_t n, bool stopped)
{
    const struct floe_chain *c = &log->chain;
    uint32_t waiting = 0;
    if (!c->open || c->lost || c->stopping || floe_session_name_eq(sender, &c->session))
        return 0;
    for (uint32_t i = 0; i < n; i++)
        waiting += told(log, sender, &parts[i], stopped);
    return waiting;
}

bool floe_log_expects(struct floe_log *log, const struct floe_tp *tp)
{
    struct floe_ahead *a = log->ahead_count > 0 ? find(log, tp) : NULL;
    return a && floe_loop_now_us(log->cfg.loop) < a->hold_us;
}

/* ---- a takeover -------------------------------------------------------------------------------------- */

static struct floe_lease_entry *copy_of(const struct floe_lease_entry *e)
{
    struct floe_lease_entry *c = malloc(sizeof *c + e->span_count * sizeof *e->spans);
    if (!c)
        return NULL;
    *c = *e;
    struct floe_span *spans = (struct floe_span *)(c + 1);
    memcpy(spans, e->spans, e->span_count * sizeof *e->spans);
    c->spans = spans;
    return c;
}

/* Whether `e` lists what `takes` does, with `more` spans behind that. */
static bool lists(const struct floe_lease_entry *e, const struct floe_lease_entry *takes, uint32_t more)
{
    const struct floe_checkpoint_ref *x = &takes->checkpoint, *y = &e->checkpoint;
    if (e->span_count != takes->span_count + more || x->present != y->present ||
        (x->present && (!floe_session_name_eq(&x->session, &y->session) || x->seq != y->seq)))
        return false;
    for (uint32_t i = 0; i < takes->span_count; i++) {
        const struct floe_span *s = &takes->spans[i], *t = &e->spans[i];
        if (!floe_session_name_eq(&s->session, &t->session) || s->first != t->first || s->end != t->end ||
            s->epoch != t->epoch)
            return false;
    }
    return true;
}

/* The lease that the takeover has written: what was read is all that it lists. */
static bool took(const struct floe_lease_entry *takes, const struct floe_lease_entry *e)
{
    return FLOE_MUTANT(AHEAD_ANY_LEASE) || (e->epoch == takes->epoch + 1 && lists(e, takes, 1));
}

void floe_log_taking(struct floe_log *log, const struct floe_lease_entry *e, uint64_t end)
{
    const struct floe_chain *c = &log->chain;
    struct floe_ahead *a = find(log, &e->tp);
    if (!c->open || c->lost || c->stopping || floe_partition_get(log, &e->tp) || e->span_count == 0 ||
        (a && a->adopts))
        return;
    struct floe_lease_entry *takes = copy_of(e);
    if (!takes)
        return;
    struct floe_span *last = (struct floe_span *)(takes + 1) + takes->span_count - 1;
    last->end = end;
    takes->span_count -= last->first >= end; /* nothing was written in it */
    /* Tried again: what was read, or is being read, is kept. */
    if (a && a->takes && a->epoch == e->epoch && lists(takes, a->takes, 0)) {
        a->told_us = floe_loop_now_us(log->cfg.loop);
        free(takes);
        return;
    }
    if (a)
        destroy(a);
    a = make(log, &e->holder, &e->tp, e->epoch);
    if (!a) {
        free(takes);
        return;
    }
    a->takes = takes;
    a->told_us = floe_loop_now_us(log->cfg.loop);
    read_on(a);
    if (!floe_timer_armed(&log->ahead_end))
        floe_timer_start(log->cfg.loop, &log->ahead_end, AHEAD_US);
}

/* ---- taken by the lease ----------------------------------------------------------------------------- */

/* Where the sender's span ends, by the lease. False: the lease is another one than the sender told of. */
static bool span_end(const struct floe_ahead *a, const struct floe_lease_entry *e, uint64_t *end)
{
    const struct floe_span *s = e->spans;
    *end = UINT64_MAX;
    if (a->takes)
        return took(a->takes, e);
    *end = a->ckpt; /* nothing was written since the checkpoint */
    if (!e->checkpoint.present || !floe_session_name_eq(&e->checkpoint.session, &a->session) ||
        e->checkpoint.seq != a->ckpt || e->epoch != a->epoch + 1 || e->span_count < 1 || e->span_count > 2)
        return false;
    if (e->span_count == 1)
        return true;
    *end = s->end;
    return floe_session_name_eq(&s->session, &a->session) && s->epoch == a->epoch && s->first <= a->ckpt &&
           s->end != FLOE_SPAN_OPEN && s->end >= a->ckpt;
}

bool floe_ahead_adopt(struct floe_log *log, const struct floe_lease_entry *e)
{
    struct floe_ahead *a = log->ahead_count > 0 ? find(log, &e->tp) : NULL;
    uint64_t end;
    if (!a)
        return false;
    bool fits = span_end(a, e, &end);
    bool unread = !a->takes && a->read_to < end && !FLOE_MUTANT(AHEAD_UNREAD);
    if (fits && (a->busy || !a->p || unread)) {
        free(a->adopts);
        a->adopts = copy_of(e);
        if (!a->takes)
            a->want_to = FLOE_MAX(a->want_to, end);
        if (a->adopts) {
            read_on(a);
            return true;
        }
    }
    struct floe_partition *p = a->p; /* from here on also where no memory was left to wait */
    fits = fits && !a->busy && p && !unread && p->carried <= end;
    uint64_t ready_us = a->ready_us;
    fits = fits && floe_partition_insert(p);
    if (fits) {
        a->p = NULL;
        p->ahead = NULL;
        p->epoch = e->epoch;
    }
    destroy(a);
    return fits && floe_rebuild_done(log, e, p, ready_us);
}

/* ---- the whole -------------------------------------------------------------------------------------- */

void floe_ahead_init(struct floe_log *log)
{
    floe_map_init(&log->aheads);
    floe_list_init(&log->ahead_due);
    floe_timer_init(&log->ahead_start, on_start, log);
    floe_timer_init(&log->ahead_end, on_end, log);
}

void floe_ahead_fini(struct floe_log *log)
{
    floe_ahead_drop_all(log);
    floe_map_fini(&log->aheads);
    floe_timer_stop(&log->ahead_start);
    floe_timer_stop(&log->ahead_end);
}
