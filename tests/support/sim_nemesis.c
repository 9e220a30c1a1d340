/* The nemesis: one fault after another, drawn from the seed, until it is told to heal everything. */
#include <stdlib.h>

#include <floe/base/assert.h>

#include "simcluster_int.h"

static uint64_t below(struct simcluster *c, uint64_t n)
{
    return floe_rng_below(&c->rng, n);
}
static struct simproc *victim(struct simcluster *c)
{
    struct simproc *p = c->machine[below(c, c->shape.nodes)].proc;
    return p && p->state != PROC_DEAD ? p : NULL;
}
static void restart_later(struct simcluster *c, uint32_t machine)
{
    static const uint64_t ms[] = {1, 50, 300, 1000, 4000, 12000};
    floe_sim_after(c->sim, &c->machine[machine].restart,
                   1000 * ms[below(c, FLOE_COUNTOF(ms))] + below(c, 100000));
}
static void on_restart(struct floe_sim_event *e)
{
    struct simmachine *m = FLOE_CONTAINER(e, struct simmachine, restart);
    struct simproc *p = m->proc;
    if (!p && !m->keep_down) {
        simproc_start(m->c, m->index);
        return;
    }
    if (!p || p->state == PROC_UP || p->state == PROC_STARTING)
        return;
    /* On its way out. What cannot end is killed in the end, as service managers do. */
    if (p->state == PROC_ENDING && floe_sim_now_us(m->c->sim) > p->ending_us + 25000000)
        floe_sim_node_kill(p->node);
    floe_sim_after(m->c->sim, &m->restart, 300000);
}
static void kill(struct simcluster *c, struct simproc *p, bool wipe)
{
    uint32_t machine = p->machine;
    /* Half of the time the machine is gone with its process: its address times out, nobody refuses. */
    if (below(c, 2))
        floe_sim_net_vanish(c->net, c->machine[machine].name, true);
    floe_sim_node_kill(p->node);
    if (wipe) {
        floe_sim_note(c->sim, NULL, "the disk of %s is lost", c->machine[machine].name);
        for (uint32_t i = 0; i < c->sent_n; i++) {
            if (c->sent[i].disk == c->machine[machine].disk)
                c->sent[i].disk = NULL;
        }
        floe_sim_disk_wipe(c->machine[machine].disk);
    }
    restart_later(c, machine);
}
/* Takes an image of the disk, or kills the process and sets its disk back to the last one. */
static void set_back(struct simcluster *c, struct simproc *p)
{
    struct simmachine *m = &c->machine[p->machine];
    if (below(c, 2)) {
        floe_sim_disk_snapshot(m->disk);
        return;
    }
    floe_sim_node_kill(p->node);
    restart_later(c, m->index);
    if (!floe_sim_disk_restore(m->disk))
        return;
    floe_sim_note(c->sim, NULL, "the disk of %s is set back", m->name);
    c->set_back = true;
    for (uint32_t i = 0; i < c->sent_n; i++) {
        if (c->sent[i].disk == m->disk)
            c->sent[i].disk = NULL;
    }
}
static void store_trouble(struct simcluster *c)
{
    static const enum floe_sim_fault often[] = {
        FLOE_SIM_LOST_REQUEST, FLOE_SIM_LOST_ANSWER, FLOE_SIM_BROKEN,       FLOE_SIM_LATE,
        FLOE_SIM_TWICE,        FLOE_SIM_E409,        FLOE_SIM_E409_APPLIED, FLOE_SIM_E500,
        FLOE_SIM_E500_APPLIED, FLOE_SIM_E503,        FLOE_SIM_HANG,         FLOE_SIM_TRUNCATED,
    };
    struct floe_sim_bucket_config cfg = {.min_us = 1000 + below(c, 4000), .mean_us = 1000 + below(c, 8000)};
    cfg.late_us_max = 1000 * (100 + below(c, 15000));
    uint64_t how_many = below(c, 5);
    for (uint64_t i = 0; i < how_many; i++)
        cfg.ppm[often[below(c, FLOE_COUNTOF(often))]] =
            (uint32_t)(1000 + below(c, below(c, 4) ? 20000 : 150000));
    floe_sim_bucket_configure(c->bucket, &cfg);
    floe_sim_after(c->sim, &c->heal_faults, 1000000 + below(c, 6000000));
}
/* Bits flip in what is read of chains: the formats' own checks must see it. */
static void flips(struct simcluster *c)
{
    floe_sim_bucket_rule(c->bucket, &(struct floe_sim_rule){.fault = FLOE_SIM_FLIPPED,
                                                            .kinds = FLOE_SIM_KIND(FLOE_STORE_GET),
                                                            .prefix = "chain/",
                                                            .ppm = (uint32_t)(1000 + below(c, 100000))});
    floe_sim_after(c->sim, &c->heal_outage, 1000000 + below(c, 4000000));
}
/* Nothing, or nobody's requests of some kind, gets through for a while. */
static void outage(struct simcluster *c)
{
    static const enum floe_sim_fault how[] = {FLOE_SIM_REFUSED, FLOE_SIM_LOST_REQUEST, FLOE_SIM_LOST_ANSWER,
                                              FLOE_SIM_E503,    FLOE_SIM_DENIED,       FLOE_SIM_NOSPACE};
    static const char *const where[] = {"", "", "table/", "chain/", "table/node/", "table/lease/"};
    struct floe_sim_rule r = {.fault = how[below(c, FLOE_COUNTOF(how))],
                              .prefix = where[below(c, FLOE_COUNTOF(where))]};
    struct simproc *p = below(c, 2) ? victim(c) : NULL;
    if (p)
        r.node = p->node;
    if (below(c, 3) == 0)
        r.kinds = FLOE_SIM_KIND(FLOE_STORE_PUT);
    floe_sim_note(c->sim, r.node, "outage of \"%s\"", r.prefix);
    floe_sim_bucket_rule(c->bucket, &r);
    floe_sim_after(c->sim, &c->heal_outage, 200000 + below(c, 1000ull * c->shape.lease_ms * 3));
}
static void net_trouble(struct simcluster *c)
{
    const char *a = c->machine[below(c, c->shape.nodes)].name, *b = c->machine[below(c, c->shape.nodes)].name;
    floe_sim_note(c->sim, NULL, "network: %s, %s", a, b);
    switch (below(c, 4)) {
    case 0:
        floe_sim_net_cut_all(c->net, a, true);
        break;
    case 1:
        floe_sim_net_cut(c->net, a, b, true);
        break;
    case 2:
        floe_sim_net_loss(c->net, (uint32_t)below(c, 300000));
        break;
    default:
        floe_sim_net_heal(c->net);
    }
    c->shape.client_loss_ppm = (uint32_t)(below(c, 2) ? 0 : below(c, 100000));
}
static void stall(struct simcluster *c, struct simproc *p)
{
    static const uint64_t ms[] = {5, 100, 500, 1000, 2500, 4000, 9000, 25000};
    uint64_t us = 1000 * ms[below(c, FLOE_COUNTOF(ms))] + below(c, 50000);
    p->stalled_until = FLOE_MAX(p->stalled_until, floe_sim_now_us(c->sim) + us);
    bool stands = below(c, 5) == 0;
    if (stands || floe_sim_now_us(c->sim) < p->stands_until) { /* one that stands goes on to stand */
        p->stands_until = p->stalled_until;
        p->misled_until = p->stalled_until + 1000ull * c->shape.lease_ms;
    }
    floe_sim_node_stall(p->node, us, stands);
}
static void one_fault(struct simcluster *c)
{
    uint32_t f = 1u << below(c, 9);
    struct simproc *p = victim(c);
    if (!(c->cfg.faults & f))
        return;
    switch (f) {
    case SIM_F_KILL:
    case SIM_F_WIPE:
        if (p)
            kill(c, p, f == SIM_F_WIPE);
        break;
    case SIM_F_STALL:
        if (p)
            stall(c, p);
        break;
    case SIM_F_STORE:
        if (below(c, 3))
            store_trouble(c);
        else if (below(c, 4))
            outage(c);
        else
            flips(c);
        break;
    case SIM_F_NET:
        net_trouble(c);
        break;
    case SIM_F_SNAPSHOT:
        if (p)
            set_back(c, p);
        break;
    case SIM_F_END:
        if (p && p->state == PROC_UP) {
            simproc_end(p);
            restart_later(c, p->machine);
        }
        break;
    case SIM_F_KILL_CALL:
        if (p) {
            floe_sim_node_kill_at(p->node, 1 + below(c, 40), below(c, 2));
            restart_later(c, p->machine);
        }
        break;
    default:
        if (p) {
            static const enum floe_err with[] = {FLOE_OK, FLOE_ENOSPACE, FLOE_EIO};
            floe_sim_disk_fail(c->machine[p->machine].disk, with[below(c, 3)]);
            floe_sim_disk_speed(c->machine[p->machine].disk, 50, 100 + below(c, below(c, 3) ? 500 : 50000));
        }
    }
}
static void on_nemesis(struct floe_sim_event *e)
{
    struct simcluster *c = FLOE_CONTAINER(e, struct simcluster, nemesis);
    one_fault(c);
    if (below(c, 4) == 0) /* two at once */
        one_fault(c);
    floe_sim_after(c->sim, &c->nemesis, below(c, c->shape.fault_every_us * 2));
}
static void on_heal_faults(struct floe_sim_event *e)
{
    struct simcluster *c = FLOE_CONTAINER(e, struct simcluster, heal_faults);
    floe_sim_bucket_configure(c->bucket, &(struct floe_sim_bucket_config){0});
}
static void on_heal_outage(struct floe_sim_event *e)
{
    struct simcluster *c = FLOE_CONTAINER(e, struct simcluster, heal_outage);
    if (floe_sim_now_us(c->sim) < c->outage_until) {
        floe_sim_at(c->sim, &c->heal_outage, c->outage_until);
        return;
    }
    floe_sim_note(c->sim, NULL, "outages are over");
    floe_sim_bucket_heal(c->bucket);
}
void simcluster_nemesis_start(struct simcluster *c)
{
    c->nemesis.fn = on_nemesis;
    c->heal_faults.fn = on_heal_faults;
    c->heal_outage.fn = on_heal_outage;
    floe_sim_after(c->sim, &c->nemesis, below(c, c->shape.fault_every_us * 2));
}
void simcluster_machine_init(struct simcluster *c, uint32_t i)
{
    struct simmachine *m = &c->machine[i];
    m->c = c;
    m->index = i;
    m->restart.fn = on_restart;
    m->disk = floe_sim_disk_create(c->sim);
    snprintf(m->name, sizeof m->name, "n%u", i + 1);
    snprintf(m->addr, sizeof m->addr, "n%u:9092", i + 1);
}
/* From now on nothing goes wrong. The dead stay dead or come back, as the seed has it; one lives at least. */
void simcluster_heal(struct simcluster *c)
{
    bool any = false;
    c->healed = true;
    c->healed_us = floe_sim_now_us(c->sim);
    c->unseen_healed = simwatch_unseen(c);
    for (uint32_t i = 0; i < c->shape.nodes; i++) {
        const struct simproc *p = c->machine[i].proc;
        if (!p)
            continue;
        c->healed_us = FLOE_MAX(c->healed_us, p->stalled_until);
    }
    floe_sim_note(c->sim, NULL, "faults end");
    floe_sim_unschedule(c->sim, &c->nemesis);
    floe_sim_unschedule(c->sim, &c->theme);
    simmixed_heal(c);
    floe_sim_unschedule(c->sim, &c->heal_faults);
    floe_sim_unschedule(c->sim, &c->heal_outage);
    floe_sim_bucket_heal(c->bucket);
    floe_sim_bucket_configure(c->bucket, &(struct floe_sim_bucket_config){0});
    floe_sim_net_heal(c->net);
    for (uint32_t i = 0; i < c->shape.nodes; i++) {
        struct simmachine *m = &c->machine[i];
        floe_sim_disk_fail(m->disk, FLOE_OK);
        floe_sim_disk_speed(m->disk, 0, 0);
        if (m->proc && m->proc->state != PROC_DEAD) {
            floe_sim_node_kill_at(m->proc->node, 0, false);
            any = any || m->proc->state != PROC_ENDING;
        }
    }
    for (uint32_t i = 0; i < c->shape.nodes; i++) {
        struct simmachine *m = &c->machine[i];
        if (m->proc && m->proc->state != PROC_DEAD && m->proc->state != PROC_ENDING)
            continue;
        m->keep_down = any && below(c, 2);
        if (!m->keep_down) {
            floe_sim_after(c->sim, &m->restart, 1);
            any = any || !m->proc;
        }
    }
}
