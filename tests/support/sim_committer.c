/* Simulated committers: each commits ever greater offsets for a group of its own, one at a time, and asks
 * what the group has (invariant 9). A commit whose answer got lost may land at any time; one that was
 * acknowledged is undone by nothing but such a one. */
#include <floe/base/assert.h>

#include "simcluster_int.h"

static void tick(struct simcommitter *m, uint64_t us)
{
    floe_sim_after(m->c->sim, &m->tick, us);
}
/* Some are a new client each time, as tools are: they ask for the coordinator first, and come seldom. */
static void next(struct simcommitter *m, bool failed, uint64_t pause_us)
{
    bool anew = m->c->shape.theme == SIM_THEME_DEAF && m->id % 2;
    if (failed || anew)
        m->machine = -1;
    tick(m, floe_rng_below(&m->c->rng, anew ? 400000 : pause_us));
}
static bool may_land(const struct simcommitter *m, int64_t offset)
{
    for (uint32_t i = 0; i < m->unknown_n; i++)
        if (m->unknown[i] == offset)
            return true;
    return false;
}
static void on_coordinator(struct simcall *k)
{
    struct simcommitter *m = k->user;
    m->machine = k->err == FLOE_OK ? k->machine : -1;
    tick(m, m->machine >= 0 ? 0 : 100000);
}
static void on_commit(struct simcall *k)
{
    struct simcommitter *m = k->user;
    m->flying = -1;
    if (k->err == FLOE_OK) {
        m->last = k->offset;
        m->c->out->commits++;
    } else if (k->maybe || !k->answered) {
        FLOE_ASSERT(m->unknown_n < FLOE_COUNTOF(m->unknown));
        m->unknown[m->unknown_n++] = k->offset;
    }
    next(m, k->err != FLOE_OK, k->err ? 200000 : 50000);
}
static void on_committed(struct simcall *k)
{
    struct simcommitter *m = k->user;
    bool known = k->result == m->last || may_land(m, k->result);
    if (!k->err && known)
        m->last = k->result;
    else if (!k->err && !k->misled)
        simcluster_violation(m->c, 9, "group %u: %lld is committed, %lld was acknowledged or read before",
                             m->id, (long long)k->result, (long long)m->last);
    next(m, k->err != FLOE_OK, 100000);
}
/* Somebody else asks any broker, which tells an error or what was committed when it was asked, or later. */
static void peek_later(struct simcommitter *m)
{
    floe_sim_after(m->c->sim, &m->peek, 10000 + floe_rng_below(&m->c->rng, 100000));
}
static void on_peeked(struct simcall *k)
{
    struct simcommitter *m = k->user;
    /* What somebody was told of the commit that is on its way stays, whatever its sender hears of it. */
    if (k->err == FLOE_OK && k->result > m->last && k->result == m->flying && !k->misled)
        m->last = k->result;
    if (k->err == FLOE_OK && k->result < k->offset && !may_land(m, k->result) && !k->misled)
        simcluster_violation(m->c, 9, "group %u: %lld is committed, %lld was before it was asked", m->id,
                             (long long)k->result, (long long)k->offset);
    peek_later(m);
}
static void on_peek(struct floe_sim_event *e)
{
    struct simcommitter *m = FLOE_CONTAINER(e, struct simcommitter, peek);
    struct simcall *k = simcall_new(m->c, CALL_COMMITTED, 0, on_peeked, m);
    k->group = m->id;
    k->offset = m->last;
    int32_t at = (int32_t)floe_rng_below(&m->c->rng, m->c->shape.nodes);
    if (m->c->shape.theme == SIM_THEME_TOLD && m->machine >= 0)
        at = m->machine;
    simcall_send(k, simproc_at(m->c, at), 1000000);
}
/* The broker answers. */
void simcommitter_told(struct simcall *k)
{
    const struct simcommitter *m = k->user;
    if (k->err == FLOE_OK && k->done == on_peeked && k->result > m->last && k->result == m->flying)
        simtheme_told(m->c, k->proc);
}
static void on_tick(struct floe_sim_event *e)
{
    struct simcommitter *m = FLOE_CONTAINER(e, struct simcommitter, tick);
    struct simcluster *c = m->c;
    struct simcall *k;
    bool full = m->unknown_n == FLOE_COUNTOF(m->unknown);
    if (m->machine < 0) {
        struct simproc *any = simproc_any(c);
        k = any ? simcall_new(c, CALL_COORDINATOR, 0, on_coordinator, m) : NULL;
        if (!k) {
            tick(m, 100000);
            return;
        }
        k->group = m->id;
        simcall_send(k, any, 2000000);
        return;
    }
    bool commit = !full && !c->stopping && floe_rng_below(&c->rng, 3) > 0;
    k = simcall_new(c, commit ? CALL_COMMIT : CALL_COMMITTED, 0, commit ? on_commit : on_committed, m);
    k->group = m->id;
    if (commit)
        k->offset = m->flying = ++m->next;
    simcall_send(k, simproc_at(c, m->machine), 500000 + floe_rng_below(&c->rng, 3000000));
}
void simcommitter_start(struct simcommitter *m, struct simcluster *c, uint32_t id)
{
    *m = (struct simcommitter){.c = c,
                               .id = id,
                               .machine = -1,
                               .last = -1,
                               .flying = -1,
                               .tick = {.fn = on_tick},
                               .peek = {.fn = on_peek}};
    tick(m, floe_rng_below(&c->rng, 300000));
    peek_later(m);
}
void simcommitter_fini(struct simcommitter *m)
{
    floe_sim_unschedule(m->c->sim, &m->tick);
    floe_sim_unschedule(m->c->sim, &m->peek);
}
