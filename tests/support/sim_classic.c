/* Simulated members of classic groups: JoinGroup, SyncGroup, Heartbeat, OffsetCommit, OffsetFetch, LeaveGroup
 * (invariant 9). In one group nobody leaves or dies: once it has settled nothing changes any more, so that a
 * rebalance, or a member that is not known, is what a coordinator lost. Of the other, members leave, die
 * without a word and come back, as static or as new ones.
 *
 * Every share names the division that it is from. Members of one generation have shares of one division, as
 * its leader made it; no member is told of an older generation than one that was divided before it asked;
 * what is said in an older one is refused, commits above all: a commit that stands is followed by later ones
 * of its generation, or of a later one. */
#include <stdlib.h>

#include <floe/base/assert.h>
#include <floe/base/crc32c.h>

#include "sim_classic.h"

static const char *name_of(const struct simclassic *m)
{
    static char name[48];
    snprintf(name, sizeof name, "%s %u of classic group %u", m->fixed ? "static member" : "member", m->slot,
             (unsigned)(m->group - m->all->group));
    return name;
}
uint32_t simclassic_session_ms(const struct simclassic_group *g)
{
    return g->steady ? 45000 : 6000;
}
uint32_t simclassic_share(const struct simcluster *c, uint32_t place, uint32_t n)
{
    uint32_t parts = 0;
    for (uint32_t i = place; i < c->shape.partitions; i += n)
        parts |= 1u << i;
    return parts;
}
static uint64_t hash_of(const char *id)
{
    return floe_hash64(id, strlen(id), 0);
}
static uint64_t below(struct simclassic *m, uint64_t n)
{
    return floe_rng_below(&m->all->rng, n);
}
static uint64_t now_of(const struct simclassic *m)
{
    return floe_sim_now_us(m->all->c->sim);
}
static void tick(struct simclassic *m, uint64_t us)
{
    floe_sim_unschedule(m->all->c->sim, &m->tick);
    floe_sim_after(m->all->c->sim, &m->tick, us);
}
static struct simcall *call(struct simclassic *m, enum simcall_kind kind, void (*done)(struct simcall *k))
{
    struct simcall *k = simcall_new(m->all->c, kind, 0, done, m);
    k->classic = m;
    k->rng = &m->all->rng;
    k->group = SIM_COMMITTERS_MAX + SIM_MEMBERS / SIM_GROUP_SIZE + (uint32_t)(m->group - m->all->group);
    k->life = m->life;
    k->generation = m->generation;
    k->synced = m->group->synced;
    return k;
}
static bool heard(const struct simcall *k)
{
    const struct simclassic *m = k->user;
    return k->life == m->life;
}
static bool ok(const struct simcall *k)
{
    return k->err == FLOE_OK && k->answered;
}
static bool told(const struct simcall *k, int16_t error)
{
    return k->answered && k->err && k->kafka_error == error;
}

/* ---- what a member learns ----------------------------------------------------------------------------- */

/* What it had is others'. `anew`: it has no id any more. */
static void out(struct simclassic *m, bool anew)
{
    m->state = CLASSIC_OUT;
    m->owned = 0;
    m->beat_us = 0;
    if (anew)
        m->joined.id[0] = 0;
}
/* An answer by which it has to join again, or not. */
static bool put_out(struct simclassic *m, const struct simcall *k)
{
    bool unknown = told(k, FLOE_KERR_UNKNOWN_MEMBER_ID), fenced = told(k, FLOE_KERR_FENCED_INSTANCE_ID),
         rejoin = told(k, FLOE_KERR_REBALANCE_IN_PROGRESS) || told(k, FLOE_KERR_ILLEGAL_GENERATION);
    if (!unknown && !fenced && !rejoin)
        return false;
    floe_sim_note(m->all->c->sim, NULL, "%s is told %s in generation %d", name_of(m),
                  floe_kafka_error_name(k->kafka_error), k->generation);
    if (m->group->settled && !k->misled)
        simcluster_violation(m->all->c, 9, "%s, which has settled at generation %d, is told %s", name_of(m),
                             m->group->settled, floe_kafka_error_name(k->kafka_error));
    if (unknown && m->beat_us && !k->misled &&
        now_of(m) < m->beat_us + 995ull * simclassic_session_ms(m->group))
        simcluster_violation(m->all->c, 9, "%s is not known %llu us after its last heartbeat", name_of(m),
                             (unsigned long long)(now_of(m) - m->beat_us));
    out(m, unknown || fenced);
    return true;
}
static void lost(struct simclassic *m)
{
    m->machine = -1;
    tick(m, below(m, 200000));
}
static void on_coordinator(struct simcall *k)
{
    struct simclassic *m = k->user;
    if (!heard(k))
        return;
    m->machine = k->err == FLOE_OK ? k->machine : -1;
    tick(m, m->machine >= 0 ? 0 : 100000);
}
static void on_joined(struct simcall *k)
{
    struct simclassic *m = k->user;
    struct simclassic_group *g = m->group;
    if (!k->answered && k->maybe)
        g->doubt_us = FLOE_MAX(g->doubt_us, now_of(m) + 10000000);
    if (!heard(k))
        return;
    if (told(k, FLOE_KERR_MEMBER_ID_REQUIRED)) {
        memcpy(m->joined.id, k->joined->id, sizeof m->joined.id);
        tick(m, 0);
    } else if (ok(k)) {
        m->joined = *k->joined;
        m->state = CLASSIC_JOINED;
        m->generation = k->generation;
        m->division = -1;
        floe_sim_note(m->all->c->sim, NULL, "%s joins generation %d%s", name_of(m), m->generation,
                      m->joined.leads ? " and leads" : "");
        if (m->generation < k->synced && !k->misled)
            simcluster_violation(m->all->c, 9, "%s joins generation %d, %d was divided before", name_of(m),
                                 m->generation, k->synced);
        if (g->settled && m->generation != g->settled && !k->misled)
            simcluster_violation(m->all->c, 9, "%s: the group has settled at generation %d, now it is at %d",
                                 name_of(m), g->settled, m->generation);
        tick(m, below(m, 20000));
    } else if (put_out(m, k)) {
        tick(m, below(m, 100000));
    } else {
        lost(m);
    }
}
static bool settled(const struct simclassics *a, const struct simclassic_group *g)
{
    const struct simclassic *m = a->member[g - a->group];
    uint32_t all = 0;
    for (uint32_t i = 0; i < g->size; i++) {
        if (m[i].state != CLASSIC_MEMBER || m[i].generation != m[0].generation)
            return false;
        all |= m[i].owned;
    }
    return all == (1u << a->c->shape.partitions) - 1;
}
/* Has some leader of that generation left the member out? */
static bool left_out(const struct simclassic *m)
{
    const struct simclassic_group *g = m->group;
    for (uint32_t i = 0; i < g->divided_n; i++) {
        const struct simdivision *d = &g->divided[i];
        uint32_t at = 0;
        while (at < d->n && d->member[at].id != hash_of(m->joined.id))
            at++;
        if (d->generation == m->generation && at == d->n)
            return true;
    }
    return false;
}
static void check_share(const struct simclassic *m, const struct simcall *k)
{
    struct simcluster *c = m->all->c;
    struct simclassic_group *g = m->group;
    if (!k->assigns) {
        if (!left_out(m))
            simcluster_violation(c, 9, "%s has no share of generation %d, its leader gave it one", name_of(m),
                                 m->generation);
        return;
    }
    const struct simdivision *d = k->result < g->divided_n ? &g->divided[k->result] : NULL;
    if (!d || d->generation != m->generation || k->place >= d->n || d->member[k->place].slot != m->slot ||
        (!m->fixed && d->member[k->place].id != hash_of(m->joined.id)) ||
        k->assigned != simclassic_share(c, k->place, d->n)) {
        simcluster_violation(c, 9, "%s is given partitions %x by place %u of division %lld in generation %d",
                             name_of(m), k->assigned, k->place, (long long)k->result, m->generation);
        return;
    }
    uint32_t *of = &g->of_generation[m->generation % CLASSIC_DIVISIONS_MAX];
    if (*of && *of != k->result + 1)
        simcluster_violation(c, 9, "%s is given a share of division %lld in generation %d, others one of %u",
                             name_of(m), (long long)k->result, m->generation, *of - 1);
    *of = (uint32_t)k->result + 1;
}
static void check_settled(struct simclassic *m)
{
    struct simclassic_group *g = m->group;
    if (g->steady && !g->settled && now_of(m) >= g->doubt_us && settled(m->all, g))
        g->settled = m->generation;
}
static void on_synced(struct simcall *k)
{
    struct simclassic *m = k->user;
    struct simclassic_group *g = m->group;
    if (!heard(k))
        return;
    if (ok(k)) {
        if (!k->misled) {
            check_share(m, k);
            g->synced = FLOE_MAX(g->synced, m->generation);
            if (m->generation < k->synced)
                simcluster_violation(m->all->c, 9, "%s has its share of generation %d, %d was divided before",
                                     name_of(m), m->generation, k->synced);
        }
        floe_sim_note(m->all->c->sim, NULL, "%s has partitions %x in generation %d", name_of(m), k->assigned,
                      m->generation);
        m->state = CLASSIC_MEMBER;
        m->owned = k->assigned;
        m->new_to_share = true;
        m->all->c->out->shares++;
        tick(m, below(m, 20000));
    } else if (put_out(m, k)) {
        tick(m, below(m, 100000));
    } else {
        lost(m);
    }
}
/* Whatever it is that the coordinator took: not in an older generation. */
static void check_generation(const struct simclassic *m, const struct simcall *k, const char *what)
{
    if (ok(k) && k->generation < k->synced && !k->misled)
        simcluster_violation(m->all->c, 9, "%s: %s in generation %d is taken, %d was divided before",
                             name_of(m), what, k->generation, k->synced);
}
/* Goes on as a member, or not. What was said in an older generation on purpose changes nothing. */
static void go_on(struct simclassic *m, const struct simcall *k)
{
    if (!heard(k))
        return;
    bool stale = k->generation != m->generation;
    if (!ok(k) && !(stale && told(k, FLOE_KERR_ILLEGAL_GENERATION)) && !put_out(m, k))
        m->machine = -1;
    check_settled(m);
    tick(m, ok(k) ? 50000 + below(m, 400000) : below(m, 100000));
}
static void on_beat(struct simcall *k)
{
    struct simclassic *m = k->user;
    check_generation(m, k, "a heartbeat");
    if (ok(k) && heard(k)) {
        m->all->c->out->beats++;
        m->beat_us = k->started_us;
    }
    go_on(m, k);
}

/* ---- commits ------------------------------------------------------------------------------------------ */

static void on_committed(struct simcall *k)
{
    struct simclassic *m = k->user;
    struct simcommit *e = &m->group->commit[k->offset];
    check_generation(m, k, "a commit");
    if (ok(k)) {
        e->state = COMMIT_STANDS;
        e->stands_us = now_of(m);
        m->all->c->out->commits++;
    } else if (e->state == COMMIT_FLYING) {
        bool refused = told(k, FLOE_KERR_ILLEGAL_GENERATION) || told(k, FLOE_KERR_UNKNOWN_MEMBER_ID) ||
                       told(k, FLOE_KERR_FENCED_INSTANCE_ID) || told(k, FLOE_KERR_REBALANCE_IN_PROGRESS) ||
                       (k->answered && k->err == FLOE_EREFUSED);
        e->state = refused ? COMMIT_REFUSED : COMMIT_UNKNOWN;
    }
    go_on(m, k);
}
/* Stood `e` when `a` was sent, or was `a` sent in a later generation? */
static bool follows(const struct simcommit *a, const struct simcommit *e)
{
    return a->generation > e->generation || (e->state == COMMIT_STANDS && e->stands_us <= a->began_us);
}
static void check_read(struct simclassic *m, const struct simcall *k)
{
    struct simclassic_group *g = m->group;
    struct simcommit *e = k->result >= 0 && k->result < g->commits ? &g->commit[k->result] : NULL;
    if (k->result >= 0 && (!e || e->part != k->index || e->state == COMMIT_REFUSED))
        simcluster_violation(m->all->c, 9, "%s reads that %lld is committed for partition %d, which %s",
                             name_of(m), (long long)k->result, k->index, e ? "was refused" : "nobody did");
    for (uint32_t i = 0; i < g->commits; i++) {
        const struct simcommit *a = &g->commit[i];
        if (a != e && a->part == k->index && a->state == COMMIT_STANDS && a->stands_us <= k->started_us &&
            (!e || follows(a, e)))
            simcluster_violation(
                m->all->c, 9,
                "%s reads that %lld is committed for partition %d, %u of generation %d came later",
                name_of(m), (long long)k->result, k->index, i, a->generation);
    }
    if (e && e->state != COMMIT_STANDS) {
        e->state = COMMIT_STANDS;
        e->stands_us = now_of(m);
    }
}
static void on_read(struct simcall *k)
{
    struct simclassic *m = k->user;
    if (ok(k) && !k->misled)
        check_read(m, k);
    if (ok(k) && heard(k))
        m->new_to_share = false;
    go_on(m, k);
}
/* For one of its partitions. */
static struct simcall *offsets(struct simclassic *m, bool commits)
{
    struct simclassic_group *g = m->group;
    int32_t at = (int32_t)below(m, m->all->c->shape.partitions);
    while (!(m->owned & 1u << at))
        at = (at + 1) % (int32_t)m->all->c->shape.partitions;
    struct simcall *k = call(m, commits ? CALL_COMMIT : CALL_COMMITTED, commits ? on_committed : on_read);
    k->index = at;
    if (commits) {
        k->offset = g->commits++;
        g->commit[k->offset] =
            (struct simcommit){.generation = m->generation, .part = (uint8_t)at, .began_us = now_of(m)};
    }
    return k;
}

/* ---- what a member does ------------------------------------------------------------------------------- */

static void on_left(struct simcall *k)
{
    (void)k; /* it is gone, whatever the coordinator says */
}
/* It leaves, or dies without a word, and is another one when it comes back. */
static void goes(struct simclassic *m, bool leaves)
{
    uint64_t back = 200000 + below(m, below(m, 2) ? 2000000 : 9000000);
    if (leaves)
        simcall_send(call(m, CALL_LEAVE, on_left), simproc_at(m->all->c, m->machine), 2000000);
    floe_sim_note(m->all->c->sim, NULL, "%s %s", name_of(m), leaves ? "leaves" : "dies");
    m->life++;
    out(m, true);
    m->state = CLASSIC_GONE;
    tick(m, back);
}
static struct simcall *next_call(struct simclassic *m, uint64_t *timeout_us)
{
    struct simclassic_group *g = m->group;
    *timeout_us = 500000 + below(m, 3000000);
    if (m->state == CLASSIC_OUT) {
        *timeout_us = 1500ull * SIM_CLASSIC_REBALANCE_MS;
        return call(m, CALL_JOIN, on_joined);
    }
    if (m->state == CLASSIC_JOINED) {
        if (m->joined.leads && !m->joined.skips && m->division < 0) {
            FLOE_ASSERT(g->divided_n < CLASSIC_DIVISIONS_MAX);
            struct simdivision *d = &g->divided[g->divided_n];
            d->generation = m->generation;
            for (d->n = 0; d->n < m->joined.n; d->n++) {
                d->member[d->n].id = hash_of(m->joined.member[d->n].id);
                d->member[d->n].slot = m->joined.member[d->n].slot;
            }
            m->division = (int32_t)g->divided_n++;
        }
        *timeout_us = 1200ull * SIM_CLASSIC_REBALANCE_MS;
        return call(m, CALL_SYNC, on_synced);
    }
    bool heartbeat = !m->owned || g->commits == CLASSIC_COMMITS_MAX || below(m, 3) == 0;
    if (m->new_to_share && m->owned)
        return offsets(m, false);
    struct simcall *k = heartbeat ? call(m, CALL_HEARTBEAT, on_beat) : offsets(m, below(m, 4) > 0);
    /* Now and then as if it had not heard of the rebalance. */
    if (m->generation > 1 && k->kind != CALL_COMMITTED && below(m, 8) == 0) {
        k->generation--;
        if (k->kind == CALL_COMMIT)
            g->commit[k->offset].generation--;
    }
    return k;
}
static struct simproc *any_broker(struct simclassic *m)
{
    return simproc_any_from(m->all->c, below(m, m->all->c->shape.nodes));
}
static void on_tick(struct floe_sim_event *e)
{
    struct simclassic *m = FLOE_CONTAINER(e, struct simclassic, tick);
    struct simcluster *c = m->all->c;
    uint64_t timeout_us;
    if (m->state == CLASSIC_GONE)
        m->state = CLASSIC_OUT;
    if (m->machine < 0) {
        struct simproc *any = any_broker(m);
        if (any)
            simcall_send(call(m, CALL_COORDINATOR, on_coordinator), any, 2000000);
        else
            tick(m, 100000);
        return;
    }
    if (m->state != CLASSIC_OUT && !m->group->steady && !c->stopping && below(m, 20) == 0) {
        goes(m, below(m, 2));
        return;
    }
    struct simcall *k = next_call(m, &timeout_us);
    simcall_send(k, simproc_at(c, m->machine), timeout_us);
}

/* ---- all of them -------------------------------------------------------------------------------------- */

void simclassics_start(struct simcluster *c)
{
    struct simclassics *a = c->classics = calloc(1, sizeof *a);
    FLOE_ASSERT(a);
    a->c = c;
    floe_rng_init(&a->rng, c->cfg.seed ^ 0xc1a5);
    for (uint32_t i = 0; i < SIM_CLASSIC_GROUPS; i++) {
        struct simclassic_group *g = &a->group[i];
        g->steady = i == 0;
        g->size = 2 + (uint32_t)floe_rng_below(&a->rng, SIM_CLASSIC_SIZE - 1);
        for (uint32_t j = 0; j < g->size; j++) {
            struct simclassic *m = &a->member[i][j];
            *m = (struct simclassic){.all = a,
                                     .group = g,
                                     .slot = (uint8_t)j,
                                     .fixed = floe_rng_below(&a->rng, 2),
                                     .state = CLASSIC_OUT,
                                     .machine = -1,
                                     .tick = {.fn = on_tick}};
            tick(m, below(m, 300000));
        }
    }
}
bool simclassics_settled(const struct simcluster *c)
{
    const struct simclassics *a = c->classics;
    for (uint32_t i = 0; a && i < SIM_CLASSIC_GROUPS; i++)
        if (!settled(a, &a->group[i]))
            return false;
    return true;
}
void simclassics_fini(struct simcluster *c)
{
    struct simclassics *a = c->classics;
    for (uint32_t i = 0; i < SIM_CLASSIC_GROUPS * SIM_CLASSIC_SIZE; i++)
        floe_sim_unschedule(c->sim, &a->member[i / SIM_CLASSIC_SIZE][i % SIM_CLASSIC_SIZE].tick);
    free(a);
    c->classics = NULL;
}
