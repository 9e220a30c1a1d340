/* A group whose members come and go and speak either protocol, each life another, so that it is converted
 * from the classic protocol to the consumer protocol and back again and again (invariant 9), with type
 * "consumer" and an assignor that is eager, or cooperative.
 *
 * What a member owns is its own until it gives it up, or until it was not heard of for as long as it must be
 * waited for: no two own a partition at the same time. Who was heard of lately is known. What was committed
 * is told until a later commit. Without faults every partition has an owner in the end. */
#include <stdlib.h>

#include <floe/base/assert.h>

#include "sim_convert.h"

#define GIVES_US 2000000
#define WAITED_US (990ull * CONVERT_TIME_MS)

static uint64_t below(struct simconvert *m, uint64_t n)
{
    return floe_rng_below(&m->all->rng, n);
}
static uint64_t now_of(const struct simconvert *m)
{
    return floe_sim_now_us(m->all->c->sim);
}
static void tick(struct simconvert *m, uint64_t us)
{
    floe_sim_unschedule(m->all->c->sim, &m->tick);
    floe_sim_after(m->all->c->sim, &m->tick, us);
}
static bool ok(const struct simcall *k)
{
    return k->err == FLOE_OK && k->answered;
}
static bool told(const struct simcall *k, int16_t error)
{
    return k->answered && k->err && k->kafka_error == error;
}

/* ---- what a member has -------------------------------------------------------------------------------- */

static void own(struct simconvert *m, uint32_t parts)
{
    struct simconverts *a = m->all;
    m->owned = parts;
    for (uint32_t i = 0; i < a->size; i++) {
        const struct simconvert *o = &a->member[i];
        if (o != m && (o->owned & parts) && now_of(m) < o->heard_us + WAITED_US)
            simcluster_violation(a->c, 9,
                                 "members %u and %u of the group that is converted own partitions %x at the "
                                 "same time",
                                 m->slot, o->slot, o->owned & parts);
    }
}
/* `anew`: it is a member no longer. */
static void out(struct simconvert *m, bool anew)
{
    m->state = CONVERT_OUT;
    m->full = true;
    m->owned &= ~m->gives; /* before anything else */
    m->gives = 0;
    if (anew || !m->all->cooperative || !m->speaks_classic)
        m->owned = 0;
    if (!anew)
        return;
    m->epoch = 0;
    m->heard_us = 0;
    if (m->speaks_classic)
        m->id[0] = 0;
}
static void heard_of(struct simconvert *m, const struct simcall *k)
{
    m->heard_us = FLOE_MAX(m->heard_us, k->started_us);
}
static bool put_out(struct simconvert *m, const struct simcall *k)
{
    bool unknown = told(k, FLOE_KERR_UNKNOWN_MEMBER_ID),
         lost = told(k, FLOE_KERR_ILLEGAL_GENERATION) || told(k, FLOE_KERR_FENCED_MEMBER_EPOCH) ||
                told(k, FLOE_KERR_STALE_MEMBER_EPOCH),
         rejoin = told(k, FLOE_KERR_REBALANCE_IN_PROGRESS);
    if (!unknown && !lost && !rejoin)
        return false;
    floe_sim_note(m->all->c->sim, NULL, "converting member %u (%s) is told %s at %d", m->slot,
                  m->speaks_classic ? "classic" : "consumer", floe_kafka_error_name(k->kafka_error),
                  m->epoch);
    if (unknown && m->heard_us && now_of(m) < m->heard_us + WAITED_US)
        simcluster_violation(m->all->c, 9,
                             "member %u of the group that is converted is not known %llu us after it was "
                             "heard of",
                             m->slot, (unsigned long long)(now_of(m) - m->heard_us));
    if (lost && m->speaks_classic) { /* it stays a member, and has lost what it had */
        m->owned = 0;
        out(m, false);
    } else {
        out(m, !rejoin);
    }
    return true;
}
/* Whose answers counts as lost: a broker that takes a session for alive which is over tells anything. */
static bool counts(struct simconvert *m, const struct simcall *k)
{
    return k->life == m->life && !(k->answered && k->misled);
}
static void lost(struct simconvert *m)
{
    m->machine = -1;
    m->full = true;
    tick(m, below(m, 200000));
}

/* ---- commits ------------------------------------------------------------------------------------------ */

static void judge_commit(struct simconvert *m, const struct simcall *k)
{
    struct simconvert_commit *e = &m->all->commit[k->offset];
    if (ok(k)) {
        e->state = CONVERT_STANDS;
        e->stands_us = now_of(m);
        m->all->c->out->commits++;
    } else if (e->state == CONVERT_FLYING) {
        bool refused = told(k, FLOE_KERR_ILLEGAL_GENERATION) || told(k, FLOE_KERR_UNKNOWN_MEMBER_ID) ||
                       told(k, FLOE_KERR_STALE_MEMBER_EPOCH) || told(k, FLOE_KERR_REBALANCE_IN_PROGRESS);
        e->state = refused ? CONVERT_REFUSED : CONVERT_UNKNOWN;
    }
}
static void check_read(struct simconvert *m, const struct simcall *k)
{
    struct simconverts *a = m->all;
    struct simconvert_commit *e = k->result >= 0 && k->result < a->commits ? &a->commit[k->result] : NULL;
    if (k->result >= 0 && (!e || e->part != k->index || e->state == CONVERT_REFUSED))
        simcluster_violation(a->c, 9,
                             "the group that is converted has %lld committed for partition %d, which %s",
                             (long long)k->result, k->index, e ? "was refused" : "nobody did");
    for (uint32_t i = 0; i < a->commits; i++) {
        const struct simconvert_commit *b = &a->commit[i];
        if (b != e && b->part == k->index && b->state == CONVERT_STANDS && b->stands_us <= k->started_us &&
            (!e || (e->state == CONVERT_STANDS && e->stands_us <= b->began_us)))
            simcluster_violation(a->c, 9,
                                 "the group that is converted has %lld committed for partition %d, %u came "
                                 "later",
                                 (long long)k->result, k->index, i);
    }
    if (e && e->state != CONVERT_STANDS) {
        e->state = CONVERT_STANDS;
        e->stands_us = now_of(m);
    }
}

/* ---- answers ------------------------------------------------------------------------------------------ */

/* Of which kind the group is now. */
static void note_kind(struct simconverts *a, bool classic)
{
    a->c->out->converted += a->known && a->was_classic != classic;
    a->known = true;
    a->was_classic = classic;
}
static void on_beat(struct simconvert *m, const struct simcall *k)
{
    note_kind(m->all, false);
    m->epoch = k->epoch;
    m->state = CONVERT_MEMBER;
    m->full = false;
    heard_of(m, k);
    if (k->assigns)
        own(m, k->assigned);
    m->all->c->out->beats++;
    tick(m, 100000 + below(m, 400000));
}
static void on_joined(struct simconvert *m, struct simcall *k)
{
    struct simconverts *a = m->all;
    m->joined = *k->convert;
    memcpy(m->id, m->joined.id, sizeof m->id);
    m->epoch = k->generation;
    m->state = CONVERT_JOINED;
    floe_sim_note(a->c->sim, NULL, "converting member %u joins %d of a %s group", m->slot, m->epoch,
                  m->joined.classic ? "classic" : "consumer");
    note_kind(a, m->joined.classic);
    if (!m->joined.classic) { /* of a classic group nothing is kept before the shares are */
        /* Was it put out meanwhile, then it comes anew: a consumer group takes any id, as Kafka's does. */
        if (now_of(m) >= m->heard_us + WAITED_US)
            m->owned = 0;
        heard_of(m, k);
    }
    tick(m, below(m, 20000));
}
/* What a share of a cooperative group lacks is its own until it has given it up, which takes a moment; it
 * says so by joining again. Meanwhile somebody of the other protocol comes. */
static void gives_back(struct simconvert *m, uint32_t gives)
{
    struct simconverts *a = m->all;
    uint64_t takes = below(m, GIVES_US);
    m->gives = gives;
    m->gives_us = now_of(m) + takes;
    for (uint32_t i = 0; i < a->size; i++) {
        struct simconvert *o = &a->member[i];
        if (o->state == CONVERT_GONE && !o->speaks_classic && below(m, 2))
            tick(o, below(m, takes + 1));
    }
}
static void on_synced(struct simconvert *m, const struct simcall *k)
{
    uint32_t gives = m->all->cooperative ? m->owned & ~k->assigned : 0;
    m->state = CONVERT_MEMBER;
    m->reads = true;
    heard_of(m, k);
    own(m, k->assigned | gives);
    m->all->c->out->shares++;
    floe_sim_note(m->all->c->sim, NULL, "converting member %u has partitions %x at %d", m->slot, k->assigned,
                  m->epoch);
    if (gives)
        gives_back(m, gives);
    tick(m, below(m, 20000));
}
static void on_answer(struct simcall *k)
{
    struct simconvert *m = k->user;
    enum simconvert_step step = k->step;
    if (step == CONVERT_COMMIT)
        judge_commit(m, k);
    if (step == CONVERT_READ && ok(k) && !k->misled)
        check_read(m, k);
    if (k->life != m->life || step == CONVERT_LEAVE)
        return;
    if (!counts(m, k)) {
        lost(m);
    } else if (step == CONVERT_JOIN && told(k, FLOE_KERR_MEMBER_ID_REQUIRED)) {
        memcpy(m->id, k->convert->id, sizeof m->id);
        tick(m, 0);
    } else if (ok(k) && step == CONVERT_FIND) {
        m->machine = k->machine;
        tick(m, m->machine >= 0 ? 0 : 100000);
    } else if (ok(k) && step == CONVERT_BEAT) {
        on_beat(m, k);
    } else if (ok(k) && step == CONVERT_JOIN) {
        on_joined(m, k);
    } else if (ok(k) && step == CONVERT_SYNC) {
        on_synced(m, k);
    } else if (ok(k)) {
        if (step == CONVERT_HEARTBEAT)
            heard_of(m, k);
        m->reads = m->reads && step != CONVERT_READ;
        tick(m, 50000 + below(m, 400000));
    } else if (put_out(m, k)) {
        tick(m, below(m, 100000));
    } else {
        lost(m);
    }
}

/* ---- what a member does ------------------------------------------------------------------------------- */

static struct simcall *call(struct simconvert *m, enum simconvert_step step)
{
    bool find = step == CONVERT_FIND, lasts = step == CONVERT_JOIN || step == CONVERT_SYNC;
    struct simcall *k = simcall_new(m->all->c, find ? CALL_COORDINATOR : CALL_CONVERT, 0, on_answer, m);
    k->rng = &m->all->rng;
    k->step = step;
    k->group = SIM_CONVERT_GROUP;
    k->life = m->life;
    k->generation = m->epoch;
    k->patience_us = lasts ? 1500ull * CONVERT_TIME_MS : 500000 + below(m, 3000000);
    return k;
}
static struct simcall *offsets(struct simconvert *m, bool commits)
{
    struct simconverts *a = m->all;
    struct simcall *k = call(m, commits ? CONVERT_COMMIT : CONVERT_READ);
    k->index = (int32_t)below(m, a->c->shape.partitions);
    while (!(m->owned & 1u << k->index))
        k->index = (k->index + 1) % (int32_t)a->c->shape.partitions;
    if (commits) {
        k->offset = a->commits++;
        a->commit[k->offset] = (struct simconvert_commit){.part = (uint8_t)k->index, .began_us = now_of(m)};
    }
    return k;
}
static struct simcall *next_call(struct simconvert *m)
{
    bool member = m->state == CONVERT_MEMBER;
    if (member && m->owned && (m->reads || below(m, 3) == 0) && m->all->commits < CONVERT_COMMITS_MAX)
        return offsets(m, !m->reads && below(m, 4) > 0);
    if (!m->speaks_classic)
        return call(m, CONVERT_BEAT);
    return call(m, member ? CONVERT_HEARTBEAT : m->state == CONVERT_JOINED ? CONVERT_SYNC : CONVERT_JOIN);
}
/* Another life, which speaks either protocol. */
static void begin(struct simconvert *m)
{
    m->life++;
    m->speaks_classic = below(m, 3);
    out(m, true);
    if (!m->speaks_classic)
        snprintf(m->id, sizeof m->id, "convert-%u-%u", m->slot, m->life);
}
/* It leaves, or dies without a word: those of the consumer protocol seldom, for their sessions are long. */
static void goes(struct simconvert *m)
{
    bool leaves = below(m, m->speaks_classic ? 3 : 16) > 0;
    uint64_t back = 200000 + below(m, below(m, 2) ? 2000000 : 9000000);
    floe_sim_note(m->all->c->sim, NULL, "converting member %u %s", m->slot, leaves ? "leaves" : "dies");
    if (leaves) {
        struct simcall *k = call(m, m->speaks_classic ? CONVERT_LEAVE : CONVERT_BEAT);
        k->generation = -1;
        k->step = CONVERT_LEAVE;
        simcall_send(k, simproc_at(m->all->c, m->machine), 2000000);
    }
    m->owned = 0;
    begin(m);
    m->state = CONVERT_GONE;
    tick(m, back);
}
static struct simproc *any_broker(struct simconvert *m)
{
    return simproc_any_from(m->all->c, below(m, m->all->c->shape.nodes));
}
static void on_tick(struct floe_sim_event *e)
{
    struct simconvert *m = FLOE_CONTAINER(e, struct simconvert, tick);
    struct simcluster *c = m->all->c;
    if (m->state == CONVERT_GONE)
        m->state = CONVERT_OUT;
    struct simproc *to = m->machine < 0 ? any_broker(m) : simproc_at(c, m->machine);
    if (m->machine < 0 && !to) {
        tick(m, 100000);
        return;
    }
    if (m->machine >= 0 && m->state == CONVERT_MEMBER && !c->stopping && below(m, 12) == 0) {
        goes(m);
        return;
    }
    if (m->gives && now_of(m) >= m->gives_us)
        out(m, false);
    struct simcall *k = m->machine < 0 ? call(m, CONVERT_FIND) : next_call(m);
    simcall_send(k, to, k->patience_us);
}

/* ---- all of them -------------------------------------------------------------------------------------- */

uint32_t simconvert_share(const struct simconvert *m, uint32_t place)
{
    const struct simconvert_answer *j = &m->joined;
    uint32_t share = 0, others = 0;
    for (uint32_t i = place; i < m->all->c->shape.partitions; i += j->n)
        share |= 1u << i;
    for (uint32_t i = 0; i < j->n; i++)
        others |= i == place ? 0 : j->member[i].owned;
    return m->all->cooperative ? share & ~others : share;
}
void simconverts_start(struct simcluster *c)
{
    struct simconverts *a = c->converts = calloc(1, sizeof *a);
    FLOE_ASSERT(a);
    a->c = c;
    floe_rng_init(&a->rng, c->cfg.seed ^ 0xc04e);
    a->size = 3 + (uint32_t)floe_rng_below(&a->rng, CONVERT_SIZE - 2);
    a->cooperative = floe_rng_below(&a->rng, 2);
    for (uint32_t i = 0; i < a->size; i++) {
        struct simconvert *m = &a->member[i];
        *m = (struct simconvert){.all = a, .slot = (uint8_t)i, .machine = -1, .tick = {.fn = on_tick}};
        begin(m);
        tick(m, below(m, 300000));
    }
}
bool simconverts_settled(const struct simcluster *c)
{
    const struct simconverts *a = c->converts;
    uint32_t all = 0;
    for (uint32_t i = 0; a && i < a->size; i++) {
        const struct simconvert *m = &a->member[i];
        if (m->state != CONVERT_MEMBER || m->epoch != a->member[0].epoch || (all & m->owned))
            return false;
        all |= m->owned;
    }
    return !a || all == (1u << c->shape.partitions) - 1;
}
void simconverts_fini(struct simcluster *c)
{
    struct simconverts *a = c->converts;
    for (uint32_t i = 0; i < a->size; i++)
        floe_sim_unschedule(c->sim, &a->member[i].tick);
    free(a);
    c->converts = NULL;
}
