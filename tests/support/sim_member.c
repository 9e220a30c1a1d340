/* Simulated members of consumer groups (KIP-848): each subscribes to the topic that stays, joins once, sends
 * heartbeats for ever, and takes and lets go of partitions as the coordinator says (invariant 9). No two
 * members of a group own a partition at the same time. Once a group has settled nothing changes any more: no
 * member leaves, so that an epoch that moves, or a member that is not known, is what a coordinator lost. */
#include <floe/base/assert.h>

#include "simcluster_int.h"

static void tick(struct simmember *m, uint64_t us)
{
    floe_sim_after(m->c->sim, &m->tick, us);
}
/* The first member of m's group. */
static struct simmember *group_of(struct simmember *m)
{
    return &m->c->member[m->id / SIM_GROUP_SIZE * SIM_GROUP_SIZE];
}
static void on_coordinator(struct simcall *k)
{
    struct simmember *m = k->user;
    m->machine = k->err == FLOE_OK ? k->machine : -1;
    tick(m, m->machine >= 0 ? 0 : 100000);
}
static void own(struct simmember *m, uint32_t parts)
{
    struct simmember *g = group_of(m);
    m->owned = parts;
    for (uint32_t i = 0; i < SIM_GROUP_SIZE; i++)
        if (&g[i] != m && (g[i].owned & parts))
            simcluster_violation(m->c, 9, "members %u and %u of one group own partitions %x at the same time",
                                 m->id, g[i].id, g[i].owned & parts);
}
static bool group_settled(const struct simmember *g)
{
    uint32_t all = 0;
    for (uint32_t i = 0; i < SIM_GROUP_SIZE; i++) {
        all |= g[i].owned;
        if (g[i].epoch <= 0 || g[i].epoch != g->epoch)
            return false;
    }
    return all == (1u << g->c->shape.partitions) - 1;
}
/* `settled` is the first member's: the group's epoch, once it has settled. */
static void check_settled(struct simmember *m, const struct simcall *k)
{
    struct simmember *g = group_of(m);
    if (!g->settled && group_settled(g))
        g->settled = g->epoch;
    if (g->settled && m->epoch != g->settled && !k->misled)
        simcluster_violation(m->c, 9, "group of member %u: settled at epoch %d, now it is at %d", m->id,
                             g->settled, m->epoch);
}
static void on_beat(struct simcall *k)
{
    struct simmember *m = k->user;
    bool out = k->answered && (k->kafka_error == FLOE_KERR_UNKNOWN_MEMBER_ID ||
                               k->kafka_error == FLOE_KERR_FENCED_MEMBER_EPOCH);
    if (k->err == FLOE_OK && k->answered) {
        m->epoch = k->epoch;
        m->full = false;
        if (k->assigns)
            own(m, k->assigned);
        check_settled(m, k);
        m->c->out->beats++;
        tick(m, 100000 + floe_rng_below(&m->c->rng, 400000));
        return;
    }
    if (out) {
        if (group_of(m)->settled && !k->misled)
            simcluster_violation(m->c, 9, "member %u of a settled group is told %s", m->id,
                                 floe_kafka_error_name(k->kafka_error));
        m->owned = 0;
        m->epoch = 0;
    }
    m->full = true;
    m->machine = -1;
    tick(m, floe_rng_below(&m->c->rng, 200000));
}
static void on_tick(struct floe_sim_event *e)
{
    struct simmember *m = FLOE_CONTAINER(e, struct simmember, tick);
    struct simproc *to = m->machine < 0 ? simproc_any(m->c) : simproc_at(m->c, m->machine);
    bool finds = m->machine < 0;
    if (!to && finds) {
        tick(m, 100000);
        return;
    }
    struct simcall *k =
        simcall_new(m->c, finds ? CALL_COORDINATOR : CALL_BEAT, 0, finds ? on_coordinator : on_beat, m);
    k->group = SIM_COMMITTERS_MAX + m->id / SIM_GROUP_SIZE;
    simcall_send(k, to, 2000000);
}
void simmember_start(struct simmember *m, struct simcluster *c, uint32_t id)
{
    *m = (struct simmember){.c = c, .id = id, .machine = -1, .full = true, .tick = {.fn = on_tick}};
    tick(m, floe_rng_below(&c->rng, 300000));
}
void simmember_fini(struct simmember *m)
{
    floe_sim_unschedule(m->c->sim, &m->tick);
}
bool simmembers_settled(struct simcluster *c)
{
    for (uint32_t i = 0; c->cfg.groups && i < SIM_MEMBERS; i += SIM_GROUP_SIZE)
        if (!group_settled(&c->member[i]))
            return false;
    return true;
}
